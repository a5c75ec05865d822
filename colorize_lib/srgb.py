"""Any image to 8-bit sRGB, by what it says of itself: depth, colour profile, a PNG's gamma, white and transparency."""

import io
import logging
from contextlib import suppress

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError
from PIL.ExifTags import Base as TAGS

HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")  # brands of Apple's and others' phones
SRGB = ImageCms.createProfile("sRGB")


class UnusablePhoto(ValueError):
    """A file that is no usable colour photograph; the message is the reason."""


def to_rgb(image: Image.Image) -> Image.Image:
    """A PIL image of any mode as 8-bit sRGB, mode RGB: by its colour profile (so CMYK prints look as meant) or a PNG's
    gamma, laid over white where it is transparent (its `info` then has "alpha"), 16 bits scaled to 8.

    Raises UnusablePhoto for 32-bit integers beyond 16 bits, and for floats outside of [0,1].
    """
    info, alpha, tags = image.info, None, getattr(image, "tag_v2", {})
    if image.mode.startswith(("I", "F")):  # Pillow would clip and not scale
        pixels = np.asarray(image)
        if "transparency" in info:
            alpha = Image.fromarray(np.where(pixels == info["transparency"], 0, 255).astype(np.uint8))
        bits = int(np.max(tags.get(TAGS.BitsPerSample, 16)))
        bits = 32 if image.mode == "I" and pixels.size and (pixels.min() < 0 or pixels.max() > 65535) else bits
        if image.mode != "F" and tags.get(TAGS.PhotometricInterpretation) == 0:  # white is 0
            pixels = (2**bits - 1) - pixels
        curve = _curve("L", info)  # 16 bits are kept until the levels are sRGB's, as linear ones are few in the dark
        if curve is None or image.mode == "F":
            levels = _levels(pixels, bits)
        else:
            levels = (np.interp(pixels, np.linspace(0, 2**bits - 1, 256), curve) + 0.5).astype(np.uint8)
        image = Image.fromarray(levels)
    else:
        if image.has_transparency_data:
            image = image.convert("RGBA")
            alpha = image.getchannel("A")
        if alpha is not None or image.mode == "P":
            image = image.convert("RGB")
        curve = _curve(image.mode, info)
        if curve is not None:
            image = image.point([round(level) for level in curve] * len(image.getbands()))
        elif info.get("icc_profile") and image.mode in ("RGB", "CMYK"):
            image = in_srgb(image, info["icc_profile"])
    if image.mode != "RGB":  # else a copy, which of a large photograph is a lot
        image = image.convert("RGB")
    if alpha is None:
        return image
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=alpha)
    white.info["alpha"] = alpha
    return white


def _curve(mode: str, info: dict) -> np.ndarray | None:
    """The sRGB levels, floats (256,), of a file's levels 0 to 255: by the profile of a grey picture, or by a PNG's gAMA
    where it has neither iCCP nor sRGB (PNG specification, 13.13); None if they are sRGB's already."""
    profile, gamma = info.get("icc_profile"), info.get("gamma")
    if profile:
        if mode not in ("L", "1") or profile[16:20] != b"GRAY":
            return None
        ramp = in_srgb(Image.fromarray(np.arange(256, dtype=np.uint8)[None]), profile)
        return None if ramp.mode == "L" else np.asarray(ramp)[0].mean(axis=1)
    if not gamma or "srgb" in info or mode not in ("L", "RGB"):
        return None
    light = np.linspace(0, 1, 256) ** (1 / gamma)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def in_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """A picture out of its colour profile into sRGB; as it is if the profile is broken or does not fit."""
    with suppress(ImageCms.PyCMSError, OSError):
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.profileToProfile(image, source, SRGB, outputMode="RGB")
    return image


def opened(content: bytes) -> Image.Image:
    """The image in these bytes: by Pillow, and by tifffile those TIFFs that Pillow cannot read or reads wrongly."""
    try:
        image = Image.open(io.BytesIO(content))
    except UnidentifiedImageError:
        if content[4:8] == b"ftyp" and content[8:12] in HEIF:
            return _heif(content)
        if content[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return _by_tifffile(content)
        raise
    if image.format == "TIFF":
        tags = image.tag_v2
        deep = np.max(tags.get(TAGS.BitsPerSample, 1)) > 8
        planes = tags.get(TAGS.PlanarConfiguration) == 2 and tags.get(TAGS.Compression, 1) == 1
        if deep and (planes or image.mode == "LAB" or tags.get(TAGS.PhotometricInterpretation) == 8):
            return _by_tifffile(content)
    return image


def _heif(content: bytes) -> Image.Image:
    try:
        import pillow_heif
    except ModuleNotFoundError:
        raise UnusablePhoto("HEIC, which Pillow reads with the package pillow-heif alone: pip install it") from None
    pillow_heif.register_heif_opener()
    return Image.open(io.BytesIO(content))


def _by_tifffile(content: bytes) -> Image.Image:
    """A TIFF's first page, 8 bits a channel. Raises UnusablePhoto for floats outside of [0,1], and other kinds."""
    import tifffile  # takes a while to import, and few need it

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what is wrong is in the error
    try:
        with tifffile.TiffFile(io.BytesIO(content)) as file:
            page = file.pages[0]
            pixels, kind, bits = page.asarray(), page.photometric.name, page.bitspersample
            if page.planarconfig == 2 and pixels.ndim == 3:
                pixels = np.moveaxis(pixels, 0, -1)
            profile = page.tags.get(TAGS.InterColorProfile)
    except Exception as error:  # tifffile raises many kinds; a codec that is missing is a ValueError
        raise UnusablePhoto(f"not decodable: a TIFF of which tifffile says: {error}") from error
    if kind == "CIELAB" and pixels.dtype == np.uint16 and pixels.ndim == 3:
        # L from 0 to 65535; a and b signed, in 1/256 of a unit.
        ab = (pixels[..., 1:3].view(np.int16) >> 8) & 255  # signed bytes
        image = Image.fromarray((np.dstack([pixels[..., :1] / 257 + 0.5, ab])).astype(np.uint8), "LAB")
    else:
        levels = _levels(pixels, bits)
        image = Image.fromarray(255 - levels if kind == "MINISWHITE" else levels)
    if profile is not None:
        image.info["icc_profile"] = profile.value
    return image


def _levels(pixels: np.ndarray, bits: int = 16) -> np.ndarray:
    """Numbers as levels of 0 to 255, uint8: integers of so many bits, or floats in [0,1]. Raises UnusablePhoto for
    others, as what is white in them is not said."""
    if np.issubdtype(pixels.dtype, np.floating):
        low, high = (float(end) for end in (np.nanmin(pixels), np.nanmax(pixels)))
        if not (low >= 0 and high <= 1 and np.isfinite(pixels).all()):
            raise UnusablePhoto(f"floating-point values from {low:.4g} to {high:.4g}: only those in [0,1] are known")
        return (pixels * 255 + 0.5).astype(np.uint8)
    if bits > 16 or not np.issubdtype(pixels.dtype, np.integer):
        raise UnusablePhoto(f"{bits}-bit integers: what is white in them is not said")
    return np.clip(pixels / ((2**bits - 1) / 255) + 0.5, 0, 255).astype(np.uint8)
