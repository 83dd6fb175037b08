//! Neighbors that announce rules for everything: sessions and what is protected live on, and the operator has the last
//! word.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use flowacl::lab::Namespace;

use crate::controller::CONTROLLER_AS;
use crate::program::{Program, flowacl};
use crate::router::Router;
use crate::waiting::eventually;

/// Hold time of the sessions.
const HOLD: Duration = Duration::from_secs(3);

/// What has locked people out.
const FLOWS: [&str; 6] = [
    "flow route { match { destination 0.0.0.0/0; } then { discard; } }",
    "flow route { match { destination ::/0; } then { discard; } }",
    "flow route { match { port =179; } then { discard; } }",
    "flow route { match { protocol tcp; } then { discard; } }",
    "flow route { match { fragment is-fragment; } then { discard; } }",
    "flow route { family ipv6-flow; match { protocol =58; } then { discard; } }",
];

/// Announces everything from a host.
fn announce(router: &Router, host: &Namespace, own: IpAddr) -> Program {
    let to = SocketAddr::new(own, 179).to_string();
    let mut command = flowacl(["announce", "--to", &to, "--remote-as", "65140"]);
    command
        .args(["--local-as", &CONTROLLER_AS.to_string()])
        .args(FLOWS);
    let log = router.path(&format!("announce-{own}.log"));
    host.run(move || Program::start(&mut command, &log))
}

/// Whether a new connection from a host comes up.
fn connects(router: &Router, host: &Namespace, address: SocketAddr, patience: Duration) -> bool {
    let listener = router.namespace().run(move || TcpListener::bind(address));
    let _listener = listener.unwrap();
    host.run(move || TcpStream::connect_timeout(&address, patience).is_ok())
}

#[test]
fn nobody_is_locked_out() {
    let Some(mut router) = Router::start(true) else {
        return;
    };
    let addresses = [
        ("host-ipv4", "10.0.0.1", "10.0.0.2", 30),
        ("host-ipv6", "fd00:9::1", "fd00:9::2", 64),
    ];
    let hosts = addresses.map(|(name, own, remote, length)| {
        let own: IpAddr = own.parse().unwrap();
        let host = router.attach(name, own, remote.parse().unwrap(), length);
        (host, own, remote)
    });
    router.kill_daemon();
    router.configure("\"127.0.0.1:179\"", "\"0.0.0.0:179\", \"[::]:179\"");
    router.configure("interfaces = [\"upstream\"]", "interfaces = [\"*\"]");
    let hold = HOLD.as_secs();
    let neighbors = addresses.map(|(_, _, remote, _)| {
        format!(
            "[[neighbor]]\naddress = \"{remote}\"\nremote_as = {CONTROLLER_AS}\nhold_time_secs = {hold}\n"
        )
    });
    let protect = "[[protect]]\ntcp_ports = [22]\ndescription = \"ssh\"\n\
        [import]\nallow_match_all = true\n";
    router.configure(
        "[dataplane]",
        &format!("{}{protect}[dataplane]", neighbors.concat()),
    );
    router.start_daemon();
    eventually("the daemon answers", || router.show("summary"));
    let _announcing: Vec<_> = hosts
        .iter()
        .map(|(host, own, _)| announce(&router, host, *own))
        .collect();
    eventually("all rules are in force", || {
        match router.counters()?.len() {
            rules if rules == FLOWS.len() => Ok(()),
            rules => Err(format!("{rules} rules\n{}", router.log())),
        }
    });

    let established = |router: &Router| {
        let report = router.show("neighbors").unwrap();
        let neighbors = report["neighbors"].as_array().unwrap().iter();
        neighbors
            .filter(|neighbor| neighbor["state"] == "Established" && neighbor["ups"] == 1)
            .count()
    };
    let start = Instant::now();
    let mut connections = 0;
    while start.elapsed() < 3 * HOLD + Duration::from_secs(1) {
        for (host, own, _) in &hosts {
            let ssh = SocketAddr::new(*own, 22);
            assert!(
                connects(&router, host, ssh, Duration::from_secs(5)),
                "{own}"
            );
            let other = SocketAddr::new(*own, 23);
            assert!(
                !connects(&router, host, other, Duration::from_millis(200)),
                "{own}"
            );
            connections += 1;
        }
        assert_eq!(established(&router), 2, "{}", router.log());
    }
    assert!(connections >= 10);

    let report = router.show("rules").unwrap();
    let rules = report["rules"].as_array().unwrap();
    let installed = rules.iter().filter(|rule| rule["state"] == "installed");
    for rule in installed {
        let protected = rule["protected"].as_array().map_or(0, Vec::len);
        assert!(protected > 0, "{rule}");
    }

    // The operator has the last word, and the session hears nothing of it.
    let (host, own, _) = &hosts[0];
    let other = SocketAddr::new(*own, 23);
    router.order("panic");
    assert!(connects(&router, host, other, Duration::from_secs(5)));
    router.order("resume");
    assert!(!connects(&router, host, other, Duration::from_millis(200)));
    assert_eq!(established(&router), 2, "{}", router.log());
}
