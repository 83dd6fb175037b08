//! Programs that the tests need, and what they print.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The root of the repository.
pub const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

/// Where a program is, if it is installed.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/sbin", "/sbin", "/usr/lib/frr"])
        .map(|directory| Path::new(directory).join(program))
        .find(|candidate| candidate.is_file())
}

/// Whether root runs this and all programs are there; if not, says why the test is skipped. On CI nothing may be skipped.
pub fn available(programs: &[&str]) -> bool {
    let lacks = match programs.iter().find(|program| find(program).is_none()) {
        Some(program) => format!("{program} is not installed"),
        None if !nix::unistd::geteuid().is_root() => "needs root".into(),
        None => return true,
    };
    assert!(env::var_os("CI").is_none(), "{lacks}");
    eprintln!("skipped: {lacks}");
    false
}

/// Runs a command; gives its status and all that it printed.
pub fn output(command: &mut Command) -> (bool, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = [stdout, stderr].concat();
    (
        status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// Runs a command that must succeed; gives all that it printed.
pub fn run(command: &mut Command) -> String {
    let (succeeded, text) = output(command);
    assert!(succeeded, "{command:?}:\n{text}");
    text
}
