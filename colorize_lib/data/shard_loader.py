"""Batches of (L, ab) from shards, for more photographs than a memory-mapped cache can hold; see `shards.py`."""

import copy
import os
import signal
import tarfile
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader

from ..color import to_lab
from .shard_stream import LANES, ShardStream, need_webdataset
from .shards import ShardSet, decode


class ShardLoader:
    """Batches {"L": (N,1,H,W), "ab": (N,2,H,W)} on `device`, as a `dataset.LabLoader` gives them, from shards.

    Training batches are shuffled and flipped; both are functions of (seed, epoch, batch), and in a run of several
    processes of their number and of the place of this one. Resuming in the middle of an epoch reads the files of the
    batches before, but decodes none of them. The other loaders give every photograph in the shards' order. `share`
    deals every batch out to the processes of a run. A last, smaller training batch is left out.
    workers: processes that read and decode, a divisor of LANES; 0 for this one; by the number of cores if None.
    Raises ModuleNotFoundError without webdataset, and ValueError if no batch can be filled.
    """

    def __init__(
        self,
        shards: ShardSet,
        split: str,
        batch_size: int,
        train: bool,
        seed: int = 0,
        device: torch.device | str = "cpu",
        workers: int | None = None,
    ):
        need_webdataset()
        self.workers = _default_workers() if workers is None else workers
        if self.workers and LANES % self.workers:
            raise ValueError(f"{workers} workers cannot share {LANES} lanes evenly; use a divisor of {LANES}, or 0")
        self.shards, self.split, self.batch_size, self.train, self.seed = shards, split, batch_size, train, seed
        self.device = torch.device(device)
        self.process_index, self.num_processes = 0, 1
        self.epoch, self.start = 0, 0
        self.files = shards.intact(split)
        self.dataset = ShardPhotographs(self.files, shards.config.size)
        if train and len(self.dataset) < batch_size:
            raise ValueError(f"{len(self.dataset)} training photographs do not fill one batch of {batch_size}")

    def __len__(self) -> int:
        """Batches in a whole epoch."""
        whole, rest = divmod(len(self.dataset), self.batch_size)
        return whole if self.train else whole + (rest > 0)

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """The next iteration is over epoch `epoch`, beginning at batch `start`; the ones after it begin at 0."""
        self.epoch, self.start = epoch, start

    def share(self, process_index: int, num_processes: int) -> "ShardLoader":
        """A loader of one process's share of every batch: its place in the run is `process_index`, from 0.

        All processes must find the same shards whole. Training shares together are not the batches of a run of one
        process, but as every photograph is read by one process alone, no file needs to be read by all.
        Raises ValueError if a batch has fewer photographs than there are processes.
        """
        if self.batch_size < num_processes:
            raise ValueError(f"a batch of {self.batch_size} cannot be shared by {num_processes} processes")
        loader = copy.copy(self)
        loader.process_index, loader.num_processes, loader.epoch, loader.start = process_index, num_processes, 0, 0
        return loader

    def in_order(self) -> "ShardLoader":
        """A loader of every photograph of the same shards once, in order and unflipped: for counting and measuring."""
        loader = self.share(0, 1)
        loader.train = False
        return loader

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        start, self.start = self.start, 0
        loader = DataLoader(
            self.stream(start),
            batch_size=None,
            num_workers=self.workers,
            pin_memory=self.device.type == "cuda",
            worker_init_fn=_ignore_interrupts,
            generator=torch.Generator(),  # else an iteration would draw from the generator that dropout draws from
        )
        for batch, rgb in enumerate(loader, start):
            flips = np.zeros(self.batch_size, dtype=bool)
            if self.train:
                flips = np.random.default_rng((self.seed, self.epoch, batch)).random(self.batch_size) < 0.5
            flips = flips[self.process_index :: self.num_processes][: len(rgb)]
            L, ab = to_lab(rgb.to(self.device, non_blocking=True), flips)
            yield {"L": L, "ab": ab}

    def stream(self, start: int) -> ShardStream:
        """The photographs of this epoch from batch `start` on: uint8 (N,H,W,3), neither flipped nor converted."""
        return ShardStream(
            self.files,
            self.shards.config.size,
            self.batch_size,
            range(start, len(self)),
            (self.seed, self.epoch) if self.train else None,
            self.process_index,
            self.num_processes,
        )


class ShardPhotographs:
    """The photographs of some shards by position, as a `dataset.ColorizationDataset` has them.

    For looking at a few: each is found in its file and decoded anew. files: as of `ShardSet.intact`.
    """

    def __init__(self, files: list[tuple[Path, int, int]], size: int):
        self.files, self.size = files, size
        self.ends = np.cumsum([count for _, _, count in files])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def rgb(self, positions: Iterable[int]) -> torch.Tensor:
        """The photographs at these positions: uint8 (N,H,W,3)."""
        return torch.from_numpy(np.stack([self._pixels(int(position)) for position in positions]))

    def _pixels(self, position: int) -> np.ndarray:
        if not 0 <= position < len(self):
            raise IndexError(f"photograph {position} of {len(self)}")
        number = int(np.searchsorted(self.ends, position, side="right"))
        path, _, count = self.files[number]
        offset, length = _places(path)[position - (int(self.ends[number]) - count)]
        with open(path, "rb") as file:
            file.seek(offset)
            return decode(file.read(length), self.size)


def make_shard_loaders(
    shards: ShardSet,
    size: int,
    batch_size: int = 16,
    seed: int = 0,
    device: torch.device | str = "cpu",
    workers: int | None = None,
) -> tuple[ShardLoader, ShardLoader]:
    """The training loader (shuffled, flipped) and the validation loader (in order, whole) of a folder of shards.

    Raises ValueError if the shards are not of this size.
    """
    if size != shards.config.size:
        raise ValueError(
            f"the shards in {shards.root} are of {shards.config.size} px, not {size}: use size={shards.config.size}, "
            f"or make others with --size {size}"
        )
    options = (seed, device, workers)
    return (
        ShardLoader(shards, "train", batch_size, True, *options),
        ShardLoader(shards, "val", batch_size, False, *options),
    )


@lru_cache(maxsize=64)
def _places(path: Path) -> list[tuple[int, int]]:
    """(offset, length) of each photograph in a shard, in order."""
    with tarfile.open(path, "r:") as tar:
        return [(member.offset_data, member.size) for member in tar]


def _default_workers() -> int:
    """As many workers as there are cores for each process of the run on this machine, of the numbers dividing LANES."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cores //= int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # which torchrun sets
    return max(n for n in range(1, LANES + 1) if LANES % n == 0 and n <= max(1, cores))


def _ignore_interrupts(worker: int) -> None:
    """Ctrl-C is for the process that trains: it saves a checkpoint, for which its workers must still be there."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
