//! studio
pub mod engine;
pub mod fill;
