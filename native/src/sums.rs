//! Sums of ciphertexts: merging bins, fresh randomness, encodings.

use rayon::prelude::*;

use crate::curve::point::Point8;
use crate::curve::recode::SignedBits;
use crate::elgamal::PublicKey;
use crate::fault::Fault;
use crate::kernels::{Encodings8, Kernels, current};
use crate::points::{Encoding, blocks_per_task};
use crate::randomness::RowScalars;

/// The group number that leaves a bin out of a merge.
pub const LEFT_OUT: u32 = u32::MAX;

/// Elements of k + 1 points, one plane per point: element i is lane i mod 8 of block i div 8.
pub struct EncryptedSums {
    k: usize,
    len: usize,
    planes: Vec<Vec<Point8>>,
}

impl EncryptedSums {
    pub(crate) fn zero(k: usize, len: usize) -> Self {
        Self {
            k,
            len,
            planes: vec![vec![Point8::identity(); len.div_ceil(8)]; k + 1],
        }
    }

    #[must_use]
    pub fn k(&self) -> usize {
        self.k
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts `count` elements in from `start`, added to what is there if `occupied`.
    pub(crate) fn add_range(
        &mut self,
        kernels: &dyn Kernels,
        start: usize,
        count: usize,
        planes: &[Vec<Point8>],
        occupied: bool,
    ) {
        for (plane, new) in self.planes.iter_mut().zip(planes) {
            let mut new = new.clone();
            if occupied {
                let mut old = vec![Point8::identity(); new.len()];
                for i in 0..count {
                    old[i / 8].set_lane(i % 8, &plane[(start + i) / 8], (start + i) % 8);
                }
                kernels.add(&mut new, &old);
            }
            for i in 0..count {
                plane[(start + i) / 8].set_lane((start + i) % 8, &new[i / 8], i % 8);
            }
        }
    }

    /// Adds the elements of each group; element i goes to `groups[i]`, or nowhere if that is `LEFT_OUT`.
    ///
    /// # Errors
    /// `Input` if there is not one group per element or a group is out of range.
    pub fn merge(&self, groups: &[u32], group_count: usize) -> Result<Self, Fault> {
        check_groups(groups, self.len, group_count)?;
        let kernels = current()?;
        let mut members: Vec<(usize, Vec<usize>)> =
            (0..group_count).map(|g| (g, Vec::new())).collect();
        for (i, &group) in groups.iter().enumerate().filter(|g| *g.1 != LEFT_OUT) {
            members[group as usize].1.push(i);
        }
        // Largest groups first, so that every round adds to a run of leading blocks.
        members.sort_by_key(|(_, list)| std::cmp::Reverse(list.len()));
        let mut merged = Self::zero(self.k, group_count);
        merged
            .planes
            .par_iter_mut()
            .zip(&self.planes)
            .for_each(|(to, from)| merge_plane(kernels, &members, from, to));
        Ok(merged)
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
        let tables = public.tables(current()?);
        self.encoded_after(|kernels, block, planes| {
            let count = 8 * planes[0].len();
            let start = first.wrapping_add(8 * block as u64);
            let fresh: Vec<SignedBits> = randomness
                .take(start, count)
                .iter()
                .map(SignedBits::new)
                .collect();
            for (plane, table) in planes.iter_mut().zip(&tables) {
                kernels.add_multiples(table, &fresh, plane);
            }
        })
    }

    /// The encodings of the sums as they are.
    ///
    /// # Errors
    /// `Input` if no kernels can be chosen.
    pub fn encoded(&self) -> Result<Vec<Encoding>, Fault> {
        self.encoded_after(|_, _, _| ())
    }

    /// Encodes after `change` had its way with the planes of each task, which begin at the given block.
    fn encoded_after(
        &self,
        change: impl Fn(&dyn Kernels, usize, &mut [Vec<Point8>]) + Sync,
    ) -> Result<Vec<Encoding>, Fault> {
        let kernels = current()?;
        let width = self.k + 1;
        let task = blocks_per_task(self.len.div_ceil(8));
        let mut out = vec![[0u8; 32]; self.len * width];
        out.par_chunks_mut(8 * task * width)
            .enumerate()
            .for_each(|(t, out)| {
                let rows = out.len() / width;
                let blocks = t * task..t * task + rows.div_ceil(8);
                let mut planes: Vec<Vec<Point8>> = self
                    .planes
                    .iter()
                    .map(|p| p[blocks.clone()].to_vec())
                    .collect();
                change(kernels, blocks.start, &mut planes);
                let mut encodings: Vec<Encodings8> = vec![[[0; 32]; 8]; blocks.len()];
                for (j, plane) in planes.iter().enumerate() {
                    kernels.encode(plane, &mut encodings);
                    for (row, encoding) in encodings.as_flattened()[..rows].iter().enumerate() {
                        out[row * width + j] = *encoding;
                    }
                }
            });
        Ok(out)
    }
}

fn merge_plane(
    kernels: &dyn Kernels,
    members: &[(usize, Vec<usize>)],
    from: &[Point8],
    to: &mut [Point8],
) {
    let mut sums = vec![Point8::identity(); to.len()];
    for round in 0..members.first().map_or(0, |(_, list)| list.len()) {
        let active = members.partition_point(|(_, list)| list.len() > round);
        let mut layer = vec![Point8::identity(); active.div_ceil(8)];
        for (lane, (_, list)) in members[..active].iter().enumerate() {
            let i = list[round];
            layer[lane / 8].set_lane(lane % 8, &from[i / 8], i % 8);
        }
        kernels.add(&mut sums[..layer.len()], &layer);
    }
    for (lane, (group, _)) in members.iter().enumerate() {
        to[group / 8].set_lane(group % 8, &sums[lane / 8], lane % 8);
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
