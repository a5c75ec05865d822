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

from colorize_lib.data import manifest
from colorize_lib.data.cache import cached_photographs
from colorize_lib.data.manifest import PhotoConfig, PhotoSet, read_manifest
from colorize_lib.images import read_rgb, resize


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve usable photographs."""
    save_photographs(tmp_path / "photos", 12)
    return tmp_path / "photos"


@pytest.fixture
def examined(monkeypatch) -> list[int]:
    """The lengths of the files that are examined from now on."""
    sizes, read = [], manifest.read_rgb
    monkeypatch.setattr(manifest, "read_rgb", lambda content: sizes.append(len(content)) or read(content))
    return sizes


def split_of(photos: PhotoSet) -> dict[str, str]:
    return dict(zip(photos.manifest.path, photos.manifest.split, strict=True))


def into_sides(folder: Path, n_val: int) -> None:
    """Make a ready-made split of the photographs."""
    for i, path in enumerate(sorted(folder.glob("*.jpg"))):
        side = folder / ("val" if i < n_val else "train")
        side.mkdir(exist_ok=True)
        path.rename(side / path.name)


@pytest.mark.parametrize(("count", "share", "n_val"), [(10, 0.2, 2), (10, 0.5, 5), (2, 0.2, 1), (3, 0.99, 2)])
def test_splits_all_photographs_by_the_share_with_one_on_either_side(count, share, n_val, tmp_path, data, find):
    names = save_photographs(tmp_path / "photos", count)
    split = split_of(find(tmp_path / "photos", data, val_share=share))
    assert sorted(split) == names
    assert sorted(split.values()) == ["train"] * (count - n_val) + ["val"] * n_val


def test_the_same_seed_gives_the_same_split_in_another_folder_and_another_one_does_not(folder, data, tmp_path, find):
    first = find(folder, data, seed=1, n_images=8)
    shutil.copytree(folder, tmp_path / "elsewhere")
    again = find(tmp_path / "elsewhere", tmp_path / "other data", seed=1, n_images=8)
    pd.testing.assert_frame_equal(again.manifest, first.manifest)
    assert again.digest() == first.digest()
    assert set(find(folder, data, seed=2, n_images=8).usable.path) != set(first.usable.path)
    one, other = find(folder, data, seed=1), find(folder, data, seed=2)
    assert split_of(one) != split_of(other) and one.digest() != other.digest()


def test_draws_exactly_n_usable_photographs_and_examines_no_more_than_it_needs(folder, data, examined, find):
    for i in (3, 7):
        (folder / f"photo-{i:02d}.jpg").write_bytes(b"")
    photos = find(folder, data, n_images=10)
    assert len(photos.usable) == 10
    assert set(photos.manifest.reason[photos.manifest.split == ""].str.split(":").str[0]) == {"not decodable"}
    examined.clear()
    assert len(find(folder, data, n_images=4, seed=3).usable) == 4
    assert len(examined) <= 6


@pytest.mark.parametrize("n_images", [0, 6])
def test_keeps_a_ready_made_split_and_nothing_beside_it(n_images, folder, data, find):
    into_sides(folder, 4)
    save(photograph(76), folder / "train" / "deep" / "er.jpg")
    save(photograph(77), folder / "stray.jpg")
    save(photograph(78), folder / "test" / "other.jpg")
    split = split_of(find(folder, data, n_images=n_images))
    assert len(split) == (n_images or 13)
    assert {name: name.split("/")[0] for name in split} == split


@pytest.mark.parametrize("settings", [{"source": "web"}, {"val_share": 0}, {"val_share": 1.0}, {"n_images": -1}])
def test_refuses_settings_that_make_no_sense(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        PhotoConfig(**settings)


def test_equal_files_are_on_one_side_of_a_drawn_split(folder, data, capsys, find):
    for i in range(6):
        shutil.copy(folder / f"photo-{i:02d}.jpg", folder / f"copy-{i:02d}.jpg")
    rows = find(folder, data, 32, val_share=0.5).usable
    assert len(rows) == 18
    assert (rows.groupby("sha256").split.nunique() == 1).all()
    assert set(rows.split) == {"train", "val"}
    assert "; 6 are copies of others, on the same side [" in capsys.readouterr().out


def test_of_equal_files_in_train_and_val_the_one_in_train_is_left_out(folder, data, capsys, find):
    into_sides(folder, 4)
    copies = {f"train/copy-{i}.jpg" for i in range(5)}  # more than a fifth of the files, and yet not too many
    for name in copies:
        shutil.copy(folder / "val" / "photo-02.jpg", folder / name)
    photos = find(folder, data, 32)
    out = photos.manifest[photos.manifest.split == ""]
    assert (len(photos.usable), set(out.path)) == (12, copies)
    assert set(out.reason) == {"duplicate: the same file is in val, val/photo-02.jpg"}
    assert "5 unusable (5 duplicate)" in capsys.readouterr().out
    held = cached_photographs(photos, 32, data)
    files = [(photos.root / path).read_bytes() for path in photos.usable.path]
    assert np.array_equal(held, np.stack([resize(read_rgb(content), 32) for content in files]))


def test_the_manifest_says_path_size_content_and_split_of_each_file(folder, data, find):
    exif = Image.Exif()
    exif[0x0112] = 6
    save(photograph(8, (400, 300)), folder / "turned.jpg", exif=exif)
    photos = find(folder, data)
    assert (photos.root, photos.path.parent) == (folder, data / "manifests")
    assert photos.path.read_text().splitlines()[0] == "path,class,width,height,sha256,split,reason"
    assert len(photos.manifest) == 13
    for row in photos.manifest.itertuples():
        assert (row.width, row.height) == ((300, 400) if row.path == "turned.jpg" else (96, 80))
        assert row.sha256 == hashlib.sha256((folder / row.path).read_bytes()).hexdigest()
        assert row.split in ("train", "val") and row.reason == ""


def test_a_manifest_gives_the_same_split_from_another_place(folder, data, tmp_path, capsys, find):
    (folder / "photo-07.jpg").write_bytes(b"")
    first = find(folder, data, seed=5)
    shutil.copytree(folder, tmp_path / "elsewhere")
    first.manifest.drop(columns="class").to_csv(tmp_path / "kept.csv", index=False)
    kept = str(tmp_path / "kept.csv")
    # Neither the seed nor the other settings have a say once a manifest is given.
    again = find(tmp_path / "elsewhere", tmp_path / "other", manifest=kept, seed=9, n_images=3, val_share=0.5)
    pd.testing.assert_frame_equal(again.manifest, first.manifest)
    assert (again.digest(), again.root) == (first.digest(), tmp_path / "elsewhere")
    assert not (tmp_path / "other" / "manifests").exists()
    rows = first.manifest.copy()
    rows.loc[rows.index[rows.reason == ""][:2], ["sha256", "split"]] = [["00", "train"], ["00", "val"]]
    rows.to_csv(kept, index=False)
    find(folder, data, manifest=kept)
    assert "1 are copies of others, 1 ON BOTH SIDES" in capsys.readouterr().out
    with pytest.raises(FileNotFoundError, match=r"lost\.csv"):
        find(folder, data, manifest=str(tmp_path / "lost.csv"))


def test_a_changed_folder_gives_a_new_manifest_and_a_changed_file_is_examined_again(folder, data, find):
    first = find(folder, data)
    save(photograph(50), folder / "new.jpg")
    second = find(folder, data)
    assert set(second.usable.path) - set(first.usable.path) == {"new.jpg"}
    (folder / "photo-00.jpg").unlink()
    third = find(folder, data)
    assert set(second.usable.path) - set(third.manifest.path) == {"photo-00.jpg"}
    assert len({first.path, second.path, third.path}) == 3 and first.path.exists()
    content = bytearray((folder / "new.jpg").read_bytes())
    content[-100] ^= 1  # among the compressed pixels: a file of the same size
    (folder / "new.jpg").write_bytes(content)
    os.utime(folder / "new.jpg", ns=(0, third.path.stat().st_mtime_ns + 1_000_000))
    changed = find(folder, data).manifest.set_index("path")
    assert changed.sha256["new.jpg"] == hashlib.sha256(content).hexdigest()


def test_a_file_dated_in_the_future_is_not_examined_at_every_call(folder, data, examined, find):
    os.utime(folder / "photo-03.jpg", (4e9, 4e9))
    find(folder, data), find(folder, data)
    assert len(examined) == 12


def test_an_interrupted_writing_leaves_no_manifest(folder, data, monkeypatch, find):
    to_csv = pd.DataFrame.to_csv

    def half(self, path, **options):
        to_csv(self[: len(self) // 2], path, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(pd.DataFrame, "to_csv", half)
        find(folder, data)
    assert list((data / "manifests").glob("*.csv")) == []
    assert len(find(folder, data).usable) == 12


HEADER = "path,width,height,sha256,split,reason\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "cannot be read"),
        ("path,width,height,sha256\na.jpg,1,1,00\n", "lacks the column split"),
        (f"{HEADER}a.jpg,96,80,00,train,\nb.jpg,96", "has not 6 fields"),
        (f"{HEADER}a.jpg,96,80,00,test,\n", "has the split 'test'"),
        (f"{HEADER}a.jpg,96,80,00,train,,,\n", "has not 6 fields"),
        (f"{HEADER}a.jpg,wide,80,00,train,\n", "wide"),
        (f'{HEADER}"a.jpg,96,80,00,train,\n', "unexpected end"),
    ],
    ids=["empty", "column missing", "cut off", "unknown split", "long row", "no number", "open quote"],
)
def test_refuses_a_damaged_manifest_by_name(text, reason, tmp_path):
    (tmp_path / "damaged.csv").write_text(text)
    with pytest.raises(ValueError, match=rf"damaged\.csv.*{reason}"):
        read_manifest(tmp_path / "damaged.csv")


def test_the_digest_depends_on_content_and_split_only(folder, data, find):
    photos = find(folder, data)
    assert PhotoSet(Path("/elsewhere"), photos.manifest.assign(width=1), Path("x.csv")).digest() == photos.digest()
    for column, value in [("sha256", "00"), ("split", "train"), ("path", "a.jpg")]:
        changed = photos.manifest.assign(**{column: value})
        assert PhotoSet(photos.root, changed, photos.path).digest() != photos.digest()


NAMES = ["comma, quote \" and ' apostrophe.jpg", "Übung on 写真.jpg", "NA/NA.jpg", "null/nan.jpg", " leading space.jpg"]
NAMES += ["#1;tab\t.jpg", "line\nbreak.jpg", "100 %.JPG", "007.jpg"]


def test_any_name_survives_the_manifest(tmp_path, data, find):
    for i, name in enumerate(NAMES):
        save(photograph(i), tmp_path / "odd names" / name, format="JPEG")
    photos = find(tmp_path / "odd names", data)
    assert sorted(photos.usable.path) == sorted(NAMES)
    for row in photos.usable.itertuples():
        assert hashlib.sha256((photos.root / row.path).read_bytes()).hexdigest() == row.sha256


@pytest.mark.parametrize(
    ("name", "printed"), [(b"return\rhere.jpg", r"return\rhere.jpg"), (b"caf\xe9.jpg", r"caf\udce9.jpg")]
)
def test_lists_a_name_that_fits_no_csv_as_unusable(name, printed, folder, data, find):
    try:
        shutil.copy(folder / "photo-00.jpg", folder / os.fsdecode(name))
    except OSError:
        pytest.skip("this file system only takes UTF-8 names")
    rows = find(folder, data).manifest.set_index("path")
    assert rows.reason[printed] == "unreadable: its name does not fit into a CSV in UTF-8"
    assert (rows.split != "").sum() == 12


def spoil(folder: Path) -> dict[str, str]:
    """Add one file of each unusable kind; returns name -> how its reason begins."""
    save(grey_photograph(30), folder / "grey.png")
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
        **dict.fromkeys(["grey.png", "grey.jpg", "grey-noise.jpg"], "greyscale"),
        **dict.fromkeys(["truncated.jpg", "page.jpg", "empty.jpg"], "not decodable: "),
        **dict.fromkeys(["lost.jpg", "pipe.jpg"], "unreadable: not a file"),
        "small.jpg": "too small: 300x63",
    }


def test_lists_each_unusable_file_with_its_reason_and_counts_them_in_one_line(tmp_path, data, capsys, find):
    save_photographs(tmp_path / "photos", 40)
    expected = spoil(tmp_path / "photos")
    photos = find(tmp_path / "photos", data)
    rows = photos.manifest.set_index("path")
    assert len(rows) == 49 and not set(photos.usable.path) & set(expected)
    for name, reason in expected.items():
        assert rows.reason[name].startswith(reason), name
    assert (rows.reason.drop(list(expected)) == "").all()
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith("40 photographs: 32 train, 8 val; 9 unusable (3 ") and line.endswith(f"[{photos.path.name}]")
    for part in ("3 greyscale", "1 too small", "3 not decodable", "2 unreadable"):
        assert part in line


def test_lists_a_file_that_cannot_be_opened(folder, data, monkeypatch, find):
    read_bytes = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == "photo-04.jpg":
            raise PermissionError(13, "Permission denied", str(path))
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    rows = find(folder, data).manifest.set_index("path")
    assert (rows.reason["photo-04.jpg"], rows.split["photo-04.jpg"]) == ("unreadable: Permission denied", "")


def test_grey_photographs_among_them_are_left_out_and_counted(tmp_path, data, find, capsys):
    save_photographs(tmp_path, 8)
    for k in range(6):
        save(grey_photograph(k), tmp_path / f"grey-{k}.png")
    assert len(find(tmp_path, data).usable) == 8
    assert "6 greyscale" in capsys.readouterr().out


def test_accepts_a_fifth_of_unusable_files_and_no_more(tmp_path, data, find):
    save_photographs(tmp_path, 8)
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"")
    assert len(find(tmp_path, data).usable) == 8
    (tmp_path / "c.jpg").write_bytes(b"")
    message = r"3 of the 11 files examined are unusable, more than 20% \(first: [abc]\.jpg, not decodable.*\.csv"
    with pytest.raises(ValueError, match=message):
        find(tmp_path, data)


@pytest.mark.parametrize(("name", "side"), [("a.jpg", "train"), ("train/a.jpg", "val")])
def test_says_so_if_a_side_is_left_without_a_photograph(name, side, tmp_path, data, find):
    (tmp_path / "photos" / "val").mkdir(parents=True)
    save(photograph(), tmp_path / "photos" / name)
    with pytest.raises(ValueError, match=f"no photograph is left for {side}"):
        find(tmp_path / "photos", data)


def test_the_smallest_side_is_a_setting(tmp_path, data, find):
    save_photographs(tmp_path / "tiny", 5, size=(32, 40))
    with pytest.raises(ValueError, match="5 of the 5 files examined are unusable.*too small: 32x40"):
        find(tmp_path / "tiny", data)
    assert len(find(tmp_path / "tiny", data, min_side=32).usable) == 5
