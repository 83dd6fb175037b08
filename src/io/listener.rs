//! Accepts connections on one address, come what may.

use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::rate_limit::RateLimit;

/// Connections that the kernel keeps for us.
const BACKLOG: i32 = 128;

/// How long to wait when the machine cannot accept for lack of memory.
const PAUSE: Duration = Duration::from_millis(100);

/// A connection, and the address it comes from.
pub(super) type Accepted = (TcpStream, IpAddr);

/// Opens a listening socket. An IPv6 one takes IPv6 only, so that both families can listen on one port.
pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepts until nobody takes the connections any more.
pub(super) async fn run(listener: TcpListener, accepted: mpsc::Sender<Accepted>) {
    let mut reserve = Reserve::new();
    let mut log = RateLimit::new(1, Duration::from_secs(60));
    loop {
        // Asked for first, so that not more than one connection waits here.
        let Ok(permit) = accepted.reserve().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, remote)) => permit.send((stream, remote.ip().to_canonical())),
            Err(error) => {
                if let Some(left_out) = log.admit(Instant::now()) {
                    tracing::warn!(%error, left_out, "cannot accept a connection");
                }
                if is_out_of_descriptors(&error) {
                    reserve.refuse_one(&listener).await;
                } else if !is_about_the_connection(&error) {
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// True when this process or the machine has no file descriptor left.
fn is_out_of_descriptors(error: &io::Error) -> bool {
    let number = error.raw_os_error().map(nix::errno::Errno::from_raw);
    matches!(
        number,
        Some(nix::errno::Errno::EMFILE | nix::errno::Errno::ENFILE)
    )
}

/// True when only the connection that was to be accepted is broken.
fn is_about_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted
    )
}

/// A file descriptor kept for the day when there is none left: with it, connections can at least be refused
/// instead of waking us for ever.
struct Reserve(Option<File>);

impl Reserve {
    /// Takes one.
    fn new() -> Self {
        Self(File::open("/dev/null").ok())
    }

    /// Gives it up, closes one connection, and takes it again.
    async fn refuse_one(&mut self, listener: &TcpListener) {
        if self.0.take().is_none() {
            tokio::time::sleep(PAUSE).await;
        }
        // It may have been taken by another thread meanwhile, or the connection have gone: then there is another time.
        let _ = tokio::time::timeout(PAUSE, listener.accept()).await;
        *self = Self::new();
    }
}
