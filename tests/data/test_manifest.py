"""The manifest: the draw, the split, the unusable files, and what is kept of them."""

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pictures import grey_photograph, photograph, save, save_photographs
from PIL import Image

from colorize_lib.data import drawing
from colorize_lib.data.cache import cached_photographs
from colorize_lib.data.drawing import COLUMNS
from colorize_lib.data.manifest import PhotoConfig, PhotoSet, find_photographs, read_manifest
from colorize_lib.images import read_rgb, resize


def find(folder: Path, data_dir: Path, size: int = 0, **settings) -> PhotoSet:
    """Find the photographs of a folder; all of them unless told otherwise."""
    config = PhotoConfig(**({"source": "folder", "folder": str(folder), "n_images": 0} | settings))
    return find_photographs(config, data_dir, size)


def split_of(photos: PhotoSet) -> dict[str, str]:
    return dict(zip(photos.manifest.path, photos.manifest.split, strict=True))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty usable photographs."""
    save_photographs(tmp_path / "photos", 20)
    return tmp_path / "photos"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def examined(monkeypatch) -> list[str]:
    """The names of the files that are examined from now on."""
    names, examine = [], drawing.examine
    monkeypatch.setattr(drawing, "examine", lambda root, name, *rest: names.append(name) or examine(root, name, *rest))
    return names


# --- the draw and the split ----------------------------------------------------------------------------------------


def test_splits_all_photographs_by_the_share(folder, data):
    photos = find(folder, data)
    assert sorted(photos.usable.path) == [f"photo-{i:02d}.jpg" for i in range(20)]
    assert (photos.usable.split == "train").sum() == 16
    assert (photos.usable.split == "val").sum() == 4
    assert (find(folder, data, val_share=0.5).usable.split == "val").sum() == 10


def test_the_same_seed_gives_the_same_split_in_another_folder_and_another_one_does_not(folder, data, tmp_path):
    first = find(folder, data, seed=1, n_images=12)
    shutil.copytree(folder, tmp_path / "elsewhere")
    again = find(tmp_path / "elsewhere", tmp_path / "other data", seed=1, n_images=12)
    pd.testing.assert_frame_equal(again.manifest, first.manifest)
    assert again.digest() == first.digest()
    other = find(folder, data, seed=2, n_images=12)
    assert set(other.usable.path) != set(first.usable.path)
    all_of_them, of_another_seed = find(folder, data, seed=1), find(folder, data, seed=2)
    assert split_of(all_of_them) != split_of(of_another_seed)
    assert all_of_them.digest() != of_another_seed.digest()


def test_draws_exactly_n_usable_photographs(folder, data, examined):
    for i in (3, 7):
        (folder / f"photo-{i:02d}.jpg").write_bytes(b"")
    photos = find(folder, data, n_images=18)
    assert len(photos.usable) == 18
    assert set(photos.manifest.reason[photos.manifest.split == ""].str.split(":").str[0]) == {"not decodable"}
    examined.clear()
    assert len(find(folder, data, n_images=5, seed=3).usable) == 5
    assert len(examined) <= 7  # no more than it needs


def test_both_sides_get_a_photograph_however_few_there_are(tmp_path, data):
    save_photographs(tmp_path / "two", 2)
    assert sorted(find(tmp_path / "two", data).usable.split) == ["train", "val"]
    save_photographs(tmp_path / "three", 3)
    assert sorted(find(tmp_path / "three", data, val_share=0.99).usable.split) == ["train", "val", "val"]


def test_keeps_a_ready_made_split_and_nothing_beside_it(folder, data):
    for i in range(20):
        part = "val" if i % 4 == 0 else "train/deep" if i % 4 == 1 else "train"
        (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / f"photo-{i:02d}.jpg").rename(folder / part / f"photo-{i:02d}.jpg")
    save(photograph(77), folder / "stray.jpg")
    save(photograph(78), folder / "test" / "other.jpg")
    split = split_of(find(folder, data))
    assert len(split) == 20
    assert {name: name.split("/")[0] for name in split} == split
    drawn = split_of(find(folder, data, n_images=10))
    assert len(drawn) == 10
    assert {name: name.split("/")[0] for name in drawn} == drawn


@pytest.mark.parametrize("settings", [{"source": "web"}, {"val_share": 0}, {"val_share": 1.0}, {"n_images": -1}])
def test_refuses_settings_that_make_no_sense(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        PhotoConfig(**settings)


def test_equal_files_are_on_one_side_of_a_drawn_split(folder, data, capsys):
    for i in range(10):
        shutil.copy(folder / f"photo-{i:02d}.jpg", folder / f"copy-{i:02d}.jpg")
    rows = find(folder, data, 32, val_share=0.5).usable
    assert len(rows) == 30
    assert (rows.groupby("sha256").split.nunique() == 1).all()
    assert set(rows.split) == {"train", "val"}
    assert "; 10 are copies of others, on the same side [" in capsys.readouterr().out


def test_of_equal_files_in_train_and_val_the_one_in_train_is_left_out(folder, data, capsys):
    for i in range(20):
        (folder / ("val" if i < 5 else "train")).mkdir(exist_ok=True)
        (folder / f"photo-{i:02d}.jpg").rename(folder / ("val" if i < 5 else "train") / f"photo-{i:02d}.jpg")
    for i in range(9):
        shutil.copy(folder / "val" / "photo-02.jpg", folder / "train" / f"copy-{i}.jpg")
    photos = find(folder, data, 32)  # more than a fifth of the files, and yet not too many
    assert len(photos.usable) == 20
    out = photos.manifest[photos.manifest.split == ""]
    assert set(out.path) == {f"train/copy-{i}.jpg" for i in range(9)}
    assert set(out.reason) == {"duplicate: the same file is in val, val/photo-02.jpg"}
    assert "9 unusable (9 duplicate)" in capsys.readouterr().out
    held = cached_photographs(photos, 32, data)
    files = [(photos.root / path).read_bytes() for path in photos.usable.path]
    assert np.array_equal(held, np.stack([resize(read_rgb(content), 32) for content in files]))


def test_a_manifest_of_ones_own_that_has_a_file_on_both_sides_is_told(folder, data, tmp_path, capsys):
    rows = find(folder, data).manifest
    rows.loc[rows.index[:2], ["sha256", "split"]] = [["00", "train"], ["00", "val"]]
    rows.to_csv(tmp_path / "kept.csv", index=False)
    find(folder, data, manifest=str(tmp_path / "kept.csv"))
    assert "1 are copies of others, 1 ON BOTH SIDES" in capsys.readouterr().out


# --- the manifest --------------------------------------------------------------------------------------------------


def test_the_manifest_says_path_size_content_and_split_of_each_file(folder, data):
    photos = find(folder, data)
    assert photos.path.parent == data / "manifests"
    assert photos.path.read_text().splitlines()[0] == "path,class,width,height,sha256,split,reason"
    assert list(photos.manifest.columns) == COLUMNS
    assert photos.root == folder
    for row in photos.manifest.itertuples():
        assert (row.width, row.height) == (96, 80)
        assert row.sha256 == hashlib.sha256((folder / row.path).read_bytes()).hexdigest()
        assert row.split in ("train", "val")
        assert row.reason == ""


def test_a_manifest_gives_the_same_split_from_another_place(folder, data, tmp_path):
    (folder / "photo-07.jpg").write_bytes(b"")
    first = find(folder, data, seed=5)
    shutil.copytree(folder, tmp_path / "elsewhere")
    first.manifest.drop(columns="class").to_csv(tmp_path / "kept.csv", index=False)
    manifest = str(tmp_path / "kept.csv")
    # Neither the seed nor the other settings have a say once a manifest is given.
    again = find(tmp_path / "elsewhere", tmp_path / "other", manifest=manifest, seed=9, n_images=3, val_share=0.5)
    pd.testing.assert_frame_equal(again.manifest, first.manifest)
    assert again.digest() == first.digest()
    assert again.root == tmp_path / "elsewhere"
    assert not (tmp_path / "other" / "manifests").exists()


def test_a_changed_folder_gives_a_new_manifest(folder, data):
    first = find(folder, data)
    save(photograph(50), folder / "new.jpg")
    second = find(folder, data)
    assert second.path != first.path
    assert "new.jpg" in set(second.usable.path)
    (folder / "photo-00.jpg").unlink()
    third = find(folder, data)
    assert third.path not in (first.path, second.path)
    assert "photo-00.jpg" not in set(third.manifest.path)
    assert first.path.exists()


def test_a_file_changed_to_one_of_the_same_size_is_examined_again(folder, data, examined):
    first = find(folder, data)
    file = folder / "photo-00.jpg"
    content = bytearray(file.read_bytes())
    content[-100] ^= 1  # among the compressed pixels
    file.write_bytes(content)
    os.utime(file, ns=(0, first.path.stat().st_mtime_ns + 1_000_000))
    changed = find(folder, data).manifest.set_index("path")
    assert changed.sha256["photo-00.jpg"] == hashlib.sha256(content).hexdigest()
    assert changed.sha256["photo-00.jpg"] != first.manifest.set_index("path").sha256["photo-00.jpg"]


def test_a_file_dated_in_the_future_is_not_examined_at_every_call(folder, data, examined):
    os.utime(folder / "photo-03.jpg", (4e9, 4e9))
    find(folder, data)
    find(folder, data)
    assert len(examined) == 20


def test_an_interrupted_writing_leaves_no_manifest(folder, data, monkeypatch):
    to_csv = pd.DataFrame.to_csv

    def half(self, path, **options):
        to_csv(self[: len(self) // 2], path, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pd.DataFrame, "to_csv", half)
        with pytest.raises(KeyboardInterrupt):
            find(folder, data)
    assert list((data / "manifests").glob("*.csv")) == []
    assert len(find(folder, data).usable) == 20


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "cannot be read"),
        ("path,width,height,sha256\na.jpg,1,1,00\n", "lacks the column split"),
        ("path,width,height,sha256,split,reason\na.jpg,96,80,00,train,\nb.jpg,96", "row 2 has not 6 fields"),
        ("path,width,height,sha256,split,reason\na.jpg,96,80,00,test,\n", "has the split 'test'"),
        ("path,width,height,sha256,split,reason\na.jpg,96,80,00,train,,,\n", "row 1 has not 6 fields"),
        ("path,width,height,sha256,split,reason\na.jpg,wide,80,00,train,\n", "cannot be read.*wide"),
        ('path,width,height,sha256,split,reason\n"a.jpg,96,80,00,train,\n', "cannot be read: unexpected end"),
    ],
    ids=["empty", "column missing", "cut off", "unknown split", "long row", "no number", "open quote"],
)
def test_refuses_a_damaged_manifest_by_name(text, reason, tmp_path):
    path = tmp_path / "damaged.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=reason) as caught:
        read_manifest(path)
    assert str(path) in str(caught.value)


def test_says_which_manifest_or_folder_is_missing(folder, data, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"lost\.csv does not exist"):
        find(folder, data, manifest=str(tmp_path / "lost.csv"))
    with pytest.raises(FileNotFoundError, match="no such folder does not exist"):
        find(tmp_path / "no such folder", data)


def test_the_digest_depends_on_content_and_split_only(folder, data):
    photos = find(folder, data)
    assert PhotoSet(Path("/elsewhere"), photos.manifest.assign(width=1), Path("x.csv")).digest() == photos.digest()
    for column, value in [("sha256", "00"), ("split", "train"), ("path", "a.jpg")]:
        changed = photos.manifest.assign(**{column: value})
        assert PhotoSet(photos.root, changed, photos.path).digest() != photos.digest()


# --- names ---------------------------------------------------------------------------------------------------------

NAMES = [
    "with space.jpg",
    "comma, quote \" and ' apostrophe.jpg",
    "Übung на 写真.jpg",
    "NA/NA.jpg",
    "null/nan.jpg",
    " leading space.jpg",
    "#1;tab\t.jpg",
    "line\nbreak.jpg",
    "100 %.JPG",
    "deep/er/still/a.jpeg",
    "007.jpg",
]


def test_any_name_survives_the_manifest(tmp_path, data):
    for i, name in enumerate(NAMES):
        save(photograph(i), tmp_path / "odd names" / name, format="JPEG")
    photos = find(tmp_path / "odd names", data)
    assert sorted(photos.usable.path) == sorted(NAMES)
    for row in photos.usable.itertuples():
        assert hashlib.sha256((photos.root / row.path).read_bytes()).hexdigest() == row.sha256
    assert len(photos.digest()) == 16


def test_lists_a_name_that_fits_no_csv_as_unusable(folder, data):
    save(photograph(60), folder / "return\rhere.jpg")
    rows = find(folder, data).manifest.set_index("path")
    assert rows.reason[r"return\rhere.jpg"] == "unreadable: its name does not fit into a CSV in UTF-8"
    assert (rows.split != "").sum() == 20


def test_lists_a_name_that_is_not_utf_8_as_unusable(folder, data):
    try:
        (folder / os.fsdecode(b"caf\xe9.jpg")).write_bytes((folder / "photo-00.jpg").read_bytes())
    except OSError:
        pytest.skip("this file system only takes UTF-8 names")
    rows = find(folder, data).manifest.set_index("path")
    assert rows.reason[r"caf\udce9.jpg"] == "unreadable: its name does not fit into a CSV in UTF-8"
    assert (rows.split != "").sum() == 20


# --- unusable files ------------------------------------------------------------------------------------------------


def spoil(folder: Path) -> dict[str, str]:
    """Add one file of each unusable kind; returns name -> how its reason begins."""
    save(grey_photograph(30), folder / "grey.png")
    save(grey_photograph(31).convert("RGB"), folder / "grey-rgb.png")
    save(grey_photograph(32).convert("RGB"), folder / "grey.jpg", quality=40)
    noise = np.random.default_rng(0).integers(-4, 5, (80, 96, 3))
    noisy = (np.asarray(grey_photograph(33).convert("RGB")) + noise).clip(0, 255).astype(np.uint8)
    save(Image.fromarray(noisy), folder / "grey-noise.jpg", quality=90)
    save(photograph(34, (300, 63)), folder / "small.jpg")
    whole = save(photograph(35), folder / "truncated.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(whole[:-300])
    (folder / "page.jpg").write_text("<!DOCTYPE html><html>")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "lost.jpg").symlink_to(folder / "nowhere.jpg")
    os.mkfifo(folder / "pipe.jpg")
    return {
        "grey.png": "greyscale",
        "grey-rgb.png": "greyscale",
        "grey.jpg": "greyscale",
        "grey-noise.jpg": "greyscale",
        "small.jpg": "too small: 300x63",
        "truncated.jpg": "not decodable: ",
        "page.jpg": "not decodable: ",
        "empty.jpg": "not decodable: ",
        "lost.jpg": "unreadable: not a file",
        "pipe.jpg": "unreadable: not a file",
    }


def test_lists_each_unusable_file_with_its_reason_and_counts_them_in_one_line(tmp_path, data, capsys):
    folder = tmp_path / "photos"
    save_photographs(folder, 45)
    expected = spoil(folder)
    photos = find(folder, data)
    lines = capsys.readouterr().out.splitlines()
    rows = photos.manifest.set_index("path")
    assert len(rows) == 55
    for name, reason in expected.items():
        assert rows.reason[name].startswith(reason), name
        assert rows.split[name] == ""
    assert (rows.reason.drop(list(expected)) == "").all()
    assert not set(photos.usable.path) & set(expected)
    assert len(lines) == 1
    assert lines[0].startswith("45 photographs: 36 train, 9 val; 10 unusable (")
    for part in ("4 greyscale", "1 too small", "3 not decodable", "2 unreadable"):
        assert part in lines[0]
    assert photos.path.name in lines[0]


def test_lists_a_file_that_cannot_be_opened(folder, data, monkeypatch):
    read_bytes = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == "photo-04.jpg":
            raise PermissionError(13, "Permission denied", str(path))
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    rows = find(folder, data).manifest.set_index("path")
    assert rows.reason["photo-04.jpg"] == "unreadable: Permission denied"
    assert rows.split["photo-04.jpg"] == ""


def test_accepts_a_fifth_of_unusable_files_and_no_more(tmp_path, data):
    folder = tmp_path / "photos"
    save_photographs(folder, 8)
    for name in ("a.jpg", "b.jpg"):
        (folder / name).write_bytes(b"")
    assert len(find(folder, data).usable) == 8
    (folder / "c.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match=r"3 of the 11 files examined are unusable, more than 20%") as caught:
        find(folder, data)
    [newest] = [path for path in (data / "manifests").iterdir() if len(pd.read_csv(path)) == 11]
    manifest = read_manifest(newest)
    first = manifest[manifest.reason != ""].iloc[0]
    assert f"first: {first.path}, {first.reason}" in str(caught.value)
    assert str(newest) in str(caught.value)


def test_says_so_if_nothing_is_left(tmp_path, data):
    folder = tmp_path / "photos"
    for i in range(3):
        save(grey_photograph(i), folder / f"{i}.png")
    with pytest.raises(ValueError, match="3 of the 3 files examined are unusable"):
        find(folder, data)
    save(photograph(), tmp_path / "one" / "a.jpg")
    with pytest.raises(ValueError, match=r"no photograph is left for train \(1 files examined"):
        find(tmp_path / "one", data)
    (tmp_path / "sides" / "val").mkdir(parents=True)
    save(photograph(), tmp_path / "sides" / "train" / "a.jpg")
    with pytest.raises(ValueError, match="no photograph is left for val"):
        find(tmp_path / "sides", data)


def test_sizes_are_those_after_rotation(tmp_path, data):
    folder = tmp_path / "photos"
    save_photographs(folder, 4)
    exif = Image.Exif()
    exif[0x0112] = 6
    save(photograph(8, (400, 300)), folder / "turned.jpg", exif=exif)
    save(photograph(9, (511, 512)), folder / "almost square.jpg", exif=exif)
    rows = find(folder, data).manifest.set_index("path")
    assert (rows.width["turned.jpg"], rows.height["turned.jpg"]) == (300, 400)
    assert (rows.width["almost square.jpg"], rows.height["almost square.jpg"]) == (512, 511)


def test_the_smallest_side_is_a_setting(tmp_path, data):
    save_photographs(tmp_path / "tiny", 5, size=(32, 40))
    with pytest.raises(ValueError, match="too small: 32x40"):
        find(tmp_path / "tiny", data)
    assert len(find(tmp_path / "tiny", data, min_side=32).usable) == 5
