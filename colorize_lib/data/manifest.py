"""The manifest: which photographs a run uses, how they are split, and which files are unusable and why.

A manifest is a CSV with one row per file: path (below the source's root), class (empty where none is known), width,
height (after EXIF rotation), sha256, split (`train`, `val`, or empty for an unusable file) and reason (why it is
unusable). Where the files come from is `sources.py`; how they are examined and split is `drawing.py`.
"""

import csv
import hashlib
import json
import os
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock

from ..files import DATA_DIR, atomic_path, from_root
from ..runs import processes
from .cache import GrowingCache, cache_path
from .drawing import COLUMNS, COPY, PhotoConfig, draw
from .sources import SOURCES, Listing

NEEDED = {"path", "width", "height", "sha256", "split"}
MAX_UNUSABLE_SHARE = 0.2
FORMAT = 2  # part of the key of a manifest: raise it when another rule examines or splits


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

    @property
    def classes(self) -> list[str]:
        """The names of the classes, sorted; empty if none is known."""
        return sorted(set(self.usable["class"]) - {""})

    def labels(self) -> np.ndarray:
        """The number in `classes` of each usable photograph's class, int64; -1 where it is not known."""
        return pd.Categorical(self.usable["class"], self.classes).codes.astype(np.int64)

    def summary(self) -> str:
        """One line: how many photographs, how they are split, how many are unusable and why, how many are copies."""
        usable = self.usable
        splits = Counter(usable.split)
        reasons = Counter(reason.split(":")[0] for reason in self.manifest.reason if reason)
        why = ", ".join(f"{n:,} {reason}" for reason, n in reasons.most_common())
        line = f"{len(usable):,} photographs: {splits['train']:,} train, {splits['val']:,} val"
        line += f"; {reasons.total():,} unusable ({why})" if reasons else "; no unusable file"
        if copies := int(usable.sha256.duplicated().sum()):
            leaks = int((usable.groupby("sha256").split.nunique() > 1).sum())
            line += f"; {copies:,} are copies of others, " + (
                f"{leaks:,} ON BOTH SIDES" if leaks else "on the same side"
            )
        return line


def find_photographs(config: PhotoConfig, data_dir: Path = DATA_DIR, size: int = 0) -> PhotoSet:
    """Draw, examine and split the photographs of `config`, print one line about them, and return them.

    The manifest is kept in `data_dir/manifests`, so that the same files are examined once and every notebook sees the
    same split; a file that is newer than it makes a new one. Given `config.manifest`, that split is used as it stands.
    A second process waits for the first; with a size, an examination that was interrupted goes on where it stood.
    size: what is decoded to be examined is kept in the cache of this size, so that no file is decoded twice.
    Raises ValueError if no photograph is left, or if more than 20 % of the files examined are unusable;
    FileNotFoundError if a folder or a manifest is missing.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(data_dir / f"{config.source}.lock"):
        listing = SOURCES[config.source](config.folder, data_dir, config.seed)
        path = listing.manifest or (from_root(config.manifest) if config.manifest else None)
        if path is None:
            key, newest = _key(config, listing)
            path = data_dir / "manifests" / f"{config.source}-{key}.csv"
            if not path.exists() or path.stat().st_mtime_ns < newest:
                _write_manifest(config, listing, path, newest, size, data_dir)
    photos = PhotoSet(listing.root, read_manifest(path), path, listing.manifest is not None)
    if photos.streamed and (config.manifest or config.n_images not in (0, len(photos.manifest))):
        raise ValueError(f"{listing.root} holds a finished draw: set n_images=0, and leave `manifest` empty")
    processes.say(f"{photos.summary()} [{path.name}]")
    _refuse_bad_manifest(photos.manifest, path)
    return photos


def _write_manifest(config: PhotoConfig, listing: Listing, path: Path, newest: int, size: int, data_dir: Path) -> None:
    """Examine files, and write the manifest; with a size, the cache first."""
    notes = path.with_suffix(f".{size}px.notes")
    growing = data_dir / "cache" / f"{path.stem}-{size}px.growing"
    if notes.exists() and notes.stat().st_mtime_ns < newest:
        notes.unlink()
    cache = GrowingCache(growing, size)
    manifest = draw(config, listing, notes, cache)
    usable = manifest[manifest.split != ""]
    if size and cache.count == len(usable):  # else copies were left out: the cache is built anew
        cache.finish(cache_path(usable, size, data_dir))
    with atomic_path(path) as partial:
        manifest.to_csv(partial, index=False)
        if newest > time.time_ns():  # a wrong clock somewhere; without this, every call would examine anew
            os.utime(partial, ns=(newest, newest))
    notes.unlink()
    growing.unlink(missing_ok=True)


def read_manifest(path: Path) -> pd.DataFrame:
    """Read a manifest CSV. Raises FileNotFoundError, or ValueError if it is damaged, naming the file."""
    if not path.is_file():
        raise FileNotFoundError(f"manifest {path} does not exist")
    try:
        # Not by pandas, which fills short rows, shifts long ones and takes the name NA for a missing value.
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            columns, rows = reader.fieldnames or [], list(reader)
        if missing := sorted(NEEDED - set(columns)):
            raise ValueError(f"it lacks the column {', '.join(missing)}")
        for number, row in enumerate(rows, start=1):
            if None in row or None in row.values():  # what DictReader makes of fields too many and too few
                raise ValueError(f"row {number} has not {len(columns)} fields")
        manifest = pd.DataFrame(rows, columns=columns).astype({"width": int, "height": int})
    except (ValueError, csv.Error) as error:
        raise ValueError(f"manifest {path} cannot be read: {error}") from error
    if unknown := set(manifest.split) - {"train", "val", ""}:
        raise ValueError(f"manifest {path} has the split {sorted(unknown)[0]!r}; known are train and val")
    return manifest.reindex(columns=COLUMNS, fill_value="")


def _refuse_bad_manifest(manifest: pd.DataFrame, path: Path) -> None:
    """Raise ValueError unless there is something to train on, something to validate on, and most files are usable."""
    bad = manifest[(manifest.reason != "") & ~manifest.reason.str.startswith(COPY)]
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
    settings = [FORMAT, config.source, config.n_images, config.val_share, config.min_side, config.seed]
    digest, newest = hashlib.sha256(json.dumps(settings).encode()), 0
    for name in listing.paths:
        try:
            status = (listing.root / name).stat()
            size, newest = status.st_size, max(newest, status.st_mtime_ns)
        except OSError:  # a link to nothing
            size = -1
        digest.update(f"{name}\0{size}\0{listing.classes.get(name, '')}\n".encode("utf-8", "backslashreplace"))
    return digest.hexdigest()[:12], newest
