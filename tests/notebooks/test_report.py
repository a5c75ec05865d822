"""The site made of executed notebooks, read in a browser, and the trimmed copies that are published."""

import base64
import io
import json
import re
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output
from notebook_tools import NOTEBOOKS, ROOT, read
from pictures import photograph, save
from PIL import Image

import publish
import report
from executed import SmallFigures, has_picture, saved_figures

NAMES = [path.stem for path in NOTEBOOKS]
RUN = [name for name in NAMES if name[:2] in ("01", "07", "09")]
MACHINE = "/home/somebody/colorize-lab"

# Figures that are published: charts, and photographs that packages ship. Look at a new one before it is added.
REVIEWED = {
    "08": {
        "forest",
        "losses",
        "lambda_error",
        "lambda_colourfulness",
        "patches",
        "epochs",
        "photographs",
        "photographs_painted",
        "collapse",
    },
    "01": {"sizes", "planes", "colours", "ab_histogram"},
    "02": {
        "unet",
        "patchgan",
        "training_step",
        "game",
        "losses_s1",
        "losses_s2",
        "validation",
        "step_by_step_s1",
        "step_by_step_s2",
        "showcase",
    },
    "03": {"loss", "validation", "step_by_step", "beliefs", "bins", "frontier", "readings"},
    "04": {
        "distribution",
        "game",
        "graph_1",
        "graph_2",
        "graph_3",
        "graph_4",
        "graph_5",
        "validation",
        "step_by_step",
        "showcase",
    },
    "05": {"losses", "validation", "diversity", "hues", "sea", "collapse"}
    | {"package_photographs", "collapse_package_photographs", "discriminator", "step_by_step"},
    "06": {"trade_off", "hues", "dropout"},
    "07": {"old", "known", "saturation", "vividness", "colorings", "palette", "certainty", "enlarging"},
    "09": {"strip", "trade_off"},
}


# --- executed notebooks for the tests -------------------------------------------------------------------------------


def noisy(seed: int, size: tuple[int, int] = (400, 120)) -> Image.Image:
    """A picture with as many colours as a photograph."""
    noise = np.random.default_rng(seed).normal(0, 6, (size[1], size[0], 3))
    return Image.fromarray((np.asarray(photograph(seed, size)) + noise).clip(0, 255).astype(np.uint8))


CHART = Image.new("RGB", (400, 200), "white")
CHART.paste("navy", (20, 20, 380, 24))


def shown(picture: Image.Image) -> nbformat.NotebookNode:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    return new_output("display_data", {"image/png": data, "text/plain": "<Figure size 900x300 with 1 Axes>"})


def printed(text: str, name: str = "stdout") -> nbformat.NotebookNode:
    return new_output("stream", name=name, text=text)


def executed(name: str, profile: str, **parameters) -> nbformat.NotebookNode:
    """The notebook as papermill leaves it, with a picture wherever a figure is saved."""
    notebook = nbformat.from_dict(read(ROOT / "notebooks" / f"{name}.ipynb"))
    for seed, cell in enumerate(cell for cell in notebook.cells if cell.cell_type == "code"):
        cell.outputs = [shown(noisy(seed)) for _ in saved_figures(cell.source)[:1]]
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in parameters.items())
    wide = "<table><tr>" + "".join(f"<td>column {i}</td>" for i in range(40)) + "</tr></table>"
    formulas = "## A formula\n\nInline $L_1 = \\frac{1}{n}$ and\n\n$$\\sum_i x_i^2$$\n\n|a|b|\n|-|-|\n|1|2|"
    notebook.cells += [
        new_code_cell(f"# Parameters\n{lines}", metadata={"tags": ["injected-parameters"]}),
        new_code_cell("print()", outputs=[printed(f"in {MACHINE}/outputs/x\n"), printed("word " * 200)]),
        new_code_cell("load()", outputs=[printed("got /root/.cache/a/b.pth\n", "stderr")]),
        new_code_cell("unknown_figure()", outputs=[shown(noisy(99))]),
        new_code_cell("table", outputs=[new_output("execute_result", {"text/html": wide, "text/plain": "table"})]),
        new_code_cell("findings", outputs=[new_output("execute_result", {"text/markdown": "- **Best** of all"})]),
        new_markdown_cell(formulas),
        new_code_cell("chart()\nx = " + "1 + " * 80 + "1", outputs=[shown(CHART)]),
    ]
    given = {"profile": profile, **parameters}
    notebook.metadata.papermill = {"input_path": f"{MACHINE}/notebooks/{name}.ipynb", "parameters": given}
    return notebook


def write_profile(folder: Path, source: str = "folder", names: list[str] = RUN) -> Path:
    """What a run of some of the notebooks leaves, a folder like outputs/photos."""
    for name in names:
        home = folder / name
        (home / "part").mkdir(parents=True)
        of_source = {"source": source, "folder": "/mnt/disk/my album"} if name[:2] == "01" else {}
        for ending in (".ipynb", ".failed.ipynb"):
            nbformat.write(executed(name, folder.name, **of_source), home / f"{name}{ending}")
        env = {"commit": "0123456789abcdef", "device": "cpu", "started": "2026-01-02T03:04:05+00:00"}
        (home / "env.json").write_text(json.dumps({**env, "packages": {"torch": "2.15.0"}}))
        (home / "config.json").write_text(json.dumps({"profile": folder.name, "folder": "/mnt/disk/my album"}))
        for part in ("history.csv", "net_G.safetensors"):
            (home / "part" / part).write_text(part)
        if name.startswith("09"):
            save(noisy(1), home / "figures" / "strip.png")
    return folder


@pytest.fixture(scope="module")
def profile(tmp_path_factory) -> Path:
    return write_profile(tmp_path_factory.mktemp("outputs") / "photos")


@pytest.fixture(scope="module")
def site(profile) -> Path:
    """Made twice: what a report left is replaced."""
    (profile / "report").mkdir()
    (profile / "report" / "old.html").write_text("old")
    return report.build_site(profile).parent


@pytest.fixture(scope="module")
def published(profile, tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("outputs-2") / "published"
    target.mkdir()
    (target / "benchmarks.json").write_text("{}")
    publish.publish(profile, target)
    return target


# --- the site in a browser ------------------------------------------------------------------------------------------


def is_there(url: str) -> bool:
    """Is it the address of a file that exists?"""
    return urlsplit(url).scheme == "file" and Path(unquote(urlsplit(url).path)).is_file()


@pytest.fixture
def open_page(chromium):
    """Open a page in a context of its own; an error in the browser, or a request to the network, fails the test."""
    contexts, asked, errors = [], [], []

    def open_one(path: Path, **options):
        context = chromium.new_context(**options)
        contexts.append(context)
        context.on("request", lambda request: asked.append(request.url))
        # A picture on its way is aborted when one leaves the page: only one that is missing is a fault.
        context.on("requestfailed", lambda request: is_there(request.url) or errors.append(request.url))
        context.on("console", lambda message: errors.append(message.text))
        context.on("weberror", lambda error: errors.append(str(error.error)))
        page = context.new_page()
        page.goto(path.as_uri())
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert errors == []
    assert asked and [url for url in asked if not url.startswith(("file:", "data:"))] == []


def pages(site: Path) -> list[Path]:
    return sorted(site.glob("*.html"))


BRIGHTNESS = """["backgroundColor", "color"].map(what =>
    getComputedStyle(document.body)[what].match(/[0-9]+/g).slice(0, 3).reduce((sum, one) => sum + Number(one), 0) / 3)
"""


def test_no_page_is_wider_than_the_screen_every_picture_is_there_and_light_and_dark_can_be_read(site, open_page):
    assert [path.stem for path in pages(site)] == [*RUN[:-1], "index"]
    assert [path.name for path in site.parent.glob(".report-*")] == []
    for path in pages(site):
        page = open_page(path, color_scheme="light")
        page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        for width in (390, 1280):
            page.set_viewport_size({"width": width, "height": 700})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path.name
        page.evaluate("document.querySelectorAll('img').forEach(image => image.loading = 'eager')")
        page.evaluate("Promise.all([...document.images].map(image => image.decode()))")
        pictures = page.evaluate("[...document.images].map(i => [i.alt.trim(), i.naturalWidth])")
        assert pictures and all(alt and natural for alt, natural in pictures), path.name
        paper, ink = page.evaluate(BRIGHTNESS)
        assert paper > 240 and ink < 60
        page.emulate_media(color_scheme="dark")
        paper, ink = page.evaluate(BRIGHTNESS)
        assert paper < 60 and ink > 200


def test_without_a_script_code_opens_and_one_can_go_from_the_results_to_every_notebook(site, open_page):
    page = open_page(site / "index.html", java_script_enabled=False)
    text = page.inner_text("main")
    assert text.index("What came out?") < text.index("Best of all") and "0123456" in text and "2026-01-02" in text
    assert page.locator(".notebooks a").count() == len(RUN) - 1
    for name in RUN[:-1]:
        page.locator("[rel=next]").click()
        page.wait_for_url(f"**/{name}.html")
        assert "COLAB_RELEASE_TAG" not in page.content()  # the cell that prepares Colab is of no use here
        formulas = page.locator(".formula")
        labels = [one.get_attribute("aria-label") for one in formulas.all()][-2:]
        assert labels == [r"L_1 = \frac{1}{n}", r"\sum_i x_i^2"]
        heights = [one.bounding_box()["height"] for one in page.locator(".formula svg").all()]
        assert len(heights) == formulas.count() and all(8 < height < 80 for height in heights)
    assert page.locator("[rel=next]").count() == 0
    page.get_by_role("link", name="colorize-lab").click()
    page.wait_for_url("**/index.html")
    page.goto((site / f"{RUN[0]}.html").as_uri())
    code = page.get_by_text("find_photographs(photo_config, size=size)").first
    assert page.locator("details", has=code).count() == 1 and not code.is_visible()
    page.locator("details", has=code).locator("summary").click()
    assert code.is_visible()
    assert "<code>" in report.formula(r"\begin{cases} a \end{cases}", "div", "formula")  # more than can be drawn


def test_every_link_leads_somewhere_and_pictures_are_fetched_when_they_are_looked_at(site):
    for path in pages(site):
        text = path.read_text()
        assert "<script" not in text.lower()
        assert all('loading="lazy"' in tag for tag in re.findall(r"<img[^>]*>", text)), path.name
        for link in re.findall(r'(?:href|src)="([^"]*)"', text):
            address, fragment = urldefrag(link.replace("&amp;", "&"))
            if not address.startswith(("https://arxiv.org/", "https://doi.org/", "data:")):
                target = path.parent / address if address else path
                assert target.is_file(), f"{path.name}: {link}"
                assert not fragment or f'id="{fragment}"' in target.read_text(), f"{path.name}: {link}"


def test_without_09_the_first_notebook_is_the_first_page(tmp_path):
    index = report.build_site(write_profile(tmp_path / "photos", names=RUN[:2]))
    assert "What is in the photographs?</h1>" in re.sub("<a class.*?</a>", "", index.read_text())
    assert [path.stem for path in pages(index.parent)] == [RUN[1], "index"]


def test_the_first_page_links_to_the_page_that_colours_where_there_is_one(tmp_path):
    profile = write_profile(tmp_path / "photos", names=RUN[:1])
    assert "../web/" not in report.build_site(profile).read_text()
    (profile / "web").mkdir()
    (profile / "web" / "index.html").touch()
    assert 'href="../web/index.html"' in report.build_site(profile).read_text()


CLEAR = Image.new("RGBA", (40, 40), (255, 255, 255, 0))


@pytest.mark.parametrize("picture, kind, part", [(CHART, "png", 1), (noisy(0), "jpeg", 3), (CLEAR, "png", 1)])
def test_pictures_are_small_and_charts_exact_on_white(picture, kind, part):
    before = shown(picture).data["image/png"]
    cell = new_code_cell('curves.save(x, run.figures / "a.png")', outputs=[shown(picture)])
    data = SmallFigures().preprocess_cell(cell, {}, 0)[0].outputs[0].data
    small = data.pop(f"image/{kind}")
    assert len(small) <= len(before) / part and list(data) == ["text/plain"]
    assert cell.outputs[0].metadata[f"image/{kind}"] == {"width": picture.width, "height": picture.height, "alt": "a"}
    if kind == "png":
        exact = Image.open(io.BytesIO(base64.b64decode(small)))
        np.testing.assert_array_equal(exact, picture.convert("RGB"))


@pytest.mark.parametrize("tool", [report, publish])
def test_without_any_notebook_it_says_what_to_do(tool):
    with pytest.raises(SystemExit, match="^outputs/nothing holds no executed notebook: `make run-all PROFILE=nothing`"):
        tool.main(["--profile", "nothing"])


# --- published copies -----------------------------------------------------------------------------------------------


def copies(published: Path) -> dict[str, nbformat.NotebookNode]:
    return {name: nbformat.read(published / name / f"{name}.ipynb", as_version=4) for name in RUN}


def shows_picture(cell: nbformat.NotebookNode) -> bool:
    return any(map(has_picture, cell.get("outputs", [])))


def test_only_reviewed_figures_are_published_and_the_command_that_shows_the_others(published):
    """A new figure is either tagged `photographs`, or shows none of the data set and is added to REVIEWED."""
    assert {name[:2]: publish.open_figures(name) for name in NAMES} == REVIEWED
    for name, notebook in copies(published).items():
        shown = {figure for cell in notebook.cells if shows_picture(cell) for figure in saved_figures(cell.source)}
        assert shown == REVIEWED[name[:2]]
        assert not any(shows_picture(cell) for cell in notebook.cells if not saved_figures(cell.source))
        command = f"make run NB={name[:2]} PROFILE=photos{' PHOTOS=DIR' if name[:2] == '01' else ''}"
        assert f"`{command}` shows them" in json.dumps(notebook)


def test_photographs_of_packages_stay(tmp_path):
    profile = write_profile(tmp_path / "sample", "sample", [RUN[0]])
    (path,) = publish.publish(profile, tmp_path / "published")
    cells = nbformat.read(path, as_version=4).cells
    assert [shows_picture(cell) for cell in cells if "photographs" in cell.metadata.get("tags", [])] == [True]


def test_no_path_of_the_machine_is_left(published):
    unwanted = ("somebody", "/root/.cache", "/mnt/disk", "input_path")
    for path in (path for path in published.glob("*/**/*") if path.suffix in (".ipynb", ".json", ".csv")):
        assert not [word for word in unwanted if word in path.read_text()], path.name
    outputs = json.dumps(copies(published)[RUN[0]])
    assert "in outputs/x" in outputs and "~/.cache/a/b.pth" in outputs and 'folder = \\"DIR\\"' in outputs


@pytest.mark.parametrize(
    "text, expected",
    [
        ("/srv/data/set/a.png", "…/a.png"),
        ("<td>/srv/data/set</td>", "<td>…/set</td>"),
        ("/home/me/lab/outputs/a and /home/me/lab", "outputs/a and ."),
        ("'/Users/me/x/y'", "'~/x/y'"),
        ("https://arxiv.org/abs/1803.05400", "https://arxiv.org/abs/1803.05400"),
        ("image/png, 16/34/70 px, a / b, <br/>", "image/png, 16/34/70 px, a / b, <br/>"),
    ],
)
def test_paths_become_neutral(text, expected):
    assert publish.neutral(text, "/home/me/lab") == expected


def test_copies_are_valid_small_with_their_records_and_other_files_stay(published):
    assert sorted(path.name for path in published.iterdir()) == [*RUN, "benchmarks.json", "strip.jpg"]
    found = sorted(path.name for path in (published / RUN[1]).rglob("*.*"))
    assert found == [f"{RUN[1]}.ipynb", "config.json", "env.json", "history.csv"]
    for name, notebook in copies(published).items():
        nbformat.validate(notebook)
        assert set(notebook.metadata) == {"kernelspec", "language_info"}
        assert (published / name / f"{name}.ipynb").stat().st_size <= publish.LIMIT
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        kinds = {kind for output in outputs for kind in output.get("data", {})}
        assert kinds <= {"image/png", "image/jpeg", "text/plain", "text/html", "text/markdown"}


def test_what_is_too_large_is_refused_and_nothing_is_replaced(profile, tmp_path, monkeypatch):
    monkeypatch.setattr(publish, "LIMIT", 10_000)
    save(photograph(), tmp_path / RUN[0] / "before.png")
    with pytest.raises(SystemExit, match="bytes, and 10,000 are allowed"):
        publish.publish(profile, tmp_path)
    assert [path.name for path in tmp_path.rglob("*.*")] == ["before.png"]
