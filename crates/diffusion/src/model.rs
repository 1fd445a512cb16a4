//! What a model folder is, known from its configuration files and weight headers alone.

use std::path::Path;

use tch::{Device, Kind};

use crate::Error;
use crate::config::Config;
use crate::scheduler::{Prediction, SAMPLERS, Schedule};
use crate::text::{TextInfo, TextKind};
use crate::unet::UNetConfig;
use crate::vae::VaeConfig;
use crate::weights::{Weights, find_file};

/// What to know about a model before and after loading it.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ModelInfo {
    /// Its name: `name` in `outframe.json`, else the folder's.
    pub name: String,
    /// The family that it belongs to, such as `starter (MiniLM)`, `SD 1.x` or `SD 2.x`.
    pub family: String,
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

/// Every configuration of a model, read and checked against each other.
#[derive(Debug)]
pub(crate) struct Description {
    pub(crate) info: ModelInfo,
    pub(crate) unet: UNetConfig,
    pub(crate) vae: VaeConfig,
    pub(crate) text: TextInfo,
    pub(crate) schedule: Schedule,
}

impl Description {
    pub(crate) fn read(dir: &Path) -> Result<Self, Error> {
        let index_path = dir.join("model_index.json");
        if !index_path.is_file() {
            let reason = "it has no model_index.json; a folder in the diffusers layout is expected".to_owned();
            return Err(Error::NotAModel { path: dir.to_path_buf(), reason });
        }
        let index = Config::read(&index_path)?;
        if index.get("text_encoder_2").is_some() {
            return Err(index.refuse("text_encoder_2", "models with two text encoders (SDXL) are not supported yet"));
        }
        let unet_path = dir.join("unet/config.json");
        let unet = UNetConfig::read(&unet_path)?;
        let vae = VaeConfig::read(&dir.join("vae/config.json"))?;
        let text = TextInfo::read(dir, &index)?;
        let schedule = Schedule::read(&dir.join("scheduler/scheduler_config.json"))?;

        let unet_json = Config::read(&unet_path)?;
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
        let own = Config::read_optional(&dir.join("outframe.json"))?;
        let defaults = own.as_ref().map_or_else(|| Ok(Defaults::default()), Defaults::read)?;
        let folder_name = || {
            let full = dir.canonicalize().unwrap_or_else(|_| dir.to_path_buf());
            full.file_name().map_or_else(|| "model".to_owned(), |name| name.to_string_lossy().into_owned())
        };
        let name = match &own {
            Some(own) => own.text("name")?.map(str::to_owned),
            None => None,
        };
        let native = index.count("native_size", Some(unet.sample_size.unwrap_or(64) * vae.factor()))?;
        let info = ModelInfo {
            name: name.unwrap_or_else(folder_name),
            family: match (text.kind, text.width) {
                (TextKind::Bert, _) => "starter (MiniLM)".to_owned(),
                (TextKind::Clip, 768) => "SD 1.x".to_owned(),
                (TextKind::Clip, 1024) => "SD 2.x".to_owned(),
                (TextKind::Clip, _) => "latent diffusion (CLIP)".to_owned(),
            },
            in_channels: unet.in_channels,
            latent_channels: latent,
            vae_factor: vae.factor(),
            native_size: native as u32,
            prediction: Prediction::name(schedule.prediction()).to_owned(),
            text_encoder: text.name(),
            token_limit: text.token_limit,
            weight_bytes: 0,
            hash: String::new(),
            defaults,
        };
        Ok(Self { info, unet, vae, text, schedule })
    }
}

/// The weight files of a model: UNet, VAE, text encoder.
pub(crate) fn weight_files(dir: &Path) -> Result<[std::path::PathBuf; 3], Error> {
    Ok([
        find_file(&dir.join("unet"), "diffusion_pytorch_model")?,
        find_file(&dir.join("vae"), "diffusion_pytorch_model")?,
        find_file(&dir.join("text_encoder"), "model")?,
    ])
}

/// Looks at a model without loading it: its configuration files and the headers of its weights, a few milliseconds.
///
/// # Errors
/// What [`crate::Pipeline::load`] would find in these files.
pub fn inspect(dir: &Path) -> Result<ModelInfo, Error> {
    crate::error::guard("inspecting a model", || {
        let mut info = Description::read(dir)?.info;
        for file in weight_files(dir)? {
            info.weight_bytes += Weights::open(&file, Device::Cpu, Kind::Float)?.bytes();
        }
        Ok(info)
    })
}

/// BLAKE3 of the UNet's weights file in hexadecimal: what identifies a model in a generation's record.
///
/// It reads the whole file, about a second per gigabyte.
pub fn weights_hash(dir: &Path) -> Result<String, Error> {
    let path = find_file(&dir.join("unet"), "diffusion_pytorch_model")?;
    let read = |source| Error::Read { path: path.clone(), source };
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(std::fs::File::open(&path).map_err(read)?).map_err(read)?;
    Ok(hasher.finalize().to_hex().to_string())
}
