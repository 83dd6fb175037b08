//! Lists of numeric operators: the same set in other words, and sets that hold each other.

use flowacl::wire::nlri::NumericOp;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::{IndexedMutRandom, IndexedRandom};

/// `=value` in its shortest form.
pub fn equal(value: u64) -> NumericOp {
    NumericOp {
        and: false,
        less: false,
        greater: false,
        equal: true,
        width: width_of(value),
        value,
    }
}

/// The shortest width for a value.
pub fn width_of(value: u64) -> u8 {
    let fits = |width: &u8| *width == 8 || value >> (8 * width) == 0;
    [1, 2, 4, 8].into_iter().find(fits).unwrap_or(8)
}

/// The same list with a value in more octets than it needs.
pub fn widen(random: &mut StdRng, ops: &mut [NumericOp]) {
    if let Some(op) = ops.choose_mut(random) {
        op.width = (op.width * 2).min(8);
    }
}

/// The same set in other words: `=v` as `>=v&<=v`, that as `=v`.
pub fn say_otherwise(ops: &mut Vec<NumericOp>) {
    match ops.as_slice() {
        [op] if op.equal && !op.less && !op.greater => {
            let (mut low, mut high) = (*op, *op);
            low.greater = true;
            (high.less, high.and) = (true, true);
            *ops = vec![low, high];
        }
        [low, high] if high.and && low.value == high.value => *ops = vec![equal(low.value)],
        // A value that is there twice changes nothing.
        [.., last] if last.equal => ops.push(NumericOp {
            and: false,
            ..*last
        }),
        _ => {}
    }
}

/// A range that holds a value of the list and begins or ends near it.
pub fn contain(random: &mut StdRng, ops: &[NumericOp]) -> Vec<NumericOp> {
    let value = ops.choose(random).map_or(0, |op| op.value);
    let low = value.saturating_sub(random.random_range(0..3));
    let high = value.saturating_add(random.random_range(0..3));
    let mut from = equal(low);
    from.greater = true;
    let mut to = equal(high);
    (to.less, to.and) = (true, true);
    vec![from, to]
}
