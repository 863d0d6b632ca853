//! Encrypted histograms: per column and bin the sum of the ciphertexts that fall into it.
//!
//! With many rows two columns are counted together, in buckets for every pair of their bins: one addition per row
//! instead of two, and a few per bucket afterwards to get either column's sums.

use rayon::prelude::*;

use crate::bins::BinnedColumns;
use crate::ciphertexts::Ciphertexts;
use crate::curve::buckets::{BucketSums, Half, RowPoints, Slot};
use crate::curve::point::Point8;
use crate::fault::Fault;
use crate::kernels::{Kernels, current};
use crate::sums::EncryptedSums;

/// Bytes of buckets a task works on, so that they stay in the second-level cache beside the rows that pass through.
const TASK_BYTES: usize = 1_100_000;
/// Rows per pair of bins from which counting two columns together is faster.
const ROWS_PER_JOINT_BUCKET: usize = 2;
/// The fewest rows worth a task of their own.
const FEWEST_ROWS: usize = 2048;

/// One column, or two that are counted together.
#[derive(Clone, Copy)]
struct Group {
    first: usize,
    second: Option<usize>,
}

impl Group {
    fn buckets(&self, columns: &BinnedColumns<'_>) -> usize {
        columns.bin_count(self.first) * self.second.map_or(1, |c| columns.bin_count(c))
    }
}

/// The sums of one column, eight bins a block, one list per point of a ciphertext.
struct ColumnSums {
    column: usize,
    planes: Vec<Vec<Point8>>,
}

/// Sums the rows of `subset` per bin, column after column.
///
/// # Errors
/// `Input` if no kernels can be chosen.
pub fn encrypted(
    rows: &Ciphertexts,
    columns: &BinnedColumns<'_>,
    subset: &[u32],
) -> Result<EncryptedSums, Fault> {
    let kernels = current()?;
    let tasks = tasks(columns, subset.len(), rows.k() + 1);
    let threads = rayon::current_num_threads();
    let parts = threads
        .div_ceil(tasks.len().max(1))
        .min(subset.len().div_ceil(FEWEST_ROWS))
        .max(1);
    let share = subset.len().div_ceil(parts).max(1);
    let work: Vec<(&[Group], &[u32])> = tasks
        .iter()
        .flat_map(|groups| {
            let shares: Vec<&[u32]> = subset.chunks(share).collect();
            shares.into_iter().map(|rows| (groups.as_slice(), rows))
        })
        .collect();
    let results: Vec<Vec<ColumnSums>> = work
        .into_par_iter()
        .map(|(groups, subset)| {
            task_sums(kernels, &rows.points, rows.k() + 1, columns, groups, subset)
        })
        .collect();
    let mut sums = EncryptedSums::zero(rows.k(), columns.total_bins());
    for column in results.into_iter().flatten() {
        let (start, count) = (
            columns.offset(column.column),
            columns.bin_count(column.column),
        );
        sums.add_range(kernels, start, count, &column.planes, parts > 1);
    }
    Ok(sums)
}

/// Splits the columns among tasks whose buckets fit the cache.
fn tasks(columns: &BinnedColumns<'_>, rows: usize, width: usize) -> Vec<Vec<Group>> {
    let mut groups = Vec::new();
    let mut at = 0;
    while at < columns.len() {
        let next = (at + 1 < columns.len()).then_some(at + 1);
        let joint = Group {
            first: at,
            second: next,
        };
        if next.is_some() && rows >= ROWS_PER_JOINT_BUCKET * joint.buckets(columns) {
            groups.push(joint);
            at += 2;
        } else {
            groups.push(Group {
                first: at,
                second: None,
            });
            at += 1;
        }
    }
    let most = groups
        .len()
        .div_ceil(rayon::current_num_threads())
        .next_multiple_of(2);
    let bytes = |group: &Group| group.buckets(columns) * width * size_of::<Half>();
    let mut tasks: Vec<Vec<Group>> = Vec::new();
    let mut filled = 0;
    for group in groups {
        match tasks.last_mut() {
            Some(task) if task.len() < most && filled + bytes(&group) <= TASK_BYTES => {
                task.push(group);
                filled += bytes(&group);
            }
            _ => {
                filled = bytes(&group);
                tasks.push(vec![group]);
            }
        }
    }
    tasks
}

fn task_sums(
    kernels: &dyn Kernels,
    rows: &RowPoints,
    width: usize,
    columns: &BinnedColumns<'_>,
    groups: &[Group],
    subset: &[u32],
) -> Vec<ColumnSums> {
    let mut base = 0;
    let mut slots = Vec::with_capacity(groups.len());
    for group in groups {
        slots.push(Slot {
            base,
            first: columns.codes(group.first),
            second: group
                .second
                .map(|c| (columns.codes(c), columns.bin_count(group.first))),
        });
        base += group.buckets(columns);
    }
    let mut sums = BucketSums::empty(base, rows);
    kernels.accumulate(rows, subset, &slots, &mut sums);
    let mut out = Vec::with_capacity(2 * groups.len());
    for (group, slot) in groups.iter().zip(&slots) {
        let first = columns.bin_count(group.first);
        let Some(column) = group.second else {
            out.push(ColumnSums {
                column: group.first,
                planes: planes(kernels, &sums, width, slot.base, first),
            });
            continue;
        };
        let second = columns.bin_count(column);
        let mut either = BucketSums::empty(first + second, rows);
        kernels.marginals(&sums, slot.base, (first, second), &mut either);
        out.push(ColumnSums {
            column: group.first,
            planes: planes(kernels, &either, width, 0, first),
        });
        out.push(ColumnSums {
            column,
            planes: planes(kernels, &either, width, first, second),
        });
    }
    out
}

/// `count` buckets from `base` on in extended coordinates, one list per point.
fn planes(
    kernels: &dyn Kernels,
    sums: &BucketSums,
    width: usize,
    base: usize,
    count: usize,
) -> Vec<Vec<Point8>> {
    (0..width)
        .map(|j| {
            let mut halves = vec![[Half::IDENTITY; 8]; count.div_ceil(8)];
            for (bin, half) in halves.as_flattened_mut()[..count].iter_mut().enumerate() {
                *half = sums.point(base + bin, j);
            }
            let mut points = vec![Point8::identity(); halves.len()];
            kernels.extended(&halves, &mut points);
            points
        })
        .collect()
}
