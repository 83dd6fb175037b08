use proptest::collection::vec;
use proptest::prelude::*;

use super::testing::{arbitrary_components, arbitrary_family, arbitrary_nlri};
use super::{
    BitmaskOp, BitmaskType, Component, Nlri, NlriError, NlriErrorKind, NumericOp, NumericType,
    PrefixPattern, RouteDistinguisher,
};
use crate::wire::cursor::Cursor;
use crate::wire::iana::FlowFamily::{self, *};

/// Octets written in groups.
fn octets(hex: &str) -> Vec<u8> {
    hex::decode(hex.replace(' ', "")).unwrap()
}

/// An NLRI value that is well-formed.
fn nlri(family: FlowFamily, hex: &str) -> Nlri {
    Nlri::decode(family, &octets(hex)).unwrap_or_else(|error| panic!("{hex}: {error}"))
}

/// One of the numeric comparisons; the name is that of RFC 8955's table 1.
fn number(comparison: &str, width: u8, value: u64) -> NumericOp {
    NumericOp {
        and: false,
        less: comparison.contains('<'),
        greater: comparison.contains('>'),
        equal: comparison.contains('='),
        width,
        value,
    }
}

fn prefix(length: u8, offset: u8, bits: u128) -> PrefixPattern {
    PrefixPattern {
        length,
        offset,
        bits,
    }
}

#[test]
fn examples_of_the_rfcs_read_as_printed() {
    let and = |op: NumericOp| NumericOp { and: true, ..op };
    let destination_24 = Component::DestinationPrefix(prefix(24, 0, 0xc000_0200 << 96));
    let source_24 = Component::SourcePrefix(prefix(24, 0, 0xcb_0071 << 104));
    let protocol_6 = Component::Numeric(NumericType::Protocol, vec![number("=", 1, 6)]);
    let rows = [
        (
            "RFC 8955 §4.3.1, destination, protocol and port",
            Ipv4Flow,
            "01 18 c00002 03 81 06 04 81 19",
            vec![
                destination_24.clone(),
                protocol_6,
                Component::Numeric(NumericType::Port, vec![number("=", 1, 25)]),
            ],
        ),
        (
            "RFC 8955 §4.3.2, a range and a single port",
            Ipv4Flow,
            "01 18 c00002 02 18 cb0071 04 03 89 45 8b 91 1f90",
            vec![
                destination_24,
                source_24,
                Component::Numeric(
                    NumericType::Port,
                    vec![
                        number(">=", 1, 137),
                        and(number("<=", 1, 139)),
                        number("=", 2, 8080),
                    ],
                ),
            ],
        ),
        (
            "RFC 8955 §4.3.3, a destination and fragments",
            Ipv4Flow,
            "01 20 c0000201 0c 80 05",
            vec![
                Component::DestinationPrefix(prefix(32, 0, 0xc000_0201 << 96)),
                Component::Bitmask(
                    BitmaskType::Fragment,
                    vec![BitmaskOp {
                        and: false,
                        not: false,
                        all: false,
                        width: 1,
                        value: 5,
                    }],
                ),
            ],
        ),
        (
            "RFC 8956 §3.8.1, a destination, a source with offset and a protocol",
            Ipv6Flow,
            "01 20 00 20010db8 02 68 40 123456789a 03 81 06",
            vec![
                Component::DestinationPrefix(prefix(32, 0, 0x2001_0db8 << 96)),
                Component::SourcePrefix(prefix(104, 64, 0x12_3456_789a << 24)),
                Component::Numeric(NumericType::Protocol, vec![number("=", 1, 6)]),
            ],
        ),
        (
            "RFC 8956 §3.8.2, offsets within an octet",
            Ipv6Flow,
            "01 68 41 2468acf134",
            vec![Component::DestinationPrefix(prefix(
                104,
                65,
                0x12_3456_789a << 24,
            ))],
        ),
    ];
    for (name, family, hex, expected) in rows {
        let decoded = nlri(family, hex);
        assert_eq!(decoded.components(), expected, "{name}");
        assert_eq!(decoded.value(), octets(hex), "{name}");
        assert_eq!(
            Nlri::new(family, None, &expected),
            Ok(decoded),
            "{name}, encoded"
        );
    }
}

#[test]
fn bits_that_must_be_ignored_are_cleared() {
    let rows = [
        ("AND on the first pair", Ipv4Flow, "03 c1 06", "03 81 06"),
        ("reserved numeric bit", Ipv4Flow, "03 89 06", "03 81 06"),
        ("reserved bitmask bits", Ipv4Flow, "0c 8d 01", "0c 81 01"),
        (
            "AND stays on later pairs",
            Ipv4Flow,
            "04 43 50 cd 5a",
            "04 03 50 c5 5a",
        ),
        ("bits behind a prefix", Ipv4Flow, "01 09 0aff", "01 09 0a80"),
        (
            "bits behind an IPv6 pattern",
            Ipv6Flow,
            "01 0c 03 27ff",
            "01 0c 03 2780",
        ),
        ("fragment", Ipv4Flow, "0c 81 f5", "0c 81 05"),
        ("fragment in IPv6", Ipv6Flow, "0c 81 f3", "0c 81 02"),
        ("DSCP", Ipv4Flow, "0b 81 ff", "0b 81 3f"),
        (
            "data offset beside TCP flags",
            Ipv4Flow,
            "09 91 ff3a",
            "09 91 0f3a",
        ),
        ("TCP flags of one octet", Ipv4Flow, "09 81 ff", "09 81 ff"),
        (
            "opaque route distinguisher",
            Ipv4FlowVpn,
            "ffffffffffffffff 03 c1 06",
            "ffffffffffffffff 03 81 06",
        ),
    ];
    for (name, family, received, normalised) in rows {
        let decoded = nlri(family, received);
        assert_eq!(
            hex::encode(decoded.value()),
            normalised.replace(' ', ""),
            "{name}"
        );
        assert_eq!(decoded, nlri(family, normalised), "{name}: one route");
    }
    assert_ne!(
        nlri(Ipv4Flow, "04 81 50"),
        nlri(Ipv4Flow, "04 91 0050"),
        "widths are part of the identity"
    );
}

#[test]
fn malformed_values_are_refused_at_their_place() {
    use NlriErrorKind::*;
    let rows = [
        ("nothing", Ipv4Flow, "", 0, Empty),
        (
            "half a distinguisher",
            Ipv4FlowVpn,
            "00000000",
            4,
            RouteDistinguisherTruncated,
        ),
        (
            "only a distinguisher",
            Ipv4FlowVpn,
            "0000000000000000",
            8,
            Empty,
        ),
        ("type 0", Ipv4Flow, "00 81 06", 0, UnknownComponent(0)),
        (
            "flow label in IPv4",
            Ipv4Flow,
            "0d 81 06",
            0,
            UnknownComponent(13),
        ),
        (
            "type 14 in IPv6",
            Ipv6Flow,
            "03 81 06 0e 81 00",
            3,
            UnknownComponent(14),
        ),
        (
            "descending",
            Ipv4Flow,
            "04 81 50 03 81 06",
            3,
            ComponentOutOfOrder {
                previous: 4,
                found: 3,
            },
        ),
        (
            "twice",
            Ipv4Flow,
            "03 81 06 03 81 11",
            3,
            ComponentRepeated(3),
        ),
        (
            "33 bits",
            Ipv4Flow,
            "01 21 0a000000 80",
            1,
            PrefixTooLong(33),
        ),
        ("129 bits", Ipv6Flow, "01 81 00", 1, PrefixTooLong(129)),
        (
            "offset is the length",
            Ipv6Flow,
            "01 20 20",
            2,
            OffsetNotLess {
                offset: 32,
                length: 32,
            },
        ),
        (
            "offset with length 0",
            Ipv6Flow,
            "01 00 01",
            2,
            OffsetNotLess {
                offset: 1,
                length: 0,
            },
        ),
        (
            "prefix cut short",
            Ipv4Flow,
            "01 18 0a00",
            2,
            ComponentTruncated(1),
        ),
        (
            "no prefix length",
            Ipv4Flow,
            "03 81 06 04",
            4,
            EndOfListMissing(4),
        ),
        (
            "value cut short",
            Ipv4Flow,
            "03 91 00",
            2,
            ComponentTruncated(3),
        ),
        (
            "no end of list",
            Ipv4Flow,
            "03 01 06",
            3,
            EndOfListMissing(3),
        ),
        (
            "TCP flags of four octets",
            Ipv4Flow,
            "09 a1 00000002",
            1,
            WidthNotAllowed {
                component: 9,
                width: 4,
            },
        ),
        (
            "DSCP of two octets",
            Ipv4Flow,
            "0b 91 000a",
            1,
            WidthNotAllowed {
                component: 11,
                width: 2,
            },
        ),
        (
            "second fragment of two octets",
            Ipv4Flow,
            "0c 01 02 91 0002",
            3,
            WidthNotAllowed {
                component: 12,
                width: 2,
            },
        ),
    ];
    for (name, family, hex, offset, kind) in rows {
        let error = NlriError { offset, kind };
        assert_eq!(Nlri::decode(family, &octets(hex)), Err(error), "{name}");
    }
}

#[test]
fn lengths_take_one_octet_below_240_and_two_from_there() {
    // A protocol list of `terms` pairs.
    let value = |terms: usize| {
        let mut value = vec![3];
        for term in 1..=terms {
            value.extend([if term == terms { 0x81 } else { 0x01 }, term as u8]);
        }
        value
    };
    for (terms, length) in [(1, "03"), (119, "ef"), (120, "f0f1"), (2047, "ffff")] {
        let nlri = Nlri::decode(Ipv4Flow, &value(terms)).unwrap();
        let encoded = nlri.encoded();
        assert!(hex::encode(&encoded).starts_with(length), "{terms} terms");
        let mut cursor = Cursor::new(&encoded, 0);
        assert_eq!(Nlri::read(Ipv4Flow, &mut cursor), Ok(Ok(nlri)));
        assert!(cursor.is_empty());
    }
    let too_long = vec![number("=", 1, 1); 2048];
    let component = Component::Numeric(NumericType::Protocol, too_long);
    let error = Nlri::new(Ipv4Flow, None, &[component]).unwrap_err();
    assert_eq!(error.kind, NlriErrorKind::NotEncodable);
    let error = Nlri::decode(Ipv4Flow, &value(2048)).unwrap_err();
    assert_eq!(error.kind, NlriErrorKind::TooLong(4097));
}

#[test]
fn a_length_in_two_octets_where_one_would_do_is_the_same_route() {
    let long = octets("f003 03 81 06");
    let read = Nlri::read(Ipv4Flow, &mut Cursor::new(&long, 0));
    assert_eq!(read, Ok(Ok(nlri(Ipv4Flow, "03 81 06"))));
}

#[test]
fn lengths_past_the_field_are_framing_errors() {
    for hex in ["03 03 81", "f0", "f1", "f100", "ff ff 03 81 06"] {
        let octets = octets(hex);
        assert!(
            Nlri::read(Ipv4Flow, &mut Cursor::new(&octets, 0)).is_err(),
            "{hex}"
        );
    }
}

#[test]
fn reading_goes_on_behind_a_malformed_nlri() {
    let field = octets("03 03 81 06  03 03 01 06  00  03 03 81 11");
    let mut cursor = Cursor::new(&field, 0);
    let mut results = Vec::new();
    while !cursor.is_empty() {
        results.push(Nlri::read(Ipv4Flow, &mut cursor).unwrap().is_ok());
    }
    assert_eq!(results, [true, false, false, true]);
}

#[test]
fn components_that_no_nlri_can_carry_are_refused() {
    let protocol = |op| vec![Component::Numeric(NumericType::Protocol, vec![op])];
    let destination = |pattern| vec![Component::DestinationPrefix(pattern)];
    let rows = [
        ("no component", Ipv4Flow, vec![]),
        (
            "no pair",
            Ipv4Flow,
            vec![Component::Numeric(NumericType::Protocol, vec![])],
        ),
        ("width 3", Ipv4Flow, protocol(number("=", 3, 6))),
        (
            "value over its width",
            Ipv4Flow,
            protocol(number("=", 1, 256)),
        ),
        ("offset in IPv4", Ipv4Flow, destination(prefix(24, 8, 0))),
        ("33 bits in IPv4", Ipv4Flow, destination(prefix(33, 0, 0))),
        ("129 bits", Ipv6Flow, destination(prefix(129, 0, 0))),
        ("offset over length", Ipv6Flow, destination(prefix(8, 9, 0))),
        (
            "offset over 128",
            Ipv6Flow,
            destination(prefix(255, 200, 0)),
        ),
    ];
    for (name, family, components) in rows {
        assert!(Nlri::new(family, None, &components).is_err(), "{name}");
    }
    let rd = Some(RouteDistinguisher([0; 8]));
    let valid = protocol(number("=", 1, 6));
    assert!(Nlri::new(Ipv4Flow, rd, &valid).is_err());
    assert!(Nlri::new(Ipv4FlowVpn, None, &valid).is_err());
    assert!(Nlri::new(Ipv4FlowVpn, rd, &valid).is_ok());
}

/// A family, a distinguisher where it has one, and components.
fn arbitrary_parts()
-> impl Strategy<Value = (FlowFamily, Option<RouteDistinguisher>, Vec<Component>)> {
    (arbitrary_family(), any::<[u8; 8]>()).prop_flat_map(|(family, rd)| {
        let rd = family.is_vpn().then_some(RouteDistinguisher(rd));
        let components = arbitrary_components(family.is_ipv6());
        components.prop_map(move |components| (family, rd, components))
    })
}

proptest! {
    #[test]
    fn components_survive_the_wire((family, rd, components) in arbitrary_parts()) {
        let encoded = Nlri::new(family, rd, &components).unwrap().encoded();
        let mut cursor = Cursor::new(&encoded, 0);
        let read = Nlri::read(family, &mut cursor).unwrap().unwrap();
        prop_assert!(cursor.is_empty());
        prop_assert_eq!(read.components(), components);
        prop_assert_eq!(read.route_distinguisher(), rd);
        prop_assert_eq!(read.encoded(), encoded);
    }

    #[test]
    fn an_nlri_cut_short_is_malformed_but_at_the_edges_of_components(
        nlri in arbitrary_family().prop_flat_map(arbitrary_nlri)
    ) {
        let value = nlri.value();
        let mut left = 0;
        for length in 0..value.len() {
            if let Ok(cut) = Nlri::decode(nlri.family(), &value[..length]) {
                let components = cut.components();
                prop_assert_eq!(&components[..], &nlri.components()[..components.len()]);
                left += 1;
            }
        }
        prop_assert_eq!(left, nlri.components().len() - 1);
    }

    #[test]
    fn any_octets_are_refused_or_normalised_once_and_for_all(
        family in arbitrary_family(),
        value in vec(prop_oneof![0u8..14, any::<u8>()], 0..24),
    ) {
        if let Ok(decoded) = Nlri::decode(family, &value) {
            prop_assert_eq!(decoded.value().len(), value.len());
            let again = Nlri::decode(family, decoded.value());
            prop_assert_eq!(again.as_ref(), Ok(&decoded));
            let rd = decoded.route_distinguisher();
            prop_assert_eq!(Nlri::new(family, rd, &decoded.components()), Ok(decoded));
        }
    }
}
