//! The asking party's side of the oblivious function: it learns the digests of its identifiers.

use rayon::prelude::*;
use zeroize::{Zeroize, Zeroizing};

use crate::check::{COMBINATIONS, combined};
use crate::code::{Code, Row, Value};
use crate::fault::Fault;
use crate::identifiers::{Identifiers, Name, PairHashes};
use crate::randomness::seeded_bytes;
use crate::rows::{Kept, Streams, in_spans};
use crate::store::{Layout, Place, Reader, solve};
use crate::transfer::Key;

/// The bytes of a digest.
pub type Short = [u8; 16];
/// Sums of rows and of values.
pub type Answer = (Vec<Row>, Vec<Value>);

/// Identifiers that a thread takes at once.
pub const BATCH: usize = 64;

/// The store of the identifiers' values, and the rows that hide it.
pub struct Asker {
    hashes: PairHashes,
    layout: Layout,
    values: Zeroizing<Vec<Value>>,
    keys: [Zeroizing<Vec<Key>>; 2],
    rows: Kept,
}

/// The rows that `count` identifiers make, those that mask the answer included.
///
/// # Errors
/// `Input` for more identifiers than a store takes.
pub fn rows_for(count: usize) -> Result<usize, Fault> {
    Ok(Layout::of(count)?.cells() + COMBINATIONS)
}

impl Asker {
    /// Nothing if there is no store of these identifiers under this pair's hashes.
    ///
    /// # Errors
    /// `Memory` if there is no room for the rows; `Input` for too many identifiers.
    pub fn new(
        ids: Identifiers<'_>,
        pair: &[u8; 32],
        keys: &[Zeroizing<Vec<Key>>; 2],
        seed: &[u8; 32],
    ) -> Result<Option<Self>, Fault> {
        let layout = Layout::of(ids.len())?;
        let rows = Kept::reserve(rows_for(ids.len())?)?;
        let hashes = PairHashes::new(pair);
        let hashed = (0..ids.len()).into_par_iter().map(|i| {
            let name = hashes.name(ids.get(i));
            (hashes.place(&layout, &name), hashes.value(&name))
        });
        let (places, mut wanted): (Vec<Place>, Vec<Value>) = hashed.unzip();
        let solved = solve(&layout, &places, &wanted);
        wanted.zeroize();
        let Some(cells) = solved else {
            return Ok(None);
        };
        let mut values = Zeroizing::new(Vec::with_capacity(cells.len() + COMBINATIONS));
        values.extend_from_slice(&cells);
        values.extend_from_slice(&masks(seed));
        Ok(Some(Self {
            hashes,
            layout,
            values,
            keys: keys.clone(),
            rows,
        }))
    }

    /// The next `count` rows for the other party: T + T′ + C(value), of which T is kept.
    ///
    /// # Errors
    /// `Input` if they are not the next, or go beyond the last.
    pub fn masked(&mut self, first: usize, count: usize) -> Result<Vec<Row>, Fault> {
        let kept = self.rows.next(first, count)?;
        let mut masked = vec![Row::default(); count];
        let ([zeros, ones], values, code) = (&self.keys, &self.values, Code::get());
        in_spans(first, kept, &mut masked, |at, kept, masked| {
            let mut streams = Streams::of(zeros, at, kept.len());
            streams.each(|i, row| kept[i] = *row);
            streams.add(ones);
            streams.each(|i, row| {
                masked[i] = *row;
                code.add_word(values[at + i], &mut masked[i]);
            });
        });
        Ok(masked)
    }

    /// The sums that a challenge asks for; forgets the values and the keys.
    ///
    /// # Errors
    /// `Input` before all rows are made, or when it was answered before.
    pub fn answer(&mut self, challenge: &[u8; 32]) -> Result<Answer, Fault> {
        let rows = self.rows.all()?;
        if self.values.is_empty() {
            return Err(Fault::Input(
                "challenge: one was answered before; a second answer would tell values".into(),
            ));
        }
        let sums = (combined(challenge, rows), combined(challenge, &self.values));
        self.values = Zeroizing::default();
        self.keys = Default::default();
        Ok(sums)
    }

    /// The digests of identifiers; right for those in the store only.
    ///
    /// # Errors
    /// `Input` before all rows are made.
    pub fn digests(&self, ids: Identifiers<'_>) -> Result<Vec<Short>, Fault> {
        digests(&self.hashes, &self.layout, self.rows.all()?, ids, |_, _| ())
    }
}

/// The values of the rows that mask an answer: uniform.
fn masks(seed: &[u8; 32]) -> Zeroizing<Vec<Value>> {
    let mut bytes = Zeroizing::new(vec![0u8; 16 * COMBINATIONS]);
    seeded_bytes("parley/alignment-mask/v1", seed, &mut bytes);
    let words = |chunk: &[u8; 16]| {
        let [low, high] = [0, 8].map(|at| chunk[at..at + 8].try_into().unwrap_or_default());
        Value::from_bits([u64::from_le_bytes(low), u64::from_le_bytes(high)])
    };
    Zeroizing::new(bytes.as_chunks::<16>().0.iter().map(words).collect())
}

/// The digest of every identifier and the sum of the rows at its place, to which `add` may add; of at most `BATCH` in
/// this thread.
pub fn digests(
    hashes: &PairHashes,
    layout: &Layout,
    rows: &[Row],
    ids: Identifiers<'_>,
    add: impl Fn(&Name, &mut Row) + Sync,
) -> Result<Vec<Short>, Fault> {
    let reader = Reader::new(layout, rows);
    let mut out = vec![[0; 16]; ids.len()];
    let each = |(b, out): (usize, &mut [Short])| {
        let names: Vec<Name> = (BATCH * b..BATCH * b + out.len())
            .map(|i| hashes.name(ids.get(i)))
            .collect();
        // All reads of a batch before its hashes, so that one need not wait for the memory of the other.
        let mut sums: Vec<Row> = names
            .iter()
            .map(|name| reader.read(&hashes.place(layout, name)))
            .collect();
        for ((name, sum), out) in names.iter().zip(&mut sums).zip(out) {
            add(name, sum);
            *out = hashes.digest(name, sum);
        }
        sums.as_flattened_mut().zeroize();
    };
    if out.len() <= BATCH {
        each((0, &mut out));
    } else {
        out.par_chunks_mut(BATCH).enumerate().for_each(each);
    }
    Ok(out)
}
