//! How a route can be followed at the moment, or why it cannot.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use netlink_packet_route::link::LinkFlags;
use netlink_packet_route::neighbour::NeighbourState;

use super::entries::{Hop, Way};
use super::kernel::{Kernel, Lookup};
use super::marks::{Mark, Marks};
use crate::rule::{Route, RoutingInstance};

/// What is remembered from one look to the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Reachability {
    /// Neighbors that have not answered and, as far as is known, still do not.
    silent: BTreeSet<Hop>,
}

impl Reachability {
    /// Looks how a route can be followed now. The inner error: why it cannot, in the operator's words.
    ///
    /// `marks`: those for which the kernel has policy rules. The instance that a next hop is in must be among them.
    pub(super) fn look(
        &mut self,
        kernel: &mut Kernel,
        marks: &Marks,
        route: &Route,
    ) -> io::Result<Result<Way, String>> {
        let (addresses, instance) = match route {
            Route::Instance(instance) => return table_of(kernel, instance),
            Route::NextHops(addresses, instance) => (addresses, instance),
        };
        let Some(instance) = instance else {
            return self.next_hops(kernel, addresses, None, "");
        };
        if let Err(reason) = table_of(kernel, instance)? {
            return Ok(Err(reason));
        }
        let mark = marks.get(&Route::Instance(instance.clone()));
        let mark = mark.ok_or_else(|| {
            // Without it the kernel would answer by the machine's own routes.
            io::Error::other(format!("{route}: {instance} has no mark"))
        })?;
        self.next_hops(kernel, addresses, Some(mark), &format!(" in {instance}"))
    }

    /// The neighbors by which any of some addresses is reached.
    fn next_hops(
        &mut self,
        kernel: &mut Kernel,
        addresses: &BTreeSet<IpAddr>,
        mark: Option<Mark>,
        place: &str,
    ) -> io::Result<Result<Way, String>> {
        let (mut used, mut left_out) = (BTreeSet::new(), Vec::new());
        for address in addresses {
            match self.next_hop(kernel, *address, mark, place)? {
                Ok(hop) => {
                    used.insert(hop);
                }
                Err(reason) => left_out.push(reason),
            }
        }
        Ok(match used.is_empty() {
            true => Err(left_out.join(", ")),
            false => Ok(Way::Hops { used, left_out }),
        })
    }

    /// The neighbor by which an address is reached, for packets with this mark. `place`: words that say where.
    fn next_hop(
        &mut self,
        kernel: &mut Kernel,
        address: IpAddr,
        mark: Option<Mark>,
        place: &str,
    ) -> io::Result<Result<Hop, String>> {
        let no_route = || Ok(Err(format!("there is no route to {address}{place}")));
        let hop = match kernel.lookup(address, mark)? {
            Lookup::Found(hop) => hop,
            Lookup::Local => return Ok(Err(format!("{address} is an address of this machine"))),
            // Without it the next router would send them on by their destination.
            Lookup::Encapsulated => {
                let reason = format!("the route to {address}{place} encapsulates packets");
                return Ok(Err(reason));
            }
            Lookup::None => return no_route(),
        };
        let Some((name, flags)) = kernel.link(hop.link)? else {
            return no_route();
        };
        if !flags.contains(LinkFlags::Up | LinkFlags::LowerUp) {
            return Ok(Err(format!("{address} is behind {name}, which is down")));
        }
        let Hop { gateway, .. } = hop;
        Ok(match self.answers(kernel, &hop, flags)? {
            true => Ok(hop),
            false => Err(format!("{gateway} on {name} does not answer")),
        })
    }

    /// Whether a neighbor answers, as far as the kernel knows; one that it does not know yet is thought to.
    fn answers(&mut self, kernel: &mut Kernel, hop: &Hop, flags: LinkFlags) -> io::Result<bool> {
        if flags.contains(LinkFlags::Noarp) {
            return Ok(true);
        }
        let neighbor = kernel.neighbor(hop)?;
        match neighbor.map(|neighbor| neighbor.state) {
            Some(NeighbourState::Failed) => {
                self.silent.insert(*hop);
            }
            Some(NeighbourState::Incomplete | NeighbourState::None) | None => {}
            Some(_) => {
                self.silent.remove(hop);
            }
        }
        // The kernel looks for it only while there are packets for it, and we want to know before.
        if !neighbor.is_some_and(|neighbor| neighbor.is_kept_by_others) {
            let _ = kernel.probe(hop);
        }
        Ok(!self.silent.contains(hop))
    }
}

/// The table of an instance. The inner error: why there is none.
fn table_of(kernel: &mut Kernel, instance: &RoutingInstance) -> io::Result<Result<Way, String>> {
    let table = match instance {
        RoutingInstance::Table(table) => Some(*table),
        RoutingInstance::Vrf(name) => kernel.vrf_table(name)?,
    };
    Ok(table
        .map(Way::Table)
        .ok_or_else(|| format!("there is no {instance}")))
}
