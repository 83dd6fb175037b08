//! Many rules, and little room to send them.

use std::sync::Arc;
use std::time::Instant;

use dataplane::backend::Backend;
use dataplane::desired::{Changes, Settings};
use dataplane::nft::Nftables;
use dataplane::rule::*;

use crate::namespace::{in_namespace, in_user_namespace, listing};
use crate::{commit, rules};

/// Rules of a usual kind: one host, one protocol, one port each.
fn many(count: u64) -> Vec<Arc<Rule>> {
    let rule = |id: u64| {
        let address = 0xcb00_0000u128 + u128::from(id);
        let matches = Match {
            destination: Some(AddressPattern::new(address << 96, 0, 32)),
            protocol: rules::set("17"),
            source_port: rules::set("123"),
            rare: RareFields {
                packet_length: rules::set("36-76,468"),
                ..RareFields::default()
            }
            .into(),
            ..Match::default()
        };
        let mut rule = rules::rule(id, Family::Ipv4, matches);
        if id.is_multiple_of(2) {
            let limit = Limit {
                unit: LimitUnit::Bytes,
                rate_per_sec: 125_000.0,
            };
            rule.action = Action {
                limits: vec![limit],
                ..Action::default()
            };
        }
        Arc::new(rule)
    };
    (1..=count).map(rule).collect()
}

/// Installs many rules, changes one, and removes all.
fn install_change_remove(count: u64) {
    let rules = many(count);
    let mut backend = Nftables::new();
    backend.start(&Settings::default(), &[]).unwrap();
    let mut timed = |what: &str, changes: Changes| {
        let begin = Instant::now();
        backend.commit(&changes).unwrap();
        println!("{what}: {:?}", begin.elapsed());
        let begin = Instant::now();
        let counters = backend.counters().unwrap().len();
        println!("  {counters} counters read: {:?}", begin.elapsed());
        counters
    };
    let all = Changes {
        put: rules.clone(),
        remove: Vec::new(),
    };
    assert_eq!(timed(&format!("{count} rules put"), all), rules.len());
    let middle = &rules[rules.len() / 2];
    let key = (Family::Ipv4, middle.order.clone());
    let one = Changes {
        put: Vec::new(),
        remove: vec![key],
    };
    assert_eq!(timed("one removed", one), rules.len() - 1);
    let one = Changes {
        put: vec![middle.clone()],
        remove: Vec::new(),
    };
    assert_eq!(timed("one put", one), rules.len());
    let keys = rules
        .iter()
        .map(|rule| (Family::Ipv4, rule.order.clone()))
        .collect();
    assert_eq!(
        timed(
            "all removed",
            Changes {
                put: Vec::new(),
                remove: keys
            }
        ),
        0
    );
    assert!(!listing().contains("counter"), "nothing is left behind");
    backend.stop().unwrap();
}

#[test]
fn ten_thousand_rules_are_installed_by_one_commit() {
    in_namespace(|| install_change_remove(10_000));
}

#[test]
fn rules_beyond_the_send_buffer_are_installed_in_parts() {
    // Only the initial user namespace may have a send buffer for this many.
    in_user_namespace(
        "scale::rules_beyond_the_send_buffer_are_installed_in_parts",
        || {
            install_change_remove(15_000);
            let mut backend = Nftables::new();
            backend.start(&Settings::default(), &[]).unwrap();
            let rules = many(15_000);
            commit(&mut backend, &rules);
            let change = |rule: &Arc<Rule>| {
                let mut rule = Rule::clone(rule);
                rule.action = Action {
                    discard: true,
                    ..Action::default()
                };
                Arc::new(rule)
            };
            let changed: Vec<_> = rules.iter().map(change).collect();
            commit(&mut backend, &changed);
            let listing = listing();
            assert!(!listing.contains("limit r"), "limits are gone");
            // In both classes: none needs the transport header but for its ports.
            assert_eq!(listing.matches(" drop comment").count(), rules.len());
        },
    );
}

/// Rules of one tier, so that one map has them.
fn of_one_tier(count: u64) -> Vec<Arc<Rule>> {
    let rule = |rule: &Arc<Rule>| {
        let mut rule = Rule::clone(rule);
        rule.tier = [1].into();
        rule.matches.rare = RareFields::default().into();
        Arc::new(rule)
    };
    many(count).iter().map(rule).collect()
}

#[test]
fn maps_grow_with_their_rules_and_shed_those_that_go() {
    in_namespace(|| {
        let rules = of_one_tier(300);
        let mut backend = Nftables::new();
        backend.start(&Settings::default(), &[]).unwrap();
        let exchange = |backend: &mut Nftables, put: &[Arc<Rule>], remove: &[Arc<Rule>]| {
            let keys = remove.iter().map(|rule| (rule.family, rule.order.clone()));
            backend
                .commit(&Changes {
                    put: put.to_vec(),
                    remove: keys.collect(),
                })
                .unwrap();
        };
        let maps = || {
            let sizes = ["", "-of-1024"].map(|size| format!("map ipv4-1-counters{size} {{"));
            sizes.map(|map| listing().contains(&map))
        };
        exchange(&mut backend, &rules[..200], &[]);
        assert_eq!(maps(), [true, false]);
        // What goes takes up room until the commit is over: 300 for a moment.
        exchange(&mut backend, &rules[200..300], &rules[..100]);
        assert_eq!(
            maps(),
            [true, true],
            "packets on their way find the old one"
        );
        for rule in rules[..100].chunks(1) {
            exchange(&mut backend, rule, &[]);
        }
        assert_eq!(maps(), [false, true]);
        assert!(backend.audit().unwrap().is_none(), "nothing to repair");
        assert_eq!(backend.counters().unwrap().len(), 300);
        exchange(&mut backend, &[], &rules);
        assert!(!listing().contains("ipv4-1-counters"), "{}", listing());
        backend.stop().unwrap();
    });
}

/// Networks of destinations, each a /16 of its own: the kernel is slow to add to many of two octets.
#[test]
fn many_networks_are_looked_up_under_another_key() {
    in_namespace(|| {
        let network = |rule: &Arc<Rule>| {
            let mut rule = Rule::clone(rule);
            let address = u128::from(rule.id.0) << 112;
            rule.matches.destination = Some(AddressPattern::new(address, 0, 24));
            Arc::new(rule)
        };
        let networks: Vec<Arc<Rule>> = of_one_tier(4_097).iter().map(network).collect();
        let (last, others) = networks.split_last().expect("there are some");
        let mut backend = Nftables::new();
        backend.start(&Settings::default(), &[]).unwrap();
        let put = |backend: &mut Nftables, put: &[Arc<Rule>]| {
            let changes = Changes {
                put: put.to_vec(),
                remove: Vec::new(),
            };
            backend.commit(&changes).unwrap();
            assert!(backend.audit().unwrap().is_none(), "nothing to repair");
        };
        let is_listed = |text: &str| listing().split('\n').any(|line| line.trim() == text);
        put(&mut backend, others);
        assert!(is_listed("@nh,128,16 @ipv4-to jump ipv4-to"));
        put(&mut backend, std::slice::from_ref(last));
        let wider = "ip daddr & 255.255.0.0 == @ipv4-to-of-16384 jump ipv4-to";
        assert!(is_listed(wider));
        let remove = networks
            .iter()
            .map(|rule| (rule.family, rule.order.clone()));
        let changes = Changes {
            put: Vec::new(),
            remove: remove.collect(),
        };
        backend.commit(&changes).unwrap();
        assert!(!listing().contains("@ipv4-to"), "{}", listing());
        backend.stop().unwrap();
    });
}
