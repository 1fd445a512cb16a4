//! A tiny decoder for previews ("TAESD", Ollin Boer Bohan's tiny autoencoder for Stable Diffusion): a few small convolutions
//! that come near to what the real autoencoder would show, in a fraction of the time.
//!
//! Two layouts of the same layers are read: a folder of Python diffusers' `AutoencoderTiny`, and the maker's own file
//! `taesd_decoder.safetensors`. The layers are told from the names in the file: a number with `.conv.` is a block, one with a
//! weight is a convolution, and one without anything is an enlargement, or the activation after the first convolution.

use std::path::{Path, PathBuf};

use tch::{Device, Kind, Tensor};

use crate::Error;
use crate::config::Config;
use crate::layers::Conv;
use crate::model::NETWORK;
use crate::weights::{Keep, Scope, Source, Weights, find_files};

/// The real ones have 19 layers.
const MAX_LAYERS: usize = 64;

/// Wider ones would not be tiny.
const MAX_CHANNELS: i64 = 1024;

/// More doublings than this do not exist, and their pictures would fill the memory.
const MAX_DOUBLINGS: usize = 4;

/// Larger latents are made smaller first, cells along a side.
const MAX_LATENTS: i64 = 64;

/// The decoder.
#[derive(Debug)]
pub(crate) struct Tiny {
    layers: Vec<Layer>,
    device: Device,
    /// Last, because fields are dropped in order: the tensors above may lie in this map.
    _keep: Keep,
}

#[derive(Debug)]
enum Layer {
    Conv(Conv),
    Relu,
    Double,
    Block { convs: [Conv; 3], shortcut: Option<Conv> },
}

/// Looks for a decoder that belongs to a model: in its folder, and where `shared` for Stable Diffusion or SDXL, also beside
/// it.
pub(crate) fn find(model: &Path, name: &str, shared: bool) -> Option<PathBuf> {
    let beside = model.parent().filter(|_| shared);
    let inside = Some(model).filter(|_| model.is_dir());
    inside.into_iter().chain(beside).find_map(|folder| {
        let file = folder.join(format!("{name}_decoder.safetensors"));
        let inner = folder.join(name);
        if file.is_file() { Some(file) } else { Some(inner).filter(|inner| inner.join("config.json").is_file()) }
    })
}

impl Tiny {
    /// Loads a decoder for latents of so many channels.
    pub(crate) fn load(path: &Path, channels: i64, device: Device) -> Result<Self, Error> {
        let source = if path.is_dir() {
            let config = Config::read(&path.join("config.json"))?;
            config.only("act_fn", &"relu".into())?;
            config.only("upsample_fn", &"nearest".into())?;
            config.only("upsampling_scaling_factor", &2.into())?;
            config.only("scaling_factor", &1.into())?;
            find_files(path, NETWORK)?
        } else {
            Source::file(path)
        };
        let weights = Weights::open_source(&source, device, Kind::Float)?;
        let bad = |problem: &str| Error::Weights {
            path: source.files.first().cloned().unwrap_or_default(),
            problem: format!("{problem}; a decoder as of TAESD is expected"),
        };
        let (root, first) = if weights.has("decoder.layers.0.weight") {
            (weights.root().at("decoder.layers"), 0)
        } else {
            (weights.root(), 1)
        };
        let prefix = if first == 0 { "decoder.layers." } else { "" };
        let shape = |name: &str| weights.shape(&format!("{prefix}{name}")).map(<[i64]>::to_vec);
        let number = |name: &str| name.strip_prefix(prefix)?.split('.').next()?.parse::<usize>().ok();
        let last = weights.tensors().filter_map(|(name, _)| number(name)).max().unwrap_or(0);
        if last > MAX_LAYERS {
            return Err(bad(&format!("it has a layer {last}")));
        }
        let mut layers = Vec::new();
        let mut width = channels;
        let mut doublings = 0;
        for i in first..=last {
            let at = root.at(i);
            if let Some(shape) = shape(&format!("{i}.conv.0.weight")) {
                let (block, outputs) = load_block(&at, width, shape.first().copied().unwrap_or(0))?;
                layers.push(block);
                width = outputs;
            } else if let Some(shape) = shape(&format!("{i}.weight")) {
                let outputs = shape.first().copied().unwrap_or(0);
                if !(1..=MAX_CHANNELS).contains(&outputs) {
                    return Err(bad(&format!("its layer {i} has {outputs} channels")));
                }
                layers.push(Layer::Conv(Conv::load_any(&at, width, outputs, 3)?));
                width = outputs;
            } else if layers.len() == 1 {
                layers.push(Layer::Relu);
            } else {
                doublings += 1;
                layers.push(Layer::Double);
            }
        }
        if width != 3 || layers.len() < 3 || doublings > MAX_DOUBLINGS {
            return Err(bad(&format!("its {} layers end in {width} channels", layers.len())));
        }
        let keep = weights.finish(|name| name.starts_with("encoder."))?;
        Ok(Self { layers, device, _keep: keep })
    }

    /// `[1, channels, h, w]`, scaled as the denoising network sees them, to `[1, 3, H, W]` in about -1..=1.
    pub(crate) fn decode(&self, latents: &Tensor) -> Result<Tensor, Error> {
        let x = latents.f_to_device(self.device)?.f_to_kind(Kind::Float)?;
        // Numbers far out would shine through; this is how it was trained.
        let mut x = x.f_div_scalar(3.0)?.f_tanh()?.f_mul_scalar(3.0)?;
        for layer in &self.layers {
            x = match layer {
                Layer::Conv(conv) => conv.forward(&x)?,
                Layer::Relu => x.f_relu()?,
                Layer::Double => {
                    let (_, _, high, wide) = x.size4()?;
                    x.f_upsample_nearest2d([high * 2, wide * 2], None, None)?
                }
                Layer::Block { convs: [first, second, third], shortcut } => {
                    let inner = second.forward(&first.forward(&x)?.f_relu()?)?.f_relu()?;
                    let inner = third.forward(&inner)?;
                    match shortcut {
                        Some(conv) => inner.f_add(&conv.forward(&x)?)?,
                        None => inner.f_add(&x)?,
                    }
                    .f_relu()?
                }
            };
        }
        Ok(x.f_mul_scalar(2.0)?.f_sub_scalar(1.0)?)
    }

    /// As [`Tiny::decode`], of latents that are made smaller when there are many.
    pub(crate) fn look(&self, latents: &Tensor) -> Result<Tensor, Error> {
        let (_, _, high, wide) = latents.size4()?;
        let longest = high.max(wide);
        if longest <= MAX_LATENTS {
            return self.decode(latents);
        }
        let fit = |side: i64| (side * MAX_LATENTS / longest).max(1);
        self.decode(&latents.f_adaptive_avg_pool2d([fit(high), fit(wide)])?)
    }
}

fn load_block(at: &Scope<'_>, inputs: i64, outputs: i64) -> Result<(Layer, i64), Error> {
    let outputs = outputs.clamp(1, MAX_CHANNELS);
    let conv = |i: usize, inputs: i64| Conv::load_any(&at.at("conv").at(i), inputs, outputs, 3);
    let convs = [conv(0, inputs)?, conv(2, outputs)?, conv(4, outputs)?];
    let shortcut = if inputs == outputs { None } else { Some(Conv::load_any(&at.at("skip"), inputs, outputs, 1)?) };
    Ok((Layer::Block { convs, shortcut }, outputs))
}
