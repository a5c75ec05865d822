"""Colour photographs at their own resolution.

The network sees a small copy of a photograph, squashed to a square as in training, and of what it paints only the
colour is taken. (Padding to a square makes no difference that 107 long photographs resolve: L1 of ab minus that of
squashing, in Lab units, -0.03 [-0.31, 0.22] with 03's generator; benchmarks/enlarging.py.) The colour is
brought back to full size (`enlarging`) and laid under the photograph's own lightness, which stays as it is.
"""

import io
import math
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image, ImageCms
from torch import nn

from .enlarging import enlarge, small_copy
from .files import atomic_path
from .gan import colorize_batch
from .images import SRGB, UnusablePhoto, read_rgb, to_rgb
from .models import GeneratorConfig
from .models.cifar import CifarConfig
from .weights import find_weights, read_generator

FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}
SAVING = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"quality": 95, "method": 4},
}  # TIFF stays uncompressed: with compression, Pillow (12.3) fails on the EXIF data of cameras
# EXIF tags that hold of the coloured picture too; others are of how the pixels were stored, or of the orientation.
KEPT_TAGS = {
    *(ExifTags.Base[name] for name in ("ImageDescription", "Make", "Model", "Software", "DateTime", "Artist")),
    *(ExifTags.Base[name] for name in ("HostComputer", "Rating", "Copyright", "ExifOffset", "GPSInfo")),
    *(ExifTags.Base[f"XP{name}"] for name in ("Title", "Comment", "Author", "Keywords", "Subject")),
}


class Colorizer:
    """A generator ready to colour photographs. `Colorizer.load` makes one; then call it.

    size: side of the square copy that the network sees, in pixels; that of its training if None. Larger ones show the
    network details at a scale that it was not trained on.
    Raises ValueError for a size that the network cannot take.
    """

    def __init__(
        self,
        net_G: nn.Module,
        config: GeneratorConfig | CifarConfig,
        device: str | torch.device = "auto",
        size: int | None = None,
    ):
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(device)
        self.size = config.size if size is None else size
        step = _step(config)
        if self.size % step or self.size < step:
            raise ValueError(f"size {self.size} does not suit this network: use a multiple of {step}")
        if isinstance(config, CifarConfig) and self.size != config.size:
            raise ValueError(f"this network takes pictures of {config.size} px only")
        self.net_G = net_G.to(self.device).eval()
        self.has_dropout = any(isinstance(module, nn.Dropout) for module in net_G.modules())

    @classmethod
    def load(
        cls, path_or_name: str | Path | None = None, device: str | torch.device = "auto", size: int | None = None
    ) -> "Colorizer":
        """A Colorizer with the weights of a file, a folder or a name, as `weights.find_weights` and `read_generator`
        take them. Raises CheckpointError for what cannot be read, ValueError for a size that does not suit."""
        return cls(*read_generator(find_weights(path_or_name)), device, size)

    def __call__(
        self,
        image: str | Path | Image.Image | np.ndarray,
        samples: int = 1,
        seed: int | None = None,
        saturation: float = 1.0,
    ) -> Image.Image | list[Image.Image]:
        """Colour one photograph: a PIL image, RGB, of its own (upright) size; a list of several if samples > 1.

        image: a file, a PIL image, or an array (H,W), (H,W,1), (H,W,3) or (H,W,4) of uint8, uint16 or float in [0,1],
        grey or coloured; colour in it is ignored. samples: how many colourings, which differ by dropout; with one,
        dropout is off and the result is always the same. seed: of the dropout; None leaves it to chance. saturation:
        factor on the colour, 0 for grey.
        Raises UnusablePhoto for what is no picture, and ValueError for a bad option, or for several samples from a
        network without dropout.
        """
        if samples < 1 or not 0 <= saturation < math.inf:
            raise ValueError(f"samples {samples} must be at least 1, and saturation {saturation} at least 0")
        if samples > 1 and not self.has_dropout:
            raise ValueError("this generator has no dropout: it gives one colouring only, so samples must be 1")
        picture = _as_picture(image)
        L, _ = small_copy(picture, self.size)
        if seed is not None:
            torch.manual_seed(seed)
        painted = []
        for _ in range(samples):
            ab = colorize_batch(self.net_G, L.to(self.device), dropout=samples > 1).float().cpu().clamp(-1, 1)
            painted.append(enlarge(picture, L, saturation * ab))
        return painted if samples > 1 else painted[0]


def read_photograph(path: str | Path) -> Image.Image:
    """Read an image file as an upright 8-bit RGB picture. Raises UnusablePhoto with the reason."""
    try:
        return read_rgb(Path(path).read_bytes())[0]
    except OSError as error:
        raise UnusablePhoto(f"unreadable: {error.strerror}") from error


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


def _kept(source: Path) -> dict:
    """What of a file's metadata goes into its coloured copy, as arguments of PIL's `save`."""
    kept: dict = {}
    with Image.open(io.BytesIO(source.read_bytes())) as image:
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


def _step(config: GeneratorConfig | CifarConfig) -> int:
    """What a network's picture sides must be multiples of."""
    if isinstance(config, CifarConfig):
        return config.size
    return 2**config.n_down if config.architecture == "unet" else 32


def _as_picture(image: str | Path | Image.Image | np.ndarray) -> Image.Image:
    """Any image as 8-bit RGB. Raises UnusablePhoto, or ValueError for an array of another form."""
    if isinstance(image, str | Path):
        return read_photograph(image)
    if isinstance(image, Image.Image):
        return to_rgb(image)
    array = np.asarray(image)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)) or not array.size:
        raise ValueError(f"an array of shape {array.shape} is no picture: use (H,W), (H,W,1), (H,W,3) or (H,W,4)")
    if array.dtype == np.uint16:
        array = (array / 257 + 0.5).astype(np.uint8)
    elif np.issubdtype(array.dtype, np.floating):
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise ValueError("an array of floats must lie in [0,1]")
        array = (array * 255 + 0.5).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise ValueError(f"an array of {array.dtype} is no picture: use uint8, uint16, or floats in [0,1]")
    return to_rgb(Image.fromarray(array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array))
