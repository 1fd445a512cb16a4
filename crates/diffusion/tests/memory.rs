//! How much memory things take, and what is done when there is little: tiles, estimates, and models that come and go.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test fail it")]
#![allow(unsafe_code, reason = "glibc's allocator has no safe interface")]

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use image::RgbImage;
use image::imageops::{FilterType, resize};
use outframe_diffusion::{Economies, Error, Generate, JobSize, LoadOptions, Pipeline, Sampling, Tiling, probe};
use tch::{Kind, Tensor};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A real picture as `[1, 3, H, W]` in -1..=1.
fn picture(name: &str, (wide, high): (u32, u32), scale: u32) -> Tensor {
    let image = image::open(root().join("docs").join(name)).unwrap().to_rgb8();
    let image = image::imageops::crop_imm(&image, 0, 0, wide, high).to_image();
    let image = resize(&image, wide * scale, high * scale, FilterType::Lanczos3);
    let (wide, high) = image.dimensions();
    let bytes = Tensor::from_slice(image.as_raw()).view([1, i64::from(high), i64::from(wide), 3]);
    (bytes.to_kind(Kind::Float) / 127.5 - 1.0).permute([0, 3, 1, 2]).contiguous()
}

fn difference(a: &Tensor, b: &Tensor) -> (f64, f64) {
    let gap = (a - b).abs();
    (f64::try_from(gap.max()).unwrap(), f64::try_from(gap.mean(Kind::Double)).unwrap())
}

/// Measuring is for one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(target_os = "linux")]
fn status(key: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// Hands what the allocator holds back to the system, as the worker does.
#[cfg(target_os = "linux")]
fn trim() {
    #[cfg(target_env = "gnu")]
    {
        unsafe extern "C" {
            fn malloc_trim(pad: usize) -> i32;
        }
        // SAFETY: it may be called at any time and touches free memory only.
        unsafe { malloc_trim(0) };
    }
}

/// How far the resident memory rises above what it is now, in bytes.
#[cfg(target_os = "linux")]
fn peak<T>(work: impl FnOnce() -> T) -> (u64, T) {
    trim();
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = status("VmRSS");
    let result = work();
    (status("VmHWM").saturating_sub(before), result)
}

/// The pixels of a picture beside a vertical or horizontal line, `jump` across it and the mean of all other neighbours.
fn jumps(error: &Tensor, axis: i64, seam: i64) -> (f64, f64) {
    let len = error.size()[axis as usize];
    let steps = (error.narrow(axis, 1, len - 1) - error.narrow(axis, 0, len - 1)).abs();
    let mean = |x: Tensor| f64::try_from(x.mean(Kind::Double)).unwrap();
    (mean(steps.narrow(axis, seam - 1, 1)), mean(steps))
}

#[test]
fn tiles_join_without_a_seam_or_a_step_in_colour() {
    let _alone = alone();
    let dir = root().join("models/starter/vae");
    let pixels = picture("pictures/3-extended.png", (384, 320), 2);
    let (_, _, high, wide) = pixels.size4().unwrap();
    let whole = probe::LoadedVae::load(&dir, (Tiling::Never, u64::MAX)).unwrap();
    let latents = whole.encode(&pixels).unwrap();
    let decoded = whole.decode(&latents).unwrap();
    let levels = |x: &Tensor| x.clamp(-1.0, 1.0) * 127.5;
    for (how, most_latents, most_levels) in
        [((Tiling::Always, u64::MAX), (0.03, 0.003), (2.0, 0.15)), ((Tiling::Auto, 0), (0.3, 0.03), (8.0, 0.8))]
    {
        let vae = probe::LoadedVae::load(&dir, how).unwrap();
        let ways = vae.ways((high, wide));
        assert!(ways.iter().all(|(way, _)| way.contains("Tiles")), "{ways:?}");
        let started = std::time::Instant::now();
        let (tiled_latents, tiled) = (vae.encode(&pixels).unwrap(), vae.decode(&latents).unwrap());
        println!("{ways:?}, {:.1} s", started.elapsed().as_secs_f64());
        let (worst, mean) = difference(&tiled_latents, &latents);
        println!("  latents: most {worst:.4} mean {mean:.5} of {:.2}", f64::try_from(latents.std(true)).unwrap());
        assert!(worst < most_latents.0 && mean < most_latents.1);
        let (worst, mean) = difference(&levels(&tiled), &levels(&decoded));
        println!("  pixels: most {worst:.3} mean {mean:.4} levels");
        assert!(worst < most_levels.0 && mean < most_levels.1);
        // 768 x 640 pixels in tiles of 512 or 256: there are seams at 384 and 320, or at a third of each and so on.
        let error = levels(&tiled) - levels(&decoded);
        let seams = if how.0 == Tiling::Always { [(3, 384), (2, 320)] } else { [(3, 256), (2, 212)] };
        for (axis, seam) in seams {
            let (across, elsewhere) = jumps(&error, axis, seam);
            println!("  across the seam at {seam}: {across:.4}, elsewhere: {elsewhere:.4} levels");
            assert!(across < elsewhere * 2.0 + 0.02, "a seam at {seam}: {across} against {elsewhere}");
        }
    }
}

/// A UNet whose first scale attends over all latents: at 128 x 128 the scores alone would take 2 GB.
#[cfg(target_os = "linux")]
#[test]
fn attention_does_not_take_memory_by_the_square() {
    let _alone = alone();
    let dir = root().join("tests/parity/fixtures/unets/linear_lists");
    let options = (Kind::Float, tch::Device::Cpu);
    let context = Tensor::randn([1, 6, 40], options);
    let run = |side: i64| {
        let input = Tensor::randn([1, 4, side, side], options);
        peak(|| probe::unet(&dir, &input, &context, &[500.0], Kind::Float).unwrap()).0
    };
    run(16);
    let (small, large) = (run(64), run(128));
    println!("64: {} MB, 128: {} MB", small >> 20, large >> 20);
    assert!(large < 300 << 20, "{large} bytes at 128 x 128");
}

fn sampling(pipeline: &Pipeline, steps: u32) -> Sampling {
    let defaults = pipeline.info().defaults.clone();
    Sampling {
        prompt: "snowy mountains".to_owned(),
        negative: "a house".to_owned(),
        steps,
        guidance: 3.0,
        sampler: defaults.sampler,
        seed: 3,
        preview: false,
        clip_skip: 0,
        guidance_rescale: 0.0,
    }
}

fn paint(pipeline: &Pipeline, (width, height): (u32, u32)) -> RgbImage {
    let request = Generate { sampling: sampling(pipeline, 2), width, height, take: 0 };
    pipeline.generate(&request, &mut |_| ControlFlow::Continue(())).unwrap().image
}

fn starter() -> Pipeline {
    Pipeline::load(&root().join("models/starter"), &LoadOptions::default()).unwrap()
}

const AMPLE: u64 = 1 << 40;

#[cfg(target_os = "linux")]
#[test]
fn estimates_are_above_what_is_measured_and_not_far() {
    let _alone = alone();
    let mut pipeline = starter();
    paint(&pipeline, (256, 256));
    for side in [256, 512, 768] {
        let job = JobSize { width: side, height: side, guided: true, fill: true };
        let estimate = pipeline.plan(job, AMPLE).unwrap();
        let (measured, _) = peak(|| paint(&pipeline, (side, side)));
        println!("{side}: measured {} MB, {estimate:?}", measured >> 20);
        assert!(measured < estimate.peak, "{side}: {measured} bytes, estimated {}", estimate.peak);
        assert!(estimate.peak < 4 * measured + (300 << 20), "{side}: {measured} bytes, estimated {}", estimate.peak);
    }
}

#[test]
fn a_job_is_fitted_into_what_is_free_or_refused_before_it_begins() {
    let _alone = alone();
    let mut pipeline = starter();
    let job = JobSize { width: 768, height: 512, guided: true, fill: false };
    let ample = pipeline.plan(job, AMPLE).unwrap();
    assert!(!ample.economies.any(), "{ample:?}");
    let usual = paint(&pipeline, (768, 512));
    assert!(pipeline.holds_text_encoder());

    // The least that it can be carried out in, by halving; the ways become more frugal on the way there.
    let (mut low, mut high) = (0, ample.peak);
    while high - low > 1 << 20 {
        let middle = low.midpoint(high);
        if pipeline.plan(job, middle).is_ok() { high = middle } else { low = middle }
    }
    let least = pipeline.plan(job, high).unwrap();
    println!("comfortable: {} MB, least: {} MB: {}", ample.peak >> 20, high >> 20, least.economies);
    assert!(least.peak < ample.peak && least.peak <= high);
    assert!(least.economies.tiles && least.economies.text_released);
    pipeline.set_economies(Economies { tiles: true, text_released: true, one_by_one: true });
    let frugal = paint(&pipeline, (768, 512));
    assert!(!pipeline.holds_text_encoder());
    let gap = |a: &RgbImage, b: &RgbImage| {
        let sum: u64 = a.as_raw().iter().zip(b.as_raw()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        sum as f64 / a.as_raw().len() as f64
    };
    println!("frugal against usual: {:.3} levels", gap(&frugal, &usual));
    assert!(gap(&frugal, &usual) < 1.0);

    // With memory again everything is as before, bit for bit.
    pipeline.plan(job, AMPLE).unwrap();
    assert_eq!(paint(&pipeline, (768, 512)), usual);
    assert!(pipeline.holds_text_encoder());

    let error = pipeline.plan(JobSize { width: 4096, height: 4096, ..job }, high).unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    let text = error.to_string();
    println!("{text}");
    for word in ["4096 x 4096", "GB", "MB are free", "would fit", "close other programs"] {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
    let error = pipeline.plan(job, 1000).unwrap_err().to_string();
    assert!(error.contains("smaller model"), "{error}");
}

#[test]
fn a_model_that_cannot_fit_is_refused_before_it_is_read() {
    let _alone = alone();
    let options = LoadOptions { free_memory: Some(1000), ..LoadOptions::default() };
    let half = LoadOptions { precision: outframe_diffusion::Precision::Bf16, ..options.clone() };
    let error = Pipeline::load(&root().join("models/starter"), &half).unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }) && error.to_string().contains("bf16"), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn changing_models_leaves_memory_where_it_was() {
    let _alone = alone();
    let models = root().join("tests/parity/fixtures/models");
    let both = || {
        for path in [root().join("models/starter"), models.join("filler")] {
            let pipeline = Pipeline::load(&path, &LoadOptions::default()).unwrap();
            paint(&pipeline, (64, 64));
        }
    };
    for _ in 0..3 {
        both();
    }
    let before = status("VmRSS");
    for _ in 0..10 {
        both();
    }
    let after = status("VmRSS");
    println!("before {} MB, after ten changes there and back {} MB", before >> 20, after >> 20);
    assert!(after < before + before / 20, "from {before} to {after} bytes");
}

/// Prints measured peaks beside the estimates for the networks in `OUTFRAME_CALIBRATE`, a folder with `unet` and `vae` of any
/// size: how the numbers in docs/performance.md were made.
#[cfg(target_os = "linux")]
#[test]
#[ignore = "needs networks of real size, gigabytes, and minutes"]
fn calibrate() {
    let _alone = alone();
    let dir = PathBuf::from(std::env::var("OUTFRAME_CALIBRATE").unwrap());
    let noise = |channels: i64, side: i64| Tensor::randn([1, channels, side, side], (Kind::Float, tch::Device::Cpu));
    if dir.join("vae").is_dir() {
        for (side, tiling, limit) in [
            (1024, Tiling::Auto, 0),
            (256, Tiling::Never, u64::MAX),
            (512, Tiling::Never, u64::MAX),
            (768, Tiling::Never, 0),
            (1024, Tiling::Always, u64::MAX),
        ] {
            let vae = probe::LoadedVae::load(&dir.join("vae"), (tiling, limit)).unwrap();
            let _ = (vae.encode(&noise(3, 64)).unwrap(), vae.decode(&noise(4, 8)).unwrap());
            let (pixels, latents) = (noise(3, side), noise(4, side / 8));
            let [(encoding_way, encoding), (decoding_way, decoding)] = vae.ways((side, side));
            let (measured, _) = peak(|| vae.encode(&pixels).unwrap());
            println!("{encoding_way} encoding {side}: {} MB, estimated {}", measured >> 20, encoding >> 20);
            let (measured, _) = peak(|| vae.decode(&latents).unwrap());
            println!("{decoding_way} decoding {side}: {} MB, estimated {}", measured >> 20, decoding >> 20);
        }
    }
    if dir.join("unet").is_dir() {
        let config: serde_json::Value =
            serde_json::from_slice(&std::fs::read(dir.join("unet/config.json")).unwrap()).unwrap();
        let number = |key: &str| config[key].as_i64().unwrap();
        let unet = probe::LoadedUNet::load(&dir.join("unet"), Kind::Float).unwrap();
        for (batch, side) in [(1, 8), (2, 32), (2, 64)] {
            let channels = number("in_channels");
            let input = noise(channels, side).expand([batch, channels, side, side], false).contiguous();
            let context = Tensor::randn([batch, 77, number("cross_attention_dim")], (Kind::Float, tch::Device::Cpu));
            let prompt = unet.prompt(&context).unwrap();
            let (measured, _) = peak(|| unet.step(&input, 500.0, &prompt).unwrap());
            let estimated = unet.estimate(batch as u64, (side, side)) >> 20;
            println!("UNet {batch} x {side}: measured {} MB, estimated {estimated} MB", measured >> 20);
        }
    }
}
