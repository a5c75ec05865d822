"""What networks are trained on: the GAN's losses, reconstruction, diversity; and the losses of both models."""

import pytest
import torch

from colorize_lib import color
from colorize_lib.models import build_discriminator, build_generator
from colorize_lib.models.cifar import CifarConfig
from colorize_lib.training.gan import GanConfig, MainModel
from colorize_lib.training.losses import GANLoss, cosine_distance, repeated_colors
from colorize_lib.training.trainable import RegressionModel


def batch(n: int = 4) -> dict[str, torch.Tensor]:
    L, ab = color.normalize(color.rgb_to_lab(torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(0))))
    return {"L": L, "ab": ab}


def test_gan_losses_follow_their_formulas():
    logits = torch.tensor([[0.3, -1.2], [2.0, 0.0]])
    p = torch.sigmoid(logits)
    vanilla, lsgan = GANLoss("vanilla"), GANLoss("lsgan")
    torch.testing.assert_close(vanilla(logits, True), -p.log().mean())
    torch.testing.assert_close(vanilla(logits, False), -(1 - p).log().mean())
    torch.testing.assert_close(lsgan(logits, True), ((logits - 1) ** 2).mean())
    torch.testing.assert_close(lsgan(logits, False), (logits**2).mean())


def test_cosine_distance_of_known_vectors():
    one = torch.tensor([1.0, 0.0])[None, :, None, None]
    other = torch.tensor([3.0, 3.0])[None, :, None, None]
    assert cosine_distance(one, 5 * one).item() == pytest.approx(0, abs=1e-6)
    assert cosine_distance(one, -one).item() == pytest.approx(2)
    assert cosine_distance(one, other).item() == pytest.approx(1 - 2**-0.5)


def test_repeated_colors_is_1_for_one_pattern_and_0_for_the_truth():
    ab = torch.randn(6, 2, 32, 32).mul(0.1).cumsum(-1)
    shrunk = (ab / 4).requires_grad_()
    assert repeated_colors(ab, ab).item() == repeated_colors(2 * ab, ab).item() == 0
    assert repeated_colors(ab[:1].expand(6, -1, -1, -1), ab).item() == pytest.approx(1)
    repeated_colors(shrunk, ab).backward()
    assert repeated_colors(shrunk, ab).item() == pytest.approx(0.75)
    assert repeated_colors(shrunk - shrunk.grad, ab).item() < 0.75  # descending makes pictures differ


def test_every_weighted_term_is_in_the_generators_loss():
    objective = GanConfig(lambda_L1=3.0, lambda_L2=5.0, lambda_cosine=7.0, lambda_diversity=11.0)
    model = MainModel(build_generator(CifarConfig()), objective, None, build_discriminator(CifarConfig()))
    model.setup_input(batch())
    model.forward()
    model.backward_D()
    model.backward_G()
    losses = dict(zip(model.loss_names, model.losses().tolist(), strict=True))
    rgb_hat, rgb = model.color_hat.detach(), color.lab_to_rgb(**batch()) * 2 - 1
    assert losses["loss_G_L1"] == pytest.approx(3 * (rgb_hat - rgb).abs().mean().item(), rel=1e-5)
    assert losses["loss_G_L2"] == pytest.approx(5 * (rgb_hat - rgb).square().mean().item(), rel=1e-5)
    assert losses["loss_G_cosine"] == pytest.approx(7 * cosine_distance(rgb_hat, rgb).item(), rel=1e-5)
    ab_hat = color.rgb_to_ab((rgb_hat + 1) / 2)
    assert losses["loss_G_diversity"] == pytest.approx(11 * repeated_colors(ab_hat, batch()["ab"]).item(), rel=1e-4)
    terms = [losses[f"loss_G_{term}"] for term in ("GAN", "L1", "L2", "cosine", "diversity")]
    assert losses["loss_G"] == pytest.approx(sum(terms), rel=1e-5)


@pytest.mark.parametrize("loss, power", [("L1", 1), ("L2", 2)])
def test_regression_has_its_loss(loss, power):
    model = RegressionModel(build_generator(CifarConfig(output="ab")), loss=loss).train()
    torch.manual_seed(0)  # the same dropout twice
    expected = (model.net_G(batch()["L"]) - batch()["ab"]).abs().pow(power).mean().item()
    model.setup_input(batch())
    torch.manual_seed(0)
    model.optimize()
    assert model.loss_names == (f"loss_{loss}",)
    assert model.losses().item() == pytest.approx(expected, rel=1e-5)


def test_an_unknown_loss_is_refused():
    with pytest.raises(ValueError, match="loss 'L3' is unknown; choose one of L1, L2"):
        RegressionModel(build_generator(CifarConfig()), loss="L3")
    with pytest.raises(ValueError, match="'hinge' is unknown"):
        GANLoss("hinge")
