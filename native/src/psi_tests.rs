//! The oblivious function of identifiers against the obvious computation with curve25519-dalek, on every path.

use curve25519_dalek::ristretto::CompressedRistretto;
use curve25519_dalek::{RistrettoPoint, Scalar};
use sha2::{Digest, Sha256};

use crate::fault::Fault;
use crate::kernels::{available, choose};
use crate::points::Encoding;
use crate::psi::{
    Blinds, EvaluationKey, Identifiers, Short, blind, evaluate, evaluate_ids, hash, unblind,
};
use crate::randomness::RowScalars;
use crate::threads::{Priority, within};

type Outcome = Result<(), Fault>;

const SEED: [u8; 32] = [9; 32];
const TEXT: &[u8; 26] = b"abcdefghijklmnopqrstuvwxyz";
const FIRST: u64 = (1 << 31) - 7;

fn each_path(work: impl Fn() -> Outcome + Send + Sync) -> Outcome {
    for path in available() {
        choose(path.name())?;
        for threads in [1, 3] {
            within(threads, Priority::Normal, &work)?;
        }
    }
    Ok(())
}

/// Spans of every length, empty, overlapping and equal ones among them; no whole number of blocks.
fn spans() -> Vec<[u64; 2]> {
    (0..531u64)
        .map(|i| [i % 13, i % 13 + (i * i) % 14])
        .collect()
}

fn point(encoding: &Encoding) -> RistrettoPoint {
    CompressedRistretto(*encoding)
        .decompress()
        .unwrap_or_default()
}

fn bytes(points: impl Iterator<Item = RistrettoPoint>) -> Vec<Encoding> {
    points.map(|p| p.compress().0).collect()
}

fn digest(tag: &[u8], point: &RistrettoPoint) -> Short {
    let whole: [u8; 32] = Sha256::new()
        .chain_update([tag.len() as u8])
        .chain_update(tag)
        .chain_update(point.compress().0)
        .finalize()
        .into();
    let mut short = [0; 16];
    short.copy_from_slice(&whole[..16]);
    short
}

fn secrets() -> [Scalar; 4] {
    [
        Scalar::ONE,
        -Scalar::ONE,
        Scalar::from(77u64),
        RowScalars::new("secret", &SEED).take(0, 1)[0],
    ]
}

#[test]
fn blinding_adds_multiples_of_the_generator() -> Outcome {
    let spans = spans();
    let ids = Identifiers::checked(TEXT, &spans)?;
    let r = RowScalars::new("parley/alignment-blind/v1", &SEED).take(FIRST, spans.len());
    let hashes = hash(&ids, b"dst")?;
    let wanted = bytes(hashes.iter().zip(r.iter()).map(|(h, r)| {
        let sum = point(h) + RistrettoPoint::mul_base(r);
        sum + sum
    }));
    each_path(|| {
        assert_eq!(hash(&ids, b"dst")?, hashes);
        assert_eq!(blind(&ids, b"dst", &Blinds::new(&SEED), FIRST)?, wanted);
        Ok(())
    })
}

#[test]
fn evaluating_multiplies() -> Outcome {
    let points: Vec<RistrettoPoint> = (0..13u64)
        .map(|i| RistrettoPoint::mul_base(&Scalar::from(i * i * i)))
        .collect();
    let encodings = bytes(points.iter().copied());
    each_path(|| {
        for secret in secrets().iter().chain([&Scalar::ZERO]) {
            let wanted = bytes(points.iter().map(|p| p * secret));
            assert_eq!(evaluate(&encodings, secret)?, wanted);
        }
        assert_eq!(evaluate(&[], &Scalar::ONE)?, Vec::<Encoding>::new());
        let mut broken = encodings.clone();
        broken[11] = [255; 32];
        assert_eq!(evaluate(&broken, &Scalar::ONE), Err(Fault::Decode(11)));
        Ok(())
    })
}

#[test]
fn identifiers_are_evaluated_as_four_times_their_hash() -> Outcome {
    let spans = spans();
    let ids = Identifiers::checked(TEXT, &spans)?;
    let hashes = hash(&ids, b"dst")?;
    for secret in &secrets() {
        let factor = Scalar::from(4u64) * secret;
        let wanted: Vec<Short> = hashes
            .iter()
            .map(|h| digest(b"tag", &(point(h) * factor)))
            .collect();
        each_path(|| {
            assert_eq!(evaluate_ids(&ids, b"dst", secret, b"tag")?, wanted);
            Ok(())
        })?;
    }
    Ok(())
}

/// Whatever the points and the key: a deviating party's too.
#[test]
fn unblinding_subtracts_multiples_of_the_key() -> Outcome {
    let r = RowScalars::new("parley/alignment-blind/v1", &SEED).take(FIRST, 531);
    for secret in &secrets() {
        let key = RistrettoPoint::mul_base(secret);
        let mut points: Vec<RistrettoPoint> = (0..531u64)
            .map(|i| RistrettoPoint::mul_base(&Scalar::from(i / 2 * i)))
            .collect();
        // The difference is neutral, and of order two in its representative.
        points[5] = key * (r[5] + r[5]);
        let wanted: Vec<Short> = points
            .iter()
            .zip(r.iter())
            .map(|(p, r)| p - key * (r + r))
            .map(|p| digest(b"tag", &(p + p)))
            .collect();
        let encodings = bytes(points.iter().copied());
        each_path(|| {
            let table = EvaluationKey::decode(&key.compress().0)?;
            let blinds = Blinds::new(&SEED);
            let digests = unblind(&encodings, &table, &blinds, FIRST, b"tag")?;
            assert_eq!(digests, wanted);
            let mut broken = encodings.clone();
            broken[530] = [1; 32];
            let outcome = unblind(&broken, &table, &blinds, FIRST, b"tag");
            assert_eq!(outcome, Err(Fault::Decode(530)));
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn asking_gives_what_evaluating_oneself_gives() -> Outcome {
    let spans = spans();
    let ids = Identifiers::checked(TEXT, &spans)?;
    each_path(|| {
        for secret in &secrets() {
            let key = EvaluationKey::decode(&RistrettoPoint::mul_base(secret).compress().0)?;
            let blinds = Blinds::new(&SEED);
            let evaluated = evaluate(&blind(&ids, b"dst", &blinds, FIRST)?, secret)?;
            let digests = unblind(&evaluated, &key, &blinds, FIRST, b"tag")?;
            assert_eq!(digests, evaluate_ids(&ids, b"dst", secret, b"tag")?);
        }
        Ok(())
    })
}

#[test]
fn keys_that_hide_nothing_are_refused() {
    assert!(matches!(
        EvaluationKey::decode(&[0; 32]),
        Err(Fault::Input(_))
    ));
    assert!(matches!(
        EvaluationKey::decode(&[255; 32]),
        Err(Fault::Decode(0))
    ));
}
