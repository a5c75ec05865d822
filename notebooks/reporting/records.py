"""What the notebooks left under a profile."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
from nbformat import NotebookNode

NOTEBOOKS = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Record:
    """One notebook under one profile; `folder` may be missing."""

    name: str
    title: str
    folder: Path

    @property
    def number(self) -> str:
        return self.name[:2]

    @property
    def page(self) -> str:
        """The file name of the notebook's page in the report."""
        return f"{self.name}.html"

    @property
    def path(self) -> Path:
        """The executed notebook."""
        return self.folder / f"{self.name}.ipynb"

    @property
    def is_run(self) -> bool:
        return self.path.is_file()

    @cached_property
    def notebook(self) -> NotebookNode:
        return nbformat.read(self.path, as_version=4)

    @cached_property
    def env(self) -> dict[str, Any]:
        return self._json("env.json")

    @cached_property
    def config(self) -> dict[str, Any]:
        return self._json("config.json")

    @cached_property
    def metrics(self) -> dict[str, Any]:
        return self._json("metrics.json")

    def epochs(self) -> pd.DataFrame:
        """The rows of history.csv that are means over an epoch; none if the notebook has no such file."""
        path = self.folder / "history.csv"
        if not path.is_file():
            return pd.DataFrame()
        history = pd.read_csv(path)
        return history[history.kind == "epoch"]

    def _json(self, name: str) -> dict[str, Any]:
        """A JSON file of the folder; {} if the notebook has not been run, for what is there may be of an older run."""
        path = self.folder / name
        return json.loads(path.read_text()) if self.is_run and path.is_file() else {}


def read_records(profile: Path) -> list[Record]:
    """A record for each numbered notebook of the repository, in order; profile: a folder like outputs/sample."""
    records = []
    for source in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")):
        first = nbformat.read(source, as_version=4).cells[0].source.splitlines()[0]
        records.append(Record(source.stem, first.partition("·")[2].strip(), profile / source.stem))
    return records


def refuse_empty(records: list[Record], profile: str) -> None:
    """Raise FileNotFoundError if no notebook of the profile has been run."""
    if not any(record.is_run for record in records):
        raise FileNotFoundError(
            f"outputs/{profile} holds no executed notebook: `make run-all PROFILE={profile}` makes them"
        )
