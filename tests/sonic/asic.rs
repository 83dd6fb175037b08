//! The hardware behind the stand-in for orchagent: tables of entries, range checkers, and packets forwarded by them.
//!
//! What a document must say is written after `aclorch.cpp` of sonic-swss (`AclRule::validateAddMatch`,
//! `AclRulePacket::validateAddAction`, `AclTableTypeParser`), not after what flowacl writes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use dataplane::packet::Packet;
use dataplane::rule::Family;

/// Fields of a document, the `@` of lists taken off.
pub type Fields = BTreeMap<String, String>;

/// Why an entry is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It makes no sense: `Inactive`.
    Invalid(String),
    /// There is no room: `Pending creation`.
    Full,
}

/// What entries of a table may have.
#[derive(Clone, Debug, Default)]
pub struct TableType {
    matches: BTreeSet<String>,
    actions: BTreeSet<String>,
}

/// The match fields that orchagent knows, as far as any table here could have them.
const MATCHES: [&str; 18] = [
    "IN_PORTS",
    "OUT_PORT",
    "OUT_PORTS",
    "SRC_IP",
    "DST_IP",
    "SRC_IPV6",
    "DST_IPV6",
    "L4_SRC_PORT",
    "L4_DST_PORT",
    "ETHER_TYPE",
    "VLAN_ID",
    "IP_PROTOCOL",
    "NEXT_HEADER",
    "TCP_FLAGS",
    "IP_TYPE",
    "DSCP",
    "L4_SRC_PORT_RANGE",
    "L4_DST_PORT_RANGE",
];
/// The same for ICMP.
const ICMP: [&str; 4] = ["ICMP_TYPE", "ICMP_CODE", "ICMPV6_TYPE", "ICMPV6_CODE"];

impl TableType {
    /// Reads the document.
    pub fn parse(fields: &Fields) -> Result<Self, String> {
        let mut read = Self::default();
        for (name, value) in fields {
            let words = value.split(',').map(str::to_uppercase);
            match name.to_uppercase().as_str() {
                "MATCHES" => {
                    for word in words {
                        if !MATCHES.contains(&word.as_str()) && !ICMP.contains(&word.as_str()) {
                            return Err(format!("unknown match {word}"));
                        }
                        read.matches.insert(word);
                    }
                }
                "ACTIONS" => {
                    for word in words {
                        if !["PACKET_ACTION", "REDIRECT_ACTION", "COUNTER"].contains(&word.as_str())
                        {
                            return Err(format!("unknown action {word}"));
                        }
                        read.actions.insert(word);
                    }
                }
                "BIND_POINTS" => {
                    for word in words {
                        if !["PORT", "PORTCHANNEL"].contains(&word.as_str()) {
                            return Err(format!("unknown bind point {word}"));
                        }
                    }
                }
                other => return Err(format!("unknown field {other}")),
            }
        }
        Ok(read)
    }
}

/// One test of a packet.
#[derive(Clone, Debug, PartialEq)]
enum Test {
    Family(Family),
    Source(u128, u128),
    Destination(u128, u128),
    Protocol(u8),
    SourcePort(u16, u16),
    DestinationPort(u16, u16),
    TcpFlags(u16, u16),
    IcmpType(u8),
    IcmpCode(u8),
    Dscp(u8),
}

impl Test {
    fn holds(&self, packet: &Packet) -> bool {
        let port =
            |port: Option<u16>, low, high| port.is_some_and(|port| low <= port && port <= high);
        match *self {
            Test::Family(family) => packet.family == family,
            Test::Source(value, mask) => packet.source & mask == value & mask,
            Test::Destination(value, mask) => packet.destination & mask == value & mask,
            Test::Protocol(protocol) => packet.protocol == Some(protocol),
            Test::SourcePort(low, high) => port(packet.source_port, low, high),
            Test::DestinationPort(low, high) => port(packet.destination_port, low, high),
            Test::TcpFlags(value, mask) => packet
                .tcp_flags
                .is_some_and(|flags| flags & mask == value & mask),
            Test::IcmpType(number) => packet.icmp_type == Some(number),
            Test::IcmpCode(number) => packet.icmp_code == Some(number),
            Test::Dscp(dscp) => packet.dscp == dscp,
        }
    }
}

/// An entry of a table.
#[derive(Clone, Debug)]
pub struct Entry {
    priority: u32,
    tests: Vec<Test>,
    ranges: Vec<(String, u16, u16)>,
    drop: bool,
    /// Packets that it decided.
    pub packets: u64,
}

/// A number, in decimal or hexadecimal digits.
fn number(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x").or(text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| format!("{text:?} is not a number"))
}

/// A number up to `max`.
fn bounded(text: &str, max: u64) -> Result<u64, String> {
    let number = number(text)?;
    if number > max {
        return Err(format!("{text} is more than {max}"));
    }
    Ok(number)
}

fn octet(text: &str) -> Result<u8, String> {
    Ok(bounded(text, 0xff)? as u8)
}

/// A prefix, left-aligned: value and mask.
fn prefix(text: &str, family: Family) -> Result<(u128, u128), String> {
    let (address, length) = text.split_once('/').ok_or("a prefix without its length")?;
    let bits = u64::from(family.address_bits());
    let length = bounded(length, bits)? as u32;
    let wrong = |_| format!("{text:?} is not a prefix of {family}");
    let value = match family {
        Family::Ipv4 => u128::from(address.parse::<Ipv4Addr>().map_err(wrong)?.to_bits()) << 96,
        Family::Ipv6 => address.parse::<Ipv6Addr>().map_err(wrong)?.to_bits(),
    };
    let mask = !u128::MAX.checked_shr(length).unwrap_or(0);
    Ok((value & mask, mask))
}

impl Entry {
    /// Reads the document of a table of this type.
    fn parse(fields: &Fields, of: &TableType, priorities: (u32, u32)) -> Result<Self, String> {
        let mut entry = Self {
            priority: 0,
            tests: Vec::new(),
            ranges: Vec::new(),
            drop: false,
            packets: 0,
        };
        let mut actions = 0;
        let (mut has_flags, mut has_protocol) = (false, false);
        for (name, value) in fields {
            let name = name.to_uppercase();
            let tests = &mut entry.tests;
            match name.as_str() {
                "PRIORITY" => {
                    entry.priority = bounded(value, u64::from(priorities.1))? as u32;
                    if entry.priority < priorities.0 {
                        return Err(format!("priority {value} is less than {}", priorities.0));
                    }
                    continue;
                }
                "PACKET_ACTION" => {
                    actions += 1;
                    entry.drop = match value.to_uppercase().as_str() {
                        "DROP" => true,
                        "FORWARD" => false,
                        other => return Err(format!("unknown action {other}")),
                    };
                    if !of.actions.contains("PACKET_ACTION") {
                        return Err("the table has no PACKET_ACTION".into());
                    }
                    continue;
                }
                "IP_TYPE" => match value.to_uppercase().as_str() {
                    "IPV4ANY" => tests.push(Test::Family(Family::Ipv4)),
                    "IPV6ANY" => tests.push(Test::Family(Family::Ipv6)),
                    "ANY" | "IP" => {}
                    other => return Err(format!("IP type {other}")),
                },
                "SRC_IP" => {
                    let (value, mask) = prefix(value, Family::Ipv4)?;
                    tests.push(Test::Source(value, mask));
                }
                "DST_IP" => {
                    let (value, mask) = prefix(value, Family::Ipv4)?;
                    tests.push(Test::Destination(value, mask));
                }
                "SRC_IPV6" => {
                    let (value, mask) = prefix(value, Family::Ipv6)?;
                    tests.push(Test::Source(value, mask));
                }
                "DST_IPV6" => {
                    let (value, mask) = prefix(value, Family::Ipv6)?;
                    tests.push(Test::Destination(value, mask));
                }
                "IP_PROTOCOL" | "NEXT_HEADER" => {
                    has_protocol = true;
                    tests.push(Test::Protocol(octet(value)?));
                }
                "L4_SRC_PORT" | "L4_DST_PORT" => {
                    let port = bounded(value, 0xffff)? as u16;
                    tests.push(match name.as_str() {
                        "L4_SRC_PORT" => Test::SourcePort(port, port),
                        _ => Test::DestinationPort(port, port),
                    });
                }
                "L4_SRC_PORT_RANGE" | "L4_DST_PORT_RANGE" => {
                    let (low, high) = value.split_once('-').ok_or("a range without -")?;
                    let (low, high) = (bounded(low, 0xffff)? as u16, bounded(high, 0xffff)? as u16);
                    if low > high {
                        return Err(format!("range {value}"));
                    }
                    tests.push(match name.as_str() {
                        "L4_SRC_PORT_RANGE" => Test::SourcePort(low, high),
                        _ => Test::DestinationPort(low, high),
                    });
                    entry.ranges.push((name.clone(), low, high));
                }
                "TCP_FLAGS" => {
                    has_flags = true;
                    let (flags, mask) = value.split_once('/').unwrap_or((value, "0x3f"));
                    let (flags, mask) = (bounded(flags, 0x3f)? as u16, bounded(mask, 0x3f)? as u16);
                    tests.push(Test::TcpFlags(flags, mask));
                }
                "ICMP_TYPE" | "ICMPV6_TYPE" => tests.push(Test::IcmpType(octet(value)?)),
                "ICMP_CODE" | "ICMPV6_CODE" => tests.push(Test::IcmpCode(octet(value)?)),
                "DSCP" => tests.push(Test::Dscp(bounded(value, 0x3f)? as u8)),
                other => return Err(format!("unknown attribute {other}")),
            }
            if !of.matches.contains(&name) {
                return Err(format!("the table has no {name}"));
            }
        }
        if entry.tests.is_empty() {
            return Err("no match at all".into());
        }
        if actions != 1 {
            return Err(format!("{actions} actions"));
        }
        if has_flags && !has_protocol {
            entry.tests.push(Test::Protocol(6));
        }
        Ok(entry)
    }
}

/// A table.
#[derive(Clone, Debug, Default)]
pub struct Table {
    of: TableType,
    /// Where it is bound.
    pub ports: BTreeSet<String>,
    /// By name.
    pub entries: BTreeMap<String, Entry>,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    Dropped,
    Forwarded,
}

/// The hardware.
#[derive(Clone, Debug, Default)]
pub struct Asic {
    /// By name.
    pub tables: BTreeMap<String, Table>,
    /// Entries for each table; `None`: no limit.
    pub capacity: Option<usize>,
    /// Different port ranges; `None`: no limit.
    pub range_checkers: Option<usize>,
    /// Rules whose documents have this field with this value are not understood.
    pub refuses: Option<(String, String)>,
    /// Packets whose fates are noted after each change, and the fates they had since the last [`Asic::watch`].
    pub probes: Vec<(Packet, BTreeSet<Fate>)>,
    /// Entries that were created, ever.
    pub created: usize,
}

impl Asic {
    /// Creates or changes a table.
    pub fn put_table(&mut self, name: &str, of: &TableType, ports: BTreeSet<String>) {
        let table = self.tables.entry(name.into()).or_default();
        table.of = of.clone();
        table.ports = ports;
        self.note();
    }

    /// Takes a table away.
    pub fn remove_table(&mut self, name: &str) {
        self.tables.remove(name);
        self.note();
    }

    /// Creates an entry. One of this name goes before.
    pub fn put(&mut self, table: &str, name: &str, fields: &Fields) -> Result<(), Refused> {
        self.remove(table, name);
        let result = self.create(table, name, fields);
        self.note();
        result
    }

    fn create(&mut self, table: &str, name: &str, fields: &Fields) -> Result<(), Refused> {
        if let Some((field, value)) = &self.refuses
            && fields.get(field) == Some(value)
        {
            return Err(Refused::Invalid(format!("{field} {value}")));
        }
        let of = &self.tables[table].of;
        let entry = Entry::parse(fields, of, (1, 16_000)).map_err(Refused::Invalid)?;
        let mut ranges = self.ranges();
        ranges.extend(entry.ranges.iter().cloned());
        let entries = self.tables[table].entries.len();
        if self
            .range_checkers
            .is_some_and(|limit| ranges.len() > limit)
            || self.capacity.is_some_and(|limit| entries >= limit)
        {
            return Err(Refused::Full);
        }
        let table = self.tables.get_mut(table).unwrap();
        table.entries.insert(name.into(), entry);
        self.created += 1;
        Ok(())
    }

    /// Takes an entry away; true when it was there.
    pub fn remove(&mut self, table: &str, name: &str) -> bool {
        let removed = match self.tables.get_mut(table) {
            Some(table) => table.entries.remove(name).is_some(),
            None => false,
        };
        if removed {
            self.note();
        }
        removed
    }

    /// The ranges that have a checker.
    pub fn ranges(&self) -> BTreeSet<(String, u16, u16)> {
        let entries = self
            .tables
            .values()
            .flat_map(|table| table.entries.values());
        entries
            .flat_map(|entry| entry.ranges.iter().cloned())
            .collect()
    }

    /// The name of the entry that decides a packet of a port. Entries that say different things with the same priority
    /// are an error.
    fn deciding(&self, port: &str, packet: &Packet) -> Option<(String, String)> {
        let mut best: Option<(&str, &str, &Entry)> = None;
        for (table_name, table) in self
            .tables
            .iter()
            .filter(|(_, table)| table.ports.contains(port))
        {
            for (name, entry) in &table.entries {
                if !entry.tests.iter().all(|test| test.holds(packet)) {
                    continue;
                }
                match best {
                    Some((_, other, above))
                        if above.priority == entry.priority && above.drop != entry.drop =>
                    {
                        panic!("{name} and {other} are of one priority and disagree on {packet:?}")
                    }
                    Some((_, _, above)) if above.priority >= entry.priority => {}
                    _ => best = Some((table_name, name, entry)),
                }
            }
        }
        best.map(|(table, name, _)| (table.into(), name.into()))
    }

    /// What would become of a packet of a port.
    pub fn fate(&self, port: &str, packet: &Packet) -> Fate {
        match self.deciding(port, packet) {
            Some((table, name)) if self.tables[&table].entries[&name].drop => Fate::Dropped,
            _ => Fate::Forwarded,
        }
    }

    /// Forwards a packet of a port, and counts it.
    pub fn forward(&mut self, port: &str, packet: &Packet) -> Fate {
        if let Some((table, name)) = self.deciding(port, packet) {
            let table = self.tables.get_mut(&table).unwrap();
            table.entries.get_mut(&name).unwrap().packets += 1;
        }
        self.fate(port, packet)
    }

    /// Notes the fates of these packets from now on.
    pub fn watch(&mut self, probes: Vec<Packet>) {
        self.probes = probes
            .into_iter()
            .map(|packet| (packet, BTreeSet::new()))
            .collect();
        self.note();
    }

    /// Notes the fates of the probes at this moment.
    fn note(&mut self) {
        let mut probes = std::mem::take(&mut self.probes);
        for (packet, fates) in &mut probes {
            fates.insert(self.fate("Ethernet0", packet));
        }
        self.probes = probes;
    }
}
