//! Raw Ethernet frames in and out of an interface.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::sockopt::{RcvBuf, RcvBufForce};
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrLike, bind, recv,
    send, setsockopt, socket,
};

use super::{LabError, MacAddress, Namespace};

/// Octets of an Ethernet header.
const ETHERNET_HEADER: usize = 14;
/// Room for the longest frame.
const LONGEST_FRAME: usize = ETHERNET_HEADER + 65_535;
/// Octets that the kernel may keep for us; without privileges it grants less.
const RECEIVE_BUFFER: usize = 64 << 20;

/// EtherType of IPv4.
const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
/// EtherType of IPv6.
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];

/// A packet socket bound to an interface: sends frames out of it and sees all frames in both directions.
pub struct Tap {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Tap {
    /// Opens the interface of a namespace.
    pub fn open(namespace: &Namespace, interface: &'static str) -> Result<Self, LabError> {
        let socket = namespace.run(move || open_socket(interface))?;
        Ok(Self {
            socket,
            buffer: vec![0; LONGEST_FRAME],
        })
    }

    /// Sends an IP packet in a frame to `to`.
    pub fn send(&self, to: MacAddress, packet: &[u8]) -> Result<(), LabError> {
        let is_ipv6 = packet.first().is_some_and(|octet| octet >> 4 == 6);
        let ethertype = if is_ipv6 {
            ETHERTYPE_IPV6
        } else {
            ETHERTYPE_IPV4
        };
        let from = [2, 0, 0, 0, 0, 0xff];
        let frame = [&to[..], &from, &ethertype, packet].concat();
        loop {
            match send(self.socket.as_raw_fd(), &frame, MsgFlags::empty()) {
                Ok(_) => return Ok(()),
                // The queue of the interface is full.
                Err(Errno::ENOBUFS | Errno::EINTR) => std::thread::yield_now(),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// The next IP packet that has been seen, padding included; `None` when there is none at the moment.
    pub fn receive(&mut self) -> Result<Option<&[u8]>, LabError> {
        loop {
            match recv(
                self.socket.as_raw_fd(),
                &mut self.buffer,
                MsgFlags::MSG_DONTWAIT,
            ) {
                Ok(length) if is_ip(&self.buffer[..length]) => {
                    return Ok(Some(&self.buffer[ETHERNET_HEADER..length]));
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(None),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// True for frames with IPv4 or IPv6.
fn is_ip(frame: &[u8]) -> bool {
    let ethertype = frame.get(12..ETHERNET_HEADER);
    [ETHERTYPE_IPV4, ETHERTYPE_IPV6]
        .iter()
        .any(|known| ethertype == Some(known))
}

/// Opens and binds the socket in the namespace of the calling thread.
fn open_socket(interface: &str) -> Result<OwnedFd, LabError> {
    let socket = socket(
        AddressFamily::Packet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::EthAll,
    )?;
    // An address without protocol leaves the one of the socket.
    bind(socket.as_raw_fd(), &link_address(interface)?)?;
    if setsockopt(&socket, RcvBufForce, &RECEIVE_BUFFER).is_err() {
        setsockopt(&socket, RcvBuf, &RECEIVE_BUFFER)?;
    }
    // Between creation and binding it has seen all interfaces.
    let mut frame = [0; 1];
    while recv(socket.as_raw_fd(), &mut frame, MsgFlags::MSG_DONTWAIT).is_ok() {}
    Ok(socket)
}

/// The address to bind to.
fn link_address(interface: &str) -> Result<LinkAddr, LabError> {
    getifaddrs()?
        .filter(|entry| entry.interface_name == interface)
        .filter_map(|entry| entry.address)
        .find(|address| address.family() == Some(AddressFamily::Packet))
        .and_then(|address| address.as_link_addr().copied())
        .ok_or_else(|| LabError::io(interface, io::Error::from(io::ErrorKind::NotFound)))
}
