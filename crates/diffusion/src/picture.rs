//! Between 8-bit pictures and tensors, and a quick look at latents.

use image::{GrayImage, RgbImage};
use tch::{Device, Kind, Tensor};

use crate::Error;
use crate::vae::Vae;

/// Previews are not larger than this along either side.
const MAX_PREVIEW: i64 = 128;

/// `[1, 3, H, W]` in -1..=1.
pub(crate) fn to_tensor(image: &RgbImage) -> Result<Tensor, Error> {
    let (width, height) = (i64::from(image.width()), i64::from(image.height()));
    let bytes = Tensor::f_from_slice(image.as_raw())?.f_view([1, height, width, 3])?;
    let scaled = bytes.f_to_kind(Kind::Float)?.f_div_scalar(127.5)?.f_sub_scalar(1.0)?;
    Ok(scaled.f_permute([0, 3, 1, 2])?.f_contiguous()?)
}

/// `[1, 1, H, W]` in 0..=1.
pub(crate) fn mask_to_tensor(mask: &GrayImage) -> Result<Tensor, Error> {
    let (width, height) = (i64::from(mask.width()), i64::from(mask.height()));
    let bytes = Tensor::f_from_slice(mask.as_raw())?.f_view([1, 1, height, width])?;
    Ok(bytes.f_to_kind(Kind::Float)?.f_div_scalar(255.0)?)
}

/// The values of `[1, C, H, W]`, 0 to 255, as bytes: row by row, the channels of a pixel together. What lies outside is clamped.
pub(crate) fn interleaved(planes: &Tensor) -> Result<Vec<u8>, Error> {
    let bytes = planes
        .f_round()?
        .f_clamp(0.0, 255.0)?
        .f_to_kind(Kind::Uint8)?
        .f_permute([0, 2, 3, 1])?
        .f_to_device(Device::Cpu)?
        .f_contiguous()?
        .f_view([-1])?;
    Ok(Vec::try_from(&bytes)?)
}

/// The picture of `[1, 3, H, W]` in -1..=1; what lies outside is clamped.
pub(crate) fn to_image(pixels: &Tensor) -> Result<RgbImage, Error> {
    let (_, _, height, width) = pixels.size4()?;
    let bytes = interleaved(&pixels.f_add_scalar(1.0)?.f_mul_scalar(127.5)?)?;
    RgbImage::from_raw(width as u32, height as u32, bytes)
        .ok_or_else(|| Error::from_torch_message("the decoded picture has an odd number of bytes"))
}

/// The most that a tiny decoder's preview measures along either side.
const MAX_DECODED_PREVIEW: i64 = 256;

/// A picture of at most 256 pixels along either side.
pub(crate) fn to_small_image(pixels: &Tensor) -> Result<RgbImage, Error> {
    let (_, _, height, width) = pixels.size4()?;
    let longest = height.max(width);
    if longest <= MAX_DECODED_PREVIEW {
        return to_image(pixels);
    }
    let fit = |side: i64| (side * MAX_DECODED_PREVIEW / longest).max(1);
    to_image(&pixels.f_adaptive_avg_pool2d([fit(height), fit(width)])?)
}

/// A linear guess at the colours of latents: much cheaper than decoding, and good enough to watch.
#[derive(Debug)]
pub(crate) struct Preview {
    /// `[3, channels]`.
    matrix: Tensor,
    /// `[3, 1]`.
    offset: Tensor,
}

impl Preview {
    /// Learns the colours by encoding a chart whose colours are known, and solving for the least squared error.
    pub(crate) fn fit(vae: &Vae, factor: i64, channels: i64) -> Result<Self, Error> {
        // A cube of 4x4x4 colours, each two latents wide, in an order that puts unlike colours side by side.
        let cells = 16_i64;
        let colour = |cell: i64| -> [f32; 3] {
            let i = cell * 29 % 64;
            [i % 4, i / 4 % 4, i / 16].map(|step| step as f32 / 1.5 - 1.0)
        };
        // Half of the cells are flat and half have a pattern, so that the fit learns which channels carry patterns and
        // gives no colour to them.
        let side = cells * factor;
        let (n, area) = ((cells * cells) as usize, (side * side) as usize);
        let mut chart = vec![0.0_f32; 3 * area];
        let mut small = vec![0.0_f32; 3 * n];
        for y in 0..side {
            for x in 0..side {
                let (cell_x, cell_y) = (x / factor, y / factor);
                let pattern = match (cell_x + cell_y) % 4 {
                    1 => (x - y).rem_euclid(factor) * 2 < factor,
                    3 => (x * 7 + y * 13 + x * y) % 5 < 2,
                    _ => false,
                };
                for (channel, value) in colour(cell_y / 2 * 8 + cell_x / 2).into_iter().enumerate() {
                    let value = if pattern { value * 0.4 - 0.1 } else { value };
                    chart[channel * area + (y * side + x) as usize] = value;
                    small[channel * n + (cell_y * cells + cell_x) as usize] += value / (factor * factor) as f32;
                }
            }
        }
        let chart = Tensor::f_from_slice(&chart)?.f_view([1, 3, side, side])?;
        let latents = vae.encode(&chart)?.f_to_device(Device::Cpu)?;
        let flat: Vec<f32> = Vec::try_from(&latents.f_contiguous()?.f_view([-1])?)?;
        let width = channels as usize + 1;
        let row = |i: usize| -> Vec<f64> {
            (0..width - 1).map(|c| f64::from(flat[c * n + i])).chain(std::iter::once(1.0)).collect()
        };
        // Normal equations with a little ridge, for latents with a channel that carries nothing.
        let mut left = vec![vec![0.0; width]; width];
        let mut right = vec![[0.0; 3]; width];
        for i in 0..n {
            let row = row(i);
            for (a, &va) in row.iter().enumerate() {
                for (b, &vb) in row.iter().enumerate() {
                    left[a][b] += va * vb;
                }
                for (channel, sum) in right[a].iter_mut().enumerate() {
                    *sum += va * f64::from(small[channel * n + i]);
                }
            }
        }
        for (i, row) in left.iter_mut().enumerate() {
            row[i] += 1e-3 * n as f64;
        }
        let solution = solve(left, right);
        let matrix: Vec<f32> =
            (0..3).flat_map(|channel| solution.iter().take(width - 1).map(move |row| row[channel] as f32)).collect();
        let offset: Vec<f32> = solution.last().map_or(vec![0.0; 3], |row| row.map(|v| v as f32).to_vec());
        Ok(Self {
            matrix: Tensor::f_from_slice(&matrix)?.f_view([3, channels])?,
            offset: Tensor::f_from_slice(&offset)?.f_view([3, 1])?,
        })
    }

    /// A picture of at most 128 pixels along either side, one for each latent where that fits.
    pub(crate) fn look(&self, latents: &Tensor) -> Result<RgbImage, Error> {
        let (_, channels, height, width) = latents.size4()?;
        let flat = latents.f_to_device(Device::Cpu)?.f_contiguous()?.f_view([channels, height * width])?;
        let mut colours = self.matrix.f_matmul(&flat)?.f_add(&self.offset)?.f_view([1, 3, height, width])?;
        let longest = height.max(width);
        if longest > MAX_PREVIEW {
            let fit = |side: i64| (side * MAX_PREVIEW / longest).max(1);
            colours = colours.f_adaptive_avg_pool2d([fit(height), fit(width)])?;
        }
        to_image(&colours)
    }
}

/// Solves `left * x = right` by elimination with the largest pivot; `left` is symmetric and positive here.
fn solve(mut left: Vec<Vec<f64>>, mut right: Vec<[f64; 3]>) -> Vec<[f64; 3]> {
    let n = left.len();
    for column in 0..n {
        let pivot = (column..n).max_by(|&a, &b| left[a][column].abs().total_cmp(&left[b][column].abs()));
        left.swap(column, pivot.unwrap_or(column));
        right.swap(column, pivot.unwrap_or(column));
        let (pivot_left, pivot_right) = (left[column].clone(), right[column]);
        for below in column + 1..n {
            let factor = left[below][column] / pivot_left[column];
            for (value, above) in left[below].iter_mut().zip(&pivot_left) {
                *value -= factor * above;
            }
            for (value, above) in right[below].iter_mut().zip(pivot_right) {
                *value -= factor * above;
            }
        }
    }
    for row in (0..n).rev() {
        let mut solved = right[row];
        for (channel, value) in solved.iter_mut().enumerate() {
            let known: f64 = (row + 1..n).map(|k| left[row][k] * right[k][channel]).sum();
            *value = (*value - known) / left[row][row];
        }
        right[row] = solved;
    }
    right
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_survive_the_way_through_tensors() {
        let image = RgbImage::from_fn(5, 3, |x, y| image::Rgb([(x * 50) as u8, (y * 100) as u8, 255]));
        let tensor = to_tensor(&image).unwrap();
        assert_eq!(tensor.size(), [1, 3, 3, 5]);
        assert_eq!(to_image(&tensor).unwrap(), image);
        assert_eq!(to_image(&(tensor * 100.0)).unwrap().get_pixel(4, 2).0, [255, 255, 255]);
    }

    #[test]
    fn elimination_solves() {
        let left = vec![vec![0.0, 2.0], vec![4.0, 1.0]];
        let solution = solve(left, vec![[2.0, 4.0, 0.0], [5.0, 2.0, 4.0]]);
        assert_eq!(solution, [[1.0, 0.0, 1.0], [1.0, 2.0, 0.0]]);
    }
}
