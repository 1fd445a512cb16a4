//! The weights of a separable view: which texels of a layer make an output column or row.

use std::ops::Range;

/// At most so many texels make one output pixel along an axis.
pub(crate) const MOST_TAPS: usize = 4;
/// Smaller weights are left out, so that rounding at a far place of the canvas does not touch another texel.
const LEAST_WEIGHT: f64 = 1e-6;

/// One axis of a view: output pixel i shows the canvas from `start + i * scale` to `start + (i + 1) * scale`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Axis {
    pub(crate) start: f64,
    /// Canvas pixels per output pixel; above 0.
    pub(crate) scale: f64,
}

/// The texels that make one output pixel along one axis.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Tap {
    /// The first texel, counted on the canvas at the level.
    pub(crate) first: i64,
    /// How many texels; 0 if the layer is not seen.
    pub(crate) count: usize,
    pub(crate) weights: [f64; MOST_TAPS],
}

/// The level (texels of 2^level canvas pixels) at which no axis needs more than [`MOST_TAPS`] texels, and the finer axis
/// no fewer than one.
pub(crate) fn level_of(x: Axis, y: Axis) -> u32 {
    let finer = octave(x.scale.min(y.scale)).max(0);
    let needed = (x.scale.max(y.scale) / 2.0).log2().ceil() as i32;
    finer.max(needed).clamp(0, MAX_LEVEL as i32) as u32
}

/// The coarsest level that is made.
pub(crate) const MAX_LEVEL: u32 = 24;

/// The logarithm to base 2, rounded down, of a scale that may lie a rounding error below a power of two.
pub(crate) fn octave(scale: f64) -> i32 {
    (scale * (1.0 + 1e-9)).log2().floor() as i32
}

/// The texels and weights for the output pixels `pixels` of an axis, for a layer that spans `from..to` on the canvas.
///
/// The filter is the mean of three bilinear samples, so far apart that its variance is that of two boxes of the output
/// pixel's width: sqrt((s^2 - 1) / 4) texels at s texels a pixel. So blur changes smoothly from level to level, nothing
/// is displaced (bilinear samples reproduce a slope exactly), an output pixel that is exactly a texel shows just that
/// one, and an enlargement is bilinear. What lies beyond `from..to` is left out of the mean and counted as coverage
/// instead: a layer's own edge is as sharp as the output allows.
pub(crate) fn taps(axis: Axis, pixels: Range<u32>, level: u32, from: f64, to: f64, crisp: bool) -> Vec<Tap> {
    let texel = f64::from(level).exp2();
    let step = axis.scale / texel;
    let step = if (step - 1.0).abs() < 1e-9 { 1.0 } else { step };
    let (from, to) = (from / texel, to / texel);
    let apart = ((step * step - 1.0) / 4.0).max(0.0).sqrt();
    pixels
        .map(|index| {
            let centre = (axis.start + (f64::from(index) + 0.5) * axis.scale) / texel;
            if crisp && step < 1.0 {
                // A centre on the border of two pixels belongs to the right one, however it was rounded.
                let first = (centre + LEAST_WEIGHT * step).floor();
                let seen = first + 1.0 > from && first < to;
                return Tap { first: first as i64, count: usize::from(seen), weights: [1.0, 0.0, 0.0, 0.0] };
            }
            tap(centre, apart, step, from, to)
        })
        .collect()
}

fn tap(centre: f64, apart: f64, step: f64, from: f64, to: f64) -> Tap {
    let coverage = overlap(centre - step / 2.0, centre + step / 2.0, from, to) / step;
    if coverage < LEAST_WEIGHT {
        return Tap::default();
    }
    let coverage = if coverage > 1.0 - LEAST_WEIGHT { 1.0 } else { coverage };
    let centre = centre.clamp(from, to);
    let mut out = Tap::default();
    let mut held = 0.0;
    let mut texel = (centre - apart - 0.5).floor();
    while texel < centre + apart + 0.5 && out.count < MOST_TAPS {
        let tent = |at: f64| (1.0 - (at - texel - 0.5).abs()).max(0.0);
        let weight = (tent(centre - apart) + tent(centre) + tent(centre + apart)) / 3.0;
        let inside = overlap(texel, texel + 1.0, from, to);
        if weight >= LEAST_WEIGHT && inside > 0.0 {
            if out.count == 0 {
                out.first = texel as i64;
            }
            out.weights[out.count] = weight;
            out.count += 1;
            held += weight * inside;
        }
        texel += 1.0;
    }
    if held < LEAST_WEIGHT {
        return Tap::default();
    }
    for weight in &mut out.weights {
        *weight *= coverage / held;
    }
    if out.count == 1 && coverage >= 1.0 && held > 1.0 - 1e-4 {
        out.weights[0] = 1.0;
    }
    out
}

fn overlap(a: f64, b: f64, c: f64, d: f64) -> f64 {
    (b.min(d) - a.max(c)).max(0.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_to_one_is_one_texel() {
        for (start, scale, level) in [(0.0, 1.0, 0), (1e6 + 3.0, 1.0, 0), (-64.0, 8.0, 3), (-1e9, 2.0, 1)] {
            let axis = Axis { start, scale };
            assert_eq!(level_of(axis, axis), level);
            for (index, tap) in taps(axis, 0..9, level, -1e12, 1e12, false).into_iter().enumerate() {
                assert_eq!((tap.first, tap.count), ((start / scale) as i64 + index as i64, 1));
                assert_eq!(tap.weights.map(f64::to_bits), [1.0, 0.0, 0.0, 0.0].map(f64::to_bits));
            }
        }
    }

    proptest! {
        #[test]
        fn weights_are_a_mean_inside_and_centred(start in -1e6..1e6_f64, scale in 0.01..900.0_f64) {
            let axis = Axis { start, scale };
            let level = level_of(axis, axis);
            let texel = f64::from(level).exp2();
            for (index, tap) in taps(axis, 0..40, level, -1e9, 1e9, false).into_iter().enumerate() {
                let sum: f64 = tap.weights.iter().sum();
                prop_assert!((sum - 1.0).abs() < 1e-9);
                let mean: f64 = (0..tap.count).map(|i| tap.weights[i] * (tap.first as f64 + i as f64 + 0.5) * texel).sum();
                let centre = start + (index as f64 + 0.5) * scale;
                prop_assert!((mean - centre).abs() < texel * 1e-5, "{mean} {centre} {texel}");
            }
        }

        #[test]
        fn a_layer_ends_where_it_ends(left in -50.0..50.0_f64, scale in 0.1..40.0_f64, length in 1_u32..60) {
            // A layer that fills the view exactly is opaque up to its edges, at any level.
            let axis = Axis { start: left.round(), scale };
            let end = axis.start + scale * f64::from(length);
            let level = level_of(axis, axis);
            let texel = f64::from(level).exp2();
            for tap in taps(axis, 0..length, level, axis.start, end, false) {
                let alpha: f64 = (0..tap.count)
                    .map(|i| {
                        let at = (tap.first + i as i64) as f64;
                        tap.weights[i] * overlap(at, at + 1.0, axis.start / texel, end / texel)
                    })
                    .sum();
                prop_assert!((alpha - 1.0).abs() < 1e-6, "{alpha}");
            }
        }
    }
}
