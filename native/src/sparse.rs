//! Changes of a sparse Merkle tree, in a store of nodes (the tree is that of `parley.ledger.sparse`, which says more).
//!
//! Bit d of a key, the most significant first, says where its path goes at depth d. An empty subtree has the hash
//! `EMPTY`; one with a single key is that key's leaf, however high it stands; any other is a node over its halves.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use sha2::{Digest, Sha256};

pub type Hash = [u8; 32];

pub const EMPTY: Hash = [0; 32];
const LEAF: &[u8] = b"\x15parley/sparse/leaf/v1";
const NODE: &[u8] = b"\x15parley/sparse/node/v1";
const VALUE: &[u8] = b"\x16parley/sparse/value/v1";
const LEAF_MARK: u8 = b'L';

/// What is stored under a hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Record {
    /// Both halves.
    Node(Hash, Hash),
    /// A key and the hash of its value.
    Leaf(Hash, Hash),
}

impl Record {
    /// The record in its stored form: both halves; or key, hash of the value, mark.
    #[must_use]
    pub fn encoded(&self) -> Vec<u8> {
        match self {
            Self::Node(left, right) => [*left, *right].concat(),
            Self::Leaf(key, value) => [&key[..], value, &[LEAF_MARK]].concat(),
        }
    }

    fn digest(&self) -> Hash {
        let (tag, first, second) = match self {
            Self::Node(left, right) => (NODE, left, right),
            Self::Leaf(key, value) => (LEAF, key, value),
        };
        let hash = Sha256::new().chain_update(tag).chain_update(first);
        hash.chain_update(second).finalize().into()
    }
}

/// Records by hash, found by eight bytes of it: they are spread already, and no one makes many alike without
/// computing 2^64 hashes.
pub type Records = HashMap<Hash, Record, BuildHasherDefault<Spread>>;

/// Takes the last eight bytes it is given for their hash.
#[derive(Default)]
pub struct Spread(u64);

impl Hasher for Spread {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.last_chunk() {
            self.0 = u64::from_le_bytes(*last);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Where records are kept, by hash.
pub trait Store {
    type Error;
    /// The record under a hash.
    ///
    /// # Errors
    /// It is missing, or is none.
    fn get(&self, digest: &Hash) -> Result<Record, Self::Error>;
}

/// No record is kept under this hash.
#[derive(Debug)]
pub struct Missing(pub Hash);

impl Store for Records {
    type Error = Missing;

    fn get(&self, digest: &Hash) -> Result<Record, Missing> {
        HashMap::get(self, digest).copied().ok_or(Missing(*digest))
    }
}

/// One batch of changes on its way into the tree: each node is visited and hashed once.
pub struct Pending<'a, S> {
    store: &'a S,
    /// Keys in ascending order, each with the hash of its new leaf, `EMPTY` to remove it.
    leaves: Vec<(Hash, Hash)>,
    pub written: Records,
}

impl<'a, S: Store> Pending<'a, S> {
    /// Changes by key: a value, or nothing to remove it. Each key comes once.
    pub fn new<'v>(store: &'a S, changes: impl Iterator<Item = (Hash, Option<&'v [u8]>)>) -> Self {
        let mut written = Records::default();
        let mut leaves: Vec<_> = changes
            .map(|(key, value)| {
                let Some(value) = value else {
                    return (key, EMPTY);
                };
                let hash = Sha256::new().chain_update(VALUE).chain_update(value);
                let record = Record::Leaf(key, hash.finalize().into());
                let digest = record.digest();
                written.insert(digest, record);
                (key, digest)
            })
            .collect();
        leaves.sort_unstable();
        Self {
            store,
            leaves,
            written,
        }
    }

    /// The root after all changes.
    ///
    /// # Errors
    /// The store's.
    pub fn applied(&mut self, root: Hash) -> Result<Hash, S::Error> {
        self.apply(root, 0, 0, self.leaves.len())
    }

    /// What the subtree `digest` becomes by changes `low` to `high` − 1, all of them inside it.
    fn apply(
        &mut self,
        digest: Hash,
        depth: usize,
        low: usize,
        high: usize,
    ) -> Result<Hash, S::Error> {
        if low == high {
            return Ok(digest);
        }
        let record = match digest {
            EMPTY => None,
            _ => Some(self.store.get(&digest)?),
        };
        let Some(Record::Node(left, right)) = record else {
            let mut leaves: Vec<_> = self.leaves[low..high].to_vec();
            if let Some(Record::Leaf(key, _)) = record
                && let Err(at) = leaves.binary_search_by_key(&key, |leaf| leaf.0)
            {
                leaves.insert(at, (key, digest));
            }
            leaves.retain(|leaf| leaf.1 != EMPTY);
            return Ok(self.build(&leaves, depth));
        };
        let middle = low + self.leaves[low..high].partition_point(|leaf| !bit(&leaf.0, depth));
        let new_left = self.apply(left, depth + 1, low, middle)?;
        let new_right = self.apply(right, depth + 1, middle, high)?;
        if (new_left, new_right) == (left, right) {
            return Ok(digest);
        }
        self.join(new_left, new_right)
    }

    /// The subtree at `depth` over these leaves, which are in order.
    fn build(&mut self, leaves: &[(Hash, Hash)], depth: usize) -> Hash {
        match leaves {
            [] => EMPTY,
            [leaf] => leaf.1,
            _ => {
                let (left, right) =
                    leaves.split_at(leaves.partition_point(|leaf| !bit(&leaf.0, depth)));
                let halves = (self.build(left, depth + 1), self.build(right, depth + 1));
                self.node(halves.0, halves.1)
            }
        }
    }

    /// The subtree of two halves; a leaf whose other half is empty takes the place of both.
    fn join(&mut self, left: Hash, right: Hash) -> Result<Hash, S::Error> {
        if left == EMPTY || right == EMPTY {
            let other = if left == EMPTY { right } else { left };
            if !matches!(self.record(&other)?, Some(Record::Node(..))) {
                return Ok(other);
            }
        }
        Ok(self.node(left, right))
    }

    fn node(&mut self, left: Hash, right: Hash) -> Hash {
        let record = Record::Node(left, right);
        let digest = record.digest();
        self.written.insert(digest, record);
        digest
    }

    fn record(&self, digest: &Hash) -> Result<Option<Record>, S::Error> {
        match self.written.get(digest) {
            _ if *digest == EMPTY => Ok(None),
            Some(record) => Ok(Some(*record)),
            None => self.store.get(digest).map(Some),
        }
    }
}

/// The nodes of `root` that the tree `kept` has not.
///
/// A leaf is not at the same depth in both trees, so a kept leaf is followed down as if it had not been raised, and a
/// leaf is looked for down the kept tree.
///
/// # Errors
/// The store's.
pub fn gone<S: Store>(store: &S, root: Hash, kept: Hash) -> Result<Vec<Hash>, S::Error> {
    let (mut found, mut pairs) = (Vec::new(), vec![(root, kept, 0)]);
    while let Some((digest, other, depth)) = pairs.pop() {
        if digest == EMPTY || digest == other {
            continue;
        }
        match store.get(&digest)? {
            Record::Leaf(key, _) => {
                if !has_leaf(store, other, &digest, &key, depth)? {
                    found.push(digest);
                }
            }
            Record::Node(left, right) => {
                found.push(digest);
                let beside = if other == EMPTY {
                    None
                } else {
                    Some(store.get(&other)?)
                };
                let (kept_left, kept_right) = match beside {
                    Some(Record::Node(left, right)) => (left, right),
                    _ => (other, other),
                };
                pairs.push((left, kept_left, depth + 1));
                pairs.push((right, kept_right, depth + 1));
            }
        }
    }
    Ok(found)
}

fn has_leaf<S: Store>(
    store: &S,
    mut digest: Hash,
    leaf: &Hash,
    key: &Hash,
    mut depth: usize,
) -> Result<bool, S::Error> {
    while digest != EMPTY && digest != *leaf {
        let Record::Node(left, right) = store.get(&digest)? else {
            break;
        };
        digest = if bit(key, depth) { right } else { left };
        depth += 1;
    }
    Ok(digest == *leaf)
}

fn bit(key: &Hash, depth: usize) -> bool {
    key[depth / 8] >> (7 - depth % 8) & 1 == 1
}
