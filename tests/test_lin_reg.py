"""The solvers of lin_reg.py against scikit-learn, SciPy and the long way round."""

import itertools

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from sklearn.linear_model import LinearRegression, Ridge, RidgeClassifier

import lin_reg

SOLVERS = [lin_reg.by_normal_equations, lin_reg.by_qr, lin_reg.by_svd]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def labelled(rng):
    """Four overlapping classes of unequal size in 9 dimensions, far from the origin: x (200, 9), labels (200,)."""
    labels = rng.choice(4, size=200, p=[0.4, 0.3, 0.2, 0.1])
    return 3 + 1.5 * rng.normal(size=(4, 9))[labels] + rng.normal(size=(200, 9)) * rng.uniform(0.5, 2, 9), labels


@pytest.mark.parametrize("solve", SOLVERS)
@pytest.mark.parametrize("n, p", [(20, 1), (30, 7), (8, 8)])
def test_solvers_equal_scikit_learn(solve, n, p, rng):
    x, y = rng.normal(size=(n, p)), rng.normal(size=n)
    np.testing.assert_allclose(solve(x, y), LinearRegression(fit_intercept=False).fit(x, y).coef_, rtol=1e-8)
    design = np.column_stack([np.ones(n), x[:, 1:]])
    theirs = LinearRegression().fit(x[:, 1:], y) if p > 1 else None
    if theirs is not None:
        np.testing.assert_allclose(solve(design, y), [theirs.intercept_, *theirs.coef_], rtol=1e-8)


def test_rank_deficient_data_gets_the_shortest_solution(rng):
    x = rng.normal(size=(30, 3)) @ rng.normal(size=(3, 6))  # rank 3 in 6 columns
    y = rng.normal(size=30)
    beta = lin_reg.by_svd(x, y)
    np.testing.assert_allclose(beta, scipy.linalg.lstsq(x, y)[0], atol=1e-12)
    np.testing.assert_allclose(x.T @ (y - x @ beta), 0, atol=1e-10)
    _, _, vt = np.linalg.svd(x)
    np.testing.assert_allclose(vt[3:] @ beta, 0, atol=1e-12)  # nothing in the directions that X can't see


def test_more_columns_than_rows_gets_the_shortest_solution(rng):
    x, y = rng.normal(size=(5, 12)), rng.normal(size=5)
    np.testing.assert_allclose(lin_reg.by_svd(x, y), scipy.linalg.lstsq(x, y)[0], atol=1e-12)


def test_gradient_descent_steps_down_the_gradient_and_arrives(rng):
    x, y = rng.normal(size=(40, 5)), rng.normal(size=40)
    path = lin_reg.by_gradient_descent(x, y, 2000)
    assert path.shape == (2001, 5) and not path[0].any()
    np.testing.assert_allclose(path[-1], lin_reg.by_qr(x, y), atol=1e-8)
    loss = ((y - path @ x.T) ** 2).sum(1)
    assert (np.diff(loss[:10]) < 0).all()
    np.testing.assert_allclose(path[1], x.T @ y / np.linalg.norm(x, 2) ** 2)


def test_gradient_descent_shrinks_the_error_by_one_minus_one_over_condition_squared(rng):
    x, beta = lin_reg.ill_conditioned(50.0, rng)
    path = lin_reg.by_gradient_descent(x, x @ beta, 40_000)
    last = np.linalg.norm(path[[20_000, 21_000]] - beta, axis=1)
    assert last[1] / last[0] == pytest.approx((1 - 1 / 50**2) ** 1000, rel=1e-6)


@pytest.mark.parametrize("condition", [1.0, 1e3, 1e9])
def test_ill_conditioned_has_the_condition_number_it_says(condition, rng):
    x, beta = lin_reg.ill_conditioned(condition, rng)
    assert np.linalg.cond(x) == pytest.approx(condition, rel=1e-4)
    assert np.linalg.norm(beta) == pytest.approx(1)


def test_standard_errors_equal_scipys(rng):
    x = rng.uniform(0, 5, 25)
    y = 2 - 0.7 * x + rng.normal(size=25)
    design = np.column_stack([np.ones(25), x])
    theirs = scipy.stats.linregress(x, y)
    ours = lin_reg.standard_errors(design, y, lin_reg.by_qr(design, y))
    np.testing.assert_allclose(ours, [theirs.intercept_stderr, theirs.stderr])


@pytest.mark.parametrize("penalty", [1e-3, 1.0, 300.0])
def test_ridge_path_equals_scikit_learns_ridge(labelled, penalty):
    x, labels = labelled
    weights, intercepts = lin_reg.ridge_path(lin_reg.moments(x, labels, 4), np.array([7.0, penalty]))
    assert weights.shape == (2, 9, 4) and intercepts.shape == (2, 4)
    theirs = Ridge(alpha=penalty).fit(x, np.eye(4)[labels])
    np.testing.assert_allclose(weights[1], theirs.coef_.T, rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(intercepts[1], theirs.intercept_, rtol=1e-7)


@pytest.mark.parametrize("penalty", [0.1, 50.0])
def test_ridge_classifies_as_scikit_learns_ridge_classifier(labelled, penalty):
    x, labels = labelled
    weights, intercepts = lin_reg.ridge_path(lin_reg.moments(x, labels, 4), np.array([penalty]))
    theirs = RidgeClassifier(alpha=penalty, solver="cholesky").fit(x, labels)
    np.testing.assert_allclose(2 * weights[0], theirs.coef_.T, rtol=1e-6)  # its targets are ±1, ours 0 and 1
    assert (lin_reg.largest_score(x @ weights[0] + intercepts[0]) == theirs.predict(x)).all()


def test_without_a_penalty_rank_deficient_data_gets_the_shortest_weights(labelled):
    x, labels = labelled
    padded = np.column_stack([x, np.full((len(x), 3), 0.25), x[:, :2], x.sum(1)])  # empty pixels, and repeated ones
    weights, intercepts = lin_reg.ridge_path(lin_reg.moments(padded, labels, 4), np.array([0.0]))
    one_hot = np.eye(4)[labels]
    theirs = scipy.linalg.lstsq(padded - padded.mean(0), one_hot - one_hot.mean(0), cond=1e-10)[0]
    np.testing.assert_allclose(weights[0], theirs, atol=1e-8)
    np.testing.assert_allclose(padded @ weights[0] + intercepts[0], LinearRegression().fit(x, one_hot).predict(x))


def test_moments_of_parts_add_up(labelled):
    x, labels = labelled
    parts = [lin_reg.moments(x[:70], labels[:70], 4), lin_reg.moments(x[70:], labels[70:], 4)]
    for added, whole in zip(map(np.add, *parts), lin_reg.moments(x, labels, 4)):
        np.testing.assert_allclose(added, whole)


def test_each_pair_is_a_ridge_fit_on_two_classes(labelled):
    x, labels = labelled
    weights, intercepts = lin_reg.pairwise_path(lin_reg.moments(x, labels, 4), np.array([3.0]))
    for column, (one, other) in enumerate([(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]):
        of_pair = (labels == one) | (labels == other)
        target = np.where(labels[of_pair] == one, 1.0, -1.0)
        theirs = Ridge(alpha=3.0).fit(x[of_pair], target)
        np.testing.assert_allclose(weights[0, :, column], theirs.coef_, rtol=1e-7)
        np.testing.assert_allclose(intercepts[0, column], theirs.intercept_, rtol=1e-7)


def test_votes_are_counted_one_by_one(rng):
    scores = rng.normal(size=(300, 10))  # of the ten pairs of five classes
    expected = []
    for row in scores:
        wins, margin = [0] * 5, [0.0] * 5
        for score, (i, j) in zip(row, itertools.combinations(range(5), 2)):
            wins[i if score > 0 else j] += 1
            margin[i] += score
            margin[j] -= score
        expected.append(max(range(5), key=lambda c: (wins[c], margin[c])))
    assert (lin_reg.vote(scores, 5) == expected).all()


def test_choosing_takes_the_penalty_that_does_best_on_the_held_out_rows(labelled, monkeypatch):
    x, labels = labelled
    errors, weights, intercepts = lin_reg.choose(
        lambda data, penalties: lin_reg.ridge_path(data, penalties), lin_reg.largest_score, x, labels, held_out=50
    )
    slow = []
    for penalty in lin_reg.PENALTIES:
        theirs = RidgeClassifier(alpha=penalty).fit(x[:-50], labels[:-50])
        slow.append(100 * (theirs.predict(x[-50:]) != labels[-50:]).mean())
    np.testing.assert_allclose(errors, slow)
    refitted = RidgeClassifier(alpha=lin_reg.PENALTIES[int(np.argmin(slow))]).fit(x, labels)
    np.testing.assert_allclose(2 * weights[:, :4], refitted.coef_.T, rtol=1e-6)
    assert not weights[:, 4:].any()  # of the ten classes only four are there


def test_random_features_are_rectified_projections(rng):
    units = lin_reg.random_features(6, 500, rng)
    x = rng.normal(size=(40, 6))
    features = lin_reg.relu(x, units)
    np.testing.assert_allclose(features, (x @ units[0] + units[1]).clip(min=0))
    assert 0.3 < (features == 0).mean() < 0.7


def test_learning_beats_the_largest_class(rng):
    """On rings a line is no better than always saying the same; random features are all right."""
    (x, y), (fresh, truth) = lin_reg.rings(rng), lin_reg.rings(rng)
    line = lin_reg.error_rate(lin_reg.plane(x, y, 1.0, None, fresh), truth)
    lifted = lin_reg.error_rate(lin_reg.plane(x, y, 1.0, lin_reg.random_features(2, 300, rng), fresh), truth)
    assert 30 < line < 70 and lifted < 3


def test_error_rate_is_a_percentage():
    assert lin_reg.error_rate(np.array([1, 2, 3, 4]), np.array([1, 2, 3, 3])) == 25


@pytest.mark.parametrize("argument", [["--features", "0"], ["--device", "cuda"], ["--redraws", "1"], ["--seed", "-1"]])
def test_a_wrong_argument_gets_a_sentence(argument, capsys):
    with pytest.raises(SystemExit) as stopped:
        lin_reg.parse_args(argument)
    assert stopped.value.code == 2 and argument[0] in capsys.readouterr().err


def test_an_output_folder_that_cannot_be_written_gets_a_sentence(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit) as stopped:
        lin_reg.parse_args(["--out", str(tmp_path / "file")])
    assert stopped.value.code == 2 and "--out" in capsys.readouterr().err
