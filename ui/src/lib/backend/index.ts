import type { Backend } from "./backend";

export * from "./backend";
export type * from "./types";

/** The shell; in a plain browser while developing, the stand-in. The build that ships holds only the shell's side. */
export async function openBackend(): Promise<Backend> {
  if (import.meta.env.DEV && !("__TAURI_INTERNALS__" in window)) {
    const { MockBackend } = await import("./mock");
    return new MockBackend();
  }
  const { TauriBackend } = await import("./tauri");
  return new TauriBackend();
}
