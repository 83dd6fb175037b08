//! The compiler: one Flow Specification and its actions to one [`Rule`] of the data plane.
//!
//! Exact or not at all. A list of operators becomes the set of values that it holds for, so nothing
//! is lost; an action that restricts traffic and that rules do not know makes the whole route
//! unsupported.

use std::fmt;
use std::sync::Arc;

use dataplane::backend::Unsupported;
use dataplane::interval::IntervalSet;
use dataplane::rule::{
    Action, AddressPattern, Background, Family, FragmentKind, Label, Match, RareActions, Rule,
    RuleId, SourceLimit,
};

use super::bindings::{Bindings, copy_to};
use crate::flowspec::action::{RatePerSource, TrafficFilteringActions};
use crate::flowspec::matches::protocol;
use crate::flowspec::operator::{fragment_set, numeric_set, tcp_flags_set};
use crate::flowspec::precedence::{precedence_key, precedence_tier};
use crate::flowspec::text::{format_match, format_route_distinguisher};
use crate::wire::nlri::{BitmaskType, Component, Nlri, NumericType, PrefixPattern};

/// The greatest IPv4 packet: the largest Total Length.
pub(super) const MAX_IPV4_PACKET: u32 = 65_535;
/// The greatest IPv6 packet that is no jumbogram: the largest Payload Length and the header.
pub(super) const MAX_IPV6_PACKET: u32 = 65_535 + 40;
/// The greatest flow label: 20 bits.
pub(super) const MAX_FLOW_LABEL: u32 = 0xf_ffff;
/// The greatest DSCP: 6 bits.
pub(super) const MAX_DSCP: u32 = 63;

/// A rule, and what an operator should know of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Lowered {
    /// Does exactly what the route asks for.
    pub rule: Rule,
    /// Parts of the route that are without effect.
    pub notes: Vec<String>,
}

/// Compiles a route. `bindings` says what names in communities stand for here.
///
/// Fails when no rule can do what the route asks
/// for; the reason names the part at fault. A route that no packet can match is compiled like any
/// other, with a note.
pub fn lower(
    nlri: &Nlri,
    actions: &Arc<TrafficFilteringActions>,
    id: RuleId,
    bindings: &Bindings,
) -> Result<Lowered, Unsupported> {
    if let Some(distinguisher) = nlri.route_distinguisher() {
        let distinguisher = format_route_distinguisher(distinguisher);
        return Err(Unsupported(format!(
            "no VRF for route distinguisher {distinguisher}"
        )));
    }
    let mut notes = actions.notes.clone();
    let family = packet_family(nlri);
    let action = lower_actions(actions, family, bindings, &mut notes)?;
    let mut matches = lower_components(&nlri.components(), family);
    // Even a rule that discards must not apply where it was not meant to.
    if let Some(interfaces) = bindings.interfaces(actions, &mut notes)? {
        matches.rare.interfaces = Some(interfaces);
    }
    if let Some(reason) = why_it_never_matches(&matches, family) {
        notes.push(format!("matches nothing: {reason}"));
    }
    let rule = Rule {
        id,
        family,
        order: precedence_key(nlri),
        tier: precedence_tier(nlri),
        label: Label::new(Text {
            nlri: nlri.clone(),
            actions: actions.clone(),
        }),
        matches,
        action,
    };
    Ok(Lowered { rule, notes })
}

/// The packets that the route is about.
pub(super) fn packet_family(nlri: &Nlri) -> Family {
    if nlri.family().is_ipv6() {
        Family::Ipv6
    } else {
        Family::Ipv4
    }
}

/// What an operator reads beside the rule. Packet filters cut long comments, so it begins with what
/// tells rules apart.
struct Text {
    nlri: Nlri,
    actions: Arc<TrafficFilteringActions>,
}

impl Background for Text {
    fn subject(&self) -> String {
        format_match(&self.nlri)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_label(f, &self.nlri, &self.actions)
    }
}

/// Writes what an operator reads beside a rule.
pub fn write_label(
    f: &mut fmt::Formatter<'_>,
    nlri: &Nlri,
    actions: &TrafficFilteringActions,
) -> fmt::Result {
    let (flow, actions) = (format_match(nlri), actions.describe());
    write!(f, "{flow} then {}", actions.join(", "))
}

/// Compiles the actions; fails on one that restricts traffic in a way that rules cannot.
fn lower_actions(
    actions: &TrafficFilteringActions,
    family: Family,
    bindings: &Bindings,
    notes: &mut Vec<String>,
) -> Result<Action, Unsupported> {
    let discard = actions.is_discard();
    let mut rare = RareActions::default();
    if discard {
        let void = sends_in_words(actions).into_iter();
        notes.extend(void.map(|it| format!("{it} has no effect: the route discards")));
    } else {
        if let Some(legacy) = actions.legacy_redirect {
            return Err(Unsupported(format!(
                "{legacy} is not followed: that takes import.legacy_redirects and a next hop"
            )));
        }
        rare.source_limits = source_limits(&actions.rates_per_source, family)?;
        rare.redirect = bindings.route(actions, family, notes)?;
        rare.copy_to = copy_to(actions, family)?;
    }
    Ok(Action {
        discard,
        limits: actions.limits(),
        mark_dscp: actions.mark_dscp,
        sample: actions.sample,
        rare: rare.into(),
        continue_evaluation: actions.continue_evaluation,
    })
}

/// Limits for each source; fails on prefixes that no address of the family has.
fn source_limits(rates: &[RatePerSource], family: Family) -> Result<Vec<SourceLimit>, Unsupported> {
    let bits = family.address_bits();
    let lower = |rate: &RatePerSource| {
        if rate.prefix_length > bits {
            // Flowspec-xdp takes it for nothing; then the rule would accept what it is to limit.
            return Err(Unsupported(format!(
                "{rate}: an {family} address has no more than {bits} bits"
            )));
        }
        Ok(SourceLimit {
            limit: rate.limit(),
            prefix_length: rate.prefix_length,
            max_sources: rate.max_sources(),
        })
    };
    rates.iter().map(lower).collect()
}

/// All that would send packets or copies elsewhere, in words.
fn sends_in_words(actions: &TrafficFilteringActions) -> Vec<String> {
    let route_target = actions
        .redirect_route_target
        .map(|target| format!("redirect {target}"));
    let next_hops = actions.redirect_next_hops.iter();
    let next_hops = next_hops.map(|address| format!("redirect-to-ip {address}"));
    let copy = actions.copy_to;
    let copy = copy.map(|address| format!("copy-to-ip {address}"));
    let legacy = actions.legacy_redirect.map(|legacy| legacy.to_string());
    let others = copy.into_iter().chain(legacy);
    route_target
        .into_iter()
        .chain(next_hops)
        .chain(others)
        .collect()
}

/// Compiles the components: each into the field it is about.
pub(super) fn lower_components(components: &[Component], family: Family) -> Match {
    let mut matches = Match::default();
    for component in components {
        match component {
            Component::DestinationPrefix(prefix) => matches.destination = Some(pattern(prefix)),
            Component::SourcePrefix(prefix) => matches.source = Some(pattern(prefix)),
            Component::Numeric(kind, ops) => {
                let set = Some(numeric_set(ops, greatest_value(*kind, family)));
                match kind {
                    NumericType::Protocol => matches.protocol = set,
                    NumericType::Port => matches.rare.port = set,
                    NumericType::DestinationPort => matches.destination_port = set,
                    NumericType::SourcePort => matches.source_port = set,
                    NumericType::IcmpType => matches.rare.icmp_type = set,
                    NumericType::IcmpCode => matches.rare.icmp_code = set,
                    NumericType::PacketLength => matches.rare.packet_length = set,
                    NumericType::Dscp => matches.rare.dscp = set,
                    NumericType::FlowLabel => matches.rare.flow_label = set,
                }
            }
            Component::Bitmask(BitmaskType::TcpFlags, ops) => {
                matches.rare.tcp_flags = Some(tcp_flags_set(ops));
            }
            Component::Bitmask(BitmaskType::Fragment, ops) => {
                matches.fragment = Some(fragment_set(ops, family));
            }
        }
    }
    matches
}

/// The same bits, in the data plane's words.
fn pattern(prefix: &PrefixPattern) -> AddressPattern {
    AddressPattern::new(prefix.bits, prefix.offset, prefix.length)
}

/// The greatest value that a packet can have in this field.
fn greatest_value(kind: NumericType, family: Family) -> u32 {
    match kind {
        NumericType::Protocol | NumericType::IcmpType | NumericType::IcmpCode => u32::from(u8::MAX),
        NumericType::Port | NumericType::DestinationPort | NumericType::SourcePort => {
            u32::from(u16::MAX)
        }
        NumericType::PacketLength => match family {
            Family::Ipv4 => MAX_IPV4_PACKET,
            Family::Ipv6 => MAX_IPV6_PACKET,
        },
        NumericType::Dscp => MAX_DSCP,
        NumericType::FlowLabel => MAX_FLOW_LABEL,
    }
}

/// Why no packet can match, if that is easily seen: an empty set, or fields that no packet has
/// together.
fn why_it_never_matches(matches: &Match, family: Family) -> Option<String> {
    let sets = [
        ("protocol", &matches.protocol),
        ("port", &matches.rare.port),
        ("destination-port", &matches.destination_port),
        ("source-port", &matches.source_port),
        ("icmp-type", &matches.rare.icmp_type),
        ("icmp-code", &matches.rare.icmp_code),
        ("packet-length", &matches.rare.packet_length),
        ("dscp", &matches.rare.dscp),
        ("flow-label", &matches.rare.flow_label),
    ];
    let empty = |name: &str| Some(format!("no value satisfies {name}"));
    if let Some((name, _)) = sets
        .iter()
        .find(|(_, set)| set.as_ref().is_some_and(IntervalSet::is_empty))
    {
        return empty(name);
    }
    if matches
        .rare
        .tcp_flags
        .as_ref()
        .is_some_and(|flags| flags.values().is_empty())
    {
        return empty("tcp-flags");
    }
    if matches.fragment.is_some_and(|set| set.is_empty()) {
        return empty("fragment");
    }
    if no_protocol_has_all(matches, family) {
        return Some("no protocol has all these fields".into());
    }
    let only_later_fragments = matches.fragment.is_some_and(|set| {
        let possible = |kind| [false, true].iter().any(|df| set.contains(kind, *df));
        !possible(FragmentKind::Whole) && !possible(FragmentKind::First)
    });
    (only_later_fragments && matches.needs_transport_header())
        .then(|| "later fragments have no ports, ICMP type or TCP flags".into())
}

/// True when the fields that are looked at exist in no protocol that the rule admits.
fn no_protocol_has_all(matches: &Match, family: Family) -> bool {
    let only = |protocols: &[u8]| {
        IntervalSet::from_ranges(
            protocols
                .iter()
                .map(|number| (u32::from(*number), u32::from(*number))),
        )
    };
    let icmp = match family {
        Family::Ipv4 => protocol::ICMP,
        Family::Ipv6 => protocol::ICMPV6,
    };
    let has_port = matches.rare.port.is_some()
        || matches.destination_port.is_some()
        || matches.source_port.is_some();
    let has_icmp = matches.rare.icmp_type.is_some() || matches.rare.icmp_code.is_some();
    let mut admitted = matches
        .protocol
        .clone()
        .unwrap_or_else(|| IntervalSet::full(u32::from(u8::MAX)));
    for (looked_at, protocols) in [
        (has_port, only(&[protocol::TCP, protocol::UDP])),
        (has_icmp, only(&[icmp])),
        (matches.rare.tcp_flags.is_some(), only(&[protocol::TCP])),
    ] {
        if looked_at {
            admitted = admitted.intersection(&protocols);
        }
    }
    admitted.is_empty()
}

#[cfg(test)]
#[path = "lower_tests.rs"]
mod tests;
