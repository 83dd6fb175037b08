//! Memos there and back, and what is refused.

use super::*;
use crate::flowspec::testing::{arbitrary_actions, arbitrary_family, arbitrary_nlri};
use crate::rib::{Freshness, Path, best_path};
use crate::wire::attribute::{AsPathSegment, AsPathSegmentKind};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use std::sync::Arc;
use std::time::Instant;

fn route_of(memo: Memo) -> Route {
    Route {
        nlri: memo.nlri,
        id: memo.id,
        peer: Arc::new(memo.peer),
        attributes: Arc::new(memo.attributes),
        actions: Arc::new(memo.actions),
    }
}

fn path(route: &Route) -> Path {
    Path {
        route: Arc::new(route.clone()),
        rejected: None,
        freshness: Freshness::Fresh,
        since: Instant::now(),
    }
}

/// What a neighbor can have announced.
fn arbitrary_route() -> impl Strategy<Value = Route> {
    let nlri = arbitrary_family().prop_flat_map(arbitrary_nlri);
    let peer = (any::<IpAddr>(), any::<Ipv4Addr>(), any::<bool>()).prop_map(
        |(address, router_id, ibgp)| Peer {
            address,
            router_id,
            ibgp,
        },
    );
    use AsPathSegmentKind::{Sequence, Set};
    let segment = (select(vec![Set, Sequence]), vec(any::<u32>(), 1..4));
    let segments = vec(segment, 0..3).prop_map(|segments| {
        let segment = |(kind, asns)| AsPathSegment { kind, asns };
        segments.into_iter().map(segment).collect::<Vec<_>>()
    });
    use Origin::{Egp, Igp, Incomplete};
    let attributes = (
        option::of(select(vec![Igp, Egp, Incomplete])),
        segments,
        option::of(any::<u32>()),
        (
            option::of(any::<u32>()),
            option::of(any::<Ipv4Addr>()),
            vec(any::<Ipv4Addr>(), 0..3),
        ),
        vec(any::<u32>(), 0..3),
    );
    let id = prop_oneof![Just(0), any::<PathId>()];
    ((nlri, peer, id), attributes, arbitrary_actions()).prop_map(
        |((nlri, peer, id), (origin, as_path, med, internal, communities), actions)| {
            let (local_pref, originator_id, cluster_list) = match peer.ibgp {
                true => internal,
                false => Default::default(),
            };
            let (extended_communities, ipv6_extended_communities) = actions.to_communities();
            let attributes = Attributes {
                origin,
                as_path,
                med,
                local_pref,
                originator_id,
                cluster_list,
                communities,
                extended_communities,
                ipv6_extended_communities,
                ..Attributes::default()
            };
            route_of(Memo {
                peer,
                nlri,
                id,
                attributes,
                actions,
            })
        },
    )
}

proptest! {
    #[test]
    fn a_memo_says_all_that_matters_of_a_path(
        written in arbitrary_route(),
        other in arbitrary_route(),
    ) {
        let octets = encode(&written);
        let memo = decode(&octets).unwrap();
        prop_assert_eq!(&memo.nlri, &written.nlri);
        prop_assert_eq!((memo.id, &memo.peer), (written.id, &*written.peer));
        prop_assert_eq!(&memo.actions, &*written.actions);

        let read = route_of(memo);
        prop_assert_eq!(encode(&read), octets);
        let with_other = |route: &Route| {
            let mut other = other.clone();
            let address = different(route.peer.address);
            other.peer = Arc::new(Peer { address, ..*other.peer });
            best_path::best(&[path(route), path(&other)])
        };
        prop_assert_eq!(with_other(&read), with_other(&written), "the same path is preferred");
    }

    #[test]
    fn any_octets_are_survived(octets in vec(any::<u8>(), 0..80)) {
        let _ = decode(&octets);
    }

    #[test]
    fn a_damaged_memo_is_refused_or_tells_of_one_route(
        route in arbitrary_route(),
        place in any::<Index>(),
        bit in 0u8..8,
    ) {
        let mut octets = encode(&route);
        let length = place.index(octets.len());
        prop_assert!(decode(&octets[..length]).is_err(), "{} octets of it", length);
        octets[length] ^= 1 << bit;
        if let Err(error) = decode(&octets) {
            let reason = error.to_string();
            prop_assert!(!reason.is_empty() && !reason.contains('\n'));
        }
    }
}

/// Another address.
fn different(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::from(!u32::from(address)).into(),
        IpAddr::V6(address) => Ipv6Addr::from(!u128::from(address)).into(),
    }
}

/// The rule that most controllers send: one host, one protocol, one port, discarded.
fn common(ibgp: bool) -> Route {
    let nlri = hex::decode("0120cb00710503811105910035").unwrap();
    let nlri = Nlri::decode(FlowFamily::Ipv4Flow, &nlri).unwrap();
    let peer = Peer {
        address: IpAddr::from([192, 0, 2, 1]),
        router_id: Ipv4Addr::new(192, 0, 2, 1),
        ibgp,
    };
    let as_path = match ibgp {
        true => Vec::new(),
        false => vec![AsPathSegment {
            kind: AsPathSegmentKind::Sequence,
            asns: vec![65070],
        }],
    };
    let actions = TrafficFilteringActions {
        rate_bytes_per_sec: Some(0.0),
        ..Default::default()
    };
    let attributes = Attributes {
        origin: Some(Origin::Igp),
        as_path,
        local_pref: ibgp.then_some(100),
        ..Attributes::default()
    };
    route_of(Memo {
        peer,
        nlri,
        id: 0,
        attributes,
        actions,
    })
}

#[test]
fn the_form_of_version_1_stays_readable() {
    let route = common(false);
    let memo = "01 00 c0000201 c0000201 0000 002e \
                800e13 0001 85 00 00 0d 0120cb00710503811105910035 \
                400101 00 400206 0201 0000fe2e c01008 8006000000000000";
    let memo = hex::decode(memo.replace(' ', "")).unwrap();
    assert_eq!(hex::encode(encode(&route)), hex::encode(&memo));
    assert_eq!(decode(&memo).unwrap().nlri, route.nlri);

    let route = Route { id: 258, ..route };
    let memo = "01 04 c0000201 c0000201 0000 0032 \
                800e17 0001 85 00 00 00000102 0d 0120cb00710503811105910035 \
                400101 00 400206 0201 0000fe2e c01008 8006000000000000";
    let memo = memo.replace(' ', "");
    assert_eq!(hex::encode(encode(&route)), memo);
    assert_eq!(decode(&hex::decode(memo).unwrap()).unwrap().id, 258);
}

#[test]
fn the_common_rule_has_a_short_memo() {
    for ibgp in [false, true] {
        let length = encode(&common(ibgp)).len();
        assert!(length <= 64, "{length} octets, ibgp {ibgp}");
    }
}

#[test]
fn what_is_not_ours_is_refused() {
    let good = encode(&common(false));
    let changed = |place: usize, octet: u8| {
        let mut octets = good.clone();
        octets[place] = octet;
        octets
    };
    let end_of_rib = [&good[..10], &hex::decode("00000006800f03000185").unwrap()].concat();
    let rows = [
        ("nothing", Vec::new(), "there is no memo"),
        (
            "a later version",
            changed(0, 2),
            "memo of version 2, but only 1 is known",
        ),
        (
            "other flags",
            changed(1, 0x80),
            "memo with unknown flags 0x80",
        ),
        (
            "an address cut short",
            good[..5].to_vec(),
            "memo cut short at octet 2: 4 octets needed, 3 left",
        ),
        (
            "no UPDATE",
            good[..10].to_vec(),
            "memo with a malformed UPDATE: ",
        ),
        (
            "a rate that is not a number",
            {
                let end = good.len();
                [&good[..end - 4], &hex::decode("7fc00000").unwrap()].concat()
            },
            "memo with an UPDATE that does not announce one route",
        ),
        (
            "End-of-RIB",
            end_of_rib,
            "memo with an UPDATE that does not announce one route",
        ),
    ];
    for (name, octets, expected) in rows {
        let error = decode(&octets).expect_err(name).to_string();
        assert!(error.starts_with(expected), "{name}: {error}");
    }
}
