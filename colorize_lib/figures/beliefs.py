"""What a network believes about the colour of single pixels."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure

from .. import color

MARKS = {"truth": ("x", 60), "mean": ("o", 45), "reading": ("D", 40), "mode": ("s", 40)}


def belief_maps(
    L: np.ndarray,
    spots: Sequence[tuple[int, int]],
    centres: np.ndarray,
    beliefs: np.ndarray,
    points: dict[str, np.ndarray],
) -> Figure:
    """A grey picture with numbered spots; beside it, for each, its belief over the ab plane.

    L: (H,W), L* in 0..100; spots: (row, column) of each; centres: (Q,2) of the bins, Lab units; beliefs: (K,Q), each
    sums to 1; points: what is marked (a name of MARKS), (K,2) in Lab units. A bin is a square of its own colour at the
    pixel's lightness, as large as it is likely beside the likeliest.
    """
    figure, axes = plt.subplots(1, 1 + len(spots), figsize=(3.3 * (1 + len(spots)), 3.6), layout="constrained")
    axes[0].imshow(L, cmap="gray", vmin=0, vmax=100)
    axes[0].set_axis_off()
    for number, ((row, column), belief) in enumerate(zip(spots, beliefs, strict=True), start=1):
        axes[0].annotate(
            str(number), (column, row), color="black", fontsize=11, ha="center", va="center", weight="bold",
            bbox={"boxstyle": "circle,pad=0.25", "fc": "white", "ec": "black"},
        )  # fmt: skip
        axis = axes[number]
        axis.set_facecolor("0.93")
        axis.scatter(centres[:, 1], centres[:, 0], s=2, color="0.75")
        pixels = np.column_stack([np.full(len(centres), L[row, column]), centres])
        likely = belief > 1e-4
        lab = torch.from_numpy(pixels.T[None, :, :, None]).float()
        colours = color.lab_to_unclipped_rgb(lab).clamp(0, 1)[0, :, :, 0].T.numpy()
        size = 150 * belief[likely] / belief.max()
        axis.scatter(centres[likely, 1], centres[likely, 0], s=size, marker="s", c=colours[likely])
        for name, where in points.items():
            shape, size = MARKS[name]
            edge = {} if shape == "x" else {"facecolors": "none", "edgecolors": "black"}
            axis.scatter(
                *where[number - 1][::-1], s=size, marker=shape, linewidths=1.6, label=name, **(edge or {"c": "black"})
            )
        axis.set(
            title=f"spot {number}", xlim=(-115, 115), ylim=(-115, 115), aspect="equal", xlabel="b*, blue to yellow"
        )
    axes[1].set_ylabel("a*, green to red")
    figure.legend(*axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=len(points), frameon=False)
    return figure


def reliability(expected: np.ndarray, error: np.ndarray) -> Figure:
    """Expected errors (K,) against true ones (K,3), value, low and high, in Lab units, of tenths of the pixels."""
    figure, axis = plt.subplots(figsize=(4.5, 4.5), layout="constrained")
    value, low, high = error.T
    axis.errorbar(expected, value, yerr=(value - low, high - value), fmt="o", color="C0", capsize=3)
    most = 1.05 * max(expected.max(), high.max())
    axis.plot([0, most], [0, most], color="0.6", linewidth=1, zorder=0)
    axis.set(xlim=(0, most), ylim=(0, most), aspect="equal")
    axis.set(xlabel="expected error, Lab units", ylabel="root mean square error", title="tenths of the pixels")
    return figure
