//! What the kernel knows of the other side of a Unix socket and no library asks for.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Groups that are asked for at first; the kernel says when there are more.
const FIRST_ROOM: usize = 32;

/// The supplementary groups that the peer had when it connected (SO_PEERGROUPS, Linux 4.13).
pub(super) fn peer_groups(socket: BorrowedFd<'_>) -> io::Result<Vec<libc::gid_t>> {
    let mut groups = vec![0; FIRST_ROOM];
    loop {
        let mut length = socket_length(&groups);
        // SAFETY: the pointer is to `length` octets that are ours and initialized; the kernel writes gid_t, for which any
        // octets are valid, into no more than those, and sets `length`; the descriptor is open as long as it is borrowed.
        let status = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        let number = length as usize / size_of::<libc::gid_t>();
        if status == 0 {
            groups.truncate(number);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        // The kernel has said how much room it needs; a peer has at most 65,536 groups.
        if error.raw_os_error() != Some(libc::ERANGE) || number <= groups.len() {
            return Err(error);
        }
        groups.resize(number, 0);
    }
}

/// The size of the list in octets.
fn socket_length(groups: &[libc::gid_t]) -> libc::socklen_t {
    libc::socklen_t::try_from(size_of_val(groups)).expect("groups are few")
}
