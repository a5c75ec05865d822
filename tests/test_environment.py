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
    lines = [line for line in LOCK.replace("\\\n", " ").splitlines() if line and not line.lstrip().startswith("#")]
    split = [line.split("--hash=") for line in lines]
    return [(Requirement(requirement), [text.strip() for text in hashes]) for requirement, *hashes in split]


def applies(marker: Marker | None, system: str, python: str) -> bool:
    versions = {"python_version": python, "python_full_version": f"{python}.9"}
    return marker is None or marker.evaluate(SYSTEMS[system] | versions)


def test_conda_has_the_python_of_pyproject_and_takes_every_dependency_from_there():
    """Only Python and pip stand beside the project itself, so no package can be in one list and not in the other."""
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert (conda["name"], conda["channels"]) == (PROJECT["name"], ["conda-forge"])
    python, pip, by_pip = conda["dependencies"]
    assert Requirement(python) == Requirement(f"python{PROJECT['requires-python']}") and pip == "pip"
    groups = re.fullmatch(r"-e \.\[([a-z,]+)\]", *by_pip["pip"])[1].split(",")
    assert sorted(groups) == sorted(GROUPS)


def test_every_dependency_has_a_lower_bound_and_is_installed():
    """The environment that runs these tests is one that the other tests here speak of."""
    for name, need in EVERYTHING.items():
        assert ">=" in {one.operator for one in need.specifier}, name
        assert importlib.metadata.version(name) in need.specifier


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
            (version,) = chosen[name]
            assert version in need.specifier, f"{need}, locked {version}"


def test_lock_was_made_for_these_requirements_has_hashes_and_names_no_host():
    """What the lock says it took from pyproject.toml is what stands there, so nothing that was dropped is installed."""
    taken, entry = set(), ""
    for line in LOCK.splitlines():
        entry = line.split("==")[0] if "==" in line and not line.startswith(" ") else entry
        if re.fullmatch(rf" +# +(via )?{PROJECT['name']} \(pyproject\.toml\)", line):
            taken.add(canonicalize_name(entry))
    assert taken == set(EVERYTHING)
    assert len(locked()) > len(EVERYTHING)
    for one, hashes in locked():
        assert hashes and all(re.fullmatch(r"sha256:[0-9a-f]{64}", digest) for digest in hashes), one
    hosts = ("://", "--index-url", "--extra-index-url", "--find-links", "--trusted-host", "@ file")
    assert [word for word in hosts if word in LOCK] == []


def test_colab_gets_what_pyproject_asks_for_and_what_that_needs():
    """An entry is a dependency with its bounds, or belongs to one of those."""
    entries = colab_requirements()
    lines = [line for name in entries for line in importlib.metadata.requires(name) or []]
    owned = requirements([line for line in lines if "extra ==" not in line])
    assert entries
    for name, entry in entries.items():
        assert name in EVERYTHING or name in owned, f"{name} is in nobody's list"
        assert name not in EVERYTHING or entry.specifier == EVERYTHING[name].specifier
        assert {one.operator for one in entry.specifier} == {">="}
        assert importlib.metadata.version(name) in entry.specifier


def test_nothing_in_colab_can_move_its_numpy_or_torch():
    """They are not on the list, and what is on it comes without its dependencies."""
    assert not {"numpy", "torch", "torchvision", "scikit-image", "pandas", "pillow"} & set(colab_requirements())
    assert not [line for line in COLAB_LIST.read_text().splitlines() if line.startswith("-")]
    source = bootstrap_cells(NOTEBOOKS[0])[0].source  # that of all notebooks
    (install,) = [line for line in source.splitlines() if '"install"' in line]
    assert '"--no-deps", "-r", packages]' in install
    assert 'os.path.join(clone, "notebooks", "colab-requirements.txt")' in source


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
