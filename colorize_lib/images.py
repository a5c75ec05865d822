"""One image file to one upright 8-bit sRGB picture, and back: what Pillow leaves to whoever calls it."""

import hashlib
import io
import math
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from .files import atomic_path

# Pillow warns of odd EXIF and TIFF tags, which do no harm here, and of sizes that read_rgb refuses. Silenced once, for
# the process: read_rgb runs in threads, and `warnings.catch_warnings` changes the filters of all of them.
for _category in (UserWarning, Image.DecompressionBombWarning):
    warnings.filterwarnings("ignore", category=_category, module=r"PIL\.")

FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}
# TIFF stays uncompressed: with compression, Pillow (12.3) fails on the EXIF data of cameras.
SAVING = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"quality": 95, "method": 4}}
# EXIF tags that hold of the coloured picture too; others are of how the pixels were stored, or of the orientation.
KEPT_TAGS = {
    *(ExifTags.Base[name] for name in ("ImageDescription", "Make", "Model", "Software", "DateTime", "Artist")),
    *(ExifTags.Base[name] for name in ("HostComputer", "Rating", "Copyright", "ExifOffset", "GPSInfo")),
    *(ExifTags.Base[f"XP{name}"] for name in ("Title", "Comment", "Author", "Keywords", "Subject")),
}
SRGB = ImageCms.createProfile("sRGB")
# A pixel counts as grey when its largest and smallest channel differ by at most this many of 255 levels: room for
# the noise that JPEG leaves in the chroma of a grey picture.
GREY_SPREAD, GREY_SHARE = 10, 0.99
# What turns a picture upright, by its EXIF orientation. Not by ImageOps.exif_transpose, which also writes the EXIF data
# anew, and so fails on broken ones.
_T = Image.Transpose
_TURNS = _T.FLIP_LEFT_RIGHT, _T.ROTATE_180, _T.FLIP_TOP_BOTTOM, _T.TRANSPOSE, _T.ROTATE_270, _T.TRANSVERSE, _T.ROTATE_90
UPRIGHT = dict(enumerate(_TURNS, start=2))


class UnusablePhoto(ValueError):
    """A file that is no usable colour photograph; the message is the reason."""


def as_picture(image: str | Path | Image.Image | np.ndarray) -> Image.Image:
    """A file, a PIL image or an array as an upright 8-bit RGB picture.

    An array is (H,W), (H,W,1), (H,W,3) or (H,W,4), of uint8, uint16 or floats in [0,1].
    Raises UnusablePhoto for a file that is no picture, and ValueError for an array of another form.
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
    return to_rgb(image if turn is None else image.transpose(turn))


def read_photograph(path: str | Path) -> Image.Image:
    """Read an image file as an upright 8-bit RGB picture. Raises UnusablePhoto with the reason."""
    try:
        return read_rgb(Path(path).read_bytes())
    except OSError as error:
        raise UnusablePhoto(f"unreadable: {error.strerror}") from error


def read_rgb(content: bytes) -> Image.Image:
    """The bytes of an image file as an upright picture, as of `to_rgb`; of an animation, its first frame.

    Raises UnusablePhoto for what cannot be decoded, is truncated, or is so large that it could be a decompression bomb.
    """
    most = Image.MAX_IMAGE_PIXELS or math.inf
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.width * image.height > most:
                raise UnusablePhoto(
                    f"too large: {image.width}x{image.height}, of at most {most / 1e6:.0f} million pixels"
                )
            if image.format == "TIFF" and image.mode in ("RGB", "RGBA"):  # one kind is decoded wrongly
                tags = image.tag_v2  # 284: planar configuration, 258: bits per sample, 259: compression
                if tags.get(284) == 2 and np.max(tags.get(258, 8)) > 8 and tags.get(259, 1) == 1:
                    raise UnusablePhoto("not decodable: a TIFF of uncompressed 16-bit colour planes")
            image.load()
            picture = as_picture(image)
    except UnusablePhoto:
        raise
    except UnidentifiedImageError as error:
        start = f"it starts with {content[:16]!r}" if content else "the file is empty"
        raise UnusablePhoto(f"not decodable: no image format that Pillow reads; {start}") from error
    except Image.DecompressionBombError as error:
        raise UnusablePhoto(f"too large: {error}") from error
    except Exception as error:  # Pillow's decoders raise many kinds: OSError, SyntaxError, struct.error, ...
        raise UnusablePhoto(f"not decodable: {type(error).__name__}: {error}") from error
    picture.info = {}  # its profile and its orientation hold no longer
    return picture


def to_rgb(image: Image.Image) -> Image.Image:
    """A PIL image of any mode as 8-bit sRGB, mode RGB: out of its colour profile (so CMYK prints look as meant), laid
    over white where it is transparent, 16 bits scaled to 8."""
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I"):  # 16-bit greyscale, which Pillow would clip and not scale
        image = Image.fromarray(np.clip(np.asarray(image) / 257 + 0.5, 0, 255).astype(np.uint8))
    alpha = None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
    if alpha is not None or image.mode == "P":
        image = image.convert("RGB")
    if profile and image.mode in ("RGB", "CMYK"):
        with suppress(ImageCms.PyCMSError, OSError):  # one that is broken or does not fit is ignored
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            image = ImageCms.profileToProfile(image, source, SRGB, outputMode="RGB")
    if image.mode != "RGB":  # else a copy, which of a large photograph is a lot
        image = image.convert("RGB")
    if alpha is None:
        return image
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=alpha)
    return white


def save_picture(picture: Image.Image, path: str | Path, source: str | Path | None = None) -> None:
    """Write a picture in the format of the path's extension (.jpg, .png, .webp, .tif); whole, or not at all.

    source: the file that it was made from. Its EXIF data and resolution are kept where the format allows, but for the
    orientation; if it names a colour profile, the result names its own, sRGB.
    Raises ValueError for another extension, and OSError if the disk does not take it.
    """
    path = Path(path)
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise ValueError(f"{path.name}: pictures are saved as {', '.join(FORMATS)}")
    kept = _kept(source) if source else {}
    with atomic_path(path) as partial:
        picture.save(partial, format=kind, **SAVING.get(kind, {}), **kept)


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
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is in the manifest but not on the disk") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(f"{path} is not the file of the manifest: its sha256 differs. Restore it, or draw anew.")
    try:
        return resize(read_rgb(content), size)
    except UnusablePhoto as error:
        raise ValueError(f"{path} is usable by the manifest, but {error}") from error


def _kept(source: str | Path) -> dict:
    """What of a file's metadata goes into its coloured copy, as arguments of PIL's `save`."""
    kept: dict = {}
    with Image.open(source) as image:
        with suppress(Exception):  # broken EXIF data of whatever kind: the colours are worth more
            exif = image.getexif()
            for tag in set(exif) - KEPT_TAGS:
                del exif[tag]
            if len(exif):
                kept["exif"] = exif.tobytes()
        if image.info.get("icc_profile"):
            kept["icc_profile"] = ImageCms.ImageCmsProfile(SRGB).tobytes()
        if "dpi" in image.info:
            kept["dpi"] = tuple(float(value) for value in image.info["dpi"])
    return kept
