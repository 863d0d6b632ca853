//! Bucket sums for histograms: points with Z = 1 added into accumulators that stay contiguous in memory.
//!
//! A bucket holds (Y − X, Y + X, T, Z) of one or two points, limb after limb; a row's operand holds
//! (y − x, y + x, 2dxy, 2). One addition is "madd-2008-hwcd-3": a lane-wise product gives (A, B, C, D), sums of neighbours
//! (E, H, F, G), a second product (EF, GH, EH, FG) = (X, Y, T, Z).
//!
//! The time of these functions depends on which buckets are hit: on the caller's own bins, never on a plaintext.

use super::point::Point8;
use crate::field::constants::D2;
use crate::field::{Field, FieldExt, Limbs, Wide};

/// One point's four coordinates, limb after limb.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub struct Half(pub [[u64; 4]; 5]);

/// The identity as a bucket: (1, 1, 0, 1).
const EMPTY: [u64; 4] = [1, 1, 0, 1];

impl Half {
    pub const ZERO: Self = Self([[0; 4]; 5]);

    pub const IDENTITY: Self = Self([EMPTY, [0; 4], [0; 4], [0; 4], [0; 4]]);

    #[inline(always)]
    pub fn coordinate(&self, at: usize) -> Limbs {
        self.0.map(|limb| limb[at])
    }

    #[inline(always)]
    pub fn set_coordinate(&mut self, at: usize, limbs: &Limbs) {
        for (row, limb) in self.0.iter_mut().zip(limbs) {
            row[at] = *limb;
        }
    }
}

/// Two identities side by side.
pub const EMPTY_PAIR: Wide = Wide([[1, 1, 0, 1, 1, 1, 0, 1], [0; 8], [0; 8], [0; 8], [0; 8]]);

/// The four rows a bucket addition works on.
pub trait Buckets {
    /// A row's two points, prepared for many additions.
    type Operand: Copy;

    fn operand(row: &Wide) -> Self::Operand;
    /// The same point twice.
    fn operand_twice(row: &Half) -> Self::Operand;
    fn add(bucket: &mut Wide, operand: &Self::Operand);

    /// Adds the operand to two buckets.
    #[inline(always)]
    fn add_both(a: &mut Wide, b: &mut Wide, operand: &Self::Operand) {
        Self::add(a, operand);
        Self::add(b, operand);
    }

    /// Asks for a bucket that is needed soon.
    #[inline(always)]
    fn prefetch<T>(_bucket: &T) {}

    /// Adds the first point to `a` and the second to `b`.
    fn add_apart(a: &mut Half, b: &mut Half, operand: &Self::Operand);

    /// A bucket that is added to others: like an operand, but its Z is not 1.
    type Addend: Copy;

    fn addend(bucket: &Wide) -> Self::Addend;
    /// The same point twice.
    fn addend_twice(bucket: &Half) -> Self::Addend;
    /// Adds both points to `a` and to `b`.
    fn fold(a: &mut Wide, b: &mut Wide, addend: &Self::Addend);
    /// Adds the first point to `a` and the second to `b`.
    fn fold_apart(a: &mut Half, b: &mut Half, addend: &Self::Addend);
}

/// What turns the coordinates of a bucket, factor by factor, into those of an operand: (1, 1, 2d, 2), for two points.
pub const OPERAND_FACTORS: Wide = {
    let mut rows = [[0; 8]; 5];
    let mut limb = 0;
    while limb < 5 {
        rows[limb][2] = D2[limb];
        rows[limb][6] = D2[limb];
        limb += 1;
    }
    rows[0] = [1, 1, D2[0], 2, 1, 1, D2[0], 2];
    Wide(rows)
};

/// Points of rows with Z = 1, in the layout of operands: pairs of points, then the point left over if k + 1 is odd.
pub struct RowPoints {
    pub pairs_per_row: usize,
    pub pairs: Vec<Wide>,
    pub halves: Vec<Half>,
}

/// Accumulators in the same layout.
pub struct BucketSums {
    pub pairs_per_bucket: usize,
    pub pairs: Vec<Wide>,
    pub halves: Vec<Half>,
}

/// Where a row goes: bucket `base + first[row] + stride·second[row]`.
pub struct Slot<'a> {
    pub base: usize,
    pub first: &'a [u8],
    pub second: Option<(&'a [u8], usize)>,
}

impl Slot<'_> {
    #[inline(always)]
    fn bucket(&self, row: usize) -> usize {
        let first = self.base + usize::from(self.first[row]);
        match self.second {
            Some((codes, stride)) => first + stride * usize::from(codes[row]),
            None => first,
        }
    }
}

impl BucketSums {
    /// `count` empty buckets for points laid out as in `rows`.
    #[must_use]
    pub fn empty(count: usize, rows: &RowPoints) -> Self {
        let halves = if rows.halves.is_empty() { 0 } else { count };
        Self {
            pairs_per_bucket: rows.pairs_per_row,
            pairs: vec![EMPTY_PAIR; count * rows.pairs_per_row],
            halves: vec![Half::IDENTITY; halves],
        }
    }

    /// Point `j` of a bucket, as a half.
    #[must_use]
    pub fn point(&self, bucket: usize, j: usize) -> Half {
        point_of(&self.pairs, &self.halves, self.pairs_per_bucket, bucket, j)
    }
}

impl RowPoints {
    #[must_use]
    pub fn new(points_per_row: usize) -> Self {
        Self {
            pairs_per_row: points_per_row / 2,
            pairs: Vec::new(),
            halves: Vec::new(),
        }
    }
}

fn point_of(pairs: &[Wide], halves: &[Half], per: usize, index: usize, j: usize) -> Half {
    if j / 2 == per {
        return halves[index];
    }
    let mut half = Half::ZERO;
    for (to, from) in half.0.iter_mut().zip(&pairs[index * per + j / 2].0) {
        to.copy_from_slice(&from[4 * (j % 2)..][..4]);
    }
    half
}

/// How many rows ahead of its turn a row is asked for: rows of a subset lie scattered in far memory.
const AHEAD: usize = 4;

/// Adds every row of `subset` to its bucket of every slot. Slots own disjoint ranges of buckets.
#[inline(always)]
pub fn accumulate<B: Buckets>(
    rows: &RowPoints,
    subset: &[u32],
    slots: &[Slot<'_>],
    sums: &mut BucketSums,
) {
    let per = rows.pairs_per_row;
    let mut targets = vec![0usize; slots.len()];
    let mut next = vec![0usize; slots.len()];
    let mut spare = Half::IDENTITY;
    aim(subset.first(), slots, &mut next);
    for (i, &row) in subset.iter().enumerate() {
        let row = row as usize;
        std::mem::swap(&mut targets, &mut next);
        aim(subset.get(i + 1), slots, &mut next);
        if let Some(&later) = subset.get(i + AHEAD) {
            ask::<B>(rows, slots, later as usize);
        }
        for p in 0..per {
            let operand = B::operand(&rows.pairs[row * per + p]);
            let (couples, rest) = targets.as_chunks::<2>();
            for (couple, soon) in couples.iter().zip(next.as_chunks::<2>().0) {
                for &bucket in soon {
                    B::prefetch(&sums.pairs[bucket * per + p]);
                }
                if let Ok([a, b]) = sums.pairs.get_disjoint_mut(couple.map(|t| t * per + p)) {
                    B::add_both(a, b, &operand);
                }
            }
            if let [last] = rest {
                B::add(&mut sums.pairs[last * per + p], &operand);
            }
        }
        if let Some(half) = rows.halves.get(row) {
            let operand = B::operand_twice(half);
            let (couples, rest) = targets.as_chunks::<2>();
            for (couple, soon) in couples.iter().zip(next.as_chunks::<2>().0) {
                for &bucket in soon {
                    B::prefetch(&sums.halves[bucket]);
                }
                if let Ok([a, b]) = sums.halves.get_disjoint_mut(*couple) {
                    B::add_apart(a, b, &operand);
                }
            }
            if let [last] = rest {
                B::add_apart(&mut sums.halves[*last], &mut spare, &operand);
            }
        }
    }
}

/// Adds every bucket (i, j) of a slot for two columns, of `first` and `second` bins, to bucket i and to bucket
/// `first + j` of `sums`.
#[inline(always)]
pub fn marginals<B: Buckets>(
    joint: &BucketSums,
    base: usize,
    (first, second): (usize, usize),
    sums: &mut BucketSums,
) {
    let per = joint.pairs_per_bucket;
    for j in 0..second {
        for i in 0..first {
            let bucket = base + i + first * j;
            for p in 0..per {
                let addend = B::addend(&joint.pairs[bucket * per + p]);
                let targets = [i, first + j].map(|t| t * per + p);
                if let Ok([a, b]) = sums.pairs.get_disjoint_mut(targets) {
                    B::fold(a, b, &addend);
                }
            }
            if let Some(half) = joint.halves.get(bucket) {
                let addend = B::addend_twice(half);
                if let Ok([a, b]) = sums.halves.get_disjoint_mut([i, first + j]) {
                    B::fold_apart(a, b, &addend);
                }
            }
        }
    }
}

/// Asks for a row's points and codes.
#[inline(always)]
fn ask<B: Buckets>(rows: &RowPoints, slots: &[Slot<'_>], row: usize) {
    let per = rows.pairs_per_row;
    for pair in &rows.pairs[row * per..(row + 1) * per] {
        B::prefetch(pair);
    }
    if let Some(half) = rows.halves.get(row) {
        B::prefetch(half);
    }
    for slot in slots {
        B::prefetch(&slot.first[row]);
        if let Some((codes, _)) = slot.second {
            B::prefetch(&codes[row]);
        }
    }
}

/// Finds the row's bucket in every slot.
#[inline(always)]
fn aim(row: Option<&u32>, slots: &[Slot<'_>], targets: &mut [usize]) {
    if let Some(&row) = row {
        for (target, slot) in targets.iter_mut().zip(slots) {
            *target = slot.bucket(row as usize);
        }
    }
}

/// Turns bucket coordinates into extended ones, scaled by two: (2X : 2Y : 2Z : 2T).
#[inline(always)]
pub fn extended<F: Field>(halves: &[Half; 8], out: &mut Point8) {
    let mut wide = [Wide::ZERO; 4];
    for (lane, half) in halves.iter().enumerate() {
        for (c, to) in wide.iter_mut().enumerate() {
            to.set_lane(lane, &half.coordinate(c));
        }
    }
    for part in 0..8 / F::LANES {
        let [minus, plus, t, z] = [
            F::load(&wide[0], part),
            F::load(&wide[1], part),
            F::load(&wide[2], part),
            F::load(&wide[3], part),
        ];
        plus.sub(minus).store(&mut out.x, part);
        plus.add(minus).store(&mut out.y, part);
        z.add(z).store(&mut out.z, part);
        t.add(t).store(&mut out.t, part);
    }
}

/// Turns points with Z = 1 into operands, canonical so that every path stores the same.
#[inline(always)]
pub fn operands<F: Field>(points: &Point8, out: &mut [Half; 8]) {
    let d2 = F::splat(D2);
    let mut wide = [Wide::ZERO; 3];
    for part in 0..8 / F::LANES {
        let (x, y) = (F::load(&points.x, part), F::load(&points.y, part));
        y.sub(x).store(&mut wide[0], part);
        y.add(x).store(&mut wide[1], part);
        F::load(&points.t, part).mul(d2).store(&mut wide[2], part);
    }
    for (lane, half) in out.iter_mut().enumerate() {
        *half = Half::ZERO;
        for (c, from) in wide.iter().enumerate() {
            half.set_coordinate(c, &from.lane(lane));
        }
        half.0[0][3] = 2;
    }
}
