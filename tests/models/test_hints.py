"""Hints in a light generator: nothing without them, what the equations say with them, files beside a generator."""

import pytest
import torch

from colorize_lib.color import AB_SCALE
from colorize_lib.files import sha256
from colorize_lib.models import LightConfig, build_generator
from colorize_lib.models.hints import HintNet, _middles, load_hints
from colorize_lib.models.weights import CheckpointError, save_weights

SMALL = LightConfig(size=64, encoder="resnet18", widths=(16, 16, 8))
AT, AB = torch.tensor([[[0.25, 0.5], [0.75, 0.25]]]), torch.tensor([[[0.4, 0.2], [-0.3, 0.1]]])


@pytest.fixture
def net_G():
    torch.manual_seed(0)
    return build_generator(SMALL).eval().requires_grad_(False)


@pytest.fixture
def hinting():
    torch.manual_seed(1)
    net = HintNet(SMALL.widths, 261).eval()
    for layer in (net.aim, net.shift):
        torch.nn.init.normal_(layer.weight, std=0.05)
    return net.requires_grad_(False)


@pytest.fixture
def L() -> torch.Tensor:
    return torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_without_hints_the_logits_are_the_generators_to_the_bit(net_G, hinting, L):
    known = torch.zeros(1, 2, dtype=torch.bool)
    assert torch.equal(hinting(net_G, L, AT, AB, known), net_G(L, logits=True))
    assert torch.equal(hinting(net_G, L, AT[:, :0], AB[:, :0], known[:, :0]), net_G(L, logits=True))


def test_what_fills_the_batch_changes_nothing(net_G, hinting, L):
    one = hinting(net_G, L, AT[:, :1], AB[:, :1], torch.tensor([[True]]))
    filled = hinting(net_G, L, AT, AB, torch.tensor([[True, False]]))
    torch.testing.assert_close(one, filled)
    assert (one - net_G(L, logits=True)).abs().max() > 0.1


def test_a_hint_pulls_the_colour_of_its_place_most(net_G, L):
    """Untrained, as it begins: its colour is copied where nothing is known but the distance."""
    hinting = HintNet(SMALL.widths, 261)
    hinting.pair.requires_grad_(False).weight.zero_()
    hinting.pair.bias.zero_()
    net_G.head.prior.copy_(torch.full((261,), 1 / 261))
    with torch.no_grad():
        before, after = (
            net_G.read(of, (16, 16), 0.0)[0]
            for of in (
                net_G(L, logits=True),
                hinting(net_G, L, AT[:, :1], AB[:, :1], torch.ones(1, 1) > 0),
            )
        )
    nearer = (before - AB[0, 0, :, None, None]).norm(dim=0) - (after - AB[0, 0, :, None, None]).norm(dim=0)
    assert nearer[8, 4] * AB_SCALE > 3 and nearer[8, 4] > nearer[0, 15] > 0


def test_a_mirrored_picture_with_mirrored_hints_gives_the_mirror_image(net_G, hinting, L):
    mirrored = torch.stack([1 - AT[..., 0], AT[..., 1]], dim=2)
    one, other = hinting.believe(net_G, L, AT, AB), hinting.believe(net_G, L.flip(3), mirrored, AB)
    torch.testing.assert_close(one, other.flip(3))


def test_places_are_the_middles_of_cells():
    x, y = _middles(torch.zeros(3, 1, 2, 4))[2]
    torch.testing.assert_close(x, torch.tensor([0.125, 0.375, 0.625, 0.875]).expand(2, 4))
    torch.testing.assert_close(y, torch.tensor([[0.25], [0.75]]).expand(2, 4))


def test_they_are_read_beside_the_generator_that_they_were_trained_with_alone(net_G, hinting, tmp_path):
    path = tmp_path / "generator.safetensors"
    save_weights(net_G, path, {})
    assert load_hints(path, net_G) is None and load_hints(tmp_path, net_G) is None
    save_weights(hinting, tmp_path / "hints.safetensors", {"generator": sha256(path)})
    assert torch.equal(load_hints(path, net_G).near, hinting.near)
    save_weights(net_G, tmp_path / "hints.safetensors", {"generator": sha256(path)})
    with pytest.raises(CheckpointError, match="hints.safetensors does not fit"):
        load_hints(path, net_G)
    save_weights(hinting, tmp_path / "hints.safetensors", {"generator": "of another"})
    assert load_hints(path, net_G) is None
