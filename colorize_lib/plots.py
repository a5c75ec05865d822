"""Figures. Every function draws what it is given and returns the figure; `save` writes it."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from PIL import Image

from . import color

LOSS_LABELS = {
    "loss_D_fake": "D, fake",
    "loss_D_real": "D, real",
    "loss_D": "D",
    "loss_G_GAN": "G, GAN",
    "loss_G_L1": "G, λ·L1",
    "loss_G": "G",
    "loss_G_L2": "G, λ·L2",
    "loss_G_cosine": "G, λ·cosine",
    "loss_G_diversity": "G, λ·diversity",
    "loss_L1": "L1",
    "loss_L2": "L2",
}
HUE_COLORS = {
    "red": "tab:red",
    "orange/yellow": "tab:orange",
    "green": "tab:green",
    "cyan": "tab:cyan",
    "blue": "tab:blue",
    "purple": "tab:purple",
    "near-grey": "0.6",
}
DIVERSITY_LABELS = {
    "entropy_ratio": "Entropy of colours / truth's",
    "spread_ratio": "Spread of mean colours / truth's",
}
VALIDATION_LABELS = {
    "val_L1": "L1 on ab (lower is better)",
    "val_psnr": "PSNR, dB (higher is better)",
    "val_ssim": "SSIM (higher is better)",
    "val_colorfulness": "Colourfulness (as the truth is best)",
}


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG; in a notebook it is shown below the cell as well."""
    figure.savefig(path, dpi=120, bbox_inches="tight")


def photo_grid(photographs: np.ndarray, columns: int = 4) -> Figure:
    """A grid of pictures: uint8 (N,H,W,3)."""
    rows = -(-len(photographs) // columns)
    figure, axes = _picture_axes(rows, columns, cell=1.9)
    for axis, photograph in zip(axes.flat, photographs, strict=False):
        axis.imshow(photograph)
    return figure


def channel_planes(photograph: np.ndarray) -> Figure:
    """One picture, uint8 (H,W,3), beside its R, G, B planes; its colour alone, at L* = 65, beside L*, a*, b*."""
    batch = color.rgb_to_lab(torch.from_numpy(photograph).permute(2, 0, 1)[None])  # (1,3,H,W)
    lab, flat = batch[0].numpy(), batch.clone()
    flat[:, 0] = 65
    figure, axes = _picture_axes(2, 4, cell=2.4)
    axes[0, 0].imshow(photograph)
    axes[0, 0].set_title("photograph")
    for axis, plane, name, cmap in zip(
        axes[0, 1:],
        photograph.transpose(2, 0, 1),
        ("R", "G", "B"),
        ("Reds_r", "Greens_r", "Blues_r"),
        strict=True,
    ):
        axis.imshow(plane, cmap=cmap, vmin=0, vmax=255)
        axis.set_title(name)
    axes[1, 0].imshow(color.to_uint8(color.lab_to_unclipped_rgb(flat))[0])
    axes[1, 0].set_title("colour alone")
    for axis, plane, name, cmap, limits in zip(
        axes[1, 1:],
        lab,
        ("L*, lightness", "a*, green to red", "b*, blue to yellow"),
        ("gray", "RdYlGn_r", "YlGnBu_r"),
        ((0, 100), (-80, 80), (-80, 80)),
        strict=True,
    ):
        axis.imshow(plane, cmap=cmap, vmin=limits[0], vmax=limits[1])
        axis.set_title(name)
    return figure


def histograms(table: pd.DataFrame, columns: Sequence[str], bins: int = 40) -> Figure:
    """A histogram of each of these columns, side by side, with the mean as a line."""
    figure, axes = plt.subplots(
        1, len(columns), figsize=(2.6 * len(columns) + 0.6, 2.6), layout="constrained", squeeze=False
    )
    for axis, column in zip(axes.flat, columns, strict=True):
        values = table[column]
        axis.hist(values, bins=bins, color="tab:blue")
        axis.axvline(values.mean(), color="tab:orange", label=f"mean {values.mean():.3g}")
        axis.set_xlabel(column)
        axis.legend(frameon=False)
    axes[0, 0].set_ylabel("photographs")
    return figure


def ab_histogram(shares: torch.Tensor) -> Figure:
    """The share of pixels by a* and b*, (bins,bins) as `metrics.ab_histogram` gives it, on a logarithmic scale."""
    figure, axis = plt.subplots(figsize=(5.2, 4.4), layout="constrained")
    values = np.ma.masked_equal(shares.numpy(), 0)  # rows a*, columns b*
    image = axis.imshow(values, origin="lower", extent=(-110, 110, -110, 110), norm=LogNorm(), cmap="viridis")
    axis.set(xlabel="b*, blue to yellow", ylabel="a*, green to red")
    axis.axhline(0, color="0.5", linewidth=0.5)
    axis.axvline(0, color="0.5", linewidth=0.5)
    figure.colorbar(image, label="share of all pixels")
    return figure


def visualize(L: torch.Tensor, ab_hat: torch.Tensor, ab: torch.Tensor) -> Figure:
    """Rows: grey input, generated, ground truth; a column per photograph. L (N,1,H,W), ab_hat and ab (N,2,H,W)."""
    rows = {
        "grey input": color.lab_to_rgb(L, torch.zeros_like(ab)),
        "generated": color.lab_to_rgb(L, ab_hat),
        "ground truth": color.lab_to_rgb(L, ab),
    }
    return picture_rows({name: color.to_uint8(rgb).numpy() for name, rgb in rows.items()})


def picture_rows(rows: dict[str, np.ndarray]) -> Figure:
    """One row of pictures, uint8 (N,H,W,3), for each name; the name stands at the left."""
    columns = max(len(pictures) for pictures in rows.values())
    figure, axes = _picture_axes(len(rows), columns, cell=1.6 if columns > 3 else 2.2)
    for line, (name, pictures) in zip(axes, rows.items(), strict=True):
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")
        for axis, picture in zip(line, pictures, strict=False):
            axis.imshow(picture)
    return figure


def progress_rows(
    folder: Path, L: torch.Tensor, ab: torch.Tensor, until: int | None = None, at_most: int = 10
) -> Figure:
    """The showcase: grey, coloured at successive iterations, a row each, and the truth. L (K,1,H,W), ab (K,2,H,W).

    folder: where `training` saved `iteration-....png`, each all pictures side by side. until: the last iteration to
    show. Of more than `at_most` iterations, the first half is kept and the rest is thinned evenly, with the last one
    always there.
    """
    files = [file for file in sorted(folder.glob("iteration-*.png")) if until is None or _iteration(file) <= until]
    if len(files) > at_most:
        early = at_most // 2
        late = np.linspace(early, len(files) - 1, at_most - early).round().astype(int)
        files = files[:early] + [files[i] for i in late]
    rows = {"grey input": color.to_uint8(color.lab_to_rgb(L, torch.zeros_like(ab))).numpy()}
    for file in files:
        strip = np.asarray(Image.open(file))  # (H,K*W,3)
        rows[f"iteration {_iteration(file):,}"] = np.stack(np.split(strip, len(L), axis=1))
    return picture_rows(rows | {"ground truth": color.to_uint8(color.lab_to_rgb(L, ab)).numpy()})


def _iteration(file: Path) -> int:
    return int(file.stem.split("-")[1])


def loss_curves(runs: dict[str, pd.DataFrame], panels: Sequence[Sequence[str]]) -> Figure:
    """Losses by iteration, one row of axes: for each panel (names of its losses), each run (name -> history).

    Several runs of one panel share their scale. A run too short to have two logged iterations is drawn by its epochs.
    """
    pairs = [(name, history, losses) for losses in panels for name, history in runs.items()]
    figure, axes = plt.subplots(
        1,
        len(pairs),
        figsize=(max(4.8 * len(pairs), 7), 3),
        layout="constrained",
        squeeze=False,
        sharey=len(panels) == 1,
    )
    for axis, (name, history, losses) in zip(axes.flat, pairs, strict=True):
        logged = history[history.kind == ("iteration" if (history.kind == "iteration").sum() > 1 else "epoch")]
        for loss in losses:
            axis.plot(logged.iteration, logged[loss], ".-", markersize=3, label=LOSS_LABELS[loss], linewidth=1.2)
        axis.set(xlabel="iteration", ylabel="loss", title=name)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
        axis.legend(frameon=False)
    return figure


def validation_curves(runs: dict[str, pd.DataFrame], baselines: dict[str, dict[str, float]]) -> Figure:
    """The four validation figures by epoch for each run (name -> history), with baselines as dashed lines.

    baselines: as `metrics.baselines` gives them; the truth counts for colourfulness only, grey for the others.
    """
    references = {
        column: baselines["truth" if column == "val_colorfulness" else "grey"][column] for column in VALIDATION_LABELS
    }
    return epoch_curves(runs, VALIDATION_LABELS, references, "grey (colourfulness: truth)")


def epoch_curves(
    runs: dict[str, pd.DataFrame], panels: dict[str, str], references: dict[str, float], reference_label: str
) -> Figure:
    """Columns of the histories of several runs (name -> history) by epoch, a panel each (column -> title), with a
    dashed line at the reference of the column. A history that lacks the column has no line.
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(3.75 * len(panels), 3.5), layout="constrained", squeeze=False)
    for axis, (column, label) in zip(axes.flat, panels.items(), strict=True):
        for name, history in runs.items():
            epochs = history[history.kind == "epoch"].reindex(columns=["epoch", column])
            axis.plot(epochs.epoch, epochs[column], marker="o", markersize=3, label=name)
        axis.axhline(references[column], color="0.4", linestyle="--", label=reference_label)
        axis.set(xlabel="epoch", title=label)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=min(len(runs) + 1, 1 + len(panels)), frameon=False)
    return figure


def hue_curves(runs: dict[str, pd.DataFrame], grey: dict[str, float]) -> Figure:
    """The error of each hue by epoch, as a share of the grey answer's, a panel for each run (name -> history).

    grey: the grey answer's errors, as `diagnostics.hue_errors` gives them. A run's history has columns `error_HUE`.
    """
    figure, axes = plt.subplots(
        1, len(runs), figsize=(4.8 * len(runs), 3.6), layout="constrained", squeeze=False, sharey=True
    )
    for axis, (name, history) in zip(axes.flat, runs.items(), strict=True):
        epochs = history[history.kind == "epoch"]
        for hue, of_grey in grey.items():
            if f"error_{hue}" in epochs:
                errors = epochs[f"error_{hue}"] / of_grey
                axis.plot(epochs.epoch, errors, marker="o", markersize=3, label=hue, color=HUE_COLORS[hue])
        axis.axhline(1, color="0.4", linestyle="--", label="grey answer")
        axis.set(xlabel="epoch", title=name)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("ab error / the grey answer's")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    return figure


def _picture_axes(rows: int, columns: int, cell: float) -> tuple[Figure, np.ndarray]:
    """Axes (rows,columns) without ticks and frames, each `cell` inches wide."""
    figure, axes = plt.subplots(
        rows, columns, figsize=(cell * columns + 0.9, cell * rows), layout="constrained", squeeze=False
    )
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    return figure, axes
