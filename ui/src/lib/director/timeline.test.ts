import { describe, expect, it } from "vitest";
import type { MoveView } from "../backend/types";
import { bezierOf, dragged, easingName, framesFor, rateText, refitted, ticks, timecode } from "./timeline";

const move = (from: number, to: number): MoveView => ({
  kind: "pan",
  from,
  to,
  start: 0,
  end: 10,
  startDial: 0,
  endDial: 2.2,
  easing: "in-out",
});

describe("the timeline", () => {
  it("writes time as minutes, seconds, pictures", () => {
    expect(timecode(0, 24)).toBe("00:00.00");
    expect(timecode(58, 24)).toBe("00:02.10");
    expect(timecode(24 * 75 + 3, 24)).toBe("01:15.03");
  });

  it("has at least one picture, and rounds as the film does", () => {
    expect(framesFor(4, 24)).toBe(96);
    expect(framesFor(0, 24)).toBe(1);
    expect(framesFor(1, 24000 / 1001)).toBe(24);
  });

  it("names rates", () => {
    expect(rateText({ rateNumerator: 24, rateDenominator: 1 })).toBe("24 fps");
    expect(rateText({ rateNumerator: 24000, rateDenominator: 1001 })).toBe("23.976 fps");
  });

  it("thins the marks out with the room there is", () => {
    expect(ticks(96, 24, 600).map((mark) => mark.label)).toEqual([
      "0",
      "0.5 s",
      "1 s",
      "1.5 s",
      "2 s",
      "2.5 s",
      "3 s",
      "3.5 s",
      "4 s",
    ]);
    expect(ticks(96, 24, 120).map((mark) => mark.label)).toEqual(["0", "2 s", "4 s"]);
    expect(ticks(96, 24, 600)[2]?.picture).toBe(24);
  });

  it("drags ends and bodies, within the shot and never inside out", () => {
    expect(dragged(move(10, 50), "from", 20, 96)).toMatchObject({ from: 30, to: 50 });
    expect(dragged(move(10, 50), "from", 200, 96)).toMatchObject({ from: 49, to: 50 });
    expect(dragged(move(10, 50), "to", 200, 96)).toMatchObject({ from: 10, to: 95 });
    expect(dragged(move(10, 50), "to", -200, 96)).toMatchObject({ from: 10, to: 11 });
    expect(dragged(move(10, 50), "body", 200, 96)).toMatchObject({ from: 55, to: 95 });
    expect(dragged(move(10, 50), "body", -200, 96)).toMatchObject({ from: 0, to: 40 });
  });

  it("lets what ended with the film end with it still", () => {
    expect(refitted([move(0, 95), move(10, 40), move(60, 80)], 96, 48)).toMatchObject([
      { from: 0, to: 47 },
      { from: 10, to: 40 },
      { from: 46, to: 47 },
    ]);
    expect(refitted([move(0, 95)], 96, 240)).toMatchObject([{ from: 0, to: 239 }]);
  });

  it("knows easings by name and by curve", () => {
    expect(easingName({ "cubic-bezier": [0.333, 0, 0.667, 1] })).toBe("easy");
    expect(easingName({ "cubic-bezier": [0.1, 0.2, 0.3, 0.4] })).toBe("custom");
    expect(bezierOf("in-out")).toEqual([0.42, 0, 0.58, 1]);
    expect(bezierOf("hold")).toBeNull();
  });
});
