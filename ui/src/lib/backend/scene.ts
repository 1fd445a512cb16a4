import type { Rect } from "./types";

// The stand-in's "model": an endless landscape, drawn in canvas coordinates, so that what is painted beside a picture
// continues it. Only for development in a plain browser.

type Palette = { sky: [string, string, string]; ridges: string[]; ground: string; sun: string; tree: string };

const PALETTES: Palette[] = [
  {
    sky: ["#4f8fd0", "#a9c7dc", "#f3d9a4"],
    ridges: ["#e7cf9a", "#c9b283", "#8d8a63"],
    ground: "#bfae74",
    sun: "#fff3cf",
    tree: "#5f7350",
  },
  {
    sky: ["#2b2f5c", "#b0577a", "#f2a06a"],
    ridges: ["#7a4a6d", "#4d3558", "#2f2744"],
    ground: "#3a2f4a",
    sun: "#ffd9a0",
    tree: "#221d33",
  },
  {
    sky: ["#5fa8c9", "#b9dde0", "#e8f1e4"],
    ridges: ["#8fb7b4", "#5d8f7d", "#3f6f55"],
    ground: "#5d8a4b",
    sun: "#ffffff",
    tree: "#2f5a3a",
  },
  {
    sky: ["#1d2b3f", "#49617d", "#a9b9c6"],
    ridges: ["#7b8da0", "#51637a", "#35465c"],
    ground: "#44566a",
    sun: "#eef4fb",
    tree: "#22303f",
  },
];

const hash = (value: number): number => {
  const wave = Math.sin(value * 127.1 + 311.7) * 43758.5453;
  return wave - Math.floor(wave);
};

function smooth(at: number, seed: number): number {
  const whole = Math.floor(at);
  const part = at - whole;
  const ease = part * part * (3 - 2 * part);
  return hash(whole + seed * 57) * (1 - ease) + hash(whole + 1 + seed * 57) * ease;
}

const hill = (x: number, seed: number): number =>
  smooth(x / 190, seed) * 0.6 + smooth(x / 70, seed + 9) * 0.28 + smooth(x / 22, seed + 17) * 0.12;

/** Draws the part `rect` of the landscape of a seed; the context must be in canvas coordinates. */
export function paintScene(context: CanvasRenderingContext2D, rect: Rect, seed: number, scale: number): void {
  const palette = PALETTES[Math.abs(Math.floor(seed)) % PALETTES.length] as Palette;
  context.save();
  context.beginPath();
  context.rect(rect.x, rect.y, rect.width, rect.height);
  context.clip();
  const sky = context.createLinearGradient(0, -260, 0, 330);
  palette.sky.forEach((colour, index) => sky.addColorStop(index / 2, colour));
  context.fillStyle = sky;
  context.fillRect(rect.x, rect.y, rect.width, rect.height);
  context.fillStyle = palette.sun;
  context.globalAlpha = 0.9;
  context.beginPath();
  context.arc(330 + (seed % 7) * 20, 110, 34, 0, Math.PI * 2);
  context.fill();
  context.globalAlpha = 0.1;
  context.beginPath();
  context.arc(330 + (seed % 7) * 20, 110, 90, 0, Math.PI * 2);
  context.fill();
  context.globalAlpha = 1;
  const step = Math.max(2, 2 / scale);
  const from = rect.x - step;
  const to = rect.x + rect.width + step;
  palette.ridges.forEach((colour, index) => {
    const base = 190 + index * 70;
    const tall = 190 - index * 45;
    context.fillStyle = colour;
    context.beginPath();
    context.moveTo(from, rect.y + rect.height + 1);
    for (let x = from; x <= to; x += step) {
      context.lineTo(x, base - hill(x * (1 + index * 0.3), seed + index * 31) * tall + 60);
    }
    context.lineTo(to, rect.y + rect.height + 1);
    context.fill();
  });
  const ground = context.createLinearGradient(0, 330, 0, 620);
  ground.addColorStop(0, palette.ground);
  ground.addColorStop(1, palette.tree);
  context.fillStyle = ground;
  context.beginPath();
  context.moveTo(from, rect.y + rect.height + 1);
  for (let x = from; x <= to; x += step) context.lineTo(x, 352 + smooth(x / 130, seed + 5) * 26);
  context.lineTo(to, rect.y + rect.height + 1);
  context.fill();
  context.fillStyle = palette.tree;
  for (let at = Math.floor(rect.x / 46) - 1; at <= (rect.x + rect.width) / 46 + 1; at++) {
    if (hash(at + seed) < 0.35) continue;
    const x = at * 46 + hash(at * 3 + seed) * 30;
    const y = 372 + hash(at * 7 + seed) * 120;
    const size = 12 + (y - 360) * 0.2;
    context.beginPath();
    context.moveTo(x, y - size * 2.4);
    context.lineTo(x + size * 0.6, y);
    context.lineTo(x - size * 0.6, y);
    context.fill();
  }
  context.restore();
}
