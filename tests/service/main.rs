//! flowacl as a service: the unit, the package on a real Debian, the service under a real systemd, and every example.

mod examples;
mod leftovers;
#[path = "../machine/mod.rs"]
mod machine;
#[path = "../interop/network.rs"]
#[allow(dead_code, reason = "the interoperability tests use the rest of it")]
mod network;
mod package;
#[path = "../program/mod.rs"]
mod program;
mod unit;
#[path = "../waiting/mod.rs"]
mod waiting;

use std::env;
use std::process::Command;

/// The root of the repository.
const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

/// Whether root runs this and all programs are there; if not, says why the test is skipped. On CI nothing may be skipped.
fn available(programs: &[&str]) -> bool {
    let lacks = programs
        .iter()
        .find(|program| network::find(program).is_none());
    let lacks = match lacks {
        Some(program) => format!("{program} is not installed"),
        None if !nix::unistd::geteuid().is_root() => "needs root".into(),
        None => return true,
    };
    assert!(env::var_os("CI").is_none(), "{lacks}");
    eprintln!("skipped: {lacks}");
    false
}

/// Runs a command that must succeed; gives all that it printed, errors first.
fn told(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = [output.stderr, output.stdout].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{command:?}:\n{text}");
    text
}
