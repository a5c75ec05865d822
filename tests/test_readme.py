"""The figures of the README are those that the published run has left."""

import json
import re

import pandas as pd
import pytest
from notebook_tools import ROOT

README = (ROOT / "README.md").read_text()
PUBLISHED = ROOT / "outputs" / "published"
COLUMNS = ["l1_ab", "psnr_rgb", "ssim_rgb", "ciede2000", "auc_rebalanced", "colorfulness"]
DIGITS = [2, 2, 3, 2, 1, 1]


def rows() -> dict[str, list[str]]:
    """First cell -> the other cells, of every table."""
    lines = [line for line in README.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {first: rest for first, *rest in cells}


def as_text(row: pd.Series, digits: int) -> str:
    return f"{row.value:.{digits}f} [{row.low:.{digits}f}, {row.high:.{digits}f}]"


def test_the_results_are_those_of_notebook_06():
    scores = pd.read_csv(PUBLISHED / "06_evaluation" / "scores.csv").set_index(["answer", "figure"])
    answers = scores.index.unique("answer")
    assert len(answers) >= 7
    for answer in answers:
        expected = [as_text(scores.loc[(answer, figure)], n) for figure, n in zip(COLUMNS, DIGITS, strict=True)]
        assert rows()[answer][1:] == expected


def test_the_results_of_cifar_are_those_of_notebook_05():
    validation = json.loads((PUBLISHED / "05_cifar10_cgan" / "metrics.json").read_text())["validation"]
    for name in ("grey", "L2 regression", "S4", "ours"):
        of = validation[name]
        found = rows()[f"{name}, CIFAR-10"]
        expected = [f"{of['val_mae']:.2f}", f"{of['val_within_2']:.1%}", f"{of['val_within_5']:.1%}"]
        assert found[:3] == expected and found[3] == f"{of['val_colorfulness']:.1f}"


def test_the_commits_that_are_named_are_those_of_the_records():
    records = {json.loads(path.read_text())["commit"][:7] for path in PUBLISHED.glob("0*/env.json")}
    records |= {json.loads((PUBLISHED / "benchmarks.json").read_text())["environment"]["commit"][:7]}
    named = set(re.findall(r"\bcommits? ([0-9a-f]{7})\b", README))
    assert named and named <= records


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\((?!https?://|#)([^)#]+)", README))))
def test_links_lead_to_files(target):
    assert (ROOT / target).exists()
