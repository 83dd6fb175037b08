//! Programs that end with the test, and waiting for what they do.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

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

/// A program in the background. Its output goes to a file, which is shown when the test fails.
pub struct Program {
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts it in a process group of its own.
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let output = File::create(log).unwrap();
        let child = command
            .process_group(0)
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

    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        run(Command::new("kill").args(["-s", name, &self.child.id().to_string()]));
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = std::fs::read(&self.log).unwrap_or_default();
            eprintln!(
                "== {}\n{}",
                self.log.display(),
                String::from_utf8_lossy(&log)
            );
        }
        // It may have ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
