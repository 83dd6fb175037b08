//! `flowacl plan` for each kind of hardware, held against files that people have read.
//!
//! With `FLOWACL_WRITE=1` the files are written anew; `git diff` shows what changed.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A file of this folder.
fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/plan")
        .join(name)
}

/// What `flowacl plan` prints.
fn plan(arguments: &[&str], flows: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_flowacl"))
        .arg("plan")
        .args(arguments)
        .arg("--wide")
        .arg(flows)
        .output()
        .unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn plans_are_those_that_people_have_read() {
    let flows = here("switch.flows");
    for (backend, profile) in [
        ("cumulus", "spectrum1"),
        ("cumulus", "spectrum1-ip-acl-heavy"),
        ("cumulus", "trident3"),
        ("cumulus", "tomahawk"),
        ("sonic", "202205-config_db"),
        ("sonic", "202411-mellanox-config_db"),
        ("sonic", "appl_db"),
    ] {
        let arguments = ["--backend", backend, "--profile", profile];
        // What a later process reads is no matter here.
        let text = plan(&arguments, &flows);
        let text: String = text
            .split_inclusive('\n')
            .filter(|line| !line.starts_with("# memo "))
            .collect();
        let golden = here(&format!("{backend}-{profile}.txt"));
        if std::env::var_os("FLOWACL_WRITE").is_some() {
            std::fs::write(&golden, &text).unwrap();
        }
        let expected = std::fs::read_to_string(&golden).unwrap();
        assert_eq!(text, expected, "{}", golden.display());
    }
}

#[test]
fn what_finds_no_room_is_pending_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("flows.txt");
    let flow = |port: u32| {
        format!(
            "flow route {{ match {{ protocol tcp; destination-port ={port}; }} then {{ discard; }} }}\n"
        )
    };
    let flows: String = (1..=300).map(flow).collect();
    std::fs::write(&path, flows).unwrap();
    let arguments = ["--backend", "cumulus", "--profile", "tomahawk", "--json"];
    let report: serde_json::Value = serde_json::from_str(&plan(&arguments, &path)).unwrap();
    let rules = report["rules"].as_array().unwrap();
    let installed = rules.iter().filter(|rule| rule["state"] == "installed");
    assert!(installed.clone().all(|rule| rule["entries"] == 1));
    assert_eq!(installed.count(), 256);
    let waiting: Vec<_> = rules
        .iter()
        .filter(|rule| rule["state"] == "pending")
        .collect();
    assert_eq!(waiting.len(), 44);
    for rule in waiting {
        let reason = rule["reason"].as_str().unwrap();
        let expected = "no room, waits until other rules go: \
                        it takes 1 entries for ipv4, and 0 are left of 256";
        assert_eq!(reason, expected);
    }
}

#[test]
fn interface_sets_cost_entries_for_each_interface() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let configuration = "[bgp]\nlocal_as = 65140\nrouter_id = \"192.0.2.2\"\n\
         [dataplane]\ninterfaces = [\"swp*\"]\n\
         [[interface_set]]\ngroup = \"65001:7\"\ninterfaces = [\"swp1\", \"swp2\", \"bond3\"]\n\
         [[interface_set]]\ngroup = \"65001:8\"\ninterfaces = [\"eth0\"]\n";
    std::fs::write(path("flowacl.toml"), configuration).unwrap();
    let flow = |host: u8, group: &str| {
        format!(
            "flow route {{ match {{ destination 203.0.113.{host}/32; }} \
             scope {{ interface-set transitive:input:{group}; }} then {{ discard; }} }}\n"
        )
    };
    std::fs::write(path("flows"), flow(1, "65001:7") + &flow(2, "65001:8")).unwrap();
    let config = path("flowacl.toml");
    let of_backend = |backend: &str, profile: &str| {
        let common = ["--config", config.to_str().unwrap(), "--backend", backend];
        let arguments = [&common[..], &["--profile", profile]].concat();
        plan(&arguments, &path("flows"))
    };
    let text = of_backend("cumulus", "spectrum2");
    for expected in [
        "-t mangle -A PREROUTING -i swp1 -d 203.0.113.1/32 -j DROP\n\
         -t mangle -A PREROUTING -i swp2 -d 203.0.113.1/32 -j DROP\n",
        "# Entries for IPv4: 2 of 12500;",
        "interface-set: eth0: is not an interface of the switch's hardware",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
    let flow = text
        .lines()
        .find(|line| line.starts_with("installed"))
        .unwrap();
    assert!(
        flow.trim_end().ends_with(" 3"),
        "for each of its interfaces: {flow}"
    );
    assert!(!text.contains("-i bond3"), "it is not filtered\n{text}");
    let text = of_backend("sonic", "202411");
    let reason = "interface-set: an entry holds for all interfaces of its table";
    assert_eq!(text.matches(reason).count(), 2, "{text}");
}

#[test]
fn a_profile_belongs_to_a_switch() {
    let rows = [
        (&["--backend", "cumulus"][..], "wants a --profile"),
        (
            &["--backend", "cumulus", "--profile", "spectrum9"],
            "is no profile; there are spectrum1",
        ),
        (
            &["--backend", "sonic", "--profile", "spectrum1"],
            "neither a release of SONiC",
        ),
        (
            &["--backend", "nftables", "--profile", "spectrum1"],
            "has no profiles",
        ),
    ];
    for (arguments, expected) in rows {
        let output = Command::new(env!("CARGO_BIN_EXE_flowacl"))
            .arg("plan")
            .args(arguments)
            .arg(here("switch.flows"))
            .output()
            .unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success() && errors.contains(expected),
            "{errors}"
        );
    }
}
