import type { EmbeddingChoice, LoraChoice, Tuning } from "../backend/types";

export const PLAIN: Tuning = { loras: [], embeddings: [], clipSkip: 0, guidanceRescale: 0, vae: null };

/** What changes the model for the next pictures. */
export class TuningState {
  loras = $state.raw<LoraChoice[]>([]);
  embeddings = $state.raw<EmbeddingChoice[]>([]);
  clipSkip = $state(0);
  guidanceRescale = $state(0);
  vae = $state<string | null>(null);

  get value(): Tuning {
    const { loras, embeddings, clipSkip, guidanceRescale, vae } = this;
    return { loras, embeddings, clipSkip, guidanceRescale, vae };
  }

  set value(next: Tuning) {
    this.loras = next.loras;
    this.embeddings = next.embeddings;
    this.clipSkip = next.clipSkip;
    this.guidanceRescale = next.guidanceRescale;
    this.vae = next.vae;
  }

  addLora(name: string): void {
    if (!this.loras.some((lora) => lora.name === name)) this.loras = [...this.loras, { name, weight: 1 }];
  }

  weigh(name: string, weight: number): void {
    this.loras = this.loras.map((lora) => (lora.name === name ? { name, weight } : lora));
  }

  removeLora(name: string): void {
    this.loras = this.loras.filter((lora) => lora.name !== name);
  }

  addEmbedding(name: string): void {
    if (!this.embeddings.some((one) => one.name === name))
      this.embeddings = [...this.embeddings, { name, word: null }];
  }

  removeEmbedding(name: string): void {
    this.embeddings = this.embeddings.filter((one) => one.name !== name);
  }

  /** What is not as usual, in a few words: "2 LoRAs · clip skip 1". */
  get summary(): string {
    const some = (count: number, one: string): string =>
      count === 0 ? "" : count === 1 ? `1 ${one}` : `${count} ${one}s`;
    return [
      some(this.loras.length, "LoRA"),
      some(this.embeddings.length, "word"),
      this.clipSkip > 0 ? `clip skip ${this.clipSkip}` : "",
      this.guidanceRescale > 0 ? `rescale ${this.guidanceRescale.toFixed(2)}` : "",
      this.vae ? "other VAE" : "",
    ]
      .filter(Boolean)
      .join(" · ");
  }
}

/** A prompt that is taken at its word: its braces and list names stand for nothing else. */
export function literal(prompt: string): string {
  return prompt.replace(/__(?!_)[\p{L}\p{N}\-/_]*?[\p{L}\p{N}\-/]__|[{}]/gu, (found) => `\\${found}`);
}

/** Whether a prompt has alternatives or lists to be filled in. */
export function isTemplate(prompt: string): boolean {
  return literal(prompt) !== prompt && /(?<!\\)(?:[{]|__(?!_)[\p{L}\p{N}\-/_]+__)/u.test(prompt);
}

/** A prompt with some words more. */
export function withWords(prompt: string, words: string): string {
  const kept = prompt.trim().replace(/,$/, "");
  if (kept.toLowerCase().includes(words.toLowerCase())) return prompt;
  return kept === "" ? words : `${kept}, ${words}`;
}
