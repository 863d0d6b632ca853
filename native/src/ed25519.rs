//! Many Ed25519 signatures (RFC 8032), each verified on its own.
//!
//! The verdict on one is that of section 5.1.7 without the cofactor: S below the order of the group, and the encoding
//! of S·B − k·A equal, byte by byte, to that of R. A key must be the canonical encoding of a point that is not of small
//! order. No step looks at two signatures together: the equation for a batch accepts some that the single one refuses.
//!
//! Everything here is public, so it runs in variable time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use curve25519_dalek::edwards::CompressedEdwardsY;
use curve25519_dalek::{EdwardsPoint, Scalar};
use sha2::{Digest, Sha512};

use crate::curve::edwards;
use crate::curve::fixed_base::{FixedBase, generator_table};
use crate::curve::point::Point8;
use crate::curve::recode::SignedBits;
use crate::fault::Fault;
use crate::kernels::{Encodings8, Kernels, current};
use crate::threads;

/// Signatures by one key that a thread takes at once; they share one inversion.
const TASK: usize = 64;
/// From so many signatures on, a table of a key's multiples has taken less time than it saves, on every path.
const TABLE_FROM: usize = 128;
/// Keys whose signatures are counted and whose tables are kept, the last used; a table has 165 kB.
const KEPT: usize = 64;

/// That the holder of `public` signed `frame` followed by `message`. Any length is taken; a wrong one does not verify.
#[derive(Clone, Copy)]
pub struct Claim<'a> {
    pub public: &'a [u8],
    pub frame: &'a [u8],
    pub message: &'a [u8],
    pub signature: &'a [u8],
}

/// The verdict on each claim, in order.
///
/// # Errors
/// `Input` if the number of threads is none, or no kernels can be chosen.
pub fn verify_vartime(claims: &[Claim<'_>], threads: usize) -> Result<Vec<bool>, Fault> {
    let kernels = current()?;
    let mut places: HashMap<&[u8], Vec<usize>> = HashMap::new();
    for (place, claim) in claims.iter().enumerate() {
        places.entry(claim.public).or_default().push(place);
    }
    let mut signers: Vec<_> = places
        .into_iter()
        .map(|(public, places)| Signer {
            public,
            verdicts: vec![false; places.len()],
            places,
            key: None,
        })
        .collect();
    threads::each(threads, signers.iter_mut().collect(), |signer| {
        signer.key = Key::loaded(signer.public, signer.places.len(), kernels);
    })?;
    let tasks = signers.iter_mut().flat_map(Signer::tasks).collect();
    threads::each(threads, tasks, |(key, places, verdicts): Task<'_>| {
        key.judge(kernels, claims, places, verdicts);
    })?;
    let mut good = vec![false; claims.len()];
    for signer in &signers {
        for (place, verdict) in signer.places.iter().zip(&signer.verdicts) {
            good[*place] = *verdict;
        }
    }
    Ok(good)
}

/// The claims of one key: where they stand, and what is found of them.
struct Signer<'a> {
    public: &'a [u8],
    places: Vec<usize>,
    verdicts: Vec<bool>,
    key: Option<Key>,
}

/// A key, places of its claims, and room for the verdicts.
type Task<'a> = (&'a Key, &'a [usize], &'a mut [bool]);

impl Signer<'_> {
    /// Nothing to do for what is no key: its verdicts stay as they are.
    fn tasks(&mut self) -> impl Iterator<Item = Task<'_>> {
        let chunks = self.places.chunks(TASK).zip(self.verdicts.chunks_mut(TASK));
        let key = self.key.as_ref();
        chunks.filter_map(move |(places, verdicts)| key.map(|key| (key, places, verdicts)))
    }
}

/// What a signature is verified with: −A, or a table of A's multiples.
enum Key {
    Point(EdwardsPoint),
    Table(Arc<FixedBase>),
}

impl Key {
    /// The key for so many claims more; nothing if it is not the canonical encoding of a point, or has small order.
    ///
    /// The table is for multiples modulo the order of the group of B (`SignedBits`). A key outside that group, which is
    /// one that nobody makes by the book, goes without.
    fn loaded(public: &[u8], claims: usize, kernels: &dyn Kernels) -> Option<Self> {
        let encoding = CompressedEdwardsY::from_slice(public).ok()?;
        let (seen, table) = KNOWN
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .seen(&encoding.0, claims);
        if let Some(table) = table {
            return Some(Self::Table(table));
        }
        let point = encoding.decompress()?;
        if point.is_small_order() || point.compress() != encoding {
            return None;
        }
        if seen < TABLE_FROM || !point.is_torsion_free() {
            return Some(Self::Point(-point));
        }
        let table = Arc::new(kernels.fixed_base(&edwards::decoded(&encoding.0)));
        KNOWN
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .keep(&encoding.0, &table);
        Some(Self::Table(table))
    }

    /// The verdicts on the claims at `places`.
    fn judge(
        &self,
        kernels: &dyn Kernels,
        claims: &[Claim<'_>],
        places: &[usize],
        verdicts: &mut [bool],
    ) {
        let pairs: Vec<_> = places.iter().map(|&at| scalars(&claims[at])).collect();
        let due = self.commitments(kernels, &pairs);
        for (((verdict, &at), pair), due) in verdicts.iter_mut().zip(places).zip(&pairs).zip(due) {
            *verdict = pair.is_some() && claims[at].signature[..32] == due;
        }
    }

    /// The encodings that R must have: of S·B − k·A; any where there is no (S, k).
    fn commitments(
        &self,
        kernels: &dyn Kernels,
        pairs: &[Option<(Scalar, Scalar)>],
    ) -> Vec<[u8; 32]> {
        let pairs = pairs.iter().map(|pair| pair.unwrap_or_default());
        match self {
            Self::Point(negated) => {
                let points: Vec<_> = pairs
                    .map(|(s, k)| {
                        EdwardsPoint::vartime_double_scalar_mul_basepoint(&k, negated, &s)
                    })
                    .collect();
                let encodings = EdwardsPoint::compress_batch_alloc(&points);
                encodings.into_iter().map(|one| one.0).collect()
            }
            Self::Table(table) => {
                let (s, k): (Vec<_>, Vec<_>) = pairs.map(|(s, k)| (s, -k)).unzip();
                let mut points = vec![Point8::identity(); s.len().div_ceil(8)];
                kernels.add_multiples(generator_table(), &in_eights(&s), &mut points);
                kernels.add_multiples(table, &in_eights(&k), &mut points);
                let mut encodings: Vec<Encodings8> = vec![[[0; 32]; 8]; points.len()];
                kernels.encode_edwards(&points, &mut encodings);
                encodings.into_flattened()
            }
        }
    }
}

/// The keys used last: how many signatures each had to verify, and its table if they were many.
///
/// It only saves time: a verdict is the same with a table and without.
struct Known {
    uses: u64,
    keys: Option<HashMap<[u8; 32], Use>>,
}

struct Use {
    last: u64,
    claims: usize,
    table: Option<Arc<FixedBase>>,
}

static KNOWN: Mutex<Known> = Mutex::new(Known {
    uses: 0,
    keys: None,
});

impl Known {
    /// How many claims of a key there were with these, and its table if there is one.
    fn seen(&mut self, public: &[u8; 32], claims: usize) -> (usize, Option<Arc<FixedBase>>) {
        self.uses += 1;
        let keys = self.keys.get_or_insert_default();
        if keys.len() >= KEPT
            && !keys.contains_key(public)
            && let Some(oldest) = keys
                .iter()
                .min_by_key(|(_, key)| key.last)
                .map(|(name, _)| *name)
        {
            keys.remove(&oldest);
        }
        let key = keys.entry(*public).or_insert(Use {
            last: 0,
            claims: 0,
            table: None,
        });
        key.last = self.uses;
        key.claims = key.claims.saturating_add(claims);
        (key.claims, key.table.clone())
    }

    fn keep(&mut self, public: &[u8; 32], table: &Arc<FixedBase>) {
        if let Some(key) = self.keys.get_or_insert_default().get_mut(public) {
            key.table = Some(Arc::clone(table));
        }
    }
}

/// Recoded, the last eight filled up.
fn in_eights(scalars: &[Scalar]) -> Vec<SignedBits> {
    let mut digits: Vec<_> = scalars.iter().map(SignedBits::new).collect();
    digits.resize(
        digits.len().next_multiple_of(8),
        SignedBits::new(&Scalar::ZERO),
    );
    digits
}

/// S and k; nothing if the signature has not 64 bytes or S is not below the order.
fn scalars(claim: &Claim<'_>) -> Option<(Scalar, Scalar)> {
    let (r, s) = claim.signature.split_at_checked(32)?;
    let s = Scalar::from_canonical_bytes(s.try_into().ok()?).into_option()?;
    let hash = Sha512::new()
        .chain_update(r)
        .chain_update(claim.public)
        .chain_update(claim.frame)
        .chain_update(claim.message)
        .finalize();
    Some((s, Scalar::from_bytes_mod_order_wide(&hash.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key pair and a signature from the definition; not clamped, which verification does not ask for.
    fn signed(number: u64, message: &[u8]) -> ([u8; 32], [u8; 64]) {
        let (secret, nonce) = (Scalar::from(number + 2), Scalar::from(number * 7 + 3));
        let public = EdwardsPoint::mul_base(&secret).compress().0;
        let r = EdwardsPoint::mul_base(&nonce).compress().0;
        let hash = Sha512::new()
            .chain_update(r)
            .chain_update(public)
            .chain_update(message)
            .finalize();
        let s = nonce + Scalar::from_bytes_mod_order_wide(&hash.into()) * secret;
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&r);
        signature[32..].copy_from_slice(s.as_bytes());
        (public, signature)
    }

    #[test]
    fn each_signature_is_judged_by_itself_at_its_place() {
        let texts: Vec<Vec<u8>> = (0..200u8).map(|i| vec![i; usize::from(i)]).collect();
        let pairs: Vec<_> = (0..200u64)
            .map(|i| {
                let (public, mut signature) = signed(i % 3, &texts[usize::try_from(i).unwrap()]);
                signature[usize::try_from(i).unwrap() % 64] ^= u8::from(i % 5 == 0);
                (public, signature)
            })
            .collect();
        let claims: Vec<_> = (0..200)
            .map(|i| Claim {
                public: &pairs[i].0,
                frame: &texts[i][..i / 2],
                message: &texts[i][i / 2..],
                signature: &pairs[i].1,
            })
            .collect();
        let expected: Vec<bool> = (0..200).map(|i| i % 5 != 0).collect();
        for threads in [1, 2] {
            assert_eq!(verify_vartime(&claims, threads).unwrap(), expected);
        }
        assert!(verify_vartime(&claims, 0).is_err());
        assert_eq!(verify_vartime(&[], 1).unwrap(), Vec::<bool>::new());
    }

    /// By the definition, one at a time.
    fn plainly(claim: &Claim<'_>) -> bool {
        let Some(encoding) = CompressedEdwardsY::from_slice(claim.public).ok() else {
            return false;
        };
        let Some(key) = encoding.decompress() else {
            return false;
        };
        let Some((s, k)) = scalars(claim) else {
            return false;
        };
        let r = EdwardsPoint::vartime_double_scalar_mul_basepoint(&k, &-key, &s);
        !key.is_small_order()
            && key.compress() == encoding
            && claim.signature[..32] == r.compress().0
    }

    #[test]
    fn a_key_with_a_table_verifies_what_it_verifies_without() {
        let texts: Vec<[u8; 8]> = (0..3 * TABLE_FROM as u64).map(u64::to_le_bytes).collect();
        let pairs: Vec<_> = texts
            .iter()
            .enumerate()
            .map(|(i, text)| {
                let (public, mut signature) = signed(1000 + i as u64 % 2, text);
                signature[i / 2 % 64] ^= ((i % 7 == 0) as u8) << (i % 8);
                (public, signature)
            })
            .collect();
        let claims: Vec<_> = pairs
            .iter()
            .zip(&texts)
            .map(|((public, signature), text)| Claim {
                public,
                frame: &text[..3],
                message: &text[3..],
                signature,
            })
            .collect();
        let expected: Vec<_> = claims.iter().map(plainly).collect();
        assert!(expected.contains(&true) && expected.contains(&false));
        for path in crate::kernels::available() {
            let key = Key::Table(Arc::new(path.fixed_base(&edwards::decoded(&pairs[0].0))));
            let places: Vec<_> = (0..claims.len()).step_by(2).collect();
            let mut verdicts = vec![false; places.len()];
            key.judge(path, &claims, &places, &mut verdicts);
            let due: Vec<_> = places.iter().map(|&at| expected[at]).collect();
            assert_eq!(verdicts, due, "{}", path.name());
        }
        for _ in 0..2 {
            assert_eq!(verify_vartime(&claims, 2).unwrap(), expected);
        }
    }

    #[test]
    fn a_key_of_mixed_order_is_judged_as_a_lone_signature_is_however_often_it_comes() {
        use curve25519_dalek::constants::EIGHT_TORSION;
        let secret = Scalar::from(77u8);
        let public = (EdwardsPoint::mul_base(&secret) + EIGHT_TORSION[1])
            .compress()
            .0;
        let texts: Vec<[u8; 8]> = (0..2 * TABLE_FROM as u64).map(u64::to_le_bytes).collect();
        // R takes in whatever multiple of the torsion point k asks for, in one of eight tries.
        let signatures: Vec<[u8; 64]> = texts
            .iter()
            .enumerate()
            .map(|(i, text)| {
                let nonce = Scalar::from(i as u64 + 5);
                let r = (EdwardsPoint::mul_base(&nonce) + EIGHT_TORSION[i % 8])
                    .compress()
                    .0;
                let hash = Sha512::new()
                    .chain_update(r)
                    .chain_update(public)
                    .chain_update(text);
                let k = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
                let mut signature = [0; 64];
                signature[..32].copy_from_slice(&r);
                signature[32..].copy_from_slice((nonce + k * secret).as_bytes());
                signature
            })
            .collect();
        let claims: Vec<_> = texts
            .iter()
            .zip(&signatures)
            .map(|(message, signature)| Claim {
                public: &public,
                frame: &[],
                message,
                signature,
            })
            .collect();
        let expected: Vec<_> = claims.iter().map(plainly).collect();
        assert!(expected.contains(&true) && expected.contains(&false));
        assert_eq!(verify_vartime(&claims, 1).unwrap(), expected);
    }

    #[test]
    fn only_the_keys_used_last_are_remembered() {
        let mut known = Known {
            uses: 0,
            keys: None,
        };
        let name = |i: usize| [u8::try_from(i).unwrap(); 32];
        for i in 0..KEPT {
            assert_eq!(known.seen(&name(i), 1 + i).0, 1 + i);
        }
        assert_eq!(known.seen(&name(0), 1).0, 2);
        assert_eq!(known.seen(&name(KEPT), 1).0, 1);
        assert_eq!(known.keys.as_ref().map(HashMap::len), Some(KEPT));
        assert_eq!(known.seen(&name(0), 1).0, 3);
        assert_eq!(known.seen(&name(1), 1).0, 1);
    }
}
