//! Pictures into Outframe and out of it: bytes in, plain data out, without projects.
//!
//! - [`read_picture`] reads PNG, JPEG, WebP, TIFF, AVIF, GIF and BMP into upright sRGB pixels, with what the file says about
//!   itself ([`Metadata`]): how it was generated (A1111, `ComfyUI`, `InvokeAI`, `NovelAI`, Outframe), who made it, with which camera.
//! - [`write_png`], [`write_jpeg`], [`write_webp`] write pixels tagged as sRGB, with a description that other programs read, or
//!   stripped of it; [`write_tiff`] writes pixels alone. [`stream_png`] and [`stream_tiff`] take a picture strip by strip, so
//!   that none is too large for memory.
//! - [`ora`] reads and writes layers as OpenRaster.
//!
//! Every file is untrusted: sizes, counts and depths are checked against [`Limits`] before memory is taken for them.

#[cfg(feature = "avif")]
mod avif;
mod colour;
mod container;
mod error;
mod format;
#[cfg(feature = "avif")]
mod heif;
mod jpeg;
mod limits;
mod metadata;
pub mod ora;
mod read;
mod write;

pub use error::{Error, Result};
pub use format::{Format, sniff};
pub use limits::Limits;
pub use metadata::{DigitalSourceType, ExifBasics, GenerationMetadata, Metadata, OUTFRAME_KEYWORD, a1111, from_texts};
pub use read::{Picture, read_picture};
pub use write::{
    Effort, StreamSize, Strip, WriteMetadata, WriteOptions, stream_png, stream_tiff, write_jpeg, write_png, write_tiff,
    write_webp,
};
