"""The notebooks in Colab, imitated: an environment with its own packages, and an empty folder to work in.

Like Colab, the environment has the heavy packages, lacks what `colab-requirements.txt` names, and knows nothing of this
checkout. What the bootstrap cell clones is the working tree as it stands, committed or not.
"""

import importlib.metadata
import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import nbformat
import papermill
import pytest
from nbformat.v4 import new_code_cell
from notebook_tools import NOTEBOOKS, bootstrap_cells, colab_requirements, copy_repository
from packaging.utils import canonicalize_name

from profiles import load_profile

NOTEBOOK = next(path for path in NOTEBOOKS if path.name.startswith("02_"))
BOOTSTRAP = bootstrap_cells(NOTEBOOK)[0].source
OWN_PACKAGES = Path(sysconfig.get_path("purelib"))
LISTED = colab_requirements()


def call(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Run a program that knows of no other environment than its own, and return what it printed."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env=inherited | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def distributions(site: Path) -> dict[str, str]:
    """Name -> version of what is installed in `site`."""
    found = importlib.metadata.distributions(path=[str(site)])
    return {canonicalize_name(one.metadata["Name"]): one.version for one in found}


WHERE = """
import json, sys
from importlib.util import find_spec
specs = {name: find_spec(name) for name in sys.argv[1:]}
print(json.dumps({name: spec and spec.origin for name, spec in specs.items()}))
"""


class Environment:
    """A fresh virtual environment: its `python`, and `site`, where pip installs."""

    def __init__(self, folder: Path):
        call(sys.executable, "-m", "venv", folder, cwd=folder.parent)
        self.python = folder / "bin" / "python"
        self.site = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))

    def where(self, *modules: str, cwd: Path) -> dict[str, str | None]:
        """Module -> the file that an import would load, None if there is none."""
        return json.loads(call(self.python, "-c", WHERE, *modules, cwd=cwd))


@pytest.fixture
def repository(tmp_path) -> Path:
    """A git repository of one commit: the files of the working tree that git tracks or does not ignore."""
    folder = copy_repository(tmp_path / "repository")
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    commit = [*identity, "commit", "--quiet", "--no-verify", "--message", "The working tree"]
    for words in (["init", "--quiet"], ["add", "--all"], commit):
        call("git", *words, cwd=folder)
    return folder


@pytest.fixture
def environment(tmp_path) -> Environment:
    """Skipped where pip can fetch no package at all."""
    made = Environment(tmp_path / "environment")
    options = ["--no-deps", "--no-cache-dir", "--retries", "1", "--timeout", "15", "--dest", str(tmp_path / "probe")]
    command = [str(made.python), "-m", "pip", "download", *options, "lightning-utilities"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"pip can reach no package registry: {done.stderr.strip().splitlines()[-1]}")
    return made


@pytest.fixture
def content(tmp_path) -> Path:
    """The empty folder that a notebook in Colab works in."""
    folder = tmp_path / "content"
    folder.mkdir()
    return folder


def share_heavy_packages(environment: Environment, folder: Path) -> None:
    """Let the environment import the packages of this one, by links, but not this project and not what Colab lacks."""
    left_out = {"papermill", "torchmetrics", "lightning-utilities", *LISTED}
    hidden = {file.parts[0] for name in left_out for file in importlib.metadata.distribution(name).files}
    folder.mkdir()
    for path in OWN_PACKAGES.iterdir():
        if path.name not in hidden and not path.name.startswith(("__editable__", "colorize_")):
            (folder / path.name).symlink_to(path)
    (environment.site / "heavy-packages.pth").write_text(f"{folder}\n")


def install_kernel(environment: Environment, folder: Path, variables: dict[str, str]) -> None:
    """A kernel named `colab`, with the environment's Python and with Colab's variables, below `folder`."""
    command = [str(environment.python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel = {"argv": command, "display_name": "Colab", "language": "python", "env": variables}
    (folder / "kernels" / "colab").mkdir(parents=True)
    (folder / "kernels" / "colab" / "kernel.json").write_text(json.dumps(kernel))


def test_notebook_02_runs_in_colab(repository, environment, content, tmp_path, monkeypatch):
    heavy = tmp_path / "heavy-packages"
    share_heavy_packages(environment, heavy)
    modules = [name.replace("-", "_") for name in LISTED]
    before = environment.where("numpy", "torch", "torchvision", cwd=content)
    assert all(Path(path).is_relative_to(heavy) for path in before.values())
    assert set(environment.where("colorize_lib", *modules, cwd=content).values()) == {None}
    installed = distributions(environment.site)

    drive = tmp_path / "drive"  # as if Google Drive were mounted there
    drive.mkdir()
    variables = {"COLAB_RELEASE_TAG": "release-colab", "COLORIZE_LAB_URL": repository.as_uri()}
    variables["COLORIZE_LAB_DRIVE"] = str(drive)
    install_kernel(environment, tmp_path / "jupyter", variables)
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    # Run again, the cell keeps the clone and needs no network.
    again = "os.environ.update(COLORIZE_LAB_URL='/nowhere', PIP_NO_INDEX='1')\n"
    notebook.cells.append(new_code_cell(f"{again}{BOOTSTRAP}\nimport colorize_lib\nprint(colorize_lib.__file__)"))
    nbformat.write(notebook, tmp_path / NOTEBOOK.name)
    parameters = load_profile("test", [])[NOTEBOOK.stem]
    files = tmp_path / NOTEBOOK.name, tmp_path / "executed.ipynb"
    options = {"kernel_name": "colab", "cwd": content, "progress_bar": False}
    executed = papermill.execute_notebook(*files, parameters, **options)

    clone = content / "colorize-lab"
    assert executed.cells[-1].outputs[0].text.strip() == str(clone / "colorize_lib" / "__init__.py")
    assert [path.name for path in content.iterdir()] == ["colorize-lab"]
    assert (clone / "outputs" / "colab").resolve() == drive / "colorize-lab"
    run = clone / "outputs" / "test" / NOTEBOOK.stem
    assert json.loads((run / "metrics.json").read_text())["epochs"] == parameters["epochs_long"]
    commit = call("git", "rev-parse", "HEAD", cwd=repository).strip()
    assert json.loads((run / "env.json").read_text())["commit"] == commit
    assert environment.where("numpy", "torch", "torchvision", cwd=content) == before
    added = {name: version for name, version in distributions(environment.site).items() if name not in installed}
    assert set(added) == set(LISTED)
    assert all(version in LISTED[name].specifier for name, version in added.items())


WATCHED = """
import json, sys
started = []
kinds = ("subprocess.", "os.fork", "os.exec", "os.posix_spawn", "os.system", "socket.")
sys.addaudithook(lambda event, args: started.append(event) if event.startswith(kinds) else None)
path = list(sys.path)
try:
    exec(sys.argv[1])
except OSError as error:  # with an empty PATH there is no git
    print(error, file=sys.stderr)
print(json.dumps([started, sys.path == path]))
"""


IN_COLAB = {"COLAB_RELEASE_TAG": "release-colab", "PATH": ""}


def test_in_place_of_a_strangers_repository_it_says_what_to_set(content):
    done = subprocess.run([sys.executable, "-c", BOOTSTRAP], cwd=content, env=IN_COLAB, capture_output=True, text=True)
    assert done.returncode == 1 and "in place of your--name" in done.stderr and list(content.iterdir()) == []


@pytest.mark.parametrize("variables", [{}, IN_COLAB | {"COLORIZE_LAB_URL": "/nowhere"}])
def test_bootstrap_does_nothing_outside_colab_and_starts_a_process_in_it(content, variables, monkeypatch):
    monkeypatch.delenv("COLAB_RELEASE_TAG", raising=False)
    started, same_path = json.loads(call(sys.executable, "-c", WATCHED, BOOTSTRAP, cwd=content, **variables))
    assert ("subprocess.Popen" in started) == bool(variables)
    assert variables or (started == [] and same_path and list(content.iterdir()) == [])
