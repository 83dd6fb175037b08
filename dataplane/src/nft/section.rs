//! Where a rule stands among the rules of its family: which packets meet it, and when. Pure.
//!
//! Rules with a destination are evaluated before those without, and longer prefixes before shorter
//! ones (RFC 8955 §5.1). A section holds the rules whose destination, or else source, has about the
//! same length; a packet goes through the sections in order. Within a section, *nodes* are prefixes
//! of one length, that of the shortest prefix in the section: only packets to (or from) a node that
//! has rules look any further. A node may hold longer prefixes that a packet does not match, so that
//! nodes only ever save work, and never decide.

use super::field::Field;
use super::key::Key;
use crate::rule::{AddressPattern, Family, Match};

/// Shortest prefixes of the sections, longest first.
const IPV4_LEVELS: [u8; LEVELS] = [32, 24, 16, 8];
/// See [`IPV4_LEVELS`].
const IPV6_LEVELS: [u8; LEVELS] = [128, 64, 48, 32];
/// Sections with nodes for each side.
const LEVELS: usize = 4;

/// Indices of the levels by whose nodes sources are looked up together with a destination: fewer than
/// for sources alone, since most packets of a destination are done with them after these.
const SOURCE_LEVELS: [u8; 2] = [1, 3];

/// The level of [`SOURCE_LEVELS`] with the shortest prefixes.
pub(super) const WIDEST_SOURCE: u8 = 3;

/// The last level whose sections are near: packets to (or from) a prefix of its length without nodes skip them all.
const LAST_NEAR: u8 = 2;

/// The address that a section goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    /// Destination.
    To,
    /// Source, of rules without destination.
    From,
}

/// Rules that are evaluated together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Section {
    side: Side,
    /// Index of the section's level; [`LEVELS`] for what has no node.
    level: u8,
}

impl Section {
    /// The section of a match, and the node there, left-aligned; `None` when it has none.
    pub(super) fn of(family: Family, matches: &Match) -> (Self, Option<u128>) {
        let (side, pattern) = match (&matches.destination, &matches.source) {
            (Some(destination), _) => (Side::To, Some(destination)),
            (None, source) => (Side::From, source.as_ref()),
        };
        let other = Self {
            side,
            level: LEVELS as u8,
        };
        let length = pattern.and_then(AddressPattern::prefix_length);
        let (Some(pattern), Some(length)) = (pattern, length) else {
            return (other, None);
        };
        match levels(family).iter().position(|level| *level <= length) {
            Some(index) => {
                let node = AddressPattern::new(pattern.value(), 0, levels(family)[index]);
                let level = index as u8;
                (Self { side, level }, Some(node.value()))
            }
            None => (other, None),
        }
    }

    /// The sections of a side, in order.
    pub(super) fn of_side(side: Side) -> impl Iterator<Item = Section> {
        (0..=LEVELS as u8).map(move |level| Section { side, level })
    }

    /// True when one lookup says that a packet need not look at it, nor at any other near section of its side.
    pub(super) fn is_near(self) -> bool {
        self.level <= LAST_NEAR
    }

    /// The node here in which a longer prefix lies; both are left-aligned.
    pub(super) fn node_of(self, family: Family, longer: u128) -> u128 {
        let length = self.node_length(family).unwrap_or(0);
        AddressPattern::new(longer, 0, length).value()
    }

    /// The prefix length of its nodes; `None` when it has none.
    pub(super) fn node_length(self, family: Family) -> Option<u8> {
        levels(family).get(usize::from(self.level)).copied()
    }

    /// The address that it goes by.
    pub(super) fn side(self) -> Side {
        self.side
    }

    /// What packets look up to find their node.
    pub(super) fn node_key(self, family: Family) -> Option<Key> {
        let length = self.node_length(family)?;
        Some(Key::prefixes(&[(self.side.field(family), length)]))
    }

    /// True when the prefix that the section goes by is longer than its nodes.
    pub(super) fn is_longer(self, family: Family, matches: &Match) -> bool {
        let length = self
            .side
            .pattern(matches)
            .map(|pattern| pattern.mask().count_ones());
        length > self.node_length(family).map(u32::from)
    }

    /// The level by which sources of rules for a node are looked up, and the source's node there,
    /// left-aligned. `None` for rules without a source, or with a longer prefix than that of the
    /// node: their order goes by destination first.
    pub(super) fn source_node(self, family: Family, matches: &Match) -> Option<(u8, u128)> {
        if self.side != Side::To || self.is_longer(family, matches) {
            return None;
        }
        let source = matches.source?;
        let level = source_level(family, source.prefix_length()?)?;
        Some((level, source_node(family, source.value(), level)))
    }

    /// What packets look up to find their node together with that of their source.
    pub(super) fn pair_key(self, family: Family, source_level: u8) -> Option<Key> {
        let source = (
            Side::From.field(family),
            levels(family)[usize::from(source_level)],
        );
        let destination = (self.side.field(family), self.node_length(family)?);
        Some(Key::prefixes(&[destination, source]))
    }

    /// Its name in those of chains and sets: `to-32`, `from-24`, `to-other`, `other`.
    pub(super) fn name(self, family: Family) -> String {
        match (self.side, self.node_length(family)) {
            (side, Some(length)) => format!("{}-{length}", side.name()),
            (Side::To, None) => "to-other".into(),
            (Side::From, None) => "other".into(),
        }
    }
}

impl Side {
    /// Both, in the order in which packets meet them.
    pub(super) const ALL: [Side; 2] = [Side::To, Side::From];

    /// The last near section.
    pub(super) fn near(self) -> Section {
        Section {
            side: self,
            level: LAST_NEAR,
        }
    }

    /// Its name in those of chains and sets.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::To => "to",
            Self::From => "from",
        }
    }

    /// The field of the address.
    pub(super) fn field(self, family: Family) -> Field {
        match self {
            Self::To => Field::Destination(family),
            Self::From => Field::Source(family),
        }
    }

    /// What a match says about the address.
    pub(super) fn pattern(self, matches: &Match) -> Option<&AddressPattern> {
        match self {
            Self::To => matches.destination.as_ref(),
            Self::From => matches.source.as_ref(),
        }
    }
}

/// The level by which a source prefix of this length is looked up together with a destination.
pub(super) fn source_level(family: Family, length: u8) -> Option<u8> {
    let reaches = |level: &u8| levels(family)[usize::from(*level)] <= length;
    SOURCE_LEVELS.into_iter().find(reaches)
}

/// The node of a source at a level; both are left-aligned.
pub(super) fn source_node(family: Family, source: u128, level: u8) -> u128 {
    AddressPattern::new(source, 0, source_length(family, level)).value()
}

/// The prefix length of the nodes of sources at a level.
pub(super) fn source_length(family: Family, level: u8) -> u8 {
    levels(family)[usize::from(level)]
}

/// The levels of a family.
fn levels(family: Family) -> &'static [u8; LEVELS] {
    match family {
        Family::Ipv4 => &IPV4_LEVELS,
        Family::Ipv6 => &IPV6_LEVELS,
    }
}
