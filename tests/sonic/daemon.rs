//! The daemon, with a controller on one side and a switch on the other.

use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::asic::{Asic, Fate};
use crate::orchagent::Orchagent;
use crate::server::Server;
use crate::waiting::eventually;
use dataplane::packet::Packet;

/// A program that ends with the test.
struct Program(Child);

impl Program {
    fn start(arguments: &[&str], log: fs::File) -> Self {
        let program = Command::new(env!("CARGO_BIN_EXE_flowacl"))
            .args(arguments)
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        Self(program.unwrap())
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    fn terminate(mut self) {
        let id = self.0.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &id])
                .status()
                .unwrap()
                .success()
        );
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

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
    let log = |name: &str| fs::File::create(path(name)).unwrap();
    let told = |name: &str| fs::read_to_string(path(name)).unwrap();
    let run = |name: &str| Program::start(&["run", "--config", &path("flowacl.toml")], log(name));
    let states = |log: &str| {
        let show = ["show", "rules", "--json", "--socket", &path("flowacl.sock")];
        let output = Command::new(env!("CARGO_BIN_EXE_flowacl"))
            .args(show)
            .output()
            .unwrap();
        if !output.status.success() {
            return Err(told(log));
        }
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
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
        Program::start(&[&arguments[..], &flows[..]].concat(), log(name))
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
    daemon.kill();
    drop(controller);
    assert_eq!(fate(), Fate::Dropped);
    let daemon = run("log-2");
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
    daemon.terminate();
    assert_eq!(fate(), Fate::Forwarded, "{}", told("log-2"));
    assert!(orchagent.asic().tables.is_empty());
}
