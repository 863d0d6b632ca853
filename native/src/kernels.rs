//! The kernel paths, and which of them runs.
//!
//! The algorithms of `curve` are generic over the field arithmetic. Here they are compiled once per path, each
//! behind functions that enable the path's instructions, and chosen at run time.

use std::array::{from_mut, from_ref};
use std::sync::RwLock;

use crate::curve::buckets::{self, BucketSums, Half, RowPoints, Slot};
use crate::curve::fixed_base::{self, FixedBase, WINDOWS};
use crate::curve::point::Point8;
use crate::curve::recode::SignedBits;
use crate::curve::{comb, decode, edwards, elligator, encode, logarithm, window};
use crate::fault::Fault;
use crate::field::{Lanes, portable::One};
use crate::xmd::{Expand, Expander};

#[cfg(target_arch = "x86_64")]
use crate::field::{avx2::Four, ifma::Eight};

/// Eight encodings.
pub type Encodings8 = [[u8; 32]; 8];

/// What a path computes; slices run block by block, eight elements a block.
pub trait Kernels: Sync {
    fn name(&self) -> &'static str;
    /// Decodes to points with Z = 1 and says which lanes are valid.
    fn decode(&self, encodings: &[Encodings8], points: &mut [Point8], valid: &mut [Lanes]);
    fn encode(&self, points: &[Point8], encodings: &mut [Encodings8]);
    /// Encodes 2P for every P.
    fn encode_doubles(&self, points: &[Point8], encodings: &mut [Encodings8]);
    /// Encodes points of the curve as Ed25519 does.
    fn encode_edwards(&self, points: &[Point8], encodings: &mut [Encodings8]);
    /// Uniform bytes of every message.
    fn expand(&self, expander: &Expander, messages: &[[&[u8]; 8]], strings: &mut [[[u8; 64]; 8]]);
    /// The element derivation function of RFC 9496, section 4.3.4.
    fn derive(&self, strings: &[[[u8; 64]; 8]], points: &mut [Point8]);
    /// Every point times every scalar.
    fn multiply(&self, points: &[Point8], scalars: &[SignedBits], out: &mut [Vec<Point8>]);
    fn fixed_base(&self, base: &Point8) -> FixedBase;
    /// Adds multiples of a fixed base, one scalar per lane.
    fn add_multiples(&self, table: &FixedBase, scalars: &[SignedBits], points: &mut [Point8]) {
        self.add_short_multiples(table, WINDOWS, scalars, points);
    }
    /// The same for scalars of so many windows.
    fn add_short_multiples(
        &self,
        table: &FixedBase,
        windows: usize,
        scalars: &[SignedBits],
        points: &mut [Point8],
    );
    fn add(&self, points: &mut [Point8], others: &[Point8]);
    fn subtract(&self, points: &mut [Point8], others: &[Point8]);
    fn keys(&self, points: &[Point8], keys: &mut [[u64; 8]]);
    fn same(&self, a: &[Point8], b: &[Point8], lanes: &mut [Lanes]);
    fn operands(&self, points: &[Point8], operands: &mut [[Half; 8]]);
    fn accumulate(
        &self,
        rows: &RowPoints,
        subset: &[u32],
        slots: &[Slot<'_>],
        sums: &mut BucketSums,
    );
    /// Sums the buckets of a slot for two columns to those of either column.
    fn marginals(
        &self,
        joint: &BucketSums,
        base: usize,
        bins: (usize, usize),
        sums: &mut BucketSums,
    );
    fn extended(&self, halves: &[[Half; 8]], points: &mut [Point8]);
}

/// Compiles the kernels that are chains of squarings or doublings over `$chains`, the others over `$field`, with the
/// given instructions enabled.
macro_rules! path {
    ($path:ident, $name:literal, $chains:ty, $field:ty $(, $features:literal)?) => {
        struct $path;

        impl Kernels for $path {
            fn name(&self) -> &'static str {
                $name
            }

            path! { $($features)?;
                fn decode(encodings: &[Encodings8], points: &mut [Point8], valid: &mut [Lanes]) {
                    let (e2, e1) = encodings.as_chunks::<2>();
                    let (p2, p1) = points.as_chunks_mut::<2>();
                    let (v2, v1) = valid.as_chunks_mut::<2>();
                    for ((e, p), v) in e2.iter().zip(p2).zip(v2) {
                        decode::decode::<$chains, 2>(e, p, v);
                    }
                    if let ([e], [p], [v]) = (e1, p1, v1) {
                        decode::decode::<$chains, 1>(from_ref(e), from_mut(p), from_mut(v));
                    }
                }
                fn encode(points: &[Point8], encodings: &mut [Encodings8]) {
                    let (p2, p1) = points.as_chunks::<2>();
                    let (e2, e1) = encodings.as_chunks_mut::<2>();
                    for (p, e) in p2.iter().zip(e2) {
                        encode::encode::<$chains, 2>(p, e);
                    }
                    if let ([p], [e]) = (p1, e1) {
                        encode::encode::<$chains, 1>(from_ref(p), from_mut(e));
                    }
                }
                fn encode_doubles(points: &[Point8], encodings: &mut [Encodings8]) {
                    encode::encode_doubles::<$chains>(points, encodings);
                }
                fn encode_edwards(points: &[Point8], encodings: &mut [Encodings8]) {
                    edwards::encode::<$chains>(points, encodings);
                }
                fn expand(expander: &Expander, messages: &[[&[u8]; 8]], strings: &mut [[[u8; 64]; 8]]) {
                    for (m, s) in messages.iter().zip(strings) {
                        <$chains as Expand>::expand(expander, m, s);
                    }
                }
                fn derive(strings: &[[[u8; 64]; 8]], points: &mut [Point8]) {
                    for (s, p) in strings.iter().zip(points) {
                        elligator::from_uniform::<$chains>(s, p);
                    }
                }
                fn multiply(points: &[Point8], scalars: &[SignedBits], out: &mut [Vec<Point8>]) {
                    if let ([scalar], [out]) = (scalars, &mut *out) {
                        window::multiply::<$chains>(points, scalar, out);
                    } else {
                        comb::multiply::<$chains>(points, scalars, out);
                    }
                }
                fn fixed_base(base: &Point8) -> FixedBase {
                    FixedBase::build::<$field>(base)
                }
                fn add_short_multiples(
                    table: &FixedBase,
                    windows: usize,
                    scalars: &[SignedBits],
                    points: &mut [Point8]
                ) {
                    fixed_base::add_multiples::<$field>(table, windows, scalars, points);
                }
                fn add(points: &mut [Point8], others: &[Point8]) {
                    logarithm::add::<$field>(points, others);
                }
                fn subtract(points: &mut [Point8], others: &[Point8]) {
                    logarithm::subtract::<$field>(points, others);
                }
                fn keys(points: &[Point8], keys: &mut [[u64; 8]]) {
                    logarithm::keys::<$chains>(points, keys);
                }
                fn same(a: &[Point8], b: &[Point8], lanes: &mut [Lanes]) {
                    logarithm::same::<$field>(a, b, lanes);
                }
                fn operands(points: &[Point8], operands: &mut [[Half; 8]]) {
                    for (p, o) in points.iter().zip(operands) {
                        buckets::operands::<$field>(p, o);
                    }
                }
                fn accumulate(rows: &RowPoints, subset: &[u32], slots: &[Slot<'_>], sums: &mut BucketSums) {
                    buckets::accumulate::<$field>(rows, subset, slots, sums);
                }
                fn marginals(joint: &BucketSums, base: usize, bins: (usize, usize), sums: &mut BucketSums) {
                    buckets::marginals::<$field>(joint, base, bins, sums);
                }
                fn extended(halves: &[[Half; 8]], points: &mut [Point8]) {
                    for (h, p) in halves.iter().zip(points) {
                        buckets::extended::<$field>(h, p);
                    }
                }
            }
        }
    };
    (; $(fn $function:ident($($argument:ident: $type:ty),*) $(-> $result:ty)? $body:block)*) => {
        $(
            fn $function(&self, $($argument: $type),*) $(-> $result)? $body
        )*
    };
    ($features:literal; $(fn $function:ident($($argument:ident: $type:ty),*) $(-> $result:ty)? $body:block)*) => {
        $(
            fn $function(&self, $($argument: $type),*) $(-> $result)? {
                #[target_feature(enable = $features)]
                fn compiled($($argument: $type),*) $(-> $result)? $body
                // SAFETY: a path is handed out by `available` only, after the processor was asked.
                unsafe { compiled($($argument),*) }
            }
        )*
    };
}

path!(Portable, "portable", One, One);
#[cfg(target_arch = "x86_64")]
path!(
    Ifma,
    "ifma",
    Eight,
    Eight,
    "avx2,bmi1,bmi2,lzcnt,avx512f,avx512vl,avx512dq,avx512bw,avx512ifma"
);

// Ten 26-bit limbs in sixteen registers spill; in a chain of squarings the scalar multiplier is ahead of them.
#[cfg(target_arch = "x86_64")]
path!(Avx2, "avx2", One, Four, "avx2,bmi1,bmi2,lzcnt");

/// The paths this processor can run, fastest first.
#[must_use]
pub fn available() -> Vec<&'static dyn Kernels> {
    let mut paths: Vec<&'static dyn Kernels> = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        let avx2 = has!("avx2") && has!("bmi1") && has!("bmi2") && has!("lzcnt");
        let avx512 = has!("avx512f") && has!("avx512vl") && has!("avx512dq") && has!("avx512bw");
        if avx2 && avx512 && has!("avx512ifma") {
            paths.push(&Ifma);
        }
        if avx2 {
            paths.push(&Avx2);
        }
    }
    paths.push(&Portable);
    paths
}

static CHOSEN: RwLock<Option<&'static dyn Kernels>> = RwLock::new(None);

/// The path in use: the one chosen last, else the one `PARLEY_KERNELS` names, else the fastest.
///
/// # Errors
/// `Input` if `PARLEY_KERNELS` names no path of this processor.
pub fn current() -> Result<&'static dyn Kernels, Fault> {
    if let Some(path) = *CHOSEN
        .read()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
    {
        return Ok(path);
    }
    let path = match std::env::var("PARLEY_KERNELS") {
        Ok(name) if !name.is_empty() => named("PARLEY_KERNELS", &name)?,
        _ => available()[0],
    };
    *CHOSEN
        .write()
        .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(path);
    Ok(path)
}

/// Chooses a path for the whole process.
///
/// # Errors
/// `Input` if the name is unknown or the processor lacks the instructions.
pub fn choose(name: &str) -> Result<(), Fault> {
    let path = named("kernels", name)?;
    *CHOSEN
        .write()
        .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(path);
    Ok(())
}

fn named(source: &str, name: &str) -> Result<&'static dyn Kernels, Fault> {
    if !["ifma", "avx2", "portable"].contains(&name) {
        return Err(Fault::Input(format!(
            "{source}: expected ifma, avx2 or portable, got {name:?}"
        )));
    }
    let paths = available();
    let names: Vec<&str> = paths.iter().map(|p| p.name()).collect();
    paths
        .iter()
        .find(|path| path.name() == name)
        .copied()
        .ok_or_else(|| {
            Fault::Input(format!(
                "{source}: this processor cannot run the {name} kernels; it can run {}",
                names.join(", ")
            ))
        })
}
