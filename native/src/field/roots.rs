//! Inverses and square roots: fixed powers, batches of inverses, `SQRT_RATIO_M1`.

use super::constants::SQRT_M1;
use super::{Field, FieldExt, Lanes};

/// x^(2^n).
#[inline(always)]
fn squarings<F: Field>(mut x: F, n: usize) -> F {
    for _ in 0..n {
        x = x.square();
    }
    x
}

/// (x^(2²⁵⁰ − 1), x¹¹): the shared part of the two fixed powers; 249 squarings, 10 multiplications.
#[inline(always)]
fn ladder<F: Field>(x: F) -> (F, F) {
    let x2 = x.square();
    let x9 = squarings(x2, 2).mul(x);
    let x11 = x9.mul(x2);
    let mut ones = x11.square().mul(x9); // 2^5 − 1
    let mut five = ones;
    ones = squarings(five, 5).mul(five); // 2^10 − 1
    let ten = ones;
    // Doubling the run of ones: 10 → 20 → 40, then 50, 100, 200, 250.
    five = squarings(ten, 10).mul(ten); // 2^20 − 1
    let forty = squarings(five, 20).mul(five);
    let fifty = squarings(forty, 10).mul(ten);
    let hundred = squarings(fifty, 50).mul(fifty);
    let two_hundred = squarings(hundred, 100).mul(hundred);
    (squarings(two_hundred, 50).mul(fifty), x11)
}

/// x^(p − 2) = 1/x, and 0 for 0.
#[inline(always)]
pub fn invert<F: Field>(x: F) -> F {
    let (ones, x11) = ladder(x);
    squarings(ones, 5).mul(x11)
}

/// x^((p − 5)/8).
#[inline(always)]
fn power_p58<F: Field>(x: F) -> F {
    squarings(ladder(x).0, 2).mul(x)
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

/// `SQRT_RATIO_M1(u, v)` of RFC 9496, section 4.2: the lanes where u/v is a square, and the non-negative root of
/// u/v or of i·u/v.
#[inline(always)]
pub fn sqrt_ratio_m1<F: Field>(u: F, v: F) -> (Lanes, F) {
    let v3 = v.square().mul(v);
    let v7 = v3.square().mul(v);
    let root = u.mul(v3).mul(power_p58(u.mul(v7)));
    let check = v.mul(root.square());
    let i = F::splat(SQRT_M1);
    let correct = check.equals(u);
    let flipped = check.add(u).is_zero();
    let flipped_i = check.add(u.mul(i)).is_zero();
    let root = F::select(flipped | flipped_i, root.mul(i), root);
    (correct | flipped, root.abs())
}
