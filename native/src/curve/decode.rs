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

/// Decodes N times eight encodings to points with Z = 1 and says which lanes are valid. Other lanes hold garbage.
#[inline(always)]
pub fn decode<F: Field, const N: usize>(
    encodings: &[[[u8; 32]; 8]; N],
    points: &mut [Point8; N],
    valid: &mut [Lanes; N],
) {
    let mut wide = [Wide::ZERO; N];
    for n in 0..N {
        valid[n] = 0;
        for (lane, encoding) in encodings[n].iter().enumerate() {
            let s = limbs(encoding);
            wide[n].set_lane(lane, &s);
            valid[n] |= Lanes::from(canonical_bytes(encoding, &s)) << lane;
        }
    }
    for part in 0..8 / F::LANES {
        let mut s = [F::zero(); N];
        for n in 0..N {
            s[n] = F::load(&wide[n], part);
        }
        let decoded = decode_part(s);
        for n in 0..N {
            let (ok, point) = decoded[n];
            point.store(&mut points[n], part);
            let here: Lanes = Lanes::MAX >> (8 - F::LANES);
            valid[n] &= !(!ok & here).wrapping_shl((part * F::LANES) as u32);
        }
    }
}

#[inline(always)]
fn decode_part<F: Field, const N: usize>(s: [F; N]) -> [(Lanes, Extended<F>); N] {
    let one = F::one();
    let (mut u1, mut u2, mut v, mut product) = (s, s, s, s);
    for n in 0..N {
        let ss = s[n].square();
        u1[n] = one.sub(ss);
        u2[n] = one.add(ss);
        let u2_squared = u2[n].square();
        // v = −(D·u1²) − u2²
        v[n] = u1[n].square().mul(F::splat(D)).add(u2_squared).neg();
        product[n] = v[n].mul(u2_squared);
    }
    let inverses = sqrt_ratio_m1([one; N], product);
    let mut out = [(0, Extended::identity()); N];
    for n in 0..N {
        let (was_square, inverse) = inverses[n];
        let den_x = inverse.mul(u2[n]);
        let den_y = inverse.mul(den_x).mul(v[n]);
        let x = s[n].add(s[n]).mul(den_x).abs();
        let y = u1[n].mul(den_y);
        let t = x.mul(y);
        let valid = was_square & !t.negative() & !y.is_zero();
        out[n] = (valid, Extended { x, y, z: one, t });
    }
    out
}
