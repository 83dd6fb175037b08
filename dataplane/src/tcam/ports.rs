//! Range checkers: the hardware that compares ports with ranges, shared by all entries that look at the same range.

use std::collections::{BTreeMap, BTreeSet};

use super::entry::{Entry, Ports};

/// A range of ports of one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Range {
    /// Of destination ports.
    Destination(Ports),
    /// Of source ports.
    Source(Ports),
}

impl Range {
    fn ports(self) -> Ports {
        match self {
            Range::Destination(ports) | Range::Source(ports) => ports,
        }
    }
}

/// Why entries cannot be placed: there are not enough checkers, and too many ports to name them all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{wanted} more port ranges than the {limit} range checkers have room for, and {entries} entries without"
)]
pub struct NoChecker {
    /// Ranges without a checker.
    pub wanted: usize,
    /// All checkers.
    pub limit: usize,
    /// Entries that name each port of these ranges.
    pub entries: usize,
}

/// Which ranges have a checker, and for how many entries.
#[derive(Clone, Debug, Default)]
pub struct RangeCheckers {
    limit: Option<usize>,
    users: BTreeMap<Range, usize>,
}

impl RangeCheckers {
    /// All free; `None`: there are as many as entries.
    pub fn new(limit: Option<usize>) -> Self {
        Self {
            limit,
            users: BTreeMap::new(),
        }
    }

    /// How many are in use.
    pub fn used(&self) -> usize {
        self.users.len()
    }

    /// How many there are, if that is bounded.
    pub fn limit(&self) -> Option<usize> {
        self.limit
    }

    /// The entries of one rule as they can be installed: ranges without a checker become single ports, the shortest first, as
    /// long as there are at most `most` entries.
    ///
    /// Takes checkers, unless it fails. [`Self::release`] the entries that it returns.
    pub fn place(&mut self, entries: Vec<Entry>, most: usize) -> Result<Vec<Entry>, NoChecker> {
        let new: BTreeSet<Range> = entries
            .iter()
            .flat_map(ranges)
            .filter(|range| !self.users.contains_key(range))
            .collect();
        let free = self
            .limit
            .map_or(usize::MAX, |limit| limit.saturating_sub(self.users.len()));
        let mut widest: Vec<Range> = new.into_iter().collect();
        widest.sort_by_key(|range| (std::cmp::Reverse(range.ports().count()), *range));
        let spilled: BTreeSet<Range> = widest.into_iter().skip(free).collect();
        let placed = spill(entries, &spilled, most).map_err(|entries| NoChecker {
            wanted: spilled.len(),
            limit: self.limit.unwrap_or(usize::MAX),
            entries,
        })?;
        for range in placed.iter().flat_map(ranges) {
            *self.users.entry(range).or_default() += 1;
        }
        Ok(placed)
    }

    /// Gives back what [`Self::place`] took for these entries.
    pub fn release(&mut self, entries: &[Entry]) {
        for range in entries.iter().flat_map(ranges) {
            if let Some(users) = self.users.get_mut(&range) {
                *users -= 1;
                if *users == 0 {
                    self.users.remove(&range);
                }
            }
        }
    }
}

/// The ranges that an entry looks at.
fn ranges(entry: &Entry) -> impl Iterator<Item = Range> + use<> {
    let range = |ports: Option<Ports>| ports.filter(|ports| ports.exact().is_none());
    let destination = range(entry.destination_port).map(Range::Destination);
    let source = range(entry.source_port).map(Range::Source);
    destination.into_iter().chain(source)
}

/// Entries that name each port of the ranges in `spilled`; fails with their number when that is more than `most`.
fn spill(entries: Vec<Entry>, spilled: &BTreeSet<Range>, most: usize) -> Result<Vec<Entry>, usize> {
    if spilled.is_empty() {
        return Ok(entries);
    }
    let width = |entry: &Entry| {
        let wide = ranges(entry).filter(|range| spilled.contains(range));
        wide.fold(1usize, |width, range| {
            width.saturating_mul(range.ports().count())
        })
    };
    let count = entries
        .iter()
        .map(width)
        .fold(0usize, usize::saturating_add);
    if count > most {
        return Err(count);
    }
    let single_ports = |ports: Option<Ports>, side: fn(Ports) -> Range| match ports {
        Some(ports) if ports.exact().is_none() && spilled.contains(&side(ports)) => (ports.first
            ..=ports.last)
            .map(|port| Some(Ports::single(port)))
            .collect(),
        ports => vec![ports],
    };
    let mut placed = Vec::with_capacity(count);
    for entry in entries {
        for destination_port in single_ports(entry.destination_port, Range::Destination) {
            for source_port in single_ports(entry.source_port, Range::Source) {
                placed.push(Entry {
                    destination_port,
                    source_port,
                    ..entry.clone()
                });
            }
        }
    }
    Ok(placed)
}
