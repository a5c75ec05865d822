"""The page that colours in the browser: Python's colours, nothing from elsewhere, 12 megapixels, plain refusals."""

import gzip
import io
import os
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from notebook_tools import ROOT
from pictures import photograph, save
from PIL import ExifTags, Image

import web
from colorize_lib.colorizing.onnx_colorizer import OnnxColorizer
from colorize_lib.data.shipped import package_photographs

# Levels of 255 that a pixel may be off, and all on average, by arithmetic; and where the browser decoded the JPEG.
TOLERANCE = {".png": (1, 0.01), ".jpg": (3, 0.2)}


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """The folder of the page; without npm's registry there is none, which in CI is a failure."""
    try:
        return web.build_page(tmp_path_factory.mktemp("site") / "web").parent
    except OSError as error:
        missing = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        missing(f"onnxruntime-web cannot be fetched: {error}")


@pytest.fixture(scope="module")
def colorizer(built) -> OnnxColorizer:
    path = built.with_name(web.GENERATOR)
    path.write_bytes(gzip.decompress((built / f"{web.GENERATOR}.gzip").read_bytes()))
    return OnnxColorizer(path)


@pytest.fixture(scope="module")
def address(built) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=built)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture
def page(watched, address):
    """The page at the width of a phone."""
    with watched(address, 390, 844, least=5) as page:
        yield page
        assert page.evaluate("document.documentElement.scrollWidth") == 390


def colour(page, path: Path) -> str:
    """Choose a photograph, and wait for its colours; returns what the page then says."""
    page.locator("#file").set_input_files(path)
    page.locator("#save:enabled, #error:not([hidden])").first.wait_for(timeout=120_000)
    assert page.locator("#error").text_content() == ""
    return page.locator("#status").text_content()


def download(page, kind: str) -> tuple[str, Image.Image]:
    page.locator("#type").select_option(kind)
    with page.expect_download(timeout=120_000) as waiting:
        page.get_by_role("button", name="Download at full size").click()
    return waiting.value.suggested_filename, Image.open(io.BytesIO(Path(waiting.value.path()).read_bytes()))


def assert_alike(got: Image.Image, path: Path, colorizer: OnnxColorizer) -> None:
    expected, (most, mean) = colorizer(path), TOLERANCE[path.suffix]
    assert got.size == expected.size
    far = np.abs(np.asarray(got.convert("RGB")).astype(int) - np.asarray(expected))
    assert far.max() <= most and far.mean() <= mean, (far.max(), far.mean())


def test_it_paints_what_python_paints(page, colorizer):
    for name in ("astronaut", "chelsea", "coffee", "grace_hopper", "rocket"):
        path = package_photographs()[name]
        told = colour(page, path)
        saved, got = download(page, "image/png")
        assert saved == f"{path.stem}_color.png"
        assert_alike(got, path, colorizer)
        assert "Coloured in" in told and "The page loaded 12." in told


def test_12_megapixels_come_back_whole_while_the_page_stays_awake(page, colorizer, tmp_path):
    """As a phone writes them: on their side, turned by EXIF."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    big = Image.open(package_photographs()["china"]).convert("L").resize((4000, 3000), Image.Resampling.BICUBIC)
    path = save(big, tmp_path / "big.jpg", quality=90, exif=exif)
    page.evaluate("() => { window.beats = []; setInterval(() => beats.push(performance.now()), 20); }")
    told = colour(page, path)
    _, got = download(page, "image/png")
    gaps = page.evaluate("Math.max(...beats.slice(1).map((beat, i) => beat - beats[i]))")
    assert "3000 × 4000 pixels" in told and got.size == (3000, 4000) and gaps < 1000
    assert_alike(got, path, colorizer)


def test_vividness_format_and_the_slider_by_keyboard(page, tmp_path):
    path = save(photograph(3, (300, 200)).convert("L"), tmp_path / "a.b photo.png")
    colour(page, path)
    page.locator("#cut").focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    assert page.locator("#compare").get_attribute("style") == "--cut: 60%;"
    spread = {}
    for key in ("Home", "End"):
        page.locator("#vividness").focus()
        page.keyboard.press(key)
        page.locator("#save:enabled").wait_for()
        name, got = download(page, "image/jpeg")
        assert (name, got.format, got.size) == ("a.b photo_color.jpg", "JPEG", (300, 200))
        spread[key] = np.ptp(np.asarray(got).astype(int), axis=2).mean()
    assert spread["End"] > 1.2 * spread["Home"] > 0


def test_what_is_no_picture_is_refused_and_the_next_is_coloured(page, tmp_path):
    (tmp_path / "letter.jpg").write_text("Dear reader")
    save(Image.new("L", (16_500, 8)), tmp_path / "long.png")
    for name, sentence in {"letter.jpg": "letter.jpg is no picture that", "long.png": "16500 × 8 is too large"}.items():
        page.locator("#file").set_input_files(tmp_path / name)
        page.get_by_role("alert").get_by_text(sentence).wait_for()
        assert not page.locator("#result").is_visible()
    page.get_by_role("button", name="Try an example").click()
    page.locator("#save:enabled").wait_for(timeout=120_000)
    assert not page.get_by_role("alert").is_visible()


def test_a_browser_without_webassembly_and_a_network_that_is_away_are_named(chromium, address):
    def told(pattern: str, **answer) -> str:
        page = chromium.new_page()
        page.context.route(pattern, lambda route: route.fulfill(**answer))
        page.goto(address)
        page.get_by_role("button", name="Try an example").click()
        text = page.locator("#error:not([hidden])").text_content()
        page.context.close()
        return text

    without = "delete self.WebAssembly;" + (ROOT / "web" / "lab.js").read_text()
    assert "no WebAssembly" in told("**/lab.js", body=without, content_type="text/javascript")
    assert "generator_fp16.onnx.gzip could not be loaded" in told("**/generator*", status=404)


def test_another_package_than_the_pinned_one_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(web, "ROOT", tmp_path)
    save(photograph(), tmp_path / "npm" / "picture.png").rename(tmp_path / "npm" / "package.tgz")
    monkeypatch.setenv("npm_config_registry", (tmp_path / "npm").as_uri() + "/")
    monkeypatch.setattr(web, "PACKAGE", "package.tgz")
    with pytest.raises(ValueError, match="package.tgz is not what web.py has the digest of"):
        web.package()
    assert not (tmp_path / "build").exists()
