//! Additive ElGamal with one shared C₀ for k messages: (r·G, m₁·G + r·P₁, …, m_k·G + r·P_k).

use std::sync::OnceLock;

use curve25519_dalek::ristretto::CompressedRistretto;
use curve25519_dalek::traits::Identity;
use curve25519_dalek::{RistrettoPoint, Scalar};
use rayon::prelude::*;
use zeroize::{Zeroize, Zeroizing};

use crate::curve::fixed_base::{FixedBase, generator_table, quarter_table};
use crate::curve::point::Point8;
use crate::curve::recode::SignedBits;
use crate::discrete_log::Search;
use crate::fault::Fault;
use crate::kernels::{Encodings8, Kernels, current};
use crate::points::{Encoding, blocks_per_task, decode_plane};
use crate::randomness::{RowScalars, seeded_scalar, system_scalar};

/// The most messages one ciphertext carries.
pub const MOST_MESSAGES: usize = 64;

/// The largest bound a decryption searches.
pub const LARGEST_BOUND: i64 = 1 << 40;

/// The secrets s₁…s_k, zeroised on drop.
pub struct SecretKey {
    secrets: Zeroizing<Vec<Scalar>>,
}

/// The public P_j = s_j·G, with a table for each once it is used.
pub struct PublicKey {
    points: Vec<RistrettoPoint>,
    tables: OnceLock<Vec<FixedBase>>,
}

fn check_k(k: usize) -> Result<(), Fault> {
    if (1..=MOST_MESSAGES).contains(&k) {
        return Ok(());
    }
    Err(Fault::Input(format!(
        "k: expected 1..={MOST_MESSAGES} messages, got {k}"
    )))
}

impl SecretKey {
    /// # Errors
    /// `Input` if k is out of range; `Randomness` if the operating system gives none.
    pub fn generate(k: usize) -> Result<Self, Fault> {
        check_k(k)?;
        let mut secrets = Zeroizing::new(Vec::with_capacity(k));
        for _ in 0..k {
            secrets.push(system_scalar()?);
        }
        Ok(Self { secrets })
    }

    /// # Errors
    /// `Input` if k is out of range.
    pub fn from_seed(k: usize, seed: &[u8; 32]) -> Result<Self, Fault> {
        check_k(k)?;
        let mut secrets = Zeroizing::new(Vec::with_capacity(k));
        for j in 0..k {
            secrets.push(seeded_scalar("parley/elgamal-secret/v1", seed, j as u64));
        }
        Ok(Self { secrets })
    }

    #[must_use]
    pub fn k(&self) -> usize {
        self.secrets.len()
    }

    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey {
            points: self.secrets.iter().map(RistrettoPoint::mul_base).collect(),
            tables: OnceLock::new(),
        }
    }

    /// Encrypts rows of k messages; row i takes the randomness of index `first + i`.
    ///
    /// # Errors
    /// `Input` if no kernels can be chosen.
    pub fn encrypt(
        &self,
        messages: &[i32],
        seed: &[u8; 32],
        first: u64,
    ) -> Result<Vec<Encoding>, Fault> {
        let kernels = current()?;
        let (k, width) = (self.k(), self.k() + 1);
        let randomness = RowScalars::new("parley/elgamal-row/v1", seed);
        let table = generator_table();
        let rows = messages.len() / k;
        let task = blocks_per_task(rows.div_ceil(8));
        let mut out = vec![[0u8; 32]; rows * width];
        out.par_chunks_mut(8 * task * width)
            .enumerate()
            .for_each(|(t, out)| {
                let start = 8 * task * t;
                let rows = out.len() / width;
                let r = randomness.take(first.wrapping_add(start as u64), rows);
                for j in 0..width {
                    // Half of every exponent, because the double of the multiple is what is encoded.
                    let halves = (0..rows).map(|i| {
                        let exponent = match j {
                            0 => r[i],
                            _ => {
                                signed(messages[(start + i) * k + j - 1])
                                    + r[i] * self.secrets[j - 1]
                            }
                        };
                        SignedBits::new(&exponent.div_by_2())
                    });
                    let mut points = vec![Point8::identity(); rows.div_ceil(8)];
                    kernels.add_multiples(table, &in_eights(halves), &mut points);
                    write_doubles(kernels, &points, width, &mut out[j..]);
                }
            });
        Ok(out)
    }

    /// What does not depend on the messages of an encryption of so many rows.
    ///
    /// # Errors
    /// `Input` if no kernels can be chosen.
    pub fn masks(&self, rows: usize, seed: &[u8; 32], first: u64) -> Result<Masks, Fault> {
        let kernels = current()?;
        let randomness = RowScalars::new("parley/elgamal-row/v1", seed);
        let table = generator_table();
        let quarter = Scalar::from(4u8).invert();
        let task = blocks_per_task(rows.div_ceil(8));
        let mut masks = Masks::new(self.k(), rows);
        masks
            .blocks
            .par_chunks_mut(task * (self.k() + 1))
            .enumerate()
            .for_each(|(t, points)| {
                let start = 8 * task * t;
                let count = rows.min(start + 8 * task) - start;
                let mut halves = randomness.take(first.wrapping_add(start as u64), count);
                for r in halves.iter_mut() {
                    *r = r.div_by_2();
                }
                let (own, others) = points.split_at_mut(count.div_ceil(8));
                kernels.add_multiples(table, &in_eights(halves.iter().map(SignedBits::new)), own);
                for (points, secret) in others.chunks_mut(own.len()).zip(self.secrets.iter()) {
                    let exponents = halves
                        .iter()
                        .map(|r| SignedBits::new(&(r * secret - quarter)));
                    kernels.add_multiples(table, &in_eights(exponents), points);
                }
            });
        Ok(masks)
    }

    /// Decrypts rows of k + 1 points; each message lies within its bound in absolute value.
    ///
    /// # Errors
    /// `Decode` if a point is not canonical; `Input`, naming the row, if no message within the bound fits.
    pub fn decrypt(&self, ciphertexts: &[Encoding], bounds: &[i64]) -> Result<Vec<i64>, Fault> {
        let kernels = current()?;
        let (k, width) = (self.k(), self.k() + 1);
        if let Some(at) = bounds.iter().position(|b| !(0..=LARGEST_BOUND).contains(b)) {
            return Err(Fault::Input(format!(
                "bounds: expected 0..=2^40, got {} in row {}",
                bounds[at],
                at / k
            )));
        }
        let mut planes = Vec::with_capacity(width);
        let mut bad = None;
        for j in 0..width {
            match decode_plane(kernels, ciphertexts, width, j) {
                Ok(plane) => planes.push(plane),
                Err(Fault::Decode(at)) => bad = Some(bad.map_or(at, |b: usize| b.min(at))),
                Err(fault) => return Err(fault),
            }
        }
        if let Some(at) = bad {
            return Err(Fault::Decode(at));
        }
        let secrets: Vec<SignedBits> = self.secrets.iter().map(SignedBits::new).collect();
        let search = Search::new(kernels, bounds.iter().copied().max().unwrap_or(0));
        let rows = bounds.len() / k;
        let task = blocks_per_task(planes[0].len());
        let mut out = vec![0i64; rows * k];
        let failed = out
            .par_chunks_mut(8 * task * k)
            .enumerate()
            .filter_map(|(t, out)| {
                let rows = out.len() / k;
                let blocks = t * task..t * task + rows.div_ceil(8);
                let mut masks = vec![vec![Point8::identity(); blocks.len()]; k];
                kernels.multiply(&planes[0][blocks.clone()], &secrets, &mut masks);
                for (j, mask) in masks.iter().enumerate() {
                    let mut points = planes[j + 1][blocks.clone()].to_vec();
                    kernels.subtract(&mut points, mask);
                    let first = 8 * blocks.start;
                    let within: Vec<i64> = (0..rows).map(|i| bounds[(first + i) * k + j]).collect();
                    match search.find_vartime(&points, &within) {
                        Ok(messages) => {
                            for (i, message) in messages.into_iter().enumerate() {
                                out[i * k + j] = message;
                            }
                        }
                        Err(i) => return Some((first + i, j)),
                    }
                }
                None
            })
            .min();
        match failed {
            None => Ok(out),
            Some((row, j)) => Err(Fault::Input(format!(
                "ciphertexts: row {row} holds no message {j} within ±{}",
                bounds[row * k + j]
            ))),
        }
    }
}

/// Scalars eight by eight, the last block filled up.
fn in_eights(scalars: impl ExactSizeIterator<Item = SignedBits>) -> Vec<SignedBits> {
    let count = scalars.len();
    let mut bits = Vec::with_capacity(count.next_multiple_of(8));
    bits.extend(scalars);
    bits.resize(count.next_multiple_of(8), SignedBits::new(&Scalar::ONE));
    bits
}

/// Encryptions of zero, not encoded yet: half of r·G, and of every r·P_j − G/2; zeroised on drop.
///
/// To the half of r·P_j − G/2 an encryption adds (2m + 1)·G/4, whose odd number has few digits. What is encoded is
/// the double: r·P_j + m·G.
pub struct Masks {
    k: usize,
    rows: usize,
    /// Task by task as in `blocks_per_task`, within a task point by point.
    blocks: Vec<Point8>,
    task: usize,
}

impl Masks {
    fn new(k: usize, rows: usize) -> Self {
        let blocks = rows.div_ceil(8);
        Self {
            k,
            rows,
            blocks: vec![Point8::identity(); blocks * (k + 1)],
            task: blocks_per_task(blocks),
        }
    }

    /// Encrypts as many rows of k messages as there are masks. The time depends on `bound`, not on the messages.
    ///
    /// # Errors
    /// `Input` if there is another number of messages, or one that is larger than `bound` in absolute value.
    pub fn encrypt(self, messages: &[i32], bound: u32) -> Result<Vec<Encoding>, Fault> {
        let (k, width) = (self.k, self.k + 1);
        if messages.len() != self.rows * k {
            return Err(Fault::Input(format!(
                "messages: expected {k} for each of the {} rows, got {}",
                self.rows,
                messages.len()
            )));
        }
        if let Some(at) = messages.iter().position(|m| m.unsigned_abs() > bound) {
            return Err(Fault::Input(format!(
                "messages: expected at most {bound} in absolute value, got {} in row {}",
                messages[at],
                at / k
            )));
        }
        let kernels = current()?;
        let table = quarter_table();
        // 2m + 1 for |m| < 2^b takes b + 1 signed bits.
        let bits = bound.checked_ilog2().map_or(0, |top| top as usize + 1);
        let windows = (bits + 1).div_ceil(6);
        let mut out = vec![[0u8; 32]; self.rows * width];
        out.par_chunks_mut(8 * self.task * width)
            .zip(self.blocks.par_chunks(self.task * width))
            .enumerate()
            .for_each(|(t, (out, masks))| {
                let start = 8 * self.task * t;
                let rows = out.len() / width;
                for (j, mask) in masks.chunks(rows.div_ceil(8)).enumerate() {
                    let mut points = mask.to_vec();
                    if j > 0 {
                        let column = |i: usize| messages[(start + i) * k + j - 1];
                        let odd = (0..rows).map(|i| SignedBits::odd(column(i), windows));
                        kernels.add_short_multiples(table, windows, &in_eights(odd), &mut points);
                    }
                    write_doubles(kernels, &points, width, &mut out[j..]);
                }
            });
        Ok(out)
    }
}

/// Encodes the doubles of points into every `width`-th place.
fn write_doubles(kernels: &dyn Kernels, points: &[Point8], width: usize, out: &mut [Encoding]) {
    let mut encodings: Vec<Encodings8> = vec![[[0; 32]; 8]; points.len()];
    kernels.encode_doubles(points, &mut encodings);
    for (to, encoding) in out.iter_mut().step_by(width).zip(encodings.as_flattened()) {
        *to = *encoding;
    }
}

impl Drop for Masks {
    fn drop(&mut self) {
        for block in &mut self.blocks {
            for wide in [&mut block.x, &mut block.y, &mut block.z, &mut block.t] {
                wide.0.zeroize();
            }
        }
    }
}

impl PublicKey {
    #[must_use]
    pub fn k(&self) -> usize {
        self.points.len()
    }

    /// The tables of G, P₁, …, P_k.
    pub(crate) fn tables(&self, kernels: &dyn Kernels) -> Vec<&FixedBase> {
        let own = self.tables.get_or_init(|| {
            self.points
                .iter()
                .map(|point| {
                    let mut decoded = [Point8::identity()];
                    // The encoding is a valid point's own.
                    kernels.decode(&[[point.compress().0; 8]], &mut decoded, &mut [0]);
                    kernels.fixed_base(&decoded[0])
                })
                .collect()
        });
        std::iter::once(generator_table()).chain(own).collect()
    }

    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.points.iter().flat_map(|p| p.compress().0).collect()
    }

    /// # Errors
    /// `Input` if the length is not a multiple of 32 for an allowed k, or a point is the identity; `Decode`.
    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let (encodings, rest) = bytes.as_chunks::<32>();
        if !rest.is_empty() || !(1..=MOST_MESSAGES).contains(&encodings.len()) {
            return Err(Fault::Input(format!(
                "public key: expected 32·k bytes with k in 1..={MOST_MESSAGES}, got {} bytes",
                bytes.len()
            )));
        }
        let mut points = Vec::with_capacity(encodings.len());
        for (j, encoding) in encodings.iter().enumerate() {
            let point = CompressedRistretto(*encoding)
                .decompress()
                .ok_or(Fault::Decode(j))?;
            if point == RistrettoPoint::identity() {
                return Err(Fault::Input(format!(
                    "public key: point {j} is the identity"
                )));
            }
            points.push(point);
        }
        Ok(Self {
            points,
            tables: OnceLock::new(),
        })
    }
}

/// A signed message as a scalar, without a branch on the message.
fn signed(message: i32) -> Scalar {
    const OFFSET: i64 = 1 << 31;
    let shifted = (i64::from(message) + OFFSET).cast_unsigned();
    Scalar::from(shifted) - Scalar::from(OFFSET.cast_unsigned())
}
