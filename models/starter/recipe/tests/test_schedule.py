"""The samplers agree with the reference implementation on a toy model."""

from types import SimpleNamespace

import pytest
import torch

from recipe.schedule import (
    ALPHAS,
    SCHEDULER_CONFIG,
    ddim,
    dpmpp_2m,
    guided,
    keep_known,
    nearest_fill,
)


class Toy(torch.nn.Module):
    """A smooth v-prediction that depends on everything a UNet sees."""

    def forward(self, x, step, context):
        shift = context.mean((1, 2))[:, None, None, None]
        time = (step.float() / 1000)[:, None, None, None]
        value = 0.6 * x[:, :4] - 0.2 * x[:, 5:] + shift * torch.cos(3 * time) + 0.1 * x[:, 4:5]
        return SimpleNamespace(sample=torch.tanh(value))


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(2, 4, 8, 8, generator=generator)
    mask = torch.zeros(2, 1, 8, 8)
    mask[..., 3:] = 1
    known = torch.randn(2, 4, 8, 8, generator=generator)
    context = torch.randn(2, 5, 6, generator=generator)
    return noise, torch.cat([mask, known], 1), context, torch.zeros(1, 5, 6)


def reference(scheduler, steps, noise, extra, context, null, guidance):
    scheduler.set_timesteps(steps)
    x = noise
    for step in scheduler.timesteps:
        v = guided(Toy(), x, int(step), extra, context, null, guidance)
        x = scheduler.step(v, step, x).prev_sample
    return x


@pytest.mark.parametrize('steps', [4, 20])
def test_ddim(inputs, steps):
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler.from_config(SCHEDULER_CONFIG)
    assert torch.allclose(scheduler.alphas_cumprod.double(), ALPHAS, atol=1e-5)
    expected = reference(scheduler, steps, *inputs, 3.0)
    found = ddim(Toy(), *inputs, steps, 3.0, blend=False)
    assert torch.allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize('steps', [5, 15])
def test_dpmpp_2m(inputs, steps):
    from diffusers import DPMSolverMultistepScheduler

    config = {**SCHEDULER_CONFIG, 'timestep_spacing': 'linspace', 'final_sigmas_type': 'zero'}
    for key in ('_class_name', 'clip_sample', 'set_alpha_to_one', 'skip_prk_steps'):
        config.pop(key)
    scheduler = DPMSolverMultistepScheduler.from_config(config, lower_order_final=True)
    expected = reference(scheduler, steps, *inputs, 3.0)
    found = dpmpp_2m(Toy(), *inputs, steps, 3.0, blend=False)
    assert torch.allclose(found, expected, atol=2e-3), (found - expected).abs().max()


def test_known_part_comes_back_exactly(inputs):
    noise, extra, context, null = inputs
    found = dpmpp_2m(Toy(), noise, extra, context, null, 6, 2.0, blend=True, start=0.7)
    assert torch.equal(found[..., :3], extra[:, 1:, :, :3])
    assert torch.equal(keep_known(noise, extra, 1.0, noise)[..., :3], extra[:, 1:, :, :3])


def test_nearest_fill_copies_the_same_row(inputs):
    _, extra, _, _ = inputs
    filled = nearest_fill(extra)
    assert torch.equal(filled[..., :3], extra[:, 1:, :, :3])
    assert torch.equal(filled[..., 3:], extra[:, 1:, :, 2:3].expand(-1, -1, -1, 5))
