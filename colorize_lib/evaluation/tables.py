"""Tables of `scores.Scores`: figures with intervals, paired differences, several seeds, another domain.

All intervals are 95 % percentile bootstrap intervals over images (Efron and Tibshirani, "An Introduction to the
Bootstrap", 1993, section 13.3). Answers are compared on the same draws of images, so that a photograph which is hard
for all of them does not blur their difference; scipy.stats.bootstrap has no such draws of sums and weights.
"""

import numpy as np
import pandas as pd

from .measures import MEASURES
from .scores import SETS, TRUTH_HALVES, Scores, intersection

ENDS = (0.025, 0.975)


def draw_counts(n_images: int, n: int = 2_000, seed: int = 0) -> np.ndarray:
    """How often each of n_images is in each of n draws of as many with replacement, (n, n_images); two figures taken
    over the same counts are paired. Raises ValueError for no images."""
    if n_images < 1:
        raise ValueError("there are no images to draw from")
    return np.random.default_rng(seed).multinomial(n_images, np.full(n_images, 1 / n_images), size=n)


def interval(draws: np.ndarray) -> tuple[float, float]:
    """The interval (low, high) that holds 95 % of the draws, with as many of them below it as above."""
    low, high = np.quantile(draws, ENDS)
    return float(low), float(high)


def estimates(scores: dict[str, Scores]) -> pd.DataFrame:
    """Every figure of every answer: rows (answer, figure), columns `value`, `low`, `high`. A figure that an answer does
    not have, as the error of a hue that no image has, is left out."""
    return _table({name: _with_intervals("value", one.figures().iloc[0], _draws(one)) for name, one in scores.items()})


def differences(scores: dict[str, Scores], reference: str) -> pd.DataFrame:
    """Every answer's figures minus those of `reference`: rows (answer, figure), columns `difference`, `low`, `high`,
    `verdict`.

    That is `better` or `worse` if the interval lies on one side of 0, `unresolved` if it holds 0: the images do
    not tell which of the two is better. Figures that have no better side are left out; of the mean colourfulness gap
    the distance from 0 is compared. With many figures, one in twenty "resolved" differences is luck.
    """
    value = {name: _comparable(one.figures()).iloc[0] for name, one in scores.items()}
    draws = {name: _comparable(_draws(one)) for name, one in scores.items()}
    others = [name for name in scores if name != reference]
    minus = {name: (value[name] - value[reference], draws[name] - draws[reference]) for name in others}
    table = _table({name: _with_intervals("difference", *one) for name, one in minus.items()})
    lower = np.array([MEASURES[figure].better != "higher" for _, figure in table.index])
    below, above = table.high < 0, table.low > 0
    table["verdict"] = np.select([below & lower | above & ~lower, below | above], ["better", "worse"], "unresolved")
    return table


def pairwise(scores: dict[str, Scores], figure: str) -> pd.DataFrame:
    """Is the answer of the row better than that of the column in one figure? `better`, `worse`, `unresolved`."""
    columns = {reference: differences(scores, reference).verdict.xs(figure, level="figure") for reference in scores}
    return pd.DataFrame(columns, index=list(scores)).fillna("")


def rivals(scores: dict[str, Scores], figure: str) -> str:
    """From which answers the one that is best in a figure, where lower is better, is not told apart: in words."""
    best = min(scores, key=lambda name: scores[name].figures()[figure].iloc[0])
    verdicts = differences(scores, best).verdict.xs(figure, level="figure")
    equal = [name for name, verdict in verdicts.items() if verdict == "unresolved"]
    return f"not told apart from {', '.join(equal)}" if equal else "ahead of every other, resolved"


def over_seeds(runs: list[dict[str, Scores]]) -> pd.DataFrame:
    """Answers trained several times, with other seeds, and judged on the same images; runs: the scores of each.

    Rows (answer, figure); columns `seeds`, `value` (mean over seeds), `low`, `high` (bootstrap over seeds AND images),
    `least`, `most` (of single seeds). Answers that only one run has are left out.
    """
    found = {}
    for name in runs[0]:
        several = [run[name] for run in runs if name in run]
        if len(several) > 1:
            values = pd.concat([one.figures() for one in several])
            draws = np.stack([_draws(one) for one in several])  # (S,B,F)
            taken = draw_counts(len(several), draws.shape[1], seed=1) / len(several)  # (B,S)
            draws = pd.DataFrame(np.einsum("bs,sbf->bf", taken, draws), columns=values.columns)
            found[name] = _with_intervals("value", values.mean(skipna=False), draws)
            found[name].insert(0, "seeds", len(several))
            found[name] = found[name].assign(least=values.min(), most=values.max())
    return _table(found)


def domain_drop(home: dict[str, Scores], away: dict[str, Scores]) -> pd.DataFrame:
    """What answers lose on images of another domain: rows (answer, figure), columns `home`, `away`, `change` (away -
    home), `low`, `high`, of two independent sets of images. Another domain can be easier or harder for all: read the
    change beside the grey answer's."""
    found = {}
    for name in away:
        pair = pd.DataFrame({"home": home[name].figures().iloc[0], "away": away[name].figures().iloc[0]})
        draws = _draws(away[name], seed=1) - _draws(home[name])
        found[name] = pair.join(_with_intervals("change", pair.away - pair.home, draws), how="inner")
    return _table(found)


def real_floor(scores: Scores, splits: int = 200) -> pd.DataFrame:
    """What the truth itself scores in the figures that compare whole sets, one random half against the other: rows
    (`TRUTH_HALVES`, figure), columns `value` (mean over splits), `low`, `high` (95 % of them). A figure no worse than
    this cannot tell an answer from real photographs."""
    bins, rng = scores.bins_truth, np.random.default_rng(0)
    halves = (np.split(rng.permutation(len(bins)), [len(bins) // 2]) for _ in range(splits))
    one, other = np.stack([[bins[rows].sum(axis=0) for rows in pair] for pair in halves], axis=1)
    draws = pd.DataFrame({name: intersection(one, other, axis) for axis, name in enumerate(SETS)})
    return _table({TRUTH_HALVES: _with_intervals("value", draws.mean(), draws)})


def in_words(row: pd.Series, digits: int = 2) -> str:
    """A row of `differences` in a sentence: `-0.31 [-0.52, -0.10] (better)`."""
    return f"{row.difference:+.{digits}f} [{row.low:.{digits}f}, {row.high:.{digits}f}] ({row.verdict})"


def as_text(table: pd.DataFrame, figures: list[str], column: str = "value") -> pd.DataFrame:
    """A table to read: a row for each answer, a column for each of these figures, cells `value [low, high]`.

    table: from `estimates`, `differences`, ...; column: which of its columns is the value. A difference that the images
    do not resolve carries `≈`; a figure that no answer has is left out, one that an answer lacks an empty cell.
    """
    cells = {}
    for (name, figure), row in table.iterrows():
        digits = 3 if figure.startswith(("ssim", "perceptual", "intersection", "spill")) else 2
        mark = " ≈" if row.get("verdict") == "unresolved" else ""
        cell = f"{row[column]:.{digits}f} [{row.low:.{digits}f}, {row.high:.{digits}f}]{mark}"
        cells[name, figure] = cell.replace(" ", "\N{NO-BREAK SPACE}")
    text = pd.Series(cells).unstack().fillna("").reindex(table.index.get_level_values(0).unique())
    text = text[[figure for figure in figures if figure in text]].rename_axis(None)
    return text.rename(columns={name: measure.label for name, measure in MEASURES.items()})


def _draws(scores: Scores, seed: int = 0) -> pd.DataFrame:
    return scores.figures(draw_counts(len(scores.totals), seed=seed))


def _comparable(figures: pd.DataFrame) -> pd.DataFrame:
    """The figures that have a better side; the mean colourfulness gap as its distance from 0."""
    found = figures[[name for name in figures if MEASURES[name].better != "as the truth"]]
    return found.assign(colorfulness_gap=found.colorfulness_gap.abs())


def _with_intervals(column: str, value: pd.Series, draws: pd.DataFrame) -> pd.DataFrame:
    """A row for each figure that has a value: that, and the ends of its draws' interval, `low` and `high`."""
    low, high = (draws.quantile(end) for end in ENDS)
    return pd.DataFrame({column: value, "low": low, "high": high}).dropna(subset=[column])


def _table(found: dict[str, pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(found, names=["answer", "figure"])
