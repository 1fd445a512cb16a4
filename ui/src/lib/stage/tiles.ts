import type { Rect } from "../backend/types";
import { intersects, seen, type Size, type View } from "./view";

/** One picture of the pyramid: `TILE * 2^level` canvas pixels wide, shown by `TILE` pixels. */
export type TileId = { level: number; x: number; y: number };

export const TILE = 512;
const MAX_LEVEL = 8;

export const tileKey = (id: TileId): string => `${id.level}/${id.x}/${id.y}`;

export function tileRect(id: TileId, tile = TILE): Rect {
  const side = tile * 2 ** id.level;
  return { x: id.x * side, y: id.y * side, width: side, height: side };
}

/** The coarsest level that still has a picture pixel for each of the screen's. */
export function levelFor(zoom: number, pixelRatio: number): number {
  const level = Math.floor(-Math.log2(zoom * pixelRatio) + 1e-6);
  return Math.min(MAX_LEVEL, Math.max(0, level));
}

/** The tiles of a level that a rectangle touches, those next to its middle first. */
export function tilesIn(rect: Rect, level: number, tile = TILE): TileId[] {
  const side = tile * 2 ** level;
  const tiles: TileId[] = [];
  for (let y = Math.floor(rect.y / side); y * side < rect.y + rect.height; y++) {
    for (let x = Math.floor(rect.x / side); x * side < rect.x + rect.width; x++) tiles.push({ level, x, y });
  }
  const middle = { x: (rect.x + rect.width / 2) / side - 0.5, y: (rect.y + rect.height / 2) / side - 0.5 };
  const distance = (id: TileId): number => Math.hypot(id.x - middle.x, id.y - middle.y);
  return tiles.sort((a, b) => distance(a) - distance(b));
}

/** The tile of the next coarser level that holds this one. */
export const parent = (id: TileId): TileId => ({
  level: id.level + 1,
  x: Math.floor(id.x / 2),
  y: Math.floor(id.y / 2),
});

type Entry<P> = {
  id: TileId;
  picture: P | null;
  /** The shown picture is of an older state of the canvas. */
  stale: boolean;
  /** The request under way; a later change makes its answer stale on arrival. */
  fetching: { outdated: boolean; cancel: () => void } | null;
  failures: number;
  used: number;
};

export type TileSource<P> = (id: TileId) => { picture: Promise<P>; cancel: () => void };
export type Placed<P> = { picture: P; rect: Rect; source: Rect };

/**
 * The tiles that the stage has, wants and shows. What is shown stays until something newer or finer has arrived;
 * only what a change touched is asked for again.
 */
export class TileStore<P> {
  readonly #entries = new Map<string, Entry<P>>();
  readonly #source: TileSource<P>;
  readonly #changed: () => void;
  readonly #limit: number;
  readonly #inFlight: number;
  readonly #tile: number;
  #bounds: Rect | null = null;
  #wanted: TileId[] = [];
  #flying = 0;
  #clock = 0;

  constructor(
    source: TileSource<P>,
    changed: () => void,
    options: { limit?: number; inFlight?: number; tile?: number } = {},
  ) {
    this.#source = source;
    this.#changed = changed;
    this.#limit = options.limit ?? 192;
    this.#inFlight = options.inFlight ?? 6;
    this.#tile = options.tile ?? TILE;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Nothing asked for, nothing under way, nothing old in what was last looked at. */
  get settled(): boolean {
    return this.#flying === 0 && this.#wanted.every((id) => !this.#needs(id));
  }

  /** Everything goes: another project. */
  clear(): void {
    for (const entry of this.#entries.values()) entry.fetching?.cancel();
    this.#entries.clear();
    this.#wanted = [];
    this.#flying = 0;
    this.#bounds = null;
  }

  /** Where there are pixels at all; nothing is asked for beyond. */
  setBounds(bounds: Rect | null): void {
    this.#bounds = bounds;
  }

  /** The canvas changed in these rectangles; `null`: anywhere. */
  invalidate(dirty: Rect[] | null): void {
    for (const entry of this.#entries.values()) {
      const rect = tileRect(entry.id, this.#tile);
      // A pixel of a coarse level is mixed from its neighbours too: one of its pixels around counts.
      const reach = 2 ** entry.id.level;
      if (dirty && !dirty.some((one) => intersects(grown(one, reach), rect))) continue;
      entry.stale = true;
      entry.failures = 0;
      if (entry.fetching) entry.fetching.outdated = true;
    }
    this.#pump();
  }

  /** Says what is looked at, and asks for what is lacking: the visible first. */
  look(view: View, size: Size, pixelRatio: number): void {
    const level = levelFor(view.zoom, pixelRatio);
    this.#wanted = this.#bounds
      ? tilesIn(seen(view, size), level, this.#tile).filter((id) => this.#inside(id))
      : [];
    // What scrolled out of sight need not arrive.
    const keep = new Set(this.#wanted.map(tileKey));
    for (const [key, entry] of this.#entries) {
      if (!entry.fetching || keep.has(key)) continue;
      entry.fetching.cancel();
      entry.fetching = null;
      this.#flying--;
    }
    this.#pump();
  }

  /** What to draw for a view, the coarse first: each wanted tile, or what else is known of its place. */
  draw(view: View, size: Size, pixelRatio: number): Placed<P>[] {
    if (!this.#bounds) return [];
    const level = levelFor(view.zoom, pixelRatio);
    const placed: Placed<P>[] = [];
    for (const id of tilesIn(seen(view, size), level, this.#tile)) {
      if (!this.#inside(id)) continue;
      const own = this.#entries.get(tileKey(id));
      if (own?.picture) {
        placed.push(this.#whole(own, own.picture));
        continue;
      }
      // Either a coarser tile's part or the finer ones, never both: pictures may be translucent.
      const coarser = this.#coarser(id);
      if (coarser) placed.push(coarser);
      else placed.push(...this.#finer(id, 3));
    }
    return placed;
  }

  #inside(id: TileId): boolean {
    return this.#bounds !== null && intersects(this.#bounds, tileRect(id, this.#tile));
  }

  #whole(entry: Entry<P>, picture: P): Placed<P> {
    entry.used = ++this.#clock;
    return {
      picture,
      rect: tileRect(entry.id, this.#tile),
      source: { x: 0, y: 0, width: this.#tile, height: this.#tile },
    };
  }

  #coarser(id: TileId): Placed<P> | null {
    for (let up = parent(id); up.level <= MAX_LEVEL; up = parent(up)) {
      const entry = this.#entries.get(tileKey(up));
      if (!entry?.picture) continue;
      entry.used = ++this.#clock;
      const part = 2 ** (up.level - id.level);
      const side = this.#tile / part;
      return {
        picture: entry.picture,
        rect: tileRect(id, this.#tile),
        source: { x: (id.x - up.x * part) * side, y: (id.y - up.y * part) * side, width: side, height: side },
      };
    }
    return null;
  }

  #finer(id: TileId, depth: number): Placed<P>[] {
    if (depth === 0 || id.level === 0) return [];
    const placed: Placed<P>[] = [];
    for (const [dx, dy] of [
      [0, 0],
      [1, 0],
      [0, 1],
      [1, 1],
    ] as const) {
      const child = { level: id.level - 1, x: id.x * 2 + dx, y: id.y * 2 + dy };
      const entry = this.#entries.get(tileKey(child));
      if (entry?.picture) placed.push(this.#whole(entry, entry.picture));
      else placed.push(...this.#finer(child, depth - 1));
    }
    return placed;
  }

  #needs(id: TileId): boolean {
    const entry = this.#entries.get(tileKey(id));
    if (!entry) return true;
    return !entry.fetching && entry.failures < 3 && (entry.stale || !entry.picture);
  }

  #pump(): void {
    for (const id of this.#wanted) {
      if (this.#flying >= this.#inFlight) return;
      if (this.#needs(id)) this.#fetch(id);
    }
  }

  #fetch(id: TileId): void {
    const key = tileKey(id);
    let entry = this.#entries.get(key);
    if (!entry) {
      entry = { id, picture: null, stale: true, fetching: null, failures: 0, used: ++this.#clock };
      this.#entries.set(key, entry);
    }
    const at = entry;
    const request = this.#source(id);
    const fetching = { outdated: false, cancel: request.cancel };
    at.fetching = fetching;
    this.#flying++;
    request.picture
      .then(
        (picture) => {
          if (at.fetching !== fetching) return;
          at.picture = picture;
          at.stale = fetching.outdated;
          at.failures = 0;
        },
        () => {
          if (at.fetching === fetching) at.failures++;
        },
      )
      .finally(() => {
        // Cancelled or cleared meanwhile: already counted.
        if (at.fetching !== fetching) return;
        at.fetching = null;
        this.#flying--;
        this.#evict();
        this.#changed();
        this.#pump();
      })
      .catch(() => undefined);
  }

  #evict(): void {
    if (this.#entries.size <= this.#limit) return;
    const keep = new Set(this.#wanted.map(tileKey));
    const idle = [...this.#entries].filter(([key, entry]) => !keep.has(key) && !entry.fetching);
    idle.sort(([, a], [, b]) => a.used - b.used);
    for (const [key] of idle.slice(0, this.#entries.size - this.#limit)) this.#entries.delete(key);
  }
}

function grown(rect: Rect, by: number): Rect {
  return { x: rect.x - by, y: rect.y - by, width: rect.width + 2 * by, height: rect.height + 2 * by };
}
