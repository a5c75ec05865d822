"""Photographs that installed packages ship: the sample, and the showcase of the figures."""

from pathlib import Path

import matplotlib
import numpy as np
import skimage
import sklearn.datasets
import torch

from ..color import to_lab
from ..images import read_rgb, resize

SAMPLE_VAL_PHOTOGRAPHS = 2


def package_photographs() -> dict[str, Path]:
    """The natural colour photographs that installed packages ship, by name: the sample and the showcase."""
    in_skimage = Path(skimage.__file__).parent / "data"
    in_sklearn = Path(sklearn.datasets.__file__).parent / "images"
    return {
        "astronaut": in_skimage / "astronaut.png",
        "chelsea": in_skimage / "chelsea.png",
        "china": in_sklearn / "china.jpg",
        "coffee": in_skimage / "coffee.png",
        "flower": in_sklearn / "flower.jpg",
        "grace_hopper": Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg",
        "motorcycle": in_skimage / "motorcycle_left.png",
        "rocket": in_skimage / "rocket.jpg",
    }


def old_photographs() -> dict[str, Path]:
    """Grey photographs that installed packages ship, by name: nobody knows their colours."""
    in_skimage = Path(skimage.__file__).parent / "data"
    return {"cameraman": in_skimage / "camera.png", "moon": in_skimage / "moon.png", "coins": in_skimage / "coins.png"}


def sample_split(seed: int) -> dict[str, str]:
    """Photograph name -> `train` or `val` for the source `sample`: two of the eight photographs validate."""
    names = list(package_photographs())
    val = np.random.default_rng(seed).choice(names, SAMPLE_VAL_PHOTOGRAPHS, replace=False)
    return {name: "val" if name in val else "train" for name in names}


def showcase(source: str, seed: int, size: int) -> dict[str, torch.Tensor]:
    """The fixed photographs that figures show, whole, as one batch {"L": (K,1,size,size), "ab": (K,2,size,size)}.

    They are the photographs that installed packages ship: no run trains on them. The source `sample` does train on six
    of the eight, so there the showcase is the two that validate with its seed.
    """
    names = list(package_photographs())
    if source == "sample":
        names = [name for name, split in sample_split(seed).items() if split == "val"]
    pixels = [resize(read_rgb(package_photographs()[name].read_bytes()), size) for name in names]
    L, ab = to_lab(torch.from_numpy(np.stack(pixels)))
    return {"L": L, "ab": ab}
