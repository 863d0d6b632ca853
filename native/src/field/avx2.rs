//! Four elements in ten AVX2 registers, limbs alternating between 26 and 25 bits.
//!
//! Limb k has weight 2^⌈25.5·k⌉, so the product of two odd limbs counts twice, and wrapped products nineteen times.

use std::arch::x86_64::{
    __m256i, _mm256_add_epi64, _mm256_and_si256, _mm256_blendv_epi8, _mm256_castsi256_pd,
    _mm256_cmpeq_epi64, _mm256_load_si256, _mm256_movemask_pd, _mm256_mul_epu32, _mm256_or_si256,
    _mm256_set_epi64x, _mm256_set1_epi64x, _mm256_setzero_si256, _mm256_slli_epi64,
    _mm256_srli_epi64, _mm256_store_si256, _mm256_sub_epi64,
};

use super::{Field, LOW, Lanes, Limbs, Wide};
use crate::curve::recode::{Digits8, magnitude};

/// Four elements; carried limbs stay below 2²⁶ + 2¹⁷.
#[derive(Clone, Copy)]
pub struct Four(pub(crate) [__m256i; 10]);

/// Column sums, below 2^59.3 for one product and below 2⁶³ after sums and a subtraction.
#[derive(Clone, Copy)]
pub struct Columns(pub(crate) [__m256i; 10]);

/// A right factor b with 19·b.
#[derive(Clone, Copy)]
pub struct Prepared {
    b: [__m256i; 10],
    b19: [__m256i; 10],
}

// SAFETY of every `unsafe` block in this file, unless it says more: values of these types are made and used only
// below the entry points of `kernels`, which run after the processor was asked for AVX2.

#[inline(always)]
fn set(value: u64) -> __m256i {
    // SAFETY: see above.
    unsafe { _mm256_set1_epi64x(value.cast_signed()) }
}

#[inline(always)]
pub(crate) fn plus(a: __m256i, b: __m256i) -> __m256i {
    // SAFETY: see above.
    unsafe { _mm256_add_epi64(a, b) }
}

#[inline(always)]
fn times32(a: __m256i, b: __m256i) -> __m256i {
    // SAFETY: see above.
    unsafe { _mm256_mul_epu32(a, b) }
}

#[inline(always)]
fn and(a: __m256i, b: __m256i) -> __m256i {
    // SAFETY: see above.
    unsafe { _mm256_and_si256(a, b) }
}

#[inline(always)]
fn zero() -> __m256i {
    // SAFETY: see above.
    unsafe { _mm256_setzero_si256() }
}

/// Splits limb k at its width into (low bits, carry).
#[inline(always)]
fn split(limb: __m256i, k: usize) -> (__m256i, __m256i) {
    // SAFETY: see above.
    unsafe {
        if k.is_multiple_of(2) {
            (and(limb, set((1 << 26) - 1)), _mm256_srli_epi64::<26>(limb))
        } else {
            (and(limb, set((1 << 25) - 1)), _mm256_srli_epi64::<25>(limb))
        }
    }
}

/// 19·x for x below 2⁵⁹.
#[inline(always)]
fn nineteen(x: __m256i) -> __m256i {
    // SAFETY: see above.
    let (x2, x16) = unsafe { (_mm256_slli_epi64::<1>(x), _mm256_slli_epi64::<4>(x)) };
    plus(x16, plus(x2, x))
}

/// Moves the carry of limb K to the next one.
#[inline(always)]
fn pass<const K: usize>(limbs: &mut [__m256i; 10]) {
    let (low, over) = split(limbs[K], K);
    limbs[K] = low;
    if K == 9 {
        limbs[0] = plus(limbs[0], nineteen(over));
    } else {
        limbs[K + 1] = plus(limbs[K + 1], over);
    }
}

/// Adds limb I of a times all of b to the columns.
#[inline(always)]
fn product_row<const I: usize>(out: &mut [__m256i; 10], a: &[__m256i; 10], factor: &Prepared) {
    let once = a[I];
    let twice = plus(once, once);
    for j in 0..10 {
        let left = if I % 2 == 1 && j % 2 == 1 {
            twice
        } else {
            once
        };
        let right = if I + j < 10 {
            factor.b[j]
        } else {
            factor.b19[j]
        };
        let k = (I + j) % 10;
        out[k] = plus(out[k], times32(left, right));
    }
}

/// Adds limb I of a times the limbs up to I, those below I twice.
#[inline(always)]
fn square_row<const I: usize>(out: &mut [__m256i; 10], a: &[__m256i; 10]) {
    let wrapped = times32(a[I], set(19));
    for j in 0..=I {
        let left = if I + j < 10 { a[I] } else { wrapped };
        let mut right = if I == j { a[j] } else { plus(a[j], a[j]) };
        if I % 2 == 1 && j % 2 == 1 {
            right = plus(right, right);
        }
        let k = (I + j) % 10;
        out[k] = plus(out[k], times32(left, right));
    }
}

/// Calls a function once per limb, with the limb as a constant: the compiler does not unroll a loop of this size.
macro_rules! every_limb {
    ($row:ident, $($argument:expr),*) => {
        $row::<0>($($argument),*);
        $row::<1>($($argument),*);
        $row::<2>($($argument),*);
        $row::<3>($($argument),*);
        $row::<4>($($argument),*);
        $row::<5>($($argument),*);
        $row::<6>($($argument),*);
        $row::<7>($($argument),*);
        $row::<8>($($argument),*);
        $row::<9>($($argument),*);
    };
}

/// 2³⁶·p, limb by limb: more than a sum of four products.
#[inline(always)]
pub(crate) fn bias(k: usize) -> u64 {
    match k {
        0 => ((1 << 26) - 19) << 36,
        k if k.is_multiple_of(2) => ((1 << 26) - 1) << 36,
        _ => ((1 << 25) - 1) << 36,
    }
}

/// Five 51-bit limbs to ten.
#[inline(always)]
fn halved(wide: &[__m256i; 5]) -> Four {
    let mut out = [zero(); 10];
    for k in 0..5 {
        out[2 * k] = and(wide[k], set((1 << 26) - 1));
        // SAFETY: see above.
        out[2 * k + 1] = unsafe { _mm256_srli_epi64::<26>(wide[k]) };
    }
    Four(out)
}

impl Four {
    /// Ten limbs to five below 2⁵¹ + 2¹⁵.
    #[inline(always)]
    fn joined(&self) -> [__m256i; 5] {
        let mut limbs = [zero(); 5];
        let mut over = [zero(); 5];
        for k in 0..5 {
            // SAFETY: see above.
            unsafe {
                let limb = plus(self.0[2 * k], _mm256_slli_epi64::<26>(self.0[2 * k + 1]));
                limbs[k] = and(limb, set(LOW));
                over[k] = _mm256_srli_epi64::<51>(limb);
            }
        }
        for k in 0..4 {
            limbs[k + 1] = plus(limbs[k + 1], over[k]);
        }
        limbs[0] = plus(limbs[0], nineteen(over[4]));
        limbs
    }

    /// Four lanes that lie side by side in every row of a 32-byte aligned array.
    #[inline(always)]
    pub(crate) fn gather(rows: [&[u64; 4]; 5]) -> Self {
        let mut wide = [zero(); 5];
        for (to, row) in wide.iter_mut().zip(rows) {
            // SAFETY: as above; the rows are 32 bytes, aligned to 32.
            *to = unsafe { _mm256_load_si256(row.as_ptr().cast()) };
        }
        halved(&wide)
    }

    #[inline(always)]
    pub(crate) fn scatter(self, rows: [&mut [u64; 4]; 5]) {
        for (row, limb) in rows.into_iter().zip(self.joined()) {
            // SAFETY: as above; the rows are 32 bytes, aligned to 32.
            unsafe { _mm256_store_si256(row.as_mut_ptr().cast(), limb) };
        }
    }
}

/// All bits set in the given lanes.
#[inline(always)]
fn mask(lanes: Lanes) -> __m256i {
    // SAFETY: see above.
    unsafe {
        let bits = _mm256_set_epi64x(8, 4, 2, 1);
        _mm256_cmpeq_epi64(and(set(u64::from(lanes)), bits), bits)
    }
}

#[inline(always)]
#[expect(clippy::cast_sign_loss, reason = "a mask of four bits")]
fn bits(mask: __m256i) -> Lanes {
    // SAFETY: see above.
    unsafe { _mm256_movemask_pd(_mm256_castsi256_pd(mask)) as Lanes }
}

impl Field for Four {
    const LANES: usize = 4;
    type Raw = Columns;
    type Index = __m256i;
    type Factor = Prepared;

    #[inline(always)]
    fn splat(limbs: Limbs) -> Self {
        halved(&[
            set(limbs[0]),
            set(limbs[1]),
            set(limbs[2]),
            set(limbs[3]),
            set(limbs[4]),
        ])
    }

    #[inline(always)]
    fn load(from: &Wide, part: usize) -> Self {
        let [a, b, c, d, e] = &from.0;
        Self::gather([a, b, c, d, e].map(|row| &row.as_chunks::<4>().0[part]))
    }

    #[inline(always)]
    fn store(self, to: &mut Wide, part: usize) {
        let [a, b, c, d, e] = &mut to.0;
        self.scatter([a, b, c, d, e].map(|row| &mut row.as_chunks_mut::<4>().0[part]));
    }

    #[inline(always)]
    fn factor(self) -> Prepared {
        let mut b19 = self.0;
        for limb in &mut b19 {
            *limb = times32(*limb, set(19));
        }
        Prepared { b: self.0, b19 }
    }

    #[inline(always)]
    fn times(self, factor: &Prepared) -> Columns {
        let mut out = [zero(); 10];
        every_limb!(product_row, &mut out, &self.0, factor);
        Columns(out)
    }

    #[inline(always)]
    fn squared(self) -> Columns {
        let mut out = [zero(); 10];
        every_limb!(square_row, &mut out, &self.0);
        Columns(out)
    }

    #[inline(always)]
    fn raw(self) -> Columns {
        Columns(self.0)
    }

    #[inline(always)]
    fn plus(a: Columns, b: Columns) -> Columns {
        let mut out = a.0;
        for k in 0..10 {
            out[k] = plus(out[k], b.0[k]);
        }
        Columns(out)
    }

    #[inline(always)]
    fn raised(raw: Columns) -> Columns {
        let mut out = raw.0;
        for (k, column) in out.iter_mut().enumerate() {
            *column = plus(*column, set(bias(k)));
        }
        Columns(out)
    }

    #[inline(always)]
    fn less(a: Columns, b: Columns) -> Columns {
        let mut out = a.0;
        for k in 0..10 {
            // SAFETY: as above.
            out[k] = unsafe { _mm256_sub_epi64(out[k], b.0[k]) };
        }
        Columns(out)
    }

    /// Two interleaved chains of carries, 0 → 5 and 4 → 9 → 0 → 1.
    #[inline(always)]
    fn carried(raw: Columns) -> Self {
        let mut limbs = raw.0;
        pass::<0>(&mut limbs);
        pass::<4>(&mut limbs);
        pass::<1>(&mut limbs);
        pass::<5>(&mut limbs);
        pass::<2>(&mut limbs);
        pass::<6>(&mut limbs);
        pass::<3>(&mut limbs);
        pass::<7>(&mut limbs);
        pass::<4>(&mut limbs);
        pass::<8>(&mut limbs);
        pass::<9>(&mut limbs);
        pass::<0>(&mut limbs);
        Self(limbs)
    }

    #[inline(always)]
    fn canonical(self) -> Self {
        let mut limbs = Self::carried(Columns(self.0)).0;
        // q = ⌊(r + 19) / 2²⁵⁵⌋ is 1 exactly when r ≥ p.
        let mut q = set(19);
        for (k, limb) in limbs.iter().enumerate() {
            q = split(plus(*limb, q), k).1;
        }
        let mut over = nineteen(q);
        for (k, limb) in limbs.iter_mut().enumerate() {
            (*limb, over) = split(plus(*limb, over), k);
        }
        Self(limbs)
    }

    #[inline(always)]
    fn odd_lanes(self) -> Lanes {
        // SAFETY: as above.
        bits(unsafe { _mm256_slli_epi64::<63>(self.0[0]) })
    }

    #[inline(always)]
    fn zero_lanes(self) -> Lanes {
        let mut any = self.0[0];
        for limb in &self.0[1..] {
            // SAFETY: as above.
            any = unsafe { _mm256_or_si256(any, *limb) };
        }
        // SAFETY: as above.
        bits(unsafe { _mm256_cmpeq_epi64(any, zero()) })
    }

    #[inline(always)]
    fn select(lanes: Lanes, a: Self, b: Self) -> Self {
        let mask = mask(lanes);
        let mut out = b.0;
        for (o, a) in out.iter_mut().zip(a.0) {
            // SAFETY: as above.
            *o = unsafe { _mm256_blendv_epi8(*o, a, mask) };
        }
        Self(out)
    }

    #[inline(always)]
    fn digit(scalars: &Digits8, j: usize, part: usize) -> (__m256i, Lanes) {
        let digits = [0, 1, 2, 3].map(|lane| magnitude::<6>(scalars.window(j, 4 * part + lane)));
        let [a, b, c, d] = digits.map(|(index, _)| i64::from(index));
        let negative = digits
            .iter()
            .enumerate()
            .fold(0, |lanes, (lane, digit)| lanes | digit.1 << lane);
        // SAFETY: as above.
        (unsafe { _mm256_set_epi64x(d, c, b, a) }, negative)
    }

    #[inline(always)]
    fn lookup(table: &[[u64; 32]; 5], wanted: &__m256i) -> Self {
        let mut wide = [zero(); 5];
        // SAFETY: as above.
        unsafe {
            for entry in 0..32usize {
                let mask = _mm256_cmpeq_epi64(*wanted, set(entry as u64));
                for (limb, row) in wide.iter_mut().zip(table) {
                    *limb = _mm256_or_si256(*limb, and(mask, set(row[entry])));
                }
            }
        }
        halved(&wide)
    }
}
