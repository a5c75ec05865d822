"""Make a site of a profile's executed notebooks: `python notebooks/tools/report.py --profile sample`.

The site is a folder, `outputs/<profile>/report/`, to be opened at index.html, moved or served as it is. Its first page
is notebook 09. Nothing in it is fetched from elsewhere, and it needs no script.
"""

import argparse
import html
import json
import re
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbconvert.preprocessors import CoalesceStreamsPreprocessor, ExtractOutputPreprocessor, RegexRemovePreprocessor
from pygments.formatters import HtmlFormatter

import formulas
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
        return formulas.to_html(body, block=False)

    def block_math(self, body: str) -> str:
        return formulas.to_html(body, block=True)


def markdown(text: str) -> str:
    """HTML of Markdown; each table gets a box of its own to scroll in."""
    rendered = MarkdownWithMath(renderer=Renderer(escape=False, anchor_link_text="#")).render(BADGE.sub("", text))
    return rendered.replace("<table>", '<div class="wide" tabindex="0"><table>').replace("</table>", "</table></div>")


def build_site(profile: Path) -> Path:
    """Make `profile`/report anew from the notebooks in `profile`, a folder like outputs/sample; returns index.html.

    Raises FileNotFoundError if no notebook has been run. The old report stays until the new one is whole.
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
    exporter = HTMLExporter(
        template_name="basic",
        template_file="page.html.j2",
        extra_template_paths=[str(HERE)],
        filters={"markdown2html": markdown},
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        preprocessors=[
            RegexRemovePreprocessor(patterns=[COLAB]),
            CoalesceStreamsPreprocessor(),
            SmallFigures(),
            ExtractOutputPreprocessor(),
        ],
    )
    with tempfile.TemporaryDirectory(dir=profile, prefix=".report-") as temporary:
        site = Path(temporary) / "report"
        for place, (path, notebook) in enumerate(notebooks.items()):
            resources = {"unique_key": path.stem, "output_files_dir": path.stem, "pages": pages, "place": place}
            body, made = exporter.from_notebook_node(notebook, resources)
            (site / path.stem).mkdir(parents=True)
            for name, content in made["outputs"].items():
                (site / name).write_bytes(content)
            (site / pages[place]["file"]).write_text(body)
        (site / "style.css").write_text((HERE / "style.css").read_text() + code_colours())
        shutil.rmtree(profile / "report", ignore_errors=True)
        site.replace(profile / "report")
    return profile / "report" / "index.html"


def facts(folder: Path) -> dict[str, str]:
    """Profile, commit, date, device and torch of a run, as far as it wrote them down."""
    records = [folder / f"{name}.json" for name in ("config", "env")]
    config, env = (json.loads(path.read_text()) if path.is_file() else {} for path in records)
    found = {
        "profile": config.get("profile"),
        "commit": env.get("commit", "")[:7],
        "run on": env.get("started", "")[:10],
    }
    found |= {"device": env.get("device"), "torch": env.get("packages", {}).get("torch")}
    return {name: value for name, value in found.items() if value}


def code_colours() -> str:
    """The colours of code, for light and for dark pages."""
    light, dark = (HtmlFormatter(style=style).get_style_defs(".highlight") for style in ("default", "github-dark"))
    return f"\n{light}\n@media screen and (prefers-color-scheme: dark) {{\n{dark}\n}}\n"


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--profile", default="sample", help="a folder of outputs/ (default: %(default)s)")
    options = parser.parse_args(argv)
    try:
        index = build_site(ROOT / "outputs" / options.profile)
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"open {index.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
