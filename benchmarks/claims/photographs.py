"""What the arms are trained on, chosen by and judged on."""

from functools import cached_property

import numpy as np
import pandas as pd
import torch

from colorize_lib.data.cache import cached_photographs
from colorize_lib.data.cifar10 import LabelledImages, find_images
from colorize_lib.data.judging import tune_or_judge
from colorize_lib.data.loader import ColorizationDataset, LabLoader
from colorize_lib.data.manifest import PhotoConfig, find_photographs
from colorize_lib.files import DATA_DIR

CACHE, N_JUDGE = 96, 400
IMAGENET = r"(?:^|/)(?:imagen|inetmini|n\d{8})"  # of a path: photographs that ImageNet's encoders were trained on
COCO = r"(?:^|/)coco"


class Missing(RuntimeError):
    """An arm needs pictures that the command was not given."""


class Photographs:
    """Photographs, those of a second folder with classes, and CIFAR-10; each is read when an arm first needs it.

    Judged on are at most 400 photographs of the first folder's *judge* part that ImageNet's encoders have not seen.
    """

    def __init__(self, folder: str | None, extra: str = "", cifar: str = "", device: torch.device | str = "cpu"):
        self.folder, self.extra, self.cifar, self.device = folder, extra, cifar, torch.device(device)

    @cached_property
    def first(self) -> tuple[pd.DataFrame, np.ndarray]:
        return self._load(self.folder, "--photos DIR")

    @cached_property
    def second(self) -> tuple[pd.DataFrame, np.ndarray]:
        return self._load(self.extra, "--extra DIR, a folder with classes")

    @cached_property
    def images(self) -> tuple[LabelledImages, LabelledImages]:
        """CIFAR-10's training and test images."""
        return find_images(self.cifar)

    @staticmethod
    def _load(folder: str, needed: str) -> tuple[pd.DataFrame, np.ndarray]:
        if not folder:
            raise Missing(f"it needs {needed}")
        photos = find_photographs(PhotoConfig(source="folder", folder=folder, n_images=0), DATA_DIR, CACHE)
        return photos.usable, cached_photographs(photos, CACHE, DATA_DIR)

    def part(self, name: str) -> np.ndarray:
        """Rows of the first folder that belong to `tune` or `judge`."""
        rows, _ = self.first
        seen = rows.path.str.contains(IMAGENET)
        return np.flatnonzero((rows.split == "val") & ~seen & (rows.sha256.map(tune_or_judge) == name))[:N_JUDGE]

    def loader(self, part: str) -> LabLoader:
        """The photographs of `tune` or `judge`, in order."""
        return self.on_device(self.first[1][self.part(part)], 100, train=False)

    def drawn(self, photographs: int, extra: int, seed: int, source: str = "all") -> np.ndarray:
        """uint8 (N,H,W,3): so many of each folder, drawn by the seed; more of them hold the ones of fewer.

        Raises Missing if there are fewer.
        """
        rng, chosen = np.random.default_rng(seed), []
        for (rows, pixels), n in zip(
            [self.first, *([self.second] if extra else [])], (photographs, extra), strict=False
        ):
            train = rows.split == "train"
            if source != "all":
                train &= rows.path.str.contains({"imagenet": IMAGENET, "coco": COCO}[source])
            found = np.flatnonzero(train)
            if len(found) < n:
                raise Missing(f"it needs {n:,} training photographs ({source}), and there are {len(found):,}")
            chosen.append(pixels[np.sort(rng.permutation(found)[:n])])
        return np.concatenate(chosen)

    def on_device(self, pixels: np.ndarray, batch: int, train: bool, **loader) -> LabLoader:
        """A loader of pictures that stay in the device's memory."""
        return LabLoader(
            ColorizationDataset(torch.from_numpy(np.ascontiguousarray(pixels)).to(self.device)),
            batch,
            train,
            device=self.device,
            **loader,
        )
