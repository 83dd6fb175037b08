use super::*;
use crate::flowspec::matches::matches;
use crate::flowspec::testing::{arbitrary_family, arbitrary_nlri, arbitrary_packet};
use crate::wire::iana::FlowFamily;
use crate::wire::nlri::NumericOp;
use dataplane::packet::Packet;
use proptest::collection::vec;
use proptest::prelude::*;

/// A component as the code printed in RFC 8955 Appendix A and RFC 8956 Appendix A sees it.
#[derive(Clone, Debug, PartialEq)]
struct RfcComponent {
    kind: u8,
    value: RfcValue,
}

/// `ipaddress.IPv6Network` with its offset, or `bytearray`. IPv4 networks stand in the upper 32
/// bits.
#[derive(Clone, Debug, PartialEq)]
enum RfcValue {
    Network {
        offset: u8,
        address: u128,
        length: u8,
    },
    Data(Vec<u8>),
}

/// Transcribed from RFC 8956 Appendix A; with all offsets 0 it is that of RFC 8955 Appendix A.
fn flow_rule_cmp(a: &[RfcComponent], b: &[RfcComponent]) -> Ordering {
    const A_HAS_PRECEDENCE: Ordering = Ordering::Less;
    const B_HAS_PRECEDENCE: Ordering = Ordering::Greater;
    for index in 0..a.len().max(b.len()) {
        let Some(comp_a) = a.get(index) else {
            return B_HAS_PRECEDENCE;
        };
        let Some(comp_b) = b.get(index) else {
            return A_HAS_PRECEDENCE;
        };
        if comp_a.kind != comp_b.kind {
            return if comp_a.kind < comp_b.kind {
                A_HAS_PRECEDENCE
            } else {
                B_HAS_PRECEDENCE
            };
        }
        match (&comp_a.value, &comp_b.value) {
            (
                RfcValue::Network {
                    offset: offset_a,
                    address: address_a,
                    length: length_a,
                },
                RfcValue::Network {
                    offset: offset_b,
                    address: address_b,
                    length: length_b,
                },
            ) => {
                if offset_a != offset_b {
                    return if offset_a < offset_b {
                        A_HAS_PRECEDENCE
                    } else {
                        B_HAS_PRECEDENCE
                    };
                }
                let common = *length_a.min(length_b);
                let overlaps =
                    common == 0 || (address_a ^ address_b) >> (128 - u32::from(common)) == 0;
                if overlaps {
                    if length_a != length_b {
                        return if length_a > length_b {
                            A_HAS_PRECEDENCE
                        } else {
                            B_HAS_PRECEDENCE
                        };
                    }
                } else if address_a > address_b {
                    return B_HAS_PRECEDENCE;
                } else {
                    return A_HAS_PRECEDENCE;
                }
            }
            (RfcValue::Data(data_a), RfcValue::Data(data_b)) => {
                let common = data_a.len().min(data_b.len());
                if data_a[..common] != data_b[..common] {
                    let lower_a = data_a[..common] < data_b[..common];
                    return if lower_a {
                        A_HAS_PRECEDENCE
                    } else {
                        B_HAS_PRECEDENCE
                    };
                }
                if data_a.len() != data_b.len() {
                    return if data_a.len() > data_b.len() {
                        A_HAS_PRECEDENCE
                    } else {
                        B_HAS_PRECEDENCE
                    };
                }
            }
            (RfcValue::Network { .. }, RfcValue::Data(_))
            | (RfcValue::Data(_), RfcValue::Network { .. }) => {
                panic!("components of one type have values of one kind")
            }
        }
    }
    Ordering::Equal
}

/// Takes an NLRI value apart without any help of the code under test.
fn rfc_components(nlri: &Nlri) -> Vec<RfcComponent> {
    let ipv6 = nlri.family().is_ipv6();
    let mut rest = &nlri.value()[if nlri.family().is_vpn() { 8 } else { 0 }..];
    let mut components = Vec::new();
    while let [kind, after @ ..] = rest {
        rest = after;
        let value = if *kind <= 2 {
            let length = rest[0];
            let offset = if ipv6 { rest[1] } else { 0 };
            rest = &rest[if ipv6 { 2 } else { 1 }..];
            let (pattern, after) = rest.split_at(usize::from(length - offset).div_ceil(8));
            rest = after;
            let mut octets = [0; 16];
            octets[..pattern.len()].copy_from_slice(pattern);
            let address = u128::from_be_bytes(octets)
                .checked_shr(u32::from(offset))
                .unwrap_or(0);
            RfcValue::Network {
                offset,
                address,
                length,
            }
        } else {
            let mut length = 0;
            loop {
                let operator = rest[length];
                length += 1 + (1 << (operator >> 4 & 0b11));
                if operator & 0x80 != 0 {
                    break;
                }
            }
            let (data, after) = rest.split_at(length);
            rest = after;
            RfcValue::Data(data.to_vec())
        };
        components.push(RfcComponent { kind: *kind, value });
    }
    components
}

/// A component of tests/vectors/ordering.jsonl that is given by its content instead of its octets.
fn abstract_component(json: &serde_json::Value) -> RfcComponent {
    let kind = json["type"].as_u64().unwrap() as u8;
    let value = match json["data"].as_str() {
        Some(data) => RfcValue::Data(hex::decode(data).unwrap()),
        None => {
            let (address, length) = json["prefix"].as_str().unwrap().split_once('/').unwrap();
            let length = length.parse().unwrap();
            let offset = json["offset"].as_u64().unwrap_or(0) as u8;
            let bits = match address.parse().unwrap() {
                std::net::IpAddr::V4(address) => u128::from(u32::from(address)) << 96,
                std::net::IpAddr::V6(address) => u128::from(address),
            };
            let keep = |bits: u8| {
                u128::MAX
                    .checked_shr(u32::from(bits))
                    .map_or(u128::MAX, |rest| !rest)
            };
            RfcValue::Network {
                offset,
                address: bits & keep(length) & !keep(offset),
                length,
            }
        }
    };
    RfcComponent { kind, value }
}

#[test]
fn ordering_vectors_of_other_implementations_hold() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/ordering.jsonl");
    let text = std::fs::read_to_string(path).unwrap();
    let mut by_octets = 0;
    for line in text.lines() {
        let vector: serde_json::Value = serde_json::from_str(line).unwrap();
        let expected = match vector["relation"].as_str().unwrap() {
            "first-wins" => Ordering::Less,
            "equal" => Ordering::Equal,
            other => panic!("unknown relation {other}"),
        };
        let sides = vector["order"].as_array().unwrap();
        if vector["type"] == "pair" {
            let family: FlowFamily = vector["family"].as_str().unwrap().parse().unwrap();
            let [a, b] = [0, 1].map(|side| {
                Nlri::decode(family, &hex::decode(sides[side].as_str().unwrap()).unwrap()).unwrap()
            });
            assert_eq!(precedence(&a, &b), expected, "{}", vector["id"]);
            assert_eq!(
                flow_rule_cmp(&rfc_components(&a), &rfc_components(&b)),
                expected,
                "{}",
                vector["id"]
            );
            by_octets += 1;
        } else {
            // Not every one of these is a valid NLRI: they check the oracle.
            let [a, b] = [0, 1].map(|side| {
                sides[side]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(abstract_component)
                    .collect::<Vec<_>>()
            });
            assert_eq!(flow_rule_cmp(&a, &b), expected, "{}", vector["id"]);
        }
    }
    assert!(by_octets >= 10, "only {by_octets} vectors compare octets");
}

#[test]
fn route_distinguisher_decides_last() {
    let nlri = |distinguisher: u8, components: &str| {
        let mut value = vec![0, 0, 0, 0, 0, 0, 0, distinguisher];
        value.extend(hex::decode(components).unwrap());
        Nlri::decode(FlowFamily::Ipv4FlowVpn, &value).unwrap()
    };
    assert_eq!(
        precedence(&nlri(2, "01180a0000"), &nlri(1, "01100a00")),
        Ordering::Less
    );
    assert_eq!(
        precedence(&nlri(1, "01180a0000"), &nlri(2, "01180a0000")),
        Ordering::Less
    );
}

fn pair_of_one_family() -> impl Strategy<Value = (Nlri, Nlri)> {
    arbitrary_family().prop_flat_map(|family| (arbitrary_nlri(family), arbitrary_nlri(family)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn key_order_is_that_of_the_printed_algorithm((a, b) in pair_of_one_family()) {
        let expected = flow_rule_cmp(&rfc_components(&a), &rfc_components(&b));
        let distinguishers = a.route_distinguisher().cmp(&b.route_distinguisher());
        prop_assert_eq!(precedence(&a, &b), expected.then(distinguishers));
    }

    #[test]
    fn keys_are_equal_only_for_equal_nlri((a, b) in pair_of_one_family()) {
        prop_assert_eq!(precedence_key(&a) == precedence_key(&b), a == b);
        // No key is the beginning of another.
        prop_assert!(a == b || !precedence_key(&a).starts_with(&precedence_key(&b)));
    }
}

/// Operators that hold for `value`: as people write them, in one of two widths.
fn holding_for(value: u64, choice: u8) -> Vec<NumericOp> {
    let op = |and, less, greater, value: u64| NumericOp {
        and,
        less,
        greater,
        equal: true,
        width: if choice & 1 == 0 && value < 256 { 1 } else { 4 },
        value,
    };
    match choice >> 1 {
        0..5 => vec![op(false, false, false, value)],
        5 => vec![op(false, false, false, 7), op(false, false, false, value)],
        6 => vec![
            op(false, false, true, value.saturating_sub(3)),
            op(true, true, false, value),
        ],
        _ => vec![op(false, false, true, value)],
    }
}

/// A Flow Specification that matches the packet; each octet of `choices` is about one component.
fn matching(packet: &Packet, choices: &[u8; 11]) -> Option<Nlri> {
    let ipv6 = packet.family == dataplane::rule::Family::Ipv6;
    let mut components = Vec::new();
    for (code, choice) in (1..).zip(choices) {
        let (choice, is_absent) = (choice >> 2, choice & 3 == 3);
        if is_absent {
            continue;
        }
        let prefix = |address: u128| {
            let length = [8, 23, 24, 32][usize::from(choice & 3)];
            let offset = if ipv6 && choice & 4 != 0 { 5 } else { 0 };
            let kept = (u128::MAX << (128 - u32::from(length))) & (u128::MAX >> offset);
            let bits = address & kept;
            PrefixPattern {
                length,
                offset,
                bits,
            }
        };
        let value = match code {
            1 => {
                components.push(Component::DestinationPrefix(prefix(packet.destination)));
                continue;
            }
            2 => {
                components.push(Component::SourcePrefix(prefix(packet.source)));
                continue;
            }
            3 => packet.protocol.map(u64::from),
            4 if choice & 32 != 0 => packet.source_port.map(u64::from),
            4 | 5 => packet.destination_port.map(u64::from),
            6 => packet.source_port.map(u64::from),
            7 => packet.icmp_type.map(u64::from),
            8 => packet.icmp_code.map(u64::from),
            10 => packet.packet_length.map(u64::from),
            11 => Some(u64::from(packet.dscp)),
            _ => None,
        };
        if let (Some(value), Some(kind)) = (value, NumericType::from_code(code)) {
            components.push(Component::Numeric(kind, holding_for(value, choice & 15)));
        }
    }
    let family = match ipv6 {
        true => FlowFamily::Ipv6Flow,
        false => FlowFamily::Ipv4Flow,
    };
    let nlri = Nlri::new(family, None, &components).ok()?;
    matches(&nlri, packet).then_some(nlri)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn tiers_order_what_matches_the_same_packet(
        packet in arbitrary_family().prop_flat_map(|family| {
            arbitrary_packet(match family.is_ipv6() {
                true => dataplane::rule::Family::Ipv6,
                false => dataplane::rule::Family::Ipv4,
            })
        }),
        a in any::<[u8; 11]>(),
        changes in vec((0usize..11, any::<u8>()), 1..3),
    ) {
        let mut b = a;
        for (place, choice) in changes {
            b[place] = choice;
        }
        if let (Some(a), Some(b)) = (matching(&packet, &a), matching(&packet, &b)) {
            let tiers = precedence_tier(&a).cmp(&precedence_tier(&b));
            prop_assert_eq!(tiers, precedence(&a, &b), "{:?} {:?}", a, b);
        }
    }
}

#[test]
fn tiers_leave_out_only_what_a_packet_has_one_of() {
    let rows = [
        ("hosts", "0120cb007105", "0120cb007106", true),
        ("lengths", "0120cb007105", "0118cb0071", false),
        (
            "destination and source",
            "0120cb007105",
            "0220cb007105",
            false,
        ),
        ("protocols", "038106", "038111", true),
        ("destination ports", "05910035", "05910050", true),
        ("source ports", "06810a", "06810b", true),
        ("widths", "05810a", "0591000a", false),
        // `>80` stands between them.
        ("widths that are needed", "05810a", "059101bb", false),
        ("any port: a packet has two", "04810a", "04810b", false),
        ("lists", "0501098135", "0501098136", false),
        ("comparisons", "058309", "058509", false),
        ("packet lengths", "0a8109", "0a810a", false),
        (
            "protocols with different ports",
            "038106058150",
            "038111058135",
            true,
        ),
    ];
    for (name, a, b, same) in rows {
        let [a, b] = [a, b].map(|octets| {
            Nlri::decode(FlowFamily::Ipv4Flow, &hex::decode(octets).unwrap()).unwrap()
        });
        assert_eq!(precedence_tier(&a) == precedence_tier(&b), same, "{name}");
        assert_ne!(precedence_key(&a), precedence_key(&b), "{name}");
    }
}
