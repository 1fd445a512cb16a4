//! The autoencoder between pictures and latents: diffusers-rs computes, this module brings the weights in. Pictures that
//! would need too much memory go through [`crate::tiling`].

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use diffusers::models::vae::{AutoEncoderKL, AutoEncoderKLConfig};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor, nn};

use crate::Error;
use crate::config::Config;
use crate::error::guard;
use crate::tiling::{Mode, Net, Tiling, Way};
use crate::weights::{Keep, Source, Weights};

/// What vae/config.json says.
#[derive(Debug, Clone)]
pub(crate) struct VaeConfig {
    pub(crate) latent_channels: i64,
    pub(crate) channels: Vec<i64>,
    pub(crate) layers: i64,
    pub(crate) groups: i64,
    scaling: f64,
    shift: f64,
    quant_conv: bool,
    post_quant_conv: bool,
}

impl VaeConfig {
    /// Checks vae/config.json.
    pub(crate) fn read(config: &Config) -> Result<Self, Error> {
        for (key, value) in [
            ("in_channels", json!(3)),
            ("out_channels", json!(3)),
            ("mid_block_add_attention", json!(true)),
            ("latents_mean", Value::Null),
            ("latents_std", Value::Null),
        ] {
            config.only(key, &value)?;
        }
        if !matches!(config.text("act_fn")?, None | Some("silu" | "swish")) {
            return Err(config.refuse("act_fn", "this engine supports only silu"));
        }
        let channels = config.counts("block_out_channels")?;
        for (key, kind) in [("down_block_types", "DownEncoderBlock2D"), ("up_block_types", "UpDecoderBlock2D")] {
            let list = config.texts(key)?;
            if list.len() != channels.len() || list.iter().any(|&name| name != kind) {
                return Err(config.refuse(key, format!("{} blocks of the type {kind} are expected", channels.len())));
            }
        }
        if channels.len() > 6 {
            return Err(config.refuse("block_out_channels", "at most 6 blocks are expected"));
        }
        let groups = config.count("norm_num_groups", Some(32))?;
        if channels.iter().any(|width| width % groups != 0) {
            let why = format!("each must be a multiple of norm_num_groups ({groups})");
            return Err(config.refuse("block_out_channels", why));
        }
        let scaling = config.number("scaling_factor", 0.18215)?;
        if scaling == 0.0 {
            return Err(config.refuse("scaling_factor", "it divides, so it must not be 0"));
        }
        let latent_channels = config.count("latent_channels", Some(4))?;
        if latent_channels > 256 {
            return Err(config.refuse("latent_channels", "at most 256 are expected"));
        }
        Ok(Self {
            latent_channels,
            channels,
            layers: config.count("layers_per_block", Some(1))?.min(64),
            groups,
            scaling,
            shift: config.number("shift_factor", 0.0)?,
            quant_conv: config.flag("use_quant_conv", true)?,
            post_quant_conv: config.flag("use_post_quant_conv", true)?,
        })
    }

    /// Pixels along the side of one latent: every block but the last halves the size.
    pub(crate) fn factor(&self) -> i64 {
        1 << (self.channels.len() - 1)
    }
}

/// The autoencoder, in f32.
#[derive(Debug)]
pub(crate) struct Vae {
    config: VaeConfig,
    model: AutoEncoderKL,
    device: Device,
    /// Every tensor of `model` by its name there.
    tensors: BTreeMap<String, Tensor>,
    tiling: Tiling,
    /// So many bytes the layers may take beside the weights.
    limit: AtomicU64,
    /// Last, because fields are dropped in order: the tensors above may lie in this map.
    _keep: Keep,
}

/// Log-variance that makes the encoder's distribution a point: a deviation of e^-30 vanishes in f32.
const NO_VARIANCE: f64 = -60.0;

impl Vae {
    /// Loads the weights that belong to a configuration.
    pub(crate) fn load(config: VaeConfig, source: &Source, device: Device) -> Result<Self, Error> {
        let weights = Weights::open_source(source, device, Kind::Float)?;
        check_sizes(&weights, &config)?;
        // The store starts with random numbers, which are replaced below, tensor by tensor and without a copy.
        let mut store = nn::VarStore::new(device);
        let settings = AutoEncoderKLConfig {
            block_out_channels: config.channels.clone(),
            layers_per_block: config.layers,
            latent_channels: config.latent_channels,
            norm_num_groups: config.groups,
        };
        let model = AutoEncoderKL::new(store.root(), 3, 3, settings);
        store.freeze();
        let mut tensors: BTreeMap<String, Tensor> = store.variables().into_iter().collect();
        for (name, variable) in &mut tensors {
            let shape = variable.size();
            let loaded = match name.split('.').next() {
                Some("quant_conv") => point_quant_conv(&weights, &config, name, &shape)?,
                Some("post_quant_conv") if !config.post_quant_conv => identity_conv(&shape)?,
                _ => weights.take(&file_name_of(&weights, name), &shape)?,
            };
            tch::no_grad(|| variable.f_set_data(&loaded.f_to_device(device)?))?;
        }
        let keep = weights.finish(|_| false)?;
        let (tiling, limit) = (Tiling::Auto, AtomicU64::new(u64::MAX));
        Ok(Self { config, model, device, tensors, tiling, limit, _keep: keep })
    }

    /// When to cut pictures into tiles.
    pub(crate) fn set_tiling(&mut self, tiling: Tiling) {
        self.tiling = tiling;
    }

    /// How many bytes the layers may take beside the weights from now on.
    pub(crate) fn set_limit(&self, bytes: u64) {
        self.limit.store(bytes, Ordering::Relaxed);
    }

    /// The sizes of its layers.
    pub(crate) fn config(&self) -> &VaeConfig {
        &self.config
    }

    /// How a picture of this many pixels is carried out within a number of bytes.
    pub(crate) fn mode(&self, way: Way, size: (i64, i64), limit: u64) -> Mode {
        Mode::choose(&self.config, way, size, limit, self.tiling)
    }

    /// The mean of the latent distribution, scaled: `[N, 3, H, W]` in -1..=1 to `[N, latent_channels, h, w]`.
    ///
    /// The mean rather than a draw, so that the same picture always has the same latents.
    pub(crate) fn encode(&self, pixels: &Tensor) -> Result<Tensor, Error> {
        let pixels = pixels.f_to_device(self.device)?.f_to_kind(Kind::Float)?;
        let (_, _, high, wide) = pixels.size4()?;
        let mean = self.within(Way::Encode, (high, wide), &pixels)?;
        Ok(mean.f_sub_scalar(self.config.shift)?.f_mul_scalar(self.config.scaling)?)
    }

    /// `[N, latent_channels, h, w]` to pixels `[N, 3, H, W]`, about -1..=1, not clamped.
    pub(crate) fn decode(&self, latents: &Tensor) -> Result<Tensor, Error> {
        let latents =
            latents.f_to_kind(Kind::Float)?.f_div_scalar(self.config.scaling)?.f_add_scalar(self.config.shift)?;
        let (_, _, high, wide) = latents.size4()?;
        let factor = self.config.factor();
        self.within(Way::Decode, (high * factor, wide * factor), &latents)
    }

    /// Runs one way within the limit, and more frugally when memory runs out nevertheless.
    fn within(&self, way: Way, size: (i64, i64), x: &Tensor) -> Result<Tensor, Error> {
        let mode = self.mode(way, size, self.limit.load(Ordering::Relaxed));
        match self.run(way, mode, x) {
            Err(Error::OutOfMemory { .. }) if self.tiling != Tiling::Never => {
                let frugal = self.mode(way, size, 0);
                self.run(way, frugal, x)
            }
            result => result,
        }
    }

    /// The layers one by one.
    pub(crate) fn net(&self) -> Net<'_> {
        Net { tensors: &self.tensors, config: &self.config }
    }

    fn run(&self, way: Way, mode: Mode, x: &Tensor) -> Result<Tensor, Error> {
        if mode == Mode::Whole {
            // diffusers-rs panics where libtorch fails.
            return guard("running the autoencoder", || {
                Ok(match way {
                    Way::Encode => self.model.encode(x).sample(),
                    Way::Decode => self.model.decode(x),
                })
            });
        }
        let net = self.net();
        let (n, _, _, _) = x.size4()?;
        let one = |i: i64| {
            let x = x.f_narrow(0, i, 1)?;
            tch::no_grad(|| match way {
                Way::Encode => net.encode(&x, mode),
                Way::Decode => net.decode(&x, mode),
            })
        };
        let all = (0..n).map(one).collect::<Result<Vec<_>, _>>()?;
        Ok(if let [only] = all.as_slice() { only.shallow_clone() } else { Tensor::f_cat(&all, 0)? })
    }
}

/// Compares the sizes that the configuration claims with the file, before memory is asked for them.
fn check_sizes(weights: &Weights, config: &VaeConfig) -> Result<(), Error> {
    for (i, &width) in config.channels.iter().enumerate() {
        let last = config.layers - 1;
        weights.check(&format!("encoder.down_blocks.{i}.resnets.{last}.conv2.weight"), &[width, width, 3, 3])?;
        let up = config.channels.len() - 1 - i;
        weights.check(&format!("decoder.up_blocks.{up}.resnets.{}.conv2.weight", last + 1), &[width, width, 3, 3])?;
    }
    let (first, latent) = (config.channels.last().copied().unwrap_or(1), config.latent_channels);
    weights.check("decoder.conv_in.weight", &[first, latent, 3, 3])
}

/// The name in the file for a name in diffusers-rs, which still has the old names of the attention in the middle.
fn file_name_of(weights: &Weights, name: &str) -> String {
    if weights.has(name) {
        return name.to_owned();
    }
    for (old, new) in [(".query.", ".to_q."), (".key.", ".to_k."), (".value.", ".to_v."), (".proj_attn.", ".to_out.0.")]
    {
        let renamed = name.replace(old, new);
        if renamed != name && weights.has(&renamed) {
            return renamed;
        }
    }
    name.to_owned()
}

/// The encoder's last layer with its log-variance half made constant.
///
/// diffusers-rs offers only a draw from the distribution, by libtorch's global generator. With no variance the draw is
/// the mean.
fn point_quant_conv(weights: &Weights, config: &VaeConfig, name: &str, shape: &[i64]) -> Result<Tensor, Error> {
    let loaded = if config.quant_conv { weights.take(name, shape)? } else { identity_conv(shape)? };
    let half = config.latent_channels;
    let mean = loaded.f_narrow(0, 0, half)?;
    let rest = loaded.f_narrow(0, half, half)?;
    let constant = if shape.len() == 1 { NO_VARIANCE } else { 0.0 };
    Ok(Tensor::f_cat(&[mean, rest.f_full_like(constant)?], 0)?)
}

/// A 1x1 convolution that changes nothing, for models without one.
fn identity_conv(shape: &[i64]) -> Result<Tensor, Error> {
    let options = (Kind::Float, Device::Cpu);
    // The bias has one axis, the weight four.
    Ok(if shape.len() == 1 {
        Tensor::f_zeros(shape, options)?
    } else {
        Tensor::f_eye(shape[0], options)?.f_view(shape)?
    })
}
