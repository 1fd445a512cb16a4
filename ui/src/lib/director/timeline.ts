import type { Easing, MoveView, ShotView } from "../backend/types";
import { clamp } from "../stage/view";

export type Grip = "from" | "to" | "body";

/** Pictures per second. */
export function rateOf(shot: Pick<ShotView, "rateNumerator" | "rateDenominator">): number {
  return shot.rateNumerator / Math.max(1, shot.rateDenominator);
}

export function rateText(shot: Pick<ShotView, "rateNumerator" | "rateDenominator">): string {
  const rate = rateOf(shot);
  return `${Number.isInteger(rate) ? rate : rate.toFixed(3).replace(/0+$/, "")} fps`;
}

/** "00:02.10": minutes, seconds, pictures. */
export function timecode(picture: number, rate: number): string {
  const whole = Math.max(1, Math.round(rate));
  const seconds = Math.floor(picture / whole);
  const two = (value: number): string => String(value).padStart(2, "0");
  return `${two(Math.floor(seconds / 60))}:${two(seconds % 60)}.${two(Math.floor(picture % whole))}`;
}

/** The number of pictures of a film: at least one. */
export function framesFor(seconds: number, rate: number): number {
  return Math.max(1, Math.round(seconds * rate));
}

/** Marks of the ruler: seconds, thinned so that they stand at least `space` pixels apart. */
export function ticks(
  frames: number,
  rate: number,
  width: number,
  space = 56,
): { picture: number; label: string }[] {
  const seconds = frames / rate;
  const steps = [0.25, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600];
  const step = steps.find((one) => (width * one) / Math.max(seconds, 1e-6) >= space) ?? 600;
  const marks: { picture: number; label: string }[] = [];
  for (let time = 0; time <= seconds + 1e-9; time += step) {
    marks.push({ picture: time * rate, label: time === 0 ? "0" : `${Number(time.toFixed(2))} s` });
  }
  return marks;
}

/** A move whose bar was dragged by so many pictures; it stays within the shot and at least one picture long. */
export function dragged(move: MoveView, grip: Grip, by: number, frames: number): MoveView {
  const last = Math.max(1, frames - 1);
  const step = Math.round(by);
  if (grip === "from") return { ...move, from: clamp(move.from + step, 0, move.to - 1) };
  if (grip === "to") return { ...move, to: clamp(move.to + step, move.from + 1, last) };
  const length = move.to - move.from;
  const from = clamp(move.from + step, 0, Math.max(0, last - length));
  return { ...move, from, to: from + length };
}

/** The moves for a shot of another length: windows that ended with the film still do. */
export function refitted(moves: MoveView[], before: number, after: number): MoveView[] {
  const last = Math.max(1, after - 1);
  return moves.map((move) => {
    const to = move.to >= before - 1 ? last : Math.min(move.to, last);
    return { ...move, from: Math.max(0, Math.min(move.from, to - 1)), to };
  });
}

export const EASINGS: readonly { value: string; label: string; easing: Easing }[] = [
  { value: "linear", label: "Linear", easing: "linear" },
  { value: "in", label: "Ease in", easing: "in" },
  { value: "out", label: "Ease out", easing: "out" },
  { value: "in-out", label: "Ease in and out", easing: "in-out" },
  { value: "easy", label: "Easy Ease", easing: { "cubic-bezier": [0.333, 0, 0.667, 1] } },
  { value: "hold", label: "Hold", easing: "hold" },
];

export function easingName(easing: Easing): string {
  if (typeof easing === "string") return easing;
  const [a, b, c, d] = easing["cubic-bezier"];
  const easy = Math.abs(a - 0.333) < 0.01 && b === 0 && Math.abs(c - 0.667) < 0.01 && d === 1;
  return easy ? "easy" : "custom";
}

export function easingLabel(easing: Easing): string {
  const name = easingName(easing);
  return EASINGS.find((one) => one.value === name)?.label ?? "Custom curve";
}

/** The four numbers of an easing's Bézier curve; `null` for hold. */
export function bezierOf(easing: Easing): [number, number, number, number] | null {
  if (typeof easing !== "string") return easing["cubic-bezier"];
  switch (easing) {
    case "linear":
      return [0, 0, 1, 1];
    case "in":
      return [0.42, 0, 1, 1];
    case "out":
      return [0, 0, 0.58, 1];
    case "in-out":
      return [0.42, 0, 0.58, 1];
    case "hold":
      return null;
  }
}
