import { describe, expect, it } from "vitest";
import { about, defaultAmount, draggedAmount, hint, MAX_EXTEND, steppedAmount, strip } from "./extend";

const frame = { x: 10, y: 20, width: 300, height: 200 };

describe("extending", () => {
  it("offers half of the side, in steps of 8", () => {
    expect(defaultAmount(frame, "right")).toBe(152);
    expect(defaultAmount(frame, "up")).toBe(104);
  });

  it("reads a drag outwards only, in steps of 8 unless fine", () => {
    expect(draggedAmount("right", 61, 500, false)).toBe(64);
    expect(draggedAmount("right", 61.4, 0, true)).toBe(61);
    expect(draggedAmount("right", -61, 0, false)).toBe(0);
    expect(draggedAmount("left", -40, 0, false)).toBe(40);
    expect(draggedAmount("up", 0, -17, false)).toBe(16);
    expect(draggedAmount("down", 0, 1e6, false)).toBe(MAX_EXTEND);
  });

  it("steps with the arrow keys: outwards more, inwards less", () => {
    expect(steppedAmount("left", "ArrowLeft", 64, false)).toBe(72);
    expect(steppedAmount("left", "ArrowRight", 64, true)).toBe(0);
    expect(steppedAmount("up", "ArrowUp", 64, true)).toBe(128);
    expect(steppedAmount("up", "ArrowLeft", 64, false)).toBeNull();
  });

  it("knows what lies beyond each side", () => {
    expect(strip(frame, "left", 8)).toEqual({ x: 2, y: 20, width: 8, height: 200 });
    expect(strip(frame, "right", 8)).toEqual({ x: 310, y: 20, width: 8, height: 200 });
    expect(strip(frame, "up", 8)).toEqual({ x: 10, y: 12, width: 300, height: 8 });
    expect(strip(frame, "down", 8)).toEqual({ x: 10, y: 220, width: 300, height: 8 });
  });

  it("says what it will take", () => {
    expect(hint(128, { fills: 1, seconds: 3.2 })).toBe("+128 px · 1 fill · ~3 s");
    expect(hint(128, { fills: 2, seconds: null })).toBe("+128 px · 2 fills");
    expect(hint(128, { fills: 0, seconds: 0 })).toBe("+128 px · nothing to paint");
    expect(hint(64, null)).toBe("+64 px");
    expect(about(0.4)).toBe("under 1 s");
    expect(about(200)).toBe("~3 min");
  });
});
