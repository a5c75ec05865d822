"""Scoring folders of pictures, from Python and from the command line."""

import json
import re
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import photograph, save
from PIL import Image

from colorize_lib import color
from colorize_lib.__main__ import main
from colorize_lib.data.loader import ColorizationDataset, LabLoader
from colorize_lib.evaluation.answers import paint_grey
from colorize_lib.evaluation.folders import NothingToScore, match_files, score_folders
from colorize_lib.evaluation.scores import evaluate
from colorize_lib.images import resize

KEYS = ["l1_ab", "psnr_rgb", "ssim_rgb", "ciede2000", "colorfulness", "colorfulness_truth"]
KEYS += ["colorfulness_gap_per_image", "auc", "auc_rebalanced"]


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    """Weights that are not at hand, whatever this machine has."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))


@pytest.fixture
def folders(tmp_path):
    """Twelve true photographs, and as many grey ones with a suffix and of another format and size."""
    truths, predictions = tmp_path / "truths", tmp_path / "predictions"
    for k in range(12):
        picture, name = photograph(k, (60, 50)), f"sub/photo_{k}" if k > 8 else f"photo_{k}"
        save(picture, truths / f"{name}.jpg", quality=95)
        save(picture.convert("L").convert("RGB").resize((80, 90)), predictions / f"{name}_grey.png")
    return predictions, truths


def test_files_are_matched_by_their_names(tmp_path):
    predictions, truths = tmp_path / "p", tmp_path / "t"
    for folder, names in {
        truths: ["a.jpg", "a_b.jpg", "c.png", "sub/a.jpg", "lone.png"],
        predictions: ["a_fake.png", "a_b_fake.png", "c.webp", "sub/a_x_y.jpg", "d_fake.png"],
    }.items():
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(b"")
    pairs, lone_predictions, lone_truths = match_files(predictions, truths)
    matched = {str(p.relative_to(predictions)): str(t.relative_to(truths)) for p, t in pairs}
    expected = {"a_fake.png": "a.jpg", "a_b_fake.png": "a_b.jpg"}  # the longest name that fits
    assert matched == expected | {"c.webp": "c.png", "sub/a_x_y.jpg": "sub/a.jpg"}
    assert lone_predictions == [predictions / "d_fake.png"] and lone_truths == [truths / "lone.png"]


def test_the_command_writes_every_figure_with_its_interval(folders, tmp_path, capsys):
    predictions, truths = folders
    file = tmp_path / "scores.json"
    assert main(["score", str(predictions), str(truths), "--size", "48", "--json", str(file)]) == 0
    report = json.loads(file.read_text())
    assert report["n"] == 12 and report["size"] == 48
    for key in KEYS:
        low, high = report[f"{key}_ci"]
        assert low <= report[key] <= high, key
    assert report["l1_ab_ci"][0] < report["l1_ab_ci"][1]
    assert report["colorfulness"] == pytest.approx(0, abs=0.1) and report["colorfulness_truth"] > 10
    assert "FID" not in report and report["fd_lite0"] > 0 and report["floor"].pop("fd_lite0") > 0
    assert report["grey"]["l1_ab"] == pytest.approx(report["l1_ab"], rel=0.05)  # grey pictures, judged beside grey
    assert report["grey"]["colorfulness_truth"] == report["colorfulness_truth"]
    assert set(report["floor"]) == {"intersection_a", "intersection_b"} and 0 < report["floor"]["intersection_a"] <= 1
    printed = capsys.readouterr().out
    assert "12 pictures at 48x48" in printed and f"{report['l1_ab']:.3f}" in printed
    assert "left out, FID" in printed and "fd_lite0" in printed


def test_a_folder_scores_as_the_same_pictures_do_in_memory(tmp_path):
    pixels = np.stack([resize(photograph(seed, (64, 64)), 48) for seed in range(5)])
    dl = LabLoader(ColorizationDataset(pixels), 2, train=False)

    def olive(L: torch.Tensor) -> torch.Tensor:
        return color.lab_to_rgb(L, torch.tensor([-0.1, 0.3])[None, :, None, None].expand(len(L), 2, 48, 48))

    painted = np.concatenate([color.to_uint8(olive(batch["L"])).numpy() for batch in dl])
    for k in range(len(pixels)):
        for folder, of in {"truths": pixels, "predictions": painted}.items():
            save(Image.fromarray(of[k]), tmp_path / folder / f"{k}.png")
    scores, _ = score_folders(tmp_path / "predictions", tmp_path / "truths", 48)
    expected = evaluate({"olive": olive, "grey": paint_grey}, dl)["olive"]
    totals = scores.totals.drop(columns="perceptual_lite0")
    np.testing.assert_allclose(totals, expected.totals, rtol=1e-4, atol=1e-3)


def test_unmatched_and_unreadable_files_are_named_and_the_rest_is_scored(folders, tmp_path, capsys):
    predictions, truths = folders
    (predictions / "photo_0_grey.png").write_bytes(b"<html>")
    photograph(1, (40, 40)).save(predictions / "stranger.png")
    (predictions / "photo_1_grey.png").unlink()
    assert main(["score", str(predictions), str(truths), "--size", "48", "--json", str(tmp_path / "s.json")]) == 0
    told = capsys.readouterr().err
    assert "1 without a truth" in told and "stranger.png" in told
    assert "1 without a prediction" in told and "photo_1.jpg" in told
    assert "skipped" in told and "photo_0_grey.png" in told
    assert json.loads((tmp_path / "s.json").read_text())["n"] == 10


def test_two_files_for_one_place_are_refused(folders):
    photograph(1, (40, 40)).save(folders[0] / "photo_2_other.png")
    with pytest.raises(NothingToScore, match="photo_2_grey.png and photo_2_other.png .* both belong to photo_2.jpg"):
        match_files(*folders)
    photograph(1, (40, 40)).save(folders[1] / "photo_2.png")
    with pytest.raises(NothingToScore, match="photo_2.jpg and photo_2.png .* have the same name"):
        match_files(*folders)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda p, t: (p.parent / "nowhere", t), "nowhere does not exist"),
        (lambda p, t: (t / "sub", p / "sub"), "no picture in .* has the name of one in"),
        (lambda p, t: (t, t / "." / "sub" / ".."), "is given for both"),
        (lambda p, t: (p, t, "--size", "4"), "--size 4"),
        (lambda p, t: (emptied(p), t), "not one pair of pictures could be read"),
    ],
)
def test_what_cannot_be_scored_is_an_error(folders, change, message, capsys):
    assert main(["score", *map(str, change(*folders))]) == 1
    assert re.search(f"^error: .*{message}.*\n\\Z", capsys.readouterr().err, re.MULTILINE)


def emptied(folder: Path) -> Path:
    for path in folder.rglob("*.png"):
        path.write_bytes(b"")
    return folder


def test_names_match_in_any_form_of_unicode(tmp_path):
    for folder, form in (("a", "NFC"), ("b", "NFD")):
        save(photograph(), tmp_path / folder / f"{unicodedata.normalize(form, 'Großmütter')}.png")
    (pair,), *lones = match_files(tmp_path / "a", tmp_path / "b")
    assert [path.parent.name for path in pair] == ["a", "b"] and lones == [[], []]
