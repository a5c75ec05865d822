"""The notebooks as they are committed: stripped, thin, alike in form, and in step with the profiles."""

import ast
import re
import subprocess
from pathlib import Path

import pytest
from notebook_tools import NOTEBOOKS, ROOT, bootstrap_cells, code_cells, copy_repository, parameter_cells, read

from profiles import load_profile

MAX_LINES = 15
PROFILES = sorted(path.stem for path in (ROOT / "notebooks" / "profiles").glob("*.yaml"))
TYPES = {"str": str, "int": int, "float": float, "bool": bool, "list": list}
STEPS = {"backward", "step", "zero_grad", "optimize"}  # calls that make a training loop
IMPORTS = (ast.Import, ast.ImportFrom)
DEFINITIONS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def nodes(*sources: str) -> list[ast.AST]:
    """The syntax trees of some cells, flattened. Cells that do not parse raise SyntaxError."""
    return [node for source in sources for node in ast.walk(ast.parse(source))]


def own_cells(path: Path) -> list[str]:
    """The code that is the notebook's own: without the bootstrap cell and the parameters."""
    others = [*bootstrap_cells(path), *parameter_cells(path)]
    return [cell.source for cell in code_cells(path) if cell not in others]


def calls(*sources: str) -> list[str]:
    """What is called, as it is written: `plots.save`, `history.cut`."""
    return [ast.unparse(node.func) for node in nodes(*sources) if isinstance(node, ast.Call)]


def parameters(path: Path) -> dict[str, object]:
    """Name -> default."""
    return {line.target.id: ast.literal_eval(line.value) for line in ast.parse(parameter_cells(path)[0].source).body}


def test_there_are_notebooks_with_numbers_of_their_own():
    numbers = [path.name[:2] for path in NOTEBOOKS]
    assert numbers[:7] == [f"{n:02d}" for n in range(1, 8)] and numbers[-1] == "09"
    assert len(set(numbers)) == len(numbers)


@every_notebook
def test_is_stripped(path):
    notebook = read(path)
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code_cells(path))
    assert all(set(cell.metadata) <= {"tags"} and cell.source.strip() for cell in notebook.cells)
    assert set(notebook.metadata) <= {"kernelspec", "language_info"}
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.metadata.get("language_info", {"name": "python"}) == {"name": "python"}


@every_notebook
def test_opens_with_title_badge_and_what_it_needs_and_then_the_bootstrap_cell_of_all_notebooks(path):
    first, second = read(path).cells[:2]
    assert first.cell_type == "markdown" and first.source.startswith(f"# {path.name[:2]} · ")
    repository = re.search(r'"(https://github\.com/[^"]+)"', second.source)[1]
    address = repository.replace("https://github.com/", "https://colab.research.google.com/github/")
    badge = "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
    assert f"\n{badge}({address}/blob/main/{path.relative_to(ROOT).as_posix()})\n" in first.source
    assert all(word in first.source for word in ("**Reads**", "**Writes**", "**Takes**"))
    assert bootstrap_cells(path) == [second]
    assert second.source == bootstrap_cells(NOTEBOOKS[0])[0].source


@every_notebook
def test_parameters_are_plain_typed_literals_that_are_used_and_never_assigned_again(path):
    (cell,) = parameter_cells(path)
    assert cell.cell_type == "code"
    lines = ast.parse(cell.source).body
    for line in lines:
        assert isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name), ast.unparse(line)
        assert type(ast.literal_eval(line.value)) is TYPES[ast.unparse(line.annotation)], ast.unparse(line)
    assert len(parameters(path)) == len(lines) and list(parameters(path))[0] == "profile"
    names = [node for node in nodes(*own_cells(path)) if isinstance(node, ast.Name)]
    assert set(parameters(path)) <= {name.id for name in names if isinstance(name.ctx, ast.Load)}
    assert not set(parameters(path)) & {name.id for name in names if isinstance(name.ctx, ast.Store)}


@every_notebook
def test_imports_are_in_one_cell_before_the_parameters(path):
    (cell,) = [source for source in own_cells(path) if any(isinstance(node, IMPORTS) for node in nodes(source))]
    assert all(isinstance(node, IMPORTS) for node in ast.parse(cell).body)
    sources = [one.source for one in read(path).cells]
    assert sources.index(cell) < sources.index(parameter_cells(path)[0].source)


@every_notebook
def test_defines_nothing_that_belongs_in_the_library_and_has_no_training_loop(path):
    """No while, no for over batches or epochs, no for longer than one statement, and no step of an optimiser."""
    tree = nodes(*own_cells(path))
    assert not [ast.unparse(node) for node in tree if isinstance(node, (*DEFINITIONS, ast.While, ast.AsyncFor))]
    for loop in (node for node in tree if isinstance(node, ast.For | ast.comprehension)):
        names = {node.id for node in ast.walk(loop.iter) if isinstance(node, ast.Name)}
        assert not [name for name in names if name.endswith(("_dl", "loader")) or "epochs" in name]
        assert isinstance(loop, ast.comprehension) or len(loop.body) == 1
    assert not STEPS & {call.split(".")[-1] for call in calls(*own_cells(path))}


@every_notebook
def test_cells_are_short(path):
    cells = [cell for cell in own_cells(path) if not isinstance(ast.parse(cell).body[0], IMPORTS)]
    assert [cell for cell in cells if len(cell.splitlines()) > MAX_LINES] == []


@every_notebook
def test_starts_its_own_run_and_writes_metrics_last(path):
    cells = own_cells(path)
    assert f"start_run(profile, {path.stem!r}" in ast.unparse(ast.parse("\n".join(cells)))
    assert calls(*cells).count("start_run") == 1
    assert [cell for cell in cells if "run.write_metrics" in calls(cell)] == cells[-1:]


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


def test_a_parameter_has_one_type_and_one_default_in_all_notebooks_that_of_the_profile_colab():
    defaults = {(name, repr(value)) for path in NOTEBOOKS for name, value in parameters(path).items()}
    assert len(defaults) == len(dict(defaults))
    loaded = load_profile("colab", [])
    for path in NOTEBOOKS:
        assert loaded[path.stem].items() <= parameters(path).items()


@pytest.mark.parametrize("profile", PROFILES)
def test_profile_loads(profile):
    loaded = load_profile(profile, [])
    assert list(loaded) == [path.stem for path in NOTEBOOKS]
    assert all(values["profile"] == profile for values in loaded.values())
