"""Simulated hints and what is trained on them: true colours, few of them, a generator that stays as it is."""

import copy

import pytest
import torch
from tiny_training import loaders

from colorize_lib.models import LightConfig, build_generator
from colorize_lib.models.hints import HintNet
from colorize_lib.runs.device import seed_everything
from colorize_lib.runs.run import start_run
from colorize_lib.training.hints import MOST, HintModel, draw_hints, numbers, with_hints
from colorize_lib.training.loop import train_model


def model(steps: int = 4) -> HintModel:
    seed_everything(0)
    painter = build_generator(LightConfig(size=32, encoder="resnet18", widths=(16, 16, 16)), None)
    return HintModel(HintNet((16, 16, 16), 261), painter, steps)


def test_numbers_are_geometric_from_one():
    torch.manual_seed(0)
    found = numbers(20_000)
    assert found.min() == 1 and found.max() == MOST and found.float().mean() == pytest.approx(8, abs=0.2)
    assert (found == 1).float().mean() == pytest.approx(1 / 8, abs=0.01)


def test_hints_are_the_mean_colours_of_their_places():
    torch.manual_seed(0)
    plane = torch.stack(torch.meshgrid(torch.arange(64.0), torch.arange(48.0), indexing="ij"))  # rows and columns
    at, ab, known = draw_hints(plane.expand(3, 2, 64, 48) / 100, torch.tensor([500, 0, 3]))
    assert known.sum(dim=1).tolist() == [500, 0, 3] and (at >= 0).all() and (at < 1).all()
    column, row = (at * torch.tensor([48, 64])).long().unbind(dim=2)
    off = torch.stack([ab[..., 0] * 100 - row, ab[..., 1] * 100 - column])
    inside = (row > 1) & (row < 62) & (column > 1) & (column < 46)  # not cut off at the border
    assert off[:, inside].abs().max() <= 0.5001 and off.abs().max() < 2.5
    assert at[0].std(dim=0) == pytest.approx(torch.full((2,), 0.24), abs=0.03)


def test_a_step_changes_the_hint_net_alone_and_its_rate_follows_the_cosine():
    trained = model()
    painter, net = copy.deepcopy(trained.painter.state_dict()), copy.deepcopy(trained.net_G.state_dict())
    for _ in range(4):
        trained.set_modes()
        trained.setup_input(next(iter(loaders()[0])))
        trained.step()
    assert all(torch.equal(value, painter[name]) for name, value in trained.painter.state_dict().items())
    assert not torch.equal(trained.net_G.state_dict()["aim.weight"], net["aim.weight"])
    assert 0 < trained.opt_G.param_groups[0]["lr"] < 1e-3 and trained.losses().isfinite().all()


def test_an_interrupted_run_goes_on_to_the_same_weights_and_figures_are_the_same_again(tmp_path):
    train_dl, val_dl = loaders()

    def train(name: str, *epochs: int) -> dict:
        for until in epochs:
            trained = model(2 * len(train_dl))
            score = lambda net, dl: with_hints(net, trained.painter, dl, (0, 2))  # noqa: B023, E731
            history = train_model(trained, train_dl, val_dl, until, start_run("hints", name, tmp_path), score)
        assert history.val_L1.iloc[-1] == history.val_L1_2.iloc[-1]
        assert with_hints(trained.generator, trained.painter, val_dl, (0, 2)) == score(trained.generator, val_dl)
        return trained.generator.state_dict()

    whole, parts = train("whole", 2), train("parts", 1, 2)
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())
