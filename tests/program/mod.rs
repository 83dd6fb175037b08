//! Programs that end with the test, and flowacl among them.
#![allow(dead_code, reason = "no test uses all of it")]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use serde_json::Value;

use crate::waiting::eventually;

/// Runs a command that must succeed; returns what it printed.
pub fn run(command: &mut Command) -> String {
    match try_run(command) {
        Ok(output) => output,
        Err(complaint) => panic!("{complaint}"),
    }
}

/// Runs a command; returns what it printed, or why it failed.
pub fn try_run(command: &mut Command) -> Result<String, String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(format!(
            "{command:?}: {}{}",
            text(&output.stdout),
            text(&output.stderr)
        )),
    }
}

/// flowacl, with nothing of the environment that would change what it does.
pub fn flowacl<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowacl"));
    command
        .args(arguments)
        .env_remove("NOTIFY_SOCKET")
        .env_remove("FLOWACL_LOG");
    command
}

/// `flowacl run` with a configuration.
pub fn daemon(configuration: &Path) -> Command {
    let mut command = flowacl(["run", "--config"]);
    command.arg(configuration);
    command
}

/// Asks the daemon behind a socket with `show WHAT --json`.
pub fn ask(socket: &Path, what: &str) -> Result<Value, String> {
    let answer = try_run(flowacl(["show", what, "--json", "--socket"]).arg(socket))?;
    serde_json::from_str(&answer).map_err(|error| format!("{error}: {answer}"))
}

/// A program in the background. Its output goes to a file, which is shown when the test fails.
pub struct Program {
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts it with a new log.
    pub fn start(command: &mut Command, log: &Path) -> Self {
        File::create(log).unwrap();
        Self::start_again(command, log)
    }

    /// Starts it and continues the log of the last one.
    pub fn start_again(command: &mut Command, log: &Path) -> Self {
        let output = File::options().create(true).append(true).open(log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self {
            child,
            log: log.to_owned(),
        }
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has said.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        run(Command::new("kill").args(["-s", name, &self.id().to_string()]));
    }

    /// Sends SIGTERM, as a service manager does it, and waits; returns the exit code.
    pub fn stop(&mut self) -> Option<i32> {
        self.signal("TERM");
        self.ended()
    }

    /// Waits until it has ended; returns the exit code.
    pub fn ended(&mut self) -> Option<i32> {
        eventually("the program ends", || {
            let status = self.child.try_wait().unwrap();
            status
                .map(|status| status.code())
                .ok_or_else(|| format!("still there\n{}", self.log()))
        })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("== {}\n{}", self.log.display(), self.log());
        }
        // It may have ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
