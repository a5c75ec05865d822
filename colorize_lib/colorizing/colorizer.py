"""Colour photographs at their own resolution.

The network sees a small copy, squashed to a square as in training. Of what it paints the colour is taken, brought back
to full size (`enlarging`) and laid under the photograph's own lightness. (Padding to a square makes no difference that
107 long photographs resolve: L1 of ab minus that of squashing, in Lab units, -0.03 [-0.31, 0.22].)
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from ..images import as_picture
from ..models import AnyConfig, is_fixed, size_step
from ..models.distribution import ColourDistribution, alpha_and_temperature
from ..models.hints import HintNet, load_hints
from ..models.painting import colorize_batch
from ..models.weights import find_weights, read_generator
from . import steering
from .enlarging import enlarge, small_copy
from .hints import Hint, points
from .levels import stretched
from .onnx_colorizer import OnnxColorizer, check_options, check_size


class Colorizer:
    """A generator ready to colour photographs. `Colorizer.load` makes one; then call it.

    size: side in pixels of the square copy that the network sees; that of its training if None (larger ones show it
    details at a scale that it was not trained on). vividness: from 0 (faithful) to 1 (vivid), how a colour distribution
    is read; None: as its weights say. hinting: what takes hints, if anything does.
    Raises ValueError for a size that the network cannot take, and a vividness for one that paints no distribution.
    """

    def __init__(
        self,
        net_G: nn.Module,
        config: AnyConfig,
        device: str | torch.device = "auto",
        size: int | None = None,
        vividness: float | None = None,
        hinting: HintNet | None = None,
    ):
        if device == "auto":
            mps = "mps" if torch.backends.mps.is_available() else "cpu"
            device = "cuda" if torch.cuda.is_available() else mps
        self.device, self.size = torch.device(device), config.size if size is None else size
        check_size(self.size, size_step(config), is_fixed(config))
        self.net_G = net_G.to(self.device).eval()
        if vividness is not None:
            if not self.is_distribution:
                raise ValueError("this generator paints one colour, not a distribution: it has no vividness")
            alpha_and_temperature(vividness)
            net_G.vividness = vividness
        self.hinting = hinting and hinting.to(self.device).eval()
        self.has_dropout = any(isinstance(module, nn.Dropout) for module in net_G.modules())

    @property
    def is_distribution(self) -> bool:
        """Whether colours are a distribution, which can be read at any vividness."""
        return isinstance(getattr(self.net_G, "head", None), ColourDistribution)

    @torch.no_grad()
    def believe(self, picture: Image.Image, hints: Sequence[Hint] = ()) -> tuple[torch.Tensor, torch.Tensor]:
        """What a distribution's network makes of an RGB picture: its small L and the logits, for `read`. hints: as of a
        call."""
        L, _ = small_copy(picture, self.size)
        if not hints:
            return L, self.net_G.believe(self._seen(L))
        if self.hinting is None:
            raise ValueError("these weights take no hints: the shipped generator does")
        at, ab = (part.to(self.device) for part in points(hints, picture.size))
        return L, self.hinting.believe(self.net_G, self._seen(L), at, ab)

    @torch.no_grad()
    def read(
        self, picture: Image.Image, believed: tuple, vividness=None, saturation=1.0, steady=None, **colours
    ) -> Image.Image:
        """A picture, of any size, in the colours of a belief read at a vividness; the network is not run again.
        steady, colours: as of a call."""
        L, logits = believed
        vividness = self.net_G.vividness if vividness is None else vividness
        logits = steering.pull(self.net_G.head, logits, vividness, **colours)
        return _painted(picture, L, self.net_G.read(logits, L.shape[2:], vividness), saturation, steady)

    @torch.no_grad()
    def certainty(self, image: str | Path | Image.Image | np.ndarray, believed: tuple | None = None) -> np.ndarray:
        """The error to expect of each pixel's colour, in Lab units, the larger the more it is a guess: float32 (H,W) of
        the photograph's own size (`steering.expected_error`). believed: what `believe` made of it.

        Raises UnusablePhoto for what is no picture, and ValueError for a generator that paints no distribution.
        """
        self.check(steered=True)
        picture = as_picture(image)
        _, logits = believed or self.believe(picture)
        small = steering.expected_error(self.net_G.head, logits).cpu()
        return F.interpolate(small, size=picture.size[::-1], mode="bilinear", align_corners=False)[0, 0].numpy()

    def _seen(self, L: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(stretched(L.numpy())).to(self.device)

    @classmethod
    def load(
        cls, path_or_name: str | Path | None = None, device: str | torch.device = "auto", **options
    ) -> "Colorizer | OnnxColorizer":
        """With the weights of a file, a folder or a name, as `weights.find_weights` takes them, or an .onnx file, which
        runs on the CPU; options: size, vividness. Raises CheckpointError for what cannot be read, and as OnnxColorizer
        does."""
        if Path(path_or_name or "").suffix == ".onnx":
            return OnnxColorizer(path_or_name, **options)
        net_G, config = read_generator(path := find_weights(path_or_name))
        return cls(net_G, config, device, hinting=load_hints(path, net_G), **options)

    def check(self, samples: int = 1, saturation: float = 1.0, steered: bool = False) -> None:
        """Raise ValueError as `onnx_colorizer.check_options` does."""
        check_options(self, samples, saturation, steered)

    def __call__(
        self,
        image: str | Path | Image.Image | np.ndarray,
        samples=1,
        seed: int | None = None,
        saturation=1.0,
        steady=None,
        hints=(),
        **colours,
    ) -> Image.Image | list[Image.Image]:
        """Colour one photograph: a PIL image, RGB, of its own (upright) size; a list of several if samples > 1.

        image: what `images.as_picture` takes; colour in it is ignored. samples: how many; of a distribution they prefer
        different hues, of other generators they differ by dropout (off for one). seed: of the samples; None: the
        caller's generator. saturation: factor on the colour, 0 for grey. steady: a `steadying.Steadier`, for one frame
        after the other. hints: (x, y, "#c03028") of places whose colour is known, in pixels (`hints.points`). colours:
        palette, like and strength, what a distribution is pulled towards (`steering.wanted`).
        Raises UnusablePhoto for what is no picture, and ValueError as `check`, `steering.wanted` and `hints.points` do.
        """
        self.check(samples, saturation, steered=bool(colours or hints))
        picture = as_picture(image)
        # With a seed of our own, the caller's generators stay as they are.
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else [], enabled=seed is not None):
            if seed is not None:
                torch.manual_seed(seed)
            if self.is_distribution:
                L, logits = self.believe(picture, hints)
                logits = steering.pull(self.net_G.head, logits, self.net_G.vividness, **colours)
                tilts = steering.directions(samples).to(self.device)
                painted = [self.read(picture, (L, logits + tilt), None, saturation, steady) for tilt in tilts]
            else:
                L, _ = small_copy(picture, self.size)
                of = partial(colorize_batch, self.net_G, self._seen(L), dropout=samples > 1)
                painted = [_painted(picture, L, of(), saturation, steady) for _ in range(samples)]
        return painted if samples > 1 else painted[0]


def _painted(picture: Image.Image, L: torch.Tensor, ab: torch.Tensor, saturation: float, steady=None) -> Image.Image:
    """A picture in these colours. Raises RuntimeError for NaN, which would be black."""
    if ab.isnan().any():
        raise RuntimeError("the weights give colours that are no numbers (NaN): they are broken")
    ab = ab.float().cpu()
    if steady:
        ab = torch.from_numpy(steady(L[0, 0].numpy(), ab[0].numpy()))[None]
    return enlarge(picture, L, saturation * ab.clamp(-1, 1))
