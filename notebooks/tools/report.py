"""Make a site of a profile's executed notebooks: `python notebooks/tools/report.py --profile sample`.

The site is a folder, `outputs/<profile>/report/`, to be opened at index.html, moved or served as it is. Its first page
is notebook 09. Nothing in it is fetched from elsewhere, and it needs no script.
"""

import argparse
import html
import io
import json
import re
import shutil
import tempfile
from pathlib import Path

import nbformat
from matplotlib.mathtext import math_to_image
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbconvert.preprocessors import CoalesceStreamsPreprocessor, ExtractOutputPreprocessor, RegexRemovePreprocessor
from pygments.formatters import HtmlFormatter

from colorize_lib.files import ROOT
from executed import SmallFigures, executed_notebooks

HERE = Path(__file__).parent
FIRST = "09"  # the notebook that is the first page, where it has been run
COLAB = r"[\s\S]*COLAB_RELEASE_TAG"  # the cell that prepares Colab and does nothing elsewhere
BADGE = re.compile(r"^\[!\[[^\]]*\]\([^)]*\)\]\([^)]*\)\n*", re.MULTILINE)  # it lies elsewhere


class Renderer(IPythonRenderer):
    """Markdown that fetches nothing from elsewhere: formulas are drawn here, pictures on the web become their text."""

    def image(self, text: str, url: str, title: str | None = None) -> str:
        return html.escape(text) if "//" in url else super().image(text or "picture", url, title)

    def inline_math(self, body: str) -> str:
        return formula(body, "span", "formula")

    def block_math(self, body: str) -> str:
        return formula(body, "div", "formula block")


def formula(latex: str, tag: str, kind: str) -> str:
    """LaTeX as inline SVG, drawn by matplotlib in the colour and size of the text around it: no script, font or network
    is needed to read it. More than matplotlib's mathtext can draw stays source."""
    latex = " ".join(latex.split())
    label, drawn = html.escape(latex), io.BytesIO()
    try:
        math_to_image(f"${latex}$", drawn, dpi=72, format="svg", color="black")
    except ValueError:
        return f'<{tag} class="{kind}"><code>{label}</code></{tag}>'
    svg = drawn.getvalue().decode().partition("<svg")[2]
    svg = re.sub(r'<metadata>.*?</metadata>|<g id="patch_1">.*?</g>', "", svg, flags=re.DOTALL)  # and the white page
    svg = re.sub(r'(width|height)="([\d.]+)pt"', lambda size: f'{size[1]}="{float(size[2]) / 10:.3f}em"', svg, count=2)
    return f'<{tag} class="{kind}" role="img" aria-label="{label}"><svg aria-hidden="true"{svg}</{tag}>'


def markdown(text: str) -> str:
    """HTML of Markdown; each table gets a box of its own to scroll in."""
    rendered = MarkdownWithMath(renderer=Renderer(escape=False, anchor_link_text="#")).render(BADGE.sub("", text))
    return rendered.replace("<table>", '<div class="wide" tabindex="0"><table>').replace("</table>", "</table></div>")


def build_site(profile: Path) -> Path:
    """Make `profile`/report anew from the notebooks in `profile`, a folder like outputs/sample; returns index.html.

    The old report stays until the new one is whole.
    """
    paths = sorted(executed_notebooks(profile), key=lambda path: not path.name.startswith(FIRST))
    notebooks = {path: nbformat.read(path, as_version=4) for path in paths}
    pages = [
        {
            "file": "index.html" if path == paths[0] else f"{path.stem}.html",
            "number": path.name[:2],
            "title": notebook.cells[0].source.splitlines()[0].partition("·")[2].strip(),
            "facts": facts(path.parent),
        }
        for path, notebook in notebooks.items()
    ]
    steps = [RegexRemovePreprocessor(patterns=[COLAB]), CoalesceStreamsPreprocessor(), SmallFigures()]
    exporter = HTMLExporter(
        template_name="basic",
        template_file="page.html.j2",
        extra_template_paths=[str(HERE)],
        filters={"markdown2html": markdown},
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        preprocessors=[*steps, ExtractOutputPreprocessor()],
    )
    light, dark = (HtmlFormatter(style=style).get_style_defs(".highlight") for style in ("default", "github-dark"))
    dark = f"@media screen and (prefers-color-scheme: dark) {{\n{dark}\n}}\n"
    with tempfile.TemporaryDirectory(dir=profile, prefix=".report-") as temporary:
        site = Path(temporary) / "report"
        for place, (path, notebook) in enumerate(notebooks.items()):
            resources = {"unique_key": path.stem, "output_files_dir": path.stem, "pages": pages, "place": place}
            resources["web"] = (profile / "web" / "index.html").is_file()
            body, made = exporter.from_notebook_node(notebook, resources)
            (site / path.stem).mkdir(parents=True)
            for name, content in made["outputs"].items():
                (site / name).write_bytes(content)
            (site / pages[place]["file"]).write_text(body)
        (site / "style.css").write_text("\n".join([(HERE / "style.css").read_text(), light, dark]))
        shutil.rmtree(profile / "report", ignore_errors=True)
        site.replace(profile / "report")
    return profile / "report" / "index.html"


def facts(folder: Path) -> dict[str, str]:
    """Profile, commit, date, device and torch of a run, as far as it wrote them down."""
    records = [folder / "config.json", folder / "env.json"]
    config, env = (json.loads(path.read_text()) if path.is_file() else {} for path in records)
    found = {
        "profile": config.get("profile"),
        "commit": env.get("commit", "")[:7],
        "run on": env.get("started", "")[:10],
        "device": env.get("device"),
        "torch": env.get("packages", {}).get("torch"),
    }
    return {name: value for name, value in found.items() if value}


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--profile", default="sample", help="a folder of outputs/ (default: %(default)s)")
    index = build_site(ROOT / "outputs" / parser.parse_args(argv).profile)
    print(f"open {index.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
