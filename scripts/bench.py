#!/usr/bin/env python3
"""Measure Outframe against Python diffusers on this machine: the same weights, in the same run, taking turns.

    bench.py [--quick] [--rounds N] [--threads N] [--keep] [--no-build] [--python PROGRAM] [--candle [PROGRAM]] [--out FILE]

Prints a table and writes out/bench.json. Two parts:

1. The starter model, 256 x 256: seconds a picture through the engine, from a cold start and warm, its memory, its load.
2. A UNet of the size of Stable Diffusion 1.5 with random weights (3.4 GB, written to the cache and deleted afterwards):
   a step's time, the time from nothing to the first step, peak memory. `--quick` leaves this part out. `--candle` adds
   the same UNet in candle (scripts/peers/candle, built by cargo unless a program is given), taking turns with Outframe.

On a shared machine times vary by a fifth and more, so both sides take turns within each round, medians are reported, and
what counts is the ratio of processor seconds. The Python side runs in a virtual environment with the versions of
tests/parity/requirements.txt, which is made on first use. This driver needs only the Python standard library, and Linux:
processor time and memory are read from /proc.
"""

from __future__ import annotations

import argparse
import array
import datetime
import json
import os
import platform
import re
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "tests" / "parity" / "requirements.txt"
STARTER = ROOT / "models" / "starter"
CANDLE = ROOT / "scripts" / "peers" / "candle"
PROMPT = "snowy mountains at sunset"
PAINTING = {"size": 256, "steps": 15, "guidance": 3.0}
SIDE = 64  # latents along a side of a 512 x 512 picture
GB = 1e9
NEEDS = {"quick": {"memory": 3 * GB, "disk": 0.1 * GB}, "full": {"memory": 11 * GB, "disk": 5 * GB}, "venv": 8 * GB}
GOALS = {"step": 0.9, "load": 0.25, "memory": 1.25}


class BenchError(Exception):
    """What went wrong, in words for the person who ran `make bench`."""


def say(text: str) -> None:
    """Print a line for people while the table is not there yet."""
    print(text, file=sys.stderr, flush=True)


# ---------------------------------------------------------------- processes


def ticks(pid: int) -> float:
    """Processor seconds of a process, all threads, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_of(pid: int) -> dict[str, float]:
    """Peak resident memory of a process so far, and how much is anonymous (not the file cache's) now; bytes."""
    text = Path(f"/proc/{pid}/status").read_text()
    found = {key: float(kib) * 1024 for key, kib in re.findall(r"(VmHWM|RssAnon):\s+(\d+) kB", text)}
    return {"peak": found["VmHWM"], "anonymous": found["RssAnon"]}


@dataclass
class Cost:
    """What a piece of work took: seconds by the clock and seconds of processor time."""

    wall: float
    cpu: float


class Process:
    """A child process that does one thing at a time, when asked."""

    def __init__(self, command: list[str], env: dict[str, str]) -> None:
        self.name = Path(command[-1]).name
        self.messages = tempfile.TemporaryFile()
        self.started = time.perf_counter()
        self.child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.messages, env=env
        )

    def dead(self) -> BenchError:
        """The error for a child that ended early."""
        self.child.wait()
        self.messages.seek(0)
        said = self.messages.read().decode(errors="replace").strip()[-1500:]
        return BenchError(f"{self.name} ended with code {self.child.returncode}. It said:\n{said}")

    def cost(self, work: Callable[[], Any]) -> tuple[Cost, Any]:
        """Runs `work`, which makes the child do something, and measures what it takes."""
        cpu, wall = ticks(self.child.pid), time.perf_counter()
        result = work()
        return Cost(time.perf_counter() - wall, ticks(self.child.pid) - cpu), result

    def memory(self) -> dict[str, float]:
        """See `memory_of`."""
        return memory_of(self.child.pid)

    def age(self) -> float:
        """Seconds since the process was started."""
        return time.perf_counter() - self.started

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.child.stdin.close()
        try:
            self.child.wait(20)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.child.stdout.close()
        self.messages.close()


class Lines(Process):
    """A child that reads and writes a line of JSON at a time."""

    def ask(self, what: str, **arguments: Any) -> dict[str, Any]:
        """Sends a command and waits for its answer."""
        try:
            self.child.stdin.write(json.dumps({"do": what, **arguments}).encode() + b"\n")
            self.child.stdin.flush()
            line = self.child.stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            raise self.dead()
        answer = json.loads(line)
        if "error" in answer:
            raise BenchError(f"{self.name} could not {what}: {answer['error']}")
        return answer

    def step(self, side: int) -> Cost:
        """One evaluation of the UNet for a picture with guidance: the same latents for both prompts."""
        return self.cost(lambda: self.ask("step", side=side, alike=True))[0]


class Engine(Process):
    """Outframe's worker process, spoken to in its own protocol (crates/engine/src/frame.rs)."""

    def send(self, **header: Any) -> None:
        """Sends a request without attachments."""
        text = json.dumps(header).encode()
        self.child.stdin.write(b"OFE1" + struct.pack("<II", len(text), 0) + text)
        self.child.stdin.flush()

    def read(self, count: int) -> bytes:
        """Exactly so many bytes of its output."""
        data = self.child.stdout.read(count)
        if len(data) < count:
            raise self.dead()
        return data

    def receive(self) -> dict[str, Any]:
        """The next event; its attachments are read and dropped."""
        magic, length, attachments = struct.unpack("<4sII", self.read(12))
        if magic != b"OFE1":
            raise BenchError("outframe-engine speaks another protocol than this script")
        event = json.loads(self.read(length))
        for _ in range(attachments):
            self.read(struct.unpack("<Q", self.read(8))[0])
        return event

    def ask(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Sends a request and waits for its last event."""
        self.send(type=kind, **fields)
        while True:
            event = self.receive()
            if event["type"] == "failed":
                raise BenchError(f"outframe-engine could not {kind}: {event['error']['message']}")
            if event["type"] != "progress":
                return event

    def paint(self, seed: int) -> Cost:
        """One picture of the starter model."""
        sampling = {
            "prompt": PROMPT,
            "negative": "",
            "steps": PAINTING["steps"],
            "guidance": PAINTING["guidance"],
            "sampler": "dpmpp-2m",
            "seed": seed,
            "take": 0,
            "preview": False,
        }
        job = {"sampling": sampling, "width": PAINTING["size"], "height": PAINTING["size"]}
        return self.cost(lambda: self.ask("generate", id=seed, job=job))[0]


def whole(command: list[str], env: dict[str, str], given: str | None = None) -> tuple[Cost, float]:
    """Runs a program to its end: its cost and peak memory (the largest process of it), children included."""
    started = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=output, env=env)
        if given is not None:
            child.stdin.write(given.encode())
        child.stdin.close()
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - started
        output.seek(0)
        said = output.read().decode(errors="replace")
        if os.waitstatus_to_exitcode(status) != 0 or '"error"' in said:
            raise BenchError(f"{' '.join(command)} failed. It said:\n{said.strip()[-1500:]}")
    return Cost(wall, usage.ru_utime + usage.ru_stime), usage.ru_maxrss * 1024.0


# ---------------------------------------------------------------- preparation


def cache_folder() -> Path:
    """Where Outframe keeps what can be made again."""
    if own := os.environ.get("OUTFRAME_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "outframe"


def existing(path: Path) -> Path:
    """The nearest folder above a path that is already there."""
    while not path.exists():
        path = path.parent
    return path


def available_memory() -> float:
    """Bytes that new processes can have, as the kernel estimates it."""
    found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    return float(found[1]) * 1024 if found else 0.0


def check_space(part: str, folder: Path) -> None:
    """Stops before the work when memory or disk will not do."""
    need, advice = NEEDS[part], "" if part == "quick" else " `--quick` needs less: it measures the starter model only."
    memory, disk = available_memory(), shutil.disk_usage(existing(folder)).free
    if memory < need["memory"]:
        raise BenchError(
            f"{memory / GB:.1f} GB of memory are free, {need['memory'] / GB:.0f} GB are needed. Close programs.{advice}"
        )
    if disk < need["disk"]:
        raise BenchError(
            f"{disk / GB:.1f} GB are free on the disk of {folder}, {need['disk'] / GB:.1f} GB are needed."
            f" OUTFRAME_CACHE chooses another folder.{advice}"
        )


def pinned() -> dict[str, str]:
    """Package names and versions of the requirements file."""
    lines = (line.partition("#")[0].strip() for line in REQUIREMENTS.read_text().splitlines())
    return dict(line.split("==") for line in lines if line)


def misfits(python: Path) -> list[str]:
    """The pinned packages that an interpreter lacks or has in another version; `+cpu` and the like do not matter."""
    code = (
        "import sys, json\nfrom importlib.metadata import version, PackageNotFoundError\nfound = {}\n"
        "for name in sys.argv[1:]:\n try: found[name] = version(name).partition('+')[0]\n"
        " except PackageNotFoundError: pass\nprint(json.dumps(found))"
    )
    wanted = pinned()
    run = subprocess.run([python, "-c", code, *wanted], capture_output=True, text=True, check=False)
    found = json.loads(run.stdout) if run.returncode == 0 else {}
    return [f"{name} {found.get(name, 'absent')} (wanted {version})" for name, version in wanted.items()
            if found.get(name) != version]  # fmt: skip


def prepare_python(given: str | None) -> Path:
    """An interpreter with the pinned packages: the given one, that of the cache, or a new one there."""
    if given:
        if wrong := misfits(Path(given)):
            raise BenchError(f"{given} does not fit: {', '.join(wrong)}.")
        return Path(given)
    folder = cache_folder() / "python"
    python = folder / "bin" / "python"
    if python.exists() and not misfits(python):
        return python
    say(f"Preparing Python with diffusers in {folder} (several gigabytes, once)")
    free = shutil.disk_usage(existing(folder)).free
    if free < NEEDS["venv"]:
        raise BenchError(
            f"{free / GB:.1f} GB are free on the disk of {folder}; PyTorch with what it brings along needs"
            f" {NEEDS['venv'] / GB:.0f} GB. OUTFRAME_CACHE chooses another folder, --python an interpreter that has it."
        )
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--requirement", str(REQUIREMENTS)],
    ):
        if subprocess.run(command, stdout=sys.stderr, check=False).returncode != 0:
            raise BenchError(
                f"`{' '.join(command)}` failed; see above. On Debian and Ubuntu, `python3 -m venv` needs the package"
                " python3-venv. The package index must be reachable once."
            )
    return python


def build(skip: bool) -> Path:
    """Builds the release programs and returns their folder."""
    folder = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target") / "release"
    if not skip:
        say("Building (release)")
        for what in (
            ["-p", "outframe-cli", "-p", "outframe-engine"],
            ["-p", "outframe-diffusion", "--example", "bench_engine"],
        ):
            if subprocess.run(["cargo", "build", "--release", "--quiet", *what], cwd=ROOT, check=False).returncode != 0:
                raise BenchError("The build failed; see above. `make setup` prepares the machine.")
    for program in ("outframe", "outframe-engine", "examples/bench_engine"):
        if not (folder / program).exists():
            raise BenchError(f"{folder / program} is not there; run this without --no-build.")
    return folder


def prepare_candle(given: str) -> Path:
    """Candle's side: the given program, or what cargo makes of scripts/peers/candle."""
    if given:
        if not Path(given).is_file():
            raise BenchError(f"{given} is not there; `--candle` without a program builds it.")
        return Path(given)
    if not shutil.which("cargo"):
        raise BenchError("`--candle` needs cargo to build scripts/peers/candle, or a program: --candle PROGRAM.")
    say("Building candle's side (release, some minutes once)")
    folder = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target") / "candle"
    # In its folder, so that its own .cargo/config.toml counts.
    command = ["cargo", "build", "--release", "--locked", "--quiet", "--target-dir", str(folder)]
    if subprocess.run(command, cwd=CANDLE, check=False).returncode != 0:
        raise BenchError("Candle's side did not build; see above. The bench runs without --candle.")
    return folder / "release" / "outframe-candle-peer"


def environment(threads: int) -> dict[str, str]:
    """The same for all programs measured: so many threads, which sleep while they wait."""
    return {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",
        "RAYON_NUM_THREADS": str(threads),
        "OUTFRAME_THREADS": str(threads),
        "OUTFRAME_MODELS": str(STARTER.parent),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }


# ---------------------------------------------------------------- measuring


def median(costs: list[Cost]) -> dict[str, Any]:
    """The medians of several costs, and the single ones."""
    return {
        "wall": statistics.median(cost.wall for cost in costs),
        "cpu": statistics.median(cost.cpu for cost in costs),
        "all": [{"wall": round(cost.wall, 3), "cpu": round(cost.cpu, 3)} for cost in costs],
    }


def take_turns(rounds: int, first: Callable[[], Cost], second: Callable[[], Cost]) -> list[dict[str, Any]]:
    """Measures both sides in each round, now the one first, now the other."""
    costs: tuple[list[Cost], list[Cost]] = ([], [])
    for index in range(rounds):
        for side in (0, 1) if index % 2 == 0 else (1, 0):
            costs[side].append((first, second)[side]())
    return [median(costs[0]), median(costs[1])]


def bench_starter(programs: Path, python: Path, threads: int, rounds: int) -> dict[str, Any]:
    """The starter model at 256 x 256, through the real programs."""
    env = environment(threads)
    peer = [str(python), str(ROOT / "scripts" / "bench_peer.py")]
    settings = {"prompt": PROMPT, **PAINTING}
    with tempfile.TemporaryDirectory() as scratch:
        options = ["--seed", "1", "--size", f"{PAINTING['size']}x{PAINTING['size']}", "--json"]
        options += ["--steps", str(PAINTING["steps"]), "--guidance", str(PAINTING["guidance"]), "--sampler", "dpmpp-2m"]
        command = [str(programs / "outframe"), "generate", PROMPT, *options, "--out", f"{scratch}/ours.png"]
        orders = [
            {"do": "load-starter", "folder": str(STARTER), "threads": threads},
            {"do": "paint", **settings, "seed": 1, "path": f"{scratch}/theirs.png"},
        ]
        orders_text = "".join(json.dumps(order) + "\n" for order in orders)
        say("Starter model: from a cold start to the file")
        peaks: list[list[float]] = [[], []]

        def cold(side: int) -> Cost:
            cost, peak = whole(command, env) if side == 0 else whole(peer, env, orders_text)
            peaks[side].append(peak)
            return cost

        for side in (0, 1):
            cold(side)  # puts what it reads into the file cache
        ours_cold, theirs_cold = take_turns(2, lambda: cold(0), lambda: cold(1))
    say("Starter model: warm")
    with Engine([str(programs / "outframe-engine")], env) as engine, Lines(peer, env) as other:
        engine.ask("hello", protocol=1)
        load = {"id": 1, "model": str(STARTER), "device": "cpu", "precision": "f32", "threads": threads}
        ours_load = engine.ask("load", **load)["seconds"]
        theirs_load = other.ask("load-starter", folder=str(STARTER), threads=threads)["seconds"]

        def paint_theirs() -> Cost:
            return other.cost(lambda: other.ask("paint", **settings, seed=3, path=None))[0]

        engine.paint(2)
        paint_theirs()
        ours, theirs = take_turns(rounds, lambda: engine.paint(3), paint_theirs)
        memory = engine.memory(), other.memory()
    weights = sum(path.stat().st_size for path in STARTER.rglob("*.safetensors"))
    return {
        "settings": {**settings, "sampler": "dpmpp-2m", "weights_bytes": weights},
        "outframe": {"cold": ours_cold, "load_seconds": ours_load, "picture": ours, "memory": memory[0],
                     "cold_peak": max(peaks[0])},
        "python": {"cold": theirs_cold, "load_seconds": theirs_load, "picture": theirs, "memory": memory[1],
                   "cold_peak": max(peaks[1])},
    }  # fmt: skip


def bench_unet(
    programs: Path, python: Path, candle: Path | None, threads: int, rounds: int, keep: bool
) -> dict[str, Any]:
    """A step of a UNet of the size of Stable Diffusion 1.5."""
    env = environment(threads)
    peer = [str(python), str(ROOT / "scripts" / "bench_peer.py")]
    folder = cache_folder() / "bench"
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    try:
        if not (folder / "complete").exists():
            say(f"Writing random weights to {folder}")
            shutil.rmtree(folder, ignore_errors=True)
            with Lines(peer, env) as writer:
                writer.ask("write", folder=str(folder))
            (folder / "complete").touch()
        ours = [str(programs / "examples" / "bench_engine")]
        figures = measure_unet(ours, peer, env, folder, weights, threads, rounds)
        if candle:
            figures["beside_candle"] = measure_candle(ours, [str(candle)], env, folder, threads, rounds)
        return figures
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def load_unet(command: list[str], env: dict[str, str], load: dict[str, Any], side: int) -> tuple[Lines, dict[str, float]]:
    """Starts a side, loads the UNet and makes a first step; the process goes on."""
    process = Lines(command, env)
    seconds = process.ask("load", **load)["seconds"]
    ready = process.age()
    first = process.step(side)
    return process, {"call": seconds, "from_start": ready, "first": first.wall, "first_cpu": first.cpu}


def measure_loads(
    commands: tuple[list[str], list[str]], env: dict[str, str], load: dict[str, Any]
) -> list[dict[str, float]]:
    """Loads both sides three times. A step on 8 x 8 latents touches every weight and computes little: it shows what lazy
    loading put off."""
    loads: tuple[list[dict[str, float]], list[dict[str, float]]] = ([], [])
    for _ in range(3):
        for index, command in enumerate(commands):
            process, figures = load_unet(command, env, load, 8)
            with process:
                loads[index].append(figures)
    return [{key: statistics.median(run[key] for run in runs) for key in runs[0]} for runs in loads]


def measure_unet(
    ours: list[str], peer: list[str], env: dict[str, str], folder: Path, weights: Path, threads: int, rounds: int
) -> dict[str, Any]:
    """Loads, steps and memory of both sides."""
    load = {"folder": str(folder / "unet"), "inputs": str(folder / "inputs.safetensors"), "threads": threads}
    say("SD-1.5-sized UNet: loading")
    with weights.open("rb") as file:  # into the file cache, for both alike
        while file.read(1 << 24):
            pass
    loading = measure_loads((ours, peer), env, load)
    say("SD-1.5-sized UNet: steps")
    own, own_first = load_unet(ours, env, load, SIDE)
    with own:
        other, other_first = load_unet(peer, env, load, SIDE)
        with other:
            output = folder / "output.safetensors"
            own.ask("save", path=str(output))
            difference = other.ask("compare", path=str(output))["difference"]
            steps = take_turns(rounds, lambda: own.step(SIDE), lambda: other.step(SIDE))
            memory = own.memory(), other.memory()
            say("SD-1.5-sized UNet: steps against Python with channels last")
            other.ask("channels-last")
            other.step(SIDE)
            best = take_turns(max(rounds // 2, 2), lambda: own.step(SIDE), lambda: other.step(SIDE))
    return {
        "settings": {"latents": [2, 4, SIDE, SIDE], "weights_bytes": weights.stat().st_size},
        "largest_difference": difference,
        "outframe": {"load": loading[0], "first_step": own_first["first"], "step": steps[0], "memory": memory[0],
                     "step_beside_channels_last": best[0]},
        "python": {"load": loading[1], "first_step": other_first["first"], "step": steps[1], "memory": memory[1],
                   "step_channels_last": best[1]},
    }  # fmt: skip


def read_output(path: Path) -> array.array[float]:
    """The values of a file that has one f32 tensor, in the safetensors format."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    entries = [entry for name, entry in json.loads(data[8 : 8 + length]).items() if name != "__metadata__"]
    if [entry["dtype"] for entry in entries] != ["F32"]:
        raise BenchError(f"{path.name} should have one f32 tensor")
    return array.array("f", data[8 + length :])


def measure_candle(
    ours: list[str], candle: list[str], env: dict[str, str], folder: Path, threads: int, rounds: int
) -> dict[str, Any]:
    """Loads, steps and memory of Outframe and candle, taking turns as with Python."""
    load = {"folder": str(folder / "unet"), "inputs": str(folder / "inputs.safetensors"), "threads": threads}
    say("SD-1.5-sized UNet beside candle: loading")
    loading = measure_loads((ours, candle), env, load)
    say("SD-1.5-sized UNet beside candle: steps")
    own, own_first = load_unet(ours, env, load, SIDE)
    with own:
        other, other_first = load_unet(candle, env, load, SIDE)
        with other:
            outputs = []
            for process in (own, other):
                path = folder / f"{process.name}.safetensors"
                process.ask("save", path=str(path))
                outputs.append(read_output(path))
            if len(outputs[0]) != len(outputs[1]):
                raise BenchError("Outframe's and candle's outputs differ in size")
            steps = take_turns(rounds, lambda: own.step(SIDE), lambda: other.step(SIDE))
            memory = own.memory(), other.memory()
    return {
        "largest_difference": max(abs(a - b) for a, b in zip(*outputs)),
        "largest_value": max(abs(a) for a in outputs[0]),
        "outframe": {"load": loading[0], "first_step": own_first["first"], "step": steps[0], "memory": memory[0]},
        "candle": {"load": loading[1], "first_step": other_first["first"], "step": steps[1], "memory": memory[1]},
    }


# ---------------------------------------------------------------- reporting


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    total = re.search(r"MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    return {
        "processor": found[1] if found else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": int(total[1]) * 1024 if total else 0,
        "load_average": os.getloadavg()[0],
    }


def judge(name: str, value: float, limit: float) -> dict[str, Any]:
    """A goal: at most `limit`."""
    return {"name": name, "value": round(value, 4), "limit": limit, "met": value <= limit}


def goals_of(unet: dict[str, Any]) -> list[dict[str, Any]]:
    """The goals and whether this run met them."""
    ours, theirs = unet["outframe"], unet["python"]
    return [
        judge("step, CPU-seconds, of Python's best",
              max(ours["step"]["cpu"] / theirs["step"]["cpu"],
                  ours["step_beside_channels_last"]["cpu"] / theirs["step_channels_last"]["cpu"]), GOALS["step"]),
        judge("load to first step, of Python's", ours["load"]["call"] / theirs["load"]["call"], GOALS["load"]),
        judge("peak memory, of the weights", ours["memory"]["peak"] / unet["settings"]["weights_bytes"],
              GOALS["memory"]),
    ]  # fmt: skip


Row = tuple[str, str, str, str, str]


def row(name: str, ours: float, theirs: float, unit: str, goal: dict[str, Any] | None = None) -> Row:
    """A line of the table: both sides and their ratio."""
    shown = [f"{value / GB:.2f} GB" if unit == "B" else f"{value:.3f} {unit}" for value in (ours, theirs)]
    verdict = f"{'met' if goal['met'] else 'MISSED'} (at most {goal['limit']:g})" if goal else ""
    return (name, shown[0], shown[1], f"{ours / theirs:.3f}" if theirs > 0 else "", verdict)


def starter_rows(starter: dict[str, Any]) -> list[Row]:
    """The first part of the table."""
    a, b = starter["outframe"], starter["python"]
    return [
        ("Starter, 256 x 256, 15 steps", "", "", "", ""),
        row("  cold start to file, wall", a["cold"]["wall"], b["cold"]["wall"], "s"),
        row("  cold start to file, CPU", a["cold"]["cpu"], b["cold"]["cpu"], "s"),
        row("  load the model", a["load_seconds"], b["load_seconds"], "s"),
        row("  a picture, wall", a["picture"]["wall"], b["picture"]["wall"], "s"),
        row("  a picture, CPU", a["picture"]["cpu"], b["picture"]["cpu"], "s"),
        row("  peak memory", a["memory"]["peak"], b["memory"]["peak"], "B"),
    ]


def unet_rows(unet: dict[str, Any], goals: list[dict[str, Any]]) -> list[Row]:
    """The second part of the table."""
    a, b = unet["outframe"], unet["python"]
    size = unet["settings"]["weights_bytes"]
    step, load, memory = goals
    whole_load = [side["load"]["call"] + side["load"]["first"] for side in (a, b)]
    peak = row("  peak memory", a["memory"]["peak"], b["memory"]["peak"], "B")
    return [
        ("UNet of SD 1.5's size, 64 x 64 x 2", "", "", "", ""),
        row("  load until a step can start", a["load"]["call"], b["load"]["call"], "s", load),
        row("  the same from the process's start", a["load"]["from_start"], b["load"]["from_start"], "s"),
        row("  load and a step on 8 x 8 latents", whole_load[0], whole_load[1], "s"),
        row("  step, CPU", a["step"]["cpu"], b["step"]["cpu"], "s", step),
        row("  step, wall", a["step"]["wall"], b["step"]["wall"], "s"),
        row("  step, CPU; Python channels last", a["step_beside_channels_last"]["cpu"],
            b["step_channels_last"]["cpu"], "s"),
        peak,
        ("  peak memory of the weights' size", f"{a['memory']['peak'] / size:.3f}", f"{b['memory']['peak'] / size:.3f}",
         "", f"{'met' if memory['met'] else 'MISSED'} (at most {memory['limit']:g})"),
        ("  largest difference of outputs", f"{unet['largest_difference']:.1e}", "", "", ""),
    ]  # fmt: skip


def candle_rows(figures: dict[str, Any]) -> list[Row]:
    """The part of the table that has candle in its second column."""
    a, b = figures["outframe"], figures["candle"]
    whole_load = [side["load"]["call"] + side["load"]["first"] for side in (a, b)]
    return [
        ("The same UNet beside candle", "Outframe", "candle", "ratio", ""),
        row("  load until a step can start", a["load"]["call"], b["load"]["call"], "s"),
        row("  the same from the process's start", a["load"]["from_start"], b["load"]["from_start"], "s"),
        row("  load and a step on 8 x 8 latents", whole_load[0], whole_load[1], "s"),
        row("  step, CPU", a["step"]["cpu"], b["step"]["cpu"], "s"),
        row("  step, wall", a["step"]["wall"], b["step"]["wall"], "s"),
        row("  peak memory", a["memory"]["peak"], b["memory"]["peak"], "B"),
        ("  largest difference of outputs", f"{figures['largest_difference']:.1e}",
         f"of values up to {figures['largest_value']:.1f}", "", ""),
    ]  # fmt: skip


def print_table(rows: list[Row]) -> None:
    """The table for people."""
    rows = [("", "Outframe", "Python diffusers", "ratio", "goal"), *rows]
    widths = [max(len(line[i]) for line in rows) for i in range(5)]
    for line in rows:
        cells = [line[0].ljust(widths[0]), *(line[i].rjust(widths[i]) for i in (1, 2, 3)), line[4]]
        print("  ".join(cells).rstrip())


def main() -> int:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="the starter model only, about a minute")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side [5]")
    parser.add_argument("--threads", type=int, help="compute threads of each side [all cores]")
    parser.add_argument("--keep", action="store_true", help="keep the random weights for the next run")
    parser.add_argument("--no-build", action="store_true", help="use the release programs as they are")
    parser.add_argument("--python", help="an interpreter that has the packages of tests/parity/requirements.txt")
    parser.add_argument("--candle", nargs="?", const="", metavar="PROGRAM",
                        help="measure candle, too; builds scripts/peers/candle unless PROGRAM is given")  # fmt: skip
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "bench.json", help="where the numbers go")
    options = parser.parse_args()
    if not Path("/proc/self/status").exists():
        raise BenchError("The bench reads processor time and memory from /proc, which only Linux has.")
    if options.rounds < 1:
        raise BenchError("--rounds must be at least 1.")
    threads = options.threads or len(os.sched_getaffinity(0))
    check_space("quick" if options.quick else "full", cache_folder())
    python = prepare_python(options.python)
    programs = build(options.no_build)
    candle = prepare_candle(options.candle) if options.candle is not None and not options.quick else None

    report: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": machine(),
        "threads": threads,
        "versions": pinned(),
        "starter": bench_starter(programs, python, threads, options.rounds),
    }
    rows = starter_rows(report["starter"])
    if not options.quick:
        report["unet"] = bench_unet(programs, python, candle, threads, options.rounds, options.keep)
        report["goals"] = goals_of(report["unet"])
        rows += unet_rows(report["unet"], report["goals"])
        if beside := report["unet"].get("beside_candle"):
            rows += candle_rows(beside)
    report["load_average_at_the_end"] = os.getloadavg()[0]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n")
    print_table(rows)
    busy = report["machine"]["load_average"]
    print(f"\n{threads} threads; load average before {busy:.1f}, after {report['load_average_at_the_end']:.1f}.", end=" ")
    print("Medians; ratios below 1 are in Outframe's favour.")
    print(f"All numbers: {options.out}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as error:
        say(f"bench: {error}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
