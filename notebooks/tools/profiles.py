"""Profiles: the parameters that each notebook gets, checked against the types that its parameters cell declares.

Papermill only warns of a parameter that no notebook has, and takes text for a number; here both are refused.
"""

import difflib
from typing import Any

import papermill
import yaml

from colorize_lib.files import ROOT

NOTEBOOKS = ROOT / "notebooks"
EVERYWHERE = "all"  # the section of a profile whose keys go to every notebook that has them
TYPES = {"str": str, "int": int, "float": (int, float), "bool": bool, "list": list}


class ProfileError(ValueError):
    """A profile or a --set option that does not fit the notebooks; the message names the key."""


def all_notebooks() -> list[str]:
    """Names of the numbered notebooks, in order."""
    return sorted(path.stem for path in NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))


def find_notebook(name: str) -> str:
    """The notebook with this name, or number. Raises ProfileError."""
    matches = [notebook for notebook in all_notebooks() if notebook == name or notebook.startswith(f"{name}_")]
    if not matches:
        raise ProfileError(f"there is no notebook {name!r}; there are {', '.join(all_notebooks())}")
    return matches[0]


def load_profile(name: str, overrides: list[str]) -> dict[str, dict[str, Any]]:
    """Notebook -> parameters, from `profiles/<name>.yaml` and `key=value` overrides (YAML values), which come last.

    The file has a section `all`, for every notebook that has the key, and sections by notebook.
    Raises ProfileError for a key that no notebook has, a section that is no notebook, or a value of the wrong type.
    """
    path = NOTEBOOKS / "profiles" / f"{name}.yaml"
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml")))
        raise ProfileError(f"there is no profile {name!r}; there are {there}")
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
        holders = [notebook for notebook in targets if key in known[notebook]]
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
    fits = isinstance(value, TYPES[declared]) and (declared == "bool") == isinstance(value, bool)
    if not fits:
        hint = " (in YAML, write 0.0002 and not 2e-4)" if declared == "float" and isinstance(value, str) else ""
        raise ProfileError(f"{where} is {value!r}, which is no {declared}{hint}")
    return float(value) if declared == "float" else value
