"""Figures of merit for colourings."""

import pandas as pd
import torch
from torch import nn
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from . import color
from .dataset import LabLoader
from .gan import colorize_batch


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


def image_scores(L: torch.Tensor, ab_hat: torch.Tensor, ab: torch.Tensor) -> dict[str, torch.Tensor]:
    """Scores of each image of a batch, each (N,).

    L (N,1,H,W), ab_hat and ab (N,2,H,W), normalised. `L1`: mean |ab_hat - ab| (times 110 for Lab units); `psnr` (dB)
    and `ssim` in RGB between both pictures made with the true L; `colorfulness` of the generated picture.
    """
    rgb_hat, rgb = color.lab_to_rgb(L, ab_hat), color.lab_to_rgb(L, ab)
    return {
        "L1": (ab_hat.float() - ab).abs().mean(dim=(1, 2, 3)),
        "psnr": peak_signal_noise_ratio(rgb_hat, rgb, data_range=1.0, dim=(1, 2, 3), reduction="none"),
        "ssim": structural_similarity_index_measure(rgb_hat, rgb, data_range=1.0, reduction="none").reshape(-1),
        "colorfulness": colorfulness(rgb_hat),
    }


def validate(net_G: nn.Module, val_dl: LabLoader) -> dict[str, float]:
    """Mean `image_scores` of a generator over the validation photographs, and the share of pixels out of gamut.

    Keys: val_L1, val_psnr, val_ssim, val_colorfulness, val_out_of_gamut. The network runs in eval mode, without
    dropout.
    """
    scores: dict[str, list[torch.Tensor]] = {}
    for batch in val_dl:
        ab_hat = colorize_batch(net_G, batch["L"])
        of_batch = image_scores(batch["L"], ab_hat, batch["ab"])
        share = color.out_of_gamut_share(batch["L"], ab_hat)
        of_batch["out_of_gamut"] = torch.full((len(ab_hat),), share)
        for name, values in of_batch.items():
            scores.setdefault(f"val_{name}", []).append(values.cpu())
    return {name: torch.cat(values).mean().item() for name, values in scores.items()}


def baselines(train_dl: LabLoader, val_dl: LabLoader) -> dict[str, dict[str, float]]:
    """Figures of three answers that need no network, on the validation photographs, keyed as in `validate`.

    `grey` is ab = 0; `mean ab` is the mean ab of the training photographs everywhere; `truth` has a colourfulness
    alone.
    """
    total, pixels = torch.zeros(2, dtype=torch.float64), 0
    for batch in train_dl:
        total += batch["ab"].sum(dim=(0, 2, 3)).cpu()
        pixels += batch["ab"][:, 0].numel()
    mean_ab = (total / pixels).float()[None, :, None, None]  # (1,2,1,1)
    scores: dict[str, list[dict[str, torch.Tensor]]] = {"grey": [], "mean ab": [], "truth": []}
    for batch in val_dl:
        L, ab = batch["L"], batch["ab"]
        scores["grey"].append(image_scores(L, torch.zeros_like(ab), ab))
        scores["mean ab"].append(image_scores(L, mean_ab.to(ab.device).expand_as(ab), ab))
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
