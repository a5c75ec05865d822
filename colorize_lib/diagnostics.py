"""What averages hide: whether a generator has collapsed, which hues it has learned, and what it paints blue things.

Colours are compared in CIE L*a*b*, where chroma is hypot(a*, b*) and hue the angle atan2(b*, a*) (CIE 15:2004, section
8.2.2). All inputs are normalised ab = ab* / 110.
"""

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pandas as pd
import torch
from torch import nn

from .color import AB_SCALE, lab_to_rgb
from .dataset import LabLoader
from .gan import colorize_batch
from .metrics import mean_scores

# Hue angles in degrees: from here to the next. sRGB's red lies at 40, yellow at 103, green at 136, cyan at 196, blue at
# 306 and magenta at 328; skies and seas of photographs lie between 220 and 290.
HUES = {"red": -15, "orange/yellow": 45, "green": 112, "cyan": 170, "blue": 215, "purple": 310}
NEAR_GREY = 10.0  # chroma below which a colour has no hue worth the name, in Lab units
HUE_NAMES = (*HUES, "near-grey")

ENTROPY_BIN = 10.0  # side of a bin of the ab histogram, in Lab units: that of Zhang et al., arXiv:1603.08511
# Ratios to the truth below which a generator counts as collapsed. On CIFAR-10 a collapsed one had a spread of 0.22; an
# L2 regression, dull but not collapsed, had 0.48 and 0.30 after 20 epochs (after its first 0.36 and 0.12; notebook 05).
COLLAPSED_ENTROPY, COLLAPSED_SPREAD = 0.35, 0.25


def color_entropy(ab: torch.Tensor) -> float:
    """Entropy, in nats, of the histogram of all pixels' ab in bins of 10 x 10 Lab units. ab: (N,2,H,W).

    0 if one bin holds all pixels, log(k) if k bins hold equally many.
    """
    bins = ((ab * AB_SCALE + 110) / ENTROPY_BIN).floor().long().clamp(0, 21)  # (N,2,H,W)
    shares = torch.bincount((bins[:, 0] * 22 + bins[:, 1]).flatten()).double() / bins[:, 0].numel()
    return abs(torch.xlogy(shares, shares).sum().item())


def mean_color_spread(ab: torch.Tensor) -> float:
    """How much images differ in mean colour, in Lab units: the root mean square distance of their mean ab, (N,2), from
    the mean of all. ab: (N,2,H,W)."""
    means = ab.mean(dim=(2, 3)) * AB_SCALE
    return (means - means.mean(dim=0)).square().sum(dim=1).mean().sqrt().item()


def diversity(ab_hat: torch.Tensor, ab: torch.Tensor) -> dict[str, float]:
    """The two figures of the collapse detector, each a ratio of generated to true, 1 being ideal.

    `entropy_ratio`: `color_entropy`, low if few colours are used at all. `spread_ratio`: `mean_color_spread`, low if
    every image gets the same colours, however many those are. Dull regression has low ratios too, but not as low as a
    collapsed generator. ab_hat, ab: (N,2,H,W).
    """
    return {
        "entropy_ratio": color_entropy(ab_hat) / color_entropy(ab),
        "spread_ratio": mean_color_spread(ab_hat) / mean_color_spread(ab),
    }


def is_collapsed(entropy_ratio: float, spread_ratio: float) -> bool:
    """The detector's verdict: few colours (`COLLAPSED_ENTROPY`), or the same ones everywhere (`COLLAPSED_SPREAD`)."""
    return entropy_ratio < COLLAPSED_ENTROPY or spread_ratio < COLLAPSED_SPREAD


def verdicts(runs: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """What the detector says of each run (name -> history): a row with the number of epochs, in how many of them the
    generator counts as collapsed, both ratios of the last epoch, and whether that one counts as collapsed.
    """
    rows = {}
    for name, history in runs.items():
        ratios = history[history.kind == "epoch"][["entropy_ratio", "spread_ratio"]]
        collapsed = [is_collapsed(*pair) for pair in ratios.itertuples(index=False)]
        rows[name] = {"epochs": len(ratios), "collapsed in": sum(collapsed), **ratios.iloc[-1].to_dict()}
        rows[name]["collapsed at the end"] = collapsed[-1]
    return pd.DataFrame.from_dict(rows, orient="index")


def hue_of(ab: torch.Tensor) -> torch.Tensor:
    """The hue of every pixel as an index into HUE_NAMES: (N,2,H,W) to (N,H,W)."""
    a, b = ab.float().unbind(dim=1)
    starts = list(HUES.values())
    angle = (torch.rad2deg(torch.atan2(b, a)) - starts[0]) % 360 + starts[0]
    hue = torch.bucketize(angle, torch.tensor(starts[1:], dtype=angle.dtype, device=angle.device), right=True)
    return torch.where(torch.hypot(a, b) * AB_SCALE < NEAR_GREY, len(HUES), hue)


def hue_errors(ab_hat: torch.Tensor, ab: torch.Tensor) -> dict[str, float]:
    """Mean distance of generated from true ab, in Lab units, over the pixels whose TRUE colour has each hue.

    Keys are HUE_NAMES; a hue without pixels is NaN. ab_hat, ab: (N,2,H,W).
    """
    distance = (ab_hat.float() - ab).square().sum(dim=1).sqrt() * AB_SCALE  # (N,H,W)
    hue = hue_of(ab)
    return {name: distance[hue == index].mean().item() for index, name in enumerate(HUE_NAMES)}


def grey_hue_errors(dl: LabLoader) -> dict[str, float]:
    """`hue_errors` of the grey answer, ab = 0, over all images of a loader."""
    ab = torch.cat([batch["ab"] for batch in dl])
    return hue_errors(torch.zeros_like(ab), ab)


def share_painted(ab_hat: torch.Tensor, ab: torch.Tensor, true: str, painted: str) -> float:
    """Of the pixels whose true hue is `true`, the share, in [0,1], that is painted in the hue `painted`.

    NaN if there are none. ab_hat, ab: (N,2,H,W).
    """
    return (hue_of(ab_hat)[hue_of(ab) == HUE_NAMES.index(true)] == HUE_NAMES.index(painted)).float().mean().item()


def has_dropout(net_G: nn.Module) -> bool:
    """Whether dropout can make a generator's colourings of one picture differ."""
    return any(isinstance(module, nn.Dropout) for module in net_G.modules())


def colorings(net_G: nn.Module, L: torch.Tensor, n: int) -> torch.Tensor:
    """n colourings of each picture with dropout left on, the noise of pix2pix: L (N,1,H,W) to ab (n,N,2,H,W).

    Raises ValueError for a network without dropout, whose colourings would all be one.
    """
    if not has_dropout(net_G):
        raise ValueError("this generator has no dropout: all its colourings of a picture are equal")
    return torch.stack([colorize_batch(net_G, L, dropout=True) for _ in range(n)])


def variety(ab: torch.Tensor) -> torch.Tensor:
    """How far several colourings of a picture lie apart: the mean ab distance, in Lab units, over pixels and all pairs
    of colourings, (N,). ab: (n,N,2,H,W), n > 1."""
    distances = [(one - other).square().sum(dim=1).sqrt().mean(dim=(1, 2)) for one, other in combinations(ab, 2)]
    return torch.stack(distances).mean(dim=0) * AB_SCALE


def perceptual_variety(lpips: Callable, L: torch.Tensor, ab: torch.Tensor) -> torch.Tensor:
    """The mean LPIPS between two of several colourings of a picture, over all pairs, (N,). L: (N,1,H,W); ab: as in
    `variety`; lpips: as `perceptual.load_lpips` gives it."""
    pictures = [lab_to_rgb(L, one) for one in ab]
    return torch.stack([lpips(one, other) for one, other in combinations(pictures, 2)]).mean(dim=0)


def detailed_validation(sea: np.ndarray | None = None) -> Callable[[nn.Module, LabLoader], dict[str, float]]:
    """A `score` for `training.train_model`: `metrics.validate`, and the figures of this module.

    Those are entropy_ratio, spread_ratio, `error_` with each hue's name, and blue_as_green: the share of blue pixels
    painted green. sea: which validation images the last is taken from, bool (N,); None for all. A figure without
    pixels is left out.
    """

    def score(net_G: nn.Module, val_dl: LabLoader) -> dict[str, float]:
        batches = [(batch["L"], colorize_batch(net_G, batch["L"]), batch["ab"]) for batch in val_dl]
        ab_hat, ab = (torch.cat(parts) for parts in list(zip(*batches, strict=True))[1:])
        figures = mean_scores(batches) | diversity(ab_hat, ab)
        figures |= {f"error_{hue}": error for hue, error in hue_errors(ab_hat, ab).items()}
        of = slice(None) if sea is None else torch.from_numpy(sea).to(ab.device)
        figures["blue_as_green"] = share_painted(ab_hat[of], ab[of], "blue", "green")
        return {name: value for name, value in figures.items() if not np.isnan(value)}

    return score


def half_gain_epochs(history: pd.DataFrame, grey: dict[str, float]) -> dict[str, int | None]:
    """For each hue, the first epoch by which half of its final gain over the grey answer is reached.

    history: with columns `error_HUE`; grey: the errors of the answer ab = 0. None for a hue that ends no better than
    grey.
    """
    epochs = history[history.kind == "epoch"]
    found: dict[str, int | None] = {}
    for hue, start in grey.items():
        if f"error_{hue}" not in epochs:
            continue
        errors = epochs[f"error_{hue}"].to_numpy()
        half = (start + errors[-1]) / 2
        found[hue] = int(epochs.epoch.to_numpy()[np.argmax(errors <= half)]) if errors[-1] < start else None
    return found
