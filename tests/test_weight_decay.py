"""papers/weight_decay.py: the closed form, the ridge students, the nets and the optimizers, each against another."""

import math

import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import Ridge
from torch import nn

from papers import weight_decay as wd

ALPHAS = [0.3, 1.0, 2.5]


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture
def toy():
    """300 images to learn from and 300 others, of 20 pixels; the label is the brightest of the first ten."""
    x = torch.randn(600, 20, dtype=torch.float64)
    y = x[:, :10].argmax(dim=1)
    return [x[:300], y[:300], x[300:], y[300:]]


@pytest.mark.parametrize("alpha", ALPHAS)
def test_response_is_the_mean_over_the_eigenvalues_and_its_slope_the_derivative(alpha):
    decay = torch.tensor([0.05, 0.2, 1.0], dtype=torch.float64, requires_grad=True)
    g, slope = wd.response(decay, alpha)
    torch.testing.assert_close(slope, torch.autograd.grad(g.sum(), decay)[0])
    x = torch.randn(round(alpha * 1000), 1000, dtype=torch.float64)
    a = torch.linalg.eigvalsh(x.T @ x / 1000)
    torch.testing.assert_close(
        g.detach(), (1 / (a + decay.detach()[:, None])).mean(1), rtol=0.01, atol=0
    )


@pytest.mark.parametrize(
    "alpha, expected", [(0.5, 0.622), (1.0, 0.358), (1.5, 0.218), (3.0, 0.087)]
)
def test_error_at_the_best_decay(alpha, expected):
    decay = torch.tensor(0.2, dtype=torch.float64)
    error = wd.generalization_error(decay, alpha, 1.0, 0.2).item()
    assert error == pytest.approx(expected, abs=6e-4)
    assert error == pytest.approx(0.2 * wd.response(decay, alpha)[0].item())  # F* = σ²G(λ*)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("size, noise", [(1.0, 0.2), (3.0, 0.5)])
def test_theory_against_simulation_within_its_standard_error(alpha, size, noise):
    decays = torch.tensor([0.05, 0.2, 1.0], dtype=torch.float64)
    errors = wd.simulate(alpha, decays, size, noise, n=120, draws=150)
    assert errors.shape == (150, 3)
    standard_error = errors.std(dim=0) / 150**0.5
    z = (errors.mean(dim=0) - wd.generalization_error(decays, alpha, size, noise)) / standard_error
    assert z.abs().max() < 3.5
    assert (
        standard_error < 0.05 * errors.mean(dim=0)
    ).all()  # so that the standard error says something


@pytest.mark.parametrize("size, noise", [(1.0, 0.2), (3.0, 0.5)])
@pytest.mark.parametrize("alpha", ALPHAS)
def test_the_best_decay_is_noise_over_size(alpha, size, noise):
    decays = noise / size * torch.tensor([0.98, 1.0, 1.02], dtype=torch.float64)
    errors = wd.generalization_error(decays, alpha, size, noise)
    assert errors[1] < errors[0] and errors[1] < errors[2]


def test_students_are_ridge_regressions():
    x, y = torch.randn(3, 15, 6, dtype=torch.float64), torch.randn(3, 15, dtype=torch.float64)
    decays = torch.tensor([0.01, 0.7], dtype=torch.float64)
    w = wd.students(x, y, decays)
    for r in range(3):
        for k, decay in enumerate(decays.tolist()):
            ridge = Ridge(alpha=decay, fit_intercept=False).fit(
                x[r].numpy() / math.sqrt(6), y[r].numpy()
            )
            torch.testing.assert_close(w[r, k], torch.tensor(ridge.coef_))


def test_two_in_five_labels_are_wrong_and_none_of_the_judging_ones():
    y = torch.arange(10).repeat(500)
    x = torch.zeros(5000, 28, 28)
    x[torch.arange(5000), 0, 2 * y] = 4.0  # pooled, the pixel of the label's number is lit
    few, labels, others, true = wd.few_and_noisy(x, y, 2000)
    assert few.shape == others.shape == (2000, 196)
    lit = (labels != few.argmax(dim=1)).double().mean()
    assert 0.36 < lit < 0.44 and sorted(labels.unique().tolist()) == list(range(10))
    assert torch.equal(others.argmax(dim=1), true)


class Net(nn.Module):
    """Net k of many, with the same weights, as torch.nn has it."""

    def __init__(self, nets, k):
        super().__init__()
        (_, pixels, width), classes = nets[0].shape, nets[1].shape[2]
        self.first, self.second = (
            nn.Linear(pixels, width, bias=False),
            nn.Linear(width, classes, bias=False),
        )
        self.norms = [
            nn.LayerNorm(size, eps=1e-12, elementwise_affine=False) for size in (width, classes)
        ]
        self.double()
        with torch.no_grad():
            self.first.weight.copy_(nets[0][k].T)
            self.second.weight.copy_(nets[1][k].T)

    def forward(self, x):
        return 2 * self.norms[1](self.second(torch.relu(self.norms[0](self.first(x)))))


def test_new_nets_are_copies_of_one_in_the_right_size():
    first, second = wd.new_nets(500, 40, 3)
    assert first.shape == (3, 500, 40) and second.shape == (3, 40, 10)
    assert torch.equal(first[0], first[2]) and torch.equal(second[0], second[1])
    assert first.std() == pytest.approx((2 / 500) ** 0.5, rel=0.03)
    assert second.std() == pytest.approx((2 / 40) ** 0.5, rel=0.1)


def test_no_weights_size_matters(toy):
    nets = [w.double() for w in wd.new_nets(20, 8, 2)]
    scaled = [nets[0] * 7, nets[1] / 5]
    torch.testing.assert_close(wd.logits(scaled, toy[0]), wd.logits(nets, toy[0]))
    for w, g in zip(nets, wd.gradients(nets, toy[0], toy[1])):
        assert (w * g).sum(
            dim=(1, 2)
        ).abs().max() < 1e-9 * w.norm() * g.norm()  # a step turns it, no more


RECIPES = [[0.01, 0.0, 0.0], [0.01, 0.3, 0.0], [0.03, 0.0, 0.03 * 0.4]]  # none, L2, decoupled
OPTIMIZERS = {
    wd.sgd: [torch.optim.SGD, torch.optim.SGD, torch.optim.SGD],
    wd.adam: [torch.optim.Adam, torch.optim.Adam, torch.optim.AdamW],
}


@pytest.mark.parametrize("ours", OPTIMIZERS)
def test_nets_side_by_side_are_nets_of_torch_trained_one_by_one(ours, toy):
    """torch's weight_decay is λ in the loss for SGD and Adam, and d/η for AdamW; for SGD the two are the same."""
    nets = [w.double() for w in wd.new_nets(20, 8, 3)]
    modules = [Net(nets, k) for k in range(3)]
    torch.manual_seed(1)
    for _ in wd.train(ours, nets, toy[0], toy[1], torch.tensor(RECIPES, dtype=torch.float64), 60):
        pass
    for k, (module, theirs, (rate, l2, share)) in enumerate(
        zip(modules, OPTIMIZERS[ours], RECIPES)
    ):
        optimizer = theirs(module.parameters(), lr=rate, weight_decay=l2 + share / rate)
        torch.manual_seed(1)  # so that the batches are the same
        for step in range(60):
            optimizer.param_groups[0]["lr"] = rate * (1 - step / 60)
            batch = torch.randint(300, (50,))
            optimizer.zero_grad()
            F.cross_entropy(module(toy[0][batch]), toy[1][batch]).backward()
            optimizer.step()
        torch.testing.assert_close(
            nets[0][k].T, module.first.weight.detach(), rtol=1e-7, atol=1e-10
        )
        torch.testing.assert_close(
            nets[1][k].T, module.second.weight.detach(), rtol=1e-7, atol=1e-10
        )
        torch.testing.assert_close(
            wd.logits(nets, toy[2])[k], module(toy[2]).detach(), rtol=1e-6, atol=1e-8
        )
        wrong = 100 * (module(toy[2]).argmax(dim=1) != toy[3]).float().mean()
        torch.testing.assert_close(wd.error(nets, toy[2], toy[3])[k], wrong)


def test_twins_stay_together_under_sgd_and_part_under_adam(toy):
    sgd, adam = wd.apart(wd.sgd, 0.1, toy, 30), wd.apart(wd.adam, 0.01, toy, 30)
    assert sgd.shape == (30,) and sgd.max() < 1e-12
    assert adam[-1] > 0.05


def test_training_learns_and_every_cell_is_its_own_recipe(toy):
    tables = wd.error_by_rate_and_decay(
        [t.float() if t.is_floating_point() else t for t in toy], 16, 200
    )
    chance = 90
    assert [table.shape for table in tables] == [
        (len(wd.RATES), len(wd.L2)),
        (len(wd.RATES), len(wd.SHARES)),
    ]
    assert tables[1][2, :5].max() < 0.6 * chance and tables[0][2, :2].max() < 0.6 * chance
    assert not torch.equal(tables[0][:, 0], tables[0][:, -1])
    assert (tables[1][2] - tables[1][3]).abs().max() > 0
