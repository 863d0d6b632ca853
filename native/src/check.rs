//! Random combinations of rows over GF(2), by which one party shows the other that its rows fit together.

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};
use rayon::prelude::*;

use crate::store::Cell;

/// How many combinations are asked for, and how many rows mask them.
pub const COMBINATIONS: usize = 64;

/// Rows that a thread takes at once.
const TASK: usize = 1 << 16;
/// Rows whose coefficients are drawn at once.
const RUN: usize = 512;

/// For every l, the sum of the rows whose coefficient l is one, and of row `rows.len() − 64 + l`. Row j has as
/// coefficients the bits of word j of a ChaCha20 stream.
pub fn combined<C: Cell + Send + Sync>(challenge: &[u8; 32], rows: &[C]) -> Vec<C> {
    let (rows, masks) = rows.split_at(rows.len().saturating_sub(COMBINATIONS));
    let buckets = rows
        .par_chunks(TASK)
        .enumerate()
        .map(|(task, rows)| gathered(challenge, task * TASK, rows))
        .reduce(empty, |mut sums, more| {
            for (sum, more) in sums.iter_mut().zip(&more) {
                sum.add(more);
            }
            sums
        });
    let mut sums = masks.to_vec();
    for (l, sum) in sums.iter_mut().enumerate() {
        for form in (0..256).filter(|form| form >> (l % 8) & 1 == 1) {
            sum.add(&buckets[256 * (l / 8) + form]);
        }
    }
    sums
}

/// For each byte of the coefficients and each of its forms, a sum.
fn empty<C: Cell>() -> Vec<C> {
    vec![C::ZERO; 256 * COMBINATIONS / 8]
}

/// Adds each row to one sum for every byte of its coefficients; the first row is number `first`.
fn gathered<C: Cell>(challenge: &[u8; 32], first: usize, rows: &[C]) -> Vec<C> {
    let mut sums = empty::<C>();
    let mut cipher = ChaCha20::new(challenge.into(), &[0; 12].into());
    cipher.seek(8 * first as u64);
    let mut stream = [0u8; 8 * RUN];
    for rows in rows.chunks(RUN) {
        stream.fill(0);
        cipher.apply_keystream(&mut stream[..8 * rows.len()]);
        for (row, coefficients) in rows.iter().zip(stream.as_chunks::<8>().0) {
            for (byte, form) in coefficients.iter().enumerate() {
                sums[256 * byte + usize::from(*form)].add(row);
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn combinations_are_sums_of_chosen_rows() {
        let rows: Vec<[u64; 2]> = (0..200_000u64)
            .map(|i| [i.wrapping_mul(0x9e37_79b9_7f4a_7c15), i * i])
            .collect();
        for count in [64, 65, 100, 1000, 70_000, 200_000] {
            let rows = &rows[..count];
            let challenge = [count as u8; 32];
            let mut stream = vec![0u8; 8 * count];
            ChaCha20::new(&challenge.into(), &[0; 12].into()).apply_keystream(&mut stream);
            let sums = combined(&challenge, rows);
            assert_eq!(sums.len(), COMBINATIONS);
            for (l, sum) in sums.iter().enumerate() {
                let mut wanted = rows[count - 64 + l];
                for (row, coefficients) in rows[..count - 64].iter().zip(stream.as_chunks::<8>().0)
                {
                    if coefficients[l / 8] >> (l % 8) & 1 == 1 {
                        wanted.add(row);
                    }
                }
                assert_eq!(*sum, wanted, "{l} of {count}");
            }
        }
    }
}
