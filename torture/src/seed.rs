//! Random numbers that a seed decides about.

use fastrand::Rng;

/// Numbers that depend on nothing but the seed and what they are for.
pub fn rng_of(seed: u64, purpose: &str, index: u64) -> Rng {
    // FNV-1a.
    let bytes = [
        &seed.to_be_bytes()[..],
        purpose.as_bytes(),
        &index.to_be_bytes(),
    ]
    .concat();
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    Rng::with_seed(hash)
}
