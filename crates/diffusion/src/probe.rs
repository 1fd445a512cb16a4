//! Single parts of a model, for comparing them with other engines. Not part of the public interface.

use std::path::Path;

use image::RgbImage;
use tch::{Device, Kind, Tensor};

use crate::Error;
use crate::adapters::embedding::{Embedding, Words};
use crate::adapters::lora::{Applied, Lora};
use crate::config::Config;
use crate::estimate::{numbers, scratch};
use crate::model::{Description, NETWORK};
use crate::scheduler::{Ask, Schedule};
use crate::text::{TextEncoder, TextInfo, TextPart, Tokenizer, prompt};
use crate::tiling::{Tiling, Way};
use crate::tiny::Tiny;
use crate::unet::control::{Base, ControlNet};
use crate::unet::{Added, Conditioning, UNet, UNetConfig};
use crate::vae::{Vae, VaeConfig};
use crate::weights::find_files;

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
            let config = UNetConfig::read(&Config::read(&dir.join("config.json"))?)?;
            UNet::load(config, &find_files(dir, NETWORK)?, Device::Cpu, kind).map(Self)
        })
    }

    /// Bytes that a step is estimated to take beside the weights.
    pub fn estimate(&self, batch: u64, (high, wide): (i64, i64)) -> u64 {
        (batch * numbers(self.0.config(), (high, wide)) + scratch(self.0.config())) * 4
    }

    /// Prepares the prompt's vectors, `[N, tokens, cross_attention_dim]`.
    pub fn prompt(&self, context: &Tensor) -> Result<Prompt, Error> {
        tch::no_grad(|| self.0.condition(context, None).map(Prompt))
    }

    /// Prepares the prompt's vectors as SDXL wants them, with the pooled prompts `[N, pooled width]` and the six sizes.
    pub fn prompt_with(&self, context: &Tensor, pooled: &Tensor, sizes: [f64; 6]) -> Result<Prompt, Error> {
        tch::no_grad(|| self.0.condition(context, Some(&Added { pooled, sizes })).map(Prompt))
    }

    /// The network's output for an input `[N, in_channels, h, w]` at one time.
    pub fn step(&self, input: &Tensor, time: f64, prompt: &Prompt) -> Result<Tensor, Error> {
        tch::no_grad(|| self.0.forward(input, time, &prompt.0))
    }
}

/// How a control network steers a [`LoadedUNet`].
#[derive(Debug, Clone, Copy)]
pub struct Steered<'a> {
    /// The control network's folder or file.
    pub path: &'a Path,
    /// The picture `[1, 3, H, W]` in 0..=1.
    pub pixels: &'a Tensor,
    /// How strongly it counts.
    pub scale: f64,
    /// Pixels along the side of one latent.
    pub factor: i64,
}

impl LoadedUNet {
    /// What a control network adds to the hidden states, and the UNet's output with it.
    pub fn steered(
        &self,
        by: Steered<'_>,
        (input, time): (&Tensor, f64),
        (context, added): (&Tensor, Option<(&Tensor, [f64; 6])>),
    ) -> Result<(Vec<Tensor>, Tensor), Error> {
        tch::no_grad(|| {
            let net = ControlNet::load(by.path, Base { unet: &self.0, latent_channels: 4, vae_factor: by.factor })?;
            let added = added.map(|(pooled, sizes)| Added { pooled, sizes });
            let (own, with) = (self.0.condition(context, added.as_ref())?, net.condition(context, added.as_ref())?);
            let residuals = net.forward(input, time, &with, &net.embed(by.pixels)?, by.scale)?;
            Ok((residuals.tensors()?, self.0.forward_controlled(input, time, &own, Some(&residuals))?))
        })
    }

    /// As [`LoadedUNet::step`], for a network that is told the guidance scale.
    pub fn guided_step(&self, input: &Tensor, time: f64, context: &Tensor, guidance: f64) -> Result<Tensor, Error> {
        tch::no_grad(|| {
            let mut with = self.0.condition(context, None)?;
            self.0.tell_guidance(guidance, &mut with)?;
            self.0.forward(input, time, &with)
        })
    }
}

/// Stretches a control network's picture to the size of a job.
pub fn stretch(image: &RgbImage, width: u32, height: u32) -> Result<RgbImage, Error> {
    crate::unet::control::stretch(image, width, height)
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
        let text = tch::no_grad(|| text_encoder(model, kind))?;
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
        tch::no_grad(|| self.unet.forward(input, time, &self.unet.condition(context, None)?))
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
        let config = VaeConfig::read(&Config::read(&dir.join("config.json"))?)?;
        let vae = Vae::load(config, &find_files(dir, NETWORK)?, Device::Cpu)?;
        Ok((vae.encode(pixels)?, vae.decode(latents)?))
    })
}

/// An autoencoder on the processor within a number of bytes.
#[derive(Debug)]
pub struct LoadedVae(Vae, u64);

impl LoadedVae {
    /// Loads an autoencoder from a folder with config.json and weights. It takes the fastest way that needs at most `limit`
    /// bytes.
    pub fn load(dir: &Path, (tiling, limit): (Tiling, u64)) -> Result<Self, Error> {
        tch::no_grad(|| {
            let config = VaeConfig::read(&Config::read(&dir.join("config.json"))?)?;
            let mut vae = Vae::load(config, &find_files(dir, NETWORK)?, Device::Cpu)?;
            vae.set_tiling(tiling);
            vae.set_limit(limit);
            Ok(Self(vae, limit))
        })
    }

    /// Pixels to latents.
    pub fn encode(&self, pixels: &Tensor) -> Result<Tensor, Error> {
        tch::no_grad(|| self.0.encode(pixels))
    }

    /// Latents to pixels.
    pub fn decode(&self, latents: &Tensor) -> Result<Tensor, Error> {
        tch::no_grad(|| self.0.decode(latents))
    }

    /// The ways that are taken for a picture of so many pixels, and the bytes that they are estimated to take.
    pub fn ways(&self, (high, wide): (i64, i64)) -> [(String, u64); 2] {
        [Way::Encode, Way::Decode].map(|way| {
            let mode = self.0.mode(way, (high, wide), self.1);
            (format!("{mode:?}"), mode.bytes(self.0.config(), way, (high, wide)))
        })
    }
}

/// Decodes latents with a tiny decoder, a folder or a file.
pub fn tiny(path: &Path, latents: &Tensor) -> Result<Tensor, Error> {
    let channels = latents.size4()?.1;
    tch::no_grad(|| Tiny::load(path, channels, Device::Cpu)?.decode(latents))
}

/// The text encoder of a folder that may hold nothing else; its `model_index.json` counts, when it has one.
fn text_encoder(model: &Path, kind: Kind) -> Result<Box<dyn TextEncoder>, Error> {
    let index = Config::read_optional(&model.join("model_index.json"))?.unwrap_or_default();
    let folder = model.join("text_encoder");
    let part = TextPart {
        config: Config::read(&folder.join("config.json"))?,
        source: find_files(&folder, "model")?,
        tokenizer: Tokenizer::Folder(model.join("tokenizer")),
    };
    let parts = [part];
    TextInfo::read(&parts, &index)?.load(&parts, Device::Cpu, kind)
}

/// Encodes prompts with a model's text encoder; its `model_index.json` counts, when it has one.
pub fn text(model: &Path, prompts: &[&str], kind: Kind) -> Result<Vec<(Tensor, Vec<String>)>, Error> {
    tch::no_grad(|| {
        let encoder = text_encoder(model, kind)?;
        prompts.iter().map(|prompt| encoder.encode(prompt).map(|e| (e.context, e.warnings))).collect()
    })
}

/// The context and the pooled prompt, if any, of a complete model's text encoders, cut off at the token limit.
pub fn whole_text(model: &Path, prompt: &str) -> Result<(Tensor, Option<Tensor>), Error> {
    tch::no_grad(|| {
        let Description { text, parts, .. } = Description::read(model, None)?;
        let encoded = text.load(&parts.text, Device::Cpu, Kind::Float)?.encode(prompt)?;
        Ok((encoded.context, encoded.pooled))
    })
}

/// As [`context`], and the pooled prompt, of a complete model's text encoders.
pub fn whole_context(model: &Path, prompt: &str, skip: usize, least: usize) -> Result<(Tensor, Option<Tensor>), Error> {
    tch::no_grad(|| {
        let Description { text, parts, .. } = Description::read(model, None)?;
        let encoder = text.load(&parts.text, Device::Cpu, Kind::Float)?;
        let (encoded, _) = prompt::encode(&*encoder, &prompt::Prompt::parse(prompt).at(0, 1), skip, least)?;
        Ok((encoded.context, encoded.pooled))
    })
}

/// The whole context of a prompt as the pipeline makes it, with weights and chunks, in its first step; at least `least`
/// chunks, and `skip` layers left out.
pub fn context(model: &Path, prompt: &str, skip: usize, least: usize) -> Result<Tensor, Error> {
    tch::no_grad(|| {
        let encoder = text_encoder(model, Kind::Float)?;
        let spans = prompt::Prompt::parse(prompt).at(0, 1);
        Ok(prompt::encode(&*encoder, &spans, skip, least)?.0.context)
    })
}

/// What [`sample`] gives a sampler instead of a network and a noise generator.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// The network's outputs `[calls, ...]`, in the order of the calls.
    pub outputs: &'a Tensor,
    /// The fresh noise `[steps, ...]`, by step.
    pub noises: &'a Tensor,
}

/// A sampler's times and the latents after each step from `first` on, starting from `start` there. The times are those
/// that the network is asked at.
pub fn sample(
    config: &Path,
    (sampler, steps, first): (&str, usize, usize),
    start: &Tensor,
    given: Given<'_>,
) -> Result<(Vec<f64>, Vec<Tensor>), Error> {
    let mut sampler = Schedule::read(config)?.sampler(sampler, steps)?;
    let mut times = Vec::new();
    let mut latents = start.shallow_clone();
    let mut path = Vec::new();
    for step in first..steps {
        let mut network = |_: &Tensor, time: f64| {
            times.push(time);
            Ok(given.outputs.f_select(0, times.len() as i64 - 1)?)
        };
        let mut noise = || Ok(given.noises.f_select(0, step as i64)?);
        latents = sampler.step(step, &latents, &mut Ask { network: &mut network, noise: &mut noise })?.latents;
        path.push(latents.shallow_clone());
    }
    Ok((times, path))
}

/// The signal and spread before each step of a sampler and after its last, and the factor of the noise at the start.
pub fn levels(config: &Path, sampler: &str, steps: usize) -> Result<(Vec<(f64, f64)>, f64), Error> {
    let sampler = Schedule::read(config)?.sampler(sampler, steps)?;
    let levels = (0..steps).map(|step| sampler.before(step)).chain([sampler.after(steps - 1)]);
    Ok((levels.map(|level| (level.signal, level.spread)).collect(), sampler.start()))
}
