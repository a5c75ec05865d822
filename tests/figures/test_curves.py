"""Figures: what they draw, from histories made for the purpose."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from colorize_lib.figures import curves, pictures


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def history(iterations: int, epochs: int) -> pd.DataFrame:
    rows = [{"kind": "iteration", "epoch": 1, "iteration": 10 * k, "loss_G": 2.0} for k in range(1, iterations + 1)]
    for k in range(1, epochs + 1):
        of = {"loss_G": 1.0 / k, "entropy_ratio": 0.1 * k, "error_red": 20.0}
        rows.append({"kind": "epoch", "epoch": k, "iteration": 5 * k} | of)
    return pd.DataFrame(rows)


def drawn(axis) -> list[list[float]]:
    """The y values of an axis's lines but the dashed ones."""
    return [line.get_ydata().tolist() for line in axis.lines if line.get_linestyle() != "--"]


def test_a_figure_is_saved_as_png_in_a_folder_made_for_it_and_nothing_else(tmp_path):
    path = tmp_path / "figures" / "losses.png"
    for _ in range(2):  # as two processes of one run do
        curves.save(curves.loss_curves({"run": history(4, 2)}, [["loss_G"]]), path)
    assert list(path.parent.iterdir()) == [path]
    with Image.open(path) as saved:
        assert saved.format == "PNG" and saved.width > 700


def test_a_channel_has_its_plane_and_the_colour_alone_has_no_lightness():
    grey = np.full((8, 8, 3), 128, np.uint8)
    grey[:, :4] = 30
    figure = pictures.channel_planes(grey)
    shown = {axis.get_title(): np.asarray(axis.images[0].get_array()) for axis in figure.axes}
    assert (shown["R"] == grey[..., 0]).all() and (shown["photograph"] == grey).all()
    assert np.ptp(shown["L*, lightness"]) > 30 and np.abs(shown["a*, green to red"]).max() < 0.1
    assert np.ptp(shown["colour alone"]) <= 1


def test_colourings_are_rows_below_their_grey_input():
    L, ab = torch.zeros(2, 1, 8, 8), torch.full((2, 2, 8, 8), 0.3)
    figure = pictures.coloring_rows(L, {"ours": ab})
    assert [axis.get_ylabel() for axis in figure.axes[::2]] == ["grey input", "ours"]
    grey, ours = (np.asarray(figure.axes[k].images[0].get_array()) for k in (0, 2))
    assert np.ptp(grey, axis=-1).max() <= 1 and np.ptp(ours, axis=-1).min() > 50


def test_losses_are_drawn_by_iteration_and_those_of_a_short_run_by_epoch():
    figure = curves.loss_curves({"long": history(4, 2), "short": history(1, 2)}, [["loss_G"]])
    long, short = (drawn(axis) for axis in figure.axes)
    assert long == [[2.0] * 4] and short == [[1.0, 0.5]]
    assert figure.axes[0].get_legend().get_texts()[0].get_text() == "G"


def test_curves_by_epoch_have_a_line_for_each_run_that_has_the_column():
    runs = {"one": history(4, 3), "other": history(4, 2).drop(columns="entropy_ratio")}
    figure = curves.epoch_curves(runs, {"entropy_ratio": "Entropy"}, {"entropy_ratio": 1.0}, "truth")
    one, other = drawn(figure.axes[0])
    assert one == pytest.approx([0.1, 0.2, 0.3]) and np.isnan(other).all()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["one", "other", "truth"]


def test_hues_are_drawn_as_shares_of_the_grey_answers_error():
    figure = curves.hue_curves({"S4": history(4, 2)}, {"red": 25.0, "blue": 20.0})
    assert drawn(figure.axes[0]) == [[0.8, 0.8]]
    assert figure.axes[0].lines[0].get_color() == curves.HUE_COLORS["red"]


def test_progress_shows_early_and_late_iterations_up_to_the_last_one_asked_for(tmp_path):
    for k in (0, 1, 2, 3, 10, 20, 30, 40, 50):
        Image.new("RGB", (16, 8)).save(tmp_path / f"iteration-{k:07d}.png")
    L, ab = torch.zeros(2, 1, 8, 8), torch.zeros(2, 2, 8, 8)
    figure = pictures.progress_rows(tmp_path, L, ab, until=40, at_most=4)
    names = [axis.get_ylabel() for axis in figure.axes if axis.get_ylabel()]
    shown = [name for name in names if name.startswith("iteration")]
    assert names[0] == "grey input" and names[-1] == "ground truth"
    assert shown == [f"iteration {k}" for k in (0, 1, 2, 40)]


def test_a_frontier_names_every_point_of_its_lines():
    points = pd.DataFrame({"val_L1": [0.08, 0.1], "val_colorfulness": [10, 20]}, index=["x 1", "x 2"])
    axis = curves.frontier({"L1 only": points}, truth=39).axes[0]
    assert list(zip(*axis.lines[0].get_data(), strict=True)) == [(0.08 * 110, 10), (0.1 * 110, 20)]
    assert [text.get_text() for text in axis.texts] == ["x 1", "x 2"] and axis.lines[1].get_ydata()[0] == 39
