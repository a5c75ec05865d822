"""The wheel has the whole library, its page, the shipped weights and a command, and nothing else."""

import shutil
import subprocess
import sys
import zipfile

from notebook_tools import ROOT


def test_the_wheel_is_complete(tmp_path):
    """Built from copies of what it is made of, so that no earlier build in the checkout gets into it."""
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("colorize_lib", "weights"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", "."]
    subprocess.run(build, cwd=tmp_path, check=True)
    (wheel,) = tmp_path.glob("colorize_lab-*.whl")
    with zipfile.ZipFile(wheel) as file:
        (commands,) = [name for name in file.namelist() if name.endswith("/entry_points.txt")]
        assert "colorize-lab = colorize_lib.__main__:main" in file.read(commands).decode()
        assert {name for name in file.namelist() if ".dist-info/" not in name} == {
            *(str(path.relative_to(ROOT)) for path in (ROOT / "colorize_lib").rglob("*.py")),
            "colorize_lib/apps/human_test/page.html",
            *(f"colorize_lib/weights_shipped/{path.name}" for path in (ROOT / "weights").iterdir()),
        }
        shipped = file.read("colorize_lib/weights_shipped/generator.safetensors")
    assert shipped == (ROOT / "weights" / "generator.safetensors").read_bytes()
