//! The denoising network: a UNet with cross-attention to the prompt, as in latent diffusion (Rombach et al., "High-
//! resolution image synthesis with latent diffusion models", CVPR 2022), with everything read from its config.json.

pub(crate) mod control;
mod guidance;

use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use crate::Error;
use crate::adapters::slot::Slots;
use crate::config::Config;
use crate::layers::{Conv, GroupNorm, LayerNorm, Linear, attend, channels_last, split_heads};
use crate::unet::control::Residuals;
use crate::weights::{Keep, Scope, Source, Weights};

/// What unet/config.json says.
#[derive(Debug, Clone)]
pub(crate) struct UNetConfig {
    pub(crate) in_channels: i64,
    pub(crate) out_channels: i64,
    pub(crate) sample_size: Option<i64>,
    pub(crate) cross_attention_dim: i64,
    /// What SDXL adds to the time.
    pub(crate) added: Option<AddedConfig>,
    channels: Vec<i64>,
    down: Vec<Kinds>,
    up: Vec<Kinds>,
    mid: Option<Kinds>,
    layers: Vec<i64>,
    heads: Vec<i64>,
    depths: Vec<i64>,
    groups: i64,
    eps: f64,
    linear_projection: bool,
    flip_sin_to_cos: bool,
    freq_shift: f64,
    /// Waves of the guidance scale that the network is told (`time_cond_proj_dim`), where it was distilled to obey it.
    guidance: Option<i64>,
}

/// SDXL tells the network six numbers: the original size, the crop's corner and the target size.
const SIZE_NUMBERS: i64 = 6;

/// The sizes of the added embedding (`addition_embed_type: "text_time"`).
#[derive(Debug, Clone)]
pub(crate) struct AddedConfig {
    /// Waves for each of the six numbers.
    time: i64,
    /// All inputs: the pooled prompt and the waves.
    inputs: i64,
}

impl AddedConfig {
    /// The length of the pooled prompt.
    pub(crate) fn pooled(&self) -> i64 {
        self.inputs - SIZE_NUMBERS * self.time
    }
}

/// Whether a block attends to the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kinds {
    Plain,
    CrossAttention,
}

impl UNetConfig {
    /// Checks unet/config.json.
    pub(crate) fn read(config: &Config) -> Result<Self, Error> {
        refuse_what_is_not_built(config)?;
        let channels = config.counts("block_out_channels")?;
        let n = channels.len();
        let kinds = |key: &str, plain: &str, cross: &str| -> Result<Vec<Kinds>, Error> {
            let list = config.texts(key)?;
            let kinds: Option<Vec<Kinds>> = list
                .iter()
                .map(|&name| match name {
                    _ if name == plain => Some(Kinds::Plain),
                    _ if name == cross => Some(Kinds::CrossAttention),
                    _ => None,
                })
                .collect();
            kinds
                .filter(|kinds| kinds.len() == n)
                .ok_or_else(|| config.refuse(key, format!("{n} blocks of the types {plain} and {cross} are expected")))
        };
        let down = kinds("down_block_types", "DownBlock2D", "CrossAttnDownBlock2D")?;
        let up = kinds("up_block_types", "UpBlock2D", "CrossAttnUpBlock2D")?;
        let mid = match (config.map().get("mid_block_type"), config.text("mid_block_type")?) {
            (None, _) | (_, Some("UNetMidBlock2DCrossAttn")) => Some(Kinds::CrossAttention),
            (_, Some("UNetMidBlock2D")) => Some(Kinds::Plain),
            (Some(Value::Null), _) => None,
            _ => return Err(config.refuse("mid_block_type", "UNetMidBlock2DCrossAttn or UNetMidBlock2D is expected")),
        };
        // `attention_head_dim` is, against its name, the number of heads, unless `num_attention_heads` is given: an old
        // mistake of the layout that every checkpoint relies on.
        let heads_key =
            if config.get("num_attention_heads").is_some() { "num_attention_heads" } else { "attention_head_dim" };
        let heads = config.count_per_block(heads_key, n, 8)?;
        let depths = config.count_per_block("transformer_layers_per_block", n, 1)?;
        let layers = config.count_per_block("layers_per_block", n, 2)?;
        let groups = config.count("norm_num_groups", Some(32))?;
        if config.map().get("norm_num_groups").is_some_and(Value::is_null) {
            return Err(config.refuse("norm_num_groups", "a number of groups is expected"));
        }
        for (i, (&width, &heads)) in channels.iter().zip(&heads).enumerate() {
            if width % groups != 0 {
                let why = format!("each must be a multiple of norm_num_groups ({groups})");
                return Err(config.refuse("block_out_channels", why));
            }
            if width % heads != 0 && (down[i] == Kinds::CrossAttention || up[n - 1 - i] == Kinds::CrossAttention) {
                return Err(config.refuse(heads_key, format!("block {i} has {width} channels, not a multiple of it")));
            }
        }
        let mid_depth_channels = *channels.last().unwrap_or(&1);
        if mid == Some(Kinds::CrossAttention) && mid_depth_channels % heads.last().unwrap_or(&1) != 0 {
            return Err(config.refuse(heads_key, format!("the middle block has {mid_depth_channels} channels")));
        }
        if channels[0] % 2 != 0 {
            return Err(config.refuse("block_out_channels", "the first must be even"));
        }
        let cross_attention_dim = match config.get("cross_attention_dim") {
            Some(Value::Array(_)) => return Err(config.refuse("cross_attention_dim", "one number is expected")),
            _ => config.count("cross_attention_dim", Some(1280))?,
        };
        let sample_size = match config.get("sample_size") {
            Some(Value::Number(_)) => Some(config.count("sample_size", None)?),
            _ => None,
        };
        let added = match config.text("addition_embed_type")? {
            None => None,
            Some("text_time") => Some(AddedConfig {
                time: config.count("addition_time_embed_dim", None)?,
                inputs: config.count("projection_class_embeddings_input_dim", None)?,
            }),
            Some(_) => return Err(config.refuse("addition_embed_type", "this engine supports only text_time (SDXL)")),
        };
        if let Some(added) = &added {
            if added.time % 2 != 0 {
                return Err(config.refuse("addition_time_embed_dim", "it must be even"));
            }
            if added.pooled() < 1 {
                let why = format!(
                    "it must have room for {SIZE_NUMBERS} numbers of {} (addition_time_embed_dim) and the prompt",
                    added.time
                );
                return Err(config.refuse("projection_class_embeddings_input_dim", why));
            }
        }
        Ok(Self {
            added,
            in_channels: config.count("in_channels", Some(4))?,
            out_channels: config.count("out_channels", Some(4))?,
            sample_size,
            cross_attention_dim,
            channels,
            down,
            up,
            mid,
            layers,
            heads,
            depths,
            groups,
            eps: config.number("norm_eps", 1e-5)?,
            linear_projection: config.flag("use_linear_projection", false)?,
            flip_sin_to_cos: config.flag("flip_sin_to_cos", true)?,
            freq_shift: config.number("freq_shift", 0.0)?,
            guidance: guidance::read(config)?,
        })
    }
}

/// What of one scale of the network its memory depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    pub(crate) channels: i64,
    pub(crate) layers: i64,
    pub(crate) attends: bool,
}

impl UNetConfig {
    /// The scales, the finest first; each has half the resolution of the one before.
    pub(crate) fn scales(&self) -> Vec<Scale> {
        let n = self.channels.len();
        let attends = |i: usize| self.down[i] == Kinds::CrossAttention || self.up[n - 1 - i] == Kinds::CrossAttention;
        let scale = |i: usize| Scale { channels: self.channels[i], layers: self.layers[i], attends: attends(i) };
        (0..n).map(scale).collect()
    }
}

/// Refuses configurations that ask for features which change the computation and are not here.
fn refuse_what_is_not_built(config: &Config) -> Result<(), Error> {
    for key in [
        "class_embed_type",
        "encoder_hid_dim",
        "encoder_hid_dim_type",
        "num_class_embeds",
        "time_embedding_dim",
        "time_embedding_act_fn",
        "timestep_post_act",
        "cross_attention_norm",
        "reverse_transformer_layers_per_block",
    ] {
        config.only(key, &Value::Null)?;
    }
    for (key, value) in [
        ("center_input_sample", json!(false)),
        ("class_embeddings_concat", json!(false)),
        ("conv_in_kernel", json!(3)),
        ("conv_out_kernel", json!(3)),
        ("downsample_padding", json!(1)),
        ("dual_cross_attention", json!(false)),
        ("mid_block_only_cross_attention", json!(false)),
        ("mid_block_scale_factor", json!(1)),
        ("only_cross_attention", json!(false)),
        ("resnet_out_scale_factor", json!(1.0)),
        ("resnet_skip_time_act", json!(false)),
        ("resnet_time_scale_shift", json!("default")),
        ("time_embedding_type", json!("positional")),
        ("attention_type", json!("default")),
    ] {
        config.only(key, &value)?;
    }
    if !matches!(config.text("act_fn")?, None | Some("silu" | "swish")) {
        return Err(config.refuse("act_fn", "this engine supports only silu"));
    }
    Ok(())
}

/// What does not change over the steps of one picture: the prompt's keys and values for each cross-attention layer,
/// and what SDXL adds to the time.
#[derive(Debug)]
pub(crate) struct Conditioning {
    /// For how many pictures it is, N: with guidance twice as many as are painted.
    batch: i64,
    /// Whether it is that of the negative prompt alone.
    away: bool,
    keys_values: Vec<(Tensor, Tensor)>,
    /// `[N, 4 * channels]`.
    added: Option<Tensor>,
    /// What the guidance scale adds to the waves of the time, `[1, channels]`.
    guidance: Option<Tensor>,
}

impl Conditioning {
    /// That of one of the prompts only; `index` counts them, the negative one first.
    pub(crate) fn one(&self, index: i64) -> Result<Self, Error> {
        let part = |x: &Tensor| -> Result<Tensor, Error> {
            Ok(if x.size().first() == Some(&1) { x.shallow_clone() } else { x.f_narrow(0, index, 1)? })
        };
        let keys_values = self.keys_values.iter().map(|(keys, values)| Ok((part(keys)?, part(values)?)));
        Ok(Self {
            batch: 1,
            away: self.batch > 1 && index == 0,
            keys_values: keys_values.collect::<Result<_, Error>>()?,
            added: self.added.as_ref().map(part).transpose()?,
            guidance: self.guidance.as_ref().map(Tensor::shallow_clone),
        })
    }
}

/// What SDXL is told beside the prompt's context.
#[derive(Debug)]
pub(crate) struct Added<'a> {
    /// `[N, pooled width]`.
    pub(crate) pooled: &'a Tensor,
    /// Original height and width, top and left of the crop, target height and width, in pixels.
    pub(crate) sizes: [f64; SIZE_NUMBERS as usize],
}

/// The network.
#[derive(Debug)]
pub(crate) struct UNet {
    config: UNetConfig,
    time_1: Linear,
    time_2: Linear,
    guidance: Option<Linear>,
    add: Option<(Linear, Linear)>,
    conv_in: Conv,
    down: Vec<DownBlock>,
    mid: Option<MidBlock>,
    /// Empty in the half that a control network has.
    up: Vec<UpBlock>,
    /// Likewise absent.
    out: Option<(GroupNorm, Conv)>,
    device: Device,
    kind: Kind,
    /// Last, because fields are dropped in order: the tensors above may lie in this map.
    keep: Keep,
}

impl UNet {
    /// Loads the weights that belong to a configuration.
    pub(crate) fn load(config: UNetConfig, source: &Source, device: Device, kind: Kind) -> Result<Self, Error> {
        let weights = Weights::open_source(source, device, kind)?.with_channels_last();
        let mut unet = Self::build(config, &weights, (device, kind), true)?;
        unet.keep = weights.finish(|name| name.ends_with(".position_ids"))?;
        Ok(unet)
    }

    /// Takes the network out of open weights, or without `whole` only the half before the way up. What keeps the
    /// weights must still be put into it.
    fn build(config: UNetConfig, weights: &Weights, on: (Device, Kind), whole: bool) -> Result<Self, Error> {
        let (device, kind) = on;
        let at = weights.root();
        let first = config.channels[0];
        let time = first * 4;
        let n = config.channels.len();
        let mut build = Builder { config: &config, time, cross_layers: 0 };

        let time_1 = Linear::load(&at.at("time_embedding.linear_1"), first, time)?;
        let time_2 = Linear::load(&at.at("time_embedding.linear_2"), time, time)?;
        let guidance = match config.guidance {
            None => None,
            Some(width) => Some(Linear::load_without_bias(&at.at("time_embedding.cond_proj"), width, first)?),
        };
        let add = match &config.added {
            None => None,
            Some(added) => Some((
                Linear::load(&at.at("add_embedding.linear_1"), added.inputs, time)?,
                Linear::load(&at.at("add_embedding.linear_2"), time, time)?,
            )),
        };
        let conv_in = Conv::load(&at.at("conv_in"), config.in_channels, first, 3, 1)?;
        let mut down = Vec::with_capacity(n);
        for i in 0..n {
            down.push(build.down(&at.at("down_blocks").at(i), i)?);
        }
        let mid = config.mid.map(|kind| build.mid(&at.at("mid_block"), kind)).transpose()?;
        let mut up = Vec::with_capacity(n);
        for i in (0..n).filter(|_| whole) {
            up.push(build.up(&at.at("up_blocks").at(i), i)?);
        }
        let out = if whole {
            let norm = GroupNorm::load(&at.at("conv_norm_out"), first, config.groups, config.eps)?;
            Some((norm, Conv::load(&at.at("conv_out"), first, config.out_channels, 3, 1)?))
        } else {
            None
        };
        let keep = Keep::nothing();
        Ok(Self { config, time_1, time_2, guidance, add, conv_in, down, mid, up, out, device, kind, keep })
    }

    /// The sizes of its layers.
    pub(crate) fn config(&self) -> &UNetConfig {
        &self.config
    }

    /// The weights that adapters can patch.
    pub(crate) fn slots(&self) -> &Slots {
        &self.keep.slots
    }

    /// Computes once per picture what the prompt contributes; `context` is `[N, tokens, cross_attention_dim]`.
    ///
    /// `added` is what SDXL needs beside it; other networks ignore it.
    pub(crate) fn condition(&self, context: &Tensor, added: Option<&Added<'_>>) -> Result<Conditioning, Error> {
        let context = context.f_to_device(self.device)?.f_to_kind(self.kind)?;
        let mut keys_values = Vec::new();
        let transformers = self
            .down
            .iter()
            .flat_map(|block| &block.attentions)
            .chain(self.mid.iter().flat_map(|block| block.rest.iter().map(|(attention, _)| attention)))
            .chain(self.up.iter().flat_map(|block| &block.attentions));
        for layer in transformers.flat_map(|transformer| &transformer.layers) {
            keys_values.push(layer.cross.keys_values(&context)?);
        }
        let added = match (&self.config.added, &self.add) {
            (Some(config), Some(layers)) => {
                let added = added.ok_or_else(|| Error::Internal {
                    doing: "preparing the prompt".to_owned(),
                    message: "this model needs a pooled prompt, and the text encoder gave none".to_owned(),
                })?;
                Some(self.embed_added(config, layers, added)?)
            }
            _ => None,
        };
        Ok(Conditioning { batch: context.size3()?.0, away: false, keys_values, added, guidance: None })
    }

    /// The pooled prompt and the picture's sizes, `[N, 4 * channels]`; the same at every step.
    fn embed_added(
        &self,
        config: &AddedConfig,
        (first, second): &(Linear, Linear),
        added: &Added<'_>,
    ) -> Result<Tensor, Error> {
        let pooled = added.pooled.f_to_device(self.device)?.f_to_kind(self.kind)?;
        let (n, _) = pooled.size2()?;
        let waves: Vec<f32> = added.sizes.iter().flat_map(|&size| self.waves(size, config.time)).collect();
        let waves = Tensor::f_from_slice(&waves)?
            .f_view([1, SIZE_NUMBERS * config.time])?
            .f_to_device(self.device)?
            .f_to_kind(self.kind)?
            .f_expand([n, SIZE_NUMBERS * config.time], false)?;
        second.forward(&first.forward(&Tensor::f_cat(&[pooled, waves], 1)?)?.f_silu()?)
    }

    /// The network's output `[N, out_channels, h, w]` in f32 for `input` `[N, in_channels, h, w]` at one time step.
    ///
    /// When all N inputs are the same, as with guidance, give `[1, in_channels, h, w]`: what comes before the first place
    /// where the prompts make a difference is then computed once.
    ///
    /// Any `h` and `w` work: odd ones are upsampled back to the size that they had on the way down.
    pub(crate) fn forward(&self, input: &Tensor, timestep: f64, with: &Conditioning) -> Result<Tensor, Error> {
        self.forward_controlled(input, timestep, with, None)
    }

    /// As [`UNet::forward`], steered by what control networks add to its hidden states.
    pub(crate) fn forward_controlled(
        &self,
        input: &Tensor,
        timestep: f64,
        with: &Conditioning,
        control: Option<&Residuals>,
    ) -> Result<Tensor, Error> {
        let time = self.embed_time(timestep, with)?;
        let (mut x, mut skips) = self.descend(self.enter(input)?, &time, with)?;
        if let Some(control) = control {
            control.add_to(&mut x, &mut skips)?;
        }
        for block in &self.up {
            x = block.forward(&x, &time, with, &mut skips)?;
        }
        let (norm, conv) = self.out.as_ref().ok_or_else(|| Error::Internal {
            doing: "denoising".to_owned(),
            message: "only half of a network is loaded".to_owned(),
        })?;
        let x = conv.forward(&norm.forward(&x)?.f_silu_()?)?;
        // A network without cross-attention never met the prompts.
        Ok(repeated(&x, with.batch)?.f_to_kind(Kind::Float)?.f_contiguous()?)
    }

    /// The first convolution.
    fn enter(&self, input: &Tensor) -> Result<Tensor, Error> {
        let input = input.f_to_kind(self.kind)?;
        // On the processor, norms, convolutions and the way into the transformers are fastest with the channels last.
        let input = if self.device == Device::Cpu { channels_last(&input)? } else { input };
        self.conv_in.forward(&input)
    }

    /// The way down and the middle, from the first convolution's output: the hidden state and the skips.
    fn descend(&self, x: Tensor, time: &Tensor, with: &Conditioning) -> Result<(Tensor, Vec<Tensor>), Error> {
        let mut skips = vec![x.shallow_clone()];
        let mut x = x;
        for block in &self.down {
            x = block.forward(&x, time, with, &mut skips)?;
        }
        if let Some(mid) = &self.mid {
            x = mid.forward(&x, time, with)?;
        }
        Ok((x, skips))
    }

    /// SiLU of the time embedding, `[1, 4 * channels]`: the same for the whole batch, so it is computed for one, unless
    /// something is added to it that differs, `[N, 4 * channels]`.
    fn embed_time(&self, timestep: f64, with: &Conditioning) -> Result<Tensor, Error> {
        let width = self.config.channels[0];
        let waves = Tensor::f_from_slice(&self.waves(timestep, width))?
            .f_view([1, width])?
            .f_to_device(self.device)?
            .f_to_kind(self.kind)?;
        let waves = match &with.guidance {
            Some(guidance) => waves.f_add(guidance)?,
            None => waves,
        };
        let time = self.time_2.forward(&self.time_1.forward(&waves)?.f_silu()?)?;
        let time = match &with.added {
            Some(added) => time.f_add(added)?,
            None => time,
        };
        Ok(time.f_silu()?)
    }

    /// A number as `width` waves of falling frequency (Vaswani et al., "Attention is all you need", 2017).
    fn waves(&self, number: f64, width: i64) -> Vec<f32> {
        let half = width / 2;
        let angles: Vec<f64> = (0..half)
            .map(|i| number * (-(10_000_f64.ln()) * i as f64 / (half as f64 - self.config.freq_shift)).exp())
            .collect();
        let (sines, cosines) = (angles.iter().map(|a| a.sin()), angles.iter().map(|a| a.cos()));
        if self.config.flip_sin_to_cos {
            cosines.chain(sines).map(|v| v as f32).collect()
        } else {
            sines.chain(cosines).map(|v| v as f32).collect()
        }
    }
}

/// Builds the blocks, counting the cross-attention layers so that each knows its place in [`Conditioning`].
struct Builder<'a> {
    config: &'a UNetConfig,
    time: i64,
    cross_layers: usize,
}

impl Builder<'_> {
    fn resnet(&self, at: &Scope<'_>, inputs: i64, outputs: i64) -> Result<Resnet, Error> {
        let (groups, eps) = (self.config.groups, self.config.eps);
        if inputs % groups != 0 {
            // Only possible for the sum of an input and a skip, and then the layout itself would refuse it.
            return Err(Error::Request(format!("{inputs} channels cannot be split into {groups} groups")));
        }
        Ok(Resnet {
            norm_1: GroupNorm::load(&at.at("norm1"), inputs, groups, eps)?,
            conv_1: Conv::load(&at.at("conv1"), inputs, outputs, 3, 1)?,
            time: Linear::load(&at.at("time_emb_proj"), self.time, outputs)?,
            norm_2: GroupNorm::load(&at.at("norm2"), outputs, groups, eps)?,
            conv_2: Conv::load(&at.at("conv2"), outputs, outputs, 3, 1)?,
            shortcut: if inputs == outputs {
                None
            } else {
                Some(Conv::load(&at.at("conv_shortcut"), inputs, outputs, 1, 1)?)
            },
        })
    }

    fn transformer(&mut self, at: &Scope<'_>, width: i64, heads: i64, depth: i64) -> Result<Transformer, Error> {
        let mut layers = Vec::new();
        for i in 0..depth {
            let at = at.at("transformer_blocks").at(i);
            let slot = self.cross_layers;
            self.cross_layers += 1;
            layers.push(TransformerLayer {
                norm_1: LayerNorm::load(&at.at("norm1"), width, 1e-5)?,
                own: Attention::load(&at.at("attn1"), width, width, heads)?,
                norm_2: LayerNorm::load(&at.at("norm2"), width, 1e-5)?,
                cross: Attention::load(&at.at("attn2"), width, self.config.cross_attention_dim, heads)?,
                norm_3: LayerNorm::load(&at.at("norm3"), width, 1e-5)?,
                feed_in: Linear::load(&at.at("ff.net.0.proj"), width, width * 8)?,
                feed_out: Linear::load(&at.at("ff.net.2"), width * 4, width)?,
                slot,
            });
        }
        let project = |name: &str| -> Result<Projection, Error> {
            let at = at.at(name);
            Ok(if self.config.linear_projection {
                Projection::Linear(Linear::load(&at, width, width)?)
            } else {
                Projection::Conv(Conv::load(&at, width, width, 1, 1)?)
            })
        };
        Ok(Transformer {
            norm: GroupNorm::load(&at.at("norm"), width, self.config.groups, 1e-6)?,
            project_in: project("proj_in")?,
            project_out: project("proj_out")?,
            layers,
        })
    }

    fn down(&mut self, at: &Scope<'_>, i: usize) -> Result<DownBlock, Error> {
        let width = self.config.channels[i];
        let before = if i == 0 { width } else { self.config.channels[i - 1] };
        let mut block = DownBlock { resnets: Vec::new(), attentions: Vec::new(), downsample: None };
        for layer in 0..self.config.layers[i] {
            let inputs = if layer == 0 { before } else { width };
            block.resnets.push(self.resnet(&at.at("resnets").at(layer), inputs, width)?);
            if self.config.down[i] == Kinds::CrossAttention {
                let (heads, depth) = (self.config.heads[i], self.config.depths[i]);
                block.attentions.push(self.transformer(&at.at("attentions").at(layer), width, heads, depth)?);
            }
        }
        if i + 1 < self.config.channels.len() {
            block.downsample = Some(Conv::load(&at.at("downsamplers.0.conv"), width, width, 3, 2)?);
        }
        Ok(block)
    }

    fn mid(&mut self, at: &Scope<'_>, kind: Kinds) -> Result<MidBlock, Error> {
        let last = self.config.channels.len() - 1;
        let width = self.config.channels[last];
        let first = self.resnet(&at.at("resnets.0"), width, width)?;
        let mut rest = Vec::new();
        if kind == Kinds::CrossAttention {
            let (heads, depth) = (self.config.heads[last], self.config.depths[last]);
            let attention = self.transformer(&at.at("attentions.0"), width, heads, depth)?;
            rest.push((attention, self.resnet(&at.at("resnets.1"), width, width)?));
        }
        Ok(MidBlock { first, rest })
    }

    fn up(&mut self, at: &Scope<'_>, i: usize) -> Result<UpBlock, Error> {
        let n = self.config.channels.len();
        let down = n - 1 - i;
        let width = self.config.channels[down];
        // The block below hands over its width; the skip of the last layer comes from the next level up.
        let before = self.config.channels[(down + 1).min(n - 1)];
        let above = self.config.channels[down.saturating_sub(1)];
        let mut block = UpBlock { resnets: Vec::new(), attentions: Vec::new(), upsample: None };
        let layers = self.config.layers[down] + 1;
        for layer in 0..layers {
            let inputs = if layer == 0 { before } else { width };
            let skip = if layer == layers - 1 { above } else { width };
            block.resnets.push(self.resnet(&at.at("resnets").at(layer), inputs + skip, width)?);
            if self.config.up[i] == Kinds::CrossAttention {
                let (heads, depth) = (self.config.heads[down], self.config.depths[down]);
                block.attentions.push(self.transformer(&at.at("attentions").at(layer), width, heads, depth)?);
            }
        }
        if i + 1 < n {
            block.upsample = Some(Conv::load(&at.at("upsamplers.0.conv"), width, width, 3, 1)?);
        }
        Ok(block)
    }
}

#[derive(Debug)]
struct Resnet {
    norm_1: GroupNorm,
    conv_1: Conv,
    time: Linear,
    norm_2: GroupNorm,
    conv_2: Conv,
    shortcut: Option<Conv>,
}

impl Resnet {
    fn forward(&self, x: &Tensor, time: &Tensor) -> Result<Tensor, Error> {
        let mut hidden = self.norm_1.forward(x)?.f_silu_()?;
        let shift = self.time.forward(time)?;
        // One variable for all of them: each is freed before the next but one is computed.
        hidden = if shift.size2()?.0 == 1 {
            // The same for all: then it is a bias, and the picture is passed over once less.
            self.conv_1.forward_shifted(&hidden, &shift.f_squeeze_dim(0)?)?
        } else {
            self.conv_1.forward(&hidden)?.f_add(&shift.f_unsqueeze(-1)?.f_unsqueeze(-1)?)?
        };
        hidden = self.norm_2.forward(&hidden)?.f_silu_()?;
        hidden = self.conv_2.forward(&hidden)?;
        // `x` may be one for all of the batch.
        Ok(match &self.shortcut {
            Some(conv) => hidden.f_add_(&conv.forward(x)?)?,
            None => hidden.f_add_(x)?,
        })
    }
}

#[derive(Debug)]
struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    out: Linear,
    heads: i64,
}

impl Attention {
    fn load(at: &Scope<'_>, width: i64, context: i64, heads: i64) -> Result<Self, Error> {
        Ok(Self {
            query: Linear::load_without_bias(&at.at("to_q"), width, width)?,
            key: Linear::load_without_bias(&at.at("to_k"), context, width)?,
            value: Linear::load_without_bias(&at.at("to_v"), context, width)?,
            out: Linear::load(&at.at("to_out.0"), width, width)?,
            heads,
        })
    }

    fn keys_values(&self, context: &Tensor) -> Result<(Tensor, Tensor), Error> {
        let key = split_heads(&self.key.forward(context)?, self.heads)?;
        Ok((key, split_heads(&self.value.forward(context)?, self.heads)?))
    }

    fn forward(&self, x: &Tensor, (key, value): &(Tensor, Tensor)) -> Result<Tensor, Error> {
        let query = split_heads(&self.query.forward(x)?, self.heads)?;
        let (n, heads, length, width) = query.size4()?;
        // One picture for all prompts.
        let wanted = key.size4()?.0;
        let query = if n < wanted { query.f_expand([wanted, heads, length, width], false)? } else { query };
        self.out.forward(&attend(&query, key, value, false)?)
    }
}

#[derive(Debug)]
struct TransformerLayer {
    norm_1: LayerNorm,
    own: Attention,
    norm_2: LayerNorm,
    cross: Attention,
    norm_3: LayerNorm,
    feed_in: Linear,
    feed_out: Linear,
    /// Its place in [`Conditioning`].
    slot: usize,
}

impl TransformerLayer {
    fn forward(&self, x: &Tensor, with: &Conditioning) -> Result<Tensor, Error> {
        let normed = self.norm_1.forward(x)?;
        let mut own = self.own.forward(&normed, &self.own.keys_values(&normed)?)?;
        let x = own.f_add_(x)?;
        let prompt = with.keys_values.get(self.slot).ok_or_else(|| Error::Internal {
            doing: "attending to the prompt".to_owned(),
            message: "the conditioning is that of another network".to_owned(),
        })?;
        let x = self.cross.forward(&self.norm_2.forward(&x)?, prompt)?.f_add_(&x)?;
        // GEGLU (Shazeer: "GLU variants improve transformer", 2020). Each half is computed by its half of the weight:
        // halves of one result would lie apart in memory, where the rest takes up to three times as long.
        let normed = self.norm_3.forward(&x)?;
        let (mut hidden, mut gate) =
            (self.feed_in.forward_part(&normed, 0, 2)?, self.feed_in.forward_part(&normed, 1, 2)?);
        let hidden = hidden.f_mul_(&gate.f_gelu_("none")?)?;
        Ok(self.feed_out.forward(&hidden)?.f_add_(&x)?)
    }
}

#[derive(Debug)]
enum Projection {
    Linear(Linear),
    Conv(Conv),
}

#[derive(Debug)]
struct Transformer {
    norm: GroupNorm,
    project_in: Projection,
    layers: Vec<TransformerLayer>,
    project_out: Projection,
}

impl Transformer {
    fn forward(&self, x: &Tensor, with: &Conditioning) -> Result<Tensor, Error> {
        let (_, width, high, wide) = x.size4()?;
        let plain = x.is_contiguous();
        let flatten = |x: &Tensor| -> Result<Tensor, Error> {
            Ok(x.f_permute([0, 2, 3, 1])?.f_reshape([-1, high * wide, width])?)
        };
        let unflatten = |x: &Tensor| -> Result<Tensor, Error> {
            let x = x.f_reshape([-1, high, wide, width])?.f_permute([0, 3, 1, 2])?;
            Ok(if plain { x.f_contiguous()? } else { x })
        };
        let normed = self.norm.forward(x)?;
        let mut hidden = match &self.project_in {
            Projection::Linear(linear) => linear.forward(&flatten(&normed)?)?,
            Projection::Conv(conv) => flatten(&conv.forward(&normed)?)?,
        };
        for layer in &self.layers {
            hidden = layer.forward(&hidden, with)?;
        }
        let mut out = match &self.project_out {
            Projection::Linear(linear) => unflatten(&linear.forward(&hidden)?)?,
            Projection::Conv(conv) => conv.forward(&unflatten(&hidden)?)?,
        };
        Ok(out.f_add_(x)?)
    }
}

#[derive(Debug)]
struct DownBlock {
    resnets: Vec<Resnet>,
    /// One for each resnet, or none.
    attentions: Vec<Transformer>,
    downsample: Option<Conv>,
}

impl DownBlock {
    fn forward(
        &self,
        x: &Tensor,
        time: &Tensor,
        with: &Conditioning,
        skips: &mut Vec<Tensor>,
    ) -> Result<Tensor, Error> {
        let mut x = x.shallow_clone();
        for (i, resnet) in self.resnets.iter().enumerate() {
            x = resnet.forward(&x, time)?;
            if let Some(attention) = self.attentions.get(i) {
                x = attention.forward(&x, with)?;
            }
            skips.push(x.shallow_clone());
        }
        if let Some(downsample) = &self.downsample {
            x = downsample.forward(&x)?;
            skips.push(x.shallow_clone());
        }
        Ok(x)
    }
}

#[derive(Debug)]
struct MidBlock {
    first: Resnet,
    rest: Vec<(Transformer, Resnet)>,
}

impl MidBlock {
    fn forward(&self, x: &Tensor, time: &Tensor, with: &Conditioning) -> Result<Tensor, Error> {
        let mut x = self.first.forward(x, time)?;
        for (attention, resnet) in &self.rest {
            x = resnet.forward(&attention.forward(&x, with)?, time)?;
        }
        Ok(x)
    }
}

#[derive(Debug)]
struct UpBlock {
    resnets: Vec<Resnet>,
    /// One for each resnet, or none.
    attentions: Vec<Transformer>,
    upsample: Option<Conv>,
}

impl UpBlock {
    fn forward(
        &self,
        x: &Tensor,
        time: &Tensor,
        with: &Conditioning,
        skips: &mut Vec<Tensor>,
    ) -> Result<Tensor, Error> {
        let mut x = x.shallow_clone();
        for (i, resnet) in self.resnets.iter().enumerate() {
            let skip = skips
                .pop()
                .ok_or_else(|| Error::from_torch_message("the up path has more layers than the down path"))?;
            let skip = repeated(&skip, x.size4()?.0)?;
            x = resnet.forward(&Tensor::f_cat(&[x, skip], 1)?, time)?;
            if let Some(attention) = self.attentions.get(i) {
                x = attention.forward(&x, with)?;
            }
        }
        if let Some(upsample) = &self.upsample {
            // To the size of the next skip, which is not always twice this one: halving rounds odd sizes up.
            let (high, wide) = if let Some(skip) = skips.last() {
                let (_, _, high, wide) = skip.size4()?;
                (high, wide)
            } else {
                let (_, _, high, wide) = x.size4()?;
                (high * 2, wide * 2)
            };
            x = upsample.forward(&x.f_upsample_nearest2d([high, wide], None, None)?)?;
        }
        Ok(x)
    }
}

/// `[1, ...]` as `[n, ...]`; others, and what already fits, as they are.
fn repeated(x: &Tensor, n: i64) -> Result<Tensor, Error> {
    if x.size4()?.0 == 1 && n > 1 {
        return Ok(Tensor::f_cat(&vec![x; n as usize], 0)?);
    }
    Ok(x.shallow_clone())
}
