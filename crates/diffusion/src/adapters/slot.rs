//! Weights that can be patched and put back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tch::Tensor;

/// One layer's weight: the model's own, and what takes its place while adapters are in force. Clones are the same weight.
#[derive(Debug, Clone)]
pub(crate) struct Slot(Arc<Mutex<Weight>>);

#[derive(Debug)]
struct Weight {
    base: Tensor,
    patched: Option<Tensor>,
}

/// The slots of a network by their path in the diffusers layout, without `.weight`.
pub(crate) type Slots = BTreeMap<String, Slot>;

impl Slot {
    pub(crate) fn new(base: Tensor) -> Self {
        Self(Arc::new(Mutex::new(Weight { base, patched: None })))
    }

    fn lock(&self) -> MutexGuard<'_, Weight> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The weight in force.
    pub(crate) fn weight(&self) -> Tensor {
        let weight = self.lock();
        weight.patched.as_ref().unwrap_or(&weight.base).shallow_clone()
    }

    /// The model's own weight, which nothing ever changes.
    pub(crate) fn base(&self) -> Tensor {
        self.lock().base.shallow_clone()
    }

    /// Puts another weight in force, or the model's own again.
    pub(crate) fn patch(&self, patched: Option<Tensor>) {
        self.lock().patched = patched;
    }
}
