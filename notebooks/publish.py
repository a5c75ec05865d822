"""Copy a profile's executed notebooks, trimmed, to outputs/published: `python notebooks/publish.py --profile photos`.

The copies are what people read on GitHub, so they hold no photograph that is somebody else's, no path of the machine
that ran them, and no more bytes than a page can bear. Which cells show photographs of the data set is said by the tag
`photographs` in the notebooks; all other figures show charts, or photographs that installed packages ship.
"""

import argparse
import base64
import copy
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
from nbformat import NotebookNode
from PIL import Image, ImageOps

from colorize_lib.data.shipped import old_photographs, package_photographs
from colorize_lib.figures import pictures
from colorize_lib.files import ROOT
from reporting import figures, landing
from reporting.page import saved_figures
from reporting.records import NOTEBOOKS, Record, read_records, refuse_empty

PUBLISHED = ROOT / "outputs" / "published"
TAG = "photographs"
KEPT = ("metrics.json", "history.csv", "config.json", "env.json", "scores.csv")
STAND_IN = "sample"  # the profile whose photographs are those of packages
METADATA = ("kernelspec", "language_info")  # of a notebook, what is kept
NOTEBOOK_LIMIT = 2_000_000  # bytes
LIMIT = 25_000_000  # bytes of everything that is published of a profile
QUALITIES = (85, 75, 65, 50)  # of JPEG; the first that keeps a notebook under its limit is taken
STRIP = "strip.jpg"  # the first picture of the README
STRIP_CELL = 240  # pixels
COLOURED_SIZE = 640  # pixels, the longer side of a package's photograph as notebook 07 coloured it

HOME = re.compile(r"(?:/root|/(?:home|Users)/[^/\s\"'<>]+)(?=/)")
# Two names at least, and no part of an address, of a tag such as </td>, or of what was made neutral before.
ABSOLUTE = re.compile(r"(?<![\w.:/~<…)*-])/(?:[\w.@+-]+/)+([\w.@+-]*)")
FOLDERS = ("folder", "other_folder", "cifar", "my_photos", "weights", "start_weights", "encoder_weights", "manifest")


class TooLarge(ValueError):
    """What is to be published is larger than its limit; the message says what and by how much."""


def publish(profile: Path, target: Path = PUBLISHED) -> list[Path]:
    """Replace what `target` holds of the notebooks by copies of those in `profile`, a folder like outputs/photos.

    The strip of colourings is drawn anew if notebook 07 has been run. Other files of `target` stay, and so does
    everything if this fails. Returns the notebooks.
    Raises FileNotFoundError if none has been run, and TooLarge.
    """
    records = read_records(profile)
    refuse_empty(records, profile.name)
    run = [record for record in records if record.is_run]
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target, prefix=".publish-") as temporary:
        for record in run:
            _publish_one(record, profile.name, Path(temporary) / record.name)
        size = sum(path.stat().st_size for path in Path(temporary).rglob("*"))
        if size > LIMIT:
            raise TooLarge(f"{size:,} bytes, and {LIMIT:,} are allowed in all")
        for record in records:
            shutil.rmtree(target / record.name, ignore_errors=True)
        for record in run:
            (Path(temporary) / record.name).replace(target / record.name)
    _draw_strip(next(record for record in records if record.number == "07"), target / STRIP)
    return [target / record.name / record.path.name for record in run]


def _publish_one(record: Record, profile: str, folder: Path) -> None:
    """Write the copy of one notebook with its records to `folder`."""
    folder.mkdir(parents=True)
    root = _root(record.notebook)
    for path in (*record.folder.glob("*"), *record.folder.glob("*/*")):
        if path.name in KEPT:
            copy = folder / path.relative_to(record.folder)
            copy.parent.mkdir(exist_ok=True)
            copy.write_text(neutral(path.read_text(), root))
    _copy_coloured(record.folder / "colored", folder / "colored")
    target = folder / record.path.name
    for quality in QUALITIES:
        nbformat.write(trimmed(record, profile, quality), target)
        if target.stat().st_size <= NOTEBOOK_LIMIT:
            return
    raise TooLarge(f"{target.name} has {target.stat().st_size:,} bytes, and {NOTEBOOK_LIMIT:,} are allowed")


def _copy_coloured(source: Path, folder: Path) -> None:
    """The packages' photographs as notebook 07 coloured them, smaller; the report's first page shows some."""
    for name in (*package_photographs(), *old_photographs()):
        if (source / f"{name}.png").is_file():
            folder.mkdir(exist_ok=True)
            picture = Image.open(source / f"{name}.png").convert("RGB")
            picture.thumbnail((COLOURED_SIZE, COLOURED_SIZE))
            picture.save(folder / f"{name}.jpg", quality=QUALITIES[0])


def _draw_strip(record: Record, path: Path) -> None:
    """Packages' photographs as notebook 07 coloured them, cut to squares: grey, coloured and true, from the lowest to
    the highest error. Without 07, nothing."""
    errors = landing.package_errors(record)
    if not errors:
        return
    pairs = [(Image.open(landing.coloured(record, name)), Image.open(package_photographs()[name])) for name in errors]
    coloured, true = ([_square(picture) for picture in side] for side in zip(*pairs, strict=True))
    rows = {"grey": [_square(Image.fromarray(picture).convert("L")) for picture in true], "coloured": coloured}
    drawn = pictures.picture_rows(
        {name: np.stack(row) for name, row in {**rows, "truth": true}.items()},
        [f"{name.replace('_', ' ')}\nerror {error:.1f}" for name, error in errors.items()],
    )
    drawn.savefig(path, dpi=110, bbox_inches="tight", pil_kwargs={"quality": QUALITIES[0]})


def _square(picture: Image.Image) -> np.ndarray:
    """Its middle, uint8 (STRIP_CELL, STRIP_CELL, 3)."""
    return np.asarray(ImageOps.fit(picture.convert("RGB"), (STRIP_CELL, STRIP_CELL)))


def trimmed(record: Record, profile: str, quality: int) -> NotebookNode:
    """A copy of an executed notebook without photographs of the data set and paths, its pictures compressed."""
    notebook = nbformat.from_dict(record.notebook)
    root, parameters = _root(notebook), _parameters(notebook)
    are_open = open_figures(record.name)
    hidden, in_place = _hint(record.number, profile, parameters), _in_place(record)
    for cell in notebook.cells:
        cell.metadata = {"tags": cell.metadata.get("tags", [])}
        if "injected-parameters" in cell.metadata["tags"]:
            cell.source = _without_folders(cell.source)
        if cell.cell_type != "code":
            continue  # the repository's own text
        cell.source = neutral(cell.source, root)
        saved = set(saved_figures(cell.source))
        is_open = saved and saved <= are_open and TAG not in cell.metadata["tags"]
        if not is_open and not _is_of_packages(record, parameters):
            instead = [hidden, *in_place.get(cell.id, [])]
            outputs = [one for output in cell.outputs for one in (instead if _has_picture(output) else [output])]
            cell.outputs = copy.deepcopy(outputs)  # the line stands in many places
        cell.outputs = [_output(output, root, quality) for output in cell.outputs]
    notebook.metadata = {key: notebook.metadata[key] for key in METADATA if key in notebook.metadata}
    return notebook


def open_figures(name: str) -> set[str]:
    """The names of the figures that cells of the notebook without the tag save.

    No other figure is published: one that is not saved under such a name, by an older version of the notebook for
    example, may show anything.
    """
    cells = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4).cells
    untagged = [cell for cell in cells if TAG not in cell.metadata.get("tags", [])]
    return {figure for cell in untagged for figure in saved_figures(cell.source)}


def _is_of_packages(record: Record, parameters: dict[str, Any]) -> bool:
    """Are the photographs of a notebook's data set those that packages ship? Those of 07 are the reader's own."""
    return parameters.get("cifar" if record.number == "05" else "source") == "sample"


def _parameters(notebook: NotebookNode) -> dict[str, Any]:
    """What the runner gave to the notebook in place of its defaults."""
    return notebook.metadata.get("papermill", {}).get("parameters", {})


def _hint(number: str, profile: str, parameters: dict[str, Any]) -> NotebookNode:
    """The line in place of a figure."""
    command = f"make run NB={number} PROFILE={profile}"
    command += " PHOTOS=DIR" if parameters.get("folder") else ""
    command += " SET=cifar=DIR" if "/" in parameters.get("cifar", "") else ""
    text = f"Photographs of the data set are not published; `{command}` shows them.\n"
    return nbformat.v4.new_output("stream", name="stdout", text=text)


def _in_place(record: Record) -> dict[str, list[NotebookNode]]:
    """By cell, what to show in place of the data set's photographs: in notebook 01 those of packages, which it shows
    under the profile `sample`, if that has been run. (In later notebooks they would be another generator's work.)"""
    path = record.folder.parent.parent / STAND_IN / record.name / record.path.name
    if record.number != "01" or not path.is_file():
        return {}
    notebook = nbformat.read(path, as_version=4)
    if not _is_of_packages(record, _parameters(notebook)):
        return {}
    line = f"In their place, the photographs of the profile `{STAND_IN}`:\n"
    note = nbformat.v4.new_output("stream", name="stdout", text=line)
    return {cell.id: [note, *filter(_has_picture, cell.get("outputs", []))] for cell in notebook.cells}


def _has_picture(output: NotebookNode) -> bool:
    return any(kind.startswith("image/") for kind in output.get("data", {}))


def _output(output: NotebookNode, root: str, quality: int) -> NotebookNode:
    """The output with small pictures and without paths."""
    if "text" in output:
        output.text = neutral(output.text, root)
    for kind, data in list(output.get("data", {}).items()):
        if kind == "image/png":
            del output.data[kind]
            kind, small = figures.for_github(base64.b64decode(data), quality)
            output.data[kind] = base64.b64encode(small).decode()
        elif isinstance(data, str) and kind.startswith("text/"):
            output.data[kind] = neutral(data, root)
    return output


def _root(notebook: NotebookNode) -> str:
    """Where the repository was on the machine that ran the notebook; "" if that is not known."""
    path = notebook.metadata.get("papermill", {}).get("input_path") or ""
    return str(Path(path).parents[1]) if Path(path).is_absolute() else ""


def _without_folders(source: str) -> str:
    """The cell of injected parameters with DIR in place of folders and files."""
    return re.sub(rf'^({"|".join(FOLDERS)}) = ".*/.*"$', r'\1 = "DIR"', source, flags=re.MULTILINE)


def neutral(text: str, root: str) -> str:
    """Text without paths of a machine: relative to the repository's root, to ~, or … with the last name alone."""
    for place in filter(None, {root, str(ROOT)}):
        text = text.replace(f"{place}/", "").replace(place, ".")
    return ABSOLUTE.sub(r"…/\1", HOME.sub("~", text))


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--profile", default="sample", help="a folder of outputs/ (default: %(default)s)")
    options = parser.parse_args(argv)
    if options.profile == PUBLISHED.name:
        parser.error("published is where the copies go; name the profile that was run")
    try:
        for path in publish(ROOT / "outputs" / options.profile):
            print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1e6:.2f} MB")
    except (FileNotFoundError, TooLarge) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
