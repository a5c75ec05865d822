"""Photographs for tests, made from a seed: smooth and colourful, each unlike the others."""

from pathlib import Path

import numpy as np
from PIL import Image


def photograph(seed: int = 0, size: tuple[int, int] = (96, 80)) -> Image.Image:
    """A picture of soft colour patches, size (width, height)."""
    patches = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(patches).resize(size, Image.Resampling.BICUBIC)


def grey_photograph(seed: int = 0, size: tuple[int, int] = (96, 80)) -> Image.Image:
    """The same picture in greyscale, mode L."""
    return photograph(seed, size).convert("L")


def save(image: Image.Image, path: Path, **options) -> Path:
    """Save `image` in the format of the path's ending, making folders as needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def save_photographs(folder: Path, count: int, size: tuple[int, int] = (96, 80)) -> list[str]:
    """`count` JPEGs photo-00.jpg, photo-01.jpg, ...; returns their names."""
    names = [f"photo-{i:02d}.jpg" for i in range(count)]
    for i, name in enumerate(names):
        save(photograph(i, size), folder / name, quality=95)
    return names
