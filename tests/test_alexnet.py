"""papers/alexnet.py against torch's own normalization and optimizer, torchvision's crops and scikit-learn's PCA."""

import pytest
import torch
import torch.nn.functional as F
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from torch import nn
from torchvision.transforms.functional import five_crop, hflip, ten_crop

from papers import alexnet as a

SEEDS = [3, 8]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def random(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def generators(seeds=SEEDS):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


# the normalization, which in torch has alpha divided by n


@pytest.mark.parametrize("shape", [(2, 7, 3, 4), (3, 2, 5, 5), (1, 12, 1, 2), (4, 96, 2, 2)])
@pytest.mark.parametrize("options", [{}, {"k": 1.3, "n": 3, "alpha": 0.7, "beta": 0.4}, {"n": 7, "alpha": 0.4}])
def test_local_response_norm_equals_torchs_forward_and_backward(shape, options):
    x, readout = 5 * random(*shape), random(*shape)
    k, n, alpha, beta = ({"k": 2, "n": 5, "alpha": 1e-4, "beta": 0.75} | options).values()
    ours, torchs = x.clone().requires_grad_(), x.clone().requires_grad_()
    out, expected = a.local_response_norm(ours, **options), F.local_response_norm(torchs, n, n * alpha, beta, k)
    torch.testing.assert_close(out, expected)
    (out * readout).sum().backward()
    (expected * readout).sum().backward()
    torch.testing.assert_close(ours.grad, torchs.grad)


def test_local_response_norm_at_one_place():
    x = torch.arange(1.0, 9).double().view(1, 8, 1, 1) * 50
    denominator = (2 + 1e-4 * 50**2 * (1 + 4 + 9 + 16)) ** 0.75  # channel 1 has one neighbour less
    assert a.local_response_norm(x)[0, 1].item() == pytest.approx(100 / denominator)


def test_images_divided_by_s_are_normalized_alike_with_alpha_times_s_squared():
    x = 40 * random(2, 8, 3, 3)
    torch.testing.assert_close(
        a.local_response_norm(x / 60, alpha=0.3 * 60**2), a.local_response_norm(x, alpha=0.3) / 60
    )


# the full net


def test_full_size():
    by_hand = {
        "conv1": 96 * (11 * 11 * 3 + 1),
        "conv2": 256 * (5 * 5 * 48 + 1),
        "conv3": 384 * (3 * 3 * 256 + 1),
        "conv4": 384 * (3 * 3 * 192 + 1),
        "conv5": 256 * (3 * 3 * 192 + 1),
        "fc6": 4096 * 9217,
        "fc7": 4096 * 4097,
        "fc8": 1000 * 4097,
    }
    with torch.device("meta"):
        model = a.AlexNet()
    assert {name: sum(p.numel() for p in layer.parameters()) for name, layer in model.named_children()} == by_hand
    parameters, neurons = a.full_size()
    assert parameters == sum(by_hand.values()) == 60_965_224
    assert neurons == [96 * 55**2, 256 * 27**2, 384 * 13**2, 384 * 13**2, 256 * 13**2, 4096, 4096, 1000]
    with torch.device("meta"), pytest.raises(RuntimeError):  # 54, 26, 12 and 5 places a side
        model(torch.empty(1, 3, 224, 224))


def reference(model, x, drop=None):
    """The full net with functions of torch and each grouped convolution as two; drop: generator for both layers."""

    def conv(x, layer, groups=1, **options):
        parts = zip(x.chunk(groups, 1), layer.weight.chunk(groups), layer.bias.chunk(groups))
        return F.relu(torch.cat([F.conv2d(*part, **options) for part in parts], 1))

    def dropped(x):
        return 0.5 * x if drop is None else x * (torch.rand(x.shape, generator=drop) < 0.5)

    x = F.max_pool2d(F.local_response_norm(conv(x, model.conv1, stride=4), 5, 5e-4, 0.75, 2), 3, 2)
    x = F.max_pool2d(F.local_response_norm(conv(x, model.conv2, 2, padding=2), 5, 5e-4, 0.75, 2), 3, 2)
    x = conv(conv(x, model.conv3, padding=1), model.conv4, 2, padding=1)
    x = F.max_pool2d(conv(x, model.conv5, 2, padding=1), 3, 2).flatten(1)
    x = dropped(F.relu(model.fc6(x)))
    return model.fc8(dropped(F.relu(model.fc7(x))))


def test_full_net_equals_two_towers_of_torchs_functions_forward_and_backward():
    model = a.AlexNet(classes=7)
    for name, layer in model.named_children():  # sec. 5
        assert layer.weight.std().item() == pytest.approx(0.01, rel=0.05) and abs(layer.weight.mean()) < 1e-3
        assert (layer.bias == float(name in ("conv2", "conv4", "conv5", "fc6", "fc7"))).all()
        nn.init.normal_(layer.weight, std=(2 / layer.weight[0].numel()) ** 0.5)  # so that every layer matters
        nn.init.normal_(layer.bias)
    x = (80 * torch.randn(2, 3, 227, 227)).requires_grad_()
    for drop in (False, True):
        out = model(x, generators()[0] if drop else None)
        expected = reference(model, x, generators()[0] if drop else None)
        assert out.shape == (2, 7)
        torch.testing.assert_close(out, expected, rtol=1e-3, atol=1e-3)
        grads = [torch.autograd.grad(y.square().sum(), [x, model.conv2.weight]) for y in (out, expected)]
        for ours, theirs in zip(*grads):
            assert (ours - theirs).norm() < 1e-3 * theirs.norm()


def test_dropout():
    x = random(2, 50, 400)
    torch.testing.assert_close(a.dropout(x, None), x / 2)
    out = a.dropout(x, generators())
    kept = out != 0
    torch.testing.assert_close(out, x * kept)
    assert abs(kept.double().mean() - 0.5) < 0.01 and kept.double().mean((0, 1)).std() < 0.1
    assert not torch.equal(kept[0], kept[1]) and not torch.equal(kept[0, 0], kept[0, 1])
    torch.testing.assert_close(a.dropout(x[1:], generators()[1:]), out[1:])  # the other net changes nothing


# the small net

CASES = [{}, {"f": "tanh"}, {"lrn": False}, {"overlap": False}, {"drop": False}]


def small_reference(model, g, x, mask):
    """Net g of `model`, with functions of torch, on x (B, 3, S, S)."""
    activate = {torch.relu: F.relu, torch.tanh: torch.tanh}[model.f]
    for weight, bias in ((model.w1, model.b1), (model.w2, model.b2)):
        x = activate(F.conv2d(x, weight.chunk(model.groups)[g], bias.chunk(model.groups)[g], padding=2))
        x = F.max_pool2d(x, 3, 2, padding=1) if model.overlap else F.max_pool2d(x, 2, 2)
        x = F.local_response_norm(x, 5, 5 * model.alpha, 0.75, 2) if model.lrn else x
    x = activate(F.linear(x.flatten(1), model.w3[g].T, model.b3[g, 0]))
    return F.linear(x * mask, model.w4[g].T, model.b4[g, 0])


@pytest.mark.parametrize("options", CASES)
@pytest.mark.parametrize("training", [False, True])
def test_small_net_equals_torchs_functions_forward_and_backward(options, training):
    model = a.SmallNet(3, SEEDS, alpha=0.4, **options).double()
    for name, w in model.named_parameters():
        if name[0] == "b":
            assert (w == 0).all()
            nn.init.normal_(w)
    x = random(2, 4, a.CROP, a.CROP, 3)
    out = model(a.interleave(x), generators() if training else None)
    assert out.shape == (2, 4, 10)
    masks = [(torch.rand(4, 24, generator=g) < 0.5).double() if training else 0.5 for g in generators()]
    masks = masks if model.drop else [1, 1]
    expected = torch.stack([small_reference(model, g, x[g].permute(0, 3, 1, 2), masks[g]) for g in range(2)])
    torch.testing.assert_close(out, expected)
    grads = [torch.autograd.grad(y.square().sum(), list(model.parameters())) for y in (out, expected)]
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize("f, gain", [("relu", 2), ("tanh", 1)])
def test_small_net_starts_with_the_deviation_that_suits_it_and_each_seeds_own_weights(f, gain):
    model, alone = a.SmallNet(8, SEEDS, f=f), a.SmallNet(8, SEEDS[1:], f=f)
    for w, fan_in, g in ((model.w1, 75, gain), (model.w2, 200, gain), (model.w3, 576, gain), (model.w4, 64, 1)):
        assert w.std().item() == pytest.approx((g / fan_in) ** 0.5, rel=0.08)
    for both, one in zip(model.parameters(), alone.parameters()):
        torch.testing.assert_close(both[len(both) // 2 :], one)


# images


def test_colour_pca_equals_scikit_learns():
    images = torch.rand(9, 5, 6, 3).double() @ random(3, 3)
    values, vectors = a.colour_pca(images)
    expected = PCA().fit(images.reshape(-1, 3).numpy())
    torch.testing.assert_close(values, torch.tensor(expected.explained_variance_))
    torch.testing.assert_close((vectors.T @ torch.tensor(expected.components_).T).abs(), torch.eye(3).double())


@pytest.mark.parametrize("flip", [False, True])
def test_augmented_images_are_windows_some_of_them_mirrored(flip):
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    images = torch.stack([rows, columns, rows], -1).expand(400, 32, 32, 3)
    out = a.augment(images, flip, torch.zeros(3, 3), generators()[0])
    assert out.shape == (400, a.CROP, a.CROP, 3)
    assert (out[:, 1:, :, 0] - out[:, :-1, :, 0] == 1).all()
    steps = out[:, :, 1:, 1] - out[:, :, :-1, 1]
    mirrored = (steps == -1).all((1, 2))
    assert (mirrored | (steps == 1).all((1, 2))).all() and 150 < mirrored.sum() < 250 if flip else not mirrored.any()
    for channel in (0, 1):  # the least row and column of each window
        assert set(out[..., channel].amin((1, 2)).tolist()) == set(range(32 - a.CROP + 1))


def test_colours_move_along_their_components_by_a_tenth_of_the_eigenvalues():
    values, vectors = torch.tensor([3.0, 1, 0.2]), torch.linalg.qr(torch.randn(3, 3))[0]
    out = a.augment(
        torch.zeros(20000, 32, 32, 3)[:, :1, :1].expand(-1, 32, 32, -1), True, vectors * values, generators()[0]
    )
    assert (out == out[:, :1, :1]).all()  # all pixels of an image by the same
    shift = out[:, 0, 0] @ vectors
    torch.testing.assert_close(shift.std(0), 0.1 * values, rtol=0.03, atol=0)
    assert (shift.mean(0).abs() < 0.004 * values).all() and (torch.corrcoef(shift.T) - torch.eye(3)).abs().max() < 0.03


def test_crops_equal_torchvisions():
    images = random(4, 32, 32, 3)
    x = images.permute(0, 3, 1, 2)
    ours = [crop.permute(0, 3, 1, 2) for crop in a.crops(images, True)]
    top_left, top_right, bottom_left, bottom_right, middle = five_crop(x, a.CROP)
    expected = [middle, top_left, top_right, bottom_left, bottom_right]
    assert len(ours) == len(ten_crop(x, a.CROP)) == 10 and len(a.crops(images, False)) == 5
    for one, other in zip(ours, expected + [hflip(crop) for crop in expected]):
        torch.testing.assert_close(one, other)


# training and measuring


@pytest.mark.parametrize("speed", [False, True])
def test_training_equals_torchs_sgd(speed, monkeypatch):
    """Two nets with rates of their own at once, against one after the other with torch.optim.SGD."""
    monkeypatch.setattr(a, "BATCH", 5)
    x, y, rates, colours = random(30, 32, 32, 3), torch.randint(10, (30,)), [0.05, 0.02], 0.3 * random(3, 3)
    colours = None if speed else colours
    model = a.SmallNet(2, SEEDS, alpha=0.4, drop=not speed).double()
    errors = a.train(model, x, y, rates, SEEDS, 8, colours, flip=True, speed=speed)
    assert errors.shape == (2, 8)
    for g, (seed, rate, generator) in enumerate(zip(SEEDS, rates, generators())):
        net = a.SmallNet(2, [seed], alpha=0.4, drop=not speed).double()
        optimizer = torch.optim.SGD(net.parameters(), rate, momentum=0.9, weight_decay=0 if speed else 5e-4)
        for step in range(8):
            if step == 6 and not speed:  # torch's velocity lacks the rate
                optimizer.param_groups[0]["lr"] = rate / 10
                for state in optimizer.state.values():
                    state["momentum_buffer"] *= 10
            chosen = torch.randint(30, (5,), generator=generator)
            images = x[chosen, 4:28, 4:28] if speed else a.augment(x[chosen], True, colours, generator)
            logits = net(images.permute(0, 3, 1, 2), [generator])[0]
            assert errors[g, step].item() == pytest.approx(100 * (logits.argmax(1) != y[chosen]).double().mean().item())
            optimizer.zero_grad()
            F.cross_entropy(logits, y[chosen]).backward()
            optimizer.step()
        for ours, theirs in zip(model.parameters(), net.parameters()):
            torch.testing.assert_close(ours.chunk(2)[g], theirs, rtol=1e-5, atol=1e-6)


def toy(count=240):
    """Ten colours, a little noisy."""
    y = torch.arange(count) % 10
    return torch.randn(10, 1, 1, 3)[y] + 0.3 * torch.randn(count, 32, 32, 3), y


def toy_data():
    (x, y), still = toy(), torch.zeros(3, 3)
    data = {"x": x, "y": y, "x_valid": x[:60], "y_valid": y[:60], "x_test": x[60:120], "y_test": y[60:120]}
    return data | {"colours": still, "alpha": 0.4, "flip": False}


@pytest.mark.parametrize("options", [{"f": "tanh"}, {}, {"lrn": False, "drop": False}])
def test_training_learns_more_than_the_commonest_class(options):
    x, y = toy()
    model = a.SmallNet(6, SEEDS, alpha=0.4, **options)
    before = a.wrong(a.predict(model, a.crops(x, True)), y)
    a.train(model, x, y, [0.01] * 2, SEEDS, 150, torch.zeros(3, 3))
    after = a.wrong(a.predict(model, a.crops(x, True)), y)
    assert before.min() > 60 and after.max() < 45  # the commonest class: 90


def test_predictions_are_the_mean_over_crops():
    model, x = a.SmallNet(2, SEEDS, alpha=0.4).double(), random(7, 32, 32, 3)
    views = a.crops(x, True)
    single = [torch.stack([model(a.interleave(v.expand(2, *v.shape))).softmax(2)]) for v in views]
    torch.testing.assert_close(a.predict(model, views), torch.cat(single).mean(0))
    y = a.predict(model, views)[0].argmax(1)
    assert a.wrong(a.predict(model, views), y)[0] == 0
    assert a.wrong(a.predict(model, views), torch.cat([y[:3], (y[3:] + 1) % 10]))[0] == pytest.approx(400 / 7)


def test_rate_is_chosen_on_validation_images_only(monkeypatch):
    monkeypatch.setattr(a, "RATES", (0.0, 0.01))
    data = toy_data()
    run = a.ablation(6, data, SEEDS, 150)
    assert run["rate"] == 0.01 and run["test"].max() < 60
    spoiled = data | {"y_test": (data["y_test"] + 1) % 10}
    assert a.ablation(6, spoiled, SEEDS, 150)["rate"] == 0.01
    spoiled = data | {"y_valid": (data["y_valid"] + 1) % 10}  # the more is learnt, the worse
    assert a.ablation(6, spoiled, SEEDS, 150)["rate"] == 0.0


def test_steps_to_target(monkeypatch):
    monkeypatch.setattr(a, "WINDOW", 2)
    errors = torch.tensor([[90.0, 60, 20, 20, 70, 10], [90, 80, 70, 60, 50, 40], [30, 20, 90, 90, 90, 0]])
    assert a.steps_to(errors).tolist() == [4, 6, 2]
    monkeypatch.setattr(a, "SPEED_RATES", (0.0, 0.005))
    run = a.fig_1("relu", 6, toy_data() | {"y": toy()[1]}, SEEDS, 80)
    assert run["rate"] == 0.005 and run["curves"].shape == (2, 80) and (run["steps"] < 80).all()


def test_neighbours_equal_scikit_learns():
    queries, stored = random(2, 6, 4), random(2, 30, 4)
    for g, found in enumerate(a.neighbours(queries, stored)):
        expected = NearestNeighbors(n_neighbors=5).fit(stored[g]).kneighbors(queries[g], return_distance=False)
        assert found.tolist() == expected.tolist()


@pytest.mark.parametrize("wrong", [["--steps", "0"], ["--images", "3"], ["--width", "-1"]])
def test_sizes_that_cannot_be(wrong, capsys):
    with pytest.raises(SystemExit) as stopped:
        a.main(wrong)
    assert stopped.value.code == 2 and wrong[0] in capsys.readouterr().err
