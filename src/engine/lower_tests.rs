use std::collections::BTreeSet;

use super::*;
use crate::engine::bindings::Bindings;
use crate::flowspec::action::RouteTarget;
use crate::flowspec::matches::matches;
use crate::flowspec::testing::{aimed_at, arbitrary_actions, arbitrary_nlri, arbitrary_packet};
use crate::flowspec::text::parse_flows;
use crate::wire::iana::FlowFamily;
use dataplane::rule::{Limit, LimitUnit, Route, RoutingInstance};
use dataplane::tcam::expand;
use dataplane::tcam::profile::CUMULUS;
use proptest::prelude::*;

fn lower_text(text: &str) -> Result<Lowered, Unsupported> {
    let flows = parse_flows(text).unwrap();
    lower(
        &flows[0].nlri,
        &flows[0].actions.clone().into(),
        RuleId(7),
        &Bindings::default(),
    )
}

#[test]
fn routes_that_no_rule_can_enforce_are_unsupported_with_a_reason() {
    let rows = [
        (
            "rd 65535:1; match { port 80; } then { discard; }",
            "no VRF for route distinguisher 65535:1",
        ),
        (
            "match { port 80; } then { redirect 65001:100; }",
            "redirect 65001:100: no [[redirect]] or [[vrf]] names this route target",
        ),
        (
            "match { port 80; } then { rate-limit 9600; redirect 2001:db8::1; }",
            "redirect-to-ip 2001:db8::1: ipv4 packets have no next hop of the other family",
        ),
        (
            "match { source ::/0; } then { redirect 192.0.2.1; }",
            "redirect-to-ip 192.0.2.1: ipv6 packets have no next hop of the other family",
        ),
        (
            "match { port 80; } then { redirect 0.0.0.0; }",
            "redirect-to-ip 0.0.0.0: it is not the address of a next hop",
        ),
        (
            "match { source ::/0; } then { redirect fe80::1; }",
            "redirect-to-ip fe80::1: which link a link-local address is on is not known",
        ),
        (
            "match { port 80; } scope { interface-set transitive:input:65001:1; } then { discard; }",
            "interface-set transitive:input:65001:1: no [[interface_set]] names this group",
        ),
        (
            "match { port 80; } then { copy 2001:db8::1; }",
            "copy-to-ip 2001:db8::1: ipv4 packets have no next hop of the other family",
        ),
        (
            "match { port 80; } then { copy 224.0.0.1; redirect 192.0.2.1; }",
            "copy-to-ip 224.0.0.1: it is not the address of a next hop",
        ),
        (
            "match { port 80; } then { redirect-to-nexthop; }",
            "redirect in the form 0x0800 is not followed: that takes import.legacy_redirects and a next hop",
        ),
    ];
    for (text, reason) in rows {
        let error = lower_text(&format!("flow route {{ {text} }}")).unwrap_err();
        assert_eq!(error.0, reason, "{text}");
    }
}

#[test]
fn rates_for_each_source() {
    let limit = |unit, rate_per_sec, prefix_length, max_sources| SourceLimit {
        limit: Limit { unit, rate_per_sec },
        prefix_length,
        max_sources,
    };
    let too_long = |bits: u8, length: u8| {
        format!(
            "rate-limit 9 bytes/s for each source /{length} of 4096: an ipv{} address has no more than {bits} bits",
            if bits == 32 { 4 } else { 6 }
        )
    };
    let rows = [
        (
            "port 80; } then { rate-limit 9 per-source /32;",
            Ok(vec![limit(LimitUnit::Bytes, 9.0, 32, 4096)]),
        ),
        (
            "flow-label 0; } then { rate-limit 9 packets per-source /128 of 1048576;",
            Ok(vec![limit(LimitUnit::Packets, 9.0, 128, 1 << 20)]),
        ),
        (
            "port 80; } then { rate-limit 9 per-source /24; rate-limit 5 per-source /0;",
            Ok(vec![
                limit(LimitUnit::Bytes, 9.0, 24, 4096),
                limit(LimitUnit::Bytes, 5.0, 0, 4096),
            ]),
        ),
        (
            "port 80; } then { rate-limit 9 per-source /33;",
            Err(too_long(32, 33)),
        ),
        (
            "flow-label 0; } then { rate-limit 9 per-source /129;",
            Err(too_long(128, 129)),
        ),
        (
            "port 80; } then { rate-limit 9 per-source /24; discard;",
            Ok(Vec::new()),
        ),
        (
            "port 80; } then { rate-limit 0 per-source /33;",
            Ok(Vec::new()),
        ),
    ];
    for (text, expected) in rows {
        let lowered = lower_text(&format!("flow route {{ match {{ {text} }} }}"));
        let found = match lowered {
            Ok(lowered) => Ok(lowered.rule.action.source_limits().to_vec()),
            Err(error) => Err(error.0),
        };
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn route_targets_lead_where_the_configuration_says() {
    let redirects = Bindings::new([
        (
            RouteTarget::TwoOctetAs(65001, 100),
            RoutingInstance::Table(100),
        ),
        (
            RouteTarget::Ipv4([192, 0, 2, 1].into(), 7),
            RoutingInstance::Vrf("scrub".into()),
        ),
        (
            RouteTarget::FourOctetAs(65001, 100),
            RoutingInstance::Table(104),
        ),
        (
            RouteTarget::Ipv6("2001:db8::1".parse().unwrap(), 9),
            RoutingInstance::Table(106),
        ),
    ]);
    let instance = |instance| Some(Route::Instance(instance));
    let next_hops = |hosts: &[u8], instance| {
        let addresses = hosts.iter().map(|host| [192, 0, 2, *host].into());
        Some(Route::NextHops(addresses.collect(), instance))
    };
    let next_hop = |instance| next_hops(&[9], instance);
    let table = RoutingInstance::Table;
    let vrf = RoutingInstance::Vrf("scrub".into());
    let rows = [
        ("redirect 65001:100;", instance(table(100))),
        ("redirect 65001L:100;", instance(table(104))),
        ("redirect 192.0.2.1:7;", instance(vrf.clone())),
        ("redirect [2001:db8::1]:9;", instance(table(106))),
        ("redirect 192.0.2.9;", next_hop(None)),
        (
            "redirect 65001:100; redirect 192.0.2.9;",
            next_hop(Some(table(100))),
        ),
        (
            "redirect 192.0.2.9; redirect 192.0.2.1:7;",
            next_hop(Some(vrf.clone())),
        ),
        (
            "redirect 192.0.2.9; redirect 192.0.2.8; redirect 192.0.2.9;",
            next_hops(&[8, 9], None),
        ),
        (
            "redirect 192.0.2.9; redirect 192.0.2.1:7; redirect 192.0.2.10;",
            next_hops(&[9, 10], Some(vrf)),
        ),
        ("mark 5;", None),
    ];
    for (then, route) in rows {
        let lowered = lower_port_80(then, &redirects).unwrap();
        assert_eq!(
            lowered.rule.action.rare.redirect.as_deref(),
            route.as_ref(),
            "{then}"
        );
        assert_eq!(lowered.notes, [""; 0], "{then}");
    }
    let rows = [
        (
            "redirect 65001:9; redirect 192.0.2.9;",
            "redirect 65001:9: no [[redirect]] or [[vrf]] names this route target",
        ),
        (
            "redirect 65001:100; redirect 2001:db8::9;",
            "redirect-to-ip 2001:db8::9: ipv4 packets have no next hop of the other family",
        ),
        (
            "redirect 65001:100; redirect 224.0.0.1;",
            "redirect-to-ip 224.0.0.1: it is not the address of a next hop",
        ),
    ];
    for (then, reason) in rows {
        let refused = lower_port_80(then, &redirects).unwrap_err();
        assert_eq!(refused.0, reason, "{then}");
    }
}

/// Compiles a route for port 80 with these actions.
fn lower_port_80(then: &str, bindings: &Bindings) -> Result<Lowered, Unsupported> {
    let text = format!("flow route {{ match {{ port 80; }} then {{ {then} }} }}");
    let flow = parse_flows(&text).unwrap().remove(0);
    lower(&flow.nlri, &flow.actions.into(), RuleId(7), bindings)
}

#[test]
fn parts_without_effect_are_noted() {
    let rows = [
        (
            "port 80; } then { discard; redirect 65001:100;",
            "redirect 65001:100 has no effect: the route discards",
        ),
        (
            "port 80; } then { discard; copy 192.0.2.1;",
            "copy-to-ip 192.0.2.1 has no effect: the route discards",
        ),
        (
            "port 80; } then { redirect 192.0.2.1; redirect 2001:db8::9;",
            "redirect-to-ip 2001:db8::9 has no effect: ipv4 packets have no next hop of the other family",
        ),
        (
            "port false; } then { discard;",
            "matches nothing: no value satisfies port",
        ),
        (
            "protocol 256; } then { discard;",
            "matches nothing: no value satisfies protocol",
        ),
        (
            "tcp-flags 0; } then { discard;",
            "matches nothing: no value satisfies tcp-flags",
        ),
        (
            "fragment 0; } then { discard;",
            "matches nothing: no value satisfies fragment",
        ),
        (
            "icmp-type 8; port 80; } then { discard;",
            "matches nothing: no protocol has all these fields",
        ),
        (
            "protocol sctp; port 80; } then { discard;",
            "matches nothing: no protocol has all these fields",
        ),
        (
            "port 80; fragment is-fragment; } then { discard;",
            "matches nothing: later fragments have no ports, ICMP type or TCP flags",
        ),
    ];
    for (text, note) in rows {
        let lowered = lower_text(&format!("flow route {{ match {{ {text} }} }}")).unwrap();
        assert_eq!(lowered.notes, [note], "{text}");
    }
    let quiet =
        lower_text("flow route { match { protocol tcp; port 80; fragment !is-fragment; } }")
            .unwrap();
    assert!(quiet.notes.is_empty(), "{:?}", quiet.notes);
}

#[test]
fn a_route_becomes_one_rule() {
    let text = "flow route { match { destination 203.0.113.0/24; protocol [ =tcp =udp ]; port >=1024&<=70000; } \
        then { rate-limit 1000; rate-limit 50 packets; mark 46; action sample-terminal; } }";
    let rule = lower_text(text).unwrap().rule;
    assert_eq!(rule.id, RuleId(7));
    assert_eq!(rule.family, Family::Ipv4);
    assert_eq!(
        rule.label.to_string(),
        "destination 203.0.113.0/24; protocol [ =tcp =udp ]; port [ >=1024&<=70000 ] \
         then rate-limit 1000 bytes/s, rate-limit 50 packets/s, mark 46, sample, continue"
    );
    assert_eq!(
        rule.matches.destination,
        Some(AddressPattern::new(0xcb00_7100 << 96, 0, 24))
    );
    assert_eq!(
        rule.matches.protocol,
        Some(IntervalSet::from_ranges([(6, 6), (17, 17)]))
    );
    assert_eq!(
        rule.matches.rare.port,
        Some(IntervalSet::from_ranges([(1024, 65535)]))
    );
    assert_eq!(rule.matches.source, None);
    let limits = vec![
        Limit {
            unit: LimitUnit::Bytes,
            rate_per_sec: 1000.0,
        },
        Limit {
            unit: LimitUnit::Packets,
            rate_per_sec: 50.0,
        },
    ];
    let action = Action {
        discard: false,
        limits,
        mark_dscp: Some(46),
        sample: true,
        continue_evaluation: true,
        ..Action::default()
    };
    assert_eq!(rule.action, action);
}

#[test]
fn sets_reach_to_the_greatest_value_of_the_field() {
    let rows = [
        ("packet-length true", 65_535, 65_536),
        ("packet-length true; source ::/0", 65_575, 65_576),
        ("flow-label true", 0xf_ffff, 0x10_0000),
        ("dscp true", 63, 64),
    ];
    for (text, greatest, beyond) in rows {
        let lowered = lower_text(&format!("flow route {{ match {{ {text}; }} }}")).unwrap();
        let rare = &lowered.rule.matches.rare;
        let sets = [&rare.packet_length, &rare.flow_label, &rare.dscp];
        let set = sets.into_iter().flatten().next().unwrap();
        assert!(
            set.contains(greatest) && !set.contains(beyond),
            "{text}: {set}"
        );
    }
}

fn nlri_and_packet() -> impl Strategy<Value = (Nlri, dataplane::packet::Packet)> {
    let families = [
        (FlowFamily::Ipv4Flow, Family::Ipv4),
        (FlowFamily::Ipv6Flow, Family::Ipv6),
    ];
    proptest::sample::select(families.to_vec())
        .prop_flat_map(|(family, packets)| (arbitrary_nlri(family), arbitrary_packet(packets)))
}

/// True when IPv4 packets can be shared by these, or are not redirected.
fn can_redirect(next_hops: &[std::net::IpAddr]) -> bool {
    let mut of_family = next_hops
        .iter()
        .filter(|address| address.is_ipv4())
        .peekable();
    next_hops.is_empty()
        || of_family.peek().is_some() && of_family.all(|address| is_next_hop(*address))
}

/// True when IPv4 packets can be sent there.
fn is_next_hop(address: std::net::IpAddr) -> bool {
    address.is_ipv4() && !address.is_unspecified() && !address.is_multicast()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_rule_matches_exactly_what_the_evaluator_does((nlri, packet) in nlri_and_packet()) {
        let lowered = lower(&nlri, &Default::default(), RuleId(0), &Bindings::default()).unwrap();
        for packet in [aimed_at(&nlri, packet.clone()), packet] {
            let expected = matches(&nlri, &packet);
            prop_assert_eq!(lowered.rule.matches.contains(&packet), expected, "{:?}", packet);
            let never = lowered.notes.iter().any(|note| note.starts_with("matches nothing"));
            prop_assert!(!(never && expected), "{:?} on {:?}", lowered.notes, packet);
        }
    }

    #[test]
    fn entries_of_a_switch_match_exactly_what_the_evaluator_does((nlri, packet) in nlri_and_packet()) {
        let lowered = lower(&nlri, &Default::default(), RuleId(0), &Bindings::default()).unwrap();
        let rule = lowered.rule;
        for profile in &CUMULUS {
            let Ok(entries) = expand(&rule.matches, rule.family, &profile.language) else { continue };
            for packet in [aimed_at(&nlri, packet.clone()), packet.clone()] {
                let found = entries.iter().any(|entry| entry.contains(&packet));
                prop_assert_eq!(found, matches(&nlri, &packet), "{:?} by {:?}", packet, entries);
            }
        }
    }

    #[test]
    fn actions_are_enforced_or_refused(actions in arbitrary_actions()) {
        let nlri = parse_flows("flow route { match { port 80; } }").unwrap().remove(0).nlri;
        let restricts = !actions.interface_sets.is_empty()
            || !actions.is_discard()
                && (actions.redirect_route_target.is_some()
                    || !can_redirect(&actions.redirect_next_hops)
                    || actions.copy_to.is_some_and(|next_hop| !is_next_hop(next_hop))
                    || actions.legacy_redirect.is_some()
                    || actions.rates_per_source.iter().any(|rate| rate.prefix_length > 32));
        match lower(&nlri, &actions.clone().into(), RuleId(0), &Bindings::default()) {
            Ok(lowered) => {
                prop_assert!(!restricts);
                prop_assert_eq!(lowered.rule.action.discard, actions.is_discard());
                let next_hops = actions.redirect_next_hops.iter().filter(|address| address.is_ipv4());
                let next_hops: BTreeSet<_> = next_hops.copied().collect();
                let redirects = !next_hops.is_empty() && !actions.is_discard();
                let route = redirects.then_some(Route::NextHops(next_hops, None));
                prop_assert_eq!(lowered.rule.action.rare.redirect.as_deref(), route.as_ref());
                let copy_to = actions.copy_to.filter(|_| !actions.is_discard());
                prop_assert_eq!(lowered.rule.action.copy_to(), copy_to);
                let of_sources = match actions.is_discard() {
                    true => 0,
                    false => actions.rates_per_source.len(),
                };
                prop_assert_eq!(lowered.rule.action.source_limits().len(), of_sources);
                prop_assert_eq!(lowered.rule.action.limits, actions.limits());
            }
            Err(_) => prop_assert!(restricts),
        }
    }
}
