"""The adversarial game, watched: who is ahead, by the discriminator's losses against chance."""

import math

import pandas as pd
from matplotlib.figure import Figure

from .curves import _label, _row, _with_legend

# What D loses if it cannot tell, and answers 1/2 to everything: binary cross-entropy, mean squared error.
CHANCE = {"vanilla": math.log(2), "lsgan": 0.25}
JUDGEMENT = {"accuracy": "D's accuracy", "precision": "D's precision", "recall": "D's recall"}


def game(history: pd.DataFrame, gan_mode: str = "vanilla") -> Figure:
    """D's losses on painted and true colours, and G's, by iteration, with the line of chance. history: a GAN run's."""
    figure, (axis,) = _row(1, 8, 3.2)
    logged = _logged(history)
    for column, name in {"loss_D_fake": "D, painted", "loss_D_real": "D, true", "loss_G_GAN": "G"}.items():
        axis.plot(logged.iteration, logged[column], linewidth=1.2, label=name)
    axis.axhline(CHANCE[gan_mode], color="0.4", linestyle="--", label="D cannot tell")
    _label(axis, "iteration", ylabel="loss")
    return _with_legend(figure)


def judgement(history: pd.DataFrame) -> pd.DataFrame:
    """A GAN run's history with D's accuracy, precision and recall: D as a detector of true colours.

    It sees as many painted as true ones, so they follow from the shares that it gets right: recall is that of the true
    ones, precision recall / (recall + 1 - the painted ones' share), accuracy the mean of both shares.
    """
    fake, recall = history.accuracy_D_fake, history.accuracy_D_real
    return history.assign(accuracy=(fake + recall) / 2, precision=recall / (recall + 1 - fake), recall=recall)


def who_is_ahead(history: pd.DataFrame, gan_mode: str = "vanilla") -> str:
    """A sentence on the last tenth of a GAN run's logged iterations: D's loss against chance."""
    logged, chance = _logged(history), CHANCE[gan_mode]
    last = logged.loss_D.tail(max(1, len(logged) // 10)).mean()
    ratio = last / chance
    if ratio < 0.5:
        verdict = "D is far ahead and G learns little from it"
    elif ratio < 0.95:
        verdict = "D is ahead, and tells some of the painted colours"
    else:
        verdict = (
            "D is at chance, and teaches G nothing" if ratio < 1.05 else "D is worse than chance: it is being fooled"
        )
    return f"In the last tenth D loses {last:.3f}, where {chance:.3f} is chance: {verdict}."


def _logged(history: pd.DataFrame) -> pd.DataFrame:
    return history[history.kind == ("iteration" if (history.kind == "iteration").any() else "epoch")]
