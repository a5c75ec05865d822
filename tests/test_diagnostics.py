"""The collapse detector and the figures by hue, on colours made for the purpose."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from skimage.color import rgb2lab
from torch import nn

from colorize_lib.color import AB_SCALE, to_lab
from colorize_lib.data.cifar10 import find_images, make_image_loaders
from colorize_lib.evaluation import collapse, hues
from colorize_lib.evaluation.collapse import diversity, is_collapsed
from colorize_lib.evaluation.hues import HUE_NAMES, hue_errors, hue_of


def plain(*colors: tuple[float, float]) -> torch.Tensor:
    """One picture of 4x4 pixels for each colour (a*, b*): (N,2,4,4), normalised."""
    return torch.tensor(colors)[:, :, None, None].expand(-1, -1, 4, 4) / AB_SCALE


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> torch.Tensor:
    """The ab of real images: the crops that train in the source `sample`, shuffled."""
    train, _ = find_images("sample", data_dir=tmp_path_factory.mktemp("data"))
    order = np.random.default_rng(0).permutation(len(train.images))
    return to_lab(torch.from_numpy(train.images[order]))[1]


# --- collapse --------------------------------------------------------------------------------------------------------


def test_real_images_against_others_are_not_collapsed(real):
    ratios = diversity(real[:120], real[120:])
    assert all(0.8 < ratio < 1.25 for ratio in ratios.values()), ratios
    assert not is_collapsed(**ratios)
    assert diversity(real, real) == {"entropy_ratio": 1, "spread_ratio": 1}


def test_one_pattern_in_every_output_is_a_collapse_though_it_has_many_colors(real):
    colorful = real[diagnostics_of(real).argmax()]
    ratios = diversity(colorful.expand_as(real) + 0.001 * torch.randn_like(real), real)
    assert ratios["entropy_ratio"] > 0.5 and ratios["spread_ratio"] < 0.02
    assert is_collapsed(**ratios)


def diagnostics_of(real: torch.Tensor) -> torch.Tensor:
    return torch.tensor([collapse.color_entropy(one[None]) for one in real])


def test_a_colour_grid_in_every_output_is_a_collapse(real):
    grid = torch.zeros(2, 32, 32)
    grid[0, ::2, ::2], grid[1, 1::2, 1::2] = 0.3, -0.3
    assert is_collapsed(**diversity(grid.expand_as(real), real))


def test_one_color_everywhere_and_grey_are_collapses(real):
    for color in (0.0, 0.2):
        ratios = diversity(torch.full_like(real, color), real)
        assert ratios == {"entropy_ratio": 0, "spread_ratio": pytest.approx(0, abs=1e-5)}
        assert is_collapsed(**ratios)


def test_half_as_saturated_images_are_dull_and_not_collapsed(real):
    assert not is_collapsed(**diversity(real / 2, real))


def test_entropy_and_spread_of_known_colors():
    four = plain((5, 5), (55, 5), (5, 55), (55, 55))
    assert collapse.color_entropy(four) == pytest.approx(math.log(4))
    assert collapse.color_entropy(four[:1]) == 0
    # the four lie sqrt(2) * 25 from their middle
    assert collapse.mean_color_spread(four) == pytest.approx(25 * 2**0.5, rel=1e-5)


def test_the_verdict_on_a_run_counts_its_collapsed_epochs():
    history = pd.DataFrame(
        {
            "kind": ["epoch", "iteration", "epoch", "epoch"],
            "entropy_ratio": [0.9, None, 0.3, 0.8],
            "spread_ratio": [0.1, None, 0.9, 0.6],
        }
    )
    verdict = collapse.verdicts({"one": history, "shorter": history[:3]})
    assert verdict["epochs"].tolist() == [3, 2] and verdict["collapsed in"].tolist() == [2, 2]
    assert verdict["collapsed at the end"].tolist() == [False, True]
    assert verdict.loc["one", ["entropy_ratio", "spread_ratio"]].tolist() == [0.8, 0.6]


# --- hues --------------------------------------------------------------------------------------------------------


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
    assert hues.share_painted(painted, true, "blue", "green") == pytest.approx(0.5)
    assert math.isnan(hues.share_painted(painted[4:], true[4:], "blue", "green"))


def test_the_epoch_of_half_the_gain():
    history = pd.DataFrame(
        {
            "kind": ["epoch", "iteration", "epoch", "epoch", "epoch"],
            "epoch": [1, 2, 2, 3, 4],
            "error_red": [30.0, None, 28.0, 22.0, 20.0],  # from 30 (grey) to 20: half is 25
            "error_blue": [18.0, None, 16.0, 17.0, 12.0],  # from 20 to 12: half is 16
            "error_green": [9.0, None, 9.0, 9.0, 11.0],  # ends worse than grey
        }
    )
    found = collapse.half_gain_epochs(history, {"red": 30.0, "blue": 20.0, "green": 10.0, "cyan": 5.0})
    assert found == {"red": 3, "blue": 2, "green": None}


# --- as a score of the training loop ---------------------------------------------------------------------------------


class Grey(nn.Module):
    def forward(self, L: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(L), 2, *L.shape[2:])


def test_detailed_validation_has_everything_for_history(tmp_path):
    train, test = find_images("sample", data_dir=tmp_path)
    val_dl = make_image_loaders(train, test, 50)[1]
    scores = collapse.detailed_validation(np.arange(len(test.images)) < 40)(Grey(), val_dl)
    _, ab = to_lab(torch.from_numpy(test.images))
    assert scores["val_L1"] == pytest.approx(ab.abs().mean().item(), rel=1e-4)
    assert scores["entropy_ratio"] == 0 and scores["spread_ratio"] == 0
    chroma = ab.square().sum(dim=1).sqrt() * AB_SCALE
    assert scores["error_blue"] == pytest.approx(chroma[hue_of(ab) == HUE_NAMES.index("blue")].mean().item(), rel=1e-4)
    assert scores.get("blue_as_green", 0) == 0
    assert not any(math.isnan(value) for value in scores.values())
