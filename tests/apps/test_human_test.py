"""The human test: the pairs, the server, the page in a real browser, and the rate."""

import json
import signal
import socket
import subprocess
import sys
import urllib.request

import numpy as np
import pandas as pd
import psutil
import pytest
import torch
from fastapi.testclient import TestClient
from notebook_tools import ROOT
from pictures import photograph
from PIL import Image

from colorize_lib import color
from colorize_lib.__main__ import main
from colorize_lib.apps.human_test import pairs as human_pairs
from colorize_lib.apps.human_test import server
from colorize_lib.apps.human_test.pairs import PairList, draw_pairs, write_pairs
from colorize_lib.apps.human_test.results import fooled_rate, read_answers, summary
from colorize_lib.apps.human_test.server import Answer, HumanTest, build_app
from colorize_lib.data.loader import ColorizationDataset, LabLoader
from colorize_lib.evaluation.answers import paint_grey
from colorize_lib.images import resize

FEW = {"PRACTICE": 3, "SCORED": 4, "VIGILANCE": 1}
PAIRS = sum(FEW.values())
RATER = "0123456789ab"


@pytest.fixture(scope="module")
def dl() -> LabLoader:
    pixels = np.stack([resize(photograph(seed, (48, 48)), 32) for seed in range(20)])
    return LabLoader(ColorizationDataset(pixels), 4, train=False)


@pytest.fixture
def pairs(dl, tmp_path, monkeypatch) -> PairList:
    """A test of few pairs."""
    for name, count in FEW.items():
        monkeypatch.setattr(human_pairs, name, count)
    return write_pairs(tmp_path / "human_test", paint_grey, dl)


# --- pairs ---------------------------------------------------------------------------------------------------------


def test_the_draw_has_the_kinds_in_order_and_no_photograph_twice_before_it_must():
    table = draw_pairs(200, seed=0)
    assert table.kind.value_counts().to_dict() == {"scored": 40, "practice": 10, "vigilance": 4}
    assert (table.kind[:10] == "practice").all()
    assert table.photograph.is_unique and table.photograph.between(0, 199).all()
    assert 0.3 < (table.fake_side == "left").mean() < 0.7
    pd.testing.assert_frame_equal(table, draw_pairs(200, seed=0))
    assert (table.photograph != draw_pairs(200, seed=1).photograph).any()
    few = draw_pairs(20, seed=0).photograph
    assert set(few[:20]) == set(few[20:40]) == set(range(20))
    with pytest.raises(ValueError, match="no photographs"):
        draw_pairs(0, seed=0)


def test_pictures_are_the_truth_the_answers_and_obviously_wrong_ones(dl, tmp_path):
    pairs = write_pairs(tmp_path / "human_test", paint_grey, dl)
    assert len(pairs.table) == 54 and len(list((pairs.folder / "pictures").iterdir())) == 2 * 54
    for row in pairs.table.itertuples():
        truth, fake = (np.asarray(Image.open(pairs.folder / name)).astype(int) for name in (row.truth, row.fake))
        np.testing.assert_array_equal(truth, dl.dataset.rgb([row.photograph])[0].numpy())
        if row.kind == "vigilance":
            assert np.abs(fake - truth).mean() > 20
        else:
            assert np.ptp(fake, axis=-1).max() <= 1  # what the judged answer, grey, painted
    numbers = pairs.table[["truth", "fake"]].map(lambda name: int(name[-7:-4]))  # do not tell which is the fake
    assert 0.3 < (numbers.fake > numbers.truth).mean() < 0.7 and 0.3 < (numbers.fake % 2).mean() < 0.7


GOOD = {"rater": RATER, "pair": 0, "answer": "left", "seconds": 1.0}


def test_the_same_pairs_stay_with_their_answers_and_others_move_them_away(pairs, dl):
    digest = pairs.digest
    HumanTest(pairs).save(Answer(**GOOD))
    again = write_pairs(pairs.folder, paint_grey, dl)
    assert again.digest == digest and len(read_answers(again)) == 1
    fresh = write_pairs(pairs.folder, lambda L: color.lab_to_rgb(L, torch.full((1, 2, 32, 32), 0.2)), dl)
    assert fresh.folder == pairs.folder and fresh.digest != digest and read_answers(fresh).empty
    kept = PairList(pairs.folder.with_name(f"human_test-{digest}"))
    assert kept.digest == digest and len(read_answers(kept)) == 1


# --- the server ----------------------------------------------------------------------------------------------------


@pytest.fixture
def client(pairs) -> TestClient:
    return TestClient(build_app(pairs), "http://127.0.0.1:8000")


def test_a_rater_sees_every_pair_once_and_goes_on_where_the_page_was_closed(client, pairs):
    rater = client.get("/rater").json()["rater"]
    assert rater != client.get("/rater").json()["rater"]
    seen = []
    for number in range(PAIRS):
        shown = client.get(f"/next?rater={rater}").json()
        assert shown == client.get(f"/next?rater={rater}").json()  # a reload shows the same pair
        assert shown["pair"] == number and "fake" not in json.dumps(shown)
        row = pairs.table.iloc[number]
        assert {shown["left"], shown["right"]} == {row.truth, row.fake} and shown[row.fake_side] == row.fake
        picture = client.get(f"/{shown['left']}")
        assert picture.content.startswith(b"\x89PNG")
        assert picture.headers["Cache-Control"] == "no-store"  # another list's pictures have the same names
        reply = client.post("/answer", json={"rater": rater, "pair": number, "answer": "left", "seconds": 0.5}).json()
        expected = {"right": row.fake_side == "left", "fake_side": row.fake_side} if row.kind == "practice" else {}
        assert reply == expected  # only practice tells
        assert len(read_answers(pairs)) == number + 1  # saved before the next pair is asked for
        seen.append((shown["practice"], shown["number"], shown["of"]))
    assert seen == [(True, k, 3) for k in range(1, 4)] + [(False, k, 5) for k in range(1, 6)]
    assert client.get(f"/next?rater={rater}").json() == {"done": True}
    answers = read_answers(pairs)
    assert (answers.right == (answers.fake_side == "left")).all() and (answers.rater == rater).all()


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(GOOD | {"rater": "../../etc"}),
        json.dumps(GOOD | {"pair": 1}),  # not the next one
        json.dumps(GOOD | {"pair": "0"}),
        json.dumps(GOOD | {"answer": "both"}),
        *(json.dumps(GOOD | {"seconds": seconds}) for seconds in ("long", -1, float("nan"), float("inf"))),
        json.dumps({"rater": RATER, "answer": "left"}),
        json.dumps(GOOD) + " " * 1000,
        "",
    ],
)
def test_what_is_no_answer_is_refused_and_not_saved(client, pairs, body):
    assert client.post("/answer", content=body).status_code == 400
    assert read_answers(pairs).empty and not pairs.answers.exists()
    assert client.post("/answer", json=GOOD).status_code == 200


def test_pairs_drawn_anew_while_it_serves_end_it_and_its_answers_are_kept(client, pairs, dl):
    digest = pairs.digest
    assert client.post("/answer", json=GOOD).status_code == 200
    write_pairs(pairs.folder, lambda L: color.lab_to_rgb(L, torch.full((1, 2, 32, 32), 0.2)), dl)
    for answer in (client.get(f"/next?rater={RATER}"), client.post("/answer", json=GOOD | {"pair": 1})):
        assert answer.status_code == 409 and "notebook 06 has drawn other pairs" in answer.json()["detail"]
    assert len(read_answers(PairList(pairs.folder.with_name(f"human_test-{digest}")))) == 1
    assert not pairs.answers.exists()


def test_an_answer_that_never_ends_is_given_up(served, pairs, monkeypatch):
    monkeypatch.setattr(server, "PATIENCE", 0.3)
    with served(build_app(pairs)) as port, socket.create_connection(("127.0.0.1", port), timeout=20) as slow:
        slow.sendall(f"POST /answer HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 90\r\n\r\n{{".encode())
        assert slow.recv(100).startswith(b"HTTP/1.1 408 ")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/rater") as answer:  # others are served meanwhile
            assert len(json.load(answer)["rater"]) == 12
    assert not pairs.answers.exists()


@pytest.mark.parametrize("length", ["many", "-1", "1.5", "99999999999"])
def test_a_length_that_none_can_have_is_refused(served, pairs, length):
    with served(build_app(pairs)) as port, socket.create_connection(("127.0.0.1", port), timeout=20) as sent:
        sent.sendall(f"POST /answer HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {length}\r\n\r\n".encode())
        assert sent.recv(100).startswith(b"HTTP/1.1 400 ")
    assert not pairs.answers.exists()


@pytest.mark.parametrize(
    ("host", "headers", "status"),
    [
        ("127.0.0.1", {"Host": "localhost:8000", "Origin": "http://localhost:8000"}, 200),
        ("127.0.0.1", {"Host": "elsewhere.example"}, 400),
        ("127.0.0.1", {"Origin": "http://elsewhere.example"}, 403),
        ("127.0.0.1", {"Host": socket.gethostname()}, 400),
        ("0.0.0.0", {"Host": socket.gethostname()}, 200),  # others on the network were let in
        ("0.0.0.0", {"Host": "elsewhere.example"}, 400),
    ],
    ids=str,
)
def test_it_answers_only_to_its_own_page(pairs, host, headers, status):
    client = TestClient(build_app(pairs, host), "http://127.0.0.1:8000", headers=headers)
    assert client.get("/").status_code == client.post("/answer", json=GOOD).status_code == status


@pytest.mark.parametrize("path", ["/pairs.csv", "/..%2fpairs.csv", "/pictures/..%2fpairs.csv", "/docs"])
def test_nothing_but_the_pictures_of_the_pairs_is_served(client, path):
    assert client.get(path).status_code == 404


def test_the_command_says_in_a_line_what_is_missing_or_cannot_be_used(pairs, tmp_path, monkeypatch, capsys):
    def told(*arguments: object) -> str:
        assert main(["human-test", *map(str, arguments)]) == 1
        return capsys.readouterr().err

    assert "pairs.csv does not exist: notebook 06 draws the pairs" in told(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"port {port} of 127.0.0.1 cannot be used" in told(pairs.folder, "--port", port)
    assert "port 70000 of 127.0.0.1 cannot be used" in told(pairs.folder, "--port", 70000)
    monkeypatch.delitem(sys.modules, "colorize_lib.apps.human_test.server")
    monkeypatch.setitem(sys.modules, "fastapi", None)  # as if it were not installed
    assert told(pairs.folder).startswith("error: the package fastapi is missing")


def test_the_command_listens_here_alone_until_ctrl_c(pairs):
    command = [sys.executable, "-m", "colorize_lib", "human-test", str(pairs.folder), "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == f"answers go to {pairs.answers}\n"
        address = process.stdout.readline().split()[1]
        sockets = psutil.Process(process.pid).net_connections("inet")
        assert [one.laddr.ip for one in sockets if one.status == psutil.CONN_LISTEN] == ["127.0.0.1"]
        assert b"Which one is the fake?" in urllib.request.urlopen(address).read()
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT and told == ""


# --- the page ------------------------------------------------------------------------------------------------------


@pytest.fixture
def page(chromium, served, pairs):
    """The page at the width of a phone, its clock sped up; any request to elsewhere fails the test."""
    context = chromium.new_context(viewport={"width": 375, "height": 667})
    page = context.new_page()
    elsewhere, errors = [], []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: message.type == "error" and errors.append(message.text))
    page.clock.install()
    with served(build_app(pairs)) as port:
        origin = f"http://127.0.0.1:{port}/"
        page.on("request", lambda request: request.url.startswith((origin, "data:")) or elsewhere.append(request.url))
        page.goto(origin)
        yield page
        context.close()
    assert elsewhere == [] and errors == []


def until_asked(page) -> None:
    """Let the two pictures pass."""
    for _ in range(40):
        if page.locator("#left").is_enabled():
            return
        page.clock.run_for(250)
        page.wait_for_timeout(20)
    raise AssertionError("the page never asked: " + page.locator("body").inner_text())


def test_from_start_to_saved_csv_in_a_browser(page, pairs):
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "wider than a phone"
    page.get_by_role("button", name="Start").click()
    table = pairs.table
    for number, row in enumerate(table.itertuples()):
        until_asked(page)
        assert page.locator("img.shown").count() == 0  # grey masks while one thinks
        if number % 2:
            page.keyboard.press("ArrowRight")
        else:
            page.locator("#left").click()
        if row.kind == "practice":
            page.get_by_text(f"the {row.fake_side} one, framed in red, is the fake").wait_for()
            assert page.locator("img.shown").count() == 2
            page.keyboard.press("Enter")
        if number == 1:  # closed, and opened again in the same browser
            page.locator("#status").filter(has_text="3 of 3").wait_for()
            page.reload()
            page.get_by_role("button", name="Start").click()
    page.get_by_text("That was the last pair").wait_for()
    answers = read_answers(pairs)
    assert answers.pair.tolist() == list(range(PAIRS)) and answers.rater.nunique() == 1
    assert answers.answer.tolist() == ["right" if number % 2 else "left" for number in range(PAIRS)]
    assert (answers.right == (answers.answer == table.fake_side)).all()


NOTE_WHAT_IS_SEEN = """() => {
    window.seen = [];  // [time by the page's own clock, the side whose picture is seen or null], at every change
    const note = () => seen.push([Date.now(), document.querySelector("img.shown")?.parentElement.id ?? null]);
    new MutationObserver(note).observe(document.body, {subtree: true, attributes: true, childList: true});
}"""


def test_each_picture_is_seen_for_one_second_the_left_one_first(page):
    page.evaluate(NOTE_WHAT_IS_SEEN)
    page.get_by_role("button", name="Start").click()
    until_asked(page)
    seen = page.evaluate("seen")
    changes = [one for one, before in zip(seen, [[0, None], *seen], strict=False) if one[1] != before[1]]
    sides = [side for _, side in changes if side]
    assert sides == ["left", "right"]
    for (begin, side), (end, _) in zip(changes, changes[1:], strict=False):
        if side:
            assert 900 <= end - begin <= 1150, side


# --- the rate ------------------------------------------------------------------------------------------------------


def answers_of(raters: dict[str, tuple[float, float]], seed: int = 0) -> pd.DataFrame:
    """Answers by raters who take the truth for the fake, and who miss a vigilance pair, with these probabilities."""
    rng, rows = np.random.default_rng(seed), []
    for rater, (fooled, careless) in raters.items():
        for row in draw_pairs(100, seed=0).itertuples():
            wrong = rng.random() < (careless if row.kind == "vigilance" else fooled)
            rows.append({"rater": rater, "kind": row.kind, "photograph": row.photograph, "right": int(not wrong)})
    return pd.DataFrame(rows)


def test_the_rate_and_its_interval():
    found = fooled_rate(answers_of({f"r{k}": (0.3, 0.0) for k in range(25)}))
    assert (found["raters"], found["answers"], found["inattentive"]) == (25, 1000, 0)
    assert found["rate"] == pytest.approx(0.3, abs=0.04) and found["low"] < 0.3 < found["high"]
    assert "fooled: " in summary(found) and "25 raters" in summary(found)
    json.dumps(found)


def test_raters_who_differ_widen_the_interval_and_inattentive_ones_are_left_out():
    alike = fooled_rate(answers_of({f"r{k}": (0.5, 0.0) for k in range(10)}))
    unlike = fooled_rate(answers_of({f"r{k}": (k % 2 * 1.0, 0.0) for k in range(10)}))
    assert unlike["rate"] == pytest.approx(0.5)
    assert unlike["high"] - unlike["low"] > 2 * (alike["high"] - alike["low"])
    found = fooled_rate(answers_of({"good": (0.0, 0.0), "careless": (1.0, 1.0)}))
    assert (found["rate"], found["raters"], found["inattentive"]) == (0, 1, 1)
    assert "1 more left out as inattentive" in summary(found)


def test_answers_count_if_they_are_to_these_pairs(pairs, monkeypatch):
    assert fooled_rate(read_answers(pairs)) is None
    assert fooled_rate(answers_of({"r": (0.5, 0.0)}).query("kind == 'practice'")) is None
    test = HumanTest(pairs)
    monkeypatch.setattr(PairList, "digest", "012345678901")  # text, however much it looks like a number
    test.save(Answer(**GOOD))
    assert read_answers(pairs).empty
    test = HumanTest(pairs)
    test.save(Answer(**GOOD))
    assert test.answered(RATER) == len(read_answers(pairs)) == 1
    (pairs.answers / "notes.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="notes.csv is no file of answers"):
        read_answers(pairs)
