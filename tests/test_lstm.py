"""The cells of papers/lstm.py: the modern one against nn.LSTM, the one of 1997 against derivatives carried forward."""

import pytest
import torch
from torch import nn

from papers import lstm

T, B, H = 9, 4, 5


def torch_order(rows):
    """Our blocks i, f, o, g along the first axis, in nn.LSTM's order i, f, g, o."""
    i, f, o, g = rows.chunk(4)
    return torch.cat([i, f, g, o])


def test_layers_of_the_modern_cell_are_those_of_torch():
    torch.manual_seed(0)
    layers = nn.Sequential(lstm.LSTM(3, H, 10), lstm.LSTM(H, H, 10), lstm.LSTM(H, H, 10)).double()
    theirs = nn.LSTM(3, H, num_layers=3).double()
    with torch.no_grad():
        for k, layer in enumerate(layers):
            getattr(theirs, f"weight_ih_l{k}").copy_(torch_order(layer.input.weight))
            getattr(theirs, f"weight_hh_l{k}").copy_(torch_order(layer.recurrent.T))
            getattr(theirs, f"bias_ih_l{k}").copy_(torch_order(layer.input.bias))
            getattr(theirs, f"bias_hh_l{k}").zero_()
    x = torch.randn(T, B, 3, dtype=torch.float64, requires_grad=True)
    x_theirs = x.detach().clone().requires_grad_()
    target = torch.randn(T, B, H, dtype=torch.float64)
    ours, (other, _) = layers(x), theirs(x_theirs)
    (ours * target).sum().backward()
    (other * target).sum().backward()
    torch.testing.assert_close(ours, other)
    torch.testing.assert_close(x.grad, x_theirs.grad)
    for k, layer in enumerate(layers):
        torch.testing.assert_close(
            torch_order(layer.input.weight.grad), getattr(theirs, f"weight_ih_l{k}").grad
        )
        torch.testing.assert_close(
            torch_order(layer.recurrent.grad.T), getattr(theirs, f"weight_hh_l{k}").grad
        )
        torch.testing.assert_close(
            torch_order(layer.input.bias.grad), getattr(theirs, f"bias_ih_l{k}").grad
        )


def test_truncated_gradients_are_the_papers_own():
    """App. A.1, one weight after the other: a cell carries ∂c/∂w along, and nothing else reaches into the past."""
    torch.manual_seed(0)
    layer = lstm.LSTM1997(3, H, -1.0).double()
    x = torch.randn(T, B, 3, dtype=torch.float64)
    error = torch.randn(T, B, H, dtype=torch.float64)  # ∂E/∂h
    outputs = layer(x)
    (outputs * error).sum().backward()

    def sigma(v):
        return 1 / (1 + torch.exp(-v))

    weights = torch.cat(
        [layer.input.weight, layer.input.bias[:, None], layer.recurrent.T], dim=1
    ).detach()  # (3H, n)
    into_i, into_o, into_c = weights.chunk(3)
    h = c = torch.zeros(B, H, dtype=torch.float64)
    carried_i = carried_c = torch.zeros(
        B, H, weights.shape[1], dtype=torch.float64
    )  # ∂c_j/∂w, w into cell j's net
    expected = torch.zeros_like(weights)
    for t in range(T):
        seen = torch.cat([x[t], torch.ones(B, 1, dtype=torch.float64), h], dim=1)  # (B, n)
        i, o, net = sigma(seen @ into_i.T), sigma(seen @ into_o.T), seen @ into_c.T
        carried_i = carried_i + ((4 * sigma(net) - 2) * i * (1 - i))[:, :, None] * seen[:, None]
        carried_c = carried_c + (i * 4 * sigma(net) * (1 - sigma(net)))[:, :, None] * seen[:, None]
        c = c + i * (4 * sigma(net) - 2)
        squashed, slope = 2 * sigma(c) - 1, 2 * sigma(c) * (1 - sigma(c))
        h = o * squashed
        torch.testing.assert_close(outputs[t], h)
        into_state = (error[t] * o * slope)[:, :, None]
        into_gate = (error[t] * squashed * o * (1 - o))[:, :, None] * seen[:, None]
        expected += torch.cat(
            [into_state * carried_i, into_gate, into_state * carried_c], dim=1
        ).sum(0)
    ours = torch.cat(
        [layer.input.weight.grad, layer.input.bias.grad[:, None], layer.recurrent.grad.T], dim=1
    )
    torch.testing.assert_close(ours, expected)


def test_the_carousel_carries_an_error_unchanged_or_times_the_forget_gates():
    torch.manual_seed(0)
    x = torch.randn(300, 2, 2)
    constant, states, _ = lstm.carousel(lstm.LSTM1997(2, H, -3.0), x, [1, 300])
    assert states.shape == (300, 2, H) and torch.equal(
        constant, torch.ones(2, 2, H, dtype=torch.float64)
    )

    layer = lstm.LSTM(2, H, 50)
    forgetting, states, gates = lstm.carousel(layer, x, [1, 300])
    f = torch.sigmoid(torch.logit(gates)[:, :, H : 2 * H])
    torch.testing.assert_close(forgetting[1], f.prod(dim=0))
    h = torch.zeros(2, H, dtype=torch.float64)
    c, later = h, h + 1e-6  # by differences, the first step alone
    first = layer.input(x[0].double())
    difference = (layer.step(first, h, later)[1] - layer.step(first, h, c)[1]) / 1e-6
    torch.testing.assert_close(forgetting[0], difference.detach(), rtol=1e-6, atol=1e-8)
    with torch.no_grad():  # the unrolled states are the layer's own
        o = gates[-1, :, 2 * H :]
        torch.testing.assert_close(layer(x.double())[-1], o * states[-1].tanh())


def test_cells_start_with_memories_of_all_lengths():
    torch.manual_seed(0)
    layer = lstm.LSTM(2, 1000, 100)
    i, f, _, _ = layer.input.bias.sigmoid().chunk(4)
    torch.testing.assert_close(i, 1 - f)
    lengths = f / (1 - f)
    assert 1 <= lengths.min() < 2 and 99 < lengths.max() <= 100.1 and 45 < lengths.mean() < 56
    assert torch.equal(lstm.LSTM1997(2, 3, -4.0).input.bias[:3], torch.full((3,), -4.0))


def test_sequences_have_two_marks_and_their_sum():
    torch.manual_seed(0)
    x, y = lstm.adding(25, 4000, "cpu")
    numbers, marks = x.unbind(2)
    assert x.shape == (50, 4000, 2) and -1 <= numbers.min() < -0.99 and 0.99 < numbers.max() <= 1
    places = [column.nonzero()[:, 0].tolist() for column in marks.T]
    assert all(len(two) == 2 and two[0] < 10 for two in places)
    assert {two[1] for two in places} == set(range(1, 25)) and {two[0] for two in places} == set(
        range(10)
    )
    for k in range(20):
        first, second = places[k]
        assert y[k].item() == pytest.approx(
            0.5 + (numbers[first, k] + numbers[second, k]).item() / 4, abs=1e-6
        )
    assert y.var().item() == pytest.approx(lstm.VARIANCE, rel=0.1)

    class Constant(nn.Module):
        def forward(self, x):
            return torch.full((x.shape[1],), 0.5)

    error, right = lstm.judge(Constant(), 25, "cpu")
    assert error == pytest.approx(1, abs=0.1) and right == pytest.approx(15.4, abs=3)


def test_two_sequences_of_experiment_2a():
    x, y = lstm.two_sequences(4, "cpu")
    assert x.argmax(2).T.tolist() == [[3, 0, 1, 2], [4, 0, 1, 2]] and x.sum() == 8
    assert y.T.tolist() == [[0, 1, 2, 3], [0, 1, 2, 4]]


def test_the_rnn_has_as_many_weights():
    torch.manual_seed(0)
    cells = lstm.LSTM1997(2, 32, -4.0)
    rnn, units = lstm.rnn_like(cells, 2)
    ours, theirs = (sum(weight.numel() for weight in layer.parameters()) for layer in (cells, rnn))
    assert rnn.hidden_size == units and abs(theirs / ours - 1) < 0.02
    assert rnn(torch.randn(7, 3, 2)).shape == (7, 3, units)


@pytest.mark.parametrize(
    "layer", [lstm.LSTM1997(2, 16, -1.0), lstm.LSTM(2, 16, 10)], ids=["1997", "modern"]
)
def test_it_learns_to_add(layer):
    torch.manual_seed(0)
    model = lstm.Adder(layer, 16)
    lstm.learn_to_add(model, 4, 0.02, 300, "cpu")
    error, right = lstm.judge(model, 4, "cpu")
    assert error < 0.3 and right > 25  # always saying 0.5 has 1 and 15%


def test_it_learns_to_tell_the_last_symbol():
    torch.manual_seed(0)
    curve = lstm.last_symbol(lstm.LSTM1997(11, 4, -1.0), 4, 10, 400, "cpu")
    assert (
        abs(curve[0] - 0.5) < 0.02 and 20 < len(curve) < 400
    )  # guessing at first; it stops when it has learnt
    assert min(curve[-20:]) > 0.95 >= curve[-21]
