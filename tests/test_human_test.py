"""The human test: the pairs, the server, the page in a real browser, and the rate."""

import json
import urllib.error
import urllib.request
from threading import Thread

import numpy as np
import pandas as pd
import pytest
import torch
from pictures import photograph
from PIL import Image

from colorize_lib import color
from colorize_lib.__main__ import main
from colorize_lib.apps.human_test.pairs import PRACTICE, SCORED, VIGILANCE, PairList, draw_pairs, write_pairs
from colorize_lib.apps.human_test.results import fooled_rate, read_answers
from colorize_lib.apps.human_test.server import TestServer
from colorize_lib.data.loader import ColorizationDataset, LabLoader
from colorize_lib.evaluation.answers import paint_grey
from colorize_lib.images import resize

PAIRS = PRACTICE + SCORED + VIGILANCE
RATER = "0123456789ab"


@pytest.fixture(scope="module")
def dl() -> LabLoader:
    pixels = np.stack([resize(photograph(seed, (48, 48)), 32) for seed in range(20)])
    return LabLoader(ColorizationDataset(pixels), 4, train=False)


@pytest.fixture
def pairs(dl, tmp_path) -> PairList:
    return write_pairs(tmp_path / "human_test", paint_grey, dl)


# --- pairs ---------------------------------------------------------------------------------------------------------


def test_the_draw_has_the_kinds_in_order_and_no_photograph_twice():
    table = draw_pairs(200, seed=0)
    assert table.kind.value_counts().to_dict() == {"scored": 40, "practice": 10, "vigilance": 4}
    assert (table.kind[:10] == "practice").all()
    assert table.photograph.is_unique and table.photograph.between(0, 199).all()
    assert 0.3 < (table.fake_side == "left").mean() < 0.7
    pd.testing.assert_frame_equal(table, draw_pairs(200, seed=0))
    assert (table.photograph != draw_pairs(200, seed=1).photograph).any()


def test_few_photographs_are_all_used_before_one_comes_again():
    table = draw_pairs(20, seed=0)
    assert set(table.photograph[:20]) == set(table.photograph[20:40]) == set(range(20))
    with pytest.raises(ValueError, match="no photographs"):
        draw_pairs(0, seed=0)


def test_pictures_are_the_truth_the_answers_and_obviously_wrong_ones(pairs, dl):
    table = pairs.table
    assert len(table) == PAIRS and len(list((pairs.folder / "pictures").iterdir())) == 2 * PAIRS
    for row in table.itertuples():
        truth, fake = (np.asarray(Image.open(pairs.folder / name)).astype(int) for name in (row.truth, row.fake))
        np.testing.assert_array_equal(truth, dl.dataset.rgb([row.photograph])[0].numpy())
        if row.kind == "vigilance":
            assert np.abs(fake - truth).mean() > 20
        else:
            assert np.ptp(fake, axis=-1).max() <= 1  # what the judged answer, grey, painted


def test_names_of_pictures_do_not_tell_which_is_the_fake(pairs):
    numbers = pairs.table[["truth", "fake"]].map(lambda name: int(name[-7:-4]))
    assert 0.3 < (numbers.fake > numbers.truth).mean() < 0.7
    assert 0.3 < (numbers.fake % 2).mean() < 0.7


def test_the_same_pairs_are_left_as_they_are_with_their_answers(pairs, dl):
    server = TestServer(pairs, port=0)
    server.save(RATER, 0, "left", 1.0)
    server.server_close()
    again = write_pairs(pairs.folder, paint_grey, dl)
    assert again.digest == pairs.digest and len(read_answers(again)) == 1


def test_other_pairs_move_the_old_ones_away_with_their_answers(pairs, dl):
    digest = pairs.digest
    server = TestServer(pairs, port=0)
    server.save(RATER, 0, "left", 1.0)
    server.server_close()
    fresh = write_pairs(pairs.folder, lambda L: color.lab_to_rgb(L, torch.full((1, 2, 32, 32), 0.2)), dl)
    assert fresh.folder == pairs.folder and fresh.digest != digest and read_answers(fresh).empty
    kept = PairList(pairs.folder.with_name(f"human_test-{digest}"))
    assert kept.digest == digest and len(read_answers(kept)) == 1


# --- the server ----------------------------------------------------------------------------------------------------


@pytest.fixture
def server(pairs):
    server = TestServer(pairs, port=0)
    Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def get(server: TestServer, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}{path}") as answer:
        return answer.read()


def post(server: TestServer, **answer) -> dict:
    url, body = f"http://127.0.0.1:{server.server_port}/answer", json.dumps(answer).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as reply:
        return json.loads(reply.read())


def test_a_rater_sees_every_pair_once_and_goes_on_where_the_page_was_closed(server, pairs):
    rater = json.loads(get(server, "/rater"))["rater"]
    assert rater != json.loads(get(server, "/rater"))["rater"]
    seen = []
    for number in range(PAIRS):
        shown = json.loads(get(server, f"/next?rater={rater}"))
        assert shown == json.loads(get(server, f"/next?rater={rater}"))  # a reload shows the same pair
        assert shown["pair"] == number and "fake" not in json.dumps(shown)
        row = pairs.table.iloc[number]
        assert {shown["left"], shown["right"]} == {row.truth, row.fake} and shown[row.fake_side] == row.fake
        assert get(server, f"/{shown['left']}").startswith(b"\x89PNG")
        reply = post(server, rater=rater, pair=number, answer="left", seconds=0.5)
        expected = {"right": row.fake_side == "left", "fake_side": row.fake_side} if row.kind == "practice" else {}
        assert reply == expected  # only practice tells
        assert len(read_answers(pairs)) == number + 1  # saved before the next pair is asked for
        seen.append((shown["practice"], shown["number"], shown["of"]))
    assert seen == [(True, k, 10) for k in range(1, 11)] + [(False, k, 44) for k in range(1, 45)]
    assert json.loads(get(server, f"/next?rater={rater}")) == {"done": True}
    answers = read_answers(pairs)
    assert (answers.right == (answers.fake_side == "left")).all() and (answers.rater == rater).all()


@pytest.mark.parametrize(
    "answer",
    [
        {"rater": "../../etc", "pair": 0, "answer": "left", "seconds": 1},
        {"rater": RATER, "pair": 1, "answer": "left", "seconds": 1},  # not the next one
        {"rater": RATER, "pair": 0, "answer": "both", "seconds": 1},
        {"rater": RATER, "pair": "0", "answer": "left", "seconds": 1},
        {"rater": RATER, "pair": 0, "answer": "left", "seconds": "long"},
        {"rater": RATER, "answer": "left"},
    ],
)
def test_what_is_no_answer_is_refused_and_not_saved(server, pairs, answer):
    with pytest.raises(urllib.error.HTTPError) as error:
        post(server, **answer)
    assert error.value.code == 400
    assert read_answers(pairs).empty and not pairs.answers.exists()


@pytest.mark.parametrize("path", ["/pairs.csv", "/../pairs.csv", "/answers/x.csv", "/pictures/nothing.png"])
def test_nothing_but_the_pictures_of_the_pairs_is_served(server, path):
    with pytest.raises(urllib.error.HTTPError) as error:
        get(server, path)
    assert error.value.code == 404


def test_it_listens_on_this_machine_alone(pairs):
    server = TestServer(pairs, port=0)
    assert server.server_address[0] == "127.0.0.1"
    server.server_close()


def test_the_command_without_pairs_says_how_to_make_them(tmp_path, capsys):
    assert main(["human-test", str(tmp_path)]) == 1
    assert "pairs.csv does not exist: notebook 06 draws the pairs" in capsys.readouterr().err


def test_the_command_names_a_port_that_is_taken(server, pairs, capsys):
    assert main(["human-test", str(pairs.folder), "--port", str(server.server_port)]) == 1
    assert f"port {server.server_port} of 127.0.0.1 cannot be used" in capsys.readouterr().err


# --- the page ------------------------------------------------------------------------------------------------------


@pytest.fixture
def page(chromium, server):
    """The page at the width of a phone, its clock sped up; any request to elsewhere fails the test."""
    context = chromium.new_context(viewport={"width": 375, "height": 667})
    page = context.new_page()
    elsewhere, errors = [], []
    origin = f"http://127.0.0.1:{server.server_port}/"
    page.on("request", lambda request: request.url.startswith((origin, "data:")) or elsewhere.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: message.type == "error" and errors.append(message.text))
    page.clock.install()
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


def test_from_start_to_saved_csv_in_a_browser(page, server, pairs):
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
        if number == 4:  # closed, and opened again in the same browser
            page.locator("#status").filter(has_text="6 of 10").wait_for()
            page.reload()
            page.get_by_role("button", name="Start").click()
    page.get_by_text("That was the last pair").wait_for()
    answers = read_answers(pairs)
    assert answers.pair.tolist() == list(range(PAIRS)) and answers.rater.nunique() == 1
    assert answers.answer.tolist() == ["right" if number % 2 else "left" for number in range(PAIRS)]
    assert (answers.right == (answers.answer == table.fake_side)).all()
    assert fooled_rate(answers) is None or 0 <= fooled_rate(answers).rate <= 1


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
    assert found.raters == 25 and found.answers == 1000 and found.inattentive == 0
    assert found.rate == pytest.approx(0.3, abs=0.04) and found.low < 0.3 < found.high
    assert len(found.photographs) == 40
    assert "fooled: " in found.summary() and "25 raters" in found.summary()
    json.dumps(found.as_numbers())


def test_raters_who_differ_widen_the_interval():
    alike = fooled_rate(answers_of({f"r{k}": (0.5, 0.0) for k in range(10)}))
    unlike = fooled_rate(answers_of({f"r{k}": (k % 2 * 1.0, 0.0) for k in range(10)}))
    assert unlike.rate == pytest.approx(0.5)
    assert unlike.high - unlike.low > 2 * (alike.high - alike.low)


def test_inattentive_raters_are_left_out_and_counted():
    found = fooled_rate(answers_of({"good": (0.0, 0.0), "careless": (1.0, 1.0)}))
    assert found.rate == 0 and found.raters == 1 and found.inattentive == 1
    assert "1 more left out as inattentive" in found.summary()


def test_without_answers_there_is_no_rate(pairs):
    assert fooled_rate(read_answers(pairs)) is None
    practice = answers_of({"r": (0.5, 0.0)}).query("kind == 'practice'")
    assert fooled_rate(practice) is None


def test_a_file_that_holds_no_answers_is_named(pairs):
    pairs.answers.mkdir()
    (pairs.answers / "notes.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="notes.csv is no file of answers"):
        read_answers(pairs)


def test_answers_to_other_pairs_do_not_count(pairs):
    server = TestServer(pairs, port=0)
    server.digest = "of another list"
    server.save(RATER, 0, "left", 1.0)
    server.server_close()
    assert read_answers(pairs).empty
