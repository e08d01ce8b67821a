"""The parts of papers/biggan.py against torch, SciPy and sums by hand."""

import copy
import math
import warnings

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch
import torch.nn.functional as F
from torch import nn

from papers import biggan


def double(module: nn.Module, seed: int = 0) -> nn.Module:
    """In float64, with random values wherever the initial ones are 0 or 1."""
    torch.manual_seed(seed)
    module = module.double()
    for parameter in module.parameters():
        if parameter.dim() < 2:
            parameter.data = torch.randn_like(parameter)
    return module


# ---- spectral normalization


@pytest.mark.parametrize("kind", ["linear", "convolution"])
def test_spectral_norm_against_torch(kind):
    torch.manual_seed(0)
    make = {"linear": lambda: nn.Linear(7, 5), "convolution": lambda: nn.Conv2d(3, 4, 3)}[kind]
    x = torch.randn(2, 7) if kind == "linear" else torch.randn(2, 3, 6, 6)
    x = x.double()
    ours, theirs = biggan.spectral(make()).double(), make().double()
    stored = ours.parametrizations.weight.original
    stored.data = torch.randn_like(stored)  # orthogonal weights have only one singular value
    theirs.load_state_dict({"weight": stored.detach().clone(), "bias": ours.bias.detach().clone()})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = nn.utils.spectral_norm(theirs)
    theirs.weight_u.copy_(ours.parametrizations.weight[0].u)

    for _ in range(3):
        torch.testing.assert_close(ours(x), theirs(x))
    ours(x).square().sum().backward()
    theirs(x).square().sum().backward()
    torch.testing.assert_close(stored.grad, theirs.weight_orig.grad)

    ours.eval(), theirs.eval()  # uses u, and does not move it
    u = ours.parametrizations.weight[0].u.clone()
    ours(x)
    assert torch.equal(u, ours.parametrizations.weight[0].u)


def test_spectral_norm_converges_to_the_largest_singular_value():
    torch.manual_seed(0)
    layer = biggan.spectral(nn.Linear(6, 9)).double()
    stored = layer.parametrizations.weight.original
    stored.data = torch.randn_like(stored)
    for _ in range(200):
        weight = layer.weight
    sigma = np.linalg.svd(stored.detach().numpy(), compute_uv=False)[0]
    torch.testing.assert_close(weight, stored / sigma)


def test_every_weight_but_the_shared_embedding_is_normalized():
    for model in (biggan.Generator(8), biggan.Discriminator(8)):
        for name, layer in model.named_modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                assert hasattr(layer, "parametrizations"), name
    assert hasattr(biggan.Discriminator(8).embedding, "parametrizations")


def test_largest_singular_values():
    torch.manual_seed(0)
    generator = biggan.Generator(4)
    stored = generator.block1.conv1.parametrizations.weight.original
    stored.data = torch.randn_like(stored)
    snapshots = [biggan.Snapshot(0, generator, generator)]
    found = biggan.largest_singular_values(snapshots)
    sigma = np.linalg.svd(stored.detach().flatten(1).numpy(), compute_uv=False)[0]
    assert found["block1.conv1"] == [pytest.approx(sigma, rel=1e-5)]
    assert found["first"] == [pytest.approx(1, rel=1e-5)]  # orthogonal at the start


# ---- layers


def still(model: nn.Module) -> nn.Module:
    """Its power iterations no longer move: a weight is the same whenever it is asked for."""
    for module in model.modules():
        if isinstance(module, biggan.SpectralNorm):
            module.eval()
    return model


def test_conditional_batch_norm_is_batch_norm_with_each_class_its_gain_and_bias():
    norm = still(double(biggan.ConditionalBatchNorm(5)))
    embedding = torch.randn(3, biggan.EMBEDDING + biggan.CHUNK, dtype=torch.float64)
    y = torch.tensor([0, 1, 2, 0, 1, 2, 1, 1])
    x = torch.randn(8, 5, 4, 4, dtype=torch.float64) * 3 + 1
    x.requires_grad_()
    for mode in (True, False):
        norm.standardize.train(mode)
        ours = norm(x, embedding[y])
        (ours_gradient,) = torch.autograd.grad(ours.square().sum(), x)
        theirs = torch.zeros_like(ours)
        for k in range(3):
            reference = nn.BatchNorm2d(5).double().train(mode)
            if not mode:
                reference.running_mean = norm.standardize.running_mean
                reference.running_var = norm.standardize.running_var
            reference.weight.data = 1 + norm.gain.weight.detach() @ embedding[k]
            reference.bias.data = norm.bias.weight.detach() @ embedding[k]
            theirs = theirs + reference(x) * (y == k).view(-1, 1, 1, 1)
        (gradient,) = torch.autograd.grad(theirs.square().sum(), x)
        torch.testing.assert_close(ours, theirs)
        torch.testing.assert_close(ours_gradient, gradient)


def attend(layer: biggan.SelfAttention, x: torch.Tensor) -> torch.Tensor:
    """The same with torch's attention, which wants (batch, places, channels)."""
    query = F.conv2d(x, layer.query.weight).flatten(2).mT
    key = F.max_pool2d(F.conv2d(x, layer.key.weight), 2).flatten(2).mT
    value = F.max_pool2d(F.conv2d(x, layer.value.weight), 2).flatten(2).mT
    mixed = F.scaled_dot_product_attention(query, key, value, scale=1.0).mT
    return x + layer.gamma * F.conv2d(mixed.reshape(len(x), -1, *x.shape[2:]), layer.output.weight)


def test_attention_against_torch():
    layer = double(biggan.SelfAttention(16)).eval()
    x = torch.randn(3, 16, 4, 8, dtype=torch.float64, requires_grad=True)
    ours, theirs = layer(x), attend(layer, x)
    torch.testing.assert_close(ours, theirs)
    (ours_gradient,) = torch.autograd.grad(ours.square().sum(), x)
    (gradient,) = torch.autograd.grad(theirs.square().sum(), x)
    torch.testing.assert_close(ours_gradient, gradient)
    assert biggan.SelfAttention(16).gamma == 0


# ---- the two networks, written a second time with plain functions


def twice(x):
    return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


def convolve(layer, x):
    return F.conv2d(x, layer.weight, layer.bias, padding=layer.weight.shape[-1] // 2)


def normalize(x):
    mean = x.mean(dim=(0, 2, 3), keepdim=True)
    return (x - mean) / (x.var(dim=(0, 2, 3), unbiased=False, keepdim=True) + 1e-5).sqrt()


def conditional(norm, x, condition):
    gain, bias = condition @ norm.gain.weight.T, condition @ norm.bias.weight.T
    return (1 + gain)[..., None, None] * normalize(x) + bias[..., None, None]


def test_generator_against_plain_functions():
    generator = still(double(biggan.Generator(8)))
    z = torch.randn(6, 60, dtype=torch.float64)
    y = torch.tensor([3, 1, 4, 1, 5, 9])
    ours = generator(z, y)

    e = generator.embedding.weight[y]
    x = (z[:, :20] @ generator.first.weight.T + generator.first.bias).view(6, 32, 4, 4)
    for block, chunk in ((generator.block1, z[:, 20:40]), (generator.block2, z[:, 40:])):
        condition = torch.cat([e, chunk], dim=1)
        h = convolve(block.conv1, twice(conditional(block.norm1, x, condition).relu()))
        h = convolve(block.conv2, conditional(block.norm2, h, condition).relu())
        x = h + convolve(block.shortcut, twice(x))
        if block is generator.block1:
            assert x.shape == (6, 16, 8, 8)
            x = attend(generator.attention, x)
    gain, bias = generator.norm.weight, generator.norm.bias
    x = normalize(x) * gain[:, None, None] + bias[:, None, None]
    theirs = convolve(generator.last, x.relu()).tanh()
    assert ours.shape == (6, 1, 16, 16)
    torch.testing.assert_close(ours, theirs)


def test_discriminator_against_plain_functions():
    model = double(biggan.Discriminator(8)).eval()
    x = torch.randn(6, 1, 16, 16, dtype=torch.float64, requires_grad=True)
    y = torch.tensor([3, 1, 4, 1, 5, 9])
    ours = model(x, y)

    h = x
    for block in (model.block1, model.block2, model.block3):
        start = h if block is model.block1 else h.relu()
        h = convolve(block.conv2, convolve(block.conv1, start).relu()) + convolve(block.shortcut, h)
        if block is not model.block3:
            h = h.unflatten(2, (-1, 2)).unflatten(4, (-1, 2)).mean(dim=(3, 5))
        if block is model.block1:
            h = attend(model.attention, h)
    features = h.relu().sum(dim=(2, 3))
    theirs = features @ model.psi.weight[0] + model.psi.bias
    theirs = theirs + (features * model.embedding.weight[y]).sum(dim=1)
    torch.testing.assert_close(ours, theirs)


# ---- losses and penalty


def test_hinge_losses_by_hand():
    real = torch.tensor([2.0, 0.5, -1.0], requires_grad=True)
    fake = torch.tensor([-3.0, -0.5, 2.0], requires_grad=True)
    loss = biggan.discriminator_loss(real, fake)
    assert loss.item() == pytest.approx((0 + 0.5 + 2) / 3 + (0 + 0.5 + 3) / 3)
    loss.backward()
    assert real.grad.tolist() == pytest.approx([0, -1 / 3, -1 / 3])
    assert fake.grad.tolist() == pytest.approx([0, 1 / 3, 1 / 3])
    assert biggan.generator_loss(fake).item() == pytest.approx(0.5)


def test_orthogonal_penalty_by_hand():
    generator = double(biggan.Generator(3))
    for parameter in generator.parameters():
        parameter.data = torch.randn_like(parameter)
    stored = biggan.stored_weights(generator)
    expected, gradients = 0.0, {}
    for name, weight in stored.items():
        products = weight @ weight.T  # of every pair of filters
        for i in range(len(weight)):
            expected += sum(products[i, j].item() ** 2 for j in range(len(weight)) if j != i)
        products = products.detach().fill_diagonal_(0)
        gradients[name] = 4 * products @ weight.detach()
    penalty = biggan.orthogonal_penalty(generator)
    assert penalty.item() == pytest.approx(expected)
    found = torch.autograd.grad(penalty, list(generator.parameters()), allow_unused=True)
    found = [g.flatten(1) for g in found if g is not None]
    assert len(found) == len(stored) == 20
    for ours, theirs in zip(found, gradients.values()):
        torch.testing.assert_close(ours, theirs)


# ---- sampling


@pytest.mark.parametrize("threshold", [2, 0.5, 0.04])
def test_truncated_normal_against_scipy(threshold):
    torch.manual_seed(0)
    z = biggan.truncated_normal(500, 20, threshold).flatten().double().numpy()
    theirs = scipy.stats.truncnorm(-threshold, threshold)
    assert abs(z).max() <= threshold
    assert scipy.stats.kstest(z, theirs.cdf).pvalue > 0.01
    torch.manual_seed(0)
    free = biggan.truncated_normal(500, 20, math.inf)
    assert free.std().item() == pytest.approx(1, abs=0.03) and free.abs().max() > 3


def test_the_small_example_of_the_docstring():
    for threshold, kept, deviation in ((2, 0.95, 0.88), (0.5, 0.38, 0.28), (0.04, 0.032, 0.023)):
        assert math.erf(threshold / 2**0.5) == pytest.approx(kept, abs=0.005)
        theirs = scipy.stats.truncnorm(-threshold, threshold).std()
        assert theirs == pytest.approx(deviation, abs=0.005)


def test_standing_statistics_are_the_mean_over_batches_and_replace_stale_ones():
    torch.manual_seed(0)
    generator = biggan.Generator(4)
    for _ in range(3):
        generator(torch.randn(8, 60), torch.zeros(8, dtype=torch.long))  # stale: zeros only
    inputs = []
    generator.norm.register_forward_hook(lambda layer, args, output: inputs.append(args[0]))
    biggan.standing_statistics(generator, batches=4)
    assert len(inputs) == 4
    assert not generator.training
    mean = torch.stack([x.mean(dim=(0, 2, 3)) for x in inputs]).mean(dim=0)
    variance = torch.stack([x.var(dim=(0, 2, 3)) for x in inputs]).mean(dim=0)
    torch.testing.assert_close(generator.norm.running_mean, mean)
    torch.testing.assert_close(generator.norm.running_var, variance)

    z, y = torch.randn(6, 60), torch.arange(6)
    alone = torch.cat([generator(z[i : i + 1], y[i : i + 1]) for i in range(6)])
    torch.testing.assert_close(generator(z, y), alone)  # a sample does not see its neighbours


def test_draw_samples_gives_each_class_its_turn():
    class Echo(nn.Module):
        latent = 1

        def __init__(self):
            super().__init__()
            self.unused = nn.Parameter(torch.zeros(()))  # tells the device

        def forward(self, z, y):
            return y.float().view(-1, 1, 1, 1).expand(-1, 1, 16, 16)

    images, y = biggan.draw_samples(Echo(), 1203, 1.0)
    assert y.tolist() == [i % 10 for i in range(1203)]
    assert images[:, 0, 0, 0].tolist() == y.tolist()
    rows = biggan.sheet(images, y)
    assert rows.shape == (10, biggan.COLUMNS, 16, 16)
    assert (rows == torch.arange(10).view(10, 1, 1, 1)).all()


# ---- training and judging


def test_average_forgets_the_start_and_is_a_moving_average_later():
    generator, averaged = nn.Linear(1, 1), nn.Linear(1, 1)
    values = [3.0, -1.0, 4.0, 1.0]
    expected = 100.0
    averaged.weight.data.fill_(expected)
    for step, value in enumerate(values, 1):
        generator.weight.data.fill_(value)
        biggan.update_average(averaged, generator, step)
        decay = step / (step + 9)
        expected = decay * expected + (1 - decay) * value
    assert averaged.weight.item() == pytest.approx(expected)
    before = averaged.weight.item()
    biggan.update_average(averaged, generator, 10**6)
    assert averaged.weight.item() == pytest.approx(0.999 * before + 0.001 * values[-1])
    assert generator.weight.item() == values[-1]


def test_frechet_distance_against_scipy():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 6)) @ rng.normal(size=(6, 6))
    y = rng.normal(size=(200, 6)) @ rng.normal(size=(6, 6)) + 1
    c_x, c_y = np.cov(x.T), np.cov(y.T)
    root = scipy.linalg.sqrtm(c_x @ c_y).real
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(c_x + c_y - 2 * root)
    found = biggan.frechet_distance(torch.tensor(x), torch.tensor(y))
    assert found == pytest.approx(expected)
    assert biggan.frechet_distance(torch.tensor(x), torch.tensor(x)) == pytest.approx(0, abs=1e-6)


def test_the_gaussians_have_the_means_and_covariances_of_their_classes():
    torch.manual_seed(0)
    y = torch.arange(4000) % 10
    x = 0.05 * torch.randn(4000, 256)
    x[:, 1] = 0.5 * x[:, 0] + 0.02 * x[:, 1] + 0.05 * y
    rival = biggan.GaussianGenerator(x.view(-1, 1, 16, 16), y)
    images, classes = biggan.draw_samples(rival, 8000, math.inf)
    for k in (0, 7):
        drawn, real = images[classes == k].flatten(1)[:, :2], x[y == k][:, :2]
        torch.testing.assert_close(drawn.mean(0), real.mean(0), atol=0.02, rtol=0)
        torch.testing.assert_close(
            torch.cov(drawn.T), torch.cov(real.T) + 1e-3 * torch.eye(2), atol=6e-4, rtol=0
        )


def test_judge_counts_errors_and_measures_variety_within_a_class():
    class Reader(nn.Module):
        """Reads the digit from the mean of the pixels."""

        def forward(self, x):
            return -((x.mean(dim=(1, 2, 3))[:, None] - torch.arange(10)) ** 2)

    torch.manual_seed(0)
    y = torch.arange(4000) % 10
    values = y.clamp(min=1) + 0.2 * torch.randn(4000).sign()  # a 0 looks like a 1
    images = values.view(-1, 1, 1, 1).expand(-1, 1, 16, 16)
    features = torch.randn(100, 10)
    judged = biggan.Judge(nn.Sequential(Reader(), nn.Identity()), features)(images, y)
    assert judged["right"] == pytest.approx(90)
    assert judged["variety"] == pytest.approx(0.2, abs=1e-3)
    scores = Reader()(images)
    log_p = -F.cross_entropy(scores, y, reduction="none")
    assert judged["doubt"] == pytest.approx(100 * (1 - log_p.exp().mean().item()), rel=1e-4)
    distance = biggan.frechet_distance(scores, features)
    assert judged["distance"] == pytest.approx(distance, rel=1e-6)


def test_shrink():
    x = torch.zeros(1, 28, 28)
    x[0, 0, 0] = 1  # with a margin of 2: at (2, 2), in the cell (1, 1)
    small = biggan.shrink(x)
    assert small.shape == (1, 1, 16, 16)
    assert small[0, 0, 1, 1] == -0.5 and small.sum() == -255.5


def test_training_learns_what_is_asked_for(monkeypatch):
    """Even classes are white and odd ones are black: samples must come to be so."""
    monkeypatch.setattr(biggan, "LEARNING_RATE_G", 4e-3)  # a short training
    monkeypatch.setattr(biggan, "LEARNING_RATE_D", 8e-3)
    torch.manual_seed(0)
    y = torch.arange(400) % 10
    brightness = 0.8 - 1.6 * (y % 2).float()
    x = brightness.view(-1, 1, 1, 1) + 0.1 * torch.randn(400, 1, 16, 16)
    snapshots = biggan.train(x, y, width=4, batch=16, steps=90)
    assert [snapshot.step for snapshot in snapshots] == [0, 15, 30, 45, 60, 75, 90]

    found = {}
    for name in ("current", "averaged"):
        for snapshot in (snapshots[0], snapshots[-1]):
            generator = copy.deepcopy(getattr(snapshot, name))
            biggan.standing_statistics(generator, batches=20)
            images, asked = biggan.draw_samples(generator, 200, 1.0)
            bright = images.mean(dim=(1, 2, 3)) > 0
            found[name, snapshot.step] = (bright == (asked % 2 == 0)).float().mean().item()
    assert max(found["current", 0], found["averaged", 0]) < 0.65
    assert min(found["current", 90], found["averaged", 90]) > 0.7


def test_a_step_moves_both_players(monkeypatch):
    """D takes two steps of Adam for one of G, each of about its learning rate."""
    before, players = {}, {}
    for name in ("Generator", "Discriminator"):

        class Kept(getattr(biggan, name)):
            def __init__(self, width, name=name):
                super().__init__(width)
                players[name] = self
                before[name] = [weight.detach().clone() for weight in self.parameters()]

        monkeypatch.setattr(biggan, name, Kept)
    torch.manual_seed(0)
    biggan.train(torch.rand(40, 1, 16, 16), torch.randint(10, (40,)), width=4, batch=8, steps=1)
    moved = {}
    for name, player in players.items():
        changes = [(new - old).abs().max() for new, old in zip(player.parameters(), before[name])]
        moved[name] = max(changes).item()
    assert 0 < moved["Generator"] <= 1.1 * biggan.LEARNING_RATE_G
    assert biggan.LEARNING_RATE_D < moved["Discriminator"] <= 2.5 * biggan.LEARNING_RATE_D
