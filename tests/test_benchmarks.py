"""The benchmark runs to its end at tiny size, and its table holds what it promises."""

import importlib
import itertools
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from accelerate.state import AcceleratorState
from notebook_tools import ROOT
from pictures import save_photographs


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
