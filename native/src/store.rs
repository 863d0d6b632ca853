//! An oblivious key-value store (PaXoS: Pinkas, Rosulek, Trieu and Yanai, Eurocrypt 2020): cells that add up, at the
//! places of a key, to the key's value, and show nothing of which keys those are.
//!
//! A key has one cell in each of three segments and, of 40 dense cells behind them, about half. Cells in which one
//! unsolved key remains are solved for it one after the other, which takes all keys but a few (peeling); what is
//! left is solved by elimination.

use zeroize::{Zeroize, Zeroizing};

pub use crate::code::Value;
use crate::fault::Fault;

/// Cells of which a key has about half.
pub const DENSE: usize = 40;
/// Segments of which a key has one cell each.
const SEGMENTS: usize = 3;
/// More keys than this that cannot be peeled are not solved for; among so many it does not happen.
const MOST_UNPEELED: usize = 1 << 14;
/// A place that is none.
const NONE: u32 = u32::MAX;

/// How many cells there are, for how many keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    segment: u32,
}

/// The cells of one key.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    sparse: [u32; SEGMENTS],
    dense: [u8; DENSE / 8],
}

impl Layout {
    /// Most keys of a store: cells are counted in 32 bits.
    pub const MOST_KEYS: usize = 1 << 31;

    /// Thirteen sparse cells for ten keys, so that nearly always all keys can be peeled.
    ///
    /// # Errors
    /// `Input` for more keys than `MOST_KEYS`.
    pub fn of(keys: usize) -> Result<Self, Fault> {
        if keys > Self::MOST_KEYS {
            return Err(Fault::Input(format!(
                "a store has at most {} keys, got {keys}",
                Self::MOST_KEYS
            )));
        }
        let segment = (13 * keys as u64).div_ceil(30) + 2;
        Ok(Self {
            segment: u32::try_from(segment).unwrap_or(NONE),
        })
    }

    fn sparse(&self) -> usize {
        SEGMENTS * self.segment as usize
    }

    /// Cells.
    #[must_use]
    pub fn cells(&self) -> usize {
        self.sparse() + DENSE
    }

    /// The cells of a key with this hash.
    #[inline]
    #[must_use]
    pub fn place(&self, hash: &[u64; 4]) -> Place {
        let mut sparse = [0; SEGMENTS];
        for (at, (word, first)) in sparse.iter_mut().zip(hash.iter().zip(0u32..)) {
            let scaled = (u128::from(*word) * u128::from(self.segment)) >> 64;
            *at = scaled as u32 + first * self.segment;
        }
        let mut dense = [0; DENSE / 8];
        dense.copy_from_slice(&hash[3].to_le_bytes()[..DENSE / 8]);
        Place { sparse, dense }
    }
}

/// What cells hold: vectors over GF(2).
pub trait Cell: Copy {
    const ZERO: Self;
    fn add(&mut self, other: &Self);
}

impl Cell for Value {
    const ZERO: Self = Self::ZERO;
    #[inline(always)]
    fn add(&mut self, other: &Self) {
        *self ^= *other;
    }
}

impl<const N: usize> Cell for [u64; N] {
    const ZERO: Self = [0; N];
    #[inline(always)]
    fn add(&mut self, other: &Self) {
        for (word, other) in self.iter_mut().zip(other) {
            *word ^= other;
        }
    }
}

/// For each byte of a place's dense part and each of its forms, the sum of the dense cells.
struct Dense<C>(Vec<[C; 256]>);

impl<C: Cell> Dense<C> {
    fn of(cells: &[C]) -> Self {
        let tables = cells.chunks(8).map(|cells| {
            let mut table = [C::ZERO; 256];
            for form in 1..256usize {
                let mut sum = table[form & (form - 1)];
                sum.add(&cells[form.trailing_zeros() as usize]);
                table[form] = sum;
            }
            table
        });
        Self(tables.collect())
    }

    #[inline(always)]
    fn sum(&self, place: &Place) -> C {
        let mut sum = C::ZERO;
        for (table, byte) in self.0.iter().zip(place.dense) {
            sum.add(&table[usize::from(byte)]);
        }
        sum
    }
}

/// Reads the sum of the cells of a place.
pub struct Reader<'a, C> {
    cells: &'a [C],
    dense: Dense<C>,
}

impl<'a, C: Cell> Reader<'a, C> {
    /// Of the first cells as the layout has them; there may be more behind.
    pub fn new(layout: &Layout, cells: &'a [C]) -> Self {
        let dense = Dense::of(&cells[layout.sparse()..layout.cells()]);
        Self { cells, dense }
    }

    #[inline(always)]
    pub fn read(&self, place: &Place) -> C {
        let mut sum = self.dense.sum(place);
        for at in place.sparse {
            sum.add(&self.cells[at as usize]);
        }
        sum
    }
}

/// Cells that give every key its value; nothing if there are none. Equal keys with equal values count as one.
#[must_use]
pub fn solve(layout: &Layout, places: &[Place], values: &[Value]) -> Option<Zeroizing<Vec<Value>>> {
    let (order, unpeeled) = peel(layout, places);
    let mut cells = Zeroizing::new(vec![Value::ZERO; layout.cells()]);
    eliminate(layout, places, values, &unpeeled, &mut cells)?;
    let dense = Dense::of(&cells[layout.sparse()..]);
    for &(key, cell) in order.iter().rev() {
        let place = &places[key as usize];
        let mut value = values[key as usize];
        value.add(&dense.sum(place));
        for at in place.sparse {
            value.add(&cells[at as usize]); // the cell itself is zero yet
        }
        cells[cell as usize] = value;
    }
    Some(cells)
}

/// Keys with the cell that each alone has among those not yet peeled, in order; and the keys that are left.
fn peel(layout: &Layout, places: &[Place]) -> (Vec<(u32, u32)>, Vec<u32>) {
    // How many keys a cell has, and the sum of their numbers over GF(2).
    let mut held = vec![(0u32, 0u32); layout.sparse()];
    for (key, place) in (0u32..).zip(places) {
        for at in place.sparse {
            let (count, sum) = &mut held[at as usize];
            *count += 1;
            *sum ^= key;
        }
    }
    let mut order = Vec::with_capacity(places.len());
    let mut waiting = Vec::new();
    for cell in 0..layout.sparse() as u32 {
        let mut next = Some(cell);
        while let Some(cell) = next.take().or_else(|| waiting.pop()) {
            let (1, key) = held[cell as usize] else {
                continue;
            };
            order.push((key, cell));
            for at in places[key as usize].sparse {
                let (count, sum) = &mut held[at as usize];
                *count -= 1;
                *sum ^= key;
                if *count == 1 {
                    waiting.push(at);
                }
            }
        }
    }
    let mut peeled = vec![false; places.len()];
    for (key, _) in &order {
        peeled[*key as usize] = true;
    }
    let left = (0u32..).zip(&peeled).filter(|(_, peeled)| !**peeled);
    let left = left.map(|(key, _)| key).collect();
    (order, left)
}

/// Gives values to the cells of the keys that could not be peeled, dense cells included (Gauss and Jordan).
fn eliminate(
    layout: &Layout,
    places: &[Place],
    values: &[Value],
    keys: &[u32],
    cells: &mut [Value],
) -> Option<()> {
    if keys.len() > MOST_UNPEELED {
        return None;
    }
    let mut unknowns: Vec<u32> = keys
        .iter()
        .flat_map(|&key| places[key as usize].sparse)
        .collect();
    unknowns.sort_unstable();
    unknowns.dedup();
    unknowns.extend((layout.sparse() as u32..).take(DENSE));
    let words = unknowns.len().div_ceil(64);
    let mut equations: Vec<(Vec<u64>, Value)> = keys
        .iter()
        .map(|&key| {
            let mut bits = vec![0u64; words];
            let place = &places[key as usize];
            let sparse = place
                .sparse
                .iter()
                .filter_map(|at| unknowns.binary_search(at).ok());
            let dense = (0..DENSE).filter(|i| place.dense[i / 8] >> (i % 8) & 1 == 1);
            for at in sparse.chain(dense.map(|i| unknowns.len() - DENSE + i)) {
                bits[at / 64] |= 1 << (at % 64);
            }
            (bits, values[key as usize])
        })
        .collect();
    let mut pivots = Vec::with_capacity(equations.len());
    for i in 0..equations.len() {
        let (bits, value) = equations[i].clone();
        let Some(word) = bits.iter().position(|&word| word != 0) else {
            if value != Value::ZERO {
                return None;
            }
            continue;
        };
        let bit = bits[word].trailing_zeros();
        pivots.push((i, 64 * word + bit as usize));
        for (j, (other, sum)) in equations.iter_mut().enumerate() {
            if j != i && other[word] >> bit & 1 == 1 {
                for (word, pivot) in other.iter_mut().zip(&bits) {
                    *word ^= pivot;
                }
                *sum ^= value;
            }
        }
    }
    for (i, unknown) in pivots {
        cells[unknowns[unknown] as usize] = equations[i].1;
    }
    for (_, value) in &mut equations {
        value.zeroize();
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identifiers::PairHashes;

    fn keys(count: usize) -> (Layout, Vec<Place>, Vec<Value>) {
        let hashes = PairHashes::new(&[count as u8; 32]);
        let layout = Layout::of(count).unwrap_or(Layout { segment: 0 });
        let names: Vec<_> = (0..count).map(|i| hashes.name(&i.to_le_bytes())).collect();
        let places = names.iter().map(|n| hashes.place(&layout, n)).collect();
        let values = names.iter().map(|n| hashes.value(n)).collect();
        (layout, places, values)
    }

    /// The sum that a place stands for, cell by cell.
    fn read_slowly(layout: &Layout, cells: &[Value], place: &Place) -> Value {
        let mut sum = Value::ZERO;
        for (i, cell) in cells.iter().enumerate() {
            let dense = i
                .checked_sub(layout.sparse())
                .is_some_and(|i| place.dense[i / 8] >> (i % 8) & 1 == 1);
            if dense || place.sparse.contains(&(i as u32)) {
                sum.add(cell);
            }
        }
        sum
    }

    fn check(layout: &Layout, places: &[Place], values: &[Value]) {
        let cells = solve(layout, places, values).unwrap_or_default();
        assert_eq!(cells.len(), layout.cells(), "{} keys", places.len());
        let reader = Reader::new(layout, &cells);
        for (i, (place, value)) in places.iter().zip(values).enumerate() {
            assert_eq!(reader.read(place), *value);
            if i < 50 {
                assert_eq!(read_slowly(layout, &cells, place), *value);
            }
        }
    }

    #[test]
    fn every_key_gives_its_value() {
        for count in (0..300).chain([1000, 1001, 5000, 20_000, 100_000]) {
            let (layout, places, values) = keys(count);
            check(&layout, &places, &values);
        }
    }

    #[test]
    fn places_lie_in_their_segments() {
        let (layout, places, _) = keys(1000);
        for place in &places {
            for (k, at) in place.sparse.iter().enumerate() {
                assert_eq!((at / layout.segment) as usize, k);
            }
        }
        let last = layout.place(&[u64::MAX; 4]);
        assert_eq!(last.sparse[2] as usize, layout.sparse() - 1);
        let used: u32 = places.iter().map(|p| p.dense[4].count_ones()).sum();
        assert!((3500..4500).contains(&used));
    }

    /// What nobody could peel: all keys in the same three cells, or keys that form one big knot.
    #[test]
    fn keys_that_share_cells_are_told_apart_by_the_dense_ones() {
        let (layout, mut places, values) = keys(30);
        for place in &mut places {
            place.sparse = [1, layout.segment, 2 * layout.segment + 3];
        }
        check(&layout, &places, &values);
        let (layout, mut places, values) = keys(400);
        for (i, place) in (0u32..).zip(&mut places) {
            let knot = [i % 20, layout.segment + i / 20, 2 * layout.segment + i % 19];
            place.sparse = knot;
        }
        let distinct = 20 + 20 + 19 + DENSE;
        check(&layout, &places[..distinct / 2], &values);
        assert!(
            solve(&layout, &places, &values).is_none(),
            "more keys than cells"
        );
    }

    #[test]
    fn one_place_cannot_hold_two_values() {
        let (layout, mut places, mut values) = keys(10);
        places[7] = places[2];
        assert!(solve(&layout, &places, &values).is_none());
        values[7] = values[2];
        check(&layout, &places, &values);
    }

    /// The expected number of sets of keys whose sparse cells cancel bounds, times 2^−40, the probability that a
    /// store cannot be solved. Σ over k of C(n, k)·e³, with e the probability that k balls fill every bin of a
    /// segment evenly.
    #[test]
    fn failures_are_rarer_than_two_to_the_minus_41() {
        for n in (1..60).chain([100, 200, 500, 1000]) {
            let bins = Layout::of(n).map_or(0, |layout| layout.segment as usize);
            let (mut ln_choose, mut expected) = (0.0f64, 0.0);
            for k in 1..=n {
                ln_choose += ((n - k + 1) as f64 / k as f64).ln();
                if k % 2 == 0 {
                    expected += (ln_choose + 3.0 * ln_even(k, bins)).exp();
                }
            }
            assert!(expected < 0.3, "{n} keys: {expected}");
        }
    }

    /// ln of the probability that k balls thrown into so many bins leave an even number in each:
    /// 2^−b Σ C(b, j) (1 − 2j/b)^k.
    fn ln_even(k: usize, bins: usize) -> f64 {
        let b = bins as f64;
        let (mut ln_choose, mut sum) = (0.0f64, 0.0f64);
        for j in 0..=bins {
            if j > 0 {
                ln_choose += ((bins - j + 1) as f64 / j as f64).ln();
            }
            let bias = (1.0 - 2.0 * j as f64 / b).abs();
            sum += (ln_choose - b * std::f64::consts::LN_2).exp() * bias.powi(k as i32);
        }
        sum.ln()
    }
}
