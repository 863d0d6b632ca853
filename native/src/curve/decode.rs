//! Decoding (RFC 9496, section 4.3.1).

use super::point::{Extended, Point8};
use crate::field::constants::D;
use crate::field::roots::sqrt_ratio_m1;
use crate::field::{Field, FieldExt, LOW, Lanes, Limbs, Wide};

/// Splits 32 little-endian bytes into limbs; the top bit is dropped.
#[inline(always)]
pub fn limbs(bytes: &[u8; 32]) -> Limbs {
    let mut words = [0u64; 4];
    for (word, chunk) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*chunk);
    }
    [
        words[0] & LOW,
        (words[0] >> 51 | words[1] << 13) & LOW,
        (words[1] >> 38 | words[2] << 26) & LOW,
        (words[2] >> 25 | words[3] << 39) & LOW,
        (words[3] >> 12) & LOW,
    ]
}

/// Whether the bytes are a non-negative integer below p in the sense of step 1.
#[inline(always)]
fn canonical_bytes(bytes: &[u8; 32], s: &Limbs) -> bool {
    let above = s[0] >= LOW - 18 && s[1..].iter().all(|&limb| limb == LOW);
    bytes[31] < 128 && bytes[0] & 1 == 0 && !above
}

/// Decodes eight encodings to points with Z = 1; returns the lanes that are valid. Other lanes hold garbage.
#[inline(always)]
pub fn decode<F: Field>(encodings: &[[u8; 32]; 8], out: &mut Point8) -> Lanes {
    let mut wide = Wide::ZERO;
    let mut valid: Lanes = 0;
    for (lane, encoding) in encodings.iter().enumerate() {
        let s = limbs(encoding);
        wide.set_lane(lane, &s);
        valid |= Lanes::from(canonical_bytes(encoding, &s)) << lane;
    }
    for part in 0..8 / F::LANES {
        let (ok, point) = decode_part::<F>(F::load(&wide, part));
        point.store(out, part);
        let shift = part * F::LANES;
        let here: Lanes = (Lanes::MAX >> (8 - F::LANES)) << shift;
        valid &= !here | (ok << shift);
    }
    valid
}

#[inline(always)]
fn decode_part<F: Field>(s: F) -> (Lanes, Extended<F>) {
    let one = F::one();
    let ss = s.square();
    let u1 = one.sub(ss);
    let u2 = one.add(ss);
    let u2_squared = u2.square();
    // v = −(D·u1²) − u2²
    let v = F::zero().sub(u1.square().mul(F::splat(D))).sub(u2_squared);
    let (was_square, inverse) = sqrt_ratio_m1(one, v.mul(u2_squared));
    let den_x = inverse.mul(u2);
    let den_y = inverse.mul(den_x).mul(v);
    let x = s.add(s).mul(den_x).abs();
    let y = u1.mul(den_y);
    let t = x.mul(y);
    let valid = was_square & !t.negative() & !y.is_zero();
    let lanes: Lanes = Lanes::MAX >> (8 - F::LANES);
    (valid & lanes, Extended { x, y, z: one, t })
}
