//! Each key of `[import]` and `[neighbor.import]`, and each error in them.

use std::time::Duration;

use crate::config::Config;
use crate::engine::policy::{
    ActionKind, Community, ImportPolicy, MinLengths, Overflow, RateBounds, TotalLimit, Validation,
};
use crate::wire::iana::{FlowFamily, UnicastFamily};

const BGP: &str = "[bgp]\nlocal_as = 65140\nrouter_id = \"192.0.2.2\"\n";

/// All keys of the section.
const ALL: &str = "\
destinations = [\"203.0.113.0/24\"]
sources = [\"2001:db8::/32\"]
min_destination_length = 24
min_destination_length_ipv6 = 48
min_source_length = 8
min_source_length_ipv6 = 16
destination_required = true
allow_match_all = true
actions = [\"discard\", \"rate-limit\"]
legacy_redirects = true
min_rate_bytes_per_sec = 1000
max_rate_bytes_per_sec = 2000
min_rate_packets_per_sec = 10
max_rate_packets_per_sec = 20
accept_communities = [\"65000:1\"]
refuse_communities = [\"rt:65000:2\", \"65000:1:2\"]
max_routes = 7
warn_percent = 50
on_max_routes = \"close\"
max_routes_restart_secs = 60
max_lifetime_secs = 3600
max_unicast_routes = 9
";

/// What [`ALL`] says.
fn all() -> ImportPolicy {
    let community = |text: &str| text.parse::<Community>().unwrap();
    let bounds = |min, max| RateBounds {
        min: Some(min),
        max: Some(max),
    };
    ImportPolicy {
        destinations: vec!["203.0.113.0/24".parse().unwrap()],
        sources: vec!["2001:db8::/32".parse().unwrap()],
        min_destination_length: MinLengths { ipv4: 24, ipv6: 48 },
        min_source_length: MinLengths { ipv4: 8, ipv6: 16 },
        destination_required: Some(true),
        allow_match_all: true,
        actions: Some(vec![ActionKind::Discard, ActionKind::RateLimit]),
        legacy_redirects: true,
        rate_bytes: bounds(1000, 2000),
        rate_packets: bounds(10, 20),
        accept_communities: vec![community("65000:1")],
        refuse_communities: vec![community("rt:65000:2"), community("65000:1:2")],
        max_routes: 7,
        warn_percent: 50,
        overflow: Overflow::Close {
            restart: Duration::from_secs(60),
        },
        max_lifetime: Some(Duration::from_secs(3600)),
        validation: Validation::None,
        max_unicast_routes: 9,
    }
}

/// A configuration with these global keys and these of its one neighbor.
fn text(global: &str, neighbor: &str, import: &str) -> String {
    format!(
        "{BGP}[import]\n{global}\n[[neighbor]]\naddress = \"192.0.2.1\"\nremote_as = 1\n\
         {neighbor}\n[neighbor.import]\n{import}\n"
    )
}

/// The policy for the neighbor.
fn policy(global: &str, import: &str) -> ImportPolicy {
    let config = Config::parse(&text(global, "", import));
    let mut config = config.unwrap_or_else(|errors| panic!("{errors}"));
    config.neighbors.remove(0).import
}

#[test]
fn a_key_of_the_neighbor_takes_the_place_of_the_global_one() {
    let everywhere = ImportPolicy::default;
    let rows = [
        ("nothing", "", "", everywhere()),
        ("all for the neighbor", "", ALL, all()),
        ("all for everybody", ALL, "", all()),
        (
            "lists as a whole",
            ALL,
            "destinations = []\nactions = [\"mark\"]",
            ImportPolicy {
                destinations: Vec::new(),
                actions: Some(vec![ActionKind::Mark]),
                ..all()
            },
        ),
        (
            "one bound, one family",
            ALL,
            "max_rate_bytes_per_sec = 5000\nmin_destination_length_ipv6 = 0",
            ImportPolicy {
                rate_bytes: RateBounds {
                    min: Some(1000),
                    max: Some(5000),
                },
                min_destination_length: MinLengths { ipv4: 24, ipv6: 0 },
                ..all()
            },
        ),
        (
            "refuse again",
            ALL,
            "on_max_routes = \"refuse\"",
            ImportPolicy {
                overflow: Overflow::Refuse,
                ..all()
            },
        ),
        (
            "another restart time",
            ALL,
            "max_routes_restart_secs = 5",
            ImportPolicy {
                overflow: Overflow::Close {
                    restart: Duration::from_secs(5),
                },
                ..all()
            },
        ),
    ];
    for (name, global, import, expected) in rows {
        assert_eq!(policy(global, import), expected, "{name}");
    }
    let total = "max_total_routes = 100\nwarn_percent = 10";
    let config = Config::parse(&text(total, "", "")).unwrap();
    let expected = TotalLimit {
        max_routes: 100,
        warn_percent: 10,
    };
    assert_eq!(config.total, expected);
}

#[test]
fn validation_brings_the_families_that_it_needs() {
    use FlowFamily::{Ipv4Flow, Ipv4FlowVpn, Ipv6Flow};
    use UnicastFamily::{Ipv4Unicast, Ipv6Unicast};
    let rows = [
        ("", Validation::None, vec![Ipv4Flow, Ipv6Flow], vec![]),
        (
            "validation = \"destination\"",
            Validation::Destination,
            vec![Ipv4Flow, Ipv6Flow],
            vec![],
        ),
        (
            "validation = \"rfc9117\"",
            Validation::Rfc9117,
            vec![Ipv4Flow, Ipv6Flow],
            vec![Ipv4Unicast, Ipv6Unicast],
        ),
        (
            "validation = \"rfc9117\"\nfamilies = [\"ipv6-flow\", \"ipv4-flow-vpn\"]",
            Validation::Rfc9117,
            vec![Ipv6Flow, Ipv4FlowVpn],
            vec![Ipv6Unicast],
        ),
        (
            "families = [\"ipv4-unicast\"]",
            Validation::None,
            vec![],
            vec![Ipv4Unicast],
        ),
        (
            "validation = \"rfc9117\"\nfamilies = [\"ipv4-unicast\", \"ipv4-flow\"]",
            Validation::Rfc9117,
            vec![Ipv4Flow],
            vec![Ipv4Unicast],
        ),
    ];
    for (lines, validation, families, unicast) in rows {
        let config = Config::parse(&text("", lines, "")).unwrap();
        let neighbor = &config.neighbors[0];
        assert_eq!(neighbor.import.validation, validation, "{lines}");
        assert_eq!(neighbor.families, families, "{lines}");
        assert_eq!(neighbor.unicast, unicast, "{lines}");
    }
}

#[test]
fn every_slip_is_an_error() {
    let rows = [
        (
            "min_destination_length = 33",
            "33 is not in the range 0 to 32",
        ),
        (
            "min_source_length_ipv6 = 129",
            "129 is not in the range 0 to 128",
        ),
        ("actions = []", "is empty"),
        (
            "actions = [\"drop\"]",
            "\"drop\" is not one of accept, discard",
        ),
        (
            "sources = [\"10.0.0.1/8\"]",
            "has bits set beyond its length",
        ),
        ("min_rate_bytes_per_sec = 0", "0 is not in the range 1"),
        (
            "min_rate_bytes_per_sec = 2\nmax_rate_bytes_per_sec = 1",
            "min_rate_bytes_per_sec = 2 is above max_rate_bytes_per_sec = 1",
        ),
        ("refuse_communities = [\"65536:1\"]", "is not a community"),
        ("warn_percent = 101", "101 is not in the range 0 to 100"),
        (
            "on_max_routes = \"drop\"",
            "neither \"refuse\" nor \"close\"",
        ),
        (
            "max_routes_restart_secs = 5",
            "says nothing without on_max_routes = \"close\"",
        ),
        ("max_lifetime_secs = 0", "0 is not in the range 1"),
        ("max_total_routes = 5", "unknown key"),
    ];
    for (lines, reason) in rows {
        let errors = Config::parse(&text("", "", lines)).unwrap_err();
        assert_eq!(errors.errors.len(), 1, "{lines}: {errors}");
        assert!(errors.to_string().contains(reason), "{lines}: {errors}");
    }
    let errors = Config::parse(&text("", "validation = \"strict\"", "")).unwrap_err();
    assert!(
        errors
            .to_string()
            .contains("\"strict\" is not a validation"),
        "{errors}"
    );
}
