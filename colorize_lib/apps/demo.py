"""A page to colour one's own photographs on, served to this machine alone. It asks nothing of any other machine.

Needs the optional packages `demo` (gradio).
"""

import os
import signal
import socket
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

# gradio and what it is made of report their use, and ask for newer versions, unless this is set before their import.
for _name, _value in {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_RUN_HISTORY": "False",  # its page can send what was coloured to Hugging Face
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
}.items():
    os.environ[_name] = _value

import gradio as gr  # noqa: E402
import uvicorn  # noqa: E402
from fastapi import FastAPI  # noqa: E402
from PIL import Image, UnidentifiedImageError  # noqa: E402
from starlette.datastructures import Headers, MutableHeaders  # noqa: E402
from starlette.responses import PlainTextResponse  # noqa: E402
from starlette.types import ASGIApp, Message, Receive, Scope, Send  # noqa: E402

from ..colorizing.colorizer import Colorizer  # noqa: E402
from ..images import UnusablePhoto, read_photograph, save_picture  # noqa: E402

HOST = "127.0.0.1"
NAMES = (HOST, "localhost")  # by which a browser on this machine reaches it
LARGEST_MB = 50
MOST_SAMPLES = 6
PREVIEW = 1600  # pixels of the longer side of what the page shows; the download has all of them
SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "WEBP": ".webp", "TIFF": ".tif"}  # MPO: JPEG of some phones
READ = "JPEG, PNG, WebP and TIFF"
UPLOADED = [".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff"]

# The browser is told to fetch nothing from elsewhere, whatever a version of gradio may ask it for.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; frame-ancestors 'none'; base-uri 'self'; form-action 'self'"
)
FONTS = ["Helvetica Neue", "Segoe UI", "Roboto", "Arial", "sans-serif"]  # of the machine: gradio's own are not fetched
INTRODUCTION = """# Colour a photograph

The photograph stays on this machine. Colour that it already has is ignored: the network sees its lightness alone."""
ONE_ONLY = "This network has no dropout, so it gives one colouring of a photograph."
CSS = """
.gradio-container { width: 100% !important; max-width: 1150px !important; margin: 0 auto !important; }
.gradio-container { --block-info-text-color: var(--block-label-text-color); }
/* labels above the pictures, and not on them */
.picture label[data-testid="block-label"] { position: static; border: 0; }
/* the photograph as large as the comparison that follows */
.picture .image-container button, .picture .image-frame, .picture .image-frame img { width: 100%; }
.picture .image-frame img { max-height: 500px; object-fit: contain; }
/* all colourings, as small as a phone needs them, in a box that ends where they do */
.picture .grid-wrap { min-height: 0; max-height: none; overflow: hidden; }
.picture .grid-container { grid-template-columns: repeat(3, minmax(0, 1fr)); grid-auto-rows: auto; padding-top: 0; }
.picture .thumbnail-item { aspect-ratio: auto; }
.refused p { color: #b3261e; font-weight: 600; }
.dark .refused p { color: #ff9b91; }
"""


class Refused(Exception):
    """A file that is not coloured; the message is the sentence that the page shows. It holds nothing of the file."""


def serve(colorizer: Colorizer, port: int = 7860) -> None:
    """Serve the page until Ctrl-C or SIGTERM, which end the process; port 0 takes any free one. Prints the address.

    What was uploaded and coloured lies in a temporary folder, which is deleted at the end.
    Raises OSError for a port that cannot be used.
    """
    with socket.create_server((HOST, port)) as listening:
        folder = TemporaryDirectory(prefix="colorize-demo-")
        config = uvicorn.Config(
            build_app(colorizer, folder),
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=3,  # seconds
        )
        print(f"open http://{HOST}:{listening.getsockname()[1]}/ (Ctrl-C ends it)", flush=True)
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # like SIGTERM, Ctrl-C does not wait for a colouring under way
        _Server(config).run(sockets=[listening])


def build_app(colorizer: Colorizer, folder: TemporaryDirectory) -> FastAPI:
    """The page as a web application. folder: for uploads and results; it is deleted when the application ends."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        folder.cleanup()  # here, since uvicorn dies of SIGTERM before its caller could

    os.environ["GRADIO_TEMP_DIR"] = folder.name
    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(_OnlyHere)
    return gr.mount_gradio_app(
        app,
        build_page(colorizer, Path(folder.name)),
        path="/",
        max_file_size=LARGEST_MB * 2**20,
        show_error=False,  # of an error that nobody foresaw, the page says only that there was one
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        footer_links=[],
        theme=gr.themes.Default(font=FONTS, font_mono=["monospace"]),
        css=CSS,
    )


class _Server(uvicorn.Server):
    """A server that ends although pages are open: each keeps a connection, and uvicorn would wait for its end."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.close()
        await super().shutdown(sockets)


class _OnlyHere:
    """Middleware: answers only requests of its own page, and has the browser fetch nothing from elsewhere.

    A page of another site, open in the same browser, can send requests to 127.0.0.1, by that address or under a name of
    its own that leads there. Their Host or Origin tells them.
    """

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        host = headers.get("host", "")
        if urlsplit(f"//{host}").hostname not in NAMES or origin not in (None, f"http://{host}"):
            await PlainTextResponse("This page answers only to itself.", 403)(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                answer["Content-Security-Policy"] = POLICY
                answer["Referrer-Policy"] = "no-referrer"
            await send(message)

        await self.app(scope, receive, send_guarded)


def read_upload(path: Path) -> tuple[Image.Image, str]:
    """An uploaded photograph, upright RGB, and the suffix of its format. Raises Refused."""
    if path.stat().st_size > LARGEST_MB * 2**20:
        raise Refused(f"This file is larger than {LARGEST_MB} MB.")
    most = Image.MAX_IMAGE_PIXELS or float("inf")
    damaged = Refused("This picture is damaged or incomplete, and cannot be read.")
    too_many = Refused(f"This picture has more than {most / 1e6:.0f} million pixels.")
    try:
        with Image.open(path) as image:
            kind, pixels = image.format, image.width * image.height
    except UnidentifiedImageError as error:
        raise Refused(f"This file is not a picture that can be read. {READ} can.") from error
    except Image.DecompressionBombError as error:
        raise too_many from error
    except Exception as error:  # Pillow's decoders raise many kinds
        raise damaged from error
    if kind not in SUFFIXES:
        raise Refused(f"This is a picture in the format {kind}. {READ} can be read.")
    if pixels > most:
        raise too_many
    try:
        return read_photograph(path), SUFFIXES[kind]
    except UnusablePhoto as error:
        raise damaged from error


def build_page(colorizer: Colorizer, folder: Path) -> gr.Blocks:
    """The page. folder: where results and what the page shows of them are written."""

    def preview(picture: Image.Image) -> str:
        """A file with the picture at the size of a screen."""
        small = picture.copy()
        small.thumbnail((PREVIEW, PREVIEW))
        path = folder / uuid.uuid4().hex / "preview.jpg"
        save_picture(small, path)
        return str(path)

    def take(upload: str | None):
        """Show a photograph that was uploaded, or why it cannot be coloured, and clear what was shown of the last."""
        before, sentence = None, ""
        if upload is not None:
            try:
                before = preview(read_upload(Path(upload))[0])
            except Refused as refused:
                sentence = str(refused)
        return {
            photograph: before,
            status: gr.Markdown(sentence, visible=bool(sentence)),
            shown: gr.Image(before, visible=True),
            run: gr.Button(interactive=before is not None),
            results: [],
            comparison: gr.ImageSlider(None, visible=False),
            choice: gr.Gallery(None, visible=False),
            download: gr.DownloadButton(visible=False),
        }

    def colour(upload: str, before: str, count: int, saturation: float):
        """Colour the photograph; the first colouring is compared and offered for download."""
        source = Path(upload)
        try:
            suffix = read_upload(source)[1]
        except Refused as refused:
            raise gr.Error(str(refused), print_exception=False) from refused
        painted = colorizer(source, samples=count, saturation=saturation)
        found, target = [], folder / uuid.uuid4().hex
        for number, picture in enumerate(painted if count > 1 else [painted], 1):
            name = f"{source.stem}_coloured{f'-{number}' if count > 1 else ''}{suffix}"
            save_picture(picture, target / name, source)
            found.append((preview(picture), str(target / name)))
        return {
            results: found,
            shown: gr.Image(visible=False),
            choice: gr.Gallery([small for small, _ in found], selected_index=0, visible=count > 1),
            **compare(before, *found[0]),
        }

    def choose(event: gr.SelectData, before: str, found: list[tuple[str, str]]):
        return compare(before, *found[event.index])

    def compare(before: str, after: str, full: str) -> dict:
        return {
            comparison: gr.ImageSlider((before, after), visible=True),
            download: gr.DownloadButton(value=full, visible=True),
        }

    with gr.Blocks(title="Colour a photograph", analytics_enabled=False) as page:
        photograph, results = gr.State(None), gr.State([])
        gr.Markdown(INTRODUCTION)
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                upload = gr.File(label=f"{READ}, up to {LARGEST_MB} MB", file_types=UPLOADED, height=170)
                status = gr.Markdown(visible=False, elem_classes="refused")
                count = gr.Slider(
                    1, MOST_SAMPLES, value=1, step=1, label="Number of colourings", visible=colorizer.has_dropout
                )
                if not colorizer.has_dropout:
                    gr.Markdown(ONE_ONLY)
                saturation = gr.Slider(0, 2, value=1, step=0.05, label="Saturation", info="0 is grey, 1 as painted")
                run = gr.Button("Colour", variant="primary", interactive=False)
            with gr.Column(scale=2, min_width=300):
                shown = gr.Image(label="Photograph", interactive=False, buttons=[], elem_classes="picture")
                comparison = gr.ImageSlider(
                    label="Before and after",
                    visible=False,
                    interactive=False,
                    buttons=["fullscreen"],
                    elem_classes="picture",
                )
                choice = gr.Gallery(
                    label="Choose the colouring to compare and to download",
                    columns=3,
                    object_fit="contain",
                    visible=False,
                    elem_classes="picture",
                    allow_preview=False,
                    interactive=False,
                    buttons=[],
                )
                download = gr.DownloadButton("Download at full size", visible=False)
        cleared = [photograph, status, shown, run, results, comparison, choice, download]
        upload.change(take, upload, cleared, show_progress="hidden")
        run.click(
            colour,
            [upload, photograph, count, saturation],
            [results, shown, comparison, choice, download],
            concurrency_limit=1,
        )
        choice.select(choose, [photograph, results], [comparison, download], show_progress="hidden")
    return page
