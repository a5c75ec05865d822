"""Whether a generator has collapsed, and when it learned which hue: what the averages of a training's history hide.

Own, as no library has a detector for colourings. All ab are normalised, (N,2,H,W) = ab* / 110.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from torch import nn

from ..color import AB_SCALE
from ..data.loader import LabLoader
from ..models.painting import colorize_batch
from .hues import hue_errors, share_painted
from .metrics import mean_scores

ENTROPY_BIN = 10.0  # side of a bin of the ab histogram, in Lab units: that of Zhang et al., arXiv:1603.08511
# Ratios to the truth below which a generator counts as collapsed. On CIFAR-10 a collapsed one had a spread of 0.22; an
# L2 regression, dull but not collapsed, had 0.48 and 0.30 after 20 epochs (after its first 0.36 and 0.12; notebook 05).
COLLAPSED_ENTROPY, COLLAPSED_SPREAD = 0.35, 0.25
RATIOS = ["entropy_ratio", "spread_ratio"]


def color_entropy(ab: torch.Tensor) -> float:
    """Entropy, in nats, of the histogram of all pixels' ab in bins of 10 x 10 Lab units: log(k) for k bins alike."""
    bins = ((ab * AB_SCALE + 110) / ENTROPY_BIN).floor().long().clamp(0, 21)  # (N,2,H,W)
    shares = torch.bincount((bins[:, 0] * 22 + bins[:, 1]).flatten()).double() / bins[:, 0].numel()
    return abs(torch.xlogy(shares, shares).sum().item())


def mean_color_spread(ab: torch.Tensor) -> float:
    """Root mean square distance of the images' mean ab from the mean of all, in Lab units."""
    means = ab.mean(dim=(2, 3)) * AB_SCALE
    return (means - means.mean(dim=0)).square().sum(dim=1).mean().sqrt().item()


def diversity(ab_hat: torch.Tensor, ab: torch.Tensor) -> dict[str, float]:
    """The two figures of the collapse detector, each a ratio of generated to true: `entropy_ratio` of `color_entropy`,
    low if few colours are used at all, `spread_ratio` of `mean_color_spread`, low if every image gets the same colours,
    however many. Dull regression has low ratios too, but not as low."""
    return {name: of(ab_hat) / of(ab) for name, of in zip(RATIOS, (color_entropy, mean_color_spread), strict=True)}


def is_collapsed(entropy_ratio: float, spread_ratio: float) -> bool:
    """The detector's verdict: few colours (`COLLAPSED_ENTROPY`), or the same ones everywhere (`COLLAPSED_SPREAD`)."""
    return entropy_ratio < COLLAPSED_ENTROPY or spread_ratio < COLLAPSED_SPREAD


def verdicts(runs: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """What the detector says of each run (name -> history): a row with the number of epochs, in how many of them the
    generator counts as collapsed, both ratios of the last epoch, and whether that one counts as collapsed."""
    rows = {}
    for name, history in runs.items():
        ratios = history[history.kind == "epoch"][RATIOS]
        collapsed = [is_collapsed(*pair) for pair in ratios.itertuples(index=False)]
        rows[name] = {"epochs": len(ratios), "collapsed in": sum(collapsed), **ratios.iloc[-1].to_dict()}
        rows[name]["collapsed at the end"] = collapsed[-1]
    return pd.DataFrame.from_dict(rows, orient="index")


def detailed_validation(sea: np.ndarray | None = None) -> Callable[[nn.Module, LabLoader], dict[str, float]]:
    """A `score` for the training loop: the figures of `metrics.validate`, `diversity`, `error_` with each hue's name,
    and blue_as_green: the share of blue pixels painted green, of the images of `sea`, bool (N,), or all. A figure
    without pixels is left out."""

    def score(net_G: nn.Module, val_dl: LabLoader) -> dict[str, float]:
        batches = [(batch["L"], colorize_batch(net_G, batch["L"]), batch["ab"]) for batch in val_dl]
        _, ab_hat, ab = (torch.cat(parts) for parts in zip(*batches, strict=True))
        of = slice(None) if sea is None else torch.from_numpy(sea).to(ab.device)
        figures = mean_scores(batches) | diversity(ab_hat, ab)
        figures |= {f"error_{hue}": error for hue, error in hue_errors(ab_hat, ab).items()}
        figures["blue_as_green"] = share_painted(ab_hat[of], ab[of], "blue", "green")
        return {name: value for name, value in figures.items() if not np.isnan(value)}

    return score


def half_gain_epochs(history: pd.DataFrame, grey: dict[str, float]) -> dict[str, int | None]:
    """For each hue of a history with columns `error_HUE`, the first epoch by which half of its final gain over `grey`,
    the errors of the answer ab = 0, is reached; None for a hue that ends no better than grey."""
    epochs = history[history.kind == "epoch"].set_index("epoch")
    found: dict[str, int | None] = {}
    for hue, start in grey.items():
        if f"error_{hue}" in epochs:
            errors = epochs[f"error_{hue}"]
            end = errors.iloc[-1]
            found[hue] = int((errors <= (start + end) / 2).idxmax()) if end < start else None
    return found
