//! Regions of the canvas that a person marks: rectangles, brush strokes, lassos, pictures of masks.

use image::{GrayImage, Luma, imageops};
use outframe_document::Rect;
use serde::{Deserialize, Serialize};
use tiny_skia::{FillRule, LineCap, LineJoin, Mask, Path, PathBuilder, Stroke, Transform};

use crate::StudioError;

/// Longest side of a region, in pixels.
pub const MAX_REGION_SIDE: u32 = 8192;
/// Most points of all shapes of a region.
const MAX_POINTS: usize = 200_000;
/// Farthest coordinate of a region.
const MAX_COORDINATE: f64 = 1e9;

/// A part of the canvas: shapes one after the other, each added to those before it or taken away from them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// The shapes, in the order in which they were drawn.
    pub parts: Vec<RegionPart>,
}

/// One shape of a region.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionPart {
    /// The shape.
    pub shape: Shape,
    /// Whether it is taken away rather than added.
    #[serde(default)]
    pub subtract: bool,
}

/// A shape; coordinates are canvas pixels, pixel (0, 0) reaching from (0, 0) to (1, 1).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// A rectangle.
    Rect {
        /// Left edge.
        x: f64,
        /// Top edge.
        y: f64,
        /// Width, above 0.
        width: f64,
        /// Height, above 0.
        height: f64,
    },
    /// A brush drawn along points; one point makes a dot.
    Stroke {
        /// The way of the brush's centre.
        points: Vec<[f64; 2]>,
        /// Half the brush's width, above 0.
        radius: f64,
    },
    /// A closed line; what it goes around is marked, also where it crosses itself.
    Lasso {
        /// The corners.
        points: Vec<[f64; 2]>,
    },
    /// A picture of a mask at a place: white marks.
    #[serde(skip)]
    Picture {
        /// Its left edge.
        x: i64,
        /// Its top edge.
        y: i64,
        /// The mask, one canvas pixel a pixel.
        mask: GrayImage,
    },
}

impl From<Rect> for Region {
    fn from(rect: Rect) -> Self {
        Self::of(Shape::Rect {
            x: rect.x as f64,
            y: rect.y as f64,
            width: f64::from(rect.width),
            height: f64::from(rect.height),
        })
    }
}

impl Region {
    /// A region of one shape.
    pub fn of(shape: Shape) -> Self {
        Self { parts: vec![RegionPart { shape, subtract: false }] }
    }

    /// The whole pixels around all added shapes; `None` without any, or when a number is out of range.
    pub fn bounds(&self) -> Option<Rect> {
        let added = self.parts.iter().filter(|part| !part.subtract);
        added.filter_map(|part| part.shape.bounds()).reduce(|all, next| all.union(&next))
    }

    /// The region as pixels: the rectangle that holds all of it, and how much of each pixel is marked, 255 for all of it.
    /// `None` when nothing is marked.
    pub fn rasterise(&self) -> Result<Option<(Rect, GrayImage)>, StudioError> {
        let invalid = |what: String| StudioError::InvalidRequest(what);
        let count: usize = self.parts.iter().map(|part| part.shape.points()).sum();
        if count > MAX_POINTS {
            return Err(invalid(format!("The region has {count} points; {MAX_POINTS} are the most.")));
        }
        if self.parts.iter().any(|part| !part.shape.is_sound()) {
            return Err(invalid("A shape of the region has a number that is out of range. Draw it again.".into()));
        }
        let Some(bounds) = self.bounds() else { return Ok(None) };
        if bounds.width > MAX_REGION_SIDE || bounds.height > MAX_REGION_SIDE {
            return Err(invalid(format!(
                "The region has {}x{} pixels; {MAX_REGION_SIDE} a side is the most. Mark a smaller one.",
                bounds.width, bounds.height
            )));
        }
        let mut marked = GrayImage::new(bounds.width, bounds.height);
        for part in &self.parts {
            let Some(shape) = part.shape.cover(bounds) else { continue };
            for (below, above) in marked.pixels_mut().zip(shape.pixels()) {
                let (old, new) = (u16::from(below.0[0]), u16::from(above.0[0]));
                // As alpha adds up and is taken away: exact for 0 and 255.
                let rest = (old * (255 - new) + 127) / 255;
                below.0[0] = (if part.subtract { rest } else { new + rest }).min(255) as u8;
            }
        }
        Ok(trimmed(bounds, &marked))
    }
}

/// Cut to the pixels that are not 0; `None` when there are none.
pub(crate) fn trimmed(rect: Rect, mask: &GrayImage) -> Option<(Rect, GrayImage)> {
    let set = || mask.enumerate_pixels().filter(|(_, _, pixel)| pixel.0[0] > 0);
    let left = set().map(|(x, _, _)| x).min()?;
    let right = set().map(|(x, _, _)| x).max()?;
    let top = set().map(|(_, y, _)| y).min()?;
    let bottom = set().map(|(_, y, _)| y).max()?;
    let (width, height) = (right - left + 1, bottom - top + 1);
    let cut = imageops::crop_imm(mask, left, top, width, height).to_image();
    Some((Rect::new(rect.x + i64::from(left), rect.y + i64::from(top), width, height), cut))
}

impl Shape {
    fn points(&self) -> usize {
        match self {
            Self::Stroke { points, .. } | Self::Lasso { points } => points.len(),
            Self::Rect { .. } | Self::Picture { .. } => 0,
        }
    }

    fn is_sound(&self) -> bool {
        let place = |value: f64| value.abs() <= MAX_COORDINATE;
        let size = |value: f64| value > 0.0 && value <= MAX_COORDINATE;
        match self {
            Self::Rect { x, y, width, height } => place(*x) && place(*y) && size(*width) && size(*height),
            Self::Stroke { points, radius } => {
                size(*radius) && !points.is_empty() && points.iter().flatten().all(|value| place(*value))
            }
            Self::Lasso { points } => points.iter().flatten().all(|value| place(*value)),
            Self::Picture { x, y, .. } => place(*x as f64) && place(*y as f64),
        }
    }

    fn bounds(&self) -> Option<Rect> {
        if !self.is_sound() {
            return None;
        }
        match self {
            Self::Rect { x, y, width, height } => around([[*x, *y], [x + width, y + height]].iter(), 0.0),
            Self::Stroke { points, radius } => around(points.iter(), *radius),
            Self::Lasso { points } => around(points.iter(), 0.0),
            Self::Picture { x, y, mask } => Some(Rect::new(*x, *y, mask.width(), mask.height())),
        }
        .filter(|rect| !rect.is_empty())
    }

    /// How much of each pixel of `rect` the shape covers.
    fn cover(&self, rect: Rect) -> Option<GrayImage> {
        if let Self::Picture { x, y, mask } = self {
            let mut all = GrayImage::new(rect.width, rect.height);
            imageops::replace(&mut all, mask, x - rect.x, y - rect.y);
            return Some(all);
        }
        let path = self.path(rect)?;
        let mut mask = Mask::new(rect.width, rect.height)?;
        mask.fill_path(&path, FillRule::Winding, true, Transform::identity());
        let (width, height) = (mask.width(), mask.height());
        let data = mask.data();
        Some(GrayImage::from_fn(width, height, |x, y| Luma([data[(y * width + x) as usize]])))
    }

    /// Its outline, relative to the corner of `rect` so that f32 is fine enough.
    fn path(&self, rect: Rect) -> Option<Path> {
        let local = |[x, y]: [f64; 2]| ((x - rect.x as f64) as f32, (y - rect.y as f64) as f32);
        match self {
            Self::Rect { x, y, width, height } => {
                let ((left, top), (right, bottom)) = (local([*x, *y]), local([x + width, y + height]));
                tiny_skia::Rect::from_ltrb(left, top, right, bottom).map(PathBuilder::from_rect)
            }
            Self::Stroke { points, radius } => {
                let first = *points.first()?;
                let (x, y) = local(first);
                let is_dot = points
                    .iter()
                    .all(|point| point[0].total_cmp(&first[0]).is_eq() && point[1].total_cmp(&first[1]).is_eq());
                if is_dot {
                    return PathBuilder::from_circle(x, y, *radius as f32);
                }
                let stroke = Stroke {
                    width: 2.0 * *radius as f32,
                    line_cap: LineCap::Round,
                    line_join: LineJoin::Round,
                    ..Stroke::default()
                };
                line(points.iter().map(|point| local(*point)), false)?.stroke(&stroke, 1.0)
            }
            Self::Lasso { points } => line(points.iter().map(|point| local(*point)), true),
            Self::Picture { .. } => None,
        }
    }
}

fn line(points: impl Iterator<Item = (f32, f32)>, close: bool) -> Option<Path> {
    let mut path = PathBuilder::new();
    for (index, (x, y)) in points.enumerate() {
        if index == 0 {
            path.move_to(x, y);
        } else {
            path.line_to(x, y);
        }
    }
    if close {
        path.close();
    }
    path.finish()
}

fn around<'a>(points: impl Iterator<Item = &'a [f64; 2]>, margin: f64) -> Option<Rect> {
    let mut bounds: Option<[f64; 4]> = None;
    for [x, y] in points {
        let [left, top, right, bottom] = bounds.unwrap_or([*x, *y, *x, *y]);
        bounds = Some([left.min(*x), top.min(*y), right.max(*x), bottom.max(*y)]);
    }
    let [left, top, right, bottom] = bounds?;
    let (left, top) = ((left - margin).floor(), (top - margin).floor());
    let (right, bottom) = ((right + margin).ceil(), (bottom + margin).ceil());
    Some(Rect::new(left as i64, top as i64, (right - left) as u32, (bottom - top) as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area(mask: &GrayImage) -> f64 {
        mask.pixels().map(|pixel| f64::from(pixel.0[0])).sum::<f64>() / 255.0
    }

    #[test]
    fn rectangles_are_exact_and_edges_between_pixels_are_soft() {
        let (rect, mask) = Region::from(Rect::new(-7, 3, 20, 10)).rasterise().unwrap().unwrap();
        assert_eq!(rect, Rect::new(-7, 3, 20, 10));
        assert!(mask.pixels().all(|pixel| pixel.0[0] == 255));
        let half = Region::of(Shape::Rect { x: 0.5, y: 0.0, width: 9.0, height: 4.0 });
        let (rect, mask) = half.rasterise().unwrap().unwrap();
        assert_eq!(rect, Rect::new(0, 0, 10, 4));
        assert!(mask.get_pixel(0, 1).0[0].abs_diff(128) < 4 && mask.get_pixel(5, 1).0[0] == 255);
    }

    #[test]
    fn brushes_and_lassos_have_their_area() {
        let dot = Region::of(Shape::Stroke { points: vec![[1000.0, -500.0]], radius: 20.0 });
        let (rect, mask) = dot.rasterise().unwrap().unwrap();
        assert!((area(&mask) - 400.0 * std::f64::consts::PI).abs() < 8.0, "{}", area(&mask));
        assert!(Rect::new(980, -520, 40, 40).contains(&rect));
        let line = Region::of(Shape::Stroke { points: vec![[0.0, 0.0], [100.0, 0.0]], radius: 10.0 });
        let expected = 2000.0 + 100.0 * std::f64::consts::PI;
        let found = area(&line.rasterise().unwrap().unwrap().1);
        assert!((found - expected).abs() < 10.0, "{found}");
        let triangle = Region::of(Shape::Lasso { points: vec![[0.0, 0.0], [60.0, 0.0], [0.0, 40.0]] });
        let found = area(&triangle.rasterise().unwrap().unwrap().1);
        assert!((found - 1200.0).abs() < 12.0, "{found}");
    }

    #[test]
    fn what_is_taken_away_is_gone() {
        let mut region = Region::from(Rect::new(0, 0, 30, 10));
        region
            .parts
            .push(RegionPart { shape: Region::from(Rect::new(20, 0, 10, 10)).parts[0].shape.clone(), subtract: true });
        assert_eq!(region.bounds(), Some(Rect::new(0, 0, 30, 10)));
        let (rect, mask) = region.rasterise().unwrap().unwrap();
        assert_eq!(rect, Rect::new(0, 0, 20, 10));
        assert!(mask.pixels().all(|pixel| pixel.0[0] == 255));
        region
            .parts
            .push(RegionPart { shape: Region::from(Rect::new(-9, -9, 99, 99)).parts[0].shape.clone(), subtract: true });
        assert!(region.rasterise().unwrap().is_none());
        assert!(Region::default().rasterise().unwrap().is_none());
    }

    #[test]
    fn unreasonable_shapes_are_refused() {
        for shape in [
            Shape::Rect { x: 0.0, y: 0.0, width: 9000.0, height: 4.0 },
            Shape::Rect { x: f64::NAN, y: 0.0, width: 9.0, height: 4.0 },
            Shape::Rect { x: 0.0, y: 0.0, width: -9.0, height: 4.0 },
            Shape::Stroke { points: vec![[0.0, 0.0]], radius: f64::INFINITY },
            Shape::Stroke { points: vec![], radius: 3.0 },
            Shape::Lasso { points: vec![[0.0, 1e300], [4.0, 4.0], [0.0, 9.0]] },
            Shape::Lasso { points: vec![[0.0, 0.5]; 200_001] },
        ] {
            assert!(matches!(Region::of(shape).rasterise(), Err(StudioError::InvalidRequest(_))));
        }
    }
}
