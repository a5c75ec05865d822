"""The notebooks as they are committed: stripped, thin, alike in form, and in step with the profiles."""

import ast
import re
import subprocess
from itertools import combinations
from pathlib import Path

import pytest
from notebook_tools import (
    NOTEBOOKS,
    ROOT,
    bootstrap_cells,
    code_cells,
    copy_repository,
    parameter_cells,
    parameters,
    read,
)

from profiles import load_profile

MAX_LINES = 15
PROFILES = sorted(path.stem for path in (ROOT / "notebooks" / "profiles").glob("*.yaml"))
TYPES = {"str": str, "int": int, "float": float, "bool": bool, "list": list}
STEPS = {"backward", "step", "zero_grad", "optimize"}  # calls that make a training loop

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def is_import_cell(source: str) -> bool:
    return all(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.parse(source).body)


def nodes(path: Path) -> list[ast.AST]:
    """The syntax trees of all code cells but the bootstrap, flattened. Cells that do not parse raise SyntaxError."""
    bootstrap = bootstrap_cells(path)
    return [node for cell in code_cells(path) if cell not in bootstrap for node in ast.walk(ast.parse(cell.source))]


def calls(tree: ast.AST | list[ast.AST]) -> list[str]:
    """What is called, as it is written: `plots.save`, `history.cut`."""
    walked = tree if isinstance(tree, list) else ast.walk(tree)
    return [ast.unparse(node.func) for node in walked if isinstance(node, ast.Call)]


def test_there_are_notebooks_with_numbers_of_their_own():
    numbers = [path.name[:2] for path in NOTEBOOKS]
    assert numbers[:7] == [f"{n:02d}" for n in range(1, 8)] and numbers[-1] == "09"
    assert len(set(numbers)) == len(numbers)


@every_notebook
def test_is_stripped(path):
    notebook = read(path)
    for cell in code_cells(path):
        assert cell.outputs == []
        assert cell.execution_count is None
    assert all(set(cell.metadata) <= {"tags"} for cell in notebook.cells)
    assert set(notebook.metadata) <= {"kernelspec", "language_info"}
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.metadata.get("language_info", {"name": "python"}) == {"name": "python"}


@every_notebook
def test_opens_with_a_title_and_its_own_colab_badge(path):
    first = read(path).cells[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith(f"# {path.name[:2]} · ")
    repository = re.search(r'"(https://github\.com/[^"]+)"', bootstrap_cells(path)[0].source)[1]
    address = repository.replace("https://github.com/", "https://colab.research.google.com/github/")
    badge = "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
    assert f"\n{badge}({address}/blob/main/{path.relative_to(ROOT).as_posix()})\n" in first.source


@every_notebook
def test_says_what_it_reads_and_writes_and_how_long_it_takes(path):
    first = read(path).cells[0].source
    assert all(word in first for word in ("**Reads**", "**Writes**", "**Takes**"))


@every_notebook
def test_has_the_bootstrap_cell_of_all_notebooks_second(path):
    assert len(bootstrap_cells(path)) == 1
    assert read(path).cells[1] == bootstrap_cells(path)[0]
    assert bootstrap_cells(path)[0].source == bootstrap_cells(NOTEBOOKS[0])[0].source


@every_notebook
def test_parameters_are_plain_typed_literals(path):
    assert len(parameter_cells(path)) == 1
    cell = parameter_cells(path)[0]
    assert cell.cell_type == "code"
    for line in ast.parse(cell.source).body:
        assert isinstance(line, ast.AnnAssign), ast.unparse(line)
        assert isinstance(line.target, ast.Name), ast.unparse(line)
        assert type(ast.literal_eval(line.value)) is TYPES[ast.unparse(line.annotation)], ast.unparse(line)
    names = [line.target.id for line in ast.parse(cell.source).body]
    assert len(set(names)) == len(names)
    assert names[0] == "profile"


@every_notebook
def test_every_parameter_is_used_and_none_is_assigned_again(path):
    others = [cell for cell in code_cells(path) if cell not in parameter_cells(path)]
    names = [node for cell in others for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Name)]
    declared = set(parameters(path))
    assert declared <= {name.id for name in names if isinstance(name.ctx, ast.Load)}
    assert not declared & {name.id for name in names if isinstance(name.ctx, ast.Store)}


@every_notebook
def test_imports_are_in_one_cell_before_the_parameters(path):
    bootstrap = bootstrap_cells(path)
    kinds = (ast.Import, ast.ImportFrom)
    with_imports = [
        cell
        for cell in code_cells(path)
        if cell not in bootstrap and any(isinstance(node, kinds) for node in ast.walk(ast.parse(cell.source)))
    ]
    assert len(with_imports) == 1
    assert is_import_cell(with_imports[0].source)
    cells = read(path).cells
    assert cells.index(with_imports[0]) < cells.index(parameter_cells(path)[0])


@every_notebook
def test_defines_nothing_that_belongs_in_the_library(path):
    definitions = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    assert [ast.unparse(node) for node in nodes(path) if isinstance(node, definitions)] == []


@every_notebook
def test_has_no_training_loop(path):
    """No while, no for over batches or epochs, no for longer than one statement, and no step of an optimiser."""
    tree = nodes(path)
    assert not any(isinstance(node, ast.While | ast.AsyncFor) for node in tree)
    for loop in (node for node in tree if isinstance(node, ast.For | ast.comprehension)):
        names = {node.id for node in ast.walk(loop.iter) if isinstance(node, ast.Name)}
        assert not [name for name in names if name.endswith(("_dl", "loader")) or "epochs" in name]
    assert all(len(loop.body) == 1 for loop in tree if isinstance(loop, ast.For))
    assert not STEPS & {call.split(".")[-1] for call in calls(tree)}


@every_notebook
def test_cells_are_short_and_not_empty(path):
    exempt = [*bootstrap_cells(path), *parameter_cells(path)]
    cells = [cell for cell in code_cells(path) if cell not in exempt and not is_import_cell(cell.source)]
    lengths = {cell.source.splitlines()[0]: len(cell.source.splitlines()) for cell in cells}
    assert {first: lines for first, lines in lengths.items() if lines > MAX_LINES} == {}
    assert all(cell.source.strip() for cell in read(path).cells)


@every_notebook
def test_starts_its_own_run_and_writes_metrics_last(path):
    starts = [node for node in nodes(path) if isinstance(node, ast.Call) and ast.unparse(node.func) == "start_run"]
    assert [[ast.unparse(argument) for argument in call.args] for call in starts] == [["profile", repr(path.stem)]]
    writers = [cell for cell in code_cells(path) if "run.write_metrics" in calls(ast.parse(cell.source))]
    assert writers == code_cells(path)[-1:]


def test_make_badges_stamps_every_badge_and_colab_cell_and_nothing_else(tmp_path):
    copy = copy_repository(tmp_path)
    [owner] = {re.search(r"github\.com/([^\"]+)\"", bootstrap_cells(path)[0].source)[1] for path in NOTEBOOKS}
    before = {path: path.read_text() for path in (*copy.rglob("*.ipynb"), copy / "README.md")}

    def make(name: str) -> subprocess.CompletedProcess:
        return subprocess.run(["make", "badges", f"REPO={name}"], cwd=copy, capture_output=True, text=True)

    for wrong in ("", "colours", "a/b/c", "-a/b", "a'/b", "https://github.com/a/b"):
        done = make(wrong)
        assert done.returncode and "make badges REPO=owner/name" in done.stderr
    assert all(path.read_text() == text for path, text in before.items())
    assert make("some-body/my.lab_2").returncode == 0
    for path, text in before.items():
        assert path.read_text() == text.replace(owner, "some-body/my.lab_2"), path
    assert owner not in "".join(path.read_text() for path in before)
    assert [path.name for path in copy.rglob("*.bak")] == []


def test_a_parameter_has_one_type_and_one_default_in_all_notebooks():
    for one, other in combinations(NOTEBOOKS, 2):
        shared = parameters(one).keys() & parameters(other).keys()
        assert {name: parameters(one)[name] for name in shared} == {name: parameters(other)[name] for name in shared}


@pytest.mark.parametrize("profile", PROFILES)
def test_profile_loads(profile):
    loaded = load_profile(profile, [])
    assert list(loaded) == [path.stem for path in NOTEBOOKS]
    assert all(values["profile"] == profile for values in loaded.values())


def test_the_defaults_are_the_profile_colab():
    loaded = load_profile("colab", [])
    for path in NOTEBOOKS:
        assert loaded[path.stem] == {key: parameters(path)[key] for key in loaded[path.stem]}
