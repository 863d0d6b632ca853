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
    let parts = 8 / F::LANES;
    let count = points.len() * parts;
    let mut at = 0;
    while at < count {
        // Two at a time, so that the end of one step overlaps the beginning of the other's. A last one goes twice.
        let pair = [at, (at + 1).min(count - 1)];
        let mut loaded = [Extended::<F>::identity(); 2];
        for n in 0..2 {
            loaded[n] = Extended::load(&points[pair[n] / parts], pair[n] % parts);
        }
        let tables = combinations(&loaded);
        for (scalar, results) in scalars.iter().zip(out.iter_mut()) {
            let products = one_scalar(&tables, scalar);
            for n in 0..2 {
                products[n].store(&mut results[pair[n] / parts], pair[n] % parts);
            }
        }
        at += 2;
    }
}

/// Entry u = P₄ ± P₃ ± P₂ ± P₁ ± P₀, where bit j of u says that P_j counts positively.
#[inline(always)]
fn combinations<F: Field>(points: &[Extended<F>; 2]) -> [[Cached<F>; 16]; 2] {
    let mut teeth = [*points; TEETH];
    for j in 1..TEETH {
        let mut tooth = teeth[j - 1];
        for _ in 1..SPACING {
            for tooth in &mut tooth {
                *tooth = tooth.double_without_t();
            }
        }
        teeth[j] = [tooth[0].double(), tooth[1].double()];
    }
    let mut tables = [[points[0].cached(); 16]; 2];
    for n in 0..2 {
        // All lower teeth negative, then flip one bit at a time by adding twice its tooth.
        let mut first = teeth[TEETH - 1][n];
        for tooth in &teeth[..TEETH - 1] {
            first = first.add(&tooth[n].cached().neg_in(Lanes::MAX));
        }
        let mut entries = [first; 16];
        for (j, tooth) in teeth[..TEETH - 1].iter().enumerate() {
            let twice = tooth[n].double().cached();
            for u in 0..1 << j {
                entries[u + (1 << j)] = entries[u].add(&twice);
            }
        }
        for (cached, entry) in tables[n].iter_mut().zip(&entries) {
            *cached = entry.cached();
        }
    }
    tables
}

#[inline(always)]
fn one_scalar<F: Field>(tables: &[[Cached<F>; 16]; 2], scalar: &SignedBits) -> [Extended<F>; 2] {
    let mut sums = [Extended::<F>::identity(); 2];
    for i in (0..SPACING).rev() {
        let mut c = 0;
        for j in 0..TEETH {
            c |= scalar.bit(i + SPACING * j) << j;
        }
        let (entry, negative) = magnitude::<TEETH>(c);
        for n in 0..2 {
            if i + 1 < SPACING {
                sums[n] = sums[n].double();
            }
            // All lanes share the scalar: scan the table so that no address depends on it.
            let mut chosen = tables[n][0];
            for (at, candidate) in (0u8..).zip(&tables[n]).skip(1) {
                let lanes = Lanes::from(at == entry).wrapping_neg();
                chosen = Cached::select(lanes, candidate, &chosen);
            }
            sums[n] = sums[n].add(&chosen.neg_in(negative.wrapping_neg()));
        }
    }
    sums
}
