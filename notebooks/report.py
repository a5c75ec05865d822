"""Make a site of a profile's executed notebooks: `python notebooks/report.py --profile sample`.

The site is a folder, `outputs/<profile>/report/`, to be opened at index.html, moved or served as it is. Nothing in it
is fetched from elsewhere, and it needs no script.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import jinja2
from pygments.formatters import HtmlFormatter

from colorize_lib.files import ROOT
from reporting import landing, page, publications
from reporting.records import Record, read_records, refuse_empty

TEMPLATES = Path(__file__).parent / "reporting"
PACKAGE_PROFILES = ("sample", "test")  # all their photographs are those that installed packages ship
PUBLISHED = "published"  # the folder of outputs/ that `make publish` fills


def build_site(profile: Path) -> Path:
    """Make `profile`/report anew from the notebooks in `profile`, a folder like outputs/sample; returns index.html.

    Raises FileNotFoundError if no notebook has been run. The old report stays until the new one is whole.
    """
    records = read_records(profile)
    refuse_empty(records, profile.name)
    with tempfile.TemporaryDirectory(dir=profile, prefix=".report-") as temporary:
        site = Path(temporary) / "report"
        site.mkdir()
        templates = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True)
        (site / "style.css").write_text((TEMPLATES / "style.css").read_text() + code_colours())
        for record in (record for record in records if record.is_run):
            (site / record.page).write_text(_notebook_page(templates, record, records, site))
        (site / "index.html").write_text(_landing_page(templates, profile, records, site))
        shutil.rmtree(profile / "report", ignore_errors=True)
        site.replace(profile / "report")
    return profile / "report" / "index.html"


def code_colours() -> str:
    """The colours of code, for light and for dark pages."""
    light, dark = (HtmlFormatter(style=style).get_style_defs(".highlight") for style in ("default", "github-dark"))
    return f"\n{light}\n@media screen and (prefers-color-scheme: dark) {{\n{dark}\n}}\n"


def _notebook_page(templates: jinja2.Environment, record: Record, records: list[Record], site: Path) -> str:
    body, headings = page.convert(record, site)
    run = [other for other in records if other.is_run]
    place = run.index(record)
    return templates.get_template("page.html").render(
        record=record,
        records=records,
        body=body,
        headings=headings,
        previous=run[place - 1] if place else None,
        following=run[place + 1] if place + 1 < len(run) else None,
        facts=landing.facts([record]),
    )


def _landing_page(templates: jinja2.Environment, profile: Path, records: list[Record], site: Path) -> str:
    by_number = {record.number: record for record in records}
    facts = landing.facts(records)
    return templates.get_template("index.html").render(
        records=records,
        facts=facts,
        of_packages=facts["profile"] in PACKAGE_PROFILES,
        is_published=profile.name == PUBLISHED,
        held_out=landing.held_out_strip(by_number["06"], site),
        strip=landing.package_strip(by_number["07"], site),
        painted_by=by_number["07"].config.get("weights", landing.UNNAMED),
        results=landing.results(by_number["06"]),
        photographs=by_number["06"].metrics.get("photographs"),
        true_colourfulness=landing.true_colourfulness(by_number["06"]),
        systems=publications.SYSTEMS,
        losses=landing.losses(by_number),
        times=landing.times(by_number),
        cifar=landing.cifar(by_number["05"]),
    )


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
