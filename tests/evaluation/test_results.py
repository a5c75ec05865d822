"""What notebook 09 gathers: tables and sentences of the files that a run has left, here those of the published run."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from notebook_tools import ROOT
from pictures import photograph, save

from colorize_lib.evaluation import results

PUBLISHED = ROOT / "outputs" / "published"


@pytest.fixture
def profile(tmp_path) -> Path:
    """A copy of the published records, to be changed."""
    for path in PUBLISHED.glob("0*/*.[jc]s*"):
        (tmp_path / path.parent.name).mkdir(exist_ok=True)
        shutil.copy(path, tmp_path / path.parent.name / path.name)
    return tmp_path


def change(profile: Path, number: str, **entries) -> None:
    record = results.read_records(profile)[number]
    (record.folder / "metrics.json").write_text(json.dumps(record.metrics | entries))


def test_the_table_has_the_figures_of_06_with_their_intervals_and_verdicts(profile):
    table = results.with_intervals(results.read_records(profile))
    row = pd.read_csv(profile / "06_evaluation" / "scores.csv", index_col=["answer", "figure"]).loc[("grey", "l1_ab")]
    assert table.loc["grey", "L1"].replace("\u00a0", " ") == f"{row.value:.2f} [{row.low:.2f}, {row.high:.2f}]"
    assert table.loc["grey", "L1 against grey"] == "" and table.columns[0] == "L1" and len(table) > 3
    metrics = results.read_records(profile)["06"].metrics
    for name, of in metrics["against_grey"].items():
        assert table.loc[name, "L1 against grey"].startswith(f"{of['l1_ab']['difference']:.2f}")
        assert table.loc[name, "L1 against grey"].endswith("≈") == (of["l1_ab"]["verdict"] == "unresolved")


def test_losses_stand_beside_those_that_the_reports_print(profile):
    table = results.losses(results.read_records(profile))
    assert [name[:2] for name in table.index] == ["S1"] * 3 + ["S2"] * 3 + ["S3"] * 2
    printed = [name for name in table.index if "its report" in name]
    assert printed == list(results.PRINTED_LOSSES)
    assert table.loc["S1, its report, epoch 1, iteration 200 of 500"].tolist()[:2] == ["0.450", "0.470"]
    history = pd.read_csv(profile / "02_baseline_unet_cgan" / "history.csv").query("kind == 'epoch'")
    assert table.loc["S1, notebook 02, mean of epoch 1"].iloc[-1] == f"{history.loss_G.iloc[0]:.3f}"
    pretrained = pd.read_csv(profile / "03_resnet18_l1_pretraining" / "history.csv").query("kind == 'epoch'")
    [of_03] = [name for name in table.index if "notebook 03" in name]
    assert set(table.loc[of_03]) == {"", f"{100 * pretrained.loss_L1.iloc[-1]:.3f}"}


def test_times_and_cifar_stand_beside_what_others_say(profile):
    records = results.read_records(profile)
    assert results.times(records).index.tolist() == ["S1", "S2", "S3"]
    metrics = records["02"].metrics
    each = f"{metrics['training_seconds'] / metrics['iterations']:.2g} s an iteration of 8 at 96 px"
    assert results.times(records).loc["S1", "here"].startswith(each)
    table = results.cifar(records)
    assert table.iloc[0].tolist() == ["5.10", "24.1%", "65.5%"] and "published" in table.index[0]
    assert table.loc["S4", "MAE"] == f"{records['05'].metrics['validation']['S4']['val_mae']:.2f}"
    assert results.runs(records).loc["06_evaluation", "commit"] == records["06"].env["commit"][:7]


def test_the_strip_goes_from_the_lowest_error_to_the_highest(profile):
    errors = {"rocket": 7.0, "astronaut": 6.0, "coffee": 5.0}
    change(profile, "07", errors={name: {"L1 of ab": error, "L1 of grey": 6.5} for name, error in errors.items()})
    for seed, name in enumerate(errors):
        save(photograph(seed, (80, 60)), profile / "07_colorize_your_photos" / "colored" / f"{name}.png")
    rows, titles = results.package_strip(results.read_records(profile))
    assert titles == ["best\ncoffee\nL1 5.0", "median\nastronaut\nL1 6.0", "worst\nrocket\nL1 7.0"]
    assert list(rows) == ["grey", "coloured", "truth"]
    assert all(of.shape == (3, results.SIDE, results.SIDE, 3) and of.dtype == np.uint8 for of in rows.values())
    assert (np.ptp(rows["grey"], axis=3) == 0).all() and (np.ptp(rows["truth"], axis=3) > 0).any()


def test_findings_are_what_the_notebooks_answered_in_their_order(profile):
    change(profile, "06", answer=["Grey wins."])
    change(profile, "02", answer=["It can.", "A little."])
    change(profile, "05", answer=[])
    change(profile, "08", answer=[])
    found = list(results.findings(results.read_records(profile)))
    assert found == ["**02** It can.", "**02** A little.", "**06** Grey wins."]


def test_a_run_that_mixes_commits_says_so():
    runs = pd.DataFrame({"commit": ["aaaaaaa", "bbbbbbb", "aaaaaaa"]}, index=["01_data", "02_baseline", "03_resnet18"])
    assert "2 commits" in results.commits(runs) and "(aaaaaaa: 01, 03; bbbbbbb: 02)" in results.commits(runs)
    assert results.commits(runs.iloc[[0, 2]]) == "All figures are of one commit."


def test_what_was_not_run_is_left_out(tmp_path):
    records = results.read_records(tmp_path)
    assert list(results.findings(records)) == [] and results.package_strip(records) == ({}, [])
    for table in (results.with_intervals, results.scores, results.losses, results.times, results.cifar, results.runs):
        assert len(table(records)) == 0
    (tmp_path / "02_baseline_unet_cgan").mkdir()
    shutil.copy(PUBLISHED / "02_baseline_unet_cgan" / "history.csv", tmp_path / "02_baseline_unet_cgan")
    assert len(results.losses(results.read_records(tmp_path))) == 0  # it has begun, and not come to its end
