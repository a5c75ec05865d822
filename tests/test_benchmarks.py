"""The benchmarks run to their ends at tiny size, and their tables hold what they promise."""

import importlib
import itertools
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from notebook_tools import ROOT
from pictures import save_photographs
from scipy.stats import spearmanr

from colorize_lib.evaluation.tables import draw_counts


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")


def test_the_reference_and_ours_are_timed_side_by_side_in_each_precision(monkeypatch, tmp_path):
    bench = importlib.import_module("bench")
    monkeypatch.setattr(
        bench, "TRAININGS", {"GAN": ("resnet18_fast", "resnet18_fast", "GAN"), "bins": (*["light"] * 2, "bins")}
    )
    monkeypatch.setattr(bench, "own_process", lambda: ThreadPoolExecutor(1))  # eight processes are slow
    make = bench.make_accelerator  # of which a process has one precision
    monkeypatch.setattr(bench, "make_accelerator", lambda *of: (AcceleratorState._reset_state(True), make(*of))[1])
    save_photographs(tmp_path / "photographs", 24, (300, 260))
    file = tmp_path / "benchmarks.json"
    options = ["--photos", str(tmp_path / "photographs"), "--size", "32", "--data-size", "32", "--batch-size", "4"]
    options += ["--device", "cpu", "--workers", "0", "--rounds", "1", "--iterations", "1", "--precision", "no", "bf16"]
    monkeypatch.setattr(sys, "argv", ["bench", *options, "--json", str(file)])
    try:
        bench.main()
    finally:
        AcceleratorState._reset_state(True)
    record = json.loads(file.read_text())
    assert [row["what"] for row in record["speed"]] == [
        "data path, first epoch",
        "data path, later epochs",
        "later epochs, what stays on the CPU beside a GPU",
        "GAN",
        "GAN, bf16",
        "bins",
        "bins, bf16",
    ]
    for row in record["speed"]:
        assert row["ratio"] == pytest.approx(row["ours"] / row["reference"])
        assert 0 < row["from"] <= row["to"]
    counts = [(row["data path"], row["photographs"]) for row in record["memory"]]
    assert counts == [("reference", 24), ("ours", 24), ("ours", 6)]
    assert record["environment"]["packages"]["torch"]


def test_a_side_has_a_process_and_a_training_of_its_own():
    turns = importlib.import_module("turns")
    with turns.own_process() as side:
        assert side.submit(os.getpid).result() != os.getpid()
        assert 0.05 < side.submit(turns.peak_memory).result() < 10
        turns.prepare(side, itertools.count, device=torch.device("cpu"))
        assert turns.turn(side, 3) < 1


def test_steering_gives_its_figures_and_its_correlations_are_spearmans(monkeypatch, tmp_path, capsys):
    steering = importlib.import_module("steering")
    monkeypatch.setattr(steering, "DATA_DIR", tmp_path / "data")
    monkeypatch.setattr(steering, "COUNTS", (1, 2))
    save_photographs(tmp_path / "photographs", 24)
    options = ["--photos", str(tmp_path / "photographs"), "--count", "3", "--output", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["steering", *options])
    steering.main()
    record = json.loads((tmp_path / "steering.json").read_text())
    assert record["photographs"] == 3 and record["size"] == 192 and (tmp_path / "steering.png").stat().st_size > 5000
    of = {(row["reference"], row["strength"]): row for row in record["pull"]}
    assert of["the truth", 1.0]["L1 after"][0] < of["the truth", 0.5]["L1 before"][0]
    assert of["another photograph", 1.0]["distance after"][0] < of["another photograph", 1.0]["distance before"][0]
    hue, dropout = ({row["N"]: row for row in record["samples"] if row["by"] == by} for by in ("hue", "dropout"))
    assert hue[1]["best of"] == of["the truth", 1.0]["L1 before"] and hue[2]["best of"][0] < hue[2]["L1"][0]
    assert hue[2]["variety"][0] > 2 * dropout[2]["variety"][0] > 0 == hue[1]["variety"][0]
    expected = [row["expected"] for row in record["certainty"]]
    assert len(expected) == 10 and expected == sorted(expected)
    assert "five colours of the truth" in capsys.readouterr().out

    rng = np.random.default_rng(0)
    x = rng.normal(size=(9, 50))
    y = x + rng.normal(size=(9, 50))
    value, low, high = steering._correlation(x, y, draw_counts(9) / 9)
    assert value == pytest.approx(spearmanr(x.ravel(), y.ravel()).statistic) and low < value < high
    (tenths, _) = steering.certain(x + 9, y, draw_counts(9) / 9).values()
    order = np.argsort(x.ravel())[:45]  # 450 pixels
    assert tenths[0]["error"][0] == pytest.approx(np.sqrt((y.ravel()[order] ** 2).mean()))
