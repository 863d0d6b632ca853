//! Sums of ciphertexts: merging bins, fresh randomness, encodings.

use curve25519_dalek::RistrettoPoint;
use curve25519_dalek::traits::Identity;
use rayon::prelude::*;

use crate::elgamal::PublicKey;
use crate::fault::Fault;
use crate::points::Encoding;
use crate::randomness::RowScalars;

/// The group number that leaves a bin out of a merge.
pub const LEFT_OUT: u32 = u32::MAX;

/// Elements of k + 1 points.
pub struct EncryptedSums {
    k: usize,
    points: Vec<RistrettoPoint>,
}

impl EncryptedSums {
    pub(crate) fn new(k: usize, points: Vec<RistrettoPoint>) -> Self {
        Self { k, points }
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

    /// Adds the elements of each group; element i goes to `groups[i]`, or nowhere if that is `LEFT_OUT`.
    ///
    /// # Errors
    /// `Input` if there is not one group per element or a group is out of range.
    pub fn merge(&self, groups: &[u32], group_count: usize) -> Result<Self, Fault> {
        check_groups(groups, self.len(), group_count)?;
        let width = self.k + 1;
        let mut points = vec![RistrettoPoint::identity(); group_count * width];
        for (i, &group) in groups.iter().enumerate().filter(|g| *g.1 != LEFT_OUT) {
            for j in 0..width {
                points[group as usize * width + j] += self.points[i * width + j];
            }
        }
        Ok(Self { k: self.k, points })
    }

    /// Encodings after adding (r·G, r·P_j) with a fresh r per element; element i takes index `first + i`.
    ///
    /// # Errors
    /// `Input` if the key carries another number of messages.
    pub fn rerandomised(
        &self,
        public: &PublicKey,
        seed: &[u8; 32],
        first: u64,
    ) -> Result<Vec<Encoding>, Fault> {
        if public.k() != self.k {
            return Err(Fault::Input(format!(
                "public: expected a key for {} messages, got {}",
                self.k,
                public.k()
            )));
        }
        let randomness = RowScalars::new("parley/elgamal-rerandomise/v1", seed);
        let rows: Vec<Vec<Encoding>> = self
            .points
            .par_chunks(self.k + 1)
            .enumerate()
            .map(|(i, row)| {
                let r = randomness.take(first + i as u64, 1)[0];
                let mut out = vec![(row[0] + RistrettoPoint::mul_base(&r)).compress().0];
                for (c, p) in row[1..].iter().zip(&public.points) {
                    out.push((c + p * r).compress().0);
                }
                out
            })
            .collect();
        Ok(rows.concat())
    }

    #[must_use]
    pub fn encoded(&self) -> Vec<Encoding> {
        self.points.par_iter().map(|p| p.compress().0).collect()
    }
}

fn check_groups(groups: &[u32], expected: usize, group_count: usize) -> Result<(), Fault> {
    if groups.len() != expected {
        return Err(Fault::Input(format!(
            "groups: expected one group for each of the {expected} elements, got {}",
            groups.len()
        )));
    }
    match groups
        .iter()
        .position(|&g| g != LEFT_OUT && g as usize >= group_count)
    {
        None => Ok(()),
        Some(at) => Err(Fault::Input(format!(
            "groups: expected groups below {group_count} or 0xFFFFFFFF, got {} at position {at}",
            groups[at]
        ))),
    }
}
