import { describe, expect, it } from "vitest";
import { pictureAt, previewWidth, toFetch, toShow } from "./playback";

describe("playback", () => {
  it("keeps the time", () => {
    expect(pictureAt(0, 0, 24, 96, false)).toBe(0);
    expect(pictureAt(0, 1, 24, 96, false)).toBe(24);
    expect(pictureAt(90, 0.25, 24, 96, false)).toBeNull();
    expect(pictureAt(90, 0.25, 24, 96, true)).toBe(0);
  });

  it("fetches each next picture when answers are quick", () => {
    expect(toFetch(10, 96, 24, 0.04, 3, false)).toEqual([11, 12, 13, 14, 15, 16]);
  });

  it("skips ahead and leaves pictures out when they are slow", () => {
    // Half a second each, three at a time: every fourth can be had.
    const wanted = toFetch(10, 96, 24, 0.5, 3, false);
    expect(wanted[0]).toBeGreaterThanOrEqual(22);
    expect(wanted.slice(0, 3)).toEqual([24, 28, 32]);
  });

  it("goes round at the end only when it begins again", () => {
    expect(toFetch(95, 96, 24, 0.04, 2, false)).toEqual([]);
    expect(toFetch(95, 96, 24, 0.04, 2, true)).toEqual([0, 1, 2, 3]);
  });

  it("shows the newest picture at hand, but not one long past", () => {
    const had = new Set([3, 7]);
    expect(toShow(9, (picture) => had.has(picture), 24)).toBe(7);
    expect(toShow(9, (picture) => had.has(picture), 1)).toBeNull();
  });

  it("asks for few different widths, and small ones while playing", () => {
    expect(previewWidth(700, 1, false)).toBe(960);
    expect(previewWidth(700, 2, true)).toBe(640);
    expect(previewWidth(264, 1, false)).toBe(320);
  });
});
