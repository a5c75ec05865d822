"""What the tests of the notebooks and of what surrounds them share."""

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
COLAB_LIST = ROOT / "notebooks" / "colab-requirements.txt"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def copy_repository(folder: Path) -> Path:
    """Copy what git tracks or would track into `folder`, with the times of the files."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    for name in subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0"):
        if name and (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


RUNNER = [sys.executable, "notebooks/tools/run.py", "--profile", "test"]


def runnable_copy(folder: Path) -> Path:
    """A copy of the repository in `folder`, with this environment."""
    copy_repository(folder)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


def call(copy: Path, *words: str) -> str:
    """Run a program in the copy, with the copy's library, and return what it printed."""
    environment = os.environ | {"PYTHONPATH": str(copy), "MAKEFLAGS": ""}
    result = subprocess.run(words, cwd=copy, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@cache
def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def code_cells(path: Path) -> list[NotebookNode]:
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def bootstrap_cells(path: Path) -> list[NotebookNode]:
    """The cells that prepare Colab; there should be one."""
    return [cell for cell in code_cells(path) if "COLAB_RELEASE_TAG" in cell.source]


def parameter_cells(path: Path) -> list[NotebookNode]:
    """The cells that papermill takes for the parameters; there should be one."""
    return [cell for cell in read(path).cells if "parameters" in cell.metadata.get("tags", [])]


def requirements(lines: list[str]) -> dict[str, Requirement]:
    """Name -> requirement."""
    return {canonicalize_name(one.name): one for one in map(Requirement, lines)}


def colab_requirements() -> dict[str, Requirement]:
    """What the bootstrap cell installs."""
    lines = [line.split("#")[0].strip() for line in COLAB_LIST.read_text().splitlines()]
    return requirements([line for line in lines if line])
