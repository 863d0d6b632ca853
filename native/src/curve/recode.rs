//! Scalars as 255 signed bits, none of them zero, so that every digit is odd and no window is skipped.

use curve25519_dalek::Scalar;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// ℓ, little-endian.
const ORDER: [u64; 4] = [
    0x5812_631a_5cf5_d3ed,
    0x14de_f9de_a2f7_9cd6,
    0,
    0x1000_0000_0000_0000,
];

/// Bits c_i with k ≡ Σ (2c_i − 1)·2^i (mod ℓ), i = 0..255.
///
/// k is made odd by adding ℓ if need be; then c = (k + 2²⁵⁵ − 1)/2 = (k − 1)/2 + 2²⁵⁴. Multiplying by an even k
/// thus multiplies by k + ℓ: the same ristretto255 element, whatever representative the point has.
#[derive(Clone)]
pub struct SignedBits([u64; 4]);

impl Zeroize for SignedBits {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

impl Drop for SignedBits {
    fn drop(&mut self) {
        self.zeroize();
    }
}

impl ZeroizeOnDrop for SignedBits {}

impl SignedBits {
    #[must_use]
    pub fn new(scalar: &Scalar) -> Self {
        let mut k = [0u64; 4];
        for (word, chunk) in k.iter_mut().zip(scalar.as_bytes().as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*chunk);
        }
        let even = (k[0] & 1).wrapping_sub(1);
        let mut carry = false;
        for (word, order) in k.iter_mut().zip(ORDER) {
            let (sum, over) = word.overflowing_add(order & even);
            let (sum, again) = sum.overflowing_add(u64::from(carry));
            *word = sum;
            carry = over | again;
        }
        let bits = Self([
            k[0] >> 1 | k[1] << 63,
            k[1] >> 1 | k[2] << 63,
            k[2] >> 1 | k[3] << 63,
            (k[3] >> 1) + (1 << 62),
        ]);
        k.zeroize();
        bits
    }

    /// The bits of an odd number below 2^(6·windows), for that many windows only.
    #[must_use]
    pub fn short(odd: u64, windows: usize) -> Self {
        Self([(odd >> 1) + (1 << (6 * windows - 1)), 0, 0, 0])
    }

    /// The bits of 2m + 1, for so many windows only; −2^(6·windows − 1) ≤ m < 2^(6·windows − 1).
    #[must_use]
    pub fn odd(m: i32, windows: usize) -> Self {
        Self([
            (i64::from(m) + (1 << (6 * windows - 1))).cast_unsigned(),
            0,
            0,
            0,
        ])
    }

    /// c_i.
    #[inline(always)]
    #[must_use]
    pub fn bit(&self, i: usize) -> u8 {
        ((self.0[i / 64] >> (i % 64)) & 1) as u8
    }

    /// The digit j of radix 16, as (index of its magnitude among 1, 3, …, 15; 1 if negative); j < 64.
    #[inline(always)]
    #[must_use]
    pub fn digit(&self, j: usize) -> (u8, u8) {
        // The topmost has three bits c and is 2c − 7 = 2(c + 4) − 15.
        let top = u8::from(j == 63) * 4;
        let c = (self.0[j / 16] >> (4 * (j % 16))) as u8 & 15;
        let c = c + top;
        let negative = (c >> 3) ^ 1;
        ((c ^ negative.wrapping_neg()) & 7, negative)
    }
}

/// Eight scalars side by side: word after word, lane by lane.
pub struct Digits8 {
    pub words: [[u64; 8]; 4],
}

impl Drop for Digits8 {
    fn drop(&mut self) {
        self.words.zeroize();
    }
}

impl Digits8 {
    #[inline(always)]
    #[must_use]
    pub fn new(scalars: &[SignedBits]) -> Self {
        let mut words = [[0; 8]; 4];
        for (lane, scalar) in scalars.iter().take(8).enumerate() {
            for (row, word) in words.iter_mut().zip(scalar.0) {
                row[lane] = word;
            }
        }
        Self { words }
    }

    /// The digit j of radix 64 of a lane's scalar as a number c in 0..64: it is 2c − 63; j < 43.
    #[inline(always)]
    #[must_use]
    pub fn window(&self, j: usize, lane: usize) -> u8 {
        let at = 6 * j;
        let (word, shift) = (at / 64, at % 64);
        let low = self.words[word][lane] >> shift;
        let high = if shift > 58 && word < 3 {
            self.words[word + 1][lane] << (64 - shift)
        } else {
            0
        };
        ((low | high) & 63) as u8 + top_offset(j) as u8
    }
}

/// What is added to the digit j: the topmost has three bits c and is 2c − 7 = 2(c + 28) − 63.
#[inline(always)]
#[must_use]
pub const fn top_offset(j: usize) -> u64 {
    if j == 42 { 28 } else { 0 }
}

/// Splits c in 0..2^BITS, for the odd number 2c + 1 − 2^BITS, into (index of its magnitude among 1, 3, 5, …; 1 if negative).
#[inline(always)]
#[must_use]
pub fn magnitude<const BITS: usize>(c: u8) -> (u8, u8) {
    let negative = (c >> (BITS - 1)) ^ 1;
    (
        (c ^ negative.wrapping_neg()) & ((1 << (BITS - 1)) - 1),
        negative,
    )
}
