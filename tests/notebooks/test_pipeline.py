"""The whole pipeline at `test` size, run in a copy of the repository."""

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
from notebook_tools import RUNNER, call, runnable_copy
from PIL import Image

import publish
import report
from colorize_lib.__main__ import main
from colorize_lib.apps.human_test.pairs import PairList
from colorize_lib.apps.human_test.results import fooled_rate, read_answers, summary
from colorize_lib.apps.human_test.server import Answer, HumanTest
from colorize_lib.colorizing.colorizer import Colorizer
from colorize_lib.data.shipped import old_photographs, package_photographs
from colorize_lib.models import weights
from colorize_lib.models.weights import load_generator

TRAINING = ["02_baseline_unet_cgan", "03_resnet18_l1_pretraining", "04_resnet18_gan_finetune"]
ALL = ["01_data_exploration", *TRAINING, "05_cifar10_cgan", "06_evaluation", "07_colorize_your_photos", "08_claims"]
ALL += ["09_results"]
OTHER = "other_runs=['outputs/other']"


def ran(printed: str) -> list[str]:
    return re.findall(r"^== (\d\d_\w+)", printed, re.MULTILINE)


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    return runnable_copy(tmp_path_factory.mktemp("repository"))


@pytest.fixture(scope="module")
def outputs(copy) -> Path:
    """`outputs/test` after all notebooks, each run once: what trains first, and then the rest by `make run-all`, with a
    copy of the trainings as the run of another seed."""
    folder = copy / "outputs" / "test"
    assert "resuming after epoch 1" in call(copy, *RUNNER, "02", "03", "04", "05")
    shutil.copytree(folder, copy / "outputs" / "other")
    # The environment is used as it is. What has been run is not run again.
    printed = call(copy, "make", "--old-file=.venv/.installed", "run-all", "PROFILE=test", f"SET={OTHER}")
    assert ran(printed) == [ALL[0], *ALL[5:]] and "40 photographs: " in printed
    return folder


def record(folder: Path, name: str = "metrics.json") -> dict:
    return json.loads((folder / name).read_text())


@pytest.mark.parametrize("name", ALL)
def test_every_notebook_leaves_its_record(outputs, name):
    executed = nbformat.read(outputs / name / f"{name}.ipynb", as_version=4)
    assert all(cell.execution_count for cell in executed.cells if cell.cell_type == "code")
    assert not (outputs / name / f"{name}.failed.ipynb").exists()
    figures = sorted((outputs / name / "figures").glob("*.png"))
    assert len(figures) >= (2 if name == "09_results" else 4)
    for figure in figures:
        darkest, brightest = Image.open(figure).convert("L").getextrema()
        assert darkest < 100 and brightest > 200, f"{figure.name} is empty"
    metrics = record(outputs / name)
    if name[:2] not in ("07", "08", "09"):  # which judge nothing
        assert ("l1_ab" if name == "06_evaluation" else "val_L1") in metrics["validation"]["grey"]
    assert record(outputs / name, "config.json")["profile"] == "test"
    assert record(outputs / name, "env.json")["packages"]["torch"]


@pytest.mark.parametrize("name, epochs", list(zip(TRAINING, [2, 1, 1], strict=True)))
def test_every_training_leaves_history_weights_and_checkpoints(outputs, name, epochs):
    history = pd.read_csv(outputs / name / "history.csv")
    rows = history[history.kind == "epoch"]
    assert rows.epoch.tolist() == list(range(1, epochs + 1))
    metrics = record(outputs / name)
    assert metrics["epochs"] == epochs and metrics["training_seconds"] > 0
    ours = [figures for model, figures in metrics["validation"].items() if model.endswith(f"{epochs} epochs")][-1]
    assert ours["val_L1"] == pytest.approx(rows.val_L1.iloc[-1])
    load_generator(outputs / name / "net_G.safetensors")
    assert list((outputs / name / "checkpoints").glob("*/epoch-*"))
    assert list((outputs / name / "checkpoints").glob("*/progress/iteration-*.png"))
    if name == TRAINING[-1]:  # its table shows all models
        models = ["grey", "mean ab", "truth", *["U-Net cGAN"] * 2, *["ResNet18 U-Net"] * 2]
        assert [model.split(",")[0] for model in metrics["validation"]] == models


def test_the_cifar_notebook_leaves_every_training_and_what_the_detector_said(outputs):
    folder = outputs / "05_cifar10_cgan"
    metrics = record(folder)
    assert {"grey", "S4", "ours", "L2 regression"} <= metrics["validation"].keys()
    for part, name in (("s4", "S4"), ("ours", "ours"), ("regression", "L2 regression")):
        epochs = pd.read_csv(folder / part / "history.csv").query("kind == 'epoch'")
        assert epochs.epoch.tolist() == [1, 2]
        assert metrics["diversity"][name]["spread_ratio"] == pytest.approx(epochs.spread_ratio.iloc[-1])
        assert metrics["validation"][name]["val_L1"] == pytest.approx(epochs.val_L1.iloc[-1], rel=0.1)  # clipped
        assert load_generator(folder / part / "net_G.safetensors")[1].architecture == "cifar"
    assert list(metrics["collapse"])[:3] == ["S4", "ours", "L2 regression"] and len(metrics["collapse"]) == 6


def test_the_evaluation_judges_every_generator_of_its_size(outputs):
    metrics = record(outputs / "06_evaluation")
    simple = ["grey", "mean colour", "nearest neighbour"]
    trained = ["U-Net cGAN (02)", "ResNet18, L1 (03)", "distribution (03)", "ResNet18, GAN (04)"]
    trained += ["S4, CIFAR-10 (05)", "ours, CIFAR-10 (05)"]
    assert list(metrics["validation"]) == simple + trained
    for name in trained:
        figures = metrics["validation"][name]
        assert figures["l1_ab"]["low"] <= figures["l1_ab"]["value"] <= figures["l1_ab"]["high"]
        assert metrics["against_grey"][name]["l1_ab"]["verdict"] in ("better", "worse", "unresolved")
        assert "change" in metrics["domain_drop"][name]["psnr_rgb"]
    assert metrics["dropout"]["S4, CIFAR-10 (05)"]["variety"] > 0  # at 32 px the U-Net has no level left with dropout
    assert metrics["fooled"] is None and list(metrics["set_distances"]) == ["fd_lite0"]
    seeds = metrics["seeds"]["U-Net cGAN (02)"]["l1_ab"]
    assert seeds["seeds"] == 2 and seeds["least"] == pytest.approx(seeds["most"])  # the other run is a copy
    text = (outputs / "06_evaluation" / "06_evaluation.ipynb").read_text()
    assert "left out, FID" in text and "no answers yet to the 54 pairs" in text


def test_the_results_gather_what_the_others_found(outputs):
    found = record(outputs / "09_results")
    assert found["read"] == ALL[:-1]
    assert {one[:6] for one in found["findings"]} == {f"**{name[:2]}**" for name in ALL[:-1]}
    cells = nbformat.read(outputs / "09_results" / "09_results.ipynb", as_version=4).cells
    shown = str([cell.outputs for cell in cells if cell.cell_type == "code"])
    assert "Least error" in shown and "not been run" not in shown
    pages = {path.name for path in report.build_site(outputs).parent.glob("*.html")}
    assert pages == {"index.html", *(f"{name}.html" for name in ALL[:-1])}


def test_what_is_published_names_no_path_of_the_machine(outputs, tmp_path):
    assert [path.stem for path in publish.publish(outputs, tmp_path)] == ALL
    kinds = (".ipynb", ".json", ".csv")
    published = [path for path in tmp_path.rglob("*.*") if path.suffix in kinds]
    assert [path for path in published if str(outputs.parents[1]) in path.read_text()] == []


def test_the_runner_and_the_evaluation_read_the_answers_of_people(outputs, copy):
    asked = (*RUNNER, "--changed", "--dry-run", "--set", OTHER)
    assert ran(call(copy, *asked)) == []
    pairs = PairList(outputs / "06_evaluation" / "human_test")
    for pair, fake_side in enumerate(pairs.table.fake_side):  # someone who is never fooled
        HumanTest(pairs).save(Answer(rater="0123456789ab", pair=pair, answer=fake_side, seconds=1.0))
    assert ran(call(copy, *asked)) == ["06_evaluation", "09_results"]
    cells = nbformat.read(outputs / "06_evaluation" / "06_evaluation.ipynb", as_version=4).cells
    (cell,) = [cell.source for cell in cells if "fooled_rate(read_answers" in cell.source]
    names = {"write_pairs": lambda *_: pairs, "run": SimpleNamespace(path=outputs), "painters": {"": None}}
    names |= {"judged": "", "val_dl": None, "seed": 0}
    names |= {"fooled_rate": fooled_rate, "read_answers": read_answers, "summary": summary}
    exec(cell, names)  # this cell alone: running the notebook again would say no more
    assert names["fooled"]["rate"] == 0 and names["fooled"]["answers"] == 40


def test_the_notebook_the_command_and_python_colour_alike(outputs, copy, monkeypatch):
    folder = outputs / "07_colorize_your_photos"
    metrics = record(folder)
    assert metrics["my_photos"] == {"coloured": 40, "failed": 0} and len(list(folder.glob("my_photos/*.png"))) == 40
    assert set(metrics["errors"]) == set(package_photographs())
    assert metrics["enlarging"]["guided"]["spill"] < metrics["enlarging"]["bilinear"]["spill"]
    source, target = old_photographs()["cameraman"], copy / "command.png"
    monkeypatch.setattr(weights, "OUTPUTS", outputs.parent)
    words = ["--weights", "test/02", "--device", "cpu", "--output", str(target)]
    assert main(["colorize", str(source), *words]) == 0
    expected = np.asarray(Colorizer.load(outputs / TRAINING[0] / "net_G.safetensors", "cpu")(source))
    assert np.ptp(expected, axis=2).max() > 0
    for path in (target, folder / "colored" / "cameraman.png"):
        np.testing.assert_array_equal(np.asarray(Image.open(path)), expected)
