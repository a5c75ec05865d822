"""Streams: the cache's pixels, batches that resume exactly and are shared by processes, and the command."""

import hashlib
import multiprocessing
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from pictures import photograph, save, save_photographs
from tiny_training import tiny_model, tiny_run

from colorize_lib import __main__ as command_line
from colorize_lib import files
from colorize_lib.data import streamed
from colorize_lib.data.cache import cached_photographs
from colorize_lib.data.loader import LabLoader, make_dataloaders
from colorize_lib.data.manifest import PhotoSet
from colorize_lib.data.sources import DataUnavailable
from colorize_lib.evaluation.metrics import validate
from colorize_lib.training.gan import MainModel
from colorize_lib.training.interrupts import TrainingInterrupted
from colorize_lib.training.loop import LoopConfig, train_model

SIZE, TRAIN, VAL, BATCH = 32, 25, 5, 4  # 6 training batches, and a photograph over


@pytest.fixture(scope="module")
def home(tmp_path_factory, find) -> Path:
    """A folder with photographs in it, and streams of them in files of about five."""
    home = tmp_path_factory.mktemp("home")
    for i in range(TRAIN + VAL):
        save(photograph(i, (80, 66)), home / "photos" / ("train" if i < TRAIN else "val") / f"photo-{i:03d}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streamed, "FILE_BYTES", 8_000)
        patch.setattr(streamed, "WINDOW", 3)
        patch.setattr(streamed, "AT_ONCE", 10)
        streamed.write_streams(find(home / "photos", home), home / "streams", SIZE)
    return home


@pytest.fixture
def loaders(home, find) -> tuple[LabLoader, LabLoader]:
    return make_dataloaders(find(home / "streams", home, source="streamed"), SIZE, BATCH, seed=5)


def epoch(loader: LabLoader, number: int, start: int = 0) -> list[str]:
    """A digest of each batch."""
    loader.set_epoch(number, start)
    return [hashlib.sha256(b["L"].numpy().tobytes() + b["ab"].numpy().tobytes()).hexdigest() for b in loader]


def test_streams_hold_the_pixels_of_the_cache_in_the_order_of_the_manifest(home, loaders, find):
    photos, streams = find(home / "photos", home), find(home / "streams", home, source="streamed")
    assert streams.digest() == photos.digest()
    pixels, split = cached_photographs(photos, SIZE, home), photos.usable.split
    for name, loader in zip(("train", "val"), loaders, strict=True):
        assert np.array_equal(loader.dataset.rgb(range(len(loader.dataset))), pixels[split == name])
    assert np.array_equal(loaders[0].dataset.rgb([9, 2, 9]), pixels[split == "train"][[9, 2, 9]])
    assert (loaders[0].train, loaders[1].train) == (True, False)
    assert len(list((home / "streams" / "train").glob("*.bin"))) == 9


def test_an_epoch_has_every_photograph_once_in_an_order_of_its_own(loaders):
    dataset = loaders[0].dataset
    orders = [dataset.shuffled(np.random.default_rng((5, number))) for number in range(4)]
    assert all(sorted(order) == list(range(TRAIN)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    files = np.repeat(np.arange(len(dataset.counts)), dataset.counts)
    assert all((np.diff(files[order]) != 0).mean() > 0.4 for order in orders)  # mixed, and not file after file


@pytest.mark.parametrize("start", [1, 4])
def test_an_epoch_resumed_in_the_middle_has_the_batches_that_are_left(loaders, start):
    whole = epoch(loaders[0], 3)
    assert len(set(whole)) == len(loaders[0]) == 6
    assert epoch(loaders[0], 3, start) == whole[start:]
    assert epoch(loaders[0], 4) != whole


def read_share(photos: PhotoSet, index: int, results) -> None:
    torch.set_num_threads(1)
    share = make_dataloaders(photos, SIZE, BATCH, seed=5)[0].share(index, 2)
    share.set_epoch(2, start=2)
    results.put((index, [batch["L"].numpy() for batch in share]))


def test_two_processes_have_the_two_halves_of_each_batch(home, loaders, find):
    photos = find(home / "streams", home, source="streamed")
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    for index in range(2):
        context.Process(target=read_share, args=(photos, index, results), daemon=True).start()
    shares = dict(results.get(timeout=60) for _ in range(2))
    loaders[0].set_epoch(2, start=2)
    for k, batch in enumerate(loaders[0]):
        for index in range(2):
            np.testing.assert_allclose(shares[index][k], batch["L"][index::2].numpy(), atol=1e-6)


def test_a_training_that_was_interrupted_goes_on_to_the_same_weights(home, loaders, tmp_path, monkeypatch):
    def train(folder: Path) -> tuple[MainModel, pd.DataFrame]:
        model = tiny_model()
        config = LoopConfig(log_every=2, show_at=(), checkpoint_minutes=60)
        return model, train_model(model, *loaders, 2, tiny_run(folder), validate, config)

    whole, history = train(tmp_path / "whole")
    step, steps = MainModel.step, []

    def stopping(self) -> None:
        step(self)
        steps.append(1)
        if len(steps) == 9:  # in the middle of the second epoch
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(MainModel, "step", stopping)
    with pytest.raises(TrainingInterrupted, match="after iteration 9, in epoch 2"):
        train(tmp_path / "parts")
    resumed, parts = train(tmp_path / "parts")
    assert len(steps) == 12
    pd.testing.assert_frame_equal(parts.drop(columns="seconds"), history.drop(columns="seconds"))
    assert all(map(torch.equal, whole.net_G.parameters(), resumed.net_G.parameters()))


def test_settings_that_streams_cannot_follow_are_errors(home, find):
    with pytest.raises(ValueError, match="are of 32 px, not 64: use size=32"):
        make_dataloaders(find(home / "streams", home, source="streamed"), 64)
    for settings in ({"n_images": 5}, {"manifest": str(home / "streams" / "manifest.csv")}):
        with pytest.raises(ValueError, match="holds a finished draw: set n_images=0"):
            find(home / "streams", home, source="streamed", **settings)
    with pytest.raises(DataUnavailable, match="holds no streams; make some with"):
        find(home / "photos", home, source="streamed")


def test_without_litdata_it_is_said_what_to_install(home, monkeypatch, find):
    monkeypatch.setitem(sys.modules, "litdata.streaming", None)
    with pytest.raises(ModuleNotFoundError, match=r"streams need the package litdata.*pip install -e \.\[scale\]"):
        make_dataloaders(find(home / "streams", home, source="streamed"), SIZE)


def test_the_command_leaves_whole_streams_or_none(tmp_path, monkeypatch, capsys, find):
    names = save_photographs(tmp_path / "photos", 5)
    monkeypatch.setattr(files, "DATA_DIR", tmp_path / "data")
    make = ["stream", str(tmp_path / "streams"), "--folder", str(tmp_path / "photos"), "--size", "16"]
    read_square = streamed.read_square

    def failing(path: Path, *rest) -> np.ndarray:
        return 1 / 0 if path.name == names[3] else read_square(path, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(streamed, "read_square", failing)
        with pytest.raises(ZeroDivisionError):
            command_line.main(make)
    assert not (tmp_path / "streams").exists()
    assert command_line.main(make) == 0
    assert "source=streamed" in capsys.readouterr().out
    assert len(find(tmp_path / "streams", tmp_path, source="streamed").usable) == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "photos", "streamed.lock", "streams"]
    assert command_line.main(make) == 1
    assert "is there already" in capsys.readouterr().err
