//! Multiples of many points by one scalar: signed odd digits of radix 16 from the top, as in "Exponent recoding and
//! regular exponentiation algorithms" of Joye and Tunstall (2009).
//!
//! 64 digits, the first of three bits, so 252 doublings and 63 additions of one of eight odd multiples, up to sign.

use super::point::{Cached, Extended, Point8};
use super::recode::SignedBits;
use crate::field::{Field, Lanes};

const DIGITS: usize = 64;
const ENTRIES: usize = 8;

/// Multiplies every point by the scalar, in constant time.
#[inline(always)]
pub fn multiply<F: Field>(points: &[Point8], scalar: &SignedBits, out: &mut [Point8]) {
    let parts = 8 / F::LANES;
    let count = points.len() * parts;
    let mut at = 0;
    while at < count {
        // Two at a time, so that the end of one step overlaps the beginning of the other's. A last one goes twice.
        let pair = [at, (at + 1).min(count - 1)];
        let loaded = pair.map(|at| Extended::<F>::load(&points[at / parts], at % parts));
        let tables = [odd_multiples(&loaded[0]), odd_multiples(&loaded[1])];
        let products = one_pair(&tables, scalar);
        for n in 0..2 {
            products[n].store(&mut out[pair[n] / parts], pair[n] % parts);
        }
        at += 2;
    }
}

/// P, 3P, …, 15P.
#[inline(always)]
fn odd_multiples<F: Field>(point: &Extended<F>) -> [Cached<F>; ENTRIES] {
    let twice = point.double().cached();
    let mut multiple = *point;
    let mut table = [point.cached(); ENTRIES];
    for entry in &mut table[1..] {
        multiple = multiple.add(&twice);
        *entry = multiple.cached();
    }
    table
}

#[inline(always)]
fn one_pair<F: Field>(tables: &[[Cached<F>; ENTRIES]; 2], scalar: &SignedBits) -> [Extended<F>; 2] {
    let mut sums = [Extended::<F>::identity(); 2];
    let chosen = |n: usize, j: usize| {
        let (entry, negative) = scalar.digit(j);
        let lanes = Lanes::from(negative).wrapping_neg();
        (Cached::choose(&tables[n], entry), lanes)
    };
    for j in (0..DIGITS).rev() {
        if j + 1 < DIGITS {
            for _ in 0..3 {
                for sum in &mut sums {
                    *sum = sum.double_without_t();
                }
            }
            for sum in &mut sums {
                *sum = sum.double();
            }
        }
        for (n, sum) in sums.iter_mut().enumerate() {
            let (entry, negative) = chosen(n, j);
            *sum = if j > 0 {
                sum.add_or_subtract_without_t(&entry, negative)
            } else {
                sum.add_or_subtract(&entry, negative)
            };
        }
    }
    sums
}
