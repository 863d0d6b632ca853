//! Arithmetic mod p = 2²⁵⁵ − 19 on several independent elements at once.
//!
//! An algorithm is written once, over the trait [`Field`], and compiled for every kernel path. Everything on the
//! way from a path's entry point (see `kernels`) down to an instruction is `#[inline(always)]`, because only code
//! inlined into the entry point is compiled with that path's instructions.

pub mod constants;
pub mod portable;
mod portable_buckets;
pub mod roots;

#[cfg(target_arch = "x86_64")]
pub mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx2_buckets;
#[cfg(target_arch = "x86_64")]
pub mod ifma;
#[cfg(target_arch = "x86_64")]
mod ifma_buckets;

use crate::curve::recode::Digits8;

/// Five limbs of 51 bits, least significant first.
pub type Limbs = [u64; 5];

/// 2⁵¹ − 1.
pub const LOW: u64 = (1 << 51) - 1;

/// Eight field elements, limb after limb: the storage that every path reads and writes.
///
/// Limbs stay below 2⁵¹ + 2¹⁵.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub struct Wide(pub [[u64; 8]; 5]);

impl Wide {
    pub const ZERO: Self = Self([[0; 8]; 5]);

    #[must_use]
    pub fn splat(limbs: Limbs) -> Self {
        Self(limbs.map(|limb| [limb; 8]))
    }

    #[must_use]
    pub fn lane(&self, lane: usize) -> Limbs {
        self.0.map(|limb| limb[lane])
    }

    pub fn set_lane(&mut self, lane: usize, limbs: &Limbs) {
        for (row, limb) in self.0.iter_mut().zip(limbs) {
            row[lane] = *limb;
        }
    }
}

/// A set of lanes: bit i stands for lane i.
pub type Lanes = u8;

/// `LANES` independent field elements.
///
/// A value of this type is *carried*: its limbs fit the multiplier. [`Field::Raw`] holds sums and products that are
/// not carried yet; it takes a product, or at most four of them added, and one subtraction of such a sum.
pub trait Field: Copy {
    const LANES: usize;
    type Raw: Copy;
    /// A right factor with whatever is precomputed for it.
    type Factor: Copy;
    /// An index below 16 for every lane.
    type Index: Copy;

    fn splat(limbs: Limbs) -> Self;
    /// Loads the lanes `part·LANES ..` of `from`.
    fn load(from: &Wide, part: usize) -> Self;
    fn store(self, to: &mut Wide, part: usize);

    fn factor(self) -> Self::Factor;
    fn times(self, factor: &Self::Factor) -> Self::Raw;
    fn squared(self) -> Self::Raw;
    /// A product raised by a multiple of p that is larger, limb by limb, than any product.
    #[inline(always)]
    fn times_raised(self, factor: &Self::Factor) -> Self::Raw {
        Self::raised(self.times(factor))
    }
    /// A square raised likewise.
    #[inline(always)]
    fn squared_raised(self) -> Self::Raw {
        Self::raised(self.squared())
    }
    fn raw(self) -> Self::Raw;
    fn plus(a: Self::Raw, b: Self::Raw) -> Self::Raw;
    #[inline(always)]
    fn minus(a: Self::Raw, b: Self::Raw) -> Self::Raw {
        Self::less(Self::raised(a), b)
    }
    /// The same value plus a multiple of p that is larger, limb by limb, than a sum of four products.
    fn raised(raw: Self::Raw) -> Self::Raw;
    /// a − b for a that exceeds b limb by limb, having been raised once more than b.
    fn less(a: Self::Raw, b: Self::Raw) -> Self::Raw;
    fn carried(raw: Self::Raw) -> Self;

    /// The representative in 0..p, with limbs below 2⁵¹.
    fn canonical(self) -> Self;
    /// The lanes of a canonical element that are odd ("negative" in RFC 9496).
    fn odd_lanes(self) -> Lanes;
    /// The lanes of a canonical element that are zero.
    fn zero_lanes(self) -> Lanes;
    /// `a` in the given lanes, `b` in the others.
    fn select(lanes: Lanes, a: Self, b: Self) -> Self;

    /// The element `entry(index)` in every lane; all `N` entries are read, whatever the index.
    #[inline(always)]
    fn choose<'a, const N: usize>(entry: impl Fn(usize) -> &'a Self, index: u8) -> Self
    where
        Self: 'a,
    {
        let mut chosen = *entry(0);
        for at in 1..N {
            let lanes = Lanes::from(at == usize::from(index)).wrapping_neg();
            chosen = Self::select(lanes, *entry(at), chosen);
        }
        chosen
    }

    /// The digit j of radix 64 of eight scalars, in the lanes of a part: (index of its magnitude among 1, 3, …, 63;
    /// the lanes in which it is negative). See `Digits8::window`.
    fn digit(scalars: &Digits8, j: usize, part: usize) -> (Self::Index, Lanes);
    /// The element `table[..][index[lane]]` in every lane, without a memory access that depends on the index.
    fn lookup(table: &[[u64; 32]; 5], index: &Self::Index) -> Self;
}

/// What follows from the trait's operations.
pub trait FieldExt: Field {
    #[inline(always)]
    fn zero() -> Self {
        Self::splat([0; 5])
    }

    #[inline(always)]
    fn one() -> Self {
        Self::splat([1, 0, 0, 0, 0])
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Self::carried(self.times(&other.factor()))
    }

    #[inline(always)]
    fn square(self) -> Self {
        Self::carried(self.squared())
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self::carried(Self::plus(self.raw(), other.raw()))
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self::carried(Self::minus(self.raw(), other.raw()))
    }

    #[inline(always)]
    fn neg(self) -> Self {
        Self::zero().sub(self)
    }

    /// The lanes that are negative in the sense of RFC 9496.
    #[inline(always)]
    fn negative(self) -> Lanes {
        self.canonical().odd_lanes()
    }

    #[inline(always)]
    fn is_zero(self) -> Lanes {
        self.canonical().zero_lanes()
    }

    #[inline(always)]
    fn equals(self, other: Self) -> Lanes {
        self.sub(other).is_zero()
    }

    /// Negated in the given lanes.
    #[inline(always)]
    fn neg_in(self, lanes: Lanes) -> Self {
        Self::select(lanes, self.neg(), self)
    }

    /// The non-negative one of ±self, canonical.
    #[inline(always)]
    fn abs(self) -> Self {
        self.neg_in(self.negative()).canonical()
    }
}

impl<F: Field> FieldExt for F {}
