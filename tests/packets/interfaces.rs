//! Rules for groups of interfaces: they apply to what comes in there, and to nothing else.

use std::sync::Arc;

use dataplane::desired::InterfacePattern;
use dataplane::packet::Packet;
use dataplane::rule::{Rule, RuleId};
use flowacl::engine::bindings::Bindings;
use flowacl::engine::lower::lower;
use flowacl::lab::Lab;
use flowacl::lab::packet::PacketBuilder;

use crate::flows::flow;
use crate::network::{Fate, Trial, available, settings};

/// Groups with the interface that packets come in by in some of them.
fn bindings() -> Bindings {
    let groups: [(&str, &[&str]); 5] = [
        ("65001:1", &["upstream"]),
        ("65001:2", &["customer", "fence", "eth*"]),
        ("65001:3", &["customer", "up*"]),
        ("65001:4", &["*", "upstream", "up*", "lo*"]),
        ("65001:5", &["customer", "upstream"]),
    ];
    Bindings::default().with_groups(groups.map(|(group, names)| {
        let names = names
            .iter()
            .map(|name| InterfacePattern::new(name).unwrap());
        (group.parse().unwrap(), names.collect())
    }))
}

/// The rules for flows: groups, match and actions.
fn rules(flows: &[(&str, &str, &str)]) -> Vec<Arc<Rule>> {
    let rule = |((groups, matches, then), id): (&(&str, &str, &str), u64)| {
        let scope = match *groups {
            "" => String::new(),
            groups => format!("scope {{ interface-set [ {groups} ]; }}"),
        };
        let text = format!("flow route {{ match {{ {matches} }} {scope} then {{ {then} }} }}");
        let flow = flow(&text);
        let lowered = lower(&flow.nlri, &flow.actions.into(), RuleId(id), &bindings());
        Arc::new(lowered.unwrap().rule)
    };
    flows.iter().zip(1..).map(rule).collect()
}

#[test]
fn rules_apply_to_the_interfaces_of_their_groups() {
    let Some(lab) = available(Lab::routed) else {
        return;
    };
    let mut trial = Trial::start(lab, settings(), &[]);
    const HERE: &str = "transitive:input:65001:1";
    const ELSEWHERE: &str = "transitive:input:65001:2";
    const BOTH: &str = "transitive:input:65001:1 transitive:input:65001:2";
    const HOST: &str = "destination 203.0.113.5/32;";
    const NET: &str = "destination 203.0.113.0/24;";
    const HOST_V6: &str = "destination 2001:db8::5/128;";
    const V4: &str = "udp 192.0.2.1:9 > 203.0.113.5:53 len 100 dscp 5";
    const LATER: &str = "proto 17 192.0.2.1 > 203.0.113.5 len 100 frag last dscp 5";
    const V6: &str = "udp [2001:db8::1]:9 > [2001:db8::5]:53 len 100 dscp 5";
    const PASSED: Fate = Fate::Passed(5);
    const MARKED: Fate = Fate::Passed(10);
    type Flows = &'static [(&'static str, &'static str, &'static str)];
    let rows: &[(&str, Flows, &str, Fate)] = &[
        ("no group", &[("", HOST, "discard;")], V4, Fate::Dropped),
        ("here", &[(HERE, HOST, "discard;")], V4, Fate::Dropped),
        (
            "here, a later fragment",
            &[(HERE, HOST, "discard;")],
            LATER,
            Fate::Dropped,
        ),
        (
            "here, in IPv6",
            &[(HERE, HOST_V6, "discard;")],
            V6,
            Fate::Dropped,
        ),
        ("elsewhere", &[(ELSEWHERE, HOST, "discard;")], V4, PASSED),
        (
            "elsewhere, a later fragment",
            &[(ELSEWHERE, HOST, "discard;")],
            LATER,
            PASSED,
        ),
        (
            "elsewhere, in IPv6",
            &[(ELSEWHERE, HOST_V6, "discard;")],
            V6,
            PASSED,
        ),
        (
            "the union of both",
            &[(BOTH, HOST, "discard;")],
            V4,
            Fate::Dropped,
        ),
        (
            "the beginning of a name",
            &[("transitive:input:65001:3", HOST, "discard;")],
            V4,
            Fate::Dropped,
        ),
        (
            "patterns that include each other",
            &[("transitive:input:65001:4", HOST, "mark 10;")],
            V4,
            MARKED,
        ),
        (
            "one of several names",
            &[("transitive:input:65001:5", HOST, "mark 10;")],
            V4,
            MARKED,
        ),
        (
            "a rule that applies elsewhere shields nothing",
            &[(ELSEWHERE, HOST, "accept;"), ("", NET, "discard;")],
            V4,
            Fate::Dropped,
        ),
        (
            "one that applies here does",
            &[(HERE, HOST, "accept;"), ("", NET, "discard;")],
            V4,
            PASSED,
        ),
        (
            "everything that comes in here",
            &[(HERE, "source 0.0.0.0/0;", "discard;")],
            V4,
            Fate::Dropped,
        ),
        (
            "either port, counted once",
            &[("transitive:input:65001:3", "port [ =53 =9 ];", "mark 10;")],
            V4,
            MARKED,
        ),
    ];
    for (name, flows, text, expected) in rows {
        trial.install(&rules(flows));
        let packet = Packet::from_text(text).unwrap();
        let packets = vec![PacketBuilder::of(&packet).unwrap().build()];
        let outcome = trial.send(&packets);
        assert_eq!(outcome.sim, [*expected], "sim, {name}");
        assert_eq!(outcome.kernel, [*expected], "kernel, {name}");
        assert_eq!(outcome.kernel_counters, outcome.sim_counters, "{name}");
    }
}
