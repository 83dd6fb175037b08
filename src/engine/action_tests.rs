//! What a neighbor's actions become: legacy forms, groups of interfaces, and several of a kind.

use dataplane::desired::InterfacePattern;
use dataplane::rule::{Route, RoutingInstance, Rule};

use super::bindings::Bindings;
use super::explain::Explanation;
use super::policy::ImportPolicy;
use super::status::{RouteState, RuleStatus};
use super::tests::{Bench, address, port};
use super::*;
use crate::flowspec::action::RouteTarget;
use crate::wire::attribute::{Attributes, Origin};
use crate::wire::community::{ExtendedCommunity, Ipv6ExtendedCommunity};

/// An UPDATE that announces `port =80` with communities in hex and this next hop.
fn update(communities: &[&str], next_hop: &str) -> Update {
    let octets = |text: &str| hex::decode(text.replace(' ', "")).unwrap();
    let mut attributes = Attributes {
        origin: Some(Origin::Igp),
        mp_next_hop: octets(next_hop),
        ..Attributes::default()
    };
    for community in communities {
        match octets(community) {
            eight if eight.len() == 8 => attributes
                .extended_communities
                .push(ExtendedCommunity(eight.try_into().unwrap())),
            twenty => attributes
                .ipv6_extended_communities
                .push(Ipv6ExtendedCommunity(twenty.try_into().unwrap())),
        }
    }
    Update {
        announced: vec![port(80).into()],
        attributes,
        ..Update::default()
    }
}

/// Policy of a neighbor, which may send legacy redirects or not.
fn policy(legacy_redirects: bool) -> ImportPolicy {
    ImportPolicy {
        legacy_redirects,
        ..ImportPolicy::default()
    }
}

/// Announces to an engine with these bindings; gives back the rule that comes of it, or the reason why there is none, and
/// the notes beside a rule that is there.
fn announce(
    bindings: &Bindings,
    ibgp: bool,
    policy: ImportPolicy,
    update: Update,
) -> Result<(Arc<Rule>, String), String> {
    let mut bench = Bench::new();
    bench
        .engine
        .step(bench.now, Event::BindingsChanged(bindings.clone()));
    bench.engine.step(
        bench.now,
        Event::PeerUp {
            peer: address(1),
            router_id: [192, 0, 2, 1].into(),
            ibgp,
            families: FlowFamily::ALL.to_vec(),
            policy,
            restart: NegotiatedRestart::default(),
        },
    );
    let peer = address(1);
    bench.engine.step(bench.now, Event::Update { peer, update });
    let changes = bench.engine.poll_commit(bench.now);
    bench.engine.step(bench.now, Event::Committed(Ok(())));
    let status = bench.engine.rules(bench.now).remove(0);
    let (reason, notes) = (status.reason.unwrap_or_default(), status.notes.join(", "));
    match changes.and_then(|changes| changes.put.first().cloned()) {
        Some(rule) => {
            assert_eq!(status.state, RouteState::Installed, "{reason}");
            Ok((rule, notes))
        }
        None => Err(reason),
    }
}

#[test]
fn legacy_redirects_are_followed_where_that_is_allowed() {
    const SIMPSON: &str = "0800 00000000 0000";
    const JUNIPER: &str = "800b 00000000 0000";
    let to_v4 = |host| Some(Route::NextHops([[192, 0, 2, host].into()].into(), None));
    let by_target = Some(Route::Instance(RoutingInstance::Table(106)));
    let target = RouteTarget::Ipv6("2001:db8::1".parse().unwrap(), 100);
    let bindings = Bindings::new([(target, RoutingInstance::Table(106))]);
    type Row = (
        &'static str,
        &'static [&'static str],
        &'static str,
        Option<Route>,
        &'static str,
    );
    let rows: &[Row] = &[
        (
            "next hop of the route",
            &[SIMPSON],
            "c0000209",
            to_v4(9),
            "redirect in the form 0x0800 leads to 192.0.2.9",
        ),
        (
            "behind a route distinguisher",
            &[JUNIPER],
            "0000000000000000 c0000209",
            to_v4(9),
            "redirect in the form 0x800b leads to 192.0.2.9",
        ),
        (
            "address in the community",
            &["0800 c0000208 0000"],
            "c0000209",
            to_v4(8),
            "redirect in the form 0x0800 leads to 192.0.2.8",
        ),
        (
            "route target under the old code",
            &["800b 20010db8000000000000000000000001 0064"],
            "",
            by_target,
            "",
        ),
        (
            "a standard one beside it",
            &[SIMPSON, "010c c0000207 0000"],
            "c0000209",
            to_v4(7),
            "redirect in the form 0x0800 leads to 192.0.2.9, \
             redirect-to-ip 192.0.2.9 has no effect: the standard 192.0.2.7 applies",
        ),
        (
            "the same as a standard one beside it",
            &[SIMPSON, "010c c0000209 0000"],
            "c0000209",
            to_v4(9),
            "redirect in the form 0x0800 leads to 192.0.2.9",
        ),
    ];
    for (name, communities, next_hop, route, notes) in rows {
        let sent = update(communities, next_hop);
        let (rule, told) = announce(&bindings, true, policy(true), sent.clone()).unwrap();
        assert_eq!(
            rule.action.route().map(|route| (**route).clone()),
            *route,
            "{name}"
        );
        assert_eq!(told, *notes, "{name}");
        // A later process knows what it leads to without the next hop.
        let memo = memo::decode(&rule.memo()).unwrap();
        assert_eq!(memo.actions.legacy_redirect, None, "{name}");
        let off = announce(&bindings, true, policy(false), sent).unwrap_err();
        assert!(
            off.contains("takes import.legacy_redirects"),
            "{name}: {off}"
        );
    }
    let copy = update(&["0800 00000000 0001"], "c0000209");
    let (rule, _) = announce(&bindings, true, policy(true), copy).unwrap();
    assert_eq!(rule.action.copy_to(), Some([192, 0, 2, 9].into()));
    assert_eq!(rule.action.route(), None);
    let nowhere = announce(&bindings, true, policy(true), update(&[SIMPSON], "")).unwrap_err();
    assert!(nowhere.ends_with("and a next hop"), "{nowhere}");
}

#[test]
fn a_changed_policy_reads_redirects_anew() {
    let mut bench = Bench::new();
    bench.up(1, policy(false));
    let peer = address(1);
    let sent = update(&["0800 00000000 0000"], "c0000209");
    bench
        .engine
        .step(bench.now, Event::Update { peer, update: sent });
    assert_eq!(bench.states(1), [RouteState::Unsupported]);
    for (on, state) in [
        (true, RouteState::Installed),
        (false, RouteState::Unsupported),
    ] {
        let policy = policy(on);
        bench
            .engine
            .step(bench.now, Event::PolicyChanged { peer, policy });
        while bench.commit(Ok(())).is_some() {}
        assert_eq!(bench.states(1), [state], "legacy_redirects = {on}");
    }
}

#[test]
fn groups_of_interfaces_say_where_a_rule_applies() {
    let pattern = |name: &str| InterfacePattern::new(name).unwrap();
    let group = |text: &str| text.parse().unwrap();
    let bindings = Bindings::default().with_groups([
        (group("65001:7"), vec![pattern("eth0"), pattern("swp*")]),
        (group("65001:8"), vec![pattern("eth1"), pattern("eth0")]),
    ]);
    const INPUT_7: &str = "0702 0000fde9 4007";
    const INPUT_8: &str = "0702 0000fde9 4008";
    const UNKNOWN: &str = "0702 0000fde9 4009";
    type Row = (
        &'static str,
        &'static [&'static str],
        bool,
        Result<&'static str, &'static str>,
        &'static str,
    );
    let rows: &[Row] = &[
        ("none: everywhere", &[], true, Ok("everywhere"), ""),
        ("one", &[INPUT_7], true, Ok("eth0 swp*"), ""),
        (
            "the union of two",
            &[INPUT_8, INPUT_7],
            true,
            Ok("eth1 eth0 swp*"),
            "",
        ),
        (
            "one that is known",
            &[UNKNOWN, INPUT_7],
            true,
            Ok("eth0 swp*"),
            "interface-set transitive:input:65001:9: no [[interface_set]] names this group",
        ),
        (
            "one that is not",
            &[UNKNOWN],
            true,
            Err("interface-set transitive:input:65001:9: no [[interface_set]] names this group"),
            "",
        ),
        (
            "the same number of another AS",
            &["0702 0000fdea 4007"],
            true,
            Err("interface-set transitive:input:65002:7: no [[interface_set]] names this group"),
            "",
        ),
        (
            "output",
            &["0702 0000fde9 8007"],
            true,
            Err(
                "interface-set transitive:output:65001:7: packets are filtered as they come in, not as they go out",
            ),
            "",
        ),
        (
            "both directions",
            &["0702 0000fde9 c007"],
            true,
            Err(
                "interface-set transitive:input-output:65001:7: packets are filtered as they come in, not as they go out",
            ),
            "",
        ),
        (
            "no direction",
            &["0702 0000fde9 0007"],
            true,
            Err("interface-set transitive:none:65001:7: it names no direction"),
            "",
        ),
        (
            "not transitive, from our AS",
            &["4702 0000fde9 4007"],
            true,
            Ok("eth0 swp*"),
            "",
        ),
        (
            "not transitive, from another AS",
            &["4702 0000fde9 4007"],
            false,
            Err(
                "interface-set non-transitive:input:65001:7 came from another AS, which it must not",
            ),
            "",
        ),
        (
            "one of them not transitive, from another AS",
            &["4702 0000fde9 4007", INPUT_8],
            false,
            Ok("eth1 eth0"),
            "interface-set non-transitive:input:65001:7 has no effect: it came from another AS, which it must not",
        ),
    ];
    for (name, communities, ibgp, expected, notes) in rows {
        let mut communities = communities.to_vec();
        communities.push("8006 0000 00000000");
        let found = announce(&bindings, *ibgp, policy(false), update(&communities, ""));
        let found = found.map(|(rule, told)| {
            assert_eq!(told, *notes, "{name}");
            let patterns = rule.matches.rare.interfaces.as_deref();
            patterns.map_or("everywhere".into(), |patterns| {
                let names: Vec<_> = patterns.iter().map(InterfacePattern::as_str).collect();
                names.join(" ")
            })
        });
        assert_eq!(
            found.as_deref().map_err(String::as_str),
            *expected,
            "{name}"
        );
    }
}

#[test]
fn several_actions_of_a_kind_are_resolved_and_shown() {
    let target = |text: &str| text.parse::<RouteTarget>().unwrap();
    let bindings = Bindings::new([
        (target("65001:100"), RoutingInstance::Table(100)),
        (target("65001:101"), RoutingInstance::Table(101)),
    ]);
    type Row = (
        &'static str,
        &'static [&'static str],
        &'static str,
        &'static str,
    );
    let rows: &[Row] = &[
        ("nothing", &[], "accept", ""),
        (
            "unknown communities",
            &["0002 0064 0000000c", "9903 0001 0001000c"],
            "accept",
            "",
        ),
        (
            "the lowest of two rates",
            &["8006 0000 447a0000", "8006 0000 42c80000"],
            "rate-limit 100 bytes/s",
            "traffic-rate-bytes 1000 has no effect: the lower 100 applies",
        ),
        (
            "a rate for each source, and one for all together",
            &["8006 0000 447a0000", "830c 0118 42c80000"],
            "rate-limit 100 packets/s for each source /24 of 8192, rate-limit 1000 bytes/s",
            "",
        ),
        (
            "the same twice",
            &["8009 0000 0000000a", "8009 0000 0000000a"],
            "mark 10",
            "",
        ),
        (
            "the first of two marks",
            &["8009 0000 0000000a", "8009 0000 0000002e"],
            "mark 10",
            "traffic-marking 46 has no effect: the earlier 10 applies",
        ),
        (
            "the first of two route targets",
            &["8008 fde9 00000064", "8008 fde9 00000065"],
            "redirect 65001:100",
            "rt-redirect 65001:101 has no effect: the earlier 65001:100 applies",
        ),
        (
            "a route target and an address",
            &["010c c0000209 0000", "8008 fde9 00000064"],
            "redirect 65001:100, redirect-to-ip 192.0.2.9",
            "",
        ),
        (
            "a redirect and a copy, a mark and a sample",
            &[
                "010c c0000209 0000",
                "010c c000020a 0001",
                "8009 0000 0000000a",
                "8007 0000 00000002",
            ],
            "mark 10, redirect-to-ip 192.0.2.9, copy-to-ip 192.0.2.10, sample",
            "",
        ),
        (
            "discard and all else",
            &[
                "8006 0000 00000000",
                "010c c0000209 0000",
                "010c c000020a 0001",
            ],
            "discard",
            "redirect-to-ip 192.0.2.9 has no effect: the route discards, \
             copy-to-ip 192.0.2.10 has no effect: the route discards",
        ),
        (
            "both units, one of them infinite",
            &["800c 0000 42480000", "8006 0000 7f800000"],
            "rate-limit 50 packets/s",
            "traffic-rate-bytes is infinite: no limit",
        ),
        ("a negative rate", &["8006 0000 c2c80000"], "discard", ""),
    ];
    for (name, communities, taken, notes) in rows {
        let (status, explanation) = explained(&bindings, communities);
        assert_eq!(status.notes.join(", "), *notes, "{name}");
        assert_eq!(explanation.taken.join(", "), *taken, "{name}");
    }
}

/// Announces a route and installs it; gives back what is said of it, and of a packet that it matches.
fn explained(bindings: &Bindings, communities: &[&str]) -> (RuleStatus, Explanation) {
    let mut bench = Bench::new();
    bench
        .engine
        .step(bench.now, Event::BindingsChanged(bindings.clone()));
    bench.up(1, ImportPolicy::default());
    let (peer, update) = (address(1), update(communities, ""));
    bench.engine.step(bench.now, Event::Update { peer, update });
    while bench.commit(Ok(())).is_some() {}
    let status = bench.engine.rules(bench.now).remove(0);
    assert_eq!(status.state, RouteState::Installed, "{communities:?}");
    let packet = "udp 198.51.100.7:123 > 203.0.113.5:80";
    let packet = dataplane::packet::Packet::from_text(packet).unwrap();
    (status, bench.engine.explain(&packet))
}

#[test]
fn explanations_say_where_packets_go() {
    let target = |text: &str| text.parse::<RouteTarget>().unwrap();
    let bindings = Bindings::new([
        (target("65001:100"), RoutingInstance::Vrf("scrub".into())),
        (target("65001:101"), RoutingInstance::Table(101)),
    ]);
    const TO_VRF: &str = "8008 fde9 00000064";
    const TO_ADDRESS: &str = "010c c0000209 0000";
    const COPY: &str = "010c c000020a 0001";
    const DECIDES: &str = "decides: no later rule is looked at";
    let rows: &[(&[&str], &str)] = &[
        (&[], ""),
        (&[TO_VRF], "sends the packet to VRF scrub; "),
        (&["8008 fde9 00000065"], "sends the packet to table 101; "),
        (&[TO_ADDRESS], "sends the packet to next hop 192.0.2.9; "),
        (
            &[TO_ADDRESS, TO_VRF],
            "sends the packet to next hop 192.0.2.9 in VRF scrub; ",
        ),
        (&[COPY], "sends a copy to 192.0.2.10; "),
        (
            &[COPY, TO_VRF],
            "sends the packet to VRF scrub; sends a copy to 192.0.2.10; ",
        ),
    ];
    for (communities, then) in rows {
        let (_, explanation) = explained(&bindings, communities);
        let expected = format!("{then}{DECIDES}");
        assert_eq!(explanation.matched[0].then, expected, "{communities:?}");
    }
}
