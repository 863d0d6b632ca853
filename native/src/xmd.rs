//! Hashing to uniform bytes: `expand_message_xmd` of RFC 9380, section 5.3.1, with SHA-512.

use sha2::{Digest, Sha512};

use crate::field::portable::One;

#[cfg(target_arch = "x86_64")]
use crate::{field::Lanes, field::ifma::Eight, sha512::State};

/// The bytes of a block of SHA-512.
const BLOCK: usize = 128;
/// The bytes of a digest.
const DIGEST: usize = 64;

/// The suite ristretto255_XMD:SHA-512_R255MAP_RO_ (RFC 9380, appendix B) with a fixed DST.
pub struct Expander {
    /// SHA-512 that has already taken `Z_pad`, one block of zeros.
    padded: Sha512,
    /// I2OSP(len_in_bytes, 2) ‖ I2OSP(0, 1) ‖ `DST_prime`: what follows a message in b_0.
    suffix: Vec<u8>,
    /// I2OSP(1, 1) ‖ `DST_prime`: what follows b_0 in b_1.
    last: Vec<u8>,
}

/// Expands eight messages.
pub trait Expand {
    fn expand(expander: &Expander, messages: &[&[u8]; 8], out: &mut [[u8; DIGEST]; 8]);
}

impl Expander {
    /// `dst` has 1 to 255 bytes; the caller has checked this.
    #[must_use]
    pub fn new(dst: &[u8]) -> Self {
        let length = u8::try_from(dst.len()).unwrap_or(u8::MAX);
        let with_dst = |start: &[u8]| [start, dst, &[length]].concat();
        Self {
            padded: Sha512::new().chain_update([0; BLOCK]),
            suffix: with_dst(&[0, 64, 0]),
            last: with_dst(&[1]),
        }
    }

    /// 64 uniform bytes for one message (`len_in_bytes` = 64, so `ell` = 1 and the result is b_1).
    #[must_use]
    pub fn expand(&self, message: &[u8]) -> [u8; DIGEST] {
        let b_0 = self
            .padded
            .clone()
            .chain_update(message)
            .chain_update(&self.suffix)
            .finalize();
        Sha512::new()
            .chain_update(b_0)
            .chain_update(&self.last)
            .finalize()
            .into()
    }
}

impl Expand for One {
    #[inline(always)]
    fn expand(expander: &Expander, messages: &[&[u8]; 8], out: &mut [[u8; DIGEST]; 8]) {
        for (message, out) in messages.iter().zip(out) {
            *out = expander.expand(message);
        }
    }
}

/// Block `at` of `parts` laid end to end and padded (FIPS 180-4, section 5.1.2); `before` bytes came earlier.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn padded_block(parts: [&[u8]; 2], before: usize, at: usize) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let (start, end) = (at * BLOCK, (at + 1) * BLOCK);
    let mut offset = 0;
    for part in parts.into_iter().chain([[0x80].as_slice()]) {
        let (from, to) = (start.max(offset), end.min(offset + part.len()));
        if from < to {
            block[from - start..to - start].copy_from_slice(&part[from - offset..to - offset]);
        }
        offset += part.len();
    }
    if at + 1 == blocks(parts) {
        let bits = 8 * (before + offset - 1) as u64;
        block[BLOCK - 8..].copy_from_slice(&bits.to_be_bytes());
    }
    block
}

/// How many blocks `parts` fill with their padding.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn blocks(parts: [&[u8]; 2]) -> usize {
    (parts[0].len() + parts[1].len() + 17).div_ceil(BLOCK)
}

/// Eight messages in the eight lanes of AVX-512.
#[cfg(target_arch = "x86_64")]
impl Expand for Eight {
    #[inline(always)]
    fn expand(expander: &Expander, messages: &[&[u8]; 8], out: &mut [[u8; DIGEST]; 8]) {
        let mut words = [[0u64; 8]; 16];
        let mut state = State::start();
        state.absorb(&words, Lanes::MAX);
        let inputs = messages.map(|message| [message, &expander.suffix]);
        let counts = inputs.map(blocks);
        for at in 0..counts.into_iter().fold(0, usize::max) {
            let mut lanes: Lanes = 0;
            for lane in (0..8).filter(|&lane| at < counts[lane]) {
                lanes |= 1 << lane;
                let block = padded_block(inputs[lane], BLOCK, at);
                for (word, bytes) in words.iter_mut().zip(block.as_chunks::<8>().0) {
                    word[lane] = u64::from_be_bytes(*bytes);
                }
            }
            state.absorb(&words, lanes);
        }
        let b_0 = state.words();
        words[..8].copy_from_slice(&b_0);
        state = State::start();
        // The place of b_0 is filled in afterwards: its bytes differ from lane to lane, the others do not.
        let rest = [[0; DIGEST].as_slice(), &expander.last];
        for at in 0..blocks(rest) {
            let block = padded_block(rest, 0, at);
            let filled = if at == 0 { DIGEST / 8 } else { 0 };
            let bytes = block.as_chunks::<8>().0;
            for (word, bytes) in words.iter_mut().zip(bytes).skip(filled) {
                *word = [u64::from_be_bytes(*bytes); 8];
            }
            state.absorb(&words, Lanes::MAX);
        }
        for (at, word) in state.words().into_iter().enumerate() {
            for (out, word) in out.iter_mut().zip(word) {
                out[8 * at..8 * at + 8].copy_from_slice(&word.to_be_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Expander;
    use crate::kernels::available;

    /// Lengths around the ends of blocks, different in the eight lanes.
    #[test]
    fn every_path_expands_as_the_sequential_one() {
        let text: Vec<u8> = (0..=255).cycle().take(600).collect();
        for dst in [1, 40, 45, 46, 60, 126, 255] {
            let expander = Expander::new(&text[..dst]);
            for first in (0..400).step_by(13) {
                let messages =
                    [0, 1, 5, 16, 40, 64, 127, 130].map(|more| &text[3..3 + first + more]);
                let wanted = messages.map(|message| expander.expand(message));
                for path in available() {
                    let mut out = [[[0; 64]; 8]];
                    path.expand(&expander, &[messages], &mut out);
                    assert_eq!(out[0], wanted, "{} {dst} {first}", path.name());
                }
            }
        }
    }
}
