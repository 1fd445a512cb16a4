//! The protocol between Outframe and its engine worker, `outframe-engine`.
//!
//! The worker is a child process that holds the diffusion model, so that a crash, an out-of-memory kill or a hung GPU costs one
//! job and never the editor. Both sides speak [`frame`]s over the worker's standard input and output; their headers
//! are [`Request`]s and [`Event`]s. Without the feature `worker` this crate is that protocol only and links no libtorch.

pub mod frame;
mod message;
mod samplers;

pub use frame::{Frame, FrameError};
pub use message::{
    Control, Embedding, ErrorKind, Event, FillJob, GenerateJob, Lora, MAX_CONTROLS, Memory, ModelDefaults, ModelInfo,
    PROTOCOL, Picture, PictureError, Request, Sampling, UpscaleJob, WireError,
};
pub use samplers::SAMPLERS;
