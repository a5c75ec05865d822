"""Batches of (L, ab): right colours, an order by (seed, epoch), exact resuming, shares of processes, labels."""

import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import photograph, save, save_photographs
from skimage.color import rgb2lab

from colorize_lib.color import to_lab
from colorize_lib.data.cache import cached_photographs
from colorize_lib.data.loader import ColorizationDataset, LabLoader, make_dataloaders
from colorize_lib.data.manifest import PhotoConfig, find_photographs

SIDE = 8  # of random pixels, where the size plays no part


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
    shares = [epoch(loader(n, train=train, seed=2).share(i, processes), 1) for i in range(processes)]
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


def test_more_processes_than_photographs_in_a_batch_are_refused():
    with pytest.raises(ValueError, match="a batch of 16 cannot be shared by 17 processes"):
        loader().share(0, 17)


def test_make_dataloaders_gives_each_split_its_photographs(tmp_path):
    save_photographs(tmp_path / "photos", 24)
    config = PhotoConfig(source="folder", folder=str(tmp_path / "photos"), n_images=0, val_share=0.25)
    photos = find_photographs(config, tmp_path / "data")
    train_dl, val_dl = make_dataloaders(photos, 64, batch_size=16, seed=1, data_dir=tmp_path / "data")
    assert (train_dl.train, val_dl.train) == (True, False)
    assert (len(train_dl.dataset), len(val_dl.dataset)) == (18, 6)
    [batch] = train_dl
    assert set(batch) == {"L", "ab"}
    assert (batch["L"].shape, batch["ab"].shape) == ((16, 1, 64, 64), (16, 2, 64, 64))
    rows = cached_photographs(photos, 64, tmp_path / "data")
    for name, dl in (("train", train_dl), ("val", val_dl)):
        assert np.array_equal(dl.dataset.rgb(range(len(dl.dataset))), rows[photos.usable.split == name])


def test_labels_come_when_they_are_asked_for_and_follow_their_photographs(tmp_path):
    for i in range(12):
        save(photograph(i), tmp_path / "photos" / ("bird", "cat", "dog")[i % 3] / f"{i}.png")
    photos = find(tmp_path)
    loaders = make_dataloaders(photos, 16, batch_size=4, seed=3, data_dir=tmp_path / "data", labels=True)
    assert photos.classes == ["bird", "cat", "dog"]
    pixels, seen = cached_photographs(photos, 16, tmp_path / "data"), []
    for dl in (loaders[0], loaders[0].share(0, 2), loaders[1], loaders[0].in_order()):
        for batch in dl:
            assert batch["label"].dtype == torch.int64
            for L, label in zip(batch["L"], batch["label"], strict=True):
                known = to_lab(torch.from_numpy(np.array(pixels)))[0]
                distance = torch.minimum((known - L).abs().amax((1, 2, 3)), (known - L.flip(-1)).abs().amax((1, 2, 3)))
                seen.append((photos.usable["class"][int(distance.argmin())], photos.classes[label]))
    assert all(name == other for name, other in seen) and len({name for name, _ in seen}) == 3
    save(photograph(40), tmp_path / "photos" / "stray.png")
    assert find(tmp_path).labels().tolist() == [-1] * 13


def find(home: Path):
    return find_photographs(PhotoConfig(source="folder", folder=str(home / "photos"), n_images=0), home / "data")
