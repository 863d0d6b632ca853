//! Scalars from the operating system, from seeds, and one per row.

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};
use curve25519_dalek::Scalar;
use sha2::{Digest, Sha512};
use zeroize::{Zeroize, Zeroizing};

use crate::fault::Fault;

/// A non-zero scalar from the operating system's randomness (64 bytes, reduced).
pub fn system_scalar() -> Result<Scalar, Fault> {
    loop {
        let mut wide = Zeroizing::new([0u8; 64]);
        getrandom::fill(&mut wide[..]).map_err(|e| {
            Fault::Randomness(format!("the operating system gave no randomness: {e}"))
        })?;
        let scalar = Scalar::from_bytes_mod_order_wide(&wide);
        if scalar != Scalar::ZERO {
            return Ok(scalar);
        }
    }
}

/// The scalar SHA-512(domain ‖ 0 ‖ seed ‖ index as u64 little-endian) mod ℓ.
#[must_use]
pub fn seeded_scalar(domain: &str, seed: &[u8; 32], index: u64) -> Scalar {
    let mut wide: [u8; 64] = Sha512::new()
        .chain_update(domain.as_bytes())
        .chain_update([0])
        .chain_update(seed)
        .chain_update(index.to_le_bytes())
        .finalize()
        .into();
    let scalar = Scalar::from_bytes_mod_order_wide(&wide);
    wide.zeroize();
    scalar
}

/// The first half of SHA-512(domain ‖ 0 ‖ seed).
fn seeded_key(domain: &str, seed: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    let mut digest: [u8; 64] = Sha512::new()
        .chain_update(domain.as_bytes())
        .chain_update([0])
        .chain_update(seed)
        .finalize()
        .into();
    let mut key = Zeroizing::new([0u8; 32]);
    key.copy_from_slice(&digest[..32]);
    digest.zeroize();
    key
}

/// Fills `bytes` with ChaCha20 (RFC 8439) under the first half of SHA-512(domain ‖ 0 ‖ seed) and nonce 0.
pub fn seeded_bytes(domain: &str, seed: &[u8; 32], bytes: &mut [u8]) {
    bytes.fill(0);
    let key = seeded_key(domain, seed);
    ChaCha20::new((&*key).into(), &[0; 12].into()).apply_keystream(bytes);
}

/// One scalar per row, so that a row's scalar depends on the seed and its index only.
///
/// The key is the first half of SHA-512(domain ‖ 0 ‖ seed); row i takes the 64 bytes of ChaCha20
/// (RFC 8439) block i mod 2³¹ under the nonce i div 2³¹, reduced mod ℓ.
pub struct RowScalars {
    key: Zeroizing<[u8; 32]>,
}

impl RowScalars {
    #[must_use]
    pub fn new(domain: &str, seed: &[u8; 32]) -> Self {
        Self {
            key: seeded_key(domain, seed),
        }
    }

    /// The scalars of the rows `first..first + count`.
    #[must_use]
    pub fn take(&self, first: u64, count: usize) -> Zeroizing<Vec<Scalar>> {
        let mut stream = Zeroizing::new(vec![0u8; 64 * count]);
        let mut done = 0;
        while done < count {
            let index = first.wrapping_add(done as u64);
            let block = index & 0x7fff_ffff;
            let run = (count - done).min(usize::try_from((1 << 31) - block).unwrap_or(usize::MAX));
            let mut nonce = [0u8; 12];
            nonce[..8].copy_from_slice(&(index >> 31).to_le_bytes());
            let mut cipher = ChaCha20::new((&*self.key).into(), &nonce.into());
            cipher.seek(block * 64);
            cipher.apply_keystream(&mut stream[64 * done..64 * (done + run)]);
            done += run;
        }
        Zeroizing::new(
            stream
                .as_chunks::<64>()
                .0
                .iter()
                .map(Scalar::from_bytes_mod_order_wide)
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_give_what_one_call_gives() {
        let rows = RowScalars::new("test", &[7; 32]);
        let first = (1u64 << 31) - 5;
        let whole = rows.take(first, 11);
        let mut parts = rows.take(first, 3).to_vec();
        parts.extend(rows.take(first + 3, 8).iter());
        assert_eq!(*whole, parts);
        let far = RowScalars::new("test", &[7; 32]).take(0, 1);
        assert_ne!(whole[5], far[0]);
    }
}
