//! Shallow trees as heaps: the directions that a tree looks at are gathered into one word, bit h for the node with
//! children 2 h and 2 h + 1, so that a step down looks at nothing but that word.

use std::ops::Range;

/// Levels at most: the inner nodes of so many are numbered from 1 to 63.
const DEEPEST: u32 = 6;
/// Rows that go down side by side.
const LANES: usize = 8;
/// Bytes that are read at once, also behind the last one that counts.
pub const BEYOND: usize = size_of::<u64>();

/// A tree in which every owner's splits follow one another, in the order of the heap.
pub struct Heap {
    depth: u32,
    pieces: Vec<Piece>,
    /// Of the leaves, by their place among the nodes of the last level; of one above it, by the last place under it.
    values: Vec<f64>,
}

/// The directions at one owner's splits.
struct Piece {
    /// Where a row's begin: in which byte, and in which of its bits.
    bytes: Range<usize>,
    bit: u32,
    /// The nodes that they decide.
    places: u64,
}

impl Heap {
    /// - `nodes`: of each the owner, the split and the left child, which comes later; left child 0 for a leaf.
    /// - `values`: of each leaf.
    /// - `firsts`: for each owner the first of its bits among a row's directions.
    ///
    /// None where the tree is too deep, or its splits are in another order. The nodes make a tree.
    #[must_use]
    pub fn of(nodes: &[[u32; 3]], values: &[f64], firsts: &[u32]) -> Option<Self> {
        let mut places = vec![1u64; nodes.len()];
        let mut splits = vec![vec![]; firsts.len()];
        let mut leaves = vec![];
        for (number, &[owner, split, left]) in nodes.iter().enumerate() {
            let place = places[number];
            if left == 0 {
                leaves.push((place, values[number]));
                continue;
            }
            if place >= 1 << DEEPEST {
                return None;
            }
            places[left as usize] = 2 * place;
            places[left as usize + 1] = 2 * place + 1;
            splits[owner as usize].push((split, place));
        }
        let depth = leaves.iter().map(|(place, _)| place.ilog2()).max()?;
        let mut found = vec![0.0; 1 << depth];
        for (place, value) in leaves {
            let under = depth - place.ilog2();
            let last = ((place + 1) << under) - 1;
            found[last as usize - (1 << depth)] = value;
        }
        let pieces = splits.iter().zip(firsts).filter(|(own, _)| !own.is_empty());
        Some(Self {
            depth,
            pieces: pieces
                .map(|(own, &first)| Piece::of(own, first))
                .collect::<Option<_>>()?,
            values: found,
        })
    }

    /// Adds the values of the leaves where rows end. Bit b of a row is bit b mod 8 of its byte b div 8; rows are `stride`
    /// bytes apart, and behind the last one there are `BEYOND` more.
    ///
    /// False, and nothing is added, where the processor lacks the instructions.
    #[must_use]
    pub fn add(&self, bits: &[u8], stride: usize, margins: &mut [f64]) -> bool {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi2") {
            // SAFETY: the processor was asked.
            unsafe { self.add_all(bits, stride, margins) };
            return true;
        }
        let _ = (bits, stride, margins);
        false
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi1,bmi2")]
    fn add_all(&self, bits: &[u8], stride: usize, margins: &mut [f64]) {
        let (groups, rest) = margins.as_chunks_mut::<LANES>();
        let begin = groups.len() * LANES;
        for (group, margins) in groups.iter_mut().enumerate() {
            self.add_some(&bits[group * LANES * stride..], stride, margins);
        }
        for (row, margin) in rest.iter_mut().enumerate() {
            self.add_some(
                &bits[(begin + row) * stride..],
                stride,
                std::array::from_mut(margin),
            );
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi1,bmi2")]
    fn add_some<const N: usize>(&self, bits: &[u8], stride: usize, margins: &mut [f64; N]) {
        let mut words = [0; N];
        for piece in &self.pieces {
            for (lane, word) in words.iter_mut().enumerate() {
                *word |= piece.read(&bits[lane * stride..]);
            }
        }
        let mut at = [1u64; N];
        for _ in 0..self.depth {
            for (at, word) in at.iter_mut().zip(&words) {
                *at = 2 * *at + 1 - (word >> (*at & 63) & 1);
            }
        }
        for (margin, at) in margins.iter_mut().zip(at) {
            *margin += self.values[at as usize & (self.values.len() - 1)];
        }
    }
}

impl Piece {
    /// Of splits and the nodes that they decide.
    fn of(own: &[(u32, u64)], first: u32) -> Option<Self> {
        let mut own = own.to_vec();
        own.sort_unstable();
        let follow = |pair: &[(u32, u64)]| pair[1].0 == pair[0].0 + 1 && pair[1].1 > pair[0].1;
        let bit = first + own[0].0;
        let byte = (bit / 8) as usize;
        let fits = bit as usize % 8 + own.len() <= u64::BITS as usize;
        (fits && own.windows(2).all(follow)).then(|| Self {
            bytes: byte..byte + BEYOND,
            bit: bit % 8,
            places: own.iter().map(|(_, place)| 1 << place).sum(),
        })
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "bmi2")]
    #[inline]
    fn read(&self, row: &[u8]) -> u64 {
        let mut bytes = [0; BEYOND];
        bytes.copy_from_slice(&row[self.bytes.clone()]);
        std::arch::x86_64::_pdep_u64(u64::from_le_bytes(bytes) >> self.bit, self.places)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Noise(u64);

    impl Noise {
        fn below(&mut self, bound: usize) -> usize {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (self.0 >> 33) as usize % bound
        }
    }

    /// A tree grown level by level; the owners' next splits are numbered on.
    fn grown(noise: &mut Noise, depth: usize, next: &mut [u32]) -> Vec<[u32; 3]> {
        let mut nodes = vec![[0; 3]];
        let mut level = vec![0];
        for _ in 0..depth {
            let mut below = vec![];
            for node in level {
                if noise.below(4) == 0 {
                    continue;
                }
                let owner = noise.below(next.len());
                let left = nodes.len();
                nodes[node] = [owner as u32, next[owner], left as u32];
                next[owner] += 1;
                nodes.extend([[0; 3]; 2]);
                below.extend([left, left + 1]);
            }
            level = below;
        }
        nodes
    }

    fn end(nodes: &[[u32; 3]], firsts: &[u32], row: &[u8]) -> usize {
        let mut at = 0;
        while nodes[at][2] != 0 {
            let bit = firsts[nodes[at][0] as usize] + nodes[at][1];
            let left = row[bit as usize / 8] >> (bit % 8) & 1 == 1;
            at = nodes[at][2] as usize + usize::from(!left);
        }
        at
    }

    #[test]
    fn rows_end_where_they_end_going_from_node_to_node() {
        let mut noise = Noise(8);
        for (owners, rows) in [(1, 1), (2, 8), (3, 100)] {
            let firsts: Vec<u32> = (0..owners).map(|owner| owner * 2000).collect();
            let mut next = vec![0; owners as usize];
            let stride = 251 * owners as usize;
            let mut bits = || (noise.below(256)) as u8;
            let bits: Vec<u8> = (0..rows * stride + BEYOND).map(|_| bits()).collect();
            for number in 0..60 {
                let nodes = grown(&mut noise, number % 7, &mut next);
                let values: Vec<f64> = nodes.iter().map(|_| noise.below(1 << 30) as f64).collect();
                let heap = Heap::of(&nodes, &values, &firsts).unwrap();
                let mut margins = vec![0.5; rows];
                if !heap.add(&bits, stride, &mut margins) {
                    return; // another processor
                }
                for (row, margin) in bits.chunks(stride).zip(margins) {
                    let wanted = 0.5 + values[end(&nodes, &firsts, row)];
                    assert_eq!(margin.to_bits(), wanted.to_bits(), "tree {number}");
                }
            }
        }
    }

    #[test]
    fn a_tree_in_another_order_is_left_alone() {
        let values = [0.0; 7];
        let tree = |splits: [u32; 3]| {
            let [root, left, right] = splits;
            let leaf = [0; 3];
            [
                [0, root, 1],
                [0, left, 3],
                [0, right, 5],
                leaf,
                leaf,
                leaf,
                leaf,
            ]
        };
        assert!(Heap::of(&tree([4, 5, 6]), &values, &[0]).is_some());
        for splits in [[5, 4, 6], [4, 6, 7], [4, 4, 5], [4, 6, 5]] {
            assert!(
                Heap::of(&tree(splits), &values, &[0]).is_none(),
                "{splits:?}"
            );
        }
        let deep: Vec<[u32; 3]> = (0..15)
            .map(|i| [0, i / 2, if i % 2 == 0 && i < 14 { i + 1 } else { 0 }])
            .collect();
        assert!(Heap::of(&deep, &[0.0; 15], &[0]).is_none());
    }
}
