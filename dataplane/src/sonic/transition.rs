//! In which order entries come and go. Pure.
//!
//! orchagent carries out what it finds in no order that could be relied on, and neither does the ASIC change several entries at
//! once. So a change is cut into phases: the next begins when the switch has confirmed all of the one before. New entries
//! come before old ones go. Entries come in descending order of their priorities, a new phase beginning with the first one
//! that says something else about some packet than one before it, and they go in ascending order likewise. So a packet
//! meets what it met before the change, or what it meets after it, and nothing else:
//!
//! - while entries come, the winner is an old one, or a new one that no later one with another verdict is above;
//! - while they go, the winner is a remaining one, or one of the old ones above which none with another verdict has gone.

use super::document::Verdict;
use super::placed::Placed;

/// What is written at once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Phase {
    /// Entries that come, of the greatest priority first.
    pub put: Vec<Placed>,
    /// Entries that go when those have come, of the least priority first.
    pub remove: Vec<Placed>,
}

/// The phases in which entries come, and then others go.
pub fn phases(put: Vec<Placed>, remove: Vec<Placed>) -> Vec<Phase> {
    let mut put = put;
    put.sort_by_key(|placed| std::cmp::Reverse(placed.priority));
    let mut remove = remove;
    remove.sort_by_key(|placed| placed.priority);
    let put = runs(put).into_iter().map(|put| Phase {
        put,
        remove: Vec::new(),
    });
    let remove = runs(remove).into_iter().map(|remove| Phase {
        put: Vec::new(),
        remove,
    });
    let mut phases: Vec<Phase> = put.chain(remove).collect();
    // The first that go can go with the last that come.
    if let Some(at) = phases.iter().position(|phase| phase.put.is_empty())
        && at > 0
    {
        let first = phases.remove(at);
        phases[at - 1].remove = first.remove;
    }
    phases
}

/// Cuts a list where an entry conflicts with one before it.
fn runs(list: Vec<Placed>) -> Vec<Vec<Placed>> {
    let mut runs: Vec<Vec<Placed>> = Vec::new();
    // Of each verdict; nearly always there is one in a run, and nothing to compare.
    let mut verdicts: Vec<(Option<Verdict>, Vec<usize>)> = Vec::new();
    for placed in list {
        let verdict = placed.verdict();
        let meets_other = runs.last().is_some_and(|run| {
            let others = verdicts
                .iter()
                .filter(|(other, _)| other.is_none() || *other != verdict);
            let mut others = others.flat_map(|(_, indexes)| indexes);
            others.any(|index| run[*index].conflicts(&placed))
        });
        if meets_other || runs.is_empty() {
            runs.push(Vec::new());
            verdicts.clear();
        }
        let run = runs.last_mut().expect("there is one by now");
        match verdicts.iter_mut().find(|(other, _)| *other == verdict) {
            Some((_, indexes)) => indexes.push(run.len()),
            None => verdicts.push((verdict, vec![run.len()])),
        }
        run.push(placed);
    }
    runs
}

/// Cuts phases into pieces of at most `most` entries that come or go: what is wrong is found before much is written, and
/// nobody waits for long. What a phase writes may come in any order, and so in any pieces.
pub fn in_pieces(phases: Vec<Phase>, most: usize) -> Vec<Phase> {
    let mut pieces = Vec::with_capacity(phases.len());
    for Phase { put, remove } in phases {
        let start = pieces.len();
        pieces.extend(put.chunks(most).map(|put| Phase {
            put: put.to_vec(),
            remove: Vec::new(),
        }));
        let mut remove = remove.chunks(most);
        if let Some(last) = pieces[start..].last_mut() {
            last.remove = remove.next().unwrap_or_default().to_vec();
        }
        pieces.extend(remove.map(|remove| Phase {
            put: Vec::new(),
            remove: remove.to_vec(),
        }));
    }
    pieces
}

/// Carries out two lists of phases at the same time, which are about different tables.
pub fn side_by_side(a: Vec<Phase>, b: Vec<Phase>) -> Vec<Phase> {
    let (mut longer, shorter) = if a.len() < b.len() { (b, a) } else { (a, b) };
    for (phase, other) in longer.iter_mut().zip(shorter) {
        phase.put.extend(other.put);
        phase.remove.extend(other.remove);
    }
    longer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::Family;

    #[test]
    fn phases_are_cut_where_they_are_long() {
        let entry = |name: u32| Placed::named(Family::Ipv4, &name.to_string().into());
        let entries = |names: std::ops::Range<u32>| names.map(entry).collect::<Vec<_>>();
        let phase = |put: std::ops::Range<u32>, remove: std::ops::Range<u32>| Phase {
            put: entries(put),
            remove: entries(remove),
        };
        let phases = vec![phase(0..5, 10..14), phase(0..0, 20..23), phase(5..6, 0..0)];
        let expected = [
            phase(0..2, 0..0),
            phase(2..4, 0..0),
            phase(4..5, 10..12),
            phase(0..0, 12..14),
            phase(0..0, 20..22),
            phase(0..0, 22..23),
            phase(5..6, 0..0),
        ];
        assert_eq!(in_pieces(phases, 2), expected);
    }
}
