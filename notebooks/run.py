"""Run notebooks headlessly with a profile: `python notebooks/run.py --profile sample 02_baseline_unet_cgan`.

An executed notebook gets its final name, `outputs/<profile>/<notebook>/<notebook>.ipynb`, only if every cell succeeded.
One that failed is kept beside it as `<notebook>.failed.ipynb`, with the error at its top.
"""

import argparse
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import nbformat
import papermill
import yaml
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from colorize_lib.progress import LINES
from colorize_lib.sources import ROOT

NOTEBOOKS = ROOT / "notebooks"
SECONDS_TO_SAVE = 120.0  # how long an interrupted notebook may take to write its checkpoint
EVERYWHERE = "all"  # the section of a profile whose keys go to every notebook that has them


class ProfileError(ValueError):
    """A profile or a --set option that does not fit the notebooks; the message names the key."""


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
    profile = yaml.safe_load(path.read_text()) or {}
    known = {nb: papermill.inspect_notebook(str(NOTEBOOKS / f"{nb}.ipynb")) for nb in all_notebooks()}
    parameters: dict[str, dict[str, Any]] = {nb: {"profile": name} for nb in known}
    for section, values in profile.items():
        targets = list(known) if section == EVERYWHERE else [section]
        _assign(parameters, known, targets, values or {}, f"{path.name}, section {section}")
    for option in overrides:
        key, equals, value = option.partition("=")
        if not equals:
            raise ProfileError(f"--set {option!r}: write key=value")
        _assign(parameters, known, list(known), {key: _Text(value)}, f"--set {option}")
    return parameters


def _assign(parameters: dict, known: dict, targets: list[str], values: dict, where: str) -> None:
    """Put each value into the targets that have the key."""
    for key, value in values.items():
        holders = [notebook for notebook in targets if key in known.get(notebook, {})]
        if not holders:
            raise ProfileError(f"{where}: no notebook has the parameter {key!r} (notebooks: {', '.join(known)})")
        for notebook in holders:
            declared = known[notebook][key]["inferred_type_name"]
            parameters[notebook][key] = _checked(value, declared, f"{where}: {key}")


class _Text(str):
    """A value from the command line: itself where the notebook declares a str, YAML where it declares anything else."""


def _checked(value: Any, declared: str, where: str) -> Any:
    """`value`, if it has the type that the notebook declares; an int will do for a float."""
    if isinstance(value, _Text):
        value = str(value) if declared == "str" else yaml.safe_load(value)
    types = {"str": str, "int": int, "float": (int, float), "bool": bool, "list": list}
    fits = isinstance(value, types[declared]) and (declared == "bool") == isinstance(value, bool)
    if not fits:
        hint = " (in YAML, write 0.0002 and not 2e-4)" if declared == "float" and isinstance(value, str) else ""
        raise ProfileError(f"{where} is {value!r}, which is no {declared}{hint}")
    return value


def run_notebook(name: str, profile: str, parameters: dict[str, Any]) -> Path:
    """Execute one notebook in a fresh kernel and return where the executed copy is.

    Raises PapermillExecutionError if a cell fails, after the failed copy is written.
    """
    folder = ROOT / "outputs" / profile / name
    folder.mkdir(parents=True, exist_ok=True)
    final, failed = folder / f"{name}.ipynb", folder / f"{name}.failed.ipynb"
    final.unlink(missing_ok=True)
    failed.unlink(missing_ok=True)
    # papermill takes sys.exit(0) in a cell for success; the last cell must have run as well.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".running-") as temporary:
        running = Path(temporary) / final.name
        try:
            papermill.execute_notebook(
                str(NOTEBOOKS / f"{name}.ipynb"),
                str(running),
                parameters,
                kernel_name="python3",
                cwd=str(ROOT),
                progress_bar=False,
                autosave_cell_every=30,
                stdout_file=sys.stdout,
                stderr_file=sys.stderr,
                config=Config(KernelManager={"shutdown_wait_time": SECONDS_TO_SAVE, "transport": "ipc"}),
            )
            _refuse_unfinished(running)
        except BaseException:
            if running.exists():
                running.replace(failed)
            raise
        running.replace(final)
    return final


def _refuse_unfinished(path: Path) -> None:
    """Raise RuntimeError unless the notebook's last code cell was executed."""
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    if cells[-1].execution_count is None:
        raise RuntimeError(f"{path.stem} ended before its last cell")


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("notebooks", nargs="*", help="names or numbers, e.g. 02; none for all, in order")
    parser.add_argument("--profile", default="sample", help="a file of notebooks/profiles (default: %(default)s)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a parameter")
    options = parser.parse_args(argv)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    os.environ[LINES] = "lines"
    try:
        parameters = load_profile(options.profile, options.set)
        chosen = [_find(name) for name in options.notebooks] or all_notebooks()
    except ProfileError as error:
        print(error, file=sys.stderr)
        return 2
    for name in chosen:
        print(f"== {name} [{options.profile}]", flush=True)
        try:
            print(f"== done: {run_notebook(name, options.profile, parameters[name]).relative_to(ROOT)}", flush=True)
        except PapermillExecutionError as error:
            failed = (ROOT / "outputs" / options.profile / name / f"{name}.failed.ipynb").relative_to(ROOT)
            print(f"\n{name} failed: {error.ename}: {error.evalue}\nThe whole story: {failed}", file=sys.stderr)
            return 130 if error.ename in ("TrainingInterrupted", "KeyboardInterrupt") else 1
    return 0


def _find(name: str) -> str:
    """The notebook with this name, or number."""
    matches = [notebook for notebook in all_notebooks() if notebook == name or notebook.startswith(f"{name}_")]
    if not matches:
        raise ProfileError(f"there is no notebook {name!r}; there are {', '.join(all_notebooks())}")
    return matches[0]


if __name__ == "__main__":
    sys.exit(main())
