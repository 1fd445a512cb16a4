//! The typed headers of the protocol.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Version of the protocol. Both sides must agree; the worker is shipped together with the application.
pub const PROTOCOL: u32 = 1;

/// From the application to the worker. `id` is chosen by the application and returned with every event of that request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// First message. Answered by [`Event::Hello`].
    Hello {
        /// The application's [`PROTOCOL`].
        protocol: u32,
    },
    /// Read a model folder's configuration without loading weights. Answered by [`Event::Inspected`] or [`Event::Failed`].
    Inspect {
        /// Request id.
        id: u64,
        /// The model folder.
        model: PathBuf,
    },
    /// Load a model, replacing the loaded one. Answered by [`Event::Loaded`] or [`Event::Failed`].
    Load {
        /// Request id.
        id: u64,
        /// The model folder.
        model: PathBuf,
        /// `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        device: String,
        /// `auto`, `f32`, `f16` or `bf16`.
        precision: String,
        /// Compute threads; the worker decides when absent.
        threads: Option<usize>,
        /// Another autoencoder than the model's own: a folder in diffusers layout, or a `SafeTensors` file.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vae: Option<PathBuf>,
    },
    /// Text to image. Attachments: the controls' RGB pictures, if any. Answered by [`Event::Progress`] messages and one of [`Event::Done`], [`Event::Cancelled`], [`Event::Failed`].
    Generate {
        /// Request id.
        id: u64,
        /// What to make.
        job: GenerateJob,
    },
    /// Repaint the masked part of a picture. Attachments: the RGB picture, then the mask, then the
    /// controls' pictures, if any. Answered like [`Request::Generate`].
    Fill {
        /// Request id.
        id: u64,
        /// What to make.
        job: FillJob,
    },
    /// Make a picture larger. Attachment: the RGB picture. Answered like [`Request::Generate`], with a step for each tile. Needs
    /// no loaded model; the upscaler stays loaded for the next job.
    Upscale {
        /// Request id.
        id: u64,
        /// The upscaler's file.
        model: PathBuf,
        /// As in [`Request::Load`].
        device: String,
        /// As in [`Request::Load`].
        precision: String,
        /// As in [`Request::Load`].
        threads: Option<usize>,
        /// What to make.
        job: UpscaleJob,
    },
    /// Stop a running or waiting job within one denoising step or tile; unknown ids are ignored.
    Cancel {
        /// Id of the job's request.
        id: u64,
    },
    /// Ask for memory figures. Answered at once, also while a job runs.
    Status {
        /// Request id.
        id: u64,
    },
    /// Finish: the worker exits. Closing its standard input does the same.
    Shutdown,
}

/// How to sample: the parameters that every job has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// What the picture should show.
    pub prompt: String,
    /// What it should not show.
    pub negative: String,
    /// Denoising steps, 1 to 999.
    pub steps: u32,
    /// Classifier-free guidance scale; 1 switches guidance off.
    pub guidance: f64,
    /// Sampler name, one of [`crate::SAMPLERS`]: `dpmpp-2m`, `euler-a`, `unipc` for instance.
    pub sampler: String,
    /// Seed of the noise.
    pub seed: u64,
    /// Number of the take: with the seed it addresses the noise, whatever the number of takes made together.
    pub take: u64,
    /// Send a small picture with each progress event.
    pub preview: bool,
    /// Layers of the text encoder to leave out at its end; 0 is none.
    #[serde(default)]
    pub clip_skip: u32,
    /// How far to bring the contrast of the guided output back to that of the unguided, 0 to 1.
    #[serde(default)]
    pub guidance_rescale: f64,
    /// The `LoRA`s to paint with, in place of those of the job before; applying those already in force costs nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loras: Vec<Lora>,
    /// The words that stand for textual inversions, in place of those of the job before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub embeddings: Vec<Embedding>,
    /// The `ControlNet`s that steer the picture, at most [`MAX_CONTROLS`], in place of those of the job before; those
    /// already loaded cost nothing. Their pictures are attached after the job's own attachments, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub controls: Vec<Control>,
}

/// Most `ControlNet`s of one job: a frame has room for no more pictures.
pub const MAX_CONTROLS: usize = 6;

/// A `ControlNet` with the size of its picture, whose RGB bytes travel as attachment. The worker stretches it to the
/// size of the job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Control {
    /// Its folder in the diffusers layout, or its `SafeTensors` file.
    pub path: PathBuf,
    /// How strongly it counts: 1 as it was trained, 0 not at all; 0 to 10.
    pub scale: f64,
    /// From which part of the steps on it counts, 0 to 1.
    pub start: f64,
    /// Up to which part of the steps it counts; above `start`, at most 1.
    pub end: f64,
    /// The picture's size.
    pub picture: Picture,
}

/// A textual inversion's file and the word that stands for it in prompts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Embedding {
    /// The `SafeTensors` file.
    pub path: PathBuf,
    /// The word, without spaces, commas, colons, bars and brackets other than `<` and `>`.
    pub word: String,
}

/// A `LoRA` file and how strongly it counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lora {
    /// The `SafeTensors` file.
    pub path: PathBuf,
    /// 1 as it was trained, 0 not at all; -100 to 100.
    pub weight: f64,
}

/// A text-to-image job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GenerateJob {
    /// How to sample.
    pub sampling: Sampling,
    /// Width in pixels, a multiple of the model's `size_multiple`.
    pub width: u32,
    /// Height in pixels, likewise.
    pub height: u32,
}

/// A fill job; the picture and the mask travel as attachments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FillJob {
    /// How to sample.
    pub sampling: Sampling,
    /// Width in pixels of picture and mask, a multiple of the model's `size_multiple`.
    pub width: u32,
    /// Height in pixels, likewise.
    pub height: u32,
    /// Denoising strength, 0 to 1: the share of the noise schedule that is run.
    pub strength: f64,
}

/// An upscaling job; the picture travels as attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpscaleJob {
    /// Width of the picture in pixels; times `factor` at most 16384.
    pub width: u32,
    /// Height in pixels, likewise.
    pub height: u32,
    /// How many times as large it becomes along each side: 2 to the upscaler's own scale.
    pub factor: u32,
}

/// From the worker to the application.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Event {
    /// The worker is up.
    Hello {
        /// The worker's [`PROTOCOL`].
        protocol: u32,
        /// Version of Outframe that it was built from.
        version: String,
        /// Its process id.
        pid: u32,
    },
    /// Answer to [`Request::Inspect`].
    Inspected {
        /// Request id.
        id: u64,
        /// What the folder holds.
        info: ModelInfo,
    },
    /// A model is ready.
    Loaded {
        /// Request id.
        id: u64,
        /// What was loaded.
        info: ModelInfo,
        /// Where it runs, `cpu` or `cuda:0` for instance.
        device: String,
        /// In which precision it runs, `f32` for instance.
        precision: String,
        /// BLAKE3 of the UNet's weights in hexadecimal, by which a picture names its model.
        hash: String,
        /// How long loading took, in seconds.
        seconds: f64,
    },
    /// A step is done. Attachment: the preview's RGB bytes where `preview` is given.
    Progress {
        /// Request id.
        id: u64,
        /// Steps done.
        step: u32,
        /// Steps in all.
        steps: u32,
        /// Size of the preview in pixels.
        preview: Option<Picture>,
    },
    /// A job is finished. Attachment: the picture's RGB bytes.
    Done {
        /// Request id.
        id: u64,
        /// Size of the picture.
        picture: Picture,
        /// How long the job took, in seconds.
        seconds: f64,
        /// What the person should know, prompt words beyond the token limit for instance.
        warnings: Vec<String>,
    },
    /// A job was stopped on request.
    Cancelled {
        /// Request id.
        id: u64,
    },
    /// A request failed; the worker goes on.
    Failed {
        /// Request id.
        id: u64,
        /// Why.
        error: WireError,
    },
    /// Answer to [`Request::Status`].
    Status {
        /// Request id.
        id: u64,
        /// Memory figures.
        memory: Memory,
        /// Whether a job runs.
        busy: bool,
    },
}

impl Event {
    /// The request that this event belongs to; none for [`Event::Hello`].
    pub fn id(&self) -> Option<u64> {
        match self {
            Self::Hello { .. } => None,
            Self::Inspected { id, .. }
            | Self::Loaded { id, .. }
            | Self::Progress { id, .. }
            | Self::Done { id, .. }
            | Self::Cancelled { id }
            | Self::Failed { id, .. }
            | Self::Status { id, .. } => Some(*id),
        }
    }
}

/// Size of an attached RGB picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

/// An attachment whose length does not fit its announced size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an attached picture has {found} bytes, but its size needs {expected}")]
pub struct PictureError {
    /// Bytes that the size needs.
    pub expected: u64,
    /// Bytes that came.
    pub found: u64,
}

impl Picture {
    /// Checks that an attachment has as many bytes as `channels` channels of this size need.
    pub fn check(self, bytes: &[u8], channels: u64) -> Result<(), PictureError> {
        let expected = (u64::from(self.width) * u64::from(self.height)).saturating_mul(channels);
        if bytes.len() as u64 == expected { Ok(()) } else { Err(PictureError { expected, found: bytes.len() as u64 }) }
    }
}

/// What kind of failure it was, for callers that act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// The request's parameters are out of range or do not fit the model.
    InvalidRequest,
    /// The model's files are missing, damaged or of an unknown kind.
    Model,
    /// The asked-for device is not there.
    Device,
    /// Memory ran out; the worker freed the job and goes on.
    OutOfMemory,
    /// A defect of Outframe or of libtorch.
    Internal,
}

/// A failure, as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct WireError {
    /// Its kind.
    pub kind: ErrorKind,
    /// What happened, what it means, what to do.
    pub message: String,
}

/// Memory of the worker process, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Resident now, mapped weights included.
    pub resident: u64,
    /// Highest resident value so far; equal to `resident` where the platform does not tell.
    pub peak: u64,
    /// Free memory of the machine.
    pub available: u64,
}

/// What a model folder holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// Its name, usually the folder's.
    pub name: String,
    /// Family for people, `SD 1.x` for instance.
    pub family: String,
    /// Input channels of the UNet: 4, or 9 for inpainting variants.
    pub in_channels: i64,
    /// Channels of the latent.
    pub latent_channels: i64,
    /// Pixels per latent cell along one side.
    pub vae_factor: i64,
    /// Side of the square that the model was trained on, in pixels.
    pub native_size: u32,
    /// Widths and heights must be multiples of this many pixels.
    pub size_multiple: u32,
    /// What the UNet predicts, `epsilon` or `v_prediction`.
    pub prediction: String,
    /// Class of the text encoder.
    pub text_encoder: String,
    /// Most tokens of a prompt that are read.
    pub token_limit: usize,
    /// Bytes of all weight files.
    pub weight_bytes: u64,
    /// Recommended settings.
    pub defaults: ModelDefaults,
}

/// Settings that a model is known to work well with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelDefaults {
    /// Sampler name.
    pub sampler: String,
    /// Denoising steps.
    pub steps: u32,
    /// Guidance scale for text to image.
    pub guidance: f64,
    /// Guidance scale for fills.
    pub fill_guidance: f64,
    /// Denoising strength for extensions.
    pub fill_strength: f64,
}
