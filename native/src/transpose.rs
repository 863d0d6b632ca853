//! Bits in columns to bits in rows.

use crate::code::{LENGTH, Row, WORDS};

/// Rows that are turned at once: as many as bits in the block of columns that stays in a core's cache.
pub const SPAN: usize = 4096;
/// Bytes of a column of `SPAN` bits.
pub const SPAN_BYTES: usize = SPAN / 8;

/// `LENGTH` columns, filled up with empty ones, of `SPAN` bits each.
pub struct Columns(Vec<[u8; SPAN_BYTES]>);

impl Columns {
    #[must_use]
    pub fn new() -> Self {
        Self(vec![[0; SPAN_BYTES]; 64 * WORDS])
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut [u8; SPAN_BYTES]> {
        self.0[..LENGTH].iter_mut()
    }

    /// Row number 64·`word` and the 63 that follow.
    #[inline(always)]
    pub fn rows(&self, word: usize, rows: &mut [Row; 64]) {
        for (part, columns) in self.0.as_chunks::<64>().0.iter().enumerate() {
            let mut square = [0u64; 64];
            for (line, column) in square.iter_mut().zip(columns) {
                *line = u64::from_le_bytes(column.as_chunks().0[word]);
            }
            transpose(&mut square);
            for (row, line) in rows.iter_mut().zip(square) {
                row[part] = line;
            }
        }
    }
}

impl Default for Columns {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Columns {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(self.0.as_flattened_mut());
    }
}

/// Turns a square of 64 by 64 bits: halves, quarters and so on change places (Knuth 4A, section 7.1.3).
#[inline(always)]
fn transpose(square: &mut [u64; 64]) {
    let mut width = 32;
    let mut mask = u64::MAX >> 32;
    while width > 0 {
        let mut at = 0;
        while at < 64 {
            let (low, high) = square[at..at + 2 * width].split_at_mut(width);
            for (low, high) in low.iter_mut().zip(high) {
                let change = (*low >> width ^ *high) & mask;
                *high ^= change;
                *low ^= change << width;
            }
            at += 2 * width;
        }
        width /= 2;
        mask ^= mask << width;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_columns_read_across() {
        let mut columns = Columns::new();
        let mut state = 1u64;
        for column in columns.iter_mut() {
            for byte in column {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                *byte = (state >> 40) as u8;
            }
        }
        for word in [0, 1, 17, SPAN / 64 - 1] {
            let mut rows = [[0; WORDS]; 64];
            columns.rows(word, &mut rows);
            for (i, row) in rows.iter().enumerate() {
                for c in 0..64 * WORDS {
                    let bit = columns.0[c][8 * word + i / 8] >> (i % 8) & 1;
                    assert_eq!(row[c / 64] >> (c % 64) & 1, u64::from(bit));
                }
            }
        }
    }
}
