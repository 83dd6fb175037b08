//! A network namespace for a test, and `nft` in it.

use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, unshare};

/// Runs `test` in a thread with a network namespace of its own, where everything it starts lives
/// too.
///
/// Where that is not allowed the test is skipped, or fails if the environment variable `CI` is set.
pub fn in_namespace(test: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let usable = unshare(CloneFlags::CLONE_NEWNET)
                .map_err(|error| format!("no network namespace: {error}"))
                .and_then(|()| try_run("nft", &["list", "ruleset"]).map(drop));
            match usable {
                Ok(()) => test(),
                Err(reason) if std::env::var_os("CI").is_some() => panic!("{reason}"),
                Err(reason) => eprintln!("skipped: {reason}"),
            }
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Runs a program to its end and returns its output.
pub fn try_run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(format!(
            "{program} {arguments:?}: {} {}",
            output.status,
            text(&output.stderr)
        ))
    }
}

/// Runs a program that must succeed.
pub fn run(program: &str, arguments: &[&str]) -> String {
    try_run(program, arguments).unwrap()
}

/// The listing of our table by `nft`.
pub fn listing() -> String {
    run("nft", &["list", "table", "inet", "flowacl"])
}

/// Names the test that is to run in this process, which is inside a user namespace already.
const INSIDE: &str = "FLOWACL_TEST_IN_USER_NAMESPACE";

/// Runs the test called `name` as root of a user namespace, which has no privilege over the
/// machine.
///
/// Only a process with one thread can enter a user namespace: `unshare` starts this program anew
/// for that test alone.
pub fn in_user_namespace(name: &str, test: impl FnOnce() + Send) {
    if std::env::var_os(INSIDE).is_some_and(|inside| inside == name) {
        return test();
    }
    if let Err(reason) = try_run(
        "unshare",
        &["--map-root-user", "--net", "nft", "list", "ruleset"],
    ) {
        assert!(std::env::var_os("CI").is_none(), "{reason}");
        eprintln!("skipped: {reason}");
        return;
    }
    let program = std::env::current_exe().unwrap();
    let status = Command::new("unshare")
        .args(["--map-root-user", "--net"])
        .arg(program)
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, name)
        .status()
        .unwrap();
    assert!(status.success(), "{name} in a user namespace: {status}");
}
