/** Which pictures to fetch, and which to show, so that a film keeps its time on a machine that cannot keep up. */

export const nextPicture = (picture: number, by: number): number => Math.max(0, picture + by);

/** The picture at a moment, for a film started at `from`; `null` when it is over and does not begin again. */
export function pictureAt(
  from: number,
  seconds: number,
  rate: number,
  frames: number,
  loop: boolean,
): number | null {
  const at = from + Math.floor(seconds * rate + 1e-6);
  if (at < frames) return at;
  return loop ? at % frames : null;
}

/**
 * What to ask for next: the picture that will be due when an answer asked for now arrives, and those after it. With a
 * slow answer every n-th only, so that what comes is still of use.
 */
export function toFetch(
  playhead: number,
  frames: number,
  rate: number,
  latency: number,
  slots: number,
  loop: boolean,
): number[] {
  // Answers per second, with all slots busy, against pictures per second.
  const stride = Math.max(1, Math.ceil((latency * rate) / Math.max(1, slots) - 1e-6));
  const ahead = Math.max(0, Math.ceil(latency * rate));
  const wanted: number[] = [];
  const start = Math.ceil((playhead + ahead) / stride) * stride;
  for (let index = 0; index < slots * 2; index++) {
    const at = start + index * stride;
    if (at < frames) wanted.push(at);
    else if (loop) wanted.push(at % frames);
  }
  return [...new Set(wanted)];
}

/** Of the pictures at hand the one to show: the playhead's, else the nearest before it. */
export function toShow(playhead: number, has: (picture: number) => boolean, back: number): number | null {
  for (let at = playhead; at >= Math.max(0, playhead - back); at--) if (has(at)) return at;
  return null;
}

/** A width from a short list, so that pictures can be used again when the panel is resized a little. */
export function previewWidth(shown: number, pixelRatio: number, playing: boolean): number {
  const widths = [320, 480, 640, 960, 1280];
  const wanted = shown * pixelRatio;
  const width = widths.find((one) => one >= wanted) ?? 1280;
  return playing ? Math.min(width, 640) : width;
}

type Slot = { image: HTMLImageElement; used: number };

/** Pictures of one state of a shot, fetched a few at a time. */
export class FilmCache {
  readonly #slots = new Map<string, Slot>();
  readonly #flying = new Map<string, HTMLImageElement>();
  readonly #limit: number;
  #clock = 0;
  /** Seconds from question to decoded picture, smoothed. */
  latency = 0.05;

  constructor(limit = 240) {
    this.#limit = limit;
  }

  get flying(): number {
    return this.#flying.size;
  }

  get(url: string): HTMLImageElement | null {
    const slot = this.#slots.get(url);
    if (!slot) return null;
    slot.used = ++this.#clock;
    return slot.image;
  }

  has(url: string): boolean {
    return this.#slots.has(url);
  }

  /** Fetches unless it is there or on its way. */
  fetch(url: string, done: () => void): void {
    if (this.#slots.has(url) || this.#flying.has(url)) return;
    const image = new Image();
    image.crossOrigin = "anonymous";
    const began = performance.now();
    this.#flying.set(url, image);
    image.src = url;
    image
      .decode()
      .then(
        () => {
          if (this.#flying.get(url) !== image) return;
          this.latency = this.latency * 0.7 + ((performance.now() - began) / 1000) * 0.3;
          this.#slots.set(url, { image, used: ++this.#clock });
          this.#evict();
        },
        () => undefined,
      )
      .finally(() => {
        if (this.#flying.get(url) === image) this.#flying.delete(url);
        done();
      })
      .catch(() => undefined);
  }

  clear(): void {
    for (const image of this.#flying.values()) image.src = "";
    this.#flying.clear();
    this.#slots.clear();
  }

  #evict(): void {
    if (this.#slots.size <= this.#limit) return;
    const oldest = [...this.#slots].sort(([, a], [, b]) => a.used - b.used);
    for (const [url] of oldest.slice(0, this.#slots.size - this.#limit)) this.#slots.delete(url);
  }
}
