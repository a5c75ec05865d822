"""The photographs that packages ship, and the showcase made of them."""

import numpy as np
import pytest
from PIL import Image

from colorize_lib.color import lab_to_rgb, to_uint8
from colorize_lib.data.shipped import old_photographs, package_photographs, sample_split, showcase
from colorize_lib.images import is_greyscale, read_rgb, resize


def test_the_packages_ship_eight_photographs_in_colour_and_some_that_were_always_grey():
    assert len(package_photographs()) == 8
    for shipped, grey in ((package_photographs(), False), (old_photographs(), True)):
        for path in shipped.values():
            with Image.open(path) as image:
                assert min(image.size) >= 300
                assert is_greyscale(image.convert("RGB")) == grey


@pytest.mark.parametrize(("source", "seed"), [("folder", 0), ("coco", 0), ("sample", 0), ("sample", 3)])
def test_the_showcase_is_the_eight_photographs_or_of_sample_what_validates(source, seed):
    names = [name for name, split in sample_split(seed).items() if source != "sample" or split == "val"]
    assert len(names) == (2 if source == "sample" else 8)
    shown = showcase(source, seed, 48)
    assert (shown["L"].shape, shown["ab"].shape) == ((len(names), 1, 48, 48), (len(names), 2, 48, 48))
    pictures = [resize(read_rgb(package_photographs()[name].read_bytes()), 48) for name in names]
    assert np.array_equal(to_uint8(lab_to_rgb(**shown)), np.stack(pictures))
