"""Tar shards: made once and whole, read by several processes, the same photographs as in the folder they came from."""

import dataclasses
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import torch
import webdataset
from filelock import FileLock
from notebook_tools import ROOT
from pictures import photograph, save, save_photographs
from PIL import Image, JpegImagePlugin
from tiny_training import tiny_model, tiny_run

from colorize_lib import __main__ as command_line
from colorize_lib import files
from colorize_lib.data import shard_making, shard_stream
from colorize_lib.data.loader import LabLoader, make_dataloaders
from colorize_lib.data.manifest import PhotoConfig, PhotoSet, find_photographs
from colorize_lib.data.shard_loader import ShardLoader, make_shard_loaders
from colorize_lib.data.shard_making import make_shards
from colorize_lib.data.shards import ShardConfig, ShardSet, open_shards, write_index
from colorize_lib.data.shipped import showcase
from colorize_lib.evaluation import metrics
from colorize_lib.images import read_square
from colorize_lib.training.gan import MainModel
from colorize_lib.training.interrupts import TrainingInterrupted
from colorize_lib.training.loop import LoopConfig, train_model

SIZE, TRAIN, VAL, PER_SHARD = 32, 96, 18, 12  # 8 training shards, and 2 of which the second is half full
CONFIG = ShardConfig(SIZE, per_shard=PER_SHARD)
WITH_ROOT = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder with a folder of photographs in it, and shards of them."""
    home = tmp_path_factory.mktemp("home")
    for split, numbers in {"train": range(TRAIN), "val": range(TRAIN, TRAIN + VAL)}.items():
        for i in numbers:
            save(photograph(i, (80, 66)), home / "photos" / split / f"photo-{i:03d}.png")
    drawn = PhotoConfig(source="folder", folder=str(home / "photos"), n_images=0)
    make_shards(find_photographs(drawn, home / "data"), home / "shards", CONFIG, drawn, processes=1)
    return home


@pytest.fixture
def drawn(home) -> PhotoConfig:
    return PhotoConfig(source="folder", folder=str(home / "photos"), n_images=0)


@pytest.fixture
def photos(home, drawn) -> PhotoSet:
    return find_photographs(drawn, home / "data")


@pytest.fixture
def shards(home) -> ShardSet:
    return open_shards(home / "shards")


@pytest.fixture
def own(home, tmp_path) -> Path:
    """A copy of the shards, to damage."""
    return Path(shutil.copytree(home / "shards", tmp_path / "own"))


def squares(photos: PhotoSet, rows: pd.DataFrame) -> np.ndarray:
    """The photographs of these rows, resized: uint8 (N,SIZE,SIZE,3)."""
    return np.stack([read_square(photos.root / row.path, row.sha256, SIZE) for row in rows.itertuples()])


def identify(photos: PhotoSet, batches) -> list[list[str]]:
    """The paths of the photographs in each batch, mirrored or not. Each batch is {"L": (N,1,H,W), ...}."""
    usable = photos.usable
    rgb = squares(photos, usable).astype(np.float64)
    # The mean of each row of pixels stays when a picture is mirrored.
    known = torch.from_numpy(rgb.mean(axis=(2, 3)))  # (M,H)
    found = []
    for batch in batches:
        pixels = metrics.color.to_uint8(metrics.color.lab_to_rgb(batch["L"], batch["ab"])).double()
        distance = torch.cdist(pixels.mean(dim=(2, 3)), known)
        assert (distance.min(dim=1).values < 1e-3).all()
        found.append(list(usable.path[distance.argmin(dim=1).numpy()]))
    return found


def epoch(loader: ShardLoader, number: int = 0, start: int = 0) -> list[dict[str, torch.Tensor]]:
    loader.set_epoch(number, start)
    return list(loader)


def same(one: list[dict[str, torch.Tensor]], other: list[dict[str, torch.Tensor]]) -> bool:
    pairs = list(zip(one, other, strict=True))
    return all(torch.equal(a["L"], b["L"]) and torch.equal(a["ab"], b["ab"]) for a, b in pairs)


# --- making -----------------------------------------------------------------------------------------------------------


def test_shards_hold_the_pixels_of_the_folder_in_the_order_of_their_manifest(photos, shards):
    for split, count in (("train", TRAIN), ("val", VAL)):
        rows = shards.usable[shards.usable.split == split]
        stored = ShardLoader(shards, split, 4, train=False, workers=0).dataset
        assert len(stored) == shards.count(split) == count
        assert np.array_equal(stored.rgb(range(count)).numpy(), squares(photos, rows))
    with pytest.raises(IndexError, match="photograph 18 of 18"):
        stored.rgb([18])


def test_the_split_is_that_of_the_photographs_and_training_ones_are_shuffled(photos, shards):
    for split in ("train", "val"):
        mine, theirs = (s.usable[s.usable.split == split].path.tolist() for s in (shards, photos))
        assert sorted(mine) == sorted(theirs)
        assert (mine == theirs) == (split == "val")


def test_the_index_tells_counts_sizes_and_digests(home, shards):
    index = json.loads((home / "shards" / "index.json").read_text())
    assert index["splits"]["train"]["count"] == TRAIN
    assert [shard["count"] for shard in index["splits"]["val"]["shards"]] == [12, 6]
    for split in ("train", "val"):
        written = index["splits"][split]["shards"]
        assert [shard["name"] for shard in written] == [f"{split}/{i:06d}.tar" for i in range(len(written))]
        assert index["splits"][split]["bytes"] == sum(shard["bytes"] for shard in written)
        for shard in written:
            content = (home / "shards" / shard["name"]).read_bytes()
            assert (len(content), hashlib.sha256(content).hexdigest()) == (shard["bytes"], shard["sha256"])
    assert index["settings"]["shards"] == dataclasses.asdict(CONFIG)
    assert str(home) not in (home / "shards" / "index.json").read_text()
    assert sorted(path.name for path in (home / "shards").iterdir() if path.name != ".lock") == [
        "index.json",
        "manifest.csv",
        "train",
        "val",
    ]


def test_webdataset_by_itself_reads_them(home, photos, shards):
    dataset = webdataset.WebDataset(str(home / "shards" / "val" / "000000.tar"), shardshuffle=False).decode("rgb8")
    pictures = [sample["webp"] for sample in dataset]
    rows = photos.usable[photos.usable.split == "val"]
    assert np.array_equal(np.stack(pictures), squares(photos, rows[:PER_SHARD]))


@pytest.mark.parametrize("encoding", ["webp", "png", "jpeg"])
def test_encodings_are_lossless_or_nearly_so(encoding, photos, drawn, tmp_path):
    made = make_shards(photos, tmp_path / "shards", ShardConfig(SIZE, encoding), drawn, processes=1)
    stored = ShardLoader(made, "val", 4, train=False, workers=0).dataset.rgb(range(VAL)).numpy()
    true = squares(photos, photos.usable[photos.usable.split == "val"])
    error = np.abs(stored.astype(float) - true).mean()
    assert error == 0 if encoding != "jpeg" else 0 < error < 3
    with tarfile.open(tmp_path / "shards" / "val" / "000000.tar") as tar:
        assert tar.getnames()[:2] == [f"000000000.{encoding}", f"000000001.{encoding}"]
        image = Image.open(io.BytesIO(tar.extractfile("000000000." + encoding).read()))
    if encoding == "jpeg":
        assert JpegImagePlugin.get_sampling(image) == 0  # 4:4:4, chroma at full resolution
    assert ("lossless" in made.summary()) == (encoding != "jpeg")


def test_two_processes_make_the_same_files_as_one(photos, drawn, shards, tmp_path):
    assert make_shards(photos, tmp_path / "two", CONFIG, drawn, processes=2).shards == shards.shards


HALTING = """
import sys
from pathlib import Path
from colorize_lib.data import shard_making
from colorize_lib.data.manifest import PhotoConfig, find_photographs
from colorize_lib.data.shards import ShardConfig

photos, data, target, size, per_shard = sys.argv[1:]
read, names = shard_making.read_square, []

def halting(path, *rest):
    names.append(path)
    if len(names) == 30:  # in the middle of the third shard
        print("halted", flush=True)
        sys.stdin.read()
    return read(path, *rest)

shard_making.read_square = halting
drawn = PhotoConfig(source="folder", folder=photos, n_images=0)
config = ShardConfig(int(size), per_shard=int(per_shard))
shard_making.make_shards(find_photographs(drawn, Path(data)), Path(target), config, drawn, processes=1)
"""


def test_a_killed_run_goes_on_where_it_was(home, photos, drawn, shards, tmp_path, monkeypatch):
    target = tmp_path / "shards"
    arguments = [home / "photos", home / "data", target, SIZE, PER_SHARD]
    process = subprocess.Popen(
        [sys.executable, "-c", HALTING, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=WITH_ROOT,
    )
    while process.stdout.readline() not in ("halted\n", ""):
        pass
    process.kill()
    process.wait()
    finished = sorted(target.glob("*/*.tar"))
    assert [path.name for path in finished] == ["000000.tar", "000001.tar"]
    assert len(list(target.glob("*/.*.partial"))) == 1
    with pytest.raises(FileNotFoundError, match="not finished"):
        open_shards(target)
    before, names = [path.stat().st_mtime_ns for path in finished], []

    def counting(path, *rest):
        names.append(path)
        return read_square(path, *rest)

    monkeypatch.setattr(shard_making, "read_square", counting)
    made = make_shards(photos, target, CONFIG, drawn, processes=1)
    assert len(names) == TRAIN + VAL - 2 * PER_SHARD
    assert [path.stat().st_mtime_ns for path in finished] == before
    assert made.shards == shards.shards
    assert made.damaged() == []
    assert list(target.glob("*/.*.partial")) == []
    names.clear()
    make_shards(photos, target, CONFIG, drawn, processes=1)
    assert names == []  # all was there


def test_a_finished_shard_that_was_lost_is_made_again(photos, drawn, shards, own):
    index = json.loads((own / "index.json").read_text())
    written = [shard for split in ("train", "val") for shard in index["splits"][split]["shards"]]
    (own / "making.json").write_text(json.dumps({"settings": index["settings"], "shards": written}))
    (own / "index.json").unlink()
    (own / "train" / "000003.tar").unlink()
    with open(own / "val" / "000000.tar", "r+b") as file:
        file.truncate(1000)
    assert make_shards(photos, own, CONFIG, drawn, processes=1).damaged() == []


def test_shards_of_other_settings_are_not_mixed(photos, drawn, own):
    with pytest.raises(ValueError, match="There: size 32, not 64"):
        make_shards(photos, own, dataclasses.replace(CONFIG, size=64), drawn, processes=1)
    with pytest.raises(ValueError, match="There: seed 0, not 1"):
        make_shards(photos, own, CONFIG, dataclasses.replace(drawn, seed=1), processes=1)
    fewer = PhotoSet(photos.root, photos.manifest[2:], photos.path)
    with pytest.raises(ValueError, match="There: photographs "):
        make_shards(fewer, own, CONFIG, drawn, processes=1)


def test_a_folder_with_something_else_in_it_is_left_alone(photos, drawn, tmp_path):
    save_photographs(tmp_path, 2)
    with pytest.raises(ValueError, match=r"is not empty \(it holds photo-00.jpg\)"):
        make_shards(photos, tmp_path, CONFIG, drawn, processes=1)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_changed_photograph_is_named_and_leaves_no_index(processes, home, drawn, tmp_path):
    shutil.copytree(home / "photos", tmp_path / "photos")
    drawn = dataclasses.replace(drawn, folder=str(tmp_path / "photos"))
    photos = find_photographs(drawn, tmp_path / "data")
    save(photograph(500, (80, 66)), tmp_path / "photos" / "val" / "photo-100.png")
    with pytest.raises(ValueError, match=r"photo-100\.png is not the file of the manifest"):
        make_shards(photos, tmp_path / "shards", CONFIG, drawn, processes=processes)
    assert not (tmp_path / "shards" / "index.json").exists()


def test_two_runs_do_not_work_in_one_folder(photos, drawn, tmp_path):
    with FileLock(tmp_path / ".lock"), pytest.raises(RuntimeError, match="another process makes shards"):
        make_shards(photos, tmp_path, CONFIG, drawn, processes=1)


@pytest.mark.parametrize(
    "settings, words",
    [({"encoding": "gif"}, "webp, png, jpeg"), ({"quality": 0}, "quality is 0"), ({"size": 0}, "size is 0")],
)
def test_settings_that_make_no_sense_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        ShardConfig(**settings)


IDLE = """
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from os import getpid
from colorize_lib.data.shard_making import _start_process

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, _start_process, (context.Event(),)) as pool:
        print(pool.submit(getpid).result(), flush=True)
        time.sleep(60)
"""


def test_no_process_outlives_the_one_that_was_killed(tmp_path):
    (tmp_path / "idle.py").write_text(IDLE)
    process = subprocess.Popen([sys.executable, tmp_path / "idle.py"], stdout=subprocess.PIPE, text=True, env=WITH_ROOT)
    child = psutil.Process(int(process.stdout.readline()))
    process.kill()
    process.wait()
    assert psutil.wait_procs([child], timeout=10)[1] == []


# --- reading ----------------------------------------------------------------------------------------------------------


def test_an_epoch_of_two_ranks_and_two_workers_sees_every_photograph_once(photos, shards):
    seen = []
    for rank in range(2):
        loader = ShardLoader(shards, "train", 4, True, 7, workers=2).share(rank, 2)
        batches = epoch(loader, 3)
        assert len(batches) == len(loader) == TRAIN // 4
        assert all(len(batch["L"]) == 2 for batch in batches)
        seen += sum(identify(photos, batches), [])
    assert sorted(seen) == sorted(photos.usable[photos.usable.split == "train"].path)


@pytest.mark.parametrize("ranks, batch_size", [(3, 10), (2, 7), (5, 5)])
def test_ranks_have_as_many_batches_whatever_the_shards_are(ranks, batch_size, photos, shards):
    """96 photographs in batches of 10 are 9 batches: 6 photographs are left out, and none comes twice."""
    seen, lengths = [], set()
    for rank in range(ranks):
        loader = ShardLoader(shards, "train", batch_size, True, workers=0).share(rank, ranks)
        batches = epoch(loader)
        lengths.add(len(batches))
        seen += sum(identify(photos, batches), [])
    assert lengths == {TRAIN // batch_size}
    assert len(seen) == len(set(seen)) == TRAIN // batch_size * batch_size


def test_the_order_is_that_of_seed_and_epoch(photos, shards):
    def order(seed, number):
        return sum(identify(photos, epoch(ShardLoader(shards, "train", 8, True, seed, workers=0), number)), [])

    first = order(1, 0)
    assert order(1, 0) == first
    assert order(1, 1) != first
    assert order(2, 0) != first
    assert sorted(order(1, 1)) == sorted(first)


def test_every_epoch_has_an_order_of_the_shards_of_its_own(photos, shards, monkeypatch):
    """With one lane and no buffer, the order of the shards is all that changes."""
    monkeypatch.setattr(shard_stream, "LANES", 1)
    monkeypatch.setattr(shard_stream, "BUFFER", 1)
    loader = ShardLoader(shards, "train", PER_SHARD, True, workers=0)
    stored = shards.usable[shards.usable.split == "train"].path.tolist()
    orders = set()
    for number in range(4):
        batches = [
            [stored.index(path) // PER_SHARD for path in batch] for batch in identify(photos, epoch(loader, number))
        ]
        assert [len(set(batch)) for batch in batches] == [1] * 8
        orders.add(tuple(batch[0] for batch in batches))
    assert len(orders) == 4


def test_photographs_of_one_shard_do_not_stay_together(photos, shards, monkeypatch):
    """With one lane, a buffer of 40 and shards of 12, the first 16 photographs come from more than two shards."""
    monkeypatch.setattr(shard_stream, "LANES", 1)
    monkeypatch.setattr(shard_stream, "BUFFER", 40)
    order = sum(identify(photos, epoch(ShardLoader(shards, "train", 8, True, workers=0))), [])
    stored = shards.usable[shards.usable.split == "train"].path.tolist()
    assert len({stored.index(path) // PER_SHARD for path in order[:16]}) > 2


def test_the_number_of_workers_changes_nothing(shards):
    one, two, none = (epoch(ShardLoader(shards, "train", 8, True, 4, workers=n), 2) for n in (1, 2, 0))
    assert same(one, two)
    assert same(one, none)
    one, two = (epoch(ShardLoader(shards, "val", 4, False, workers=n)) for n in (1, 2))
    assert same(one, two)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("train", [True, False])
def test_an_epoch_can_begin_in_the_middle(train, workers, shards):
    loader = ShardLoader(shards, "train", 2, train, 1, workers=workers)  # 48 batches: a lane has two
    whole = epoch(loader, 5)
    for start in (1, 29, 48):
        assert same(epoch(loader, 5, start), whole[start:])
    assert len(list(loader)) == 48  # the next iteration begins at 0


def test_training_pictures_are_mirrored_half_the_time_and_otherwise_the_folders(photos, shards):
    rows = photos.usable[photos.usable.split == "train"]
    known = {pixels.tobytes() for pixels in squares(photos, rows)}
    straight = mirrored = 0
    for batch in epoch(ShardLoader(shards, "train", 8, True, workers=0)):
        pixels = metrics.color.to_uint8(metrics.color.lab_to_rgb(batch["L"], batch["ab"]))
        straight += sum(one.numpy().tobytes() in known for one in pixels)
        mirrored += sum(one.flip(1).numpy().tobytes() in known for one in pixels)
    assert straight + mirrored == TRAIN
    assert 25 < mirrored < 71  # 48 expected, standard deviation 4.9


@pytest.mark.parametrize("ranks", [1, 2])
def test_validation_batches_are_those_of_the_folder(ranks, home, photos, shards):
    _, whole = make_dataloaders(photos, SIZE, 4, data_dir=home / "data")
    for rank in range(ranks):
        cached = LabLoader(whole.dataset, 4, train=False, process_index=rank, num_processes=ranks)
        streamed = ShardLoader(shards, "val", 4, False, workers=2).share(rank, ranks)
        assert len(streamed) == len(cached) == 5
        assert same(list(streamed), list(cached))


def test_in_order_shows_every_training_photograph_as_it_is(photos, shards):
    loader = ShardLoader(shards, "train", 10, True, workers=0).in_order()
    assert [len(batch["L"]) for batch in loader] == [10] * 9 + [6]
    assert sum(identify(photos, loader), []) == shards.usable[shards.usable.split == "train"].path.tolist()


def test_reading_leaves_the_random_generators_alone(shards):
    """Dropout draws from torch's generator: a resumed run must find it as the run that was never stopped would."""
    before = torch.get_rng_state()
    epoch(ShardLoader(shards, "train", 8, True, workers=1))
    assert torch.equal(torch.get_rng_state(), before)


def test_no_more_is_read_ahead_than_the_shuffle_buffer_holds(shards, monkeypatch):
    monkeypatch.setattr(shard_stream, "LANES", 1)
    monkeypatch.setattr(shard_stream, "BUFFER", 3)
    read, count = shard_stream._read, 0

    def counting(*arguments):
        nonlocal count
        for file in read(*arguments):
            count += 1
            yield file

    monkeypatch.setattr(shard_stream, "_read", counting)
    batches = iter(ShardLoader(shards, "train", 4, True, workers=0))
    next(batches)
    assert 4 <= count <= 4 + 2 * 3
    next(batches)
    assert 8 <= count <= 8 + 2 * 3


def test_an_interrupt_does_not_reach_the_workers(shards):
    """Ctrl-C goes to all processes of a terminal, and training goes on to its next safe point."""
    batches = iter(ShardLoader(shards, "train", 2, True, workers=2))
    taken = [next(batches) for _ in range(4)]
    children = psutil.Process().children()
    assert len(children) >= 2
    for child in children:
        child.send_signal(signal.SIGINT)
    assert len(taken + list(batches)) == TRAIN // 2


# --- damage -----------------------------------------------------------------------------------------------------------


def test_a_truncated_shard_is_named_and_the_rest_is_used(photos, own):
    with open(own / "train" / "000005.tar", "r+b") as file:
        file.truncate(7000)
    (own / "train" / "000002.tar").unlink()
    shards = open_shards(own)
    with pytest.warns(UserWarning) as caught:
        loader = ShardLoader(shards, "train", 4, True, workers=0)
    said = [str(warning.message) for warning in caught]
    assert len(said) == 2
    assert "000002.tar is missing; its 12 photographs are left out" in said[0]
    assert "000005.tar has 7,000 bytes and not" in said[1]
    lost = shards.usable[shards.usable.split == "train"].path.tolist()
    lost = {*lost[24:36], *lost[60:72]}
    seen = sum(identify(photos, epoch(loader)), [])
    assert len(loader) == 18
    assert sorted(seen) == sorted(set(photos.usable[photos.usable.split == "train"].path) - lost)
    assert shards.damaged() == ["train/000002.tar", "train/000005.tar"]


def test_a_shard_that_breaks_while_it_is_used_is_named_and_no_batch_is_missing(photos, own):
    """Other processes of the run would wait for ever for a batch that does not come."""
    loader = ShardLoader(open_shards(own), "train", 4, True, workers=0)
    with open(own / "train" / "000005.tar", "r+b") as file:
        file.truncate(10_000)
    with pytest.warns(UserWarning, match=r"000005\.tar gave \d+ of \d+ photographs"):
        batches = epoch(loader)
    assert [len(batch["L"]) for batch in batches] == [4] * 24
    assert len(set(sum(identify(photos, batches), []))) < TRAIN


@pytest.mark.parametrize("split, train, left", [("train", True, 4), ("val", False, 3)])
def test_a_photograph_that_cannot_be_decoded_is_named(split, train, left, own):
    path = own / split / "000000.tar"
    with tarfile.open(path) as tar:
        member = tar.getmember("000000002.webp")
    with open(path, "r+b") as file:
        file.seek(member.offset_data)
        file.write(bytes(100))
    shards = open_shards(own)
    with pytest.warns(UserWarning, match=r"photograph 2 of shard \S+000000\.tar is left out"):
        batches = epoch(ShardLoader(shards, split, 4, train, workers=0))
    assert min(len(batch["L"]) for batch in batches[:4]) == left
    assert shards.damaged() == [f"{split}/000000.tar"]


def test_nothing_left_is_an_error_and_not_an_endless_search(own):
    loader = ShardLoader(open_shards(own), "train", 4, True, workers=0)
    for path in (own / "train").iterdir():
        path.write_bytes(b"")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(OSError, match="no photograph can be read of any shard"):
            next(iter(loader))
        with pytest.raises(ValueError, match="no whole shard is left for train"):
            ShardLoader(open_shards(own), "train", 4, True)


# --- in the place of other photographs --------------------------------------------------------------------------------


def test_a_notebook_uses_them_by_source_and_folder(home, photos):
    config = PhotoConfig(source="shards", folder=str(home / "shards"), n_images=0)
    found = find_photographs(config)
    train_dl, val_dl = make_dataloaders(found, SIZE, 4, 1, "cpu")
    assert isinstance(train_dl, ShardLoader)
    assert (train_dl.train, val_dl.train, train_dl.seed) == (True, False, 1)
    cached = make_dataloaders(photos, SIZE, 4, data_dir=home / "data")
    for name, scores in metrics.baselines(*cached).items():
        assert metrics.baselines(train_dl, val_dl)[name] == pytest.approx(scores, rel=1e-5)


def test_the_digest_is_of_the_photographs_and_of_what_is_kept_of_them(photos, drawn, shards, own, tmp_path):
    other = make_shards(photos, tmp_path / "png", dataclasses.replace(CONFIG, encoding="png"), drawn, processes=1)
    assert open_shards(own).digest() == shards.digest() != other.digest()
    (own / "train" / "000001.tar").unlink()  # a resumed run must find its checkpoints
    assert open_shards(own).digest() == shards.digest()


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"n_images": 50}, "hold 114 photographs: set n_images=0"),
        ({"manifest": "a.csv"}, "leave `manifest` empty"),
        ({"folder": ""}, "no folder of shards is given"),
    ],
)
def test_settings_that_shards_cannot_follow_are_errors(settings, words, home):
    config = {"source": "shards", "folder": str(home / "shards"), "n_images": 0}
    with pytest.raises(ValueError, match=words):
        find_photographs(PhotoConfig(**config | settings))
    assert find_photographs(PhotoConfig(**config | {"n_images": TRAIN + VAL})).count("val") == VAL


def test_the_showcase_holds_no_photograph_that_shards_of_the_sample_train_on(shards, tmp_path):
    settings = shards.settings | {"drawn": shards.settings["drawn"] | {"source": "sample"}}
    write_index(tmp_path, settings, shards.shards)
    config = PhotoConfig(source="shards", folder=str(tmp_path))
    assert torch.equal(showcase(config, 16)["L"], showcase(PhotoConfig(source="sample"), 16)["L"])
    assert len(showcase(config, 16)["L"]) == 2


def test_training_over_shards_can_be_stopped_and_gone_on_with(shards, tmp_path, monkeypatch):
    config = LoopConfig(log_every=2, show_at=(), checkpoint_minutes=60)

    def train(folder: Path) -> tuple[MainModel, pd.DataFrame]:
        model = tiny_model()
        train_dl, val_dl = make_shard_loaders(shards, SIZE, 8, seed=5, workers=1)
        return model, train_model(model, train_dl, val_dl, 2, tiny_run(folder), config)

    whole, history = train(tmp_path / "whole")
    assert len(history[history.kind == "epoch"]) == 2
    assert history.loss_G_L1.iloc[-1] < history.loss_G_L1.iloc[0]
    optimize, steps = MainModel.optimize, []

    def stopping(self) -> None:
        optimize(self)
        steps.append(1)
        if len(steps) == 17:  # of 24; in the middle of the second epoch
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(MainModel, "optimize", stopping)
    with pytest.raises(TrainingInterrupted, match="after iteration 17, in epoch 2"):
        train(tmp_path / "parts")
    resumed, parts = train(tmp_path / "parts")
    assert len(steps) == 24
    pd.testing.assert_frame_equal(parts.drop(columns="seconds"), history.drop(columns="seconds"))
    for one, other in zip(whole.net_G.parameters(), resumed.net_G.parameters(), strict=True):
        assert torch.equal(one, other)


# --- errors and the command -------------------------------------------------------------------------------------------


def test_without_webdataset_it_is_said_what_to_install(shards, monkeypatch):
    monkeypatch.setitem(sys.modules, "webdataset", None)
    with pytest.raises(ModuleNotFoundError, match=r"needs the package webdataset; .*\.\[scale\]"):
        make_shard_loaders(shards, SIZE)


def test_a_wrong_size_is_an_error_that_tells_both(shards):
    with pytest.raises(ValueError, match="are of 32 px, not 64: use size=32"):
        make_dataloaders(shards, 64)


def test_a_folder_without_shards_is_an_error(home, own, tmp_path):
    with pytest.raises(FileNotFoundError, match="has no index.json; make shards there with"):
        find_photographs(PhotoConfig(source="shards", folder=str(home / "photos")))
    (own / "index.json").write_text("{")
    with pytest.raises(ValueError, match=r"index\.json cannot be read"):
        open_shards(own)
    write_index(tmp_path, open_shards(home / "shards").settings, open_shards(home / "shards").shards)
    index = json.loads((tmp_path / "index.json").read_text()) | {"format": 99}
    (tmp_path / "index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="its format is 99, and this version reads 1"):
        open_shards(tmp_path)


def test_numbers_that_do_not_fit_are_errors(shards):
    with pytest.raises(ValueError, match="5 workers cannot share 24 lanes"):
        ShardLoader(shards, "train", 4, True, workers=5)
    with pytest.raises(ValueError, match="96 training photographs do not fill one batch of 97"):
        ShardLoader(shards, "train", 97, True)
    with pytest.raises(ValueError, match="a batch of 4 cannot be shared by 5 processes"):
        ShardLoader(shards, "train", 4, True).share(0, 5)


def test_the_command_makes_checks_and_goes_on(home, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(files, "DATA_DIR", tmp_path / "data")
    target = str(tmp_path / "shards")
    make = ["shards", target, "--folder", str(home / "photos"), "--size", "32", "--processes", "1"]
    assert command_line.main(make) == 0
    assert "114 photographs: 96 train, 18 val; 2 shards" in capsys.readouterr().out
    assert command_line.main(make) == 0
    assert command_line.main(["shards", target, "--check"]) == 0
    (Path(target) / "val" / "000000.tar").write_bytes(b"")
    assert command_line.main(["shards", target, "--check"]) == 1
    assert "missing or damaged: val/000000.tar" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--folder", "nowhere"], "nowhere does not exist"),
        (["--source", "shards", "--folder", "x"], "not made of shards"),
        (["--source", "sample", "--encoding", "gif"], "encoding 'gif' is unknown"),
        (["--source", "sample", "--processes", "0"], "give 1 or more"),
        (["--check"], "has no index.json"),
    ],
)
def test_the_command_tells_errors_in_one_line(arguments, words, tmp_path, capsys):
    assert command_line.main(["shards", str(tmp_path / "shards"), *arguments]) == 1
    said = capsys.readouterr().err
    assert words in said
    assert said.startswith("error: ")
    assert said.count("\n") == 1
