//! Eight elements in five AVX-512 registers, multiplied with the 52-bit instructions of AVX-512 IFMA.
//!
//! The low half of a product of limbs i and j has weight 2^(51(i+j)), the high half (bits 52 and up) twice
//! 2^(51(i+j+1)). Wrapped limbs are replaced beforehand: 19·b_j is split at bit 51 into p_j, and h_j that joins the
//! next limb, so that all fifty products land in five columns and nothing is folded afterwards.

use std::arch::x86_64::{
    __m512i, _mm512_add_epi64, _mm512_and_si512, _mm512_cmpeq_epi64_mask, _mm512_load_si512,
    _mm512_loadu_si512, _mm512_madd52hi_epu64, _mm512_madd52lo_epu64, _mm512_mask_blend_epi64,
    _mm512_mask_xor_epi64, _mm512_maskz_load_epi64, _mm512_or_si512, _mm512_permutex2var_epi64,
    _mm512_rol_epi64, _mm512_set1_epi64, _mm512_setzero_si512, _mm512_sllv_epi64,
    _mm512_srli_epi64, _mm512_srlv_epi64, _mm512_store_si512, _mm512_sub_epi64,
    _mm512_ternarylogic_epi64, _mm512_test_epi64_mask, _mm512_testn_epi64_mask,
};

use super::{Field, LOW, Lanes, Limbs, Wide};
use crate::curve::recode::{Digits8, top_offset};

/// Eight elements; carried limbs stay below 2⁵¹ + 2¹⁵, and a left factor's below 2⁵².
#[derive(Clone, Copy)]
pub struct Eight(pub(crate) [__m512i; 5]);

/// Column sums: limb 0 below 2⁵⁸, the others below 2⁵⁶ for one product; below 2⁶³ after sums and a subtraction.
#[derive(Clone, Copy)]
pub struct Columns(pub(crate) [__m512i; 5]);

/// b₀…b₄, then p₁…p₄ (19·b_j mod 2⁵¹), then q₁…q₄ (p_{j+1} + h_j, with b₀ in place of p₅).
#[derive(Clone, Copy)]
pub struct Prepared {
    pub(crate) b: [__m512i; 5],
    pub(crate) p: [__m512i; 5],
    pub(crate) q: [__m512i; 5],
}

// The intrinsics below need AVX-512F, AVX-512IFMA. SAFETY of every `unsafe` block in this file, unless it says
// more: values of these types are made and used only below the entry points of `kernels`, which run after the
// processor's features were checked.

#[inline(always)]
fn set(value: u64) -> __m512i {
    // SAFETY: see above.
    unsafe { _mm512_set1_epi64(value.cast_signed()) }
}

#[inline(always)]
fn lo(sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
    // SAFETY: see above.
    unsafe { _mm512_madd52lo_epu64(sum, a, b) }
}

#[inline(always)]
fn hi(sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
    // SAFETY: see above.
    unsafe { _mm512_madd52hi_epu64(sum, a, b) }
}

#[inline(always)]
pub(crate) fn plus(a: __m512i, b: __m512i) -> __m512i {
    // SAFETY: see above.
    unsafe { _mm512_add_epi64(a, b) }
}

#[inline(always)]
fn and(a: __m512i, b: __m512i) -> __m512i {
    // SAFETY: see above.
    unsafe { _mm512_and_si512(a, b) }
}

#[inline(always)]
fn shr51(a: __m512i) -> __m512i {
    // SAFETY: see above.
    unsafe { _mm512_srli_epi64::<51>(a) }
}

#[inline(always)]
fn zero() -> __m512i {
    // SAFETY: see above.
    unsafe { _mm512_setzero_si512() }
}

/// 19·x for x below 2⁵⁹. The rotations keep the compiler from seeing a multiplication, which is slow on 64 bits.
#[inline(always)]
fn nineteen(x: __m512i) -> __m512i {
    // SAFETY: see above.
    let (x2, x16) = unsafe { (_mm512_rol_epi64::<1>(x), _mm512_rol_epi64::<4>(x)) };
    plus(x16, plus(x2, x))
}

/// 2⁹·p, limb by limb: at least 2⁶⁰ − 2¹⁴, more than a sum of four products.
pub(crate) const BIAS: Limbs = [(LOW - 18) << 9, LOW << 9, LOW << 9, LOW << 9, LOW << 9];

/// High halves that raise a product by 304·p, more than a product limb by limb.
const RAISE: Limbs = [152 * LOW, 152 * LOW, 152 * LOW, 152 * LOW, 8 * (LOW - 18)];

/// The columns of a·b.
#[inline(always)]
pub(crate) fn product(a: &[__m512i; 5], f: &Prepared) -> Columns {
    product_from([zero(); 5], a, f)
}

/// The same from given high halves on, with the rows b⁽ⁱ⁾ = 2^(51i)·b mod p.
#[inline(always)]
fn product_from(mut high: [__m512i; 5], a: &[__m512i; 5], f: &Prepared) -> Columns {
    let (b, p, q) = (&f.b, &f.p, &f.q);
    let rows = [
        [b[0], b[1], b[2], b[3], b[4]],
        [p[4], q[4], b[1], b[2], b[3]],
        [p[3], q[3], q[4], b[1], b[2]],
        [p[2], q[2], q[3], q[4], b[1]],
        [p[1], q[1], q[2], q[3], q[4]],
    ];
    for i in 0..5 {
        for k in 0..5 {
            high[k] = hi(high[k], a[i], rows[i][k]);
        }
    }
    let top = plus(high[4], high[4]);
    let mut low = [
        nineteen(top),
        plus(high[0], high[0]),
        plus(high[1], high[1]),
        plus(high[2], high[2]),
        plus(high[3], high[3]),
    ];
    for i in 0..5 {
        for k in 0..5 {
            low[k] = lo(low[k], a[i], rows[i][k]);
        }
    }
    Columns(low)
}

#[inline(always)]
pub(crate) fn prepare(b: &[__m512i; 5]) -> Prepared {
    let (n19, n38, low) = (set(19), set(38), set(LOW));
    let mut p = [zero(); 5];
    let mut q = [zero(); 5];
    for j in 1..5 {
        p[j] = and(lo(zero(), b[j], n19), low);
    }
    for j in 1..4 {
        q[j] = hi(p[j + 1], b[j], n38);
    }
    q[4] = hi(b[0], b[4], n38);
    Prepared { b: *b, p, q }
}

/// One parallel carry: limbs below 2⁵¹ + 2¹⁵ from columns below 2⁶³.
#[inline(always)]
pub(crate) fn carry(c: &[__m512i; 5]) -> [__m512i; 5] {
    let low = set(LOW);
    [
        lo(and(c[0], low), shr51(c[4]), set(19)),
        plus(and(c[1], low), shr51(c[0])),
        plus(and(c[2], low), shr51(c[1])),
        plus(and(c[3], low), shr51(c[2])),
        plus(and(c[4], low), shr51(c[3])),
    ]
}

/// The columns of a·a with 17 instead of 25 products: crosswise sums X and straight sums S, then S + 2X.
///
/// `half` are high halves to begin with, halved.
#[inline(always)]
fn square_from(half: [__m512i; 5], a: &[__m512i; 5]) -> Columns {
    let (n19, n38, low) = (set(19), set(38), set(LOW));
    let p3 = and(lo(zero(), a[3], n19), low);
    let p4 = and(lo(zero(), a[4], n19), low);
    let h3 = hi(zero(), a[3], n38);
    let h4 = hi(zero(), a[4], n38);
    let (q3, q4) = (plus(p4, h3), plus(a[0], h4));
    let cross = [
        [(a[1], p4), (a[2], p3)],
        [(a[1], q4), (a[2], q3)],
        [(a[2], q4), (a[3], p4)],
        [(a[3], q4), (a[1], a[2])],
        [(a[0], a[4]), (a[1], a[3])],
    ];
    let straight = [
        (a[0], a[0]),
        (a[3], p3),
        (a[1], a[1]),
        (a[4], p4),
        (a[2], a[2]),
    ];
    // High halves: 2X + S per column; they count double in the next column.
    let mut high = [zero(); 5];
    for k in 0..5 {
        let mut x = half[k];
        for (u, v) in cross[k] {
            x = hi(x, u, v);
        }
        high[k] = hi(plus(x, x), straight[k].0, straight[k].1);
    }
    high[2] = hi(high[2], a[3], h3);
    high[4] = hi(high[4], a[4], h4);
    let carried = [nineteen(high[4]), high[0], high[1], high[2], high[3]];
    let mut out = [zero(); 5];
    for k in 0..5 {
        let mut x = carried[k];
        for (u, v) in cross[k] {
            x = lo(x, u, v);
        }
        out[k] = lo(plus(x, x), straight[k].0, straight[k].1);
    }
    out[2] = lo(out[2], a[3], h3);
    out[4] = lo(out[4], a[4], h4);
    Columns(out)
}

impl Field for Eight {
    const LANES: usize = 8;
    type Raw = Columns;
    type Index = __m512i;
    type Factor = Prepared;

    #[inline(always)]
    fn splat(limbs: Limbs) -> Self {
        Self([
            set(limbs[0]),
            set(limbs[1]),
            set(limbs[2]),
            set(limbs[3]),
            set(limbs[4]),
        ])
    }

    #[inline(always)]
    fn load(from: &Wide, _part: usize) -> Self {
        let mut out = [zero(); 5];
        for (o, row) in out.iter_mut().zip(&from.0) {
            // SAFETY: as above; a row is 64 bytes and `Wide` is aligned to 64.
            *o = unsafe { _mm512_load_si512(row.as_ptr().cast()) };
        }
        Self(out)
    }

    #[inline(always)]
    fn store(self, to: &mut Wide, _part: usize) {
        for (row, limb) in to.0.iter_mut().zip(self.0) {
            // SAFETY: as above; a row is 64 bytes and `Wide` is aligned to 64.
            unsafe { _mm512_store_si512(row.as_mut_ptr().cast(), limb) };
        }
    }

    #[inline(always)]
    fn factor(self) -> Prepared {
        prepare(&self.0)
    }

    #[inline(always)]
    fn times(self, factor: &Prepared) -> Columns {
        product(&self.0, factor)
    }

    #[inline(always)]
    fn times_raised(self, factor: &Prepared) -> Columns {
        product_from(RAISE.map(set), &self.0, factor)
    }

    #[inline(always)]
    fn squared(self) -> Columns {
        square_from([zero(); 5], &self.0)
    }

    #[inline(always)]
    fn squared_raised(self) -> Columns {
        square_from(RAISE.map(|high| set(high / 2)), &self.0)
    }

    #[inline(always)]
    fn raw(self) -> Columns {
        Columns(self.0)
    }

    #[inline(always)]
    fn plus(a: Columns, b: Columns) -> Columns {
        let mut out = a.0;
        for k in 0..5 {
            out[k] = plus(out[k], b.0[k]);
        }
        Columns(out)
    }

    #[inline(always)]
    fn raised(raw: Columns) -> Columns {
        let mut out = raw.0;
        for k in 0..5 {
            out[k] = plus(out[k], set(BIAS[k]));
        }
        Columns(out)
    }

    #[inline(always)]
    fn less(a: Columns, b: Columns) -> Columns {
        let mut out = a.0;
        for k in 0..5 {
            // SAFETY: as above.
            out[k] = unsafe { _mm512_sub_epi64(out[k], b.0[k]) };
        }
        Columns(out)
    }

    #[inline(always)]
    fn carried(raw: Columns) -> Self {
        Self(carry(&raw.0))
    }

    #[inline(always)]
    fn canonical(self) -> Self {
        let mut r = carry(&self.0);
        let low = set(LOW);
        // q = ⌊(r + 19) / 2²⁵⁵⌋ is 1 exactly when r ≥ p.
        let mut q = shr51(plus(r[0], set(19)));
        for limb in &r[1..] {
            q = shr51(plus(*limb, q));
        }
        let mut over = nineteen(q);
        for limb in &mut r {
            let sum = plus(*limb, over);
            *limb = and(sum, low);
            over = shr51(sum);
        }
        Self(r)
    }

    #[inline(always)]
    fn odd_lanes(self) -> Lanes {
        // SAFETY: as above.
        unsafe { _mm512_test_epi64_mask(self.0[0], set(1)) }
    }

    #[inline(always)]
    fn zero_lanes(self) -> Lanes {
        // SAFETY: as above.
        unsafe {
            let mut bits = self.0[0];
            for limb in &self.0[1..] {
                bits = _mm512_or_si512(bits, *limb);
            }
            _mm512_cmpeq_epi64_mask(bits, zero())
        }
    }

    #[inline(always)]
    fn select(lanes: Lanes, a: Self, b: Self) -> Self {
        let mut out = b.0;
        for (o, a) in out.iter_mut().zip(a.0) {
            // SAFETY: as above.
            *o = unsafe { _mm512_mask_blend_epi64(lanes, *o, a) };
        }
        Self(out)
    }

    /// Loads that are masked to zero take no turn on the ports of the arithmetic, unlike blends.
    #[inline(always)]
    fn choose<'a, const N: usize>(entry: impl Fn(usize) -> &'a Self, index: u8) -> Self {
        let mut out = [zero(); 5];
        for first in (0..N).step_by(2) {
            for k in 0..5 {
                let masked = |at: usize| {
                    let lanes = Lanes::from(at == usize::from(index)).wrapping_neg();
                    let limb: *const __m512i = &raw const entry(at).0[k];
                    // SAFETY: as above; a limb is a register, aligned to its size.
                    unsafe { _mm512_maskz_load_epi64(lanes, limb.cast()) }
                };
                let second = if first + 1 < N {
                    masked(first + 1)
                } else {
                    zero()
                };
                // SAFETY: as above.
                out[k] =
                    unsafe { _mm512_ternarylogic_epi64::<0xFE>(out[k], masked(first), second) };
            }
        }
        Self(out)
    }

    #[inline(always)]
    fn digit(scalars: &Digits8, j: usize, _part: usize) -> (__m512i, Lanes) {
        let (word, shift) = (6 * j / 64, 6 * j % 64);
        // SAFETY: as above; a row of words is 64 bytes.
        unsafe {
            let words = |at: usize| _mm512_loadu_si512(scalars.words[at].as_ptr().cast());
            let mut c = _mm512_srlv_epi64(words(word), set(shift as u64));
            if shift > 58 && word < 3 {
                let high = _mm512_sllv_epi64(words(word + 1), set(64 - shift as u64));
                c = _mm512_or_si512(c, high);
            }
            c = _mm512_add_epi64(c, set(top_offset(j)));
            // Of the index only the lowest five bits are looked at.
            let negative = _mm512_testn_epi64_mask(c, set(32));
            (_mm512_mask_xor_epi64(c, negative, c, set(31)), negative)
        }
    }

    #[inline(always)]
    fn lookup(table: &[[u64; 32]; 5], index: &__m512i) -> Self {
        let mut out = [zero(); 5];
        // SAFETY: as above; every row of the table has four times 64 bytes.
        unsafe {
            let upper = _mm512_test_epi64_mask(*index, set(16));
            for (o, row) in out.iter_mut().zip(table) {
                let at = |entry: usize| _mm512_loadu_si512(row.as_ptr().add(entry).cast());
                let low = _mm512_permutex2var_epi64(at(0), *index, at(8));
                let high = _mm512_permutex2var_epi64(at(16), *index, at(24));
                *o = _mm512_mask_blend_epi64(upper, low, high);
            }
        }
        Self(out)
    }
}
