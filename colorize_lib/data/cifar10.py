"""32x32 images: CIFAR-10, or crops of the package photographs in its place. All of them fit into memory."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from filelock import FileLock

from ..files import DATA_DIR, from_root
from ..runs import processes
from .cache import cached_photographs
from .loader import ColorizationDataset, LabLoader
from .manifest import PhotoConfig, find_photographs
from .sources import DataUnavailable

SIZE = 32
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")  # CIFAR-10's


@dataclass(frozen=True)
class LabelledImages:
    """Images, uint8 (N,32,32,3) RGB, the class number of each, int64 (N,), and the names of the classes."""

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]

    def draw(self, n: int, seed: int) -> "LabelledImages":
        """n of the images at random, in their old order; all for 0. Raises ValueError if there are fewer."""
        if not 0 <= n <= len(self.images):
            raise ValueError(f"{n:,} images are asked for and there are {len(self.images):,} (0 means all)")
        chosen = np.sort(np.random.default_rng(seed).permutation(len(self.images))[: n or None])
        return LabelledImages(self.images[chosen], self.labels[chosen], self.classes)

    def of_classes(self, names: tuple[str, ...]) -> np.ndarray:
        """Which images belong to one of these classes, bool (N,)."""
        return np.isin(self.labels, [number for number, name in enumerate(self.classes) if name in names])

    def showcase(self, n: int = 10) -> np.ndarray:
        """Positions of about n images, the first ones of every class that occurs, in the order of the classes."""
        classes = np.unique(self.labels)
        return np.concatenate([np.flatnonzero(self.labels == label)[: -(-n // len(classes))] for label in classes])

    def digest(self) -> str:
        """A short digest of the images, for a run's settings."""
        return hashlib.sha256(self.images.tobytes()).hexdigest()[:16]


def find_images(
    source: str, n_train: int = 0, n_test: int = 0, seed: int = 0, data_dir: Path = DATA_DIR
) -> tuple[LabelledImages, LabelledImages]:
    """The training and the test images, of which n_train and n_test are drawn at random (0: all).

    source: `download` (torchvision's CIFAR-10), `sample` (crops of the package photographs, each photograph a class on
    one side), or a folder with train.npz and test.npz. Raises DataUnavailable, and what `read_npz` raises.
    """
    if source == "download":
        train, test = _download(data_dir / "cifar10")
    elif source == "sample":
        photos = find_photographs(PhotoConfig(source="sample", n_images=0, seed=seed), data_dir, SIZE)
        whole = np.array(cached_photographs(photos, SIZE, data_dir)), photos.labels()
        sides = (np.flatnonzero(photos.usable.split == split) for split in ("train", "val"))
        train, test = (LabelledImages(*(part[of] for part in whole), tuple(photos.classes)) for of in sides)
    else:
        train, test = (read_npz(from_root(source) / f"{split}.npz") for split in ("train", "test"))
    train, test = train.draw(n_train, seed), test.draw(n_test, seed)
    not_cifar = " (32x32 crops of package photographs, not CIFAR-10)" if source == "sample" else ""
    counts = f"{len(train.images):,} training and {len(test.images):,} test images of {len(train.classes)} classes"
    processes.say(counts + not_cifar)
    return train, test


def make_image_loaders(
    train: LabelledImages, test: LabelledImages, batch_size: int = 50, seed: int = 0, device: torch.device | str = "cpu"
) -> tuple[LabLoader, LabLoader]:
    """The training loader (shuffled, flipped) and the validation loader (in order, whole), both on the device."""
    first, second = (ColorizationDataset(torch.from_numpy(of.images).to(device)) for of in (train, test))
    return LabLoader(first, batch_size, True, seed, device), LabLoader(second, 10 * batch_size, False, seed, device)


def read_npz(path: Path) -> LabelledImages:
    """`images` uint8 (N,32,32,3), `labels`, `classes` (else CIFAR-10's). Raises FileNotFoundError or ValueError."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; the folder must hold train.npz and test.npz")
    try:
        with np.load(path, allow_pickle=False) as file:
            images, labels, names = file["images"], file["labels"], file.get("classes", CLASSES)
    except (ValueError, OSError, KeyError, BadZipFile) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    if images.dtype != np.uint8 or images.shape[1:] != (SIZE, SIZE, 3):
        raise ValueError(f"{path}: images are {images.dtype} {images.shape}, not uint8 (N, {SIZE}, {SIZE}, 3)")
    if labels.shape != (len(images),) or not np.isin(labels, range(len(names))).all():
        raise ValueError(f"{path}: labels must be {len(images)} numbers below {len(names)}, one for each image")
    return LabelledImages(images, labels.astype(np.int64), tuple(map(str, names)))


def _download(home: Path) -> tuple[LabelledImages, LabelledImages]:
    from torchvision.datasets import CIFAR10  # torchvision takes seconds to import

    home.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(home / "fetch.lock"):
            splits = [CIFAR10(str(home), train=train, download=True) for train in (True, False)]
    except Exception as error:  # URLError, or RuntimeError for a file that is not whole
        raise DataUnavailable(
            f"CIFAR-10 could not be had from {CIFAR10.url} ({type(error).__name__}: {error}). Check the network, run "
            f"again, put {CIFAR10.filename} into {home}, or set cifar=sample or cifar=DIR (train.npz and test.npz)."
        ) from error
    return tuple(LabelledImages(split.data, np.array(split.targets), tuple(split.classes)) for split in splits)
