"""How often people were fooled, from all answers so far."""

import numpy as np
import pandas as pd

from ...evaluation.tables import draw_counts, interval
from .pairs import PairList

ATTENTIVE = 0.75  # share of the vigilance pairs that a rater must get right to be counted
COLUMNS = ["rater", "list", "pair", "kind", "photograph", "right"]


def read_answers(pairs: PairList) -> pd.DataFrame:
    """The answers to this list of pairs by all raters, practice included; no rows if there are none.

    Raises ValueError naming a file that is no CSV of answers.
    """
    found = []
    for path in sorted(pairs.answers.glob("*.csv")):
        answers = pd.read_csv(path, dtype={"rater": str, "list": str})  # digests, of which some look like numbers
        if not set(COLUMNS) <= set(answers):
            raise ValueError(f"{path} is no file of answers: its columns are {', '.join(answers)}")
        found.append(answers[answers["list"] == pairs.digest])
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=COLUMNS)


def fooled_rate(answers: pd.DataFrame) -> dict[str, float] | None:
    """How often attentive raters took the true picture of a scored pair for the fake; None if none has answered one.

    Keys: rate, in [0,1], and the ends low and high of its 95 % interval; raters, who are counted, and inattentive, who
    are not, for wrong answers to vigilance pairs; answers, how many the rate is taken from.
    The interval is a bootstrap over raters AND photographs: both are drawn anew, and an answer counts as often as its
    rater times its photograph was drawn (Owen, "The pigeonhole bootstrap", 2007).
    """
    scored = attentive(answers)
    if scored.empty:
        return None
    fooled = (1 - scored.right).groupby([scored.rater, scored.photograph])
    sums, counts = (one.unstack(fill_value=0).to_numpy() for one in (fooled.sum(), fooled.count()))
    raters, photographs = (draw_counts(n, seed=seed) for seed, n in enumerate(sums.shape))
    totals, weights = (np.einsum("br,rp,bp->b", raters, of, photographs) for of in (sums, counts))
    low, high = interval(totals[weights > 0] / weights[weights > 0])
    others = set(answers.rater[answers.kind == "scored"]) - set(scored.rater)
    numbers = {"raters": len(sums), "inattentive": len(others), "answers": len(scored)}
    return {"rate": 1 - float(scored.right.mean()), "low": low, "high": high, **numbers}


def attentive(answers: pd.DataFrame) -> pd.DataFrame:
    """The answers to scored pairs by raters who were right about enough of the vigilance pairs."""
    vigilance = answers[answers.kind == "vigilance"].groupby("rater").right.mean()
    return answers[(answers.kind == "scored") & ~answers.rater.isin(vigilance.index[vigilance < ATTENTIVE])]


def summary(fooled: dict[str, float]) -> str:
    """What `fooled_rate` found, in one line."""
    share = "fooled: {rate:.1%} [{low:.1%}, {high:.1%}] of {answers:,} answers by {raters} raters".format(**fooled)
    ignored = f", {fooled['inattentive']} more left out as inattentive" if fooled["inattentive"] else ""
    return f"{share}{ignored}; 50 % is as good as the truth"
