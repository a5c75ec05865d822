"""Colour many files: what is written where, and what becomes of those that fail."""

import sys
from contextlib import chdir
from pathlib import Path

from PIL import Image

from ..images import FORMATS, read_photograph, save_picture
from ..runs.progress import Progress, is_headless
from .colorizer import Colorizer

SUFFIX = "_color"  # of the results' names when they lie beside their sources


def plan(inputs: list[Path], output: Path | None) -> list[tuple[Path, Path]]:
    """Which files are to be coloured, and where each result goes: (source, target).

    inputs: files, and folders whose pictures are taken with those of the folders below, but for hidden ones and results
    of an earlier call. output: None puts `a_color.png` beside `a.png`; an existing folder, a name without an extension,
    or several inputs: a folder that repeats the tree below each input folder; else, for one input file, the result's
    own name. A format that cannot be written becomes PNG.
    Raises ValueError if nothing is found, if an input does not exist, if two results would have one name, or if one
    would have that of a source.
    """
    found: dict[Path, Path] = {}  # source -> its path relative to its input folder
    for given in inputs:
        if given.is_dir():
            found |= {path: path.relative_to(given) for path in _pictures(given, output)}
        elif given.exists():
            found[given] = Path(given.name)
        else:
            raise ValueError(f"{given} does not exist")
    if not found:
        raise ValueError(f"no picture in {', '.join(map(str, inputs))} (looked for {', '.join(FORMATS)})")
    sources: dict[Path, Path] = {}  # target -> source
    for source, relative in found.items():
        extension = source.suffix if source.suffix.lower() in FORMATS else ".png"
        if output is None:
            target = source.with_name(f"{source.stem}{SUFFIX}{extension}")
        elif output.suffix and not output.is_dir() and inputs == [source]:
            target = output
            if target.suffix.lower() not in FORMATS:
                raise ValueError(f"{target}: pictures are saved as {', '.join(FORMATS)}")
        else:
            target = (output / relative).with_suffix(extension)
        if target in sources:
            raise ValueError(f"{sources[target]} and {source} would both be written to {target}")
        sources[target] = source
    if overwritten := {source.resolve() for source in found} & {target.resolve() for target in sources}:
        raise ValueError(f"the result would be written over the photograph {min(overwritten)}: give another --output")
    return [(source, target) for target, source in sources.items()]


def colorize_files(
    colorizer: Colorizer,
    pairs: list[tuple[Path, Path]],
    samples: int = 1,
    seed: int | None = None,
    saturation: float = 1.0,
    compare: bool = False,
    force: bool = False,
) -> dict[str, list[Path]]:
    """Colour every (source, target) of `plan`: the results `written` and `kept`, and the sources that `failed`, told on
    stderr with their reasons while the rest go on.

    samples: more than one are written as `target-1`, `target-2`, ... compare: write grey and coloured side by side.
    force: overwrite results that are there, which are kept without it. Each result is written whole or not at all.
    Raises ValueError for options that the colorizer refuses.
    """
    colorizer.check(samples, saturation)
    report: dict[str, list[Path]] = {"written": [], "kept": [], "failed": []}
    with Progress(len(pairs), "colouring") as progress:
        for source, target in pairs:
            names = [f"{target.stem}-{number}" for number in range(1, samples + 1)] if samples > 1 else [target.stem]
            targets = [target.with_stem(name) for name in names]
            there = [] if force else [path for path in targets if path.exists()]
            try:
                if there:
                    report["kept"].append(there[0])
                    print(f"kept: {there[0]} exists (--force overwrites)", file=sys.stderr)
                else:
                    picture = read_photograph(source)
                    painted = colorizer(picture, samples, seed, saturation)
                    for path, result in zip(targets, painted if samples > 1 else [painted], strict=True):
                        save_picture(_side_by_side(picture, result) if compare else result, path, source)
                        report["written"].append(path)
            except Exception as error:  # of whatever kind: the other files are worth going on for
                report["failed"].append(source)
                reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
                print(f"failed: {source}: {reason}", file=sys.stderr)
            progress.update()
    return report


def upload_photographs(folder: Path) -> None:
    """In a Colab notebook that somebody watches, ask for photographs to save in `folder`; elsewhere do nothing."""
    if "google.colab" in sys.modules and not is_headless():
        from google.colab import files

        folder.mkdir(parents=True, exist_ok=True)
        with chdir(folder):
            files.upload()


def _pictures(folder: Path, output: Path | None) -> list[Path]:
    """The pictures below a folder, in order, but for hidden ones and for results of an earlier call."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in FORMATS and not path.is_dir())
    if output is not None and not folder.is_relative_to(output):
        found = [path for path in found if not path.is_relative_to(output)]
    hidden = [path for path in found if any(part.startswith(".") for part in path.relative_to(folder).parts)]
    return [path for path in found if path not in hidden and not path.stem.endswith(SUFFIX)]


def _side_by_side(picture: Image.Image, painted: Image.Image) -> Image.Image:
    """The picture without its colour, and what was painted, side by side (one above the other if it is wide)."""
    width, height = picture.size
    at = (0, height) if width > 1.5 * height else (width, 0)
    both = Image.new("RGB", (at[0] + width, at[1] + height))
    both.paste(picture.convert("L"))
    both.paste(painted, at)
    return both
