"""Claims, tested: arms that differ in one field, effects with intervals over photographs and seeds, verdicts by rule.

A record is what one arm with one seed gave: `photographs`, a figure of every *judge* photograph by name, and `epochs`,
figures as the training went. A figure of photographs is a list, whose mean counts, or {"total", "weight"}, of which the
ratio of the sums does. The rule is in `verdict`; which tests decide a claim stands in the plan, before the runs.
"""

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from PIL import Image
from scipy.stats import spearmanr, t

from ..color import lab_to_rgb, to_uint8
from ..data.shipped import showcase
from ..files import ROOT
from .tables import draw_counts, interval

RECORDS = ROOT / "outputs" / "published" / "claims"
PLAN = ROOT / "benchmarks" / "claims" / "plan.yaml"
HOLDS, FAILS, OPEN, NOT_RUN = "holds", "does not hold", "not resolved by these data", "not run here"
DRAWS = 2000
RUNS = {  # figures of a whole run, from its epochs
    "first_loss": lambda epochs: epochs[0]["tune"],
    "oscillation": lambda epochs: np.abs(np.diff([one["tune"] for one in epochs[1:]])).mean(),
    "spread_last": lambda epochs: epochs[-1]["spread_ratio"],
    "green_sea_first": lambda epochs: epochs[0]["blue_as_green"],
    "green_sea_last": lambda epochs: epochs[-1]["blue_as_green"],
    "loss_G_GAN_first": lambda epochs: epochs[0]["loss_G_GAN"],
    "loss_G_GAN_last": lambda epochs: epochs[-1]["loss_G_GAN"],
    "loss_G_above_D_first": lambda epochs: epochs[0]["loss_G"] - epochs[0]["loss_D"],
    "loss_G_above_D_last": lambda epochs: epochs[-1]["loss_G"] - epochs[-1]["loss_D"],
    "half_gain_red": lambda epochs: epochs[-1]["half_gain_red"],
    "half_gain_others": lambda epochs: epochs[-1]["half_gain_others"],
}


class Claims:
    """The plan's arms and claims, and the records of them that a folder has."""

    def __init__(self, records: Path = RECORDS, plan: Path = PLAN):
        self.folder, self.plan = records, yaml.safe_load(plan.read_text())
        self.arms = self.plan["arms"]

    def settings(self, arm: str) -> dict:
        """The fields of an arm. Raises ValueError for one that its base does not have."""
        changed = dict(self.arms[arm])
        fields = dict(self.plan["bases"][changed.pop("base")])
        if unknown := changed.keys() - fields.keys():
            raise ValueError(f"the plan's arm {arm!r} changes {min(unknown)}, which its base does not have")
        return fields | changed

    def trainer(self, arm: str) -> str:
        """The name of the function that trains an arm."""
        return self.plan["trainers"][self.arms[arm]["base"]]

    def seeds(self, arm: str) -> range:
        """The seeds of an arm."""
        return range(self.plan["seeds"][self.trainer(arm)])

    def path(self, arm: str, seed: int) -> Path:
        """Where a record lies; the name has a digest of the settings."""
        digest = hashlib.sha256(json.dumps(self.settings(arm), sort_keys=True).encode()).hexdigest()[:8]
        return self.folder / f"{re.sub('[^a-z0-9]+', '-', arm.lower())}-{digest}-{seed}.json"

    def pictures(self, arm: str) -> Path:
        """Where the showcase lies as an arm's first seed coloured it: the photographs side by side."""
        return self.path(arm, 0).with_suffix(".webp")

    def painted(self, arms: list[str]) -> dict[str, np.ndarray]:
        """Those pictures, uint8 (K,S,S,3), of the arms that have any, and of the truth; empty if none has."""
        strips = {arm: np.asarray(Image.open(self.pictures(arm))) for arm in arms if self.pictures(arm).exists()}
        shown = {arm: np.stack(np.split(strip, strip.shape[1] // len(strip), axis=1)) for arm, strip in strips.items()}
        if shown:
            truth = showcase("folder", 0, len(next(iter(strips.values()))))
            shown["truth"] = to_uint8(lab_to_rgb(truth["L"], truth["ab"])).numpy()
        return shown

    def records(self, arm: str) -> list[dict]:
        """An arm's records, in the order of the seeds; those that are not there are left out."""
        paths = (self.path(arm, seed) for seed in self.seeds(arm))
        return [json.loads(path.read_text()) for path in paths if path.exists()]

    def effect(self, test: dict) -> dict[str, float] | None:
        """The effect of a test: `effect`, `low`, `high`, `p`, `seeds`, and what it is seen against, `reference`. None
        if its arms have not three seeds."""
        if "arms" in test:
            return self._correlation(test)
        sides = [(test["arm"], +1), *([(test["than"], -1)] if "than" in test else [])]
        if "beyond" in test:
            sides += [(test["beyond"][0], -1), (test["beyond"][1], +1)]
        found = [(self.records(arm), sign) for arm, sign in sides]
        number = min(len(records) for records, _ in found)
        if number < 3:
            return None
        terms = [(records[:number], test["figure"], sign) for records, sign in found]
        if "less" in test:
            terms.append((found[0][0][:number], test["less"], -1))
        return effect(terms, test.get("bound", 0.0)) | {"seeds": number}

    def _correlation(self, test: dict) -> dict[str, float] | None:
        arms = [arm for arm, of in self.arms.items() if of["base"] == test["arms"]]
        found = [records for arm in arms if len(records := self.records(arm)) == len(self.seeds(arm))]
        if len(found) < 8:
            return None
        once = np.ones((1, len(found[0][0]["photographs"][test["figure"]])))
        values = [
            [[figure(photographs(record, name), once)[0] for record in one] for one in found]
            for name in (test["figure"], test["with"])
        ]
        seeds = len(found[0])
        each = [spearmanr(*(np.array(one)[:, seed] for one in values)).statistic for seed in range(seeds)]
        return over_seeds(np.array(each)) | {"seeds": seeds, "reference": 1.0}

    def verdicts(self) -> pd.DataFrame:
        """A row for each test, by claim: its words, effect, interval, p, and the claim's verdict."""
        rows = []
        for claim, of in self.plan["claims"].items():
            effects = [self.effect(test) for test in of["tests"]]
            said = NOT_RUN if None in effects else verdict(effects, [test["side"] for test in of["tests"]])
            why = self.missing(of["tests"]) if said == NOT_RUN else ""
            for test, one in zip(of["tests"], effects, strict=True):
                words = {"claim": claim, "says": of["says"], "test": in_words(test), "side": test["side"]}
                rows.append(words | (one or {}) | {"verdict": said, "why": why})
        return pd.DataFrame(rows)

    def missing(self, tests: list[dict]) -> str:
        """How many trainings of the arms of some tests have no record, and of which arms."""
        arms = {arm for test in tests for arm in [test.get("arm"), test.get("than"), *test.get("beyond", [])] if arm}
        left = {arm: len(self.seeds(arm)) - len(self.records(arm)) for arm in arms}
        return f"{sum(left.values())} trainings are missing: {', '.join(arm for arm in sorted(left) if left[arm])}"

    def table(self) -> pd.DataFrame:
        """Every arm whose seeds are all there: its means on *judge*, and against its base that of `primary`."""
        rows, bases = {}, {}
        for arm, of in self.arms.items():
            records = self.records(arm)
            if len(records) < len(self.seeds(arm)):
                continue
            base = bases.setdefault(of["base"], records)
            rows[arm] = pd.DataFrame([main_figures(record) for record in records]).mean().to_dict()
            if records is not base:
                primary = self.plan["primary"][self.trainer(arm)]
                rows[arm] |= effect([(records, primary, 1), (base, primary, -1)]) | {"of": primary}
        return pd.DataFrame(rows).T


def in_words(test: dict) -> str:
    """A test as a reader takes it in."""
    if "arms" in test:
        return f"over the arms of {test['arms']}: {test['figure']} with {test['with']}"
    words = f"{test['arm']}: {test['figure']}"
    for key, said in {"less": "minus", "than": "against", "bound": "minus"}.items():
        words += f" {said} {test[key]}" if key in test else ""
    return words + (f", beyond {test['beyond'][0]} against {test['beyond'][1]}" if "beyond" in test else "")


def for_readers(verdicts: pd.DataFrame) -> pd.DataFrame:
    """`Claims.verdicts` as a table to read: a claim's words and verdict stand once."""
    effects = [
        f"{of.effect:+.3g} [{of.low:.3g}, {of.high:.3g}]" if of.seeds > 0 else "" for of in verdicts.itertuples()
    ]
    shown = verdicts[["claim", "says", "test"]].assign(effect=effects, seeds=verdicts.seeds.astype("Int64"))
    shown["verdict"] = verdicts.verdict + verdicts.why.map(lambda why: f" ({why})" if why else "")
    again = shown.claim.duplicated()
    for column in ("claim", "says", "verdict"):
        shown[column] = shown[column].mask(again, "")
    shown = shown.astype(object).where(shown.notna(), "").set_index("claim")
    return shown[["verdict", "says", "effect", "test", "seeds"]]  # what a phone shows first


def main_figures(record: dict) -> dict[str, float]:
    """The figures of a record's own reading, which its photographs have too."""
    judge = record["judge"]
    return judge[record.get("reading", list(judge)[min(1, len(judge) - 1)])]


def figure(values: list | dict, counts: np.ndarray) -> np.ndarray:
    """A figure of photographs, as records have it, over draws of them, counts (B,N): (B,)."""
    total, weight = (values["total"], values["weight"]) if isinstance(values, dict) else (values, np.ones(len(values)))
    return (counts @ np.asarray(total, dtype=float)) / (counts @ np.asarray(weight, dtype=float))


def effect(terms: list[tuple[list[dict], str, int]], bound: float = 0.0) -> dict[str, float]:
    """The mean over seeds of the sum of terms, each (records, figure, sign), less `bound`; with a 95 % interval and p.

    A bootstrap of two levels, photographs AND seeds, both paired over the terms, as each varies apart from the other
    (Davison and Hinkley, "Bootstrap Methods and their Application", section 3.8). Of figures that a whole run has and
    its photographs have not, Student's interval over seeds.
    """
    if terms[0][1] in RUNS:
        each = [sign * np.array([RUNS[name](r["epochs"]) for r in records]) for records, name, sign in terms]
        return over_seeds(sum(each) - bound) | {"reference": reference(each, bound)}
    n = len(photographs(terms[0][0][0], terms[0][1], list_only=True))
    counts, once = draw_counts(n, DRAWS), np.ones((1, n))

    def of_seeds(how: np.ndarray) -> list[np.ndarray]:  # a term: (S,B)
        return [sign * np.stack([figure(photographs(r, name), how) for r in records]) for records, name, sign in terms]

    number = len(terms[0][0])
    seeds = draw_counts(number, DRAWS, seed=1) / number  # (B,S)
    draws = np.einsum("bs,sb->b", seeds, sum(of_seeds(counts))) - bound
    low, high = interval(draws)
    p = max(2 * min((draws <= 0).mean(), (draws >= 0).mean()), 1 / DRAWS)
    own = of_seeds(once)
    found = {"effect": float(sum(own).mean() - bound), "low": low, "high": high, "p": min(float(p), 1.0)}
    return found | {"reference": reference(own, bound)}


def reference(terms: list[np.ndarray], bound: float) -> float:
    """What an effect is to be seen against: the second term, or the bound."""
    return float(abs(terms[1].mean())) if len(terms) > 1 else bound


def photographs(record: dict, name: str, list_only: bool = False) -> list | dict:
    """A figure of a record's photographs; `auc_rebalanced` is that of the sums `close` and `weight`."""
    own = record["photographs"]
    values = {"total": own["close"], "weight": own["weight"]} if name == "auc_rebalanced" else own[name]
    return values["total"] if list_only and isinstance(values, dict) else values


def over_seeds(each: np.ndarray) -> dict[str, float]:
    """Student's 95 % interval of the mean of one number a seed, (S,), and p of its difference from 0."""
    mean, error = each.mean(), max(each.std(ddof=1) / len(each) ** 0.5, 1e-12)
    reach, p = t.ppf(0.975, len(each) - 1) * error, 2 * t.sf(abs(mean) / error, len(each) - 1)
    return {"effect": float(mean), "low": float(mean - reach), "high": float(mean + reach), "p": float(p)}


def verdict(effects: list[dict], sides: list[int]) -> str:
    """Holds if every effect is on its side, does not if one is resolved on the other, with Holm's correction at 5 %."""
    order, resolved = np.argsort([one["p"] for one in effects]), [False] * len(effects)
    for rank, k in enumerate(order):
        if effects[k]["p"] > 0.05 / (len(effects) - rank):
            break
        resolved[k] = True
    right = [one["effect"] * side > 0 for one, side in zip(effects, sides, strict=True)]
    if any(known and not as_said for known, as_said in zip(resolved, right, strict=True)):
        return FAILS
    return HOLDS if all(resolved) else OPEN
