//! What the window and the front end say to each other. The front end's types are generated from these (`ui/src/lib/bindings`).
//!
//! Positions and sizes are canvas pixels, x to the right and y down. Ids and seeds are texts, because JavaScript's numbers hold
//! 53 bits only.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// A rectangle of canvas pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
pub(crate) struct Rect {
    pub(crate) x: i64,
    pub(crate) y: i64,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

/// A point of the canvas.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, TS)]
pub(crate) struct Point {
    pub(crate) x: f64,
    pub(crate) y: f64,
}

/// What the program is and runs on.
#[derive(Debug, Clone, PartialEq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AppInfo {
    pub(crate) version: String,
    /// The graphics adapter that draws the stage.
    pub(crate) adapter: Option<String>,
    pub(crate) adapter_kind: Option<AdapterKind>,
    /// Why there is none, and what to do.
    pub(crate) adapter_problem: Option<String>,
    /// Whether ffmpeg is there, for H.264.
    pub(crate) ffmpeg: bool,
    pub(crate) os: Os,
    /// The side of a tile in pixels.
    pub(crate) tile_size: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AdapterKind {
    Hardware,
    Software,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Os {
    Linux,
    Macos,
    Windows,
}

/// A project that was open lately.
#[derive(Debug, Clone, PartialEq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RecentProject {
    pub(crate) path: String,
    pub(crate) title: String,
    /// Milliseconds since 1970.
    pub(crate) opened_at: u64,
    /// A `data:` address.
    pub(crate) thumbnail: Option<String>,
    pub(crate) exists: bool,
}

/// An installed model.
#[derive(Debug, Clone, PartialEq, Serialize, TS)]
pub(crate) struct ModelView {
    pub(crate) name: String,
    pub(crate) path: String,
    /// In words, such as "Starter: 256 px, 32 MB".
    pub(crate) summary: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum EngineState {
    Stopped,
    Idle,
    Busy,
    Failed,
}

/// The engine worker.
#[derive(Debug, Clone, PartialEq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EngineView {
    pub(crate) state: EngineState,
    pub(crate) model: Option<String>,
    pub(crate) device: Option<String>,
    pub(crate) memory_bytes: u64,
    pub(crate) problem: Option<String>,
}

/// The open project.
#[derive(Debug, Clone, PartialEq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProjectView {
    /// Names the open project in `stage://` addresses; another with each opening.
    pub(crate) key: String,
    /// Grows with every change, also by undo.
    pub(crate) revision: u64,
    pub(crate) path: String,
    pub(crate) title: String,
    pub(crate) read_only: bool,
    /// It lives in the program's own folder: the user has not named it yet.
    pub(crate) temporary: bool,
    /// Of all visible pixels.
    pub(crate) bounds: Option<Rect>,
    /// The first is the picture's: what extend, zoom-out and reframe work on.
    pub(crate) frames: Vec<FrameView>,
    /// From the bottom to the top.
    pub(crate) layers: Vec<LayerView>,
    /// The oldest first.
    pub(crate) generations: Vec<GenerationView>,
    pub(crate) shots: Vec<ShotView>,
    /// The name of the step that undo takes back.
    pub(crate) undo: Option<String>,
    /// The name of the step that redo makes again.
    pub(crate) redo: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, TS)]
pub(crate) struct FrameView {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) rect: Rect,
}

#[derive(Debug, Clone, PartialEq, Serialize, TS)]
pub(crate) struct LayerView {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) visible: bool,
    pub(crate) locked: bool,
    pub(crate) opacity: f64,
    pub(crate) blend: String,
    pub(crate) depth: f64,
    pub(crate) bounds: Option<Rect>,
    /// The topmost generation that it shows.
    pub(crate) generation: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum GenerationKind {
    TextToImage,
    Extend,
    ZoomOut,
    Fill,
    Vary,
    Upscale,
}

#[derive(Debug, Clone, PartialEq, Serialize, TS)]
pub(crate) struct GenerationView {
    pub(crate) id: String,
    pub(crate) kind: GenerationKind,
    pub(crate) rect: Rect,
    pub(crate) prompt: String,
    pub(crate) negative: String,
    pub(crate) model: String,
    pub(crate) seed: String,
    pub(crate) steps: u32,
    pub(crate) guidance: f64,
    pub(crate) sampler: String,
    pub(crate) strength: f64,
    pub(crate) tuning: Tuning,
    pub(crate) controls: Vec<ControlChoice>,
    pub(crate) takes: Vec<TakeView>,
    pub(crate) chosen: String,
    /// The topmost layer that shows it.
    pub(crate) layer: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, TS)]
pub(crate) struct TakeView {
    pub(crate) id: String,
    /// What it was asked for.
    pub(crate) prompt: String,
    pub(crate) seed: String,
    pub(crate) seconds: f64,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum MoveKind {
    Static,
    Pan,
    Tilt,
    Roll,
    Truck,
    Pedestal,
    Dolly,
    Zoom,
    Orbit,
    Elevation,
    Crane,
    DollyZoom,
    Handheld,
    Reframe,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Easing {
    Linear,
    In,
    Out,
    InOut,
    Hold,
    CubicBezier([f64; 4]),
}

/// One move of a camera. `start` and `end` are in the kind's unit; the dials say the same from -10 to 10 and are ignored on the
/// way in.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MoveView {
    pub(crate) kind: MoveKind,
    /// The picture at which it begins.
    pub(crate) from: u32,
    /// The picture at which it is complete.
    pub(crate) to: u32,
    pub(crate) start: f64,
    pub(crate) end: f64,
    #[serde(default)]
    pub(crate) start_dial: f64,
    #[serde(default)]
    pub(crate) end_dial: f64,
    pub(crate) easing: Easing,
}

#[derive(Debug, Clone, PartialEq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ShotView {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) frame: String,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) rate_numerator: u32,
    pub(crate) rate_denominator: u32,
    pub(crate) frames: u32,
    pub(crate) moves: Vec<MoveView>,
    /// The shutter's angle in degrees, 0 (off) to 360.
    pub(crate) motion_blur: f64,
    pub(crate) geometry: ShotGeometry,
}

/// A shot as drawn over the stage.
#[derive(Debug, Clone, PartialEq, Default, Serialize, TS)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ShotGeometry {
    /// The way of the view's centre over the picture plane.
    pub(crate) path: Vec<Point>,
    /// What the first picture sees: four corners, or none where it looks past the plane.
    pub(crate) start_box: Vec<Point>,
    /// What the last picture sees.
    pub(crate) end_box: Vec<Point>,
    pub(crate) problem: Option<String>,
}

/// A kind of move, for the dials.
#[derive(Debug, Clone, PartialEq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MoveKindInfo {
    pub(crate) kind: MoveKind,
    pub(crate) label: String,
    pub(crate) unit: String,
    pub(crate) axis: String,
    /// What a positive amount does, such as "right".
    pub(crate) positive: String,
    pub(crate) negative: String,
    pub(crate) rest: f64,
    /// How much one whole step of the dial is; none where it is not linear.
    pub(crate) dial_per_unit: Option<f64>,
    /// Whether the amount is 2^(dial / 5).
    pub(crate) logarithmic: bool,
}

/// What a shot lacks.
#[derive(Debug, Clone, PartialEq, Serialize, TS)]
pub(crate) struct CoverageView {
    /// As fractions of all that the shot sees.
    pub(crate) missing: f64,
    pub(crate) left: f64,
    pub(crate) right: f64,
    pub(crate) up: f64,
    pub(crate) down: f64,
    pub(crate) inside: f64,
    pub(crate) fills: Vec<Rect>,
    /// In words, such as "lacks 20 % on the right: 1 fill".
    pub(crate) text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum JobState {
    Queued,
    Running,
    Done,
    Failed,
    Cancelled,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum JobKind {
    Generate,
    Extend,
    ZoomOut,
    Reframe,
    Vary,
    Cover,
    Upscale,
    Film,
    Export,
    Import,
    Copy,
    Download,
}

#[derive(Debug, Clone, PartialEq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JobView {
    pub(crate) id: u64,
    pub(crate) kind: JobKind,
    pub(crate) label: String,
    pub(crate) state: JobState,
    /// 0 to 1.
    pub(crate) progress: f64,
    /// Such as "Take 2 of 4 · step 7 of 16".
    pub(crate) stage: String,
    pub(crate) seconds_left: Option<f64>,
    pub(crate) seconds: f64,
    /// What will be painted.
    pub(crate) region: Option<Rect>,
    /// One for each take or fill begun so far.
    pub(crate) previews: Vec<JobPreview>,
    pub(crate) error: Option<String>,
    /// The file that it wrote.
    pub(crate) output: Option<String>,
    /// The generation that it made.
    pub(crate) generation: Option<String>,
    pub(crate) warnings: Vec<String>,
}

/// The picture is at `stage://localhost/job/{job}/{index}/{version}`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, TS)]
pub(crate) struct JobPreview {
    pub(crate) index: u32,
    /// What the picture shows; none where that is the job's whole region.
    pub(crate) rect: Option<Rect>,
    pub(crate) version: u32,
    pub(crate) progress: f64,
    pub(crate) done: bool,
}

/// How to sample; what is open is the model's recommendation.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, TS)]
pub(crate) struct Settings {
    pub(crate) model: Option<String>,
    pub(crate) negative: String,
    pub(crate) steps: Option<u32>,
    pub(crate) guidance: Option<f64>,
    pub(crate) sampler: Option<String>,
    pub(crate) seed: Option<String>,
    /// The style around the prompt, by its name.
    #[serde(default)]
    pub(crate) style: Option<String>,
    #[serde(default)]
    pub(crate) tuning: Tuning,
    /// What steers the picture beside the prompt.
    #[serde(default)]
    pub(crate) controls: Vec<ControlChoice>,
}

/// A control network of the library and the picture that it follows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub(crate) struct ControlChoice {
    pub(crate) network: String,
    pub(crate) picture: ControlPicture,
    /// 0 to 2; 1 as it was trained.
    pub(crate) scale: f64,
    /// The part of the steps over which it counts, each 0 to 1.
    pub(crate) start: f64,
    pub(crate) end: f64,
    /// The lower and the upper threshold, where the network gets the picture's edges (Canny's detector).
    pub(crate) canny: Option<(u32, u32)>,
}

/// Where a control's picture comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum ControlPicture {
    File {
        path: String,
    },
    /// The open project's picture, as it is when the work is asked for.
    Frame,
    /// One that is in the project, because an earlier picture followed it.
    Stored {
        blob: String,
    },
}

/// What a control network sees, small.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, TS)]
pub(crate) struct ControlPreview {
    /// A `data:` address.
    pub(crate) image: String,
    /// Of the picture itself.
    pub(crate) width: u32,
    pub(crate) height: u32,
}

/// What changes the model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Tuning {
    pub(crate) loras: Vec<LoraChoice>,
    pub(crate) embeddings: Vec<EmbeddingChoice>,
    /// Layers of the text encoder to leave out; 0 for none.
    pub(crate) clip_skip: u32,
    /// 0 to 1.
    pub(crate) guidance_rescale: f64,
    /// A VAE of the library; the model's own where absent.
    pub(crate) vae: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub(crate) struct LoraChoice {
    pub(crate) name: String,
    /// -2 to 2.
    pub(crate) weight: f64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub(crate) struct EmbeddingChoice {
    pub(crate) name: String,
    /// What stands for it in the prompt; its name where absent.
    pub(crate) word: Option<String>,
}

/// What the library has that changes a model or steers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AdaptersView {
    pub(crate) loras: Vec<AdapterItem>,
    pub(crate) embeddings: Vec<AdapterItem>,
    pub(crate) vaes: Vec<AdapterItem>,
    pub(crate) controls: Vec<AdapterItem>,
    /// So many may steer one picture.
    pub(crate) max_controls: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AdapterItem {
    /// By which it is asked for.
    pub(crate) name: String,
    /// In words, such as "SDXL, LoRA, f16".
    pub(crate) about: String,
    pub(crate) trigger_words: Vec<String>,
}

/// Something in the library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LibraryEntry {
    pub(crate) name: String,
    pub(crate) path: String,
    /// What it is, such as "SDXL, LoRA, f16".
    pub(crate) about: String,
    /// Of its weights.
    pub(crate) bytes: u64,
    /// The title that its makers gave it, where that is not its name.
    pub(crate) title: Option<String>,
    pub(crate) licence: Option<String>,
    pub(crate) trigger_words: Vec<String>,
    /// Where it was downloaded from.
    pub(crate) source: Option<String>,
    /// Why it cannot be used.
    pub(crate) problem: Option<String>,
    /// It is in the user's own folder, and can be removed.
    pub(crate) own: bool,
    /// Its weights are elsewhere.
    pub(crate) link: bool,
}

/// A model that could be put into the library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, TS)]
pub(crate) struct FoundModel {
    pub(crate) path: String,
    pub(crate) name: String,
    /// What it is, such as "SDXL, LoRA, f16".
    pub(crate) about: String,
    pub(crate) bytes: u64,
}

/// A well-known model that can be downloaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, TS)]
pub(crate) struct CatalogueItem {
    pub(crate) name: String,
    pub(crate) title: String,
    /// Family and kind.
    pub(crate) about: String,
    /// Where they are known before anything is asked for.
    pub(crate) bytes: Option<u64>,
    pub(crate) licence: String,
    /// What the licence asks for.
    pub(crate) obligations: String,
    /// The repository.
    pub(crate) source: String,
    pub(crate) installed: bool,
}

/// A style: words around a prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, TS)]
pub(crate) struct StyleView {
    pub(crate) name: String,
    /// With `{prompt}` for what is typed.
    pub(crate) prompt: String,
    pub(crate) negative: String,
}

/// What to make larger.
#[derive(Debug, Clone, PartialEq, Deserialize, TS)]
pub(crate) struct UpscaleInput {
    /// This layer; the whole picture where absent.
    pub(crate) layer: Option<String>,
    /// 2 or 4.
    pub(crate) factor: u32,
    /// Whether the model adds detail.
    pub(crate) creative: bool,
    /// What the picture shows; its own prompt where absent.
    pub(crate) prompt: Option<String>,
    /// How much may change, above 0 to 1; for creative ones.
    pub(crate) strength: Option<f64>,
    pub(crate) settings: Settings,
}

/// What a model recommends.
#[derive(Debug, Clone, PartialEq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ModelDefaults {
    pub(crate) steps: u32,
    pub(crate) guidance: f64,
    pub(crate) fill_guidance: f64,
    pub(crate) fill_strength: f64,
    pub(crate) sampler: String,
    pub(crate) samplers: Vec<String>,
    /// The side of the square that it was trained on, in pixels.
    pub(crate) native_size: u32,
    /// Widths and heights to offer.
    pub(crate) sizes: Vec<(u32, u32)>,
}

#[derive(Debug, Clone, PartialEq, Deserialize, TS)]
pub(crate) struct GenerateInput {
    pub(crate) prompt: String,
    pub(crate) settings: Settings,
    pub(crate) width: Option<u32>,
    pub(crate) height: Option<u32>,
    pub(crate) takes: u32,
}

#[derive(Debug, Clone, PartialEq, Deserialize, TS)]
pub(crate) struct ExtendInput {
    pub(crate) left: u32,
    pub(crate) right: u32,
    pub(crate) up: u32,
    pub(crate) down: u32,
    pub(crate) prompt: Option<String>,
    pub(crate) settings: Settings,
    pub(crate) takes: u32,
}

#[derive(Debug, Clone, PartialEq, Deserialize, TS)]
pub(crate) struct ZoomOutInput {
    pub(crate) factor: f64,
    pub(crate) prompt: Option<String>,
    pub(crate) settings: Settings,
    pub(crate) takes: u32,
}

#[derive(Debug, Clone, PartialEq, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReframeInput {
    pub(crate) aspect_width: u32,
    pub(crate) aspect_height: u32,
    pub(crate) prompt: Option<String>,
    pub(crate) settings: Settings,
    pub(crate) takes: u32,
}

#[derive(Debug, Clone, PartialEq, Deserialize, TS)]
pub(crate) struct VaryInput {
    pub(crate) region: Region,
    pub(crate) prompt: Option<String>,
    pub(crate) strength: f64,
    pub(crate) settings: Settings,
    pub(crate) takes: u32,
}

/// What the user has marked. Shapes count in their order; subtracting ones erase.
#[derive(Debug, Clone, PartialEq, Deserialize, TS)]
pub(crate) struct Region {
    pub(crate) shapes: Vec<RegionShape>,
}

#[derive(Debug, Clone, PartialEq, Deserialize, TS)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum RegionShape {
    Rect { rect: Rect, subtract: bool },
    Stroke { points: Vec<Point>, radius: f64, subtract: bool },
    Lasso { points: Vec<Point>, subtract: bool },
}

#[derive(Debug, Clone, PartialEq, Deserialize, TS)]
#[serde(tag = "kind", content = "value", rename_all = "kebab-case")]
pub(crate) enum LayerChange {
    Visible(bool),
    Locked(bool),
    Opacity(f64),
    Name(String),
    Depth(f64),
    Blend(String),
}

#[derive(Debug, Clone, PartialEq, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ShotInput {
    pub(crate) id: Option<String>,
    pub(crate) name: String,
    pub(crate) frame: String,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) rate_numerator: u32,
    pub(crate) rate_denominator: u32,
    pub(crate) frames: u32,
    pub(crate) moves: Vec<MoveView>,
    pub(crate) motion_blur: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, TS)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FilmFormat {
    #[serde(rename = "mp4-av1")]
    Mp4Av1,
    #[serde(rename = "mp4-h264")]
    Mp4H264,
    PngSequence,
}

#[derive(Debug, Clone, PartialEq, Deserialize, TS)]
pub(crate) struct FilmInput {
    pub(crate) shot: String,
    pub(crate) path: String,
    pub(crate) format: FilmFormat,
    /// 0 to 100.
    pub(crate) quality: u8,
}

#[derive(Debug, Clone, PartialEq, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExportInput {
    pub(crate) path: String,
    /// The frame where absent.
    pub(crate) rect: Option<Rect>,
    pub(crate) scale: f64,
    pub(crate) with_metadata: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, TS)]
pub(crate) struct ImportedView {
    pub(crate) layer: String,
    pub(crate) prompt: Option<String>,
    pub(crate) negative: Option<String>,
    /// Another program's settings in words.
    pub(crate) metadata: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ErrorKind {
    Cancelled,
    /// Another program has it open, or something is in the way.
    Conflict,
    ReadOnly,
    NewerFile,
    NotFound,
    Invalid,
    Failed,
}

/// Why a command did nothing.
#[derive(Debug, Clone, PartialEq, Serialize, TS, thiserror::Error)]
#[error("{message}")]
pub(crate) struct CommandError {
    pub(crate) kind: ErrorKind,
    pub(crate) message: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, TS)]
pub(crate) struct HistoryStep {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) current: bool,
    /// Whether the document does not hold it now.
    pub(crate) undone: bool,
}

/// What an extension would do.
#[derive(Debug, Clone, PartialEq, Serialize, TS)]
pub(crate) struct ExtendPlan {
    pub(crate) after: Rect,
    pub(crate) painted: Vec<Rect>,
    pub(crate) fills: u32,
    /// None before anything was measured.
    pub(crate) seconds: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, TS)]
pub(crate) struct ShotPreview {
    pub(crate) geometry: ShotGeometry,
    /// For `&live=` in the addresses of pictures.
    pub(crate) version: u64,
}

/// What to drag out of the window.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, TS)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum DragOut {
    Picture,
    Take { generation: String, take: String },
}

/// The event `project`.
#[derive(Debug, Clone, PartialEq, Serialize, TS)]
pub(crate) struct ProjectEvent {
    pub(crate) view: Option<ProjectView>,
    /// What looks different now; none for everything.
    pub(crate) dirty: Option<Vec<Rect>>,
}
