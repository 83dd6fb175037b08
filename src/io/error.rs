//! Why the daemon cannot start, reload or answer.

use std::fmt;
use std::io;
use std::path::PathBuf;

use dataplane::backend::BackendError;

/// Why the daemon does not start, or keeps its old configuration.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// No thread, no event loop.
    #[error("cannot start: {0}")]
    Runtime(io::Error),
    /// A BGP or metrics address is taken or not ours.
    #[error("cannot listen on {place}: {cause}")]
    Listen {
        /// The address, and the interface if it is bound to one.
        place: String,
        /// What the kernel said.
        cause: io::Error,
    },
    /// Another daemon has the control socket.
    #[error("another daemon answers at {}; two cannot share one control socket", .0.display())]
    AlreadyRunning(PathBuf),
    /// The control socket cannot be made.
    #[error("cannot make the control socket {}: {cause}", path.display())]
    ControlSocket {
        /// Its path.
        path: PathBuf,
        /// What the kernel said.
        cause: io::Error,
    },
    /// The interfaces of the machine cannot be read.
    #[error("cannot read the interfaces of this machine: {0}")]
    Links(String),
    /// The packet filter does not work.
    #[error("the {backend} backend does not start: {cause}")]
    Backend {
        /// Its name.
        backend: &'static str,
        /// What it said.
        cause: BackendError,
    },
    /// A setting that a running daemon cannot change.
    #[error("{}", in_lines(.0))]
    NeedsRestart(Vec<Unchangeable>),
    /// The daemon has ended.
    #[error("the daemon has ended")]
    Ended,
}

/// A key that a running daemon cannot change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unchangeable {
    /// Its name.
    pub key: &'static str,
    /// Where the new file sets it; `None`: it no longer does.
    pub line: Option<usize>,
}

impl fmt::Display for Unchangeable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        write!(
            f,
            "{} cannot be changed while flowacl runs; restart it",
            self.key
        )
    }
}

/// Each in a line of its own.
fn in_lines(keys: &[Unchangeable]) -> String {
    let lines: Vec<_> = keys.iter().map(ToString::to_string).collect();
    lines.join("\n")
}
