"""The 32x32 system: data, networks and their options, losses, and its training in the common loop."""

import pytest
import torch
from torch import nn

from colorize_lib import color
from colorize_lib.models import build_discriminator, build_generator
from colorize_lib.models.cifar import CHOICES, CifarConfig
from colorize_lib.models.painting import colorize_batch, paint_batch
from colorize_lib.models.weights import load_generator, save_weights
from colorize_lib.runs.device import seed_everything
from colorize_lib.training.gan import GanConfig, MainModel

OPTIONS = [(name, choice) for name, choices in CHOICES.items() for choice in choices]


def batch(n: int = 4) -> dict[str, torch.Tensor]:
    L, ab = color.normalize(color.rgb_to_lab(torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(0))))
    return {"L": L, "ab": ab}


def cifar_model(config: CifarConfig | None = None, **objective) -> MainModel:
    config = config or CifarConfig()
    return MainModel(build_generator(config), GanConfig(**objective), None, build_discriminator(config))


# --- networks ------------------------------------------------------------------------------------------------------


def test_the_encoder_and_decoder_have_the_sizes_of_the_report():
    net_G, sizes = build_generator(CifarConfig()), []
    for block in (net_G.first, *net_G.down, *net_G.up, net_G.last):
        block.register_forward_hook(lambda _, __, out: sizes.append((out.shape[1], out.shape[2])))
    net_G(torch.zeros(2, 1, 32, 32))
    encoder = [(64, 32), (128, 16), (256, 8), (512, 4), (512, 2)]
    assert sizes == [*encoder, (512, 4), (256, 8), (128, 16), (64, 32), (3, 32)]
    dropouts = [any(isinstance(m, nn.Dropout) for m in block) for block in net_G.up]
    assert dropouts == [True, True, False, False]
    assert not any(isinstance(m, nn.BatchNorm2d) for block in (net_G.first, net_G.last) for m in block)
    assert all(any(isinstance(m, nn.BatchNorm2d) for m in block) for block in (*net_G.down, *net_G.up))


def test_the_discriminator_is_that_of_the_report():
    net_D = build_discriminator(CifarConfig())
    convolutions = [m for m in net_D.modules() if isinstance(m, nn.Conv2d)]
    assert [(m.in_channels, m.out_channels) for m in convolutions] == [(4, 64), (64, 128), (128, 256), (256, 512)]
    assert all(m.kernel_size == m.stride == (2, 2) for m in convolutions)
    dense = [m for m in net_D.modules() if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in dense] == [(2048, 128), (128, 1)]
    norms = [m.num_features for m in net_D.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms == [128, 256, 512]
    assert not any(isinstance(m, nn.Sigmoid) for m in net_D.modules())


@pytest.mark.parametrize("name, choice", OPTIONS)
def test_every_option_builds_trains_and_is_saved(name, choice, tmp_path):
    seed_everything(0)
    config = CifarConfig(**{name: choice})
    model = cifar_model(config).train()
    assert model.net_G(batch()["L"]).shape == (4, config.channels, 32, 32)
    assert model.net_D(torch.zeros(4, 1 + config.channels, 32, 32)).shape == (4, 1)
    before = [p.detach().clone() for p in model.net_G.parameters()]
    model.setup_input(batch())
    model.optimize()
    assert torch.isfinite(model.losses()).all()
    assert all(not torch.equal(p, old) for p, old in zip(model.net_G.parameters(), before, strict=True))
    save_weights(model.net_G, tmp_path / "net_G.safetensors", {"generator": config.__dict__})
    loaded, described = load_generator(tmp_path / "net_G.safetensors")
    assert described == config
    torch.testing.assert_close(colorize_batch(loaded, batch()["L"]), colorize_batch(model.net_G, batch()["L"]))


def test_options_change_what_they_name():
    def kinds(**options) -> list[str]:
        return [type(m).__name__ for m in build_generator(CifarConfig(**options)).modules()]

    assert "LeakyReLU" in kinds() and "ReLU" not in kinds()
    assert "ReLU" in kinds(activation="relu") and "LeakyReLU" not in kinds(activation="relu")
    assert kinds(downsample="maxpool").count("MaxPool2d") == 4 and "MaxPool2d" not in kinds()
    assert "BatchNorm2d" in kinds() and "BatchNorm2d" not in kinds(norm="none") + kinds(norm="spectral")
    assert "Tanh" in kinds() and "Tanh" not in kinds(final="linear")


def test_spectral_normalisation_bounds_every_weight():
    net_D = build_discriminator(CifarConfig(norm="spectral")).train()
    for _ in range(30):  # the estimate of the largest singular value improves with each pass
        net_D(torch.randn(2, 4, 32, 32))
    for module in net_D.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            assert torch.linalg.matrix_norm(module.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.1)


def test_weights_start_small_also_under_spectral_normalisation():
    original = build_generator(CifarConfig(norm="spectral")).down[1][0].parametrizations.weight.original
    assert original.std().item() == pytest.approx(0.02, rel=0.05)


def test_an_unknown_option_names_the_choices():
    with pytest.raises(ValueError, match="norm 'layer' is unknown; choose one of batch, spectral, none"):
        CifarConfig(norm="layer")


# --- what RGB generators paint ---------------------------------------------------------------------------------------


class Fixed(nn.Module):
    """A "generator" that paints this."""

    def __init__(self, painted: torch.Tensor):
        super().__init__()
        self.painted = painted

    def forward(self, L: torch.Tensor) -> torch.Tensor:
        return self.painted


def test_the_ab_of_painted_rgb_is_taken():
    rgb, L = torch.rand(2, 3, 32, 32), torch.zeros(2, 1, 32, 32)
    net_G = Fixed(rgb * 2 - 1)
    torch.testing.assert_close(colorize_batch(net_G, L), color.rgb_to_ab(rgb), atol=1e-5, rtol=0)
    torch.testing.assert_close(paint_batch(net_G, L, keep_L=False), rgb)
    kept = color.rgb_to_lab(paint_batch(net_G, L))[:, 0]
    in_gamut = (color.lab_to_unclipped_rgb(color.denormalize(L, color.rgb_to_ab(rgb))) - 0.5).abs().amax(dim=1) < 0.5
    torch.testing.assert_close(kept[in_gamut], torch.full_like(kept, 50.0)[in_gamut], atol=0.01, rtol=0)


# --- images --------------------------------------------------------------------------------------------------------
