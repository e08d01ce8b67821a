"""papers/vgg.py against torchvision's VGGs, torch's normalization and resizing, and brute force."""

import argparse
import math

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from papers import vgg

TORCHVISION = {"A": "vgg11", "B": "vgg13", "D": "vgg16", "E": "vgg19"}
COUNTS = {"A": 132_863_336, "A-LRN": 132_863_336, "B": 133_047_848, "C": 133_638_952}
COUNTS |= {"D": 138_357_544, "E": 143_667_240}


def settings(**changes) -> argparse.Namespace:
    return argparse.Namespace(**{"width": 4, "hidden": 16, "side": 16, "seed": 0, "steps": 2} | changes)


def pictures(images, side=16, mirrored=False):
    return vgg.Pictures(images, side, mirrored)


@pytest.fixture
def images():
    return torch.randint(0, 256, (40, 3, 32, 32), generator=torch.Generator().manual_seed(0)).byte()


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts_of_table_2(name):
    with torch.device("meta"):
        model = vgg.VGG(name)
        assert vgg.parameters(model) == COUNTS[name]
        assert model(torch.empty(2, 3, 224, 224)).shape == (2, 1000)
        assert model.features(torch.empty(2, 3, 224, 224)).shape == (2, 512, 7, 7)
        assert model.dense(torch.empty(2, 3, 384, 256)).shape == (2, 1000)
    kernels = [layer.kernel_size[0] for layer in model.features if isinstance(layer, nn.Conv2d)]
    assert sum(kernel == 1 for kernel in kernels) == (3 if name == "C" else 0)
    assert len(kernels) + 3 == {"A": 11, "A-LRN": 11, "B": 13, "C": 16, "D": 16, "E": 19}[name]


@pytest.mark.parametrize("name", TORCHVISION)
def test_shapes_and_order_are_torchvisions(name):
    with torch.device("meta"):
        ours, theirs = vgg.VGG(name), getattr(torchvision.models, TORCHVISION[name])(weights=None)
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}
    assert [type(layer) for layer in ours.features] == [type(layer) for layer in theirs.features]
    assert [type(layer) for layer in ours.classifier] == [type(layer) for layer in theirs.classifier]
    assert ours.classifier[2].p == theirs.classifier[2].p == ours.classifier[5].p == 0.5


@pytest.mark.parametrize("name", TORCHVISION)
def test_logits_are_torchvisions_with_its_weights(name):
    with torch.device("meta"):
        ours, theirs = vgg.VGG(name).eval(), getattr(torchvision.models, TORCHVISION[name])(weights=None).eval()
    torch.manual_seed(0)
    weights = {}
    for key, value in theirs.state_dict().items():  # cheap for the large layers: a few rows drawn, then repeated
        rows = torch.randn(min(len(value), 32), *value.shape[1:]) * (2 / max(1, value[0].numel())) ** 0.5
        weights[key] = rows.repeat(-(-len(value) // 32), *[1] * (value.dim() - 1))[: len(value)]
    for model in (ours, theirs):
        model.load_state_dict(weights, assign=True)
    x = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        expected = theirs(x)
        assert expected.std() > 0.1
        torch.testing.assert_close(ours(x), expected)
        torch.testing.assert_close(ours.dense(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("side, left", [(16, 2), (32, 2), (64, 2), (128, 4), (224, 7)])
def test_fewer_poolings_on_small_images(side, left):
    with torch.device("meta"):
        model = vgg.VGG("B", 4, 8, side, 10)
        assert model.features(torch.empty(1, 3, side, side)).shape == (1, 32, left, left)
        assert model(torch.empty(3, 3, side, side)).shape == (3, 10)


@pytest.mark.parametrize("shape, n", [((2, 7, 3, 4), 5), ((1, 3, 2, 2), 5), ((3, 6, 4, 1), 3)])
def test_local_response_norm_forward_and_backward(shape, n):
    torch.manual_seed(0)
    x = (3 * torch.randn(shape, dtype=torch.float64)).requires_grad_()
    settings = {"k": 1.5, "alpha": 0.3, "beta": 0.6}
    ours = vgg.local_response_norm(x, n, **settings)
    theirs = F.local_response_norm(x, n, alpha=0.3 * n, beta=0.6, k=1.5)  # torch divides α by n
    torch.testing.assert_close(ours, theirs)
    grad = torch.randn_like(ours)
    torch.testing.assert_close(*(torch.autograd.grad((y * grad).sum(), x)[0] for y in (ours, theirs)))


def test_local_response_norm_has_alexnets_constants_and_stands_in_a_lrn():
    x = 50 * torch.randn(2, 9, 3, 3, dtype=torch.float64)
    expected = F.local_response_norm(x, 5, alpha=5e-4, beta=0.75, k=2)
    torch.testing.assert_close(vgg.local_response_norm(x), expected)
    layers = vgg.VGG("A-LRN", 4, 8, 16, 10, alpha=1e-3).features
    assert [type(layer).__name__ for layer in layers[:4]] == ["Conv2d", "ReLU", "LocalResponseNorm", "MaxPool2d"]
    torch.testing.assert_close(layers[2](x), F.local_response_norm(x, 5, alpha=5e-3, beta=0.75, k=2))


def test_scaled_alpha_is_the_paper_s_norm_in_other_units():
    torch.manual_seed(0)
    x = 100 * torch.rand(2, 6, 3, 3, dtype=torch.float64)
    torch.testing.assert_close(64 * vgg.local_response_norm(x / 64, alpha=1e-4 * 64**2), vgg.local_response_norm(x))


def test_dense_evaluation_is_the_mean_over_windows():
    torch.manual_seed(0)
    model = vgg.initialize(vgg.VGG("B", 4, 8, 16, 10, drop=0)).double().eval()
    for layer in model.classifier:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.bias)
    x = torch.randn(2, 3, 34, 43, dtype=torch.float64)
    with torch.no_grad():
        maps = model.features(x)  # (2, 32, 4, 5)
        windows = [maps[:, :, i : i + 2, j : j + 2].flatten(1) for i in range(3) for j in range(4)]
        assert maps.shape == (2, 32, 4, 5)
        torch.testing.assert_close(model.dense(x), torch.stack([model.classifier(w) for w in windows]).mean(0))
        torch.testing.assert_close(model.dense(x[:, :, :16, :16]), model(x[:, :, :16, :16]))


def test_he_variance_and_mirrored_units():
    torch.manual_seed(0)
    model = vgg.initialize(vgg.VGG("D", 16, 256, 16, 10, drop=0))
    layers, inputs = [layer for layer in model.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))], 3
    for place, layer in enumerate(layers):
        gain = 1 if place in (0, len(layers) - 1) else 2
        assert layer.weight.var().item() * layer.weight[0].numel() == pytest.approx(gain, rel=0.15)
        assert (layer.bias == 0).all()
        if layer is not layers[-1]:
            torch.testing.assert_close(*(half * sign for half, sign in zip(layer.weight.chunk(2), (1, -1))))
        if layer is not layers[0]:
            left, right = layer.weight.view(len(layer.weight), inputs, -1).chunk(2, dim=1)
            torch.testing.assert_close(left, -right)
        inputs = len(layer.weight)  # channels; the classifier's first layer has four places for each


def test_the_mirrored_start_is_linear_but_for_the_poolings():
    torch.manual_seed(0)
    model = vgg.initialize(vgg.VGG("D", 8, 16, 16, 10, drop=0)).double()
    model.features = nn.Sequential(
        *(nn.AvgPool2d(2) if isinstance(layer, nn.MaxPool2d) else layer for layer in model.features)
    )
    one, two = torch.randn(2, 4, 3, 16, 16, dtype=torch.float64)
    torch.testing.assert_close(model(2 * one - 3 * two), 2 * model(one) - 3 * model(two))
    assert model(one).std() > 1e-3


@pytest.mark.parametrize("length, size", [(32, 18), (32, 27), (32, 37), (32, 32), (7, 3), (5, 11)])
def test_resize_matrix_is_torchs_antialiased_interpolation(length, size):
    x = torch.rand(2, 3, length, length, generator=torch.Generator().manual_seed(0))
    matrix = vgg.resize_matrix(length, size)
    expected = F.interpolate(x, size=(size, size), mode="bilinear", antialias=True, align_corners=False)
    torch.testing.assert_close(matrix @ x @ matrix.T, expected)


def test_whole_pictures_are_rescaled_and_normalized(images):
    ours = pictures(images)
    x = images.float() / 255
    expected = (x - x.mean((0, 2, 3), keepdim=True)) / x.std()
    expected = F.interpolate(expected, size=(27, 27), mode="bilinear", antialias=True)
    torch.testing.assert_close(ours.whole(images, 27), expected, rtol=1e-4, atol=1e-4)


def test_crops_are_squares_of_the_rescaled_image_mirrored_or_not(images):
    torch.manual_seed(0)
    ours = pictures(images, mirrored=True)
    ours.strengths = torch.zeros(3)
    crops, seen = ours.crops(images, 16, 20), set()
    assert crops.shape == (40, 3, 16, 16)
    for image, crop in zip(images, crops):
        found = []
        for size in range(16, 21):
            whole = ours.whole(image[None], size)[0]
            for top in range(size - 15):
                for left in range(size - 15):
                    square = whole[:, top : top + 16, left : left + 16]
                    found += [
                        (size, top, left, flip)
                        for flip in (False, True)
                        if torch.allclose(crop, square.flip(2) if flip else square, atol=1e-4)
                    ]
        assert len(found) == 1
        seen.add(found[0])
    sizes, tops, lefts, flips = map(set, zip(*seen))
    assert sizes == {16, 17, 18, 19, 20} and flips == {False, True} and {0, 1, 2, 3} <= tops & lefts
    assert any(top != left for _, top, left, _ in seen), "rows and columns start independently"
    assert len(seen) > 20


def test_no_mirror_images_of_digits_and_a_fixed_scale_stays(images):
    ours = pictures(images)
    ours.strengths = torch.zeros(3)
    torch.testing.assert_close(ours.crops(images, 16, 16), ours.whole(images, 16))


def test_colour_shift_is_krizhevskys():
    torch.manual_seed(0)
    images = (torch.rand(30, 1, 8, 8) * torch.tensor([200.0, 120.0, 40.0])[:, None, None] + 10).byte()
    images[:, 2] += torch.randint(0, 60, (30, 8, 8)).byte()
    ours = pictures(images, side=8)
    many = images[:1].expand(20000, -1, -1, -1)
    change = (ours.crops(many, 8, 8) - ours.whole(images[:1], 8)) * ours.deviation  # in pixels of 0 to 1
    assert change.flatten(2).std(2).max() < 1e-5, "one shift for all of an image"
    change = change[:, :, 0, 0]
    covariance = torch.cov(images.permute(1, 0, 2, 3).flatten(1).double() / 255)
    expected = 0.01 * covariance @ covariance  # V (0.1 Λ)² Vᵀ
    assert change.mean(0).abs().max() < 5 * expected.diag().max().sqrt() / len(many) ** 0.5
    torch.testing.assert_close(torch.cov(change.T.double()), expected, rtol=0.1, atol=0.02 * expected.max().item())


def colours(count: int, seed: int):
    """Images (count, 3, 32, 32) whose class is the channel that is bright, under noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (count,), generator=generator)
    images = torch.randint(0, 120, (count, 3, 32, 32), generator=generator)
    images[torch.arange(count), labels] += 100
    return images.byte(), labels


@pytest.mark.parametrize("name", ["A-LRN", "C", "E"])
def test_training_learns_bright_channels_that_chance_does_not(name):
    images, labels = colours(400, 0)
    ours = pictures(images)
    torch.manual_seed(0)
    model = vgg.initialize(vgg.VGG(name, 4, 16, 16, 3, drop=0))
    before = vgg.error(model, ours, *colours(200, 1), 18)
    losses = vgg.train(model, ours, images, labels, (18, 20), 0.02, 60)
    assert losses.shape == (60,) and losses[-10:].mean() < 0.5 * math.log(3)
    assert vgg.error(model, ours, *colours(200, 1), 18) < 10 < 40 < before + 15
    assert vgg.error(model, ours, *colours(200, 1), 27) < 30


def test_training_is_sgd_with_momentum_decay_and_a_falling_rate(images):
    labels, steps, rate = torch.arange(40) % 10, 30, 0.03
    vgg_batch, vgg.BATCH = vgg.BATCH, 8
    try:
        ours = pictures(images)
        torch.manual_seed(0)
        model = vgg.initialize(vgg.VGG("A", 2, 4, 16, 10, drop=0))
        start = {name: weight.detach().clone() for name, weight in model.named_parameters()}
        torch.manual_seed(1)
        losses = vgg.train(model, ours, images, labels, (17, 19), rate, steps)
        torch.manual_seed(1)
        order = torch.cat([torch.randperm(40) for _ in range(6)]).view(30, 8)
        weights, speed = start, {name: torch.zeros_like(weight) for name, weight in start.items()}
        for step, batch in enumerate(order):
            x = ours.crops(images[batch], 17, 19)
            for weight in weights.values():
                weight.requires_grad_()
            loss = F.cross_entropy(torch.func.functional_call(model, weights, x), labels[batch])
            torch.testing.assert_close(loss.detach(), losses[step], rtol=1e-3, atol=1e-3)
            gradients = torch.autograd.grad(loss, list(weights.values()))
            now = rate * min(1, (step + 1) / 20) * (1 - step / steps)
            for (name, weight), gradient in zip(list(weights.items()), gradients):
                speed[name] = 0.9 * speed[name] + gradient + 5e-4 * weight.detach()
                weights[name] = weight.detach() - now * speed[name]
        for name, weight in model.named_parameters():
            torch.testing.assert_close(weight.detach(), weights[name], rtol=1e-3, atol=1e-4)
    finally:
        vgg.BATCH = vgg_batch


def test_training_drops_units_and_testing_does_not(images):
    torch.manual_seed(0)
    model = vgg.initialize(vgg.VGG("A", 4, 16, 16, 10))
    ours, labels = pictures(images), torch.arange(40) % 10
    vgg.error(model, ours, images, labels, 18)
    assert not model.training
    vgg.train(model, ours, images.repeat(4, 1, 1, 1), labels.repeat(4), (18, 18), 0.0, 1)
    assert model.training


@pytest.mark.parametrize("mirrored", [False, True])
def test_error_averages_the_mirror_images_probabilities(images, mirrored):
    torch.manual_seed(0)
    model = vgg.initialize(vgg.VGG("B", 4, 16, 16, 10, drop=0)).eval()
    model.classifier[-1].weight.data *= 20
    ours, labels = pictures(images, mirrored=mirrored), torch.arange(40) % 3
    with torch.no_grad():
        x = ours.whole(images, 27)
        probabilities = model.dense(x).softmax(1)
        if mirrored:
            probabilities = (probabilities + model.dense(x.flip(3)).softmax(1)) / 2
    labels = torch.where(torch.arange(40) < 25, probabilities.argmax(1), (probabilities.argmax(1) + 1) % 10)
    assert vgg.error(model, ours, images, labels, 27) == pytest.approx(100 * 15 / 40)


@pytest.mark.parametrize("kernels, side", [("3", 3), ("5", 5), ("33", 5), ("333", 7), ("7", 7), ("331", 5), ("3L3", 5)])
def test_receptive_field_of_a_stack(kernels, side):
    field = vgg.receptive_field(vgg.stage(kernels, 2, 2), 11)
    assert vgg.field_side(field) == side == int((field.sum(0) > 0).sum())
    assert field.argmax() == 5 * 11 + 5 or len(kernels) == 1


def test_receptive_fields_of_whole_nets_follow_the_recursion():
    for name, side in {"A": 150, "B": 156, "B, 5x5": 156, "C": 156, "D": 212, "E": 268}.items():
        field, jump = 1, 1
        for kernels in vgg.CONFIGURATIONS[name].split():
            for kernel in kernels:
                field += (int(kernel) - 1) * jump
            field, jump = field + jump, 2 * jump  # the pooling
        assert field == side
        measured = vgg.receptive_field(list(vgg.VGG(name, 1, 2).features), 448)
        assert vgg.field_side(measured) == side


def test_weights_of_three_3x3_and_one_7x7():
    count = {
        kernels: sum(layer.weight.numel() for layer in vgg.stage(kernels, 8, 8) if isinstance(layer, nn.Conv2d))
        for kernels in ("333", "7")
    }
    assert count == {"333": 27 * 64, "7": 49 * 64}


def test_learning_rate_is_chosen_on_the_images_kept_aside(monkeypatch, images):
    trained, judged = [], []

    def train(model, ours, x, y, scales, rate, steps, title):
        trained.append((x, y, tuple(scales), rate, steps, torch.initial_seed()))
        model.rate = rate
        return torch.full((steps,), rate)

    def error(model, ours, x, y, size):
        judged.append((x, y, size))
        return abs(model.rate - vgg.RATES[-1])

    monkeypatch.setattr(vgg, "train", train)
    monkeypatch.setattr(vgg, "error", error)
    labels = torch.arange(40)
    args, ours = settings(steps=7), pictures(images)
    for arm, scales, size in (("A", (18, 18), 18), ("A, S = 384", (27, 27), 27), ("A, jitter", (18, 37), 27)):
        trained.clear(), judged.clear()
        rate, runs = vgg.tuned(arm, args, ours, images, labels, range(3, 6))
        assert rate == vgg.RATES[-1] and [t[3] for t in trained] == [*vgg.RATES, rate, rate]
        assert len(runs) == 3 and all(model.rate == rate and losses[0] == rate for model, losses in runs)
        assert [t[5] for t in trained] == [3] * len(vgg.RATES) + [4, 5]
        for x, y, told, _, steps, _ in trained:
            assert torch.equal(y, labels[:36]) and torch.equal(x, images[:36]) and told == scales and steps == 7
        for x, y, told in judged:
            assert torch.equal(y, labels[36:]) and torch.equal(x, images[36:]) and told == size


def test_lead_asks_for_more_than_the_spread():
    assert vgg.lead(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([3.0, 4.5, 5.0]))[1]
    assert not vgg.lead(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([3.0, 1.9, 9.0]))[1]
    assert not vgg.lead(torch.tensor([3.0, 4.0, 5.0]), torch.tensor([1.0, 2.0, 3.0]))[1]
    assert not vgg.lead(torch.tensor([1.0, 1.0, 1.0]), torch.tensor([1.1, 1.2, 9.0]))[1]
    assert vgg.lead(torch.tensor([1.0, 1.0]), torch.tensor([3.0, 3.0]))[0] == "+2.0 ± 0.0 points"


@pytest.mark.parametrize("flag, value", [("--steps", "0"), ("--width", "7"), ("--hidden", "0"), ("--side", "8")])
def test_sizes_that_make_no_sense(flag, value, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        vgg.main(["--smoke", "--data", str(tmp_path), "--out", str(tmp_path), flag, value])
    assert stopped.value.code == 2 and flag in capsys.readouterr().err


def test_one_training_is_told_by_its_seed_and_has_the_scaled_alpha(images):
    ours, labels = pictures(images.repeat(2, 1, 1, 1)), torch.arange(80) % 10
    runs = [
        vgg.train_one("A-LRN", settings(), ours, images.repeat(2, 1, 1, 1), labels, 0.05, 1, seed) for seed in (1, 1, 2)
    ]
    assert torch.equal(runs[0][1], runs[1][1]) and not torch.equal(runs[0][1], runs[2][1])
    norm = runs[0][0].features[2]
    assert norm.alpha == pytest.approx(1e-4 * images.float().std().item() ** 2, rel=0.05)
