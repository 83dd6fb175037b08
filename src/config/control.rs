//! `[control]` and `[metrics]`: how the running daemon is asked.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::reader::{Section, Value};

/// Where the control socket is when the file does not say.
pub const DEFAULT_SOCKET: &str = "/run/flowacl/flowacl.sock";

/// Longest path of a Unix socket: `sun_path` without its final zero.
const MAX_SOCKET_PATH: usize = 107;

/// `[control]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// The Unix socket of the control API.
    pub socket: PathBuf,
}

impl Default for Control {
    fn default() -> Self {
        Self {
            socket: DEFAULT_SOCKET.into(),
        }
    }
}

impl Control {
    /// Reads the section.
    pub(super) fn read(mut section: Section<'_, '_>) -> Self {
        let socket = section.optional("socket", socket);
        section.finish();
        socket.map_or_else(Self::default, |socket| Self { socket })
    }
}

/// A path that a Unix socket can have.
fn socket(value: &Value<'_, '_>) -> Result<PathBuf, String> {
    let path = value.text()?;
    if path.is_empty() || path.contains('\0') {
        return Err(format!("{path:?} is not a path"));
    }
    if path.len() > MAX_SOCKET_PATH {
        return Err(format!(
            "is longer than the {MAX_SOCKET_PATH} octets of a socket's path"
        ));
    }
    Ok(path.into())
}

/// `[metrics]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// Where Prometheus text and the status page are served.
    pub listen: SocketAddr,
}

impl Metrics {
    /// Reads the section.
    pub(super) fn read(mut section: Section<'_, '_>) -> Option<Self> {
        let listen = section.required("listen", Value::socket_address);
        section.finish();
        Some(Self { listen: listen? })
    }
}
