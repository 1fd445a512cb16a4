"""The shipped folder is what its card says, and stock diffusers can run it."""

import json

import numpy as np
import pytest
import torch

from recipe.models import MODEL_DIR, TOKENS
from recipe.schedule import SCHEDULER_CONFIG
from recipe.text import TextEncoder


@pytest.fixture(scope='module')
def text():
    return TextEncoder()


def test_scheduler_file_is_the_training_schedule():
    path = MODEL_DIR / 'scheduler' / 'scheduler_config.json'
    assert json.loads(path.read_text()) == SCHEDULER_CONFIG


def test_contexts_are_padded_with_zeros(text):
    short, empty, long = text(['a lake', '', 'a lake ' * 40])
    assert short.shape == (TOKENS, 384)
    assert (short[4:] == 0).all() and (short[:4] != 0).any(1).all()
    assert (empty[2:] == 0).all()
    assert (long != 0).any(1).all()


def test_stock_pipeline_runs_the_folder(text):
    from diffusers import (
        AutoencoderKL,
        DDIMScheduler,
        StableDiffusionInpaintPipeline,
        UNet2DConditionModel,
    )
    from PIL import Image

    pipeline = StableDiffusionInpaintPipeline(
        vae=AutoencoderKL.from_pretrained(MODEL_DIR / 'vae').float(),
        unet=UNet2DConditionModel.from_pretrained(MODEL_DIR / 'unet').float(),
        scheduler=DDIMScheduler.from_pretrained(MODEL_DIR / 'scheduler'),
        text_encoder=None,
        tokenizer=None,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    picture = pipeline(
        prompt_embeds=text(['a beach at noon']),
        negative_prompt_embeds=text(['']),
        image=Image.new('RGB', (128, 128), (128, 128, 128)),
        mask_image=Image.new('L', (128, 128), 255),
        height=128,
        width=128,
        num_inference_steps=6,
        guidance_scale=3.0,
        generator=torch.Generator().manual_seed(0),
    ).images[0]
    pixels = np.array(picture)
    assert pixels.shape == (128, 128, 3)
    assert 30 < pixels.mean() < 230 and pixels.std() > 5
