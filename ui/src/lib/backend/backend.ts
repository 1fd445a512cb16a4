import type { CommandError, Commands, EngineView, ImportedView, JobView, Point, ProjectEvent } from "./types";

/** What the shell tells without being asked. */
export type Events = {
  project: ProjectEvent;
  jobs: JobView[];
  engine: EngineView;
  menu: string;
  problem: string;
  /** Something in the library's folders has changed. */
  library: null;
};

/** Files of the desktop held over or dropped on the window; the point is in CSS pixels. */
export type FileDrop =
  | { kind: "over"; point: Point; paths: string[] }
  | { kind: "drop"; point: Point; paths: string[] }
  | { kind: "leave" };

export type FileFilter = { name: string; extensions: string[] };

/** The window's one way to the outside: the shell, or a stand-in for tests and for a plain browser. */
export interface Backend {
  /** True where a native menu already answers Ctrl+N, O, S, E and W. */
  readonly nativeMenu: boolean;
  call<K extends keyof Commands>(name: K, ...args: Parameters<Commands[K]>): Promise<ReturnType<Commands[K]>>;
  importBytes(bytes: Uint8Array, name: string, at: Point | null): Promise<ImportedView[]>;
  listen<K extends keyof Events>(event: K, handler: (payload: Events[K]) => void): Promise<() => void>;
  onFileDrop(handler: (drop: FileDrop) => void): Promise<() => void>;
  /** The address of a picture, for instance of `job/3/0/7`. */
  picture(path: string): string;
  pickOpen(title: string, filters: FileFilter[], multiple: boolean): Promise<string[]>;
  pickSave(title: string, name: string, filters: FileFilter[]): Promise<string | null>;
  pickFolder(title: string): Promise<string | null>;
}

/** What a rejected promise says, in words for a person. */
export function messageOf(error: unknown): string {
  if (typeof error === "string") return error;
  if (isCommandError(error)) return error.message;
  if (error instanceof Error) return error.message;
  return "Something went wrong that gave no reason.";
}

export function isCommandError(error: unknown): error is CommandError {
  return (
    typeof error === "object" &&
    error !== null &&
    "kind" in error &&
    "message" in error &&
    typeof error.message === "string"
  );
}
