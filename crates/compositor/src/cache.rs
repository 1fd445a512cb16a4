//! What stays on the device between views, under a budget of bytes: the least recently used goes first.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use outframe_document::BlobId;

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// A part of a stored picture, made no larger than its place.
    Part {
        id: BlobId,
        size: (u32, u32),
        part: (u32, u32),
        mask: bool,
    },
    /// A layer's tile, or several as one, by what they hold.
    Tile([u8; 32]),
    Sheet([u8; 32]),
    /// A sheet in memory.
    Host([u8; 32]),
}

/// A texture with what is needed to draw from it.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) texture: wgpu::Texture,
    pub(crate) view: wgpu::TextureView,
    /// For a part: its place in the picture, and the picture's size.
    pub(crate) part: [i32; 4],
    pub(crate) whole: [i32; 2],
    pub(crate) bytes: u64,
}

/// What takes up bytes of a budget.
pub(crate) trait Weighs {
    fn bytes(&self) -> u64;
}

impl Weighs for Kept {
    fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[derive(Debug)]
pub(crate) struct Cache<V = Kept> {
    kept: HashMap<Key, (u64, Arc<V>)>,
    order: BTreeMap<u64, Key>,
    clock: u64,
    budget: u64,
    bytes: u64,
    evictions: u64,
}

impl<V: Weighs> Cache<V> {
    pub(crate) fn new(budget: u64) -> Self {
        Self { kept: HashMap::new(), order: BTreeMap::new(), clock: 0, budget, bytes: 0, evictions: 0 }
    }

    pub(crate) fn get(&mut self, key: &Key) -> Option<Arc<V>> {
        let (used, kept) = self.kept.get_mut(key)?;
        self.order.remove(used);
        self.clock += 1;
        *used = self.clock;
        self.order.insert(self.clock, *key);
        Some(Arc::clone(kept))
    }

    pub(crate) fn insert(&mut self, key: Key, kept: V) -> Arc<V> {
        let kept = Arc::new(kept);
        self.clock += 1;
        self.bytes += kept.bytes();
        if let Some((used, old)) = self.kept.insert(key, (self.clock, Arc::clone(&kept))) {
            self.order.remove(&used);
            self.bytes -= old.bytes();
        }
        self.order.insert(self.clock, key);
        while self.bytes > self.budget {
            let Some((_, oldest)) = self.order.pop_first() else { break };
            if let Some((_, old)) = self.kept.remove(&oldest) {
                self.bytes -= old.bytes();
                self.evictions += 1;
            }
        }
        kept
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many were thrown out since this was last asked.
    pub(crate) fn take_evictions(&mut self) -> u64 {
        std::mem::take(&mut self.evictions)
    }
}
