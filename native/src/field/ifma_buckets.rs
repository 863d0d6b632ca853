//! Bucket additions with two points × four coordinates in the eight lanes of AVX-512.

use std::arch::x86_64::{
    __m512i, _MM_HINT_T0, _mm_prefetch, _mm256_load_si256, _mm256_store_si256,
    _mm512_castsi256_si512, _mm512_castsi512_si256, _mm512_extracti64x4_epi64, _mm512_inserti64x4,
    _mm512_mask_add_epi64, _mm512_mask_sub_epi64, _mm512_permutex_epi64, _mm512_set1_epi64,
};

use super::ifma::{BIAS, Columns, Eight, Prepared, carry, plus, prepare, product};
use super::{Field, FieldExt, Wide};
use crate::curve::buckets::{Buckets, Half, OPERAND_FACTORS};

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

/// (E, H, F, G) = (B − A, B + A, D − C, D + C) from (A, B, C, D).
#[inline(always)]
fn middle(abcd: &Columns) -> [__m512i; 5] {
    let mut ehfg = abcd.0;
    for k in 0..5 {
        ehfg[k] = plus(negated(abcd.0[k], k, 0b0101_0101), swapped(abcd.0[k]));
    }
    carry(&ehfg)
}

/// (X, Y, T, Z) = (E, G, E, F)·(F, H, H, G).
#[inline(always)]
fn outer(ehfg: &[__m512i; 5]) -> Columns {
    let (mut u, mut v) = (*ehfg, *ehfg);
    for k in 0..5 {
        // SAFETY: see above.
        unsafe {
            u[k] = _mm512_permutex_epi64::<0x8C>(ehfg[k]);
            v[k] = _mm512_permutex_epi64::<0xD6>(ehfg[k]);
        }
    }
    product(&u, &prepare(&v))
}

/// (Y − X, Y + X, T, Z) from (X, Y, T, Z).
#[inline(always)]
fn last(xytz: &Columns) -> [__m512i; 5] {
    let mut out = xytz.0;
    for k in 0..5 {
        let first = negated(xytz.0[k], k, 0b0001_0001);
        // SAFETY: see above.
        out[k] = unsafe { _mm512_mask_add_epi64(first, 0b0011_0011, first, swapped(xytz.0[k])) };
    }
    carry(&out)
}

#[inline(always)]
fn sum(bucket: &[__m512i; 5], operand: &Prepared) -> [__m512i; 5] {
    last(&outer(&middle(&product(bucket, operand))))
}

/// Two sums step by step beside each other: either one alone would wait for its own results.
#[inline(always)]
fn sum_both(buckets: [&[__m512i; 5]; 2], operand: &Prepared) -> [[__m512i; 5]; 2] {
    let abcd = [product(buckets[0], operand), product(buckets[1], operand)];
    let ehfg = [middle(&abcd[0]), middle(&abcd[1])];
    let xytz = [outer(&ehfg[0]), outer(&ehfg[1])];
    [last(&xytz[0]), last(&xytz[1])]
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

/// A bucket's coordinates as an operand's.
#[inline(always)]
fn scaled(bucket: Eight) -> Prepared {
    bucket.mul(Eight::load(&OPERAND_FACTORS, 0)).factor()
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
    fn add_both(a: &mut Wide, b: &mut Wide, operand: &Prepared) {
        let old = [Self::load(a, 0), Self::load(b, 0)];
        let [first, second] = sum_both([&old[0].0, &old[1].0], operand);
        Self(first).store(a, 0);
        Self(second).store(b, 0);
    }

    #[inline(always)]
    fn prefetch<T>(bucket: &T) {
        let start: *const i8 = std::ptr::from_ref(bucket).cast();
        for line in 0..size_of::<T>().div_ceil(64) {
            // SAFETY: a prefetch reads nothing; the address lies in or next to the bucket.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(64 * line)) };
        }
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

    type Addend = Prepared;

    #[inline(always)]
    fn addend(bucket: &Wide) -> Prepared {
        scaled(Self::load(bucket, 0))
    }

    #[inline(always)]
    fn addend_twice(bucket: &Half) -> Prepared {
        scaled(Self(join(bucket, bucket)))
    }

    #[inline(always)]
    fn fold(a: &mut Wide, b: &mut Wide, addend: &Prepared) {
        Self::add_both(a, b, addend);
    }

    #[inline(always)]
    fn fold_apart(a: &mut Half, b: &mut Half, addend: &Prepared) {
        Self::add_apart(a, b, addend);
    }
}
