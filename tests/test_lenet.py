"""papers/lenet.py: layers, counts, loss, the other methods and the distortions, each against another implementation."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import affine_transform
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from papers import lenet


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


@pytest.fixture
def net():
    return lenet.LeNet5(generator()).double()


@pytest.fixture
def toy():
    """Images (n, 1, 32, 32) in 0 to 255; the label is the tenth of the middle's columns that is bright."""
    y = torch.randint(10, (600,), generator=generator(1))
    x = torch.randint(60, (600, 1, 32, 32), generator=generator(2))
    for image, label in zip(x, y):
        image[0, 6:26, 6 + 2 * label : 8 + 2 * label] += 190
    return x.byte(), y


def test_table_1():
    assert [len(row) for row in lenet.TABLE_I] == [3] * 6 + [4] * 9 + [6]
    rows = [tuple(row) for row in lenet.TABLE_I]
    assert len(set(rows)) == 16 and all(row == tuple(sorted(set(row))) and set(row) <= set(range(6)) for row in rows)

    def contiguous(row):  # around the circle of six
        return any(set(row) == {(first + k) % 6 for k in range(len(row))} for first in range(6))

    assert [contiguous(row) for row in rows] == [True] * 12 + [False] * 3 + [True]
    reads = [sum(source in row for row in rows) for source in range(6)]
    assert reads == [10] * 6  # a column each: 60 kernels in all


def test_parameters_and_shapes(net):
    published = {"C1": 156, "S2": 12, "C3": 1516, "S4": 32, "C5": 48120, "F6": 10164}
    for layer, number in published.items():
        assert net.weights[layer].numel() + net.biases[layer].numel() == number
    assert sum(p.numel() for p in net.parameters()) == 60_000
    shapes = [tuple(state.shape[1:]) for state in net.states(torch.zeros(2, 1, 32, 32).double()).values()]
    assert shapes == [(6, 28, 28), (6, 14, 14), (16, 10, 10), (16, 5, 5), (120,), (84,), (10,)]
    assert lenet.PUBLISHED == lenet.counts(lenet.LeNet5(generator()))


def test_connections_are_the_jacobians_non_zeros_and_the_biases(net):
    x, total = torch.rand(1, 1, 32, 32, generator=generator()).double() + 0.5, 0
    published = {"C1": 122_304, "S2": 5_880, "C3": 151_600, "S4": 2_000, "C5": 48_120, "F6": 10_164, "output": 840}
    for layer, number in published.items():
        jacobian = torch.autograd.functional.jacobian(
            lambda below, layer=layer: net.sums(layer, below), x, vectorize=True, strategy="forward-mode"
        )
        units = net.sums(layer, x).numel()
        counted = (jacobian != 0).sum().item() + (0 if layer == "output" else units)
        assert counted == number
        total += counted
        x = torch.rand(net.sums(layer, x).shape, generator=generator()).double() + 2.0  # no x is in a picture
    assert total == 340_908


def test_every_layer_against_torchs_modules(net):
    x = randn(3, 1, 32, 32)
    states, below = net.states(x), x
    for layer in lenet.LAYERS:
        w, b = net.weights[layer].detach(), net.biases[layer].detach()
        if layer[0] == "S":
            module = nn.Conv2d(len(w), len(w), 2, 2, groups=len(w)).double()
            module.weight.data, module.bias.data = w[:, None, None, None].expand(-1, 1, 2, 2).clone(), b
            sums = module(below)
        elif layer == "C1":
            module = nn.Conv2d(1, 6, 5).double()
            module.weight.data, module.bias.data = w, b
            sums = module(below)
        elif layer == "C3":  # one convolution for each of its maps, on the maps it reads
            kernels, maps = iter(w), []
            for target, row in enumerate(lenet.TABLE_I):
                kernel = torch.stack([next(kernels) for _ in row])
                maps.append(F.conv2d(below[:, row], kernel[None], b[target : target + 1]))
            sums = torch.cat(maps, 1)
        else:
            sums = below.flatten(1) @ w.flatten(1).T + b
        torch.testing.assert_close(net.sums(layer, below).detach(), sums.detach())
        torch.testing.assert_close(states[layer], 1.7159 * torch.tanh(2 / 3 * net.sums(layer, below)))
        below = states[layer].detach()
    distances = torch.cdist(below, net.bitmaps) ** 2
    torch.testing.assert_close(net(x).detach(), distances)
    torch.testing.assert_close(states["output"].detach(), distances)


def test_gradients_against_finite_differences(net):
    x, labels = randn(2, 1, 32, 32), torch.tensor([3, 7])
    names, weights = zip(*net.named_parameters())
    gradients = torch.autograd.grad(lenet.map_loss(net(x), labels, 50.0), weights)
    for name, weight, gradient in zip(names, weights, gradients):
        direction = torch.randn(weight.shape, generator=generator(3), dtype=torch.float64)
        ends = []
        for step in (1e-6, -1e-6):
            moved = {name: weight + step * direction}
            ends.append(lenet.map_loss(torch.func.functional_call(net, moved, (x,)), labels, 50.0).item())
        assert (ends[0] - ends[1]) / 2e-6 == pytest.approx((gradient * direction).sum().item(), rel=1e-4, abs=1e-7)


def test_squash_and_pixels():
    assert lenet.squash(torch.tensor([1.0, -1.0, 0.0])).tolist() == pytest.approx([1, -1, 0], abs=1e-4)
    assert lenet.squash(torch.tensor(100.0)).item() == pytest.approx(1.7159)
    assert lenet.pixels(torch.tensor([0, 255]).byte()).tolist() == pytest.approx([-0.1, 1.175])


def test_start_is_uniform_between_2_4_over_fan_in():
    fan_in = {"C1": 25, "S2": 4, "S4": 4, "C5": 400, "F6": 120}
    nets = [lenet.LeNet5(generator(seed)) for seed in range(20)]
    for layer, fan in fan_in.items():
        for kind in ("weights", "biases"):
            values = torch.stack([getattr(net, kind)[layer].detach() for net in nets])
            assert 0.9 * 2.4 / fan < values.max() <= 2.4 / fan and -2.4 / fan <= values.min() < -0.9 * 2.4 / fan
            assert abs(values.mean()) < 0.5 * 2.4 / fan
    kernels = iter(torch.stack([net.weights["C3"].detach() for net in nets], 1))
    for target, row in enumerate(lenet.TABLE_I):
        bound = 2.4 / (25 * len(row))
        for _ in row:
            assert 0.98 * bound < next(kernels).abs().max() <= bound
        assert 0.6 * bound < max(abs(net.biases["C3"][target].item()) for net in nets) <= bound
    assert not torch.equal(nets[0].weights["C1"], nets[1].weights["C1"])
    two = lenet.TwoLayers(generator())
    for weight, fan in ((two.w1, 784), (two.b1, 784), (two.w2, 300), (two.b2, 300)):
        assert 0.5 * 2.4 / fan < weight.abs().max() <= 2.4 / fan


def test_bitmaps_are_ten_pictures():
    pictures = lenet.bitmaps()
    assert pictures.shape == (10, 84) and set(pictures.unique().tolist()) == {-1.0, 1.0}
    apart = torch.cdist(pictures, pictures) ** 2 + 1000 * torch.eye(10)
    assert apart.min() >= 4 * 4  # each pixel that differs adds 4
    assert pictures[7].view(12, 7)[0].min() == 1 and pictures[7].view(12, 7)[4:, :2].max() == -1
    assert pictures[4].view(12, 7)[7:9].min() == 1


def test_map_loss_is_equation_9_and_cross_entropy_in_the_limit():
    penalties, labels = randn(5, 10) * 3 + 6, torch.tensor([0, 3, 9, 3, 1])
    penalties.requires_grad_()
    for j in (0.5, 4.0, 100.0):
        terms = [
            y[d].item() + math.log(math.exp(-j) + sum(math.exp(-v) for v in y.tolist()))
            for y, d in zip(penalties, labels)
        ]
        loss = lenet.map_loss(penalties, labels, j)
        assert loss.item() == pytest.approx(sum(terms) / 5)
        posterior = torch.exp(-penalties) / (math.exp(-j) + torch.exp(-penalties).sum(1, keepdim=True))
        gradient = torch.autograd.grad(loss, penalties)[0]
        torch.testing.assert_close(gradient, ((F.one_hot(labels, 10) - posterior) / 5).detach())
    limit = lenet.map_loss(penalties, labels, math.inf)
    torch.testing.assert_close(limit, F.cross_entropy(-penalties, labels))
    assert lenet.map_loss(torch.full((1, 10), 500.0), labels[:1], 4.0).item() == pytest.approx(496)  # no overflow


def test_two_layers_against_torchs():
    net = lenet.TwoLayers(generator(), width=20).double()
    hidden, output = nn.Linear(784, 20).double(), nn.Linear(20, 10).double()
    hidden.weight.data, hidden.bias.data, output.weight.data, output.bias.data = (p.data for p in net.parameters())
    x = randn(4, 1, 32, 32)
    expected = -output(1.7159 * torch.tanh(2 / 3 * hidden(x[:, 0, 2:30, 2:30].reshape(4, 784))))
    torch.testing.assert_close(net(x), expected)
    assert lenet.TwoLayers(generator()).w1.shape == (300, 784)


def test_flat_is_the_middle():
    x = torch.randint(256, (3, 1, 32, 32), generator=generator())
    torch.testing.assert_close(lenet.flat(x).view(3, 28, 28), x[:, 0, 2:30, 2:30] / 255)


def test_nearest_neighbours_against_scikit_learn():
    x, y, queries = torch.rand(400, 6).double(), torch.randint(10, (400,)), torch.rand(700, 6).double()
    for k in (1, 3):
        theirs = KNeighborsClassifier(k, algorithm="brute").fit(x.numpy(), y.numpy())
        ours = lenet.nearest_neighbours(x, y, queries, k)
        near = y[torch.tensor(theirs.kneighbors(queries.numpy())[1])]  # (queries, k)
        tie = torch.tensor([len(set(row.tolist())) == 3 for row in near])
        assert torch.equal(ours[~tie], torch.tensor(theirs.predict(queries.numpy()))[~tie])
        assert torch.equal(ours[tie], near[tie, 0]) and (tie.any() or k == 1)


def test_linear_is_ridge_regression():
    x, y = randn(80, 7), torch.randint(10, (80,), generator=generator())
    for strength in (0.3, 1.0):
        ridge = Ridge(alpha=strength, fit_intercept=False).fit(F.pad(x, (0, 1), value=1.0), F.one_hot(y, 10))
        torch.testing.assert_close(lenet.fit_linear(x, y, strength), torch.tensor(ridge.coef_.T).double())
    torch.testing.assert_close(lenet.fit_linear(x, y), lenet.fit_linear(x, y, 1.0))


def test_warp_against_scipy():
    images, matrix, shift = (
        torch.rand(3, 1, 16, 16).double(),
        torch.eye(2).double() + 0.2 * randn(3, 2, 2),
        2 * randn(3, 2),
    )
    ours = lenet.warp(images, matrix, shift)
    for k in range(3):
        inverse = matrix[k].flip(0, 1).numpy()  # rows first
        middle = np.array([7.5, 7.5])
        offset = middle - inverse @ (middle + shift[k].flip(0).numpy())
        theirs = affine_transform(images[k, 0].numpy(), inverse, offset, order=1, mode="grid-constant")
        np.testing.assert_allclose(ours[k, 0], theirs, atol=1e-9)
    one = torch.zeros(1, 1, 16, 16)
    one[0, 0, 5, 6] = 1
    moved = lenet.warp(one, torch.eye(2)[None], torch.tensor([[3.0, 1.0]]))
    assert moved[0, 0, 6, 9] == pytest.approx(1, abs=1e-5)


def test_distortions_are_shift_scale_squeeze_and_shear_in_bounds(monkeypatch):
    seen = {}
    monkeypatch.setattr(lenet, "warp", lambda images, matrix, shift: seen.update(matrix=matrix, shift=shift) or images)
    lenet.distort(torch.zeros(4000, 1, 32, 32), generator())
    matrix, shift = seen["matrix"], seen["shift"]
    assert matrix[:, 1, 0].abs().max() == 0  # rows stay rows: the shear is horizontal
    for values, low, high in (
        (matrix[:, 0, 0], 0.85, 1.15), (matrix[:, 1, 1], 0.85, 1.15), (matrix[:, 0, 1], -0.2, 0.2),
        (shift[:, 0], -2, 2), (shift[:, 1], -2, 2),
    ):  # fmt: skip
        assert low <= values.min() < low + 0.01 * (high - low) and high - 0.01 * (high - low) < values.max() <= high
        assert abs(values.mean() - (low + high) / 2) < 0.03 * (high - low)
    columns = torch.stack([matrix[:, 0, 0], matrix[:, 1, 1], matrix[:, 0, 1], *shift.T])
    assert (torch.corrcoef(columns) - torch.eye(5)).abs().max() < 0.1


def test_schedule():
    shares = [lenet.schedule(step, 100) for step in range(100)]
    assert shares[0] == pytest.approx(0.1) and shares[9] == max(shares) > 0.97 and shares[-1] < 1e-3
    assert shares[50] == pytest.approx(0.5) and shares[9:] == sorted(shares[9:], reverse=True)
    assert lenet.schedule(0, 1) == 1


def test_training_is_adam_on_passes_in_fresh_order(toy):
    x, y = toy[0][:300], toy[1][:300]
    for distorted in (False, True):
        draw, again = generator(5), generator(5)
        ours, theirs = lenet.TwoLayers(draw, 8), lenet.TwoLayers(again, 8)
        lenet.train(ours, x, y, 5, 0.02, 3.0, draw, distorted)
        optimizer = torch.optim.Adam(theirs.parameters(), lr=1.0)
        order = torch.cat([torch.randperm(300, generator=again) for _ in range(3)])
        for step in range(5):
            batch = order[128 * step : 128 * (step + 1)]
            images = lenet.distort(x[batch].float(), again) if distorted else x[batch]
            optimizer.param_groups[0]["lr"] = 0.02 * lenet.schedule(step, 5)
            optimizer.zero_grad()
            lenet.map_loss(theirs(lenet.pixels(images)), y[batch], 3.0).backward()
            optimizer.step()
        for one, other in zip(ours.parameters(), theirs.parameters()):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("kind, rubbish", [(lenet.LeNet5, 4.0), (lenet.TwoLayers, math.inf)])
def test_training_learns(kind, rubbish, toy):
    x, y = toy
    draw = generator()
    net = kind(draw)
    lenet.train(net, x[:400], y[:400], 120, 0.01, rubbish, draw)
    right = (lenet.predict(net, x[400:]) == y[400:]).float().mean()
    assert right > 0.8  # always the same class: about 0.1
    with torch.no_grad():
        assert torch.equal(lenet.predict(net, x), (-net(lenet.pixels(x))).max(1).indices)


def test_rate_is_chosen_on_the_last_sixth_only(toy, monkeypatch):
    x, y = toy
    trained = []
    monkeypatch.setattr(lenet, "train", lambda model, x, y, steps, rate, *rest: trained.append((x, y, steps, rate)))
    monkeypatch.setattr(lenet, "predict", lambda model, images: y[500:].where(torch.arange(100) >= 25, y[500:] + 1))
    tried = lenet.choose_rate(lenet.TwoLayers, x, y, 7, 4.0, 0)
    assert list(tried) == lenet.RATES and all(error == pytest.approx(25) for error in tried.values())
    assert [rate for *_, rate in trained] == lenet.RATES
    for images, labels, steps, _ in trained:
        assert torch.equal(images, x[:500]) and torch.equal(labels, y[:500]) and steps == 7


def test_perturbations():
    images = torch.zeros(200, 1, 32, 32)
    images[:, 0, 14:18, 14:18] = 255
    ink = images.sum((1, 2, 3))
    places = torch.arange(32.0) - 15.5

    def middle(x):
        return torch.stack([(x[:, 0].sum(1) * places).sum(1), (x[:, 0].sum(2) * places).sum(1)], 1) / ink[:, None]

    moved = middle(lenet.perturb(images, "shift", 3, generator()))
    torch.testing.assert_close(moved.norm(dim=1), torch.full((200,), 3.0), atol=1e-3, rtol=0)
    assert moved.mean(0).abs().max() < 0.5
    block = F.pad(torch.full((1, 1, 12, 12), 255.0), [10] * 4)
    larger = lenet.perturb(block, "scale", 1.4, generator())
    assert (larger.sum() / block.sum()).item() == pytest.approx(1.96, rel=0.06)
    bar = torch.zeros(100, 1, 32, 32)
    bar[:, 0, 15:17, 6:26] = 255  # along the rows
    turned = lenet.perturb(bar, "rotation", 30, generator())[:, 0]
    xx, yy = (turned * places**2).sum((1, 2)), (turned * places[:, None] ** 2).sum((1, 2))
    xy = (turned * places * places[:, None]).sum((1, 2))
    angle = torch.rad2deg(torch.atan2(2 * xy, xx - yy) / 2)
    assert (angle.abs() - 30).abs().max() < 1 and 30 < (angle > 0).sum() < 70
    noisy = lenet.perturb(images, "noise", 0.1, generator())
    assert ((noisy != images).float().mean() - 0.1).abs() < 0.01 and set(noisy.unique().tolist()) == {0, 255}


def test_rise_and_excess():
    wrong = torch.tensor([[0.0, 1, 0], [1, 1, 0], [1, 0, 0]])
    assert lenet.rise(wrong).tolist() == [1, -0.5, 0]
    one, other = torch.tensor([1.0, 1, 0, 0]), torch.tensor([0.0, 1, 0, 0])
    gap, error = lenet.excess(one, other)
    assert gap == 25 and error == pytest.approx(25)


def test_robustness_shows_all_methods_the_same_images():
    images, labels, seen = torch.rand(6, 1, 32, 32) * 255, torch.arange(6), {"a": [], "b": []}
    methods = {name: lambda x, name=name: seen[name].append(x) or torch.arange(6) for name in seen}
    wrong = lenet.robustness(methods, images, labels, {"shift": [1, 2], "noise": [0.1]}, 0)
    assert [wrong[kind, "a"].shape for kind in ("shift", "noise")] == [(3, 6), (2, 6)]
    assert all(torch.equal(a, b) for a, b in zip(seen["a"], seen["b"])) and torch.equal(seen["a"][0], images)
    assert all(w.sum() == 0 for w in wrong.values())


def test_steps_must_be_positive(capsys):
    with pytest.raises(SystemExit) as stopped:
        lenet.main(["--steps", "0"])
    assert stopped.value.code == 2 and "--steps" in capsys.readouterr().err
