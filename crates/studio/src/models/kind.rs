//! What a file of weights is, told from the names and shapes of its tensors.
//!
//! Widths of the cross-attention's keys are those of the text encoders: 768 (CLIP ViT-L, SD 1.x), 1024 (OpenCLIP ViT-H, SD 2.x),
//! 2048 (both of SDXL side by side), 1280 (OpenCLIP ViT-bigG alone, SDXL's refiner).

use serde::{Deserialize, Serialize};

use super::header::Header;

/// What a model file or folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A folder in diffusers layout.
    Folder,
    /// A single file with UNet, text encoders and VAE.
    Checkpoint,
    /// A UNet alone.
    Unet,
    /// A low-rank adapter.
    Lora,
    /// A control network.
    ControlNet,
    /// A VAE alone, small approximations included.
    Vae,
    /// A network that enlarges pictures.
    Upscaler,
    /// Learned words for the text encoder.
    TextualInversion,
    /// None of these.
    Unknown,
}

impl Kind {
    /// In words, for a list.
    pub fn name(self) -> &'static str {
        match self {
            Self::Folder => "model",
            Self::Checkpoint => "checkpoint",
            Self::Unet => "UNet",
            Self::Lora => "LoRA",
            Self::ControlNet => "ControlNet",
            Self::Vae => "VAE",
            Self::Upscaler => "upscaler",
            Self::TextualInversion => "textual inversion",
            Self::Unknown => "unknown",
        }
    }
}

/// Which models belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Family {
    /// Stable Diffusion 1.x.
    #[serde(rename = "SD 1.x")]
    Sd1,
    /// Stable Diffusion 2.x.
    #[serde(rename = "SD 2.x")]
    Sd2,
    /// Stable Diffusion XL.
    #[serde(rename = "SDXL")]
    Sdxl,
    /// Its refiner.
    #[serde(rename = "SDXL refiner")]
    SdxlRefiner,
    /// Stable Diffusion 3, which this version cannot run.
    #[serde(rename = "SD 3")]
    Sd3,
    /// Flux, which this version cannot run.
    #[serde(rename = "Flux")]
    Flux,
}

impl Family {
    /// As people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sd1 => "SD 1.x",
            Self::Sd2 => "SD 2.x",
            Self::Sdxl => "SDXL",
            Self::SdxlRefiner => "SDXL refiner",
            Self::Sd3 => "SD 3",
            Self::Flux => "Flux",
        }
    }

    fn of_width(width: u64) -> Option<Self> {
        match width {
            768 => Some(Self::Sd1),
            1024 => Some(Self::Sd2),
            2048 => Some(Self::Sdxl),
            1280 => Some(Self::SdxlRefiner),
            _ => None,
        }
    }
}

/// A file's kind and family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sort {
    pub(crate) kind: Kind,
    pub(crate) family: Option<Family>,
    pub(crate) inpainting: bool,
}

impl Sort {
    pub(crate) fn of(header: &Header) -> Self {
        let has = |part: &str| header.tensors.keys().any(|name| name.contains(part));
        let begins = |part: &str| header.tensors.keys().any(|name| name.starts_with(part));
        let plain = |kind, family| Self { kind, family, inpainting: false };
        if ["lora_down", "lora_up", "lora_A", "lora_B", "_lora.down", "_lora.up", "hada_w1", "lokr_w1"]
            .iter()
            .any(|part| has(part))
        {
            return plain(Kind::Lora, adapter_family(header));
        }
        if begins("control_model.") || begins("input_hint_block.") || has("controlnet_cond_embedding.") {
            return plain(Kind::ControlNet, attention_width(header).and_then(Family::of_width));
        }
        if has("joint_blocks.") {
            return plain(Kind::Checkpoint, Some(Family::Sd3));
        }
        if has("double_blocks.") {
            return plain(Kind::Checkpoint, Some(Family::Flux));
        }
        let original = "input_blocks.0.0.weight";
        let whole = header.shape(&format!("model.diffusion_model.{original}"));
        if let Some(first) = whole.or(header.shape(original)).or_else(|| {
            // A VAE begins with `encoder.conv_in`: only a UNet has this name at its top.
            header.shape("conv_in.weight").filter(|_| begins("down_blocks."))
        }) {
            // Some files have the checkpoint's names and yet hold the UNet alone.
            let complete = begins("first_stage_model.") && (begins("cond_stage_model.") || begins("conditioner."));
            let kind = if whole.is_some() && complete { Kind::Checkpoint } else { Kind::Unet };
            let family = attention_width(header).and_then(Family::of_width);
            return Self { kind, family, inpainting: first.get(1) == Some(&9) };
        }
        if ["decoder.conv_in.weight", "first_stage_model.decoder.conv_in.weight", "decoder.layers.0.weight"]
            .iter()
            .any(|name| header.tensors.contains_key(*name))
            || is_small_vae(header)
        {
            return plain(Kind::Vae, None);
        }
        if is_upscaler(header) {
            return plain(Kind::Upscaler, None);
        }
        if let Some(family) = embedding_family(header) {
            return plain(Kind::TextualInversion, family);
        }
        plain(Kind::Unknown, None)
    }
}

/// The inner size of the cross-attention's first keys, which is the text's width.
fn attention_width(header: &Header) -> Option<u64> {
    let mut keys = header.tensors.iter().filter(|(name, _)| name.ends_with("attn2.to_k.weight"));
    keys.find_map(|(_, tensor)| tensor.shape.get(1).copied())
}

fn adapter_family(header: &Header) -> Option<Family> {
    let input_side = |name: &str| ["lora_down.", "lora_A.", "lora.down."].iter().any(|part| name.contains(part));
    let into = |of: &dyn Fn(&str) -> bool| {
        let mut found = header.tensors.iter().filter(|(name, _)| of(name) && input_side(name));
        found.find_map(|(_, tensor)| tensor.shape.get(1).copied())
    };
    let crosses = |name: &str| name.contains("attn2") && ["to_k", "to_v"].iter().any(|part| name.contains(part));
    if let Some(width) = into(&crosses) {
        return Family::of_width(width);
    }
    if header.tensors.keys().any(|name| name.starts_with("lora_te2_") || name.starts_with("text_encoder_2.")) {
        return Some(Family::Sdxl);
    }
    // The text encoder's own width, where the adapter changes that alone.
    match into(&|name| name.starts_with("lora_te_") && name.contains("q_proj"))? {
        768 => Some(Family::Sd1),
        1024 => Some(Family::Sd2),
        _ => None,
    }
}

/// The original files of TAESD are bare sequences: the first convolution takes 3 colours or gives 64 from 4 latents.
fn is_small_vae(header: &Header) -> bool {
    header.shape("1.weight") == Some(&[64, 4, 3, 3]) || header.shape("0.weight") == Some(&[64, 3, 3, 3])
}

/// ESRGAN in both namings, its compact form, and the transformers that share their first layer's name.
fn is_upscaler(header: &Header) -> bool {
    let bare = |name: &str| {
        ["params.", "params_ema."]
            .iter()
            .find_map(|prefix| name.strip_prefix(prefix).map(str::to_owned))
            .unwrap_or(name.into())
    };
    header.tensors.keys().map(|name| bare(name)).any(|name| {
        name.starts_with("model.1.sub.0.RDB1.")
            || name.starts_with("body.0.rdb1.")
            || name.starts_with("RRDB_trunk.0.RDB1.")
            || name.starts_with("layers.0.residual_group.")
    }) || ["", "params.", "params_ema."].iter().any(|prefix| {
        header.shape(&format!("{prefix}body.0.weight")).is_some_and(|shape| matches!(shape, [_, 3, 3, 3]))
    })
}

/// Learned words are one table of the text encoder's width, or one for each of SDXL's.
#[allow(clippy::option_option, reason = "whether it is one, and then whether its family can be told")]
fn embedding_family(header: &Header) -> Option<Option<Family>> {
    if header.tensors.contains_key("clip_l") && header.tensors.contains_key("clip_g") {
        return Some(Some(Family::Sdxl));
    }
    // The table's name is free: diffusers writes the word itself.
    let (_, table) = header.tensors.iter().next().filter(|_| header.tensors.len() == 1)?;
    let width = table.shape.last().copied().filter(|_| table.shape.len() <= 2)?;
    Some(match width {
        768 => Some(Family::Sd1),
        1024 => Some(Family::Sd2),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sort(tensors: &[(&str, &[u64])]) -> Sort {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), super::super::header::tests::file(tensors, &[])).unwrap();
        Sort::of(&Header::read(file.path()).unwrap())
    }

    #[test]
    fn checkpoints_are_told_apart_by_text_width_and_inputs() {
        let first = "model.diffusion_model.input_blocks.0.0.weight";
        let keys = "model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight";
        let (vae, text) = ("first_stage_model.decoder.conv_in.weight", "conditioner.embedders.0.x");
        for (width, family) in
            [(768, Family::Sd1), (1024, Family::Sd2), (2048, Family::Sdxl), (1280, Family::SdxlRefiner)]
        {
            for inputs in [4, 9] {
                let found = sort(&[(first, &[1, inputs, 3, 3]), (keys, &[1, width]), (vae, &[1]), (text, &[1])]);
                let expected = Sort { kind: Kind::Checkpoint, family: Some(family), inpainting: inputs == 9 };
                assert_eq!(found, expected);
            }
        }
        let bare = sort(&[(first, &[1, 4, 3, 3]), (keys, &[1, 2048])]);
        assert_eq!((bare.kind, bare.family), (Kind::Unet, Some(Family::Sdxl)));
        let unet = sort(&[("conv_in.weight", &[1, 9, 3, 3]), ("down_blocks.1.attn2.to_k.weight", &[1, 2048])]);
        assert_eq!(unet, Sort { kind: Kind::Unet, family: Some(Family::Sdxl), inpainting: true });
    }

    #[test]
    fn adapters_are_told_in_each_naming() {
        for name in [
            "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k.lora_down.weight",
            "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.weight",
            "down_blocks.1.attentions.0.transformer_blocks.0.attn2.processor.to_v_lora.down.weight",
        ] {
            for (width, family) in [(768, Family::Sd1), (1024, Family::Sd2), (2048, Family::Sdxl)] {
                let found = sort(&[("a.attn1.to_k.lora_A.weight", &[1, 320]), (name, &[4, width])]);
                assert_eq!((found.kind, found.family), (Kind::Lora, Some(family)), "{name}");
            }
        }
    }

    #[test]
    fn the_smaller_kinds_are_told_apart() {
        for (name, shape, kind) in [
            ("decoder.conv_in.weight", &[8, 4, 3, 3][..], Kind::Vae),
            ("1.weight", &[64, 4, 3, 3], Kind::Vae),
            ("model.1.sub.0.RDB1.conv1.0.weight", &[8, 8, 3, 3], Kind::Upscaler),
            ("params_ema.body.0.rdb1.conv1.weight", &[8, 8, 3, 3], Kind::Upscaler),
            ("body.0.weight", &[64, 3, 3, 3], Kind::Upscaler),
            ("emb_params", &[4, 768], Kind::TextualInversion),
            ("<a-word>", &[4, 7], Kind::TextualInversion),
            ("something.else", &[4, 7, 1], Kind::Unknown),
        ] {
            assert_eq!(sort(&[(name, shape)]).kind, kind, "{name}");
        }
    }
}
