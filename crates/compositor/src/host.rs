//! Shots drawn by the processor itself: what `direct_fast` does, where the adapter is software anyway.
//!
//! An adapter in software computes a shader pixel by pixel through a texture unit that it has to imitate. For one layer seen
//! straight on, the sum over its texels is separable; done row by row over memory it costs a fraction of that. The weights
//! are those of `flat.rs`, the texels those of the sheet, light is rounded to halves where the shaders round it, and the
//! codes differ from the shader's by one at most, where a value lies on the border between two.

use std::sync::LazyLock;

use fearless_simd::{Level, Simd, dispatch};
use outframe_document::Rect;

use crate::{
    cache::Weighs,
    flat::{MOST_TAPS, Tap},
};

/// Numbers of a texel or pixel: red, green, blue, alpha.
const CHANNELS: usize = 4;
/// The bits of the half 2^-14, the smallest normal one, as a single, without the 13 bits that a half has less. Light below
/// it is a fifth of the first code.
const LEAST: u32 = 113 << 10;
/// Halves from 2^-14 to 1.
const STEPS: usize = 14 << 10;

/// A part of a layer at one level in memory.
#[derive(Debug)]
pub(crate) struct HostSheet {
    /// Texels in a row.
    pub(crate) width: usize,
    /// Row by row, premultiplied linear light, as bits of half floats.
    pub(crate) halves: Vec<u16>,
}

impl Weighs for HostSheet {
    fn bytes(&self) -> u64 {
        self.halves.len() as u64 * 2
    }
}

impl HostSheet {
    fn row(&self, index: usize) -> &[u16] {
        let line = self.width * CHANNELS;
        &self.halves[index * line..][..line]
    }
}

/// Where the texels of a column begin, and the weights of the first two and the last two, each for all channels.
#[derive(Debug, Clone, Copy)]
struct Place {
    at: usize,
    near: [f32; 2 * CHANNELS],
    far: [f32; 2 * CHANNELS],
}

impl Place {
    fn new(tap: &Tap, from: i64, opacity: f64) -> Self {
        let at = if tap.count > 0 { (tap.first - from) as usize * CHANNELS } else { 0 };
        let weight = |index: usize| (tap.weights[index] * opacity) as f32;
        Self {
            at,
            near: std::array::from_fn(|i| weight(i / CHANNELS)),
            far: std::array::from_fn(|i| weight(2 + i / CHANNELS)),
        }
    }
}

/// Opaque sRGB codes of what `columns` and `rows` show of a sheet whose top left corner is `origin`, seen with `opacity`
/// over `background` (premultiplied linear light). `out` has rows of `line` bytes, of which the first four times as many as
/// there are columns are written. `carry_on` is asked now and then; returns whether the whole was drawn.
pub(crate) fn draw(
    sheet: &HostSheet,
    origin: (i64, i64),
    (columns, rows): (&[Tap], &[Tap]),
    (opacity, background): (f64, [f32; 4]),
    (out, line): (&mut [u8], usize),
    carry_on: &dyn Fn() -> bool,
) -> bool {
    let level = Level::new();
    let seen = columns.iter().filter(|tap| tap.count > 0);
    let from = seen.clone().map(|tap| tap.first).min().unwrap_or(origin.0);
    let to = seen.map(|tap| tap.first + tap.count as i64).max().unwrap_or(from);
    let span = (from - origin.0) as usize * CHANNELS..(to - origin.0) as usize * CHANNELS;
    let places: Vec<Place> = columns.iter().map(|tap| Place::new(tap, from, opacity)).collect();
    // Behind the last texel, zeros for the taps of the last pixels that have no weight.
    let mut mixed = vec![0.0; span.len() + MOST_TAPS * CHANNELS];
    let mut lights = vec![0.0; columns.len() * CHANNELS];
    let mut steps = vec![0; columns.len() * CHANNELS];
    let shows_below = background.iter().any(|part| *part > 0.0);
    for (y, (tap, out)) in rows.iter().zip(out.chunks_mut(line)).enumerate() {
        if y % 64 == 0 && !carry_on() {
            return false;
        }
        let row = |index: usize| {
            let from = if tap.count > 0 { (tap.first - origin.1) as usize + index.min(tap.count - 1) } else { 0 };
            &sheet.row(from)[span.clone()]
        };
        let weight = |index: usize| tap.weights[index] as f32;
        let (mixed, lights, steps) = (&mut mixed, &mut lights, &mut steps);
        let out = &mut out[..columns.len() * CHANNELS];
        dispatch!(level, simd => {
            match tap.count {
                0..=2 => mix_rows(simd, [row(0), row(1)], [weight(0), weight(1)], mixed),
                3 => mix_rows(simd, [row(0), row(1), row(2)], [weight(0), weight(1), weight(2)], mixed),
                _ => mix_rows(simd, std::array::from_fn::<_, 4, _>(row), std::array::from_fn(weight), mixed),
            }
            mix_columns(simd, mixed, &places, lights);
            if shows_below {
                put_over(simd, lights, background);
            }
            to_steps(simd, lights, steps);
        });
        to_codes(steps, out);
    }
    true
}

/// The weighted sum of rows of halves, none of them negative.
#[allow(clippy::needless_range_loop, reason = "all sides advance together, which becomes vectors")]
#[expect(clippy::inline_always, reason = "must be compiled for the instructions that the processor has")]
#[inline(always)]
fn mix_rows<S: Simd, const N: usize>(_: S, rows: [&[u16]; N], weights: [f32; N], mixed: &mut [f32]) {
    // Moved into a single's place, a half's exponent is 112 too small.
    let weights = weights.map(|weight| weight * f32::from_bits((127 + 112) << 23));
    let length = rows[0].len().min(mixed.len());
    let (rows, mixed) = (rows.map(|row| &row[..length]), &mut mixed[..length]);
    for i in 0..length {
        let mut sum = 0.0;
        for tap in 0..N {
            sum += weights[tap] * f32::from_bits(u32::from(rows[tap][i]) << 13);
        }
        mixed[i] = sum;
    }
}

/// The weighted sums of each column's texels.
#[allow(clippy::needless_range_loop, reason = "all sides advance together, which becomes vectors")]
#[expect(clippy::inline_always, reason = "must be compiled for the instructions that the processor has")]
#[inline(always)]
fn mix_columns<S: Simd>(_: S, mixed: &[f32], places: &[Place], lights: &mut [f32]) {
    let (pixels, _) = lights.as_chunks_mut::<CHANNELS>();
    for (pixel, place) in pixels.iter_mut().zip(places) {
        let Some(texels) = mixed.get(place.at..place.at + MOST_TAPS * CHANNELS) else { continue };
        let (pairs, _) = texels.as_chunks::<{ 2 * CHANNELS }>();
        let [near, far] = pairs else { continue };
        let mut sums = [0.0; 2 * CHANNELS];
        for i in 0..2 * CHANNELS {
            sums[i] = near[i] * place.near[i] + far[i] * place.far[i];
        }
        for i in 0..CHANNELS {
            pixel[i] = sums[i] + sums[CHANNELS + i];
        }
    }
}

/// A row over the background.
#[expect(clippy::inline_always, reason = "must be compiled for the instructions that the processor has")]
#[inline(always)]
fn put_over<S: Simd>(_: S, lights: &mut [f32], background: [f32; 4]) {
    for pixel in lights.as_chunks_mut::<CHANNELS>().0 {
        let above = pixel.map(to_half);
        let hidden = 1.0 - above[3];
        *pixel = std::array::from_fn(|i| above[i] + background[i] * hidden);
    }
}

/// Rounded to halves and counted from 2^-14 on.
#[expect(clippy::inline_always, reason = "must be compiled for the instructions that the processor has")]
#[inline(always)]
fn to_steps<S: Simd>(_: S, lights: &[f32], steps: &mut [u16]) {
    for (step, light) in steps.iter_mut().zip(lights) {
        *step = (light.to_bits().wrapping_add(0x1000) >> 13).saturating_sub(LEAST) as u16;
    }
}

/// Codes of what [`to_steps`] counted; opaque.
fn to_codes(steps: &[u16], out: &mut [u8]) {
    // As many as a step has values, so that none needs to be checked.
    let Some(codes) = CODES.first_chunk::<{ 1 << 16 }>() else { return };
    for (pixel, steps) in out.as_chunks_mut::<CHANNELS>().0.iter_mut().zip(steps.as_chunks::<CHANNELS>().0) {
        let [r, g, b, _] = steps.map(|step| codes[usize::from(step)]);
        *pixel = [r, g, b, 255];
    }
}

/// As in `common.wgsl`.
#[expect(clippy::inline_always, reason = "must be compiled for the instructions that the processor has")]
#[inline(always)]
fn to_half(value: f32) -> f32 {
    // Never overflows; checking that, as debug builds do, would keep loops from vectors.
    f32::from_bits(value.to_bits().wrapping_add(0x1000) & 0xffff_e000)
}

/// The sRGB codes of all halves from 2^-14 to 1; 255 beyond.
static CODES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut codes = vec![255; 1 << 16];
    for (step, code) in codes.iter_mut().take(STEPS).enumerate() {
        let light = f64::from(f32::from_bits((LEAST + step as u32) << 13));
        let value = if light <= 0.003_130_8 { light * 12.92 } else { 1.055 * light.powf(1.0 / 2.4) - 0.055 };
        *code = (value * 255.0 + 0.5).floor() as u8;
    }
    codes
});

/// A stored picture at its place, as large as its place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Codes<'a> {
    /// On the canvas.
    pub(crate) rect: Rect,
    /// Row by row, sRGB codes with straight alpha or, with three channels, opaque ones.
    pub(crate) raw: &'a [u8],
    pub(crate) channels: usize,
}

/// The texels of `region` (left, top, right, bottom) at `level` of these pictures, each over those before: as the tiles of a
/// layer hold them. `None` if `carry_on` said no.
pub(crate) fn sheet(
    pictures: &[Codes<'_>],
    level: u32,
    [left, top, right, bottom]: [i64; 4],
    carry_on: &dyn Fn() -> bool,
) -> Option<HostSheet> {
    let simd = Level::new();
    let width = (right - left) as usize;
    let line = width * CHANNELS;
    let mut halves = vec![0; line * (bottom - top) as usize];
    // Two finer rows for each level.
    let mut finer: Vec<[Vec<f32>; 2]> =
        (1..=level).rev().map(|up| std::array::from_fn(|_| vec![0.0; line << up])).collect();
    let mut row = vec![0.0; line];
    for (y, out) in (top..bottom).zip(halves.chunks_exact_mut(line.max(1))) {
        if y % 64 == 0 && !carry_on() {
            return None;
        }
        fill(simd, pictures, (left, y), &mut row, &mut finer);
        let row = &row;
        dispatch!(simd, simd => to_halves(simd, row, out));
    }
    Some(HostSheet { width, halves })
}

/// A row of a level, its first texel at (x, y). `finer` has room for the rows of the finer levels, the finest first.
fn fill(simd: Level, pictures: &[Codes<'_>], (x, y): (i64, i64), row: &mut [f32], finer: &mut [[Vec<f32>; 2]]) {
    let Some(([upper, lower], rest)) = finer.split_last_mut() else {
        row.fill(0.0);
        for picture in pictures {
            paint(picture, (x, y), row);
        }
        return;
    };
    fill(simd, pictures, (2 * x, 2 * y), upper, rest);
    fill(simd, pictures, (2 * x, 2 * y + 1), lower, rest);
    dispatch!(simd, simd => halve(simd, upper, lower, row));
}

/// The mean of 2 x 2 texels, as in `halve.wgsl`.
#[expect(clippy::inline_always, reason = "must be compiled for the instructions that the processor has")]
#[inline(always)]
fn halve<S: Simd>(_: S, upper: &[f32], lower: &[f32], row: &mut [f32]) {
    let (texels, _) = row.as_chunks_mut::<CHANNELS>();
    let ((upper, _), (lower, _)) = (upper.as_chunks::<{ 2 * CHANNELS }>(), lower.as_chunks::<{ 2 * CHANNELS }>());
    for (texel, (a, b)) in texels.iter_mut().zip(upper.iter().zip(lower)) {
        *texel = std::array::from_fn(|i| to_half(((a[i] + a[4 + i]) + (b[i] + b[4 + i])) * 0.25));
    }
}

/// A picture's part of a row of canvas pixels that begins at (x, y), over what is there, as in `patch.wgsl`.
fn paint(picture: &Codes<'_>, (x, y): (i64, i64), row: &mut [f32]) {
    let Codes { rect, raw, channels } = *picture;
    let (from, to) = (x.max(rect.x), (x + (row.len() / CHANNELS) as i64).min(rect.right()));
    if y < rect.y || y >= rect.bottom() || from >= to {
        return;
    }
    let start = ((y - rect.y) as usize * rect.width as usize + (from - rect.x) as usize) * channels;
    let codes = &raw[start..][..(to - from) as usize * channels];
    let (texels, _) = row[(from - x) as usize * CHANNELS..].as_chunks_mut::<CHANNELS>();
    let lights = &**LIGHTS;
    for (texel, code) in texels.iter_mut().zip(codes.chunks_exact(channels)) {
        let [r, g, b] = [code[0], code[1], code[2]].map(|code| lights[usize::from(code)]);
        let alpha = code.get(3).copied().unwrap_or(255);
        if alpha == 255 {
            *texel = [r, g, b, 1.0].map(to_half);
        } else {
            let alpha = f32::from(alpha) / 255.0;
            let above = [r * alpha, g * alpha, b * alpha, alpha].map(to_half);
            *texel = std::array::from_fn(|i| to_half(above[i] + texel[i] * (1.0 - above[3])));
        }
    }
}

/// Singles that [`to_half`] has rounded, none of them negative, to halves.
#[expect(clippy::inline_always, reason = "must be compiled for the instructions that the processor has")]
#[inline(always)]
fn to_halves<S: Simd>(_: S, singles: &[f32], halves: &mut [u16]) {
    let scale = f32::from_bits((127 - 112) << 23);
    for (half, single) in halves.iter_mut().zip(singles) {
        *half = ((single * scale).to_bits() >> 13) as u16;
    }
}

/// Linear light of the sRGB codes.
static LIGHTS: LazyLock<Box<[f32; 256]>> = LazyLock::new(|| {
    Box::new(std::array::from_fn(|code| {
        let code = code as f64 / 255.0;
        let light = if code <= 0.04045 { code / 12.92 } else { ((code + 0.055) / 1.055).powf(2.4) };
        light as f32
    }))
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_back_from_light() {
        for (code, light) in LIGHTS.iter().enumerate() {
            let step = (to_half(*light).to_bits() >> 13).saturating_sub(LEAST);
            assert_eq!(usize::from(CODES[step as usize]), code);
        }
    }

    #[test]
    fn halves_are_those_of_the_half_crate() {
        let singles: Vec<f32> = (0..2000).map(|i| to_half(i as f32 / 1999.0)).chain([2.9e-4].map(to_half)).collect();
        let mut halves = vec![0; singles.len()];
        let found = &mut halves;
        dispatch!(Level::new(), simd => to_halves(simd, &singles, found));
        for (single, half) in singles.iter().zip(halves) {
            assert_eq!(half::f16::from_f32(*single).to_bits(), half, "{single}");
        }
    }

    #[test]
    fn levels_are_means_and_later_pictures_cover() {
        // A still of 6 x 4 pixels at (-2, 0): the left half of codes 255, the right of 0; a half-seen dot over it.
        let still: Vec<u8> = (0..24).flat_map(|i| [if i % 6 < 3 { 255 } else { 0 }; 3]).collect();
        let dot = [0, 0, 255, 128];
        let pictures = [
            Codes { rect: Rect::new(-2, 0, 6, 4), raw: &still, channels: 3 },
            Codes { rect: Rect::new(3, 3, 1, 1), raw: &dot, channels: 4 },
        ];
        let value = |sheet: &HostSheet, x: usize, y: usize| {
            let at = y * sheet.width * CHANNELS + x * CHANNELS;
            [0, 1, 2, 3].map(|i| half::f16::from_bits(sheet.halves[at + i]).to_f64())
        };
        let fine = sheet(&pictures, 0, [-2, 0, 4, 4], &|| true).unwrap();
        let check = |found: [f64; 4], expected: [f64; 4]| {
            let near = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-3);
            assert!(near, "{found:?}, not {expected:?}");
        };
        let half = 128.0 / 255.0;
        check(value(&fine, 2, 1), [1.0; 4]);
        check(value(&fine, 3, 1), [0.0, 0.0, 0.0, 1.0]);
        check(value(&fine, 5, 3), [0.0, 0.0, half, 1.0]);
        // At level 1 from the canvas's column -4 on: nothing, white, white beside black, black.
        let coarse = sheet(&pictures, 1, [-2, 0, 2, 2], &|| true).unwrap();
        check(value(&coarse, 0, 0), [0.0; 4]);
        check(value(&coarse, 1, 0), [1.0; 4]);
        check(value(&coarse, 2, 0), [0.5, 0.5, 0.5, 1.0]);
        check(value(&coarse, 3, 1), [0.0, 0.0, half / 4.0, 1.0]);
        assert!(sheet(&pictures, 1, [-2, 0, 2, 2], &|| false).is_none());
    }
}
