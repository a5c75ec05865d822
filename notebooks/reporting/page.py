"""An executed notebook as HTML: nbconvert's `basic` template, figures as files, nothing that needs a script."""

import base64
import html
import io
import re
from pathlib import Path

from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode, from_dict
from PIL import Image

from . import figures, formulas
from .records import Record

COLAB = "COLAB_RELEASE_TAG"  # stands in the cell that prepares Colab and does nothing elsewhere
SHOWN = ("image/svg+xml", "image/png", "image/jpeg", "text/html", "text/plain")  # of an output's formats, the first
LONGEST_ALT = 200
WORDS = re.compile("<td>[^<]*[a-z]{5}")  # in a cell of a table, which then is set to the left


class Renderer(IPythonRenderer):
    """Markdown that fetches nothing from elsewhere: formulas are drawn here, pictures on the web become their text."""

    def image(self, text: str, url: str, title: str | None = None) -> str:
        return html.escape(text) if "//" in url else super().image(text or "picture", url, title)

    def inline_math(self, body: str) -> str:
        return formulas.to_html(body, block=False)

    def block_math(self, body: str) -> str:
        return formulas.to_html(body, block=True)


def convert(record: Record, folder: Path) -> tuple[str, list[tuple[str, str]]]:
    """The body of a notebook's page, and its headings as (id, text). Writes the figures to `folder`/<notebook>/."""
    cells = [cell for cell in record.notebook.cells if COLAB not in cell.source]
    notebook = from_dict({**record.notebook, "cells": cells})
    caption = heading = record.title
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            cell.source = _without_badges(cell.source)
            heading = _last_heading(cell.source) or heading
            caption = _first_sentence(cell.source) or heading
        elif cell.cell_type == "code":
            cell.outputs = _merged(cell.outputs)
            names = iter(saved_figures(cell.source))
            for count, output in enumerate(cell.outputs):
                name = next(names, f"picture {count}") if _is_picture(output) else ""
                file = f"{record.name}/{index:02d}-{name.replace(' ', '-')}.webp"
                _show(output, folder, file, f"{name.replace('_', ' ')}: {caption}"[:LONGEST_ALT])
                caption = f"in “{heading}”" if name else caption  # the text above is about its first figure
    exporter = HTMLExporter(
        template_name="basic",
        filters={"markdown2html": _markdown},
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    body = exporter.from_notebook_node(notebook)[0]
    headings = re.findall(r'<h2 id="([^"]+)">(.*?)<a class="anchor-link"', body)
    return body, [(name, re.sub(r"<[^>]+>", "", text)) for name, text in headings]


def _markdown(text: str) -> str:
    """HTML of Markdown; each table gets a box of its own to scroll in."""
    rendered = MarkdownWithMath(renderer=Renderer(escape=False, anchor_link_text="#")).render(text)
    return rendered.replace("<table>", '<div class="wide" tabindex="0"><table>').replace("</table>", "</table></div>")


def _without_badges(source: str) -> str:
    """Without lines that are nothing but a linked badge: its picture lies elsewhere, and the link is for the source."""
    return re.sub(r"^\[!\[[^\]]*\]\([^)]*\)\]\([^)]*\)\n*", "", source, flags=re.MULTILINE)


def _first_sentence(source: str) -> str:
    """The first sentence of Markdown's running text, without marks; "" if it has none."""
    text = next((line for line in source.splitlines() if line and not line.startswith(("#", "|", "-", "!"))), "")
    return re.split(r"(?<=[.?!]) ", _plain(text))[0]


def _last_heading(source: str) -> str:
    found = re.findall(r"^#+ +(.+)$", source, flags=re.MULTILINE)
    return _plain(found[-1]) if found else ""


def _plain(text: str) -> str:
    """Markdown without its marks, and links as their text."""
    return re.sub(r"[*`\\]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)).strip()


def saved_figures(source: str) -> list[str]:
    """The names of the figures that a cell saves, without their ending, in order."""
    return re.findall(r'figures / "([\w-]+)\.png"', source)


def _is_picture(output: NotebookNode) -> bool:
    return any(kind.startswith("image/") for kind in output.get("data", {}))


def _merged(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Outputs with neighbouring prints of one stream in one."""
    merged: list[NotebookNode] = []
    for output in outputs:
        before = merged[-1] if merged else None
        if output.output_type == "stream" and before and before.get("name") == output.name:
            before.text += output.text
        else:
            merged.append(output)
    return merged


def _show(output: NotebookNode, folder: Path, name: str, alt: str) -> None:
    """Reduce an output to its best format; a picture goes to a file `name` in `folder`, and a figure shows it."""
    if "data" not in output:
        return
    best = next((kind for kind in SHOWN if kind in output.data), None)
    if best in ("image/png", "image/jpeg"):
        picture = Image.open(io.BytesIO(base64.b64decode(output.data[best])))
        output.data = {"text/html": write_figure(picture, folder, name, alt)}
    elif best == "image/svg+xml":
        drawing = base64.b64encode("".join(output.data[best]).encode()).decode()
        output.data = {"text/html": _figure(f"data:image/svg+xml;base64,{drawing}", alt)}
    elif best == "text/html":
        table = re.sub("<style scoped>.*?</style>", "", output.data[best], flags=re.DOTALL)  # pandas brings its own
        kind = "words" if WORDS.search(table) else "numbers"
        output.data = {best: f'<div class="{kind}">{table}</div>'}
    else:
        output.data = {"text/plain": output.data.get("text/plain", "(this output needs a script)")}


def write_figure(picture: Image.Image, folder: Path, name: str, alt: str) -> str:
    """Write a picture to a file `name` in `folder`; the HTML that shows it."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(figures.for_page(picture))
    return _figure(name, alt, f' width="{picture.width}" height="{picture.height}"', f"--width: {picture.width}px")


def _figure(source: str, alt: str, size: str = "", style: str = "") -> str:
    image = f'<img src="{source}" alt="{html.escape(alt)}"{size} loading="lazy">'
    return f'<figure tabindex="0" style="{style}">{image}</figure>'
