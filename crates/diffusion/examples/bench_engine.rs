//! A UNet under command: one JSON object a line on standard input, one answer a line on standard output.
//!
//! This is the engine's side of the comparison in `scripts/bench.py`, which measures time and memory from outside.
//! The commands: `{"do": "load", "folder": ..., "inputs": ..., "threads": N}`, `{"do": "step", "side": N}` (a square of
//! N latents; with `"alike": true` the first of the batch stands for all, as in guidance) and `{"do": "save", "path": ...}` for the last step's output.

use std::collections::HashMap;
use std::io::{BufRead as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use outframe_diffusion::probe::{LoadedUNet, Prompt};
use serde_json::{Value, json};
use tch::{Kind, Tensor};

/// The time that the network is asked about; any would do.
const TIME: f64 = 500.0;

#[derive(Debug, serde::Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
enum Command {
    Load {
        folder: PathBuf,
        inputs: PathBuf,
        threads: i32,
        #[serde(default)]
        kind: String,
    },
    Step {
        side: i64,
        #[serde(default)]
        alike: bool,
    },
    Save {
        path: PathBuf,
    },
}

#[derive(Debug)]
struct Bench {
    // The prompt is made in the first step, as a picture's first step needs it.
    prompt: Option<Prompt>,
    net: LoadedUNet,
    sample: Tensor,
    context: Tensor,
    output: Option<Tensor>,
}

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    outframe_diffusion::keep_freed_memory();
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
        (Command::Load { folder, inputs, threads, kind }, bench) => {
            tch::set_num_threads(threads);
            let net = LoadedUNet::load(
                &folder,
                match kind.as_str() {
                    "bf16" => Kind::BFloat16,
                    "f16" => Kind::Half,
                    _ => Kind::Float,
                },
            )?;
            let seconds = started.elapsed().as_secs_f64();
            let mut inputs = read(&inputs)?;
            let mut input = |name: &str| inputs.remove(name).ok_or_else(|| format!("the inputs have no {name}"));
            *bench =
                Some(Bench { prompt: None, net, sample: input("sample")?, context: input("context")?, output: None });
            Ok(json!({"seconds": seconds}))
        }
        (Command::Step { side, alike }, Some(bench)) => {
            let Bench { prompt, net, sample, context, output } = bench;
            let prompt = match prompt {
                Some(prompt) => prompt,
                none => none.insert(net.prompt(context)?),
            };
            let input = sample
                .f_narrow(0, 0, if alike { 1 } else { sample.size()[0] })?
                .f_narrow(2, 0, side)?
                .f_narrow(3, 0, side)?
                .f_contiguous()?;
            *output = Some(net.step(&input, TIME, prompt)?);
            Ok(json!({"seconds": started.elapsed().as_secs_f64()}))
        }
        (Command::Save { path }, Some(Bench { output: Some(output), .. })) => {
            Tensor::write_safetensors(&[("output", output)], path)?;
            Ok(json!({}))
        }
        (_, _) => Err("load, then step, then save".into()),
    }
}

fn read(path: &Path) -> Outcome<HashMap<String, Tensor>> {
    Ok(Tensor::read_safetensors(path)?.into_iter().collect())
}
