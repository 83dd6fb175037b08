//! Watches the network interfaces of the machine and their addresses by rtnetlink, so that rules follow interfaces that
//! come and go, and what is protected follows addresses.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use dataplane::desired::Link;
use dataplane::rule::{Family, left_aligned};
use futures_util::{Stream, StreamExt, TryStreamExt};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkInfo, LinkMessage};
use rtnetlink::{Handle, MulticastGroup, new_multicast_connection};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::offloads;

/// Changes within this time are taken together: one interface that comes up sends several messages.
const SETTLE: Duration = Duration::from_millis(50);

/// How long to wait before trying again when the kernel does not answer.
const RETRY: Duration = Duration::from_secs(1);

/// What the kernel is to tell us of.
const GROUPS: [MulticastGroup; 3] = [
    MulticastGroup::Link,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
];

/// The connection to the kernel.
pub(super) struct LinkWatcher {
    handle: Handle,
    /// Something about some interface changed.
    changes: Pin<Box<dyn Stream<Item = ()> + Send>>,
    /// Interfaces as last told.
    known: Vec<Link>,
    /// Something has changed since.
    dirty: bool,
    connection: JoinHandle<()>,
}

impl LinkWatcher {
    /// Subscribes in the network namespace of the calling thread, and reads what there is.
    pub(super) async fn start() -> io::Result<(Self, Vec<Link>)> {
        let (connection, handle, messages) = new_multicast_connection(&GROUPS)?;
        let connection = tokio::spawn(connection);
        let changes = Box::pin(messages.map(|_| ()));
        let mut watcher = Self {
            handle,
            changes,
            known: Vec::new(),
            dirty: false,
            connection,
        };
        watcher.known = watcher.read().await?;
        let links = watcher.known.clone();
        Ok((watcher, links))
    }

    /// Waits until the interfaces are not as last told, and returns them all; `None` when the kernel hung up. Cancel-safe.
    pub(super) async fn changed(&mut self) -> Option<Vec<Link>> {
        loop {
            if !self.dirty {
                self.changes.next().await?;
                self.dirty = true;
            }
            sleep(SETTLE).await;
            while futures_util::FutureExt::now_or_never(self.changes.next())
                .flatten()
                .is_some()
            {}
            let links = loop {
                match self.read().await {
                    Ok(links) => break links,
                    Err(error) => tracing::warn!("cannot read the interfaces: {error}"),
                }
                sleep(RETRY).await;
            };
            self.dirty = false;
            if links != self.known {
                self.known.clone_from(&links);
                return Some(links);
            }
        }
    }

    /// Reads all interfaces, ordered by index.
    async fn read(&self) -> io::Result<Vec<Link>> {
        let messages: Vec<_> = self
            .handle
            .link()
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(io::Error::other)?;
        let mut links: Vec<_> = messages.into_iter().filter_map(link).collect();
        links.sort_by_key(|link| link.index);
        let merging = offloads::merging().await;
        let addresses: Vec<_> = self
            .handle
            .address()
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(io::Error::other)?;
        for link in &mut links {
            let own = addresses
                .iter()
                .filter(|message| message.header.index == link.index);
            link.addresses = own.filter_map(address).collect();
            link.addresses.sort_unstable();
            link.merges_packets = merging.contains(&link.name);
        }
        Ok(links)
    }
}

impl Drop for LinkWatcher {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// What the data plane cares for in one message; `None` for a message without a name.
fn link(message: LinkMessage) -> Option<Link> {
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        kind: None,
        master: None,
        lower: None,
        addresses: Vec::new(),
        merges_packets: false,
    };
    let mut in_other_namespace = false;
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Controller(index) => link.master = Some(index),
            LinkAttribute::Link(index) => link.lower = Some(index),
            LinkAttribute::LinkNetNsId(_) => in_other_namespace = true,
            LinkAttribute::LinkInfo(infos) => {
                link.kind = infos.iter().find_map(|info| match info {
                    LinkInfo::Kind(kind) => Some(kind.to_string()),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    // The other end of a veth, or a link in another namespace, is nothing that this one is stacked on.
    if in_other_namespace || link.kind.as_deref() == Some("veth") {
        link.lower = None;
    }
    (!link.name.is_empty()).then_some(link)
}

/// The machine's own address in a message, left-aligned. IPv4 has the other end of a tunnel beside it.
fn address(message: &AddressMessage) -> Option<(Family, u128)> {
    let find = |wanted: fn(&AddressAttribute) -> Option<IpAddr>| {
        message.attributes.iter().find_map(wanted)
    };
    let local = find(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    let address = local.or_else(|| {
        find(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    });
    address.map(left_aligned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_interfaces_of_this_machine() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let links = runtime.block_on(async { LinkWatcher::start().await.unwrap().1 });
        let lo = links
            .iter()
            .find(|link| link.name == "lo")
            .expect("there is always lo");
        assert_eq!((lo.index, lo.master, lo.lower), (1, None, None));
        assert!(
            lo.addresses.contains(&(Family::Ipv4, 0x7f00_0001 << 96)),
            "{lo:?}"
        );
    }
}
