"""Checkpoints: which are kept, what is read when one is damaged, and that nothing in them is executed."""

import hashlib
import json
import os
import pickle
import random
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from colorize_lib.models.weights import CheckpointError, note_digest, read_checkpoint
from colorize_lib.training.checkpoints import Checkpoints, set_state, state_of
from colorize_lib.training.trainable import TrainableModel

NOTHING = TrainableModel(None)  # a model without networks and optimisers


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def state(k: int) -> dict:
    return state_of(NOTHING) | {"networks": {"net_G": {"weight": torch.full((50,), float(k))}}}


@pytest.fixture
def kept(tmp_path) -> Checkpoints:
    """Three epochs, of which the second was the best."""
    checkpoints = Checkpoints(tmp_path)
    for k in (1, 2, 3):
        checkpoints.save(k, 0, state(k), {"best_L1": 1 / k}, best=k == 2)
    return checkpoints


def test_the_newest_two_and_the_best_are_kept(kept):
    epochs = [f"epoch-{k:05d}-batch-0000000" for k in (2, 3)]
    assert names(kept.folder) == [f"best-{epochs[0]}", *epochs]
    kept.save(4, 0, state(4), {"best_L1": 0.1})
    assert read_checkpoint(kept.folder / f"best-{epochs[0]}")[1]["best_L1"] == 0.5
    kept.save(4, 7, state(5), {}, best=True)
    assert names(kept.folder) == [
        "best-epoch-00004-batch-0000007", "epoch-00004-batch-0000000", "epoch-00004-batch-0000007"
    ]  # fmt: skip


def test_the_best_is_kept_where_there_are_no_hard_links(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", Mock(side_effect=OSError))
    Checkpoints(tmp_path).save(1, 0, state(1), {}, best=True)
    assert read_checkpoint(tmp_path / "best-epoch-00001-batch-0000000")[1]["epoch"] == 1


def flip(state: Path) -> None:
    content = bytearray(state.read_bytes())
    content[len(content) // 2] ^= 1
    state.write_bytes(content)


DAMAGES = {
    "truncate": lambda state: os.truncate(state, state.stat().st_size // 2),
    "flip": flip,
    "no json": lambda state: (state.parent / "checkpoint.json").unlink(),
    "no state": Path.unlink,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_corrupt_newest_checkpoint_falls_back_to_the_one_before(kept, damage):
    DAMAGES[damage](kept.folder / "epoch-00003-batch-0000000" / "state.pt")
    with pytest.warns(UserWarning, match="epoch-00003-batch-0000000 is corrupt.*falling back"):
        loaded, note = kept.load()
    assert note["epoch"] == 2 and (loaded["networks"]["net_G"]["weight"] == 2).all()
    assert [name for name in names(kept.folder) if name.startswith("corrupt-epoch-00003")]


def test_if_every_checkpoint_is_corrupt_that_is_an_error(kept):
    for path in kept.folder.glob("epoch-*/state.pt"):
        path.write_bytes(b"")
    with pytest.warns(UserWarning), pytest.raises(CheckpointError, match="every checkpoint in .* is corrupt"):
        kept.load()


@pytest.mark.filterwarnings("ignore:checkpoint")
def test_after_the_newest_two_the_best_is_tried_and_a_second_call_does_not_start_anew(kept):
    for path in kept.folder.glob("epoch-*"):
        (path / "state.pt").write_bytes(b"")  # the best one's file is a hard link to one of them
    best = next(kept.folder.glob("best-*"))
    torch.save(state(2), best / "new.pt")
    (best / "state.pt").unlink()
    (best / "new.pt").rename(best / "state.pt")
    note = json.loads((best / "checkpoint.json").read_text())
    note["sha256"] = hashlib.sha256((best / "state.pt").read_bytes()).hexdigest()
    note["note_sha256"] = note_digest(note)
    (best / "checkpoint.json").write_text(json.dumps(note))
    assert kept.load()[1]["epoch"] == 2
    (best / "state.pt").write_bytes(b"")
    for _ in range(2):  # the second call finds none but those that were set aside
        with pytest.raises(CheckpointError, match="every checkpoint in .* is corrupt; delete the folder"):
            kept.load()


@pytest.mark.parametrize(("change", "reason"), [({"best_L1": 0}, "is not what was written"), ({"epoch": 9}, "another")])
def test_a_note_that_was_changed_or_is_of_another_checkpoint_is_corrupt(kept, change, reason):
    path = kept.folder / "epoch-00003-batch-0000000"
    note = json.loads((path / "checkpoint.json").read_text()) | change
    if "epoch" in change:
        note["note_sha256"] = note_digest(note)
    (path / "checkpoint.json").write_text(json.dumps(note))
    with pytest.raises(CheckpointError, match=reason):
        read_checkpoint(path)


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(kept, monkeypatch):
    def full_disk(_, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    before = names(kept.folder)
    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(torch, "save", full_disk)
        kept.save(4, 0, state(4), {})
    assert [name for name in names(kept.folder) if not name.startswith(".")] == before
    assert kept.load()[1]["epoch"] == 3 and names(kept.folder) == before


class Bomb:
    def __reduce__(self):
        return print, ("executed",)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_no_pickled_code_is_executed(kept, capsys):
    folder = kept.folder / "epoch-00003-batch-0000000"
    (folder / "state.pt").write_bytes(pickle.dumps(Bomb()))
    note = json.loads((folder / "checkpoint.json").read_text())
    note["sha256"] = hashlib.sha256((folder / "state.pt").read_bytes()).hexdigest()
    (folder / "checkpoint.json").write_text(json.dumps(note))
    with pytest.raises(CheckpointError, match="corrupt"):
        read_checkpoint(folder)
    assert "executed" not in capsys.readouterr().out


def test_the_state_of_every_random_generator_comes_back_from_a_file(kept):
    def draw() -> tuple:
        return random.random(), np.random.random(), torch.rand(1).item()

    kept.save(9, 0, state(9), {})
    expected = draw()
    assert draw() != expected
    set_state(NOTHING, kept.load()[0])
    assert draw() == expected


def test_a_full_disk_is_named_with_what_is_needed(kept, monkeypatch):
    def full(*_, **__):
        raise RuntimeError("[enforce fail at inline_container.cc:672] . PytorchStreamWriter failed writing file data/0")

    monkeypatch.setattr(torch, "save", full)
    big = {"networks": {"net_G": {"weight": torch.zeros(500_000)}}}
    with pytest.raises(OSError, match=r"No space left on device for .*state\.pt: it takes 2\.0 MB, and .* MB are free"):
        kept.save(4, 0, big, {})
