"""papers/adam.py: every optimizer against torch.optim, the laws of sec. 2.1, the nets, the VAE, the training loop."""

import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import distributions as D
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
OURS = {**adam.RULES, "AMSGrad": adam.amsgrad}


def problem(dtype=torch.float64):
    """Two tensors to start at, a loss with gradients of very different sizes, and the number of its examples."""
    draw = torch.Generator().manual_seed(0)
    data = torch.randn(40, 1, 3, 4, generator=draw, dtype=dtype)
    scale = torch.logspace(-2, 1, 12, dtype=dtype).view(3, 4)
    start = [torch.randn(1, 3, 4, generator=draw, dtype=dtype), torch.ones(1, 1, 4, dtype=dtype)]

    def loss(nets, batch):  # each net's own, (S,)
        w, b = nets
        return (scale * (w - data[batch].mean(0)).cosh().log()).sum((1, 2)) + ((w * b - 1) ** 2).mean((1, 2))

    return start, loss, len(data)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("name", OURS)
def test_optimizer_is_torchs_over_100_steps(name, weight_decay):
    start, loss, count = problem()
    ours = [w.clone() for w in start]
    rates = torch.tensor([0.02], dtype=torch.float64)
    history = adam.train(ours, loss, [OURS[name]], rates, 0.0, count, 100, seed=5, weight_decay=weight_decay)
    theirs = [w.clone().requires_grad_() for w in start]
    optimizer, batches = THEIRS[name](theirs, lr=0.02, weight_decay=weight_decay), torch.Generator().manual_seed(5)
    for step in range(100):
        cost = loss(theirs, torch.randint(count, (128,), generator=batches)).sum()
        assert history[step].item() == pytest.approx(cost.item(), rel=1e-9)
        optimizer.zero_grad()
        cost.backward()
        optimizer.step()
    for mine, other, begin in zip(ours, theirs, start):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-11)
        assert (mine - begin).abs().max() > 0.05


def test_rules_side_by_side_each_move_their_own_nets():
    start, loss, count = problem()
    rules, rates, powers = list(OURS.values()), [0.03, 0.01], [0.5, 0.0]
    together = [w.repeat(2 * len(rules), 1, 1) for w in start]
    given = (torch.tensor(v, dtype=torch.float64).repeat(len(rules)) for v in (rates, powers))
    adam.train(together, loss, rules, *given, count, 20, seed=1)
    for k, rule in enumerate(rules):
        for i, (rate, power) in enumerate(zip(rates, powers)):
            alone = [w.clone() for w in start]
            adam.train(alone, loss, [rule], torch.tensor([rate]).double(), power, count, 20, seed=1)
            for both, one in zip(together, alone):
                torch.testing.assert_close(both[2 * k + i], one[0])


def test_the_rate_falls_with_its_power_of_the_step():
    def constant(g, mind, t):
        return torch.ones_like(g)

    def loss(nets, batch):
        return nets[0].sum((1, 2))

    nets = [torch.zeros(3, 1, 1)]
    adam.train(nets, loss, [constant], torch.tensor([1.0, 1.0, 0.5]), torch.tensor([0.5, 0.0, 0.5]), 10, 3, seed=0)
    falling = 1 + 2**-0.5 + 3**-0.5
    torch.testing.assert_close(nets[0].detach().flatten(), -torch.tensor([falling, 3, falling / 2]))


def test_uncorrected_first_steps_are_too_long_by_the_known_factor():
    g = torch.randn(50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for beta2 in adam.BETAS:
        plain = adam.adam(g, {}, 1, beta2=beta2, eps=0.0, correct=False)
        torch.testing.assert_close(plain, 0.1 / math.sqrt(1 - beta2) * g.sign())
        torch.testing.assert_close(adam.adam(g, {}, 1, beta2=beta2, eps=0.0), g.sign())


def test_epsilon_stands_outside_the_root_and_after_the_correction():
    g = torch.tensor([1e-8], dtype=torch.float64)
    assert adam.adam(g, {}, 1).item() == pytest.approx(0.5)  # g / (|g| + ε)


def test_laws_of_section_2_1():
    laws = adam.laws(seed=0, silence=10_000)
    assert laws["first step, off by"] < 1e-12 and laws["rescaled, off by"] < 1e-9
    assert laws["one gradient, of the bound"] == pytest.approx(1, abs=1e-3)
    limit = laws["Cauchy-Schwarz, of the bound"]
    assert limit == pytest.approx((1 / (1 - 0.81 / 0.999)) ** 0.5) and limit > 2
    assert laws["growing, of the bound"] == pytest.approx(limit, rel=1e-3)
    assert 1 < laws["twelve alike, of the bound"] < limit and laws["random, of the bound"] < 1


def test_the_limit_of_a_step_is_that_of_the_worst_gradients():
    """Maximizing |Δ| over 40 gradients by torch's own Adam on torch's own derivatives comes near it, and not above."""
    weights_m = 0.1 * 0.9 ** torch.arange(400, dtype=torch.float64)
    weights_v = 0.001 * 0.999 ** torch.arange(400, dtype=torch.float64)
    g = torch.ones(400, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([g], lr=0.05)
    for _ in range(1500):
        step = (weights_m * g).sum() / (weights_v * g**2).sum().sqrt()
        optimizer.zero_grad()
        (-step).backward()
        optimizer.step()
    limit = adam.laws(seed=0, silence=10)["Cauchy-Schwarz, of the bound"] * 0.1 / 0.001**0.5
    assert 0.98 * limit < step.item() <= limit * (1 + 1e-9)


def test_reddis_example_misleads_adam_and_not_amsgrad():
    assert adam.non_convergence(adam.adam, 3000)[-1] > 0.95
    assert adam.non_convergence(adam.amsgrad, 6000)[-1] < -0.95


def test_reddis_example_with_torchs_optimizers():
    for amsgrad, ours in ((False, adam.adam), (True, adam.amsgrad)):
        x = torch.zeros((), dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.Adam([x], lr=0.1, betas=(0.0, 0.1), amsgrad=amsgrad)
        path = adam.non_convergence(ours, 60)
        for t in range(1, 61):
            optimizer.param_groups[0]["lr"] = 0.1 / t**0.5
            x.grad = torch.tensor(3.0 if t % 3 == 1 else -1.0, dtype=torch.float64)
            optimizer.step()
            x.data.clamp_(-1, 1)
            assert path[t - 1].item() == pytest.approx(x.item(), abs=1e-7)


def nets_of(layers, copies=3, seed=1):
    """Nets with biases and with differences between them."""
    draw = torch.Generator().manual_seed(9)
    nets = [w.double() for w in adam.new_nets(layers, copies, seed)]
    return [w + 0.3 * torch.randn(w.shape, generator=draw, dtype=w.dtype) for w in nets]


def test_nets_side_by_side_are_nets_of_torch():
    nets = [w.requires_grad_() for w in nets_of([(6, 5), (5, 7), (7, 4)])]
    draw = torch.Generator().manual_seed(2)
    x, y = torch.randn(9, 6, generator=draw, dtype=torch.float64), torch.randint(4, (9,), generator=draw)
    logits = adam.forward(nets, x)
    losses = adam.cross_entropy(logits, y)
    assert logits.shape == (3, 9, 4) and losses.shape == (3,)
    grads = torch.autograd.grad(losses.sum(), nets)
    for k in range(3):
        modules = []
        for w, b in zip(nets[::2], nets[1::2]):
            layer = nn.Linear(w.shape[2], w.shape[1]).double()
            layer.weight.data, layer.bias.data = w[k].detach().clone(), b[k, 0].detach().clone()
            modules += [layer, nn.ReLU()]
        model = nn.Sequential(*modules[:-1])
        torch.testing.assert_close(logits[k], model(x))
        loss = F.cross_entropy(model(x), y)
        torch.testing.assert_close(losses[k], loss)
        loss.backward()
        for layer, dw, db in zip(model[::2], grads[::2], grads[1::2]):
            torch.testing.assert_close(dw[k], layer.weight.grad)
            torch.testing.assert_close(db[k, 0], layer.bias.grad)


def test_new_nets_are_alike_and_of_the_stated_spread():
    nets = adam.new_nets([(400, 300), (300, 10)], 2, seed=3)
    assert torch.equal(nets[0][0], nets[0][1]) and nets[0].shape == (2, 300, 400) and nets[3].shape == (2, 1, 10)
    assert nets[0].std().item() == pytest.approx(400**-0.5, rel=0.02) and (nets[1] == 0).all()
    assert not torch.equal(nets[0], adam.new_nets([(400, 300)], 2, seed=4)[0])


def test_dropout_keeps_its_share_and_its_mean_alike_in_all_nets():
    torch.manual_seed(0)
    kept = adam.drop(torch.ones(2, 2000, 10), 0.8)
    assert set(kept.unique().tolist()) == {0.0, 1.25} and torch.equal(kept[0], kept[1])
    assert kept.mean().item() == pytest.approx(1, abs=0.02)
    x = torch.ones(4, 5)
    assert adam.drop(x, 1) is x
    eye = [torch.eye(10)[None], torch.zeros(1, 1, 10), torch.eye(10)[None], torch.zeros(1, 1, 10)]
    out = adam.forward(eye, torch.ones(2000, 10), 0.8, 0.5)
    assert set(out.unique().tolist()) == {0.0, 2.5} and out.mean().item() == pytest.approx(1, abs=0.05)


def test_vae_loss_against_distributions(monkeypatch):
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(5, 12, generator=draw, dtype=torch.float64)
    nets = nets_of([(12, 7), (7, 6), (3, 7), (7, 12)], copies=2)
    noise = torch.randn(5, 3, generator=draw, dtype=torch.float64)
    monkeypatch.setattr(torch, "randn_like", lambda like: noise)
    ours = adam.vae_loss(nets, x)
    for net in range(2):
        w1, b1, w2, b2, w3, b3, w4, b4 = (t[net] for t in nets)
        code = F.softplus(x @ w1.T + b1) @ w2.T + b2
        posterior = D.Normal(code[:, :3], (code[:, 3:] / 2).exp())
        z = posterior.loc + posterior.scale * noise
        logits = F.softplus(z @ w3.T + b3) @ w4.T + b4
        pixels = D.Bernoulli(logits=logits, validate_args=False).log_prob(x).sum(1)
        divergence = D.kl_divergence(posterior, D.Normal(torch.zeros(3).double(), torch.ones(3).double())).sum(1)
        assert ours[net].item() == pytest.approx((divergence - pixels).mean().item(), rel=1e-9)


def test_bias_correction_trains_by_the_rules_it_names(monkeypatch):
    images, seen = torch.rand(40, 9, generator=torch.Generator().manual_seed(0)), []
    train = adam.train

    def spy(nets, loss, rules, rates, powers, *rest):
        seen.append(([rule.keywords for rule in rules], [rule.func for rule in rules], rates.tolist(), powers))
        return train(nets, loss, rules, rates, powers, *rest)

    monkeypatch.setattr(adam, "train", spy)
    losses = adam.bias_correction(images, [0.01, 0.02], 20, range(2), width=5, latent=2)
    assert losses.shape == (2, 3, 2, 2) and losses.isfinite().all() and len(seen) == 2
    expected = [{"beta2": beta, "correct": correct} for correct in (True, False) for beta in adam.BETAS]
    for keywords, functions, rates, powers in seen:
        assert keywords == expected and set(functions) == {adam.adam} and powers == 0
        assert rates == pytest.approx([0.01, 0.02] * 6)


def test_diverged_vaes_are_given_the_loss_of_the_start():
    images = torch.rand(40, 9, generator=torch.Generator().manual_seed(0))
    losses = adam.bias_correction(images, [1e-2, 1e9], 60, range(1), width=5, latent=2)
    assert (losses[:, :, 0] < losses[:, :, 1]).all() and torch.unique(losses[:, :, 1]).numel() == 1


def test_plays_are_sparse_and_their_kinds_known():
    presence, kinds = adam.load_plays(300)
    assert presence.shape == (len(kinds), 300) and set(presence.unique().tolist()) == {0, 1}
    assert 0.005 < presence.float().mean() < 0.2 and (presence.sum(0) > 0).all()
    assert 0.3 < kinds.float().mean() < 0.7 and set(kinds.tolist()) == {0, 1}


def test_every_rule_learns_at_the_rate_that_is_best():
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(400, 12, generator=draw)
    y = torch.where(torch.arange(400) % 5 == 0, torch.arange(400) % 4, x[:, :4].argmax(1))  # a fifth can't be told
    rates = [1e-7, 0.03, 0.3, 1e4]
    for decay in (False, True):
        curves, chosen = adam.compare([(12, 4)], adam.classify(x, y), decay, 400, 200, rates, range(2), "cpu")
        assert list(curves) == list(chosen) == list(adam.RULES)
        for name, losses in curves.items():
            assert chosen[name] in (0.03, 0.3) and losses.shape == (200, 2)
            assert (adam.at_end(losses) < 0.9 * math.log(4)).all()  # of a uniform guess
            tried = []
            for rate in (0.03, 0.3):
                nets = adam.new_nets([(12, 4)], 1, 0)
                power = 0.5 if decay and name != "AdaGrad" else 0.0
                run = adam.train(nets, adam.classify(x, y), [OURS[name]], torch.tensor([rate]), power, 400, 200, seed=0)
                tried.append(adam.at_end(run).item())
            assert adam.at_end(losses)[0].item() == pytest.approx(min(tried), rel=1e-3)


def test_classify_learns_only_from_the_examples_of_the_batch():
    x, y = torch.rand(6, 5), torch.tensor([0, 1, 2, 0, 1, 2])
    nets = adam.new_nets([(5, 3)], 2, 0)
    loss = adam.classify(x, y)(nets, torch.tensor([4, 4, 1]))
    expected = F.cross_entropy(x[[4, 4, 1]] @ nets[0][0].T, y[[4, 4, 1]])
    torch.testing.assert_close(loss, expected.expand(2))
    torch.manual_seed(0)
    spoilt = [adam.classify(x, y, keep_input=0.5)(nets, torch.arange(6)) for _ in range(2)]
    assert not torch.equal(*spoilt) and torch.allclose(spoilt[0][0], spoilt[0][1])
