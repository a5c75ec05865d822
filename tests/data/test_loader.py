"""Batches of (L, ab): right colours, an order by (seed, epoch), exact resuming, shares of processes, labels."""

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch
from pictures import photograph, save
from skimage.color import rgb2lab

from colorize_lib.color import to_lab
from colorize_lib.data.augment import Augment
from colorize_lib.data.cache import cached_photographs
from colorize_lib.data.loader import ColorizationDataset, LabLoader, make_dataloaders

SIDE = 8  # of random pixels, where the size plays no part


def pixels(n: int, height: int = SIDE, width: int = SIDE) -> np.ndarray:
    """n photographs of random pixels, each unlike the others and unlike its mirror image."""
    return np.random.default_rng(0).integers(0, 256, (n, height, width, 3), dtype=np.uint8)


def test_an_item_is_the_photograph_in_normalised_lab():
    photographs = pixels(6, 24, 40)
    dataset = ColorizationDataset(photographs, np.array([4, 1, 5]))
    assert len(dataset) == len(list(dataset)) == 3
    for item, row in zip(dataset, [4, 1, 5], strict=True):
        assert (item["L"].shape, item["ab"].shape) == ((1, 24, 40), (2, 24, 40))
        assert item["L"].dtype == item["ab"].dtype == torch.float32
        lab = torch.from_numpy(rgb2lab(photographs[row])).permute(2, 0, 1)
        torch.testing.assert_close(item["L"], (lab[:1] / 50 - 1).float(), atol=2e-5, rtol=0)
        torch.testing.assert_close(item["ab"], (lab[1:] / 110).float(), atol=2e-5, rtol=0)


def loader(n: int = 40, batch_size: int = 16, train: bool = True, **options) -> LabLoader:
    return LabLoader(ColorizationDataset(pixels(n)), batch_size, train, **options)


@functools.cache
def known(n: int) -> np.ndarray:
    """The n photographs in Lab, and after them their mirror images, one a row."""
    whole = torch.cat(to_lab(torch.from_numpy(pixels(n))), dim=1)
    return torch.cat((whole, whole.flip(-1))).flatten(1).numpy()


def drawn(batches: list[dict[str, torch.Tensor]], n: int = 40, tolerance: float = 1e-5) -> list[tuple[int, bool]]:
    """Which photograph each item of the batches is, and whether it is mirrored."""
    found = []
    for batch in batches:
        for item in torch.cat((batch["L"], batch["ab"]), dim=1).flatten(1).numpy():
            distance = np.abs(known(n) - item).max(axis=1)
            best = int(distance.argmin())
            assert distance[best] < tolerance  # every pixel of L and ab is that of this photograph
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


def test_an_epoch_shows_no_photograph_twice_and_all_of_them_in_time_and_drops_a_smaller_last_batch():
    dl, orders = loader(40), []
    for number in range(8):
        batches = epoch(dl, number)
        assert len(dl) == len(batches) == 2
        assert {(b["L"].shape, b["ab"].shape) for b in batches} == {((16, 1, SIDE, SIDE), (16, 2, SIDE, SIDE))}
        orders.append(tuple(name for name, _ in drawn(batches)))
        assert len(set(orders[-1])) == 32
    assert set().union(*orders) == set(range(40))
    assert len(set(orders)) == 8 and tuple(range(32)) not in orders


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
    assert {len({of_epoch[name] for of_epoch in flips.values()}) for name in range(32)} == {2}  # none is stuck


NOTHING = Augment(SIDE, (1, 1), aspect=1, brightness=0, contrast=0, gamma=0, blur=0)


def test_a_variation_is_by_seed_epoch_and_batch_and_leaves_colours_alone():
    half = Augment(size=16)
    whole = epoch(loader(batch_size=8, seed=1, augment=half), 3)
    assert whole[0]["L"].shape == (8, 1, 16, 16) and whole[0]["ab"].shape == (8, 2, 16, 16)
    assert all(batch["L"].abs().max() <= 1 for batch in whole)
    assert_same(epoch(loader(batch_size=8, seed=1, augment=half), 3, 2), whole[2:])
    assert not torch.equal(epoch(loader(batch_size=8, seed=1, augment=half), 4)[0]["L"], whole[0]["L"])
    plain = [name for name, _ in drawn(epoch(loader(seed=1), 3))]
    varied = drawn(epoch(loader(seed=1, augment=NOTHING), 3), tolerance=1e-3)
    assert [name for name, _ in varied] == plain and {mirrored for _, mirrored in varied} == {True, False}
    darker = epoch(loader(seed=1, augment=replace(NOTHING, brightness=0.5)), 3)
    for batch, other in zip(darker, epoch(loader(seed=1, augment=NOTHING), 3), strict=True):
        assert torch.equal(batch["ab"], other["ab"]) and not torch.equal(batch["L"], other["L"])


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


def test_refuses_too_few_photographs_for_one_batch_and_too_many_processes():
    with pytest.raises(ValueError, match="15 training photographs do not fill one batch of 16"):
        loader(15)
    assert len(loader(16)) == len(loader(15, train=False)) == 1
    with pytest.raises(ValueError, match="a batch of 16 cannot be shared by 17 processes"):
        loader().share(0, 17)


def test_each_split_has_its_photographs_and_labels_when_they_are_asked_for(tmp_path, data, find):
    for i in range(12):
        save(photograph(i), tmp_path / "photos" / ("bird", "cat", "dog")[i % 3] / f"{i}.png")
    photos = find(tmp_path / "photos", data, val_share=0.25)
    rows, whole = cached_photographs(photos, 16, data), {}
    for labels in (False, True):
        loaders = make_dataloaders(photos, 16, batch_size=4, seed=3, data_dir=data, labels=labels)
        for name, dl in zip(("train", "val"), loaders, strict=True):
            of_split = (photos.usable.split == name).to_numpy()
            assert (dl.train, len(dl.dataset)) == (name == "train", 9 if name == "train" else 3)
            assert np.array_equal(dl.dataset.rgb(range(len(dl.dataset))), rows[of_split])
            assert set(next(iter(dl))) == ({"L", "ab", "label"} if labels else {"L", "ab"})
            whole[name] = [to_lab(torch.from_numpy(rows[of_split]))[0], photos.usable["class"][of_split].to_numpy()]
    assert photos.classes == ["bird", "cat", "dog"]
    for name, dl in [("train", loaders[0]), ("train", loaders[0].share(0, 2)), ("train", loaders[0].in_order())]:
        known, classes = whole[name]
        for batch in dl:
            for L, label in zip(batch["L"], batch["label"], strict=True):
                distance = torch.minimum((known - L).abs().amax((1, 2, 3)), (known - L.flip(-1)).abs().amax((1, 2, 3)))
                assert classes[int(distance.argmin())] == photos.classes[label]
    save(photograph(40), tmp_path / "photos" / "stray.png")
    assert find(tmp_path / "photos", data).labels().tolist() == [-1] * 13
