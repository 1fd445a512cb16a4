//! What changes a loaded model without loading it again.

pub(crate) mod embedding;
pub(crate) mod lora;
pub(crate) mod slot;
