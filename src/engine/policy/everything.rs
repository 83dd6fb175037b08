//! Which Flow Specifications match every packet of their family.

use dataplane::interval::IntervalSet;
use dataplane::rule::{
    AddressPattern, Family, FragmentKind, FragmentSet, MaskedValues, Match, RareFields,
};

use crate::engine::lower;
use crate::wire::nlri::{Component, Nlri};

/// The smallest IPv4 packet: a header without options.
const MIN_IPV4_PACKET: u32 = 20;
/// The smallest IPv6 packet.
const MIN_IPV6_PACKET: u32 = 40;

/// True when no component restricts anything: each holds for all values that its field can have.
///
/// Looks at what the operators say, not at how they say it: `protocol >=0`, `packet-length >19` and
/// `fragment [ is-fragment !is-fragment ]` restrict nothing. Fields that some packets do not have count as restricted only
/// when a value is: `port >=0` alone matches all of TCP and UDP, which is as good as everything.
pub fn matches_everything(nlri: &Nlri) -> bool {
    let components = nlri.components();
    // What most routes begin with, told without compiling them.
    let restricts = |component: &Component| match component {
        Component::DestinationPrefix(prefix) | Component::SourcePrefix(prefix) => prefix.length > 0,
        Component::Numeric(..) | Component::Bitmask(..) => false,
    };
    if components.iter().any(restricts) {
        return false;
    }
    let family = lower::packet_family(nlri);
    restricts_nothing(&lower::lower_components(&components, family), family)
}

/// True when every field may have any value.
fn restricts_nothing(matches: &Match, family: Family) -> bool {
    let Match {
        destination,
        source,
        protocol,
        destination_port,
        source_port,
        fragment,
        rare,
    } = matches;
    let RareFields {
        port,
        icmp_type,
        icmp_code,
        tcp_flags,
        packet_length,
        dscp,
        flow_label,
        // Every packet of some interface is meant by such a rule, too.
        interfaces: _,
    } = &**rare;
    let prefixes = [destination, source].into_iter().flatten();
    let mut octets = [protocol, icmp_type, icmp_code].into_iter().flatten();
    let mut ports = [port, destination_port, source_port].into_iter().flatten();
    let (shortest, longest) = match family {
        Family::Ipv4 => (MIN_IPV4_PACKET, lower::MAX_IPV4_PACKET),
        Family::Ipv6 => (MIN_IPV6_PACKET, lower::MAX_IPV6_PACKET),
    };
    let is_full = |set: &Option<IntervalSet>, least, greatest| {
        set.as_ref()
            .is_none_or(|set| holds_all(set, least, greatest))
    };
    prefixes.map(AddressPattern::mask).all(|mask| mask == 0)
        && octets.all(|set| holds_all(set, 0, u8::MAX.into()))
        && ports.all(|set| holds_all(set, 0, u16::MAX.into()))
        && is_full(packet_length, shortest, longest)
        && is_full(dscp, 0, lower::MAX_DSCP)
        && is_full(flow_label, 0, lower::MAX_FLOW_LABEL)
        && tcp_flags.as_ref().is_none_or(holds_all_flags)
        && fragment.is_none_or(|set| holds_all_fragments(set, family))
}

/// True when the set has every value in a range.
fn holds_all(set: &IntervalSet, least: u32, greatest: u32) -> bool {
    let range = IntervalSet::from_ranges([(least, greatest)]);
    range.difference(set).is_empty()
}

/// True when any TCP flags match.
fn holds_all_flags(flags: &MaskedValues) -> bool {
    flags.values().len() == 1 << flags.mask().count_ones()
}

/// True when packets match whether they are fragments or not.
fn holds_all_fragments(set: FragmentSet, family: Family) -> bool {
    FragmentKind::ALL.into_iter().all(|kind| {
        set.contains(kind, false) && (family == Family::Ipv6 || set.contains(kind, true))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::iana::FlowFamily::{self, Ipv4Flow, Ipv6Flow};

    #[test]
    fn what_restricts_nothing_matches_everything() {
        let rows: &[(&str, FlowFamily, &str, bool)] = &[
            ("destination 0.0.0.0/0", Ipv4Flow, "0100", true),
            ("source 0.0.0.0/0", Ipv4Flow, "0200", true),
            ("both", Ipv4Flow, "01000200", true),
            ("destination ::/0", Ipv6Flow, "010000", true),
            ("half of all", Ipv4Flow, "010100", false),
            ("one host", Ipv4Flow, "0120cb007101", false),
            (
                "any destination, one source",
                Ipv4Flow,
                "01000220cb007101",
                false,
            ),
            ("protocol true", Ipv4Flow, "038706", true),
            ("protocol >=0", Ipv4Flow, "038300", true),
            ("protocol =6 or !=6", Ipv4Flow, "0301068606", true),
            ("protocol <=127 or >127", Ipv4Flow, "03057f827f", true),
            ("protocol !=6", Ipv4Flow, "038606", false),
            ("protocol false", Ipv4Flow, "038006", false),
            ("protocol <256", Ipv4Flow, "03940100", true),
            ("port >=0", Ipv4Flow, "048300", true),
            ("protocol udp, port >=0", Ipv4Flow, "038111048300", false),
            ("icmp-type <=255", Ipv4Flow, "0785ff", true),
            ("packet-length >19", Ipv4Flow, "0a8213", true),
            ("packet-length >20", Ipv4Flow, "0a8214", false),
            ("packet-length >39", Ipv6Flow, "0a8227", true),
            ("packet-length <=65535", Ipv6Flow, "0a95ffff", false),
            ("dscp <=63", Ipv4Flow, "0b853f", true),
            ("dscp <63", Ipv4Flow, "0b843f", false),
            ("flow-label >=0", Ipv6Flow, "0d8300", true),
            ("tcp-flags =0/0", Ipv4Flow, "098100", true),
            ("tcp-flags syn or !syn", Ipv4Flow, "0900028202", true),
            ("tcp-flags syn", Ipv4Flow, "098002", false),
            ("fragment or not", Ipv4Flow, "0c00028202", true),
            ("not a fragment", Ipv4Flow, "0c8206", false),
            ("not DF", Ipv4Flow, "0c8201", false),
            ("not DF, which IPv6 has not", Ipv6Flow, "0c8201", true),
        ];
        for (name, family, hex, expected) in rows {
            let nlri = Nlri::decode(*family, &hex::decode(hex).unwrap())
                .unwrap_or_else(|error| panic!("{name}: {error:?}"));
            assert_eq!(matches_everything(&nlri), *expected, "{name}");
        }
    }
}
