"""Tables of `evaluation.Scores`: figures with intervals, paired differences, several seeds, another domain.

All intervals are 95 % percentile bootstrap intervals over images (`bootstrap`). Answers are compared on the same draws
of images, so that a photograph which is hard for all of them does not blur their difference.
"""

import numpy as np
import pandas as pd

from .bootstrap import draw_counts, interval
from .measures import MEASURES
from .scores import SETS, TRUTH_HALVES, Scores, intersection


def estimates(scores: dict[str, Scores]) -> pd.DataFrame:
    """Every figure of every answer: rows (answer, figure), columns `value`, `low`, `high`.

    A figure that an answer does not have, as the error of a hue that no image has, is left out.
    """
    rows = {}
    for name, of_answer in scores.items():
        value = of_answer.figures().iloc[0]
        draws = of_answer.figures(_counts(of_answer))
        for figure in value.index[value.notna()]:
            rows[name, figure] = _row(value[figure], draws[figure])
    return _table(rows, "value")


def differences(scores: dict[str, Scores], reference: str) -> pd.DataFrame:
    """Every answer's figures minus those of the answer `reference`: rows (answer, figure), columns `difference`,
    `low`, `high`, `verdict`.

    The verdict is `better` or `worse` if the interval lies on one side of 0, `unresolved` if it holds 0: the images do
    not tell which of the two is better. Figures that have no better side are left out; of the mean colourfulness gap
    the distance from 0 is compared. With many figures, one in twenty "resolved" differences is luck.
    """
    rows = {}
    counts = _counts(scores[reference])
    value_0, draws_0 = _comparable(scores[reference].figures()), _comparable(scores[reference].figures(counts))
    for name in scores:
        if name == reference:
            continue
        value, draws = _comparable(scores[name].figures()), _comparable(scores[name].figures(counts))
        for figure in value.columns.intersection(value_0.columns):
            if value[figure].notna().all() and value_0[figure].notna().all():
                rows[name, figure] = _row((value - value_0)[figure].iloc[0], (draws - draws_0)[figure])
    table = _table(rows, "difference")
    lower = np.array([MEASURES[figure].better != "higher" for _, figure in table.index])
    below, above = table.high < 0, table.low > 0
    table["verdict"] = np.select([below & lower | above & ~lower, below | above], ["better", "worse"], "unresolved")
    return table


def pairwise(scores: dict[str, Scores], figure: str) -> pd.DataFrame:
    """Is the answer of the row better than that of the column in one figure? `better`, `worse`, `unresolved`."""
    table = pd.DataFrame("", index=list(scores), columns=list(scores))
    for reference in scores:
        column = differences(scores, reference).verdict.xs(figure, level="figure")
        table.loc[column.index, reference] = column
    return table


def over_seeds(runs: list[dict[str, Scores]]) -> pd.DataFrame:
    """Answers trained several times, with other seeds, and judged on the same images.

    runs: the scores of each run, by answer. Rows (answer, figure); columns `seeds`, `value` (mean over seeds), `low`,
    `high` (bootstrap over seeds AND images), `least`, `most` (of single seeds). Answers that only one run has are left
    out.
    """
    rows = {}
    for name in runs[0]:
        several = [run[name] for run in runs if name in run]
        if len(several) < 2:
            continue
        values = pd.concat([one.figures() for one in several])
        counts = _counts(several[0])
        draws = np.stack([one.figures(counts).to_numpy() for one in several])  # (S,B,F)
        taken = draw_counts(len(several), len(counts), seed=1) / len(several)  # (B,S)
        draws = np.einsum("bs,sbf->bf", taken, draws)
        for column, figure in enumerate(values.columns):
            if values[figure].notna().all():
                ends = {"least": values[figure].min(), "most": values[figure].max()}
                mean = _row(values[figure].mean(), draws[:, column])
                rows[name, figure] = (len(several), *mean, *ends.values())
    columns = ["seeds", "value", "low", "high", "least", "most"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).pipe(_named)


def domain_drop(home: dict[str, Scores], away: dict[str, Scores]) -> pd.DataFrame:
    """What an answer loses on images of another domain: rows (answer, figure), columns `home`, `away`, `change`, `low`,
    `high`, `verdict`.

    change = away - home; its interval is that of two independent sets of images. Another domain can be easier or
    harder for every answer: read the change beside the grey answer's.
    """
    rows = {}
    for name in home.keys() & away.keys():
        value, draws = home[name].figures(), home[name].figures(_counts(home[name]))
        value_away, draws_away = away[name].figures(), away[name].figures(_counts(away[name], seed=1))
        for figure in value:
            if value[figure].notna().all() and figure in value_away and value_away[figure].notna().all():
                pair = float(value[figure].iloc[0]), float(value_away[figure].iloc[0])
                rows[name, figure] = (*pair, *_row(pair[1] - pair[0], draws_away[figure] - draws[figure]))
    ordered = {key: rows[key] for name in home for key in rows if key[0] == name}
    table = pd.DataFrame.from_dict(ordered, orient="index", columns=["home", "away", "change", "low", "high"])
    return table.pipe(_named)


def real_floor(scores: Scores, splits: int = 200) -> pd.DataFrame:
    """What the truth itself scores in the figures that compare whole sets: one random half against the other.

    Rows (`TRUTH_HALVES`, figure); columns `value` (mean over splits), `low`, `high` (95 % of them). An answer
    cannot be told from real photographs by a figure that is no worse than this.
    """
    n, rng = len(scores.totals), np.random.default_rng(0)
    draws = []
    for _ in range(splits):
        order = rng.permutation(n)
        halves = [scores.bins_truth[order[: n // 2]].sum(axis=0), scores.bins_truth[order[n // 2 :]].sum(axis=0)]
        draws.append([intersection(halves[0][None], halves[1][None], axis)[0] for axis in (0, 1)])
    rows = {(TRUTH_HALVES, name): _row(np.mean(of), of) for name, of in zip(SETS, np.array(draws).T, strict=True)}
    return _table(rows, "value")


def as_text(table: pd.DataFrame, figures: list[str], column: str = "value") -> pd.DataFrame:
    """A table to read: a row for each answer, a column for each of these figures, cells `value [low, high]`.

    table: from `estimates`, `differences`, ...; column: which of its columns is the value. A difference that the images
    do not resolve carries `≈`; a figure that no answer has is left out, one that an answer lacks an empty cell.
    """
    cells = {}
    for (name, figure), row in table.iterrows():
        digits = 3 if figure.startswith(("ssim", "lpips", "intersection", "spill")) else 2
        mark = " ≈" if row.get("verdict") == "unresolved" else ""
        cell = f"{row[column]:.{digits}f} [{row.low:.{digits}f}, {row.high:.{digits}f}]{mark}"
        cells[name, figure] = cell.replace(" ", "\N{NO-BREAK SPACE}")
    text = pd.Series(cells).unstack()
    text = text[[figure for figure in figures if figure in text]].fillna("")
    names = table.index.get_level_values(0).unique()
    return (
        text.reindex(names).rename(columns={name: figure.label for name, figure in MEASURES.items()}).rename_axis(None)
    )


def as_numbers(table: pd.DataFrame, name: str) -> dict[str, dict]:
    """One answer's rows of a table as JSON can hold them: figure -> column -> value."""
    return {figure: row.to_dict() for figure, row in table.xs(name).iterrows()}


def _counts(scores: Scores, seed: int = 0) -> np.ndarray:
    return draw_counts(len(scores.totals), seed=seed)


def _comparable(figures: pd.DataFrame) -> pd.DataFrame:
    """The figures that have a better side; the mean colourfulness gap as its distance from 0."""
    found = figures[[name for name in figures if MEASURES[name].better != "as the truth"]].copy()
    found["colorfulness_gap"] = found.colorfulness_gap.abs()
    return found


def _row(value: float, draws: pd.Series | np.ndarray) -> tuple[float, float, float]:
    draws = np.asarray(draws)
    return float(value), *interval(draws[~np.isnan(draws)])


def _table(rows: dict[tuple[str, str], tuple], column: str) -> pd.DataFrame:
    return pd.DataFrame.from_dict(rows, orient="index", columns=[column, "low", "high"]).pipe(_named)


def _named(table: pd.DataFrame) -> pd.DataFrame:
    """The table with its rows indexed by (answer, figure)."""
    table.index = pd.MultiIndex.from_tuples(table.index, names=["answer", "figure"])
    return table
