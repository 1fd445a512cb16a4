//! The UNet of Stable Diffusion 1.5 in candle under command: one JSON object a line on standard input, one answer a line
//! on standard output, as Outframe's side does it (crates/diffusion/examples/bench_engine.rs).
//!
//! The commands: `{"do": "load", "folder": ..., "inputs": ..., "threads": N}` (with `"slice": N`, attention takes so many
//! of its heads at a time, which is candle's own option for less memory), `{"do": "step", "side": N}` (a square of
//! N latents) and `{"do": "save", "path": ...}` for the last step's output. A step's `"alike"` is taken and not used:
//! candle computes the whole batch.

use std::collections::HashMap;
use std::io::{BufRead as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_core::{DType, Device, IndexOp as _, Tensor, safetensors, utils};
use candle_transformers::models::stable_diffusion::StableDiffusionConfig;
use candle_transformers::models::stable_diffusion::unet_2d::UNet2DConditionModel;
use serde_json::{Value, json};

/// The time that the network is asked about, the same on all sides; any would do.
const TIME: f64 = 500.0;
/// The channels of a latent.
const CHANNELS: usize = 4;

#[derive(Debug, serde::Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
enum Command {
    Load { folder: PathBuf, inputs: PathBuf, threads: usize, slice: Option<usize> },
    Step { side: usize },
    Save { path: PathBuf },
}

#[derive(Debug)]
struct Bench {
    net: UNet2DConditionModel,
    sample: Tensor,
    context: Tensor,
    output: Option<Tensor>,
}

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let mut bench = None;
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let answer =
            obey(&mut bench, serde_json::from_str(&line?)?).unwrap_or_else(|e| json!({"error": e.to_string()}));
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

fn obey(bench: &mut Option<Bench>, command: Command) -> Outcome<Value> {
    let started = Instant::now();
    match (command, bench) {
        (Command::Load { folder, inputs, threads, slice }, bench) => {
            // Rayon and candle read this from the environment, and cannot be told later.
            let actual = utils::get_num_threads();
            if actual != threads {
                return Err(format!("RAYON_NUM_THREADS must be {threads}; candle would use {actual} threads").into());
            }
            let weights = folder.join("diffusion_pytorch_model.safetensors");
            let config = StableDiffusionConfig::v1_5(slice, None, None);
            let net = config.build_unet(weights, &Device::Cpu, CHANNELS, false, DType::F32)?;
            let seconds = started.elapsed().as_secs_f64();
            let mut inputs = read(&inputs)?;
            let mut input = |name: &str| inputs.remove(name).ok_or_else(|| format!("the inputs have no {name}"));
            *bench = Some(Bench { net, sample: input("sample")?, context: input("context")?, output: None });
            Ok(json!({"seconds": seconds}))
        }
        (Command::Step { side }, Some(Bench { net, sample, context, output })) => {
            let input = sample.i((.., .., ..side, ..side))?.contiguous()?;
            *output = Some(net.forward(&input, TIME, context)?);
            Ok(json!({"seconds": started.elapsed().as_secs_f64()}))
        }
        (Command::Save { path }, Some(Bench { output: Some(output), .. })) => {
            output.save_safetensors("output", path)?;
            Ok(json!({}))
        }
        (_, _) => Err("load, then step, then save".into()),
    }
}

fn read(path: &Path) -> Outcome<HashMap<String, Tensor>> {
    Ok(safetensors::load(path, &Device::Cpu)?)
}
