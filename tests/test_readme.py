"""The README is short, its tables are those of the published run, and what it and the other pages name is there."""

import json
import re

import pytest
from notebook_tools import ROOT

from readme import filled

README = (ROOT / "README.md").read_text()
PUBLISHED = ROOT / "outputs" / "published"
PAGES = sorted(path for folder in ("", "docs", "data", "outputs", "weights") for path in (ROOT / folder).glob("*.md"))
LINK = re.compile(r"\]\((?!https?://)([^)#\s]*)(?:#([^)]*))?\)")


def test_it_is_two_screens_and_its_tables_are_those_of_the_published_run():
    """If not: run `make readme`, and read the sentences beside the tables again."""
    assert len(README.encode()) < 9_000
    assert filled(README) == README
    scores = json.loads((PUBLISHED / "06_evaluation" / "metrics.json").read_text())["validation"]
    for answer, of in scores.items():
        assert f"| {answer} | {of['l1_ab']['value']:.2f} [" in README


def test_what_it_says_about_differences_and_commits_is_what_was_recorded():
    """The sentences below the table; paired differences to grey's error, by the hue of the truth."""
    beside_grey = json.loads((PUBLISHED / "06_evaluation" / "metrics.json").read_text())["against_grey"]
    bold = beside_grey["ResNet18, L1, bold (03)"]
    assert "cyan or purple it errs more than grey does; on blue no difference is resolved" in " ".join(README.split())
    assert [bold[f"error_{hue}"]["verdict"] for hue in ("cyan", "purple", "blue")] == ["worse", "worse", "unresolved"]
    records = {json.loads(path.read_text())["commit"][:7] for path in PUBLISHED.glob("0*/env.json")}
    named = set(re.findall(r"\bcommits? ([0-9a-f]{7})\b", README))
    assert named and named <= records


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings_and_files_that_are_named_exist(page):
    for target, anchor in LINK.findall(page.read_text()):
        file = page.parent / target if target else page
        assert file.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}, anchor
    text = re.sub(r"`[^`\n]*` at 7f0b3bd|`git show [^`]*`", "", page.read_text())  # what an earlier commit has
    folders, endings = "colorize_lib|notebooks|benchmarks|tests|docs", "py|md|ipynb|yaml|txt"
    named = re.findall(rf"\b(?:{folders})/[\w/.-]*\w\.(?:{endings})\b", text)
    assert [name for name in named if not (ROOT / name).exists()] == []
