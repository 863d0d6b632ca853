//! Oblivious transfer of keys: one party offers two keys for every bit, the other takes one of each two, and neither
//! learns which, or the other key (Masny and Rindal, "Endemic Oblivious Transfer", CCS 2019, over ristretto255).
//!
//! ```text
//! taker    for bit c: scalars a, ρ       r_{1−c} = ρ·G,   r_c = a·G − H(i, 1−c, r_{1−c})
//! giver    scalar b, B = b·G             A_0 = r_0 + H(i, 1, r_1),   A_1 = r_1 + H(i, 0, r_0)
//! giver    key for bit c of number i     SHA-256(i, c, r_0, r_1, B, b·A_c)
//! taker    the same from                 a·B = b·A_c
//! ```
//!
//! H hashes to the group under a tag.

use curve25519_dalek::{RistrettoPoint, Scalar};
use zeroize::{Zeroize, Zeroizing};

use crate::code::{LENGTH, Row, WORDS};
use crate::curve::fixed_base::{FixedBase, generator_table};
use crate::curve::point::Point8;
use crate::curve::recode::SignedBits;
use crate::fault::Fault;
use crate::group::{Hashing, multiplied};
use crate::identifiers::{Identifiers, under};
use crate::kernels::{Encodings8, Kernels, current};
use crate::points::{Encoding, decode_blocks, in_blocks};
use crate::randomness::{RowScalars, seeded_bytes};

/// A key of a stream of bits; zeroised on drop by who holds it.
pub type Key = [u8; 32];
/// r_0 and r_1.
pub type Offer = [Encoding; 2];

/// Blocks of eight that hold one element per bit.
const BLOCKS: usize = LENGTH.div_ceil(8);

/// What both derive keys under: the tag of H, and 32 bytes that go into every key.
pub struct Tag<'a> {
    pub hashing: &'a [u8],
    pub keys: &'a [u8; 32],
}

/// The taker's secrets: its bits, and what opens the keys.
pub struct Taker {
    bits: Zeroizing<Row>,
    openers: Zeroizing<Vec<Scalar>>,
    offers: Vec<Offer>,
}

impl Taker {
    /// Bits and scalars derived from the seed.
    ///
    /// # Errors
    /// `Input` unless the tag has 1..=255 bytes.
    pub fn new(seed: &[u8; 32], hashing: &[u8]) -> Result<Self, Fault> {
        let kernels = current()?;
        let mut bytes = Zeroizing::new([0u8; 8 * WORDS]);
        seeded_bytes("parley/alignment-bits/v1", seed, &mut bytes[..]);
        let mut bits = Zeroizing::new([0; WORDS]);
        for (word, chunk) in bits.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*chunk);
        }
        bits[WORDS - 1] &= (1 << (LENGTH % 64)) - 1;
        let openers = RowScalars::new("parley/alignment-opener/v1", seed).take(0, LENGTH);
        let others = RowScalars::new("parley/alignment-other/v1", seed).take(0, LENGTH);
        let other = encoded(kernels, &multiples(kernels, generator_table(), &others));
        let which: Vec<u8> = (0..LENGTH).map(|i| 1 - bit(&bits, i)).collect();
        let hashes = hashed(hashing, &other, |i| which[i])?;
        let mut own = multiples(kernels, generator_table(), &openers);
        kernels.subtract(&mut own, &hashes);
        let own = encoded(kernels, &own);
        let offers = (0..LENGTH).map(|i| placed(bit(&bits, i), &own[i], &other[i]));
        let offers = offers.collect();
        Ok(Self {
            bits,
            openers,
            offers,
        })
    }

    #[must_use]
    pub fn offers(&self) -> &[Offer] {
        &self.offers
    }

    #[must_use]
    pub fn bits(&self) -> &Row {
        &self.bits
    }

    /// The keys of the taker's bits, from the giver's point B.
    ///
    /// # Errors
    /// `Decode` if B is not canonical, `Input` if it is the neutral point.
    pub fn take(&self, point: &Encoding, tag: &[u8; 32]) -> Result<Zeroizing<Vec<Key>>, Fault> {
        if *point == [0; 32] {
            return Err(Fault::Input("key: it is the neutral point".into()));
        }
        let kernels = current()?;
        let mut base = [Point8::identity()];
        decode_blocks(kernels, &[[*point; 8]], &mut base).map_err(|_| Fault::Decode(0))?;
        let table = kernels.fixed_base(&base[0]);
        let shared = Zeroizing::new(encoded(kernels, &multiples(kernels, &table, &self.openers)));
        let key = |i: usize| {
            key(
                tag,
                i,
                bit(&self.bits, i),
                &self.offers[i],
                point,
                &shared[i],
            )
        };
        Ok(Zeroizing::new((0..LENGTH).map(key).collect()))
    }
}

/// Both keys of every bit, and the point B that lets the taker have one of them.
///
/// # Errors
/// `Decode` with twice the position, plus one for r_1, of a point that is not canonical; `Input` unless there are as
/// many offers as bits and the tag of H has 1..=255 bytes.
#[allow(
    clippy::type_complexity,
    reason = "the keys of bit 0 and those of bit 1"
)]
pub fn give(
    offers: &[Offer],
    secret: &Scalar,
    tag: &Tag<'_>,
) -> Result<(Encoding, [Zeroizing<Vec<Key>>; 2]), Fault> {
    if offers.len() != LENGTH {
        return Err(Fault::Input(format!(
            "offers: expected {LENGTH} pairs of points, got {}",
            offers.len()
        )));
    }
    let kernels = current()?;
    let point = RistrettoPoint::mul_base(secret).compress().0;
    let multiplier = SignedBits::new(secret);
    let mut both = Vec::with_capacity(2);
    for c in 0..2usize {
        let mut points = vec![Point8::identity(); BLOCKS];
        let blocks = in_blocks(offers.iter().map(|offer| offer[c]));
        decode_blocks(kernels, &blocks, &mut points).map_err(|i| Fault::Decode(2 * i + c))?;
        let others: Vec<Encoding> = offers.iter().map(|offer| offer[1 - c]).collect();
        let hashes = hashed(tag.hashing, &others, |_| 1 - c as u8)?;
        kernels.add(&mut points, &hashes);
        let shared = Zeroizing::new(encoded(kernels, &multiplied(kernels, &points, &multiplier)));
        let key = |i: usize| key(tag.keys, i, c as u8, &offers[i], &point, &shared[i]);
        both.push(Zeroizing::new((0..LENGTH).map(key).collect::<Vec<Key>>()));
    }
    let [zeros, ones] = [both.swap_remove(0), both.swap_remove(0)];
    Ok((point, [zeros, ones]))
}

fn bit(bits: &Row, i: usize) -> u8 {
    (bits[i / 64] >> (i % 64)) as u8 & 1
}

/// `own` at place `c` and `other` at the other place, without a branch.
fn placed(c: u8, own: &Encoding, other: &Encoding) -> Offer {
    let mask = std::hint::black_box(c.wrapping_neg());
    let mut offer = [*own, *other];
    let [first, second] = &mut offer;
    for (a, b) in first.iter_mut().zip(second) {
        let change = (*a ^ *b) & mask;
        *a ^= change;
        *b ^= change;
    }
    offer
}

/// H(i, which, point) of every point; the hash takes the same time whichever it is.
fn hashed(
    tag: &[u8],
    points: &[Encoding],
    which: impl Fn(usize) -> u8,
) -> Result<Vec<Point8>, Fault> {
    const BYTES: usize = 35;
    let mut text = Vec::with_capacity(BYTES * points.len());
    for (i, point) in points.iter().enumerate() {
        text.extend_from_slice(&(i as u16).to_le_bytes());
        text.push(which(i));
        text.extend_from_slice(point);
    }
    let spans: Vec<[u64; 2]> = (0..points.len())
        .map(|i| [BYTES * i, BYTES * (i + 1)].map(|at| at as u64))
        .collect();
    let ids = Identifiers::checked(&text, &spans)?;
    let mut hashes = vec![Point8::identity(); BLOCKS];
    Hashing::new(&ids, tag)?.points(0, &mut hashes);
    text.zeroize();
    Ok(hashes)
}

/// A multiple of a fixed point for every scalar; lanes beyond the last hold nothing of use.
fn multiples(kernels: &dyn Kernels, table: &FixedBase, scalars: &[Scalar]) -> Vec<Point8> {
    let mut digits: Vec<SignedBits> = scalars.iter().map(SignedBits::new).collect();
    digits.resize_with(8 * BLOCKS, || SignedBits::new(&Scalar::ONE));
    let mut points = vec![Point8::identity(); BLOCKS];
    kernels.add_multiples(table, &digits, &mut points);
    points
}

fn encoded(kernels: &dyn Kernels, points: &[Point8]) -> Vec<Encoding> {
    let mut encodings: Vec<Encodings8> = vec![[[0; 32]; 8]; points.len()];
    kernels.encode(points, &mut encodings);
    encodings.into_flattened()[..LENGTH].to_vec()
}

fn key(tag: &[u8; 32], i: usize, c: u8, offer: &Offer, point: &Encoding, shared: &Encoding) -> Key {
    use sha2::Digest;
    under("parley/alignment-key/v1", tag)
        .chain_update((i as u16).to_le_bytes())
        .chain_update([c])
        .chain_update(offer.as_flattened())
        .chain_update(point)
        .chain_update(shared)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::ristretto::CompressedRistretto;

    use super::*;
    use crate::kernels::{available, choose};

    const TAG: Tag<'_> = Tag {
        hashing: b"dst",
        keys: &[3; 32],
    };

    fn point(encoding: &Encoding) -> RistrettoPoint {
        CompressedRistretto(*encoding)
            .decompress()
            .unwrap_or_default()
    }

    #[test]
    fn the_taker_has_the_key_of_its_bit_and_not_the_other() -> Result<(), Fault> {
        let secret = Scalar::from(987_654_321u64).invert();
        let mut first: Option<Vec<Offer>> = None;
        for path in available() {
            choose(path.name())?;
            let taker = Taker::new(&[7; 32], TAG.hashing)?;
            assert_eq!(first.get_or_insert(taker.offers().to_vec()), taker.offers());
            let (point, both) = give(taker.offers(), &secret, &TAG)?;
            let taken = taker.take(&point, TAG.keys)?;
            let mut ones = 0;
            for i in 0..LENGTH {
                let c = usize::from(bit(taker.bits(), i));
                assert_eq!(taken[i], both[c][i], "{i}");
                assert_ne!(taken[i], both[1 - c][i], "{i}");
                ones += c;
            }
            assert!((200..372).contains(&ones));
        }
        Ok(())
    }

    /// Point by point with curve25519-dalek.
    #[test]
    fn offers_and_keys_are_those_of_the_paper() -> Result<(), Fault> {
        let secret = Scalar::from(5u64);
        let taker = Taker::new(&[8; 32], TAG.hashing)?;
        let (b, both) = give(taker.offers(), &secret, &TAG)?;
        assert_eq!(point(&b), RistrettoPoint::mul_base(&secret));
        for (i, offer) in taker.offers().iter().enumerate() {
            for c in 0..2u8 {
                let text = [
                    &(i as u16).to_le_bytes()[..],
                    &[1 - c],
                    &offer[usize::from(1 - c)],
                ]
                .concat();
                let spans = [[0, text.len() as u64]];
                let hash =
                    crate::group::hash(&Identifiers::checked(&text, &spans)?, TAG.hashing)?[0];
                let sum = point(&offer[usize::from(c)]) + point(&hash);
                let shared = (sum * secret).compress().0;
                let wanted = key(TAG.keys, i, c, offer, &b, &shared);
                assert_eq!(both[usize::from(c)][i], wanted);
            }
        }
        Ok(())
    }

    #[test]
    fn points_that_are_none_are_refused() -> Result<(), Fault> {
        let taker = Taker::new(&[7; 32], TAG.hashing)?;
        assert!(matches!(
            taker.take(&[0; 32], TAG.keys),
            Err(Fault::Input(_))
        ));
        assert!(matches!(
            taker.take(&[255; 32], TAG.keys),
            Err(Fault::Decode(0))
        ));
        let mut offers = taker.offers().to_vec();
        offers[100][1] = [255; 32];
        let outcome = give(&offers, &Scalar::ONE, &TAG);
        assert!(matches!(outcome, Err(Fault::Decode(201))));
        assert!(matches!(
            give(&offers[1..], &Scalar::ONE, &TAG),
            Err(Fault::Input(_))
        ));
        Ok(())
    }
}
