//! Edges for control networks.
//!
//! John Canny: "A computational approach to edge detection", 1986, in the form that `OpenCV`'s `Canny` has (3x3 Sobel
//! operators, no smoothing before, the gradient's size as |x| + |y|, of several colours the steepest): networks for edges
//! were trained on its results, so that an implementation that smooths first or measures otherwise, such as
//! imageproc's, would show them other edges than they know.

use image::{GrayImage, Luma, RgbImage};

/// A gradient and its size.
#[derive(Debug, Clone, Copy, Default)]
struct Gradient {
    x: i32,
    y: i32,
    size: u32,
}

/// tan(22.5°) with 15 binary places: below it a gradient counts as horizontal.
const TAN: i64 = 13_573;

/// The edges of a picture: 255 where a gradient is a local maximum across the edge and steeper than `high`, or steeper than
/// `low` and connected to such a place; 0 elsewhere. Gradients are 0 to [`MAX_THRESHOLD`](super::MAX_THRESHOLD).
pub fn canny(picture: &RgbImage, low: u32, high: u32) -> GrayImage {
    let (width, height) = picture.dimensions();
    let (low, high) = (low.min(high), low.max(high));
    let gradients = gradients(picture);
    // Beyond the picture nothing is steep.
    let size = |x: i64, y: i64| {
        let inside = (0..i64::from(width)).contains(&x) && (0..i64::from(height)).contains(&y);
        if inside { gradients[(y * i64::from(width) + x) as usize].size } else { 0 }
    };
    let mut strong = Vec::new();
    let mut edges = GrayImage::new(width, height);
    // 1 marks what is an edge only when connected.
    for (index, gradient) in gradients.iter().enumerate() {
        let (x, y) = ((index as u32 % width), (index as u32 / width));
        if gradient.size > low && is_crest(*gradient, i64::from(x), i64::from(y), size) {
            let is_strong = gradient.size > high;
            edges.put_pixel(x, y, Luma([if is_strong { 255 } else { 1 }]));
            if is_strong {
                strong.push((x, y));
            }
        }
    }
    while let Some((x, y)) = strong.pop() {
        for v in y.saturating_sub(1)..=(y + 1).min(height - 1) {
            for u in x.saturating_sub(1)..=(x + 1).min(width - 1) {
                let pixel = edges.get_pixel_mut(u, v);
                if pixel.0[0] == 1 {
                    pixel.0[0] = 255;
                    strong.push((u, v));
                }
            }
        }
    }
    edges.pixels_mut().filter(|pixel| pixel.0[0] == 1).for_each(|pixel| pixel.0[0] = 0);
    edges
}

/// Whether no neighbour along the gradient is steeper; of two equal ones the left or upper one counts.
fn is_crest(gradient: Gradient, x: i64, y: i64, size: impl Fn(i64, i64) -> u32) -> bool {
    let own = gradient.size;
    let (across, down) = (i64::from(gradient.x.abs()), i64::from(gradient.y.abs()) << 15);
    let shallow = across * TAN;
    if down < shallow {
        return own > size(x - 1, y) && own >= size(x + 1, y);
    }
    // tan(67.5°) = tan(22.5°) + 2
    if down > shallow + (across << 16) {
        return own > size(x, y - 1) && own >= size(x, y + 1);
    }
    let side = if (gradient.x ^ gradient.y) < 0 { -1 } else { 1 };
    own > size(x - side, y - 1) && own > size(x + side, y + 1)
}

/// The gradient at each pixel, that of its steepest colour; the picture's edge is continued outwards.
fn gradients(picture: &RgbImage) -> Vec<Gradient> {
    let (width, height) = picture.dimensions();
    let mut found = Vec::with_capacity(width as usize * height as usize);
    for y in 0..height {
        let rows = [y.saturating_sub(1), y, (y + 1).min(height - 1)];
        for x in 0..width {
            let columns = [x.saturating_sub(1), x, (x + 1).min(width - 1)];
            let near = rows.map(|v| columns.map(|u| *picture.get_pixel(u, v)));
            let mut steepest = Gradient::default();
            for colour in 0..3 {
                let near = near.map(|row| row.map(|pixel| i32::from(pixel.0[colour])));
                let at = |row: usize, column: usize| near[row][column];
                let dx = at(0, 2) + 2 * at(1, 2) + at(2, 2) - at(0, 0) - 2 * at(1, 0) - at(2, 0);
                let dy = at(2, 0) + 2 * at(2, 1) + at(2, 2) - at(0, 0) - 2 * at(0, 1) - at(0, 2);
                let size = dx.unsigned_abs() + dy.unsigned_abs();
                if colour == 0 || size > steepest.size {
                    steepest = Gradient { x: dx, y: dy, size };
                }
            }
            found.push(steepest);
        }
    }
    found
}
