use proptest::collection::vec;
use proptest::prelude::*;

use super::encode::end_of_rib;
use super::{DecodeContext, Update, decode};
use crate::wire::attribute::{
    AsPathSegment, AsPathSegmentKind, Attributes, Origin, RawAttribute, code,
};
use crate::wire::community::{ExtendedCommunity, Ipv6ExtendedCommunity, LargeCommunity};
use crate::wire::error::{Consequence, WireError};
use crate::wire::iana::{AfiSafi, FlowFamily};
use crate::wire::message::{HEADER_LENGTH, MAX_MESSAGE_LENGTH};
use crate::wire::nlri::Nlri;
use crate::wire::nlri::testing::{arbitrary_family, arbitrary_nlri};
use crate::wire::path::{PathId, PathOf};

/// ORIGIN IGP, an empty AS_PATH, LOCAL_PREF 100.
const MANDATORY: &str = "400101 00  400200  400504 00000064";
/// MP_REACH_NLRI for IPv4: protocol 6.
const REACH: &str = "800e09 0001 85 00 00 03 038106";
/// MP_UNREACH_NLRI for IPv4: protocol 6.
const UNREACH: &str = "800f07 0001 85 03 038106";

fn octets(hex: &str) -> Vec<u8> {
    hex::decode(hex.replace(' ', "")).unwrap()
}

/// A body with these attributes and nothing else; they begin at offset 4.
fn body(attributes: &[&str]) -> Vec<u8> {
    let attributes = octets(&attributes.concat());
    let mut body = vec![0, 0];
    body.extend((attributes.len() as u16).to_be_bytes());
    body.extend(attributes);
    body
}

fn internal() -> DecodeContext {
    DecodeContext {
        four_octet_as: true,
        ibgp: true,
        unicast: Vec::new(),
        add_path: Vec::new(),
        families: vec![FlowFamily::Ipv4Flow, FlowFamily::Ipv6Flow],
    }
}

fn external() -> DecodeContext {
    DecodeContext {
        ibgp: false,
        ..internal()
    }
}

fn protocol(number: u8) -> Nlri {
    Nlri::decode(FlowFamily::Ipv4Flow, &[3, 0x81, number]).unwrap()
}

/// Consequence and offset of everything wrong.
fn errors(update: &Update) -> Vec<(&'static str, usize)> {
    let brief = |error: &WireError| (error.consequence.name(), error.offset);
    update.errors.iter().map(brief).collect()
}

#[test]
fn attributes_are_read_whatever_their_order() {
    let attributes = [
        REACH,
        "c01010 8006000000000000 8009000000000006",
        "c01914 000c20010db800000000000000000000000100 00",
        "c0200c 0000000a 00000014 0000001e",
        "c00808 00010002 ffffff01",
        "400101 02  400504 0000000a",
        "50020010 0202 00010000 00000005 0101 0000fde9",
        "800404 00000007",
        "400600",
        "c00708 00010000 c0000201",
        "800904 c0000202  800a08 c0000203 c0000204",
        "c06302 beef",
    ];
    let update = decode(&body(&attributes), &internal()).unwrap();
    let segment = |kind, asns: &[u32]| AsPathSegment {
        kind,
        asns: asns.to_vec(),
    };
    let expected = Attributes {
        origin: Some(Origin::Incomplete),
        as_path: vec![
            segment(AsPathSegmentKind::Sequence, &[65536, 5]),
            segment(AsPathSegmentKind::Set, &[65001]),
        ],
        med: Some(7),
        local_pref: Some(10),
        atomic_aggregate: true,
        aggregator: Some((65536, [192, 0, 2, 1].into())),
        communities: vec![0x0001_0002, 0xffff_ff01],
        originator_id: Some([192, 0, 2, 2].into()),
        cluster_list: vec![[192, 0, 2, 3].into(), [192, 0, 2, 4].into()],
        extended_communities: vec![
            ExtendedCommunity([0x80, 6, 0, 0, 0, 0, 0, 0]),
            ExtendedCommunity([0x80, 9, 0, 0, 0, 0, 0, 6]),
        ],
        ipv6_extended_communities: vec![Ipv6ExtendedCommunity(
            octets("000c20010db80000000000000000000000010000")
                .try_into()
                .unwrap(),
        )],
        large_communities: vec![LargeCommunity {
            global: 10,
            local1: 20,
            local2: 30,
        }],
        mp_next_hop: Vec::new(),
        unknown: vec![crate::wire::attribute::RawAttribute {
            flags: 0xc0,
            code: 99,
            value: vec![0xbe, 0xef],
        }],
    };
    assert_eq!(update.attributes, expected);
    assert_eq!(update.announced, [protocol(6)]);
    assert_eq!((update.withdrawn, update.errors), (vec![], vec![]));
}

#[test]
fn errors_have_their_consequence_and_place() {
    let withdraw = |at| ("treat-as-withdraw", at);
    let discard = |at| ("attribute-discard", at);
    // The attribute in question comes first, so that it begins at offset 4 and its value at 7.
    let rows = [
        ("ORIGIN 3", "400101 03", withdraw(7)),
        ("ORIGIN of two octets", "400102 0000", withdraw(7)),
        ("ORIGIN optional", "c00101 00", withdraw(4)),
        (
            "AS_PATH segment of type 5",
            "400206 0501 00000001",
            withdraw(7),
        ),
        ("AS_PATH segment empty", "400202 0200", withdraw(7)),
        (
            "AS_PATH second segment overruns",
            "400208 0201 00000001 0201",
            withdraw(15),
        ),
        ("AS_PATH with AS 0", "400206 0201 00000000", withdraw(7)),
        ("NEXT_HOP of five octets", "400305 0102030405", withdraw(7)),
        ("MED of three octets", "800403 000000", withdraw(7)),
        ("LOCAL_PREF of two octets", "400502 0000", withdraw(7)),
        ("ATOMIC_AGGREGATE with a value", "400601 00", discard(7)),
        (
            "AGGREGATOR of six octets",
            "c00706 0001c0000201",
            discard(7),
        ),
        ("COMMUNITIES empty", "c00800", withdraw(7)),
        (
            "COMMUNITIES of five octets",
            "c00805 0000000000",
            withdraw(7),
        ),
        (
            "ORIGINATOR_ID of three octets",
            "800903 000000",
            withdraw(7),
        ),
        ("CLUSTER_LIST empty", "800a00", withdraw(7)),
        (
            "EXTENDED COMMUNITIES of seven octets",
            "c01007 80060000000000",
            withdraw(7),
        ),
        (
            "second rate is not a number",
            "c01010 8006000000000000 80060000 7fc00000",
            withdraw(15),
        ),
        (
            "packet rate is not a number",
            "c01008 800c0000 ffffffff",
            withdraw(7),
        ),
        (
            "IPv6 EXTENDED COMMUNITIES of eight octets",
            "c01908 0000000000000000",
            withdraw(7),
        ),
        ("LARGE_COMMUNITY of one octet", "c02001 00", withdraw(7)),
        (
            "ONLY_TO_CUSTOMER of five octets",
            "c02305 0000000000",
            withdraw(7),
        ),
        ("AIGP transitive", "c01a03 010003", discard(4)),
        (
            "AS4_PATH from a four-octet speaker",
            "c01106 0201 00000001",
            discard(7),
        ),
    ];
    for (name, attribute, expected) in rows {
        // All that is mandatory follows, unless it is what is tested.
        let code = attribute[2..4].to_string();
        let rest: Vec<&str> = MANDATORY
            .split("  ")
            .filter(|mandatory| mandatory[2..4] != code)
            .collect();
        let rest = rest.concat();
        let update = decode(&body(&[attribute, REACH, &rest]), &internal()).unwrap();
        assert_eq!(errors(&update), [expected], "{name}: {:?}", update.errors);
        let kept = expected.0 == "attribute-discard";
        assert_eq!(update.announced.len(), usize::from(kept), "{name}");
        assert_eq!(update.withdrawn.len(), usize::from(!kept), "{name}");
    }
}

/// RFC 7606 §3(c): optional and transitive bits of every attribute that we know, with a value that is right.
#[test]
fn wrong_flags_have_their_consequence() {
    let (withdraw, discard) = ("treat-as-withdraw", "attribute-discard");
    let rows = [
        (code::ORIGIN, "00", withdraw),
        (code::AS_PATH, "", withdraw),
        (code::NEXT_HOP, "c0000201", withdraw),
        (code::MULTI_EXIT_DISC, "00000000", withdraw),
        (code::LOCAL_PREF, "00000064", withdraw),
        (code::ATOMIC_AGGREGATE, "", withdraw),
        (code::AGGREGATOR, "0000fde9c0000201", withdraw),
        (code::COMMUNITIES, "00010002", withdraw),
        (code::ORIGINATOR_ID, "c0000201", withdraw),
        (code::CLUSTER_LIST, "c0000201", withdraw),
        (code::MP_REACH_NLRI, "0001850000 03038106", "3/4"),
        (code::MP_UNREACH_NLRI, "000185 03038106", "3/4"),
        (code::EXTENDED_COMMUNITIES, "8006000000000000", withdraw),
        (
            code::IPV6_EXTENDED_COMMUNITIES,
            "000c20010db80000000000000000000000010000",
            withdraw,
        ),
        (code::AIGP, "01000b0000000000000000", discard),
        (code::LINK_STATE, "", discard),
        (code::LARGE_COMMUNITY, "0000000a000000140000001e", withdraw),
        (code::ONLY_TO_CUSTOMER, "0000fde9", withdraw),
        (code::PREFIX_SID, "", discard),
    ];
    for (code, value, expected) in rows {
        let right = code::expected_flags(code).unwrap();
        for wrong in [0x00, 0x40, 0x80, 0xc0]
            .into_iter()
            .filter(|flags| *flags != right)
        {
            // The others that are needed, each unless it is the one in question.
            let mut attributes = MANDATORY
                .split("  ")
                .chain([REACH])
                .filter(|other| other[2..4] != format!("{code:02x}"))
                .collect::<Vec<_>>();
            let length = octets(value).len();
            let attribute = format!("{wrong:02x}{code:02x}{length:02x}{value}");
            attributes.push(&attribute);
            let found = match decode(&body(&attributes), &internal()) {
                Ok(update) => {
                    let kept = usize::from(expected == discard);
                    assert_eq!(
                        update.announced.len(),
                        kept,
                        "{} {wrong:02x}",
                        code::name(code)
                    );
                    assert_eq!(update.announced.len() + update.withdrawn.len(), 1);
                    errors(&update)[0].0.to_owned()
                }
                Err(WireError {
                    consequence: Consequence::SessionReset(reset),
                    ..
                }) => {
                    format!("{}/{}", reset.code, reset.subcode)
                }
                Err(error) => panic!("{error}"),
            };
            assert_eq!(
                found,
                expected,
                "{} with flags {wrong:02x}",
                code::name(code)
            );
        }
    }
}

#[test]
fn ipv4_unicast_routes_need_a_next_hop_whether_they_are_taken_or_not() {
    let mut with_prefix = body(&[REACH, MANDATORY]);
    with_prefix.extend([8, 10]);
    let update = decode(&with_prefix, &internal()).unwrap();
    assert_eq!(update.errors[0].reason, "NEXT_HOP missing");
    assert_eq!(update.withdrawn, [protocol(6)]);
    let mut with_next_hop = body(&[REACH, MANDATORY, "400304 c0000201"]);
    with_next_hop.extend([8, 10]);
    let update = decode(&with_next_hop, &internal()).unwrap();
    assert_eq!(
        (update.errors, update.announced),
        (vec![], vec![protocol(6).into()])
    );
}

#[test]
fn an_aggregator_beyond_two_octets_goes_beside_as_trans() {
    let two_octets = DecodeContext {
        four_octet_as: false,
        ..internal()
    };
    for (name, asn) in [("fits", 65001), ("does not fit", 65536)] {
        let attributes = Attributes {
            origin: Some(Origin::Igp),
            local_pref: Some(100),
            aggregator: Some((asn, [192, 0, 2, 1].into())),
            ..Attributes::default()
        };
        let update = Update {
            announced: vec![protocol(6).into()],
            attributes,
            ..Update::default()
        };
        let (messages, _) = update.encode(&two_octets, MAX_MESSAGE_LENGTH);
        let decoded = decode(&messages[0][HEADER_LENGTH..], &two_octets);
        assert_eq!(decoded, Ok(update), "{name}");
    }
}

#[test]
fn errors_that_leave_no_routes_to_find_reset_the_session() {
    let rows = [
        ("withdrawn routes overrun", octets("0005 0000"), 0, 1),
        ("attributes overrun", octets("0000 0001"), 2, 1),
        (
            "unicast prefix of 33 bits",
            octets("0006 21 0000000000 0000"),
            2,
            10,
        ),
        (
            "unicast prefix cut short",
            octets("0000 0000 18 0a00"),
            4,
            10,
        ),
        ("MP_REACH_NLRI twice", body(&[REACH, REACH]), 16, 1),
        ("MP_UNREACH_NLRI twice", body(&[UNREACH, UNREACH]), 14, 1),
        (
            "MP_REACH_NLRI of four octets",
            body(&["800e04 00018500"]),
            11,
            9,
        ),
        (
            "MP_REACH_NLRI's next hop overruns",
            body(&["800e05 00018509 00"]),
            11,
            9,
        ),
        (
            "MP_UNREACH_NLRI of two octets",
            body(&["800f02 0001"]),
            9,
            9,
        ),
        (
            "MP_REACH_NLRI well-known",
            body(&["400e05 0001850000"]),
            4,
            4,
        ),
        ("NLRI overruns", body(&["800e07 0001850000 0303"]), 12, 10),
        (
            "withdrawn NLRI overruns",
            body(&["800f04 000185 f0"]),
            10,
            10,
        ),
        (
            "unknown well-known attribute",
            body(&["406300", REACH]),
            4,
            2,
        ),
        (
            "MP_REACH_NLRI overruns the attributes",
            body(&[MANDATORY, "800e20 0001850000 03038106"]),
            18,
            9,
        ),
        (
            "an attribute overruns where there is no route",
            body(&[UNREACH, "400101"]),
            14,
            1,
        ),
        (
            "ORIGIN 3 where there is no route",
            body(&["400101 03"]),
            7,
            1,
        ),
        (
            "ORIGIN 3 beside a withdrawal",
            body(&[UNREACH, "400101 03"]),
            17,
            1,
        ),
    ];
    for (name, body, offset, subcode) in rows {
        let error = decode(&body, &internal()).unwrap_err();
        assert_eq!(error.offset, offset, "{name}: {error}");
        let Consequence::SessionReset(notification) = error.consequence else {
            panic!("{name}: {error}")
        };
        assert_eq!(
            (notification.code, notification.subcode),
            (3, subcode),
            "{name}"
        );
    }
}

#[test]
fn an_attribute_cut_short_behind_the_routes_withdraws_them() {
    let update = decode(&body(&[REACH, MANDATORY, "c010ff 80"]), &internal()).unwrap();
    assert_eq!(errors(&update), [("treat-as-withdraw", 30)]);
    assert_eq!(update.withdrawn, [protocol(6)]);
    assert!(update.announced.is_empty());
}

#[test]
fn missing_mandatory_attributes_withdraw() {
    let all: Vec<&str> = MANDATORY.split("  ").collect();
    for (missing, name) in [(0, "ORIGIN"), (1, "AS_PATH"), (2, "LOCAL_PREF")] {
        let mut attributes = all.clone();
        attributes[missing] = REACH;
        let body = body(&attributes);
        let update = decode(&body, &internal()).unwrap();
        assert_eq!(update.errors[0].reason, format!("{name} missing"));
        assert_eq!(update.withdrawn, [protocol(6)], "{name}");
        // Between ASes LOCAL_PREF is not mandatory, and not taken either.
        let update = decode(&body, &external()).unwrap();
        assert_eq!(update.announced.is_empty(), name != "LOCAL_PREF", "{name}");
        assert_eq!(update.attributes.local_pref, None);
    }
}

#[test]
fn external_neighbors_do_not_speak_for_our_as() {
    let inside = "400504 00000064  800904 c0000202  800a04 c0000203";
    let update = decode(&body(&[REACH, "400101 00 400200", inside]), &external()).unwrap();
    assert_eq!(
        errors(&update),
        [26, 33, 40].map(|at| ("attribute-discard", at))
    );
    let Attributes {
        local_pref,
        originator_id,
        cluster_list,
        ..
    } = update.attributes;
    assert_eq!(
        (local_pref, originator_id, cluster_list),
        (None, None, vec![])
    );
    assert_eq!(update.announced, [protocol(6)]);

    let confederation = "400101 00 400206 0301 00000005 400504 00000064";
    let body = body(&[REACH, confederation]);
    assert_eq!(decode(&body, &internal()).unwrap().announced.len(), 1);
    assert_eq!(decode(&body, &external()).unwrap().withdrawn.len(), 1);
}

#[test]
fn one_malformed_nlri_withdraws_all_of_the_update() {
    let reach = "800e11 0001850000 03 038106 03 030106 03 038111";
    let update = decode(&body(&[reach, MANDATORY]), &internal()).unwrap();
    // Attribute 3, family and next hop 5, first NLRI 4, length 1, and 3 to the missing pair.
    assert_eq!(
        errors(&update),
        [("treat-as-withdraw", 4 + 3 + 5 + 4 + 1 + 3)]
    );
    assert_eq!(update.withdrawn, [protocol(6), protocol(17)]);
    assert!(update.announced.is_empty());
}

#[test]
fn one_malformed_withdrawal_names_nothing_and_spoils_nothing() {
    let unreach = "800f0b 000185 03 030106 03 038111";
    let update = decode(&body(&[unreach, REACH, MANDATORY]), &internal()).unwrap();
    assert_eq!(errors(&update), [("nlri-ignored", 4 + 3 + 3 + 1 + 3)]);
    assert_eq!(update.withdrawn, [protocol(17)]);
    assert_eq!(update.announced, [protocol(6)]);
}

/// Several paths of IPv4 flows; IPv6 flows have one.
fn several_paths() -> DecodeContext {
    DecodeContext {
        add_path: vec![FlowFamily::Ipv4Flow.afi_safi()],
        ..internal()
    }
}

#[test]
fn each_of_several_paths_has_its_identifier() {
    let path = |id, number| PathOf {
        id,
        route: protocol(number),
    };
    let two = "800e15 0001850000 00000001 03 038106 00000002 03 038106";
    let one_gone = "800f0b 000185 00000003 03 038106";
    let again = "800e15 0001850000 00000001 03 038106 00000001 03 03c106";
    let taken_back = "800f0b 000185 00000001 03 038106";
    let one = "800e0d 0001850000 00000001 03 038106";
    let rows = [
        (
            "two at once",
            vec![two],
            vec![path(1, 6), path(2, 6)],
            vec![],
        ),
        (
            "another one withdrawn",
            vec![one_gone, two],
            vec![path(1, 6), path(2, 6)],
            vec![path(3, 6)],
        ),
        (
            "the same announced and withdrawn",
            vec![taken_back, one],
            vec![path(1, 6)],
            vec![],
        ),
        ("the same twice", vec![again], vec![path(1, 6)], vec![]),
    ];
    for (name, attributes, announced, withdrawn) in rows {
        let attributes = [attributes, vec![MANDATORY]].concat();
        let update = decode(&body(&attributes), &several_paths()).unwrap();
        assert_eq!(update.errors, [], "{name}");
        assert_eq!(update.announced, announced, "{name}");
        assert_eq!(update.withdrawn, withdrawn, "{name}");
    }
    let update = decode(&body(&["800f03 000185"]), &several_paths()).unwrap();
    assert_eq!(update.end_of_rib, Some(FlowFamily::Ipv4Flow.afi_safi()));
}

#[test]
fn path_identifiers_stand_only_where_they_were_negotiated() {
    let ipv6 = "800e09 0002850000 03 038106";
    let update = decode(&body(&[ipv6, MANDATORY]), &several_paths()).unwrap();
    assert_eq!((update.announced[0].id, update.errors.len()), (0, 0));
    // Without them a reader takes the first octet of an identifier for a length.
    let with_id = "800e0d 0001850000 00000001 03 038106";
    assert!(decode(&body(&[with_id, MANDATORY]), &internal()).is_err());
}

#[test]
fn errors_behind_path_identifiers_have_their_place() {
    let malformed = "800e14 0001850000 00000001 03 030106 00000002 02 0381";
    let update = decode(&body(&[malformed, MANDATORY]), &several_paths()).unwrap();
    let first = 4 + 3 + 5 + 4 + 1;
    assert_eq!(
        errors(&update),
        [
            ("treat-as-withdraw", first + 3),
            ("treat-as-withdraw", first + 3 + 4 + 1 + 2)
        ]
    );
    let rows = [
        ("no NLRI behind one", "800e09 0001850000 00000001", 12 + 4),
        ("part of one", "800e0c 0001850000 00000001 03 0381", 12 + 4),
        ("half an identifier", "800e08 0001850000 000000", 12),
    ];
    for (name, reach, offset) in rows {
        let error = decode(&body(&[reach, MANDATORY]), &several_paths()).unwrap_err();
        assert_eq!(error.consequence.name(), "session-reset", "{name}");
        assert_eq!(error.offset, offset, "{name}: {error}");
    }
}

#[test]
fn what_is_announced_and_withdrawn_is_announced() {
    let update = decode(&body(&[UNREACH, REACH, MANDATORY]), &internal()).unwrap();
    assert_eq!(
        (update.announced, update.withdrawn),
        (vec![protocol(6).into()], vec![])
    );
    let twice = "800e0d 0001850000 03 038106 03 03c106";
    let update = decode(&body(&[twice, MANDATORY]), &internal()).unwrap();
    assert_eq!(update.announced, [protocol(6)], "equal once normalised");
}

#[test]
fn the_first_of_repeated_attributes_counts() {
    let update = decode(&body(&[REACH, MANDATORY, "400504 000000ff"]), &internal()).unwrap();
    assert_eq!(update.attributes.local_pref, Some(100));
    assert_eq!(errors(&update), [("attribute-discard", 30)]);
}

#[test]
fn families_that_were_not_negotiated_are_skipped_unread() {
    let vpn = "800e06 0001 86 0000 ff";
    let update = decode(&body(&[vpn, MANDATORY]), &internal()).unwrap();
    let afi_safi = AfiSafi { afi: 1, safi: 134 };
    assert_eq!(update.not_negotiated, Some(afi_safi));
    assert!(update.announced.is_empty() && update.errors.is_empty());
}

#[test]
fn end_of_rib_is_found_in_all_its_forms() {
    for family in FlowFamily::ALL
        .map(FlowFamily::afi_safi)
        .into_iter()
        .chain([AfiSafi::IPV4_UNICAST, AfiSafi::IPV6_UNICAST])
    {
        let update = decode(&end_of_rib(family)[HEADER_LENGTH..], &internal()).unwrap();
        assert_eq!(update.end_of_rib, Some(family));
        assert!(update.errors.is_empty(), "{family}");
    }
    let extended = decode(&body(&["900f0003 000185"]), &internal()).unwrap();
    assert_eq!(extended.end_of_rib, Some(FlowFamily::Ipv4Flow.afi_safi()));
    for (name, body) in [
        ("routes", body(&[UNREACH])),
        ("other attributes", body(&["800f03 000185", MANDATORY])),
        ("a malformed route", body(&["800f04 000185 00"])),
    ] {
        let update = decode(&body, &internal()).unwrap();
        assert_eq!(update.end_of_rib, None, "{name}");
    }
}

#[test]
fn two_octet_speakers_complete_their_path_with_as4_path() {
    let context = DecodeContext {
        four_octet_as: false,
        ..external()
    };
    let sequence = |asns: &[u32]| {
        let kind = AsPathSegmentKind::Sequence;
        vec![AsPathSegment {
            kind,
            asns: asns.to_vec(),
        }]
    };
    // AS_PATH 10 23456 23456.
    let path = "400208 0203 000a 5ba0 5ba0";
    let as4 = "c0110a 0202 00010001 00010002";
    let aggregator = "c00706 5ba0 c0000201  c01208 00010003 c0000201";
    let rows = [
        ("without AS4_PATH", "", sequence(&[10, 23456, 23456])),
        (
            "longer AS4_PATH",
            "c01112 0204 00000001 00000002 00000003 00000004",
            sequence(&[10, 23456, 23456]),
        ),
        (
            "AGGREGATOR of another AS",
            &format!("{as4} c00706 000a c0000201 c01208 00010003 c0000201"),
            sequence(&[10, 23456, 23456]),
        ),
        (
            "malformed AS4_PATH",
            "c01102 0900",
            sequence(&[10, 23456, 23456]),
        ),
    ];
    for (name, attributes, expected) in rows {
        let body = body(&[REACH, "400101 00", path, attributes]);
        let update = decode(&body, &context).unwrap();
        assert_eq!(update.attributes.as_path, expected, "{name}");
        assert_eq!(update.announced.len(), 1, "{name}");
    }
    let merged = body(&[REACH, "400101 00", path, as4, aggregator]);
    let attributes = decode(&merged, &context).unwrap().attributes;
    let asns: Vec<u32> = attributes
        .as_path
        .into_iter()
        .flat_map(|s| s.asns)
        .collect();
    assert_eq!(asns, [10, 65537, 65538]);
    assert_eq!(attributes.aggregator.map(|(asn, _)| asn), Some(65539));
    let confederation = "c01110 0301 00000009 0202 00010001 00010002";
    let body = body(&[REACH, "400101 00", path, confederation]);
    let attributes = decode(&body, &context).unwrap().attributes;
    let asns: Vec<u32> = attributes
        .as_path
        .into_iter()
        .flat_map(|s| s.asns)
        .collect();
    assert_eq!(
        asns,
        [10, 65537, 65538],
        "confederation segments are dropped"
    );
}

#[test]
fn two_octet_speakers_are_sent_the_whole_path_beside_as_trans() {
    let context = DecodeContext {
        four_octet_as: false,
        ..external()
    };
    let sequence = |asns: &[u32]| AsPathSegment {
        kind: AsPathSegmentKind::Sequence,
        asns: asns.to_vec(),
    };
    let rows = [
        ("all fit", vec![10, 65535], false),
        ("one does not fit", vec![10, 65536], true),
    ];
    for (name, asns, needs_as4_path) in rows {
        let mut update = Update::default();
        update.announced.push(protocol(6).into());
        update.attributes.as_path = vec![sequence(&asns)];
        let (messages, _) = update.encode(&context, MAX_MESSAGE_LENGTH);
        let body = &messages[0][HEADER_LENGTH..];
        let as4_path = [0xc0, code::AS4_PATH];
        let has_as4_path = body.windows(2).any(|octets| octets == as4_path);
        assert_eq!(has_as4_path, needs_as4_path, "{name}");
        let read = decode(body, &context).unwrap();
        assert_eq!(read.attributes.as_path, [sequence(&asns)], "{name}");
        assert_eq!(read.errors, [], "{name}");
    }
}

#[test]
fn routes_are_spread_over_messages_that_fit() {
    let routes: Vec<PathOf<Nlri>> = (0..=255).map(|n| protocol(n).into()).collect();
    let update = Update {
        announced: routes.clone(),
        ..Update::default()
    };
    let smallest = HEADER_LENGTH + 4 + 4 + 5 + 14 + 4;
    for max_length in [smallest, smallest + 1, 100, MAX_MESSAGE_LENGTH] {
        let (messages, left_out) = update.encode(&internal(), max_length);
        assert!(left_out.is_empty(), "{max_length}");
        let announced: Vec<PathOf<Nlri>> = messages
            .iter()
            .inspect(|message| assert!(message.len() <= max_length))
            .flat_map(|message| {
                let update = decode(&message[HEADER_LENGTH..], &internal()).unwrap();
                assert!(update.errors.is_empty());
                update.announced
            })
            .collect();
        assert_eq!(announced, routes, "{max_length}");
    }
    let (messages, left_out) = update.encode(&internal(), smallest - 1);
    assert_eq!((messages.len(), left_out), (0, routes));
}

/// An attribute that is carried without being understood, in the middle of those that are.
fn option_of_unknown() -> impl Strategy<Value = Option<RawAttribute>> {
    let value = vec(any::<u8>(), 0..300);
    let attribute = value.prop_map(|value| RawAttribute {
        flags: if value.len() > 255 { 0xf0 } else { 0xe0 },
        code: 21,
        value,
    });
    proptest::option::of(attribute)
}

/// What an announcement can carry and survive [`Update::encode`].
fn arbitrary_attributes() -> impl Strategy<Value = Attributes> {
    let segment = (any::<bool>(), vec(1u32.., 1..4)).prop_map(|(set, asns)| AsPathSegment {
        kind: if set {
            AsPathSegmentKind::Set
        } else {
            AsPathSegmentKind::Sequence
        },
        asns,
    });
    let large = any::<[u32; 3]>().prop_map(|[global, local1, local2]| LargeCommunity {
        global,
        local1,
        local2,
    });
    // Not of a type that is checked.
    let extended = any::<[u8; 7]>()
        .prop_map(|[a, b, c, d, e, f, g]| ExtendedCommunity([0x01, a, b, c, d, e, f, g]));
    (
        vec(segment, 0..3),
        any::<Option<u32>>(),
        any::<u32>(),
        vec(any::<u32>(), 0..3),
        any::<Option<[u8; 4]>>(),
        vec(any::<[u8; 4]>(), 0..3),
        vec(extended, 0..3),
        vec(any::<[u8; 20]>(), 0..2),
        vec(large, 0..2),
        (
            any::<bool>(),
            any::<Option<(u32, [u8; 4])>>(),
            option_of_unknown(),
            vec(any::<u8>(), 0..=255),
        ),
    )
        .prop_map(
            |(
                as_path,
                med,
                local_pref,
                communities,
                originator,
                clusters,
                extended,
                ipv6,
                large,
                (atomic_aggregate, aggregator, unknown, mp_next_hop),
            )| {
                Attributes {
                    atomic_aggregate,
                    aggregator: aggregator.map(|(asn, address)| (asn, address.into())),
                    unknown: unknown.into_iter().collect(),
                    origin: Some(Origin::Egp),
                    as_path,
                    med,
                    local_pref: Some(local_pref),
                    communities,
                    originator_id: originator.map(Into::into),
                    cluster_list: clusters.into_iter().map(Into::into).collect(),
                    extended_communities: extended,
                    ipv6_extended_communities: ipv6
                        .into_iter()
                        .map(Ipv6ExtendedCommunity)
                        .collect(),
                    large_communities: large,
                    mp_next_hop,
                }
            },
        )
}

proptest! {
    #[test]
    fn announcements_survive_the_wire(
        nlri in arbitrary_family().prop_flat_map(arbitrary_nlri),
        id in prop_oneof![Just(0), any::<PathId>()],
        attributes in arbitrary_attributes(),
    ) {
        let families = FlowFamily::ALL.into_iter().filter(|_| id != 0);
        let context = DecodeContext {
            families: FlowFamily::ALL.to_vec(),
            add_path: families.map(FlowFamily::afi_safi).collect(),
            ..internal()
        };
        let update = Update { announced: vec![PathOf { id, route: nlri }], attributes, ..Update::default() };
        let (messages, left_out) = update.encode(&context, MAX_MESSAGE_LENGTH);
        prop_assert_eq!((messages.len(), left_out.len()), (1, 0));
        prop_assert_eq!(decode(&messages[0][HEADER_LENGTH..], &context), Ok(update));
    }

    #[test]
    fn any_attributes_are_answered_without_a_panic(
        attributes in vec((any::<u8>(), 0u8..40, vec(any::<u8>(), 0..24)), 0..6),
        ibgp in any::<bool>(),
        four_octet_as in any::<bool>(),
    ) {
        let mut field = Vec::new();
        for (flags, code, value) in &attributes {
            // Mostly with the flags that let the value be read.
            let flags = code::expected_flags(*code).filter(|_| flags % 8 != 0).unwrap_or(*flags);
            let flags = flags & !code::EXTENDED_LENGTH;
            field.extend([flags, *code, value.len() as u8]);
            field.extend(value);
        }
        let mut body = vec![0, 0];
        body.extend((field.len() as u16).to_be_bytes());
        body.extend(field);
        let context = DecodeContext { ibgp, four_octet_as, ..several_paths() };
        match decode(&body, &context) {
            Ok(update) => prop_assert!(update.errors.iter().all(|e| e.offset <= body.len())),
            Err(error) => prop_assert_eq!(error.consequence.name(), "session-reset"),
        }
    }
}
