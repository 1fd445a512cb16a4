//! What a large picture costs: exporting 8192 x 8192 pixels, and keeping its layers in a project against an `OpenRaster` file.
//!
//! The picture is a grid of photographs-like pictures of 1024 pixels (smooth colours with fine noise), each a layer of its own.
//! The export is a process of its own, so that the peak memory is its alone.

use std::{path::Path, time::Instant};

use image::{DynamicImage, Rgb, RgbImage};
use outframe_document::{Project, Rect};
use outframe_interchange::{Limits, ora};
use outframe_studio::{ExportOptions, ImportOptions, encode_png, export, import_pictures};

use crate::{
    Outcome, adapter,
    report::{Report, child, median},
};

const OURS: &str = "outframe";
const ORA: &str = "OpenRaster";
/// Side of the whole picture, in pixels.
const SIDE: u32 = 8192;

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

/// Exports a project's picture, and prints the seconds and the most memory in bytes. The child's part.
pub(crate) fn export_alone(project: &Path, out: &Path) -> Outcome {
    let started = Instant::now();
    let rect = Some(Rect::new(0, 0, SIDE, SIDE));
    let options = ExportOptions { rect, adapter: adapter(), ..ExportOptions::default() };
    export(&Project::open_read_only(project)?, out, &options)?;
    println!("{} {}", started.elapsed().as_secs_f64(), peak_memory());
    Ok(())
}

pub(crate) fn measure(report: &mut Report) -> Outcome {
    let columns = SIDE / TILE;
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
    let layers = columns * columns;
    report.row("add one layer of 1024x1024 (median)", OURS, median(adding), "s");

    let started = Instant::now();
    let project = Project::open_read_only(&file)?;
    report.row(format!("open, {layers} layers"), OURS, started.elapsed().as_secs_f64(), "s");

    let png = folder.path().join("large.png");
    let cost = child("export", [&file, &png])?;
    let said: Vec<f64> = cost.said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [seconds, peak] = said[..] else { return Err(format!("the export said {:?}", cost.said).into()) };
    report.row(format!("export {SIDE}x{SIDE} as PNG, by the clock"), OURS, seconds, "s");
    report.row(format!("export {SIDE}x{SIDE} as PNG, processor"), OURS, cost.cpu, "s");
    report.row(format!("export {SIDE}x{SIDE} as PNG, peak memory"), OURS, peak / 1e6, "MB");

    let ora_file = folder.path().join("large.ora");
    let started = Instant::now();
    let options =
        ExportOptions { rect: Some(Rect::new(0, 0, SIDE, SIDE)), adapter: adapter(), ..ExportOptions::default() };
    export(&project, &ora_file, &options)?;
    report.row("save the same layers (needed after every change there)", ORA, started.elapsed().as_secs_f64(), "s");
    let started = Instant::now();
    let read = ora::read_ora(&std::fs::read(&ora_file)?, &Limits::default())?;
    let what = format!("open, {} layers", read.stack.layers.len());
    report.row(what, ORA, started.elapsed().as_secs_f64(), "s");
    Ok(())
}

/// `VmHWM` of this process on Linux; 0 elsewhere.
fn peak_memory() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.and_then(|line| line.split_whitespace().nth(1)).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0)
        * 1024.0
}
