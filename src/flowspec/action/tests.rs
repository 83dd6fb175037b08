use super::*;
use crate::flowspec::testing::arbitrary_actions;
use crate::wire::community::{ExtendedCommunity, Ipv6ExtendedCommunity};
use proptest::prelude::*;

fn decode(hex_communities: &[&str]) -> Result<TrafficFilteringActions, ActionError> {
    let octets = |text: &str| hex::decode(text.replace(' ', "")).unwrap();
    let mut extended = Vec::new();
    let mut ipv6 = Vec::new();
    for text in hex_communities {
        match octets(text) {
            eight if eight.len() == 8 => {
                extended.push(ExtendedCommunity(eight.try_into().unwrap()))
            }
            twenty => ipv6.push(Ipv6ExtendedCommunity(twenty.try_into().unwrap())),
        }
    }
    TrafficFilteringActions::from_communities(&extended, &ipv6)
}

#[test]
fn communities_read_as_words() {
    // Bytes of other implementations' test suites: GoBGP, OpenDaylight, yabgp, meirdev, ExaBGP.
    let rows: &[(&str, &[&str], &[&str])] = &[
        ("none", &[], &["accept"]),
        (
            "unknown communities",
            &["0002 0064 0000000c", "9903 0001 0001000c"],
            &["accept"],
        ),
        ("rate 0", &["8006 0000 00000000"], &["discard"]),
        ("rate -0", &["8006 0000 80000000"], &["discard"]),
        ("rate -100", &["8006 0000 c2c80000"], &["discard"]),
        ("rate -inf", &["8006 0000 ff800000"], &["discard"]),
        ("rate +inf", &["8006 0000 7f800000"], &["accept"]),
        ("rate 0 of any AS", &["8006 fde8 00000000"], &["discard"]),
        (
            "bytes",
            &["8006 0000 447a0000"],
            &["rate-limit 1000 bytes/s"],
        ),
        (
            "denormal",
            &["8006 0048 00010203"],
            &["rate-limit 9.2557e-41 bytes/s"],
        ),
        (
            "packets",
            &["800c 0000 42480000"],
            &["rate-limit 50 packets/s"],
        ),
        ("packets -1", &["800c 0000 bf800000"], &["discard"]),
        (
            "lowest of two",
            &["8006 0000 447a0000", "8006 0000 42c80000"],
            &["rate-limit 100 bytes/s"],
        ),
        (
            "both units",
            &["800c 0000 42480000", "8006 0000 447a0000"],
            &["rate-limit 1000 bytes/s", "rate-limit 50 packets/s"],
        ),
        (
            "zero beats all",
            &["800c 0000 42480000", "8006 0000 00000000"],
            &["discard"],
        ),
        ("T bit", &["8007 0000 00000001"], &["continue"]),
        ("S bit", &["8007 0000 00000002"], &["sample"]),
        (
            "S and T of two communities",
            &["8007 0000 00000001", "8007 0000 00000002"],
            &["sample", "continue"],
        ),
        (
            "other bits of traffic-action",
            &["8007 ffff fffffffc"],
            &["accept"],
        ),
        ("mark", &["8009 0000 0000002e"], &["mark 46"]),
        ("mark keeps six bits", &["8009 0000 000000c1"], &["mark 1"]),
        (
            "first mark",
            &["8009 0000 0000000a", "8009 0000 0000002e"],
            &["mark 10"],
        ),
        (
            "redirect two-octet AS",
            &["8008 0023 04020807"],
            &["redirect 35:67241991"],
        ),
        (
            "redirect IPv4",
            &["8108 7f000001 007e"],
            &["redirect 127.0.0.1:126"],
        ),
        (
            "redirect four-octet AS",
            &["8208 00989680 03e8"],
            &["redirect 10000000:1000"],
        ),
        (
            "redirect small AS in four octets",
            &["8208 00001994 007e"],
            &["redirect 6548L:126"],
        ),
        (
            "redirect IPv6",
            &["000d 20010db8000000000000000000000001 0064"],
            &["redirect [2001:db8::1]:100"],
        ),
        (
            "redirect to IPv4",
            &["010c c0000201 0000"],
            &["redirect-to-ip 192.0.2.1"],
        ),
        (
            "redirect to several",
            &[
                "010c c0000202 0000",
                "010c c0000201 0000",
                "010c c0000202 0000",
            ],
            &["redirect-to-ip 192.0.2.2", "redirect-to-ip 192.0.2.1"],
        ),
        (
            "copy to IPv4",
            &["010c c0000201 0001"],
            &["copy-to-ip 192.0.2.1"],
        ),
        (
            "redirect to IPv6",
            &["000c 20010db8000000000000000000000001 0000"],
            &["redirect-to-ip 2001:db8::1"],
        ),
        (
            "legacy redirect of draft-simpson",
            &["0800 00000000 0000"],
            &["redirect in the form 0x0800"],
        ),
        (
            "legacy redirect of Juniper",
            &["800b 00000000 0000"],
            &["redirect in the form 0x800b"],
        ),
        (
            "a rate for each source",
            &["8306 0318 447a0000"],
            &["rate-limit 1000 bytes/s for each source /24 of 16384"],
        ),
        (
            "two of them, for hosts",
            &["830c 0020 41200000", "8306 0020 447a0000"],
            &[
                "rate-limit 10 packets/s for each source /32 of 4096",
                "rate-limit 1000 bytes/s for each source /32 of 4096",
            ],
        ),
        (
            "hosts and their networks, and all together",
            &[
                "8006 0000 49742400",
                "8306 ff20 447a0000",
                "8306 0018 461c4000",
            ],
            &[
                "rate-limit 1000 bytes/s for each source /32 of 1048576",
                "rate-limit 10000 bytes/s for each source /24 of 4096",
                "rate-limit 1000000 bytes/s",
            ],
        ),
        (
            "the lower of two for each source",
            &["8306 0318 461c4000", "8306 0018 447a0000"],
            &["rate-limit 1000 bytes/s for each source /24 of 4096"],
        ),
        (
            "a length that no address has",
            &["8306 00ff 447a0000"],
            &["rate-limit 1000 bytes/s for each source /255 of 4096"],
        ),
        (
            "nothing for each source",
            &["8306 0018 00000000", "8006 0000 447a0000"],
            &["discard"],
        ),
        (
            "less than nothing for each source",
            &["830c 0018 c2c80000"],
            &["discard"],
        ),
        (
            "anything for each source",
            &["830c 0018 7f800000"],
            &["accept"],
        ),
        (
            "interface sets",
            &["0702 000004d2 44d2", "4702 000004d2 8001"],
            &[
                "interface-set transitive:input:1234:1234",
                "interface-set non-transitive:output:1234:1",
            ],
        ),
    ];
    for (name, communities, expected) in rows {
        assert_eq!(decode(communities).unwrap().describe(), *expected, "{name}");
    }
}

#[test]
fn losers_and_ineffective_forms_are_noted() {
    let rows: &[(&[&str], &[&str])] = &[
        (
            &["8006 0000 7f800000"],
            &["traffic-rate-bytes is infinite: no limit"],
        ),
        (
            &["8006 0000 42c80000", "8006 0000 447a0000"],
            &["traffic-rate-bytes 1000 has no effect: the lower 100 applies"],
        ),
        (
            &["830c 0018 7f800000"],
            &["rate-packets-per-source is infinite: no limit"],
        ),
        (
            &["8306 0318 461c4000", "8306 0018 447a0000"],
            &[
                "rate-limit 10000 bytes/s for each source /24 of 16384 has no effect: \
                 rate-limit 1000 bytes/s for each source /24 of 4096 applies",
            ],
        ),
        (&["8306 0318 461c4000", "8306 0318 461c4000"], &[]),
        (&["8009 0000 0000000a", "8009 0000 0000000a"], &[]),
        (
            &["8009 0000 0000000a", "8009 0000 0000002e"],
            &["traffic-marking 46 has no effect: the earlier 10 applies"],
        ),
        (
            &["8008 fde8 00000001", "8008 fde8 00000002"],
            &["rt-redirect 65000:2 has no effect: the earlier 65000:1 applies"],
        ),
        (&["010c c0000201 0000", "010c c0000202 0000"], &[]),
        (
            &["010c c0000201 0001", "010c c0000202 0001"],
            &["copy-to-ip 192.0.2.2 has no effect: the earlier 192.0.2.1 applies"],
        ),
        (&["9999 00000000 0000"], &[]),
    ];
    for (communities, expected) in rows {
        assert_eq!(
            decode(communities).unwrap().notes,
            *expected,
            "{communities:?}"
        );
    }
}

/// `wire` withdraws what has such a rate (RFC 8955 §10) and must not let one through that is unreadable here.
#[test]
fn rates_that_are_no_number_make_the_route_malformed() {
    for nan in ["7fc00000", "ffffffff", "7f800001"] {
        let mut unreadable = Vec::new();
        for code in 0..=u16::MAX {
            let community = format!("{code:04x} 0018 {nan}");
            let octets = hex::decode(community.replace(' ', "")).unwrap();
            let rate = ExtendedCommunity(octets.try_into().unwrap()).rate_per_sec();
            let decoded = decode(&[&community]);
            assert_eq!(
                decoded.is_err(),
                rate.is_some_and(f32::is_nan),
                "{community}"
            );
            if let Err(error) = decoded {
                assert!(error.to_string().contains("not a number"), "{error}");
                unreadable.push(code);
            }
        }
        assert_eq!(unreadable, [0x8006, 0x800c, 0x8306, 0x830c]);
    }
}

#[test]
fn sixteen_addresses_may_share_the_packets() {
    let communities: Vec<_> = (1..=18u8)
        .map(|host| format!("010c c00002{host:02x} 0000"))
        .collect();
    let communities: Vec<_> = communities.iter().map(String::as_str).collect();
    let actions = decode(&communities).unwrap();
    assert_eq!(actions.redirect_next_hops.len(), MAX_NEXT_HOPS);
    let lost = [17, 18]
        .map(|host| format!("redirect-to-ip 192.0.2.{host} has no effect: 16 others apply"));
    assert_eq!(actions.notes, lost);
}

proptest! {
    #[test]
    fn any_actions_survive_the_way_over_communities(actions in arbitrary_actions()) {
        let (extended, ipv6) = actions.to_communities();
        let decoded = TrafficFilteringActions::from_communities(&extended, &ipv6);
        prop_assert_eq!(decoded, Ok(actions));
    }

    #[test]
    fn limits_are_positive_and_finite(actions in arbitrary_actions()) {
        for limit in actions.limits() {
            prop_assert!(limit.rate_per_sec > 0.0 && limit.rate_per_sec.is_finite());
        }
    }
}
