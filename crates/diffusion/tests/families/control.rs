//! `ControlNet` and networks that are told the guidance scale, compared with Python diffusers; see
//! `tests/parity/make_fixtures_control.py`.

use std::path::{Path, PathBuf};

use image::{GrayImage, Luma, Rgb, RgbImage};
use outframe_diffusion::{Control, Error, Fill, Generate, LoadOptions, Pipeline, Sampling, Walk, inspect, probe};
use serde_json::{Value, json};
use tch::{Kind, Tensor};

use super::{NEGATIVE, Tensors, close, folder, formula, repository, sampling, write};

fn fixture(name: &str) -> PathBuf {
    repository().join("tests/parity/fixtures/control").join(name)
}

fn expected(name: &str) -> Tensors {
    Tensor::read_safetensors(fixture(name).join("io.safetensors")).unwrap().into_iter().collect()
}

/// The pictures of the fixtures.
fn drawing(width: u32, height: u32, seed: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let (dx, dy) = (i64::from(x) - i64::from(width / 2), i64::from(y) - i64::from(height / 2));
        let disc = (dx * dx + dy * dy) * 9 < i64::from(width.min(height)).pow(2);
        Rgb([
            ((x * 255 / width + seed * 40) % 256) as u8,
            if disc { 220 } else { (y * 255 / height) as u8 },
            if (x / 9 + y / 7 + seed).is_multiple_of(3) { 255 } else { 30 },
        ])
    })
}

/// A control network of the fixtures and its tensors.
struct Net {
    config: Value,
    tensors: Vec<(String, Tensor)>,
    /// The same under the original names.
    original: Vec<(String, Tensor)>,
}

impl Net {
    fn of(family: &str, name: &str) -> Self {
        let text = std::fs::read(fixture(family).join("case.json")).unwrap();
        let case: Value = serde_json::from_slice::<Value>(&text).unwrap()[name].take();
        let shape = |key: &str| -> Vec<i64> {
            case["shapes"][key].as_array().unwrap().iter().map(|n| n.as_i64().unwrap()).collect()
        };
        let tensor = |key: &str| formula(&format!("{name}/{key}"), &shape(key));
        let keys = case["shapes"].as_object().unwrap().keys();
        let tensors = keys.map(|key| (key.clone(), tensor(key))).collect();
        let names = case["ldm"].as_object().unwrap();
        let original = names.iter().map(|(from, to)| (from.clone(), tensor(to.as_str().unwrap()))).collect();
        Self { config: case["config"].clone(), tensors, original }
    }

    /// A folder in the diffusers layout.
    fn folder(&self, dir: &Path) -> PathBuf {
        let path = dir.join("folder");
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("config.json"), self.config.to_string()).unwrap();
        write(&path.join("diffusion_pytorch_model.safetensors"), &self.tensors, Kind::Float);
        path
    }

    /// One file with the names of diffusers.
    fn file(&self, dir: &Path) -> PathBuf {
        let path = dir.join("control.safetensors");
        write(&path, &self.tensors, Kind::Float);
        path
    }

    /// One file with the original names, behind a prefix and beside other parts, or bare.
    fn original(&self, dir: &Path, prefix: &str) -> PathBuf {
        let path = dir.join("control_original.safetensors");
        let mut tensors: Vec<_> =
            self.original.iter().map(|(k, t)| (format!("{prefix}{k}"), t.shallow_clone())).collect();
        if !prefix.is_empty() {
            let more = ["model.diffusion_model.out.2.weight", "first_stage_model.x", "cond_stage_model.y"];
            tensors.extend(more.map(|name| (name.to_owned(), Tensor::ones([3], tch::kind::FLOAT_CPU))));
        }
        write(&path, &tensors, Kind::Float);
        path
    }
}

/// Both networks of the loops, with what `make_fixtures_control.py` asks of them.
fn two(first: PathBuf, second: PathBuf) -> [Control; 2] {
    [
        Control { path: first, image: drawing(70, 50, 1), scale: 0.8, start: 0.0, end: 0.65 },
        Control { path: second, image: drawing(30, 40, 2), scale: 0.5, start: 0.25, end: 1.0 },
    ]
}

fn whole(path: &Path) -> Control {
    Control { path: path.to_path_buf(), image: drawing(70, 50, 1), scale: 1.0, start: 0.0, end: 1.0 }
}

fn paint(model: &Pipeline, noise: &Tensor) -> Tensor {
    let request = Generate { sampling: sampling("ddim", NEGATIVE, 4.0), width: 48, height: 32, take: 0 };
    model.generate_from_noise(&request, noise).unwrap().0
}

fn noise() -> Tensor {
    super::expected("sdxl").remove("noise").unwrap()
}

/// The picture of the fills.
fn scene() -> RgbImage {
    RgbImage::from_fn(48, 32, |x, y| Rgb([(x * 255 / 48) as u8, (y * 255 / 32) as u8, if x > 16 { 200 } else { 40 }]))
}

/// Single runs in each layout against diffusers.
fn forwards(family: &str, names: &[&str], unet: &probe::LoadedUNet) {
    let io = expected(family);
    let added = io.get("pooled").map(|pooled| (pooled, [32.0, 48.0, 0.0, 0.0, 32.0, 48.0]));
    for name in names {
        let dir = tempfile::tempdir().unwrap();
        let net = Net::of(family, name);
        let mut layouts = vec![net.folder(dir.path())];
        // What the reversed colours and the averaging are told by is in config.json alone.
        if net.config["controlnet_conditioning_channel_order"] == "rgb" && net.config["global_pool_conditions"] == false
        {
            layouts.push(net.file(dir.path()));
            if *name != "small" {
                layouts.push(net.original(dir.path(), "control_model."));
            }
        }
        for path in layouts {
            let by = probe::Steered { path: &path, pixels: &io["pixels"], scale: 0.7, factor: 2 };
            let (residuals, output) = unet.steered(by, (&io["input"], 500.0), (&io["context"], added)).unwrap();
            for (i, residual) in residuals.iter().enumerate() {
                let what = format!("{family} {name} {i} of {}", path.file_name().unwrap().display());
                let theirs = &io[&format!("{name}_residual_{i}")];
                close(&what, &residual.expand_as(theirs), theirs, 1e-4);
            }
            assert!(!io.contains_key(&format!("{name}_residual_{}", residuals.len())));
            close(&format!("{family} {name} output"), &output, &io[&format!("{name}_output")], 1e-4);
        }
    }
}

fn load_unet(model: &Path) -> probe::LoadedUNet {
    probe::LoadedUNet::load(&model.join("unet"), Kind::Float).unwrap()
}

#[test]
fn sd_1_is_steered() {
    let dir = folder("sd1", Kind::Float);
    forwards("sd1", &["edges", "depth", "shuffle"], &load_unet(dir.path()));

    let mut model = Pipeline::load(dir.path(), &LoadOptions::default()).unwrap();
    let (io, noise) = (expected("sd1"), noise());
    let plain = paint(&model, &noise);
    let [edges, depth, shuffle] = ["edges", "depth", "shuffle"].map(|name| {
        let dir = tempfile::tempdir().unwrap();
        let path = Net::of("sd1", name).folder(dir.path());
        (dir, path)
    });
    model.set_controls(&[whole(&edges.1)]).unwrap();
    let one = paint(&model, &noise);
    close("one", &one, &io["generate_one"], 1e-3);
    assert!(f64::try_from((&one - &plain).abs().max()).unwrap() > 0.1, "it steers");
    model.set_controls(&two(edges.1.clone(), depth.1)).unwrap();
    close("two", &paint(&model, &noise), &io["generate_two"], 1e-3);

    let sampling = Sampling { guidance: 3.0, ..sampling("ddim", NEGATIVE, 3.0) };
    let mask = GrayImage::from_pixel(48, 32, Luma([255]));
    let request = Fill { sampling, image: scene(), mask, strength: 0.6, walk: Walk::Shorter, take: 0 };
    let (latents, _) = model.fill_from_noise(&request, &noise).unwrap();
    close("img2img", &latents, &io["img2img_two"], 1e-3);

    model.set_controls(&[whole(&shuffle.1)]).unwrap();
    close("averaged", &paint(&model, &noise), &io["generate_shuffle"], 1e-3);
    // Without any it is as before, bit for bit; and those in files that are told by their tensors give the same.
    model.set_controls(&[]).unwrap();
    assert!(paint(&model, &noise).equal(&plain));
    let bare = Net::of("sd1", "edges").original(edges.0.path(), "");
    model.set_controls(&[whole(&bare)]).unwrap();
    close("original names", &paint(&model, &noise), &one, 1e-6);
    // Not at all, and out of reach, is as without.
    model.set_controls(&[Control { scale: 0.0, ..whole(&bare) }]).unwrap();
    assert!(paint(&model, &noise).equal(&plain));
    model.set_controls(&[Control { start: 0.96, ..whole(&bare) }]).unwrap();
    assert!(paint(&model, &noise).equal(&plain));
    // A fill with 4 channels keeps what is known and is steered elsewhere.
    let mask = GrayImage::from_fn(48, 32, |x, _| Luma([if x < 28 { 0 } else { 255 }]));
    let request = Fill { mask, strength: 1.0, walk: Walk::Finer, ..request };
    let mut fill = |controls: &[Control]| {
        model.set_controls(controls).unwrap();
        model.fill_from_noise(&request, &noise).unwrap().0
    };
    let (free, led) = (fill(&[]), fill(&[whole(&bare)]));
    assert!(free.narrow(3, 0, 14).equal(&led.narrow(3, 0, 14)));
    assert!(f64::try_from((free - led).abs().max()).unwrap() > 0.1);
}

#[test]
fn sdxl_is_steered() {
    let dir = folder("sdxl", Kind::Float);
    forwards("sdxl", &["edges", "small"], &load_unet(dir.path()));
    let (io, noise) = (expected("sdxl"), noise());
    let scratch = tempfile::tempdir().unwrap();
    let edges = Net::of("sdxl", "edges").original(scratch.path(), "control_model.");
    let small = Net::of("sdxl", "small").folder(scratch.path());
    let controls = two(edges, small);
    let mut model = Pipeline::load(dir.path(), &LoadOptions::default()).unwrap();
    model.set_controls(&controls).unwrap();
    close("two", &paint(&model, &noise), &io["generate_two"], 1e-3);

    // Nine channels: the networks see the latents alone.
    let dir = folder("sdxl_inpaint", Kind::Float);
    let mut model = Pipeline::load(dir.path(), &LoadOptions::default()).unwrap();
    model.set_controls(&controls).unwrap();
    close("fill", &super::fill(&model, &noise), &io["fill_two"], 1e-3);
}

fn refused(model: &mut Pipeline, path: &Path, words: &[&str]) {
    let error = model.set_controls(&[whole(path)]).unwrap_err();
    assert!(!matches!(error, Error::Internal { .. } | Error::Torch { .. }), "{error}");
    println!("{error}");
    for word in words {
        assert!(error.to_string().contains(word), "`{word}` is not in: {error}");
    }
}

#[test]
fn what_does_not_fit_is_refused_in_words() {
    let (sd1, sdxl) = (folder("sd1", Kind::Float), folder("sdxl", Kind::Float));
    let mut model = Pipeline::load(sd1.path(), &LoadOptions::default()).unwrap();
    let mut large = Pipeline::load(sdxl.path(), &LoadOptions::default()).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let dir = |name: &str| {
        let path = scratch.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    };
    // Another family, in each layout.
    let other = Net::of("sdxl", "edges");
    for path in [other.folder(&dir("a")), other.file(&dir("a")), other.original(&dir("a"), "control_model.")] {
        refused(&mut model, &path, &["made for SDXL", "this model is", "own family"]);
    }
    let own = Net::of("sd1", "edges");
    for path in [own.folder(&dir("b")), own.file(&dir("b")), own.original(&dir("b"), "")] {
        refused(&mut large, &path, &["this model is SDXL"]);
    }
    // The cross-attention's width alone.
    let mut net = Net::of("sd1", "edges");
    net.config["cross_attention_dim"] = json!(48);
    for (_, tensor) in
        net.tensors.iter_mut().filter(|(name, _)| name.contains("attn2.to_k") || name.contains("attn2.to_v"))
    {
        *tensor = tensor.narrow(1, 0, 48);
    }
    for path in [net.folder(&dir("c")), net.file(&dir("c"))] {
        refused(&mut model, &path, &["prompts of 48 numbers", "prompts of 64 numbers"]);
    }
    // Missing, incomplete, damaged, of another kind.
    refused(&mut model, &scratch.path().join("gone.safetensors"), &["could not read", "gone.safetensors"]);
    refused(&mut model, &dir("empty"), &["diffusion_pytorch_model.safetensors"]);
    let mut net = Net::of("sd1", "edges");
    net.tensors.retain(|(name, _)| name != "controlnet_down_blocks.2.bias");
    refused(&mut model, &net.file(&dir("d")), &["lacks", "controlnet_down_blocks.2.bias", "incomplete"]);
    let mut net = Net::of("sd1", "edges");
    net.tensors.retain(|(name, _)| !name.starts_with("down_blocks"));
    refused(&mut model, &net.file(&dir("e")), &["down_blocks.0", "incomplete"]);
    let mut net = Net::of("sd1", "edges");
    net.original.push(("extra.weight".to_owned(), Tensor::ones([2], tch::kind::FLOAT_CPU)));
    refused(&mut model, &net.original(&dir("f"), ""), &["extra.weight"]);
    let mut net = Net::of("sd1", "edges");
    net.config["conditioning_channels"] = json!(1_i64 << 40);
    refused(&mut model, &net.folder(&dir("g")), &["conditioning_channels", "3"]);
    let mut net = Net::of("sd1", "edges");
    net.config["block_out_channels"] = json!([1 << 20, 1 << 20]);
    net.config["conditioning_embedding_out_channels"] = json!([1 << 20, 1 << 20]);
    refused(&mut model, &net.folder(&dir("h")), &["1048576"]);
    let mut net = Net::of("sd1", "edges");
    net.config["_class_name"] = json!("ControlNetUnionModel");
    refused(&mut model, &net.folder(&dir("i")), &["ControlNetUnionModel"]);
    let mut net = Net::of("sd1", "edges");
    net.config["conditioning_embedding_out_channels"] = json!([16, 16, 32]);
    let square = |a: i64, b: i64| Tensor::ones([b, a, 3, 3], tch::kind::FLOAT_CPU);
    for (name, tensor) in [("2.weight", square(16, 16)), ("3.weight", square(16, 32))] {
        net.tensors.push((format!("controlnet_cond_embedding.blocks.{name}"), tensor));
    }
    refused(&mut model, &net.folder(&dir("j")), &["4 times", "2 times"]);
    let one = |name: &str| {
        let path = dir("k").join("other.safetensors");
        write(&path, &[(name.to_owned(), Tensor::ones([2, 2], tch::kind::FLOAT_CPU))], Kind::Float);
        path
    };
    refused(&mut model, &one("lora_controlnet"), &["Control-LoRA"]);
    refused(&mut model, &one("task_embedding"), &["Union"]);
    refused(&mut model, &one("adapter.body.0.in_conv.weight"), &["T2I-Adapter"]);
    refused(&mut model, &one("controlnet_blocks.0.weight"), &["Flux"]);
    refused(&mut model, &one("model.diffusion_model.x"), &["no ControlNet"]);
    let pickle = dir("k").join("control.pth");
    std::fs::write(&pickle, b"PK\x03\x04").unwrap();
    refused(&mut model, &pickle, &["SafeTensors"]);
    // A ControlNet is no model.
    let path = Net::of("sd1", "edges").original(&dir("l"), "control_model.");
    let error = inspect(&path).unwrap_err().to_string();
    assert!(error.contains("ControlNet"), "{error}");
    let many = vec![whole(&path); outframe_diffusion::MAX_CONTROLS + 1];
    assert!(model.set_controls(&many).unwrap_err().to_string().contains("too many"));
    // After all of this the model paints as before.
    assert!(
        paint(&model, &noise()).equal(&paint(&Pipeline::load(sd1.path(), &LoadOptions::default()).unwrap(), &noise()))
    );
}

/// Headers of a control network with random damage end in an answer or in an error.
#[test]
fn damaged_headers_of_control_networks() {
    let model_dir = folder("sd1", Kind::Float);
    let mut model = Pipeline::load(model_dir.path(), &LoadOptions::default()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = Net::of("sd1", "edges").original(dir.path(), "control_model.");
    let good = std::fs::read(&path).unwrap();
    let header = 8 + u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    let mut state = 7_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut refused = 0;
    for _ in 0..200 {
        let mut bytes = good[..header].to_vec();
        for _ in 0..=random(4) {
            let at = 8 + random(header - 8);
            let digits = b"0123456789.[]{}\",:x";
            bytes[at] = if bytes[at].is_ascii_digit() { digits[random(10)] } else { digits[random(digits.len())] };
        }
        std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0).unwrap();
        // Loaded anew: the file's length is the same.
        model.set_controls(&[]).unwrap();
        if let Err(error) = model.set_controls(&[whole(&path)]) {
            assert!(!matches!(error, Error::Internal { .. } | Error::Torch { .. }), "{error}");
            refused += 1;
        }
    }
    assert!(refused > 100, "{refused} of 200 were refused");
}

#[test]
fn pictures_are_stretched_as_by_pillow() {
    let io = expected("pictures");
    for (width, height) in [(48, 32), (140, 100), (33, 75)] {
        let ours = probe::stretch(&drawing(70, 50, 1), width, height).unwrap();
        let ours = Tensor::from_slice(ours.as_raw()).view([i64::from(height), i64::from(width), 3]).to_kind(Kind::Int);
        let difference = (ours - io[&format!("stretched_{width}x{height}")].to_kind(Kind::Int)).abs();
        let (most, unequal) = (i64::try_from(difference.max()).unwrap(), difference.not_equal(0).sum(Kind::Int64));
        println!("{width}x{height}: at most {most}, {} of {}", i64::try_from(unequal).unwrap(), width * height * 3);
        assert!(most <= 1, "{width}x{height}: {most}");
    }
}

/// A latent consistency model's UNet: one run a step, which is told the guidance.
#[test]
fn a_network_is_told_the_guidance() {
    let dir = folder("sd1", Kind::Float);
    let config = dir.path().join("unet/config.json");
    let mut told: Value = serde_json::from_slice(&std::fs::read(&config).unwrap()).unwrap();
    told["time_cond_proj_dim"] = json!(32);
    std::fs::write(&config, told.to_string()).unwrap();
    let path = dir.path().join("unet/diffusion_pytorch_model.safetensors");
    let mut tensors = Tensor::read_safetensors(&path).unwrap();
    let name = "time_embedding.cond_proj.weight";
    tensors.push((name.to_owned(), formula(&format!("unet/{name}"), &[32, 32])));
    write(&path, &tensors, Kind::Float);

    let io = expected("distilled");
    let unet = load_unet(dir.path());
    let run = |scale| unet.guided_step(&io["input"], 500.0, &io["context"], scale).unwrap();
    for scale in ["1.0", "4.0", "8.5"] {
        close(&format!("at {scale}"), &run(scale.parse().unwrap()), &io[&format!("output_{scale}")], 1e-4);
    }
    assert!(f64::try_from((run(1.0) - run(8.5)).abs().max()).unwrap() > 0.01, "it matters");
    let model = Pipeline::load(dir.path(), &LoadOptions::default()).unwrap();
    close("a loop", &paint(&model, &noise()), &io["generate"], 1e-3);
    told["time_cond_proj_dim"] = json!(2);
    std::fs::write(&config, told.to_string()).unwrap();
    let error = Pipeline::load(dir.path(), &LoadOptions::default()).unwrap_err().to_string();
    assert!(error.contains("time_cond_proj_dim"), "{error}");
}
