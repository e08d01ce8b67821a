"""The normalization of papers/batch_norm.py against torch's BatchNorm1d and BatchNorm2d and finite differences."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from papers import batch_norm

SHAPES = [(7, 5), (2, 3), (4, 5, 6, 3), (1, 3, 4, 2)]  # the last: one image, whose places are enough


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def random(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def pair(units, **options):
    """Ours and torch's, in float64, with the same random gamma and beta."""
    ours, torchs = batch_norm.BatchNorm(units, **options).double(), nn.BatchNorm2d(units, **options).double()
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


def test_torchs_own_layers_say_the_same_unpatched():
    x, image = random(9, 4), random(3, 4, 5, 2)
    ours = batch_norm.BatchNorm(4).double()
    torch.testing.assert_close(ours(x), nn.BatchNorm1d(4).double()(x))
    torch.testing.assert_close(ours(image), nn.BatchNorm2d(4).double()(image))


def test_gradient_equals_finite_differences():
    x, gamma, beta = (random(*shape).requires_grad_() for shape in ((6, 3), (3,), (3,)))
    assert torch.autograd.gradcheck(lambda *of: batch_norm.Normalize.apply(*of, 0.1)[0], (x, gamma, beta))


def test_gradient_equals_finite_differences_for_images():
    layer, image = batch_norm.BatchNorm(3).double(), random(2, 3, 3, 2).requires_grad_()
    assert torch.autograd.gradcheck(layer, (image,))


def test_output_has_mean_beta_and_deviation_gamma_for_each_channel():
    layer = batch_norm.BatchNorm(3, eps=0.0).double()
    layer.gamma.data, layer.beta.data = torch.tensor([[1.0, 2, 3], [-1, 0, 5]], dtype=torch.float64)
    y = layer(7 + 4 * random(5, 3, 4, 4))
    torch.testing.assert_close(y.mean((0, 2, 3)), layer.beta.data)
    torch.testing.assert_close(y.var((0, 2, 3), unbiased=False).sqrt(), layer.gamma.data)


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1, 1)])
def test_batch_of_one_is_refused_in_training_as_by_torch_and_served_in_evaluation(shape):
    ours, torchs = pair(3)
    with pytest.raises(ValueError, match="one has no variance"):
        ours(random(*shape))
    with pytest.raises(ValueError):
        torchs(random(*shape))
    assert torch.equal(ours.running_var, torch.ones(3).double())
    batch = 2 + random(10, 3)
    ours(batch), torchs(batch)
    ours.eval(), torchs.eval()
    torch.testing.assert_close(ours(batch[:1]), torchs(batch[:1]))
    torch.testing.assert_close(ours(batch[:1]), ours(batch)[:1])  # an example's output is its own affair


@pytest.mark.parametrize("activation", ["sigmoid", "ReLU"])
def test_networks_start_alike_and_the_normalized_one_is_torchs(activation):
    plain, ours = (batch_norm.network(9, 8, activation, arm, seed=3) for arm in batch_norm.ARMS)
    lines = [[layer for layer in model if isinstance(layer, nn.Linear)] for model in (plain, ours)]
    assert len(lines[0]) == len(lines[1]) == 4 and lines[1][-1].bias is not None
    for one, other in zip(*lines):
        assert torch.equal(one.weight, other.weight)
        assert one.bias is None or (one.bias == 0).all()
    assert all(line.bias is not None for line in lines[0]) and all(line.bias is None for line in lines[1][:-1])
    other_seed = batch_norm.network(9, 8, activation, "plain", seed=4)
    assert not torch.equal(other_seed[0].weight, plain[0].weight)

    x, nonlinearity = torch.rand(6, 9), {"sigmoid": torch.sigmoid, "ReLU": torch.relu}[activation]
    h, h_plain = x, x
    for line in lines[1][:-1]:
        h = nonlinearity(F.batch_norm(h @ line.weight.T, None, None, training=True))
        h_plain = nonlinearity(h_plain @ line.weight.T)
    torch.testing.assert_close(ours(x), lines[1][-1](h))
    torch.testing.assert_close(plain(x), lines[0][-1](h_plain))


def test_the_start_is_a_small_gaussian():
    weight = batch_norm.network(400, 100, "sigmoid", "normalized", seed=0)[0].weight
    assert abs(weight.mean()) < 5 * batch_norm.START / 200 and abs(weight.std() / batch_norm.START - 1) < 0.02
    assert 2.8 < ((weight / batch_norm.START) ** 4).mean() < 3.2  # a Gaussian's kurtosis


def a_small_task(n=900):
    """Ten pictures of 64 pixels under noise: images (n, 64), labels (n,)."""
    y = torch.arange(n) % 10
    return torch.rand(10, 64)[y] + 0.2 * torch.randn(n, 64), y


def test_one_step_is_gradient_descent_on_the_seeds_first_batch():
    x, y = a_small_task(300)
    model, by_hand = (batch_norm.network(64, 12, "sigmoid", "normalized", 0) for _ in range(2))
    batch_norm.train(model, x, y, rate=0.5, steps=1, seed=5)
    batch = torch.randint(300, (1, 60), generator=torch.Generator().manual_seed(5))[0]
    F.cross_entropy(by_hand(x[batch]), y[batch]).backward()
    for ours, theirs in zip(model.parameters(), by_hand.parameters()):
        torch.testing.assert_close(ours, theirs - 0.5 * theirs.grad)


def test_two_steps_do_not_add_up_gradients():
    x, y = a_small_task(300)
    model, by_hand = (batch_norm.network(64, 12, "ReLU", "plain", 0) for _ in range(2))
    batch_norm.train(model, x, y, rate=0.5, steps=2, seed=5)
    for batch in torch.randint(300, (2, 60), generator=torch.Generator().manual_seed(5)):
        grads = torch.autograd.grad(F.cross_entropy(by_hand(x[batch]), y[batch]), list(by_hand.parameters()))
        for weight, grad in zip(by_hand.parameters(), grads):
            weight.data -= 0.5 * grad
    for ours, theirs in zip(model.parameters(), by_hand.parameters()):
        torch.testing.assert_close(ours, theirs)


def test_training_watches_after_the_named_steps_and_goes_back_to_training_mode():
    x, y = a_small_task(200)
    model, modes = batch_norm.network(64, 12, "sigmoid", "normalized", 0), []
    model.register_forward_hook(lambda module, *_: modes.append(module.training))
    seen = batch_norm.train(model, x, y, 0.1, 5, 0, lambda: batch_norm.accuracy(model, x, y), [2, 5])
    assert modes == [True, True, False, True, True, True, False] and len(seen) == 2
    assert seen[-1] == batch_norm.accuracy(model, x, y)


@pytest.mark.parametrize("arm", batch_norm.ARMS)
def test_training_learns(arm):
    x, y = a_small_task()
    model, majority = batch_norm.network(64, 32, "ReLU", arm, 0), 10.0
    assert batch_norm.accuracy(model, x[700:], y[700:]) < 3 * majority
    batch_norm.train(model, x[:700], y[:700], 0.1, 300, 0)
    assert batch_norm.accuracy(model, x[700:], y[700:]) > 8 * majority
    said = model.eval()(x).argmax(1)
    assert not torch.equal(said, model(x.flip(1)).argmax(1)) and len(said.unique()) == 10


def test_the_normalized_net_gets_off_the_ground_where_the_plain_one_does_not():
    x, y = a_small_task()
    data = [x[:600], y[:600], x[600:750], y[600:750], x[750:], y[750:]]
    plain, normalized = (
        batch_norm.tried_rates(data, 32, "sigmoid", arm, [0.3], 150, [0, 1]) for arm in batch_norm.ARMS
    )
    assert plain.shape == (1, 2) and plain.max() < 40 and normalized.min() > 80


def test_accuracy_counts_in_evaluation_mode():
    model, x = batch_norm.network(64, 16, "sigmoid", "normalized", 0), torch.rand(40, 64)
    said = model.eval()(x).argmax(1)
    said[:10] = (said[:10] + 1) % 10
    assert batch_norm.accuracy(model.train(), x, said) == pytest.approx(75)
    assert not model.training


@pytest.mark.parametrize("arm", batch_norm.ARMS)
def test_percentiles_are_of_what_the_last_sigmoid_is_given(arm):
    x, y = a_small_task(200)
    model, given = batch_norm.network(64, 12, "sigmoid", arm, 0), []
    batch_norm.train(model, x, y, 0.1, 3, 0)
    model[-2].register_forward_hook(lambda module, inputs, output: given.append(inputs[0]))
    seen = batch_norm.percentiles(model, x)
    model.eval()(x)
    assert seen.shape == (3, 12) and not seen.requires_grad
    for row, share in zip(seen, (0.15, 0.5, 0.85)):
        assert ((given[-1] < row).float().mean(0) - share).abs().max() < 0.006


def test_tried_rates_and_figure_1_are_trainings_of_the_seed():
    x, y = a_small_task(400)
    wrong = (y[300:] + (torch.arange(100) < 70)) % 10  # so that validation and test accuracy can't be the same
    data = [x[:200], y[:200], x[200:300], y[200:300], x[300:], wrong]
    table = batch_norm.tried_rates(data, 12, "ReLU", "normalized", [0.1, 0.5], 20, [3, 4])
    rights, seen = batch_norm.figure_1(data, 12, "normalized", 0.5, [5, 80], 4)
    model = batch_norm.network(64, 12, "ReLU", "normalized", 4)
    batch_norm.train(model, *data[:2], 0.5, 20, 4)
    assert table.shape == (2, 2) and table[1, 1].item() == pytest.approx(batch_norm.accuracy(model, *data[2:4]))
    model = batch_norm.network(64, 12, "sigmoid", "normalized", 4)
    batch_norm.train(model, *data[:2], 0.5, 80, 4)
    assert seen.shape == (2, 3, 12) and rights[-1].item() == pytest.approx(batch_norm.accuracy(model, *data[4:]))
    torch.testing.assert_close(seen[-1], batch_norm.percentiles(model, data[2]))


def test_wander_is_the_medians_range_over_the_mean_width():
    median = torch.tensor([[0.0, 1.0], [3.0, 1.0], [-1.0, 1.5]])  # (moments, units)
    width = torch.tensor([[2.0, 1.0], [4.0, 1.0], [6.0, 1.0]])
    seen = torch.stack([median - 0.3 * width, median, median + 0.7 * width], 1)
    torch.testing.assert_close(batch_norm.wander(seen), torch.tensor([1.0, 0.5]))


def test_first_step_and_largest_rate():
    rights, moments = torch.tensor([10.0, 50.0, 40.0, 60.0]), [1, 4, 9, 16]
    assert [batch_norm.first_step(rights, moments, t) for t in (5, 50, 51, 99)] == [1, 4, 16, 16]
    table = torch.tensor([[90.0, 95.0], [85.0, 81.0], [99.0, 79.0], [10.0, math.nan]])
    assert batch_norm.largest_rate([0.1, 1.0, 10.0, 100.0], table) == 1.0
    assert batch_norm.largest_rate([0.1], torch.tensor([[10.0, 90.0]])) == 0.0


@pytest.mark.parametrize("convolution", [False, True])
def test_scaled_weights(convolution):
    y, grad_w, grad_u = batch_norm.scaled_weights(1.0, 0.0, convolution, 0)
    z, grad_aw, grad_u_of_aw = batch_norm.scaled_weights(5.0, 0.0, convolution, 0)
    torch.testing.assert_close(y, z)
    torch.testing.assert_close(grad_w, 5 * grad_aw)
    torch.testing.assert_close(grad_u, grad_u_of_aw)
    torch.testing.assert_close((y**2).mean(), torch.ones(()).double())
    assert batch_norm.scaling_error(5.0, 0.0, convolution, 0) < 1e-12
    small, large = (batch_norm.scaling_error(a, 1e-2, convolution, 0) for a in (0.1, 10.0))
    assert small > 10 * large > 0  # a small aW feels epsilon


def test_bias_grows_by_a_law_when_the_mean_is_ignored_and_stays_when_it_is_not():
    b, loss, expected = batch_norm.learn_a_bias(True, 50, seed=1, rate=0.2)
    assert len(b) == len(loss) == 51 and b[0] == 0 and expected > 0.2 * 50 * 0.8
    torch.testing.assert_close(b, torch.linspace(0, expected, 51, dtype=torch.float64))
    torch.testing.assert_close(loss, loss[:1].expand(51))
    still, same_loss, _ = batch_norm.learn_a_bias(False, 50, seed=1, rate=0.2)
    assert still.abs().max() < 1e-12
    torch.testing.assert_close(same_loss, loss)


def test_spread():
    assert batch_norm.spread([1.0, 2.0, 6.0], 1) == "3.0 (1.0 to 6.0)"
