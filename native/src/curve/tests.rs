//! Every path against curve25519-dalek.

use curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT as G;
use curve25519_dalek::ristretto::CompressedRistretto;
use curve25519_dalek::traits::Identity;
use curve25519_dalek::{RistrettoPoint, Scalar};

use super::point::Point8;
use super::recode::SignedBits;
use crate::field::constants::{BASE_X, BASE_Y};
use crate::field::{FieldExt, Wide, portable::One};
use crate::kernels::{Encodings8, Kernels, available};
use crate::randomness::RowScalars;

fn scalars(domain: &str, count: usize) -> Vec<Scalar> {
    let mut list = RowScalars::new(domain, &[1; 32]).take(0, count).to_vec();
    for (at, edge) in [Scalar::ZERO, Scalar::ONE, -Scalar::ONE, Scalar::from(2u64)]
        .into_iter()
        .enumerate()
        .take(count)
    {
        list[at] = edge;
    }
    list
}

fn encodings(points: &[RistrettoPoint]) -> Vec<Encodings8> {
    let flat: Vec<[u8; 32]> = points.iter().map(|p| p.compress().0).collect();
    flat.as_chunks::<8>().0.to_vec()
}

fn decoded(path: &dyn Kernels, encodings: &[Encodings8]) -> Vec<Point8> {
    let mut points = vec![Point8::identity(); encodings.len()];
    let mut valid = vec![0; encodings.len()];
    path.decode(encodings, &mut points, &mut valid);
    assert!(valid.iter().all(|&v| v == 255), "{}", path.name());
    points
}

fn encoded(path: &dyn Kernels, points: &[Point8]) -> Vec<Encodings8> {
    let mut out = vec![[[0; 32]; 8]; points.len()];
    path.encode(points, &mut out);
    out
}

fn base() -> Point8 {
    let (x, y) = (BASE_X, BASE_Y);
    let mut t = Wide::ZERO;
    use crate::field::Field;
    One::splat(x).mul(One::splat(y)).store(&mut t, 0);
    Point8 {
        x: Wide::splat(x),
        y: Wide::splat(y),
        z: Wide::splat([1, 0, 0, 0, 0]),
        t: Wide::splat(t.lane(0)),
    }
}

fn sample(count: usize) -> Vec<RistrettoPoint> {
    scalars("points", count).iter().map(|s| G * s).collect()
}

#[test]
fn decoding_and_encoding_return_the_encoding() {
    let wanted = encodings(&sample(64));
    for path in available() {
        let points = decoded(path, &wanted);
        assert_eq!(encoded(path, &points), wanted, "{}", path.name());
    }
}

#[test]
fn decoding_agrees_with_dalek_on_arbitrary_bytes() {
    let mut strings = vec![[[0u8; 32]; 8]; 64];
    for (i, scalar) in scalars("bytes", 512).iter().enumerate() {
        strings[i / 8][i % 8] = *(scalar + Scalar::from(i as u64)).as_bytes();
        strings[i / 8][i % 8][31] |= ((i % 9) as u8) << 4;
    }
    strings[0][0] = [255; 32];
    for path in available() {
        let mut points = vec![Point8::identity(); 64];
        let mut valid = vec![0; 64];
        path.decode(&strings, &mut points, &mut valid);
        for (i, string) in strings.as_flattened().iter().enumerate() {
            let ours = valid[i / 8] >> (i % 8) & 1 == 1;
            let theirs = CompressedRistretto(*string).decompress().is_some();
            assert_eq!(ours, theirs, "{} {i} {string:?}", path.name());
        }
    }
}

#[test]
fn encoding_doubles_doubles() {
    let points = sample(24);
    let wanted = encodings(&points.iter().map(|p| p + p).collect::<Vec<_>>());
    for path in available() {
        let mut out = vec![[[0; 32]; 8]; 3];
        path.encode_doubles(&decoded(path, &encodings(&points)), &mut out);
        assert_eq!(out, wanted, "{}", path.name());
    }
}

#[test]
fn sums_and_differences() {
    let a = sample(32);
    let mut b: Vec<RistrettoPoint> = a.iter().rev().copied().collect();
    b[8..16].copy_from_slice(&a[8..16]);
    for i in 16..24 {
        b[i] = -a[i];
    }
    let sum: Vec<_> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
    let difference: Vec<_> = a.iter().zip(&b).map(|(a, b)| a - b).collect();
    for path in available() {
        let others = decoded(path, &encodings(&b));
        let mut points = decoded(path, &encodings(&a));
        path.add(&mut points, &others);
        assert_eq!(encoded(path, &points), encodings(&sum), "{}", path.name());
        let mut points = decoded(path, &encodings(&a));
        path.subtract(&mut points, &others);
        assert_eq!(encoded(path, &points), encodings(&difference));
    }
}

#[test]
fn derivation_from_uniform_bytes() {
    let mut strings = vec![[[0u8; 64]; 8]; 4];
    for (i, pair) in scalars("uniform", 64).as_chunks::<2>().0.iter().enumerate() {
        strings[i / 8][i % 8][..32].copy_from_slice(pair[0].as_bytes());
        strings[i / 8][i % 8][32..].copy_from_slice(pair[1].as_bytes());
        strings[i / 8][i % 8][31] |= (i as u8) << 3;
    }
    strings[3][7] = [255; 64];
    strings[3][6] = [0; 64];
    let wanted: Vec<_> = strings
        .as_flattened()
        .iter()
        .map(RistrettoPoint::from_uniform_bytes)
        .collect();
    for path in available() {
        let mut points = vec![Point8::identity(); 4];
        path.derive(&strings, &mut points);
        assert_eq!(
            encoded(path, &points),
            encodings(&wanted),
            "{}",
            path.name()
        );
    }
}

#[test]
fn multiples_of_many_points() {
    let points = sample(16);
    let factors = scalars("factors", 9);
    let bits: Vec<SignedBits> = factors.iter().map(SignedBits::new).collect();
    for path in available() {
        let mut out = vec![vec![Point8::identity(); 2]; factors.len()];
        path.multiply(&decoded(path, &encodings(&points)), &bits, &mut out);
        for (factor, results) in factors.iter().zip(&out) {
            let wanted: Vec<_> = points.iter().map(|p| p * factor).collect();
            assert_eq!(
                encoded(path, results),
                encodings(&wanted),
                "{}",
                path.name()
            );
        }
    }
}

#[test]
fn multiples_of_a_fixed_point() {
    let factors = scalars("factors", 24);
    let bits: Vec<SignedBits> = factors.iter().map(SignedBits::new).collect();
    let wanted: Vec<_> = factors.iter().map(|s| G * s).collect();
    for path in available() {
        let table = path.fixed_base(&base());
        let mut points = vec![Point8::identity(); 3];
        path.add_multiples(&table, &bits, &mut points);
        assert_eq!(
            encoded(path, &points),
            encodings(&wanted),
            "{}",
            path.name()
        );
    }
}

#[test]
fn torsion_hides_behind_encodings() {
    // The four points of order dividing 4, added to anything, leave encoding and equality unchanged.
    let points = sample(8);
    let minus_one = {
        let mut wide = Wide::ZERO;
        use crate::field::Field;
        One::one().neg().canonical().store(&mut wide, 0);
        wide.lane(0)
    };
    let i = crate::field::constants::SQRT_M1;
    let minus_i = {
        let mut wide = Wide::ZERO;
        use crate::field::Field;
        One::splat(i).neg().canonical().store(&mut wide, 0);
        wide.lane(0)
    };
    let zero = [0; 5];
    for (x, y) in [(zero, minus_one), (i, zero), (minus_i, zero)] {
        let torsion = Point8 {
            x: Wide::splat(x),
            y: Wide::splat(y),
            z: Wide::splat([1, 0, 0, 0, 0]),
            t: Wide::ZERO,
        };
        for path in available() {
            let plain = decoded(path, &encodings(&points));
            let mut moved = plain.clone();
            path.add(&mut moved, &[torsion]);
            let mut same = [0];
            path.same(&plain, &moved, &mut same);
            assert_eq!(same, [255], "{}", path.name());
            assert_eq!(encoded(path, &moved), encodings(&points));
            let mut out = vec![[[0; 32]; 8]; 1];
            path.encode_doubles(&moved, &mut out);
            let twice: Vec<_> = points.iter().map(|p| p + p).collect();
            assert_eq!(out, encodings(&twice));
            let (mut a, mut b) = ([[0; 8]], [[0; 8]]);
            path.keys(&plain, &mut a);
            path.keys(&moved, &mut b);
            assert_eq!(a, b);
        }
    }
    assert_eq!(points[0], RistrettoPoint::identity());
}
