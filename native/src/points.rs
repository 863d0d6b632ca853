//! Blocks of eight points from encodings and back.

use rayon::prelude::*;

use crate::curve::point::Point8;
use crate::fault::Fault;
use crate::kernels::{Encodings8, Kernels};

/// The bytes of one encoding.
pub type Encoding = [u8; 32];

/// The most blocks a thread takes at once: enough to share an inversion among many, few enough to stay in cache.
const MOST_BLOCKS: usize = 64;

/// How many blocks of `total` a thread takes at once.
#[must_use]
pub fn blocks_per_task(total: usize) -> usize {
    total
        .div_ceil(2 * rayon::current_num_threads())
        .clamp(1, MOST_BLOCKS)
}

/// Eight by eight, the last block filled up with encodings of the identity.
#[must_use]
pub fn in_blocks(encodings: impl ExactSizeIterator<Item = Encoding>) -> Vec<Encodings8> {
    let mut blocks = vec![[[0; 32]; 8]; encodings.len().div_ceil(8)];
    for (slot, encoding) in blocks.as_flattened_mut().iter_mut().zip(encodings) {
        *slot = encoding;
    }
    blocks
}

/// Decodes on this thread.
///
/// # Errors
/// The position of the first element that is not canonical.
pub fn decode_blocks(
    kernels: &dyn Kernels,
    encodings: &[Encodings8],
    points: &mut [Point8],
) -> Result<(), usize> {
    let mut valid = vec![0u8; encodings.len()];
    kernels.decode(encodings, points, &mut valid);
    match valid.iter().position(|&lanes| lanes != u8::MAX) {
        None => Ok(()),
        Some(block) => Err(8 * block + valid[block].trailing_ones() as usize),
    }
}

/// Decodes the elements `offset`, `offset + stride`, … on all threads.
///
/// # Errors
/// `Decode` with the first position that is not canonical.
pub fn decode_plane(
    kernels: &dyn Kernels,
    encodings: &[Encoding],
    stride: usize,
    offset: usize,
) -> Result<Vec<Point8>, Fault> {
    let rows = encodings.len() / stride;
    let mut points = vec![Point8::identity(); rows.div_ceil(8)];
    let task = blocks_per_task(points.len());
    let failed = points
        .par_chunks_mut(task)
        .enumerate()
        .filter_map(|(t, points)| {
            let first = 8 * task * t;
            let last = rows.min(first + 8 * task);
            let blocks = in_blocks((first..last).map(|row| encodings[row * stride + offset]));
            decode_blocks(kernels, &blocks, points)
                .err()
                .map(|at| (first + at) * stride + offset)
        })
        .min();
    failed.map_or(Ok(points), |at| Err(Fault::Decode(at)))
}
