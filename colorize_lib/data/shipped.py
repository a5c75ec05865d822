"""Photographs that installed packages ship: the sample, and the showcase of the figures."""

from importlib.util import find_spec
from pathlib import Path

import matplotlib
import numpy as np
import skimage
import torch

from ..color import to_lab
from ..images import read_rgb, resize


def package_photographs() -> dict[str, Path]:
    """The natural colour photographs that installed packages ship, by name: the sample and the showcase."""
    in_skimage = Path(skimage.__file__).parent / "data"
    in_sklearn = Path(find_spec("sklearn").origin).parent / "datasets" / "images"  # importing it takes a second
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
    val = np.random.default_rng(seed).choice(names, 2, replace=False)
    return {name: "val" if name in val else "train" for name in names}


def showcase(source: str, seed: int, size: int) -> dict[str, torch.Tensor]:
    """The fixed photographs that figures show, whole: {"L": (K,1,size,size), "ab": (K,2,size,size)}.

    No run trains on them: they are the eight that packages ship; of the source `sample`, the two that validate.
    """
    split = sample_split(seed)
    shown = [path for name, path in package_photographs().items() if source != "sample" or split[name] == "val"]
    L, ab = to_lab(torch.from_numpy(np.stack([resize(read_rgb(path.read_bytes()), size) for path in shown])))
    return {"L": L, "ab": ab}
