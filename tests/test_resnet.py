"""The nets, their training and the measurements of papers/resnet.py, against torchvision's and longer ways round."""

import math

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from papers import resnet


def randomized(model: nn.Module) -> nn.Module:
    """Everything that starts at 0 or 1 made random, so that leaving it out shows; float64."""
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.weight.data.uniform_(0.5, 1.5), layer.bias.data.normal_()
            layer.running_mean.normal_(), layer.running_var.uniform_(0.5, 2)
    return model.double()


def pictures(count: int, side: int = 8, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, side, side, 3, generator=torch.Generator().manual_seed(seed))


# Data


def test_prepare_takes_off_the_training_sets_mean_pixel_by_pixel():
    images = torch.randint(256, (20, 32, 32, 3), dtype=torch.uint8)
    others = torch.randint(256, (4, 32, 32, 3), dtype=torch.uint8)
    x, x_test = resnet.prepare(images, others, 8)
    pooled, pooled_test = (i.float().view(-1, 8, 4, 8, 4, 3).mean((2, 4)) for i in (images, others))
    assert x.shape == (20, 8, 8, 3) and abs(x.std() - 1) < 1e-4
    torch.testing.assert_close(x.mean(0), torch.zeros(8, 8, 3), atol=1e-5, rtol=0)
    scale = (pooled - pooled.mean(0)).std()
    torch.testing.assert_close(x_test, (pooled_test - pooled.mean(0)) / scale, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("side", "pad"), [(8, 1), (16, 2), (32, 4)])
@pytest.mark.parametrize("flip", [False, True])
def test_augmentation_is_one_of_all_crops_of_the_padded_image(side, pad, flip):
    images = pictures(400, side)
    done = resnet.augment(images, flip, torch.Generator().manual_seed(1))
    padded = F.pad(images, [0, 0, pad, pad, pad, pad])
    places = 2 * pad + 1
    found = torch.zeros(2, places, places)
    for down in range(places):
        for right in range(places):
            crop = padded[:, down : down + side, right : right + side]
            for mirrored, candidate in enumerate((crop, crop.flip(2))):
                found[mirrored, down, right] = (candidate == done).flatten(1).all(1).sum()
    assert found.sum() == 400  # each is exactly one of them
    down, right = found.sum((0, 2)), found.sum((0, 1))
    assert min(down.min(), right.min()) > 0.4 * 400 / places  # all of them are drawn
    assert found[1].sum() == 0 if not flip else 150 < found[1].sum() < 250


def test_stand_in_is_the_same_every_time():
    one, two = resnet.recoloured_digits(60, 30), resnet.recoloured_digits(60, 30)
    assert all(torch.equal(a, b) for a, b in zip(one, two))
    assert one[0].shape == (60, 32, 32, 3) and one[0].dtype == torch.uint8 and one[3].shape == (30,)


# Model


@pytest.mark.parametrize("depth", [18, 34, 50])
def test_imagenet_nets_are_torchvisions(depth):
    torch.manual_seed(depth)
    theirs = randomized(getattr(torchvision.models, f"resnet{depth}")(weights=None))
    ours = resnet.imagenet_net(depth).double()
    ours.load_state_dict(theirs.state_dict())  # the names are the same, too
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(x)[:, 0], theirs.eval()(x))
        torch.testing.assert_close(ours.train()(x)[:, 0], theirs.train()(x))  # and with the batch's statistics
    torch.testing.assert_close(ours.bn1.running_var, theirs.bn1.running_var)


def test_gradients_are_torchvisions():
    theirs = randomized(torchvision.models.resnet18(weights=None))
    ours = resnet.imagenet_net(18).double()
    ours.load_state_dict(theirs.state_dict())
    x, y = torch.randn(3, 3, 64, 64, dtype=torch.float64), torch.tensor([1, 999, 30])
    F.cross_entropy(ours(x)[:, 0], y).backward(), F.cross_entropy(theirs(x), y).backward()
    for (name, one), other in zip(ours.named_parameters(), theirs.parameters()):
        torch.testing.assert_close(one.grad, other.grad, msg=lambda m, name=name: f"{name}: {m}")


def test_counts_of_parameters_and_multiply_adds():
    cifar, imagenet, flops = resnet.sizes()
    assert cifar == {20: 269_722, 32: 464_154, 44: 658_586, 56: 853_018, 110: 1_727_962}
    assert imagenet == {18: 11_689_512, 34: 21_797_672, 50: 25_557_032, 101: 44_549_160, 152: 60_192_808}
    for depth, count in imagenet.items():
        meta = getattr(torchvision.models, f"ResNet{depth}_Weights").DEFAULT.meta
        assert count == meta["num_params"] and flops[depth] / 1e9 == pytest.approx(meta["_ops"], abs=6e-4)


def test_cifar_stages_and_depth():
    model, sides = resnet.cifar_net(20), []
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda m, x, y: sides.append((tuple(y.shape[1:]), m.kernel_size)))
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 1, 10)
    assert sides == [
        ((16 * 2**s, 32 // 2**s, 32 // 2**s), (3, 3)) for s in (0, 1, 2) for _ in range(7 if s == 0 else 6)
    ]
    plain = resnet.cifar_net(20, "none")  # option A has no weights: the two are equally large (sec. 4.2)
    assert [w.shape for w in plain.parameters()] == [w.shape for w in model.parameters()]
    for depth in (2, 21, 0):
        with pytest.raises(ValueError, match="6n"):
            resnet.cifar_net(depth)


@pytest.mark.parametrize(
    ("inputs", "outputs", "stride", "groups"), [(2, 4, 2, 3), (3, 5, 1, 2), (4, 8, 2, 1), (3, 3, 2, 2)]
)
def test_option_a_by_brute_force(inputs, outputs, stride, groups):
    x = torch.randn(2, groups * inputs, 6, 6).double()
    y = resnet.option_a(x, outputs, stride, groups)
    expected = torch.zeros(2, groups * outputs, 6 // stride, 6 // stride).double()
    for g in range(groups):
        for c in range(inputs):
            for i in range(6 // stride):
                for j in range(6 // stride):
                    expected[:, g * outputs + c, i, j] = x[:, g * inputs + c, stride * i, stride * j]
    assert torch.equal(y, expected)


@pytest.mark.parametrize("shortcut", ["none", "A", "B"])
def test_cifar_net_the_long_way_round(shortcut):
    torch.manual_seed(0)
    model, x = randomized(resnet.cifar_net(14, shortcut, width=3)), torch.randn(4, 3, 8, 8).double()
    for training in (True, False):
        model.train(training)

        def norm(layer, h, training=training):
            if training:
                mean, var = h.mean((0, 2, 3)), h.var((0, 2, 3), unbiased=False)
            else:
                mean, var = layer.running_mean.clone(), layer.running_var.clone()
            mean, var, scale, shift = (t[:, None, None] for t in (mean, var, layer.weight, layer.bias))
            return scale * (h - mean) / (var + 1e-5).sqrt() + shift

        h = norm(model.bn1, F.conv2d(x, model.conv1.weight, padding=1)).relu()
        for stage, layer in enumerate((model.layer1, model.layer2, model.layer3)):
            for i, block in enumerate(layer):
                stride = 2 if stage and not i else 1
                y = norm(block.bn1, F.conv2d(h, block.conv1.weight, stride=stride, padding=1)).relu()
                y = norm(block.bn2, F.conv2d(y, block.conv2.weight, padding=1))
                if shortcut == "B" and stride == 2:
                    h = norm(block.downsample[1], F.conv2d(h, block.downsample[0].weight, stride=2))
                elif shortcut == "A" and stride == 2:
                    h = torch.cat([h[:, :, ::2, ::2], torch.zeros_like(h[:, :, ::2, ::2])], 1)
                h = (y if shortcut == "none" else y + h).relu()
        expected = h.mean((2, 3)) @ model.fc.weight.T + model.fc.bias
        torch.testing.assert_close(model(x)[:, 0], expected)


def test_the_start_is_he_initialization():
    torch.manual_seed(0)
    model = resnet.cifar_net(20)
    for layer in (model.layer3[1].conv1, model.layer3[0].conv1, model.layer2[1].conv2):
        fan_in = 9 * layer.in_channels
        assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / fan_in), rel=0.03)
        assert 2.8 < ((layer.weight / layer.weight.std()) ** 4).mean() < 3.2  # a Gaussian's kurtosis
    assert (model.fc.bias == 0).all() and model.fc.weight.std().item() == pytest.approx(math.sqrt(2 / 64), rel=0.1)


@pytest.mark.parametrize("shortcut", ["none", "A", "B"])
def test_side_by_side_are_the_single_nets(shortcut):
    model = resnet.side_by_side(8, shortcut, 3, [5, 6])
    singles = []
    for seed in (5, 6):
        torch.manual_seed(seed)
        singles.append(resnet.cifar_net(8, shortcut, 3))
    x = pictures(10).view(2, 5, 8, 8, 3)
    logits = model(resnet.interleave(x))  # (B, G, 10)
    for g, single in enumerate(singles):
        torch.testing.assert_close(logits[:, g], single(x[g].permute(0, 3, 1, 2))[:, 0], atol=1e-4, rtol=1e-4)
    assert model.conv1.weight.is_contiguous(memory_format=torch.channels_last)
    assert resnet.interleave(x).is_contiguous(memory_format=torch.channels_last)


# Training


def test_rate_rises_and_falls_in_straight_lines():
    shares = [resnet.share_of_rate(step, 99) for step in range(99)]
    assert shares[19] == pytest.approx(1) and shares[9] == pytest.approx(0.5)
    assert shares[59] == pytest.approx(0.5) and shares[98] == pytest.approx(1 / 80)
    assert max(shares) <= 1 and min(shares) > 0


@pytest.mark.parametrize("flip", [False, True])
def test_training_is_torchs_sgd_on_each_net_alone(flip, monkeypatch):
    """Also that nets side by side don't touch each other, and that each has its own rate, batches and augmentation."""
    monkeypatch.setattr(resnet, "BATCH", 6)
    x, y = pictures(30).double(), torch.arange(30) % 10
    rates, seeds, steps = [0.05, 0.2], [3, 4], 4
    model = resnet.side_by_side(8, "A", 2, seeds).double().eval()  # train() has to see to the mode
    errors = resnet.train(model, x, y, rates, seeds, steps, flip)
    assert errors.shape == (2, steps)
    logits = resnet.predict(model, x)
    assert logits.shape == (2, 30, 10)
    for g, (rate, seed) in enumerate(zip(rates, seeds)):
        torch.manual_seed(seed)
        single, generator = resnet.cifar_net(8, "A", 2).double(), torch.Generator().manual_seed(seed)
        optimizer = torch.optim.SGD(single.parameters(), lr=rate, momentum=0.9, weight_decay=1e-4)
        for step in range(steps):
            chosen = torch.randint(30, (6,), generator=generator)
            said = single(resnet.augment(x[chosen], flip, generator).permute(0, 3, 1, 2))[:, 0]
            assert errors[g, step].item() == pytest.approx(100 * (said.argmax(1) != y[chosen]).double().mean().item())
            optimizer.param_groups[0]["lr"] = rate * resnet.share_of_rate(step, steps)
            optimizer.zero_grad()
            F.cross_entropy(said, y[chosen]).backward()
            optimizer.step()
        torch.testing.assert_close(logits[g], single.eval()(x.permute(0, 3, 1, 2))[:, 0], atol=1e-6, rtol=1e-5)
        weights = [w.unflatten(0, (2, -1))[g] for w in model.parameters()]
        for ours, theirs in zip(weights, single.parameters()):
            torch.testing.assert_close(ours, theirs, atol=1e-7, rtol=1e-6)  # rates are float32


def a_small_task(count: int = 600):
    """Ten coloured pictures under noise."""
    y = torch.arange(count) % 10
    return 1.5 * pictures(10, seed=7)[y] + 0.5 * pictures(count, seed=8), y


@pytest.mark.parametrize("shortcut", ["none", "A"])
def test_training_learns(shortcut):
    x, y = a_small_task()
    model, chance = resnet.side_by_side(8, shortcut, 4, [0, 1]), 90.0
    errors = resnet.train(model, x[:500], y[:500], [0.1, 0.1], [0, 1], 60, flip=False)
    wrong = 100 * (resnet.predict(model, x[500:]).argmax(2) != y[500:]).float().mean(1)
    assert errors[:, 0].min() > 60 and errors[:, -10:].mean(1).max() < 0.5 * chance and wrong.max() < 0.4 * chance
    said = resnet.predict(model, x[500:]).argmax(2)
    assert all(len(net.unique()) == 10 for net in said)


# Experiments


def test_rate_is_chosen_by_validation_loss_alone(monkeypatch):
    x, y = a_small_task(300)
    shuffled = y[torch.randperm(300, generator=torch.Generator().manual_seed(0))]
    seen = []
    monkeypatch.setattr(resnet, "train", lambda model, x, y, *rest: seen.append((x, y, *rest)))
    confident = torch.zeros(3, 40, 10)
    monkeypatch.setattr(resnet, "predict", lambda model, x: seen.append(x) or confident)
    data = [x[:200], y[:200], x[200:240], y[200:240], x[240:], shuffled[240:]]
    for best in range(3):
        confident.zero_()[best] = F.one_hot(y[200:240], 10).float()
        seen.clear()
        assert resnet.choose_rate(8, "plain", 2, data, 0, 5, False) == resnet.RATES[best]
        (*trained, rates, seeds, steps, flip, _), shown = seen
        assert trained[0] is data[0] and trained[1] is data[1] and shown is data[2]
        assert tuple(rates) == resnet.RATES and seeds == [0, 0, 0] and steps == 5 and flip is False
    confident[1] = torch.nan
    assert resnet.choose_rate(8, "plain", 2, data, 0, 5, False) == resnet.RATES[2]


def test_fig_6_trains_all_seeds_at_the_chosen_rate(monkeypatch):
    monkeypatch.setattr(resnet, "choose_rate", lambda *_: 0.05)
    x, y = a_small_task(300)
    data = [x[:200], y[:200], x[200:240], y[200:240], x[240:], y[240:]]
    run = resnet.fig_6(8, "residual", 2, data, [2, 3], 8, False)
    model = resnet.side_by_side(8, "A", 2, [2, 3])
    errors = resnet.train(model, *data[:2], [0.05, 0.05], [2, 3], 8, False)
    assert (
        torch.equal(run["curve"], errors) and torch.equal(run["train"], errors[:, -2:].mean(1)) and run["rate"] == 0.05
    )
    wrong = 100 * (resnet.predict(model, data[4]).argmax(2) != data[5]).float().mean(1)
    torch.testing.assert_close(run["test"], wrong)
    torch.testing.assert_close(run["responses"], resnet.responses(model, data[4]))


@pytest.mark.parametrize("kind", resnet.KINDS)
def test_responses_are_after_bn_and_before_nonlinearity_and_addition(kind):
    model, x = resnet.side_by_side(8, resnet.KINDS[kind], 3, [0, 1]), pictures(20)
    resnet.train(model, x, torch.arange(20) % 10, [0.1, 0.1], [0, 1], 3, False)
    found = resnet.responses(model, x)
    h = F.relu(first := model.bn1(model.conv1(resnet.interleave(x.expand(2, *x.shape)))))
    expected = [first]
    for block in (*model.layer1, *model.layer2, *model.layer3):
        expected.append(block.bn1(block.conv1(h)))
        expected.append(block.residual(h))
        h = block(h)
    assert found.shape == (2, 7)
    for i, y in enumerate(expected):
        torch.testing.assert_close(found[:, i], torch.stack([net.std() for net in y.chunk(2, 1)]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("normalized", [True, False])
@pytest.mark.parametrize("kind", resnet.KINDS)
def test_first_gradient_is_each_single_nets(kind, normalized):
    x, y = pictures(6), torch.arange(6)
    norms = resnet.first_gradient(8, kind, 3, normalized, x, y, [1, 2])
    for seed, norm in zip([1, 2], norms):
        torch.manual_seed(seed)
        model = resnet.cifar_net(8, resnet.KINDS[kind], 3)
        if not normalized:
            for layer in model.modules():
                if isinstance(layer, nn.BatchNorm2d):
                    layer.forward = lambda h: h
        F.cross_entropy(model(x.permute(0, 3, 1, 2))[:, 0], y).backward()
        assert norm.item() == pytest.approx(model.conv1.weight.grad.norm().item(), rel=1e-3)


def test_multiply_adds_of_a_small_net_by_hand():
    model = resnet.cifar_net(8, "A", width=2)
    assert resnet.multiply_adds(model, 8) == 64 * 27 * 2 + 64 * 36 * 2 + 16 * (72 + 144) + 4 * (288 + 576) + 80


def test_spread():
    assert resnet.spread(torch.tensor([1.0, 2.0, 6.0])) == "3.0 (1.0 to 6.0)"
    assert resnet.spread(torch.tensor([1e-3, 3e-3]), ".0e") == "2e-03 (1e-03 to 3e-03)"


@pytest.mark.parametrize("wrong", [["--steps", "0"], ["--width", "0"], ["--image-size", "7"], ["--image-size", "64"]])
def test_a_wrong_size_gets_a_sentence(wrong, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        resnet.main(["--smoke", "--out", str(tmp_path), *wrong])
    assert stopped.value.code == 2 and wrong[0] in capsys.readouterr().err
