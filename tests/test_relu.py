"""papers/relu.py: activations and their derivatives, the nets side by side, and the penalty, against torch."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from papers import relu

THEIRS = {"rectifier": F.relu, "tanh": torch.tanh, "softplus": F.softplus}
MODULES = {"rectifier": nn.ReLU, "tanh": nn.Tanh, "softplus": nn.Softplus}
SIZES = [6, 5, 4, 10]


@pytest.mark.parametrize("name", relu.ACTIVATIONS)
def test_activation_and_derivative_are_torchs(name):
    x = torch.cat([torch.linspace(-5, 5, 101), torch.tensor([-1e3, -60.0, -1e-9, 1e-9, 60.0, 1e3])]).double()
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    weight = torch.linspace(-1, 2, len(x)).double()
    one, two = relu.ACTIVATIONS[name](ours), THEIRS[name](theirs)
    torch.testing.assert_close(one, two, rtol=1e-7, atol=1e-15)  # F.softplus itself drops e^-x beyond x = 20
    (one * weight).sum().backward()
    (two * weight).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-7, atol=1e-15)
    assert one.isfinite().all() and ours.grad.isfinite().all()


@pytest.mark.parametrize("name", relu.ACTIVATIONS)
def test_derivative_is_the_finite_difference(name):
    x = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(relu.ACTIVATIONS[name], (x,))


def test_softplus_far_from_zero():
    x = torch.tensor([-800.0, -40.0, 0.0, 800.0], dtype=torch.float64)
    expected = torch.tensor([0.0, math.log1p(math.exp(-40)), math.log(2), 800.0], dtype=torch.float64)
    torch.testing.assert_close(relu.Softplus.apply(x), expected, rtol=1e-12, atol=1e-300)


def test_rectifier_is_flat_at_zero():
    x = torch.zeros(1, requires_grad=True)
    relu.Rectifier.apply(x).backward()
    assert x.grad == 0


def as_modules(nets, net, activation):
    """The same net of torch.nn."""
    layers = []
    for w, b in zip(nets[::2], nets[1::2]):
        layer = nn.Linear(*w.shape[1:]).to(w.dtype)
        layer.weight.data, layer.bias.data = w[net].detach().T.clone(), b[net, 0].detach().clone()
        layers += [layer, MODULES[activation]()]
    return nn.Sequential(*layers[:-1])


def double_nets(sizes, seeds):
    nets = [weights.double() for weights in relu.new_nets(sizes, seeds)]
    draw = torch.Generator().manual_seed(9)
    return [w + 0.1 * torch.randn(w.shape, dtype=w.dtype, generator=draw) for w in nets]  # biases that aren't 0


@pytest.mark.parametrize("activation", relu.ACTIVATIONS)
def test_nets_side_by_side_are_nets_of_torch(activation):
    nets = [w.requires_grad_() for w in double_nets(SIZES, [0, 1, 2])]
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(3, 7, 6, dtype=torch.float64, generator=draw)
    y = torch.randint(10, (3, 7), generator=draw)
    penalties = torch.tensor([0.0, 0.1, 0.5], dtype=torch.float64)
    logits, hidden = relu.forward(nets, activation, x)
    losses = relu.losses(logits, hidden, y, penalties)
    grads = torch.autograd.grad(losses.sum(), nets)
    for net in range(3):
        model = as_modules(nets, net, activation)
        outputs, inside = x[net], []
        for layer in model:
            outputs = layer(outputs)
            if not isinstance(layer, nn.Linear):
                inside.append(outputs)
        torch.testing.assert_close(logits[net], outputs)
        for ours, theirs in zip(hidden, inside, strict=True):
            torch.testing.assert_close(ours[net], theirs)
        loss = F.cross_entropy(outputs, y[net]) + penalties[net] * sum(h.abs().sum() for h in inside) / 7
        torch.testing.assert_close(losses[net], loss)
        loss.backward()
        for layer, (dw, db) in zip(model[::2], zip(grads[::2], grads[1::2])):
            torch.testing.assert_close(dw[net].T, layer.weight.grad)
            torch.testing.assert_close(db[net, 0], layer.bias.grad)


def toy(n=400, dtype=torch.float64):
    """The label is the brightest of ten pixels; six more say nothing."""
    x = torch.rand(n, 16, generator=torch.Generator().manual_seed(0), dtype=dtype)
    return x, x[:, :10].argmax(1)


def test_training_is_torchs_sgd_with_a_rate_that_falls():
    x, y = toy()
    seeds, steps = [3, 4, 3], 12
    rates, penalties = torch.tensor([0.5, 0.2, 0.1]).double(), torch.tensor([0.0, 0.0, 0.01]).double()
    start = double_nets([16, 8, 10], seeds)
    nets = relu.train([w.clone() for w in start], "tanh", x, y, rates, penalties, seeds, steps)
    for net, seed in enumerate(seeds):
        model = as_modules(start, net, "tanh")
        optimizer = torch.optim.SGD(model.parameters(), lr=rates[net].item())
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
        for batch in torch.randint(len(x), (steps, 50), generator=torch.Generator().manual_seed(seed)):
            hidden = model[:2](x[batch])
            loss = F.cross_entropy(model[2](hidden), y[batch]) + penalties[net] * hidden.abs().sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        for layer, (w, b) in zip(model[::2], zip(nets[::2], nets[1::2])):
            torch.testing.assert_close(w[net].T, layer.weight, rtol=1e-9, atol=1e-12)
            torch.testing.assert_close(b[net, 0], layer.bias, rtol=1e-9, atol=1e-12)


def test_start_is_glorots_and_told_by_the_seed():
    nets = relu.new_nets([300, 200, 10], [0, 1, 0])
    bound = (6 / 500) ** 0.5
    assert nets[0].shape == (3, 300, 200) and nets[1].shape == (3, 1, 200) and (nets[1] == 0).all()
    assert nets[0].abs().max() <= bound and nets[0].abs().max() > 0.99 * bound
    assert nets[0].std().item() == pytest.approx(bound / 3**0.5, rel=0.01) and abs(nets[0].mean()) < 0.01 * bound
    assert torch.equal(nets[0][0], nets[0][2]) and not torch.equal(nets[0][0], nets[0][1])
    model = nn.Linear(300, 200)
    nn.init.xavier_uniform_(model.weight)
    assert nets[0][0].std().item() == pytest.approx(model.weight.std().item(), rel=0.02)


def test_half_of_a_rectifiers_outputs_are_zero_at_the_start():
    x, y = torch.rand(500, 64, generator=torch.Generator().manual_seed(0)), torch.arange(500) % 10
    norms, zeros = relu.at_start([x, y], "rectifier", [64, 200, 200, 200, 10], [0, 1, 2, 3])
    assert norms.shape == zeros.shape == (4, 3) and ((zeros > 0.4) & (zeros < 0.6)).all()
    for other in ("tanh", "softplus"):
        assert (relu.at_start([x, y], other, [64, 200, 10], [0])[1] == 0).all()


def test_gradient_at_the_start_is_that_of_torch():
    x, y = toy(500, torch.float32)
    norms, _ = relu.at_start([x, y], "softplus", [16, 8, 7, 10], [0, 5])
    for net, seed in enumerate([0, 5]):
        model = as_modules(relu.new_nets([16, 8, 7, 10], [seed]), 0, "softplus")
        first = model[:2](x).detach().requires_grad_()
        second = model[2:4](first)
        second.retain_grad()
        F.cross_entropy(model[4](second), y, reduction="sum").backward()
        for layer, hidden in enumerate((first, second)):
            assert norms[net, layer].item() == pytest.approx(
                hidden.grad.norm(dim=1).square().mean().item() ** 0.5, rel=1e-4
            )


def test_error_and_zeros_are_counted_over_all_images():
    x, y = toy(1300, torch.float32)
    nets = relu.new_nets([16, 8, 7, 10], [0, 1])
    error, zeros = relu.test(nets, "rectifier", x, y)
    for net in range(2):
        model = as_modules(nets, net, "rectifier")
        assert error[net].item() == pytest.approx(100 * (model(x).argmax(1) != y).float().mean().item(), abs=1e-3)
        for layer in (0, 1):
            silent = (model[: 2 * layer + 2](x) == 0).float().mean().item()
            assert zeros[net, layer].item() == pytest.approx(silent, abs=1e-5)


@pytest.mark.parametrize("activation", relu.ACTIVATIONS)
def test_training_learns(activation):
    x, y = toy(1200, torch.float32)
    data = [x[:800], y[:800], x[800:1000], y[800:1000], x[1000:], y[1000:]]
    error, zeros = relu.train_and_test(data, activation, [16, 32, 10], 0.4, [0.0, 0.01], [0, 1, 2], 1500)
    assert error.shape == (2, 3) and zeros.shape == (2, 3, 1)
    assert error[0].max() < 45  # a constant answer: 90
    assert (zeros > 0).all() if activation == "rectifier" else (zeros == 0).all()
    if activation == "rectifier":
        assert (zeros[1] > zeros[0] + 0.1).all()  # the penalty silences


def test_the_rate_is_chosen_by_the_validation_images_alone(monkeypatch):
    x, y = toy(600, torch.float32)
    data = [x[:300], y[:300], x[300:], y[300:], x[:5], 9 - y[:5]]
    chosen = relu.choose_rate(data, "tanh", [16, 8, 10], 100, 0)
    errors = {}
    for rate in relu.RATES:
        nets = relu.train(
            relu.new_nets([16, 8, 10], [0]), "tanh", x[:300], y[:300], torch.tensor([rate]), torch.zeros(1), [0], 100
        )
        errors[rate] = relu.test(nets, "tanh", x[300:], y[300:])[0].item()
    assert chosen == min(errors, key=errors.get)
    seen = copy.copy(relu.RATES)
    monkeypatch.setattr(relu, "RATES", seen[::-1])  # whatever the order of the grid
    assert errors[relu.choose_rate(data, "tanh", [16, 8, 10], 100, 0)] == min(errors.values())
