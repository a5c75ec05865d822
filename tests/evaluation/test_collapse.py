"""The collapse detector, on real colours and on colours made for the purpose; and what it adds to a history."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from colorize_lib.color import AB_SCALE, to_lab
from colorize_lib.data.loader import ColorizationDataset, LabLoader
from colorize_lib.data.shipped import package_photographs
from colorize_lib.evaluation import collapse
from colorize_lib.evaluation.collapse import diversity, is_collapsed
from colorize_lib.evaluation.hues import HUE_NAMES, hue_of


@pytest.fixture(scope="module")
def crops() -> np.ndarray:
    """Crops of real photographs in random order: uint8 (N,32,32,3)."""
    rng, found = np.random.default_rng(0), []
    for path in package_photographs().values():
        with Image.open(path) as picture:
            picture.draft("RGB", (160, 160))  # reads a JPEG at a fraction of its size
            small = picture.convert("RGB").resize((160, 160))
        found += [small.resize((32, 32), box=(x, y, x + 90, y + 90)) for x, y in rng.integers(0, 70, (30, 2))]
    return rng.permutation(np.stack(found))


@pytest.fixture(scope="module")
def real(crops) -> torch.Tensor:
    """Their ab."""
    return to_lab(torch.from_numpy(crops))[1]


def test_real_images_against_others_are_not_collapsed_nor_are_dull_ones(real):
    ratios = diversity(real[::2], real[1::2])
    assert all(0.8 < ratio < 1.25 for ratio in ratios.values()), ratios
    assert not is_collapsed(**ratios) and not is_collapsed(**diversity(real / 2, real))
    assert diversity(real, real) == {"entropy_ratio": 1, "spread_ratio": 1}


def test_one_pattern_in_every_output_is_a_collapse_though_it_has_many_colors(real):
    colorful = max(real, key=lambda one: collapse.color_entropy(one[None]))
    ratios = diversity(colorful.expand_as(real) + 0.001 * torch.randn_like(real), real)
    assert ratios["entropy_ratio"] > 0.5 and ratios["spread_ratio"] < 0.02
    assert is_collapsed(**ratios)


@pytest.mark.parametrize("color", [0.0, 0.2])
def test_one_color_everywhere_is_a_collapse_and_so_is_grey(real, color):
    ratios = diversity(torch.full_like(real, color), real)
    assert ratios == {"entropy_ratio": 0, "spread_ratio": pytest.approx(0, abs=1e-5)}
    assert is_collapsed(**ratios)


def test_entropy_and_spread_of_known_colors():
    colors = torch.tensor([(5.0, 5.0), (55.0, 5.0), (5.0, 55.0), (55.0, 55.0)])
    four = colors[:, :, None, None].expand(-1, -1, 4, 4) / AB_SCALE
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


class Grey(nn.Module):
    def forward(self, L: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(L), 2, *L.shape[2:])


def test_detailed_validation_has_everything_for_history(crops, real):
    crops, real = crops[:60], real[:60]
    val_dl = LabLoader(ColorizationDataset(crops), 25, train=False)
    scores = collapse.detailed_validation(np.arange(60) < 40)(Grey(), val_dl)
    assert scores["val_L1"] == pytest.approx(real.abs().mean().item(), rel=1e-4)
    assert scores["entropy_ratio"] == 0 and scores["spread_ratio"] == 0
    chroma = real.square().sum(dim=1).sqrt() * AB_SCALE
    blue = hue_of(real) == HUE_NAMES.index("blue")
    assert scores["error_blue"] == pytest.approx(chroma[blue].mean().item(), rel=1e-4)
    assert scores["blue_as_green"] == 0
    assert not any(math.isnan(value) for value in scores.values())


def test_blue_as_green_is_left_out_where_nothing_is_blue(crops):
    warm = np.full_like(crops[:4], (200, 30, 40))
    warm[2:] = (255, 150, 30)
    scores = collapse.detailed_validation()(Grey(), LabLoader(ColorizationDataset(warm), 2, train=False))
    assert "error_red" in scores and not {"error_blue", "blue_as_green"} & set(scores)
