//! Runs of `cl-acltool`.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::output::Run;

/// Most octets that are kept of what the tool prints: a listing of 25,000 rules has fewer.
const OUTPUT_MAX: u64 = 16 << 20;

/// Why there is no end of a run to look at.
#[derive(Debug, thiserror::Error)]
pub(super) enum ToolError {
    /// It could not be started.
    #[error("{tool} cannot be run: {error}")]
    Start {
        /// Its path.
        tool: String,
        /// Why not.
        error: std::io::Error,
    },
    /// It was killed with all that it had started.
    #[error("{tool} did not end within {} s and was killed", .timeout.as_secs_f32())]
    Timeout {
        /// Its path.
        tool: String,
        /// How long it had.
        timeout: Duration,
    },
}

/// Runs the tool to its end, or kills it and what it started after `timeout`.
pub(super) fn run(tool: &Path, arguments: &[&str], timeout: Duration) -> Result<Run, ToolError> {
    let start = |error| ToolError::Start {
        tool: tool.display().to_string(),
        error,
    };
    let mut child = Command::new(tool)
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(start)?;
    let group = i32::try_from(child.id()).map(Pid::from_raw);
    let output = child.stdout.take().map(read_aside);
    let errors = child.stderr.take().map(read_aside);
    let ended = wait_aside(child);
    let status = match ended.recv_timeout(timeout) {
        Ok(status) => status.map_err(start)?,
        Err(_) => {
            if let Ok(group) = group {
                // It may have ended in this moment.
                let _ = killpg(group, Signal::SIGKILL);
            }
            let tool = tool.display().to_string();
            return Err(ToolError::Timeout { tool, timeout });
        }
    };
    // A process that it left behind may hold the pipes open.
    let text = [output, errors]
        .into_iter()
        .flatten()
        .map(|text| text.recv_timeout(timeout).unwrap_or_default());
    Ok(Run {
        code: status.code(),
        text: text.collect(),
    })
}

/// Waits in a thread, which reaps the child even when nobody waits for the thread any more.
fn wait_aside(mut child: Child) -> mpsc::Receiver<std::io::Result<ExitStatus>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(child.wait()));
    receiver
}

/// Reads in a thread, so that no pipe fills up.
fn read_aside(pipe: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut octets = Vec::new();
        let mut pipe = pipe.take(OUTPUT_MAX);
        // What was read before an error is all there is.
        let _ = pipe.read_to_end(&mut octets);
        let _ = std::io::copy(&mut pipe.into_inner(), &mut std::io::sink());
        // Nobody listens any more after a timeout.
        let _ = sender.send(String::from_utf8_lossy(&octets).into_owned());
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn shell(script: &str, timeout: Duration) -> Result<Run, ToolError> {
        run(Path::new("/bin/sh"), &["-c", script], timeout)
    }

    #[test]
    fn output_and_exit_code_are_read() {
        let long = Duration::from_secs(20);
        let run = shell("echo done.; echo 'error: no' >&2; exit 3", long).unwrap();
        assert_eq!(
            (run.code, run.text.as_str()),
            (Some(3), "done.\nerror: no\n")
        );
        let run = shell("kill -9 $$", long).unwrap();
        assert_eq!(run.code, None);
        let run = shell("head -c 3000000 /dev/zero", long).unwrap();
        assert_eq!(run.text.len(), 3_000_000, "more than a pipe holds");
        let missing = super::run(Path::new("/nonexistent/tool"), &[], long).unwrap_err();
        assert!(missing.to_string().contains("cannot be run"), "{missing}");
    }

    #[test]
    fn what_hangs_is_killed_with_its_children() {
        let directory = tempfile::tempdir().unwrap();
        let pid_file = directory.path().join("pid");
        let start = Instant::now();
        let script = format!("sleep 600 & echo $! > {}; wait", pid_file.display());
        let error = shell(&script, Duration::from_secs(1)).unwrap_err();
        assert!(error.to_string().ends_with("was killed"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(20));
        let pid = std::fs::read_to_string(pid_file).unwrap();
        let stat = format!("/proc/{}/stat", pid.trim());
        let deadline = Instant::now() + Duration::from_secs(10);
        let is_alive = || {
            let stat = std::fs::read_to_string(&stat).unwrap_or_default();
            !stat.is_empty() && !stat.contains(") Z ")
        };
        while is_alive() {
            assert!(Instant::now() < deadline, "the child lives on");
            thread::yield_now();
        }
    }
}
