"""papers/adam.py: every optimizer against torch.optim, the laws of sec. 2.1, the VAE's loss, the training loop."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import distributions as D

from papers import adam

THEIRS = {
    "Adam": lambda p, wd: torch.optim.Adam(p, lr=0.02, weight_decay=wd),
    "AdaMax": lambda p, wd: torch.optim.Adamax(p, lr=0.02, weight_decay=wd),
    "AMSGrad": lambda p, wd: torch.optim.Adam(p, lr=0.02, weight_decay=wd, amsgrad=True),
    "AdaGrad": lambda p, wd: torch.optim.Adagrad(p, lr=0.02, weight_decay=wd),
    "RMSProp": lambda p, wd: torch.optim.RMSprop(p, lr=0.02, weight_decay=wd),
    "SGD Nesterov": lambda p, wd: torch.optim.SGD(p, lr=0.02, momentum=0.9, nesterov=True, weight_decay=wd),
}
OURS = {**adam.RULES, "AMSGrad": adam.amsgrad}


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("name", OURS)
def test_optimizer_is_torchs_over_100_steps(name, weight_decay):
    draw = torch.Generator().manual_seed(0)
    data = torch.randn(60, 3, 4, generator=draw, dtype=torch.float64)  # (examples, in, out), gradients of both sizes
    start = [torch.randn(1, 3, 4, generator=draw, dtype=torch.float64), torch.ones(1, 1, 4, dtype=torch.float64)]

    def loss(weights, batch):
        w, b = weights
        return ((w - data[batch]).tanh() ** 2).mean((1, 2))[:1] * 3 + ((w * b - 1) ** 2).mean((1, 2))

    ours = [w.clone() for w in start]
    rates = torch.tensor([0.02], dtype=torch.float64)
    history = adam.train(ours, loss, OURS[name], rates, 60, 100, seed=5, size=1, weight_decay=weight_decay)
    theirs = [w.clone().requires_grad_() for w in start]
    optimizer, batches = THEIRS[name](theirs, weight_decay), torch.Generator().manual_seed(5)
    for step in range(100):
        cost = loss(theirs, torch.randint(60, (1,), generator=batches)).sum()
        assert history[step].item() == pytest.approx(cost.item(), rel=1e-8)
        optimizer.zero_grad()
        cost.backward()
        optimizer.step()
    for mine, other in zip(ours, theirs):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-11)


def test_uncorrected_first_steps_are_too_long_by_the_known_factor():
    g = torch.randn(50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for beta2 in (0.99, 0.999, 0.9999):
        plain = adam.adam(g, {}, 1, beta2=beta2, eps=0.0, correct=False)
        torch.testing.assert_close(plain, 0.1 / math.sqrt(1 - beta2) * g.sign())
        torch.testing.assert_close(adam.adam(g, {}, 1, beta2=beta2, eps=0.0), g.sign())


def test_epsilon_stands_outside_the_root_and_after_the_correction():
    g = torch.tensor([1e-8], dtype=torch.float64)
    assert adam.adam(g, {}, 1).item() == pytest.approx(0.5)  # g / (|g| + ε)


def test_laws_of_section_2_1():
    laws = adam.identities(seed=0)
    assert laws["first"] < 1e-12 and laws["rescaled"] < 1e-9
    assert 0.999 < laws["sparsest"] <= 1 and 0 < laws["largest"] <= 1


def test_root_decay_divides_the_rate_by_the_root_of_the_step():
    def constant(g, mind, t):
        return torch.ones_like(g)

    def loss(weights, batch):
        return weights[0].sum((1, 2))

    rates = torch.tensor([1.0, 0.5])
    for root_decay, way in ((True, 1 + 2**-0.5 + 3**-0.5), (False, 3.0)):
        nets = [torch.zeros(2, 1, 1)]
        adam.train(nets, loss, constant, rates, 10, 3, seed=0, root_decay=root_decay)
        torch.testing.assert_close(nets[0].detach().flatten(), -way * rates)


def test_reddis_example_misleads_adam_and_not_amsgrad():
    assert adam.non_convergence(adam.adam, 3000)[-1] > 0.95
    assert adam.non_convergence(adam.amsgrad, 10_000)[-1] < -0.95


def test_vae_loss_against_distributions(monkeypatch):
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(5, 12, generator=draw, dtype=torch.float64)
    shapes = [(12, 7), (7, 6), (3, 7), (7, 12)]
    nets = []
    for i, o in shapes:
        nets += [torch.randn(2, i, o, generator=draw, dtype=torch.float64),
                 torch.randn(2, 1, o, generator=draw, dtype=torch.float64)]  # fmt: skip
    noise = torch.randn(5, 3, generator=draw, dtype=torch.float64)
    monkeypatch.setattr(torch, "randn_like", lambda like: noise)
    ours = adam.vae_loss(nets, x, latent=3)
    for net in range(2):
        w1, b1, w2, b2, w3, b3, w4, b4 = (t[net] for t in nets)
        code = F.softplus(x @ w1 + b1) @ w2 + b2
        posterior = D.Normal(code[:, :3], (code[:, 3:] / 2).exp())
        z = posterior.loc + posterior.scale * noise
        logits = F.softplus(z @ w3 + b3) @ w4 + b4
        pixels = D.Bernoulli(logits=logits, validate_args=False).log_prob(x).sum(1)
        divergence = D.kl_divergence(posterior, D.Normal(torch.zeros(3).double(), torch.ones(3).double())).sum(1)
        assert ours[net].item() == pytest.approx((divergence - pixels).mean().item(), rel=1e-9)


def test_nets_side_by_side_are_nets_alone():
    x = torch.rand(9, 6, generator=torch.Generator().manual_seed(0))
    nets = adam.new_nets([6, 5, 4], 3, seed=1)
    assert all(torch.equal(w[0], w[2]) for w in nets)
    nets = [w + 0.1 * k * torch.ones_like(w) for k, w in enumerate(nets)]
    alone = torch.relu(x @ nets[0][1] + nets[1][1]) @ nets[2][1] + nets[3][1]
    torch.testing.assert_close(adam.forward(nets, x, 1.0, 1.0)[1], alone)


def test_dropout_keeps_its_share_and_its_mean():
    torch.manual_seed(0)
    x = torch.ones(2000, 10)
    eye = [torch.eye(10)[None], torch.zeros(1, 1, 10), torch.eye(10)[None], torch.zeros(1, 1, 10)]
    out = adam.forward(eye, x, 0.8, 0.5)[0]
    assert (out != 0).float().mean().item() == pytest.approx(0.4, abs=0.02)
    assert out.mean().item() == pytest.approx(1.0, abs=0.05) and out.max().item() == pytest.approx(2.5)


def test_bias_corrections_nets_are_trained_by_adam(monkeypatch):
    """The rule with a β2 for each net, against adam() with one."""
    images = torch.rand(40, 9, generator=torch.Generator().manual_seed(0))
    found = {}
    train = adam.train

    def spy(nets, loss, rule, rates, count, steps, seed, size):
        g = torch.randn(len(rates), 3, 3, generator=torch.Generator().manual_seed(1))
        mind, minds = {}, [{} for _ in rates]
        for t in range(1, 6):
            directions = rule(g * t, mind, t)
            for k, (correct, beta) in enumerate((c, b) for c in (True, False) for b in adam.BETAS):
                expected = adam.adam(g[k] * t, minds[k], t, beta2=beta, correct=correct)
                torch.testing.assert_close(directions[k], expected, rtol=1e-4, atol=1e-6)
        found["checked"] = True
        return train(nets, loss, rule, rates, count, steps, seed, size)

    monkeypatch.setattr(adam, "train", spy)
    losses = adam.bias_correction(images, [0.01], 20, range(2), width=5, latent=2)
    assert found["checked"] and losses.shape == (2, 3, 1, 2) and losses.isfinite().all()


def test_diverged_vaes_are_given_the_loss_of_the_start():
    images = torch.rand(40, 9, generator=torch.Generator().manual_seed(0))
    losses = adam.bias_correction(images, [1e-3, 1e9], 30, range(1), width=5, latent=2)
    assert (losses[:, :, 0] < losses[:, :, 1]).all() and torch.unique(losses[:, :, 1]).numel() == 1


def test_plays_are_sparse_and_their_kinds_known():
    presence, kinds = adam.load_plays(300)
    assert presence.shape == (len(kinds), 300) and set(presence.unique().tolist()) == {0.0, 1.0}
    assert 0.01 < presence.mean() < 0.2 and len(kinds.unique()) == kinds.max() + 1 >= 4
    assert (presence.sum(0) > 0).all()


def test_every_rule_learns_and_the_best_rate_is_chosen():
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(400, 12, generator=draw)
    y = x[:, :4].argmax(1)

    def loss(nets, batch):
        logits = adam.forward(nets, x[batch], 1.0, 1.0)
        truth = y[batch].expand(len(nets[0]), -1)
        return F.cross_entropy(logits.flatten(0, 1), truth.flatten(), reduction="none").view(truth.shape).mean(1)

    rates = [1e-7, 0.03, 1e4]
    curves, chosen = adam.compare(([12, 4], loss, 400, False), 300, range(2), rates, "cpu")
    for name in adam.RULES:
        assert chosen[name] == 0.03 and curves[name].shape == (300, 2)
        assert curves[name][-30:].mean() < (0.95 if name != "AdaGrad" else 1.3) * math.log(4)  # a uniform guess
        assert curves[name][-30:].mean() < curves[name][:10].mean()


def test_problems_use_their_own_data_and_dropout():
    images, words = [torch.rand(30, 8), torch.arange(30) % 10], [torch.rand(30, 6).round(), torch.arange(30) % 5]
    found = adam.problems(images, words, width=7)
    sizes = [problem[0] for problem in found.values()]
    assert sizes == [[8, 10], [6, 5], [8, 7, 7, 10]] and [problem[3] for problem in found.values()] == [
        True,
        True,
        False,
    ]
    noisy = []
    for size, loss, count, _ in found.values():
        nets = adam.new_nets(size, 2, seed=0)
        batch = torch.arange(count)
        losses = [loss(nets, batch) for _ in range(2)]
        assert losses[0].shape == (2,) and torch.allclose(losses[0][0], losses[0][1])
        noisy.append(not torch.equal(losses[0], losses[1]))
    assert noisy == [False, True, True]
