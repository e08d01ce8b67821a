"""papers/relu.py: units, starts, nets and their linear maps, against torch, SciPy and finite differences."""

import pytest
import scipy.ndimage
import torch
import torch.nn.functional as F
from torch import nn

from papers import relu

THEIRS = {"rectifier": nn.ReLU(), "tanh": nn.Tanh(), "sigmoid": nn.Sigmoid()}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("name", relu.ACTIVATIONS)
def test_unit_and_its_slope_are_torchs(name):
    x = torch.cat(
        [torch.linspace(-5, 5, 101), torch.tensor([-1e3, -60.0, -1e-9, 1e-9, 60.0, 1e3])]
    ).double()
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    readout = torch.linspace(-1, 2, len(x)).double()
    one, two = relu.ACTIVATIONS[name](ours), THEIRS[name](theirs)
    torch.testing.assert_close(one, two, rtol=1e-7, atol=1e-15)
    (one * readout).sum().backward()
    (two * readout).sum().backward()
    torch.testing.assert_close(
        ours.grad, theirs.grad, rtol=1e-7, atol=1e-15
    )  # a rectifier's slope at 0 itself is 0


@pytest.mark.parametrize("name", relu.ACTIVATIONS)
def test_slope_is_the_finite_difference(name):
    x = torch.randn(4, 5, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(relu.ACTIVATIONS[name], (x,))


@pytest.mark.parametrize("start", relu.VARIANCES)
def test_starts_are_those_of_torch(start):
    net = relu.Net("rectifier", 2, 700, start)
    theirs = nn.Linear(700, 700)  # torch's own start is the habit
    if start in ("Glorot", "sigmoid"):
        nn.init.xavier_uniform_(theirs.weight, gain=4 if start == "sigmoid" else 1)
    elif start == "He":
        nn.init.kaiming_uniform_(theirs.weight, nonlinearity="relu")
    ours = net.layers[1].weight
    assert ours.std().item() == pytest.approx(theirs.weight.std().item(), rel=0.01)
    assert ours.max().item() == pytest.approx(theirs.weight.max().item(), rel=0.001)
    assert ours.min().item() == pytest.approx(-ours.max().item(), rel=0.001)
    first = net.layers[0].weight
    assert first.std().item() * 784**0.5 == pytest.approx(ours.std().item() * 700**0.5, rel=0.01)
    assert all((layer.bias == 0).all() for layer in net.layers)


def small(activation, dtype=torch.float64):
    """A net of three hidden layers with biases, and the same net of torch.nn."""
    net = relu.Net(activation, 3, 12, "He").to(dtype)
    for layer in net.layers:
        nn.init.normal_(layer.bias, std=0.3)
    return net, as_modules(net)


def as_modules(net):
    layers = []
    for layer in net.layers:
        theirs = nn.Linear(layer.in_features, layer.out_features).to(layer.weight)
        theirs.load_state_dict(layer.state_dict())
        layers += [theirs, THEIRS[net.activation]]
    return nn.Sequential(*layers[:-1])


@pytest.mark.parametrize("activation", relu.ACTIVATIONS)
def test_net_equals_torchs_forward_and_backward(activation):
    net, theirs = small(activation)
    x, y = torch.rand(7, 784, dtype=torch.float64), torch.arange(7)
    torch.testing.assert_close(net(x), theirs(x))
    for hidden, k in zip(net.hidden(x), (2, 4, 6), strict=True):
        torch.testing.assert_close(hidden, theirs[:k](x))
    F.cross_entropy(net(x), y).backward()
    F.cross_entropy(theirs(x), y).backward()
    for ours, other in zip(net.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, other.grad)


def test_linear_map_is_the_jacobian_and_gives_the_logits():
    net, theirs = small("rectifier")
    for image in torch.rand(5, 784, dtype=torch.float64):
        matrix, offset = relu.linear_map(net, image)
        torch.testing.assert_close(matrix, torch.autograd.functional.jacobian(theirs, image))
        torch.testing.assert_close(matrix @ image + offset, theirs(image))
        assert offset.abs().max() > 0.01


def test_zeros_are_counted_layer_by_layer():
    net, theirs = small("rectifier")
    x = torch.rand(50, 784, dtype=torch.float64)
    expected = [100 * sum((h == 0).sum().item() for h in theirs[:k](x)) / 600 for k in (2, 4, 6)]
    assert relu.zeros(net, x) == pytest.approx(expected)
    assert relu.zeros(small("tanh")[0], x) == [0, 0, 0]


def test_gradient_norms_are_those_of_torch_and_keep_to_the_law():
    x, y = torch.rand(40, 784), torch.arange(40) % 10
    for start in relu.STARTS:
        torch.manual_seed(3)
        norms = relu.gradient_norms(start, x, y)
        torch.manual_seed(3)
        theirs = as_modules(relu.Net("rectifier", 20, 512, start))
        h, inside = x, []
        for layer in theirs:
            h = layer(h)
            if isinstance(layer, nn.ReLU):
                h.retain_grad()
                inside.append(h)
        F.cross_entropy(h, y).backward()
        torch.testing.assert_close(
            norms, torch.stack([h.grad.norm() for h in inside]), rtol=1e-3, atol=0
        )
        n, variance = 512, theirs[2].weight.var().item()
        factor = ((norms[0] / norms[-1]) ** (1 / 19)).item()
        assert factor == pytest.approx((n * variance / 2) ** 0.5, rel=0.05)


@pytest.mark.parametrize("shift", [False, True])
def test_training_is_gradient_descent_with_momentum_on_shifted_images(shift):
    net, theirs = small("rectifier")
    x, y = torch.rand(30, 784, dtype=torch.float64), torch.randint(10, (30,))
    torch.manual_seed(5)
    relu.train(net, [x, y], 0.2, 4, 6, shift)
    torch.manual_seed(5)
    velocity = [torch.zeros_like(weight) for weight in theirs.parameters()]
    for rate in (0.2, 0.15, 0.1, 0.05):
        batch = torch.randint(30, (6,))
        images = x[batch]
        if shift:
            down, across = torch.randint(3, (2,)).tolist()
            moved = scipy.ndimage.shift(
                images.view(6, 28, 28).numpy(), (0, 1 - down, 1 - across), order=0
            )
            images = torch.tensor(moved).view(6, 784)
        gradients = torch.autograd.grad(
            F.cross_entropy(theirs(images), y[batch]), list(theirs.parameters())
        )
        velocity = [0.9 * v + gradient for v, gradient in zip(velocity, gradients)]
        for weight, v in zip(theirs.parameters(), velocity):
            weight.data -= rate * v
    for ours, other in zip(net.parameters(), theirs.parameters()):
        torch.testing.assert_close(ours, other)


def a_small_task(n=900):
    """Ten pictures of 784 pixels under noise: images (n, 784), labels (n,)."""
    y = torch.arange(n) % 10
    return torch.rand(10, 784)[y] + 0.5 * torch.randn(n, 784), y


def test_rectifiers_learn_twenty_layers_deep_and_sigmoid_units_stay_at_chance():
    x, y = a_small_task()
    rights = {}
    for activation, start in (("rectifier", "He"), ("rectifier", "habit"), ("sigmoid", "sigmoid")):
        net = relu.Net(activation, 20, 64, start)
        relu.train(net, [x[:700], y[:700]], 0.01, 300, 64)
        rights[activation, start] = relu.accuracy(net, x[700:], y[700:])
    assert (
        rights["rectifier", "He"] > 60
        and rights["rectifier", "habit"] < 25
        and rights["sigmoid", "sigmoid"] < 25
    )


@pytest.mark.parametrize("activation", relu.ACTIVATIONS)
def test_shallow_nets_of_every_unit_learn(activation):
    x, y = a_small_task()
    net = relu.Net(activation, 1, 32, "Glorot")
    relu.train(net, [x[:700], y[:700]], 0.05, 100, 64)
    assert relu.accuracy(net, x[700:], y[700:]) > 90  # a constant answer: 10
