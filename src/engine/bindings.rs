//! What names in communities are bound to on this machine: the configuration says where route targets lead, and which
//! interfaces are in a group.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use dataplane::backend::Unsupported;
use dataplane::desired::InterfacePattern;
use dataplane::rule::{Family, Route, RoutingInstance};

use crate::flowspec::action::{InterfaceGroup, InterfaceSet, RouteTarget, TrafficFilteringActions};

/// Routing instances for route targets, and interfaces for groups. The default knows none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bindings {
    by_route_target: BTreeMap<RouteTarget, Arc<Route>>,
    groups: BTreeMap<InterfaceGroup, Vec<InterfacePattern>>,
}

impl Bindings {
    /// Knows these route targets. Of two instances for one the last counts.
    pub fn new(instances: impl IntoIterator<Item = (RouteTarget, RoutingInstance)>) -> Self {
        let instances = instances.into_iter();
        Self {
            by_route_target: instances
                .map(|(target, instance)| (target, Arc::new(Route::Instance(instance))))
                .collect(),
            groups: BTreeMap::new(),
        }
    }

    /// Knows these groups of interfaces, too. Of two lists for one the last counts.
    pub fn with_groups(
        self,
        groups: impl IntoIterator<Item = (InterfaceGroup, Vec<InterfacePattern>)>,
    ) -> Self {
        Self {
            groups: groups.into_iter().collect(),
            ..self
        }
    }

    /// True when packets that come in by the interface of this name are in the input direction of the group.
    pub fn admits(&self, set: &InterfaceSet, interface: &str) -> bool {
        let patterns = self.groups.get(&set.interface_group());
        let mut patterns = patterns.into_iter().flatten();
        set.input && patterns.any(|pattern| pattern.matches(interface))
    }

    /// The interfaces that a rule applies to: the union of its groups; `None`: all.
    ///
    /// Fails when they are none of this machine, or when packets would have to be looked at as they go out.
    pub(super) fn interfaces(
        &self,
        actions: &TrafficFilteringActions,
        notes: &mut Vec<String>,
    ) -> Result<Option<Box<[InterfacePattern]>>, Unsupported> {
        if actions.interface_sets.is_empty() {
            return Ok(None);
        }
        let mut interfaces: Vec<InterfacePattern> = Vec::new();
        let mut reasons = Vec::new();
        for set in &actions.interface_sets {
            let Some(patterns) = self.groups.get(&set.interface_group()) else {
                reasons.push(format!(
                    "interface-set {set}: no [[interface_set]] names this group"
                ));
                continue;
            };
            if set.output {
                return Err(Unsupported(format!(
                    "interface-set {set}: packets are filtered as they come in, not as they go out"
                )));
            }
            if !set.input {
                reasons.push(format!("interface-set {set}: it names no direction"));
                continue;
            }
            for pattern in patterns {
                if !interfaces.contains(pattern) {
                    interfaces.push(pattern.clone());
                }
            }
        }
        if interfaces.is_empty() {
            return Err(Unsupported(reasons.join(", ")));
        }
        notes.extend(reasons);
        Ok(Some(interfaces.into()))
    }

    /// Where the packets of a family go that pass; `None`: where they are destined to. With an rt-redirect and a
    /// redirect-to-ip the next hop is one of the instance that the route target leads to; several share the packets.
    ///
    /// Fails when they cannot be sent where the actions say.
    pub fn route(
        &self,
        actions: &TrafficFilteringActions,
        family: Family,
        notes: &mut Vec<String>,
    ) -> Result<Option<Arc<Route>>, Unsupported> {
        let by_target = actions.redirect_route_target.map(|target| {
            self.by_route_target.get(&target).ok_or_else(|| {
                Unsupported(format!(
                    "redirect {target}: no [[redirect]] or [[vrf]] names this route target"
                ))
            })
        });
        let by_target = by_target.transpose()?;
        // The same communities may serve rules of both families, with an address for each.
        let (fitting, others): (BTreeSet<IpAddr>, BTreeSet<IpAddr>) = actions
            .redirect_next_hops
            .iter()
            .partition(|address| address.is_ipv6() == (family == Family::Ipv6));
        let looked_at = match fitting.is_empty() {
            true => &others,
            false => &fitting,
        };
        for address in looked_at {
            check_next_hop("redirect-to-ip", *address, family)?;
        }
        if fitting.is_empty() {
            return Ok(by_target.cloned());
        }
        notes.extend(others.iter().map(|address| {
            format!(
                "redirect-to-ip {address} has no effect: {}",
                of_the_other_family(family)
            )
        }));
        let instance = by_target.and_then(|route| route.instance().cloned());
        Ok(Some(Arc::new(Route::NextHops(fitting, instance))))
    }
}

/// Where copies of the packets of a family go that pass; `None`: there are none.
///
/// Fails when they cannot be sent where the actions say.
pub(super) fn copy_to(
    actions: &TrafficFilteringActions,
    family: Family,
) -> Result<Option<IpAddr>, Unsupported> {
    if let Some(address) = actions.copy_to {
        check_next_hop("copy-to-ip", address, family)?;
    }
    Ok(actions.copy_to)
}

/// Why an address is no next hop.
fn of_the_other_family(family: Family) -> String {
    format!("{family} packets have no next hop of the other family")
}

/// Says why packets of a family cannot be sent to an address. `verb`: what was asked for.
fn check_next_hop(verb: &str, address: IpAddr, family: Family) -> Result<(), Unsupported> {
    let refuse = |reason: &str| Err(Unsupported(format!("{verb} {address}: {reason}")));
    match (address, family) {
        (IpAddr::V4(_), Family::Ipv6) | (IpAddr::V6(_), Family::Ipv4) => {
            refuse(&of_the_other_family(family))
        }
        (address, _) if address.is_unspecified() || address.is_multicast() => {
            refuse("it is not the address of a next hop")
        }
        (IpAddr::V6(address), _) if address.is_unicast_link_local() => {
            refuse("which link a link-local address is on is not known")
        }
        (IpAddr::V4(_) | IpAddr::V6(_), _) => Ok(()),
    }
}
