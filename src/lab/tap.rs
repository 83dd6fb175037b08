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
/// The same for a tap that does not listen: a few packets, the least that the kernel takes.
const NO_RECEIVE_BUFFER: usize = 0;

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

    /// An IP packet in a frame to `to`.
    pub fn frame(to: MacAddress, packet: &[u8]) -> Vec<u8> {
        let is_ipv6 = packet.first().is_some_and(|octet| octet >> 4 == 6);
        let ethertype = if is_ipv6 {
            ETHERTYPE_IPV6
        } else {
            ETHERTYPE_IPV4
        };
        let from = [2, 0, 0, 0, 0, 0xff];
        [&to[..], &from, &ethertype, packet].concat()
    }

    /// Sends an IP packet in a frame to `to`.
    pub fn send(&self, to: MacAddress, packet: &[u8]) -> Result<(), LabError> {
        self.send_frame(&Self::frame(to, packet))
    }

    /// Sends a frame.
    pub fn send_frame(&self, frame: &[u8]) -> Result<(), LabError> {
        loop {
            match send(self.socket.as_raw_fd(), frame, MsgFlags::empty()) {
                Ok(_) => return Ok(()),
                // The queue of the interface is full.
                Err(Errno::ENOBUFS | Errno::EINTR) => std::thread::yield_now(),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Listens or not. A tap that does not costs the interface's traffic next to nothing; nothing of it is kept.
    pub fn listen(&mut self, on: bool) -> Result<(), LabError> {
        let octets = if on {
            RECEIVE_BUFFER
        } else {
            NO_RECEIVE_BUFFER
        };
        set_receive_buffer(&self.socket, octets)?;
        while self.receive()?.is_some() {}
        Ok(())
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
    set_receive_buffer(&socket, RECEIVE_BUFFER)?;
    // Between creation and binding it has seen all interfaces.
    let mut frame = [0; 1];
    while recv(socket.as_raw_fd(), &mut frame, MsgFlags::MSG_DONTWAIT).is_ok() {}
    Ok(socket)
}

/// Lets the kernel keep so many octets of what arrives.
fn set_receive_buffer(socket: &OwnedFd, octets: usize) -> Result<(), LabError> {
    if setsockopt(socket, RcvBufForce, &octets).is_err() {
        setsockopt(socket, RcvBuf, &octets)?;
    }
    Ok(())
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
