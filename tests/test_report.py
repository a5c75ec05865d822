"""The site made of executed notebooks, read in a browser, and the trimmed copies that are published."""

import base64
import io
import json
import re
import sys
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output
from notebook_tools import NOTEBOOKS, ROOT, read
from pictures import photograph, save
from PIL import Image

sys.path.insert(0, str(ROOT / "notebooks"))
import publish
import report
from reporting import figures, formulas, landing
from reporting.page import saved_figures
from reporting.records import read_records

NAMES = [path.stem for path in NOTEBOOKS]
RUN = [name for name in NAMES if name[:2] in ("01", "02", "06", "07")]
MACHINE = "/home/somebody/colorize-lab"

# Figures that are published: charts, and photographs that packages ship. Look at a new one before it is added.
REVIEWED = {
    "01": {"sizes", "planes", "colours", "ab_histogram"},
    "02": {"losses_s1", "losses_s2", "validation", "step_by_step_s1", "step_by_step_s2", "showcase"},
    "03": {"loss", "validation", "step_by_step", "showcase"},
    "04": {"graph_1", "graph_2", "graph_3", "graph_4", "graph_5", "validation", "step_by_step", "showcase"},
    "05": {"losses", "validation", "diversity", "hues", "sea", "collapse"}
    | {"package_photographs", "collapse_package_photographs"},
    "06": {"trade_off", "hues", "dropout", "settings", "settings_all"},
    "07": {"old", "known", "saturation", "colorings", "enlarging"},
}


# --- executed notebooks for the tests -------------------------------------------------------------------------------


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def noisy(seed: int, size: tuple[int, int] = (700, 200)) -> Image.Image:
    """A picture with as many colours as a photograph."""
    noise = np.random.default_rng(seed).normal(0, 6, (size[1], size[0], 3))
    return Image.fromarray((np.asarray(photograph(seed, size)) + noise).clip(0, 255).astype(np.uint8))


def chart() -> Image.Image:
    picture = Image.new("RGB", (400, 200), "white")
    picture.paste("navy", (20, 20, 380, 24))
    return picture


def shown(picture: Image.Image) -> nbformat.NotebookNode:
    data = base64.b64encode(png(picture)).decode()
    return new_output("display_data", {"image/png": data, "text/plain": "<Figure size 900x300 with 1 Axes>"})


def printed(text: str) -> nbformat.NotebookNode:
    return new_output("stream", name="stdout", text=text)


def executed(name: str, profile: str, **parameters) -> nbformat.NotebookNode:
    """The notebook as papermill leaves it, with a picture wherever a figure is saved."""
    notebook = nbformat.from_dict(read(ROOT / "notebooks" / f"{name}.ipynb"))
    for seed, cell in enumerate(cell for cell in notebook.cells if cell.cell_type == "code"):
        cell.outputs = [shown(noisy(seed)) for _ in saved_figures(cell.source)[:1]]
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in parameters.items())
    injected = new_code_cell(f"# Parameters\n{lines}", metadata={"tags": ["injected-parameters"]})
    wide = "<table><tr>" + "".join(f"<td>column {i}</td>" for i in range(40)) + "</tr></table>"
    notebook.cells += [
        injected,
        new_code_cell("print()", outputs=[printed(f"in {MACHINE}/outputs/x\n"), printed("word " * 200)]),
        new_code_cell("load()", outputs=[new_output("stream", name="stderr", text="got /root/.cache/a/b.pth\n")]),
        new_code_cell("unknown_figure()", outputs=[shown(noisy(99))]),
        new_code_cell("table", outputs=[new_output("execute_result", {"text/html": wide, "text/plain": "table"})]),
        new_markdown_cell(
            "## A formula\n\nInline $L_1 = \\frac{1}{n}$ and\n\n$$\\sum_i x_i^2$$\n\n|a|b|\n|-|-|\n|1|2|"
        ),
        new_code_cell("chart()\nx = " + "1 + " * 80 + "1", outputs=[shown(chart())]),
    ]
    path = f"{MACHINE}/notebooks/{name}.ipynb"
    notebook.metadata.papermill = {
        "input_path": path,
        "output_path": path,
        "parameters": {"profile": profile, **parameters},
    }
    return notebook


SCORES = """answer,figure,value,low,high
grey,l1_ab,10.4,9.6,11.2
grey,colorfulness,0.1,0.1,0.1
"ResNet18, GAN (04)",l1_ab,9.5,8.8,10.3
"ResNet18, GAN (04)",colorfulness,12.6,12.0,13.3
"""
LOSSES = "kind,epoch,iteration,seconds,loss_D_fake,loss_D_real,loss_D,loss_G_GAN,loss_G_L1,loss_G\n"


def write_profile(folder: Path, source: str = "folder", names: list[str] = RUN) -> Path:
    """What a run of some of the notebooks leaves, a folder like outputs/photos."""
    for name in names:
        home = folder / name
        home.mkdir(parents=True)
        of_source = {"source": source, "folder": "/mnt/disk/my album"} if name[:2] not in ("05", "07") else {}
        nbformat.write(executed(name, folder.name, **of_source), home / f"{name}.ipynb")
        env = {"commit": "0123456789abcdef", "device": "cpu", "started": "2026-01-02T03:04:05+00:00"}
        (home / "env.json").write_text(json.dumps({**env, "packages": {"torch": "2.15.0"}}))
        config = {"profile": folder.name, "training": {"batch_size": 8}, "generator": {"size": 64}}
        (home / "config.json").write_text(json.dumps(config))
        (home / "metrics.json").write_text("{}")
    if "02" in (name[:2] for name in names):
        scratch, judge, last = (folder / names[i] for i in (1, 2, 3))
        (scratch / "metrics.json").write_text('{"epochs": 2, "iterations": 20, "training_seconds": 40.0}')
        (scratch / "history.csv").write_text(
            LOSSES + "epoch,1,10,20,.7,.6,.65,.71,9.6,10.3\nepoch,2,20,40,.7,.6,.65,.7,9.1,9.8\n"
        )
        difference = {"difference": -0.9, "low": -1.2, "high": 0.1, "verdict": "unresolved"}
        truth = {"colorfulness_truth": {"value": 39.4}}
        judged = {"photographs": 245, "validation": {"grey": truth}}
        judged["against_grey"] = {"ResNet18, GAN (04)": {"l1_ab": difference}}
        (judge / "metrics.json").write_text(json.dumps(judged))
        (judge / "scores.csv").write_text(SCORES)
        save(photograph(7, (1200, 300)), judge / "figures" / "failures.png")
        for seed, name in enumerate(("astronaut", "coffee", "rocket")):
            save(photograph(seed, (800, 600)), last / "colored" / f"{name}.png")
        errors = {name: {"L1 of ab": 5.0 + i} for i, name in enumerate(("coffee", "astronaut", "rocket"))}
        (last / "metrics.json").write_text(json.dumps({"errors": errors}))
    return folder


@pytest.fixture(scope="module")
def profile(tmp_path_factory) -> Path:
    return write_profile(tmp_path_factory.mktemp("outputs") / "photos")


@pytest.fixture(scope="module")
def site(profile) -> Path:
    return report.build_site(profile).parent


@pytest.fixture(scope="module")
def published(profile, tmp_path_factory) -> Path:
    """The published copies, and the report that is made of them."""
    target = tmp_path_factory.mktemp("outputs-2") / "published"
    target.mkdir()
    (target / "benchmarks.json").write_text("{}")
    publish.publish(profile, target)
    report.build_site(target)
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


@pytest.mark.parametrize("width", [390, 1280])
def test_no_page_is_wider_than_the_screen_and_every_picture_is_there(site, open_page, width):
    assert len(pages(site)) == 1 + len(RUN)
    for path in pages(site):
        page = open_page(path, viewport={"width": width, "height": 700})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path.name
        page.evaluate("document.querySelectorAll('img').forEach(image => image.loading = 'eager')")
        page.evaluate("Promise.all([...document.images].map(image => image.decode()))")
        pictures = page.evaluate("[...document.images].map(i => [i.alt.trim(), i.naturalWidth, i.loading])")
        assert pictures and all(alt and natural for alt, natural, _ in pictures), path.name


def test_pictures_are_fetched_when_they_are_looked_at(site):
    for path in pages(site):
        assert all('loading="lazy"' in tag for tag in re.findall(r"<img[^>]*>", path.read_text())), path.name


def test_dark_and_light_differ_and_can_be_read(site, open_page):
    script = "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    light = open_page(site / "index.html", color_scheme="light").evaluate(script)
    dark = open_page(site / "index.html", color_scheme="dark").evaluate(script)
    brightness = [[sum(map(int, re.findall(r"\d+", colour)[:3])) / 3 for colour in of] for of in (light, dark)]
    assert brightness[0][0] > 240 and brightness[0][1] < 60
    assert brightness[1][0] < 60 and brightness[1][1] > 200


def test_nothing_needs_a_script(site, open_page):
    for path in pages(site):
        assert "<script" not in path.read_text().lower()
    for path in pages(site)[:2]:
        with_script, without = (open_page(path, java_script_enabled=on).inner_text("body") for on in (True, False))
        assert with_script == without and len(without) > 500


def test_every_link_leads_somewhere(site):
    for path in pages(site):
        text = path.read_text()
        for link in re.findall(r'(?:href|src)="([^"]*)"', text):
            address, fragment = urldefrag(link.replace("&amp;", "&"))
            if address.startswith(("https://arxiv.org/", "https://doi.org/", "data:")):
                continue
            target = path.parent / address if address else path
            assert target.is_file(), f"{path.name}: {link}"
            assert not fragment or f'id="{fragment}"' in target.read_text(), f"{path.name}: {link}"


def test_one_can_go_from_notebook_to_notebook(site, open_page):
    page = open_page(site / "index.html")
    page.locator(".notebooks a").first.click()
    for name in RUN[1:]:
        page.locator("[rel=next]").click()
        page.wait_for_url(f"**/{name}.html")
    assert page.locator("[rel=next]").count() == 0
    page.get_by_role("link", name="colorize-lab").click()
    page.wait_for_url("**/index.html")


def test_a_notebook_that_was_not_run_has_no_link(site):
    text = (site / "index.html").read_text()
    for name in NAMES:
        assert (f'href="{name}.html"' in text) == (name in RUN)
    assert text.count("<em>not run</em>") == len(NAMES) - len(RUN)


def test_the_first_page_says_what_was_run_and_what_came_out(site, open_page):
    text = open_page(site / "index.html").inner_text("main")
    for expected in (
        "0123456",
        "2026-01-02",
        "make run-all",
        "[9.60, 11.20]",
        "[-1.20, 0.10] ≈",
        "9.650",
        "2 s an iteration of 8",
    ):
        assert expected in text.replace("\u00a0", " "), expected
    assert "best: coffee" in text and "worst: rocket" in text
    assert open_page(site / "index.html").locator("img").count() == 10


def test_formulas_are_drawn_without_a_script(site, open_page):
    page = open_page(site / f"{RUN[0]}.html")
    assert [one.get_attribute("aria-label") for one in page.locator(".formula").all()] == [
        r"L_1 = \frac{1}{n}",
        r"\sum_i x_i^2",
    ]
    boxes = [one.bounding_box() for one in page.locator(".formula svg").all()]
    assert len(boxes) == 2 and all(8 < box["height"] < 80 for box in boxes)
    assert "<code>" in formulas.to_html(r"\begin{cases} a \end{cases}", block=True)


def test_pictures_are_small_and_charts_exact():
    photo = noisy(0)
    assert len(figures.for_page(photo)) < len(png(photo)) / 4
    np.testing.assert_array_equal(Image.open(io.BytesIO(figures.for_page(chart()))).convert("RGB"), chart())
    kind, small = figures.for_github(png(photo), quality=75)
    assert kind == "image/jpeg" and len(small) < len(png(photo)) / 2
    kind, same = figures.for_github(png(chart()), quality=75)
    assert kind == "image/png"
    np.testing.assert_array_equal(Image.open(io.BytesIO(same)).convert("RGB"), chart())


def test_what_is_transparent_becomes_white():
    clear = Image.new("RGBA", (20, 20), (255, 0, 0, 0))
    assert Image.open(io.BytesIO(figures.for_page(clear))).convert("RGB").getpixel((5, 5)) == (255, 255, 255)


def test_a_report_replaces_the_one_before(profile, site):
    (site / "old.html").write_text("old")
    report.build_site(profile)
    assert not (site / "old.html").exists()
    assert [path.name for path in profile.glob(".report-*")] == []


def test_without_any_notebook_it_says_what_to_do(capsys):
    assert report.main(["--profile", "nothing"]) == 1
    told = capsys.readouterr().err
    assert told == "outputs/nothing holds no executed notebook: `make run-all PROFILE=nothing` makes them\n"


# --- published copies -----------------------------------------------------------------------------------------------


def copies(published: Path) -> dict[str, nbformat.NotebookNode]:
    return {name: nbformat.read(published / name / f"{name}.ipynb", as_version=4) for name in RUN}


def has_picture(cell: nbformat.NotebookNode) -> bool:
    return any(kind.startswith("image/") for output in cell.get("outputs", []) for kind in output.get("data", {}))


def test_only_reviewed_figures_are_published(published):
    """A new figure is either tagged `photographs`, or shows none of the data set and is added to REVIEWED."""
    assert {name[:2]: publish.open_figures(name) for name in NAMES} == REVIEWED
    for name, notebook in copies(published).items():
        shown = {figure for cell in notebook.cells if has_picture(cell) for figure in saved_figures(cell.source)}
        assert shown == REVIEWED[name[:2]]
        assert not any(has_picture(cell) for cell in notebook.cells if not saved_figures(cell.source))


def test_what_is_left_out_says_which_command_shows_it(published):
    texts = {name[:2]: json.dumps(notebook) for name, notebook in copies(published).items()}
    assert "`make run NB=01 PROFILE=photos PHOTOS=DIR` shows them" in texts["01"]
    assert "`make run NB=07 PROFILE=photos` shows them" in texts["07"]


def test_photographs_of_packages_stay(tmp_path):
    profile = write_profile(tmp_path / "sample", "sample", [RUN[0]])
    (path,) = publish.publish(profile, tmp_path / "published")
    cells = nbformat.read(path, as_version=4).cells
    assert [has_picture(cell) for cell in cells if "photographs" in cell.metadata.tags] == [True]


@pytest.mark.parametrize(("source", "stands_in"), [("sample", True), ("folder", False)])
def test_package_photographs_stand_in_for_those_of_the_data_set(tmp_path, source, stands_in):
    """In 01, if the profile `sample` has been run, and on the photographs of packages indeed."""
    profile = write_profile(tmp_path / "photos")
    write_profile(tmp_path / "sample", source)
    for path in publish.publish(profile, tmp_path / "published"):
        cells = nbformat.read(path, as_version=4).cells
        expected = stands_in and path.name.startswith("01")
        assert ("In their place" in json.dumps(cells)) == expected
        assert all(has_picture(cell) == expected for cell in cells if "photographs" in cell.metadata.tags)


def test_no_path_of_the_machine_is_left(published):
    unwanted = ("somebody", "/root/.cache", "/mnt/disk", "my album", "input_path")
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


def test_copies_are_valid_small_and_of_formats_that_github_shows(published):
    for name, notebook in copies(published).items():
        nbformat.validate(notebook)
        assert (published / name / f"{name}.ipynb").stat().st_size <= publish.NOTEBOOK_LIMIT
        kinds = {
            kind for cell in notebook.cells for output in cell.get("outputs", []) for kind in output.get("data", {})
        }
        assert kinds <= {"image/png", "image/jpeg", "text/plain", "text/html"}


def test_a_notebook_over_the_limit_is_refused(profile, tmp_path, monkeypatch):
    monkeypatch.setattr(publish, "NOTEBOOK_LIMIT", 10_000)
    save(photograph(), tmp_path / "01_data_exploration" / "before.png")
    with pytest.raises(publish.TooLarge, match="01_data_exploration.ipynb has .* and 10,000 are allowed"):
        publish.publish(profile, tmp_path)
    assert [path.name for path in tmp_path.rglob("*.*")] == ["before.png"]


def test_records_go_along_and_other_files_stay(published):
    assert (published / "benchmarks.json").is_file()
    found = sorted(path.name for path in (published / RUN[2]).iterdir())
    assert found == [f"{RUN[2]}.ipynb", "config.json", "env.json", "metrics.json", "scores.csv"]
    assert (published / RUN[1] / "history.csv").is_file()


def test_records_of_the_parts_of_a_notebook_go_along(tmp_path):
    (name,) = (name for name in NAMES if name.startswith("05"))
    profile = write_profile(tmp_path / "photos", names=[name])
    part = profile / name / "s4"
    part.mkdir()
    (part / "history.csv").write_text("kind\n")
    (part / "net_G.safetensors").write_text("weights")
    publish.publish(profile, tmp_path / "published")
    assert [path.name for path in (tmp_path / "published" / name / "s4").iterdir()] == ["history.csv"]


def test_the_strip_shows_package_photographs_from_the_lowest_error_to_the_highest(published, profile):
    strip = Image.open(published / publish.STRIP)
    assert strip.width > 300 and strip.height > 300 and (published / publish.STRIP).stat().st_size < 300_000
    record = next(record for record in read_records(profile) if record.number == "07")
    assert landing.package_errors(record) == {"coffee": 5.0, "astronaut": 6.0, "rocket": 7.0}
    assert list(landing.package_errors(record)) == ["coffee", "astronaut", "rocket"]


@pytest.mark.parametrize(
    ("weight", "name"), [(100.0, "GAN, mean of epoch 1"), (20.0, "GAN, λ = 20: L1 times 20, mean of")]
)
def test_losses_under_another_lambda_say_so(tmp_path, weight, name):
    profile = write_profile(tmp_path / "photos", names=[NAMES[3]])
    (profile / NAMES[3] / "history.csv").write_text(LOSSES + "epoch,1,10,20,.7,.6,.65,.71,9.6,10.3\n")
    (profile / NAMES[3] / "config.json").write_text(json.dumps({"gan": {"lambda_L1": weight}}))
    rows = landing.losses({record.number: record for record in read_records(profile)})
    assert any(row.ours and name in row.name for row in rows)


def test_the_first_page_says_who_painted_the_strip(tmp_path):
    profile = write_profile(tmp_path / "photos")
    for weights, told in (("shipped", "was not trained on them"), ("photos/02", "Painted by photos/02.")):
        config = profile / RUN[3] / "config.json"
        config.write_text(json.dumps({"profile": "photos", "weights": weights}))
        assert told in report.build_site(profile).read_text()


def test_the_report_of_published_notebooks_shows_package_photographs_only(published, open_page):
    page = open_page(published / "report" / "index.html")
    assert page.locator(".twelve").count() == 0 and page.locator(".strip section").count() == 3
    assert "make publish" not in page.inner_text("main")
