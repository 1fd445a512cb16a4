//! Measures what a large picture costs: exporting 8192 x 8192 pixels, and keeping its layers in a project against an OpenRaster file.
//!
//! `cargo run --release -p outframe-studio --example bench_export [-- SIDE]`
//!
//! The picture is a grid of photographs-like pictures of 1024 pixels (smooth colours with fine noise), each a layer of its own. Times are
//! wall-clock seconds; peak memory is the process's, where the system tells it.

use std::{error::Error, path::Path, time::Instant};

use image::{DynamicImage, Rgb, RgbImage};
use outframe_document::{Project, Rect};
use outframe_interchange::{Limits, ora};
use outframe_studio::{ExportOptions, ImportOptions, encode_png, export, import_pictures};

/// Side of one layer's picture, in pixels.
const TILE: u32 = 1024;

/// Smooth colours with noise in the two lowest bits, which compresses about as badly as a photograph.
fn picture(seed: u32) -> RgbImage {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    RgbImage::from_fn(TILE, TILE, |x, y| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let noise = (state >> 29) as u8;
        let wave = |scale: f32, shift: u32| {
            let phase = (x + shift * 37 + seed * 11) as f32 / scale + (y as f32 / (scale * 1.7)).sin() * 2.0;
            (phase.sin() * 100.0 + 127.0) as u8
        };
        Rgb([wave(170.0, 0).saturating_add(noise), wave(230.0, 5).saturating_add(noise), wave(310.0, 9)])
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let side: u32 = std::env::args().nth(1).map_or(Ok(8192), |text| text.parse())?;
    let columns = side.div_ceil(TILE);
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("large.outframe");

    let mut project = Project::create(&file, "Large")?;
    let mut adding = Vec::new();
    for index in 0..columns * columns {
        let path = folder.path().join(format!("{index}.png"));
        std::fs::write(&path, encode_png(&DynamicImage::ImageRgb8(picture(index)))?)?;
        let at = (i64::from(index % columns * TILE), i64::from(index / columns * TILE));
        let started = Instant::now();
        import_pictures(&mut project, &[&path], ImportOptions { at: Some(at), each_as_layer: true })?;
        adding.push(started.elapsed().as_secs_f64());
        std::fs::remove_file(&path)?;
    }
    project.close()?;
    adding.sort_by(f64::total_cmp);
    let layers = columns * columns;
    let report = |what: &str, seconds: f64| println!("{{\"bench\":\"{what}\",\"seconds\":{seconds:.3}}}");
    report("add one layer to the project (median)", adding[adding.len() / 2]);

    let started = Instant::now();
    let project = Project::open_read_only(&file)?;
    report(&format!("open the project, {layers} layers"), started.elapsed().as_secs_f64());

    let rect = Rect::new(0, 0, side, side);
    let options = ExportOptions { rect: Some(rect), ..ExportOptions::default() };
    let timed = |what: &str, out: &Path| -> Result<(), Box<dyn Error>> {
        let started = Instant::now();
        export(&project, out, &options)?;
        report(what, started.elapsed().as_secs_f64());
        Ok(())
    };
    timed(&format!("export {side}x{side} as PNG"), &folder.path().join("large.png"))?;
    println!("{{\"bench\":\"peak memory after the PNG\",\"bytes\":{}}}", peak_memory());
    let ora_file = folder.path().join("large.ora");
    timed("save the same layers as OpenRaster (needed after every change there)", &ora_file)?;

    let started = Instant::now();
    let read = ora::read_ora(&std::fs::read(&ora_file)?, &Limits::default())?;
    report(&format!("load the OpenRaster file, {} layers", read.stack.layers.len()), started.elapsed().as_secs_f64());
    Ok(())
}

/// `VmHWM` of this process on Linux; 0 elsewhere.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.and_then(|line| line.split_whitespace().nth(1)).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) * 1024
}
