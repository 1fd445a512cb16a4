//! Single parts of a model, for comparing them with other engines. Not part of the public interface.

use std::path::Path;

use tch::{Device, Kind, Tensor};

use crate::Error;
use crate::adapters::embedding::{Embedding, Words};
use crate::adapters::lora::{Applied, Lora};
use crate::config::Config;
use crate::scheduler::Schedule;
use crate::text::{TextEncoder, TextInfo};
use crate::unet::{Conditioning, UNet, UNetConfig};
use crate::vae::{Vae, VaeConfig};
use crate::weights::find_file;

/// A UNet on the processor that is kept for several calls.
#[derive(Debug)]
pub struct LoadedUNet(UNet);

/// What a [`LoadedUNet`] computed from a prompt, once for all steps.
#[derive(Debug)]
pub struct Prompt(Conditioning);

impl LoadedUNet {
    /// Loads a UNet from a folder with config.json and weights.
    pub fn load(dir: &Path, kind: Kind) -> Result<Self, Error> {
        tch::no_grad(|| {
            let config = UNetConfig::read(&dir.join("config.json"))?;
            UNet::load(config, &find_file(dir, "diffusion_pytorch_model")?, Device::Cpu, kind).map(Self)
        })
    }

    /// Prepares the prompt's vectors, `[N, tokens, cross_attention_dim]`.
    pub fn prompt(&self, context: &Tensor) -> Result<Prompt, Error> {
        tch::no_grad(|| self.0.condition(context).map(Prompt))
    }

    /// The network's output for an input `[N, in_channels, h, w]` at one time.
    pub fn step(&self, input: &Tensor, time: f64, prompt: &Prompt) -> Result<Tensor, Error> {
        tch::no_grad(|| self.0.forward(input, time, &prompt.0))
    }
}

/// A model's UNet and text encoder on the processor, with adapters in force.
#[derive(Debug)]
pub struct Adapted {
    unet: UNet,
    text: Box<dyn TextEncoder>,
    loras: Applied,
    words: Words,
}

impl Adapted {
    /// Loads both out of a model folder.
    pub fn load(model: &Path, kind: Kind) -> Result<Self, Error> {
        let LoadedUNet(unet) = LoadedUNet::load(&model.join("unet"), kind)?;
        let index = Config::read_optional(&model.join("model_index.json"))?.unwrap_or_default();
        let text = tch::no_grad(|| TextInfo::read(model, &index)?.load(model, Device::Cpu, kind))?;
        Ok(Self { unet, text, loras: Applied::default(), words: Words::default() })
    }

    /// As [`crate::Pipeline::set_loras`].
    pub fn set_loras(&mut self, loras: &[Lora]) -> Result<Vec<String>, Error> {
        tch::no_grad(|| self.loras.set(loras, self.unet.slots(), &self.text.slots()))
    }

    /// As [`crate::Pipeline::set_embeddings`].
    pub fn set_embeddings(&mut self, embeddings: &[Embedding]) -> Result<(), Error> {
        tch::no_grad(|| self.words.set(embeddings, self.text.clips()))
    }

    /// The UNet's output.
    pub fn unet(&self, input: &Tensor, context: &Tensor, time: f64) -> Result<Tensor, Error> {
        tch::no_grad(|| self.unet.forward(input, time, &self.unet.condition(context)?))
    }

    /// A prompt's context.
    pub fn text(&self, prompt: &str) -> Result<Tensor, Error> {
        tch::no_grad(|| Ok(self.text.encode(prompt)?.context))
    }
}

/// Runs a UNet (a folder with config.json and weights) at several times.
pub fn unet(dir: &Path, input: &Tensor, context: &Tensor, times: &[f64], kind: Kind) -> Result<Vec<Tensor>, Error> {
    let net = LoadedUNet::load(dir, kind)?;
    let prompt = net.prompt(context)?;
    times.iter().map(|&time| net.step(input, time, &prompt)).collect()
}

/// Encodes pixels and decodes latents with an autoencoder (a folder with config.json and weights).
pub fn vae(dir: &Path, pixels: &Tensor, latents: &Tensor) -> Result<(Tensor, Tensor), Error> {
    tch::no_grad(|| {
        let config = VaeConfig::read(&dir.join("config.json"))?;
        let vae = Vae::load(config, &find_file(dir, "diffusion_pytorch_model")?, Device::Cpu)?;
        Ok((vae.encode(pixels)?, vae.decode(latents)?))
    })
}

/// Encodes prompts with a model's text encoder; `index` is its `model_index.json`, when it has one.
pub fn text(model: &Path, prompts: &[&str], kind: Kind) -> Result<Vec<(Tensor, Vec<String>)>, Error> {
    tch::no_grad(|| {
        let index = Config::read_optional(&model.join("model_index.json"))?.unwrap_or_default();
        let encoder = TextInfo::read(model, &index)?.load(model, Device::Cpu, kind)?;
        prompts.iter().map(|prompt| encoder.encode(prompt).map(|e| (e.context, e.warnings))).collect()
    })
}

/// A sampler's times, and the latents after each step for given outputs `[steps, ...]` of a network.
pub fn sample(
    config: &Path,
    sampler: &str,
    steps: usize,
    start: &Tensor,
    outputs: &Tensor,
) -> Result<(Vec<i64>, Vec<Tensor>), Error> {
    let mut sampler = Schedule::read(config)?.sampler(sampler, steps)?;
    let times = (0..steps).map(|step| sampler.timestep(step) as i64).collect();
    let mut latents = start.shallow_clone();
    let mut path = Vec::new();
    for step in 0..steps {
        latents = sampler.step(step, &outputs.f_select(0, step as i64)?, &latents)?.latents;
        path.push(latents.shallow_clone());
    }
    Ok((times, path))
}
