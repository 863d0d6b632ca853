//! The root of a Merkle tree over hashes of leaves (RFC 6962, section 2.1).
//!
//! A tree is split at the largest power of two below its size; so pairs can be hashed level by level, and a node that
//! stays without a neighbour goes up as it is.

use sha2::{Digest, Sha256};

use crate::fault::Fault;
use crate::threads;

pub type Hash = [u8; 32];

/// Leaves of the subtrees that a thread takes at once: a power of two, so that they are nodes of the tree.
const TASK: usize = 1 << 12;

/// The root; of no leaves, the hash of nothing.
///
/// # Errors
/// `Input` if the number of threads is none.
pub fn root(leaves: &[Hash], threads: usize) -> Result<Hash, Fault> {
    let mut nodes = vec![[0; 32]; leaves.len().div_ceil(TASK).max(1)];
    let tasks = nodes.iter_mut().zip(leaves.chunks(TASK)).collect();
    threads::each(threads, tasks, |(node, leaves)| *node = folded(leaves))?;
    Ok(match leaves {
        [] => Sha256::digest([]).into(),
        _ => folded(&nodes),
    })
}

/// The root over one or more nodes of one level.
fn folded(nodes: &[Hash]) -> Hash {
    let mut level = nodes.to_vec();
    while level.len() > 1 {
        let count = level.len();
        for i in 0..count / 2 {
            level[i] = pair(&level[2 * i], &level[2 * i + 1]);
        }
        if count % 2 == 1 {
            level[count / 2] = level[count - 1];
        }
        level.truncate(count.div_ceil(2));
    }
    level[0]
}

fn pair(left: &Hash, right: &Hash) -> Hash {
    let mut text = [1; 65];
    text[1..33].copy_from_slice(left);
    text[33..].copy_from_slice(right);
    Sha256::digest(text).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the RFC says it.
    fn defined(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Sha256::digest([]).into(),
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                pair(&defined(left), &defined(right))
            }
        }
    }

    #[test]
    fn the_root_is_that_of_the_rfc() {
        let leaves: Vec<Hash> = (0..20_000u64)
            .map(|i| Sha256::digest(i.to_le_bytes()).into())
            .collect();
        let sizes = (0..70).chain([4095, 4096, 4097, 8191, 8193, 12_289, 20_000]);
        for size in sizes {
            for threads in [1, 2] {
                let found = root(&leaves[..size], threads).unwrap();
                assert_eq!(found, defined(&leaves[..size]), "{size} on {threads}");
            }
        }
        assert!(root(&leaves, 0).is_err());
    }
}
