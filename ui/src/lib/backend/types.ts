// What the shell (Rust) and this window say to each other. The Rust types are the source; identifiers are strings,
// rectangles and points are canvas pixels, x to the right and y down.

export type Rect = { x: number; y: number; width: number; height: number };
export type Point = { x: number; y: number };

// ---- what the window shows ------------------------------------------------------------------------------------------
export type AppInfo = {
  version: string;
  adapter: string | null;
  adapterKind: "hardware" | "software" | null;
  adapterProblem: string | null;
  ffmpeg: boolean;
  os: "linux" | "macos" | "windows";
  tileSize: number; /* 512 */
};
export type RecentProject = {
  path: string;
  title: string;
  openedAt: number /* ms since epoch */;
  thumbnail: string | null /* data: URL */;
  exists: boolean;
};
export type ModelView = { name: string; path: string; summary: string /* "Starter: 256 px, 32 MB" */ };
export type EngineView = {
  state: "stopped" | "idle" | "busy" | "failed";
  model: string | null;
  device: string | null;
  memoryBytes: number;
  problem: string | null;
};

export type ProjectView = {
  key: string; // names the open project in stage:// addresses; changes with each opening
  revision: number; // grows with every change, also by undo
  path: string;
  title: string;
  readOnly: boolean;
  temporary: boolean /* lives in the app's own folder: not named by the user yet */;
  bounds: Rect | null; // of all visible pixels
  frames: FrameView[]; // frames[0] is the picture's frame: what extend, zoom-out and reframe work on
  layers: LayerView[]; // bottom to top
  generations: GenerationView[]; // oldest first
  shots: ShotView[];
  undo: string | null;
  redo: string | null; // names of the steps
};
export type FrameView = { id: string; name: string; rect: Rect };
export type LayerView = {
  id: string;
  name: string;
  visible: boolean;
  locked: boolean;
  opacity: number;
  blend: string;
  depth: number;
  bounds: Rect | null;
  generation: string | null; /* the topmost generation it shows */
};
export type GenerationView = {
  id: string;
  kind: "text-to-image" | "extend" | "zoom-out" | "fill" | "vary" | "upscale";
  rect: Rect;
  prompt: string;
  negative: string;
  model: string;
  seed: string /* u64 as text */;
  steps: number;
  guidance: number;
  sampler: string;
  strength: number;
  tuning: Tuning;
  takes: TakeView[];
  chosen: string;
  layer: string | null;
};
export type TakeView = {
  id: string;
  prompt: string;
  seed: string;
  seconds: number;
  width: number;
  height: number;
};

export type MoveKind =
  | "static"
  | "pan"
  | "tilt"
  | "roll"
  | "truck"
  | "pedestal"
  | "dolly"
  | "zoom"
  | "orbit"
  | "elevation"
  | "crane"
  | "dolly-zoom"
  | "handheld"
  | "reframe";
export type Easing =
  "linear" | "in" | "out" | "in-out" | "hold" | { "cubic-bezier": [number, number, number, number] };
// start/end in the kind's unit (see docs/camera.md); startDial/endDial are the same as -10..10, filled in by Rust, ignored on input.
export type MoveView = {
  kind: MoveKind;
  from: number /* picture */;
  to: number;
  start: number;
  end: number;
  startDial: number;
  endDial: number;
  easing: Easing;
};
export type ShotView = {
  id: string;
  name: string;
  frame: string;
  width: number;
  height: number;
  rateNumerator: number;
  rateDenominator: number;
  frames: number;
  moves: MoveView[];
  motionBlur: number /* shutter angle in degrees, 0 = off, at most 360 */;
  geometry: ShotGeometry;
};
export type ShotGeometry = {
  path: Point[] /* the view's centre on the picture plane */;
  startBox: Point[];
  endBox: Point[] /* 4 corners each */;
  problem: string | null;
};
export type MoveKindInfo = {
  kind: MoveKind;
  label: string;
  unit: string;
  axis: string;
  positive: string /* "right" */;
  negative: string;
  rest: number;
  dialPerUnit: number | null;
  logarithmic: boolean; /* zoom: amount = 2^(dial/5) */
};
export type CoverageView = {
  missing: number /* fraction 0..1 */;
  left: number;
  right: number;
  up: number;
  down: number;
  inside: number;
  fills: Rect[];
  text: string; /* "lacks 20 % on the right: 1 fill" */
};

export type JobState = "queued" | "running" | "done" | "failed" | "cancelled";
export type JobView = {
  id: number;
  kind:
    | "generate"
    | "extend"
    | "zoom-out"
    | "reframe"
    | "vary"
    | "cover"
    | "upscale"
    | "film"
    | "export"
    | "import";
  label: string;
  state: JobState;
  progress: number /* 0..1 */;
  stage: string /* "Loading Starter", "Take 2 of 4 · step 7 of 16", "Picture 31 of 96" */;
  secondsLeft: number | null;
  seconds: number;
  region: Rect | null; // what will be painted, for shading on the stage
  previews: JobPreview[]; // one per take / fill begun so far; picture at stage://localhost/job/{jobId}/{index}/{version}
  error: string | null;
  output: string | null /* path of the film or picture */;
  generation: string | null /* made by it */;
  warnings: string[];
};
export type JobPreview = { index: number; version: number; progress: number; done: boolean };

// ---- what the window asks -------------------------------------------------------------------------------------------
export type Settings = {
  model: string | null;
  negative: string;
  steps: number | null;
  guidance: number | null;
  sampler: string | null;
  seed: string | null;
  style: string | null;
  tuning: Tuning;
};
export type LoraChoice = { name: string; weight: number };
export type EmbeddingChoice = { name: string; word: string | null };
export type Tuning = {
  loras: LoraChoice[];
  embeddings: EmbeddingChoice[];
  clipSkip: number;
  guidanceRescale: number;
  vae: string | null;
};
export type AdapterItem = { name: string; about: string; triggerWords: string[] };
export type AdaptersView = { loras: AdapterItem[]; embeddings: AdapterItem[]; vaes: AdapterItem[] };
export type StyleView = { name: string; prompt: string; negative: string };
export type UpscaleInput = {
  layer: string | null;
  factor: number;
  creative: boolean;
  prompt: string | null;
  strength: number | null;
  settings: Settings;
};
export type ModelDefaults = {
  steps: number;
  guidance: number;
  fillGuidance: number;
  fillStrength: number;
  sampler: string;
  samplers: string[];
  nativeSize: number;
  sizes: [number, number][];
};
export type GenerateInput = {
  prompt: string;
  settings: Settings;
  width: number | null;
  height: number | null;
  takes: number;
};
export type ExtendInput = {
  left: number;
  right: number;
  up: number;
  down: number;
  prompt: string | null;
  settings: Settings;
  takes: number;
};
export type ZoomOutInput = { factor: number; prompt: string | null; settings: Settings; takes: number };
export type ReframeInput = {
  aspectWidth: number;
  aspectHeight: number;
  prompt: string | null;
  settings: Settings;
  takes: number;
};
export type VaryInput = {
  region: Region;
  prompt: string | null;
  strength: number;
  settings: Settings;
  takes: number;
};
// the strokes are drawn by the front end; Rust rasterises them. Subtracting strokes erase.
export type Region = { shapes: RegionShape[] };
export type RegionShape =
  | { kind: "rect"; rect: Rect; subtract: boolean }
  | { kind: "stroke"; points: Point[]; radius: number; subtract: boolean }
  | { kind: "lasso"; points: Point[]; subtract: boolean };
export type LayerChange =
  | { kind: "visible"; value: boolean }
  | { kind: "locked"; value: boolean }
  | { kind: "opacity"; value: number }
  | { kind: "name"; value: string }
  | { kind: "depth"; value: number }
  | { kind: "blend"; value: string };
export type ShotInput = {
  id: string | null;
  name: string;
  frame: string;
  width: number;
  height: number;
  rateNumerator: number;
  rateDenominator: number;
  frames: number;
  moves: MoveView[];
  motionBlur: number;
};
export type FilmInput = {
  shot: string;
  path: string;
  format: "mp4-av1" | "mp4-h264" | "png-sequence";
  quality: number; /* 0..100, 80 is the default */
};
export type ExportInput = {
  path: string;
  rect: Rect | null /* frame */;
  scale: number;
  withMetadata: boolean;
};
export type ImportedView = {
  layer: string;
  prompt: string | null;
  negative: string | null;
  metadata: string | null; /* other program's settings in words */
};
export type CommandError = {
  kind: "cancelled" | "conflict" | "read-only" | "newer-file" | "not-found" | "invalid" | "failed";
  message: string;
};

// Commands: invoke(name, args). All return promises, reject with CommandError.
export interface Commands {
  app_info(): AppInfo;
  recent_projects(): RecentProject[];
  forget_recent(args: { path: string }): void;
  models(): ModelView[];
  model_defaults(args: { model: string | null }): ModelDefaults;
  engine_status(): EngineView;
  adapters(): AdaptersView;
  styles(): StyleView[];

  current_project(): ProjectView | null;
  new_project(args: { path: string | null }): ProjectView; // null: in the app's own folder ("Untitled 3")
  open_project(args: { path: string }): ProjectView;
  close_project(): void;
  save_project_as(args: { path: string }): ProjectView; // names a temporary project (moves it) or copies and goes on there
  rename_project(args: { title: string }): ProjectView;
  undo(): ProjectView;
  redo(): ProjectView;
  history(): { id: string; name: string; current: boolean; undone: boolean }[];
  go_to_step(args: { step: string }): ProjectView;

  generate(args: { input: GenerateInput }): number; // job ids
  extend(args: { input: ExtendInput }): number;
  zoom_out(args: { input: ZoomOutInput }): number;
  reframe(args: { input: ReframeInput }): number;
  vary(args: { input: VaryInput }): number;
  upscale(args: { input: UpscaleInput }): number;
  plan_extend(args: { input: ExtendInput }): {
    after: Rect;
    painted: Rect[];
    fills: number;
    seconds: number | null;
  }; // for the hint "+150 px · 1 fill · ~3 s"
  cancel_job(args: { job: number }): void;
  clear_jobs(): void; // forget finished ones
  jobs(): JobView[];

  choose_take(args: { generation: string; take: string }): ProjectView;
  place_take(args: { generation: string; take: string; x: number; y: number }): ProjectView; // as a new layer, centred there
  set_layer(args: { layer: string; change: LayerChange }): ProjectView;
  move_layer(args: { layer: string; index: number }): ProjectView; // index from the bottom, afterwards
  offset_layer(args: { layer: string; dx: number; dy: number }): ProjectView;
  remove_layer(args: { layer: string }): ProjectView;
  set_frame(args: { frame: string; rect: Rect }): ProjectView;

  import_files(args: { paths: string[]; x: number | null; y: number | null }): ImportedView[]; // centred at x, y
  // import_bytes: raw body (Uint8Array), headers "x-name" (percent-encoded), "x-x", "x-y" : ImportedView[]
  export_picture(args: { input: ExportInput }): number;
  drag_out(args: { what: { kind: "picture" } | { kind: "take"; generation: string; take: string } }): void;

  move_kinds(): MoveKindInfo[];
  add_shot(): ProjectView; // on frames[0], 4 s, 24 fps, size of the frame's proportions
  set_shot(args: { shot: ShotInput }): ProjectView; // commits: one undo step
  preview_shot(args: { shot: ShotInput }): { geometry: ShotGeometry; version: number }; // not stored: for live dragging
  remove_shot(args: { shot: string }): ProjectView;
  coverage(args: { shot: string }): CoverageView;
  cover(args: { shot: string; settings: Settings; prompt: string | null }): number;
  export_film(args: { input: FilmInput }): number;
  open_monitor(args: { shot: string }): void;

  reveal(args: { path: string }): void; // show an exported file in the file manager
}
// Events (listen): "project" {view: ProjectView | null, dirty: Rect[] | null /* null: everything */}; "jobs" JobView[] (at most 10/s, always once at the end);
//   "engine" EngineView; "menu" string (ids: new open save-as close export film undo redo select-all deselect zoom-in zoom-out zoom-fit zoom-100 theme director picture about shortcuts);
//   "problem" string (something that went wrong outside of any command); "dropped" {paths, x, y in CSS pixels} is NOT used: the front end listens to Tauri's own drag-drop event.
// stage:// (GET, same origin policy: Access-Control-Allow-Origin *; on Windows and Android http://stage.localhost/):
//   stage://localhost/{key}/{revision}/tile/{level}/{x}/{y}      512x512 picture of canvas rectangle [x*512*2^level, …); level >= 0; transparent where nothing is painted
//   stage://localhost/{key}/{revision}/layer/{layerId}?size=64    a layer's thumbnail
//   stage://localhost/{key}/take/{takeId}?size=160
//   stage://localhost/{key}/{revision}/shot/{shotId}/{picture}?width=640         a film picture; add &live={version} for the unsaved shot of preview_shot
//   stage://localhost/job/{jobId}/{index}/{version}               a job's preview
