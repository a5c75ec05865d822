"""Shards: photographs decoded and resized once, many to a tar file that is read from its beginning to its end.

A folder of shards holds `train/000000.tar`, `val/000000.tar` and so on; in them `000001234.webp` is photograph 1,234 of
the split, counted from 0. Beside them lie `manifest.csv`, whose rows of a split are in that order, and `index.json`,
which is written last and by which the folder is known as whole. They are made by `shard_making.py` and read by
`shard_loader.py`. Tar files of this form are what WebDataset reads (Aizman et al., "High performance I/O for large
scale deep learning", arXiv:2001.01858).
"""

import dataclasses
import hashlib
import io
import json
import tarfile
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from ..files import atomic_path, write_text

INDEX, MANIFEST = "index.json", "manifest.csv"
NOTE = "making.json"  # of a folder in the making: what is finished
FORMAT = 1  # of the folder; raise it when an older loader would misread what is written
SPLITS = ("train", "val")
# What Pillow is told, by encoding. WebP's quickest lossless method makes smaller files than PNG, and sooner. In a JPEG
# chroma keeps its full resolution, for colour is what is to be learned.
ENCODINGS = {
    "webp": {"format": "WEBP", "lossless": True, "method": 0, "quality": 0},
    "png": {"format": "PNG", "compress_level": 6},
    "jpeg": {"format": "JPEG", "subsampling": 0},
}


@dataclass(frozen=True)
class ShardConfig:
    """How photographs are stored in shards."""

    size: int = 256  # height and width, in pixels
    encoding: str = "webp"  # webp | png (both lossless) | jpeg
    quality: int = 95  # of jpeg, 1 to 100; the lossless ones have none
    per_shard: int = 1000  # photographs in a shard; the last one of a split holds the rest

    def __post_init__(self):
        if self.encoding not in ENCODINGS:
            raise ValueError(f"encoding {self.encoding!r} is unknown; choose one of {', '.join(ENCODINGS)}")
        if not 1 <= self.quality <= 100:
            raise ValueError(f"quality is {self.quality}; it must lie between 1 and 100")
        if self.size < 1 or self.per_shard < 1:
            raise ValueError(f"size is {self.size} and per_shard {self.per_shard}; both must be at least 1")


@dataclass(frozen=True)
class Shard:
    """One tar file: its path below the folder, how many photographs and bytes it has, and its sha256."""

    name: str
    count: int
    bytes: int
    sha256: str


def encode(pixels: np.ndarray, config: ShardConfig) -> bytes:
    """uint8 (H,W,3) as the bytes of an image file."""
    options = ENCODINGS[config.encoding] | ({"quality": config.quality} if config.encoding == "jpeg" else {})
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, **options)
    return file.getvalue()


def decode(content: bytes, size: int) -> np.ndarray:
    """The bytes of an image file as uint8 (size,size,3).

    Raises what Pillow raises for a broken file, and ValueError for one of another size.
    """
    with Image.open(io.BytesIO(content)) as image:
        pixels = np.asarray(image.convert("RGB"))
    if pixels.shape != (size, size, 3):
        raise ValueError(f"a picture of {pixels.shape[1]}x{pixels.shape[0]} pixels, not {size}x{size}")
    return pixels


def write_shard(folder: Path, name: str, files: Iterable[tuple[str, bytes]]) -> Shard:
    """Write `folder / name` from pairs of (file name, content), whole or not at all.

    The same files give the same bytes: no times and no owners are stored.
    """
    count = 0
    with atomic_path(folder / name) as partial:
        with tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as tar:
            for file_name, content in files:
                count += 1
                member = tarfile.TarInfo(file_name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        size, digest = partial.stat().st_size, _sha256(partial)
    return Shard(name, count, size, digest)


@dataclass(frozen=True)
class ShardSet:
    """A whole folder of shards. In the place of a `photos.PhotoSet` it serves `make_dataloaders` and the notebooks.

    settings: what index.json says of how they were made. shards: split -> its shards, in the manifest's order.
    """

    root: Path
    settings: dict
    shards: dict[str, list[Shard]]

    @property
    def config(self) -> ShardConfig:
        """How the photographs are stored."""
        return ShardConfig(**self.settings["shards"])

    def count(self, split: str) -> int:
        """How many photographs the split has."""
        return sum(shard.count for shard in self.shards[split])

    def digest(self) -> str:
        """A short digest of which photographs are in which split, and of what the shards keep of them."""
        return hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()[:16]

    def summary(self) -> str:
        """One line: how many photographs, in what form."""
        config, size = self.config, sum(shard.bytes for split in SPLITS for shard in self.shards[split])
        kept = f"jpeg of quality {config.quality}" if config.encoding == "jpeg" else f"{config.encoding}, lossless"
        return (
            f"{self.count('train') + self.count('val'):,} photographs: {self.count('train'):,} train, "
            f"{self.count('val'):,} val; {sum(map(len, self.shards.values())):,} shards, {size / 1e6:,.1f} MB; "
            f"{config.size}x{config.size} pixels, {kept}"
        )

    @property
    def path(self) -> Path:
        """The manifest's path."""
        return self.root / MANIFEST

    @cached_property
    def manifest(self):
        """The manifest, as `PhotoSet.manifest`; read when it is asked for, since millions of rows fill the memory."""
        from .manifest import read_manifest  # photos imports this module

        return read_manifest(self.path)

    @property
    def usable(self):
        """The manifest's rows that belong to a split, renumbered from 0."""
        return self.manifest[self.manifest.split != ""].reset_index(drop=True)

    def intact(self, split: str) -> list[tuple[Path, int, int]]:
        """(path, number of its first photograph, how many it has) of the shards that are there at their full length.

        The others are named in a warning. A length is looked up, so this takes no time; `damaged` reads everything.
        Raises ValueError if none is left.
        """
        found, first = [], 0
        for shard in self.shards[split]:
            path = self.root / shard.name
            length = path.stat().st_size if path.is_file() else None
            if length == shard.bytes:
                found.append((path, first, shard.count))
            else:
                what = "is missing" if length is None else f"has {length:,} bytes and not {shard.bytes:,}"
                warnings.warn(f"shard {path} {what}; its {shard.count:,} photographs are left out", stacklevel=2)
            first += shard.count
        if not found:
            raise ValueError(f"no whole shard is left for {split} in {self.root}")
        return found

    def damaged(self) -> list[str]:
        """Names of the shards that are missing or differ from what was written, found by reading all of them."""
        shards = [shard for split in SPLITS for shard in self.shards[split]]
        return [shard.name for shard in shards if not self._is_as_written(shard)]

    def _is_as_written(self, shard: Shard) -> bool:
        path = self.root / shard.name
        return path.is_file() and path.stat().st_size == shard.bytes and _sha256(path) == shard.sha256


def open_shards(root: Path) -> ShardSet:
    """The shards in the folder `root`.

    Raises FileNotFoundError if there is no index, and ValueError for one that cannot be read.
    """
    path = root / INDEX
    if not path.is_file():
        advice = "make shards there with: python -m colorize_lib shards DIR --source ..."
        if (root / NOTE).is_file():
            advice = "its shards are not finished: run the command that makes them again"
        raise FileNotFoundError(f"{root} has no {INDEX}; {advice}")
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        if index["format"] != FORMAT:
            raise ValueError(f"its format is {index['format']}, and this version reads {FORMAT}")
        shards = {split: [Shard(**shard) for shard in index["splits"][split]["shards"]] for split in SPLITS}
        found = ShardSet(root, index["settings"], shards)
        found.config  # noqa: B018 - raises for settings that are none
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} cannot be read: {type(error).__name__}: {error}") from error
    return found


def write_index(root: Path, settings: dict, shards: dict[str, list[Shard]]) -> None:
    """Write index.json, by which a folder of shards is whole."""
    splits = {
        split: {
            "count": sum(shard.count for shard in shards[split]),
            "bytes": sum(shard.bytes for shard in shards[split]),
            "shards": [dataclasses.asdict(shard) for shard in shards[split]],
        }
        for split in SPLITS
    }
    write_text(root / INDEX, json.dumps({"format": FORMAT, "settings": settings, "splits": splits}, indent=1) + "\n")


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
