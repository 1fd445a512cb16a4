//! What a model is, known from its configuration files and weight headers alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;
use tch::{Device, Kind};

use crate::Error;
use crate::config::Config;
use crate::scheduler::{Prediction, SAMPLERS, Schedule};
use crate::single;
use crate::text::{self, TextInfo, TextKind, TextPart, Tokenizer};
use crate::unet::{AddedConfig, UNetConfig};
use crate::vae::VaeConfig;
use crate::weights::{Source, Weights, find_files};

/// What to know about a model before and after loading it.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ModelInfo {
    /// Its name: `name` in `outframe.json`, else the folder's or file's.
    pub name: String,
    /// The family that it belongs to, such as `starter (MiniLM)`, `SD 1.x`, `SD 2.x` or `SDXL, inpainting`.
    pub family: String,
    /// The number format of the denoising network's weights on disk, such as `f16`.
    #[serde(default)]
    pub stored_as: String,
    /// Input channels of the UNet: the latent channels, or with mask and masked picture for a model made for filling.
    pub in_channels: i64,
    /// Channels of the latents.
    pub latent_channels: i64,
    /// Pixels along the side of one latent.
    pub vae_factor: i64,
    /// Pixels along the side of the pictures that it was trained on.
    pub native_size: u32,
    /// What the UNet predicts: `epsilon`, `v_prediction` or `sample`.
    pub prediction: String,
    /// Its text encoder, for people.
    pub text_encoder: String,
    /// How many tokens of a prompt it reads, begin and end included.
    pub token_limit: usize,
    /// The size of its weights on disk, in bytes.
    pub weight_bytes: u64,
    /// BLAKE3 of the UNet's weights file in hexadecimal. Empty here, because it takes reading the whole file: see
    /// [`weights_hash`].
    pub hash: String,
    /// The settings that suit it.
    pub defaults: Defaults,
    /// Tensors of its files that painting does not need, by reason. Any other tensor without a place is an error.
    #[serde(default)]
    pub unused: Unused,
}

/// Tensors that are in a model's files and not used.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Unused(pub BTreeMap<String, Vec<String>>);

impl Unused {
    /// Notes a tensor.
    pub(crate) fn add(&mut self, reason: &str, name: &str) {
        self.0.entry(reason.to_owned()).or_default().push(name.to_owned());
    }

    /// Notes those of a network's weights that a loader leaves out.
    fn add_from(&mut self, source: &Source, reason: impl Fn(&str) -> Option<&'static str>) -> Result<(), Error> {
        // Files in another layout are sorted where their names are translated.
        if source.names.is_none() {
            for (name, _) in Weights::open_source(source, Device::Cpu, Kind::Float)?.tensors() {
                if let Some(reason) = reason(name) {
                    self.add(reason, name);
                }
            }
        }
        Ok(())
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }
}

impl ModelInfo {
    /// Family and number format for people, such as `SDXL, inpainting, f16`.
    pub fn summary(&self) -> String {
        format!("{}, {}", self.family, self.stored_as)
    }
}

/// Settings that suit a model, from `outframe.json` in its folder; each key there is optional.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Defaults {
    /// The sampler's name, one of [`SAMPLERS`].
    pub sampler: String,
    /// Denoising steps.
    pub steps: u32,
    /// Guidance for new pictures; 1 is none.
    pub guidance: f64,
    /// Guidance for filling.
    pub fill_guidance: f64,
    /// Denoising strength for filling, 0 to 1.
    pub fill_strength: f64,
}

impl Default for Defaults {
    fn default() -> Self {
        Self { sampler: "dpmpp-2m".to_owned(), steps: 25, guidance: 7.5, fill_guidance: 7.5, fill_strength: 1.0 }
    }
}

impl Defaults {
    fn read(config: &Config) -> Result<Self, Error> {
        let base = Self::default();
        let sampler = match config.text("sampler")? {
            None => base.sampler,
            Some(name) if SAMPLERS.contains(&name) => name.to_owned(),
            Some(_) => return Err(config.refuse("sampler", format!("known are {}", SAMPLERS.join(", ")))),
        };
        let guidance = config.number("guidance", base.guidance)?;
        let result = Self {
            sampler,
            steps: config.count("steps", Some(i64::from(base.steps)))? as u32,
            guidance,
            fill_guidance: config.number("fill_guidance", guidance)?,
            fill_strength: config.number("fill_strength", base.fill_strength)?,
        };
        if !(0.0..=1.0).contains(&result.fill_strength) {
            return Err(config.refuse("fill_strength", "0 to 1 is expected"));
        }
        Ok(result)
    }
}

/// A model's configurations and where its weights are, from a folder or a single file.
#[derive(Debug)]
pub(crate) struct Parts {
    /// The folder's or file's name.
    pub(crate) name: String,
    /// `model_index.json`.
    pub(crate) index: Config,
    /// The denoising network.
    pub(crate) unet: (Config, Source),
    /// The autoencoder.
    pub(crate) vae: (Config, Source),
    /// One or two text encoders.
    pub(crate) text: Vec<TextPart>,
    /// `scheduler/scheduler_config.json`.
    pub(crate) scheduler: Config,
    /// `outframe.json`.
    pub(crate) own: Option<Config>,
    /// What a single file holds beside the model.
    pub(crate) unused: Unused,
}

impl Parts {
    /// Finds the parts of a model, a folder in the diffusers layout or a checkpoint in one file; `vae` replaces its
    /// autoencoder.
    pub(crate) fn open(path: &Path, vae: Option<&Path>) -> Result<Self, Error> {
        let mut parts = if path.is_file() {
            safe_file(path)?;
            single::read(path)?
        } else {
            Self::folder(path)?
        };
        if let Some(vae) = vae {
            parts.vae = if vae.is_file() {
                safe_file(vae)?;
                single::read_vae(vae, &parts.vae.0)?
            } else {
                let inner = vae.join("vae");
                let folder = if inner.is_dir() { inner } else { vae.to_path_buf() };
                (Config::read(&folder.join("config.json"))?, find_files(&folder, NETWORK)?)
            };
        }
        Ok(parts)
    }

    fn folder(dir: &Path) -> Result<Self, Error> {
        let index_path = dir.join("model_index.json");
        if !index_path.is_file() {
            let reason = "it has no model_index.json; a folder in the diffusers layout or a .safetensors file with a \
                          complete checkpoint is expected"
                .to_owned();
            return Err(Error::NotAModel { path: dir.to_path_buf(), reason });
        }
        let index = Config::read(&index_path)?;
        let network = |name: &str| -> Result<(Config, Source), Error> {
            let folder = dir.join(name);
            Ok((Config::read(&folder.join("config.json"))?, find_files(&folder, NETWORK)?))
        };
        let encoder = |name: &str, tokenizer: &str| -> Result<TextPart, Error> {
            let folder = dir.join(name);
            Ok(TextPart {
                config: Config::read(&folder.join("config.json"))?,
                source: find_files(&folder, "model")?,
                tokenizer: Tokenizer::Folder(dir.join(tokenizer)),
            })
        };
        let part_exists = |key: &str| match index.get(key) {
            None => false,
            // A part that a pipeline can do without is `[null, null]`.
            Some(Value::Array(list)) => !list.iter().all(Value::is_null),
            Some(_) => true,
        };
        if part_exists("text_encoder_3") || part_exists("transformer") {
            let key = if part_exists("transformer") { "transformer" } else { "text_encoder_3" };
            return Err(index.refuse(key, "only models with a UNet and one or two text encoders are supported"));
        }
        if part_exists("text_encoder_2") && index.get("text_encoder").is_some() && !part_exists("text_encoder") {
            return Err(index.refuse("text_encoder", "SDXL's base model is expected; the refiner is not supported"));
        }
        let mut text = vec![encoder("text_encoder", "tokenizer")?];
        if part_exists("text_encoder_2") {
            text.push(encoder("text_encoder_2", "tokenizer_2")?);
        }
        let full = dir.canonicalize().unwrap_or_else(|_| dir.to_path_buf());
        Ok(Self {
            name: full.file_name().map_or_else(|| "model".to_owned(), |name| name.to_string_lossy().into_owned()),
            unet: network("unet")?,
            vae: network("vae")?,
            text,
            scheduler: Config::read(&dir.join("scheduler/scheduler_config.json"))?,
            own: Config::read_optional(&dir.join("outframe.json"))?,
            unused: Unused::default(),
            index,
        })
    }

    /// Every file with weights, once.
    fn files(&self) -> BTreeSet<&Path> {
        let texts = self.text.iter().map(|part| &part.source);
        [&self.unet.1, &self.vae.1].into_iter().chain(texts).flat_map(|s| &s.files).map(PathBuf::as_path).collect()
    }
}

/// The stem of the weights of networks other than text encoders.
pub(crate) const NETWORK: &str = "diffusion_pytorch_model";

/// Refuses files in formats that are never loaded.
pub(crate) fn safe_file(path: &Path) -> Result<(), Error> {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    let reason = match extension.as_deref() {
        Some("safetensors") => return Ok(()),
        Some("ckpt" | "pt" | "pth" | "bin") => {
            "such files can run programs when they are read and are therefore never loaded; convert it to SafeTensors, \
             or download that format"
        }
        Some("gguf") => "the GGUF format is not supported; a .safetensors file is needed",
        _ => "a folder in the diffusers layout or a .safetensors file is expected",
    };
    Err(Error::NotAModel { path: path.to_path_buf(), reason: reason.to_owned() })
}

/// Every configuration of a model, read and checked against each other.
#[derive(Debug)]
pub(crate) struct Description {
    pub(crate) info: ModelInfo,
    /// Numbers in the denoising network's weights.
    pub(crate) parameters: u64,
    pub(crate) unet: UNetConfig,
    pub(crate) vae: VaeConfig,
    pub(crate) text: TextInfo,
    pub(crate) schedule: Schedule,
    pub(crate) parts: Parts,
}

impl Description {
    pub(crate) fn read(path: &Path, other_vae: Option<&Path>) -> Result<Self, Error> {
        let parts = Parts::open(path, other_vae)?;
        let (index, unet_json) = (&parts.index, &parts.unet.0);
        let unet = UNetConfig::read(unet_json)?;
        let vae = VaeConfig::read(&parts.vae.0)?;
        let text = TextInfo::read(&parts.text, index)?;
        let schedule = Schedule::from_config(&parts.scheduler)?;

        let latent = vae.latent_channels;
        if unet.in_channels != latent && unet.in_channels != 2 * latent + 1 {
            let why =
                format!("{latent} (painting) or {} (painting and filling) go with this autoencoder", 2 * latent + 1);
            return Err(unet_json.refuse("in_channels", why));
        }
        if unet.out_channels != latent {
            return Err(unet_json.refuse("out_channels", format!("the autoencoder has {latent} latent channels")));
        }
        if unet.cross_attention_dim != text.width {
            return Err(
                unet_json.refuse("cross_attention_dim", format!("the text encoder's vectors have {}", text.width))
            );
        }
        match (unet.added.as_ref().map(AddedConfig::pooled), text.pooled) {
            (None, None) => {}
            (Some(wanted), Some(given)) if wanted == given => {}
            (Some(wanted), given) => {
                let given = given.map_or_else(|| "none".to_owned(), |given| given.to_string());
                let why = format!("it needs a pooled prompt of {wanted} numbers, and the text encoders give {given}");
                return Err(unet_json.refuse("projection_class_embeddings_input_dim", why));
            }
            (None, Some(_)) => {
                return Err(unet_json.refuse("addition_embed_type", "text_time goes with two text encoders (SDXL)"));
            }
        }
        let own = &parts.own;
        let defaults = own.as_ref().map_or_else(|| Ok(Defaults::default()), Defaults::read)?;
        let name = match own {
            Some(own) => own.text("name")?.map(str::to_owned),
            None => None,
        };
        let native = index.count("native_size", Some(unet.sample_size.unwrap_or(64) * vae.factor()))?;
        let family = match (text.kind, text.width) {
            (TextKind::Bert, _) => "starter (MiniLM)",
            (TextKind::Clip, 768) => "SD 1.x",
            (TextKind::Clip, 1024) => "SD 2.x",
            (TextKind::Clip, _) => "latent diffusion (CLIP)",
            (TextKind::ClipPair, _) => "SDXL",
        };
        let fills = unet.in_channels != latent && text.kind != TextKind::Bert;
        let mut weight_bytes = 0;
        for file in parts.files() {
            let read = |source| Error::Read { path: file.to_path_buf(), source };
            weight_bytes += std::fs::metadata(file).map_err(read)?.len();
        }
        let mut unused = parts.unused.clone();
        for (i, part) in parts.text.iter().enumerate() {
            // SDXL's second encoder does project.
            let projects = i == 1;
            unused.add_from(&part.source, |name| {
                text::unused(name).filter(|_| !(projects && name == "text_projection.weight"))
            })?;
        }
        unused.add_from(&parts.unet.1, |name| name.ends_with(".position_ids").then_some("a constant"))?;
        let weights = Weights::open_source(&parts.unet.1, Device::Cpu, Kind::Float)?;
        let parameters = weights.tensors().map(|(_, shape)| shape.iter().product::<i64>() as u64).sum();
        let info = ModelInfo {
            unused,
            name: name.unwrap_or_else(|| parts.name.clone()),
            family: if fills { format!("{family}, inpainting") } else { family.to_owned() },
            stored_as: weights.stored_as(),
            in_channels: unet.in_channels,
            latent_channels: latent,
            vae_factor: vae.factor(),
            native_size: native as u32,
            prediction: Prediction::name(schedule.prediction()).to_owned(),
            text_encoder: text.name(),
            token_limit: text.token_limit,
            weight_bytes,
            hash: String::new(),
            defaults,
        };
        Ok(Self { info, parameters, unet, vae, text, schedule, parts })
    }
}

/// Looks at a model, a folder or a single file, without loading it: its configuration files and the headers of its
/// weights, a few milliseconds.
///
/// # Errors
/// What [`crate::Pipeline::load`] would find in these files.
pub fn inspect(path: &Path) -> Result<ModelInfo, Error> {
    crate::error::guard("inspecting a model", || {
        let Description { info, parts, .. } = Description::read(path, None)?;
        for source in parts.text.iter().map(|part| &part.source).chain([&parts.vae.1]) {
            Weights::open_source(source, Device::Cpu, Kind::Float)?;
        }
        Ok(info)
    })
}

/// BLAKE3 of the UNet's weights in hexadecimal: what identifies a model in a generation's record. A checkpoint in a
/// single file is hashed as a whole, a split one file after file.
///
/// It reads all of it, about a second per gigabyte.
pub fn weights_hash(path: &Path) -> Result<String, Error> {
    let mut hasher = blake3::Hasher::new();
    for path in hashed_files(path)? {
        let read = |source| Error::Read { path: path.clone(), source };
        hasher.update_reader(std::fs::File::open(&path).map_err(read)?).map_err(read)?;
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// What tells without reading them that the weights are still those that [`weights_hash`] read: each file with its length
/// and time of change.
pub fn weights_stamp(path: &Path) -> Result<Vec<(PathBuf, u64, Option<SystemTime>)>, Error> {
    let stamp = |path: PathBuf| {
        let found = std::fs::metadata(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
        Ok((path, found.len(), found.modified().ok()))
    };
    hashed_files(path)?.into_iter().map(stamp).collect()
}

fn hashed_files(path: &Path) -> Result<Vec<PathBuf>, Error> {
    Ok(if path.is_file() { vec![path.to_path_buf()] } else { find_files(&path.join("unet"), NETWORK)?.files })
}
