//! Decoded ciphertext rows, kept for many histograms.

use curve25519_dalek::RistrettoPoint;

use crate::fault::Fault;
use crate::points::{Encoding, decode};

/// Rows of k + 1 points.
pub struct Ciphertexts {
    k: usize,
    pub(crate) points: Vec<RistrettoPoint>,
}

impl Ciphertexts {
    #[must_use]
    pub fn new(k: usize, capacity: usize) -> Self {
        Self {
            k,
            points: Vec::with_capacity(capacity.saturating_mul(k + 1)),
        }
    }

    #[must_use]
    pub fn k(&self) -> usize {
        self.k
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.points.len() / (self.k + 1)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// Decodes a block of rows and keeps it; on an error nothing is kept of it.
    ///
    /// # Errors
    /// `Decode` with the position of the point within the block.
    pub fn append(&mut self, block: &[Encoding]) -> Result<(), Fault> {
        self.points.extend(decode(block)?);
        Ok(())
    }
}
