"""One image file to one upright 8-bit sRGB picture, and back: what Pillow leaves to whoever calls it."""

import hashlib
import io
import warnings
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
# How to turn a picture upright, by its EXIF orientation; 1 is upright.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class UnusablePhoto(ValueError):
    """A file that is no usable colour photograph; the message is the reason."""


def as_picture(image: str | Path | Image.Image | np.ndarray) -> Image.Image:
    """A file, a PIL image or an array as an upright 8-bit RGB picture.

    An array is (H,W), (H,W,1), (H,W,3) or (H,W,4) of uint8, uint16, or floats in [0,1].
    Raises UnusablePhoto for a file that is no picture, and ValueError for an array of another form.
    """
    if isinstance(image, str | Path):
        return read_photograph(image)
    if isinstance(image, Image.Image):
        return _upright_rgb(image)
    array = np.asarray(image)
    if not array.size or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))):
        raise ValueError(f"an array of shape {array.shape} is no picture: use (H,W), (H,W,1), (H,W,3) or (H,W,4)")
    if array.dtype == np.uint16:
        array = (array / 257 + 0.5).astype(np.uint8)
    elif np.issubdtype(array.dtype, np.floating):
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise ValueError("an array of floats must lie in [0,1]")
        array = (array * 255 + 0.5).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise ValueError(f"an array of {array.dtype} is no picture: use uint8, uint16, or floats in [0,1]")
    return to_rgb(Image.fromarray(array[..., 0] if array.shape[2:] == (1,) else array))


def read_photograph(path: str | Path) -> Image.Image:
    """Read an image file as an upright 8-bit RGB picture. Raises UnusablePhoto with the reason."""
    try:
        return read_rgb(Path(path).read_bytes())[0]
    except OSError as error:
        raise UnusablePhoto(f"unreadable: {error.strerror}") from error


def read_rgb(content: bytes) -> tuple[Image.Image, tuple[int, int]]:
    """Decode the bytes of an image file to an upright RGB picture (8 bit, sRGB) and its full (width, height).

    EXIF rotation is applied; an embedded colour profile is converted to sRGB (so CMYK prints look as meant);
    transparency is laid over white; 16 bits are scaled to 8. Of an animation, the first frame counts.
    Raises UnusablePhoto for what cannot be decoded, is truncated, or is so large that it could be a decompression bomb.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            _refuse(image)
            size = image.size
            image.load()
            sideways = _orientation(image) >= 5
            picture = _upright_rgb(image)
    except UnusablePhoto:
        raise
    except UnidentifiedImageError as error:
        start = f"it starts with {content[:16]!r}" if content else "the file is empty"
        raise UnusablePhoto(f"not decodable: no image format that Pillow reads; {start}") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise UnusablePhoto(f"too large: {error}") from error
    except Exception as error:  # Pillow's decoders raise many kinds: OSError, SyntaxError, struct.error, ...
        raise UnusablePhoto(f"not decodable: {type(error).__name__}: {error}") from error
    picture.info = {}  # its profile and its orientation hold no longer
    return picture, size[::-1] if sideways else size


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert a PIL image of any mode to 8-bit sRGB, mode RGB, over white where it is transparent."""
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I"):  # 16-bit greyscale, which Pillow would clip and not scale
        values = np.asarray(image).astype(np.float64)
        image = Image.fromarray(np.clip(values / 257 + 0.5, 0, 255).astype(np.uint8), mode="L")
    alpha = None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
    if alpha is not None or image.mode == "P":
        image = image.convert("RGB")
    if profile and image.mode in ("RGB", "CMYK"):
        image = _to_srgb(image, profile)
    if image.mode != "RGB":  # else a copy, which of a large photograph is a lot
        image = image.convert("RGB")
    if alpha is None:
        return image
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=alpha)
    return white


def save_picture(picture: Image.Image, path: str | Path, source: str | Path | None = None) -> None:
    """Write a picture in the format of the path's extension (.jpg, .png, .webp, .tif); whole, or not at all.

    source: the file that it was made from, whose EXIF data and resolution are kept where the format allows, but for the
    orientation, which is upright now. If the source names a colour profile, the result names its own, sRGB.
    Raises ValueError for another extension, and OSError if the disk does not take it.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"{path.name}: pictures are saved as {', '.join(FORMATS)}")
    kind = FORMATS[path.suffix.lower()]
    with atomic_path(path) as partial:
        picture.save(partial, format=kind, **SAVING.get(kind, {}), **(_kept(Path(source)) if source else {}))


def is_greyscale(image: Image.Image) -> bool:
    """True if at least 99 % of the pixels of an RGB picture (looked at in at most 128x128) are grey."""
    small = np.asarray(image.resize((min(image.width, 128), min(image.height, 128)), Image.Resampling.BOX))
    return bool((np.ptp(small.astype(np.int16), axis=2) <= GREY_SPREAD).mean() >= GREY_SHARE)


def resize(image: Image.Image, size: int) -> np.ndarray:
    """Squash an RGB picture to size x size (bicubic, with antialiasing): uint8 (size,size,3)."""
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC))


def read_square(path: Path, sha256: str, size: int) -> np.ndarray:
    """One file, checked against the sha256 of its manifest, squashed to size x size: uint8 (size,size,3).

    Raises FileNotFoundError for a missing file, and ValueError for one whose content is not the manifest's.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is in the manifest but not on the disk") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(f"{path} is not the file of the manifest: its sha256 differs. Restore it, or draw anew.")
    try:
        return resize(read_rgb(content)[0], size)
    except UnusablePhoto as error:
        raise ValueError(f"{path} is usable by the manifest, but {error}") from error


def _refuse(image: Image.Image) -> None:
    """Raise UnusablePhoto for an opened, not yet decoded image that is too large, or that Pillow decodes wrongly."""
    most = Image.MAX_IMAGE_PIXELS
    if most is not None and image.width * image.height > most:
        raise UnusablePhoto(
            f"too large: {image.width}x{image.height}; more than {most / 1e6:.0f} million pixels are refused, "
            "for a small file may unpack to more than the memory holds"
        )
    if image.format == "TIFF" and image.mode in ("RGB", "RGBA"):
        tags = image.tag_v2  # 284: planar configuration, 258: bits per sample, 259: compression
        if tags.get(284) == 2 and np.max(tags.get(258, 8)) > 8 and tags.get(259, 1) == 1:
            raise UnusablePhoto("not decodable: a TIFF of uncompressed 16-bit colour planes")


def _upright_rgb(image: Image.Image) -> Image.Image:
    orientation = _orientation(image)
    return to_rgb(image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation of an image, 1 to 8; 1 if there is none or the EXIF data are broken."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # as with pictures: whatever the parser stumbles over
        return 1
    return orientation if orientation in UPRIGHT else 1


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert from an embedded ICC profile to sRGB; a profile that is broken or does not fit is ignored."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.profileToProfile(image, source, SRGB, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return image


def _kept(source: Path) -> dict:
    """What of a file's metadata goes into its coloured copy, as arguments of PIL's `save`."""
    kept: dict = {}
    with Image.open(source) as image:
        try:
            exif = image.getexif()
            for tag in set(exif) - KEPT_TAGS:
                del exif[tag]
            if len(exif):
                kept["exif"] = exif.tobytes()
        except Exception:  # broken EXIF data of whatever kind: the colours are worth more
            pass
        if image.info.get("icc_profile"):
            kept["icc_profile"] = ImageCms.ImageCmsProfile(SRGB).tobytes()
        if "dpi" in image.info:
            kept["dpi"] = tuple(float(value) for value in image.info["dpi"])
    return kept
