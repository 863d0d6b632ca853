//! The hot kernels behind `parley._native`.

pub mod asker;
pub mod bins;
pub mod check;
#[cfg(test)]
mod ciphertext_tests;
pub mod ciphertexts;
pub mod code;
pub mod curve;
pub mod directions;
pub mod discrete_log;
pub mod ed25519;
pub mod elgamal;
pub mod evaluator;
pub mod fault;
#[allow(
    clippy::needless_range_loop,
    reason = "limbs are numbered, and several arrays run in step"
)]
pub mod field;
pub mod forest;
pub mod group;
pub mod heap;
pub mod histogram;
pub mod identifiers;
pub mod json;
pub mod kernels;
pub mod merkle;
pub mod plain;
pub mod points;
pub mod predictions;
mod python;
pub mod randomness;
pub mod rows;
#[cfg(target_arch = "x86_64")]
mod sha512;
pub mod sparse;
pub mod store;
pub mod sums;
pub mod threads;
pub mod transfer;
pub mod transpose;
pub mod xmd;
