//! All places where neighbors may connect, as the configuration says and the interfaces of the machine allow.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use dataplane::desired::Link;
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

/// The kind of a link that is a VRF.
const VRF: &str = "vrf";

/// Places that are listened on.
pub(super) struct Listeners {
    open: HashMap<Arc<Place>, Listener>,
    /// The interfaces of the machine, as last told.
    links: Vec<Link>,
    /// Where connections go.
    accepted: mpsc::Sender<Accepted>,
}

/// One place.
struct Listener {
    task: JoinHandle<()>,
    /// The socket that the task accepts on, to be told of keys.
    socket: std::net::TcpListener,
    /// Index of the interface that it is bound to: another of the same name is another interface.
    index: Option<u32>,
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
    pub(super) fn new(links: Vec<Link>, accepted: mpsc::Sender<Accepted>) -> Self {
        Self {
            open: HashMap::new(),
            links,
            accepted,
        }
    }

    /// Listens where the configuration says, and nowhere else. Opens and closes nothing if one place cannot be had.
    ///
    /// A place of an interface that is not there is had later, when the interface comes.
    pub(super) fn update(&mut self, config: &Config) -> Result<(), DaemonError> {
        let wanted = wanted(config);
        let mut opened = Vec::new();
        for place in &wanted {
            if self.open.contains_key(place) {
                continue;
            }
            match self.open(place, &opened, config) {
                Ok(Some(listener)) => opened.push((Arc::new(place.clone()), listener)),
                Ok(None) => tracing::warn!(%place, "not listening: there is no such interface yet"),
                // A machine without IPv6 can live with the default of listening on both families.
                Err(cause) if is_no_ipv6(&cause, place) && wanted.len() > 1 => {
                    tracing::warn!(%place, "not listening: this machine has no IPv6");
                }
                Err(cause) => return Err(error(place, cause)),
            }
        }
        for (place, listener) in &mut self.open {
            let passwords = passwords(config, place, &self.links);
            let outcome = listener.sign(passwords);
            outcome.map_err(|cause| error(place, cause))?;
        }
        self.open.retain(|place, _| {
            let keep = wanted.contains(place);
            if !keep {
                tracing::info!(%place, "no longer listening");
            }
            keep
        });
        for (place, listener) in opened {
            tracing::info!(%place, "listening");
            self.open.insert(place, listener);
        }
        Ok(())
    }

    /// Follows interfaces that come and go.
    pub(super) fn links_changed(&mut self, links: Vec<Link>, config: &Config) {
        self.links = links;
        let links = &self.links;
        self.open.retain(|place, listener| {
            let keep = listener.index == index(place, links);
            if !keep {
                tracing::warn!(%place, "no longer listening: the interface has gone");
            }
            keep
        });
        for place in wanted(config) {
            if place.interface.is_none() || self.open.contains_key(&place) {
                continue;
            }
            match self.open(&place, &[], config) {
                Ok(Some(listener)) => {
                    tracing::info!(%place, "listening");
                    self.open.insert(Arc::new(place), listener);
                }
                Ok(None) => {}
                Err(error) => tracing::error!(%place, "cannot listen: {error}"),
            }
        }
    }

    /// True when a neighbor may connect at this place.
    pub(super) fn admits(&self, config: &Config, neighbor: &Neighbor, place: &Place) -> bool {
        may_connect(config, neighbor, place, &self.links)
    }

    /// Listens nowhere any more.
    pub(super) fn close(&mut self) {
        self.open.clear();
    }

    /// Starts to accept connections at one place; `None`: its interface is not there. `opened` are open besides.
    fn open(
        &self,
        place: &Place,
        opened: &[(Arc<Place>, Listener)],
        config: &Config,
    ) -> io::Result<Option<Listener>> {
        let index = index(place, &self.links);
        if place.interface.is_some() && index.is_none() {
            return Ok(None);
        }
        let others = self
            .open
            .keys()
            .chain(opened.iter().map(|(place, _)| place));
        let port = place.address.port();
        let shared = others.into_iter().any(|other| other.address.port() == port);
        let socket = socket::to_listen(place.address, place.interface.as_deref(), shared)?;
        let socket = std::net::TcpListener::from(socket);
        let accepting = TcpListener::from_std(socket.try_clone()?)?;
        let place = Arc::new(place.clone());
        let run = listener::run(accepting, place.clone(), self.accepted.clone());
        let mut listener = Listener {
            task: tokio::spawn(run),
            socket,
            index,
            signed: HashMap::new(),
        };
        listener.sign(passwords(config, &place, &self.links))?;
        Ok(Some(listener))
    }
}

impl Listener {
    /// Gives the socket these keys, and takes all others away. On failure it has some of them.
    fn sign(&mut self, wanted: HashMap<IpNetwork, Password>) -> io::Result<()> {
        let socket = SockRef::from(&self.socket);
        let signed = std::mem::take(&mut self.signed);
        for (remote, password) in &wanted {
            if signed.get(remote) != Some(password) {
                socket::sign(&socket, *remote, Some(password))?;
            }
        }
        for remote in signed.keys() {
            if !wanted.contains_key(remote) {
                socket::sign(&socket, *remote, None)?;
            }
        }
        self.signed = wanted;
        Ok(())
    }
}

/// True when a neighbor may connect at a place: at those of its own, and if it is bound to no interface, at the same
/// address of any interface, too, that is in no VRF. The kernel prefers a socket that is bound to the interface, and in a
/// VRF an address means somebody else.
fn may_connect(config: &Config, neighbor: &Neighbor, place: &Place, links: &[Link]) -> bool {
    let is_its = |own: Place| match own.interface {
        Some(_) => own == *place,
        None => own.address == place.address && !is_in_vrf(place, links),
    };
    neighbor.remote.is_ipv4() == place.address.is_ipv4() && places(config, neighbor).any(is_its)
}

/// The passwords of all neighbors that may connect at a place.
fn passwords(config: &Config, place: &Place, links: &[Link]) -> HashMap<IpNetwork, Password> {
    let neighbors = config.neighbors.iter();
    let admitted = neighbors.filter(|neighbor| may_connect(config, neighbor, place, links));
    admitted
        .filter_map(|neighbor| Some((neighbor.remote, neighbor.transport.md5.clone()?)))
        .collect()
}

/// Index of the interface that a place is bound to, if that is there.
fn index(place: &Place, links: &[Link]) -> Option<u32> {
    let name = place.interface.as_ref()?;
    let link = links.iter().find(|link| link.name == *name);
    link.map(|link| link.index)
}

/// True when the interface of a place is a VRF, or in one.
fn is_in_vrf(place: &Place, links: &[Link]) -> bool {
    let is_vrf = |link: &Link| link.kind.as_deref() == Some(VRF);
    let with_index = |index| links.iter().find(|link| Some(link.index) == index);
    let Some(link) = index(place, links).and_then(|index| with_index(Some(index))) else {
        return false;
    };
    is_vrf(link) || with_index(link.master).is_some_and(is_vrf)
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

/// Where to listen, each place once; those without an interface first, since only they can tell that another program
/// has their port.
fn wanted(config: &Config) -> Vec<Place> {
    let general = config.bgp.listen.iter().map(|address| Place {
        address: *address,
        interface: None,
    });
    let of_neighbors = config.neighbors.iter();
    let of_neighbors = of_neighbors.flat_map(|neighbor| {
        let is_its = |place: &Place| place.address.is_ipv4() == neighbor.remote.is_ipv4();
        places(config, neighbor).filter(is_its)
    });
    let mut all: Vec<_> = general.chain(of_neighbors).collect();
    all.sort_unstable_by(|a, b| (&a.interface, a.address).cmp(&(&b.interface, b.address)));
    all.dedup();
    all
}

/// Why a place cannot be listened on as it should.
fn error(place: &Place, cause: io::Error) -> DaemonError {
    DaemonError::Listen {
        place: place.to_string(),
        cause,
    }
}

/// True when the machine has no IPv6, and all IPv6 addresses were to be listened on.
fn is_no_ipv6(error: &io::Error, place: &Place) -> bool {
    let number = error.raw_os_error().map(Errno::from_raw);
    place.address.is_ipv6()
        && place.address.ip().is_unspecified()
        && matches!(number, Some(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL))
}

#[cfg(test)]
#[path = "listeners_tests.rs"]
mod tests;
