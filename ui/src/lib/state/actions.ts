import { nextPicture } from "../director/playback";
import type { App, Tool } from "./app.svelte";
import { isTyping, type Action } from "./shortcuts";

const TOOLS: Partial<Record<Action, Tool>> = {
  "tool-move": "move",
  "tool-hand": "hand",
  "tool-extend": "extend",
  "tool-brush": "brush",
  "tool-rect": "rect",
  "tool-lasso": "lasso",
  "tool-eraser": "eraser",
  "tool-zoom": "zoom",
};

/** Does what a key or a menu asks for. */
export async function act(app: App, action: Action): Promise<void> {
  const tool = TOOLS[action];
  if (tool) {
    const forDirector: Tool[] = ["move", "hand", "zoom"];
    if (app.project && (app.mode === "picture" || forDirector.includes(tool))) app.setTool(tool);
    return;
  }
  switch (action) {
    case "undo":
      return app.undo();
    case "redo":
      return app.redo();
    case "new":
      return app.newProject();
    case "open":
      return app.openProject();
    case "save-as":
      return app.saveAs();
    case "close":
      if (app.project) await app.closeProject();
      return;
    case "export":
      if (app.project?.bounds) app.dialog = "export";
      return;
    case "generate":
      return app.generate();
    case "zoom-in":
      return app.stage.zoomBy(1);
    case "zoom-out":
      return app.stage.zoomBy(-1);
    case "zoom-fit":
      return app.fitAll();
    case "zoom-100":
      return app.stage.zoomTo(1);
    case "brush-smaller":
      return app.region.resize(-1);
    case "brush-larger":
      return app.region.resize(1);
    case "escape":
      return escape(app);
    case "delete":
      if (app.mode === "picture" && app.selectedLayer)
        await app.edit("remove_layer", { layer: app.selectedLayer });
      return;
    case "play":
      return app.director.toggle();
    case "previous-picture":
    case "next-picture":
      app.director.stop();
      app.director.seek(nextPicture(app.director.picture, action === "next-picture" ? 1 : -1));
      return;
    case "director":
      if (app.project) app.setMode(app.mode === "director" ? "picture" : "director");
      return;
    case "shortcuts":
      app.dialog = "shortcuts";
      return;
    case "paste":
      return app.paste();
    case "theme":
      return app.setTheme(app.theme === "dark" ? "light" : "dark");
  }
}

/** One thing at a time: the region, then the amounts, then the selection. */
function escape(app: App): void {
  if (app.mode === "director") {
    if (app.director.playing) app.director.stop();
    else if (app.director.look === "preview") app.director.look = "stage";
    else app.director.selectedMove = null;
  } else if (app.region.drawn.length > 0) app.region.clear();
  else if (app.extending.active) app.extending.reset();
  else app.selectedLayer = null;
}

/** An entry of the native menu. */
export async function fromMenu(app: App, id: string): Promise<void> {
  switch (id) {
    case "undo":
    case "redo":
      // In a field the text is meant; a field's own history has no other door.
      // eslint-disable-next-line @typescript-eslint/no-deprecated
      if (isTyping(document.activeElement)) document.execCommand(id);
      else await act(app, id);
      return;
    case "select-all":
      if (isTyping(document.activeElement)) (document.activeElement as HTMLInputElement).select();
      return;
    case "deselect":
      app.selectedLayer = null;
      app.region.clear();
      return;
    case "film":
      if (app.director.stored) app.dialog = "film";
      else if (app.project) app.setMode("director");
      return;
    case "picture":
    case "director":
      if (app.project) app.setMode(id);
      return;
    case "about":
    case "models":
      app.dialog = id;
      return;
    case "paste":
      // In a field the web view itself has pasted.
      if (!isTyping(document.activeElement)) await act(app, id);
      return;
    case "new":
    case "open":
    case "save-as":
    case "close":
    case "export":
    case "zoom-in":
    case "zoom-out":
    case "zoom-fit":
    case "zoom-100":
    case "theme":
    case "shortcuts":
      return act(app, id);
    default:
      return;
  }
}
