//! Which way rows go at an owner's splits, as packed bits row after row.

use crate::fault::Fault;
use crate::threads;

/// Every code that a byte can be.
const CODES: usize = 256;
/// The codes that go left at a split: code c is bit c mod 8 of byte c div 8.
pub type Left = [u8; CODES / 8];

/// Rows from which on tables pay that give a column's bits for many splits at once.
const MANY: usize = 512;
/// Splits whose bits make one entry of a table: as many as the registers hold while columns are gone through.
const PIECE: usize = 1024;
/// Rows that a thread takes at once.
const TASK: usize = 4096;
/// Rows whose codes are turned from columns to rows at once.
const BLOCK: usize = 64;

type Entry = [u64; PIECE / 64];

/// What an owner's splits test, beside the codes of its columns.
pub struct Splits<'a> {
    codes: &'a [u8],
    rows: usize,
    columns: &'a [u32],
    left: &'a [Left],
}

impl<'a> Splits<'a> {
    /// `codes` are of so many rows, column after column.
    ///
    /// # Errors
    /// `Input` if a split tests a column that is not there.
    pub fn checked(
        codes: &'a [u8],
        (count, rows): (usize, usize),
        columns: &'a [u32],
        left: &'a [Left],
    ) -> Result<Self, Fault> {
        if let Some(split) = columns.iter().position(|&c| c as usize >= count) {
            return Err(Fault::Input(format!(
                "columns: expected columns below {count}, got {} at split {split}",
                columns[split]
            )));
        }
        Ok(Self {
            codes,
            rows,
            columns,
            left,
        })
    }

    /// Bytes of a row's directions.
    #[must_use]
    pub fn width(&self) -> usize {
        self.columns.len().div_ceil(8)
    }

    /// For each row a bit per split, split s in bit s mod 8 of byte s div 8: whether the row goes left.
    ///
    /// # Errors
    /// `Input` if a row is not there, or the number of threads is none.
    pub fn directions(&self, rows: &[i64], threads: usize) -> Result<Vec<u8>, Fault> {
        if let Some(position) = rows
            .iter()
            .position(|&row| !usize::try_from(row).is_ok_and(|row| row < self.rows))
        {
            return Err(Fault::Input(format!(
                "rows: expected rows of 0 to below {}, got {} at position {position}",
                self.rows, rows[position]
            )));
        }
        let width = self.width();
        let mut packed = vec![0; rows.len() * width];
        if rows.len() < MANY || width == 0 {
            let all = vec![packed.as_mut_slice()];
            threads::each(threads, all, |packed| self.test(rows, packed))?;
            return Ok(packed);
        }
        for first in (0..self.columns.len()).step_by(PIECE) {
            let table = Table::new(self, first);
            let tasks = rows.chunks(TASK).zip(packed.chunks_mut(TASK * width));
            threads::each(threads, tasks.collect(), |(rows, packed)| {
                table.fill(rows, width, packed);
            })?;
        }
        Ok(packed)
    }

    fn column(&self, column: u32) -> &'a [u8] {
        &self.codes[column as usize * self.rows..][..self.rows]
    }

    /// Split after split.
    fn test(&self, rows: &[i64], packed: &mut [u8]) {
        if packed.is_empty() {
            return;
        }
        for (&row, packed) in rows.iter().zip(packed.chunks_exact_mut(self.width())) {
            let eights = self.columns.chunks(8).zip(self.left.chunks(8));
            for (byte, (columns, left)) in packed.iter_mut().zip(eights) {
                for (bit, (&column, left)) in columns.iter().zip(left).enumerate() {
                    let code = self.codes[column as usize * self.rows + row as usize];
                    *byte |= (left[usize::from(code / 8)] >> (code % 8) & 1) << bit;
                }
            }
        }
    }
}

/// For some splits that follow one another, the directions that each code of each column gives.
struct Table<'a> {
    /// Where in a row's bytes they begin, and how many bytes they take.
    place: (usize, usize),
    /// The codes of the columns that these splits test.
    columns: Vec<&'a [u8]>,
    /// For each of these columns the entries of its codes; at the splits of other columns they are empty.
    entries: Vec<[Entry; CODES]>,
}

impl<'a> Table<'a> {
    fn new(splits: &Splits<'a>, first: usize) -> Self {
        let last = splits.columns.len().min(first + PIECE);
        let (tested, left) = (&splits.columns[first..last], &splits.left[first..last]);
        let mut numbers = tested.to_vec();
        numbers.sort_unstable();
        numbers.dedup();
        let mut entries = vec![[[0; PIECE / 64]; CODES]; numbers.len()];
        for (s, (column, left)) in tested.iter().zip(left).enumerate() {
            let at = numbers.partition_point(|number| number < column);
            for (code, entry) in entries[at].iter_mut().enumerate() {
                entry[s / 64] |= u64::from(left[code / 8] >> (code % 8) & 1) << (s % 64);
            }
        }
        Self {
            place: (first / 8, tested.len().div_ceil(8)),
            columns: numbers.iter().map(|&c| splits.column(c)).collect(),
            entries,
        }
    }

    fn fill(&self, rows: &[i64], width: usize, packed: &mut [u8]) {
        let (start, length) = self.place;
        let count = self.columns.len();
        let mut codes = vec![0; BLOCK * count];
        let blocks = rows.chunks(BLOCK).zip(packed.chunks_mut(BLOCK * width));
        for (rows, packed) in blocks {
            for (at, column) in self.columns.iter().enumerate() {
                for (&row, codes) in rows.iter().zip(codes.chunks_exact_mut(count)) {
                    codes[at] = column[row as usize];
                }
            }
            let lines = codes.chunks_exact(count);
            for (codes, packed) in lines.zip(packed.chunks_exact_mut(width)) {
                let bits = self.sum(codes).map(u64::to_le_bytes);
                packed[start..start + length].copy_from_slice(&bits.as_flattened()[..length]);
            }
        }
    }

    #[inline(always)]
    fn sum(&self, codes: &[u8]) -> Entry {
        let mut sum = [0; PIECE / 64];
        for (&code, entries) in codes.iter().zip(&self.entries) {
            for (word, more) in sum.iter_mut().zip(&entries[usize::from(code)]) {
                *word |= more;
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(count: usize, seed: u64) -> Vec<u8> {
        let mut state = seed;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 40) as u8
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn a_bit_says_whether_the_code_is_among_those_that_go_left() {
        for (count, n, s, m) in [
            (1, 1, 1, 1),
            (3, 50, 9, 7),
            (5, 700, 511, 511),
            (5, 700, 1025, 512),
            (40, 9000, 2070, 8999),
            (2, 5, 0, 3),
        ] {
            let codes = noise(count * n, 1);
            let columns: Vec<u32> = noise(s, 2)
                .iter()
                .map(|&b| u32::from(b) % count as u32)
                .collect();
            let left = noise(32 * s, 3).as_chunks::<32>().0.to_vec();
            let rows: Vec<i64> = (0..m as i64).map(|i| i * 31 % n as i64).collect();
            let splits = Splits::checked(&codes, (count, n), &columns, &left).unwrap();
            let mut wanted = vec![0u8; m * s.div_ceil(8)];
            for (i, &row) in rows.iter().enumerate() {
                for split in 0..s {
                    let code = codes[columns[split] as usize * n + row as usize];
                    let bit = left[split][usize::from(code / 8)] >> (code % 8) & 1;
                    wanted[i * s.div_ceil(8) + split / 8] |= bit << (split % 8);
                }
            }
            for threads in [1, 2] {
                let found = splits.directions(&rows, threads).unwrap();
                assert_eq!(found, wanted, "{count} {n} {s} {m} on {threads}");
            }
        }
    }

    #[test]
    fn rows_and_columns_that_are_not_there_are_refused() {
        let (codes, left) = ([0; 6], [[0; 32]]);
        assert!(Splits::checked(&codes, (2, 3), &[2], &left).is_err());
        let splits = Splits::checked(&codes, (2, 3), &[1], &left).unwrap();
        for row in [-1, 3, i64::MAX, i64::MIN] {
            assert!(splits.directions(&[0, row], 1).is_err());
        }
        assert!(splits.directions(&[0], 0).is_err());
    }
}
