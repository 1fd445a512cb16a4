import type { ControlChoice, ControlPicture } from "../backend/types";

/** The thresholds that networks for edges are commonly used with. */
export const CANNY: [number, number] = [100, 200];
/** The steepest gradient there can be. */
export const MAX_THRESHOLD = 2040;

/** A control as it is being set: its picture may still have to be chosen. */
export type Control = Omit<ControlChoice, "picture"> & { id: number; picture: ControlPicture | null };

/** What steers the next pictures beside their prompt. */
export class ControlsState {
  list = $state.raw<Control[]>([]);
  #next = 1;

  /** Those that can be used. */
  get value(): ControlChoice[] {
    return this.list.flatMap(({ network, picture, scale, start, end, canny }) =>
      picture ? [{ network, picture, scale, start, end, canny }] : [],
    );
  }

  set value(next: ControlChoice[]) {
    this.list = next.map((choice) => ({ ...choice, id: this.#next++ }));
  }

  /** A network that counts fully. One that is named after edges gets edges. */
  add(network: string, picture: ControlPicture | null): void {
    const canny = /canny|edge/i.test(network) ? CANNY : null;
    this.list = [...this.list, { id: this.#next++, network, picture, scale: 1, start: 0, end: 1, canny }];
  }

  change(id: number, change: Partial<Control>): void {
    this.list = this.list.map((one) => (one.id === id ? { ...one, ...change } : one));
  }

  remove(id: number): void {
    this.list = this.list.filter((one) => one.id !== id);
  }
}

/** A picture in a few words. */
export function pictureName(picture: ControlPicture | null): string {
  if (!picture) return "No picture chosen";
  if (picture.kind === "frame") return "The picture as it is";
  if (picture.kind === "stored") return "The picture used before";
  return picture.path.split(/[/\\]/).at(-1) ?? picture.path;
}
