"""The command line, and where the package finds what it needs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from notebook_tools import ROOT

from colorize_lib import files


def places(package_at: Path, here: Path) -> list[str]:
    """ROOT, DATA_DIR, OUTPUTS and SHIPPED_WEIGHTS of the package below one folder, for who stands in another."""
    code = "from colorize_lib import files as f; print(f.ROOT, f.DATA_DIR, f.OUTPUTS, f.SHIPPED_WEIGHTS, sep='\\n')"
    environment = os.environ | {"PYTHONPATH": str(package_at)}
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, cwd=here, env=environment, capture_output=True, text=True, check=True
    ).stdout.splitlines()


def test_in_a_checkout_everything_is_there_wherever_one_stands(tmp_path):
    expected = (ROOT, ROOT / "data", ROOT / "outputs", ROOT / "weights" / "generator.safetensors")
    assert places(ROOT, tmp_path) == list(map(str, expected))


@pytest.mark.parametrize("shipped", [True, False])
def test_an_installed_package_writes_to_the_current_folder_and_has_its_weights_with_it(tmp_path, shipped):
    package, here = tmp_path / "site" / "colorize_lib", tmp_path / "here"
    weights = package / "weights_shipped" / "generator.safetensors"
    (weights if shipped else package).parent.mkdir(parents=True)
    package.mkdir(exist_ok=True)
    here.mkdir()
    if shipped:
        weights.touch()
    (package / "__init__.py").touch()
    shutil.copy(files.__file__, package)
    expected = (here, here / "data", here / "outputs", weights if shipped else here / "weights" / weights.name)
    assert places(package.parent, here) == list(map(str, expected))
