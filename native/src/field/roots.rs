//! Inverses and square roots: fixed powers, batches of inverses, `SQRT_RATIO_M1`.

use super::constants::SQRT_M1;
use super::{Field, FieldExt, Lanes};

/// x^(2^n) for each.
#[inline(always)]
fn squarings<F: Field, const N: usize>(mut x: [F; N], n: usize) -> [F; N] {
    for _ in 0..n {
        for x in &mut x {
            *x = x.square();
        }
    }
    x
}

#[inline(always)]
fn products<F: Field, const N: usize>(mut a: [F; N], b: &[F; N]) -> [F; N] {
    for (a, b) in a.iter_mut().zip(b) {
        *a = a.mul(*b);
    }
    a
}

/// (x^(2²⁵⁰ − 1), x¹¹): the shared part of the two fixed powers; 249 squarings, 10 multiplications.
///
/// Several at once, because one chain of squarings leaves the multiplier waiting for its own results.
#[inline(always)]
fn ladder<F: Field, const N: usize>(x: [F; N]) -> ([F; N], [F; N]) {
    let x2 = squarings(x, 1);
    let x9 = products(squarings(x2, 2), &x);
    let x11 = products(x9, &x2);
    // Runs of ones: 5, 10, 20, 40, 50, 100, 200, 250 bits.
    let five = products(squarings(x11, 1), &x9);
    let ten = products(squarings(five, 5), &five);
    let twenty = products(squarings(ten, 10), &ten);
    let forty = products(squarings(twenty, 20), &twenty);
    let fifty = products(squarings(forty, 10), &ten);
    let hundred = products(squarings(fifty, 50), &fifty);
    let two_hundred = products(squarings(hundred, 100), &hundred);
    (products(squarings(two_hundred, 50), &fifty), x11)
}

/// x^(p − 2) = 1/x, and 0 for 0.
#[inline(always)]
pub fn invert<F: Field>(x: F) -> F {
    let (ones, x11) = ladder([x]);
    squarings(ones, 5)[0].mul(x11[0])
}

/// x^((p − 5)/8).
#[inline(always)]
fn power_p58<F: Field, const N: usize>(x: [F; N]) -> [F; N] {
    products(squarings(ladder(x).0, 2), &x)
}

/// Replaces every element by its inverse, zeros by zeros, with one inversion per lane (Montgomery's trick).
#[inline(always)]
pub fn invert_all<F: Field>(elements: &mut [F], scratch: &mut Vec<F>) {
    scratch.clear();
    let mut product = F::one();
    for element in elements.iter() {
        scratch.push(product);
        let safe = F::select(element.is_zero(), F::one(), *element);
        product = product.mul(safe);
    }
    let mut inverse = invert(product);
    for i in (0..elements.len()).rev() {
        let zero = elements[i].is_zero();
        let safe = F::select(zero, F::one(), elements[i]);
        elements[i] = F::select(zero, F::zero(), inverse.mul(scratch[i]));
        inverse = inverse.mul(safe);
    }
}

/// `SQRT_RATIO_M1(u, v)` of RFC 9496, section 4.2, for several: the lanes where u/v is a square, and the
/// non-negative root of u/v or of i·u/v.
#[inline(always)]
pub fn sqrt_ratio_m1<F: Field, const N: usize>(u: [F; N], v: [F; N]) -> [(Lanes, F); N] {
    let i = F::splat(SQRT_M1);
    let mut uv3 = u;
    let mut uv7 = u;
    for n in 0..N {
        let v3 = v[n].square().mul(v[n]);
        uv3[n] = u[n].mul(v3);
        uv7[n] = u[n].mul(v3.square().mul(v[n]));
    }
    let power = power_p58(uv7);
    let mut out = [(0, i); N];
    for n in 0..N {
        let root = uv3[n].mul(power[n]);
        let check = v[n].mul(root.square());
        let correct = check.equals(u[n]);
        let flipped = check.add(u[n]).is_zero();
        let flipped_i = check.add(u[n].mul(i)).is_zero();
        let root = F::select(flipped | flipped_i, root.mul(i), root);
        out[n] = (correct | flipped, root.abs());
    }
    out
}
