"""Figures of merit for colourings."""

from collections.abc import Callable, Iterable

import pandas as pd
import torch
from torch import nn
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from .. import color
from ..data.loader import LabLoader
from ..models.painting import colorize_batch
from .answers import mean_ab


def colorfulness(rgb: torch.Tensor) -> torch.Tensor:
    """Colourfulness M = sigma_rgyb + 0.3 mu_rgyb of each image, on the 0..255 scale.

    rgb: (N,3,H,W) in [0,1]. Returns (N,), 0 for grey, about 15 for slightly and 80 for highly colourful photographs.
    Opponent channels are signed: rg = R - G, yb = (R + G)/2 - B.
    Source: Hasler and Suesstrunk, "Measuring colourfulness in natural images" (2003), section 7, the metric M^(3).
    """
    R, G, B = (rgb.float() * 255).flatten(2).unbind(dim=1)
    rg, yb = R - G, (R + G) / 2 - B
    sigma = torch.hypot(rg.std(dim=1, correction=0), yb.std(dim=1, correction=0))
    mu = torch.hypot(rg.mean(dim=1), yb.mean(dim=1))
    return sigma + 0.3 * mu


def psnr(rgb_hat: torch.Tensor, rgb: torch.Tensor) -> torch.Tensor:
    """Peak signal-to-noise ratio 10 log10(1 / mean squared error) of each image in dB, (N,); infinite for equal ones.

    rgb_hat, rgb: (N,3,H,W) in [0,1]. By torchmetrics.
    """
    return peak_signal_noise_ratio(rgb_hat, rgb, data_range=1.0, dim=(1, 2, 3), reduction="none")


def ssim(rgb_hat: torch.Tensor, rgb: torch.Tensor) -> torch.Tensor:
    """Structural similarity of each image, (N,), at most 1, which equal images have; the mean over R, G and B.

    rgb_hat, rgb: (N,3,H,W) in [0,1]. By torchmetrics. Source: Wang et al., "Image quality assessment: from error
    visibility to structural similarity" (2004), with its Gaussian window of 11 x 11 pixels.
    """
    return structural_similarity_index_measure(rgb_hat, rgb, data_range=1.0, reduction="none").reshape(-1)


def image_scores(
    L: torch.Tensor, ab_hat: torch.Tensor, ab: torch.Tensor, L_hat: torch.Tensor | None = None
) -> dict[str, torch.Tensor]:
    """Scores of each image of a batch, each (N,).

    L (N,1,H,W), ab_hat and ab (N,2,H,W), normalised. `L1`: mean |ab_hat - ab| (times 110 for Lab units); `psnr` (dB)
    and `ssim` in RGB between both pictures; `colorfulness` of the generated picture.
    L_hat: the generated lightness, if it is not the true L.
    """
    rgb_hat, rgb = color.lab_to_rgb(L if L_hat is None else L_hat, ab_hat), color.lab_to_rgb(L, ab)
    return {
        "L1": (ab_hat.float() - ab).abs().mean(dim=(1, 2, 3)),
        "psnr": psnr(rgb_hat, rgb),
        "ssim": ssim(rgb_hat, rgb),
        "colorfulness": colorfulness(rgb_hat),
    }


def validate(net_G: nn.Module, val_dl: LabLoader, gain: float = 1.0) -> dict[str, float]:
    """Mean `image_scores` of a generator over the validation photographs, and the share of pixels out of gamut.

    Keys: val_L1, val_psnr, val_ssim, val_colorfulness, val_out_of_gamut. The network runs in eval mode, without
    dropout. gain: what its ab is multiplied by, as in `models.gain.with_gain`.
    """
    return mean_scores((batch["L"], gain * colorize_batch(net_G, batch["L"]), batch["ab"]) for batch in val_dl)


def mean_scores(batches: Iterable[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]) -> dict[str, float]:
    """What `validate` returns, for batches of (L, ab_hat, ab)."""
    scores: dict[str, list[torch.Tensor]] = {}
    for L, ab_hat, ab in batches:
        of_batch = image_scores(L, ab_hat, ab)
        of_batch["out_of_gamut"] = torch.full((len(ab_hat),), color.out_of_gamut_share(L, ab_hat))
        for name, values in of_batch.items():
            scores.setdefault(f"val_{name}", []).append(values.cpu())
    return {name: torch.cat(values).mean().item() for name, values in scores.items()}


def color_accuracy(rgb_hat: torch.Tensor, rgb: torch.Tensor) -> dict[str, torch.Tensor]:
    """How near pictures are to the truth in CIE L*a*b*, each (N,): the figures that Nazeri et al. give for CIFAR-10.

    rgb_hat, rgb: (N,3,H,W) in [0,1]. `mae`: mean |difference| over pixels and the three channels, in Lab units (lower
    is better). `within_2` and `within_5`: the share of pixels, in [0,1], of which EVERY channel is within 2 % or 5 % of
    its range: |L*_hat - L*| <= share * 100, |a*_hat - a*| and |b*_hat - b*| <= share * 220 (higher is better).
    Source: "Image colorization using generative adversarial networks", arXiv:1803.05400, section on evaluation. The
    ranges are taken from L* in [0,100], a* and b* in [-110,110].
    """
    difference = (color.rgb_to_lab(rgb_hat) - color.rgb_to_lab(rgb)).abs()  # (N,3,H,W)
    relative = (difference / difference.new_tensor([100, 220, 220])[:, None, None]).amax(dim=1)  # (N,H,W)
    return {"mae": difference.mean(dim=(1, 2, 3))} | {
        f"within_{percent}": (relative <= percent / 100).float().mean(dim=(1, 2)) for percent in (2, 5)
    }


def ciede2000(lab_hat: torch.Tensor, lab: torch.Tensor) -> torch.Tensor:
    """The colour difference Delta E_00 of each pixel, (N,H,W): 0 for equal colours, about 1 where eyes begin to see it.

    lab_hat, lab: CIE L*a*b* (N,3,H,W); float64 keeps more digits than float32. kL = kC = kH = 1.
    Source: Sharma, Wu and Dalal, "The CIEDE2000 color-difference formula: implementation notes, supplementary test
    data, and mathematical observations" (2005), equations 2 to 22.
    """
    (L1, a1, b1), (L2, a2, b2) = lab_hat.unbind(dim=1), lab.unbind(dim=1)
    mean_chroma = (torch.hypot(a1, b1) + torch.hypot(a2, b2)) / 2
    G = (1 - _root_share(mean_chroma)) / 2
    a1, a2 = a1 * (1 + G), a2 * (1 + G)
    C1, C2 = torch.hypot(a1, b1), torch.hypot(a2, b2)
    h1, h2 = (torch.rad2deg(torch.atan2(b, a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    grey = C1 * C2 == 0
    turn = (h2 - h1 + 180) % 360 - 180  # the shorter way round
    dL, dC = L2 - L1, C2 - C1
    dH = torch.where(grey, 0.0, 2 * (C1 * C2).sqrt() * torch.sin(torch.deg2rad(turn) / 2))
    L, C = (L1 + L2) / 2, (C1 + C2) / 2
    h = torch.where(grey, h1 + h2, torch.where((h1 - h2).abs() <= 180, (h1 + h2) / 2, (h1 + h2 + 360) / 2))
    terms = ((1, -30, -0.17), (2, 0, 0.24), (3, 6, 0.32), (4, -63, -0.20))
    T = 1 + sum(weight * torch.cos(torch.deg2rad(factor * h + shift)) for factor, shift, weight in terms)
    S_L = 1 + 0.015 * (L - 50) ** 2 / (20 + (L - 50) ** 2).sqrt()
    S_C, S_H = 1 + 0.045 * C, 1 + 0.015 * C * T
    rotation = 60 * torch.exp(-(((h % 360 - 275) / 25) ** 2))  # twice delta theta, in degrees
    R_T = -2 * _root_share(C) * torch.sin(torch.deg2rad(rotation))
    dL, dC, dH = dL / S_L, dC / S_C, dH / S_H
    return (dL**2 + dC**2 + dH**2 + R_T * dC * dH).clamp(min=0).sqrt()


def _root_share(chroma: torch.Tensor) -> torch.Tensor:
    """sqrt(C^7 / (C^7 + 25^7)), as CIEDE2000 uses it twice."""
    return (chroma**7 / (chroma**7 + 25.0**7)).sqrt()


def closeness(distance: torch.Tensor) -> torch.Tensor:
    """What a pixel adds to the area under the cumulative ab-error curve, in percent; the mean over pixels is the area.

    distance: Euclidean ab distance in Lab units, any shape. The curve gives the share of pixels whose distance is at
    most t, for t from 0 to 150; the area under it, over 150, is mean(max(0, 1 - distance / 150)), which this computes
    without a sum over thresholds. 100 is perfect. The measure is that of Zhang et al., arXiv:1603.08511, section 3.1.
    """
    return 100 * (1 - distance / 150).clamp(min=0)


def picture_scores(paint: Callable[[torch.Tensor], torch.Tensor], dl: LabLoader) -> dict[str, float]:
    """Mean `color_accuracy` and `image_scores` of pictures, keyed `val_...`, over all images of a loader.

    paint: L (N,1,H,W) to sRGB (N,3,H,W) in [0,1]. The pictures are judged as they are, their lightness included.
    """
    scores: dict[str, list[torch.Tensor]] = {}
    for batch in dl:
        L, ab = batch["L"], batch["ab"]
        rgb_hat, rgb = paint(L), color.lab_to_rgb(L, ab)
        L_hat, ab_hat = color.normalize(color.rgb_to_lab(rgb_hat))
        of_batch = color_accuracy(rgb_hat, rgb) | image_scores(L, ab_hat, ab, L_hat)
        for name, values in of_batch.items():
            scores.setdefault(f"val_{name}", []).append(values.cpu())
    return {name: torch.cat(values).mean().item() for name, values in scores.items()}


def baselines(train_dl: LabLoader, val_dl: LabLoader) -> dict[str, dict[str, float]]:
    """Figures of three answers that need no network, on the validation photographs, keyed as in `validate`.

    `grey` is ab = 0; `mean ab` is the mean ab of the training photographs everywhere; `truth` has a colourfulness
    alone.
    """
    of_training = mean_ab(train_dl)
    scores: dict[str, list[dict[str, torch.Tensor]]] = {"grey": [], "mean ab": [], "truth": []}
    for batch in val_dl:
        L, ab = batch["L"], batch["ab"]
        scores["grey"].append(image_scores(L, torch.zeros_like(ab), ab))
        scores["mean ab"].append(image_scores(L, of_training.to(ab.device).expand_as(ab), ab))
        scores["truth"].append({"colorfulness": colorfulness(color.lab_to_rgb(L, ab))})
    return {
        name: {f"val_{key}": torch.cat([batch[key] for batch in batches]).mean().item() for key in batches[0]}
        for name, batches in scores.items()
    }


def photograph_statistics(dl: LabLoader) -> pd.DataFrame:
    """One row per photograph, in Lab units: mean L*, a*, b*; then mean |ab| / 110, colourfulness.

    mean |ab| / 110 is the L1 of the grey answer.
    """
    rows = []
    for batch in dl:
        L, ab = batch["L"], batch["ab"]
        columns = {
            "mean L*": color.denormalize(L, ab)[:, 0].mean(dim=(1, 2)),
            "mean a*": ab[:, 0].mean(dim=(1, 2)) * color.AB_SCALE,
            "mean b*": ab[:, 1].mean(dim=(1, 2)) * color.AB_SCALE,
            "mean |ab| / 110": ab.abs().mean(dim=(1, 2, 3)),
            "colourfulness": colorfulness(color.lab_to_rgb(L, ab)),
        }
        rows.append(pd.DataFrame({name: values.cpu().numpy() for name, values in columns.items()}))
    return pd.concat(rows, ignore_index=True)


def ab_histogram(dl: LabLoader, bins: int = 110) -> torch.Tensor:
    """Share of pixels by (a*, b*) in [-110,110] x [-110,110]: (bins,bins), rows a*, columns b*, summing to 1."""
    counts = torch.zeros(bins * bins, dtype=torch.float64)
    for batch in dl:
        index = ((batch["ab"] + 1) / 2 * bins).long().clamp(0, bins - 1)  # (N,2,H,W)
        counts += torch.bincount((index[:, 0] * bins + index[:, 1]).flatten().cpu(), minlength=bins * bins)
    return (counts / counts.sum()).reshape(bins, bins)
