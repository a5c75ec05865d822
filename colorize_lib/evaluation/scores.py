"""Answers side by side: every figure of every image, and of any draw of images.

An *answer* is a way to colour: a generator or a baseline. Whatever it is, its PICTURES are judged: 8-bit sRGB, as they
would be saved to a file, colours that the screen cannot show already clipped. So a folder of somebody else's pictures
(`folders`) scores the same as what stands in memory.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from scipy.ndimage import gaussian_filter
from skimage.color import deltaE_ciede2000

from .. import color
from ..data.loader import LabLoader
from .answers import Paint, paint_grey
from .hues import HUE_NAMES, hue_of
from .measures import MEASURES, MOST_DB
from .metrics import closeness, colorfulness, psnr, ssim
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
        rarity = self._rarity
        found["auc_rebalanced"] = (counts @ (self.closeness @ rarity)) / (counts @ (self.bins_truth @ rarity))
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


def judge(
    batches: Iterable[tuple[torch.Tensor, dict[str, torch.Tensor]]], perceptual: Callable | None = None
) -> dict[str, Scores]:
    """Scores by answer, from batches of true pictures and those of every answer by name: sRGB (N,3,H,W) in [0,1].
    perceptual: as `perceptual.load_distances` gives it; None to leave it out."""
    parts: dict[str, list[tuple]] = {}
    for rgb, painted in batches:
        for name, part in _judge_batch(_as_saved(rgb), painted, perceptual).items():
            parts.setdefault(name, []).append(part)
    found = {}
    for name, several in parts.items():
        totals, weights, *arrays = zip(*several, strict=True)
        frames = [pd.concat(frame, ignore_index=True) for frame in (totals, weights)]
        found[name] = Scores(*frames, *(np.concatenate(array) for array in arrays))
    return found


def _judge_batch(rgb: torch.Tensor, painted: dict[str, torch.Tensor], perceptual: Callable | None) -> dict[str, tuple]:
    """The fields of `Scores`, by answer; what depends on the truth alone is worked out once."""
    lab, colors = color.rgb_to_lab(rgb), colorfulness(rgb)
    index, hue = bin_index(lab[:, 1:]), hue_of(lab[:, 1:] / color.AB_SCALE)
    masks = region_masks(rgb) | {name: hue == k for k, name in enumerate(HUE_NAMES)}
    masks = {f"error_{name}": mask for name, mask in masks.items()} | {"spill": is_smooth(lab)}
    found = {}
    for name, rgb_hat in painted.items():
        rgb_hat = _as_saved(rgb_hat)
        lab_hat, colors_hat = color.rgb_to_lab(rgb_hat), colorfulness(rgb_hat)
        difference = lab_hat[:, 1:] - lab[:, 1:]  # (N,2,H,W)
        distance = difference.square().sum(dim=1).sqrt()  # (N,H,W)
        delta_e = deltaE_ciede2000(lab.cpu().numpy(), lab_hat.cpu().numpy(), channel_axis=1)  # (N,H,W)
        means = {
            "l1_ab": difference.abs().mean(dim=(1, 2, 3)),
            "l2_ab": difference.square().mean(dim=(1, 2, 3)).sqrt(),
            "ciede2000": torch.from_numpy(delta_e).mean(dim=(1, 2)),
            "psnr_rgb": psnr(rgb_hat, rgb).clamp(max=MOST_DB),
            "ssim_rgb": ssim(rgb_hat, rgb),
            "colorfulness": colors_hat,
            "colorfulness_truth": colors,
            "colorfulness_gap": colors_hat - colors,
            "colorfulness_gap_per_image": (colors_hat - colors).abs(),
            "auc": closeness(distance).mean(dim=(1, 2)),
        } | ({"perceptual_lite0": perceptual(rgb_hat, rgb)} if perceptual else {})
        of_pixels = dict.fromkeys(masks, distance) | {"spill": spill(lab_hat, lab)}
        totals = means | {kind: (of_pixels[kind] * mask).sum(dim=(1, 2)) for kind, mask in masks.items()}
        weights = {kind: torch.ones(len(rgb)) for kind in means}
        weights |= {kind: mask.sum(dim=(1, 2)) for kind, mask in masks.items()}
        bins = [_histograms(one) for one in (bin_index(lab_hat[:, 1:]), index)]
        frames = [pd.DataFrame({k: v.double().cpu().numpy() for k, v in of.items()}) for of in (totals, weights)]
        found[name] = (*frames, *bins, _histograms(index, closeness(distance)))
    return found


def evaluate(
    answers: dict[str, Paint], batches: Iterable[dict[str, torch.Tensor]], perceptual: Callable | None = None
) -> dict[str, Scores]:
    """`judge` answers by name on batches {"L": (N,1,H,W), "ab": (N,2,H,W)}, as a loader gives."""

    def painted() -> Iterator[tuple[torch.Tensor, dict[str, torch.Tensor]]]:
        for L, ab in ((batch["L"], batch["ab"]) for batch in batches):
            yield color.lab_to_rgb(L, ab), {name: paint(L) for name, paint in answers.items()}

    return judge(painted(), perceptual)


def set_distances(distances: dict[str, Callable], answers: dict[str, Paint], dl: LabLoader) -> pd.DataFrame:
    """Distances of sets, by `perceptual.load_distances`, a column each, of every answer to the truth; and of one half
    of the photographs to the other, their floor."""
    real = [_as_saved(color.lab_to_rgb(batch["L"], batch["ab"])) for batch in dl]
    pictures = torch.cat(real)
    halves = [half.split(dl.batch_size) for half in (pictures[::2], pictures[1::2])]
    found = {}
    for of, distance in distances.items():
        found[of] = {name: distance(real, (_as_saved(paint(b["L"])) for b in dl)) for name, paint in answers.items()}
        found[of][TRUTH_HALVES] = distance(*halves)
    return pd.DataFrame(found)


def picture_set(
    paint: Paint, dl: LabLoader, positions: Sequence[int], spill_map: bool = False
) -> dict[str, np.ndarray]:
    """Single photographs of a loader to look at, uint8 (K,H,W,3): `grey input`, `generated`, `truth`; and with
    spill_map `spill`, that of `regions.spill` where the true lightness is smooth, white from 10 Lab units on."""
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
    sums = torch.zeros(len(index), GRID**2, dtype=torch.float64)  # on the CPU: MPS has no float64
    return sums.scatter_add_(1, index.cpu().flatten(1), values.cpu().double().flatten(1)).numpy()
