"""How pictures look to a network: distances of EfficientNet-Lite0's features; and FID where its weights can be had.

`perceptual_lite0`, of two pictures, follows LPIPS (Zhang et al., arXiv:1801.03924) without its weights from people's
judgements; `fd_lite0`, of two sets, is the Fréchet distance of FID (Heusel et al., arXiv:1706.08500) on other features.
Neither is LPIPS or FID, and all compare only with figures of the same features, picture size and number of pictures.
"""

import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from torchmetrics.image.fid import FrechetInceptionDistance

from ..models.encoders import WeightsUnavailable, classifier_state

INCEPTION = (  # 91 MB; torch-fidelity's copy of the original weights of FID
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
)


class Lite0(nn.Module):
    """EfficientNet-Lite0 with ImageNet's weights, at two depths: 40 channels at 1/8 of the size, 112 at 1/16.

    Raises WeightsUnavailable where its weights cannot be had.
    """

    num_features = 40 + 112

    def __init__(self):
        super().__init__()
        import timm  # takes seconds to import

        self.net = timm.create_model("tf_efficientnet_lite0", features_only=True, out_indices=(2, 3))
        state = classifier_state("efficientnet_lite0", "imagenet")
        self.net.load_state_dict({key: state[key] for key in self.net.state_dict()})
        self.eval().requires_grad_(False)

    def maps(self, rgb: torch.Tensor) -> list[torch.Tensor]:
        """sRGB (N,3,H,W) in [0,1] to both maps."""
        return self.net(rgb * 2 - 1)

    def forward(self, rgb: torch.Tensor) -> torch.Tensor:
        """Mean features of pictures, (N,152): what `fd_lite0` compares."""
        return torch.cat([one.mean(dim=(2, 3)) for one in self.maps(rgb)], dim=1)

    def distance(self, rgb_hat: torch.Tensor, rgb: torch.Tensor) -> torch.Tensor:
        """`perceptual_lite0` of pictures, (N,): the squared distance of features of length 1, mean over places, summed
        over both depths. 0 for equal pictures, at most 8."""
        pairs = zip(self.maps(rgb_hat), self.maps(rgb), strict=True)
        return sum((F.normalize(one) - F.normalize(other)).square().sum(dim=1).mean(dim=(1, 2)) for one, other in pairs)


def load_distances(
    download: bool, device: torch.device | str = "cpu"
) -> tuple[Callable | None, dict[str, Callable[[Iterable, Iterable], float]]]:
    """`Lite0.distance`, or None; and by name distances of two sets, each of batches of sRGB (N,3,H,W) in [0,1].

    What cannot be had is left out, and why is printed. download: fetch FID's weights (91 MB) if torch's cache lacks
    them. With few pictures distances of sets are too high: read them beside that of two halves of the real ones.
    """
    perceptual, sets = None, {}
    try:
        lite0 = Lite0().to(device)
        perceptual, sets["fd_lite0"] = lite0.distance, _frechet(FrechetInceptionDistance(lite0, normalize=True), device)
    except WeightsUnavailable as error:
        print(f"left out, perceptual_lite0 and fd_lite0: {error}")
    file = Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION.rsplit("/", 1)[-1]
    place = str(file.parent).replace(str(Path.home()), "~")
    if not file.exists() and not download:
        allow = "allow the download (notebook: download_metrics=true; score: --download)"
        print(f"left out, FID: {file.name} is not in {place}; {allow} of {INCEPTION}")
        return perceptual, sets
    try:
        with warnings.catch_warnings():  # torchmetrics builds on calls that torchvision has renamed
            warnings.simplefilter("ignore", UserWarning)
            sets["FID"] = _frechet(FrechetInceptionDistance(normalize=True), device)
    except Exception as error:  # URLError, a wrong hash, or torch-fidelity is not installed
        why = f"cannot be had ({type(error).__name__}: {error}). Put the file into {place}."
        print(f"left out, FID: the weights of {INCEPTION} {why}")
    return perceptual, sets


def _frechet(metric: FrechetInceptionDistance, device: torch.device | str) -> Callable[[Iterable, Iterable], float]:
    metric = metric.to(device)

    def distance(real: Iterable[torch.Tensor], painted: Iterable[torch.Tensor]) -> float:
        metric.reset()
        for batches, is_real in ((real, True), (painted, False)):
            for rgb in batches:
                metric.update(rgb.to(device), real=is_real)
        return metric.compute().item()

    return distance
