import { describe, expect, it } from "vitest";
import {
  between,
  extendStroke,
  MAX_BRUSH,
  MIN_BRUSH,
  nextBrush,
  pathOf,
  regionBounds,
  worthKeeping,
} from "./region";
import { RegionState } from "./region.svelte";

describe("regions", () => {
  it("makes whole-pixel rectangles from any two corners", () => {
    expect(between({ x: 10.4, y: 20.6 }, { x: 2.2, y: 30.1 })).toEqual({ x: 2, y: 20, width: 9, height: 11 });
  });

  it("bounds strokes with their width and leaves out what is taken away", () => {
    const bounds = regionBounds({
      shapes: [
        {
          kind: "stroke",
          points: [
            { x: 0, y: 0 },
            { x: 100, y: 0 },
          ],
          radius: 10,
          subtract: false,
        },
        { kind: "rect", rect: { x: 500, y: 500, width: 9, height: 9 }, subtract: true },
      ],
    });
    expect(bounds).toEqual({ x: -10, y: -10, width: 120, height: 20 });
    expect(regionBounds({ shapes: [] })).toBeNull();
  });

  it("thins out strokes", () => {
    const one = extendStroke([], { x: 1.23456, y: 2 }, 3);
    expect(one).toEqual([{ x: 1.23, y: 2 }]);
    expect(extendStroke(one, { x: 3, y: 2 }, 3)).toBe(one);
    expect(extendStroke(one, { x: 6, y: 2 }, 3)).toHaveLength(2);
  });

  it("keeps brushes within bounds and always changes them", () => {
    let radius = MIN_BRUSH;
    for (let step = 0; step < 60; step++) {
      const next = nextBrush(radius, 1);
      expect(next > radius || next === MAX_BRUSH).toBe(true);
      radius = next;
    }
    expect(radius).toBe(MAX_BRUSH);
    for (let step = 0; step < 60; step++) radius = nextBrush(radius, -1);
    expect(radius).toBe(MIN_BRUSH);
  });

  it("draws a dab as a dot and closes a lasso", () => {
    expect(pathOf([{ x: 1, y: 2 }], false)).toBe("M1 2L1 2");
    expect(
      pathOf(
        [
          { x: 0, y: 0 },
          { x: 1, y: 0 },
          { x: 1, y: 1 },
        ],
        true,
      ),
    ).toBe("M0 0L1 0L1 1Z");
  });

  it("drops what covers nothing", () => {
    expect(worthKeeping({ kind: "rect", rect: { x: 0, y: 0, width: 1, height: 90 }, subtract: false })).toBe(
      false,
    );
    expect(
      worthKeeping({
        kind: "lasso",
        points: [
          { x: 0, y: 0 },
          { x: 9, y: 9 },
        ],
        subtract: false,
      }),
    ).toBe(false);
    expect(worthKeeping({ kind: "stroke", points: [{ x: 0, y: 0 }], radius: 4, subtract: false })).toBe(true);
  });
});

describe("the region being painted", () => {
  it("collects shapes, takes the last back, and ignores erasing nothing", () => {
    const region = new RegionState();
    region.current = { kind: "stroke", points: [{ x: 0, y: 0 }], radius: 8, subtract: true };
    region.finish();
    expect(region.shapes).toHaveLength(0);
    region.current = { kind: "rect", rect: { x: 0, y: 0, width: 40, height: 30 }, subtract: false };
    expect(region.drawn).toHaveLength(1);
    region.finish();
    region.current = { kind: "stroke", points: [{ x: 0, y: 0 }], radius: 8, subtract: true };
    region.finish();
    expect(region.shapes).toHaveLength(2);
    expect(region.bounds).toEqual({ x: 0, y: 0, width: 40, height: 30 });
    region.back();
    region.back();
    expect(region.empty).toBe(true);
  });
});
