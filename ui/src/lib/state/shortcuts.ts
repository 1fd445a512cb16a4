/** Everything a key can ask for. */
export type Action =
  | "undo"
  | "redo"
  | "paste"
  | "new"
  | "open"
  | "save-as"
  | "export"
  | "close"
  | "generate"
  | "tool-move"
  | "tool-hand"
  | "tool-extend"
  | "tool-brush"
  | "tool-rect"
  | "tool-lasso"
  | "tool-eraser"
  | "tool-zoom"
  | "zoom-in"
  | "zoom-out"
  | "zoom-fit"
  | "zoom-100"
  | "brush-smaller"
  | "brush-larger"
  | "escape"
  | "delete"
  | "play"
  | "previous-picture"
  | "next-picture"
  | "director"
  | "shortcuts"
  | "theme";

export type KeyPress = {
  key: string;
  ctrlKey: boolean;
  metaKey: boolean;
  shiftKey: boolean;
  altKey: boolean;
};

export type Where = {
  /** A field that takes text has the focus. */
  typing: boolean;
  /** A button, slider or list has the focus, which has its own use for space, Enter and arrows. */
  control: boolean;
  director: boolean;
  /** A native menu answers Ctrl+N, O, S, E, W itself. */
  nativeMenu: boolean;
  /** The web view gives no pasted pictures; the shell does. */
  nativePaste: boolean;
};

const LETTERS: Record<string, Action> = {
  v: "tool-move",
  h: "tool-hand",
  e: "tool-extend",
  b: "tool-brush",
  r: "tool-rect",
  l: "tool-lasso",
  x: "tool-eraser",
  z: "tool-zoom",
  d: "director",
  "+": "zoom-in",
  "=": "zoom-in",
  "-": "zoom-out",
  "0": "zoom-fit",
  "1": "zoom-100",
  "[": "brush-smaller",
  "]": "brush-larger",
  "?": "shortcuts",
};

const COMMANDS: Record<string, Action> = { n: "new", o: "open", s: "save-as", e: "export", w: "close" };

/** What a key means here, or nothing. */
export function route(press: KeyPress, where: Where): Action | null {
  const key = press.key.length === 1 ? press.key.toLowerCase() : press.key;
  const command = press.ctrlKey || press.metaKey;
  if (command && !press.altKey) {
    if (key === "Enter") return "generate";
    if (!where.typing && key === "z") return press.shiftKey ? "redo" : "undo";
    if (!where.typing && key === "y") return "redo";
    if (!where.typing && where.nativePaste && key === "v") return "paste";
    if (key === "+" || key === "=") return "zoom-in";
    if (key === "-") return "zoom-out";
    if (key === "0") return "zoom-fit";
    if (key === "1") return "zoom-100";
    if (where.nativeMenu) return null;
    return COMMANDS[key] ?? null;
  }
  if (press.altKey || where.typing) return null;
  if (key === "Escape") return "escape";
  if (key === "Delete" || key === "Backspace") return where.control ? null : "delete";
  if (where.director && !where.control) {
    // Space plays too, but only when let go without a drag: the stage decides.
    if (key === "k") return "play";
    if (key === "," || key === "ArrowLeft") return "previous-picture";
    if (key === "." || key === "ArrowRight") return "next-picture";
  }
  return LETTERS[key] ?? null;
}

/** Does the element take text? */
export function isTyping(element: Element | null): boolean {
  if (!(element instanceof HTMLElement)) return false;
  if (element.isContentEditable || element instanceof HTMLTextAreaElement) return true;
  return (
    element instanceof HTMLInputElement &&
    !["checkbox", "radio", "range", "button", "submit", "color", "file"].includes(element.type)
  );
}

/** Does the element use space, Enter or arrows itself? */
export function isControl(element: Element | null): boolean {
  if (!(element instanceof HTMLElement)) return false;
  return (
    element.matches("button, a, select, input, textarea, [role], [tabindex]") &&
    !element.matches("[data-stage]")
  );
}

export type Help = { group: string; keys: readonly (readonly [string, string])[] };

/** The list that the dialog shows. */
export const HELP: readonly Help[] = [
  {
    group: "Tools",
    keys: [
      ["V", "Select and move"],
      ["H or Space", "Hand"],
      ["E", "Extend"],
      ["B", "Region brush"],
      ["R", "Region rectangle"],
      ["L", "Region lasso"],
      ["X", "Region eraser"],
      ["Z", "Zoom"],
      ["[ ]", "Brush smaller, larger"],
      ["Alt", "Take away from the region"],
    ],
  },
  {
    group: "View",
    keys: [
      ["+ −", "Zoom in, out"],
      ["0", "Fit"],
      ["1", "100 %"],
      ["Ctrl + wheel", "Zoom about the pointer"],
      ["D", "Picture or Director"],
      ["?", "This list"],
    ],
  },
  {
    group: "Picture",
    keys: [
      ["Ctrl + Enter", "Generate"],
      ["Enter", "Paint, on a focused arrow"],
      ["Arrows", "Amount by 8, on a focused arrow; Shift: 64"],
      ["Escape", "Clear the region or the amount"],
      ["Alt + ↑ ↓", "Move a layer in the list"],
      ["Delete", "Delete the selected layer"],
    ],
  },
  {
    group: "Director",
    keys: [
      ["Space or K", "Play, pause"],
      [", .", "One picture back, on"],
      ["Arrows, wheel", "Turn a focused dial by 0.1; Shift: 1"],
      ["Double click", "Dial back to rest"],
    ],
  },
  {
    group: "Project",
    keys: [
      ["Ctrl + Z", "Undo"],
      ["Ctrl + Shift + Z", "Redo"],
      ["Ctrl + N", "New"],
      ["Ctrl + O", "Open"],
      ["Ctrl + S", "Name or move the project"],
      ["Ctrl + E", "Export"],
      ["Ctrl + V", "Paste a picture"],
      ["Ctrl + W", "Close"],
    ],
  },
];
