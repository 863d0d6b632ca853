//! Histograms of plaintext messages, for the columns of whoever holds the gradients.
//!
//! Where the messages are small, a row's messages and its count share one word, so that a bin is one addition:
//! fields are as wide as the sums of `STRETCH` rows need, and are emptied into wide sums after each stretch.

use rayon::prelude::*;

use crate::bins::BinnedColumns;
use crate::fault::Fault;

/// Rows that are added up before the fields are emptied; their number needs `STRETCH_BITS + 1` bits.
const STRETCH: usize = 1 << STRETCH_BITS;
const STRETCH_BITS: u32 = 14;
/// Codes are one byte.
const CODES: usize = 256;

/// Per column and bin the sums of the k messages, then the row count: `[bins of all columns][k + 1]`.
///
/// # Errors
/// `Input` if a code is not below the bin count of its column.
pub fn histogram(
    columns: &BinnedColumns<'_>,
    messages: &[i32],
    k: usize,
    subset: &[u32],
) -> Result<Vec<i64>, Fault> {
    let mut sums = vec![0i64; columns.total_bins() * (k + 1)];
    let mut slices = Vec::with_capacity(columns.len());
    let mut rest = sums.as_mut_slice();
    for column in 0..columns.len() {
        let (head, tail) = rest.split_at_mut(columns.bin_count(column) * (k + 1));
        slices.push(head);
        rest = tail;
    }
    let packing = Packing::of(messages, k, subset);
    let words = packing
        .as_ref()
        .map(|packing| packing.pack(messages, k, subset));
    slices
        .into_par_iter()
        .enumerate()
        .try_for_each(|(column, into)| match (&packing, &words) {
            (Some(packing), Some(words)) => {
                packed(columns, column, (packing, words), k, subset, into)
            }
            _ => plainly(columns, column, messages, k, subset, into),
        })?;
    Ok(sums)
}

/// How the messages of a row and its count of one share a word: the count lowest, then message after message.
struct Packing {
    /// Subtracted from each message, so that fields hold no negative numbers.
    lowest: Vec<i32>,
    shifts: Vec<u32>,
    masks: Vec<u64>,
}

impl Packing {
    /// `None` if the sums of a stretch do not fit into one word.
    fn of(messages: &[i32], k: usize, subset: &[u32]) -> Option<Self> {
        let (mut lowest, mut highest) = (vec![i32::MAX; k], vec![i32::MIN; k]);
        for &row in subset {
            let row = row as usize;
            for (j, &message) in messages[row * k..(row + 1) * k].iter().enumerate() {
                lowest[j] = lowest[j].min(message);
                highest[j] = highest[j].max(message);
            }
        }
        let mut next = STRETCH_BITS + 1;
        let (mut shifts, mut masks) = (Vec::with_capacity(k), Vec::with_capacity(k));
        for (&low, &high) in lowest.iter().zip(&highest) {
            let range = u64::try_from(i64::from(high) - i64::from(low)).unwrap_or(0);
            let width = 64 - range.leading_zeros() + STRETCH_BITS;
            shifts.push(next);
            masks.push((1u64 << width.min(63)) - 1);
            next += width;
        }
        (next <= 64).then_some(Self {
            lowest,
            shifts,
            masks,
        })
    }

    fn pack(&self, messages: &[i32], k: usize, subset: &[u32]) -> Vec<u64> {
        subset
            .par_iter()
            .with_min_len(STRETCH)
            .map(|&row| {
                let row = row as usize;
                let fields = messages[row * k..(row + 1) * k].iter().enumerate();
                fields.fold(1, |word, (j, &message)| {
                    let above = i64::from(message) - i64::from(self.lowest[j]);
                    word | (above.unsigned_abs() << self.shifts[j])
                })
            })
            .collect()
    }

    fn empty(&self, word: u64, k: usize, cell: &mut [i64]) {
        let count = (word & ((1 << (STRETCH_BITS + 1)) - 1)).cast_signed();
        for (j, sum) in cell.iter_mut().enumerate().take(k) {
            let above = ((word >> self.shifts[j]) & self.masks[j]).cast_signed();
            *sum += above + i64::from(self.lowest[j]) * count;
        }
        cell[k] += count;
    }
}

fn packed(
    columns: &BinnedColumns<'_>,
    column: usize,
    (packing, words): (&Packing, &[u64]),
    k: usize,
    subset: &[u32],
    into: &mut [i64],
) -> Result<(), Fault> {
    let codes = columns.codes(column);
    for (rows, words) in subset.chunks(STRETCH).zip(words.chunks(STRETCH)) {
        let mut bins = [0u64; CODES];
        for (&row, &word) in rows.iter().zip(words) {
            bins[usize::from(codes[row as usize])] += word;
        }
        if bins[columns.bin_count(column)..]
            .iter()
            .any(|&word| word != 0)
        {
            return columns.check_codes(column, subset);
        }
        for (bin, cell) in into.chunks_exact_mut(k + 1).enumerate() {
            packing.empty(bins[bin], k, cell);
        }
    }
    Ok(())
}

fn plainly(
    columns: &BinnedColumns<'_>,
    column: usize,
    messages: &[i32],
    k: usize,
    subset: &[u32],
    into: &mut [i64],
) -> Result<(), Fault> {
    columns.check_codes(column, subset)?;
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
    Ok(())
}
