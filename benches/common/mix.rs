//! Sets of Flow Specifications as controllers announce them, the same in every run.

use std::collections::HashSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use flowacl::flowspec::text::{Flow, parse_flows};

use super::random::Random;

/// The rule of most attacks: a host, a protocol and one port.
///
/// Hosts live in /24 networks, with a rule for one host in ten; some have several.
/// Half of the rules name the source port of a reflection attack, half a destination port.
pub fn hosts(count: usize) -> Vec<Flow> {
    different(count, 1, |random, networks| {
        let destination = format!("destination {}/32;", networks.host(random));
        flow(&format!("{destination} {}", service(random)), "discard")
    })
}

/// Unwanted sources: prefixes of every length from /8 to /32, as often as each is seen in routing tables.
///
/// Two thirds block a source towards one host or network; the others block it altogether, as far as the prefix is
/// no shorter than /16.
pub fn sources(count: usize) -> Vec<Flow> {
    different(count, 2, |random, networks| {
        let length = 8 + random.weighted(&SOURCE_LENGTHS);
        let source = format!("source {}/{length};", prefix(random, length));
        let destination = match random.below(3) {
            0 if length >= 16 => String::new(),
            0 | 1 => format!("destination {}/32;", networks.host(random)),
            _ => format!("destination {}/24;", networks.network(random)),
        };
        flow(&format!("{destination} {source}"), "discard")
    })
}

/// What a controller with many customers holds: 80% of the rules as in [`hosts`], 15% of the other templates that
/// controllers have, 5% of both in IPv6.
///
/// Destinations overlap: hosts, their /24 and /16 networks (/48 and /44 in IPv6), and a few rules without any.
pub fn blend(count: usize) -> Vec<Flow> {
    different(count, 3, |random, networks| {
        let ipv6 = random.percent(5);
        let family = if ipv6 { "family ipv6-flow;" } else { "" };
        let destination = match (random.weighted(&[80, 14, 5, 1]), ipv6) {
            (0, false) => format!("{}/32", networks.host(random)),
            (1, false) => format!("{}/24", networks.network(random)),
            (2, false) => format!("{}/16", networks.region(random)),
            (0, true) => format!("{}/128", networks.ipv6_host(random)),
            (1, true) => format!("{}/48", networks.ipv6_network(random)),
            (2, true) => format!("{}/44", networks.ipv6_region(random)),
            _ => return flow_of(family, &everywhere(random), "rate-limit 1250000"),
        };
        let (rest, then) = if random.weighted(&[80, 15]) == 0 {
            (service(random), "discard".into())
        } else {
            template(random, ipv6)
        };
        flow_of(family, &format!("destination {destination}; {rest}"), &then)
    })
}

/// How often each prefix length from /8 to /32 is drawn.
const SOURCE_LENGTHS: [usize; 25] = [
    2, 2, 3, 4, 6, 8, 12, 15, 60, 20, 30, 45, 60, 70, 120, 100, 500, 20, 20, 20, 25, 25, 15, 8, 500,
];

/// Services that answer a small question with a long answer.
const REFLECTORS: [u16; 9] = [19, 53, 123, 137, 161, 389, 1900, 3702, 11211];
/// Services that attacks aim at.
const SERVICES: [u16; 8] = [22, 25, 53, 80, 443, 3389, 5060, 8080];

/// TCP flags that belong to attacks.
const FLAGS: [&str; 5] = ["syn&!ack", "=rst", "=fin", "=syn+fin", "=fin+push+urgent"];
/// Fragments that belong to attacks.
const FRAGMENTS: [&str; 3] = ["is-fragment", "first-fragment", "last-fragment"];

/// Protocol and one port.
fn service(random: &mut Random) -> String {
    match random.below(4) {
        0 | 1 => format!("protocol udp; source-port ={};", random.one_of(&REFLECTORS)),
        2 => format!(
            "protocol tcp; destination-port ={};",
            random.one_of(&SERVICES)
        ),
        _ => format!(
            "protocol udp; destination-port ={};",
            1024 + random.below(64_512)
        ),
    }
}

/// What is limited wherever it goes: about twenty rules, however many a controller has.
fn everywhere(random: &mut Random) -> String {
    match random.below(3) {
        0 => format!("protocol udp; source-port ={};", random.one_of(&REFLECTORS)),
        1 => format!("protocol tcp; tcp-flags [ {} ];", random.one_of(&FLAGS)),
        _ => format!("protocol udp; fragment [ {} ];", random.one_of(&FRAGMENTS)),
    }
}

/// The less usual templates of controllers: components besides the destination, and the action.
fn template(random: &mut Random, ipv6: bool) -> (String, String) {
    let drop = |components: String| (components, "discard".to_owned());
    match random.below(8) {
        0 => {
            let from = 1024 + random.below(40_000);
            let to = from + 1 + random.below(20_000);
            drop(format!("protocol udp; destination-port >={from}&<={to};"))
        }
        1 => drop("protocol udp; source-port [ >=0&<=1023 ]; packet-length >=1000;".into()),
        2 => {
            let lists = [
                "=80 =443",
                "=80 =443 =8080 =8443",
                "=25 =465 =587",
                "=137 =138 =139 =445",
            ];
            drop(format!(
                "protocol tcp; destination-port [ {} ];",
                random.one_of(&lists)
            ))
        }
        3 => {
            let flags = random.one_of(&FLAGS);
            drop(format!("protocol tcp; tcp-flags [ {flags} ];"))
        }
        4 => {
            let kinds = random.one_of(&FRAGMENTS);
            drop(format!("protocol udp; fragment [ {kinds} ];"))
        }
        5 => {
            let length = 40 + random.below(1400);
            drop(format!("protocol udp; packet-length ={length};"))
        }
        6 => {
            let rate = 12_500 * (1 + random.below(100));
            (service(random), format!("rate-limit {rate}"))
        }
        _ if ipv6 => drop(format!(
            "source 2001:{:x}::/32; protocol udp;",
            0x400 + random.below(0x800)
        )),
        _ => {
            let length = 8 + random.weighted(&SOURCE_LENGTHS);
            drop(format!(
                "source {}/{length}; protocol udp;",
                prefix(random, length)
            ))
        }
    }
}

/// A prefix of public addresses.
fn prefix(random: &mut Random, length: usize) -> Ipv4Addr {
    let address = (11 + random.below(116) as u32) << 24 | random.bits() as u32 >> 8;
    Ipv4Addr::from(address & u32::MAX << (32 - length))
}

/// The networks that are protected: /24s, eight in each /16.
pub struct Networks {
    count: usize,
}

impl Networks {
    /// Networks with about ten hosts for each rule.
    pub fn of(rules: usize) -> Self {
        Self {
            count: (rules / 25).max(4),
        }
    }

    fn network(&self, random: &mut Random) -> Ipv4Addr {
        let number = random.below(self.count) as u32;
        Ipv4Addr::from((203 << 24) + ((number / 8) << 16) + ((number % 8 * 31) << 8))
    }

    fn host(&self, random: &mut Random) -> Ipv4Addr {
        let host = 1 + random.below(250) as u32;
        Ipv4Addr::from(u32::from(self.network(random)) | host)
    }

    fn region(&self, random: &mut Random) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.network(random)) & 0xffff_0000)
    }

    fn ipv6_network(&self, random: &mut Random) -> Ipv6Addr {
        // A twentieth of the rules is about them.
        let number = random.below((self.count / 20).max(4)) as u128;
        Ipv6Addr::from(0x2001_0db8 << 96 | number << 80)
    }

    fn ipv6_host(&self, random: &mut Random) -> Ipv6Addr {
        let host = 1 + random.below(250) as u128;
        Ipv6Addr::from(u128::from(self.ipv6_network(random)) | host)
    }

    fn ipv6_region(&self, random: &mut Random) -> Ipv6Addr {
        Ipv6Addr::from(u128::from(self.ipv6_network(random)) >> 84 << 84)
    }
}

/// A flow in text form.
fn flow(components: &str, then: &str) -> String {
    flow_of("", components, then)
}

/// A flow with a statement before its components.
fn flow_of(statement: &str, components: &str, then: &str) -> String {
    format!("flow route {{ {statement} match {{ {components} }} then {{ {then}; }} }}\n")
}

/// As many flows as asked for, no two with one NLRI.
fn different(count: usize, seed: u64, one: impl Fn(&mut Random, &Networks) -> String) -> Vec<Flow> {
    let mut random = Random::new(seed);
    let networks = Networks::of(count);
    let mut seen = HashSet::with_capacity(count);
    let mut flows = Vec::with_capacity(count);
    while flows.len() < count {
        let text = one(&mut random, &networks);
        let parsed = parse_flows(&text).expect("the text is of the grammar");
        flows.extend(
            parsed
                .into_iter()
                .filter(|flow| seen.insert(flow.nlri.clone())),
        );
    }
    flows
}
