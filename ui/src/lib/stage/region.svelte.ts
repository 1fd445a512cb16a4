import type { Rect, Region, RegionShape } from "../backend/types";
import { nextBrush, regionBounds, worthKeeping } from "./region";

/** The region that is being painted, to be varied. */
export class RegionState {
  shapes = $state.raw<RegionShape[]>([]);
  /** The shape under the pointer, not finished. */
  current = $state.raw<RegionShape | null>(null);
  radius = $state(32);
  strength = $state(0.75);
  takes = $state(1);
  prompt = $state("");

  readonly value: Region = $derived({ shapes: this.shapes });
  readonly bounds: Rect | null = $derived(regionBounds(this.value));
  readonly empty: boolean = $derived(this.bounds === null);
  readonly drawn: RegionShape[] = $derived(this.current ? [...this.shapes, this.current] : this.shapes);

  finish(): void {
    const shape = this.current;
    this.current = null;
    if (!shape || !worthKeeping(shape)) return;
    // Nothing to take away from.
    if (shape.subtract && this.shapes.length === 0) return;
    this.shapes = [...this.shapes, shape];
  }

  clear(): void {
    this.shapes = [];
    this.current = null;
  }

  back(): void {
    this.shapes = this.shapes.slice(0, -1);
  }

  resize(direction: 1 | -1): void {
    this.radius = nextBrush(this.radius, direction);
  }
}
