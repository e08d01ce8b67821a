"""The game of papers/gan.py: losses against torch's, Prop. 1 and Thm 1 against SciPy."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.linalg import sqrtm
from scipy.optimize import minimize_scalar
from scipy.spatial.distance import jensenshannon
from torch import nn

from papers import gan

SPACING = 0.01
X = torch.arange(-6, 6, SPACING, dtype=torch.float64)


def normal(mean, deviation):
    return torch.distributions.Normal(mean, deviation).log_prob(X).exp()


P_DATA, P_G = normal(-0.5, 0.7), normal(0.8, 1.1)


@pytest.fixture
def logits():
    torch.manual_seed(0)
    return 4 * torch.randn(2, 7, 1, dtype=torch.float64).requires_grad_()


def gradient(loss, logits):
    return torch.autograd.grad(loss, logits)[0]


def test_losses_are_cross_entropies_with_their_gradients(logits):
    real, fake = logits
    ones, zeros = torch.ones_like(real), torch.zeros_like(real)
    entropy = F.binary_cross_entropy_with_logits

    for ours, theirs in [
        (gan.d_loss(real, fake), entropy(real, ones) + entropy(fake, zeros)),
        (gan.g_loss(fake), entropy(fake, ones)),
        (gan.minimax_g_loss(fake), -entropy(fake, zeros)),
    ]:
        torch.testing.assert_close(ours, theirs)
        torch.testing.assert_close(gradient(ours, logits), gradient(theirs, logits))


def test_gradients_that_the_text_derives(logits):
    fake = logits[1]
    d = torch.sigmoid(fake) / len(fake)  # the mean of the batch divides by its size
    torch.testing.assert_close(gradient(gan.minimax_g_loss(fake), logits)[1], -d)
    torch.testing.assert_close(gradient(gan.g_loss(fake), logits)[1], d - 1 / len(fake))


def test_losses_are_finite_where_d_is_sure():
    sure = torch.tensor([[-200.0], [200.0]])
    for loss in (gan.d_loss(sure, sure), gan.g_loss(sure), gan.minimax_g_loss(sure)):
        assert loss.isfinite()


def test_proposition_1_no_d_does_better():
    best = gan.optimal_discriminator(P_DATA, P_G)
    for i in range(300, 900, 60):
        a, b = P_DATA[i].item(), P_G[i].item()
        searched = minimize_scalar(
            lambda d, a=a, b=b: -(a * math.log(d) + b * math.log(1 - d)),
            bounds=(1e-9, 1 - 1e-9), method="bounded", options={"xatol": 1e-10},
        )  # fmt: skip
        assert best[i].item() == pytest.approx(searched.x, abs=1e-6)
    torch.manual_seed(0)
    value = gan.game_value(best, P_DATA, P_G, SPACING)
    for size in (1e-3, 1e-2, 1e-1):
        other = torch.sigmoid(torch.logit(best) + size * torch.randn_like(best))
        assert gan.game_value(other, P_DATA, P_G, SPACING) < value


def test_the_value_is_an_integral():
    d = torch.sigmoid(torch.sin(X))
    integrand = P_DATA * torch.log(d) + P_G * torch.log(1 - d)
    expected = torch.trapezoid(integrand, X)
    torch.testing.assert_close(gan.game_value(d, P_DATA, P_G, SPACING), expected)


def test_theorem_1():
    # SciPy's distance is the square root of the divergence.
    expected = jensenshannon(P_DATA.numpy(), P_G.numpy()) ** 2
    assert gan.jensen_shannon(P_DATA, P_G, SPACING).item() == pytest.approx(expected, abs=1e-6)
    assert gan.jensen_shannon(P_DATA, P_DATA, SPACING).item() == pytest.approx(0, abs=1e-6)
    left, right = (X < 0) / 6.0, (X >= 0) / 6.0  # two densities that share no place
    apart = gan.jensen_shannon(left, right, SPACING)
    assert apart.item() == pytest.approx(math.log(2), abs=1e-6)
    half = torch.full_like(X, 0.5)
    value = gan.game_value(half, P_DATA, P_DATA, SPACING)
    assert value.item() == pytest.approx(-math.log(4), abs=1e-6)


def test_a_step_is_algorithm_1():
    """Two steps, done again by hand: first D moves, then G, against the D that has moved."""
    torch.manual_seed(0)
    real, noise = torch.randn(2, 16, 3)
    players = nn.Linear(3, 3), nn.Linear(3, 1)
    twins = nn.Linear(3, 3), nn.Linear(3, 1)
    for player, twin in zip(players, twins):
        twin.load_state_dict(player.state_dict())
    rates = (0.1, 0.2)
    for _ in gan.play(*players, lambda: real, lambda: noise, 2, rates):
        pass

    g, d = twins
    ones, zeros = torch.ones(16, 1), torch.zeros(16, 1)
    entropy = F.binary_cross_entropy_with_logits
    of_g = torch.optim.Adam(g.parameters(), 0.1, betas=(0.5, 0.999))
    of_d = torch.optim.Adam(d.parameters(), 0.2, betas=(0.5, 0.999))
    for _ in range(2):
        with torch.no_grad():
            fake = g(noise)
        d.zero_grad()
        (entropy(d(real), ones) + entropy(d(fake), zeros)).backward()
        of_d.step()
        g.zero_grad()
        entropy(d(g(noise)), ones).backward()
        of_g.step()
    for player, twin in zip(players, twins):
        torch.testing.assert_close(player.weight, twin.weight)
        torch.testing.assert_close(player.bias, twin.bias)


def test_both_learning_rates_fall_to_zero(monkeypatch):
    optimizers = []

    def record(model, learning_rate, original=gan.adam):
        optimizers.append(original(model, learning_rate))
        return optimizers[-1]

    monkeypatch.setattr(gan, "adam", record)
    players = nn.Linear(1, 1), nn.Linear(1, 1)
    game = gan.play(*players, lambda: torch.randn(4, 1), lambda: torch.randn(4, 1), 10, (0.1, 0.2))
    rates = [[optimizer.param_groups[0]["lr"] for optimizer in optimizers] for _ in game]
    assert rates[0] == rates[5] == [0.1, 0.2]
    assert rates[-1] == pytest.approx([0.02, 0.04])


def test_a_turn_minimizes_the_loss_that_it_is_given():
    torch.manual_seed(0)
    z = torch.randn(16, 3)
    for loss_of_g in (gan.minimax_g_loss, gan.g_loss):
        g, d = nn.Linear(3, 3), nn.Linear(3, 1)
        expected = [-w for w in torch.autograd.grad(loss_of_g(d(g(z))), list(g.parameters()))]
        before = [weight.detach().clone() for weight in g.parameters()]
        d_before = d.weight.detach().clone()
        believed = torch.sigmoid(d(g(z))).mean().item()
        optimizer = torch.optim.SGD(g.parameters(), lr=1.0)
        assert gan.generator_turn(g, d, optimizer, z, loss_of_g) == pytest.approx(believed)
        moved = [weight.detach() - old for weight, old in zip(g.parameters(), before)]
        torch.testing.assert_close(moved, expected)
        torch.testing.assert_close(d.weight.detach(), d_before, rtol=0, atol=0)


def test_a_small_game_is_won_by_nobody():
    """A generator of two weights finds the mean of the data, where D knows no better than 1/2."""
    torch.manual_seed(0)
    generator, discriminator = nn.Linear(1, 1), gan.mlp(32, nn.Tanh)
    game = gan.play(
        generator, discriminator, lambda: 0.5 * torch.randn(256, 1) + 2,
        lambda: torch.randn(256, 1), steps=600, learning_rates=(1e-2, 1e-2),
    )  # fmt: skip
    for _ in game:
        pass
    assert generator.bias.item() == pytest.approx(2, abs=0.2)
    assert abs(generator.weight.item()) == pytest.approx(0.5, abs=0.2)


def test_frechet_distance_against_scipy():
    torch.manual_seed(0)
    x = torch.randn(300, 5) @ torch.randn(5, 5)
    y = torch.randn(200, 5) @ torch.randn(5, 5) + torch.arange(5)
    c_x, c_y = np.cov(x.T.numpy()), np.cov(y.T.numpy())
    difference = (x.mean(0) - y.mean(0)).numpy()
    expected = difference @ difference + np.trace(c_x + c_y - 2 * sqrtm(c_x @ c_y).real)
    assert gan.frechet_distance(x, y) == pytest.approx(expected, rel=1e-4)
    assert gan.frechet_distance(x, x) == pytest.approx(0, abs=1e-6)


def test_the_rival_has_the_mean_and_covariance_of_the_pixels():
    torch.manual_seed(0)
    x = 0.1 * torch.randn(500, 6) @ torch.randn(6, 6)
    samples = gan.gaussian_samples(x.view(500, 1, 2, 3), 100_000).flatten(1)
    torch.testing.assert_close(samples.mean(dim=0), x.mean(dim=0), atol=0.01, rtol=0)
    torch.testing.assert_close(torch.cov(samples.T), torch.cov(x.T), atol=0.01, rtol=0)


def test_one_dimensional_data_follow_their_density():
    torch.manual_seed(0)
    x = gan.draw_humps(200_000)[:, 0]
    spacing = gan.SPACING
    counts = torch.histc(x, bins=len(gan.GRID), min=-4 - spacing / 2, max=4 + spacing / 2)
    density = gan.humps_density(gan.GRID)
    assert density.sum() * spacing == pytest.approx(1, abs=1e-3)
    torch.testing.assert_close(counts / len(x) / spacing, density, atol=0.02, rtol=0)


def test_nearest_images_and_tiles():
    torch.manual_seed(0)
    x = torch.randn(20, 1, 28, 28)
    order = [3, 17, 5]
    torch.testing.assert_close(gan.nearest_images(x[order] + 0.01, x), x[order])
    tiled = gan.tile(x[:6, 0].view(2, 3, 28, 28))
    assert tiled.shape == (60, 90)
    torch.testing.assert_close(tiled[31:59, 61:89], x[5, 0])


def test_marks_of_samples():
    """A classifier that reads its only feature: the pixel's class, surely if it is bright."""
    head = nn.Linear(10, 10, bias=False)
    with torch.no_grad():
        head.weight.copy_(torch.eye(10))
    classifier = nn.Sequential(nn.Flatten(), head)
    classes = torch.tensor(13 * [0] + 3 * list(range(1, 10)))
    samples = F.one_hot(classes, 10)[:, None, None].float()
    samples[:30] *= 20
    marks = gan.measure(samples, classifier, samples.flatten(1))
    assert marks["confident"] == pytest.approx(75)
    assert marks["rarest"] == pytest.approx(7.5)
    assert marks["distance"] == pytest.approx(0, abs=1e-3)


def test_the_moving_average():
    torch.manual_seed(0)
    average, first, second = nn.Linear(2, 3), nn.Linear(2, 3), nn.Linear(2, 3)
    gan.follow(average, first, share=1)
    gan.follow(average, second, share=0.25)
    torch.testing.assert_close(average.weight, 0.75 * first.weight + 0.25 * second.weight)


def test_digits_are_drawn_with_the_average():
    torch.manual_seed(0)
    x = 2 * torch.rand(64, 1, 28, 28) - 1
    z = torch.randn(16, gan.NOISE)
    seen = []

    def judge(samples):
        seen.append(samples)
        return {"brightness": samples.mean().item()}

    history, samples = gan.learn_digits(x, z, judge, width=2, steps=30)
    assert history[-1]["step"] == 30 and len(history) == len(seen)
    assert samples.shape == (16, 1, 28, 28) and samples.abs().max() <= 1
    torch.testing.assert_close(history[-1]["shown"], samples[: gan.SHOWN])
    assert (seen[0] - seen[-1]).abs().mean() > 0.01  # it has learned something


def test_late_start(monkeypatch):
    """Near D = 0.001, the gradients of the two losses are in a ratio of about D to 1 − D."""
    measured = []

    def record(loss, model, original=gan.gradient_norm):
        measured.append(model)
        return original(loss, model)

    monkeypatch.setattr(gan, "gradient_norm", record)
    torch.manual_seed(0)
    late = gan.late_start(steps=300)
    assert all(model[-1].bias.item() > 2 for model in measured)  # the generator's
    minimax, practical = late["log(1 − D(G(z)))"], late["−log D(G(z))"]
    assert 300 < practical["gradient"] / minimax["gradient"] < 3000
    assert practical["D(G(z))"][0] < 0.01 and minimax["D(G(z))"][0] < 0.01
    assert 5 * practical["arrival"] <= minimax["arrival"]
    assert practical["D(G(z))"][practical["arrival"] - 1] > 0.3
