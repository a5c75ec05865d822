"""The forest plot leaves room for its effects, on the side that each claim expects."""

import pandas as pd

from colorize_lib.figures.claims import COLOURS, forest


def test_effects_have_room_beside_long_names_and_stand_on_their_claims_side():
    rows = [("C1", "a: l1", -1, -2.0, -3.0, -1.0), ("C2", "b " * 90, +1, -2.0, -3.0, -1.0), ("C3", "c", +1, 0.1, -1, 1)]
    verdicts = pd.DataFrame(rows, columns=["claim", "test", "side", "effect", "low", "high"]).assign(reference=10.0)
    figure = forest(verdicts)
    figure.canvas.draw()
    (axis,) = figure.axes
    assert axis.get_position().width > 0.4
    points = {line.get_label(): line.get_xdata().tolist() for line in axis.lines if line.get_label() in COLOURS}
    assert points == {"as the claim says": [20.0], "the other way": [-20.0], "not resolved": [1.0]}
