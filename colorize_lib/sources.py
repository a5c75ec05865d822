"""Where photographs come from: `sample`, `folder`, `coco`, `imagenet`.

A source is a function (folder, data_dir, seed) -> Listing; it lists files and fetches or makes them first if need be.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.error import URLError

import matplotlib
import numpy as np
import skimage
import sklearn.datasets
from PIL import Image

from .files import atomic_path

ROOT = Path(__file__).resolve().parents[1]
DATA_DIR = ROOT / "data"
EXTENSIONS = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff"}
COCO_SAMPLE_COUNT = 21_837

SAMPLE_CROPS = 40  # per photograph
SAMPLE_VAL_PHOTOGRAPHS = 2


class DataUnavailable(RuntimeError):
    """A data set could not be had; the message says which, from where, and what to do."""


@dataclass(frozen=True)
class Listing:
    """Files of a source: `paths` are sorted, relative to `root`, with forward slashes.

    split_of: path -> `train` or `val` where the source comes with a split of its own, else "".
    """

    root: Path
    paths: list[str]
    split_of: Callable[[str], str] = lambda path: ""


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


def sample_split(seed: int) -> dict[str, str]:
    """Photograph name -> `train` or `val` for the source `sample`: two of the eight photographs validate."""
    names = list(package_photographs())
    val = np.random.default_rng(seed).choice(names, SAMPLE_VAL_PHOTOGRAPHS, replace=False)
    return {name: "val" if name in val else "train" for name in names}


def sample(folder: str, data_dir: Path, seed: int) -> Listing:
    """Seeded overlapping square crops of the package photographs, split by photograph; made on first use."""
    root = data_dir / "sample" / f"seed-{seed}"
    rng = np.random.default_rng(seed)
    for name, path in package_photographs().items():
        image = Image.open(path).convert("RGB")
        for k in range(SAMPLE_CROPS):
            side = int(min(image.size) * rng.uniform(0.4, 0.8))
            left, top = (int(rng.integers(0, length - side + 1)) for length in image.size)
            target = root / name / f"{k:03d}.png"
            if not target.exists():
                with atomic_path(target) as partial:
                    image.crop((left, top, left + side, top + side)).save(partial, format="PNG", compress_level=1)
    split = sample_split(seed)
    return Listing(root, list_images(root), lambda path: split[PurePosixPath(path).parts[0]])


def folder_tree(folder: str, data_dir: Path, seed: int) -> Listing:
    """All images below `folder`; if it has both train/ and val/, those are the split and nothing else is used."""
    root = _existing_folder(folder)
    paths = list_images(root)
    if (root / "train").is_dir() and (root / "val").is_dir():
        paths = [path for path in paths if PurePosixPath(path).parts[0] in ("train", "val")]
        return _not_empty(Listing(root, paths, lambda path: PurePosixPath(path).parts[0]))
    return _not_empty(Listing(root, paths))


def imagenet(folder: str, data_dir: Path, seed: int) -> Listing:
    """All images of an ImageNet-style tree (one folder per class, below `folder` or its train/), classes ignored."""
    root = _existing_folder(folder)
    root = root / "train" if (root / "train").is_dir() else root
    paths = [path for path in list_images(root) if "/" in path]
    if not paths:
        raise DataUnavailable(f"{root} has no class folders with images; an ImageNet tree is CLASS/IMAGE.JPEG")
    return Listing(root, paths)


def coco(folder: str, data_dir: Path, seed: int) -> Listing:
    """fastai's COCO_SAMPLE (21,837 photographs, about 3 GB), downloaded to `data_dir` on first use.

    An interrupted download or unpacking is done again. Raises DataUnavailable if it cannot be downloaded.
    """
    from fastai.data.external import URLs, untar_data  # fastai takes seconds to import and only coco needs it

    def fetch(again: bool) -> Path:
        try:
            return untar_data(
                URLs.COCO_SAMPLE, archive=data_dir / "archive", data=data_dir / "coco", force_download=again
            )
        except (URLError, OSError, EOFError) as error:
            raise DataUnavailable(
                f"COCO_SAMPLE could not be downloaded from {URLs.COCO_SAMPLE} to {data_dir} ({error}). "
                "Check the network and run again, or use your own photographs: source folder, PHOTOS=DIR."
            ) from error

    root = fetch(again=False) / "train_sample"
    if len(list_images(root)) != COCO_SAMPLE_COUNT:
        root = fetch(again=True) / "train_sample"
    paths = list_images(root)
    if len(paths) != COCO_SAMPLE_COUNT:
        raise DataUnavailable(
            f"{root} has {len(paths):,} photographs, not {COCO_SAMPLE_COUNT:,}: delete {data_dir / 'coco'} and run again"
        )
    return Listing(root, paths)


SOURCES: dict[str, Callable[[str, Path, int], Listing]] = {
    "sample": sample,
    "folder": folder_tree,
    "coco": coco,
    "imagenet": imagenet,
}


def list_images(root: Path) -> list[str]:
    """Relative paths, sorted, of all files below `root` with an image's ending; hidden files and folders are skipped."""
    found = []
    for folder, subfolders, files in os.walk(root):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        found += [
            Path(folder, name).relative_to(root).as_posix()
            for name in files
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in EXTENSIONS
        ]
    return sorted(found)


def _existing_folder(folder: str) -> Path:
    if not folder:
        raise DataUnavailable("no folder of photographs is given: set PHOTOS=DIR (make) or `folder` (notebook)")
    root = Path(folder).expanduser()
    root = root if root.is_absolute() else ROOT / root
    if not root.is_dir():
        raise FileNotFoundError(f"the folder of photographs {root} does not exist")
    return root


def _not_empty(listing: Listing) -> Listing:
    if not listing.paths:
        raise DataUnavailable(f"{listing.root} holds no {', '.join(sorted(EXTENSIONS))} file")
    return listing
