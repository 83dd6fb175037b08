//! The options of BGP's sockets, for connections that are dialed and those that are accepted.

mod sys;

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::AsFd;
use std::time::Duration;

use ipnetwork::IpNetwork;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::TcpStream;

use crate::config::{Distance, Password, Transport};

/// DSCP CS6, network control (RFC 4594 §3.2), in its octet: sessions outlive full queues.
const NETWORK_CONTROL: u32 = 0xc0;

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 1024;

/// A connection on which nothing has moved for so long is asked whether it is alive. BGP's own keep-alives come more
/// often, unless the hold time is 0.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Room for the headers of a connection's first packet.
const FIRST_PACKET_ROOM: usize = 256;

/// A socket to dial a neighbor with, bound as its configuration says, and the address to connect it to.
pub(super) fn to_dial(
    remote: SocketAddr,
    local: Option<IpAddr>,
    transport: &Transport,
) -> io::Result<(Socket, SocketAddr)> {
    let socket = new(remote)?;
    apply(&socket, remote.ip(), transport)?;
    if let Some(interface) = &transport.interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    if let Some(password) = &transport.md5 {
        sys::set_md5(socket.as_fd(), remote.ip().into(), Some(password.octets()))?;
    }
    if let Some(local) = local {
        let local = scoped((local, 0).into(), transport.interface.as_deref())?;
        socket.bind(&local.into())?;
    }
    Ok((socket, scoped(remote, transport.interface.as_deref())?))
}

/// Sets the options of a connection with a neighbor that do not have to be there before it: what it does to
/// the network, and when it is dead.
///
/// Octets that are not acknowledged for as long as `give_up` mean a dead neighbor.
pub(super) fn prepare(
    socket: SockRef<'_>,
    remote: IpAddr,
    transport: &Transport,
    give_up: Duration,
) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
    socket.set_tcp_user_timeout(Some(give_up))?;
    apply(&socket, remote, transport)
}

/// A socket that listens on an address, and on an interface if one is given.
///
/// An IPv6 one takes IPv6 only, so that both families can listen on one port. `shared`: we listen on the port already, at
/// an interface or at all of them. Whoever is first does not share it: a port that another program has is not taken from it.
pub(super) fn to_listen(
    address: SocketAddr,
    interface: Option<&str>,
    shared: bool,
) -> io::Result<Socket> {
    let socket = new(address)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    if let Some(interface) = interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    // A neighbor that looks at our TTL (RFC 5082) looks at the answer to its SYN, too, and nobody else does.
    set_ttl(&socket, address.ip(), u8::MAX)?;
    set_class(&socket, address.ip())?;
    sys::keep_first_packets(socket.as_fd())?;
    bind_early(&socket, scoped(address, interface)?)?;
    socket.listen(BACKLOG)?;
    // From now on others of ours may come beside it.
    socket.set_reuse_port(true)?;
    Ok(socket)
}

/// Binds a listening socket, also to an address that the machine does not have yet: interfaces may be configured after the
/// daemon has started. All addresses of a family that is not there are an error.
fn bind_early(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    let bound = socket.bind(&address.into());
    let Err(error) = &bound else { return bound };
    if error.raw_os_error() != Some(libc::EADDRNOTAVAIL) || address.ip().is_unspecified() {
        return bound;
    }
    match address {
        SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
        SocketAddr::V6(_) => socket.set_freebind_v6(true)?,
    }
    socket.bind(&address.into())?;
    tracing::warn!(%address, "no interface has this address yet: nobody can connect to it until one has");
    Ok(())
}

/// Wants connections from `remote` to be signed with this password (RFC 2385), or no longer.
pub(super) fn sign(
    listener: &SockRef<'_>,
    remote: IpNetwork,
    password: Option<&Password>,
) -> io::Result<()> {
    let key = password.map(Password::octets);
    sys::set_md5(listener.as_fd(), remote, key)
}

/// A TCP socket of an address's family.
fn new(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Sets how far packets go, and how far those may have gone that are taken.
fn apply(socket: &Socket, remote: IpAddr, transport: &Transport) -> io::Result<()> {
    let Transport { distance, .. } = transport;
    set_class(socket, remote)?;
    if let Some(ttl) = distance.ttl() {
        set_ttl(socket, remote, ttl)?;
    }
    match distance {
        Distance::Secured(_) => {
            let least = distance.least_ttl().unwrap_or(u8::MAX);
            sys::set_least_ttl(socket.as_fd(), remote, least)
        }
        Distance::Any | Distance::AtMost(_) => Ok(()),
    }
}

/// Sets the TTL, or hop limit, of what is sent.
fn set_ttl(socket: &Socket, address: IpAddr, ttl: u8) -> io::Result<()> {
    match address {
        IpAddr::V4(_) => socket.set_ttl_v4(ttl.into()),
        IpAddr::V6(_) => socket.set_unicast_hops_v6(ttl.into()),
    }
}

/// Sets the class of service.
fn set_class(socket: &Socket, address: IpAddr) -> io::Result<()> {
    match address {
        IpAddr::V4(_) => socket.set_tos_v4(NETWORK_CONTROL),
        IpAddr::V6(_) => socket.set_tclass_v6(NETWORK_CONTROL),
    }
}

/// The address with the interface that a link-local one belongs to.
fn scoped(address: SocketAddr, interface: Option<&str>) -> io::Result<SocketAddr> {
    match (address, interface) {
        (SocketAddr::V6(v6), Some(interface)) if v6.ip().is_unicast_link_local() => {
            let index = nix::net::if_::if_nametoindex(interface)?;
            Ok(SocketAddrV6::new(*v6.ip(), v6.port(), 0, index).into())
        }
        _ => Ok(address),
    }
}

/// Checks that the packet that opened an accepted connection does not come from too far; from [`prepare`] on the kernel
/// checks the others. Fails with the reason.
pub(super) fn check_distance(stream: &TcpStream, distance: Distance) -> Result<(), String> {
    let Some(least) = distance.least_ttl() else {
        return Ok(());
    };
    match first_ttl(stream) {
        Ok(ttl) if ttl >= least => Ok(()),
        Ok(ttl) => Err(format!(
            "its packets arrive with TTL {ttl}, and ttl_security asks for {least} at least (RFC 5082)"
        )),
        Err(error) => Err(format!("cannot tell how far away it is: {error}")),
    }
}

/// TTL or hop limit of the packet that opened an accepted connection. The kernel tells it once.
fn first_ttl(stream: &TcpStream) -> io::Result<u8> {
    let mut headers = [0; FIRST_PACKET_ROOM];
    let length = sys::first_packet(stream.as_fd(), &mut headers)?;
    match (length, headers[0] >> 4) {
        (20.., 4) => Ok(headers[8]),
        (40.., 6) => Ok(headers[7]),
        _ => Err(io::Error::other("the kernel has not kept its first packet")),
    }
}

#[cfg(test)]
mod tests;
