//! Points and rectangles of the canvas: pixels, x right, y down.

use serde::{Deserialize, Serialize};

/// A point of the canvas or of the output, in pixels, x right and y down. Pixel (0, 0) reaches from (0, 0) to (1, 1).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Point {
    /// To the right.
    pub x: f64,
    /// Downwards.
    pub y: f64,
}

impl Point {
    /// The point (x, y).
    pub const fn new(x: f64, y: f64) -> Self {
        Self { x, y }
    }
}

/// A rectangle of the canvas with real coordinates.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rect {
    /// The left edge.
    pub x: f64,
    /// The top edge.
    pub y: f64,
    /// The width, positive.
    pub width: f64,
    /// The height, positive.
    pub height: f64,
}

impl Rect {
    /// The rectangle with its top left corner at (x, y).
    pub const fn new(x: f64, y: f64, width: f64, height: f64) -> Self {
        Self { x, y, width, height }
    }

    /// Its centre.
    pub fn centre(&self) -> Point {
        Point::new(self.x + self.width / 2.0, self.y + self.height / 2.0)
    }

    /// Its corners: top left, top right, bottom right, bottom left.
    pub fn corners(&self) -> [Point; 4] {
        let (right, bottom) = (self.x + self.width, self.y + self.height);
        [Point::new(self.x, self.y), Point::new(right, self.y), Point::new(right, bottom), Point::new(self.x, bottom)]
    }

    /// The largest rectangle of the proportions `width` : `height` within it, with the same centre. If
    /// that would cut off less than one pixel of a side, or be made good by less than one pixel of the other, nothing is
    /// cut off.
    #[must_use]
    pub fn crop_to_aspect(&self, width: f64, height: f64) -> Self {
        let fitting_width = self.height * width / height;
        let fitting_height = self.width * height / width;
        if (fitting_width - self.width).abs().min((fitting_height - self.height).abs()) < 1.0 {
            *self
        } else if fitting_width < self.width {
            Self::new(self.x + (self.width - fitting_width) / 2.0, self.y, fitting_width, self.height)
        } else {
            Self::new(self.x, self.y + (self.height - fitting_height) / 2.0, self.width, fitting_height)
        }
    }

    /// The smallest rectangle of the proportions `width` : `height` around it, with the same centre. As with
    /// [`crop_to_aspect`](Self::crop_to_aspect), less than one pixel is not added.
    #[must_use]
    pub fn grow_to_aspect(&self, width: f64, height: f64) -> Self {
        let fitting_width = self.height * width / height;
        let fitting_height = self.width * height / width;
        if (fitting_width - self.width).abs().min((fitting_height - self.height).abs()) < 1.0 {
            *self
        } else if fitting_width > self.width {
            Self::new(self.x + (self.width - fitting_width) / 2.0, self.y, fitting_width, self.height)
        } else {
            Self::new(self.x, self.y + (self.height - fitting_height) / 2.0, self.width, fitting_height)
        }
    }
}

/// A rectangle of whole pixels of the canvas, from `x0`, `y0` up to but without `x1`, `y1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PixelRect {
    /// The left edge.
    pub x0: i64,
    /// The top edge.
    pub y0: i64,
    /// The right edge.
    pub x1: i64,
    /// The bottom edge.
    pub y1: i64,
}

impl PixelRect {
    /// The rectangle between these edges.
    pub const fn new(x0: i64, y0: i64, x1: i64, y1: i64) -> Self {
        Self { x0, y0, x1, y1 }
    }

    /// The width, 0 if it is empty.
    pub fn width(&self) -> i64 {
        self.x1.saturating_sub(self.x0).max(0)
    }

    /// The height, 0 if it is empty.
    pub fn height(&self) -> i64 {
        self.y1.saturating_sub(self.y0).max(0)
    }

    /// The number of pixels.
    pub fn area(&self) -> f64 {
        self.width() as f64 * self.height() as f64
    }

    /// Whether it holds no pixel.
    pub fn is_empty(&self) -> bool {
        self.width() == 0 || self.height() == 0
    }

    /// What lies in both; may be empty.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self::new(self.x0.max(other.x0), self.y0.max(other.y0), self.x1.min(other.x1), self.y1.min(other.y1))
    }

    /// The smallest rectangle around both, neither of them empty.
    #[must_use]
    pub fn hull(&self, other: &Self) -> Self {
        Self::new(self.x0.min(other.x0), self.y0.min(other.y0), self.x1.max(other.x1), self.y1.max(other.y1))
    }

    /// Grown by `by` pixels on each side.
    #[must_use]
    pub fn grown(&self, by: i64) -> Self {
        Self::new(
            self.x0.saturating_sub(by),
            self.y0.saturating_sub(by),
            self.x1.saturating_add(by),
            self.y1.saturating_add(by),
        )
    }

    /// Whether all of `other` lies within it.
    pub fn contains(&self, other: &Self) -> bool {
        self.x0 <= other.x0 && self.y0 <= other.y0 && self.x1 >= other.x1 && self.y1 >= other.y1
    }
}
