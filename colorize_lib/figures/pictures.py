"""Figures made of pictures. Every function draws what it is given and returns the figure; `curves.save` writes it."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image, ImageOps

from .. import color

SHOWN = 400  # pixels of the longer side of a photograph in a figure; larger ones only swell the notebook


def photo_grid(photographs: np.ndarray, columns: int = 4) -> Figure:
    """A grid of pictures: uint8 (N,H,W,3)."""
    figure, axes = _picture_axes(-(-len(photographs) // columns), columns, cell=1.9)
    for axis, photograph in zip(axes.flat, photographs, strict=False):
        axis.imshow(photograph)
    return figure


def channel_planes(photograph: np.ndarray) -> Figure:
    """One picture, uint8 (H,W,3), beside its R, G, B planes; its colour alone, at L* = 65, beside L*, a*, b*."""
    lab = color.rgb_to_lab(torch.from_numpy(photograph).permute(2, 0, 1)[None])  # (1,3,H,W)
    flat = torch.cat([torch.full_like(lab[:, :1], 65), lab[:, 1:]], dim=1)
    R, G, B = photograph.transpose(2, 0, 1)
    L, a, b = lab[0].numpy()
    planes = [
        ("photograph", photograph, None, (0, 255)),
        ("R", R, "Reds_r", (0, 255)),
        ("G", G, "Greens_r", (0, 255)),
        ("B", B, "Blues_r", (0, 255)),
        ("colour alone", color.to_uint8(color.lab_to_unclipped_rgb(flat))[0].numpy(), None, (0, 255)),
        ("L*, lightness", L, "gray", (0, 100)),
        ("a*, green to red", a, "RdYlGn_r", (-80, 80)),
        ("b*, blue to yellow", b, "YlGnBu_r", (-80, 80)),
    ]
    figure, axes = _picture_axes(2, 4, cell=2.4)
    for axis, (name, plane, cmap, (low, high)) in zip(axes.flat, planes, strict=True):
        axis.imshow(plane, cmap=cmap, vmin=low, vmax=high)
        axis.set_title(name)
    return figure


def picture_rows(rows: dict[str, np.ndarray], titles: Sequence[str] = ()) -> Figure:
    """One row of pictures, uint8 (N,H,W,3), for each name, which stands at the left; titles stand over the columns."""
    columns = max(len(pictures) for pictures in rows.values())
    figure, axes = _picture_axes(len(rows), columns, cell=1.6 if columns > 3 else 2.2)
    for axis, title in zip(axes[0], titles, strict=False):
        axis.set_title(title, fontsize="medium")
    for line, (name, pictures) in zip(axes, rows.items(), strict=True):
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")
        for axis, picture in zip(line, pictures, strict=False):
            axis.imshow(picture)
    return figure


def coloring_rows(L: torch.Tensor, colorings: dict[str, torch.Tensor]) -> Figure:
    """Colourings ab (N,2,H,W) of the same pictures L (N,1,H,W), a row for each name; grey at the top."""
    return picture_rows({"grey input": _painted(L)} | {name: _painted(L, ab) for name, ab in colorings.items()})


def painting_rows(
    painters: dict[str, Callable], L: torch.Tensor, ab: torch.Tensor, device: torch.device | str = "cpu"
) -> Figure:
    """What each painter makes of L (N,1,H,W) on `device`, a row each; below, the truth, with ab (N,2,H,W)."""
    rows = {name: color.to_uint8(paint(L.to(device))).numpy() for name, paint in painters.items()}
    return picture_rows(rows | {"truth": _painted(L, ab)})


def photograph_rows(columns: dict[str, Iterable[Image.Image]], width: float = 2.6) -> Figure:
    """Photographs of any size, as many for each name, which stands above its column; width: of one, in inches."""
    lines = list(zip(*columns.values(), strict=True))
    heights = [width * line[0].height / line[0].width for line in lines]
    size = (width * len(columns), sum(heights) + 0.3)
    figure = plt.figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(lines), len(columns), squeeze=False, height_ratios=heights)
    for axis, name in zip(axes[0], columns, strict=True):
        axis.set_title(name, fontsize="medium")
    for line, shown in zip(axes, lines, strict=True):
        for axis, picture in zip(line, shown, strict=True):
            axis.imshow(ImageOps.contain(picture, (SHOWN, SHOWN)))
            axis.set_axis_off()
    return figure


def progress_rows(
    folder: Path, L: torch.Tensor, ab: torch.Tensor, until: int | None = None, at_most: int = 10
) -> Figure:
    """The showcase, L (K,1,H,W), ab (K,2,H,W): grey, coloured at iterations up to `until`, a row each, and the truth.

    folder: where `training` saved `iteration-....png`, each all pictures side by side. Of more than `at_most` of them
    the first half is kept, and the rest thinned evenly, but for the last.
    """
    files = {int(file.stem.split("-")[1]): file for file in sorted(folder.glob("iteration-*.png"))}
    shown = [iteration for iteration in files if until is None or iteration <= until]
    if len(shown) > at_most:
        early = at_most // 2
        late = np.linspace(early, len(shown) - 1, at_most - early).round().astype(int)
        shown = shown[:early] + [shown[i] for i in late]
    rows = {"grey input": _painted(L)}
    for iteration in shown:
        strip = np.asarray(Image.open(files[iteration]))  # (H,K*W,3)
        rows[f"iteration {iteration:,}"] = np.stack(np.split(strip, len(L), axis=1))
    return picture_rows(rows | {"ground truth": _painted(L, ab)})


def _painted(L: torch.Tensor, ab: torch.Tensor | None = None) -> np.ndarray:
    """L (N,1,H,W) with ab (N,2,H,W), or in grey, as pictures: uint8 (N,H,W,3)."""
    ab = torch.zeros_like(L).repeat(1, 2, 1, 1) if ab is None else ab.to(L.device)
    return color.to_uint8(color.lab_to_rgb(L, ab)).numpy()


def _picture_axes(rows: int, columns: int, cell: float) -> tuple[Figure, np.ndarray]:
    """Axes (rows,columns) without ticks and frames, each `cell` inches wide."""
    figure = plt.figure(figsize=(cell * columns + 0.9, cell * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    return figure, axes
