//! Outframe's diffusion models: a model and a prompt in, a picture out.
//!
//! The networks run on libtorch through `tch`. UNet, text encoders and samplers are this crate's own, the autoencoder is
//! that of diffusers-rs. Everything about a model comes from its folder's own configuration files, which follow the
//! layout of Python diffusers, or from the names and shapes in a checkpoint that is one `SafeTensors` file; what is not
//! supported is refused with the file, key and value.
//!
//! ```no_run
//! use std::ops::ControlFlow;
//! use outframe_diffusion::{Generate, LoadOptions, Pipeline, Sampling};
//!
//! # fn main() -> Result<(), outframe_diffusion::Error> {
//! let model = Pipeline::load("models/starter".as_ref(), &LoadOptions::default())?;
//! let defaults = model.info().defaults.clone();
//! let sampling = Sampling {
//!     prompt: "snowy mountains at dusk".to_owned(),
//!     negative: String::new(),
//!     steps: defaults.steps,
//!     guidance: defaults.guidance,
//!     sampler: defaults.sampler,
//!     seed: 1,
//!     preview: false,
//!     clip_skip: 0,
//!     guidance_rescale: 0.0,
//! };
//! let request = Generate { sampling, width: 256, height: 256, take: 0 };
//! let output = model.generate(&request, &mut |_| ControlFlow::Continue(()))?;
//! # let _ = output.image;
//! # Ok(())
//! # }
//! ```

mod adapters;
mod allocator;
mod config;
mod device;
mod encoder;
mod error;
mod estimate;
mod layers;
mod model;
pub mod noise;
mod picture;
mod pipeline;
#[doc(hidden)]
pub mod probe;
pub mod scheduler;
mod single;
mod text;
mod tiling;
mod tiny;
mod unet;
mod upscale;
mod vae;
mod weights;

pub use adapters::embedding::Embedding;
pub use adapters::lora::Lora;
pub use allocator::{give_back_freed_memory, keep_freed_memory};
pub use device::{DeviceChoice, Precision};
pub use error::Error;
pub use estimate::{Economies, Estimate, JobSize};
pub use model::{Defaults, ModelInfo, Unused, inspect, weights_hash, weights_stamp};
pub use pipeline::{Fill, Generate, LoadOptions, Observer, Output, Pipeline, Progress, Sampling, Walk};
pub use scheduler::SAMPLERS;
pub use tiling::Tiling;
pub use unet::control::{Control, MAX_CONTROLS};
pub use upscale::{MAX_UPSCALED_SIDE, Upscaler};
