//! The reference evaluator: whether a packet matches a Flow Specification, and what happens to it.
//!
//! Written from the text of RFC 8955 §4.2.2 and RFC 8956 §3, packet by packet and operator by
//! operator, and slow. What is compiled for a packet filter goes another way (over sets) and is
//! held against this.

use dataplane::packet::Packet;
use dataplane::rule::{Family, Limit};

use crate::flowspec::action::{InterfaceSet, RatePerSource, TrafficFilteringActions};
use crate::flowspec::operator::{bitmask_matches, fragment_bits, numeric_matches};
use crate::wire::nlri::{
    BitmaskOp, BitmaskType, Component, Nlri, NumericOp, NumericType, PrefixPattern,
};

/// IP protocol numbers that components depend on.
pub mod protocol {
    /// ICMP, in IPv4.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// ICMPv6, in IPv6.
    pub const ICMPV6: u8 = 58;
}

/// True when all components hold for the packet (RFC 8955 §4.2). A packet of the other family never
/// matches.
///
/// The route distinguisher of VPN families is not looked at: which VRF the packet is in is for the
/// caller to know.
pub fn matches(nlri: &Nlri, packet: &Packet) -> bool {
    nlri.family().is_ipv6() == (packet.family == Family::Ipv6)
        && nlri
            .components()
            .iter()
            .all(|component| component_matches(component, packet))
}

/// What a sequence of Flow Specifications does to one packet.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Verdict {
    /// The packet is dropped whatever its rate.
    pub dropped: bool,
    /// Its DSCP is set to this.
    pub marked_dscp: Option<u8>,
    /// The rule that says where it is sent instead of to its destination; `None` when it is dropped.
    pub redirected_by: Option<usize>,
    /// The rule that says where a copy of it goes; `None` when it is dropped.
    pub copied_by: Option<usize>,
    /// A copy is sampled.
    pub sampled: bool,
    /// Limiters that the packet has to get through, in order, with the position of the rule each
    /// belongs to.
    pub limits: Vec<(usize, Limit)>,
    /// The same for limiters that the packet's source has for itself.
    pub source_limits: Vec<(usize, RatePerSource)>,
    /// Positions of all rules that matched and were reached, in order.
    pub matched: Vec<usize>,
    /// Position of the rule that ended the evaluation; `None`: the packet went past the last rule.
    pub deciding: Option<usize>,
}

/// Applies rules, which stand in the order of their precedence, to a packet (RFC 8955 §5.1 and §7).
///
/// Evaluation ends at the first match that discards or whose T bit is clear. Actions of all matches
/// on the way are collected; of several marks the first wins, and so it is with redirects and copies.
///
/// A rule with interface-sets applies only if the packet has come in by an interface of one of them, as `came_in_by`
/// knows (draft-ietf-idr-flowspec-interfaceset §3).
pub fn evaluate<'a>(
    rules: impl IntoIterator<Item = (&'a Nlri, &'a TrafficFilteringActions)>,
    packet: &Packet,
    came_in_by: impl Fn(&InterfaceSet) -> bool,
) -> Verdict {
    let mut verdict = Verdict::default();
    for (position, (nlri, actions)) in rules.into_iter().enumerate() {
        let sets = &actions.interface_sets;
        let applies = sets.is_empty() || sets.iter().any(&came_in_by);
        if !applies || !matches(nlri, packet) {
            continue;
        }
        verdict.matched.push(position);
        verdict.sampled |= actions.sample;
        if actions.is_discard() {
            verdict.dropped = true;
            verdict.redirected_by = None;
            verdict.copied_by = None;
            verdict.deciding = Some(position);
            break;
        }
        let limits = actions.limits().into_iter();
        verdict.limits.extend(limits.map(|limit| (position, limit)));
        let of_source = actions.rates_per_source.iter();
        let of_source = of_source.map(|rate| (position, *rate));
        verdict.source_limits.extend(of_source);
        verdict.marked_dscp = verdict.marked_dscp.or(actions.mark_dscp);
        if actions.redirects() {
            verdict.redirected_by.get_or_insert(position);
        }
        if actions.copy_to.is_some() {
            verdict.copied_by.get_or_insert(position);
        }
        if !actions.continue_evaluation {
            verdict.deciding = Some(position);
            break;
        }
    }
    verdict
}

/// True when one component holds for the packet.
fn component_matches(component: &Component, packet: &Packet) -> bool {
    match component {
        Component::DestinationPrefix(prefix) => prefix_matches(prefix, packet.destination),
        Component::SourcePrefix(prefix) => prefix_matches(prefix, packet.source),
        Component::Numeric(kind, ops) => numeric_component_matches(*kind, ops, packet),
        Component::Bitmask(kind, ops) => bitmask_component_matches(*kind, ops, packet),
    }
}

/// RFC 8955 §4.2.2.1, RFC 8956 §3.1: bits from the offset to the length are those of the pattern.
fn prefix_matches(prefix: &PrefixPattern, address: u128) -> bool {
    let bit = |of: u128, position: u8| of >> (127 - position) & 1;
    (prefix.offset..prefix.length)
        .all(|position| bit(address, position) == bit(prefix.bits, position))
}

/// Components with numeric operators: the packet must have the field, and the field must satisfy
/// the list.
fn numeric_component_matches(kind: NumericType, ops: &[NumericOp], packet: &Packet) -> bool {
    let holds = |field: Option<u64>| field.is_some_and(|field| numeric_matches(ops, field));
    let port = |field: Option<u16>| {
        let field =
            field.filter(|_| has_transport_header_of(packet, &[protocol::TCP, protocol::UDP]));
        holds(field.map(u64::from))
    };
    let icmp = |field: Option<u8>| {
        let number = match packet.family {
            Family::Ipv4 => protocol::ICMP,
            Family::Ipv6 => protocol::ICMPV6,
        };
        holds(
            field
                .filter(|_| has_transport_header_of(packet, &[number]))
                .map(u64::from),
        )
    };
    match kind {
        NumericType::Protocol => holds(packet.protocol.map(u64::from)),
        // The whole list is evaluated on one port and then on the other: `>=10 && <=20` means one
        // port in the range.
        NumericType::Port => port(packet.source_port) || port(packet.destination_port),
        NumericType::DestinationPort => port(packet.destination_port),
        NumericType::SourcePort => port(packet.source_port),
        NumericType::IcmpType => icmp(packet.icmp_type),
        NumericType::IcmpCode => icmp(packet.icmp_code),
        NumericType::PacketLength => holds(packet.packet_length.map(u64::from)),
        NumericType::Dscp => holds(Some(u64::from(packet.dscp))),
        NumericType::FlowLabel => holds(packet.flow_label.map(u64::from)),
    }
}

/// Components with bitmask operators.
fn bitmask_component_matches(kind: BitmaskType, ops: &[BitmaskOp], packet: &Packet) -> bool {
    match kind {
        BitmaskType::TcpFlags => {
            let flags = packet
                .tcp_flags
                .filter(|_| has_transport_header_of(packet, &[protocol::TCP]));
            flags.is_some_and(|flags| bitmask_matches(ops, flags))
        }
        BitmaskType::Fragment => {
            bitmask_matches(ops, fragment_bits(packet.fragment, packet.dont_fragment))
        }
    }
}

/// True when the packet carries the header of one of these protocols: fragments after the first do
/// not.
fn has_transport_header_of(packet: &Packet, protocols: &[u8]) -> bool {
    !packet.fragment.is_later()
        && packet
            .protocol
            .is_some_and(|number| protocols.contains(&number))
}

#[cfg(test)]
#[path = "matches_tests.rs"]
mod tests;
