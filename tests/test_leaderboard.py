"""The leaderboard: the photographs are the listed ones, all are scored, and its page has its records."""

import importlib
import json

import pytest
from notebook_tools import ROOT
from pictures import save_photographs


@pytest.fixture
def board(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    module = importlib.import_module("leaderboard")
    monkeypatch.setattr(module, "SIZE", 32)
    monkeypatch.setattr(module, "tune_or_judge", lambda digest: "judge")
    save_photographs(tmp_path / "photos", 4, (60, 50))
    monkeypatch.setattr(module, "listed", lambda photos, of=tmp_path / "judge.csv", own=module.listed: own(photos, of))
    return module


def test_pictures_of_listed_photographs_are_scored(board, tmp_path):
    photos = tmp_path / "photos"
    record = board.score(_copies(photos, tmp_path / "mine"), photos)
    assert record["n"] == 4 and record["l1_ab"] == 0 and record["grey"]["l1_ab"] > 1
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "a.json").write_text(json.dumps(record | {"name": "copy", "made by": "cp"}))
    page = board.filled("a\n<!-- rows -->\nold\n<!-- /rows -->\nb", tmp_path / "records")
    assert "| copy | 0.00 [0.00, 0.00] |" in page and "| grey | " in page and "old" not in page


def test_another_photograph_and_a_missing_picture_are_refused(board, tmp_path):
    photos = tmp_path / "photos"
    board.listed(photos)
    mine = _copies(photos, tmp_path / "mine")
    first = min(mine.iterdir())
    first.unlink()
    with pytest.raises(ValueError, match="has 3 pictures of the 4 that are judged"):
        board.score(mine, photos)
    (photos / first.name).write_bytes(b"another")
    with pytest.raises(ValueError, match=f"{first.name} is another photograph than that of"):
        board.score(mine, photos)


def test_the_page_has_the_published_records(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    module = importlib.import_module("leaderboard")
    assert module.filled(module.PAGE.read_text(), module.RECORDS) == module.PAGE.read_text()


def _copies(photos, folder):
    folder.mkdir()
    for path in photos.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder
