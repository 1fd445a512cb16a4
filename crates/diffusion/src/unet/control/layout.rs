//! Where a control network's parts are: folders in the diffusers layout, and single files in that or in the original one.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tch::{Device, Kind};

use super::super::UNetConfig;
use crate::Error;
use crate::config::Config;
use crate::model::{NETWORK, safe_file};
use crate::single::{MAX_BLOCKS, Names, UNetLayout, ignored, not_a_model, numbered, plain, unexpected};
use crate::weights::{Source, Weights, find_files};

/// The prefix in files that hold a whole trained model.
const CONTROL: &str = "control_model.";

/// A control network's configuration and where its weights are.
#[derive(Debug)]
pub(super) struct Parts {
    /// That of the UNet which it is half of; what belongs to the other half means nothing.
    pub(super) config: UNetConfig,
    /// Channels of the layers that encode the picture; each further one halves its size. At least two.
    pub(super) hints: Vec<i64>,
    /// Whether it expects blue before red.
    pub(super) reversed: bool,
    /// Whether its additions are averaged over the picture.
    pub(super) pooled: bool,
    pub(super) source: Source,
    /// Whether the configuration was told from the tensors.
    pub(super) derived: bool,
}

impl Parts {
    /// Reads a network's configuration, or tells it from its tensors. What these cannot tell, the number of attention
    /// heads, is that of the model, as a control network begins its training as a copy of it.
    pub(super) fn read(path: &Path, model: &UNetConfig) -> Result<Self, Error> {
        if path.is_dir() {
            let config = folder_config(path)?;
            return Self::configured(&config, find_files(path, NETWORK)?);
        }
        if !path.exists() {
            let source = std::io::Error::from(std::io::ErrorKind::NotFound);
            return Err(Error::Read { path: path.to_path_buf(), source });
        }
        safe_file(path)?;
        // A file out of a folder in the diffusers layout.
        let named = path.file_stem().is_some_and(|stem| stem.to_string_lossy().starts_with(NETWORK));
        let beside = path.with_file_name("config.json");
        if named && beside.is_file() {
            return Self::configured(&Config::read(&beside)?, Source::file(path));
        }
        Self::told(path, model)
    }

    /// The files with weights in a folder.
    pub(super) fn files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
        Ok(find_files(folder, NETWORK)?.files)
    }

    fn configured(config: &Config, source: Source) -> Result<Self, Error> {
        match config.text("_class_name")? {
            None | Some("ControlNetModel") => {}
            Some(_) => return Err(config.refuse("_class_name", "only ControlNetModel is supported")),
        }
        config.only("conditioning_channels", &json!(3))?;
        let reversed = match config.text("controlnet_conditioning_channel_order")? {
            None | Some("rgb") => false,
            Some("bgr") => true,
            Some(_) => return Err(config.refuse("controlnet_conditioning_channel_order", "rgb or bgr is expected")),
        };
        let hints = match config.get("conditioning_embedding_out_channels") {
            None => vec![16, 32, 96, 256],
            Some(_) => config.counts("conditioning_embedding_out_channels")?,
        };
        if !(2..=8).contains(&hints.len()) {
            return Err(config.refuse("conditioning_embedding_out_channels", "2 to 8 numbers are expected"));
        }
        // The UNet's reader also wants to know of the way up, which mirrors the way down.
        let down = config.texts("down_block_types")?;
        let up: Vec<&str> = down.iter().rev().map(|kind| up_block(kind)).collect();
        let mut whole = config.map().clone();
        whole.insert("up_block_types".to_owned(), json!(up));
        let unet = UNetConfig::read(&config.with(whole))?;
        let pooled = config.flag("global_pool_conditions", false)?;
        Ok(Self { config: unet, hints, reversed, pooled, source, derived: false })
    }

    /// Tells everything from the tensors of a single file.
    fn told(path: &Path, model: &UNetConfig) -> Result<Self, Error> {
        let weights = Weights::open(path, Device::Cpu, Kind::Float)?;
        let names = names(path, &weights)?;
        let config = Config::derived(path, told_config(path, &weights, &names, model)?);
        let source = Source { files: vec![path.to_path_buf()], names: Some(names) };
        let mut parts = Self::configured(&config, source)?;
        // The one network of this kind is known by its name alone, in all programs.
        let name = path.file_stem().map(|name| name.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
        parts.pooled = name.contains("shuffle");
        parts.derived = true;
        Ok(parts)
    }
}

fn folder_config(folder: &Path) -> Result<Config, Error> {
    let path = folder.join("config.json");
    if !path.is_file() {
        let reason = "it has no config.json; a ControlNet's folder in the diffusers layout or a .safetensors file is \
                      expected";
        return Err(not_a_model(folder, reason));
    }
    Config::read(&path)
}

fn up_block(down: &str) -> &str {
    match down {
        "DownBlock2D" => "UpBlock2D",
        "CrossAttnDownBlock2D" => "CrossAttnUpBlock2D",
        // The reader refuses it with the other list.
        other => other,
    }
}

/// The diffusers names of a file's tensors.
fn names(path: &Path, weights: &Weights) -> Result<Names, Error> {
    let any = |start: &str| weights.tensors().any(|(name, _)| name.starts_with(start));
    let holds = |word: &str| weights.tensors().any(|(name, _)| name.contains(word));
    let refuse = |what: &str| Err(not_a_model(path, what));
    if any("lora_controlnet") || holds(".lora_") || (any("control_model.") && holds("lora")) {
        return refuse("it is a Control-LoRA, which is not supported; the full ControlNet is needed");
    }
    if any("task_embedding") || any("control_add_embedding") || any("control_type_proj") {
        return refuse("it is a ControlNet Union, which is not supported; one for a single kind of picture is needed");
    }
    if any("adapter.") || any("body.0.block1") || any("body.0.resnets") {
        return refuse("it is a T2I-Adapter and no ControlNet");
    }
    if any("transformer_blocks.") || holds("double_blocks.") || holds("controlnet_blocks.") {
        return refuse(
            "it is a ControlNet for a transformer such as Flux or Stable Diffusion 3; those for Stable \
                       Diffusion 1.x, 2.x and SDXL are supported",
        );
    }
    if any("controlnet_cond_embedding.") {
        return Ok(weights.tensors().map(|(name, _)| (name.to_owned(), plain(name))).collect());
    }
    let prefix = if any(CONTROL) { CONTROL } else { "" };
    if !any(&format!("{prefix}input_hint_block.")) {
        return refuse(
            "it has none of the tensors that encode a ControlNet's picture (controlnet_cond_embedding or \
                       input_hint_block), so it is no ControlNet",
        );
    }
    let layout = UNetLayout::read(path, weights, prefix)?;
    let hint = |i: usize| weights.shape(&format!("{prefix}input_hint_block.{}.weight", 2 * i)).is_some();
    let hints = (0..MAX_BLOCKS).take_while(|&i| hint(i)).count();
    let (mut names, mut unknown) = (Names::new(), Vec::new());
    for (key, _) in weights.tensors() {
        // Beside a prefix, everything else belongs to the model that it was trained with.
        let Some(name) = key.strip_prefix(prefix) else { continue };
        if ignored(name) {
            continue;
        }
        match control_name(name, hints).or_else(|| layout.name(name)) {
            Some(name) => drop(names.insert(name, plain(key))),
            None => unknown.push(key.to_owned()),
        }
    }
    if unknown.is_empty() { Ok(names) } else { Err(unexpected(path, &unknown)) }
}

/// The diffusers name of what a control network has beside the UNet's half.
fn control_name(name: &str, hints: usize) -> Option<String> {
    if let Some(rest) = name.strip_prefix("middle_block_out.0.") {
        return Some(format!("controlnet_mid_block.{rest}"));
    }
    if let Some(rest) = name.strip_prefix("zero_convs.") {
        let (number, rest) = numbered(rest)?;
        return rest.strip_prefix("0.").map(|rest| format!("controlnet_down_blocks.{number}.{rest}"));
    }
    // Between its convolutions lie activations, which have no tensors but count.
    let (number, rest) = numbered(name.strip_prefix("input_hint_block.")?)?;
    let at = match number / 2 {
        _ if number % 2 == 1 => return None,
        0 => "conv_in".to_owned(),
        i if i + 1 == hints => "conv_out".to_owned(),
        i => format!("blocks.{}", i - 1),
    };
    Some(format!("controlnet_cond_embedding.{at}.{rest}"))
}

/// What config.json would say, from the tensors under their diffusers names.
fn told_config(path: &Path, weights: &Weights, names: &Names, model: &UNetConfig) -> Result<Value, Error> {
    let shape = |name: &str| names.get(name).and_then(|place| weights.shape(&place.key));
    let count = |name: &dyn Fn(usize) -> String| (0..MAX_BLOCKS).take_while(|&i| shape(&name(i)).is_some()).count();
    let incomplete = |what: &str| not_a_model(path, &format!("it lacks `{what}`; the file is incomplete"));
    let axis = |name: &str, axis: usize| {
        shape(name).and_then(|shape| shape.get(axis)).copied().ok_or_else(|| incomplete(name))
    };
    let levels = count(&|i| format!("down_blocks.{i}.resnets.0.conv1.weight"));
    let (mut channels, mut layers, mut depths, mut kinds) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for i in 0..levels {
        let at = format!("down_blocks.{i}");
        channels.push(axis(&format!("{at}.resnets.0.conv1.weight"), 0)?);
        layers.push(count(&|layer| format!("{at}.resnets.{layer}.conv1.weight")));
        let depth = count(&|d| format!("{at}.attentions.0.transformer_blocks.{d}.norm1.weight"));
        kinds.push(if depth > 0 { "CrossAttnDownBlock2D" } else { "DownBlock2D" });
        depths.push(depth.max(1));
    }
    let mid = count(&|d| format!("mid_block.attentions.0.transformer_blocks.{d}.norm1.weight"));
    match depths.last_mut() {
        // The last level and the middle share this number; where both attend, the files of all families agree.
        Some(last) => *last = if mid > 0 { mid } else { *last },
        None => return Err(incomplete("down_blocks.0.resnets.0.conv1.weight")),
    }
    let cross = names.iter().find(|(name, _)| name.ends_with("attn2.to_k.weight"));
    let context = cross.and_then(|(_, place)| weights.shape(&place.key)?.get(1)).copied();
    let linear = names.iter().find(|(name, _)| name.ends_with(".proj_in.weight"));
    let linear = linear.and_then(|(_, place)| weights.shape(&place.key)).is_some_and(|shape| shape.len() == 2);
    // A network of another shape is refused later, in words that help more.
    let fits = |(i, &width): (usize, &i64)| model.heads.get(i).copied().filter(|heads| width % heads == 0).unwrap_or(1);
    let heads: Vec<i64> = channels.iter().enumerate().map(fits).collect();
    let pairs = count(&|i| format!("controlnet_cond_embedding.blocks.{i}.weight")) / 2;
    let mut hints = vec![axis("controlnet_cond_embedding.conv_in.weight", 0)?];
    for i in 0..pairs {
        hints.push(axis(&format!("controlnet_cond_embedding.blocks.{}.weight", 2 * i + 1), 0)?);
    }
    let mut config = json!({
        "in_channels": axis("conv_in.weight", 1)?, "conditioning_channels": axis("controlnet_cond_embedding.conv_in.weight", 1)?,
        "block_out_channels": channels, "layers_per_block": layers, "down_block_types": kinds,
        "mid_block_type": if mid > 0 { "UNetMidBlock2DCrossAttn" } else { "UNetMidBlock2D" },
        "transformer_layers_per_block": depths, "attention_head_dim": heads,
        "cross_attention_dim": context.unwrap_or(model.cross_attention_dim), "use_linear_projection": linear,
        "norm_num_groups": model.groups, "norm_eps": model.eps, "flip_sin_to_cos": model.flip_sin_to_cos,
        "freq_shift": model.freq_shift, "conditioning_embedding_out_channels": hints,
    });
    if let Some(added) = shape("add_embedding.linear_1.weight").and_then(|shape| shape.get(1)).copied() {
        config["addition_embed_type"] = json!("text_time");
        let waves = model.added.as_ref().map_or(2, |added| added.time);
        config["addition_time_embed_dim"] = json!(waves);
        config["projection_class_embeddings_input_dim"] = json!(added);
    }
    Ok(config)
}
