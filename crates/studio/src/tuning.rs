//! What changes a model for some pictures: `LoRAs`, textual inversions, another autoencoder, and how the text and the guidance
//! are taken.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use outframe_document::GenerationRequest;
use outframe_engine::{Embedding, Lora};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{HashCache, Kind, Models, StudioError};

/// The largest weight of a `LoRA`; the least is its negative.
pub const MAX_LORA_WEIGHT: f64 = 2.0;
/// Most `LoRAs`, and most textual inversions, at once.
pub const MAX_ADAPTERS: usize = 16;
/// Most layers of a text encoder that can be left out: the largest has 32.
pub const MAX_CLIP_SKIP: u32 = 31;

/// A `LoRA` of the library.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraChoice {
    /// Its name in the library, or its file.
    pub name: String,
    /// How strongly it counts: 1 as it was trained, -[`MAX_LORA_WEIGHT`] to [`MAX_LORA_WEIGHT`].
    pub weight: f64,
}

/// A textual inversion of the library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddingChoice {
    /// Its name in the library, or its file.
    pub name: String,
    /// The word that stands for it in prompts; its name when absent.
    pub word: Option<String>,
}

/// What changes the model; nothing by default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tuning {
    /// The `LoRAs`, all in force together.
    pub loras: Vec<LoraChoice>,
    /// The textual inversions that prompts may name.
    pub embeddings: Vec<EmbeddingChoice>,
    /// Layers of the text encoder to leave out at its end, 0 to [`MAX_CLIP_SKIP`].
    pub clip_skip: u32,
    /// How far to bring the contrast of the guided output back to that of the unguided, 0 to 1.
    pub guidance_rescale: f64,
    /// An autoencoder of the library, or its file or folder, in place of the model's own.
    pub vae: Option<String>,
}

impl Tuning {
    pub(crate) fn check(&self) -> Result<(), StudioError> {
        let invalid = |what: String| Err(StudioError::InvalidRequest(what));
        let (loras, embeddings) = (self.loras.len(), self.embeddings.len());
        if loras.max(embeddings) > MAX_ADAPTERS {
            return invalid(format!(
                "{loras} LoRAs and {embeddings} textual inversions: choose at most {MAX_ADAPTERS} each."
            ));
        }
        let bad = self.loras.iter().find(|lora| !(-MAX_LORA_WEIGHT..=MAX_LORA_WEIGHT).contains(&lora.weight));
        if let Some(LoraChoice { name, weight }) = bad {
            return invalid(format!(
                "The LoRA {name} with the weight {weight}: choose -{MAX_LORA_WEIGHT} to {MAX_LORA_WEIGHT}."
            ));
        }
        if self.clip_skip > MAX_CLIP_SKIP {
            return invalid(format!(
                "Clip skip {}: choose 0 (none) to {MAX_CLIP_SKIP}; models that need it usually need 1.",
                self.clip_skip
            ));
        }
        if !(0.0..=1.0).contains(&self.guidance_rescale) {
            return invalid(format!("Guidance rescale {}: choose 0 to 1.", self.guidance_rescale));
        }
        Ok(())
    }

    /// Finds the files and hashes them. Reads what has not been hashed yet, which takes a moment for each gigabyte.
    pub(crate) fn resolve(&self, models: &Models) -> Result<ReadyTuning, StudioError> {
        self.check()?;
        let mut ready = ReadyTuning {
            clip_skip: self.clip_skip,
            guidance_rescale: self.guidance_rescale,
            ..ReadyTuning::default()
        };
        if self.loras.is_empty() && self.embeddings.is_empty() && self.vae.is_none() {
            return Ok(ready);
        }
        let mut hashes = HashCache::open();
        let mut hash =
            |path: &Path| hashes.hashes(path, false, &CancellationToken::new(), |_, _| {}).map(|both| both.blake3);
        for choice in &self.loras {
            let item = models.item(Kind::Lora, &choice.name)?;
            let file = Named { name: item.name, hash: hash(&item.path)? };
            ready.loras.push((file, Lora { path: item.path, weight: choice.weight }));
        }
        for choice in &self.embeddings {
            let item = models.item(Kind::TextualInversion, &choice.name)?;
            let word = choice.word.clone().unwrap_or_else(|| item.name.clone());
            let file = Named { name: item.name, hash: hash(&item.path)? };
            ready.embeddings.push((file, Embedding { path: item.path, word }));
        }
        if let Some(asked) = &self.vae {
            let (name, path, weights) = find_vae(models, asked)?;
            ready.vae = Some((Named { name, hash: hash(&weights)? }, path));
        }
        Ok(ready)
    }

    /// What a generation was made with, as far as it was recorded. Files are asked for by their names.
    pub fn of(request: &GenerationRequest) -> Self {
        let list = |key: &str| request.extra.get(key).and_then(Value::as_array).into_iter().flatten();
        let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        Self {
            loras: list(LORAS)
                .filter_map(|lora| {
                    Some(LoraChoice { name: text(lora, "name")?, weight: lora.get("weight")?.as_f64()? })
                })
                .collect(),
            embeddings: list(EMBEDDINGS)
                .filter_map(|one| Some(EmbeddingChoice { name: text(one, "name")?, word: text(one, "word") }))
                .collect(),
            clip_skip: request
                .extra
                .get(CLIP_SKIP)
                .and_then(Value::as_u64)
                .and_then(|skip| u32::try_from(skip).ok())
                .unwrap_or(0),
            guidance_rescale: request.extra.get(RESCALE).and_then(Value::as_f64).unwrap_or(0.0),
            vae: request.extra.get(VAE).and_then(|vae| text(vae, "name")),
        }
    }
}

// The keys of a generation's record (docs/file-format.md).
const LORAS: &str = "loras";
const EMBEDDINGS: &str = "embeddings";
const CLIP_SKIP: &str = "clip_skip";
const RESCALE: &str = "guidance_rescale";
const VAE: &str = "vae";

/// A VAE's name, what the engine loads, and its file of weights.
fn find_vae(models: &Models, asked: &str) -> Result<(String, PathBuf, PathBuf), StudioError> {
    let folder = Path::new(asked);
    if !folder.is_dir() {
        let item = models.item(Kind::Vae, asked)?;
        return Ok((item.name, item.path.clone(), item.path));
    }
    let folder = folder.canonicalize().map_err(StudioError::io("open", folder))?;
    let inner = folder.join("vae");
    let parts =
        fs::read_dir(if inner.is_dir() { &inner } else { &folder }).map_err(StudioError::io("read", &folder))?;
    let mut files: Vec<_> = parts.flatten().map(|entry| entry.path()).collect();
    files.sort();
    let weights = files.into_iter().find(|file| file.extension().is_some_and(|ending| ending == "safetensors"));
    let weights = weights.ok_or_else(|| {
        StudioError::InvalidRequest(format!(
            "The folder {} holds no VAE: there is no .safetensors file in it.",
            folder.display()
        ))
    })?;
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok((name, folder, weights))
}

/// A file as a record names it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Named {
    name: String,
    /// BLAKE3 in hexadecimal.
    hash: String,
}

/// A [`Tuning`] whose files were found.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ReadyTuning {
    loras: Vec<(Named, Lora)>,
    embeddings: Vec<(Named, Embedding)>,
    pub(crate) clip_skip: u32,
    pub(crate) guidance_rescale: f64,
    vae: Option<(Named, PathBuf)>,
}

impl ReadyTuning {
    pub(crate) fn loras(&self) -> Vec<Lora> {
        self.loras.iter().map(|(_, lora)| lora.clone()).collect()
    }

    pub(crate) fn embeddings(&self) -> Vec<Embedding> {
        self.embeddings.iter().map(|(_, embedding)| embedding.clone()).collect()
    }

    pub(crate) fn vae(&self) -> Option<&Path> {
        self.vae.as_ref().map(|(_, path)| path.as_path())
    }

    /// Writes it into a generation's record; what is as usual leaves no trace.
    pub(crate) fn record(&self, extra: &mut BTreeMap<String, Value>) {
        let mut put = |key: &str, value: Value| extra.insert(key.into(), value);
        if !self.loras.is_empty() {
            let one =
                |(file, lora): &(Named, Lora)| json!({ "name": file.name, "hash": file.hash, "weight": lora.weight });
            put(LORAS, self.loras.iter().map(one).collect());
        }
        if !self.embeddings.is_empty() {
            let one = |(file, embedding): &(Named, Embedding)| json!({ "name": file.name, "hash": file.hash, "word": embedding.word });
            put(EMBEDDINGS, self.embeddings.iter().map(one).collect());
        }
        if self.clip_skip > 0 {
            put(CLIP_SKIP, self.clip_skip.into());
        }
        if self.guidance_rescale > 0.0 {
            put(RESCALE, self.guidance_rescale.into());
        }
        if let Some((file, _)) = &self.vae {
            put(VAE, json!({ "name": file.name, "hash": file.hash }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_range_is_refused() {
        let lora = |weight| LoraChoice { name: "ink".into(), weight };
        let tuned = |tuning: Tuning| tuning.check().map_err(|error| error.to_string());
        assert!(tuned(Tuning { loras: vec![lora(-2.0), lora(2.0)], ..Tuning::default() }).is_ok());
        for weight in [2.01, f64::NAN, f64::INFINITY] {
            let error = tuned(Tuning { loras: vec![lora(weight)], ..Tuning::default() }).unwrap_err();
            assert!(error.contains("ink"), "{error}");
        }
        assert!(tuned(Tuning { loras: vec![lora(1.0); 17], ..Tuning::default() }).is_err());
        assert!(tuned(Tuning { clip_skip: 32, ..Tuning::default() }).is_err());
        assert!(tuned(Tuning { guidance_rescale: 1.5, ..Tuning::default() }).is_err());
    }

    #[test]
    fn a_record_tells_everything_and_nothing_that_is_usual() {
        let mut request = GenerationRequest::default();
        ReadyTuning::default().record(&mut request.extra);
        assert!(request.extra.is_empty());
        assert_eq!(Tuning::of(&request), Tuning::default());

        let file = |name: &str| Named { name: name.into(), hash: "ab".into() };
        let ready = ReadyTuning {
            loras: vec![(file("ink"), Lora { path: "/a/ink.safetensors".into(), weight: -0.35 })],
            embeddings: vec![(file("calm"), Embedding { path: "/b".into(), word: "<calm>".into() })],
            clip_skip: 1,
            guidance_rescale: 0.7,
            vae: Some((file("soft"), "/c".into())),
        };
        ready.record(&mut request.extra);
        assert!(!serde_json::to_string(&request).unwrap().contains("/a/"), "folders are nobody’s business");
        let found = Tuning::of(&request);
        assert_eq!(found.loras, [LoraChoice { name: "ink".into(), weight: -0.35 }]);
        assert_eq!(found.embeddings, [EmbeddingChoice { name: "calm".into(), word: Some("<calm>".into()) }]);
        assert_eq!((found.clip_skip, found.vae.as_deref()), (1, Some("soft")));
        assert!((found.guidance_rescale - 0.7).abs() < 1e-12);

        // Nonsense that another program has written is nothing.
        request.extra.insert(LORAS.into(), json!([{ "name": 3 }, "x"]));
        request.extra.insert(CLIP_SKIP.into(), json!(-1));
        assert!(Tuning::of(&request).loras.is_empty() && Tuning::of(&request).clip_skip == 0);
    }
}
