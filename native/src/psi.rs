//! Alignment: identifiers to the group, blinding, truncated digests.

use curve25519_dalek::{RistrettoPoint, Scalar};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::fault::Fault;
use crate::points::{Encoding, decode};
use crate::xmd::Expander;

/// Identifiers laid end to end: id i is `data[offsets[i]..offsets[i + 1]]`.
pub struct Identifiers<'a> {
    data: &'a [u8],
    offsets: &'a [u64],
}

impl<'a> Identifiers<'a> {
    /// # Errors
    /// `Input` if the offsets are empty, decrease, or leave the data.
    pub fn checked(data: &'a [u8], offsets: &'a [u64]) -> Result<Self, Fault> {
        let Some(&last) = offsets.last() else {
            return Err(Fault::Input(
                "offsets: expected n + 1 of them for n ids, got none".into(),
            ));
        };
        if let Some(i) = offsets.windows(2).position(|w| w[0] > w[1]) {
            return Err(Fault::Input(format!(
                "offsets: expected them not to decrease, got {} after {} at position {}",
                offsets[i + 1],
                offsets[i],
                i + 1
            )));
        }
        if last > data.len() as u64 {
            return Err(Fault::Input(format!(
                "offsets: expected at most {} (the bytes in data), got {last}",
                data.len()
            )));
        }
        Ok(Self { data, offsets })
    }

    fn get(&self, i: usize) -> &'a [u8] {
        let bound = |at: usize| usize::try_from(self.offsets[at]).unwrap_or(usize::MAX);
        &self.data[bound(i)..bound(i + 1)]
    }

    fn len(&self) -> usize {
        self.offsets.len() - 1
    }
}

/// `hash_to_ristretto255` of every identifier (RFC 9380, appendix B), times `scalar` if there is one.
///
/// # Errors
/// `Input` unless the DST has 1..=255 bytes.
pub fn hash(
    ids: &Identifiers<'_>,
    dst: &[u8],
    scalar: Option<&Scalar>,
) -> Result<Vec<Encoding>, Fault> {
    if !(1..=255).contains(&dst.len()) {
        return Err(Fault::Input(format!(
            "dst: expected 1..=255 bytes, got {}",
            dst.len()
        )));
    }
    let expander = Expander::new(dst);
    Ok((0..ids.len())
        .into_par_iter()
        .map(|i| {
            let point = RistrettoPoint::from_uniform_bytes(&expander.expand(ids.get(i)));
            match scalar {
                Some(scalar) => (point * scalar).compress().0,
                None => point.compress().0,
            }
        })
        .collect())
}

/// Every point times `scalar`.
///
/// # Errors
/// `Decode` if an element is not canonical.
pub fn blind(encodings: &[Encoding], scalar: &Scalar) -> Result<Vec<Encoding>, Fault> {
    let points = decode(encodings)?;
    Ok(points
        .par_iter()
        .map(|p| (p * scalar).compress().0)
        .collect())
}

/// The first 16 bytes of SHA-256(len(tag) ‖ tag ‖ encoding of scalar·point) for every point.
///
/// # Errors
/// `Decode` if an element is not canonical; `Input` if the tag has more than 255 bytes.
pub fn blind_digest(
    encodings: &[Encoding],
    scalar: &Scalar,
    tag: &[u8],
) -> Result<Vec<[u8; 16]>, Fault> {
    let Ok(length) = u8::try_from(tag.len()) else {
        return Err(Fault::Input(format!(
            "tag: expected at most 255 bytes, got {}",
            tag.len()
        )));
    };
    let tagged = Sha256::new().chain_update([length]).chain_update(tag);
    Ok(blind(encodings, scalar)?
        .par_iter()
        .map(|encoding| {
            let digest: [u8; 32] = tagged.clone().chain_update(encoding).finalize().into();
            let mut short = [0; 16];
            short.copy_from_slice(&digest[..16]);
            short
        })
        .collect())
}
