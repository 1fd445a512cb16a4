//! What picture a shot still lacks, over all layers.
//!
//! A film picture lacks what no opaque pixel covers. Layers on one depth form a plane; only plain layers count (visible,
//! opaque, normal, without a mask, groups included). The **ground** is the farthest plane whose opaque pixels cover more than half of what the camera
//! sees at rest, or else the plane that covers most of it: what shows behind everything else, and what is painted on. Where the ground has no
//! opaque pixel and the camera sees it there, it lacks picture, unless an opaque part of another plane hides the place in every film picture.
//! The canvas's background colour is not picture.

use outframe_camera::{self as camera, CoverageOptions, Homography, PixelRect, Point, Shutter};
use outframe_document::{Document, Layer, LayerId, Patch, Project, Rect, Shot};

use super::{shutter, to_camera};
use crate::{
    Pictures, StudioError,
    surface::{is_plain, union_area},
};

/// Side of the cells into which irregular outlines are divided, in pixels; the planner divides the canvas at the same lines.
const CELL: i64 = 16;
/// More rectangles than this are not kept exactly for one patch.
const MAX_EXACT: usize = 64;
/// How many pixels beyond what is seen are painted as well, for the reach of filters.
const MARGIN: f64 = 2.0;

/// What a shot lacks.
#[derive(Debug, Clone, PartialEq)]
pub struct ShotCoverage {
    /// The topmost layer of the ground, on which what is missing is painted.
    pub layer: LayerId,
    /// Its depth.
    pub depth: f64,
    /// What the shot sees of the ground, what of that is missing, and in which fills it is painted.
    pub coverage: camera::Coverage,
}

/// Finds what a shot lacks. `native_size` is that of the model that would paint it (256 for the starter), on which the number
/// of fills depends. Takes milliseconds for usual shots and up to seconds for a lack of hundreds of fills.
pub fn coverage(project: &Project, shot: &Shot, native_size: u32) -> Result<ShotCoverage, StudioError> {
    let film = Film::new(project, shot)?;
    let mut coverage = film.plan(0.0, native_size, &[])?;
    coverage.fills = film.fills(&coverage, native_size)?;
    let ground = film.ground();
    Ok(ShotCoverage { layer: ground.layer, depth: ground.depth, coverage })
}

/// The fills that paint what a shot lacks, the plane that takes them, and how many canvas pixels a model's pixel has; `None` when
/// nothing is missing.
pub(crate) fn plan_fills(
    project: &Project,
    shot: &Shot,
    native_size: u32,
) -> Result<Option<(Vec<camera::Fill>, Plane, f64)>, StudioError> {
    let mut film = Film::new(project, shot)?;
    let missing = film.plan(0.0, native_size, &[])?;
    if missing.missing.is_empty() {
        return Ok(None);
    }
    let fills = film.fills(&missing, native_size)?;
    let scale = film.scale(native_size);
    let ground = film.ground;
    Ok(Some((fills, film.planes.swap_remove(ground), scale)))
}

/// What the camera sees at rest, in whole pixels.
pub(crate) fn view_of(shot: &camera::Shot) -> Rect {
    let view = shot.view();
    let (left, top) = (view.x.floor(), view.y.floor());
    let (right, bottom) = ((view.x + view.width).ceil(), (view.y + view.height).ceil());
    Rect::new(left as i64, top as i64, (right - left) as u32, (bottom - top) as u32)
}

/// The plain layers at one depth.
#[derive(Debug, Clone)]
pub(crate) struct Plane {
    pub(crate) depth: f64,
    /// The topmost of them.
    pub(crate) layer: LayerId,
    /// Where they are opaque.
    pub(crate) opaque: Vec<Rect>,
}

/// A shot before the planes of a document.
struct Film {
    shot: camera::Shot,
    shutter: Shutter,
    planes: Vec<Plane>,
    /// Which of them is the ground.
    ground: usize,
}

impl Film {
    fn new(project: &Project, shot: &Shot) -> Result<Self, StudioError> {
        let document = project.document();
        let shutter = shutter(shot)?;
        let shot = to_camera(document, shot)?;
        let planes = planes(project, document)?;
        let view = view_of(&shot);
        let covered = |plane: &Plane| {
            union_area(&plane.opaque.iter().filter_map(|rect| rect.intersection(&view)).collect::<Vec<_>>())
        };
        let half = u64::from(view.width) * u64::from(view.height) / 2;
        let areas: Vec<u64> = planes.iter().map(covered).collect();
        let carrying = (0..planes.len()).filter(|index| areas[*index] > half);
        let farthest = carrying.max_by(|a, b| planes[*a].depth.total_cmp(&planes[*b].depth));
        let largest = || (0..planes.len()).filter(|index| areas[*index] > 0).max_by_key(|index| areas[*index]);
        let ground = farthest.or_else(largest).ok_or_else(|| {
            StudioError::InvalidRequest(
                "The shot’s frame shows no opaque picture. Generate or import one, or show its layer.".into(),
            )
        })?;
        Ok(Self { shot, shutter, planes, ground })
    }

    fn ground(&self) -> &Plane {
        &self.planes[self.ground]
    }

    /// Canvas pixels per model pixel: as for an extension, the view's shorter side fits into one and a half native lengths.
    fn scale(&self, native_size: u32) -> f64 {
        let view = self.shot.view();
        let scale = view.width.min(view.height) / (1.5 * f64::from(native_size));
        if scale > 1.25 { scale } else { 1.0 }
    }

    /// The fills for what is missing, and for what filters reach just beside it: there is nothing to paint along the other
    /// edges of the picture.
    fn fills(&self, missing: &camera::Coverage, native_size: u32) -> Result<Vec<camera::Fill>, StudioError> {
        if missing.missing.is_empty() {
            return Ok(Vec::new());
        }
        let wider = self.plan(MARGIN, native_size, &[])?;
        let step = i64::from(wider.granularity);
        let cells = wider.missing.iter().flat_map(|rect| divided(rect, step));
        let beside = |cell: &PixelRect| missing.missing.iter().any(|rect| !rect.grown(1).intersection(cell).is_empty());
        let elsewhere: Vec<PixelRect> = cells.filter(|cell| !beside(cell)).collect();
        if elsewhere.is_empty() {
            return Ok(wider.fills);
        }
        Ok(self.plan(MARGIN, native_size, &elsewhere)?.fills)
    }

    /// What is missing with a margin, apart from what need not be painted.
    fn plan(&self, margin: f64, native_size: u32, spared: &[PixelRect]) -> Result<camera::Coverage, StudioError> {
        // A quarter less than the model sees, so that there is always more known picture than the overlap.
        let side = (f64::from(native_size) * self.scale(native_size) * 0.75).clamp(64.0, 1e6) as u32;
        let options = CoverageOptions {
            granularity: CELL as u32,
            margin,
            max_fill: (side, side),
            overlap: side / 4,
            limit: None,
            shutter: self.shutter,
        };
        let ground = self.ground();
        let mut covered: Vec<PixelRect> = ground.opaque.iter().map(pixel_rect).chain(spared.iter().copied()).collect();
        let plan = camera::plan(&self.shot, ground.depth, &covered, &options)?;
        if plan.missing.is_empty() || self.planes.len() == 1 {
            return Ok(plan);
        }
        let hidden = self.hidden(&plan, margin)?;
        if hidden.is_empty() {
            return Ok(plan);
        }
        covered.extend(hidden);
        Ok(camera::plan(&self.shot, ground.depth, &covered, &options)?)
    }

    /// The missing cells that other planes hide whenever they are in sight. A cell counts as hidden in a picture when one opaque rectangle
    /// hides all of it, so that rather too few are found than too many.
    fn hidden(&self, plan: &camera::Coverage, margin: f64) -> Result<Vec<PixelRect>, StudioError> {
        let step = i64::from(plan.granularity);
        let mut cells: Vec<PixelRect> = plan.missing.iter().flat_map(|rect| divided(rect, step)).collect();
        let track = self.shot.track()?;
        for frame in 0..self.shot.frames {
            for camera in track.exposures(frame, &self.shutter) {
                let Ok(ground) = camera.homography(self.ground().depth) else { continue };
                let others: Vec<(Homography, &[Rect])> = self
                    .planes
                    .iter()
                    .enumerate()
                    .filter(|(index, _)| *index != self.ground)
                    .filter_map(|(_, plane)| Some((camera.homography(plane.depth).ok()?, plane.opaque.as_slice())))
                    .collect();
                cells.retain(|cell| self.is_hidden(cell, margin, &ground, &others));
            }
            if cells.is_empty() {
                break;
            }
        }
        Ok(cells)
    }

    fn is_hidden(&self, cell: &PixelRect, margin: f64, ground: &Homography, others: &[(Homography, &[Rect])]) -> bool {
        let (left, top) = (cell.x0 as f64 - margin, cell.y0 as f64 - margin);
        let (width, height) = (cell.width() as f64 + 2.0 * margin, cell.height() as f64 + 2.0 * margin);
        let Some(corners) = ground.corners(&camera::Rect::new(left, top, width, height)) else {
            return false;
        };
        let beside = |of: fn(&Point) -> f64, end: u32| {
            corners.iter().all(|corner| of(corner) <= 0.0) || corners.iter().all(|corner| of(corner) >= f64::from(end))
        };
        if beside(|corner| corner.x, self.shot.width) || beside(|corner| corner.y, self.shot.height) {
            return true;
        }
        others.iter().any(|(homography, opaque)| {
            let points: Option<Vec<Point>> = corners.iter().map(|corner| homography.unproject(*corner)).collect();
            points.is_some_and(|points| {
                opaque.iter().any(|rect| {
                    points.iter().all(|point| {
                        point.x >= rect.x as f64
                            && point.x <= rect.right() as f64
                            && point.y >= rect.y as f64
                            && point.y <= rect.bottom() as f64
                    })
                })
            })
        })
    }
}

fn pixel_rect(rect: &Rect) -> PixelRect {
    PixelRect::new(rect.x, rect.y, rect.right(), rect.bottom())
}

/// A rectangle cut at the multiples of `step`.
fn divided(rect: &PixelRect, step: i64) -> impl Iterator<Item = PixelRect> + use<> {
    let cuts = move |from: i64, to: i64| {
        let first = from.div_euclid(step) * step;
        (0..)
            .map(move |i| (from.max(first + i * step), to.min(first + (i + 1) * step)))
            .take_while(move |(low, _)| *low < to)
    };
    let rect = *rect;
    cuts(rect.y0, rect.y1)
        .flat_map(move |(y0, y1)| cuts(rect.x0, rect.x1).map(move |(x0, x1)| PixelRect::new(x0, y0, x1, y1)))
}

fn planes(project: &Project, document: &Document) -> Result<Vec<Plane>, StudioError> {
    let mut pictures = Pictures::new(project);
    let mut groups: Vec<(f64, Vec<&Layer>)> = Vec::new();
    for layer in document.layers.iter().filter(|layer| is_plain(document, layer) && !layer.patches.is_empty()) {
        match groups.iter_mut().find(|(depth, _)| depth.total_cmp(&layer.depth).is_eq()) {
            Some((_, layers)) => layers.push(layer),
            None => groups.push((layer.depth, vec![layer])),
        }
    }
    let mut planes = Vec::new();
    for (depth, layers) in groups {
        let patches: Vec<&Patch> = layers.iter().flat_map(|layer| &layer.patches).collect();
        let opaque = opaque_rects(document, &mut pictures, &patches)?;
        let Some(top) = layers.last() else { continue };
        planes.push(Plane { depth, layer: top.id, opaque });
    }
    Ok(planes)
}

/// A rectangle's pixels that are opaque, row by row.
struct Bitmap {
    rect: Rect,
    set: Vec<bool>,
}

impl Bitmap {
    fn add(&mut self, rect: &Rect, set: impl Fn(i64, i64) -> bool) {
        let Some(shared) = self.rect.intersection(rect) else { return };
        for y in shared.y..shared.bottom() {
            for x in shared.x..shared.right() {
                if set(x, y) {
                    let index = self.index(x, y);
                    self.set[index] = true;
                }
            }
        }
    }

    fn index(&self, x: i64, y: i64) -> usize {
        ((y - self.rect.y) * i64::from(self.rect.width) + x - self.rect.x) as usize
    }

    fn get(&self, x: i64, y: i64) -> bool {
        self.set[self.index(x, y)]
    }

    /// The set pixels as rectangles: runs along rows, joined where they go on unchanged. `None` when there are too many.
    fn exact(&self) -> Option<Vec<Rect>> {
        joined(self.rect.y..self.rect.bottom(), MAX_EXACT, |y| {
            let mut runs = Vec::new();
            let mut x = self.rect.x;
            while x < self.rect.right() {
                let start = x;
                while x < self.rect.right() && self.get(x, y) {
                    x += 1;
                }
                if x > start {
                    runs.push((start, x));
                }
                x += 1;
            }
            (y, y + 1, runs)
        })
    }

    /// The cells that are set as a whole, as rectangles. Cells are cut off at the bitmap's edges.
    fn cells(&self) -> Vec<Rect> {
        let first = self.rect.y.div_euclid(CELL);
        let last = (self.rect.bottom() - 1).div_euclid(CELL);
        let rows = joined(first..last + 1, usize::MAX, |row| {
            let (top, bottom) = ((row * CELL).max(self.rect.y), ((row + 1) * CELL).min(self.rect.bottom()));
            let mut runs: Vec<(i64, i64)> = Vec::new();
            for column in self.rect.x.div_euclid(CELL)..=(self.rect.right() - 1).div_euclid(CELL) {
                let (left, right) = ((column * CELL).max(self.rect.x), ((column + 1) * CELL).min(self.rect.right()));
                if (top..bottom).all(|y| (left..right).all(|x| self.get(x, y))) {
                    match runs.last_mut() {
                        Some(run) if run.1 == left => run.1 = right,
                        _ => runs.push((left, right)),
                    }
                }
            }
            (top, bottom, runs)
        });
        rows.unwrap_or_default()
    }
}

/// Rectangles from the runs of rows: runs that are the same in the next row are joined with them.
fn joined(
    rows: std::ops::Range<i64>,
    most: usize,
    runs_of: impl Fn(i64) -> (i64, i64, Vec<(i64, i64)>),
) -> Option<Vec<Rect>> {
    let rect = |(left, right): (i64, i64), top: i64, bottom: i64| {
        Rect::new(left, top, (right - left) as u32, (bottom - top) as u32)
    };
    let mut done: Vec<Rect> = Vec::new();
    let mut open: Vec<Rect> = Vec::new();
    for row in rows {
        let (top, bottom, runs) = runs_of(row);
        let goes_on = open.len() == runs.len()
            && open.iter().zip(&runs).all(|(above, run)| (above.x, above.right()) == *run && above.bottom() == top);
        if goes_on {
            for above in &mut open {
                above.height = (bottom - above.y) as u32;
            }
        } else {
            done.append(&mut open);
            open = runs.into_iter().map(|run| rect(run, top, bottom)).collect();
        }
        if done.len() + open.len() > most {
            return None;
        }
    }
    done.append(&mut open);
    Some(done)
}

/// Where patches on one plane are opaque together. Patches with an irregular outline are divided into cells, of which only those
/// count that are opaque as a whole, other patches' pixels included.
fn opaque_rects(
    document: &Document,
    pictures: &mut Pictures<'_>,
    patches: &[&Patch],
) -> Result<Vec<Rect>, StudioError> {
    let mut rects = Vec::new();
    let mut irregular: Vec<Bitmap> = Vec::new();
    for patch in patches {
        let Some(pixels) = document.pixels(patch) else { continue };
        let has_alpha = pictures.has_alpha(pixels.image)?;
        if pixels.mask.is_none() && !has_alpha {
            rects.push(patch.rect);
            continue;
        }
        let rect = patch.rect;
        let image = if has_alpha { Some(pictures.picture_of_size(pixels.image, rect)?) } else { None };
        let mask = pixels.mask.map(|mask| pictures.picture_of_size(mask, rect)).transpose()?;
        let mut bitmap = Bitmap { rect, set: vec![false; rect.width as usize * rect.height as usize] };
        bitmap.add(&rect, |x, y| {
            let (u, v) = ((x - rect.x) as u32, (y - rect.y) as u32);
            image.as_ref().is_none_or(|image| image.get_pixel(u, v).0[3] == 255)
                && mask.as_ref().is_none_or(|mask| mask.get_pixel(u, v).0[0] == 255)
        });
        match bitmap.exact() {
            Some(exact) => rects.extend(exact),
            None => irregular.push(bitmap),
        }
    }
    let regular = rects.clone();
    for (index, bitmap) in irregular.iter().enumerate() {
        let mut all = Bitmap { rect: bitmap.rect, set: bitmap.set.clone() };
        for rect in &regular {
            all.add(rect, |_, _| true);
        }
        for (_, other) in irregular.iter().enumerate().filter(|(other, _)| *other != index) {
            all.add(&other.rect, |x, y| other.get(x, y));
        }
        rects.extend(all.cells());
    }
    Ok(rects)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rectangles_of_a_bitmap_hold_just_its_pixels(seed in any::<u64>(), x in -40i64..40, y in -40i64..40, width in 1u32..60, height in 1u32..60) {
            let rect = Rect::new(x, y, width, height);
            let mut bitmap = Bitmap { rect, set: vec![false; (width * height) as usize] };
            let hole = ((seed % 50) as i64 - 25, (seed / 50 % 50) as i64 - 25);
            bitmap.add(&rect, |x, y| (x - hole.0).abs() + (y - hole.1).abs() > (seed / 2500 % 20) as i64);
            let count = bitmap.set.iter().filter(|set| **set).count() as u64;
            let cells = bitmap.cells();
            for rects in bitmap.exact().into_iter().chain([cells]) {
                for rect in &rects {
                    for v in rect.y..rect.bottom() { for u in rect.x..rect.right() { prop_assert!(bitmap.get(u, v)); } }
                }
                prop_assert!(union_area(&rects) <= count);
            }
            if let Some(exact) = bitmap.exact() {
                prop_assert_eq!(union_area(&exact), count);
                prop_assert_eq!(exact.iter().map(|rect| u64::from(rect.width) * u64::from(rect.height)).sum::<u64>(), count);
            }
        }
    }

    /// A project with a frame of 320 x 192, a shot that trucks by half of it, and layers of these depths and areas.
    fn project(folder: &std::path::Path, layers: &[(f64, Rect, image::DynamicImage)]) -> Project {
        use outframe_document::{Edit, Frame, Origin, PatchContent, PatchImage, Step};
        let mut project = Project::create(folder.join("p.outframe"), "").unwrap();
        let rect = Rect::new(0, 0, 320, 192);
        let frame = Frame { id: project.next_frame_id(), name: "Frame".into(), rect };
        let mut shot = Shot::new(project.next_shot_id(), "Shot", frame.id);
        (shot.width, shot.height, shot.frames) = (320, 192, 24);
        let truck = camera::Move::new(camera::MoveKind::Truck, 0.0, 23.0, 0.0, 0.5);
        shot.moves.push(super::super::from_camera(&truck));
        let mut edits = vec![Edit::AddFrame { index: 0, frame }, Edit::AddShot { index: 0, shot: Box::new(shot) }];
        for (index, (depth, rect, picture)) in layers.iter().enumerate() {
            let image = project.put_blob(&crate::encode_png(picture).unwrap(), "image/png").unwrap();
            let content = PatchContent::Image(Box::new(PatchImage { image, mask: None, origin: Origin::Drawn }));
            let mut layer = Layer::new(project.next_layer_id(), format!("{depth}"));
            layer.depth = *depth;
            layer.patches.push(Patch::new(project.next_patch_id(), *rect, content));
            edits.push(Edit::AddLayer { index, layer: Box::new(layer) });
        }
        project.apply(Step::new("Set up", edits)).unwrap();
        project
    }

    fn opaque(width: u32, height: u32) -> image::DynamicImage {
        image::RgbImage::new(width, height).into()
    }

    fn found(layers: &[(f64, Rect, image::DynamicImage)]) -> ShotCoverage {
        let folder = tempfile::tempdir().unwrap();
        let project = project(folder.path(), layers);
        coverage(&project, &project.document().shots[0], 256).unwrap()
    }

    #[test]
    fn the_farthest_plane_that_carries_the_picture_is_the_ground() {
        let frame = Rect::new(0, 0, 320, 192);
        let near = found(&[(1.0, frame, opaque(320, 192))]);
        assert!((near.coverage.lack.right - 1.0 / 3.0).abs() < 0.01, "{}", near.coverage);
        // Three times as far it moves by a third of that; and what lies before it does not count where it runs out.
        let far = found(&[(3.0, frame, opaque(320, 192)), (1.0, frame, opaque(320, 192))]);
        assert!((far.depth - 3.0).abs() < 1e-9);
        assert!((far.coverage.lack.right - 1.0 / 7.0).abs() < 0.03, "{}", far.coverage);
        // A small thing before the picture does not make the ground, wherever it is.
        for depth in [0.5, 9.0] {
            let small = Rect::new(40, 40, 60, 60);
            let two = found(&[(1.0, frame, opaque(320, 192)), (depth, small, opaque(60, 60))]);
            assert!((two.depth - 1.0).abs() < 1e-9);
            assert_eq!(two.coverage.missing, near.coverage.missing);
        }
        // Painted is what is missing and a cell beside it, and nothing along the other edges.
        let painted: f64 = near.coverage.fills.iter().flat_map(|fill| &fill.paint).map(PixelRect::area).sum();
        assert!(near.coverage.missing_area <= painted && painted <= (160.0 + 32.0) * (192.0 + 32.0), "{painted}");
        // A far plane that is large enough lacks nothing.
        let wide = Rect::new(0, 0, 640, 192);
        let all = found(&[(2.0, wide, opaque(640, 192)), (1.0, frame, opaque(320, 192))]);
        assert!(all.coverage.missing.is_empty(), "{}", all.coverage);
    }

    #[test]
    fn what_another_plane_always_hides_is_not_missing() {
        let frame = Rect::new(0, 0, 320, 192);
        let wide = Rect::new(0, 0, 640, 192);
        // The ground has a hole, which is not made of a few rectangles.
        let holed = image::RgbaImage::from_fn(640, 192, |x, y| {
            let (dx, dy) = (i64::from(x) - 160, i64::from(y) - 96);
            image::Rgba([9, 9, 9, if dx * dx + dy * dy < 900 { 0 } else { 255 }])
        });
        let open = found(&[(1.0, wide, holed.clone().into())]);
        let area = open.coverage.missing_area;
        let hole = 900.0 * std::f64::consts::PI;
        assert!((hole..1.7 * hole).contains(&area), "{area}");
        assert!((open.coverage.lack.inside - open.coverage.lack.total()).abs() < 1e-9);
        // Before it a plane that hides the hole all the time, and one that does so only at rest.
        let always = Rect::new(-320, 0, 960, 192);
        let hidden = found(&[(1.0, wide, holed.clone().into()), (0.8, always, opaque(960, 192))]);
        assert!(hidden.coverage.missing.is_empty(), "{}", hidden.coverage);
        let once = Rect::new(112, 48, 96, 96);
        let seen = found(&[(1.0, wide, holed.into()), (0.5, once, opaque(96, 96))]);
        assert!(!seen.coverage.missing.is_empty());
        // Half a picture that is transparent carries nothing.
        let thin = image::RgbaImage::from_pixel(320, 192, image::Rgba([1, 1, 1, 128]));
        let none = found(&[(1.0, frame, opaque(320, 192)), (4.0, frame, thin.into())]);
        assert!((none.depth - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_rectangle_is_cut_without_gaps() {
        let cells: Vec<_> = divided(&PixelRect::new(-5, 3, 40, 20), 16).collect();
        assert_eq!(cells.iter().map(PixelRect::area).sum::<f64>() as u32, 45 * 17);
        assert!(cells.iter().all(|cell| cell.x0.div_euclid(16) == (cell.x1 - 1).div_euclid(16)));
    }
}
