"""What a notebook reads, so that it is run again only when something of that changed.

The library's modules are found from the source: what the notebook imports, and what those import in turn.
"""

import ast
import hashlib
import json
import re
from importlib.util import resolve_name
from pathlib import Path
from typing import Any

import nbformat

from colorize_lib.files import ROOT, sha256

NOTEBOOKS, OUTPUTS = ROOT / "notebooks", ROOT / "outputs"
LIBRARY = "colorize_lib"
RUNNER = "notebooks/tools/run.py"
RECORD = ".inputs.json"  # beside an executed notebook: what it read, with digests
BOOTSTRAP, BADGE = "COLAB_RELEASE_TAG", "[![Open in Colab]"  # where the repository's address stands: no result needs it
# By number: the notebooks whose outputs one reads, and other files of the repository.
EARLIER = {"04": "02 03", "06": "02 03 04 05", "09": "01 02 03 04 05 06 07 08"}
ANSWERS = "outputs/{profile}/06_evaluation/human_test/answers/*.csv"
FILES = {"06": ["outputs/published/gan_stage*.json", ANSWERS], "07": ["weights/*"]}
FILES["08"] = ["outputs/published/claims/*", "benchmarks/claims/plan.yaml"]


def executed(profile: str, name: str) -> Path:
    """Where the executed notebook is."""
    return OUTPUTS / profile / name / f"{name}.ipynb"


def read_by(name: str, profile: str, parameters: dict[str, Any]) -> dict[str, str]:
    """All that a notebook reads -> its digest; a file is named by its path from the repository's root."""
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    cells = [cell for cell in notebook.cells if BOOTSTRAP not in cell.source]
    text = "\n".join(line for cell in cells for line in cell.source.splitlines() if not line.startswith(BADGE))
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    files = library_files(code) | {ROOT / RUNNER}
    files |= {path for glob in FILES.get(name[:2], []) for path in ROOT.glob(glob.format(profile=profile))}
    files |= {executed(profile, earlier) for earlier in earlier_notebooks(name, profile, parameters)}
    parts = {"its text": text, "its parameters": json.dumps(parameters, sort_keys=True)}
    return {part: hashlib.sha256(content.encode()).hexdigest() for part, content in parts.items()} | {
        path.relative_to(ROOT).as_posix(): sha256(path) for path in sorted(files) if path.is_file()
    }


def earlier_notebooks(name: str, profile: str, parameters: dict[str, Any]) -> list[str]:
    """The notebooks whose outputs this one reads: those of EARLIER, and one that a parameter names, as in `test/02`."""
    numbers = EARLIER.get(name[:2], "").split()
    numbers += re.findall(rf"\b{re.escape(profile)}/(\d\d)", json.dumps(parameters))
    return sorted(path.stem for number in set(numbers) for path in NOTEBOOKS.glob(f"{number}_*.ipynb"))


def library_files(code: str) -> set[Path]:
    """The library's files that are run when `code` is: what it imports, what those import, and their packages.

    The standard library's modulefinder ends with an error at folders that are no packages, as data/ is.
    """
    found: set[Path] = set()
    waiting = _imports(code)
    while waiting:
        parts = waiting.pop().split(".")
        for depth in range(1, len(parts) + 1) if parts[0] == LIBRARY else ():
            base = ROOT.joinpath(*parts[:depth])
            for path, package in ((base.with_suffix(".py"), parts[: depth - 1]), (base / "__init__.py", parts[:depth])):
                if path.is_file() and path not in found:
                    found.add(path)
                    waiting |= _imports(path.read_text(), ".".join(package))
    return found


def _imports(code: str, package: str = "") -> set[str]:
    """The dotted names that Python code imports: of `from a import b` both a and a.b, as b may be a module."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package)
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return names


def changes(name: str, profile: str, parameters: dict[str, Any]) -> list[str]:
    """What a notebook reads that is not as it was when the notebook was executed; itself if it never was."""
    record = executed(profile, name).with_name(RECORD)
    if not executed(profile, name).is_file() or not record.is_file():
        return [name]
    now, before = read_by(name, profile, parameters), json.loads(record.read_text())
    return [part for part in now | before if now.get(part) != before.get(part)]
