"""Where photographs come from; COCO_SAMPLE is served by a small stand-in on this machine."""

import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from pictures import photograph, save, save_photographs
from PIL import Image

from colorize_lib import files
from colorize_lib.data import sources
from colorize_lib.data.manifest import PhotoConfig, find_photographs
from colorize_lib.data.shipped import package_photographs, sample_split
from colorize_lib.data.sources import DataUnavailable, list_images


def contents(root: Path) -> dict[str, bytes]:
    return {path: (root / path).read_bytes() for path in list_images(root)}


# --- sample --------------------------------------------------------------------------------------------------------


@pytest.fixture
def few_crops(monkeypatch) -> int:
    monkeypatch.setattr(sources, "SAMPLE_CROPS", 3)
    return 24  # in all


def test_sample_cuts_seeded_crops(few_crops, tmp_path):
    first = sources.sample("", tmp_path / "a", seed=3)
    assert len(first.paths) == few_crops
    assert {path.split("/")[0] for path in first.paths} == set(package_photographs())
    made = contents(first.root)
    assert contents(sources.sample("", tmp_path / "b", seed=3).root) == made
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


def test_sample_makes_its_crops_once(few_crops, tmp_path, monkeypatch):
    first = sources.sample("", tmp_path, seed=0)
    monkeypatch.setattr(Image.Image, "save", lambda *_, **__: pytest.fail("a crop is made again"))
    assert sources.sample("", tmp_path, seed=0).paths == first.paths


def test_sample_completes_crops_that_were_interrupted(few_crops, tmp_path, monkeypatch):
    expected = contents(sources.sample("", tmp_path / "whole", seed=0).root)
    save_image, saved = Image.Image.save, []

    def fail_in_the_middle(image: Image.Image, path: Path, **options) -> None:
        if len(saved) == 10:
            Path(path).write_bytes(b"\x89PNG, and then the power went")
            raise KeyboardInterrupt
        saved.append(path)
        save_image(image, path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", fail_in_the_middle)
        with pytest.raises(KeyboardInterrupt):
            sources.sample("", tmp_path / "cut", seed=0)
    root = tmp_path / "cut" / "sample" / "seed-0"
    assert len(list_images(root)) == 10
    (root / "china" / ".000.png.1234abcd.partial").write_bytes(b"what a killed process leaves")
    assert contents(sources.sample("", tmp_path / "cut", seed=0).root) == expected


@pytest.mark.parametrize("seed", [0, 1])
def test_sample_has_no_photograph_on_both_sides(few_crops, seed, tmp_path):
    photos = find_photographs(PhotoConfig(source="sample", n_images=0, seed=seed), tmp_path)
    sides = photos.usable.groupby(photos.usable.path.str.split("/").str[0]).split.agg(set)
    assert sides.map(len).max() == 1
    assert {name: next(iter(side)) for name, side in sides.items()} == sample_split(seed)
    assert list(sample_split(seed).values()).count("val") == 2


# --- folder --------------------------------------------------------------------------------------------------------


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


def test_folder_takes_a_home_folder_and_one_relative_to_the_repository(tmp_path, monkeypatch):
    save_photographs(tmp_path / "pictures", 1)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert sources.folder_tree("~/pictures", tmp_path, 0).root == tmp_path / "pictures"
    monkeypatch.chdir(tmp_path)
    relative = os.path.relpath(tmp_path / "pictures", files.ROOT)
    assert len(sources.folder_tree(relative, tmp_path, 0).paths) == 1


# --- imagenet ------------------------------------------------------------------------------------------------------


def class_tree(root: Path) -> None:
    """Three classes of 10, 4 and 2 photographs, with ImageNet's names."""
    for wnid, count in (("n01440764", 10), ("n01443537", 4), ("n01484850", 2)):
        for i in range(count):
            save(photograph(i + 10 * count), root / wnid / f"{wnid}_{i}.JPEG")


@pytest.mark.parametrize("part", ["", "train"])
def test_imagenet_draws_without_regard_to_class(part, tmp_path):
    class_tree(tmp_path / "ilsvrc" / part)
    save(photograph(), tmp_path / "ilsvrc" / part / "stray.jpg")
    settings = {"source": "imagenet", "folder": str(tmp_path / "ilsvrc"), "n_images": 8}
    counts = []
    for seed in range(6):
        photos = find_photographs(PhotoConfig(**settings, seed=seed), tmp_path / "data")
        assert photos.root == tmp_path / "ilsvrc" / part
        assert len(photos.usable) == 8
        assert sorted(photos.usable.split).count("val") == 2
        classes = photos.usable.path.str.split("/").str[0]
        assert classes.str.match(r"n\d{8}$").all()
        counts.append(tuple(classes.value_counts().reindex(["n01440764", "n01443537", "n01484850"], fill_value=0)))
    assert len(set(counts)) > 1  # not so many of each class
    assert np.mean(counts, axis=0)[0] > 3  # a class of 10 in 16 gives more than a third


def test_imagenet_without_class_folders_says_what_it_expects(tmp_path):
    save_photographs(tmp_path, 3)
    with pytest.raises(DataUnavailable, match="no class folders .* CLASS/IMAGE"):
        sources.imagenet(str(tmp_path), tmp_path, 0)


# --- coco ----------------------------------------------------------------------------------------------------------

COUNT = 5


def coco_archive(count: int = COUNT) -> bytes:
    """coco_sample/train_sample/*.jpg as .tgz."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for i in range(count):
            jpeg = io.BytesIO()
            photograph(i).save(jpeg, "JPEG", quality=95)
            entry = tarfile.TarInfo(f"coco_sample/train_sample/{i:012d}.jpg")
            entry.size = jpeg.tell()
            jpeg.seek(0)
            archive.addfile(entry, jpeg)
    return file.getvalue()


class Server:
    """A web server with one file; `requests` are the paths asked for. It can be told to break off or to fail."""

    def __init__(self):
        self.content, self.status, self.break_off, self.requests = coco_archive(), 200, False, []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.requests.append(self.path)
                self.send_response(server.status)
                self.send_header("Content-Length", str(len(server.content)))
                self.end_headers()
                whole = len(server.content)
                self.wfile.write(server.content[: whole // 2 if server.break_off else whole])

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/coco_sample.tgz"
        Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def server(tmp_path, monkeypatch) -> Iterator[Server]:
    """The stand-in, known to fastai as COCO_SAMPLE; fastai's home has a configuration that the user wrote."""
    from fastai.data.external import URLs

    server = Server()
    monkeypatch.setattr(URLs, "COCO_SAMPLE", server.url)
    monkeypatch.setattr(sources, "COCO_SAMPLE_COUNT", COUNT)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("FASTAI_HOME", str(tmp_path / "fastai home"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for home in ("fastai home", "home"):
        (tmp_path / home).mkdir()
    yield server
    server.stop()


@pytest.fixture
def data(tmp_path) -> Path:
    return tmp_path / "data"


def test_coco_downloads_once_below_the_data_folder(server, data, tmp_path):
    config = tmp_path / "fastai home" / "config.ini"
    config.write_text("[DEFAULT]\ndata = /somewhere/of/mine\narchive = /elsewhere\nstorage = tmp\nmodel = models\n")
    before, temporary = config.read_text(), tempfile.gettempdir()
    listing = sources.coco("", data, 0)
    assert server.requests == ["/coco_sample.tgz"]
    assert listing.paths == [f"{i:012d}.jpg" for i in range(COUNT)]
    assert listing.root == data / "coco" / "coco_sample" / "train_sample"
    with Image.open(listing.root / listing.paths[0]) as image:
        assert image.size == (96, 80)
    assert sources.coco("", data, 0).paths == listing.paths
    assert len(server.requests) == 1
    assert config.read_text() == before
    assert os.listdir(tmp_path / "fastai home") == ["config.ini"]
    assert os.listdir(tmp_path / "home") == []
    assert tempfile.gettempdir() == temporary


def test_coco_unpacks_a_half_tree_again_from_the_archive(server, data):
    listing = sources.coco("", data, 0)
    whole = contents(listing.root)
    for name in listing.paths[1:4]:
        (listing.root / name).unlink()
    (data / "coco" / "unpacking").mkdir()
    (data / "coco" / "unpacking" / "left over").write_text("by a killed process")
    assert contents(sources.coco("", data, 0).root) == whole
    assert len(server.requests) == 1
    assert not (data / "coco" / "unpacking").exists()


def test_coco_downloads_again_if_the_archive_is_gone_or_broken(server, data):
    listing = sources.coco("", data, 0)
    whole = contents(listing.root)
    [archive] = data.rglob("coco_sample.tgz")
    archive.unlink()
    (listing.root / listing.paths[0]).unlink()
    assert contents(sources.coco("", data, 0).root) == whole
    assert len(server.requests) == 2
    archive.write_bytes(server.content[: len(server.content) // 2])
    (listing.root / listing.paths[0]).unlink()
    assert contents(sources.coco("", data, 0).root) == whole
    assert len(server.requests) == 3


def assert_unavailable(url: str, data: Path) -> str:
    """coco() raises DataUnavailable, which names the address and says what to do; returns the message."""
    with pytest.raises(DataUnavailable) as caught:
        sources.coco("", data, 0)
    message = str(caught.value)
    assert url in message
    assert "run again" in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    "content",
    [coco_archive()[:-2000], b"<html>moved</html>", coco_archive()[:3000] + bytes(2000) + coco_archive()[5000:], b""],
    ids=["cut off", "HTML", "overwritten", "empty"],
)
def test_coco_says_so_if_the_archive_is_corrupted_and_recovers(content, server, data):
    good, server.content = server.content, content
    message = assert_unavailable(server.url, data)
    assert "source folder, PHOTOS=DIR" in message
    server.content = good
    assert len(sources.coco("", data, 0).paths) == COUNT


def test_coco_says_so_if_the_download_breaks_off_and_recovers(server, data):
    server.break_off = True
    assert_unavailable(server.url, data)
    server.break_off = False
    assert len(sources.coco("", data, 0).paths) == COUNT


def test_coco_says_so_if_the_server_has_no_such_file(server, data):
    server.status = 404
    assert "404" in assert_unavailable(server.url, data)


def test_coco_says_so_if_the_archive_has_another_number_of_photographs(server, data):
    server.content = coco_archive(COUNT - 1)
    message = assert_unavailable(server.url, data)
    assert "has 4 photographs, not 5" in message
    server.content = coco_archive()
    assert len(sources.coco("", data, 0).paths) == COUNT


def test_coco_does_not_download_again_because_the_disk_is_full(server, data, monkeypatch):
    listing = sources.coco("", data, 0)
    (listing.root / listing.paths[0]).unlink()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "unpack_archive", full)
    monkeypatch.setattr(tarfile.TarFile, "extractall", full)
    assert "No space left on device" in assert_unavailable(server.url, data)
    assert len(server.requests) == 1


# --- several folders, and classes ----------------------------------------------------------------------------------


@pytest.fixture
def several(tmp_path) -> Path:
    """`photos` with train/ and val/, `tiny` with class folders, `loose` without either, a manifest.csv beside them."""
    for name in ("photos/train/a.png", "photos/train/b.png", "photos/val/c.png", "tiny/n01/d.png", "tiny/n02/e.png"):
        save(photograph(len(name)), tmp_path / name)
    save_photographs(tmp_path / "loose", 2)
    rows = "photos/train/a.png,dog\nphotos/val/c.png,\nloose/photo-01.jpg,lake\nelsewhere/x.png,cat\n"
    (tmp_path / "manifest.csv").write_text(f"path,class\n{rows}")
    return tmp_path


def test_several_folders_are_one_source_with_their_own_splits_and_classes(several, tmp_path):
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
    config = PhotoConfig(source="folder", folder=folders, n_images=0, val_share=0.5)
    manifest = find_photographs(config, tmp_path / "data", 16).manifest.set_index("path")
    assert manifest["class"].to_dict() == dict.fromkeys(listing.paths, "") | known
    assert manifest.split[photos].tolist() == ["train", "train", "val"]
    assert sorted(manifest.split.drop(photos)) == ["train", "train", "val", "val"]


def test_a_class_that_changes_makes_a_new_manifest(several, tmp_path):
    def classes() -> set[str]:
        config = PhotoConfig(source="folder", folder=str(several / "photos"), n_images=0)
        return set(find_photographs(config, tmp_path / "data").classes)

    assert classes() == {"dog"}
    (several / "manifest.csv").write_text("path,class\nphotos/val/c.png,cat\n")
    assert classes() == {"cat"}
    (several / "photos" / "manifest.csv").write_text("class,path\nfox,train/b.png\n")
    assert classes() == {"fox"}


def test_folders_of_one_name_and_a_comma_in_a_name(tmp_path):
    for name in ("a/pictures", "b/pictures", "a, b"):
        save_photographs(tmp_path / name, 1)
    both = sources.folder_tree(f"{tmp_path}/a/pictures,{tmp_path}/b/pictures", tmp_path / "data", 0)
    assert both.paths == ["pictures/photo-00.jpg", "pictures_/photo-00.jpg"]
    assert sources.folder_tree(str(tmp_path / "a, b"), tmp_path / "data", 0).root == tmp_path / "a, b"
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        sources.folder_tree(f"{tmp_path}/a/pictures,{tmp_path}/nowhere", tmp_path / "data", 0)
