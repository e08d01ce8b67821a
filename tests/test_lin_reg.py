"""The solvers of lin_reg.py against scikit-learn, SciPy and the long way round."""

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch
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
    return 3 + 1.5 * rng.normal(size=(4, 9))[labels] + rng.normal(size=(200, 9)) * rng.uniform(
        0.5, 2, 9
    ), labels


@pytest.mark.parametrize("solve", SOLVERS)
@pytest.mark.parametrize("n, p", [(20, 1), (30, 7), (8, 8)])
def test_solvers_equal_scikit_learn(solve, n, p, rng):
    x, y = rng.normal(size=(n, p)), rng.normal(size=n)
    np.testing.assert_allclose(
        solve(x, y), LinearRegression(fit_intercept=False).fit(x, y).coef_, rtol=1e-8
    )
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
    np.testing.assert_allclose(
        vt[3:] @ beta, 0, atol=1e-12
    )  # nothing in the directions that X can't see


def test_more_columns_than_rows_gets_the_shortest_solution(rng):
    x, y = rng.normal(size=(5, 12)), rng.normal(size=5)
    np.testing.assert_allclose(lin_reg.by_svd(x, y), scipy.linalg.lstsq(x, y)[0], atol=1e-12)


def test_gradient_descent_steps_down_the_gradient_and_arrives(rng):
    x, y = rng.normal(size=(40, 5)), rng.normal(size=40)
    np.testing.assert_allclose(
        lin_reg.by_gradient_descent(x, y, 1), x.T @ y / np.linalg.norm(x, 2) ** 2
    )
    np.testing.assert_allclose(
        lin_reg.by_gradient_descent(x, y, 2000), lin_reg.by_qr(x, y), atol=1e-8
    )


def test_gradient_descent_shrinks_the_error_by_one_minus_one_over_condition_squared(rng):
    x, beta = lin_reg.ill_conditioned(50.0, rng)
    early, late = (
        lin_reg.by_gradient_descent(x, x @ beta, steps) - beta for steps in (20_000, 21_000)
    )
    assert np.linalg.norm(late) / np.linalg.norm(early) == pytest.approx(
        (1 - 1 / 50**2) ** 1000, rel=1e-6
    )


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
    weights, intercepts = lin_reg.ridge_path(x, labels, np.array([7.0, penalty]))
    assert weights.shape == (2, 9, 10) and intercepts.shape == (2, 10)
    theirs = Ridge(alpha=penalty).fit(x, np.eye(10)[labels])
    np.testing.assert_allclose(weights[1], theirs.coef_.T, rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(intercepts[1], theirs.intercept_, rtol=1e-7, atol=1e-10)


def test_classifying_chooses_on_the_held_out_rows_and_predicts_as_scikit_learns_ridge_classifier(
    labelled,
):
    x, labels = labelled
    ours = lin_reg.classify(x[:180], labels[:180], x[180:], labels[180:])
    slow = []
    for penalty in lin_reg.PENALTIES:
        theirs = RidgeClassifier(alpha=penalty).fit(x[:150], labels[:150])
        slow.append(100 * (theirs.predict(x[150:180]) != labels[150:180]).mean())
    np.testing.assert_allclose(ours["validation"], slow)
    assert min(slow) < max(slow) and ours["best"] == np.argmin(slow)
    chosen = RidgeClassifier(alpha=lin_reg.PENALTIES[ours["best"]]).fit(x[:150], labels[:150])
    np.testing.assert_allclose(
        2 * ours["weights"][:, :4], chosen.coef_.T, rtol=1e-6
    )  # its targets are ±1, ours 0 and 1
    assert ours["test"] == pytest.approx(100 * (chosen.predict(x[180:]) != labels[180:]).mean())


def test_random_features_are_rectified_projections(rng):
    w, b = lin_reg.random_units(6, 500, rng)
    x = rng.normal(size=(40, 6)).astype(np.float32)
    features = lin_reg.relu_features(x, (w, b))
    np.testing.assert_allclose(features, torch.relu(torch.from_numpy(x @ w + b)).numpy())
    assert w.shape == (6, 500) and w.std() == pytest.approx(2 / 6**0.5, rel=0.05)
    assert 0.3 < (features == 0).mean() < 0.7


def test_on_two_rings_a_line_guesses_and_random_features_learn(rng):
    labels = np.arange(600) % 2
    angle, radius = rng.uniform(0, 2 * np.pi, 600), 1 + 1.5 * labels + rng.normal(0, 0.2, 600)
    x = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).astype(np.float32)
    bent = lin_reg.relu_features(x, lin_reg.random_units(2, 300, rng))
    line, lifted = (
        lin_reg.classify(f[:400], labels[:400], f[400:], labels[400:])["test"] for f in (x, bent)
    )
    assert 30 < line < 70 and lifted < 3  # half of the points lie on either ring


def test_the_spread_of_redrawn_coefficients_has_a_closed_form():
    coefficients, formula = lin_reg.redraw(3000, np.random.default_rng(0))
    assert coefficients.shape == formula.shape == (3000, 4)
    np.testing.assert_allclose(coefficients.mean(axis=0), [1, 2, -1, 0.5], atol=0.05)
    a, b, c = np.random.default_rng(0).normal(size=(3, 50))
    x = np.stack([np.ones(50), a, 0.9 * a + 0.45 * b, c], axis=1)
    np.testing.assert_allclose(
        np.cov(coefficients.T), np.linalg.inv(x.T @ x), atol=0.01
    )  # the noise has deviation 1


def test_exponent_of_a_power_law():
    x = np.geomspace(1, 100, 5)
    assert lin_reg.exponent(x, 3 * x**1.7) == pytest.approx(1.7)
