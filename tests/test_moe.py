"""papers/moe.py against experts that all compute and are masked, its chances of being chosen against sampling."""

import math

import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import mutual_info_score
from torch.distributions import Normal

from papers import moe

N, D = 40, 6


def random_layer(E: int, k: int) -> moe.MixtureOfExperts:
    torch.manual_seed(E)
    layer = moe.MixtureOfExperts(D, 7, E, k).double()
    for weight in (layer.gate.W_g, layer.gate.W_noise):
        torch.nn.init.normal_(weight, std=0.7)
    return layer


def noisy_logits(gate: moe.NoisyTopK, x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    return x @ gate.W_g + noise * torch.log1p(torch.exp(x @ gate.W_noise))


def slow(
    layer: moe.MixtureOfExperts, x: torch.Tensor, noise: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """The layer token by token and expert by expert: output, balance loss, chances of being chosen."""
    k, h, rows, gates, chances = layer.gate.k, noisy_logits(layer.gate, x, noise), [], [], []
    for n in range(len(x)):
        ranked = sorted(range(len(layer.experts)), key=lambda i: -h[n, i].item())
        masked = h[n].clone()
        masked[ranked[k:]] = -math.inf
        gate = torch.exp(masked) / torch.exp(masked).sum()
        gates.append(gate)
        rows.append(sum(gate[i] * expert(x[n]) for i, expert in enumerate(layer.experts)))
        for i in range(len(layer.experts)):
            others = [j for j in ranked if j != i]
            if len(others) < k:
                chances.append(torch.ones((), dtype=x.dtype))
            else:
                away = x[n] @ layer.gate.W_g[:, i] - h[n, others[k - 1]]
                chances.append(
                    Normal(0.0, 1.0).cdf(away / F.softplus(x[n] @ layer.gate.W_noise[:, i]))
                )
    gates, chances = torch.stack(gates), torch.stack(chances).view(len(x), -1)
    balance = 0.0
    for share in (gates.sum(dim=0), chances.sum(dim=0)):
        mean = share.sum() / len(share)
        balance = balance + ((share - mean) ** 2).sum() / len(share) / mean**2
    return torch.stack(rows), balance, chances


@pytest.mark.parametrize("E, k", [(5, 2), (6, 3), (4, 1), (2, 2)])
def test_sparse_is_dense_and_masked_forward_and_backward(E, k):
    layer, grads = random_layer(E, k), []
    start, mix = torch.randn(N, D, dtype=torch.float64), torch.randn(N, D, dtype=torch.float64)
    torch.manual_seed(1)
    noise = torch.randn(N, E, dtype=torch.float64)
    x = [start.clone().requires_grad_() for _ in range(2)]

    torch.manual_seed(1)  # the same noise is drawn
    y, balance, counts = layer(x[0])
    y_slow, balance_slow, chances = slow(layer, x[1], noise)
    torch.testing.assert_close(y, y_slow)
    torch.testing.assert_close(balance, balance_slow)
    top = noisy_logits(layer.gate, start, noise).topk(k, dim=1).indices
    assert counts.tolist() == [(top == i).sum().item() for i in range(E)]
    torch.manual_seed(1)
    torch.testing.assert_close(layer.gate(start)[2], chances)

    for inputs, loss in zip(
        x, ((y * mix).sum() + 3 * balance, (y_slow * mix).sum() + 3 * balance_slow)
    ):
        grads.append(torch.autograd.grad(loss, [inputs, *layer.parameters()]))
    for fast, brute in zip(*grads):
        torch.testing.assert_close(fast, brute)


def test_chances_are_those_of_sampling():
    gate, draws = random_layer(6, 2).gate, 20_000
    for x in torch.randn(3, D, dtype=torch.float64):
        experts, _, chance = gate(x.expand(draws, D))  # other noise in each row
        chosen = F.one_hot(experts, 6).sum(dim=1).double()  # (draws, E)
        error = (chosen - chance).mean(dim=0)
        assert (error.abs() < 5 * (chosen - chance).std(dim=0) / draws**0.5 + 1e-9).all()
        assert chosen.mean(dim=0).max() < 1 and chosen.sum() == 2 * draws


def test_an_expert_computes_its_own_tokens_only():
    layer, rows = random_layer(5, 2), []
    with torch.no_grad():
        layer.gate.W_g[:] = 0
        layer.gate.W_g[0] = torch.tensor(
            [9.0, 8.0, 1.0, -50.0, 0.0]
        )  # never the fourth for positive x
        layer.gate.W_noise[:] = 0
    for expert in layer.experts:
        expert.register_forward_hook(lambda module, inputs, output: rows.append(len(inputs[0])))
    x = torch.rand(N, D, dtype=torch.float64) + 1
    y, _, counts = layer(x)
    assert rows == counts.tolist() and sum(rows) == 2 * N and rows[3] == 0
    y.sum().backward()
    assert layer.experts[3][0].weight.grad is None or not layer.experts[3][0].weight.grad.any()
    assert layer.experts[0][0].weight.grad.any()


def test_noise_breaks_the_tie_of_a_gate_of_zeros_and_only_in_training():
    layer, x = moe.MixtureOfExperts(D, 7, 8, 2), torch.randn(4000, D)
    torch.manual_seed(0)
    assert (layer(x)[2] > 850).all()  # 1,000 each
    layer.eval()
    assert sorted(layer(x)[2].tolist()) == [0] * 6 + [4000] * 2
    torch.testing.assert_close(layer(x)[0], layer(x)[0])


def test_random_languages():
    torch.manual_seed(0)
    chances = moe.random_languages(3)
    torch.testing.assert_close(chances.sum(dim=2), torch.ones(3, 64))
    top = chances.topk(5, dim=2).values[0, 0] - 1 / 1024
    torch.testing.assert_close(top, torch.tensor([1 / 2, 1 / 4, 1 / 8, 1 / 16, 0]))
    first = chances.argmax(dim=2)
    assert (first[0] == first[1]).sum() < 10 and len(first[0].unique()) > 20
    languages, symbols = moe.every_token(chances)
    assert len(set(zip(languages.tolist(), symbols.tolist()))) == 3 * 64 and symbols[
        :64
    ].tolist() == list(range(64))


def test_information_is_sklearns():
    torch.manual_seed(0)
    experts = torch.randint(5, (8, 64)) * torch.randint(2, (8, 1))
    languages = torch.arange(8)[:, None].expand(8, 64)
    nats = mutual_info_score(languages.flatten().numpy(), experts.flatten().numpy())
    assert moe.information(moe.shares(experts, 6)) == pytest.approx(nats / math.log(2), abs=1e-5)
    assert moe.information(torch.eye(4) / 4) == pytest.approx(2)


def test_learning_beats_whoever_does_not_know_the_language():
    torch.manual_seed(0)
    chances = moe.random_languages(4)
    net = moe.Reader(4, 64, 4)
    moe.train(net, chances, steps=120, batch=512)
    loss = moe.read(net, chances)
    logits = net(*moe.every_token(chances))[0].view(4, 64, 64)
    each = torch.stack([-(p * F.log_softmax(q, dim=1)).sum() / 64 for p, q in zip(chances, logits)])
    torch.testing.assert_close(loss, each)
    ignorant = -(chances * chances.mean(dim=0).log()).sum(dim=2).mean()  # knows the symbol only
    best = -(chances * chances.log()).sum(dim=2).mean()
    assert best < loss.mean() < best + 0.5 * (ignorant - best)


def test_balance_losses_even_out_an_unlucky_start():
    torch.manual_seed(0)
    chances, ends = moe.random_languages(4), []
    for balance in (0.0, moe.BALANCE):
        net = moe.Reader(4, 64, 8)
        moe.unlucky(net, chances)
        history = moe.train(net, chances, 60, 512, balance)
        assert history[0] > 2.5  # of 4 at most
        ends.append(sum(history[-5:]) / 5)
    assert ends[1] < 1.5 < ends[0] - 0.5
