"""How well colour that was enlarged keeps to the edges of the truth."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from PIL import Image

from .. import color
from ..images import resize
from . import regions


class Truth:
    """A true photograph, to see how far others are from it."""

    def __init__(self, photograph: Image.Image):
        pixels = _pixels(photograph)
        self.lab = color.rgb_to_lab(pixels)
        self.edges = regions.region_masks(pixels / 255)["edges"]
        self.smooth = regions.is_smooth(self.lab)

    def errors(self, picture: Image.Image) -> dict[str, float]:
        """How far a picture of the same size is: the mean of |a* - true a*| and |b* - true b*| in Lab units, everywhere
        and along borders of the truth's regions, and `regions.spill`."""
        lab_hat = color.rgb_to_lab(_pixels(picture))
        error = (lab_hat - self.lab)[:, 1:].abs().mean(dim=1)
        return {
            "L1 of ab": error.mean().item(),
            "L1 at borders": error[self.edges].mean().item(),
            "spill": regions.spill(lab_hat, self.lab)[self.smooth].mean().item(),
        }


def compare_enlarging(
    photographs: list[Image.Image], size: int, ways: dict[str, Callable[..., Image.Image]]
) -> pd.DataFrame:
    """How far each way of enlarging leaves the colour from the truth: a row each, means over photographs of
    `Truth.errors`.

    photographs: true ones, RGB; their own colour in a copy of size x size is what is brought back, so that nothing but
    the enlarging errs. ways: name -> a function (picture, L, ab) like `colorizing.enlarging.enlarge`.
    """
    found: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for photograph in photographs:
        truth = Truth(photograph)
        small = color.to_lab(torch.from_numpy(resize(photograph, size).copy())[None])
        for way, bring_back in ways.items():
            found[way].append(truth.errors(bring_back(photograph, *small)))
    return pd.DataFrame({way: pd.DataFrame(rows).mean() for way, rows in found.items()}).T


def _pixels(picture: Image.Image) -> torch.Tensor:
    """uint8 (1,3,H,W)."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
