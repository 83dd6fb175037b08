//! Path attributes, and what two-octet speakers make of them.

use super::*;

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
fn the_first_of_repeated_attributes_counts() {
    let update = decode(&body(&[REACH, MANDATORY, "400504 000000ff"]), &internal()).unwrap();
    assert_eq!(update.attributes.local_pref, Some(100));
    assert_eq!(errors(&update), [("attribute-discard", 30)]);
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
