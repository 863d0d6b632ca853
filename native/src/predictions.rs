//! Hashes of answered predictions: the leaves of the tree whose root is committed.

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::fault::Fault;
use crate::identifiers::Identifiers;
use crate::merkle::Hash;
use crate::threads;

const SALT: &[u8] = b"PARLEY-PREDICTION-SALT-V1-";
const ENTRY: &[u8] = b"PARLEY-PREDICTION-ENTRY-V1-";
/// What RFC 6962 puts before the data of a leaf.
const LEAF: u8 = 0;

/// Rows that a thread takes at once.
const TASK: usize = 1024;

/// Answers: who was asked about, what the score rests on, and the margins, output after output.
pub struct Answers<'a> {
    ids: Identifiers<'a>,
    basis: &'a [u8],
    margins: &'a [f64],
    outputs: u16,
}

impl<'a> Answers<'a> {
    /// Basis and margins are of as many rows as there are identifiers.
    ///
    /// # Errors
    /// `Input` if there are more outputs, or an identifier is longer, than an entry can say.
    pub fn checked(
        ids: Identifiers<'a>,
        basis: &'a [u8],
        margins: &'a [f64],
        outputs: usize,
    ) -> Result<Self, Fault> {
        let Ok(outputs) = u16::try_from(outputs) else {
            return Err(Fault::Input(format!(
                "margins: expected at most {} outputs, got {outputs}",
                u16::MAX
            )));
        };
        if let Some(i) = (0..ids.len()).find(|&i| u32::try_from(ids.get(i).len()).is_err()) {
            return Err(Fault::Input(format!(
                "spans: expected at most {} bytes, got {} at position {i}",
                u32::MAX,
                ids.get(i).len()
            )));
        }
        Ok(Self {
            ids,
            basis,
            margins,
            outputs,
        })
    }

    /// The hash of each answer's leaf, salted by the key and its number, counted from `first`.
    ///
    /// # Errors
    /// `Input` if the number of threads is none.
    pub fn leaves(&self, key: &[u8; 32], first: u64, threads: usize) -> Result<Vec<Hash>, Fault> {
        let mut text = Zeroizing::new(SALT.to_vec());
        text.extend_from_slice(key);
        let keyed = Sha256::new_with_prefix(&*text);
        let mut leaves = vec![[0; 32]; self.ids.len()];
        let tasks = leaves.chunks_mut(TASK).enumerate().collect();
        threads::each(threads, tasks, |(task, leaves)| {
            for (i, leaf) in (task * TASK..).zip(leaves) {
                let number = first.wrapping_add(i as u64).to_be_bytes();
                let salt = keyed.clone().chain_update(number).finalize().into();
                let entry = self.entry(&salt, i);
                *leaf = Sha256::new_with_prefix([LEAF])
                    .chain_update(entry)
                    .finalize()
                    .into();
            }
        })?;
        Ok(leaves)
    }

    fn entry(&self, salt: &Hash, i: usize) -> Hash {
        let id = self.ids.get(i);
        let mut entry = Sha256::new_with_prefix(ENTRY)
            .chain_update(salt)
            .chain_update((id.len() as u32).to_be_bytes())
            .chain_update(id)
            .chain_update([self.basis[i]])
            .chain_update(self.outputs.to_be_bytes());
        for output in 0..usize::from(self.outputs) {
            entry.update(self.margins[output * self.ids.len() + i].to_be_bytes());
        }
        entry.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One text after another, as the definition has it.
    fn defined(key: &[u8; 32], number: u64, id: &[u8], basis: u8, margins: &[f64]) -> Hash {
        let salt = Sha256::digest([SALT, key, &number.to_be_bytes()].concat());
        let mut text = [ENTRY, &salt, &(id.len() as u32).to_be_bytes(), id, &[basis]].concat();
        text.extend((margins.len() as u16).to_be_bytes());
        text.extend(margins.iter().flat_map(|margin| margin.to_be_bytes()));
        Sha256::digest([&[LEAF][..], &Sha256::digest(text)].concat()).into()
    }

    #[test]
    fn leaves_are_those_of_the_definition() {
        let data: Vec<u8> = (0..=255).cycle().take(4000).collect();
        for (n, outputs) in [(0, 1), (1, 1), (5, 0), (1023, 3), (1025, 1), (2500, 2)] {
            let spans: Vec<[u64; 2]> = (0..n as u64).map(|i| [i, i + i % 150]).collect();
            let basis: Vec<u8> = (0..n).map(|i| (i % 3) as u8).collect();
            let margins: Vec<f64> = (0..n * outputs).map(|i| (i as f64 - 7.5).sin()).collect();
            let ids = Identifiers::checked(&data, &spans).unwrap();
            let answers = Answers::checked(ids, &basis, &margins, outputs).unwrap();
            for threads in [1, 2] {
                let leaves = answers.leaves(&[9; 32], 1 << 40, threads).unwrap();
                assert_eq!(leaves.len(), n);
                for (i, leaf) in leaves.iter().enumerate() {
                    let own: Vec<f64> = (0..outputs).map(|o| margins[o * n + i]).collect();
                    let number = (1 << 40) + i as u64;
                    let wanted = defined(&[9; 32], number, ids.get(i), basis[i], &own);
                    assert_eq!(*leaf, wanted, "{i} of {n}");
                }
            }
        }
    }
}
