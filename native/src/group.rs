//! Batches of points: hashed from identifiers (RFC 9380), multiplied, encoded.

use curve25519_dalek::Scalar;
use rayon::prelude::*;

use crate::curve::point::Point8;
use crate::curve::recode::SignedBits;
use crate::fault::Fault;
use crate::identifiers::Identifiers;
use crate::kernels::{Kernels, current};
use crate::points::{Encoding, blocks_per_task, decode_blocks, in_blocks};
use crate::xmd::Expander;

/// H of every identifier: `ristretto255_XMD:SHA-512_R255MAP_RO_` (RFC 9380, appendix B).
///
/// # Errors
/// `Input` unless the DST has 1..=255 bytes.
pub fn hash(ids: &Identifiers<'_>, dst: &[u8]) -> Result<Vec<Encoding>, Fault> {
    let hashing = Hashing::new(ids, dst)?;
    in_tasks(ids.len(), |first, points, out| {
        hashing.points(first, points);
        hashing.kernels.encode(points, out);
        Ok(())
    })
}

/// Every point times `secret`.
///
/// # Errors
/// `Decode` if an element is not canonical.
pub fn multiply(encodings: &[Encoding], secret: &Scalar) -> Result<Vec<Encoding>, Fault> {
    let kernels = current()?;
    // Doubles are encoded with one inversion for a whole batch, where other points take an inverse square root each.
    let half = SignedBits::new(&secret.div_by_2());
    in_tasks(encodings.len(), |first, points, out| {
        let last = encodings.len().min(first + 8 * points.len());
        let blocks = in_blocks(encodings[first..last].iter().copied());
        decode_blocks(kernels, &blocks, points).map_err(|at| Fault::Decode(first + at))?;
        kernels.encode_doubles(&multiplied(kernels, points, &half), out);
        Ok(())
    })
}

/// H under one tag, block by block.
pub struct Hashing<'a> {
    pub kernels: &'static dyn Kernels,
    ids: &'a Identifiers<'a>,
    expander: Expander,
}

impl<'a> Hashing<'a> {
    /// # Errors
    /// `Input` unless the DST has 1..=255 bytes.
    pub fn new(ids: &'a Identifiers<'a>, dst: &[u8]) -> Result<Self, Fault> {
        if !(1..=255).contains(&dst.len()) {
            return Err(Fault::Input(format!(
                "dst: expected 1..=255 bytes, got {}",
                dst.len()
            )));
        }
        Ok(Self {
            kernels: current()?,
            ids,
            expander: Expander::new(dst),
        })
    }

    /// The points of the identifiers from `first` on; lanes beyond the last are those of an empty one.
    pub fn points(&self, first: usize, points: &mut [Point8]) {
        let mut strings = vec![[[0u8; 64]; 8]; points.len()];
        let mut messages = vec![[[].as_slice(); 8]; points.len()];
        let last = self.ids.len().min(first + 8 * points.len());
        for (message, i) in messages.as_flattened_mut().iter_mut().zip(first..last) {
            *message = self.ids.get(i);
        }
        self.kernels.expand(&self.expander, &messages, &mut strings);
        self.kernels.derive(&strings, points);
    }
}

/// Every point times one scalar.
pub fn multiplied(kernels: &dyn Kernels, points: &[Point8], scalar: &SignedBits) -> Vec<Point8> {
    let mut products = [vec![Point8::identity(); points.len()]];
    kernels.multiply(points, std::slice::from_ref(scalar), &mut products);
    let [products] = products;
    products
}

/// Cuts `count` elements into tasks; `work` gets the position of its first element, room for points and for results.
fn in_tasks(
    count: usize,
    work: impl Fn(usize, &mut [Point8], &mut [[Encoding; 8]]) -> Result<(), Fault> + Sync,
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
