//! Limits for each source: what the kernel makes of them, and how long they stay.

use std::net::UdpSocket;
use std::sync::Arc;

use dataplane::backend::{Backend, BackendError};
use dataplane::desired::{Changes, Settings};
use dataplane::nft::Nftables;
use dataplane::rule::*;

use crate::actions::{acting, probe, probed};
use crate::cases::{limit, of_sources};
use crate::commit;
use crate::commits::{counting, loopback};
use crate::namespace::{in_namespace, listing, run};
use crate::rules::{matches, prefix, rule, set};

/// A packet a day or so: what passes in a test is what buckets hold at first, which is five packets.
const HARDLY_ANY: f64 = 1e-5;

/// Five packets for each source of this prefix length, for so many sources.
fn five_each(prefix_length: u8, max_sources: u32) -> Action {
    let limit = limit(LimitUnit::Packets, HARDLY_ANY);
    of_sources(vec![SourceLimit {
        limit,
        prefix_length,
        max_sources,
    }])
}

/// Sends datagrams to port 1001 from an address; how many have come through since the last call.
fn passed(source: &str, count: usize) -> u64 {
    let before: u64 = probed().iter().sum();
    let destination = match source.contains(':') {
        true => "2001:db8::1",
        false => "127.0.0.1",
    };
    let socket = UdpSocket::bind((source, 0)).unwrap();
    for _ in 0..count {
        // An error tells of an earlier datagram that nobody received.
        let _ = socket.send_to(&[0; 72], (destination, 1001));
    }
    probed().iter().sum::<u64>() - before
}

#[test]
fn each_source_has_a_bucket_and_those_without_room_share_one() {
    in_namespace(|| {
        let mut backend = Nftables::new();
        backend.start(&loopback(), &[]).unwrap();
        probe(&[""]);
        commit(&mut backend, &[acting(1, five_each(24, 2))]);
        let rows = [
            ("a bucket", "127.0.0.1", 5),
            ("one prefix is one source", "127.0.0.2", 0),
            ("another source", "127.0.1.2", 5),
            ("over its limit", "127.0.1.2", 0),
            ("no room for the third", "127.0.2.2", 5),
            ("nor for the fourth, which shares", "127.0.3.2", 0),
            ("the first is still known", "127.0.0.3", 0),
        ];
        for (name, source, expected) in rows {
            assert_eq!(passed(source, 20), expected, "{name}\n{}", listing());
        }
    });
}

#[test]
fn sources_of_ipv6() {
    in_namespace(|| {
        let settings = loopback();
        let addresses = [
            "2001:db8::1",
            "2001:db8::2",
            "2001:db8:1::1",
            "2001:db8:2::1",
        ];
        for address in addresses {
            let address = format!("{address}/128");
            run("ip", &["addr", "add", &address, "dev", "lo", "nodad"]);
        }
        let mut backend = Nftables::new();
        backend.start(&settings, &[]).unwrap();
        run(
            "nft",
            &[
                "table ip6 probe { chain behind { type filter hook prerouting priority 0; \
               udp dport 1001 counter; }; }",
            ],
        );
        let passed = |source: &str| {
            let count = || {
                let listing = run("nft", &["list", "table", "ip6", "probe"]);
                let (_, rest) = listing.split_once("counter packets ").unwrap();
                rest.split(' ').next().unwrap().parse::<u64>().unwrap()
            };
            let before = count();
            let socket = UdpSocket::bind((source, 0)).unwrap();
            for _ in 0..20 {
                let _ = socket.send_to(&[0; 72], ("2001:db8::1", 1001));
            }
            count() - before
        };
        let limited = |prefix_length| {
            let matches = Match {
                destination: prefix("2001:db8::1/128"),
                rare: RareFields {
                    port: set("1001"),
                    ..RareFields::default()
                }
                .into(),
                ..Match::default()
            };
            Arc::new(Rule {
                action: five_each(prefix_length, 2),
                ..rule(1, Family::Ipv6, matches)
            })
        };
        let rows: &[(u8, [u64; 4])] = &[
            (48, [5, 0, 5, 5]),
            (128, [5, 5, 5, 0]),
            (0, [5, 0, 0, 0]),
            (33, [5, 0, 0, 0]),
        ];
        for (prefix_length, expected) in rows {
            commit(&mut backend, &[limited(*prefix_length)]);
            assert_eq!(addresses.map(passed), *expected, "/{prefix_length}");
        }
        backend.stop().unwrap();
    });
}

#[test]
fn what_a_source_has_too_much_is_not_charged_to_all() {
    in_namespace(|| {
        let mut backend = Nftables::new();
        backend.start(&loopback(), &[]).unwrap();
        probe(&[""]);
        let both = Action {
            limits: vec![limit(LimitUnit::Packets, 0.8e3 / 604_800.0)],
            ..five_each(32, 4096)
        };
        // More than one nft rule for each class: each packet is charged once all the same.
        let mut either = Rule::clone(&acting(1, both));
        either.matches.destination_port = None;
        either.matches.rare.port = set("1001");
        commit(&mut backend, &[Arc::new(either)]);
        let sources = ["127.0.0.1", "127.0.0.2", "127.0.0.3"];
        assert_eq!(sources.map(|source| passed(source, 3)), [3, 2, 0]);
        commit(&mut backend, &[acting(1, five_each(32, 4096))]);
        let rest = sources.map(|source| passed(source, 9));
        assert_eq!(rest, [2, 2, 2], "three were charged to each, passed or not");
        let discard = of_sources(vec![SourceLimit {
            limit: limit(LimitUnit::Bytes, 1e-30),
            prefix_length: 24,
            max_sources: 4096,
        }]);
        commit(&mut backend, &[acting(1, discard)]);
        assert_eq!(passed("127.0.0.9", 9), 0, "less than the kernel counts");
    });
}

#[test]
fn buckets_stay_until_their_limit_changes() {
    in_namespace(|| {
        let settings = loopback();
        let mut backend = Nftables::new();
        backend.start(&settings, &[]).unwrap();
        probe(&[""]);
        let limited = || acting(1, five_each(32, 4096));
        commit(&mut backend, &[limited()]);
        assert_eq!(passed("127.0.0.2", 9), 5);
        commit(&mut backend, &[counting(2, "1002")]);
        assert_eq!(passed("127.0.0.2", 9), 0, "another rule came");
        let mut going_on = Rule::clone(&limited());
        going_on.action.continue_evaluation = true;
        commit(&mut backend, &[Arc::new(going_on)]);
        assert_eq!(
            passed("127.0.0.2", 9),
            0,
            "the rule does something else as well"
        );
        run(
            "nft",
            &["add", "rule", "inet", "flowacl", "prerouting", "accept"],
        );
        assert!(backend.audit().unwrap().is_some());
        assert_eq!(passed("127.0.0.2", 9), 0, "others changed the table");
        drop(backend);
        let mut backend = Nftables::new();
        backend.resume(&settings, &[], &[limited()]).unwrap();
        assert!(backend.audit().unwrap().is_none(), "all is as it was made");
        assert_eq!(passed("127.0.0.2", 9), 0, "another process took over");
        let set = ["delete", "set", "inet", "flowacl", "r1_packets_per_32"];
        run(
            "nft",
            &["flush", "chain", "inet", "flowacl", "r1_packets_per_32"],
        );
        run("nft", &set);
        assert!(backend.audit().unwrap().is_some());
        assert!(backend.audit().unwrap().is_none());
        assert_eq!(
            passed("127.0.0.2", 9),
            5,
            "the table was deleted, and is made again"
        );
        let generous = "add element inet flowacl r1_packets_per_32 \
                        { 127.0.0.9 timeout 1h, 127.0.0.8 limit rate 1000000/second }";
        run("nft", &[generous]);
        assert_eq!(passed("127.0.0.8", 99), 99);
        assert!(backend.audit().unwrap().is_some());
        assert!(backend.audit().unwrap().is_none());
        assert!(!listing().contains("127.0.0.9"), "{}", listing());
        assert_eq!(passed("127.0.0.8", 99), 5, "what others put there is gone");
        assert_eq!(passed("127.0.0.2", 9), 0, "what packets put there is not");
        run("nft", &["flush", "table", "inet", "flowacl"]);
        assert!(backend.audit().unwrap().is_some());
        assert_eq!(passed("127.0.0.2", 9), 0, "all rules were deleted");
        commit(&mut backend, &[acting(1, five_each(24, 4096))]);
        assert_eq!(passed("127.0.0.2", 9), 5, "another length");
        assert!(!listing().contains("per_32"), "{}", listing());
        commit(&mut backend, &[acting(1, five_each(24, 8192))]);
        assert_eq!(passed("127.0.0.2", 9), 5, "another size");
        assert!(listing().contains("r1_packets_per_24_3"), "{}", listing());
        backend
            .resume(&settings, &[], &[acting(1, five_each(24, 8192))])
            .unwrap();
        assert_eq!(passed("127.0.0.2", 9), 0, "taken over by its later name");
        backend
            .commit(&Changes {
                put: Vec::new(),
                remove: vec![(Family::Ipv4, limited().order.clone())],
            })
            .unwrap();
        assert!(!listing().contains("per_24"), "{}", listing());
        assert_eq!(passed("127.0.0.2", 9), 9);
    });
}

#[test]
fn a_source_has_no_other_rate_whenever_others_have_put_it_there() {
    in_namespace(|| {
        let settings = loopback();
        let mut backend = Nftables::new();
        backend.start(&settings, &[]).unwrap();
        probe(&[""]);
        let limited = || acting(1, five_each(32, 4096));
        commit(&mut backend, &[limited()]);
        assert_eq!(passed("127.0.0.2", 9), 5);
        let put = |source: &str| {
            let element = format!("{{ {source} limit rate 1000000/second }}");
            let set = ["add", "element", "inet", "flowacl", "r1_packets_per_32"];
            run("nft", &[&set[..], &[&element]].concat());
            assert_eq!(passed(source, 99), 99, "{source}");
        };
        let is_gone = |source: &str, when: &str| {
            assert_eq!(passed(source, 99), 5, "{when}");
            assert_eq!(passed("127.0.0.2", 9), 0, "{when}: what packets put there");
        };
        // Nobody has looked at the table since the commit.
        put("127.0.0.3");
        assert!(backend.audit().unwrap().is_some());
        is_gone("127.0.0.3", "after a commit");
        assert!(backend.audit().unwrap().is_none());
        put("127.0.0.4");
        let rule = ["add", "rule", "inet", "flowacl", "prerouting", "accept"];
        run("nft", &rule);
        assert!(backend.audit().unwrap().is_some());
        is_gone("127.0.0.4", "with another change");
        drop(backend);
        put("127.0.0.5");
        let mut backend = Nftables::new();
        backend.resume(&settings, &[], &[limited()]).unwrap();
        is_gone("127.0.0.5", "between two processes");
        assert!(backend.audit().unwrap().is_none());
    });
}

#[test]
fn rules_wait_for_room_for_their_sources() {
    in_namespace(|| {
        let settings = Settings {
            max_sources: 10_000,
            ..loopback()
        };
        let mut backend = Nftables::new();
        backend.start(&settings, &[]).unwrap();
        let changes = |put: Vec<Arc<Rule>>| Changes {
            put,
            remove: Vec::new(),
        };
        let both = changes(vec![
            acting(1, five_each(24, 8192)),
            acting(2, five_each(24, 4096)),
        ]);
        let refused = match backend.commit(&both) {
            Err(BackendError::NoRoom(refused)) => refused,
            other => panic!("{other:?}"),
        };
        let reason = "rate-limit for each source: it may have 4096 sources, and 1808 of \
                      dataplane.max_sources = 10000 are left";
        assert_eq!(refused, [(RuleId(2), reason.into())]);
        assert_eq!(backend.without_room(&settings, &both.put), refused);
        assert!(!listing().contains("r1"), "nothing of it is in force");
        backend
            .commit(&changes(vec![acting(1, five_each(24, 8192))]))
            .unwrap();
        let described = backend.describe().unwrap();
        let row = described
            .iter()
            .find(|(label, _)| label.contains("sources"));
        assert_eq!(row.unwrap().1, "up to 8192 of 10000");
        let moves = Changes {
            put: vec![acting(2, five_each(24, 4096))],
            remove: vec![(Family::Ipv4, both.put[0].order.clone())],
        };
        backend.commit(&moves).unwrap();
        let less = Settings {
            max_sources: 10,
            ..settings
        };
        backend.reconfigure(&less, &[]).unwrap();
        commit(
            &mut backend,
            &[acting(2, five_each(24, 4096)), counting(3, "1003")],
        );
        assert!(listing().contains("r2_packets_per_24"), "it stays");
    });
}

#[test]
fn any_match_can_have_limits_for_each_source() {
    in_namespace(|| {
        let mut backend = Nftables::new();
        backend.start(&Settings::default(), &[]).unwrap();
        let before = listing();
        let rules: Vec<Arc<Rule>> = Family::ALL
            .into_iter()
            .flat_map(|family| matches(family).into_iter().map(move |row| (family, row.1)))
            .zip(1..)
            .map(|((family, matches), id)| {
                Arc::new(Rule {
                    action: five_each(24, 100),
                    ..rule(id, family, matches)
                })
            })
            .collect();
        commit(&mut backend, &rules);
        assert_eq!(backend.counters().unwrap().len(), rules.len());
        assert!(backend.audit().unwrap().is_none());
        let remove = rules.iter().map(|rule| (rule.family, rule.order.clone()));
        let changes = Changes {
            put: Vec::new(),
            remove: remove.collect(),
        };
        backend.commit(&changes).unwrap();
        assert_eq!(listing(), before, "nothing is left");
    });
}
