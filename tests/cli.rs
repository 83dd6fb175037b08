//! The command line without a daemon, through the built program.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

/// Runs the program with `input` on stdin.
fn flowacl_with(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_flowacl"))
        .args(arguments)
        .env("COLUMNS", "80")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that does not want the input may close it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// Runs the program; returns its exit code, stdout and stderr.
fn flowacl(arguments: &[&str]) -> (i32, String, String) {
    told(flowacl_with(arguments, ""))
}

/// Exit code, stdout and stderr as text.
fn told(output: Output) -> (i32, String, String) {
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// A file with this text, and its path.
fn file(text: &str) -> (tempfile::TempPath, String) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let path = file.into_temp_path();
    let name = path.to_str().unwrap().to_owned();
    (path, name)
}

#[test]
fn help_has_examples() {
    for command in [
        "run", "check", "show", "decode", "plan", "explain", "announce",
    ] {
        let (code, help, _) = flowacl(&[command, "--help"]);
        assert_eq!(code, 0, "{command}");
        assert!(
            help.contains(&format!("flowacl {command}")),
            "{command}: {help}"
        );
        assert!(help.contains("Example"), "{command}: {help}");
        assert!(
            help.lines().all(|line| line.chars().count() <= 120),
            "{command}: {help}"
        );
    }
}

#[test]
fn check_tells_every_error_with_its_place() {
    let (_file, path) = file("[bgp]\nlocal_as = 65140\nrouter_id = \"0.0.0.0\"\nlisten = 5\n");
    let (code, stdout, stderr) = flowacl(&["check", "--config", &path]);
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert_eq!(
        stderr,
        format!(
            "{path}:3:13: bgp.router_id: 0.0.0.0 is not a BGP identifier (RFC 6286)\n\
             {path}:4:10: bgp.listen: must be an array, not an integer\n"
        )
    );
}

#[test]
fn check_accepts_the_examples() {
    for name in ["lab", "router", "switch"] {
        let path = format!("{}/examples/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        let (code, stdout, stderr) = flowacl(&["check", "--config", &path]);
        assert_eq!((code, stderr.as_str()), (0, ""), "{name}");
        assert!(stdout.contains("right"), "{name}: {stdout}");
    }
}

#[test]
fn wrong_command_lines_exit_with_2() {
    let rows: [&[&str]; 6] = [
        &[],
        &["shwo"],
        &["show", "everything"],
        &["plan", "--backend", "iptables"],
        &["decode", "--family", "ipv4-unicast", "00"],
        &[
            "announce",
            "--to",
            "127.0.0.1",
            "--local-as",
            "1",
            "--remote-as",
            "2",
        ],
    ];
    for arguments in rows {
        let (code, _, stderr) = flowacl(arguments);
        assert_eq!(code, 2, "{arguments:?}: {stderr}");
    }
    let (_, _, stderr) = flowacl(&["plan", "--backend", "iptables"]);
    assert!(stderr.contains("\"iptables\" is not a backend"), "{stderr}");
}

#[test]
fn decode_json_of_bare_nlri() {
    let (code, stdout, _) = flowacl(&[
        "decode",
        "--json",
        "--family",
        "ipv4-flow",
        "0x0c 01:20:cb:00:71:05 038111 058150",
    ]);
    let value: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(code, 0, "{stdout}");
    assert_eq!(value["nlri"], "0c0120cb007105038111058150");
    assert_eq!(value["ok"], true);
    let flow = value["flow"].as_str().unwrap();
    assert!(flow.contains("203.0.113.5/32"), "{flow}");
    let keys: Vec<_> = value.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["flow", "nlri", "ok"]);
}

#[test]
fn decode_json_of_malformed_nlri() {
    let rows = [
        ("no component", "00", "treat-as-withdraw"),
        ("out of order", "06 038111 028100", "treat-as-withdraw"),
        ("overrun", "0c 0120", "session-reset"),
    ];
    for (name, octets, outcome) in rows {
        let (code, stdout, _) = flowacl(&["decode", "--json", "--family", "ipv4-flow", octets]);
        let value: Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!(code, 1, "{name}: {stdout}");
        assert_eq!(value["ok"], false, "{name}");
        assert_eq!(value["outcome"], outcome, "{name}");
        assert!(!value["error"].as_str().unwrap().is_empty(), "{name}");
    }
}

#[test]
fn decode_shows_the_whole_way() {
    let (code, stdout, _) = flowacl(&[
        "decode",
        "--family",
        "ipv4-flow",
        "0c0120cb007105038111058150",
    ]);
    assert_eq!(code, 0, "{stdout}");
    for word in [
        "NLRI",
        "component",
        "flow",
        "actions",
        "rule",
        "nftables",
        "203.0.113.5",
    ] {
        assert!(stdout.contains(word), "{word} is missing in: {stdout}");
    }
}

#[test]
fn decode_tells_the_offset() {
    let (code, stdout, _) = flowacl(&["decode", "--family", "ipv4-flow", "06 038111 028100"]);
    assert_eq!(code, 1);
    assert!(stdout.contains("offset 3"), "{stdout}");
    let (code, _, stderr) = flowacl(&["decode", "--family", "ipv4-flow", "0g"]);
    assert_eq!(
        (code, stderr.as_str()),
        (1, "flowacl: 'g' is not a hex digit\n")
    );
}

/// ORIGIN IGP, AS_PATH 65070, traffic-rate 0, and one route to 203.0.113.5/32.
const UPDATE: &str = "0000 0027 400101 00 40020602010000fe2e c010088006000000000000 \
    800e0c 0001 85 00 00 06 0120cb007105";

#[test]
fn decode_of_an_update() {
    let (code, stdout, stderr) = flowacl(&["decode", "--json", UPDATE]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let value: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(value["routes"][0]["family"], "ipv4-flow");
    assert_eq!(value["routes"][0]["nlri"], "060120cb007105");
    let (code, stdout, _) = flowacl(&["decode", UPDATE]);
    assert_eq!(code, 0, "{stdout}");
    assert!(
        stdout.contains("AS_PATH 65070") && stdout.contains("discard"),
        "{stdout}"
    );
}

#[test]
fn decode_of_a_keepalive() {
    let keepalive = format!("{}001304", "ff".repeat(16));
    let (code, stdout, _) = flowacl(&["decode", &keepalive]);
    assert_eq!((code, stdout.as_str()), (0, "message     KEEPALIVE\n"));
    let (code, stdout, _) = flowacl(&["decode", "--json", &keepalive]);
    let value: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, value), (0, json!({"ok": true})));
}

/// Two flows that matter in another order than they stand, and one that cannot be enforced.
const FLOWS: &str = "\
flow route { match { destination 203.0.113.0/24; } then { discard; } }
flow route { match { destination 203.0.113.5/32; protocol udp; } then { rate-limit 9600; } }
flow route { match { destination 198.51.100.0/24; } then { redirect 65000:100; } }
ipv6-flow 07 01 20 00 20 01 0d b8   # a comment
";

#[test]
fn plan_json_is_in_precedence_order() {
    let (code, stdout, stderr) = told(flowacl_with(
        &["plan", "--backend", "nftables", "--json"],
        FLOWS,
    ));
    assert_eq!(code, 0, "{stderr}");
    let value: Value = serde_json::from_str(&stdout).unwrap();
    let rules: Vec<_> = value["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| {
            (
                rule["nlri"].as_str().unwrap(),
                rule["state"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        rules,
        [
            ("050118c63364", "unsupported"),
            ("090120cb007105038111", "installed"),
            ("050118cb0071", "installed"),
            ("0701200020010db8", "installed"),
        ]
    );
    assert!(
        value["rules"][0]["reason"]
            .as_str()
            .unwrap()
            .contains("redirect")
    );
    assert_eq!(value["rules"][2]["actions"], json!(["discard"]));
}

#[test]
fn plan_prints_what_would_be_installed() {
    let (_file, path) = file(FLOWS);
    let (code, stdout, stderr) = flowacl(&["plan", "--backend", "nftables", &path]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("table inet flowacl"), "{stdout}");
    assert!(stdout.contains("3 of 4 flows"), "{stdout}");
}

#[test]
fn plan_reads_what_names_stand_for() {
    let flows = "flow route { match { destination 203.0.113.5/32; } then { redirect 65001:100; } }\n\
        flow route { match { destination 203.0.113.6/32; } \
        scope { interface-set transitive:input:65001:7; } then { discard; } }\n";
    let config = "[bgp]\nlocal_as = 65001\nrouter_id = \"192.0.2.2\"\n\
        [[redirect]]\nroute_target = \"65001:100\"\ntable = 200\n\
        [[interface_set]]\ngroup = \"65001:7\"\ninterfaces = [\"swp*\"]\n\
        [dataplane]\ninterfaces = [\"eth7\"]\n";
    let ((_flows, flows), (_config, config)) = (file(flows), file(config));
    let (_, without, _) = flowacl(&["plan", &flows]);
    assert!(without.contains("0 of 2 flows"), "{without}");
    let (code, with, stderr) = flowacl(&["plan", "--config", &config, &flows]);
    assert_eq!(code, 0, "{stderr}");
    for text in [
        "2 of 2 flows",
        "iifname \"swp*\"",
        "iifname != \"eth7\" accept",
        "meta mark set",
    ] {
        assert!(with.contains(text), "{text}: {with}");
    }
}

#[test]
fn plan_tells_every_error_with_its_place() {
    let text = "flow route { match { destination 203.0.113.0/33; } then { discard; } }\n\
        ipv4-flow 00\n";
    let (code, stdout, stderr) = told(flowacl_with(&["plan", "--backend", "sim"], text));
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains("stdin:1:"), "{stderr}");
    assert!(stderr.contains("stdin:2:1: "), "{stderr}");
}

#[test]
fn commands_that_need_a_daemon_say_so() {
    let commands: [&[&str]; 2] = [
        &["show", "rules"],
        &["explain", "udp 1.1.1.1:1 > 2.2.2.2:2"],
    ];
    for command in commands {
        let arguments = [command, &["--socket", "/nonexistent/flowacl.sock"]].concat();
        let (code, _, stderr) = flowacl(&arguments);
        assert_eq!(code, 1, "{command:?}");
        assert!(
            stderr.contains("no daemon answers at /nonexistent/flowacl.sock"),
            "{stderr}"
        );
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

#[test]
fn announce_says_why_there_is_no_session() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let to = format!("127.0.0.1:{port}");
    let (code, _, stderr) = flowacl(&[
        "announce",
        "--to",
        &to,
        "--local-as",
        "65070",
        "--remote-as",
        "65140",
        "--patience",
        "1",
        "flow route { match { destination 203.0.113.5/32; } then { discard; } }",
    ]);
    assert_eq!(code, 1);
    assert!(stderr.contains("Connection refused"), "{stderr}");
}

#[test]
fn a_reader_that_has_gone_is_no_error() {
    let flows: String = (0..2000)
        .map(|index| format!("ipv4-flow 06 0120 0a00 {:04x}\n", index))
        .collect();
    let mut child = Command::new(env!("CARGO_BIN_EXE_flowacl"))
        .args(["plan", "--backend", "sim", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    child
        .stdin
        .take()
        .unwrap()
        .write_all(flows.as_bytes())
        .unwrap();
    let (code, _, stderr) = told(child.wait_with_output().unwrap());
    assert_eq!((code, stderr.as_str()), (0, ""));
}

#[test]
fn systemd_understands_the_unit() {
    if Command::new("systemd-analyze")
        .arg("--version")
        .output()
        .is_err()
    {
        assert!(
            std::env::var_os("CI").is_none(),
            "systemd-analyze is missing"
        );
        eprintln!("skipped: there is no systemd-analyze");
        return;
    }
    let unit = include_str!("../systemd/flowacl.service");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("flowacl.service");
    // It looks for the program, which is not installed here.
    let unit = unit.replace("/usr/sbin/flowacl", env!("CARGO_BIN_EXE_flowacl"));
    std::fs::write(&path, unit).unwrap();
    let output = Command::new("systemd-analyze")
        .arg("verify")
        .arg(&path)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{stderr}");
}
