"""What the repository's notebooks read, as the runner finds it from their source."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from notebook_tools import NOTEBOOKS, ROOT, code_cells, copy_repository

import inputs

[CIFAR] = [path.stem for path in NOTEBOOKS if path.name.startswith("05")]
LOADED = """
import json, sys
exec(sys.argv[1])
files = [module.__file__ for name, module in sys.modules.items() if name.split(".")[0] == "colorize_lib"]
print(json.dumps([file for file in files if file]))
"""


def test_every_file_that_a_notebook_loads_is_found():
    """Python itself says which those are."""
    [path] = [path for path in NOTEBOOKS if path.name.startswith("07")]
    cell = next(cell.source for cell in code_cells(path) if "from colorize_lib" in cell.source)
    done = subprocess.run([sys.executable, "-c", LOADED, cell], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert len(loaded) > 15
    assert loaded <= {str(path) for path in inputs.library_files(cell)}


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    return copy_repository(tmp_path_factory.mktemp("repository"))


@pytest.mark.parametrize(
    "file, is_read",
    [
        ("colorize_lib/colorizing/enlarging.py", False),
        ("colorize_lib/training/gan.py", True),  # imported by the notebook
        ("colorize_lib/color.py", True),  # by what it imports
        ("notebooks/tools/run.py", True),
        ("notebooks/tools/report.py", False),
        ("notebooks/05_cifar10_cgan.ipynb", True),
    ],
)
def test_05_is_run_again_for_a_file_that_it_reads_and_for_no_other(repository, tmp_path, monkeypatch, file, is_read):
    for name, folder in (("ROOT", repository), ("NOTEBOOKS", repository / "notebooks"), ("OUTPUTS", tmp_path)):
        monkeypatch.setattr(inputs, name, folder)
    executed = inputs.executed("test", CIFAR)
    executed.parent.mkdir(parents=True)
    executed.touch()
    executed.with_name(inputs.RECORD).write_text(json.dumps(inputs.read_by(CIFAR, "test", {"seed": 0})))
    assert inputs.changes(CIFAR, "test", {"seed": 0}) == []
    text = (repository / file).read_text()
    (repository / file).write_text(text.replace("mode collapse", "collapse") if "ipynb" in file else f"{text}\n")
    changed = inputs.changes(CIFAR, "test", {"seed": 0})
    (repository / file).write_text(text)
    assert changed == ([] if not is_read else ["its text"] if "ipynb" in file else [file])


@pytest.mark.parametrize(
    "name, parameters, expected",
    [
        ("04_resnet18_gan_finetune", {}, ["02", "03"]),
        ("05_cifar10_cgan", {}, []),
        ("07_colorize_your_photos", {"weights": "test/02"}, ["02"]),
        ("07_colorize_your_photos", {"weights": "other/02"}, []),
        ("09_results", {}, [path.name[:2] for path in NOTEBOOKS if path.name[:2] != "09"]),
    ],
)
def test_the_notebooks_and_weights_that_one_reads(name, parameters, expected):
    assert [one[:2] for one in inputs.earlier_notebooks(name, "test", parameters)] == expected
    assert ("weights/SHA256SUMS" in inputs.read_by(name, "test", parameters)) == name.startswith("07")
