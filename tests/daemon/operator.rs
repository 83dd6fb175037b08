//! What an operator orders: rules out of force, for one moment or beyond a restart.

use std::fs;
use std::process::Command;

use serde_json::Value;

use super::{ANYBODY, Daemon, FLOW, NLRI, OTHER_FLOW, OTHER_NLRI, Program, eventually};

impl Daemon {
    /// Gives an order, which must be carried out; returns what was said.
    pub(super) fn order(&self, arguments: &[&str]) -> String {
        let (succeeded, said) = self.try_order(arguments);
        assert!(succeeded, "{arguments:?}: {said}");
        said
    }

    /// Gives an order; returns whether it was carried out, and what was said.
    pub(super) fn try_order(&self, arguments: &[&str]) -> (bool, String) {
        let socket = self.path("flowacl.sock");
        let output = Command::new(env!("CARGO_BIN_EXE_flowacl"))
            .args(arguments)
            .args(["--socket", socket.to_str().unwrap()])
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    }

    /// Ends it with a signal and starts it anew.
    fn restart(&mut self) {
        assert_eq!(self.program.stop(), Some(0));
        let log = fs::OpenOptions::new()
            .append(true)
            .open(self.path("log"))
            .unwrap();
        let config = self.path("flowacl.toml");
        self.program = Program::start(&["run", "--config", config.to_str().unwrap()], log.into());
        eventually("the daemon answers again", || self.try_show("summary"));
    }

    /// The rules out of force by an order of their own.
    fn disabled(&self) -> usize {
        let summary = self.show("summary");
        summary["disabled"].as_array().map_or(0, Vec::len)
    }
}

#[test]
fn a_rule_is_disabled_and_enabled() {
    let mut daemon = Daemon::start(ANYBODY);
    let controller = daemon.announce("127.0.0.2", &[FLOW, OTHER_FLOW]);
    let both = [
        (NLRI, "127.0.0.2", "installed"),
        (OTHER_NLRI, "127.0.0.2", "installed"),
    ];
    let one = [
        (NLRI, "127.0.0.2", "rejected"),
        (OTHER_NLRI, "127.0.0.2", "installed"),
    ];
    daemon.has_rules(&both);
    let said = daemon.order(&["disable", "destination 203.0.113.5/32;"]);
    assert!(said.contains("announced by 127.0.0.2"), "{said}");
    daemon.has_rules(&one);
    let reason = daemon.show("rules")["rules"][0]["reason"].clone();
    assert!(
        reason
            .as_str()
            .unwrap()
            .contains("disabled by the operator"),
        "{reason}"
    );
    assert_eq!(daemon.show("dataplane")["facts"][0][1], "1");
    drop(controller);
    daemon.has_rules(&[]);
    let _controller = daemon.announce("127.0.0.2", &[FLOW, OTHER_FLOW]);
    daemon.has_rules(&one);
    daemon.logged("disable uid=");

    daemon.order(&["enable", NLRI]);
    daemon.has_rules(&both);

    // Only what is to be kept is.
    daemon.order(&["disable", NLRI]);
    let said = daemon.order(&["disable", "--persist", OTHER_NLRI]);
    assert!(said.contains("also after a restart"), "{said}");
    assert_eq!(daemon.disabled(), 2);
    daemon.restart();
    assert_eq!(daemon.disabled(), 1);
    let _controller = daemon.announce("127.0.0.2", &[FLOW, OTHER_FLOW]);
    daemon.has_rules(&[
        (NLRI, "127.0.0.2", "installed"),
        (OTHER_NLRI, "127.0.0.2", "rejected"),
    ]);
    daemon.order(&["enable", OTHER_NLRI]);
    daemon.has_rules(&both);
    daemon.restart();
    assert_eq!(daemon.disabled(), 0);
}

#[test]
fn orders_that_make_no_sense_are_refused_in_words() {
    let daemon = Daemon::start(ANYBODY);
    let rows: [(&[&str], &str); 3] = [
        (&["disable", "r17"], "no route has a rule called r17"),
        (&["disable", "everything"], "neither the id of a rule"),
        (&["enable", NLRI], "no route is"),
    ];
    for (arguments, wanted) in rows {
        let (succeeded, said) = daemon.try_order(arguments);
        assert!(!succeeded && said.contains(wanted), "{arguments:?}: {said}");
    }
}

#[test]
fn a_panic_takes_everything_out_of_force_and_keeps_the_sessions() {
    let mut daemon = Daemon::start(ANYBODY);
    let _controller = daemon.announce("127.0.0.2", &[FLOW]);
    daemon.has_rules(&[(NLRI, "127.0.0.2", "installed")]);
    let explain = |daemon: &Daemon| {
        daemon.order(&["explain", "udp 198.51.100.7:123 > 203.0.113.5:4444 len 468"])
    };
    assert!(explain(&daemon).starts_with("discard"));
    daemon.order(&["panic"]);
    daemon.has_rules(&[(NLRI, "127.0.0.2", "rejected")]);
    assert!(explain(&daemon).contains("panic"), "{}", explain(&daemon));
    assert_eq!(daemon.show("summary")["suspended"], true);
    assert_eq!(daemon.neighbor("127.0.0.2").unwrap()["ups"], 1);
    let shown = daemon.order(&["show", "summary"]);
    assert!(shown.contains("PANIC"), "{shown}");
    daemon.order(&["resume"]);
    daemon.has_rules(&[(NLRI, "127.0.0.2", "installed")]);
    assert_eq!(daemon.neighbor("127.0.0.2").unwrap()["ups"], 1);

    daemon.order(&["panic", "--persist"]);
    daemon.restart();
    assert_eq!(daemon.show("summary")["suspended"], true);
    let _controller = daemon.announce("127.0.0.3", &[FLOW]);
    daemon.has_rules(&[(NLRI, "127.0.0.3", "rejected")]);
    daemon.order(&["resume"]);
    daemon.has_rules(&[(NLRI, "127.0.0.3", "installed")]);
    daemon.restart();
    assert_eq!(daemon.show("summary")["suspended"], false);
}

#[test]
fn damaged_orders_put_nothing_in_force_and_say_so() {
    let mut daemon = Daemon::start(ANYBODY);
    fs::create_dir(daemon.path("state")).unwrap();
    fs::write(daemon.path("state/orders.json"), "{ \"version\": 1, \"dis").unwrap();
    daemon.restart();
    daemon.logged("orders.json: is damaged");
    daemon.logged("no rule is in force until `flowacl resume`");
    assert_eq!(daemon.show("summary")["suspended"], Value::Bool(true));
    daemon.order(&["resume"]);
    daemon.restart();
    assert_eq!(daemon.show("summary")["suspended"], Value::Bool(false));
}
