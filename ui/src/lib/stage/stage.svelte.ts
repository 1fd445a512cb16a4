import type { Point, ProjectView, Rect } from "../backend/types";
import { centred, fit, nextZoom, toCanvas, zoomAt, type Size, type View } from "./view";

type Tiles = { clear(): void; setBounds(bounds: Rect | null): void; invalidate(dirty: Rect[] | null): void };

/** Where the stage looks, and what it tells its tiles. */
export class StageState {
  view = $state.raw<View>({ x: -256, y: -256, zoom: 1 });
  size = $state.raw<Size>({ width: 0, height: 0 });
  /** The canvas point under the pointer. */
  cursor = $state.raw<Point | null>(null);
  /** Upper left corner in the window, in CSS pixels. */
  origin: Point = { x: 0, y: 0 };
  #tiles: Tiles | null = null;
  #project: ProjectView | null = null;
  #pendingFit: Rect | null = null;

  attach(tiles: Tiles): void {
    this.#tiles = tiles;
    tiles.setBounds(this.#project?.bounds ?? null);
  }

  reset(project: ProjectView | null): void {
    this.#project = project;
    this.#tiles?.clear();
    this.#tiles?.setBounds(project?.bounds ?? null);
  }

  changed(project: ProjectView, dirty: Rect[] | null): void {
    this.#project = project;
    this.#tiles?.setBounds(project.bounds);
    this.#tiles?.invalidate(dirty);
  }

  resize(size: Size): void {
    const middle =
      this.size.width > 0 ? toCanvas(this.view, { x: this.size.width / 2, y: this.size.height / 2 }) : null;
    this.size = size;
    if (this.#pendingFit && size.width > 0) this.fit(this.#pendingFit);
    else if (middle) this.view = centred(middle, size, this.view.zoom);
  }

  /** Shows the rectangle whole, now and once more when the stage next changes its size: panels come and go. */
  fitAgain(rect: Rect): void {
    this.fit(rect);
    this.#pendingFit = rect;
    setTimeout(() => {
      if (this.#pendingFit === rect) this.#pendingFit = null;
    }, 300);
  }

  /** Shows the rectangle whole; as soon as the stage has a size. */
  fit(rect: Rect): void {
    if (this.size.width === 0) {
      this.#pendingFit = rect;
      return;
    }
    this.#pendingFit = null;
    this.view = fit(rect, this.size, Math.min(96, this.size.height / 6));
  }

  zoomBy(direction: 1 | -1): void {
    this.zoomTo(nextZoom(this.view.zoom, direction));
  }

  zoomTo(zoom: number): void {
    this.view = zoomAt(this.view, { x: this.size.width / 2, y: this.size.height / 2 }, zoom);
  }

  /** A point of the window, in CSS pixels, on the canvas. */
  fromWindow(point: Point): Point {
    return toCanvas(this.view, { x: point.x - this.origin.x, y: point.y - this.origin.y });
  }

  holds(point: Point): boolean {
    const x = point.x - this.origin.x;
    const y = point.y - this.origin.y;
    return x >= 0 && y >= 0 && x < this.size.width && y < this.size.height;
  }
}
