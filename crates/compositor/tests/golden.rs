//! Pictures that were looked at once and must not change unseen. `OUTFRAME_BLESS=1` writes them anew: look at them then.

#![allow(clippy::unwrap_used, reason = "helpers of tests may fail")]

mod support;

use std::path::PathBuf;

use image::{
    Rgba, RgbaImage,
    codecs::png::{CompressionType, FilterType, PngEncoder},
};
use outframe_camera::{Camera, Move, MoveKind, Rect as View, Shot, Shutter};
use outframe_compositor::{Filter, FlatView, Look, ShotView, Unpainted};
use outframe_document::{BlendMode, Color, Rect};
use support::{Stage, Studio};

const MOST_BYTES: u64 = 30_000;
const LEAST_LIKENESS: f64 = 0.995;

fn check(name: &str, found: &RgbaImage) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.png"));
    if std::env::var_os("OUTFRAME_BLESS").is_some_and(|value| value == "1") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
        let encoder = PngEncoder::new_with_quality(file, CompressionType::Best, FilterType::Adaptive);
        found.write_with_encoder(encoder).unwrap();
    }
    let size = std::fs::metadata(&path).unwrap().len();
    assert!(size <= MOST_BYTES, "{name}: {size} bytes");
    let known = image::open(&path).unwrap().into_rgba8();
    let score = image_compare::rgba_hybrid_compare(found, &known).unwrap().score;
    let found_at = std::env::temp_dir().join(format!("outframe-{name}.png"));
    if score < LEAST_LIKENESS {
        found.save(&found_at).unwrap();
    }
    assert!(score >= LEAST_LIKENESS, "{name} is only {score:.4} like the golden picture; see {}", found_at.display());
}

/// Rings with a disc in a colour: what is turned, squeezed or cut off shows at once.
fn target(side: u32, color: [u8; 3]) -> RgbaImage {
    let middle = f64::from(side) / 2.0;
    RgbaImage::from_fn(side, side, |x, y| {
        let (u, v) = (f64::from(x) + 0.5 - middle, f64::from(y) + 0.5 - middle);
        let radius = u.hypot(v) / middle;
        let alpha = ((1.0 - radius) * middle).clamp(0.0, 1.0);
        let dark = (radius * 4.0) as u32 % 2 == 1 || (radius > 0.3 && u.abs() < 3.0 && v < 0.0);
        let [r, g, b] = if dark { color.map(|code| code / 3) } else { color };
        Rgba([r, g, b, (alpha * 255.0) as u8])
    })
}

fn chart() -> RgbaImage {
    RgbaImage::from_fn(480, 300, |x, y| {
        let square = (x / 30 + y / 30) % 2 == 0;
        let (a, b) = ((x / 30 * 12) as u8, (y / 30 * 18) as u8);
        Rgba(if square { [40 + a, 60 + b, 120, 255] } else { [220 - a, 230 - b / 2, 200, 255] })
    })
}

#[test]
fn blends_masks_and_groups() {
    let studio = Studio::new();
    let mut stage = Stage::of(0, 0, chart());
    for (number, mode) in BlendMode::ALL.into_iter().enumerate() {
        let layer = stage.layer();
        (layer.blend, layer.opacity) = (mode, 0.9);
        let (x, y) = (number as i64 % 5 * 95 + 5, number as i64 / 5 * 100 + 5);
        stage.patch(Rect::new(x, y, 88, 88), target(88, [230, 120, 60]));
    }
    let group = stage.group();
    for (x, color) in [(20, [250, 40, 40]), (70, [40, 200, 60])] {
        stage.layer().group = Some(group);
        stage.patch(Rect::new(x, 205, 90, 90), target(90, color));
    }
    let ramp = image::GrayImage::from_fn(160, 90, |x, _| image::Luma([(x * 255 / 159) as u8]));
    let mask = stage.mask(Rect::new(10, 205, 160, 90), ramp.clone(), false);
    let group = stage.document.groups.get_mut(&group).unwrap();
    (group.mask, group.opacity) = (Some(mask), 0.8);
    stage.layer();
    stage.patch(Rect::new(200, 200, 95, 95), target(95, [60, 90, 250]));
    let mask = stage.mask(Rect::new(240, 230, 160, 40), image::GrayImage::new(160, 40), true);
    stage.top().mask = Some(mask);
    stage.layer();
    stage.patch_masked(Rect::new(310, 205, 160, 90), chart(), Some(ramp));
    check("blends", &studio.flat(&stage, &FlatView::pixels(0, 0, 480, 200)));
    check("masks", &studio.flat(&stage, &FlatView::pixels(0, 200, 480, 100)));
}

#[test]
fn scales() {
    let studio = Studio::new();
    let mut stage = Stage::of(0, 0, chart());
    stage.document.canvas.background = Some(Color { r: 30, g: 30, b: 30, a: 255 });
    let mut out = RgbaImage::new(360, 120);
    let views = [(0.0, 480.0, Filter::Smooth), (114.3, 12.0, Filter::Smooth), (114.3, 12.0, Filter::Crisp)];
    for (place, (x, width, filter)) in views.into_iter().enumerate() {
        let view =
            FlatView { x, y: x / 2.0, width, height: width, out_width: 120, out_height: 120, filter, dither: false };
        image::imageops::replace(&mut out, &studio.flat(&stage, &view), place as i64 * 120, 0);
    }
    check("scales", &out);
}

/// A backdrop far away, columns in the middle, rings near.
fn diorama() -> Stage {
    let mut stage = Stage::default();
    stage.document.canvas.background = Some(Color { r: 12, g: 16, b: 30, a: 255 });
    stage.layer().depth = 3.0;
    for (x, y) in (0..4).flat_map(|y| (0..4).map(move |x| (x, y))) {
        stage.patch(Rect::new(x * 480 - 720, y * 300 - 450, 480, 300), chart());
    }
    stage.layer();
    for column in 0..7 {
        let color = Rgba([250, 200 - 20 * column, 90, 255]);
        stage.patch(Rect::new(i64::from(column) * 110 - 200, 40, 40, 220), RgbaImage::from_pixel(40, 220, color));
    }
    stage.layer().depth = 0.6;
    for (x, y) in [(60, 60), (300, 150)] {
        stage.patch(Rect::new(x, y, 100, 100), target(100, [90, 220, 240]));
    }
    stage
}

fn shot(kind: MoveKind, amount: f64) -> Shot {
    let mut shot = Shot::new(View::new(0.0, 0.0, 480.0, 270.0), 224, 126);
    shot.moves.push(Move::new(kind, 0.0, shot.last(), 0.0, amount));
    shot
}

#[test]
fn moves() {
    let studio = Studio::new();
    let stage = diorama();
    for (name, kind, amount) in [
        ("truck", MoveKind::Truck, 0.35),
        ("dolly", MoveKind::Dolly, 0.45),
        ("orbit", MoveKind::Orbit, 24.0),
        ("roll", MoveKind::Roll, 20.0),
    ] {
        let shot = shot(kind, amount);
        let track = shot.track().unwrap();
        let view = ShotView { opaque: true, ..ShotView::new(track.camera(shot.last()), 224, 126) };
        check(name, &studio.shot(&stage, &view));
    }
}

#[test]
fn blur_and_look() {
    let studio = Studio::new();
    let stage = diorama();
    let shot = shot(MoveKind::Truck, 6.0);
    let track = shot.track().unwrap();
    let cameras: Vec<Camera> = track.exposures(4, &Shutter { angle: 180.0, samples: 12 });
    let look = Look { vignette: 0.6, grain: 0.0, grain_seed: 0, letterbox: Some(2.39) };
    let view = ShotView { cameras, width: 224, height: 126, look, opaque: true, unpainted: Unpainted::Transparent };
    check("blur", &studio.shot(&stage, &view));
    // A disc over squares for what is missing. (Grain has a test of its own: PNG keeps it badly.)
    let stage = Stage::of(60, 20, target(200, [240, 200, 60]));
    let rest = Camera::new(View::new(0.0, 0.0, 480.0, 270.0), 224.0, 126.0, 35.0, outframe_camera::Pose::REST);
    let view = ShotView { unpainted: Unpainted::Checkerboard, ..ShotView::new(rest, 224, 126) };
    check("unpainted", &studio.shot(&stage, &view));
}
