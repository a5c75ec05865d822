"""Colour brought back to full size: bilinear without a guide, along the edges of lightness with it."""

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pictures import photograph
from PIL import Image

from colorize_lib import color
from colorize_lib.colorizing import enlarging
from colorize_lib.colorizing.enlarging import enlarge, small_copy
from colorize_lib.evaluation.regions import compare_enlarging


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture).astype(int)


@pytest.mark.parametrize("size", [(200, 150), (40, 90)])
def test_without_a_guide_colour_is_brought_back_by_bilinear_interpolation(size):
    picture = photograph(2, size)
    L, _ = small_copy(picture, 64)
    ab = 0.1 * torch.randn(1, 2, 64, 64, generator=torch.Generator().manual_seed(0))
    large = F.interpolate(ab, size=size[::-1], mode="bilinear", align_corners=False)
    L_large, _ = color.to_lab(torch.from_numpy(np.array(picture))[None])
    expected = color.to_uint8(color.lab_to_rgb(L_large, large))[0].numpy()
    assert abs(pixels(enlarge(picture, L, ab, guided=False)) - expected).max() <= 1


def test_the_guide_moves_borders_of_colour_to_borders_of_lightness():
    """A bright red disc on dark green: its colour, from a quarter of the size, ends nearer to where the disc ends."""
    y, x = np.mgrid[:256, :256] - 128
    inside = (x**2 + y**2 < 80**2)[..., None]
    truth = Image.fromarray(np.where(inside, (240, 120, 110), (20, 70, 30)).astype(np.uint8))
    table = compare_enlarging([truth], 64, {"bilinear": partial(enlarge, guided=False), "guided": enlarge})
    assert (table.loc["guided"] < 0.7 * table.loc["bilinear"]).all()
    assert (table > 0).all(axis=None)


def test_where_the_small_copy_lacks_nothing_the_guide_changes_nothing():
    picture = photograph(4, (64, 64))
    plain, guided = (pixels(enlarge(picture, *small_copy(picture, 64), on)) for on in (False, True))
    assert abs(plain - guided).max() <= 1
    assert abs(guided - pixels(picture)).max() <= 1


def test_strips_do_not_show_and_bound_what_is_worked_on_at_a_time(monkeypatch):
    picture, sizes, rgb_to_lab = photograph(1, (130, 90)), [], color.rgb_to_lab
    L, ab = small_copy(picture, 64)
    whole = pixels(enlarge(picture, L, ab))
    monkeypatch.setattr(color, "rgb_to_lab", lambda rgb: sizes.append(rgb[0, 0].numel()) or rgb_to_lab(rgb))
    for strip in (1, 1000):
        monkeypatch.setattr(enlarging, "STRIP_PIXELS", strip)
        sizes.clear()
        assert (pixels(enlarge(picture, L, ab)) == whole).all()
        assert len(sizes) >= 13 and max(sizes) <= max(strip, picture.width)
