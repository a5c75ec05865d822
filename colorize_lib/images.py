"""One image file to one upright 8-bit sRGB picture, and back: what Pillow leaves to whoever calls it."""

import hashlib
import math
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin, UnidentifiedImageError

from .files import atomic_path
from .metadata import kept
from .srgb import UnusablePhoto, opened, to_rgb

# Pillow warns of odd EXIF and TIFF tags, which do no harm here, and of sizes that read_rgb refuses. Silenced once, for
# the process: read_rgb runs in threads, and `warnings.catch_warnings` changes the filters of all of them.
for _category in (UserWarning, Image.DecompressionBombWarning):
    warnings.filterwarnings("ignore", category=_category, module=r"PIL\.")

FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}
# TIFF stays uncompressed: with compression, Pillow (12.3) fails on the EXIF data of cameras.
LONGEST_SIDE = {"JPEG": 65_500, "WEBP": 16_383}
NAMES = {"icc_profile": "the colour profile", "dpi": "the resolution", "exif": "EXIF", "xmp": "XMP", "pnginfo": "text"}
NAMES |= {"comment": "a comment", "extra": "IPTC"}
MOST_BYTES = 2_000_000_000
SAVING = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"quality": 95, "method": 4}}
# A pixel counts as grey when its largest and smallest channel differ by at most this many of 255 levels: room for
# the noise that JPEG leaves in the chroma of a grey picture.
GREY_SPREAD, GREY_SHARE = 10, 0.99
# What turns a picture upright, by its EXIF orientation. Not by ImageOps.exif_transpose, which also writes the EXIF data
# anew, and so fails on broken ones.
_T = Image.Transpose
_TURNS = _T.FLIP_LEFT_RIGHT, _T.ROTATE_180, _T.FLIP_TOP_BOTTOM, _T.TRANSPOSE, _T.ROTATE_270, _T.TRANSVERSE, _T.ROTATE_90
UPRIGHT = dict(enumerate(_TURNS, start=2))


PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY  # editors write histories of megabytes


def as_picture(image: str | Path | Image.Image | np.ndarray) -> Image.Image:
    """A file, a PIL image or an array as an upright 8-bit RGB picture.

    An array is (H,W), (H,W,1), (H,W,3) or (H,W,4), of uint8, uint16 or floats in [0,1].
    Raises UnusablePhoto for what is no picture, and ValueError for an array of another form.
    """
    if isinstance(image, str | Path):
        return read_photograph(image)
    if not isinstance(image, Image.Image):
        array = np.asarray(image)
        array = array[..., 0] if array.shape[2:] == (1,) else array
        if array.dtype == np.uint16:
            array = (array / 257 + 0.5).astype(np.uint8)
        elif np.issubdtype(array.dtype, np.floating) and array.size and array.min() >= 0 and array.max() <= 1:
            array = (array * 255 + 0.5).astype(np.uint8)
        if array.dtype != np.uint8 or not array.size or (array.ndim != 2 and array.shape[2:] not in ((3,), (4,))):
            form = "uint8, uint16 or floats in [0,1], (H,W), (H,W,1), (H,W,3) or (H,W,4)"
            raise ValueError(f"an array of {array.dtype} {array.shape} is no picture: use {form}")
        image = Image.fromarray(array)
    turn = None
    with suppress(Exception):  # broken EXIF data, whatever the parser stumbles over
        turn = UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation))
    picture = to_rgb(image)
    if turn is None:
        return picture
    turned = picture.transpose(turn)
    turned.info = {"alpha": alpha.transpose(turn)} if (alpha := picture.info.get("alpha")) else {}
    return turned


def read_photograph(path: str | Path) -> Image.Image:
    """Read an image file as `read_rgb` does. Raises UnusablePhoto with the reason."""
    return read_rgb(read_file(path))


def read_file(path: str | Path) -> bytes:
    """The bytes of a regular file. Raises UnusablePhoto for another one (a pipe would never end), and for one that
    cannot be read or is larger than 2 GB."""
    path = Path(path)
    try:
        if not path.is_file():
            raise UnusablePhoto("not a regular file" if path.exists() else "unreadable: No such file or directory")
        if path.stat().st_size > MOST_BYTES:
            raise UnusablePhoto(f"too large: {path.stat().st_size / 1e9:.1f} GB, of at most {MOST_BYTES / 1e9:.0f}")
        return path.read_bytes()
    except OSError as error:
        raise UnusablePhoto(f"unreadable: {error.strerror}") from error


def read_rgb(content: bytes, page: int = 0) -> Image.Image:
    """The bytes of an image file as an upright picture, as of `to_rgb`; of several pages or frames, one of them. Its
    `info` has their number, "frames", and the "alpha" of a transparent one (mode L).

    Raises UnusablePhoto for what cannot be decoded, is truncated, or has more pixels than Image.MAX_IMAGE_PIXELS.
    """
    most = Image.MAX_IMAGE_PIXELS or math.inf
    try:
        with opened(content) as image:
            if image.width * image.height > most:
                size = f"{image.width}x{image.height}"
                raise UnusablePhoto(f"too large: {size}, of at most {most / 1e6:.0f} million pixels (--max-pixels)")
            frames = getattr(image, "n_frames", 1)
            if page:
                image.seek(page)
            image.load()
            picture = as_picture(image)
    except UnusablePhoto:
        raise
    except UnidentifiedImageError as error:
        start = f"it starts with {content[:16]!r}" if content else "the file is empty"
        raise UnusablePhoto(f"not decodable: no image format that Pillow reads; {start}") from error
    except Image.DecompressionBombError as error:
        raise UnusablePhoto(f"too large: {error} (--max-pixels)") from error
    except Exception as error:  # Pillow's decoders raise many kinds: OSError, SyntaxError, struct.error, ...
        raise UnusablePhoto(f"not decodable: {type(error).__name__}: {error}") from error
    # Its profile and its orientation hold no longer.
    picture.info = {key: picture.info[key] for key in ("alpha",) if key in picture.info} | {"frames": frames}
    return picture


def save_picture(picture: Image.Image, path: str | Path, source: str | Path | None = None) -> list[str]:
    """Write a picture in the format of the path's extension (.jpg, .png, .webp, .tif); whole, or not at all. Returns
    what was left out, by name.

    source: the file that it was made from. Its metadata is kept as far as the format holds it (`metadata.kept`), but
    for the orientation; if it names a colour profile, the result names its own, sRGB.
    Raises ValueError for another extension or too many pixels for the format, and OSError if the disk does not take it.
    """
    path = Path(path)
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise ValueError(f"{path.name}: pictures are saved as {', '.join(FORMATS)}")
    if max(picture.size) > LONGEST_SIDE.get(kind, math.inf):
        size = f"{picture.width}x{picture.height}"
        raise ValueError(
            f"{kind} holds at most {LONGEST_SIDE[kind]:,} pixels a side, and this is {size}: use .png or .tif"
        )
    keep, left = kept(source, kind) if source else ({}, [])
    while True:
        try:
            with atomic_path(path) as partial:
                picture.save(partial, format=kind, **SAVING.get(kind, {}), **keep)
            return left
        except Exception as error:
            if not keep or getattr(error, "errno", None):  # errors of the disk have a number
                raise
            left.append(NAMES.get(last := keep.popitem()[0], last))


def is_greyscale(image: Image.Image) -> bool:
    """True if at least 99 % of the pixels of an RGB picture (looked at in at most 128x128) are grey."""
    small = np.asarray(image.resize((min(image.width, 128), min(image.height, 128)), Image.Resampling.BOX))
    return bool((np.ptp(small, axis=2) <= GREY_SPREAD).mean() >= GREY_SHARE)


def resize(image: Image.Image, size: int) -> np.ndarray:
    """Squash an RGB picture to size x size (bicubic, with antialiasing): uint8 (size,size,3)."""
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC))


def read_square(path: Path, sha256: str, size: int) -> np.ndarray:
    """One file, checked against the sha256 of its manifest, squashed to size x size: uint8 (size,size,3).

    Raises FileNotFoundError, and ValueError for one whose content is not the manifest's or cannot be decoded.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} is in the manifest but not on the disk")
    try:
        content = read_file(path)
        if hashlib.sha256(content).hexdigest() != sha256:
            raise ValueError(f"{path} is not the file of the manifest: its sha256 differs. Restore it, or draw anew.")
        return resize(read_rgb(content), size)
    except UnusablePhoto as error:
        raise ValueError(f"{path} is usable by the manifest, but {error}") from error
