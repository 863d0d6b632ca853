//! Multiples of a fixed point: one table look-up and one mixed addition per radix-64 digit.

use std::sync::OnceLock;

use curve25519_dalek::Scalar;

use super::point::{Extended, Niels, Point8};
use super::recode::{Digits8, SignedBits};
use crate::field::constants::D2;
use crate::field::roots::invert_all;
use crate::field::{Field, FieldExt, Limbs, Wide, portable::One};

/// Digits of radix 64 in 255 bits.
pub const WINDOWS: usize = 43;
/// Odd multiples of each power of 64.
const ENTRIES: usize = 32;

/// The odd multiples 1, 3, …, 63 of 64^j·P as (y + x, y − x, 2dxy), limb after limb.
pub type Window = [[[u64; ENTRIES]; 5]; 3];

/// One window for every digit.
pub struct FixedBase {
    windows: Vec<Window>,
}

impl FixedBase {
    /// Fills the table; lane 0 of `point` is the base.
    #[inline(always)]
    pub fn build<F: Field>(point: &Point8) -> Self {
        let mut multiples = Vec::with_capacity(WINDOWS * ENTRIES);
        let mut base = Extended::<F>::load(point, 0);
        for _ in 0..WINDOWS {
            let twice = base.double().cached();
            let mut multiple = base;
            for _ in 0..ENTRIES {
                multiples.push(multiple);
                multiple = multiple.add(&twice);
            }
            for _ in 1..6 {
                base = base.double_without_t();
            }
            base = base.double();
        }
        let mut inverses: Vec<F> = multiples.iter().map(|p| p.z).collect();
        invert_all(&mut inverses, &mut Vec::with_capacity(multiples.len()));
        let mut windows = vec![[[[0; ENTRIES]; 5]; 3]; WINDOWS];
        for (i, (p, z)) in multiples.iter().zip(&inverses).enumerate() {
            let (x, y) = (p.x.mul(*z), p.y.mul(*z));
            let xy2d = x.mul(y).mul(F::splat(D2));
            for (c, coordinate) in [y.add(x), y.sub(x), xy2d].into_iter().enumerate() {
                let mut wide = Wide::ZERO;
                coordinate.canonical().store(&mut wide, 0);
                let limbs: Limbs = wide.lane(0);
                for (row, limb) in windows[i / ENTRIES][c].iter_mut().zip(limbs) {
                    row[i % ENTRIES] = limb;
                }
            }
        }
        Self { windows }
    }
}

/// The table of the generator, filled on first use.
pub fn generator_table() -> &'static FixedBase {
    static TABLE: OnceLock<FixedBase> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut base = Point8::identity();
        Extended::<One>::base().store(&mut base, 0);
        FixedBase::build::<One>(&base)
    })
}

/// The table of a quarter of the generator: of what, added twice over before a doubling, adds one generator.
pub fn quarter_table() -> &'static FixedBase {
    static TABLE: OnceLock<FixedBase> = OnceLock::new();
    TABLE.get_or_init(|| {
        let quarter = SignedBits::new(&Scalar::from(4u8).invert());
        let mut point = [Point8::identity()];
        add_multiples::<One>(generator_table(), WINDOWS, &vec![quarter; 8], &mut point);
        FixedBase::build::<One>(&point[0])
    })
}

/// Adds kᵢ·P to the eight points of every block in constant time; `digits` has eight scalars per block, of which the
/// lowest `windows` digits are read.
#[inline(always)]
pub fn add_multiples<F: Field>(
    table: &FixedBase,
    windows: usize,
    digits: &[SignedBits],
    points: &mut [Point8],
) {
    let parts = 8 / F::LANES;
    let count = points.len() * parts;
    let mut at = 0;
    while at < count {
        // Two at a time, so that the end of one addition overlaps the beginning of the other's. A last one goes twice.
        let pair = [at, (at + 1).min(count - 1)];
        let load = |at: usize| Extended::<F>::load(&points[at / parts], at % parts);
        let mut sums = pair.map(load);
        let scalars = pair.map(|at| Digits8::new(&digits[8 * (at / parts)..][..8]));
        for (j, window) in table.windows[..windows].iter().enumerate() {
            for n in 0..2 {
                let (index, negative) = F::digit(&scalars[n], j, pair[n] % parts);
                sums[n] = sums[n].add_or_subtract_niels(&entry(window, &index), negative);
            }
        }
        for n in 0..2 {
            sums[n].store(&mut points[pair[n] / parts], pair[n] % parts);
        }
        at += 2;
    }
}

/// Every lane's own multiple.
#[inline(always)]
fn entry<F: Field>(window: &Window, index: &F::Index) -> Niels<F> {
    Niels {
        plus: F::lookup(&window[0], index),
        minus: F::lookup(&window[1], index),
        xy2d: F::lookup(&window[2], index),
    }
}
