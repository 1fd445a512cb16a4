//! Paints a picture with a model and extends it to the right: a quick look at what the engine does.
//!
//! `cargo run --example paint -- MODEL OUT.png "a prompt" [seed] [sampler] [steps]`

use std::ops::ControlFlow;
use std::path::Path;

use image::{GrayImage, Luma, RgbImage, imageops};
use outframe_diffusion::{Error, Fill, Generate, LoadOptions, Pipeline, Sampling, Walk};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let model = args.next().unwrap_or_else(|| "models/starter".to_owned());
    let out = args.next().unwrap_or_else(|| "paint.png".to_owned());
    let prompt = args.next().unwrap_or_else(|| "snowy mountains at sunset".to_owned());
    let seed = args.next().map_or(Ok(1), |text| text.parse())?;

    let started = std::time::Instant::now();
    let pipeline = Pipeline::load(Path::new(&model), &LoadOptions::default())?;
    println!("loaded {} in {:.3} s", pipeline.info().name, started.elapsed().as_secs_f64());
    let defaults = pipeline.info().defaults.clone();
    let size = pipeline.info().native_size;
    let sampling = Sampling {
        prompt,
        negative: String::new(),
        sampler: args.next().unwrap_or(defaults.sampler),
        steps: args.next().map_or(Ok(defaults.steps), |text| text.parse())?,
        guidance: defaults.guidance,
        seed,
        preview: true,
        clip_skip: 0,
        guidance_rescale: 0.0,
    };
    let mut small = None;
    let request = Generate { sampling: sampling.clone(), width: size, height: size, take: 0 };
    for _ in 0..2 {
        let output = pipeline.generate(&request, &mut |progress| {
            small = progress.preview.cloned();
            ControlFlow::Continue(())
        })?;
        println!("painted in {:.3} s {:?}", output.seconds, output.warnings);
    }
    let output = pipeline.generate(&request, &mut |_| ControlFlow::Continue(()))?;
    let wide = extend(&pipeline, &sampling, &output.image, size / 2)?;
    let wide = extend(&pipeline, &sampling, &wide, size / 2)?;
    let mut sheet = RgbImage::new(wide.width() + size, size);
    imageops::replace(&mut sheet, &wide, 0, 0);
    if let Some(small) = small {
        let large = imageops::resize(&small, size, size, imageops::FilterType::Nearest);
        imageops::replace(&mut sheet, &large, i64::from(wide.width()), 0);
    }
    sheet.save(&out)?;
    println!("wrote {out}");
    Ok(())
}

/// Extends a picture to the right by `by` pixels.
fn extend(pipeline: &Pipeline, sampling: &Sampling, image: &RgbImage, by: u32) -> Result<RgbImage, Error> {
    let (width, size) = image.dimensions();
    let context = size - by;
    // The guess repeats the last column.
    let guess = RgbImage::from_fn(size, size, |x, y| *image.get_pixel((width - context + x).min(width - 1), y));
    let mask = GrayImage::from_fn(size, size, |x, _| Luma([if x < context { 0 } else { 255 }]));
    let defaults = &pipeline.info().defaults;
    let sampling = Sampling { guidance: defaults.fill_guidance, ..sampling.clone() };
    // Another take than the picture's own: the same noise in the same place would paint the same things again.
    let take = u64::from(width / by);
    let request = Fill { sampling, image: guess, mask, strength: defaults.fill_strength, walk: Walk::Finer, take };
    let output = pipeline.fill(&request, &mut |_| ControlFlow::Continue(()))?;
    println!("extended in {:.3} s", output.seconds);
    let mut wide = RgbImage::new(width + by, size);
    imageops::replace(&mut wide, image, 0, 0);
    let fresh = imageops::crop_imm(&output.image, context, 0, by, size).to_image();
    imageops::replace(&mut wide, &fresh, i64::from(width), 0);
    Ok(wide)
}
