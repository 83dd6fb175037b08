//! `[control]` and `[metrics]`: how the running daemon is asked.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::reader::{Section, Value};

/// Where the control socket is when the file does not say.
pub const DEFAULT_SOCKET: &str = "/run/flowacl/flowacl.sock";

/// Where the daemon keeps what it is to remember when the file does not say.
const DEFAULT_STATE_DIRECTORY: &str = "/var/lib/flowacl";

/// Longest path of a Unix socket: `sun_path` without its final zero.
const MAX_SOCKET_PATH: usize = 107;

/// `[control]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// The Unix socket of the control API.
    pub socket: PathBuf,
    /// Whose members may ask; `None`: root and the daemon's own user alone.
    pub read_group: Option<Group>,
    /// Whose members may also change what the daemon does; `None`: likewise.
    pub write_group: Option<Group>,
    /// Where orders of the operator are kept for the time after a restart.
    pub state_directory: PathBuf,
}

/// A group of users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// As configured.
    pub name: String,
    /// Its number when the configuration was read.
    pub gid: u32,
}

impl Default for Control {
    fn default() -> Self {
        Self {
            socket: DEFAULT_SOCKET.into(),
            read_group: None,
            write_group: None,
            state_directory: DEFAULT_STATE_DIRECTORY.into(),
        }
    }
}

impl Control {
    /// Reads the section.
    pub(super) fn read(mut section: Section<'_, '_>) -> Self {
        let default = Self::default();
        let read = Self {
            socket: section.optional("socket", socket).unwrap_or(default.socket),
            read_group: section.optional("read_group", group),
            write_group: section.optional("write_group", group),
            state_directory: section
                .optional("state_directory", absolute_path)
                .unwrap_or(default.state_directory),
        };
        section.finish();
        read
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

/// A group of this machine.
fn group(value: &Value<'_, '_>) -> Result<Group, String> {
    let name = value.text()?;
    match nix::unistd::Group::from_name(name) {
        Ok(Some(group)) => Ok(Group {
            name: name.to_owned(),
            gid: group.gid.as_raw(),
        }),
        Ok(None) => Err(format!("there is no group {name:?} on this machine")),
        Err(error) => Err(format!("the group {name:?} cannot be looked up: {error}")),
    }
}

/// A path that means the same wherever the daemon is started.
pub(super) fn absolute_path(value: &Value<'_, '_>) -> Result<PathBuf, String> {
    let path = PathBuf::from(value.text()?);
    match path.is_absolute() {
        true => Ok(path),
        false => Err(format!("{} is not an absolute path", path.display())),
    }
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
