//! Points in extended coordinates (X : Y : Z : T), T = XY/Z, and their addition laws for a = −1.
//!
//! The laws are complete on this curve: identity, doubles and inverses need no special case.

use crate::field::constants::{BASE_X, BASE_Y, D2};
use crate::field::{Field, FieldExt, Lanes, Wide};

/// Eight points in the storage every path reads and writes.
#[derive(Clone, Copy)]
pub struct Point8 {
    pub x: Wide,
    pub y: Wide,
    pub z: Wide,
    pub t: Wide,
}

impl Point8 {
    /// Eight times the identity.
    #[must_use]
    pub fn identity() -> Self {
        let one = Wide::splat([1, 0, 0, 0, 0]);
        Self {
            x: Wide::ZERO,
            y: one,
            z: one,
            t: Wide::ZERO,
        }
    }

    /// Copies one lane.
    pub fn set_lane(&mut self, lane: usize, from: &Self, from_lane: usize) {
        self.x.set_lane(lane, &from.x.lane(from_lane));
        self.y.set_lane(lane, &from.y.lane(from_lane));
        self.z.set_lane(lane, &from.z.lane(from_lane));
        self.t.set_lane(lane, &from.t.lane(from_lane));
    }
}

/// (X : Y : Z : T).
#[derive(Clone, Copy)]
pub struct Extended<F> {
    pub x: F,
    pub y: F,
    pub z: F,
    pub t: F,
}

/// (Y + X, Y − X, 2Z, 2dT): what an addition needs of its second operand.
#[derive(Clone, Copy)]
pub struct Cached<F> {
    pub plus: F,
    pub minus: F,
    pub z2: F,
    pub t2d: F,
}

/// (y + x, y − x, 2dxy) of a point with Z = 1.
#[derive(Clone, Copy)]
pub struct Niels<F> {
    pub plus: F,
    pub minus: F,
    pub xy2d: F,
}

impl<F: Field> Cached<F> {
    /// Negated in the given lanes.
    #[inline(always)]
    pub fn neg_in(self, lanes: Lanes) -> Self {
        Self {
            plus: F::select(lanes, self.minus, self.plus),
            minus: F::select(lanes, self.plus, self.minus),
            z2: self.z2,
            t2d: self.t2d.neg_in(lanes),
        }
    }

    /// The entry at `index` in every lane, without a memory access that depends on the index.
    #[inline(always)]
    pub fn choose<const N: usize>(table: &[Self; N], index: u8) -> Self {
        Self {
            plus: F::choose::<N>(|at| &table[at].plus, index),
            minus: F::choose::<N>(|at| &table[at].minus, index),
            z2: F::choose::<N>(|at| &table[at].z2, index),
            t2d: F::choose::<N>(|at| &table[at].t2d, index),
        }
    }

    #[inline(always)]
    pub fn select(lanes: Lanes, a: &Self, b: &Self) -> Self {
        Self {
            plus: F::select(lanes, a.plus, b.plus),
            minus: F::select(lanes, a.minus, b.minus),
            z2: F::select(lanes, a.z2, b.z2),
            t2d: F::select(lanes, a.t2d, b.t2d),
        }
    }
}

impl<F: Field> Extended<F> {
    #[inline(always)]
    pub fn identity() -> Self {
        Self {
            x: F::zero(),
            y: F::one(),
            z: F::one(),
            t: F::zero(),
        }
    }

    /// The generator of RFC 9496.
    #[inline(always)]
    pub fn base() -> Self {
        let (x, y) = (F::splat(BASE_X), F::splat(BASE_Y));
        Self {
            x,
            y,
            z: F::one(),
            t: x.mul(y),
        }
    }

    #[inline(always)]
    pub fn load(from: &Point8, part: usize) -> Self {
        Self {
            x: F::load(&from.x, part),
            y: F::load(&from.y, part),
            z: F::load(&from.z, part),
            t: F::load(&from.t, part),
        }
    }

    #[inline(always)]
    pub fn store(self, to: &mut Point8, part: usize) {
        self.x.store(&mut to.x, part);
        self.y.store(&mut to.y, part);
        self.z.store(&mut to.z, part);
        self.t.store(&mut to.t, part);
    }

    #[inline(always)]
    pub fn cached(&self) -> Cached<F> {
        Cached {
            plus: self.y.add(self.x),
            minus: self.y.sub(self.x),
            z2: self.z.add(self.z),
            t2d: self.t.mul(F::splat(D2)),
        }
    }

    /// "add-2008-hwcd-3" with k = 2d, operand cached.
    #[inline(always)]
    pub fn add(&self, other: &Cached<F>) -> Self {
        let d = self.z.times_raised(&other.z2.factor());
        let c = other.t2d.times(&self.t.factor());
        self.finish(other.plus, other.minus, c, d)
    }

    /// (E, F, G, H) of the sum, in the given lanes of the difference.
    #[inline(always)]
    fn adding_or_subtracting(&self, other: &Cached<F>, negative: Lanes) -> (F, F, F, F) {
        let d = self.z.times_raised(&other.z2.factor());
        let c = self.t.times(&other.t2d.factor());
        let plus = F::select(negative, other.minus, other.plus);
        let minus = F::select(negative, other.plus, other.minus);
        let a = minus.times(&self.y.sub(self.x).factor());
        let b = plus.times_raised(&self.y.add(self.x).factor());
        let e = F::carried(F::less(b, a));
        let h = F::carried(F::plus(b, a));
        let less = F::carried(F::less(d, c));
        let more = F::carried(F::plus(d, c));
        let f = F::select(negative, more, less);
        (e, f, F::select(negative, less, more), h)
    }

    /// The sum; in the given lanes the operand is subtracted.
    #[inline(always)]
    pub fn add_or_subtract(&self, other: &Cached<F>, negative: Lanes) -> Self {
        let (e, f, g, h) = self.adding_or_subtracting(other, negative);
        let (f, h) = (f.factor(), h.factor());
        Self {
            x: F::carried(e.times(&f)),
            y: F::carried(g.times(&h)),
            z: F::carried(g.times(&f)),
            t: F::carried(e.times(&h)),
        }
    }

    /// The same with T left as it is: a doubling comes next.
    #[inline(always)]
    pub fn add_or_subtract_without_t(&self, other: &Cached<F>, negative: Lanes) -> Self {
        let (e, f, g, h) = self.adding_or_subtracting(other, negative);
        let f = f.factor();
        Self {
            x: F::carried(e.times(&f)),
            y: F::carried(g.times(&h.factor())),
            z: F::carried(g.times(&f)),
            t: self.t,
        }
    }

    /// "madd-2008-hwcd-3": the operand has Z = 1; in the given lanes it is subtracted.
    #[inline(always)]
    pub fn add_or_subtract_niels(&self, other: &Niels<F>, negative: Lanes) -> Self {
        let d = F::plus(self.z.raw(), self.z.raw());
        let c = other.xy2d.times(&self.t.factor());
        let plus = F::select(negative, other.minus, other.plus);
        let minus = F::select(negative, other.plus, other.minus);
        let a = minus.times(&self.y.sub(self.x).factor());
        let b = plus.times(&self.y.add(self.x).factor());
        let e = F::carried(F::minus(b, a));
        let h = F::carried(F::plus(b, a)).factor();
        let less = F::carried(F::minus(d, c));
        let more = F::carried(F::plus(d, c));
        let f = F::select(negative, more, less).factor();
        let g = F::select(negative, less, more);
        Self {
            x: F::carried(e.times(&f)),
            y: F::carried(g.times(&h)),
            z: F::carried(g.times(&f)),
            t: F::carried(e.times(&h)),
        }
    }

    #[inline(always)]
    fn finish(&self, plus: F, minus: F, c: F::Raw, d: F::Raw) -> Self {
        let a = minus.times(&self.y.sub(self.x).factor());
        let b = plus.times(&self.y.add(self.x).factor());
        let e = F::carried(F::minus(b, a));
        let f = F::carried(F::minus(d, c)).factor();
        let g = F::carried(F::plus(d, c));
        let h = F::carried(F::plus(b, a)).factor();
        Self {
            x: F::carried(e.times(&f)),
            y: F::carried(g.times(&h)),
            z: F::carried(g.times(&f)),
            t: F::carried(e.times(&h)),
        }
    }

    /// "dbl-2008-hwcd" with all four coordinates negated, which is the same point.
    #[inline(always)]
    pub fn double(&self) -> Self {
        let (e, f, g, h) = self.doubling();
        let (f, h) = (f.factor(), h.factor());
        Self {
            x: F::carried(e.times(&f)),
            y: F::carried(g.times(&h)),
            z: F::carried(g.times(&f)),
            t: F::carried(e.times(&h)),
        }
    }

    /// A double whose T is left as it is: for doublings in a row, which do not read it.
    #[inline(always)]
    pub fn double_without_t(&self) -> Self {
        let (e, f, g, h) = self.doubling();
        let f = f.factor();
        Self {
            x: F::carried(e.times(&f)),
            y: F::carried(g.times(&h.factor())),
            z: F::carried(g.times(&f)),
            t: self.t,
        }
    }

    /// (E, −F, G, −H) with E = 2XY, G = Y² − X², F = G − 2Z², H = −X² − Y².
    #[inline(always)]
    fn doubling(&self) -> (F, F, F, F) {
        let xx = self.x.squared();
        let yy = self.y.squared_raised();
        let zz = self.z.squared_raised();
        let xy = self.x.times(&self.y.factor());
        let e = F::carried(F::plus(xy, xy));
        let g = F::less(yy, xx);
        let f = F::carried(F::less(F::plus(zz, zz), g));
        (e, f, F::carried(g), F::carried(F::plus(xx, yy)))
    }
}

/// The lanes in which two points are the same ristretto255 element (RFC 9496, section 4.3.3).
#[inline(always)]
pub fn same_element<F: Field>(a: &Extended<F>, b: &Extended<F>) -> Lanes {
    let crosswise = a.x.mul(b.y).equals(a.y.mul(b.x));
    let straight = a.y.mul(b.y).equals(a.x.mul(b.x));
    crosswise | straight
}
