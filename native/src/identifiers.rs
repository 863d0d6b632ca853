//! Identifiers in one text, and what is hashed of them.

use sha2::{Digest, Sha256};

use crate::code::{Row, Value, WORDS};
use crate::fault::Fault;
use crate::store::{Layout, Place};

/// Identifiers in one text: id i is `data[spans[i][0]..spans[i][1]]`.
#[derive(Clone, Copy)]
pub struct Identifiers<'a> {
    data: &'a [u8],
    spans: &'a [[u64; 2]],
}

impl<'a> Identifiers<'a> {
    /// # Errors
    /// `Input` if a span ends before it begins, or leaves the data.
    pub fn checked(data: &'a [u8], spans: &'a [[u64; 2]]) -> Result<Self, Fault> {
        let size = data.len() as u64;
        match spans
            .iter()
            .position(|&[begin, end]| begin > end || end > size)
        {
            None => Ok(Self { data, spans }),
            Some(i) => Err(Fault::Input(format!(
                "spans: expected a begin, and an end not before it, of at most {size} (the bytes in data), \
                 got {} and {} at position {i}",
                spans[i][0], spans[i][1]
            ))),
        }
    }

    #[must_use]
    pub fn get(&self, i: usize) -> &'a [u8] {
        let [begin, end] = self.spans[i].map(|at| usize::try_from(at).unwrap_or(usize::MAX));
        &self.data[begin..end]
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }
}

/// A hash of an identifier; everything else is hashed of it.
pub type Name = [u8; 32];

/// The hash functions of one pair in one run: SHA-256 over 32 bytes that name the function, 32 that name the pair,
/// and the argument. The first two are one block, taken beforehand.
pub struct PairHashes {
    name: Sha256,
    value: Sha256,
    digest: Sha256,
}

impl PairHashes {
    #[must_use]
    pub fn new(pair: &[u8; 32]) -> Self {
        Self {
            name: under("parley/alignment-name/v1", pair),
            value: under("parley/alignment-value/v1", pair),
            digest: under("parley/alignment-digest/v1", pair),
        }
    }

    #[must_use]
    pub fn name(&self, id: &[u8]) -> Name {
        self.name.clone().chain_update(id).finalize().into()
    }

    /// The value that a store of identifiers keeps: 126 bits.
    #[must_use]
    pub fn value(&self, name: &Name) -> Value {
        let whole: [u8; 32] = self.value.clone().chain_update(name).finalize().into();
        let [low, high, _, _] = words(&whole);
        Value::from_bits([low, high])
    }

    /// Where a store keeps it.
    #[must_use]
    pub fn place(&self, layout: &Layout, name: &Name) -> Place {
        layout.place(&words(name))
    }

    /// The first 16 bytes of a hash of the name and a row.
    #[must_use]
    pub fn digest(&self, name: &Name, row: &Row) -> [u8; 16] {
        let mut text = [0u8; 32 + 8 * WORDS];
        text[..32].copy_from_slice(name);
        for (chunk, word) in text[32..].as_chunks_mut::<8>().0.iter_mut().zip(row) {
            *chunk = word.to_le_bytes();
        }
        let whole: [u8; 32] = self.digest.clone().chain_update(text).finalize().into();
        let mut short = [0; 16];
        short.copy_from_slice(&whole[..16]);
        short
    }
}

/// SHA-256 that has taken a function's name, filled up with zeros to 32 bytes, and 32 bytes more.
#[must_use]
pub fn under(function: &str, pair: &[u8; 32]) -> Sha256 {
    let mut block = [0u8; 64];
    block[..function.len()].copy_from_slice(function.as_bytes());
    block[32..].copy_from_slice(pair);
    Sha256::new_with_prefix(block)
}

fn words(bytes: &[u8; 32]) -> [u64; 4] {
    let mut words = [0; 4];
    for (word, chunk) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*chunk);
    }
    words
}
