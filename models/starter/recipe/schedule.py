"""Noise schedule and samplers: plain functions that agree with diffusers' DDIM and DPM++ 2M."""

from __future__ import annotations

import math

import numpy as np
import torch

# scaled_linear as in Stable Diffusion, with a larger end so that the last step is almost noise
BETA_START, BETA_END, STEPS = 0.00085, 0.02, 1000
BETAS = torch.linspace(BETA_START**0.5, BETA_END**0.5, STEPS, dtype=torch.float64) ** 2
ALPHAS = torch.cumprod(1 - BETAS, 0)  # cumulative: share of the picture's variance at each step
SCHEDULER_CONFIG = {
    '_class_name': 'DDIMScheduler',
    '_diffusers_version': '0.30.0',
    'beta_start': BETA_START,
    'beta_end': BETA_END,
    'beta_schedule': 'scaled_linear',
    'num_train_timesteps': STEPS,
    'prediction_type': 'v_prediction',
    'clip_sample': False,
    'set_alpha_to_one': False,
    'steps_offset': 1,
    'timestep_spacing': 'leading',
    'skip_prk_steps': True,
}


def guided(unet, x, step, extra, context, null, guidance):
    """Predicted v with classifier-free guidance; extra is the mask and the masked latents."""
    inputs = torch.cat([x, extra], 1)
    steps = torch.full((len(x),), step, device=x.device, dtype=torch.long)
    if guidance == 1:
        return unet(inputs, steps, context).sample
    contexts = torch.cat([null.expand_as(context), context])
    both = unet(torch.cat([inputs, inputs]), torch.cat([steps, steps]), contexts).sample
    without, with_ = both.chunk(2)
    return without + guidance * (with_ - without)


def keep_known(x, extra, alpha, noise):
    """Put the known part, noised to this level, back: in- and outpainting join up better."""
    mask, known = extra[:, :1], extra[:, 1:]
    return mask * x + (1 - mask) * (alpha**0.5 * known + (1 - alpha) ** 0.5 * noise)


def nearest_fill(extra, row_bias: float = 3.0):
    """Latents whose unknown cells copy the nearest known one, preferably in the same row.

    A rough continuation to start in- and outpainting from, instead of pure noise.
    """
    mask, known = extra[:, 0], extra[:, 1:]
    batch, channels, height, width = known.shape
    ys, xs = torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij')
    ys, xs = ys.flatten().float(), xs.flatten().float()
    distance = (xs[:, None] - xs[None]).abs() + row_bias * (ys[:, None] - ys[None]).abs()
    out = known.clone()
    for b in range(batch):
        cells = (mask[b].flatten() < 0.5).nonzero()[:, 0].cpu()
        if len(cells):
            nearest = cells[distance[:, cells].argmin(1)].to(known.device)
            out[b] = known[b].flatten(1)[:, nearest].reshape(channels, height, width)
    return out


@torch.no_grad()
def ddim(unet, noise, extra, context, null, steps=20, guidance=3.0, blend=True):
    """DDIM with 'leading' time steps."""
    x = noise
    stride = STEPS // steps
    for step in [i * stride + 1 for i in range(steps)][::-1]:
        alpha = float(ALPHAS[step])
        previous = float(ALPHAS[step - stride]) if step > stride else float(ALPHAS[0])
        v = guided(unet, x, step, extra, context, null, guidance).float()
        picture = alpha**0.5 * x - (1 - alpha) ** 0.5 * v
        residue = alpha**0.5 * v + (1 - alpha) ** 0.5 * x
        x = previous**0.5 * picture + (1 - previous) ** 0.5 * residue
        if blend:
            x = keep_known(x, extra, previous, noise)
    return x


def _half_log_snr(step: int) -> float:
    alpha = float(ALPHAS[step])
    return 0.5 * math.log(alpha / (1 - alpha))


@torch.no_grad()
def dpmpp_2m(unet, noise, extra, context, null, steps=15, guidance=3.0, blend=True, start=1.0):
    """DPM-Solver++(2M) with 'linspace' time steps.

    ``start`` below 1 begins at that share of the noise, from ``nearest_fill``.
    """
    x = noise
    points = np.linspace(0, round(start * (STEPS - 1)), steps + 1)[::-1][:-1]
    times = [round(v) for v in points]
    if start < 1:
        alpha = float(ALPHAS[times[0]])
        x = alpha**0.5 * nearest_fill(extra) + (1 - alpha) ** 0.5 * noise
    older, older_width = None, None
    for i, step in enumerate(times):
        last = i + 1 == len(times)
        follow = 0 if last else times[i + 1]
        alpha, sigma = float(ALPHAS[step]) ** 0.5, (1 - float(ALPHAS[step])) ** 0.5
        alpha_next, sigma_next = float(ALPHAS[follow]) ** 0.5, (1 - float(ALPHAS[follow])) ** 0.5
        v = guided(unet, x, step, extra, context, null, guidance).float()
        picture = alpha * x - sigma * v
        width = _half_log_snr(follow) - _half_log_snr(step)
        direction = picture
        if older is not None and not last:
            ratio = older_width / width
            direction = (1 + 1 / (2 * ratio)) * picture - older / (2 * ratio)
        x = sigma_next / sigma * x - alpha_next * (math.exp(-width) - 1) * direction
        if blend:
            x = keep_known(x, extra, alpha_next**2, noise)
        older, older_width = picture, width
    return keep_known(picture, extra, 1.0, noise) if blend else picture
