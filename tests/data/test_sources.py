"""Where photographs come from; COCO_SAMPLE is a small stand-in on this disk."""

import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from pictures import photograph, save, save_photographs
from PIL import Image

from colorize_lib import files
from colorize_lib.data import sources
from colorize_lib.data.shipped import package_photographs, sample_split
from colorize_lib.data.sources import DataUnavailable, list_images


def contents(root: Path) -> dict[str, bytes]:
    return {path: (root / path).read_bytes() for path in list_images(root)}


@pytest.fixture(autouse=True)
def few_crops(monkeypatch) -> None:
    monkeypatch.setattr(sources, "SAMPLE_CROPS", 3)


def test_sample_cuts_seeded_crops_once(tmp_path, monkeypatch):
    first = sources.sample("", tmp_path / "a", seed=3)
    assert len(first.paths) == 24
    assert {path.split("/")[0] for path in first.paths} == set(package_photographs())
    made = contents(first.root)
    assert contents(sources.sample("", tmp_path / "a", seed=4).root) != made
    for path in first.paths:
        with Image.open(first.root / path) as crop, Image.open(package_photographs()[path.split("/")[0]]) as whole:
            assert crop.width == crop.height
            assert 0.4 * min(whole.size) - 1 <= crop.width <= 0.8 * min(whole.size)
    with Image.open(first.root / "chelsea" / "000.png") as crop, Image.open(package_photographs()["chelsea"]) as whole:
        pixels, photo = np.asarray(crop), np.asarray(whole.convert("RGB"))
    rows = np.lib.stride_tricks.sliding_window_view(photo[:, :, 0], pixels.shape[:2])
    starts = np.argwhere(rows[:, :, 0, 0] == pixels[0, 0, 0])
    assert any((photo[y : y + len(pixels), x : x + len(pixels)] == pixels).all() for y, x in starts)
    monkeypatch.setattr(Image.Image, "save", lambda *_, **__: pytest.fail("a crop is made again"))
    assert sources.sample("", tmp_path / "a", seed=3).paths == first.paths


def test_sample_completes_crops_that_were_interrupted(tmp_path, monkeypatch):
    expected = contents(sources.sample("", tmp_path / "whole", seed=0).root)
    save_image, saved = Image.Image.save, []

    def fail_in_the_middle(image: Image.Image, path: Path, **options) -> None:
        if len(saved) == 10:
            Path(path).write_bytes(b"\x89PNG, and then the power went")
            raise KeyboardInterrupt
        saved.append(path)
        save_image(image, path, **options)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Image.Image, "save", fail_in_the_middle)
        sources.sample("", tmp_path / "cut", seed=0)
    root = tmp_path / "cut" / "sample" / "seed-0"
    assert len(list_images(root)) == 10
    (root / "china" / ".000.png.1234abcd.partial").write_bytes(b"what a killed process leaves")
    assert contents(sources.sample("", tmp_path / "cut", seed=0).root) == expected


def test_sample_has_no_photograph_on_both_sides(tmp_path, find):
    usable = find("", tmp_path, source="sample", seed=1).usable
    sides = usable.groupby(usable.path.str.split("/").str[0]).split.agg(set)
    assert sides.to_dict() == {name: {side} for name, side in sample_split(1).items()}
    assert list(sample_split(1).values()).count("val") == 2


def test_folder_lists_all_images_below_it_in_order(tmp_path):
    for name in ("b/2.JPG", "b/1.png", "a.webp", "c/d/e.tiff", "c/f.jpeg", "c/g.tif"):
        save(photograph(), tmp_path / name)
    (tmp_path / "c" / "readme.md").write_text("")
    for name in (".hidden/a.jpg", "._b.jpg", "x.jpg/inside.jpg"):
        save(photograph(), tmp_path / name)
    listing = sources.folder_tree(str(tmp_path), tmp_path / "data", 0)
    assert listing.paths == ["a.webp", "b/1.png", "b/2.JPG", "c/d/e.tiff", "c/f.jpeg", "c/g.tif", "x.jpg/inside.jpg"]
    assert listing.root == tmp_path
    assert listing.split == listing.classes == {}


def test_folder_follows_links_to_folders_but_not_in_circles(tmp_path):
    save_photographs(tmp_path / "disk", 2)
    for part in ("train", "val"):
        save_photographs(tmp_path / f"{part}-on-disk", 1)
        (tmp_path / "photos").mkdir(exist_ok=True)
        (tmp_path / "photos" / part).symlink_to(tmp_path / f"{part}-on-disk")
    (tmp_path / "train-on-disk" / "back").symlink_to(tmp_path / "photos")
    listing = sources.folder_tree(str(tmp_path / "photos"), tmp_path, 0)
    assert listing.paths == ["train/photo-00.jpg", "val/photo-00.jpg"]
    assert list(listing.split.values()) == ["train", "val"]


def test_folder_says_what_is_missing(tmp_path):
    with pytest.raises(DataUnavailable, match="PHOTOS=DIR"):
        sources.folder_tree("", tmp_path, 0)
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        sources.folder_tree(str(tmp_path / "nowhere"), tmp_path, 0)
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(DataUnavailable, match=r"holds no \.jpeg, \.jpg, "):
        sources.folder_tree(str(tmp_path), tmp_path, 0)
    save_photographs(tmp_path, 1)
    with pytest.raises(DataUnavailable, match="no class folders .* CLASS/IMAGE"):
        sources.imagenet(str(tmp_path), tmp_path, 0)


def test_folder_takes_a_home_folder_and_one_relative_to_the_repository(tmp_path, monkeypatch):
    save_photographs(tmp_path / "pictures", 1)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert sources.folder_tree("~/pictures", tmp_path, 0).root == tmp_path / "pictures"
    monkeypatch.chdir(tmp_path)
    relative = os.path.relpath(tmp_path / "pictures", files.ROOT)
    assert len(sources.folder_tree(relative, tmp_path, 0).paths) == 1


@pytest.mark.parametrize("part", ["", "train"])
def test_imagenet_draws_without_regard_to_class(part, tmp_path, find):
    root, sizes = tmp_path / "ilsvrc" / part, {"n01440764": 10, "n01443537": 4, "n01484850": 2}
    for wnid, count in sizes.items():
        for i in range(count):
            save(photograph(i + 10 * count), root / wnid / f"{wnid}_{i}.JPEG")
    save(photograph(), root / "stray.jpg")
    counts = []
    for seed in range(6):
        photos = find(tmp_path / "ilsvrc", tmp_path / "data", source="imagenet", n_images=8, seed=seed)
        assert (photos.root, len(photos.usable), sorted(photos.usable.split).count("val")) == (root, 8, 2)
        classes = photos.usable.path.str.split("/").str[0]
        assert photos.usable["class"].tolist() == classes.tolist()
        counts.append(tuple(classes.value_counts().reindex(list(sizes), fill_value=0)))
        assert sum(counts[-1]) == 8
    assert len(set(counts)) > 1  # not so many of each class
    assert np.mean(counts, axis=0)[0] > 3  # a class of 10 in 16 gives more than a third


COUNT = 5


def coco_archive(count: int = COUNT) -> bytes:
    """coco_sample/train_sample/*.jpg as .tgz."""
    file, jpeg = io.BytesIO(), io.BytesIO()
    photograph().save(jpeg, "JPEG")
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for i in range(count):
            entry = tarfile.TarInfo(f"coco_sample/train_sample/{i:012d}.jpg")
            entry.size = jpeg.tell()
            archive.addfile(entry, io.BytesIO(jpeg.getvalue()))
    return file.getvalue()


@pytest.fixture
def served(tmp_path, monkeypatch) -> Path:
    """The file that fastai knows as COCO_SAMPLE's address; the user's home is an empty folder."""
    from fastai.data.external import URLs

    served = tmp_path / "web" / "coco_sample.tgz"
    served.parent.mkdir()
    served.write_bytes(coco_archive())
    monkeypatch.setattr(URLs, "COCO_SAMPLE", served.as_uri())
    monkeypatch.setattr(sources, "COCO_SAMPLE_COUNT", COUNT)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return served


def test_coco_downloads_once_below_the_data_folder_and_unpacks_a_half_tree_again(served, data, tmp_path):
    listing = sources.coco("", data, 0)
    assert listing.paths == [f"{i:012d}.jpg" for i in range(COUNT)]
    assert listing.root == data / "coco" / "coco_sample" / "train_sample"
    whole = contents(listing.root)
    served.unlink()
    assert sources.coco("", data, 0).paths == listing.paths
    for name in listing.paths[1:4]:
        (listing.root / name).unlink()
    (data / "coco" / "unpacking").mkdir()
    (data / "coco" / "unpacking" / "left over").write_text("by a killed process")
    assert contents(sources.coco("", data, 0).root) == whole
    assert not (data / "coco" / "unpacking").exists()
    assert os.listdir(tmp_path / "home") == []


GOOD = coco_archive()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (GOOD[:-200], "ended before"),
        (b"<html>moved</html>", "ReadError"),
        (GOOD[:1000] + bytes(500) + GOOD[1500:], "rror"),
        (b"", "ReadError"),
        (coco_archive(COUNT - 1), "has 4 photographs, not 5"),
        (None, "No such file"),
    ],
    ids=["cut off", "HTML", "overwritten", "empty", "another number", "no such file"],
)
def test_coco_says_so_if_the_archive_cannot_be_had_or_is_corrupted_and_recovers(content, reason, served, data):
    served.unlink() if content is None else served.write_bytes(content)
    with pytest.raises(DataUnavailable, match=f"coco_sample.tgz.*{reason}.*run again.*source folder, PHOTOS=DIR"):
        sources.coco("", data, 0)
    served.write_bytes(GOOD)
    assert len(sources.coco("", data, 0).paths) == COUNT


def test_coco_does_not_download_again_because_the_disk_is_full(served, data, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(DataUnavailable, match="No space left on device"):
        patch.setattr(tarfile.TarFile, "extractall", full)
        sources.coco("", data, 0)
    served.unlink()
    assert len(sources.coco("", data, 0).paths) == COUNT


@pytest.fixture
def several(tmp_path) -> Path:
    """`photos` with train/ and val/, `tiny` with class folders, `loose` without either, a manifest.csv beside them."""
    for name in ("photos/train/a.png", "photos/train/b.png", "photos/val/c.png", "tiny/n01/d.png", "tiny/n02/e.png"):
        save(photograph(len(name)), tmp_path / name)
    save_photographs(tmp_path / "loose", 2)
    rows = "photos/train/a.png,dog\nphotos/val/c.png,\nloose/photo-01.jpg,lake\nelsewhere/x.png,cat\n"
    (tmp_path / "manifest.csv").write_text(f"path,class\n{rows}")
    return tmp_path


def test_several_folders_are_one_source_with_their_own_splits_and_classes(several, tmp_path, find):
    folders = ",".join(str(several / name) for name in ("photos", " tiny", "loose")).replace("/ ", "/")
    listing = sources.folder_tree(folders, tmp_path / "data", 0)
    photos, loose = [f"photos/{path}" for path in ("train/a.png", "train/b.png", "val/c.png")], "loose/photo-0"
    assert listing.paths == [f"{loose}0.jpg", f"{loose}1.jpg", *photos, "tiny/n01/d.png", "tiny/n02/e.png"]
    assert listing.split == dict(zip(photos, ("train", "train", "val"), strict=True))
    known = {photos[0]: "dog", f"{loose}1.jpg": "lake", "tiny/n01/d.png": "n01", "tiny/n02/e.png": "n02"}
    assert listing.classes == known
    for path in listing.paths:
        assert (listing.root / path).read_bytes() == (several / path).read_bytes()
    assert sources.folder_tree(folders, tmp_path / "data", 0).root == listing.root
    manifest = find(folders, tmp_path / "data", 16, val_share=0.5).manifest.set_index("path")
    assert manifest["class"].to_dict() == dict.fromkeys(listing.paths, "") | known
    assert manifest.split[photos].tolist() == ["train", "train", "val"]
    assert sorted(manifest.split.drop(photos)) == ["train", "train", "val", "val"]


def test_a_class_that_changes_makes_a_new_manifest(several, data, find):
    assert find(several / "photos", data).classes == ["dog"]
    (several / "manifest.csv").write_text("path,class\nphotos/val/c.png,cat\n")
    assert find(several / "photos", data).classes == ["cat"]
    (several / "photos" / "manifest.csv").write_text("class,path\nfox,train/b.png\n")
    assert find(several / "photos", data).classes == ["fox"]


def test_folders_of_one_name_and_a_comma_in_a_name(tmp_path):
    for name in ("a/pictures", "b/pictures", "a, b"):
        save_photographs(tmp_path / name, 1)
    both = sources.folder_tree(f"{tmp_path}/a/pictures,{tmp_path}/b/pictures", tmp_path / "data", 0)
    assert both.paths == ["pictures/photo-00.jpg", "pictures_/photo-00.jpg"]
    assert sources.folder_tree(str(tmp_path / "a, b"), tmp_path / "data", 0).root == tmp_path / "a, b"
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        sources.folder_tree(f"{tmp_path}/a/pictures,{tmp_path}/nowhere", tmp_path / "data", 0)
