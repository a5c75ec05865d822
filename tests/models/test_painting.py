"""What a generator paints, in evaluation mode and without a trace on it."""

import torch
from torch import nn

from colorize_lib.models.init import init_weights
from colorize_lib.models.painting import colorize_batch
from colorize_lib.models.unet import Unet


def test_colorize_batch_is_fixed_without_dropout_and_varies_with_it():
    torch.manual_seed(0)
    net_G = init_weights(Unet(n_down=6, num_filters=8)).train()
    L = torch.rand(4, 1, 64, 64) * 2 - 1
    assert torch.equal(colorize_batch(net_G, L), colorize_batch(net_G, L))
    assert not torch.equal(colorize_batch(net_G, L, dropout=True), colorize_batch(net_G, L, dropout=True))


def test_colorize_batch_leaves_modes_and_statistics_as_they_were():
    net_G = init_weights(Unet(n_down=5, num_filters=4)).train()
    frozen = next(m for m in net_G.modules() if isinstance(m, nn.BatchNorm2d)).eval()
    before = {name: t.clone() for name, t in net_G.state_dict().items()}
    colorize_batch(net_G, torch.rand(4, 1, 32, 32) * 2 - 1, dropout=True)
    assert not frozen.training and sum(not m.training for m in net_G.modules()) == 1
    assert all(torch.equal(t, before[name]) for name, t in net_G.state_dict().items())
