//! SDXL, SD 1.x and SD 2.x as folders and as single files, compared with Python diffusers on tiny models; see
//! `tests/parity/make_fixtures_families.py`. Their weights are formulas of their names, computed there and here.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test fail it")]

#[path = "families/control.rs"]
mod control;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use image::{GrayImage, Luma, Rgb, RgbImage};
use outframe_diffusion::{
    Embedding, Error, Fill, Generate, LoadOptions, Lora, Pipeline, Sampling, Walk, inspect, probe, weights_hash,
};
use serde_json::{Value, json};
use tch::{Kind, Tensor};

type Tensors = BTreeMap<String, Tensor>;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn fixture(name: &str) -> PathBuf {
    repository().join("tests/parity/fixtures/families").join(name)
}

fn case(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(fixture(name).join("case.json")).unwrap()).unwrap()
}

fn expected(name: &str) -> Tensors {
    Tensor::read_safetensors(fixture(name).join("io.safetensors")).unwrap().into_iter().collect()
}

/// The formula of the fixtures: a hash of name and place on a grid that f16 holds exactly.
fn formula(name: &str, shape: &[i64]) -> Tensor {
    let mut seed = 0x811c_9dc5_u32;
    for byte in name.bytes() {
        seed = (seed ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
    let n: i64 = shape.iter().product();
    let owner = name.rsplit('.').nth(1).unwrap_or_default();
    let scale = if shape.len() > 1 && !owner.contains("embed") {
        (2.0 / (n as f64 / shape[0] as f64).sqrt()).log2().floor().exp2()
    } else {
        0.25
    };
    let values: Vec<f32> = (0..n as u32)
        .map(|i| {
            let mut x = i.wrapping_mul(2_654_435_761).wrapping_add(seed);
            x ^= x >> 16;
            x = x.wrapping_mul(0x85eb_ca6b);
            x ^= x >> 13;
            x = x.wrapping_mul(0xc2b2_ae35);
            x ^= x >> 16;
            let unit = (f64::from(x >> 20) - 2048.0) / 2048.0;
            if shape.len() == 1 && name.ends_with("weight") {
                (1.0 + (unit * 64.0).round_ties_even() / 256.0) as f32
            } else {
                (unit * scale) as f32
            }
        })
        .collect();
    Tensor::from_slice(&values).view(shape)
}

/// All tensors of a case, by part and name.
fn weights(case: &Value) -> Tensors {
    let shapes = case["shapes"].as_object().unwrap();
    shapes
        .iter()
        .map(|(name, shape)| {
            let shape: Vec<i64> = shape.as_array().unwrap().iter().map(|n| n.as_i64().unwrap()).collect();
            (name.clone(), formula(name, &shape))
        })
        .collect()
}

fn write(path: &Path, tensors: &[(String, Tensor)], kind: Kind) {
    let tensors: Vec<(&str, Tensor)> =
        tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.to_kind(kind).contiguous())).collect();
    Tensor::write_safetensors(&tensors, path).unwrap();
}

/// CLIP's tokenizer in its two files.
fn write_tokenizer(folder: &Path, pad: &str) {
    let file = std::fs::File::open(repository().join("models/tokenizers/clip/bpe_simple_vocab_16e6.txt.gz")).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    let merges: Vec<&str> = text.lines().skip(1).take(48_894).collect();
    let letters: Vec<char> =
        (33..=126).chain(161..=172).chain(174..=255).chain(256..324_u32).map(|c| char::from_u32(c).unwrap()).collect();
    let mut words: Vec<String> = letters.iter().map(char::to_string).collect();
    words.extend(letters.iter().map(|c| format!("{c}</w>")));
    words.extend(merges.iter().map(|pair| pair.replace(' ', "")));
    words.extend(["<|startoftext|>".to_owned(), "<|endoftext|>".to_owned()]);
    let vocabulary: serde_json::Map<String, Value> =
        words.into_iter().enumerate().map(|(id, word)| (word, id.into())).collect();
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("vocab.json"), Value::Object(vocabulary).to_string()).unwrap();
    std::fs::write(folder.join("merges.txt"), format!("#version: 0.2\n{}\n", merges.join("\n"))).unwrap();
    std::fs::write(folder.join("special_tokens_map.json"), json!({ "pad_token": pad }).to_string()).unwrap();
}

/// The case as a folder in the diffusers layout.
fn folder(name: &str, kind: Kind) -> tempfile::TempDir {
    let (dir, case) = (tempfile::tempdir().unwrap(), case(name));
    for (file, config) in case["configs"].as_object().unwrap() {
        let path = dir.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, config.to_string()).unwrap();
    }
    let mut parts: BTreeMap<String, Vec<(String, Tensor)>> = BTreeMap::new();
    for (full, tensor) in weights(&case) {
        let (part, name) = full.split_once('/').unwrap();
        parts.entry(part.to_owned()).or_default().push((name.to_owned(), tensor));
    }
    for (part, tensors) in parts {
        let stem = if part.starts_with("text") { "model" } else { "diffusion_pytorch_model" };
        write(&dir.path().join(part).join(format!("{stem}.safetensors")), &tensors, kind);
    }
    for (pad, name) in case["pads"].as_array().unwrap().iter().zip(["tokenizer", "tokenizer_2"]) {
        write_tokenizer(&dir.path().join(name), pad.as_str().unwrap());
    }
    dir
}

/// The case's tensors as the original layout has them.
fn single_tensors(name: &str) -> Vec<(String, Tensor)> {
    let case = case(name);
    let from = weights(&case);
    let mut tensors: Vec<(String, Tensor)> = case["ldm"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(key, made)| {
            let made: Vec<&str> = made.as_array().unwrap().iter().map(|part| part.as_str().unwrap()).collect();
            let first = &from[made[1]];
            let tensor = match made[0] {
                "same" => first.shallow_clone(),
                "conv" => first.unsqueeze(-1).unsqueeze(-1),
                "transposed" => first.tr(),
                "stacked" => Tensor::cat(&made[1..].iter().map(|name| &from[*name]).collect::<Vec<_>>(), 0),
                other => panic!("{other}"),
            };
            (key.clone(), tensor)
        })
        .collect();
    if name == "sd2" {
        // The layer that the folder leaves out: its numbers must not matter.
        let last: Vec<(String, Tensor)> = tensors
            .iter()
            .filter(|(key, _)| key.contains("resblocks.1."))
            .map(|(key, tensor)| (key.replace("resblocks.1.", "resblocks.2."), tensor * 3.0))
            .collect();
        tensors.extend(last);
        tensors
            .push(("cond_stage_model.model.text_projection".to_owned(), Tensor::ones([64, 64], tch::kind::FLOAT_CPU)));
    }
    let start = if name.starts_with("sdxl") { "conditioner.embedders.1.model" } else { "cond_stage_model.model" };
    if name != "sd1" {
        tensors.push((format!("{start}.logit_scale"), Tensor::from(4.6_f32)));
    }
    tensors.push(("alphas_cumprod".to_owned(), Tensor::ones([1000], tch::kind::FLOAT_CPU)));
    tensors.push(("model_ema.decay".to_owned(), Tensor::from(0.9_f32)));
    tensors
}

/// Writes a checkpoint in one file with the original configuration beside it.
fn write_single(dir: &Path, name: &str, tensors: &[(String, Tensor)], kind: Kind) -> PathBuf {
    let path = dir.join("tiny model.safetensors");
    write(&path, tensors, kind);
    let heads = if name == "sd1" { "num_heads: 4" } else { "num_head_channels: 8 # of 64" };
    std::fs::write(dir.join("tiny model.yaml"), format!("model:\n  params:\n    unet_config:\n      {heads}\n"))
        .unwrap();
    path
}

fn close(what: &str, ours: &Tensor, theirs: &Tensor, tolerance: f64) {
    assert_eq!(ours.size(), theirs.size(), "{what}");
    let size = f64::try_from(theirs.abs().max()).unwrap().max(1.0);
    let difference = f64::try_from((ours.to_kind(Kind::Double) - theirs.to_kind(Kind::Double)).abs().max()).unwrap();
    println!("{what}: {:.1e} of {size:.1}", difference / size);
    assert!(difference / size <= tolerance, "{what} differs by {difference} of {size}");
}

const PROMPT: &str = "a snowy lake at dusk, 2 lighthouses!";
const NEGATIVE: &str = "the blue light";

fn sampling(sampler: &str, negative: &str, guidance: f64) -> Sampling {
    Sampling {
        prompt: PROMPT.to_owned(),
        negative: negative.to_owned(),
        steps: 20,
        guidance,
        sampler: sampler.to_owned(),
        seed: 0,
        preview: false,
        clip_skip: 0,
        guidance_rescale: 0.0,
    }
}

fn generate(model: &Pipeline, sampler: &str, negative: &str, noise: &Tensor) -> Tensor {
    let request = Generate { sampling: sampling(sampler, negative, 4.0), width: 48, height: 32, take: 0 };
    model.generate_from_noise(&request, noise).unwrap().0
}

fn fill(model: &Pipeline, noise: &Tensor) -> Tensor {
    let image = RgbImage::from_fn(48, 32, |x, y| {
        Rgb([(x * 255 / 48) as u8, (y * 255 / 32) as u8, if x > 16 { 200 } else { 40 }])
    });
    let mask = GrayImage::from_fn(48, 32, |x, _| Luma([if x < 28 { 0 } else { 255 }]));
    let request =
        Fill { sampling: sampling("ddim", NEGATIVE, 3.0), image, mask, strength: 1.0, walk: Walk::Finer, take: 0 };
    model.fill_from_noise(&request, noise).unwrap().0
}

/// Networks and whole loops of a folder against diffusers, and the same model in one file against the folder.
fn compare(name: &str) {
    let io = expected(name);
    let dir = folder(name, Kind::Float);
    let scratch = tempfile::tempdir().unwrap();
    let single = write_single(scratch.path(), name, &single_tensors(name), Kind::Float);
    for (prompt, prefix) in [(PROMPT, ""), (NEGATIVE, "negative_")] {
        let (context, pooled) = probe::whole_text(dir.path(), prompt).unwrap();
        close(&format!("{name} {prefix}context"), &context, &io[&format!("{prefix}context")], 1e-4);
        let (single_context, single_pooled) = probe::whole_text(&single, prompt).unwrap();
        close("one file", &single_context, &context, 1e-6);
        if let Some(pooled) = pooled {
            close(&format!("{name} {prefix}pooled"), &pooled, &io[&format!("{prefix}pooled")], 1e-4);
            close("one file", &single_pooled.unwrap(), &pooled, 1e-6);
        }
    }
    let unet = probe::LoadedUNet::load(&dir.path().join("unet"), Kind::Float).unwrap();
    let context = Tensor::cat(&[&io["negative_context"], &io["context"]], 0);
    let prompt = match io.get("pooled") {
        Some(pooled) => {
            let pooled = Tensor::cat(&[&io["negative_pooled"], pooled], 0);
            unet.prompt_with(&context, &pooled, [32.0, 48.0, 0.0, 0.0, 32.0, 48.0]).unwrap()
        }
        None => unet.prompt(&context).unwrap(),
    };
    for time in [1, 500, 981] {
        let output = unet.step(&io["input"], f64::from(time), &prompt).unwrap();
        close(&format!("{name} at {time}"), &output, &io[&format!("output_{time}")], 1e-4);
    }
    let models = [dir.path(), &single].map(|path| Pipeline::load(path, &LoadOptions::default()).unwrap());
    if name.ends_with("inpaint") {
        let [ours, one] = models.each_ref().map(|model| fill(model, &io["noise"]));
        close(&format!("{name} fill"), &ours, &io["fill_ddim"], 1e-3);
        close("one file", &one, &ours, 1e-6);
        return;
    }
    for sampler in ["ddim", "dpmpp-2m"] {
        let [ours, one] = models.each_ref().map(|model| generate(model, sampler, NEGATIVE, &io["noise"]));
        close(&format!("{name} {sampler}"), &ours, &io[&format!("generate_{sampler}")], 1e-3);
        close("one file", &one, &ours, 1e-6);
    }
    if let Some(zeros) = io.get("generate_zeros") {
        let ours = generate(&models[0], "ddim", "", &io["noise"]);
        close("an empty negative prompt is zeros", &ours, zeros, 1e-3);
    }
}

#[test]
fn sdxl() {
    compare("sdxl");
}

/// Chunks, weights and clip skip with two encoders; without them they give what diffusers gives (see `compare`).
#[test]
fn sdxl_reads_long_and_weighted_prompts() {
    let dir = folder("sdxl", Kind::Float);
    let read = |prompt: &str, skip, least| {
        let (context, pooled) = probe::whole_context(dir.path(), prompt, skip, least).unwrap();
        (context, pooled.unwrap())
    };
    let (plain, pooled) = read(PROMPT, 0, 1);
    let io = expected("sdxl");
    close("one chunk", &plain, &io["context"], 1e-4);
    close("one chunk, pooled", &pooled, &io["pooled"], 1e-4);
    // Both encoders' chunks follow each other, and the first of them gives the pooled prompt.
    let (long, long_pooled) = read(&format!("{PROMPT} BREAK {NEGATIVE}"), 0, 3);
    let parts = [plain.shallow_clone(), read(NEGATIVE, 0, 1).0, read("", 0, 1).0];
    close("three chunks", &long, &Tensor::cat(&parts, 1), 1e-6);
    close("three chunks, pooled", &long_pooled, &pooled, 1e-6);
    // A weight keeps each encoder's mean.
    let (weighted, _) = read(&format!("({PROMPT}:1.5) {NEGATIVE}"), 0, 1);
    let (flat, _) = read(&format!("{PROMPT} {NEGATIVE}"), 0, 1);
    let first = json_width(&dir.path().join("text_encoder/config.json"));
    let rest = flat.size()[2] - first;
    for (start, len) in [(0, first), (first, rest)] {
        let half = |t: &Tensor| t.narrow(2, start, len).mean(Kind::Double);
        let (a, b) = (half(&weighted), half(&flat));
        assert!((f64::try_from(&a).unwrap() - f64::try_from(&b).unwrap()).abs() < 1e-4, "{a:?} {b:?}");
        assert!(
            f64::try_from((weighted.narrow(2, start, len) - flat.narrow(2, start, len)).abs().max()).unwrap() > 0.01
        );
    }
    // With two layers nothing is left to skip. With one more, skipping it gives the same context as before, while the
    // pooled prompt still comes from the last layer.
    let error = probe::whole_context(dir.path(), PROMPT, 1, 1).unwrap_err().to_string();
    assert!(error.contains("clip skip"), "{error}");
    let deep = folder("sdxl", Kind::Float);
    for part in ["text_encoder", "text_encoder_2"] {
        let path = deep.path().join(part).join("config.json");
        assert_eq!(json_count(&path, "num_hidden_layers"), 2);
        let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        config["num_hidden_layers"] = json!(3);
        std::fs::write(&path, config.to_string()).unwrap();
        let path = deep.path().join(part).join("model.safetensors");
        let mut tensors = Tensor::read_safetensors(&path).unwrap();
        let more = tensors.iter().filter(|(name, _)| name.contains("layers.1."));
        let more: Vec<_> = more.map(|(name, t)| (name.replace("layers.1.", "layers.2."), t.shallow_clone())).collect();
        tensors.extend(more);
        write(&path, &tensors, Kind::Float);
    }
    let read = |skip| probe::whole_context(deep.path(), PROMPT, skip, 1).unwrap();
    let ((straight, last), (skipped, same)) = (read(0), read(1));
    close("one layer skipped", &skipped, &plain, 1e-6);
    assert!(f64::try_from((&straight - &plain).abs().max()).unwrap() > 0.01);
    close("the pooled prompt comes from the last layer", &same.unwrap(), &last.unwrap(), 1e-6);
    // A long prompt against an empty one, which is zeros of the same length.
    let model = Pipeline::load(dir.path(), &LoadOptions::default()).unwrap();
    let mut settings = sampling("ddim", "", 4.0);
    let paint = |sampling: Sampling| {
        let request = Generate { sampling, width: 48, height: 32, take: 0 };
        model.generate_from_noise(&request, &io["noise"]).unwrap().0
    };
    let short = paint(settings.clone());
    close("an empty negative prompt is zeros", &short, &io["generate_zeros"], 1e-3);
    settings.prompt = format!("{PROMPT} BREAK {NEGATIVE}");
    let long = paint(settings);
    assert!(f64::try_from((long - short).abs().max()).unwrap() > 1e-3);
}

/// `LoRA`s and words for both encoders of a model in one file; without them it is as before, bit for bit.
#[test]
fn adapters_for_sdxl_in_one_file() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = folder("sdxl", Kind::Float);
    let single = write_single(scratch.path(), "sdxl", &single_tensors("sdxl"), Kind::Float);
    let mut models = [dir.path(), &single].map(|path| Pipeline::load(path, &LoadOptions::default()).unwrap());
    let io = expected("sdxl");
    let paint = |model: &Pipeline| {
        let sampling = Sampling { steps: 2, prompt: format!("newword {PROMPT}"), ..sampling("ddim", NEGATIVE, 4.0) };
        let request = Generate { sampling, width: 48, height: 32, take: 0 };
        model.generate_from_noise(&request, &io["noise"]).unwrap().0
    };
    let plain = paint(&models[1]);

    let find = |part: &str, end: &str| {
        let file = std::fs::read_dir(dir.path().join(part)).unwrap().map(|entry| entry.unwrap().path());
        let file = file.filter(|path| path.extension().is_some_and(|e| e == "safetensors")).min().unwrap();
        Tensor::read_safetensors(file).unwrap().into_iter().find(|(name, _)| name.ends_with(end)).unwrap()
    };
    for (part, end) in [
        ("unet", "attn2.to_k.weight"),
        ("text_encoder", "layers.0.self_attn.v_proj.weight"),
        ("text_encoder_2", "layers.0.self_attn.v_proj.weight"),
    ] {
        let (name, weight) = find(part, end);
        let (outputs, inputs) = weight.size2().unwrap();
        let bare = format!("{part}.{}", name.strip_suffix(".weight").unwrap());
        let path = scratch.path().join(format!("{part}-lora.safetensors"));
        let tensors = [
            (format!("{bare}.lora_A.weight"), formula("a", &[2, inputs])),
            (format!("{bare}.lora_B.weight"), formula("b", &[outputs, 2])),
        ];
        write(&path, &tensors, Kind::Float);
        let made = models.each_mut().map(|model| {
            let warnings = model.set_loras(&[Lora { path: path.clone(), weight: 1.0 }]).unwrap();
            assert!(warnings.is_empty(), "{part}: {warnings:?}");
            paint(model)
        });
        close("one file", &made[1], &made[0], 1e-6);
        assert!(f64::try_from((&made[1] - &plain).abs().max()).unwrap() > 1e-4, "{part}");
        models[1].set_loras(&[]).unwrap();
        assert!(paint(&models[1]).equal(&plain), "{part}");
        models[0].set_loras(&[]).unwrap();
    }

    let width = |part: &str| json_width(&dir.path().join(part).join("config.json"));
    let path = scratch.path().join("word.safetensors");
    let (l, g) = (width("text_encoder"), width("text_encoder_2"));
    let vectors = [("clip_l".to_owned(), formula("l", &[2, l])), ("clip_g".to_owned(), formula("g", &[2, g]))];
    write(&path, &vectors, Kind::Float);
    models[1].set_embeddings(&[Embedding { path, word: "newword".to_owned() }]).unwrap();
    assert!(f64::try_from((paint(&models[1]) - &plain).abs().max()).unwrap() > 1e-4);
    models[1].set_embeddings(&[]).unwrap();
    assert!(paint(&models[1]).equal(&plain));
}

fn json_count(path: &Path, key: &str) -> usize {
    let config: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    config[key].as_u64().unwrap() as usize
}

fn json_width(path: &Path) -> i64 {
    json_count(path, "hidden_size") as i64
}

#[test]
fn sdxl_made_for_filling() {
    compare("sdxl_inpaint");
}

#[test]
fn sd_1() {
    compare("sd1");
}

#[test]
fn sd_2() {
    compare("sd2");
}

#[test]
fn single_files_are_recognised_and_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let good = single_tensors("sdxl_inpaint");
    let path = write_single(dir.path(), "sdxl_inpaint", &good, Kind::Half);
    let info = inspect(&path).unwrap();
    assert_eq!(info.summary(), "SDXL, inpainting, f16");
    // Every tensor is used, named with the reason why not, or an error.
    let unused: Vec<&str> = info.unused.0.values().flatten().map(String::as_str).collect();
    assert!(unused.contains(&"model_ema.decay"), "{unused:?}");
    assert_eq!(info.unused.count(), unused.len());
    let reason = info.unused.0.iter().find(|(_, names)| names.iter().any(|name| name == "model_ema.decay")).unwrap().0;
    assert!(reason.contains("averaged"), "{reason}");
    assert_eq!((info.name.as_str(), info.native_size, info.in_channels), ("tiny model", 1024, 9));
    assert_eq!((info.prediction.as_str(), info.token_limit), ("epsilon", 77));
    assert_eq!(weights_hash(&path).unwrap().len(), 64);
    // What cannot be told from the tensors is read beside the file.
    std::fs::write(path.with_extension("json"), r#"{"parameterization": "v"}"#).unwrap();
    assert_eq!(inspect(&path).unwrap().prediction, "v_prediction");
    std::fs::remove_file(path.with_extension("json")).unwrap();

    let refused = |tensors: &[(String, Tensor)], words: &[&str]| {
        write(&path, tensors, Kind::Half);
        let error = inspect(&path).unwrap_err();
        assert!(!matches!(error, Error::Internal { .. }), "{error}");
        for word in words {
            assert!(error.to_string().contains(word), "`{word}` is not in: {error}");
        }
    };
    let clone = |keep: &dyn Fn(&str) -> bool| -> Vec<(String, Tensor)> {
        good.iter()
            .filter(|(name, _)| keep(name))
            .map(|(name, tensor)| (name.clone(), tensor.shallow_clone()))
            .collect()
    };
    let mut more = clone(&|_| true);
    more.push(("model.diffusion_model.control.weight".to_owned(), Tensor::zeros([2], tch::kind::FLOAT_CPU)));
    more.push(("extra.thing".to_owned(), Tensor::zeros([2], tch::kind::FLOAT_CPU)));
    refused(&more, &["2 tensors", "extra.thing", "model.diffusion_model.control.weight"]);
    refused(&clone(&|name| !name.starts_with("first_stage")), &["autoencoder"]);
    refused(&clone(&|name| !name.starts_with("cond")), &["text encoder"]);
    refused(&clone(&|name| !name.starts_with("conditioner.embedders.0")), &["text encoder"]);
    refused(&clone(&|name| name.starts_with("first_stage")), &["autoencoder alone"]);
    refused(&[("lora_unet_x.lora_down.weight".to_owned(), Tensor::zeros([2], tch::kind::FLOAT_CPU))], &["LoRA"]);
    refused(&clone(&|name| !name.ends_with("input_blocks.0.0.weight")), &["input_blocks.0.0.weight"]);
    for name in ["model.ckpt", "model.pt", "model.bin"] {
        let pickle = dir.path().join(name);
        std::fs::write(&pickle, b"PK\x03\x04").unwrap();
        assert!(inspect(&pickle).unwrap_err().to_string().contains("SafeTensors"));
    }
}

#[test]
fn split_weights_and_other_autoencoders() {
    let dir = folder("sd1", Kind::Float);
    let noise = &expected("sd1")["noise"];
    let paint =
        |options: &LoadOptions| generate(&Pipeline::load(dir.path(), options).unwrap(), "ddim", NEGATIVE, noise);
    let whole = paint(&LoadOptions::default());

    let unet = dir.path().join("unet");
    let file = unet.join("diffusion_pytorch_model.safetensors");
    let tensors = Tensor::read_safetensors(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let mut map = serde_json::Map::new();
    for (i, half) in tensors.chunks(tensors.len() / 2 + 1).enumerate() {
        let name = format!("diffusion_pytorch_model-0000{}-of-00002.safetensors", i + 1);
        write(&unet.join(&name), half, Kind::Float);
        map.extend(half.iter().map(|(tensor, _)| (tensor.clone(), json!(name))));
    }
    let index = unet.join("diffusion_pytorch_model.safetensors.index.json");
    std::fs::write(&index, json!({"weight_map": map}).to_string()).unwrap();
    close("split", &paint(&LoadOptions::default()), &whole, 0.0);
    for bad in ["../unet/x.safetensors", "/etc/x.safetensors", "x.bin", "..", "a\\b.safetensors", "absent.safetensors"]
    {
        std::fs::write(&index, json!({"weight_map": {"conv_in.weight": bad}}).to_string()).unwrap();
        let error = inspect(dir.path()).unwrap_err().to_string();
        assert!(error.contains("weight_map") || error.contains("absent"), "{bad}: {error}");
    }
    std::fs::write(&index, json!({"weight_map": map}).to_string()).unwrap();

    // The same autoencoder from elsewhere paints the same picture, in either naming; a changed one another.
    let own = Tensor::read_safetensors(dir.path().join("vae/diffusion_pytorch_model.safetensors")).unwrap();
    let request = Generate { sampling: sampling("ddim", "", 1.0), width: 48, height: 32, take: 0 };
    let image = |vae: Option<PathBuf>| {
        let options = LoadOptions { vae, ..LoadOptions::default() };
        Pipeline::load(dir.path(), &options).unwrap().generate_from_noise(&request, noise).unwrap().1
    };
    let plain = image(None);
    let other = dir.path().join("other.safetensors");
    write(&other, &own, Kind::Float);
    assert_eq!(image(Some(other.clone())), plain);
    let prefixed: Vec<(String, Tensor)> =
        single_tensors("sd1").into_iter().filter(|(name, _)| name.starts_with("first_stage")).collect();
    write(&other, &prefixed, Kind::Float);
    assert_eq!(image(Some(other.clone())), plain);
    let bare: Vec<(String, Tensor)> =
        prefixed.into_iter().map(|(name, t)| (name.replace("first_stage_model.", ""), t * 0.5)).collect();
    write(&other, &bare, Kind::Float);
    assert_ne!(image(Some(other)), plain);
    assert_eq!(image(Some(dir.path().join("vae"))), plain);
}

/// A thousand damaged headers: each ends in an answer or an error, and none in a panic.
#[test]
fn damaged_headers_of_single_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = write_single(dir.path(), "sd1", &single_tensors("sd1"), Kind::Half);
    let good = std::fs::read(&path).unwrap();
    let header = 8 + u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    // The data are zeros, and so many that most headers stay plausible.
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    let mut state = 1_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut refused = 0;
    for _ in 0..1000 {
        let mut bytes = good[..header].to_vec();
        for _ in 0..=random(4) {
            let at = if random(8) == 0 { random(8) } else { 8 + random(header - 8) };
            let digits = b"0123456789.[]{}\",:x";
            bytes[at] = if bytes[at].is_ascii_digit() { digits[random(10)] } else { digits[random(digits.len())] };
        }
        std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0).unwrap();
        match inspect(&path) {
            Ok(_) => {}
            Err(error) => {
                assert!(!matches!(error, Error::Internal { .. } | Error::Torch { .. }), "{error}");
                refused += 1;
            }
        }
    }
    assert!(refused > 500, "{refused} of 1000 were refused");
}
