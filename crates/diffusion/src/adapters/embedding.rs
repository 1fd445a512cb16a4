//! Textual inversion (Gal et al., "An image is worth one word", ICLR 2023): vectors that stand for a word in a prompt.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tch::{Device, Kind, Tensor};

use crate::Error;
use crate::text::Clip;
use crate::weights::Weights;

/// More vectors than a prompt has tokens are of no use.
const MAX_VECTORS: i64 = 256;

/// More words at once are refused.
const MAX_WORDS: usize = 256;

/// A textual inversion's file and the word that stands for it in prompts.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Embedding {
    /// The `SafeTensors` file.
    pub path: PathBuf,
    /// The word, without spaces, commas, colons, bars and brackets other than `<` and `>`. Capitals do not matter.
    pub word: String,
}

/// The words in force.
#[derive(Debug, Default)]
pub(crate) struct Words(Vec<(Embedding, u64, Option<SystemTime>)>);

impl Words {
    /// Whether no words were taught.
    pub(crate) fn none(&self) -> bool {
        self.0.is_empty()
    }

    /// Teaches the encoders exactly these words. When one fails, those from before stay.
    pub(crate) fn set(&mut self, wanted: &[Embedding], mut clips: Vec<&mut Clip>) -> Result<(), Error> {
        if wanted.len() > MAX_WORDS {
            return Err(Error::Request(format!("{} words are too many; at most {MAX_WORDS} are taught", wanted.len())));
        }
        let mut stamped = Vec::new();
        for (i, one) in wanted.iter().enumerate() {
            check_word(&one.word)?;
            if wanted[..i].iter().any(|other| other.word.to_lowercase() == one.word.to_lowercase()) {
                return Err(Error::Request(format!("the word `{}` stands for two embeddings", one.word)));
            }
            let found =
                std::fs::metadata(&one.path).map_err(|source| Error::Read { path: one.path.clone(), source })?;
            stamped.push((one.clone(), found.len(), found.modified().ok()));
        }
        if self.0 == stamped {
            return Ok(());
        }
        let mut lists: Vec<Vec<(String, Tensor)>> = clips.iter().map(|_| Vec::new()).collect();
        for one in wanted {
            let widths: Vec<i64> = clips.iter().map(|clip| clip.width()).collect::<Result<_, _>>()?;
            for (list, vectors) in lists.iter_mut().zip(read(&one.path, &widths)?) {
                list.push((one.word.clone(), vectors));
            }
        }
        let taught = clips.iter().zip(&lists).map(|(clip, list)| clip.learn(list)).collect::<Result<Vec<_>, _>>()?;
        for (clip, taught) in clips.iter_mut().zip(taught) {
            clip.install(taught);
        }
        self.0 = stamped;
        Ok(())
    }
}

fn check_word(word: &str) -> Result<(), Error> {
    let bad = |c: char| c.is_whitespace() || c.is_control() || "()[]{}|:,\\".contains(c);
    if word.is_empty() || word.chars().count() > 100 || word.contains(bad) {
        return Err(Error::Request(format!(
            "`{}` cannot stand for an embedding; one word of 1 to 100 letters without spaces, commas, colons, bars and brackets can",
            word.chars().take(100).collect::<String>()
        )));
    }
    Ok(())
}

/// The vectors `[n, width]` in f32 for each of the text encoders.
fn read(path: &Path, widths: &[i64]) -> Result<Vec<Tensor>, Error> {
    let bad = |problem: String| Error::Adapter { path: path.to_path_buf(), problem };
    let weights = Weights::open(path, Device::Cpu, Kind::Float)?;
    let names: Vec<(String, Vec<i64>)> =
        weights.tensors().map(|(name, shape)| (name.to_owned(), shape.to_vec())).collect();
    let pair = weights.has("clip_l") && weights.has("clip_g");
    let keys: Vec<&str> = match (widths.len(), names.as_slice()) {
        (0, _) => return Err(bad("this model's text encoder is no CLIP; embeddings are made for CLIP".to_owned())),
        (2.., _) if pair => vec!["clip_l", "clip_g"],
        (2.., _) => {
            return Err(bad("it lacks `clip_l` and `clip_g`, which a model with two text encoders needs".to_owned()));
        }
        (_, _) if pair => return Err(bad("it is made for SDXL; this model has one text encoder".to_owned())),
        (_, _) if weights.has("emb_params") => vec!["emb_params"],
        (_, [(only, _)]) => vec![only.as_str()],
        (_, list) => {
            return Err(bad(format!(
                "it has {} tensors and none is called `emb_params`; it is no embedding",
                list.len()
            )));
        }
    };
    let mut all = Vec::new();
    for (key, &width) in keys.into_iter().zip(widths) {
        let shape = names.iter().find(|(name, _)| name == key).map(|(_, shape)| shape.as_slice()).unwrap_or_default();
        let count = match *shape {
            [found] if found == width => 1,
            [count, found] if found == width && (1..=MAX_VECTORS).contains(&count) => count,
            _ => {
                let made = match shape.last() {
                    Some(768) => "; 768 is SD 1.x",
                    Some(1024) => "; 1024 is SD 2.x",
                    Some(1280) => "; 1280 is SDXL's second encoder",
                    _ => "",
                };
                return Err(bad(format!(
                    "`{key}` has shape {shape:?}{made}, but this model's words are 1 to {MAX_VECTORS} vectors of {width} numbers"
                )));
            }
        };
        // A copy: the file's memory goes away at the end of this function.
        let vectors = weights.take(key, shape)?.f_reshape([count, width])?.f_detach_copy()?;
        if i64::try_from(vectors.f_isfinite()?.f_all()?)? == 0 {
            return Err(bad(format!("`{key}` holds numbers that are none; the file is damaged")));
        }
        all.push(vectors);
    }
    Ok(all)
}
