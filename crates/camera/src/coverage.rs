//! What picture a shot still lacks, and in which steps to paint it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::check;
use crate::{Error, PixelRect, Point, Shot, Shutter};

/// The most cells of the planning grid.
const MAX_CELLS: usize = 1 << 21;
/// The most candidates for an edge of a fill that are tried in each direction.
const MAX_CANDIDATES: usize = 96;
/// How much a window's seams count beside what it paints, in overlaps. Without seams, windows float out to where they paint
/// most and leave gaps; with many, they nestle up to what is known. Which is best depends on the area, so all are tried.
const WEIGHTS: [i64; 5] = [2, 1, 4, 8, 0];
/// The most fills of one plan.
const MAX_FILLS: usize = 1000;
/// Plans with more fills than this are made with one weight only, as each fill takes its time.
const MANY_FILLS: usize = 64;
/// What is seen by less than this many pixels is not seen.
const SLIVER: f64 = 1e-6;

/// How to plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CoverageOptions {
    /// The side in pixels of the cells in which is planned, 1..=4096: the canvas is divided at the multiples of it and at
    /// the edges of what is covered. It is doubled as often as needed to keep the grid within two million cells.
    pub granularity: u32,
    /// How many pixels beyond what is seen are needed as well, 0..=1024, for a filter's footprint or some freedom later.
    pub margin: f64,
    /// The largest width and height of a fill, with its context, in pixels.
    pub max_fill: (u32, u32),
    /// By how many pixels a fill overlaps the known picture that it continues, if possible; at most a quarter of the
    /// largest fill.
    pub overlap: u32,
    /// Nothing is planned outside of it. Without one it is the view with 16 times its size on each side.
    pub limit: Option<PixelRect>,
    /// The moments at which the camera looks.
    pub shutter: Shutter,
}

impl Default for CoverageOptions {
    fn default() -> Self {
        Self {
            granularity: 16,
            margin: 0.0,
            max_fill: (1024, 1024),
            overlap: 128,
            limit: None,
            shutter: Shutter::INSTANT,
        }
    }
}

impl CoverageOptions {
    fn check(&self) -> Result<(), Error> {
        let options = self;
        let sides = (i64::from(options.max_fill.0), i64::from(options.max_fill.1));
        let shorter = sides.0.min(sides.1);
        check(|| "The largest fill".into(), shorter as f64, 16.0, 1e6, "16 to 1,000,000 pixels wide and high")?;
        check(
            || "The largest fill".into(),
            sides.0.max(sides.1) as f64,
            16.0,
            1e6,
            "16 to 1,000,000 pixels wide and high",
        )?;
        let quarter = (shorter / 4) as f64;
        check(
            || "The overlap".into(),
            f64::from(options.overlap),
            0.0,
            quarter,
            "at most a quarter of the largest fill",
        )?;
        check(
            || "The granularity".into(),
            f64::from(options.granularity),
            1.0,
            quarter.min(4096.0),
            "1 to a quarter of the largest fill, at most 4096",
        )?;
        check(|| "The margin".into(), options.margin, 0.0, 1024.0, "0 to 1024 pixels")?;
        Ok(())
    }
}

/// How much is missing on each side of the known picture, as fractions of all that the shot sees of the layer.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Lack {
    /// To the left of the known picture.
    pub left: f64,
    /// To its right.
    pub right: f64,
    /// Above it.
    pub top: f64,
    /// Below it.
    pub bottom: f64,
    /// In holes and notches of it.
    pub inside: f64,
}

impl Lack {
    /// All together.
    pub fn total(&self) -> f64 {
        self.left + self.right + self.top + self.bottom + self.inside
    }
}

/// One step of painting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fill {
    /// What the step looks at: what it paints and the overlap around it. At most as large as the largest fill.
    pub window: PixelRect,
    /// What it paints: rectangles that do not overlap, without any known pixel.
    pub paint: Vec<PixelRect>,
    /// Whether what it paints touches, within the window, picture that is known by then. False just for the first fill of
    /// an island.
    pub has_context: bool,
}

/// What a shot sees of a layer and what of that is missing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Coverage {
    /// The layer's depth.
    pub depth: f64,
    /// The side of the cells that was used.
    pub granularity: u32,
    /// How many pixels are seen at some time, in whole cells.
    pub seen_area: f64,
    /// How many of them are missing.
    pub missing_area: f64,
    /// What is missing: rectangles that do not overlap.
    pub missing: Vec<PixelRect>,
    /// On which sides it is missing.
    pub lack: Lack,
    /// Whether some picture sees more than was planned for: beyond the limit or the plane's horizon, or so obliquely that
    /// it cannot be reckoned.
    pub beyond: bool,
    /// The steps to paint what is missing, in order.
    pub fills: Vec<Fill>,
}

impl fmt::Display for Coverage {
    /// Such as "lacks 18 % on the right, 3 % above: 3 fills".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.missing.is_empty() {
            return f.write_str("lacks nothing");
        }
        f.write_str("lacks ")?;
        let Lack { left, right, top, bottom, inside } = self.lack;
        let mut sides = [
            (left, "on the left"),
            (right, "on the right"),
            (top, "above"),
            (bottom, "below"),
            (inside, "within the picture"),
        ];
        sides.sort_by(|a, b| b.0.total_cmp(&a.0));
        for (index, (part, side)) in sides.iter().filter(|(part, _)| *part > 0.0).enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            if *part < 0.01 {
                write!(f, "{comma}less than 1 % {side}")?;
            } else {
                write!(f, "{comma}{:.0} % {side}", part * 100.0)?;
            }
        }
        write!(f, ": {} {}", self.fills.len(), if self.fills.len() == 1 { "fill" } else { "fills" })
    }
}

/// Finds what a shot sees of the layer at `depth` that `covered` does not cover, and how to paint it.
///
/// A picture in which the camera has passed the layer sees nothing of it. This takes milliseconds for usual shots, but up to
/// seconds for a lack of hundreds of fills, so that it does not belong into a user interface's own thread. What is painted later belongs into `covered`:
/// then only new lack is planned after the move is changed.
pub fn plan(shot: &Shot, depth: f64, covered: &[PixelRect], options: &CoverageOptions) -> Result<Coverage, Error> {
    options.check()?;
    let sides = (i64::from(options.max_fill.0), i64::from(options.max_fill.1));
    let shorter = sides.0.min(sides.1);
    let track = shot.track()?;
    let view = track.view();
    let limit = options.limit.unwrap_or_else(|| {
        let (w, h) = (view.width * 16.0, view.height * 16.0);
        PixelRect::new(
            (view.x - w).floor() as i64,
            (view.y - h).floor() as i64,
            (view.x + view.width + w).ceil() as i64,
            (view.y + view.height + h).ceil() as i64,
        )
    });
    for edge in [limit.x0, limit.y0, limit.x1, limit.y1] {
        check(|| "The limit".into(), edge as f64, -1e13, 1e13, "on the canvas")?;
    }
    let mut empty = Coverage {
        depth,
        granularity: options.granularity,
        seen_area: 0.0,
        missing_area: 0.0,
        missing: Vec::new(),
        lack: Lack::default(),
        beyond: false,
        fills: Vec::new(),
    };

    // Everything that is seen.
    let mut polygons: Vec<Vec<Point>> = Vec::new();
    for frame in 0..shot.frames {
        for camera in track.exposures(frame, &options.shutter) {
            let seen = match camera.homography(depth) {
                Ok(homography) => homography.seen(),
                Err(Error::Passed { .. }) => continue,
                Err(Error::IllConditioned { .. }) => {
                    empty.beyond = true;
                    continue;
                }
                Err(error) => return Err(error),
            };
            empty.beyond |= seen.horizon;
            let (clipped, cut) = clip(seen.polygon, &limit);
            empty.beyond |= cut;
            if clipped.len() >= 3 && polygons.last() != Some(&clipped) {
                polygons.push(clipped);
            }
        }
    }
    let Some(bounds) = bounds(&polygons, options.margin) else { return Ok(empty) };

    let overlap = i64::from(options.overlap);
    let mut grid = Grid::new(&bounds.grown(overlap + 1), covered, i64::from(options.granularity), shorter / 4)?;
    empty.granularity = grid.granularity as u32;
    grid.mark_known(covered);
    grid.mark_seen(&polygons, options.margin);

    let mut result = empty;
    measure(&grid, &bounds, covered, &mut result);
    result.missing = grid.rectangles(0..grid.columns(), 0..grid.rows());
    let mut fewest: Option<Vec<Fill>> = None;
    for weight in WEIGHTS {
        if fewest.as_ref().is_some_and(|fills| fills.len() <= 1 || fills.len() > MANY_FILLS) {
            break;
        }
        let most = fewest.as_ref().map_or(MAX_FILLS, |fills| fills.len().saturating_sub(1));
        if let Some(fills) = grid.fills(sides, overlap, weight, most) {
            fewest = Some(fills);
        }
    }
    let count = MAX_FILLS + 1;
    result.fills = fewest.ok_or(Error::TooMany { what: "fills needed for this shot", count, limit: MAX_FILLS })?;
    Ok(result)
}

/// Sets how much is seen and missing, and where.
fn measure(grid: &Grid, bounds: &PixelRect, covered: &[PixelRect], result: &mut Coverage) {
    let known = grid.known_bounds(covered);
    let mut seen = 0.0;
    let side_of = |cell: &PixelRect| side(cell, known.as_ref());
    for j in 0..grid.rows() {
        for i in 0..grid.columns() {
            let index = j * grid.columns() + i;
            let cell = grid.cell(i, j);
            if grid.seen[index] {
                result.seen_area += cell.area();
                // What whole cells have beyond all that is seen does not count.
                let area = cell.intersection(bounds).area();
                seen += area;
                if grid.state[index] == State::Missing {
                    result.missing_area += cell.area();
                    let lack = &mut result.lack;
                    *match side_of(&cell) {
                        Side::Left => &mut lack.left,
                        Side::Right => &mut lack.right,
                        Side::Top => &mut lack.top,
                        Side::Bottom => &mut lack.bottom,
                        Side::Inside => &mut lack.inside,
                    } += area;
                }
            }
        }
    }
    if seen > 0.0 {
        let Lack { left, right, top, bottom, inside } = &mut result.lack;
        for part in [left, right, top, bottom, inside] {
            *part /= seen;
        }
    }
}

/// On which side of the known picture something lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
    Top,
    Bottom,
    Inside,
}

/// On which side of `known` a cell's centre lies; at a corner, where it is farther out in parts of the known picture's
/// sides.
fn side(cell: &PixelRect, known: Option<&PixelRect>) -> Side {
    let Some(known) = known else { return Side::Inside };
    let (x, y) = (f64::midpoint(cell.x0 as f64, cell.x1 as f64), f64::midpoint(cell.y0 as f64, cell.y1 as f64));
    let (width, height) = (known.width() as f64, known.height() as f64);
    let sides = [
        (Side::Left, (known.x0 as f64 - x) / width),
        (Side::Right, (x - known.x1 as f64) / width),
        (Side::Top, (known.y0 as f64 - y) / height),
        (Side::Bottom, (y - known.y1 as f64) / height),
    ];
    let mut best = (Side::Inside, 0.0);
    for one in sides {
        if one.1 > best.1 {
            best = one;
        }
    }
    best.0
}

/// A convex polygon within a rectangle, and whether something was cut off.
fn clip(mut polygon: Vec<Point>, limit: &PixelRect) -> (Vec<Point>, bool) {
    let mut cut = false;
    // Each edge of the rectangle as a x + b y <= c.
    let edges = [
        (-1.0, 0.0, -(limit.x0 as f64)),
        (1.0, 0.0, limit.x1 as f64),
        (0.0, -1.0, -(limit.y0 as f64)),
        (0.0, 1.0, limit.y1 as f64),
    ];
    for (a, b, c) in edges {
        let inside = |p: &Point| a * p.x + b * p.y - c;
        if polygon.iter().all(|p| inside(p) <= 0.0) {
            continue;
        }
        cut |= polygon.iter().any(|p| inside(p) > SLIVER);
        let mut kept = Vec::with_capacity(polygon.len() + 1);
        for (index, p) in polygon.iter().enumerate() {
            let q = &polygon[(index + 1) % polygon.len()];
            let (from, to) = (inside(p), inside(q));
            if from <= 0.0 {
                kept.push(*p);
            }
            if (from <= 0.0) != (to <= 0.0) {
                let t = from / (from - to);
                kept.push(Point::new(p.x + (q.x - p.x) * t, p.y + (q.y - p.y) * t));
            }
        }
        polygon = kept;
    }
    (polygon, cut)
}

/// The whole pixels around all polygons and their margin.
fn bounds(polygons: &[Vec<Point>], margin: f64) -> Option<PixelRect> {
    let mut points = polygons.iter().flatten();
    let first = points.next()?;
    let (mut x0, mut y0, mut x1, mut y1) = (first.x, first.y, first.x, first.y);
    for point in points {
        x0 = x0.min(point.x);
        y0 = y0.min(point.y);
        x1 = x1.max(point.x);
        y1 = y1.max(point.y);
    }
    Some(PixelRect::new(
        (x0 - margin).floor() as i64,
        (y0 - margin).floor() as i64,
        (x1 + margin).ceil() as i64,
        (y1 + margin).ceil() as i64,
    ))
}

/// What is known of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Neither known nor needed.
    Void,
    /// There is picture.
    Known,
    /// It is seen, and there is no picture.
    Missing,
}

/// Cells between lines at the multiples of the granularity and at the edges of what is covered, so that each cell is
/// covered as a whole or not at all.
#[derive(Clone)]
struct Grid {
    granularity: i64,
    xs: Vec<i64>,
    ys: Vec<i64>,
    state: Vec<State>,
    seen: Vec<bool>,
}

impl Grid {
    fn new(bounds: &PixelRect, covered: &[PixelRect], granularity: i64, coarsest: i64) -> Result<Self, Error> {
        let mut granularity = granularity;
        let lines = |low: i64, high: i64, step: i64, edges: &mut dyn Iterator<Item = i64>| {
            let mut lines: Vec<i64> = vec![low, high];
            lines.extend(edges.filter(|edge| *edge > low && *edge < high));
            let first = low.div_euclid(step) * step + step;
            let count = ((high - first) / step + 1).max(0);
            if (count as usize) < MAX_CELLS {
                lines.extend((0..count).map(|i| first + i * step).filter(|edge| *edge < high));
                lines.sort_unstable();
                lines.dedup();
                Some(lines)
            } else {
                None
            }
        };
        let near: Vec<PixelRect> =
            covered.iter().filter(|rect| !rect.is_empty() && !rect.intersection(bounds).is_empty()).copied().collect();
        // The edges of what lies within another rectangle divide nothing.
        let hidden = |index: usize, rect: &PixelRect| {
            let mut others = near.iter().enumerate().filter(|(other, _)| *other != index);
            others.any(|(other, outer)| outer.contains(rect) && (outer != rect || other < index))
        };
        let near: Vec<PixelRect> = if near.len() > 4096 {
            near
        } else {
            near.iter().enumerate().filter(|(index, rect)| !hidden(*index, rect)).map(|(_, rect)| *rect).collect()
        };
        loop {
            // Outwards to whole cells, so that what is painted reaches as far as whole cells do.
            let (low_x, high_x) = outwards(bounds.x0, bounds.x1, granularity);
            let (low_y, high_y) = outwards(bounds.y0, bounds.y1, granularity);
            let xs = lines(low_x, high_x, granularity, &mut near.iter().flat_map(|rect| [rect.x0, rect.x1]));
            let ys = lines(low_y, high_y, granularity, &mut near.iter().flat_map(|rect| [rect.y0, rect.y1]));
            let cells = match (&xs, &ys) {
                (Some(xs), Some(ys)) => (xs.len() - 1).saturating_mul(ys.len() - 1),
                _ => usize::MAX,
            };
            if let (Some(xs), Some(ys), true) = (xs, ys, cells <= MAX_CELLS) {
                return Ok(Self { granularity, xs, ys, state: vec![State::Void; cells], seen: vec![false; cells] });
            }
            if granularity * 2 > coarsest {
                return Err(Error::TooMany {
                    what: "cells in the area that the shot sees",
                    count: cells,
                    limit: MAX_CELLS,
                });
            }
            granularity *= 2;
        }
    }

    fn columns(&self) -> usize {
        self.xs.len() - 1
    }

    fn rows(&self) -> usize {
        self.ys.len() - 1
    }

    fn cell(&self, i: usize, j: usize) -> PixelRect {
        PixelRect::new(self.xs[i], self.ys[j], self.xs[i + 1], self.ys[j + 1])
    }

    fn state_at(&self, i: usize, j: usize) -> State {
        self.state[j * self.columns() + i]
    }

    /// The bounding box of what is covered within the grid.
    fn known_bounds(&self, covered: &[PixelRect]) -> Option<PixelRect> {
        let whole = PixelRect::new(self.xs[0], self.ys[0], self.xs[self.columns()], self.ys[self.rows()]);
        let mut near = covered.iter().map(|rect| rect.intersection(&whole)).filter(|rect| !rect.is_empty());
        let first = near.next()?;
        Some(near.fold(first, |all, rect| all.hull(&rect)))
    }

    fn mark_known(&mut self, covered: &[PixelRect]) {
        // Each rectangle as four corners, summed up along both directions.
        let stride = self.columns() + 1;
        let mut corners = vec![0_i32; stride * (self.rows() + 1)];
        let (first_x, last_x) = (self.xs[0], self.xs[self.columns()]);
        let (first_y, last_y) = (self.ys[0], self.ys[self.rows()]);
        for rect in covered {
            let rect = rect.intersection(&PixelRect::new(first_x, first_y, last_x, last_y));
            if rect.is_empty() {
                continue;
            }
            let [left, right] = [rect.x0, rect.x1].map(|x| self.xs.partition_point(|line| *line < x));
            let [top, bottom] = [rect.y0, rect.y1].map(|y| self.ys.partition_point(|line| *line < y));
            corners[top * stride + left] += 1;
            corners[top * stride + right] -= 1;
            corners[bottom * stride + left] -= 1;
            corners[bottom * stride + right] += 1;
        }
        let mut above = vec![0_i32; stride];
        for j in 0..self.rows() {
            let mut sum = 0;
            for i in 0..self.columns() {
                above[i] += corners[j * stride + i];
                sum += above[i];
                if sum > 0 {
                    let index = j * self.columns() + i;
                    self.state[index] = State::Known;
                }
            }
        }
    }

    /// Marks the cells that some polygon with its margin reaches into, and those of them that are not known as missing.
    fn mark_seen(&mut self, polygons: &[Vec<Point>], margin: f64) {
        let (columns, rows) = (self.columns(), self.rows());
        let stride = columns + 1;
        let mut edges = vec![0_i32; stride * rows];
        for polygon in polygons {
            let low = polygon.iter().map(|p| p.y).fold(f64::INFINITY, f64::min) - margin;
            let high = polygon.iter().map(|p| p.y).fold(f64::NEG_INFINITY, f64::max) + margin;
            let first = self.ys.partition_point(|line| (*line as f64) <= low).saturating_sub(1);
            for j in first..rows {
                let (top, bottom) = (self.ys[j] as f64, self.ys[j + 1] as f64);
                if top >= high {
                    break;
                }
                if let Some((left, right)) = reach(polygon, top - margin, bottom + margin) {
                    let (left, right) = (left - margin + SLIVER, right + margin - SLIVER);
                    if left >= right {
                        continue;
                    }
                    let from = self.xs.partition_point(|line| (*line as f64) <= left).saturating_sub(1);
                    let to = self.xs.partition_point(|line| (*line as f64) < right).min(columns);
                    edges[j * stride + from] += 1;
                    edges[j * stride + to] -= 1;
                }
            }
        }
        for j in 0..rows {
            let mut sum = 0;
            for i in 0..columns {
                sum += edges[j * stride + i];
                let index = j * columns + i;
                if sum > 0 {
                    self.seen[index] = true;
                    if self.state[index] == State::Void {
                        self.state[index] = State::Missing;
                    }
                }
            }
        }
    }

    /// What is missing in a range of cells, as rectangles that do not overlap: runs along rows, joined where they go on
    /// unchanged in the next row.
    fn rectangles(&self, columns: std::ops::Range<usize>, rows: std::ops::Range<usize>) -> Vec<PixelRect> {
        let mut done = Vec::new();
        let mut open: Vec<PixelRect> = Vec::new();
        for j in rows {
            let mut runs = Vec::new();
            let mut i = columns.start;
            while i < columns.end {
                if self.state_at(i, j) != State::Missing {
                    i += 1;
                    continue;
                }
                let start = i;
                while i < columns.end && self.state_at(i, j) == State::Missing {
                    i += 1;
                }
                runs.push((self.xs[start], self.xs[i]));
            }
            let mut next = Vec::with_capacity(runs.len());
            for (x0, x1) in runs {
                let goes_on = open.iter().position(|rect| rect.x0 == x0 && rect.x1 == x1);
                let y0 = goes_on.map_or(self.ys[j], |index| open.swap_remove(index).y0);
                next.push(PixelRect::new(x0, y0, x1, self.ys[j + 1]));
            }
            done.append(&mut open);
            open = next;
        }
        done.append(&mut open);
        done.sort_unstable_by_key(|rect| (rect.y0, rect.x0));
        done
    }

    /// Fills for all that is missing; `None` if more than `most` are needed.
    fn fills(&self, sides: (i64, i64), overlap: i64, weight: i64, most: usize) -> Option<Vec<Fill>> {
        let mut grid = self.clone();
        let mut fills = Vec::new();
        while let Some(fill) = grid.next_fill(sides, overlap, weight) {
            if fills.len() == most {
                return None;
            }
            fills.push(fill);
        }
        Some(fills)
    }

    /// Chooses the window that paints the most and has the longest seams, among those that continue known picture with enough overlap; else among
    /// those that continue some; else among all. Paints it, and says what was painted.
    fn next_fill(&mut self, sides: (i64, i64), overlap: i64, weight: i64) -> Option<Fill> {
        let sums = Sums::new(self);
        if sums.missing.total() == 0 {
            return None;
        }
        let xs = self.candidates(true, sides.0, overlap);
        let ys = self.candidates(false, sides.1, overlap);
        let mut best: Option<((u8, i64, i64), PixelRect)> = None;
        for &y0 in &ys {
            for &x0 in &xs {
                let window = PixelRect::new(x0, y0, x0 + sides.0, y0 + sides.1);
                let (context, paints, seams) = self.score(&sums, &window, overlap);
                let score = (context, paints + weight * overlap * seams, paints);
                // The first of equals is the one farthest up and left, after which the rest is tiled without gaps.
                if paints > 0 && best.is_none_or(|(so_far, _)| score > so_far) {
                    best = Some((score, window));
                }
            }
        }
        let window = if let Some((_, window)) = best {
            window
        } else {
            let index = self.state.iter().position(|state| *state == State::Missing)?;
            let cell = self.cell(index % self.columns(), index / self.columns());
            PixelRect::new(cell.x0, cell.y0, cell.x0 + sides.0, cell.y0 + sides.1)
        };
        let has_context = self.score(&sums, &window, overlap).0 > 0;
        let (columns, rows) = self.inside(&window);
        let paint = self.rectangles(columns.clone(), rows.clone());
        for j in rows {
            for i in columns.clone() {
                let index = j * self.columns() + i;
                if self.state[index] == State::Missing {
                    self.state[index] = State::Known;
                }
            }
        }
        let hull = paint.iter().copied().reduce(|all, rect| all.hull(&rect))?;
        Some(Fill { window: hull.grown(overlap).intersection(&window), paint, has_context })
    }

    /// The cells that lie wholly within a window.
    fn inside(&self, window: &PixelRect) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
        let range = |lines: &[i64], low: i64, high: i64| {
            let from = lines.partition_point(|line| *line < low);
            let to = lines.partition_point(|line| *line <= high).saturating_sub(1);
            from..to.max(from)
        };
        (range(&self.xs, window.x0, window.x1), range(&self.ys, window.y0, window.y1))
    }

    /// How good a window is: first whether it has context (1) and enough of it (2), then how many pixels it paints, then
    /// how long its border with the known picture is.
    fn score(&self, sums: &Sums, window: &PixelRect, overlap: i64) -> (u8, i64, i64) {
        let (columns, rows) = self.inside(window);
        let paints = sums.missing.within(&columns, &rows);
        if paints == 0 {
            return (0, 0, 0);
        }
        // Borders between two cells of the window: the lines strictly within it.
        let inner_columns = (columns.start + 1).min(columns.end)..columns.end;
        let inner_rows = (rows.start + 1).min(rows.end)..rows.end;
        let border = sums.known_left.within(&inner_columns, &rows)
            + sums.known_right.within(&inner_columns, &rows)
            + sums.known_above.within(&columns, &inner_rows)
            + sums.known_below.within(&columns, &inner_rows);
        if border == 0 {
            return (0, paints, 0);
        }
        // Borders nearer to the window's edge than the overlap, on the side where the known picture is cut off.
        let before = |lines: &[i64], range: &std::ops::Range<usize>, edge: i64| {
            range.start..lines.partition_point(|line| *line < edge).clamp(range.start, range.end)
        };
        let after = |lines: &[i64], range: &std::ops::Range<usize>, edge: i64| {
            lines.partition_point(|line| *line <= edge).clamp(range.start + 1, range.end + 1)..range.end + 1
        };
        let tight = sums.known_left.within(&before(&self.xs, &columns, window.x0 + overlap), &rows)
            + sums.known_right.within(&after(&self.xs, &columns, window.x1 - overlap), &rows)
            + sums.known_above.within(&columns, &before(&self.ys, &rows, window.y0 + overlap))
            + sums.known_below.within(&columns, &after(&self.ys, &rows, window.y1 - overlap));
        (if tight == 0 { 2 } else { 1 }, paints, border)
    }

    /// Where a window may begin: so that one of its edges lies on an edge of what is missing, or beyond it by the overlap.
    fn candidates(&self, horizontal: bool, side: i64, overlap: i64) -> Vec<i64> {
        let (lines, along) = if horizontal { (&self.xs, self.rows()) } else { (&self.ys, self.columns()) };
        let missing = |line: usize, other: usize| {
            let (i, j) = if horizontal { (line, other) } else { (other, line) };
            self.state_at(i, j) == State::Missing
        };
        let last = lines.len() - 1;
        let edges: Vec<i64> = (0..=last)
            .filter(|&line| {
                (0..along).any(|other| (line > 0 && missing(line - 1, other)) != (line < last && missing(line, other)))
            })
            .map(|line| lines[line])
            .collect();
        let mut starts: Vec<i64> =
            edges.iter().flat_map(|edge| [*edge, edge - overlap, edge - side, edge + overlap - side]).collect();
        starts.sort_unstable();
        starts.dedup();
        if starts.len() > MAX_CANDIDATES {
            // Evenly thinned out, with both ends.
            let count = starts.len() - 1;
            starts = (0..MAX_CANDIDATES).map(|i| starts[i * count / (MAX_CANDIDATES - 1)]).collect();
        }
        starts
    }
}

/// From which to which multiple of `step` the cells around `low..high` reach.
fn outwards(low: i64, high: i64, step: i64) -> (i64, i64) {
    (low.div_euclid(step) * step, (high + step - 1).div_euclid(step) * step)
}

/// From where to where, along x, the part of a convex polygon between two heights reaches; `None` if there is hardly any.
fn reach(polygon: &[Point], top: f64, bottom: f64) -> Option<(f64, f64)> {
    let low = polygon.iter().map(|p| p.y).fold(f64::INFINITY, f64::min).max(top);
    let high = polygon.iter().map(|p| p.y).fold(f64::NEG_INFINITY, f64::max).min(bottom);
    if high - low <= SLIVER {
        return None;
    }
    let (mut left, mut right) = (f64::INFINITY, f64::NEG_INFINITY);
    let mut take = |x: f64| {
        left = left.min(x);
        right = right.max(x);
    };
    for (index, a) in polygon.iter().enumerate() {
        let b = &polygon[(index + 1) % polygon.len()];
        if a.y >= low && a.y <= high {
            take(a.x);
        }
        for height in [low, high] {
            if (a.y < height) != (b.y < height) {
                take(a.x + (b.x - a.x) * (height - a.y) / (b.y - a.y));
            }
        }
    }
    (left <= right).then_some((left, right))
}

/// Sums over all rectangles from the origin, from which that over any rectangle follows.
struct Sum {
    stride: usize,
    sums: Vec<i64>,
}

impl Sum {
    fn new(columns: usize, rows: usize, value: impl Fn(usize, usize) -> i64) -> Self {
        let stride = columns + 1;
        let mut sums = vec![0_i64; stride * (rows + 1)];
        for j in 0..rows {
            let mut row = 0;
            for i in 0..columns {
                row += value(i, j);
                sums[(j + 1) * stride + i + 1] = sums[j * stride + i + 1] + row;
            }
        }
        Self { stride, sums }
    }

    fn within(&self, columns: &std::ops::Range<usize>, rows: &std::ops::Range<usize>) -> i64 {
        if columns.start >= columns.end || rows.start >= rows.end {
            return 0;
        }
        let at = |i: usize, j: usize| self.sums[j * self.stride + i];
        at(columns.end, rows.end) - at(columns.start, rows.end) - at(columns.end, rows.start)
            + at(columns.start, rows.start)
    }

    fn total(&self) -> i64 {
        self.sums.last().copied().unwrap_or(0)
    }
}

/// The sums that the choice of a window needs: pixels missing, and the lengths of the borders between known and missing
/// cells, each at the line (column or row) that the border lies on.
struct Sums {
    missing: Sum,
    known_left: Sum,
    known_right: Sum,
    known_above: Sum,
    known_below: Sum,
}

impl Sums {
    fn new(grid: &Grid) -> Self {
        let (columns, rows) = (grid.columns(), grid.rows());
        let width = |i: usize| grid.xs[i + 1] - grid.xs[i];
        let height = |j: usize| grid.ys[j + 1] - grid.ys[j];
        let upright = |i: usize, j: usize, first: State, second: State| {
            let met = i > 0 && i < columns && grid.state_at(i - 1, j) == first && grid.state_at(i, j) == second;
            if met { height(j) } else { 0 }
        };
        let level = |i: usize, j: usize, first: State, second: State| {
            let met = j > 0 && j < rows && grid.state_at(i, j - 1) == first && grid.state_at(i, j) == second;
            if met { width(i) } else { 0 }
        };
        Self {
            missing: Sum::new(columns, rows, |i, j| {
                if grid.state_at(i, j) == State::Missing { width(i) * height(j) } else { 0 }
            }),
            known_left: Sum::new(columns + 1, rows, |i, j| upright(i, j, State::Known, State::Missing)),
            known_right: Sum::new(columns + 1, rows, |i, j| upright(i, j, State::Missing, State::Known)),
            known_above: Sum::new(columns, rows + 1, |i, j| level(i, j, State::Known, State::Missing)),
            known_below: Sum::new(columns, rows + 1, |i, j| level(i, j, State::Missing, State::Known)),
        }
    }
}
