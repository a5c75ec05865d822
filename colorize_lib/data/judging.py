"""Validation photographs in two parts: a third to choose settings on (`tune`), the rest to judge by (`judge`).

A setting chosen on the photographs that then judge it is not a result.
"""

from collections.abc import Sequence

import numpy as np
import torch

from .loader import LabLoader
from .manifest import PhotoSet

PARTS = ("tune", "judge")


def tune_or_judge(sha256: str) -> str:
    """The part of a photograph, by its content alone: neither its order, its name nor the other photographs matter.

    sha256: of the file, in hexadecimal, as the manifest has it. One in three is `tune`.
    """
    return "tune" if int(sha256, 16) % 3 == 0 else "judge"


def val_positions(photos: PhotoSet, part: str) -> np.ndarray:
    """Which of the validation photographs, in the order of their loader, belong to a part: (N,).

    Raises ValueError for an unknown part, and if it has no photograph.
    """
    if part not in PARTS:
        raise ValueError(f"part {part!r} is unknown; choose one of {', '.join(PARTS)}")
    val = photos.usable[photos.usable.split == "val"]
    found = np.flatnonzero(val.sha256.map(tune_or_judge) == part)
    if not len(found):
        raise ValueError(f"none of the {len(val)} validation photographs is in the part {part!r}")
    return found


def only(val_dl: LabLoader, photos: PhotoSet, part: str) -> LabLoader:
    """A loader of one part of the validation photographs; val_dl: of all, as `make_dataloaders` gives it."""
    chosen = _Chosen(val_dl.dataset, val_positions(photos, part))
    return LabLoader(chosen, val_dl.batch_size, train=False, device=val_dl.device)


class _Chosen:
    """The photographs at these positions of a dataset, as a `LabLoader` takes them."""

    def __init__(self, dataset, chosen: np.ndarray):
        self.dataset, self.chosen = dataset, chosen

    def __len__(self) -> int:
        return len(self.chosen)

    def rgb(self, positions: Sequence[int] | np.ndarray) -> torch.Tensor:
        """uint8 (N,H,W,3)."""
        return self.dataset.rgb(self.chosen[positions])
