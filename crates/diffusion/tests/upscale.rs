//! Our upscalers against ncnn, which runs the files that the weights come from; see `tests/parity/make_fixtures_upscale.py`.

#![allow(clippy::unwrap_used, reason = "the helpers of a test fail it")]

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use image::RgbImage;
use outframe_diffusion::{DeviceChoice, LoadOptions, Upscaler};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn fixture(name: &str) -> RgbImage {
    image::open(root().join("tests/parity/fixtures/upscale").join(name)).unwrap().into_rgb8()
}

fn load(name: &str) -> Upscaler {
    let options = LoadOptions { device: DeviceChoice::Cpu, ..LoadOptions::default() };
    Upscaler::load(&root().join("models/upscale").join(format!("{name}.safetensors")), &options).unwrap()
}

/// At most 2 of 255 apart: the networks compute in f32 here and there, from the same weights.
fn agrees(model: &str, factor: u32, expected: &str) {
    let ours = load(model).upscale(&fixture("input.png"), factor, &mut |_| ControlFlow::Continue(())).unwrap().image;
    let theirs = fixture(expected);
    assert_eq!(ours.dimensions(), theirs.dimensions());
    let apart = ours.as_raw().iter().zip(theirs.as_raw()).map(|(a, b)| a.abs_diff(*b));
    let most = apart.clone().max().unwrap();
    let mean = apart.map(f64::from).sum::<f64>() / ours.as_raw().len() as f64;
    println!("{model}, {factor}x: at most {most}, {mean:.4} on average");
    assert!(most <= 2, "{model}, {factor}x: {most}, {mean}");
}

#[test]
fn the_compact_network_agrees_with_ncnn() {
    agrees("realesr-animevideov3", 4, "animevideov3-x4.png");
}

#[test]
fn half_of_the_compact_networks_result_agrees_with_ncnn() {
    agrees("realesr-animevideov3", 2, "animevideov3-x2.png");
}

#[test]
fn the_dense_network_agrees_with_ncnn() {
    agrees("realesrgan-x4plus-anime", 4, "x4plus-anime-x4.png");
}

/// The dense network's tiles see less than all that could reach them: that must not show.
#[test]
fn the_dense_networks_tiles_agree_with_the_whole() {
    let upscaler = load("realesrgan-x4plus-anime");
    let small = fixture("input.png");
    // Wider than a tile, with a pattern that does not repeat with the tiles.
    let wide = RgbImage::from_fn(200, 24, |x, y| *small.get_pixel((x * 7 + y) % 48, (y + x / 9) % 40));
    let whole = upscaler.upscale_whole(&wide, 4).unwrap();
    let tiled = upscaler.upscale(&wide, 4, &mut |_| ControlFlow::Continue(())).unwrap().image;
    let most = whole.as_raw().iter().zip(tiled.as_raw()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    assert!(most <= 1, "{most}");
}
