//! The daemon on a switch with Cumulus Linux, whose `cl-acltool` is a stand-in.

use std::process::Command;

use super::*;
use crate::scene::{Switch, has_python};
use crate::waiting::eventually;

/// A daemon that programs the switch.
fn start(switch: &Switch) -> Daemon {
    let options = &switch.options;
    let dataplane = format!(
        "backend = \"cumulus\"\n[dataplane.cumulus]\nprofile = \"spectrum1\"\n\
         policy_file = \"{}\"\npolicy_conf = \"{}\"\ntool = \"{}\"\n",
        options.policy_file.display(),
        options.policy_conf.display(),
        options.tool.display()
    );
    Daemon::start_with(|port, directory| {
        let text = configuration(port, directory, ANYBODY);
        assert!(text.contains(SIM), "{text}");
        let text = text.replace(SIM, "");
        format!("{text}\n[dataplane]\n{dataplane}")
    })
}

/// A second flow, with the NLRI of [`OTHER_FLOW`], whose rate no policer counts.
const UDP: &str =
    "flow route { match { destination 203.0.113.0/24; protocol udp; } then { discard; } }";

/// What the other tests use.
const SIM: &str = "[dataplane]\nbackend = \"sim\"\n";

#[test]
fn rules_are_in_hardware_and_go_with_the_daemon() {
    if !has_python() {
        return;
    }
    let switch = Switch::new("spectrum1", false);
    let mut daemon = start(&switch);
    let controller = daemon.announce("127.0.0.2", &[FLOW, UDP]);
    daemon.has_rules(&[
        (NLRI, "127.0.0.2", "installed"),
        (OTHER_NLRI, "127.0.0.2", "installed"),
    ]);
    let rules = daemon.show("rules");
    let entries: u64 = rules["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| rule["entries"].as_u64().unwrap())
        .sum();
    let lines = switch.hardware();
    assert!(
        lines.iter().all(|line| line.contains("-i swp+")),
        "{lines:?}"
    );
    let rules = lines.iter().filter(|line| line.ends_with("DROP")).count() as u64;
    assert_eq!(rules, entries, "{lines:?}");
    let facts = daemon.show("dataplane")["facts"].to_string();
    assert!(facts.contains("port range checkers"), "{facts}");
    // What the tool refuses is unsupported with its words, and only that.
    let refused = lines.last().unwrap();
    drop(controller);
    daemon.has_rules(&[]);
    switch.set_fault(&format!("refuse {refused}"));
    let _controller = daemon.announce("127.0.0.2", &[FLOW, UDP]);
    eventually("one is refused", || {
        let mut states: Vec<String> = daemon
            .rules()
            .into_iter()
            .map(|(.., state)| state)
            .collect();
        states.sort();
        match states == ["installed", "unsupported"] {
            true => Ok(()),
            false => Err(format!("{states:?}\n{}", daemon.log())),
        }
    });
    let reasons = daemon.show("rules").to_string();
    assert!(reasons.contains("TOS match extension"), "{reasons}");
    assert_eq!(daemon.program.stop(), Some(0));
    assert_eq!((switch.file(), switch.hardware()), (None, vec![]));
}

#[test]
fn what_arrives_during_a_run_of_the_tool_is_one_more_run() {
    if !has_python() {
        return;
    }
    let switch = Switch::new("spectrum1", false);
    let daemon = start(&switch);
    let port = |port: u16| {
        format!(
            "flow route {{ match {{ protocol tcp; destination-port ={port}; }} then {{ discard; }} }}"
        )
    };
    let before = switch.installations();
    switch.set_fault("wait");
    let _first = daemon.announce("127.0.0.2", &[&port(1)]);
    eventually("a run has begun", || {
        match switch.installations() - before {
            0 => Err(daemon.log()),
            _ => Ok(()),
        }
    });
    let announce = |n: u16| {
        let flows = [port(10 * n), port(10 * n + 1), port(10 * n + 2)];
        let flows: Vec<&str> = flows.iter().map(String::as_str).collect();
        daemon.announce(&format!("127.0.0.{n}"), &flows)
    };
    let _others: Vec<Program> = (3..8).map(announce).collect();
    // Sessions do not wait for the tool.
    eventually("the others have said all", || match daemon.rules().len() {
        16 => Ok(()),
        rules => Err(format!("{rules} rules\n{}", daemon.log())),
    });
    assert_eq!(
        switch.installations(),
        before + 1,
        "the first run is not over"
    );
    switch.repair();
    eventually("all are installed", || {
        let rules = daemon.rules();
        match rules.iter().all(|(.., state)| state == "installed") {
            true => Ok(()),
            false => Err(format!("{rules:?}\n{}", daemon.log())),
        }
    });
    assert_eq!(switch.installations(), before + 2, "{}", daemon.log());
    let lines = switch.hardware();
    let rules = lines.iter().filter(|line| line.ends_with("DROP"));
    assert_eq!(rules.count(), 16, "{lines:?}");
}

/// A power failure leaves the old file or the new one, and the tool reads nothing that is not on the disk yet.
#[test]
fn the_policy_file_is_on_the_disk_before_the_tool_runs() {
    let root = nix::unistd::Uid::effective().is_root();
    if !has_python() {
        return;
    }
    if !root || Command::new("strace").arg("-V").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "needs root and strace");
        eprintln!("skipped: needs root and strace");
        return;
    }
    let switch = Switch::new("spectrum1", false);
    let daemon = start(&switch);
    // -y: descriptors with the names of their files.
    let mut strace = Command::new("strace");
    strace.args([
        "-f",
        "-y",
        "-e",
        "trace=fsync,execve,/^rename",
        "-e",
        "signal=none",
    ]);
    strace.args(["-p", &daemon.program.id().to_string()]);
    let tracer = Program::start(&mut strace, &daemon.path("strace.log"));
    eventually("strace is there", || match tracer.log() {
        log if log.contains("attached") => Ok(()),
        log => Err(log),
    });
    let _controller = daemon.announce("127.0.0.2", &[FLOW]);
    daemon.has_rules(&[(NLRI, "127.0.0.2", "installed")]);

    let file = switch.options.policy_file.display().to_string();
    let directory = switch.options.policy_file.parent().unwrap().display();
    let steps = [
        vec!["fsync(".to_owned(), format!("<{file}.new>")],
        vec![
            "rename".into(),
            format!("\"{file}.new\", "),
            format!("\"{file}\""),
        ],
        vec!["fsync(".into(), format!("<{directory}>")],
        vec!["execve(".into(), switch.options.tool.display().to_string()],
    ];
    let log = eventually("strace has told of the tool", || match tracer.log() {
        log if log.contains("execve(") => Ok(log),
        log => Err(log),
    });
    let mut lines = log.lines();
    for step in steps {
        let found = lines.find(|line| step.iter().all(|words| line.contains(words)));
        assert!(found.is_some(), "no {step:?} in its place: {log}");
    }
}
