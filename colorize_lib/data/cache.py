"""Photographs decoded once into a memory-mapped uint8 cache.

A cache grows at its end, one photograph after the other, and has another name until it is whole. So its length says how
far it is, and a photograph that is drawn can be kept before anybody knows how many there will be; `np.memmap` cannot.
"""

import hashlib
import io
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock

from ..files import DATA_DIR, full_disk_named
from ..images import read_square
from ..runs import processes
from ..runs.progress import Progress

CACHE_FORMAT = 2  # part of the key: raise it when the pixels that a file gives change
CHUNK = 256  # photographs that are decoded before they are brought to the disk


def cached_photographs(photos, size: int, data_dir: Path = DATA_DIR) -> np.ndarray:
    """The photographs of `photos.usable` squashed to size x size: a read-only memory map, uint8 (N,size,size,3).

    What `find_photographs` has not decoded already is decoded here, once. An interrupted build goes on where it stood;
    a second process waits for the first. Raises what `read_square` raises.
    """
    rows = photos.usable
    tell_enlarged(rows, size)
    final = cache_path(rows, size, data_dir)
    final.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{final}.lock"):
        if final.exists() and (whole := _opened(final, (len(rows), size, size, 3))) is not None:
            return whole
        cache, label = GrowingCache(final.with_suffix(".growing"), size), f"decoding photographs to {size} px"
        with Progress(len(rows), label, start=cache.count) as progress, ThreadPoolExecutor() as pool:
            while cache.count < len(rows):
                some = rows.iloc[cache.count : cache.count + CHUNK].itertuples()
                decoded = pool.map(lambda row: read_square(photos.root / row.path, row.sha256, size), some)
                progress.update(cache.add(decoded))
        cache.finish(final)
    return np.load(final, mmap_mode="r")


def _opened(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """A cache of this shape; one that is damaged is deleted, with a line that names it, and None returned.

    Pixels that changed on the disk are not looked for: that would read the whole cache before every run.
    """
    try:
        pixels = np.load(path, mmap_mode="r")
        if pixels.shape == shape and pixels.dtype == np.uint8:
            return pixels
        reason = f"it holds {pixels.dtype} {pixels.shape}"
    except (ValueError, OSError, EOFError) as error:
        reason = str(error)
    processes.say(f"{path} is damaged ({reason}) and is made again")
    path.unlink()
    return None


def cache_path(rows: pd.DataFrame, size: int, data_dir: Path) -> Path:
    """Where the cache of these photographs (path, sha256), at this size, is or will be."""
    key = hashlib.sha256(f"{CACHE_FORMAT} {size}".encode())
    for name, sha256 in zip(rows.path, rows.sha256, strict=True):
        key.update(f"{name}\0{sha256}\n".encode())
    return data_dir / "cache" / f"{key.hexdigest()[:16]}-{size}px.npy"


def tell_enlarged(rows: pd.DataFrame, size: int) -> None:
    """Print a line if photographs (width, height) are smaller than size x size."""
    if n := int((rows[["width", "height"]].min(axis=1) < size).sum()):
        processes.say(f"{n:,} of {len(rows):,} photographs are smaller than {size} px, and are enlarged")


class GrowingCache:
    """A cache of `count` photographs in the making, gone on with if the file is there; size 0 keeps nothing."""

    def __init__(self, path: Path, size: int):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.size = path, size
        self.file = open(path, "r+b" if path.exists() else "w+b")  # noqa: SIM115 - until it is finished
        self.cut((path.stat().st_size - len(self._header(0))) // size**2 // 3 if size else 0)

    def add(self, photographs: Iterable[np.ndarray]) -> int:
        """Add photographs, uint8 (size,size,3) each, and bring all to the disk; returns how many they were."""
        before = self.count
        with full_disk_named(self.path):
            for pixels in photographs:
                self.file.write(np.ascontiguousarray(pixels))
                self.count += 1
            self.file.flush()
            os.fsync(self.file.fileno())
        return self.count - before

    def cut(self, count: int) -> None:
        """Keep the first `count` photographs, and nothing behind them."""
        self.count = max(count, 0)
        self.file.seek(0)
        self.file.write(self._header(self.count))
        self.file.truncate(self.file.seek(self.count * self.size**2 * 3, os.SEEK_CUR))

    def finish(self, final: Path) -> None:
        """Give the cache its name: it is whole."""
        self.cut(self.count)  # writes how many there are
        self.add([])
        self.file.close()
        self.path.replace(final)

    def _header(self, count: int) -> bytes:
        """The first bytes of an .npy; numpy leaves room for the count to grow, so they are always equally many."""
        form = {"descr": "|u1", "fortran_order": False, "shape": (count, self.size, self.size, 3)}
        np.lib.format.write_array_header_1_0(file := io.BytesIO(), form)
        return file.getvalue()
