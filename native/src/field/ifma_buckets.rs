//! Bucket additions with two points × four coordinates in the eight lanes of AVX-512.

use std::arch::x86_64::{
    __m512i, _mm256_load_si256, _mm256_store_si256, _mm512_castsi256_si512, _mm512_castsi512_si256,
    _mm512_extracti64x4_epi64, _mm512_inserti64x4, _mm512_mask_add_epi64, _mm512_mask_sub_epi64,
    _mm512_permutex_epi64, _mm512_set1_epi64,
};

use super::ifma::{BIAS, Columns, Eight, Prepared, carry, plus, prepare, product};
use super::{Field, Wide};
use crate::curve::buckets::{Buckets, Half};

// SAFETY of every `unsafe` block in this file: as in `ifma`, the features are checked before a kernel runs.

/// Exchanges lanes 0, 1 and 2, 3 of either point.
#[inline(always)]
fn swapped(a: __m512i) -> __m512i {
    // SAFETY: see above.
    unsafe { _mm512_permutex_epi64::<0xB1>(a) }
}

/// `BIAS` − column in the lanes of the mask, the column elsewhere.
#[inline(always)]
fn negated(column: __m512i, k: usize, mask: u8) -> __m512i {
    // SAFETY: see above.
    unsafe {
        _mm512_mask_sub_epi64(
            column,
            mask,
            _mm512_set1_epi64(BIAS[k].cast_signed()),
            column,
        )
    }
}

/// The bucket (Y − X, Y + X, T, Z) plus the operand.
#[inline(always)]
fn sum(bucket: &[__m512i; 5], operand: &Prepared) -> [__m512i; 5] {
    // (A, B, C, D), then (E, H, F, G) = (B − A, B + A, D − C, D + C).
    let Columns(abcd) = product(bucket, operand);
    let mut ehfg = abcd;
    for k in 0..5 {
        ehfg[k] = plus(negated(abcd[k], k, 0b0101_0101), swapped(abcd[k]));
    }
    let ehfg = carry(&ehfg);
    let (mut u, mut v) = (ehfg, ehfg);
    for k in 0..5 {
        // SAFETY: see above.
        unsafe {
            u[k] = _mm512_permutex_epi64::<0x8C>(ehfg[k]); // (E, G, E, F)
            v[k] = _mm512_permutex_epi64::<0xD6>(ehfg[k]); // (F, H, H, G)
        }
    }
    // (X, Y, T, Z), then (Y − X, Y + X, T, Z).
    let Columns(xytz) = product(&u, &prepare(&v));
    let mut out = xytz;
    for k in 0..5 {
        let first = negated(xytz[k], k, 0b0001_0001);
        // SAFETY: see above.
        out[k] = unsafe { _mm512_mask_add_epi64(first, 0b0011_0011, first, swapped(xytz[k])) };
    }
    carry(&out)
}

#[inline(always)]
fn join(a: &Half, b: &Half) -> [__m512i; 5] {
    // SAFETY: as above; a row is 32 bytes and `Half` is aligned to 32.
    let one = |k: usize| unsafe {
        let low = _mm256_load_si256(a.0[k].as_ptr().cast());
        let high = _mm256_load_si256(b.0[k].as_ptr().cast());
        _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high)
    };
    [one(0), one(1), one(2), one(3), one(4)]
}

impl Buckets for Eight {
    type Operand = Prepared;

    #[inline(always)]
    fn operand(row: &Wide) -> Prepared {
        Self::load(row, 0).factor()
    }

    #[inline(always)]
    fn operand_twice(row: &Half) -> Prepared {
        prepare(&join(row, row))
    }

    #[inline(always)]
    fn add(bucket: &mut Wide, operand: &Prepared) {
        let old = Self::load(bucket, 0);
        Self(sum(&old.0, operand)).store(bucket, 0);
    }

    #[inline(always)]
    fn add_apart(a: &mut Half, b: &mut Half, operand: &Prepared) {
        let new = sum(&join(a, b), operand);
        for k in 0..5 {
            // SAFETY: as above; a row is 32 bytes and `Half` is aligned to 32.
            unsafe {
                _mm256_store_si256(a.0[k].as_mut_ptr().cast(), _mm512_castsi512_si256(new[k]));
                _mm256_store_si256(
                    b.0[k].as_mut_ptr().cast(),
                    _mm512_extracti64x4_epi64::<1>(new[k]),
                );
            }
        }
    }
}
