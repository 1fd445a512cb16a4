//! Compares adapters with Python diffusers and PEFT on tiny random models; see `tests/parity/make_fixtures_adapters.py`.

#![allow(clippy::unwrap_used, reason = "the helpers of a test fail it")]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use outframe_diffusion::{Embedding, Error, Generate, LoadOptions, Lora, Pipeline, Sampling, probe};
use tch::{Kind, Tensor};

const PROMPT: &str = "a snowy lake at dusk";

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/parity/fixtures")
}

fn painter() -> PathBuf {
    fixtures().join("models/painter")
}

fn lora(name: &str, weight: f64) -> Lora {
    Lora { path: fixtures().join("adapters").join(name), weight }
}

fn tensors(path: &Path) -> BTreeMap<String, Tensor> {
    Tensor::read_safetensors(path).unwrap().into_iter().collect()
}

fn assert_close(what: &str, ours: &Tensor, theirs: &Tensor) {
    assert_eq!(ours.size(), theirs.size());
    let size = f64::try_from(theirs.abs().max()).unwrap().max(1.0);
    let difference = f64::try_from((ours - theirs).abs().max()).unwrap() / size;
    println!("{what}: {difference:.1e} of {size:.1}");
    assert!(difference < 1e-4, "{what} differs by {difference}");
}

/// The UNet's and the text encoder's outputs with adapters in force.
struct Nets {
    net: probe::Adapted,
    io: BTreeMap<String, Tensor>,
}

impl Nets {
    fn new(kind: Kind) -> Self {
        let io = tensors(&painter().join("unet/io.safetensors"));
        Self { net: probe::Adapted::load(&painter(), kind).unwrap(), io }
    }

    fn run(&mut self, loras: &[Lora]) -> (Tensor, Tensor, Vec<String>) {
        let warnings = self.net.set_loras(loras).unwrap();
        let unet = self.net.unet(&self.io["input"], &self.io["context"], 500.0).unwrap();
        (unet, self.net.text(PROMPT).unwrap(), warnings)
    }
}

#[test]
fn every_key_style_computes_what_diffusers_computes() {
    let expected = tensors(&fixtures().join("adapters/loras.safetensors"));
    let mut nets = Nets::new(Kind::Float);
    for (file, key) in [
        ("peft.safetensors", "peft"),
        ("original.safetensors", "peft"),
        ("processor.safetensors", "peft"),
        ("kohya.safetensors", "kohya"),
    ] {
        let (unet, text, warnings) = nets.run(&[lora(file, 1.0)]);
        assert_close(&format!("{file} unet"), &unet, &expected[&format!("{key}_unet")]);
        assert_close(&format!("{file} text"), &text, &expected[&format!("{key}_text")]);
        assert!(warnings.is_empty(), "{file}: {warnings:?}");
    }
    for (file, key) in [("peft_folder/adapter_model.safetensors", "peft_unet"), ("tucker.safetensors", "tucker_unet")] {
        let (unet, text, warnings) = nets.run(&[lora(file, 1.0)]);
        assert_close(file, &unet, &expected[key]);
        assert_close(file, &text, &expected["base_text"]);
        assert!(warnings.is_empty(), "{file}: {warnings:?}");
    }
}

#[test]
fn two_at_once_by_their_weights() {
    let expected = tensors(&fixtures().join("adapters/loras.safetensors"));
    let mut nets = Nets::new(Kind::Float);
    let (unet, text, _) = nets.run(&[lora("peft.safetensors", 0.7), lora("kohya.safetensors", -0.4)]);
    assert_close("unet", &unet, &expected["both_unet"]);
    assert_close("text", &text, &expected["both_text"]);
}

#[test]
fn removing_gives_back_the_same_bits() {
    for kind in [Kind::Float, Kind::BFloat16] {
        let mut nets = Nets::new(kind);
        let before = nets.run(&[]);
        let with = nets.run(&[lora("peft.safetensors", 0.8), lora("tucker.safetensors", 0.5)]);
        assert_ne!(with.0, before.0);
        assert_ne!(with.1, before.1);
        let after = nets.run(&[]);
        assert_eq!(after.0, before.0);
        assert_eq!(after.1, before.1);
        assert_eq!(nets.run(&[lora("peft.safetensors", 0.0)]).0, before.0, "a weight of 0 is none");
        let again = nets.run(&[lora("peft.safetensors", 0.8), lora("tucker.safetensors", 0.5)]);
        assert_eq!(again.0, with.0);
    }
}

/// Writes a file with these tensors of ones.
fn written(dir: &Path, name: &str, list: &[(&str, &[i64])]) -> Lora {
    let path = dir.join(name);
    let list: Vec<(&str, Tensor)> =
        list.iter().map(|(name, shape)| (*name, Tensor::ones(*shape, (Kind::Float, tch::Device::Cpu)))).collect();
    Tensor::write_safetensors(&list, &path).unwrap();
    Lora { path, weight: 1.0 }
}

#[test]
fn what_cannot_be_used_is_named_and_changes_nothing() {
    const Q: &str = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q";
    const K: &str = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k";
    let dir = tempfile::tempdir().unwrap();
    let mut nets = Nets::new(Kind::Float);
    let with = nets.run(&[lora("peft.safetensors", 1.0)]);
    let part = |layer: &str, part: &str| format!("{layer}.{part}");
    let (q_down, q_up) = (part(Q, "lora_down.weight"), part(Q, "lora_up.weight"));
    let (k_down, k_up) = (part(K, "lora_down.weight"), part(K, "lora_up.weight"));
    let (dora, hada) = (part(Q, "dora_scale"), part(Q, "hada_w1_a"));
    let good: [(&str, &[i64]); 2] = [(&q_down, &[2, 32]), (&q_up, &[32, 2])];
    for (list, words) in [
        (vec![(q_down.as_str(), &[2_i64, 31][..]), (&q_up, &[32, 2])], vec![q_down.as_str(), "[2, 31]", "[32, 32]"]),
        (vec![(&q_down, &[2, 32]), (&q_up, &[33, 2])], vec![&q_up, "[33, 2]"]),
        (vec![(&q_down, &[2, 32]), (&q_up, &[32, 3])], vec!["[2, 32]"]),
        (vec![(&q_down, &[2, 32])], vec![Q, "incomplete"]),
        (vec![(&k_down, &[2, 2048]), (&k_up, &[32, 2])], vec![&k_down, "made for SDXL"]),
        (vec![(&k_down, &[2, 768]), (&k_up, &[32, 2])], vec!["made for SD 1.x"]),
        (vec![good[0], good[1], (&dora, &[32])], vec!["DoRA", &dora]),
        (vec![(&hada, &[32, 2])], vec!["LoHa"]),
        (vec![("model.diffusion_model.out.2.weight", &[4, 32, 3, 3])], vec!["no part of a LoRA"]),
        (
            vec![("lora_unet_nowhere.lora_down.weight", &[2, 32]), ("lora_unet_nowhere.lora_up.weight", &[32, 2])],
            vec!["none of its 1 layers", "lora_unet_nowhere"],
        ),
    ] {
        let bad = written(dir.path(), "bad.safetensors", &list);
        let error = nets.net.set_loras(&[lora("kohya.safetensors", 1.0), bad]).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::Adapter { .. }), "{text}");
        for word in words.into_iter().chain(["bad.safetensors"]) {
            assert!(text.contains(word), "{word}: {text}");
        }
        let unet = nets.net.unet(&nets.io["input"], &nets.io["context"], 500.0).unwrap();
        assert_eq!(unet, with.0, "the LoRAs from before stay in force");
    }
    let missing = nets.net.set_loras(&[lora("no.safetensors", 1.0)]).unwrap_err();
    assert!(matches!(missing, Error::Read { .. }), "{missing}");
    for weight in [f64::NAN, f64::INFINITY, 1e9] {
        assert!(matches!(nets.net.set_loras(&[lora("peft.safetensors", weight)]), Err(Error::Request(_))));
    }
    let path = dir.path().join("nan.safetensors");
    let nan = Tensor::full([2, 32], f64::NAN, (Kind::Float, tch::Device::Cpu));
    let up = Tensor::ones([32, 2], (Kind::Float, tch::Device::Cpu));
    Tensor::write_safetensors(&[(q_down.as_str(), nan), (q_up.as_str(), up)], &path).unwrap();
    assert!(nets.net.set_loras(&[Lora { path, weight: 1.0 }]).unwrap_err().to_string().contains(Q));

    let mut some = good.to_vec();
    some.extend([
        ("lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight", &[2_i64, 32][..]),
        ("lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_up.weight", &[32, 2]),
    ]);
    let partly = written(dir.path(), "partly.safetensors", &some);
    let warnings = nets.net.set_loras(&[partly]).unwrap();
    assert!(warnings[0].contains("lora_te2_text_model_encoder_layers_0_mlp_fc1"), "{warnings:?}");
    assert!(warnings[0].contains("1 of the 2") && warnings[0].contains("partly.safetensors"), "{warnings:?}");
}

#[test]
fn truncated_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cut.safetensors");
    let bytes = std::fs::read(lora("tucker.safetensors", 1.0).path).unwrap();
    let mut nets = Nets::new(Kind::Float);
    for len in [0, 7, 8, 100, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..len]).unwrap();
        assert!(nets.net.set_loras(&[Lora { path: path.clone(), weight: 1.0 }]).is_err(), "{len}");
    }
}

#[test]
fn a_painting_with_and_without() {
    let mut pipeline = Pipeline::load(&painter(), &LoadOptions::default()).unwrap();
    let sampling = Sampling {
        prompt: PROMPT.to_owned(),
        negative: String::new(),
        steps: 2,
        guidance: 3.0,
        sampler: "ddim".to_owned(),
        seed: 3,
        preview: false,
        clip_skip: 0,
        guidance_rescale: 0.0,
    };
    let request = Generate { sampling, width: 16, height: 16, take: 0 };
    let paint = |pipeline: &Pipeline| pipeline.generate(&request, &mut |_| ControlFlow::Continue(())).unwrap().image;
    let before = paint(&pipeline);
    assert!(pipeline.set_loras(&[lora("kohya.safetensors", 1.0)]).unwrap().is_empty());
    assert_ne!(paint(&pipeline), before);
    pipeline.set_loras(&[]).unwrap();
    assert_eq!(paint(&pipeline), before);
}

fn word(name: &str, word: &str) -> Embedding {
    Embedding { path: fixtures().join("adapters").join(name), word: word.to_owned() }
}

#[test]
fn taught_words_are_what_diffusers_reads() {
    let expected = &tensors(&fixtures().join("adapters/words.safetensors"))["context"];
    let mut net = probe::Adapted::load(&painter(), Kind::Float).unwrap();
    let prompt = "a <cat-toy> at dusk, my-style lake";
    let before = net.text(prompt).unwrap();
    let words = [word("cat-toy.safetensors", "<cat-toy>"), word("style.safetensors", "my-style")];
    net.set_embeddings(&words).unwrap();
    let taught = net.text(prompt).unwrap();
    assert_close("taught", &taught, expected);
    assert_eq!(net.text("a <Cat-Toy> at dusk, MY-STYLE lake").unwrap(), taught, "capitals do not matter");
    let part = "a lake in my-styles, xmy-style";
    net.set_embeddings(&[]).unwrap();
    let untaught = net.text(part).unwrap();
    assert_eq!(net.text(prompt).unwrap(), before, "forgotten without a trace");
    net.set_embeddings(&words).unwrap();
    assert_eq!(net.text(part).unwrap(), untaught, "a part of a word is not the word");
    // LoRAs come and go without touching the words.
    net.set_loras(&[lora("kohya.safetensors", 1.0)]).unwrap();
    assert_ne!(net.text(prompt).unwrap(), taught);
    net.set_loras(&[]).unwrap();
    assert_eq!(net.text(prompt).unwrap(), taught);
    net.set_embeddings(&words[1..]).unwrap();
    assert_ne!(net.text(prompt).unwrap(), taught);
}

#[test]
fn words_that_cannot_be_taught() {
    let dir = tempfile::tempdir().unwrap();
    let mut net = probe::Adapted::load(&painter(), Kind::Float).unwrap();
    let good = word("style.safetensors", "my-style");
    net.set_embeddings(std::slice::from_ref(&good)).unwrap();
    let taught = net.text("my-style lake").unwrap();
    for (list, words) in [
        (vec![("emb_params", &[2_i64, 768][..])], vec!["SD 1.x", "24"]),
        (vec![("clip_l", &[1, 768]), ("clip_g", &[1, 1280])], vec!["SDXL"]),
        (vec![("a", &[24]), ("b", &[24])], vec!["no embedding"]),
        (vec![("emb_params", &[300, 24])], vec!["300"]),
        (vec![("emb_params", &[0, 24])], vec!["[0, 24]"]),
    ] {
        let Lora { path, .. } = written(dir.path(), "bad.safetensors", &list);
        let error = net.set_embeddings(&[good.clone(), Embedding { path, word: "x".to_owned() }]).unwrap_err();
        let text = error.to_string();
        for word in words.into_iter().chain(["bad.safetensors"]) {
            assert!(text.contains(word), "{word}: {text}");
        }
        assert_eq!(net.text("my-style lake").unwrap(), taught, "the words from before stay");
    }
    let pickle = dir.path().join("old.pt");
    std::fs::write(&pickle, b"PK\x03\x04aaaaaaaaaaaaaaaa").unwrap();
    let error = net.set_embeddings(&[Embedding { path: pickle, word: "x".to_owned() }]).unwrap_err();
    assert!(error.to_string().contains("pickle"), "{error}");
    for bad in ["", "two words", "a:b", "(a)", "a,b", &"x".repeat(101)] {
        let error = net.set_embeddings(&[word("style.safetensors", bad)]);
        assert!(matches!(error, Err(Error::Request(_))), "{bad}");
    }
    let twice = [good.clone(), word("cat-toy.safetensors", "My-Style")];
    assert!(matches!(net.set_embeddings(&twice), Err(Error::Request(_))));
}
