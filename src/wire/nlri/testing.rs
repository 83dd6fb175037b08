//! Generators of NLRI for property tests.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use crate::wire::iana::FlowFamily;
use crate::wire::nlri::{
    BitmaskOp, BitmaskType, Component, Nlri, NumericOp, NumericType, PrefixPattern,
    RouteDistinguisher,
};

/// Any valid NLRI of the family. Values are crowded so that specifications overlap and packets
/// match.
pub fn arbitrary_nlri(family: FlowFamily) -> BoxedStrategy<Nlri> {
    let distinguisher = match family.is_vpn() {
        true => any::<[u8; 8]>()
            .prop_map(|octets| Some(RouteDistinguisher(octets)))
            .boxed(),
        false => Just(None).boxed(),
    };
    (distinguisher, arbitrary_components(family.is_ipv6()))
        .prop_map(move |(rd, components)| Nlri::new(family, rd, &components).unwrap())
        .boxed()
}

/// Any of the families.
pub fn arbitrary_family() -> impl Strategy<Value = FlowFamily> {
    select(FlowFamily::ALL.to_vec())
}

/// A non-empty, ascending list of components.
pub fn arbitrary_components(ipv6: bool) -> impl Strategy<Value = Vec<Component>> {
    let numeric = |kind| option::weighted(0.25, arbitrary_numeric(kind));
    let flow_label = match ipv6 {
        true => numeric(NumericType::FlowLabel).boxed(),
        false => Just(None).boxed(),
    };
    let components = (
        option::weighted(0.6, arbitrary_prefix(ipv6))
            .prop_map(|p| p.map(Component::DestinationPrefix)),
        option::weighted(0.3, arbitrary_prefix(ipv6)).prop_map(|p| p.map(Component::SourcePrefix)),
        (
            numeric(NumericType::Protocol),
            numeric(NumericType::Port),
            numeric(NumericType::DestinationPort),
            numeric(NumericType::SourcePort),
        ),
        (
            numeric(NumericType::IcmpType),
            numeric(NumericType::IcmpCode),
        ),
        option::weighted(0.25, arbitrary_bitmask(BitmaskType::TcpFlags, ipv6)),
        (
            numeric(NumericType::PacketLength),
            numeric(NumericType::Dscp),
        ),
        option::weighted(0.25, arbitrary_bitmask(BitmaskType::Fragment, ipv6)),
        flow_label,
    );
    components
        .prop_map(
            |(
                destination,
                source,
                (protocol, port, to, from),
                (icmp, code),
                flags,
                (length, dscp),
                fragment,
                label,
            )| {
                let all = [
                    destination,
                    source,
                    protocol,
                    port,
                    to,
                    from,
                    icmp,
                    code,
                    flags,
                    length,
                    dscp,
                    fragment,
                    label,
                ];
                all.into_iter().flatten().collect::<Vec<_>>()
            },
        )
        .prop_filter("an NLRI has a component", |components| {
            !components.is_empty()
        })
}

/// Few bits in different places, so that prefixes cover one another.
pub fn arbitrary_address_bits() -> impl Strategy<Value = u128> {
    (
        vec(0u32..128, 0..3),
        any::<u128>(),
        select(vec![0u32, 32, 120, 128]),
    )
        .prop_map(|(bits, noise, keep)| {
            bits.iter().fold(
                noise.checked_shr(128 - keep).unwrap_or(0),
                |address, bit| address ^ 1 << bit,
            )
        })
}

fn arbitrary_prefix(ipv6: bool) -> impl Strategy<Value = PrefixPattern> {
    let most = if ipv6 { 128u8 } else { 32 };
    let lengths = prop_oneof![0..=most, select(vec![0u8, 8, 9, 24, 31, 32])];
    let offsets = if ipv6 {
        prop_oneof![Just(0u8), 0u8..128].boxed()
    } else {
        Just(0).boxed()
    };
    (lengths, offsets, arbitrary_address_bits()).prop_map(|(length, offset, bits)| {
        let offset = if offset < length { offset } else { 0 };
        let bits = (offset..length)
            .map(|position| bits & 1 << (127 - position))
            .fold(0, |all, bit| all | bit);
        PrefixPattern {
            length,
            offset,
            bits,
        }
    })
}

fn arbitrary_numeric(kind: NumericType) -> impl Strategy<Value = Component> {
    let value = match kind {
        NumericType::Dscp => (0u64..64).boxed(),
        _ => {
            let edges = vec![58u64, 80, 128, 255, 256, 65535, 65536, 1 << 20];
            prop_oneof![4 => 0u64..24, 2 => select(edges), 1 => any::<u64>()].boxed()
        }
    };
    let operator = (
        any::<bool>(),
        0u8..8,
        value,
        select(vec![1u8, 1, 1, 2, 4, 8]),
    );
    vec(operator, 1..4).prop_map(move |list| {
        let op = |(index, (and, code, value, width)): (usize, (bool, u8, u64, u8))| {
            let width = if kind == NumericType::Dscp { 1 } else { width };
            let value = if width < 8 {
                value & ((1 << (8 * width)) - 1)
            } else {
                value
            };
            let [less, greater, equal] = [4, 2, 1].map(|bit| code & bit != 0);
            NumericOp {
                and: and && index > 0,
                less,
                greater,
                equal,
                width,
                value,
            }
        };
        Component::Numeric(kind, list.into_iter().enumerate().map(op).collect())
    })
}

fn arbitrary_bitmask(kind: BitmaskType, ipv6: bool) -> impl Strategy<Value = Component> {
    let mask = match kind {
        BitmaskType::TcpFlags => 0x0fff,
        BitmaskType::Fragment if ipv6 => 0x0e,
        BitmaskType::Fragment => 0x0f,
    };
    vec(
        (
            any::<bool>(),
            any::<bool>(),
            any::<bool>(),
            0u16..=0xfff,
            any::<bool>(),
        ),
        1..4,
    )
    .prop_map(move |list| {
        let op = |(index, (and, not, all, value, wide)): (usize, (bool, bool, bool, u16, bool))| {
            let wide = wide && kind == BitmaskType::TcpFlags;
            let (width, value) = if wide {
                (2, value & mask)
            } else {
                (1, value & mask & 0xff)
            };
            BitmaskOp {
                and: and && index > 0,
                not,
                all,
                width,
                value,
            }
        };
        Component::Bitmask(kind, list.into_iter().enumerate().map(op).collect())
    })
}
