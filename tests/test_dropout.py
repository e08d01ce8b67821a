"""papers/dropout.py: the mask, thinned nets, weight scaling and the ridge identity, each against the long way round."""

import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import Ridge
from torch import nn

from papers import dropout as dp


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def draws(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def linear_layers(model):
    return [layer for layer in model if isinstance(layer, nn.Linear)]


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.8])
def test_expectation_and_variance_of_what_is_kept(keep):
    layer, x = dp.Dropout(keep).train(), draws(3, 4)
    kept = layer(x.expand(40_000, -1, -1))
    assert set(torch.unique(kept / x).tolist()) == {0.0, 1.0}
    error = (keep * (1 - keep) / len(kept)) ** 0.5
    assert ((kept.mean(dim=0) / x - keep).abs() < 5 * error).all()
    torch.testing.assert_close(kept.var(dim=0), keep * (1 - keep) * x**2, rtol=0.05, atol=0)
    torch.testing.assert_close(layer.eval()(x), keep * x)


def test_units_and_examples_are_dropped_independently():
    kept = dp.Dropout(0.5)(torch.ones(20_000, 6))
    assert (torch.corrcoef(kept.T) - torch.eye(6)).abs().max() < 0.04
    assert abs(torch.corrcoef(torch.stack([kept[:-1].flatten(), kept[1:].flatten()]))[0, 1]) < 0.02


def test_a_thinned_net_is_the_net_without_the_dropped_units():
    model, x = dp.classifier(6, 0.8, 0.5).double(), draws(9, 784)
    first, second, last = linear_layers(model)
    torch.manual_seed(5)
    ours = model.train()(x)
    torch.manual_seed(5)
    masks = [
        torch.rand(9, size, dtype=torch.float64) < keep
        for size, keep in ((784, 0.8), (6, 0.5), (6, 0.5))
    ]
    for b in range(9):
        i, f, s = (mask[b] for mask in masks)
        h = F.relu(first.weight[f][:, i] @ x[b, i] + first.bias[f])
        h = F.relu(second.weight[s][:, f] @ h + second.bias[s])
        torch.testing.assert_close(ours[b], last.weight[:, s] @ h + last.bias)


def test_at_test_time_it_is_torchs_net_with_scaled_weights():
    model, x = dp.classifier(6, 0.8, 0.5).double().eval(), draws(9, 784)
    expected = x
    for k, (layer, keep) in enumerate(zip(linear_layers(model), (0.8, 0.5, 0.5))):
        expected = F.linear(F.relu(expected) if k else expected, keep * layer.weight, layer.bias)
    torch.testing.assert_close(model(x), expected)
    standard = dp.classifier(6, 1.0, 1.0).double()
    theirs = nn.Sequential(*(layer for layer in standard if not isinstance(layer, dp.Dropout)))
    torch.testing.assert_close(standard.train()(x), theirs(x))
    torch.testing.assert_close(standard.eval()(x), theirs(x))


def test_the_scaled_layer_is_the_mean_over_all_masks():
    linear, x, keep = nn.Linear(6, 4).double(), draws(6), 0.3
    masks = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 6)  # (64, 6)
    chances = keep ** masks.sum(dim=1) * (1 - keep) ** (6 - masks.sum(dim=1))
    mean = (chances[:, None] * linear(masks * x)).sum(dim=0)
    torch.testing.assert_close(nn.Sequential(dp.Dropout(keep), linear).eval()(x), mean)


def test_averages_of_thinned_nets_are_means_of_probabilities():
    model, x, y = dp.classifier(12, 0.8, 0.5), torch.rand(300, 784), torch.arange(300) % 10
    torch.manual_seed(3)
    errors = dp.average_of_thinned_nets(model, x, y, [1, 2, 4])
    torch.manual_seed(3)
    drawn = [F.softmax(model.train()(x), dim=1) for _ in range(4)]
    assert list(errors) == [1, 2, 4] and len(set(errors.values())) > 1
    for k, value in errors.items():
        wrong = torch.stack(drawn[:k]).mean(dim=0).argmax(dim=1) != y
        assert value == pytest.approx(100 * wrong.float().mean().item())


@pytest.mark.parametrize("keep", [0.5, 0.8])
def test_marginal_loss_is_the_sum_over_all_masks(keep):
    x, y, w = draws(2, 3), draws(2), draws(3)
    total = 0.0
    for bits in range(64):
        kept = torch.tensor([bits >> i & 1 for i in range(6)], dtype=torch.float64).view(2, 3)
        total += (
            keep ** kept.sum() * (1 - keep) ** (6 - kept.sum()) * ((y - (kept * x) @ w) ** 2).sum()
        )
    torch.testing.assert_close(dp.marginal_loss(x, y, w, keep), total)
    gap, slope = dp.linear_regression(keep)
    assert gap < 1e-12 and slope < 1e-10


@pytest.mark.parametrize("keep", [0.3, 0.8])
def test_ridge_is_scikit_learns_on_scaled_inputs(keep):
    x, y = draws(20, 5), draws(20)
    size = x.square().sum(dim=0).sqrt()  # Γ; in v = p Γ w the penalty is (1 − p)/p |v|²
    v = Ridge(alpha=(1 - keep) / keep, fit_intercept=False).fit((x / size).numpy(), y.numpy()).coef_
    torch.testing.assert_close(dp.ridge(x, y, keep), torch.tensor(v) / size / keep)


@pytest.mark.parametrize("images", [False, True])
def test_training_is_adam_at_the_given_rates(images):
    x = torch.rand(200, 784)
    y = x if images else torch.arange(200) % 10
    build = (lambda: dp.autoencoder(8, 0.5)) if images else (lambda: dp.classifier(8, 0.8, 0.5))
    ours, theirs = build(), build()
    theirs.load_state_dict(ours.state_dict())
    ours.eval()  # training switches it back
    torch.manual_seed(1)
    assert dp.train(ours, x, y, torch.tensor([0.01, 0.002])) == []
    torch.manual_seed(1)
    optimizer = torch.optim.Adam(theirs.parameters())
    for rate in (0.01, 0.002):
        optimizer.param_groups[0]["lr"] = rate
        batch = torch.randint(200, (128,))
        outputs = theirs(x[batch])
        loss = F.mse_loss(outputs, y[batch]) * 784 if images else F.cross_entropy(outputs, y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for one, other in zip(ours.parameters(), theirs.parameters()):
        torch.testing.assert_close(one, other)


def test_spoilt_labels_are_others_in_the_given_share():
    y = torch.arange(20_000) % 10
    spoilt = dp.spoil(y, 0.4)
    wrong = spoilt != y
    assert abs(wrong.float().mean() - 0.4) < 0.02 and spoilt.min() == 0 and spoilt.max() == 9
    assert ((spoilt[wrong] - y[wrong]) % 10).bincount(minlength=10)[1:].min() > 700


@pytest.mark.parametrize("probabilities", [(1.0, 1.0), (0.8, 0.5)])
def test_a_classifier_learns(probabilities):
    y = torch.arange(1200) % 10
    x = torch.rand(10, 784)[y] + 0.5 * torch.randn(1200, 784)
    model, chance = dp.classifier(64, *probabilities), 90
    curve = dp.train(model, x[:1000], y[:1000], torch.full((200,), 3e-3), (x[1000:], y[1000:]))
    assert [step for step, _ in curve] == list(range(10, 201, 10))
    assert curve[-1][1] == dp.error(model, x[1000:], y[1000:]) < 0.3 * chance


def test_an_autoencoder_beats_the_mean_image():
    x = torch.rand(500, 5) @ torch.rand(5, 784)
    coder = dp.autoencoder(64, 0.5)
    dp.train(coder, x, x, torch.full((300,), 1e-3))
    mean_image = (x - x.mean(dim=0)).square().sum(dim=1).mean()
    assert (coder.eval()(x) - x).square().sum(dim=1).mean() < 0.6 * mean_image


def test_features_are_those_of_units_that_fire_and_smoothness_tells_them_apart():
    coder, x = dp.autoencoder(4, 0.5), torch.rand(200, 784)
    x[:, :28] = 0  # the uppermost row never varies
    with torch.no_grad():
        coder[0].bias[:] = torch.tensor(
            [100.0, -100, 100, -100]
        )  # two units fire always, two never
    weights, seen = dp.living_features(coder, x)
    assert (
        torch.equal(weights, coder[0].weight[[0, 2]])
        and seen.sum() == 784 - 28
        and seen[:28].sum() == 0
    )
    ramp = torch.linspace(-1, 1, 28)[:, None].expand(28, 28).reshape(1, 784)
    board = ((torch.arange(28)[:, None] + torch.arange(28)) % 2 * 2.0 - 1).view(1, 784)
    blind = torch.cat(
        [1e3 * torch.randn(1, 28), board[:, 28:]], dim=1
    )  # the row that isn't seen doesn't count
    assert dp.neighbour_correlation(torch.randn(30, 784), torch.ones(784)) == pytest.approx(
        0, abs=0.03
    )
    assert dp.neighbour_correlation(5 + 2 * ramp, torch.ones(784)) > 0.85
    assert dp.neighbour_correlation(blind, seen) == pytest.approx(-1, abs=1e-3)
