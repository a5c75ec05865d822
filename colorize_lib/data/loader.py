"""Photographs decoded once into a memory-mapped uint8 cache, and batches of (L, ab) made from it on the device."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from ..color import to_lab
from ..files import DATA_DIR
from .cache import cached_photographs
from .manifest import PhotoSet
from .streamed import StreamedPhotographs


class ColorizationDataset:
    """Photographs of one split as (L, ab) pairs.

    photographs: uint8 (M,H,W,3), a cache; indices: which of its rows belong to the split.
    `dataset[i]` is {"L": (1,H,W) in [-1,1], "ab": (2,H,W) in about [-1,1]}, unflipped, on the CPU.
    """

    def __init__(self, photographs: np.ndarray, indices: np.ndarray | None = None):
        self.photographs = photographs
        self.indices = np.arange(len(photographs)) if indices is None else np.asarray(indices)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, i: int) -> dict[str, torch.Tensor]:
        if not -len(self) <= i < len(self):
            raise IndexError(f"photograph {i} of {len(self)}")
        L, ab = to_lab(self.rgb([i]))
        return {"L": L[0], "ab": ab[0]}

    def rgb(self, positions: list[int] | np.ndarray) -> torch.Tensor:
        """The photographs at these positions of the split: uint8 (N,H,W,3)."""
        return torch.from_numpy(self.photographs[self.indices[positions]])

    def shuffled(self, rng: np.random.Generator) -> np.ndarray:
        """All positions in a random order."""
        return rng.permutation(len(self))


class ImagesOnDevice:
    """Images that all fit into the device's memory, as a `LabLoader` takes them: nothing is copied to it per batch.

    images: uint8 (M,H,W,3).
    """

    def __init__(self, images: np.ndarray, device: torch.device | str = "cpu"):
        self.images = torch.from_numpy(images).to(device)

    def __len__(self) -> int:
        return len(self.images)

    def rgb(self, positions: np.ndarray) -> torch.Tensor:
        """The images at these positions: uint8 (N,H,W,3), on the device."""
        return self.images[torch.from_numpy(positions).to(self.images.device)]

    def shuffled(self, rng: np.random.Generator) -> np.ndarray:
        """All positions in a random order."""
        return rng.permutation(len(self))


class LabLoader:
    """Batches {"L": (N,1,H,W), "ab": (N,2,H,W)} on `device`, converted there from uint8.

    Training batches are shuffled and flipped; both are functions of (seed, epoch, batch) alone, so that a run resumed
    in the middle of an epoch sees exactly the batches that it would have seen. `set_epoch` chooses the epoch and the
    batch to start at. A photograph is a few kB of a memory map and a batch one copy, so no worker processes are needed.
    `share` deals every batch out to the processes of a run. A last, smaller training batch is dropped: BatchNorm needs
    batches of one kind.
    """

    def __init__(
        self,
        dataset: ColorizationDataset | ImagesOnDevice | StreamedPhotographs,
        batch_size: int,
        train: bool,
        seed: int = 0,
        device: torch.device | str = "cpu",
        process_index: int = 0,
        num_processes: int = 1,
    ):
        if train and len(dataset) < batch_size:
            raise ValueError(f"{len(dataset)} training photographs do not fill one batch of {batch_size}")
        self.dataset, self.batch_size, self.train, self.seed = dataset, batch_size, train, seed
        self.device = torch.device(device)
        self.process_index, self.num_processes = process_index, num_processes
        self.epoch, self.start = 0, 0

    def __len__(self) -> int:
        """Batches in a whole epoch."""
        whole, rest = divmod(len(self.dataset), self.batch_size)
        return whole if self.train else whole + (rest > 0)

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """The next iteration is over epoch `epoch`, beginning at batch `start`; the ones after it begin at 0."""
        self.epoch, self.start = epoch, start

    def share(self, process_index: int, num_processes: int) -> "LabLoader":
        """A loader of every num_processes-th picture of the same batches, from the process_index-th on.

        Raises ValueError if a batch has fewer pictures than there are processes.
        """
        if self.batch_size < num_processes:
            raise ValueError(f"a batch of {self.batch_size} cannot be shared by {num_processes} processes")
        return LabLoader(
            self.dataset, self.batch_size, self.train, self.seed, self.device, process_index, num_processes
        )

    def in_order(self) -> "LabLoader":
        """A loader of every photograph of the same dataset once, in order and unflipped: for counting and measuring."""
        return LabLoader(self.dataset, self.batch_size, train=False, device=self.device)

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        start, self.start = self.start, 0
        order, flips = np.arange(len(self.dataset)), np.zeros(len(self.dataset), dtype=bool)
        if self.train:
            rng = np.random.default_rng((self.seed, self.epoch))
            order, flips = self.dataset.shuffled(rng), rng.random(len(order)) < 0.5
        for batch in range(start, len(self)):
            span = slice(batch * self.batch_size, (batch + 1) * self.batch_size)
            mine = slice(self.process_index, None, self.num_processes)
            rgb = self.dataset.rgb(order[span][mine])
            if self.device.type == "cuda" and rgb.device.type == "cpu":
                rgb = rgb.pin_memory()
            L, ab = to_lab(rgb.to(self.device, non_blocking=True), flips[span][mine])
            yield {"L": L, "ab": ab}


def make_dataloaders(
    photos: PhotoSet,
    size: int = 256,
    batch_size: int = 16,
    seed: int = 0,
    device: torch.device | str = "cpu",
    data_dir: Path = DATA_DIR,
) -> tuple[LabLoader, LabLoader]:
    """The training loader (shuffled, flipped) and the validation loader (in order, whole) of a set of photographs."""
    if photos.streamed:
        train, val = (StreamedPhotographs(photos.root / split, size) for split in ("train", "val"))
    else:
        pixels, split = cached_photographs(photos, size, data_dir), photos.usable.split
        train, val = (ColorizationDataset(pixels, np.flatnonzero(split == name)) for name in ("train", "val"))
    return (
        LabLoader(train, batch_size, True, seed, device),
        LabLoader(val, batch_size, False, seed, device),
    )
