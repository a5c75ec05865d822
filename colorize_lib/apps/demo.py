"""A page to colour one's own photographs on, served to this machine alone. It asks nothing of any other machine.

Needs the optional packages `demo` (gradio).
"""

import os
import shutil
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

# gradio and what it is made of report their use, and ask for newer versions, unless this is set before their import.
os.environ |= {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_RUN_HISTORY": "False",  # its page can send what was coloured to Hugging Face
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
}

import gradio as gr
from fastapi import FastAPI
from PIL import Image, UnidentifiedImageError

from ..colorizing.colorizer import Colorizer
from ..colorizing.hints import Hint, suggest
from ..images import FORMATS, read_photograph, save_picture
from . import serving
from .hinting import HintArea, marked

LARGEST_MB = 50
MOST_SAMPLES = 6
PREVIEW = 1200  # pixels of the longer side of what the page shows; the download has all of them
KEPT = 8  # photographs whose beliefs are kept for another reading
DECODERS = sorted({*FORMATS.values()})  # of Pillow; no others see an upload
READ = "JPEG, PNG, WebP and TIFF"
FONTS = ["Helvetica Neue", "Segoe UI", "Roboto", "Arial", "sans-serif"]  # of the machine: gradio's own are not fetched
INTRODUCTION = """# Colour a photograph

The photograph stays on this machine. Colour that it already has is ignored: the network sees its lightness alone."""
# Labels stand above the pictures, and not on them; the photograph is as large as the comparison that follows; and all
# colourings are as small as a phone needs them, in a box that ends where they do.
CSS = """
.gradio-container { width: 100% !important; max-width: 1150px !important; margin: 0 auto !important;
  --block-info-text-color: var(--block-label-text-color); }
.picture label[data-testid="block-label"] { position: static; border: 0; }
.picture .image-container button, .picture .image-frame, .picture .image-frame img { width: 100%; }
.picture .image-frame img { max-height: 500px; object-fit: contain; }
.picture.pointed .image-frame img { width: auto; height: auto; max-width: 100%; margin: auto; }
.picture .grid-wrap { min-height: 0; max-height: none; overflow: hidden; }
.picture .grid-container { grid-template-columns: repeat(3, minmax(0, 1fr)); grid-auto-rows: auto; padding-top: 0; }
.picture .thumbnail-item { aspect-ratio: auto; }
.refused p { color: #b3261e; font-weight: 600; }
.dark .refused p { color: #ff9b91; }
"""


class Refused(Exception):
    """A file that is not coloured; the message is the sentence that the page shows."""


def serve(colorizer: Colorizer, port: int = 7860) -> None:
    """Serve the page as `serving.serve` does. What was uploaded and coloured lies in a temporary folder, which is
    deleted at the end."""
    with TemporaryDirectory(prefix="colorize-demo-") as folder:
        serving.serve(build_app(colorizer, Path(folder)), serving.HOST, port)


def build_app(colorizer: Colorizer, folder: Path) -> FastAPI:
    """The page as a web application. folder: for uploads and results; it is deleted when the application ends."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        shutil.rmtree(folder, ignore_errors=True)  # here, since uvicorn dies of SIGTERM before its caller could

    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    app = FastAPI(lifespan=lifespan, openapi_url=None)
    serving.guard(app)
    return gr.mount_gradio_app(
        app,
        build_page(colorizer, folder),
        path="/",
        max_file_size=LARGEST_MB * 2**20,
        show_error=False,  # of an error that nobody foresaw, the page says only that there was one
        ssr_mode=False,
        enable_monitoring=False,
        footer_links=[],
        theme=gr.themes.Default(font=FONTS, font_mono=["monospace"]),
        css=CSS,
    )


def read_upload(path: Path) -> Image.Image:
    """An uploaded photograph, upright RGB. Raises Refused."""
    if path.stat().st_size > LARGEST_MB * 2**20:
        raise Refused(f"This file is larger than {LARGEST_MB} MB.")
    try:
        Image.open(path, formats=DECODERS).close()
        return read_photograph(path)
    except UnidentifiedImageError as error:
        raise Refused(f"This file is not a picture that can be read. {READ} can.") from error
    except Exception as error:  # Pillow's decoders raise many kinds
        if isinstance(error, Image.DecompressionBombError) or str(error).startswith("too large"):
            raise Refused(f"This picture has more than {Image.MAX_IMAGE_PIXELS / 1e6:.0f} million pixels.") from error
        raise Refused("This picture is damaged or incomplete, and cannot be read.") from error


def build_page(colorizer: Colorizer, folder: Path) -> gr.Blocks:
    """The page. folder: where results and what the page shows of them are written."""

    believed: dict[str, tuple] = {}  # by upload, the newest last

    def preview(picture: Image.Image) -> str:
        """A file with the picture at the size of a screen."""
        small = picture.copy()
        small.thumbnail((PREVIEW, PREVIEW))
        path = folder / uuid.uuid4().hex / "preview.jpg"
        save_picture(small, path)
        return str(path)

    def uploaded(upload: str) -> Path:
        """The file of an upload. Raises Refused for another one of this machine."""
        path = Path(upload).resolve()
        if not path.is_relative_to(folder.resolve()) or not path.is_file():
            raise Refused("This file was not uploaded here.")
        return path

    def take(upload: str | None):
        """Show a photograph that was uploaded, or why it cannot be coloured, and clear what was shown of the last."""
        before, sentence = None, ""
        try:
            before = preview(read_upload(uploaded(upload))) if upload else None
        except Refused as refused:
            sentence = str(refused)
        return {
            photograph: before,
            status: sentence,
            shown: gr.Image(before, visible=True),
            run: gr.Button(interactive=before is not None),
            comparison: gr.ImageSlider(None, visible=False),
            choice: gr.Gallery(None, visible=False),
            download: gr.DownloadButton(visible=False),
            area.column: gr.Column(visible=False),
            area.hints: [],
        }

    def believe(upload: str, before: str, picture: Image.Image, hints: list[Hint]) -> tuple:
        """The belief about an upload with hints, whose places are in what the page shows of it: that of the photograph,
        or of `picture` where that is not known yet and this is what is shown."""
        key, factor = (upload, *hints), picture.width / Image.open(before).width
        if key not in believed and getattr(picture, "filename", "") == before:
            key = (before, *hints)
        if key not in believed:
            own = [((x + 0.5) * factor - 0.5, (y + 0.5) * factor - 0.5, colour) for x, y, colour in hints]
            believed[key] = colorizer.believe(picture, own)
            believed.pop(next(iter(believed)) if len(believed) > KEPT else None, None)
        return believed[key]

    def paint(
        upload: str, before: str, picture: Image.Image, hints: list, count: int, saturation: float, vividness: float
    ):
        """The colourings of a picture of an upload; of a distribution the network is run once for each upload."""
        if not colorizer.is_distribution:
            painted = colorizer(picture, samples=count, saturation=saturation)
            return painted if count > 1 else [painted]
        return [colorizer.read(picture, believe(upload, before, picture, hints), vividness, saturation)]

    def read_again(upload: str | None, before: str | None, hints: list, saturation: float, vividness: float):
        """Show the photograph read anew, at the size of a screen; the file to download comes after."""
        if not any(upload == key[0] for key in believed):
            return {status: ""}
        (again,) = paint(upload, before, Image.open(before), hints, 1, saturation, vividness)
        slider = gr.ImageSlider((before, preview(again)), visible=True)
        return {
            comparison: slider,
            area.pointed: preview(marked(again, hints)),
            download: gr.DownloadButton(visible=False),
        }

    def save_again(upload: str | None, before: str | None, hints: list, saturation: float, vividness: float):
        known = any(upload == key[0] for key in believed)
        return colour(upload, before, hints, 1, saturation, vividness) if known else {status: ""}

    def colour(upload: str, before: str, hints: list, count: int, saturation: float, vividness: float):
        """Colour the photograph; the first colouring is compared and offered for download."""
        source, target, found = uploaded(upload), folder / uuid.uuid4().hex, []
        suffix = source.suffix if source.suffix.lower() in FORMATS else ".png"
        painted = paint(upload, before, read_upload(source), hints, count, saturation, vividness)
        for number, result in enumerate(painted, 1):
            name = f"{source.stem}_coloured{f'-{number}' if count > 1 else ''}{suffix}"
            save_picture(result, target / name, source)
            found.append((preview(result), str(target / name)))
        gallery = gr.Gallery([small for small, _ in found], selected_index=0, visible=count > 1)
        telling = {area.column: gr.Column(visible=colorizer.hinting is not None)}
        telling[area.pointed] = preview(marked(Image.open(found[0][0]), hints))
        return {results: found, shown: gr.Image(visible=False), choice: gallery, **telling, **compare(before, found)}

    def likeliest(upload: str, before: str, hints: list[Hint], x: int, y: int) -> list[str]:
        picture = Image.open(before)
        L, logits = believe(upload, before, picture, hints)
        return suggest(colorizer.net_G.head, L, logits, ((x + 0.5) / picture.width, (y + 0.5) / picture.height))

    def compare(before: str, found: list[tuple[str, str]], index: int = 0) -> dict:
        after, full = found[index]
        slider = gr.ImageSlider((before, after), visible=True)
        return {comparison: slider, download: gr.DownloadButton(value=full, visible=True)}

    def choose(event: gr.SelectData, before: str, found: list[tuple[str, str]]):
        return compare(before, found, event.index)

    with gr.Blocks(title="Colour a photograph", analytics_enabled=False) as page:
        photograph, results = gr.State(None), gr.State([])
        gr.Markdown(INTRODUCTION)
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                upload = gr.File(label=f"{READ}, up to {LARGEST_MB} MB", file_types=[*FORMATS], height=170)
                status = gr.Markdown(elem_classes="refused")
                several = {"step": 1, "label": "Number of colourings", "visible": colorizer.has_dropout}
                count = gr.Slider(1, MOST_SAMPLES, value=1, **several)
                saturation = gr.Slider(0, 2, value=1, step=0.05, label="Saturation", info="0 is grey, 1 as painted")
                vividness = gr.Slider(
                    *(0, 1, colorizer.net_G.vividness if colorizer.is_distribution else 1),
                    step=0.05,
                    label="Vividness",
                    visible=colorizer.is_distribution,
                    info="0 is faithful and dull, 1 is vivid and errs more",
                )
                run = gr.Button("Colour", variant="primary", interactive=False)
            with gr.Column(scale=2, min_width=300):
                shown = gr.Image(label="Photograph", interactive=False, buttons=[], elem_classes="picture")
                hidden = {"visible": False, "interactive": False, "elem_classes": "picture"}
                comparison = gr.ImageSlider(label="Before and after", buttons=["fullscreen"], **hidden)
                hidden |= {"columns": 3, "object_fit": "contain", "allow_preview": False, "buttons": []}
                choice = gr.Gallery(label="Choose the colouring to compare and to download", **hidden)
                download = gr.DownloadButton("Download at full size", visible=False)
                area = HintArea(folder, [upload, photograph], likeliest)
        cleared = [photograph, status, shown, run, comparison, choice, download, area.column, area.hints]
        upload.change(take, upload, cleared, show_progress="hidden")
        coloured = [results, shown, comparison, choice, download, area.column, area.pointed]
        given = [upload, photograph, area.hints]
        run.click(colour, [*given, count, saturation, vividness], coloured, concurrency_limit=1)
        again = [*given, saturation, vividness]
        reading = {"show_progress": "hidden", "trigger_mode": "always_last"}
        gr.on([vividness.change, area.hints.change], read_again, again, [status, *coloured], **reading).then(
            save_again, again, [status, *coloured], show_progress="hidden"
        )
        choice.select(choose, [photograph, results], [comparison, download], show_progress="hidden")
    return page
