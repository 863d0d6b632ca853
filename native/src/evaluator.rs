//! The evaluating party's side of the oblivious function: it computes the digest of any identifier, and learns nothing
//! of those that are asked for.

use crate::asker::{Answer, Short, digests, rows_for};
use crate::check::combined;
use crate::code::{Code, Row};
use crate::fault::Fault;
use crate::identifiers::{Identifiers, PairHashes};
use crate::points::Encoding;
use crate::rows::{Kept, Streams, in_spans};
use crate::store::Layout;
use crate::transfer::{Key, Taker};
use zeroize::{Zeroize, Zeroizing};

/// Q = T + s∧C(value), row by row.
pub struct Evaluator {
    hashes: PairHashes,
    layout: Layout,
    secret: Zeroizing<Row>,
    /// C(value) ∧ s.
    code: Code,
    keys: Zeroizing<Vec<Key>>,
    rows: Kept,
}

impl Evaluator {
    /// For `count` identifiers of the asker, whose point opens the keys.
    ///
    /// # Errors
    /// `Decode` or `Input` for a point that is none or neutral; `Memory` if there is no room for the rows; `Input`
    /// for too many identifiers.
    pub fn new(
        taker: &Taker,
        point: &Encoding,
        tag: &[u8; 32],
        pair: &[u8; 32],
        count: usize,
    ) -> Result<Self, Fault> {
        Ok(Self {
            hashes: PairHashes::new(pair),
            layout: Layout::of(count)?,
            secret: Zeroizing::new(*taker.bits()),
            code: Code::masked(taker.bits()),
            keys: taker.take(point, tag)?,
            rows: Kept::reserve(rows_for(count)?)?,
        })
    }

    /// Takes the next rows.
    ///
    /// # Errors
    /// `Input` if they are not the next, or go beyond the last.
    pub fn take(&mut self, first: usize, masked: &mut [Row]) -> Result<(), Fault> {
        let kept = self.rows.next(first, masked.len())?;
        let (keys, secret) = (&self.keys, &self.secret);
        in_spans(first, kept, masked, |at, kept, masked| {
            Streams::of(keys, at, kept.len()).each(|i, row| {
                for (w, word) in kept[i].iter_mut().enumerate() {
                    *word = row[w] ^ masked[i][w] & secret[w];
                }
            });
        });
        Ok(())
    }

    /// Whether the asker's rows are words of the code, as far as its answer to the challenge tells.
    ///
    /// # Errors
    /// `Input` before all rows have come.
    pub fn agrees(&self, challenge: &[u8; 32], answer: &Answer) -> Result<bool, Fault> {
        let mut sums = combined(challenge, self.rows.all()?);
        let mut difference = (sums.len() ^ answer.0.len() | sums.len() ^ answer.1.len()) as u64;
        for (sum, (row, value)) in sums.iter_mut().zip(answer.0.iter().zip(&answer.1)) {
            self.code.add_word(*value, sum);
            for (word, other) in sum.iter().zip(row) {
                difference |= word ^ other;
            }
        }
        sums.as_flattened_mut().zeroize();
        Ok(std::hint::black_box(difference) == 0)
    }

    /// The digests of identifiers.
    ///
    /// # Errors
    /// `Input` before all rows have come.
    pub fn digests(&self, ids: Identifiers<'_>) -> Result<Vec<Short>, Fault> {
        let rows = self.rows.all()?;
        digests(&self.hashes, &self.layout, rows, ids, |name, row| {
            self.code.add_word(self.hashes.value(name), row);
        })
    }
}
