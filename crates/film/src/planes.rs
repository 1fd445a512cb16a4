//! From red, green and blue to luma and halved chroma.

use yuv::{BufferStoreMut, YuvConversionMode, YuvPlanarImageMut, YuvRange, YuvStandardMatrix};

use crate::{Error, Result};

/// A picture in 8-bit 4:2:0 by BT.709 in video range: luma, then blue, then red difference, each without gaps.
pub(crate) struct Planes {
    pub(crate) samples: Vec<u8>,
    pub(crate) width: usize,
    pub(crate) height: usize,
}

impl Planes {
    /// Converts a picture. With `even`, the last column and row are repeated where a side is odd.
    pub(crate) fn from_rgba(rgba: &[u8], width: u32, height: u32, even: bool) -> Result<Self> {
        let (w, h) = (width as usize, height as usize);
        let mut full = YuvPlanarImageMut {
            y_plane: BufferStoreMut::Owned(vec![0; w * h]),
            y_stride: width,
            u_plane: BufferStoreMut::Owned(vec![0; w * h]),
            u_stride: width,
            v_plane: BufferStoreMut::Owned(vec![0; w * h]),
            v_stride: width,
            width,
            height,
        };
        yuv::rgba_to_yuv444(
            &mut full,
            rgba,
            width * 4,
            YuvRange::Limited,
            YuvStandardMatrix::Bt709,
            YuvConversionMode::Balanced,
        )
        .map_err(|error| Error::Encoder { why: format!("colours: {error}") })?;
        let (cw, ch) = (w.div_ceil(2), h.div_ceil(2));
        let (out_w, out_h) = if even { (cw * 2, ch * 2) } else { (w, h) };
        let mut samples = Vec::with_capacity(out_w * out_h + 2 * cw * ch);
        let luma = full.y_plane.borrow();
        for y in 0..out_h {
            let row = &luma[y.min(h - 1) * w..][..w];
            samples.extend_from_slice(row);
            samples.resize(samples.len() + out_w - w, row[w - 1]);
        }
        halve(full.u_plane.borrow(), w, h, &mut samples);
        halve(full.v_plane.borrow(), w, h, &mut samples);
        Ok(Self { samples, width: out_w, height: out_h })
    }

    /// The three planes, each with its samples in a row.
    pub(crate) fn split(&self) -> [(&[u8], usize); 3] {
        let (cw, ch) = (self.width.div_ceil(2), self.height.div_ceil(2));
        let (luma, chroma) = self.samples.split_at(self.width * self.height);
        let (blue, red) = chroma.split_at(cw * ch);
        [(luma, self.width), (blue, cw), (red, cw)]
    }
}

/// Halves both sides of a plane. The new samples lie where players look for them: on the even columns, between two rows.
fn halve(plane: &[u8], w: usize, h: usize, out: &mut Vec<u8>) {
    // Twice as much of the column itself as of either neighbour, of two rows: eight parts, and a half to round.
    let mut sums = vec![0_u16; w + 2];
    for y in (0..h).step_by(2) {
        let upper = &plane[y * w..][..w];
        let lower = &plane[(y + 1).min(h - 1) * w..][..w];
        for ((sum, &a), &b) in sums[1..=w].iter_mut().zip(upper).zip(lower) {
            *sum = u16::from(a) + u16::from(b);
        }
        sums[0] = sums[1];
        sums[w + 1] = sums[w];
        out.extend((0..w).step_by(2).map(|x| ((sums[x] + 2 * sums[x + 1] + sums[x + 2] + 4) / 8) as u8));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_black_and_primaries_are_those_of_bt709() {
        let planes = |rgb: [u8; 3]| {
            let rgba = [rgb[0], rgb[1], rgb[2], 255].repeat(16 * 16);
            let planes = Planes::from_rgba(&rgba, 16, 16, false).unwrap();
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
        let of = |rgba: &[u8]| Planes::from_rgba(rgba, 16, 16, false).unwrap().samples;
        assert_eq!(of(&opaque), of(&clear));
    }

    #[test]
    fn chroma_lies_on_even_columns() {
        // A ramp: what lies on column 2n has the ramp's value there, not half a column beside it.
        let (w, h) = (32, 4);
        let ramp: Vec<u8> = (0..h).flat_map(|_| (0..w).map(|x| 20 + 4 * x as u8)).collect();
        let mut out = Vec::new();
        halve(&ramp, w, h, &mut out);
        assert_eq!(out.len(), 32);
        for (n, &value) in out[1..16].iter().enumerate() {
            assert_eq!(value, 20 + 8 * (n as u8 + 1));
        }
    }

    #[test]
    fn odd_sides_keep_their_last_column_and_row() {
        let (w, h) = (17, 19);
        let grey = |x: usize, y: usize| (x * 5 + y * 7) as u8;
        let rgba: Vec<u8> =
            (0..h).flat_map(|y| (0..w).flat_map(move |x| [grey(x, y), grey(x, y), grey(x, y), 255])).collect();
        let odd = Planes::from_rgba(&rgba, 17, 19, false).unwrap();
        assert_eq!((odd.width, odd.height, odd.samples.len()), (17, 19, 17 * 19 + 2 * 9 * 10));
        let even = Planes::from_rgba(&rgba, 17, 19, true).unwrap();
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
