//! Points of the curve itself, as Ed25519 writes them: y, and in the topmost bit whether x is odd (RFC 8032, section 5.1.2).

use super::decode::limbs;
use super::encode::bytes;
use super::point::{Extended, Point8};
use crate::field::constants::D;
use crate::field::roots::{invert_all, sqrt_ratio_m1};
use crate::field::{Field, FieldExt, Wide, portable::One};

/// The point with this encoding, which must be one, in every lane (section 5.1.3).
#[must_use]
pub fn decoded(encoding: &[u8; 32]) -> Point8 {
    let y = One::splat(limbs(encoding));
    let yy = y.square();
    let [(_, root)] = sqrt_ratio_m1(
        [yy.sub(One::one())],
        [yy.mul(One::splat(D)).add(One::one())],
    );
    let x = root.neg_in((encoding[31] >> 7).wrapping_neg());
    let mut point = Point8::identity();
    for part in 0..8 / One::LANES {
        let (z, t) = (One::one(), x.mul(y));
        Extended { x, y, z, t }.store(&mut point, part);
    }
    point
}

/// Encodes all points, with one inversion per lane for the whole batch.
#[inline(always)]
pub fn encode<F: Field>(points: &[Point8], out: &mut [[[u8; 32]; 8]]) {
    let parts = 8 / F::LANES;
    let each = || (0..points.len() * parts).map(|at| (at / parts, at % parts));
    let mut inverses: Vec<F> = each()
        .map(|(i, part)| Extended::load(&points[i], part).z)
        .collect();
    let mut scratch = Vec::with_capacity(inverses.len());
    invert_all(&mut inverses, &mut scratch);
    let mut odd = vec![0u8; points.len()];
    let mut y = vec![Wide::ZERO; points.len()];
    for ((i, part), z) in each().zip(&inverses) {
        let point = Extended::<F>::load(&points[i], part);
        odd[i] |= (point.x.mul(*z).negative() & (u8::MAX >> (8 - F::LANES))) << (part * F::LANES);
        point.y.mul(*z).canonical().store(&mut y[i], part);
    }
    for ((encodings, y), odd) in out.iter_mut().zip(&y).zip(&odd) {
        for (lane, encoding) in encodings.iter_mut().enumerate() {
            *encoding = bytes(&y.lane(lane));
            encoding[31] |= (odd >> lane & 1) << 7;
        }
    }
}
