//! A second reading of policy files: what a packet meets, line by line, as `iptables` describes its options.
//!
//! Written from the manual pages, and of nothing that the backend is made of.

use std::net::{Ipv4Addr, Ipv6Addr};

use dataplane::packet::Packet;
use dataplane::rule::Family;

/// What a file does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Dropped,
    /// It passes with this DSCP.
    Passed(u8),
}

/// The lines of one family.
pub struct Policy {
    family: Family,
    lines: Vec<Vec<String>>,
}

impl Policy {
    /// Reads a section of a file.
    pub fn read(file: &str, family: Family) -> Self {
        let section = match family {
            Family::Ipv4 => "[iptables]",
            Family::Ipv6 => "[ip6tables]",
        };
        let (_, rest) = file.split_once(section).unwrap();
        let lines = rest.lines().take_while(|line| !line.starts_with('['));
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let words = |line: &str| line.split(' ').map(str::to_string).collect();
        Self {
            family,
            lines: lines.map(words).collect(),
        }
    }

    /// What becomes of a packet that no policer drops.
    pub fn fate(&self, packet: &Packet) -> Fate {
        let mut dscp = packet.dscp;
        for line in &self.lines {
            let (holds, target) = self.meets(line, packet);
            match target.first().copied() {
                _ if !holds => {}
                Some("DROP") => return Fate::Dropped,
                Some("ACCEPT") => break,
                Some("DSCP" | "SETQOS") => {
                    dscp = target[2].parse().unwrap();
                    break;
                }
                Some("POLICE") => {}
                other => panic!("{other:?}"),
            }
        }
        Fate::Passed(dscp)
    }

    /// Whether a packet passes the tests of a line, and the words behind `-j`.
    fn meets<'l>(&self, line: &'l [String], packet: &Packet) -> (bool, Vec<&'l str>) {
        let mut words = line.iter().map(String::as_str);
        let mut holds = true;
        while let Some(option) = words.next() {
            let mut value = || words.next().unwrap();
            holds &= match option {
                "-t" | "-A" | "-m" => {
                    value();
                    true
                }
                "-i" => {
                    let (wanted, known) = (value(), packet.interface.as_deref());
                    known.is_none_or(|name| match wanted.strip_suffix('+') {
                        Some(beginning) => name.starts_with(beginning),
                        None => name == wanted,
                    })
                }
                "-s" => self.is_in(value(), packet.source),
                "-d" => self.is_in(value(), packet.destination),
                "-f" => packet.fragment.is_later(),
                "-p" => packet.protocol == Some(number(value())),
                "--sport" | "--sports" => is_listed(value(), packet.source_port),
                "--dport" | "--dports" => is_listed(value(), packet.destination_port),
                "--icmp-type" | "--icmpv6-type" => {
                    let mut parts = value().split('/').map(|part| part.parse().unwrap());
                    let (wanted, code) = (parts.next(), parts.next());
                    packet.icmp_type == wanted && (code.is_none() || packet.icmp_code == code)
                }
                "--tcp-flags" => {
                    let (mask, set) = (flags(value()), flags(value()));
                    packet.tcp_flags.is_some_and(|flags| flags & mask == set)
                }
                "--dscp" => value().parse() == Ok(packet.dscp),
                "--hl-eq" | "--ttl-eq" => value().parse() == Ok(packet.hop_limit),
                "-j" => return (holds, words.collect()),
                other => panic!("{other}"),
            };
        }
        panic!("no target: {line:?}");
    }

    fn is_in(&self, prefix: &str, address: u128) -> bool {
        let (network, length) = prefix.split_once('/').unwrap();
        let network = match self.family {
            Family::Ipv4 => u128::from(u32::from(network.parse::<Ipv4Addr>().unwrap())) << 96,
            Family::Ipv6 => u128::from(network.parse::<Ipv6Addr>().unwrap()),
        };
        let length: u32 = length.parse().unwrap();
        (network ^ address).leading_zeros() >= length
    }
}

fn number(protocol: &str) -> u8 {
    match protocol {
        "tcp" => 6,
        "udp" => 17,
        "icmp" => 1,
        "icmpv6" => 58,
        number => number.parse().unwrap(),
    }
}

/// True when a port is in `1,2,5:9`.
fn is_listed(list: &str, port: Option<u16>) -> bool {
    let Some(port) = port else { return false };
    list.split(',').any(|item| {
        let (first, last) = item.split_once(':').unwrap_or((item, item));
        (first.parse().unwrap()..=last.parse().unwrap()).contains(&port)
    })
}

fn flags(names: &str) -> u16 {
    let bit = |name| match name {
        "FIN" => 1,
        "SYN" => 2,
        "RST" => 4,
        "PSH" => 8,
        "ACK" => 16,
        "URG" => 32,
        "NONE" => 0,
        other => panic!("{other}"),
    };
    names.split(',').map(bit).sum()
}
