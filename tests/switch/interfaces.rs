//! Rules for some interfaces of a switch: lines with their names, and packets that come in by each of two.

use std::net::IpAddr;
use std::sync::Arc;

use dataplane::backend::Backend;
use dataplane::desired::{Changes, InterfacePattern, Settings};
use dataplane::packet::Packet;
use dataplane::rule::{Family, Rule, RuleId};
use flowacl::engine::bindings::Bindings;
use flowacl::engine::lower::lower;
use flowacl::flowspec::text::parse_flows;
use flowacl::lab::packet::{Header, PacketBuilder};
use flowacl::lab::{Lab, Tap, UPSTREAM};

use crate::network::available;
use crate::reader::{Fate, Policy};
use crate::scene::{Switch, has_iptables};

/// The other interface, and the Ethernet address that it has.
const SECOND: &str = "second";
const SECOND_MAC: [u8; 6] = [2, 0, 0, 0, 4, 1];

fn patterns(names: &[&str]) -> Vec<InterfacePattern> {
    let pattern = |name: &&str| InterfacePattern::new(name).unwrap();
    names.iter().map(pattern).collect()
}

/// Rules for flows, of which some are for groups of interfaces.
fn rules(flows: &str) -> Vec<Arc<Rule>> {
    let groups: [(&str, &[&str]); 4] = [
        ("65001:1", &[UPSTREAM]),
        ("65001:2", &[SECOND]),
        ("65001:3", &["*"]),
        ("65001:4", &["swp7", "bond*"]),
    ];
    let groups = groups.map(|(group, names)| (group.parse().unwrap(), patterns(names)));
    let bindings = Bindings::default().with_groups(groups);
    let flows = parse_flows(flows).unwrap();
    let lowered = flows.into_iter().zip(1..).map(|(flow, id)| {
        let lowered = lower(&flow.nlri, &flow.actions.into(), RuleId(id), &bindings);
        Arc::new(lowered.unwrap().rule)
    });
    lowered.collect()
}

const FLOWS: &str = "flow {
    route { match { destination 203.0.113.1/32; } scope { interface-set transitive:input:65001:1; } then { discard; } }
    route { match { destination 203.0.113.2/32; } scope { interface-set transitive:input:65001:2; } then { discard; } }
    route { match { destination 203.0.113.3/32; }
            scope { interface-set [ transitive:input:65001:1 transitive:input:65001:2 ]; } then { discard; } }
    route { match { destination 203.0.113.4/32; } scope { interface-set transitive:input:65001:3; } then { discard; } }
    route { match { destination 203.0.113.5/32; } scope { interface-set transitive:input:65001:4; } then { discard; } }
    route { match { destination 203.0.113.6/32; } scope { interface-set transitive:input:65001:2; } then { accept; } }
    route { match { destination 203.0.113.6/31; } then { discard; } }
    route { match { destination 203.0.113.8/32; } scope { interface-set transitive:input:65001:2; }
            then { rate-limit 1 packets; mark 46; } }
}";

#[test]
fn packets_through_two_interfaces_meet_the_rules_of_theirs() {
    if !has_iptables() {
        return;
    }
    let Some(mut lab) = available(Lab::routed) else {
        return;
    };
    let address = |text: &str| -> IpAddr { text.parse().unwrap() };
    let host = lab.attach(SECOND, address("198.18.7.1"), address("198.18.7.2"), 24);
    let host = host.unwrap();
    let second = Tap::open(&host, "router").unwrap();
    let switch = Switch::new("spectrum1", true);
    let settings = Settings {
        interfaces: patterns(&[UPSTREAM, SECOND]),
        ..Settings::default()
    };
    let rules = rules(FLOWS);
    let backend = switch.backend();
    let entries: Vec<_> = rules
        .iter()
        .map(|rule| backend.capability().entries(rule).unwrap())
        .collect();
    // Of no set: for each pattern of the settings.
    assert_eq!(entries, [1, 1, 2, 1, 2, 1, 1, 3]);
    let mut backend = lab.router.run(move || {
        let mut backend = backend;
        backend.start(&settings, &[]).unwrap();
        let remove = Vec::new();
        backend.commit(&Changes { put: rules, remove }).unwrap();
        backend
    });
    let lines = switch.hardware();
    assert!(
        lines.contains(&format!(
            "-t mangle -A PREROUTING -i {SECOND} -d 203.0.113.2/32 -j DROP"
        )),
        "{lines:#?}"
    );
    assert_eq!(lines.len(), 1 + 1 + 2 + 2 + 1 + 2 + 3, "{lines:#?}");
    let policy = Policy::read(&switch.file().unwrap(), Family::Ipv4);
    let packet = |host: u8, identification: u16| {
        let header = Header::between("192.0.2.77", &format!("203.0.113.{host}"));
        let header = header.identification(identification);
        PacketBuilder::new(header).udp(4000, 53, b"data").build()
    };
    // Where packets come in, and which hosts they do not reach.
    let rows: [(&str, &[u8]); 2] = [(UPSTREAM, &[1, 3, 4, 6, 7]), (SECOND, &[2, 3, 4, 7])];
    for (interface, unreachable) in rows {
        for host in 1..=8 {
            let fate = match unreachable.contains(&host) {
                true => Fate::Dropped,
                false if (interface, host) == (SECOND, 8) => Fate::Passed(46),
                false => Fate::Passed(0),
            };
            let (sent, marker) = (packet(host, u16::from(host)), packet(99, u16::from(host)));
            let known = Packet {
                interface: Some(interface.into()),
                ..Packet::parse(&sent).unwrap()
            };
            assert_eq!(policy.fate(&known), fate, "file: {host} by {interface}");
            for octets in [&sent, &marker] {
                match interface {
                    UPSTREAM => lab.send(octets).unwrap(),
                    _ => second.send(SECOND_MAC, octets).unwrap(),
                }
            }
            let found = first_arrival(&mut lab);
            let arrived = match found.destination == known.destination {
                true => Fate::Passed(found.dscp),
                false => Fate::Dropped,
            };
            assert_eq!(arrived, fate, "kernel: {host} by {interface}");
            // The marker, which is behind it.
            if arrived != Fate::Dropped {
                first_arrival(&mut lab);
            }
        }
    }
    let counters = lab.router.run(move || {
        let counters = backend.counters().unwrap();
        backend.stop().unwrap();
        counters
    });
    let counted: Vec<u64> = counters
        .iter()
        .map(|(_, counter)| counter.packets)
        .collect();
    assert_eq!(counted, [1, 1, 2, 2, 0, 1, 3, 1]);
}

/// The next packet of the test that reaches the victim.
fn first_arrival(lab: &mut Lab) -> Packet {
    let start = std::time::Instant::now();
    loop {
        assert!(start.elapsed().as_secs() < 10, "nothing arrives");
        let packet = lab.receive().unwrap().and_then(Packet::parse);
        if let Some(packet) = packet.filter(|packet| packet.protocol == Some(17)) {
            return packet;
        }
    }
}
