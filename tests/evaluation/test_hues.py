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


@pytest.mark.parametrize(
    "rgb, hue",
    [
        ((200, 30, 40), "red"),
        ((150, 40, 60), "red"),
        ((255, 150, 30), "orange/yellow"),
        ((240, 230, 60), "orange/yellow"),
        ((120, 80, 40), "orange/yellow"),  # brown
        ((60, 130, 50), "green"),
        ((60, 190, 190), "cyan"),
        ((120, 170, 230), "blue"),  # sky
        ((20, 40, 200), "blue"),
        ((150, 60, 180), "purple"),
        ((128, 128, 128), "near-grey"),
        ((130, 126, 124), "near-grey"),
    ],
)
def test_colors_have_the_hue_that_people_call_them(rgb, hue):
    ab = rgb2lab(np.array(rgb, dtype=np.uint8)[None, None])[..., 1:] / AB_SCALE  # by skimage
    found = hue_of(torch.from_numpy(ab).permute(2, 0, 1)[None])
    assert HUE_NAMES[found.item()] == hue


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
