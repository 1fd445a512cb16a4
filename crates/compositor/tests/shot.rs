//! The camera: equal to the flat canvas at rest, every plane where its homography says, motion blur, the look.

#![allow(clippy::unwrap_used, reason = "helpers of tests may fail")]

mod support;

use std::sync::Arc;

use image::{Rgba, RgbaImage, imageops};
use outframe_camera::{Camera, Move, MoveKind, Point, Pose, Rect as View, Shot, Shutter};
use outframe_compositor::{FlatView, Look, PictureSource, ShotView, Unpainted};
use outframe_document::{Color, Rect};
use support::{Dice, Stage, Studio, decode, difference, encode, random_stage};
use tokio_util::sync::CancellationToken;

fn camera(view: View, width: u32, height: u32, pose: Pose) -> Camera {
    Camera::new(view, f64::from(width), f64::from(height), 35.0, pose)
}

/// A soft dot of about `size` pixels around a place on the canvas, nothing else.
fn dot(at: Point, size: f64) -> Stage {
    let side = (size * 8.0) as u32;
    let (x, y) = (at.x.floor() - f64::from(side / 2), at.y.floor() - f64::from(side / 2));
    let image = RgbaImage::from_fn(side, side, |i, j| {
        let (u, v) = (x + f64::from(i) + 0.5 - at.x, y + f64::from(j) + 0.5 - at.y);
        Rgba([255, 255, 255, (255.0 * (-(u * u + v * v) / (2.0 * size * size)).exp()).round() as u8])
    });
    Stage::of(x as i64, y as i64, image)
}

fn centroid(image: &RgbaImage) -> Point {
    let mut sums = [0.0; 3];
    for (x, y, pixel) in image.enumerate_pixels() {
        let weight = f64::from(pixel.0[3]);
        sums[0] += weight * (f64::from(x) + 0.5);
        sums[1] += weight * (f64::from(y) + 0.5);
        sums[2] += weight;
    }
    assert!(sums[2] > 255.0, "the dot is out of sight");
    Point::new(sums[0] / sums[2], sums[1] / sums[2])
}

#[test]
fn at_rest_the_camera_sees_the_flat_canvas() {
    let studio = Studio::new();
    for seed in 30..34 {
        let mut stage = random_stage(seed, Dice::picture);
        stage.document.canvas.background = Some(Color { r: 90, g: 80, b: 200, a: 255 });
        for (number, layer) in stage.document.layers.iter_mut().enumerate() {
            layer.depth = [1.0, 4.0, 0.5, 1.7, 30.0][number];
        }
        for (width, height) in [(240, 160), (480, 320), (170, 113), (66, 44)] {
            let mut view = FlatView::pixels(-150, -90, 240, 160);
            (view.out_width, view.out_height) = (width, height);
            let rest = camera(View::new(-150.0, -90.0, 240.0, 160.0), width, height, Pose::REST);
            let seen = studio.shot(&stage, &ShotView::new(rest, width, height));
            let apart = difference(&seen, &studio.flat(&stage, &view));
            assert!(apart <= 1.0, "document {seed}, {width} x {height}: {apart} codes");
        }
    }
}

#[test]
fn dots_are_where_the_homography_leads_them() {
    let studio = Studio::new();
    let mut dice = Dice::new(11);
    let (width, height) = (320, 180);
    let (mut worst, mut seen) = (0.0_f64, 0);
    while seen < 24 {
        let far = [0.0, 1e6, -3e5][dice.below(3) as usize];
        let view = View::new(far + dice.share(), -far, 640.0, 360.0);
        let mut signed = |most: f64| (dice.share() * 2.0 - 1.0) * most;
        let pose = Pose {
            x: signed(0.3),
            y: signed(0.3),
            z: signed(0.4),
            yaw: signed(18.0),
            pitch: signed(12.0),
            roll: signed(60.0),
            focal: 1.0 + signed(0.3),
        };
        let depth = 1.0 + signed(0.4);
        let camera = camera(view, width, height, pose);
        let centre = view.centre();
        let at = Point::new(centre.x + signed(150.0), centre.y + signed(90.0));
        let homography = camera.homography(depth).unwrap();
        let expected = homography.project(at).unwrap();
        if !(20.0..300.0).contains(&expected.x) || !(20.0..160.0).contains(&expected.y) {
            continue;
        }
        seen += 1;
        let mut stage = dot(at, 4.0);
        stage.top().depth = depth;
        let found = centroid(&studio.shot(&stage, &ShotView::new(camera, width, height)));
        // Perspective moves the mean of a dot that is not a point a little: take that off.
        let mut mean = (0.0, 0.0, 0.0);
        for (i, j) in (-16..=16).flat_map(|j| (-16..=16).map(move |i| (i, j))) {
            let (u, v) = (f64::from(i), f64::from(j));
            let weight = (-(u * u + v * v) / 32.0).exp();
            let corner = |du: f64, dv: f64| homography.project(Point::new(at.x + u + du, at.y + v + dv)).unwrap();
            let place = corner(0.0, 0.0);
            let (right, down) = (corner(0.5, 0.0), corner(0.0, 0.5));
            let area = (right.x - place.x) * (down.y - place.y) - (right.y - place.y) * (down.x - place.x);
            let weight = weight * area;
            mean = (mean.0 + weight * place.x, mean.1 + weight * place.y, mean.2 + weight);
        }
        let apart = (found.x - mean.0 / mean.2).hypot(found.y - mean.1 / mean.2);
        assert!(apart < 0.02, "{apart} pixels off, {pose:?}");
        worst = worst.max(apart);
    }
    println!("worst position error {worst:.4} pixels");
}

/// The straight line through points (t, value): value = a + b t.
fn line(points: &[(f64, f64)]) -> (f64, f64) {
    let count = points.len() as f64;
    let (t, v) = points.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0 / count, sum.1 + point.1 / count));
    let (over, under) = points
        .iter()
        .fold((0.0, 0.0), |sum, point| (sum.0 + (point.0 - t) * (point.1 - v), sum.1 + (point.0 - t) * (point.0 - t)));
    let b = over / under;
    (v - b * t, b)
}

/// Where an opaque plane's border runs between two of its corners, measured by the alpha that is summed up across it, as
/// a homogeneous line.
fn border(image: &RgbaImage, from: Point, to: Point, inside: Point) -> [f64; 3] {
    // Along x where the border is rather level, else along y.
    let level = (to.x - from.x).abs() >= (to.y - from.y).abs();
    let turned = |point: Point| if level { (point.x, point.y) } else { (point.y, point.x) };
    let (start, end, inside) = (turned(from), turned(to), turned(inside));
    let (start, end) = if start.0 < end.0 { (start, end) } else { (end, start) };
    let at = |t: f64| start.1 + (end.1 - start.1) * (t - start.0) / (end.0 - start.0);
    let (first, last) = ((start.0 + 10.0).ceil() as u32, (end.0 - 10.0).floor() as u32);
    assert!(last - first > 30, "too short to measure");
    let points: Vec<(f64, f64)> = (first..last)
        .map(|t| {
            let middle = at(f64::from(t) + 0.5).round();
            let (low, high) = ((middle - 7.0) as u32, (middle + 7.0) as u32);
            let alpha = |v| f64::from(if level { image.get_pixel(t, v) } else { image.get_pixel(v, t) }.0[3]) / 255.0;
            let held: f64 = (low..high).map(alpha).sum();
            let beyond = inside.1 > middle;
            (f64::from(t) + 0.5, if beyond { f64::from(high) - held } else { f64::from(low) + held })
        })
        .collect();
    let (a, b) = line(&points);
    if level { [b, -1.0, a] } else { [-1.0, b, a] }
}

#[test]
fn a_planes_corners_are_where_the_homography_leads_them() {
    let studio = Studio::new();
    let (width, height) = (640, 360);
    let poses = [
        (Pose::REST, 1.0),
        (Pose { yaw: 16.0, ..Pose::REST }, 1.0),
        (Pose { yaw: -9.0, pitch: 11.0, roll: 23.0, ..Pose::REST }, 1.1),
        (Pose { pitch: -13.0, roll: -7.3, z: 0.2, x: 0.03, ..Pose::REST }, 1.4),
        (Pose { roll: 61.0, yaw: 5.0, focal: 0.9, ..Pose::REST }, 1.2),
        (Pose { yaw: 12.0, pitch: 8.0, y: -0.04, z: -0.1, focal: 1.2, ..Pose::REST }, 0.9),
    ];
    let mut worst = 0.0_f64;
    // One to one, reduced and enlarged, and far from the canvas's origin.
    for (number, (pose, depth)) in poses.into_iter().enumerate() {
        for (scale, far) in [(1.0, 0.0), (3.3, 1e6), (0.37, -3e5)] {
            let view = View::new(far, -far, 640.0 * scale, 360.0 * scale);
            let camera = camera(view, width, height, pose);
            // In the middle of what the camera sees.
            let homography = camera.homography(depth).unwrap();
            let middle = homography.unproject(Point::new(320.0, 180.0)).unwrap();
            let (left, top) = ((middle.x - 120.0 * scale) as i64, (middle.y - 70.0 * scale) as i64);
            let rect = Rect::new(left, top, (240.0 * scale) as u32, (140.0 * scale) as u32);
            let mut stage = Stage::default();
            stage.layer().depth = depth;
            stage.patch(rect, RgbaImage::from_pixel(rect.width, rect.height, Rgba([255; 4])));
            let out = studio.shot(&stage, &ShotView::new(camera, width, height));
            let plane = View::new(left as f64, top as f64, f64::from(rect.width), f64::from(rect.height));
            let corners = homography.corners(&plane).unwrap();
            assert!(
                corners.iter().all(|p| (10.0..630.0).contains(&p.x) && (10.0..350.0).contains(&p.y)),
                "pose {number} at {scale}: {corners:?}"
            );
            let inside = homography.project(plane.centre()).unwrap();
            let borders: Vec<_> = (0..4).map(|i| border(&out, corners[i], corners[(i + 1) % 4], inside)).collect();
            for (i, corner) in corners.iter().enumerate() {
                let ([a, b, c], [d, e, f]) = (borders[(i + 3) % 4], borders[i]);
                let (x, y, w) = (b * f - c * e, c * d - a * f, a * e - b * d);
                let apart = (x / w - corner.x).hypot(y / w - corner.y);
                assert!(apart < 0.01, "pose {number} at {scale}, corner {i}: {apart} pixels off");
                worst = worst.max(apart);
            }
        }
    }
    println!("worst position error {worst:.5} pixels");
}

#[test]
fn a_truck_moves_by_frames_and_depths() {
    let studio = Studio::new();
    let view = View::new(100.0, 50.0, 640.0, 360.0);
    let mut stage = dot(Point::new(600.3, 230.6), 5.0);
    let at = |stage: &Stage, x: f64| {
        let pose = Pose { x, ..Pose::REST };
        centroid(&studio.shot(stage, &ShotView::new(camera(view, 640, 360, pose), 640, 360)))
    };
    let (rest, moved) = (at(&stage, 0.0), at(&stage, 0.5));
    assert!((rest.x - moved.x - 320.0).abs() < 0.05 && (rest.y - moved.y).abs() < 0.05, "{rest:?} {moved:?}");
    stage.top().depth = 2.0;
    let moved = at(&stage, 0.5);
    assert!((rest.x - moved.x - 160.0).abs() < 0.05, "half as far at twice the distance");
}

#[test]
fn a_slow_move_does_not_jitter() {
    let studio = Studio::new();
    // A slow zoom out of a large still: scales from 1.6 to 3.9 canvas pixels a pixel.
    let stage = dot(Point::new(2000.7, 1150.2), 12.0);
    let mut worst = 0.0_f64;
    for frame in 0..30 {
        let share = f64::from(frame) / 29.0;
        let width = 512.0 + share * 740.0;
        let view = View::new(1800.3 - share * 400.0, 1000.9 - share * 170.0, width, width * 9.0 / 16.0);
        let camera = camera(view, 320, 180, Pose::REST);
        let expected = camera.homography(1.0).unwrap().project(Point::new(2000.7, 1150.2)).unwrap();
        let found = centroid(&studio.shot(&stage, &ShotView::new(camera, 320, 180)));
        worst = worst.max((found.x - expected.x).hypot(found.y - expected.y));
    }
    assert!(worst < 0.02, "{worst} pixels");
    println!("worst position error {worst:.5} pixels");
}

/// What the processor draws by itself on adapters in software: opaque shots of one layer. With 16 bits a channel the same
/// shot is drawn by the adapter.
#[test]
fn what_the_processor_draws_is_what_the_adapter_draws() {
    let studio = Studio::new();
    let mut dice = Dice::new(71);
    let plain = |dice: &mut Dice| {
        let mut stage = Stage::of(-40, -30, dice.picture(700, 500));
        // Without alpha, and over the other's edge.
        let opaque = image::DynamicImage::ImageRgba8(dice.picture(300, 90)).into_rgb8();
        stage.patch(Rect::new(500, 300, 300, 90), opaque);
        stage
    };
    let mut stages = [plain(&mut dice), plain(&mut dice), plain(&mut dice), plain(&mut dice)];
    stages[1].top().opacity = 0.6;
    stages[1].document.canvas.background = Some(Color { r: 40, g: 120, b: 210, a: 255 });
    // Those whose texels must come from the adapter: a mask, and a picture that is smaller than its place.
    let grey = dice.grey(400, 300);
    let mask = stages[2].mask(Rect::new(100, 50, 400, 300), grey, false);
    stages[2].top().mask = Some(mask);
    let small = dice.picture(60, 50);
    stages[3].patch(Rect::new(20, 20, 400, 300), small);
    for (number, stage) in stages.iter().enumerate() {
        for (x, width) in [(-100.3, 900.0), (3.7, 600.0), (50.0, 320.0), (111.1, 97.3), (-3000.0, 6400.0)] {
            let view = View::new(x, -20.6, width, width * 9.0 / 16.0);
            let (camera, source) = (camera(view, 320, 180, Pose::REST), stage.source() as Arc<dyn PictureSource>);
            let view = ShotView { opaque: true, unpainted: Unpainted::Black, ..ShotView::new(camera, 320, 180) };
            let ours = studio.shot(stage, &view);
            let cancel = CancellationToken::new();
            let deep = studio.wait(studio.compositor.shot_deep(&stage.scene(), &source, &view, &cancel)).unwrap();
            for (index, (code, deep)) in ours.iter().zip(deep.rgba).enumerate() {
                let apart = (f64::from(*code) - f64::from(deep) / 257.0).abs();
                // Half a code from rounding, and what a half is coarser than the light of a code.
                assert!(apart < 0.75, "stage {number}, {width} wide, number {index}: {apart} codes");
            }
        }
    }
}

#[test]
fn turned_patches_have_no_seam_and_turned_layers_whole_edges() {
    let studio = Studio::new();
    let color = Rgba([200, 100, 50, 255]);
    let mut stage = Stage::default();
    stage.layer();
    for (x, y) in (0..5).flat_map(|y| (0..7).map(move |x| (x, y))) {
        stage.patch(Rect::new(x * 131 - 400, y * 97 - 200, 131, 97), RgbaImage::from_pixel(131, 97, color));
    }
    for (roll, yaw, z) in [(13.0, 0.0, 0.3), (45.0, 20.0, -0.2), (0.0, -14.0, 0.8), (91.0, 4.0, 0.45)] {
        let pose = Pose { roll, yaw, z, ..Pose::REST };
        let view = View::new(-140.0, -60.0, 320.0, 180.0);
        let out = studio.shot(&stage, &ShotView::new(camera(view, 320, 180, pose), 320, 180));
        assert!(out.pixels().all(|pixel| *pixel == color), "a seam at roll {roll}, yaw {yaw}, dolly {z}");
    }
    // A quarter turn of a square picture that fills the frame fills it again.
    let stage = Stage::of(0, 0, RgbaImage::from_pixel(700, 700, color));
    for roll in [90.0, 180.0] {
        let pose = Pose { roll, ..Pose::REST };
        let out =
            studio.shot(&stage, &ShotView::new(camera(View::new(0.0, 0.0, 700.0, 700.0), 200, 200, pose), 200, 200));
        assert!(out.pixels().all(|pixel| pixel.0[3] >= 254 && pixel.0[0] == 200), "turned by {roll}");
    }
}

#[test]
fn a_floor_runs_to_its_horizon() {
    let studio = Studio::new();
    let mut dice = Dice::new(4);
    let mut stage = Stage::default();
    stage.layer();
    let picture = dice.picture(512, 512);
    for (x, y) in (0..6).flat_map(|y| (0..6).map(move |x| (x, y))) {
        stage.patch(Rect::new(x * 512 - 1536, y * 512 - 1536, 512, 512), picture.clone());
    }
    // Looking nearly along the plane: magnified in front, far beyond it nothing.
    let pose = Pose { yaw: 70.0, z: 0.6, ..Pose::REST };
    let out =
        studio.shot(&stage, &ShotView::new(camera(View::new(-160.0, -90.0, 320.0, 180.0), 320, 180, pose), 320, 180));
    let alpha = |x: u32| out.get_pixel(x, 90).0[3];
    assert_eq!((alpha(4), alpha(319)), (255, 0));
    // And behind the camera, or passed, nothing at all.
    for (pose, depth) in [(Pose { yaw: 179.0, ..Pose::REST }, 1.0), (Pose { z: 0.7, ..Pose::REST }, 0.5)] {
        stage.top().depth = depth;
        let out =
            studio.shot(&stage, &ShotView::new(camera(View::new(-160.0, -90.0, 320.0, 180.0), 64, 36, pose), 64, 36));
        assert!(out.pixels().all(|pixel| pixel.0[3] == 0));
    }
}

#[test]
fn motion_blur_is_the_mean_of_the_moments() {
    let studio = Studio::new();
    let stage = random_stage(41, Dice::picture);
    let view = View::new(-150.0, -90.0, 240.0, 160.0);
    let at = |x: f64| camera(view, 240, 160, Pose { x, roll: 5.0 * x, ..Pose::REST });
    let sharp = ShotView::new(at(0.1), 240, 160);
    let still = ShotView { cameras: vec![at(0.1); 16], ..sharp.clone() };
    assert_eq!(studio.shot(&stage, &still), studio.shot(&stage, &sharp), "a still camera blurs nothing");
    let opaque = |cameras: Vec<Camera>| {
        let view = ShotView { cameras, opaque: true, ..sharp.clone() };
        studio.shot(&stage, &view)
    };
    let cameras = [at(0.0), at(0.07), at(0.14)];
    let each = cameras.map(|camera| opaque(vec![camera]));
    let blurred = opaque(cameras.to_vec());
    for (x, y, pixel) in blurred.enumerate_pixels() {
        for c in 0..3 {
            let mean = each.iter().map(|image| decode(image.get_pixel(x, y).0[c])).sum::<f64>() / 3.0;
            // Each of the three has been rounded; in the shadows that counts for more than one code.
            let near = each.iter().map(|image| image.get_pixel(x, y).0[c]).min().unwrap() < 20;
            let apart = (encode(mean) - f64::from(pixel.0[c])).abs();
            assert!(apart <= if near { 6.0 } else { 1.5 }, "{apart} at ({x}, {y})");
        }
    }
    // A whole shot's shutter.
    let mut shot = Shot::new(view, 240, 160);
    shot.moves.push(Move::new(MoveKind::Truck, 0.0, shot.last(), 0.0, 2.0));
    let track = shot.track().unwrap();
    let exposures = track.exposures(3, &Shutter { angle: 180.0, samples: 4 });
    assert_ne!(studio.shot(&stage, &ShotView { cameras: exposures, ..sharp.clone() }), studio.shot(&stage, &sharp));
}

#[test]
fn a_smaller_preview_shows_the_same() {
    let studio = Studio::new();
    let mut stage = random_stage(43, Dice::picture);
    stage.document.canvas.background = Some(Color { r: 0, g: 0, b: 0, a: 255 });
    let pose = Pose { yaw: 8.0, roll: 4.0, ..Pose::REST };
    let camera = camera(View::new(-150.0, -90.0, 240.0, 160.0), 480, 320, pose);
    let full = studio.shot(&stage, &ShotView::new(camera, 480, 320));
    let small = studio.shot(&stage, &ShotView::new(camera, 120, 80));
    let reduced = imageops::resize(&full, 120, 80, imageops::FilterType::Triangle);
    let mean: f64 =
        small.iter().zip(reduced.iter()).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / f64::from(120 * 80 * 4);
    assert!(mean < 6.0, "{mean} codes on average");
}

#[test]
fn the_look_does_what_it_says() {
    let studio = Studio::new();
    let stage = Stage::of(0, 0, RgbaImage::from_pixel(400, 200, Rgba([188, 188, 188, 255])));
    let rest = camera(View::new(0.0, 0.0, 400.0, 200.0), 200, 100, Pose::REST);
    let plain = ShotView::new(rest, 200, 100);
    let with = |look: Look| studio.shot(&stage, &ShotView { look, ..plain.clone() });
    let dark = with(Look { vignette: 1.0, ..Look::default() });
    assert!((187..=188).contains(&dark.get_pixel(100, 50).0[0]));
    let corner = decode(dark.get_pixel(0, 0).0[0]) / decode(188);
    assert!((0.095..0.115).contains(&corner), "{corner}");
    let grain = |grain_seed| with(Look { grain: 0.3, grain_seed, ..Look::default() });
    let grainy = grain(7);
    assert_eq!(grainy, grain(7));
    assert_ne!(grainy, grain(8));
    let mean = grainy.pixels().map(|pixel| f64::from(pixel.0[0])).sum::<f64>() / 20_000.0;
    assert!((mean - 188.0).abs() < 0.5, "{mean}");
    let boxed = with(Look { letterbox: Some(4.0), ..Look::default() });
    assert_eq!(boxed.get_pixel(100, 24).0, [0, 0, 0, 255]);
    assert_eq!(boxed.get_pixel(100, 25).0, [188, 188, 188, 255]);
    assert_eq!(boxed.get_pixel(100, 75).0, [0, 0, 0, 255]);
    // Where nothing is painted.
    let beside = camera(View::new(400.0, 0.0, 400.0, 200.0), 200, 100, Pose::REST);
    let empty = |opaque, unpainted| {
        let out = studio.shot(&stage, &ShotView { cameras: vec![beside], opaque, unpainted, ..plain.clone() });
        (out.get_pixel(3, 3).0, out.get_pixel(19, 3).0)
    };
    assert_eq!(empty(false, Unpainted::Transparent), ([0; 4], [0; 4]));
    assert_eq!(empty(true, Unpainted::Transparent), ([0, 0, 0, 255], [0, 0, 0, 255]));
    assert_eq!(empty(false, Unpainted::Black), ([0, 0, 0, 255], [0, 0, 0, 255]));
    let (a, b) = empty(true, Unpainted::Checkerboard);
    assert!(a != b && a[3] == 255 && b[3] == 255);
}
