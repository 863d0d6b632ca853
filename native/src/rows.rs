//! Rows of 572 bits whose columns are streams of bits, each under a key of its own.

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};
use rayon::prelude::*;
use zeroize::{Zeroize, Zeroizing};

use crate::code::{Row, WORDS};
use crate::fault::Fault;
use crate::transfer::Key;
use crate::transpose::{Columns, SPAN};

/// The least rows a thread takes at once: the bits of a block of the cipher in every column.
const LEAST: usize = 512;

/// Rows kept from the first on; zeroised on drop.
pub struct Kept {
    rows: Vec<Row>,
    total: usize,
}

impl Kept {
    /// Room for all of them.
    ///
    /// # Errors
    /// `Memory` if there is none.
    pub fn reserve(total: usize) -> Result<Self, Fault> {
        let mut rows = Vec::new();
        match rows.try_reserve_exact(total) {
            Ok(()) => Ok(Self { rows, total }),
            Err(_) => Err(Fault::Memory(total.saturating_mul(size_of::<Row>()))),
        }
    }

    /// All rows.
    ///
    /// # Errors
    /// `Input` if some are still missing.
    pub fn all(&self) -> Result<&[Row], Fault> {
        if self.rows.len() == self.total {
            Ok(&self.rows)
        } else {
            Err(Fault::Input(format!(
                "rows: expected all {} before, got {}",
                self.total,
                self.rows.len()
            )))
        }
    }

    /// Room for the `count` rows from `first` on, which must be the next.
    ///
    /// # Errors
    /// `Input` if they are not, or go beyond the last.
    pub fn next(&mut self, first: usize, count: usize) -> Result<&mut [Row], Fault> {
        let done = self.rows.len();
        if first != done || count > self.total - done {
            return Err(Fault::Input(format!(
                "first: expected the next of {} rows, {done}, and no row beyond the last, got {count} rows \
                 from row {first}",
                self.total
            )));
        }
        self.rows.resize(done + count, [0; WORDS]);
        Ok(&mut self.rows[done..])
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.rows.as_flattened_mut().zeroize();
    }
}

/// Cuts rows from number `first` on into tasks, with what goes with them, and runs `work` on each.
pub fn in_spans<T: Send>(
    first: usize,
    rows: &mut [Row],
    others: &mut [T],
    work: impl Fn(usize, &mut [Row], &mut [T]) + Sync,
) {
    let fair = rows.len().div_ceil(rayon::current_num_threads());
    let span = fair.next_multiple_of(LEAST).clamp(LEAST, SPAN);
    let mut tasks = Vec::with_capacity(rows.len() / span + 2);
    let (mut at, mut rows, mut others) = (first, rows, others);
    while !rows.is_empty() {
        let size = rows.len().min(span - at % span);
        let (here, later) = rows.split_at_mut(size);
        let (others_here, others_later) = others.split_at_mut(size);
        tasks.push((at, here, others_here));
        (at, rows, others) = (at + size, later, others_later);
    }
    tasks
        .into_par_iter()
        .for_each(|(at, rows, others)| work(at, rows, others));
}

/// A span of the streams of all columns.
pub struct Streams {
    columns: Columns,
    first: usize,
    count: usize,
}

impl Streams {
    /// Rows `first..first + count` of the streams under these keys; no more than `SPAN` between multiples of 64.
    #[must_use]
    pub fn of(keys: &[Key], first: usize, count: usize) -> Self {
        let columns = Columns::new();
        let mut streams = Self {
            columns,
            first,
            count,
        };
        streams.add(keys);
        streams
    }

    /// Adds the streams under other keys.
    pub fn add(&mut self, keys: &[Key]) {
        let (word, words) = self.words();
        for (column, key) in self.columns.iter_mut().zip(keys) {
            let mut cipher = ChaCha20::new(key.into(), &[0; 12].into());
            cipher.seek(8 * word as u64);
            cipher.apply_keystream(&mut column[..8 * words]);
        }
    }

    /// The words of 64 rows that the span touches: the first, and how many.
    fn words(&self) -> (usize, usize) {
        let word = self.first / 64;
        (word, (self.first + self.count).div_ceil(64) - word)
    }

    /// Hands out every row with its position in the span.
    #[inline(always)]
    pub fn each(&self, mut take: impl FnMut(usize, &Row)) {
        let (word, words) = self.words();
        let mut rows = Zeroizing::new([[0; WORDS]; 64]);
        for w in 0..words {
            self.columns.rows(w, &mut rows);
            for (row, number) in rows.iter().zip(64 * (word + w)..) {
                if let Some(at) = number.checked_sub(self.first)
                    && at < self.count
                {
                    take(at, row);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code::LENGTH;

    /// Bit by bit from the ciphers.
    #[test]
    fn rows_hold_the_bits_of_the_streams() {
        let keys: Vec<Key> = (0..LENGTH).map(|i| [(i % 251) as u8; 32]).collect();
        let more: Vec<Key> = (0..LENGTH).map(|i| [(i % 13) as u8 + 100; 32]).collect();
        let stream = |key: &Key| {
            let mut bytes = vec![0u8; 2000];
            ChaCha20::new(key.into(), &[0; 12].into()).apply_keystream(&mut bytes);
            bytes
        };
        for (first, count) in [
            (0, 1),
            (0, 512),
            (700, 13),
            (4095, 2),
            (8192, 4096),
            (63, 66),
        ] {
            let mut streams = Streams::of(&keys, first, count);
            streams.add(&more);
            let mut seen = 0;
            streams.each(|at, row| {
                assert_eq!(at, seen);
                seen += 1;
                for c in [0, 1, 63, 64, 500, LENGTH - 1] {
                    let number = first + at;
                    let [one, other] =
                        [&keys[c], &more[c]].map(|k| stream(k)[number / 8] >> (number % 8) & 1);
                    assert_eq!(row[c / 64] >> (c % 64) & 1, u64::from(one ^ other));
                }
            });
            assert_eq!(seen, count);
        }
    }

    #[test]
    fn spans_cover_all_rows_once() {
        for (first, count) in [(0, 0), (0, 5), (13, 10_000), (4096, 8192), (511, 2)] {
            let mut rows = vec![[0; WORDS]; count];
            let mut others = vec![0; count];
            in_spans(first, &mut rows, &mut others, |at, rows, others| {
                assert!(!rows.is_empty() && at % 64 + rows.len() <= SPAN);
                for (i, (row, other)) in rows.iter_mut().zip(others).enumerate() {
                    row[0] += (at + i) as u64;
                    *other += 1;
                }
            });
            assert!(
                rows.iter()
                    .enumerate()
                    .all(|(i, row)| row[0] == (first + i) as u64)
            );
            assert!(others.iter().all(|&times| times == 1));
        }
    }

    #[test]
    fn rows_are_kept_in_order_only() -> Result<(), Fault> {
        let mut kept = Kept::reserve(10)?;
        kept.next(0, 4)?;
        assert!(kept.all().is_err());
        assert!(kept.next(5, 1).is_err());
        assert!(kept.next(4, 7).is_err());
        kept.next(4, 6)?;
        assert_eq!(kept.all()?.len(), 10);
        assert!(matches!(
            Kept::reserve(usize::MAX / 80),
            Err(Fault::Memory(_))
        ));
        Ok(())
    }
}
