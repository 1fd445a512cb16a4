import type { GenerationView, JobView } from "../backend/types";

export const isActive = (job: JobView): boolean => job.state === "queued" || job.state === "running";

/** Jobs that paint a picture with takes, in distinction to films, exports and imports. */
export const paints = (job: JobView): boolean =>
  ["generate", "extend", "zoom-out", "reframe", "vary", "cover"].includes(job.kind);

/** "3 s left", "2 min left"; nothing where nobody knows. */
export function timeLeft(seconds: number | null): string {
  if (seconds === null || !Number.isFinite(seconds)) return "";
  if (seconds < 1) return "almost done";
  if (seconds < 90) return `${Math.ceil(seconds)} s left`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min left`;
  return `${(seconds / 3600).toFixed(1)} h left`;
}

/** "3.2 s", "1 min 5 s" */
export function took(seconds: number): string {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

/** The line beneath a job's name. */
export function statusLine(job: JobView): string {
  switch (job.state) {
    case "queued":
      return "Waiting its turn";
    case "running":
      return [job.stage || "Starting", timeLeft(job.secondsLeft)].filter(Boolean).join(" · ");
    case "done":
      return `Done in ${took(job.seconds)}`;
    case "cancelled":
      return "Cancelled";
    case "failed":
      return job.error ?? "Failed without a reason";
  }
}

/** What the queue's chip says. */
export function queueLabel(jobs: JobView[]): string {
  const active = jobs.filter(isActive).length;
  if (active > 0) return `Queue ${active}`;
  const failed = jobs.filter((job) => job.state === "failed").length;
  if (failed > 0) return failed === 1 ? "1 failed" : `${failed} failed`;
  return "Queue";
}

/** The running first, then the waiting in their order, then the finished with the newest first. */
export function sorted(jobs: JobView[]): JobView[] {
  const rank = (job: JobView): number => (job.state === "running" ? 0 : job.state === "queued" ? 1 : 2);
  return [...jobs].sort((a, b) => rank(a) - rank(b) || (rank(a) === 2 ? b.id - a.id : a.id - b.id));
}

/** Overall progress of what is under way, 0 to 1. */
export function overall(jobs: JobView[]): number {
  const active = jobs.filter(isActive);
  if (active.length === 0) return 0;
  return active.reduce((sum, job) => sum + job.progress, 0) / active.length;
}

/** Jobs that ended between two looks, to tell of. */
export function ended(before: JobView[], after: JobView[]): JobView[] {
  const known = new Map(before.map((job) => [job.id, job]));
  return after.filter((job) => {
    const old = known.get(job.id);
    return !isActive(job) && (old === undefined ? job.state === "failed" : isActive(old));
  });
}

const KINDS: Record<GenerationView["kind"], string> = {
  "text-to-image": "Picture",
  extend: "Extension",
  "zoom-out": "Zoom out",
  fill: "Fill",
  vary: "Variation",
  upscale: "Upscale",
};
export const generationName = (kind: GenerationView["kind"]): string => KINDS[kind];

/** "dpmpp-2m-karras" as its users write it. */
export function samplerName(sampler: string): string {
  const words: Record<string, string> = {
    dpmpp: "DPM++",
    "2m": "2M",
    sde: "SDE",
    ddim: "DDIM",
    unipc: "UniPC",
    lcm: "LCM",
    tcd: "TCD",
    a: "ancestral",
  };
  return sampler
    .split("-")
    .map((word) => words[word] ?? word.charAt(0).toUpperCase() + word.slice(1))
    .join(" ");
}

/** The size of a file, which may be small: "40 kB", "151 MB", "6.9 GB". */
export function sizeText(bytes: number): string {
  return bytes > 0 && bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : memoryText(bytes);
}

export function memoryText(bytes: number): string {
  if (bytes <= 0) return "";
  const mega = bytes / 1e6;
  return mega < 1000 ? `${Math.round(mega)} MB` : `${(mega / 1000).toFixed(1)} GB`;
}
