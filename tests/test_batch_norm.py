"""The normalization of papers/batch_norm.py against torch's BatchNorm1d and BatchNorm2d and finite differences."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from papers import batch_norm

SHAPES = [
    (7, 5),
    (2, 3),
    (4, 5, 6, 3),
    (1, 3, 4, 2),
]  # the last: one image, whose places are enough


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def random(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def pair(units, **options):
    """Ours and torch's, in float64, with the same random gamma and beta."""
    ours, torchs = (
        batch_norm.BatchNorm(units, **options).double(),
        nn.BatchNorm2d(units, **options).double(),
    )
    torchs._check_input_dim = lambda x: None  # so that one module takes (B, C) and (B, C, H, W)
    with torch.no_grad():
        for own, their in ((ours.gamma, torchs.weight), (ours.beta, torchs.bias)):
            own.copy_(random(units))
            their.copy_(own)
    return ours, torchs


def assert_same(ours, torchs, x, readout):
    """Output and all gradients."""
    x, y = x.clone().requires_grad_(), x.clone().requires_grad_()
    out, expected = ours(x), torchs(y)
    torch.testing.assert_close(out, expected)
    (readout * out).sum().backward()
    (readout * expected).sum().backward()
    torch.testing.assert_close(x.grad, y.grad)
    torch.testing.assert_close(ours.gamma.grad, torchs.weight.grad)
    torch.testing.assert_close(ours.beta.grad, torchs.bias.grad)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("options", [{}, {"eps": 0.3}])
def test_training_equals_torch_forward_and_backward(shape, options):
    ours, torchs = pair(shape[1], **options)
    assert_same(ours, torchs, 3 + 2 * random(*shape), random(*shape))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("momentum", [0.1, 0.4])
def test_running_statistics_and_evaluation_equal_torch(shape, momentum):
    ours, torchs = pair(shape[1], momentum=momentum, eps=0.01)
    for _ in range(4):
        x = 3 + 2 * random(*shape)
        ours(x), torchs(x)
    torch.testing.assert_close(ours.running_mean, torchs.running_mean)
    torch.testing.assert_close(ours.running_var, torchs.running_var)
    ours.eval(), torchs.eval()
    before = ours.running_mean.clone(), ours.running_var.clone()
    assert_same(ours, torchs, random(*shape), random(*shape))
    assert torch.equal(before[0], ours.running_mean) and torch.equal(before[1], ours.running_var)


def test_gradient_equals_finite_differences():
    x, gamma, beta = (random(*shape).requires_grad_() for shape in ((6, 3), (3,), (3,)))
    assert torch.autograd.gradcheck(
        lambda *of: batch_norm.Normalize.apply(*of, 0.1)[0], (x, gamma, beta)
    )


def test_batch_of_one_is_refused_in_training_as_by_torch_and_served_in_evaluation():
    ours, torchs = pair(3)
    with pytest.raises(ValueError, match="one has no variance"):
        ours(random(1, 3))
    with pytest.raises(ValueError):
        torchs(random(1, 3))
    torch.testing.assert_close(ours.eval()(random(1, 3)).shape, torch.Size([1, 3]))


@pytest.mark.parametrize("a", [0.1, 5.0])
def test_scale_of_the_weights_changes_nothing_but_their_gradient(a):
    """Sec. 3.3: BN((aW)u) = BN(Wu), and the gradient for aW is 1/a of the one for W."""
    u, w, readout = random(60, 50), random(50, 40), random(60, 40)
    outputs, gradients = [], []
    for scaled in (w, a * w):
        scaled.requires_grad_()
        outputs.append(batch_norm.BatchNorm(40, eps=0.0).double()(u @ scaled))
        gradients.append(torch.autograd.grad((readout * outputs[-1]).sum(), scaled)[0])
    torch.testing.assert_close(*outputs)
    torch.testing.assert_close(gradients[0], a * gradients[1])


@pytest.mark.parametrize("nonlinearity", [nn.Sigmoid, nn.ReLU])
def test_networks_are_what_torchs_functions_make_of_their_weights(nonlinearity):
    x = torch.rand(6, 784)
    for kind in ("plain", "normalized", "shifted"):
        model = batch_norm.network(kind, nonlinearity, depth=3, width=8)
        lines = [layer for layer in model if isinstance(layer, nn.Linear)]
        assert len(lines) == 4 and sum(
            isinstance(layer, batch_norm.RandomShift) for layer in model
        ) == (3 if kind == "shifted" else 0)
        h = x
        for line in lines[:-1]:
            h = F.linear(h, line.weight, line.bias)
            if kind != "plain":
                h = F.batch_norm(
                    h, torch.zeros(8), torch.ones(8)
                )  # running averages as they are at the start
            h = nonlinearity()(h)
        torch.testing.assert_close(model.eval()(x), lines[-1](h))


def test_random_shift_moves_and_stretches_units_in_training_only():
    layer, x = batch_norm.RandomShift(), torch.stack([torch.zeros(4000), torch.ones(4000)])
    at_zero, at_one = layer(x)
    stretch = at_one - at_zero
    assert at_zero.min() < -0.99 and at_zero.max() > 0.99 and abs(at_zero.mean()) < 0.05
    assert 0.499 < stretch.min() < 0.51 and 1.49 < stretch.max() < 1.501
    assert torch.equal(layer.eval()(x), x)


def a_small_task(n=900):
    """Ten pictures of 784 pixels under noise: images (n, 784), labels (n,)."""
    y = torch.arange(n) % 10
    return torch.rand(10, 784)[y] + 0.2 * torch.randn(n, 784), y


def test_a_step_is_gradient_descent_with_momentum():
    x, y = a_small_task(200)
    model = batch_norm.network("normalized", nn.ReLU, depth=2, width=12)
    by_hand = batch_norm.network("normalized", nn.ReLU, depth=2, width=12)
    by_hand.load_state_dict(model.state_dict())
    torch.manual_seed(5)
    batch_norm.train(model, [x, y, x, y], 0.3, 0.5, [1, 2])
    torch.manual_seed(5)
    velocity = [torch.zeros_like(weight) for weight in by_hand.parameters()]
    for rate in (0.2, 0.1):  # 2/3 and 1/3 of 0.3
        batch = torch.randint(200, (64,))
        gradients = torch.autograd.grad(
            F.cross_entropy(by_hand(x[batch]), y[batch]), list(by_hand.parameters())
        )
        velocity = [0.5 * v + gradient for v, gradient in zip(velocity, gradients)]
        for weight, v in zip(by_hand.parameters(), velocity):
            weight.data -= rate * v
    for ours, theirs in zip(model.parameters(), by_hand.parameters()):
        torch.testing.assert_close(ours, theirs)


def test_deep_sigmoid_net_learns_with_normalization_and_not_without():
    x, y = a_small_task()
    data, rights = [x[:700], y[:700], x[700:], y[700:]], {}
    for kind in ("plain", "normalized", "shifted"):
        model = batch_norm.network(kind, nn.Sigmoid, depth=8, width=32)
        rights[kind] = batch_norm.train(model, data, 0.1, 0.9, [150])[0]
        assert model.training is False  # it is looked at with running averages
    assert rights["plain"] < 20 and rights["normalized"] > 90 and rights["shifted"] > 60


def test_company_tells_running_averages_from_the_batchs_own():
    x, y = a_small_task(1000)
    model = batch_norm.network("normalized", nn.ReLU, depth=2, width=32)
    batch_norm.train(model, [x, y, x, y], 0.1, 0.9, [100])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    right = batch_norm.company(model, x, y)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    averages, own = right["running averages"], right["the batch's own"]
    assert torch.equal(averages[0], averages[1]) and averages.float().mean() > 0.95
    assert torch.equal(averages[0], model.eval()(x).argmax(dim=1) == y)
    assert own[0].float().mean() > 0.95 and own[1].float().mean() < 0.5
    one_kind = torch.cat(
        [
            model.train()(x[y == digit][k : k + 50]).argmax(dim=1) == digit
            for digit in range(10)
            for k in (0, 50)
        ]
    )
    assert own[1].sum() == one_kind.sum()
