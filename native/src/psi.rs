//! Alignment: identifiers to the group, blinding, truncated digests.

use curve25519_dalek::Scalar;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::curve::point::Point8;
use crate::curve::recode::SignedBits;
use crate::fault::Fault;
use crate::kernels::{Encodings8, Kernels, current};
use crate::points::{Encoding, blocks_per_task, decode_blocks, in_blocks};
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
    let kernels = current()?;
    let expander = Expander::new(dst);
    let half = scalar.map(half_bits);
    in_tasks(ids.len(), |first, points, out| {
        let mut strings = vec![[[0u8; 64]; 8]; points.len()];
        let mut messages = vec![[[].as_slice(); 8]; points.len()];
        let last = ids.len().min(first + 8 * points.len());
        for (message, i) in messages.as_flattened_mut().iter_mut().zip(first..last) {
            *message = ids.get(i);
        }
        kernels.expand(&expander, &messages, &mut strings);
        kernels.derive(&strings, points);
        match &half {
            Some(half) => multiplied(kernels, points, half, out),
            None => kernels.encode(points, out),
        }
        Ok(())
    })
}

/// Every point times `scalar`.
///
/// # Errors
/// `Decode` if an element is not canonical.
pub fn blind(encodings: &[Encoding], scalar: &Scalar) -> Result<Vec<Encoding>, Fault> {
    let kernels = current()?;
    let half = half_bits(scalar);
    in_tasks(encodings.len(), |first, points, out| {
        let last = encodings.len().min(first + 8 * points.len());
        let blocks = in_blocks(encodings[first..last].iter().copied());
        decode_blocks(kernels, &blocks, points).map_err(|at| Fault::Decode(first + at))?;
        multiplied(kernels, points, &half, out);
        Ok(())
    })
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

/// Half the scalar: what is encoded is the double of the product.
fn half_bits(scalar: &Scalar) -> SignedBits {
    SignedBits::new(&scalar.div_by_2())
}

fn multiplied(kernels: &dyn Kernels, points: &[Point8], half: &SignedBits, out: &mut [Encodings8]) {
    let mut halves = [vec![Point8::identity(); points.len()]];
    kernels.multiply(points, std::slice::from_ref(half), &mut halves);
    kernels.encode_doubles(&halves[0], out);
}

/// Cuts `count` elements into tasks; `work` gets the position of its first element, room for points and for encodings.
fn in_tasks(
    count: usize,
    work: impl Fn(usize, &mut [Point8], &mut [Encodings8]) -> Result<(), Fault> + Sync,
) -> Result<Vec<Encoding>, Fault> {
    let mut out = vec![[[0u8; 32]; 8]; count.div_ceil(8)];
    let task = blocks_per_task(out.len());
    let failed = out
        .par_chunks_mut(task)
        .enumerate()
        .filter_map(|(t, out)| {
            let mut points = vec![Point8::identity(); out.len()];
            work(8 * task * t, &mut points, out)
                .err()
                .map(|fault| (t, fault))
        })
        .min_by_key(|(t, _)| *t);
    if let Some((_, fault)) = failed {
        return Err(fault);
    }
    let mut flat = out.into_flattened();
    flat.truncate(count);
    Ok(flat)
}
