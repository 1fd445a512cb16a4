import { describe, expect, it } from "vitest";
import type { JobView } from "../backend/types";
import { ended, memoryText, overall, queueLabel, sorted, statusLine, timeLeft, took } from "./jobs";

const job = (id: number, change: Partial<JobView> = {}): JobView => ({
  id,
  kind: "extend",
  label: "Extend",
  state: "running",
  progress: 0.5,
  stage: "step 8 of 16",
  secondsLeft: 3,
  seconds: 3,
  region: null,
  previews: [],
  error: null,
  output: null,
  generation: null,
  warnings: [],
  ...change,
});

describe("jobs in words", () => {
  it("tell where they stand", () => {
    expect(statusLine(job(1))).toBe("step 8 of 16 · 3 s left");
    expect(statusLine(job(1, { state: "queued" }))).toBe("Waiting its turn");
    expect(statusLine(job(1, { state: "done", seconds: 65.2 }))).toBe("Done in 1 min 5 s");
    expect(statusLine(job(1, { state: "failed", error: "The engine stopped." }))).toBe("The engine stopped.");
    expect(statusLine(job(1, { stage: "", secondsLeft: null }))).toBe("Starting");
  });

  it("tell the time", () => {
    expect(timeLeft(null)).toBe("");
    expect(timeLeft(0.2)).toBe("almost done");
    expect(timeLeft(150)).toBe("3 min left");
    expect(timeLeft(9000)).toBe("2.5 h left");
    expect(took(2.345)).toBe("2.3 s");
    expect(took(59.6)).toBe("60 s");
  });

  it("count in the queue's chip", () => {
    expect(queueLabel([])).toBe("Queue");
    expect(queueLabel([job(1), job(2, { state: "queued" }), job(3, { state: "done" })])).toBe("Queue 2");
    expect(queueLabel([job(1, { state: "failed" })])).toBe("1 failed");
  });

  it("stand in order: running, waiting, newest finished", () => {
    const states: [number, JobView["state"]][] = [
      [1, "done"],
      [2, "failed"],
      [3, "running"],
      [5, "queued"],
      [4, "queued"],
    ];
    expect(sorted(states.map(([id, state]) => job(id, { state }))).map((one) => one.id)).toEqual([
      3, 4, 5, 2, 1,
    ]);
  });

  it("are told of once when they end", () => {
    const before = [job(1), job(2), job(3, { state: "done" })];
    const after = [job(1, { state: "done" }), job(2), job(3, { state: "done" }), job(4, { state: "failed" })];
    expect(ended(before, after).map((one) => one.id)).toEqual([1, 4]);
    expect(ended(after, after)).toEqual([]);
  });

  it("add up", () => {
    expect(overall([job(1, { progress: 0.5 }), job(2, { state: "queued", progress: 0 })])).toBe(0.25);
    expect(memoryText(1.1e9)).toBe("1.1 GB");
    expect(memoryText(0)).toBe("");
  });
});
