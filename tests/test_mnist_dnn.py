"""The network and the probe of mnist_dnn.py against NumPy and scikit-learn, and its training on a toy."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score

import mnist_dnn


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def a_small_task(n):
    """Ten pictures under noise, as images (n, 28, 28) and labels (n,)."""
    y = torch.arange(n) % 10
    return torch.rand(10, 28, 28)[y] + 0.5 * torch.randn(n, 28, 28), y


def by_hand(model, x):
    """The four layers and the logits, in NumPy."""
    layers = [x.reshape(len(x), -1).numpy()]
    for linear in model.hidden:
        w, b = linear.weight.detach().numpy(), linear.bias.detach().numpy()
        layers.append(np.maximum(layers[-1] @ w.T + b, 0))
    return layers, layers[
        -1
    ] @ model.readout.weight.detach().numpy().T + model.readout.bias.detach().numpy()


def test_network_equals_numpy_forward_and_backward():
    model, x = mnist_dnn.MLP(width=12).double(), torch.randn(6, 28, 28, dtype=torch.float64)
    y = torch.tensor([0, 3, 9, 3, 1, 5])
    layers, logits = by_hand(model, x)
    assert [h.shape[1] for h in model.layers(x)] == [784, 12, 12, 12]
    for ours, theirs in zip(model.layers(x), layers):
        np.testing.assert_allclose(ours.detach(), theirs, atol=1e-12)
    np.testing.assert_allclose(model(x).detach(), logits, atol=1e-12)

    F.cross_entropy(model(x), y).backward()
    p = np.exp(logits - logits.max(1, keepdims=True))
    delta = (p / p.sum(1, keepdims=True) - np.eye(10)[y]) / len(y)  # (6, 10)
    for linear, below in zip([model.readout, *reversed(model.hidden)], reversed(layers)):
        np.testing.assert_allclose(linear.weight.grad, delta.T @ below, atol=1e-12)
        np.testing.assert_allclose(linear.bias.grad, delta.sum(0), atol=1e-12)
        delta = delta @ linear.weight.detach().numpy() * (below > 0)


def features(noise, n=240):
    """Ten overlapping classes in 20 dimensions of unequal spread, far from the origin: (n, 20) and labels (n,)."""
    rng = np.random.default_rng(0)
    y = rng.integers(10, size=n)
    return 3 + rng.normal(size=(10, 20))[y] + noise * rng.normal(size=(n, 20)) * rng.uniform(
        0.5, 2, 20
    ), y


def sklearn_ridge(x, y, penalty):
    """λ times the mean eigenvalue of the scatter matrix, which here comes from an eigendecomposition."""
    eigenvalues = np.linalg.eigvalsh(len(x) * np.cov(x.T, bias=True))
    return Ridge(alpha=penalty * eigenvalues.mean()).fit(x, np.eye(10)[y])


def test_ridge_equals_scikit_learn():
    x, y = features(noise=1.0)
    penalties = [1e-3, 0.1, 10.0]
    weights, intercepts = mnist_dnn.ridge(
        torch.tensor(x), torch.tensor(y), torch.tensor(penalties).double()
    )
    assert weights.shape == (3, 20, 10) and intercepts.shape == (3, 10)
    for penalty, w, b in zip(penalties, weights, intercepts):
        theirs = sklearn_ridge(x, y, penalty)
        np.testing.assert_allclose(w.T, theirs.coef_, atol=1e-7)
        np.testing.assert_allclose(b, theirs.intercept_, atol=1e-7)


@pytest.mark.parametrize("noise", [0.1, 1.0, 3.0])
def test_probe_is_the_ridge_of_the_penalty_that_is_best_on_held_out_rows(noise):
    x, y = features(noise)
    x, y, fresh, y_fresh = x[:120], y[:120], x[120:], y[120:]
    penalties = mnist_dnn.PENALTIES.tolist()
    errors = [
        ((sklearn_ridge(x[:100], y[:100], p).predict(x[100:]) - np.eye(10)[y[100:]]) ** 2).sum()
        for p in penalties
    ]
    scores = sklearn_ridge(x, y, penalties[np.argmin(errors)]).predict(fresh)
    right = 100 * (scores.argmax(1) == y_fresh).mean()
    explained = 100 * r2_score(np.eye(10)[y_fresh], scores, multioutput="variance_weighted")
    ours = mnist_dnn.probe(*(torch.tensor(array) for array in (x, y, fresh, y_fresh)))
    assert ours == pytest.approx((right, explained), rel=1e-5)


def test_each_hidden_layer_is_probed_by_its_own_output():
    x, y = a_small_task(400)
    data, model = [x[:300], y[:300], x[300:], y[300:]], mnist_dnn.MLP(16)
    table = mnist_dnn.probe_layers(model, data)
    (_, *seen), _ = by_hand(model, x[:300])
    (_, *fresh), _ = by_hand(model, x[300:])
    for row, h, h_fresh in zip(table, seen, fresh, strict=True):
        assert row == pytest.approx(
            mnist_dnn.probe(torch.tensor(h), y[:300], torch.tensor(h_fresh), y[300:]), abs=0.1
        )


def test_images_move_by_a_pixel_at_most_all_alike_and_blank_comes_in():
    x, seen = torch.rand(5, 28, 28) + 1, set()
    shifts = {(down, across): torch.zeros_like(x) for down in (-1, 0, 1) for across in (-1, 0, 1)}
    for (down, across), moved in shifts.items():
        for row, column in np.ndindex(28, 28):
            if 0 <= row - down < 28 and 0 <= column - across < 28:
                moved[:, row, column] = x[:, row - down, column - across]
    for _ in range(100):
        moved = mnist_dnn.move(x)
        found = [shift for shift, expected in shifts.items() if torch.equal(moved, expected)]
        assert len(found) == 1
        seen.update(found)
    assert len(seen) == 9


@pytest.mark.parametrize("moving", [False, True])
def test_steps_are_adam_on_the_triangle(moving, monkeypatch):
    """The same weights must come out of a loop written again, with the learning rates worked out by hand."""
    monkeypatch.setattr(mnist_dnn, "move", lambda images: images.flip(1))
    x, y = a_small_task(40)
    x, ours, theirs = x.double(), mnist_dnn.MLP(8).double(), mnist_dnn.MLP(8).double()
    theirs.load_state_dict(ours.state_dict())
    torch.manual_seed(1)
    assert list(mnist_dnn.train(ours, x, y, steps=9, moving=moving)) == list(range(1, 10))
    torch.manual_seed(1)  # so that the same batches are drawn
    optimizer = torch.optim.Adam(theirs.parameters())
    for rate in [
        4 / 8,
        8 / 8,
        7 / 8,
        6 / 8,
        5 / 8,
        4 / 8,
        3 / 8,
        2 / 8,
        1 / 8,
    ]:  # nine steps divide the way in ten
        batch = torch.randint(40, (256,))
        optimizer.param_groups[0]["lr"] = 3e-3 * rate
        optimizer.zero_grad()
        F.cross_entropy(theirs(x[batch].flip(1) if moving else x[batch]), y[batch]).backward()
        optimizer.step()
    for one, other in zip(ours.parameters(), theirs.parameters()):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


def test_training_learns_what_shuffled_labels_can_only_memorise():
    x, y = a_small_task(700)
    data = [x[:300], y[:300], x[300:], y[300:]]
    shuffled = mnist_dnn.shuffle_labels(y[:300])
    assert (
        shuffled.bincount().equal(y[:300].bincount())
        and 0.04 < (shuffled == y[:300]).float().mean() < 0.18
    )
    majority = 100 * y[300:].bincount().max().item() / 400  # always saying the commonest digit
    true = mnist_dnn.learn_by_heart(x[:300], y[:300], data, width=64, steps=120)
    heart = mnist_dnn.learn_by_heart(x[:300], shuffled, data, width=64, steps=120)
    assert true[:, 0].tolist() == heart[:, 0].tolist() == list(range(10, 121, 10))
    assert true[-1, 1] > 99 and heart[-1, 1] > 99
    assert true[-1, 2] > 8 * majority and heart[-1, 2] < 3 * majority


def test_accuracy_counts():
    x, model = torch.rand(40, 28, 28), mnist_dnn.MLP(16)
    said = model(x).argmax(dim=1)
    said[:10] = (said[:10] + 1) % 10
    assert mnist_dnn.accuracy(model, x, said) == pytest.approx(75)
