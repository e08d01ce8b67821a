"""The network, the probe and the plane of mnist_dnn.py against NumPy and scikit-learn."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.metrics import confusion_matrix, r2_score
from sklearn.neighbors import NearestCentroid

import mnist_dnn


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture
def labelled():
    """Four overlapping classes of unequal size in 7 dimensions, far from the origin: x (300, 7), labels (300,)."""
    rng = np.random.default_rng(0)
    y = rng.choice(4, size=300, p=[0.4, 0.3, 0.2, 0.1])
    x = 3 + 1.5 * rng.normal(size=(4, 7))[y] + rng.normal(size=(300, 7)) * rng.uniform(0.5, 2, 7)
    return torch.tensor(x), torch.tensor(y)


def a_small_task(n=600):
    """Ten pictures of 8x8 pixels under noise: images (n, 64), labels (n,)."""
    y = torch.arange(n) % 10
    return torch.rand(10, 64)[y] + 0.3 * torch.randn(n, 64), y


def by_hand(model, x):
    """The four layers and the logits, in NumPy."""
    layers = [x.numpy()]
    for linear in model.hidden:
        w, b = linear.weight.detach().numpy(), linear.bias.detach().numpy()
        layers.append(np.maximum(layers[-1] @ w.T + b, 0))
    return layers, layers[-1] @ model.readout.weight.detach().numpy().T + model.readout.bias.detach().numpy()


def test_network_equals_numpy_forward():
    model, x = mnist_dnn.MLP(pixels=9, width=12).double().eval(), torch.randn(6, 9, dtype=torch.float64)
    layers, logits = by_hand(model, x)
    assert len(model.layers(x)) == 4 and [h.shape[1] for h in model.layers(x)] == [9, 12, 12, 12]
    for ours, theirs in zip(model.layers(x), layers):
        np.testing.assert_allclose(ours.detach(), theirs, atol=1e-12)
    np.testing.assert_allclose(model(x).detach(), logits, atol=1e-12)


def test_network_equals_numpy_backward():
    model, x = mnist_dnn.MLP(pixels=9, width=12).double().eval(), torch.randn(6, 9, dtype=torch.float64)
    y = torch.tensor([0, 3, 9, 3, 1, 5])
    F.cross_entropy(model(x), y).backward()
    layers, logits = by_hand(model, x)
    p = np.exp(logits - logits.max(1, keepdims=True))
    delta = (p / p.sum(1, keepdims=True) - np.eye(10)[y]) / len(y)  # (6, 10)
    for linear, below in zip([model.readout, *reversed(model.hidden)], reversed(layers)):
        np.testing.assert_allclose(linear.weight.grad, delta.T @ below, atol=1e-12)
        np.testing.assert_allclose(linear.bias.grad, delta.sum(0), atol=1e-12)
        delta = delta @ linear.weight.detach().numpy() * (below > 0)


def test_dropout_in_training_only_on_hidden_layers_and_without_bias():
    model, x = mnist_dnn.MLP(pixels=9, width=2000, drop=0.25), torch.randn(3, 9)
    kept = model.eval().layers(x)[1]
    pixels, dropped, *_ = model.train().layers(x)
    assert torch.equal(pixels, x)
    alive = kept > 0
    lost = (dropped[alive] == 0).float().mean().item()
    assert 0.2 < lost < 0.3
    torch.testing.assert_close(dropped[dropped > 0], kept[dropped > 0] / 0.75)
    assert torch.equal(model.eval().layers(x)[1], kept)


def test_ridge_equals_scikit_learn(labelled):
    x, y = labelled
    penalties = torch.tensor([1e-3, 0.1, 10], dtype=torch.float64)
    weights, intercepts = mnist_dnn.ridge(x, y, penalties, classes=4)
    assert weights.shape == (3, 7, 4) and intercepts.shape == (3, 4)
    eigenvalues = np.linalg.eigvalsh(len(x) * np.cov(x.T, bias=True))
    for penalty, w, b in zip(penalties, weights, intercepts):
        alpha = penalty.item() * eigenvalues.mean()
        theirs = Ridge(alpha=alpha).fit(x, F.one_hot(y).double())
        np.testing.assert_allclose(w.T, theirs.coef_, atol=1e-10)
        np.testing.assert_allclose(b, theirs.intercept_, atol=1e-10)
        said = RidgeClassifier(alpha=alpha).fit(x, y).predict(x)
        assert ((x @ w + b).argmax(1).numpy() == said).all()


def test_ridge_does_not_see_scale_or_offset(labelled):
    x, y = labelled
    penalties = torch.tensor([0.1, 1.0], dtype=torch.float64)
    (w, b), (v, c) = mnist_dnn.ridge(x, y, penalties), mnist_dnn.ridge(50 * x - 7, y, penalties)
    torch.testing.assert_close(x @ w + b[:, None], (50 * x - 7) @ v + c[:, None])


def test_principal_plane_equals_scikit_learn(labelled):
    x, _ = labelled
    ours, theirs = mnist_dnn.principal_plane(x).numpy(), PCA(2, svd_solver="full").fit_transform(x)
    np.testing.assert_allclose(ours * np.sign((ours * theirs).sum(0)), theirs, atol=1e-10)


def probe_by_scikit_learn(x, y, fresh, y_fresh):
    """mnist_dnn.probe again, with scikit-learn's Ridge and r2_score."""
    cut, targets = len(x) - len(x) // 6, np.eye(10)[y]

    def fit(rows, penalty):
        centred = x[:rows] - x[:rows].mean(0)
        return Ridge(alpha=penalty * (centred**2).sum() / x.shape[1]).fit(x[:rows], targets[:rows])

    errors = [((fit(cut, p).predict(x[cut:]) - targets[cut:]) ** 2).sum() for p in mnist_dnn.PENALTIES.tolist()]
    scores = fit(len(x), mnist_dnn.PENALTIES[np.argmin(errors)].item()).predict(fresh)
    explained = r2_score(np.eye(10)[y_fresh], scores, multioutput="variance_weighted")
    return 100 * (scores.argmax(1) == y_fresh).mean(), 100 * explained


@pytest.mark.parametrize("noise", [0.1, 3.0])
def test_probe_is_the_ridge_of_the_best_penalty(noise):
    rng = np.random.default_rng(0)
    y = rng.integers(10, size=240)
    x = rng.normal(size=(10, 20))[y] + noise * rng.normal(size=(240, 20))
    theirs = probe_by_scikit_learn(x[:120], y[:120], x[120:], y[120:])
    x, y = torch.tensor(x), torch.tensor(y)
    assert mnist_dnn.probe(x[:120], y[:120], x[120:], y[120:]) == pytest.approx(theirs)


def test_schedule_is_a_triangle():
    rates = [mnist_dnn.schedule(step, 100) for step in range(101)]
    assert rates[0] == 0 and rates[100] == 0 and rates[20] == max(rates) == 1
    np.testing.assert_allclose(np.diff(rates[:21]), 1 / 20)
    np.testing.assert_allclose(np.diff(rates[20:]), -1 / 80)


def test_batches_visit_every_image_once_an_epoch_in_fresh_order():
    drawn = torch.stack(list(mnist_dnn.batches(12, 4, 9, torch.device("cpu"))))  # 3 epochs of 3 batches
    epochs = drawn.view(3, 12)
    assert all(torch.equal(epoch.sort().values, torch.arange(12)) for epoch in epochs)
    assert not torch.equal(epochs[0], epochs[1]) and not torch.equal(epochs[0], torch.arange(12))


def test_batches_are_full_or_all_there_is():
    assert [len(set(b.tolist())) for b in mnist_dnn.batches(10, 4, 5, torch.device("cpu"))] == [4] * 5
    assert [len(set(b.tolist())) for b in mnist_dnn.batches(3, 4, 5, torch.device("cpu"))] == [3] * 5


def test_jitter_moves_the_whole_batch_by_a_pixel_at_most_and_fills_in_blank():
    x, seen = torch.rand(5, 49) + 1, set()
    for _ in range(100):
        moved, old = mnist_dnn.jitter(x).view(5, 7, 7), x.view(5, 7, 7)
        steps = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if torch.equal(moved, shifted(old, dy, dx))]
        assert len(steps) == 1
        seen.update(steps)
    assert len(seen) == 9


def shifted(images, dy, dx):
    result = torch.zeros_like(images)
    for row, column in np.ndindex(7, 7):
        if 0 <= row - dy < 7 and 0 <= column - dx < 7:
            result[:, row, column] = images[:, row - dy, column - dx]
    return result


def test_training_jitters_only_when_asked(monkeypatch):
    x, y = a_small_task(20)
    inputs, model = [], mnist_dnn.MLP(64, 16)
    model.register_forward_pre_hook(lambda module, given: inputs.append(given[0]))
    monkeypatch.setattr(mnist_dnn, "jitter", lambda images: images + 100)
    mnist_dnn.train(model, x, y, 1)
    mnist_dnn.train(model, x, y, 1, moving=False)
    assert [images.min() > 50 for images in inputs] == [True, False]


def test_one_step_is_adamw_at_the_scheduled_rate():
    """The first step of Adam moves every weight by the rate, whatever the gradient; AdamW shrinks it by 1% of that."""
    model = mnist_dnn.MLP(9, 12, drop=0.0)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    x, y = torch.rand(40, 9), torch.randint(10, (40,))
    F.cross_entropy(model(x), y).backward()
    signs = {name: weight.grad.sign() for name, weight in model.named_parameters()}
    mnist_dnn.train(model, x, y, steps=1, peak=0.01, moving=False)
    rate = 0.01 * mnist_dnn.schedule(1, 2)
    for name, weight in model.named_parameters():
        moved = before[name] * (1 - 0.01 * rate) - rate * signs[name]
        clear = signs[name] != 0
        torch.testing.assert_close(weight.detach()[clear], moved[clear], atol=rate * 0.02, rtol=0)


def test_training_learns_and_watches():
    x, y = a_small_task(900)
    model = mnist_dnn.MLP(64, 64)
    train, test = (x[:700], y[:700]), (x[700:], y[700:])
    majority = 100 * y[700:].bincount().max().item() / 200
    assert mnist_dnn.accuracy(model, *test) < 2 * majority
    seen = mnist_dnn.train(model, *train, 300, peak=1e-2, watch=lambda: (mnist_dnn.accuracy(model, *train),), points=4)
    assert [step for step, _ in seen] == [75, 150, 225, 300]
    assert seen[-1][1] == mnist_dnn.accuracy(model, *train) > 80
    assert mnist_dnn.accuracy(model, *test) > 6 * majority
    said = model.eval()(x).argmax(1)
    assert not torch.equal(said, model(x.flip(1)).argmax(1)) and len(said.unique()) == 10


def test_training_drops_out_and_accuracy_does_not():
    x, y = a_small_task(50)
    model, modes = mnist_dnn.MLP(64, 16), []
    model.register_forward_hook(lambda module, *_: modes.append(module.training))
    mnist_dnn.train(model, x, y, 3, watch=lambda: (mnist_dnn.accuracy(model, x, y),), points=3)
    assert modes == [True, False] * 3


def test_accuracy_counts():
    model = mnist_dnn.MLP(64, 16)
    x = torch.rand(40, 64)
    said = model.eval()(x).argmax(1)
    said[:10] = (said[:10] + 1) % 10
    assert mnist_dnn.accuracy(model, x, said) == pytest.approx(75)


def test_shuffled_labels_keep_their_counts_and_lose_their_images():
    y = torch.arange(10).repeat(200)
    shuffled = mnist_dnn.shuffle_labels(y)
    assert torch.equal(y.bincount(), shuffled.bincount())
    assert 0.07 < (y == shuffled).float().mean() < 0.13  # a tenth stays right by chance


def test_by_heart_both_arms_start_alike_and_end_apart():
    x, y = a_small_task(1100)
    data = [x[:600], y[:600], x[600:], y[600:]]
    curves = mnist_dnn.by_heart(data, images=100, width=64, steps=300, seed=0)
    assert curves["true"].shape == curves["shuffled"].shape == (10, 3)
    assert curves["true"][-1, 1] > 95 and curves["shuffled"][-1, 1] > 95
    assert curves["true"][-1, 2] > 80 and curves["shuffled"][-1, 2] < 30


def test_a_layer_is_probed_by_what_it_holds():
    x, y = a_small_task(900)
    data, model = [x[:600], y[:600], x[600:], y[600:]], mnist_dnn.MLP(64, 64)
    table = mnist_dnn.probe_layers(model, data, (12.0, 3.0))
    assert table.shape == (4, 2) and table[0].tolist() == [12, 3]
    with torch.no_grad():
        hidden = [model.eval().layers(part)[2] for part in (data[0], data[2])]
    assert table[2].tolist() == pytest.approx(mnist_dnn.probe(hidden[0], data[1], hidden[1], data[3]), abs=1e-3)


def test_look_inside_probes_before_and_after_training():
    x, y = a_small_task(900)
    data, pixels = [x[:600], y[:600], x[600:], y[600:]], (50.0, 10.0)
    run = mnist_dnn.look_inside(data, width=64, steps=200, seed=3, pixels=pixels)
    assert run.accuracy == mnist_dnn.accuracy(run.model, x[600:], y[600:]) > 30 and run.seconds > 0
    torch.manual_seed(3)
    fresh = mnist_dnn.MLP(64, 64)
    torch.testing.assert_close(run.untrained, mnist_dnn.probe_layers(fresh, data, pixels))
    torch.testing.assert_close(run.trained, mnist_dnn.probe_layers(run.model, data, pixels))
    assert not torch.equal(run.trained, run.untrained)


def test_confusion_matrix_equals_scikit_learn():
    y, said = torch.randint(10, (2, 500))
    assert (mnist_dnn.confusion_matrix(y, said).numpy() == confusion_matrix(y, said, labels=range(10))).all()


def test_most_confident_mistakes_are_mistakes_and_sorted():
    probabilities, y = torch.randn(300, 10).mul(3).softmax(1), torch.randint(10, (300,))
    wrong = mnist_dnn.most_confident_mistakes(probabilities, y, 12)
    said = probabilities.argmax(1)
    expected = sorted((-probabilities[k].max().item(), k) for k in range(300) if said[k] != y[k])
    assert wrong.tolist() == [k for _, k in expected[:12]]
    assert len(mnist_dnn.most_confident_mistakes(probabilities, said, 12)) == 0


def test_nearest_centre_equals_scikit_learn(labelled):
    x, y = labelled
    theirs = 100 * NearestCentroid().fit(x[:, :2], y).score(x[:, :2], y)
    assert mnist_dnn.nearest_centre(x[:, :2], y) == pytest.approx(theirs)
