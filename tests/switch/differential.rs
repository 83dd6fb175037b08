//! Random Flow Specifications: policy file, kernel and reference evaluator without a difference.
//!
//! `FLOWACL_SEED` repeats a run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::backend::{Backend, BackendError};
use dataplane::cumulus::Release;
use dataplane::desired::{Changes, InterfacePattern, Settings};
use dataplane::layered::Layered;
use dataplane::nft::Nftables;
use dataplane::packet::Packet;
use dataplane::rule::{Family, Rule, RuleId};
use flowacl::engine::bindings::Bindings;
use flowacl::engine::lower::lower;
use flowacl::flowspec::action::TrafficFilteringActions;
use flowacl::flowspec::matches::evaluate;
use flowacl::lab::{Lab, Passed, UPSTREAM};
use flowacl::wire::nlri::{Component, Nlri};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::layered::hardware;
use crate::network::available;
use crate::populations::Population;
use crate::reader::{Fate, Policy};
use crate::scene::{Switch, has_iptables, has_python};
use crate::traffic::{self, Hosts};

/// Routes that a switch can enforce, in order of precedence, and their rules.
#[derive(Default)]
struct Case {
    routes: Vec<(Nlri, TrafficFilteringActions)>,
    rules: Vec<Arc<Rule>>,
    refused: usize,
}

impl Case {
    /// A random set of routes; those that the switch refuses are left out.
    fn new(random: &mut StdRng, backend: &dyn Backend, size: usize) -> Self {
        let mut population = Population::new(random);
        let capability = backend.capability();
        let mut case = Self::default();
        let mut rules: Vec<(Arc<Rule>, Nlri, TrafficFilteringActions)> = Vec::new();
        for id in 1..=size {
            let nlri = population.route(random).nlri;
            let actions = actions(random);
            let known = rules.iter().any(|(_, other, _)| *other == nlri);
            let id = RuleId(id as u64);
            let lowered = lower(&nlri, &actions.clone().into(), id, &Bindings::default());
            let rule = lowered.unwrap().rule;
            if known || capability.check(&rule).is_err() {
                case.refused += 1;
                continue;
            }
            rules.push((Arc::new(rule), nlri, actions));
        }
        rules.sort_by(|(a, ..), (b, ..)| (a.family, &a.order).cmp(&(b.family, &b.order)));
        for (rule, nlri, actions) in rules {
            case.rules.push(rule);
            case.routes.push((nlri, actions));
        }
        case
    }

    /// Puts the rules in force that there is room for, and forgets the others.
    fn install(&mut self, backend: &mut dyn Backend) {
        let put = self.rules.clone();
        let remove = Vec::new();
        match backend.commit(&Changes { put, remove }) {
            Ok(()) => {}
            Err(BackendError::NoRoom(waiting)) => {
                let waits = |rule: &Arc<Rule>| waiting.iter().any(|(id, _)| *id == rule.id);
                let keep: Vec<bool> = self.rules.iter().map(|rule| !waits(rule)).collect();
                let mut kept = keep.iter();
                self.rules.retain(|_| *kept.next().unwrap());
                let mut kept = keep.iter();
                self.routes.retain(|_| *kept.next().unwrap());
                self.refused += waiting.len();
                let put = self.rules.clone();
                let remove = Vec::new();
                backend.commit(&Changes { put, remove }).unwrap();
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// What the RFCs say of a packet.
    fn fate(&self, packet: &Packet) -> Fate {
        let of_family = |nlri: &Nlri| nlri.family().is_ipv6() == (packet.family == Family::Ipv6);
        let routes = self.routes.iter().filter(|(nlri, _)| of_family(nlri));
        let verdict = evaluate(
            routes.map(|(nlri, actions)| (nlri, actions)),
            packet,
            |_| false,
        );
        match verdict.dropped {
            true => Fate::Dropped,
            false => Fate::Passed(verdict.marked_dscp.unwrap_or(packet.dscp)),
        }
    }

    /// Packets that are aimed at the routes.
    fn packets(&self, random: &mut StdRng, count: usize) -> Vec<Vec<u8>> {
        let nlris: Vec<&Nlri> = self.routes.iter().map(|(nlri, _)| nlri).collect();
        let hosts = Hosts::of(random, &nlris);
        let target = |nlri: &&Nlri| (nlri.family().is_ipv6(), nlri.components().to_vec());
        let targets: Vec<(bool, Vec<Component>)> = nlris.iter().map(target).collect();
        let aimed = (0..count).filter_map(|_| targets.choose(random).cloned());
        let aimed: Vec<_> = aimed.collect();
        let mut packets = traffic::packets(random, &hosts, &aimed, count / 10);
        packets.retain(|octets| Packet::parse(octets).is_some_and(|it| is_plain(octets, &it)));
        packets
    }
}

/// Actions that entries of a switch can carry out.
fn actions(random: &mut StdRng) -> TrafficFilteringActions {
    TrafficFilteringActions {
        rate_bytes_per_sec: random.random_bool(0.6).then_some(0.0),
        mark_dscp: random.random_bool(0.4).then(|| random.random_range(0..64)),
        ..TrafficFilteringActions::default()
    }
}

/// True for packets of which `iptables` sees what RFC 8956 does. It drops a packet whose transport header is cut, or that is a
/// fragment with offset 1 of TCP, once a rule wants to look at that header; and in IPv6 it sees what is behind AH.
fn is_plain(octets: &[u8], packet: &Packet) -> bool {
    let header = match (packet.protocol, packet.family) {
        (Some(6), _) => 20,
        (Some(17), _) | (Some(1), Family::Ipv4) | (Some(58), Family::Ipv6) => 8,
        _ => 0,
    };
    let is_whole = packet.fragment.is_later() || octets.len() >= transport_offset(octets) + header;
    let hot = match packet.family {
        Family::Ipv4 => u16::from_be_bytes([octets[6], octets[7]]) & 0x1fff == 1,
        Family::Ipv6 => packet.fragment.is_later(),
    };
    is_whole && !hot && (packet.family == Family::Ipv4 || packet.protocol.is_some())
}

/// Where the transport header of a packet begins that has one.
fn transport_offset(octets: &[u8]) -> usize {
    if octets[0] >> 4 == 4 {
        return usize::from(octets[0] & 15) * 4;
    }
    let (mut next, mut offset) = (octets[6], 40);
    while matches!(next, 0 | 43 | 44 | 60) && offset + 8 <= octets.len() {
        let units = if next == 44 { 0 } else { octets[offset + 1] };
        next = octets[offset];
        offset += (usize::from(units) + 1) * 8;
    }
    offset
}

/// The seed of a run.
fn seed() -> u64 {
    let seed = std::env::var("FLOWACL_SEED").ok();
    let seed = seed.map(|text| text.parse().expect("FLOWACL_SEED is a number"));
    let seed = seed.unwrap_or_else(|| rand::rng().random());
    println!("FLOWACL_SEED={seed}");
    seed
}

#[test]
fn the_file_says_what_the_reference_evaluator_does() {
    if !has_python() {
        return;
    }
    let mut random = StdRng::seed_from_u64(seed());
    let start = Instant::now();
    let (mut rules, mut packets, mut dropped, mut cases) = (0, 0, 0, 0);
    while start.elapsed() < Duration::from_secs(6) {
        let profile = ["spectrum1", "spectrum2", "trident3", "helix4"].choose(&mut random);
        let switch = Switch::new(profile.unwrap(), false);
        let mut backend = switch.backend();
        backend.start(&Settings::default(), &[]).unwrap();
        let mut case = Case::new(&mut random, &backend, 300);
        case.install(&mut backend);
        let file = switch.file().unwrap();
        let policies = Family::ALL.map(|family| Policy::read(&file, family));
        for octets in case.packets(&mut random, 2000) {
            let packet = Packet::parse(&octets).unwrap();
            let policy = &policies[usize::from(packet.family == Family::Ipv6)];
            let fate = policy.fate(&packet);
            assert_eq!(fate, case.fate(&packet), "{packet:?}\n{file}");
            packets += 1;
            dropped += usize::from(fate == Fate::Dropped);
        }
        rules += case.rules.len();
        cases += 1;
    }
    println!("{cases} files, {rules} rules, {packets} packets, {dropped} dropped");
    assert!(rules > 0 && dropped > 0 && dropped < packets);
}

#[test]
fn the_kernel_does_what_the_reference_evaluator_says() {
    if !has_iptables() {
        return;
    }
    let Some(mut lab) = available(Lab::routed) else {
        return;
    };
    let mut random = StdRng::seed_from_u64(seed());
    let start = Instant::now();
    let (mut rules, mut packets, mut dropped) = (0, 0, 0);
    while start.elapsed() < Duration::from_secs(10) {
        // Release 5 and its table mangle, or release 4 and its chain FORWARD.
        let profile = *["spectrum1", "helix4"].choose(&mut random).unwrap();
        let switch = Switch::new(profile, true);
        let settings = Settings {
            interfaces: vec![InterfacePattern::new(UPSTREAM).unwrap()],
            ..Settings::default()
        };
        let mut backend = switch.backend();
        let size = *[1, 5, 30, 200].choose(&mut random).unwrap();
        let seed = random.random();
        let (backend, case) = lab.router.run(move || {
            backend.start(&settings, &[]).unwrap();
            let mut case = Case::new(&mut StdRng::seed_from_u64(seed), &backend, size);
            case.install(&mut backend);
            (backend, case)
        });
        let sent = case.packets(&mut random, 400);
        for (octets, passed) in sent.iter().zip(lab.pass(&sent).unwrap()) {
            let packet = Packet::parse(octets).unwrap();
            let fate = match passed {
                Passed::Dropped => Fate::Dropped,
                Passed::Arrived(octets) => Fate::Passed(Packet::parse(&octets).unwrap().dscp),
            };
            let expected = match (case.fate(&packet), switch.options.release) {
                // The kernel's table filter does not mark.
                (Fate::Passed(_), Release::Four) => Fate::Passed(packet.dscp),
                (expected, Release::Four | Release::Five) => expected,
            };
            assert_eq!(fate, expected, "{packet:?}\n{}", switch.file().unwrap());
            packets += 1;
            dropped += usize::from(fate == Fate::Dropped);
        }
        rules += case.rules.len();
        let mut backend = backend;
        lab.router.run(move || backend.stop().unwrap());
    }
    println!("{rules} rules, {packets} packets, {dropped} dropped");
    assert!(rules > 0 && dropped > 0 && dropped < packets);
}

#[test]
fn hardware_and_software_together_are_the_reference_evaluator() {
    if !has_iptables() {
        return;
    }
    let Some(mut lab) = available(Lab::switched) else {
        return;
    };
    let mut random = StdRng::seed_from_u64(seed());
    let start = Instant::now();
    let (mut rules, mut outside, mut packets, mut dropped) = (0, 0, 0, 0);
    while start.elapsed() < Duration::from_secs(6) {
        let mut switch = Switch::new("spectrum1", hardware(&lab));
        // Sometimes there is little room.
        switch.options.max_ipv4_entries = [None, Some(20)].choose(&mut random).copied().flatten();
        let settings = Settings {
            interfaces: vec![InterfacePattern::new(UPSTREAM).unwrap()],
            ..Settings::default()
        };
        let mut backend = Layered::new(Box::new(switch.backend()), Box::new(Nftables::new()));
        let seed = random.random();
        let (mut backend, case) = lab.router.run(move || {
            backend.start(&settings, &[]).unwrap();
            let mut random = StdRng::seed_from_u64(seed);
            let size = *[5, 30, 100].choose(&mut random).unwrap();
            let mut case = Case::new(&mut random, &backend, size);
            case.install(&mut backend);
            (backend, case)
        });
        outside += backend.impaired().len();
        let sent = case.packets(&mut random, 400);
        for (octets, passed) in sent.iter().zip(lab.pass(&sent).unwrap()) {
            let packet = Packet::parse(octets).unwrap();
            let fate = match passed {
                Passed::Dropped => Fate::Dropped,
                Passed::Arrived(octets) => Fate::Passed(Packet::parse(&octets).unwrap().dscp),
            };
            let expected = case.fate(&packet);
            assert_eq!(fate, expected, "{packet:?}\n{}", switch.file().unwrap());
            packets += 1;
            dropped += usize::from(fate == Fate::Dropped);
        }
        rules += case.rules.len();
        lab.router.run(move || backend.stop().unwrap());
    }
    println!(
        "{rules} rules, {outside} of them in software only, {packets} packets, {dropped} dropped"
    );
    assert!(0 < outside && outside < rules && 0 < dropped && dropped < packets);
}

/// A packet of UDP to a host and port, with `octets` of data.
fn udp(destination: &str, port: u16, identification: u16) -> Vec<u8> {
    use flowacl::lab::packet::{Header, PacketBuilder};
    let header = Header::between("192.0.2.77", destination).identification(identification);
    PacketBuilder::new(header).udp(4000, port, b"data").build()
}

#[test]
fn packets_and_counters_of_a_switch_with_rates() {
    if !has_iptables() {
        return;
    }
    let Some(mut lab) = available(Lab::routed) else {
        return;
    };
    let switch = Switch::new("spectrum1", true);
    let settings = Settings {
        interfaces: vec![InterfacePattern::new(UPSTREAM).unwrap()],
        ..Settings::default()
    };
    let rules = crate::scene::rules(
        "flow {
            route { match { destination 203.0.113.1/32; protocol udp; } then { discard; } }
            route { match { destination 203.0.113.2/32; protocol udp; } then { rate-limit 10 packets; } }
            route { match { destination 203.0.113.0/24; protocol udp; destination-port [ =53 =123 ]; } then { mark 46; } }
        }",
    );
    let mut backend = switch.backend();
    let mut backend = lab.router.run(move || {
        backend.start(&settings, &[]).unwrap();
        let remove = Vec::new();
        backend.commit(&Changes { put: rules, remove }).unwrap();
        backend
    });
    let mut sent = Vec::new();
    for n in 0..100 {
        sent.push(udp("203.0.113.1", 53, n));
        sent.push(udp("203.0.113.2", 53, n));
        sent.push(udp("203.0.113.3", 53, n));
        sent.push(udp("203.0.113.3", 54, n));
    }
    let passed = lab.pass(&sent).unwrap();
    let arrived = |offset: usize| -> Vec<u8> {
        let own = passed.iter().skip(offset).step_by(4);
        let dscp = |passed: &Passed| match passed {
            Passed::Arrived(octets) => Some(Packet::parse(octets).unwrap().dscp),
            Passed::Dropped => None,
        };
        own.filter_map(dscp).collect()
    };
    assert_eq!(arrived(0), [0; 0], "discarded");
    let limited = arrived(1).len();
    assert!(
        (10..40).contains(&limited),
        "{limited} within the rate and its burst"
    );
    assert_eq!(
        arrived(1),
        vec![0; limited],
        "what is limited is accepted, and not marked"
    );
    assert_eq!(arrived(2), [46; 100], "marked");
    assert_eq!(arrived(3), [0; 100], "not touched");
    let counters = lab.router.run(move || {
        let counters = backend.counters().unwrap();
        backend.stop().unwrap();
        counters
    });
    let counted: Vec<(u64, u64)> = counters.iter().map(|(id, it)| (id.0, it.packets)).collect();
    assert_eq!(counted, [(1, 100), (2, 100), (3, 100)]);
}
