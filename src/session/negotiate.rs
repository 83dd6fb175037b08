//! OPEN: what we say, and what follows from what the neighbor says (RFC 4271 §6.2, RFC 5492).

use super::connection::Direction;
use super::{ConnectionId, Negotiated, SessionConfig, notification, restart};
use crate::wire::capability::{Capability, Directions};
use crate::wire::error::Notification;
use crate::wire::iana::{AfiSafi, FlowFamily, UnicastFamily};
use crate::wire::open::Open;

/// Why an OPEN is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// What the neighbor is told.
    pub(super) notification: Notification,
    /// What the log is told.
    pub(super) reason: String,
}

/// Our OPEN.
/// `earlier`: a session of this process has been up before.
pub(super) fn local_open(config: &SessionConfig, earlier: bool) -> Open {
    let families = offered_families(config);
    let offered = families.iter().copied();
    let mut capabilities: Vec<Capability> = offered.map(Capability::MultiProtocol).collect();
    capabilities.push(Capability::RouteRefresh);
    capabilities.push(Capability::ExtendedMessage);
    capabilities.extend(restart::offered(config, &families, earlier));
    capabilities.push(Capability::FourOctetAs(config.local_as));
    if let Some(directions) = config.add_path {
        let families = families.iter().map(|family| (*family, directions));
        capabilities.push(Capability::AddPath(families.collect()));
    }
    capabilities.push(Capability::EnhancedRouteRefresh);
    Open {
        asn: config.local_as,
        hold_time_secs: config.hold_time_secs,
        router_id: config.router_id,
        capabilities,
    }
}

/// All families that we offer.
pub(super) fn offered_families(config: &SessionConfig) -> Vec<AfiSafi> {
    let flow = config.families.iter().map(|family| family.afi_safi());
    let unicast = config.unicast.iter().map(|family| family.afi_safi());
    flow.chain(unicast).collect()
}

/// Checks the neighbor's OPEN against the configuration and finds what both sides agree on.
///
/// `wire` has already checked what needs no configuration: version, identifier 0, hold times 1 and
/// 2.
pub(super) fn negotiate(
    config: &SessionConfig,
    connection: ConnectionId,
    remote_open: Open,
) -> Result<Negotiated, Refusal> {
    if remote_open.asn != config.remote_as {
        let reason = format!(
            "neighbor is in AS {}, not {}",
            remote_open.asn, config.remote_as
        );
        return Err(Refusal {
            notification: notification::bad_peer_as(),
            reason,
        });
    }
    let ibgp = config.local_as == config.remote_as;
    if ibgp && remote_open.router_id == config.router_id {
        let reason = format!("neighbor in our AS has our identifier {}", config.router_id);
        return Err(Refusal {
            notification: notification::bad_identifier(),
            reason,
        });
    }
    let has = |capability: &Capability| remote_open.capabilities.contains(capability);
    let families: Vec<FlowFamily> = config
        .families
        .iter()
        .copied()
        .filter(|family| has(&Capability::MultiProtocol(family.afi_safi())))
        .collect();
    let unicast: Vec<UnicastFamily> = config
        .unicast
        .iter()
        .copied()
        .filter(|family| has(&Capability::MultiProtocol(family.afi_safi())))
        .collect();
    // A neighbor of which we want Flow Specifications must offer them: its unicast routes serve nobody else.
    if families.is_empty() && (unicast.is_empty() || !config.families.is_empty()) {
        let offered = offered_families(config);
        let wanted: Vec<String> = offered.iter().map(ToString::to_string).collect();
        let reason = format!("neighbor offers none of {}", wanted.join(", "));
        let notification = notification::unsupported_capability(&offered);
        return Err(Refusal {
            notification,
            reason,
        });
    }
    let four_octet_as = remote_open
        .capabilities
        .iter()
        .any(|capability| matches!(capability, Capability::FourOctetAs(_)));
    let flow = families.iter().map(|family| family.afi_safi());
    let in_use: Vec<AfiSafi> = flow
        .chain(unicast.iter().map(|family| family.afi_safi()))
        .collect();
    let several = |ours: fn(Directions) -> bool, theirs| match config.add_path {
        Some(directions) if ours(directions) => {
            families_with_several_paths(&remote_open.capabilities, &in_use, theirs)
        }
        Some(_) | None => Vec::new(),
    };
    let add_path = several(Directions::receives, Directions::sends);
    let add_path_sent = several(Directions::sends, Directions::receives);
    Ok(Negotiated {
        connection,
        add_path,
        add_path_sent,
        restart: restart::negotiate(&config.restart, &remote_open.capabilities, &in_use),
        enhanced_refresh: has(&Capability::EnhancedRouteRefresh),
        families,
        unicast,
        hold_time_secs: config.hold_time_secs.min(remote_open.hold_time_secs),
        four_octet_as,
        extended_messages: has(&Capability::ExtendedMessage),
        route_refresh: has(&Capability::RouteRefresh),
        ibgp,
        remote_open,
    })
}

/// Those of the families in use in which the neighbor does this with several paths. It names all of them in one
/// capability, each once (RFC 7911 §4); of more the first counts.
fn families_with_several_paths(
    capabilities: &[Capability],
    in_use: &[AfiSafi],
    does: fn(Directions) -> bool,
) -> Vec<AfiSafi> {
    let offers = capabilities.iter().find_map(|capability| match capability {
        Capability::AddPath(offers) => Some(offers),
        Capability::MultiProtocol(_)
        | Capability::RouteRefresh
        | Capability::ExtendedMessage
        | Capability::GracefulRestart(_)
        | Capability::FourOctetAs(_)
        | Capability::EnhancedRouteRefresh
        | Capability::LongLivedGracefulRestart(_)
        | Capability::Unknown { .. } => None,
    });
    let is_offered = |family: &AfiSafi| {
        let offer = offers?.iter().find(|(offered, _)| offered == family);
        offer.map(|(_, directions)| does(*directions))
    };
    let families = in_use.iter().copied();
    families
        .filter(|family| is_offered(family) == Some(true))
        .collect()
}

/// Which of two colliding connections stays: that of the speaker with the higher identifier (RFC
/// 4271 §6.8), or of the higher AS when the identifiers are equal (RFC 6286 §2.3).
pub(super) fn collision_winner(config: &SessionConfig, remote_open: &Open) -> Direction {
    if (config.router_id, config.local_as) > (remote_open.router_id, remote_open.asn) {
        Direction::Dialed
    } else {
        Direction::Accepted
    }
}
