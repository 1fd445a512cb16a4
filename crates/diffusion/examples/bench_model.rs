//! A whole model under command, as `bench_engine` is for a UNet alone; the engine's side of `scripts/bench_full.py`.
//!
//! `{"do": "load", "path": ..., "precision": ..., "threads": N}` and `{"do": "paint", "size": N, "steps": N}`, which
//! answers with the seconds, by the clock and of processor time, at the beginning, after each step and at the end.

use std::io::{BufRead as _, Write as _};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use outframe_diffusion::{Generate, LoadOptions, Pipeline, Sampling};
use serde_json::{Value, json};

#[derive(Debug, serde::Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
enum Command {
    Load { path: PathBuf, precision: String, threads: usize },
    Paint { size: u32, steps: u32, prompt: String, guidance: f64 },
}

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    outframe_diffusion::keep_freed_memory();
    let mut model = None;
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let answer =
            obey(&mut model, serde_json::from_str(&line?)?).unwrap_or_else(|e| json!({"error": e.to_string()}));
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

/// Processor seconds of this process, all threads.
fn processor() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    // Linux counts in hundredths for programs, whatever the kernel's own clock.
    fields.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn obey(model: &mut Option<Pipeline>, command: Command) -> Outcome<Value> {
    let started = Instant::now();
    let now = || [started.elapsed().as_secs_f64(), processor()];
    match command {
        Command::Load { path, precision, threads } => {
            let options =
                LoadOptions { precision: precision.parse()?, threads: Some(threads), ..LoadOptions::default() };
            let loaded = Pipeline::load(&path, &options)?;
            let answer = json!({
                "seconds": now()[0], "summary": loaded.info().summary(), "weight_bytes": loaded.info().weight_bytes,
                "precision": loaded.precision().to_string(), "unused": loaded.info().unused,
            });
            *model = Some(loaded);
            Ok(answer)
        }
        Command::Paint { size, steps, prompt, guidance } => {
            let model = model.as_ref().ok_or("load first")?;
            let sampling = Sampling {
                prompt,
                negative: String::new(),
                steps,
                guidance,
                sampler: "ddim".to_owned(),
                seed: 1,
                preview: false,
                clip_skip: 0,
                guidance_rescale: 0.0,
            };
            let mut marks = Vec::new();
            let request = Generate { sampling, width: size, height: size, take: 0 };
            model.generate(&request, &mut |_| {
                marks.push(now());
                ControlFlow::Continue(())
            })?;
            marks.push(now());
            Ok(json!({"marks": marks}))
        }
    }
}
