"""Batches of (L, ab), made on the device from photographs in uint8."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ..color import to_lab
from ..files import DATA_DIR
from .augment import Augment, vary
from .cache import cached_photographs
from .manifest import PhotoSet
from .streamed import StreamedPhotographs


class ColorizationDataset:
    """Photographs of one split; `dataset[i]` is {"L": (1,H,W) in [-1,1], "ab": (2,H,W) in about [-1,1]}, unflipped.

    photographs: uint8 (M,H,W,3), a cache, or a tensor on any device; indices: which of its rows belong to the split.
    """

    def __init__(self, photographs: np.ndarray | torch.Tensor, indices: np.ndarray | None = None):
        self.photographs = photographs
        self.indices = np.arange(len(photographs)) if indices is None else np.asarray(indices)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, i: int) -> dict[str, torch.Tensor]:
        L, ab = to_lab(self.rgb([i]))
        return {"L": L[0], "ab": ab[0]}

    def rgb(self, positions: list[int] | np.ndarray) -> torch.Tensor:
        """The photographs at these positions of the split: uint8 (N,H,W,3)."""
        return torch.as_tensor(self.photographs[self.indices[positions]])

    def shuffled(self, rng: np.random.Generator) -> np.ndarray:
        """All positions in a random order."""
        return rng.permutation(len(self))


@dataclass(eq=False)
class LabLoader:
    """Batches {"L": (N,1,H,W), "ab": (N,2,H,W)} on `device`. Raises ValueError if there is no whole training batch.

    Training batches are shuffled, and flipped or, with `augment`, varied: all functions of (seed, epoch, batch) alone,
    so that a resumed run sees exactly the batches that it would have seen, of which torch's DataLoader knows nothing.
    A last, smaller training batch is dropped: BatchNorm needs batches of one kind.
    """

    dataset: ColorizationDataset | StreamedPhotographs
    batch_size: int
    train: bool
    seed: int = 0
    device: torch.device | str = "cpu"
    labels: np.ndarray | None = None  # a number of each photograph, int64; the batches then have "label": (N,) too
    augment: Augment | None = None
    process_index: int = 0
    num_processes: int = 1
    epoch: int = 0
    start: int = 0

    def __post_init__(self):
        self.device = torch.device(self.device)
        if self.batch_size < 1:
            raise ValueError(f"batch_size is {self.batch_size}; it must be at least 1")
        if self.train and len(self.dataset) < self.batch_size:
            raise ValueError(f"{len(self.dataset)} training photographs do not fill one batch of {self.batch_size}")

    def __len__(self) -> int:
        """Batches in a whole epoch."""
        whole, rest = divmod(len(self.dataset), self.batch_size)
        return whole if self.train else whole + (rest > 0)

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """The next iteration is over epoch `epoch`, beginning at batch `start`; the ones after it begin at 0."""
        self.epoch, self.start = epoch, start

    def share(self, process_index: int, num_processes: int) -> "LabLoader":
        """A loader of every num_processes-th picture of the same batches. ValueError if a batch has fewer."""
        if self.batch_size < num_processes:
            raise ValueError(f"a batch of {self.batch_size} cannot be shared by {num_processes} processes")
        return replace(self, process_index=process_index, num_processes=num_processes, epoch=0, start=0)

    def in_order(self) -> "LabLoader":
        """A loader of every photograph of the same dataset once, in order and as it is: for counting and measuring."""
        return LabLoader(self.dataset, self.batch_size, train=False, device=self.device, labels=self.labels)

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        start, self.start = self.start, 0
        order, flips = np.arange(len(self.dataset)), np.zeros(len(self.dataset), dtype=bool)
        if self.train:
            rng = np.random.default_rng((self.seed, self.epoch))
            order, flips = self.dataset.shuffled(rng), rng.random(len(order)) < 0.5
        for batch in range(start, len(self)):
            first, end = batch * self.batch_size, (batch + 1) * self.batch_size
            mine = slice(first + self.process_index, end, self.num_processes)
            rgb = self.dataset.rgb(order[mine])
            if self.device.type == "cuda" and rgb.device.type == "cpu":
                rgb = rgb.pin_memory()
            rgb = rgb.to(self.device, non_blocking=True)
            if self.augment is None:
                L, ab = to_lab(rgb, flips[mine])
            else:
                rng = np.random.default_rng((self.seed, self.epoch, batch, self.process_index))
                L, ab = vary(rgb, self.augment, rng)
            item = {"L": L, "ab": ab}
            if self.labels is not None:
                item["label"] = torch.from_numpy(self.labels[order[mine]]).to(self.device)
            yield item


def make_dataloaders(
    photos: PhotoSet,
    size: int = 256,
    batch_size: int = 16,
    seed: int = 0,
    device: torch.device | str = "cpu",
    data_dir: Path = DATA_DIR,
    labels: bool = False,
) -> tuple[LabLoader, LabLoader]:
    """The training loader and the validation loader; labels: with the class's number in `photos.classes`, or -1."""
    pixels = None if photos.streamed else cached_photographs(photos, size, data_dir)

    def loader(name: str) -> LabLoader:
        rows = np.flatnonzero(photos.usable.split == name)
        dataset = StreamedPhotographs(photos.root / name, size) if pixels is None else ColorizationDataset(pixels, rows)
        numbers = photos.labels()[rows] if labels else None
        return LabLoader(dataset, batch_size, name == "train", seed, device, labels=numbers)

    return loader("train"), loader("val")
