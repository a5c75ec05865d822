"""What may be asked of a belief: colours of one's own, several answers, and where it is a guess."""

import numpy as np
import pytest
import torch
from pictures import grey_photograph, photograph, save
from PIL import Image

from colorize_lib.__main__ import main
from colorize_lib.color import rgb_to_lab
from colorize_lib.colorizing.batch import plan
from colorize_lib.colorizing.colorizer import Colorizer
from colorize_lib.colorizing.steering import as_map, directions, expected_error, pull, shares, wanted
from colorize_lib.data.shipped import package_photographs
from colorize_lib.models import GeneratorConfig, build_generator
from colorize_lib.models.distribution import ColourDistribution, bin_centres
from colorize_lib.models.light import LightConfig, build_light
from colorize_lib.models.weights import save_weights

SMALL = GeneratorConfig("unet", size=32, n_down=5, num_filters=4)


@pytest.fixture(scope="module")
def shipped() -> Colorizer:
    return Colorizer.load(device="cpu")


@pytest.fixture(scope="module")
def head() -> ColourDistribution:
    return ColourDistribution(4)  # its prior is uniform, so that beliefs are the softmax of the logits


def ab_of(picture: Image.Image) -> np.ndarray:
    """(H*W,2) in Lab units."""
    lab = rgb_to_lab(torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)[None])
    return lab[0, 1:].flatten(1).T.numpy()


# --- palette and reference -----------------------------------------------------------------------------------------


def test_a_palette_is_the_shares_of_its_colours():
    navy, grey = "#203a5c", "#808080"
    one, two = wanted(navy), wanted(f"{navy}, {grey}")
    assert one.sum() == pytest.approx(1) and two.sum() == pytest.approx(1)
    torch.testing.assert_close(two, (one + wanted([grey])) / 2)
    centre = (one[:, None] * bin_centres()).sum(dim=0).numpy()
    np.testing.assert_allclose(centre, ab_of(Image.new("RGB", (1, 1), navy))[0], atol=4)
    torch.testing.assert_close(wanted(None, Image.new("RGB", (9, 7), navy)), one, rtol=0, atol=1e-3)
    torch.testing.assert_close(wanted(grey, one), (one + wanted(grey)) / 2)
    assert wanted(None) is None


def test_the_pull_is_the_correction_for_other_shares_written_out(head):
    torch.manual_seed(0)
    logits, to = torch.randn(1, 261, 3, 2), torch.rand(261).softmax(dim=0)
    belief = head.belief(logits, 0.0, 1.0)  # the whole of vividness 1
    pulled = belief * (to / (belief.mean(dim=(0, 2, 3)) + 1e-3) + 1e-2)[:, None, None]
    found = head.belief(pull(head, logits, 1.0, like=to), 0.0, 1.0)
    torch.testing.assert_close(found, pulled / pulled.sum(dim=1, keepdim=True))
    assert torch.equal(pull(head, logits, 1.0, like=to, strength=0), logits) and pull(head, logits, 1.0) is logits


def test_colours_come_nearer_to_a_palette_the_more_the_stronger(shipped):
    picture, palette = Image.open(package_photographs()["grace_hopper"]).resize((96, 120)), "#203a5c,#7a2a1e"
    goals = np.concatenate([ab_of(Image.new("RGB", (1, 1), colour)) for colour in palette.split(",")])
    painted = [shipped(picture, palette=palette, strength=strength) for strength in (0, 0.5, 1)]
    away = [np.linalg.norm(ab_of(one)[:, None] - goals, axis=2).min(axis=1).mean() for one in painted]
    assert away[0] > away[1] > away[2] and away[2] < 0.6 * away[0]
    assert painted[0] == shipped(picture)
    believed = shipped.believe(picture)
    assert shipped.read(picture, believed, palette=palette.split(",")) == painted[2]


def test_colours_come_nearer_to_a_reference(shipped, tmp_path):
    picture, like = photograph(2), save(Image.new("RGB", (64, 64), "#2f6b3a"), tmp_path / "like.png")

    def away(painted: Image.Image) -> float:
        ab = torch.from_numpy(ab_of(painted).T[None, :, :, None] / 110)
        return (shares(ab) - wanted(None, like)).abs().sum().item() / 2

    assert away(shipped(picture, like=like)) < 0.8 * away(shipped(picture))


# --- several answers -----------------------------------------------------------------------------------------------


def test_several_answers_prefer_hues_far_apart_and_follow_the_seed(shipped):
    picture, before = photograph(2), torch.get_rng_state()
    first, again, other = (np.stack(shipped(picture, samples=4, seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert (first == again).all() and (first != other).any() and len(first) == 4
    means = np.stack([ab_of(Image.fromarray(one)).mean(axis=0) for one in first])
    gaps = np.linalg.norm(means[:, None] - means, axis=2)
    assert gaps[~np.eye(4, dtype=bool)].min() > 2 and gaps.max() > 8
    # Opposite preferences lie about the plain answer: the colour of the whole moves, and not that of single pixels.
    torch.manual_seed(3)
    tilt = directions(2)[:, :, 0, 0]
    torch.testing.assert_close(tilt[0], -tilt[1])
    assert (tilt / bin_centres().norm(dim=1).clamp(min=1)).abs().max() == pytest.approx(3 / 110, rel=0.02)
    assert not directions(1).any()


def test_samples_of_a_pulled_picture_differ_and_keep_to_the_palette(shipped):
    plain, pulled = (
        [ab_of(one).mean(axis=0) for one in shipped(photograph(2), samples=2, seed=0, palette=palette)]
        for palette in (None, "#203a5c")
    )
    assert np.linalg.norm(pulled[0] - pulled[1]) > 0.5
    assert max(b for _, b in pulled) < min(b for _, b in plain)  # bluer


# --- what is a guess -----------------------------------------------------------------------------------------------


def test_the_expected_error_follows_the_spread_of_the_bins_and_the_map_gives_it_back(head):
    here, there = (torch.nonzero((bin_centres() == torch.tensor(at)).all(dim=1)).item() for at in ([0, 0], [30, 40]))
    logits = torch.full((1, 261, 1, 2), -99.0)
    logits[0, here] = 0
    logits[0, there, 0, 1] = 0
    found = expected_error(head, logits)[0, 0, 0].numpy()
    np.testing.assert_allclose(found, [0, 1.5 * 25 - 8.1], atol=1e-3)  # the points are 50 apart
    assert np.asarray(as_map(np.array([[0.0, 25.0, 90.0]]))).tolist() == [[255, 130, 0]]


def test_certainty_has_the_photographs_size_and_is_finite(shipped):
    picture = photograph(2, (150, 90))
    found = shipped.certainty(picture)
    assert found.shape == (90, 150) and found.dtype == np.float32 and 0 <= found.min() < found.max() < 80
    assert (found == shipped.certainty(picture, shipped.believe(picture))).all()


# --- the command ---------------------------------------------------------------------------------------------------


def test_the_command_pulls_and_writes_a_map_that_no_later_call_colours(shipped, tmp_path, capsys):
    path, like = save(photograph(2), tmp_path / "a.jpg"), save(photograph(4), tmp_path / "like" / "b.png")
    options = ["colorize", str(path), "--device", "cpu", "--like", str(like), "--palette", "#203a5c"]
    assert main([*options, "--strength", "0.7", "--certainty"]) == 0
    expected = shipped(path, palette="#203a5c", like=like, strength=0.7)
    shown = np.asarray(Image.open(tmp_path / "a_color.jpg"), dtype=int)
    assert abs(shown - np.asarray(expected, dtype=int)).mean() < 3  # but for JPEG
    found = np.asarray(Image.open(tmp_path / "a_color-certainty.png"))
    assert (found == np.asarray(as_map(shipped.certainty(path)))).all()
    assert [source.name for source, _ in plan([tmp_path], None).pairs] == ["a.jpg", "b.png"]
    assert capsys.readouterr().out.startswith("2 written")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--palette", ""], "palette '': give colours as #rrggbb"),
        (["--palette", "#203a5c,red"], "palette '#203a5c,red': give colours as #rrggbb"),
        (["--like", "nowhere.jpg"], "the reference nowhere.jpg: unreadable: No such file"),
        (["--like", "text.jpg"], "the reference text.jpg: not decodable"),
        (["--like", "grey.png"], "the reference grey.png is grey: give a picture that has colours"),
        (["--palette", "#203a5c", "--strength", "-1"], "strength -1.0 must be at least 0"),
        (
            ["--weights", "unet.safetensors", "--palette", "#203a5c"],
            "no hints, palette, reference or certainty: this generator paints no dist",
        ),
        (
            ["--weights", "unet.safetensors", "--certainty"],
            "no hints, palette, reference or certainty: this generator paints no distribution",
        ),
        (["--weights", "light.safetensors", "--samples", "2"], "gives one colouring: it has no dropout, and paints no"),
    ],
)
def test_bad_input_is_one_sentence_before_any_work(options, reason, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save(photograph(), tmp_path / "a.png")
    save(grey_photograph(), tmp_path / "grey.png")
    (tmp_path / "text.jpg").write_text("no picture")
    save_weights(build_generator(SMALL), tmp_path / "unet.safetensors", {"generator": vars(SMALL)})
    light = LightConfig(size=32, head="ab", widths=(8, 8, 8))
    save_weights(build_light(light, "random"), tmp_path / "light.safetensors", {"generator": vars(light)})
    assert main(["colorize", "a.png", "--device", "cpu", *options]) == 1
    told = capsys.readouterr()
    assert told.out == "" and told.err.startswith("error: ") and reason in told.err and told.err.count("\n") == 1
    assert not (tmp_path / "a_color.png").exists()
