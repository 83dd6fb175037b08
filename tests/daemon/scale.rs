//! Many routes, and many strangers: memory, order and answers stay what they were.

use super::*;
use crate::waiting::eventually;
use flowacl::wire::attribute::{AsPathSegment, AsPathSegmentKind, Attributes, Origin};
use flowacl::wire::community::ExtendedCommunity;
use flowacl::wire::nlri::Nlri;
use flowacl::wire::path::PathOf;
use flowacl::wire::update::{DecodeContext, Update};

/// What a rule may cost, in octets.
const OCTETS_PER_RULE: u64 = 1024;

/// What a daemon may need beside its rules, in KiB.
const BASE_KIB: u64 = 8 * 1024;

/// Longest message of the controller.
const MAX_MESSAGE: usize = 4096;

/// The number in an environment variable, to test on a greater scale than by default.
pub(super) fn scale(variable: &str, default: u32) -> u32 {
    let number = std::env::var(variable).ok();
    number.map_or(default, |number| number.parse().expect(variable))
}

/// The rule for a host, a protocol and a port.
pub(super) fn rule(n: u32) -> Nlri {
    let [_, a, b, c] = n.to_be_bytes();
    let [high, low] = (1_024 + (n % 50_000) as u16).to_be_bytes();
    let protocol = if n.is_multiple_of(2) { 6 } else { 17 };
    let octets = [1, 32, 10, a, b, c, 3, 0x81, protocol, 5, 0x91, high, low];
    Nlri::decode(FlowFamily::Ipv4Flow, &octets).unwrap()
}

impl RawController {
    /// Sends routes, so many in an UPDATE.
    pub(super) fn send(&mut self, routes: &[Nlri], in_each: usize, withdraw: bool) {
        let context = DecodeContext {
            four_octet_as: true,
            ibgp: false,
            unicast: Vec::new(),
            add_path: Vec::new(),
            families: vec![FlowFamily::Ipv4Flow],
        };
        let segment = AsPathSegment {
            kind: AsPathSegmentKind::Sequence,
            asns: vec![65070],
        };
        let attributes = Attributes {
            origin: Some(Origin::Igp),
            as_path: vec![segment],
            extended_communities: vec![ExtendedCommunity([0x80, 6, 0, 0, 0, 0, 0, 0])],
            ..Attributes::default()
        };
        for routes in routes.chunks(in_each) {
            let routes = routes.iter().cloned().map(PathOf::from).collect();
            let update = match withdraw {
                true => Update {
                    withdrawn: routes,
                    ..Update::default()
                },
                false => Update {
                    announced: routes,
                    attributes: attributes.clone(),
                    ..Update::default()
                },
            };
            let (messages, left_out) = update.encode(&context, MAX_MESSAGE);
            assert!(left_out.is_empty());
            self.0.write_all(&messages.concat()).unwrap();
        }
    }
}

impl Daemon {
    /// Memory that the daemon has asked for, in KiB: without the pages of its program, of which a debug build has many.
    pub(super) fn rss_kib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.program.id());
        let status = fs::read_to_string(path).unwrap();
        let mut lines = status.lines();
        let line = lines
            .find_map(|line| line.strip_prefix("RssAnon:"))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Waits until so many routes are kept and so many of them installed.
    fn has_counts(&self, received: u32, installed: u32) {
        eventually("the counts are right", || {
            let routes = &self.show("summary");
            match routes["received"] == received && routes["installed"] == installed {
                true => Ok(()),
                false => Err(format!("{routes}")),
            }
        });
    }
}

#[test]
fn a_rule_costs_little_and_bursts_leave_nothing_behind() {
    let rules = scale("FLOWACL_TEST_RULES", 20_000);
    for (name, in_each) in [("an UPDATE for each", 1), ("packed", 200)] {
        let daemon = Daemon::start(ANYBODY);
        let empty = daemon.rss_kib();
        let mut controller = RawController::connect(daemon.port);
        let routes: Vec<Nlri> = (0..rules).map(rule).collect();
        controller.send(&routes, in_each, false);
        daemon.has_counts(rules, rules);
        let first = daemon.rss_kib();
        let each = (first - empty) * 1024 / u64::from(rules);
        println!("{name}: {empty} KiB, with {rules} rules {first} KiB: {each} octets each");
        assert!(each <= OCTETS_PER_RULE, "{name}: {each} octets a rule");
        for _ in 0..3 {
            controller.send(&routes, in_each, true);
            daemon.has_counts(0, 0);
            controller.send(&routes, in_each, false);
            daemon.has_counts(rules, rules);
        }
        let last = daemon.rss_kib();
        println!("{name}: {last} KiB after three more bursts");
        assert!(last * 10 <= first * 13, "{name}: {first}, then {last} KiB");
        assert_eq!(daemon.neighbor("127.0.0.1").unwrap()["ups"], 1);
    }
}

#[test]
fn routes_beyond_the_limit_are_counted_and_cost_nothing() {
    let announced = scale("FLOWACL_TEST_ROUTES", 100_000);
    let limit = announced / 100;
    let daemon = Daemon::start(&format!(
        "{ANYBODY}[neighbor.import]\nmax_routes = {limit}\n"
    ));
    let mut controller = RawController::connect(daemon.port);
    for start in (0..announced).step_by(10_000) {
        let routes: Vec<Nlri> = (start..announced.min(start + 10_000)).map(rule).collect();
        controller.send(&routes, 200, false);
    }
    // Some of those that are refused are kept, to show the reason.
    let shown = 1_000;
    eventually("all have been counted", || {
        let routes = &daemon.show("summary");
        let counted = routes["received"] == limit + shown
            && routes["installed"] == limit
            && routes["rejected"] == shown
            && routes["not_kept"] == announced - limit - shown;
        if counted {
            Ok(())
        } else {
            Err(format!("{routes}"))
        }
    });
    let rss = daemon.rss_kib();
    println!("{announced} routes with max_routes = {limit}: {rss} KiB");
    assert!(rss <= BASE_KIB + 2 * u64::from(limit + shown), "{rss} KiB");
    assert_eq!(daemon.neighbor("127.0.0.1").unwrap()["ups"], 1);
}

#[test]
fn a_crowd_of_strangers_disturbs_nobody() {
    let strangers = scale("FLOWACL_TEST_STRANGERS", 1_000);
    let daemon = Daemon::start("[[neighbor]]\naddress = \"127.0.0.2\"\nremote_as = 65070\n");
    let _controller = daemon.announce("127.0.0.2", &[FLOW]);
    daemon.has_rules(&[(NLRI, "127.0.0.2", "installed")]);
    let mut crowd = std::collections::VecDeque::new();
    let mut slowest = Duration::ZERO;
    for n in 1..=strangers {
        crowd.push_back(TcpStream::connect(("127.0.0.1", daemon.port)).unwrap());
        // None of them closes its end soon.
        if crowd.len() > 500 {
            crowd.pop_front();
        }
        if n % 100 == 0 {
            let start = Instant::now();
            daemon.show("summary");
            slowest = slowest.max(start.elapsed());
        }
    }
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    eventually("all are refused", || {
        let refused = daemon.show("summary")["strangers_refused"].clone();
        match refused == strangers {
            true => Ok(()),
            false => Err(refused.to_string()),
        }
    });
    let neighbor = daemon.neighbor("127.0.0.2").unwrap();
    assert_eq!(
        (&neighbor["ups"], &neighbor["state"]),
        (&1.into(), &"Established".into())
    );
    daemon.has_rules(&[(NLRI, "127.0.0.2", "installed")]);
}
