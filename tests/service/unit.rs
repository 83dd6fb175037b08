//! The unit as systemd reads it, alone and with the drop-ins of switches.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{REPOSITORY, available, told};

/// Unit and drop-in, and how much exposure `systemd-analyze security` may find, in tenths: cl-acltool must be root.
const ROWS: &[(&str, Option<&str>, u8)] = &[
    ("router", None, 18),
    ("SONiC", Some("sonic.conf"), 20),
    ("Cumulus", Some("cumulus.conf"), 36),
];

/// The unit in a folder of its own, for the program of this build.
fn unit(folder: &Path, drop_in: Option<&str>) -> PathBuf {
    let source = Path::new(REPOSITORY).join("systemd");
    let text = fs::read_to_string(source.join("flowacl.service")).unwrap();
    let text = text.replace("/usr/sbin/flowacl", env!("CARGO_BIN_EXE_flowacl"));
    let unit = folder.join("flowacl.service");
    fs::write(&unit, text).unwrap();
    if let Some(drop_in) = drop_in {
        let drop_ins = folder.join("flowacl.service.d");
        fs::create_dir(&drop_ins).unwrap();
        fs::copy(source.join(drop_in), drop_ins.join(drop_in)).unwrap();
    }
    unit
}

#[test]
fn systemd_understands_every_line() {
    if !available(&["systemd-analyze"]) {
        return;
    }
    for (name, drop_in, _) in ROWS {
        let folder = tempfile::tempdir().unwrap();
        let unit = unit(folder.path(), *drop_in);
        let mut verify = Command::new("systemd-analyze");
        let output = told(verify.args(["verify", "--man=no"]).arg(&unit));
        // Other units of this machine may have complaints of their own.
        let ours: Vec<_> = output
            .lines()
            .filter(|line| line.contains("flowacl"))
            .collect();
        assert!(ours.is_empty(), "{name}: {ours:?}");
    }
}

#[test]
fn little_is_exposed() {
    if !available(&["systemd-analyze"]) {
        return;
    }
    for (name, drop_in, tenths) in ROWS {
        let folder = tempfile::tempdir().unwrap();
        let unit = unit(folder.path(), *drop_in);
        let mut security = Command::new("systemd-analyze");
        security.args(["security", "--no-pager", "--offline=true"]);
        let output = told(security.arg(format!("--threshold={tenths}")).arg(&unit));
        assert!(
            output.contains("Overall exposure level"),
            "{name}: {output}"
        );
    }
}
