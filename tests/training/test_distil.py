"""Distilling: the student learns the teacher's answers, and the teacher stays as it is."""

import torch
from tiny_training import loaders
from torch import nn

from colorize_lib.training.distil import DistilConfig, DistilModel, agreement


def classifier(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    features = nn.Sequential(nn.Conv2d(3, 16, 3, stride=2, bias=False), nn.BatchNorm2d(16), nn.ReLU())
    return nn.Sequential(features, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(256, 10))


def test_the_loss_falls_on_one_batch_and_the_teacher_stays():
    student, teacher, batch = classifier(0), classifier(1), next(iter(loaders(12)[0]))
    before = {key: tensor.clone() for key, tensor in teacher.state_dict().items()}
    model = DistilModel(student, teacher, DistilConfig(steps=60, lr=1e-2, size=24))
    model.set_modes()
    losses = []
    for _ in range(60):
        model.setup_input(batch)
        model.step()
        losses.append(model.losses()[0].item())
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
    assert all(torch.equal(tensor, before[key]) for key, tensor in teacher.state_dict().items())
    assert not teacher.training and model.opt_G.param_groups[0]["step_number"] == 60
    assert set(model.networks) == {"net_G"}


def test_agreement_is_the_share_of_equal_answers():
    one, batches = classifier(0).eval(), [next(iter(loaders(12)[0]))]
    reversed_one = nn.Sequential(*one[:-1], nn.Linear(256, 10))
    reversed_one[-1].weight.data, reversed_one[-1].bias.data = -one[-1].weight.data, -one[-1].bias.data
    assert agreement(one, one, batches, size=32, grey=False) == 1
    assert agreement(reversed_one, one, batches, size=32, grey=False) == 0


def test_without_a_teacher_the_known_classes_teach_and_the_unknown_do_not():
    batch = next(iter(loaders(12)[0]))
    batch["label"] = torch.arange(12) % 3 - 1  # -1: not known
    model = DistilModel(classifier(0), None, DistilConfig(steps=60, lr=1e-2, size=24))
    model.set_modes()
    first = None
    for _ in range(60):
        model.setup_input(batch)
        model.step()
        first = first or model.losses().tolist()
    assert first[0] == 0 and model.losses()[1] < 0.3 * first[1]
    assert set(model.net_G(batch["L"].expand(-1, 3, -1, -1)).argmax(dim=1).tolist()) <= {0, 1}
