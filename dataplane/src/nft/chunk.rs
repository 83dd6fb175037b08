//! How an ordered list of rules is cut into chains. Pure.
//!
//! *Chunks* are like the leaves of a B-tree: a change rewrites one of them, and cuts or joins it
//! when it has become too large or too small. Where there are many, *groups* of chunks stand
//! between them and the chain of the class. Rules are ordered by destination first, so every jump
//! names the destinations behind it: a packet visits few chunks, and the cost of a packet grows
//! with the number of groups only.

use std::sync::Arc;

use super::expression::Verdict;
use super::field::{Field, Test};
use super::frame::{CLASS_CHAINS, class_chain};
use super::layout::Installed;
use super::object::NftRule;
use super::statement::Statement;
use crate::rule::{Family, OrderKey};

/// Rules in a chunk that has just been cut.
const CHUNK_TARGET: usize = 24;
/// Rules at which a chunk is cut.
const CHUNK_MAX: usize = 48;
/// Neighbours that have no more rules than this together are joined.
const CHUNK_JOIN: usize = 16;

/// Up to so many chunks stand directly behind the chain of the class. Then a chunk whose id is a
/// multiple of this begins a group: where groups begin does not depend on what happens to other
/// chunks.
const GROUP: usize = 16;

/// Rules that stand in one chain.
#[derive(Debug)]
pub(super) struct Chunk {
    /// Makes its chain's name unique.
    pub(super) id: u64,
    /// Ascending by key, never empty.
    pub(super) rules: Vec<Arc<Installed>>,
    /// First and last of the destinations that the rules name, left-aligned; `None` when a rule
    /// names any.
    destinations: Option<(u128, u128)>,
}

impl Chunk {
    /// A chunk of these rules.
    pub(super) fn new(id: u64, rules: Vec<Arc<Installed>>) -> Arc<Self> {
        let destinations = destinations(&rules);
        Arc::new(Self {
            id,
            rules,
            destinations,
        })
    }

    /// The chain's name.
    pub(super) fn chain(&self, list: usize) -> String {
        let (family, class) = CLASS_CHAINS[list];
        format!("{}-{}", class_chain(family, class), self.id)
    }

    /// The order key of the first rule.
    fn first_key(&self) -> &OrderKey {
        &self.rules[0].rule.order
    }
}

/// The span of the destinations of some rules.
fn destinations(rules: &[Arc<Installed>]) -> Option<(u128, u128)> {
    let mut span: Option<(u128, u128)> = None;
    for installed in rules {
        let pattern = installed.rule.matches.destination?;
        pattern.prefix_length().filter(|length| *length > 0)?;
        let (first, last) = (pattern.value(), pattern.value() | !pattern.mask());
        span = Some(span.map_or((first, last), |(low, high)| {
            (low.min(first), high.max(last))
        }));
    }
    span
}

/// The rule that sends packets to `destinations`, or all if `None`, to a chain.
fn jump(family: Family, destinations: Option<(u128, u128)>, chain: String) -> NftRule {
    let mut statements = vec![Statement::Family(family)];
    if let Some((first, last)) = destinations {
        let field = Field::Destination(family);
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

/// The chains that lead to chunks, each after those that it refers to; last that of the class.
pub(super) fn index(chunks: &[Arc<Chunk>], list: usize) -> Vec<(String, Vec<NftRule>)> {
    let (family, class) = CLASS_CHAINS[list];
    let class_chain = class_chain(family, class);
    let jumps = |chunks: &[Arc<Chunk>]| {
        chunks
            .iter()
            .map(|chunk| jump(family, chunk.destinations, chunk.chain(list)))
            .collect()
    };
    if chunks.len() <= GROUP {
        return vec![(class_chain.into(), jumps(chunks))];
    }
    let groups = chunks.chunk_by(|_, next| !next.id.is_multiple_of(GROUP as u64));
    let (mut chains, mut to_groups) = (Vec::new(), Vec::new());
    for group in groups {
        let name = format!("{class_chain}-group-{}", group[0].id);
        let spans = group.iter().map(|chunk| chunk.destinations);
        let span = spans.reduce(|a, b| {
            let ((low, high), (first, last)) = (a?, b?);
            Some((low.min(first), high.max(last)))
        });
        to_groups.push(jump(family, span.flatten(), name.clone()));
        chains.push((name, jumps(group)));
    }
    chains.push((class_chain.into(), to_groups));
    chains
}

/// The chunks after the edits, which are ascending by key. Chunks without edits stay the same
/// objects.
pub(super) fn arrange(
    old: &[Arc<Chunk>],
    edits: &[(&OrderKey, Option<Arc<Installed>>)],
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
                let rules = current.map_or(&[][..], |chunk| &chunk.rules);
                let id = current.map(|chunk| chunk.id);
                cut(merge(rules, mine), id, next_chunk, &mut chunks);
            }
        }
    }
    join_small(chunks, old)
}

/// The rules of a chunk after edits.
fn merge(
    rules: &[Arc<Installed>],
    edits: &[(&OrderKey, Option<Arc<Installed>>)],
) -> Vec<Arc<Installed>> {
    let mut merged = Vec::with_capacity(rules.len() + edits.len());
    let mut rules = rules.iter().peekable();
    for (key, new) in edits {
        while let Some(rule) = rules.next_if(|installed| installed.rule.order < **key) {
            merged.push(rule.clone());
        }
        rules.next_if(|installed| installed.rule.order == **key);
        merged.extend(new.clone());
    }
    merged.extend(rules.cloned());
    merged
}

/// Appends the rules as one chunk, or as several when they are many. The first keeps the id.
fn cut(
    rules: Vec<Arc<Installed>>,
    id: Option<u64>,
    next_chunk: &mut u64,
    chunks: &mut Vec<Arc<Chunk>>,
) {
    let pieces = if rules.len() > CHUNK_MAX {
        rules.len().div_ceil(CHUNK_TARGET)
    } else {
        1
    };
    let mut id = id;
    for piece in rules.chunks(rules.len().div_ceil(pieces).max(1)) {
        let id = id.take().unwrap_or_else(|| take_id(next_chunk));
        chunks.push(Chunk::new(id, piece.to_vec()));
    }
}

/// Joins changed chunks with small neighbours, so that removals do not leave many small chains.
fn join_small(chunks: Vec<Arc<Chunk>>, old: &[Arc<Chunk>]) -> Vec<Arc<Chunk>> {
    let changed = |chunk: &Arc<Chunk>| !old.iter().any(|old| Arc::ptr_eq(old, chunk));
    let mut joined: Vec<Arc<Chunk>> = Vec::with_capacity(chunks.len());
    for chunk in chunks {
        match joined.last_mut() {
            Some(last)
                if last.rules.len() + chunk.rules.len() <= CHUNK_JOIN
                    && (changed(last) || changed(&chunk)) =>
            {
                let rules = last.rules.iter().chain(&chunk.rules).cloned().collect();
                *last = Chunk::new(last.id, rules);
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
