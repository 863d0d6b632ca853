//! Additive ElGamal with one shared C₀ for k messages: (r·G, m₁·G + r·P₁, …, m_k·G + r·P_k).

use curve25519_dalek::ristretto::CompressedRistretto;
use curve25519_dalek::traits::Identity;
use curve25519_dalek::{RistrettoPoint, Scalar};
use rayon::prelude::*;
use zeroize::Zeroizing;

use crate::discrete_log;
use crate::fault::Fault;
use crate::points::{Encoding, decode};
use crate::randomness::{RowScalars, seeded_scalar, system_scalar};

/// The most messages one ciphertext carries.
pub const MOST_MESSAGES: usize = 64;

/// The largest bound a decryption searches.
pub const LARGEST_BOUND: i64 = 1 << 40;

/// The secrets s₁…s_k, zeroised on drop.
pub struct SecretKey {
    secrets: Zeroizing<Vec<Scalar>>,
}

/// The public P_j = s_j·G.
pub struct PublicKey {
    pub(crate) points: Vec<RistrettoPoint>,
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
        }
    }

    /// Encrypts rows of k messages; row i takes the randomness of index `first + i`.
    #[must_use]
    pub fn encrypt(&self, messages: &[i32], seed: &[u8; 32], first: u64) -> Vec<Encoding> {
        let k = self.k();
        let randomness = RowScalars::new("parley/elgamal-row/v1", seed);
        let rows: Vec<Vec<Encoding>> = messages
            .par_chunks(k)
            .enumerate()
            .map(|(i, row)| {
                let r = randomness.take(first + i as u64, 1)[0];
                let mut out = vec![RistrettoPoint::mul_base(&r).compress().0];
                for (s, m) in self.secrets.iter().zip(row) {
                    out.push(RistrettoPoint::mul_base(&(signed(*m) + r * s)).compress().0);
                }
                out
            })
            .collect();
        rows.concat()
    }

    /// Decrypts rows of k + 1 points; each message lies within its bound in absolute value.
    ///
    /// # Errors
    /// `Decode` if a point is not canonical; `Input`, naming the row, if no message within the bound fits.
    pub fn decrypt(&self, ciphertexts: &[Encoding], bounds: &[i64]) -> Result<Vec<i64>, Fault> {
        let k = self.k();
        if let Some(at) = bounds.iter().position(|b| !(0..=LARGEST_BOUND).contains(b)) {
            return Err(Fault::Input(format!(
                "bounds: expected 0..=2^40, got {} in row {}",
                bounds[at],
                at / k
            )));
        }
        let points = decode(ciphertexts)?;
        (0..bounds.len())
            .into_par_iter()
            .map(|at| {
                let (row, j) = (at / k, at % k);
                let c = &points[row * (k + 1)..(row + 1) * (k + 1)];
                discrete_log::find(&(c[j + 1] - c[0] * self.secrets[j]), bounds[at]).ok_or_else(
                    || {
                        Fault::Input(format!(
                            "ciphertexts: row {row} holds no message {j} within ±{}",
                            bounds[at]
                        ))
                    },
                )
            })
            .collect()
    }
}

impl PublicKey {
    #[must_use]
    pub fn k(&self) -> usize {
        self.points.len()
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
        Ok(Self { points })
    }
}

/// A signed message as a scalar.
#[must_use]
pub fn signed(message: i32) -> Scalar {
    let magnitude = Scalar::from(message.unsigned_abs());
    if message < 0 { -magnitude } else { magnitude }
}
