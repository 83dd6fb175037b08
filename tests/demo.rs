//! `flowacl demo` as an ordinary user.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

/// The user `nobody`.
const NOBODY: u32 = 65_534;

/// Runs the demo; root gives up its rights first.
#[test]
fn demo_succeeds_without_privileges_on_80_columns() {
    // Nobody may be kept out of the directory of the build.
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    let program = directory.path().join("flowacl");
    fs::copy(env!("CARGO_BIN_EXE_flowacl"), &program).unwrap();
    let mut command = Command::new(&program);
    command.arg("demo").env_remove("FLOWACL_LOG");
    if nix::unistd::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let start = Instant::now();
    let result = command.output().unwrap();
    let (output, errors) = (
        String::from_utf8(result.stdout).unwrap(),
        String::from_utf8(result.stderr).unwrap(),
    );
    if errors.contains("does not allow") && std::env::var_os("CI").is_none() {
        assert_eq!(errors.lines().count(), 1, "{errors}");
        eprintln!("skipped: {errors}");
        return;
    }
    assert!(result.status.success(), "{output}\n{errors}");
    assert_eq!(errors, "");
    assert!(output.contains("checks passed"), "{output}");
    assert!(start.elapsed() < Duration::from_secs(15));
    for line in output.lines() {
        assert!(line.chars().count() <= 80, "too wide: {line}");
    }
}
