"""The GAN stage of a distribution: its game, its penalties, what D is shown, and exact resuming."""

import math

import pytest
import tiny_training
import torch
from tiny_training import loaders
from torch import nn

from colorize_lib.models import LightConfig, build_generator
from colorize_lib.runs.device import seed_everything
from colorize_lib.training.distribution_gan import (
    DistributionGan,
    DistributionGanConfig,
    moved_with_a_hole,
    squared_slope,
)
from colorize_lib.training.loop import LoopConfig


def model(**config) -> DistributionGan:
    seed_everything(0, deterministic=True)
    net_G = build_generator(LightConfig(size=32, encoder="resnet18", widths=(8, 8, 8)))
    return DistributionGan(net_G, DistributionGanConfig(n_down_D=1, **config))


def stepped(one: DistributionGan) -> dict[str, float]:
    one.set_modes()
    one.setup_input(next(iter(loaders()[0])))
    one.step()
    return dict(zip(one.loss_names, one.losses().tolist(), strict=True))


def test_the_penalty_of_a_linear_discriminator_is_the_square_of_its_weights():
    net_D, seen = nn.Conv2d(3, 1, 4, bias=False), torch.rand(5, 3, 4, 4, requires_grad=True)
    assert squared_slope(net_D(seen), seen).item() == pytest.approx(net_D.weight.square().sum().item(), rel=1e-5)


def test_a_discriminator_that_sees_no_difference_loses_ln_2_and_has_no_slope():
    one = model(lr_D=0.0)
    for parameter in one.net_D.parameters():
        nn.init.zeros_(parameter)
    losses = stepped(one)
    assert losses["loss_D"] == pytest.approx(math.log(2)) and losses["loss_G_GAN"] == pytest.approx(math.log(2))
    assert losses["loss_D_penalty"] == 0
    assert losses["loss_G"] == pytest.approx(losses["loss_bins"] + 0.1 * math.log(2), rel=1e-5)


def test_without_the_game_only_the_bins_teach():
    def gradient(weight: float) -> torch.Tensor:
        one = model(lambda_GAN=weight, lr_G=0.0, lr_D=0.0)
        stepped(one)
        return one.net_G.head.project.weight.grad

    one = model()
    one.set_modes()
    one.setup_input(next(iter(loaders()[0])))
    one.forward()
    one.net_G.head.loss(one.logits, one.ab).backward()
    torch.testing.assert_close(gradient(0.0), one.net_G.head.project.weight.grad)
    assert not torch.allclose(gradient(0.0), gradient(10.0))


def test_what_is_shown_is_moved_and_has_a_hole_alike_in_all_channels():
    pictures = torch.rand(1, 1, 32, 32).expand(6, 3, 32, 32).clone().requires_grad_() + 1
    shown = moved_with_a_hole(pictures)
    assert torch.equal(shown[:, 0], shown[:, 2]) and len({one.sum().item() for one in shown}) > 1
    assert ((shown == 0).float().mean(dim=(1, 2, 3)) > 0.06).all()
    (gradient,) = torch.autograd.grad(shown.sum(), pictures)
    assert set(gradient.unique().tolist()) == {0.0, 1.0}


def test_resuming_is_exact(tmp_path):
    config = LoopConfig(log_every=2, show_at=())  # a checkpoint after each epoch
    whole, history = tiny_training.train(tmp_path / "whole", 2, config, model=model())
    tiny_training.train(tmp_path / "parts", 1, config, model=model())
    parts, again = tiny_training.train(tmp_path / "parts", 2, config, model=model())
    assert history.drop(columns="seconds").equals(again.drop(columns="seconds"))
    for key, tensor in whole.generator.state_dict().items():
        assert torch.equal(tensor, parts.generator.state_dict()[key]), key
