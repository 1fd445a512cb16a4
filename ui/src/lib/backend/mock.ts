import type { Backend, Events, FileDrop } from "./backend";
import { paintScene } from "./scene";
import type {
  CatalogueItem,
  CommandError,
  Commands,
  CoverageView,
  EngineView,
  ExtendInput,
  FrameView,
  GenerationView,
  ImportedView,
  JobView,
  LayerView,
  LibraryEntry,
  MoveKind,
  MoveKindInfo,
  MoveView,
  Point,
  ProjectView,
  RecentProject,
  Rect,
  Settings,
  ShotGeometry,
  ShotInput,
  ShotView,
  TakeView,
} from "./types";

// A stand-in for the shell, in memory: for tests and for `npm run dev` in a plain browser. It never ships.

type Patch = { rect: Rect; seed: number; mask: Rect | null; generation: string | null };
type MockLayer = Omit<LayerView, "bounds" | "generation"> & { patches: Patch[] };
type MockState = {
  title: string;
  path: string;
  temporary: boolean;
  frames: FrameView[];
  layers: MockLayer[];
  generations: GenerationView[];
  shots: Omit<ShotView, "geometry">[];
};
type Step = { name: string; state: MockState };
type Handlers = { [K in keyof Events]: Set<(payload: Events[K]) => void> };
type Call = { [K in keyof Commands]: (...args: Parameters<Commands[K]>) => ReturnType<Commands[K]> };

const BLANK = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7";

const KINDS: MoveKindInfo[] = [
  info("static", "Static", "", "", "", "", null),
  info("pan", "Pan", "°", "yaw", "right", "left", 10 / 45),
  info("tilt", "Tilt", "°", "pitch", "up", "down", 10 / 30),
  info("roll", "Roll", "°", "roll", "clockwise", "anticlockwise", 10 / 45),
  info("truck", "Truck", "frame widths", "x", "right", "left", 10),
  info("pedestal", "Pedestal", "frame heights", "y", "up", "down", 10),
  info("dolly", "Dolly", "of the distance", "z", "in", "out", 20),
  { ...info("zoom", "Zoom", "x", "lens", "in", "out", null), rest: 1, logarithmic: true },
  info("orbit", "Orbit", "°", "azimuth", "right", "left", 10 / 45),
  info("elevation", "Elevation", "°", "elevation", "up", "down", 10 / 30),
  info("crane", "Crane", "frame heights", "y", "up", "down", 10),
  info("dolly-zoom", "Dolly zoom", "of the distance", "z", "in", "out", 20),
  info("handheld", "Handheld", "% of the frame", "shake", "more", "", 2),
  info("reframe", "Reframe", "of the way", "box to box", "to the end", "", 10),
];

function info(
  kind: MoveKind,
  label: string,
  unit: string,
  axis: string,
  positive: string,
  negative: string,
  dialPerUnit: number | null,
): MoveKindInfo {
  return { kind, label, unit, axis, positive, negative, rest: 0, dialPerUnit, logarithmic: false };
}

const fail = (kind: CommandError["kind"], message: string): never => {
  // eslint-disable-next-line @typescript-eslint/only-throw-error -- the shell rejects with plain objects too
  throw { kind, message } satisfies CommandError;
};

const around = (rects: Rect[]): Rect | null => {
  if (rects.length === 0) return null;
  const x = Math.min(...rects.map((rect) => rect.x));
  const y = Math.min(...rects.map((rect) => rect.y));
  return {
    x,
    y,
    width: Math.max(...rects.map((rect) => rect.x + rect.width)) - x,
    height: Math.max(...rects.map((rect) => rect.y + rect.height)) - y,
  };
};

function entry(name: string, about: string, bytes: number, more: Partial<LibraryEntry>): LibraryEntry {
  const path = `/home/ada/.local/share/outframe/models/${name}.safetensors`;
  const nothing = { title: null, licence: null, triggerWords: [], source: null, problem: null };
  return { name, path, about, bytes, ...nothing, own: true, link: false, ...more };
}

const CATALOGUE: Omit<CatalogueItem, "installed">[] = [
  {
    name: "canny-sd15",
    title: "ControlNet for edges, SD 1.5",
    about: "SD 1.x, ControlNet",
    bytes: 723e6,
    licence: "OpenRAIL",
    obligations: "The uses that its appendix names are forbidden.",
    source: "maker/control-canny",
  },
  {
    name: "sdxl-base",
    title: "Stable Diffusion XL",
    about: "SDXL, model",
    bytes: null,
    licence: "OpenRAIL++-M",
    obligations: "The uses that its appendix names are forbidden.",
    source: "maker/sdxl",
  },
];

export type MockOptions = { delay?: number; demo?: boolean };

export class MockBackend implements Backend {
  readonly nativeMenu = false;
  readonly calls: { name: string; args: unknown }[] = [];
  /** The next call of this command is rejected with the message. */
  failNext: { name: keyof Commands; message: string } | null = null;
  nextSavePath: string | null = "/home/ada/Pictures/picture.png";
  offline = false;
  nextOpenPaths = ["/home/ada/Pictures/Ridge at dawn.outframe"];
  /** Whether the library has control networks. */
  networks = true;
  /** What the library holds beside the starter. */
  shelf: LibraryEntry[] = [
    entry("Starter", "starter, SD 1.x, inpainting, f16", 79e6, { own: false, licence: "Apache-2.0" }),
    entry("ink-wash", "SD 1.x, LoRA, f16", 151e6, { link: true, triggerWords: ["ink wash", "loose lines"] }),
    entry("old", "unknown", 2.1e9, {
      problem: "It is a pickle, which can run any program. Get it as .safetensors.",
    }),
  ];

  readonly #delay: number;
  readonly #handlers: Handlers = {
    project: new Set(),
    jobs: new Set(),
    engine: new Set(),
    menu: new Set(),
    problem: new Set(),
    library: new Set(),
  };
  readonly #drops = new Set<(drop: FileDrop) => void>();
  readonly #pictures = new Map<string, string>();
  readonly #seeds = new Map<string, number>();
  readonly #jobSeeds = new Map<number, { seed: number; rect: Rect; steps: number }>();
  #steps: Step[] = [];
  #at = 0;
  #revision = 0;
  #key: string | null = null;
  #next = 1;
  #jobs: JobView[] = [];
  #running = false;
  #queue: { job: JobView; takes: number; finish: () => string | null }[] = [];
  #live: ShotInput | null = null;
  #liveVersion = 0;
  #recent: RecentProject[] = [];
  #engine: EngineView = { state: "idle", model: "Starter", device: "CPU", memoryBytes: 1.1e9, problem: null };

  constructor(options: MockOptions = {}) {
    const query = new URLSearchParams(globalThis.location.search);
    this.#delay = options.delay ?? Number(query.get("delay") ?? 90);
    this.#recent = [
      this.#recentOf("Ridge at dawn", 0, 2),
      this.#recentOf("Harbour study", 1, 3 * 60),
      this.#recentOf("Valley, spring light", 2, 26 * 60),
      { ...this.#recentOf("Old storm", 3, 9 * 24 * 60), thumbnail: null, exists: false },
    ];
    if (query.has("none")) this.#recent = [];
    if (options.demo ?? query.has("demo")) this.#demo();
  }

  // ---- the seam ---------------------------------------------------------------------------------------------------

  async call<K extends keyof Commands>(
    name: K,
    ...args: Parameters<Commands[K]>
  ): Promise<ReturnType<Commands[K]>> {
    this.calls.push({ name, args: args[0] });
    await Promise.resolve();
    if (this.failNext?.name === name) {
      const { message } = this.failNext;
      this.failNext = null;
      fail("failed", message);
    }
    const commands = this.#commands;
    return commands[name](...args);
  }

  async importBytes(_bytes: Uint8Array, name: string, at: Point | null): Promise<ImportedView[]> {
    await Promise.resolve();
    return [this.#import(name, at)];
  }

  listen<K extends keyof Events>(event: K, handler: (payload: Events[K]) => void): Promise<() => void> {
    this.#handlers[event].add(handler);
    return Promise.resolve(() => {
      this.#handlers[event].delete(handler);
    });
  }

  onFileDrop(handler: (drop: FileDrop) => void): Promise<() => void> {
    this.#drops.add(handler);
    return Promise.resolve(() => {
      this.#drops.delete(handler);
    });
  }

  pickOpen(): Promise<string[]> {
    return Promise.resolve(this.nextOpenPaths);
  }
  pickSave(): Promise<string | null> {
    return Promise.resolve(this.nextSavePath);
  }
  pickFolder(): Promise<string | null> {
    return Promise.resolve("/home/ada/Pictures/film");
  }

  /** As the shell would: an event out of the blue. */
  emit<K extends keyof Events>(event: K, payload: Events[K]): void {
    for (const handler of this.#handlers[event]) handler(payload);
  }
  drop(drop: FileDrop): void {
    for (const handler of this.#drops) handler(drop);
  }

  // ---- pictures ---------------------------------------------------------------------------------------------------

  picture(path: string): string {
    const known = this.#pictures.get(path);
    if (known) return known;
    const url = this.#draw(path);
    if (this.#pictures.size > 400) this.#pictures.clear();
    this.#pictures.set(path, url);
    return url;
  }

  #draw(path: string): string {
    const [address = "", query = ""] = path.split("?");
    const parts = address.split("/");
    const size = Number(new URLSearchParams(query).get("size") ?? 64);
    if (parts[0] === "job") return this.#drawJob(Number(parts[1]), Number(parts[2]), Number(parts[3]));
    if (parts[1] === "take") {
      return draw(size, size, (context) => {
        const take = parts[2] ?? "";
        const generation = this.#state?.generations.find((one) => one.takes.some((each) => each.id === take));
        const rect = generation?.rect ?? { x: 0, y: 0, width: 512, height: 512 };
        this.#fitted(context, rect, size, size, () => {
          paintScene(context, rect, this.#seeds.get(take) ?? 0, 0.3);
        });
      });
    }
    if (parts[2] === "layer") {
      const layer = this.#state?.layers.find((one) => one.id === parts[3]);
      const bounds = layer && around(layer.patches.map((patch) => patch.rect));
      if (!layer || !bounds) return BLANK;
      return draw(size, size, (context) => {
        this.#fitted(context, bounds, size, size, () => this.#drawLayer(context, layer, size / bounds.width));
      });
    }
    if (parts[2] === "tile") {
      const side = 512 * 2 ** Number(parts[3]);
      return draw(512, 512, (context) => {
        context.scale(512 / side, 512 / side);
        context.translate(-Number(parts[4]) * side, -Number(parts[5]) * side);
        this.#drawAll(context, 512 / side);
      });
    }
    if (parts[2] === "shot") {
      const parameters = new URLSearchParams(query);
      const live = parameters.has("live") ? this.#live : null;
      const shot = live ?? this.#state?.shots.find((one) => one.id === parts[3]);
      if (!shot) return BLANK;
      const width = Number(parameters.get("width") ?? 640);
      const height = Math.round((width * shot.height) / shot.width);
      return draw(width, height, (context) => {
        const box = this.#boxAt(shot, Number(parts[4]));
        context.translate(width / 2, height / 2);
        context.scale(width / box.width, width / box.width);
        context.rotate((-box.roll * Math.PI) / 180);
        context.translate(-box.x, -box.y);
        this.#drawAll(context, width / box.width);
      });
    }
    return BLANK;
  }

  #drawJob(job: number, index: number, version: number): string {
    const plan = this.#jobSeeds.get(job);
    if (!plan) return BLANK;
    const ratio = plan.rect.width / plan.rect.height;
    const width = Math.round(ratio >= 1 ? 192 : 192 * ratio);
    const height = Math.round(ratio >= 1 ? 192 / ratio : 192);
    return draw(width, height, (context) => {
      const clarity = Math.min(1, version / plan.steps);
      context.filter = `blur(${((1 - clarity) * 10).toFixed(1)}px) saturate(${0.4 + clarity * 0.6})`;
      this.#fitted(context, plan.rect, width, height, () => {
        paintScene(context, plan.rect, plan.seed + index, 0.4);
      });
      context.filter = "none";
      context.globalAlpha = (1 - clarity) * 0.5;
      for (let y = 0; y < height; y += 6) {
        for (let x = 0; x < width; x += 6) {
          const grey = Math.floor(Math.random() * 255);
          context.fillStyle = `rgb(${grey} ${grey} ${grey})`;
          context.fillRect(x, y, 6, 6);
        }
      }
    });
  }

  #fitted(
    context: CanvasRenderingContext2D,
    rect: Rect,
    width: number,
    height: number,
    body: () => void,
  ): void {
    const scale = Math.max(width / rect.width, height / rect.height);
    context.save();
    context.translate(width / 2, height / 2);
    context.scale(scale, scale);
    context.translate(-rect.x - rect.width / 2, -rect.y - rect.height / 2);
    body();
    context.restore();
  }

  #drawAll(context: CanvasRenderingContext2D, scale: number): void {
    for (const layer of this.#state?.layers ?? []) if (layer.visible) this.#drawLayer(context, layer, scale);
  }

  #drawLayer(context: CanvasRenderingContext2D, layer: MockLayer, scale: number): void {
    context.globalAlpha = layer.opacity;
    for (const patch of layer.patches)
      paintScene(context, patch.mask ?? patch.rect, this.#chosenSeed(patch), scale);
    context.globalAlpha = 1;
  }

  #chosenSeed(patch: Patch): number {
    const generation = this.#state?.generations.find((one) => one.id === patch.generation);
    return generation ? (this.#seeds.get(generation.chosen) ?? patch.seed) : patch.seed;
  }

  // ---- state ------------------------------------------------------------------------------------------------------

  get #state(): MockState | null {
    return this.#key ? (this.#steps[this.#at]?.state ?? null) : null;
  }

  #need(): MockState {
    return this.#state ?? fail("not-found", "No project is open.");
  }

  #id(prefix: string): string {
    return `${prefix}-${this.#next++}`;
  }

  #recentOf(title: string, seed: number, minutes: number): RecentProject {
    const rect = { x: 0, y: 0, width: 512, height: 512 };
    return {
      path: `/home/ada/Pictures/${title}.outframe`,
      title,
      openedAt: Date.now() - minutes * 60_000,
      thumbnail: draw(320, 200, (context) => {
        this.#fitted(context, rect, 320, 200, () => paintScene(context, rect, seed, 0.6));
      }),
      exists: true,
    };
  }

  #open(title: string, path: string, temporary: boolean, state?: Partial<MockState>): ProjectView {
    const empty: MockState = { title, path, temporary, frames: [], layers: [], generations: [], shots: [] };
    this.#key = this.#id("p");
    this.#steps = [{ name: "Opened", state: { ...empty, ...state } }];
    this.#at = 0;
    this.#revision++;
    return this.#tell(null);
  }

  #edit(name: string, dirty: Rect[] | null, change: (state: MockState) => void): ProjectView {
    const state = structuredClone(this.#need());
    change(state);
    this.#steps = [...this.#steps.slice(0, this.#at + 1), { name, state }];
    this.#at = this.#steps.length - 1;
    this.#revision++;
    return this.#tell(dirty);
  }

  #tell(dirty: Rect[] | null): ProjectView {
    const view = this.#view() ?? fail("not-found", "No project is open.");
    this.emit("project", { view, dirty });
    return view;
  }

  #view(): ProjectView | null {
    const state = this.#state;
    if (!state || !this.#key) return null;
    const visible = state.layers.filter((layer) => layer.visible);
    return {
      key: this.#key,
      revision: this.#revision,
      path: state.path,
      title: state.title,
      readOnly: false,
      temporary: state.temporary,
      bounds: around(visible.flatMap((layer) => layer.patches.map((patch) => patch.rect))),
      frames: state.frames,
      layers: state.layers.map(({ patches, ...layer }) => ({
        ...layer,
        bounds: around(patches.map((patch) => patch.rect)),
        generation: patches.findLast((patch) => patch.generation)?.generation ?? null,
      })),
      generations: state.generations,
      shots: state.shots.map((shot) => ({ ...shot, geometry: this.#geometry(shot) })),
      undo: this.#at > 0 ? (this.#steps[this.#at]?.name ?? null) : null,
      redo: this.#steps[this.#at + 1]?.name ?? null,
    };
  }

  #demo(): void {
    const frame = { x: 0, y: 0, width: 768, height: 512 };
    const prompt = "snowy mountains at golden hour, still lake, drifting mist, pine forest";
    const takes = [0, 1, 2, 3].map((index) => this.#take(index, frame, prompt));
    const generation: GenerationView = {
      id: this.#id("g"),
      kind: "text-to-image",
      rect: frame,
      prompt,
      negative: "",
      model: "Starter",
      seed: "77",
      steps: 16,
      guidance: 4,
      sampler: "dpmpp-2m",
      strength: 1,
      tuning: { loras: [], embeddings: [], clipSkip: 0, guidanceRescale: 0, vae: null },
      controls: [],
      takes,
      chosen: takes[0]?.id ?? "",
      layer: null,
    };
    const layer = (name: string, depth: number, patches: Patch[]): MockLayer => ({
      id: this.#id("l"),
      name,
      visible: true,
      locked: false,
      opacity: 1,
      blend: "normal",
      depth,
      patches,
    });
    const ridge = layer("Lake and ridge", 1, [
      { rect: frame, seed: 0, mask: null, generation: generation.id },
    ]);
    generation.layer = ridge.id;
    const sky = layer("Sky", 6, [
      { rect: { x: 0, y: 0, width: 768, height: 200 }, seed: 0, mask: null, generation: null },
    ]);
    this.#open("Ridge at dawn", "/home/ada/Pictures/Ridge at dawn.outframe", false, {
      frames: [{ id: "f-1", name: "Frame 1", rect: frame }],
      layers: [sky, ridge],
      generations: [generation],
    });
  }

  #take(seed: number, rect: Rect, prompt: string): TakeView {
    const id = this.#id("t");
    this.#seeds.set(id, seed);
    return {
      id,
      prompt,
      seed: String(77 + seed),
      seconds: 2.4 + seed * 0.2,
      width: rect.width,
      height: rect.height,
    };
  }

  // ---- camera: enough of it to look at ----------------------------------------------------------------------------

  #frameOf(shot: Pick<ShotInput, "frame">): Rect {
    const frames = this.#state?.frames ?? [];
    return (
      (frames.find((frame) => frame.id === shot.frame) ?? frames[0])?.rect ?? {
        x: 0,
        y: 0,
        width: 512,
        height: 512,
      }
    );
  }

  #boxAt(
    shot: Omit<ShotInput, "id">,
    picture: number,
  ): { x: number; y: number; width: number; roll: number } {
    const frame = this.#frameOf(shot);
    const width = Math.min(frame.width, (frame.height * shot.width) / shot.height);
    const box = { x: frame.x + frame.width / 2, y: frame.y + frame.height / 2, width, roll: 0 };
    for (const move of shot.moves) {
      const part = Math.min(1, Math.max(0, (picture - move.from) / Math.max(1, move.to - move.from)));
      const eased = move.easing === "linear" ? part : part * part * (3 - 2 * part);
      const amount = move.start + (move.end - move.start) * eased;
      if (move.kind === "truck" || move.kind === "orbit")
        box.x += amount * width * (move.kind === "truck" ? 1 : 0.01);
      if (move.kind === "pan") box.x += Math.tan((amount * Math.PI) / 180) * width * 1.39;
      if (move.kind === "pedestal" || move.kind === "crane")
        box.y -= (amount * width * shot.height) / shot.width;
      if (move.kind === "tilt") box.y -= Math.tan((amount * Math.PI) / 180) * width * 1.39;
      if (move.kind === "roll") box.roll += amount;
      if (move.kind === "zoom") box.width /= Math.max(0.05, amount);
      if (move.kind === "dolly") box.width *= 1 - amount;
    }
    return box;
  }

  #corners(shot: Omit<ShotInput, "id">, picture: number): Point[] {
    const box = this.#boxAt(shot, picture);
    const half = { x: box.width / 2, y: (box.width * shot.height) / shot.width / 2 };
    const angle = (box.roll * Math.PI) / 180;
    return [
      [-1, -1],
      [1, -1],
      [1, 1],
      [-1, 1],
    ].map(([sx = 0, sy = 0]) => ({
      x: box.x + sx * half.x * Math.cos(angle) - sy * half.y * Math.sin(angle),
      y: box.y + sx * half.x * Math.sin(angle) + sy * half.y * Math.cos(angle),
    }));
  }

  #geometry(shot: Omit<ShotInput, "id">): ShotGeometry {
    const last = Math.max(0, shot.frames - 1);
    const path = Array.from({ length: 33 }, (_, index) => {
      const box = this.#boxAt(shot, (index / 32) * last);
      return { x: box.x, y: box.y };
    });
    return { path, startBox: this.#corners(shot, 0), endBox: this.#corners(shot, last), problem: null };
  }

  #coverage(shot: Omit<ShotInput, "id">): CoverageView {
    const known = this.#view()?.bounds;
    const boxes = Array.from({ length: 17 }, (_, index) =>
      this.#corners(shot, (index / 16) * (shot.frames - 1)),
    ).flat();
    const all = around(boxes.map((point) => ({ ...point, width: 0, height: 0 })));
    const nothing: CoverageView = {
      missing: 0,
      left: 0,
      right: 0,
      up: 0,
      down: 0,
      inside: 0,
      fills: [],
      text: "Everything the camera sees is painted",
    };
    if (!known || !all) return nothing;
    const left = Math.max(0, known.x - all.x);
    const right = Math.max(0, all.x + all.width - known.x - known.width);
    const up = Math.max(0, known.y - all.y);
    const down = Math.max(0, all.y + all.height - known.y - known.height);
    const fills: Rect[] = [];
    const snap = (value: number): number => Math.ceil(value / 16) * 16;
    if (right > 1) fills.push({ x: known.x + known.width, y: all.y, width: snap(right), height: all.height });
    if (left > 1) fills.push({ x: known.x - snap(left), y: all.y, width: snap(left), height: all.height });
    if (up > 1) fills.push({ x: all.x, y: known.y - snap(up), width: all.width, height: snap(up) });
    if (down > 1) fills.push({ x: all.x, y: known.y + known.height, width: all.width, height: snap(down) });
    if (fills.length === 0) return nothing;
    const sides = {
      left: left / all.width,
      right: right / all.width,
      up: up / all.height,
      down: down / all.height,
    };
    const words = { left: "on the left", right: "on the right", up: "above", down: "below" };
    const text = (Object.keys(words) as (keyof typeof words)[])
      .filter((side) => sides[side] > 0.002)
      .map((side) => `${Math.max(1, Math.round(sides[side] * 100))} % ${words[side]}`)
      .join(", ");
    const missing = 1 - (1 - sides.left - sides.right) * (1 - sides.up - sides.down);
    return { missing, ...sides, inside: 0, fills, text: `This move lacks ${text}` };
  }

  // ---- jobs -------------------------------------------------------------------------------------------------------

  #enqueue(
    kind: JobView["kind"],
    label: string,
    region: Rect | null,
    takes: number,
    seed: number,
    finish: () => string | null,
    output: string | null = null,
  ): number {
    const job: JobView = {
      id: this.#next++,
      kind,
      label,
      state: "queued",
      progress: 0,
      stage: "",
      secondsLeft: null,
      seconds: 0,
      region,
      previews: [],
      error: null,
      output,
      generation: null,
      warnings: [],
    };
    this.#jobs = [...this.#jobs, job];
    if (region) this.#jobSeeds.set(job.id, { seed, rect: region, steps: 16 });
    this.#queue.push({ job, takes, finish });
    this.#tellJobs();
    void this.#work();
    return job.id;
  }

  #tellJobs(): void {
    this.emit("jobs", structuredClone(this.#jobs));
  }

  #setEngine(state: EngineView["state"]): void {
    this.#engine = { ...this.#engine, state };
    this.emit("engine", this.#engine);
  }

  async #work(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    for (let next = this.#queue.shift(); next; next = this.#queue.shift()) {
      const { job, takes, finish } = next;
      if (job.state !== "queued") continue;
      job.state = "running";
      this.#setEngine("busy");
      const steps = 16;
      const total = steps * takes;
      const previewed = job.region !== null && job.kind !== "export";
      for (let step = 1; step <= total && this.#alive(job); step++) {
        await new Promise((done) => setTimeout(done, this.#delay));
        const take = Math.ceil(step / steps);
        const within = ((step - 1) % steps) + 1;
        job.progress = step / total;
        job.seconds = (step * this.#delay) / 1000;
        job.secondsLeft = ((total - step) * this.#delay) / 1000;
        job.stage = previewed
          ? `${takes > 1 ? `Take ${take} of ${takes} · ` : ""}step ${within} of ${steps}`
          : `Picture ${step} of ${total}`;
        if (previewed) {
          const preview = {
            index: take - 1,
            rect: null,
            version: within,
            progress: within / steps,
            done: within === steps,
          };
          job.previews = [...job.previews.filter((one) => one.index !== take - 1), preview];
        }
        this.#tellJobs();
      }
      if (this.#alive(job)) {
        job.generation = finish();
        job.state = "done";
        job.secondsLeft = null;
        this.#tellJobs();
      }
    }
    this.#running = false;
    this.#setEngine("idle");
  }

  #alive(job: JobView): boolean {
    return job.state === "running";
  }

  #settle(
    kind: GenerationView["kind"],
    settings: Settings,
    prompt: string,
    rect: Rect,
    takes: number,
    seed: number,
    name: string,
    after: (state: MockState, generation: GenerationView) => void,
  ): string {
    const all = Array.from({ length: takes }, (_, index) => this.#take(seed + index, rect, prompt));
    const generation: GenerationView = {
      id: this.#id("g"),
      kind,
      rect,
      prompt,
      negative: settings.negative,
      model: settings.model ?? "Starter",
      seed: settings.seed ?? String(77 + seed),
      steps: settings.steps ?? 16,
      guidance: settings.guidance ?? 4,
      sampler: settings.sampler ?? "dpmpp-2m",
      strength: 1,
      tuning: settings.tuning,
      controls: settings.controls,
      takes: all,
      chosen: all[0]?.id ?? "",
      layer: null,
    };
    this.#edit(name, [rect], (state) => {
      state.generations.push(generation);
      after(state, generation);
    });
    return generation.id;
  }

  #grow(
    kind: "extend" | "zoom-out",
    label: string,
    after: Rect,
    settings: Settings,
    prompt: string,
    takes: number,
  ): number {
    const state = this.#need();
    const frame =
      state.frames[0]?.rect ??
      fail("not-found", "There is no frame yet: generate or import a picture first.");
    const seed = this.#topSeed();
    const strips = this.#strips(frame, after);
    return this.#enqueue(kind, label, around(strips), takes, seed, () =>
      this.#settle(
        kind,
        settings,
        prompt,
        around(strips) ?? after,
        takes,
        seed,
        label,
        (next, generation) => {
          const layer = next.layers.at(-1);
          const first = next.frames[0];
          if (first) first.rect = after;
          if (!layer) return;
          generation.layer = layer.id;
          for (const rect of strips)
            layer.patches.push({ rect, seed, mask: null, generation: generation.id });
        },
      ),
    );
  }

  #topSeed(): number {
    const patch = this.#state?.layers.at(-1)?.patches[0];
    return patch ? this.#chosenSeed(patch) : 0;
  }

  #strips(frame: Rect, after: Rect): Rect[] {
    const strips: Rect[] = [];
    const left = frame.x - after.x;
    const right = after.x + after.width - frame.x - frame.width;
    const up = frame.y - after.y;
    const down = after.y + after.height - frame.y - frame.height;
    if (left > 0) strips.push({ x: after.x, y: frame.y, width: left, height: frame.height });
    if (right > 0) strips.push({ x: frame.x + frame.width, y: frame.y, width: right, height: frame.height });
    if (up > 0) strips.push({ x: after.x, y: after.y, width: after.width, height: up });
    if (down > 0) strips.push({ x: after.x, y: frame.y + frame.height, width: after.width, height: down });
    return strips;
  }

  #extended(input: ExtendInput): Rect {
    const frame = this.#need().frames[0]?.rect ?? { x: 0, y: 0, width: 512, height: 512 };
    return {
      x: frame.x - input.left,
      y: frame.y - input.up,
      width: frame.width + input.left + input.right,
      height: frame.height + input.up + input.down,
    };
  }

  #import(name: string, at: Point | null): ImportedView {
    if (!this.#state) this.#open("Untitled 1", "/home/ada/.local/share/outframe/Untitled 1.outframe", true);
    const rect = {
      x: Math.round((at?.x ?? 192) - 192),
      y: Math.round((at?.y ?? 128) - 128),
      width: 384,
      height: 256,
    };
    const id = this.#id("l");
    const short = name.split("/").at(-1) ?? name;
    this.#edit(`Import ${short}`, [rect], (state) => {
      if (state.frames.length === 0) state.frames.push({ id: this.#id("f"), name: "Frame 1", rect });
      const patch: Patch = { rect, seed: 2, mask: null, generation: null };
      state.layers.push({
        id,
        name: short.replace(/\.\w+$/, ""),
        visible: true,
        locked: false,
        opacity: 1,
        blend: "normal",
        depth: 1,
        patches: [patch],
      });
    });
    return {
      layer: id,
      prompt: "a quiet valley, morning haze, film grain",
      negative: "blurry",
      metadata: null,
    };
  }

  #added(path: string, link: boolean): void {
    const name = (path.split("/").at(-1) ?? path).replace(".safetensors", "");
    this.shelf = [...this.shelf, entry(name, "SDXL, LoRA, f16", 228e6, { link })];
    this.emit("library", null);
  }

  #layer(state: MockState, id: string): MockLayer {
    return state.layers.find((layer) => layer.id === id) ?? fail("not-found", "That layer is gone.");
  }

  readonly #commands: Call = {
    app_info: () => ({
      version: "0.1.0",
      adapter: "llvmpipe (LLVM 15.0.6, 256 bits)",
      adapterKind: "software",
      adapterProblem: null,
      ffmpeg: false,
      os: "linux",
      tileSize: 512,
    }),
    recent_projects: () => this.#recent,
    forget_recent: ({ path }) => {
      this.#recent = this.#recent.filter((recent) => recent.path !== path);
    },
    models: () => [
      { name: "Starter", path: "models/starter", summary: "256 px, 32 MB, ships with Outframe" },
    ],
    model_defaults: () => ({
      steps: 16,
      guidance: 4,
      fillGuidance: 3,
      fillStrength: 1,
      sampler: "dpmpp-2m",
      samplers: ["dpmpp-2m", "dpmpp-2m-sde-karras", "euler-a", "ddim", "lcm"],
      nativeSize: 256,
      sizes: [
        [256, 256],
        [384, 256],
        [256, 384],
        [512, 512],
        [768, 512],
      ],
    }),
    engine_status: () => this.#engine,
    adapters: () => ({
      loras: [
        { name: "ink-wash", about: "SD 1.x, LoRA, f16", triggerWords: ["ink wash", "loose lines"] },
        { name: "film-grain", about: "SD 1.x, LoRA, f16", triggerWords: [] },
      ],
      embeddings: [{ name: "calm-water", about: "SD 1.x, textual inversion, f16", triggerWords: [] }],
      vaes: [{ name: "soft", about: "VAE, f16", triggerWords: [] }],
      controls: this.networks
        ? [
            { name: "canny-sd15", about: "SD 1.x, ControlNet, f16", triggerWords: [] },
            { name: "depth-sd15", about: "SD 1.x, ControlNet, f16", triggerWords: [] },
          ]
        : [],
      maxControls: 6,
    }),
    library: () => structuredClone(this.shelf),
    models_among: ({ paths }) => paths.filter((path) => /\.(safetensors|ckpt)$|\/sdxl$/.test(path)),
    examine_model: ({ path }) => {
      if (path.endsWith(".ckpt"))
        fail("invalid", `${path} is a pickle, which can run any program. Get the model as .safetensors.`);
      const name = (path.split("/").at(-1) ?? path).replace(".safetensors", "");
      return { path, name, about: "SDXL, LoRA, f16", bytes: 228e6 };
    },
    link_model: ({ path }) => this.#added(path, true),
    copy_model: ({ path }) => {
      const name = (path.split("/").at(-1) ?? path).replace(".safetensors", "");
      return this.#enqueue("copy", name, null, 1, 0, () => {
        this.#added(path, false);
        return null;
      });
    },
    remove_model: ({ path }) => {
      this.shelf = this.shelf.filter((item) => item.path !== path);
      this.emit("library", null);
    },
    catalogue: () =>
      CATALOGUE.map((item) => ({ ...item, installed: this.shelf.some((one) => one.name === item.name) })),
    download_model: ({ name }) => {
      if (this.offline)
        fail("failed", "The hub cannot be reached: this machine is offline. Try again later.");
      return this.#enqueue("download", name, null, 1, 0, () => {
        this.#added(`/home/ada/.local/share/outframe/models/${name}.safetensors`, false);
        return null;
      });
    },
    preview_control: ({ picture, canny }) => {
      if (picture.kind === "file" && picture.path.includes("gone"))
        fail(
          "not-found",
          `${picture.path} is not there any more. Choose another picture for the ControlNet.`,
        );
      const rect = picture.kind === "frame" ? this.#need().frames[0]?.rect : undefined;
      const { width, height } = rect ?? { width: 640, height: 480 };
      const image = draw(256, Math.round((256 * height) / width), (context) => {
        paintScene(context, { x: 0, y: 0, width, height }, 1, 0.3);
        if (!canny) return;
        context.fillStyle = "#000";
        context.fillRect(0, 0, width, height);
        context.strokeStyle = "#fff";
        context.strokeRect(40, 40, 120, 80);
      });
      return { image, width, height };
    },
    styles: () => [
      { name: "watercolour", prompt: "watercolour of {prompt}, pale washes", negative: "photograph" },
      { name: "woodcut", prompt: "woodcut print of {prompt}", negative: "" },
    ],
    current_project: () => this.#view(),
    new_project: () => this.#open("Untitled 1", "/home/ada/.local/share/outframe/Untitled 1.outframe", true),
    open_project: ({ path }) => {
      if (path.includes("storm")) fail("not-found", `“${path}” is not there any more.`);
      this.#demo();
      return this.#view() ?? fail("not-found", "");
    },
    close_project: () => {
      this.#key = null;
      this.emit("project", { view: null, dirty: null });
    },
    save_project_as: ({ path }) =>
      this.#edit("Name the project", [], (state) => {
        state.path = path;
        state.temporary = false;
      }),
    rename_project: ({ title }) =>
      this.#edit("Rename the project", [], (state) => {
        state.title = title;
      }),
    undo: () => {
      if (this.#at === 0) fail("invalid", "There is nothing to undo.");
      this.#at--;
      this.#revision++;
      return this.#tell(null);
    },
    redo: () => {
      if (this.#at >= this.#steps.length - 1) fail("invalid", "There is nothing to redo.");
      this.#at++;
      this.#revision++;
      return this.#tell(null);
    },
    history: () =>
      this.#steps.map((step, index) => ({
        id: String(index),
        name: step.name,
        current: index === this.#at,
        undone: index > this.#at,
      })),
    go_to_step: ({ step }) => {
      this.#at = Number(step);
      this.#revision++;
      return this.#tell(null);
    },
    generate: ({ input }) => {
      this.#need();
      const rect = { x: 0, y: 0, width: input.width ?? 512, height: input.height ?? 512 };
      const seed = this.#need().generations.length * 4;
      return this.#enqueue("generate", input.prompt || "Picture", rect, input.takes, seed, () =>
        this.#settle(
          "text-to-image",
          input.settings,
          input.prompt,
          rect,
          input.takes,
          seed,
          "Generate",
          (state, one) => {
            if (state.frames.length === 0) state.frames.push({ id: this.#id("f"), name: "Frame 1", rect });
            const layer: MockLayer = {
              id: this.#id("l"),
              name: input.prompt.split(",")[0]?.slice(0, 32) || "Picture",
              visible: true,
              locked: false,
              opacity: 1,
              blend: "normal",
              depth: 1,
              patches: [{ rect, seed, mask: null, generation: one.id }],
            };
            one.layer = layer.id;
            state.layers.push(layer);
          },
        ),
      );
    },
    extend: ({ input }) =>
      this.#grow("extend", "Extend", this.#extended(input), input.settings, input.prompt ?? "", input.takes),
    zoom_out: ({ input }) => {
      const frame = this.#extended({ ...input, left: 0, right: 0, up: 0, down: 0 });
      const dx = Math.round((frame.width * (input.factor - 1)) / 2);
      const dy = Math.round((frame.height * (input.factor - 1)) / 2);
      const after = {
        x: frame.x - dx,
        y: frame.y - dy,
        width: frame.width + 2 * dx,
        height: frame.height + 2 * dy,
      };
      return this.#grow(
        "zoom-out",
        `Zoom out ${input.factor}×`,
        after,
        input.settings,
        input.prompt ?? "",
        input.takes,
      );
    },
    reframe: ({ input }) => {
      const frame = this.#extended({ ...input, left: 0, right: 0, up: 0, down: 0 });
      const ratio = input.aspectWidth / input.aspectHeight;
      const width = Math.max(frame.width, Math.round(frame.height * ratio));
      const height = Math.max(frame.height, Math.round(frame.width / ratio));
      const after = {
        x: frame.x - Math.round((width - frame.width) / 2),
        y: frame.y - Math.round((height - frame.height) / 2),
        width,
        height,
      };
      const label = `Reframe ${input.aspectWidth}:${input.aspectHeight}`;
      return this.#grow("extend", label, after, input.settings, input.prompt ?? "", input.takes);
    },
    vary: ({ input }) => {
      const boxes = input.region.shapes
        .filter((shape) => !shape.subtract)
        .map((shape) =>
          shape.kind === "rect"
            ? shape.rect
            : around(
                shape.points.map((point) => ({ x: point.x - 20, y: point.y - 20, width: 40, height: 40 })),
              ),
        );
      const rect =
        around(boxes.filter((box) => box !== null)) ??
        fail("invalid", "The region is empty: paint where to vary.");
      const seed = this.#topSeed() + 1;
      return this.#enqueue("vary", input.prompt ?? "Vary the region", rect, input.takes, seed, () =>
        this.#settle(
          "vary",
          input.settings,
          input.prompt ?? "",
          rect,
          input.takes,
          seed,
          "Vary",
          (state, one) => {
            const layer = state.layers.at(-1);
            one.layer = layer?.id ?? null;
            layer?.patches.push({ rect, seed, mask: null, generation: one.id });
          },
        ),
      );
    },
    upscale: ({ input }) => {
      const state = this.#need();
      const found = state.layers.find((one) => one.id === input.layer);
      const from =
        (found ? around(found.patches.map((patch) => patch.rect)) : state.frames[0]?.rect) ??
        fail("invalid", "There is no picture to upscale.");
      const rect = { ...from, width: from.width * input.factor, height: from.height * input.factor };
      const seed = this.#topSeed();
      const name = `Upscale ${input.factor}×`;
      return this.#enqueue("upscale", name, from, 1, seed, () =>
        this.#settle("upscale", input.settings, input.prompt ?? "", rect, 1, seed, name, (next, one) => {
          const layer: MockLayer = {
            id: this.#id("l"),
            name: found ? `${found.name} ${input.factor}×` : `Upscaled ${input.factor}×`,
            visible: true,
            locked: false,
            opacity: 1,
            blend: "normal",
            depth: 1,
            patches: [{ rect, seed, mask: null, generation: one.id }],
          };
          one.layer = layer.id;
          for (const other of next.layers) if (!found || other.id === found.id) other.visible = false;
          next.layers.push(layer);
          const frame = next.frames[0];
          if (!found && frame) frame.rect = rect;
        }),
      );
    },
    plan_extend: ({ input }) => {
      const frame = this.#need().frames[0]?.rect ?? fail("not-found", "There is no frame yet.");
      const after = this.#extended(input);
      const painted = this.#strips(frame, after);
      const fills = painted.reduce(
        (sum, rect) => sum + Math.ceil(rect.width / 512) * Math.ceil(rect.height / 512),
        0,
      );
      return { after, painted, fills, seconds: fills * 1.6 };
    },
    cancel_job: ({ job }) => {
      const found = this.#jobs.find((one) => one.id === job);
      if (found) found.state = "cancelled";
      this.#tellJobs();
    },
    clear_jobs: () => {
      this.#jobs = this.#jobs.filter((job) => job.state === "queued" || job.state === "running");
      this.#tellJobs();
    },
    jobs: () => structuredClone(this.#jobs),
    choose_take: ({ generation, take }) =>
      this.#edit("Choose a take", null, (state) => {
        const found = state.generations.find((one) => one.id === generation);
        if (found) found.chosen = take;
      }),
    place_take: ({ generation, take, x, y }) => {
      const found = this.#need().generations.find((one) => one.id === generation);
      const { width, height } = found?.rect ?? fail("not-found", "That take is gone.");
      const rect = { x: Math.round(x - width / 2), y: Math.round(y - height / 2), width, height };
      return this.#edit("Place a take", [rect], (state) => {
        const patch: Patch = { rect, seed: this.#seeds.get(take) ?? 0, mask: null, generation: null };
        state.layers.push({
          id: this.#id("l"),
          name: "Take",
          visible: true,
          locked: false,
          opacity: 1,
          blend: "normal",
          depth: 1,
          patches: [patch],
        });
      });
    },
    set_layer: ({ layer, change }) =>
      this.#edit(`Change ${change.kind}`, null, (state) => {
        Object.assign(this.#layer(state, layer), { [change.kind]: change.value });
      }),
    move_layer: ({ layer, index }) =>
      this.#edit("Reorder layers", null, (state) => {
        const found = this.#layer(state, layer);
        state.layers = state.layers.filter((one) => one !== found);
        state.layers.splice(index, 0, found);
      }),
    offset_layer: ({ layer, dx, dy }) =>
      this.#edit("Move layer", null, (state) => {
        for (const patch of this.#layer(state, layer).patches) {
          patch.rect = { ...patch.rect, x: patch.rect.x + dx, y: patch.rect.y + dy };
        }
      }),
    remove_layer: ({ layer }) =>
      this.#edit("Delete layer", null, (state) => {
        state.layers = state.layers.filter((one) => one.id !== layer);
      }),
    set_frame: ({ frame, rect }) =>
      this.#edit("Change frame", [], (state) => {
        const found = state.frames.find((one) => one.id === frame);
        if (found) found.rect = rect;
      }),
    import_files: ({ paths, x, y }) =>
      paths.map((path) => this.#import(path, x === null || y === null ? null : { x, y })),
    paste_picture: ({ x, y }) => [
      this.#import("Pasted picture.png", x === null || y === null ? null : { x, y }),
    ],
    export_picture: ({ input }) => this.#enqueue("export", "Picture", null, 1, 0, () => null, input.path),
    drag_out: () => undefined,
    move_kinds: () => KINDS,
    add_shot: () => {
      const frame =
        this.#need().frames[0] ?? fail("invalid", "A shot needs a picture: generate or import one first.");
      return this.#edit("Add a shot", [], (state) => {
        state.shots.push({
          id: this.#id("s"),
          name: `Shot ${state.shots.length + 1}`,
          frame: frame.id,
          width: 1280,
          height: Math.round(((1280 * frame.rect.height) / frame.rect.width / 2) | 0) * 2,
          rateNumerator: 24,
          rateDenominator: 1,
          frames: 96,
          moves: [],
          motionBlur: 0,
        });
      });
    },
    set_shot: ({ shot }) => {
      this.#live = null;
      const moves = shot.moves.map((move) => this.#dialled(move));
      return this.#edit("Change the shot", [], (state) => {
        const at = state.shots.findIndex((one) => one.id === shot.id);
        const id = shot.id ?? this.#id("s");
        if (at >= 0) state.shots[at] = { ...shot, id, moves };
        else state.shots.push({ ...shot, id, moves });
      });
    },
    preview_shot: ({ shot }) => {
      this.#live = structuredClone(shot);
      return { geometry: this.#geometry(shot), version: ++this.#liveVersion };
    },
    remove_shot: ({ shot }) =>
      this.#edit("Delete the shot", [], (state) => {
        state.shots = state.shots.filter((one) => one.id !== shot);
      }),
    coverage: ({ shot }) => {
      const found =
        this.#need().shots.find((one) => one.id === shot) ?? fail("not-found", "That shot is gone.");
      return this.#coverage(found);
    },
    cover: ({ shot, settings, prompt }) => {
      const found =
        this.#need().shots.find((one) => one.id === shot) ?? fail("not-found", "That shot is gone.");
      const { fills } = this.#coverage(found);
      const seed = this.#topSeed();
      const rect = around(fills) ?? fail("invalid", "Nothing is missing.");
      return this.#enqueue("cover", `Paint what ${found.name} lacks`, rect, 1, seed, () =>
        this.#settle("fill", settings, prompt ?? "", rect, 1, seed, "Cover the shot", (state, one) => {
          const layer = state.layers.at(-1);
          one.layer = layer?.id ?? null;
          for (const fill of fills) layer?.patches.push({ rect: fill, seed, mask: null, generation: one.id });
        }),
      );
    },
    export_film: ({ input }) => this.#enqueue("film", "Film", null, 6, 0, () => null, input.path),
    open_monitor: () => undefined,
    reveal: () => undefined,
  };

  #dialled(move: MoveView): MoveView {
    const kind = KINDS.find((one) => one.kind === move.kind);
    const dial = (amount: number): number =>
      kind?.logarithmic ? 5 * Math.log2(amount) : amount * (kind?.dialPerUnit ?? 0);
    return { ...move, startDial: dial(move.start), endDial: dial(move.end) };
  }
}

function draw(width: number, height: number, body: (context: CanvasRenderingContext2D) => void): string {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  if (!context) return BLANK;
  body(context);
  return canvas.toDataURL("image/webp", 0.9);
}
