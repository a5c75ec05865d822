"""Drawings say of a network what it is."""

import matplotlib.pyplot as plt
import pytest
import torch

from colorize_lib.figures import drawings
from colorize_lib.models.patchgan import PatchDiscriminator


def words(figure) -> str:
    found = " ".join(text.get_text() for text in figure.axes[0].texts)
    plt.close(figure)
    return found


def test_the_u_net_has_its_sides_and_channels():
    said = words(drawings.unet(256, 8, 64))
    assert all(level in said for level in ("256²×1", "128²×64", "32²×256", "16²×512", "1²×512", "256²×2"))


@pytest.mark.parametrize(("n_down", "patch"), [(1, 16), (2, 34), (3, 70)])
def test_the_patchgan_has_as_many_logits_as_the_network(n_down, patch):
    logits = PatchDiscriminator(n_down=n_down, num_filters=4)(torch.zeros(1, 3, 128, 128)).shape[-1]
    said = words(drawings.patchgan(128, n_down))
    assert f"{patch}×{patch} px" in said and f"{logits}×{logits} logits" in said


def test_the_step_names_both_losses():
    said = words(drawings.training_step())
    assert "loss D" in said and "loss G" in said
