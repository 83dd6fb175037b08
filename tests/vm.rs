//! The virtual machine of `vm/run`: what it gives back, what it leaves behind, and the daemon on its older kernel.

#[path = "machine/mod.rs"]
mod machine;

use std::fs;
use std::process::Command;

/// A text of the machine.
fn text(octets: &[u8]) -> &str {
    std::str::from_utf8(octets).unwrap().trim_end()
}

/// The command lines of all processes that name a folder, as those of a machine do.
fn processes_that_name(folder: &str) -> Vec<String> {
    let lines = fs::read_dir("/proc").unwrap().filter_map(|process| {
        // Most are no processes, and some end now.
        let line = fs::read(process.unwrap().path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).replace('\0', " "))
    });
    lines.filter(|line| line.contains(folder)).collect()
}

#[test]
fn a_command_gives_its_output_and_status_back() {
    if !machine::available() {
        return;
    }
    let share = tempfile::tempdir().unwrap();
    let path = share.path().to_str().unwrap();
    let foreign = tempfile::NamedTempFile::new().unwrap();
    let script = r#"
        echo "$1"; echo complaint >&2
        readlink /sys/class/net/* | grep -v virtual; ls /sys/class/net
        echo seen >"$2/file"; echo changed >"$3"
        exit 7"#;
    let output = machine::run(
        &["-s", path],
        &[
            "sh",
            "-c",
            script,
            "sh",
            "it's  \"$HOME\"\n",
            path,
            foreign.path().to_str().unwrap(),
        ],
    );
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    assert_eq!(text(&output.stdout), "it's  \"$HOME\"\n\nlo");
    assert_eq!(text(&output.stderr), "complaint");
    // What is shared is written, and nothing else.
    let shared = fs::read_to_string(share.path().join("file")).unwrap();
    assert_eq!(shared, "seen\n");
    assert_eq!(fs::read_to_string(foreign.path()).unwrap(), "");
}

#[test]
fn a_machine_that_hangs_or_dies_is_told_apart_and_leaves_nothing() {
    if !machine::available() {
        return;
    }
    let die = "echo c >/proc/sysrq-trigger; sleep 1000";
    let rows = [
        ("hangs", "10", "sleep 1000", 124, "stopped after 10 s"),
        ("dies", "100", die, 125, "the virtual machine died"),
    ];
    for (name, limit_secs, script, status, complaint) in rows {
        let temporary = tempfile::tempdir().unwrap();
        let run = concat!(env!("CARGO_MANIFEST_DIR"), "/vm/run");
        let output = Command::new(run)
            .args(["-t", limit_secs, "--", "sh", "-c", script])
            .env("TMPDIR", temporary.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(status), "{name}: {output:?}");
        assert!(
            text(&output.stderr).contains(complaint),
            "{name}: {output:?}"
        );
        assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0, "{name}");
        let folder = temporary.path().to_str().unwrap();
        assert_eq!(processes_that_name(folder), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn it_has_what_build_machines_lack() {
    if !machine::inside("it_has_what_build_machines_lack") {
        return;
    }
    let rows = [
        "ip link add red type vrf table 10",
        "ip link add port0 type dummy",
        "ip link add link port0 name port0.7 type vlan id 7",
        "tc qdisc add dev port0 clsact",
        "tc filter add dev port0 ingress protocol ip flower ip_proto udp action drop",
        "tc filter add dev port0 ingress matchall action police rate 1mbit burst 10k",
        "nft add table inet t",
        "nft add chain inet t c { type filter hook prerouting priority 0; }",
        "nft add rule inet t c meta iifkind vrf counter",
    ];
    for row in rows {
        let words: Vec<_> = row.split(' ').collect();
        let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
        assert!(output.status.success(), "{row}: {}", text(&output.stderr));
    }
}

#[test]
fn the_daemon_works_on_its_kernel() {
    if !machine::available() {
        return;
    }
    let output = machine::run(&[], &[env!("CARGO_BIN_EXE_flowacl"), "demo"]);
    let told = text(&output.stdout);
    assert!(
        output.status.success() && told.contains("checks passed"),
        "{told}\n{}",
        text(&output.stderr)
    );
}
