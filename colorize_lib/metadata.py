"""What a photograph's file says beside its pixels, for its coloured copy: EXIF, resolution, XMP, IPTC, text."""

from contextlib import suppress
from pathlib import Path

from PIL import ExifTags, Image, ImageCms, PngImagePlugin

# EXIF tags that hold of the coloured picture too; others are of how the pixels were stored, or of the orientation.
KEPT_TAGS = {
    *(ExifTags.Base[name] for name in ("ImageDescription", "Make", "Model", "Software", "DateTime", "Artist")),
    *(ExifTags.Base[name] for name in ("HostComputer", "Rating", "Copyright", "ExifOffset", "GPSInfo")),
    *(ExifTags.Base[f"XP{name}"] for name in ("Title", "Comment", "Author", "Keywords", "Subject")),
}
SRGB = ImageCms.createProfile("sRGB")
LONGEST_EXIF = 65_533 - 6  # bytes in a JPEG's one segment
XMP_IN_PNG = "XML:com.adobe.xmp"


def kept(source: str | Path, kind: str) -> tuple[dict, list[str]]:
    """What of a file's metadata goes into its coloured copy of a kind (`JPEG`, `PNG`, ...), as arguments of PIL's
    `save`; and what the copy cannot hold, by name. Broken metadata is passed over: the colours are worth more."""
    found: dict = {}
    left: list[str] = []
    exif = Image.Exif()
    try:
        image = Image.open(source)
    except Exception:  # Pillow reads it not: a TIFF that tifffile read, say
        return {}, ["metadata"]
    with image:
        with suppress(Exception):
            exif = _exif(image)
        if image.info.get("icc_profile"):
            found["icc_profile"] = ImageCms.ImageCmsProfile(SRGB).tobytes()
        with suppress(Exception):
            if all(0 < float(value) < 65_536 for value in image.info["dpi"]):
                found["dpi"] = tuple(float(value) for value in image.info["dpi"])
        xmp = image.info.get("xmp") or image.info.get(XMP_IN_PNG)
        texts: dict[str, str] = {}
        with suppress(Exception):  # the chunks behind the pixels are read now
            texts = {key: str(value) for key, value in getattr(image, "text", {}).items() if key != XMP_IN_PNG}
        comment = image.info.get("comment")
        iptc = [data for marker, data in getattr(image, "applist", []) if marker == "APP13"]
    xmp = xmp.encode() if isinstance(xmp, str) else xmp
    if len(exif) and kind == "TIFF":
        found["exif"] = exif  # as bytes, Pillow would read its text and write it as ASCII
    elif len(exif) and (kind != "JPEG" or len(exif.tobytes()) <= LONGEST_EXIF):
        found["exif"] = exif.tobytes()
    elif len(exif):
        left.append(f"EXIF of {len(exif.tobytes()):,} bytes")
    if kind == "PNG":
        info = found["pnginfo"] = PngImagePlugin.PngInfo()
        for key, value in texts.items():
            info.add_itxt(key, value)
        if isinstance(comment, bytes):
            info.add_itxt("Comment", comment.decode("utf-8", "replace"))
        if xmp:
            info.add_itxt(XMP_IN_PNG, xmp.decode("utf-8", "replace"))
        return found, left + ["IPTC"] * bool(iptc)
    if xmp and kind == "TIFF":
        exif[ExifTags.Base.XMLPacket] = xmp
        found["exif"] = exif
    elif xmp and (kind == "WEBP" or len(xmp) < LONGEST_EXIF):
        found["xmp"] = xmp
    elif xmp:
        left.append(f"XMP of {len(xmp):,} bytes")
    if kind == "JPEG":
        found |= {"comment": comment} if comment else {}
        found |= {"extra": b"".join(_segment(data) for data in iptc)} if iptc else {}
    else:
        left += ["a comment"] * bool(comment) + ["IPTC"] * bool(iptc)
    return found, left + ["text"] * bool(texts)


def _exif(image: Image.Image) -> Image.Exif:
    """The tags that are kept, their text byte for byte."""
    exif = image.getexif()
    for tag in set(exif) - KEPT_TAGS:
        del exif[tag]
    for tags in (exif, *(exif.get_ifd(which) for which in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo) if which in exif)):
        for tag, value in list(tags.items()):
            if isinstance(value, str):
                tags[tag] = _Text(value)
    return exif


class _Text(str):
    """Text of EXIF, which Pillow reads as Latin-1 and would write as ASCII: UTF-8 then is "??"."""

    def encode(self, *_) -> bytes:
        return super().encode("latin-1", "replace")


def _segment(data: bytes) -> bytes:
    """An APP13 segment of a JPEG."""
    return b"\xff\xed" + (len(data) + 2).to_bytes(2, "big") + data
