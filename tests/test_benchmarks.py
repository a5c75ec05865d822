"""The scripts of benchmarks/ run to their end at tiny size, and their tables hold what they promise."""

import dataclasses
import functools
import importlib
import json
import re
import sys
from pathlib import Path

import pandas as pd
import pytest
from pictures import save_photographs

from colorize_lib.models import GeneratorConfig, build_generator
from colorize_lib.models.weights import save_weights

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
TINY = ["--size", "32", "--batch-size", "4", "--device", "cpu"]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    save_photographs(folder, 24, (300, 260))
    return folder


@pytest.fixture
def script(monkeypatch, tmp_path):
    """A function that runs a script's main with these options, its files below tmp_path; the script's module."""
    monkeypatch.syspath_prepend(BENCHMARKS)

    def run(name: str, *options: str, **replaced):
        module = importlib.import_module(name)
        for key, value in replaced.items():
            monkeypatch.setattr(module, key, value)
        if hasattr(module, "find_photographs") and name != "bench":  # which keeps its own files apart
            found = functools.partial(module.find_photographs, data_dir=tmp_path)
            loaders = functools.partial(module.make_dataloaders, data_dir=tmp_path)
            started = functools.partial(module.start_run, outputs=tmp_path)
            monkeypatch.setattr(module, "find_photographs", found)
            monkeypatch.setattr(module, "make_dataloaders", loaders)
            monkeypatch.setattr(module, "start_run", started)
        monkeypatch.setattr(sys, "argv", [name, *options])
        module.main()
        return module

    return run


def test_the_reference_and_ours_are_timed_side_by_side(script, photographs, tmp_path):
    trainings = {"GAN": ("resnet18_fast", "resnet18_fast", True), "L1": ("unet", "resnet18_fast", False)}
    options = ["--photos", str(photographs), "--data-size", "32", "--workers", "1", "--rounds", "2"]
    file = tmp_path / "benchmarks.json"
    script("bench", *TINY, *options, "--iterations", "1", "--json", str(file), TRAININGS=trainings)
    record = json.loads(file.read_text())
    assert [row["what"] for row in record["speed"]] == [
        "data path, first epoch",
        "data path, first epoch, per core",
        "data path, later epochs",
        "data path, later epochs, per core",
        "later epochs, what stays on the CPU beside a GPU",
        "later epochs, what stays on the CPU beside a GPU, per core",
        "GAN",
        "L1",
    ]
    for row in record["speed"]:
        assert row["ratio"] == pytest.approx(row["ours"] / row["reference"])
        assert 0 < row["from"] <= row["to"]
    assert [(row["data path"], row["photographs"]) for row in record["memory"]] == [
        ("reference", 24),
        ("ours", 24),
        ("ours", 6),
    ]
    assert record["environment"]["packages"]["torch"]


def test_a_size_that_a_generator_cannot_have_is_refused_at_once(script, photographs, capsys):
    with pytest.raises(SystemExit):
        script("bench", "--photos", str(photographs), "--size", "30")
    assert "--size 30 is none for the generator unet: n_down is 1" in capsys.readouterr().err


def test_every_optimisation_but_the_compiler_is_timed(script, capsys):
    ways = ["without keeping memory", "without fused Adam", "channels_last", "bf16 autocast", "one pass of D"]
    ways += ["two half batches", "moving average"]
    options = ["--generators", "resnet18_fast", "--rounds", "1", "--iterations", "1", "--only", *ways]
    script("optimisations", *TINY, *options)
    printed = capsys.readouterr().out
    for way in ways:
        assert re.search(rf"resnet18_fast +{way} +[\d.]+ +[\d.]+ +[\d.]+", printed), way


def test_the_share_of_the_peak_and_the_profile_are_printed(script, capsys):
    options = ["--generators", "resnet18_fast", "--matrix", "128", "--iterations", "1", "--rows", "30"]
    script("utilization", *TINY, *options)
    printed = capsys.readouterr().out
    share = float(re.search(r"resnet18_fast +\S+ +\S+ +\S+ +(\S+)\n", printed)[1])
    assert share > 0
    assert "convolution_backward" in printed


@pytest.mark.parametrize(("level", "word"), [("1000", "reached"), ("0", "NOT reached")])
def test_the_headline_ends_at_the_level_or_when_time_is_up(script, photographs, capsys, level, word):
    options = ["--photos", str(photographs), "--generator", "resnet18_fast", "--encoder-weights", "none"]
    script("headline", *TINY, *options, "--level", level, "--hours", "0.00001")
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last.startswith(f"loss_G_L1 <= {float(level)} {word}: ")
    assert "after epoch 1" in last


def test_quality_is_plotted_against_time(script, photographs, tmp_path, capsys):
    options = ["--photos", str(photographs), "--size", "32", "--batch-size", "4", "--encoder-weights", "none"]
    target = tmp_path / "published" / "quality_time_32"
    epochs = ["resnet18_fast@0.0003@0.9=2", "resnet18_fast/8=1"]
    script("quality_time", *options, "--epochs", *epochs, OUTPUTS=tmp_path)
    rows = json.loads(target.with_suffix(".json").read_text())
    assert [row["generator"] for row in rows] == ["resnet18_fast@0.0003@0.9", "resnet18_fast/8"]
    for row in rows:
        assert 0 < row["L1 of ab"] < 1 and row["seconds an epoch"] > 0 and row["spill"] >= 0
        assert row[f"s to L1 of {row['generator']}"] > 0
    assert target.with_suffix(".png").stat().st_size > 10_000


def test_settings_of_the_gan_stage_stand_beside_the_saturated_start(script, photographs, tmp_path):
    start = tmp_path / "net_G.safetensors"
    config = GeneratorConfig("resnet18_fast", 32)
    save_weights(build_generator(config), start, {"generator": dataclasses.asdict(config)})
    file = tmp_path / "gan_stage.json"
    options = ["--photos", str(photographs), "--weights", str(start), "--batch-size", "4", "--json", str(file)]
    settings = ["n_down_D=1", "lr_D=2e-05,ema_decay=0.9,n_down_D=1,freeze_norm=True,spectral_norm=1"]
    script("gan_stage", *options, *settings)
    record = json.loads(file.read_text())
    rows = pd.DataFrame(record["rows"]).set_index("setting")
    assert list(rows.index) == [
        "grey",
        "L1 only",
        *(f"L1 only, colour x {k}" for k in (1.25, 1.5, 2.0, 2.5, 3.0)),
        *settings,
    ]
    assert rows.colourfulness["grey"] < 0.01
    assert rows.colourfulness["L1 only, colour x 2.0"] > rows.colourfulness["L1 only"]
    assert (rows.loc[settings, "L1"] != rows.L1["L1 only"]).all()
    assert rows.loss_D[settings[0]] != rows.loss_D[settings[1]]


def test_a_setting_that_does_not_exist_is_named(script, capsys):
    with pytest.raises(SystemExit):
        script("gan_stage", "--photos", ".", "--weights", "net_G.safetensors", "lambda_L3=1")
    assert "'lambda_L3' is no setting; choose among lr_G" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        script("gan_stage", "--photos", ".", "--weights", "net_G.safetensors", "freeze_norm=maybe")
    assert "freeze_norm='maybe' is no bool" in capsys.readouterr().err
