//! Options of TCP sockets that no library sets.
#![allow(unsafe_code)]

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use ipnetwork::IpNetwork;

/// Room for a key (`TCP_MD5SIG_MAXKEYLEN`).
const KEY_ROOM: usize = 80;
/// Octets of `struct __kernel_sockaddr_storage`.
const ADDRESS_ROOM: usize = 128;
/// `TCP_MD5SIG_FLAG_PREFIX`: the key is for all addresses of a prefix.
const FOR_PREFIX: u8 = 1;

/// `struct tcp_md5sig` of linux/tcp.h.
#[repr(C)]
struct Signature {
    address: [u8; ADDRESS_ROOM],
    flags: u8,
    prefix_length: u8,
    key_length: u16,
    interface: i32,
    key: [u8; KEY_ROOM],
}

/// Gives a socket the key of a remote prefix (RFC 2385), or takes it away; a key that is not there is no error.
pub(super) fn set_md5(
    socket: BorrowedFd<'_>,
    remote: IpNetwork,
    key: Option<&[u8]>,
) -> io::Result<()> {
    let mut signature = Signature {
        address: [0; ADDRESS_ROOM],
        flags: FOR_PREFIX,
        prefix_length: remote.prefix(),
        key_length: 0,
        interface: 0,
        key: [0; KEY_ROOM],
    };
    put_address(&mut signature.address, remote.network());
    if let Some(key) = key {
        let room = signature.key.get_mut(..key.len());
        room.ok_or(io::ErrorKind::InvalidInput)?
            .copy_from_slice(key);
        signature.key_length = key.len() as u16;
    }
    let result = set(socket, libc::IPPROTO_TCP, libc::TCP_MD5SIG_EXT, &signature);
    match result {
        Err(error) if key.is_none() && error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        result => result,
    }
}

/// Takes nothing with a lower TTL or hop limit (RFC 5082).
pub(super) fn set_least_ttl(socket: BorrowedFd<'_>, remote: IpAddr, ttl: u8) -> io::Result<()> {
    let ttl = libc::c_int::from(ttl);
    match remote {
        IpAddr::V4(_) => set(socket, libc::IPPROTO_IP, libc::IP_MINTTL, &ttl),
        IpAddr::V6(_) => set(socket, libc::IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT, &ttl),
    }
}

/// Has a listening socket keep the headers of the packets that open connections, until they are asked for.
pub(super) fn keep_first_packets(listener: BorrowedFd<'_>) -> io::Result<()> {
    let on: libc::c_int = 1;
    set(listener, libc::IPPROTO_TCP, libc::TCP_SAVE_SYN, &on)
}

/// The headers of the packet that opened an accepted connection, from the IP header on; returns how many octets they
/// have, 0 when they were not kept or have been asked for before.
pub(super) fn first_packet(socket: BorrowedFd<'_>, headers: &mut [u8]) -> io::Result<usize> {
    let mut length = libc::socklen_t::try_from(headers.len()).unwrap_or(libc::socklen_t::MAX);
    // SAFETY: the pointer is to at least `length` octets that are ours and initialized; the kernel writes no more than
    // those, any octets are valid in them, and it sets `length`; the descriptor is open as long as it is borrowed.
    let status = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_SAVED_SYN,
            headers.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    match status {
        0 => Ok(length as usize),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Writes an address as `struct sockaddr_in` or `sockaddr_in6` has it, with port 0.
fn put_address(room: &mut [u8; ADDRESS_ROOM], address: IpAddr) {
    let (family, at) = match address {
        IpAddr::V4(_) => (libc::AF_INET, 4),
        IpAddr::V6(_) => (libc::AF_INET6, 8),
    };
    let octets = match &address {
        IpAddr::V4(address) => &address.octets()[..],
        IpAddr::V6(address) => &address.octets()[..],
    };
    room[..2].copy_from_slice(&(family as libc::sa_family_t).to_ne_bytes());
    room[at..at + octets.len()].copy_from_slice(octets);
}

/// Sets one option.
fn set<T>(socket: BorrowedFd<'_>, level: i32, option: i32, value: &T) -> io::Result<()> {
    // SAFETY: the pointer is to an initialized value of the size that is given, which the kernel only reads; the
    // descriptor is open as long as it is borrowed.
    let status = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    match status {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
