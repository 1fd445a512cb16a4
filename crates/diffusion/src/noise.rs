//! Noise that depends on nothing but a seed and an address.
//!
//! Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011) turns a counter
//! and a key into four random words; Box-Muller turns these into normal numbers. There is no state, so element `i` of
//! take `n` of a seed is the same on every device, for every picture count and in every order. The logarithm and the
//! cosine come from `libm`, not from the operating system, so it is also the same on every machine.

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// One block of Philox4x32 with ten rounds.
#[must_use]
pub fn philox4x32(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for round in 0..10 {
        if round > 0 {
            key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
        }
        let a = u64::from(MULTIPLIERS[0]) * u64::from(counter[0]);
        let b = u64::from(MULTIPLIERS[1]) * u64::from(counter[2]);
        counter = [(b >> 32) as u32 ^ counter[1] ^ key[0], b as u32, (a >> 32) as u32 ^ counter[3] ^ key[1], a as u32];
    }
    counter
}

/// What the noise is for. Each purpose is a stream of its own, so that a sampler that draws more noise later does not
/// change the latents that a seed starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The latents that sampling starts from, which also noise the known part of a fill.
    Start,
    /// Fresh noise within step `n` of a stochastic sampler.
    Step(u32),
}

impl Purpose {
    fn word(self) -> u32 {
        match self {
            Self::Start => 0,
            Self::Step(step) => step.wrapping_add(1),
        }
    }
}

/// The first `len` standard normal numbers of a stream.
///
/// `take` counts the pictures of one seed; at most 2^34 numbers exist per stream.
#[must_use]
pub fn normal(seed: u64, take: u64, purpose: Purpose, len: usize) -> Vec<f32> {
    let key = [seed as u32, (seed >> 32) as u32];
    let mut out = Vec::with_capacity(len.next_multiple_of(4));
    let mut block = 0_u32;
    while out.len() < len {
        let words = philox4x32([block, purpose.word(), take as u32, (take >> 32) as u32], key);
        for pair in [[words[0], words[1]], [words[2], words[3]]] {
            // In (0, 1], so that the logarithm is finite; the radius is 6.66 at most.
            let uniform = (f64::from(pair[0]) + 1.0) / 4_294_967_296.0;
            let angle = std::f64::consts::TAU * (f64::from(pair[1]) / 4_294_967_296.0);
            let radius = libm::sqrt(-2.0 * libm::log(uniform));
            out.push((radius * libm::cos(angle)) as f32);
            out.push((radius * libm::sin(angle)) as f32);
        }
        block = block.wrapping_add(1);
    }
    out.truncate(len);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The known-answer vectors for `philox4x32 10` that come with Random123.
    #[test]
    fn known_answers() {
        let pi = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        let cases = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (pi, [0xa409_3822, 0x299f_31d0], [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]),
        ];
        for (counter, key, expected) in cases {
            assert_eq!(philox4x32(counter, key), expected);
        }
    }

    #[test]
    fn it_is_normal() {
        let n = 200_000;
        let draws = normal(7, 3, Purpose::Start, n);
        let moment = |power: i32| draws.iter().map(|&x| f64::from(x).powi(power)).sum::<f64>() / n as f64;
        assert!(moment(1).abs() < 0.01, "mean {}", moment(1));
        assert!((moment(2) - 1.0).abs() < 0.02, "variance {}", moment(2));
        assert!(moment(3).abs() < 0.05, "skew {}", moment(3));
        assert!((moment(4) - 3.0).abs() < 0.15, "kurtosis {}", moment(4));
        let lag: f64 = draws.windows(2).map(|w| f64::from(w[0] * w[1])).sum::<f64>() / n as f64;
        assert!(lag.abs() < 0.01, "neighbours correlate: {lag}");
    }

    /// Written down once: a later change of these would change every picture of every seed.
    #[test]
    fn the_first_numbers_stay() {
        let draws = normal(42, 0, Purpose::Start, 4);
        let again = normal(42, 0, Purpose::Start, 1000);
        assert_eq!(draws, again[..4]);
        assert_eq!(
            draws.iter().map(|x| x.to_bits()).collect::<Vec<_>>(),
            [0xbf78_5e5c, 0x3e46_ace8, 0xbf9e_28d2, 0x3ff6_433b]
        );
    }

    proptest! {
        #[test]
        fn prefixes_agree_and_streams_differ(seed: u64, take: u64, len in 1_usize..200) {
            let long = normal(seed, take, Purpose::Start, 200);
            prop_assert_eq!(&long[..len], &normal(seed, take, Purpose::Start, len)[..]);
            prop_assert!(long.iter().all(|x| x.is_finite()));
            prop_assert_ne!(&long, &normal(seed.wrapping_add(1), take, Purpose::Start, 200));
            prop_assert_ne!(&long, &normal(seed, take.wrapping_add(1), Purpose::Start, 200));
            prop_assert_ne!(&long, &normal(seed, take, Purpose::Step(0), 200));
        }
    }
}
