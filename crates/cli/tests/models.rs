//! The model library from the command line, with the real program and folders of its own.
#![allow(clippy::unwrap_used, reason = "also the helpers beside the tests fail the test when they cannot go on")]

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs the program as a person whose folders are all in this place, and who is offline.
    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outframe"));
        command.args(arguments).current_dir(self.0.path());
        for (name, folder) in [("HOME", "."), ("XDG_DATA_HOME", "data"), ("XDG_CACHE_HOME", "cache"), ("HF_HOME", "hf")]
        {
            command.env(name, self.path(folder));
        }
        for name in ["OUTFRAME_MODELS", "HF_TOKEN", "HF_HUB_OFFLINE"] {
            command.env_remove(name);
        }
        for name in ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"] {
            command.env_remove(name).env_remove(name.to_lowercase());
        }
        command.env("HF_ENDPOINT", "http://127.0.0.1:1");
        command
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[&["--json"], arguments].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

/// A `SafeTensors` file of 32-bit numbers.
fn write(path: &Path, tensors: &BTreeMap<String, Vec<u64>>) {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (seed, (name, shape)) in (0_u32..).zip(tensors) {
        let begin = data.len();
        let count = shape.iter().product::<u64>() as u32;
        let scale = if shape.len() > 1 { (1.0 / f64::from(count / shape[0] as u32)).sqrt() } else { 0.1 };
        for i in 0..count {
            let hash = (i.wrapping_mul(2_654_435_761) ^ seed.wrapping_mul(0x9e37_79b9)).wrapping_mul(0x85eb_ca6b);
            let unit = f64::from(hash >> 16) / 32768.0 - 1.0;
            let value = if shape.len() == 1 && name.ends_with("weight") { 1.0 + unit * 0.1 } else { unit * scale };
            data.extend((value as f32).to_le_bytes());
        }
        header.insert(name.clone(), json!({"dtype": "F32", "shape": shape, "data_offsets": [begin, data.len()]}));
    }
    let header = serde_json::to_vec(&header).unwrap();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.extend(data);
    fs::write(path, file).unwrap();
}

/// A complete checkpoint of the layout of Stable Diffusion 1.x, but tiny.
fn checkpoint(path: &Path) {
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/parity/fixtures/families/sd1/case.json");
    let case: Value = serde_json::from_slice(&fs::read(case).unwrap()).unwrap();
    let mut tensors = BTreeMap::new();
    for (key, made) in case["ldm"].as_object().unwrap() {
        let shape = case["shapes"][made[1].as_str().unwrap()].as_array().unwrap();
        let mut shape: Vec<_> = shape.iter().map(|side| side.as_u64().unwrap()).collect();
        if made[0] == "conv" {
            shape.extend([1, 1]);
        }
        tensors.insert(key.clone(), shape);
    }
    write(path, &tensors);
    fs::write(path.with_extension("yaml"), "model:\n  params:\n    num_heads: 4\n").unwrap();
}

#[test]
fn a_checkpoint_in_one_file_paints_by_path_and_by_name() {
    let place = Place::new();
    checkpoint(&place.path("tiny.safetensors"));
    let told = place.json(&["models", "add", "tiny.safetensors", "--name", "meadow"]);
    assert_eq!((&told["kind"], &told["name"]), (&json!("checkpoint"), &json!("meadow")), "{told}");
    let paint = |model: &str, out: &str| {
        let size = ["--size", "64x64", "--steps", "2", "--seed", "7"];
        place.json(&[&["generate", "a lake", "--model", model, "--out", out], &size[..]].concat());
        fs::read(place.path(out)).unwrap()
    };
    let by_path = paint("tiny.safetensors", "path.png");
    assert!(by_path.starts_with(b"\x89PNG") && by_path == paint("meadow", "name.png"));
    let listed = place.json(&["models", "list"]);
    let meadow = listed.as_array().unwrap().iter().find(|model| model["name"] == "meadow").unwrap();
    assert_eq!(meadow["problem"], Value::Null, "{meadow}");
    assert!(meadow["info"]["weight_bytes"].as_u64().unwrap() > 1_000_000, "{meadow}");
}

#[test]
fn models_are_added_verified_and_removed() {
    let place = Place::new();
    let key = "lora_unet_x_attn2_to_k.lora_down.weight".to_owned();
    write(&place.path("ink.safetensors"), &BTreeMap::from([(key.clone(), vec![4, 2048])]));
    let output = place.run(&["models", "add", "ink.safetensors", "--copy"]);
    assert!(output.status.success());
    let said = String::from_utf8(output.stderr).unwrap() + &String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("SDXL, LoRA, f32") && said.contains("copied"), "{said}");
    let file = place.path("data/outframe/models/loras/ink.safetensors");
    assert!(file.is_file());
    assert_eq!(place.json(&["models", "info", "ink"])["family"], "SDXL");
    assert!(place.refused(&["models", "add", "ink.safetensors"]).contains("already"));
    assert!(place.refused(&["generate", "a lake", "--model", "ink", "--out", "a.png"]).contains("LoRA"));

    assert_eq!(place.json(&["models", "verify", "ink"])[0]["compared"], false);
    assert_eq!(place.json(&["models", "verify", "ink"])[0]["compared"], true);
    write(&file, &BTreeMap::from([(key, vec![8, 2048])]));
    for _ in 0..2 {
        assert!(place.refused(&["models", "verify", "ink"]).contains("--accept"));
    }
    place.json(&["models", "verify", "ink", "--accept"]);
    assert_eq!(place.json(&["models", "verify", "ink"])[0]["compared"], true);

    assert!(place.refused(&["models", "remove", "ink"]).contains("--yes"));
    assert_eq!(place.json(&["models", "remove", "ink", "--yes"])["link"], false);
    assert!(!file.exists());
    fs::write(place.path("old.ckpt"), "pickle").unwrap();
    assert!(place.refused(&["models", "add", "old.ckpt"]).contains("pickle"));
}

#[test]
fn the_catalogue_is_listed_and_offline_is_said() {
    let place = Place::new();
    let listed = place.json(&["models", "list", "--catalog"]);
    let entry = listed.as_array().unwrap().iter().find(|entry| entry["name"] == "sd-1.5").unwrap();
    assert_eq!((&entry["installed"], &entry["family"]), (&json!(false), &json!("SD 1.x")), "{entry}");
    let error = place.refused(&["models", "download", "sd-1.5"]);
    assert!(error.contains("cannot be reached"), "{error}");
    assert!(place.refused(&["models", "download", "what"]).contains("catalogue"));
}

#[test]
fn a_proxy_is_used() {
    let place = Place::new();
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", proxy.local_addr().unwrap());
    let asked = std::thread::spawn(move || {
        let mut stream = proxy.accept().unwrap().0;
        let mut line = String::new();
        BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").unwrap();
        line
    });
    let mut command = place.command(&["models", "download", "sd-1.5"]);
    let output = command.env("HTTPS_PROXY", address).env("HF_ENDPOINT", "https://hub.example").output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("hub.example cannot be reached"), "{said}");
    let line = asked.join().unwrap();
    assert!(line.starts_with("CONNECT hub.example:443"), "{line}");
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_a_download_that_hangs() {
    let place = Place::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", silent.local_addr().unwrap());
    let mut command = place.command(&["models", "download", "sd-1.5"]);
    let child = command.env("HF_ENDPOINT", address).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let _held = silent.accept().unwrap();
    let begun = std::time::Instant::now();
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert!(begun.elapsed() < std::time::Duration::from_secs(5));
}
