//! A network namespace for a test, and `nft` in it.

use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, unshare};

/// Runs `test` in a thread with a network namespace of its own, where everything it starts lives too.
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
