//! Lists: what does not fit maps is evaluated in order, cut into chains. Pure.
//!
//! *Chunks* are like the leaves of a B-tree: a change rewrites one of them, and cuts or joins it
//! when it has become too large or too small. Where there are many, *groups* of chunks stand
//! between them and the root.

use std::sync::Arc;

use super::compile::Context;
use super::condition::{Class, Known};
use super::frame::class_chain;
use super::installed::Installed;
use super::layout::Place;
use super::object::NftRule;
use super::section::Section;
use super::structure::jump_to_unit;
use super::unit::UnitKey;
use crate::rule::{Family, OrderKey};

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
pub(super) type ItemKey = (OrderKey, OrderKey);

/// What a list consists of.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item {
    /// One rule.
    Rule(Arc<Installed>),
    /// All rules of a unit, by its chain.
    Unit(UnitKey, String),
}

impl Item {
    /// True when the other is the very same.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Rule(a), Self::Rule(b)) => Arc::ptr_eq(a, b),
            (Self::Unit(..), Self::Unit(..)) => self == other,
            (Self::Rule(_), Self::Unit(..)) | (Self::Unit(..), Self::Rule(_)) => false,
        }
    }

    /// Whether any packet of a class can match.
    pub(super) fn is_in(&self, class: Class) -> bool {
        match self {
            Self::Rule(installed) => installed.is_in(class),
            Self::Unit(unit, _) => unit.is_in(class),
        }
    }

    /// Its nft rules in a list.
    pub(super) fn compile(&self, list: &ListKey, context: &Context) -> Vec<NftRule> {
        match self {
            Self::Rule(installed) => installed.compile(list.known(installed), context),
            Self::Unit(unit, chain) => vec![jump_to_unit(unit, list.class, chain)],
        }
    }

    /// The name of the chain with what its rule does, where packets meet so few lists of that sort that they have better
    /// not find out twice whether they match.
    fn own_chain(&self, list: &ListKey) -> Option<String> {
        match self {
            Self::Rule(installed) if list.node.is_none() && installed.does_several_things() => {
                Some(format!("{}-{}", list.root(), installed.rule.id))
            }
            Self::Rule(_) | Self::Unit(..) => None,
        }
    }
}

/// Names a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ListKey {
    /// Which packets.
    pub(super) family: Family,
    /// When they are evaluated.
    pub(super) section: Section,
    /// The node, left-aligned; `None` for rules without one.
    pub(super) node: Option<u128>,
    /// Which packets again.
    pub(super) class: Class,
    /// And which of them.
    pub(super) scope: Scope,
}

/// Which packets of a class meet a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Scope {
    /// Those that no unit there can match: it has only rules.
    Bare,
    /// All others: it has the units that hold rules of the node, too.
    Full,
}

impl Scope {
    /// Both.
    pub(super) const ALL: [Scope; 2] = [Scope::Bare, Scope::Full];
}

impl ListKey {
    /// The list of a place for packets of a class and scope.
    pub(super) fn new(place: Place, class: Class, scope: Scope) -> Self {
        let (family, section, node) = place;
        Self {
            family,
            section,
            node,
            class,
            scope,
        }
    }

    /// Where its rules are evaluated.
    pub(super) fn place(&self) -> Place {
        (self.family, self.section, self.node)
    }

    /// The chain where packets enter the list.
    pub(super) fn root(&self) -> String {
        let name = section_chain(self.family, self.section, self.class, self.scope);
        match self.node.zip(self.section.node_key(self.family)) {
            Some((node, key)) => format!("{name}-{}", key.value_of(&[node])).replace(':', "_"),
            None => name,
        }
    }

    /// What is known of the packets that meet a rule here.
    fn known(&self, installed: &Installed) -> Known {
        let side = self.section.side();
        let matches = &installed.rule.matches;
        let is_node = self.node.is_some() && !self.section.is_longer(self.family, matches);
        Known {
            class: Some(self.class),
            address: is_node.then_some(side),
        }
    }
}

/// How the names of chains of a section begin.
pub(super) fn section_chain(
    family: Family,
    section: Section,
    class: Class,
    scope: Scope,
) -> String {
    let class = class_chain(family, class);
    let name = section.name(family);
    match scope {
        Scope::Bare => format!("{class}-{name}"),
        Scope::Full => format!("{class}-{name}-full"),
    }
}

/// Items that stand in one chain.
#[derive(Debug)]
pub(super) struct Chunk {
    /// Makes its chain's name unique.
    id: u64,
    /// Ascending by key, never empty.
    items: Vec<(ItemKey, Item)>,
}

impl Chunk {
    /// A chunk of these items.
    fn new(id: u64, items: Vec<(ItemKey, Item)>) -> Arc<Self> {
        Arc::new(Self { id, items })
    }

    /// The items.
    pub(super) fn items(&self) -> impl Iterator<Item = &(ItemKey, Item)> {
        self.items.iter()
    }

    /// Its nft rules, and the chains that they need.
    fn compile(
        &self,
        list: &ListKey,
        context: &Context,
        chains: &mut Vec<ListChain>,
    ) -> Vec<NftRule> {
        let mut rules = Vec::new();
        for (_, item) in &self.items {
            match (item, item.own_chain(list)) {
                (Item::Rule(installed), Some(name)) => {
                    let (jumps, behind) =
                        installed.compile_apart(list.known(installed), context, &name);
                    rules.extend(jumps);
                    chains.push(ListChain {
                        name,
                        rules: behind,
                    });
                }
                (Item::Rule(_) | Item::Unit(..), _) => rules.extend(item.compile(list, context)),
            }
        }
        rules
    }

    fn first_key(&self) -> &ItemKey {
        &self.items[0].0
    }
}

/// One chain of a list.
pub(super) struct ListChain {
    /// Its name.
    pub(super) name: String,
    /// Its rules.
    pub(super) rules: Vec<NftRule>,
}

/// All chains of a list, each after those that it refers to. A single chunk is the root itself.
/// Chunks that are also in `known`, under the same name, are left out.
pub(super) fn chains(
    chunks: &[Arc<Chunk>],
    known: &[Arc<Chunk>],
    list: &ListKey,
    context: &Context,
) -> Vec<ListChain> {
    let is_known = |chunk: &Arc<Chunk>| {
        let found = known.binary_search_by(|known| known.first_key().cmp(chunk.first_key()));
        (known.len() == 1) == (chunks.len() == 1)
            && found.is_ok_and(|index| Arc::ptr_eq(&known[index], chunk))
    };
    let mut chains = Vec::new();
    for chunk in chunks.iter().filter(|chunk| !is_known(chunk)) {
        let rules = chunk.compile(list, context, &mut chains);
        let name = chunk_chain(chunk, chunks.len(), list);
        chains.push(ListChain { name, rules });
    }
    chains.extend(index(chunks, list));
    chains
}

/// Names of all chains of a list.
pub(super) fn chain_names(chunks: &[Arc<Chunk>], list: &ListKey) -> Vec<String> {
    let of_chunks = chunks
        .iter()
        .map(|chunk| chunk_chain(chunk, chunks.len(), list));
    let items = chunks.iter().flat_map(|chunk| chunk.items());
    let of_items = items.filter_map(|(_, item)| item.own_chain(list));
    let of_index = index(chunks, list).into_iter().map(|chain| chain.name);
    of_chunks.chain(of_items).chain(of_index).collect()
}

/// The chain of a chunk of a list that has so many.
fn chunk_chain(chunk: &Chunk, chunks: usize, list: &ListKey) -> String {
    match chunks {
        1 => list.root(),
        _ => format!("{}-{}", list.root(), chunk.id),
    }
}

/// The chains that lead to the chunks; none when there is only one.
pub(super) fn index(chunks: &[Arc<Chunk>], list: &ListKey) -> Vec<ListChain> {
    if chunks.len() < 2 {
        return Vec::new();
    }
    let mut width = 1;
    while chunks.len() as u64 > width * GROUP {
        width *= GROUP;
    }
    let mut chains = Vec::new();
    let rules = jumps(chunks, width, chunks.len(), list, &mut chains);
    let name = list.root();
    chains.push(ListChain { name, rules });
    chains
}

/// Jumps to groups of chunks, each of about `width`, or to the chunks themselves.
fn jumps(
    chunks: &[Arc<Chunk>],
    width: u64,
    all: usize,
    list: &ListKey,
    chains: &mut Vec<ListChain>,
) -> Vec<NftRule> {
    let to_chunk = |chunk: &Arc<Chunk>| NftRule::jump(chunk_chain(chunk, all, list));
    if width == 1 {
        return chunks.iter().map(to_chunk).collect();
    }
    let groups = chunks.chunk_by(|_, next| !next.id.is_multiple_of(width));
    let mut rules = Vec::new();
    for group in groups {
        if let [chunk] = group {
            rules.push(to_chunk(chunk));
            continue;
        }
        let name = format!("{}-group-{width}-{}", list.root(), group[0].id);
        let behind = jumps(group, width / GROUP, all, list, chains);
        chains.push(ListChain {
            name: name.clone(),
            rules: behind,
        });
        rules.push(NftRule::jump(name));
    }
    rules
}

/// The chunks after the edits, which are ascending by key. Chunks without edits stay the same
/// objects.
pub(super) fn arrange(
    old: &[Arc<Chunk>],
    edits: &[(&ItemKey, Option<Item>)],
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
                cut(merge(items, mine), id, next_chunk, &mut chunks);
            }
        }
    }
    join_small(chunks, old)
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
        chunks.push(Chunk::new(id, piece.to_vec()));
    }
}

/// Joins changed chunks with small neighbours, so that removals do not leave many small chains.
fn join_small(chunks: Vec<Arc<Chunk>>, old: &[Arc<Chunk>]) -> Vec<Arc<Chunk>> {
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
                *last = Chunk::new(last.id, items);
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
