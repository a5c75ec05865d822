"""Colour photographs by a generator in an .onnx file, with onnxruntime and without torch."""

import json
import math
from pathlib import Path

import numpy as np
from PIL import Image

from ..images import as_picture
from .enlarging_numpy import enlarge, small_lightness
from .levels import stretched

EXTRA = "pip install 'colorize-lab[export]', or onnx and onnxruntime alone"


class UnusableModel(ValueError):
    """An .onnx file is no generator of this library; the message names it."""


def check_size(size: int, step: int, fixed: bool) -> None:
    """Raise ValueError for a size that a network does not take: a multiple of `step` or, if `fixed`, that alone."""
    if size % step or size < step or (fixed and size > step):
        raise ValueError(
            f"size {size} does not suit this network: use {f'{step} px only' if fixed else f'a multiple of {step}'}"
        )


def check_options(colorizer: "OnnxColorizer", samples: int, saturation: float, steered: bool) -> None:
    """Raise ValueError for a bad option, and for what a colorizer cannot do: several samples without a distribution and
    without dropout; without a distribution certain colours or its certainty (`steered`)."""
    if samples < 1 or not 0 <= saturation < math.inf:
        raise ValueError(f"samples {samples} must be at least 1, and saturation {saturation} at least 0")
    no_distribution = "no distribution of colours (the shipped one does, but not as .onnx)"
    if samples > 1 and not (colorizer.is_distribution or colorizer.has_dropout):
        raise ValueError(f"this generator gives one colouring: it has no dropout, and paints {no_distribution}")
    if steered and not colorizer.is_distribution:
        raise ValueError(f"no hints, palette, reference or certainty: this generator paints {no_distribution}")


class OnnxColorizer:
    """A generator that `export` wrote, ready to colour photographs; called as a `Colorizer` is.

    size: side in pixels of the square copy that the network sees; that of its training if None. vividness: from 0
    (faithful) to 1 (vivid), how a colour distribution is read; None: as the file says.
    Raises UnusableModel naming the file, ValueError for a size or a vividness that it does not take, and
    ModuleNotFoundError if onnxruntime is not installed.
    """

    is_distribution = has_dropout = False  # it gives colours, not beliefs, and one colouring

    def __init__(self, path: str | Path, size: int | None = None, vividness: float | None = None):
        try:
            import onnxruntime
        except ModuleNotFoundError:
            raise ModuleNotFoundError(f"{path} needs onnxruntime: {EXTRA}") from None
        if not Path(path).is_file():
            raise UnusableModel(f"weights file {path} does not exist")
        try:
            onnxruntime.set_default_logger_severity(3)  # errors alone
            self._session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
            about = json.loads(self._session.get_modelmeta().custom_metadata_map["about"])
        except Exception as error:  # onnxruntime raises kinds of its own
            raise UnusableModel(
                f"{path} is damaged or none of this library's: `python -m colorize_lib export` makes one "
                f"({type(error).__name__})"
            ) from error
        self.size, self._vividness = about["size"] if size is None else size, about["vividness"]
        check_size(self.size, about["step"], about["fixed"])
        if vividness is not None:
            if self._vividness is None:
                raise ValueError("this generator paints one colour, not a distribution: it has no vividness")
            if not 0 <= vividness <= 1:
                raise ValueError(f"vividness {vividness} must lie between 0 (faithful) and 1 (vivid)")
            self._vividness = vividness

    def check(self, samples: int = 1, saturation: float = 1.0, steered: bool = False) -> None:
        """Raise ValueError as `check_options` does."""
        check_options(self, samples, saturation, steered)

    def paint(self, L: np.ndarray) -> np.ndarray:
        """Normalised ab (2,H,W) of L (1,H,W), float32. Raises RuntimeError for NaN, which would be black."""
        feeds = {"L": L[None]} | ({} if self._vividness is None else {"vividness": np.array(self._vividness, "f4")})
        (ab,) = self._session.run(None, feeds)
        if np.isnan(ab).any():
            raise RuntimeError("the weights give colours that are no numbers (NaN): they are broken")
        return ab[0]

    def __call__(
        self, image: str | Path | Image.Image | np.ndarray, samples=1, seed=None, saturation=1.0, steady=None
    ) -> Image.Image:
        """Colour one photograph, as `Colorizer` does: a PIL image, RGB, of its own (upright) size. seed: of no use.

        Raises UnusablePhoto for what is no picture, and ValueError as `check` does.
        """
        self.check(samples, saturation)
        picture = as_picture(image)
        L = small_lightness(picture, self.size)
        ab = self.paint(stretched(L))
        ab = steady(L[0], ab) if steady else ab
        return enlarge(picture, L, saturation * ab.clip(-1, 1))
