"""Answers that need no network, and how far several colourings of one picture lie apart."""

import numpy as np
import pytest
import torch
from pictures import photograph
from torch import nn

from colorize_lib.color import lab_to_rgb, rgb_to_ab, to_lab
from colorize_lib.data.loader import ColorizationDataset, LabLoader
from colorize_lib.evaluation.answers import colorings, simple_answers, variety


@pytest.fixture
def train_dl() -> LabLoader:
    pixels = np.stack([np.asarray(photograph(seed, (32, 32))) for seed in range(5)])
    return LabLoader(ColorizationDataset(pixels), 2, train=True)


def test_the_nearest_neighbour_of_a_training_photograph_is_itself_mirrored_or_not(train_dl):
    L, ab = (torch.cat(parts) for parts in zip(*(batch.values() for batch in train_dl.in_order()), strict=True))
    nearest = simple_answers(train_dl)["nearest neighbour"]
    torch.testing.assert_close(nearest(L), lab_to_rgb(L, ab))
    torch.testing.assert_close(nearest(L.flip(-1)), lab_to_rgb(L, ab).flip(-1))


def test_the_mean_colour_is_that_of_all_training_pixels(train_dl):
    _, ab = to_lab(torch.from_numpy(train_dl.dataset.photographs))
    painted = rgb_to_ab(simple_answers(train_dl)["mean colour"](torch.zeros(2, 1, 4, 4)))
    expected = ab.mean(dim=(0, 2, 3))[None, :, None, None].expand(2, 2, 4, 4)
    torch.testing.assert_close(painted, expected, atol=1e-3, rtol=0)


def test_variety_is_the_mean_over_all_pairs():
    L, ab = torch.zeros(2, 1, 4, 4), torch.zeros(3, 2, 2, 4, 4)
    ab[1, 0, 0], ab[2, 0, 1] = 0.3, 0.4  # of the first picture; the pairs lie 0.3, 0.4 and 0.5 apart
    between = iter([1.0, 2.0, 6.0])
    found = variety(ab, L, lambda one, other: torch.full((2,), next(between)))
    assert found == {"variety": pytest.approx(110 * 0.4 / 2), "perceptual_lite0": 3}


def test_colourings_of_generators_with_dropout_differ_and_others_are_left_out():
    nets = {"noisy": nn.Sequential(nn.Conv2d(1, 2, 1), nn.Dropout(0.5)), "plain": nn.Conv2d(1, 2, 1)}
    [(name, ab)] = colorings(nets, torch.ones(2, 1, 4, 4), 3).items()
    assert name == "noisy" and ab.shape == (3, 2, 2, 4, 4) and variety(ab)["variety"] > 0
