"""The measures of an extension's edges."""

import numpy as np
import pytest

from recipe.evaluate import edge_scores
from recipe.landscapes import render, sample_attrs


@pytest.fixture(scope='module')
def panorama():
    def level(seed):
        attrs = sample_attrs(seed)
        return attrs['terrain'] == 'sea' and attrs['weather'] == 'clear'

    picture, attrs = render(next(filter(level, range(9_020_000, 9_021_000))), 256, 512)
    return picture, round(attrs['horizon'] * 256)


def test_a_render_has_no_edge(panorama):
    picture, horizon = panorama
    scores = [edge_scores(picture, column, horizon) for column in range(60, 460, 16)]
    ratio, shift = np.median(scores, 0)
    assert 0.7 < ratio < 1.3 and shift <= 1


@pytest.mark.parametrize('by', [5, -7])
def test_a_shifted_half_is_seen(panorama, by):
    picture, horizon = panorama
    broken = picture.copy()
    broken[:, 128:] = np.roll(picture, by, 0)[:, 128:]
    ratio, shift = edge_scores(broken, 128, horizon)
    assert ratio > 2 and abs(shift - abs(by)) <= 1


def test_a_paler_half_is_a_seam_without_a_break(panorama):
    picture, horizon = panorama
    paler = picture.astype(np.float32)
    paler[:, 128:] = paler[:, 128:] * 0.8 + 40
    ratio, shift = edge_scores(paler, 128, horizon)
    assert ratio > 2 and shift <= 2


def test_a_flat_picture_has_neither():
    flat = np.full((256, 512, 3), 90, np.uint8)
    assert edge_scores(flat, 128, 150) == (0.0, 0.0)
