//! One line of a policy file: an entry for one interface, and its target.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::Release;
use super::policer::Policer;
use crate::rule::{AddressPattern, Family};
use crate::tcam::{Cube, Entry, Ports};

/// Most ports in one list of the match `multiport`.
pub(super) const MULTIPORT_MAX: usize = 15;

/// What happens to packets that pass the tests of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// They pass, and no further line is looked at.
    Accept,
    /// They are dropped.
    Drop,
    /// Those over the rate are dropped; for the others the evaluation goes on.
    Police(Policer),
    /// They get this DSCP and pass.
    Mark(u8),
}

/// Exact ports that take the place of one in an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Multiport {
    /// Destination ports: 2 to 15.
    Destination(Vec<u16>),
    /// Source ports: 2 to 15.
    Source(Vec<u16>),
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What packets must be.
    pub entry: Entry,
    /// Several ports in the place of one of the entry.
    pub multiport: Option<Multiport>,
    /// The interface that they come in by, as `iptables` has it: `swp+`.
    pub interface: String,
    /// What happens to them.
    pub target: Target,
}

impl Line {
    /// How many entries the hardware needs.
    pub fn cost(&self) -> usize {
        match &self.multiport {
            Some(Multiport::Destination(ports) | Multiport::Source(ports)) => ports.len(),
            None => 1,
        }
    }

    /// The entries that the hardware makes of it.
    pub fn entries(&self) -> Vec<Entry> {
        let with = |change: &dyn Fn(&mut Entry, Ports), ports: &[u16]| {
            let entry = |port: &u16| {
                let mut entry = self.entry.clone();
                change(&mut entry, Ports::single(*port));
                entry
            };
            ports.iter().map(entry).collect()
        };
        match &self.multiport {
            None => vec![self.entry.clone()],
            Some(Multiport::Destination(ports)) => {
                with(&|entry, port| entry.destination_port = Some(port), ports)
            }
            Some(Multiport::Source(ports)) => {
                with(&|entry, port| entry.source_port = Some(port), ports)
            }
        }
    }

    /// The text of the line, without line break.
    pub fn text(&self, release: Release) -> String {
        let table = match release {
            Release::Four => "",
            Release::Five => "-t mangle ",
        };
        let chain = release.chain();
        format!(
            "{table}-A {chain} -i {}{} -j {}",
            self.interface,
            Tests(self),
            self.target_text(release)
        )
    }

    /// What stands behind `-j`.
    fn target_text(&self, release: Release) -> String {
        match (&self.target, release) {
            (Target::Accept, _) => "ACCEPT".into(),
            (Target::Drop, _) => "DROP".into(),
            (Target::Police(policer), _) => format!("POLICE {policer}"),
            // The table filter has no target DSCP.
            (Target::Mark(dscp), Release::Four) => format!("SETQOS --set-dscp {dscp}"),
            (Target::Mark(dscp), Release::Five) => format!("DSCP --set-dscp {dscp}"),
        }
    }

    /// The name of the target.
    pub(super) fn target_name(&self, release: Release) -> &'static str {
        match (&self.target, release) {
            (Target::Accept, _) => "ACCEPT",
            (Target::Drop, _) => "DROP",
            (Target::Police(_), _) => "POLICE",
            (Target::Mark(_), Release::Four) => "SETQOS",
            (Target::Mark(_), Release::Five) => "DSCP",
        }
    }
}

/// The tests of a line, each with a space before it.
struct Tests<'a>(&'a Line);

impl fmt::Display for Tests<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Line {
            entry, multiport, ..
        } = self.0;
        if let Some(source) = entry.source {
            write!(f, " -s {}", prefix(source, entry.family))?;
        }
        if let Some(destination) = entry.destination {
            write!(f, " -d {}", prefix(destination, entry.family))?;
        }
        if entry.later_fragment {
            f.write_str(" -f")?;
        }
        if let Some(protocol) = entry.protocol {
            write!(f, " -p {}", protocol_name(protocol, entry.family))?;
        }
        let lists_sources = matches!(multiport, Some(Multiport::Source(_)));
        if let Some(ports) = entry.source_port.filter(|_| !lists_sources) {
            write!(f, " --sport {ports}")?;
        }
        let lists_destinations = matches!(multiport, Some(Multiport::Destination(_)));
        if let Some(ports) = entry.destination_port.filter(|_| !lists_destinations) {
            write!(f, " --dport {ports}")?;
        }
        match multiport {
            None => {}
            Some(Multiport::Source(ports)) => write!(f, " -m multiport --sports {}", List(ports))?,
            Some(Multiport::Destination(ports)) => {
                write!(f, " -m multiport --dports {}", List(ports))?;
            }
        }
        if let Some(icmp_type) = entry.icmp_type {
            let option = match entry.family {
                Family::Ipv4 => "--icmp-type",
                Family::Ipv6 => "--icmpv6-type",
            };
            write!(f, " {option} {icmp_type}")?;
            if let Some(code) = entry.icmp_code {
                write!(f, "/{code}")?;
            }
        }
        if let Some(Cube { mask, value }) = entry.tcp_flags {
            write!(f, " --tcp-flags {} {}", flag_names(mask), flag_names(value))?;
        }
        if let Some(dscp) = entry.dscp {
            write!(f, " -m dscp --dscp {dscp}")?;
        }
        if let Some(hop_limit) = entry.hop_limit {
            match entry.family {
                Family::Ipv4 => write!(f, " -m ttl --ttl-eq {hop_limit}")?,
                Family::Ipv6 => write!(f, " -m hl --hl-eq {hop_limit}")?,
            }
        }
        Ok(())
    }
}

/// Ports with commas between them.
struct List<'a>(&'a [u16]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, port) in self.0.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{port}")?;
        }
        Ok(())
    }
}

/// A prefix in text, with its length.
pub(super) fn prefix(pattern: AddressPattern, family: Family) -> String {
    let length = pattern.prefix_length().unwrap_or(0);
    match family {
        Family::Ipv4 => {
            let [a, b, c, d, ..] = pattern.value().to_be_bytes();
            format!("{}/{length}", Ipv4Addr::new(a, b, c, d))
        }
        Family::Ipv6 => format!("{}/{length}", Ipv6Addr::from(pattern.value())),
    }
}

/// A protocol as `iptables` wants it where options of that protocol follow, else its number.
fn protocol_name(protocol: u8, family: Family) -> String {
    match (protocol, family) {
        (6, _) => "tcp".into(),
        (17, _) => "udp".into(),
        (1, Family::Ipv4) => "icmp".into(),
        (58, Family::Ipv6) => "icmpv6".into(),
        (number, _) => number.to_string(),
    }
}

/// TCP flags with commas between them.
fn flag_names(flags: u16) -> String {
    let names = ["FIN", "SYN", "RST", "PSH", "ACK", "URG"].into_iter();
    let names = names.enumerate().filter(|(bit, _)| flags >> bit & 1 == 1);
    let names: Vec<&str> = names.map(|(_, name)| name).collect();
    match names.as_slice() {
        [] => "NONE".into(),
        names => names.join(","),
    }
}

/// Lines for entries that differ in one exact port are joined, as far as `multiport` reaches.
pub(super) fn join(entries: Vec<Entry>) -> Vec<(Entry, Option<Multiport>)> {
    let mut joined: Vec<(Entry, Option<Multiport>)> = Vec::new();
    for entry in entries {
        let taken = joined.last_mut().is_some_and(|last| take_in(last, &entry));
        if !taken {
            joined.push((entry, None));
        }
    }
    joined
}

/// Takes the port of `entry` into the last line, if that is all that it differs in.
fn take_in((last, list): &mut (Entry, Option<Multiport>), entry: &Entry) -> bool {
    let exact = |ports: Option<Ports>| ports.and_then(Ports::exact);
    let with_ports = |source_port, destination_port| Entry {
        source_port,
        destination_port,
        ..last.clone()
    };
    if let (Some(first), Some(port)) = (exact(last.destination_port), exact(entry.destination_port))
        && with_ports(last.source_port, entry.destination_port) == *entry
    {
        match list {
            None => *list = Some(Multiport::Destination(vec![first, port])),
            Some(Multiport::Destination(ports)) if ports.len() < MULTIPORT_MAX => ports.push(port),
            Some(_) => return false,
        }
        return true;
    }
    if let (Some(first), Some(port)) = (exact(last.source_port), exact(entry.source_port))
        && with_ports(entry.source_port, last.destination_port) == *entry
    {
        match list {
            None => *list = Some(Multiport::Source(vec![first, port])),
            Some(Multiport::Source(ports)) if ports.len() < MULTIPORT_MAX => ports.push(port),
            Some(_) => return false,
        }
        return true;
    }
    false
}
