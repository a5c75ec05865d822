"""Curves, points and bars. Every function draws what it is given and returns the figure; `save` writes it."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from .. import color
from ..files import atomic_path

HUE_COLORS = {"red": "tab:red", "orange/yellow": "tab:orange", "green": "tab:green", "cyan": "tab:cyan"}
HUE_COLORS |= {"blue": "tab:blue", "purple": "tab:purple", "near-grey": "0.6"}
UNITS = {"val_L1": color.AB_SCALE}  # what a column is multiplied by to be drawn: Lab units everywhere
DIVERSITY_LABELS = {"entropy_ratio": "Entropy of colours / truth's", "spread_ratio": "Spread of mean colours / truth's"}
VALIDATION_LABELS = {
    "val_L1": "L1 on ab, Lab units (lower is better)",
    "val_psnr": "PSNR, dB (higher is better)",
    "val_ssim": "SSIM (higher is better)",
    "val_colorfulness": "Colourfulness (as the truth is best)",
}


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all, so that every process of a run may do it; a notebook shows it too."""
    with atomic_path(path) as partial:
        figure.savefig(partial, format="png", dpi=120, bbox_inches="tight")


def histograms(table: pd.DataFrame, columns: Sequence[str], bins: int = 40) -> Figure:
    """A histogram of each of these columns, side by side, with the mean as a line."""
    figure, axes = _row(len(columns), 2.6 * len(columns) + 0.6, 2.6)
    for axis, column in zip(axes, columns, strict=True):
        mean = table[column].mean()
        axis.hist(table[column], bins=bins, color="tab:blue")
        axis.axvline(mean, color="tab:orange", label=f"mean {mean:.3g}")
        axis.set_xlabel(column)
        axis.legend(frameon=False)
    axes[0].set_ylabel("photographs")
    return figure


def ab_histogram(shares: torch.Tensor) -> Figure:
    """The share of pixels by a* and b*, (bins,bins) as `metrics.ab_histogram` gives it, on a logarithmic scale."""
    figure, (axis,) = _row(1, 5.2, 4.4)
    values = np.ma.masked_equal(shares.numpy(), 0)  # rows a*, columns b*
    image = axis.imshow(values, origin="lower", extent=(-110, 110, -110, 110), norm=LogNorm(), cmap="viridis")
    axis.set(xlabel="b*, blue to yellow", ylabel="a*, green to red")
    axis.axhline(0, color="0.5", linewidth=0.5)
    axis.axvline(0, color="0.5", linewidth=0.5)
    figure.colorbar(image, label="share of all pixels")
    return figure


def loss_curves(runs: dict[str, pd.DataFrame], panels: Sequence[Sequence[str]]) -> Figure:
    """Losses by iteration, one row of axes: for each panel (names of its losses), each run (name -> history). A run too
    short to have two logged iterations is drawn by its epochs."""
    pairs = [(name, history, losses) for losses in panels for name, history in runs.items()]
    figure, axes = _row(len(pairs), max(4.8 * len(pairs), 7), 3, sharey=len(panels) == 1)
    for axis, (name, history, losses) in zip(axes, pairs, strict=True):
        logged = history[history.kind == ("iteration" if (history.kind == "iteration").sum() > 1 else "epoch")]
        for loss in losses:
            axis.plot(logged.iteration, logged[loss], ".-", markersize=3, label=loss_label(loss), linewidth=1.2)
        _label(axis, "iteration", title=name, ylabel="loss")
        axis.legend(frameon=False)
    return figure


def loss_label(loss: str) -> str:
    """A loss's name for readers: `loss_D_fake` is "D, fake"."""
    return "G, λ·L1" if loss == "loss_G_L1" else loss.removeprefix("loss_").replace("_", ", ")


def validation_curves(runs: dict[str, pd.DataFrame], baselines: dict[str, dict[str, float]]) -> Figure:
    """`epoch_curves` of the four validation figures, with those of `metrics.baselines`: the truth's colourfulness, and
    of the others grey's."""
    of = {name: baselines["truth" if name == "val_colorfulness" else "grey"][name] for name in VALIDATION_LABELS}
    return epoch_curves(runs, VALIDATION_LABELS, of, "grey (colourfulness: truth)")


def epoch_curves(
    runs: dict[str, pd.DataFrame], panels: dict[str, str], references: dict[str, float], reference_label: str
) -> Figure:
    """Columns of the histories of several runs (name -> history) by epoch, a panel each (column -> title), with a
    dashed line at the reference of the column. A history that lacks the column has no line."""
    figure, axes = _row(len(panels), 3.75 * len(panels), 3.5)
    for axis, (column, title) in zip(axes, panels.items(), strict=True):
        unit = UNITS.get(column, 1)
        for name, history in runs.items():
            epochs = history[history.kind == "epoch"].reindex(columns=["epoch", column])
            axis.plot(epochs.epoch, unit * epochs[column], marker="o", markersize=3, label=name)
        axis.axhline(unit * references[column], color="0.4", linestyle="--", label=reference_label)
        _label(axis, "epoch", title=title)
    return _with_legend(figure, "outside lower center", ncols=min(len(runs) + 1, 1 + len(panels)))


def hue_curves(runs: dict[str, pd.DataFrame], grey: dict[str, float]) -> Figure:
    """The columns `error_HUE` by epoch, as shares of the grey answer's errors, by hue; a panel for each run (name ->
    history)."""
    figure, axes = _row(len(runs), 4.8 * len(runs), 3.6, sharey=True)
    for axis, (name, history) in zip(axes, runs.items(), strict=True):
        epochs = history[history.kind == "epoch"]
        for hue in (hue for hue in grey if f"error_{hue}" in epochs):
            errors = epochs[f"error_{hue}"] / grey[hue]
            axis.plot(epochs.epoch, errors, marker="o", markersize=3, label=hue, color=HUE_COLORS[hue])
        axis.axhline(1, color="0.4", linestyle="--", label="grey answer")
        _label(axis, "epoch", title=name)
    axes[0].set_ylabel("ab error / the grey answer's")
    return _with_legend(figure)


def trade_off(table: pd.DataFrame) -> Figure:
    """Error against colourfulness, a point with its intervals for each answer, and the truth's colourfulness as a line.
    table: as `tables.estimates` gives it."""
    figure, (axis,) = _row(1, 7.5, 4.2)
    for name in table.index.unique("answer"):
        x, y = (table.loc[(name, measure)] for measure in ("l1_ab", "colorfulness"))
        spread = [[[of.value - of.low], [of.high - of.value]] for of in (x, y)]
        axis.errorbar(x.value, y.value, xerr=spread[0], yerr=spread[1], marker="o", capsize=2, linestyle="", label=name)
    axis.axhline(table.loc[(name, "colorfulness_truth")].value, color="0.4", linestyle="--", label="truth")
    axis.set(xlabel=VALIDATION_LABELS["val_L1"], ylabel="colourfulness")
    axis.grid(alpha=0.3)
    return _with_legend(figure)


def frontier(lines: dict[str, pd.DataFrame], truth: float) -> Figure:
    """Error against colourfulness along each line (name -> columns val_L1, val_colorfulness; its index says what each
    point is), and the truth's colourfulness."""
    figure, (axis,) = _row(1, 7.5, 4.6)
    for name, points in lines.items():
        errors = UNITS["val_L1"] * points.val_L1
        (line,) = axis.plot(errors, points.val_colorfulness, marker="o", label=name)
        for label, x, y in zip(points.index, errors, points.val_colorfulness, strict=True):
            axis.annotate(label, (x, y), (5, -11), textcoords="offset points", color=line.get_color(), fontsize="small")
    axis.axhline(truth, color="0.4", linestyle="--", label="truth")
    axis.set(xlabel=VALIDATION_LABELS["val_L1"], ylabel="colourfulness")
    axis.grid(alpha=0.3)
    return _with_legend(figure, "outside lower center", ncols=3)


def hue_intervals(table: pd.DataFrame) -> Figure:
    """The error of each true hue, a point with its interval for each answer; table as in `trade_off`."""
    names = table.index.unique("answer")
    figure, (axis,) = _row(1, 9, 3.8)
    for k, name in enumerate(names):
        of = table.xs(name).reindex([f"error_{hue}" for hue in HUE_COLORS])
        at = np.arange(len(of)) + (k - (len(names) - 1) / 2) * 0.8 / len(names)
        spread = [of.value - of.low, of.high - of.value]
        axis.errorbar(at, of.value, yerr=spread, marker="o", markersize=4, capsize=2, linestyle="", label=name)
    axis.set_xticks(range(len(HUE_COLORS)), list(HUE_COLORS))
    axis.set_ylabel("mean ab distance, Lab units")
    axis.grid(axis="y", alpha=0.3)
    return _with_legend(figure)


def _row(panels: int, width: float, height: float, **options) -> tuple[Figure, np.ndarray]:
    """A row of axes, in inches all together."""
    figure, axes = plt.subplots(1, panels, figsize=(width, height), layout="constrained", squeeze=False, **options)
    return figure, axes[0]


def _label(axis: Axes, xlabel: str, **labels: str) -> None:
    """Name the axes; x counts in whole numbers."""
    axis.set(xlabel=xlabel, **labels)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.grid(alpha=0.3)


def _with_legend(figure: Figure, where: str = "outside right center", **options) -> Figure:
    """The legend of the first axes, for all of them."""
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc=where, frameon=False, **options)
    return figure
