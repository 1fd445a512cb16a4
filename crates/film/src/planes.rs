//! From red, green and blue to luma and halved chroma.

use std::num::Wrapping;

use fearless_simd::{Level, Simd, dispatch};

/// Nothing here overflows. Checking that, as debug builds do, would keep the loops below from vectors.
type Number = Wrapping<i32>;

/// Bits behind the point in the factors below.
const BITS: usize = 16;
/// From codes to luma in video range, 16 to 235, by ITU-R BT.709: Y = 0.2126 R + 0.7152 G + 0.0722 B.
const LUMA: [Number; 3] =
    [Wrapping(fixed(0.2126 * 219.0)), Wrapping(fixed(0.7152 * 219.0)), Wrapping(fixed(0.0722 * 219.0))];
/// To the blue difference, 16 to 240: (B - Y) / 1.8556. The three add up to nothing, so that greys stay grey.
const BLUE: [Number; 3] = balanced([-0.2126 / 1.8556 * 224.0, -0.7152 / 1.8556 * 224.0], 2);
/// To the red difference: (R - Y) / 1.5748.
const RED: [Number; 3] = balanced([-0.7152 / 1.5748 * 224.0, -0.0722 / 1.5748 * 224.0], 0);

const fn fixed(levels: f64) -> i32 {
    let scaled = levels / 255.0 * (1_i32 << BITS) as f64;
    if scaled < 0.0 { (scaled - 0.5) as i32 } else { (scaled + 0.5) as i32 }
}

/// Two factors in their order, and at `own` what is left.
const fn balanced([first, second]: [f64; 2], own: usize) -> [Number; 3] {
    let (first, second) = (fixed(first), fixed(second));
    let left = Wrapping(-first - second);
    let (first, second) = (Wrapping(first), Wrapping(second));
    if own == 2 { [first, second, left] } else { [left, first, second] }
}

/// A picture in 8-bit 4:2:0 by BT.709 in video range: luma, then blue, then red difference, each without gaps.
pub(crate) struct Planes {
    pub(crate) samples: Vec<u8>,
    pub(crate) width: usize,
    pub(crate) height: usize,
}

impl Planes {
    /// Converts a picture of whole rows. With `even`, the last column and row are repeated where a side is odd.
    pub(crate) fn from_rgba(rgba: &[u8], width: u32, height: u32, even: bool) -> Self {
        let (w, h) = (width as usize, height as usize);
        let (cw, ch) = (w.div_ceil(2), h.div_ceil(2));
        let (out_w, out_h) = if even { (cw * 2, ch * 2) } else { (w, h) };
        let mut samples = vec![0; out_w * out_h + 2 * cw * ch];
        let (luma, chroma) = samples.split_at_mut(out_w * out_h);
        let (blue, red) = chroma.split_at_mut(cw * ch);
        let level = Level::new();
        let row = |y: usize| rgba[y.min(h - 1) * w * 4..][..w * 4].as_chunks::<4>().0;
        for (y, luma) in luma.chunks_exact_mut(out_w).enumerate() {
            let (within, beyond) = luma.split_at_mut(w);
            let row = row(y);
            dispatch!(level, simd => to_luma(simd, row, within));
            beyond.fill(within[w - 1]);
        }
        // With a neighbour to the left and to the right, and one more so that each sample has two columns of its own.
        let mut sums: [Vec<u16>; 3] = std::array::from_fn(|_| vec![0; 2 * cw + 2]);
        for (y, (blue, red)) in blue.chunks_exact_mut(cw).zip(red.chunks_exact_mut(cw)).enumerate() {
            let (upper, lower) = (row(2 * y), row(2 * y + 1));
            let sums = &mut sums;
            dispatch!(level, simd => {
                add_rows(simd, upper, lower, sums);
                to_chroma(simd, sums, blue, red);
            });
        }
        Self { samples, width: out_w, height: out_h }
    }

    /// The three planes, each with its samples in a row.
    pub(crate) fn split(&self) -> [(&[u8], usize); 3] {
        let (cw, ch) = (self.width.div_ceil(2), self.height.div_ceil(2));
        let (luma, chroma) = self.samples.split_at(self.width * self.height);
        let (blue, red) = chroma.split_at(cw * ch);
        [(luma, self.width), (blue, cw), (red, cw)]
    }
}

/// Red, green and blue of a pixel.
#[expect(clippy::inline_always, reason = "must be compiled for the instructions that the processor has")]
#[inline(always)]
fn parts(pixel: [u8; 4]) -> [Number; 3] {
    let bits = u32::from_le_bytes(pixel);
    [Wrapping((bits & 255) as i32), Wrapping(((bits >> 8) & 255) as i32), Wrapping(((bits >> 16) & 255) as i32)]
}

#[inline(always)]
fn to_luma<S: Simd>(_: S, row: &[[u8; 4]], luma: &mut [u8]) {
    const START: Number = Wrapping((16 << BITS) + (1 << (BITS - 1)));
    for (luma, pixel) in luma.iter_mut().zip(row) {
        let [r, g, b] = parts(*pixel);
        *luma = ((LUMA[0] * r + LUMA[1] * g + LUMA[2] * b + START) >> BITS).0 as u8;
    }
}

/// Two rows added up, for each part by itself, from the second place on; at either end what lies beside it once more.
#[allow(clippy::needless_range_loop, reason = "all sides advance together, which becomes vectors")]
#[expect(clippy::inline_always, reason = "must be compiled for the instructions that the processor has")]
#[inline(always)]
fn add_rows<S: Simd>(_: S, upper: &[[u8; 4]], lower: &[[u8; 4]], sums: &mut [Vec<u16>; 3]) {
    let w = upper.len();
    let [red, green, blue] = sums;
    let (reds, greens, blues) = (&mut red[1..=w], &mut green[1..=w], &mut blue[1..=w]);
    let lower = &lower[..w];
    for x in 0..w {
        let (a, b) = (parts(upper[x]), parts(lower[x]));
        reds[x] = (a[0] + b[0]).0 as u16;
        greens[x] = (a[1] + b[1]).0 as u16;
        blues[x] = (a[2] + b[2]).0 as u16;
    }
    for sums in [red, green, blue] {
        sums[0] = sums[1];
        let last = sums[w];
        sums[w + 1..].fill(last);
    }
}

/// For each sample the sums left of it and its own, and the next ones.
fn split(sums: &[u16], length: usize) -> [&[[u16; 2]]; 2] {
    let (pairs, _) = sums.as_chunks();
    [&pairs[..length], &pairs[1..=length]]
}

#[expect(clippy::inline_always, reason = "must be compiled for the instructions that the processor has")]
#[inline(always)]
fn eight_parts([pairs, next]: [&[[u16; 2]]; 2], x: usize) -> Number {
    let ([left, own], [right, _]) = (pairs[x], next[x]);
    Wrapping(i32::from(left)) + Wrapping(i32::from(own) << 1) + Wrapping(i32::from(right))
}

/// Both sides halved, and the differences of that. The samples lie where players look for them: on the even columns, between
/// two rows. So they have twice as much of the column itself as of either neighbour, of two rows: eight parts.
#[allow(clippy::needless_range_loop, reason = "all sides advance together, which becomes vectors")]
#[inline(always)]
fn to_chroma<S: Simd>(_: S, sums: &[Vec<u16>; 3], blue: &mut [u8], red: &mut [u8]) {
    const SHIFT: usize = BITS + 3;
    const MIDDLE: Number = Wrapping((128 << SHIFT) + (1 << (SHIFT - 1)));
    let length = blue.len();
    let red = &mut red[..length];
    let [reds, greens, blues] = sums;
    let [reds, greens, blues] = [split(reds, length), split(greens, length), split(blues, length)];
    for x in 0..length {
        let (r, g, b) = (eight_parts(reds, x), eight_parts(greens, x), eight_parts(blues, x));
        blue[x] = ((BLUE[0] * r + BLUE[1] * g + BLUE[2] * b + MIDDLE) >> SHIFT).0 as u8;
        red[x] = ((RED[0] * r + RED[1] * g + RED[2] * b + MIDDLE) >> SHIFT).0 as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_black_and_primaries_are_those_of_bt709() {
        let planes = |rgb: [u8; 3]| {
            let rgba = [rgb[0], rgb[1], rgb[2], 255].repeat(16 * 16);
            let planes = Planes::from_rgba(&rgba, 16, 16, false);
            planes.split().map(|(plane, _)| plane[0])
        };
        // ITU-R BT.709, table 3: levels of 8 bits, by Y = 0.2126 R + 0.7152 G + 0.0722 B.
        for (rgb, expected) in [
            ([255, 255, 255], [235, 128, 128]),
            ([0, 0, 0], [16, 128, 128]),
            ([255, 0, 0], [63, 102, 240]),
            ([0, 255, 0], [173, 42, 26]),
            ([0, 0, 255], [32, 240, 118]),
        ] {
            let found = planes(rgb);
            assert!(
                found.iter().zip(expected).all(|(&a, b)| a.abs_diff(b) <= 1),
                "{rgb:?}: {found:?}, not {expected:?}"
            );
        }
    }

    #[test]
    fn alpha_is_ignored() {
        let opaque: Vec<u8> = (0..16 * 16).flat_map(|i| [i as u8, 90, 7, 255]).collect();
        let clear: Vec<u8> = opaque.chunks(4).flat_map(|p| [p[0], p[1], p[2], 0]).collect();
        let of = |rgba: &[u8]| Planes::from_rgba(rgba, 16, 16, false).samples;
        assert_eq!(of(&opaque), of(&clear));
    }

    #[test]
    fn chroma_lies_on_even_columns() {
        // Ramps of blue and of red: what lies on column 2n has the ramp's value there, not half a column beside it.
        let (w, h) = (32, 4);
        let rgba: Vec<u8> = (0..h).flat_map(|_| (0..w).flat_map(|x| [240 - 7 * x, 60, 10 + 7 * x, 255])).collect();
        let planes = Planes::from_rgba(&rgba, w.into(), h, false);
        let [_, (blue, _), (red, _)] = planes.split();
        for n in 1..16_u8 {
            let [r, b] = [240 - 14 * n, 10 + 14 * n].map(f64::from);
            let y = 0.2126 * r + 0.7152 * 60.0 + 0.0722 * b;
            let expected = [(b - y) / 1.8556, (r - y) / 1.5748].map(|part| 128.0 + part * 224.0 / 255.0);
            let found = [blue, red].map(|plane| f64::from(plane[usize::from(n)]));
            for (found, expected) in found.into_iter().zip(expected) {
                assert!((found - expected).abs() < 0.51, "{found} {expected} at {n}");
            }
        }
    }

    #[test]
    fn every_pixel_is_what_the_standard_says() {
        // Noise in four equal pixels each, so that halving changes nothing in the columns compared.
        let (w, h) = (66_u32, 34_u32);
        let colour = |x: u32, y: u32| {
            let bits = (x / 4 * 7919 + y / 2 * 104_729 + 1).wrapping_mul(2_654_435_761);
            [(bits >> 8) as u8, (bits >> 16) as u8, (bits >> 24) as u8, 255]
        };
        let rgba: Vec<u8> = (0..h).flat_map(|y| (0..w).flat_map(move |x| colour(x, y))).collect();
        let planes = Planes::from_rgba(&rgba, w, h, false);
        let [(luma, _), (blue, cw), (red, _)] = planes.split();
        for (x, y) in (0..h).flat_map(|y| (0..w).map(move |x| (x, y))) {
            let [r, g, b, _] = colour(x, y).map(f64::from);
            let value = 0.2126 * r + 0.7152 * g + 0.0722 * b;
            let (index, at) = ((y * w + x) as usize, (y / 2) as usize * cw + (x / 2) as usize);
            assert!((f64::from(luma[index]) - 16.0 - value * 219.0 / 255.0).abs() < 0.51);
            // In the second column of four, of which both neighbours are of the same colour.
            if x % 4 == 2 {
                assert!((f64::from(blue[at]) - 128.0 - (b - value) / 1.8556 * 224.0 / 255.0).abs() < 0.51);
                assert!((f64::from(red[at]) - 128.0 - (r - value) / 1.5748 * 224.0 / 255.0).abs() < 0.51);
            }
        }
    }

    #[test]
    fn odd_sides_keep_their_last_column_and_row() {
        let (w, h) = (17, 19);
        let grey = |x: usize, y: usize| (x * 5 + y * 7) as u8;
        let rgba: Vec<u8> =
            (0..h).flat_map(|y| (0..w).flat_map(move |x| [grey(x, y), grey(x, y), grey(x, y), 255])).collect();
        let odd = Planes::from_rgba(&rgba, 17, 19, false);
        assert_eq!((odd.width, odd.height, odd.samples.len()), (17, 19, 17 * 19 + 2 * 9 * 10));
        let even = Planes::from_rgba(&rgba, 17, 19, true);
        assert_eq!((even.width, even.height, even.samples.len()), (18, 20, 18 * 20 * 3 / 2));
        let [(a, _), ..] = odd.split();
        let [(b, _), ..] = even.split();
        for y in 0..20 {
            for x in 0..18 {
                assert_eq!(b[y * 18 + x], a[y.min(18) * 17 + x.min(16)]);
            }
        }
    }
}
