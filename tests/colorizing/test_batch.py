"""Many files coloured: what is written where, what becomes of bad files, and uploads in Colab."""

import errno
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import types
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from notebook_tools import ROOT
from pictures import photograph, save, save_photographs
from PIL import ExifTags, Image
from skimage.color import rgb2lab

from colorize_lib.__main__ import main
from colorize_lib.colorizing.batch import plan, upload_photographs
from colorize_lib.colorizing.colorizer import Colorizer
from colorize_lib.images import read_photograph, save_picture
from colorize_lib.models import GeneratorConfig, build_generator
from colorize_lib.models.weights import save_weights
from colorize_lib.runs.progress import LINES

CONFIG = GeneratorConfig("unet", size=64, n_down=6, num_filters=4, init="kaiming")


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "net_G.safetensors"
    save_weights(build_generator(CONFIG), path, {"generator": vars(CONFIG)})
    return path


@pytest.fixture
def colorize(weights, capsys):
    """Run `colorize` with these arguments: (exit status, standard output, standard error)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        status = main(["colorize", *map(str, arguments), "--weights", str(weights), "--device", "cpu"])
        return status, *capsys.readouterr()

    return run


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


# --- the plan ------------------------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path) -> Path:
    """A folder of pictures, with a hidden one, an earlier result, a text, and a folder named like a picture."""
    tree = tmp_path / "tree"
    for name in ("a.jpg", "b.PNG", "sub/a.jpg", "sub/deep/c.tif", ".hidden/d.jpg", "a_color.jpg", "notes.txt"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).touch()
    (tree / "x.jpg").mkdir()
    return tree


@pytest.mark.parametrize(
    ("inputs", "output", "expected"),
    [
        (
            ["."],
            None,
            "a.jpg a_color.jpg b.PNG b_color.PNG sub/a.jpg sub/a_color.jpg sub/deep/c.tif sub/deep/c_color.tif",
        ),
        (["."], "out", "a.jpg out/a.jpg b.PNG out/b.PNG sub/a.jpg out/sub/a.jpg sub/deep/c.tif out/sub/deep/c.tif"),
        (["a.jpg"], "new.png", "a.jpg new.png"),
        (["a.jpg"], "sub/deep", "a.jpg sub/deep/a.jpg"),
        (["a.jpg"], "new", "a.jpg new/a.jpg"),
        (["notes.txt"], None, "notes.txt notes_color.png"),  # told by its content
        (["a.jpg", "a.jpg"], None, "a.jpg a_color.jpg"),  # once
        (["a.jpg"], "2024.05.01", "a.jpg 2024.05.01/a.jpg"),  # no picture's ending: a folder
        (["a.jpg", "sub/a.jpg"], "new", "a.jpg new/a.jpg sub/a.jpg new/a-2.jpg"),
    ],
)
def test_where_results_go(tree, inputs, output, expected):
    (tree / "out").mkdir()
    if output == "out":  # what was written into it is not coloured again
        (tree / "out" / "e.jpg").touch()
    pairs, _ = plan([tree / name for name in inputs], output and tree / output)
    assert " ".join(str(path.relative_to(tree)) for pair in pairs for path in pair) == expected


@pytest.mark.parametrize(
    ("inputs", "output", "reason"),
    [
        (["nothing.jpg"], None, "nothing.jpg does not exist"),
        ([".hidden/../x.jpg"], None, "no picture in .*x.jpg"),
        (["a.jpg"], "a.gif", "a.gif: pictures are saved as .jpg"),
        (["a.jpg", "sub/a.jpg"], "all.jpg", "all.jpg names one picture: for several photographs or a folder give"),
        (["."], "all.jpg", "all.jpg names one picture"),
        (["."], ".", "would be written over the photograph .*/a.jpg"),
        (["sub/a.jpg"], "sub/../sub/a.jpg", "would be written over the photograph .*sub/a.jpg"),
    ],
)
def test_what_cannot_be_planned_is_said(tree, inputs, output, reason):
    with pytest.raises(ValueError, match=reason):
        plan([tree / name for name in inputs], output and tree / output)


# --- the command ---------------------------------------------------------------------------------------------------


def test_a_folder_is_coloured_as_python_would_and_nothing_is_overwritten_without_force(colorize, weights, tmp_path):
    names, paint = save_photographs(tmp_path / "in", 3), Colorizer.load(weights, "cpu")
    save(photograph(9), tmp_path / "out" / names[0])
    mine = (tmp_path / "out" / names[0]).read_bytes()
    status, out, err = colorize(tmp_path / "in", "--output", tmp_path / "out")
    assert status == 0 and out.startswith("2 written, 1 kept, 0 failed"), err
    assert f"{names[0]} exists (--force overwrites)" in err and (tmp_path / "out" / names[0]).read_bytes() == mine
    assert colorize(tmp_path / "in", "--output", tmp_path / "out", "--force")[1].startswith(
        "3 written, 0 kept, 0 failed"
    )
    for name in names:
        save_picture(paint(tmp_path / "in" / name), tmp_path / "python.jpg", tmp_path / "in" / name)
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "python.jpg").read_bytes()


def test_options_reach_the_colorizer(colorize, weights, tmp_path):
    path, paint = save(photograph(), tmp_path / "a.png"), Colorizer.load(weights, "cpu", size=128)
    options = ["--size", 128, "--samples", 2, "--seed", 5, "--saturation", 0.5]
    assert colorize(path, *options)[1].startswith("2 written, 0 kept, 0 failed")
    for number, expected in enumerate(paint(path, samples=2, seed=5, saturation=0.5), start=1):
        assert (np.asarray(Image.open(tmp_path / f"a_color-{number}.png")) == np.asarray(expected)).all()


@pytest.mark.parametrize(("size", "both"), [((60, 50), (120, 50)), ((90, 50), (90, 100))])
def test_compare_shows_grey_and_coloured_side_by_side(colorize, weights, tmp_path, size, both):
    path = save(photograph(0, size), tmp_path / "a.png")
    colorize(path, "--compare")
    found = np.asarray(Image.open(tmp_path / "a_color.png")).astype(int)
    assert found.shape[:2] == both[::-1]
    grey, painted = found[: size[1], : size[0]], found[-size[1] :, -size[0] :]
    assert np.ptp(grey, axis=2).max() == 0
    assert (painted == np.asarray(Colorizer.load(weights, "cpu")(path))).all()


# --- odd and bad files ---------------------------------------------------------------------------------------------


def encoded(image: Image.Image, format: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


ORIENTATION_6 = Image.Exif()
ORIENTATION_6[ExifTags.Base.Orientation] = 6
SIXTEEN_BITS = Image.fromarray(np.linspace(0, 65535, 96 * 80).reshape(80, 96).astype(np.uint16))
ANIMATION = encoded(photograph(), "GIF", save_all=True, append_images=[photograph(1), photograph(2)])
GOOD = {  # name, content, size of the result
    "wrong extension": ("a.jpg", encoded(photograph(), "PNG"), (96, 80)),
    "a line": ("a.png", encoded(photograph(0, (1, 5000)), "PNG"), (1, 5000)),
    "16-bit TIFF": ("a.tif", encoded(SIXTEEN_BITS, "TIFF"), (96, 80)),
    "EXIF-rotated": ("a.jpg", encoded(photograph(), "JPEG", exif=ORIENTATION_6), (80, 96)),
    "non-ASCII name": ("Straße 東京 été.jpg", encoded(photograph(), "JPEG"), (96, 80)),
    "name as long as names can be": ("n" * 245 + ".jpg", encoded(photograph(), "JPEG"), (96, 80)),
    "animation": ("a.gif", ANIMATION, (96, 80)),  # its first frame, as a PNG
}
BAD = {  # content, reason
    "empty.jpg": (b"", "the file is empty"),
    "truncated.jpg": (encoded(photograph(), "JPEG")[:-400], "truncated"),
    "html.jpg": (b"<html><body>Not found</body></html>", "starts with b'<html>"),
}


@pytest.mark.parametrize("case", GOOD)
def test_odd_files_give_the_right_picture(colorize, tmp_path, case):
    name, content, size = GOOD[case]
    (tmp_path / name).write_bytes(content)
    status, _, err = colorize(tmp_path / name, "--output", tmp_path / "out", "--saturation", 0.2)
    assert status == 0, err
    painted = Image.open(tmp_path / "out" / name.replace(".gif", ".png"))
    assert painted.size == size and getattr(painted, "n_frames", 1) == 1
    before, after = (rgb2lab(np.asarray(p))[..., 0] for p in (read_photograph(tmp_path / name), painted))
    assert abs(before - after).mean() < 2  # of 100


def test_bad_files_are_named_with_their_reason_and_the_rest_goes_on(colorize, tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    for name in ("0.jpg", "z.jpg"):
        save(photograph(), tmp_path / name)
    for name, (content, _) in BAD.items():
        (tmp_path / name).write_bytes(content)
    save(photograph(0, (200, 101)), tmp_path / "bomb.jpg")
    status, out, err = colorize(tmp_path, "--output", tmp_path / "out")
    assert status == 1 and out.startswith("2 written, 0 kept, 4 failed")
    for name, (_, reason) in (BAD | {"bomb.jpg": (b"", "could be decompression bomb")}).items():
        assert re.search(f"failed: {tmp_path / name}: .*{reason}", err)
    assert files(tmp_path / "out") == {"0.jpg", "z.jpg"}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), "unreadable: Permission denied"),
        (RuntimeError("no memory left"), "no memory left"),
        (ZeroDivisionError(), "ZeroDivisionError"),
    ],
)
def test_whatever_goes_wrong_with_a_file_is_that_files_line(colorize, tmp_path, monkeypatch, error, reason):
    save_photographs(tmp_path, 2)
    read_bytes = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == "photo-00.jpg":
            raise error
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    status, out, err = colorize(tmp_path)
    assert status == 1 and out.startswith("1 written, 0 kept, 1 failed")
    assert f"photo-00.jpg: {reason}\n" in err


def test_a_full_disk_fails_file_by_file_and_leaves_nothing_half_written(colorize, tmp_path, monkeypatch):
    save_photographs(tmp_path / "in", 2)

    def full(picture, path, **_):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    (tmp_path / "file").touch()  # where a folder is needed: one error, before any work
    status, out, err = colorize(tmp_path / "in", "--output", tmp_path / "file")
    assert status == 1 and out == "" and err == f"error: {tmp_path / 'file'} cannot be written to: File exists\n"
    for output, reason in (("out", "No space left on device"),):
        status, out, err = colorize(tmp_path / "in", "--output", tmp_path / output)
        assert status == 1 and out.startswith("0 written, 0 kept, 2 failed")
        assert err.count(reason) == 2 and "Traceback" not in err
    assert files(tmp_path / "out") == set()


# --- albums as people have them --------------------------------------------------------------------------------------


def test_what_a_folder_holds_and_is_not_coloured_is_counted_and_named(colorize, tmp_path):
    for name in ("a.png", "old.gif", "scan.bmp", "win.jfif", "water_color.png", "sub/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        save(photograph(), tmp_path / name, format={"win.jfif": "JPEG"}.get(name))
    (tmp_path / "IMG.HEIC").write_bytes(encoded(photograph(), "JPEG"))  # told by its content
    for name in ("a_color.png", "film.mov", "notes", "more.mov"):
        (tmp_path / name).touch()
    status, out, err = colorize(tmp_path, "--output", tmp_path / "out")
    assert status == 0, err
    assert "passed over: 2 .mov, 1 results of an earlier call, 1 without an ending\n" in err
    assert out == f"7 written, 0 kept, 0 failed; in {tmp_path / 'out'}\n"
    assert {"old.png", "scan.png", "win.png", "IMG.png", "water_color.png", "sub/b.png"} < files(tmp_path / "out")


def test_heic_without_its_package_is_a_sentence(colorize, tmp_path):
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    status, _, err = colorize(tmp_path / "a.heic")
    assert status == 1 and "HEIC, which Pillow reads with the package pillow-heif" in err


def test_folders_behind_links_are_taken_once_and_circles_end(tmp_path):
    for name in ("album/x.png", "usb/y.png"):
        (tmp_path / name).parent.mkdir()
        save(photograph(), tmp_path / name)
    (tmp_path / "album" / "more").symlink_to("../usb")
    (tmp_path / "usb" / "back").symlink_to("../album")
    pairs, _ = plan([tmp_path / "album"], None)
    assert [str(source.relative_to(tmp_path / "album")) for source, _ in pairs] == ["x.png", "more/y.png"]


def test_a_second_run_never_takes_results_for_sources(tmp_path, monkeypatch):
    save(photograph(), tmp_path / "a.png")
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to("real")
    for name in ("a_color.png", "a_color-1.png", "a_color-p2-1.png", "real/a.png"):
        save(photograph(), tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for given, output in ((Path("."), tmp_path / "out"), (tmp_path, Path("real")), (Path("."), Path("out"))):
        assert [source.name for source, _ in plan([given], output).pairs] == ["a.png"]


def test_a_pipe_or_a_device_is_no_photograph(colorize, tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "endless.jpg").symlink_to("/dev/zero")
    status, _, err = colorize(tmp_path)
    assert status == 1 and err.count("not a regular file") == 2


def test_names_that_would_be_too_long_are_cut_and_colliding_ones_numbered(colorize, tmp_path):
    for name in ("n" * 248 + ".png", "a.png", "a.bmp"):
        save(photograph(), tmp_path / "in" / name)
    status, _, err = colorize(tmp_path / "in")
    assert status == 0, err
    assert {"a_color.png", "a_color-2.png", "n" * 231 + "_color.png"} < files(tmp_path / "in")


def test_stopped_samples_are_finished_and_those_that_are_there_kept(weights, tmp_path):
    save(photograph(), tmp_path / "a.png")
    run = partial(main, ["colorize", str(tmp_path), "--samples", "3", "--seed", "1", "--weights", str(weights)])
    assert run() == 0
    whole = [(tmp_path / f"a_color-{k}.png").read_bytes() for k in (1, 2, 3)]
    (tmp_path / "a_color-2.png").unlink()
    (tmp_path / "a_color-3.png").write_bytes(b"kept")
    assert run() == 0
    assert [(tmp_path / f"a_color-{k}.png").read_bytes() for k in (1, 2, 3)] == [whole[0], whole[1], b"kept"]


def test_pages_and_transparency(colorize, tmp_path):
    cut = photograph().convert("RGBA")
    cut.putalpha(Image.linear_gradient("L").resize(cut.size))
    save(cut, tmp_path / "cut.png")
    pages = [photograph(k).convert("L") for k in range(3)]
    save(pages[0], tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    status, _, err = colorize(tmp_path, "--output", tmp_path / "out")
    assert status == 0 and "pages.tif: the first of 3 pages (--pages all)" in err
    alpha = Image.open(tmp_path / "out" / "cut.png").getchannel("A")
    assert alpha.tobytes() == cut.getchannel("A").tobytes()
    assert colorize(tmp_path / "pages.tif", "--output", tmp_path / "all", "--pages", "all", "--saturation", 0)[0] == 0
    for k in range(3):
        found = np.asarray(Image.open(tmp_path / "all" / f"pages-p{k + 1}.tif").convert("L"), dtype=int)
        assert abs(found - np.asarray(pages[k], dtype=int)).mean() < 3


def test_a_file_that_pillow_does_not_read_is_coloured_and_saved_without_its_metadata(colorize, tmp_path):
    grey = np.tile(np.linspace(0, 65535, 96).astype(np.uint16), (80, 1))
    layers = np.dstack([grey, np.full_like(grey, 65535)])
    options = {"photometric": "minisblack", "extrasamples": ["unassalpha"], "planarconfig": "contig"}
    tifffile.imwrite(tmp_path / "a.tif", layers, **options)
    status, _, err = colorize(tmp_path / "a.tif")
    assert status == 0 and "saved without metadata" in err and Image.open(tmp_path / "a_color.tif").size == (96, 80)


def test_more_pixels_are_allowed_by_an_option(colorize, tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    save(photograph(), tmp_path / "a.png")
    status, _, err = colorize(tmp_path / "a.png")
    assert status == 1 and "(--max-pixels)" in err
    assert colorize(tmp_path / "a.png", "--max-pixels", "0.01")[0] == 0


def test_the_home_folder_and_weights_that_are_no_numbers(colorize, weights, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    save(photograph(), tmp_path / "a.png")
    assert colorize(tmp_path / "a.png", "--output=~/x")[0] == 0 and files(tmp_path / "home") == {"x/a.png"}
    net_G = build_generator(CONFIG)
    torch.nn.init.constant_(next(net_G.parameters()), float("nan"))
    save_weights(net_G, tmp_path / "nan.safetensors", {"generator": vars(CONFIG)})
    assert main(["colorize", str(tmp_path / "a.png"), "--force", "--weights", str(tmp_path / "nan.safetensors")]) == 1
    assert not (tmp_path / "a_color.png").exists()


def test_metadata_that_a_format_cannot_hold_is_left_out_with_a_note(colorize, tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Leica"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.MakerNote] = b"M" * 70_000
    save(photograph(), tmp_path / "really_png.jpg", format="PNG", exif=exif)
    status, _, err = colorize(tmp_path / "really_png.jpg")
    assert status == 0 and "saved without EXIF of 70," in err
    assert Image.open(tmp_path / "really_png_color.jpg").size == (96, 80)


def test_ctrl_c_leaves_whole_files_and_says_so(tmp_path, weights):
    save(photograph(0, (600, 500)), tmp_path / "in" / "0.jpg")
    for number in range(1, 60):
        shutil.copy(tmp_path / "in" / "0.jpg", tmp_path / "in" / f"{number}.jpg")
    command = [sys.executable, "-m", "colorize_lib", "colorize", tmp_path / "in", "--output", tmp_path / "out"]
    process = subprocess.Popen(
        [*command, "--weights", weights, "--device", "cpu"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # tests in the background inherit "ignore"
    )
    while process.poll() is None and len(list(tmp_path.glob("out/*.jpg"))) < 3:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "stopped; what is written is whole" in err and "Traceback" not in err
    written = files(tmp_path / "out")
    assert 3 <= len(written) < 60 and written <= files(tmp_path / "in")  # no partial file either
    for name in written:
        assert read_photograph(tmp_path / "out" / name).size == (600, 500)


# --- photographs of one's own, in Colab ----------------------------------------------------------------------------


def test_in_colab_photographs_are_asked_for_if_somebody_watches(tmp_path, monkeypatch):
    folder, before = tmp_path / "my_photos", Path.cwd()
    monkeypatch.delenv(LINES, raising=False)
    upload_photographs(folder)
    assert not folder.exists()  # elsewhere
    colab = types.ModuleType("google.colab")  # its upload saves in the current folder, as the real one does
    colab.files = types.SimpleNamespace(upload=lambda: Path("mine.jpg").write_bytes(b"a photograph"))
    monkeypatch.setitem(sys.modules, "google.colab", colab)
    monkeypatch.setitem(sys.modules, "google.colab.files", colab.files)
    with monkeypatch.context() as patch:
        patch.setenv(LINES, "lines")
        upload_photographs(folder)
        assert not folder.exists()  # nobody watches
    upload_photographs(folder)
    assert (folder / "mine.jpg").read_bytes() == b"a photograph" and Path.cwd() == before
