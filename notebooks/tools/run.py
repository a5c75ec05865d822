"""Run notebooks headlessly with a profile: `python notebooks/tools/run.py --profile sample 02_baseline_unet_cgan`.

An executed notebook gets its final name, `outputs/<profile>/<notebook>/<notebook>.ipynb`, only if every cell succeeded.
One that failed is kept beside it as `<notebook>.failed.ipynb`, with the error at its top.

A notebook that trains can be run by several processes, one for each GPU: `--launch="--multi_gpu --num_processes 4"`
takes options of `accelerate launch`. Each process has a kernel of its own; the first leaves the executed notebook.
"""

import argparse
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import nbformat
import papermill
import psutil
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

import inputs
from colorize_lib.files import ROOT, from_root, write_text
from colorize_lib.runs import processes
from colorize_lib.runs.progress import LINES
from profiles import NOTEBOOKS, ProfileError, all_notebooks, find_notebook, load_profile

SECONDS_TO_SAVE = 120.0  # how long an interrupted notebook may take to write its checkpoint
TRAINING = "colorize_lib.training"  # what a notebook imports if it trains
LAUNCHER = ["-m", "accelerate.commands.launch"]


def run_notebook(name: str, profile: str, parameters: dict[str, Any]) -> int:
    """Execute one notebook in a fresh kernel, say how it ended, and return the exit status.

    Of several processes the first one leaves the notebook; in the others it runs and is forgotten.
    """
    final = inputs.executed(profile, name)
    failed = final.with_suffix(".failed.ipynb")
    try:
        with _interrupts_to_kernel() as begun:
            if processes.is_main():
                _execute_and_keep(name, profile, parameters, final, failed, begun)
            else:
                _execute(name, None, parameters, begun)
    except KeyboardInterrupt:
        print(f"\n{name} was stopped before its first cell", file=sys.stderr)
        return 130
    except (PapermillExecutionError, DeadKernelError) as error:
        kind = getattr(error, "ename", type(error).__name__)
        where = f"The whole story: {failed.relative_to(ROOT)}"
        story = where if processes.is_main() else f"(in process {processes.index()})"
        print(f"\n{name} failed: {kind}: {getattr(error, 'evalue', error)}\n{story}", file=sys.stderr)
        return 130 if kind in ("TrainingInterrupted", "KeyboardInterrupt") else 1
    processes.say(f"== done: {final.relative_to(ROOT)}")
    return 0


def _execute_and_keep(
    name: str, profile: str, parameters: dict[str, Any], final: Path, failed: Path, begun: threading.Event
) -> None:
    """Execute a notebook into `final`, with a record of what it read, or into `failed` if anything ends it."""
    record = final.with_name(inputs.RECORD)
    final.parent.mkdir(parents=True, exist_ok=True)
    for old in (record, final, failed):
        old.unlink(missing_ok=True)
    read = inputs.read_by(name, profile, parameters)  # before: the kernel has what was there then
    with tempfile.TemporaryDirectory(dir=final.parent, prefix=".running-") as temporary:
        running = Path(temporary) / final.name
        try:
            _execute(name, running, parameters, begun)
            for index, cell in enumerate(nbformat.read(running, as_version=4).cells):
                if any(output.output_type == "error" for output in cell.get("outputs", [])):
                    # sys.exit(0), which papermill takes for success
                    number, told = cell.execution_count, f"cell [{cell.execution_count}] left the notebook"
                    raise PapermillExecutionError(index, number, cell.source, "UnfinishedNotebook", told, [])
            running.replace(final)
        finally:
            with suppress(ValueError, OSError):  # half a notebook, of a disk that is full, is none
                nbformat.read(running, as_version=4)
                running.replace(failed)
    write_text(record, json.dumps(read, indent=1))


def _execute(name: str, running: Path | None, parameters: dict[str, Any], begun: threading.Event) -> None:
    """Execute a notebook and write it to `running` as it goes; without such a path nothing is written or printed.

    begun: is set when the first cell begins.
    """
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
            on_cell_start=lambda **_: begun.set(),
        )


@contextmanager
def _interrupts_to_kernel() -> Iterator[threading.Event]:
    """While the block runs, a first SIGINT or SIGTERM interrupts the kernel alone, so that training can save and fail.

    A second one acts as it did before; so does one before the event that the block gets is set, as a kernel that has
    only begun to start would lose it or die. The kernel has a session of its own and never sees the terminal's Ctrl-C;
    a launcher of several processes sends SIGTERM when one has failed.
    """
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    begun = threading.Event()

    def interrupt(*_: object) -> None:
        if not begun.is_set():
            raise KeyboardInterrupt
        print("\nstopping after a checkpoint (once more to stop at once)", file=sys.stderr, flush=True)
        restore()
        for kernel in psutil.Process().children():
            kernel.send_signal(signal.SIGINT)

    for number in previous:
        signal.signal(number, interrupt)
    try:
        yield begun
    finally:
        restore()


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("notebooks", nargs="*", help="names or numbers, e.g. 02; none for all, in order")
    parser.add_argument("--profile", default="sample", help="a file of notebooks/profiles (default: %(default)s)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a parameter")
    parser.add_argument("--settings", default="", metavar="TEXT", help="several: key=value key=value ...")
    parser.add_argument("--photos", default="", metavar="DIR", help="your photographs: the same as --set folder=DIR")
    parser.add_argument("--changed", action="store_true", help="only those of which something that they read changed")
    parser.add_argument("--dry-run", action="store_true", help="only say which would be run, and why")
    parser.add_argument("--launch", default="", metavar="OPTIONS", help="train in several processes")
    options = parser.parse_args(argv)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    os.environ[LINES] = "lines"
    # A value ends where another key begins, so it may have spaces.
    options.set += re.split(r"\s+(?=\w+=)", options.settings.strip()) if options.settings.strip() else []
    options.set += [f"folder={options.photos}"] if options.photos else []
    try:
        parameters = load_profile(options.profile, options.set)
        chosen = [find_notebook(name) for name in options.notebooks] or all_notebooks()
        for key in (option.partition("=")[0] for option in options.set):
            if options.notebooks and key != "folder" and not any(key in parameters[name] for name in chosen):
                raise ProfileError(f"--set {key}: {', '.join(chosen)} has no such parameter")
        _refuse_what_cannot_run(chosen, parameters)
    except ProfileError as error:
        print(error, file=sys.stderr)
        return 2
    plan: dict[str, list[str]] = {} if options.changed else dict.fromkeys(chosen, [])
    for name in chosen if options.changed else []:
        changed = inputs.changes(name, options.profile, parameters[name])
        changed += [one for one in inputs.earlier_notebooks(name, options.profile, parameters[name]) if one in plan]
        if changed:
            plan[name] = changed
    for name, changed in plan.items():
        processes.say(f"== {name} [{options.profile}]{' changed: ' * bool(changed)}{', '.join(changed[:3])}")
        if options.dry_run:
            continue
        if options.launch and _trains(name):
            settings = [f"--set={setting}" for setting in options.set]
            status = _launch(options.launch, ["--profile", options.profile, *settings, name])
        else:
            status = run_notebook(name, options.profile, parameters[name])
        if status:
            return status
    return 0


def _launch(options: str, arguments: list[str]) -> int:
    """Run this program in several processes, and return their exit status."""
    process = subprocess.Popen([sys.executable, *LAUNCHER, *shlex.split(options), __file__, *arguments])
    on_ctrl_c = signal.signal(signal.SIGINT, lambda *_: None)  # it reaches them too: wait until they have saved
    on_term = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        return process.wait()
    finally:
        signal.signal(signal.SIGINT, on_ctrl_c)
        signal.signal(signal.SIGTERM, on_term)


def _trains(name: str) -> bool:
    return TRAINING in (NOTEBOOKS / f"{name}.ipynb").read_text()


def _refuse_what_cannot_run(chosen: list[str], parameters: dict[str, dict[str, Any]]) -> None:
    """Raise ProfileError before anything runs if the photographs are not there, or under a launcher of several
    processes unless there is one notebook, which trains: a launcher brings its processes together once."""
    for values in parameters.values():
        given = values.get("folder", "")
        for folder in [given] if from_root(given).is_dir() else given.split(","):
            if given and not (place := from_root(folder.strip())).is_dir():
                what = "is a file, and not a folder of photographs" if place.exists() else "does not exist"
                raise ProfileError(f"the folder of photographs {place} {what}")
    if processes.count() > 1 and len(chosen) > 1:
        raise ProfileError("several processes run one notebook at a time; `--launch` launches each by itself")
    if processes.count() > 1 and not _trains(chosen[0]):
        raise ProfileError(f"{chosen[0]} does not train: run it in one process")


if __name__ == "__main__":
    sys.exit(main())
