"""The demo page: uploads, who may ask, the way from upload to download in a real browser, and its beginning and end."""

import http.client
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import mkdtemp
from unittest.mock import patch
from urllib.parse import urlsplit

import numpy as np
import psutil
import pytest
import torch
from fastapi.testclient import TestClient
from notebook_tools import ROOT
from pictures import grey_photograph, photograph, save
from PIL import ExifTags, Image

from colorize_lib.__main__ import main
from colorize_lib.colorizing.colorizer import Colorizer
from colorize_lib.images import save_picture
from colorize_lib.models import GeneratorConfig, LightConfig, build_generator
from colorize_lib.models.hints import HintNet
from colorize_lib.models.weights import save_weights

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:gradio"),
    pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning"),
]
SIX_LEVELS = GeneratorConfig("unet", size=64, n_down=6, num_filters=4, init="kaiming")  # one of them has dropout
FIVE_LEVELS = GeneratorConfig("unet", size=32, n_down=5, num_filters=4, init="kaiming")  # none has


def colorizer_of(config: GeneratorConfig) -> Colorizer:
    torch.manual_seed(0)
    return Colorizer(build_generator(config), config, "cpu")


@pytest.fixture(scope="module")
def demo():
    """The module, imported here since gradio takes seconds. What it sets in the environment ends with these tests."""
    with patch.dict(os.environ):
        from colorize_lib.apps import demo

        yield demo


@pytest.fixture(scope="module")
def colorizer() -> Colorizer:
    return colorizer_of(SIX_LEVELS)


@pytest.fixture(scope="module")
def port(demo, colorizer, served):
    folder = Path(mkdtemp())
    with served(demo.build_app(colorizer, folder)) as port:
        yield port
    assert not folder.exists()


# --- uploads -------------------------------------------------------------------------------------------------------


def html(path: Path) -> None:
    path.write_text("<html><title>404</title></html>")


def truncated(path: Path) -> None:
    photograph(0, (300, 200)).save(path, quality=95)
    path.write_bytes(path.read_bytes()[:3000])


def gif(path: Path) -> None:
    photograph(0).save(path, format="GIF")


def bomb(path: Path, height: int = 1000) -> None:
    """Under test, more pixels than are allowed; above twice as many, Pillow itself refuses."""
    Image.new("L", (1200, height)).save(path)


def huge_bomb(path: Path) -> None:
    bomb(path, 2000)


def heavy(path: Path) -> None:
    path.write_bytes(bytes(2**20 + 1))


REFUSED = {
    html: "This file is not a picture that can be read. JPEG, PNG, WebP and TIFF can.",
    gif: "This file is not a picture that can be read. JPEG, PNG, WebP and TIFF can.",
    truncated: "This picture is damaged or incomplete, and cannot be read.",
    bomb: "This picture has more than 1 million pixels.",
    huge_bomb: "This picture has more than 1 million pixels.",
    heavy: "This file is larger than 1 MB.",
}


@pytest.fixture
def low_limits(demo, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000_000)
    monkeypatch.setattr(demo, "LARGEST_MB", 1)


@pytest.mark.parametrize("make", REFUSED, ids=lambda make: make.__name__)
def test_a_file_that_is_not_coloured_is_refused_in_a_plain_sentence(demo, low_limits, tmp_path, make):
    make(tmp_path / "photo.jpg")
    with pytest.raises(demo.Refused) as refused:
        demo.read_upload(tmp_path / "photo.jpg")
    assert str(refused.value) == REFUSED[make]


@pytest.mark.parametrize("written", ["JPEG", "MPO", "PNG", "WEBP", "TIFF"])  # MPO: JPEG of some phones
def test_a_photograph_is_read_whatever_its_name(demo, tmp_path, written):
    photograph(0, (60, 40)).save(tmp_path / "photo.jpeg", format=written)
    picture = demo.read_upload(tmp_path / "photo.jpeg")
    assert (picture.size, picture.mode) == ((60, 40), "RGB")


# --- who may ask ---------------------------------------------------------------------------------------------------


def ask(port: int, path: str = "/", method: str = "GET", **headers: str) -> http.client.HTTPResponse:
    """The answer to a request with these headers; the connection is closed."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


def test_the_browser_is_told_to_fetch_nothing_from_elsewhere(port):
    for path in ("/", "/config", "/nothing"):
        answer = ask(port, path)
        sources = answer.headers["Content-Security-Policy"]
        assert "default-src 'self'" in sources and "//" not in sources and "*" not in sources, path
        assert answer.headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize(
    "headers, status",
    [
        ({}, 200),
        ({"Host": "localhost:{port}"}, 200),
        ({"Origin": "http://127.0.0.1:{port}"}, 200),
        ({"Host": "elsewhere.example"}, 400),
        ({"Host": "127.0.0.1.elsewhere.example:{port}"}, 400),
        ({"Host": ""}, 400),
        ({"Origin": "http://elsewhere.example"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "null"}, 403),
    ],
    ids=str,
)
def test_it_answers_only_to_its_own_page(port, headers, status):
    headers = {name: value.format(port=port) for name, value in headers.items()}
    assert ask(port, **headers).status == status
    if status != 200:
        assert ask(port, "/gradio_api/upload", "POST", **headers).status == status


@pytest.mark.parametrize("path", ["/etc/hostname", str(ROOT / "pyproject.toml"), "pyproject.toml"])
def test_no_file_but_those_of_the_page_is_served(port, path):
    assert ask(port, f"/gradio_api/file={path}").status in (403, 404)


# --- the page ------------------------------------------------------------------------------------------------------


@pytest.fixture
def page(watched, port):
    """The page at the width of a phone."""
    with watched(f"http://127.0.0.1:{port}/", 375, 667, least=6) as page:
        yield page


def upload(page, path: Path) -> None:
    page.locator("input[type=file]").set_input_files(path)


def colour(page) -> None:
    page.get_by_role("button", name="Colour", exact=True).click()
    page.get_by_role("button", name="Download at full size").wait_for()


def download(page, folder: Path) -> Path:
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download at full size").click()
    path = folder / "downloaded" / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def compared(page) -> list[str]:
    """The addresses of the two pictures in the slider, once both are drawn."""
    pictures = page.get_by_test_id("imageslider-image")
    drawn = "images => images.length == 2 && images.every(image => image.naturalWidth)"
    for _ in range(200):
        if pictures.evaluate_all(drawn):
            return [picture.get_attribute("src") for picture in pictures.all()]
        page.wait_for_timeout(50)
    raise AssertionError("the slider never showed two pictures: " + page.locator("body").inner_text())


def test_from_upload_to_download_in_a_browser(page, demo, colorizer, tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "PREVIEW", 120)
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Orientation] = "Acme", 6
    source = save(photograph(1, (301, 200)), tmp_path / "a photo.jpg", quality=95, exif=exif)

    upload(page, source)
    page.get_by_label("number input for Number of colourings").fill("3")
    page.get_by_label("number input for Saturation").fill("1.5")
    page.get_by_label("number input for Saturation").blur()
    torch.manual_seed(7)
    colour(page)
    first = compared(page)
    choices = page.get_by_role("button", name="Thumbnail")
    assert choices.count() == 3
    choices.nth(1).click()
    second = choices.nth(1).locator("img").get_attribute("src")
    page.locator(f'[data-testid=imageslider-image][src="{second}"]').wait_for()
    assert compared(page) == [first[0], second] and second != first[1]
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "wider than a phone"
    last = choices.nth(2).bounding_box()
    assert last["x"] + last["width"] <= 375, "cut off"
    got = download(page, tmp_path)

    painted = colorizer(source, samples=3, seed=7, saturation=1.5)
    assert np.abs(np.asarray(painted[0]).astype(int) - painted[1]).mean() > 1
    save_picture(painted[1], tmp_path / "expected.jpg", source)
    assert got.name == "a photo_coloured-2.jpg"
    with Image.open(got) as image, Image.open(tmp_path / "expected.jpg") as expected:
        assert image.size == (200, 301) and image.getexif() == expected.getexif()
        assert image.getexif()[ExifTags.Base.Make] == "Acme"
        np.testing.assert_array_equal(image, expected)


def test_one_colouring_is_the_librarys_and_another_photograph_clears_it(page, colorizer, tmp_path):
    source = save(grey_photograph(2, (90, 131)), tmp_path / "grey.png")
    upload(page, source)
    colour(page)
    compared(page)
    assert page.get_by_role("button", name="Thumbnail").count() == 0
    got = download(page, tmp_path)
    assert got.name == "grey_coloured.png"
    np.testing.assert_array_equal(Image.open(got), colorizer(source))
    assert np.ptp(np.asarray(colorizer(source)).astype(int), axis=2).mean() > 5  # it is no grey picture

    page.get_by_label("Clear").click()
    page.get_by_role("button", name="Download at full size").wait_for(state="hidden")
    assert page.get_by_test_id("imageslider-image").count() == 0
    assert page.get_by_role("button", name="Colour", exact=True).is_disabled()


def test_bad_uploads_show_their_sentence(page, low_limits, tmp_path):
    for make in (html, bomb):
        sentence = REFUSED[make]
        make(tmp_path / f"{make.__name__}.jpg")
        upload(page, tmp_path / f"{make.__name__}.jpg")
        page.get_by_text(sentence, exact=True).wait_for()
        assert page.get_by_role("button", name="Colour", exact=True).is_disabled()
        page.get_by_label("Clear").click()
        page.get_by_text(sentence, exact=True).wait_for(state="hidden")
    with open(tmp_path / "vast.jpg", "wb") as file:  # not even uploaded, like the next
        file.truncate(50 * 2**20 + 1)
    upload(page, tmp_path / "vast.jpg")
    page.get_by_text("exceed the maximum allowed size of 50").wait_for()
    upload(page, save(photograph(0), tmp_path / "photo.gif"))
    page.get_by_text("Only .jpg, .jpeg, .png, .webp, .tif, .tiff allowed").wait_for()
    upload(page, save(photograph(0), tmp_path / "good.jpg"))
    colour(page)


def test_the_server_takes_no_more_than_the_limit_either(demo, colorizer, low_limits, tmp_path):
    """Whoever sends it without the page."""
    with patch.dict(os.environ):  # another folder for uploads
        app = demo.build_app(colorizer, tmp_path / "uploads")
        with TestClient(app, "http://localhost") as client:
            for size, status in {2**20: 200, 2**20 + 1: 413}.items():
                answer = client.post("/gradio_api/upload", files={"files": ("a.jpg", bytes(size))})
                assert answer.status_code == status
    assert not (tmp_path / "uploads").exists()


def test_a_network_without_dropout_offers_one_colouring(demo, tmp_path):
    page = demo.build_page(colorizer_of(FIVE_LEVELS), tmp_path)
    parts = [part["props"] for part in page.get_config_file()["components"]]
    assert [part["visible"] for part in parts if part.get("label") == "Number of colourings"] == [False]


# --- beginning and end ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights(colorizer, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "net_G.safetensors"
    save_weights(colorizer.net_G, path, {"generator": vars(SIX_LEVELS)})
    return path


def test_the_command_listens_here_alone_and_leaves_nothing_at_its_end(demo, chromium, weights, tmp_path):
    """It ends at once and quietly, although a page is open and a photograph is being coloured."""
    source = save(photograph(0, (3000, 2000)), tmp_path / "photo.jpg")
    (tmp_path / "temporary").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "colorize_lib", "demo", "--weights", str(weights), "--port", "0"],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path / "temporary")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    page = chromium.new_page()
    try:
        address = process.stdout.readline().split()[1]
        sockets = psutil.Process(process.pid).net_connections("inet")
        listening = [tuple(one.laddr) for one in sockets if one.status == psutil.CONN_LISTEN]
        assert listening == [("127.0.0.1", urlsplit(address).port)]
        page.goto(address)
        upload(page, source)
        page.get_by_label("number input for Number of colourings").fill("6")
        page.get_by_label("number input for Number of colourings").blur()
        page.get_by_role("button", name="Colour", exact=True).click()
        page.get_by_text("processing").first.wait_for()
        assert list((tmp_path / "temporary").rglob("photo.jpg"))
        process.terminate()
        _, told = process.communicate(timeout=20)
    finally:
        process.kill()
        page.close()
    assert process.returncode == -signal.SIGTERM and told == ""
    assert list((tmp_path / "temporary").iterdir()) == []


def test_the_command_says_in_a_line_what_is_missing_or_cannot_be_used(
    demo, weights, port, tmp_path, monkeypatch, capsys
):
    def told(*arguments: object) -> str:
        assert main(["demo", *map(str, arguments)]) == 1
        return capsys.readouterr().err

    assert f"port {port} of 127.0.0.1 cannot be used" in told("--weights", weights, "--port", port)
    assert "net_G.safetensors does not exist" in told("--weights", tmp_path / "net_G.safetensors")
    monkeypatch.delitem(sys.modules, "colorize_lib.apps.demo")
    monkeypatch.setitem(sys.modules, "gradio", None)  # as if it were not installed
    missing = told()
    assert missing.startswith("error: the package gradio is missing") and "pip install gradio" in missing


def test_vividness_is_another_reading_of_one_belief_in_a_browser(demo, chromium, served, tmp_path, monkeypatch):
    config = LightConfig(size=64, encoder="resnet18", widths=(8, 8, 8))
    vivid = colorizer_of(config)
    runs, features = [], vivid.net_G.features
    monkeypatch.setattr(vivid.net_G, "features", lambda L: runs.append(1) or features(L))
    source = save(grey_photograph(3, (90, 131)), tmp_path / "grey.png")
    with served(demo.build_app(vivid, tmp_path / "served")) as port:
        page = chromium.new_page()
        page.goto(f"http://127.0.0.1:{port}/")
        upload(page, source)
        colour(page)
        before, run_before = compared(page), len(runs)
        field = page.get_by_label("number input for Vividness")
        field.fill("0")
        field.blur()
        page.locator(f'[data-testid=imageslider-image][src="{before[1]}"]').wait_for(state="detached")
        page.get_by_role("button", name="Download at full size").wait_for()
        got = download(page, tmp_path)
        page.close()
    assert run_before == len(runs) == 2  # the picture and its mirror image, once
    np.testing.assert_array_equal(
        np.asarray(Image.open(got)), Colorizer(vivid.net_G, config, "cpu", vividness=0)(source)
    )
    assert not np.array_equal(np.asarray(Image.open(got)), colorizer_of(config)(source))


def test_a_place_and_a_colour_change_the_picture_and_are_taken_back_in_a_browser(demo, chromium, served, tmp_path):
    config = LightConfig(size=64, encoder="resnet18", widths=(8, 8, 8))
    torch.manual_seed(0)
    hinted = Colorizer(build_generator(config), config, "cpu", hinting=HintNet(config.widths, 261))
    source = save(grey_photograph(3, (90, 131)), tmp_path / "grey.png")
    with served(demo.build_app(hinted, tmp_path / "served")) as port:
        page = chromium.new_page(viewport={"width": 375, "height": 667})
        page.goto(f"http://127.0.0.1:{port}/")
        upload(page, source)
        colour(page)
        plain = compared(page)[1]
        assert page.get_by_role("button", name="Undo the last colour").count() == 0

        def changed(before: str) -> Image.Image:
            page.locator(f'[data-testid=imageslider-image][src="{before}"]').wait_for(state="detached")
            page.get_by_role("button", name="Download at full size").wait_for()
            return Image.open(download(page, tmp_path))

        def point(x: int, y: int) -> None:
            canvas = page.locator(".pointed .image-frame img")
            scale = canvas.bounding_box()["width"] / canvas.evaluate("image => image.naturalWidth")
            canvas.click(position={"x": (x + 0.5) * scale, "y": (y + 0.5) * scale})

        point(40, 30)
        swatches = page.get_by_role("button", name="Thumbnail")
        swatches.nth(5).wait_for()
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "wider than a phone"
        swatches.nth(1).click()
        first = changed(plain)
        (told,) = re.findall(r"(\d+),(\d+),(#[0-9a-f]{6})", page.locator("body").inner_text())
        assert abs(int(told[0]) - 40) <= 1 and abs(int(told[1]) - 30) <= 1
        hints = [(int(told[0]), int(told[1]), told[2])]
        np.testing.assert_array_equal(first, hinted(source, hints=hints))

        seen = compared(page)[1]
        point(70, 100)
        swatches.nth(5).wait_for()
        page.get_by_role("button", name="Use this colour").click()
        second = changed(seen)
        found = re.findall(r"(\d+),(\d+),(#[0-9a-f]{6})", page.locator("body").inner_text())
        hints = [(int(x), int(y), colour) for x, y, colour in found]
        assert len(hints) == 2
        np.testing.assert_array_equal(second, hinted(source, hints=hints))
        for left in (1, 0):
            seen = compared(page)[1]
            page.get_by_role("button", name="Undo the last colour").click()
            np.testing.assert_array_equal(changed(seen), hinted(source, hints=hints[:left]))
        page.close()


@pytest.mark.parametrize("written", ["#C03028", "#c03028ff", "rgba(192, 48, 40, 1)", "rgb(191.6, 48.2, 40)"])
def test_colours_of_browsers_are_read(demo, written):
    from colorize_lib.apps import hinting  # as `demo`

    assert hinting.as_hex(written).lower() == "#c03028"


def test_another_file_of_this_machine_is_not_shown(demo, colorizer, tmp_path):
    """As a request of one's own to the queue would ask for it."""
    path = tmp_path / "private.png"
    photograph().save(path)
    page = demo.build_page(colorizer, tmp_path / "uploads")
    take = next(one.fn for one in page.fns.values() if one.name == "take")
    assert "This file was not uploaded here." in list(take(str(path)).values())
