//! Prompts to the vectors that the denoising network attends to.

mod bert;
mod clip;
pub(crate) mod prompt;
pub(crate) mod tokens;
mod vocabulary;

use std::path::PathBuf;

pub(crate) use clip::Clip;
use tch::{Device, Kind, Tensor};

use crate::Error;
use crate::adapters::slot::Slots;
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

/// What encodes a model's prompts: one network, or two side by side.
pub(crate) trait TextEncoder: std::fmt::Debug + Send {
    /// The networks; what they give lies side by side.
    fn networks(&self) -> Vec<&dyn TextNetwork>;

    /// Whether an empty negative prompt counts as zeros rather than as a prompt.
    fn zeros_when_empty(&self) -> bool {
        false
    }

    /// Encodes one prompt as it is written, cut off at the token limit; the empty prompt is a prompt, too.
    fn encode(&self, prompt: &str) -> Result<Encoded, Error> {
        let (mut contexts, mut pooled, mut warnings) = (Vec::new(), None, Vec::new());
        for network in self.networks() {
            let split = network.tokens().split(prompt)?;
            let (context, vector) = network.states(&split.ids, 0)?;
            contexts.push(context);
            pooled = pooled.or(vector);
            add_new(&mut warnings, split.warnings);
        }
        Ok(Encoded { context: Tensor::f_cat(&contexts, -1)?, pooled, warnings })
    }

    /// The first and the second CLIP, which can learn words; none where the encoder is of another kind.
    fn clips(&mut self) -> Vec<&mut Clip> {
        Vec::new()
    }

    /// The weights that adapters can patch, of the first and the second encoder; none where adapters have no names for them.
    fn slots(&self) -> Vec<&Slots> {
        Vec::new()
    }
}

/// A network that encodes prompts, with its tokenizer.
pub(crate) trait TextNetwork {
    /// Its tokenizer.
    fn tokens(&self) -> &tokens::Tokens;
    /// States `[1, token_limit, width]` of tokens with begin and end, filled up to the limit, and the pooled prompt
    /// `[1, pooled width]` where this network has one. `skip` layers at the end are left out, before the last norm; the
    /// pooled prompt always comes from the last layer, as in Python diffusers.
    fn states(&self, ids: &[i64], skip: usize) -> Result<(Tensor, Option<Tensor>), Error>;
}

/// Adds those warnings that are not there yet: two tokenizers tend to miss the same words.
fn add_new(warnings: &mut Vec<String>, more: Vec<String>) {
    for warning in more {
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
}

/// How many of `all` layers to run when `skip` of those that the model uses are left out; one is always run. `unused`
/// layers at the end are left out anyway.
fn layers_without(all: usize, unused: usize, skip: usize) -> Result<usize, Error> {
    all.checked_sub(unused).and_then(|used| used.checked_sub(skip)).filter(|&layers| layers > 0).ok_or_else(|| {
        Error::Request(format!(
            "a clip skip of {skip} is impossible: the model uses {} layers of its text encoder; 0 to {} are",
            all.saturating_sub(unused),
            all.saturating_sub(unused + 1)
        ))
    })
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

/// Why a tensor of a text encoder's file may be left out, when it may.
pub(crate) fn unused(name: &str) -> Option<&'static str> {
    if name.ends_with("position_ids") {
        Some("a constant")
    } else if name == "text_projection.weight" {
        Some("only compares text with pictures")
    } else if name.contains("pooler.") || name.starts_with("cls.") {
        Some("summarises or completes a text, which painting does not ask for")
    } else {
        None
    }
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
            Clip::load(&part.config, &part.source, tokenizer, output, (device, kind))
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
    first: Clip,
    second: Clip,
    zeros_when_empty: bool,
}

impl TextEncoder for Pair {
    fn networks(&self) -> Vec<&dyn TextNetwork> {
        vec![&self.first, &self.second]
    }

    fn zeros_when_empty(&self) -> bool {
        self.zeros_when_empty
    }

    fn clips(&mut self) -> Vec<&mut Clip> {
        vec![&mut self.first, &mut self.second]
    }

    fn slots(&self) -> Vec<&Slots> {
        self.first.slots().into_iter().chain(self.second.slots()).collect()
    }
}
