"""Where photographs come from: `sample`, `folder`, `coco`, `imagenet`, `streamed`.

A source is a function (folder, data_dir, seed) -> Listing; it lists files and fetches or makes them first if need be.
"""

import csv
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from filelock import FileLock
from PIL import Image

from ..files import atomic_path, from_root
from .shipped import package_photographs, sample_split

EXTENSIONS = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff"}
SAMPLE_CROPS = 40  # per photograph
COCO_SAMPLE_COUNT = 21_837
STREAMS_MANIFEST = "manifest.csv"  # written last, by which a folder of streams is whole


class DataUnavailable(RuntimeError):
    """A data set could not be had; the message says which, from where, and what to do."""


@dataclass(frozen=True)
class Listing:
    """Files of a source: `paths` are sorted, relative to `root`, with forward slashes.

    split: path -> `train` or `val`, where the source has a split of its own. classes: path -> class, where known.
    manifest: where draw and split are written, of streams.
    """

    root: Path
    paths: list[str]
    split: dict[str, str] = field(default_factory=dict)
    classes: dict[str, str] = field(default_factory=dict)
    manifest: Path | None = None


def sample(folder: str, data_dir: Path, seed: int) -> Listing:
    """Seeded overlapping square crops of the package photographs, split by photograph; made on first use."""
    root = data_dir / "sample" / f"seed-{seed}"
    rng = np.random.default_rng(seed)
    for name, path in package_photographs().items():
        image = Image.open(path).convert("RGB")
        for k in range(SAMPLE_CROPS):
            side = int(min(image.size) * rng.uniform(0.4, 0.8))
            left, top = (int(rng.integers(0, length - side + 1)) for length in image.size)
            target = root / name / f"{k:03d}.png"
            if not target.exists():
                with atomic_path(target) as partial:
                    image.crop((left, top, left + side, top + side)).save(partial, format="PNG", compress_level=1)
    names = {path: path.split("/")[0] for path in list_images(root)}
    return Listing(root, list(names), {path: sample_split(seed)[name] for path, name in names.items()}, names)


def folder_tree(folder: str, data_dir: Path, seed: int) -> Listing:
    """All images below `folder`, or below several with commas between them.

    If a folder has both train/ and val/, those are its split and nothing else in it is used. Classes come from a
    manifest.csv in or beside the folder (columns path, class); else, if all images lie in subfolders, from those.
    Several folders are seen as one: a folder of links to them, by their names, below `data_dir`.
    """
    trees = _folders(folder)
    root = _linked(trees, data_dir) if len(trees) > 1 else trees[""]
    listing = Listing(root, [])
    for prefix, tree in trees.items():
        paths = list_images(tree)
        if (tree / "train").is_dir() and (tree / "val").is_dir():
            paths = [path for path in paths if path.startswith(("train/", "val/"))]
            listing.split.update({prefix + path: path.split("/")[0] for path in paths})
        inner = {path: path.split("/", 1)[1] if prefix + path in listing.split else path for path in paths}
        in_folders = all("/" in path for path in inner.values())
        named = _named_classes(tree)
        for path in paths:
            if name := named.get(path) or (inner[path].split("/")[0] if in_folders else ""):
                listing.classes[prefix + path] = name
        listing.paths.extend(prefix + path for path in paths)
    if not listing.paths:
        raise DataUnavailable(f"{folder} holds no {', '.join(sorted(EXTENSIONS))} file")
    listing.paths.sort()
    return listing


def _folders(folder: str) -> dict[str, Path]:
    """{"": folder}, or of several {"NAME/": folder, ...}; a folder with a comma in its name is one."""
    if "," not in folder or from_root(folder).is_dir():
        return {"": _existing_folder(folder)}
    trees: dict[str, Path] = {}
    for tree in (_existing_folder(part.strip()) for part in folder.split(",") if part.strip()):
        name = tree.resolve().name
        while f"{name}/" in trees:
            name += "_"
        trees[f"{name}/"] = tree
    return trees


def _linked(trees: dict[str, Path], data_dir: Path) -> Path:
    """A folder of links to the folders, so that `root / path` is a file whichever it lies in."""
    targets = {name.rstrip("/"): tree.resolve() for name, tree in trees.items()}
    root = data_dir / "folders" / hashlib.sha256(repr(targets).encode()).hexdigest()[:12]
    root.mkdir(parents=True, exist_ok=True)
    for name, target in targets.items():
        if not (root / name).is_symlink():
            (root / name).symlink_to(target, target_is_directory=True)
    return root


def _named_classes(tree: Path) -> dict[str, str]:
    """Path below `tree` -> class, of a manifest.csv in it or beside it; {} if there is none with these columns."""
    for home, prefix in ((tree, ""), (tree.parent, f"{tree.name}/")):
        if (home / "manifest.csv").is_file():
            with open(home / "manifest.csv", encoding="utf-8-sig", errors="replace", newline="") as file:
                reader = csv.DictReader(file)
                if {"path", "class"} <= set(reader.fieldnames or []):
                    rows = [(row["path"] or "", row["class"] or "") for row in reader]
                    return {path.removeprefix(prefix): name for path, name in rows if path.startswith(prefix)}
    return {}


def imagenet(folder: str, data_dir: Path, seed: int) -> Listing:
    """All images of an ImageNet-style tree, one folder per class, below `folder` or its train/."""
    root = _existing_folder(folder)
    root = root / "train" if (root / "train").is_dir() else root
    classes = {path: path.split("/")[0] for path in list_images(root) if "/" in path}
    if not classes:
        raise DataUnavailable(f"{root} has no class folders with images; an ImageNet tree is CLASS/IMAGE.JPEG")
    return Listing(root, list(classes), classes=classes)


def coco(folder: str, data_dir: Path, seed: int) -> Listing:
    """fastai's COCO_SAMPLE (21,837 photographs, about 3 GB), downloaded to `data_dir` on first use.

    What an interrupted download or unpacking left is fetched again. Raises DataUnavailable if that fails.
    """
    home = data_dir.resolve() / "coco"
    root = home / "coco_sample" / "train_sample"
    home.mkdir(parents=True, exist_ok=True)
    with FileLock(home / "fetch.lock"):
        if len(list_images(root)) != COCO_SAMPLE_COUNT:
            _fetch_coco(home)
    return Listing(root, list_images(root))


def _fetch_coco(home: Path) -> None:
    """Download COCO_SAMPLE below `home`, or take the archive that is there if it is whole, and unpack it."""
    from fastai.data.external import URLs, untar_data  # fastai takes seconds to import and only coco needs it

    archive = home / "archive" / PurePosixPath(URLs.COCO_SAMPLE).name

    def fetch(again: bool) -> None:
        # `base` keeps fastai's configuration file here too, and out of the user's home.
        untar_data(URLs.COCO_SAMPLE, archive=archive.parent, data=home, force_download=again, base=str(home))
        if (found := len(list_images(home / "coco_sample" / "train_sample"))) != COCO_SAMPLE_COUNT:
            raise ValueError(f"the archive has {found:,} photographs, not {COCO_SAMPLE_COUNT:,}")

    shutil.rmtree(home / "coco_sample", ignore_errors=True)  # fastai would take a half of it for the whole
    archived = archive.exists()
    try:
        with _temporary_files_in(home / "unpacking"):
            try:
                fetch(again=False)
            except Exception as error:
                # An error number is the system's, as of a full disk; else the archive that was there is broken.
                if not archived or getattr(error, "errno", None) is not None:
                    raise
                fetch(again=True)
    except Exception as error:  # fastai raises plain Exception for a wrong checksum; tarfile and zlib have their own
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise DataUnavailable(
            f"COCO_SAMPLE could not be had from {URLs.COCO_SAMPLE} and unpacked in {home} ({reason}). "
            "Check the network and the free disk space (7 GB) and run again, or use your own photographs: "
            "source folder, PHOTOS=DIR."
        ) from error


@contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    """Let Python's temporary files go to `folder`, which is emptied before and removed after.

    fastai unpacks to a temporary folder and moves the result. From the same disk the move is one step, whole or not at
    all, and the system's temporary folder, often small, need not hold 3 GB.
    """
    before = tempfile.tempdir
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before
        shutil.rmtree(folder, ignore_errors=True)


def streamed(folder: str, data_dir: Path, seed: int) -> Listing:
    """Photographs that were drawn, split and stored before, by `python -m colorize_lib stream`; see `streamed.py`."""
    root = _existing_folder(folder)
    if not (root / STREAMS_MANIFEST).is_file():
        raise DataUnavailable(
            f"{root} holds no streams; make some with: python -m colorize_lib stream DIR --folder ..."
        )
    return Listing(root, [], manifest=root / STREAMS_MANIFEST)


SOURCES: dict[str, Callable[[str, Path, int], Listing]] = {
    "sample": sample,
    "folder": folder_tree,
    "coco": coco,
    "imagenet": imagenet,
    "streamed": streamed,
}


def list_images(root: Path) -> list[str]:
    """Relative paths, sorted, of all files below `root` with an image's ending; hidden files and folders are skipped.

    Links to folders are followed; a folder that can be reached in two ways counts once, so a circle of links ends.
    """
    found, seen = [], {os.path.realpath(root)}
    for folder, subfolders, files in os.walk(root, followlinks=True):
        visible, subfolders[:] = sorted(name for name in subfolders if not name.startswith(".")), []
        for name in visible:
            real = os.path.realpath(os.path.join(folder, name))
            if real not in seen:
                seen.add(real)
                subfolders.append(name)
        found += [
            Path(folder, name).relative_to(root).as_posix()
            for name in files
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in EXTENSIONS
        ]
    return sorted(found)


def _existing_folder(folder: str) -> Path:
    if not folder:
        raise DataUnavailable("no folder of photographs is given: set PHOTOS=DIR (make) or `folder` (notebook)")
    root = from_root(folder)
    if not root.is_dir():
        raise FileNotFoundError(f"the folder of photographs {root} does not exist")
    return root
