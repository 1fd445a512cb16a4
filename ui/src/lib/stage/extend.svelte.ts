import type { Rect } from "../backend/types";
import type { App } from "../state/app.svelte";
import { defaultAmount, NOTHING, SIDES, type Amounts, type Side } from "./extend";

type Plan = { after: Rect; painted: Rect[]; fills: number; seconds: number | null };

/** The arrows around the frame: how much is to be painted beyond which side. */
export class ExtendState {
  amounts = $state.raw<Amounts>(NOTHING);
  /** The side under the pointer or with the focus, shaded though nothing was set yet. */
  hovered = $state<Side | null>(null);
  plan = $state.raw<Plan | null>(null);
  prompt = $state("");
  takes = $state(1);
  readonly #app: App;
  #asked = 0;
  #asking = false;
  #again = false;

  constructor(app: App) {
    this.#app = app;
  }

  /** What would be painted now: what was set, or else the default of the side looked at. */
  get shown(): Amounts {
    const frame = this.#app.frame?.rect;
    if (SIDES.some((side) => this.amounts[side] > 0) || !this.hovered || !frame) return this.amounts;
    return { ...NOTHING, [this.hovered]: defaultAmount(frame, this.hovered) };
  }

  get active(): boolean {
    return SIDES.some((side) => this.shown[side] > 0);
  }

  get set(): boolean {
    return SIDES.some((side) => this.amounts[side] > 0);
  }

  amountFor(side: Side): number {
    const frame = this.#app.frame?.rect;
    return this.amounts[side] || (frame ? defaultAmount(frame, side) : 0);
  }

  hover(side: Side | null): void {
    if (this.hovered === side) return;
    this.hovered = side;
    this.replan();
  }

  change(side: Side, amount: number): void {
    if (this.amounts[side] === amount) return;
    this.amounts = { ...this.amounts, [side]: amount };
    this.replan();
  }

  reset(): void {
    this.amounts = NOTHING;
    this.hovered = null;
    this.plan = null;
    this.#asked++;
  }

  /** Asks what the amounts mean; only the newest answer counts, and one question is under way at a time. */
  replan(): void {
    const amounts = this.shown;
    if (!SIDES.some((side) => amounts[side] > 0)) {
      this.plan = null;
      this.#asked++;
      return;
    }
    if (this.#asking) {
      this.#again = true;
      return;
    }
    const asked = ++this.#asked;
    this.#asking = true;
    this.#app.backend
      .call("plan_extend", {
        input: { ...amounts, prompt: null, settings: this.#app.recipe.unsteered(), takes: 1 },
      })
      .then(
        (plan) => {
          if (asked === this.#asked) this.plan = plan;
        },
        () => {
          // The hint does without; painting will say what is wrong.
          if (asked === this.#asked) this.plan = null;
        },
      )
      .finally(() => {
        this.#asking = false;
        if (!this.#again) return;
        this.#again = false;
        this.replan();
      })
      .catch(() => undefined);
  }

  async paint(side?: Side): Promise<void> {
    const app = this.#app;
    const amounts = side && !this.set ? { ...NOTHING, [side]: this.amountFor(side) } : this.shown;
    if (!SIDES.some((one) => amounts[one] > 0)) return;
    const { takes } = this;
    const input = { ...amounts, prompt: this.prompt.trim() || null, settings: app.recipe.settings(), takes };
    const done = await app.enqueue(takes, () => app.backend.call("extend", { input }));
    if (!done) return;
    app.recipe.nextSeed();
    this.reset();
  }

  async zoomOut(factor: number): Promise<void> {
    const app = this.#app;
    const { takes } = this;
    const input = { factor, prompt: this.prompt.trim() || null, settings: app.recipe.settings(), takes };
    if (await app.enqueue(takes, () => app.backend.call("zoom_out", { input }))) app.recipe.nextSeed();
    this.reset();
  }

  async reframe(aspectWidth: number, aspectHeight: number): Promise<void> {
    const app = this.#app;
    const { takes } = this;
    const input = {
      aspectWidth,
      aspectHeight,
      prompt: this.prompt.trim() || null,
      settings: app.recipe.settings(),
      takes,
    };
    if (await app.enqueue(takes, () => app.backend.call("reframe", { input }))) app.recipe.nextSeed();
    this.reset();
  }
}
