"""Methods against each other: pairs of every two, the page's words, and strengths that were put in are found."""

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from pictures import photograph
from PIL import Image

from colorize_lib.__main__ import main
from colorize_lib.apps import serving
from colorize_lib.apps.human_test.comparison import preferences, write_comparison
from colorize_lib.apps.human_test.results import read_answers
from colorize_lib.apps.human_test.server import build_app

METHODS = {"dull": (90, 90, 90), "red": (200, 40, 40), "blue": (40, 40, 200)}


@pytest.fixture
def methods(tmp_path):
    for name, colour in METHODS.items():
        (tmp_path / name).mkdir()
        for number in range(8):
            Image.new("RGB", (700, 500), colour).save(
                tmp_path / name / f"{number}.{'png' if name == 'red' else 'webp'}"
            )
    return [tmp_path / name for name in METHODS]


def test_every_two_methods_meet_equally_often_on_either_side(methods, tmp_path):
    pairs = write_comparison(tmp_path / "test", methods)
    table = pairs.table
    assert (table.kind == "practice").sum() == 0 and (table.kind == "vigilance").sum() == 4
    met = table[["first", "second"]].apply(lambda row: "-".join(sorted(row)), axis=1).value_counts()
    assert len(met) == 3 and met.max() - met.min() <= 1
    for row in table[table.kind == "scored"].itertuples():
        for name, method in ((row.truth, row.first), (row.fake, row.second)):
            shown = Image.open(pairs.folder / name)
            assert shown.size[0] == 512 and np.abs(np.array(shown).mean(axis=(0, 1)) - METHODS[method]).max() < 6
    assert write_comparison(tmp_path / "test", methods).digest == pairs.digest
    page = TestClient(build_app(pairs), "http://127.0.0.1:8000").get("/").text
    assert "Which one has the less natural colours?" in page and "{{" not in page and "fake colours" not in page


def test_answers_give_back_the_strengths_behind_them(methods, tmp_path):
    pairs = write_comparison(tmp_path / "test", methods).table
    strength, rng, rows = {"dull": 1.0, "red": 4.0, "blue": 0.25}, np.random.default_rng(0), []
    for rater in range(30):
        for row in pairs.itertuples():
            first, second = strength[row.first], strength[row.second]
            right = row.kind == "vigilance" or rng.random() < first / (first + second)
            rows.append({"rater": str(rater), "pair": row.pair, "kind": row.kind, "photograph": row.photograph})
            rows[-1]["right"] = int(right)
    found = preferences(pd.DataFrame(rows), pairs)
    assert found.index.tolist() == ["red", "dull", "blue"]
    for name, of in found.iterrows():
        mine = np.mean([strength[name] / (strength[name] + strength[other]) for other in METHODS if other != name])
        assert of.share == pytest.approx(mine, abs=0.05) and of.low < mine < of.high
    assert found.answers.sum() == 2 * 30 * 40
    careless = pd.DataFrame(rows).assign(right=0)
    assert preferences(careless, pairs) is None


def test_the_command_says_what_cannot_be_compared_and_what_came_out(methods, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(serving, "serve", lambda *_: None)

    def told(*folders) -> str:
        status = main(["human-test", str(tmp_path / "test"), "--compare", *map(str, folders)])
        out, err = capsys.readouterr()
        return err if status else out

    assert "compare two folders at least" in told(methods[0]) and "compare two" in told(methods[0], methods[0])
    other = tmp_path / "other"
    other.mkdir()
    photograph().save(other / "x.png")
    assert "have no photograph of the same name" in told(methods[0], other)
    assert told(*methods[:2]).startswith("no answers yet")
    folder = write_comparison(tmp_path / "test", methods[:2])
    client = TestClient(build_app(folder), "http://127.0.0.1:8000")
    for number, row in enumerate(folder.table.itertuples()):
        dull = "left" if (row.fake_side == "left") == (row.second == "dull") else "right"
        answer = row.fake_side if row.kind == "vigilance" else dull
        body = {"rater": "0123456789ab", "pair": number, "answer": answer, "seconds": 1.0}
        assert client.post("/answer", json=body).status_code == 200
    assert len(read_answers(folder)) == 44
    assert told(*methods[:2]).splitlines()[1].split()[:2] == ["red", "0.99"]
