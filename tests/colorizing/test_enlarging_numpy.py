"""Enlarging without torch is enlarging with it."""

import numpy as np
import pytest
import torch
from pictures import photograph

from colorize_lib import color
from colorize_lib.colorizing import enlarging as by_torch
from colorize_lib.colorizing import enlarging_numpy as enlarging


@pytest.mark.parametrize("size", [(200, 150), (40, 90), (1, 1), (5000, 1), (1100, 700)])
def test_numpy_and_torch_enlarge_alike(size):
    picture = photograph(2, size)
    L, _ = by_torch.small_copy(picture, 64)
    ab = torch.randn(1, 2, 64, 64, generator=torch.Generator().manual_seed(0)).mul(0.4).clamp(-1, 1)
    small = enlarging.small_lightness(picture, 64)
    np.testing.assert_allclose(small, L[0].numpy(), atol=2e-5)
    found = np.asarray(enlarging.enlarge(picture, small, ab[0].numpy())).astype(int)
    far = abs(found - np.asarray(by_torch.enlarge(picture, L, ab)))
    assert far.max() <= 1 and far.mean() < 0.01


def test_strips_do_not_show(monkeypatch):
    picture = photograph(1, (130, 90))
    L, ab = enlarging.small_lightness(picture, 64), np.random.default_rng(0).normal(0, 0.2, (2, 64, 64)).astype("f4")
    whole = np.asarray(enlarging.enlarge(picture, L, ab))
    monkeypatch.setattr(enlarging, "STRIP_PIXELS", 1000)
    assert (np.asarray(enlarging.enlarge(picture, L, ab)) == whole).all()


def test_scales_are_those_of_the_networks():
    assert (enlarging.L_SCALE, enlarging.L_SCALE, enlarging.AB_SCALE) == (
        color.L_SCALE,
        color.L_CENTER,
        color.AB_SCALE,
    )
