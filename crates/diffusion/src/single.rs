//! Checkpoints in one file, in the layout of the original latent diffusion code: Stable Diffusion 1.x, 2.x and SDXL.
//!
//! Such a file has neither configuration nor tokenizer. Names and shapes of its tensors tell the family and the sizes;
//! from them come the configurations that a diffusers folder would have, and the names are translated to the
//! diffusers ones. What they cannot tell is read from the file's metadata or from the original configuration beside it
//! (`<name>.yaml`), and else assumed: see [`Hints`].

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use tch::{Device, Kind};

use crate::Error;
use crate::config::{Config, read_small};
use crate::model::{Parts, Unused};
use crate::text::{TextPart, Tokenizer};
use crate::weights::{Place, Source, Weights};

const UNET: &str = "model.diffusion_model.";
const VAE: &str = "first_stage_model.";
const SD_1: &str = "cond_stage_model.transformer.";
const SD_2: &str = "cond_stage_model.model.";
const SDXL_1: &str = "conditioner.embedders.0.transformer.";
const SDXL_2: &str = "conditioner.embedders.1.model.";

/// More blocks than any network of these families has.
pub(crate) const MAX_BLOCKS: usize = 64;

/// Tensors that such files carry and that painting does not need: those of training, and constants.
const IGNORED_STARTS: [&str; 8] = [
    "model_ema.",
    "first_stage_model.loss.",
    "first_stage_model.model_ema.",
    "sqrt_",
    "posterior_",
    "alphas_cumprod",
    "log_one_minus_alphas_cumprod",
    "denoiser.",
];
const IGNORED: [&str; 7] = ["betas", "scale_factor", "logvar", "lvlb_weights", "global_step", "v_pred", "ztsnr"];
/// Those among the ignored that mark what the network predicts.
const MARKS: [&str; 2] = ["v_pred", "ztsnr"];
const IGNORED_ENDS: [&str; 3] = [".position_ids", ".logit_scale", ".attn_mask"];

pub(crate) fn ignored(name: &str) -> bool {
    IGNORED_STARTS.iter().any(|start| name.starts_with(start))
        || IGNORED.contains(&name)
        || IGNORED_ENDS.iter().any(|end| name.ends_with(end))
}

/// Why an ignored tensor is of no use for painting.
fn reason(name: &str) -> &'static str {
    if name.contains("model_ema.") {
        "a second copy of the weights, averaged over the training"
    } else if name.starts_with("first_stage_model.loss.") || ["logvar", "lvlb_weights", "global_step"].contains(&name) {
        "only used in training"
    } else if MARKS.contains(&name) {
        "marks what the network predicts; read from its presence"
    } else if IGNORED_ENDS.iter().any(|end| name.ends_with(end)) {
        "a constant of the text encoder, or what only compares text with pictures"
    } else {
        "the noise schedule, which is computed"
    }
}

pub(crate) type Names = BTreeMap<String, Place>;

pub(crate) fn plain(key: &str) -> Place {
    Place { key: key.to_owned(), part: None, transposed: false }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Sd1,
    Sd2,
    Sdxl,
}

/// Reads a checkpoint in one file: its header only.
pub(crate) fn read(path: &Path) -> Result<Parts, Error> {
    let weights = Weights::open(path, Device::Cpu, Kind::Float)?;
    let family = family(path, &weights)?;
    let hints = Hints::read(path, &weights)?;
    let unet = UNetLayout::read(path, &weights, UNET)?;
    let (mut unet_names, mut vae_names) = (Names::new(), Names::new());
    let mut text_names = vec![Names::new(); if family == Family::Sdxl { 2 } else { 1 }];
    let vae_levels = levels(&weights, VAE);
    let last_layer = format!("{SD_2}transformer.resblocks.{}.", open_clip_layers(&weights, SD_2).saturating_sub(1));
    let mut unknown = Vec::new();
    let mut unused = Unused::default();
    for (key, _) in weights.tensors() {
        let known = if ignored(key) {
            unused.add(reason(key), key);
            true
        } else if let Some(name) = key.strip_prefix(UNET) {
            unet.name(name).map(|name| unet_names.insert(name, plain(key))).is_some()
        } else if let Some(name) = key.strip_prefix(VAE) {
            vae_name(name, vae_levels).map(|name| vae_names.insert(name, plain(key))).is_some()
        } else if let Some(name) = key.strip_prefix(if family == Family::Sdxl { SDXL_1 } else { SD_1 }) {
            text_name(name).map(|name| text_names[0].insert(name, plain(key))).is_some()
        } else if let Some(name) = key.strip_prefix(SDXL_2).filter(|_| family == Family::Sdxl) {
            open_clip_names(name, key, &mut text_names[1])
        } else if let Some(name) = key.strip_prefix(SD_2).filter(|_| family == Family::Sd2) {
            // SD 2.x was trained with the states before the last layer, so that layer has no use.
            if name == "text_projection" || key.starts_with(&last_layer) {
                unused.add("the text encoder's last layer, which this family leaves out", key);
                true
            } else {
                open_clip_names(name, key, &mut text_names[0])
            }
        } else {
            false
        };
        if !known {
            unknown.push(key.to_owned());
        }
    }
    if !unknown.is_empty() {
        return Err(unexpected(path, &unknown));
    }

    let velocity = hints.velocity.unwrap_or(family == Family::Sd2 && unet.in_channels == 4);
    let native = match (family, velocity) {
        (Family::Sdxl, _) => 1024,
        (Family::Sd2, true) => 768,
        _ => 512,
    };
    let scaling = if family == Family::Sdxl { 0.130_25 } else { 0.182_15 };
    let texts = text_parts(path, &weights, family, text_names)?;
    let pooled = texts.last().and_then(|part| part.config.get("projection_dim")).and_then(Value::as_i64);
    let source = |names: Names| Source { files: vec![path.to_path_buf()], names: Some(names) };
    let mut scheduler = json!({
        "beta_start": 0.000_85, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000,
        "prediction_type": if velocity { "v_prediction" } else { "epsilon" }, "clip_sample": false,
        "set_alpha_to_one": false, "steps_offset": 1, "timestep_spacing": "leading",
    });
    if hints.zero_snr {
        scheduler["rescale_betas_zero_snr"] = json!(true);
        scheduler["timestep_spacing"] = json!("trailing");
    }
    Ok(Parts {
        name: path.file_stem().map_or_else(|| "model".to_owned(), |name| name.to_string_lossy().into_owned()),
        index: Config::derived(
            path,
            json!({"native_size": native, "force_zeros_for_empty_prompt": family == Family::Sdxl}),
        ),
        unet: (Config::derived(path, unet.config(family, &hints, pooled)), source(unet_names)),
        vae: (vae_config(path, &weights, &vae_names, scaling, 0.0)?, source(vae_names)),
        text: texts,
        scheduler: Config::derived(path, scheduler),
        own: None,
        unused,
    })
}

pub(crate) fn not_a_model(path: &Path, reason: &str) -> Error {
    Error::NotAModel { path: path.to_path_buf(), reason: reason.to_owned() }
}

pub(crate) fn unexpected(path: &Path, names: &[String]) -> Error {
    let some = names.iter().take(5).map(String::as_str).collect::<Vec<_>>().join(", ");
    let problem = format!(
        "it holds {} tensors that have no place in a model of its family (such as {some}); it is of another family, or \
         something was merged into it that would be lost",
        names.len()
    );
    Error::Weights { path: path.to_path_buf(), problem }
}

/// Which family it is, or what else the file is.
fn family(path: &Path, weights: &Weights) -> Result<Family, Error> {
    let any = |prefix: &str| weights.tensors().any(|(name, _)| name.starts_with(prefix));
    let holds = |word: &str| weights.tensors().any(|(name, _)| name.contains(word));
    if holds("lora_") || holds("lora.") || holds("hada_w1") || holds("lokr_w1") {
        return Err(not_a_model(path, "it is a LoRA, which changes a model; load a model and then add it"));
    }
    if holds("double_blocks.") || holds("joint_blocks.") {
        let reason =
            "it is a transformer such as Flux or Stable Diffusion 3; Stable Diffusion 1.x, 2.x and SDXL are supported";
        return Err(not_a_model(path, reason));
    }
    // Some of them hold the model's UNet and autoencoder as well.
    if any("control_model.") || any("controlnet_") || any("input_hint_block.") {
        let reason = "it is a ControlNet, which steers a model; load a model and give this with a picture";
        return Err(not_a_model(path, reason));
    }
    if !any(UNET) {
        let reason = if any("down_blocks.") {
            "it is a denoising network alone; load the folder in the diffusers layout that it belongs to"
        } else if any("encoder.") || any(VAE) {
            "it is an autoencoder alone; load a model and give this as its autoencoder"
        } else {
            "it has no tensors of a denoising network (model.diffusion_model); Stable Diffusion 1.x, 2.x and SDXL in \
             one file are supported"
        };
        return Err(not_a_model(path, reason));
    }
    if !any(VAE) {
        return Err(not_a_model(path, "it has no autoencoder (first_stage_model); a complete checkpoint is needed"));
    }
    if any(SDXL_1) && any(SDXL_2) {
        Ok(Family::Sdxl)
    } else if any("conditioner.embedders.0.model.") {
        Err(not_a_model(path, "it is SDXL's refiner, which only improves other models' pictures; load the base model"))
    } else if any(SD_2) {
        Ok(Family::Sd2)
    } else if any(SD_1) {
        Ok(Family::Sd1)
    } else {
        Err(not_a_model(path, "it has no text encoder; a complete checkpoint is needed"))
    }
}

/// What tensors cannot tell.
///
/// Whether the network predicts the noise or the velocity is taken from, in this order: a tensor `v_pred` (and `ztsnr`
/// for a schedule that ends in pure noise), which some trainers leave as a sign; `<name>.yaml` or `<name>.yml` beside
/// the file, the original configuration with `parameterization: "v"` or `"eps"`; `<name>.json` with `parameterization`
/// or `prediction_type`; the file's own metadata (`modelspec.prediction_type`). Else SD 2.x predicts the velocity, as
/// its 768-pixel model does, unless it is made for filling; all others predict the noise.
#[derive(Debug, Default, Clone, PartialEq)]
struct Hints {
    velocity: Option<bool>,
    zero_snr: bool,
    heads: Option<i64>,
    head_width: Option<i64>,
}

impl Hints {
    fn read(path: &Path, weights: &Weights) -> Result<Self, Error> {
        let marked = weights.shape("v_pred").is_some();
        let mut hints = Self {
            velocity: weights.metadata("modelspec.prediction_type").and_then(is_velocity),
            zero_snr: weights.shape("ztsnr").is_some(),
            ..Self::default()
        };
        let json = path.with_extension("json");
        if json.is_file() {
            let config = Config::read(&json)?;
            for key in ["parameterization", "prediction_type"] {
                if let Some(value) = config.text(key)? {
                    let known = is_velocity(value).ok_or_else(|| config.refuse(key, "eps or v is expected"))?;
                    hints.velocity = Some(known);
                }
            }
        }
        for extension in ["yaml", "yml"] {
            let yaml = path.with_extension(extension);
            if yaml.is_file() {
                let text = read_small(&yaml, 1 << 20)?;
                hints.read_yaml(&String::from_utf8_lossy(&text));
            }
        }
        if marked {
            hints.velocity = Some(true);
        }
        Ok(hints)
    }

    /// Looks for the few keys that matter; they are unique in the original configurations.
    fn read_yaml(&mut self, text: &str) {
        let count = |value: &str| value.parse().ok().filter(|n| (1..=1024).contains(n));
        for line in text.lines() {
            let Some((key, value)) = line.split('#').next().and_then(|line| line.split_once(':')) else { continue };
            let value = value.trim().trim_matches(['"', '\'']);
            match key.trim() {
                "parameterization" => self.velocity = is_velocity(value).or(self.velocity),
                "num_heads" => self.heads = count(value).or(self.heads),
                "num_head_channels" => self.head_width = count(value).or(self.head_width),
                _ => {}
            }
        }
    }
}

fn is_velocity(word: &str) -> Option<bool> {
    match word {
        "v" | "v_prediction" | "v-prediction" => Some(true),
        "eps" | "epsilon" => Some(false),
        _ => None,
    }
}

/// What one of the numbered input blocks is.
#[derive(Debug, Clone, Copy)]
enum Block {
    Layer { level: usize, layer: usize },
    Downsample { level: usize },
}

/// The sizes of the denoising network.
#[derive(Debug)]
pub(crate) struct UNetLayout {
    in_channels: i64,
    out_channels: i64,
    context: i64,
    linear: bool,
    /// Of the added embedding, for SDXL.
    added: Option<i64>,
    blocks: Vec<Block>,
    layers: usize,
    /// Channels of each level.
    channels: Vec<i64>,
    /// Transformer layers of each level, 0 for none.
    depths: Vec<i64>,
    mid_depth: i64,
}

impl UNetLayout {
    /// Reads the network whose names begin with `prefix`: a UNet, or the half of one that a control network is.
    pub(crate) fn read(path: &Path, weights: &Weights, prefix: &str) -> Result<Self, Error> {
        let shape = |name: &str| weights.shape(&format!("{prefix}{name}"));
        let axis = |name: &str, axis: usize| -> Result<i64, Error> {
            let size = shape(name).and_then(|shape| shape.get(axis)).copied();
            size.ok_or_else(|| {
                not_a_model(path, &format!("its denoising network lacks `{prefix}{name}`; the file is incomplete"))
            })
        };
        let depth = |at: &str| {
            let exists = |i: &usize| shape(&format!("{at}.transformer_blocks.{i}.norm1.weight")).is_some();
            (0..MAX_BLOCKS).take_while(exists).count() as i64
        };
        let mut blocks = vec![];
        let (mut channels, mut depths, mut counts) = (Vec::new(), Vec::new(), Vec::new());
        let mut layer = 0;
        for i in 1..MAX_BLOCKS {
            if let Some(size) = shape(&format!("input_blocks.{i}.0.in_layers.2.weight")) {
                if layer == 0 {
                    channels.push(size.first().copied().unwrap_or(0));
                    depths.push(depth(&format!("input_blocks.{i}.1")));
                }
                blocks.push(Block::Layer { level: channels.len() - 1, layer });
                layer += 1;
            } else if shape(&format!("input_blocks.{i}.0.op.weight")).is_some() && layer > 0 {
                blocks.push(Block::Downsample { level: channels.len() - 1 });
                counts.push(layer);
                layer = 0;
            } else {
                break;
            }
        }
        counts.push(layer);
        let layers = counts[0];
        if layers == 0 || counts.iter().any(|&count| count != layers) {
            return Err(not_a_model(path, "the levels of its denoising network differ in their number of layers"));
        }
        let cross = weights.tensors().find(|(name, _)| name.starts_with(prefix) && name.ends_with("attn2.to_k.weight"));
        let context = cross.and_then(|(_, shape)| shape.get(1)).copied();
        let context = context.ok_or_else(|| not_a_model(path, "its denoising network does not attend to a prompt"))?;
        Ok(Self {
            in_channels: axis("input_blocks.0.0.weight", 1)?,
            out_channels: axis(if prefix == UNET { "out.2.weight" } else { "input_blocks.0.0.weight" }, 0)?,
            context,
            linear: weights
                .tensors()
                .any(|(name, shape)| name.starts_with(prefix) && name.ends_with(".proj_in.weight") && shape.len() == 2),
            added: shape("label_emb.0.0.weight").and_then(|shape| shape.get(1)).copied(),
            blocks,
            layers,
            channels,
            depths,
            mid_depth: depth("middle_block.1"),
        })
    }

    /// What unet/config.json would say.
    fn config(&self, family: Family, hints: &Hints, pooled: Option<i64>) -> Value {
        let n = self.channels.len();
        let heads: Vec<i64> = self
            .channels
            .iter()
            .map(|&width| match (hints.heads, hints.head_width) {
                (_, Some(head)) => (width / head).max(1),
                (Some(heads), _) => heads,
                // 1.x has 8 heads everywhere, its successors heads of 64 channels.
                _ if family == Family::Sd1 => 8,
                _ => (width / 64).max(1),
            })
            .collect();
        let kinds = |plain: &str, cross: &str| -> Vec<String> {
            self.depths.iter().map(|&depth| if depth > 0 { cross } else { plain }.to_owned()).collect()
        };
        let mut depths: Vec<i64> = self.depths.iter().map(|&depth| depth.max(1)).collect();
        depths[n - 1] = self.mid_depth.max(1);
        let up: Vec<String> = kinds("UpBlock2D", "CrossAttnUpBlock2D").into_iter().rev().collect();
        let mut config = json!({
            "in_channels": self.in_channels, "out_channels": self.out_channels, "block_out_channels": self.channels,
            "layers_per_block": self.layers, "down_block_types": kinds("DownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": up, "attention_head_dim": heads, "transformer_layers_per_block": depths,
            "cross_attention_dim": self.context, "use_linear_projection": self.linear, "norm_num_groups": 32,
        });
        if let Some(added) = self.added {
            config["addition_embed_type"] = json!("text_time");
            config["addition_time_embed_dim"] = json!((added - pooled.unwrap_or(0)) / 6);
            config["projection_class_embeddings_input_dim"] = json!(added);
        }
        config
    }

    /// The diffusers name of a tensor.
    pub(crate) fn name(&self, name: &str) -> Option<String> {
        for (from, to) in [
            ("time_embed.0.", "time_embedding.linear_1."),
            ("time_embed.2.", "time_embedding.linear_2."),
            ("label_emb.0.0.", "add_embedding.linear_1."),
            ("label_emb.0.2.", "add_embedding.linear_2."),
            ("input_blocks.0.0.", "conv_in."),
            ("out.0.", "conv_norm_out."),
            ("out.2.", "conv_out."),
            ("middle_block.1.", "mid_block.attentions.0."),
        ] {
            if let Some(rest) = name.strip_prefix(from) {
                return Some(format!("{to}{rest}"));
            }
        }
        if let Some(rest) = name.strip_prefix("middle_block.0.") {
            return resnet("mid_block.resnets.0", rest);
        }
        if let Some(rest) = name.strip_prefix("middle_block.2.") {
            return resnet("mid_block.resnets.1", rest);
        }
        let (side, rest) = name.split_once('.')?;
        let (block, rest) = numbered(rest)?;
        let (part, rest) = numbered(rest)?;
        match side {
            "input_blocks" => match (self.blocks.get(block.checked_sub(1)?)?, part) {
                (Block::Layer { level, layer }, 0) => resnet(&format!("down_blocks.{level}.resnets.{layer}"), rest),
                (Block::Layer { level, layer }, 1) => Some(format!("down_blocks.{level}.attentions.{layer}.{rest}")),
                (Block::Downsample { level }, 0) => {
                    rest.strip_prefix("op.").map(|rest| format!("down_blocks.{level}.downsamplers.0.conv.{rest}"))
                }
                _ => None,
            },
            "output_blocks" => {
                let (level, layer) = (block / (self.layers + 1), block % (self.layers + 1));
                match (part, rest.strip_prefix("conv.")) {
                    (0, _) => resnet(&format!("up_blocks.{level}.resnets.{layer}"), rest),
                    (_, Some(rest)) => Some(format!("up_blocks.{level}.upsamplers.0.conv.{rest}")),
                    (1, None) => Some(format!("up_blocks.{level}.attentions.{layer}.{rest}")),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

/// A number and what follows its dot.
pub(crate) fn numbered(text: &str) -> Option<(usize, &str)> {
    let (number, rest) = text.split_once('.')?;
    Some((number.parse().ok()?, rest))
}

fn resnet(at: &str, name: &str) -> Option<String> {
    renamed(
        at,
        name,
        &[
            ("in_layers.0.", "norm1."),
            ("in_layers.2.", "conv1."),
            ("emb_layers.1.", "time_emb_proj."),
            ("out_layers.0.", "norm2."),
            ("out_layers.3.", "conv2."),
            ("skip_connection.", "conv_shortcut."),
        ],
    )
}

fn renamed(at: &str, name: &str, names: &[(&str, &str)]) -> Option<String> {
    names.iter().find_map(|(from, to)| name.strip_prefix(from).map(|rest| format!("{at}.{to}{rest}")))
}

/// How many levels an autoencoder in the original layout has.
fn levels(weights: &Weights, prefix: &str) -> usize {
    let exists = |i: &usize| weights.shape(&format!("{prefix}encoder.down.{i}.block.0.conv1.weight")).is_some();
    (0..MAX_BLOCKS).take_while(exists).count()
}

/// The diffusers name of an autoencoder's tensor.
fn vae_name(name: &str, levels: usize) -> Option<String> {
    if name.starts_with("quant_conv.") || name.starts_with("post_quant_conv.") {
        return Some(name.to_owned());
    }
    let (side, rest) = name.split_once('.')?;
    if !matches!(side, "encoder" | "decoder") {
        return None;
    }
    let fixed = [
        ("conv_in.", "conv_in."),
        ("conv_out.", "conv_out."),
        ("norm_out.", "conv_norm_out."),
        ("mid.attn_1.norm.", "mid_block.attentions.0.group_norm."),
        ("mid.attn_1.q.", "mid_block.attentions.0.to_q."),
        ("mid.attn_1.k.", "mid_block.attentions.0.to_k."),
        ("mid.attn_1.v.", "mid_block.attentions.0.to_v."),
        ("mid.attn_1.proj_out.", "mid_block.attentions.0.to_out.0."),
    ];
    if let Some(name) = renamed(side, rest, &fixed) {
        return Some(name);
    }
    let layer = |at: &str, name: &str| {
        Some(match name.strip_prefix("nin_shortcut.") {
            Some(rest) => format!("{side}.{at}.conv_shortcut.{rest}"),
            None => format!("{side}.{at}.{name}"),
        })
    };
    if let Some(rest) = rest.strip_prefix("mid.block_1.") {
        return layer("mid_block.resnets.0", rest);
    }
    if let Some(rest) = rest.strip_prefix("mid.block_2.") {
        return layer("mid_block.resnets.1", rest);
    }
    let (way, rest) = rest.split_once('.')?;
    let (level, rest) = numbered(rest)?;
    let (blocks, level) = match way {
        "down" => ("down_blocks", level),
        // The way up is numbered from its end.
        "up" => ("up_blocks", levels.checked_sub(level + 1)?),
        _ => return None,
    };
    if let Some(rest) = rest.strip_prefix("block.") {
        let (number, rest) = numbered(rest)?;
        return layer(&format!("{blocks}.{level}.resnets.{number}"), rest);
    }
    let scaling = [("downsample.conv.", "downsamplers.0.conv."), ("upsample.conv.", "upsamplers.0.conv.")];
    renamed(&format!("{side}.{blocks}.{level}"), rest, &scaling)
}

/// What vae/config.json would say, from the tensors under their diffusers names.
fn vae_config(path: &Path, weights: &Weights, names: &Names, scaling: f64, shift: f64) -> Result<Config, Error> {
    let shape = |name: &str| names.get(name).and_then(|place| weights.shape(&place.key));
    let channels: Vec<i64> = (0..MAX_BLOCKS)
        .map_while(|i| shape(&format!("encoder.down_blocks.{i}.resnets.0.conv1.weight"))?.first().copied())
        .collect();
    let exists = |i: &usize| shape(&format!("encoder.down_blocks.0.resnets.{i}.conv1.weight")).is_some();
    let layers = (0..MAX_BLOCKS).take_while(exists).count();
    let latent = shape("decoder.conv_in.weight").and_then(|shape| shape.get(1)).copied();
    let (Some(latent), false) = (latent, channels.is_empty()) else {
        return Err(not_a_model(path, "it holds no complete autoencoder"));
    };
    let n = channels.len();
    let config = json!({
        "block_out_channels": channels, "layers_per_block": layers, "latent_channels": latent,
        "down_block_types": vec!["DownEncoderBlock2D"; n], "up_block_types": vec!["UpDecoderBlock2D"; n],
        "scaling_factor": scaling, "shift_factor": shift, "norm_num_groups": 32,
        "use_quant_conv": shape("quant_conv.weight").is_some(),
        "use_post_quant_conv": shape("post_quant_conv.weight").is_some(),
    });
    Ok(Config::derived(path, config))
}

/// Reads an autoencoder in one file, in the original layout, with or without its prefix, or in that of diffusers. The
/// file does not tell how its latents are scaled: that must be as in the model's own autoencoder, `own`.
pub(crate) fn read_vae(path: &Path, own: &Config) -> Result<(Config, Source), Error> {
    let weights = Weights::open(path, Device::Cpu, Kind::Float)?;
    let prefix = if weights.tensors().any(|(name, _)| name.starts_with(VAE)) { VAE } else { "" };
    let levels = levels(&weights, prefix);
    let mut names = Names::new();
    let mut unknown = Vec::new();
    for (key, _) in weights.tensors() {
        // Beside a prefix, everything else belongs to other networks of a complete checkpoint.
        let Some(name) = key.strip_prefix(prefix) else { continue };
        if ignored(key) || name.starts_with("loss.") {
            continue;
        }
        let name = if levels == 0 { Some(name.to_owned()) } else { vae_name(name, levels) };
        match name {
            Some(name) => drop(names.insert(name, plain(key))),
            None => unknown.push(key.to_owned()),
        }
    }
    if !unknown.is_empty() {
        return Err(unexpected(path, &unknown));
    }
    let (scaling, shift) = (own.number("scaling_factor", 0.182_15)?, own.number("shift_factor", 0.0)?);
    let config = vae_config(path, &weights, &names, scaling, shift)?;
    Ok((config, Source { files: vec![path.to_path_buf()], names: Some(names) }))
}

/// The diffusers name of a tensor of the first text encoder; some tools leave out `text_model`.
fn text_name(name: &str) -> Option<String> {
    let inner = name.strip_prefix("text_model.").unwrap_or(name);
    let known = ["embeddings.", "encoder.", "final_layer_norm."].iter().any(|start| inner.starts_with(start));
    if name == "text_projection.weight" { Some(name.to_owned()) } else { known.then(|| format!("text_model.{inner}")) }
}

/// Adds the diffusers names of a tensor of `OpenCLIP`'s text half; false when it has no place.
fn open_clip_names(name: &str, key: &str, names: &mut Names) -> bool {
    let outer = match name {
        "token_embedding.weight" => Some("text_model.embeddings.token_embedding.weight"),
        "positional_embedding" => Some("text_model.embeddings.position_embedding.weight"),
        "ln_final.weight" => Some("text_model.final_layer_norm.weight"),
        "ln_final.bias" => Some("text_model.final_layer_norm.bias"),
        "text_projection" => {
            let place = Place { transposed: true, ..plain(key) };
            names.insert("text_projection.weight".to_owned(), place);
            return true;
        }
        _ => None,
    };
    if let Some(outer) = outer {
        names.insert(outer.to_owned(), plain(key));
        return true;
    }
    let Some((layer, rest)) = name.strip_prefix("transformer.resblocks.").and_then(numbered) else { return false };
    let at = format!("text_model.encoder.layers.{layer}");
    if let Some(kind) = rest.strip_prefix("attn.in_proj_") {
        if !matches!(kind, "weight" | "bias") {
            return false;
        }
        for (part, letter) in ["q", "k", "v"].into_iter().enumerate() {
            let place = Place { part: Some((part as i64, 3)), ..plain(key) };
            names.insert(format!("{at}.self_attn.{letter}_proj.{kind}"), place);
        }
        return true;
    }
    let inner = [
        ("ln_1.", "layer_norm1."),
        ("ln_2.", "layer_norm2."),
        ("attn.out_proj.", "self_attn.out_proj."),
        ("mlp.c_fc.", "mlp.fc1."),
        ("mlp.c_proj.", "mlp.fc2."),
    ];
    renamed(&at, rest, &inner).map(|name| names.insert(name, plain(key))).is_some()
}

fn open_clip_layers(weights: &Weights, prefix: &str) -> usize {
    let exists = |i: &usize| weights.shape(&format!("{prefix}transformer.resblocks.{i}.ln_1.weight")).is_some();
    (0..MAX_BLOCKS).take_while(exists).count()
}

/// The text encoders with what their config.json would say.
fn text_parts(path: &Path, weights: &Weights, family: Family, names: Vec<Names>) -> Result<Vec<TextPart>, Error> {
    let open = usize::from(family != Family::Sd2);
    let mut parts = Vec::new();
    for (i, names) in names.into_iter().enumerate() {
        // The first of SDXL and the one of 1.x are CLIP, the others OpenCLIP.
        let open_clip = i >= open;
        let shape = |name: &str| names.get(name).and_then(|place| weights.shape(&place.key));
        let words = shape("text_model.embeddings.token_embedding.weight");
        let places = shape("text_model.embeddings.position_embedding.weight");
        let inner = shape("text_model.encoder.layers.0.mlp.fc1.weight");
        let (Some(&[vocabulary, width]), Some(&[places, _]), Some(&[inner, _])) = (words, places, inner) else {
            return Err(not_a_model(path, "its text encoder is incomplete"));
        };
        let exists = |i: &usize| shape(&format!("text_model.encoder.layers.{i}.layer_norm1.weight")).is_some();
        let layers = (0..MAX_BLOCKS).take_while(exists).count();
        let mut config = json!({
            "model_type": "clip_text_model", "hidden_size": width, "intermediate_size": inner,
            "num_hidden_layers": layers, "num_attention_heads": (width / 64).max(1),
            "max_position_embeddings": places, "vocab_size": vocabulary,
            "hidden_act": if open_clip { "gelu" } else { "quick_gelu" },
        });
        // Stored the other way round, so its second axis is the output.
        if let (Some(&[_, projected]), true) = (shape("text_projection.weight"), open_clip) {
            config["projection_dim"] = json!(projected);
        }
        parts.push(TextPart {
            config: Config::derived(path, config),
            source: Source { files: vec![path.to_path_buf()], names: Some(names) },
            tokenizer: Tokenizer::Clip(if open_clip { "!" } else { "<|endoftext|>" }),
        });
    }
    Ok(parts)
}
