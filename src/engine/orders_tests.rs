use std::time::Duration;

use dataplane::guard::Guard;
use dataplane::packet::Packet;
use dataplane::rule::{AddressPattern, Family};

use super::*;
use crate::engine::Event;
use crate::engine::policy::ImportPolicy;
use crate::engine::protection::Protection;
use crate::engine::status::{RouteState, RuleStatus};
use crate::engine::tests::{Bench, DISCARD, host, port};

fn order(bench: &mut Bench, name: &str, enabled: bool) {
    let nlri = bench.engine.find(name).unwrap();
    let now = bench.now;
    bench.engine.step(now, Event::Ordered { nlri, enabled });
}

fn rules(bench: &Bench) -> Vec<RuleStatus> {
    bench.engine.rules(bench.now)
}

/// A bench with two rules of one neighbor in force.
fn two_rules() -> Bench {
    let mut bench = Bench::new();
    bench.up(1, ImportPolicy::default());
    bench.announce(1, &[host(5), port(80)], &[DISCARD]);
    assert_eq!(bench.commit(Ok(())), Some((2, 0)));
    bench
}

#[test]
fn a_disabled_rule_stays_out_whatever_neighbors_do() {
    use RouteState::{Installed, Rejected};
    let mut bench = two_rules();
    order(&mut bench, "destination 203.0.113.5/32;", false);
    let reason = |bench: &Bench| rules(bench)[0].reason.clone().unwrap();
    assert!(
        reason(&bench).contains("still in force"),
        "{}",
        reason(&bench)
    );
    assert_eq!(bench.commit(Ok(())), Some((0, 1)));
    assert_eq!(bench.states(1), [Rejected, Installed]);
    assert!(
        reason(&bench).contains("disabled by the operator"),
        "{}",
        reason(&bench)
    );
    assert!(
        !reason(&bench).contains("still in force"),
        "{}",
        reason(&bench)
    );

    bench.withdraw(1, &[host(5)]);
    bench.announce(1, &[host(5)], &[DISCARD]);
    bench.up(2, ImportPolicy::default());
    bench.announce(2, &[host(5)], &[DISCARD]);
    assert_eq!(bench.commit(Ok(())), None);
    let disabled = bench.engine.disabled();
    assert_eq!(disabled.len(), 1);
    assert_eq!(disabled[0].parse(), Ok(host(5)));

    order(&mut bench, &hex::encode(host(5).encoded()), true);
    assert_eq!(bench.commit(Ok(())), Some((1, 0)));
    assert_eq!(bench.states(1), [Installed, Installed]);
    assert_eq!(bench.engine.disabled(), []);
}

#[test]
fn an_order_goes_before_what_neighbors_change() {
    let mut bench = two_rules();
    let hosts: Vec<_> = (10..200).map(host).collect();
    bench.announce(1, &hosts, &[DISCARD]);
    // A refusal has the commit cut in half: the order is in the first.
    bench.commit(Err(dataplane::backend::BackendError::Refused {
        rule: None,
        reason: "no".into(),
    }));
    order(&mut bench, &hex::encode(port(80).encoded()), false);
    let changes = bench.engine.poll_commit(bench.now).unwrap();
    assert_eq!(changes.remove.len(), 1);
    assert!(changes.put.len() < hosts.len());
}

#[test]
fn rules_are_found_by_every_name() {
    let mut bench = two_rules();
    let id = rules(&bench)[0].id.clone().unwrap();
    let flow = rules(&bench)[0].flow.clone();
    let nlri = rules(&bench)[0].nlri.clone();
    for name in [
        id.as_str(),
        &flow,
        &nlri,
        "destination 203.0.113.5/32;",
        "ipv4-flow destination 203.0.113.5/32;",
    ] {
        assert_eq!(bench.engine.find(name), Ok(host(5)), "{name}");
    }
    let family = format!("ipv4-flow {}", hex::encode(host(9).encoded()));
    assert_eq!(bench.engine.find(&family), Ok(host(9)), "not announced");

    type Check = fn(&FindError) -> bool;
    let rows: [(&str, Check); 5] = [
        ("r999", |error| matches!(error, FindError::NoSuchId(_))),
        ("nonsense", |error| {
            matches!(error, FindError::Unreadable(_))
        }),
        ("", |error| matches!(error, FindError::Unreadable(_))),
        ("060120cb007163", |error| {
            matches!(error, FindError::NotAnnounced(_))
        }),
        ("destination 203.0.113.99/32;", |error| {
            matches!(error, FindError::NotAnnounced(_))
        }),
    ];
    for (name, check) in rows {
        let error = bench.engine.find(name).unwrap_err();
        assert!(check(&error), "{name}: {error}");
    }
    // The same octets in two families.
    let protocol = |family| Nlri::decode(family, &[3, 0x81, 17]).unwrap();
    let both = [FlowFamily::Ipv4Flow, FlowFamily::Ipv6Flow].map(protocol);
    bench.announce(1, &both, &[DISCARD]);
    let error = bench.engine.find("03038111").unwrap_err();
    assert!(matches!(error, FindError::Ambiguous(_)), "{error}");
    assert_eq!(bench.engine.find("ipv6-flow 03038111"), Ok(both[1].clone()));
}

#[test]
fn a_panic_is_told_of_every_rule_and_changes_none() {
    use RouteState::{Installed, Rejected};
    let mut bench = two_rules();
    let now = bench.now;
    bench.engine.step(now, Event::Suspended(true));
    assert!(bench.engine.is_suspended());
    assert_eq!(bench.states(1), [Rejected, Rejected]);
    assert!(rules(&bench)[0].reason.as_ref().unwrap().contains("panic"));
    assert_eq!(bench.commit(Ok(())), None);
    // The packet filter keeps up, for when the panic ends.
    bench.announce(1, &[host(6)], &[DISCARD]);
    assert_eq!(bench.commit(Ok(())), Some((1, 0)));
    bench.now += Duration::from_secs(1);
    bench.engine.step(now, Event::Suspended(false));
    assert_eq!(bench.states(1), [Installed, Installed, Installed]);
}

#[test]
fn a_rule_that_would_have_hit_protected_traffic_says_so() {
    let mut bench = two_rules();
    let remote = AddressPattern::new(0, 0, 0);
    let protection = Protection {
        guards: vec![
            Guard::session(Family::Ipv4, remote, 179, "BGP session with 192.0.2.1"),
            Guard::session(Family::Ipv4, remote, 1790, "BGP session with 192.0.2.1"),
        ],
        local_addresses: vec![(Family::Ipv4, 0xcb00_7105 << 96)],
    };
    let now = bench.now;
    bench.engine.step(now, Event::ProtectionChanged(protection));
    let protected: Vec<_> = rules(&bench)
        .into_iter()
        .map(|rule| rule.protected)
        .collect();
    // To the address of this machine; and port 80 of any, which may be the other port of the session.
    let session = vec!["BGP session with 192.0.2.1".to_owned()];
    assert_eq!(protected, [session.clone(), session]);
    let packet = Packet::from_text("tcp 192.0.2.1:179 > 203.0.113.5:1024").unwrap();
    let explanation = bench.engine.explain(&packet);
    assert_eq!(
        explanation.protected.as_deref(),
        Some("BGP session with 192.0.2.1")
    );
    assert_eq!(explanation.verdict, "accept");
}
