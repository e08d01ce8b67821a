"""The layers, the training loop and the experiments of conv_net.py, against longer ways round."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.signal import correlate
from torch import nn

import conv_net
from conv_net import build, cnn, mlp, parameters, prepare, shift, train

IN_ORDER = torch.arange(1024)
PERMUTED = torch.randperm(1024, generator=torch.Generator().manual_seed(5))


def pictures(count: int) -> torch.Tensor:
    return torch.randint(
        256, (count, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def labels(count: int) -> torch.Tensor:
    return torch.randint(10, (count,), generator=torch.Generator().manual_seed(0))


def test_permutation_moves_whole_pixels_alike_in_every_image():
    images = pictures(4)
    torch.testing.assert_close(prepare(images, IN_ORDER), images / 127.5 - 1)
    permuted = prepare(images, PERMUTED)
    for place in (0, 31, 32, 500, 1023):
        row, column = divmod(PERMUTED[place].item(), 32)
        torch.testing.assert_close(
            permuted[:, :, place // 32, place % 32], images[:, :, row, column] / 127.5 - 1
        )


@pytest.mark.parametrize(
    ("down", "right"), [(0, 0), (3, 0), (-3, 0), (0, 5), (0, -5), (8, -8), (-1, 2)]
)
def test_shift_moves_the_picture_and_mirrors_it_at_the_edge(down, right):
    images = pictures(3)
    around = np.pad(images.numpy(), [(0, 0), (0, 0), (8, 8), (8, 8)], mode="reflect")
    expected = around[..., 8 - down : 40 - down, 8 - right : 40 - right]
    assert np.array_equal(shift(images, down, right).numpy(), expected)


def test_mirror_exchanges_left_and_right_in_half_of_the_images():
    images = pictures(400)
    torch.manual_seed(0)
    mirrored = conv_net.mirror(images)
    same, other = (
        (mirrored == x).flatten(1).all(1)
        for x in (images, torch.tensor(images.numpy()[..., ::-1].copy()))
    )
    assert (same ^ other).all() and 150 < other.sum() < 250


@pytest.mark.parametrize(("stride", "padding", "k"), [(1, 0, 3), (1, 2, 5), (2, 2, 5), (3, 1, 2)])
def test_convolve_forward_and_backward(stride, padding, k):
    torch.manual_seed(0)
    ours = [
        torch.randn(2, 3, 9, 11).double().requires_grad_(),
        torch.randn(4, 3, k, k).double().requires_grad_(),
    ]
    theirs = [tensor.detach().clone().requires_grad_() for tensor in ours]
    out, expected = (
        conv_net.convolve(*ours, stride, padding),
        F.conv2d(*theirs, stride=stride, padding=padding),
    )
    torch.testing.assert_close(out, expected)
    weight = torch.randn_like(out)
    (out * weight).sum().backward()
    (expected * weight).sum().backward()
    for one, other in zip(ours, theirs):
        torch.testing.assert_close(one.grad, other.grad)


def test_the_first_layer_as_a_matrix_and_its_counts():
    torch.manual_seed(0)
    layer, x = cnn(width=16)[0][0].double(), torch.randn(2, 3, 32, 32).double()
    matrix = conv_net.as_matrix(layer.weight.detach(), stride=2, padding=2)
    torch.testing.assert_close(x.flatten(1) @ matrix.T, layer(x).flatten(1).detach())
    used = matrix != 0
    assert (
        matrix.shape == (4096, 3072) and 0.0225 < used.double().mean() < 0.0235
    )  # as the docstring says
    assert len(matrix[used].unique()) == 1200


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
    offset = layer.bias - scale * layer.running_mean
    shape = (-1, *[1] * (x.ndim - 2))
    return x * scale.detach().numpy().reshape(shape) + offset.detach().numpy().reshape(shape)


def test_cnn_against_scipy():
    model, x = randomized(cnn(width=2)), torch.randn(3, 3, 32, 32).double()
    z = x.numpy()
    for index, (stride, pool) in enumerate([(2, 1), (1, 2), (1, 2), (1, 2), (1, 1)]):
        block = model[index]
        filters = block[0].weight.detach().numpy()
        maps = [
            [sum(correlate(c, f, mode="same") for c, f in zip(image, bank)) for bank in filters]
            for image in z
        ]
        z = np.stack(maps)[:, :, ::stride, ::stride]
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


@pytest.mark.parametrize("width", [8, 16, 24])
def test_both_networks_have_as_many_parameters(width):
    counts = [parameters(build(network, width)) for network in ("CNN", "MLP")]
    assert abs(counts[0] / counts[1] - 1) < 0.02
    assert (
        counts[0]
        == 75 * width
        + 9 * width**2 * (2 + 8 + 32 + 64)
        + 2 * width * (1 + 2 + 4 + 8 + 8)
        + 80 * width
        + 10
    )


def test_mlp_with_its_weights_permuted_alike_trains_the_same(monkeypatch):
    """Why the MLP doesn't notice: to every start belongs an equally likely one that learns the same, permuted."""
    images, truth = pictures(300), labels(300)
    torch.manual_seed(0)
    plain, permuted = build("MLP", 8).double(), build("MLP", 8).double()
    permuted.load_state_dict(plain.state_dict())
    first = permuted[1].weight  # (hidden, 3072): a colour plane of 1,024 after the other
    first.data = first.data.view(-1, 3, 1024)[:, :, PERMUTED].flatten(1)
    in_single = prepare
    monkeypatch.setattr(
        conv_net, "prepare", lambda images, order: in_single(images, order).double()
    )
    for model, order in ((plain, IN_ORDER), (permuted, PERMUTED)):
        torch.manual_seed(1)
        train(model, (images, truth), order, steps=8, rate=0.1, mirrored=True)
    plain.eval(), permuted.eval()
    seen, moved = (conv_net.prepare(images, order) for order in (IN_ORDER, PERMUTED))
    torch.testing.assert_close(plain(seen), permuted(moved))
    assert (plain(moved) - plain(seen)).abs().max() > 0.01  # it isn't that pixels don't matter


def test_triangle_goes_up_and_down_in_straight_lines():
    for steps in (1, 7, 250):
        rates = [conv_net.triangle(step, steps) for step in range(steps)]
        expected = np.interp(np.arange(1, steps + 1) / (steps + 1), [0, 0.2, 1], [0, 1, 0])
        np.testing.assert_allclose(rates, expected)


@pytest.mark.parametrize(("network", "at_least"), [("CNN", 80), ("MLP", 25)])
def test_training_beats_the_commonest_class(network, at_least):
    """Ten classes: a bright square in one of ten colours, anywhere on noise."""
    generator = torch.Generator().manual_seed(0)
    images, truth = torch.randint(100, (2000, 3, 32, 32), generator=generator), labels(2000)
    colours = torch.tensor(
        [[(c * 5 % 10) * 15, c * 15, (9 - c) * 15 if c % 2 else 0] for c in range(10)]
    )
    for image, label in zip(images, truth):
        top, left = torch.randint(18, (2,), generator=generator).tolist()
        image[:, top : top + 14, left : left + 14] += colours[label][:, None, None]
    images = images.byte()
    torch.manual_seed(0)
    model = build(network, 6)
    train(model, (images[:1500], truth[:1500]), IN_ORDER, steps=100, rate=0.15, mirrored=True)
    assert truth[1500:].bincount().max() < 100  # of 500
    assert conv_net.accuracy(model, images[1500:], truth[1500:], IN_ORDER) > at_least


def test_shifted_accuracy_is_the_mean_over_four_directions():
    class Middle(nn.Module):
        def forward(self, x):
            assert not self.training
            return F.one_hot((x[:, 0, 16, 16] > 0).long(), 10)

    images = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    images[0, :, 16 - 4, 16] = images[0, :, 16, 16 + 4] = (
        255  # seen when shifted down, and left, by 4
    )
    truth = torch.ones(1, dtype=torch.long)
    assert [
        conv_net.shifted_accuracy(Middle(), images, truth, IN_ORDER, by) for by in (0, 3, 4)
    ] == [0, 0, 50]


@pytest.mark.parametrize(
    ("dataset", "mirrored"), [("CIFAR-10", True), ("digits (stand-in for CIFAR-10)", False)]
)
def test_only_photographs_are_mirrored(dataset, mirrored, tmp_path, monkeypatch):
    told = []
    data = pictures(60), labels(60), pictures(60), labels(60)
    monkeypatch.setattr(conv_net, "train", lambda *arguments: told.append(arguments[-1]))
    monkeypatch.setattr(conv_net, "load_cifar10", lambda root: (dataset, *data))
    conv_net.main(["--smoke", "--out", str(tmp_path)])
    assert told == [mirrored] * 4
