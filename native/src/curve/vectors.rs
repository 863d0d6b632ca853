//! Published vectors: RFC 9496, appendix A, and the hashing inside RFC 9497, appendix A.1.

use curve25519_dalek::Scalar;

use super::point::Point8;
use crate::group::{hash, multiply};
use crate::identifiers::Identifiers;
use crate::kernels::available;
use crate::points::{decode_blocks, in_blocks};

fn hex<const N: usize>(text: &str) -> [u8; N] {
    let mut out = [0; N];
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap_or_default();
    }
    assert_eq!(text.len(), 2 * N);
    out
}

/// RFC 9496, appendix A.1: the first multiples of the generator.
const MULTIPLES: [&str; 4] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76",
    "6a493210f7499cd17fecb510ae0cea23a110e8d5b901f8acadd3095c73a3b919",
    "94741f5d5d52755ece4f23f044ee27d5d1ea1e2bd196b462166b16152a9d0259",
];

/// RFC 9496, appendix A.2: what must be refused.
const REFUSED: [&str; 29] = [
    // Not below p.
    "00ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "f3ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    // Negative.
    "0100000000000000000000000000000000000000000000000000000000000000",
    "01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ed57ffd8c914fb201471d1c3d245ce3c746fcbe63a3679d51b6a516ebebe0e20",
    "c34c4e1826e5d403b78e246e88aa051c36ccf0aafebffe137d148a2bf9104562",
    "c940e5a4404157cfb1628b108db051a8d439e1a421394ec4ebccb9ec92a8ac78",
    "47cfc5497c53dc8e61c91d17fd626ffb1c49e2bca94eed052281b510b1117a24",
    "f1c6165d33367351b0da8f6e4511010c68174a03b6581212c71c0e1d026c3c72",
    "87260f7a2f12495118360f02c26a470f450dadf34a413d21042b43b9d93e1309",
    // x² is no square.
    "26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371",
    "4eac077a713c57b4f4397629a4145982c661f48044dd3f96427d40b147d9742f",
    "de6a7b00deadc788eb6b6c8d20c0ae96c2f2019078fa604fee5b87d6e989ad87",
    "bcab477be20861e01e4a0e295284146a510150d9817763caf1a6f4b422d67042",
    "2a292df7e32cababbd9de088d1d1abec9fc0440f637ed2fba145094dc14bea08",
    "f4a9e534fc0d216c44b218fa0c42d99635a0127ee2e53c712f70609649fdff22",
    "8268436f8c4126196cf64b3c7ddbda90746a378625f9813dd9b8457077256731",
    "2810e5cbc2cc4d4eece54f61c6f69758e289aa7ab440b3cbeaa21995c2f4232b",
    // xy is negative.
    "3eb858e78f5a7254d8c9731174a94f76755fd3941c0ac93735c07ba14579630e",
    "a45fdc55c76448c049a1ab33f17023edfb2be3581e9c7aade8a6125215e04220",
    "d483fe813c6ba647ebbfd3ec41adca1c6130c2beeee9d9bf065c8d151c5f396e",
    "8a2e1d30050198c65a54483123960ccc38aef6848e1ec8f5f780e8523769ba32",
    "32888462f8b486c68ad7dd9610be5192bbeaf3b443951ac1a8118419d9fa097b",
    "227142501b9d4355ccba290404bde41575b037693cef1f438c47f8fbf35d1165",
    "5c37cc491da847cfeb9281d407efc41e15144c876e0170b499a96a22ed31e01e",
    "445425117cb8c90edcbc7c1cc0e74f747f2c1efa5630a967c64f287792a48a4b",
    // y = 0.
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

#[test]
fn multiples_of_the_generator() {
    for path in available() {
        let blocks = in_blocks(MULTIPLES.iter().map(|m| hex(m)));
        let mut points = [Point8::identity()];
        assert!(decode_blocks(path, &blocks, &mut points).is_ok());
        // Lane i + 1 is lane i plus the generator.
        let mut moved = [Point8::identity()];
        let mut base = [Point8::identity()];
        for lane in 0..8 {
            moved[0].set_lane(lane, &points[0], lane.saturating_sub(1).min(2));
            base[0].set_lane(lane, &points[0], usize::from(lane > 0));
        }
        path.add(&mut moved, &base);
        let mut out = [[[0; 32]; 8]];
        path.encode(&moved, &mut out);
        assert_eq!(out[0][..4], blocks[0][..4], "{}", path.name());
    }
}

#[test]
fn bad_encodings_are_refused_one_by_one() {
    for path in available() {
        for (i, text) in REFUSED.iter().enumerate() {
            let mut block = [[[0u8; 32]; 8]];
            block[0][i % 8] = hex(text);
            let outcome = decode_blocks(path, &block, &mut [Point8::identity()]);
            assert_eq!(outcome, Err(i % 8), "{} {text}", path.name());
        }
    }
}

/// RFC 9496, appendix A.3.
#[test]
fn derivation_from_published_bytes() {
    let string = hex::<64>(
        "5d1be09e3d0c82fc538112490e35701979d99e06ca3e2b5b54bffe8b4dc772c1\
         4d98b696a1bbfb5ca32c436cc61c16563790306c79eaca7705668b47dffe5bb6",
    );
    for path in available() {
        let mut points = [Point8::identity()];
        path.derive(&[[string; 8]], &mut points);
        let mut out = [[[0; 32]; 8]];
        path.encode(&points, &mut out);
        let wanted = hex("3066f82a1a747d45120d1740f14358531a8f04bbffe6a819f86dfe50f44a0a46");
        assert_eq!(out[0], [wanted; 8], "{}", path.name());
    }
}

/// RFC 9497, appendix A.1.1: blinded elements are `hash_to_ristretto255` of the input, times the blind.
#[test]
fn blinded_elements_of_the_oblivious_function() -> Result<(), crate::fault::Fault> {
    let dst = b"HashToGroup-OPRFV1-\x00-ristretto255-SHA512";
    let blind = hex("64d37aed22a27f5191de1c1d69fadb899d8862b58eb4220029e036ec4c1f6706");
    let scalar = Scalar::from_bytes_mod_order(blind);
    let spans = [[0, 1], [1, 18]];
    let data = hex::<18>("005a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a");
    let hashed = hash(&Identifiers::checked(&data, &spans)?, dst)?;
    let blinded = multiply(&hashed, &scalar)?;
    let wanted = [
        hex::<32>("609a0ae68c15a3cf6903766461307e5c8bb2f95e7e6550e1ffa2dc99e412803c"),
        hex("da27ef466870f5f15296299850aa088629945a17d1f5b7f5ff043f76b3c06418"),
    ];
    assert_eq!(blinded, wanted);
    Ok(())
}
