//! Re-exports the current `tch` under the version that `diffusers` 0.3.1 asks for.
//!
//! `diffusers` compiles unchanged against it. Nothing else may depend on this crate: everyone uses `tch` 0.26.
pub use tch_current::*;
