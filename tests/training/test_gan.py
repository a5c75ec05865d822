"""One training step against an independent implementation, and the modes of the networks."""

import pytest
import torch
import torch.nn.functional as F

from colorize_lib.models.init import init_weights
from colorize_lib.models.unet import Unet
from colorize_lib.training.gan import GanConfig, MainModel

N_DOWN = 6  # one level with dropout


class ReferenceStep:
    """The GAN step written from its formulas: both networks, losses and Adam on plain tensors."""

    def __init__(self, model: MainModel, lr=2e-4, betas=(0.5, 0.999), weight_L1=100.0, gan_mode="vanilla"):
        self.G = {name: p.detach().clone().requires_grad_() for name, p in model.net_G.named_parameters()}
        self.D = {name: p.detach().clone().requires_grad_() for name, p in model.net_D.named_parameters()}
        self.moments = {id(p): [torch.zeros_like(p), torch.zeros_like(p)] for p in (*self.G.values(), *self.D.values())}
        self.lr, self.betas, self.weight_L1, self.gan_mode, self.t = lr, betas, weight_L1, gan_mode, 0

    def batch_norm(self, x, weight, bias):
        """Batch statistics. torch's own kernel: Adam's first steps turn rounding into whole steps of lr."""
        return F.batch_norm(x, None, None, weight, bias, training=True)

    def generator(self, L):
        """A loop down and a loop up, where the network under test is nested."""
        prefix = ["model.model."]  # of the levels, outermost first
        prefix += [prefix[0] + "1.model." + "3.model." * k for k in range(N_DOWN - 1)]
        down_at = lambda k: prefix[k] + ("0" if k == 0 else "1")  # noqa: E731
        skips, x = [], L
        for k in range(N_DOWN):
            if k > 0:
                x = torch.where(x > 0, x, 0.2 * x)  # in place in the network, so that the skip carries it too
                skips.append(x)
            x = F.conv2d(x, self.G[down_at(k) + ".weight"], stride=2, padding=1)
            if 0 < k < N_DOWN - 1:
                x = self.batch_norm(x, self.G[prefix[k] + "2.weight"], self.G[prefix[k] + "2.bias"])
        for k in reversed(range(N_DOWN)):
            up, norm = ("3", "4") if k == N_DOWN - 1 else ("3", None) if k == 0 else ("5", "6")
            bias = self.G.get(prefix[k] + up + ".bias")
            x = F.conv_transpose2d(x.clamp(min=0), self.G[prefix[k] + up + ".weight"], bias, stride=2, padding=1)
            if norm:
                x = self.batch_norm(x, self.G[prefix[k] + norm + ".weight"], self.G[prefix[k] + norm + ".bias"])
            if 4 <= k < N_DOWN - 1:
                x = F.dropout(x, 0.5)
            # A ReLU follows the concatenation on the way up, and is applied at the head of the next turn.
            x = torch.tanh(x) if k == 0 else torch.cat([skips[k - 1], x], dim=1)
        return x

    def discriminator(self, L, ab):
        x = torch.cat([L, ab], dim=1)
        for k, stride in enumerate((2, 2, 2, 1, 1)):
            x = F.conv2d(x, self.D[f"model.{k}.0.weight"], self.D.get(f"model.{k}.0.bias"), stride=stride, padding=1)
            if f"model.{k}.1.weight" in self.D:
                x = self.batch_norm(x, self.D[f"model.{k}.1.weight"], self.D[f"model.{k}.1.bias"])
            if k < 4:
                x = torch.where(x > 0, x, 0.2 * x)
        return x

    def gan_loss(self, logits, real):
        if self.gan_mode == "lsgan":
            return ((logits - float(real)) ** 2).mean()
        # -log(sigmoid(x)) for real, -log(1 - sigmoid(x)) for fake
        return torch.log1p(torch.exp(-logits if real else logits)).mean()

    def adam(self, parameters, loss):
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        b1, b2 = self.betas
        with torch.no_grad():
            for p, g in zip(parameters.values(), gradients, strict=True):
                m, v = self.moments[id(p)]
                m.mul_(b1).add_((1 - b1) * g)
                v.mul_(b2).add_((1 - b2) * g * g)
                m_hat, v_hat = m / (1 - b1**self.t), v / (1 - b2**self.t)
                p -= self.lr * m_hat / (v_hat.sqrt() + 1e-8)

    def step(self, L, ab):
        self.t += 1
        ab_hat = self.generator(L)
        on_fake, on_real = self.discriminator(L, ab_hat.detach()), self.discriminator(L, ab)
        fake, real = self.gan_loss(on_fake, real=False), self.gan_loss(on_real, real=True)
        middle = {"vanilla": 0, "lsgan": 0.5}[self.gan_mode]
        right = [(on_fake <= middle).float().mean(), (on_real > middle).float().mean()]
        loss_D = (fake + real) / 2
        self.adam(self.D, loss_D)
        gan = self.gan_loss(self.discriminator(L, ab_hat), real=True)
        L1 = (ab_hat - ab).abs().mean() * self.weight_L1
        self.adam(self.G, gan + L1)
        return torch.stack([fake, real, loss_D, gan, L1, gan + L1, *right]).detach()


def batch(seed: int, size: int = 64) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "L": torch.rand(4, 1, size, size, generator=generator) * 2 - 1,
        "ab": torch.randn(4, 2, size, size, generator=generator) * 0.1,
    }


@pytest.mark.parametrize("gan_mode", ["vanilla", "lsgan"])
def test_three_steps_equal_an_independent_implementation(gan_mode):
    torch.manual_seed(0)
    net_G = init_weights(Unet(n_down=N_DOWN, num_filters=16))
    model = MainModel(net_G, GanConfig(gan_mode=gan_mode)).train()
    reference = ReferenceStep(model, gan_mode=gan_mode)
    for k in range(3):
        model.setup_input(batch(k))
        torch.manual_seed(k)  # the same dropout in both
        model.optimize()
        torch.manual_seed(k)
        expected = reference.step(**batch(k))
        torch.testing.assert_close(model.losses(), expected, rtol=1e-5, atol=1e-5)  # float32 has 7 digits
    assert model.losses()[4] > 1  # L1 has its weight


def test_neither_network_gets_a_gradient_in_the_others_turn():
    model = MainModel(init_weights(Unet(n_down=5, num_filters=4)))
    model.setup_input(batch(0, 32))
    model.forward()
    model.backward_D()
    assert all(p.grad is None for p in model.net_G.parameters())
    assert all(p.grad is not None for p in model.net_D.parameters())
    model.optimize()
    after_D = {name: p.grad.clone() for name, p in model.net_D.named_parameters()}
    model.forward()
    model.backward_G()
    assert all(torch.equal(p.grad, after_D[name]) for name, p in model.net_D.named_parameters())
    assert model.generator is model.networks["net_G"] and set(model.networks) == {"net_G", "net_D"}


def test_the_moving_average_is_that_of_the_formula():
    torch.manual_seed(0)
    model = MainModel(init_weights(Unet(n_down=5, num_filters=4)), GanConfig(ema_decay=0.75)).train()
    expected: dict[str, torch.Tensor] = {}
    for k in range(3):
        model.setup_input(batch(k, 32))
        model.step()
        for name, now in model.networks["net_G"].state_dict().items():
            if now.is_floating_point():
                expected[name] = 0.75 * expected[name] + 0.25 * now if name in expected else now.clone()
    averaged = model.generator.state_dict()
    for name, tensor in expected.items():
        torch.testing.assert_close(averaged[name], tensor, msg=name)
    name = next(name for name in expected if name.endswith("running_mean"))
    assert not torch.equal(averaged[name], model.networks["net_G"].state_dict()[name])


def test_a_frozen_norm_keeps_its_statistics_and_its_average_has_them():
    torch.manual_seed(0)
    net_G = init_weights(Unet(n_down=N_DOWN, num_filters=8))
    for _ in range(3):  # statistics of its own
        net_G(torch.rand(4, 1, 64, 64))
    before = {name: tensor.clone() for name, tensor in net_G.state_dict().items()}
    model = MainModel(net_G, GanConfig(freeze_norm=True, ema_decay=0.5))
    model.set_modes()
    for k in range(2):
        model.setup_input(batch(k))
        model.step()
    model.refresh_average([batch(2)])
    statistics = [name for name in before if "running" in name]
    assert statistics
    for state in (model.net_G.state_dict(), model.generator.state_dict()):
        assert all(torch.equal(state[name], before[name]) for name in statistics)
    learned = [name for name, _ in net_G.named_parameters()]
    assert not any(torch.equal(model.net_G.state_dict()[name], before[name]) for name in learned)
    assert model.net_D.training and all(module.training for module in model.net_D.modules())
