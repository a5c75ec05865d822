"""The whole pipeline at `test` size, run by make in a copy of the repository."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from notebook_tools import copy_repository
from PIL import Image

import publish
import report
from colorize_lib.apps.human_test.pairs import PairList
from colorize_lib.apps.human_test.server import Answer, HumanTest
from colorize_lib.colorizing.colorizer import Colorizer
from colorize_lib.data.shipped import old_photographs, package_photographs
from colorize_lib.models.weights import load_generator

TRAINING = ["02_baseline_unet_cgan", "03_resnet18_l1_pretraining", "04_resnet18_gan_finetune"]
ALL = ["01_data_exploration", *TRAINING, "05_cifar10_cgan", "06_evaluation", "07_colorize_your_photos", "09_results"]
RUNNER = [sys.executable, "notebooks/tools/run.py", "--profile", "test"]


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """A copy of the repository, and this environment."""
    folder = copy_repository(tmp_path_factory.mktemp("repository"))
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


def make(copy: Path, *words: str) -> str:
    """Run make in the copy, with the copy's library, and return what it printed."""
    command = ["make", "--old-file=.venv/.installed", *words]  # this environment is used as it is
    result = subprocess.run(command, cwd=copy, env=variables(copy), capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def variables(copy: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(copy), "MAKEFLAGS": ""}


def to_run(copy: Path, *settings: str) -> list[str]:
    """The notebooks that `make run-all` would run now."""
    command = [*RUNNER, "--changed", "--dry-run", *settings]
    done = subprocess.run(command, cwd=copy, env=variables(copy), capture_output=True, text=True, check=True)
    return re.findall(r"^== (\w+)", done.stdout, re.MULTILINE)


@pytest.fixture(scope="module")
def outputs(copy) -> Path:
    """`outputs/test` after `make run-all PROFILE=test`, the only run of the whole pipeline in all tests."""
    printed = make(copy, "run-all", "PROFILE=test")
    assert "40 photographs: " in printed and "resuming after epoch 1" in printed
    return copy / "outputs" / "test"


@pytest.mark.parametrize("name", ALL)
def test_every_notebook_leaves_its_record(outputs, name):
    executed = nbformat.read(outputs / name / f"{name}.ipynb", as_version=4)
    assert all(cell.execution_count for cell in executed.cells if cell.cell_type == "code")
    assert not (outputs / name / f"{name}.failed.ipynb").exists()
    figures = sorted((outputs / name / "figures").glob("*.png"))
    assert len(figures) >= (2 if name == "09_results" else 4)
    for figure in figures:
        extremes = Image.open(figure).convert("L").getextrema()
        assert extremes[0] < 100 and extremes[1] > 200, f"{figure.name} is empty"
    metrics = json.loads((outputs / name / "metrics.json").read_text())
    if name[:2] not in ("07", "09"):  # which judge nothing
        assert ("l1_ab" if name == "06_evaluation" else "val_L1") in metrics["validation"]["grey"]
    assert json.loads((outputs / name / "config.json").read_text())["profile"] == "test"
    assert json.loads((outputs / name / "env.json").read_text())["packages"]["torch"]


@pytest.mark.parametrize("name, epochs", list(zip(TRAINING, [2, 1, 1], strict=True)))
def test_every_training_leaves_history_weights_and_checkpoints(outputs, name, epochs):
    history = pd.read_csv(outputs / name / "history.csv")
    rows = history[history.kind == "epoch"]
    assert rows.epoch.tolist() == list(range(1, epochs + 1))
    metrics = json.loads((outputs / name / "metrics.json").read_text())
    assert metrics["epochs"] == epochs and metrics["training_seconds"] > 0
    ours = [figures for model, figures in metrics["validation"].items() if model.endswith(f"{epochs} epochs")][-1]
    assert ours["val_L1"] == pytest.approx(rows.val_L1.iloc[-1])
    load_generator(outputs / name / "net_G.safetensors")
    assert list((outputs / name / "checkpoints").glob("*/epoch-*"))
    assert list((outputs / name / "checkpoints").glob("*/progress/iteration-*.png"))


def test_the_fine_tuning_shows_all_models_in_its_table(outputs):
    models = json.loads((outputs / TRAINING[-1] / "metrics.json").read_text())["validation"]
    assert [name.split(",")[0] for name in models] == [
        "grey", "mean ab", "truth", "U-Net cGAN", "U-Net cGAN", *["ResNet18 U-Net"] * 3
    ]  # fmt: skip


def test_the_cifar_notebook_leaves_every_training_and_what_the_detector_said(outputs):
    folder = outputs / "05_cifar10_cgan"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert {"grey", "S4", "ours", "L2 regression"} <= metrics["validation"].keys()
    for part, name in (("s4", "S4"), ("ours", "ours"), ("regression", "L2 regression")):
        epochs = pd.read_csv(folder / part / "history.csv").query("kind == 'epoch'")
        assert epochs.epoch.tolist() == [1, 2]
        assert metrics["diversity"][name]["spread_ratio"] == pytest.approx(epochs.spread_ratio.iloc[-1])
        assert metrics["validation"][name]["val_L1"] == pytest.approx(epochs.val_L1.iloc[-1], rel=0.1)  # clipped
        assert load_generator(folder / part / "net_G.safetensors")[1].architecture == "cifar"
    assert list(metrics["collapse"])[:3] == ["S4", "ours", "L2 regression"] and len(metrics["collapse"]) == 6


def test_the_evaluation_judges_every_generator_of_its_size(outputs):
    metrics = json.loads((outputs / "06_evaluation" / "metrics.json").read_text())
    simple = ["grey", "mean colour", "nearest neighbour"]
    trained = ["U-Net cGAN (02)", "ResNet18, L1 (03)", "ResNet18, L1, bold (03)", "ResNet18, GAN (04)"]
    trained += ["S4, CIFAR-10 (05)", "ours, CIFAR-10 (05)"]
    assert list(metrics["validation"]) == simple + trained
    for name in trained:
        figures = metrics["validation"][name]
        assert figures["l1_ab"]["low"] <= figures["l1_ab"]["value"] <= figures["l1_ab"]["high"]
        assert metrics["against_grey"][name]["l1_ab"]["verdict"] in ("better", "worse", "unresolved")
        assert "change" in metrics["domain_drop"][name]["psnr_rgb"]
    assert metrics["dropout"]["S4, CIFAR-10 (05)"]["variety"] > 0  # at 32 px the U-Net has no level left with dropout
    assert metrics["fooled"] is None and metrics["seeds"] == {} and metrics["fid"] == {}
    text = (outputs / "06_evaluation" / "06_evaluation.ipynb").read_text()
    assert "left out, LPIPS" in text and "no answers yet to the 54 pairs" in text


def test_the_results_gather_what_the_others_found(outputs):
    found = json.loads((outputs / "09_results" / "metrics.json").read_text())
    assert found["read"] == ALL[:-1] and len(found["findings"]) >= 5
    cells = nbformat.read(outputs / "09_results" / "09_results.ipynb", as_version=4).cells
    shown = str([cell.outputs for cell in cells if cell.cell_type == "code"])
    assert "errs least" in shown and "not been run" not in shown
    pages = {path.name for path in report.build_site(outputs).parent.glob("*.html")}
    assert pages == {"index.html", *(f"{name}.html" for name in ALL[:-1])}


def test_what_is_published_names_no_path_of_the_machine(outputs, tmp_path):
    assert [path.stem for path in publish.publish(outputs, tmp_path)] == ALL
    kinds = (".ipynb", ".json", ".csv")
    published = [path for path in tmp_path.rglob("*.*") if path.suffix in kinds]
    assert [path for path in published if str(outputs.parents[1]) in path.read_text()] == []


# It stands before the tests that run notebooks again with other settings.
def test_only_what_changed_is_run_again(outputs, copy):
    assert to_run(copy) == []
    assert to_run(copy, "--set", "cifar_epochs=3") == ["05_cifar10_cgan", "06_evaluation", "09_results"]
    assert to_run(copy) == []  # asking changed nothing


def test_the_evaluation_reads_answers_and_other_seeds(outputs, copy):
    test = HumanTest(PairList(outputs / "06_evaluation" / "human_test"))
    for pair, fake_side in enumerate(test.table.fake_side):  # someone who is never fooled
        test.save(Answer(rater="0123456789ab", pair=pair, answer=fake_side, seconds=1.0))
    shutil.copytree(outputs, copy / "outputs" / "other")
    make(copy, "run", "NB=06", "PROFILE=test", "SET=other_runs=['outputs/other'] other_source=none")
    metrics = json.loads((outputs / "06_evaluation" / "metrics.json").read_text())
    assert metrics["fooled"]["rate"] == 0 and metrics["fooled"]["answers"] == 40
    seeds = metrics["seeds"]["U-Net cGAN (02)"]["l1_ab"]
    assert seeds["seeds"] == 2 and seeds["least"] == pytest.approx(seeds["most"])  # the other run is a copy


def test_the_notebook_the_command_and_python_colour_alike(outputs, copy):
    folder = outputs / "07_colorize_your_photos"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["my_photos"] == {"coloured": 40, "failed": 0} and len(list(folder.glob("my_photos/*.png"))) == 40
    assert set(metrics["errors"]) == set(package_photographs())
    assert metrics["enlarging"]["guided"]["spill"] < metrics["enlarging"]["bilinear"]["spill"]
    source, weights = old_photographs()["cameraman"], outputs / TRAINING[0] / "net_G.safetensors"
    command = [sys.executable, "-m", "colorize_lib", "colorize", source, "--weights", "test/02", "--device", "cpu"]
    subprocess.run([*command, "--output", copy / "command.png"], cwd=copy, env=variables(copy), check=True)
    expected = np.asarray(Colorizer.load(weights, "cpu")(source))
    assert np.ptp(expected, axis=2).max() > 0
    for path in (copy / "command.png", folder / "colored" / "cameraman.png"):
        np.testing.assert_array_equal(np.asarray(Image.open(path)), expected)


def test_an_interrupted_notebook_is_kept_readable_and_goes_on_and_another_run_is_equal_to_the_bit(outputs, copy):
    name = TRAINING[0]
    first = outputs / "first" / name
    shutil.move(outputs / name, first)
    command = [*RUNNER, "--set", "epochs_long=200", name]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, cwd=copy, env=variables(copy), **streams)
    for line in process.stdout:
        if line.startswith("epoch 3/200"):
            process.send_signal(signal.SIGTERM)
            break
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "TrainingInterrupted: training stopped after iteration" in errors
    failed = nbformat.read(outputs / name / f"{name}.failed.ipynb", as_version=4)
    assert any("TrainingInterrupted" in str(cell.get("outputs")) for cell in failed.cells)
    assert not (outputs / name / f"{name}.ipynb").exists()
    history, expected = (pd.read_csv(folder / name / "history.csv") for folder in (outputs, first.parent))
    columns = [column for column in expected if column != "seconds"]
    assert len(expected) > 5
    pd.testing.assert_frame_equal(history[columns][: len(expected)], expected[columns], check_exact=True)

    reached = history.epoch.max()
    command[-2] = f"epochs_long={reached + 1}"
    result = subprocess.run(command, cwd=copy, env=variables(copy), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    epochs = pd.read_csv(outputs / name / "history.csv").query("kind == 'epoch'").epoch
    assert epochs.tolist() == list(range(1, reached + 2))
    assert not (outputs / name / f"{name}.failed.ipynb").exists()
    validation = json.loads((outputs / name / "metrics.json").read_text())["validation"]
    assert [model for model in validation if "U-Net" in model] == [f"U-Net cGAN, {k} epochs" for k in (1, reached + 1)]
