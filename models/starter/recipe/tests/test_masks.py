"""Properties of random masks and of the loss weight."""

import numpy as np
import torch

from recipe.masks import loss_weight, make_mask, seam


def test_masks_are_binary_and_partial():
    box = (0.4, 0.4, 0.6, 0.7)
    shares = []
    for seed in range(300):
        mask = make_mask(np.random.default_rng(seed), 64, [box] if seed % 2 else [])
        assert mask.shape == (64, 64) and mask.dtype == np.uint8
        assert set(np.unique(mask)) <= {0, 1}
        assert 0.02 <= mask.mean() < 1
        shares.append(mask.mean())
    assert 0.25 < np.mean(shares) < 0.6


def test_same_seed_same_mask():
    one, two = (make_mask(np.random.default_rng([7, 77]), 64) for _ in range(2))
    assert (one == two).all()


def test_seam_is_where_painted_meets_known():
    mask = torch.zeros(1, 1, 6, 8)
    mask[..., 4:] = 1
    edge = seam(mask)
    assert (edge[..., 3:5] == 1).all()
    assert edge.sum() == 12
    assert seam(torch.ones(1, 1, 6, 8)).sum() == 0


def test_loss_weight():
    mask = torch.zeros(1, 1, 6, 8)
    mask[..., 4:] = 1
    weight = loss_weight(mask, known=0.3, at_seam=1.0)
    assert torch.allclose(weight[0, 0, 0], torch.tensor([0.3] * 3 + [1.3, 2.0] + [1.0] * 3))
