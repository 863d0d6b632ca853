//! The lane-parallel steps of a discrete logarithm search (see `discrete_log`).

use super::point::{Extended, Point8, same_element};
use crate::field::roots::invert_all;
use crate::field::{Field, FieldExt, Lanes, Wide};

/// The low 64 bits of (T/Z)² = (xy)² for every point, canonical.
///
/// Negation and the 4-torsion that ristretto255 divides out map (x, y) to (±x, ±y) or (±iy, ±ix), so (xy)² names an
/// element up to its sign. Elements of the same key may still differ: compare before use.
#[inline(always)]
pub fn keys<F: Field>(points: &[Point8], out: &mut [[u64; 8]]) {
    let parts = 8 / F::LANES;
    let mut inverses = Vec::with_capacity(points.len() * parts);
    for point in points {
        for part in 0..parts {
            inverses.push(F::load(&point.z, part));
        }
    }
    invert_all(&mut inverses, &mut Vec::with_capacity(points.len() * parts));
    for (i, (point, keys)) in points.iter().zip(out).enumerate() {
        let mut wide = Wide::ZERO;
        for part in 0..parts {
            let xy = F::load(&point.t, part).mul(inverses[i * parts + part]);
            xy.square().canonical().store(&mut wide, part);
        }
        for (lane, key) in keys.iter_mut().enumerate() {
            *key = wide.0[0][lane] | wide.0[1][lane] << 51;
        }
    }
}

/// The lanes in which the points are the same ristretto255 element.
#[inline(always)]
pub fn same<F: Field>(a: &[Point8], b: &[Point8], out: &mut [Lanes]) {
    for ((a, b), lanes) in a.iter().zip(b).zip(out) {
        *lanes = 0;
        for part in 0..8 / F::LANES {
            let equal = same_element(&Extended::<F>::load(a, part), &Extended::load(b, part));
            let here = Lanes::MAX >> (8 - F::LANES);
            *lanes |= (equal & here) << (part * F::LANES);
        }
    }
}

/// Adds `others` to `points`, block by block; `others` is repeated if shorter.
#[inline(always)]
pub fn add<F: Field>(points: &mut [Point8], others: &[Point8]) {
    for (point, other) in points.iter_mut().zip(others.iter().cycle()) {
        for part in 0..8 / F::LANES {
            let other = Extended::<F>::load(other, part).cached();
            Extended::load(point, part).add(&other).store(point, part);
        }
    }
}

/// Subtracts `others` from `points`, block by block; `others` is repeated if shorter.
#[inline(always)]
pub fn subtract<F: Field>(points: &mut [Point8], others: &[Point8]) {
    for (point, other) in points.iter_mut().zip(others.iter().cycle()) {
        for part in 0..8 / F::LANES {
            let other = Extended::<F>::load(other, part).cached().neg_in(Lanes::MAX);
            Extended::load(point, part).add(&other).store(point, part);
        }
    }
}
