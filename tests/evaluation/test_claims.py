"""Claims: planted effects are found, none is unresolved, and the verdict follows its rule."""

import json

import numpy as np
import pytest
import yaml

from colorize_lib.evaluation import claims
from colorize_lib.evaluation.claims import FAILS, HOLDS, NOT_RUN, OPEN, Claims


def records(shift: float, seeds: int = 3, n: int = 80, rng_seed: int = 0, drift: float = 0.0) -> list[dict]:
    """Simulated: photographs differ much, seeds a little, and the arm by `shift`; a run's figure by `drift`."""
    rng, truth = np.random.default_rng(rng_seed), np.random.default_rng(0)
    hard, weight = truth.gamma(4, 3, n), truth.uniform(0.5, 2, n)
    made = []
    for _ in range(seeds):
        error = hard + shift + rng.normal(0, 0.1) + rng.normal(0, 0.5, n)
        values = {"l1_ab": error, "close": (90 - error) * weight, "weight": weight}
        values["share"] = {"total": error * weight, "weight": weight}
        epochs = [{"tune": 1.0}, {"tune": 1.0}, {"tune": 1.0 + drift + rng.normal(0, 0.01)}]
        values = {
            k: {a: b.tolist() for a, b in v.items()} if isinstance(v, dict) else v.tolist() for k, v in values.items()
        }
        made.append({"photographs": values, "epochs": epochs, "judge": {"own": {"l1_ab": float(error.mean())}}})
    return made


@pytest.mark.parametrize("figure, sign", [("l1_ab", 1), ("share", 1), ("auc_rebalanced", -1)])
def test_a_planted_effect_is_found_and_none_is_unresolved(figure, sign):
    def between(one: list[dict], other: list[dict]) -> dict:
        return claims.effect([(one, figure, 1), (other, figure, -1)])

    found = between(records(0.8, rng_seed=1), records(0, rng_seed=2))
    assert found["low"] < 0.8 * sign < found["high"] and found["low"] * found["high"] > 0 and found["p"] < 0.01
    null = between(records(0, rng_seed=3), records(0, rng_seed=4))
    assert null["low"] < 0 < null["high"] and null["p"] > 0.05


def test_a_figure_against_a_bound_and_against_another_of_the_same_arm():
    own = records(0.0)
    mean = np.mean([np.mean(one["photographs"]["l1_ab"]) for one in own])
    assert claims.effect([(own, "l1_ab", 1)], bound=5.0)["effect"] == pytest.approx(mean - 5)
    same = claims.effect([(own, "share", 1), (own, "l1_ab", -1)])
    weight = np.array(own[0]["photographs"]["weight"])
    by_hand = [np.average(one["photographs"]["l1_ab"], weights=weight) for one in own]
    assert same["effect"] == pytest.approx(np.mean(by_hand) - mean)


def test_a_runs_figure_has_students_interval_over_seeds():
    moving, still = records(0, seeds=5, drift=0.5, rng_seed=1), records(0, seeds=5, rng_seed=2)
    found = claims.effect([(moving, "oscillation", 1), (still, "oscillation", -1)])
    assert 0.4 < found["low"] < found["effect"] < 0.5 < found["high"] + 0.02 and found["p"] < 1e-6
    each = np.array([1.0, 2.0, 3.0])
    low, high = (claims.over_seeds(each)[end] for end in ("low", "high"))
    assert (low, high) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5))  # t of 2 degrees, by a table


def fixed(value: float, p: float) -> dict:
    return {"effect": value, "p": p}


@pytest.mark.parametrize(
    "effects, sides, said",
    [
        ([fixed(1, 0.01)], [1], HOLDS),
        ([fixed(1, 0.01)], [-1], FAILS),
        ([fixed(1, 0.06)], [1], OPEN),
        ([fixed(1, 0.03), fixed(1, 0.04)], [1, 1], OPEN),  # Holm: the smaller must be under 0.025
        ([fixed(1, 0.02), fixed(1, 0.04)], [1, 1], HOLDS),  # then the other under 0.05
        ([fixed(1, 0.01), fixed(-1, 0.3)], [1, 1], OPEN),
        ([fixed(1, 0.01), fixed(-1, 0.01)], [1, 1], FAILS),
    ],
)
def test_the_verdict_follows_holms_rule(effects, sides, said):
    assert claims.verdict(effects, sides) == said


@pytest.fixture
def planned(tmp_path) -> Claims:
    """Two arms of one base, of which the second errs more; and an arm that nobody ran."""
    plan = {
        "bases": {"base": {"size": 32, "lr": 0.1}},
        "trainers": {"base": "any"},
        "seeds": {"any": 3},
        "primary": {"any": "l1_ab"},
        "arms": {
            "own": {"base": "base"},
            "larger, by far": {"base": "base", "size": 64},
            "later": {"base": "base", "lr": 1},
        },
        "claims": {
            "C1": {
                "says": "larger errs more",
                "tests": [{"arm": "larger, by far", "than": "own", "figure": "l1_ab", "side": 1}],
            },
            "C2": {"says": "later errs more", "tests": [{"arm": "later", "than": "own", "figure": "l1_ab", "side": 1}]},
        },
    }
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan, sort_keys=False))
    found = Claims(tmp_path, tmp_path / "plan.yaml")
    for arm, shift in {"own": 0.0, "larger, by far": 1.0}.items():
        for seed, record in enumerate(records(shift, rng_seed=len(arm))):
            found.path(arm, seed).write_text(json.dumps(record))
    return found


def test_verdicts_and_the_table_of_arms_come_from_the_records(planned):
    table = planned.verdicts()
    assert table.verdict.tolist() == [HOLDS, NOT_RUN] and 0.8 < table.effect[0] < 1.2
    assert table.test[0] == "larger, by far: l1_ab against own"
    assert table.why.tolist() == ["", "3 trainings are missing: later"]
    read = claims.for_readers(table)
    assert read.verdict["C2"] == "not run here (3 trainings are missing: later)" and read.effect["C1"].startswith("+")
    arms = planned.table()
    assert list(arms.index) == ["own", "larger, by far"] and arms.effect.iloc[1] == pytest.approx(table.effect[0])


def test_an_arm_that_changes_a_field_which_its_base_lacks_is_named(planned):
    planned.arms["wrong"] = {"base": "base", "colour": 1}
    with pytest.raises(ValueError, match="arm 'wrong' changes colour, which its base does not have"):
        planned.settings("wrong")


def test_the_plan_changes_one_field_an_arm_and_tests_arms_that_it_has():
    plan = Claims()
    arms, bases = plan.arms, plan.plan["bases"]
    assert all(len(changed) <= 2 for changed in arms.values())
    assert all(any(plan.settings(arm) == base for arm in arms) for base in bases.values())  # which is an arm itself
    assert len({plan.path(arm, 0) for arm in arms}) == len(arms) and plan.plan["trainers"].keys() == bases.keys()
    claimed = plan.plan["claims"]
    assert list(claimed) == [f"C{k}" for k in range(1, 32)]
    for test in (test for of in claimed.values() for test in of["tests"]):
        named = [test[key] for key in ("arm", "than") if key in test] + test.get("beyond", [])
        assert set(named) <= arms.keys() and test["side"] in (-1, 1)
        assert named or test["arms"] in bases
