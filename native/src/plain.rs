//! Histograms of plaintext messages, for the columns of whoever holds the gradients.

use rayon::prelude::*;

use crate::bins::BinnedColumns;

/// Per column and bin the sums of the k messages, then the row count: `[bins of all columns][k + 1]`.
#[must_use]
pub fn histogram(
    columns: &BinnedColumns<'_>,
    messages: &[i32],
    k: usize,
    subset: &[u32],
) -> Vec<i64> {
    let mut sums = vec![0i64; columns.total_bins() * (k + 1)];
    let mut slices = Vec::with_capacity(columns.len());
    let mut rest = sums.as_mut_slice();
    for column in 0..columns.len() {
        let (head, tail) = rest.split_at_mut(columns.bin_count(column) * (k + 1));
        slices.push(head);
        rest = tail;
    }
    slices
        .into_par_iter()
        .enumerate()
        .for_each(|(column, into)| {
            let codes = columns.codes(column);
            for &row in subset {
                let row = row as usize;
                let start = usize::from(codes[row]) * (k + 1);
                let cell = &mut into[start..=start + k];
                for (sum, &message) in cell.iter_mut().zip(&messages[row * k..(row + 1) * k]) {
                    *sum += i64::from(message);
                }
                cell[k] += 1;
            }
        });
    sums
}
