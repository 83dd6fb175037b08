//! All places where neighbors may connect, as the configuration says.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ipnetwork::IpNetwork;
use nix::errno::Errno;
use socket2::SockRef;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::DaemonError;
use super::listener::{self, Accepted, Place};
use super::socket;
use crate::config::{Config, Neighbor, Password};

/// Places that are listened on.
pub(super) struct Listeners {
    open: HashMap<Arc<Place>, Listener>,
    /// Where connections go.
    accepted: mpsc::Sender<Accepted>,
}

/// One place.
struct Listener {
    task: JoinHandle<()>,
    /// The socket that the task accepts on, to be told of keys.
    socket: std::net::TcpListener,
    /// Whose connections must be signed, and how.
    signed: HashMap<IpNetwork, Password>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Listeners {
    /// Listens nowhere.
    pub(super) fn new(accepted: mpsc::Sender<Accepted>) -> Self {
        Self {
            open: HashMap::new(),
            accepted,
        }
    }

    /// Listens where the configuration says, and nowhere else. Changes nothing if one place cannot be had.
    pub(super) fn update(&mut self, config: &Config) -> Result<(), DaemonError> {
        let wanted = wanted(config);
        // An interface listens on addresses that are listened on already.
        let shared = wanted.iter().any(|place| place.interface.is_some());
        if shared {
            for (place, listener) in &self.open {
                let outcome = SockRef::from(&listener.socket).set_reuse_port(true);
                outcome.map_err(|cause| error(place, cause))?;
            }
        }
        let mut opened = Vec::new();
        for place in &wanted {
            if self.open.contains_key(place) {
                continue;
            }
            let Place { address, interface } = place;
            match socket::to_listen(*address, interface.as_deref(), shared) {
                Ok(socket) => opened.push((place.clone(), std::net::TcpListener::from(socket))),
                // A machine without IPv6 can live with the default of listening on both families.
                Err(error) if is_no_ipv6(&error) && wanted.len() > 1 => {
                    tracing::warn!(%place, "not listening: this machine has no IPv6");
                }
                Err(cause) => return Err(error(place, cause)),
            }
        }
        for (place, socket) in opened {
            self.start(place, socket)?;
        }
        self.open.retain(|place, _| {
            let keep = wanted.contains(place);
            if !keep {
                tracing::info!(%place, "no longer listening");
            }
            keep
        });
        self.sign(config)
    }

    /// Listens nowhere any more.
    pub(super) fn close(&mut self) {
        self.open.clear();
    }

    /// Starts to accept connections.
    fn start(&mut self, place: Place, socket: std::net::TcpListener) -> Result<(), DaemonError> {
        let clone = socket.try_clone().and_then(TcpListener::from_std);
        let accepting = clone.map_err(|cause| error(&place, cause))?;
        tracing::info!(%place, "listening");
        let place = Arc::new(place);
        let run = listener::run(accepting, place.clone(), self.accepted.clone());
        let listener = Listener {
            task: tokio::spawn(run),
            socket,
            signed: HashMap::new(),
        };
        self.open.insert(place, listener);
        Ok(())
    }

    /// Gives every listener the keys of the neighbors that connect there, and takes those away that are no
    /// longer right.
    fn sign(&mut self, config: &Config) -> Result<(), DaemonError> {
        for (place, listener) in &mut self.open {
            let mut wanted: HashMap<IpNetwork, Password> = HashMap::new();
            for neighbor in &config.neighbors {
                let is_here = neighbor.remote.is_ipv4() == place.address.is_ipv4()
                    && may_connect(config, neighbor, place);
                if let Some(password) = neighbor.transport.md5.as_ref().filter(|_| is_here) {
                    wanted.insert(neighbor.remote, password.clone());
                }
            }
            let socket = || SockRef::from(&listener.socket);
            for remote in listener.signed.keys() {
                if !wanted.contains_key(remote) {
                    let outcome = socket::sign(socket(), *remote, None);
                    outcome.map_err(|cause| error(place, cause))?;
                }
            }
            for (remote, password) in &wanted {
                if listener.signed.get(remote) != Some(password) {
                    let outcome = socket::sign(socket(), *remote, Some(password));
                    outcome.map_err(|cause| error(place, cause))?;
                }
            }
            listener.signed = wanted;
        }
        Ok(())
    }
}

/// True when a neighbor may connect at this place.
pub(super) fn may_connect(config: &Config, neighbor: &Neighbor, place: &Place) -> bool {
    places(config, neighbor).any(|own| own == *place)
}

/// Where a neighbor may connect.
fn places<'c>(config: &'c Config, neighbor: &'c Neighbor) -> impl Iterator<Item = Place> + 'c {
    let transport = &neighbor.transport;
    let addresses = transport.listen.as_ref().unwrap_or(&config.bgp.listen);
    addresses.iter().map(|address| Place {
        address: *address,
        interface: transport.interface.clone(),
    })
}

/// Where to listen, each place once.
fn wanted(config: &Config) -> Vec<Place> {
    let general = config.bgp.listen.iter().map(|address| Place {
        address: *address,
        interface: None,
    });
    let of_neighbors = config.neighbors.iter();
    let of_neighbors = of_neighbors.flat_map(|neighbor| places(config, neighbor));
    let mut seen = HashSet::new();
    let all = general.chain(of_neighbors);
    all.filter(|place| seen.insert(place.clone())).collect()
}

/// Why a place cannot be listened on as it should.
fn error(place: &Place, cause: std::io::Error) -> DaemonError {
    DaemonError::Listen {
        place: place.to_string(),
        cause,
    }
}

/// True when the machine has no IPv6.
fn is_no_ipv6(error: &std::io::Error) -> bool {
    let number = error.raw_os_error().map(Errno::from_raw);
    matches!(number, Some(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL))
}
