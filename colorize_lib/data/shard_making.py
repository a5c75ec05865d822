"""Making shards: photographs of any source, decoded, resized and stored by several processes; see `shards.py`."""

import dataclasses
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from filelock import FileLock, Timeout

from ..files import atomic_path, write_text
from ..images import read_square
from ..runs.progress import Progress
from .shards import (
    INDEX,
    MANIFEST,
    NOTE,
    SPLITS,
    Shard,
    ShardConfig,
    ShardSet,
    encode,
    open_shards,
    write_index,
    write_shard,
)

if TYPE_CHECKING:  # every process of the pool imports this module, and none of them needs what photos imports
    from .manifest import PhotoConfig, PhotoSet

_stop = None  # in a process of the pool: an event; once it is set, no further photograph is begun


@dataclass(frozen=True)
class ShardJob:
    """A shard to be made of the photographs `source / path` of `rows` (path, sha256), the split's from `first` on."""

    source: Path
    folder: Path
    name: str
    first: int
    rows: list[tuple[str, str]]
    config: ShardConfig

    def run(self) -> Shard:
        """Make it. Raises what `read_square` raises for a file that is not the manifest's."""
        return write_shard(self.folder, self.name, self._files())

    def _files(self) -> Iterator[tuple[str, bytes]]:
        for position, (path, sha256) in enumerate(self.rows, start=self.first):
            if _stop is not None and _stop.is_set():
                raise InterruptedError(f"{self.name} was given up")
            pixels = read_square(self.source / path, sha256, self.config.size)
            yield f"{position:09d}.{self.config.encoding}", encode(pixels, self.config)


def make_shards(
    photos: "PhotoSet",
    folder: Path,
    config: ShardConfig,
    drawn: "PhotoConfig",
    processes: int | None = None,
) -> ShardSet:
    """Make the shards of `photos` in `folder`, or those that an interrupted run left to do, and return them.

    drawn: the settings that `photos` were found by; kept in the index. processes: how many decode; None: one per core.
    Training photographs are shuffled once (by `drawn.seed`), so that a shard is a random sample of them whatever order
    the manifest has; validation photographs keep its order. Only whole shards ever have their final names, and
    index.json is written when all are there.
    Raises ValueError if the folder holds something else, or a photograph is not the manifest's; FileNotFoundError if
    one is missing; RuntimeError if another process is at work in the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = _settings(photos, config, drawn)
    try:
        with FileLock(folder / ".lock", timeout=0):
            done = _finished(folder, settings)
            if not (folder / INDEX).is_file():
                _make(photos, folder, config, drawn.seed, settings, done, processes or os.cpu_count() or 1)
    except Timeout:
        raise RuntimeError(f"another process makes shards in {folder}") from None
    return open_shards(folder)


def _settings(photos: "PhotoSet", config: ShardConfig, drawn: "PhotoConfig") -> dict:
    """What the content of the shards depends on, as JSON can hold it, without any path of this machine."""
    of_draw = {key: value for key, value in dataclasses.asdict(drawn).items() if key not in ("folder", "manifest")}
    return {"shards": dataclasses.asdict(config), "drawn": of_draw, "photographs": photos.digest()}


def _finished(folder: Path, settings: dict) -> dict[str, Shard]:
    """The shards in `folder` that are finished by the note of an earlier run, by name.

    Raises ValueError if the folder is of other settings, or holds files and no note.
    """
    for name in (INDEX, NOTE):
        if (folder / name).is_file():
            found = json.loads((folder / name).read_text(encoding="utf-8"))
            if found["settings"] != settings:
                raise ValueError(
                    f"{folder} holds shards of other photographs or settings; choose another folder, or delete it. "
                    f"There: {_difference(found['settings'], settings)}"
                )
            shards = [Shard(**shard) for shard in found.get("shards", [])]
            there = [s for s in shards if (p := folder / s.name).is_file() and p.stat().st_size == s.bytes]
            return {shard.name: shard for shard in there}
    if others := sorted(path.name for path in folder.iterdir() if path.name != ".lock"):
        raise ValueError(f"{folder} is not empty (it holds {others[0]}) and has no shards; choose another folder")
    return {}


def _difference(one: dict, other: dict) -> str:
    """The settings in which two differ: `size 256, not 128`."""
    flat = [{**s["shards"], **s["drawn"], "photographs": s["photographs"]} for s in (one, other)]
    return ", ".join(
        f"{key} {flat[0].get(key)}, not {value}" for key, value in flat[1].items() if flat[0].get(key) != value
    )


def _make(
    photos: "PhotoSet",
    folder: Path,
    config: ShardConfig,
    seed: int,
    settings: dict,
    done: dict[str, Shard],
    processes: int,
) -> None:
    """Make all shards that are not in `done`, noting each, and then the index."""

    def note() -> None:
        state = {"settings": settings, "shards": [dataclasses.asdict(shard) for shard in done.values()]}
        write_text(folder / NOTE, json.dumps(state) + "\n")

    note()
    for left in folder.glob("*/.*.partial"):  # of a run that was killed
        left.unlink()
    rows = _in_order(photos, seed)
    with atomic_path(folder / MANIFEST) as partial:
        rows.to_csv(partial, index=False)
    jobs = {split: _jobs(photos.root, folder, split, rows[rows.split == split], config) for split in SPLITS}
    to_do = [job for split in SPLITS for job in jobs[split] if job.name not in done]
    label = f"making shards at {config.size} px"
    with Progress(len(rows), label, start=sum(shard.count for shard in done.values())) as progress:
        for shard in _results(to_do, min(processes, len(to_do))):
            done[shard.name] = shard
            note()
            progress.update(shard.count)
    write_index(folder, settings, {split: [done[job.name] for job in jobs[split]] for split in SPLITS})
    (folder / NOTE).unlink()


def _in_order(photos: "PhotoSet", seed: int):
    """The manifest's rows in the order of the shards: training photographs, shuffled, then validation photographs."""
    rows = photos.usable
    train = np.random.default_rng(seed).permutation(np.flatnonzero(rows.split == "train"))
    return rows.iloc[np.concatenate([train, np.flatnonzero(rows.split == "val")])]


def _jobs(source: Path, folder: Path, split: str, rows, config: ShardConfig) -> list[ShardJob]:
    files = list(zip(rows.path, rows.sha256, strict=True))
    starts = range(0, len(files), config.per_shard)
    return [
        ShardJob(source, folder, f"{split}/{number:06d}.tar", first, files[first : first + config.per_shard], config)
        for number, first in enumerate(starts)
    ]


def _results(jobs: list[ShardJob], processes: int) -> Iterator[Shard]:
    """Run the jobs, in this process if one is to do it all, and yield their shards as they are finished."""
    if processes <= 1:
        yield from (job.run() for job in jobs)
        return
    # Not by fork, which would copy whatever threads and locks the caller has.
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    with ProcessPoolExecutor(processes, context, _start_process, (stop,)) as pool:
        try:
            for future in as_completed([pool.submit(ShardJob.run, job) for job in jobs]):
                yield future.result()
        except BaseException:  # Ctrl-C and a closed generator too: leave nothing to wait for
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _start_process(stop) -> None:
    """In a new process of the pool: obey `stop` and not Ctrl-C, and end when the process that started it is gone."""
    global _stop
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def follow() -> None:
        wait([multiprocessing.parent_process().sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
