"""The cache of decoded photographs: every file decoded once, whole or not there, gone on with after a kill."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Timer

import numpy as np
import pytest
from pictures import photograph, save, save_photographs

from colorize_lib import files, images
from colorize_lib.data import cache, manifest
from colorize_lib.data.cache import cached_photographs
from colorize_lib.data.manifest import PhotoSet
from colorize_lib.images import read_rgb, resize

SIZE = 32


def expected(photos: PhotoSet, size: int = SIZE) -> np.ndarray:
    """The photographs decoded and resized one by one: what the cache must hold."""
    return np.stack([resize(read_rgb((photos.root / path).read_bytes()), size) for path in photos.usable.path])


def left(data: Path) -> set[str]:
    """The endings of what lies in the folders of caches and manifests, but for locks."""
    return {path.suffix for folder in ("cache", "manifests") for path in (data / folder).iterdir()} - {".lock"}


@pytest.fixture
def folder(tmp_path) -> Path:
    """Eleven usable photographs, one of them upright only by its EXIF orientation, and an unusable file."""
    save_photographs(tmp_path / "photos", 10)
    exif = read_rgb((tmp_path / "photos" / "photo-00.jpg").read_bytes()).getexif()
    exif[0x0112] = 8
    save(photograph(20, (200, 100)), tmp_path / "photos" / "turned.jpg", exif=exif)
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"")
    return tmp_path / "photos"


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch) -> None:
    monkeypatch.setattr(cache, "CHUNK", 4)
    monkeypatch.setattr(manifest, "CHUNK", 4)


@pytest.fixture
def photos(folder, data, find) -> PhotoSet:
    return find(folder, data)


@pytest.fixture
def decodes(monkeypatch) -> list[int]:
    """The lengths of the files that are decoded from now on, wherever."""
    seen, decode = [], images.read_rgb
    for module in (images, manifest):
        monkeypatch.setattr(module, "read_rgb", lambda content: seen.append(len(content)) or decode(content))
    return seen


def test_a_fresh_run_decodes_every_file_once_and_the_cache_holds_what_decoding_gives(folder, data, decodes, find):
    photos = find(folder, data, SIZE)
    held = cached_photographs(photos, SIZE, data)
    assert sorted(decodes) == sorted(path.stat().st_size for path in folder.iterdir())
    assert isinstance(held, np.memmap) and not held.flags.writeable
    assert (held.shape, held.dtype) == ((11, SIZE, SIZE, 3), np.uint8)
    assert np.array_equal(held, expected(photos))
    assert left(data) == {".npy", ".csv"}
    decodes.clear()
    find(folder, data, SIZE), cached_photographs(photos, SIZE, data)
    assert decodes == []
    cached_photographs(photos, 16, data)  # another size
    assert len(decodes) == 11


def test_a_draw_that_was_interrupted_goes_on_after_the_last_whole_chunk(folder, data, decodes, monkeypatch, find):
    is_greyscale, seen = manifest.is_greyscale, []

    def failing(image):
        seen.append(image)
        return 1 / 0 if len(seen) == 7 else is_greyscale(image)  # in the second chunk

    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(manifest, "is_greyscale", failing)
        find(folder, data, SIZE)
    assert left(data) == {".growing", ".notes"}
    [notes] = (data / "manifests").iterdir()
    notes.write_text(notes.read_text() + '{"path": "half a li')
    decodes.clear()
    photos = find(folder, data, SIZE)
    assert len(decodes) == 8
    assert np.array_equal(cached_photographs(photos, SIZE, data), expected(photos))
    assert photos.digest() == find(folder, data / "other").digest()


@pytest.mark.parametrize("lost", ["*.growing", "*.notes"])
def test_a_draw_of_which_a_half_is_lost_begins_anew(folder, data, decodes, monkeypatch, lost, find):
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(cache.GrowingCache, "finish", lambda *_: 1 / 0)
        find(folder, data, SIZE)
    next(data.rglob(lost)).unlink()
    photos = find(folder, data, SIZE)
    assert len(decodes) == 24
    assert np.array_equal(cached_photographs(photos, SIZE, data), expected(photos))


def test_another_draw_has_a_cache_of_its_own_and_a_copy_of_the_files_has_not(folder, data, tmp_path, decodes, find):
    photos, fewer = find(folder, data, SIZE), find(folder, data, n_images=5)
    assert np.array_equal(cached_photographs(fewer, SIZE, data), expected(fewer))
    shutil.copytree(folder, tmp_path / "elsewhere")
    moved = find(tmp_path / "elsewhere", data, manifest=str(photos.path))
    decodes.clear()
    assert np.array_equal(cached_photographs(moved, SIZE, data), cached_photographs(photos, SIZE, data))
    assert decodes == []


def test_a_file_that_is_not_the_manifests_is_named_and_the_building_goes_on_when_it_is(photos, data, decodes):
    spoilt = photos.root / photos.usable.path[6]  # in the second chunk
    whole = spoilt.read_bytes()
    spoilt.write_bytes(whole[:-1])
    with pytest.raises(ValueError, match=f"{spoilt.name} is not the file of the manifest: its sha256 differs"):
        cached_photographs(photos, SIZE, data)
    spoilt.unlink()
    with pytest.raises(FileNotFoundError, match=f"{spoilt.name} is in the manifest but not on the disk"):
        cached_photographs(photos, SIZE, data)
    assert list((data / "cache").glob("*.npy")) == []
    spoilt.write_bytes(whole)
    decodes.clear()
    held = cached_photographs(photos, SIZE, data)
    assert len(decodes) <= 7  # a chunk of four was done, at least
    assert np.array_equal(held, expected(photos))


def test_a_file_that_became_something_else_is_named(photos, data):
    path = photos.root / photos.usable.path.iloc[0]
    path.unlink()
    path.mkdir()
    with pytest.raises(ValueError, match=rf"{path} is usable by the manifest, but not a regular file"):
        cached_photographs(photos, SIZE + 1, data)


@pytest.mark.parametrize("damage", ["empty", "cut", "another shape"])
def test_a_damaged_cache_is_named_and_made_again(photos, data, capsys, damage):
    whole = np.array(cached_photographs(photos, SIZE, data))
    path = cache.cache_path(photos.usable, SIZE, data)
    content = path.read_bytes()
    path.write_bytes({"empty": b"", "cut": content[: len(content) // 2], "another shape": content}[damage])
    if damage == "another shape":
        np.save(path, whole[:-1])
    assert np.array_equal(cached_photographs(photos, SIZE, data), whole)
    assert f"{path} is damaged" in capsys.readouterr().out


def test_names_the_file_that_the_manifest_calls_usable_but_is_not(photos, data):
    rows = photos.manifest.copy()
    rows.loc[rows.path == "broken.jpg", ["split", "reason"]] = ["train", ""]
    with pytest.raises(ValueError, match=r"broken\.jpg is usable by the manifest, but not decodable"):
        cached_photographs(PhotoSet(photos.root, rows, photos.path), SIZE, data)


def test_says_how_many_photographs_are_enlarged(photos, data, capsys):
    capsys.readouterr()
    cached_photographs(photos, SIZE, data)
    assert capsys.readouterr().out == ""
    cached_photographs(photos, 90, data)  # ten are 96x80, one is 100x200
    assert capsys.readouterr().out == "10 of 11 photographs are smaller than 90 px, and are enlarged\n"


# A process that builds a cache. At the sixth photograph, it says so and halts until its standard input is closed.
HALTING_BUILD = """
import itertools, sys
from pathlib import Path
from colorize_lib.data import cache
import pandas as pd
from types import SimpleNamespace

folder, manifest, data, size = sys.argv[1:]
decode, numbers = cache.read_square, itertools.count(1)

def halting(*arguments):
    if next(numbers) == 6:
        print("halted", flush=True)
        sys.stdin.read()
    return decode(*arguments)

cache.read_square, cache.CHUNK = halting, 2
photos = SimpleNamespace(root=Path(folder), usable=pd.read_csv(manifest, keep_default_na=False).query("split != ''"))
cache.cached_photographs(photos, int(size), Path(data))
print("finished", flush=True)
"""


@pytest.fixture
def halted_build(photos, data) -> Iterator[subprocess.Popen]:
    """The process above, halted."""
    command = [sys.executable, "-c", HALTING_BUILD, str(photos.root), str(photos.path), str(data), str(SIZE)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, cwd=files.ROOT, **pipes) as process:
        assert "halted\n" in iter(process.stdout.readline, "")  # other lines are progress, if it takes its time
        yield process
        process.kill()


@pytest.mark.parametrize("killed", [True, False])
def test_one_process_goes_on_for_a_killed_one_and_waits_for_a_living_one(killed, photos, data, decodes, halted_build):
    if killed:
        halted_build.kill()
        halted_build.wait()
        assert list((data / "cache").glob("*.npy")) == []
    else:
        Timer(0.5, halted_build.stdin.close).start()
    held = cached_photographs(photos, SIZE, data)
    assert len(decodes) in ((6, 7) if killed else (0,))  # of the first five, four were written, and one perhaps
    assert np.array_equal(held, expected(photos))
    assert left(data) == {".npy", ".csv"}
    assert killed or (halted_build.stdout.read().endswith("finished\n") and halted_build.wait() == 0)
