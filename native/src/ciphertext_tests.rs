//! Encryption, histograms and decryption against the obvious computation with curve25519-dalek.

use curve25519_dalek::ristretto::CompressedRistretto;
use curve25519_dalek::traits::Identity;
use curve25519_dalek::{RistrettoPoint, Scalar};

use crate::bins::BinnedColumns;
use crate::ciphertexts::Ciphertexts;
use crate::elgamal::{PublicKey, SecretKey};
use crate::fault::Fault;
use crate::histogram::encrypted;
use crate::kernels::{available, choose};
use crate::points::Encoding;
use crate::threads::{Priority, within};

type Outcome = Result<(), Fault>;

fn point(encoding: &Encoding) -> RistrettoPoint {
    CompressedRistretto(*encoding)
        .decompress()
        .unwrap_or_else(RistrettoPoint::identity)
}

/// Small numbers without a generator: enough to spread rows over bins.
fn spread(i: usize, below: usize) -> usize {
    (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) % below
}

fn each_path(work: impl Fn() -> Outcome + Send + Sync) -> Outcome {
    for path in available() {
        choose(path.name())?;
        for threads in [1, 3] {
            within(threads, Priority::Normal, &work)?;
        }
    }
    Ok(())
}

#[test]
fn ciphertexts_have_the_stated_form() -> Outcome {
    for k in [1, 2, 3, 7] {
        let secret = SecretKey::from_seed(k, &[9; 32])?;
        let public = PublicKey::decode(&secret.public().encode())?;
        let zeros = vec![0i32; 11 * k];
        let ones = vec![1i32; 11 * k];
        each_path(|| {
            let zero = secret.encrypt(&zeros, &[4; 32], 3)?;
            let one = secret.encrypt(&ones, &[4; 32], 3)?;
            assert_eq!(secret.encrypt(&ones[k..], &[4; 32], 4)?, one[k + 1..]);
            let step = RistrettoPoint::mul_base(&Scalar::ONE);
            for (i, (a, b)) in zero.iter().zip(&one).enumerate() {
                match i % (k + 1) {
                    0 => assert_eq!(a, b),
                    _ => assert_eq!(point(b) - point(a), step),
                }
            }
            let bounds = vec![1; 11 * k];
            assert_eq!(secret.decrypt(&one, &bounds)?, bounds);
            assert_eq!(public.k(), k);
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn histograms_add_points() -> Outcome {
    let rows = 700;
    for k in [1, 2, 3] {
        let secret = SecretKey::from_seed(k, &[9; 32])?;
        let messages: Vec<i32> = (0..rows * k).map(|i| spread(i, 255) as i32 - 127).collect();
        let mut block = secret.encrypt(&messages, &[4; 32], 0)?;
        // The same row twice, its inverse, and the identity, all in one bin.
        let width = k + 1;
        let first = block[..width].to_vec();
        block[width..2 * width].copy_from_slice(&first);
        for (to, from) in block[2 * width..3 * width].iter_mut().zip(&first) {
            *to = (-point(from)).compress().0;
        }
        block[3 * width..4 * width].fill([0; 32]);
        let counts = [2u32, 3, 4, 1, 5];
        let codes: Vec<u8> = counts
            .iter()
            .enumerate()
            .flat_map(|(c, &n)| {
                (0..rows).map(move |i| {
                    if i < 4 {
                        0
                    } else {
                        spread(i + 999 * c, n as usize) as u8
                    }
                })
            })
            .collect();
        let subset: Vec<u32> = (0..rows as u32).filter(|i| *i < 4 || i % 3 != 0).collect();
        let wanted = obvious_sums(&block, width, &codes, rows, &counts, &subset);
        each_path(|| {
            let mut kept = Ciphertexts::new(k, rows);
            kept.append(&block[..300 * width])?;
            kept.append(&block[300 * width..])?;
            let columns = BinnedColumns::checked(&codes, rows, &counts, &subset, kept.len())?;
            assert_eq!(encrypted(&kept, &columns, &subset)?.encoded()?, wanted);
            let none = encrypted(&kept, &columns, &[])?.encoded()?;
            assert_eq!(none, vec![[0; 32]; 15 * width]);
            Ok(())
        })?;
    }
    Ok(())
}

fn obvious_sums(
    block: &[Encoding],
    width: usize,
    codes: &[u8],
    rows: usize,
    counts: &[u32],
    subset: &[u32],
) -> Vec<Encoding> {
    let mut out = Vec::new();
    for (column, &count) in counts.iter().enumerate() {
        let mut sums = vec![RistrettoPoint::identity(); count as usize * width];
        for &row in subset {
            let bin = usize::from(codes[column * rows + row as usize]);
            for j in 0..width {
                sums[bin * width + j] += point(&block[row as usize * width + j]);
            }
        }
        out.extend(sums.iter().map(|p| p.compress().0));
    }
    out
}

#[test]
fn sums_survive_merging_and_fresh_randomness() -> Outcome {
    let secret = SecretKey::from_seed(2, &[9; 32])?;
    let public = secret.public();
    let messages: Vec<i32> = (0..40).collect();
    let block = secret.encrypt(&messages, &[4; 32], 0)?;
    let codes: Vec<u8> = (0..20).collect();
    let subset: Vec<u32> = (0..20).collect();
    let groups: Vec<u32> = (0..20)
        .map(|i| if i == 5 { u32::MAX } else { i % 3 })
        .collect();
    each_path(|| {
        let mut kept = Ciphertexts::new(2, 20);
        kept.append(&block)?;
        let columns = BinnedColumns::checked(&codes, 20, &[20], &subset, 20)?;
        let merged = encrypted(&kept, &columns, &subset)?.merge(&groups, 4)?;
        let mut wanted = vec![0i64; 8];
        for i in (0..20).filter(|&i| i != 5) {
            wanted[2 * (i % 3)] += i64::from(messages[2 * i]);
            wanted[2 * (i % 3) + 1] += i64::from(messages[2 * i + 1]);
        }
        let fresh = merged.rerandomised(&public, &[5; 32], 7)?;
        assert_eq!(secret.decrypt(&fresh, &[1000; 8])?, wanted);
        assert!(fresh.iter().all(|e| *e != [0; 32]));
        assert_ne!(fresh, merged.encoded()?);
        Ok(())
    })
}

#[test]
fn logarithms_up_to_their_bounds() -> Outcome {
    let secret = SecretKey::from_seed(1, &[9; 32])?;
    let edges = [
        0, 1, -1, 65_535, 65_536, 65_537, -65_537, 131_073, 196_610, -3_000_000, 4_194_304,
    ];
    let block = secret.encrypt(&edges, &[4; 32], 0)?;
    let tight: Vec<i64> = edges.iter().map(|m| i64::from(m.abs())).collect();
    each_path(|| {
        let found = secret.decrypt(&block, &tight)?;
        assert_eq!(found, edges.map(i64::from));
        let mut short = tight.clone();
        short[9] -= 1;
        match secret.decrypt(&block, &short) {
            Err(Fault::Input(text)) => assert!(text.contains("row 9"), "{text}"),
            other => panic!("{other:?}"),
        }
        Ok(())
    })
}
