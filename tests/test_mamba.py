"""papers/mamba.py: its scans against each other, its blocks against transformers' Mamba, and token by token."""

import os

import pytest
import torch
import torch.nn.functional as F

from papers import mamba

os.environ["HF_HUB_OFFLINE"] = "1"  # transformers looks for fast kernels there
from transformers import MambaConfig, MambaModel  # noqa: E402

L, B, D, N = 150, 2, 3, 4  # two chunks and a bit


def random_inputs(length: int = L) -> list[torch.Tensor]:
    torch.manual_seed(0)
    delta, x = torch.randn(2, length, B, D, dtype=torch.float64)
    b, c = torch.randn(2, length, B, N, dtype=torch.float64)
    a = -torch.rand(D, N, dtype=torch.float64) * 3
    return [tensor.clone().requires_grad_() for tensor in (F.softplus(delta), a, b, c, x)]


def by_the_book(delta, a, b, c, x):
    """Eqs. 2 and 4, one number at a time in channels and states."""
    y = []
    h = [[torch.zeros(B, dtype=x.dtype) for _ in range(N)] for _ in range(D)]
    for t in range(len(x)):
        row = []
        for d in range(D):
            for n in range(N):
                h[d][n] = (
                    torch.exp(delta[t, :, d] * a[d, n]) * h[d][n]
                    + delta[t, :, d] * b[t, :, n] * x[t, :, d]
                )
            row.append(sum(c[t, :, n] * h[d][n] for n in range(N)))
        y.append(torch.stack(row, dim=1))
    return torch.stack(y), torch.stack([torch.stack(states, dim=1) for states in h], dim=1)


def test_three_scans_agree_with_the_equations_forward_and_backward():
    inputs, mix = random_inputs(), torch.randn(L, B, D, dtype=torch.float64)
    expected, last = by_the_book(*inputs)
    grads = torch.autograd.grad((expected * mix).sum(), inputs)
    chunked, h = mamba.ChunkedScan.apply(*inputs, torch.zeros(B, D, N, dtype=torch.float64))
    torch.testing.assert_close(h, last)
    for y in (
        chunked,
        mamba.scan(mamba.step_by_step, *inputs),
        mamba.scan(mamba.associative, *inputs),
    ):
        torch.testing.assert_close(y, expected)
        for got, wanted in zip(torch.autograd.grad((y * mix).sum(), inputs), grads):
            torch.testing.assert_close(got, wanted)


def test_gradients_by_finite_differences_from_any_first_state(monkeypatch):
    monkeypatch.setattr(mamba, "CHUNK", 3)
    h = torch.randn(B, D, N, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda *inputs: mamba.ChunkedScan.apply(*inputs, h)[0], random_inputs(8)
    )


def test_no_overflow_where_products_of_decays_underflow():
    """Dividing by cumulative products would give NaN: after 20 steps they are 1e-260."""
    delta, x = torch.full((200, 1, 1), 30.0), torch.ones(200, 1, 1)
    ones = torch.ones(200, 1, 1)
    y, _ = mamba.ChunkedScan.apply(delta, -torch.ones(1, 1), ones, ones, x, torch.zeros(1, 1, 1))
    torch.testing.assert_close(y, torch.full_like(y, 30.0))


def test_blocks_are_those_of_transformers():
    torch.manual_seed(0)
    net = mamba.Mamba(width=40, N=5)  # Δ has rank 3
    for weight in net.parameters():
        torch.nn.init.normal_(weight, std=0.4)
    sizes = {
        "vocab_size": mamba.SYMBOLS,
        "hidden_size": 40,
        "state_size": 5,
        "num_hidden_layers": 2,
    }
    theirs = MambaModel(MambaConfig(**sizes, time_step_rank=3, use_cache=False)).eval()
    pairs = [
        (theirs.embeddings.weight, net.embedding.weight),
        (theirs.norm_f.weight, net.norm.weight),
    ]
    for layer, block in zip(theirs.layers, net.blocks):
        mixer, ssm = layer.mixer, block.ssm
        pairs += [
            (layer.norm.weight, block.norm.weight),
            (mixer.A_log, ssm.A_log),
            (mixer.D, ssm.D),
        ]
        pairs += [
            (mixer.in_proj.weight, block.enter.weight),
            (mixer.out_proj.weight, block.leave.weight),
        ]
        pairs += [(mixer.conv1d.weight, block.conv.weight), (mixer.conv1d.bias, block.conv.bias)]
        pairs += [(mixer.x_proj.weight, ssm.select.weight)]
        pairs += [(mixer.dt_proj.weight, ssm.delta.weight), (mixer.dt_proj.bias, ssm.delta.bias)]
    assert (
        len(pairs) == len(list(theirs.parameters())) == len(list(net.parameters())) - 1
    )  # all but the output's
    with torch.no_grad():
        for their, our in pairs:
            assert their.shape == our.shape
            their.copy_(our)
    tokens = torch.randint(mamba.SYMBOLS, (2, 100))
    expected = F.linear(theirs(tokens).last_hidden_state, net.output.weight)
    logits, mix = net(tokens), torch.randn(2, 100, mamba.SYMBOLS)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
    (expected * mix).sum().backward()
    (logits * mix).sum().backward()
    for their, our in pairs:
        scale = their.grad.abs().max().item()
        torch.testing.assert_close(our.grad / scale, their.grad / scale, rtol=1e-3, atol=1e-4)


def test_constant_layer_is_a_convolution():
    """Eq. 3, with the kernel C Ā^k B̄."""
    torch.manual_seed(0)
    layer, x = (
        mamba.Selective(6, 4, constant=True).double(),
        torch.randn(2, 90, 6, dtype=torch.float64),
    )
    low, b, c = layer.select(torch.ones(6, dtype=torch.float64)).split(layer.sizes)
    delta = F.softplus(layer.delta(low))[:, None]  # (D, 1)
    powers = torch.exp(
        torch.arange(90)[:, None, None] * delta * -torch.exp(layer.A_log)
    )  # (L, D, N)
    kernel = (powers * c * delta * b).sum(dim=2)  # (L, D)
    expected = F.conv1d(
        F.pad(x.transpose(1, 2), (89, 0)), kernel.T.flip(1)[:, None], groups=6
    ).transpose(1, 2)
    torch.testing.assert_close(layer(x)[0], expected + layer.D * x)


def test_a_state_of_constant_size_gives_the_same_token_by_token():
    torch.manual_seed(0)
    net, tokens = mamba.Mamba(width=32, N=4).double(), torch.randint(mamba.SYMBOLS, (3, 70))
    whole = net(tokens)
    for piece in (1, 13):
        states = [None, None]
        parts = [net(part, states) for part in tokens.split(piece, dim=1)]
        torch.testing.assert_close(torch.cat(parts, dim=1), whole)
        assert [(past.shape, h.shape) for past, h in states] == [((3, 3, 64), (3, 64, 4))] * 2
    changed = tokens.clone()
    changed[:, 40:] = 0
    torch.testing.assert_close(net(changed)[:, :40], whole[:, :40])  # nothing looks ahead


def test_start():
    layer = mamba.Selective(500, 8, constant=False)
    delta = F.softplus(layer.delta.bias).detach()
    assert 0.001 <= delta.min() < 0.0012 and 0.097 < delta.max() <= 0.1001
    assert delta.log().mean() == pytest.approx(-4.6, abs=0.2)  # the middle of the logarithms
    torch.testing.assert_close(-layer.A_log.exp()[3], -torch.arange(1.0, 9))  # S4D-Real


def test_induction_asks_for_what_followed_the_trigger():
    torch.manual_seed(0)
    for share in (0.0, 0.1):
        tokens, answers = mamba.induction(200, 40, share)
        counts = (tokens == mamba.TRIGGER).sum(dim=1)
        assert (counts == 2).all() if share == 0 else counts.max() > 4
        for row, asked in zip(tokens.tolist(), answers.tolist()):
            places = [t for t in range(40) if row[t] == mamba.TRIGGER]
            assert places[0] < 10
            followers = {row[t + 1] for t in places if t < 39}
            assert len(followers) == 1 and mamba.TRIGGER not in followers
            expected = [mamba.UNASKED] * 40
            for t in places[1:]:
                expected[t] = max(followers)
            assert asked == expected
    assert len(set(tokens[:, 0].tolist())) == 16


def test_copying_asks_for_the_scattered_words_in_order():
    torch.manual_seed(0)
    tokens, answers = mamba.copying(100)
    for row, asked in zip(tokens.tolist(), answers.tolist()):
        words = [token for token in row[:60] if token != mamba.NOISE]
        assert len(words) == 4 and min(words) >= 2 and row[60:] == [mamba.ASK] * 4
        assert asked == [mamba.UNASKED] * 60 + words
    assert (tokens[:, :60] != mamba.NOISE).float().mean(dim=0).min() > 0  # anywhere


def test_right_counts_whole_sequences():
    tokens, answers = mamba.copying(8)

    def net(part):
        guesses = F.one_hot(answers.clamp(min=0), mamba.SYMBOLS).float()
        guesses[:3, -1] = 0  # a wrong word in three sequences
        return guesses

    module = torch.nn.Linear(1, 1)
    module.forward = net
    assert mamba.right(module, tokens, answers) == pytest.approx(100 * 5 / 8)


def test_learning_recalls_better_than_chance_and_constant_steps_do_not():
    losses = []
    for constant in (False, True):
        torch.manual_seed(0)
        net = mamba.Mamba(width=32, N=4, constant=constant)
        for _ in mamba.train(net, lambda step: mamba.induction(16, 24, 0.08), steps=150, rate=1e-2):
            pass
        tokens, answers = mamba.induction(200, 24, 0.0)
        losses.append(F.cross_entropy(net(tokens)[:, -1], answers[:, -1]).item())
    assert losses[0] < 1.0 and losses[0] < losses[1] - 0.5  # guessing costs ln 15 = 2.7
