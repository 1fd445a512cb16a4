//! More than a thousand models with a damaged file: each loads or ends in an error that names its cause, and none takes the
//! process along or asks for much memory. The damage is the same in every run.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test fail it")]

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use outframe_diffusion::{Error, Generate, LoadOptions, Pipeline, Sampling, inspect};
use serde_json::{Value, json};

/// `SplitMix64` (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

/// What no configuration should hold, and some of what it may.
fn strange(chance: &mut Chance) -> Value {
    let values = [
        json!(null),
        json!(0),
        json!(1),
        json!(-1),
        json!(2),
        json!(3),
        json!(65_537),
        json!(1_048_576),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(1e308),
        json!(-1e-308),
        json!(0.5),
        json!(true),
        json!(false),
        json!(""),
        json!("\u{0}"),
        json!("../../../etc/passwd"),
        json!("x".repeat(10_000)),
        json!([]),
        json!({}),
        json!([[[[]]]]),
        json!([1_048_576, 1_048_576, 1_048_576]),
        json!([0, -1]),
        json!(vec![8; 16]),
        json!(vec![1; 100_000]),
        json!({"a": {"b": [1, {"c": null}]}}),
    ];
    values[chance.below(values.len())].clone()
}

/// Changes one place of a JSON value: puts something strange there, takes it away, or doubles it.
fn damage(value: &mut Value, chance: &mut Chance) {
    let go_deeper = chance.below(3) > 0;
    match value {
        Value::Object(map) if !map.is_empty() => {
            let key = map.keys().nth(chance.below(map.len())).unwrap().clone();
            match chance.below(6) {
                0 => {
                    map.remove(&key);
                }
                _ if go_deeper && (map[&key].is_array() || map[&key].is_object()) => damage(&mut map[&key], chance),
                _ => map[&key] = strange(chance),
            }
        }
        Value::Array(list) if !list.is_empty() => {
            let at = chance.below(list.len());
            match chance.below(4) {
                0 => {
                    list.remove(at);
                }
                1 => list.push(list[at].clone()),
                _ if go_deeper && list[at].is_array() => damage(&mut list[at], chance),
                _ => list[at] = strange(chance),
            }
        }
        other => *other = strange(chance),
    }
}

fn all_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(all_files(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

/// Loads a model and paints a dot with it: whatever happens, it is told and not a defect.
fn attempt(model: &Path, what: &str) -> bool {
    let told = |error: &Error| {
        assert!(!matches!(error, Error::Internal { .. }), "{what}: {error}");
        assert!(error.to_string().len() < 20_000, "{what}: an endless message");
    };
    if let Err(error) = inspect(model) {
        told(&error);
    }
    let options = LoadOptions { threads: Some(1), ..LoadOptions::default() };
    let pipeline = match Pipeline::load(model, &options) {
        Ok(pipeline) => pipeline,
        Err(error) => {
            told(&error);
            return false;
        }
    };
    let sampling = Sampling {
        prompt: "a lake".to_owned(),
        negative: String::new(),
        steps: 1,
        guidance: 2.0,
        sampler: "ddim".to_owned(),
        seed: 1,
        preview: false,
        clip_skip: 0,
        guidance_rescale: 0.0,
    };
    let side = pipeline.size_multiple() * 2;
    let request = Generate { sampling, width: side, height: side, take: 0 };
    if let Err(error) = pipeline.generate(&request, &mut |_| ControlFlow::Continue(())) {
        told(&error);
    }
    true
}

#[test]
fn a_thousand_damaged_models_are_refused_or_painted_with() {
    let mut chance = Chance(2024);
    let (mut tried, mut loaded) = (0, 0);
    for name in ["painter", "filler"] {
        let dir = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/parity/fixtures/models").join(name);
        let mut files = Vec::new();
        for file in all_files(&source) {
            let inside = file.strip_prefix(&source).unwrap().to_path_buf();
            let target = dir.path().join(&inside);
            std::fs::create_dir_all(target.parent().unwrap()).unwrap();
            std::fs::copy(&file, &target).unwrap();
            let ending = inside.extension().unwrap_or_default().to_string_lossy().into_owned();
            let counts = ["json", "safetensors", "txt"].contains(&ending.as_str());
            // Inputs and outputs for other tests lie there, too.
            if counts && !inside.ends_with("io.safetensors") && inside.file_stem().is_none_or(|stem| stem != "prompts")
            {
                files.push((inside, ending));
            }
        }
        assert!(attempt(dir.path(), name));
        for round in 0..600 {
            let (file, ending) = &files[round % files.len()];
            let path = dir.path().join(file);
            let good = std::fs::read(&path).unwrap();
            let mut bad = good.clone();
            if ending == "json" && chance.below(4) > 0 {
                let mut value: Value = serde_json::from_slice(&good).unwrap();
                for _ in 0..=chance.below(2) {
                    damage(&mut value, &mut chance);
                }
                bad = value.to_string().into_bytes();
            } else {
                // The header of weights is the part that can lie.
                let reach =
                    if ending == "safetensors" && chance.below(4) > 0 { bad.len().min(4000) } else { bad.len() };
                for _ in 0..=chance.below(6) {
                    let at = chance.below(reach);
                    bad[at] = chance.next() as u8;
                }
                if chance.below(8) == 0 {
                    bad.truncate(chance.below(good.len()));
                }
            }
            std::fs::write(&path, &bad).unwrap();
            tried += 1;
            loaded += usize::from(attempt(dir.path(), &format!("{name}, {}, round {round}", file.display())));
            std::fs::write(&path, &good).unwrap();
        }
    }
    println!("{tried} models, of which {loaded} could be loaded nevertheless");
    assert!(tried >= 1000 && loaded > tried / 20 && loaded < tried * 9 / 10, "{loaded} of {tried}");
    #[cfg(target_os = "linux")]
    {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        let peak = line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024;
        println!("peak {peak} MB");
        assert!(peak < 1000, "{peak} MB");
    }
}
