//! Flow Specifications of random components with random operators.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use dataplane::desired::InterfacePattern;
use dataplane::packet::Packet;
use flowacl::engine::bindings::Bindings;
use flowacl::flowspec::action::{
    InterfaceGroup, InterfaceSet, RouteTarget, TrafficFilteringActions,
};
use flowacl::flowspec::matches::Verdict;
use flowacl::wire::nlri::{
    BitmaskOp, BitmaskType, Component, Nlri, NumericOp, NumericType, PrefixPattern,
};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};

use crate::network::Fate;

/// Addresses that prefixes and packets are made from, left-aligned; all can be forwarded.
pub const IPV4_ADDRESSES: [u128; 4] = [
    0xcb00_7105 << 96,
    0xcb00_7106 << 96,
    0xcb00_f105 << 96,
    0xc633_6407 << 96,
];
/// The same for IPv6.
pub const IPV6_ADDRESSES: [u128; 4] = [
    0x2001_0db8_0000_0000_0000_0000_0000_0001,
    0x2001_0db8_0000_0001_8000_0000_0000_0005,
    0x2001_0db8_ffff_0001_0000_0000_0000_0005,
    0x2400_0000_0000_0001_0000_0000_0000_0007,
];
/// IP protocols that matter.
pub const PROTOCOLS: [u8; 16] = [1, 6, 17, 58, 6, 17, 0, 43, 44, 47, 50, 51, 59, 60, 132, 255];
/// Ports that lists begin and end with.
pub const PORTS: [u16; 10] = [0, 1, 53, 80, 123, 443, 1023, 1024, 65_534, 65_535];
/// Types of ICMP and ICMPv6, neighbor discovery among them.
pub const ICMP_TYPES: [u8; 8] = [0, 3, 8, 11, 128, 134, 254, 255];
/// Lengths of packets that lists begin and end with.
pub const LENGTHS: [u32; 10] = [28, 40, 48, 60, 100, 468, 1500, 4000, 40_000, 65_535];
/// Flow labels.
pub const FLOW_LABELS: [u32; 5] = [0, 1, 0x800, 0xabcde, 0xf_ffff];
/// TCP flags; the last one has the ninth.
pub const TCP_FLAGS: [u16; 7] = [0, 0x002, 0x010, 0x012, 0x004, 0x029, 0x102];

/// One announced route.
#[derive(Clone, Debug)]
pub struct Route {
    pub nlri: Nlri,
    pub actions: TrafficFilteringActions,
}

/// Leads to a VRF that is not there: packets are discarded.
pub const NOWHERE: RouteTarget = RouteTarget::TwoOctetAs(65001, 1);
/// Leads to the main table: packets go where they would have gone.
pub const ELSEWHERE: RouteTarget = RouteTarget::TwoOctetAs(65001, 2);

/// Where copies go to, in IPv4 and in IPv6: back to the attacker, who looks at nothing.
pub const COLLECTORS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 168, 255, 2)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 2)),
];

/// The next hop to redirect to, in IPv4 and in IPv6: that of the victim, so that packets go where they would have gone, unless
/// they are to stay in a VRF that is not there.
pub const NEXT_HOPS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 168, 255, 6)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 2)),
];

/// The interface that all packets come in by.
pub const INTERFACE: &str = "upstream";
/// Groups of interfaces; the packets come in by one of the first and of the last.
const GROUPS: [(u16, &[&str]); 3] = [
    (1, &["upstream"]),
    (2, &["customer", "down*"]),
    (3, &["customer", "up*", "upstream", "fence"]),
];

/// One of the groups, or two.
fn interface_sets(random: &mut StdRng) -> Vec<InterfaceSet> {
    let mut groups = vec![1, 2, 3];
    groups.shuffle(random);
    groups.truncate(random.random_range(1..=2));
    let set = |group| InterfaceSet {
        transitive: true,
        asn: 65001,
        input: true,
        output: false,
        group,
    };
    groups.into_iter().map(set).collect()
}

/// What names in communities stand for.
pub fn bindings() -> &'static Bindings {
    static BINDINGS: LazyLock<Bindings> = LazyLock::new(|| {
        Bindings::new([
            (
                NOWHERE,
                dataplane::rule::RoutingInstance::Vrf("nowhere".into()),
            ),
            (ELSEWHERE, dataplane::rule::RoutingInstance::Table(254)),
        ])
        .with_groups(GROUPS.map(|(group, names)| {
            let names = names
                .iter()
                .map(|name| InterfacePattern::new(name).unwrap());
            (InterfaceGroup { asn: 65001, group }, names.collect())
        }))
    });
    &BINDINGS
}

/// What becomes of a packet that these routes have been applied to, as the verdict has their positions.
pub fn fate<'a>(
    verdict: &Verdict,
    packet: &Packet,
    actions: impl Fn(usize) -> &'a TrafficFilteringActions,
) -> Fate {
    let nowhere = |position| actions(position).redirect_route_target == Some(NOWHERE);
    match verdict.dropped || verdict.redirected_by.is_some_and(nowhere) {
        true => Fate::Dropped,
        false => Fate::Passed(verdict.marked_dscp.unwrap_or(packet.dscp)),
    }
}

/// Everything but rates, which depend on time.
pub fn actions(random: &mut StdRng) -> TrafficFilteringActions {
    TrafficFilteringActions {
        rate_bytes_per_sec: random.random_bool(0.4).then_some(0.0),
        continue_evaluation: random.random_bool(0.5),
        sample: random.random_bool(0.1),
        mark_dscp: random.random_bool(0.5).then(|| random.random_range(0..64)),
        redirect_route_target: random
            .random_bool(0.2)
            .then(|| *[NOWHERE, ELSEWHERE].choose(random).unwrap_or(&NOWHERE)),
        redirect_next_hops: random
            .random_bool(0.1)
            .then_some(NEXT_HOPS[0])
            .into_iter()
            .collect(),
        copy_to: random.random_bool(0.1).then_some(COLLECTORS[0]),
        interface_sets: match random.random_bool(0.15) {
            true => interface_sets(random),
            false => Vec::new(),
        },
        ..TrafficFilteringActions::default()
    }
}

/// Components in ascending order; few, so that rules match.
pub fn components(random: &mut StdRng, ipv6: bool) -> Vec<Component> {
    let wanted = [0.1, 0.25, 0.5].choose(random).copied().unwrap_or(0.25);
    let mut components = Vec::new();
    for code in 1..=13 {
        let wanted = if code == 1 { 0.5 } else { wanted };
        if !random.random_bool(wanted) || (code == 13 && !ipv6) {
            continue;
        }
        components.push(match (code, NumericType::from_code(code)) {
            (1, _) => Component::DestinationPrefix(prefix(random, ipv6)),
            (2, _) => Component::SourcePrefix(prefix(random, ipv6)),
            (9, _) => Component::Bitmask(BitmaskType::TcpFlags, bitmasks(random, code, ipv6)),
            (12, _) => Component::Bitmask(BitmaskType::Fragment, bitmasks(random, code, ipv6)),
            (_, Some(kind)) => Component::Numeric(kind, numbers(random, kind)),
            (_, None) => unreachable!("codes 1 to 13 are all there are"),
        });
    }
    components
}

/// A prefix that covers some address of the pool.
fn prefix(random: &mut StdRng, ipv6: bool) -> PrefixPattern {
    let (addresses, lengths): (_, &[u8]) = match ipv6 {
        true => (IPV6_ADDRESSES, &[0, 1, 32, 33, 48, 64, 65, 127, 128]),
        false => (IPV4_ADDRESSES, &[0, 1, 8, 16, 23, 24, 30, 31, 32]),
    };
    let length = *lengths.choose(random).unwrap_or(&0);
    let offset = match ipv6 && length > 0 && random.random_bool(0.4) {
        true => random.random_range(0..length),
        false => 0,
    };
    let keep = |bits: u8| !u128::MAX.checked_shr(u32::from(bits)).unwrap_or(0);
    let address = addresses.choose(random).copied().unwrap_or(0);
    PrefixPattern {
        length,
        offset,
        bits: address & keep(length) & !keep(offset),
    }
}

/// A list of numeric operators about values that packets have.
pub fn numbers(random: &mut StdRng, kind: NumericType) -> Vec<NumericOp> {
    let count = *[1, 1, 2, 2, 3, 5].choose(random).unwrap_or(&1);
    (0..count)
        .map(|index| {
            let value = number(random, kind);
            // Equality and ranges are what people write; the rest is what the protocol allows.
            let comparison = *[1, 1, 1, 3, 5, 2, 4, 6, 0, 7].choose(random).unwrap_or(&1);
            NumericOp {
                and: index > 0 && random.random_bool(0.4),
                less: comparison & 4 != 0,
                greater: comparison & 2 != 0,
                equal: comparison & 1 != 0,
                width: [1, 2, 4, 8]
                    .into_iter()
                    .find(|width| *width == 8 || value >> (8 * width) == 0)
                    .unwrap_or(8),
                value,
            }
        })
        .collect()
}

/// A value for a list: one that packets have, its neighbor, or one that no packet can have.
pub fn number(random: &mut StdRng, kind: NumericType) -> u64 {
    // DSCP has one octet (RFC 8955 §4.2.2.11).
    if kind != NumericType::Dscp && random.random_bool(0.02) {
        return [256, 65_536, 1 << 20, 1 << 32, u64::MAX]
            .choose(random)
            .copied()
            .unwrap_or(0);
    }
    let value = match kind {
        NumericType::Protocol => PROTOCOLS.choose(random).copied().map(u64::from),
        NumericType::Port | NumericType::DestinationPort | NumericType::SourcePort => {
            PORTS.choose(random).copied().map(u64::from)
        }
        NumericType::IcmpType => ICMP_TYPES.choose(random).copied().map(u64::from),
        NumericType::IcmpCode => Some(random.random_range(0..5)),
        NumericType::PacketLength => LENGTHS.choose(random).copied().map(u64::from),
        NumericType::Dscp => Some(random.random_range(0..64)),
        NumericType::FlowLabel => FLOW_LABELS.choose(random).copied().map(u64::from),
    };
    match random.random_range(0..8) {
        0 => value.unwrap_or(0).saturating_sub(1),
        1 => value.unwrap_or(0) + 1,
        _ => value.unwrap_or(0),
    }
}

/// A list of bitmask operators.
pub fn bitmasks(random: &mut StdRng, code: u8, ipv6: bool) -> Vec<BitmaskOp> {
    let count = *[1, 1, 2, 3].choose(random).unwrap_or(&1);
    (0..count)
        .map(|index| {
            let value = match code {
                9 if random.random_bool(0.3) => random.random_range(0..0x1000),
                9 => TCP_FLAGS.choose(random).copied().unwrap_or(0),
                // IPv6 has no Don't Fragment bit.
                _ => random.random_range(0..16) & if ipv6 { 0x0e } else { 0x0f },
            };
            BitmaskOp {
                and: index > 0 && random.random_bool(0.4),
                not: random.random_bool(0.3),
                all: random.random_bool(0.5),
                width: if value > 0xff { 2 } else { 1 },
                value,
            }
        })
        .collect()
}
