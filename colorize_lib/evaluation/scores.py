"""Answers side by side: every figure of every image, and of any draw of images.

An *answer* is a way to colour: a generator or a baseline. Whatever it is, its PICTURES are judged: 8-bit sRGB, as they
would be saved to a file, colours that the screen cannot show already clipped. So a folder of somebody else's pictures
is scored by the same code (`folders`), and what stands in files scores the same as what stands in memory.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from scipy.ndimage import gaussian_filter

from .. import color
from ..data.loader import LabLoader
from .answers import Paint, paint_grey
from .hues import HUE_NAMES, hue_of
from .measures import MEASURES, MOST_DB
from .metrics import ciede2000, closeness, colorfulness, psnr, ssim
from .regions import is_smooth, region_masks, spill

BIN = 10.0  # side of an ab bin in Lab units; bins are centred on multiples of it, as in arXiv:1603.08511
GRID = 23  # bins along a* and along b*: centres from -110 to 110
PRIOR_SIGMA = 5.0  # of the Gaussian that smooths each bin's share, in Lab units: arXiv:1603.08511, section 2.2
BINS_IN_GAMUT = 261  # hold a colour that sRGB can show; Zhang et al. count 313 by a rule that they do not print
TRUTH_HALVES = "truth, half against half"
SETS = ("intersection_a", "intersection_b")  # the figures that compare whole sets of images


def intersection(bins: np.ndarray, bins_truth: np.ndarray, axis: int) -> np.ndarray:
    """Sum over bins of min(share, truth's share) of a* (axis 0) or b* (axis 1): (B,GRID**2) twice to (B,), in [0,1]."""
    histograms = [one.reshape(-1, GRID, GRID).sum(axis=2 - axis) for one in (bins, bins_truth)]
    return np.minimum(*(one / one.sum(axis=1, keepdims=True) for one in histograms)).sum(axis=1)


def bin_index(ab: torch.Tensor) -> torch.Tensor:
    """The bin of each pixel's colour, 0 to GRID**2 - 1: Lab units (N,2,H,W) to (N,H,W)."""
    index = (ab / BIN).round().long().add(GRID // 2).clamp(0, GRID - 1)
    return index[:, 0] * GRID + index[:, 1]


@dataclass(frozen=True)
class Scores:
    """One answer on N images. A figure over any of them is sum(totals) / sum(weights).

    totals, weights: (N, figures), with the same columns; for a mean over images the weight is 1, for a mean over the
    pixels of a kind it is their number. bins, bins_truth: how many pixels of each image lie in each ab bin,
    (N,GRID**2); closeness: the sum of `metrics.closeness` over the pixels of each TRUE bin, (N,GRID**2).
    """

    totals: pd.DataFrame
    weights: pd.DataFrame
    bins: np.ndarray
    bins_truth: np.ndarray
    closeness: np.ndarray

    def figures(self, counts: np.ndarray | None = None) -> pd.DataFrame:
        """The figures, a row for each row of counts: how often every image is taken, (B,N); once each if None."""
        counts = np.ones((1, len(self.totals))) if counts is None else counts
        with np.errstate(invalid="ignore"):  # no pixel of a hue: NaN
            values = (counts @ self.totals.to_numpy()) / (counts @ self.weights.to_numpy())
        found = pd.DataFrame(values, columns=self.totals.columns)
        weights = self._rarity
        found["auc_rebalanced"] = (counts @ (self.closeness @ weights)) / (counts @ (self.bins_truth @ weights))
        for axis, name in enumerate(SETS):
            found[name] = intersection(counts @ self.bins, counts @ self.bins_truth, axis)
        return found[[name for name in MEASURES if name in found]]

    @property
    def images(self) -> pd.DataFrame:
        """Every figure that single images have, (N, figures); NaN where an image has no pixel of the kind."""
        return self.totals / self.weights.replace(0, np.nan)

    def ranked(self, figure: str, n: int) -> dict[str, np.ndarray]:
        """Positions of the n images with the lowest, the middle and the highest value of a figure of `images`:
        `lowest`, `median`, `highest`, each at most (n,), in rising order."""
        order = self.images[figure].dropna().sort_values(kind="stable").index.to_numpy()
        middle = max(0, (len(order) - n) // 2)
        return {"lowest": order[:n], "median": order[middle : middle + n], "highest": order[-n:]}

    @cached_property
    def _rarity(self) -> np.ndarray:
        """1 / share of each ab bin among the true pixels, smoothed: equation 4 of arXiv:1603.08511 with lambda = 0."""
        shares = self.bins_truth.sum(axis=0).reshape(GRID, GRID).astype(float)
        smooth = gaussian_filter(shares / shares.sum(), PRIOR_SIGMA / BIN, mode="constant").ravel()
        occurs = self.bins_truth.any(axis=0)
        return np.where(occurs, 1 / np.where(occurs, smooth, 1), 0)


class Scorer:
    """Collects `Scores` for several answers, batch by batch; what depends on the truth alone is worked out once.

    lpips: as `perceptual.load_lpips` gives it; None to leave it out.
    """

    def __init__(self, lpips: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None):
        self.lpips = lpips
        self._parts: dict[str, list[tuple]] = {}

    def add(self, rgb: torch.Tensor, painted: dict[str, torch.Tensor]) -> None:
        """Judge one batch: the true pictures and every answer's, sRGB (N,3,H,W) in [0,1]."""
        truth = _Truth(_as_saved(rgb))
        for name, rgb_hat in painted.items():
            self._parts.setdefault(name, []).append(self._judge(_as_saved(rgb_hat), truth))

    def scores(self) -> dict[str, Scores]:
        """The scores so far, by answer."""
        found = {}
        for name, parts in self._parts.items():
            totals, weights, *arrays = zip(*parts, strict=True)
            frames = [pd.concat(frame, ignore_index=True) for frame in (totals, weights)]
            found[name] = Scores(*frames, *(np.concatenate(array) for array in arrays))
        return found

    def _judge(self, rgb_hat: torch.Tensor, truth: "_Truth") -> tuple:
        lab_hat = color.rgb_to_lab(rgb_hat)
        difference = lab_hat[:, 1:] - truth.lab[:, 1:]  # (N,2,H,W)
        distance = difference.square().sum(dim=1).sqrt()  # (N,H,W)
        gap = colorfulness(rgb_hat) - truth.colorfulness
        means = {
            "l1_ab": difference.abs().mean(dim=(1, 2, 3)),
            "l2_ab": difference.square().mean(dim=(1, 2, 3)).sqrt(),
            "ciede2000": ciede2000(lab_hat, truth.lab).mean(dim=(1, 2)),
            "psnr_rgb": psnr(rgb_hat, truth.rgb).clamp(max=MOST_DB),
            "ssim_rgb": ssim(rgb_hat, truth.rgb),
            "colorfulness": colorfulness(rgb_hat),
            "colorfulness_truth": truth.colorfulness,
            "colorfulness_gap": gap,
            "colorfulness_gap_per_image": gap.abs(),
            "auc": closeness(distance).mean(dim=(1, 2)),
        }
        if self.lpips is not None:
            means["lpips"] = self.lpips(rgb_hat, truth.rgb)
        of_pixels = dict.fromkeys(truth.masks, distance) | {"spill": spill(lab_hat, truth.lab)}
        masks = truth.masks | {"spill": truth.smooth}
        totals = means | {name: (of_pixels[name] * mask).sum(dim=(1, 2)) for name, mask in masks.items()}
        weights = {name: torch.ones(len(rgb_hat)) for name in means}
        weights |= {name: mask.sum(dim=(1, 2)) for name, mask in masks.items()}
        bins = _histograms(bin_index(lab_hat[:, 1:]))
        return _frame(totals), _frame(weights), bins, truth.bins, _histograms(truth.index, closeness(distance))


class _Truth:
    """What a batch of true pictures, sRGB (N,3,H,W), gives every judgement."""

    def __init__(self, rgb: torch.Tensor):
        self.rgb, self.lab, self.colorfulness = rgb, color.rgb_to_lab(rgb), colorfulness(rgb)
        hue = hue_of(self.lab[:, 1:] / color.AB_SCALE)
        self.masks = {f"error_{name}": mask for name, mask in region_masks(rgb).items()}
        self.masks |= {f"error_{name}": hue == index for index, name in enumerate(HUE_NAMES)}
        self.smooth = is_smooth(self.lab)
        self.index = bin_index(self.lab[:, 1:])
        self.bins = _histograms(self.index)


def evaluate(
    answers: dict[str, Paint], batches: Iterable[dict[str, torch.Tensor]], lpips: Callable | None = None
) -> dict[str, Scores]:
    """Score answers by name on batches {"L": (N,1,H,W), "ab": (N,2,H,W)}, as a loader gives; lpips: as in `Scorer`."""
    scorer = Scorer(lpips)
    for batch in batches:
        painted = {name: paint(batch["L"]) for name, paint in answers.items()}
        scorer.add(color.lab_to_rgb(batch["L"], batch["ab"]), painted)
    return scorer.scores()


def fid_scores(fid: Callable, answers: dict[str, Paint], dl: LabLoader) -> dict[str, float]:
    """FID, by `perceptual.load_fid`, of every answer, and of the truth: one half of the photographs to the other."""
    real = [_as_saved(color.lab_to_rgb(batch["L"], batch["ab"])) for batch in dl]
    found = {name: fid(real, (_as_saved(paint(batch["L"])) for batch in dl)) for name, paint in answers.items()}
    pictures = torch.cat(real)
    return found | {TRUTH_HALVES: fid(pictures[::2].split(dl.batch_size), pictures[1::2].split(dl.batch_size))}


def picture_set(
    paint: Paint, dl: LabLoader, positions: Sequence[int], spill_map: bool = False
) -> dict[str, np.ndarray]:
    """Single photographs of a loader to look at, uint8 (K,H,W,3): `grey input`, `generated`, `truth`.

    spill_map: with `spill`, the map of `regions.spill` where the true lightness is smooth, white from 10 Lab units on.
    """
    L, ab = color.to_lab(dl.dataset.rgb(np.asarray(positions)).to(dl.device))
    rgb_hat, rgb = paint(L), color.lab_to_rgb(L, ab)
    rows = {"grey input": paint_grey(L), "generated": rgb_hat, "truth": rgb}
    if spill_map:
        lab = color.rgb_to_lab(rgb)
        rows["spill"] = (spill(color.rgb_to_lab(rgb_hat), lab) * is_smooth(lab) / 10)[:, None].expand_as(rgb)
    return {name: color.to_uint8(row).numpy() for name, row in rows.items()}


def _as_saved(rgb: torch.Tensor) -> torch.Tensor:
    """sRGB in [0,1] rounded to 8 bits, as a file holds it."""
    return (rgb.float().clamp(0, 1) * 255).round() / 255


def _histograms(index: torch.Tensor, values: torch.Tensor | None = None) -> np.ndarray:
    """For each image the number of pixels in each bin, or the sum of their values: (N,H,W) to (N,GRID**2)."""
    values = torch.ones_like(index, dtype=torch.float32) if values is None else values
    sums = torch.zeros(len(index), GRID**2, dtype=torch.float64, device=index.device)
    return sums.scatter_add_(1, index.flatten(1), values.double().flatten(1)).cpu().numpy()


def _frame(columns: dict[str, torch.Tensor]) -> pd.DataFrame:
    return pd.DataFrame({name: values.double().cpu().numpy() for name, values in columns.items()})
