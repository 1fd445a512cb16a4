//! Compares the engine with Python diffusers on tiny random models; see `tests/parity/make_fixtures.py`.

#![allow(clippy::unwrap_used, reason = "the helpers of a test fail it")]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use image::{GrayImage, Luma, Rgb, RgbImage};
use outframe_diffusion::{Fill, Generate, LoadOptions, Pipeline, Sampling, Tiling, Walk, probe};
use tch::{Kind, Tensor};

/// What f32 arithmetic in another order may differ by.
const TOLERANCE: f64 = 1e-4;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/parity/fixtures")
}

fn tensors(path: &Path) -> BTreeMap<String, Tensor> {
    Tensor::read_safetensors(path).unwrap().into_iter().collect()
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The largest absolute difference; the shapes must agree.
fn difference(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    f64::try_from((a.to_kind(Kind::Double) - b.to_kind(Kind::Double)).abs().max()).unwrap()
}

fn assert_close(what: &str, ours: &Tensor, theirs: &Tensor) {
    // Relative where numbers are larger than 1: a random network under guidance makes large latents.
    let size = f64::try_from(theirs.abs().max()).unwrap().max(1.0);
    let difference = difference(ours, theirs) / size;
    println!("{what}: {difference:.1e} of {size:.1}");
    assert!(difference < TOLERANCE, "{what} differs by {difference}");
}

#[test]
fn unets() {
    for name in ["unets/linear_lists", "unets/plain_mid", "models/painter/unet", "models/filler/unet"] {
        let dir = fixtures().join(name);
        let io = tensors(&dir.join("io.safetensors"));
        let outputs = probe::unet(&dir, &io["input"], &io["context"], &[1.0, 500.0, 981.0], Kind::Float).unwrap();
        for (time, output) in [1, 500, 981].iter().zip(&outputs) {
            assert_close(&format!("{name} at {time}"), output, &io[&format!("output_{time}")]);
        }
    }
}

#[test]
fn half_precision_stays_near() {
    let dir = fixtures().join("models/filler/unet");
    let io = tensors(&dir.join("io.safetensors"));
    for (kind, tolerance) in [(Kind::Half, 0.03), (Kind::BFloat16, 0.2)] {
        let outputs = probe::unet(&dir, &io["input"], &io["context"], &[500.0], kind).unwrap();
        let difference = difference(&outputs[0], &io["output_500"]);
        println!("{kind:?}: {difference:.1e}");
        assert!(difference < tolerance, "{kind:?} differs by {difference}");
    }
}

#[test]
fn autoencoders() {
    for name in ["vaes/groups32", "vaes/factor4_shifted", "models/painter/vae", "models/filler/vae"] {
        let dir = fixtures().join(name);
        let io = tensors(&dir.join("io.safetensors"));
        let (encoded, decoded) = probe::vae(&dir, &io["pixels"], &io["latents"]).unwrap();
        assert_close(&format!("{name} encode"), &encoded, &io["encoded"]);
        assert_close(&format!("{name} decode"), &decoded, &io["decoded"]);
        // Layer by layer, as large pictures go.
        let layers = probe::LoadedVae::load(&dir, (Tiling::Auto, 0)).unwrap();
        assert_close(&format!("{name} encode by layers"), &layers.encode(&io["pixels"]).unwrap(), &io["encoded"]);
        assert_close(&format!("{name} decode by layers"), &layers.decode(&io["latents"]).unwrap(), &io["decoded"]);
    }
}

#[test]
fn tiny_decoders() {
    let dir = fixtures().join("tiny");
    let io = tensors(&dir.join("io.safetensors"));
    for name in ["taesd", "taesd_decoder.safetensors"] {
        let decoded = probe::tiny(&dir.join(name), &io["latents"]).unwrap();
        assert_close(name, &decoded, &io["decoded"]);
    }
    // A file of another kind is no tiny decoder.
    for other in ["vaes/groups32/diffusion_pytorch_model.safetensors", "tiny/io.safetensors", "models/painter/unet"] {
        assert!(probe::tiny(&fixtures().join(other), &io["latents"]).is_err(), "{other}");
    }
}

#[test]
fn text_encoders_and_tokenizers() {
    for name in ["painter", "clip_gelu", "filler"] {
        let dir = fixtures().join("models").join(name);
        let expected = tensors(&dir.join("prompts.safetensors"));
        let list = json(&dir.join("prompts.json"));
        let prompts: Vec<&str> =
            list.as_array().unwrap().iter().map(|entry| entry["prompt"].as_str().unwrap()).collect();
        let encoded = probe::text(&dir, &prompts, Kind::Float).unwrap();
        for (i, (context, warnings)) in encoded.iter().enumerate() {
            assert_close(&format!("{name} {:?}", prompts[i]), context, &expected[&format!("context_{i}")]);
            let long = i + 1 == prompts.len();
            assert_eq!(warnings.iter().any(|w| w.contains("longer")), long, "{:?}: {warnings:?}", prompts[i]);
        }
    }
}

#[test]
fn lost_words_are_told() {
    let dir = fixtures().join("models/filler");
    let encoded = probe::text(&dir, &["a zebra at qqq lake", &"snowy lake, ".repeat(6)], Kind::Float).unwrap();
    assert!(
        encoded[0].1.iter().any(|w| w.contains("zebra") && w.contains("qqq") && !w.contains("lake")),
        "{:?}",
        encoded[0].1
    );
    assert!(encoded[1].1.iter().any(|w| w.contains("16 tokens") && w.contains("snowy lake")), "{:?}", encoded[1].1);
}

#[test]
fn schedules() {
    let dir = fixtures().join("schedules");
    let paths = tensors(&dir.join("paths.safetensors"));
    let scratch = tempfile::tempdir().unwrap();
    let config = scratch.path().join("scheduler_config.json");
    let mut worst = 0.0_f64;
    for case in json(&dir.join("cases.json")).as_array().unwrap() {
        std::fs::write(&config, case["config"].to_string()).unwrap();
        let (sampler, steps) = (case["sampler"].as_str().unwrap(), case["steps"].as_u64().unwrap() as usize);
        let label = format!("{sampler} {steps} {}", case["config"]);
        let given = probe::Given { outputs: &paths["outputs"], noises: &paths["outputs"] };
        let (times, path) = probe::sample(&config, (sampler, steps, 0), &paths["start"], given).unwrap();
        let expected: Vec<f64> = case["timesteps"].as_array().unwrap().iter().map(|t| t.as_f64().unwrap()).collect();
        assert_eq!(times, expected, "{label}");
        let theirs = &paths[case["path"].as_str().unwrap()];
        for (row, step) in [0, 1, steps / 2, steps - 2, steps - 1].into_iter().enumerate() {
            let theirs = theirs.narrow(0, row as i64, 1);
            // Python computes the levels in f32; where an output is divided by a small signal, the numbers grow large.
            let size = f64::try_from(theirs.abs().max()).unwrap().max(1.0);
            let difference = difference(&path[step], &theirs) / size;
            worst = worst.max(difference);
            assert!(difference < TOLERANCE, "{label}: step {step} differs by {difference}");
        }
    }
    println!("worst: {worst:.1e}");
}

/// Every sampler over several spacings, predictions and numbers of steps, from the beginning and starting late, with
/// given outputs of a network and given noise.
#[test]
fn samplers() {
    let dir = fixtures().join("samplers");
    let paths = tensors(&dir.join("paths.safetensors"));
    let given = probe::Given { outputs: &paths["outputs"], noises: &paths["noises"] };
    let scratch = tempfile::tempdir().unwrap();
    let config = scratch.path().join("scheduler_config.json");
    let mut worst = BTreeMap::<String, f64>::new();
    let mut missing: Vec<&str> = outframe_diffusion::SAMPLERS.to_vec();
    let list = json(&dir.join("cases.json"));
    for case in list["cases"].as_array().unwrap() {
        let count = |key: &str| case[key].as_u64().unwrap() as usize;
        let (sampler, steps, first) = (case["sampler"].as_str().unwrap(), count("steps"), count("first"));
        missing.retain(|name| *name != sampler);
        let settings = list["configs"][count("config")].to_string();
        std::fs::write(&config, &settings).unwrap();
        let label = format!("{sampler} {first}/{steps} {settings}");
        // Python starts from noise times its own factor, or from noise added to a picture.
        let (levels, factor) = probe::levels(&config, sampler, steps).unwrap();
        let (signal, spread) = levels[first];
        let start =
            if first == 0 { &paths["start"] * factor } else { &paths["picture"] * signal + &paths["start"] * spread };
        let (times, path) = probe::sample(&config, (sampler, steps, first), &start, given).unwrap();
        let expected: Vec<f64> = case["timesteps"].as_array().unwrap().iter().map(|t| t.as_f64().unwrap()).collect();
        assert_eq!(times.len(), expected.len(), "{label}");
        for (ours, theirs) in times.iter().zip(&expected) {
            assert!((ours - theirs).abs() < 2e-3, "{label}: {times:?} {expected:?}");
        }
        let theirs = &paths[case["path"].as_str().unwrap()];
        let taken = steps - first;
        for (row, step) in [0, 1, taken / 2, taken - 1].into_iter().enumerate() {
            let theirs = theirs.narrow(0, row as i64, 1);
            let size = f64::try_from(theirs.abs().max()).unwrap().max(1.0);
            let difference = difference(&path[step], &theirs) / size;
            let worst = worst.entry(sampler.to_owned()).or_default();
            *worst = worst.max(difference);
            // The cosine schedule ends at a sigma of 20000, where Python's f32 latents `picture + sigma * noise` of these
            // methods have few digits left for the picture.
            let exploding = ["euler", "heun"].contains(&sampler.split('-').next().unwrap());
            let tolerance = if exploding && settings.contains("squaredcos") { 1e-3 } else { TOLERANCE };
            assert!(difference < tolerance, "{label}: step {step} differs by {difference}");
        }
    }
    println!("{worst:?}");
    assert!(missing.is_empty(), "{missing:?}");
}

/// Python's own pipelines with every sampler, 20 steps from noise and 10 steps of img2img, where the fresh noise of the
/// stochastic ones is the engine's own, computed in Python, too.
#[test]
fn whole_loops_of_every_sampler() {
    let dir = fixtures().join("models/painter");
    let loops = tensors(&fixtures().join("samplers/loops.safetensors"));
    let pipeline = Pipeline::load(&dir, &LoadOptions::default()).unwrap();
    let numbers = outframe_diffusion::noise::normal(7, 0, outframe_diffusion::noise::Purpose::Start, 384);
    let noise = Tensor::from_slice(&numbers).view([1, 4, 8, 12]);
    let mut worst = 0.0_f64;
    let mut compare = |what: &str, ours: &Tensor| {
        let theirs = &loops[what];
        let size = f64::try_from(theirs.abs().max()).unwrap().max(1.0);
        let difference = difference(ours, theirs) / size;
        worst = worst.max(difference);
        assert!(difference < 1e-3, "{what} differs by {difference}");
    };
    let settings = |name: &str, steps| Sampling {
        seed: 7,
        ..sampling("a snowy lake at dusk", "the blue light", name, steps, 4.0)
    };
    for name in outframe_diffusion::SAMPLERS {
        let request = Generate { sampling: settings(name, 20), width: 24, height: 16, take: 0 };
        compare(&format!("generate_{name}"), &pipeline.generate_from_noise(&request, &noise).unwrap().0);
        for strength in [1.0, 0.63] {
            let request = Fill {
                sampling: settings(name, 10),
                image: picture(24, 16),
                mask: right_of(0, 24, 16),
                strength,
                walk: Walk::Shorter,
                take: 0,
            };
            let (latents, _) = pipeline.fill_from_noise(&request, &noise).unwrap();
            compare(&format!("img2img_{name}_{strength:?}"), &latents);
        }
    }
    let sampling = Sampling { guidance_rescale: 0.7, ..settings("ddim", 10) };
    let request = Generate { sampling, width: 24, height: 16, take: 0 };
    compare("rescaled", &pipeline.generate_from_noise(&request, &noise).unwrap().0);
    println!("worst: {worst:.1e}");
}

/// Long, weighted and broken prompts against transformers.
#[test]
fn contexts() {
    let expected = tensors(&fixtures().join("prompts/contexts.safetensors"));
    for case in json(&fixtures().join("prompts/cases.json")).as_array().unwrap() {
        let (name, prompt) = (case["name"].as_str().unwrap(), case["prompt"].as_str().unwrap());
        let count = |key: &str| case[key].as_u64().unwrap() as usize;
        for model in ["painter", "clip_gelu", "filler"] {
            let dir = fixtures().join("models").join(model);
            let context = probe::context(&dir, prompt, count("skip"), count("least")).unwrap();
            assert_close(&format!("{model} {name}"), &context, &expected[&format!("{model}_{name}")]);
        }
    }
}

/// A prompt that changes over the steps, and a negative prompt of another length.
#[test]
fn prompts_that_change_and_lengths_that_differ() {
    let pipeline = Pipeline::load(&fixtures().join("models/painter"), &LoadOptions::default()).unwrap();
    let paint = |prompt: &str, negative: &str| {
        let sampling = sampling(prompt, negative, "euler", 4, 3.0);
        let request = Generate { sampling, width: 16, height: 16, take: 0 };
        pipeline.generate(&request, &mut |_| ControlFlow::Continue(())).unwrap().image
    };
    let plain = paint("a lake", "");
    assert_eq!(paint("a [lake:dusk:9]", ""), plain);
    assert_eq!(paint("a [dusk|lake|light]", ""), paint("a [dusk|lake|light]", ""));
    assert_ne!(paint("a [lake:dusk:2]", ""), plain);
    assert_ne!(paint("a (lake:1.5)", ""), plain);
    assert_eq!(paint("a (lake:1.0)", ""), plain);
    let long = "snowy mountains and the blue lake, ".repeat(6);
    assert_ne!(paint("a lake", &long), plain);
    assert_ne!(paint(&long, "a lake"), plain);
}

/// The fixtures' picture.
fn picture(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        Rgb([(x * 255 / width) as u8, (y * 255 / height) as u8, if x > width / 3 { 200 } else { 40 }])
    })
}

fn right_of(edge: u32, width: u32, height: u32) -> GrayImage {
    GrayImage::from_fn(width, height, |x, _| Luma([if x < edge { 0 } else { 255 }]))
}

fn sampling(prompt: &str, negative: &str, sampler: &str, steps: u32, guidance: f64) -> Sampling {
    Sampling {
        prompt: prompt.to_owned(),
        negative: negative.to_owned(),
        steps,
        guidance,
        sampler: sampler.to_owned(),
        seed: 0,
        preview: false,
        clip_skip: 0,
        guidance_rescale: 0.0,
    }
}

#[test]
fn whole_paintings_with_four_channels() {
    let dir = fixtures().join("models/painter");
    let loops = tensors(&dir.join("loops.safetensors"));
    let pipeline = Pipeline::load(&dir, &LoadOptions::default()).unwrap();
    for name in ["ddim", "dpmpp-2m"] {
        let sampling = sampling("a snowy lake at dusk", "the blue light", name, 10, 4.0);
        let request = Generate { sampling: sampling.clone(), width: 24, height: 16, take: 0 };
        let (latents, image) = pipeline.generate_from_noise(&request, &loops["noise"]).unwrap();
        assert_close(&format!("generate {name}"), &latents, &loops[&format!("generate_{name}")]);
        let theirs = ((&loops[&format!("pixels_{name}")] + 1.0) * 127.5).round().clamp(0.0, 255.0);
        let ours = Tensor::from_slice(image.as_raw()).view([1, 16, 24, 3]).permute([0, 3, 1, 2]);
        assert!(difference(&ours, &theirs) <= 1.0, "pixels of {name}");
        for strength in [1.0, 0.5] {
            let request = Fill {
                sampling: Sampling { steps: 8, guidance: 3.0, ..sampling.clone() },
                image: picture(24, 16),
                mask: right_of(14, 24, 16),
                strength,
                walk: Walk::Finer,
                take: 0,
            };
            let (latents, _) = pipeline.fill_from_noise(&request, &loops["noise"]).unwrap();
            assert_close(&format!("fill {name} {strength}"), &latents, &loops[&format!("fill_{name}_{strength:.1}")]);
        }
    }
}

#[test]
fn whole_paintings_with_nine_channels() {
    let dir = fixtures().join("models/filler");
    let loops = tensors(&dir.join("loops.safetensors"));
    let pipeline = Pipeline::load(&dir, &LoadOptions::default()).unwrap();
    for name in ["ddim", "dpmpp-2m"] {
        let sampling = sampling("the blue mountains, and the sunsets.", "", name, 10, 3.0);
        let request = Generate { sampling: sampling.clone(), width: 48, height: 32, take: 0 };
        let (latents, _) = pipeline.generate_from_noise(&request, &loops["noise"]).unwrap();
        assert_close(&format!("generate {name}"), &latents, &loops[&format!("generate_{name}")]);
        for strength in [1.0, 0.7] {
            let request = Fill {
                sampling: Sampling { guidance: 2.0, ..sampling.clone() },
                image: picture(48, 32),
                mask: right_of(28, 48, 32),
                strength,
                walk: Walk::Finer,
                take: 0,
            };
            let (latents, _) = pipeline.fill_from_noise(&request, &loops["noise"]).unwrap();
            assert_close(&format!("fill {name} {strength}"), &latents, &loops[&format!("fill_{name}_{strength:.1}")]);
        }
    }
}

#[test]
fn the_starter_itself() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/starter");
    let loops = tensors(&fixtures().join("models/starter/loops.safetensors"));
    let pipeline = Pipeline::load(&model, &LoadOptions::default()).unwrap();
    let prompt = "snowy mountains at sunset, clear sky";
    let sampling = sampling(prompt, "", "dpmpp-2m", 12, 3.0);
    let context = &probe::text(&model, &[prompt], Kind::Float).unwrap()[0].0;
    assert_close("context", context, &loops["context"]);
    let request = Generate { sampling: sampling.clone(), width: 192, height: 128, take: 0 };
    let (latents, image) = pipeline.generate_from_noise(&request, &loops["noise"]).unwrap();
    assert_close("generate", &latents, &loops["generate_dpmpp-2m"]);
    let pixels = Tensor::from_slice(image.as_raw()).view([128, 192, 3]).to_kind(Kind::Float) / 127.5 - 1.0;
    let mean = pixels.mean_dim([0_i64, 1].as_slice(), false, Kind::Float).view([1, 3]);
    assert!(difference(&mean, &loops["pixels_mean"]) < 0.01);
    let fill = Fill {
        sampling: Sampling { guidance: 2.0, ..sampling },
        image: picture(192, 128),
        mask: right_of(96, 192, 128),
        strength: 0.7,
        walk: Walk::Finer,
        take: 0,
    };
    let (latents, _) = pipeline.fill_from_noise(&fill, &loops["noise"]).unwrap();
    assert_close("fill", &latents, &loops["fill_dpmpp-2m_0.7"]);
}

/// The observer sees every step, and stops the work at once.
#[test]
fn progress_and_cancel() {
    let pipeline = Pipeline::load(&fixtures().join("models/painter"), &LoadOptions::default()).unwrap();
    let mut sampling = sampling("a lake", "", "ddim", 6, 3.0);
    sampling.preview = true;
    let request = Generate { sampling, width: 16, height: 16, take: 0 };
    let mut seen = Vec::new();
    pipeline
        .generate(&request, &mut |progress| {
            assert_eq!(progress.steps, 6);
            seen.push((progress.step, progress.preview.map(RgbImage::dimensions)));
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(seen[0], (0, None));
    assert_eq!(seen[6], (6, Some((8, 8))));
    assert_eq!(seen.len(), 7);
    for stop in [0, 1, 4] {
        let mut last = 0;
        let result = pipeline.generate(&request, &mut |progress| {
            last = progress.step;
            if progress.step == stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(matches!(result, Err(outframe_diffusion::Error::Cancelled)));
        assert_eq!(last, stop);
    }
}
