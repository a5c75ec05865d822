"""Colours that somebody points at: written, read, put where they belong, and refused in a sentence."""

import numpy as np
import pytest
import torch
from pictures import photograph, save
from PIL import Image

from colorize_lib.__main__ import main
from colorize_lib.color import rgb_to_ab, rgb_to_lab
from colorize_lib.colorizing.colorizer import Colorizer
from colorize_lib.colorizing.hints import parse, points, read_csv, suggest
from colorize_lib.data.shipped import package_photographs
from colorize_lib.models.distribution import ColourDistribution, bin_centres
from colorize_lib.models.weights import find_weights, read_generator

RED = "#c03028"


@pytest.fixture(scope="module")
def shipped() -> Colorizer:
    return Colorizer.load(device="cpu")


def ab_at(picture: Image.Image, x: int, y: int) -> np.ndarray:
    """In Lab units."""
    pixel = torch.tensor(picture.getpixel((x, y)), dtype=torch.uint8).reshape(1, 3, 1, 1)
    return rgb_to_lab(pixel)[0, 1:, 0, 0].numpy()


def test_a_hint_is_a_place_and_a_colour():
    assert parse("310, 120.5,#c03028") == (310, 120.5, RED)
    at, ab = points([(0, 0, RED), (3, 1, "#2040F0")], (4, 2))
    torch.testing.assert_close(at, torch.tensor([[[0.125, 0.25], [0.875, 0.75]]]))
    blue = torch.tensor([0x20, 0x40, 0xF0], dtype=torch.uint8).reshape(1, 3, 1, 1)
    torch.testing.assert_close(ab[0, 1], rgb_to_ab(blue)[0, :, 0, 0])


@pytest.mark.parametrize("head", ["", "x,y,colour\n", "\ufeff"])
def test_hints_are_read_from_a_file(head, tmp_path):
    (tmp_path / "hints.csv").write_text(head + "310,120,#c03028\n\n 5 , 6 , #00ff00\n", encoding="utf-8")
    assert read_csv(tmp_path / "hints.csv") == [(310, 120, RED), (5, 6, "#00ff00")]


def test_suggestions_are_the_likeliest_colours_of_a_place_each_unlike_the_others():
    head, L, logits = ColourDistribution(4), torch.zeros(1, 1, 8, 8), torch.zeros(1, 261, 2, 2)
    wanted = [(0.0, 0.0), (40.0, 20.0), (-30.0, 30.0)]
    for place, ab in enumerate([*wanted, (10.0, 0.0)]):  # the last one is too near to the first
        logits[0, bin_centres().tolist().index(list(ab)), 1, 0] = 9.0 - place if place < 3 else 8.9
    found = suggest(head, L, logits, (0.25, 0.9), 3)
    for colour, ab in zip(found, wanted, strict=True):
        shown = ab_at(Image.new("RGB", (1, 1), colour), 0, 0)
        np.testing.assert_allclose(shown, ab, atol=1.5)


def test_without_hints_it_paints_what_the_generator_alone_paints(shipped):
    alone = Colorizer(*read_generator(find_weights()), "cpu")
    assert shipped.hinting is not None and alone.hinting is None
    assert shipped(photograph(), hints=[]).tobytes() == alone(photograph()).tobytes()
    assert torch.equal(shipped.believe(photograph())[1], alone.believe(photograph())[1])


@pytest.mark.parametrize("colour", [RED, "#3050c0", "#308030"])
def test_a_hint_gives_its_place_its_colour(shipped, colour):
    picture, place = Image.open(package_photographs()["chelsea"]).resize((300, 300)), (150, 200)  # the cat's nose
    before, after = shipped(picture), shipped(picture, hints=[(*place, colour)])
    wanted = ab_at(Image.new("RGB", (1, 1), colour), 0, 0)
    off = [np.linalg.norm(ab_at(of, *place) - wanted) for of in (before, after)]
    assert off[1] < 15 and off[1] < off[0] / 2, off
    far = np.linalg.norm(ab_at(before, 280, 20) - ab_at(after, 280, 20))
    assert far < np.linalg.norm(ab_at(before, *place) - ab_at(after, *place))


def test_the_command_takes_hints_from_options_and_a_file(shipped, tmp_path):
    path = save(photograph(2), tmp_path / "a.png")
    (tmp_path / "hints.csv").write_text("x,y,colour\n70,60,#3050c0\n")
    options = ["--hint", "40,30,#c03028", "--hints", str(tmp_path / "hints.csv"), "--palette", "#203a5c"]
    assert main(["colorize", str(path), "--device", "cpu", *options]) == 0
    expected = shipped(path, hints=[(40, 30, RED), (70, 60, "#3050c0")], palette="#203a5c")
    assert (np.asarray(Image.open(tmp_path / "a_color.png")) == np.asarray(expected)).all()
    assert expected.tobytes() != shipped(path, palette="#203a5c").tobytes()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--hint", "310,120"], "hint '310,120': give a place in pixels and its colour, x,y,#rrggbb"),
        (["--hint", "here,there,#c03028"], "hint 'here,there,#c03028': give a place in pixels and its colour"),
        (["--hint", "1,2,red"], "'red' is no colour: write it as #rrggbb"),
        (["--hint", "1,2,"], "'' is no colour: write it as #rrggbb"),
        (["--hint", "96,3,#c03028"], "hint 96,3 lies outside of the photograph, which is 96 x 80 pixels"),
        (["--hint", "nan,3,#c03028"], "hint nan,3 lies outside of the photograph"),
        (["--hints", "nowhere.csv"], "hints nowhere.csv cannot be read (No such file or directory): give a file with"),
        (["--hints", "photo.png"], "hints photo.png cannot be read (it is no text): give a file with lines"),
        (["--hints", "empty.csv"], "empty.csv holds no hint: give lines x,y,#rrggbb"),
        (["--hints", "bad.csv"], "bad.csv: hint '1,2': give a place in pixels and its colour"),
        (["photo.png", "--hint", "1,2,#c03028"], "hints belong to one photograph, and these are 2: give one"),
        (["--weights", "alone.safetensors", "--hint", "1,2,#c03028"], "these weights take no hints: the shipped"),
    ],
)
def test_bad_hints_are_one_sentence(options, reason, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save(photograph(), tmp_path / "a.png")
    save(photograph(), tmp_path / "photo.png")
    (tmp_path / "empty.csv").write_text("x,y,colour\n")
    (tmp_path / "bad.csv").write_text("1,2\n")
    (tmp_path / "alone.safetensors").write_bytes(find_weights().read_bytes())
    assert main(["colorize", "a.png", *options, "--device", "cpu"]) == 1
    told = capsys.readouterr()
    lines = [line for line in told.err.splitlines() if line.startswith(("error: ", "failed: "))]
    assert len(lines) == 1 and reason in lines[0] and not list(tmp_path.glob("*_color.png"))
