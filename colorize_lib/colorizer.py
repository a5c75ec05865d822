"""Colour photographs at their own resolution.

The network sees a small, square copy of a photograph, as it did in training; of what it paints only the colour is
taken. That is brought back to full size with a guided filter, so that it ends where the photograph's lightness has
edges, and laid under the photograph's own lightness, which stays as it is.
"""

import io
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import ExifTags, Image, ImageCms
from torch import nn

from . import color
from .dataset import to_lab
from .files import atomic_path
from .gan import colorize_batch
from .images import SRGB, UnusablePhoto, read_rgb, resize, to_rgb
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
STRIP_PIXELS = 200_000  # of the photograph, worked on at a time: bounds the memory, and fits into the cache

# The window's radius as a share of the small copy's side, and how much variance of L (in [-1,1]) it takes to steer the
# colour. Measured on 50 photographs of 256 px whose true colour was brought back from 64 px, L1 in Lab units and spill:
# bilinear 1.07 and 0.088; this 1.02 and 0.069; a tenth of EPSILON 1.08 and 0.069; twice the radius, EPSILON 0.03, 1.08
# and 0.073; the plain guided filter, which blurs the small colour first, has an L1 of 1.67 at best.
RADIUS, EPSILON = 1 / 64, 0.1


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
        self.size = size or config.size
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
        if samples < 1 or saturation < 0:
            raise ValueError(f"samples {samples} must be at least 1, and saturation {saturation} at least 0")
        if samples > 1 and not self.has_dropout:
            raise ValueError("this generator has no dropout: it gives one colouring only, so samples must be 1")
        picture = _as_picture(image)
        L, _ = to_lab(torch.from_numpy(resize(picture, self.size).copy())[None].to(self.device))
        if seed is not None:
            torch.manual_seed(seed)
        painted = []
        for _ in range(samples):
            ab = colorize_batch(self.net_G, L, dropout=samples > 1).float().clamp(-1, 1)
            painted.append(enlarge(picture, L.cpu(), saturation * ab.cpu()))
        return painted if samples > 1 else painted[0]


@torch.inference_mode()
def enlarge(picture: Image.Image, L: torch.Tensor, ab: torch.Tensor, guided: bool = True) -> Image.Image:
    """Lay small colour under a picture's own lightness: RGB of the picture's size.

    picture: RGB, of any size; L (1,1,S,S) and ab (1,2,S,S): its small copy and the colour of that, normalised. guided:
    with the guided filter, else by bilinear interpolation alone.
    In every small window the filter takes ab = A * L + B (He, Sun and Tang, "Guided image filtering", 2010). As in its
    fast form (He and Sun, arXiv:1505.00996) A is enlarged; but what it is applied to is the detail of L alone, that
    which the small copy lacks: ab = up(ab) + up(A) * (L - up(small L)). So the network's colours stay as they are, and
    only their borders move. It is worked out in strips, so that it needs little memory besides the two pictures.
    """
    slope = _guided_slope(L, ab) if guided else torch.zeros_like(ab)
    small = torch.cat([slope, ab, L], dim=1)  # (1,5,S,S)
    pixels = np.asarray(picture)  # (H,W,3)
    height, width = pixels.shape[:2]
    result = np.empty_like(pixels)
    rows = max(1, STRIP_PIXELS // width)
    for top in range(0, height, rows):
        strip = torch.from_numpy(pixels[top : top + rows].copy()).permute(2, 0, 1)[None]
        L_strip, _ = color.normalize(color.rgb_to_lab(strip))
        slope, ab, L = _enlarged_rows(small, top, strip.shape[2], height, width).split([2, 2, 1], dim=1)
        rgb = color.lab_to_rgb(L_strip, (ab + slope * (L_strip - L)).clamp(-1, 1))
        result[top : top + rows] = color.to_uint8(rgb)[0].numpy()
    return Image.fromarray(result)


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


def _guided_slope(L: torch.Tensor, ab: torch.Tensor) -> torch.Tensor:
    """A of ab = A * L + B in the windows that a pixel is in, on average: (1,1,S,S) and (1,2,S,S) to (1,2,S,S)."""
    radius = max(1, round(L.shape[-1] * RADIUS))

    def mean(values: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(values, 2 * radius + 1, 1, radius, count_include_pad=False)

    mean_L = mean(L)
    return mean((mean(L * ab) - mean_L * mean(ab)) / (mean(L * L) - mean_L**2 + EPSILON))


def _enlarged_rows(small: torch.Tensor, top: int, rows: int, height: int, width: int) -> torch.Tensor:
    """Rows `top` to `top + rows` of `small` (1,C,S,S) enlarged bilinearly to (1,C,height,width): (1,C,rows,width)."""
    S = small.shape[2]
    at = ((torch.arange(top, top + rows) + 0.5) * S / height - 0.5).clamp(0, S - 1)
    above = at.floor().long()
    below, share = (above + 1).clamp(max=S - 1), (at - above)[None, None, :, None]
    lines = small[:, :, above] * (1 - share) + small[:, :, below] * share  # (1,C,rows,S)
    return F.interpolate(lines, size=(rows, width), mode="bilinear", align_corners=False)
