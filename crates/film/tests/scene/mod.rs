//! A scene that moves as a camera's pictures do: a detailed picture, larger than the film, seen through a moving window.

#![allow(dead_code, reason = "each user takes what it needs")]

/// A picture of soft shapes, fine texture and hard edges.
pub(crate) struct Scene {
    width: usize,
    height: usize,
    pixels: Vec<[f32; 3]>,
}

/// A pseudo-random number of 0..1 for a lattice point (a finaliser of `MurmurHash3`).
fn lattice(x: i64, y: i64, seed: u64) -> f32 {
    let mut h =
        (x as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (y as u64).wrapping_mul(0xc2b2_ae3d_27d4_eb4f) ^ seed << 32;
    h = (h ^ h >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    h = (h ^ h >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    (h >> 40) as f32 / (1_u32 << 24) as f32
}

/// Value noise: smooth between lattice points `cell` pixels apart.
fn noise(x: f32, y: f32, cell: f32, seed: u64) -> f32 {
    let (u, v) = (x / cell, y / cell);
    let (i, j) = (u.floor(), v.floor());
    let smooth = |t: f32| t * t * (3.0 - 2.0 * t);
    let (s, t) = (smooth(u - i), smooth(v - j));
    let at = |a: i64, b: i64| lattice(i as i64 + a, j as i64 + b, seed);
    let upper = at(0, 0) * (1.0 - s) + at(1, 0) * s;
    let lower = at(0, 1) * (1.0 - s) + at(1, 1) * s;
    upper * (1.0 - t) + lower * t
}

impl Scene {
    /// A scene for films of this size.
    pub(crate) fn new(width: u32, height: u32) -> Self {
        let (w, h) = (width as usize * 3 / 2 + 8, height as usize * 3 / 2 + 8);
        let mut pixels = Vec::with_capacity(w * h);
        for y in 0..h {
            for x in 0..w {
                let (fx, fy) = (x as f32, y as f32);
                // Half the strength for twice the detail, as in photographs.
                let mut grey = 0.0;
                for octave in 0..6 {
                    grey += (noise(fx, fy, 96.0 / 2_f32.powi(octave), 7 + octave as u64) - 0.5) * 0.5_f32.powi(octave);
                }
                let warm = noise(fx, fy, 120.0, 91) - 0.5;
                let cool = noise(fx, fy, 80.0, 92) - 0.5;
                let mut rgb = [0.45 + 0.5 * grey + 0.3 * warm, 0.45 + 0.5 * grey, 0.45 + 0.5 * grey + 0.3 * cool];
                // A horizon and some discs: edges that are sharp within a pixel.
                let sky = (fy - h as f32 * 0.4).clamp(-0.5, 0.5) + 0.5;
                for (channel, tint) in rgb.iter_mut().zip([0.55, 0.7, 0.85]) {
                    *channel = *channel * (0.4 + 0.6 * sky) + tint * 0.6 * (1.0 - sky);
                }
                for n in 0..9_i64 {
                    let centre = [lattice(n, 1, 3) * w as f32, lattice(n, 2, 3) * h as f32];
                    let radius = 4.0 + lattice(n, 3, 3) * w as f32 * 0.07;
                    let inside = (radius - (fx - centre[0]).hypot(fy - centre[1])).clamp(-0.5, 0.5) + 0.5;
                    for (c, channel) in rgb.iter_mut().enumerate() {
                        *channel += (0.2 + 0.5 * lattice(n, 4 + c as i64, 3) - *channel) * inside * 0.85;
                    }
                }
                pixels.push(rgb);
            }
        }
        Self { width: w, height: h, pixels }
    }

    /// The picture at `t` of the move (0 to 1): a truck with a slow zoom, at fractions of pixels. RGBA rows.
    pub(crate) fn picture(&self, width: u32, height: u32, t: f32) -> Vec<u8> {
        let zoom = 1.0 - 0.15 * t;
        let left = t * (self.width as f32 - width as f32 - 6.0);
        let top = t * 0.5 * (self.height as f32 - height as f32 - 6.0);
        let mut out = Vec::with_capacity(width as usize * height as usize * 4);
        for y in 0..height {
            let sy = top + y as f32 * zoom + 1.0;
            for x in 0..width {
                let sx = left + x as f32 * zoom + 1.0;
                let (i, j) = (sx as usize, sy as usize);
                let (s, r) = (sx - i as f32, sy - j as f32);
                let [a, b] = [j, j + 1].map(|row| {
                    let at = row.min(self.height - 1) * self.width + i.min(self.width - 2);
                    let (p, q) = (self.pixels[at], self.pixels[at + 1]);
                    [0, 1, 2].map(|c| p[c] * (1.0 - s) + q[c] * s)
                });
                for c in 0..3 {
                    out.push(((a[c] * (1.0 - r) + b[c] * r).clamp(0.0, 1.0) * 255.0 + 0.5) as u8);
                }
                out.push(255);
            }
        }
        out
    }

    /// All the pictures of a film.
    pub(crate) fn film(width: u32, height: u32, frames: u32) -> Vec<Vec<u8>> {
        let scene = Self::new(width, height);
        (0..frames).map(|i| scene.picture(width, height, i as f32 / frames.max(24) as f32)).collect()
    }
}
