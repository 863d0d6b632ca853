//! The curve −x² + y² = 1 + d·x²·y² and ristretto255 on it (RFC 9496), over any [`Field`](crate::field::Field).

pub mod buckets;
pub mod comb;
pub mod decode;
pub mod edwards;
pub mod elligator;
pub mod encode;
pub mod fixed_base;
pub mod logarithm;
pub mod point;
pub mod recode;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
pub mod window;
