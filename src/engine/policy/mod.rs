//! Import policy: which routes of a neighbor are taken, and the reason for each that is not.

mod actions;
mod communities;
mod everything;
mod prefixes;

use std::net::Ipv4Addr;
use std::time::Duration;

use dataplane::rule::LimitUnit;
use ipnetwork::IpNetwork;

use crate::flowspec::action::TrafficFilteringActions;
use crate::rib::{Refusal, RefusalKind};
use crate::wire::attribute::Attributes;
use crate::wire::nlri::Nlri;

pub use actions::{ActionKind, RateBounds};
pub use communities::Community;
pub use prefixes::MinLengths;

/// Routes a neighbor may have in force when its policy names no number.
pub const DEFAULT_MAX_ROUTES: usize = 100_000;

/// Unicast routes that a neighbor may announce when its policy names no number: twice what the Internet has.
pub const DEFAULT_MAX_UNICAST_ROUTES: usize = 2_500_000;

/// Share of the limits at which a warning is logged when nobody says another.
pub const DEFAULT_WARN_PERCENT: u8 = 80;

/// How long a session closed for too many routes stays down when nobody says.
pub const DEFAULT_RESTART: Duration = Duration::from_secs(300);

/// What is taken from one neighbor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportPolicy {
    /// The destination must lie inside one of these; empty: any destination, and none.
    pub destinations: Vec<IpNetwork>,
    /// The source must lie inside one of these; empty: any source, and none.
    pub sources: Vec<IpNetwork>,
    /// Least bits of an address that a destination prefix names. One that is missing names none.
    pub min_destination_length: MinLengths,
    /// Least bits of an address that a source prefix names, if there is one.
    pub min_source_length: MinLengths,
    /// There must be a destination prefix. `None`: only where the validation needs it.
    pub destination_required: Option<bool>,
    /// Take rules that match every packet.
    pub allow_match_all: bool,
    /// The actions that a route may ask for; `None`: all.
    pub actions: Option<Vec<ActionKind>>,
    /// Follow redirects in forms that no RFC defines, 0x0800 and 0x800b; some of them lead to the next hop of the route.
    pub legacy_redirects: bool,
    /// Rates in octets a second; discarding is none.
    pub rate_bytes: RateBounds,
    /// Rates in packets a second; discarding is none.
    pub rate_packets: RateBounds,
    /// A route must carry one of these; empty: it need not.
    pub accept_communities: Vec<Community>,
    /// A route must carry none of these.
    pub refuse_communities: Vec<Community>,
    /// Routes in force at most.
    pub max_routes: usize,
    /// Share of `max_routes` at which a warning is due, in percent; 0: none.
    pub warn_percent: u8,
    /// What becomes of routes beyond.
    pub overflow: Overflow,
    /// How long a route stays in force without being announced anew; `None`: for ever.
    pub max_lifetime: Option<Duration>,
    /// What a destination prefix is compared with.
    pub validation: Validation,
    /// Unicast routes at most, which serve validation. Beyond, the session is closed: with a part of them, what is not
    /// valid could seem to be.
    pub max_unicast_routes: usize,
}

impl Default for ImportPolicy {
    fn default() -> Self {
        Self {
            destinations: Vec::new(),
            sources: Vec::new(),
            min_destination_length: MinLengths::default(),
            min_source_length: MinLengths::default(),
            destination_required: None,
            allow_match_all: false,
            actions: None,
            legacy_redirects: false,
            rate_bytes: RateBounds::default(),
            rate_packets: RateBounds::default(),
            accept_communities: Vec::new(),
            refuse_communities: Vec::new(),
            max_routes: DEFAULT_MAX_ROUTES,
            warn_percent: DEFAULT_WARN_PERCENT,
            overflow: Overflow::Refuse,
            max_lifetime: None,
            validation: Validation::None,
            max_unicast_routes: DEFAULT_MAX_UNICAST_ROUTES,
        }
    }
}

/// How routes are validated (RFC 8955 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validation {
    /// Not at all: the neighbor is trusted.
    None,
    /// There must be a destination prefix.
    Destination,
    /// Against the unicast routes of all neighbors (RFC 9117).
    Rfc9117,
    /// Likewise, and routes of our own AS are not exempt (RFC 9117 §4.1 b 2 is off).
    Rfc9117Strict,
}

impl Validation {
    /// True when unicast routes decide.
    pub fn needs_unicast(self) -> bool {
        match self {
            Validation::None | Validation::Destination => false,
            Validation::Rfc9117 | Validation::Rfc9117Strict => true,
        }
    }
}

/// What happens when a neighbor announces more than `max_routes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// The newest are refused, and the session stays up.
    Refuse,
    /// The session is closed with Cease, maximum number of prefixes reached (RFC 4486 §4).
    Close {
        /// How long it stays down.
        restart: Duration,
    },
}

/// What holds for the routes of all neighbors together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TotalLimit {
    /// Routes in force at most.
    pub max_routes: usize,
    /// Share of them at which a warning is due, in percent; 0: none.
    pub warn_percent: u8,
}

impl Default for TotalLimit {
    fn default() -> Self {
        Self {
            max_routes: usize::MAX,
            warn_percent: DEFAULT_WARN_PERCENT,
        }
    }
}

/// Routes from which on a warning is due; `None`: never.
pub(super) fn warning_threshold(max_routes: usize, percent: u8) -> Option<usize> {
    let share = (max_routes as u128 * u128::from(percent)).div_ceil(100);
    let threshold = usize::try_from(share).unwrap_or(usize::MAX);
    (percent > 0 && max_routes < usize::MAX).then_some(threshold)
}

/// This speaker, as far as loop detection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalSpeaker {
    /// Our AS.
    pub asn: u32,
    /// Our BGP identifier.
    pub router_id: Ipv4Addr,
}

impl ImportPolicy {
    /// How long a session that was closed for too many routes stays down.
    pub fn restart(&self) -> Duration {
        match self.overflow {
            Overflow::Refuse => DEFAULT_RESTART,
            Overflow::Close { restart } => restart,
        }
    }

    /// Why the route is refused, or `None`. Looks at nothing but the route: not at limits, which depend on other routes,
    /// nor at its age.
    pub fn refusal(
        &self,
        local: LocalSpeaker,
        nlri: &Nlri,
        attributes: &Attributes,
        actions: &TrafficFilteringActions,
    ) -> Option<Refusal> {
        let refusal = |kind| move |reason: String| Refusal::new(kind, reason);
        loop_refusal(local, attributes)
            .map(refusal(RefusalKind::Loop))
            .or_else(|| {
                self.community_refusal(attributes)
                    .map(refusal(RefusalKind::Community))
            })
            .or_else(|| self.breadth_refusal(nlri))
            .or_else(|| prefixes::refusal(self, nlri))
            .or_else(|| {
                let allowed = self.actions.as_deref()?;
                actions::action_refusal(allowed, actions).map(refusal(RefusalKind::Action))
            })
            .or_else(|| self.rate_refusal(actions).map(refusal(RefusalKind::Rate)))
    }

    fn community_refusal(&self, attributes: &Attributes) -> Option<String> {
        let mut refused = self.refuse_communities.iter();
        if let Some(community) = refused.find(|community| community.is_in(attributes)) {
            return Some(format!(
                "community {community} is one of import.refuse_communities"
            ));
        }
        let mut accepted = self.accept_communities.iter();
        let none = !self.accept_communities.is_empty()
            && !accepted.any(|community| community.is_in(attributes));
        none.then(|| {
            let accepted = self.accept_communities.iter();
            let names: Vec<String> = accepted.map(ToString::to_string).collect();
            format!(
                "carries none of import.accept_communities = [{}]",
                names.join(", ")
            )
        })
    }

    fn breadth_refusal(&self, nlri: &Nlri) -> Option<Refusal> {
        let refused = !self.allow_match_all && everything::matches_everything(nlri);
        refused.then(|| {
            let family = nlri.family();
            let reason = format!(
                "matches every packet of {family}, which import.allow_match_all does not allow"
            );
            Refusal::new(RefusalKind::MatchesEverything, reason)
        })
    }

    fn rate_refusal(&self, actions: &TrafficFilteringActions) -> Option<String> {
        if actions.is_discard() {
            return None;
        }
        let of_source = |unit| {
            let rates = actions.rates_per_source.iter();
            let of_unit = rates.filter(move |rate| rate.unit == unit);
            of_unit.map(|rate| rate.rate_per_sec)
        };
        let bytes = actions.rate_bytes_per_sec.into_iter();
        let packets = actions.rate_packets_per_sec.into_iter();
        bytes
            .chain(of_source(LimitUnit::Bytes))
            .find_map(|rate| self.rate_bytes.refusal(rate, "bytes"))
            .or_else(|| {
                let mut packets = packets.chain(of_source(LimitUnit::Packets));
                packets.find_map(|rate| self.rate_packets.refusal(rate, "packets"))
            })
    }
}

/// RFC 4271 §9.1.2 for AS loops, RFC 4456 §8 for reflected routes.
pub(super) fn loop_refusal(local: LocalSpeaker, attributes: &Attributes) -> Option<String> {
    if attributes.originator_id == Some(local.router_id) {
        return Some("ORIGINATOR_ID is this router: reflected back (RFC 4456 §8)".into());
    }
    let looped = attributes
        .as_path
        .iter()
        .any(|segment| segment.asns.contains(&local.asn));
    looped.then(|| format!("AS_PATH contains AS {}: loop (RFC 4271 §9.1.2)", local.asn))
}

#[cfg(test)]
mod tests;
