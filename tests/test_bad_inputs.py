"""A sample of `bad_inputs`: nothing but right pictures and named errors, whatever a file holds."""

import bad_inputs
import pytest
import torch

from colorize_lib.colorizing.colorizer import Colorizer
from colorize_lib.models import GeneratorConfig, build_generator


@pytest.fixture(scope="module")
def colorizer() -> Colorizer:
    torch.manual_seed(0)
    config = GeneratorConfig("unet", size=32, n_down=5, num_filters=4)
    return Colorizer(build_generator(config), config, "cpu")


@pytest.mark.parametrize("seed", range(0, 400, 16))
def test_a_picture_comes_out_right_or_is_refused_by_a_sentence(seed, colorizer, tmp_path, capsys):
    given = bad_inputs.generate(seed)
    assert bad_inputs.fault(given, tmp_path, colorizer) == ""
    assert "Traceback" not in capsys.readouterr().err


def test_inputs_are_of_both_kinds_and_the_same_again():
    some = [bad_inputs.generate(seed) for seed in range(100)]
    assert 20 < sum(one.whole for one in some) < 60 and some[7] == bad_inputs.generate(7)
