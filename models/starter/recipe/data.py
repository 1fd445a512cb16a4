"""The training set: rendered pictures, their latents, and their captions as contexts.

Everything lies in shards of a few hundred pictures below one work folder::

    img/shard_N.npy           pictures, uint8 (n, 256, 256, 3)
    img/shard_N.json          their attributes; exists when the shard is complete
    lat/128/shard_N.npy       latents at 128 px of the picture and of the masked picture
    lat/128/m_shard_N.npy     the mask, one for each picture
    lat/256/...               the same at 256 px
    lat/text/shard_N.npy      contexts, float16 (n, captions, 32, 384)
    lat/null.npy              context of the empty prompt
    lat/128/gray.npy          latent of the empty (grey) picture, used where nothing is known

Complete shards are skipped, so every function here can be stopped and called again.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path

import numpy as np

from .models import MODEL_DIR, SCALE

SHARD = 500  # pictures in a shard


# ------------------------------------------------------------------ rendering
def _render_shard(job: tuple[Path, int, int, int]) -> str:
    """Render the seeds first ... first + count - 1 into one shard."""
    from .landscapes import render

    folder, first, count, size = job
    base = folder / f'shard_{first:07d}'
    shape = (count, size, size, 3)
    pictures = np.lib.format.open_memmap(base.with_suffix('.npy'), 'w+', np.uint8, shape)
    meta = []
    for i in range(count):
        pictures[i], attrs = render(first + i, size)
        meta.append({'attrs': attrs})
    pictures.flush()
    temporary = base.with_suffix('.tmp')
    temporary.write_text(json.dumps(meta))
    temporary.rename(base.with_suffix('.json'))
    return base.name


def render_shards(
    folder: Path, first: int, count: int, size: int = 256, processes: int = 1, shard: int = SHARD
):
    """Render seeds first ... first + count - 1; yields the name of each finished shard."""
    folder.mkdir(parents=True, exist_ok=True)
    starts = range(first, first + count, shard)
    jobs = [
        (folder, s, min(shard, first + count - s), size)
        for s in starts
        if not (folder / f'shard_{s:07d}.json').exists()
    ]
    yield from _map(_render_shard, jobs, processes)


def _map(function, jobs, processes):
    """imap_unordered that stays in this process when there is only one."""
    if processes <= 1 or len(jobs) <= 1:
        yield from map(function, jobs)
    else:
        os.environ.setdefault('OMP_NUM_THREADS', '1')
        with multiprocessing.get_context('spawn').Pool(processes) as pool:
            yield from pool.imap_unordered(function, jobs)


class Pictures:
    """Complete shards as one sequence of pictures (memory-mapped)."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.names: list[Path] = []
        self.maps: list[np.ndarray] = []
        self.refresh()

    def refresh(self):
        """Take in shards that were finished since."""
        for name in sorted(self.folder.glob('shard_*.json')):
            if name not in self.names:
                self.names.append(name)
                self.maps.append(np.load(name.with_suffix('.npy'), mmap_mode='r'))
        self.ends = np.cumsum([len(m) for m in self.maps])

    def __len__(self):
        return int(self.ends[-1]) if len(self.maps) else 0

    def __getitem__(self, i: int) -> np.ndarray:
        if not 0 <= i < len(self):
            raise IndexError(i)
        k = int(np.searchsorted(self.ends, i, side='right'))
        return self.maps[k][i - (self.ends[k] - len(self.maps[k]))]

    def attributes(self) -> list[dict]:
        """The renderer's description of every picture."""
        return [entry['attrs'] for name in self.names for entry in json.loads(name.read_text())]


# ------------------------------------------------------------------- encoding
def to_tensor(pictures: np.ndarray):
    """uint8 (n, H, W, 3) -> float tensor (n, 3, H, W) in [-1, 1]."""
    import torch

    return torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def _save(path: Path, array: np.ndarray):
    temporary = path.with_name(path.name + '.tmp.npy')
    np.save(temporary, array)
    temporary.rename(path)


def _encode_text(meta: list[dict], path: Path, captions: int, model: Path, device: str):
    from .captions import make_captions
    from .text import TextEncoder

    encoder = TextEncoder(model, device)
    texts = [t for m in meta for t in make_captions(m['attrs'], m['attrs']['seed'], captions)]
    parts = [encoder(texts[i : i + 50]).half().cpu().numpy() for i in range(0, len(texts), 50)]
    contexts = np.concatenate(parts)
    _save(path, contexts.reshape(len(meta), captions, *contexts.shape[1:]))


def _encode_pictures(
    source: Path, meta: list[dict], path: Path, size: int, model: Path, device: str
):
    import torch
    import torch.nn.functional as F

    from .masks import make_mask
    from .models import load_vae

    vae = load_vae(model, device)
    channels = vae.config.latent_channels
    scaling = vae.config.scaling_factor
    pictures = np.load(source.with_suffix('.npy'), mmap_mode='r')
    cells = size // SCALE
    latents = np.zeros((len(pictures), 2, channels, cells, cells), np.float16)
    masks = np.zeros((len(pictures), 1, cells, cells), np.uint8)
    step = 16 if device == 'cpu' else 128

    def encode(x):
        with torch.no_grad():
            x = x.contiguous(memory_format=torch.channels_last)
            return (vae.encode(x).latent_dist.mean * scaling).half().cpu().numpy()

    for i in range(0, len(pictures), step):
        x = to_tensor(pictures[i : i + step]).to(device)
        if size != x.shape[-1]:
            x = F.avg_pool2d(x, x.shape[-1] // size)
        drawn = []
        for entry in meta[i : i + step]:
            attrs = entry['attrs']
            boxes = [o['box'] for o in attrs['objects'] if 'box' in o]
            drawn.append(make_mask(np.random.default_rng([attrs['seed'], 77]), size, boxes))
        mask = torch.from_numpy(np.stack(drawn))[:, None].float().to(device)
        latents[i : i + step, 0] = encode(x)
        latents[i : i + step, 1] = encode(x * (mask < 0.5))
        masks[i : i + step] = F.interpolate(mask, scale_factor=1 / SCALE).cpu().numpy()
    _save(path.with_name('m_' + path.name), masks)
    _save(path, latents)


def _encode_shard(job) -> str:
    """One shard at one resolution, or its captions (kind 'text')."""
    import torch

    source, out, kind, captions, model, device = job
    path = out / kind / (source.stem + '.npy')
    if device == 'cpu':
        torch.set_num_threads(1)
    meta = json.loads(source.read_text())
    if kind == 'text':
        _encode_text(meta, path, captions, model, device)
    else:
        _encode_pictures(source, meta, path, int(kind), model, device)
    return f'{kind}/{source.stem}'


def encode_shards(
    pictures: Path,
    out: Path,
    sizes=(128, 256),
    captions: int = 6,
    model: Path = MODEL_DIR,
    processes: int = 1,
    device: str = 'cpu',
):
    """Encode all complete shards of pictures; yields the name of each piece."""
    import torch

    from .models import load_vae
    from .text import TextEncoder

    kinds = [str(s) for s in sizes] + ['text']
    for kind in kinds:
        (out / kind).mkdir(parents=True, exist_ok=True)
    if not (out / 'null.npy').exists():
        np.save(out / 'null.npy', TextEncoder(model)(['']).numpy())
    for size in sizes:
        gray = out / str(size) / 'gray.npy'
        if not gray.exists():
            vae = load_vae(model)
            with torch.no_grad():
                empty = vae.encode(torch.zeros(1, 3, size, size)).latent_dist.mean
            np.save(gray, (empty * vae.config.scaling_factor).numpy())
    sources = sorted(pictures.glob('shard_*.json'))
    jobs = [
        (s, out, kind, captions, model, device)
        for s in sources
        for kind in kinds
        if not (out / kind / (s.stem + '.npy')).exists()
    ]
    yield from _map(_encode_shard, jobs, processes)


class Latents:
    """Random training batches from the encoded shards of one resolution.

    On a GPU everything is put on the device; on a CPU it stays memory-mapped.
    """

    def __init__(
        self,
        folder: str | Path,
        size: int,
        device: str = 'cpu',
        full: float = 0.45,
        drop: float = 0.1,
        seed: int = 0,
    ):
        import torch

        self.folder, self.size, self.device = Path(folder), str(size), torch.device(device)
        self.full, self.drop = full, drop
        self.rng = np.random.default_rng(seed)
        self.names: list[str] = []
        self.latents, self.masks, self.contexts = [], [], []
        self.null = torch.from_numpy(np.load(self.folder / 'null.npy')).float().to(self.device)
        gray = np.load(self.folder / self.size / 'gray.npy')
        self.gray = torch.from_numpy(gray).float().to(self.device)
        self.refresh()

    def refresh(self):
        """Take in shards that were finished since."""
        import torch

        mode = 'r' if self.device.type == 'cpu' else None
        for path in sorted((self.folder / self.size).glob('shard_*.npy')):
            text = self.folder / 'text' / path.name
            if path.name in self.names or '.tmp' in path.name or not text.exists():
                continue
            self.names.append(path.name)
            arrays = [
                np.load(p, mmap_mode=mode) for p in (path, path.with_name('m_' + path.name), text)
            ]
            if mode is None:
                arrays = [torch.from_numpy(a).to(self.device) for a in arrays]
            for store, array in zip((self.latents, self.masks, self.contexts), arrays):
                store.append(array)
        if mode is None and len(self.latents) > 1:
            for store in (self.latents, self.masks, self.contexts):
                store[:] = [torch.cat(store)]
        self.ends = np.cumsum([len(z) for z in self.latents])

    def __len__(self):
        return int(self.ends[-1]) if len(self.latents) else 0

    def _gather(self, index: np.ndarray, caption: np.ndarray):
        import torch

        if self.device.type != 'cpu':
            i = torch.from_numpy(index).to(self.device)
            c = torch.from_numpy(caption).to(self.device)
            found = self.latents[0][i], self.masks[0][i], self.contexts[0][i, c]
            return [t.float() for t in found]
        shard = np.searchsorted(self.ends, index, side='right')
        place = index - (self.ends[shard] - np.array([len(z) for z in self.latents])[shard])
        pairs = list(zip(shard, place))
        latents = np.stack([self.latents[s][p] for s, p in pairs])
        masks = np.stack([self.masks[s][p] for s, p in pairs])
        contexts = np.stack([self.contexts[s][p, c] for (s, p), c in zip(pairs, caption)])
        return [torch.from_numpy(a).float() for a in (latents, masks, contexts)]

    def batch(self, count: int):
        """(latent, mask, masked latent, context), with some masks full and some prompts empty."""
        import torch

        index = self.rng.integers(0, len(self), count)
        caption = self.rng.integers(0, self.contexts[0].shape[1], count)
        both, mask, context = self._gather(index, caption)
        latent, known = both[:, 0], both[:, 1]
        full = torch.from_numpy(self.rng.random(count) < self.full).to(self.device)
        full = full[:, None, None, None]
        mask = torch.where(full, torch.ones_like(mask), mask)
        known = torch.where(full, self.gray, known)
        drop = torch.from_numpy(self.rng.random(count) < self.drop).to(self.device)
        context = torch.where(drop[:, None, None], self.null, context)
        return latent, mask, known, context
