//! Many Ed25519 signatures (RFC 8032), each verified on its own.
//!
//! The verdict on one is that of section 5.1.7 without the cofactor: S below the order of the group, and the encoding
//! of S·B − k·A equal, byte by byte, to that of R. A key must be the canonical encoding of a point that is not of small
//! order. No step looks at two signatures together: the equation for a batch accepts some that the single one refuses.
//!
//! Everything here is public, so it runs in variable time.

use std::collections::HashMap;

use curve25519_dalek::edwards::CompressedEdwardsY;
use curve25519_dalek::{EdwardsPoint, Scalar};
use sha2::{Digest, Sha512};

use crate::fault::Fault;
use crate::threads;

/// Signatures that a thread takes at once; their R share one inversion.
const TASK: usize = 64;

/// That the holder of `public` signed `frame` followed by `message`. Any length is taken; a wrong one does not verify.
#[derive(Clone, Copy)]
pub struct Claim<'a> {
    pub public: &'a [u8],
    pub frame: &'a [u8],
    pub message: &'a [u8],
    pub signature: &'a [u8],
}

/// The verdict on each claim, in order.
///
/// # Errors
/// `Input` if the number of threads is none.
pub fn verify_vartime(claims: &[Claim<'_>], threads: usize) -> Result<Vec<bool>, Fault> {
    let mut good = vec![false; claims.len()];
    let tasks = good.chunks_mut(TASK).zip(claims.chunks(TASK)).collect();
    threads::each(threads, tasks, |(good, claims)| judge(claims, good))?;
    Ok(good)
}

fn judge(claims: &[Claim<'_>], good: &mut [bool]) {
    let mut keys = HashMap::new();
    let (mut places, mut points) = (Vec::new(), Vec::new());
    for (place, claim) in claims.iter().enumerate() {
        let negated = *keys
            .entry(claim.public)
            .or_insert_with(|| loaded(claim.public).map(|key| -key));
        if let Some(point) = negated.and_then(|key| commitment(claim, &key)) {
            places.push(place);
            points.push(point);
        }
    }
    let encodings = EdwardsPoint::compress_batch_alloc(&points);
    for (place, encoding) in places.into_iter().zip(encodings) {
        good[place] = claims[place].signature[..32] == encoding.0;
    }
}

/// The point of a key; nothing if that is not its canonical encoding, or it has small order.
fn loaded(public: &[u8]) -> Option<EdwardsPoint> {
    let encoding = CompressedEdwardsY::from_slice(public).ok()?;
    let point = encoding.decompress()?;
    (!point.is_small_order() && point.compress() == encoding).then_some(point)
}

/// What R must be: S·B − k·A; nothing if the signature has not 64 bytes or S is not below the order.
fn commitment(claim: &Claim<'_>, negated: &EdwardsPoint) -> Option<EdwardsPoint> {
    let (r, s) = claim.signature.split_at_checked(32)?;
    let s = Scalar::from_canonical_bytes(s.try_into().ok()?).into_option()?;
    let hash = Sha512::new()
        .chain_update(r)
        .chain_update(claim.public)
        .chain_update(claim.frame)
        .chain_update(claim.message)
        .finalize();
    let k = Scalar::from_bytes_mod_order_wide(&hash.into());
    Some(EdwardsPoint::vartime_double_scalar_mul_basepoint(
        &k, negated, &s,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key pair and a signature from the definition; not clamped, which verification does not ask for.
    fn signed(number: u64, message: &[u8]) -> ([u8; 32], [u8; 64]) {
        let (secret, nonce) = (Scalar::from(number + 2), Scalar::from(number * 7 + 3));
        let public = EdwardsPoint::mul_base(&secret).compress().0;
        let r = EdwardsPoint::mul_base(&nonce).compress().0;
        let hash = Sha512::new()
            .chain_update(r)
            .chain_update(public)
            .chain_update(message)
            .finalize();
        let s = nonce + Scalar::from_bytes_mod_order_wide(&hash.into()) * secret;
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&r);
        signature[32..].copy_from_slice(s.as_bytes());
        (public, signature)
    }

    #[test]
    fn each_signature_is_judged_by_itself_at_its_place() {
        let texts: Vec<Vec<u8>> = (0..200u8).map(|i| vec![i; usize::from(i)]).collect();
        let pairs: Vec<_> = (0..200u64)
            .map(|i| {
                let (public, mut signature) = signed(i % 3, &texts[usize::try_from(i).unwrap()]);
                signature[usize::try_from(i).unwrap() % 64] ^= u8::from(i % 5 == 0);
                (public, signature)
            })
            .collect();
        let claims: Vec<_> = (0..200)
            .map(|i| Claim {
                public: &pairs[i].0,
                frame: &texts[i][..i / 2],
                message: &texts[i][i / 2..],
                signature: &pairs[i].1,
            })
            .collect();
        let expected: Vec<bool> = (0..200).map(|i| i % 5 != 0).collect();
        for threads in [1, 2] {
            assert_eq!(verify_vartime(&claims, threads).unwrap(), expected);
        }
        assert!(verify_vartime(&claims, 0).is_err());
        assert_eq!(verify_vartime(&[], 1).unwrap(), Vec::<bool>::new());
    }
}
