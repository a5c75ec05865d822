"""Copy a profile's executed notebooks, trimmed, to outputs/published: `notebooks/tools/publish.py --profile photos`.

The copies are what people read on GitHub, so they hold no photograph that is somebody else's, no path of the machine
that ran them, and no more bytes than a page can bear. Which cells show photographs of the data set is said by the tag
`photographs` in the notebooks; all other figures show charts, or photographs that installed packages ship.
"""

import argparse
import re
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
from nbconvert import NotebookExporter
from nbconvert.preprocessors import ClearMetadataPreprocessor, Preprocessor
from nbformat import NotebookNode
from PIL import Image
from traitlets import Unicode

from colorize_lib.files import ROOT
from executed import SmallFigures, executed_notebooks, has_picture, saved_figures

NOTEBOOKS, PUBLISHED = ROOT / "notebooks", ROOT / "outputs" / "published"
TAG = "photographs"
KEPT = ("metrics.json", "history.csv", "config.json", "env.json", "scores.csv")
METADATA = {"kernelspec", "language_info"}  # of a notebook, what is kept
LIMIT = 2_000_000  # bytes of a notebook
QUALITIES = (85, 75, 65, 50)  # of JPEG; the first that keeps a notebook under its limit is taken
STRIP = "strip"  # the figure of packages' photographs, coloured, that opens the README

HOME = re.compile(r"(?:/root|/(?:home|Users)/[^/\s\"'<>]+)(?=/)")
# Two names at least, and no part of an address, of a tag such as </td>, or of what was made neutral before.
ABSOLUTE = re.compile(r"(?<![\w.:/~<…)*-])/(?:[\w.@+-]+/)+([\w.@+-]*)")
FOLDERS = ("folder", "other_folder", "cifar", "my_photos", "weights", "start_weights", "encoder_weights", "manifest")


def publish(profile: Path, target: Path = PUBLISHED) -> list[Path]:
    """Replace what `target` holds of the notebooks by copies of those in `profile`, a folder like outputs/photos.

    Other files of `target` stay, and so does everything if this fails: the program ends if there is none, or one is
    too large. Returns the notebooks.
    """
    notebooks = executed_notebooks(profile)
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target, prefix=".publish-") as temporary:
        for path in notebooks:
            _publish_one(path, Path(temporary) / path.stem)
        for old in target.glob("[0-9][0-9]_*"):
            shutil.rmtree(old)
        for path in notebooks:
            (Path(temporary) / path.stem).replace(target / path.stem)
    for strip in profile.glob(f"*/figures/{STRIP}.png"):
        Image.open(strip).convert("RGB").save(target / f"{STRIP}.jpg", quality=QUALITIES[0])
    return [target / path.stem / path.name for path in notebooks]


def _publish_one(path: Path, folder: Path) -> None:
    """Write the copy of one notebook with its records, and those of its parts, to `folder`."""
    notebook = nbformat.read(path, as_version=4)
    ran = Path(notebook.metadata.get("papermill", {}).get("input_path") or "")
    root = str(ran.parents[1]) if ran.is_absolute() else ""  # where the repository was on the machine that ran it
    folder.mkdir()
    for record in (*path.parent.glob("*"), *path.parent.glob("*/*")):
        if record.name in KEPT:
            kept = folder / record.relative_to(path.parent)
            kept.parent.mkdir(exist_ok=True)
            kept.write_text(neutral(record.read_text(), root))
    for quality in QUALITIES:
        copy = trimmed(notebook, path.stem, root, quality)
        if len(copy.encode()) <= LIMIT:
            (folder / path.name).write_text(copy)
            return
    sys.exit(f"{path.name} has {len(copy.encode()):,} bytes, and {LIMIT:,} are allowed")


def trimmed(notebook: NotebookNode, name: str, root: str, quality: int) -> str:
    """An executed notebook as text, without photographs of the data set and paths, its pictures compressed."""
    given = notebook.metadata.get("papermill", {}).get("parameters", {})
    steps = [
        ClearMetadataPreprocessor(preserve_cell_metadata_mask={"tags"}, preserve_nb_metadata_mask=METADATA),
        SmallFigures(quality=quality),
        WithoutPaths(root=root),
    ]
    # Are the photographs of the data set those that packages ship? Those of 07 are the reader's own.
    if given.get("cifar" if name.startswith("05") else "source") != "sample":
        command = f"make run NB={name[:2]} PROFILE={given.get('profile', '')}"
        command += " PHOTOS=DIR" if given.get("folder") else ""
        command += " SET=cifar=DIR" if "/" in given.get("cifar", "") else ""
        steps.insert(0, WithoutPhotographs(name=name, command=command))
    return NotebookExporter(preprocessors=steps).from_notebook_node(notebook)[0]


class WithoutPhotographs(Preprocessor):
    """A line in place of what cells with the tag show, and cells whose figure is none of `open_figures`.

    A figure that is not saved under such a name, by an older version of the notebook for example, may show anything.
    """

    name = Unicode(help="of the notebook")
    command = Unicode(help="what shows the photographs")

    def preprocess_cell(self, cell: NotebookNode, resources: dict, index: int) -> tuple[NotebookNode, dict]:
        saved = set(saved_figures(cell.source))
        closed = TAG in cell.metadata.get("tags", []) or not saved or not saved <= open_figures(self.name)
        if closed and any(map(has_picture, cell.get("outputs", []))):
            text = f"Photographs of the data set are not published; `{self.command}` shows them.\n"
            cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=text)]
        return cell, resources


def open_figures(name: str) -> set[str]:
    """The names of the figures that cells of the repository's notebook without the tag save."""
    cells = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4).cells
    return {one for cell in cells if TAG not in cell.metadata.get("tags", []) for one in saved_figures(cell.source)}


class WithoutPaths(Preprocessor):
    """Neutral paths in code and in what it printed; text cells are the repository's own."""

    root = Unicode(help="where the repository was on the machine that ran the notebook")

    def preprocess_cell(self, cell: NotebookNode, resources: dict, index: int) -> tuple[NotebookNode, dict]:
        if "injected-parameters" in cell.metadata.get("tags", []):
            pattern = rf'^({"|".join(FOLDERS)}) = ".*/.*"$'
            cell.source = re.sub(pattern, r'\1 = "DIR"', cell.source, flags=re.MULTILINE)
        if cell.cell_type == "code":
            cell.source = neutral(cell.source, self.root)
        for output in cell.get("outputs", []):
            if "text" in output:
                output.text = neutral(output.text, self.root)
            for kind, data in output.get("data", {}).items():
                output.data[kind] = neutral(data, self.root) if kind.startswith("text/") else data
        return cell, resources


def neutral(text: str, root: str) -> str:
    """Text without paths of a machine: relative to the repository's root, to ~, or … with the last name alone."""
    for place in filter(None, {root, str(ROOT)}):
        text = text.replace(f"{place}/", "").replace(place, ".")
    return ABSOLUTE.sub(r"…/\1", HOME.sub("~", text))


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--profile", default="sample", help="a folder of outputs/ (default: %(default)s)")
    options = parser.parse_args(argv)
    if options.profile == PUBLISHED.name:
        parser.error("published is where the copies go; name the profile that was run")
    for path in publish(ROOT / "outputs" / options.profile):
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
