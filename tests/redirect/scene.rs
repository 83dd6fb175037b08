//! The network with two scrubbers, and the packet filter in its router.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::backend::{Backend, BackendError};
use dataplane::desired::{Changes, InterfacePattern, Redirects as Means, Settings, Unreachable};
use dataplane::nft::Nftables;
use dataplane::packet::Packet;
use dataplane::rule::{RoutingInstance, Rule, RuleId};
use flowacl::engine::bindings::Bindings;
use flowacl::engine::lower::lower;
use flowacl::flowspec::action::RouteTarget;
use flowacl::flowspec::text::parse_flows;
use flowacl::lab::packet::{Header, PacketBuilder, checksum};
use flowacl::lab::{Lab, Namespace, Passed, Tap, UPSTREAM};

use crate::available::available;

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It did not come out.
    Dropped,
    /// It went where it was destined to, with this DSCP.
    Victim(u8),
    /// It went to this scrubber, with this DSCP.
    Scrubber(usize, u8),
}

/// The network.
pub struct Scene {
    pub lab: Lab,
    pub kernel: Nftables,
    pub scrubbers: [Namespace; 2],
    taps: [Tap; 2],
    installed: Vec<Arc<Rule>>,
    number: u16,
}

/// Filters what comes from the attacker.
pub fn settings(unreachable: Unreachable) -> Settings {
    Settings {
        interfaces: vec![InterfacePattern::new(UPSTREAM).unwrap()],
        own_table: true,
        redirect: Means {
            unreachable,
            ..Means::default()
        },
        ..Settings::default()
    }
}

/// Where route targets lead.
pub fn redirects() -> Bindings {
    let to_table = |target, table| (target, RoutingInstance::Table(table));
    Bindings::new([
        to_table(RouteTarget::TwoOctetAs(65001, 100), 100),
        to_table(RouteTarget::Ipv4([192, 0, 2, 1].into(), 100), 100),
        to_table(RouteTarget::FourOctetAs(70000, 101), 101),
        to_table(RouteTarget::Ipv6("2001:db8::1".parse().unwrap(), 101), 101),
        to_table(RouteTarget::TwoOctetAs(65001, 999), 999),
        (
            RouteTarget::TwoOctetAs(65001, 7),
            RoutingInstance::Vrf("scrub".into()),
        ),
    ])
}

/// The rules for flows, `match` and `then`; their ids begin here.
pub fn rules(first: u64, flows: &[(&str, &str)]) -> Vec<Arc<Rule>> {
    let rule = |((matches, then), id): (&(&str, &str), u64)| {
        let text = format!("flow route {{ match {{ {matches} }} then {{ {then} }} }}");
        let flow = parse_flows(&text).unwrap_or_else(|errors| panic!("{text}: {errors:?}"));
        let flow = flow.into_iter().next().unwrap();
        let lowered = lower(&flow.nlri, &flow.actions.into(), RuleId(id), &redirects());
        Arc::new(lowered.unwrap().rule)
    };
    flows.iter().zip(first..).map(rule).collect()
}

/// Runs `ip` in a namespace and returns what it prints.
pub fn ip(namespace: &Namespace, arguments: &str) -> String {
    let list: Vec<String> = arguments.split_whitespace().map(String::from).collect();
    let output = namespace.run(move || Command::new("ip").args(list).output());
    let output = output.unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// A packet filter that has taken over what is there.
pub fn start(
    lab: &Lab,
    settings: Settings,
    rules: Vec<Arc<Rule>>,
) -> Result<Nftables, BackendError> {
    lab.router.run(move || {
        let mut kernel = Nftables::new();
        kernel.resume(&settings, &[], &rules).map(|()| kernel)
    })
}

impl Scene {
    /// Builds it; `None` where that is not possible.
    pub fn new(unreachable: Unreachable) -> Option<Self> {
        let lab = available(Lab::routed)?;
        let scrubbers = [("scrub1", 1), ("scrub2", 2)].map(|(name, number)| {
            let address = |host| [10, 9, number, host].into();
            let scrubber = lab.attach(name, address(1), address(2), 24).unwrap();
            ip(
                &lab.router,
                &format!("addr add fd00:9:{number}::1/64 dev {name} nodad"),
            );
            ip(
                &scrubber,
                &format!("addr add fd00:9:{number}::2/64 dev router nodad"),
            );
            ip(
                &lab.router,
                &format!(
                    "route add default via 10.9.{number}.2 table {}",
                    99 + number
                ),
            );
            ip(
                &lab.router,
                &format!(
                    "route add default via fd00:9:{number}::2 table {}",
                    99 + number
                ),
            );
            scrubber
        });
        let taps = scrubbers
            .each_ref()
            .map(|scrubber| Tap::open(scrubber, "router").unwrap());
        let kernel = start(&lab, settings(unreachable), Vec::new()).unwrap();
        Some(Self {
            lab,
            kernel,
            scrubbers,
            taps,
            installed: Vec::new(),
            number: 0,
        })
    }

    /// Puts these rules in the place of all others.
    pub fn install(&mut self, rules: &[Arc<Rule>]) -> Result<(), BackendError> {
        let changes = Changes {
            put: rules.to_vec(),
            remove: self
                .installed
                .iter()
                .map(|rule| (rule.family, rule.order.clone()))
                .collect(),
        };
        self.kernel.commit(&changes)?;
        self.installed = rules.to_vec();
        Ok(())
    }

    /// Sends a packet and says where it went. `patient`: it may wait for a neighbor to answer.
    pub fn send(&mut self, text: &str, patient: bool) -> Fate {
        self.number += 1;
        let number = self.number;
        let packet = Packet::from_text(text).unwrap();
        let builder = PacketBuilder::of(&packet).unwrap();
        let change = |header: Header| header.identification(number).ecn((number % 4) as u8);
        let sent = builder.header(change).build();
        let passed = self.lab.pass(std::slice::from_ref(&sent)).unwrap();
        if let [Passed::Arrived(octets)] = &passed[..] {
            return Fate::Victim(dscp(octets, &sent));
        }
        let end = Instant::now() + Duration::from_secs(if patient { 2 } else { 0 });
        loop {
            for (index, tap) in self.taps.iter_mut().enumerate() {
                // A link that is down says so once.
                while let Ok(Some(octets)) = tap.receive() {
                    if payload(octets) == payload(&sent) {
                        return Fate::Scrubber(index + 1, dscp(octets, &sent));
                    }
                }
            }
            if Instant::now() >= end {
                return Fate::Dropped;
            }
            std::thread::yield_now();
        }
    }

    /// Sends packets and says how many of them came to the victim, and to each scrubber. What comes to a scrubber must look
    /// as if it had been forwarded, but that the kernel forbids fragmenting a copy.
    pub fn spread(&mut self, text: &str, count: u16, expected: [usize; 2]) -> (usize, [usize; 2]) {
        let packet = Packet::from_text(text).unwrap();
        let sent: Vec<Vec<u8>> = (0..count)
            .map(|_| {
                self.number += 1;
                let (number, builder) = (self.number, PacketBuilder::of(&packet).unwrap());
                let change = |header: Header| header.identification(number).ecn(1);
                let mut octets = builder.header(change).build();
                if octets[0] >> 4 == 6 {
                    // Tells packets apart that have no identification: the source port.
                    octets[40..42].copy_from_slice(&number.to_be_bytes());
                }
                octets
            })
            .collect();
        let passed = self.lab.pass(&sent).unwrap();
        let arrived = passed.iter().filter(|passed| **passed != Passed::Dropped);
        let arrived = arrived.count();
        let mut copies = [0; 2];
        let end = Instant::now() + Duration::from_secs(2);
        let settled = |copies: &[usize; 2]| *copies == expected;
        while !settled(&copies) && Instant::now() < end {
            for (tap, copies) in self.taps.iter_mut().zip(&mut copies) {
                while let Ok(Some(octets)) = tap.receive() {
                    let same = |sent: &&Vec<u8>| payload(sent) == payload(octets);
                    if let Some(sent) = sent.iter().find(same) {
                        dscp(octets, sent);
                        *copies += 1;
                    }
                }
            }
            std::thread::yield_now();
        }
        (arrived, copies)
    }

    /// All tables of the packet filter in the router.
    pub fn tables(&self) -> Vec<String> {
        let text = self.nft("list tables");
        text.lines().map(String::from).collect()
    }

    /// Runs `nft` in the router and returns what it prints.
    pub fn nft(&self, arguments: &str) -> String {
        let list: Vec<String> = arguments.split_whitespace().map(String::from).collect();
        let output = self
            .lab
            .router
            .run(move || Command::new("nft").args(list).output());
        let output = output.unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "nft {arguments}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// All of ours in the router's routing: policy rules, and routes of the daemon's protocol.
    pub fn entries(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for arguments in [
            "-4 rule show",
            "-6 rule show",
            "-4 route show table all",
            "-6 route show table all",
        ] {
            let text = ip(&self.lab.router, arguments);
            lines.extend(
                text.lines()
                    .filter(|line| line.contains("proto 148"))
                    .map(String::from),
            );
        }
        lines
    }
}

/// What of a packet no router changes, and tells it from others: the identification, the addresses and all behind.
fn payload(packet: &[u8]) -> Vec<u8> {
    match packet[0] >> 4 {
        4 => {
            let end = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
            [&packet[4..6], packet.get(12..end).unwrap_or_default()].concat()
        }
        _ => packet.get(8..).unwrap_or_default().to_vec(),
    }
}

/// The DSCP of a packet that arrived. The IPv4 header checksum must be right, the ECN bits as sent.
fn dscp(octets: &[u8], sent: &[u8]) -> u8 {
    if octets[0] >> 4 == 4 {
        let header = &octets[..usize::from(octets[0] & 0x0f) * 4];
        assert_eq!(checksum(header), 0, "checksum of {header:02x?}");
        assert_eq!(octets[1] & 3, sent[1] & 3, "ECN");
        assert_eq!(octets[8], sent[8] - 1, "TTL");
    }
    Packet::parse(octets).unwrap().dscp
}
