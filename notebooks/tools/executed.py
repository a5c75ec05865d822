"""Executed notebooks, of which pages and published copies are made: where they are, and their figures made small."""

import base64
import io
import re
import sys
from pathlib import Path

from nbconvert.preprocessors import Preprocessor
from nbformat import NotebookNode
from PIL import Image
from traitlets import Int

CHART_COLOURS = 8192  # a chart with smoothed lines has fewer colours, a picture of photographs many more


def executed_notebooks(profile: Path) -> list[Path]:
    """The executed notebooks of a folder like outputs/sample, in order. The program ends if there is none."""
    found = sorted(path for path in profile.glob("[0-9][0-9]_*/*.ipynb") if path.stem == path.parent.name)
    if not found:
        name = profile.name
        sys.exit(f"outputs/{name} holds no executed notebook: `make run-all PROFILE={name}` makes them")
    return found


def saved_figures(source: str) -> list[str]:
    """The names of the figures that a cell saves, without their ending, in order."""
    return re.findall(r'figures / "([\w-]+)\.png"', source)


def has_picture(output: NotebookNode) -> bool:
    """Is there a picture among an output's formats?"""
    return any(kind.startswith("image/") for kind in output.get("data", {}))


class SmallFigures(Preprocessor):
    """Every PNG made small, for browsers and GitHub: a chart stays exact, a picture of photographs becomes a JPEG.

    An output's metadata gets the picture's size, and as its text the names that the cell saves figures under.
    """

    quality = Int(80, help="of JPEG")

    def preprocess_cell(self, cell: NotebookNode, resources: dict, index: int) -> tuple[NotebookNode, dict]:
        names = iter(saved_figures(cell.source))
        for output in filter(has_picture, cell.get("outputs", [])):
            alt = next(names, "figure").replace("_", " ")
            if "image/png" not in output.data:
                continue
            original = Image.open(io.BytesIO(base64.b64decode(output.data.pop("image/png")))).convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", original.size, "white"), original).convert("RGB")
            kind = "jpeg" if picture.getcolors(CHART_COLOURS) is None else "png"
            small = io.BytesIO()
            picture.save(small, kind, optimize=True, quality=self.quality)  # of which a PNG has none
            output.data[f"image/{kind}"] = base64.b64encode(small.getvalue()).decode()
            output.metadata[f"image/{kind}"] = {"width": picture.width, "height": picture.height, "alt": alt}
        return cell, resources
