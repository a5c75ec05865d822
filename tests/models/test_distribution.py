"""Colour as a distribution over ab bins."""

import math

import pytest
import torch

from colorize_lib.models.distribution import (
    ColourDistribution,
    alpha_and_temperature,
    bin_centres,
    class_weights,
    soft_encode,
)


@pytest.fixture
def head() -> ColourDistribution:
    torch.manual_seed(0)
    head = ColourDistribution(4)
    head.prior.copy_(torch.rand(len(bin_centres())).softmax(0))
    return head


def test_bins_are_those_of_the_cube():
    centres = bin_centres()
    assert len(centres) == 261 and (centres % 10 == 0).all()
    assert [0, 0] in centres.tolist() and [80, 70] in centres.tolist() and [-100, -100] not in centres.tolist()


def test_soft_targets_are_gaussian_weights_of_the_five_nearest_bins():
    ab = torch.tensor([13.0, -4.0]).view(1, 2, 1, 1)
    index, weight = soft_encode(ab / 110)
    distance = (bin_centres() - ab.view(2)).norm(dim=1)
    assert set(index.flatten().tolist()) == set(distance.topk(5, largest=False).indices.tolist())
    gaussian = (-(distance[index.flatten()] ** 2) / 50).exp()
    torch.testing.assert_close(weight.flatten(), gaussian / gaussian.sum())


def test_class_weights_have_mean_one_under_the_prior(head):
    weights = class_weights(head.prior)
    assert (head.prior * weights).sum() == pytest.approx(1, rel=1e-5)
    assert weights[head.prior.argmin()] == weights.max()


def test_the_loss_is_the_weighted_cross_entropy_of_the_pixels_written_out(head):
    ab, logits = torch.rand(2, 2, 3, 3) - 0.5, torch.randn(2, 261, 3, 3)
    index, weight = soft_encode(ab)
    w, logp = class_weights(head.prior), logits.log_softmax(1)
    expected = 0.0
    for n in range(2):
        for y in range(3):
            for x in range(3):
                for k in range(5):
                    q = index[n, k, y, x]
                    expected -= weight[n, k, y, x] * w[q] * logp[n, q, y, x] / 18
    torch.testing.assert_close(head.loss(logits, ab), expected)


def test_correction_takes_the_weighting_out_again(head):
    """A network that has learnt p w exactly is read as p at alpha = 1 and as p w at 0."""
    p = torch.rand(261).softmax(0)
    w = class_weights(head.prior)
    logits = (p * w).log()[None, :, None, None]
    torch.testing.assert_close(head.belief(logits, 1.0, 1.0).flatten(), p)
    torch.testing.assert_close(head.belief(logits, 0.0, 1.0).flatten(), p * w / (p * w).sum())
    mean = (p[:, None] * bin_centres()).sum(0) / 110
    torch.testing.assert_close(head.decode(logits, 1.0, 1.0).flatten(), mean)


def test_a_low_temperature_reads_the_likeliest_bin_and_decoding_has_gradients(head):
    logits = torch.randn(1, 261, 2, 2, requires_grad=True)
    ab = head.decode(logits, 0.0, 0.01)
    mode = bin_centres()[logits.argmax(dim=1)].permute(0, 3, 1, 2) / 110
    torch.testing.assert_close(ab, mode, rtol=0, atol=0.02)
    head.decode(logits, 0.5, 0.6).sum().backward()
    assert logits.grad.abs().sum() > 0


def test_vividness_goes_along_the_path():
    assert alpha_and_temperature(0) == (1.0, 0.6) and alpha_and_temperature(1) == (0.0, 0.7)
    assert alpha_and_temperature(0.5) == pytest.approx((0.55, 0.6))
    for wrong in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="vividness"):
            alpha_and_temperature(wrong)
