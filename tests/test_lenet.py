"""papers/lenet.py: the net, its counts and its loss against torch's own layers, the distortions against SciPy."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import affine_transform

from papers import lenet

TABLE = [[int(source) for source in row] for row in lenet.TABLE_I.split()]


@pytest.fixture
def net():
    torch.manual_seed(0)
    return lenet.LeNet5().double()


def reference(weights, x):
    """LeNet-5 from torch's plain layers: every map of C3 a convolution of its own, subsampling as a grouped one."""

    def f(a):
        return 1.7159 * torch.tanh(2 * a / 3)

    def subsample(name, x):
        coefficient, bias = weights[f"{name}.coefficient"], weights[f"{name}.bias"]
        return F.conv2d(
            x, coefficient[:, None].expand(-1, 1, 2, 2), bias.flatten(), stride=2, groups=len(bias)
        )

    c1 = f(F.conv2d(1.275 * x - 0.1, weights["C1.weight"], weights["C1.bias"]))
    s2 = f(subsample("S2", c1))
    kernels, maps = iter(weights["C3.weight"]), []
    for row, bias in zip(TABLE, weights["C3.bias"]):
        maps.append(
            F.conv2d(s2[:, row], torch.stack([next(kernels) for _ in row])[None], bias[None])
        )
    s4 = f(subsample("S4", f(torch.cat(maps, dim=1))))
    c5 = f(F.conv2d(s4, weights["C5.0.weight"], weights["C5.0.bias"])).flatten(1)
    f6 = f(F.linear(c5, weights["F6.weight"], weights["F6.bias"]))
    return f6


def test_forward_and_backward_against_torchs_layers(net):
    x, labels = torch.rand(4, 1, 32, 32).double(), torch.tensor([3, 7, 0, 3])
    weights = {
        name: weight.detach().clone().requires_grad_() for name, weight in net.named_parameters()
    }
    penalties = torch.cdist(reference(weights, x), net.bitmaps) ** 2
    torch.testing.assert_close(net(x), penalties)
    j = torch.full(
        (4, 1), 60.0, dtype=torch.float64
    )  # near the penalties of a fresh net, so that it counts
    F.cross_entropy(
        torch.cat([-penalties, -j], dim=1), labels
    ).backward()  # eq. 9 is -log of a softmax over 11
    lenet.map_loss(net(x), labels, 60.0).backward()
    for name, weight in net.named_parameters():
        torch.testing.assert_close(weight.grad, weights[name].grad)


def test_connections_are_the_jacobians_non_zeros_and_the_biases(net):
    published = [
        (156, 122_304),
        (12, 5_880),
        (1_516, 151_600),
        (32, 2_000),
        (48_120, 48_120),
        (10_164, 10_164),
    ]
    assert lenet.count() == [*published, (0, 840)]
    assert tuple(map(sum, zip(*lenet.count()))) == (60_000, 340_908)
    x = torch.rand(1, 1, 32, 32).double() + 0.5
    for layer, (parameters, connections) in zip(net.children(), published, strict=True):
        jacobian = torch.autograd.functional.jacobian(
            layer, x, vectorize=True, strategy="forward-mode"
        )
        assert sum(p.numel() for p in layer.parameters()) == parameters
        assert (jacobian != 0).sum().item() + layer(x).numel() == connections
        x = torch.rand_like(layer(x)) + 0.5


def test_table_1():
    assert [len(row) for row in TABLE] == [3] * 6 + [4] * 9 + [6]
    assert len({tuple(row) for row in TABLE}) == 16 and all(
        row == sorted(set(row)) for row in TABLE
    )
    assert [sum(source in row for row in TABLE) for source in range(6)] == [10] * 6

    def contiguous(row):  # around the circle of six
        return any(set(row) == {(first + k) % 6 for k in range(len(row))} for first in range(6))

    assert [contiguous(row) for row in TABLE] == [True] * 12 + [False] * 3 + [True]


def test_start_is_uniform_between_2_4_over_fan_in():
    nets = [lenet.LeNet5() for _ in range(20)]
    for name, fan in {"C1": 25, "S2": 4, "S4": 4, "C5": 400, "F6": 120}.items():
        for values in zip(*(getattr(net, name).parameters() for net in nets)):
            values = torch.stack([value.detach() for value in values]) * fan / 2.4
            assert (
                0.9 < values.max() <= 1.0001
                and -1.0001 <= values.min() < -0.9
                and values.mean().abs() < 0.3
            )


def test_bitmaps_are_ten_pictures(net):
    pictures = net.bitmaps.float()
    assert pictures.shape == (10, 84) and set(pictures.unique().tolist()) == {-1.0, 1.0}
    assert (
        torch.cdist(pictures, pictures) ** 2 + 1000 * torch.eye(10)
    ).min() >= 4 * 4  # 4 for each other pixel
    assert pictures[7].view(12, 7)[0].min() == 1 and pictures[7].view(12, 7)[4:, :2].max() == -1
    assert pictures[4].view(12, 7)[7:9].min() == 1


def test_the_rival_and_cross_entropy():
    torch.manual_seed(0)
    rival, x, labels = (
        lenet.HiddenUnits(20).double(),
        torch.rand(4, 1, 32, 32).double(),
        torch.tensor([1, 2, 3, 9]),
    )
    hidden = 1.7159 * torch.tanh(
        2 / 3 * F.linear(1.275 * x[:, 0, 2:30, 2:30].flatten(1) - 0.1, *rival.hidden.parameters())
    )
    logits = F.linear(hidden, *rival.output.parameters())
    torch.testing.assert_close(rival(x), -logits)
    torch.testing.assert_close(
        lenet.map_loss(rival(x), labels, math.inf), F.cross_entropy(logits, labels)
    )
    assert lenet.HiddenUnits().hidden.weight.shape == (300, 784) and rival.rubbish == math.inf


def test_warp_against_scipy():
    torch.manual_seed(0)
    images, degrees, shift = (
        torch.rand(3, 1, 16, 16).double(),
        60 * torch.randn(3).double(),
        2 * torch.randn(3, 2).double(),
    )
    ours = lenet.warp(images, degrees, shift)
    for k, angle in enumerate(degrees.deg2rad().tolist()):
        forward = np.array(
            [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
        )  # rows first, then columns
        middle = np.array([7.5, 7.5])
        offset = middle - forward.T @ (middle + shift[k].flip(0).numpy())
        theirs = affine_transform(
            images[k, 0].numpy(), forward.T, offset, order=1, mode="grid-constant"
        )
        np.testing.assert_allclose(ours[k, 0], theirs, atol=1e-9)


def test_distortions_are_as_large_as_they_say():
    torch.manual_seed(0)
    dot, bar = torch.zeros(2000, 1, 32, 32), torch.zeros(500, 1, 32, 32)
    dot[:, 0, 15:17, 15:17], bar[:, 0, 15:17, 6:26] = 1, 1  # the bar lies along the rows
    places = torch.arange(32.0) - 15.5
    moved = lenet.distort(dot, pixels=3)[:, 0]
    middle = torch.stack([(moved.sum(1) * places).sum(1), (moved.sum(2) * places).sum(1)], 1) / 4
    assert (
        middle.abs().max() < 3.001
        and (middle.amax(0) > 2.9).all()
        and (middle.amin(0) < -2.9).all()
    )
    turned = lenet.distort(bar, degrees=30)[:, 0]
    xx, yy = (turned * places**2).sum((1, 2)), (turned * places[:, None] ** 2).sum((1, 2))
    xy = (turned * places * places[:, None]).sum((1, 2))
    angles = torch.rad2deg(torch.atan2(2 * xy, xx - yy) / 2)
    assert angles.abs().max() < 31 and angles.max() > 28 and angles.min() < -28
    noisy = lenet.distort(bar, share=0.1)
    assert ((noisy.round() != bar).float().mean() - 0.1).abs() < 0.005
    spoilt = lenet.spoil(torch.zeros(40, 1, 32, 32))
    assert (spoilt[:20].mean() - 0.1).abs() < 0.01 and spoilt[20:].sum() == 0


def toy():
    """The label is the tenth of the middle's columns that is bright."""
    torch.manual_seed(1)
    y = torch.randint(10, (600,))
    x = 0.25 * torch.rand(600, 1, 32, 32)
    for image, label in zip(x, y):
        image[0, 6:26, 6 + 2 * label : 8 + 2 * label] += 0.7
    return x, y


@pytest.mark.parametrize("kind", [lenet.LeNet5, lenet.HiddenUnits])
def test_training_learns(kind):
    x, y = toy()
    net = kind()
    lenet.train(net, x[:400], y[:400], 100, lambda images: images)
    assert lenet.error(net, x[400:], y[400:]) < 20  # always the same class: about 90
    right = (net(x[400:]).argmin(dim=1) == y[400:]).float().mean().item()
    assert lenet.error(net, x[400:], y[400:]) == pytest.approx(100 - 100 * right)
