import type { Point, Rect, Region, RegionShape } from "../backend/types";
import { union } from "./view";

export const MIN_BRUSH = 4;
export const MAX_BRUSH = 512;

/** The next brush radius: about a fifth more or less, in whole pixels. */
export function nextBrush(radius: number, direction: 1 | -1): number {
  const next = direction > 0 ? Math.max(radius + 1, radius * 1.2) : Math.min(radius - 1, radius / 1.2);
  return Math.round(Math.min(MAX_BRUSH, Math.max(MIN_BRUSH, next)));
}

/** The rectangle between two points, in whole pixels. */
export function between(a: Point, b: Point): Rect {
  const x = Math.floor(Math.min(a.x, b.x));
  const y = Math.floor(Math.min(a.y, b.y));
  return {
    x,
    y,
    width: Math.ceil(Math.max(a.x, b.x)) - x,
    height: Math.ceil(Math.max(a.y, b.y)) - y,
  };
}

/** Adds a point to a stroke unless it is too close to the last to matter. */
export function extendStroke(points: Point[], next: Point, spacing: number): Point[] {
  const last = points.at(-1);
  if (last && Math.hypot(next.x - last.x, next.y - last.y) < spacing) return points;
  return [...points, { x: round(next.x), y: round(next.y) }];
}

const round = (value: number): number => Math.round(value * 100) / 100;

export function shapeBounds(shape: RegionShape): Rect | null {
  if (shape.kind === "rect") return shape.rect;
  if (shape.points.length === 0) return null;
  const reach = shape.kind === "stroke" ? shape.radius : 0;
  const xs = shape.points.map((point) => point.x);
  const ys = shape.points.map((point) => point.y);
  const x = Math.min(...xs) - reach;
  const y = Math.min(...ys) - reach;
  return { x, y, width: Math.max(...xs) + reach - x, height: Math.max(...ys) + reach - y };
}

/** Around all that was added; what was taken away may have made it smaller. `null` where nothing was added. */
export function regionBounds(region: Region): Rect | null {
  let bounds: Rect | null = null;
  for (const shape of region.shapes) {
    if (shape.subtract) continue;
    const own = shapeBounds(shape);
    if (own) bounds = bounds ? union(bounds, own) : own;
  }
  return bounds;
}

/** A finished shape that covers nothing is none. */
export function worthKeeping(shape: RegionShape): boolean {
  if (shape.kind === "rect") return shape.rect.width >= 2 && shape.rect.height >= 2;
  if (shape.kind === "lasso") {
    const bounds = shapeBounds(shape);
    return shape.points.length >= 3 && bounds !== null && bounds.width >= 2 && bounds.height >= 2;
  }
  return shape.points.length > 0;
}

/** The outline as SVG path data. */
export function pathOf(points: Point[], closed: boolean): string {
  if (points.length === 0) return "";
  const [first, ...rest] = points as [Point, ...Point[]];
  // A single dab: a line of no length, which round caps make a dot.
  const lines = rest.length > 0 ? rest : [first];
  return `M${first.x} ${first.y}${lines.map((point) => `L${point.x} ${point.y}`).join("")}${closed ? "Z" : ""}`;
}
