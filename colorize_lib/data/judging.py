"""Validation photographs in two parts: a setting chosen on the photographs that then judge it is not a result."""

from dataclasses import replace

import numpy as np
import torch

from .loader import LabLoader
from .manifest import PhotoSet


def tune_or_judge(sha256: str) -> str:
    """`tune` (one in three: choose settings on it) or `judge`, by a file's sha256 (hexadecimal) and nothing else."""
    return "tune" if int(sha256, 16) % 3 == 0 else "judge"


def only(val_dl: LabLoader, photos: PhotoSet, part: str) -> LabLoader:
    """A loader of the validation photographs of one part; val_dl: of all. Raises ValueError if there are none."""
    val = photos.usable[photos.usable.split == "val"]
    positions = np.flatnonzero(val.sha256.map(tune_or_judge) == part)
    if not len(positions):
        raise ValueError(f"none of the {len(val)} validation photographs is in the part {part!r}")
    labels = None if val_dl.labels is None else val_dl.labels[positions]
    return replace(val_dl, dataset=_Part(val_dl.dataset, positions), labels=labels)


class _Part:
    def __init__(self, dataset, positions: np.ndarray):
        self.dataset, self.positions = dataset, positions

    def __len__(self) -> int:
        return len(self.positions)

    def rgb(self, positions) -> torch.Tensor:
        return self.dataset.rgb(self.positions[positions])
