"""papers/rnn.py: both gradients against autograd, Adam against torch.optim, counts against dictionaries."""

from collections import Counter, defaultdict
from math import log

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from papers import rnn


@pytest.fixture
def net():
    """Weights, inputs (7, 3, 2), a first state, and each state's own share in the error."""
    rng = np.random.default_rng(0)
    return (
        rng.normal(size=(5, 8)),
        rng.normal(size=(7, 3, 2)),
        rng.normal(size=(3, 5)),
        rng.normal(size=(7, 3, 5)),
    )


def torch_states(w, x, y):
    """The same net by torch.nn.RNN, whose weights are w's parts."""
    layer = torch.nn.RNN(x.shape[2], len(w), bias=True).double()
    m = x.shape[2]
    parts = {
        "weight_ih_l0": w[:, :m],
        "bias_ih_l0": w[:, m],
        "bias_hh_l0": 0 * w[:, m],
        "weight_hh_l0": w[:, m + 1 :],
    }
    states, _ = torch.func.functional_call(layer, parts, (x, y[None]))
    return states


def test_bptt_is_torchs(net):
    w, x, y, error = net
    states, z = rnn.forward(w, x, y)
    dw, total = rnn.bptt(w, states, z, error)
    theirs = [torch.tensor(array, requires_grad=True) for array in (w, x, y)]
    outputs = torch_states(*theirs)
    np.testing.assert_allclose(states[1:], outputs.detach().numpy(), rtol=0, atol=1e-12)
    (outputs * torch.tensor(error)).sum().backward()
    np.testing.assert_allclose(dw, theirs[0].grad.numpy(), rtol=0, atol=1e-10)
    # ∂E/∂y(0) comes from ∂E/∂y(1) by one more step back
    first = (total[0] * (1 - states[1] ** 2)) @ w[:, -5:]
    np.testing.assert_allclose(first, theirs[2].grad.numpy(), rtol=0, atol=1e-10)


def test_rtrl_carries_torchs_derivative_at_every_moment(net):
    w, x, _, _ = net
    y, p = np.zeros(5), np.zeros((5, 5, 8))
    theirs = torch.tensor(w, requires_grad=True)
    states = torch_states(theirs, torch.tensor(x[:, :1]), torch.zeros(1, 5, dtype=torch.float64))
    for t, x_t in enumerate(x[:, 0]):
        y, p = rnn.rtrl(w, y, p, x_t)
        for k in range(5):
            (by_torch,) = torch.autograd.grad(states[t, 0, k], theirs, retain_graph=True)
            np.testing.assert_allclose(p[k], by_torch.numpy(), rtol=0, atol=1e-10)


def test_both_ways_to_price_a_gradient_give_the_same_one():
    for moments in (1, 20):
        np.testing.assert_allclose(
            rnn.cost("RTRL", 6, moments)[0], rnn.cost("BPTT", 6, moments)[0], rtol=0, atol=1e-12
        )


@pytest.mark.parametrize("forced", [True, False])
def test_online_learning_is_gradient_descent_on_each_moment(forced):
    """Nearly standing weights: then what each moment adds is the gradient of its own squared error through all of the
    past, by autograd; with teacher forcing a detached target stands in place of unit 0."""
    rng = np.random.default_rng(1)
    w, x, targets = rng.normal(size=(3, 5)), rng.normal(size=(6, 1)), rng.uniform(-0.8, 0.8, 6)
    moved, said = rnn.online(w, x, targets, 1e-6, forced)
    theirs, y, loss = torch.tensor(w, requires_grad=True), torch.zeros(3, dtype=torch.float64), 0
    for t in range(6):
        y = torch.tanh(theirs @ torch.cat([torch.tensor([x[t, 0], 1.0]), y]))
        assert np.isclose(said[t], y[0].item(), atol=1e-4)
        loss = loss + (targets[t] - y[0]) ** 2 / 2
        if forced:
            y = torch.cat([torch.tensor(targets[t : t + 1]), y[1:]])
    loss.backward()
    np.testing.assert_allclose((moved - w) / 1e-6, -theirs.grad.numpy(), rtol=1e-4, atol=1e-4)


def test_the_character_models_loss_and_gradients_are_autograds():
    rng = np.random.default_rng(2)
    w, v, text, y = (
        rng.normal(size=(4, 10)),
        rng.normal(size=(5, 4)),
        rng.integers(5, size=(9, 3)),
        np.zeros((3, 4)),
    )
    loss, (dw, dv), last = rnn.loss_and_gradients(w, v, text, y)
    a, b = torch.tensor(w, requires_grad=True), torch.tensor(v, requires_grad=True)
    numbers = torch.tensor(text)
    states = torch_states(a, F.one_hot(numbers[:-1], 5).double(), torch.tensor(y))
    by_torch = F.cross_entropy((states @ b.T).flatten(0, 1), numbers[1:].flatten())
    by_torch.backward()
    assert np.isclose(loss, by_torch.item(), atol=1e-12)
    np.testing.assert_allclose(dw, a.grad.numpy(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(dv, b.grad.numpy(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(last, states[-1].detach().numpy(), rtol=0, atol=1e-12)


def test_adam_is_torchs():
    rng = np.random.default_rng(3)
    ours = [rng.normal(size=(3, 2)), rng.normal(size=4)]
    theirs = [torch.tensor(array) for array in ours]  # copies
    optimizer = torch.optim.Adam(theirs, lr=0.01)
    memory = [(np.zeros_like(a), np.zeros_like(a)) for a in ours]
    for t in range(1, 20):
        gradients = [rng.normal(size=a.shape) for a in ours]
        rnn.adam(ours, gradients, memory, t, 0.01)
        for weight, gradient in zip(theirs, gradients):
            weight.grad = torch.tensor(gradient)
        optimizer.step()
    for mine, weight in zip(ours, theirs):
        np.testing.assert_allclose(mine, weight.numpy(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("context", [0, 1, 2])
def test_counts_are_those_of_dictionaries(context):
    rng = np.random.default_rng(4)
    text, unseen = rng.integers(4, size=60).cumsum() % 5, rng.integers(5, size=40)
    followers = defaultdict(Counter)
    for length in range(context + 1):
        for k in range(len(text) - length):
            followers[tuple(text[k : k + length])][text[k + length]] += 1

    def probability(c, h):
        shorter = probability(c, h[1:]) if h else 1 / 5
        counts = followers[h]
        return (
            (counts[c] + len(counts) * shorter) / (counts.total() + len(counts))
            if counts
            else shorter
        )

    for k in range(context, len(unseen)):
        assert np.isclose(sum(probability(c, tuple(unseen[k - context : k])) for c in range(5)), 1)
    nats = [
        -log(probability(unseen[k], tuple(unseen[k - context : k])))
        for k in range(context, len(unseen))
    ]
    assert np.isclose(rnn.witten_bell(text, unseen, context, 5), np.mean(nats), atol=1e-12)


def test_gradients_by_lag_and_their_bound_are_those_of_the_jacobians(net):
    w, x, y, error = net
    norms, bounds = rnn.gradient_by_lag(w, x, y, error[-1])
    states, _ = rnn.forward(w, x, y)
    for b in range(3):
        product, bound = error[-1, b] / np.linalg.norm(error[-1, b]), 1.0
        for lag in range(7):
            assert np.isclose(norms[lag, b], np.linalg.norm(product)) and np.isclose(
                bounds[lag, b], bound
            )
            if lag < 6:
                jacobian = np.diag(1 - states[7 - lag, b] ** 2) @ w[:, -5:]
                product, bound = product @ jacobian, bound * np.linalg.svd(jacobian)[1][0]


def test_rtrl_learns_exclusive_or_and_a_sine_with_its_teacher():
    rng = np.random.default_rng(0)
    assert rnn.exclusive_or(4000, rng) > 95  # guessing: 50
    assert rnn.oscillation(rnn.SINE, True, 8000, rng)[1] < 0.5  # silence: 1


def test_the_character_model_learns_what_single_letters_cannot_tell():
    """Letters in pairs: the second doubles the first, which is random: log(4) / 2 nats, by single letters log(4)."""
    text = np.random.default_rng(5).integers(4, size=4000).repeat(2)
    weights, losses = rnn.character_model(text, 16, 4, 300, seed=0)
    assert losses[-1] < 0.75 * log(4)
    written = np.array(rnn.write(*weights, 0, 400, np.random.default_rng(6)))
    assert (
        max((written[k::2][:199] == written[1 + k :: 2][:199]).mean() for k in (0, 1)) > 0.7
    )  # else: 0.25
