import { describe, expect, it } from "vitest";
import type { MoveKindInfo } from "../backend/types";
import { amountOf, amountText, clampDial, dialOf, dialText, newMove, parseDial, turned } from "./dial";

const truck: MoveKindInfo = {
  kind: "truck",
  label: "Truck",
  unit: "frame widths",
  axis: "x",
  positive: "right",
  negative: "left",
  rest: 0,
  dialPerUnit: 10,
  logarithmic: false,
};
const pan: MoveKindInfo = { ...truck, kind: "pan", unit: "°", dialPerUnit: 10 / 45 };
const zoom: MoveKindInfo = {
  ...truck,
  kind: "zoom",
  unit: "x",
  rest: 1,
  dialPerUnit: null,
  logarithmic: true,
};
const handheld: MoveKindInfo = {
  ...truck,
  kind: "handheld",
  unit: "% of the frame",
  dialPerUnit: 2,
  positive: "",
  negative: "",
};

describe("dials", () => {
  it("are the same after a turn into units and back, at every tenth", () => {
    for (const info of [truck, pan, zoom]) {
      for (let tenths = -100; tenths <= 100; tenths++) {
        const dial = tenths / 10;
        expect(clampDial(dialOf(amountOf(dial, info), info), info)).toBe(dial);
      }
    }
  });

  it("mean what the camera's page says", () => {
    expect(amountOf(10, truck)).toBeCloseTo(1);
    expect(amountOf(-10, pan)).toBeCloseTo(-45);
    expect(amountOf(10, zoom)).toBeCloseTo(4);
    expect(amountOf(-10, zoom)).toBeCloseTo(0.25);
    expect(amountOf(0, zoom)).toBe(1);
    expect(amountOf(10, handheld)).toBeCloseTo(5);
  });

  it("have one decimal, end at ten, and no negative side where the move has none", () => {
    expect(clampDial(3.14159, truck)).toBe(3.1);
    expect(clampDial(99, truck)).toBe(10);
    expect(clampDial(-99, truck)).toBe(-10);
    expect(clampDial(-3, handheld)).toBe(0);
    expect(Object.is(clampDial(-0.01, truck), 0)).toBe(true);
  });

  it("read and write as a person does", () => {
    expect(dialText(3.5)).toBe("+3.5");
    expect(dialText(-2)).toBe("−2.0");
    expect(dialText(-0.04)).toBe("0.0");
    expect(parseDial("−2,5")).toBe(-2.5);
    expect(parseDial("40")).toBe(10);
    expect(parseDial("fast")).toBeNull();
    expect(parseDial(" ")).toBeNull();
  });

  it("tell amounts in words", () => {
    expect(amountText(0.35, truck)).toBe("right 0.35 widths");
    expect(amountText(-4.5, pan)).toBe("left 4.5°");
    expect(amountText(1.5, zoom)).toBe("1.50×");
    expect(amountText(0, truck)).toBe("at rest");
    expect(amountText(-0.2, { ...truck, unit: "of the distance", positive: "in", negative: "out" })).toBe(
      "out 20 %",
    );
    expect(amountText(1.5, handheld)).toBe("1.5 %");
  });
});

describe("turning a dial", () => {
  it("adds a move over the whole shot", () => {
    const moves = turned([], 96, truck, 3.5, true);
    expect(moves).toHaveLength(1);
    expect(moves[0]).toMatchObject({ kind: "truck", from: 0, to: 95, start: 0, easing: "in-out" });
    expect(moves[0]?.end).toBeCloseTo(0.35);
  });

  it("changes only the end of the first move of its kind", () => {
    const before = [
      newMove(pan, 96, 10),
      { ...newMove(truck, 96, 0.2), start: 0.1, from: 12 },
      newMove(truck, 96, 0.9),
    ];
    const after = turned(before, 96, truck, -5, true);
    expect(after[0]).toBe(before[0]);
    expect(after[1]).toMatchObject({ start: 0.1, from: 12 });
    expect(after[1]?.end).toBeCloseTo(-0.5);
    expect(after[2]).toBe(before[2]);
  });

  it("takes the move away at rest, but only when the hand lets go and nothing starts off rest", () => {
    const one = [newMove(truck, 96, 0.2)];
    expect(turned(one, 96, truck, 0, false)).toHaveLength(1);
    expect(turned(one, 96, truck, 0, true)).toHaveLength(0);
    expect(turned([{ ...one[0]!, start: 0.3 }], 96, truck, 0, true)).toHaveLength(1);
    expect(turned([], 96, truck, 0, true)).toHaveLength(0);
  });
});
