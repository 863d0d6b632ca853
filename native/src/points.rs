//! Encodings to points and back, one block after another.

use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use rayon::prelude::*;

use crate::fault::Fault;

/// The bytes of one encoding.
pub type Encoding = [u8; 32];

/// Decodes every element.
///
/// # Errors
/// `Decode` with the first position that is not canonical.
pub fn decode(encodings: &[Encoding]) -> Result<Vec<RistrettoPoint>, Fault> {
    let points: Vec<Option<RistrettoPoint>> = encodings
        .par_iter()
        .map(|e| CompressedRistretto(*e).decompress())
        .collect();
    points
        .into_iter()
        .enumerate()
        .map(|(i, p)| p.ok_or(Fault::Decode(i)))
        .collect()
}
