"""Networks, initialisation and losses: counts, shapes, names, and where weights come from."""

import functools
import hashlib
import http.server
import json
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import resnet18

from colorize_lib.models import GeneratorConfig, build_generator, encoders, fitting_config
from colorize_lib.models.encoders import WeightsUnavailable, choose_weights, load_resnet18
from colorize_lib.models.init import init_weights
from colorize_lib.models.light import build_resnet_fast
from colorize_lib.models.patchgan import PatchDiscriminator
from colorize_lib.models.resnet_unet import build_res_unet
from colorize_lib.models.unet import Unet
from colorize_lib.training.gan import MainModel

TUTORIAL_KEYS = json.loads((Path(__file__).parents[1] / "reference" / "tutorial_state_dict_keys.json").read_text())


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def shapes(net: nn.Module) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in net.state_dict().items()}


@pytest.fixture(scope="module")
def main_model() -> MainModel:
    return MainModel()


def test_parameter_counts_are_the_published_ones(main_model):
    assert count(main_model.net_G) == 54_409_858
    assert count(main_model.net_D) == 2_765_633


def test_names_and_shapes_are_those_of_the_tutorial_architecture(main_model):
    assert shapes(main_model) == TUTORIAL_KEYS["MainModel, net_G = plain U-Net"]
    assert shapes(build_res_unet(size=256, weights=None)) == TUTORIAL_KEYS["net_G = ResNet18 DynamicUnet (size 256)"]


def test_a_saved_tutorial_state_dict_loads_strictly(main_model, tmp_path):
    state = {name: torch.full(shape, 0.25) for name, shape in TUTORIAL_KEYS["MainModel, net_G = plain U-Net"].items()}
    torch.save(state, tmp_path / "model.pt")
    model = MainModel()
    model.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True), strict=True)
    assert all((p == 0.25).all() for p in model.net_G.parameters())


def test_output_shapes_at_256(main_model):
    L = torch.zeros(1, 1, 256, 256)
    with torch.no_grad():
        ab_hat = main_model.net_G.eval()(L)
        logits = main_model.net_D.eval()(torch.cat([L, ab_hat], dim=1))
    assert ab_hat.shape == (1, 2, 256, 256) and ab_hat.abs().max() <= 1
    assert logits.shape == (1, 1, 30, 30)


def test_a_logit_sees_a_patch_of_70_by_70():
    net_D = PatchDiscriminator().eval()
    x = torch.randn(1, 3, 256, 256, requires_grad=True)
    net_D(x)[0, 0, 15, 15].backward()
    rows, columns = (x.grad[0].abs().sum(dim=(0, axis)).nonzero().flatten() for axis in (2, 1))
    assert rows[-1] - rows[0] + 1 == 70 and columns[-1] - columns[0] + 1 == 70


def test_unet_has_the_layers_of_the_paper():
    net = Unet()
    down = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert [c.out_channels for c in down] == [64, 128, 256, 512, 512, 512, 512, 512]
    assert all(c.kernel_size == (4, 4) and c.stride == (2, 2) for c in down)
    assert sum(isinstance(m, nn.Dropout) for m in net.modules()) == 3
    assert (
        sum(isinstance(m, nn.BatchNorm2d) for m in net.modules()) == 6 + 7
    )  # none on the first and innermost, way down


def test_a_skip_carries_what_the_in_place_leaky_relu_left():
    net = Unet(n_down=5, num_filters=4).eval()
    inner = net.model.model[1]  # the block below the outermost one
    x = -torch.ones(1, 4, 16, 16)
    assert torch.equal(inner(x)[:, :4], torch.full((1, 4, 16, 16), -0.2))


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: Unet(n_down=4), "at least 5 levels"),
        (lambda: Unet(n_down=5, num_filters=4)(torch.zeros(1, 1, 48, 48)), "48x48 do not halve 5 times"),
        (lambda: GeneratorConfig("vgg"), "'vgg' is unknown"),
        (lambda: GeneratorConfig("unet", size=100, n_down=5), "size 100"),
        (lambda: init_weights(nn.Conv2d(1, 1, 1), "zeros"), "'zeros' is unknown"),
    ],
)
def test_bad_settings_are_refused_by_name(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("init, spread", [("norm", 0.02), ("xavier", 0.02 * (2 / (256 * 9 * 2)) ** 0.5)])
def test_init_weights(init, spread):
    net = init_weights(nn.Sequential(nn.Conv2d(256, 256, 3), nn.BatchNorm2d(2048)), init)
    assert net[0].weight.std().item() == pytest.approx(spread, rel=0.02)
    assert (net[0].bias == 0).all() and (net[1].bias == 0).all()
    assert net[1].weight.mean().item() == pytest.approx(1, abs=0.002)
    assert net[1].weight.std().item() == pytest.approx(0.02, rel=0.1)


def test_kaiming_init_keeps_the_variance_of_relu_features():
    net = init_weights(nn.Conv2d(256, 256, 3), "kaiming")
    assert net.weight.std().item() == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.02)


# --- the ResNet18 encoder ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def encoder_state() -> dict[str, torch.Tensor]:
    """A ResNet18 state_dict that no fresh network has."""
    torch.manual_seed(7)
    return {name: torch.randn_like(t) if t.is_floating_point() else t for name, t in resnet18().state_dict().items()}


def assert_encoder_holds(net: nn.Module, state: dict[str, torch.Tensor]) -> None:
    """The first layers of the network are this ResNet18's, its first convolution summed over RGB."""
    encoder = net.layers[0]
    assert torch.equal(encoder[0].weight, state["conv1.weight"].sum(dim=1, keepdim=True))
    names = {1: "bn1", 4: "layer1", 5: "layer2", 6: "layer3", 7: "layer4"}
    compared = 0
    for index, name in names.items():
        for key, tensor in encoder[index].state_dict().items():
            assert torch.equal(tensor, state[f"{name}.{key}"]), f"{name}.{key}"
            compared += 1
    assert compared + 1 == len(state) - 2  # all but the linear layer's weight and bias


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_encoder_weights_from_a_file_are_in_the_network(encoder_state, tmp_path, ending):
    path = tmp_path / f"resnet18{ending}"
    (torch.save if ending == ".pth" else save_file)(encoder_state, path)
    assert_encoder_holds(build_res_unet(size=32, weights=path), encoder_state)
    assert_encoder_holds(build_generator(GeneratorConfig("resnet18_dynamic_unet", 32), str(path)), encoder_state)


def test_without_weights_the_encoder_is_random():
    torch.manual_seed(0)
    first = build_res_unet(size=32, weights=None).layers[0][0].weight
    second = build_res_unet(size=32, weights=None).layers[0][0].weight
    assert not torch.equal(first, second)


def test_res_unet_comes_in_train_mode_and_keeps_the_size():
    net = build_res_unet(size=64, weights=None)
    assert all(module.training for module in net.modules())
    assert net(torch.zeros(2, 1, 64, 64)).shape == (2, 2, 64, 64)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda path: None, "do not exist"),
        (lambda path: path.write_bytes(b"<html>"), "is not a resnet18 state_dict"),
        (lambda path: torch.save({"weight": torch.zeros(1)}, path), "is not a resnet18 state_dict"),
    ],
)
def test_a_bad_weights_file_is_named(tmp_path, make, message):
    path = tmp_path / "resnet18.pth"
    make(path)
    with pytest.raises(WeightsUnavailable, match=message) as error:
        build_res_unet(size=32, weights=path)
    assert str(path) in str(error.value)


@pytest.fixture
def weights_server(encoder_state, tmp_path, monkeypatch):
    """torchvision's download with a stand-in file on a local server: yields the folder that is served."""
    served = tmp_path / "served"
    served.mkdir()
    torch.save(encoder_state, served / "new.pth")
    digest = hashlib.sha256((served / "new.pth").read_bytes()).hexdigest()[:8]
    (served / "new.pth").rename(served / f"resnet18-{digest}.pth")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=served)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/resnet18-{digest}.pth"

    def get_state_dict(progress: bool, check_hash: bool) -> dict:
        return torch.hub.load_state_dict_from_url(url, progress=progress, check_hash=check_hash)

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(encoders, "IMAGENET_RESNET", SimpleNamespace(url=url, get_state_dict=get_state_dict))
    yield served
    server.shutdown()
    server.server_close()


def test_imagenet_weights_are_downloaded_once(weights_server, encoder_state):
    assert_encoder_holds(build_res_unet(size=32, weights="imagenet"), encoder_state)
    next(weights_server.iterdir()).unlink()
    assert_encoder_holds(build_res_unet(size=32, weights="imagenet"), encoder_state)


def test_a_damaged_download_is_refused_and_not_kept(weights_server, encoder_state):
    served = next(weights_server.iterdir())
    good = served.read_bytes()
    served.write_bytes(good[:-100])
    with pytest.raises(WeightsUnavailable, match="hash"):
        build_res_unet(size=32, weights="imagenet")
    served.write_bytes(good)
    assert_encoder_holds(build_res_unet(size=32, weights="imagenet"), encoder_state)


def test_a_missing_network_gives_the_file_the_address_and_the_ways_out(weights_server):
    name = next(weights_server.iterdir()).name
    (weights_server / name).unlink()
    with pytest.raises(WeightsUnavailable) as error:
        build_res_unet(size=32, weights="imagenet")
    for part in (name, "http://127.0.0.1", "give its path", "encoder_weights=distilled"):
        assert part in str(error.value)


def test_weights_that_are_to_be_had_if_available_are_settled(weights_server):
    assert choose_weights("resnet18", "if-available") == "imagenet"
    assert choose_weights("resnet18", "none") == "random"
    assert choose_weights("resnet18", "a/file.pth") == "a/file.pth"
    shutil.rmtree(Path(torch.hub.get_dir()))
    next(weights_server.iterdir()).unlink()
    assert choose_weights("resnet18", "if-available") == "random"


# --- the light ResNet18 generator ------------------------------------------------------------------------------------


def test_the_light_generator_keeps_the_size_and_has_14_million_parameters():
    net = build_generator(GeneratorConfig("resnet18_fast", 64))
    assert 13e6 < count(net) < 14.5e6
    assert all(module.training for module in net.modules())
    for H, W in ((64, 64), (96, 32)):
        assert net(torch.zeros(2, 1, H, W)).shape == (2, 2, H, W)


def test_its_encoder_has_the_weights_and_sees_grey_as_three_channels_would(encoder_state, tmp_path):
    state = {name: tensor.abs() if "var" in name else tensor for name, tensor in encoder_state.items()}
    torch.save(state, tmp_path / "resnet18.pth")
    net = build_resnet_fast(tmp_path / "resnet18.pth")
    for name in ("layer2", "layer3", "layer4"):
        for key, tensor in getattr(net.encoder, name).state_dict().items():
            assert torch.equal(tensor, state[f"{name}.{key}"]), f"{name}.{key}"
    net, whole = net.double().eval(), load_resnet18(tmp_path / "resnet18.pth").double().eval()
    L = torch.randn(1, 1, 64, 64).double()
    expected = whole.layer1(whole.maxpool(whole.relu(whole.bn1(whole.conv1(L.expand(1, 3, 64, 64))))))
    assert (net.encoder(L)[1] - expected).norm() < 1e-5 * expected.norm()


@pytest.mark.parametrize(
    ("architecture", "size", "n_down"), [("unet", 64, 6), ("unet", 96, 5), ("unet", 512, 8), ("resnet18_fast", 96, 8)]
)
def test_a_unet_gets_as_many_levels_as_its_size_halves(architecture, size, n_down):
    assert fitting_config(architecture, size) == GeneratorConfig(architecture, size, n_down)
