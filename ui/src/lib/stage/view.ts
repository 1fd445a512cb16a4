import type { Point, Rect } from "../backend/types";

/** What the stage shows: the canvas point at its upper left corner, and CSS pixels per canvas pixel. */
export type View = { x: number; y: number; zoom: number };
export type Size = { width: number; height: number };

export const MIN_ZOOM = 0.02;
export const MAX_ZOOM = 32;
const STOPS = [0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32];

export const clamp = (value: number, low: number, high: number): number =>
  Math.min(high, Math.max(low, value));
export const clampZoom = (zoom: number): number => clamp(zoom, MIN_ZOOM, MAX_ZOOM);

export function toCanvas(view: View, screen: Point): Point {
  return { x: view.x + screen.x / view.zoom, y: view.y + screen.y / view.zoom };
}

export function toScreen(view: View, canvas: Point): Point {
  return { x: (canvas.x - view.x) * view.zoom, y: (canvas.y - view.y) * view.zoom };
}

export function rectToScreen(view: View, rect: Rect): Rect {
  const corner = toScreen(view, rect);
  return { ...corner, width: rect.width * view.zoom, height: rect.height * view.zoom };
}

/** Zooms so that the canvas point under `at` (screen) stays there. */
export function zoomAt(view: View, at: Point, zoom: number): View {
  const next = clampZoom(zoom);
  const fixed = toCanvas(view, at);
  return { x: fixed.x - at.x / next, y: fixed.y - at.y / next, zoom: next };
}

export function pan(view: View, dx: number, dy: number): View {
  return { ...view, x: view.x - dx / view.zoom, y: view.y - dy / view.zoom };
}

/** The next round zoom above or below. */
export function nextZoom(zoom: number, direction: 1 | -1): number {
  if (direction > 0) return STOPS.find((stop) => stop > zoom * 1.01) ?? MAX_ZOOM;
  return STOPS.findLast((stop) => stop < zoom / 1.01) ?? MIN_ZOOM;
}

/** Shows the whole rectangle in the middle, with `margin` CSS pixels around it, at most at its own size times `most`. */
export function fit(rect: Rect, size: Size, margin: number, most = 2): View {
  const width = Math.max(1, size.width - 2 * margin);
  const height = Math.max(1, size.height - 2 * margin);
  const zoom = clampZoom(Math.min(width / Math.max(1, rect.width), height / Math.max(1, rect.height), most));
  return centred({ x: rect.x + rect.width / 2, y: rect.y + rect.height / 2 }, size, zoom);
}

export function centred(middle: Point, size: Size, zoom: number): View {
  return { x: middle.x - size.width / 2 / zoom, y: middle.y - size.height / 2 / zoom, zoom };
}

export function seen(view: View, size: Size): Rect {
  return { x: view.x, y: view.y, width: size.width / view.zoom, height: size.height / view.zoom };
}

export function intersects(a: Rect, b: Rect): boolean {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
}

export function contains(rect: Rect, point: Point): boolean {
  return (
    point.x >= rect.x && point.y >= rect.y && point.x < rect.x + rect.width && point.y < rect.y + rect.height
  );
}

export function union(a: Rect, b: Rect): Rect {
  const x = Math.min(a.x, b.x);
  const y = Math.min(a.y, b.y);
  return {
    x,
    y,
    width: Math.max(a.x + a.width, b.x + b.width) - x,
    height: Math.max(a.y + a.height, b.y + b.height) - y,
  };
}
