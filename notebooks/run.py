"""Run notebooks headlessly with a profile: `python notebooks/run.py --profile sample 02_baseline_unet_cgan`.

An executed notebook gets its final name, `outputs/<profile>/<notebook>/<notebook>.ipynb`, only if every cell succeeded.
One that failed is kept beside it as `<notebook>.failed.ipynb`, with the error at its top.

A notebook that trains can be run by several processes at once, one for each GPU:
`accelerate launch --multi_gpu --num_processes 4 notebooks/run.py --profile colab 02`. Each has a kernel of its own,
which inherits from the launcher where the others are; that of the first process leaves the executed notebook.
"""

import argparse
import difflib
import os
import signal
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import papermill
import psutil
import yaml
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from colorize_lib.files import ROOT, from_root
from colorize_lib.runs import processes
from colorize_lib.runs.progress import LINES

NOTEBOOKS = ROOT / "notebooks"
SECONDS_TO_SAVE = 120.0  # how long an interrupted notebook may take to write its checkpoint
TRAINING = "colorize_lib.training"  # the module that a notebook imports if it trains
EVERYWHERE = "all"  # the section of a profile whose keys go to every notebook that has them


class ProfileError(ValueError):
    """A profile or a --set option that does not fit the notebooks; the message names the key."""


class UnfinishedNotebook(RuntimeError):
    """A notebook that left in the middle without failing."""


def all_notebooks() -> list[str]:
    """Names of the numbered notebooks, in order."""
    return sorted(path.stem for path in NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))


def load_profile(name: str, overrides: list[str]) -> dict[str, dict[str, Any]]:
    """Notebook -> parameters, from `profiles/<name>.yaml` and `key=value` overrides (YAML values).

    The file has a section `all`, for every notebook that has the key, and sections by notebook. Overrides come last.
    Raises ProfileError for a key that no notebook has, a section that is no notebook, or a value of the wrong type.
    """
    path = NOTEBOOKS / "profiles" / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml")))
        raise ProfileError(f"there is no profile {name!r}; there are {known}")
    profile = _mapping(_parsed(path.read_text(), path.name), path.name)
    known = {nb: papermill.inspect_notebook(str(NOTEBOOKS / f"{nb}.ipynb")) for nb in all_notebooks()}
    parameters: dict[str, dict[str, Any]] = {nb: {"profile": name} for nb in known}
    for section, values in profile.items():
        where = f"{path.name}, section {section}"
        if section not in (EVERYWHERE, *known):
            raise ProfileError(f"{path.name}: there is no notebook {section!r}; there are {', '.join(known)}")
        targets = list(known) if section == EVERYWHERE else [section]
        _assign(parameters, known, targets, _mapping(values, where), where)
    for option in overrides:
        key, equals, value = option.partition("=")
        if not equals:
            raise ProfileError(f"--set {option!r}: write key=value")
        _assign(parameters, known, list(known), {key: _Text(value)}, f"--set {option}")
    return parameters


def _assign(parameters: dict, known: dict, targets: list[str], values: dict, where: str) -> None:
    """Put each value into the targets that have the key."""
    for key, value in values.items():
        if key == "profile":
            raise ProfileError(f"{where}: 'profile' is no setting; choose the profile with --profile")
        holders = [notebook for notebook in targets if key in known.get(notebook, {})]
        if not holders:
            near = difflib.get_close_matches(key, {name for of in targets for name in known[of]}, n=1)
            hint = f", did you mean {near[0]!r}?" if near else "."
            raise ProfileError(
                f"{where}: no notebook has the parameter {key!r}{hint} The parameters stand in the first cells of "
                f"{', '.join(targets)}."
            )
        for notebook in holders:
            declared = known[notebook][key]["inferred_type_name"]
            parameters[notebook][key] = _checked(value, declared, f"{where}: {key}")


def _parsed(text: str, where: str) -> Any:
    """The value of a YAML text."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ProfileError(f"{where}: {error}") from error


def _mapping(value: Any, where: str) -> dict:
    """`value`, if it is a mapping; nothing at all is an empty one."""
    if not isinstance(value, dict | None):
        raise ProfileError(f"{where}: {value!r} is no list of `key: value`")
    return value or {}


class _Text(str):
    """A value from the command line: itself where the notebook declares a str, YAML where it declares anything else."""


def _checked(value: Any, declared: str, where: str) -> Any:
    """`value`, if it has the type that the notebook declares; an int for a float becomes one, as 20 and 20.0 would be
    different settings to a checkpoint."""
    if isinstance(value, _Text):
        value = str(value) if declared == "str" else _parsed(value, where)
    types = {"str": str, "int": int, "float": (int, float), "bool": bool, "list": list}
    fits = isinstance(value, types[declared]) and (declared == "bool") == isinstance(value, bool)
    if not fits:
        hint = " (in YAML, write 0.0002 and not 2e-4)" if declared == "float" and isinstance(value, str) else ""
        raise ProfileError(f"{where} is {value!r}, which is no {declared}{hint}")
    return float(value) if declared == "float" else value


def run_notebook(name: str, profile: str, parameters: dict[str, Any]) -> Path:
    """Execute one notebook in a fresh kernel and return where the executed copy is.

    Of several processes the first one leaves it; in the others the notebook runs and is forgotten.
    Raises PapermillExecutionError if a cell fails, DeadKernelError if the kernel dies and UnfinishedNotebook if a cell
    leaves, after the failed copy is written.
    """
    folder = ROOT / "outputs" / profile / name
    final, failed = folder / f"{name}.ipynb", folder / f"{name}.failed.ipynb"
    if not processes.is_main():
        with _interrupts_to_kernel():
            _execute(name, None, parameters)
        return final
    folder.mkdir(parents=True, exist_ok=True)
    final.unlink(missing_ok=True)
    failed.unlink(missing_ok=True)
    # A launcher of several processes sends SIGTERM when one has failed: the failed copy is to be written all the same.
    with _interrupts_to_kernel(), tempfile.TemporaryDirectory(dir=folder, prefix=".running-") as temporary:
        running = Path(temporary) / final.name
        try:
            _execute(name, running, parameters)
            _refuse_unfinished(running)
        except BaseException:
            if running.exists():
                running.replace(failed)
            raise
        running.replace(final)
    return final


def _execute(name: str, running: Path | None, parameters: dict[str, Any]) -> None:
    """Execute a notebook and write it to `running` as it goes; without such a path nothing is written or printed."""
    # Sockets in a folder of their own: the default names are shared by all notebooks that start in one place.
    with tempfile.TemporaryDirectory(prefix="kernel-") as sockets:
        kernel = {"shutdown_wait_time": SECONDS_TO_SAVE, "transport": "ipc", "ip": f"{sockets}/socket"}
        papermill.execute_notebook(
            str(NOTEBOOKS / f"{name}.ipynb"),
            running and str(running),
            parameters,
            kernel_name="python3",
            cwd=str(ROOT),
            progress_bar=False,
            autosave_cell_every=30,
            stdout_file=running and sys.stdout,
            stderr_file=running and sys.stderr,
            config=Config(KernelManager=kernel),
        )


@contextmanager
def _interrupts_to_kernel() -> Iterator[None]:
    """While the block runs, a first SIGINT or SIGTERM interrupts the kernel alone, so that training can save and fail.

    A second signal acts as it did before. The kernel has a session of its own and never sees the terminal's Ctrl-C.
    """
    previous = {}

    def interrupt(number: int, frame: object) -> None:
        print("\nstopping after a checkpoint (once more to stop at once)", file=sys.stderr, flush=True)
        for signal_number, handler in previous.items():
            signal.signal(signal_number, handler)
        for kernel in psutil.Process().children():
            kernel.send_signal(signal.SIGINT)

    for number in (signal.SIGINT, signal.SIGTERM):
        previous[number] = signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _refuse_unfinished(path: Path) -> None:
    """Raise UnfinishedNotebook if a cell left with sys.exit(0), which papermill takes for success."""
    for cell in nbformat.read(path, as_version=4).cells:
        if any(output.output_type == "error" for output in cell.get("outputs", [])):
            raise UnfinishedNotebook(f"cell [{cell.execution_count}] left the notebook")


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("notebooks", nargs="*", help="names or numbers, e.g. 02; none for all, in order")
    parser.add_argument("--profile", default="sample", help="a file of notebooks/profiles (default: %(default)s)")
    parser.add_argument("--check", action="store_true", help="only check the profile and the settings")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a parameter")
    options = parser.parse_args(argv)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    os.environ[LINES] = "lines"
    try:
        parameters = load_profile(options.profile, options.set)
        chosen = [_find(name) for name in options.notebooks] or all_notebooks()
        _refuse_several_processes(chosen)
        _refuse_missing_folder(parameters)
    except ProfileError as error:
        print(error, file=sys.stderr)
        return 2
    if options.check:
        return 0
    for name in chosen:
        processes.say(f"== {name} [{options.profile}]")
        try:
            processes.say(f"== done: {run_notebook(name, options.profile, parameters[name]).relative_to(ROOT)}")
        except (PapermillExecutionError, DeadKernelError, UnfinishedNotebook) as error:
            failed = (ROOT / "outputs" / options.profile / name / f"{name}.failed.ipynb").relative_to(ROOT)
            kind = getattr(error, "ename", type(error).__name__)
            what = getattr(error, "evalue", error)
            story = f"The whole story: {failed}" if processes.is_main() else f"(in process {processes.index()})"
            print(f"\n{name} failed: {kind}: {what}\n{story}", file=sys.stderr)
            return 130 if kind in ("TrainingInterrupted", "KeyboardInterrupt") else 1
    return 0


def _refuse_missing_folder(parameters: dict[str, dict[str, Any]]) -> None:
    """Raise ProfileError before anything is run if the folder of photographs is not there."""
    for values in parameters.values():
        if values.get("folder") and not (folder := from_root(values["folder"])).is_dir():
            raise ProfileError(f"the folder of photographs {folder} does not exist")


def _refuse_several_processes(chosen: list[str]) -> None:
    """Raise ProfileError under a launcher of several processes unless there is one notebook to run, which trains.

    A launcher brings its processes together once, so every notebook needs a launcher of its own.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return
    if len(chosen) > 1:
        raise ProfileError("several processes run one notebook at a time; `make run-all` launches each by itself")
    if TRAINING not in (NOTEBOOKS / f"{chosen[0]}.ipynb").read_text():
        raise ProfileError(f"{chosen[0]} does not train: run it in one process")


def _find(name: str) -> str:
    """The notebook with this name, or number."""
    matches = [notebook for notebook in all_notebooks() if notebook == name or notebook.startswith(f"{name}_")]
    if not matches:
        raise ProfileError(f"there is no notebook {name!r}; there are {', '.join(all_notebooks())}")
    return matches[0]


if __name__ == "__main__":
    sys.exit(main())
