"""papers/dropout.py: the mask, the scaling, the nets side by side and the ridge identity, each against another."""

import math

import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import Ridge
from torch import Generator, nn

from papers import dropout as dp

KEEPS = (0.8, 0.5, 0.5)


@pytest.fixture
def toy():
    """Images (n, 16) of 4x4 in float32; the label is the brightest of the first ten pixels."""
    x = torch.rand(1200, 16, generator=Generator().manual_seed(0))
    y = x[:, :10].argmax(1)
    return {"train": (x[:800], y[:800]), "tune": (x[800:1000], y[800:1000]), "test": (x[1000:], y[1000:])}


def draws(*shape, seed=0):
    return torch.randn(*shape, generator=Generator().manual_seed(seed), dtype=torch.float64)


def as_module(nets, k):
    """Net k as a torch.nn module with the same weights."""
    layers = []
    for weights, biases in zip(nets[::2], nets[1::2]):
        layer = nn.Linear(*weights.shape[1:]).double()
        with torch.no_grad():
            layer.weight.copy_(weights[k].T)
            layer.bias.copy_(biases[k, 0])
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.8])
def test_expectation_and_variance_of_the_mask(keep):
    h = draws(2, 3, 4)
    big = h.expand(40_000, -1, -1, -1)
    masked = big * dp.mask(big, keep, Generator().manual_seed(1))
    assert set(torch.unique(dp.mask(big, keep, Generator())).tolist()) == {0.0, 1.0}
    error = (keep * (1 - keep) / len(big)) ** 0.5
    assert ((masked.mean(0) / h - keep).abs() < 5 * error).all()
    torch.testing.assert_close(masked.var(0), keep * (1 - keep) * h**2, rtol=0.05, atol=0)


def test_masks_are_independent_of_each_other():
    drawn = dp.mask(torch.zeros(20_000, 6), 0.5, Generator().manual_seed(0))
    assert (torch.corrcoef(drawn.T) - torch.eye(6)).abs().max() < 0.04


def test_nets_start_by_their_seeds_in_the_right_size():
    nets = dp.new_nets((500, 40, 10), [3, 4])
    assert [tuple(w.shape) for w in nets] == [(2, 500, 40), (2, 1, 40), (2, 40, 10), (2, 1, 10)]
    assert torch.equal(nets[2][1], dp.new_nets((500, 40, 10), [4])[2][0]) and not torch.equal(*nets[0])
    assert nets[0].std().item() == pytest.approx((2 / 500) ** 0.5, rel=0.03) and nets[1].abs().max() == 0
    assert nets[2].std().item() == pytest.approx((2 / 40) ** 0.5, rel=0.1)


def test_the_whole_net_is_torchs():
    nets, x = dp.new_nets((7, 6, 5, 4), [0, 1, 2], torch.float64), draws(3, 9, 7)
    nets[1::2] = [draws(*b.shape) for b in nets[1::2]]
    for k in range(3):
        torch.testing.assert_close(dp.forward(nets, x)[k], as_module(nets, k)(x[k]).detach())


def test_a_thinned_net_is_the_net_without_the_dropped_units():
    nets, x = dp.new_nets((7, 6, 5, 4), [0, 1], torch.float64), draws(2, 9, 7)
    nets[1::2] = [draws(*b.shape) for b in nets[1::2]]
    ours = dp.forward(nets, x, KEEPS, Generator().manual_seed(5))
    draw = Generator().manual_seed(5)
    inputs, first, second = (torch.rand(2, 9, n, generator=draw) < keep for n, keep in zip((7, 6, 5), KEEPS))
    for k in range(2):
        for b in range(9):
            i, f, s = (kept[k, b] for kept in (inputs, first, second))
            h = (x[k, b][i] @ nets[0][k][i][:, f] + nets[1][k, 0][f]).clamp(min=0)
            h = (h @ nets[2][k][f][:, s] + nets[3][k, 0][s]).clamp(min=0)
            torch.testing.assert_close(ours[k, b], h @ nets[4][k][s] + nets[5][k, 0])


def test_scaled_weights_are_the_mean_over_all_masks():
    """Exactly so for the input of a layer: 2^6 masks, each with its probability."""
    nets, x, keep = dp.new_nets((6, 4), [0], torch.float64), draws(1, 1, 6), 0.3
    nets[1] += 0.7
    masks = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 6)  # (64, 6)
    chance = keep ** masks.sum(1) * (1 - keep) ** (6 - masks.sum(1))
    mean = (chance[:, None] * (masks * x[0] @ nets[0][0] + nets[1][0])).sum(0)
    torch.testing.assert_close(dp.forward(dp.scaled(nets, (keep,)), x)[0, 0], mean)


def test_each_layer_is_scaled_by_its_own_keep():
    nets = dp.new_nets((6, 5, 4, 3), [0, 1])
    for i, (before, after) in enumerate(zip(nets, dp.scaled(nets, (0.8, 0.5, 0.25)))):
        assert torch.allclose(after, before * (1, 0.8, 0.5, 0.25)[0 if i % 2 else 1 + i // 2])


def test_max_norm_is_torchs_renorm_of_hidden_units():
    nets = dp.new_nets((6, 5, 4, 3), [0, 1], torch.float64)
    before, radius = [w.clone() for w in nets], torch.tensor([0.5, 1.2], dtype=torch.float64)
    dp.max_norm(nets, radius)
    for i in (0, 2):
        for k in range(2):
            torch.testing.assert_close(nets[i][k], torch.renorm(before[i][k], 2, 1, radius[k].item()))
    assert torch.equal(nets[4], before[4]) and not torch.equal(nets[0], before[0])


def test_thinned_predictions_are_probabilities_and_differ():
    nets, x = dp.new_nets((6, 5, 3), [0, 1], torch.float64), draws(8, 6)
    drawn = dp.thinned_predictions(nets, x, (0.8, 0.5), 4, Generator().manual_seed(2))
    assert drawn.shape == (4, 2, 8, 3) and not torch.equal(drawn[0], drawn[1])
    draw = Generator().manual_seed(2)
    first = F.softmax(dp.forward(nets, x.expand(2, -1, -1), (0.8, 0.5), draw), dim=2)
    torch.testing.assert_close(drawn[0], first)
    torch.testing.assert_close(drawn.sum(3), torch.ones(4, 2, 8, dtype=torch.float64))


@pytest.mark.parametrize("keep", [0.5, 0.8])
def test_marginal_loss_is_the_sum_over_all_masks(keep):
    x, y, w = draws(2, 3), draws(2, seed=1), draws(3, seed=2)
    total = 0.0
    for bits in range(64):
        kept = torch.tensor([bits >> i & 1 for i in range(6)], dtype=torch.float64).view(2, 3)
        total += keep ** kept.sum() * (1 - keep) ** (6 - kept.sum()) * ((y - (kept * x) @ w) ** 2).sum()
    torch.testing.assert_close(dp.marginal_loss(x, y, w, keep), total)
    assert dp.enumerated_gap(keep, 0) < 1e-12


@pytest.mark.parametrize("keep", [0.3, 0.8])
def test_ridge_is_scikit_learns_on_scaled_inputs_and_the_minimum(keep):
    x, y = draws(20, 5), draws(20, seed=1)
    w = dp.ridge(x, y, keep).requires_grad_()
    size = x.square().sum(0).sqrt()  # Γ; in v = p Γ w the penalty is (1 − p)/p |v|²
    v = Ridge(alpha=(1 - keep) / keep, fit_intercept=False).fit((x / size).numpy(), y.numpy()).coef_
    torch.testing.assert_close(w.detach(), torch.tensor(v) / size / keep)
    assert torch.autograd.grad(dp.marginal_loss(x, y, w, keep), w)[0].abs().max() < 1e-10


def test_batch_loss_is_torchs_summed_over_nets():
    outputs, labels, images = draws(3, 4, 5), torch.arange(12).view(3, 4) % 5, draws(3, 4, 5, seed=1)
    expected = sum(F.cross_entropy(o, y) for o, y in zip(outputs, labels))
    torch.testing.assert_close(dp.batch_loss(outputs, labels), expected)
    expected = sum(0.5 * F.mse_loss(o, y, reduction="sum") / 4 for o, y in zip(outputs, images))
    torch.testing.assert_close(dp.batch_loss(outputs, images), expected)


@pytest.mark.parametrize("keeps", [(1.0, 1.0, 1.0), KEEPS])
@pytest.mark.parametrize("radii", [None, (0.9, 1.3)])
def test_nets_side_by_side_are_nets_trained_one_by_one(keeps, radii, toy):
    x, y = toy["train"][0].double(), toy["train"][1]
    nets, seeds, steps = dp.new_nets((16, 8, 7, 10), [4, 9], torch.float64), [4, 9], 30
    pools, rates = torch.stack([torch.arange(100), torch.arange(400, 500)]), torch.tensor([0.1, 0.03]).double()
    modules = [as_module(nets, k) for k in range(2)]
    radius = None if radii is None else torch.tensor(radii, dtype=torch.float64)
    history = dp.train(nets, keeps, pools, x, y, rates, steps, seeds, radius, (x[:50], y[:50]), batch=20)
    masks = Generator().manual_seed(4)
    kept = [[(torch.rand(2, 20, n, generator=masks) < p) if p < 1 else None for n, p in zip((16, 8, 7), keeps)]
            for _ in range(steps)]  # fmt: skip
    for k, module in enumerate(modules):
        order = Generator().manual_seed(seeds[k])
        optimizer = torch.optim.SGD(module.parameters(), lr=rates[k].item(), momentum=0.9)
        # torch keeps the rate out of the velocity, so a falling rate means the same there
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: 1 - t / steps)
        for step in range(steps):
            picks = pools[k][torch.randint(100, (20,), generator=order)]
            h = x[picks]
            for layer, linear in enumerate(module[::2]):
                h = h.relu() if layer else h
                h = linear(h if kept[step][layer] is None else h * kept[step][layer][k])
            optimizer.zero_grad()
            F.cross_entropy(h, y[picks]).backward()
            optimizer.step()
            schedule.step()
            if radii:
                with torch.no_grad():
                    for linear in module[:-1:2]:
                        linear.weight.copy_(torch.renorm(linear.weight, 2, 0, radii[k]))
        for w, parameter in zip(nets, module.parameters()):
            close = {"rtol": 1e-8, "atol": 1e-12} if radii is None else {"rtol": 1e-5, "atol": 1e-6}  # renorm adds 1e-7
            torch.testing.assert_close(w[k].T.squeeze(), parameter.detach(), **close)
    assert history.shape == (10, 2) and not nets[0].requires_grad
    torch.testing.assert_close(history[-1], dp.error(dp.scaled(nets, keeps), x[:50], y[:50]))


def test_error_counts_and_squares():
    nets, x = dp.new_nets((6, 5, 6), [0, 1], torch.float64), draws(8, 6)
    outputs = dp.forward(nets, x.expand(2, -1, -1))
    labels = outputs[0].argmax(1)
    labels[:2] = (labels[:2] + 1) % 6
    assert dp.error(nets, x, labels)[0] == 25
    torch.testing.assert_close(dp.error(nets, x, x), torch.stack([F.mse_loss(o, x) * 6 for o in outputs]))


def test_training_learns_with_and_without_dropout(toy):
    for keeps in dp.ARMS.values():
        nets, history = dp.trained(toy, keeps, 800, 64, 1500, [0, 1], [(0.1, 3.0)])
        chance = 85
        assert dp.error(dp.scaled(nets, keeps), *toy["test"]).max() < 0.6 * chance
        assert history[-1].mean() < history[0].mean()


def test_an_autoencoder_beats_the_mean_image(toy):
    nets, history = dp.trained(toy, dp.CODERS["dropout"], 800, 64, 1500, [0, 1], [(0.1, math.inf)])
    x = toy["test"][0]
    mean_image = (x - toy["train"][0].mean(0)).square().sum(1).mean()
    assert dp.error(dp.scaled(nets, dp.CODERS["dropout"]), x, x).max() < 0.8 * mean_image
    assert history.numel() == 0


def test_settings_are_chosen_on_tuning_data_only(toy):
    tries = [(1e-4, math.inf), (0.1, math.inf)]
    found = dp.tuned(toy, (1.0, 1.0, 1.0), 400, 16, 60, [0, 1, 2], tries, 2)
    assert found[0] == tries[1] and found[1][0].shape == (3, 16, 16) and found[2].shape == (10, 3)
    spoilt = {**toy, "test": (toy["test"][0], (toy["test"][1] + 1) % 10)}
    assert dp.tuned(spoilt, (1.0, 1.0, 1.0), 400, 16, 60, [0, 1, 2], tries, 2)[0] == tries[1]
    wrong = dp.error(dp.trained(toy, (1.0, 1.0, 1.0), 400, 16, 60, [0, 1], tries)[0], *toy["tune"]).view(2, 2).mean(1)
    assert wrong[1] < wrong[0]
    # labels that only the slow net's own outputs satisfy turn the choice round
    slow = [w[:1] for w in dp.trained(toy, (1.0, 1.0, 1.0), 400, 16, 60, [0, 1], tries)[0]]
    x = toy["tune"][0]
    turned = {**toy, "tune": (x, dp.forward(slow, x[None])[0].argmax(1))}
    assert dp.tuned(turned, (1.0, 1.0, 1.0), 400, 16, 60, [0, 1, 2], tries, 1)[0] == tries[0]


def test_monte_carlo_averages_probabilities_in_groups():
    nets, x = dp.new_nets((6, 5, 10), [0, 1]), torch.rand(30, 6, generator=Generator().manual_seed(0))
    y = torch.arange(30) % 10
    errors = dp.monte_carlo(nets, (0.8, 0.5), x, y, [1, 2, 5], seed=3)
    drawn = dp.thinned_predictions(nets, x, (0.8, 0.5), 5, Generator().manual_seed(3))
    assert {k: tuple(e.shape) for k, e in errors.items()} == {1: (5, 2), 2: (2, 2), 5: (1, 2)}
    for k, g, n in ((1, 4, 0), (2, 1, 1), (5, 0, 0)):
        wrong = sum(drawn[g * k : (g + 1) * k, n].sum(0).argmax(1) != y)
        assert errors[k][g, n].item() == pytest.approx(100 * wrong.item() / 30, rel=1e-5)


def test_neighbour_correlation_tells_smooth_from_noise():
    x = torch.rand(200, 400, generator=Generator().manual_seed(0))
    noise = torch.randn(1, 400, 30, generator=Generator().manual_seed(1))
    ramp = torch.linspace(-1, 1, 20)[:, None].expand(20, 20).reshape(1, 400, 1)
    checks = ((torch.arange(20)[:, None] + torch.arange(20)) % 2 * 2.0 - 1).view(1, 400, 1)
    assert dp.neighbour_correlation(noise, x).abs().item() < 0.03
    assert dp.neighbour_correlation(5 + 2 * ramp, x).item() > 0.85
    assert dp.neighbour_correlation(checks, x).item() == pytest.approx(-1)
    x[:, :200] = 0  # the upper half varies no more, and its weights don't count
    half = torch.cat([1e3 * noise[:, :200, :1], checks[:, 200:]], 1)
    assert dp.neighbour_correlation(half, x).item() == pytest.approx(-1, abs=1e-4)


def test_sampled_masks_converge_to_ridge():
    distances = dp.convergence(0.5, 2048, 6, 0)
    for gaps in distances.values():
        assert gaps.shape == (12, 6) and gaps[-1].mean() < 0.1 < gaps[0].mean()
    powers = 3.0 * (2.0 ** torch.arange(8)[:, None]) ** torch.tensor([-0.5, -1.0])
    torch.testing.assert_close(dp.slope(powers, 3), torch.tensor([-0.5, -1.0]))


@pytest.mark.parametrize("wrong", ["--steps", "--width", "--masks"])
def test_sizes_that_make_no_sense_are_refused(wrong, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        dp.main(["--smoke", "--out", str(tmp_path), wrong, "0"])
    assert stopped.value.code == 2 and wrong in capsys.readouterr().err
