"""The leaderboard: anybody's colourings of the same photographs, scored in the same way (docs/leaderboard.md).

    python benchmarks/leaderboard.py NAME COLOURED --photos DIR --made-by "the command that made them"
    python benchmarks/leaderboard.py        # writes the table of docs/leaderboard.md anew

COLOURED has a picture of each photograph that judge.csv lists, by its name. Photographs are known by their sha256: a
file of DIR that is another one is refused. The record goes to outputs/published/leaderboard/NAME.json.
"""

import argparse
import json
import re
import tempfile
from pathlib import Path

import pandas as pd

from colorize_lib.data.judging import tune_or_judge
from colorize_lib.evaluation.folders import score_folders
from colorize_lib.evaluation.measures import MEASURES
from colorize_lib.files import ROOT, sha256, write_text
from colorize_lib.runs.run import environment

RECORDS, PAGE = ROOT / "outputs" / "published" / "leaderboard", ROOT / "docs" / "leaderboard.md"
SIZE = 256  # pixels a side at which pictures are compared
FIGURES = ["l1_ab", "auc_rebalanced", "colorfulness", "colorfulness_gap_per_image", "perceptual_lite0"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", help="of the method; without one the table is written")
    parser.add_argument("coloured", type=Path, nargs="?", help="a folder of its pictures")
    parser.add_argument("--photos", type=Path, help="the folder whose photographs judge.csv lists")
    parser.add_argument("--made-by", default="", help="the command that made the pictures, and where it is found")
    options = parser.parse_args()
    if options.name:
        if not options.coloured or not options.photos:
            raise SystemExit("give NAME COLOURED --photos DIR")
        record = score(options.coloured, options.photos) | {"name": options.name, "made by": options.made_by}
        path = RECORDS / f"{re.sub('[^a-z0-9]+', '-', options.name.lower()).strip('-')}.json"
        write_text(path, json.dumps(record, indent=1) + "\n")
    write_text(PAGE, filled(PAGE.read_text(), RECORDS))


def listed(photos: Path, of: Path = RECORDS / "judge.csv") -> list[Path]:
    """The photographs to judge by: files of `photos`. Without a list all of *judge* are taken, and listed.

    Raises FileNotFoundError for one that is missing, ValueError for one that is another photograph than the list's.
    """
    if not of.exists():
        found = sorted(path for path in photos.rglob("*") if path.is_file())
        rows = [(path.relative_to(photos).as_posix(), sha256(path)) for path in found]
        rows = [row for row in rows if tune_or_judge(row[1]) == "judge"]
        write_text(of, pd.DataFrame(rows, columns=["path", "sha256"]).to_csv(index=False))
    rows = pd.read_csv(of)
    for row in rows.itertuples():
        if sha256(photos / row.path) != row.sha256:
            raise ValueError(f"{photos / row.path} is another photograph than that of {of}: its sha256 differs")
    return [photos / path for path in rows.path]


def score(coloured: Path, photos: Path) -> dict:
    """The figures of a folder of pictures on the listed photographs, all of which it must have."""
    truths = listed(photos)
    with tempfile.TemporaryDirectory() as folder:
        for path in truths:
            link = Path(folder) / path.relative_to(photos)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path.resolve())
        _, report = score_folders(coloured, Path(folder), SIZE)
    if report["n"] < len(truths):
        raise ValueError(f"{coloured} has {report['n']} pictures of the {len(truths)} that are judged")
    kept = ("commit", "started", "device", "packages")
    return report | {"environment": {key: value for key, value in environment().items() if key in kept}}


def filled(page: str, records: Path) -> str:
    """The page with its table made anew: a row a record, best rebalanced AuC first, with grey."""
    found = [json.loads(path.read_text()) for path in records.glob("*.json")]
    columns = [MEASURES[name].label for name in FIGURES]
    lines = [f"| method | {' | '.join(columns)} | made by | scored at |", "|---" * (len(columns) + 3) + "|"]
    for of in sorted(found, key=lambda of: -of["auc_rebalanced"]):
        cells = ["{:.2f} [{:.2f}, {:.2f}]".format(of[name], *of[f"{name}_ci"]) for name in FIGURES]
        lines.append(f"| {of['name']} | {' | '.join(cells)} | {of['made by']} | {of['environment']['commit'][:7]} |")
    if found:
        grey = [f"{found[0]['grey'][name]:.2f}" for name in FIGURES]
        lines.append(f"| grey | {' | '.join(grey)} | nothing | |")
    between = re.compile(r"(<!-- rows -->\n).*?(<!-- /rows -->)", re.DOTALL)
    return between.sub(lambda marks: f"{marks[1]}\n" + "\n".join(lines) + f"\n\n{marks[2]}", page)


if __name__ == "__main__":
    main()
