"""The photoperceptron against enumeration and loops, the perceptron against scikit-learn and its theorem."""

import itertools

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.linear_model import Perceptron, SGDClassifier

from papers import perceptron


@pytest.fixture
def rng():
    return np.random.default_rng(0)


# The photoperceptron


@pytest.mark.parametrize("x, y, theta", [(5, 5, 3), (4, 2, 1), (3, 0, 2), (2, 4, 0), (1, 3, -1)])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_share_active_equals_enumeration(x, y, theta, share):
    total = 0.0
    for lit in itertools.product([0, 1], repeat=x + y):  # which of the connections find their point lit
        if sum(lit[:x]) - sum(lit[x:]) >= theta:
            total += share ** sum(lit) * (1 - share) ** (x + y - sum(lit))
    assert perceptron.share_active(x, y, theta, share) == pytest.approx(total, rel=1e-12)


def test_share_active_equals_scipy_and_rosenblatts_fraction():
    assert perceptron.share_active(5, 5, 3, 0.5) == 56 / 1024
    e = np.arange(11)
    by_scipy = (binom.pmf(e, 10, 0.3) * binom.cdf(e - 3, 4, 0.3)).sum()
    assert perceptron.share_active(10, 4, 3, 0.3) == pytest.approx(by_scipy)


def test_wiring_has_its_connections_at_random_points_with_replacement(rng):
    wiring = perceptron.wire(7, 4000, 6, 0, rng)
    assert wiring.shape == (7, 4000) and (wiring.sum(0) == 6).all() and wiring.max() > 1
    assert ((-perceptron.wire(7, 50, 0, 3, rng)).sum(0) == 3).all()
    both = perceptron.wire(5000, 300, 5, 2, rng)  # hardly ever two at one point
    assert (both.sum(0) == 3).all() and 6.5 < np.abs(both).sum(0).mean() <= 7
    np.testing.assert_allclose(wiring.mean(1), 6 / 7, atol=5 * (6 / 7 / 4000) ** 0.5)


def test_dots_light_an_exact_share_of_random_points(rng):
    dots = perceptron.random_dots(3000, 20, 0.3, rng)
    assert dots.shape == (3000, 20) and set(np.unique(dots)) == {0, 1} and (dots.sum(1) == 6).all()
    np.testing.assert_allclose(dots.mean(0), 0.3, atol=5 * (0.21 / 3000) ** 0.5)


def test_units_fire_at_the_threshold_and_above():
    wiring = np.array([[1, 1, 0], [1, 0, 2], [-1, -1, -1]], dtype=np.float32)  # (points, units)
    stimuli = np.array([[1, 1, 0], [1, 1, 1], [0, 1, 1], [0, 0, 0]], dtype=np.float32)
    assert perceptron.fire(stimuli, wiring, 1).tolist() == [[1, 1, 1], [1, 0, 1], [0, 0, 1], [0, 0, 0]]
    assert perceptron.fire(stimuli, wiring, 2).tolist() == [[1, 0, 1], [0, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_measured_activity_is_the_closed_form_within_its_standard_error(rng):
    table = perceptron.measure_activity(1000, 20, rng, points=40)
    assert table.shape == (len(perceptron.WIRINGS), len(perceptron.SHARES), 3)
    theory, measured, error = table.reshape(-1, 3).T
    common = (theory > 0.01) & (theory < 0.99)
    z = (measured - theory)[common] / error[common]
    assert np.abs(z).max() < 4 and 0.6 < np.sqrt((z**2).mean()) < 1.4  # neither too small nor too large an error
    for (x, y, theta), row in zip(perceptron.WIRINGS, table):
        assert row[4, 0] == perceptron.share_active(x, y, theta, 0.5)


@pytest.mark.parametrize("system", ["α", "γ"])
def test_values_equal_reinforcing_one_stimulus_after_the_other(system, rng):
    active, classes = (rng.random((30, 12)) < 0.3).astype(float), rng.choice([-1, 1], 30)
    value = np.zeros(12)
    for stimulus, sign in zip(active, classes):
        for unit in range(12):
            if stimulus[unit]:
                value[unit] += sign
                if system == "γ":
                    value -= sign / 12
    np.testing.assert_allclose(perceptron.reinforce(active, classes, system), value, atol=1e-12)
    if system == "γ":
        assert abs(value.sum()) < 1e-12
        np.testing.assert_array_equal(perceptron.reinforce(active, classes), perceptron.reinforce(active, classes, "γ"))


def test_percent_right_counts_signs_and_silence_as_wrong():
    active, value = np.array([[1, 0], [0, 1], [0, 0], [1, 1]]), np.array([2.0, -3.0])
    assert perceptron.percent_right(active, value, np.array([1, -1, 1, -1])) == 75
    assert perceptron.percent_right(active, value, np.array([-1, -1, -1, -1])) == 50


def test_recall_is_of_the_first_stimuli_after_only_these_were_learnt(rng):
    active, classes = (rng.random((40, 15)) < 0.3).astype(float), rng.choice([-1, 1], 40)
    for system in ("α", "γ"):
        found = perceptron.recall(active, classes, [1, 7, 40], system)
        for s, percent in zip([1, 7, 40], found):
            value = perceptron.reinforce(active[:s], classes[:s], system)
            right = [classes[k] * sum(value[active[k] > 0]) > 0 for k in range(s)]
            assert percent == pytest.approx(100 * np.mean(right))


def test_predicted_recall_is_the_recall_that_is_measured(rng):
    stored, measured = np.array([64, 256]), []
    wiring = perceptron.wire(100, 400, 5, 5, rng)
    for _ in range(30):
        active = perceptron.fire(perceptron.random_dots(256, 100, 0.3, rng), wiring, 2)
        measured.append(perceptron.recall(active, rng.choice([-1, 1], 256), stored))
    predicted = perceptron.predicted_recall(active, stored)
    np.testing.assert_allclose(np.mean(measured, axis=0), predicted, atol=2)
    assert 60 < predicted[1] < predicted[0] < 97


def test_random_associations_are_forgotten(rng):
    stored = np.array([2, 4096])
    found = perceptron.remember_dots(100, 0.3, 200, stored, rng)
    assert found["dots"][0] == 100 and 50 < found["dots"][1] < 62
    assert found["dots, α"][1] < 62 and found["dots, deleted"].shape == (len(perceptron.DELETED),)
    assert found["dots, deleted"][0] > found["dots, deleted"][-1] + 5


def prototypes(rng, n):
    """Ten classes: a random picture each, of which a tenth of the points is flipped. Images (n, 64) of 0 and 1."""
    y = np.arange(n) % 10
    pictures = np.random.default_rng(5).random((10, 64)) < 0.35
    return (pictures[y] ^ (rng.random((n, 64)) < 0.1)).astype(np.float32), y


def test_real_classes_are_remembered_and_generalise(rng):
    data = [*prototypes(rng, 400), *prototypes(rng, 200)]
    found = perceptron.remember_digits(data, 300, np.array([2, 64]), rng)
    assert all(found[case].shape == (45, 2) for case in ("stored", "new", "shuffled", "stored, α"))
    assert found["digits, deleted"].shape == (45, len(perceptron.DELETED))
    ends = {case: found[case][:, -1].mean() for case in found}
    assert ends["stored"] > 95 and ends["new"] > 95 and 50 < ends["shuffled"] < 75  # chance is 50
    np.testing.assert_allclose(found["digits, deleted"][:, 0], found["stored"][:, -1])


def test_deleting_takes_units_and_their_values_together():
    value = np.array([1.0, -1.0] * 50)
    active = np.eye(100)  # each unit knows one stimulus
    found = perceptron.delete(active, value, np.sign(value), np.random.default_rng(0))
    np.testing.assert_allclose(found, 100 * (1 - perceptron.DELETED))
    one = perceptron.delete(np.ones((4, 3)), np.ones(3), np.ones(4), np.random.default_rng(0))
    assert (one == 100).all()  # at least one stays


# The perceptron


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("passes", [1, 5, 30])
def test_perceptron_equals_scikit_learn(classes, passes, rng):
    """Separable or not, the same corrections in the same order are the same weights."""
    y = rng.integers(classes, size=80)
    x = np.column_stack([rng.normal(size=(classes, 6))[y] * 2 + rng.normal(size=(80, 6)), np.ones(80)])
    targets = np.where(y[:, None] == np.arange(classes), 1, -1) if classes > 2 else np.where(y == 1, 1, -1)[:, None]
    *_, (weights, _, _) = perceptron.learn(x, targets, passes)
    theirs = Perceptron(shuffle=False, eta0=1, tol=None, max_iter=passes, fit_intercept=False).fit(x, y)
    np.testing.assert_allclose(weights, theirs.coef_, atol=1e-10)


def test_perceptron_and_scikit_learn_settle_on_the_same_separator(rng):
    x, y, _ = perceptron.separable_set(rng)
    weights = next(w for w, _, mistakes in perceptron.learn(x, y[:, None], 10_000) if not mistakes.any())
    theirs = Perceptron(shuffle=False, eta0=1, tol=None, max_iter=500, fit_intercept=False).fit(x, y)
    np.testing.assert_allclose(weights, theirs.coef_, atol=1e-10)
    assert (y * (x @ weights[0]) > 0).all()


@pytest.mark.parametrize("passes", [1, 4])
def test_average_equals_scikit_learn_and_the_long_way_round(passes, rng):
    x, y = rng.normal(size=(60, 5)), rng.choice([-1, 1], 60)
    *_, (_, average, _) = perceptron.learn(x, y[:, None], passes)
    weights, states = np.zeros(5), []
    for _ in range(passes):
        for row, sign in zip(x, y):
            if sign * (weights @ row) <= 0:
                weights = weights + sign * row
            states.append(weights)
    np.testing.assert_allclose(average[0], np.mean(states, axis=0), atol=1e-12)
    theirs = SGDClassifier(
        loss="perceptron", penalty=None, learning_rate="constant", eta0=1, average=True, shuffle=False, tol=None,
        max_iter=passes, fit_intercept=False,
    ).fit(x, y)  # fmt: skip
    np.testing.assert_allclose(average, theirs.coef_, atol=1e-10)


def test_perceptrons_side_by_side_are_perceptrons_alone(rng):
    x, targets = rng.normal(size=(40, 4)), rng.choice([-1, 1], (40, 3))
    together = list(perceptron.learn(x, targets, 3))
    for k in range(3):
        for (w, a, m), (w1, a1, m1) in zip(together, perceptron.learn(x, targets[:, k : k + 1], 3)):
            np.testing.assert_allclose(w[k], w1[0])
            np.testing.assert_allclose(a[k], a1[0])
            assert m[k] == m1[0]


def test_a_generator_shuffles_every_pass_and_every_row_is_seen_once():
    rows = []

    class Watched(np.ndarray):
        def __getitem__(self, row):
            rows.append(int(row))
            return np.asarray(self)[row]

    targets = np.ones((6, 1)).view(Watched)
    list(perceptron.learn(np.eye(6), targets, 2, np.random.default_rng(0)))
    seen = [row for row, _ in itertools.groupby(rows)]  # a row may be asked for twice in a step
    assert sorted(seen[:6]) == sorted(seen[6:]) == list(range(6)) and seen[:6] != seen[6:]
    rows.clear()
    list(perceptron.learn(np.eye(6), targets, 2))
    assert [row for row, _ in itertools.groupby(rows)] == 2 * list(range(6))


@pytest.mark.parametrize("seed", range(40))
def test_the_bound_is_never_broken(seed):
    x, y, known = perceptron.separable_set(np.random.default_rng(seed))
    margin = perceptron.widest_margin(x, y, known)
    assert margin >= (y * (x @ known)).min() > 0  # the known separator is one
    bound, mistakes, settled = perceptron.count_mistakes(x, y, margin)
    assert bound == pytest.approx(max(row @ row for row in x) / margin**2)
    assert settled and 0 < mistakes <= bound


def test_widest_margin_is_the_widest():
    x, y = np.array([[3.0, 1.0], [1.0, 3.0], [-2.0, -2.0]]), np.array([1, 1, -1])
    margin = perceptron.widest_margin(x, y, np.array([1.0, 0.1]))
    angles = np.linspace(0, 2 * np.pi, 100_001)
    best = (y[:, None] * (x @ [np.cos(angles), np.sin(angles)])).min(0).max()
    assert margin == pytest.approx(best, rel=1e-3)


@pytest.mark.parametrize("size", [1, 3, 10])
def test_unit_vectors_reach_the_bound(size):
    bound, mistakes, settled = perceptron.count_mistakes(np.eye(size), np.ones(size), size**-0.5)
    assert bound == pytest.approx(size) and mistakes == size and settled


def test_what_cannot_be_separated_is_not_called_settled():
    _, mistakes, settled = perceptron.count_mistakes(np.array([[1.0], [1.0]]), np.array([1, -1]), margin=0.1)
    assert not settled and mistakes == 202  # a false margin; two mistakes in each of 101 passes


def test_exclusive_or_needs_the_product():
    totals, rounds = perceptron.exclusive_or(perceptron.XOR, 40)
    assert totals.shape == (24, 40) and (np.diff(totals, axis=1) > 0).all() and min(rounds) > 0
    product = np.column_stack([perceptron.XOR, perceptron.XOR[:, 1] * perceptron.XOR[:, 2]])
    totals, rounds = perceptron.exclusive_or(product, 40)
    assert set(rounds) == {0} and (np.diff(totals[:, 5:], axis=1) == 0).all() and totals.max() <= 4  # (R/γ)² = 4
    assert set(perceptron.exclusive_or(product, 1)[1]) == {-1}  # one pass is too few to know


def test_one_perceptron_a_digit_learns_and_beats_the_largest_class(rng):
    data = [*prototypes(rng, 600), *prototypes(rng, 300)]
    errors = perceptron.classify(data, 4, rng)
    assert errors.shape == (4, 2) and (errors[-1] < 20).all()  # always the same digit: 90
    flipped = perceptron.classify([data[0], data[1], data[2][:, ::-1], data[3]], 1, rng)
    assert (flipped > 50).all()


class InOrder:
    """A generator of random numbers that never shuffles."""

    permutation = staticmethod(np.arange)


def test_errors_on_digits_are_those_of_scikit_learn(rng):
    x, y = prototypes(rng, 300)
    fresh, truth = prototypes(rng, 200)
    fresh = np.abs(fresh - (rng.random(fresh.shape) < 0.2))  # harder, so that errors differ
    errors = perceptron.classify([x, y, fresh, truth], 2, InOrder())
    same = {"shuffle": False, "eta0": 1, "tol": None, "max_iter": 2, "fit_intercept": False}
    last = Perceptron(**same)
    average = SGDClassifier(loss="perceptron", penalty=None, learning_rate="constant", average=True, **same)
    for theirs, ours in zip((last, average), errors[-1]):
        theirs.fit(np.column_stack([x, np.ones(300)]), y)
        assert ours == pytest.approx(100 * (theirs.predict(np.column_stack([fresh, np.ones(200)])) != truth).mean())
    assert errors[-1, 0] != errors[-1, 1]


def test_both_systems_store_the_same_dots():
    found = perceptron.remember_dots(100, 0.3, 200, np.array([2, 512]), np.random.default_rng(3))
    again = np.random.default_rng(3)
    dots, wiring = perceptron.random_dots(512, 100, 0.3, again), perceptron.wire(100, 200, 5, 5, again)
    active, classes = perceptron.fire(dots, wiring, 2), again.choice([-1, 1], 512)
    assert found["dots"].tolist() == perceptron.recall(active, classes, [2, 512], "γ")
    assert found["dots, α"].tolist() == perceptron.recall(active, classes, [2, 512], "α") != found["dots"].tolist()


@pytest.mark.parametrize("argument", [["--units", "0"], ["--sets", "0"], ["--passes", "-1"], ["--device", "cuda"]])
def test_a_wrong_argument_gets_a_sentence(argument, capsys):
    with pytest.raises(SystemExit) as stopped:
        perceptron.parse_args(argument)
    assert stopped.value.code == 2 and argument[0] in capsys.readouterr().err
