//! Matches a painted area to the known picture around it, so that no edge in colour or brightness shows.

use image::RgbImage;

use super::Mask;

/// Radius in pixels of the means that differences are smoothed by, so that single pixels' texture is not carried over.
const REACH: u32 = 3;
/// What still jumps at the edge is bridged from broad shades to fine detail: how far around a place on the edge both sides are
/// looked at, and how far in the correction fades out, both in rings. Fine detail fades at once and broad shades slowly, as in the
/// harmonic interpolation that the bands stand for, and in the splines of Burt and Adelson (1983).
const BANDS: [(f32, f32); 3] = [(2.0 / 3.0, 3.0), (1.0 / 6.0, 1.0), (1.0 / 24.0, 1.0 / 3.0)];

/// Corrects `painted` outside `known` so that it joins the known picture; known pixels become those of `original`.
///
/// Two errors are taken out, each spread smoothly over the painted area as in the membrane interpolation of seamless cloning (Pérez,
/// Gangnet, Blake 2003), solved by push-pull pyramids (Gortler et al. 1996):
///
/// 1. *Drift.* The model returns the whole window, its own version of the known pixels included. What it got wrong there
///    (`original` − `painted`, within `ring` pixels of the painted area) it also got wrong next to them; far from the edge that is
///    the ring's mean error.
/// 2. *Step.* What then still jumps from one side of the edge to the other is bridged, band by band: what is fine along the edge
///    fades out within a third of `ring` pixels, what is broad within three rings, so that no line shows but the picture
///    farther in stays as it was painted.
pub fn harmonise(painted: &mut RgbImage, original: &RgbImage, known: &Mask, ring: f32) {
    let Some(to_painted) = known.not().nearest(1.0) else {
        painted.clone_from(original);
        return;
    };
    let Some(to_known) = known.nearest(1.0) else { return };
    let size = painted.dimensions();
    let difference = Means::of(size, |index| {
        let (_, distance) = to_painted[index];
        let near = known.flags()[index] && distance <= ring;
        let (wanted, found) = (&original.as_raw()[index * 3..], &painted.as_raw()[index * 3..]);
        near.then(|| [0, 1, 2].map(|c| f32::from(wanted[c]) - f32::from(found[c])))
    });
    // Smoothed, so that the known picture's texture is not carried over.
    let mut drift = Field::of(size, |x, y| {
        let index = (y * size.0 + x) as usize;
        let near = known.flags()[index] && to_painted[index].1 <= ring;
        if near { difference.around(x, y, REACH) } else { None }
    });
    drop(difference);
    drift.fill();
    // Push-pull leaves steep slopes beside the values that it was given.
    let drift = Means::of(size, |index| Some(drift.cells[index].value));
    correct(painted, original, known, |index| {
        let (x, y) = (index as u32 % size.0, index as u32 / size.0);
        drift.around(x, y, 2 * REACH).unwrap_or_default()
    });

    // `painted` now holds the original's pixels on the known side, so its own means on both sides tell the step. A decoder leads
    // the first pixels over from one side to the other, so that broad shades are told apart only farther in.
    let on_edge = |index: &usize| !known.flags()[*index] && to_known[*index].1 <= 1.0;
    let edge: Vec<usize> = (0..known.flags().len()).filter(on_edge).collect();
    let mut bridged = vec![[0.0; 3]; known.flags().len()];
    for (reach, fade) in BANDS.map(|(reach, fade)| ((reach * ring).max(1.0), (fade * ring).max(1.0))) {
        // Means of a strip along the edge on one of its sides, from and to so many pixels away from it.
        let strip = |of_known: bool, from: f32, to: f32| {
            let distances = if of_known { &to_painted } else { &to_known };
            Means::of(size, |index| {
                let here = known.flags()[index] == of_known && distances[index].1 > from && distances[index].1 <= to;
                here.then(|| [0, 1, 2].map(|c| f32::from(painted.as_raw()[index * 3 + c]) + bridged[index][c]))
            })
        };
        let half = (reach / 2.0).max(1.0);
        // One table at a time, as each takes 32 bytes a pixel of the window; of it only what lies around the edge is wanted.
        let along_edge = |of_known: bool, from: f32, to: f32| -> Vec<Option<[f32; 3]>> {
            let means = strip(of_known, from, to);
            let place = |&index: &usize| (index as u32 % size.0, index as u32 / size.0);
            edge.iter().map(place).map(|(x, y)| means.around(x, y, reach.round() as u32)).collect()
        };
        let [outer, inner] =
            [true, false].map(|of_known| (along_edge(of_known, 0.0, half), along_edge(of_known, half, reach)));
        let mut step = Field::new(size.0 as usize, size.1 as usize);
        for (at, &index) in edge.iter().enumerate() {
            let Some((wanted, found)) = outer.0[at].zip(inner.0[at]) else { continue };
            let value = match outer.1[at].zip(inner.1[at]) {
                None => [0, 1, 2].map(|c| wanted[c] - found[c]),
                Some((before, behind)) => {
                    // A slope that both sides have, of which the gentler counts, is no step.
                    let slope = |c: usize| {
                        let (outside, inside) = (wanted[c] - before[c], behind[c] - found[c]);
                        let gentler = outside.abs().min(inside.abs()).copysign(outside);
                        if outside * inside > 0.0 { gentler } else { 0.0 }
                    };
                    [0, 1, 2].map(|c| (wanted[c] + before[c] - found[c] - behind[c]) / 2.0 + 2.0 * slope(c))
                }
            };
            step.cells[index] = Cell { value, weight: 1.0 };
        }
        step.fill();
        for (index, sum) in bridged.iter_mut().enumerate().filter(|(index, _)| !known.flags()[*index]) {
            let near = (1.0 - to_known[index].1 / fade).clamp(0.0, 1.0);
            let share = near * near * (3.0 - 2.0 * near);
            for (sum, value) in sum.iter_mut().zip(step.cells[index].value) {
                *sum += value * share;
            }
        }
    }
    correct(painted, original, known, |index| bridged[index]);
}

/// Adds a correction to the unknown pixels and puts the original's into the known ones.
fn correct(painted: &mut RgbImage, original: &RgbImage, known: &Mask, correction: impl Fn(usize) -> [f32; 3]) {
    for (index, (pixel, truth)) in painted.pixels_mut().zip(original.pixels()).enumerate() {
        if known.flags()[index] {
            *pixel = *truth;
        } else {
            let add = correction(index);
            for (value, add) in pixel.0.iter_mut().zip(add) {
                *value = (f32::from(*value) + add).round().clamp(0.0, 255.0) as u8;
            }
        }
    }
}

/// Means over small squares of the values that are there, by a summed-area table (Crow 1984).
struct Means {
    width: u32,
    height: u32,
    /// Sums of the three values, and of the number of pixels that have them.
    sums: Vec<[f64; 4]>,
}

impl Means {
    fn of((width, height): (u32, u32), value: impl Fn(usize) -> Option<[f32; 3]>) -> Self {
        let stride = width as usize + 1;
        let mut sums = vec![[0.0; 4]; stride * (height as usize + 1)];
        for y in 0..height as usize {
            let mut row = [0.0; 4];
            for x in 0..width as usize {
                if let Some([r, g, b]) = value(y * width as usize + x) {
                    let here = [f64::from(r), f64::from(g), f64::from(b), 1.0];
                    row = [0, 1, 2, 3].map(|c| row[c] + here[c]);
                }
                let above = sums[y * stride + x + 1];
                sums[(y + 1) * stride + x + 1] = [0, 1, 2, 3].map(|c| above[c] + row[c]);
            }
        }
        Self { width, height, sums }
    }

    fn around(&self, x: u32, y: u32, reach: u32) -> Option<[f32; 3]> {
        let (left, right) = (x.saturating_sub(reach) as usize, (x + reach + 1).min(self.width) as usize);
        let (top, bottom) = (y.saturating_sub(reach) as usize, (y + reach + 1).min(self.height) as usize);
        let stride = self.width as usize + 1;
        let at = |x: usize, y: usize| self.sums[y * stride + x];
        let sum =
            [0, 1, 2, 3].map(|c| at(right, bottom)[c] + at(left, top)[c] - at(right, top)[c] - at(left, bottom)[c]);
        (sum[3] > 0.5).then(|| [0, 1, 2].map(|c| (sum[c] / sum[3]) as f32))
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

    /// A field that has the values that `value(x, y)` gives.
    fn of((width, height): (u32, u32), value: impl Fn(u32, u32) -> Option<[f32; 3]>) -> Self {
        let mut field = Self::new(width as usize, height as usize);
        for y in 0..height {
            for x in 0..width {
                if let Some(value) = value(x, y) {
                    field.cells[(y * width + x) as usize] = Cell { value, weight: 1.0 };
                }
            }
        }
        field
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
                for (value, from) in cell.value.iter_mut().zip(from) {
                    *value = *value * cell.weight + from * (1.0 - cell.weight);
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
            assert!(found.abs_diff(*wanted) <= 2, "{found} for {wanted}");
        }
    }

    #[test]
    fn a_step_at_the_edge_is_bridged_and_the_far_picture_stays() {
        let known = Mask::from_fn(128, 32, |x, _| x < 32);
        let truth = RgbImage::from_pixel(128, 32, Rgb([100; 3]));
        // The model keeps the known side well and still jumps at the edge.
        let mut painted = RgbImage::from_fn(128, 32, |x, _| Rgb([if x < 32 { 100 } else { 160 }; 3]));
        harmonise(&mut painted, &truth, &known, 24.0);
        for y in 0..32 {
            for x in 31..127 {
                let (here, next) = (painted.get_pixel(x, y).0[0], painted.get_pixel(x + 1, y).0[0]);
                assert!(here.abs_diff(next) <= 6, "{here} {next} at {x},{y}");
            }
            assert_eq!(painted.get_pixel(32 + 80, y).0[0], 160);
        }
    }

    #[test]
    fn a_broken_line_is_led_over_the_edge_and_ends_soon() {
        let (known, line) = (Mask::from_fn(128, 64, |x, _| x < 32), |y: u32, at: u32| if y < at { 200 } else { 40 });
        let truth = RgbImage::from_fn(128, 64, |_, y| Rgb([line(y, 30); 3]));
        // Painted four pixels lower.
        let mut painted = RgbImage::from_fn(128, 64, |x, y| Rgb([line(y, if x < 32 { 30 } else { 34 }); 3]));
        harmonise(&mut painted, &truth, &known, 24.0);
        let at = |x: u32, y: u32| i32::from(painted.get_pixel(x, y).0[0]);
        for y in 24..40 {
            let jump = (at(31, y) - at(32, y)).abs();
            assert!(jump <= 60, "{jump} of 160 at row {y}");
            assert!((at(56, y) - i32::from(line(y, 34))).abs() <= 16, "{} at row {y}", at(56, y));
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
