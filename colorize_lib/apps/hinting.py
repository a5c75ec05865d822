"""The part of the demo page where colours are told: click on a place, choose one of the likeliest colours or another.

Needs the optional packages `demo` (gradio).
"""

import re
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import gradio as gr
from PIL import Image, ImageDraw

from ..colorizing.hints import Hint

SWATCH = 64  # pixels a side of an offered colour


class HintArea:
    """Builds the area within a gr.Blocks; `hints`, a gr.State, changes as they are given and taken back.

    column: all of it. pointed: the picture to click on. inputs: components of which `suggest` takes the values, then
    hints, and x and y in pixels of the picture; it gives colours #rrggbb.
    """

    def __init__(self, folder: Path, inputs: Sequence, suggest: Callable[..., list[str]]):
        self.hints, spot, offered = gr.State([]), gr.State(None), gr.State([])
        with gr.Column(visible=False) as self.column:
            # Never larger than it is: gradio then tells other places than were clicked on.
            plain = {"interactive": False, "buttons": [], "elem_classes": ["picture", "pointed"]}
            self.pointed = gr.Image(label="Do you know a colour? Click on its place", **plain)
            plain |= {"columns": 6, "allow_preview": False, "visible": False}
            swatches = gr.Gallery(label="The likeliest colours of this place: choose one, or another below", **plain)
            with gr.Row(visible=False) as own:
                picker = gr.ColorPicker(label="Another colour")
                use = gr.Button("Use this colour")
            listed = gr.Markdown()
            undo = gr.Button("Undo the last colour", visible=False)

        def point(event: gr.SelectData, hints: list[Hint], *values):
            x, y = event.index
            colours = suggest(*values, hints, x, y)
            files = []
            for colour in colours:
                files.append(folder / uuid.uuid4().hex / f"{colour[1:]}.png")
                files[-1].parent.mkdir(parents=True)
                Image.new("RGB", (SWATCH, SWATCH), colour).save(files[-1])
            shown = gr.Gallery([str(path) for path in files], selected_index=None, visible=True)
            return (x, y), colours, shown, gr.Row(visible=True), colours[0]

        def choose(event: gr.SelectData, hints: list[Hint], where: tuple, colours: list[str]) -> list[Hint]:
            return [*hints, (*where, colours[event.index])]

        def add(hints: list[Hint], where: tuple, colour: str) -> list[Hint]:
            return [*hints, (*where, as_hex(colour))]

        def told(hints: list[Hint]):
            lines = [f"{x},{y},{colour}" for x, y, colour in hints]
            return "; ".join(lines), gr.Button(visible=bool(hints)), gr.Gallery(visible=False), gr.Row(visible=False)

        quiet = {"show_progress": "hidden"}
        self.pointed.select(point, [self.hints, *inputs], [spot, offered, swatches, own, picker], **quiet)
        swatches.select(choose, [self.hints, spot, offered], self.hints, **quiet)
        use.click(add, [self.hints, spot, picker], self.hints, **quiet)
        undo.click(lambda hints: hints[:-1], self.hints, self.hints, **quiet)
        self.hints.change(told, self.hints, [listed, undo, swatches, own], **quiet)


def as_hex(colour: str) -> str:
    """What a browser's colour picker gives, #rrggbb or rgba(r, g, b, a), as #rrggbb."""
    if colour.startswith("#"):
        return colour[:7]
    return "#" + bytes(min(round(float(level)), 255) for level in re.findall(r"[\d.]+", colour)[:3]).hex()


def marked(picture: Image.Image, hints: list[Hint]) -> Image.Image:
    """A copy of a picture with a ring in its colour around each hint."""
    picture, radius = picture.copy(), max(4, max(picture.size) // 80)
    draw = ImageDraw.Draw(picture)
    for x, y, colour in hints:
        for size, edge in ((radius + 2, "black"), (radius, "white"), (radius - 2, colour)):
            draw.ellipse((x - size, y - size, x + size, y + size), fill=edge)
    return picture
