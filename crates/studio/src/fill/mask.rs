//! A binary mask over a picture, and distances in it.

use image::{GrayImage, Luma};

/// One flag a pixel, in rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    width: u32,
    height: u32,
    flags: Vec<bool>,
}

impl Mask {
    /// A mask whose flag at (x, y) is `flag(x, y)`.
    pub fn from_fn(width: u32, height: u32, mut flag: impl FnMut(u32, u32) -> bool) -> Self {
        let mut flags = Vec::with_capacity(width as usize * height as usize);
        for y in 0..height {
            flags.extend((0..width).map(|x| flag(x, y)));
        }
        Self { width, height, flags }
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The flag at (x, y), which must lie inside.
    pub fn get(&self, x: u32, y: u32) -> bool {
        self.flags[y as usize * self.width as usize + x as usize]
    }

    /// All flags, row by row.
    pub fn flags(&self) -> &[bool] {
        &self.flags
    }

    /// Whether any flag is set.
    pub fn any(&self) -> bool {
        self.flags.contains(&true)
    }

    /// The opposite mask.
    #[must_use]
    pub fn not(&self) -> Self {
        Self { flags: self.flags.iter().map(|flag| !flag).collect(), ..*self }
    }

    /// Scaled to another size: a pixel is set where any pixel that it covers is set, so nothing that must be painted is lost.
    #[must_use]
    pub fn scaled(&self, width: u32, height: u32) -> Self {
        if (width, height) == (self.width, self.height) {
            return self.clone();
        }
        // Columns and rows that target pixel `i` covers, at least one.
        let span = |i: u32, from: u32, to: u32| {
            let first = (u64::from(i) * u64::from(from) / u64::from(to)) as u32;
            let last = ((u64::from(i) + 1) * u64::from(from)).div_ceil(u64::from(to)) as u32;
            first..last.clamp(first + 1, from)
        };
        Self::from_fn(width, height, |x, y| {
            span(y, self.height, height).any(|v| span(x, self.width, width).any(|u| self.get(u, v)))
        })
    }

    /// As an 8-bit picture: 255 where set.
    pub fn to_gray(&self) -> GrayImage {
        GrayImage::from_fn(self.width, self.height, |x, y| Luma([if self.get(x, y) { 255 } else { 0 }]))
    }

    /// For each pixel the index of the nearest set pixel and the distance to it, or `None` if no pixel is set.
    ///
    /// The distance is |dx| + `row_bias` · |dy|; a bias above 1 prefers pixels of the same row. Two passes over the picture
    /// are exact for this metric.
    pub fn nearest(&self, row_bias: f32) -> Option<Vec<(usize, f32)>> {
        if !self.any() {
            return None;
        }
        let (width, height) = (self.width as usize, self.height as usize);
        let mut field: Vec<(usize, f32)> = self
            .flags
            .iter()
            .enumerate()
            .map(|(index, &flag)| (index, if flag { 0.0 } else { f32::INFINITY }))
            .collect();
        let relax = |field: &mut Vec<(usize, f32)>, index: usize, from: usize, step: f32| {
            let (source, distance) = field[from];
            if distance + step < field[index].1 {
                field[index] = (source, distance + step);
            }
        };
        for y in 0..height {
            let row = y * width;
            for x in 0..width {
                if y > 0 {
                    relax(&mut field, row + x, row + x - width, row_bias);
                }
                if x > 0 {
                    relax(&mut field, row + x, row + x - 1, 1.0);
                }
            }
            for x in (0..width.saturating_sub(1)).rev() {
                relax(&mut field, row + x, row + x + 1, 1.0);
            }
        }
        for y in (0..height.saturating_sub(1)).rev() {
            let row = y * width;
            for x in 0..width {
                relax(&mut field, row + x, row + x + width, row_bias);
            }
            for x in 1..width {
                relax(&mut field, row + x, row + x - 1, 1.0);
            }
            for x in (0..width.saturating_sub(1)).rev() {
                relax(&mut field, row + x, row + x + 1, 1.0);
            }
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn nearest_equals_brute_force(width in 1u32..14, height in 1u32..14, seed in any::<u64>(), bias in 1u8..4) {
            let mask = Mask::from_fn(width, height, |x, y| {
                (seed ^ (u64::from(x) * 0x9E37_79B9 + u64::from(y) * 0x85EB_CA6B)).wrapping_mul(0x2545_F491_4F6C_DD1D) >> 60 == 0
            });
            let bias = f32::from(bias);
            match mask.nearest(bias) {
                None => prop_assert!(!mask.any()),
                Some(field) => for y in 0..height { for x in 0..width {
                    let mut best = f32::INFINITY;
                    for v in 0..height { for u in 0..width { if mask.get(u, v) {
                        best = best.min(x.abs_diff(u) as f32 + bias * y.abs_diff(v) as f32);
                    } } }
                    let (source, distance) = field[(y * width + x) as usize];
                    prop_assert!((distance - best).abs() < 1e-3);
                    prop_assert!(mask.flags()[source]);
                } }
            }
        }

        #[test]
        fn scaling_never_loses_a_set_pixel(width in 1u32..40, height in 1u32..40, to_w in 1u32..40, to_h in 1u32..40, at in any::<(u32, u32)>()) {
            let at = (at.0 % width, at.1 % height);
            let scaled = Mask::from_fn(width, height, |x, y| (x, y) == at).scaled(to_w, to_h);
            prop_assert!(scaled.any());
            prop_assert_eq!((scaled.width(), scaled.height()), (to_w, to_h));
        }
    }
}
