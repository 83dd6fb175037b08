//! Guards: sets of nodes that have rules of some sort. Pure.

use std::fmt;

use crate::nft::chunk::section_chain;
use crate::nft::compile::Class;
use crate::nft::field::Field;
use crate::nft::installed::Installed;
use crate::nft::key::Key;
use crate::nft::object::{Element, NamedSet, Values};
use crate::nft::section::{Section, WIDEST_SOURCE, source_length, source_node};
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
    /// Nodes together with a source's node at this level, that have rules in units for both.
    Pair(u8),
    /// Prefixes in which near nodes lie.
    Near,
    /// Destination ports that near units look up for a protocol.
    DestinationPort(PortProtocol),
    /// Source ports that near units look up for a protocol.
    SourcePort(PortProtocol),
}

impl Guard {
    /// The set of a section; `None` when the section has no nodes.
    pub(in crate::nft) fn set(self, family: Family, section: Section) -> Option<NamedSet> {
        let node_key = section.node_key(family);
        let name = format!("{family}-{}", section.name(family));
        let near = format!("{family}-{}", section.side().name());
        let (name, key) = match self {
            Self::Node => (name, node_key?),
            Self::Longer => (format!("{name}-longer"), node_key?),
            Self::Pair(level) => (
                format!("{name}-from-{}", source_length(family, level)),
                section.pair_key(family, level)?,
            ),
            Self::Near => (near, section.side().near().node_key(family)?),
            Self::DestinationPort(protocol) => (
                format!("{near}-{protocol}-dport"),
                Key::prefixes(&[(Field::DestinationPort, PORT_BITS)]),
            ),
            Self::SourcePort(protocol) => (
                format!("{near}-{protocol}-sport"),
                Key::prefixes(&[(Field::SourcePort, PORT_BITS)]),
            ),
        };
        Some(NamedSet {
            name,
            key,
            values: None,
            size: None,
        })
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
    ) -> Vec<(Section, Self, Vec<u128>)> {
        let rule = &installed.rule;
        let (section, node) = Section::of(rule.family, &rule.matches);
        let Some(node) = node else {
            return Vec::new();
        };
        let mut guards = vec![(section, Self::Node, vec![node])];
        let near = section.side().near();
        if section.is_near() {
            guards.push((near, Self::Near, vec![near.node_of(rule.family, node)]));
        }
        if is_listed {
            return guards;
        }
        if let Some(value) = installed.key_value().filter(|_| section.is_near()) {
            for protocol in PortProtocol::of(value.protocol) {
                for (field, guard) in Self::of_ports(&value.key, *protocol) {
                    let port = value.value_of(field).expect("the key has the port");
                    guards.push((near, guard, vec![port]));
                }
            }
        }
        if section.is_longer(rule.family, &rule.matches) {
            guards.push((section, Self::Longer, vec![node]));
        } else if let Some((level, source)) = section.source_node(rule.family, &rule.matches) {
            guards.push((section, Self::Pair(level), vec![node, source]));
            if level != WIDEST_SOURCE {
                let source = source_node(rule.family, source, WIDEST_SOURCE);
                guards.push((section, Self::Pair(WIDEST_SOURCE), vec![node, source]));
            }
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

/// The map that leads packets of a class to the lists of their nodes; `None` when the section has no
/// nodes. Its name has the first number of the layout, as far as it is not 1.
pub(in crate::nft) fn listed_map(
    family: Family,
    section: Section,
    class: Class,
    first_number: u64,
) -> Option<NamedSet> {
    let name = format!("{}{LISTED}", section_chain(family, section, class));
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

/// A node in a guard: the addresses are left-aligned.
pub(in crate::nft) type NodeKey = (Family, Section, Guard, Vec<u128>);

/// A node as an element of a guard.
pub(in crate::nft) fn node_element(set: &NamedSet, addresses: &[u128]) -> Element {
    Element {
        value: set.key.value_of(addresses),
        target: None,
        comment: None,
        rule: None,
    }
}
