"""Figures of merit of colourings, image by image, and their means over the validation photographs."""

from collections.abc import Callable, Iterable

import pandas as pd
import torch
from torch import nn
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from .. import color
from ..data.loader import LabLoader
from ..models.distribution import ColourDistribution
from ..models.painting import colorize_batch
from .answers import mean_ab


def colorfulness(rgb: torch.Tensor) -> torch.Tensor:
    """M = sigma_rgyb + 0.3 mu_rgyb of each image of (N,3,H,W) in [0,1], on the 0..255 scale, from signed rg = R - G and
    yb = (R + G)/2 - B: (N,), 0 for grey, about 15 for slightly and 80 for highly colourful photographs.

    Source: Hasler and Suesstrunk, "Measuring colourfulness in natural images" (2003), section 7, the metric M^(3).
    """
    R, G, B = (rgb.float() * 255).flatten(2).unbind(dim=1)
    rg, yb = R - G, (R + G) / 2 - B
    sigma = torch.hypot(rg.std(dim=1, correction=0), yb.std(dim=1, correction=0))
    return sigma + 0.3 * torch.hypot(rg.mean(dim=1), yb.mean(dim=1))


def psnr(rgb_hat: torch.Tensor, rgb: torch.Tensor) -> torch.Tensor:
    """10 log10(1 / mean squared error) of each image of (N,3,H,W) in [0,1], in dB: (N,); infinite for equal ones."""
    return peak_signal_noise_ratio(rgb_hat, rgb, data_range=1.0, dim=(1, 2, 3), reduction="none")


def ssim(rgb_hat: torch.Tensor, rgb: torch.Tensor) -> torch.Tensor:
    """Structural similarity of each image of (N,3,H,W) in [0,1], the mean over R, G and B: (N,), at most 1. Source:
    Wang et al., "Image quality assessment: from error visibility to structural similarity" (2004)."""
    return structural_similarity_index_measure(rgb_hat, rgb, data_range=1.0, reduction="none").reshape(-1)


def closeness(distance: torch.Tensor) -> torch.Tensor:
    """What a pixel at this ab distance, in Lab units, adds to the area under the curve of Zhang et al.,
    arXiv:1603.08511, section 3.1, the share of pixels with a distance of at most t, t = 0 to 150: 100 is perfect."""
    return 100 * (1 - distance / 150).clamp(min=0)


def color_accuracy(rgb_hat: torch.Tensor, rgb: torch.Tensor) -> dict[str, torch.Tensor]:
    """How near pictures, (N,3,H,W) in [0,1], are to the truth in CIE L*a*b*, each (N,): Nazeri et al.'s for CIFAR-10.

    `mae`: mean |difference| over pixels and channels, in Lab units. `within_2`, `within_5`: the share of pixels, in
    [0,1], of which EVERY channel is within 2 % or 5 % of its range, L* 100, a* and b* 220. Source: arXiv:1803.05400,
    section on evaluation; the ranges are taken from L* in [0,100], a* and b* in [-110,110].
    """
    difference = (color.rgb_to_lab(rgb_hat) - color.rgb_to_lab(rgb)).abs()  # (N,3,H,W)
    relative = (difference / difference.new_tensor([100, 220, 220])[:, None, None]).amax(dim=1)  # (N,H,W)
    within = {f"within_{percent}": (relative <= percent / 100).float().mean(dim=(1, 2)) for percent in (2, 5)}
    return {"mae": difference.mean(dim=(1, 2, 3))} | within


def image_scores(
    L: torch.Tensor, ab_hat: torch.Tensor, ab: torch.Tensor, L_hat: torch.Tensor | None = None
) -> dict[str, torch.Tensor]:
    """Scores of each image of a batch, L (N,1,H,W), ab_hat and ab (N,2,H,W), normalised: each (N,).

    `L1`: mean |ab_hat - ab| (times 110 for Lab units); `psnr` (dB) and `ssim` in RGB between both pictures;
    `colorfulness` of the generated picture. L_hat: the generated lightness, if it is not the true L.
    """
    rgb_hat, rgb = color.lab_to_rgb(L if L_hat is None else L_hat, ab_hat), color.lab_to_rgb(L, ab)
    error = (ab_hat.float() - ab).abs().mean(dim=(1, 2, 3))
    pair = (rgb_hat, rgb)
    return {"L1": error, "psnr": psnr(*pair), "ssim": ssim(*pair), "colorfulness": colorfulness(rgb_hat)}


def validate(net_G: nn.Module, val_dl: LabLoader, gain: float = 1.0) -> dict[str, float]:
    """Mean `image_scores` of a generator over the validation photographs, and the share of pixels out of gamut:
    val_L1, val_psnr, val_ssim, val_colorfulness, val_out_of_gamut. The network runs in eval mode. gain: what its ab is
    multiplied by."""
    return mean_scores((batch["L"], gain * colorize_batch(net_G, batch["L"]), batch["ab"]) for batch in val_dl)


def as_table(answers: dict[str, dict[str, float]]) -> pd.DataFrame:
    """Figures of several answers, as `validate` gives them, to read: L1 in Lab units, and as the reports log it."""
    table = pd.DataFrame(answers).T.astype(float)
    table.insert(1, "L1 x 100", 100 * table.val_L1)
    table["val_L1"] *= color.AB_SCALE
    shown = table.rename(columns={"val_L1": "L1, Lab units"}).rename(columns=lambda name: name.removeprefix("val_"))
    return shown.map("{:.4g}".format).replace("nan", "")


def readings(net_G: nn.Module, val_dl: LabLoader, steps: Iterable[float]) -> pd.DataFrame:
    """`validate` of a generator, a row for each step: the vividness that a distribution of colours is read at, as
    `0.5`, or what ab is multiplied by, as `x 1.5`."""
    if not isinstance(getattr(net_G, "head", None), ColourDistribution):
        return pd.DataFrame({f"x {step:g}": validate(net_G, val_dl, step) for step in steps}).T
    own, rows = net_G.vividness, {}
    for net_G.vividness in steps:
        rows[f"{net_G.vividness:g}"] = validate(net_G, val_dl)
    net_G.vividness = own
    return pd.DataFrame(rows).T


def mean_scores(batches: Iterable[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]) -> dict[str, float]:
    """What `validate` returns, for batches of (L, ab_hat, ab)."""
    return _means(
        image_scores(L, ab_hat, ab) | {"out_of_gamut": torch.full((len(L),), color.out_of_gamut_share(L, ab_hat))}
        for L, ab_hat, ab in batches
    )


def picture_scores(paint: Callable[[torch.Tensor], torch.Tensor], dl: LabLoader) -> dict[str, float]:
    """Mean `color_accuracy` and `image_scores`, keyed `val_...`, over all images of a loader, of what paint makes of L
    (N,1,H,W), sRGB (N,3,H,W) in [0,1]; the pictures are judged as they are, their lightness included."""

    def of_batch(L: torch.Tensor, ab: torch.Tensor) -> dict[str, torch.Tensor]:
        rgb_hat = paint(L)
        L_hat, ab_hat = color.normalize(color.rgb_to_lab(rgb_hat))
        return color_accuracy(rgb_hat, color.lab_to_rgb(L, ab)) | image_scores(L, ab_hat, ab, L_hat)

    return _means(of_batch(batch["L"], batch["ab"]) for batch in dl)


def baselines(train_dl: LabLoader, val_dl: LabLoader) -> dict[str, dict[str, float]]:
    """Figures of three answers on the validation photographs, keyed as in `validate`: `grey`, ab = 0; `mean ab`, that
    of the training photographs everywhere; `truth`, its colourfulness alone."""
    found = {}
    for name, plain in {"grey": torch.zeros(1, 2, 1, 1), "mean ab": mean_ab(train_dl)}.items():
        found[name] = _means(
            image_scores(batch["L"], plain.to(batch["ab"]).expand_as(batch["ab"]), batch["ab"]) for batch in val_dl
        )
    truths = (color.lab_to_rgb(batch["L"], batch["ab"]) for batch in val_dl)
    return found | {"truth": _means({"colorfulness": colorfulness(rgb)} for rgb in truths)}


def _means(batches: Iterable[dict[str, torch.Tensor]]) -> dict[str, float]:
    """Means over all images of scores that come batch by batch, each (N,), keyed `val_...`."""
    batches = list(batches)
    return {f"val_{name}": torch.cat([batch[name].cpu() for batch in batches]).mean().item() for name in batches[0]}


def photograph_statistics(dl: LabLoader) -> pd.DataFrame:
    """One row per photograph: mean L*, a*, b* in Lab units, mean |ab| / 110 (the L1 of grey), colourfulness."""
    rows = []
    for batch in dl:
        L, ab = batch["L"], batch["ab"]
        means = color.denormalize(L, ab).mean(dim=(2, 3)).unbind(dim=1)
        rows.append(torch.stack([*means, ab.abs().mean(dim=(1, 2, 3)), colorfulness(color.lab_to_rgb(L, ab))], dim=1))
    columns = ["mean L*", "mean a*", "mean b*", "mean |ab| / 110", "colourfulness"]
    return pd.DataFrame(torch.cat(rows).cpu().numpy(), columns=columns)


def ab_histogram(dl: LabLoader, bins: int = 110) -> torch.Tensor:
    """Share of pixels by (a*, b*) in [-110,110] x [-110,110]: (bins,bins), rows a*, columns b*, summing to 1."""
    counts = torch.zeros(bins * bins, dtype=torch.float64)
    for batch in dl:
        index = ((batch["ab"] + 1) / 2 * bins).long().clamp(0, bins - 1)  # (N,2,H,W)
        counts += torch.bincount((index[:, 0] * bins + index[:, 1]).flatten().cpu(), minlength=bins * bins)
    return (counts / counts.sum()).reshape(bins, bins)
