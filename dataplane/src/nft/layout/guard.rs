//! Guards: sets of nodes that have rules of some sort. Pure.

use std::fmt;

use crate::nft::chunk::{Scope, section_chain};
use crate::nft::condition::Class;
use crate::nft::field::Field;
use crate::nft::installed::Installed;
use crate::nft::key::Key;
use crate::nft::object::{Element, NamedSet, Values};
use crate::nft::section::{Section, narrow_length};
use crate::nft::unit::Feature;
use crate::rule::Family;

#[cfg(feature = "os")]
use super::sizes::SIZED;

/// Bits of a port.
const PORT_BITS: u8 = 16;

/// A protocol with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::nft) enum PortProtocol {
    /// Protocol 6.
    Tcp,
    /// Protocol 17.
    Udp,
}

impl PortProtocol {
    /// Both.
    pub(in crate::nft) const ALL: [Self; 2] = [Self::Tcp, Self::Udp];

    /// Those of what says which protocol it is for, or does not.
    pub(in crate::nft) fn of(protocol: Option<u8>) -> &'static [Self] {
        match protocol {
            None => &Self::ALL,
            Some(6) => &[Self::Tcp],
            Some(17) => &[Self::Udp],
            Some(_) => &[],
        }
    }

    /// Its number.
    pub(in crate::nft) fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

impl fmt::Display for PortProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// Sets of nodes that spare other packets work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::nft) enum Guard {
    /// Nodes that have rules.
    Node,
    /// Nodes that have rules in units for prefixes longer than the node.
    Longer,
    /// Nodes together with the node of a narrow source, that have rules in units for both.
    Narrow,
    /// Prefixes in which near nodes lie.
    Near,
    /// Prefixes in which the nodes of inner sections lie.
    Inner,
    /// Destination ports that units of a group of sections look up for a protocol.
    DestinationPort(PortProtocol),
    /// Source ports that units of a group of sections look up for a protocol.
    SourcePort(PortProtocol),
    /// Prefixes in which near nodes lie, together with the sources that units there are about.
    Source,
}

impl Guard {
    /// The set of a section; `None` when the section has no nodes.
    pub(in crate::nft) fn set(self, family: Family, section: Section) -> Option<NamedSet> {
        let node_key = section.node_key(family);
        let name = format!("{family}-{}", section.name(family));
        let group = match section.is_near() {
            true => format!("{family}-{}", section.side().name()),
            false => name.clone(),
        };
        let (name, key) = match self {
            Self::Node => (name, node_key?),
            Self::Longer => (format!("{name}-longer"), node_key?),
            Self::Narrow => (
                format!("{name}-from-{}", narrow_length(family)),
                section.narrow_key(family)?,
            ),
            Self::Near => (group, Section::near_key(section.side(), family)),
            Self::Inner => (format!("{name}-inner"), node_key?),
            Self::DestinationPort(protocol) => (
                format!("{group}-{protocol}-dport"),
                Key::prefixes(&[(Field::DestinationPort, PORT_BITS)]),
            ),
            Self::SourcePort(protocol) => (
                format!("{group}-{protocol}-sport"),
                Key::prefixes(&[(Field::SourcePort, PORT_BITS)]),
            ),
            Self::Source => (format!("{group}-from"), Section::near_source_key(family)?),
        };
        Some(NamedSet {
            name,
            key,
            values: None,
            size: None,
        })
    }

    /// The guard of a feature that near packets of a class look up; `None` when they need not, or cannot.
    pub(in crate::nft) fn of_feature(feature: Feature, class: Class) -> Option<Self> {
        match (feature, class.protocol()) {
            (Feature::DestinationPort, Some(protocol)) => Some(Self::DestinationPort(protocol)),
            (Feature::SourcePort, Some(protocol)) => Some(Self::SourcePort(protocol)),
            (Feature::DestinationPort | Feature::SourcePort, None) => None,
            (Feature::Source, _) => Some(Self::Source),
        }
    }

    /// The guards of the ports of a key that packets of a protocol look up.
    pub(in crate::nft) fn of_ports(key: &Key, protocol: PortProtocol) -> Vec<(Field, Self)> {
        let guards = [
            (Field::DestinationPort, Self::DestinationPort(protocol)),
            (Field::SourcePort, Self::SourcePort(protocol)),
        ];
        guards
            .into_iter()
            .filter(|(field, _)| key.has(*field))
            .collect()
    }

    /// The guards that have a rule's node, with the addresses there.
    pub(in crate::nft) fn of(
        installed: &Installed,
        is_listed: bool,
    ) -> Vec<(Section, Self, Addresses)> {
        let rule = &installed.rule;
        let (section, node) = Section::of(rule.family, &rule.matches);
        let head = section.head();
        let mut guards = Vec::new();
        if let Some(value) = installed.key_value().filter(|_| !is_listed) {
            for protocol in PortProtocol::of(value.protocol) {
                for (field, guard) in Self::of_ports(&value.key, *protocol) {
                    let port = value.value_of(field).expect("the key has the port");
                    guards.push((head, guard, Addresses::one(port)));
                }
            }
        }
        let Some(node) = node else {
            return guards;
        };
        guards.push((section, Self::Node, Addresses::one(node)));
        let near = head.node_of(rule.family, node);
        if section.is_near() {
            guards.push((head, Self::Near, Addresses::one(near)));
        }
        if let Some(inner) = section.inner() {
            guards.push((
                inner,
                Self::Inner,
                Addresses::one(inner.node_of(rule.family, node)),
            ));
        }
        if is_listed {
            return guards;
        }
        if section.is_longer(rule.family, &rule.matches) {
            guards.push((section, Self::Longer, Addresses::one(node)));
        } else if let Some(source) = section.narrow_source(rule.family, &rule.matches) {
            guards.push((section, Self::Narrow, Addresses::two(node, source)));
        }
        let sources = section.near_sources(rule.family, &rule.matches);
        for source in sources.into_iter().flatten() {
            guards.push((head, Self::Source, Addresses::two(near, source)));
        }
        guards
    }
}

/// How the names of maps that lead to lists end, but for a number.
const LISTED: &str = "-listed";

/// The number in the name of a map that a layout has made; `None` for sets, which have none.
///
/// Maps of two layouts must not share a name: see [`super::Layout::empty`].
#[cfg(feature = "os")]
pub(in crate::nft) fn number_of(map: &str) -> Option<u64> {
    match map.rsplit_once(LISTED) {
        Some((_, rest)) => match rest.split('-').nth(1) {
            None | Some(SIZED) => Some(1),
            Some(number) => number.parse().ok(),
        },
        None => map.split('-').nth(1)?.parse().ok(),
    }
}

/// The map that leads packets of a class and scope to the lists of their nodes; `None` when the section has no
/// nodes. Its name has the first number of the layout, as far as it is not 1.
pub(in crate::nft) fn listed_map(
    family: Family,
    section: Section,
    class: Class,
    scope: Scope,
    first_number: u64,
) -> Option<NamedSet> {
    let name = format!("{}{LISTED}", section_chain(family, section, class, scope));
    Some(NamedSet {
        name: match first_number {
            1 => name,
            number => format!("{name}-{number}"),
        },
        key: section.node_key(family)?,
        values: Some(Values::Chains),
        size: None,
    })
}

/// What a guard has of a node, left-aligned: one prefix or port, or two prefixes. Octets, which need no alignment: there
/// are more nodes than rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::nft) struct Addresses([[u8; 16]; 2]);

impl Addresses {
    /// For guards whose key has one field.
    fn one(address: u128) -> Self {
        Self::two(address, 0)
    }

    /// For guards whose key has two fields.
    fn two(first: u128, second: u128) -> Self {
        Self([first.to_be_bytes(), second.to_be_bytes()])
    }

    /// As numbers.
    pub(in crate::nft) fn numbers(self) -> [u128; 2] {
        self.0.map(u128::from_be_bytes)
    }
}

/// A node in a guard.
pub(in crate::nft) type NodeKey = (Family, Section, Guard, Addresses);

/// A node as an element of a set; its addresses are left-aligned.
pub(in crate::nft) fn node_element(set: &NamedSet, addresses: &[u128]) -> Element {
    Element {
        value: set.key.value_of(addresses),
        target: None,
        comment: None,
        rule: None,
    }
}
