import { getContext, setContext } from "svelte";
import { messageOf, type Backend } from "../backend/backend";
import type {
  AdaptersView,
  AppInfo,
  CatalogueItem,
  Commands,
  EngineView,
  FrameView,
  GenerationView,
  ImportedView,
  JobView,
  LayerView,
  LibraryEntry,
  ModelView,
  Point,
  ProjectView,
  Rect,
  RecentProject,
  StyleView,
} from "../backend/types";
import { Director } from "../director/director.svelte";
import { ExtendState } from "../stage/extend.svelte";
import { RegionState } from "../stage/region.svelte";
import { StageState } from "../stage/stage.svelte";
import { union } from "../stage/view";
import { ended } from "./jobs";
import { Recipe } from "./recipe.svelte";
import { Toasts } from "./toasts.svelte";
import { literal } from "./tuning.svelte";

export type Tool = "move" | "hand" | "extend" | "brush" | "rect" | "lasso" | "eraser" | "zoom";
export type DialogName = "export" | "film" | "upscale" | "about" | "shortcuts" | "models" | "add-models";
export type Theme = "dark" | "light";
/** The generation that the take strip shows: a finished one, or the one that a job is making. */
export type Focus = { kind: "generation"; id: string } | { kind: "job"; id: number };

export const IMAGE_FILES = {
  name: "Pictures",
  extensions: ["png", "jpg", "jpeg", "webp", "avif", "tif", "tiff"],
};
export const PROJECT_FILES = { name: "Outframe projects", extensions: ["outframe"] };

/** Everything the window knows, and everything a person can ask of it. */
export class App {
  readonly backend: Backend;
  readonly toasts = new Toasts();
  readonly recipe = new Recipe();
  readonly stage = new StageState();
  readonly region = new RegionState();
  readonly extending: ExtendState;
  readonly director: Director;

  ready = $state<"loading" | "ready" | "failed">("loading");
  startError = $state("");
  info = $state<AppInfo | null>(null);
  models = $state.raw<ModelView[]>([]);
  adapters = $state.raw<AdaptersView | null>(null);
  styles = $state.raw<StyleView[]>([]);
  /** Everything in the library and the catalogue, once the models dialog has asked. */
  shelf = $state.raw<LibraryEntry[] | null>(null);
  catalogue = $state.raw<CatalogueItem[] | null>(null);
  /** What is to be put into the library, and which dialog asked for it. */
  addingModels = $state.raw<string[]>([]);
  addingFrom: "models" | null = null;
  /** What the upscale dialog begins with: a layer, or the whole picture. */
  upscaleLayer = $state<string | null>(null);
  recent = $state.raw<RecentProject[]>([]);
  engine = $state.raw<EngineView>({
    state: "stopped",
    model: null,
    device: null,
    memoryBytes: 0,
    problem: null,
  });
  project = $state.raw<ProjectView | null>(null);
  jobs = $state.raw<JobView[]>([]);
  opening = $state(false);
  mode = $state<"picture" | "director">("picture");
  tool = $state<Tool>("extend");
  theme = $state<Theme>("dark");
  dialog = $state<DialogName | null>(null);
  renaming = $state(false);
  selectedLayer = $state<string | null>(null);
  focus = $state.raw<Focus | null>(null);
  dropping = $state(false);
  /** How many takes each running job was asked for. */
  readonly takesAsked = new Map<number, number>();

  readonly frame: FrameView | null = $derived(this.project?.frames[0] ?? null);
  readonly layer: LayerView | null = $derived(
    this.project?.layers.find((layer) => layer.id === this.selectedLayer) ?? null,
  );
  readonly paintingJobs: JobView[] = $derived(
    this.jobs.filter((job) => (job.state === "running" || job.state === "queued") && job.region !== null),
  );

  constructor(backend: Backend) {
    this.backend = backend;
    this.extending = new ExtendState(this);
    this.director = new Director(this);
  }

  // ---- starting -----------------------------------------------------------------------------------------------------

  async start(): Promise<void> {
    this.ready = "loading";
    try {
      this.#restoreTheme();
      await Promise.all([
        this.backend.listen("project", ({ view, dirty }) => this.#projectChanged(view, dirty)),
        this.backend.listen("jobs", (jobs) => this.#jobsChanged(jobs)),
        this.backend.listen("engine", (engine) => {
          this.engine = engine;
        }),
        this.backend.listen("library", () => this.run(() => this.loadModels())),
        this.backend.listen("problem", (problem) => this.toasts.error(problem)),
      ]);
      const [info, models, engine, project, jobs, kinds] = await Promise.all([
        this.backend.call("app_info"),
        this.backend.call("models"),
        this.backend.call("engine_status"),
        this.backend.call("current_project"),
        this.backend.call("jobs"),
        this.backend.call("move_kinds"),
      ]);
      this.info = info;
      this.models = models;
      this.engine = engine;
      this.jobs = jobs;
      this.director.kinds = kinds;
      if (project) this.take(project);
      await this.refreshRecent();
      this.ready = "ready";
      // Asking what a model recommends may start the engine: nobody waits for that.
      this.run(() => this.loadDefaults(null));
      this.run(() => this.loadLibrary());
    } catch (error) {
      this.startError = messageOf(error);
      this.ready = "failed";
    }
  }

  async loadDefaults(model: string | null): Promise<void> {
    this.recipe.model = model;
    this.recipe.defaults = await this.backend.call("model_defaults", { model });
  }

  async loadLibrary(): Promise<void> {
    [this.adapters, this.styles] = await Promise.all([
      this.backend.call("adapters"),
      this.backend.call("styles"),
    ]);
  }

  /** Everything that lists models, anew. */
  async loadModels(): Promise<void> {
    this.models = await this.backend.call("models");
    const { model } = this.recipe;
    // The one that was chosen may be gone.
    if (model !== null && !this.models.some((one) => one.path === model)) await this.loadDefaults(null);
    await this.loadLibrary();
    if (this.shelf !== null) await this.loadShelf();
  }

  /** What the models dialog shows. */
  async loadShelf(): Promise<void> {
    [this.shelf, this.catalogue] = await Promise.all([
      this.backend.call("library"),
      this.backend.call("catalogue"),
    ]);
  }

  /** Asks how these are to come into the library. */
  addModels(paths: string[]): void {
    this.addingModels = paths;
    if (this.dialog !== "add-models") this.addingFrom = this.dialog === "models" ? "models" : null;
    this.dialog = "add-models";
  }

  askUpscale(layer: string | null): void {
    this.upscaleLayer = layer;
    this.dialog = "upscale";
  }

  async refreshRecent(): Promise<void> {
    this.recent = await this.backend.call("recent_projects");
  }

  // ---- asking -------------------------------------------------------------------------------------------------------

  /** Does something that may fail; a failure is shown, and `undefined` comes back. */
  async attempt<T>(work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      this.toasts.error(messageOf(error));
      return undefined;
    }
  }

  /** Fire and forget, for event handlers: failures are shown. */
  run(work: () => Promise<unknown>): void {
    void this.attempt(work);
  }

  /** A command that answers with the project. */
  edit<K extends CommandsThatEdit>(name: K, ...args: Parameters<Commands[K]>): Promise<boolean> {
    return this.attempt(async () => {
      this.take(await this.backend.call(name, ...args));
      return true;
    }).then((done) => done ?? false);
  }

  /** A newer view of the open project, or another project. */
  take(view: ProjectView): void {
    const same = this.project?.key === view.key;
    if (same && this.project && view.revision < this.project.revision) return;
    this.project = view;
    if (!same) this.#switched(view);
    if (this.selectedLayer && !view.layers.some((layer) => layer.id === this.selectedLayer))
      this.selectedLayer = null;
  }

  #projectChanged(view: ProjectView | null, dirty: Rect[] | null): void {
    if (!view) {
      this.project = null;
      this.stage.reset(null);
      this.run(() => this.refreshRecent());
      return;
    }
    const same = this.project?.key === view.key;
    const empty = this.project?.bounds === null;
    this.take(view);
    if (!same) return;
    this.stage.changed(view, dirty);
    // The first picture of an empty project: look at it.
    if (empty && view.bounds) this.fitAll();
  }

  #switched(view: ProjectView): void {
    this.selectedLayer = null;
    this.region.clear();
    this.extending.reset();
    this.director.reset();
    this.focus = null;
    this.mode = "picture";
    const last = view.generations.at(-1);
    if (last) this.recipe.prompt = literal(last.prompt);
    this.recipe.negative = last?.negative ?? "";
    this.stage.reset(view);
    this.fitAll();
  }

  #jobsChanged(jobs: JobView[]): void {
    const before = this.jobs;
    this.jobs = jobs;
    const old = new Set(before.map((job) => job.id));
    for (const job of jobs) {
      // What was just asked for is what one wants to see.
      if (!old.has(job.id) && this.takesAsked.has(job.id)) this.focus = { kind: "job", id: job.id };
    }
    // Nothing is painted yet: look at where the first picture comes.
    const first = this.project?.bounds === null ? this.paintingJobs[0] : undefined;
    if (first?.region && !before.some((job) => job.id === first.id && job.region !== null))
      this.stage.fit(first.region);
    for (const job of ended(before, jobs)) {
      if (this.focus?.kind === "job" && this.focus.id === job.id) {
        this.focus = job.generation ? { kind: "generation", id: job.generation } : null;
      }
      if (job.state === "failed")
        this.toasts.error(`${job.label}: ${job.error ?? "failed without a reason"}`);
      if (job.state === "done" && (job.kind === "copy" || job.kind === "download")) {
        this.toasts.show(`${job.label} is in the library.`);
        this.run(() => this.loadModels());
      }
      if (job.state === "done" && job.output) {
        const path = job.output;
        this.toasts.show(
          `${job.kind === "film" ? "Film" : "Picture"} written: ${path.split(/[/\\]/).at(-1) ?? path}`,
          {
            label: "Reveal",
            run: () => this.reveal(path),
          },
        );
      }
      for (const warning of job.warnings) this.toasts.show(warning);
    }
  }

  reveal(path: string): void {
    this.run(() => this.backend.call("reveal", { path }));
  }

  // ---- projects -----------------------------------------------------------------------------------------------------

  async newProject(): Promise<void> {
    await this.#busy(() => this.edit("new_project", { path: null }));
  }

  async openProject(path?: string): Promise<void> {
    const paths = path
      ? [path]
      : ((await this.attempt(() => this.backend.pickOpen("Open a project", [PROJECT_FILES], false))) ?? []);
    const [first] = paths;
    if (first) await this.#busy(() => this.edit("open_project", { path: first }));
    if (path) await this.attempt(() => this.refreshRecent());
  }

  async saveAs(): Promise<void> {
    const project = this.project;
    if (!project) return;
    await this.attempt(async () => {
      const path = await this.backend.pickSave("Name the project", `${project.title}.outframe`, [
        PROJECT_FILES,
      ]);
      if (path) await this.edit("save_project_as", { path });
    });
  }

  async closeProject(): Promise<void> {
    await this.attempt(async () => {
      await this.backend.call("close_project");
      this.project = null;
      await this.refreshRecent();
    });
  }

  async #busy(work: () => Promise<unknown>): Promise<void> {
    this.opening = true;
    await work();
    this.opening = false;
  }

  async undo(): Promise<void> {
    if (this.project?.undo != null) await this.edit("undo");
  }

  async redo(): Promise<void> {
    if (this.project?.redo != null) await this.edit("redo");
  }

  // ---- pictures -----------------------------------------------------------------------------------------------------

  /** Remembers how many takes a job makes, so that the strip can show the places of those to come. */
  async enqueue(takes: number, ask: () => Promise<number>): Promise<boolean> {
    const job = await this.attempt(ask);
    if (job === undefined) return false;
    this.takesAsked.set(job, takes);
    this.focus = { kind: "job", id: job };
    return true;
  }

  async generate(): Promise<void> {
    const { recipe } = this;
    if (!this.project || !recipe.prompt.trim()) return;
    const input = {
      prompt: recipe.prompt.trim(),
      settings: recipe.settings(),
      width: recipe.size?.[0] ?? null,
      height: recipe.size?.[1] ?? null,
      takes: recipe.takes,
    };
    recipe.remember();
    await this.enqueue(recipe.takes, () => this.backend.call("generate", { input }));
    recipe.nextSeed();
  }

  async vary(): Promise<void> {
    const { region, recipe } = this;
    if (!this.project || region.empty) return;
    const input = {
      region: region.value,
      prompt: region.prompt.trim() || null,
      strength: region.strength,
      settings: recipe.settings(),
      takes: region.takes,
    };
    if (await this.enqueue(region.takes, () => this.backend.call("vary", { input }))) region.clear();
  }

  generationInFocus(): GenerationView | null {
    const generations = this.project?.generations ?? [];
    if (this.focus?.kind === "generation") {
      const { id } = this.focus;
      const found = generations.find((one) => one.id === id);
      if (found) return found;
    }
    return generations.at(-1) ?? null;
  }

  async importFiles(paths: string[], at: Point | null): Promise<void> {
    const project = paths.find((path) => path.toLowerCase().endsWith(".outframe"));
    if (project) {
      await this.openProject(project);
      return;
    }
    await this.attempt(async () => {
      const models = await this.backend.call("models_among", { paths });
      const pictures = paths.filter((path) => !models.includes(path));
      if (models.length > 0) this.addModels(models);
      if (pictures.length === 0) return;
      const place = await this.#placeFor(at);
      this.#imported(
        await this.backend.call("import_files", {
          paths: pictures,
          x: place?.x ?? null,
          y: place?.y ?? null,
        }),
      );
    });
  }

  async importBlobs(files: File[], at: Point | null): Promise<void> {
    await this.attempt(async () => {
      const place = await this.#placeFor(at);
      for (const file of files) {
        const bytes = new Uint8Array(await file.arrayBuffer());
        this.#imported(await this.backend.importBytes(bytes, file.name || "Pasted picture", place));
      }
    });
  }

  /** Whether pasted pictures come from the shell: WebKitGTK hands none to the page. */
  get nativePaste(): boolean {
    return this.backend.nativeMenu && this.info?.os === "linux";
  }

  /** The picture or the files on the desktop's clipboard, where the pointer is. */
  async paste(): Promise<void> {
    if (!this.nativePaste) return;
    await this.attempt(async () => {
      const place = await this.#placeFor(this.stage.cursor);
      this.#imported(await this.backend.call("paste_picture", { x: place?.x ?? null, y: place?.y ?? null }));
    });
  }

  /** Whole canvas pixels; a picture dropped on the start page begins a project. */
  async #placeFor(at: Point | null): Promise<Point | null> {
    if (!this.project) {
      await this.newProject();
      return null;
    }
    return at && { x: Math.round(at.x), y: Math.round(at.y) };
  }

  #imported(views: ImportedView[]): void {
    for (const view of views) {
      this.selectedLayer = view.layer;
      if (view.prompt) {
        const { prompt, negative } = view;
        this.toasts.show("This picture tells how it was made.", {
          label: "Use its prompt",
          run: () => {
            this.recipe.prompt = prompt;
            if (negative) this.recipe.negative = negative;
          },
        });
      }
    }
  }

  // ---- looking ------------------------------------------------------------------------------------------------------

  /** The frame; in Director with all that the camera passes over. */
  #subject(): Rect {
    const rect = this.frame?.rect ?? this.project?.bounds ?? { x: 0, y: 0, width: 512, height: 512 };
    const shot = this.mode === "director" ? this.director.shot : null;
    if (!shot) return rect;
    const { startBox, endBox } = shot.geometry;
    return [...startBox, ...endBox].reduce<Rect>(
      (all, point) => union(all, { ...point, width: 0, height: 0 }),
      rect,
    );
  }

  fitAll(): void {
    this.stage.fit(this.#subject());
  }

  setTool(tool: Tool): void {
    this.tool = tool;
    if (tool !== "extend") this.extending.reset();
  }

  setMode(mode: "picture" | "director"): void {
    if (this.mode === mode) return;
    this.mode = mode;
    this.extending.reset();
    if (mode === "picture") this.director.leave();
    if (this.project) this.stage.fitAgain(this.#subject());
  }

  setTheme(theme: Theme): void {
    this.theme = theme;
    document.documentElement.dataset.theme = theme;
    try {
      localStorage.setItem("outframe.theme", theme);
    } catch {
      // Without storage the choice lasts as long as the window.
    }
  }

  #restoreTheme(): void {
    let stored: string | null = null;
    try {
      stored = localStorage.getItem("outframe.theme");
    } catch {
      // As above.
    }
    const light = stored ? stored === "light" : matchMedia("(prefers-color-scheme: light)").matches;
    this.theme = light ? "light" : "dark";
    document.documentElement.dataset.theme = this.theme;
  }
}

type CommandsThatEdit = {
  [K in keyof Commands]: ReturnType<Commands[K]> extends ProjectView ? K : never;
}[keyof Commands];

const KEY = Symbol("app");
export const provideApp = (app: App): App => setContext(KEY, app);
export const useApp = (): App => getContext<App>(KEY);
