//! The hot kernels behind `parley._native`.

pub mod bins;
#[cfg(test)]
mod ciphertext_tests;
pub mod ciphertexts;
pub mod curve;
pub mod discrete_log;
pub mod elgamal;
pub mod fault;
#[allow(
    clippy::needless_range_loop,
    reason = "limbs are numbered, and several arrays run in step"
)]
pub mod field;
pub mod histogram;
pub mod kernels;
pub mod plain;
pub mod points;
pub mod psi;
#[cfg(test)]
mod psi_tests;
mod python;
pub mod randomness;
#[cfg(target_arch = "x86_64")]
mod sha512;
pub mod sums;
pub mod threads;
pub mod xmd;
