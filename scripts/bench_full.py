#!/usr/bin/env python3
"""Load and run checkpoints of the true size of Stable Diffusion 1.5 or SDXL, with random weights, beside Python diffusers.

    bench_full.py sd15|sdxl [--size N] [--rounds N] [--precisions f32,bf16] [--folder DIR] [--no-peer] [--programs DIR]

For the folder layout and for one file: does it load, which tensors stay unused and why, how long until the first step,
peak memory. Then processor seconds of a guided step and of decoding, both sides taking turns. The weights are written to
DIR by scripts/full_size.py, one layout at a time, and deleted afterwards. It runs in an interpreter that has the packages of
tests/parity/requirements.txt, needs Linux, and for SDXL 7 GB of disk and 14 GB of free memory.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench import GB, ROOT, Lines, available_memory, environment, machine, say

PROMPT = "a snowy lake at dusk, two lighthouses"


def touch(path: Path) -> int:
    """Reads weights into the file cache; their size."""
    total = 0
    for file in sorted(path.rglob("*.safetensors")) if path.is_dir() else [path]:
        with file.open("rb") as opened:
            while part := opened.read(1 << 24):
                total += len(part)
    return total


class Side:
    """A process that loaded a model, and what it told."""

    def __init__(self, command: list[str], env: dict[str, str], verbs: tuple[str, str], load: dict[str, Any]) -> None:
        self.process, self.verb = Lines(command, env), verbs[1]
        self.loaded = self.process.ask(verbs[0], **load)
        self.ready = self.process.age()
        self.steps: list[float] = []
        self.decodes: list[float] = []
        self.first = 0.0

    def paint(self, size: int, steps: int) -> None:
        """Paints; the first step of the first picture counts as the first, the later ones of each as steps."""
        marks = self.process.ask(self.verb, prompt=PROMPT, size=size, steps=steps, guidance=7.5)["marks"]
        if not self.first:
            self.first = self.ready + marks[1][0]
        cpu = [mark[1] for mark in marks]
        self.steps += [b - a for a, b in zip(cpu[1:-2], cpu[2:-1])]
        self.decodes.append(cpu[-1] - cpu[-2])

    def figures(self) -> dict[str, Any]:
        """What was measured."""
        return {
            "load": self.loaded["seconds"], "from_start_to_first_step": self.first,
            "step_cpu": statistics.median(self.steps), "decode_cpu": statistics.median(self.decodes),
            "steps_cpu": self.steps, "peak": self.process.memory()["peak"],
        }  # fmt: skip


def main() -> None:
    """Write, load, paint, delete."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], allow_abbrev=False)
    parser.add_argument("family", choices=("sd15", "sdxl"))
    parser.add_argument("--size", type=int, default=512, help="side of the picture in pixels [512]")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precisions", default="f32,bf16")
    parser.add_argument("--layouts", default="single,folder")
    parser.add_argument("--folder", type=Path, help="where the weights go for a while")
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--programs", type=Path, default=ROOT / "target" / "release")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "bench-full.json")
    options = parser.parse_args()
    env = environment(options.threads)
    ours = [str(options.programs / "examples" / "bench_model")]
    peer = [sys.executable, str(ROOT / "scripts" / "bench_peer.py")]
    report: dict[str, Any] = {"machine": machine(), "family": options.family, "size": options.size, "runs": []}
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        for layout in options.layouts.split(","):
            path = Path(scratch) / ("model.safetensors" if layout == "single" else "model")
            extras = ["--extras"] if layout == "single" else []
            script = [sys.executable, str(ROOT / "scripts" / "full_size.py"), options.family, layout, str(path), *extras]
            subprocess.run(script, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            weights = touch(path)
            for precision in options.precisions.split(","):
                load = {"path": str(path), "precision": precision, "threads": options.threads}
                sides: dict[str, Side] = {"outframe": Side(ours, env, ("load", "paint"), load)}
                if layout == "folder" and not options.no_peer:
                    sides["outframe"].paint(options.size, 3)
                    for name, last in (("python", False), ("python, channels last", True)):
                        if available_memory() > 8 * GB:
                            verbs = ("load-model", "paint-model")
                            sides[name] = Side(peer, env, verbs, {**load, "channels_last": last})
                for _ in range(options.rounds if len(sides) > 1 else 1):
                    for side in sides.values():
                        side.paint(options.size, 3)
                for name, side in sides.items():
                    figures = {"layout": layout, "precision": precision, "side": name, "weights": weights,
                               **side.figures(), "told": side.loaded}  # fmt: skip
                    report["runs"].append(figures)
                    shown = {k: v for k, v in figures.items() if k not in ("told", "steps_cpu", "layout", "precision", "side")}
                    say(f"{layout:7}{precision:5}{name:22}" + "  ".join(f"{k} {v:.4g}" for k, v in shown.items()))
                    if name == "outframe":
                        say("        " + json.dumps({k: len(v) for k, v in side.loaded["unused"].items()}))
                    side.process.__exit__()
            (shutil.rmtree if path.is_dir() else os.remove)(path)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
