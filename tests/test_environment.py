"""One list of dependencies, in pyproject.toml: environment.yml, requirements.lock and Colab's list agree with it."""

import importlib.metadata
import re
import tomllib
from itertools import product

import pytest
import yaml
from notebook_tools import COLAB_LIST, NOTEBOOKS, ROOT, bootstrap_cells, colab_requirements, requirements
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
GROUPS: dict[str, list[str]] = PROJECT["optional-dependencies"]
LOCK = (ROOT / "requirements.lock").read_text()

SYSTEMS = {
    "linux": {"sys_platform": "linux", "os_name": "posix", "platform_system": "Linux", "platform_machine": "x86_64"},
    "macos": {"sys_platform": "darwin", "os_name": "posix", "platform_system": "Darwin", "platform_machine": "arm64"},
}
PYTHONS = ["3.11", "3.12", "3.13"]


NEEDED = requirements(PROJECT["dependencies"])
EVERYTHING = NEEDED | requirements([line for group in GROUPS.values() for line in group])


def locked() -> list[tuple[Requirement, list[str]]]:
    """The lock's entries, each with its hashes."""
    entries = []
    for line in LOCK.replace("\\\n", " ").splitlines():
        if line and not line.lstrip().startswith("#"):
            requirement, *hashes = line.split("--hash=")
            entries.append((Requirement(requirement), [text.strip() for text in hashes]))
    return entries


def applies(marker: Marker | None, system: str, python: str) -> bool:
    versions = {"python_version": python, "python_full_version": f"{python}.9"}
    return marker is None or marker.evaluate(SYSTEMS[system] | versions)


# --- environment.yml --------------------------------------------------------------------------------------------------


@pytest.fixture
def conda():
    return yaml.safe_load((ROOT / "environment.yml").read_text())


def test_conda_has_the_python_of_pyproject(conda):
    python = next(Requirement(line) for line in conda["dependencies"] if str(line).startswith("python"))
    assert python.specifier == SpecifierSet(PROJECT["requires-python"])


def test_conda_takes_every_dependency_from_pyproject(conda):
    """Only Python and pip stand beside the project itself, so no package can be in one list and not in the other."""
    by_conda = [Requirement(line).name for line in conda["dependencies"] if isinstance(line, str)]
    by_pip = [line["pip"] for line in conda["dependencies"] if isinstance(line, dict)]
    assert by_conda == ["python", "pip"]
    assert len(by_pip) == 1
    groups = re.fullmatch(r"-e \.\[([a-z,]+)\]", *by_pip[0])[1].split(",")
    assert sorted(groups) == sorted(GROUPS)


def test_conda_environment_is_the_projects(conda):
    assert (conda["name"], conda["channels"]) == (PROJECT["name"], ["conda-forge"])


# --- pyproject.toml and requirements.lock -----------------------------------------------------------------------------


def test_every_dependency_has_a_lower_bound():
    for name, need in EVERYTHING.items():
        assert ">=" in {one.operator for one in need.specifier}, name


@pytest.mark.parametrize("system, python", list(product(SYSTEMS, PYTHONS)))
def test_lock_satisfies_every_requirement(system, python):
    assert python in SpecifierSet(PROJECT["requires-python"])
    chosen: dict[str, list[str]] = {name: [] for name in EVERYTHING}
    for entry, _ in locked():
        if canonicalize_name(entry.name) in chosen and applies(entry.marker, system, python):
            (pin,) = entry.specifier
            assert pin.operator == "=="
            chosen[canonicalize_name(entry.name)].append(pin.version)
    for name, need in EVERYTHING.items():
        if applies(need.marker, system, python):
            assert len(chosen[name]) == 1, f"{name} is locked {len(chosen[name])} times"
            assert chosen[name][0] in need.specifier, f"{need}, locked {chosen[name][0]}"


def test_lock_was_made_for_these_requirements():
    """What the lock says it took from pyproject.toml is what stands there, so nothing that was dropped is installed."""
    taken, entry = set(), ""
    for line in LOCK.splitlines():
        entry = line.split("==")[0] if "==" in line and not line.startswith(" ") else entry
        if re.fullmatch(rf" +# +(via )?{PROJECT['name']} \(pyproject\.toml\)", line):
            taken.add(canonicalize_name(entry))
    assert taken == set(EVERYTHING)


def test_every_locked_entry_has_hashes():
    entries = locked()
    assert len(entries) > len(EVERYTHING)
    for entry, hashes in entries:
        assert hashes, f"{entry} has no hash"
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in hashes), entry


def test_lock_names_no_host():
    for word in ("://", "--index-url", "--extra-index-url", "--find-links", "--trusted-host", "@ file"):
        assert word not in LOCK


# --- Colab ------------------------------------------------------------------------------------------------------------


def test_colab_gets_what_pyproject_asks_for_and_what_that_needs():
    """An entry is a dependency with its bounds, or belongs to one of those."""
    entries = colab_requirements()
    assert entries
    lines = [line for name in entries for line in importlib.metadata.requires(name) or []]
    owned = requirements([line for line in lines if "extra ==" not in line])
    for name, entry in entries.items():
        assert name in EVERYTHING or name in owned, f"{name} is in nobody's list"
        if name in EVERYTHING:
            assert entry.specifier == EVERYTHING[name].specifier
        assert {one.operator for one in entry.specifier} == {">="}
        assert importlib.metadata.version(name) in entry.specifier


def test_nothing_in_colab_can_move_its_numpy_or_torch():
    """They are not on the list, and what is on it comes without its dependencies."""
    assert not {"numpy", "torch", "torchvision", "scikit-image", "pandas", "pillow"} & set(colab_requirements())
    options = [line for line in COLAB_LIST.read_text().splitlines() if line.startswith("-")]
    assert options == []
    for path in NOTEBOOKS:
        (cell,) = bootstrap_cells(path)
        installs = [line for line in cell.source.splitlines() if '"install"' in line]
        assert len(installs) == 1
        assert '"--no-deps", "-r", packages]' in installs[0]
        assert 'os.path.join(clone, "notebooks", "colab-requirements.txt")' in cell.source


def test_the_installed_packages_are_those_that_pyproject_asks_for():
    """The environment that runs these tests is one that the other tests here speak of."""
    for name, need in EVERYTHING.items():
        assert importlib.metadata.version(name) in need.specifier


def test_citation_is_of_this_project():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    found = {key: citation[key] for key in ("cff-version", "title", "version", "license")}
    project = {key: PROJECT[key] for key in ("name", "version", "license")}
    assert list(found.values()) == ["1.2.0", *project.values()]


def test_ci_runs_every_python_with_actions_that_nobody_can_move():
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert yaml.safe_load(workflow)["jobs"]["test"]["strategy"]["matrix"]["python"] == PYTHONS
    actions = re.findall(r"uses: *\S+?@(\S+)", workflow)
    assert len(actions) == 2 and all(re.fullmatch(r"[0-9a-f]{40}", commit) for commit in actions)
