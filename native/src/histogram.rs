//! Encrypted histograms: per column and bin the sum of the ciphertexts that fall into it.

use curve25519_dalek::RistrettoPoint;
use curve25519_dalek::traits::Identity;
use rayon::prelude::*;

use crate::bins::BinnedColumns;
use crate::ciphertexts::Ciphertexts;
use crate::sums::EncryptedSums;

/// Sums the rows of `subset` per bin, column after column.
#[must_use]
pub fn encrypted(rows: &Ciphertexts, columns: &BinnedColumns<'_>, subset: &[u32]) -> EncryptedSums {
    let width = rows.k() + 1;
    let per_column: Vec<Vec<RistrettoPoint>> = (0..columns.len())
        .into_par_iter()
        .map(|column| {
            let mut sums = vec![RistrettoPoint::identity(); columns.bin_count(column) * width];
            let codes = columns.codes(column);
            for &row in subset {
                let row = row as usize;
                let start = usize::from(codes[row]) * width;
                for j in 0..width {
                    sums[start + j] += rows.points[row * width + j];
                }
            }
            sums
        })
        .collect();
    EncryptedSums::new(rows.k(), per_column.concat())
}
