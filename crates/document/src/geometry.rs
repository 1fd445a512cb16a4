//! Rectangles on the canvas.

use serde::{Deserialize, Serialize};

/// A rectangle of canvas pixels: x to the right, y down, the right and bottom edges not included.
///
/// Inside a document, positions lie within ±[`MAX_COORDINATE`](crate::MAX_COORDINATE) and sides within
/// 1..=[`MAX_SIDE`](crate::MAX_SIDE). The methods here do not rely on that: they saturate instead of overflowing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rect {
    /// The left edge, in pixels.
    pub x: i64,
    /// The top edge, in pixels.
    pub y: i64,
    /// The width, in pixels.
    pub width: u32,
    /// The height, in pixels.
    pub height: u32,
}

impl Rect {
    /// A rectangle from its top left corner and its size, in pixels.
    pub const fn new(x: i64, y: i64, width: u32, height: u32) -> Self {
        Self { x, y, width, height }
    }

    /// The first column to the right of the rectangle.
    pub const fn right(&self) -> i64 {
        self.x.saturating_add(self.width as i64)
    }

    /// The first row below the rectangle.
    pub const fn bottom(&self) -> i64 {
        self.y.saturating_add(self.height as i64)
    }

    /// Whether the rectangle holds no pixel.
    pub const fn is_empty(&self) -> bool {
        self.width == 0 || self.height == 0
    }

    /// Whether the pixel at (x, y) lies inside.
    pub const fn contains_point(&self, x: i64, y: i64) -> bool {
        x >= self.x && y >= self.y && x < self.right() && y < self.bottom()
    }

    /// Whether every pixel of `other` lies inside.
    pub const fn contains(&self, other: &Self) -> bool {
        other.is_empty()
            || (other.x >= self.x
                && other.y >= self.y
                && other.right() <= self.right()
                && other.bottom() <= self.bottom())
    }

    /// The pixels that both rectangles hold; `None` when there are none.
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        Self::between(
            self.x.max(other.x),
            self.y.max(other.y),
            self.right().min(other.right()),
            self.bottom().min(other.bottom()),
        )
    }

    /// The smallest rectangle that holds both. An empty rectangle adds nothing; a side that would exceed `u32` is cut.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        if self.is_empty() {
            return *other;
        }
        if other.is_empty() {
            return *self;
        }
        Self::between(
            self.x.min(other.x),
            self.y.min(other.y),
            self.right().max(other.right()),
            self.bottom().max(other.bottom()),
        )
        .unwrap_or(*self)
    }

    /// The rectangle between two corners; `None` when it would be empty.
    fn between(left: i64, top: i64, right: i64, bottom: i64) -> Option<Self> {
        let side = |from: i64, to: i64| u32::try_from(to.saturating_sub(from).min(i64::from(u32::MAX))).ok();
        let (width, height) = (side(left, right)?, side(top, bottom)?);
        (width > 0 && height > 0).then_some(Self::new(left, top, width, height))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlaps_and_unions() {
        let a = Rect::new(-10, 0, 20, 20);
        let b = Rect::new(5, 15, 100, 10);
        assert_eq!(a.intersection(&b), Some(Rect::new(5, 15, 5, 5)));
        assert_eq!(a.intersection(&Rect::new(10, 0, 4, 4)), None, "edges that touch do not overlap");
        assert_eq!(a.union(&b), Rect::new(-10, 0, 115, 25));
        assert_eq!(a.union(&Rect::new(900, 900, 0, 5)), a);
        assert!(a.union(&b).contains(&a) && a.union(&b).contains(&b));
        assert!(a.contains_point(-10, 0) && !a.contains_point(10, 0));
    }

    #[test]
    fn extreme_positions_do_not_overflow() {
        let far = Rect::new(i64::MAX, i64::MIN, u32::MAX, u32::MAX);
        let near = Rect::new(i64::MIN, i64::MAX, 1, 1);
        assert_eq!(far.right(), i64::MAX);
        let _ = far.union(&near);
        assert_eq!(far.intersection(&near), None);
    }
}
