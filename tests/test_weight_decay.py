"""papers/weight_decay.py: the closed form, the ridge students, the nets and the optimizers, each against another."""

import math

import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import Ridge
from torch import nn

from papers import weight_decay as wd

ALPHAS = [0.3, 1.0, 2.5]


@pytest.fixture
def toy():
    """Training and test images (n, 20) in float64; the label is the brightest of the first ten pixels."""
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(600, 20, generator=draw, dtype=torch.float64)
    y = x[:, :10].argmax(1)
    return [x[:300], y[:300], x[300:], y[300:]]


@pytest.mark.parametrize("alpha", ALPHAS)
def test_response_is_the_mean_over_the_eigenvalues_and_its_slope_the_derivative(alpha):
    decay = torch.tensor([0.05, 0.2, 1.0], dtype=torch.float64, requires_grad=True)
    g, slope = wd.response(decay, alpha)
    torch.testing.assert_close(slope, torch.autograd.grad(g.sum(), decay)[0])
    x = torch.randn(round(alpha * 1000), 1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    a = torch.linalg.eigvalsh(x.T @ x / 1000)
    torch.testing.assert_close(g.detach(), (1 / (a + decay.detach()[:, None])).mean(1), rtol=0.01, atol=0)


@pytest.mark.parametrize("alpha, expected", [(0.5, 0.622), (1.0, 0.358), (1.5, 0.218), (3.0, 0.087)])
def test_published_errors(alpha, expected):
    decay = torch.tensor(0.2, dtype=torch.float64)
    error = wd.generalization_error(decay, alpha, 1.0, 0.2).item()
    assert error == pytest.approx(expected, abs=6e-4)
    assert error == pytest.approx(0.2 * wd.response(decay, alpha)[0].item())


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("size, noise", [(1.0, 0.2), (3.0, 0.5)])
def test_theory_against_simulation_within_its_standard_error(alpha, size, noise):
    decays = torch.tensor([0.05, 0.2, 1.0], dtype=torch.float64)
    errors = wd.simulate(alpha, decays, size, noise, n=120, draws=150, seed=1)
    assert errors.shape == (150, 3)
    z = (errors.mean(0) - wd.generalization_error(decays, alpha, size, noise)) / (errors.std(0) / 150**0.5)
    assert z.abs().max() < 3.5
    assert errors.std(0).max() / 150**0.5 < 0.05 * errors.mean(0).max()  # so the standard error says something


@pytest.mark.parametrize("size, noise", [(1.0, 0.2), (3.0, 0.5)])
def test_the_best_decay_is_noise_over_size(size, noise):
    decays = noise / size * torch.tensor([0.98, 1.0, 1.02], dtype=torch.float64)
    for alpha in ALPHAS:
        errors = wd.generalization_error(decays, alpha, size, noise)
        assert errors[1] < errors[0] and errors[1] < errors[2]


def test_students_are_ridge_regressions():
    draw = torch.Generator().manual_seed(0)
    x, y = (torch.randn(*shape, generator=draw, dtype=torch.float64) for shape in ((3, 15, 6), (3, 15)))
    decays = torch.tensor([0.01, 0.7], dtype=torch.float64)
    w = wd.students(x, y, decays)
    for r in range(3):
        for k, decay in enumerate(decays.tolist()):
            ridge = Ridge(alpha=decay, fit_intercept=False).fit(x[r].numpy() / math.sqrt(6), y[r].numpy())
            torch.testing.assert_close(w[r, k], torch.tensor(ridge.coef_))


def test_wrong_labels_are_as_many_as_asked_and_wrong():
    y = torch.arange(10).repeat(300)
    x = torch.arange(3000.0)[:, None]
    few, labels = wd.few_examples(x, y, 2000, 0.2, seed=0)
    assert len(few.unique()) == 2000
    assert 0.17 < (labels != few[:, 0].long() % 10).float().mean() < 0.23
    assert sorted(labels.unique().tolist()) == list(range(10))
    assert torch.equal(*(t.long().flatten() % 10 for t in wd.few_examples(x, y, 50, 0.0, seed=3)))


def as_module(nets, k):
    """Net k as a torch.nn module with the same weights."""
    w1, b1, w2, b2 = (w[k].clone() for w in nets)
    module = nn.Sequential(nn.Linear(*w1.shape), nn.ReLU(), nn.Linear(*w2.shape)).double()
    with torch.no_grad():
        for parameter, value in zip(module.parameters(), (w1.T, b1[0], w2.T, b2[0])):
            parameter.copy_(value)
    return module


def assert_same(nets, k, module):
    for w, parameter in zip(nets, module.parameters()):
        torch.testing.assert_close(w[k].T.squeeze(), parameter.detach(), rtol=1e-8, atol=1e-12)


def test_nets_start_by_their_seeds_in_the_right_size():
    nets = wd.new_nets(500, 40, range(3, 5), torch.float64)
    again = wd.new_nets(500, 40, range(4, 5), torch.float64)
    assert [tuple(w.shape) for w in nets] == [(2, 500, 40), (2, 1, 40), (2, 40, 10), (2, 1, 10)]
    assert all(torch.equal(a[1], b[0]) for a, b in zip(nets, again)) and not torch.equal(nets[0][0], nets[0][1])
    assert nets[0].std() == pytest.approx((2 / 500) ** 0.5, rel=0.03) and nets[1].abs().max() == 0
    assert nets[2].std() == pytest.approx((2 / 40) ** 0.5, rel=0.1)


def test_parallel_nets_are_nets_trained_one_by_one(toy):
    x, y = toy[0][:60].view(3, 20, 20), toy[1][:60].view(3, 20)
    nets, decays = wd.new_nets(20, 8, range(3), torch.float64), torch.tensor([0.0, 0.01, 0.1], dtype=torch.float64)
    modules = [as_module(nets, k) for k in range(3)]
    wd.train(nets, x, y, decays, steps=40)
    for k, module in enumerate(modules):
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9, weight_decay=decays[k].item())
        for _ in range(40):
            optimizer.zero_grad()
            F.cross_entropy(module(x[k]), y[k]).backward()
            optimizer.step()
        assert_same(nets, k, module)
        torch.testing.assert_close(wd.logits(nets, x)[k], module(x[k]).detach())
        wrong = 100 * (module(toy[2]).argmax(1) != toy[3]).float().mean()
        torch.testing.assert_close(wd.test_error(nets, toy[2], toy[3])[k], wrong)


OPTIMIZERS = {
    "AdamW": (wd.adam, {"rate": 0.01, "decay": 0.01 * 0.3}, torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.3}),
    "Adam with L2": (wd.adam, {"rate": 0.01, "l2": 0.3}, torch.optim.Adam, {"lr": 0.01, "weight_decay": 0.3}),
    "SGD with L2": (wd.sgd, {"rate": 0.1, "l2": 0.3}, torch.optim.SGD, {"lr": 0.1, "weight_decay": 0.3}),
    "SGD decoupled": (wd.sgd, {"rate": 0.1, "decay": 0.03}, torch.optim.SGD, {"lr": 0.1, "weight_decay": 0.3}),
    "momentum": (
        wd.sgd,
        {"rate": 0.1, "l2": 0.3, "momentum": 0.9},
        torch.optim.SGD,
        {"lr": 0.1, "weight_decay": 0.3, "momentum": 0.9},
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_against_torch_over_100_steps(name, toy):
    ours, settings, theirs, options = OPTIMIZERS[name]
    nets = wd.new_nets(20, 8, range(1), torch.float64)
    module, state = as_module(nets, 0), {}
    optimizer = theirs(module.parameters(), **options)
    for x, y in wd.batches(toy, 100, range(1), size=16):
        ours(nets, wd.gradients(nets, x, y), state, **settings)
        optimizer.zero_grad()
        F.cross_entropy(module(x[0]), y[0]).backward()
        optimizer.step()
    assert_same(nets, 0, module)


def test_decoupled_sgd_with_momentum_keeps_decay_out_of_the_momentum():
    w, state, velocity, by_hand = [torch.ones(1)], {}, 0.0, 1.0
    for _ in range(5):
        wd.sgd(w, [torch.full((1,), 0.5)], state, rate=0.1, decay=0.01, momentum=0.9)
        velocity = 0.9 * velocity + 0.5
        by_hand = (1 - 0.01) * by_hand - 0.1 * velocity
    assert w[0].item() == pytest.approx(by_hand)


def test_l2_is_decay_for_sgd_and_not_for_adam(toy):
    sgd = wd.apart(wd.sgd, toy, {"rate": 0.1}, 1e-3, 30, range(2))
    adam = wd.apart(wd.adam, toy, {"rate": 1e-3}, 1e-3, 30, range(2))
    assert sgd.shape == (30, 2) and sgd.max() < 1e-12
    assert adam[1:].min() > 0.01


def test_distance_is_relative_to_the_way_gone(toy):
    def stepping(weights, grads, state, rate, l2=0.0, decay=0.0):
        for w in weights:
            w += 3.0 if l2 else 2.0

    assert torch.allclose(wd.apart(stepping, toy, {"rate": 0.1}, 1e-3, 1, range(2)), torch.tensor(1 / 2).double())


def test_decay_is_measured_as_a_share_a_step(toy):
    size, share = wd.decay_by_gradient(toy, {"decay": 1e-3}, 20, range(2), bins=4)
    torch.testing.assert_close(share, torch.full_like(share, 1e-3))
    assert (size.diff(dim=0) > 0).all()
    _, share = wd.decay_by_gradient(toy, {"l2": 1e-3}, 20, range(2), bins=4)
    assert (share[0] > 1.2 * share[-1]).all() and (share > 0).all()


def test_sizes_of_gradients_are_root_mean_squares(toy):
    """With a single step: the median of all weights' first gradients."""
    size, _ = wd.decay_by_gradient(toy, {"decay": 1e-3}, 1, range(1), bins=1)
    nets = wd.new_nets(20, 32, range(1), torch.float64)
    x, y = next(wd.batches(toy, 1, range(1)))
    assert size.item() == pytest.approx(wd.gradients(nets, x, y)[0].abs().flatten().median().item())


def test_training_learns_and_each_net_has_its_own_decay_and_seed(toy):
    errors = wd.error_by_decay([t.float() if t.is_floating_point() else t for t in toy], 0.0, 200, 16, 150, range(2))
    assert errors.shape == (2, len(wd.DECAYS), 2)
    chance = 90
    assert errors[:, :5].max() < 0.6 * chance  # little decay: learnt
    assert errors[:, -1].mean() > errors[:, 0].mean() + 10  # the last has too much
