//! Matches a painted area to the known picture around it, so that no edge in colour or brightness shows.

use image::RgbImage;

use super::Mask;

/// Corrects `painted` outside `known` by the difference that the model left on the known pixels nearby.
///
/// The model returns the whole window, its own version of the known pixels included; what it got wrong there (`original` −
/// `painted`, within `ring` pixels of the painted area) it also got wrong next to them. That difference is spread smoothly over the
/// painted area: close to the edge it follows the edge's own error, far away it is the ring's mean error. This is the
/// membrane interpolation of seamless cloning (Pérez, Gangnet, Blake 2003), solved by push-pull pyramids
/// (Gortler et al. 1996). Known pixels become those of `original`.
pub fn harmonise(painted: &mut RgbImage, original: &RgbImage, known: &Mask, ring: f32) {
    let Some(distance) = known.not().nearest(1.0) else {
        painted.clone_from(original);
        return;
    };
    let mut field = Field::new(painted.width() as usize, painted.height() as usize);
    for (index, (cell, (_, distance))) in field.cells.iter_mut().zip(&distance).enumerate() {
        if known.flags()[index] && *distance <= ring {
            let at = index * 3;
            for channel in 0..3 {
                let (wanted, found) = (original.as_raw()[at + channel], painted.as_raw()[at + channel]);
                cell.value[channel] = f32::from(wanted) - f32::from(found);
            }
            cell.weight = 1.0;
        }
    }
    field.fill();
    for (index, cell) in field.cells.iter().enumerate() {
        let at = index * 3;
        for channel in 0..3 {
            let value = &mut painted.as_mut()[at + channel];
            *value = if known.flags()[index] {
                original.as_raw()[at + channel]
            } else {
                (f32::from(*value) + cell.value[channel]).round().clamp(0.0, 255.0) as u8
            };
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    value: [f32; 3],
    weight: f32,
}

/// Values known at some places, to be spread smoothly over the others.
struct Field {
    width: usize,
    height: usize,
    cells: Vec<Cell>,
}

impl Field {
    fn new(width: usize, height: usize) -> Self {
        Self { width, height, cells: vec![Cell::default(); width * height] }
    }

    /// Push: average down while cells are missing. Pull: what is missing comes, interpolated, from the coarser level.
    fn fill(&mut self) {
        if self.width * self.height <= 1 || self.cells.iter().all(|cell| cell.weight >= 1.0) {
            return;
        }
        let mut coarse = Self::new(self.width.div_ceil(2), self.height.div_ceil(2));
        for y in 0..coarse.height {
            for x in 0..coarse.width {
                let mut sum = Cell::default();
                for (u, v) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
                    let (u, v) = (2 * x + u, 2 * y + v);
                    if u < self.width && v < self.height {
                        let cell = self.cells[v * self.width + u];
                        for channel in 0..3 {
                            sum.value[channel] += cell.value[channel] * cell.weight;
                        }
                        sum.weight += cell.weight;
                    }
                }
                if sum.weight > 0.0 {
                    sum.value.iter_mut().for_each(|value| *value /= sum.weight);
                }
                coarse.cells[y * coarse.width + x] = Cell { weight: sum.weight.min(1.0), ..sum };
            }
        }
        coarse.fill();
        for y in 0..self.height {
            for x in 0..self.width {
                let from = coarse.at((x as f32 - 0.5) / 2.0, (y as f32 - 0.5) / 2.0);
                let cell = &mut self.cells[y * self.width + x];
                for channel in 0..3 {
                    cell.value[channel] = cell.value[channel] * cell.weight + from[channel] * (1.0 - cell.weight);
                }
            }
        }
    }

    /// Bilinear sample, clamped at the borders.
    fn at(&self, x: f32, y: f32) -> [f32; 3] {
        let (x, y) = (x.clamp(0.0, self.width as f32 - 1.0), y.clamp(0.0, self.height as f32 - 1.0));
        let (left, top) = (x as usize, y as usize);
        let (right, bottom) = ((left + 1).min(self.width - 1), (top + 1).min(self.height - 1));
        let (fx, fy) = (x - left as f32, y - top as f32);
        let cell = |u: usize, v: usize, channel: usize| self.cells[v * self.width + u].value[channel];
        let mut out = [0.0; 3];
        for (channel, value) in out.iter_mut().enumerate() {
            let upper = cell(left, top, channel) * (1.0 - fx) + cell(right, top, channel) * fx;
            let lower = cell(left, bottom, channel) * (1.0 - fx) + cell(right, bottom, channel) * fx;
            *value = upper * (1.0 - fy) + lower * fy;
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[test]
    fn a_colour_drift_of_the_model_is_taken_out() {
        let truth = RgbImage::from_fn(64, 48, |x, y| Rgb([(60 + x) as u8, (90 + y) as u8, 120]));
        let known = Mask::from_fn(64, 48, |x, _| x < 32);
        let mut painted = truth.clone();
        painted.pixels_mut().for_each(|pixel| {
            pixel.0[0] += 9;
            pixel.0[2] -= 14;
        });
        harmonise(&mut painted, &truth, &known, 24.0);
        for (found, wanted) in painted.as_raw().iter().zip(truth.as_raw()) {
            assert!(found.abs_diff(*wanted) <= 1, "{found} for {wanted}");
        }
    }

    #[test]
    fn known_pixels_are_the_original_ones() {
        let original = RgbImage::from_fn(33, 17, |x, y| Rgb([(x * 5) as u8, (y * 9) as u8, (x * y) as u8]));
        let known = Mask::from_fn(33, 17, |x, y| x > 10 && y < 12);
        let mut painted = RgbImage::from_pixel(33, 17, Rgb([7, 200, 33]));
        harmonise(&mut painted, &original, &known, 8.0);
        for y in 0..17 {
            for x in 0..33 {
                if known.get(x, y) {
                    assert_eq!(painted.get_pixel(x, y), original.get_pixel(x, y));
                }
            }
        }
    }

    #[test]
    fn without_known_pixels_nothing_changes() {
        let original = RgbImage::new(9, 9);
        let mut painted = RgbImage::from_pixel(9, 9, Rgb([1, 2, 3]));
        harmonise(&mut painted, &original, &Mask::from_fn(9, 9, |_, _| false), 8.0);
        assert!(painted.pixels().all(|pixel| pixel.0 == [1, 2, 3]));
    }
}
