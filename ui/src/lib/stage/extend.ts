import type { Rect } from "../backend/types";

export type Side = "left" | "right" | "up" | "down";
export type Amounts = Record<Side, number>;

export const SIDES: readonly Side[] = ["left", "right", "up", "down"];
export const NOTHING: Amounts = { left: 0, right: 0, up: 0, down: 0 };
export const SNAP = 8;
export const MAX_EXTEND = 4096;

/** Half of the frame's side, in steps of 8: what one click paints. */
export function defaultAmount(frame: Rect, side: Side): number {
  const length = side === "left" || side === "right" ? frame.width : frame.height;
  return clampAmount(Math.round(length / 2 / SNAP) * SNAP);
}

export function clampAmount(amount: number): number {
  return Math.min(MAX_EXTEND, Math.max(0, Math.round(amount)));
}

/** How much a drag from an arrow means: outwards counts, in steps of 8 unless fine. */
export function draggedAmount(side: Side, dx: number, dy: number, fine: boolean): number {
  const outwards = side === "left" ? -dx : side === "right" ? dx : side === "up" ? -dy : dy;
  return clampAmount(fine ? outwards : Math.round(outwards / SNAP) * SNAP);
}

/** An arrow key on a focused arrow: outwards more, inwards less, 8 or (with shift) 64. `null`: not for us. */
export function steppedAmount(side: Side, key: string, amount: number, large: boolean): number | null {
  const outwards: Record<Side, string> = {
    left: "ArrowLeft",
    right: "ArrowRight",
    up: "ArrowUp",
    down: "ArrowDown",
  };
  const inwards: Record<Side, string> = {
    left: "ArrowRight",
    right: "ArrowLeft",
    up: "ArrowDown",
    down: "ArrowUp",
  };
  const step = large ? 64 : SNAP;
  if (key === outwards[side]) return clampAmount(amount + step);
  if (key === inwards[side]) return clampAmount(amount - step);
  return null;
}

/** What lies beyond the frame on one side. */
export function strip(frame: Rect, side: Side, amount: number): Rect {
  switch (side) {
    case "left":
      return { x: frame.x - amount, y: frame.y, width: amount, height: frame.height };
    case "right":
      return { x: frame.x + frame.width, y: frame.y, width: amount, height: frame.height };
    case "up":
      return { x: frame.x, y: frame.y - amount, width: frame.width, height: amount };
    case "down":
      return { x: frame.x, y: frame.y + frame.height, width: frame.width, height: amount };
  }
}

/** "~3 s", "~2 min". */
export function about(seconds: number | null): string | null {
  if (seconds === null) return null;
  if (seconds < 1) return "under 1 s";
  if (seconds < 90) return `~${Math.round(seconds)} s`;
  return `~${Math.round(seconds / 60)} min`;
}

export function fillsText(fills: number): string {
  return fills === 1 ? "1 fill" : `${fills} fills`;
}

/** "+128 px · 1 fill · ~3 s" */
export function hint(amount: number, plan: { fills: number; seconds: number | null } | null): string {
  const parts = [`+${amount} px`];
  if (plan) {
    parts.push(plan.fills === 0 ? "nothing to paint" : fillsText(plan.fills));
    const time = plan.fills > 0 ? about(plan.seconds) : null;
    if (time) parts.push(time);
  }
  return parts.join(" · ");
}
