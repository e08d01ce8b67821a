"""papers/alexnet.py against torch's own functions, torchvision's crops and scikit-learn's components."""

import pytest
import torch
import torch.nn.functional as F
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from torch import nn
from torchvision.transforms.functional import five_crop, hflip

from papers import alexnet as a


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def random(*shape):
    return torch.randn(*shape, dtype=torch.float64)


@pytest.mark.parametrize("shape", [(2, 7, 3, 4), (1, 12, 1, 2), (4, 96, 2, 2)])
@pytest.mark.parametrize(
    "options", [{}, {"k": 1.3, "n": 3, "alpha": 0.7, "beta": 0.4}, {"n": 7, "alpha": 0.4}]
)
def test_local_response_norm_equals_torchs_forward_and_backward(shape, options):
    x, readout = 50 * random(*shape), random(*shape)
    k, n, alpha, beta = ({"k": 2, "n": 5, "alpha": 1e-4, "beta": 0.75} | options).values()
    ours, torchs = x.clone().requires_grad_(), x.clone().requires_grad_()
    out = a.local_response_norm(ours, **options)
    expected = F.local_response_norm(torchs, n, n * alpha, beta, k)  # torch divides alpha by n
    torch.testing.assert_close(out, expected)
    (out * readout).sum().backward()
    (expected * readout).sum().backward()
    torch.testing.assert_close(ours.grad, torchs.grad)


def test_the_full_nets_layers_have_the_papers_sizes():
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
    neurons = []
    with torch.device("meta"):
        net = a.AlexNet()
        for layer in net.children():
            layer.register_forward_hook(lambda _, inputs, output: neurons.append(output.numel()))
        net(torch.empty(1, 3, 227, 227))
        with pytest.raises(RuntimeError):  # the 224 pixels of the text don't fit
            net(torch.empty(1, 3, 224, 224))
    assert {name: a.parameters(layer) for name, layer in net.named_children()} == by_hand
    assert a.parameters(net) == sum(by_hand.values()) == 60_965_224
    assert neurons[:8] == [
        96 * 55**2,
        186_624,
        64_896,
        64_896,
        43_264,
        4096,
        4096,
        1000,
    ]  # sec. 3.5


def grouped(x, layer, groups, **options):
    """A convolution in groups as so many convolutions, one after the other."""
    parts = zip(x.chunk(groups, 1), layer.weight.chunk(groups), layer.bias.chunk(groups))
    return torch.cat([F.conv2d(*part, **options) for part in parts], 1)


def test_full_net_equals_torchs_functions_forward_and_backward():
    net = a.AlexNet(width=12, hidden=20, classes=7).double().eval()
    for layer in net.children():
        nn.init.normal_(layer.weight, std=(2 / layer.weight[0].numel()) ** 0.5)
        nn.init.normal_(layer.bias)
    image = (80 * random(2, 3, 227, 227)).requires_grad_()
    x = F.relu(grouped(image, net.conv1, 1, stride=4))
    x = F.max_pool2d(F.local_response_norm(x, 5, 5e-4, 0.75, 2), 3, 2)
    x = F.relu(grouped(x, net.conv2, 2, padding=2))
    x = F.max_pool2d(F.local_response_norm(x, 5, 5e-4, 0.75, 2), 3, 2)
    x = F.relu(grouped(F.relu(grouped(x, net.conv3, 1, padding=1)), net.conv4, 2, padding=1))
    x = F.max_pool2d(F.relu(grouped(x, net.conv5, 2, padding=1)), 3, 2).flatten(1)
    expected = net.fc8(F.relu(net.fc7(F.relu(net.fc6(x)) / 2)) / 2)
    out = net(image)
    torch.testing.assert_close(out, expected)
    grads = [
        torch.autograd.grad(y.square().sum(), [image, net.conv2.weight]) for y in (out, expected)
    ]
    torch.testing.assert_close(*grads)


def worn_net(**options):
    """A small net whose batch norms have seen something."""
    net = a.SmallAlexNet(6, **options).double()
    for norm in net.norms:
        for part in (norm.weight, norm.bias, norm.running_mean):
            nn.init.normal_(part)
        nn.init.uniform_(norm.running_var, 0.5, 2)
    return net


@pytest.mark.parametrize("dropping", [True, False])
def test_small_net_equals_torchs_functions_and_two_towers(dropping):
    net, image = worn_net(dropping=dropping).eval(), random(3, 3, a.CROP, a.CROP).requires_grad_()
    x = image
    layers = [(net.conv1, 1, 2, True), (net.conv2, 2, 2, True), (net.conv3, 1, 1, False)]
    for (layer, groups, padding, pooled), n in zip(
        layers + [(net.conv4, 2, 1, False), (net.conv5, 2, 1, True)], net.norms
    ):
        x = grouped(x, layer, groups, padding=padding)
        x = F.max_pool2d(x, 3, 2) if pooled else x
        x = F.relu(F.batch_norm(x, n.running_mean, n.running_var, n.weight, n.bias))
    torch.testing.assert_close(net.maps(image), x)
    torch.testing.assert_close(a.two_towers(net, image), x)
    half = 0.5 if dropping else 1
    expected = net.fc8(half * F.relu(net.fc7(half * F.relu(net.fc6(x.flatten(1))))))
    torch.testing.assert_close(net(image), expected)
    grads = [
        torch.autograd.grad(y.square().sum(), [image, net.conv4.weight])
        for y in (net(image), expected)
    ]
    torch.testing.assert_close(*grads)
    pictures = random(4, 3, 32, 32).float()
    assert a.towers_differ(net.float(), pictures) < 1e-12
    nn.init.normal_(net.conv3.weight[:, :1])  # the same net still
    assert a.towers_differ(net, pictures) < 1e-12


def test_dropout_silences_half_in_training_and_halves_at_test():
    x = random(50, 400)
    torch.testing.assert_close(a.dropout(x, training=False), x / 2)
    out = a.dropout(x, training=True)
    kept = out != 0
    torch.testing.assert_close(out, x * kept)
    assert abs(kept.double().mean() - 0.5) < 0.02 and not torch.equal(kept[0], kept[1])
    for dropping in (True, False):
        net = a.SmallAlexNet(6, dropping)
        for norm in net.norms:
            norm.eval()
        image = torch.randn(2, 3, a.CROP, a.CROP)
        assert (
            (net.features(image) == 0).float().mean() > 0.65
        ) == dropping  # a rectifier leaves half of them


def test_colour_directions_are_scikit_learns_components():
    images = torch.einsum("nchw,dc->ndhw", random(9, 3, 5, 6), random(3, 3))
    ours = a.colour_directions(images)
    fitted = PCA().fit(images.movedim(1, 3).reshape(-1, 3).numpy())
    values, vectors = torch.tensor(fitted.explained_variance_), torch.tensor(fitted.components_)
    torch.testing.assert_close(ours.norm(dim=0), values)
    torch.testing.assert_close((vectors @ ours).abs(), torch.diag(values))


def test_augmented_images_are_windows_half_of_them_mirrored():
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    images = torch.stack([rows, columns, rows]).expand(600, 3, 32, 32)
    out = a.augment(images, torch.zeros(3, 3))
    assert out.shape == (600, 3, a.CROP, a.CROP)
    assert (out[:, 0].diff(dim=1) == 1).all()
    steps = out[:, 1].diff(dim=2)
    mirrored = (steps == -1).all((1, 2))
    assert (mirrored | (steps == 1).all((1, 2))).all() and 240 < mirrored.sum() < 360
    for channel in (0, 1):  # the least row and column of each window
        assert set(out[:, channel].amin((1, 2)).tolist()) == set(range(32 - a.CROP + 1))


def test_colours_move_along_their_components_by_a_tenth_of_the_eigenvalues():
    values, vectors = torch.tensor([3.0, 1, 0.2]), torch.linalg.qr(torch.randn(3, 3))[0]
    out = a.augment(torch.zeros(1, 3, 32, 32).expand(5000, -1, -1, -1), vectors * values)
    assert (out == out[:, :, :1, :1]).all()  # all pixels of an image by the same
    shift = out[:, :, 0, 0] @ vectors
    torch.testing.assert_close(shift.std(0), 0.1 * values, rtol=0.05, atol=0)
    assert (torch.corrcoef(shift.T) - torch.eye(3)).abs().max() < 0.06


def test_ten_crops_equal_torchvisions():
    images = random(4, 3, 32, 32)
    top_left, top_right, bottom_left, bottom_right, middle = five_crop(images, a.CROP)
    expected = [middle, top_left, top_right, bottom_left, bottom_right]
    assert len(a.ten_crops(images)) == 10
    for one, other in zip(a.ten_crops(images), expected + [hflip(crop) for crop in expected]):
        torch.testing.assert_close(one, other)


def test_accuracy_is_that_of_the_mean_over_ten_crops():
    net, images = worn_net(dropping=True).eval(), random(30, 3, 32, 32)
    with torch.no_grad():
        said = torch.stack([net(crop).softmax(1) for crop in a.ten_crops(images)]).mean(0).argmax(1)
    assert a.accuracy(net, images, said, crops=10) == 100
    assert a.accuracy(net, images, (said + 1) % 10, crops=10) == 0
    assert a.accuracy(net, images, net(a.ten_crops(images)[0]).argmax(1)) == 100


def test_neighbours_equal_scikit_learns():
    queries, stored = random(6, 4), random(30, 4)
    expected = (
        NearestNeighbors(n_neighbors=5).fit(stored).kneighbors(queries, return_distance=False)
    )
    assert a.neighbours(queries, stored).tolist() == expected.tolist()


@pytest.mark.parametrize("augmented, dropping", [(False, False), (True, True)])
def test_training_learns_more_than_the_commonest_class(augmented, dropping):
    y = torch.arange(300) % 10
    x = F.interpolate(torch.randn(10, 3, 4, 4), 32)[y] + 0.3 * torch.randn(
        300, 3, 32, 32
    )  # ten noisy pictures
    net = a.SmallAlexNet(6, dropping)
    a.train(net, x, y, torch.zeros(3, 3) if augmented else None, steps=100)
    assert a.accuracy(net, x, y) > 60  # always the commonest class: 10


@pytest.mark.parametrize(
    "dataset, mirror", [("CIFAR-10", True), ("digits (stand-in for CIFAR-10)", False)]
)
def test_only_photographs_are_mirrored(dataset, mirror, tmp_path, monkeypatch):
    told, augment = [], a.augment
    data = [torch.randint(256, (60, 3, 32, 32)).byte(), torch.arange(60) % 10] * 2

    def watched(images, colours, mirror):
        told.append(mirror)
        return augment(images, colours, mirror)

    monkeypatch.setattr(a, "augment", watched)
    monkeypatch.setattr(a, "load_cifar10", lambda root: (dataset, *data))
    a.main(["--smoke", "--out", str(tmp_path)])
    assert told == [mirror] * 4  # two steps of the net at work, two of the augmented arm

    images = torch.arange(32).expand(50, 3, 32, 32).float()
    steps = augment(images, torch.zeros(3, 3), mirror)[:, 0, 0].diff(dim=1)
    assert (steps == 1).all() != mirror
