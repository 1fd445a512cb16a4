//! Re-exports the current `torch-sys` under the version that `diffusers` 0.3.1 asks for.
pub use torch_sys_current::*;
