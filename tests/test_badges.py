"""The repository on GitHub that badges and Colab cells name, and the command that changes it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from notebook_tools import NOTEBOOKS, ROOT, copy_repository

BADGE = re.compile(r"\(https://colab\.research\.google\.com/github/([^/]+/[^/]+)/blob/main/([^)]+)\)")
CLONED = re.compile(r'"COLORIZE_LAB_URL", "https://github\.com/([^"]+)"')


def names(root: Path) -> set[str]:
    """The repositories that the badges and Colab cells below `root` name.

    Asserts that each notebook has a badge in its first cell and in README, both with its own path.
    """
    found = set()
    in_readme = BADGE.findall((root / "README.md").read_text())
    assert [path for _, path in in_readme] == [path.relative_to(ROOT).as_posix() for path in NOTEBOOKS]
    for path, in_table in zip(NOTEBOOKS, in_readme, strict=True):
        notebook = nbformat.read(root / path.relative_to(ROOT), as_version=4)
        nbformat.validate(notebook)
        assert BADGE.findall(notebook.cells[0].source) == [in_table]
        found |= {in_table[0], *CLONED.findall(notebook.cells[1].source)}
    return found


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def make(root: Path, *words: str) -> subprocess.CompletedProcess:
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "REPO")}
    command = ["make", f"PYTHON={sys.executable}", *words]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)


@pytest.fixture
def copy(tmp_path) -> Path:
    folder = copy_repository(tmp_path)
    shutil.rmtree(folder / "tests")  # this file too names repositories
    return folder


def test_badges_lead_to_their_own_notebooks_in_one_repository():
    assert len(names(ROOT)) == 1


def test_a_stamp_replaces_the_former_name_everywhere_and_nothing_else(copy):
    [first] = names(ROOT)
    before = contents(copy)
    times = [path.stat().st_mtime_ns for path in sorted(copy.rglob("*.ipynb"))]
    for old, new in ((first, "somebody/colours"), ("somebody/colours", "Another-1/my.lab_2")):
        done = make(copy, "badges", f"REPO={new}")
        assert done.returncode == 0, done.stderr
        assert names(copy) == {new}
        after = contents(copy)
        assert [name for name, content in after.items() if old.encode() in content] == []
        assert {name: content.replace(new.encode(), first.encode()) for name, content in after.items()} == before
        assert "0 files changed" in make(copy, "badges", f"REPO={new}").stdout
    assert [path.stat().st_mtime_ns for path in sorted(copy.rglob("*.ipynb"))] == times  # make runs none of them again


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "colours",
        "somebody/",
        "/colours",
        "a/b/c",
        "https://github.com/a/b",
        "a b/c",
        "-a/b",
        "a/..",
        "a/b.git",
        "a'/b",
    ],
)
def test_what_is_no_repository_is_refused_and_nothing_changes(copy, wrong):
    before = contents(copy)
    done = make(copy, "badges", f"REPO={wrong}")
    assert done.returncode != 0 and f"{wrong!r} is no owner/name" in done.stderr
    assert contents(copy) == before


def test_without_a_place_for_the_name_nothing_is_stamped(copy):
    last = copy / "notebooks" / NOTEBOOKS[-1].name
    last.write_text(last.read_text().replace("COLORIZE_LAB_URL", "URL"))
    before = contents(copy)
    done = make(copy, "badges", "REPO=somebody/colours")
    assert done.returncode != 0 and NOTEBOOKS[-1].name in done.stderr and "no file changed" in done.stderr
    assert contents(copy) == before


def test_the_help_lists_it(copy):
    assert re.search(r"^  make badges .*REPO=owner/name", make(copy, "help").stdout, re.MULTILINE)
