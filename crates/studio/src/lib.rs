//! Outframe's use-cases, without a window: generate, extend, import, export.
//!
//! [`Studio`] brings the project file ([`outframe_document`]), the engine worker ([`engine`]) and the models ([`Models`]) together.
//! The command line and the desktop shell call it and nothing below it.

pub mod engine;
mod error;
mod export;
mod extend;
pub mod fill;
mod generate;
mod import;
mod layers;
mod models;
mod pictures;
pub mod queue;
mod session;
pub mod tiles;

pub use error::StudioError;
pub use export::{ExportOptions, can_write, export, thumbnail, write_whole};
pub use extend::{ExtendRequest, Extension};
pub use generate::{GenerateRequest, MAX_SIDE, MAX_TAKES, MIN_SIDE, Painting, Settings, TakeImage};
pub use import::{ImportOptions, Imported, import_pictures};
pub use models::{ModelEntry, Models};
pub use outframe_engine::ModelInfo;
pub use pictures::{Pictures, encode_png};
pub use session::{Event, EventSink, Studio};
pub use tokio_util::sync::CancellationToken;
