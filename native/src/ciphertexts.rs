//! Decoded ciphertext rows, kept for many histograms.

use rayon::prelude::*;

use crate::curve::buckets::{EMPTY_PAIR, Half, RowPoints};
use crate::curve::point::Point8;
use crate::fault::Fault;
use crate::kernels::{Kernels, current};
use crate::points::{Encoding, decode_blocks, in_blocks};

/// Rows a task decodes: a multiple of eight, so that its points fill blocks.
const TASK: usize = 64;

/// Rows of k + 1 points.
pub struct Ciphertexts {
    k: usize,
    len: usize,
    pub(crate) points: RowPoints,
}

impl Ciphertexts {
    #[must_use]
    pub fn new(k: usize, capacity: usize) -> Self {
        let mut points = RowPoints::new(k + 1);
        points.pairs.reserve(capacity * points.pairs_per_row);
        if k.is_multiple_of(2) {
            points.halves.reserve(capacity);
        }
        Self { k, len: 0, points }
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

    /// Decodes a block of rows and keeps it; on an error nothing is kept of it.
    ///
    /// # Errors
    /// `Decode` with the position of the point within the block.
    pub fn append(&mut self, block: &[Encoding]) -> Result<(), Fault> {
        let kernels = current()?;
        let (width, per) = (self.k + 1, self.points.pairs_per_row);
        let old = self.len;
        let rows = block.len() / width;
        self.resize(old + rows);
        let mut halves = self
            .points
            .halves
            .get_mut(old..)
            .unwrap_or_default()
            .chunks_mut(TASK);
        let tasks: Vec<_> = block
            .chunks(TASK * width)
            .zip(self.points.pairs[old * per..].chunks_mut(TASK * per))
            .map(|(encodings, pairs)| (encodings, pairs, halves.next().unwrap_or_default()))
            .collect();
        let failed = tasks
            .into_par_iter()
            .enumerate()
            .filter_map(|(t, (encodings, pairs, halves))| {
                fill(kernels, width, encodings, pairs, halves)
                    .err()
                    .map(|at| t * TASK * width + at)
            })
            .min();
        if let Some(at) = failed {
            self.resize(old);
            return Err(Fault::Decode(at));
        }
        Ok(())
    }

    fn resize(&mut self, rows: usize) {
        self.len = rows;
        let points = &mut self.points;
        points.pairs.resize(rows * points.pairs_per_row, EMPTY_PAIR);
        if self.k.is_multiple_of(2) {
            points.halves.resize(rows, Half::ZERO);
        }
    }
}

/// Decodes the rows of one task into operands.
fn fill(
    kernels: &dyn Kernels,
    width: usize,
    encodings: &[Encoding],
    pairs: &mut [crate::field::Wide],
    halves: &mut [Half],
) -> Result<(), usize> {
    let blocks = in_blocks(encodings.iter().copied());
    let mut points = vec![Point8::identity(); blocks.len()];
    decode_blocks(kernels, &blocks, &mut points)?;
    let mut operands = vec![[Half::ZERO; 8]; blocks.len()];
    kernels.operands(&points, &mut operands);
    let per = width / 2;
    for (row, row_points) in operands.as_flattened()[..encodings.len()]
        .chunks(width)
        .enumerate()
    {
        let (couples, rest) = row_points.as_chunks::<2>();
        for (pair, [a, b]) in pairs[row * per..].iter_mut().zip(couples) {
            for (to, (a, b)) in pair.0.iter_mut().zip(a.0.iter().zip(&b.0)) {
                to[..4].copy_from_slice(a);
                to[4..].copy_from_slice(b);
            }
        }
        if let [half] = rest {
            halves[row] = *half;
        }
    }
    Ok(())
}
