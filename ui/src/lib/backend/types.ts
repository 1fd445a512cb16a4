// What the window asks of the shell (Rust), by name. What goes to and fro is generated from the Rust types (`../bindings`):
// identifiers are strings, rectangles and points are canvas pixels, x to the right and y down.

import type {
  AdaptersView,
  AppInfo,
  CatalogueItem,
  ControlPicture,
  ControlPreview,
  CoverageView,
  DragOut,
  EngineView,
  ExportInput,
  ExtendInput,
  ExtendPlan,
  FilmInput,
  FoundModel,
  GenerateInput,
  HistoryStep,
  ImportedView,
  JobView,
  LayerChange,
  LibraryEntry,
  ModelDefaults,
  ModelView,
  MoveKindInfo,
  ProjectView,
  RecentProject,
  Rect,
  ReframeInput,
  Settings,
  ShotInput,
  ShotPreview,
  StyleView,
  UpscaleInput,
  VaryInput,
  ZoomOutInput,
} from "../bindings";

export type * from "../bindings";

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
  library(): LibraryEntry[];
  models_among(args: { paths: string[] }): string[]; // which of these are for the library rather than for the canvas
  examine_model(args: { path: string }): FoundModel; // rejects with why it cannot be used
  link_model(args: { path: string }): void;
  copy_model(args: { path: string }): number; // a job
  remove_model(args: { path: string }): void;
  catalogue(): CatalogueItem[];
  download_model(args: { name: string }): number; // a job; nothing is sent before
  preview_control(args: { picture: ControlPicture; canny: [number, number] | null }): ControlPreview; // what the network would see

  current_project(): ProjectView | null;
  new_project(args: { path: string | null }): ProjectView; // null: in the app's own folder ("Untitled 3")
  open_project(args: { path: string }): ProjectView;
  close_project(): void;
  save_project_as(args: { path: string }): ProjectView; // names a temporary project (moves it) or copies and goes on there
  rename_project(args: { title: string }): ProjectView;
  undo(): ProjectView;
  redo(): ProjectView;
  history(): HistoryStep[];
  go_to_step(args: { step: string }): ProjectView;

  generate(args: { input: GenerateInput }): number; // job ids
  extend(args: { input: ExtendInput }): number;
  zoom_out(args: { input: ZoomOutInput }): number;
  reframe(args: { input: ReframeInput }): number;
  vary(args: { input: VaryInput }): number;
  upscale(args: { input: UpscaleInput }): number;
  plan_extend(args: { input: ExtendInput }): ExtendPlan; // for the hint "+150 px · 1 fill · ~3 s"
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
  paste_picture(args: { x: number | null; y: number | null }): ImportedView[]; // from the desktop's clipboard, where the web view gives no pictures (Linux)
  export_picture(args: { input: ExportInput }): number;
  drag_out(args: { what: DragOut }): void;

  move_kinds(): MoveKindInfo[];
  add_shot(): ProjectView; // on frames[0], 4 s, 24 fps, size of the frame's proportions
  set_shot(args: { shot: ShotInput }): ProjectView; // commits: one undo step
  preview_shot(args: { shot: ShotInput }): ShotPreview; // not stored: for live dragging
  remove_shot(args: { shot: string }): ProjectView;
  coverage(args: { shot: string }): CoverageView;
  cover(args: { shot: string; settings: Settings; prompt: string | null }): number;
  export_film(args: { input: FilmInput }): number;
  open_monitor(args: { shot: string }): void;

  reveal(args: { path: string }): void; // show an exported file in the file manager
}
// Events (listen): "project" {view: ProjectView | null, dirty: Rect[] | null /* null: everything */}; "jobs" JobView[] (at most 10/s, always once at the end);
//   "engine" EngineView; "menu" string (ids: new open save-as close export film undo redo select-all deselect zoom-in zoom-out zoom-fit zoom-100 theme director picture models about shortcuts);
//   "library" null (something in the library's folders has changed);
//   "problem" string (something that went wrong outside of any command); "dropped" {paths, x, y in CSS pixels} is NOT used: the front end listens to Tauri's own drag-drop event.
// stage:// (GET, same origin policy: Access-Control-Allow-Origin *; on Windows and Android http://stage.localhost/):
//   stage://localhost/{key}/{revision}/tile/{level}/{x}/{y}      512x512 picture of canvas rectangle [x*512*2^level, …); level >= 0; transparent where nothing is painted
//   stage://localhost/{key}/{revision}/layer/{layerId}?size=64    a layer's thumbnail
//   stage://localhost/{key}/take/{takeId}?size=160
//   stage://localhost/{key}/{revision}/shot/{shotId}/{picture}?width=640         a film picture; add &live={version} for the unsaved shot of preview_shot
//   stage://localhost/job/{jobId}/{index}/{version}               a job's preview
