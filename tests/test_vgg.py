"""papers/vgg.py against torchvision's VGGs, against the arithmetic of receptive fields, and on toys."""

import pytest
import torch
import torchvision
from torch import nn

from papers import vgg

TORCHVISION = {"A": "vgg11", "B": "vgg13", "D": "vgg16", "E": "vgg19"}
COUNTS = {"A": 132_863_336, "B": 133_047_848, "C": 133_638_952, "D": 138_357_544, "E": 143_667_240}


def theirs(name: str, **options) -> nn.Module:
    return getattr(torchvision.models, name)(weights=None, **options)


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts_and_shapes_of_the_configurations(name):
    with torch.device("meta"):
        model = vgg.VGG(name)
        assert vgg.parameters(model) == COUNTS[name]
        assert model.features(torch.empty(2, 3, 224, 224)).shape == (2, 512, 7, 7)
        assert model(torch.empty(2, 3, 224, 224)).shape == (2, 1000)
    kernels = [layer.kernel_size[0] for layer in model.features if isinstance(layer, nn.Conv2d)]
    assert sum(kernel == 1 for kernel in kernels) == (3 if name == "C" else 0)
    assert (
        len(kernels) + 3 == {"A": 11, "B": 13, "C": 16, "D": 16, "E": 19}[name]
    )  # weight layers, Table 1


@pytest.mark.parametrize("name", TORCHVISION)
def test_logits_are_torchvisions_with_its_weights(name):
    with torch.device("meta"):
        ours, reference = vgg.VGG(name).eval(), theirs(TORCHVISION[name]).eval()
    torch.manual_seed(0)
    weights = {}
    for (
        key,
        value,
    ) in (
        reference.state_dict().items()
    ):  # cheap for the large layers: a few rows drawn, then repeated
        rows = (
            torch.randn(min(len(value), 32), *value.shape[1:])
            * (2 / max(1, value[0].numel())) ** 0.5
        )
        weights[key] = rows.repeat(-(-len(value) // 32), *[1] * (value.dim() - 1))[: len(value)]
    for model in (ours, reference):
        model.load_state_dict(weights, assign=True)
    assert [layer.p for layer in ours.modules() if isinstance(layer, nn.Dropout)] == [0.5, 0.5]
    x = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        expected = reference(x)
        assert expected.std() > 0.1
        torch.testing.assert_close(ours(x), expected)


def test_small_net_is_torchvisions_with_batch_norm_forward_and_backward():
    """Torchvision's own layer list, at a width of 4 channels and on images of 32x32, in float64."""
    torch.manual_seed(0)
    ours = vgg.initialize(vgg.VGG("small", 4, 16, side=32, batch_norm=True)).double()
    plan = [4, "M", 8, "M", 16, "M", 32, "M", 32, 32, "M"]
    features = torchvision.models.vgg.make_layers(plan, batch_norm=True)
    reference = torchvision.models.VGG(features, num_classes=1000, init_weights=False, dropout=0.0)
    reference.avgpool = nn.Identity()
    reference.classifier[0], reference.classifier[3] = nn.Linear(32, 16), nn.Linear(16, 16)
    reference.classifier[6] = nn.Linear(16, 1000)
    reference = reference.double()
    reference.load_state_dict(ours.state_dict())
    x = torch.randn(8, 3, 32, 32, dtype=torch.float64)
    out = torch.randn(8, 1000, dtype=torch.float64)
    for model in (ours, reference):
        (model(x) * out).sum().backward()
    torch.testing.assert_close(ours(x), reference(x))
    pairs = list(zip(ours.named_parameters(), reference.named_parameters()))
    assert len(pairs) == 2 * (6 + 6 + 3)
    for (name, mine), (other, its) in pairs:
        assert name == other
        torch.testing.assert_close(mine.grad, its.grad)


def test_a_stack_is_convolutions_rectifiers_and_a_mean():
    torch.manual_seed(0)
    model = vgg.stack("357", width=4).double()
    first, _, second, _, third, *_, linear = model
    x = torch.randn(3, 1, 14, 14, dtype=torch.float64)
    h = x
    for layer, kernel in ((first, 3), (second, 5), (third, 7)):
        assert layer.weight.shape[2:] == (kernel, kernel)
        h = nn.functional.conv2d(h, layer.weight, layer.bias, padding=(kernel - 1) // 2).clamp(
            min=0
        )
        assert h.shape == (3, 4, 14, 14)
    torch.testing.assert_close(model(x), h.mean(dim=(2, 3)) @ linear.weight.T + linear.bias)


@pytest.mark.parametrize(
    "kernels, side", [("3", 3), ("5", 5), ("7", 7), ("33", 5), ("333", 7), ("331", 5), ("37", 9)]
)
def test_receptive_fields(kernels, side):
    field = vgg.receptive_field(kernels)
    inside = torch.zeros(21, 21, dtype=torch.bool)
    inside[10 - side // 2 : 11 + side // 2, 10 - side // 2 : 11 + side // 2] = True
    assert torch.equal(field > 0, inside)
    assert vgg.field_side(kernels) == side
    torch.testing.assert_close(
        field.sum(), torch.tensor(1.0, dtype=torch.float64)
    )  # a mean of means


def test_receptive_fields_do_not_depend_on_chance():
    for seed in range(20):
        torch.manual_seed(seed)
        assert vgg.field_side("333333") == 13


def test_a_pixel_outside_the_field_changes_nothing():
    """The gradient's field by brute force: change one pixel at a time and look at one output."""
    torch.manual_seed(0)
    layers = nn.Sequential(*vgg.stage("333", 1, 4)).double()
    x = torch.rand(1, 1, 13, 13, dtype=torch.float64)
    before, reached = layers(x)[0, :, 6, 6], torch.zeros(13, 13, dtype=torch.bool)
    for row in range(13):
        for column in range(13):
            changed = x.clone()
            changed[0, 0, row, column] += 1
            reached[row, column] = (layers(changed)[0, :, 6, 6] - before).abs().max() > 0
    assert int(reached.any(dim=0).sum()) == int(reached.any(dim=1).sum()) == vgg.field_side("333")


def test_every_rival_has_the_field_of_its_3x3_layers():
    for rival, small in vgg.RIVALS.items():
        assert set(small) == {"3"} and small in vgg.DEEPER
        assert vgg.field_side(rival) == vgg.field_side(small)


def test_parameters_of_a_stack():
    assert vgg.parameters(vgg.stack("77", 16)) == (49 + 1) * 16 + (49 * 16 + 1) * 16 + 17 * 10


def test_the_start_has_he_variance_and_no_bias():
    torch.manual_seed(0)
    model = vgg.initialize(vgg.VGG("D", 16, 256, side=32))
    for layer in model.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            assert layer.weight.var().item() * layer.weight[0].numel() == pytest.approx(2, rel=0.15)
            assert (layer.bias == 0).all()


def test_training_mirrors_half_of_the_images_where_it_is_asked_to():
    torch.manual_seed(0)
    seen, model = [], nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x, y = torch.rand(1, 3, 2, 2), torch.tensor([1])
    for mirrored in (False, True):
        vgg.train(model, torch.optim.SGD(model.parameters(), lr=0.1), x, y, 2, mirrored)
    kept = [[torch.equal(image, x[0]) for image in batch] for batch in seen]
    turned = [[torch.equal(image, x[0].flip(2)) for image in batch] for batch in seen]
    assert all(kept[0]) and all(kept[1]) and 10 < sum(kept[2]) < 54 and 10 < sum(kept[3]) < 54
    assert [a + b for a, b in zip(kept[2], turned[2])] == [1] * 64


def strokes(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (count, 1, 14, 14) with one line across or down, somewhere; the class says which."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(2, (count,), generator=generator)
    x = 0.1 * torch.rand(count, 1, 14, 14, generator=generator)
    for image, label, place in zip(x, y, torch.randint(14, (count,), generator=generator)):
        (image[0] if label else image[0].T)[place] = 1
    return x, y


def test_a_stack_learns_strokes_that_chance_does_not():
    torch.manual_seed(0)
    (x, y), (x_test, y_test) = strokes(1000, 0), strokes(500, 1)
    error = vgg.stack_error("333", [x, y, x_test, y_test], steps=100)
    assert error < 10 < 40  # chance errs on half of them


def test_the_small_net_learns_bright_channels_that_chance_does_not():
    torch.manual_seed(0)
    y = torch.randint(3, (600,))
    x = torch.rand(600, 3, 32, 32) - 0.5
    x[torch.arange(600), y] += 0.3
    data = [x[:400], y[:400], x[400:], y[400:]]
    said = vgg.at_work("small", data, width=4, hidden=16, steps=40, mirrored=True)
    assert (said == y[400:]).float().mean() > 0.9  # chance is right on a third


@pytest.mark.parametrize(
    "dataset, mirrored", [("CIFAR-10", True), ("digits (stand-in for CIFAR-10)", False)]
)
def test_only_photographs_are_mirrored(dataset, mirrored, tmp_path, monkeypatch):
    told, classes = [], torch.arange(60) % 10
    photos = torch.randint(256, (60, 3, 32, 32)).byte()
    digits = torch.rand(60, 28, 28)

    def watched(model, optimizer, x, y, steps, mirrored):
        told.extend([mirrored] * (x.shape[1] == 3))  # the other images are MNIST's

    monkeypatch.setattr(vgg, "train", watched)
    monkeypatch.setattr(vgg, "load_cifar10", lambda root: (dataset, *[photos, classes] * 2))
    monkeypatch.setattr(vgg, "load_mnist", lambda root: ("MNIST", *[digits, classes] * 2))
    vgg.main(["--smoke", "--out", str(tmp_path)])
    assert told == [mirrored]
