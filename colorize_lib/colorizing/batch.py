"""Colour many files: what is written where, and what becomes of those that fail."""

import os
import re
import sys
import tempfile
from collections import Counter
from contextlib import chdir
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image

from ..files import walk
from ..images import FORMATS, read_file, read_rgb, save_picture
from ..runs.progress import Progress, is_headless

if TYPE_CHECKING:  # it needs torch, which a generator in an .onnx file does not
    from .colorizer import Colorizer
    from .onnx_colorizer import OnnxColorizer

SUFFIX = "_color"  # of the results' names when they lie beside their sources
MAP = "-certainty"
RESULT = re.compile(rf"(.+){SUFFIX}(-p\d+)?(-\d+|{MAP})?")
TAKEN = {*FORMATS, ".jpe", ".jfif", ".mpo", ".bmp", ".gif", ".jp2", ".avif", ".heic", ".heif", ".pgm", ".ppm", ".tga"}
FILMS = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".mts", ".ogv", ".wmv", ".flv", ".3gp"}
LONGEST_NAME, SPARE = 255, 14  # bytes that a file system takes; of them for `-p12-certainty`


class Plan(NamedTuple):
    """pairs: (source, target) of every photograph. passed: what folders hold and is not coloured, in words."""

    pairs: list[tuple[Path, Path]]
    passed: list[str]


def plan(inputs: list[Path], output: Path | None) -> Plan:
    """Which files are to be coloured, and where each result goes.

    inputs: files, and folders whose pictures (told by their endings, `TAKEN`) are taken with those of the folders
    below, links to folders too, but for hidden ones and results of an earlier call. output: None puts `a_color.png`
    beside `a.png`; for one photograph a name with a picture's ending is that of the result; else a folder that repeats
    the tree below each input folder. A format that cannot be written becomes PNG, and a name that another result has,
    or that is too long, is changed.
    Raises ValueError if nothing is found, if an input does not exist, for an output that names one picture for several,
    and if a result would be written over a photograph.
    """
    output = output and output.expanduser()
    found: dict[Path, Path] = {}  # source -> its path relative to its input folder
    passed: Counter[str] = Counter()
    for given in inputs:
        if given.is_dir():
            found |= {path: path.relative_to(given) for path in _pictures(given, output, passed)}
        elif given.exists():
            found[given] = Path(given.name)
        else:
            raise ValueError(f"{given} does not exist")
    if not found:
        others = f"; passed over: {', '.join(_counted(passed))}" if passed else ""
        raise ValueError(f"no picture in {', '.join(map(str, inputs))} (looked for {', '.join(sorted(TAKEN))}){others}")
    one_file = output is not None and output.suffix.lower() in TAKEN and not output.is_dir()
    if one_file and (len(found) > 1 or inputs[0].is_dir()):
        raise ValueError(f"{output} names one picture: for several photographs or a folder give a folder")
    if one_file and output.suffix.lower() not in FORMATS:
        raise ValueError(f"{output}: pictures are saved as {', '.join(FORMATS)}")
    pairs: dict[str, tuple[Path, Path]] = {}  # by the target, in one case: some file systems know no other
    for source, relative in found.items():
        extension = source.suffix if source.suffix.lower() in FORMATS else ".png"
        beside = source.with_name(f"{_fitting(source.stem, SUFFIX + extension)}{SUFFIX}{extension}")
        target = output if one_file else beside if output is None else (output / relative).with_suffix(extension)
        number, first = 1, target
        while str(target).casefold() in pairs:
            number += 1
            target = first.with_stem(f"{_fitting(first.stem, extension)}-{number}")
        pairs[str(target).casefold()] = source, target
    if overwritten := {source.resolve() for source in found} & {target.resolve() for _, target in pairs.values()}:
        raise ValueError(f"the result would be written over the photograph {min(overwritten)}: give another --output")
    return Plan(list(pairs.values()), _counted(passed))


def check_targets(pairs: list[tuple[Path, Path]]) -> None:
    """Make the folders of the results. Raises OSError for one that cannot be made or written to, before any work."""
    for folder in sorted({target.parent for _, target in pairs}):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise OSError(f"{folder} cannot be written to: {error.strerror}") from error


def colorize_files(
    colorizer: "Colorizer | OnnxColorizer",
    pairs: list[tuple[Path, Path]],
    samples: int = 1,
    seed: int | None = None,
    saturation: float = 1.0,
    compare: bool = False,
    force: bool = False,
    pages: str = "first",
    certainty: bool = False,
    **colours,
) -> dict[str, list[Path]]:
    """Colour every (source, target) of `plan`: the results `written` and `kept`, and the sources that `failed`, told on
    stderr with their reasons while the rest go on; so is what a result lacks of its source.

    samples: more than one are written as `target-1`, `target-2`, ... compare: write grey and coloured side by side.
    force: overwrite results that are there, which are kept without it. pages: `first` of a file that has several, or
    `all`, as `target-p1`, `target-p2`, ... certainty: write `steering.as_map` as well, `target-certainty.png`. colours:
    as a Colorizer takes them. Each result is written whole or not at all.
    Raises ValueError for options that the colorizer refuses, and OSError as `check_targets` does.
    """
    colorizer.check(samples, saturation, steered=certainty)
    check_targets(pairs)
    report: dict[str, list[Path]] = {"written": [], "kept": [], "failed": []}

    def colour(source: Path, target: Path) -> None:
        targets, page, frames = _results(target, samples, certainty), 0, 1
        if pages == "first" and not force and all(path.exists() for path in targets):
            keep(targets)
            return
        content, notes = read_file(source), []
        while page < frames:
            picture = read_rgb(content, page)
            if pages == "all" and (frames := picture.info["frames"]) > 1:
                targets = _results(target.with_stem(f"{target.stem}-p{page + 1}"), samples, certainty)
            elif picture.info["frames"] > 1:
                notes.append(f"the first of {picture.info['frames']} pages (--pages all)")
            page += 1
            wanted = [path for path in targets if force or not path.exists()]
            if not wanted:
                keep(targets)
                continue
            painted = colorizer(picture, samples, seed, saturation, **colours)
            results = painted if samples > 1 else [painted]
            if certainty:
                from .steering import as_map  # it needs torch

                results.append(as_map(colorizer.certainty(picture)))
            for path, result in zip(targets, results, strict=True):
                if path in wanted:
                    shown = _side_by_side(picture, result) if compare else _with_alpha(result, picture, path)
                    notes += [f"saved without {what}" for what in save_picture(shown, path, source)]
                    report["written"].append(path)
        if notes:
            print(f"note: {source}: {', '.join(dict.fromkeys(notes))}", file=sys.stderr)

    def keep(targets: list[Path]) -> None:
        report["kept"].append(targets[0])
        print(f"kept: {targets[0]} exists (--force overwrites)", file=sys.stderr)

    with Progress(len(pairs), "colouring") as progress:
        for source, target in pairs:
            try:
                colour(source, target)
            except Exception as error:  # of whatever kind: the other files are worth going on for
                report["failed"].append(source)
                reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
                print(f"failed: {source}: {reason}", file=sys.stderr)
            progress.update()
    return report


def summary(report: dict[str, list[Path]]) -> str:
    """What became of the photographs, and where the results are."""
    counts = ", ".join(f"{len(paths):,} {what}" for what, paths in report.items())
    folders = {path.parent.absolute() for path in report["written"] + report["kept"]}
    return f"{counts}; in {os.path.commonpath(folders)}" if folders else counts


def upload_photographs(folder: Path) -> None:
    """In a Colab notebook that somebody watches, ask for photographs to save in `folder`; elsewhere do nothing."""
    if "google.colab" in sys.modules and not is_headless():
        from google.colab import files

        folder.mkdir(parents=True, exist_ok=True)
        with chdir(folder):
            files.upload()


def _pictures(folder: Path, output: Path | None, passed: Counter[str]) -> list[Path]:
    """The pictures below a folder, in order, but for results of an earlier call; what is passed over is counted."""
    results = output.resolve() if output and not folder.resolve().is_relative_to(output.resolve()) else None
    found, stems = [], set()
    for path in walk(folder, lambda unreadable: passed.update({f"the folder {unreadable}, which may not be read": 1})):
        if results and path.resolve().is_relative_to(results):
            continue
        if path.suffix.lower() in TAKEN:
            found.append(path)
            stems.add(path.parent / path.stem)
        else:
            passed[path.suffix.lower() or "without an ending"] += 1
    own = [path for path in found if not ((of := RESULT.fullmatch(path.stem)) and path.parent / of[1] in stems)]
    passed.update({"results of an earlier call": len(found) - len(own)} if len(own) < len(found) else {})
    return own


def _counted(passed: Counter[str]) -> list[str]:
    return [what if what.startswith("the folder") else f"{count:,} {what}" for what, count in sorted(passed.items())]


def _results(target: Path, samples: int, certainty: bool) -> list[Path]:
    paths = [target.with_stem(f"{target.stem}-{k}") for k in range(1, samples + 1)] if samples > 1 else [target]
    return paths + [target.with_name(f"{target.stem}{MAP}.png")] * certainty


def _fitting(stem: str, rest: str) -> str:
    """A name's beginning, cut so that the whole is not too long."""
    return stem.encode()[: LONGEST_NAME - SPARE - len(rest.encode())].decode(errors="ignore")


def _with_alpha(painted: Image.Image, picture: Image.Image, path: Path) -> Image.Image:
    """What was painted, as transparent as the picture was, where the format can be."""
    if (alpha := picture.info.get("alpha")) and path.suffix.lower() not in (".jpg", ".jpeg"):
        painted.putalpha(alpha)
    return painted


def _side_by_side(picture: Image.Image, painted: Image.Image) -> Image.Image:
    """The picture without its colour, and what was painted, side by side (one above the other if it is wide)."""
    width, height = picture.size
    at = (0, height) if width > 1.5 * height else (width, 0)
    both = Image.new("RGB", (at[0] + width, at[1] + height))
    both.paste(picture.convert("L"))
    both.paste(painted, at)
    return both
