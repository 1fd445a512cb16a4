import { describe, expect, it } from "vitest";
import { ControlsState, pictureName } from "./controls.svelte";

describe("what steers a picture", () => {
  it("asks only for controls that have a picture", () => {
    const controls = new ControlsState();
    controls.add("scribble", null);
    controls.add("soft-edges", { kind: "frame" });
    expect(controls.value).toEqual([
      { network: "soft-edges", picture: { kind: "frame" }, scale: 1, start: 0, end: 1, canny: [100, 200] },
    ]);
    const [first] = controls.list;
    controls.change(first?.id ?? 0, { picture: { kind: "file", path: "/a/b.png" }, scale: 0.5 });
    expect(controls.value[0]).toMatchObject({ network: "scribble", scale: 0.5, canny: null });
    controls.remove(first?.id ?? 0);
    expect(controls.list.map((one) => one.network)).toEqual(["soft-edges"]);
  });

  it("takes those of a picture there is, each with an id of its own", () => {
    const controls = new ControlsState();
    controls.add("depth", null);
    const { value } = controls;
    controls.value = [
      ...value,
      { network: "a", picture: { kind: "stored", blob: "0" }, scale: 1, start: 0, end: 1, canny: null },
    ];
    controls.add("b", { kind: "frame" });
    expect(new Set(controls.list.map((one) => one.id)).size).toBe(2);
  });

  it("names pictures by their file", () => {
    expect(pictureName({ kind: "file", path: "C:\\pictures\\a.png" })).toBe("a.png");
    expect(pictureName({ kind: "file", path: "/pictures/b.png" })).toBe("b.png");
    expect(pictureName(null)).toBe("No picture chosen");
  });
});
