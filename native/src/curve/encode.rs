//! Encoding (RFC 9496, section 4.3.2), and encoding of doubles without square roots.

use super::point::{Extended, Point8};
use crate::field::constants::{INVSQRT_A_MINUS_D, SQRT_M1};
use crate::field::roots::{invert_all, sqrt_ratio_m1};
use crate::field::{Field, FieldExt, Limbs, Wide};

/// Joins canonical limbs to 32 little-endian bytes.
#[inline(always)]
pub fn bytes(l: &Limbs) -> [u8; 32] {
    let words = [
        l[0] | l[1] << 51,
        l[1] >> 13 | l[2] << 38,
        l[2] >> 26 | l[3] << 25,
        l[3] >> 39 | l[4] << 12,
    ];
    let mut out = [0; 32];
    for (chunk, word) in out.as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *chunk = word.to_le_bytes();
    }
    out
}

#[inline(always)]
fn write(wide: &Wide, out: &mut [[u8; 32]; 8]) {
    for (lane, encoding) in out.iter_mut().enumerate() {
        *encoding = bytes(&wide.lane(lane));
    }
}

/// Encodes N times eight points.
#[inline(always)]
pub fn encode<F: Field, const N: usize>(points: &[Point8; N], out: &mut [[[u8; 32]; 8]; N]) {
    let mut wide = [Wide::ZERO; N];
    for part in 0..8 / F::LANES {
        let (mut u1, mut u2, mut product) = ([F::zero(); N], [F::zero(); N], [F::zero(); N]);
        for n in 0..N {
            let p = Extended::<F>::load(&points[n], part);
            u1[n] = p.z.add(p.y).mul(p.z.sub(p.y));
            u2[n] = p.x.mul(p.y);
            product[n] = u1[n].mul(u2[n].square());
        }
        let inverses = sqrt_ratio_m1([F::one(); N], product);
        for n in 0..N {
            let p = Extended::<F>::load(&points[n], part);
            encode_part(&p, u1[n], u2[n], inverses[n].1).store(&mut wide[n], part);
        }
    }
    for n in 0..N {
        write(&wide[n], &mut out[n]);
    }
}

/// The steps of section 4.3.2 after the inverse square root.
#[inline(always)]
fn encode_part<F: Field>(p: &Extended<F>, u1: F, u2: F, inverse: F) -> F {
    let den1 = inverse.mul(u1);
    let den2 = inverse.mul(u2);
    let z_inverse = den1.mul(den2).mul(p.t);
    let i = F::splat(SQRT_M1);
    let rotate = p.t.mul(z_inverse).negative();
    let x = F::select(rotate, p.y.mul(i), p.x);
    let y = F::select(rotate, p.x.mul(i), p.y);
    let den = F::select(rotate, den1.mul(F::splat(INVSQRT_A_MINUS_D)), den2);
    let y = y.neg_in(x.mul(z_inverse).negative());
    den.mul(p.z.sub(y)).abs()
}

/// The double of a point as x = e/f, y = g/h, with the products its encoding needs.
#[derive(Clone, Copy)]
struct Double<F> {
    e: F,
    f: F,
    g: F,
    h: F,
    eg: F,
    fh: F,
}

/// Encodes the doubles of all points, 2P for P, with one inversion per lane for the whole batch.
///
/// 2P has x = 2XY/(Z² + dT²), y = (Y² + X²)/(Z² − dT²). As a double, its encoding is rational in e, f, g, h: the
/// inverse square root of section 4.3.2 is known, and 1/(efgh) gives both 1/(fh) and 1/(eg).
#[inline(always)]
pub fn encode_doubles<F: Field>(points: &[Point8], out: &mut [[[u8; 32]; 8]]) {
    let count = points.len() * (8 / F::LANES);
    let mut doubles = Vec::with_capacity(count);
    let mut inverses = Vec::with_capacity(count);
    for point in points {
        for part in 0..8 / F::LANES {
            let double = doubled(&Extended::<F>::load(point, part));
            inverses.push(double.eg.mul(double.fh));
            doubles.push(double);
        }
    }
    invert_all(&mut inverses, &mut Vec::with_capacity(count));
    for (i, encodings) in out.iter_mut().enumerate() {
        let mut wide = Wide::ZERO;
        for part in 0..8 / F::LANES {
            let at = i * (8 / F::LANES) + part;
            encode_double(&doubles[at], inverses[at]).store(&mut wide, part);
        }
        write(&wide, encodings);
    }
}

#[inline(always)]
fn doubled<F: Field>(p: &Extended<F>) -> Double<F> {
    let xx = p.x.squared();
    let yy = p.y.squared();
    let zz = p.z.square();
    let dtt = p.t.mul(p.t).mul(F::splat(crate::field::constants::D));
    let e = p.x.mul(p.y.add(p.y));
    let f = zz.add(dtt);
    let g = F::carried(F::plus(xx, yy));
    let h = zz.sub(dtt);
    Double {
        e,
        f,
        g,
        h,
        eg: e.mul(g),
        fh: f.mul(h),
    }
}

#[inline(always)]
fn encode_double<F: Field>(p: &Double<F>, inverse: F) -> F {
    let z_inverse = p.eg.mul(inverse);
    let t_inverse = p.fh.mul(inverse);
    let i = F::splat(SQRT_M1);
    // Step 5 of section 4.3.2: rotate by a point of order 4 if xy is negative.
    let rotate = p.eg.mul(z_inverse).negative();
    let x = F::select(rotate, p.g, p.e);
    let y = F::select(rotate, p.e.neg(), p.g);
    let h = F::select(rotate, p.f.mul(i), p.h);
    let magic = F::select(rotate, i, F::splat(INVSQRT_A_MINUS_D));
    let y = y.neg_in(h.mul(x).mul(z_inverse).negative());
    h.sub(y).mul(magic.mul(y.mul(t_inverse))).abs()
}
