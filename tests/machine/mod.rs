//! Runs tests inside the virtual machine of `vm/run`: Linux 6.1, with the modules that build machines lack.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::env;
use std::process::{Command, Output};
use std::sync::OnceLock;

/// Set inside the machine.
const INSIDE: &str = "FLOWACL_IN_MACHINE";

/// The program that runs a command in the machine.
const RUN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/vm/run");

/// Whether there is a machine here; on CI nothing may be skipped.
pub fn available() -> bool {
    static LACKS: OnceLock<Option<String>> = OnceLock::new();
    let lacks = LACKS.get_or_init(|| {
        let check = Command::new(RUN).arg("--check").output();
        let check = check.unwrap_or_else(|error| panic!("{RUN}: {error}"));
        let reason = String::from_utf8_lossy(&check.stderr).trim_end().to_owned();
        (!check.status.success()).then_some(reason)
    });
    let Some(lacks) = lacks else { return true };
    assert!(env::var_os("CI").is_none(), "{lacks}");
    eprintln!("skipped: {lacks}");
    false
}

/// Runs a command in the machine, with options of `vm/run`.
pub fn run(options: &[&str], command: &[&str]) -> Output {
    let mut run = Command::new(RUN);
    run.args(options).arg("--").args(command);
    run.output()
        .unwrap_or_else(|error| panic!("{RUN}: {error}"))
}

/// Runs tests of this binary in the machine and demands that they pass; `arguments` are those of a test binary. There
/// must be such tests, and none may be skipped.
pub fn run_tests(options: &[&str], arguments: &[&str]) {
    let this = env::current_exe().expect("the kernel knows what it runs");
    let this = this.to_str().expect("cargo's folder has a printable name");
    let environment = format!("{INSIDE}=1");
    let command = [&["env", &environment, "CI=true", this], arguments].concat();
    let output = run(options, &command);
    let told = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    let passed = told.contains("test result: ok.") && !told.contains("ok. 0 passed");
    assert!(
        output.status.success() && passed,
        "in the virtual machine: {}\n{told}\n{complaint}",
        output.status
    );
}

/// True in the machine. Elsewhere runs the calling test there, whose full name is given, and returns false: then the
/// test is over.
pub fn inside(test: &str) -> bool {
    if env::var_os(INSIDE).is_some() {
        return true;
    }
    if available() {
        // Seconds, on machines that are slow and busy.
        run_tests(&["-t", "300"], &["--exact", test, "--nocapture"]);
    }
    false
}
