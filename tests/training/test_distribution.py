"""Training a colour distribution: its schedule, what is frozen, exact resuming, the prior."""

import copy
import math

import pytest
import tiny_training
import torch
from tiny_training import loaders

from colorize_lib.models import LightConfig, build_generator
from colorize_lib.models.distribution import bin_centres
from colorize_lib.runs.device import seed_everything
from colorize_lib.runs.run import start_run
from colorize_lib.training.distribution import (
    DistributionConfig,
    DistributionModel,
    parameter_groups,
    rate,
    set_prior,
    train_distribution,
)
from colorize_lib.training.loop import LoopConfig


def light_model(encoder: str = "resnet18", **config) -> DistributionModel:
    seed_everything(0)
    net_G = build_generator(LightConfig(size=32, encoder=encoder, widths=(16, 16, 16)), None)
    return DistributionModel(net_G, DistributionConfig(**{"steps": 4, "lr": 1e-2} | config))


def step(model: DistributionModel) -> None:
    model.set_modes()
    model.setup_input(next(iter(loaders()[0])))
    model.step()


def test_the_rate_rises_in_a_line_and_falls_along_a_cosine():
    assert rate(0.0, 0.1, 0.01) == pytest.approx(0.001 / 0.101)
    assert rate(0.05, 0.1, 0.01) == pytest.approx(0.051 / 0.101)
    assert rate(0.1, 0.1, 0.01) == pytest.approx(1)
    assert rate(0.55, 0.1, 0.01) == pytest.approx(0.505)
    assert rate(0.775, 0.1, 0.01) == pytest.approx(0.01 + 0.99 * (1 - math.sqrt(0.5)) / 2)
    assert rate(1.0, 0.1, 0.01) == rate(1.5, 0.1, 0.01) == pytest.approx(0.01)


def test_steps_follow_the_schedule_at_the_rates_of_encoder_and_decoder():
    model = light_model(warmup=0.25, lowest=0.1)
    for done in (0.0, 0.25, 0.5):
        step(model)
        found = {group["lr"] for group in model.opt_G.param_groups}
        factor = rate(done, 0.25, 0.1)
        assert sorted(found) == pytest.approx([0.15e-2 * factor, 1e-2 * factor])


def test_norms_and_biases_have_no_weight_decay():
    net = light_model().net_G
    groups = parameter_groups(net, DistributionConfig(4))
    names = {parameter: name for name, parameter in net.named_parameters()}
    assert sorted(names[one] for group in groups for one in group["params"]) == sorted(names.values())
    for group in groups:
        assert all((one.dim() > 1) == (group["weight_decay"] > 0) for one in group["params"])
        assert {names[one].startswith("encoder.") for one in group["params"]} == {group["highest"] < 1e-3}


@pytest.mark.parametrize("encoder", ["resnet18", "efficientnet_lite0"])
def test_frozen_levels_keep_weights_and_statistics_and_the_others_change(encoder):
    model = light_model(encoder, frozen_levels=2, ema_decay=0.5)
    levels = model.net_G.encoder.levels
    before = [copy.deepcopy([module.state_dict() for module in level]) for level in levels]
    step(model)
    step(model)
    model.refresh_average([next(iter(loaders()[0]))])
    for net in (model.net_G, model.generator):
        for number, level in enumerate(net.encoder.levels):
            for module, old in zip(level, before[number], strict=True):
                same = [
                    torch.equal(tensor, old[key]) for key, tensor in module.state_dict().items() if "num" not in key
                ]
                assert all(same) if number < 2 else not same or not all(same)


def test_two_steps_and_a_resume_equal_four_steps_to_the_bit(tmp_path):
    def train(name: str, epochs: int) -> DistributionModel:
        model = light_model("efficientnet_lite0", ema_decay=0.9)
        return tiny_training.train(tmp_path / name, epochs, LoopConfig(), model=model, batch_size=6)[0]

    whole = train("whole", 2)  # epochs of two steps
    train("parts", 1)
    parts = train("parts", 2)
    for name, network in whole.networks.items():
        theirs = parts.networks[name].state_dict()
        assert all(torch.equal(tensor, theirs[key]) for key, tensor in network.state_dict().items())
    assert parts.opt_G.param_groups[0]["step_number"] == 4


def test_the_prior_is_the_share_of_each_bin():
    net, centres, ab = light_model().net_G, bin_centres(), torch.zeros(4, 2, 32, 32)
    expected = torch.zeros(len(centres))
    for pictures, colour in ((slice(3), [60.0, 40.0]), (slice(3, 4), [20.0, -60.0])):
        ab[pictures] = torch.tensor(colour)[:, None, None] / 110
        distance = (centres - torch.tensor(colour)).norm(dim=1)
        near = distance.argsort()[:5]  # a Gaussian of 5 Lab units over the five nearest bins
        weight = torch.exp(-(distance[near] ** 2) / 50)
        expected[near] += len(ab[pictures]) / 4 * weight / weight.sum()
    set_prior(net, [{"ab": ab[:2]}, {"ab": ab[2:]}])
    torch.testing.assert_close(net.head.prior, expected, rtol=1e-4, atol=1e-7)


def test_the_recipe_grows_resumes_to_the_bit_and_leaves_the_average(tmp_path):
    """Two stages of one schedule; a call that finds both done gives the same weights."""
    made = {}
    for name, calls in (("whole", [3]), ("again", [3, 3])):
        for _ in calls:
            seed_everything(0)
            train_dl, val_dl = loaders()
            net = build_generator(LightConfig(size=32, encoder="resnet18", widths=(8, 8, 8)))
            run = start_run("test", name, tmp_path)
            history = train_distribution(net, train_dl, val_dl, 3, run, lambda *_: {"val_L1": 0.0}, 32)
        made[name] = net.state_dict()
        rows = history[history.kind == "epoch"]
        assert rows.epoch.tolist() == [1, 2, 3] and rows["size"].tolist() == [32] * 3 and rows.val_bins.notna().all()
        assert rows.seconds.is_monotonic_increasing and not torch.equal(net.head.prior, torch.ones(261) / 261)
    assert all(torch.equal(made["whole"][key], made["again"][key]) for key in made["whole"])
