"""Photographs streamed from shards, batch by batch, by several processes; see `shards.py`. Needs webdataset.

An epoch is dealt in equal shares: the shards, in an order drawn for the epoch, make one long row of photographs, and
each process of a run takes a piece of it, cut again into LANES pieces. A lane is read from its beginning to its end,
through a shuffle buffer of its own, and the batches of a process come from its lanes in turn. So every process has the
same number of batches whatever the number of shards; a shard on the border between two lanes is opened by both. The
workers of a DataLoader take whole lanes, so how many workers there are changes nothing in the batches.
"""

import random
import warnings
from collections.abc import Collection, Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from .shards import decode

LANES = 24  # has many divisors, each of which can be the number of workers: 1, 2, 3, 4, 6, 8, 12, 24
BUFFER = 100  # photographs, as files, in a lane's shuffle buffer
MOST_BAD = 100  # photographs in a row that cannot be decoded before it is an error


class ShardStream(IterableDataset):
    """The batches of one epoch, uint8 (N,H,W,3), of which N is this process's share; for a DataLoader.

    files: the shards, as of `ShardSet.intact`. batches: which batches are wanted, in a row up to the epoch's last.
    shuffle: (seed, epoch) for whole training batches in a drawn order; None for all photographs in the shards' order.
    Worker w of W takes the batches w, w + W, ... of the wanted ones, which is the order in which a DataLoader asks.
    """

    def __init__(
        self,
        files: list[tuple[Path, int, int]],
        size: int,
        batch_size: int,
        batches: range,
        shuffle: tuple[int, int] | None,
        process_index: int,
        num_processes: int,
    ):
        self.files, self.size, self.batch_size, self.batches, self.shuffle = files, size, batch_size, batches, shuffle
        self.process_index, self.num_processes = process_index, num_processes

    def __iter__(self) -> Iterator[torch.Tensor]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        mine = self.batches[worker::workers]
        return self._shuffled(mine) if self.shuffle else self._in_order(mine)

    def _shuffled(self, batches: range) -> Iterator[torch.Tensor]:
        share, lanes = self._share(self.process_index), {}
        for batch in batches:
            number = batch % LANES
            if number not in lanes:
                lane = self._lane(number)
                before = share * len(range(number, self.batches.start, LANES))
                next(islice(lane, before, before), None)  # what the batches before the first wanted one had
                lanes[number] = self._decoded(lane)
            yield self._stack(list(islice(lanes[number], share)))

    def _in_order(self, batches: range) -> Iterator[torch.Tensor]:
        stream = self._in_order_of(batches)
        batch_of, pixels = next(stream, (None, None))
        for batch in batches:
            found = []
            while batch_of == batch:
                found.append(pixels)
                batch_of, pixels = next(stream, (None, None))
            yield self._stack(found)

    def _in_order_of(self, batches: range) -> Iterator[tuple[int, np.ndarray]]:
        """(batch, pixels) of this process's photographs in these batches."""
        begin = 0
        for path, first, count in self.files:
            batch_of = {}
            for position in range(begin, begin + count):
                batch, place = divmod(position, self.batch_size)
                if batch in batches and place % self.num_processes == self.process_index:
                    batch_of[first + position - begin] = batch
            for number, content in _read(path, batch_of):
                for pixels in self._decoded([(path, number, content)]):
                    yield batch_of[number], pixels
            begin += count

    def _share(self, process: int) -> int:
        """How many photographs of a training batch a process has."""
        return len(range(process, self.batch_size, self.num_processes))

    def _lane(self, number: int) -> Iterator[tuple[Path, int, bytes]]:
        """The shuffled files of a lane: (shard, photograph's number, content).

        It does not end. Should damage have left fewer than its batches need, photographs of other lanes fill the gap,
        for all processes of a run must come to the same number of batches.
        """
        total, share = self.batches.stop, self._share(self.process_index)
        batches = [len(range(lane, total, LANES)) for lane in range(LANES)]
        begin = total * sum(map(self._share, range(self.process_index))) + share * sum(batches[:number])
        end, whole = begin + share * batches[number], sum(count for _, _, count in self.files)
        rng = random.Random(repr((*self.shuffle, self.process_index, number)))
        yield from need_webdataset().shuffle(BUFFER, initial=BUFFER, rng=rng)(self._row(begin, end))
        found = True
        while found:
            found = False
            for file in chain(self._row(end, whole), self._row(0, end)):
                found = True
                yield file
        raise OSError("no photograph can be read of any shard; the warnings say why")

    def _row(self, begin: int, end: int) -> Iterator[tuple[Path, int, bytes]]:
        """The files from place `begin` to `end` of the row that the epoch's order of shards makes."""
        order = np.random.default_rng(self.shuffle).permutation(len(self.files))
        place = 0
        for path, first, count in (self.files[i] for i in order):
            low, high = max(begin - place, 0), min(end - place, count)
            if low < high:
                for number, content in _read(path, range(first + low, first + high)):
                    yield path, number, content
            place += count

    def _decoded(self, files: Iterable[tuple[Path, int, bytes]]) -> Iterator[np.ndarray]:
        """The pixels of files, uint8 (H,W,3); one that cannot be decoded is named in a warning and left out."""
        failed = 0
        for path, number, content in files:
            try:
                pixels = decode(content, self.size)
            except Exception as error:  # Pillow's decoders raise many kinds
                warnings.warn(f"photograph {number} of shard {path} is left out: {error}", stacklevel=2)
                failed += 1
                if failed == MOST_BAD:
                    raise OSError(f"{failed} photographs in a row, the last in {path}, cannot be decoded") from error
            else:
                failed = 0
                yield pixels

    def _stack(self, pictures: list[np.ndarray]) -> torch.Tensor:
        return torch.from_numpy(np.stack(pictures) if pictures else np.empty((0, self.size, self.size, 3), np.uint8))


def _read(path: Path, wanted: Collection[int]) -> Iterator[tuple[int, bytes]]:
    """(number, content) of the wanted photographs of a shard. If they cannot all be read, a warning names the shard."""
    if not wanted:
        return
    found = 0
    try:
        with open(path, "rb") as file:
            files = need_webdataset().tariterators.tar_file_expander(
                [{"url": str(path), "stream": file}],
                select_files=lambda name: _number(name) in wanted,
                eof_value=None,
            )
            for found, member in enumerate(files, start=1):
                yield _number(member["fname"]), member["data"]
                if found == len(wanted):
                    return
        reason = "it is cut off or damaged after them"
    except Exception as error:  # tarfile raises its own kinds and whatever a damaged header leads to
        reason = f"{type(error).__name__}: {error}"
    warnings.warn(f"shard {path} gave {found:,} of {len(wanted):,} photographs: {reason}", stacklevel=2)


def _number(name: str) -> int:
    return int(name.partition(".")[0])


def need_webdataset() -> ModuleType:
    """The package webdataset. Raises ModuleNotFoundError, saying how to get it, if it is not installed."""
    try:
        import webdataset
        import webdataset.tariterators
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"reading shards needs the package {error.name}; `make setup` or pip install -e .[scale] brings it",
            name=error.name,
        ) from error
    return webdataset
