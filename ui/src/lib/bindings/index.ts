// Generated from src-tauri/src/api.rs; do not edit. `OUTFRAME_BLESS=1 cargo test -p outframe-desktop bindings` writes it.

/**
 * A rectangle of canvas pixels.
 */
export type Rect = { x: number, y: number, width: number, height: number, };

/**
 * A point of the canvas.
 */
export type Point = { x: number, y: number, };

/**
 * What the program is and runs on.
 */
export type AppInfo = { version: string, 
/**
 * The graphics adapter that draws the stage.
 */
adapter: string | null, adapterKind: AdapterKind | null, 
/**
 * Why there is none, and what to do.
 */
adapterProblem: string | null, 
/**
 * Whether ffmpeg is there, for H.264.
 */
ffmpeg: boolean, os: Os, 
/**
 * The side of a tile in pixels.
 */
tileSize: number, };

export type AdapterKind = "hardware" | "software";

export type Os = "linux" | "macos" | "windows";

/**
 * A project that was open lately.
 */
export type RecentProject = { path: string, title: string, 
/**
 * Milliseconds since 1970.
 */
openedAt: number, 
/**
 * A `data:` address.
 */
thumbnail: string | null, exists: boolean, };

/**
 * An installed model.
 */
export type ModelView = { name: string, path: string, 
/**
 * In words, such as "Starter: 256 px, 32 MB".
 */
summary: string, };

export type EngineState = "stopped" | "idle" | "busy" | "failed";

/**
 * The engine worker.
 */
export type EngineView = { state: EngineState, model: string | null, device: string | null, memoryBytes: number, problem: string | null, };

/**
 * The open project.
 */
export type ProjectView = { 
/**
 * Names the open project in `stage://` addresses; another with each opening.
 */
key: string, 
/**
 * Grows with every change, also by undo.
 */
revision: number, path: string, title: string, readOnly: boolean, 
/**
 * It lives in the program's own folder: the user has not named it yet.
 */
temporary: boolean, 
/**
 * Of all visible pixels.
 */
bounds: Rect | null, 
/**
 * The first is the picture's: what extend, zoom-out and reframe work on.
 */
frames: Array<FrameView>, 
/**
 * From the bottom to the top.
 */
layers: Array<LayerView>, 
/**
 * The oldest first.
 */
generations: Array<GenerationView>, shots: Array<ShotView>, 
/**
 * The name of the step that undo takes back.
 */
undo: string | null, 
/**
 * The name of the step that redo makes again.
 */
redo: string | null, };

export type FrameView = { id: string, name: string, rect: Rect, };

export type LayerView = { id: string, name: string, visible: boolean, locked: boolean, opacity: number, blend: string, depth: number, bounds: Rect | null, 
/**
 * The topmost generation that it shows.
 */
generation: string | null, };

export type GenerationKind = "text-to-image" | "extend" | "zoom-out" | "fill" | "vary" | "upscale";

export type GenerationView = { id: string, kind: GenerationKind, rect: Rect, prompt: string, negative: string, model: string, seed: string, steps: number, guidance: number, sampler: string, strength: number, tuning: Tuning, controls: Array<ControlChoice>, takes: Array<TakeView>, chosen: string, 
/**
 * The topmost layer that shows it.
 */
layer: string | null, };

export type TakeView = { id: string, 
/**
 * What it was asked for.
 */
prompt: string, seed: string, seconds: number, width: number, height: number, };

export type MoveKind = "static" | "pan" | "tilt" | "roll" | "truck" | "pedestal" | "dolly" | "zoom" | "orbit" | "elevation" | "crane" | "dolly-zoom" | "handheld" | "reframe";

export type Easing = "linear" | "in" | "out" | "in-out" | "hold" | { "cubic-bezier": [number, number, number, number] };

/**
 * One move of a camera. `start` and `end` are in the kind's unit; the dials say the same from -10 to 10 and are ignored on the
 * way in.
 */
export type MoveView = { kind: MoveKind, 
/**
 * The picture at which it begins.
 */
from: number, 
/**
 * The picture at which it is complete.
 */
to: number, start: number, end: number, startDial: number, endDial: number, easing: Easing, };

export type ShotView = { id: string, name: string, frame: string, width: number, height: number, rateNumerator: number, rateDenominator: number, frames: number, moves: Array<MoveView>, 
/**
 * The shutter's angle in degrees, 0 (off) to 360.
 */
motionBlur: number, geometry: ShotGeometry, };

/**
 * A shot as drawn over the stage.
 */
export type ShotGeometry = { 
/**
 * The way of the view's centre over the picture plane.
 */
path: Array<Point>, 
/**
 * What the first picture sees: four corners, or none where it looks past the plane.
 */
startBox: Array<Point>, 
/**
 * What the last picture sees.
 */
endBox: Array<Point>, problem: string | null, };

/**
 * A kind of move, for the dials.
 */
export type MoveKindInfo = { kind: MoveKind, label: string, unit: string, axis: string, 
/**
 * What a positive amount does, such as "right".
 */
positive: string, negative: string, rest: number, 
/**
 * How much one whole step of the dial is; none where it is not linear.
 */
dialPerUnit: number | null, 
/**
 * Whether the amount is 2^(dial / 5).
 */
logarithmic: boolean, };

/**
 * What a shot lacks.
 */
export type CoverageView = { 
/**
 * As fractions of all that the shot sees.
 */
missing: number, left: number, right: number, up: number, down: number, inside: number, fills: Array<Rect>, 
/**
 * In words, such as "lacks 20 % on the right: 1 fill".
 */
text: string, };

export type JobState = "queued" | "running" | "done" | "failed" | "cancelled";

export type JobKind = "generate" | "extend" | "zoom-out" | "reframe" | "vary" | "cover" | "upscale" | "film" | "export" | "import" | "copy" | "download";

export type JobView = { id: number, kind: JobKind, label: string, state: JobState, 
/**
 * 0 to 1.
 */
progress: number, 
/**
 * Such as "Take 2 of 4 · step 7 of 16".
 */
stage: string, secondsLeft: number | null, seconds: number, 
/**
 * What will be painted.
 */
region: Rect | null, 
/**
 * One for each take or fill begun so far.
 */
previews: Array<JobPreview>, error: string | null, 
/**
 * The file that it wrote.
 */
output: string | null, 
/**
 * The generation that it made.
 */
generation: string | null, warnings: Array<string>, };

/**
 * The picture is at `stage://localhost/job/{job}/{index}/{version}`.
 */
export type JobPreview = { index: number, 
/**
 * What the picture shows; none where that is the job's whole region.
 */
rect: Rect | null, version: number, progress: number, done: boolean, };

/**
 * How to sample; what is open is the model's recommendation.
 */
export type Settings = { model: string | null, negative: string, steps: number | null, guidance: number | null, sampler: string | null, seed: string | null, 
/**
 * The style around the prompt, by its name.
 */
style: string | null, tuning: Tuning, 
/**
 * What steers the picture beside the prompt.
 */
controls: Array<ControlChoice>, };

/**
 * A control network of the library and the picture that it follows.
 */
export type ControlChoice = { network: string, picture: ControlPicture, 
/**
 * 0 to 2; 1 as it was trained.
 */
scale: number, 
/**
 * The part of the steps over which it counts, each 0 to 1.
 */
start: number, end: number, 
/**
 * The lower and the upper threshold, where the network gets the picture's edges (Canny's detector).
 */
canny: [number, number] | null, };

/**
 * Where a control's picture comes from.
 */
export type ControlPicture = { "kind": "file", path: string, } | { "kind": "frame" } | { "kind": "stored", blob: string, };

/**
 * What a control network sees, small.
 */
export type ControlPreview = { 
/**
 * A `data:` address.
 */
image: string, 
/**
 * Of the picture itself.
 */
width: number, height: number, };

/**
 * What changes the model.
 */
export type Tuning = { loras: Array<LoraChoice>, embeddings: Array<EmbeddingChoice>, 
/**
 * Layers of the text encoder to leave out; 0 for none.
 */
clipSkip: number, 
/**
 * 0 to 1.
 */
guidanceRescale: number, 
/**
 * A VAE of the library; the model's own where absent.
 */
vae: string | null, };

export type LoraChoice = { name: string, 
/**
 * -2 to 2.
 */
weight: number, };

export type EmbeddingChoice = { name: string, 
/**
 * What stands for it in the prompt; its name where absent.
 */
word: string | null, };

/**
 * What the library has that changes a model or steers it.
 */
export type AdaptersView = { loras: Array<AdapterItem>, embeddings: Array<AdapterItem>, vaes: Array<AdapterItem>, controls: Array<AdapterItem>, 
/**
 * So many may steer one picture.
 */
maxControls: number, };

export type AdapterItem = { 
/**
 * By which it is asked for.
 */
name: string, 
/**
 * In words, such as "SDXL, LoRA, f16".
 */
about: string, triggerWords: Array<string>, };

/**
 * Something in the library.
 */
export type LibraryEntry = { name: string, path: string, 
/**
 * What it is, such as "SDXL, LoRA, f16".
 */
about: string, 
/**
 * Of its weights.
 */
bytes: number, 
/**
 * The title that its makers gave it, where that is not its name.
 */
title: string | null, licence: string | null, triggerWords: Array<string>, 
/**
 * Where it was downloaded from.
 */
source: string | null, 
/**
 * Why it cannot be used.
 */
problem: string | null, 
/**
 * It is in the user's own folder, and can be removed.
 */
own: boolean, 
/**
 * Its weights are elsewhere.
 */
link: boolean, };

/**
 * A model that could be put into the library.
 */
export type FoundModel = { path: string, name: string, 
/**
 * What it is, such as "SDXL, LoRA, f16".
 */
about: string, bytes: number, };

/**
 * A well-known model that can be downloaded.
 */
export type CatalogueItem = { name: string, title: string, 
/**
 * Family and kind.
 */
about: string, 
/**
 * Where they are known before anything is asked for.
 */
bytes: number | null, licence: string, 
/**
 * What the licence asks for.
 */
obligations: string, 
/**
 * The repository.
 */
source: string, installed: boolean, };

/**
 * A style: words around a prompt.
 */
export type StyleView = { name: string, 
/**
 * With `{prompt}` for what is typed.
 */
prompt: string, negative: string, };

/**
 * What to make larger.
 */
export type UpscaleInput = { 
/**
 * This layer; the whole picture where absent.
 */
layer: string | null, 
/**
 * 2 or 4.
 */
factor: number, 
/**
 * Whether the model adds detail.
 */
creative: boolean, 
/**
 * What the picture shows; its own prompt where absent.
 */
prompt: string | null, 
/**
 * How much may change, above 0 to 1; for creative ones.
 */
strength: number | null, settings: Settings, };

/**
 * What a model recommends.
 */
export type ModelDefaults = { steps: number, guidance: number, fillGuidance: number, fillStrength: number, sampler: string, samplers: Array<string>, 
/**
 * The side of the square that it was trained on, in pixels.
 */
nativeSize: number, 
/**
 * Widths and heights to offer.
 */
sizes: Array<[number, number]>, };

export type GenerateInput = { prompt: string, settings: Settings, width: number | null, height: number | null, takes: number, };

export type ExtendInput = { left: number, right: number, up: number, down: number, prompt: string | null, settings: Settings, takes: number, };

export type ZoomOutInput = { factor: number, prompt: string | null, settings: Settings, takes: number, };

export type ReframeInput = { aspectWidth: number, aspectHeight: number, prompt: string | null, settings: Settings, takes: number, };

export type VaryInput = { region: Region, prompt: string | null, strength: number, settings: Settings, takes: number, };

/**
 * What the user has marked. Shapes count in their order; subtracting ones erase.
 */
export type Region = { shapes: Array<RegionShape>, };

export type RegionShape = { "kind": "rect", rect: Rect, subtract: boolean, } | { "kind": "stroke", points: Array<Point>, radius: number, subtract: boolean, } | { "kind": "lasso", points: Array<Point>, subtract: boolean, };

export type LayerChange = { "kind": "visible", "value": boolean } | { "kind": "locked", "value": boolean } | { "kind": "opacity", "value": number } | { "kind": "name", "value": string } | { "kind": "depth", "value": number } | { "kind": "blend", "value": string };

export type ShotInput = { id: string | null, name: string, frame: string, width: number, height: number, rateNumerator: number, rateDenominator: number, frames: number, moves: Array<MoveView>, motionBlur: number, };

export type FilmFormat = "mp4-av1" | "mp4-h264" | "png-sequence";

export type FilmInput = { shot: string, path: string, format: FilmFormat, 
/**
 * 0 to 100.
 */
quality: number, };

export type ExportInput = { path: string, 
/**
 * The frame where absent.
 */
rect: Rect | null, scale: number, withMetadata: boolean, };

export type ImportedView = { layer: string, prompt: string | null, negative: string | null, 
/**
 * Another program's settings in words.
 */
metadata: string | null, };

export type ErrorKind = "cancelled" | "conflict" | "read-only" | "newer-file" | "not-found" | "invalid" | "failed";

/**
 * Why a command did nothing.
 */
export type CommandError = { kind: ErrorKind, message: string, };

export type HistoryStep = { id: string, name: string, current: boolean, 
/**
 * Whether the document does not hold it now.
 */
undone: boolean, };

/**
 * What an extension would do.
 */
export type ExtendPlan = { after: Rect, painted: Array<Rect>, fills: number, 
/**
 * None before anything was measured.
 */
seconds: number | null, };

export type ShotPreview = { geometry: ShotGeometry, 
/**
 * For `&live=` in the addresses of pictures.
 */
version: number, };

/**
 * What to drag out of the window.
 */
export type DragOut = { "kind": "picture" } | { "kind": "take", generation: string, take: string, };

/**
 * The event `project`.
 */
export type ProjectEvent = { view: ProjectView | null, 
/**
 * What looks different now; none for everything.
 */
dirty: Array<Rect> | null, };
