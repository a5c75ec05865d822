"""The light networks: sizes, what they paint from a distribution, and weights of the first published run."""

import pytest
import torch
from PIL import Image

from colorize_lib.colorizing.colorizer import Colorizer
from colorize_lib.models import GeneratorConfig, LightConfig, build_generator, generator_config
from colorize_lib.models.distribution import alpha_and_temperature
from colorize_lib.models.weights import load_generator, save_weights

SMALL = LightConfig(size=64, encoder="resnet18", widths=(16, 16, 8))


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return build_generator(SMALL).eval()


@pytest.fixture
def L() -> torch.Tensor:
    return torch.rand(2, 1, 64, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_a_distribution_is_read_from_a_picture_and_its_mirror_image(net, L):
    with torch.no_grad():
        mean = (net(L, logits=True) + net(L.flip(3), logits=True).flip(3)) / 2
        ab = net.head.decode(mean, *alpha_and_temperature(net.vividness))
        expected = torch.nn.functional.interpolate(ab, size=(64, 96), mode="bilinear", align_corners=False)
        torch.testing.assert_close(net(L), expected)
        torch.testing.assert_close(net(L.flip(3)).flip(3), net(L), rtol=1e-4, atol=1e-4)


def test_vividness_is_chosen_and_refused(net, L):
    picture = Image.linear_gradient("L").resize((80, 60))
    faithful, vivid = (Colorizer(net, SMALL, "cpu", vividness=v)(picture).tobytes() for v in (0.0, 1.0))
    assert faithful != vivid
    with pytest.raises(ValueError, match="vividness 2"):
        Colorizer(net, SMALL, "cpu", vividness=2)
    unet = GeneratorConfig("unet", 32, 5, 4)
    with pytest.raises(ValueError, match="has no vividness"):
        Colorizer(build_generator(unet), unet, "cpu", vividness=0.5)


def test_it_comes_back_from_its_file(net, L, tmp_path):
    net.head.prior.copy_(torch.rand(261).softmax(0))
    net.vividness = SMALL.vividness
    save_weights(net, tmp_path / "net_G.safetensors", {"generator": vars(SMALL)})
    loaded, config = load_generator(tmp_path / "net_G.safetensors")
    assert config == SMALL == generator_config(vars(SMALL))
    with torch.no_grad():
        assert torch.equal(loaded.eval()(L), net(L))


@pytest.mark.parametrize("wrong", [{"size": 100}, {"encoder": "vgg"}, {"head": "rgb"}, {"widths": [1, 2, 3]}])
def test_a_configuration_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LightConfig(**wrong)


def test_weights_of_the_first_published_run_load(tmp_path):
    """They name the ResNet18's layers beside the decoder, and there was no folder `encoder`."""
    config = GeneratorConfig("resnet18_fast", 64)
    net = build_generator(config)
    state = {name.removeprefix("encoder."): tensor for name, tensor in net.state_dict().items()}
    old = torch.nn.Module()
    old.state_dict = lambda: state
    save_weights(old, tmp_path / "net_G.safetensors", {"generator": vars(config)})
    loaded, _ = load_generator(tmp_path / "net_G.safetensors")
    assert all(torch.equal(tensor, net.state_dict()[name]) for name, tensor in loaded.state_dict().items())
    fresh = build_generator(config)
    fresh.load_state_dict(state)  # as a checkpoint's
    assert torch.equal(fresh.encoder.stem[0].weight, net.encoder.stem[0].weight)
