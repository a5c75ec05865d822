"""The photographs that packages ship, and the showcase made of them."""

import numpy as np
import pytest
from PIL import Image

from colorize_lib.color import lab_to_rgb, to_uint8
from colorize_lib.data import sources
from colorize_lib.data.manifest import PhotoConfig, find_photographs
from colorize_lib.data.shipped import old_photographs, package_photographs, sample_split, showcase
from colorize_lib.images import is_greyscale, read_rgb, resize


def test_the_packages_ship_the_eight_photographs():
    photographs = package_photographs()
    assert len(photographs) == 8
    for path in photographs.values():
        with Image.open(path) as image:
            assert min(image.size) >= 300


def test_photographs_that_were_always_grey_are_there_and_grey():
    for path in old_photographs().values():
        assert is_greyscale(Image.open(path).convert("RGB"))


def pictures_of(names: list[str], size: int) -> np.ndarray:
    return np.stack([resize(read_rgb(package_photographs()[name].read_bytes()), size) for name in names])


@pytest.mark.parametrize("source", ["folder", "coco", "imagenet"])
def test_the_showcase_is_the_eight_photographs_where_no_run_trains_on_them(source):
    shown = showcase(source, 0, 48)
    assert shown["L"].shape == (8, 1, 48, 48)
    assert shown["ab"].shape == (8, 2, 48, 48)
    assert np.array_equal(to_uint8(lab_to_rgb(**shown)), pictures_of(list(package_photographs()), 48))


@pytest.mark.parametrize("seed", [0, 3])
def test_the_showcase_of_sample_is_what_validates(seed, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "SAMPLE_CROPS", 2)
    config = PhotoConfig(source="sample", n_images=0, seed=seed)
    names = [name for name, split in sample_split(seed).items() if split == "val"]
    shown = showcase("sample", seed, 48)
    assert np.array_equal(to_uint8(lab_to_rgb(**shown)), pictures_of(names, 48))
    usable = find_photographs(config, tmp_path).usable
    trained_on = set(usable.path[usable.split == "train"].str.split("/").str[0])
    assert not trained_on & set(names)
    assert len(trained_on) == 6
