//! Binned columns whose codes have been checked against their bin counts.

use rayon::prelude::*;

use crate::fault::Fault;

/// `columns × rows` bin codes, column after column, with what each column's codes stay below.
pub struct BinnedColumns<'a> {
    codes: &'a [u8],
    rows: usize,
    counts: &'a [u32],
    /// Where each column's bins begin in the output; one more entry, the total, at the end.
    offsets: Vec<usize>,
}

impl<'a> BinnedColumns<'a> {
    /// Checks the bin counts, and that `subset` stays below `limit` and the rows of `bins`; not the codes.
    ///
    /// # Errors
    /// `Input`, naming the argument and the first offender.
    pub fn placed(
        codes: &'a [u8],
        rows: usize,
        counts: &'a [u32],
        subset: &[u32],
        limit: usize,
    ) -> Result<Self, Fault> {
        if let Some(column) = counts.iter().position(|&c| c == 0 || c > 256) {
            return Err(Fault::Input(format!(
                "bin_counts: expected 1..=256 bins in column {column}, got {}",
                counts[column]
            )));
        }
        let limit = limit.min(rows);
        if let Some(position) = subset.iter().position(|&row| row as usize >= limit) {
            return Err(Fault::Input(format!(
                "subset: expected positions below {limit}, got {} at position {position}",
                subset[position]
            )));
        }
        let mut offsets = Vec::with_capacity(counts.len() + 1);
        let mut total = 0;
        for &count in counts {
            offsets.push(total);
            total += count as usize;
        }
        offsets.push(total);
        Ok(Self {
            codes,
            rows,
            counts,
            offsets,
        })
    }

    /// Like `placed`, and checks every code of the rows in `subset`.
    ///
    /// # Errors
    /// `Input`, naming the argument and the first offender.
    pub fn checked(
        codes: &'a [u8],
        rows: usize,
        counts: &'a [u32],
        subset: &[u32],
        limit: usize,
    ) -> Result<Self, Fault> {
        let columns = Self::placed(codes, rows, counts, subset, limit)?;
        (0..counts.len())
            .into_par_iter()
            .try_for_each(|column| columns.check_codes(column, subset))?;
        Ok(columns)
    }

    /// Checks that the codes of `subset` stay below the bin count of their column.
    ///
    /// # Errors
    /// `Input`, naming the column and the largest code.
    pub fn check_codes(&self, column: usize, subset: &[u32]) -> Result<(), Fault> {
        let count = self.counts[column];
        if count == 256 {
            return Ok(());
        }
        let codes = self.codes(column);
        let largest = subset
            .iter()
            .fold(0, |most, &row| codes[row as usize].max(most));
        if u32::from(largest) < count {
            return Ok(());
        }
        Err(Fault::Input(format!(
            "bins: expected codes below {count} in column {column}, got {largest}"
        )))
    }

    /// The number of columns.
    #[must_use]
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    #[must_use]
    pub fn bin_count(&self, column: usize) -> usize {
        self.counts[column] as usize
    }

    /// Where the column's bins begin in the output.
    #[must_use]
    pub fn offset(&self, column: usize) -> usize {
        self.offsets[column]
    }

    #[must_use]
    pub fn total_bins(&self) -> usize {
        self.offsets[self.counts.len()]
    }

    /// The codes of one column, one per row.
    #[must_use]
    pub fn codes(&self, column: usize) -> &'a [u8] {
        &self.codes[column * self.rows..(column + 1) * self.rows]
    }
}
