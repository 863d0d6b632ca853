//! One element in five 51-bit limbs, with 128-bit products: for every processor.

use super::{Field, LOW, Lanes, Limbs, Wide};
use crate::curve::recode::{Digits8, magnitude};

/// One element. Carried limbs stay below 2⁵² and raw ones below 2⁵⁷, so that no product sum overflows 128 bits.
#[derive(Clone, Copy)]
pub struct One(Limbs);

/// 16·p, limb by limb: more than any sum of four carried elements.
const SIXTEEN_P: Limbs = [16 * (LOW - 18), 16 * LOW, 16 * LOW, 16 * LOW, 16 * LOW];

#[inline(always)]
fn wide(a: u64, b: u64) -> u128 {
    u128::from(a) * u128::from(b)
}

/// 4·p, limb by limb: more than one product or the double of a carried element.
const FOUR_P: Limbs = [4 * (LOW - 18), 4 * LOW, 4 * LOW, 4 * LOW, 4 * LOW];

impl One {
    /// a − b for b below 2⁵³ limb by limb, not carried.
    ///
    /// A product takes two factors with limbs below 2^53.4: its columns stay below 2¹¹⁴, their carries below 2⁶³.
    #[inline(always)]
    pub(crate) fn minus_loose(self, b: Self) -> Self {
        let mut out = self.0;
        for i in 0..5 {
            out[i] += FOUR_P[i] - b.0[i];
        }
        Self(out)
    }
}

/// Carries five 128-bit columns into limbs below 2⁵¹ + 2¹³.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "limbs are masked or proven small"
)]
fn fold(mut c: [u128; 5]) -> One {
    let mut out = [0u64; 5];
    for i in 0..4 {
        // The carry fits 64 bits, which spares an addition with carry.
        c[i + 1] += u128::from((c[i] >> 51) as u64);
        out[i] = (c[i] as u64) & LOW;
    }
    let top = (c[4] >> 51) as u64;
    out[4] = (c[4] as u64) & LOW;
    let low = u128::from(out[0]) + u128::from(top) * 19;
    out[0] = (low as u64) & LOW;
    out[1] += (low >> 51) as u64;
    One(out)
}

impl Field for One {
    const LANES: usize = 1;
    type Raw = Self;
    type Index = u64;
    type Factor = Self;

    #[inline(always)]
    fn splat(limbs: Limbs) -> Self {
        Self(limbs)
    }

    #[inline(always)]
    fn load(from: &Wide, part: usize) -> Self {
        Self(from.lane(part))
    }

    #[inline(always)]
    fn store(self, to: &mut Wide, part: usize) {
        to.set_lane(part, &self.0);
    }

    #[inline(always)]
    fn factor(self) -> Self {
        self
    }

    #[inline(always)]
    fn times(self, factor: &Self) -> Self {
        let (a, b) = (self.0, factor.0);
        let (b1, b2, b3, b4) = (19 * b[1], 19 * b[2], 19 * b[3], 19 * b[4]);
        fold([
            wide(a[0], b[0]) + wide(a[1], b4) + wide(a[2], b3) + wide(a[3], b2) + wide(a[4], b1),
            wide(a[0], b[1]) + wide(a[1], b[0]) + wide(a[2], b4) + wide(a[3], b3) + wide(a[4], b2),
            wide(a[0], b[2])
                + wide(a[1], b[1])
                + wide(a[2], b[0])
                + wide(a[3], b4)
                + wide(a[4], b3),
            wide(a[0], b[3])
                + wide(a[1], b[2])
                + wide(a[2], b[1])
                + wide(a[3], b[0])
                + wide(a[4], b4),
            wide(a[0], b[4])
                + wide(a[1], b[3])
                + wide(a[2], b[2])
                + wide(a[3], b[1])
                + wide(a[4], b[0]),
        ])
    }

    #[inline(always)]
    fn squared(self) -> Self {
        let a = self.0;
        let (d0, d1, d2, d3) = (2 * a[0], 2 * a[1], 2 * a[2], 2 * a[3]);
        let (a3, a4) = (19 * a[3], 19 * a[4]);
        fold([
            wide(a[0], a[0]) + wide(d1, a4) + wide(d2, a3),
            wide(d0, a[1]) + wide(d2, a4) + wide(a[3], a3),
            wide(d0, a[2]) + wide(a[1], a[1]) + wide(d3, a4),
            wide(d0, a[3]) + wide(d1, a[2]) + wide(a[4], a4),
            wide(d0, a[4]) + wide(d1, a[3]) + wide(a[2], a[2]),
        ])
    }

    #[inline(always)]
    fn raw(self) -> Self {
        self
    }

    #[inline(always)]
    fn plus(a: Self, b: Self) -> Self {
        let mut sum = a.0;
        for (s, b) in sum.iter_mut().zip(b.0) {
            *s += b;
        }
        Self(sum)
    }

    #[inline(always)]
    fn raised(raw: Self) -> Self {
        Self::plus(raw, Self(SIXTEEN_P))
    }

    #[inline(always)]
    fn less(a: Self, b: Self) -> Self {
        let mut difference = a.0;
        for (d, b) in difference.iter_mut().zip(b.0) {
            *d -= b;
        }
        Self(difference)
    }

    #[inline(always)]
    fn carried(raw: Self) -> Self {
        let r = raw.0;
        Self([
            (r[0] & LOW) + 19 * (r[4] >> 51),
            (r[1] & LOW) + (r[0] >> 51),
            (r[2] & LOW) + (r[1] >> 51),
            (r[3] & LOW) + (r[2] >> 51),
            (r[4] & LOW) + (r[3] >> 51),
        ])
    }

    #[inline(always)]
    fn canonical(self) -> Self {
        let mut r = Self::carried(self).0;
        // q = ⌊(r + 19) / 2²⁵⁵⌋ is 1 exactly when r ≥ p.
        let mut q = (r[0] + 19) >> 51;
        for limb in &r[1..] {
            q = (limb + q) >> 51;
        }
        let mut carry = 19 * q;
        for limb in &mut r {
            let sum = *limb + carry;
            *limb = sum & LOW;
            carry = sum >> 51;
        }
        Self(r)
    }

    #[inline(always)]
    fn odd_lanes(self) -> Lanes {
        Lanes::from(self.0[0] & 1 == 1)
    }

    #[inline(always)]
    fn zero_lanes(self) -> Lanes {
        Lanes::from(self.0.iter().fold(0, |bits, limb| bits | limb) == 0)
    }

    #[inline(always)]
    fn select(lanes: Lanes, a: Self, b: Self) -> Self {
        let mask = u64::from(lanes & 1).wrapping_neg();
        let mut out = b.0;
        for (o, a) in out.iter_mut().zip(a.0) {
            *o ^= mask & (*o ^ a);
        }
        Self(out)
    }

    #[inline(always)]
    fn digit(scalars: &Digits8, j: usize, part: usize) -> (u64, Lanes) {
        let (index, negative) = magnitude::<6>(scalars.window(j, part));
        (u64::from(index), negative)
    }

    #[inline(always)]
    fn lookup(table: &[[u64; 32]; 5], wanted: &u64) -> Self {
        let mut out = [0; 5];
        for entry in 0..32usize {
            let mask = u64::from(entry as u64 == *wanted).wrapping_neg();
            for (o, row) in out.iter_mut().zip(table) {
                *o |= mask & row[entry];
            }
        }
        Self(out)
    }
}
