"""Photographs decoded once into a memory-mapped uint8 cache, and batches of (L, ab) made from it on the device."""

import copy
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

    photographs: uint8 (M,H,W,3), a cache, or a tensor on any device; indices: which of its rows belong to the split.
    `dataset[i]` is {"L": (1,H,W) in [-1,1], "ab": (2,H,W) in about [-1,1]}, unflipped, on the CPU.
    """

    def __init__(self, photographs: np.ndarray | torch.Tensor, indices: np.ndarray | None = None):
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
        return torch.as_tensor(self.photographs[self.indices[positions]])

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
    labels: if given, a number of each photograph, int64 (len(dataset),); the batches then have "label": (N,) too.
    """

    def __init__(
        self,
        dataset: ColorizationDataset | StreamedPhotographs,
        batch_size: int,
        train: bool,
        seed: int = 0,
        device: torch.device | str = "cpu",
        labels: np.ndarray | None = None,
    ):
        if train and len(dataset) < batch_size:
            raise ValueError(f"{len(dataset)} training photographs do not fill one batch of {batch_size}")
        self.dataset, self.batch_size, self.train, self.seed = dataset, batch_size, train, seed
        self.device = torch.device(device)
        self.process_index, self.num_processes, self.labels = 0, 1, labels
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
        shared = copy.copy(self)
        shared.process_index, shared.num_processes, shared.epoch, shared.start = process_index, num_processes, 0, 0
        return shared

    def in_order(self) -> "LabLoader":
        """A loader of every photograph of the same dataset once, in order and unflipped: for counting and measuring."""
        return LabLoader(self.dataset, self.batch_size, train=False, device=self.device, labels=self.labels)

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
            yield {"L": L, "ab": ab} | ({} if self.labels is None else {"label": self._labels_of(order[span][mine])})

    def _labels_of(self, positions: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(self.labels[positions]).to(self.device)


def make_dataloaders(
    photos: PhotoSet,
    size: int = 256,
    batch_size: int = 16,
    seed: int = 0,
    device: torch.device | str = "cpu",
    data_dir: Path = DATA_DIR,
    labels: bool = False,
) -> tuple[LabLoader, LabLoader]:
    """The training loader (shuffled, flipped) and the validation loader (in order, whole) of a set of photographs.

    labels: batches have "label" too, the number of the class in `photos.classes`, or -1.
    """
    pixels = None if photos.streamed else cached_photographs(photos, size, data_dir)

    def loader(name: str) -> LabLoader:
        rows = np.flatnonzero(photos.usable.split == name)
        dataset = StreamedPhotographs(photos.root / name, size) if pixels is None else ColorizationDataset(pixels, rows)
        numbers = photos.labels()[rows] if labels else None
        return LabLoader(dataset, batch_size, name == "train", seed, device, labels=numbers)

    return loader("train"), loader("val")
