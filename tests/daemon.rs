//! The daemon on loopback with the `sim` backend, through the built program: no root, no packet filter.

#[path = "vectors/differences.rs"]
mod differences;
#[path = "vectors/file.rs"]
mod file;
#[path = "daemon/flapping.rs"]
mod flapping;
#[path = "daemon/hostile.rs"]
mod hostile;
#[path = "daemon/scale.rs"]
mod scale;
#[path = "daemon/crowds.rs"]
mod crowds;
#[path = "daemon/operator.rs"]
mod operator;
#[path = "daemon/policy.rs"]
mod policy;
#[path = "daemon/passwords.rs"]
mod passwords;
#[path = "daemon/permissions.rs"]
mod permissions;
#[path = "daemon/reload.rs"]
mod reload;
#[path = "daemon/sessions.rs"]
mod sessions;
#[allow(dead_code, reason = "tests/switch uses the rest")]
#[path = "switch/scene.rs"]
mod scene;
#[path = "daemon/switch.rs"]
mod switch;
#[path = "daemon/visitor.rs"]
mod visitor;
mod program;
mod waiting;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::program::{Program, ask, daemon, flowacl, run};
use crate::waiting::eventually;
use flowacl::config::Config;
use flowacl::wire::capability::Capability;
use flowacl::wire::iana::FlowFamily;
use flowacl::wire::message::Message;
use flowacl::wire::open::Open;
use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A daemon that is ready.
struct Daemon {
    program: Program,
    directory: TempDir,
    port: u16,
}

/// Neighbors of most tests: everybody on this machine.
const ANYBODY: &str = "[[neighbor]]\naddress = \"127.0.0.0/8\"\nremote_as = 65070\n";

impl Daemon {
    /// Starts a daemon with these neighbors.
    fn start(neighbors: &str) -> Self {
        Self::start_with(|port, directory| configuration(port, directory, neighbors))
    }

    /// Starts a daemon with the configuration for a port and a directory.
    fn start_with(configuration: impl FnOnce(u16, &TempDir) -> String) -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("flowacl.toml");
        fs::write(&path, configuration(port, &directory)).unwrap();
        let program = Program::start(&mut daemon(&path), &directory.path().join("log"));
        let daemon = Self {
            program,
            directory,
            port,
        };
        eventually("the daemon answers", || daemon.try_show("summary"));
        daemon
    }

    /// Replaces the configuration and sends SIGHUP.
    fn reload(&self, text: &str) {
        fs::write(self.path("flowacl.toml"), text).unwrap();
        self.program.signal("HUP");
    }

    /// A file of the daemon's directory.
    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What the daemon has logged.
    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    /// Waits for words in the log.
    fn logged(&self, words: &str) {
        eventually(words, || match self.log() {
            log if log.contains(words) => Ok(()),
            log => Err(log),
        });
    }

    /// Asks the daemon with `show WHAT --json`.
    fn try_show(&self, what: &str) -> Result<Value, String> {
        ask(&self.path("flowacl.sock"), what).map_err(|error| error + &self.log())
    }

    /// As [`Self::try_show`], which must work.
    fn show(&self, what: &str) -> Value {
        self.try_show(what).unwrap()
    }

    /// What decides a packet.
    fn explain(&self, packet: &str) -> Value {
        let mut explain = flowacl(["explain", "--json", packet, "--socket"]);
        serde_json::from_str(&run(explain.arg(self.path("flowacl.sock")))).unwrap()
    }

    /// NLRI, neighbor and state of all rules.
    fn rules(&self) -> Vec<(String, String, String)> {
        let report = self.show("rules");
        let field = |rule: &Value, name: &str| rule[name].as_str().unwrap().to_owned();
        let rules = report["rules"].as_array().unwrap().iter();
        rules
            .map(|rule| {
                (
                    field(rule, "nlri"),
                    field(rule, "neighbor"),
                    field(rule, "state"),
                )
            })
            .collect()
    }

    /// Waits until the rules are these.
    fn has_rules(&self, expected: &[(&str, &str, &str)]) {
        eventually(&format!("{expected:?}"), || {
            let rules = self.rules();
            let found: Vec<_> = rules
                .iter()
                .map(|(a, b, c)| (a.as_str(), b.as_str(), c.as_str()))
                .collect();
            if found == expected {
                Ok(())
            } else {
                Err(format!("{found:?}\n{}", self.log()))
            }
        });
    }

    /// State of one neighbor.
    fn neighbor(&self, address: &str) -> Option<Value> {
        let report = self.show("neighbors");
        let mut neighbors = report["neighbors"].as_array().unwrap().iter();
        neighbors
            .find(|neighbor| neighbor["address"] == address)
            .cloned()
    }

    /// Announces flows from an address of this machine for as long as the program is kept.
    fn announce(&self, from: &str, arguments: &[&str]) -> Program {
        let to = format!("127.0.0.1:{}", self.port);
        let common = [
            "announce",
            "--to",
            &to,
            "--from",
            from,
            "--router-id",
            from,
            "--local-as",
            "65070",
            "--remote-as",
            "65140",
        ];
        let log = self.path(&format!("log-{from}"));
        Program::start(flowacl(common).args(arguments), &log)
    }
}

/// A configuration that needs no privilege.
fn configuration(port: u16, directory: &TempDir, neighbors: &str) -> String {
    let directory = directory.path().display();
    format!(
        "[bgp]\nlocal_as = 65140\nrouter_id = \"192.0.2.2\"\nlisten = [\"127.0.0.1:{port}\"]\n\
         [dataplane]\nbackend = \"sim\"\n\
         [control]\nsocket = \"{directory}/flowacl.sock\"\nstate_directory = \"{directory}/state\"\n\
         {neighbors}"
    )
}

const FLOW: &str = "flow route { match { destination 203.0.113.5/32; } then { discard; } }";
const NLRI: &str = "060120cb007105";
const OTHER_FLOW: &str =
    "flow route { match { destination 203.0.113.0/24; protocol udp; } then { rate-limit 9600; } }";
const OTHER_NLRI: &str = "080118cb0071038111";

#[test]
fn rules_come_with_the_announcement_and_go_with_the_session() {
    let daemon = Daemon::start(ANYBODY);
    assert_eq!(daemon.rules(), []);
    let mut controller = daemon.announce("127.0.0.2", &[OTHER_FLOW, FLOW]);
    daemon.has_rules(&[
        (NLRI, "127.0.0.2", "installed"),
        (OTHER_NLRI, "127.0.0.2", "installed"),
    ]);
    let rule = &daemon.show("rules")["rules"][0];
    assert_eq!(rule["family"], "ipv4-flow");
    assert_eq!(rule["actions"][0], "discard");
    assert_eq!(rule["reason"], Value::Null);
    let neighbor = daemon.neighbor("127.0.0.2").unwrap();
    assert_eq!(neighbor["state"], "Established");
    assert_eq!(neighbor["received"], 2);
    assert_eq!(neighbor["accepted"], 2);
    assert_eq!(neighbor["rejected"], 0);

    assert_eq!(controller.stop(), Some(0));
    daemon.has_rules(&[]);
    eventually("the neighbor of a prefix is forgotten", || {
        daemon
            .neighbor("127.0.0.2")
            .map_or(Ok(()), |neighbor| Err(neighbor.to_string()))
    });
    daemon.logged("session down");
}

#[test]
fn a_withdrawal_empties_and_the_session_stays() {
    let daemon = Daemon::start(ANYBODY);
    let _controller = daemon.announce("127.0.0.2", &["--withdraw-after", "1", FLOW]);
    daemon.has_rules(&[(NLRI, "127.0.0.2", "installed")]);
    daemon.has_rules(&[]);
    assert_eq!(
        daemon.neighbor("127.0.0.2").unwrap()["state"],
        "Established"
    );
}

#[test]
fn two_neighbors_with_the_same_flow() {
    let daemon = Daemon::start(ANYBODY);
    let mut first = daemon.announce("127.0.0.2", &[FLOW]);
    daemon.has_rules(&[(NLRI, "127.0.0.2", "installed")]);
    let _second = daemon.announce("127.0.0.3", &[FLOW]);
    daemon.has_rules(&[
        (NLRI, "127.0.0.2", "installed"),
        (NLRI, "127.0.0.3", "shadowed"),
    ]);
    assert_eq!(first.stop(), Some(0));
    daemon.has_rules(&[(NLRI, "127.0.0.3", "installed")]);
}

#[test]
fn a_killed_controller_takes_its_rules_along() {
    let daemon = Daemon::start(ANYBODY);
    let controller = daemon.announce("127.0.0.2", &[FLOW]);
    daemon.has_rules(&[(NLRI, "127.0.0.2", "installed")]);
    controller.signal("KILL");
    daemon.has_rules(&[]);
}

#[test]
fn import_settings_refuse_with_a_reason() {
    let daemon = Daemon::start(&format!(
        "{ANYBODY}[neighbor.import]\ndestinations = [\"203.0.113.4/30\"]\n"
    ));
    let _controller = daemon.announce("127.0.0.2", &[FLOW, OTHER_FLOW]);
    daemon.has_rules(&[
        (NLRI, "127.0.0.2", "installed"),
        (OTHER_NLRI, "127.0.0.2", "rejected"),
    ]);
    let rules = daemon.show("rules");
    assert!(
        rules["rules"][1]["reason"]
            .as_str()
            .unwrap()
            .contains("import.destinations")
    );
}

#[test]
fn strangers_get_no_further_than_the_accept() {
    let daemon = Daemon::start("[[neighbor]]\naddress = \"127.0.0.9\"\nremote_as = 65070\n");
    for _ in 0..50 {
        let mut stream = TcpStream::connect(("127.0.0.1", daemon.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut octets = Vec::new();
        // Not even an OPEN; a reset is as good as an end.
        let _ = stream.read_to_end(&mut octets);
        assert!(octets.is_empty(), "{octets:02x?}");
    }
    assert_eq!(daemon.show("summary")["strangers_refused"], 50);
    let lines = daemon.log().matches("connection refused").count();
    assert!((1..=5).contains(&lines), "{lines} lines for 50 strangers");
}

#[test]
fn the_wrong_as_is_refused_in_words() {
    let daemon = Daemon::start(ANYBODY);
    let to = format!("127.0.0.1:{}", daemon.port);
    let output = flowacl([
        "announce",
        "--to",
        &to,
        "--local-as",
        "65071",
        "--remote-as",
        "65140",
        FLOW,
    ])
    .output()
    .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("2/2 (OPEN message error: bad peer AS)"),
        "{stderr}"
    );
}

#[test]
fn octets_that_are_no_bgp_end_the_connection_and_nothing_else() {
    let daemon = Daemon::start(ANYBODY);
    let _controller = daemon.announce("127.0.0.2", &[FLOW]);
    daemon.has_rules(&[(NLRI, "127.0.0.2", "installed")]);
    let mut stream = TcpStream::connect(("127.0.0.1", daemon.port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    let mut octets = Vec::new();
    stream.read_to_end(&mut octets).unwrap();
    // OPEN, and a NOTIFICATION: connection not synchronized.
    assert_eq!(octets[octets.len() - 3..][..3], [3, 1, 1], "{octets:02x?}");
    daemon.has_rules(&[(NLRI, "127.0.0.2", "installed")]);
}

#[test]
fn a_wrong_configuration_keeps_the_old_one() {
    let daemon = Daemon::start(ANYBODY);
    let _controller = daemon.announce("127.0.0.2", &[FLOW]);
    daemon.has_rules(&[(NLRI, "127.0.0.2", "installed")]);
    let ups = |daemon: &Daemon| daemon.neighbor("127.0.0.2").unwrap()["ups"].clone();

    daemon.reload("[bgp]\nlocal_as = 0\n");
    daemon.logged("flowacl.toml:2:12: bgp.local_as: 0 is not in the range 1 to 4294967295");
    daemon.logged("flowacl.toml:1:1: bgp.router_id: is missing");
    daemon.logged("keeping the old configuration");
    daemon.has_rules(&[(NLRI, "127.0.0.2", "installed")]);

    let text = configuration(daemon.port, &daemon.directory, ANYBODY);
    daemon.reload(&text.replace("65140", "65141"));
    daemon.logged("line 2: bgp.local_as cannot be changed while flowacl runs; restart it");
    daemon.has_rules(&[(NLRI, "127.0.0.2", "installed")]);
    assert_eq!(ups(&daemon), 1, "the session was never down");
}

#[test]
fn a_reload_changes_what_changed() {
    let neighbors = |import: &str, third: &str| {
        format!(
            "[[neighbor]]\naddress = \"127.0.0.2\"\nremote_as = 65070\n\
             [[neighbor]]\naddress = \"127.0.0.3\"\nremote_as = 65070\n{import}{third}"
        )
    };
    let daemon = Daemon::start(&neighbors("", ""));
    let _second = daemon.announce("127.0.0.2", &[FLOW]);
    let _third = daemon.announce("127.0.0.3", &[OTHER_FLOW]);
    daemon.has_rules(&[
        (NLRI, "127.0.0.2", "installed"),
        (OTHER_NLRI, "127.0.0.3", "installed"),
    ]);

    let import = "[neighbor.import]\ndestinations = [\"198.51.100.0/24\"]\n";
    let added = "[[neighbor]]\naddress = \"127.0.0.4\"\nremote_as = 65070\n";
    let text = configuration(daemon.port, &daemon.directory, &neighbors(import, added));
    daemon.reload(&text);
    daemon.has_rules(&[
        (NLRI, "127.0.0.2", "installed"),
        (OTHER_NLRI, "127.0.0.3", "rejected"),
    ]);
    let _fourth = daemon.announce("127.0.0.4", &[OTHER_FLOW]);
    daemon.has_rules(&[
        (NLRI, "127.0.0.2", "installed"),
        (OTHER_NLRI, "127.0.0.4", "installed"),
        (OTHER_NLRI, "127.0.0.3", "rejected"),
    ]);
    for address in ["127.0.0.2", "127.0.0.3", "127.0.0.4"] {
        assert_eq!(
            daemon.neighbor(address).unwrap()["ups"],
            1,
            "{address} kept its session"
        );
    }

    let only_fourth = configuration(daemon.port, &daemon.directory, added);
    daemon.reload(&only_fourth);
    daemon.has_rules(&[(OTHER_NLRI, "127.0.0.4", "installed")]);
    assert_eq!(daemon.neighbor("127.0.0.2"), None);
    let told = fs::read_to_string(daemon.path("log-127.0.0.2")).unwrap();
    assert!(told.contains("6/3 (cease: peer de-configured)"), "{told}");
}

#[test]
fn rules_stay_on_stop_when_the_configuration_says_so() {
    let mut daemon = Daemon::start(ANYBODY);
    let _controller = daemon.announce("127.0.0.2", &[FLOW, OTHER_FLOW]);
    daemon.has_rules(&[
        (NLRI, "127.0.0.2", "installed"),
        (OTHER_NLRI, "127.0.0.2", "installed"),
    ]);
    daemon.logged("changed the packet filter commits=");
    let text = configuration(daemon.port, &daemon.directory, ANYBODY);
    let sim = "backend = \"sim\"\n";
    daemon.reload(&text.replace(sim, &format!("{sim}on_stop = \"keep\"\n")));
    daemon.logged("reloaded the configuration");
    assert_eq!(daemon.program.stop(), Some(0));
    daemon.logged("left all rules in force");
    for removal in ["removed all rules", "removed=1", "removed=2"] {
        assert!(!daemon.log().contains(removal), "{}", daemon.log());
    }
}

#[test]
fn the_daemon_dials_an_active_neighbor() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let _daemon = Daemon::start(&format!(
        "[[neighbor]]\naddress = \"127.0.0.1\"\nremote_as = 65070\npassive = false\n\
         port = {port}\nlocal_address = \"127.0.0.7\"\n"
    ));
    let (mut stream, remote) = listener.accept().unwrap();
    assert_eq!(remote.ip().to_string(), "127.0.0.7");
    let mut header = [0; 19];
    stream.read_exact(&mut header).unwrap();
    assert_eq!(header[18], 1, "an OPEN");
}

#[test]
fn stopping_says_goodbye_and_cleans_up() {
    let mut daemon = Daemon::start(ANYBODY);
    let mut controller = daemon.announce("127.0.0.2", &[FLOW]);
    daemon.has_rules(&[(NLRI, "127.0.0.2", "installed")]);
    assert_eq!(daemon.program.stop(), Some(0));
    assert!(!daemon.path("flowacl.sock").exists());
    // The controller learns of it.
    assert_eq!(controller.ended(), Some(1));
    let told = fs::read_to_string(daemon.path("log-127.0.0.2")).unwrap();
    assert!(
        told.contains("6/2 (cease: administrative shutdown) \"flowacl stops\""),
        "{told}"
    );
}

#[test]
fn two_daemons_cannot_share_a_socket() {
    let daemon = Daemon::start(ANYBODY);
    let config = daemon.path("flowacl.toml");
    let output = program::daemon(&config).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("another daemon answers"), "{stderr}");
    daemon.show("summary");
}

#[test]
fn explain_names_the_deciding_rule() {
    let daemon = Daemon::start(ANYBODY);
    let _controller = daemon.announce("127.0.0.2", &[FLOW]);
    daemon.has_rules(&[(NLRI, "127.0.0.2", "installed")]);
    let explain = |packet: &str| daemon.explain(packet);
    let hit = explain("udp 198.51.100.7:123 > 203.0.113.5:4444 len 468");
    assert_eq!(hit["verdict"], "discard");
    assert_eq!(hit["matched"][0]["nlri"], NLRI);
    assert_eq!(hit["matched"][0]["neighbor"], "127.0.0.2");
    let miss = explain("udp 198.51.100.7:123 > 203.0.113.6:4444 len 468");
    assert_eq!(miss["verdict"], "accept");
    assert_eq!(miss["decided"], false);
}

/// ORIGIN IGP, AS_PATH 65070, traffic-rate 0.
const ATTRIBUTES: &str = "4001010040020602010000fe2ec010088006000000000000";

/// A controller that says whatever the test wants.
struct RawController(TcpStream);

impl RawController {
    /// Brings the session up.
    fn connect(port: u16) -> Self {
        let open = Open {
            asn: 65070,
            hold_time_secs: 90,
            router_id: "192.0.2.1".parse().unwrap(),
            capabilities: vec![
                Capability::MultiProtocol(FlowFamily::Ipv4Flow.afi_safi()),
                Capability::FourOctetAs(65070),
            ],
        };
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(&Message::Open(open).encode()).unwrap();
        stream.write_all(&Message::Keepalive.encode()).unwrap();
        Self(stream)
    }

    /// Announces routes.
    fn announce(&mut self, nlri: &str) {
        self.0.write_all(&announcement(nlri)).unwrap();
    }
}

/// An UPDATE with ORIGIN, AS_PATH, traffic-rate 0 and these NLRI in MP_REACH_NLRI.
fn announcement(nlri: &str) -> Vec<u8> {
    let nlri = hex::decode(nlri).unwrap();
    let mut attributes = hex::decode(ATTRIBUTES).unwrap();
    let length = 5 + u8::try_from(nlri.len()).unwrap();
    attributes.extend([0x80, 14, length, 0, 1, 133, 0, 0]);
    attributes.extend(nlri);
    update(&attributes)
}

/// An UPDATE with these NLRI in MP_UNREACH_NLRI.
fn withdrawal(nlri: &str) -> Vec<u8> {
    let nlri = hex::decode(nlri).unwrap();
    let length = 3 + u8::try_from(nlri.len()).unwrap();
    update(&[&[0x80, 15, length, 0, 1, 133], nlri.as_slice()].concat())
}

/// An UPDATE with these Path Attributes.
fn update(attributes: &[u8]) -> Vec<u8> {
    let mut body = vec![0, 0, 0, u8::try_from(attributes.len()).unwrap()];
    body.extend(attributes);
    Message::Update(body).encode()
}

#[test]
fn a_malformed_update_is_logged_and_the_session_stays() {
    let daemon = Daemon::start(ANYBODY);
    let mut controller = RawController::connect(daemon.port);
    controller.announce(NLRI);
    daemon.has_rules(&[(NLRI, "127.0.0.1", "installed")]);
    // The known route, and one whose components are out of order: both are withdrawn (RFC 7606).
    controller.announce(&format!("{NLRI}06038111028100"));
    daemon.has_rules(&[]);
    let neighbor = daemon.neighbor("127.0.0.1").unwrap();
    assert_eq!(neighbor["state"], "Established");
    assert_eq!(neighbor["malformed_updates"], 1);
    let log = daemon.log();
    let line = log
        .lines()
        .find(|line| line.contains("malformed UPDATE"))
        .expect(&log);
    for word in ["neighbor=127.0.0.1", "offset=", "treat-as-withdraw"] {
        assert!(line.contains(word), "{line}");
    }
}

#[test]
fn refused_routes_are_logged_with_the_reason() {
    let daemon = Daemon::start(&format!("{ANYBODY}[neighbor.import]\nmax_routes = 1\n"));
    let mut controller = RawController::connect(daemon.port);
    controller.announce(NLRI);
    controller.announce(OTHER_NLRI);
    daemon.logged("route refused: ");
    let log = daemon.log();
    let line = log
        .lines()
        .find(|line| line.contains("route refused"))
        .unwrap();
    assert!(
        line.contains("203.0.113.0/24") && line.contains("max_routes"),
        "{line}"
    );
}

#[test]
fn systemd_learns_of_start_reload_and_stop() {
    let directory = tempfile::tempdir().unwrap();
    let notify = UnixDatagram::bind(directory.path().join("notify")).unwrap();
    notify.set_read_timeout(Some(PATIENCE)).unwrap();
    let expect = |wanted: &str| {
        let mut octets = [0; 256];
        let length = notify.recv(&mut octets).expect(wanted);
        let told = String::from_utf8_lossy(&octets[..length]).into_owned();
        assert!(told.contains(wanted), "{told:?} instead of {wanted}");
    };
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let config = directory.path().join("flowacl.toml");
    fs::write(&config, configuration(port, &directory, ANYBODY)).unwrap();
    let mut command = daemon(&config);
    command.env("NOTIFY_SOCKET", directory.path().join("notify"));
    let mut program = Program::start(&mut command, &directory.path().join("log"));
    expect("READY=1");
    program.signal("HUP");
    expect("RELOADING=1\nMONOTONIC_USEC=");
    expect("READY=1");
    assert_eq!(program.stop(), Some(0));
    expect("STOPPING=1");
}

#[test]
fn tables_fit_80_columns() {
    let daemon = Daemon::start(ANYBODY);
    let long = "flow route { match { destination 203.0.113.5/32; source 198.51.100.0/24; protocol [ tcp udp ]; \
        port [ =53 =123 =161 =389 =1900 =11211 ]; packet-length >=400&<=1500; } \
        then { rate-limit 1000000; } }";
    let _controller = daemon.announce("127.0.0.2", &[FLOW, long]);
    eventually("both rules are there", || match daemon.rules().len() {
        2 => Ok(()),
        rules => Err(format!("{rules} rules")),
    });
    let socket = daemon.path("flowacl.sock");
    let show = |what: &str, options: &[&str]| {
        let output = flowacl(["show", what, "--socket", socket.to_str().unwrap()])
            .args(options)
            .env("COLUMNS", "80")
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    for what in ["rules", "neighbors"] {
        let text = show(what, &[]);
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        assert!(text.contains("127.0.0.2"), "{text}");
    }
    let wide = show("rules", &["--wide"]);
    assert!(
        wide.contains("[ =53 =123 =161 =389 =1900 =11211 ]"),
        "{wide}"
    );
    assert_eq!(wide.lines().count(), 3, "{wide}");
    assert!(show("summary", &[]).contains("1 of 1 established"));
    assert!(show("dataplane", &[]).contains("sim"));
}

#[test]
fn the_daemon_runs_within_a_program() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let directory = tempfile::tempdir().unwrap();
    let config = Config::parse(&configuration(port, &directory, ANYBODY)).unwrap();
    let daemon = flowacl::io::Daemon::start(config.clone()).unwrap();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_ok());
    daemon.reload(config.clone(), false).unwrap();
    let error = flowacl::io::Daemon::start(config.clone()).unwrap_err();
    assert!(
        error.to_string().contains("another daemon answers"),
        "{error}"
    );
    daemon.stop().unwrap();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    // Dropping stops as well.
    drop(flowacl::io::Daemon::start(config).unwrap());
    assert!(!directory.path().join("flowacl.sock").exists());
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let port = taken.local_addr().unwrap().port();
    let config = Config::parse(&configuration(port, &directory, ANYBODY)).unwrap();
    let error = flowacl::io::Daemon::start(config).unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("cannot listen on 127.0.0.1:{port}: ")),
        "{error}"
    );
}

#[test]
fn metrics_and_the_page() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let daemon = Daemon::start(&format!(
        "{ANYBODY}[metrics]\nlisten = \"127.0.0.1:{port}\"\n"
    ));
    let _controller = daemon.announce("127.0.0.2", &[FLOW]);
    daemon.has_rules(&[(NLRI, "127.0.0.2", "installed")]);
    let get = |path: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let metrics = get("/metrics");
    for line in [
        "flowacl_routes{state=\"installed\"} 1\n",
        "flowacl_neighbor_up{neighbor=\"127.0.0.2\"} 1\n",
        "flowacl_neighbor_session_ups_total{neighbor=\"127.0.0.2\"} 1\n",
        "flowacl_settled 1\n",
        "flowacl_strangers_refused_total 0\n",
        "# EOF\n",
    ] {
        assert!(metrics.contains(line), "{line} is missing in {metrics}");
    }
    let page = get("/");
    assert!(
        page.contains("203.0.113.5/32") && page.contains("Established"),
        "{page}"
    );
}
