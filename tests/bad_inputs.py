"""Pictures as they should not be: `generate(seed)` gives a name and bytes, whole or damaged, and what is known of it.

`python tests/bad_inputs.py 500` tries so many through everything that reads photographs, and counts what came out.
"""

import io
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image

FORMATS = {"JPEG": ("L", "RGB", "CMYK"), "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"), "WEBP": ("RGB", "RGBA")}
FORMATS |= {"TIFF": ("1", "L", "RGB", "RGBA", "CMYK", "I;16", "F", "LAB"), "GIF": ("L", "P"), "BMP": ("L", "RGB")}
NAMES = (
    "a.jpg",
    "b.JPEG",
    "c.png",
    "d.tif",
    "e.webp",
    "no ending.jpe",
    "ü 東京.png",
    "f.bmp",
    "g.gif",
    "-x.jpg",
    "h.heic",
)
RAMP = np.tile(np.linspace(0, 255, 64).round().astype(np.uint8), (48, 1))


class Input(NamedTuple):
    name: str
    content: bytes
    whole: bool  # a picture that shows the ramp
    format: str  # what it was before the damage


def generate(seed: int) -> Input:
    """One input; the same for the same seed."""
    rng = np.random.default_rng(seed)
    format = rng.choice(list(FORMATS))
    mode = rng.choice(FORMATS[format])
    content = bytearray(encoded(format, mode, rng))
    damage = rng.choice(["none", "none", "cut", "flips", "zeros", "doubled", "head", "inserted", "text", "empty"])
    at = int(rng.integers(0, len(content)))
    if damage == "cut":
        content = content[:at]
    elif damage == "flips":
        for place in rng.integers(0, len(content), int(rng.integers(1, 30))):
            content[place] ^= 1 << int(rng.integers(0, 8))
    elif damage == "zeros":
        content[at : at + 200] = bytes(min(200, len(content) - at))
    elif damage == "doubled":
        content = content * 2
    elif damage == "head":  # what says how large it is, and how it is stored
        content[4 : 4 + int(rng.integers(1, 40))] = rng.bytes(int(rng.integers(1, 40)))
    elif damage == "inserted":
        content[at:at] = rng.bytes(int(rng.integers(1, 64)))
    elif damage == "text":
        content = bytearray(b"<html>Not found</html>" + rng.bytes(30))
    elif damage == "empty":
        content = bytearray()
    return Input(str(rng.choice(NAMES)), bytes(content), damage in ("none", "doubled"), str(format))


def encoded(format: str, mode: str, rng: np.random.Generator) -> bytes:
    """The ramp in a format and mode, with odd metadata now and then."""
    image = Image.fromarray(RAMP)
    if mode == "I;16":
        image = Image.fromarray(RAMP.astype(np.uint16) * 257)
    elif mode == "F":
        image = Image.fromarray((RAMP / 255).astype(np.float32))
    elif mode == "LAB":
        image = Image.merge("LAB", (image, *[Image.new("L", image.size, 128)] * 2))
    elif mode != "L":
        image = (image.convert("RGB") if mode in ("CMYK", "P") else image).convert(mode)
    options: dict = {}
    if format in ("JPEG", "PNG", "TIFF", "WEBP") and rng.random() < 0.5:
        exif = Image.Exif()
        exif[ExifTags.Base.ImageDescription] = "x" * int(rng.integers(0, 3000))
        exif[ExifTags.Base.Orientation] = 1
        options["exif"] = exif.tobytes()
    if rng.random() < 0.3:
        options["dpi"] = (float(rng.choice([0, 1, 72, 1e5])), 72.0)
    if rng.random() < 0.2 and format in ("JPEG", "PNG", "TIFF", "WEBP"):
        options["icc_profile"] = rng.bytes(200)
    image.save(file := io.BytesIO(), format, **({"quality": 98} if format == "JPEG" else {}), **options)
    return file.getvalue()


def fault(given: Input, folder: Path, colorizer) -> str:
    """Try one input; "" if it came out right or was refused by a sentence, else what is wrong."""
    from colorize_lib.colorizing.batch import colorize_files, plan
    from colorize_lib.data.manifest import PhotoConfig, find_photographs
    from colorize_lib.data.sources import DataUnavailable
    from colorize_lib.images import UnusablePhoto, read_photograph

    path = folder / "in" / given.name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(given.content)
    try:
        pixels = np.asarray(read_photograph(path), dtype=int)
    except UnusablePhoto as error:
        pixels = None
        if given.whole:
            return f"a whole picture is refused: {error}"
    if given.whole and len(np.unique(pixels)) > 40:  # not of few levels
        middle = pixels[24, [16, 32, 48]].mean(axis=1)
        if np.abs(middle - RAMP[24, [16, 32, 48]]).max() > 9:  # Lab's ramp is of L*
            return f"the ramp comes out as {middle.tolist()}"
    report = colorize_files(colorizer, plan([path], folder / "out").pairs, force=True)
    if bool(report["written"]) != (pixels is not None):
        return f"read {pixels is not None}, and coloured {report}"
    if wrong := on_the_page(given, path, pixels):
        return wrong
    config = PhotoConfig(source="folder", folder=str(path.parent), n_images=0, min_side=8)
    with suppress(ValueError, DataUnavailable):  # none is left, or none has such an ending
        find_photographs(config, folder / "data", 32)
    return ""


def on_the_page(given: Input, path: Path, pixels: np.ndarray | None) -> str:
    """Upload one input; pixels: what the command read of it. The page takes fewer formats."""
    from colorize_lib.apps.demo import DECODERS, Refused, read_upload

    try:
        shown = np.asarray(read_upload(path), dtype=int)
    except Refused as error:
        return f"the page refuses a whole picture: {error}" if given.whole and given.format in DECODERS else ""
    return "" if pixels is not None and np.array_equal(shown, pixels) else "the page shows another picture"


def main(count: int) -> None:
    import tempfile

    from colorize_lib.colorizing.colorizer import Colorizer

    colorizer, came = Colorizer.load(device="cpu"), Counter()
    for seed in range(count):
        with tempfile.TemporaryDirectory() as folder:
            given = generate(seed)
            found = fault(given, Path(folder), colorizer)
            came["wrong" if found else "whole" if given.whole else "damaged"] += 1
            if found:
                print(seed, given.name, found)
    print(dict(came))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
