"""The headless runner: what it refuses before it starts, what it leaves behind when it ends, and what it runs again."""

import io
import json
import os
import signal
import subprocess
import sys
import time
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


def write_profile(root: Path, text: str) -> None:
    (root / "notebooks" / "profiles" / "tiny.yaml").write_text(text)


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


def outputs(root: Path, name: str = "01_first") -> dict[str, Path]:
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
    "profile, message",
    [
        ("all: {epoch: 3}", "tiny.yaml, section all: no notebook has the parameter 'epoch', did you mean 'epochs'"),
        ("02_second: {epochs: 3}", "section 02_second.*'epochs'"),  # only 01_first has it
        ("03_third:", "tiny.yaml.*'03_third'.*01_first, 02_second"),
        ("all: 3", "section all"),
        ("- all", "tiny.yaml"),
        ("all: {epochs: [}", "tiny.yaml"),
        ("all: {lr: 2e-4}", "lr is '2e-4'.*no float.*write 0.0002 and not 2e-4"),
        ("all: {lr: true}", "lr is True.*no float"),
        ("all: {epochs: 2.5}", "epochs is 2.5.*no int"),
        ("all: {epochs: true}", "epochs is True.*no int"),
        ("all: {deterministic: 1}", "deterministic is 1.*no bool"),
        ("all: {folder: no}", "folder is False.*no str"),
        ("all: {show_at: 5}", "show_at is 5.*no list"),
        ("all: {profile: other}", "'profile'.*--profile"),
    ],
)
def test_a_profile_that_does_not_fit_is_refused_by_name(root, profile, message):
    write_profile(root, profile)
    with pytest.raises(profiles.ProfileError, match=message):
        profiles.load_profile("tiny", [])


@pytest.mark.parametrize(
    "option, value",
    [
        ("folder=no", "no"),  # text stays text, whatever YAML would make of it
        ("folder=12", "12"),
        ("folder=my photos/summer = 2024", "my photos/summer = 2024"),
        ("folder=", ""),
        ("epochs=3", 3),
        ("lr=0.001", 0.001),
        ("lr=1", 1.0),  # an int would be another setting to a checkpoint
        ("deterministic=true", True),
        ("show_at=[1, 3]", [1, 3]),
    ],
)
def test_set_takes_the_type_that_the_notebook_declares_and_overrides_the_profile(root, option, value):
    write_profile(root, "all: {folder: x, epochs: 1, lr: 1.5, deterministic: false, show_at: []}")
    found = profiles.load_profile("tiny", [option])["01_first"][option.split("=")[0]]
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(
    "words, message",
    [
        (["--set", "epochs=many"], "epochs is 'many', which is no int"),
        (["--set", "epochs="], "epochs is None, which is no int"),
        (["--set", "lr=2e-4"], "write 0.0002 and not 2e-4"),
        (["--set", "show_at=[1,"], "show_at"),
        (["--set", "epoch=3"], "no notebook has the parameter 'epoch', did you mean 'epochs'?"),
        (["--set", "folder=/no/such/folder"], "the folder of photographs /no/such/folder does not exist"),
        (["--set", "epochs"], "write key=value"),
        (["--set", "profile=other"], "--profile"),
        (["03"], "no notebook '03'; there are 01_first, 02_second"),
        (["--profile", "huge"], "no profile 'huge'; there are tiny"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_runs(root, capsys, words, message):
    assert run.main(["--profile", "tiny", *words]) == 2
    assert message in capsys.readouterr().err
    assert not (root / "outputs").exists()


@pytest.mark.parametrize("target, words", [("run", ["02"]), ("run-all", ["--changed"])])
def test_make_hands_everything_on_as_it_is(target, words, tmp_path):
    """Spaces, quotes, dollars and commas too."""
    (tmp_path / "told.py").write_text("import json, sys; print(json.dumps(sys.argv[1:]))")
    photos, settings = "/x/Anna's photos, $5", "epochs=1 judged=ResNet18, L1 (03) lr_G=0.1"
    values = ["PROFILE=photos", f"PHOTOS={photos}", f"SET={settings}", "LAUNCH=--multi_gpu -n 4"]
    command = ["make", "--silent", "--old-file=.venv/.installed", target, "NB=02", *values]
    command.append(f"PY={sys.executable} {tmp_path / 'told.py'}")
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    given = ["--profile", "photos", "--photos", photos, "--settings", settings, "--launch=--multi_gpu -n 4"]
    assert json.loads(printed) == ["notebooks/tools/run.py", *given, *words]


def test_settings_end_where_the_next_key_begins(root, capsys):
    run.main(["--profile", "tiny", "--settings", "folder=/x/my photos, 1 epochs=many", "02"])
    assert "--set epochs=many: epochs is 'many', which is no int" in capsys.readouterr().err
    run.main(["--profile", "tiny", "--photos", "/x/my photos, /y"])
    assert "the folder of photographs /x/my photos does not exist" in capsys.readouterr().err
    (root / "file").touch()
    run.main(["--profile", "tiny", "--photos", str(root / "file")])
    assert "is a file, and not a folder of photographs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "reason"),
    [([], "say which: make clean PROFILE=sample"), (["PROFILE="], "there is no profile ''")]
    + [([f"PROFILE={name}"], f"there is no profile '{name}'") for name in ("published", "..", "no such")],
)
def test_clean_deletes_a_profiles_own_folder_alone(given, reason):
    done = subprocess.run(["make", "--dry-run", "clean", *given], cwd=ROOT, capture_output=True, text=True)
    assert "rm -rf" in done.stdout and '"outputs/$LAB_PROFILE"' in done.stdout.replace("$$", "$")
    done = subprocess.run(["make", "clean", *given], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0 and reason in done.stderr and (ROOT / "outputs" / "published").is_dir()


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
    found = outputs(root)
    assert sorted(found) == [inputs.RECORD, "01_first.ipynb"]
    text = text_of(found["01_first.ipynb"])
    assert f"tiny {folder} 20" in text and "['elsewhere', 'notebooks', 'outputs']" in text
    assert "== done: outputs/tiny/01_first/01_first.ipynb" in capfd.readouterr().out
    assert sorted(path.name for path in root.iterdir()) == ["elsewhere", "notebooks", "outputs"]
    assert os.listdir() == []  # the folder that it was started from


@pytest.mark.parametrize(
    "cell, story",
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import sys; sys.exit(0)", "UnfinishedNotebook: cell [4] left the notebook"),
        ("import os, time; time.sleep(0.5); os._exit(0)", "DeadKernelError: Kernel died"),
    ],
)
def test_a_notebook_that_fails_leaves_early_or_dies_is_kept_as_failed_and_ends_the_run(
    root, finished, capfd, cell, story
):
    write_notebook(root, "01_first", "print('so far so good')", cell, "print('never')")
    assert run.main(["--profile", "tiny"]) == 1
    assert list(outputs(root)) == ["01_first.failed.ipynb"]
    failed = outputs(root)["01_first.failed.ipynb"]
    assert "so far so good" in text_of(failed) and "never" not in text_of(failed)
    if "/ 0" in cell:
        assert story in text_of(failed) and "encountered" in nbformat.read(failed, as_version=4).cells[0].source
    error = capfd.readouterr().err
    assert f"01_first failed: {story}" in error and "outputs/tiny/01_first/01_first.failed.ipynb" in error
    assert not (root / "outputs" / "tiny" / "02_second").exists()


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
    text = text_of(outputs(root)["01_first.failed.ipynb"])
    assert "saved" in text and "never" not in text
    assert not (root / "outputs" / "tiny" / "02_second").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_first_cell_is_not_lost(root, monkeypatch, capsys, number):
    def starting(*_):
        os.kill(os.getpid(), number)
        time.sleep(5)
        raise AssertionError("the signal was lost")

    monkeypatch.setattr(run, "_execute", starting)
    assert run.main(["--profile", "tiny"]) == 130
    assert "01_first was stopped before its first cell" in capsys.readouterr().err


# --- running again ----------------------------------------------------------------------------------------------------


@pytest.fixture
def ran(root, monkeypatch) -> Callable[..., list[str]]:
    """A function that does what `make run-all` does and says which notebooks it ran; 02 reads what 01 left, and 01
    imports `colorize_lib.used`, which imports `deep` late. No cell is executed."""
    names: list[str] = []

    def execute(name, running, parameters, begun):
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
    for text, expected in (("# Title\n[![Open in Colab](badge)](a)", []), ("# Other", ["01_first", "02_second"])):
        write_notebook(root, "01_first", "from colorize_lib import used", text=text)
        assert ran() == expected


def test_a_setting_counts_while_it_is_given_and_one_that_failed_is_run_again(ran, monkeypatch):
    assert ran("--set", "size=3") == ["02_second"] and ran() == ["02_second"]
    with monkeypatch.context() as patch:
        patch.setattr(run, "_execute", lambda *_: (_ for _ in ()).throw(run.DeadKernelError("died")))
        assert run.main(["--profile", "tiny", "01"]) == 1
    assert ran() == ["01_first", "02_second"]


# --- several processes ------------------------------------------------------------------------------------------------


def test_several_processes_run_one_notebook_that_trains(root, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for words, message in (([], "several processes run one notebook"), (["01"], "01_first does not train")):
        assert run.main(["--profile", "tiny", *words]) == 2
        assert message in capsys.readouterr().err
    assert not (root / "outputs").exists()


def test_only_the_notebooks_that_train_are_launched(root, monkeypatch):
    monkeypatch.setattr(run, "run_notebook", lambda name, *_: done.append(name) or 0)
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
    assert run.main(["--profile", "tiny", "01"]) == 1
    assert (root / "seen").read_text() == "1"
    assert {path.read_text() for path in outputs(root).values()} == {"from an earlier run"}
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "ZeroDivisionError: division by zero\n(in process 1)" in captured.err
