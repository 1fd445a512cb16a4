"""A whole small run: render, encode, train ten steps, save, resume, export."""

import argparse

import numpy as np
import pytest
import torch

from recipe import train
from recipe.data import Latents, Pictures, encode_shards, render_shards
from recipe.export import export_unet
from recipe.models import MODEL_DIR


@pytest.fixture(scope='module')
def work(tmp_path_factory):
    """Eight pictures of 64 px with their latents and contexts, in two shards."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp('work')
    assert len(list(render_shards(folder / 'img', 100, 8, size=64, shard=4))) == 2
    done = list(encode_shards(folder / 'img', folder / 'lat', sizes=[64], captions=2))
    assert len(done) == 4
    assert not list(render_shards(folder / 'img', 100, 8, size=64, shard=4))
    assert not list(encode_shards(folder / 'img', folder / 'lat', sizes=[64], captions=2))
    return folder


def options(work, *more):
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    fixed = ['--work', str(work), '--preset', 'tiny', '--res', '64', '--seed', '3']
    fixed += ['--workers', '1', '--batch', '8', '--micro', '8', '--warmup', '2']
    fixed += ['--lr', '0.003', '--muon', '0.02', '--ema', '0.5']
    return parser.parse_args([*fixed, *more])


def fixed_loss(trainer, work):
    """Loss on fixed batches, times and noise."""
    data = Latents(work / 'lat', 64, seed=9)
    torch.manual_seed(9)
    with torch.no_grad():
        losses = [float(trainer.loss(trainer.unet, data.batch(8))[0]) for _ in range(4)]
    return float(np.mean(losses))


def test_data(work):
    pictures = Pictures(work / 'img')
    assert len(pictures) == 8 and pictures[7].shape == (64, 64, 3)
    assert [a['seed'] for a in pictures.attributes()] == list(range(100, 108))
    data = Latents(work / 'lat', 64, full=0.5)
    latent, mask, known, context = data.batch(16)
    assert latent.shape == known.shape == (16, 4, 8, 8)
    assert mask.shape == (16, 1, 8, 8) and context.shape == (16, 32, 384)
    full = mask.mean((1, 2, 3)) == 1
    assert 0 < full.sum() < 16
    assert torch.equal(known[full], data.gray.expand(int(full.sum()), -1, -1, -1))


def test_ten_steps_lower_the_loss_and_resume(work, tmp_path):
    torch.manual_seed(3)
    before = fixed_loss(train.Trainer(options(work)), work)
    losses = train.train(options(work, '--max-steps', '10'))
    assert len(losses) == 10
    resumed = train.Trainer(options(work))
    assert resumed.step_count == 10 and resumed.seen == {'64': 80}
    after = fixed_loss(resumed, work)
    assert after < 0.9 * before, (before, after)
    assert resumed.muon.state and resumed.adam.state

    assert export_unet(work / 'unet.pt', tmp_path) == {'step': 10, 'seen': {'64': 80}}
    from diffusers import UNet2DConditionModel

    loaded = UNet2DConditionModel.from_pretrained(tmp_path / 'unet').float()
    for found, average in zip(loaded.parameters(), resumed.ema.weights):
        assert torch.allclose(found, average, atol=2e-3)


def test_stop_file_ends_training_at_once_even_when_paused(work, tmp_path):
    stop = tmp_path / 'stop'
    stop.touch()
    assert train.train(options(work, '--stop-file', str(stop))) == []
    more = ['--stop-file', str(stop), '--pause-file', str(stop)]
    assert train.train(options(work, *more)) == []


def test_shipped_weights_can_be_continued():
    shipped = argparse.Namespace(**vars(options(MODEL_DIR / 'nowhere')))
    shipped.preset = ''
    trainer = train.Trainer(shipped)
    assert trainer.step_count == 0
    assert all(p.requires_grad and p.dtype == torch.float32 for p in trainer.unet.parameters())
