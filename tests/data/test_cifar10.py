"""CIFAR-10 and other 32x32 images: files read, drawn from, downloaded, and batches of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from colorize_lib.data import cifar10, sources
from colorize_lib.data.sources import DataUnavailable


def images(n: int, seed: int = 0) -> cifar10.LabelledImages:
    rng = np.random.default_rng(seed)
    pixels = np.repeat(np.repeat(rng.integers(0, 256, (n, 8, 8, 3), dtype=np.uint8), 4, axis=1), 4, axis=2)
    return cifar10.LabelledImages(pixels, rng.integers(0, 10, n), cifar10.CLASSES)


@pytest.fixture
def folder(tmp_path) -> Path:
    for split, n in (("train", 12), ("test", 6)):
        one = images(n, seed=n)
        np.savez(tmp_path / f"{split}.npz", images=one.images, labels=one.labels)
    return tmp_path


def test_npz_files_are_read_and_drawn_from(folder):
    train, test = cifar10.find_images(str(folder))
    assert (train.images == images(12, seed=12).images).all() and len(test.images) == 6
    assert train.classes == cifar10.CLASSES
    few, _ = cifar10.find_images(str(folder), n_train=5, seed=1)
    assert len(few.images) == 5 and few.digest() != train.digest()
    assert few.digest() == cifar10.find_images(str(folder), n_train=5, seed=1)[0].digest()
    of_train = {one.tobytes(): label for one, label in zip(train.images, train.labels, strict=True)}
    assert [of_train[one.tobytes()] for one in few.images] == few.labels.tolist()
    with pytest.raises(ValueError, match="13 images are asked for and there are 12"):
        cifar10.find_images(str(folder), n_train=13)


def test_classes_are_found_by_name_and_the_showcase_has_images_of_each():
    some = replace(images(9), labels=np.array([3, 1, 1, 3, 1, 3, 3, 1, 8]))
    assert some.of_classes(("ship", "cat")).tolist() == [True, False, False, True, False, True, True, False, True]
    assert some.showcase(6).tolist() == [1, 2, 0, 3, 8]


@pytest.mark.parametrize(
    "arrays, message",
    [
        ({"images": np.zeros((2, 32, 32, 3), np.uint8)}, "labels is not a file in the archive"),
        ({"images": np.zeros((2, 32, 32, 3)), "labels": [0, 1]}, r"images are float64 \(2, 32, 32, 3\), not uint8"),
        ({"images": np.zeros((2, 3, 32, 32), np.uint8), "labels": [0, 1]}, r"images are uint8 \(2, 3, 32, 32\)"),
        ({"images": np.zeros((2, 32, 32, 3), np.uint8), "labels": [0]}, "labels must be 2 numbers"),
        ({"images": np.zeros((2, 32, 32, 3), np.uint8), "labels": [0, 10]}, "labels must be 2 numbers below 10"),
        ({"images": np.array([{}], dtype=object), "labels": [0]}, "cannot be read"),  # no pickle is unpickled
        (b"PK not a zip", "cannot be read"),
        (b"PK\x03\x04 half a zip", "cannot be read"),
    ],
)
def test_a_wrong_npz_is_named_with_what_is_wrong(arrays, message, folder):
    if isinstance(arrays, bytes):
        (folder / "test.npz").write_bytes(arrays)
    else:
        np.savez(folder / "test.npz", **arrays)
    with pytest.raises(ValueError, match=rf"test\.npz.*{message}"):
        cifar10.find_images(str(folder))
    (folder / "test.npz").unlink()
    with pytest.raises(FileNotFoundError, match=r"test\.npz does not exist; the folder must hold"):
        cifar10.find_images(str(folder))


def test_the_sample_is_split_by_photograph(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "SAMPLE_CROPS", 4)
    train, test = cifar10.find_images("sample", data_dir=tmp_path)
    assert train.images.shape == (24, 32, 32, 3) and test.images.shape == (8, 32, 32, 3)
    assert len(train.classes) == 8 and not set(train.labels) & set(test.labels)


def test_torchvisions_images_are_taken(tmp_path, monkeypatch):
    class Standin:
        classes = list(cifar10.CLASSES)

        def __init__(self, root: str, train: bool, download: bool):
            assert Path(root) == tmp_path / "cifar10" and download
            one = images(15 if train else 3)
            self.data, self.targets = one.images, one.labels.tolist()

    monkeypatch.setattr("torchvision.datasets.CIFAR10", Standin)
    train, test = cifar10.find_images("download", data_dir=tmp_path)
    assert (train.images == images(15).images).all() and (train.labels == images(15).labels).all()
    assert len(test.images) == 3 and train.classes == cifar10.CLASSES


def test_a_download_that_fails_says_what_to_do(tmp_path, monkeypatch):
    from torchvision.datasets import CIFAR10

    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:9/cifar-10-python.tar.gz")
    with pytest.raises(DataUnavailable, match="Check the network") as error:
        cifar10.find_images("download", data_dir=tmp_path)
    assert all(word in str(error.value) for word in ("cifar=sample", "cifar-10-python.tar.gz", "train.npz"))


def test_loaders_give_batches_of_all_images(folder):
    train_dl, val_dl = cifar10.make_image_loaders(*cifar10.find_images(str(folder)), 4, seed=3)
    assert (train_dl.train, val_dl.train, train_dl.seed) == (True, False, 3)
    assert [len(batch["L"]) for batch in train_dl] == [4, 4, 4] and [len(batch["ab"]) for batch in val_dl] == [6]
