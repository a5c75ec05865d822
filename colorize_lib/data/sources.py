"""Where photographs come from: functions (folder, data_dir, seed) -> Listing, which fetch or make them if need be."""

import csv
import hashlib
import shutil
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from filelock import FileLock
from PIL import Image

from ..files import atomic_path, from_root, walk
from .shipped import package_photographs, sample_split

EXTENSIONS = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff"}
SAMPLE_CROPS = 40  # per photograph
COCO_SAMPLE_COUNT = 21_837
STREAMS_MANIFEST = "manifest.csv"  # written last, by which a folder of streams is whole


class DataUnavailable(RuntimeError):
    """A data set could not be had; the message says which, from where, and what to do."""


@dataclass(frozen=True)
class Listing:
    """Files of a source: `paths` are sorted, relative to `root`, with forward slashes."""

    root: Path
    paths: list[str]
    split: dict[str, str] = field(default_factory=dict)  # path -> `train` or `val`, where the source has a split
    classes: dict[str, str] = field(default_factory=dict)  # path -> class, where known
    manifest: Path | None = None  # where draw and split are written, of streams


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
    names, split = {path: path.split("/")[0] for path in list_images(root)}, sample_split(seed)
    return Listing(root, list(names), {path: split[name] for path, name in names.items()}, names)


def folder_tree(folder: str, data_dir: Path, seed: int) -> Listing:
    """All images below `folder`, or below several with commas between them.

    If a folder has both train/ and val/, those are its split and nothing else in it is used. Classes come from a
    manifest.csv in or beside the folder (columns path, class); else, if all images lie in subfolders, from those.
    Several folders are seen as one: a folder of links to them, by their names, below `data_dir`.
    """
    root, trees = _folders(folder, data_dir)
    listing = Listing(root, [])
    for prefix, tree in trees.items():
        is_split = (tree / "train").is_dir() and (tree / "val").is_dir()
        parts = {path: path.split("/") for path in list_images(tree)}
        if is_split:
            parts = {path: part for path, part in parts.items() if part[0] in ("train", "val")}
            listing.split.update({prefix + path: part[0] for path, part in parts.items()})
        in_folders = all(len(part) > 1 + is_split for part in parts.values())
        named = _named_classes(tree)
        for path, part in parts.items():
            listing.paths.append(prefix + path)
            if name := named.get(path) or (part[is_split] if in_folders else ""):
                listing.classes[prefix + path] = name
    if not listing.paths:
        raise DataUnavailable(f"{folder} holds no {', '.join(sorted(EXTENSIONS))} file")
    listing.paths.sort()
    return listing


def _folders(folder: str, data_dir: Path) -> tuple[Path, dict[str, Path]]:
    """A root, and the folders below it: {"": folder}; of several {"NAME/": folder, ...}, links in a root to them."""
    if "," not in folder or from_root(folder).is_dir():  # a folder with a comma in its name is one
        tree = _existing_folder(folder)
        return tree, {"": tree}
    trees: dict[str, Path] = {}
    for tree in (_existing_folder(part.strip()) for part in folder.split(",") if part.strip()):
        name = tree.resolve().name
        while name in trees:
            name += "_"
        trees[name] = tree
    targets = {name: tree.resolve() for name, tree in trees.items()}
    root = data_dir / "folders" / hashlib.sha256(repr(targets).encode()).hexdigest()[:12]
    root.mkdir(parents=True, exist_ok=True)
    for name, target in targets.items():
        if not (root / name).is_symlink():
            (root / name).symlink_to(target, target_is_directory=True)
    return root, {f"{name}/": tree for name, tree in trees.items()}


def _named_classes(tree: Path) -> dict[str, str]:
    """Path below `tree` -> class, of a manifest.csv in it or beside it; {} if there is none with these columns."""
    for home, prefix in ((tree, ""), (tree.parent, f"{tree.name}/")):
        if (home / "manifest.csv").is_file():
            with open(home / "manifest.csv", encoding="utf-8-sig", errors="replace", newline="") as file:
                rows = list(csv.DictReader(file, restval=""))
            if rows and {"path", "class"} <= rows[0].keys():
                named = {row["path"]: row["class"] for row in rows if row["path"].startswith(prefix)}
                return {path.removeprefix(prefix): name for path, name in named.items()}
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
    """fastai's COCO_SAMPLE, 21,837 photographs: 3 GB, downloaded on first use. Raises DataUnavailable if it fails."""
    home = data_dir.resolve() / "coco"
    root = home / "coco_sample" / "train_sample"
    home.mkdir(parents=True, exist_ok=True)
    with FileLock(home / "fetch.lock"):
        if len(list_images(root)) != COCO_SAMPLE_COUNT:
            _fetch_coco(home)
    return Listing(root, list_images(root))


def _fetch_coco(home: Path) -> None:
    # Not fastai's `untar_data`: it unpacks 3 GB in the system's temporary folder, often small, and takes half for all.
    from fastai import data  # fastai takes seconds to import and only coco needs it
    from fastai.data.external import FastDownload, URLs

    archive, unpacking = home / "archive" / PurePosixPath(URLs.COCO_SAMPLE).name, home / "unpacking"
    try:
        FastDownload(module=data, archive=archive.parent, data=home, base=home).download(URLs.COCO_SAMPLE)
        shutil.rmtree(unpacking, ignore_errors=True)
        shutil.unpack_archive(archive, unpacking, filter="data")
        if (found := len(list_images(unpacking / "coco_sample" / "train_sample"))) != COCO_SAMPLE_COUNT:
            raise ValueError(f"the archive has {found:,} photographs, not {COCO_SAMPLE_COUNT:,}")
        shutil.rmtree(home / "coco_sample", ignore_errors=True)
        (unpacking / "coco_sample").rename(home / "coco_sample")
    except Exception as error:  # fastai raises plain Exception for a wrong checksum; tarfile and zlib have their own
        if getattr(error, "errno", None) is None:  # else it is the system's, as of a full disk
            archive.unlink(missing_ok=True)
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise DataUnavailable(
            f"COCO_SAMPLE could not be had from {URLs.COCO_SAMPLE} and unpacked in {home} ({reason}). Check the "
            "network and the disk's space (7 GB) and run again, or use your own photographs: source folder, PHOTOS=DIR."
        ) from error
    finally:
        shutil.rmtree(unpacking, ignore_errors=True)


def streamed(folder: str, data_dir: Path, seed: int) -> Listing:
    """Photographs that were drawn, split and stored before, by `python -m colorize_lib stream`; see `streamed.py`."""
    root = _existing_folder(folder)
    if not (root / STREAMS_MANIFEST).is_file():
        raise DataUnavailable(f"{root} holds no streams; make some with: python -m colorize_lib stream DIR")
    return Listing(root, [], manifest=root / STREAMS_MANIFEST)


SOURCES = {"sample": sample, "folder": folder_tree, "coco": coco, "imagenet": imagenet, "streamed": streamed}


def list_images(root: Path) -> list[str]:
    """Relative paths, sorted, of all images that `files.walk` finds below `root`, by their ending."""
    return sorted(path.relative_to(root).as_posix() for path in walk(root) if path.suffix.lower() in EXTENSIONS)


def _existing_folder(folder: str) -> Path:
    if not folder:
        raise DataUnavailable("no folder of photographs is given: set PHOTOS=DIR (make) or `folder` (notebook)")
    root = from_root(folder)
    if not root.is_dir():
        raise FileNotFoundError(f"the folder of photographs {root} does not exist")
    return root
