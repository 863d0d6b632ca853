//! From directions to margins: rows walk through the trees of a forest.

use std::iter::repeat_n;
use std::ops::Range;

use crate::fault::Fault;
use crate::heap::{self, Heap};
use crate::kernels;
use crate::threads;

/// Rows that a thread takes at once.
const TASK: usize = 1024;
/// Rows whose directions lie together in a core's nearest cache.
const BLOCK: usize = 128;
/// Rows that walk through a tree side by side, so that one need not wait for the other's memory.
const LANES: usize = 8;

/// A place in a tree. A leaf is its own left child and looks at a bit that is always one, so that rows that have
/// arrived stay while others walk on.
#[derive(Clone, Copy)]
struct Node {
    /// Which of a row's directions decides.
    bit: u32,
    /// The left child; the right one is the next.
    left: u32,
}

struct Tree {
    output: usize,
    depth: u32,
    nodes: Range<usize>,
    /// The same tree where rows go through it faster so.
    heap: Option<Heap>,
}

/// Trees whose parts have been found to fit together.
pub struct Forest {
    outputs: usize,
    /// Bytes of a row's directions at each owner's splits.
    widths: Vec<usize>,
    trees: Vec<Tree>,
    nodes: Vec<Node>,
    /// What each node adds to the margin of the rows that end there.
    values: Vec<f64>,
}

/// What the nodes of a tree are checked against.
struct Growing<'a> {
    splits: &'a [u32],
    /// For each owner the first of its bits among a row's directions.
    firsts: Vec<u32>,
    /// The bit after all directions, which is always one.
    always: u32,
}

impl Forest {
    /// - `splits`: how many each owner has.
    /// - `trees`: of each the output and the number of nodes.
    /// - `nodes`: tree after tree the owner, the split and the left child of each node, which is numbered within its
    ///   tree and after its parent; the right child is the next. A node with left child 0 is a leaf.
    /// - `values`: of each leaf; not looked at elsewhere.
    ///
    /// # Errors
    /// `Input`, naming the tree and the node that fit nothing.
    pub fn new(
        outputs: usize,
        splits: &[u32],
        trees: &[[u32; 2]],
        nodes: &[[u32; 3]],
        values: &[f64],
    ) -> Result<Self, Fault> {
        let widths: Vec<usize> = splits.iter().map(|&s| s.div_ceil(8) as usize).collect();
        let bytes: usize = widths.iter().sum();
        let (false, Ok(always)) = (splits.is_empty(), u32::try_from(8 * bytes)) else {
            return Err(Fault::Input(format!(
                "splits: expected one owner or more, with less than 2^32 splits in all, got {} owners",
                splits.len()
            )));
        };
        let starts = widths.iter().scan(0, |at, width| {
            *at += width;
            Some(8 * (*at - width) as u32)
        });
        let growing = Growing {
            splits,
            firsts: starts.collect(),
            always,
        };
        let mut forest = Self {
            outputs,
            widths,
            trees: Vec::with_capacity(trees.len()),
            nodes: Vec::with_capacity(nodes.len()),
            values: values.to_vec(),
        };
        let wide = kernels::current()?.name() != "portable";
        let mut rest = nodes;
        for (number, &[output, count]) in trees.iter().enumerate() {
            let (output, count) = (output as usize, count as usize);
            let begin = forest.nodes.len();
            if output >= outputs || count == 0 || count > rest.len() {
                return Err(Fault::Input(format!(
                    "trees: expected an output below {outputs} and 1 to {} nodes, got {output} and {count} \
                     in tree {number}",
                    rest.len()
                )));
            }
            let (own, others) = rest.split_at(count);
            let depth = growing.grow(number, own, &mut forest.nodes)?;
            let worth = values.get(begin..begin + count).filter(|_| wide);
            rest = others;
            forest.trees.push(Tree {
                output,
                depth,
                nodes: begin..begin + count,
                heap: worth.and_then(|worth| Heap::of(own, worth, &growing.firsts)),
            });
        }
        if rest.is_empty() && values.len() == nodes.len() {
            return Ok(forest);
        }
        Err(Fault::Input(format!(
            "nodes: expected {} as the trees say, each with a value, got {} and {} values",
            forest.nodes.len(),
            nodes.len(),
            values.len()
        )))
    }

    #[must_use]
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Bytes of a row's directions at each owner's splits.
    #[must_use]
    pub fn widths(&self) -> &[usize] {
        &self.widths
    }

    /// For each output the margins of all rows: `initial`, and then, in the order of the trees, the value of the leaf
    /// where the row ends. `left` has each owner's directions, row after row.
    ///
    /// # Errors
    /// `Input` if directions or initial margins are of another size, or the number of threads is none.
    pub fn margins(
        &self,
        left: &[&[u8]],
        rows: usize,
        initial: &[f64],
        threads: usize,
    ) -> Result<Vec<f64>, Fault> {
        let sizes = self.widths.iter().map(|width| width * rows);
        if !left.iter().map(|left| left.len()).eq(sizes) || initial.len() != self.outputs {
            return Err(Fault::Input(format!(
                "left: expected directions of {} owners and initial margins of {} outputs",
                self.widths.len(),
                self.outputs
            )));
        }
        let start = initial.iter().flat_map(|&margin| repeat_n(margin, rows));
        let mut margins: Vec<f64> = start.collect();
        let mut tasks: Vec<_> = (0..rows)
            .step_by(TASK)
            .map(|first| (first, Vec::with_capacity(self.outputs)))
            .collect();
        for margins in margins.chunks_mut(rows.max(1)) {
            for ((_, task), part) in tasks.iter_mut().zip(margins.chunks_mut(TASK)) {
                task.push(part);
            }
        }
        threads::each(threads, tasks, |(first, mut margins)| {
            self.add(left, first, &mut margins);
        })?;
        Ok(margins)
    }

    /// Adds to the margins of the rows from `first` on.
    fn add(&self, left: &[&[u8]], first: usize, margins: &mut [&mut [f64]]) {
        let rows = margins.first().map_or(0, |margins| margins.len());
        let stride = self.widths.iter().sum::<usize>() + 1;
        let mut bits = vec![u8::MAX; stride * BLOCK.min(rows) + heap::BEYOND];
        for begin in (0..rows).step_by(BLOCK) {
            let count = BLOCK.min(rows - begin);
            let mut at = 0;
            for (&width, left) in self.widths.iter().zip(left) {
                let own = &left[(first + begin) * width..][..count * width];
                let lines = bits.chunks_exact_mut(stride);
                // an owner without splits has no bytes to bring
                for (line, own) in lines.zip(own.chunks_exact(width.max(1))) {
                    line[at..at + width].copy_from_slice(own);
                }
                at += width;
            }
            for tree in &self.trees {
                let margins = &mut margins[tree.output][begin..begin + count];
                let heap = tree.heap.as_ref();
                if !heap.is_some_and(|heap| heap.add(&bits, stride, margins)) {
                    self.add_tree(tree, &bits[..count * stride], stride, margins);
                }
            }
        }
    }

    fn add_tree(&self, tree: &Tree, bits: &[u8], stride: usize, margins: &mut [f64]) {
        let nodes = &self.nodes[tree.nodes.clone()];
        let values = &self.values[tree.nodes.clone()];
        let (groups, rest) = margins.as_chunks_mut::<LANES>();
        let (together, alone) = bits.split_at(groups.len() * LANES * stride);
        for (margins, bits) in groups.iter_mut().zip(together.chunks_exact(LANES * stride)) {
            let leaves = walk::<LANES>(nodes, tree.depth, bits, stride);
            for (margin, leaf) in margins.iter_mut().zip(leaves) {
                *margin += values[leaf as usize];
            }
        }
        for (margin, bits) in rest.iter_mut().zip(alone.chunks_exact(stride)) {
            let [leaf] = walk::<1>(nodes, tree.depth, bits, stride);
            *margin += values[leaf as usize];
        }
    }
}

impl Growing<'_> {
    /// Adds the nodes of a tree; its depth.
    fn grow(&self, tree: usize, own: &[[u32; 3]], nodes: &mut Vec<Node>) -> Result<u32, Fault> {
        let fault = |node: usize, wanted: &str, got: String| {
            Fault::Input(format!(
                "nodes: expected {wanted}, got {got} at node {node} of tree {tree}"
            ))
        };
        let mut depths = vec![None; own.len()];
        depths[0] = Some(0);
        let mut deepest = 0;
        for (number, &[owner, split, left]) in own.iter().enumerate() {
            let Some(depth) = depths[number] else {
                return Err(fault(
                    number,
                    "a parent for all but the first",
                    "none".into(),
                ));
            };
            deepest = deepest.max(depth);
            let (owner, child) = (owner as usize, left as usize);
            if left == 0 {
                nodes.push(Node {
                    bit: self.always,
                    left: number as u32,
                });
                continue;
            }
            if self.splits.get(owner).is_none_or(|&splits| split >= splits) {
                let got = format!("owner {owner} and split {split}");
                return Err(fault(number, "an owner, and one of its splits", got));
            }
            if child <= number || own.len() - child.min(own.len()) < 2 {
                let wanted = format!("children after their parent, and below {}", own.len());
                return Err(fault(number, &wanted, left.to_string()));
            }
            for place in &mut depths[child..child + 2] {
                if place.replace(depth + 1).is_some() {
                    return Err(fault(number, "children of no other node", left.to_string()));
                }
            }
            nodes.push(Node {
                bit: self.firsts[owner] + split,
                left,
            });
        }
        Ok(deepest)
    }
}

/// Where rows end whose directions are `stride` bytes apart.
#[inline(always)]
fn walk<const N: usize>(nodes: &[Node], depth: u32, bits: &[u8], stride: usize) -> [u32; N] {
    let mut at = [0; N];
    for _ in 0..depth {
        for (lane, at) in at.iter_mut().enumerate() {
            let node = nodes[*at as usize];
            let byte = bits[lane * stride + (node.bit / 8) as usize];
            *at = node.left + 1 - u32::from(byte >> (node.bit % 8) & 1);
        }
    }
    at
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

    /// Nodes of a tree of so many splits, and their values.
    fn tree(noise: &mut Noise, inner: usize, splits: &[u32]) -> (Vec<[u32; 3]>, Vec<f64>) {
        let mut nodes = vec![[0; 3]];
        while nodes.len() < 2 * inner + 1 {
            let open: Vec<usize> = (0..nodes.len()).filter(|&i| nodes[i][2] == 0).collect();
            let owner = noise.below(splits.len());
            let split = noise.below(splits[owner] as usize) as u32;
            let next = nodes.len() as u32;
            nodes[open[noise.below(open.len())]] = [owner as u32, split, next];
            nodes.extend([[0; 3]; 2]);
        }
        let values = nodes.iter().map(|_| noise.below(1 << 30) as f64 / 7e8);
        let values = values.collect();
        (nodes, values)
    }

    #[test]
    fn margins_are_the_values_of_leaves_added_in_the_order_of_the_trees() {
        let mut noise = Noise(4);
        for (outputs, splits, rows) in [
            (1, vec![9], 1),
            (3, vec![1, 17, 8], 7),
            (2, vec![40, 3], 131),
            (1, vec![5, 64], 2500),
            (2, vec![1], 0),
        ] {
            let (mut trees, mut nodes, mut values) = (vec![], vec![], vec![]);
            for number in 0..9 {
                let inner = noise.below(12) * (number % 3);
                let (own, worth) = tree(&mut noise, inner, &splits);
                trees.push([noise.below(outputs) as u32, own.len() as u32]);
                nodes.extend(own);
                values.extend(worth);
            }
            let mut bits = |splits: &u32| -> Vec<u8> {
                let bytes = 0..splits.div_ceil(8) as usize * rows;
                bytes.map(|_| noise.below(256) as u8).collect()
            };
            let left: Vec<Vec<u8>> = splits.iter().map(&mut bits).collect();
            let initial: Vec<f64> = (0..outputs).map(|o| o as f64 - 0.3).collect();
            let mut wanted: Vec<f64> = vec![];
            for (output, &start) in initial.iter().enumerate() {
                for row in 0..rows {
                    let mut margin = start;
                    let mut begin = 0;
                    for &[towards, count] in &trees {
                        let mut at = 0;
                        while nodes[begin + at][2] != 0 {
                            let [owner, split, child] = nodes[begin + at].map(|x| x as usize);
                            let width = splits[owner].div_ceil(8) as usize;
                            let byte = left[owner][row * width + split / 8];
                            at = child + usize::from(byte >> (split % 8) & 1 == 0);
                        }
                        if towards as usize == output {
                            margin += values[begin + at];
                        }
                        begin += count as usize;
                    }
                    wanted.push(margin);
                }
            }
            let forest = Forest::new(outputs, &splits, &trees, &nodes, &values).unwrap();
            let left: Vec<&[u8]> = left.iter().map(Vec::as_slice).collect();
            for threads in [1, 2] {
                let found = forest.margins(&left, rows, &initial, threads).unwrap();
                assert_eq!(found, wanted, "{outputs} {splits:?} {rows} on {threads}");
            }
            assert!(forest.margins(&left[1..], rows, &initial, 1).is_err());
            assert!(forest.margins(&left, rows + 1, &initial, 1).is_err());
            assert!(forest.margins(&left, rows, &initial[1..], 1).is_err());
        }
    }

    #[test]
    fn a_tree_may_be_deep() {
        let inner = 40_000u32;
        let nodes: Vec<[u32; 3]> = (0..=2 * inner)
            .map(|i| {
                [
                    0,
                    0,
                    if i < 2 * inner && i % 2 == 0 {
                        i + 1
                    } else {
                        0
                    },
                ]
            })
            .collect();
        let values: Vec<f64> = (0..=2 * inner).map(f64::from).collect();
        let forest = Forest::new(1, &[1], &[[0, 2 * inner + 1]], &nodes, &values).unwrap();
        let margins = forest.margins(&[&[1, 0]], 2, &[0.0], 1).unwrap();
        assert_eq!(margins, [1.0, f64::from(2 * inner)]);
    }

    #[test]
    fn parts_that_do_not_fit_together_are_refused() {
        let split = [0, 0, 1];
        let leaf = [0; 3];
        let built = |trees: &[[u32; 2]], nodes: &[[u32; 3]]| {
            Forest::new(1, &[2], trees, nodes, &vec![0.0; nodes.len()]).is_ok()
        };
        assert!(built(&[[0, 3]], &[split, leaf, leaf]));
        assert!(built(&[], &[]));
        assert!(!built(&[[1, 3]], &[split, leaf, leaf]), "output");
        assert!(!built(&[[0, 4]], &[split, leaf, leaf]), "too few nodes");
        assert!(!built(&[[0, 1]], &[leaf, leaf]), "too many nodes");
        assert!(!built(&[[0, 0]], &[]), "no node");
        assert!(!built(&[[0, 2]], &[split, leaf]), "child beyond the nodes");
        assert!(
            !built(&[[0, 3]], &[[0, 0, u32::MAX], leaf, leaf]),
            "child beyond"
        );
        assert!(!built(&[[0, 3]], &[[0, 2, 1], leaf, leaf]), "split");
        assert!(!built(&[[0, 3]], &[[1, 0, 1], leaf, leaf]), "owner");
        assert!(!built(&[[0, 3]], &[leaf, leaf, leaf]), "no parent");
        assert!(!built(&[[0, 3]], &[split, split, leaf]), "itself as child");
        assert!(
            !built(&[[0, 5]], &[split, [0, 0, 3], [0, 0, 3], leaf, leaf]),
            "two parents"
        );
        assert!(Forest::new(1, &[], &[], &[], &[]).is_err(), "no owner");
        assert!(
            Forest::new(1, &[1], &[[0, 1]], &[leaf], &[]).is_err(),
            "no value"
        );
    }
}
