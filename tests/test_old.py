"""Damage that old prints suffer does what its name says, and a report of it can be read."""

import importlib

import numpy as np
import pytest
import torch
from notebook_tools import ROOT

from colorize_lib import color
from colorize_lib.data.shipped import package_photographs
from colorize_lib.models.weights import find_weights, read_generator


@pytest.fixture
def old(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("old")


@pytest.fixture
def rgb() -> torch.Tensor:
    return torch.rand(1, 3, 32, 40, generator=torch.Generator().manual_seed(0))


def test_a_whole_picture_keeps_its_lightness(old, rgb):
    L, _ = color.normalize(color.rgb_to_lab(rgb))
    torch.testing.assert_close(old.damaged(rgb, old.WHOLE, old.DAMAGES[old.WHOLE]), L, atol=1e-3, rtol=0)


def test_each_damage_takes_something_away(old, rgb):
    grey = old.lightness(rgb)
    spread = {name: np.std(how(grey)) / grey.std() for name, how in old.DAMAGES.items()}
    assert spread["contrast of 40 %"] == pytest.approx(0.4, abs=0.01) and spread["faded, one side more"] < 0.7
    assert spread["blur, sigma 1.5 px"] < 0.5 and np.std(old.noisy(grey) - grey) == pytest.approx(0.06, abs=0.01)
    assert 0 < np.abs(old.as_jpeg(grey) - grey).mean() < 0.1


def test_films_see_what_their_colours_are(old):
    red, blue = (torch.tensor(one).view(1, 3, 1, 1).expand(1, 3, 8, 8) for one in ((1.0, 0, 0), (0, 0, 1.0)))
    seen = {name: [old.damaged(one, name, how).mean().item() for one in (red, blue)] for name, how in old.FILMS.items()}
    assert seen["orthochromatic film"][0] == -1 < seen["orthochromatic film"][1]
    assert seen["the green plate alone"] == [-1, -1]
    assert seen["a sepia scan"][0] > seen["a sepia scan"][1]  # red is lighter than blue, as to the eye


def test_photographs_and_plates_are_judged(old):
    net, _ = read_generator(find_weights(None))
    damages = {name: old.DAMAGES[name] for name in (old.WHOLE, "contrast of 40 %")}
    found = old.report(old.judged(net.eval(), list(package_photographs().values())[:2], damages, 64))
    assert (
        list(found) == ["grey", *damages, *(name + old.PLAIN for name in damages)]
        and found["grey"]["colorfulness"][0] < 1 < found[old.WHOLE]["colorfulness"][0]
    )
    assert found["contrast of 40 %"]["l1_ab_more"][0] == pytest.approx(
        found["contrast of 40 %"]["l1_ab"][0] - found[old.WHOLE]["l1_ab"][0]
    )
    flat, plain = (found["contrast of 40 %" + ending]["l1_ab"][0] for ending in ("", old.PLAIN))
    assert abs(flat - found[old.WHOLE]["l1_ab"][0]) < abs(plain - found[old.WHOLE + old.PLAIN]["l1_ab"][0])
    assert old.shown(found).count("\n") == 6
