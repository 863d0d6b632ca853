//! Bucket additions with the four coordinates of one point in the four lanes of AVX2.

use std::arch::x86_64::{__m256i, _mm256_permute4x64_epi64, _mm256_set_epi64x, _mm256_xor_si256};

use super::avx2::{Columns, Four, Prepared, bias, plus};
use super::{Field, FieldExt, Wide};
use crate::curve::buckets::{Buckets, Half, OPERAND_FACTORS};

// SAFETY of every `unsafe` block in this file: as in `avx2`, the features are checked before a kernel runs.

/// Exchanges lanes 0, 1 and 2, 3.
#[inline(always)]
fn swapped(a: __m256i) -> __m256i {
    // SAFETY: see above.
    unsafe { _mm256_permute4x64_epi64::<0xB1>(a) }
}

/// −1 in the lanes given as 1, 0 elsewhere, and the bias (plus one, to finish the two's complement) there.
#[inline(always)]
fn signs(k: usize, lanes: [i64; 4]) -> (__m256i, __m256i) {
    let [a, b, c, d] = lanes;
    let more = bias(k).cast_signed() + 1;
    // SAFETY: see above.
    unsafe {
        (
            _mm256_set_epi64x(-d, -c, -b, -a),
            _mm256_set_epi64x(d * more, c * more, b * more, a * more),
        )
    }
}

/// `bias` − column in the lanes given as 1, the column elsewhere.
#[inline(always)]
fn negated(column: __m256i, k: usize, lanes: [i64; 4]) -> __m256i {
    let (flip, more) = signs(k, lanes);
    // SAFETY: see above.
    plus(unsafe { _mm256_xor_si256(column, flip) }, more)
}

/// The bucket (Y − X, Y + X, T, Z) plus the operand.
#[inline(always)]
fn sum(bucket: Four, operand: &Prepared) -> Four {
    // (A, B, C, D), then (E, H, F, G) = (B − A, B + A, D − C, D + C).
    let mut columns = bucket.times(operand).0;
    for (k, column) in columns.iter_mut().enumerate() {
        *column = plus(negated(*column, k, [1, 0, 1, 0]), swapped(*column));
    }
    let ehfg = Four::carried(Columns(columns)).0;
    let (mut u, mut v) = (ehfg, ehfg);
    for k in 0..10 {
        // SAFETY: see above.
        unsafe {
            u[k] = _mm256_permute4x64_epi64::<0x8C>(ehfg[k]); // (E, G, E, F)
            v[k] = _mm256_permute4x64_epi64::<0xD6>(ehfg[k]); // (F, H, H, G)
        }
    }
    // (X, Y, T, Z), then (Y − X, Y + X, T, Z).
    let mut columns = Four(u).times(&Four(v).factor()).0;
    // SAFETY: see above.
    let pair = unsafe { _mm256_set_epi64x(0, 0, -1, -1) };
    for (k, column) in columns.iter_mut().enumerate() {
        // SAFETY: see above.
        let neighbour = unsafe { std::arch::x86_64::_mm256_and_si256(swapped(*column), pair) };
        *column = plus(negated(*column, k, [1, 0, 0, 0]), neighbour);
    }
    Four::carried(Columns(columns))
}

#[inline(always)]
fn load(half: &Half) -> Four {
    let [a, b, c, d, e] = &half.0;
    Four::gather([a, b, c, d, e])
}

#[inline(always)]
fn store(four: Four, half: &mut Half) {
    let [a, b, c, d, e] = &mut half.0;
    four.scatter([a, b, c, d, e]);
}

/// A bucket's coordinates as an operand's.
#[inline(always)]
fn scaled(bucket: Four) -> Prepared {
    bucket.mul(Four::load(&OPERAND_FACTORS, 0)).factor()
}

impl Buckets for Four {
    type Operand = [Prepared; 2];

    #[inline(always)]
    fn operand(row: &Wide) -> [Prepared; 2] {
        [Self::load(row, 0).factor(), Self::load(row, 1).factor()]
    }

    #[inline(always)]
    fn operand_twice(row: &Half) -> [Prepared; 2] {
        let one = load(row).factor();
        [one, one]
    }

    #[inline(always)]
    fn add(bucket: &mut Wide, operand: &[Prepared; 2]) {
        for (part, point) in operand.iter().enumerate() {
            sum(Self::load(bucket, part), point).store(bucket, part);
        }
    }

    #[inline(always)]
    fn add_apart(a: &mut Half, b: &mut Half, operand: &[Prepared; 2]) {
        for (half, point) in [a, b].into_iter().zip(operand) {
            store(sum(load(half), point), half);
        }
    }

    type Addend = [Prepared; 2];

    #[inline(always)]
    fn addend(bucket: &Wide) -> [Prepared; 2] {
        [0, 1].map(|part| scaled(Self::load(bucket, part)))
    }

    #[inline(always)]
    fn addend_twice(bucket: &Half) -> [Prepared; 2] {
        let one = scaled(load(bucket));
        [one, one]
    }

    #[inline(always)]
    fn fold(a: &mut Wide, b: &mut Wide, addend: &[Prepared; 2]) {
        Self::add_both(a, b, addend);
    }

    #[inline(always)]
    fn fold_apart(a: &mut Half, b: &mut Half, addend: &[Prepared; 2]) {
        Self::add_apart(a, b, addend);
    }
}
