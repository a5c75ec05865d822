"""A generator as ONNX: what torch paints, at any size, by onnxruntime alone."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from notebook_tools import ROOT
from pictures import photograph, save
from PIL import Image

from colorize_lib.__main__ import main
from colorize_lib.color import AB_SCALE
from colorize_lib.colorizing import export
from colorize_lib.colorizing.colorizer import Colorizer
from colorize_lib.colorizing.enlarging import small_copy
from colorize_lib.colorizing.export import export_onnx
from colorize_lib.colorizing.onnx_colorizer import OnnxColorizer, UnusableModel
from colorize_lib.data.shipped import package_photographs
from colorize_lib.models import GeneratorConfig, build_generator
from colorize_lib.models.cifar import CifarConfig
from colorize_lib.models.light import LightConfig
from colorize_lib.models.painting import colorize_batch

SMALL = GeneratorConfig("unet", size=32, n_down=5, num_filters=4, init="kaiming")
FILES = ("generator.onnx", "generator_fp16.onnx")
# The program runs without what only torch's half of the library may import.
ALONE = f"""
import sys
for name in {["torch", "torchvision", "timm", "fastai", "safetensors", "onnx"]}:
    sys.modules[name] = None
"""


def away(paint: OnnxColorizer, net_G: torch.nn.Module, L: torch.Tensor) -> float:
    """The largest difference of ab, in Lab units."""
    return abs(paint.paint(L[0].numpy()) - colorize_batch(net_G, L)[0].numpy()).max() * AB_SCALE


@pytest.fixture(scope="module")
def shipped(tmp_path_factory) -> Path:
    """The folder of the shipped generator's files."""
    folder = tmp_path_factory.mktemp("onnx")
    assert main(["export", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """A generator of a few weights as an .onnx file."""
    folder = tmp_path_factory.mktemp("small")
    export_onnx(build_generator(SMALL), SMALL, folder, torch.zeros(1, 1, 32, 32))
    return folder / FILES[0]


@pytest.mark.parametrize("name", FILES)
def test_the_shipped_generator_paints_as_with_torch(shipped, name):
    """24 views of photographs, at three vividnesses: under a hundredth of a Lab unit at every pixel."""
    by_torch = Colorizer.load(device="cpu")
    runs = {vividness: OnnxColorizer(shipped / name, vividness=vividness) for vividness in (None, 0.15, 1.0)}
    for path in package_photographs().values():
        picture = Image.open(path).convert("RGB")
        width, height = picture.size
        views = [picture, picture.crop((0, 0, width // 2, height // 2)), picture.rotate(180)]
        for view, (vividness, paint) in zip(views, runs.items(), strict=True):
            by_torch.net_G.vividness = 0.8 if vividness is None else vividness
            assert away(paint, by_torch.net_G, small_copy(view, 192)[0]) < 0.01, (path, vividness)


def test_sides_are_free_and_16_bits_take_half(shipped):
    net_G, L = Colorizer.load(device="cpu").net_G, torch.rand(1, 1, 64, 320) * 2 - 1
    assert all(away(OnnxColorizer(shipped / name), net_G, L) < 0.01 for name in FILES)
    whole, half = ((shipped / name).stat().st_size for name in FILES)
    assert half < 10_000_000 < whole


@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        GeneratorConfig("resnet18_fast", 64),
        GeneratorConfig("resnet18_dynamic_unet", 64),
        LightConfig(size=64, head="ab", widths=(16, 16, 16)),
        LightConfig(size=64, encoder="resnet18", widths=(16, 16, 16), vividness=0.3),
        CifarConfig(),
    ],
    ids=lambda config: f"{config.architecture}-{getattr(config, 'head', '')}",
)
def test_every_generator_can_be_exported(tmp_path, config):
    torch.manual_seed(0)
    net_G, L = build_generator(config), torch.rand(2, 1, config.size, config.size) * 2 - 1
    report = export_onnx(net_G, config, tmp_path, L)
    assert list(report) == list(FILES)
    assert report[FILES[0]]["bytes"] == (tmp_path / FILES[0]).stat().st_size > report[FILES[1]]["bytes"]
    paint = OnnxColorizer(tmp_path / FILES[0])
    assert paint.size == config.size and paint(photograph()).size == photograph().size
    if not isinstance(config, CifarConfig):
        assert away(paint, net_G, torch.rand(1, 1, 128, 192) * 2 - 1) < 0.05


def test_what_is_far_from_torch_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "TOLERANCE", {"fp32": -1.0})
    with pytest.raises(RuntimeError, match="generator.onnx paints ab up to"):
        export_onnx(build_generator(SMALL), SMALL, tmp_path, torch.zeros(1, 1, 32, 32))
    assert list(tmp_path.iterdir()) == []


# --- colouring by it -----------------------------------------------------------------------------------------------


def test_photographs_are_coloured_as_with_torch(shipped):
    picture = Image.open(package_photographs()["coffee"])
    options = {"vividness": 0.5, "size": 128}
    loaded = Colorizer.load(shipped / FILES[1], **options)
    assert isinstance(loaded, OnnxColorizer)
    for saturation in (1.0, 0.3):
        both = [paint(picture, saturation=saturation) for paint in (loaded, Colorizer.load(device="cpu", **options))]
        assert abs(np.subtract(*(np.asarray(one).astype(int) for one in both))).max() <= 2


def test_torch_is_not_needed(small, tmp_path):
    """Nor is anything but numpy, Pillow, scikit-image and onnxruntime, unless it is a command."""
    picture = save(photograph(), tmp_path / "a.png")
    run = f"""{ALONE}
for name in ("tqdm", "filelock", "pandas"):
    sys.modules[name] = None
from colorize_lib.colorizing.onnx_colorizer import OnnxColorizer
OnnxColorizer({str(small)!r})({str(picture)!r}).save({str(tmp_path / "b.png")!r})
"""
    subprocess.run([sys.executable, "-c", run], cwd=ROOT, check=True)
    expected = np.asarray(OnnxColorizer(small)(photograph()))
    assert np.ptp(expected, axis=2).max() > 10, "it paints nothing"
    assert (np.asarray(Image.open(tmp_path / "b.png")) == expected).all()


def test_the_command_colours_without_torch(small, tmp_path):
    picture = save(photograph(), tmp_path / "a.png")
    words = ["colorize", str(picture), "--weights", str(small)]
    run = f"{ALONE}\nfrom colorize_lib.__main__ import main\nsys.exit(main({words}))"
    done = subprocess.run([sys.executable, "-c", run], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "1 written" in done.stdout and f"weights: {small}, which see 32 px" in done.stderr
    assert (np.asarray(Image.open(tmp_path / "a_color.png")) == np.asarray(OnnxColorizer(small)(photograph()))).all()


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"size": 40}, "multiple of 32"), ({"size": 0}, "multiple of 32"), ({"vividness": 0.5}, "it has no vividness")],
)
def test_what_a_generator_does_not_take_is_refused(small, options, reason):
    with pytest.raises(ValueError, match=reason):
        OnnxColorizer(small, **options)
    with pytest.raises(ValueError, match="no dropout"):
        OnnxColorizer(small)(photograph(), samples=2)


def test_a_vividness_out_of_range_is_refused(shipped):
    with pytest.raises(ValueError, match="between 0"):
        OnnxColorizer(shipped / FILES[1], vividness=1.5)


@pytest.mark.parametrize("content", ["half", "text", "foreign", "none"])
def test_a_file_that_is_no_generator_is_one_sentence(small, tmp_path, capsys, content):
    path = tmp_path / "x.onnx"
    whole = small.read_bytes()
    foreign = whole.replace(b"\x05about", b"\x05other")
    if content != "none":
        path.write_bytes({"half": whole[: len(whole) // 2], "text": b"<html>404</html>", "foreign": foreign}[content])
    save(photograph(), tmp_path / "a.png")
    assert main(["colorize", "--weights", str(path), str(tmp_path / "a.png")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and str(path) in error
    assert ("does not exist" if content == "none" else "python -m colorize_lib export") in error
    with pytest.raises(UnusableModel):
        Colorizer.load(path)


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_extra_is_one_sentence(small, tmp_path, monkeypatch, capsys, package):
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["export", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert f"export needs the package {package}: pip install" in error and error.count("\n") == 1
    if package == "onnxruntime":
        with pytest.raises(ModuleNotFoundError, match="needs onnxruntime: pip install"):
            OnnxColorizer(small)
