//! Prompts to the vectors that the denoising network attends to.

mod bert;
mod clip;
mod tokens;

use std::path::Path;

pub(crate) use clip::Clip;
use tch::{Device, Kind, Tensor};

use crate::Error;
use crate::adapters::slot::Slots;
use crate::config::Config;
use crate::weights::find_file;

/// A prompt, encoded.
#[derive(Debug)]
pub(crate) struct Encoded {
    /// `[1, token_limit, width]`.
    pub(crate) context: Tensor,
    /// What a person should know: words that were cut off or not understood.
    pub(crate) warnings: Vec<String>,
}

/// A network that encodes prompts.
pub(crate) trait TextEncoder: std::fmt::Debug + Send {
    /// Encodes one prompt; the empty prompt is a prompt, too.
    fn encode(&self, prompt: &str) -> Result<Encoded, Error>;

    /// The first and the second CLIP, which can learn words; none where the encoder is of another kind.
    fn clips(&mut self) -> Vec<&mut Clip> {
        Vec::new()
    }

    /// The weights that adapters can patch, of the first and the second encoder; none where adapters have no names for them.
    fn slots(&self) -> Vec<&Slots> {
        Vec::new()
    }
}

/// What a model folder says about its text encoder, without its weights.
#[derive(Debug, Clone)]
pub(crate) struct TextInfo {
    /// Which kind it is.
    pub(crate) kind: TextKind,
    /// The length of the context in tokens.
    pub(crate) token_limit: usize,
    /// The length of each token's vector.
    pub(crate) width: i64,
}

/// The supported text encoders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextKind {
    /// BERT and its small descendants, such as `MiniLM`.
    Bert,
    /// CLIP's text half, as in Stable Diffusion 1.x and 2.x.
    Clip,
}

impl TextInfo {
    /// Reads `text_encoder/config.json` and the keys of `model_index.json` that matter here.
    pub(crate) fn read(model: &Path, index: &Config) -> Result<Self, Error> {
        let config = Config::read(&model.join("text_encoder/config.json"))?;
        let limit = |most: i64| -> Result<i64, Error> {
            let tokens = index.count("tokens", Some(most))?;
            if (2..=most).contains(&tokens) {
                Ok(tokens)
            } else {
                Err(index.refuse("tokens", format!("2 to {most} are possible with this text encoder")))
            }
        };
        let width = config.count("hidden_size", None)?;
        match config.text("model_type")? {
            Some("bert") => {
                let most = config.count("max_position_embeddings", Some(512))?.min(4096);
                Ok(Self { kind: TextKind::Bert, token_limit: limit(most)? as usize, width })
            }
            Some("clip_text_model") => {
                let most = config.count("max_position_embeddings", Some(77))?.min(4096);
                Ok(Self { kind: TextKind::Clip, token_limit: limit(most)? as usize, width })
            }
            _ => Err(config.refuse("model_type", "the text encoders `bert` and `clip_text_model` are supported")),
        }
    }

    /// A short name for people.
    pub(crate) fn name(&self) -> String {
        let name = match self.kind {
            TextKind::Bert => "MiniLM/BERT",
            TextKind::Clip => "CLIP",
        };
        format!("{name} ({} wide)", self.width)
    }

    /// Loads the encoder and its tokenizer.
    pub(crate) fn load(&self, model: &Path, device: Device, kind: Kind) -> Result<Box<dyn TextEncoder>, Error> {
        let folder = model.join("text_encoder");
        let config = Config::read(&folder.join("config.json"))?;
        let file = find_file(&folder, "model")?;
        let tokenizer = tokens::Tokens::load(&model.join("tokenizer"), self.token_limit)?;
        Ok(match self.kind {
            TextKind::Bert => Box::new(bert::Bert::load(&config, &file, tokenizer, device, kind)?),
            TextKind::Clip => Box::new(Clip::load(&config, &file, tokenizer, device, kind)?),
        })
    }
}
