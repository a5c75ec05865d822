"""Photographs in litdata's streams: files of many small pictures each, for sets that outgrow a cache on the disk.

A folder of them holds `train/` and `val/` (an index and files of 64 MB) and `manifest.csv`, a split's rows in their
order. Lossless WebP: two fifths of the cache's space, decoded in every epoch. litdata keeps and finds the pictures;
which come when is `LabLoader`'s doing: the same for any number of processes, and resumed exactly, unlike litdata's.
"""

import io
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ..images import read_square
from ..runs.progress import Progress
from .cache import tell_enlarged
from .manifest import PhotoSet
from .sources import STREAMS_MANIFEST

FILE_BYTES = "64MB"
WINDOW = 16  # files whose pictures are shuffled together: about 1 GB, which the system's file cache can hold
AT_ONCE = 1024  # photographs in the making


def write_streams(photos: PhotoSet, folder: Path, size: int) -> None:
    """Store the usable photographs, squashed to size x size, as streams in `folder`: whole, or not at all.

    Raises FileExistsError, ModuleNotFoundError without litdata, and what `read_square` raises.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} is there already: streams are written to a new folder")
    making = folder.with_name(f".{folder.name}.making")
    shutil.rmtree(making, ignore_errors=True)
    usable = photos.usable
    tell_enlarged(usable, size)

    def encode(row) -> bytes:
        file, pixels = io.BytesIO(), read_square(photos.root / row.path, row.sha256, size)
        Image.fromarray(pixels).save(file, format="WEBP", lossless=True, method=0, quality=0)  # the quickest, and small
        return file.getvalue()

    with Progress(len(usable), "storing photographs") as progress, ThreadPoolExecutor() as pool:
        for split in ("train", "val"):
            stream, rows = _open(making / split), usable[usable.split == split]
            for start in range(0, len(rows), AT_ONCE):
                some = rows.iloc[start : start + AT_ONCE].itertuples()
                for position, content in enumerate(pool.map(encode, some), start):
                    stream[position] = {"image": content}
                    progress.update()
            stream.done()
            stream.merge()
    usable.to_csv(making / STREAMS_MANIFEST, index=False)
    making.rename(folder)


class StreamedPhotographs:
    """The photographs of one stream, as a `LabLoader` takes them. Raises ValueError if they are of another size."""

    def __init__(self, folder: Path, size: int):
        self.stream = _open(folder)
        self.counts = [file["chunk_size"] for file in json.loads((folder / "index.json").read_text())["chunks"]]
        if (stored := self.rgb([0]).shape[1]) != size:
            raise ValueError(f"the streams in {folder.parent} are of {stored} px, not {size}: use size={stored}")

    def __len__(self) -> int:
        return sum(self.counts)

    def rgb(self, positions: list[int] | np.ndarray) -> torch.Tensor:
        """The photographs at these positions of the split: uint8 (N,H,W,3)."""
        in_order, places = np.unique(np.asarray(positions), return_inverse=True)  # so that each file is opened once
        files = (io.BytesIO(self.stream[int(position)]["image"]) for position in in_order)
        return torch.from_numpy(np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])[places])

    def shuffled(self, rng: np.random.Generator) -> np.ndarray:
        """All positions: the files in random order, and the pictures of WINDOW files after each other mixed."""
        files = np.split(np.arange(len(self)), np.cumsum(self.counts)[:-1])
        order = [files[i] for i in rng.permutation(len(files))]
        windows = [np.concatenate(order[i : i + WINDOW]) for i in range(0, len(order), WINDOW)]
        return np.concatenate([rng.permutation(window) for window in windows])


def _open(folder: Path):
    """litdata's store in `folder`. Not its StreamingDataset, which asks the network for newer versions of itself."""
    try:
        from litdata.streaming import Cache  # only streams need it
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("streams need the package litdata: pip install -e .[scale]") from error
    return Cache(str(folder), chunk_bytes=FILE_BYTES)
