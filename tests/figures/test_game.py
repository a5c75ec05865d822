"""The game: the line of chance, and the sentence on who is ahead."""

import math

import pandas as pd
import pytest

from colorize_lib.figures import game


def history(loss: float) -> pd.DataFrame:
    """A run whose D begins at chance and ends at `loss`."""
    losses = [math.log(2)] * 18 + [loss] * 2
    columns = dict.fromkeys(("loss_D", "loss_D_fake", "loss_D_real", "loss_G_GAN"), losses)
    return pd.DataFrame({"kind": "iteration", "iteration": range(1, 21), **columns})


@pytest.mark.parametrize(
    "loss, mode, said",
    [(0.1, "vanilla", "far ahead"), (0.5, "vanilla", "D is ahead"), (0.69, "vanilla", "at chance"),
     (0.9, "vanilla", "fooled"), (0.25, "lsgan", "at chance")],
)  # fmt: skip
def test_the_sentence_follows_the_end_of_the_run(loss, mode, said):
    sentence = game.who_is_ahead(history(loss), mode)
    assert said in sentence and f"D loses {loss:.3f}" in sentence and f"{game.CHANCE[mode]:.3f} is chance" in sentence


def test_the_judgement_is_that_of_the_counts():
    """D calls 8 of 10 true ones and 3 of 10 painted ones true."""
    judged = game.judgement(pd.DataFrame({"accuracy_D_fake": [0.7], "accuracy_D_real": [0.8]})).iloc[0]
    assert (judged.accuracy, judged.precision, judged.recall) == pytest.approx((15 / 20, 8 / 11, 0.8))


def test_the_panel_has_every_loss_and_the_line_of_chance():
    lines = game.game(history(0.4)).axes[0].lines
    assert [line.get_label() for line in lines] == ["D, painted", "D, true", "G", "D cannot tell"]
    assert lines[0].get_ydata()[-1] == 0.4 and lines[-1].get_ydata()[0] == pytest.approx(math.log(2))
