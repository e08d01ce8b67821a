"""The perceptron against scikit-learn and its theorem, the A-units against counting one connection after the other."""

import numpy as np
import pytest
from sklearn.linear_model import Perceptron, SGDClassifier
from sklearn.svm import LinearSVC

from papers import perceptron

SAME = {"shuffle": False, "eta0": 1, "tol": None, "fit_intercept": False}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("epochs", [1, 5, 30])
def test_perceptron_equals_scikit_learn(classes, epochs, rng):
    """Separable or not, the same corrections in the same order are the same weights."""
    y = rng.integers(classes, size=80)
    x = np.column_stack(
        [rng.normal(size=(classes, 6))[y] * 2 + rng.normal(size=(80, 6)), np.ones(80)]
    )
    targets = (
        np.where(y[:, None] == np.arange(classes), 1, -1)
        if classes > 2
        else np.where(y == 1, 1, -1)[:, None]
    )
    *_, (weights, _, mistakes) = perceptron.learn(x, targets, epochs)
    np.testing.assert_allclose(
        weights, Perceptron(max_iter=epochs, **SAME).fit(x, y).coef_, atol=1e-10
    )
    assert mistakes.shape == (len(weights),)


@pytest.mark.parametrize("epochs", [1, 4])
def test_average_equals_scikit_learn_and_the_long_way_round(epochs, rng):
    x, y = rng.normal(size=(60, 5)), rng.choice([-1, 1], (60, 3))
    *_, (_, average, counted) = perceptron.learn(x, y, epochs)
    for k in range(3):  # side by side or alone, it is the same
        weights, states = np.zeros(5), []
        for _ in range(epochs):
            mistakes = 0
            for row, sign in zip(x, y[:, k]):
                if sign * (weights @ row) <= 0:
                    weights = weights + sign * row
                    mistakes += 1
                states.append(weights)
        np.testing.assert_allclose(average[k], np.mean(states, axis=0), atol=1e-12)
        assert counted[k] == mistakes
        theirs = SGDClassifier(
            "perceptron",
            penalty=None,
            learning_rate="constant",
            average=True,
            max_iter=epochs,
            **SAME,
        )
        np.testing.assert_allclose(average[k], theirs.fit(x, y[:, k]).coef_[0], atol=1e-10)


def test_a_generator_shuffles_each_epoch_and_shows_every_example_once():
    # every example is a unit vector of its own: it is a mistake when first seen, and its weight says how late that was
    rng, size = np.random.default_rng(0), 50
    (weights, average, mistakes), (_, _, none) = perceptron.learn(
        np.eye(size), np.ones((size, 1)), 2, rng
    )
    assert (weights == 1).all() and mistakes == size and none == 0
    first_seen = (size - size * average[0]).round().astype(int)
    assert sorted(first_seen) == list(range(size)) and (first_seen != np.arange(size)).any()


@pytest.mark.parametrize("seed", range(40))
def test_the_margin_is_the_widest_and_the_bound_is_never_broken(seed):
    x, y, margin = perceptron.separable_problem(np.random.default_rng(seed))
    machine = LinearSVC(
        C=1e5, loss="squared_hinge", dual=False, fit_intercept=False, tol=1e-8, max_iter=100_000
    )
    w = machine.fit(x, y).coef_[0] if len(set(y)) == 2 else y[0] * x.mean(axis=0)
    theirs = (y * (x @ w)).min() / np.linalg.norm(w)
    assert 0.9 * margin < theirs < margin * (1 + 1e-9)
    bound, mistakes, ended = perceptron.against_the_bound(x, y, margin)
    assert bound == pytest.approx(max(row @ row for row in x) / margin**2)
    assert ended and 0 < mistakes <= bound
    weights = next(
        w for w, _, wrong in perceptron.learn(x, y[:, None], mistakes + 1) if not wrong.any()
    )
    assert (y * (x @ weights[0]) > 0).all()


@pytest.mark.parametrize("size", [1, 3, 10])
def test_unit_vectors_reach_the_bound(size):
    bound, mistakes, ended = perceptron.against_the_bound(np.eye(size), np.ones(size), size**-0.5)
    assert bound == pytest.approx(size) and mistakes == size and ended


def test_what_cannot_be_separated_never_settles():
    assert perceptron.settle(np.array([[1.0], [1.0]]), np.array([1, -1]), epochs=7) == (14, False)


def test_connections_are_five_of_each_sign_near_a_centre(rng):
    side, count, units = perceptron.SIDE, perceptron.CONNECTIONS, 4000
    wiring = perceptron.wire(units, rng)
    assert wiring.shape == (side**2, units) and (wiring.sum(0) == 0).all()
    assert (np.abs(wiring).sum(0) <= 2 * count).all() and np.abs(wiring).sum() > 1.5 * count * units
    used = wiring[:, (wiring != 0).any(0)] != 0  # a unit in a corner may have lost all it had
    place = np.array(np.divmod(np.arange(side**2), side))  # (2, points)
    middle = place @ used / used.sum(0)  # (2, units)
    assert (np.abs(middle.mean(1) - (side - 1) / 2) < 0.5).all()
    assert (np.abs(middle.std(1) - 7.5) < 1.5).all()  # centres are all over the retina
    inner = (np.abs(middle - side / 2) < 6).all(0)
    point, unit = np.nonzero(used[:, inner])
    down, across = place[:, point] - middle[:, inner][:, unit]
    for offset in (
        down,
        across,
    ):  # E[(d cos a)²] = SPREAD², for exponential distances in all directions
        assert offset.std() == pytest.approx(perceptron.SPREAD, rel=0.15)
    assert abs(np.corrcoef(down, across)[0, 1]) < 0.05


def test_units_fire_where_excitation_exceeds_inhibition(rng):
    wiring, retina = perceptron.wire(50, rng), rng.random((30, perceptron.SIDE**2)) < 0.4
    active = perceptron.fire(retina, wiring)
    assert active.shape == (30, 50) and active.dtype == bool
    for stimulus, answers in zip(retina, active):
        for unit, answer in enumerate(answers):
            sums = [connection for connection, lit in zip(wiring[:, unit], stimulus) if lit]
            assert answer == (sum(sums) >= perceptron.THRESHOLD)
    assert 0.05 < active.mean() < 0.6
    many = np.repeat(retina, 400, axis=0)  # several parts
    assert (perceptron.fire(many, wiring) == np.repeat(active, 400, axis=0)).all()


def test_exclusive_or_needs_the_units(rng):
    walk, circles, learnt = perceptron.exclusive_or(perceptron.wire(500, rng))
    assert (
        walk[:, :2].tolist() == 2 * [[0, 0], [-1, -1], [0, -2], [1, -1]] + [[0, 0]]
        and circles == 24
    )
    assert len(learnt) == 24 and 0 < min(learnt) <= max(learnt) < 40
    assert (
        perceptron.exclusive_or(np.zeros((perceptron.SIDE**2, 5)))[2] == []
    )  # units that see nothing


def prototypes(rng, n):
    """Ten classes: a random picture each, of which a fifth of the points is flipped. Images (n, 64) of 0 and 1."""
    y = np.arange(n) % 10
    pictures = np.random.default_rng(5).random((10, 64)) < 0.35
    return pictures[y] ^ (rng.random((n, 64)) < 0.2), y


class InOrder:
    """A generator of random numbers that never shuffles."""

    permutation = staticmethod(np.arange)


def test_errors_are_those_of_scikit_learn_and_far_from_guessing(rng):
    (x, y), (fresh, truth) = prototypes(rng, 300), prototypes(rng, 200)
    errors, said = perceptron.read_digits([x, y, fresh, truth], 2, InOrder())
    last = Perceptron(max_iter=2, **SAME)
    average = SGDClassifier(
        "perceptron", penalty=None, learning_rate="constant", average=True, max_iter=2, **SAME
    )
    for theirs, ours in zip((last, average), errors[-1]):
        answers = theirs.fit(np.column_stack([x, np.ones(300)]), y).predict(
            np.column_stack([fresh, np.ones(200)])
        )
        assert (
            ours == pytest.approx(100 * (answers != truth).mean()) and 0 < ours < 45
        )  # always one digit: 90
    assert (said == answers).all() and errors[-1, 0] != errors[-1, 1] and errors.shape == (2, 2)
