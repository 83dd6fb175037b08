//! Sets of bit patterns as cubes: masked comparisons, as few as are found.

use std::collections::BTreeSet;

use crate::rule::MaskedValues;

/// All fields whose bits in `mask` are those of `value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cube {
    /// The bits compared.
    pub mask: u16,
    /// What they must be; zero outside the mask.
    pub value: u16,
}

impl Cube {
    /// True when `field` has the wanted bits.
    pub fn contains(self, field: u16) -> bool {
        field & self.mask == self.value
    }
}

/// The cubes whose union is the set, none of them in the union of the others. Without members: none.
///
/// They are prime implicants (Quine and McCluskey), chosen greedily: at most 3^n are looked at for n bits that are compared.
pub fn cover(set: &MaskedValues) -> Vec<Cube> {
    let primes = primes(set);
    let mut open: BTreeSet<u16> = set.values().iter().copied().collect();
    let mut chosen: Vec<Cube> = Vec::new();
    while !open.is_empty() {
        let news = |cube: &Cube| open.iter().filter(|value| cube.contains(**value)).count();
        // The first of the best, so that equal sets have equal covers.
        let best = primes
            .iter()
            .rev()
            .max_by_key(|cube| news(cube))
            .expect("every value is in a prime implicant");
        open.retain(|value| !best.contains(*value));
        chosen.push(*best);
    }
    drop_redundant(&mut chosen, set.values());
    chosen.sort_unstable();
    chosen
}

/// The largest cubes in the set, ascending.
fn primes(set: &MaskedValues) -> Vec<Cube> {
    let whole = set.values().iter().map(|&value| Cube {
        mask: set.mask(),
        value,
    });
    let mut level: BTreeSet<Cube> = whole.collect();
    let mut primes = BTreeSet::new();
    while !level.is_empty() {
        let mut larger = BTreeSet::new();
        for cube in &level {
            let bits = (0..16).map(|shift| 1u16 << shift);
            let mut is_prime = true;
            for bit in bits.filter(|bit| cube.mask & bit != 0) {
                let neighbor = Cube {
                    mask: cube.mask,
                    value: cube.value ^ bit,
                };
                if level.contains(&neighbor) {
                    is_prime = false;
                    larger.insert(Cube {
                        mask: cube.mask & !bit,
                        value: cube.value & !bit,
                    });
                }
            }
            if is_prime {
                primes.insert(*cube);
            }
        }
        level = larger;
    }
    primes.into_iter().collect()
}

/// Takes out cubes whose values are all in others.
fn drop_redundant(cubes: &mut Vec<Cube>, values: &[u16]) {
    let mut index = 0;
    while index < cubes.len() {
        let cube = cubes[index];
        let in_others = |value: u16| {
            let others = cubes.iter().enumerate().filter(|(at, _)| *at != index);
            others.into_iter().any(|(_, other)| other.contains(value))
        };
        let redundant = values
            .iter()
            .filter(|value| cube.contains(**value))
            .all(|value| in_others(*value));
        if redundant {
            cubes.remove(index);
        } else {
            index += 1;
        }
    }
}
