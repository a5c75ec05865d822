"""Colour many files: what is written where, and what becomes of those that fail."""

import sys
from collections.abc import Callable
from contextlib import chdir
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from ..images import FORMATS, UnusablePhoto, read_photograph, save_picture
from ..runs.progress import Progress, is_headless
from .colorizer import Colorizer


def upload_photographs(folder: Path) -> None:
    """In a Colab notebook that somebody watches, ask for photographs to save in `folder`; elsewhere do nothing."""
    if "google.colab" in sys.modules and not is_headless():
        from google.colab import files

        folder.mkdir(parents=True, exist_ok=True)
        with chdir(folder):
            files.upload()


SUFFIX = "_color"  # of the results' names when they lie beside their sources


@dataclass
class Report:
    """What became of the files: written results, (file, reason) of those that failed, results left as they were."""

    written: list[Path] = field(default_factory=list)
    failed: list[tuple[Path, str]] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)


def plan(inputs: list[Path], output: Path | None) -> list[tuple[Path, Path]]:
    """Which files are to be coloured, and where each result goes: (source, target).

    inputs: files, and folders whose pictures are taken with those of the folders below. output: None puts `a_color.png`
    beside `a.png`; an existing folder, a name without an extension, or several inputs: a folder that repeats the tree
    below each input folder; else, for one input file, the result's own name. A format that cannot be written becomes
    PNG. Results of an earlier call, `..._color`, in input folders are not coloured again.
    Raises ValueError if nothing is found, if an input does not exist, or if two results would have one name.
    """
    found: list[tuple[Path, Path]] = []  # (source, path relative to its input folder)
    for given in inputs:
        if given.is_dir():
            below = sorted(path for path in given.rglob("*") if path.suffix.lower() in FORMATS and not path.is_dir())
            below = [path for path in below if not path.stem.endswith(SUFFIX) and not _hidden(path, given)]
            if output is not None:
                below = [path for path in below if not path.is_relative_to(output) or given.is_relative_to(output)]
            found += [(path, path.relative_to(given)) for path in below]
        elif given.exists():
            found.append((given, Path(given.name)))
        else:
            raise ValueError(f"{given} does not exist")
    if not found:
        raise ValueError(f"no picture in {', '.join(map(str, inputs))} (looked for {', '.join(FORMATS)})")
    one_file = len(inputs) == 1 and not inputs[0].is_dir()
    if output is not None and one_file and not output.is_dir() and output.suffix:
        if output.suffix.lower() not in FORMATS:
            raise ValueError(f"{output}: pictures are saved as {', '.join(FORMATS)}")
        return [(found[0][0], output)]
    pairs = [(source, _target(source, relative, output)) for source, relative in found]
    targets: dict[Path, Path] = {}
    for source, target in pairs:
        if target in targets and targets[target] != source:
            raise ValueError(f"{targets[target]} and {source} would both be written to {target}")
        targets[target] = source
    return [(source, target) for target, source in targets.items()]


def colorize_files(
    colorizer: Colorizer,
    pairs: list[tuple[Path, Path]],
    samples: int = 1,
    seed: int | None = None,
    saturation: float = 1.0,
    compare: bool = False,
    force: bool = False,
    tell: Callable[[str], None] = print,
) -> Report:
    """Colour every (source, target) of `plan`; a file that fails is told with its reason and the rest go on.

    samples: more than one are written as `target-1`, `target-2`, ... compare: write grey and coloured side by side
    instead. force: overwrite results that are there; without it they are kept, and counted. Each result is written
    whole or not at all, whenever the program ends.
    """
    report = Report()
    with Progress(len(pairs), "colouring") as progress:
        for source, target in pairs:
            targets = [target] if samples == 1 else [numbered(target, k) for k in range(1, samples + 1)]
            if not force and any(path.exists() for path in targets):
                there = next(path for path in targets if path.exists())
                report.kept.append(there)
                tell(f"kept: {there} exists (--force overwrites)")
            else:
                try:
                    picture = read_photograph(source)
                    painted = colorizer(picture, samples, seed, saturation)
                    for path, result in zip(targets, painted if samples > 1 else [painted], strict=True):
                        path.parent.mkdir(parents=True, exist_ok=True)
                        save_picture(side_by_side(picture, result) if compare else result, path, source)
                        report.written.append(path)
                except (UnusablePhoto, OSError) as error:
                    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
                    report.failed.append((source, reason))
                    tell(f"failed: {source}: {reason}")
            progress.update()
    return report


def side_by_side(picture: Image.Image, painted: Image.Image) -> Image.Image:
    """The picture without its colour, and what was painted, side by side (one above the other if it is wide)."""
    wide = picture.width > 1.5 * picture.height
    width, height = picture.size
    both = Image.new("RGB", (width, 2 * height) if wide else (2 * width, height))
    both.paste(picture.convert("L").convert("RGB"), (0, 0))
    both.paste(painted, (0, height) if wide else (width, 0))
    return both


def numbered(target: Path, number: int) -> Path:
    """`folder/a.png` as `folder/a-1.png`."""
    return target.with_name(f"{target.stem}-{number}{target.suffix}")


def _target(source: Path, relative: Path, output: Path | None) -> Path:
    extension = source.suffix if source.suffix.lower() in FORMATS else ".png"
    if output is None:
        return source.with_name(f"{source.stem}{SUFFIX}{extension}")
    return (output / relative).with_suffix(extension)


def _hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)
