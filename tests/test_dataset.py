"""The cache of decoded photographs, and the batches made from it."""

import functools
import shutil
import subprocess
import sys
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from threading import Timer

import numpy as np
import pytest
import torch
from pictures import photograph, save, save_photographs
from skimage.color import rgb2lab

from colorize_lib import files
from colorize_lib.color import lab_to_rgb, to_lab, to_uint8
from colorize_lib.data import cache, sources
from colorize_lib.data.cache import cached_photographs
from colorize_lib.data.loader import ColorizationDataset, LabLoader, make_dataloaders
from colorize_lib.data.manifest import PhotoConfig, PhotoSet, find_photographs
from colorize_lib.data.shipped import package_photographs, sample_split, showcase
from colorize_lib.images import read_rgb, resize

SIZE = 32  # of cached photographs
SIDE = 8  # of random pixels, where the size plays no part


def find(folder: Path, data: Path, **settings) -> PhotoSet:
    config = PhotoConfig(**({"source": "folder", "folder": str(folder), "n_images": 0} | settings))
    return find_photographs(config, data)


def decoded(photos: PhotoSet, size: int = SIZE) -> np.ndarray:
    """The photographs decoded and resized one by one: what the cache must hold."""
    files = [photos.root / path for path in photos.usable.path]
    return np.stack([resize(read_rgb(file.read_bytes())[0], size) for file in files])


@pytest.fixture
def data(tmp_path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def photos(tmp_path, data) -> PhotoSet:
    """Eleven usable photographs, one of them upright only by its EXIF orientation, and an unusable file."""
    save_photographs(tmp_path / "photos", 10)
    exif = read_rgb((tmp_path / "photos" / "photo-00.jpg").read_bytes())[0].getexif()
    exif[0x0112] = 8
    save(photograph(20, (200, 100)), tmp_path / "photos" / "turned.jpg", exif=exif)
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"")
    return find(tmp_path / "photos", data)


@pytest.fixture
def decodes(monkeypatch) -> list[str]:
    """The names of the files that are decoded for a cache from now on."""
    names, decode = [], cache.read_square

    def counting(path, *rest):
        names.append(path.name)
        return decode(path, *rest)

    monkeypatch.setattr(cache, "read_square", counting)
    return names


# --- the cache -----------------------------------------------------------------------------------------------------


def test_the_cache_holds_what_decoding_gives(photos, data):
    cache = cached_photographs(photos, SIZE, data)
    assert cache.shape == (11, SIZE, SIZE, 3)
    assert cache.dtype == np.uint8
    assert isinstance(cache, np.memmap)
    assert not cache.flags.writeable
    assert np.array_equal(cache, decoded(photos))
    assert np.ptp(cache.reshape(11, -1).astype(int), axis=1).min() > 50  # no row is left empty


def test_every_file_is_decoded_once(photos, data, decodes):
    cached_photographs(photos, SIZE, data)
    assert sorted(decodes) == sorted(photos.usable.path)
    cached_photographs(photos, SIZE, data)
    assert len(decodes) == 11
    cached_photographs(photos, 16, data)
    assert len(decodes) == 22


def test_nothing_but_the_cache_is_left_beside_it(photos, data):
    cached_photographs(photos, SIZE, data)
    assert sorted(path.suffix for path in (data / "cache").iterdir()) in ([".lock", ".npy"], [".npy"])


def test_other_photographs_have_a_cache_of_their_own(photos, data, tmp_path):
    first = cached_photographs(photos, SIZE, data)
    fewer = find(tmp_path / "photos", data, n_images=5)
    assert np.array_equal(cached_photographs(fewer, SIZE, data), decoded(fewer))
    assert np.array_equal(cached_photographs(photos, SIZE, data), first)


def test_a_copy_of_the_photographs_uses_the_same_cache(photos, data, tmp_path, decodes):
    cached_photographs(photos, SIZE, data)
    shutil.copytree(tmp_path / "photos", tmp_path / "elsewhere")
    moved = find(tmp_path / "elsewhere", data, manifest=str(photos.path))
    cached_photographs(moved, SIZE, data)
    assert len(decodes) == 11


def test_a_failed_building_goes_on_after_the_last_whole_chunk(photos, data, decodes, monkeypatch):
    monkeypatch.setattr(cache, "CHUNK", 4)
    spoilt = photos.root / photos.usable.path[6]  # in the second chunk
    whole = spoilt.read_bytes()
    spoilt.write_bytes(whole[:-1])
    with pytest.raises(ValueError, match=f"{spoilt.name} is not the file of the manifest"):
        cached_photographs(photos, SIZE, data)
    assert list((data / "cache").glob("*.npy")) == []
    spoilt.write_bytes(whole)
    decodes.clear()
    assert np.array_equal(cached_photographs(photos, SIZE, data), decoded(photos))
    assert sorted(decodes) == sorted(photos.usable.path[4:])


def test_a_lost_or_damaged_partial_file_is_built_anew(photos, data, monkeypatch):
    monkeypatch.setattr(cache, "CHUNK", 4)
    lost = photos.root / photos.usable.path[6]
    whole = lost.read_bytes()
    lost.unlink()
    with pytest.raises(FileNotFoundError, match=f"{lost.name} is in the manifest but not on the disk"):
        cached_photographs(photos, SIZE, data)
    lost.write_bytes(whole)
    [partial] = (data / "cache").glob("*.partial")
    partial.unlink()
    assert np.array_equal(cached_photographs(photos, SIZE, data), decoded(photos))


def test_names_the_file_that_the_manifest_calls_usable_but_is_not(photos, data):
    manifest = photos.manifest.copy()
    row = manifest.index[manifest.path == "broken.jpg"][0]
    manifest.loc[row, ["split", "reason"]] = ["train", ""]
    with pytest.raises(ValueError, match=r"broken\.jpg is usable by the manifest, but not decodable"):
        cached_photographs(PhotoSet(photos.root, manifest, photos.path), SIZE, data)


def free(monkeypatch, bytes_free: int) -> None:
    usage = namedtuple("usage", "total used free")(10**12, 0, bytes_free)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)


def test_says_how_much_disk_space_is_missing(photos, data, monkeypatch):
    free(monkeypatch, 10**7)
    with pytest.raises(OSError, match=r"needs 0\.1 GB in .*cache, and only 0\.0 GB are free"):
        cached_photographs(photos, 2048, data)
    assert list((data / "cache").glob("*.npy")) == list((data / "cache").glob("*.partial")) == []


def test_a_resumed_building_needs_only_the_space_of_what_is_missing(photos, data, monkeypatch):
    monkeypatch.setattr(cache, "CHUNK", 4)
    spoilt = photos.root / photos.usable.path[9]  # in the third chunk: eight are done
    whole = spoilt.read_bytes()
    spoilt.write_bytes(b"")
    with pytest.raises(ValueError, match="its sha256 differs"):
        cached_photographs(photos, SIZE, data)
    spoilt.write_bytes(whole)
    free(monkeypatch, 3 * SIZE * SIZE * 3 - 1)
    with pytest.raises(OSError, match="the cache needs"):
        cached_photographs(photos, SIZE, data)
    free(monkeypatch, 3 * SIZE * SIZE * 3)
    assert np.array_equal(cached_photographs(photos, SIZE, data), decoded(photos))


# A process that builds a cache in chunks of two. In the middle of the third chunk, at the sixth photograph, it says so
# and halts until its standard input is closed.
HALTING_BUILD = """
import itertools, sys
from pathlib import Path
from colorize_lib.data import cache
from colorize_lib.data.manifest import PhotoSet, read_manifest

folder, manifest, data, size = sys.argv[1:]
decode, numbers = cache.read_square, itertools.count(1)

def halting(path, *rest):
    if next(numbers) == 6:
        print("halted", flush=True)
        sys.stdin.read()
    return decode(path, *rest)

cache.read_square, cache.CHUNK = halting, 2
photos = PhotoSet(Path(folder), read_manifest(Path(manifest)), Path(manifest))
cache.cached_photographs(photos, int(size), Path(data))
print("finished", flush=True)
"""


@pytest.fixture
def halted_build(photos, data) -> Iterator[subprocess.Popen]:
    """The process above, halted."""
    arguments = [str(photos.root), str(photos.path), str(data), str(SIZE)]
    command = [sys.executable, "-c", HALTING_BUILD, *arguments]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, cwd=files.ROOT, **pipes) as process:
        assert "halted\n" in iter(process.stdout.readline, "")  # other lines are progress, if it takes its time
        yield process
        process.kill()


def test_a_killed_building_goes_on_and_gives_exactly_the_right_pixels(photos, data, decodes, halted_build):
    halted_build.kill()
    halted_build.wait()
    assert list((data / "cache").glob("*.npy")) == []
    assert np.array_equal(cached_photographs(photos, SIZE, data), decoded(photos))
    assert sorted(decodes) == sorted(photos.usable.path[4:])  # two chunks of two were done
    assert sorted(path.suffix for path in (data / "cache").iterdir()) in ([".lock", ".npy"], [".npy"])


def test_a_second_process_waits_for_the_first_and_both_have_the_right_cache(photos, data, decodes, halted_build):
    Timer(0.5, halted_build.stdin.close).start()
    assert np.array_equal(cached_photographs(photos, SIZE, data), decoded(photos))
    assert decodes == []
    assert halted_build.stdout.read().endswith("finished\n")
    assert halted_build.wait() == 0


# --- Lab and the data set ------------------------------------------------------------------------------------------


def pixels(n: int, height: int = SIDE, width: int = SIDE) -> np.ndarray:
    """n photographs of random pixels, each unlike the others and unlike its mirror image."""
    return np.random.default_rng(0).integers(0, 256, (n, height, width, 3), dtype=np.uint8)


def test_an_item_is_the_photograph_in_normalised_lab():
    photographs = pixels(6, 24, 40)
    dataset = ColorizationDataset(photographs, np.array([4, 1, 5]))
    assert len(dataset) == 3
    for i, row in enumerate([4, 1, 5]):
        item = dataset[i]
        assert set(item) == {"L", "ab"}
        assert item["L"].shape == (1, 24, 40)
        assert item["ab"].shape == (2, 24, 40)
        assert item["L"].dtype == item["ab"].dtype == torch.float32
        lab = torch.from_numpy(rgb2lab(photographs[row])).permute(2, 0, 1)
        torch.testing.assert_close(item["L"], (lab[:1] / 50 - 1).float(), atol=2e-5, rtol=0)
        torch.testing.assert_close(item["ab"], (lab[1:] / 110).float(), atol=2e-5, rtol=0)


def test_items_stay_in_range_over_the_whole_colour_cube():
    levels = np.array([0, 1, 10, 11, 64, 128, 200, 254, 255], dtype=np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, 27, 27, 3)
    item = ColorizationDataset(cube)[0]
    assert item["L"].min() == -1
    assert item["L"].max().item() == pytest.approx(1, abs=1e-6)
    assert 0.85 < item["ab"].abs().max() <= 1
    restored = to_uint8(lab_to_rgb(item["L"][None], item["ab"][None])).numpy()
    assert np.array_equal(restored, cube)


def test_a_data_set_is_indexed_like_a_list():
    dataset = ColorizationDataset(pixels(3))
    assert torch.equal(dataset[-1]["L"], dataset[2]["L"])
    assert len(list(dataset)) == 3
    for i in (3, -4):
        with pytest.raises(IndexError, match=f"photograph {i} of 3"):
            dataset[i]


# --- the loaders ---------------------------------------------------------------------------------------------------


def loader(n: int = 40, batch_size: int = 16, train: bool = True, **options) -> LabLoader:
    return LabLoader(ColorizationDataset(pixels(n)), batch_size, train, **options)


@functools.cache
def known(n: int) -> np.ndarray:
    """The n photographs in Lab, and after them their mirror images, one a row."""
    whole = torch.cat(to_lab(torch.from_numpy(pixels(n))), dim=1)
    return torch.cat((whole, whole.flip(-1))).flatten(1).numpy()


def drawn(batches: list[dict[str, torch.Tensor]], n: int = 40) -> list[tuple[int, bool]]:
    """Which photograph each item of the batches is, and whether it is mirrored."""
    found = []
    for batch in batches:
        for item in torch.cat((batch["L"], batch["ab"]), dim=1).flatten(1).numpy():
            distance = np.abs(known(n) - item).max(axis=1)
            best = int(distance.argmin())
            assert distance[best] < 1e-5  # every pixel of L and ab is that of this photograph
            found.append((best % n, best >= n))
    return found


def epoch(dl: LabLoader, number: int, start: int = 0) -> list[dict[str, torch.Tensor]]:
    dl.set_epoch(number, start)
    return list(dl)


def assert_same(batches: list[dict], expected: list[dict]) -> None:
    assert len(batches) == len(expected)
    for batch, other in zip(batches, expected, strict=True):
        assert torch.equal(batch["L"], other["L"])
        assert torch.equal(batch["ab"], other["ab"])


def test_training_batches_have_the_stated_shapes_and_a_smaller_last_one_is_dropped():
    dl = loader(40)
    batches = epoch(dl, 0)
    assert len(dl) == len(batches) == 2
    for batch in batches:
        assert batch["L"].shape == (16, 1, SIDE, SIDE)
        assert batch["ab"].shape == (16, 2, SIDE, SIDE)
        assert batch["L"].abs().max() <= 1
        assert batch["ab"].abs().max() <= 1
        assert batch["L"].dtype == batch["ab"].dtype == torch.float32


def test_an_epoch_shows_no_photograph_twice_and_all_of_them_in_time():
    dl, seen = loader(40), set()
    for number in range(8):
        names = [name for name, _ in drawn(epoch(dl, number))]
        assert len(set(names)) == 32
        seen |= set(names)
    assert seen == set(range(40))


def test_training_is_shuffled_anew_in_each_epoch():
    dl = loader(32)
    orders = [tuple(name for name, _ in drawn(epoch(dl, number), 40)) for number in range(4)]
    assert all(sorted(order) == list(range(32)) for order in orders)
    assert len(set(orders)) == 4
    assert tuple(range(32)) not in orders


def test_the_same_seed_gives_the_same_batches_and_another_one_does_not():
    first = epoch(loader(seed=3), 2)
    torch.manual_seed(99)  # the batches do not hang on the state of any global generator
    np.random.seed(99)
    assert_same(epoch(loader(seed=3), 2), first)
    assert drawn(epoch(loader(seed=4), 2)) != drawn(first)


@pytest.mark.parametrize("start", [0, 1, 3, 5])
def test_an_epoch_resumed_in_the_middle_has_the_remaining_batches(start):
    whole = epoch(loader(batch_size=8, seed=1), 3)
    assert len(whole) == 5
    assert_same(epoch(loader(batch_size=8, seed=1), 3, start), whole[start:])


def test_half_of_the_photographs_are_mirrored_by_the_seed():
    dl = loader(32, seed=5)
    flips = {number: dict(drawn(epoch(dl, number), 40)) for number in range(16)}
    share = np.mean([list(of_epoch.values()) for of_epoch in flips.values()])
    assert 0.43 < share < 0.57  # 512 throws: 0.5, give or take 3 standard deviations
    assert len({tuple(of_epoch[name] for name in range(32)) for of_epoch in flips.values()}) == 16
    assert {len({of_epoch[name] for of_epoch in flips.values()}) for name in range(32)} == {2}  # none is stuck
    assert dict(drawn(epoch(loader(32, seed=5), 7), 40)) == flips[7]


def test_validation_shows_every_photograph_once_in_order_and_as_it_is():
    dl = loader(37, train=False)
    batches = list(dl)
    assert len(dl) == 3
    assert [len(batch["L"]) for batch in batches] == [16, 16, 5]
    assert drawn(batches) == [(i, False) for i in range(37)]
    dl.set_epoch(4)
    assert_same(list(dl), batches)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("processes", [2, 3])
def test_the_shares_of_several_processes_are_together_the_batch_of_one(train, processes):
    n = 33  # the last validation batch is one photograph: there is nothing in it for the other processes
    whole = epoch(loader(n, train=train, seed=2), 1)
    shares = [
        epoch(loader(n, train=train, seed=2, process_index=i, num_processes=processes), 1) for i in range(processes)
    ]
    assert len(whole) == (2 if train else 3)
    for k, batch in enumerate(whole):
        for field in ("L", "ab"):
            together = torch.empty_like(batch[field])
            for i, share in enumerate(shares):
                together[i::processes] = share[k][field]
            assert torch.allclose(together, batch[field], atol=1e-6)
        assert sum(len(share[k]["L"]) for share in shares) == len(batch["L"])


def test_refuses_too_few_photographs_for_one_batch():
    with pytest.raises(ValueError, match="15 training photographs do not fill one batch of 16"):
        loader(15)
    assert len(loader(16)) == 1
    assert [len(batch["L"]) for batch in loader(15, train=False)] == [15]


def test_make_dataloaders_gives_each_split_its_photographs(tmp_path, data):
    save_photographs(tmp_path / "photos", 24)
    photos = find(tmp_path / "photos", data, val_share=0.25)
    train_dl, val_dl = make_dataloaders(photos, 64, batch_size=16, seed=1, data_dir=data)
    assert (train_dl.train, val_dl.train) == (True, False)
    assert (len(train_dl.dataset), len(val_dl.dataset)) == (18, 6)
    [batch] = train_dl
    assert batch["L"].shape == (16, 1, 64, 64)
    assert batch["ab"].shape == (16, 2, 64, 64)
    rows = decoded(photos, 64)
    for name, dl in (("train", train_dl), ("val", val_dl)):
        assert np.array_equal(dl.dataset.rgb(range(len(dl.dataset))), rows[photos.usable.split == name])


# --- the showcase --------------------------------------------------------------------------------------------------


def pictures_of(names: list[str], size: int) -> np.ndarray:
    return np.stack([resize(read_rgb(package_photographs()[name].read_bytes())[0], size) for name in names])


@pytest.mark.parametrize("source", ["folder", "coco", "imagenet"])
def test_the_showcase_is_the_eight_photographs_where_no_run_trains_on_them(source):
    shown = showcase(source, 0, 48)
    assert shown["L"].shape == (8, 1, 48, 48)
    assert shown["ab"].shape == (8, 2, 48, 48)
    assert np.array_equal(to_uint8(lab_to_rgb(**shown)), pictures_of(list(package_photographs()), 48))


@pytest.mark.parametrize("seed", [0, 3])
def test_the_showcase_of_sample_is_what_validates(seed, data, monkeypatch):
    monkeypatch.setattr(sources, "SAMPLE_CROPS", 2)
    config = PhotoConfig(source="sample", n_images=0, seed=seed)
    names = [name for name, split in sample_split(seed).items() if split == "val"]
    shown = showcase("sample", seed, 48)
    assert np.array_equal(to_uint8(lab_to_rgb(**shown)), pictures_of(names, 48))
    usable = find_photographs(config, data).usable
    trained_on = set(usable.path[usable.split == "train"].str.split("/").str[0])
    assert not trained_on & set(names)
    assert len(trained_on) == 6
