//! Small discrete logarithms by baby-step giant-step, outward from zero.

use std::collections::HashMap;
use std::sync::OnceLock;

use curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT as G;
use curve25519_dalek::traits::Identity;
use curve25519_dalek::{RistrettoPoint, Scalar};

const BABY: u32 = 4096;

static TABLE: OnceLock<HashMap<[u8; 32], i64>> = OnceLock::new();

fn table() -> &'static HashMap<[u8; 32], i64> {
    TABLE.get_or_init(|| {
        let mut map = HashMap::new();
        let mut point = RistrettoPoint::identity();
        for m in 0..=i64::from(BABY) {
            map.insert(point.compress().0, m);
            map.insert((-point).compress().0, -m);
            point += G;
        }
        map
    })
}

/// The m with point = m·G and |m| ≤ bound, if there is one.
#[must_use]
pub fn find(point: &RistrettoPoint, bound: i64) -> Option<i64> {
    let stride = 2 * i64::from(BABY) + 1;
    let step = G * Scalar::from(u64::from(2 * BABY + 1));
    let (mut up, mut down) = (*point, *point);
    for i in 0..=(bound + i64::from(BABY)) / stride {
        for (shifted, centre) in [(&up, i * stride), (&down, -i * stride)] {
            if let Some(m) = table().get(&shifted.compress().0) {
                return Some(m + centre).filter(|m| m.abs() <= bound);
            }
        }
        up -= step;
        down += step;
    }
    None
}
