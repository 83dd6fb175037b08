//! The daemon, with a controller on one side and a switch on the other.

use std::fs;
use std::net::TcpListener;

use crate::asic::{Asic, Fate};
use crate::orchagent::Orchagent;
use crate::program::{Program, ask, daemon, flowacl};
use crate::server::Server;
use crate::waiting::eventually;
use dataplane::packet::Packet;

#[test]
fn from_a_controller_into_the_switch_and_over_a_restart() {
    let Some(server) = Server::start() else {
        return;
    };
    let orchagent = Orchagent::start(&server, Asic::default(), 5);
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let path = |name: &str| server.directory().join(name).to_str().unwrap().to_owned();
    let configuration = format!(
        "[bgp]\nlocal_as = 65140\nrouter_id = \"192.0.2.2\"\nlisten = [\"127.0.0.1:{port}\"]\n\
         [[neighbor]]\naddress = \"127.0.0.0/8\"\nremote_as = 65070\n\
         [dataplane]\nbackend = \"sonic\"\n[dataplane.sonic]\ndatabase_config = \"{}\"\n\
         [control]\nsocket = \"{}\"\nstate_directory = \"{}\"\n",
        server.database_config().display(),
        path("flowacl.sock"),
        path("state"),
    );
    fs::write(path("flowacl.toml"), configuration).unwrap();
    let log = |name: &str| server.directory().join(name);
    let told = |name: &str| fs::read_to_string(path(name)).unwrap();
    let run = |name: &str| Program::start(&mut daemon(path("flowacl.toml").as_ref()), &log(name));
    let states = |log: &str| {
        let report = ask(path("flowacl.sock").as_ref(), "rules").map_err(|_| told(log))?;
        let mut states: Vec<(String, String)> = report["rules"]
            .as_array()
            .unwrap()
            .iter()
            .map(|rule| {
                (
                    rule["state"].as_str().unwrap().into(),
                    rule["reason"].as_str().unwrap_or("").into(),
                )
            })
            .collect();
        states.sort();
        Ok(states)
    };
    let packet = Packet::from_text("udp 198.51.100.9:123 > 203.0.113.5:4444").unwrap();
    let fate = || orchagent.asic().fate("Ethernet0", &packet);

    let daemon = run("log-1");
    eventually("the daemon answers", || states("log-1").map(drop));
    let to = format!("127.0.0.1:{port}");
    let flows = [
        "flow route { match { destination 203.0.113.5/32; protocol udp; source-port =123; } then { discard; } }",
        "flow route { match { destination 203.0.113.6/32; fragment is-fragment; } then { discard; } }",
    ];
    let announce = |name: &str| {
        let arguments = [
            "announce",
            "--to",
            &to,
            "--local-as",
            "65070",
            "--remote-as",
            "65140",
        ];
        Program::start(flowacl(arguments).args(flows), &log(name))
    };
    let controller = announce("controller-1");
    let states_are = |log: &str, expected: [&str; 2]| {
        eventually(&format!("{expected:?}"), || {
            let found = states(log)?;
            let names: Vec<&str> = found.iter().map(|(state, _)| state.as_str()).collect();
            match names == expected {
                true => Ok(found),
                false => Err(format!("{found:?}")),
            }
        })
    };
    let found = states_are("log-1", ["installed", "unsupported"]);
    assert!(found[1].1.contains("fragment"), "{found:?}");
    assert_eq!(fate(), Fate::Dropped);

    // Killed: what it installed stays, and the next one goes on with it.
    let created = orchagent.asic().created;
    drop((daemon, controller));
    assert_eq!(fate(), Fate::Dropped);
    let mut daemon = run("log-2");
    eventually("kept", || {
        let found = states("log-2")?;
        match found.iter().any(|(state, _)| state == "stale") {
            true => Ok(()),
            false => Err(format!("{found:?}{}", told("log-2"))),
        }
    });
    let _controller = announce("controller-2");
    states_are("log-2", ["installed", "unsupported"]);
    assert_eq!(fate(), Fate::Dropped);
    assert_eq!(
        orchagent.asic().created,
        created,
        "nothing was written anew"
    );
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(fate(), Fate::Forwarded, "{}", told("log-2"));
    assert!(orchagent.asic().tables.is_empty());
}
