"""Lightness by what a file says of itself: a ramp in every form comes out as it should be seen."""

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from colorize_lib.images import UnusablePhoto, as_picture, read_rgb

RAMP8 = np.tile(np.arange(256, dtype=np.uint8), (16, 1))
RAMP16 = np.tile((np.arange(256) * 257).astype(np.uint16), (16, 1))


def grey_profile(curve: float | np.ndarray) -> bytes:
    """An ICC profile (version 2) of grey: a gamma, or a table of linear light by device value."""
    if isinstance(curve, float):
        kTRC = b"curv" + bytes(4) + struct.pack(">IH", 1, round(curve * 256)) + bytes(2)
    else:
        kTRC = b"curv" + bytes(4) + struct.pack(">I", len(curve)) + (curve * 65535).round().astype(">u2").tobytes()
    white = struct.pack(">iii", 63190, 65536, 54061)  # D50
    text = b"desc" + bytes(4) + struct.pack(">I", 5) + b"grey\0" + bytes(79)
    tags = {
        b"desc": text,
        b"cprt": b"text" + bytes(4) + b"none\0\0\0\0",
        b"wtpt": b"XYZ " + bytes(4) + white,
        b"kTRC": kTRC,
    }
    table, body, at = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, data in tags.items():
        data += bytes(-len(data) % 4)
        table += name + struct.pack(">II", at + len(body), len(data))
        body += data
    head = struct.pack(">I4sI4s4s4s", at + len(body), b"lcms", 0x02100000, b"mntr", b"GRAY", b"XYZ ") + bytes(12)
    return (head + b"acsp" + bytes(28) + white).ljust(128, b"\0") + table + body


def dot_gain(gain: float = 0.2) -> np.ndarray:
    """Linear light by device value of a press whose half-tone dots grow by a fifth in the middle (Murray-Davies)."""
    dot = 1 - np.linspace(0, 1, 256)
    return 1 - np.clip(dot + 4 * gain * dot * (1 - dot), 0, 1)


def png(pixels: np.ndarray, **chunks: bytes) -> bytes:
    """A grey PNG of 8 or 16 bits, with chunks that Pillow does not write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], pixels.itemsize * 8, 0, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(row.dtype.newbyteorder(">")).tobytes() for row in pixels)
    extra = b"".join(chunk(name.encode(), data) for name, data in chunks.items())
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def tiff(pixels: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **options)
    return file.getvalue()


def saved(format: str, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(RAMP8).save(file, format, **options)
    return file.getvalue()


def tiff_12_bit() -> bytes:
    """Two 12-bit samples in three bytes, as scanners write them."""
    samples = (RAMP16 >> 4).astype(np.uint16).reshape(-1, 2)
    packed = np.stack([samples[:, 0] >> 4, (samples[:, 0] & 15) << 4 | samples[:, 1] >> 8, samples[:, 1] & 255], axis=1)
    rows = packed.astype(np.uint8).tobytes()
    entries = [(256, 4, 256), (257, 4, 16), (258, 3, 12), (259, 3, 1), (262, 3, 1), (273, 4, 8 + 2 + 12 * 9 + 4)]
    entries += [(277, 3, 1), (278, 4, 16), (279, 4, len(rows))]
    directory = b"".join(struct.pack("<HHI", tag, kind, 1) + struct.pack("<I", value) for tag, kind, value in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + directory + bytes(4) + rows


OPAQUE = np.full_like(RAMP16, 65535)
SRGB, LINEAR, PRESS = [64, 128, 192], [137, 188, 225], [89, 150, 205]
LAB16 = np.dstack([RAMP16, np.zeros_like(RAMP16), np.zeros_like(RAMP16)])
FILES = {
    "plain": (saved("PNG"), SRGB),
    "dot gain, JPEG": (saved("JPEG", quality=98, icc_profile=grey_profile(dot_gain())), PRESS),
    "dot gain, PNG": (saved("PNG", icc_profile=grey_profile(dot_gain())), PRESS),
    "linear profile": (saved("PNG", icc_profile=grey_profile(1.0)), LINEAR),
    "gamma 2.2": (saved("PNG", icc_profile=grey_profile(2.2)), [62, 128, 193]),
    "linear profile, 16 bits": (tiff(RAMP16, photometric="minisblack", iccprofile=grey_profile(1.0)), LINEAR),
    "broken profile": (saved("PNG", icc_profile=grey_profile(1.0)[:140]), SRGB),
    "gAMA 1": (png(RAMP8, gAMA=struct.pack(">I", 100_000)), LINEAR),
    "gAMA 1, 16 bits": (png(RAMP16, gAMA=struct.pack(">I", 100_000)), LINEAR),
    "gAMA under sRGB": (png(RAMP8, sRGB=b"\0", gAMA=struct.pack(">I", 100_000)), SRGB),
    "white is 0": (tiff(255 - RAMP8, photometric="miniswhite"), SRGB),
    "white is 0, 16 bits": (tiff(65535 - RAMP16, photometric="miniswhite"), SRGB),
    "12 bits": (tiff_12_bit(), SRGB),
    "grey with alpha, 16 bits": (
        tiff(np.dstack([RAMP16, OPAQUE]), photometric="minisblack", extrasamples=["unassalpha"], planarconfig="contig"),
        SRGB,
    ),
    "float": (tiff((RAMP8 / 255).astype(np.float32), photometric="minisblack"), SRGB),
    "float RGB": (tiff(np.dstack([RAMP8 / 255] * 3).astype(np.float32), photometric="rgb"), SRGB),
    "Lab, 16 bits": (tiff(LAB16, photometric="cielab"), [59, 119, 185]),
    "megabytes of text": (png(RAMP8, zTXt=b"History\0\0" + zlib.compress(b"x" * 2_000_000)), SRGB),
}


@pytest.mark.parametrize("name", FILES)
def test_a_ramp_comes_out_as_it_should_be_seen(name):
    content, levels = FILES[name]
    found = np.asarray(read_rgb(content))[8, [64, 128, 192]].astype(int)
    assert np.abs(found - np.array(levels)[:, None]).max() <= 2


def test_linear_16_bits_are_not_banded_in_the_dark():
    dark = np.tile(np.arange(0, 4096, 16, dtype=np.uint16), (16, 1))  # sixteen of 256 levels
    assert len(np.unique(np.asarray(read_rgb(png(dark, gAMA=struct.pack(">I", 100_000))))[0, :, 0])) > 60


def test_black_that_16_bits_call_transparent_is_white():
    pixels = np.asarray(read_rgb(png(RAMP16, tRNS=struct.pack(">H", 0))))
    assert pixels[0, 0].tolist() == [255] * 3 and pixels[0, 64].tolist() == [64] * 3


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (tiff(RAMP8.astype(np.float32), photometric="minisblack"), "floating-point values from 0 to 255"),
        (tiff(np.where(RAMP8 > 9, np.nan, 0.5).astype(np.float32), photometric="minisblack"), "floating-point values"),
        (tiff((RAMP16.astype(np.uint32) << 16), photometric="minisblack"), "32-bit integers: what is white"),
    ],
)
def test_numbers_whose_white_is_not_said_are_refused(content, reason):
    with pytest.raises(UnusablePhoto, match=reason):
        read_rgb(content)


def test_pictures_in_memory_follow_the_same_rules():
    for made in (Image.fromarray((RAMP8 / 255).astype(np.float32)), Image.fromarray(RAMP16.astype(np.int32))):
        assert np.abs(np.asarray(as_picture(made))[8, [64, 128, 192], 0].astype(int) - SRGB).max() <= 1
    with pytest.raises(UnusablePhoto, match="32-bit integers"):
        as_picture(Image.fromarray(RAMP16.astype(np.int32) * 1000))
