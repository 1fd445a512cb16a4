//! Outframe's use-cases, without a window: generate, extend, vary, import, export.
//!
//! [`Studio`] brings the project file ([`outframe_document`]), the engine worker ([`engine`]) and the models ([`Models`]) together.
//! The command line and the desktop shell call it and nothing below it.

pub mod controls;
mod deep_zoom;
pub mod engine;
mod error;
mod export;
pub mod fill;
pub mod film;
mod generate;
mod import;
mod layers;
mod models;
mod paint;
mod pictures;
pub mod prompts;
pub mod queue;
mod region;
mod session;
pub mod shots;
mod surface;
mod texts;
pub mod tiles;
mod tuning;
mod upscalers;

pub use deep_zoom::{DeepZoom, DeepZoomOptions, export_tiles};
pub use error::StudioError;
pub use export::{Export, ExportOptions, can_write, export, export_with, thumbnail, write_whole};
pub use generate::{GenerateRequest, MAX_SIDE, MAX_TAKES, MIN_SIDE, Painting, Settings, TakeImage};
pub use import::{ImportOptions, Imported, import_pictures};
pub use models::{
    CatalogEntry, CatalogFile, CatalogSettings, Changes, DownloadProgress, Family, HashCache, Hashes, Hub, Kind,
    LibraryItem, ModelEntry, Models, Order, Removed, Watch, Way, catalog,
};
pub use outframe_engine::{ModelInfo, SAMPLERS};
pub use paint::{
    CoverRequest, ExtendRequest, FillPlan, MAX_FILL_TAKES, Outline, Painted, Placed, ReframeRequest, UPSCALE_STRENGTH,
    UpscaleMode, UpscalePlan, UpscaleRequest, Upscaled, VARY_STRENGTH, VaryRequest, ZoomOutRequest,
};
pub use pictures::{Pictures, ProjectPictures, encode_png};
pub use region::{MAX_REGION_SIDE, Region, RegionPart, Shape};
pub use session::{Event, EventSink, ReadyModel, Studio};
pub use texts::{Style, Texts};
pub use tokio_util::sync::CancellationToken;
pub use tuning::{EmbeddingChoice, LoraChoice, MAX_ADAPTERS, MAX_CLIP_SKIP, MAX_LORA_WEIGHT, Tuning};
pub use upscalers::UpscalerEntry;
