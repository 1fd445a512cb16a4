//! The text encoder, which can be let go between prompts.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tch::{Device, Kind};

use crate::Error;
use crate::text::{TextEncoder, TextInfo, TextPart};

/// A text encoder that is loaded when it is needed.
#[derive(Debug)]
pub(crate) struct Encoder {
    info: TextInfo,
    parts: Vec<TextPart>,
    device: Device,
    kind: Kind,
    loaded: Mutex<Option<Box<dyn TextEncoder>>>,
}

impl Encoder {
    /// Loads it, so that a damaged one is told at once.
    pub(crate) fn load(info: TextInfo, parts: Vec<TextPart>, device: Device, kind: Kind) -> Result<Self, Error> {
        let loaded = Mutex::new(Some(info.load(&parts, device, kind)?));
        Ok(Self { info, parts, device, kind, loaded })
    }

    /// Uses the encoder, loading it when it was let go.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut dyn TextEncoder) -> Result<T, Error>) -> Result<T, Error> {
        let mut loaded = self.lock();
        let encoder = match &mut *loaded {
            Some(encoder) => encoder,
            none => none.insert(tch::no_grad(|| self.info.load(&self.parts, self.device, self.kind))?),
        };
        work(&mut **encoder)
    }

    /// Frees its memory until it is needed again.
    pub(crate) fn release(&self) {
        *self.lock() = None;
    }

    /// Whether it is in memory.
    pub(crate) fn is_loaded(&self) -> bool {
        self.lock().is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<dyn TextEncoder>>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
