//! A first guess for the unknown part of a window, from which denoising starts.

use image::{Rgb, RgbImage};

use super::Mask;

/// How much dearer a step to another row is than one within the row, when the nearest known pixel is sought. Above 1 the
/// layers of a scene (sky, horizon, ground) continue sideways.
const ROW_BIAS: f32 = 3.0;
/// Blur radius per pixel of distance from the known picture.
const BLUR_GROWTH: f32 = 0.2;
/// Largest blur radius, in pixels.
const BLUR_LIMIT: f32 = 28.0;

/// Replaces the pixels outside `known` by the nearest known ones, blurred the more the farther they are: an edge stretch
/// followed by a progressive blur, as most outpainting tools start from. Without any known pixel all become mid-grey.
pub fn prefill(image: &mut RgbImage, known: &Mask) {
    let Some(nearest) = known.nearest(ROW_BIAS) else {
        image.pixels_mut().for_each(|pixel| *pixel = Rgb([128; 3]));
        return;
    };
    let source: Vec<[u8; 3]> = image.pixels().map(|pixel| pixel.0).collect();
    for (pixel, (from, distance)) in image.pixels_mut().zip(&nearest) {
        if *distance > 0.0 {
            pixel.0 = source[*from];
        }
    }
    // Twice a box blur comes close enough to a Gaussian one.
    for _ in 0..2 {
        blur_by_distance(image, &nearest);
    }
}

/// Box blur whose radius grows with the distance from the known picture, by a summed-area table (Crow 1984).
fn blur_by_distance(image: &mut RgbImage, nearest: &[(usize, f32)]) {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let stride = width + 1;
    let mut sums = vec![[0u64; 3]; stride * (height + 1)];
    for (y, row) in image.rows().enumerate() {
        let mut line = [0u64; 3];
        for (x, pixel) in row.enumerate() {
            let above = sums[y * stride + x + 1];
            let sum = &mut sums[(y + 1) * stride + x + 1];
            for channel in 0..3 {
                line[channel] += u64::from(pixel.0[channel]);
                sum[channel] = above[channel] + line[channel];
            }
        }
    }
    for y in 0..height {
        for x in 0..width {
            let radius = (nearest[y * width + x].1 * BLUR_GROWTH).min(BLUR_LIMIT) as usize;
            if radius == 0 {
                continue;
            }
            let (left, right) = (x.saturating_sub(radius), (x + radius + 1).min(width));
            let (top, bottom) = (y.saturating_sub(radius), (y + radius + 1).min(height));
            let count = ((right - left) * (bottom - top)) as u64;
            let mut mean = [0u8; 3];
            for (channel, value) in mean.iter_mut().enumerate() {
                let sum = sums[bottom * stride + right][channel] + sums[top * stride + left][channel]
                    - sums[top * stride + right][channel]
                    - sums[bottom * stride + left][channel];
                *value = ((sum + count / 2) / count) as u8;
            }
            image.put_pixel(x as u32, y as u32, Rgb(mean));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_continue_sideways_and_known_pixels_stay() {
        let known = Mask::from_fn(64, 32, |x, _| x < 32);
        let original = RgbImage::from_fn(64, 32, |x, y| Rgb([if y < 16 { 200 } else { 20 }, (x * 7) as u8, 9]));
        let mut image = original.clone();
        prefill(&mut image, &known);
        for y in 0..32 {
            for x in 0..32 {
                assert_eq!(image.get_pixel(x, y), original.get_pixel(x, y));
            }
        }
        assert!(image.get_pixel(60, 2).0[0] > 180);
        assert!(image.get_pixel(60, 30).0[0] < 40);
    }

    #[test]
    fn nothing_known_is_grey() {
        let mut image = RgbImage::new(8, 8);
        prefill(&mut image, &Mask::from_fn(8, 8, |_, _| false));
        assert!(image.pixels().all(|pixel| pixel.0 == [128; 3]));
    }
}
