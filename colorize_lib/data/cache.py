"""Photographs decoded once into a memory-mapped uint8 cache."""

import hashlib
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from filelock import FileLock

from ..files import DATA_DIR, write_text
from ..images import read_square
from ..runs.progress import Progress
from .manifest import PhotoSet

CACHE_FORMAT = 1  # part of the key: raise it when the pixels that a file gives change
CHUNK = 256  # photographs between two notes of how far the building has come


def cached_photographs(photos: PhotoSet, size: int, data_dir: Path = DATA_DIR) -> np.ndarray:
    """All usable photographs of the set, squashed to size x size: a read-only memory map, uint8 (N,size,size,3).

    Row i is row i of `photos.usable`. Every file is decoded and resized once; the result is kept under
    `data_dir/cache`, keyed by the manifest's rows and the size. A build that was interrupted goes on where it stood; a
    second process waits for the first. Only a whole cache ever has the final name.
    Raises FileNotFoundError for a missing file, and ValueError for one whose content is not the manifest's (sha256).
    """
    rows = photos.usable
    key = hashlib.sha256(f"{CACHE_FORMAT} {size}".encode())
    for name, sha256 in zip(rows.path, rows.sha256, strict=True):
        key.update(f"{name}\0{sha256}\n".encode())
    final = data_dir / "cache" / f"{key.hexdigest()[:16]}-{size}px.npy"
    final.parent.mkdir(parents=True, exist_ok=True)
    if not final.exists():
        with FileLock(f"{final}.lock"):
            if not final.exists():
                _build_cache(photos, size, final)
    return np.load(final, mmap_mode="r")


def _build_cache(photos: PhotoSet, size: int, final: Path) -> None:
    """Fill `final` by way of a partial file beside it, noting after each chunk how many rows are on the disk."""
    rows = photos.usable
    partial, note = final.with_suffix(".partial"), final.with_suffix(".progress.json")
    shape = (len(rows), size, size, 3)
    done = json.loads(note.read_text())["done"] if note.exists() and partial.exists() else 0
    # A memory map on a full disk crashes the process. The partial file is sparse: only what is filled takes space.
    needed, free = (len(rows) - done) * size * size * 3, shutil.disk_usage(final.parent).free
    if free < needed:
        raise OSError(f"the cache needs {needed / 1e9:.1f} GB in {final.parent}, and only {free / 1e9:.1f} GB are free")
    mode = "r+" if done else "w+"
    cache = np.lib.format.open_memmap(partial, mode=mode, dtype=np.uint8, shape=None if done else shape)

    def decode(row: int) -> np.ndarray:
        return read_square(photos.root / rows.path[row], rows.sha256[row], size)

    label = f"decoding photographs to {size} px"
    with Progress(len(rows), label, start=done) as progress, ThreadPoolExecutor() as pool:
        for start in range(done, len(rows), CHUNK):
            indices = range(start, min(start + CHUNK, len(rows)))
            for row, pixels in zip(indices, pool.map(decode, indices), strict=True):
                cache[row] = pixels
                progress.update()
            cache.flush()
            write_text(note, json.dumps({"done": indices.stop}))
    del cache
    partial.replace(final)
    note.unlink(missing_ok=True)
