//! Accepts connections on one address, come what may.

use std::fmt;
use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::rate_limit::RateLimit;

/// How long to wait when the machine cannot accept for lack of memory.
const PAUSE: Duration = Duration::from_millis(100);

/// Where connections are accepted: an address, and the interface that it is bound to, if any.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    /// The address and port.
    pub(super) address: SocketAddr,
    /// The VRF or interface.
    pub(super) interface: Option<String>,
}

/// `192.0.2.2:179`, `192.0.2.2:179%vrf-blue`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.interface {
            Some(interface) => write!(f, "{}%{interface}", self.address),
            None => write!(f, "{}", self.address),
        }
    }
}

/// A connection.
#[derive(Debug)]
pub(super) struct Accepted {
    /// It.
    pub(super) stream: TcpStream,
    /// The address it comes from.
    pub(super) remote: IpAddr,
    /// Where it was accepted.
    pub(super) place: Arc<Place>,
}

/// Accepts until nobody takes the connections any more.
pub(super) async fn run(
    listener: TcpListener,
    place: Arc<Place>,
    accepted: mpsc::Sender<Accepted>,
) {
    let mut reserve = Reserve::new();
    let mut log = RateLimit::new(1, Duration::from_secs(60));
    loop {
        // Asked for first, so that not more than one connection waits here.
        let Ok(permit) = accepted.reserve().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, remote)) => permit.send(Accepted {
                stream,
                remote: remote.ip().to_canonical(),
                place: place.clone(),
            }),
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
