"""What tests of claims came to, and the curves behind them."""

from collections.abc import Iterable
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from .curves import _label, _row, _with_legend

NAME = 105  # letters of a line of a test's name
COLOURS = {"as the claim says": "tab:green", "the other way": "tab:red", "not resolved": "0.5"}


def forest(verdicts: pd.DataFrame) -> Figure:
    """Every effect with its 95 % interval, in per cent of what it is compared with, on the side that its claim expects
    or the other; `Claims.verdicts`, of which tests that were not run are left out."""
    shown = verdicts.dropna(subset="effect").iloc[::-1].reset_index(drop=True)
    figure, (axis,) = _row(1, 11, 0.29 * len(shown) + 1)
    factor = 100 * shown.side / shown.reference
    low, effect, high = (one * factor for one in (shown.low, shown.effect, shown.high))
    which = np.select([low * high <= 0, effect > 0], ["not resolved", "as the claim says"], "the other way")
    for side, colour in COLOURS.items():
        rows = shown.index[which == side]
        axis.hlines(rows, low[rows], high[rows], color=colour, linewidth=2)
        axis.plot(effect[rows], rows, "o", color=colour, label=side, markersize=4)
    axis.axvline(0, color="0.2", linewidth=0.8)
    axis.set_xscale("symlog", linthresh=5)
    ticks = [-100, -20, -5, 0, 5, 20, 100]
    axis.set_xticks(ticks, [f"{tick:+d} %" if tick else "0" for tick in ticks])
    names = [fill(f"{of.claim}  {of.test}", NAME) for of in shown.itertuples()]  # a long one would leave no room
    axis.set_yticks(shown.index, names, fontsize=7)
    axis.set(ylim=(-1, len(shown)), xlabel="effect, to the right as the claim says (a straight scale up to 5 %)")
    axis.grid(axis="x", alpha=0.3)
    return _with_legend(figure, "outside upper right", ncols=3)


def by_epoch(arms: dict[str, list[list[dict]]], figures: dict[str, str]) -> Figure:
    """Figures of an epoch (key -> title): for each arm, of its runs' epochs, the mean and the range over seeds."""
    figure, axes = _row(len(figures), 4.2 * len(figures), 3.2)
    for axis, (key, title) in zip(axes, figures.items(), strict=True):
        for name, runs in arms.items():
            values = np.array([[epoch.get(key, np.nan) for epoch in run] for run in runs])  # (S,E)
            at = np.arange(1, values.shape[1] + 1)
            (line,) = axis.plot(at, values.mean(axis=0), ".-", label=name, markersize=3)
            axis.fill_between(at, values.min(axis=0), values.max(axis=0), color=line.get_color(), alpha=0.15)
        _label(axis, "epoch", title=title)
    return _with_legend(figure)


def by_number(lines: dict[str, Iterable[tuple[float, list[float]]]], xlabel: str, ylabel: str) -> Figure:
    """A figure against a number, on a logarithmic scale, one line a name: the mean over seeds and every seed's."""
    figure, (axis,) = _row(1, 6, 3.4)
    for name, points in lines.items():
        at, values = zip(*points, strict=True)
        (line,) = axis.plot(at, [np.mean(each) for each in values], label=name)
        for x, each in zip(at, values, strict=True):
            axis.plot([x] * len(each), each, "o", color=line.get_color(), markersize=4, alpha=0.6)
    axis.set(xscale="log", xlabel=xlabel, ylabel=ylabel)
    axis.set_xticks(list(at), [f"{x:,g}" for x in at])
    axis.minorticks_off()
    axis.grid(alpha=0.3)
    return _with_legend(figure) if len(lines) > 1 else figure
