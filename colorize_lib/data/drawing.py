"""The draw: which of a source's files are usable, and on which side of the split each is.

What is decoded to be examined is kept in the cache, so that a file is decoded once. How far an interrupted draw came is
in two files: rows in notes, and the pixels of the usable ones in a growing cache.
"""

import hashlib
import json
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ..images import UnusablePhoto, is_greyscale, read_rgb, resize
from ..runs.progress import Progress
from .cache import CHUNK, GrowingCache
from .sources import SOURCES, Listing

COLUMNS = ["path", "class", "width", "height", "sha256", "split", "reason"]
NONE = np.empty((0, 0, 3), np.uint8)  # the pixels of size 0
COPY = "duplicate"  # how the reason begins of a copy that would be on both sides


@dataclass(frozen=True)
class PhotoConfig:
    """Which photographs to use and how to split them."""

    source: str = "coco"  # sample | folder | coco | imagenet | streamed
    folder: str = ""  # where the photographs are (folder, imagenet, streamed)
    n_images: int = 10_000  # how many to draw at random; 0 for all
    val_share: float = 0.2  # share of the drawn photographs kept for validation, unless the source comes with a split
    min_side: int = 64  # photographs with a shorter side, in pixels, are unusable
    seed: int = 0  # of the draw and the split
    manifest: str = ""  # use this manifest (CSV) instead of drawing; the paths in it are relative to the source's root

    def __post_init__(self):
        if self.source not in SOURCES:
            raise ValueError(f"source {self.source!r} is unknown; choose one of {', '.join(SOURCES)}")
        if not 0 < self.val_share < 1:
            raise ValueError(f"val_share is {self.val_share}; it must lie between 0 and 1")
        if self.n_images < 0:
            raise ValueError(f"n_images is {self.n_images}; use 0 for all photographs")


def draw(config: PhotoConfig, listing: Listing, notes: Path, cache: GrowingCache) -> pd.DataFrame:
    """The manifest: files are examined in a seeded random order until `n_images` usable ones are found, and split.

    Files are ordered by name before they are shuffled, so the draw is the same on every machine. Splits: the listing's
    own (a ready-made train/ and val/; for `sample`, by photograph), else the first `1 - val_share` of the draw train,
    with one photograph at least on either side; equal files are on one side.
    """
    order = np.random.default_rng(config.seed).permutation(len(listing.paths))
    wanted = min(config.n_images or len(order), len(order))
    rows = _noted(notes, cache)
    usable = [row for row in rows if not row["reason"]]
    label = "examining photographs"
    with Progress(wanted, label, start=len(usable)) as progress, ThreadPoolExecutor() as pool, open(notes, "a") as file:
        while len(usable) < wanted and len(rows) < len(order):
            # No more files than usable ones are missing, so that none is examined in vain.
            chunk = [listing.paths[i] for i in order[len(rows) : len(rows) + min(wanted - len(usable), CHUNK)]]
            found = list(pool.map(lambda name: examine(listing.root, name, config.min_side, cache.size), chunk))
            for name, (row, pixels) in zip(chunk, found, strict=True):
                row["class"] = listing.classes.get(name, "")
                rows.append(row)
                if not row["reason"]:
                    usable.append(row)
                    cache.append(pixels)
                    progress.update()
            cache.flush()
            file.writelines(json.dumps(row) + "\n" for row, _ in found)
            file.flush()
    own = [listing.split.get(row["path"], "") for row in usable]
    drawn = own.count("")
    n_train = min(max(round(drawn * (1 - config.val_share)), 1), drawn - 1)
    sides = iter(["train"] * n_train + ["val"] * (drawn - n_train))
    for row, split in zip(usable, own, strict=True):
        row["split"] = split or next(sides)
    _keep_copies_together(usable, own)
    return pd.DataFrame(rows, columns=COLUMNS)


def _noted(notes: Path, cache: GrowingCache) -> list[dict]:
    """The rows of a draw that was interrupted, as far as they and their pixels are whole."""
    notes.parent.mkdir(parents=True, exist_ok=True)
    lines = notes.read_text().splitlines(keepends=True) if notes.exists() else []
    rows = [json.loads(line) for line in lines if line.endswith("\n")]
    usable = np.cumsum([not row["reason"] for row in rows], dtype=int)
    rows = rows[: np.searchsorted(usable, cache.count, side="right")]
    cache.cut(int(usable[len(rows) - 1]) if rows else 0)
    notes.write_text("".join(lines[: len(rows)]))
    return rows


def _keep_copies_together(usable: list[dict], own: list[str]) -> None:
    """Put files of equal content on one side: that which the source itself says, val first; else the first one's.

    own: the source's split of each, or "". A copy that the source has in train, and in val too, is left out.
    """
    copies = defaultdict(list)
    for row, split in zip(usable, own, strict=True):
        copies[row["sha256"]].append((row, split))
    for group in copies.values():
        sides = [split for _, split in group if split]
        side = "val" if "val" in sides else sides[0] if sides else group[0][0]["split"]
        first = next((row["path"] for row, _ in group if row["split"] == side), "")
        for row, split in group:
            if split in ("", side):
                row["split"] = side
            else:
                row["split"], row["reason"] = "", f"{COPY}: the same file is in val, {first}"


def examine(root: Path, name: str, min_side: int, size: int = 0) -> tuple[dict, np.ndarray]:
    """One manifest row, its class and split still empty, for the file `root / name`; never raises for a bad file.

    And its pixels, squashed to size x size, uint8 (size,size,3).
    """
    printable = name.encode("utf-8", "backslashreplace").decode().replace("\r", "\\r")
    row = dict.fromkeys(COLUMNS, "") | {"path": printable, "width": 0, "height": 0}
    try:
        if printable != name:
            raise UnusablePhoto("unreadable: its name does not fit into a CSV in UTF-8")
        if not (root / name).is_file():  # a link to nothing, or a pipe, which would never end
            raise UnusablePhoto("unreadable: not a file")
        content = (root / name).read_bytes()
        row["sha256"] = hashlib.sha256(content).hexdigest()
        image = read_rgb(content)
        row["width"], row["height"] = image.size
        if min(row["width"], row["height"]) < min_side:
            raise UnusablePhoto(f"too small: {row['width']}x{row['height']}")
        if is_greyscale(image):
            raise UnusablePhoto("greyscale")
        return row, resize(image, size) if size else NONE
    except UnusablePhoto as error:
        row["reason"] = str(error)
    except OSError as error:
        row["reason"] = f"unreadable: {error.strerror}"  # not the whole message, which holds this machine's path
    return row, NONE
