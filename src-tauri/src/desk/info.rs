//! What the program runs on: adapter, models, engine.

use std::{fs, path::Path, time::Duration};

use outframe_studio::{
    Kind, LibraryItem, ModelEntry, ModelInfo, Style,
    controls::{ControlEntry, MAX_CONTROLS},
};
use serde_json::Value;

use super::{Desk, DeskEvent, lock};
use crate::{
    api::{
        AdapterItem, AdapterKind, AdaptersView, AppInfo, EngineState, EngineView, ModelDefaults, ModelView, Os,
        StyleView,
    },
    error::Answer,
};

/// How often the engine is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Memory is told in steps of this many bytes, so that not every look is news.
const MEMORY_STEP: u64 = 16 << 20;

/// What is remembered of the engine between two looks.
#[derive(Debug, Default)]
pub(super) struct EngineMemory {
    /// What went wrong in the last job, until another one works.
    pub(super) problem: Option<String>,
    told: Option<EngineView>,
}

impl Desk {
    pub(crate) fn app_info(&self) -> AppInfo {
        let (adapter, adapter_kind, adapter_problem) = match self.compositor() {
            Ok(compositor) => {
                let adapter = compositor.adapter();
                let kind = if adapter.software { AdapterKind::Software } else { AdapterKind::Hardware };
                (Some(format!("{} ({})", adapter.name, adapter.backend)), Some(kind), None)
            }
            Err(problem) => (None, None, Some(problem)),
        };
        AppInfo {
            version: env!("CARGO_PKG_VERSION").into(),
            adapter,
            adapter_kind,
            adapter_problem,
            ffmpeg: super::jobs::has_ffmpeg(),
            os: if cfg!(target_os = "macos") {
                Os::Macos
            } else if cfg!(windows) {
                Os::Windows
            } else {
                Os::Linux
            },
            tile_size: outframe_studio::tiles::SIDE,
        }
    }

    /// Starts the compositor beside the window, which both take a while.
    pub(crate) fn warm_up(&self) {
        let desk = self.clone();
        self.inner.runtime.spawn_blocking(move || desk.compositor().map(drop));
    }

    pub(crate) fn models(&self) -> Vec<ModelView> {
        self.inner.studio.models().list().iter().map(model_view).collect()
    }

    /// What the library has that changes a model.
    pub(crate) fn adapters(&self) -> AdaptersView {
        let models = self.inner.studio.models();
        let item = |item: LibraryItem| AdapterItem {
            about: item
                .title
                .as_ref()
                .filter(|title| **title != item.name)
                .map_or_else(|| item.description(), |title| format!("{title}: {}", item.description())),
            name: item.name,
            trigger_words: item.trigger_words,
        };
        let of = |kind| models.items(kind).into_iter().map(item).collect();
        let networks = models.items(Kind::ControlNet);
        let control = |entry: ControlEntry| {
            // A folder's item is the file in it; the name to ask for is the entry's.
            let known = networks.iter().find(|item| item.path.starts_with(&entry.path)).cloned();
            let shown = known.map(|known| item(LibraryItem { name: entry.name.clone(), ..known }));
            shown.unwrap_or(AdapterItem {
                name: entry.name,
                about: Kind::ControlNet.name().into(),
                trigger_words: vec![],
            })
        };
        AdaptersView {
            loras: of(Kind::Lora),
            embeddings: of(Kind::TextualInversion),
            vaes: of(Kind::Vae),
            controls: models.controls().into_iter().map(control).collect(),
            max_controls: MAX_CONTROLS as u32,
        }
    }

    pub(crate) fn styles(&self) -> Answer<Vec<StyleView>> {
        let view = |style: Style| StyleView { name: style.name, prompt: style.prompt, negative: style.negative };
        Ok(self.inner.studio.texts().styles()?.into_iter().map(view).collect())
    }

    /// What a model recommends. Asks the engine, and starts it, unless it has been asked before.
    pub(crate) async fn model_defaults(&self, model: Option<&str>) -> Answer<ModelDefaults> {
        let entry = self.inner.studio.models().resolve(model)?;
        if let Some(info) = lock(&self.inner.models).get(&entry.path) {
            return Ok(defaults(info));
        }
        let engine = self.inner.studio.engine();
        let info = engine.inspect(&entry.path).await.map_err(outframe_studio::StudioError::from)?;
        let answer = defaults(&info);
        lock(&self.inner.models).insert(entry.path, info);
        Ok(answer)
    }

    pub(crate) async fn engine_status(&self) -> EngineView {
        let problem = lock(&self.inner.engine).problem.clone();
        match self.inner.studio.engine().status().await {
            Ok(status) => EngineView {
                state: match (status.pid, status.busy) {
                    (Some(_), true) => EngineState::Busy,
                    (Some(_), false) => EngineState::Idle,
                    (None, _) if problem.is_some() => EngineState::Failed,
                    (None, _) => EngineState::Stopped,
                },
                model: status.model.as_ref().map(|model| model.info.name.clone()),
                device: status.model.as_ref().map(|model| model.device.clone()),
                memory_bytes: status.memory.resident.next_multiple_of(MEMORY_STEP),
                problem,
            },
            Err(error) => EngineView {
                state: EngineState::Failed,
                model: None,
                device: None,
                memory_bytes: 0,
                problem: Some(problem.unwrap_or_else(|| error.to_string())),
            },
        }
    }

    /// The side of the square that a model was trained on, in pixels: what it said, or its folder says.
    pub(super) fn native_size(&self, model: Option<&str>) -> u32 {
        const USUAL: u32 = 512;
        let Ok(entry) = self.inner.studio.models().resolve(model) else { return USUAL };
        let said = lock(&self.inner.models).get(&entry.path).map(|info| info.native_size);
        said.or_else(|| trained_side(&entry.path)).unwrap_or(USUAL)
    }

    /// Tells of the engine's state when it changes.
    pub(super) fn watch_engine(&self) {
        let inner = std::sync::Arc::downgrade(&self.inner);
        let mut jobs = self.inner.queue.changes();
        self.inner.runtime.spawn(async move {
            loop {
                let _ = tokio::time::timeout(LOOK, jobs.changed()).await;
                // Jobs change often while they run.
                tokio::time::sleep(LOOK / 4).await;
                let Some(inner) = inner.upgrade() else { return };
                let desk = Self { inner };
                let now = desk.engine_status().await;
                let news = {
                    let mut memory = lock(&desk.inner.engine);
                    let news = memory.told.as_ref() != Some(&now);
                    memory.told = Some(now.clone());
                    news
                };
                if news {
                    desk.tell(DeskEvent::Engine(now));
                }
            }
        });
    }
}

fn defaults(info: &ModelInfo) -> ModelDefaults {
    let native = info.native_size;
    let multiple = info.size_multiple.max(1);
    // About as many pixels as the model was trained on.
    let proportions = [(1, 1), (4, 3), (3, 4), (3, 2), (2, 3), (16, 9), (9, 16)];
    let side = |share: f64| ((f64::from(native) * share / f64::from(multiple)).round() as u32).max(1) * multiple;
    let size = |(width, height): (u32, u32)| {
        let root = (f64::from(width) / f64::from(height)).sqrt();
        (side(root), side(1.0 / root))
    };
    let mut sizes: Vec<(u32, u32)> = proportions.into_iter().map(size).collect();
    sizes.dedup();
    ModelDefaults {
        steps: info.defaults.steps,
        guidance: info.defaults.guidance,
        fill_guidance: info.defaults.fill_guidance,
        fill_strength: info.defaults.fill_strength,
        sampler: info.defaults.sampler.clone(),
        samplers: outframe_studio::SAMPLERS.map(str::to_owned).to_vec(),
        native_size: native,
        sizes,
    }
}

/// A model as its folder describes it, without asking the engine.
fn model_view(entry: &ModelEntry) -> ModelView {
    let title = json(&entry.path, "outframe.json")
        .and_then(|found| found.get("name")?.as_str().map(str::to_owned))
        .unwrap_or_else(|| entry.name.clone());
    let megabytes = weight_bytes(&entry.path).div_ceil(1_000_000);
    let summary = match trained_side(&entry.path) {
        Some(side) => format!("{title}: {side} px, {megabytes} MB"),
        None => format!("{title}: {megabytes} MB"),
    };
    ModelView { name: entry.name.clone(), path: entry.path.to_string_lossy().into_owned(), summary }
}

fn json(folder: &Path, file: &str) -> Option<Value> {
    serde_json::from_slice(&fs::read(folder.join(file)).ok()?).ok()
}

/// The latent's side times what the VAE makes of a cell.
fn trained_side(folder: &Path) -> Option<u32> {
    let cells = json(folder, "unet/config.json")?.get("sample_size")?.as_u64()?;
    let blocks = json(folder, "vae/config.json")?.get("block_out_channels")?.as_array()?.len();
    u32::try_from(cells.checked_shl(blocks.saturating_sub(1).min(16) as u32)?).ok().filter(|side| *side > 0)
}

/// The bytes of all weight files of a model's folder and the folders in it.
fn weight_bytes(folder: &Path) -> u64 {
    let files = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
    files(folder)
        .flat_map(|entry| {
            let path = entry.path();
            let inner: Vec<_> = files(&path).collect();
            if path.is_dir() { inner } else { vec![entry] }
        })
        .filter(|entry| entry.path().extension().is_some_and(|found| found == "safetensors"))
        .filter_map(|entry| fs::metadata(entry.path()).ok())
        .map(|found| found.len())
        .sum()
}
