//! The arithmetic that the functions share: remainders of long numbers, and hashes of 64 bits.

use ::md5::{Digest, Md5};

/// The most decimal digits that fit 64 bits whatever they are, and what they are worth.
const DIGITS: usize = 19;

/// The remainder of a big-endian number of any length, eight bytes a division.
pub(super) fn remainder_of_bytes(bytes: &[u8], nodes: usize) -> usize {
    let nodes = nodes as u128;
    let rest = bytes.chunks(8).fold(0u128, |rest, chunk| {
        // Below `nodes` and so below 2^64: eight bytes more fit 128 bits.
        chunk.iter().fold(rest, |number, byte| (number << 8) | u128::from(*byte)) % nodes
    });
    rest as usize
}

/// The remainder of a number of decimal digits (ASCII, checked by the caller), 19 digits a division.
pub(super) fn remainder_of_digits(digits: &[u8], nodes: usize) -> usize {
    let nodes = nodes as u128;
    let rest = digits.chunks(DIGITS).fold(0u128, |rest, chunk| {
        // Below 2^64 times 10^19, which is below 2^64 too.
        chunk.iter().fold(rest, |number, digit| number * 10 + u128::from(digit - b'0')) % nodes
    });
    rest as usize
}

/// The md5 digest.
pub(super) fn digest(key: &str) -> [u8; 16] {
    Md5::digest(key.as_bytes()).into()
}

/// The first eight bytes of the md5 digest, as a big-endian number: in Python
/// `int(hashlib.md5(key).hexdigest()[:16], 16)`.
pub(super) fn hash(key: &str) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = digest(key);
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// Scatters a number over all 64 bits, one to one: the finalizer of SplitMix64 (Steele, Lea and Flood, *Fast
/// splittable pseudorandom number generators*, 2014).
pub(super) fn scatter(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
