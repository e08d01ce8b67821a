"""The nets of papers/resnet.py against nets put together from torchvision's blocks, and what is done with them."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models.resnet import BasicBlock

from papers import resnet


class OptionA(nn.Module):
    """Channel by channel and place by place."""

    def forward(self, x):
        y = x.new_zeros(len(x), 2 * x.shape[1], x.shape[2] // 2, x.shape[3] // 2)
        for channel in range(x.shape[1]):
            for row in range(y.shape[2]):
                for column in range(y.shape[3]):
                    y[:, channel, row, column] = x[:, channel, 2 * row, 2 * column]
        return y


class Nothing(nn.Module):
    """What a plain net adds to F(x)."""

    def forward(self, x):
        return 0.0


def from_torchvision(
    depth: int, width: int, skip: bool, channels: int = 3, stride: int = 1
) -> nn.Sequential:
    layers = [
        nn.Conv2d(channels, width, 2 * stride + 1, stride, stride, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    ]
    if stride == 2:
        layers.append(nn.MaxPool2d(2))
    for stage in range(3):
        outputs = width * 2**stage
        for i in range((depth - 2) // 6):
            halve = stage > 0 and i == 0
            shortcut = (OptionA() if halve else None) if skip else Nothing()
            layers.append(
                BasicBlock(outputs // 2 if halve else outputs, outputs, 2 if halve else 1, shortcut)
            )
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, 10))


def randomize_bn(model: nn.Module) -> None:
    """What starts at 0 or 1 is made random, so that leaving it out shows."""
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.weight.data.uniform_(0.5, 1.5), layer.bias.data.normal_()
            layer.running_mean.normal_(), layer.running_var.uniform_(0.5, 2)


def pair(*shape) -> tuple[resnet.ResNet, nn.Module]:
    """Our net and torchvision's with the same weights, whose order is the same too."""
    torch.manual_seed(0)
    ours, theirs = resnet.ResNet(*shape), from_torchvision(*shape)
    randomize_bn(theirs)
    assert len(ours.state_dict()) == len(theirs.state_dict())
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values())))
    return ours, theirs


def bytes_(count: int, channels: int = 3, side: int = 8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(256, (count, channels, side, side), dtype=torch.uint8, generator=generator)


# Model


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("skip", "stride"), [(True, 1), (True, 2), (False, 1)])
def test_logits_and_gradients_are_torchvisions(skip, stride, training):
    ours, theirs = (net.double().train(training) for net in pair(14, 3, skip, 3, stride))
    x = torch.randn(5, 3, 16, 16, dtype=torch.float64)
    y = torch.arange(5)
    one, other = ours(x), theirs(x)
    torch.testing.assert_close(one, other)
    F.cross_entropy(one, y).backward(), F.cross_entropy(other, y).backward()
    for mine, its in zip(ours.parameters(), theirs.parameters()):
        torch.testing.assert_close(mine.grad, its.grad)


def test_parameters_are_table_6s_and_equally_many_without_skip_connections():
    for depth, count in {
        20: 269_722,
        32: 464_154,
        44: 658_586,
        56: 853_018,
        110: 1_727_962,
    }.items():
        for skip in (True, False):  # 0.27, 0.46, 0.66, 0.85 and 1.7 million in the paper
            assert (
                sum(weight.numel() for weight in resnet.ResNet(depth, 16, skip).parameters())
                == count
            )


def depth_of(model: nn.Module) -> int:
    return sum(isinstance(layer, nn.Conv2d | nn.Linear) for layer in model.modules())


def test_depth_counts_layers_and_the_start_is_hes():
    torch.manual_seed(0)
    model = resnet.ResNet(20, 16, True)
    assert depth_of(model) == 20
    for weight in (weight for weight in model.parameters() if weight.dim() == 4):
        assert weight.std().item() == pytest.approx((2 / weight[0].numel()) ** 0.5, rel=0.12)


def test_identity_blocks_change_no_output_at_all():
    torch.manual_seed(0)
    model = resnet.ResNet(14, 4, False)
    randomize_bn(model)
    model.eval()
    x = torch.randn(6, 3, 16, 16)
    deeper = resnet.deepen(model, 32)
    assert depth_of(deeper) == 32 and depth_of(model) == 14
    assert [len(stage) for stage in deeper.stages] == [5, 5, 5]
    assert torch.equal(deeper(x), model(x)) and model(x).std() > 0.01
    h = torch.rand(2, 4, 5, 5)
    assert torch.equal(resnet.identity_block(4)(h), h)


# Data and training


def test_mirror_flips_about_half_of_the_images():
    torch.manual_seed(0)
    x = bytes_(400)
    y = resnet.mirror(x)
    same, flipped = ((y == z).flatten(1).all(1) for z in (x, x.flip(3)))
    assert (same | flipped).all() and 150 < flipped.sum() < 250


def test_prediction_is_each_images_own():
    model, theirs = pair(8, 4, True)
    x = bytes_(12)
    together = resnet.predict(model, x)
    torch.testing.assert_close(together[3:4], resnet.predict(model, x[3:4]))
    torch.testing.assert_close(together, theirs.eval()(x / 127.5 - 1))
    labels = together.argmax(1)
    labels[:3] = (labels[:3] + 1) % 10
    assert resnet.error(together, labels) == pytest.approx(25)


def a_small_task(count: int = 600) -> tuple[torch.Tensor, torch.Tensor]:
    """Ten coloured pictures under noise."""
    torch.manual_seed(0)
    y = torch.arange(count) % 10
    noisy = 0.6 * torch.rand(10, 3, 8, 8)[y] + 0.4 * torch.rand(count, 3, 8, 8)
    return (255 * noisy).byte(), y


@pytest.mark.parametrize("skip", [True, False])
def test_training_learns(skip):
    x, y = a_small_task()
    model, chance = resnet.ResNet(8, 4, skip), 90
    errors = resnet.train(model, x[:500], y[:500], 80, mirrored=False, title="")
    wrong = resnet.error(resnet.predict(model, x[500:]), y[500:])
    assert errors.shape == (80,) and errors[0] > 60
    assert errors[-10:].mean() < 0.3 * chance and wrong < 0.3 * chance


def test_training_error_is_that_of_a_batch_before_its_step():
    x, y = a_small_task()
    torch.manual_seed(3)
    model = resnet.ResNet(8, 4, True)
    before = (
        model.train()(resnet.prepare(x)).argmax(1) != y
    )  # whole set, so only nearly the batch's statistics
    errors = resnet.train(model, x, y, 6, mirrored=True, title="")
    assert abs(errors[0] - 100 * before.float().mean()) < 15


# Experiments


@pytest.mark.parametrize("kind", ["plain", "residual"])
@pytest.mark.parametrize("normalized", [True, False])
def test_first_gradients_are_torchvisions(kind, normalized):
    x, y = bytes_(16, channels=1), torch.arange(16) % 10
    torch.manual_seed(5)
    found = resnet.first_gradients(kind, normalized, (8, 14), x, y)
    torch.manual_seed(5)
    for depth, norm in zip((8, 14), found):
        ours = resnet.ResNet(depth, resnet.NARROW, kind == "residual", 1)
        state = torch.get_rng_state()
        theirs = from_torchvision(depth, resnet.NARROW, kind == "residual", 1)
        torch.set_rng_state(state)  # theirs draws weights, too
        theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values())))
        if not normalized:
            for layer in theirs.modules():
                if isinstance(layer, nn.BatchNorm2d):
                    layer.eval().eps = 0  # mean 0, variance 1, scale 1, shift 0: the identity
        F.cross_entropy(theirs(x / 127.5 - 1), y).backward()
        assert norm == pytest.approx(theirs[0].weight.grad.norm().item(), rel=1e-3)


def test_degradation_trains_every_net():
    x, y = a_small_task(200)
    models, errors = resnet.degradation(x[:, :1], y, (8, 14), steps=3)
    assert (
        list(models)
        == list(errors)
        == [(kind, depth) for depth in (8, 14) for kind in ("plain", "residual")]
    )
    for (kind, depth), model in models.items():
        assert depth_of(model) == depth and len(errors[kind, depth]) == 3
        assert {block.skip for stage in model.stages for block in stage} == {kind == "residual"}
