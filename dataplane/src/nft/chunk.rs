//! Lists: what does not fit maps is evaluated in order, cut into chains. Pure.
//!
//! *Chunks* are like the leaves of a B-tree: a change rewrites one of them, and cuts or joins it
//! when it has become too large or too small. Where there are many, *groups* of chunks stand
//! between them and the root. Where the list is ordered by address, every jump names the addresses
//! behind it, and a packet visits few chunks.

use std::sync::Arc;

use super::compile::{Class, Context};
use super::expression::Verdict;
use super::field::Test;
use super::frame::class_chain;
use super::installed::Installed;
use super::object::NftRule;
use super::section::Section;
use super::statement::Statement;
use super::unit::{Unit, UnitKey};
use crate::rule::Family;

/// Items in a chunk that has just been cut.
const CHUNK_TARGET: usize = 12;
/// Items at which a chunk is cut.
const CHUNK_MAX: usize = 24;
/// Neighbours that have no more items than this together are joined.
const CHUNK_JOIN: usize = 8;

/// Up to so many chunks stand directly behind the root, or behind a group. Then a chunk whose id is
/// a multiple of a power of this begins a group: where groups begin does not depend on what happens
/// to other chunks.
const GROUP: u64 = 16;

/// Where an item stands in a list: items are evaluated in ascending order.
pub(super) type ItemKey = (Arc<[u8]>, Arc<[u8]>);

/// What a list consists of.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item {
    /// One rule.
    Rule(Arc<Installed>),
    /// All rules of the unit with this id.
    Unit(UnitKey, u64),
}

impl Item {
    /// Whether any packet of a class can match.
    pub(super) fn is_in(&self, class: Class) -> bool {
        match self {
            Self::Rule(installed) => installed.is_in(class),
            Self::Unit(unit, _) => unit.is_in(class),
        }
    }

    /// Its nft rules for a class.
    pub(super) fn compile(&self, class: Class, context: &Context) -> Vec<NftRule> {
        match self {
            Self::Rule(installed) => installed.compile(class, context),
            Self::Unit(key, id) => {
                let (id, rules) = (*id, 0);
                Unit { id, rules }.compile(key, context)
            }
        }
    }

    /// The tier of all rules in it.
    pub(super) fn tier(&self) -> &Arc<[u8]> {
        match self {
            Self::Rule(installed) => &installed.rule.tier,
            Self::Unit(unit, _) => &unit.tier,
        }
    }
}

/// Names a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ListKey {
    /// Which packets.
    pub(super) family: Family,
    /// When they are evaluated.
    pub(super) section: Section,
    /// Which packets again.
    pub(super) class: Class,
    /// The units of the section, of which this tier is the last, are evaluated before. `None`: no
    /// unit is, or the section has its units in the list.
    pub(super) after: Option<Arc<[u8]>>,
    /// A number for that tier, for the names of chains.
    pub(super) number: u64,
}

impl ListKey {
    /// The chain where packets enter the list.
    pub(super) fn root(&self) -> String {
        let class = class_chain(self.family, self.class);
        let section = self.section.name(self.family);
        match self.section.node_length(self.family) {
            Some(_) => format!("{class}-{section}-list-{}", self.number),
            None => format!("{class}-{section}"),
        }
    }

    /// The addresses that an item is about, left-aligned; `None`: any.
    fn span(&self, item: &Item) -> Option<(u128, u128)> {
        self.section.node_length(self.family)?;
        match item {
            Item::Rule(installed) => {
                let pattern = self.section.side().pattern(&installed.rule.matches)?;
                Some((pattern.value(), pattern.value() | !pattern.mask()))
            }
            Item::Unit(..) => None,
        }
    }
}

/// Items that stand in one chain.
#[derive(Debug)]
pub(super) struct Chunk {
    /// Makes its chain's name unique.
    pub(super) id: u64,
    /// Ascending by key, never empty.
    pub(super) items: Vec<(ItemKey, Item)>,
    /// First and last of the addresses that the items name; `None` when an item names any.
    span: Option<(u128, u128)>,
}

impl Chunk {
    /// A chunk of these items.
    fn new(id: u64, items: Vec<(ItemKey, Item)>, list: &ListKey) -> Arc<Self> {
        let span = joined(items.iter().map(|(_, item)| list.span(item)));
        Arc::new(Self { id, items, span })
    }

    /// The chain's name.
    pub(super) fn chain(&self, list: &ListKey) -> String {
        format!("{}-{}", list.root(), self.id)
    }

    /// The items.
    pub(super) fn items(&self) -> impl Iterator<Item = &(ItemKey, Item)> {
        self.items.iter()
    }

    fn first_key(&self) -> &ItemKey {
        &self.items[0].0
    }
}

/// The span of some spans.
fn joined(spans: impl Iterator<Item = Option<(u128, u128)>>) -> Option<(u128, u128)> {
    let join = |a: Option<(u128, u128)>, b: Option<(u128, u128)>| {
        let ((low, high), (first, last)) = (a?, b?);
        Some((low.min(first), high.max(last)))
    };
    spans.reduce(join).flatten()
}

/// The rule that sends packets to or from the addresses of `span`, or all if `None`, to a chain.
fn jump(list: &ListKey, span: Option<(u128, u128)>, chain: String) -> NftRule {
    let mut statements = vec![Statement::Family(list.family)];
    if let Some((first, last)) = span {
        let field = list.section.side().field(list.family);
        let unused = 128 - field.bits();
        let (first, last) = (first >> unused, last >> unused);
        let test = if first == last {
            Test::Is(first)
        } else {
            Test::between(first, last)
        };
        statements.push(Statement::Match(field, test));
    }
    statements.push(Statement::Verdict(Verdict::Jump(chain)));
    NftRule::of_frame(statements, "")
}

/// The chains that lead to the chunks, each after those that it refers to; last the root.
pub(super) fn index(chunks: &[Arc<Chunk>], list: &ListKey) -> Vec<(String, Vec<NftRule>)> {
    let mut width = 1;
    while chunks.len() as u64 > width * GROUP {
        width *= GROUP;
    }
    let mut chains = Vec::new();
    let rules = jumps(chunks, width, list, &mut chains);
    chains.push((list.root(), rules));
    chains
}

/// Jumps to groups of chunks, each of about `width`, or to the chunks themselves.
fn jumps(
    chunks: &[Arc<Chunk>],
    width: u64,
    list: &ListKey,
    chains: &mut Vec<(String, Vec<NftRule>)>,
) -> Vec<NftRule> {
    if width == 1 {
        let to_chunk = |chunk: &Arc<Chunk>| jump(list, chunk.span, chunk.chain(list));
        return chunks.iter().map(to_chunk).collect();
    }
    let groups = chunks.chunk_by(|_, next| !next.id.is_multiple_of(width));
    let mut rules = Vec::new();
    for group in groups {
        if let [chunk] = group {
            rules.push(jump(list, chunk.span, chunk.chain(list)));
            continue;
        }
        let name = format!("{}-group-{width}-{}", list.root(), group[0].id);
        let behind = jumps(group, width / GROUP, list, chains);
        chains.push((name.clone(), behind));
        let span = joined(group.iter().map(|chunk| chunk.span));
        rules.push(jump(list, span, name));
    }
    rules
}

/// The chunks after the edits, which are ascending by key. Chunks without edits stay the same
/// objects.
pub(super) fn arrange(
    old: &[Arc<Chunk>],
    edits: &[(&ItemKey, Option<Item>)],
    list: &ListKey,
    next_chunk: &mut u64,
) -> Vec<Arc<Chunk>> {
    let mut chunks: Vec<Arc<Chunk>> = Vec::with_capacity(old.len());
    let mut rest = edits;
    for index in 0..old.len().max(1) {
        let upper = old.get(index + 1).map(|chunk| chunk.first_key());
        let count = match upper {
            Some(upper) => rest.partition_point(|(key, _)| *key < upper),
            None => rest.len(),
        };
        let (mine, others) = rest.split_at(count);
        rest = others;
        let current = old.get(index);
        match current {
            Some(chunk) if mine.is_empty() => chunks.push(chunk.clone()),
            _ => {
                let items = current.map_or(&[][..], |chunk| &chunk.items);
                let id = current.map(|chunk| chunk.id);
                cut(merge(items, mine), id, list, next_chunk, &mut chunks);
            }
        }
    }
    join_small(chunks, old, list)
}

/// The items of a chunk after edits.
fn merge(items: &[(ItemKey, Item)], edits: &[(&ItemKey, Option<Item>)]) -> Vec<(ItemKey, Item)> {
    let mut merged = Vec::with_capacity(items.len() + edits.len());
    let mut items = items.iter().peekable();
    for (key, new) in edits {
        while let Some(item) = items.next_if(|(other, _)| other < *key) {
            merged.push(item.clone());
        }
        items.next_if(|(other, _)| other == *key);
        merged.extend(new.clone().map(|item| ((*key).clone(), item)));
    }
    merged.extend(items.cloned());
    merged
}

/// Appends the items as one chunk, or as several when they are many. The first keeps the id.
fn cut(
    items: Vec<(ItemKey, Item)>,
    id: Option<u64>,
    list: &ListKey,
    next_chunk: &mut u64,
    chunks: &mut Vec<Arc<Chunk>>,
) {
    let pieces = if items.len() > CHUNK_MAX {
        items.len().div_ceil(CHUNK_TARGET)
    } else {
        1
    };
    let mut id = id;
    for piece in items.chunks(items.len().div_ceil(pieces).max(1)) {
        let id = id.take().unwrap_or_else(|| take_id(next_chunk));
        chunks.push(Chunk::new(id, piece.to_vec(), list));
    }
}

/// Joins changed chunks with small neighbours, so that removals do not leave many small chains.
fn join_small(chunks: Vec<Arc<Chunk>>, old: &[Arc<Chunk>], list: &ListKey) -> Vec<Arc<Chunk>> {
    let changed = |chunk: &Arc<Chunk>| {
        let before = old.binary_search_by(|old| old.first_key().cmp(chunk.first_key()));
        !before.is_ok_and(|index| Arc::ptr_eq(&old[index], chunk))
    };
    let mut joined: Vec<Arc<Chunk>> = Vec::with_capacity(chunks.len());
    for chunk in chunks {
        match joined.last_mut() {
            Some(last)
                if last.items.len() + chunk.items.len() <= CHUNK_JOIN
                    && (changed(last) || changed(&chunk)) =>
            {
                let items = last.items.iter().chain(&chunk.items).cloned().collect();
                *last = Chunk::new(last.id, items, list);
            }
            _ => joined.push(chunk),
        }
    }
    joined
}

/// Takes the next number.
pub(super) fn take_id(next: &mut u64) -> u64 {
    let id = *next;
    *next += 1;
    id
}
