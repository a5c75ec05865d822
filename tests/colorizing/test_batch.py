"""Many files coloured: what is written where, what becomes of bad files, and uploads in Colab."""

import errno
import io
import re
import shutil
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest
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
    ],
)
def test_where_results_go(tree, inputs, output, expected):
    (tree / "out").mkdir()
    if output == "out":  # what was written into it is not coloured again
        (tree / "out" / "e.jpg").touch()
    pairs = plan([tree / name for name in inputs], output and tree / output)
    assert " ".join(str(path.relative_to(tree)) for pair in pairs for path in pair) == expected


@pytest.mark.parametrize(
    ("inputs", "output", "reason"),
    [
        (["nothing.jpg"], None, "nothing.jpg does not exist"),
        ([".hidden/../x.jpg"], None, "no picture in .*x.jpg"),
        (["a.jpg"], "a.gif", "a.gif: pictures are saved as .jpg"),
        (["a.jpg", "sub/a.jpg"], "out", "a.jpg and .*sub/a.jpg would both be written to .*out/a.jpg"),
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
    assert status == 0 and out == "2 written, 1 kept, 0 failed\n", err
    assert f"{names[0]} exists (--force overwrites)" in err and (tmp_path / "out" / names[0]).read_bytes() == mine
    assert colorize(tmp_path / "in", "--output", tmp_path / "out", "--force")[1] == "3 written, 0 kept, 0 failed\n"
    for name in names:
        save_picture(paint(tmp_path / "in" / name), tmp_path / "python.jpg", tmp_path / "in" / name)
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "python.jpg").read_bytes()


def test_options_reach_the_colorizer(colorize, weights, tmp_path):
    path, paint = save(photograph(), tmp_path / "a.png"), Colorizer.load(weights, "cpu", size=128)
    options = ["--size", 128, "--samples", 2, "--seed", 5, "--saturation", 0.5]
    assert colorize(path, *options)[1] == "2 written, 0 kept, 0 failed\n"
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
    assert status == 1 and out == "2 written, 0 kept, 4 failed\n"
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
    assert status == 1 and out == "1 written, 0 kept, 1 failed\n"
    assert f"photo-00.jpg: {reason}\n" in err


def test_a_full_disk_fails_file_by_file_and_leaves_nothing_half_written(colorize, tmp_path, monkeypatch):
    save_photographs(tmp_path / "in", 2)

    def full(picture, path, **_):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    (tmp_path / "file").touch()  # where a folder is needed
    for output, reason in (("out", "No space left on device"), ("file", "File exists")):
        status, out, err = colorize(tmp_path / "in", "--output", tmp_path / output)
        assert status == 1 and out == "0 written, 0 kept, 2 failed\n"
        assert err.count(reason) == 2 and "Traceback" not in err
    assert files(tmp_path / "out") == set()


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
