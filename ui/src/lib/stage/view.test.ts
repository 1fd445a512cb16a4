import { describe, expect, it } from "vitest";
import { fit, MAX_ZOOM, MIN_ZOOM, nextZoom, pan, toCanvas, toScreen, union, zoomAt } from "./view";

describe("the view", () => {
  const view = { x: -120.5, y: 33, zoom: 0.75 };

  it("turns screen points into canvas points and back", () => {
    const back = toScreen(view, toCanvas(view, { x: 311, y: 7 }));
    expect(back.x).toBeCloseTo(311, 9);
    expect(back.y).toBeCloseTo(7, 9);
  });

  it("zooms about the pointer: the canvas point under it stays", () => {
    const at = { x: 400, y: 120 };
    const before = toCanvas(view, at);
    for (const zoom of [0.1, 1, 7.3]) {
      const after = toCanvas(zoomAt(view, at, zoom), at);
      expect(after.x).toBeCloseTo(before.x, 9);
      expect(after.y).toBeCloseTo(before.y, 9);
    }
  });

  it("stays within its zooms", () => {
    expect(zoomAt(view, { x: 0, y: 0 }, 1e9).zoom).toBe(MAX_ZOOM);
    expect(zoomAt(view, { x: 0, y: 0 }, 0).zoom).toBe(MIN_ZOOM);
    expect(nextZoom(MAX_ZOOM, 1)).toBe(MAX_ZOOM);
    expect(nextZoom(MIN_ZOOM, -1)).toBe(MIN_ZOOM);
  });

  it("pans by screen pixels at any zoom", () => {
    const moved = pan(view, 30, -15);
    const point = toScreen(moved, toCanvas(view, { x: 100, y: 100 }));
    expect(point.x).toBeCloseTo(130, 9);
    expect(point.y).toBeCloseTo(85, 9);
  });

  it("steps through round zooms", () => {
    expect(nextZoom(1, 1)).toBe(1.5);
    expect(nextZoom(1, -1)).toBe(0.75);
    expect(nextZoom(0.94, 1)).toBe(1);
  });

  it("fits a rectangle whole, in the middle, with its margin", () => {
    const rect = { x: 100, y: -50, width: 1600, height: 400 };
    const size = { width: 900, height: 700 };
    const fitted = fit(rect, size, 50);
    const corner = toScreen(fitted, rect);
    expect(corner.x).toBeCloseTo(50, 6);
    const far = toScreen(fitted, { x: 1700, y: 350 });
    expect(far.x).toBeCloseTo(850, 6);
    expect(corner.y + far.y).toBeCloseTo(700, 6);
  });

  it("does not blow a small picture up beyond the limit", () => {
    expect(fit({ x: 0, y: 0, width: 8, height: 8 }, { width: 900, height: 700 }, 50).zoom).toBe(2);
  });

  it("joins rectangles", () => {
    expect(union({ x: 0, y: 0, width: 10, height: 10 }, { x: -5, y: 8, width: 2, height: 20 })).toEqual({
      x: -5,
      y: 0,
      width: 15,
      height: 28,
    });
  });
});
