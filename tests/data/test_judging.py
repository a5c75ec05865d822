"""Validation photographs that settings are chosen on, and those that judge."""

import hashlib

import numpy as np
import pandas as pd
import pytest
import torch

from colorize_lib.data.judging import PARTS, only, tune_or_judge, val_positions
from colorize_lib.data.loader import ColorizationDataset, LabLoader
from colorize_lib.data.manifest import PhotoSet


def digest(k: int) -> str:
    return hashlib.sha256(str(k).encode()).hexdigest()


def photo_set(numbers: list[int], tmp_path) -> PhotoSet:
    """Photograph k has the content str(k); every other one trains, and one in ten is unusable."""
    split = ["" if k % 10 == 9 else ("val", "train")[k % 2] for k in numbers]
    rows = {"path": [f"{k}.jpg" for k in numbers], "sha256": [digest(k) for k in numbers], "split": split}
    return PhotoSet(tmp_path, pd.DataFrame(rows), tmp_path / "manifest.csv")


def test_a_third_is_to_tune_on():
    parts = [tune_or_judge(digest(k)) for k in range(3000)]
    assert set(parts) == set(PARTS)
    assert parts.count("tune") == pytest.approx(1000, abs=100)


def test_every_validation_photograph_is_in_one_part_whatever_its_place(tmp_path):
    def of(numbers: list[int], part: str) -> set[str]:
        photos = photo_set(numbers, tmp_path)
        val = photos.usable[photos.usable.split == "val"]
        return set(val.path.iloc[val_positions(photos, part)])

    numbers = list(range(40))
    tune, judge = (of(numbers, part) for part in PARTS)
    assert not tune & judge and tune | judge == {f"{k}.jpg" for k in range(0, 40, 2)}
    assert of(numbers[::-1], "tune") == tune
    assert of(numbers[:20], "judge") == judge & {f"{k}.jpg" for k in range(20)}


def test_a_part_has_a_loader_of_its_photographs(tmp_path):
    photos = photo_set(list(range(20)), tmp_path)
    pixels = np.stack([np.full((4, 4, 3), 10 * k, np.uint8) for k in range(len(photos.usable))])
    val_dl = LabLoader(ColorizationDataset(pixels, np.flatnonzero(photos.usable.split == "val")), 3, train=False)
    whole = torch.cat([batch["L"] for batch in val_dl])
    for part in PARTS:
        of_part = torch.cat([batch["L"] for batch in only(val_dl, photos, part)])
        assert torch.equal(of_part, whole[val_positions(photos, part)]) and 0 < len(of_part) < len(whole)


def test_an_unknown_and_an_empty_part_are_named(tmp_path):
    with pytest.raises(ValueError, match="'val' is unknown; choose one of tune, judge"):
        val_positions(photo_set([0, 2, 4], tmp_path), "val")
    alone = next(k for k in range(0, 40, 2) if tune_or_judge(digest(k)) == "judge")
    with pytest.raises(ValueError, match="none of the 1 validation photographs is in the part 'tune'"):
        val_positions(photo_set([alone], tmp_path), "tune")
