"""The manifest: which photographs a run uses, how they are split, and which files are unusable and why.

A manifest is a CSV with one row per file: path (below the source's root), class (empty where none is known), width,
height (after EXIF rotation), sha256, split (`train`, `val`, or empty for an unusable file) and reason (why it is
unusable). What is decoded to be examined is kept in the cache, so that a file is decoded once. How far an interrupted
draw came is in two files: rows in notes, and the pixels of the usable ones in a growing cache.
"""

import csv
import hashlib
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock

from ..files import DATA_DIR, atomic_path, from_root
from ..images import UnusablePhoto, is_greyscale, read_rgb, resize
from ..runs import processes
from ..runs.progress import Progress
from .cache import CHUNK, GrowingCache, cache_path
from .sources import SOURCES, Listing

COLUMNS = ["path", "class", "width", "height", "sha256", "split", "reason"]
COPY = "duplicate"  # how the reason begins of a copy that would be on both sides
GREY = "greyscale"
FORMAT = 2  # part of the key of a manifest: raise it when another rule examines or splits


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
    """The photographs of a run: `root / row.path` for every row of `manifest`; the CSV itself is at `path`."""

    root: Path
    manifest: pd.DataFrame
    path: Path
    streamed: bool = False  # they are no longer files, but lie in the streams of `root`

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
        return pd.Index(self.classes).get_indexer(self.usable["class"])

    def summary(self) -> str:
        """One line: how many photographs, how they are split, how many are unusable and why, how many are copies."""
        usable, reasons = self.usable, self.manifest.reason[self.manifest.reason != ""]
        why = ", ".join(f"{n:,} {reason}" for reason, n in reasons.str.split(":").str[0].value_counts().items())
        train, val = ((usable.split == split).sum() for split in ("train", "val"))
        line = f"{len(usable):,} photographs: {train:,} train, {val:,} val; "
        line += f"{len(reasons):,} unusable ({why})" if why else "no unusable file"
        if copies := usable.sha256.duplicated().sum():
            leaks = (usable.groupby("sha256").split.nunique() > 1).sum()
            line += f"; {copies:,} are copies of others, " + (f"{leaks} ON BOTH SIDES" if leaks else "on the same side")
        return line


def find_photographs(config: PhotoConfig, data_dir: Path = DATA_DIR, size: int = 0) -> PhotoSet:
    """Draw, examine and split the photographs of `config`, print one line about them, and return them.

    The same files are examined once, and anew when one is newer than their manifest in `data_dir/manifests`. A second
    process waits for the first. size: keep what is decoded in the cache of this size; then an interrupted draw goes on.
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
                _draw(config, listing, path, newest, size, data_dir)
    rows = read_manifest(path)
    photos = PhotoSet(listing.root, rows, path, listing.manifest is not None)
    if photos.streamed and (config.manifest or config.n_images not in (0, len(rows))):
        raise ValueError(f"{listing.root} holds a finished draw: set n_images=0, and leave `manifest` empty")
    processes.say(f"{photos.summary()} [{path.name}]")
    bad = rows[(rows.reason != "") & ~rows.reason.str.startswith((COPY, GREY))]  # those two are no fault of the files
    if len(bad) > 0.2 * len(rows):
        raise ValueError(
            f"{len(bad):,} of the {len(rows):,} files examined are unusable, more than 20% (first: {bad.path.iloc[0]}, "
            f"{bad.reason.iloc[0]}). The reasons are in {path}."
        )
    if missing := {"train", "val"} - set(rows.split):
        raise ValueError(f"no photograph is left for {min(missing)} (see {path})")
    return photos


def read_manifest(path: Path) -> pd.DataFrame:
    """Read a manifest CSV. Raises FileNotFoundError, or ValueError if it is damaged, naming the file."""
    try:
        # Not by pandas, which fills short rows, shifts long ones and takes the name NA for a missing value.
        with open(path, encoding="utf-8-sig", newline="") as file:
            columns, *rows = filter(None, csv.reader(file, strict=True))
        if missing := sorted(set(COLUMNS) - {"class", "reason", *columns}):
            raise ValueError(f"it lacks the column {', '.join(missing)}")
        if {len(row) for row in rows} - {len(columns)}:
            raise ValueError(f"a row has not {len(columns)} fields")
        manifest = pd.DataFrame(rows, columns=columns).astype({"width": int, "height": int})
        if unknown := set(manifest.split) - {"train", "val", ""}:
            raise ValueError(f"it has the split {sorted(unknown)[0]!r}; known are train and val")
    except (ValueError, csv.Error) as error:
        raise ValueError(f"manifest {path} cannot be read: {error}") from error
    return manifest.reindex(columns=COLUMNS, fill_value="")


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


def _draw(config: PhotoConfig, listing: Listing, path: Path, newest: int, size: int, data_dir: Path) -> None:
    """Examine files, in a seeded order, until `n_images` are usable; write the manifest, and with a size the cache."""
    notes = path.with_suffix(f".{size}px.notes")
    if notes.exists() and notes.stat().st_mtime_ns < newest:
        notes.unlink()
    cache = GrowingCache(data_dir / "cache" / f"{path.stem}-{size}px.growing", size)
    rows = _noted(notes, cache)
    order = np.random.default_rng(config.seed).permutation(len(listing.paths))
    wanted = min(config.n_images or len(order), len(order))
    counting = Progress(wanted, "examining photographs", start=cache.count)
    with counting as progress, ThreadPoolExecutor() as pool, open(notes, "a") as file:
        while cache.count < wanted and len(rows) < len(order):
            # No more files than usable ones are missing, so that none is examined in vain.
            chunk = [listing.paths[i] for i in order[len(rows) : len(rows) + min(wanted - cache.count, CHUNK)]]
            found = list(pool.map(lambda name: _examine(listing, name, config.min_side, size), chunk))
            progress.update(cache.add(pixels for row, pixels in found if not row["reason"]))
            rows += [row for row, _ in found]
            file.writelines(json.dumps(row) + "\n" for row, _ in found)
            file.flush()
    manifest = pd.DataFrame(rows, columns=COLUMNS)
    _split(manifest, listing, config.val_share)
    usable = manifest[manifest.split != ""]
    if size and cache.count == len(usable):  # else copies were left out: the cache is built anew
        cache.finish(cache_path(usable, size, data_dir))
    with atomic_path(path) as partial:
        manifest.to_csv(partial, index=False)
        if newest > time.time_ns():  # a wrong clock somewhere; without this, every call would examine anew
            os.utime(partial, ns=(newest, newest))
    notes.unlink()
    cache.path.unlink(missing_ok=True)


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


def _examine(listing: Listing, name: str, min_side: int, size: int) -> tuple[dict, np.ndarray]:
    """One manifest row, its split still empty, and the pixels, uint8 (size,size,3); never raises for a bad file."""
    printable = name.encode("utf-8", "backslashreplace").decode().replace("\r", "\\r")
    row = dict.fromkeys(COLUMNS, "") | {"path": printable, "width": 0, "height": 0}
    row["class"], pixels = listing.classes.get(name, ""), np.empty(0, np.uint8)
    try:
        if printable != name:
            raise UnusablePhoto("unreadable: its name does not fit into a CSV in UTF-8")
        if not (listing.root / name).is_file():  # a link to nothing, or a pipe, which would never end
            raise UnusablePhoto("unreadable: not a file")
        content = (listing.root / name).read_bytes()
        row["sha256"] = hashlib.sha256(content).hexdigest()
        image = read_rgb(content)
        row["width"], row["height"] = image.size
        if min(row["width"], row["height"]) < min_side:
            raise UnusablePhoto(f"too small: {row['width']}x{row['height']}")
        if is_greyscale(image):
            raise UnusablePhoto(GREY)
        pixels = resize(image, size) if size else pixels
    except UnusablePhoto as error:
        row["reason"] = str(error)
    except OSError as error:
        row["reason"] = f"unreadable: {error.strerror}"  # not the whole message, which holds this machine's path
    return row, pixels


def _split(rows: pd.DataFrame, listing: Listing, val_share: float) -> None:
    """Give usable rows their split: the listing's own; of the others the first `1 - val_share` train, one at least.

    Equal files are on one side: the source's own, val first; else the first one's. What it has in both, leaves train.
    """
    usable = rows.index[rows.reason == ""]
    own = pd.Series([listing.split.get(path, "") for path in rows.path[usable]], usable, dtype=str)
    drawn = usable[own == ""]
    n_train = max(min(max(round(len(drawn) * (1 - val_share)), 1), len(drawn) - 1), 0)
    rows.loc[usable, "split"] = own
    rows.loc[drawn, "split"] = ["train"] * n_train + ["val"] * (len(drawn) - n_train)
    copies = rows.loc[usable[rows.sha256[usable].duplicated(keep=False)]]
    for _, group in copies.groupby("sha256", sort=False):
        said = own[group.index]
        side = next((split for split in ("val", "train") if (said == split).any()), group.split.iloc[0])
        rows.loc[group.index, "split"] = side
        out = group.index[~said.isin(["", side])]
        first = group.path[group.split == side].iloc[0]
        rows.loc[out, ["split", "reason"]] = "", f"{COPY}: the same file is in val, {first}"
