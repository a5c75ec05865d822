"""Levels: what is flat is stretched, what is whole or even stays."""

import numpy as np
from pictures import photograph

from colorize_lib.colorizing.colorizer import Colorizer
from colorize_lib.colorizing.levels import stretched


def test_a_flat_picture_is_seen_as_the_whole_one():
    L = np.random.default_rng(0).uniform(-1, 1, (1, 64, 64)).astype(np.float32)
    assert np.abs(stretched(L) - L).max() < 0.02 and stretched(L).dtype == np.float32
    np.testing.assert_allclose(stretched(0.3 * L + 0.2), stretched(L), atol=1e-5)
    even = L * 0.04
    assert stretched(even) is even


def test_a_faded_photograph_gets_the_colours_of_the_fresh_one():
    fresh = photograph(0, (96, 96)).convert("L")
    flat = fresh.point(lambda level: 90 + 0.4 * level)
    colorizer = Colorizer.load(None, "cpu", size=64)
    fresh, flat = (colorizer.believe(picture.convert("RGB"))[1].softmax(dim=1) for picture in (fresh, flat))
    assert (fresh - flat).abs().sum(dim=1).mean() < 0.3  # of 2 at most
