//! What is printed at the end: sentences for people, one JSON document for scripts.

use std::path::{Path, PathBuf};

use outframe_document::{GenerationId, PatchContent, Project, Rect};
use outframe_studio::{Imported, LibraryItem, ModelEntry, ModelInfo, Placed};
use serde::Serialize;

/// Prints a result: as JSON, or the sentences.
pub(crate) fn print<T: Serialize + ?Sized>(
    json: bool,
    value: &T,
    sentences: impl FnOnce(&T) -> String,
) -> anyhow::Result<()> {
    let text = if json { serde_json::to_string_pretty(value)? } else { sentences(value).trim_end().to_owned() };
    println!("{text}");
    Ok(())
}

/// An error with its causes in one line; a cause that the text names already is not said again.
pub(crate) fn in_words(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |text, cause| {
        let cause = cause.to_string();
        match (text.is_empty(), text.contains(&cause)) {
            (true, _) => cause,
            (false, true) => text,
            (false, false) => format!("{text}: {cause}"),
        }
    })
}

/// Prints a failure as JSON on standard output.
pub(crate) fn error(error: &anyhow::Error, cancelled: bool) {
    println!("{}", serde_json::json!({ "error": in_words(error), "cancelled": cancelled }));
}

#[derive(Debug, Serialize)]
pub(crate) struct Generated {
    pub(crate) prompt: String,
    pub(crate) model: String,
    pub(crate) takes: Vec<GeneratedTake>,
    pub(crate) project: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
pub(crate) struct GeneratedTake {
    /// What it was asked for.
    pub(crate) prompt: String,
    pub(crate) seed: u64,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) seconds: f64,
    pub(crate) file: Option<PathBuf>,
}

pub(crate) fn generated(value: &Generated) -> String {
    let mut text = String::new();
    for take in &value.takes {
        let place = match (&take.file, &value.project) {
            (Some(file), _) => file.display().to_string(),
            (None, Some(project)) => project.display().to_string(),
            (None, None) => String::new(),
        };
        text += &format!("{place}: {}x{}, seed {}, {:.1} s\n", take.width, take.height, take.seed, take.seconds);
        if take.prompt != value.prompt {
            text += &format!("    “{}”\n", take.prompt);
        }
    }
    text
}

#[derive(Debug, Serialize)]
pub(crate) struct Painted {
    pub(crate) file: PathBuf,
    pub(crate) frame_before: Option<Rect>,
    pub(crate) frame: Option<Rect>,
    #[serde(rename = "painted")]
    pub(crate) areas: Vec<Rect>,
    pub(crate) generations: Vec<u64>,
    pub(crate) seed: u64,
    pub(crate) seconds: f64,
}

impl Painted {
    pub(crate) fn new(file: &Path, placed: Placed) -> Self {
        let Placed { frame_before, frame_after, painted, generations, seed, seconds } = placed;
        let generations = generations.into_iter().map(GenerationId::get).collect();
        Self { file: file.into(), frame_before, frame: frame_after, areas: painted, generations, seed, seconds }
    }
}

pub(crate) fn painted(value: &Painted) -> String {
    let what = if let (Some(before), Some(now)) = (value.frame_before, value.frame) {
        format!("the frame grew from {}x{} to {}x{}", before.width, before.height, now.width, now.height)
    } else {
        let area = |rect: &Rect| format!("{}x{} at {},{}", rect.width, rect.height, rect.x, rect.y);
        format!("painted {}", value.areas.iter().map(area).collect::<Vec<_>>().join(", "))
    };
    format!("{}: {what}, seed {}, {:.1} s", value.file.display(), value.seed, value.seconds)
}

#[derive(Debug, Serialize)]
pub(crate) struct ImportedFile {
    file: String,
    layers: Vec<String>,
    rect: Rect,
    /// What the file says of how it was generated.
    prompt: Option<String>,
    negative: Option<String>,
    seed: Option<u64>,
    made_with: Option<String>,
}

impl From<Imported> for ImportedFile {
    fn from(from: Imported) -> Self {
        let made = from.generation;
        Self {
            file: from.file,
            layers: from.layers,
            rect: from.rect,
            prompt: made.as_ref().map(|made| made.prompt.clone()),
            negative: made.as_ref().map(|made| made.negative.clone()).filter(|text| !text.is_empty()),
            seed: made.as_ref().and_then(|made| made.seed),
            made_with: made.map(|made| made.source),
        }
    }
}

pub(crate) fn imported(files: &[ImportedFile]) -> String {
    let mut text = String::new();
    for ImportedFile { file, layers, rect, prompt, seed, .. } in files {
        let (width, height, x, y) = (rect.width, rect.height, rect.x, rect.y);
        text += &format!("{file}: {width}x{height} at {x},{y}, layer “{}”\n", layers.join("”, “"));
        if let Some(prompt) = prompt {
            let seed = seed.map_or_else(String::new, |seed| format!(", seed {seed}"));
            text += &format!("  its prompt: “{prompt}”{seed}\n");
        }
    }
    text
}

#[derive(Debug, Serialize)]
pub(crate) struct Exported {
    pub(crate) file: PathBuf,
    pub(crate) rect: Rect,
    /// The picture's, in pixels.
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Nothing if the processor composed.
    pub(crate) adapter: Option<String>,
}

pub(crate) fn exported(value: &Exported) -> String {
    format!("{}: {}x{}", value.file.display(), value.width, value.height)
}

#[derive(Debug, Serialize)]
pub(crate) struct Moved {
    pub(crate) step: Option<String>,
    pub(crate) can_undo: Option<String>,
    pub(crate) can_redo: Option<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Info {
    file: PathBuf,
    title: String,
    frames: Vec<FrameInfo>,
    bounds: Option<Rect>,
    layers: Vec<LayerInfo>,
    history: Vec<HistoryInfo>,
    can_undo: Option<String>,
    can_redo: Option<String>,
}

#[derive(Debug, Serialize)]
struct FrameInfo {
    name: String,
    rect: Rect,
}

#[derive(Debug, Serialize)]
struct LayerInfo {
    name: String,
    visible: bool,
    opacity: f64,
    patches: Vec<PatchInfo>,
}

#[derive(Debug, Serialize)]
struct PatchInfo {
    rect: Rect,
    prompt: Option<String>,
    seed: Option<u64>,
    model: Option<String>,
    takes: usize,
}

#[derive(Debug, Serialize)]
struct HistoryInfo {
    name: String,
    applied: bool,
}

impl Info {
    pub(crate) fn of(project: &Project) -> Result<Self, outframe_document::Error> {
        let document = project.document();
        let layers = document.layers.iter().map(|layer| LayerInfo {
            name: layer.name.clone(),
            visible: layer.visible,
            opacity: layer.opacity,
            patches: layer
                .patches
                .iter()
                .map(|patch| {
                    let request = document.provenance(patch).map(|how| &how.request);
                    let generation = match &patch.content {
                        PatchContent::Generation(id) => document.generation(*id),
                        PatchContent::Image(_) => None,
                    };
                    PatchInfo {
                        rect: patch.rect,
                        prompt: document.prompt(patch).map(str::to_owned),
                        seed: generation.and_then(|generation| generation.chosen_take()).map(|take| take.seed),
                        model: request.map(|request| request.model_name.clone()),
                        takes: generation.map_or(0, |generation| generation.takes.len()),
                    }
                })
                .collect(),
        });
        let history = project.history()?.into_iter().filter(|step| step.parent.is_some());
        Ok(Self {
            file: project.path().into(),
            title: document.title().unwrap_or_default().into(),
            frames: document
                .frames
                .iter()
                .map(|frame| FrameInfo { name: frame.name.clone(), rect: frame.rect })
                .collect(),
            bounds: document.bounds(),
            layers: layers.collect(),
            history: history.map(|step| HistoryInfo { name: step.name, applied: step.applied }).collect(),
            can_undo: project.can_undo().map(Into::into),
            can_redo: project.can_redo().map(Into::into),
        })
    }
}

pub(crate) fn info(info: &Info) -> String {
    let mut text = format!("{}\n", if info.title.is_empty() { "Untitled" } else { &info.title });
    for FrameInfo { name, rect } in &info.frames {
        text += &format!("  frame “{name}”: {}x{} at {},{}\n", rect.width, rect.height, rect.x, rect.y);
    }
    // As in an editor, the topmost layer first.
    for layer in info.layers.iter().rev() {
        let hidden = if layer.visible { "" } else { " (hidden)" };
        text += &format!("  layer “{}”{hidden}\n", layer.name);
        for patch in layer.patches.iter().rev() {
            let rect = patch.rect;
            text += &format!("    {}x{} at {},{}", rect.width, rect.height, rect.x, rect.y);
            if let (Some(prompt), Some(seed)) = (&patch.prompt, patch.seed) {
                text += &format!("  “{prompt}”, seed {seed}");
                if patch.takes > 1 {
                    text += &format!(", {} takes", patch.takes);
                }
            }
            text.push('\n');
        }
    }
    let steps: Vec<_> = info.history.iter().map(|step| step.name.as_str()).collect();
    if !steps.is_empty() {
        text += &format!("  history: {}\n", steps.join(" → "));
    }
    if let Some(step) = &info.can_redo {
        text += &format!("  taken back: {step} (`outframe redo` does it again)\n");
    }
    text
}

#[derive(Debug, Serialize)]
pub(crate) struct Model {
    #[serde(flatten)]
    pub(crate) entry: ModelEntry,
    pub(crate) info: Option<ModelInfo>,
    pub(crate) problem: Option<String>,
    /// What a single file says about itself.
    pub(crate) item: Option<LibraryItem>,
}

pub(crate) fn models(models: &[Model]) -> String {
    if models.is_empty() {
        return "No model is installed. Add one (`outframe models add`), download one (`outframe models download`), or set \
                OUTFRAME_MODELS to a folder that holds models."
            .into();
    }
    models
        .iter()
        .map(|model| match (&model.info, &model.problem) {
            (Some(info), _) => {
                let fills = if info.in_channels == info.latent_channels { "" } else { ", made for filling" };
                format!(
                    "{}  {}, {} px{fills}, {} MB  {}\n",
                    model.entry.name,
                    info.family,
                    info.native_size,
                    info.weight_bytes / 1_000_000,
                    model.entry.path.display()
                )
            }
            (None, None) => {
                let what = model.item.as_ref().map(LibraryItem::description).unwrap_or_default();
                format!("{}  {what}  {}\n", model.entry.name, model.entry.path.display())
            }
            (None, problem) => {
                format!("{}  cannot be used: {}\n", model.entry.name, problem.as_deref().unwrap_or_default())
            }
        })
        .collect()
}
