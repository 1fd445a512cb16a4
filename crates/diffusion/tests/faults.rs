//! Damaged, incomplete and hostile models, and requests that make no sense: each ends in an error that names its cause.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test fail it")]

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use image::{GrayImage, Luma, Rgb, RgbImage};
use outframe_diffusion::{
    DeviceChoice, Error, Fill, Generate, LoadOptions, Output, Pipeline, Precision, Sampling, Walk, inspect,
    weights_hash,
};
use serde_json::{Value, json};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/parity/fixtures/models").join(name)
}

/// A copy of a tiny model that may be damaged.
fn copy(name: &str) -> tempfile::TempDir {
    fn all(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let target = to.join(entry.file_name());
            if entry.path().is_dir() {
                all(&entry.path(), &target);
            } else {
                std::fs::copy(entry.path(), target).unwrap();
            }
        }
    }
    let dir = tempfile::tempdir().unwrap();
    all(&fixture(name), dir.path());
    dir
}

fn edit(path: &Path, key: &str, value: Value) {
    let mut config: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    config[key] = value;
    std::fs::write(path, config.to_string()).unwrap();
}

fn load(dir: &Path) -> Result<Pipeline, Error> {
    Pipeline::load(dir, &LoadOptions::default())
}

/// Loading must fail with a message that holds all of `words`.
fn refused(dir: &Path, words: &[&str]) -> Error {
    let error = load(dir).err().unwrap_or_else(|| panic!("loaded, but {words:?} was expected"));
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
    assert!(!matches!(error, Error::Internal { .. }), "{text}");
    error
}

#[test]
fn configurations_that_are_not_supported_are_named() {
    for (file, key, value) in [
        ("unet/config.json", "addition_embed_type", json!("image")),
        ("unet/config.json", "act_fn", json!("mish")),
        ("unet/config.json", "block_out_channels", json!([30, 32])),
        ("unet/config.json", "block_out_channels", json!([])),
        ("unet/config.json", "down_block_types", json!(["DownBlock2D", "AttnDownBlock2D"])),
        ("unet/config.json", "in_channels", json!(5)),
        ("unet/config.json", "out_channels", json!(8)),
        ("unet/config.json", "attention_head_dim", json!(5)),
        ("unet/config.json", "cross_attention_dim", json!(-3)),
        ("unet/config.json", "class_embed_type", json!("timestep")),
        ("unet/config.json", "layers_per_block", json!([1, 1, 1])),
        ("unet/config.json", "norm_num_groups", Value::Null),
        ("vae/config.json", "latent_channels", json!(1_000_000)),
        ("vae/config.json", "scaling_factor", json!(0)),
        ("vae/config.json", "down_block_types", json!(["DownEncoderBlock2D"])),
        ("vae/config.json", "latents_mean", json!([1, 2, 3, 4])),
        ("scheduler/scheduler_config.json", "beta_schedule", json!("sigmoid")),
        ("scheduler/scheduler_config.json", "prediction_type", json!("flow")),
        ("text_encoder/config.json", "model_type", json!("t5")),
        ("text_encoder/config.json", "hidden_act", json!("relu")),
        ("text_encoder/config.json", "num_attention_heads", json!(7)),
        ("text_encoder/config.json", "vocab_size", json!(10)),
        ("model_index.json", "tokens", json!(1000)),
        ("model_index.json", "text_encoder_3", json!(["transformers", "T5EncoderModel"])),
        ("model_index.json", "transformer", json!(["diffusers", "SD3Transformer2DModel"])),
    ] {
        let dir = copy("painter");
        edit(&dir.path().join(file), key, value);
        let file_name = Path::new(file).file_name().unwrap().to_str().unwrap();
        refused(dir.path(), &[file_name, key]);
    }
}

#[test]
fn weights_that_do_not_fit_the_configuration_are_named() {
    let dir = copy("painter");
    edit(&dir.path().join("unet/config.json"), "layers_per_block", json!(2));
    assert!(matches!(refused(dir.path(), &["down_blocks.0.resnets.1"]), Error::MissingTensor { .. }));

    let dir = copy("painter");
    edit(&dir.path().join("unet/config.json"), "block_out_channels", json!([32, 64]));
    assert!(matches!(refused(dir.path(), &["[32"]), Error::TensorShape { .. } | Error::MissingTensor { .. }));

    let dir = copy("painter");
    edit(&dir.path().join("unet/config.json"), "mid_block_type", json!("UNetMidBlock2D"));
    assert!(matches!(refused(dir.path(), &["mid_block.attentions"]), Error::UnexpectedTensors { .. }));

    // Channels that would need terabytes are refused before any memory is asked for.
    let dir = copy("painter");
    edit(&dir.path().join("vae/config.json"), "block_out_channels", json!([1_048_576, 1_048_576]));
    refused(dir.path(), &["1048576"]);
}

#[test]
fn damaged_files_are_named() {
    for part in ["unet", "vae", "text_encoder"] {
        let dir = copy("painter");
        let file = std::fs::read_dir(dir.path().join(part))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| path.extension().is_some_and(|e| e == "safetensors") && !path.ends_with("io.safetensors"))
            .unwrap();
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        let good = std::fs::read(&file).unwrap();
        std::fs::write(&file, &good[..good.len() / 2]).unwrap();
        refused(dir.path(), &[&name, "incomplete"]);
        std::fs::write(&file, "I am text").unwrap();
        refused(dir.path(), &[&name]);
        std::fs::rename(&file, file.with_extension("bin")).unwrap();
        refused(dir.path(), &["safetensors"]);
    }
    for file in ["model_index.json", "unet/config.json", "tokenizer/vocab.json", "tokenizer/merges.txt"] {
        let dir = copy("painter");
        std::fs::remove_file(dir.path().join(file)).unwrap();
        let error = load(dir.path()).unwrap_err().to_string();
        assert!(error.contains(Path::new(file).file_stem().unwrap().to_str().unwrap()), "{error}");
        std::fs::write(dir.path().join(file), [0xff, 0xfe, 0x00]).unwrap();
        assert!(load(dir.path()).is_err(), "{file}");
    }
    let dir = copy("filler");
    std::fs::write(dir.path().join("tokenizer/tokenizer.json"), "{}").unwrap();
    refused(dir.path(), &["tokenizer"]);
    // A token number beyond the network's table would end in a GPU fault.
    let dir = copy("filler");
    let file = dir.path().join("tokenizer/tokenizer.json");
    let text = std::fs::read_to_string(&file).unwrap();
    let (before, after) = text.split_once("\"dusk\": 10").unwrap();
    std::fs::write(&file, format!("{before}\"dusk\": 4000000000{after}")).unwrap();
    refused(dir.path(), &["vocab_size"]);
    // Without begin and end tokens an empty prompt has none at all.
    let dir = copy("filler");
    edit(&dir.path().join("tokenizer/tokenizer.json"), "post_processor", Value::Null);
    let pipeline = load(dir.path()).unwrap();
    let request = Generate { sampling: sampling(), width: 16, height: 16, take: 0 };
    assert!(matches!(paint(&pipeline, &request), Err(Error::Tokenizer { .. })));
    assert!(load(Path::new("/nowhere")).unwrap_err().to_string().contains("/nowhere"));
}

fn sampling() -> Sampling {
    Sampling {
        prompt: "a lake".to_owned(),
        negative: String::new(),
        steps: 2,
        guidance: 3.0,
        sampler: "dpmpp-2m".to_owned(),
        seed: 5,
        preview: false,
        clip_skip: 0,
        guidance_rescale: 0.0,
    }
}

fn paint(pipeline: &Pipeline, request: &Generate) -> Result<Output, Error> {
    pipeline.generate(request, &mut |_| ControlFlow::Continue(()))
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let pipeline = load(&fixture("painter")).unwrap();
    assert_eq!(pipeline.size_multiple(), 2);
    let good = Generate { sampling: sampling(), width: 16, height: 16, take: 0 };
    assert!(paint(&pipeline, &good).is_ok());
    let with = |change: &dyn Fn(&mut Generate)| {
        let mut request = good.clone();
        change(&mut request);
        match paint(&pipeline, &request) {
            Err(error @ (Error::Request(_) | Error::Unknown { .. })) => error.to_string(),
            other => panic!("{other:?}"),
        }
    };
    assert!(with(&|r| r.width = 15).contains("15"));
    assert!(with(&|r| r.height = 0).contains("height"));
    assert!(with(&|r| r.width = 1 << 20).contains("8192"));
    assert!(with(&|r| r.sampling.steps = 0).contains("steps"));
    assert!(with(&|r| r.sampling.steps = 100_000).contains("999"));
    assert!(with(&|r| r.sampling.guidance = f64::NAN).contains("guidance"));
    assert!(with(&|r| r.sampling.guidance = -1.0).contains("guidance"));
    assert!(with(&|r| r.sampling.sampler = "magic".to_owned()).contains("magic"));
    assert!(with(&|r| r.sampling.prompt = "x".repeat(200_000)).contains("prompt"));

    let fill = Fill {
        sampling: sampling(),
        image: RgbImage::new(16, 16),
        mask: GrayImage::new(16, 14),
        strength: 0.5,
        walk: Walk::Finer,
        take: 0,
    };
    let error = pipeline.fill(&fill, &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert!(error.to_string().contains("16x14"), "{error}");
    for strength in [-0.1, 1.1, f64::NAN] {
        let fill = Fill { mask: GrayImage::new(16, 16), strength, ..fill.clone() };
        assert!(matches!(pipeline.fill(&fill, &mut |_| ControlFlow::Continue(())), Err(Error::Request(_))));
    }
}

#[test]
fn the_device_must_exist() {
    let options = LoadOptions { device: DeviceChoice::Cuda(40), ..LoadOptions::default() };
    let error = Pipeline::load(&fixture("painter"), &options).unwrap_err();
    assert!(matches!(error, Error::Device { .. }), "{error}");
}

#[test]
fn a_seed_and_a_take_give_the_same_picture_again() {
    let pipeline = load(&fixture("painter")).unwrap();
    let request = Generate { sampling: sampling(), width: 16, height: 24, take: 3 };
    let first = paint(&pipeline, &request).unwrap().image;
    assert_eq!(first.dimensions(), (16, 24));
    assert_eq!(first, paint(&pipeline, &request).unwrap().image);
    let again = load(&fixture("painter")).unwrap();
    assert_eq!(first, paint(&again, &request).unwrap().image);
    assert_ne!(first, paint(&pipeline, &Generate { take: 4, ..request.clone() }).unwrap().image);
    let unguided = Generate { sampling: Sampling { guidance: 1.0, ..sampling() }, ..request };
    assert_ne!(first, paint(&pipeline, &unguided).unwrap().image);
}

#[test]
fn a_fill_keeps_what_is_known() {
    for name in ["painter", "filler"] {
        let pipeline = load(&fixture(name)).unwrap();
        let image = RgbImage::from_fn(32, 32, |x, y| Rgb([(x * 8) as u8, (y * 8) as u8, 90]));
        let fill = |mask: &dyn Fn(u32, u32) -> u8, strength: f64| {
            let mask = GrayImage::from_fn(32, 32, |x, y| Luma([mask(x, y)]));
            let request =
                Fill { sampling: sampling(), image: image.clone(), mask, strength, walk: Walk::Finer, take: 0 };
            pipeline.fill(&request, &mut |_| ControlFlow::Continue(())).unwrap().image
        };
        let untouched = fill(&|_, _| 0, 1.0);
        assert_eq!(untouched, fill(&|_, _| 255, 0.0), "{name}: no mask is no strength");
        assert_ne!(untouched, fill(&|_, _| 255, 1.0));
        // A single painted pixel is enough for its latent to be painted, also off the corner that nearest-neighbour
        // scaling would look at.
        assert_ne!(untouched, fill(&|x, y| if (x, y) == (13, 13) { 255 } else { 0 }, 1.0), "{name}");
        // Grey masks are painted less.
        let change = |other: &RgbImage| -> u64 {
            untouched.as_raw().iter().zip(other.as_raw()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum()
        };
        let (none, all) = (change(&untouched), change(&fill(&|_, _| 255, 1.0)));
        let grey = change(&fill(&|_, _| 140, 1.0));
        assert!(none == 0 && grey > 0 && all > 0, "{name}: {none} {grey} {all}");
    }
}

#[test]
fn half_precision_paints_the_same_motif() {
    let request = Generate { sampling: sampling(), width: 16, height: 16, take: 0 };
    let mean = |precision: Precision| {
        let options = LoadOptions { precision, threads: Some(1), ..LoadOptions::default() };
        let pipeline = Pipeline::load(&fixture("filler"), &options).unwrap();
        let image = paint(&pipeline, &request).unwrap().image;
        image.as_raw().iter().map(|&v| f64::from(v)).sum::<f64>() / image.as_raw().len() as f64
    };
    let full = mean(Precision::Auto);
    assert!((mean(Precision::F16) - full).abs() < 3.0);
    assert!((mean(Precision::Bf16) - full).abs() < 10.0);
}

#[test]
fn inspecting_tells_what_loading_finds() {
    let info = inspect(&fixture("filler")).unwrap();
    assert_eq!((info.in_channels, info.latent_channels, info.vae_factor), (9, 4, 4));
    assert_eq!((info.native_size, info.token_limit), (32, 16));
    assert_eq!(info.prediction, "v_prediction");
    assert_eq!(info.name, "filler");
    assert_eq!(&info, load(&fixture("filler")).unwrap().info());
    assert!(info.weight_bytes > 100_000);
    let back: outframe_diffusion::ModelInfo = serde_json::from_str(&serde_json::to_string(&info).unwrap()).unwrap();
    assert_eq!(back, info);
    assert_eq!(weights_hash(&fixture("filler")).unwrap().len(), 64);

    let dir = copy("filler");
    let stamp = || outframe_diffusion::weights_stamp(dir.path()).unwrap();
    let before = stamp();
    assert_eq!(before, stamp());
    let file = before[0].0.clone();
    std::fs::write(&file, [std::fs::read(&file).unwrap(), vec![0]].concat()).unwrap();
    assert_ne!(before, stamp());

    let starter = inspect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/starter")).unwrap();
    assert_eq!(starter.family, "starter (MiniLM)");
    assert_eq!((starter.native_size, starter.token_limit, starter.in_channels), (256, 32, 9));
    assert_eq!(starter.defaults.sampler, "dpmpp-2m");

    let dir = copy("painter");
    std::fs::write(dir.path().join("outframe.json"), r#"{"sampler": "magic"}"#).unwrap();
    assert!(inspect(dir.path()).unwrap_err().to_string().contains("magic"));
}
