"""Train the 9-channel UNet: text-to-image, inpainting and outpainting in one.

Training goes on from the checkpoint in the work folder, or from the shipped weights where
there is none.  It runs at 128 px first, where a sample costs less than half, and at 256 px
after ``--first-samples``; it stops after ``--minutes``, at ``--until``, when the stop file
appears, or on Ctrl-C or SIGTERM, and always saves first.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import time
from pathlib import Path

import numpy as np
import torch

from .data import Latents
from .masks import loss_weight
from .models import MODEL_DIR, load_unet, make_unet
from .optim import EMA, Muon, Team, has_bf16, save_atomic
from .schedule import ALPHAS, STEPS


def add_arguments(parser: argparse.ArgumentParser):
    """The options of ``train``; the defaults suit two CPU cores."""
    add = parser.add_argument
    add('--work', type=Path, required=True, help='folder with lat/ and the checkpoint unet.pt')
    add('--model', type=Path, default=MODEL_DIR, help='start from these weights without checkpoint')
    add('--preset', default='', help='start from fresh weights of this size instead (base, large)')
    add('--res', default='auto', help='128, 256, or auto: 128 until --first-samples, then 256')
    add('--first-samples', type=int, default=1_000_000, help='samples at 128 px for --res auto')
    add('--minutes', type=float, default=0, help='stop after this time (default: go on)')
    add('--until', default='', help='stop at this local time, HH:MM')
    add('--max-steps', type=int, default=0, help='stop after this many steps')
    add('--batch', type=int, default=64)
    add('--micro', type=int, default=16, help='samples that go through the network at once')
    add('--workers', type=int, default=2, help='single-threaded workers (CPU)')
    add('--device', default='cpu')
    add('--lr', type=float, default=6e-4, help='AdamW: norms, biases, first and last layer')
    add('--muon', type=float, default=0.01, help='Muon: all other weights')
    add('--warmup', type=int, default=100, help='steps until the full learning rate')
    add('--final', type=float, default=1.0, help='share of the learning rate left at the end')
    add('--start', type=float, default=1.0, help='share of the learning rate at the beginning')
    add('--ema', type=float, default=0.998, help='decay of the averaged weights')
    add('--reset-ema', action='store_true', help='start the average anew')
    add('--drop', type=float, default=0.1, help='share of samples with the empty prompt')
    add('--full', type=float, default=0.45, help='share of samples without any known pixel')
    add('--known-weight', type=float, default=0.3, help='loss weight of known cells')
    add('--seam-weight', type=float, default=1.0, help='extra loss weight along mask edges')
    add('--log', type=int, default=20, help='steps between lines of the log')
    add('--save-minutes', type=float, default=2.5)
    add('--pause-file', default='', help='training waits while this file exists')
    add('--stop-file', default='', help='training saves and ends when this file appears')
    add('--seed', type=int, default=-1, help='for repeatable runs (default: the clock)')
    add('--precision', choices=['auto', 'bf16', 'f32'], default='auto', help='of the arithmetic')


class Trainer:
    """Model, optimisers and average, with saving and restoring."""

    def __init__(self, options: argparse.Namespace):
        self.options = options
        self.device = torch.device(options.device)
        self.cuda = self.device.type == 'cuda'
        self.bf16 = options.precision == 'bf16' or (
            options.precision == 'auto' and (self.cuda or has_bf16())
        )
        self.checkpoint = options.work / 'unet.pt'
        self.step_count, self.seen = 0, {}
        saved = None
        if self.checkpoint.exists():
            saved = torch.load(self.checkpoint, map_location=self.device)
        self.preset = saved['preset'] if saved else options.preset or 'small'
        if saved or options.preset:
            self.unet = make_unet(self.preset)
        else:
            self.unet = load_unet(options.model)
        self.unet.train().requires_grad_(True)
        self.unet.to(self.device, memory_format=torch.channels_last)
        if saved:
            self.unet.load_state_dict(saved['model'])
        self._make_optimisers()
        self.ema = EMA(self.unet, options.ema)
        if saved:
            self._restore(saved)
        self.team = Team(self.unet, 1 if self.cuda else options.workers)
        self.alphas = ALPHAS.float().to(self.device)

    def _make_optimisers(self):
        plain = ('conv_in', 'conv_out', 'time_embedding')
        matrices = [
            p for n, p in self.unet.named_parameters() if p.ndim >= 2 and not n.startswith(plain)
        ]
        chosen = {id(p) for p in matrices}
        rest = [p for p in self.unet.parameters() if id(p) not in chosen]
        rate = self.options.lr
        self.adam = torch.optim.AdamW(
            rest, lr=rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True
        )
        self.muon = Muon(matrices, lr=self.options.muon)

    def _restore(self, saved: dict):
        if saved.get('opt'):
            self.adam.load_state_dict(saved['opt'])
            self.muon.load_state_dict(saved['opt2'])
            for group in self.muon.param_groups:
                group.setdefault('iterations', 4)
        self.step_count, self.seen = saved['step'], saved['seen']
        if not self.options.reset_ema:
            self.ema.weights = [w.to(self.device).float() for w in saved['ema']]
            self.ema.steps = saved['step']
        print(f'resumed {self.checkpoint}: step {self.step_count}, seen {self.seen}', flush=True)

    def save(self):
        """Everything needed to go on."""
        state = {
            'model': self.unet.state_dict(),
            'ema': self.ema.weights,
            'opt': self.adam.state_dict(),
            'opt2': self.muon.state_dict(),
            'step': self.step_count,
            'seen': self.seen,
            'preset': self.preset,
        }
        save_atomic(state, self.checkpoint)

    def loss(self, model, batch):
        """Weighted v-prediction loss, and (loss, text-to-image part, inpainting part)."""
        latent, mask, known, context = batch
        step = torch.randint(0, STEPS, (len(latent),), device=self.device)
        alpha = self.alphas[step][:, None, None, None]
        noise = torch.randn_like(latent)
        noisy = alpha.sqrt() * latent + (1 - alpha).sqrt() * noise
        target = alpha.sqrt() * noise - (1 - alpha).sqrt() * latent
        inputs = torch.cat([noisy, mask, known], 1).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            predicted = model(inputs, step, context).sample
        error = (predicted.float() - target).square()
        weight = loss_weight(mask, self.options.known_weight, self.options.seam_weight)
        loss = (error * weight).mean() / weight.mean()
        each = error.detach().mean((1, 2, 3)).cpu()
        full = (mask.mean((1, 2, 3)) > 0.99).cpu()
        parts = [float(each[rows].mean()) if rows.any() else np.nan for rows in (full, ~full)]
        return loss, (float(loss.detach()), *parts)

    def train_step(self, data: Latents, rate: float) -> list:
        """One step of both optimisers at a share of their learning rates."""
        options = self.options
        self.adam.param_groups[0]['lr'] = options.lr * rate
        self.muon.param_groups[0]['lr'] = options.muon * rate
        micro = options.batch if self.cuda else min(options.micro, options.batch)
        batches = [data.batch(micro) for _ in range(max(1, options.batch // micro))]
        statistics = self.team.step(batches, self.loss)
        torch.nn.utils.clip_grad_norm_(self.unet.parameters(), 1.0)
        self.adam.step()
        self.muon.step(1 if self.cuda else options.workers)
        self.adam.zero_grad(set_to_none=True)
        self.muon.zero_grad(set_to_none=True)
        self.ema.update(self.unet)
        self.step_count += 1
        self.seen[data.size] = self.seen.get(data.size, 0) + micro * len(batches)
        return statistics


def _minutes(options: argparse.Namespace) -> float:
    """The time limit in minutes; infinite without one."""
    if not options.until:
        return options.minutes or math.inf
    hour, minute = map(int, options.until.split(':'))
    now = time.localtime()
    wait = (hour - now.tm_hour) * 60 + minute - now.tm_min - now.tm_sec / 60
    return wait % (24 * 60)


def _exists(path: str) -> bool:
    return bool(path) and os.path.exists(path)


def _resolution(options: argparse.Namespace, seen: dict) -> int:
    if options.res != 'auto':
        return int(options.res)
    return 128 if seen.get('128', 0) < options.first_samples else 256


def _open(options: argparse.Namespace, size: int, seed: int) -> Latents:
    """The data of one resolution; waits until the first shard is there."""
    data = Latents(options.work / 'lat', size, options.device, options.full, options.drop, seed)
    while not len(data):
        print('waiting for encoded pictures', flush=True)
        time.sleep(10)
        data.refresh()
    return data


def train(options: argparse.Namespace) -> list[float]:
    """Run until one of the limits; returns the loss of every step."""
    cuda = options.device.startswith('cuda')
    if cuda:
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = True
    seed = options.seed if options.seed >= 0 else int(time.time())
    torch.manual_seed(seed)
    trainer = Trainer(options)
    data = _open(options, _resolution(options, trainer.seen), seed)
    print(
        f'{sum(p.numel() for p in trainer.unet.parameters()) / 1e6:.1f} M parameters, '
        f'{len(data)} pictures at {data.size} px',
        flush=True,
    )

    stop = []
    handlers = {}
    for number in (signal.SIGTERM, signal.SIGINT):
        handlers[number] = signal.signal(number, lambda *_: stop.append(True))
    limit = _minutes(options)
    begun = saved = logged = time.time()
    losses, recent, done = [], [], 0
    while not stop and (time.time() - begun) / 60 < limit:
        if options.max_steps and done >= options.max_steps:
            break
        if _exists(options.pause_file):
            trainer.save()
            print('paused', flush=True)
            while _exists(options.pause_file) and not stop and not _exists(options.stop_file):
                time.sleep(2)
            logged = time.time()
        if stop or _exists(options.stop_file):
            break
        size = _resolution(options, trainer.seen)
        if str(size) != data.size:
            print(f'changing to {size} px', flush=True)
            data = _open(options, size, seed)
        progress = 0.0 if limit == math.inf else min(1, (time.time() - begun) / 60 / limit)
        cosine = 0.5 * (1 + math.cos(math.pi * progress))
        rate = options.final + (options.start - options.final) * cosine
        rate *= min(1, (done + 1) / max(1, options.warmup))
        statistics = trainer.train_step(data, rate)
        done += 1
        recent += statistics
        losses.append(float(np.mean([s[0] for s in statistics])))
        if done % options.log == 0:
            means = np.nanmean(np.array(recent, float), 0)
            speed = options.log * options.batch / (time.time() - logged)
            print(
                f'step {trainer.step_count} seen {trainer.seen} '
                f'{(time.time() - begun) / 60:.1f} min loss {means[0]:.4f} t2i {means[1]:.4f} '
                f'inpaint {means[2]:.4f} rate {rate:.2f} n={len(data)} {speed:.1f}/s',
                flush=True,
            )
            recent, logged = [], time.time()
            if not cuda:
                data.refresh()
        if time.time() - saved > options.save_minutes * 60:
            trainer.save()
            saved = time.time()
    trainer.save()
    for number, handler in handlers.items():
        signal.signal(number, handler)
    print('stopped', trainer.step_count, trainer.seen, flush=True)
    return losses
