//! How a picture is cut into tiles with surroundings.

use image::RgbImage;

/// A rectangle in pixels of the small picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) x: u32,
    pub(super) y: u32,
    pub(super) width: u32,
    pub(super) height: u32,
}

/// What is kept of a run of the network, and what the network sees for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tile {
    pub(super) inner: Area,
    /// Holds `inner`; may reach beyond the picture by less than the network's multiple.
    pub(super) outer: Area,
}

/// Cuts a picture into tiles of at most `core` a side that see `margin` more on each side, where the picture has that. The
/// inner parts cover each pixel once.
pub(super) fn tiles(width: u32, height: u32, core: u32, margin: u32, multiple: u32) -> Vec<Tile> {
    let [core, margin] = [core, margin].map(|length| length.next_multiple_of(multiple));
    let spans = |length: u32| {
        let whole = length.next_multiple_of(multiple);
        (0..length).step_by(core as usize).map(move |from| {
            let to = (from + core).min(length);
            let (first, last) = (from.saturating_sub(margin), (to + margin).next_multiple_of(multiple).min(whole));
            (from, to - from, first, last - first)
        })
    };
    let row = |(y, high, top, outer_high)| {
        spans(width).map(move |(x, wide, left, outer_wide)| Tile {
            inner: Area { x, y, width: wide, height: high },
            outer: Area { x: left, y: top, width: outer_wide, height: outer_high },
        })
    };
    spans(height).flat_map(row).collect()
}

impl Tile {
    /// The RGB bytes of the outer part; beyond the picture its last row and column go on.
    pub(super) fn pixels(&self, image: &RgbImage) -> Vec<u8> {
        let Area { x, y, width, height } = self.outer;
        let mut bytes = Vec::with_capacity(width as usize * height as usize * 3);
        for v in y..y + height {
            for u in x..x + width {
                bytes.extend(image.get_pixel(u.min(image.width() - 1), v.min(image.height() - 1)).0);
            }
        }
        bytes
    }
}
