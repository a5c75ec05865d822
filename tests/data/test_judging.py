"""Validation photographs that settings are chosen on, and those that judge."""

import hashlib

import numpy as np
import pandas as pd
import pytest

from colorize_lib.data.judging import only, tune_or_judge
from colorize_lib.data.loader import ColorizationDataset, LabLoader
from colorize_lib.data.manifest import PhotoSet


def digest(k: int) -> str:
    return hashlib.sha256(str(k).encode()).hexdigest()


def part_of(numbers: list[int], part: str, tmp_path) -> set[int]:
    """The photographs that the loader of a part shows. Photograph k is of the level k; of the even ones 0 to 8 of 10
    validate, the odd ones train, and one in ten is unusable."""
    split = ["" if k % 10 == 9 else ("val", "train")[k % 2] for k in numbers]
    rows = {"path": [f"{k}.jpg" for k in numbers], "sha256": [digest(k) for k in numbers], "split": split}
    photos = PhotoSet(tmp_path, pd.DataFrame(rows), tmp_path / "manifest.csv")
    levels = photos.usable.path.str.removesuffix(".jpg").astype(int).to_numpy(np.uint8)
    pixels = np.broadcast_to(levels[:, None, None, None], (len(levels), 4, 4, 3))
    val = np.flatnonzero(photos.usable.split == "val")
    val_dl = LabLoader(ColorizationDataset(np.array(pixels), val), 3, train=False, labels=levels[val])
    found = only(val_dl, photos, part)
    shown = [label for batch in found for label in batch["label"].tolist()]
    assert found.dataset.rgb(range(len(found.dataset)))[:, 0, 0, 0].tolist() == shown
    return set(shown)


def test_a_third_is_to_tune_on():
    parts = [tune_or_judge(digest(k)) for k in range(3000)]
    assert set(parts) == {"tune", "judge"}
    assert parts.count("tune") == pytest.approx(1000, abs=100)


def test_every_validation_photograph_is_in_the_loader_of_one_part_whatever_its_place(tmp_path):
    numbers = list(range(40))
    tune, judge = (part_of(numbers, part, tmp_path) for part in ("tune", "judge"))
    assert not tune & judge and tune | judge == set(range(0, 40, 2))
    assert part_of(numbers[::-1], "tune", tmp_path) == tune
    assert part_of(numbers[:20], "judge", tmp_path) == judge & set(range(20))


def test_an_empty_part_is_an_error(tmp_path):
    alone = next(k for k in range(0, 40, 2) if tune_or_judge(digest(k)) == "judge")
    with pytest.raises(ValueError, match="none of the 1 validation photographs is in the part 'tune'"):
        part_of([alone], "tune", tmp_path)
