//! Filling: paints unknown or chosen areas of the canvas so that they continue what is known.
//!
//! A fill runs in [`Window`]s that [`plan_extension`] lays out: each has a context rectangle with enough known picture, brought to
//! the size that the model was trained on. In a window the unknown part is [pre-filled](prefill), the model repaints it, the
//! result is [matched](harmonise) to the known pixels around it, and only the painted part is kept. Known pixels are never
//! written: they come back bit-identical.

mod harmonise;
mod mask;
mod plan;
mod prefill;

pub use harmonise::harmonise;
pub use mask::Mask;
pub use plan::{ModelSize, Side, Window, plan_extension};
pub use prefill::prefill;
