//! Multiples of many points by the same few scalars: a signed comb with five teeth.
//!
//! The teeth are 2^(51j)·P, j = 0..5. With k = Σ b_i·2^i, b_i = ±1, i = 0..255, the scalar is
//! Σ_{i<51} 2^i·(b_i + b_{i+51}·2^51 + … + b_{i+204}·2^204): 50 doublings and 51 additions of one of sixteen combinations of
//! the teeth, up to sign. The 204 doublings and the table are shared by all scalars of one point (the comb of
//! Lim and Lee, with the signed digits of Hedabou, Pinel and Bénéteau).

use super::point::{Cached, Extended, Point8};
use super::recode::{SignedBits, magnitude};
use crate::field::{Field, Lanes};

const SPACING: usize = 51;
const TEETH: usize = 5;

/// Multiplies every point by every scalar, in constant time: `out[s]` gets the multiples by `scalars[s]`.
#[inline(always)]
pub fn multiply<F: Field>(points: &[Point8], scalars: &[SignedBits], out: &mut [Vec<Point8>]) {
    for (i, point) in points.iter().enumerate() {
        for part in 0..8 / F::LANES {
            let table = combinations(&Extended::<F>::load(point, part));
            for (scalar, results) in scalars.iter().zip(out.iter_mut()) {
                one_scalar(&table, scalar).store(&mut results[i], part);
            }
        }
    }
}

/// Entry u = P₄ ± P₃ ± P₂ ± P₁ ± P₀, where bit j of u says that P_j counts positively.
#[inline(always)]
fn combinations<F: Field>(point: &Extended<F>) -> [Cached<F>; 16] {
    let mut teeth = [*point; TEETH];
    for j in 1..TEETH {
        teeth[j] = teeth[j - 1].double_times(SPACING);
    }
    // All lower teeth negative, then flip one bit at a time by adding twice its tooth.
    let mut first = teeth[TEETH - 1];
    for tooth in &teeth[..TEETH - 1] {
        first = first.add(&tooth.cached().neg_in(Lanes::MAX));
    }
    let mut entries = [first; 16];
    for (j, tooth) in teeth[..TEETH - 1].iter().enumerate() {
        let twice = tooth.double().cached();
        for u in 0..1 << j {
            entries[u + (1 << j)] = entries[u].add(&twice);
        }
    }
    let mut table = [first.cached(); 16];
    for (cached, entry) in table.iter_mut().zip(&entries) {
        *cached = entry.cached();
    }
    table
}

#[inline(always)]
fn one_scalar<F: Field>(table: &[Cached<F>; 16], scalar: &SignedBits) -> Extended<F> {
    let mut sum = Extended::<F>::identity();
    for i in (0..SPACING).rev() {
        if i + 1 < SPACING {
            sum = sum.double();
        }
        let mut c = 0;
        for j in 0..TEETH {
            c |= scalar.bit(i + SPACING * j) << j;
        }
        let (entry, negative) = magnitude(c);
        // All lanes share the scalar: scan the table so that no address depends on it.
        let mut chosen = table[0];
        for (at, candidate) in (0u8..).zip(table).skip(1) {
            let lanes = Lanes::from(at == entry).wrapping_neg();
            chosen = Cached::select(lanes, candidate, &chosen);
        }
        sum = sum.add(&chosen.neg_in(negative.wrapping_neg()));
    }
    sum
}
