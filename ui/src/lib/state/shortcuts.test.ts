import { describe, expect, it } from "vitest";
import { isControl, isTyping, route, type KeyPress, type Where } from "./shortcuts";

const press = (key: string, change: Partial<KeyPress> = {}): KeyPress => ({
  key,
  ctrlKey: false,
  metaKey: false,
  shiftKey: false,
  altKey: false,
  ...change,
});
const where: Where = {
  typing: false,
  control: false,
  director: false,
  nativeMenu: false,
  nativePaste: false,
};
const ctrl = { ctrlKey: true };

describe("shortcuts", () => {
  it("choose tools", () => {
    expect(route(press("e"), where)).toBe("tool-extend");
    expect(route(press("E", { shiftKey: true }), where)).toBe("tool-extend");
    expect(route(press("q"), where)).toBeNull();
  });

  it("leave letters and undo to a field", () => {
    const typing = { ...where, typing: true, control: true };
    expect(route(press("e"), typing)).toBeNull();
    expect(route(press("z", ctrl), typing)).toBeNull();
    expect(route(press("Escape"), typing)).toBeNull();
    expect(route(press("Enter", ctrl), typing)).toBe("generate");
  });

  it("undo and redo in all their ways", () => {
    expect(route(press("z", ctrl), where)).toBe("undo");
    expect(route(press("Z", { ...ctrl, shiftKey: true }), where)).toBe("redo");
    expect(route(press("y", ctrl), where)).toBe("redo");
    expect(route(press("z", { metaKey: true }), where)).toBe("undo");
  });

  it("paste where the web view does not, and never from a field", () => {
    const native = { ...where, nativePaste: true };
    expect(route(press("v", ctrl), native)).toBe("paste");
    expect(route(press("v", ctrl), { ...native, typing: true })).toBeNull();
    expect(route(press("v", ctrl), where)).toBeNull();
    expect(route(press("v"), native)).toBe("tool-move");
  });

  it("leave the native menu what is its own", () => {
    expect(route(press("n", ctrl), where)).toBe("new");
    expect(route(press("n", ctrl), { ...where, nativeMenu: true })).toBeNull();
    expect(route(press("z", ctrl), { ...where, nativeMenu: true })).toBe("undo");
  });

  it("play in Director only, and not from a button", () => {
    const director = { ...where, director: true };
    expect(route(press("k"), director)).toBe("play");
    expect(route(press("ArrowLeft"), director)).toBe("previous-picture");
    expect(route(press("ArrowLeft"), { ...director, control: true })).toBeNull();
    expect(route(press("ArrowLeft"), where)).toBeNull();
  });

  it("tell fields from controls", () => {
    const make = (html: string): Element => {
      document.body.innerHTML = html;
      return document.body.firstElementChild!;
    };
    expect(isTyping(make("<textarea></textarea>"))).toBe(true);
    expect(isTyping(make("<input type=checkbox>"))).toBe(false);
    expect(isTyping(make("<button></button>"))).toBe(false);
    expect(isControl(make("<div role=slider></div>"))).toBe(true);
    expect(isControl(make("<div data-stage tabindex=0 role=application></div>"))).toBe(false);
    expect(isControl(null)).toBe(false);
  });
});
