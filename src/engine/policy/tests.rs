//! Each key of the policy, and each refusal.

use super::*;
use crate::wire::attribute::{AsPathSegment, AsPathSegmentKind};
use crate::wire::community::ExtendedCommunity;
use crate::wire::iana::FlowFamily;

const LOCAL: LocalSpeaker = LocalSpeaker {
    asn: 65140,
    router_id: Ipv4Addr::new(192, 0, 2, 2),
};

fn nlri(family: FlowFamily, hex: &str) -> Nlri {
    Nlri::decode(family, &hex::decode(hex).unwrap()).unwrap()
}

#[test]
fn destinations_must_lie_inside() {
    use FlowFamily::{Ipv4Flow, Ipv6Flow};
    let rows = [
        ("inside", Ipv4Flow, "0120cb007105", "203.0.113.0/24", true),
        (
            "the prefix itself",
            Ipv4Flow,
            "0118cb0071",
            "203.0.113.0/24",
            true,
        ),
        (
            "wider than allowed",
            Ipv4Flow,
            "0110cb00",
            "203.0.113.0/24",
            false,
        ),
        ("beside", Ipv4Flow, "0118cb0072", "203.0.113.0/24", false),
        (
            "no destination",
            Ipv4Flow,
            "038111",
            "203.0.113.0/24",
            false,
        ),
        (
            "no destination, default route",
            Ipv4Flow,
            "038111",
            "0.0.0.0/0",
            false,
        ),
        (
            "only a source",
            Ipv4Flow,
            "0218cb0071",
            "203.0.113.0/24",
            false,
        ),
        (
            "other family",
            Ipv6Flow,
            "01200020010db8",
            "0.0.0.0/0",
            false,
        ),
        (
            "ipv6 inside",
            Ipv6Flow,
            "01200020010db8",
            "2001:db8::/32",
            true,
        ),
        (
            "ipv6 with offset",
            Ipv6Flow,
            "012808010db800",
            "2001:db8::/32",
            false,
        ),
        (
            "ipv6 with offset, any",
            Ipv6Flow,
            "01402000000001",
            "::/0",
            true,
        ),
    ];
    for (name, family, hex, allowed, accepted) in rows {
        let policy = ImportPolicy {
            destinations: vec![allowed.parse().unwrap()],
            ..Default::default()
        };
        let Ok(nlri) = Nlri::decode(family, &hex::decode(hex).unwrap()) else {
            panic!("{name}: bad test NLRI {hex}")
        };
        let refusal = policy.refusal(
            LOCAL,
            &nlri,
            &Attributes::default(),
            &TrafficFilteringActions::default(),
        );
        assert_eq!(refusal.is_none(), accepted, "{name}: {refusal:?}");
    }
}

#[test]
fn loops_are_refused() {
    let route = nlri(FlowFamily::Ipv4Flow, "038111");
    let path = |asns: &[u32]| {
        vec![AsPathSegment {
            kind: AsPathSegmentKind::Sequence,
            asns: asns.to_vec(),
        }]
    };
    let rows = [
        ("empty path", Attributes::default(), None),
        (
            "foreign path",
            Attributes {
                as_path: path(&[1, 2]),
                ..Default::default()
            },
            None,
        ),
        (
            "own AS",
            Attributes {
                as_path: path(&[1, 65140]),
                ..Default::default()
            },
            Some("AS_PATH"),
        ),
        (
            "own originator",
            Attributes {
                originator_id: Some(LOCAL.router_id),
                ..Default::default()
            },
            Some("ORIGINATOR_ID"),
        ),
    ];
    for (name, attributes, expected) in rows {
        let refusal = ImportPolicy::default().refusal(
            LOCAL,
            &route,
            &attributes,
            &TrafficFilteringActions::default(),
        );
        match expected {
            None => assert_eq!(refusal, None, "{name}"),
            Some(word) => assert!(refusal.unwrap().reason.contains(word), "{name}"),
        }
    }
}

/// A policy, and what it does with routes: family, NLRI, communities, the kind of refusal and words of its reason.
type Row<'a> = (
    &'a str,
    ImportPolicy,
    FlowFamily,
    &'a str,
    Attributes,
    Option<(RefusalKind, &'a str)>,
);

/// Attributes with these extended communities.
fn asks(communities: &[&str]) -> Attributes {
    let octets = |hex: &&str| ExtendedCommunity(hex::decode(hex).unwrap().try_into().unwrap());
    Attributes {
        extended_communities: communities.iter().map(octets).collect(),
        ..Attributes::default()
    }
}

/// A policy that differs from the default.
fn policy(change: impl FnOnce(&mut ImportPolicy)) -> ImportPolicy {
    let mut policy = ImportPolicy::default();
    change(&mut policy);
    policy
}

fn check(rows: Vec<Row<'_>>) {
    for (name, policy, family, hex, attributes, expected) in rows {
        let nlri = nlri(family, hex);
        let actions = TrafficFilteringActions::from_communities(
            &attributes.extended_communities,
            &attributes.ipv6_extended_communities,
        )
        .unwrap();
        let refusal = policy.refusal(LOCAL, &nlri, &attributes, &actions);
        let kind = refusal.as_ref().map(|refusal| refusal.kind);
        assert_eq!(kind, expected.map(|(kind, _)| kind), "{name}: {refusal:?}");
        if let (Some(refusal), Some((_, words))) = (refusal, expected) {
            assert!(refusal.reason.contains(words), "{name}: {refusal}");
        }
    }
}

/// `destination 203.0.113.0/24`.
const NETWORK: &str = "0118cb0071";
/// `destination 2001:db8::/32`.
const NETWORK_IPV6: &str = "01200020010db8";
/// `protocol =udp`.
const UDP: &str = "038111";
const DISCARD: &str = "8006000000000000";
const RATE_1000: &str = "80060000447a0000";
const PACKETS_1000: &str = "800c0000447a0000";
const MARK: &str = "800900000000000a";
const REDIRECT: &str = "8008fde900000064";
const REDIRECT_TO_IP: &str = "010cc00002010000";
const COPY: &str = "010cc00002010001";
const SAMPLE: &str = "8007000000000002";
const CONTINUE: &str = "8007000000000001";

#[test]
fn prefixes_must_be_allowed_and_long_enough() {
    use FlowFamily::{Ipv4Flow, Ipv6Flow};
    use RefusalKind::{Destination, Source};
    let none = Attributes::default;
    let sources = policy(|p| p.sources = vec!["198.51.100.0/24".parse().unwrap()]);
    let min = policy(|p| {
        p.min_destination_length = MinLengths { ipv4: 25, ipv6: 48 };
    });
    let min_source = policy(|p| p.min_source_length = MinLengths { ipv4: 25, ipv6: 48 });
    let required = policy(|p| p.destination_required = Some(true));
    check(vec![
        (
            "source inside",
            sources.clone(),
            Ipv4Flow,
            "0220c6336407",
            none(),
            None,
        ),
        (
            "source outside",
            sources.clone(),
            Ipv4Flow,
            "0220c6336507",
            none(),
            Some((
                Source,
                "source prefix 198.51.101.7/32 outside import.sources",
            )),
        ),
        (
            "no source",
            sources,
            Ipv4Flow,
            NETWORK,
            none(),
            Some((Source, "no source prefix, but import.sources")),
        ),
        (
            "short destination",
            min.clone(),
            Ipv4Flow,
            NETWORK,
            none(),
            Some((
                Destination,
                "203.0.113.0/24 names 24 bits, but import.min_destination_length = 25",
            )),
        ),
        (
            "long destination",
            min.clone(),
            Ipv4Flow,
            "0119cb007100",
            none(),
            None,
        ),
        (
            "short IPv6 destination",
            min.clone(),
            Ipv6Flow,
            NETWORK_IPV6,
            none(),
            Some((Destination, "import.min_destination_length_ipv6 = 48")),
        ),
        (
            "an offset names less",
            min.clone(),
            Ipv6Flow,
            "01402000000001",
            none(),
            Some((Destination, "names 32 bits")),
        ),
        (
            "no destination is as short as can be",
            min,
            Ipv4Flow,
            UDP,
            none(),
            Some((
                Destination,
                "no destination prefix, but import.min_destination_length = 25",
            )),
        ),
        (
            "short source",
            min_source.clone(),
            Ipv4Flow,
            "0218c63364",
            none(),
            Some((
                Source,
                "198.51.100.0/24 names 24 bits, but import.min_source_length = 25",
            )),
        ),
        ("any source", min_source, Ipv4Flow, NETWORK, none(), None),
        (
            "destination required",
            required.clone(),
            Ipv4Flow,
            UDP,
            none(),
            Some((Destination, "import.destination_required = true")),
        ),
        (
            "destination there",
            required,
            Ipv4Flow,
            NETWORK,
            none(),
            None,
        ),
        (
            "everything",
            ImportPolicy::default(),
            Ipv4Flow,
            "0100",
            none(),
            Some((RefusalKind::MatchesEverything, "import.allow_match_all")),
        ),
        (
            "everything, allowed",
            policy(|p| p.allow_match_all = true),
            Ipv6Flow,
            "010000",
            none(),
            None,
        ),
    ]);
}

#[test]
fn actions_must_be_allowed_and_rates_within_bounds() {
    use ActionKind::{Accept, Continue, Copy, Discard, Mark, RateLimit, Redirect, Sample};
    let kinds = [
        (Accept, vec![]),
        (Discard, vec![DISCARD]),
        (RateLimit, vec![RATE_1000]),
        (RateLimit, vec![PACKETS_1000]),
        (Mark, vec![MARK]),
        (Redirect, vec![REDIRECT]),
        (Redirect, vec![REDIRECT_TO_IP]),
        (ActionKind::Copy, vec![COPY]),
        (Sample, vec![SAMPLE]),
        (Continue, vec![CONTINUE]),
    ];
    let all = [
        Accept, Discard, RateLimit, Mark, Redirect, Copy, Sample, Continue,
    ];
    let mut rows = Vec::new();
    for (kind, communities) in &kinds {
        let others = all.into_iter().filter(|other| other != kind).collect();
        let only = policy(|p| p.actions = Some(vec![*kind]));
        let all_others = policy(|p| p.actions = Some(others));
        let refused = Some((RefusalKind::Action, "is not one of import.actions"));
        let family = FlowFamily::Ipv4Flow;
        rows.push(("only it", only, family, NETWORK, asks(communities), None));
        rows.push((
            "not it",
            all_others,
            family,
            NETWORK,
            asks(communities),
            refused,
        ));
    }
    let bounds = |min, max| RateBounds { min, max };
    let bytes = |min, max| policy(|p| p.rate_bytes = bounds(min, max));
    let packets = |min, max| policy(|p| p.rate_packets = bounds(min, max));
    let rate = |words| Some((RefusalKind::Rate, words));
    let limits = [
        (
            "at both bounds",
            bytes(Some(1000), Some(1000)),
            RATE_1000,
            None,
        ),
        (
            "below",
            bytes(Some(1001), None),
            RATE_1000,
            rate("rate 1000 bytes/s is below import.min_rate_bytes_per_sec = 1001"),
        ),
        (
            "above",
            bytes(None, Some(999)),
            RATE_1000,
            rate("rate 1000 bytes/s is above import.max_rate_bytes_per_sec = 999"),
        ),
        (
            "other unit",
            bytes(Some(2000), Some(3000)),
            PACKETS_1000,
            None,
        ),
        (
            "packets",
            packets(Some(2000), None),
            PACKETS_1000,
            rate("rate 1000 packets/s is below import.min_rate_packets_per_sec = 2000"),
        ),
        (
            "packets of each source",
            packets(Some(2000), None),
            "830c0018447a0000",
            rate("rate 1000 packets/s is below import.min_rate_packets_per_sec = 2000"),
        ),
        (
            "discarding is no rate",
            bytes(Some(1000), None),
            DISCARD,
            None,
        ),
    ];
    for (name, policy, community, expected) in limits {
        let family = FlowFamily::Ipv4Flow;
        rows.push((name, policy, family, NETWORK, asks(&[community]), expected));
    }
    check(rows);
}

#[test]
fn communities_accept_and_refuse() {
    let carries = |value: u32| Attributes {
        communities: vec![1, value],
        ..Attributes::default()
    };
    let list = |text: &str| vec!["65000:1".parse().unwrap(), text.parse().unwrap()];
    let accept = policy(|p| p.accept_communities = list("65000:666"));
    let refuse = policy(|p| p.refuse_communities = list("65000:666"));
    let both = policy(|p| {
        p.accept_communities = list("65000:666");
        p.refuse_communities = list("0x8009000000000000");
    });
    let marked = Attributes {
        extended_communities: asks(&["8009000000000000"]).extended_communities,
        ..carries(0xfde8_029a)
    };
    let family = FlowFamily::Ipv4Flow;
    let refused = |words| Some((RefusalKind::Community, words));
    check(vec![
        (
            "accepted",
            accept.clone(),
            family,
            NETWORK,
            carries(0xfde8_029a),
            None,
        ),
        (
            "not accepted",
            accept,
            family,
            NETWORK,
            carries(0xfde8_029b),
            refused("none of import.accept_communities = [65000:1, 65000:666]"),
        ),
        (
            "refused",
            refuse.clone(),
            family,
            NETWORK,
            carries(0xfde8_029a),
            refused("community 65000:666 is one of import.refuse_communities"),
        ),
        (
            "not refused",
            refuse,
            family,
            NETWORK,
            Attributes::default(),
            None,
        ),
        (
            "refusing goes first",
            both,
            family,
            NETWORK,
            marked,
            refused("0x8009000000000000"),
        ),
    ]);
}
