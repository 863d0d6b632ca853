//! Alignment: an oblivious function of identifiers, 2HashDH with additive blinding (Jarecki and Liu, SCN 2010).
//!
//! With H = `hash_to_ristretto255` (RFC 9380, appendix B), a secret scalar β whose key is K = β·G, and a scalar rᵢ
//! per identifier, the steps and their factors of two are
//!
//! ```text
//! blind          Xᵢ = 2·(H(idᵢ) + rᵢ·G)
//! evaluate       Eᵢ = β·Xᵢ = 2·((β/2)·Xᵢ)
//! unblind        D(2·(Eᵢ − 2rᵢ·K)) = D(4β·H(idᵢ))
//! evaluate_ids   D(4β·H(id)) = D(2·(2β·H(id)))
//! ```
//!
//! Every point that is encoded is the double of one at hand: doubles are encoded with one inversion for a whole
//! batch, where other points take an inverse square root each.

use curve25519_dalek::Scalar;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::curve::fixed_base::{FixedBase, generator_table};
use crate::curve::point::Point8;
use crate::curve::recode::SignedBits;
use crate::fault::Fault;
use crate::kernels::{Encodings8, Kernels, current};
use crate::points::{Encoding, blocks_per_task, decode_blocks, in_blocks};
use crate::randomness::RowScalars;
use crate::xmd::Expander;

/// The bytes of a digest.
pub type Short = [u8; 16];

/// What the scalars rᵢ are derived under.
const BLINDS: &str = "parley/alignment-blind/v1";

/// Identifiers in one text: id i is `data[spans[i][0]..spans[i][1]]`.
pub struct Identifiers<'a> {
    data: &'a [u8],
    spans: &'a [[u64; 2]],
}

impl<'a> Identifiers<'a> {
    /// # Errors
    /// `Input` if a span ends before it begins, or leaves the data.
    pub fn checked(data: &'a [u8], spans: &'a [[u64; 2]]) -> Result<Self, Fault> {
        let size = data.len() as u64;
        match spans
            .iter()
            .position(|&[begin, end]| begin > end || end > size)
        {
            None => Ok(Self { data, spans }),
            Some(i) => Err(Fault::Input(format!(
                "spans: expected a begin, and an end not before it, of at most {size} (the bytes in data), \
                 got {} and {} at position {i}",
                spans[i][0], spans[i][1]
            ))),
        }
    }

    fn get(&self, i: usize) -> &'a [u8] {
        let [begin, end] = self.spans[i].map(|at| usize::try_from(at).unwrap_or(usize::MAX));
        &self.data[begin..end]
    }

    fn len(&self) -> usize {
        self.spans.len()
    }
}

/// K = β·G, with its table.
pub struct EvaluationKey {
    table: FixedBase,
}

impl EvaluationKey {
    /// # Errors
    /// `Decode` if the encoding is not canonical; `Input` if it is the neutral point's.
    pub fn decode(encoding: &Encoding) -> Result<Self, Fault> {
        if *encoding == [0; 32] {
            return Err(Fault::Input("key: it is the neutral point".into()));
        }
        let kernels = current()?;
        let mut points = [Point8::identity()];
        decode_blocks(kernels, &[[*encoding; 8]], &mut points).map_err(|_| Fault::Decode(0))?;
        Ok(Self {
            table: kernels.fixed_base(&points[0]),
        })
    }
}

/// The scalars rᵢ of one pair: rᵢ depends on the seed and on i only.
pub struct Blinds(RowScalars);

impl Blinds {
    #[must_use]
    pub fn new(seed: &[u8; 32]) -> Self {
        Self(RowScalars::new(BLINDS, seed))
    }

    /// `multiple` of rᵢ for every lane of so many blocks from i = `first` on.
    fn take(
        &self,
        first: u64,
        blocks: usize,
        multiple: impl Fn(&Scalar) -> Scalar,
    ) -> Vec<SignedBits> {
        let r = self.0.take(first, 8 * blocks);
        r.iter().map(|r| SignedBits::new(&multiple(r))).collect()
    }
}

/// H of every identifier.
///
/// # Errors
/// `Input` unless the DST has 1..=255 bytes.
pub fn hash(ids: &Identifiers<'_>, dst: &[u8]) -> Result<Vec<Encoding>, Fault> {
    let hashing = Hashing::new(ids, dst)?;
    in_tasks(ids.len(), |first, points, out| {
        hashing.points(first, points);
        hashing.kernels.encode(points, out);
        Ok(())
    })
}

/// Xᵢ of every identifier; the first takes the scalar of index `index`.
///
/// # Errors
/// As `hash`.
pub fn blind(
    ids: &Identifiers<'_>,
    dst: &[u8],
    blinds: &Blinds,
    index: u64,
) -> Result<Vec<Encoding>, Fault> {
    let hashing = Hashing::new(ids, dst)?;
    let table = generator_table();
    in_tasks(ids.len(), |first, points, out| {
        hashing.points(first, points);
        let index = index.wrapping_add(first as u64);
        let r = blinds.take(index, points.len(), |r| *r);
        hashing.kernels.add_multiples(table, &r, points);
        hashing.kernels.encode_doubles(points, out);
        Ok(())
    })
}

/// Eᵢ: every point times `secret`.
///
/// # Errors
/// `Decode` if an element is not canonical.
pub fn evaluate(encodings: &[Encoding], secret: &Scalar) -> Result<Vec<Encoding>, Fault> {
    let kernels = current()?;
    let half = SignedBits::new(&secret.div_by_2());
    in_tasks(encodings.len(), |first, points, out| {
        decode_task(kernels, encodings, first, points)?;
        kernels.encode_doubles(&multiplied(kernels, points, &half), out);
        Ok(())
    })
}

/// D(4·`secret`·H) of every identifier.
///
/// # Errors
/// As `hash`; `Input` if the tag has more than 255 bytes.
pub fn evaluate_ids(
    ids: &Identifiers<'_>,
    dst: &[u8],
    secret: &Scalar,
    tag: &[u8],
) -> Result<Vec<Short>, Fault> {
    let hashing = Hashing::new(ids, dst)?;
    let digesting = Digesting::new(tag)?;
    let twice = SignedBits::new(&(secret + secret));
    in_tasks(ids.len(), |first, points, out| {
        hashing.points(first, points);
        let products = multiplied(hashing.kernels, points, &twice);
        digesting.doubles(hashing.kernels, &products, out);
        Ok(())
    })
}

/// D(2·(Eᵢ − 2rᵢ·K)) of every evaluated point; the first takes the scalar of index `index`.
///
/// # Errors
/// `Decode` if an element is not canonical; `Input` if the tag has more than 255 bytes.
pub fn unblind(
    encodings: &[Encoding],
    key: &EvaluationKey,
    blinds: &Blinds,
    index: u64,
    tag: &[u8],
) -> Result<Vec<Short>, Fault> {
    let kernels = current()?;
    let digesting = Digesting::new(tag)?;
    in_tasks(encodings.len(), |first, points, out| {
        decode_task(kernels, encodings, first, points)?;
        let index = index.wrapping_add(first as u64);
        let minus_two_r = blinds.take(index, points.len(), |r| -(r + r));
        kernels.add_multiples(&key.table, &minus_two_r, points);
        digesting.doubles(kernels, points, out);
        Ok(())
    })
}

/// H under one tag, task by task.
struct Hashing<'a> {
    kernels: &'static dyn Kernels,
    ids: &'a Identifiers<'a>,
    expander: Expander,
}

impl<'a> Hashing<'a> {
    fn new(ids: &'a Identifiers<'a>, dst: &[u8]) -> Result<Self, Fault> {
        if !(1..=255).contains(&dst.len()) {
            return Err(Fault::Input(format!(
                "dst: expected 1..=255 bytes, got {}",
                dst.len()
            )));
        }
        Ok(Self {
            kernels: current()?,
            ids,
            expander: Expander::new(dst),
        })
    }

    /// The points of the identifiers from `first` on; lanes beyond the last are those of an empty one.
    fn points(&self, first: usize, points: &mut [Point8]) {
        let mut strings = vec![[[0u8; 64]; 8]; points.len()];
        let mut messages = vec![[[].as_slice(); 8]; points.len()];
        let last = self.ids.len().min(first + 8 * points.len());
        for (message, i) in messages.as_flattened_mut().iter_mut().zip(first..last) {
            *message = self.ids.get(i);
        }
        self.kernels.expand(&self.expander, &messages, &mut strings);
        self.kernels.derive(&strings, points);
    }
}

/// D under one tag: the first 16 bytes of SHA-256(len(tag) ‖ tag ‖ encoding).
struct Digesting {
    tagged: Sha256,
}

impl Digesting {
    fn new(tag: &[u8]) -> Result<Self, Fault> {
        let Ok(length) = u8::try_from(tag.len()) else {
            return Err(Fault::Input(format!(
                "tag: expected at most 255 bytes, got {}",
                tag.len()
            )));
        };
        Ok(Self {
            tagged: Sha256::new().chain_update([length]).chain_update(tag),
        })
    }

    /// The digests of the doubles of all points.
    fn doubles(&self, kernels: &dyn Kernels, points: &[Point8], out: &mut [[Short; 8]]) {
        let mut encodings: Vec<Encodings8> = vec![[[0; 32]; 8]; points.len()];
        kernels.encode_doubles(points, &mut encodings);
        let encodings = encodings.as_flattened();
        for (short, encoding) in out.as_flattened_mut().iter_mut().zip(encodings) {
            let digest: [u8; 32] = self.tagged.clone().chain_update(encoding).finalize().into();
            short.copy_from_slice(&digest[..16]);
        }
    }
}

/// Decodes the elements from `first` on; lanes beyond the last are the neutral point's.
fn decode_task(
    kernels: &dyn Kernels,
    encodings: &[Encoding],
    first: usize,
    points: &mut [Point8],
) -> Result<(), Fault> {
    let last = encodings.len().min(first + 8 * points.len());
    let blocks = in_blocks(encodings[first..last].iter().copied());
    decode_blocks(kernels, &blocks, points).map_err(|at| Fault::Decode(first + at))
}

fn multiplied(kernels: &dyn Kernels, points: &[Point8], scalar: &SignedBits) -> Vec<Point8> {
    let mut products = [vec![Point8::identity(); points.len()]];
    kernels.multiply(points, std::slice::from_ref(scalar), &mut products);
    let [products] = products;
    products
}

/// Cuts `count` elements into tasks; `work` gets the position of its first element, room for points and for results.
fn in_tasks<const BYTES: usize>(
    count: usize,
    work: impl Fn(usize, &mut [Point8], &mut [[[u8; BYTES]; 8]]) -> Result<(), Fault> + Sync,
) -> Result<Vec<[u8; BYTES]>, Fault> {
    let mut out = vec![[[0u8; BYTES]; 8]; count.div_ceil(8)];
    let task = blocks_per_task(out.len());
    let failed = out
        .par_chunks_mut(task)
        .enumerate()
        .filter_map(|(t, out)| {
            let mut points = vec![Point8::identity(); out.len()];
            work(8 * task * t, &mut points, out)
                .err()
                .map(|fault| (t, fault))
        })
        .min_by_key(|(t, _)| *t);
    if let Some((_, fault)) = failed {
        return Err(fault);
    }
    let mut flat = out.into_flattened();
    flat.truncate(count);
    Ok(flat)
}
