"""LPIPS and FID, by torchmetrics, where their pretrained networks can be had; a figure that cannot be had is left out
with its reason, and never replaced by another.

LPIPS: Zhang et al., "The unreasonable effectiveness of deep features as a perceptual metric", arXiv:1801.03924. FID:
Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash equilibrium", arXiv:1706.08500.
Both compare only with figures of the same weights, picture size and number of pictures.
"""

import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torchmetrics.image import LearnedPerceptualImagePatchSimilarity
from torchmetrics.image.fid import FrechetInceptionDistance

ALEXNET = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"  # 233 MB; torchvision's
INCEPTION = (  # 91 MB; torch-fidelity's copy of the original weights of FID
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
)
SMALLEST = 64  # pixels a side that AlexNet needs


class MetricUnavailable(RuntimeError):
    """A metric's weights are not at hand; the message says which file, from where, and what to do."""


def load_lpips(size: int, download: bool, device: torch.device | str = "cpu") -> Callable:
    """LPIPS with AlexNet: a function of two batches, sRGB (N,3,size,size) in [0,1], that gives distances (N,).

    download: fetch the weights if torch's cache lacks them. Raises MetricUnavailable without them, or if the pictures
    are too small.
    """
    if size < SMALLEST:
        raise MetricUnavailable(f"LPIPS: pictures of {size} px are too small for AlexNet, which needs {SMALLEST}")
    metric = _load("LPIPS", ALEXNET, download, lambda: LearnedPerceptualImagePatchSimilarity("alex", normalize=True))
    network = metric.net.to(device)  # the metric itself gives a mean over the pictures
    return torch.no_grad()(lambda rgb_hat, rgb: network(rgb_hat, rgb, normalize=True).reshape(-1))


def load_fid(download: bool, device: torch.device | str = "cpu") -> Callable:
    """FID with the original Inception weights: a function of batches of real and of painted pictures, sRGB (N,3,H,W) in
    [0,1]. With fewer than some thousand it is far too high: read it beside that of two halves of the real ones.
    download and MetricUnavailable: as in `load_lpips`."""
    metric = _load("FID", INCEPTION, download, lambda: FrechetInceptionDistance(normalize=True)).to(device)

    def distance(real: Iterable[torch.Tensor], painted: Iterable[torch.Tensor]) -> float:
        metric.reset()
        for batches, is_real in ((real, True), (painted, False)):
            for rgb in batches:
                metric.update(rgb.to(device), real=is_real)
        return metric.compute().item()

    return distance


def load_both(size: int, download: bool, device: torch.device | str = "cpu") -> list[Callable | None]:
    """`load_lpips` and `load_fid`, each None if it cannot be had; why not is printed."""
    found = []
    for load, how in ((load_lpips, (size, download, device)), (load_fid, (download, device))):
        try:
            found.append(load(*how))
        except MetricUnavailable as error:
            print(f"left out, {error}")
            found.append(None)
    return found


def _load(name: str, url: str, download: bool, build: Callable) -> torch.nn.Module:
    """Build a metric whose weights are those of `url`, or say why not."""
    file = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    place = str(file.parent).replace(str(Path.home()), "~")
    if not file.exists() and not download:
        allow = "allow the download (notebook: download_metrics=true; score: --download)"
        raise MetricUnavailable(f"{name}: {file.name} is not in {place}; {allow} of {url}")
    try:
        with warnings.catch_warnings():  # torchmetrics builds on calls that torchvision has renamed
            warnings.simplefilter("ignore", UserWarning)
            return build()
    except Exception as error:  # URLError, a wrong hash, or torch-fidelity is not installed
        why = f"cannot be had ({type(error).__name__}: {error}). Put the file into {place}."
        raise MetricUnavailable(f"{name}: the weights of {url} {why}") from error
