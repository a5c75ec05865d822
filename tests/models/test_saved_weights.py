"""Final weights: what is written comes back, and a bad file is named."""

import pytest
import torch
from torch import nn

from colorize_lib.models import GeneratorConfig, build_generator
from colorize_lib.models.weights import CheckpointError, load_generator, save_weights


def test_weights_come_back_with_their_configuration(tmp_path):
    config = GeneratorConfig("unet", 32, 5, 4)
    net_G = build_generator(config)
    save_weights(net_G, tmp_path / "net_G.safetensors", {"generator": vars(config)})
    loaded, loaded_config = load_generator(tmp_path / "net_G.safetensors")
    assert loaded_config == config
    assert all(torch.equal(t, loaded.state_dict()[name]) for name, t in net_G.state_dict().items())


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.write_bytes(b"no tensors"), "is not a whole safetensors file"),
        (lambda path: save_weights(nn.Linear(1, 1), path, {}), "does not describe a generator"),
        (
            lambda path: save_weights(nn.Linear(1, 1), path, {"generator": {"architecture": "unet", "colour": 1}}),
            "colour",
        ),
    ],
)
def test_a_bad_weights_file_is_named(tmp_path, make, message):
    path = tmp_path / "net_G.safetensors"
    make(path)
    with pytest.raises(CheckpointError, match=message) as error:
        load_generator(path)
    assert str(path) in str(error.value)


def test_equal_weights_are_equal_files(tmp_path):
    for k in range(6):
        torch.manual_seed(0)
        net_G = build_generator(GeneratorConfig("unet", 32, 5, 4))
        save_weights(net_G, tmp_path / f"{k}.safetensors", {"a": 1, "b": 2})
    assert len({(tmp_path / f"{k}.safetensors").read_bytes() for k in range(6)}) == 1
