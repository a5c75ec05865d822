"""One file to one upright 8-bit sRGB picture, or a clear reason why not."""

import io
import struct
import subprocess
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile
from pictures import grey_photograph, photograph, save
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from colorize_lib import images
from colorize_lib.images import UnusablePhoto, as_picture, is_greyscale, read_photograph, read_rgb, resize, save_picture

# pytest sets the filters of warnings anew for each test, so those of colorize_lib.images do not hold here.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Corrupt EXIF"),
    pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning"),
]

# How an upright picture (H,W,3) is stored under each orientation, after EXIF's own wording: where the stored
# 0th row and 0th column are to be seen. 6: the row at the right, the column at the top; and so on.
STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: upright.transpose(1, 0, 2)[::-1],
    7: lambda upright: upright.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda upright: upright.transpose(1, 0, 2)[:, ::-1],
}
GOOD = {
    "JPEG": {"quality": 98, "subsampling": 0},
    "WEBP": {"lossless": True},
    "PNG": {},
    "TIFF": {},
}  # with no or little loss
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
# An RGB profile unlike sRGB: sRGB with the names of its red and green primaries exchanged.
SWAPPED = SRGB.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")
BROKEN_EXIF = [
    b"Exif\0\0garbage",
    b"Exif\0\0MM\0\x2a\0\0\0\x08\xff\xffgarbage",
    b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01",  # announces five tags and ends
    b"Exif\0\0II*\0\xff\xff\xff\x7f",  # the tags would be 2 GB further on
]
GREY = Image.merge("RGB", [grey_photograph()] * 3)


def encode(image: Image.Image, format: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def encode_tiff(values: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, values, photometric="rgb", **options)
    return file.getvalue()


def decode(content: bytes) -> np.ndarray:
    """The picture as int (H,W,3), checked to be RGB."""
    image = read_rgb(content)
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


def far(pixels: np.ndarray | Image.Image, expected: np.ndarray | Image.Image) -> float:
    """The largest difference of any value; sizes must agree."""
    pixels, expected = (np.asarray(one).astype(float) for one in (pixels, expected))
    assert pixels.shape == expected.shape
    return np.abs(pixels - expected).max()


def with_orientation(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif


# --- formats -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "format", "options", "tolerance"),
    [
        (photograph(), "PNG", {}, 0),
        (photograph(), "TIFF", {"compression": "tiff_lzw"}, 0),
        (photograph(), "WEBP", {"lossless": True, "save_all": True, "append_images": [photograph(2)]}, 0),  # animated
        (photograph(), "JPEG", {"quality": 95, "progressive": True}, 12),
        (photograph().convert("CMYK"), "JPEG", {"quality": 95}, 12),
        (photograph().quantize(16), "PNG", {}, 0),
        (grey_photograph(), "PNG", {}, 0),
    ],
    ids=["PNG", "TIFF", "animation", "JPEG", "CMYK", "palette", "grey"],
)
def test_reads_the_pixels_of_each_format_and_mode(image, format, options, tolerance):
    assert far(decode(encode(image, format, **options)), image.convert("RGB")) <= tolerance


RGB_16_BIT = np.random.default_rng(0).integers(0, 65536, (20, 30, 3), dtype=np.uint16)


def png_16_bit(values: np.ndarray) -> bytes:
    """A PNG of 16-bit RGB, which Pillow cannot write: header, one compressed block of rows, end."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)  # filter 0: as it is
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)  # 16 bits, RGB
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "content",
    [
        png_16_bit(RGB_16_BIT),
        encode_tiff(RGB_16_BIT),
        encode_tiff(RGB_16_BIT, byteorder=">"),
        encode_tiff(RGB_16_BIT, compression="zlib", predictor=True),
        encode_tiff(RGB_16_BIT, bigtiff=True),
        encode_tiff(RGB_16_BIT.transpose(2, 0, 1), planarconfig="separate", compression="zlib"),
        encode_tiff(RGB_16_BIT.transpose(2, 0, 1), planarconfig="separate"),
    ],
    ids=["PNG", "TIFF", "big-endian", "compressed", "BigTIFF", "planes", "plain planes"],
)
def test_scales_16_bit_colour(content):
    assert far(decode(content), RGB_16_BIT / 257) < 1


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_scales_16_bit_greyscale_and_turns_it(format):
    values = np.linspace(0, 65535, 96 * 80).reshape(80, 96).astype(np.uint16)
    content = encode(Image.fromarray(values.T[::-1].copy()), format, exif=with_orientation(6))
    assert far(decode(content), np.dstack([values / 257] * 3)) <= 0.51


# --- rotation, transparency, colour profiles -----------------------------------------------------------------------


@pytest.mark.parametrize("format", GOOD)
@pytest.mark.parametrize("orientation", STORED)
def test_turns_every_exif_orientation_upright(orientation, format):
    upright = np.asarray(photograph())
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
    content = encode(stored, format, exif=with_orientation(orientation), **GOOD[format])
    assert far(decode(content), upright) <= (8 if format == "JPEG" else 0)


@pytest.mark.parametrize("exif", [*map(with_orientation, (0, 9, 77)), *BROKEN_EXIF])
def test_takes_a_photograph_with_broken_exif_as_it_is_and_saves_none_of_it(exif, tmp_path):
    source = save(photograph(), tmp_path / "a.jpg", quality=95, exif=exif)
    assert far(read_photograph(source), photograph()) <= 12
    save_picture(photograph(), tmp_path / "b.jpg", source)
    with Image.open(tmp_path / "b.jpg") as saved:
        assert saved.size == photograph().size and not saved.getexif()


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_lays_alpha_over_white(mode):
    """Left half opaque, right half transparent, a column in between, stored sideways."""
    alpha = np.zeros((80, 96), dtype=np.uint8)
    alpha[:, :48], alpha[:, 48] = 255, 51
    image = photograph().convert("RGBA")
    image.putalpha(Image.fromarray(alpha))
    image = image.convert(mode)
    pixels = decode(encode(image.transpose(Image.Transpose.ROTATE_90), exif=with_orientation(6)))
    opaque = np.asarray(image.convert("RGBA"))[..., :3].astype(float)
    assert far(pixels[:, :48], opaque[:, :48]) == 0
    assert far(pixels[:, 48], 0.2 * opaque[:, 48] + 0.8 * 255) <= 1
    assert (pixels[:, 49:] == 255).all()


@pytest.mark.parametrize("transparency", [3, bytes([255, 0, 51, 255])], ids=["one colour", "alpha per colour"])
def test_lays_a_transparent_palette_over_white(transparency):
    colours = np.array([[200, 0, 0], [0, 150, 0], [0, 0, 100], [10, 20, 30]])
    palette = Image.fromarray(np.tile(np.repeat(np.arange(4, dtype=np.uint8), 10), (20, 1)))  # four stripes
    palette.putpalette(colours.astype(np.uint8).tobytes())
    alpha = np.array([255, 255, 255, 0] if transparency == 3 else list(transparency)) / 255
    expected = colours * alpha[:, None] + 255 * (1 - alpha[:, None])
    pixels = decode(encode(palette, transparency=transparency))
    assert far(pixels, np.tile(np.repeat(expected, 10, axis=0), (20, 1, 1))) <= 1


COLOURS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [200, 100, 50]], dtype=np.uint8)
STRIPES = Image.fromarray(np.repeat(COLOURS, 16, axis=0)[:, None].repeat(64, axis=1))


@pytest.mark.parametrize(
    ("image", "format"),
    [*((STRIPES, format) for format in GOOD), (STRIPES.convert("RGBA"), "PNG"), (STRIPES.quantize(4), "PNG")],
)
def test_converts_an_embedded_profile_to_srgb(image, format):
    pixels = decode(encode(image, format, icc_profile=SWAPPED, **GOOD[format]))
    assert far(pixels[8::16, 32], COLOURS[:, [1, 0, 2]]) <= 3


@pytest.mark.parametrize(
    "profile",
    [SRGB, b"no profile at all", SRGB[:200], ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()],
    ids=["sRGB", "garbage", "truncated", "of another colour space"],
)
def test_a_profile_of_srgb_or_one_that_does_not_fit_changes_nothing(profile):
    assert far(decode(encode(photograph(), icc_profile=profile)), photograph()) <= (1 if profile == SRGB else 0)


# --- what cannot be used -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", r"not decodable: .*the file is empty"),
        (b"<!DOCTYPE html><html><body>404</body></html>", r"not decodable: .*starts with b'<!DOCTYPE html>"),
        (encode(photograph(), "JPEG")[:3], r"not decodable: .*starts with b'\\xff\\xd8\\xff'"),
        (encode(photograph(), "JPEG")[:-400], r"not decodable: .*truncated"),
        *((encode(photograph(), format)[:-400], r"not decodable: ") for format in ("PNG", "TIFF", "WEBP")),
    ],
    ids=["empty", "HTML", "3 bytes", "JPEG", "PNG", "TIFF", "WebP"],
)
def test_says_why_a_file_cannot_be_decoded(content, reason):
    with pytest.raises(UnusablePhoto, match=reason) as caught:
        read_rgb(content)
    assert "0x" not in str(caught.value)  # no address of an object: the reason is the same in every run


def test_refuses_more_pixels_than_pillow_allows(monkeypatch):
    content, pixels = encode(photograph()), 96 * 80
    for limit in (pixels - 1, int(pixels / 2.5)):  # above twice as many, Pillow itself refuses
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(UnusablePhoto, match="^too large: "):
            read_rgb(content)
    for limit in (pixels, None):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        assert read_rgb(content).size == (96, 80)


# --- pictures and arrays -------------------------------------------------------------------------------------------


def test_a_file_a_picture_and_arrays_give_the_same(tmp_path):
    path, colour = save(photograph(), tmp_path / "a.png"), np.asarray(photograph())
    alpha = np.asarray(photograph().convert("RGBA"))
    for form in (path, str(path), photograph(), colour, alpha, colour.astype(np.uint16) * 257, colour / 255):
        assert far(as_picture(form), colour) == 0
    grey = np.asarray(grey_photograph())
    for form in (grey_photograph(), grey, grey[..., None], (grey / 255).astype("f4")):
        assert far(as_picture(form), GREY) == 0


BAD_ARRAYS = [np.zeros(shape, "u1") for shape in ((4, 4, 2), 7, (0, 4))]
BAD_ARRAYS += [np.full((4, 4), value) for value in (1.5, -0.1, np.nan)] + [np.zeros((4, 4), "i4")]


@pytest.mark.parametrize("array", BAD_ARRAYS)
def test_refuses_arrays_that_are_no_pictures(array):
    with pytest.raises(ValueError, match="is no picture: use uint8"):
        as_picture(array)


def test_a_picture_is_turned_upright_as_its_file_is_and_only_once(tmp_path):
    stored = Image.fromarray(np.ascontiguousarray(STORED[6](np.asarray(photograph()))))
    path = save(stored, tmp_path / "a.png", exif=with_orientation(6))
    with Image.open(path) as image:
        assert far(as_picture(image), photograph()) == 0
    assert far(as_picture(read_photograph(path)), photograph()) == 0


# --- saving --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".JPEG", ".png", ".webp", ".tif"])
def test_saves_each_format_with_what_was_known_of_the_photograph(tmp_path, suffix):
    exif = with_orientation(6)
    exif[ExifTags.Base.Artist] = "Ansel"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.LensModel] = "a lens"
    if suffix == ".tif":  # Pillow writes TIFF's own EXIF data from a file's alone
        exif = Image.open(save(photograph(), tmp_path / "exif.jpg", exif=exif)).getexif()
    source = save(photograph(), tmp_path / f"source{suffix}", exif=exif, icc_profile=SWAPPED, dpi=(300, 300))
    picture, target = read_photograph(source), tmp_path / f"target{suffix}"
    save_picture(picture, target, source)
    with Image.open(target) as saved:
        assert saved.format == images.FORMATS[suffix.lower()] and saved.size == (80, 96)  # upright
        assert saved.getexif().get(ExifTags.Base.Artist) == "Ansel"
        assert saved.getexif().get(ExifTags.Base.Orientation, 1) == 1
        kept = ImageCms.ImageCmsProfile(io.BytesIO(saved.info["icc_profile"]))
        assert "sRGB" in ImageCms.getProfileDescription(kept)
        assert saved.getexif().get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.LensModel] == "a lens"
        if suffix != ".webp":  # has no place for it
            assert saved.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    assert np.abs(np.asarray(read_photograph(target)).astype(int) - np.asarray(picture)).mean() < 3


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_text_stays_byte_for_byte_and_what_a_format_cannot_hold_is_named(tmp_path, suffix):
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "?" * len("Großmutter".encode())
    xmp, iptc = b"<x:xmpmeta>keywords</x:xmpmeta>", b"Photoshop 3.0\x00caption"
    source = tmp_path / "source.jpg"
    save(photograph(), source, exif=exif, xmp=xmp, comment=b"scan no 12", extra=b"\xff\xed\x00\x17" + iptc[:21])
    source.write_bytes(source.read_bytes().replace(b"?" * 11, "Großmutter".encode()))
    left = save_picture(photograph(), tmp_path / f"target{suffix}", source)
    content = (tmp_path / f"target{suffix}").read_bytes()
    assert "Großmutter".encode() in content and xmp in content
    assert (b"scan no 12" in content) == ("a comment" not in left) == (suffix in (".jpg", ".png"))
    assert (iptc[:21] in content) == ("IPTC" not in left) == (suffix == ".jpg")


def test_png_text_goes_into_a_png_and_is_named_where_it_cannot(tmp_path):
    info = PngImagePlugin.PngInfo()
    info.add_text("Title", "Café 1931")
    source = save(photograph(), tmp_path / "a.png", pnginfo=info)
    assert save_picture(photograph(), tmp_path / "b.png", source) == []
    assert Image.open(tmp_path / "b.png").text["Title"] == "Café 1931"
    assert save_picture(photograph(), tmp_path / "b.jpg", source) == ["text"]


def test_a_resolution_that_is_none_and_sides_that_a_format_has_not(tmp_path):
    source = save(photograph(), tmp_path / "a.tif")
    with tifffile.TiffFile(source, mode="r+") as file:
        file.pages[0].tags["XResolution"].overwrite((1, 0)) if "XResolution" in file.pages[0].tags else None
    save_picture(read_photograph(source), tmp_path / "b.jpg", source)
    with pytest.raises(ValueError, match="WEBP holds at most 16,383 pixels a side, and this is 17000x10"):
        save_picture(Image.new("RGB", (17_000, 10)), tmp_path / "b.webp")


def test_files_that_are_too_large_are_refused_before_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MOST_BYTES", 1000)
    with pytest.raises(UnusablePhoto, match="too large: 0.0 GB, of at most 0"):
        read_photograph(save(photograph(), tmp_path / "a.png"))


# --- threads and warnings ------------------------------------------------------------------------------------------


def test_many_threads_decode_as_one_does_and_leave_the_filters_of_warnings_alone(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 96 * 80)
    contents = [encode(photograph(i), icc_profile=SWAPPED) for i in range(8)]
    contents += [encode(photograph(0, (100, 100))), b"<html>"]
    before, during, to_rgb = list(warnings.filters), [], images.to_rgb
    monkeypatch.setattr(images, "to_rgb", lambda image: during.append(list(warnings.filters)) or to_rgb(image))

    def outcome(content: bytes) -> bytes | str:
        try:
            return read_rgb(content).tobytes()
        except UnusablePhoto as error:
            return str(error)

    expected = [outcome(content) for content in contents]
    assert len(set(expected)) == len(contents)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(outcome, contents * 20)) == expected * 20
    assert during and all(filters == before for filters in during)


def test_prints_no_warning_about_odd_exif_or_size(tmp_path):
    path = save(photograph(), tmp_path / "odd.jpg", exif=BROKEN_EXIF[2])
    code = """if True:
        import io, sys
        from pathlib import Path
        from PIL import Image
        if sys.argv[2] == "ours":
            from colorize_lib.images import read_rgb as read
        else:
            read = lambda content: Image.open(io.BytesIO(content)).getexif()
        content = Path(sys.argv[1]).read_bytes()
        read(content)
        Image.MAX_IMAGE_PIXELS = 96 * 80 - 1
        try:
            read(content)
        except ValueError:
            print("refused")
    """

    def run(whose: str) -> tuple[str, str]:
        done = subprocess.run([sys.executable, "-c", code, path, whose], capture_output=True, text=True, check=True)
        return done.stdout, done.stderr

    noise = run("Pillow's")[1]
    assert "EXIF" in noise and "DecompressionBombWarning" in noise
    assert run("ours") == ("refused\n", "")


# --- greyscale and resizing ----------------------------------------------------------------------------------------


def with_patch(side: int) -> Image.Image:
    """A grey picture of 128x128 with a red square."""
    image = grey_photograph(size=(128, 128)).convert("RGB")
    image.paste((255, 0, 0), (0, 0, side, side))
    return image


def with_noise() -> Image.Image:
    noise = np.random.default_rng(0).integers(-4, 5, (80, 96, 3))
    return Image.fromarray((np.asarray(GREY).astype(int) + noise).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize(
    ("image", "grey"),
    [
        (GREY, True),
        (read_rgb(encode(GREY, "JPEG", quality=50)), True),
        (with_noise(), True),  # as JPEG leaves it
        (with_patch(12), True),  # 0.9 % of the pixels
        (with_patch(16), False),  # 1.6 %
        (photograph(), False),
        (Image.blend(GREY, photograph(), 0.2), False),
        (photograph(size=(64, 2000)), False),
        (Image.new("RGB", (300, 300), (120, 110, 100)), False),
    ],
    ids=["grey", "grey JPEG", "noise", "small red patch", "red patch", "colour", "pale", "narrow", "brown"],
)
def test_tells_greyscale_from_colour(image, grey):
    assert is_greyscale(image) is grey


def test_resize_squashes_without_aliasing():
    stripes = np.zeros((64, 192, 3), dtype=np.uint8)
    stripes[:, ::2] = 255  # every second column white: a resize that picks pixels would give all black or all white
    pixels = resize(Image.fromarray(stripes), 16)
    assert pixels.shape == (16, 16, 3) and pixels.dtype == np.uint8
    assert abs(pixels[:, 2:-2].astype(int) - 128).max() <= 8
