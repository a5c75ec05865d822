"""The command line, and where the package finds what it needs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from notebook_tools import ROOT
from pictures import photograph, save

from colorize_lib import files
from colorize_lib.__main__ import main
from colorize_lib.models import GeneratorConfig, build_generator
from colorize_lib.models.weights import save_weights


@pytest.mark.parametrize("command", ["", "colorize", "export", "score", "human-test", "demo"])
def test_help_imports_nothing_heavy(command):
    code = (
        "import sys\nfrom colorize_lib.__main__ import main\n"
        f"try:\n    main({[command, '--help'] if command else ['--help']})\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('torch', 'fastai', 'matplotlib', 'gradio', 'pandas') if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "usage: python -m colorize_lib" in out and out.splitlines()[-1] == "[]"


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """A generator without dropout, which sees multiples of 32 px."""
    config = GeneratorConfig("unet", size=32, n_down=5, num_filters=4)
    path = tmp_path_factory.mktemp("weights") / "net_G.safetensors"
    save_weights(build_generator(config), path, {"generator": vars(config)})
    return path


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nothing.jpg"], "nothing.jpg does not exist"),
        (["a.png", "--samples", "0"], "samples 0 must be at least 1"),
        (["a.png", "--samples", "2"], "no dropout"),
        (["a.png", "--saturation", "-1"], "at least 0"),
        (["a.png", "--saturation", "nan"], "at least 0"),
        (["a.png", "--size", "100"], "multiple of 32"),
        (["a.png", "--device", "gpu"], "gpu"),
        (["a.png", "--weights", "none.pt"], "weights file none.pt does not exist"),
        ([".", "--output", ".", "--force"], "would be written over the photograph"),
    ],
)
def test_bad_options_are_one_clear_line(weights, tmp_path, monkeypatch, capsys, arguments, reason):
    monkeypatch.chdir(tmp_path)
    save(photograph(), tmp_path / "a.png")
    assert main(["colorize", "--weights", str(weights), *arguments]) == 1
    out, err = capsys.readouterr()
    assert err.startswith("error: ") and reason in err and err.count("\n") == 1 and not out
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_weights_and_photographs_are_looked_for_where_one_stands(weights, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copy(weights, "mine.safetensors")
    save(photograph(), tmp_path / "a.png")
    assert main(["colorize", "a.png", "--weights", "mine.safetensors", "--output", "b.png"]) == 0
    assert (tmp_path / "b.png").is_file() and "weights: mine.safetensors" in capsys.readouterr().err


def places(package_at: Path, here: Path) -> list[str]:
    """ROOT, DATA_DIR, OUTPUTS and SHIPPED_WEIGHTS of the package below one folder, for who stands in another."""
    code = "from colorize_lib import files as f; print(f.ROOT, f.DATA_DIR, f.OUTPUTS, f.SHIPPED_WEIGHTS, sep='\\n')"
    options = {"cwd": here, "env": os.environ | {"PYTHONPATH": str(package_at)}, "text": True}
    return subprocess.check_output([sys.executable, "-c", code], **options).splitlines()


def test_in_a_checkout_everything_is_there_wherever_one_stands(tmp_path):
    expected = (ROOT, ROOT / "data", ROOT / "outputs", ROOT / "weights" / "generator.safetensors")
    assert places(ROOT, tmp_path) == list(map(str, expected))


@pytest.mark.parametrize("shipped", [True, False])
def test_an_installed_package_writes_to_the_current_folder_and_has_its_weights_with_it(tmp_path, shipped):
    package, here = tmp_path / "site" / "colorize_lib", tmp_path / "here"
    weights = package / "weights_shipped" / "generator.safetensors"
    for folder in (weights.parent, here):
        folder.mkdir(parents=True)
    if shipped:
        weights.touch()
    (package / "__init__.py").touch()
    shutil.copy(files.__file__, package)
    expected = (here, here / "data", here / "outputs", weights if shipped else here / "weights" / weights.name)
    assert places(package.parent, here) == list(map(str, expected))
