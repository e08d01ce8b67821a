"""The layers, the training loop and the experiments of conv_net.py, against longer ways round."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.signal import correlate
from sklearn.preprocessing import StandardScaler
from torch import nn

import conv_net
from conv_net import Data, Normalize, build, cnn, mlp, parameters, permute_pixels, shift, train


def pictures(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(256, (count, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def labels(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(10, (count,), generator=torch.Generator().manual_seed(seed))


# Data


def test_normalization_uses_the_training_images_and_only_them():
    images, others = pictures(50) // 2 + torch.tensor([9, 40, 70], dtype=torch.uint8), pictures(7, seed=1)
    scaler = StandardScaler().fit(images.view(-1, 3).double())
    normalize = Normalize(images).double()
    done = normalize(images)
    assert done.shape == (50, 3, 32, 32)
    torch.testing.assert_close(done.mean((0, 2, 3)), torch.zeros(3).double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(done.std((0, 2, 3)), torch.ones(3).double(), atol=1e-4, rtol=0)
    expected = torch.tensor(scaler.transform(others.view(-1, 3).double())).view(7, 32, 32, 3)
    torch.testing.assert_close(normalize(others).permute(0, 2, 3, 1), expected, atol=1e-4, rtol=1e-4)


def test_permutation_moves_whole_pixels_alike_in_every_image():
    order = torch.randperm(1024, generator=torch.Generator().manual_seed(3))
    images = pictures(4)
    permuted = permute_pixels(images, order)
    for place in (0, 31, 32, 500, 1023):
        row, column = divmod(order[place].item(), 32)
        assert torch.equal(permuted[:, place // 32, place % 32], images[:, row, column])
    assert torch.equal(permute_pixels(permuted, order.argsort()), images)
    assert torch.equal(permute_pixels(images[2:3], order), permuted[2:3])


@pytest.mark.parametrize(("down", "right"), [(0, 0), (3, 0), (-3, 0), (0, 5), (0, -5), (8, -8), (-1, 2)])
def test_shift_moves_the_picture_and_mirrors_it_at_the_edge(down, right):
    images = pictures(3)
    around = np.pad(images.numpy(), [(0, 0), (8, 8), (8, 8), (0, 0)], mode="reflect")
    expected = around[:, 8 - down : 40 - down, 8 - right : 40 - right]
    assert np.array_equal(shift(images, down, right).numpy(), expected)
    middle = shift(images, down, right)[:, 8 + down : 24 + down, 8 + right : 24 + right]
    assert torch.equal(middle, images[:, 8:24, 8:24])


def test_stand_in_is_balanced_coloured_and_the_same_every_time():
    data, again = conv_net.recoloured_digits(600, 300), conv_net.recoloured_digits(600, 300)
    assert all(torch.equal(a, b) for a, b in zip(data[2:], again[2:]))
    assert data.images.shape == (600, 32, 32, 3) and data.images.dtype == torch.uint8
    assert data.test_images.shape == (300, 32, 32, 3) and data.test_labels.shape == (300,)
    assert data.labels.bincount(minlength=10).min() > 30
    assert data.images.float().flatten(1, 2).std(1).min() > 1  # no empty picture
    differing = (data.images[:100].float() - data.images[:100].float().mean(-1, keepdim=True)).abs()
    assert differing.mean() > 5  # not grey


# Model


@pytest.mark.parametrize(("stride", "padding", "k"), [(1, 0, 3), (1, 2, 5), (2, 2, 5), (3, 1, 2)])
def test_convolve_forward_and_backward(stride, padding, k):
    torch.manual_seed(0)
    ours = [torch.randn(2, 3, 9, 11).double().requires_grad_(), torch.randn(4, 3, k, k).double().requires_grad_()]
    theirs = [tensor.detach().clone().requires_grad_() for tensor in ours]
    out = conv_net.convolve(*ours, stride, padding)
    expected = F.conv2d(*theirs, stride=stride, padding=padding)
    torch.testing.assert_close(out, expected)
    weight = torch.randn_like(out)
    (out * weight).sum().backward()
    (expected * weight).sum().backward()
    for one, other in zip(ours, theirs):
        torch.testing.assert_close(one.grad, other.grad)


def test_numbered_matrix_is_the_first_layer():
    torch.manual_seed(0)
    layer, x = cnn(width=4)[0][0], torch.randn(2, 3, 32, 32)
    places = conv_net.numbered_matrix(4).long()  # 0 for no weight
    matrix = torch.cat([torch.zeros(1), layer.weight.detach().flatten()])[places]
    torch.testing.assert_close(x.flatten(1) @ matrix.T, layer(x).flatten(1), atol=1e-5, rtol=1e-4)


def randomized(model: nn.Module) -> nn.Module:
    """Everything that starts at 0 or 1 made random, so that leaving it out shows; float64, ready to be tested."""
    torch.manual_seed(0)
    for layer in model.modules():
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            layer.weight.data.uniform_(0.5, 2), layer.bias.data.normal_()
            layer.running_mean.normal_(), layer.running_var.uniform_(0.5, 2)
    return model.double().eval()


def batch_norm(layer: nn.Module, x: np.ndarray) -> np.ndarray:
    scale = layer.weight / (layer.running_var + layer.eps).sqrt()
    shape = (-1, *[1] * (x.ndim - 2))
    return x * scale.detach().numpy().reshape(shape) + (
        layer.bias - scale * layer.running_mean
    ).detach().numpy().reshape(shape)


def test_colours_stay_last_in_memory():
    """No number depends on it, only the time."""
    images, body = pictures(3), cnn(width=4)
    assert Normalize(images)(images).is_contiguous(memory_format=torch.channels_last)
    assert all(block[0].weight.is_contiguous(memory_format=torch.channels_last) for block in body[:5])


def test_cnn_against_scipy():
    model, x = randomized(cnn(width=2)), torch.randn(3, 3, 32, 32).double()
    z = x.numpy()
    for index, (stride, pool) in enumerate([(2, 1), (1, 2), (1, 2), (1, 2), (1, 1)]):
        block = model[index]
        filters = block[0].weight.detach().numpy()
        z = np.stack(
            [
                [sum(correlate(plane, f, mode="same") for plane, f in zip(image, bank)) for bank in filters]
                for image in z
            ]
        )[:, :, ::stride, ::stride]
        side = z.shape[-1] // pool
        z = z.reshape(*z.shape[:2], side, pool, side, pool).max((3, 5))
        norm = next(layer for layer in block if isinstance(layer, nn.BatchNorm2d))
        z = np.maximum(batch_norm(norm, z), 0)
        assert z.shape == (3, 2 * 2 ** min(index, 3), *[[16, 8, 4, 2, 2][index]] * 2)
    head = model[-1]
    expected = z.mean((2, 3)) @ head.weight.detach().numpy().T + head.bias.detach().numpy()
    torch.testing.assert_close(model(x).detach(), torch.tensor(expected))


def test_mlp_against_numpy():
    model, x = randomized(mlp(hidden=6)), torch.randn(5, 3, 32, 32).double()
    linears = [layer for layer in model if isinstance(layer, nn.Linear)]
    norms = [layer for layer in model if isinstance(layer, nn.BatchNorm1d)]
    assert [tuple(layer.weight.shape) for layer in linears] == [(6, 3072), (6, 6), (10, 6)]
    z = x.numpy().reshape(5, -1)
    for linear, norm in zip(linears, norms):
        z = np.maximum(batch_norm(norm, z @ linear.weight.detach().numpy().T), 0)
    expected = z @ linears[-1].weight.detach().numpy().T + linears[-1].bias.detach().numpy()
    torch.testing.assert_close(model(x).detach(), torch.tensor(expected))


@pytest.mark.parametrize("width", [4, 12, 16, 24])
def test_both_networks_have_as_many_parameters(width):
    counts = [parameters(build(network, Normalize(pictures(2)), width)) for network in ("CNN", "MLP")]
    assert abs(counts[0] / counts[1] - 1) < 0.1
    by_hand = 75 * width + 9 * width**2 * (2 + 8 + 32 + 64) + 2 * width * (1 + 2 + 4 + 8 + 8) + 80 * width + 10
    assert counts[0] == by_hand


def test_cnn_sees_the_same_wherever_it_is():
    """Away from the borders: maps move along with the picture, and their mean doesn't move at all."""
    model = randomized(cnn(width=3))
    x = torch.zeros(1, 3, 256, 256).double()
    x[..., 100:120, 100:120] = torch.randn(3, 20, 20).double()
    torch.testing.assert_close(model(x.roll((32, -16), (2, 3))), model(x))
    before, after = model[:3](x), model[:3](x.roll((8, -16), (2, 3)))  # three blocks halve the side three times
    torch.testing.assert_close(after[..., 5:-5, 5:-5], before.roll((1, -2), (2, 3))[..., 5:-5, 5:-5])
    assert not torch.allclose(model(x.roll(3, 2)), model(x), rtol=0, atol=1e-5)  # but not for every shift: pooling


# Training


def test_one_cycle_goes_up_and_down_in_straight_lines():
    for steps in (1, 7, 250):
        rates = [conv_net.one_cycle(step, steps) for step in range(steps)]
        expected = np.interp(np.arange(1, steps + 1) / (steps + 1), [0, 0.2, 1], [0, 1, 0])
        np.testing.assert_allclose(rates, expected)


def test_batches_show_every_image_before_any_comes_again():
    shown = conv_net.batches(1000, 20, torch.device("cpu"))
    assert shown.shape == (20, conv_net.BATCH)
    flat = shown.flatten()
    for start in (0, 1000):
        assert torch.equal(flat[start : start + 1000].sort().values, torch.arange(1000))
    assert not torch.equal(flat[:1000], flat[1000:2000]) and not torch.equal(flat[:1000], torch.arange(1000))


def test_mirror_exchanges_left_and_right_in_half_of_the_images():
    images = pictures(400)
    torch.manual_seed(0)
    mirrored = conv_net.mirror(images)
    same, other = ((mirrored == x).flatten(1).all(1) for x in (images, torch.tensor(images.numpy()[:, :, ::-1].copy())))
    assert (same ^ other).all() and 150 < other.sum() < 250


@pytest.mark.parametrize("mirrored", [False, True])
def test_train_mirrors_when_told_and_only_then(mirrored):
    class Watched(nn.Module):
        def __init__(self):
            super().__init__()
            self.bias, self.left = nn.Parameter(torch.zeros(10)), []

        def forward(self, images):
            assert self.training  # although it came from testing
            self.left.append((images[:, 0, 0, 0] > images[:, 0, -1, 0]).float().mean().item())
            return self.bias.expand(len(images), 10)

    images, model = torch.zeros(200, 32, 32, 3), Watched().eval()
    images[:, :, :16] = 1  # bright on the left
    train(model, images, labels(200), steps=20, rate=0.1, mirrored=mirrored)
    assert 0.4 < np.mean(model.left) < 0.6 if mirrored else model.left == [1.0] * 20


def test_train_against_nesterov_by_hand():
    torch.manual_seed(0)
    images, truth, steps, rate = torch.randn(200, 5).double(), labels(200), 6, 0.3
    model = nn.Linear(5, 10).double()
    weights = [weight.detach().clone() for weight in model.parameters()]
    torch.manual_seed(1)
    train(model, images, truth, steps, rate)

    torch.manual_seed(1)
    velocity = [torch.zeros_like(weight) for weight in weights]
    for step, batch in enumerate(conv_net.batches(200, steps, images.device)):
        x, y = images[batch], F.one_hot(truth[batch], 10)
        error = ((x @ weights[0].T + weights[1]).softmax(1) - (0.9 * y + 0.01)) / len(x)  # (B, 10)
        for i, gradient in enumerate((error.T @ x, error.sum(0))):
            gradient = gradient + 5e-4 * weights[i]
            velocity[i] = 0.9 * velocity[i] + gradient
            size = rate * np.interp((step + 1) / (steps + 1), [0, 0.2, 1], [0, 1, 0])
            weights[i] = weights[i] - size * (gradient + 0.9 * velocity[i])
    for weight, expected in zip(model.parameters(), weights):
        torch.testing.assert_close(weight.detach(), expected)


def test_mlp_with_its_weights_permuted_alike_trains_the_same():
    """Why the MLP doesn't notice: to every start belongs an equally likely one that learns the same, permuted."""
    images, truth, order = pictures(300), labels(300), torch.randperm(1024, generator=torch.Generator().manual_seed(5))
    torch.manual_seed(0)
    plain = build("MLP", Normalize(images), 8).double()
    permuted = build("MLP", Normalize(images), 8).double()
    permuted.load_state_dict(plain.state_dict())
    first = permuted[1][1].weight  # (hidden, 3072): a colour plane of 1,024 after the other
    first.data = first.data.view(-1, 3, 1024)[:, :, order].flatten(1)
    for model, x in ((plain, images), (permuted, permute_pixels(images, order))):
        torch.manual_seed(1)
        train(model, x, truth, steps=8, rate=0.1)
    logits, again = plain.eval()(images), permuted.eval()(permute_pixels(images, order))
    torch.testing.assert_close(logits, again)
    assert (plain(permute_pixels(images, order)) - logits).abs().max() > 0.01  # it isn't that pixels don't matter


@pytest.fixture(scope="module")
def toy() -> Data:
    """Ten classes: a bright square in one of ten colours, anywhere on noise."""
    generator = torch.Generator().manual_seed(0)
    parts = []
    for size in (1500, 500):
        images, truth = torch.randint(100, (size, 32, 32, 3), generator=generator), labels(size, size)
        colours = torch.tensor([[(c * 5 % 10) * 15, c * 15, (9 - c) * 15 if c % 2 else 0] for c in range(10)])
        for image, label in zip(images, truth):
            top, left = torch.randint(18, (2,), generator=generator).tolist()
            image[top : top + 14, left : left + 14] += colours[label]
        parts += [images.byte(), truth]
    return Data("toy", [str(c) for c in range(10)], *parts)


@pytest.mark.parametrize(("network", "at_least"), [("CNN", 80), ("MLP", 25)])
def test_training_beats_the_commonest_class(toy, network, at_least):
    torch.manual_seed(0)
    model = build(network, Normalize(toy.images), 6)
    train(model, toy.images, toy.labels, steps=100, rate=0.15)
    commonest = 100 * toy.test_labels.bincount().max() / len(toy.test_labels)
    assert commonest < 20
    assert conv_net.accuracy(model, toy.test_images, toy.test_labels) > at_least
    assert model(toy.test_images).argmax(1).unique().numel() == 10  # the answer depends on the picture


def test_accuracy_counts_and_leaves_the_model_in_testing():
    class Told(nn.Module):
        def forward(self, images):
            assert not self.training
            return F.one_hot(images[:, 0, 0, 0].long() % 10, 10)

    images = pictures(2300)
    truth = images[:, 0, 0, 0].long() % 10
    truth[:575] = (truth[:575] + 1) % 10
    assert conv_net.accuracy(Told(), images, truth) == pytest.approx(75)


# Experiments


def test_rates_are_chosen_on_the_tenth_kept_aside(monkeypatch):
    seen, scores = [], iter([10.0, 30.0, 20.0])
    monkeypatch.setattr(conv_net, "train", lambda model, x, y, steps, rate, title: seen.append((x, rate)))

    def accuracy(model, x, y):
        seen.append((x, None))
        return next(scores)

    monkeypatch.setattr(conv_net, "accuracy", accuracy)
    images = torch.arange(100, dtype=torch.uint8).view(100, 1, 1, 1).expand(100, 32, 32, 3)
    assert conv_net.choose_rate("MLP", 2, Normalize(pictures(2)), images, labels(100), 5, 0) == conv_net.RATES[1]
    trained, tested = ({x[0, 0, 0, 0].item() for part, _ in seen[k::2] for x in part[:, None]} for k in (0, 1))
    assert len(trained) == 90 and len(tested) == 10 and not trained & tested


def test_shifted_accuracy_is_the_mean_over_four_directions():
    class Corner(nn.Module):
        def forward(self, images):
            return F.one_hot((images[:, 16, 16, 0] > 0).long(), 10)

    images = torch.zeros(1, 32, 32, 3, dtype=torch.uint8)
    images[0, 16 - 4, 16] = images[0, 16, 16 + 4] = 255  # seen when shifted down, and left, by 4
    truth = torch.ones(1, dtype=torch.long)
    assert [conv_net.shifted_accuracy(Corner(), images, truth, by) for by in (0, 3, 4)] == [0, 0, 50]
