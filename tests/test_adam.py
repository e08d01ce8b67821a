"""papers/adam.py: optimizers against torch.optim, the laws of sec. 2.1, Reddi's example, and that training learns."""

import copy
import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from papers import adam

THEIRS = {
    "Adam": torch.optim.Adam,
    "AdaMax": torch.optim.Adamax,
    "AMSGrad": partial(torch.optim.Adam, amsgrad=True),
    "AdaGrad": torch.optim.Adagrad,
    "RMSProp": torch.optim.RMSprop,
    "SGD Nesterov": partial(torch.optim.SGD, momentum=0.9, nesterov=True),
}


def problem():
    """A small net in float64 and data whose features differ in scale by a factor of 1,000."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    x = torch.randn(200, 6, dtype=torch.float64) * torch.logspace(-2, 1, 6, dtype=torch.float64)
    return model, x, (10 * x[:, 0] + x[:, 3] > 0).long() + (x[:, 5] > 0).long()


@pytest.mark.parametrize("name", [*THEIRS, "AdaGrad, α/√t"])
def test_training_is_torchs_over_100_steps(name):
    ours, x, y = problem()
    theirs, begin = copy.deepcopy(ours), copy.deepcopy(ours)
    torch.manual_seed(1)
    losses = adam.train(ours, adam.OPTIMIZERS[name][0], 0.02, x, y, steps=100)

    torch.manual_seed(1)
    optimizer = THEIRS[name.split(",")[0]](theirs.parameters(), lr=0.02)
    for t in range(100):
        falling = 0.02 * (1 - t / 100) / ((t + 1) ** 0.5 if "√t" in name else 1)
        optimizer.param_groups[0]["lr"] = falling
        batch = torch.randint(len(x), (128,))
        loss = F.cross_entropy(theirs(x[batch]), y[batch])
        assert losses[t].item() == pytest.approx(loss.item(), rel=1e-8)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for mine, other, old in zip(ours.parameters(), theirs.parameters(), begin.parameters()):
        torch.testing.assert_close(mine, other, rtol=1e-8, atol=1e-10)
        assert (mine - old).abs().max() > 0.01


@pytest.mark.parametrize("name", [*THEIRS])
def test_optimizer_is_torchs_on_gradients_that_vanish_and_return(name):
    """A loud start, zeros, then gradients near ε: where ε stands and which maximum is kept make a difference."""
    torch.manual_seed(2)
    sizes = torch.cat(
        [torch.full((20,), 10.0), torch.zeros(5), torch.full((60,), 1e-8), torch.full((15,), 1e-3)]
    )
    gradients = sizes[:, None].double() * torch.randn(100, 30, dtype=torch.float64)
    gradients[:, :10] *= (sizes < 1)[:, None]  # a third of the weights has no loud start
    theta, state = torch.zeros(30, dtype=torch.float64), {}
    other = torch.zeros(30, dtype=torch.float64, requires_grad=True)
    optimizer = THEIRS[name]([other], lr=1.0)
    for t, g in enumerate(gradients, start=1):
        theta = theta - adam.OPTIMIZERS[name][0](g, state, t)
        other.grad = g.clone()
        optimizer.step()
        torch.testing.assert_close(theta, other.detach(), rtol=1e-8, atol=1e-9)


def test_epsilon_stands_outside_the_root_and_after_the_correction():
    g = torch.tensor([1e-8], dtype=torch.float64)
    assert adam.adam(g, {}, 1).item() == pytest.approx(0.5)  # g / (|g| + ε)


def test_the_first_steps_are_of_length_alpha_and_scale_is_nothing():
    g = torch.randn(20, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    lengths = adam.step_lengths(g)
    torch.testing.assert_close(lengths[0], torch.ones(50, dtype=torch.float64))
    torch.testing.assert_close(adam.step_lengths(1e6 * g), lengths)
    assert (lengths >= 0).all() and lengths.max() < 1.5


def test_no_gradients_go_further_than_the_limit_that_ours_reach():
    """Torch's own Adam looks for the 300 gradients that make the longest step: it comes near the limit, not above."""
    assert adam.BOUND == pytest.approx(0.1 / math.sqrt(0.001))
    age = torch.arange(300, dtype=torch.float64)
    g = torch.ones(300, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([g], lr=0.05)
    for _ in range(1000):
        step = (0.1 * 0.9**age * g).sum() / (0.001 * 0.999**age * g**2).sum().sqrt()
        optimizer.zero_grad()
        (-step).backward()
        optimizer.step()
    limit = adam.BOUND * adam.EXCESS
    assert 0.98 * limit < step.item() <= limit * (1 + 1e-9)
    bursts = adam.step_lengths(adam.after_silence(8000))[8000:].amax(0)
    torch.testing.assert_close(
        bursts, torch.tensor([adam.BOUND, limit]).double(), rtol=2e-3, atol=0
    )


def test_reddis_example_is_torchs_and_misleads_adam_alone():
    for amsgrad, ours in ((False, adam.adam), (True, adam.amsgrad)):
        path = adam.reddi(ours, 4000)
        assert path[-1] < -0.9 if amsgrad else path[-1] > 0.9
        x = torch.zeros((), dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.Adam([x], betas=(0.0, 0.1), amsgrad=amsgrad)
        for t in range(1, 61):
            optimizer.param_groups[0]["lr"] = 0.1 / t**0.5
            x.grad = torch.tensor(3.0 if t % 3 == 1 else -1.0, dtype=torch.float64)
            optimizer.step()
            x.data.clamp_(-1, 1)
            assert path[t - 1].item() == pytest.approx(x.item(), abs=1e-7)


def test_units_are_spread_evenly_over_four_decades():
    torch.manual_seed(0)
    decades = adam.random_units(20_000).log10()
    assert -2 <= decades.min() < -1.99 and 1.99 < decades.max() <= 2
    assert decades.mean().abs() < 0.05 and decades.std().item() == pytest.approx(
        4 / 12**0.5, rel=0.02
    )


def test_every_optimizer_learns_from_the_same_start_and_batches():
    torch.manual_seed(0)
    y = torch.randint(10, (500,))
    x = torch.rand(500, 784) + F.pad(
        F.one_hot(y, 10).repeat(1, 70), (0, 84)
    )  # pixel k is brighter where k % 10 = y
    optimizers = {
        name: (optimizer, alpha / 2) for name, (optimizer, alpha) in adam.OPTIMIZERS.items()
    }
    runs = adam.compare(optimizers, [x, y, x, y], width=32, steps=100, seed=3)
    assert list(runs) == list(optimizers)
    firsts = {losses[0].item() for losses, _ in runs.values()}
    assert len(firsts) == 1
    for losses, wrong in runs.values():
        assert losses.shape == (100,) and losses[-10:].mean() < 0.7 * math.log(
            10
        )  # of a uniform guess
        assert wrong < 60
