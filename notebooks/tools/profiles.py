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
    for notebook in all_notebooks():
        if notebook == name or notebook.startswith(f"{name}_"):
            return notebook
    raise ProfileError(f"there is no notebook {name!r}; there are {', '.join(all_notebooks())}")


def load_profile(name: str, overrides: list[str]) -> dict[str, dict[str, Any]]:
    """Notebook -> parameters, from `profiles/<name>.yaml` and `key=value` overrides (YAML values), which come last.

    The file has a section `all`, for every notebook that has the key, and sections by notebook.
    Raises ProfileError for a key that no notebook has, a section that is no notebook, or a value of the wrong type.
    """
    path = NOTEBOOKS / "profiles" / f"{name}.yaml"
    if not path.is_file():
        there = ", ".join(sorted(one.stem for one in path.parent.glob("*.yaml")))
        raise ProfileError(f"there is no profile {name!r}; there are {there}")
    known = {
        notebook: {key: of["inferred_type_name"] for key, of in papermill.inspect_notebook(str(file)).items()}
        for notebook in all_notebooks()
        for file in [NOTEBOOKS / f"{notebook}.ipynb"]
    }
    types = {key: declared for of in known.values() for key, declared in of.items()}  # one type in all notebooks
    sections = _mapping(_parsed(path.read_text(), path.name), path.name)
    settings = [(f"{path.name}, section {section}", section, values) for section, values in sections.items()]
    for option in overrides:
        key, equals, text = option.partition("=")
        if not equals:
            raise ProfileError(f"--set {option!r}: write key=value")
        value = text if types.get(key) == "str" else _parsed(text, f"--set {option}")
        settings.append((f"--set {option}", EVERYWHERE, {key: value}))

    parameters: dict[str, dict[str, Any]] = {notebook: {"profile": name} for notebook in known}
    for where, section, values in settings:
        if section not in (EVERYWHERE, *known):
            raise ProfileError(f"{where}: there is no notebook {section!r}; there are {', '.join(known)}")
        targets = list(known) if section == EVERYWHERE else [section]
        for key, value in _mapping(values, where).items():
            if key == "profile":
                raise ProfileError(f"{where}: 'profile' is no setting; choose the profile with --profile")
            holders = [notebook for notebook in targets if key in known[notebook]]
            if not holders:
                near = difflib.get_close_matches(str(key), {one for target in targets for one in known[target]}, n=1)
                hint = f", did you mean {near[0]!r}?" if near else ""
                raise ProfileError(f"{where}: no notebook has the parameter {key!r}{hint} ({', '.join(targets)})")
            for notebook in holders:
                parameters[notebook][key] = _checked(value, types[key], f"{where}: {key}")
    return parameters


def _parsed(text: str, where: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ProfileError(f"{where}: {error}") from error


def _mapping(value: Any, where: str) -> dict:
    if not isinstance(value, dict | None):
        raise ProfileError(f"{where}: {value!r} is no list of `key: value`")
    return value or {}


def _checked(value: Any, declared: str, where: str) -> Any:
    """`value`, if it has the declared type; an int for a float becomes one, as 20 and 20.0 differ to a checkpoint."""
    if not isinstance(value, TYPES[declared]) or (declared == "bool") != isinstance(value, bool):
        hint = " (in YAML, write 0.0002 and not 2e-4)" if declared == "float" and isinstance(value, str) else ""
        raise ProfileError(f"{where} is {value!r}, which is no {declared}{hint}")
    return float(value) if declared == "float" else value
