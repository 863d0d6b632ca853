//! Small discrete logarithms: baby-step giant-step outward from zero, many points in step.
//!
//! The table holds the keys of m·G for 0 ≤ m ≤ B. A key does not see the sign of m nor the 4-torsion, so one look-up
//! covers 2B + 1 messages. In round i the points M ∓ i·(2B + 1)·G are looked up; a hit is verified before it counts.
//! The time depends on the messages, which are the caller's to learn.

use std::sync::OnceLock;

use crate::curve::fixed_base::generator_table;
use crate::curve::point::Point8;
use crate::curve::recode::SignedBits;
use crate::kernels::Kernels;

/// Table sizes B = 2^bits, and the bound up to which each is used.
const SIZES: [(u32, i64); 3] = [(16, 1 << 22), (18, 1 << 28), (20, i64::MAX)];
static TABLES: [OnceLock<BabySteps>; 3] = [const { OnceLock::new() }; 3];

/// Windows of six bits that hold any m ≤ 2²⁰, rounded up to odd.
const SHORT: usize = 4;

/// Open addressing: a slot holds the upper half of a key and m; the lower half says where to look.
struct BabySteps {
    slots: Vec<(u32, u32)>,
    last: u32,
}

const FREE: u32 = u32::MAX;

impl BabySteps {
    fn build(kernels: &dyn Kernels, bits: u32) -> Self {
        let mut table = Self {
            slots: vec![(0, FREE); 2 << bits],
            last: 1 << bits,
        };
        let run: Vec<u64> = (0..512).collect();
        let mut points = multiples(kernels, &run);
        let stride = multiples(kernels, &[512; 8]);
        let mut keys = vec![[0u64; 8]; points.len()];
        let mut first = 0;
        while first <= table.last {
            kernels.keys(&points, &mut keys);
            for (m, &key) in (first..=table.last).zip(keys.as_flattened()) {
                table.insert(key, m);
            }
            kernels.add(&mut points, &stride);
            first += 512;
        }
        table
    }

    fn home(&self, key: u64) -> usize {
        usize::try_from(key & (self.slots.len() as u64 - 1)).unwrap_or(0)
    }

    fn insert(&mut self, key: u64, m: u32) {
        let mut at = self.home(key);
        while self.slots[at].1 != FREE {
            at = (at + 1) & (self.slots.len() - 1);
        }
        self.slots[at] = ((key >> 32) as u32, m);
    }

    /// Every m whose key looks like this one; there is rarely more than one.
    fn candidates(&self, key: u64) -> impl Iterator<Item = u32> {
        let start = self.home(key);
        (0..)
            .map(move |i| self.slots[(start + i) & (self.slots.len() - 1)])
            .take_while(|slot| slot.1 != FREE)
            .filter(move |slot| slot.0 == (key >> 32) as u32)
            .map(|slot| slot.1)
    }
}

/// m·G for every m < 2²⁴, in blocks: (m | 1)·G, less G where m is even.
fn multiples(kernels: &dyn Kernels, list: &[u64]) -> Vec<Point8> {
    let mut base = [Point8::identity()];
    let one = vec![SignedBits::short(1, SHORT); 8];
    kernels.add_short_multiples(generator_table(), SHORT, &one, &mut base);
    let mut minus_base = [Point8::identity()];
    kernels.subtract(&mut minus_base, &base);
    let mut points = vec![Point8::identity(); list.len().div_ceil(8)];
    let mut odd = Vec::with_capacity(8 * points.len());
    for (i, &m) in list.iter().enumerate() {
        if m & 1 == 0 {
            points[i / 8].set_lane(i % 8, &minus_base[0], 0);
        }
        odd.push(SignedBits::short(m | 1, SHORT));
    }
    odd.resize(8 * points.len(), SignedBits::short(1, SHORT));
    kernels.add_short_multiples(generator_table(), SHORT, &odd, &mut points);
    points
}

/// A search with the baby steps that suit a bound.
pub struct Search<'a> {
    kernels: &'a dyn Kernels,
    table: &'static BabySteps,
    /// (2B + 1)·G in every lane.
    giant: Vec<Point8>,
}

impl<'a> Search<'a> {
    #[must_use]
    pub fn new(kernels: &'a dyn Kernels, bound: i64) -> Self {
        let at = SIZES.iter().position(|size| bound <= size.1).unwrap_or(2);
        let table = TABLES[at].get_or_init(|| BabySteps::build(kernels, SIZES[at].0));
        let giant = multiples(kernels, &[u64::from(2 * table.last + 1); 8]);
        Self {
            kernels,
            table,
            giant,
        }
    }

    /// The m with point i = m·G and |m| ≤ `bounds[i]`, for all points.
    ///
    /// # Errors
    /// The first position for which there is none.
    pub fn find_vartime(&self, points: &[Point8], bounds: &[i64]) -> Result<Vec<i64>, usize> {
        let stride = 2 * i64::from(self.table.last) + 1;
        let mut found: Vec<Option<i64>> = vec![None; bounds.len()];
        let mut open: Vec<usize> = (0..bounds.len()).collect();
        let (mut below, mut above) = (points.to_vec(), points.to_vec());
        let mut round = 0;
        loop {
            self.look_up(&below, &open, round * stride, bounds, &mut found);
            if round > 0 {
                self.look_up(&above, &open, -round * stride, bounds, &mut found);
            }
            let reached = round * stride + i64::from(self.table.last);
            if let Some(&index) = open
                .iter()
                .find(|&&i| found[i].is_none() && bounds[i] <= reached)
            {
                return Err(index);
            }
            let lanes: Vec<usize> = (0..open.len())
                .filter(|&l| found[open[l]].is_none())
                .collect();
            if lanes.is_empty() {
                return Ok(found.into_iter().flatten().collect());
            }
            if lanes.len() < open.len() {
                below = picked(&below, &lanes);
                above = picked(&above, &lanes);
                open = lanes.iter().map(|&l| open[l]).collect();
            }
            self.kernels.subtract(&mut below, &self.giant);
            self.kernels.add(&mut above, &self.giant);
            round += 1;
        }
    }

    /// Looks all points up and notes the messages that are verified.
    fn look_up(
        &self,
        points: &[Point8],
        open: &[usize],
        centre: i64,
        bounds: &[i64],
        found: &mut [Option<i64>],
    ) {
        let mut keys = vec![[0u64; 8]; points.len()];
        self.kernels.keys(points, &mut keys);
        let mut hits: Vec<(usize, u32)> = Vec::new();
        for (lane, (&index, &key)) in open.iter().zip(keys.as_flattened()).enumerate() {
            if found[index].is_none() {
                hits.extend(self.table.candidates(key).map(|m| (lane, m)));
            }
        }
        if hits.is_empty() {
            return;
        }
        let lanes: Vec<usize> = hits.iter().map(|hit| hit.0).collect();
        let remainders: Vec<u64> = hits.iter().map(|hit| u64::from(hit.1)).collect();
        let wanted = picked(points, &lanes);
        let positive = multiples(self.kernels, &remainders);
        let mut negative = vec![Point8::identity(); positive.len()];
        self.kernels.subtract(&mut negative, &positive);
        let (mut plus, mut minus) = (vec![0; wanted.len()], vec![0; wanted.len()]);
        self.kernels.same(&wanted, &positive, &mut plus);
        self.kernels.same(&wanted, &negative, &mut minus);
        for (i, &(lane, remainder)) in hits.iter().enumerate() {
            let remainder = i64::from(remainder);
            let message = if plus[i / 8] >> (i % 8) & 1 == 1 {
                centre + remainder
            } else if minus[i / 8] >> (i % 8) & 1 == 1 {
                centre - remainder
            } else {
                continue;
            };
            if message.abs() <= bounds[open[lane]] {
                found[open[lane]] = Some(message);
            }
        }
    }
}

/// The given lanes, packed into as few blocks as hold them.
fn picked(points: &[Point8], lanes: &[usize]) -> Vec<Point8> {
    let mut out = vec![Point8::identity(); lanes.len().div_ceil(8)];
    for (to, &from) in lanes.iter().enumerate() {
        out[to / 8].set_lane(to % 8, &points[from / 8], from % 8);
    }
    out
}
