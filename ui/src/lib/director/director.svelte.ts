import { messageOf } from "../backend/backend";
import type {
  CoverageView,
  MoveKind,
  MoveKindInfo,
  Point,
  ShotGeometry,
  ShotInput,
  ShotView,
} from "../backend/types";
import type { App } from "../state/app.svelte";
import { clamp } from "../stage/view";
import { rateOf } from "./timeline";

/** The shot that is directed: what is being changed, where the playhead stands, what it lacks. */
export class Director {
  kinds = $state.raw<MoveKindInfo[]>([]);
  shotId = $state<string | null>(null);
  selectedMove = $state<number | null>(null);
  picture = $state(0);
  playing = $state(false);
  loop = $state(true);
  /** Counts jumps of the playhead, so that a running film goes on from there. */
  sought = $state(0);
  look = $state<"stage" | "preview">("stage");
  /** The shot as the hand holds it, not yet committed. */
  draft = $state.raw<ShotInput | null>(null);
  live = $state.raw<{ geometry: ShotGeometry; version: number } | null>(null);
  /** What the camera sees at the playhead. */
  box = $state.raw<Point[] | null>(null);
  coverage = $state.raw<CoverageView | null>(null);
  coverageState = $state<"idle" | "asking" | "failed">("idle");
  coverageError = $state("");
  showMissing = $state(true);
  readonly #app: App;
  #asking = false;
  #again = false;
  #coverageAsked = 0;
  #boxAsked = 0;

  constructor(app: App) {
    this.#app = app;
  }

  get stored(): ShotView | null {
    const shots = this.#app.project?.shots ?? [];
    return shots.find((shot) => shot.id === this.shotId) ?? shots[0] ?? null;
  }

  /** What is shown: the draft over what is stored. */
  get shot(): ShotView | null {
    const { stored, draft, live } = this;
    if (!stored || draft?.id !== stored.id) return stored;
    return { ...stored, ...draft, id: stored.id, geometry: live?.geometry ?? stored.geometry };
  }

  get rate(): number {
    const { shot } = this;
    return shot ? rateOf(shot) : 24;
  }

  info(kind: MoveKind): MoveKindInfo | undefined {
    return this.kinds.find((one) => one.kind === kind);
  }

  /** The address of a picture of the film; of the unsaved shot while there is one. */
  pictureUrl(picture: number, width: number): string | null {
    const { stored, live } = this;
    const project = this.#app.project;
    if (!stored || !project) return null;
    const suffix = this.draft && live ? `&live=${live.version}` : "";
    return this.#app.backend.picture(
      `${project.key}/${project.revision}/shot/${stored.id}/${picture}?width=${width}${suffix}`,
    );
  }

  seek(picture: number): void {
    const last = Math.max(0, (this.shot?.frames ?? 1) - 1);
    this.picture = clamp(Math.round(picture), 0, last);
    this.sought++;
  }

  select(shot: string): void {
    this.stop();
    this.shotId = shot;
    this.selectedMove = null;
    this.draft = null;
    this.live = null;
    this.coverage = null;
    this.box = null;
    this.picture = 0;
  }

  toggle(): void {
    if (!this.shot) return;
    this.playing = !this.playing;
    if (!this.playing) return;
    this.look = "preview";
    if (this.picture >= this.shot.frames - 1) this.picture = 0;
  }

  stop(): void {
    this.playing = false;
  }

  leave(): void {
    this.stop();
    this.look = "stage";
  }

  reset(): void {
    this.leave();
    this.shotId = null;
    this.selectedMove = null;
    this.draft = null;
    this.live = null;
    this.coverage = null;
    this.box = null;
    this.picture = 0;
  }

  async addShot(): Promise<void> {
    const before = new Set(this.#app.project?.shots.map((shot) => shot.id));
    if (!(await this.#app.edit("add_shot"))) return;
    const added = this.#app.project?.shots.find((shot) => !before.has(shot.id));
    if (added) this.select(added.id);
  }

  async removeShot(id: string): Promise<void> {
    this.stop();
    if (await this.#app.edit("remove_shot", { shot: id })) {
      const first = this.#app.project?.shots[0];
      if (this.shotId === id) {
        if (first) this.select(first.id);
        else this.reset();
      }
    }
  }

  /** A change while the hand still moves: shown live, not stored. */
  try(change: Partial<ShotInput>): void {
    const { shot } = this;
    if (!shot) return;
    const { geometry: _, ...input } = shot;
    this.draft = { ...input, ...change };
    this.#preview();
  }

  /** The hand let go: one step that can be undone. */
  async commit(change: Partial<ShotInput> = {}): Promise<void> {
    const { shot } = this;
    if (!shot) return;
    const { geometry: _, ...input } = shot;
    const next = { ...input, ...change };
    this.draft = next;
    if (this.selectedMove !== null && this.selectedMove >= next.moves.length) this.selectedMove = null;
    await this.#app.edit("set_shot", { shot: next });
    // Whether it was taken or refused, what is stored counts again, unless the hand went on meanwhile.
    if (this.draft === next) {
      this.draft = null;
      this.live = null;
      this.seek(this.picture);
    }
  }

  cancelDraft(): void {
    this.draft = null;
    this.live = null;
  }

  #preview(): void {
    if (this.#asking) {
      this.#again = true;
      return;
    }
    const shot = this.draft;
    if (!shot) return;
    this.#asking = true;
    this.#app.backend
      .call("preview_shot", { shot })
      .then(
        (live) => {
          if (this.draft?.id === shot.id) this.live = live;
        },
        () => {
          // The last picture stays; letting go will say what is wrong.
        },
      )
      .finally(() => {
        this.#asking = false;
        if (!this.#again) return;
        this.#again = false;
        this.#preview();
      })
      .catch(() => undefined);
  }

  /**
   * Asks for the box at the playhead. The contract has boxes for the first and last picture only: the last of the same
   * shot cut off there is the one.
   */
  async askBox(): Promise<void> {
    const { shot } = this;
    if (!shot || this.draft) return;
    const asked = ++this.#boxAsked;
    const { geometry, ...input } = shot;
    const { picture } = this;
    if (picture <= 0) {
      this.box = geometry.startBox;
      return;
    }
    if (picture >= shot.frames - 1) {
      this.box = geometry.endBox;
      return;
    }
    try {
      const cut = await this.#app.backend.call("preview_shot", { shot: { ...input, frames: picture + 1 } });
      if (asked === this.#boxAsked && !this.draft) this.box = cut.geometry.endBox;
    } catch {
      if (asked === this.#boxAsked) this.box = null;
    }
  }

  /** Asks what the shot lacks; only the newest answer counts. */
  async askCoverage(shot: string): Promise<void> {
    const asked = ++this.#coverageAsked;
    this.coverageState = "asking";
    try {
      const coverage = await this.#app.backend.call("coverage", { shot });
      if (asked !== this.#coverageAsked) return;
      this.coverage = coverage;
      this.coverageState = "idle";
    } catch (error) {
      if (asked !== this.#coverageAsked) return;
      this.coverage = null;
      this.coverageState = "failed";
      this.coverageError = messageOf(error);
    }
  }

  async cover(): Promise<void> {
    const { stored } = this;
    if (!stored) return;
    const app = this.#app;
    const settings = app.recipe.unsteered();
    await app.enqueue(1, () => app.backend.call("cover", { shot: stored.id, settings, prompt: null }));
  }
}
