import type { MoveKind, MoveKindInfo, MoveView, ShotView } from "../backend/types";

/** What the dials of the panel are called, in their order. Everything else is added on the timeline. */
export const DIALS: readonly { kind: MoveKind; label: string }[] = [
  { kind: "truck", label: "Horizontal" },
  { kind: "pedestal", label: "Vertical" },
  { kind: "pan", label: "Pan" },
  { kind: "tilt", label: "Tilt" },
  { kind: "roll", label: "Roll" },
  { kind: "zoom", label: "Zoom" },
  { kind: "dolly", label: "Dolly" },
];

export const DIAL_MAX = 10;

const tenth = (value: number): number => {
  const rounded = Math.round(value * 10) / 10;
  return rounded === 0 ? 0 : rounded;
};

/** One decimal within -10 and 10 (from 0 where a move has no negative side). */
export function clampDial(dial: number, info?: MoveKindInfo): number {
  const low = info && !info.negative && !info.logarithmic ? 0 : -DIAL_MAX;
  return tenth(Math.min(DIAL_MAX, Math.max(low, dial)));
}

/** A dial's amount in the move's unit. */
export function amountOf(dial: number, info: MoveKindInfo): number {
  if (info.logarithmic) return info.rest * 2 ** (dial / 5);
  if (info.dialPerUnit === null || info.dialPerUnit === 0) return info.rest;
  return info.rest + dial / info.dialPerUnit;
}

/** The dial of an amount, not rounded. */
export function dialOf(amount: number, info: MoveKindInfo): number {
  if (info.logarithmic) return amount > 0 ? 5 * Math.log2(amount / info.rest) : -DIAL_MAX;
  if (info.dialPerUnit === null) return 0;
  return (amount - info.rest) * info.dialPerUnit;
}

/** "+3.5", "0.0", "−2.0" */
export function dialText(dial: number): string {
  const value = tenth(dial);
  if (value === 0) return "0.0";
  return `${value > 0 ? "+" : "−"}${Math.abs(value).toFixed(1)}`;
}

/** What a person typed into a dial; `null` where it is no number. */
export function parseDial(text: string, info?: MoveKindInfo): number | null {
  const value = Number(text.trim().replace("−", "-").replace(",", "."));
  return text.trim() === "" || !Number.isFinite(value) ? null : clampDial(value, info);
}

const UNITS: Record<string, string> = {
  "% of the frame": " %",
  "frame widths": " widths",
  "frame heights": " heights",
};

/** An amount in words: "right 0.35 widths", "2.00×", "rest". */
export function amountText(amount: number, info: MoveKindInfo): string {
  if (info.logarithmic) return `${amount.toFixed(2)}×`;
  const value = amount - info.rest;
  if (Math.abs(value) < 5e-4) return "at rest";
  // A share of something reads better in hundredths.
  const share = info.unit.startsWith("of the ");
  const unit = share ? " %" : (UNITS[info.unit] ?? (info.unit === "°" ? "°" : ` ${info.unit}`.trimEnd()));
  const size = share
    ? Math.abs(value * 100).toFixed(0)
    : Math.abs(value).toFixed(unit === "°" || unit === " %" ? 1 : 2);
  const word = value > 0 ? info.positive : info.negative;
  return word && word !== "-" ? `${word} ${size}${unit}` : `${value < 0 ? "−" : ""}${size}${unit}`;
}

/** A new move over the whole shot, from rest to `end`. */
export function newMove(info: MoveKindInfo, frames: number, end: number): MoveView {
  return {
    kind: info.kind,
    from: 0,
    to: Math.max(0, frames - 1),
    start: info.rest,
    end,
    startDial: 0,
    endDial: clampDial(dialOf(end, info), info),
    easing: "in-out",
  };
}

/** The move a dial stands for: the first of its kind. */
export function moveOf(shot: Pick<ShotView, "moves">, kind: MoveKind): MoveView | undefined {
  return shot.moves.find((move) => move.kind === kind);
}

/**
 * The moves with a dial turned: it sets where the kind's first move ends. A dial turned off rest adds a move over the
 * whole shot; one turned back to rest takes the move away when `settle` says that the hand let go.
 */
export function turned(
  moves: MoveView[],
  frames: number,
  info: MoveKindInfo,
  dial: number,
  settle: boolean,
): MoveView[] {
  const value = clampDial(dial, info);
  const at = moves.findIndex((move) => move.kind === info.kind);
  const move = moves[at];
  if (!move) return value === 0 ? moves : [...moves, newMove(info, frames, amountOf(value, info))];
  const resting = Math.abs(move.start - info.rest) < 1e-9;
  if (value === 0 && resting && settle) return moves.filter((_, index) => index !== at);
  return moves.with(at, { ...move, end: amountOf(value, info), endDial: value });
}
