//! Guards: sets of nodes that have rules of some sort. Pure.

use crate::nft::chunk::section_chain;
use crate::nft::compile::Class;
use crate::nft::installed::Installed;
use crate::nft::object::{Element, NamedSet, Values};
use crate::nft::section::{Section, source_length};
use crate::rule::Family;

/// Sets of nodes that spare other packets work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::nft) enum Guard {
    /// Nodes that have rules.
    Node,
    /// Nodes that have rules in units for prefixes longer than the node.
    Longer,
    /// Nodes together with a source's node at this level, that have rules in units for both.
    Pair(u8),
}

impl Guard {
    /// The set of a section; `None` when the section has no nodes.
    pub(in crate::nft) fn set(self, family: Family, section: Section) -> Option<NamedSet> {
        let node_key = section.node_key(family);
        let (suffix, key) = match self {
            Self::Node => (String::new(), node_key?),
            Self::Longer => ("-longer".into(), node_key?),
            Self::Pair(level) => (
                format!("-from-{}", source_length(family, level)),
                section.pair_key(family, level)?,
            ),
        };
        Some(NamedSet {
            name: format!("{family}-{}{suffix}", section.name(family)),
            key,
            values: None,
        })
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
        if is_listed {
            return guards;
        }
        if section.is_longer(rule.family, &rule.matches) {
            guards.push((section, Self::Longer, vec![node]));
        } else if let Some((level, source)) = section.source_node(rule.family, &rule.matches) {
            guards.push((section, Self::Pair(level), vec![node, source]));
        }
        guards
    }
}

/// How the names of maps that lead to lists end, but for a number.
const LISTED: &str = "-listed";

/// The number in the name of a map that a layout has made; `None` for sets, which have none.
///
/// Maps of two layouts must not share a name: see [`super::Layout::empty`].
pub(in crate::nft) fn number_of(map: &str) -> Option<u64> {
    match map.rsplit_once(LISTED) {
        Some((_, "")) => Some(1),
        Some((_, number)) => number.strip_prefix('-')?.parse().ok(),
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
