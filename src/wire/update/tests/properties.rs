//! Round trips, and any octets.

use super::*;

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
