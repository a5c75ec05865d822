"""Claims: a planted effect is found, none is called unresolved, and an arm's record holds what the table reads."""

import importlib

import numpy as np
import pytest
import torch
from notebook_tools import ROOT
from pictures import save_photographs

from colorize_lib.data.loader import ColorizationDataset, LabLoader


@pytest.fixture
def claims(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("claims")


def records(shift: float, seeds: int = 3, n: int = 80, rng_seed: int = 0) -> list[dict]:
    """Simulated: photographs differ much, seeds a little, and the arm by `shift`."""
    rng, truth = np.random.default_rng(rng_seed), np.random.default_rng(0)
    hard, weight = truth.gamma(4, 3, n), truth.uniform(0.5, 2, n)
    made = []
    for _ in range(seeds):
        error = hard + shift + rng.normal(0, 0.1) + rng.normal(0, 0.5, n)
        values = {"l1_ab": error, "close": (90 - error) * weight, "weight": weight}
        made.append({"photographs": {name: value.tolist() for name, value in values.items()}})
    return made


@pytest.mark.parametrize("figure, sign", [("l1_ab", 1), ("auc_rebalanced", -1)])
def test_a_planted_effect_is_found_and_none_is_unresolved(claims, figure, sign):
    found = claims.effect(records(0.8, rng_seed=1), records(0, rng_seed=2), figure)
    assert found["verdict"] == "resolved" and found["low"] < 0.8 * sign < found["high"]
    null = claims.effect(records(0, rng_seed=3), records(0, rng_seed=4), figure)
    assert null["verdict"] == "unresolved" and abs(null["effect"]) < 0.3


def test_every_arm_changes_one_field_and_has_a_record_of_its_own(claims):
    arms = claims.PLAN["arms"]
    paths = {claims.record_path(arm, seed) for arm in arms for seed in range(3)}
    assert len(paths) == 3 * len(arms)
    assert all(len(changed) <= 2 for changed in arms.values())
    first = {changed["base"]: len(changed) for changed in reversed(arms.values())}
    assert first.keys() == claims.PLAN["bases"].keys() and set(first.values()) == {1}


def test_an_arm_is_trained_and_judged(claims, monkeypatch, tmp_path):
    save_photographs(tmp_path / "photographs", 24, (110, 100))
    monkeypatch.setattr(claims, "DATA_DIR", tmp_path / "data")
    small = {
        "encoder": "resnet18",
        "encoder_weights": "random",
        "photographs": 8,
        "batch": 4,
        "epochs": 1,
        "width": 0.1,
    }
    monkeypatch.setitem(claims.PLAN["bases"], "recipe", claims.PLAN["bases"]["recipe"] | small)
    photos = claims.Photographs(str(tmp_path / "photographs"), "")
    photos.tune = photos.judge = np.arange(4)
    record = claims.train("loss at 1/2 of the size", 0, photos, "no")
    assert list(record["judge"]) == ["0.0", "0.8"] and len(record["photographs"]["close"]) == 4
    by_hand = sum(record["photographs"]["close"]) / sum(record["photographs"]["weight"])
    assert record["judge"]["0.8"]["auc_rebalanced"] == pytest.approx(by_hand, rel=1e-3)
    assert record["epochs"][0]["train"] > 1 and record["settings"]["loss_at"] == 2


def test_a_linear_probe_names_classes_that_features_tell_apart(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    probe = importlib.import_module("probe")
    labels = np.arange(40) % 2
    photographs = np.broadcast_to((labels * 90 + 60)[:, None, None, None], (40, 32, 32, 3)).astype(np.uint8)
    train, val = (
        LabLoader(ColorizationDataset(photographs, rows), 8, train, labels=labels[rows])
        for train, rows in ((True, np.arange(24)), (False, np.arange(24, 40)))
    )
    assert probe.probe(lambda_module(lambda L: L), train, val, 32)["accuracy"] == 1
    assert probe.probe(lambda_module(torch.zeros_like), train, val, 32)["accuracy"] == 0.5


def lambda_module(how) -> torch.nn.Module:
    module = torch.nn.Module()
    module.forward = lambda L: [how(L)]
    return module
