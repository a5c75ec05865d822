"""The headless runner: what it refuses before it starts, what it leaves behind when it ends, and what it runs again."""

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
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from notebook_tools import ROOT

import inputs
import profiles
import run

PARAMETERS = """\
profile: str = "colab"
folder: str = ""
epochs: int = 20
lr: float = 0.0002
deterministic: bool = False
show_at: list = [1, 5]"""


def write_notebook(root: Path, name: str, *cells: str, parameters: str = PARAMETERS, text: str = "# Title") -> None:
    """A notebook of a text, a parameters cell and `cells`, in `root/notebooks`."""
    tagged = new_code_cell(parameters, metadata={"tags": ["parameters"]})
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    cells = [new_markdown_cell(text), tagged, *map(new_code_cell, cells)]
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), root / "notebooks" / f"{name}.ipynb")


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A small project, in which the runner works, started from somewhere else: two notebooks, and a profile `tiny`
    that says nothing."""
    for folder in ("notebooks/profiles", "notebooks/tools", "elsewhere"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / inputs.RUNNER).touch()
    write_notebook(tmp_path, "01_first", "print(profile, folder, epochs)")
    write_notebook(tmp_path, "02_second", "print(size)", parameters='profile: str = "colab"\nsize: int = 256')
    write_profile(tmp_path, "")
    monkeypatch.chdir(tmp_path / "elsewhere")
    for module in (inputs, profiles, run):
        monkeypatch.setattr(module, "ROOT", tmp_path)
        monkeypatch.setattr(module, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(inputs, "OUTPUTS", tmp_path / "outputs")
    return tmp_path


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


def test_a_key_under_all_goes_to_the_notebooks_that_have_it_and_a_section_overrides_it(root):
    write_profile(root, "all: {epochs: 3, size: 32}\n01_first: {epochs: 4}\n")
    loaded = profiles.load_profile("tiny", [])
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
def test_a_profile_that_does_not_fit_is_refused_by_name(root, profile, parts):
    write_profile(root, profile)
    with pytest.raises(profiles.ProfileError) as error:
        profiles.load_profile("tiny", [])
    assert [part for part in parts if part not in str(error.value)] == [], str(error.value)


def test_an_unknown_profile_is_refused_with_the_known_ones(root):
    with pytest.raises(profiles.ProfileError, match="'huge'.*there are tiny"):
        profiles.load_profile("huge", [])


@pytest.mark.parametrize("options", [[], ["lr=1"]])
def test_an_int_becomes_a_float_where_one_is_declared(root, options):
    """As text they differ, and a checkpoint belongs to settings by their text."""
    write_profile(root, "all: {lr: 1}")
    assert repr(profiles.load_profile("tiny", options)["01_first"]["lr"]) == "1.0"


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
def test_set_takes_the_type_that_the_notebook_declares_and_overrides_the_profile(root, option, value):
    write_profile(root, "all: {folder: x, epochs: 1, lr: 1.5, deterministic: false, show_at: []}")
    found = profiles.load_profile("tiny", [option])["01_first"][option.split("=")[0]]
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
def test_set_refuses_what_does_not_fit_and_nothing_runs(root, capsys, option, message):
    assert run.main(["--profile", "tiny", "--set", option]) == 2
    assert message in capsys.readouterr().err
    assert not (root / "outputs").exists()


def test_an_unknown_notebook_is_refused_with_the_known_ones(root, capsys):
    assert run.main(["--profile", "tiny", "03"]) == 2
    assert "no notebook '03'; there are 01_first, 02_second" in capsys.readouterr().err


@pytest.mark.parametrize("target, words", [("run", ["02"]), ("run-all", ["--changed"])])
def test_make_hands_everything_on_and_a_folder_with_spaces_as_one_word(target, words):
    settings = [
        "PROFILE=photos",
        "PHOTOS=/tmp/my photos",
        "SET=epochs=1 lr_G=0.1",
        "LAUNCH=--multi_gpu --num_processes 4",
    ]
    command = ["make", "--dry-run", "--old-file=.venv/.installed", target, "NB=02", *settings]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    line = next(line for line in printed.splitlines() if "run.py" in line)
    given = ["--set", "folder=/tmp/my photos", "--set", "epochs=1", "--set", "lr_G=0.1"]
    given += ["--launch=--multi_gpu --num_processes 4", *words]
    assert shlex.split(line)[1:] == ["notebooks/tools/run.py", "--profile", "photos", *given]


# --- running ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def finished(root):
    """What earlier runs of 01_first left, one that ended well and one that failed."""
    folder = root / "outputs" / "tiny" / "01_first"
    folder.mkdir(parents=True)
    for name in ("01_first.ipynb", "01_first.failed.ipynb"):
        (folder / name).write_text("from an earlier run")


def test_a_finished_notebook_gets_its_final_name_and_leaves_nothing_else(root, finished, capfd, tmp_path_factory):
    """No sockets either, which another run could take; an empty cell at the end does no harm."""
    listing = "import os; print(sorted(os.listdir()))"
    write_notebook(root, "01_first", "print(profile, folder, epochs)", listing, "")
    folder = tmp_path_factory.mktemp("my photos")
    assert run.main(["--profile", "tiny", "--set", f"folder={folder}", "01"]) == 0
    found = outputs(root, "01_first")
    assert sorted(found) == [inputs.RECORD, "01_first.ipynb"]
    text = text_of(found["01_first.ipynb"])
    assert f"tiny {folder} 20" in text and "['elsewhere', 'notebooks', 'outputs']" in text
    assert "== done: outputs/tiny/01_first/01_first.ipynb" in capfd.readouterr().out
    assert sorted(path.name for path in root.iterdir()) == ["elsewhere", "notebooks", "outputs"]
    assert os.listdir() == []  # the folder that it was started from


def test_a_failing_notebook_is_kept_as_failed_and_ends_the_run(root, finished, capfd):
    write_notebook(root, "01_first", "print('so far so good')", "1 / 0", "print('never')")
    assert run.main(["--profile", "tiny"]) == 1
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


@pytest.mark.parametrize(
    "cell, story",
    [
        ("import sys; sys.exit(0)", "UnfinishedNotebook: cell [4] left the notebook"),
        ("import os, time; time.sleep(0.5); os._exit(0)", "DeadKernelError: Kernel died"),
    ],
)
def test_a_notebook_that_leaves_early_or_whose_kernel_dies_is_not_taken_for_done(root, finished, capfd, cell, story):
    write_notebook(root, "01_first", "print('alive')", cell, "print('never')")
    assert run.main(["--profile", "tiny", "01"]) == 1
    found = outputs(root, "01_first")
    assert list(found) == ["01_first.failed.ipynb"]
    assert "alive" in text_of(found["01_first.failed.ipynb"])
    assert f"01_first failed: {story}" in capfd.readouterr().err


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
import time
try:
    print("epoch 1", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(1)
    print("saved")
    raise
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_runner_lets_the_notebook_save_and_ends_the_run(root, monkeypatch, number):
    """The signal is sent when what the notebook prints is seen, which is while it runs."""
    write_notebook(root, "01_first", WAIT, "print('never')")
    monkeypatch.setattr(sys, "stdout", Screen("epoch 1", lambda: os.kill(os.getpid(), number)))
    handler = signal.getsignal(number)
    assert run.main(["--profile", "tiny"]) == 130
    assert signal.getsignal(number) is handler
    text = text_of(outputs(root, "01_first")["01_first.failed.ipynb"])
    assert "saved" in text
    assert "never" not in text
    assert not (root / "outputs" / "tiny" / "02_second").exists()


# --- running again ----------------------------------------------------------------------------------------------------


@pytest.fixture
def ran(root, monkeypatch) -> Callable[..., list[str]]:
    """A function that does what `make run-all` does and says which notebooks it ran; 02 reads what 01 left, and 01
    imports `colorize_lib.used`, which imports `deep` late. No cell is executed."""
    names: list[str] = []

    def execute(name, running, parameters):
        names.append(name)
        nbformat.write(new_notebook(cells=[new_code_cell(f"{len(names)}")]), running)

    library = root / "colorize_lib"
    library.mkdir()
    for module, code in {"used": "def f():\n    from .deep import x", "deep": "x = 1", "other": ""}.items():
        (library / f"{module}.py").write_text(code)
    write_notebook(root, "01_first", "from colorize_lib import used")
    monkeypatch.setattr(run, "_execute", execute)
    monkeypatch.setattr(inputs, "EARLIER", {"02": "01"})

    def ran(*options: str) -> list[str]:
        names.clear()
        assert run.main(["--profile", "tiny", "--changed", *options]) == 0
        return list(names)

    assert ran() == ["01_first", "02_second"] and ran() == []
    return ran


@pytest.mark.parametrize(
    "file, text, expected",
    [
        ("colorize_lib/other.py", "x = 2", []),
        ("colorize_lib/used.py", "from .deep import x", ["01_first", "02_second"]),
        ("colorize_lib/deep.py", "x = 2", ["01_first", "02_second"]),
        ("notebooks/tools/run.py", "x = 2", ["01_first", "02_second"]),
        ("notebooks/profiles/tiny.yaml", "02_second: {size: 32}", ["02_second"]),
        ("notebooks/profiles/tiny.yaml", "all: {epochs: 3}", ["01_first", "02_second"]),
        ("notebooks/profiles/tiny.yaml", "# nothing new", []),
        ("outputs/tiny/01_first/01_first.ipynb", "", ["01_first", "02_second"]),
    ],
)
def test_a_notebook_is_run_again_when_something_that_it_reads_changed(root, ran, file, text, expected):
    (root / file).write_text(text) if text else (root / file).unlink()
    os.utime(root / "colorize_lib" / "deep.py")  # a time is no change
    assert ran("--dry-run") == []  # asking runs nothing
    assert ran() == expected
    assert ran() == []


def test_its_text_counts_but_not_its_address_in_colab(root, ran):
    badge = "[![Open in Colab](badge)](https://colab/{}/01_first.ipynb)"
    write_notebook(root, "01_first", "from colorize_lib import used", text=f"# Title\n{badge.format('a')}")
    write_notebook(root, "01_first", "from colorize_lib import used", text=f"# Title\n{badge.format('b')}")
    assert ran() == []
    write_notebook(root, "01_first", "from colorize_lib import used", text="# Another title")
    assert ran() == ["01_first", "02_second"]


def test_a_setting_counts_while_it_is_given_and_one_that_is_refused_changes_nothing(ran, capsys):
    assert run.main(["--profile", "tiny", "--changed", "--set", "epoch=3"]) == 2
    assert ran() == []
    assert ran("--set", "size=3") == ["02_second"] and ran() == ["02_second"]


def test_one_that_failed_is_run_again(root, ran, monkeypatch):
    works = run._execute
    monkeypatch.setattr(run, "_execute", lambda *_: (_ for _ in ()).throw(run.DeadKernelError("died")))
    assert run.main(["--profile", "tiny", "01"]) == 1
    monkeypatch.setattr(run, "_execute", works)
    assert ran() == ["01_first", "02_second"]


# --- several processes ------------------------------------------------------------------------------------------------


def test_several_processes_run_one_notebook_that_trains(root, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run.main(["--profile", "tiny"]) == 2
    assert "several processes run one notebook at a time" in capsys.readouterr().err
    assert run.main(["--profile", "tiny", "01"]) == 2
    assert "01_first does not train: run it in one process" in capsys.readouterr().err
    assert not (root / "outputs").exists()


def test_only_the_notebooks_that_train_are_launched(root, monkeypatch):
    """Here in one process, which leaves what it always leaves."""
    monkeypatch.setattr(run, "_run_one", lambda name, *_: done.append(name) or 0)
    monkeypatch.setattr(run, "_launch", lambda *words: launched.append(words) or 0)
    launched, done = [], []
    write_notebook(root, "01_first", "from colorize_lib.training import loop")
    assert run.main(["--profile", "tiny", "--set", "epochs=3", "--launch=--multi_gpu --num_processes 4"]) == 0
    assert done == ["02_second"]
    assert launched == [("--multi_gpu --num_processes 4", ["--profile", "tiny", "--set=epochs=3", "01_first"])]


def test_a_launcher_is_waited_for_through_ctrl_c(monkeypatch, tmp_path):
    """Ctrl-C reaches the launcher by itself; this process stays until it has ended, and has its exit status."""
    child = "import os, signal, sys, time; os.kill(os.getppid(), signal.SIGINT); time.sleep(1); sys.exit(130)"
    (tmp_path / "launch.py").write_text(child)
    monkeypatch.setattr(run, "LAUNCHER", [str(tmp_path / "launch.py")])
    before = signal.getsignal(signal.SIGINT)
    assert run._launch("--num_processes 2", ["02"]) == 130
    assert signal.getsignal(signal.SIGINT) is before


def test_of_several_processes_only_the_first_leaves_a_notebook(root, finished, monkeypatch, capfd):
    """The kernel has the launcher's variables, and the notebook runs, but nothing is printed or kept."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    seen = "import os, pathlib; pathlib.Path('seen').write_text(os.environ['RANK'])"
    write_notebook(root, "01_first", "# import colorize_lib.training", seen, "1 / 0")
    before = {name: path.read_text() for name, path in outputs(root, "01_first").items()}
    assert run.main(["--profile", "tiny", "01"]) == 1
    assert (root / "seen").read_text() == "1"
    assert {name: path.read_text() for name, path in outputs(root, "01_first").items()} == before
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "ZeroDivisionError: division by zero\n(in process 1)" in captured.err
