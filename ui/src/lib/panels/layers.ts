/** Before which row a pointer stands, given the rows' middles from top to bottom; their number: after the last. */
export function dropIndex(middles: number[], y: number): number {
  const at = middles.findIndex((middle) => y < middle);
  return at < 0 ? middles.length : at;
}

/** How a layer mixes with what lies below, in the order of a menu. */
export const BLENDS: readonly { value: string; label: string }[] = [
  { value: "normal", label: "Normal" },
  { value: "multiply", label: "Multiply" },
  { value: "screen", label: "Screen" },
  { value: "overlay", label: "Overlay" },
  { value: "soft-light", label: "Soft light" },
  { value: "add", label: "Add" },
  { value: "darken", label: "Darken" },
  { value: "lighten", label: "Lighten" },
  { value: "color", label: "Colour" },
  { value: "luminosity", label: "Luminosity" },
];
