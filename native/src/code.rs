//! A binary linear code of length 572, dimension 126 and minimum distance at least 128.
//!
//! Reed and Solomon's code of length 52 and dimension 21 over GF(64), distance 52 − 21 + 1 = 32, each of whose symbols
//! is written as a word of an [11, 6, 4] code (Forney's concatenation): two words differ in 32 symbols or more, and
//! each of those in 4 bits or more.
//!
//! The symbols of a value are the coefficients of a polynomial of degree below 21, which is evaluated at 52
//! elements of the field. Word and value are vectors over GF(2), so encoding is a look-up for each byte of the value.

use std::sync::OnceLock;

use zeroize::Zeroize;

/// Bits of a word: 572.
pub const LENGTH: usize = POINTS * INNER_BITS;
/// 64-bit words that hold a word.
pub const WORDS: usize = LENGTH.div_ceil(64);
/// Bits of a value: 126.
pub const DIMENSION: usize = SYMBOLS * SYMBOL_BITS;
/// Bits in which two words differ at least.
pub const DISTANCE: usize = 128;

/// A word of the code, or as many bits of something else; those from `LENGTH` on are zero.
pub type Row = [u64; WORDS];

/// What is encoded: 126 bits; the two beyond are zero.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Value([u64; 2]);

const SYMBOLS: usize = 21;
const POINTS: usize = 52;
const SYMBOL_BITS: usize = 6;
const INNER_BITS: usize = 11;
const BYTES: usize = 16;

impl Value {
    pub const ZERO: Self = Self([0; 2]);

    /// The first 126 bits.
    #[must_use]
    pub fn from_bits(bits: [u64; 2]) -> Self {
        Self([bits[0], bits[1] & (u64::MAX >> 2)])
    }

    /// All 128, the last two as zeros.
    #[must_use]
    pub fn bits(self) -> [u64; 2] {
        self.0
    }

    #[must_use]
    pub fn to_bytes(self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(&self.0[0].to_le_bytes());
        bytes[8..].copy_from_slice(&self.0[1].to_le_bytes());
        bytes
    }
}

impl Zeroize for Value {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

impl std::ops::BitXorAssign for Value {
    #[inline(always)]
    fn bitxor_assign(&mut self, other: Self) {
        self.0[0] ^= other.0[0];
        self.0[1] ^= other.0[1];
    }
}

/// Adds, over GF(2).
#[inline(always)]
pub fn add(row: &mut Row, other: &Row) {
    for (word, other) in row.iter_mut().zip(other) {
        *word ^= other;
    }
}

/// For each byte of a value and each of its 256 forms, the word.
pub struct Code {
    tables: Vec<[Row; 256]>,
}

impl Code {
    /// The code, its tables filled on first use.
    pub fn get() -> &'static Self {
        static CODE: OnceLock<Code> = OnceLock::new();
        CODE.get_or_init(|| Self::from_generator(&generator()))
    }

    /// The code with all words restricted to the bits of `mask`.
    #[must_use]
    pub fn masked(mask: &Row) -> Self {
        let mut rows = generator();
        for row in &mut rows {
            for (word, mask) in row.iter_mut().zip(mask) {
                *word &= mask;
            }
        }
        let code = Self::from_generator(&rows);
        rows.zeroize();
        code
    }

    fn from_generator(rows: &[Row]) -> Self {
        let mut tables = vec![[[0; WORDS]; 256]; BYTES];
        for (table, rows) in tables.iter_mut().zip(rows.chunks(8)) {
            for form in 1..256usize {
                let mut row = table[form & (form - 1)];
                if let Some(last) = rows.get(form.trailing_zeros() as usize) {
                    add(&mut row, last);
                }
                table[form] = row;
            }
        }
        Self { tables }
    }

    /// The word of a value.
    #[inline(always)]
    #[must_use]
    pub fn word(&self, value: Value) -> Row {
        let mut row = [0; WORDS];
        self.add_word(value, &mut row);
        row
    }

    /// Adds the word of a value.
    #[inline(always)]
    pub fn add_word(&self, value: Value, row: &mut Row) {
        for (table, byte) in self.tables.iter().zip(value.to_bytes()) {
            add(row, &table[usize::from(byte)]);
        }
    }
}

impl Drop for Code {
    fn drop(&mut self) {
        for table in &mut self.tables {
            table.as_flattened_mut().zeroize();
        }
    }
}

/// The words of the 126 values of one bit.
fn generator() -> Vec<Row> {
    (0..DIMENSION)
        .map(|bit| {
            let (degree, symbol) = (bit / SYMBOL_BITS, 1 << (bit % SYMBOL_BITS));
            let mut row = [0; WORDS];
            for point in 0..POINTS {
                let symbol = times(symbol, power(element(point), degree));
                for inner in 0..INNER_BITS {
                    let at = point * INNER_BITS + inner;
                    row[at / 64] |= u64::from(inner_word(symbol) >> inner & 1) << (at % 64);
                }
            }
            row
        })
        .collect()
}

/// The distinct elements at which polynomials are evaluated.
fn element(point: usize) -> u8 {
    point as u8
}

/// The product in GF(2)[x] / (x⁶ + x + 1).
fn times(a: u8, b: u8) -> u8 {
    let mut product = (0..SYMBOL_BITS)
        .filter(|i| b >> i & 1 == 1)
        .fold(0u16, |sum, i| sum ^ u16::from(a) << i);
    for i in (SYMBOL_BITS..2 * SYMBOL_BITS).rev() {
        if product >> i & 1 == 1 {
            product ^= 0b100_0011 << (i - SYMBOL_BITS);
        }
    }
    product as u8
}

fn power(a: u8, exponent: usize) -> u8 {
    (0..exponent).fold(1, |product, _| times(product, a))
}

/// Six bits and five of parity. Every bit's column of the parity check is another vector of odd weight, so no one, two
/// or three of them add up to zero.
fn inner_word(symbol: u8) -> u16 {
    const COLUMNS: [u16; SYMBOL_BITS] = [0b00111, 0b01011, 0b01101, 0b01110, 0b10011, 0b10101];
    let parity = COLUMNS
        .iter()
        .enumerate()
        .filter(|(i, _)| symbol >> i & 1 == 1)
        .fold(0, |sum, (_, column)| sum ^ column);
    u16::from(symbol) | parity << SYMBOL_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(row: &Row) -> u32 {
        row.iter().map(|word| word.count_ones()).sum()
    }

    #[test]
    fn the_inner_code_has_distance_four() {
        let weights = (1..64).map(|symbol| inner_word(symbol).count_ones());
        assert_eq!(weights.min(), Some(4));
        assert!((0..64).all(|symbol| inner_word(symbol) < 1 << INNER_BITS));
    }

    #[test]
    fn the_field_is_a_field() {
        for a in 1..64u8 {
            let mut products: Vec<u8> = (0..64).map(|b| times(a, b)).collect();
            products.sort_unstable();
            assert_eq!(products, (0..64).collect::<Vec<u8>>());
            assert_eq!(times(a, 1), a);
            for b in 0..64 {
                assert_eq!(times(a, b), times(b, a));
                for c in [3, 17, 62] {
                    assert_eq!(times(a, times(b, c)), times(times(a, b), c));
                    assert_eq!(times(a, b ^ c), times(a, b) ^ times(a, c));
                }
            }
        }
    }

    #[test]
    fn points_of_evaluation_are_distinct_elements() {
        let mut elements: Vec<u8> = (0..POINTS).map(element).collect();
        elements.dedup();
        assert_eq!(elements.len(), POINTS);
        assert!(elements.iter().all(|&e| e < 64));
    }

    fn drawn(i: u64) -> Value {
        let word = |n: u64| {
            let mut z = (2 * i + n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb)
        };
        Value::from_bits([word(0), word(1)])
    }

    #[test]
    fn words_are_polynomials_evaluated() {
        for value in (0..20).map(drawn) {
            let [low, high] = value.bits();
            let bits = u128::from(low) | u128::from(high) << 64;
            let row = Code::get().word(value);
            for point in 0..POINTS {
                let symbol = (0..SYMBOLS).fold(0, |sum, degree| {
                    let coefficient = (bits >> (degree * SYMBOL_BITS) & 63) as u8;
                    sum ^ times(coefficient, power(element(point), degree))
                });
                for inner in 0..INNER_BITS {
                    let at = point * INNER_BITS + inner;
                    let wanted = u64::from(inner_word(symbol) >> inner & 1);
                    assert_eq!(row[at / 64] >> (at % 64) & 1, wanted);
                }
            }
            assert_eq!(row[WORDS - 1] >> (LENGTH % 64), 0);
        }
    }

    #[test]
    fn the_code_is_linear_and_its_words_are_heavy() {
        let code = Code::get();
        for i in 0..5000 {
            let (a, b) = (drawn(i), drawn(i + 70_000));
            let mut sum = a;
            sum ^= b;
            let mut rows = code.word(a);
            code.add_word(b, &mut rows);
            assert_eq!(rows, code.word(sum));
            assert!(weight(&code.word(a)) as usize >= DISTANCE);
        }
        let ones = (0..DIMENSION).map(|bit| 1u128 << bit);
        for bits in ones.chain((0..127).map(|n| (1u128 << n) - 1)).skip(1) {
            let value = Value::from_bits([bits as u64, (bits >> 64) as u64]);
            assert!(value == Value::default() || weight(&code.word(value)) as usize >= DISTANCE);
        }
    }

    /// The product of x − e over twenty elements has the fewest symbols that are not zero; so has every multiple.
    #[test]
    fn the_lightest_words_have_the_distance() {
        let mut lightest = u32::MAX;
        for start in 0..32 {
            let mut polynomial = vec![1u8];
            for e in start..start + 20 {
                let mut next = vec![0u8; polynomial.len() + 1];
                for (i, &c) in polynomial.iter().enumerate() {
                    next[i + 1] ^= c;
                    next[i] ^= times(c, element(e));
                }
                polynomial = next;
            }
            for factor in 1..64 {
                let bits = polynomial.iter().enumerate().fold(0u128, |bits, (i, &c)| {
                    bits | u128::from(times(c, factor)) << (i * SYMBOL_BITS)
                });
                let value = Value::from_bits([bits as u64, (bits >> 64) as u64]);
                lightest = lightest.min(weight(&Code::get().word(value)));
            }
        }
        assert!(
            (DISTANCE as u32..DISTANCE as u32 + 40).contains(&lightest),
            "{lightest}"
        );
    }

    #[test]
    fn a_masked_code_keeps_the_bits_of_the_mask() {
        let mask = Code::get().word(drawn(3));
        let masked = Code::masked(&mask);
        for value in (0..50).map(drawn) {
            let mut wanted = Code::get().word(value);
            wanted
                .iter_mut()
                .zip(mask)
                .for_each(|(word, mask)| *word &= mask);
            assert_eq!(masked.word(value), wanted);
        }
    }
}
