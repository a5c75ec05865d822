"""How often people were fooled, from all answers so far."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ...evaluation.tables import draw_counts, interval
from .pairs import PairList

ATTENTIVE = 0.75  # share of the vigilance pairs that a rater must get right to be counted


@dataclass(frozen=True)
class FooledRate:
    """Share of scored pairs, in [0,1], in which the true picture was taken for the fake, with its 95 % interval.

    0.5 is as good as the truth. raters: how many are counted; inattentive: how many are not, for wrong answers to
    vigilance pairs. answers: how many scored answers the rate is taken from. photographs: the rate of each one.
    """

    rate: float
    low: float
    high: float
    raters: int
    inattentive: int
    answers: int
    photographs: pd.Series

    def summary(self) -> str:
        """One line to read."""
        ignored = f", {self.inattentive} more left out as inattentive" if self.inattentive else ""
        return (
            f"fooled: {self.rate:.1%} [{self.low:.1%}, {self.high:.1%}] of {self.answers:,} answers by {self.raters} "
            f"raters{ignored}; 50 % is as good as the truth"
        )

    def as_numbers(self) -> dict:
        """The same for JSON."""
        return {**vars(self), "photographs": self.photographs.to_dict()}


def read_answers(pairs: PairList) -> pd.DataFrame:
    """The answers to this list of pairs by all raters, practice included; no rows if there are none.

    Raises ValueError naming a file that is no CSV of answers.
    """
    found = []
    for path in sorted(pairs.answers.glob("*.csv")):
        answers = pd.read_csv(path)
        if not {"rater", "list", "pair", "kind", "photograph", "right"} <= set(answers):
            raise ValueError(f"{path} is no file of answers: its columns are {', '.join(answers)}")
        found.append(answers[answers["list"] == pairs.digest])
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=["rater", "kind", "right"])


def fooled_rate(answers: pd.DataFrame) -> FooledRate | None:
    """The rate over all attentive raters; None if there is no scored answer of one.

    The interval is a bootstrap over raters AND photographs: both are drawn anew, and an answer counts as often as its
    rater times its photograph was drawn (Owen, "The pigeonhole bootstrap", 2007).
    """
    vigilance = answers[answers.kind == "vigilance"].groupby("rater").right.mean()
    inattentive = set(vigilance.index[vigilance < ATTENTIVE])
    scored = answers[(answers.kind == "scored") & ~answers.rater.isin(inattentive)]
    if scored.empty:
        return None
    fooled = scored.assign(fooled=1 - scored.right).pivot_table(
        "fooled", "rater", "photograph", aggfunc=["sum", "count"]
    )
    sums, counts = (fooled[name].fillna(0).to_numpy() for name in ("sum", "count"))  # (raters, photographs)
    raters, photographs = (draw_counts(n, seed=seed) for seed, n in enumerate(sums.shape))
    totals, weights = (np.einsum("br,rp,bp->b", raters, of, photographs) for of in (sums, counts))
    draws = totals[weights > 0] / weights[weights > 0]
    by_photograph = pd.Series(sums.sum(axis=0) / counts.sum(axis=0), fooled["sum"].columns, name="fooled")
    n_raters, n_answers = scored.rater.nunique(), len(scored)
    rate = 1 - scored.right.mean()
    return FooledRate(float(rate), *interval(draws), n_raters, len(inattentive), n_answers, by_photograph)
