"""The headless runner: what it refuses before it starts, and what it leaves behind when it ends."""

import io
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from notebook_tools import NOTEBOOKS, ROOT, load_runner

PARAMETERS = """\
profile: str = "colab"
folder: str = ""
epochs: int = 20
lr: float = 0.0002
deterministic: bool = False
show_at: list = [1, 5]"""


def write_notebook(root: Path, name: str, *cells: str, parameters: str = PARAMETERS) -> None:
    """A notebook of a parameters cell and `cells`, in `root/notebooks`."""
    tagged = new_code_cell(parameters, metadata={"tags": ["parameters"]})
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    notebook = new_notebook(cells=[tagged, *map(new_code_cell, cells)], metadata={"kernelspec": kernel})
    nbformat.write(notebook, root / "notebooks" / f"{name}.ipynb")


@pytest.fixture
def root(tmp_path):
    """A small project: two notebooks, and a profile `tiny` that says nothing."""
    (tmp_path / "notebooks" / "profiles").mkdir(parents=True)
    write_notebook(tmp_path, "01_first", "print(profile, folder, epochs)")
    write_notebook(tmp_path, "02_second", "print(size)", parameters='profile: str = "colab"\nsize: int = 256')
    write_profile(tmp_path, "")
    return tmp_path


@pytest.fixture
def runner(root, monkeypatch):
    """The runner, at work in the small project and started from somewhere else."""
    elsewhere = root / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    module = load_runner()
    monkeypatch.setattr(module, "ROOT", root)
    monkeypatch.setattr(module, "NOTEBOOKS", root / "notebooks")
    return module


def write_profile(root: Path, text: str) -> None:
    (root / "notebooks" / "profiles" / "tiny.yaml").write_text(text)


def outputs(root: Path, name: str) -> dict[str, Path]:
    """File name -> path of all that running a notebook has left in the outputs."""
    return {path.name: path for path in (root / "outputs" / "tiny" / name).iterdir()}


def text_of(path: Path) -> str:
    """All that an executed notebook shows: text, and errors as `name: message`."""
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    shown = [output for cell in cells for output in cell.outputs]
    return "\n".join(out.text if out.output_type == "stream" else f"{out.ename}: {out.evalue}" for out in shown)


# --- profiles and overrides -------------------------------------------------------------------------------------------


def test_a_key_under_all_goes_to_the_notebooks_that_have_it_and_a_section_overrides_it(root, runner):
    write_profile(root, "all: {epochs: 3, size: 32}\n01_first: {epochs: 4}\n")
    loaded = runner.load_profile("tiny", [])
    assert loaded == {"01_first": {"profile": "tiny", "epochs": 4}, "02_second": {"profile": "tiny", "size": 32}}


@pytest.mark.parametrize(
    "profile, parts",
    [
        ("all: {epoch: 3}", ["tiny.yaml", "section all", "'epoch'"]),
        ("02_second: {epochs: 3}", ["section 02_second", "'epochs'"]),  # only 01_first has it
        ("03_third: {epochs: 3}", ["tiny.yaml", "'03_third'", "01_first, 02_second"]),
        ("03_third:", ["'03_third'"]),
        ("epochs: 3", ["'epochs'"]),
        ("all: 3", ["section all"]),
        ("- all", ["tiny.yaml"]),
        ("all: {epochs: [}", ["tiny.yaml"]),
        ("all: {lr: 2e-4}", ["lr is '2e-4'", "no float", "write 0.0002 and not 2e-4"]),
        ("all: {lr: true}", ["lr is True", "no float"]),
        ("all: {epochs: 2.5}", ["epochs is 2.5", "no int"]),
        ("all: {epochs: true}", ["epochs is True", "no int"]),
        ("all: {deterministic: 1}", ["deterministic is 1", "no bool"]),
        ("all: {folder: no}", ["folder is False", "no str"]),
        ("all: {show_at: 5}", ["show_at is 5", "no list"]),
        ("all: {profile: other}", ["'profile'", "--profile"]),
    ],
)
def test_a_profile_that_does_not_fit_is_refused_by_name(root, runner, profile, parts):
    write_profile(root, profile)
    with pytest.raises(runner.ProfileError) as error:
        runner.load_profile("tiny", [])
    assert [part for part in parts if part not in str(error.value)] == [], str(error.value)


def test_an_unknown_profile_is_refused_with_the_known_ones(root, runner):
    with pytest.raises(runner.ProfileError, match="'huge'.*there are tiny"):
        runner.load_profile("huge", [])


@pytest.mark.parametrize("options", [[], ["lr=1"]])
def test_an_int_becomes_a_float_where_one_is_declared(root, runner, options):
    """As text they differ, and a checkpoint belongs to settings by their text."""
    write_profile(root, "all: {lr: 1}")
    assert repr(runner.load_profile("tiny", options)["01_first"]["lr"]) == "1.0"


@pytest.mark.parametrize(
    "option, value",
    [
        ("folder=photos", "photos"),
        ("folder=no", "no"),  # text stays text, whatever YAML would make of it
        ("folder=12", "12"),
        ("folder=my photos/summer = 2024", "my photos/summer = 2024"),
        ("folder=", ""),
        ("epochs=3", 3),
        ("lr=0.001", 0.001),
        ("deterministic=true", True),
        ("show_at=[1, 3]", [1, 3]),
    ],
)
def test_set_takes_the_type_that_the_notebook_declares_and_overrides_the_profile(root, runner, option, value):
    write_profile(root, "all: {folder: x, epochs: 1, lr: 1.5, deterministic: false, show_at: []}")
    found = runner.load_profile("tiny", [option])["01_first"][option.split("=")[0]]
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(
    "option, message",
    [
        ("epochs=many", "epochs is 'many', which is no int"),
        ("epochs=", "epochs is None, which is no int"),
        ("lr=2e-4", "write 0.0002 and not 2e-4"),
        ("deterministic=1", "which is no bool"),
        ("show_at=[1,", "show_at"),
        ("epoch=3", "no notebook has the parameter 'epoch', did you mean 'epochs'?"),
        ("folder=/no/such/folder", "the folder of photographs /no/such/folder does not exist"),
        ("epochs", "write key=value"),
        ("profile=other", "--profile"),
    ],
)
def test_set_refuses_what_does_not_fit_and_nothing_runs(root, runner, capsys, option, message):
    assert runner.main(["--profile", "tiny", "--set", option]) == 2
    assert message in capsys.readouterr().err
    assert not (root / "outputs").exists()


def test_an_unknown_notebook_is_refused_with_the_known_ones(root, runner, capsys):
    assert runner.main(["--profile", "tiny", "03"]) == 2
    assert "no notebook '03'; there are 01_first, 02_second" in capsys.readouterr().err


def test_checking_runs_nothing(root, runner, capsys):
    assert runner.main(["--profile", "tiny", "--check", "--set", "epochs=3"]) == 0
    assert runner.main(["--profile", "tiny", "--check", "--set", "epoch=3"]) == 2
    assert not (root / "outputs").exists()


def test_make_hands_a_folder_with_spaces_to_the_runner_as_one_word():
    command = ["make", "--dry-run", "run", "NB=02", "PROFILE=photos", "PHOTOS=/tmp/my photos", "SET=epochs=1 lr_G=0.1"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    line = next(line for line in printed.splitlines() if "notebooks/run.py" in line)
    given = ["--set", "folder=/tmp/my photos", "--set", "epochs=1", "--set", "lr_G=0.1", "02"]
    assert shlex.split(line)[1:] == ["notebooks/run.py", "--profile", "photos", *given]


def test_make_launches_the_notebooks_that_train_in_several_processes():
    launch = "--multi_gpu --num_processes 4"
    for number in ("02", "05_cifar10_cgan", "06"):
        command = ["make", "--dry-run", "run", f"NB={number}", f"LAUNCH={launch}"]
        printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        line = next(line for line in printed.splitlines() if "notebooks/run.py" in line)
        launcher = "" if number == "06" else f"-m accelerate.commands.launch {launch}"
        assert " ".join(line.split()[1:]).startswith(f"{launcher} notebooks/run.py --profile sample".strip())


# --- running ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def finished(root):
    """What earlier runs of 01_first left, one that ended well and one that failed."""
    folder = root / "outputs" / "tiny" / "01_first"
    folder.mkdir(parents=True)
    for name in ("01_first.ipynb", "01_first.failed.ipynb"):
        (folder / name).write_text("from an earlier run")


def test_a_finished_notebook_gets_its_final_name_and_leaves_nothing_else(
    root, runner, finished, capfd, tmp_path_factory
):
    folder = tmp_path_factory.mktemp("my photos")
    assert runner.main(["--profile", "tiny", "--set", f"folder={folder}", "01"]) == 0
    found = outputs(root, "01_first")
    assert list(found) == ["01_first.ipynb"]
    assert f"tiny {folder} 20" in text_of(found["01_first.ipynb"])
    assert "== done: outputs/tiny/01_first/01_first.ipynb" in capfd.readouterr().out
    assert sorted(path.name for path in root.iterdir()) == ["elsewhere", "notebooks", "outputs"]
    assert os.listdir() == []  # the folder that it was started from


def test_a_failing_notebook_is_kept_as_failed_and_ends_the_run(root, runner, finished, capfd):
    write_notebook(root, "01_first", "print('so far so good')", "1 / 0", "print('never')")
    assert runner.main(["--profile", "tiny"]) == 1
    found = outputs(root, "01_first")
    assert list(found) == ["01_first.failed.ipynb"]
    text = text_of(found["01_first.failed.ipynb"])
    assert "so far so good" in text
    assert "ZeroDivisionError: division by zero" in text
    assert "never" not in text
    assert "encountered" in nbformat.read(found["01_first.failed.ipynb"], as_version=4).cells[0].source
    error = capfd.readouterr().err
    assert "01_first failed: ZeroDivisionError: division by zero" in error
    assert "outputs/tiny/01_first/01_first.failed.ipynb" in error
    assert not (root / "outputs" / "tiny" / "02_second").exists()


@pytest.mark.parametrize("cells", [["import sys; sys.exit(0)", "print('never')"], ["import sys; sys.exit()"]])
def test_a_notebook_that_leaves_early_without_an_error_is_not_taken_for_done(root, runner, finished, capfd, cells):
    write_notebook(root, "01_first", *cells)
    assert runner.main(["--profile", "tiny", "01"]) == 1
    assert list(outputs(root, "01_first")) == ["01_first.failed.ipynb"]
    assert "01_first failed: UnfinishedNotebook: cell [3] left the notebook" in capfd.readouterr().err


def test_a_kernel_that_dies_is_a_failure(root, runner, finished, capfd):
    write_notebook(root, "01_first", "print('alive')", "import os, time; time.sleep(0.5); os._exit(0)")
    assert runner.main(["--profile", "tiny", "01"]) == 1
    found = outputs(root, "01_first")
    assert list(found) == ["01_first.failed.ipynb"]
    assert "alive" in text_of(found["01_first.failed.ipynb"])
    assert "01_first failed: DeadKernelError: Kernel died" in capfd.readouterr().err


def test_the_kernel_leaves_no_sockets_where_another_run_could_take_them(root, runner):
    write_notebook(root, "01_first", "import os", "print(sorted(os.listdir()))")
    assert runner.main(["--profile", "tiny", "01"]) == 0
    assert "['elsewhere', 'notebooks', 'outputs']" in text_of(outputs(root, "01_first")["01_first.ipynb"])


def test_an_empty_cell_at_the_end_does_no_harm(root, runner):
    write_notebook(root, "01_first", "print('done')", "")
    assert runner.main(["--profile", "tiny", "01"]) == 0


def test_an_interrupted_notebook_has_the_exit_status_of_an_interrupt(root, runner):
    write_notebook(root, "01_first", "raise KeyboardInterrupt")
    assert runner.main(["--profile", "tiny", "01"]) == 130
    assert list(outputs(root, "01_first")) == ["01_first.failed.ipynb"]


class Screen(io.StringIO):
    """A stdout that calls `answer` once `word` is on it."""

    def __init__(self, word: str, answer: Callable[[], None]):
        super().__init__()
        self.word, self.answer = word, answer

    def write(self, text: str) -> int:
        if self.word in text:
            self.answer()
        return super().write(text)


WAIT = """\
import pathlib, time
try:
    print("epoch 1", flush=True)
    answer, end = pathlib.Path("answer"), time.monotonic() + 60
    while not answer.exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert answer.exists(), "nobody saw what was printed"
except KeyboardInterrupt:
    time.sleep(1)
    print("saved")
    raise
"""


def test_what_a_notebook_prints_is_seen_while_it_runs(root, runner, monkeypatch):
    """The cell waits, in the project's root, until what it printed has been seen."""
    write_notebook(root, "01_first", WAIT)
    screen = Screen("epoch 1", (root / "answer").touch)
    monkeypatch.setattr(sys, "stdout", screen)
    assert runner.main(["--profile", "tiny", "01"]) == 0
    assert screen.getvalue().index("== 01_first") < screen.getvalue().index("epoch 1")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_runner_lets_the_notebook_save_and_ends_the_run(root, runner, monkeypatch, number):
    write_notebook(root, "01_first", WAIT, "print('never')")
    monkeypatch.setattr(sys, "stdout", Screen("epoch 1", lambda: os.kill(os.getpid(), number)))
    handler = signal.getsignal(number)
    assert runner.main(["--profile", "tiny"]) == 130
    assert signal.getsignal(number) is handler
    text = text_of(outputs(root, "01_first")["01_first.failed.ipynb"])
    assert "saved" in text
    assert "never" not in text
    assert not (root / "outputs" / "tiny" / "02_second").exists()


# --- several processes ------------------------------------------------------------------------------------------------


def test_several_processes_run_one_notebook_that_trains(root, runner, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert runner.main(["--profile", "tiny"]) == 2
    assert "several processes run one notebook at a time" in capsys.readouterr().err
    assert runner.main(["--profile", "tiny", "01"]) == 2
    assert "01_first does not train: run it in one process" in capsys.readouterr().err
    assert not (root / "outputs").exists()


def test_the_notebooks_that_make_launches_are_those_that_train():
    training = [path.name[:2] for path in NOTEBOOKS if load_runner().TRAINING in path.read_text()]
    [line] = [line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("TRAINING")]
    assert line.split(":=")[1].split() == [f"{number}%" for number in training]


@pytest.mark.parametrize("cell, status", [("print('trained')", 0), ("1 / 0", 1)])
def test_of_several_processes_only_the_first_leaves_a_notebook(
    root, runner, finished, monkeypatch, capfd, cell, status
):
    """The kernel has the launcher's variables, and the notebook runs, but nothing is printed or kept."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    seen = "import os, pathlib; pathlib.Path('seen').write_text(os.environ['RANK'])"
    write_notebook(root, "01_first", "# import colorize_lib.training", seen, cell)
    before = {name: path.read_text() for name, path in outputs(root, "01_first").items()}
    assert runner.main(["--profile", "tiny", "01"]) == status
    assert (root / "seen").read_text() == "1"
    assert {name: path.read_text() for name, path in outputs(root, "01_first").items()} == before
    captured = capfd.readouterr()
    assert captured.out == ""
    assert ("ZeroDivisionError: division by zero\n(in process 1)" in captured.err) == bool(status)
