//! Interfaces, addresses, routes and neighbors, by rtnetlink.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::TryStreamExt;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags};
use rtnetlink::packet_route::link::{InfoData, InfoVeth, LinkMessage};
use rtnetlink::{Handle, LinkBridge, LinkUnspec, LinkVeth, RouteMessageBuilder, new_connection};

use super::{LabError, Namespace};

/// Octets of an Ethernet address.
pub type MacAddress = [u8; 6];

/// One end of a virtual cable.
#[derive(Clone, Copy)]
pub struct End<'a> {
    /// Where it is.
    pub namespace: &'a Namespace,
    /// The interface's name there.
    pub interface: &'static str,
    /// Its Ethernet address.
    pub mac: MacAddress,
}

/// The largest MTU of Ethernet interfaces: the largest IPv4 packet.
const MTU: u32 = 65_535;

/// Lays a cable between two namespaces; both ends are up.
pub fn connect(a: End<'_>, b: End<'_>) -> Result<(), LabError> {
    let (a_name, b_name) = (a.interface, b.interface);
    let other = b.namespace.descriptor();
    netlink(a.namespace, async move |handle| {
        let peer = LinkUnspec::new_with_name(b_name).setns_by_fd(other);
        let pair = LinkVeth::new(a_name, b_name)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer.build())));
        handle.link().add(pair.build()).execute().await
    })?;
    for end in [a, b] {
        let (name, mac) = (end.interface, end.mac.to_vec());
        let message = LinkUnspec::new_with_name(name)
            .mtu(MTU)
            .address(mac)
            .up()
            .build();
        change(end.namespace, message)?;
    }
    Ok(())
}

/// Puts an interface up.
pub fn set_up(namespace: &Namespace, interface: &'static str) -> Result<(), LabError> {
    change(namespace, LinkUnspec::new_with_name(interface).up().build())
}

/// Makes a bridge of these interfaces.
pub fn bridge(
    namespace: &Namespace,
    name: &'static str,
    ports: &'static [&'static str],
) -> Result<(), LabError> {
    netlink(namespace, async move |handle| {
        let bridge = LinkBridge::new(name).up().build();
        handle.link().add(bridge).execute().await?;
        let bridge = index_of(&handle, name).await?;
        for port in ports {
            let message = LinkUnspec::new_with_name(port).controller(bridge).build();
            handle.link().set(message).execute().await?;
        }
        Ok(())
    })
}

/// Gives an interface an address, usable at once.
pub fn add_address(
    namespace: &Namespace,
    interface: &'static str,
    address: IpAddr,
    prefix_length: u8,
) -> Result<(), LabError> {
    netlink(namespace, async move |handle| {
        let index = index_of(&handle, interface).await?;
        let mut request = handle.address().add(index, address, prefix_length);
        if address.is_ipv6() {
            // Nobody else has it: duplicate address detection would only take its time.
            let flags = AddressAttribute::Flags(AddressFlags::Nodad);
            request.message_mut().attributes.push(flags);
        }
        request.execute().await
    })
}

/// Tells the Ethernet address of a neighbor that will not be asked for it.
pub fn add_neighbor(
    namespace: &Namespace,
    interface: &'static str,
    address: IpAddr,
    mac: MacAddress,
) -> Result<(), LabError> {
    netlink(namespace, async move |handle| {
        let index = index_of(&handle, interface).await?;
        let neighbours = handle.neighbours();
        let request = neighbours.add(index, address).link_layer_address(&mac);
        request.execute().await
    })
}

/// Sends everything without a better route to `gateway`.
pub fn add_default_route(
    namespace: &Namespace,
    interface: &'static str,
    gateway: IpAddr,
) -> Result<(), LabError> {
    netlink(namespace, async move |handle| {
        let index = index_of(&handle, interface).await?;
        let route = match gateway {
            IpAddr::V4(gateway) => RouteMessageBuilder::<Ipv4Addr>::new()
                .gateway(gateway)
                .output_interface(index)
                .build(),
            IpAddr::V6(gateway) => RouteMessageBuilder::<Ipv6Addr>::new()
                .gateway(gateway)
                .output_interface(index)
                .build(),
        };
        handle.route().add(route).execute().await
    })
}

/// Changes what the message names.
fn change(namespace: &Namespace, message: LinkMessage) -> Result<(), LabError> {
    netlink(namespace, async move |handle| {
        handle.link().set(message).execute().await
    })
}

/// Kernel index of an interface.
pub(super) async fn index_of(handle: &Handle, name: &str) -> Result<u32, rtnetlink::Error> {
    let mut links = handle.link().get().match_name(name.to_owned()).execute();
    let link = links.try_next().await?;
    Ok(link.map_or(0, |link| link.header.index))
}

/// Talks to rtnetlink inside a namespace.
pub(super) fn netlink<R: Send + 'static>(
    namespace: &Namespace,
    talk: impl AsyncFnOnce(Handle) -> Result<R, rtnetlink::Error> + Send + 'static,
) -> Result<R, LabError> {
    let name = namespace.name();
    namespace.run(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .map_err(|error| LabError::io("a runtime", error))?;
        runtime.block_on(async {
            let (connection, handle, _) =
                new_connection().map_err(|error| LabError::io("rtnetlink", error))?;
            tokio::spawn(connection);
            talk(handle).await.map_err(|error| LabError::Netlink {
                namespace: name,
                reason: error.to_string(),
            })
        })
    })
}
