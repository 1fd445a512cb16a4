//! Smooth noise for the handheld camera.

/// A well-mixed 64-bit hash (the finaliser of `SplitMix64`, by Steele, Lea and Flood).
fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The value at a whole number, -1..=1, a function of the seed, the channel and the number alone.
fn lattice(seed: u64, channel: u64, at: i64) -> f64 {
    let bits = mix(mix(mix(seed) ^ channel) ^ at as u64) >> 11;
    bits as f64 / (1_u64 << 52) as f64 - 1.0
}

/// One octave: between whole numbers by 6t^5 - 15t^4 + 10t^3, so that speed and acceleration are continuous. -1..=1.
fn octave(seed: u64, channel: u64, at: f64) -> f64 {
    let whole = at.floor();
    let t = at - whole;
    let s = t * t * t * (t * (t * 6.0 - 15.0) + 10.0);
    let index = whole as i64;
    let (a, b) = (lattice(seed, channel, index), lattice(seed, channel, index.wrapping_add(1)));
    a + (b - a) * s
}

/// Noise of three octaves, each half as strong as the one below it, within -1..=1.
pub(crate) fn noise(seed: u64, channel: u64, at: f64) -> f64 {
    (4.0 * octave(seed, channel * 3, at)
        + 2.0 * octave(seed, channel * 3 + 1, at * 2.03 + 0.37)
        + octave(seed, channel * 3 + 2, at * 4.01 + 0.71))
        / 7.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bounded_smooth_and_repeatable(seed: u64, channel in 0_u64..8, at in -1e6..1e6) {
            let here = noise(seed, channel, at);
            prop_assert!(here.abs() <= 1.0);
            prop_assert_eq!(here.to_bits(), noise(seed, channel, at).to_bits());
            prop_assert!((noise(seed, channel, at + 1e-4) - here).abs() < 2e-3);
        }
    }

    #[test]
    fn channels_and_seeds_differ() {
        assert!((noise(1, 0, 0.5) - noise(1, 1, 0.5)).abs() > 1e-6);
        assert!((noise(1, 0, 0.5) - noise(2, 0, 0.5)).abs() > 1e-6);
    }
}
