//! From uniform bytes to the group (RFC 9496, section 4.3.4).

use super::decode::limbs;
use super::point::{Extended, Point8};
use crate::field::constants::{D, D_MINUS_ONE_SQ, ONE_MINUS_D_SQ, SQRT_AD_MINUS_ONE, SQRT_M1};
use crate::field::roots::sqrt_ratio_m1;
use crate::field::{Field, FieldExt, Wide};

/// The element derived from each of eight strings of 64 uniform bytes: MAP of either half, added.
#[inline(always)]
pub fn from_uniform<F: Field>(strings: &[[u8; 64]; 8], out: &mut Point8) {
    let (mut first, mut second) = (Wide::ZERO, Wide::ZERO);
    for (lane, string) in strings.iter().enumerate() {
        let halves = string.as_chunks::<32>().0;
        first.set_lane(lane, &limbs(&halves[0]));
        second.set_lane(lane, &limbs(&halves[1]));
    }
    for part in 0..8 / F::LANES {
        let [p, q] = map([F::load(&first, part), F::load(&second, part)]);
        p.add(&q.cached()).store(out, part);
    }
}

/// MAP of section 4.3.4, for two.
#[inline(always)]
fn map<F: Field>(t: [F; 2]) -> [Extended<F>; 2] {
    let one = F::one();
    let minus_one = one.neg();
    let d = F::splat(D);
    let (mut r, mut u, mut v) = (t, t, t);
    for n in 0..2 {
        r[n] = t[n].square().mul(F::splat(SQRT_M1));
        u[n] = r[n].add(one).mul(F::splat(ONE_MINUS_D_SQ));
        v[n] = minus_one.sub(r[n].mul(d)).mul(r[n].add(d));
    }
    let roots = sqrt_ratio_m1(u, v);
    let mut out = [Extended::identity(); 2];
    for n in 0..2 {
        let (was_square, s) = roots[n];
        let other = s.mul(t[n]).abs().neg();
        let s = F::select(was_square, s, other);
        let c = F::select(was_square, minus_one, r[n]);
        let n_t = c.mul(r[n].sub(one)).mul(F::splat(D_MINUS_ONE_SQ)).sub(v[n]);
        let w0 = s.add(s).mul(v[n]);
        let w1 = n_t.mul(F::splat(SQRT_AD_MINUS_ONE));
        let ss = s.square();
        let (w2, w3) = (one.sub(ss), one.add(ss));
        out[n] = Extended {
            x: w0.mul(w3),
            y: w2.mul(w1),
            z: w1.mul(w3),
            t: w0.mul(w2),
        };
    }
    out
}
