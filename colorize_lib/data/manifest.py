"""The manifest: which photographs a run uses, how they are split, and which files are unusable and why.

A manifest is a CSV with one row per file: path (below the source's root), width, height (after EXIF rotation), sha256,
split (`train`, `val`, or empty for an unusable file) and reason (why it is unusable). Where the files come from is
`sources.py`; how one file becomes an RGB picture is `images.py`.
"""

import csv
import hashlib
import json
import os
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock

from ..files import DATA_DIR, atomic_path, from_root
from ..images import UnusablePhoto, is_greyscale, read_rgb
from ..runs import processes
from ..runs.progress import Progress
from .sources import SOURCES, Listing

COLUMNS = ["path", "width", "height", "sha256", "split", "reason"]
MAX_UNUSABLE_SHARE = 0.2


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


@dataclass(frozen=True)
class PhotoSet:
    """The photographs of a run: `root / row.path` for every row of `manifest`; the CSV itself is at `path`.

    streamed: they are no longer files, but lie in the streams of `root`.
    """

    root: Path
    manifest: pd.DataFrame
    path: Path
    streamed: bool = False

    @property
    def usable(self) -> pd.DataFrame:
        """The manifest's rows that belong to a split, renumbered from 0."""
        return self.manifest[self.manifest.split != ""].reset_index(drop=True)

    def digest(self) -> str:
        """A short digest of which files, with what content, are in which split."""
        text = self.usable[["path", "sha256", "split"]].to_csv(index=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def summary(self) -> str:
        """One line: how many photographs, how they are split, how many files are unusable and why."""
        splits = Counter(self.usable.split)
        reasons = Counter(reason.split(":")[0] for reason in self.manifest.reason if reason)
        why = ", ".join(f"{n:,} {reason}" for reason, n in reasons.most_common())
        unusable = f"; {sum(reasons.values()):,} unusable ({why})" if reasons else "; no unusable file"
        return f"{len(self.usable):,} photographs: {splits['train']:,} train, {splits['val']:,} val{unusable}"


def find_photographs(config: PhotoConfig, data_dir: Path = DATA_DIR) -> PhotoSet:
    """Draw, examine and split the photographs of `config`, print one line about them, and return them.

    The manifest is kept in `data_dir/manifests`, so that the same files are examined once and every notebook sees the
    same split; a file that is newer than it makes a new one. Given `config.manifest`, that split is used as it stands.
    A second process waits for the first.
    Raises ValueError if no photograph is left, or if more than 20 % of the files examined are unusable;
    FileNotFoundError if a folder or a manifest is missing.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(data_dir / f"{config.source}.lock"):
        listing = SOURCES[config.source](config.folder, data_dir, config.seed)
        if given := listing.manifest or (from_root(config.manifest) if config.manifest else None):
            path = given
        else:
            key, newest = _key(config, listing)
            path = data_dir / "manifests" / f"{config.source}-{key}.csv"
            if not path.exists() or path.stat().st_mtime_ns < newest:
                _write_manifest(config, listing, path, newest)
    photos = PhotoSet(listing.root, read_manifest(path), path, listing.manifest is not None)
    if photos.streamed and (config.manifest or config.n_images not in (0, len(photos.manifest))):
        raise ValueError(f"{listing.root} holds a finished draw: set n_images=0, and leave `manifest` empty")
    processes.say(f"{photos.summary()} [{path.name}]")
    _refuse_bad_manifest(photos.manifest, path)
    return photos


def _write_manifest(config: PhotoConfig, listing: Listing, path: Path, newest: int) -> None:
    with atomic_path(path) as partial:
        build_manifest(config, listing).to_csv(partial, index=False)
        if newest > time.time_ns():  # a wrong clock somewhere; without this, every call would examine anew
            os.utime(partial, ns=(newest, newest))


def read_manifest(path: Path) -> pd.DataFrame:
    """Read a manifest CSV. Raises FileNotFoundError, or ValueError if it is damaged, naming the file."""
    if not path.is_file():
        raise FileNotFoundError(f"manifest {path} does not exist")
    try:
        # Not by pandas, which fills short rows, shifts long ones and takes the name NA for a missing value.
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            columns, rows = reader.fieldnames or [], list(reader)
        if missing := [column for column in COLUMNS[:-1] if column not in columns]:
            raise ValueError(f"it lacks the column {', '.join(missing)}")
        for number, row in enumerate(rows, start=1):
            if None in row or None in row.values():  # what DictReader makes of fields too many and too few
                raise ValueError(f"row {number} has not {len(columns)} fields")
        manifest = pd.DataFrame(rows, columns=columns).astype({"width": int, "height": int})
    except (ValueError, csv.Error) as error:
        raise ValueError(f"manifest {path} cannot be read: {error}") from error
    manifest = manifest if "reason" in manifest else manifest.assign(reason="")
    if unknown := set(manifest.split) - {"train", "val", ""}:
        raise ValueError(f"manifest {path} has the split {sorted(unknown)[0]!r}; known are train and val")
    return manifest[COLUMNS]


def build_manifest(config: PhotoConfig, listing: Listing) -> pd.DataFrame:
    """Examine files in a seeded random order until `n_images` usable ones are found, and split those.

    Files are ordered by name before they are shuffled, so the draw is the same on every machine. Splits: the listing's
    own (a ready-made train/ and val/; for `sample`, by photograph), else the first `1 - val_share` of the draw train,
    with one photograph at least on either side.
    """
    order = np.random.default_rng(config.seed).permutation(len(listing.paths))
    wanted = config.n_images or len(order)
    rows: list[dict] = []
    usable: list[dict] = []
    with Progress(min(wanted, len(order)), "examining photographs") as progress, ThreadPoolExecutor() as pool:
        while len(usable) < wanted and len(rows) < len(order):
            # No more files than usable ones are missing, so that none is examined in vain.
            chunk = [listing.paths[i] for i in order[len(rows) : len(rows) + min(wanted - len(usable), 512)]]
            for row in pool.map(lambda name: examine(listing.root, name, config.min_side), chunk):
                rows.append(row)
                if not row["reason"]:
                    usable.append(row)
                    progress.update()
    n_train = min(max(round(len(usable) * (1 - config.val_share)), 1), len(usable) - 1)
    for position, row in enumerate(usable):
        row["split"] = listing.split_of(row["path"]) or ("train" if position < n_train else "val")
    return pd.DataFrame(rows, columns=COLUMNS)


def examine(root: Path, name: str, min_side: int) -> dict:
    """One manifest row, its split still empty, for the file `root / name`; never raises for a bad file."""
    printable = name.encode("utf-8", "backslashreplace").decode().replace("\r", "\\r")
    row = {"path": printable, "width": 0, "height": 0, "sha256": "", "split": "", "reason": ""}
    try:
        if printable != name:
            raise UnusablePhoto("unreadable: its name does not fit into a CSV in UTF-8")
        if not (root / name).is_file():  # a link to nothing, or a pipe, which would never end
            raise UnusablePhoto("unreadable: not a file")
        content = (root / name).read_bytes()
        row["sha256"] = hashlib.sha256(content).hexdigest()
        # A reduced decode reads every byte of the file, which is all that is needed here.
        image, (row["width"], row["height"]) = read_rgb(content, at_least=128)
        if min(row["width"], row["height"]) < min_side:
            raise UnusablePhoto(f"too small: {row['width']}x{row['height']}")
        if is_greyscale(image):
            raise UnusablePhoto("greyscale")
    except UnusablePhoto as error:
        row["reason"] = str(error)
    except OSError as error:
        row["reason"] = f"unreadable: {error.strerror}"  # not the whole message, which holds this machine's path
    return row


def _refuse_bad_manifest(manifest: pd.DataFrame, path: Path) -> None:
    """Raise ValueError unless there is something to train on, something to validate on, and most files are usable."""
    bad = manifest[manifest.reason != ""]
    if len(bad) > MAX_UNUSABLE_SHARE * len(manifest):
        first = bad.iloc[0]
        raise ValueError(
            f"{len(bad):,} of the {len(manifest):,} files examined are unusable, more than "
            f"{MAX_UNUSABLE_SHARE:.0%} (first: {first.path}, {first.reason}). The reasons are in {path}."
        )
    for split in ("train", "val"):
        if not (manifest.split == split).any():
            raise ValueError(f"no photograph is left for {split} ({len(manifest):,} files examined; see {path})")


def _key(config: PhotoConfig, listing: Listing) -> tuple[str, int]:
    """A short digest of the settings and of the files' names and sizes, and when the newest file was changed (ns)."""
    settings = [config.source, config.n_images, config.val_share, config.min_side, config.seed]
    digest, newest = hashlib.sha256(json.dumps(settings).encode()), 0
    for name in listing.paths:
        try:
            status = (listing.root / name).stat()
            size, newest = status.st_size, max(newest, status.st_mtime_ns)
        except OSError:  # a link to nothing
            size = -1
        digest.update(name.encode("utf-8", "backslashreplace") + f"\0{size}\n".encode())
    return digest.hexdigest()[:12], newest
