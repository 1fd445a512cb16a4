import type { GenerationView, ModelDefaults, Settings, TakeView } from "../backend/types";
import { ControlsState } from "./controls.svelte";
import { literal, TuningState } from "./tuning.svelte";

/** The largest seed a person is offered; all of a 32-bit range, as elsewhere. */
const SEEDS = 2 ** 32;

export const rollSeed = (): string => String(Math.floor(Math.random() * SEEDS));

/** How the next picture is to be made: prompt, takes, size, seed and the sampler's settings. */
export class Recipe {
  prompt = $state("");
  negative = $state("");
  takes = $state(4);
  size = $state.raw<[number, number] | null>(null);
  seed = $state(rollSeed());
  seedLocked = $state(false);
  /** `null`: the model's own. */
  steps = $state<number | null>(null);
  guidance = $state<number | null>(null);
  sampler = $state<string | null>(null);
  /** The style around the prompt. */
  style = $state<string | null>(null);
  readonly tuning = new TuningState();
  readonly controls = new ControlsState();
  model = $state<string | null>(null);
  defaults = $state.raw<ModelDefaults | null>(null);
  /** Earlier prompts, newest last. */
  history: string[] = [];
  #back = 0;
  #draft = "";

  settings(): Settings {
    return {
      model: this.model,
      negative: this.negative.trim(),
      steps: this.steps,
      guidance: this.guidance,
      sampler: this.sampler,
      seed: this.seed.trim() || null,
      style: this.style,
      tuning: this.tuning.value,
      controls: this.controls.value,
    };
  }

  /** The settings for what no control network can steer: upscaling, and painting what a shot lacks. */
  unsteered(): Settings {
    return { ...this.settings(), controls: [] };
  }

  /** After a run: another seed, unless this one is locked. */
  nextSeed(): void {
    if (!this.seedLocked) this.seed = rollSeed();
  }

  dice(): void {
    this.seed = rollSeed();
  }

  remember(): void {
    this.history = [...this.history.filter((one) => one !== this.prompt), this.prompt].slice(-50);
    this.#back = 0;
  }

  /** One prompt back (-1) or on (1) in the list of those used. */
  recall(direction: -1 | 1): boolean {
    const back = this.#back - direction;
    if (back < 0 || back > this.history.length) return false;
    if (this.#back === 0) this.#draft = this.prompt;
    this.#back = back;
    this.prompt = back === 0 ? this.#draft : (this.history.at(-back) ?? this.prompt);
    return true;
  }

  /** Everything as it was for a picture there is, so that it can be made again. */
  reuse(generation: GenerationView, take: TakeView): void {
    // The words that it was asked for have their style already.
    this.prompt = literal(take.prompt);
    this.style = null;
    this.tuning.value = generation.tuning;
    this.controls.value = generation.controls;
    this.negative = generation.negative;
    this.steps = generation.steps;
    this.guidance = generation.guidance;
    this.sampler = generation.sampler;
    this.seed = take.seed;
    this.seedLocked = true;
  }
}
