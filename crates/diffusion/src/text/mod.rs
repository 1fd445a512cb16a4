//! Prompts to the vectors that the denoising network attends to.

mod bert;
mod clip;
mod tokens;
mod vocabulary;

use std::path::PathBuf;

use tch::{Device, Kind, Tensor};

use crate::Error;
use crate::config::Config;
use crate::weights::Source;

/// A prompt, encoded.
#[derive(Debug)]
pub(crate) struct Encoded {
    /// `[1, token_limit, width]`.
    pub(crate) context: Tensor,
    /// The whole prompt in one vector, `[1, pooled width]`, for networks that want it (SDXL).
    pub(crate) pooled: Option<Tensor>,
    /// What a person should know: words that were cut off or not understood.
    pub(crate) warnings: Vec<String>,
}

/// A network that encodes prompts.
pub(crate) trait TextEncoder: std::fmt::Debug + Send {
    /// Encodes one prompt; the empty prompt is a prompt, too.
    fn encode(&self, prompt: &str) -> Result<Encoded, Error>;

    /// Encodes what guidance leads away from.
    fn encode_negative(&self, prompt: &str) -> Result<Encoded, Error> {
        self.encode(prompt)
    }
}

/// One text encoder of a model: its configuration, weights and tokenizer.
#[derive(Debug)]
pub(crate) struct TextPart {
    /// What `text_encoder/config.json` says.
    pub(crate) config: Config,
    /// The weights.
    pub(crate) source: Source,
    /// The tokenizer.
    pub(crate) tokenizer: Tokenizer,
}

/// Where a tokenizer comes from.
#[derive(Debug)]
pub(crate) enum Tokenizer {
    /// A folder with its files.
    Folder(PathBuf),
    /// CLIP's own, with this token to fill up short prompts.
    Clip(&'static str),
}

impl Tokenizer {
    fn load(&self, limit: usize) -> Result<tokens::Tokens, Error> {
        match self {
            Self::Folder(folder) => tokens::Tokens::load(folder, limit),
            Self::Clip(pad) => tokens::Tokens::clip(pad, limit),
        }
    }
}

/// What a model says about its text encoders, without their weights.
#[derive(Debug, Clone)]
pub(crate) struct TextInfo {
    /// Which kind it is.
    pub(crate) kind: TextKind,
    /// The length of the context in tokens.
    pub(crate) token_limit: usize,
    /// The length of each token's vector.
    pub(crate) width: i64,
    /// The length of the pooled prompt, where there is one.
    pub(crate) pooled: Option<i64>,
    /// Whether an empty negative prompt counts as zeros rather than as a prompt.
    zeros_when_empty: bool,
}

/// The supported text encoders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextKind {
    /// BERT and its small descendants, such as `MiniLM`.
    Bert,
    /// CLIP's text half, as in Stable Diffusion 1.x and 2.x.
    Clip,
    /// Two of CLIP's text halves side by side, as in SDXL.
    ClipPair,
}

impl TextInfo {
    /// Checks the encoders' configurations and the keys of `model_index.json` that matter here.
    pub(crate) fn read(parts: &[TextPart], index: &Config) -> Result<Self, Error> {
        let mut most = 4096;
        let mut width = 0;
        for part in parts {
            let places = match part.config.text("model_type")? {
                Some("bert") if parts.len() == 1 => 512,
                Some("clip_text_model") => 77,
                _ => {
                    let why = if parts.len() == 1 {
                        "the text encoders `bert` and `clip_text_model` are supported"
                    } else {
                        "in a model with two text encoders both must be `clip_text_model`"
                    };
                    return Err(part.config.refuse("model_type", why));
                }
            };
            most = most.min(part.config.count("max_position_embeddings", Some(places))?);
            width += part.config.count("hidden_size", None)?;
        }
        let tokens = index.count("tokens", Some(most))?;
        if !(2..=most).contains(&tokens) {
            return Err(index.refuse("tokens", format!("2 to {most} are possible with this text encoder")));
        }
        let (kind, pooled) = match parts {
            [_, second] => (TextKind::ClipPair, Some(second.config.count("projection_dim", Some(512))?)),
            [only] if only.config.text("model_type")? == Some("bert") => (TextKind::Bert, None),
            _ => (TextKind::Clip, None),
        };
        let zeros_when_empty = index.flag("force_zeros_for_empty_prompt", kind == TextKind::ClipPair)?;
        Ok(Self { kind, token_limit: tokens as usize, width, pooled, zeros_when_empty })
    }

    /// A short name for people.
    pub(crate) fn name(&self) -> String {
        let name = match self.kind {
            TextKind::Bert => "MiniLM/BERT",
            TextKind::Clip => "CLIP",
            TextKind::ClipPair => "CLIP and OpenCLIP",
        };
        format!("{name} ({} wide)", self.width)
    }

    /// Loads the encoders and their tokenizers.
    pub(crate) fn load(&self, parts: &[TextPart], device: Device, kind: Kind) -> Result<Box<dyn TextEncoder>, Error> {
        let clip = |part: &TextPart, output| {
            let tokenizer = part.tokenizer.load(self.token_limit)?;
            clip::Clip::load(&part.config, &part.source, tokenizer, output, (device, kind))
        };
        Ok(match (self.kind, parts) {
            (TextKind::ClipPair, [first, second]) => Box::new(Pair {
                first: clip(first, clip::Output::Penultimate)?,
                second: clip(second, clip::Output::PenultimateAndPooled)?,
                zeros_when_empty: self.zeros_when_empty,
            }),
            (TextKind::Clip, [part]) => Box::new(clip(part, clip::Output::Last)?),
            (TextKind::Bert, [part]) => {
                let tokenizer = part.tokenizer.load(self.token_limit)?;
                Box::new(bert::Bert::load(&part.config, &part.source, tokenizer, device, kind)?)
            }
            _ => {
                return Err(Error::Internal {
                    doing: "loading the text encoder".to_owned(),
                    message: format!("{} text encoders for {:?}", parts.len(), self.kind),
                });
            }
        })
    }
}

/// SDXL's two encoders: their vectors lie side by side, and the second gives the pooled prompt (Podell et al., "SDXL:
/// improving latent diffusion models for high-resolution image synthesis", 2023).
#[derive(Debug)]
struct Pair {
    first: clip::Clip,
    second: clip::Clip,
    zeros_when_empty: bool,
}

impl TextEncoder for Pair {
    fn encode(&self, prompt: &str) -> Result<Encoded, Error> {
        let (first, second) = (self.first.encode(prompt)?, self.second.encode(prompt)?);
        let mut warnings = first.warnings;
        warnings.extend(second.warnings);
        warnings.sort();
        warnings.dedup();
        let context = Tensor::f_cat(&[first.context, second.context], -1)?;
        Ok(Encoded { context, pooled: second.pooled, warnings })
    }

    fn encode_negative(&self, prompt: &str) -> Result<Encoded, Error> {
        let mut encoded = self.encode(prompt)?;
        if self.zeros_when_empty && prompt.trim().is_empty() {
            encoded.context = encoded.context.f_zeros_like()?;
            encoded.pooled = encoded.pooled.map(|pooled| pooled.f_zeros_like()).transpose()?;
        }
        Ok(encoded)
    }
}
