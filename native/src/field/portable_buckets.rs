//! Bucket additions in portable arithmetic: one point after the other.

use super::portable::One;
use super::{Field, FieldExt, Wide};
use crate::curve::buckets::{Buckets, Half, OPERAND_FACTORS};

/// For a row D = 2Z takes no product.
impl Buckets for One {
    type Operand = [[One; 3]; 2];

    #[inline(always)]
    fn operand(row: &Wide) -> Self::Operand {
        let one = |at: usize| One::load(row, at);
        [[one(0), one(1), one(2)], [one(4), one(5), one(6)]]
    }

    #[inline(always)]
    fn operand_twice(row: &Half) -> Self::Operand {
        let one = [0, 1, 2].map(|c| One::splat(row.coordinate(c)));
        [one, one]
    }

    #[inline(always)]
    fn add(bucket: &mut Wide, operand: &Self::Operand) {
        for (p, point) in operand.iter().enumerate() {
            let old = [0, 1, 2, 3].map(|c| One::load(bucket, 4 * p + c));
            let twice_z = One::plus(old[3], old[3]);
            for (c, coordinate) in sum(old, point, twice_z).into_iter().enumerate() {
                coordinate.store(bucket, 4 * p + c);
            }
        }
    }

    #[inline(always)]
    fn add_apart(a: &mut Half, b: &mut Half, operand: &Self::Operand) {
        for (bucket, point) in [a, b].into_iter().zip(operand) {
            let old = coordinates(bucket);
            set_coordinates(bucket, sum(old, point, One::plus(old[3], old[3])));
        }
    }

    type Addend = [[One; 4]; 2];

    #[inline(always)]
    fn addend(bucket: &Wide) -> Self::Addend {
        let one = |at: usize| One::load(bucket, at).mul(One::load(&OPERAND_FACTORS, at));
        [[0, 1, 2, 3].map(one), [4, 5, 6, 7].map(one)]
    }

    #[inline(always)]
    fn addend_twice(bucket: &Half) -> Self::Addend {
        let mut scaled = coordinates(bucket);
        for (c, coordinate) in scaled.iter_mut().enumerate() {
            *coordinate = coordinate.mul(One::load(&OPERAND_FACTORS, c));
        }
        [scaled; 2]
    }

    #[inline(always)]
    fn fold(a: &mut Wide, b: &mut Wide, addend: &Self::Addend) {
        for bucket in [a, b] {
            for (p, [minus, plus, t, z]) in addend.iter().enumerate() {
                let old = [0, 1, 2, 3].map(|c| One::load(bucket, 4 * p + c));
                let new = sum(old, &[*minus, *plus, *t], old[3].mul(*z));
                for (c, coordinate) in new.into_iter().enumerate() {
                    coordinate.store(bucket, 4 * p + c);
                }
            }
        }
    }

    #[inline(always)]
    fn fold_apart(a: &mut Half, b: &mut Half, addend: &Self::Addend) {
        for (bucket, [minus, plus, t, z]) in [a, b].into_iter().zip(addend) {
            let old = coordinates(bucket);
            set_coordinates(bucket, sum(old, &[*minus, *plus, *t], old[3].mul(*z)));
        }
    }
}

#[inline(always)]
fn coordinates(bucket: &Half) -> [One; 4] {
    [0, 1, 2, 3].map(|c| One::splat(bucket.coordinate(c)))
}

#[inline(always)]
fn set_coordinates(bucket: &mut Half, coordinates: [One; 4]) {
    for (c, coordinate) in coordinates.into_iter().enumerate() {
        let mut wide = Wide::ZERO;
        coordinate.store(&mut wide, 0);
        bucket.set_coordinate(c, &wide.lane(0));
    }
}

/// Adds a point given as (Y − X, Y + X, 2dT) and by D, the product of the bucket's Z and its own 2Z.
///
/// Sums and differences of two are not carried: the portable product has room for them (see [`One::minus_loose`]).
#[inline(always)]
fn sum(bucket: [One; 4], point: &[One; 3], d: One) -> [One; 4] {
    let a = bucket[0].times(&point[0]);
    let b = bucket[1].times(&point[1]);
    let c = bucket[2].times(&point[2]);
    let (e, h) = (b.minus_loose(a), One::plus(b, a));
    let (f, g) = (d.minus_loose(c), One::plus(d, c));
    let (x, y) = (e.times(&f), g.times(&h));
    [y.minus_loose(x), One::plus(y, x), e.times(&h), f.times(&g)]
}
