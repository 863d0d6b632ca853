//! Hashing to uniform bytes: `expand_message_xmd` of RFC 9380, section 5.3.1, with SHA-512.

use sha2::{Digest, Sha512};

/// The suite ristretto255_XMD:SHA-512_R255MAP_RO_ (RFC 9380, appendix B) with a fixed DST.
pub struct Expander {
    /// SHA-512 that has already taken `Z_pad`, one block of zeros.
    padded: Sha512,
    /// `DST_prime` = DST ‖ I2OSP(len(DST), 1).
    dst_prime: Vec<u8>,
}

impl Expander {
    /// `dst` has 1 to 255 bytes; the caller has checked this.
    #[must_use]
    pub fn new(dst: &[u8]) -> Self {
        let mut dst_prime = dst.to_vec();
        dst_prime.push(u8::try_from(dst.len()).unwrap_or(u8::MAX));
        Self {
            padded: Sha512::new().chain_update([0; 128]),
            dst_prime,
        }
    }

    /// 64 uniform bytes for one message (`len_in_bytes` = 64, so `ell` = 1 and the result is b_1).
    #[must_use]
    pub fn expand(&self, message: &[u8]) -> [u8; 64] {
        let b_0 = self
            .padded
            .clone()
            .chain_update(message)
            .chain_update([0, 64, 0])
            .chain_update(&self.dst_prime)
            .finalize();
        Sha512::new()
            .chain_update(b_0)
            .chain_update([1])
            .chain_update(&self.dst_prime)
            .finalize()
            .into()
    }
}
