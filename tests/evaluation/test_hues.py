"""Figures by hue, on colours made for the purpose."""

import math

import numpy as np
import pytest
import torch
from skimage.color import rgb2lab

from colorize_lib.color import AB_SCALE
from colorize_lib.evaluation.hues import HUE_NAMES, hue_errors, hue_of, share_painted


def plain(*colors: tuple[float, float]) -> torch.Tensor:
    """One picture of 4x4 pixels for each colour (a*, b*): (N,2,4,4), normalised."""
    return torch.tensor(colors)[:, :, None, None].expand(-1, -1, 4, 4) / AB_SCALE


def test_colors_have_the_hue_that_people_call_them():
    called = {(200, 30, 40): "red", (150, 40, 60): "red", (60, 130, 50): "green", (60, 190, 190): "cyan"}
    called |= dict.fromkeys([(255, 150, 30), (240, 230, 60), (120, 80, 40)], "orange/yellow")  # the last is brown
    called |= {(120, 170, 230): "blue", (20, 40, 200): "blue", (150, 60, 180): "purple"}  # the first is sky
    called |= dict.fromkeys([(128, 128, 128), (130, 126, 124)], "near-grey")
    ab = rgb2lab(np.array([[list(called)]], dtype=np.uint8))[..., 1:] / AB_SCALE  # by skimage
    found = hue_of(torch.from_numpy(ab).permute(0, 3, 1, 2))[0, 0]
    assert [HUE_NAMES[k] for k in found] == list(called.values())


def test_hue_errors_are_means_over_the_true_hue():
    red, green, grey = (50.0, 10.0), (-40.0, 30.0), (1.0, 1.0)
    errors = hue_errors(plain((50, 10), (-40, 0), (4, 5)), plain(red, green, grey))
    assert errors["red"] == pytest.approx(0, abs=1e-5)
    assert errors["green"] == pytest.approx(30, rel=1e-5)
    assert errors["near-grey"] == pytest.approx(5, rel=1e-5)
    assert math.isnan(errors["blue"])


def test_blue_as_green_counts_only_blue_pixels():
    blue, green, grey = (0.0, -40.0), (-40.0, 30.0), (0.0, 0.0)
    true = plain(blue, blue, blue, blue, green)
    painted = plain(green, blue, grey, green, green)
    assert share_painted(painted, true, "blue", "green") == pytest.approx(0.5)
    assert math.isnan(share_painted(painted[4:], true[4:], "blue", "green"))
