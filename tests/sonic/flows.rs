//! Random Flow Specifications that an ACL can mostly say, and packets that meet them.

use dataplane::packet::Packet;
use dataplane::rule::{Family, FragmentKind, left_aligned};
use flowacl::flowspec::text::{Flow, parse_flows};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

/// Addresses that prefixes and packets are made of.
const IPV4: [&str; 5] = [
    "203.0.113.5",
    "203.0.113.6",
    "203.0.200.1",
    "198.51.100.7",
    "192.0.2.1",
];
/// The same for IPv6.
const IPV6: [&str; 4] = ["2001:db8::5", "2001:db8::6", "2001:db8:1::1", "2400::7"];
/// Ports that lists begin and end with.
const PORTS: [u16; 8] = [0, 1, 53, 80, 179, 1023, 1024, 65535];
/// Protocols.
const PROTOCOLS: [u8; 7] = [1, 6, 6, 17, 17, 47, 58];
/// ICMP types.
const TYPES: [u8; 5] = [0, 3, 8, 128, 135];

fn pick<T: Copy>(random: &mut StdRng, list: &[T]) -> T {
    *list.choose(random).unwrap()
}

/// The flow of what stands between the braces of `flow route { … }`.
pub fn flow(text: &str) -> Flow {
    let mut flows = parse_flows(&format!("flow route {{ {text} }}"))
        .unwrap_or_else(|errors| panic!("{text}: {errors:?}"));
    assert_eq!(flows.len(), 1, "{text}");
    flows.remove(0)
}

/// A random flow.
pub fn random_flow(random: &mut StdRng) -> Flow {
    let ipv6 = random.random_bool(0.3);
    let mut terms = Vec::new();
    let prefix = |random: &mut StdRng| match ipv6 {
        true => format!(
            "{}/{}",
            pick(random, &IPV6),
            pick(random, &[0u8, 16, 32, 48, 127, 128])
        ),
        false => format!(
            "{}/{}",
            pick(random, &IPV4),
            pick(random, &[0u8, 8, 16, 24, 31, 32])
        ),
    };
    if ipv6 || random.random_bool(0.7) {
        terms.push(format!("destination {}", prefix(random)));
    }
    if random.random_bool(0.3) {
        terms.push(format!("source {}", prefix(random)));
    }
    if random.random_bool(0.6) {
        let protocols = list(random, 2, |random| format!("={}", pick(random, &PROTOCOLS)));
        terms.push(format!("protocol {protocols}"));
    }
    for name in ["port", "destination-port", "source-port"] {
        if random.random_bool(0.2) {
            let ports = list(random, 2, port);
            terms.push(format!("{name} {ports}"));
        }
    }
    if random.random_bool(0.1) {
        terms.push(format!("icmp-type ={}", pick(random, &TYPES)));
    }
    if random.random_bool(0.05) {
        terms.push(format!("icmp-code ={}", random.random_range(0..2)));
    }
    if random.random_bool(0.1) {
        terms.push(format!(
            "tcp-flags {}",
            pick(random, &["syn", "=syn", "!ack", "syn+ack", "=rst"])
        ));
    }
    if random.random_bool(0.1) {
        terms.push(format!("dscp {}", pick(random, &["=46", "<3", "!=0"])));
    }
    if random.random_bool(0.03) {
        terms.push("fragment is-fragment".into());
    }
    if terms.is_empty() {
        terms.push(format!("destination {}", prefix(random)));
    }
    let then = pick(random, &["discard", "discard", "accept", "rate-limit 0"]);
    flow(&format!(
        "match {{ {}; }} then {{ {then}; }}",
        terms.join("; ")
    ))
}

/// A port with an operator, or a range.
fn port(random: &mut StdRng) -> String {
    let port = pick(random, &PORTS);
    match random.random_range(0..6) {
        0 => format!(">={port}"),
        1 => format!("<={port}"),
        2 => format!("!={port}"),
        3 => {
            let first = random.random_range(1..60_000);
            format!(">={first}&<={}", first + random.random_range(0..5_000))
        }
        _ => format!("={port}"),
    }
}

/// One word, or several in brackets.
fn list(random: &mut StdRng, most: usize, word: impl Fn(&mut StdRng) -> String) -> String {
    let words: Vec<String> = (0..random.random_range(1..=most))
        .map(|_| word(random))
        .collect();
    format!("[ {} ]", words.join(" "))
}

/// A random packet of the same world.
pub fn random_packet(random: &mut StdRng) -> Packet {
    let ipv6 = random.random_bool(0.3);
    let address = |random: &mut StdRng| {
        let text = if ipv6 {
            pick(random, &IPV6)
        } else {
            pick(random, &IPV4)
        };
        left_aligned(text.parse().unwrap()).1
    };
    let (destination, source) = (address(random), address(random));
    let protocol = pick(random, &PROTOCOLS);
    let fragment = match random.random_bool(0.1) {
        true => pick(random, &FragmentKind::ALL),
        false => FragmentKind::Whole,
    };
    let has = |protocols: &[u8]| !fragment.is_later() && protocols.contains(&protocol);
    let icmp = has(&[if ipv6 { 58 } else { 1 }]);
    let number = |random: &mut StdRng| match random.random_bool(0.7) {
        true => {
            let port = pick(random, &PORTS);
            pick(
                random,
                &[port, port.saturating_add(1), port.saturating_sub(1)],
            )
        }
        false => random.random(),
    };
    let (source_port, destination_port) = (number(random), number(random));
    let ports = has(&[6, 17]);
    let icmp_type = pick(random, &TYPES);
    Packet {
        family: if ipv6 { Family::Ipv6 } else { Family::Ipv4 },
        destination,
        source,
        protocol: Some(protocol),
        source_port: ports.then_some(source_port),
        destination_port: ports.then_some(destination_port),
        icmp_type: icmp.then_some(icmp_type),
        icmp_code: icmp.then_some(random.random_range(0..3)),
        tcp_flags: has(&[6]).then(|| random.random_range(0..0x200)),
        packet_length: Some(100),
        // No ACL of SONiC can tell neighbor discovery that a router has forwarded.
        hop_limit: if icmp_type == 135 { 255 } else { 64 },
        dscp: pick(random, &[0, 0, 1, 2, 3, 46]),
        fragment,
        dont_fragment: false,
        flow_label: ipv6.then_some(0),
        interface: None,
    }
}
