//! The Unix socket of the control API as a file: made, protected, and taken away again.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

use crate::config::Control;
use crate::io::DaemonError;

/// The owner may ask the daemon.
const MODE: u32 = 0o600;

/// A group may, too: which of its members may do what is looked at when they ask.
const MODE_WITH_GROUP: u32 = 0o660;

/// Mode of the socket's directory, if it has to be made.
const DIRECTORY_MODE: u32 = 0o755;

/// A listening socket; its file goes with it.
pub(in crate::io) struct ControlSocket {
    path: PathBuf,
    /// Another daemon's file of the same name is not ours to remove.
    identity: Identity,
}

impl ControlSocket {
    /// Makes the socket. One that nobody listens on any more is replaced.
    pub(in crate::io) fn bind(control: &Control) -> Result<(Self, UnixListener), DaemonError> {
        let path = control.socket.as_path();
        let failed = |cause| DaemonError::ControlSocket {
            path: path.to_owned(),
            cause,
        };
        if let Some(directory) = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
        {
            let mut builder = fs::DirBuilder::new();
            builder
                .recursive(true)
                .mode(DIRECTORY_MODE)
                .create(directory)
                .map_err(failed)?;
        }
        if replace_stale(path).map_err(failed)? == Stale::Alive {
            return Err(DaemonError::AlreadyRunning(path.to_owned()));
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        let group = control.read_group.as_ref().or(control.write_group.as_ref());
        if let Some(group) = group {
            chown(path, None, Some(group.gid)).map_err(failed)?;
        }
        let mode = group.map_or(MODE, |_| MODE_WITH_GROUP);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed)?;
        let identity = identity(path).map_err(failed)?;
        Ok((
            Self {
                path: path.to_owned(),
                identity,
            },
            listener,
        ))
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            // The next start deals with one that cannot be removed.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether the place is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stale {
    /// Nothing there, or not any more.
    Free,
    /// Somebody listens.
    Alive,
}

/// Removes a socket that nobody listens on. Anything but a socket is an error.
fn replace_stale(path: &Path) -> io::Result<Stale> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Stale::Free),
        Err(error) => return Err(error),
        Ok(metadata) if metadata.file_type().is_socket() => {}
        Ok(_) => {
            return Err(io::Error::other(
                "there is a file of another kind in its place",
            ));
        }
    }
    match UnixStream::connect(path) {
        Ok(_) => Ok(Stale::Alive),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path)?;
            Ok(Stale::Free)
        }
        // One that listens but has no room answers so.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Stale::Alive),
        Err(error) => Err(error),
    }
}

/// What tells one file from another that has its name: device, inode, and, because inodes are used again, the time at which
/// it was made.
type Identity = (u64, u64, i64, i64);

/// The identity of the file at `path`.
fn identity(path: &Path) -> io::Result<Identity> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((
        metadata.dev(),
        metadata.ino(),
        metadata.mtime(),
        metadata.mtime_nsec(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Group;

    /// Runs `test` where sockets can be bound.
    fn in_runtime(test: impl FnOnce(&Path)) {
        let directory = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let _guard = runtime.enter();
        test(directory.path());
    }

    /// Makes a socket for root alone.
    fn bind(path: &Path) -> Result<(ControlSocket, UnixListener), DaemonError> {
        ControlSocket::bind(&Control {
            socket: path.to_owned(),
            ..Control::default()
        })
    }

    #[test]
    fn a_group_may_open_it_that_may_do_something() {
        in_runtime(|directory| {
            let path = directory.join("flowacl.sock");
            let gid = nix::unistd::Gid::effective().as_raw();
            let control = Control {
                socket: path.clone(),
                write_group: Some(Group {
                    name: "ours".into(),
                    gid,
                }),
                ..Control::default()
            };
            let (_socket, _listener) = ControlSocket::bind(&control).unwrap();
            let metadata = fs::metadata(&path).unwrap();
            assert_eq!(
                (metadata.permissions().mode() & 0o777, metadata.gid()),
                (0o660, gid)
            );
        });
    }

    #[test]
    fn makes_its_directory_and_cleans_up() {
        in_runtime(|directory| {
            let path = directory.join("run").join("flowacl.sock");
            let (socket, _listener) = bind(&path).unwrap();
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            drop(socket);
            assert!(!path.exists());
        });
    }

    #[test]
    fn replaces_a_stale_socket_only() {
        in_runtime(|directory| {
            let path = directory.join("stale");
            drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
            let (socket, _listener) = bind(&path).expect("nobody listens any more");
            let error = bind(&path).err().expect("somebody listens");
            assert!(matches!(error, DaemonError::AlreadyRunning(_)), "{error}");
            drop(socket);

            let path = directory.join("file");
            fs::write(&path, "precious").unwrap();
            let error = bind(&path).err().expect("it is no socket");
            assert!(
                matches!(error, DaemonError::ControlSocket { .. }),
                "{error}"
            );
            assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        });
    }

    #[test]
    fn leaves_the_socket_of_a_successor() {
        in_runtime(|directory| {
            let path = directory.join("flowacl.sock");
            let (old, listener) = bind(&path).unwrap();
            drop(listener);
            let (_new, _listener) = bind(&path).unwrap();
            drop(old);
            assert!(path.exists());
        });
    }
}
