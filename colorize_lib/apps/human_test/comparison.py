"""Which of two colourings looks more natural: methods against each other, and what came out, by Bradley and Terry.

The same page, protocol and files as the fooling test's: in pairs.csv `truth` is the picture of the method `first`,
`fake` that of `second`, and an answer names the one that looks less natural. Vigilance pairs have a method's picture,
and the same with its colours turned round.
"""

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from ...data.sources import list_images
from ...evaluation.tables import interval
from ...images import read_photograph
from .pairs import PairList, draw_pairs, keep, purple
from .results import attentive

LARGEST = 512  # pixels of a picture's longer side
DRAWS = 500


def write_comparison(folder: Path, methods: list[Path], seed: int = 0) -> PairList:
    """Draw the pairs of a comparison from folders of the same photographs, coloured, and write them to `folder`.

    A photograph is the same if its name is, but for the ending. Every two methods meet equally often. Other pairs in
    the folder are moved as `pairs.keep` does. Raises ValueError for one method alone, methods of one name, and folders
    that have no photograph in common.
    """
    names = [path.name for path in methods]
    if len(set(names)) < max(2, len(names)):
        raise ValueError(f"compare two folders at least, of different names, and not {', '.join(map(str, methods))}")
    found = [{Path(one).with_suffix("").as_posix(): path / one for one in list_images(path)} for path in methods]
    if not (common := sorted(set.intersection(*map(set, found)))):
        raise ValueError(f"{' and '.join(map(str, methods))} have no photograph of the same name")
    pairs, rng = draw_pairs(len(common), seed, practice=0), np.random.default_rng((seed, 2))
    meetings = list(combinations(range(len(methods)), 2)) * len(pairs)
    order = np.concatenate([rng.permutation(len(meetings) // len(pairs)) for _ in range(len(pairs))])[: len(pairs)]
    met = np.array([rng.permutation(meetings[number]) for number in order])
    pairs["first"], pairs["second"] = (np.array(names)[side] for side in met.T)
    fresh = PairList(folder.with_name(f".{folder.name}.partial"))
    (fresh.folder / "pictures").mkdir(parents=True, exist_ok=True)
    pairs["truth"], pairs["fake"] = fresh.names(len(pairs), seed)
    for row, sides in zip(pairs.itertuples(), met, strict=True):
        pictures = [read_photograph(found[side][common[row.photograph]]) for side in sides]
        if row.kind == "vigilance":
            pictures[1] = purple(pictures[0])
        for picture, name in zip(pictures, (row.truth, row.fake), strict=True):
            picture.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
            picture.save(fresh.folder / name)
    return keep(fresh, pairs, folder)


def preferences(answers: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame | None:
    """How often a method would be preferred to another one of the compared, by the model of Bradley and Terry (1952).

    answers: as `results.read_answers` gives them; pairs: `PairList.table`. Rows: methods, the best first. Columns:
    `share` in [0,1], the mean over the others of s / (s + s of the other), `low`, `high`, its 95 % interval by a
    bootstrap over raters and photographs, and `answers`. None if no attentive rater has answered.
    """
    scored = attentive(answers)
    if scored.empty:
        return None
    scored = scored.merge(pairs[["pair", "first", "second"]], on="pair")
    names = sorted({*pairs["first"], *pairs["second"]})
    first, second = (pd.Index(names).get_indexer(scored[side]) for side in ("first", "second"))
    winner, loser = np.where(scored.right == 1, [first, second], [second, first])  # right: `second` looks less natural
    rater, photograph = (pd.factorize(scored[of])[0] for of in ("rater", "photograph"))
    rng, draws = np.random.default_rng(0), []
    for _ in range(DRAWS):
        weight = rng.multinomial(n := rater.max() + 1, np.full(n, 1 / n))[rater].astype(float)
        weight *= rng.multinomial(n := photograph.max() + 1, np.full(n, 1 / n))[photograph]
        draws.append(_shares(_wins(winner, loser, weight, len(names))))
    table = pd.DataFrame({"share": _shares(_wins(winner, loser, np.ones(len(scored)), len(names)))}, index=names)
    table[["low", "high"]] = [interval(of) for of in np.array(draws).T]
    table["answers"] = np.bincount(np.concatenate([winner, loser]), minlength=len(names))
    return table.sort_values("share", ascending=False)


def _wins(winner: np.ndarray, loser: np.ndarray, weight: np.ndarray, number: int) -> np.ndarray:
    """How often one method (row) was preferred to another (column), and half a time more: no strength is infinite."""
    wins = np.full((number, number), 0.5)
    np.add.at(wins, (winner, loser), weight)
    np.fill_diagonal(wins, 0)
    return wins


def _shares(wins: np.ndarray) -> np.ndarray:
    """The mean chance of each method, from strengths that Hunter's algorithm finds ("MM algorithms for generalized
    Bradley-Terry models", 2004, equation 3)."""
    strength = np.ones(len(wins))
    for _ in range(200):
        together = (wins + wins.T) / (strength[:, None] + strength)
        strength = wins.sum(axis=1) / together.sum(axis=1)
        strength /= strength.mean()
    chance = strength[:, None] / (strength[:, None] + strength)
    return (chance.sum(axis=1) - 0.5) / (len(wins) - 1)
