"""What several tests of the data share: how photographs are found, and where what is made of them goes."""

from pathlib import Path

import pytest

from colorize_lib.data.manifest import PhotoConfig, PhotoSet, find_photographs


@pytest.fixture(scope="session")
def find():
    """Find the photographs of a folder; all of them unless told otherwise."""

    def find(folder: Path, data: Path, size: int = 0, **settings) -> PhotoSet:
        config = PhotoConfig(**({"source": "folder", "folder": str(folder), "n_images": 0} | settings))
        return find_photographs(config, data, size)

    return find


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"
