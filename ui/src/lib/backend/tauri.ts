import { invoke } from "@tauri-apps/api/core";
import { listen } from "@tauri-apps/api/event";
import { getCurrentWebview } from "@tauri-apps/api/webview";
import { open, save } from "@tauri-apps/plugin-dialog";
import type { Backend, Events, FileDrop, FileFilter } from "./backend";
import type { Commands, ImportedView, Point } from "./types";

// Windows and Android have no schemes of their own: Tauri serves them under a host name there.
const ORIGIN = /Windows|Android/.test(navigator.userAgent) ? "http://stage.localhost/" : "stage://localhost/";

export class TauriBackend implements Backend {
  readonly nativeMenu = true;

  call<K extends keyof Commands>(
    name: K,
    ...args: Parameters<Commands[K]>
  ): Promise<ReturnType<Commands[K]>> {
    return invoke<ReturnType<Commands[K]>>(name, args[0]);
  }

  importBytes(bytes: Uint8Array, name: string, at: Point | null): Promise<ImportedView[]> {
    const headers: Record<string, string> = { "x-name": encodeURIComponent(name) };
    if (at) {
      headers["x-x"] = String(Math.round(at.x));
      headers["x-y"] = String(Math.round(at.y));
    }
    return invoke<ImportedView[]>("import_bytes", bytes, { headers });
  }

  listen<K extends keyof Events>(event: K, handler: (payload: Events[K]) => void): Promise<() => void> {
    return listen<Events[K]>(event, (message) => handler(message.payload));
  }

  onFileDrop(handler: (drop: FileDrop) => void): Promise<() => void> {
    let paths: string[] = [];
    return getCurrentWebview().onDragDropEvent(({ payload }) => {
      if (payload.type === "leave") {
        handler({ kind: "leave" });
        return;
      }
      if (payload.type !== "over") paths = payload.paths;
      const at = payload.position.toLogical(window.devicePixelRatio || 1);
      handler({ kind: payload.type === "drop" ? "drop" : "over", point: { x: at.x, y: at.y }, paths });
    });
  }

  picture(path: string): string {
    return ORIGIN + path;
  }

  async pickOpen(title: string, filters: FileFilter[], multiple: boolean): Promise<string[]> {
    const picked = await open({ title, filters, multiple });
    if (picked === null) return [];
    return Array.isArray(picked) ? picked : [picked];
  }

  pickSave(title: string, name: string, filters: FileFilter[]): Promise<string | null> {
    return save({ title, defaultPath: name, filters });
  }

  async pickFolder(title: string): Promise<string | null> {
    return open({ title, directory: true, multiple: false });
  }
}
