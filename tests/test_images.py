"""One file to one upright 8-bit sRGB picture, or a clear reason why not."""

import errno
import io
import struct
import subprocess
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
from pictures import grey_photograph, photograph, save
from PIL import ExifTags, Image, ImageCms

from colorize_lib import images
from colorize_lib.images import UnusablePhoto, as_picture, is_greyscale, read_photograph, read_rgb, resize, save_picture

# pytest sets the filters of warnings anew for each test, so those of colorize_lib.images do not hold here.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Corrupt EXIF"),
    pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning"),
]

ORIENTATION = 0x0112
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


def encode(image: Image.Image, format: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def encode_tiff(values: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, values, **options)
    return file.getvalue()


def decode(content: bytes) -> np.ndarray:
    """The picture as int (H,W,3), checked to be RGB and of the size that comes with it."""
    image, size = read_rgb(content)
    assert image.mode == "RGB"
    assert image.size == size
    return np.asarray(image).astype(int)


def far(pixels: np.ndarray, expected: np.ndarray | Image.Image) -> float:
    """The largest difference of any value; sizes must agree."""
    expected = np.asarray(expected).astype(float)
    assert pixels.shape == expected.shape
    return np.abs(pixels - expected).max()


def with_orientation(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


# --- formats -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("JPEG", {"quality": 95}, 12),
        ("JPEG", {"quality": 95, "progressive": True}, 12),
    ],
)
def test_reads_the_pixels_of_each_format(format, options, tolerance):
    assert far(decode(encode(photograph(), format, **options)), photograph()) <= tolerance


def test_reads_the_first_frame_of_an_animation():
    content = encode(photograph(1), "WEBP", lossless=True, save_all=True, append_images=[photograph(2)])
    assert far(decode(content), photograph(1)) == 0


def test_reads_a_palette_image():
    palette = photograph().quantize(16)
    assert palette.mode == "P"
    assert far(decode(encode(palette, "PNG")), palette.convert("RGB")) == 0


def test_reads_greyscale_as_three_equal_channels():
    pixels = decode(encode(grey_photograph(), "PNG"))
    assert far(pixels, np.stack([np.asarray(grey_photograph())] * 3, axis=2)) == 0


def test_reads_a_cmyk_jpeg():
    content = encode(photograph().convert("CMYK"), "JPEG", quality=95)
    with Image.open(io.BytesIO(content)) as image:
        assert image.mode == "CMYK"
    assert far(decode(content), photograph()) <= 12


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_scales_16_bit_greyscale(format):
    values = np.linspace(0, 65535, 96 * 80).reshape(80, 96).astype(np.uint16)
    pixels = decode(encode(Image.fromarray(values), format))
    assert far(pixels, np.stack([values / 257] * 3, axis=2)) <= 0.51


def rgb_16_bit() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 65536, (20, 30, 3), dtype=np.uint16)


def png_16_bit(values: np.ndarray) -> bytes:
    """A PNG of 16-bit RGB, which Pillow cannot write: header, one compressed block of rows, end."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)  # filter 0: as it is
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)  # 16 bits, RGB
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_scales_16_bit_rgb_png():
    assert far(decode(png_16_bit(rgb_16_bit())), rgb_16_bit() / 257) < 1


@pytest.mark.parametrize(
    "options",
    [{}, {"byteorder": ">"}, {"compression": "zlib"}, {"compression": "zlib", "predictor": True}, {"bigtiff": True}],
    ids=str,
)
def test_scales_16_bit_rgb_tiff(options):
    content = encode_tiff(rgb_16_bit(), photometric="rgb", **options)
    assert far(decode(content), rgb_16_bit() / 257) < 1


def test_reads_16_bit_colour_planes_right_or_not_at_all():
    planes = rgb_16_bit().transpose(2, 0, 1)
    compressed = encode_tiff(planes, photometric="rgb", planarconfig="separate", compression="zlib")
    assert far(decode(compressed), rgb_16_bit() / 257) < 1
    with pytest.raises(UnusablePhoto, match="not decodable: a TIFF of uncompressed 16-bit colour planes"):
        read_rgb(encode_tiff(planes, photometric="rgb", planarconfig="separate"))


# --- rotation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP", "JPEG"])
@pytest.mark.parametrize("orientation", STORED)
def test_turns_every_exif_orientation_upright(orientation, format):
    upright = np.asarray(photograph())
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
    options = {"JPEG": {"quality": 98, "subsampling": 0}, "WEBP": {"lossless": True}}.get(format, {})
    content = encode(stored, format, exif=with_orientation(orientation), **options)
    assert far(decode(content), upright) <= (8 if format == "JPEG" else 0)


def test_turns_16_bit_and_transparent_images_too():
    values = np.arange(20 * 30, dtype=np.uint16).reshape(20, 30) * 100
    content = encode(Image.fromarray(values.T[::-1].copy()), "PNG", exif=with_orientation(6))
    assert far(decode(content)[..., 0], values / 257) <= 0.51
    rgba = photograph().convert("RGBA")
    rgba.putalpha(0)
    turned = decode(encode(rgba.transpose(Image.Transpose.ROTATE_90), "PNG", exif=with_orientation(6)))
    assert turned.shape == (80, 96, 3)
    assert turned.min() == 255


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_ignores_an_orientation_that_does_not_exist(orientation):
    content = encode(photograph(), "PNG", exif=with_orientation(orientation))
    assert far(decode(content), photograph()) == 0


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0garbage",
        b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01",  # announces five tags and ends
        b"Exif\0\0II*\0\xff\xff\xff\x7f",  # the tags would be 2 GB further on
    ],
)
def test_takes_a_photograph_with_broken_exif_as_it_is(exif):
    assert far(decode(encode(photograph(), "JPEG", quality=95, exif=exif)), photograph()) <= 12


# --- transparency --------------------------------------------------------------------------------------------------


def half_transparent(mode: str) -> Image.Image:
    """Left half opaque, right half transparent (in RGBA and LA also a column in between)."""
    image = photograph().convert("RGBA")
    alpha = np.zeros((80, 96), dtype=np.uint8)
    alpha[:, :48] = 255
    alpha[:, 48] = 51
    image.putalpha(Image.fromarray(alpha))
    return image.convert(mode)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_lays_alpha_over_white(mode):
    image = half_transparent(mode)
    pixels = decode(encode(image, "PNG"))
    opaque = np.asarray(image.convert("RGBA"))[..., :3].astype(float)
    assert far(pixels[:, :48], opaque[:, :48]) == 0
    assert far(pixels[:, 48], 0.2 * opaque[:, 48] + 0.8 * 255) <= 1
    assert (pixels[:, 49:] == 255).all()


@pytest.mark.parametrize("transparency", [3, bytes([255, 0, 51, 255])], ids=["one colour", "alpha per colour"])
def test_lays_a_transparent_palette_over_white(transparency):
    colours = np.array([[200, 0, 0], [0, 150, 0], [0, 0, 100], [10, 20, 30]])
    palette = Image.fromarray(np.tile(np.repeat(np.arange(4, dtype=np.uint8), 10), (20, 1)))  # four stripes
    palette.putpalette(colours.astype(np.uint8).tobytes())
    assert palette.mode == "P"
    alpha = np.array([255, 255, 255, 0] if transparency == 3 else list(transparency)) / 255
    expected = colours * alpha[:, None] + 255 * (1 - alpha[:, None])
    pixels = decode(encode(palette, "PNG", transparency=transparency))
    assert far(pixels, np.tile(np.repeat(expected, 10, axis=0), (20, 1, 1))) <= 1


# --- colour profiles -----------------------------------------------------------------------------------------------


def red_and_green_swapped() -> bytes:
    """An RGB profile unlike sRGB: sRGB with the names of its red and green primaries exchanged."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert profile.count(b"rXYZ") == profile.count(b"gXYZ") == 1
    return profile.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_converts_an_embedded_profile_to_srgb(format):
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [200, 100, 50]], dtype=np.uint8)
    image = Image.fromarray(np.repeat(colours, 16, axis=0)[:, None].repeat(64, axis=1))
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(format, {})
    pixels = decode(encode(image, format, icc_profile=red_and_green_swapped(), **options))
    assert far(pixels[8::16, 32], colours[:, [1, 0, 2]]) <= 3


def test_converts_the_profile_of_transparent_and_palette_images():
    red = Image.new("RGBA", (8, 8), (255, 0, 0, 255))
    assert far(decode(encode(red, "PNG", icc_profile=red_and_green_swapped()))[4, 4], [0, 255, 0]) <= 3
    palette = red.convert("RGB").quantize(2)
    assert far(decode(encode(palette, "PNG", icc_profile=red_and_green_swapped()))[4, 4], [0, 255, 0]) <= 3


def test_leaves_pixels_with_an_srgb_profile_as_they_are():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert far(decode(encode(photograph(), "PNG", icc_profile=srgb)), photograph()) <= 1


@pytest.mark.parametrize(
    "profile",
    [
        b"no profile at all",
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()[:200],
        ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(),  # whole, but not for RGB
    ],
    ids=["garbage", "truncated", "of another colour space"],
)
def test_ignores_a_profile_that_is_broken_or_does_not_fit(profile):
    assert far(decode(encode(photograph(), "PNG", icc_profile=profile)), photograph()) == 0


# --- what cannot be used -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", r"not decodable: .*the file is empty"),
        (b"<!DOCTYPE html><html><body>404</body></html>", r"not decodable: .*starts with b'<!DOCTYPE html>"),
        (encode(photograph(), "JPEG")[:3], r"not decodable: .*starts with b'\\xff\\xd8\\xff'"),
        (encode(photograph(), "JPEG")[:-400], r"not decodable: .*truncated"),
        (encode(photograph(), "PNG")[:-400], r"not decodable: "),
        (encode(photograph(), "TIFF")[:-400], r"not decodable: "),
        (encode(photograph(), "WEBP")[:-400], r"not decodable: "),
    ],
    ids=["empty", "HTML", "3 bytes", "truncated JPEG", "truncated PNG", "truncated TIFF", "truncated WebP"],
)
def test_says_why_a_file_cannot_be_decoded(content, reason):
    with pytest.raises(UnusablePhoto, match=reason) as caught:
        read_rgb(content)
    assert "0x" not in str(caught.value)  # no address of an object: the reason is the same in every run


@pytest.mark.parametrize("share", [1.5, 2.5])
def test_refuses_more_pixels_than_pillow_allows(share, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", int(96 * 80 / share))
    with pytest.raises(UnusablePhoto, match="^too large: "):
        read_rgb(encode(photograph(), "PNG"))


@pytest.mark.parametrize("limit", [96 * 80, None])
def test_takes_as_many_pixels_as_pillow_allows(limit, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    assert read_rgb(encode(photograph(), "PNG"))[1] == (96, 80)


def test_says_why_a_file_cannot_be_read(tmp_path):
    for path, reason in ((tmp_path / "b.jpg", "unreadable: No such file"), (tmp_path, "unreadable: Is a dir")):
        with pytest.raises(UnusablePhoto, match=reason):
            read_photograph(path)


# --- pictures and arrays -------------------------------------------------------------------------------------------


def test_a_file_a_picture_and_arrays_give_the_same(tmp_path):
    colour, grey = np.asarray(photograph()), np.asarray(grey_photograph())
    path = save(photograph(), tmp_path / "a.png")
    alpha = np.dstack([colour, np.full(colour.shape[:2], 255, np.uint8)])
    for form in (path, str(path), photograph(), colour, colour.astype(np.uint16) * 257, colour / 255, alpha):
        assert far(np.asarray(as_picture(form)).astype(int), colour) == 0
    for form in (grey_photograph(), grey, grey[..., None], grey.astype(np.uint16) * 257, (grey / 255).astype("f4")):
        assert far(np.asarray(as_picture(form)).astype(int), np.dstack([grey] * 3)) == 0


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((4, 4, 2), np.uint8), "shape"),
        (np.zeros(7, np.uint8), "shape"),
        (np.zeros((0, 4), np.uint8), "shape"),
        (np.full((4, 4), 1.5), r"\[0,1\]"),
        (np.full((4, 4), np.nan), r"\[0,1\]"),
        (np.zeros((4, 4), np.int32), "int32"),
    ],
)
def test_refuses_arrays_that_are_no_pictures(array, reason):
    with pytest.raises(ValueError, match=reason):
        as_picture(array)


def test_a_picture_is_turned_upright_as_its_file_is_and_only_once(tmp_path):
    stored = Image.fromarray(np.ascontiguousarray(STORED[6](np.asarray(photograph()))))
    path = save(stored, tmp_path / "a.png", exif=with_orientation(6))
    with Image.open(path) as image:
        assert far(np.asarray(as_picture(image)).astype(int), photograph()) == 0
    assert far(np.asarray(as_picture(read_photograph(path))).astype(int), photograph()) == 0


# --- saving --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".JPEG", ".png", ".webp", ".tif"])
def test_saves_each_format_with_what_was_known_of_the_photograph(tmp_path, suffix):
    exif = with_orientation(6)
    exif[ExifTags.Base.Artist] = "Ansel"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.LensModel] = "a lens"
    if suffix == ".tif":  # Pillow writes TIFF's own EXIF data from a file's alone
        exif = Image.open(save(photograph(), tmp_path / "exif.jpg", exif=exif)).getexif()
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    source = save(photograph(), tmp_path / f"source{suffix}", exif=exif, icc_profile=profile, dpi=(300, 300))
    picture = read_photograph(source)
    assert picture.size == (80, 96)  # upright
    save_picture(picture, tmp_path / f"target{suffix}", source)
    with Image.open(tmp_path / f"target{suffix}") as saved:
        assert saved.format == images.FORMATS[suffix.lower()]
        assert saved.size == (80, 96)
        assert saved.getexif().get(ExifTags.Base.Artist) == "Ansel"
        assert saved.getexif().get(ORIENTATION, 1) == 1
        kept = ImageCms.ImageCmsProfile(io.BytesIO(saved.info["icc_profile"]))
        assert "sRGB" in ImageCms.getProfileDescription(kept)
        assert saved.getexif().get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.LensModel] == "a lens"
        if suffix != ".webp":  # has no place for it
            assert saved.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    difference = np.asarray(read_photograph(tmp_path / f"target{suffix}")).astype(int) - np.asarray(picture)
    assert np.abs(difference).mean() < 3


def test_broken_exif_is_left_out(tmp_path):
    source = save(photograph(), tmp_path / "a.jpg", exif=b"Exif\0\0MM\0\x2a\0\0\0\x08\xff\xffgarbage")
    save_picture(photograph(), tmp_path / "b.jpg", source)
    assert Image.open(tmp_path / "b.jpg").size == photograph().size


def test_refuses_a_format_that_is_not_written(tmp_path):
    with pytest.raises(ValueError, match=r"a\.gif: pictures are saved as \.jpg"):
        save_picture(photograph(), tmp_path / "a.gif")


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def full(self: Image.Image, partial: Path, **_) -> None:
        partial.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match="No space left"):
        save_picture(photograph(), path)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


# --- threads and warnings ------------------------------------------------------------------------------------------


def test_many_threads_decode_as_one_does(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 96 * 80)
    swapped = red_and_green_swapped()
    contents = [encode(photograph(i), "PNG", icc_profile=swapped) for i in range(8)]
    contents += [encode(photograph(0, (100, 100)), "PNG"), b"<html>"]

    def outcome(content: bytes) -> bytes | str:
        try:
            return read_rgb(content)[0].tobytes()
        except UnusablePhoto as error:
            return str(error)

    expected = [outcome(content) for content in contents]
    assert len(set(expected)) == len(contents)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(outcome, contents * 20)) == expected * 20


def test_does_not_touch_the_warning_filters_which_threads_share(monkeypatch):
    before, during = list(warnings.filters), []
    to_rgb = images.to_rgb
    monkeypatch.setattr(images, "to_rgb", lambda image: during.append(list(warnings.filters)) or to_rgb(image))
    read_rgb(encode(photograph(), "PNG"))
    assert during == [before]
    assert warnings.filters == before


def test_prints_no_warning_about_odd_exif_or_size(tmp_path):
    odd = b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01"
    (tmp_path / "odd.jpg").write_bytes(encode(photograph(), "JPEG", exif=odd))
    code = """if True:
        import sys
        from pathlib import Path
        from PIL import Image
        {silence}
        content = Path(sys.argv[1]).read_bytes()
        read(content)
        Image.MAX_IMAGE_PIXELS = 96 * 80 - 1
        try:
            read(content)
        except ValueError:
            print("refused")
    """
    plain = "import io; read = lambda content: Image.open(io.BytesIO(content)).getexif()"
    ours = "from colorize_lib.images import read_rgb as read"

    def run(silence: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-c", code.format(silence=silence), tmp_path / "odd.jpg"]
        return subprocess.run(command, capture_output=True, text=True, check=True)

    noisy = run(plain).stderr  # what Pillow alone has to say
    assert "EXIF" in noisy
    assert "DecompressionBombWarning" in noisy
    quiet = run(ours)
    assert quiet.stdout == "refused\n"
    assert quiet.stderr == ""


# --- greyscale and resizing ----------------------------------------------------------------------------------------


def with_patch(side: int) -> Image.Image:
    """A grey picture of 128x128 with a red square."""
    image = grey_photograph(size=(128, 128)).convert("RGB")
    image.paste((255, 0, 0), (0, 0, side, side))
    return image


@pytest.mark.parametrize(
    ("image", "grey"),
    [
        (grey_photograph().convert("RGB"), True),
        (read_rgb(encode(grey_photograph().convert("RGB"), "JPEG", quality=50))[0], True),
        (with_patch(12), True),  # 0.9 % of the pixels
        (with_patch(16), False),  # 1.6 %
        (photograph(), False),
        (Image.blend(grey_photograph().convert("RGB"), photograph(), 0.2), False),
        (photograph(size=(64, 2000)), False),
        (Image.new("RGB", (300, 300), (120, 110, 100)), False),
    ],
    ids=["grey", "grey JPEG", "small red patch", "red patch", "colour", "pale", "narrow", "brown"],
)
def test_tells_greyscale_from_colour(image, grey):
    assert is_greyscale(image) is grey


def test_noise_of_jpeg_in_a_grey_picture_is_no_colour():
    noisy = np.asarray(grey_photograph().convert("RGB")).astype(int)
    noisy = noisy + np.random.default_rng(0).integers(-4, 5, noisy.shape)
    assert is_greyscale(Image.fromarray(noisy.clip(0, 255).astype(np.uint8)))


def test_resize_squashes_without_aliasing():
    stripes = np.zeros((64, 192, 3), dtype=np.uint8)
    stripes[:, ::2] = 255  # every second column white: a resize that picks pixels would give all black or all white
    pixels = resize(Image.fromarray(stripes), 16)
    assert pixels.shape == (16, 16, 3)
    assert pixels.dtype == np.uint8
    assert abs(pixels[:, 2:-2].astype(int) - 128).max() <= 8
