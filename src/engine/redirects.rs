//! Where redirected packets go: what the configuration says about the route targets that neighbors name.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use dataplane::backend::Unsupported;
use dataplane::rule::{Family, Route};

use crate::flowspec::action::{RouteTarget, TrafficFilteringActions};

/// The routes for route targets. The default knows none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redirects {
    by_route_target: BTreeMap<RouteTarget, Arc<Route>>,
}

impl Redirects {
    /// Knows these route targets. Of two routes for one the last counts.
    pub fn new(routes: impl IntoIterator<Item = (RouteTarget, Route)>) -> Self {
        let routes = routes.into_iter();
        Self {
            by_route_target: routes
                .map(|(target, route)| (target, Arc::new(route)))
                .collect(),
        }
    }

    /// Where the packets of a family go that pass; `None`: where they are destined to. An rt-redirect comes before a
    /// redirect-to-ip, which is then noted to be without effect.
    ///
    /// Fails when they cannot be sent where the actions say.
    pub fn route(
        &self,
        actions: &TrafficFilteringActions,
        family: Family,
        notes: &mut Vec<String>,
    ) -> Result<Option<Arc<Route>>, Unsupported> {
        if let Some(target) = actions.redirect_route_target {
            let route = self.by_route_target.get(&target).ok_or_else(|| {
                Unsupported(format!(
                    "redirect {target}: no [[redirect]] names this route target"
                ))
            })?;
            if let Some(address) = actions.redirect_next_hop {
                notes.push(format!(
                    "redirect-to-ip {address} has no effect: redirect {target} decides"
                ));
            }
            return Ok(Some(route.clone()));
        }
        let Some(address) = actions.redirect_next_hop else {
            return Ok(None);
        };
        check_next_hop("redirect-to-ip", address, family)?;
        Ok(Some(Arc::new(Route::NextHop(address))))
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

/// Says why packets of a family cannot be sent to an address. `verb`: what was asked for.
fn check_next_hop(verb: &str, address: IpAddr, family: Family) -> Result<(), Unsupported> {
    let refuse = |reason: &str| Err(Unsupported(format!("{verb} {address}: {reason}")));
    match (address, family) {
        (IpAddr::V4(_), Family::Ipv6) | (IpAddr::V6(_), Family::Ipv4) => refuse(&format!(
            "{family} packets have no next hop of the other family"
        )),
        (address, _) if address.is_unspecified() || address.is_multicast() => {
            refuse("it is not the address of a next hop")
        }
        (IpAddr::V6(address), _) if address.is_unicast_link_local() => {
            refuse("which link a link-local address is on is not known")
        }
        (IpAddr::V4(_) | IpAddr::V6(_), _) => Ok(()),
    }
}
