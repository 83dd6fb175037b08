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
const IPV4_LEVELS: [u8; LEVELS] = [32, 24, 20, 16, 8];
/// See [`IPV4_LEVELS`].
const IPV6_LEVELS: [u8; LEVELS] = [128, 64, 56, 48, 32];
/// Sections with nodes for each side.
const LEVELS: usize = 5;

/// The level by whose nodes narrow sources are looked up together with a destination.
const NARROW: u8 = 1;

/// The length of the source prefixes that near packets look up together with their destination: long enough for few
/// to be found, and short enough for nearly all rules to have sources that are as long.
const fn near_source_length(family: Family) -> u8 {
    match family {
        Family::Ipv4 => 14,
        Family::Ipv6 => 32,
    }
}

/// A source that is shorter than that by more bits is not looked up, since too many prefixes lie in it.
const SPLIT_MAX: u8 = 6;

/// The last level whose sections are near: packets to (or from) a prefix of its length without nodes skip them all.
const LAST_NEAR: u8 = 3;

/// The last level of the inner sections among the near ones.
const LAST_INNER: u8 = 2;

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

    /// The sections of a side that packets go through together, after they have looked up what units there have in
    /// common: the first of each group stands for it, see [`Self::head`].
    pub(super) fn groups(side: Side) -> impl Iterator<Item = Section> {
        Self::of_side(side).filter(|section| section.head() == *section)
    }

    /// The section that stands for its group: one of the near ones for all of them, and every other for itself.
    pub(super) fn head(self) -> Section {
        match self.is_near() {
            true => self.side.near(),
            false => self,
        }
    }

    /// The sections of the group that this one stands for, in order.
    pub(super) fn group(self) -> impl Iterator<Item = Section> {
        Self::of_side(self.side).filter(move |section| section.head() == self)
    }

    /// True when one lookup says that a packet need not look at it, nor at any other near section of its side.
    pub(super) fn is_near(self) -> bool {
        self.level <= LAST_NEAR
    }

    /// The last of the inner sections, if this is one of them: one more lookup says that a packet need not look at any.
    /// Sources that rules are about are spread over the Internet, and many packets come from near one of them.
    /// Destinations lie together in a few networks, where the lookup would spare nobody anything.
    pub(super) fn inner(self) -> Option<Section> {
        let is_inner = self.side == Side::From && self.level <= LAST_INNER;
        is_inner.then_some(Section {
            side: self.side,
            level: LAST_INNER,
        })
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

    /// What packets look up to find out whether near nodes lie in the same prefix. Whole octets, which need no mask; the two
    /// of IPv4 the kernel looks up in a bitmap, which takes a third of the time.
    pub(super) fn near_key(side: Side, family: Family) -> Key {
        let field = match side {
            Side::To => Field::DestinationStart(family),
            Side::From => Field::SourceStart(family),
        };
        Key::whole(field)
    }

    /// True when the prefix that the section goes by is longer than its nodes.
    pub(super) fn is_longer(self, family: Family, matches: &Match) -> bool {
        let length = self
            .side
            .pattern(matches)
            .map(|pattern| pattern.mask().count_ones());
        length > self.node_length(family).map(u32::from)
    }

    /// The node of the narrow source of rules for a node, left-aligned. `None` for rules whose source is not
    /// narrow, or whose prefix is longer than the node: their order goes by destination first.
    pub(super) fn narrow_source(self, family: Family, matches: &Match) -> Option<u128> {
        if self.side != Side::To || self.is_longer(family, matches) {
            return None;
        }
        let source = matches.source?;
        let length = narrow_length(family);
        (source.prefix_length()? >= length)
            .then(|| AddressPattern::new(source.value(), 0, length).value())
    }

    /// What packets look up to find their node together with that of a narrow source.
    pub(super) fn narrow_key(self, family: Family) -> Option<Key> {
        let source = (Side::From.field(family), narrow_length(family));
        let destination = (self.side.field(family), self.node_length(family)?);
        Some(Key::prefixes(&[destination, source]))
    }

    /// The prefixes of sources that near packets look up which the source of a rule for a destination lies in, or which
    /// lie in it; left-aligned. None for other rules. `None` when they would be too many.
    pub(super) fn near_sources(self, family: Family, matches: &Match) -> Option<Vec<u128>> {
        let source = matches.source.filter(|source| source.mask() != 0);
        let Some(source) = source.filter(|_| self.is_near() && self.side == Side::To) else {
            return Some(Vec::new());
        };
        let length = near_source_length(family);
        let split = length.saturating_sub(source.prefix_length()?);
        let prefix = AddressPattern::new(source.value(), 0, length).value();
        let part = |number: u128| prefix | number << (128 - length);
        (split <= SPLIT_MAX).then(|| (0..1 << split).map(part).collect())
    }

    /// What near packets look up to find out whether rules for their destination are about their source.
    pub(super) fn near_source_key(family: Family) -> Option<Key> {
        let near = Side::To.near().node_length(family)?;
        Some(Key::prefixes(&[
            (Side::To.field(family), near),
            (Side::From.field(family), near_source_length(family)),
        ]))
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

/// The length of the shortest narrow sources.
pub(super) fn narrow_length(family: Family) -> u8 {
    levels(family)[usize::from(NARROW)]
}

/// The levels of a family.
fn levels(family: Family) -> &'static [u8; LEVELS] {
    match family {
        Family::Ipv4 => &IPV4_LEVELS,
        Family::Ipv6 => &IPV6_LEVELS,
    }
}
