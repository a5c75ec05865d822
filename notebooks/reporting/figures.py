"""Pictures made small: charts stay exact, pictures of photographs are compressed with loss."""

import io

from PIL import Image

CHART_COLOURS = 8192  # a chart with smoothed lines has fewer colours, a picture of photographs many more
PAGE_QUALITY = 80


def is_chart(picture: Image.Image) -> bool:
    """Does the picture, RGB, have as few colours as a chart?"""
    return picture.getcolors(CHART_COLOURS) is not None


def for_page(picture: Image.Image) -> bytes:
    """The picture as WebP, which every browser of the last years shows; without loss if it is a chart."""
    picture = _flat(picture)
    return _encoded(picture, "WEBP", lossless=is_chart(picture), quality=PAGE_QUALITY, method=4)


def for_github(data: bytes, quality: int) -> tuple[str, bytes]:
    """Media type and data of a notebook's PNG, in one of the two formats that GitHub shows in notebooks."""
    picture = _flat(Image.open(io.BytesIO(data)))
    if is_chart(picture):
        return "image/png", min(data, _encoded(picture, "PNG", optimize=True), key=len)
    return "image/jpeg", _encoded(picture, "JPEG", quality=quality, optimize=True)


def _flat(picture: Image.Image) -> Image.Image:
    """RGB, what was transparent on white."""
    if picture.mode in ("RGBA", "LA", "P"):
        picture = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    return picture.convert("RGB")


def _encoded(picture: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()
