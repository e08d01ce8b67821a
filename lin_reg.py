# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy", "scikit-learn", "torchvision", "matplotlib", "tqdm"]
# ///
"""Linear regression: what one closed form can do, and what it can't
Trefethen & Bau 1997; the linear classifiers of LeCun et al. 1998 (Proceedings of the IEEE 86)

    python lin_reg.py              everything
    python lin_reg.py --smoke      on almost nothing, to see that it runs

The idea
    Least squares asks for the β that brings Xβ nearest to y. At the nearest point the error is at right angles to
    every column of X, and that sentence is the solution:

        Xᵀ(y − Xβ) = 0   ⇒   β = (XᵀX)⁻¹ Xᵀy                                      (normal equations)

    Forming XᵀX squares the condition number κ of X, so half the digits can be gone before solving starts; a QR or
    singular value decomposition works on X itself and keeps them. Gradient descent walks down the same bowl, and
    needs about κ² steps because the bowl is κ² times longer than wide.

    Ridge regression adds λ|β|² and with it a λ to every eigenvalue of XᵀX. So one eigendecomposition XᵀX = V S Vᵀ
    gives the solution for *every* λ, each for the price of a small product:

        W(λ) = V (S + λ)⁻¹ Vᵀ XᵀY                                                 (ridge path)

    With a one-hot row in Y for each image that is a classifier. It sees the data through sums alone: a count, a sum
    and a sum of outer products for each class. Such sums add, so the final fit on training plus validation images,
    and the classifier of any pair of classes, need no second look at the data.

Symbols
    X, y    x, y          (n, p), (n,)     data; rows are examples
    β       beta          (p,)             coefficients
    λ       penalty       scalar ≥ 0       strength of the ridge
    W(λ)    weights       (L, p, k)        one weight image a class, for each of L penalties
    κ       condition     scalar ≥ 1       largest over smallest singular value of X

Built from scratch
    Everything that fits: normal equations, QR and SVD solutions, gradient descent, standard errors, the ridge path,
    the pairwise classifier and random features, in NumPy. Tests hold them against scikit-learn's LinearRegression,
    Ridge and RidgeClassifier, SciPy's lstsq, and the standard errors against SciPy's linregress.

Claims
    1. The normal equations lose twice the digits: their error grows as κ², that of QR and SVD as κ
       (Trefethen & Bau 1997, lectures 18 and 19).
    2. The standard errors σ √diag (XᵀX)⁻¹ are the spread that 1,000 re-drawn data sets show.
    3. Forty-five classifiers for pairs of digits beat ten of one digit against the rest
       (LeCun et al. 1998, Fig. 9: 7.6% and 12.0% test error).
    4. The whole ridge path takes no longer than one scikit-learn RidgeClassifier(solver="cholesky").
    5. No straight line can part two rings. The same closed form on random ReLU features does, and it at least
       halves the error on the digits: the readout wasn't what was missing.

Departures
    LeCun et al. trained their linear classifier step by step on 20x20 digits centred in 28x28; this is the exact
    minimum of the squared error with a penalty, and pairs vote (theirs add up the units' outputs).

Notes
    λ hardly matters for ten against the rest on MNIST: 60,000 images say enough about 784 weights. Validation error is
    15.0 or 15.1% from λ = 10⁻⁴ to 10, 14.5% at its best, 1,000, and grows from 10⁴ on. A large λ scales all
    scores down until the intercepts decide, so in the plane the rarest class vanishes first.
    The weight images have their strongest pixels at the rim, above the 6 and below the 7, where hardly any image has
    ink: a weight that is used by few images costs little when it is wrong.
    The first rate tried for gradient descent, 2 / (largest + smallest eigenvalue), is the fastest constant one, but it
    swings: after 1 step the line lay far above the points, after 2 near zero. 1 / largest comes from one side.
    In the race with scikit-learn the sums of rows decided: summing 47 million float32 in float64 first made the path
    slower (0.60 s against 0.51), in their own precision faster (0.47 against 0.54).
    Fitted from κ = 10 on, the exponents of QR and SVD were 0.88 and 0.84: there it is one last bit.
"""

import argparse
import json
import os
import platform
import time
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import NamedTuple
from urllib.request import Request, urlopen

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torchvision
from numpy import ndarray
from sklearn.datasets import load_digits
from sklearn.linear_model import RidgeClassifier
from tqdm import tqdm

NAME = Path(__file__).stem
TITLE = "What one closed form can do, and what it can't"
PENALTIES = 10.0 ** np.arange(-4, 7)  # λ, with pixels in [0, 1]


# %% Data


def reachable(url: str) -> bool:
    """Whether the network answers within four seconds, name look-up included."""
    answers = []

    def ask() -> None:
        with suppress(Exception):
            answers.append(urlopen(Request(url, method="HEAD"), timeout=4))

    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(4)
    return bool(answers)


def load_data(root: Path) -> tuple[str, ndarray, ndarray, ndarray, ndarray]:
    """MNIST where it is on disk or can be fetched, else scikit-learn's 1,797 real 8x8 digits.

    Returns the data set's name, training images (n, p) in [0, 1] as float32, labels (n,), the same for testing.
    """
    mnist = torchvision.datasets.MNIST
    try:
        try:
            sets = [mnist(root, train=train) for train in (True, False)]
        except RuntimeError:  # not on disk
            if not reachable(f"{mnist.mirrors[0]}train-images-idx3-ubyte.gz"):
                raise RuntimeError(f"no network, and nothing under {root}") from None
            sets = [mnist(root, train=train, download=True) for train in (True, False)]
    except (RuntimeError, OSError) as error:
        print(f"MNIST can't be had ({str(error).splitlines()[0]}): using scikit-learn's digits")
        x, y = load_digits(return_X_y=True)
        order = np.random.default_rng(0).permutation(len(x))
        x, y = (x[order] / 16).astype(np.float32), y[order]
        return "digits (stand-in for MNIST)", x[360:], y[360:], x[:360], y[:360]
    images = [s.data.numpy().reshape(len(s), -1) / np.float32(255) for s in sets]
    return "MNIST", images[0], sets[0].targets.numpy(), images[1], sets[1].targets.numpy()


def ill_conditioned(condition: float, rng: np.random.Generator, n: int = 40, p: int = 8) -> tuple[ndarray, ndarray]:
    """X (n, p) with singular values from 1 down to 1/condition, and a true β (p,) of length 1."""
    left, _ = np.linalg.qr(rng.normal(size=(n, p)))
    right, _ = np.linalg.qr(rng.normal(size=(p, p)))
    beta = rng.normal(size=p)
    return left * np.geomspace(1, 1 / condition, p) @ right.T, beta / np.linalg.norm(beta)


def blobs(rng: np.random.Generator) -> tuple[ndarray, ndarray]:
    """Three Gaussian clouds of unequal size: points (330, 2), labels (330,)."""
    sizes, centres = [200, 100, 30], np.array([[0, 0], [2.5, 0.5], [1, 2.5]])
    y = np.repeat(np.arange(3), sizes)
    return centres[y] + rng.normal(size=(len(y), 2)) * [0.8, 0.6], y


def rings(rng: np.random.Generator, n: int = 400) -> tuple[ndarray, ndarray]:
    """A ring inside another: points (n, 2), labels (n,)."""
    y = np.arange(n) % 2
    angle, radius = rng.uniform(0, 2 * np.pi, n), 1 + 1.5 * y + rng.normal(0, 0.2, n)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1), y


# %% Model


def by_normal_equations(x: ndarray, y: ndarray) -> ndarray:
    return np.linalg.solve(x.T @ x, x.T @ y)


def by_qr(x: ndarray, y: ndarray) -> ndarray:
    """X = QR turns the normal equations into Rβ = Qᵀy, in which XᵀX never appears."""
    q, r = np.linalg.qr(x)
    return np.linalg.solve(r, q.T @ y)


def by_svd(x: ndarray, y: ndarray, cutoff: float = 1e-15) -> ndarray:
    """β = V S⁻¹ Uᵀ y, without the directions that X can't see: the shortest β where there are many."""
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    seen = s > cutoff * max(x.shape) * s[0]
    return vt[seen].T @ ((u[:, seen].T @ y) / s[seen])


def by_gradient_descent(x: ndarray, y: ndarray, steps: int) -> ndarray:
    """All the iterates (steps + 1, p), from 0, down the gradient Xᵀ(Xβ − y) at the rate 1 / its largest eigenvalue."""
    gram, cross = x.T @ x, x.T @ y
    learning_rate = 1 / np.linalg.eigvalsh(gram)[-1]
    path = np.zeros((steps + 1, x.shape[1]))
    for step in range(steps):
        path[step + 1] = path[step] - learning_rate * (gram @ path[step] - cross)
    return path


def standard_errors(x: ndarray, y: ndarray, beta: ndarray) -> ndarray:
    """σ̂ √diag (XᵀX)⁻¹ with σ̂² = |y − Xβ|² / (n − p): (p,), in the units of β."""
    residual = y - x @ beta
    variance = residual @ residual / (len(x) - x.shape[1])
    return np.sqrt(variance * np.diag(np.linalg.inv(x.T @ x)))


class Moments(NamedTuple):
    """All that ridge regression on one-hot targets needs to know of the data. Moments of two data sets add."""

    count: ndarray  # (k,)
    total: ndarray  # (k, p)    sum of each class's rows
    gram: ndarray  # (k, p, p)  sum of their outer products


def moments(x: ndarray, labels: ndarray, classes: int = 10) -> Moments:
    """One pass over the data x (n, p), labels (n,) in 0 .. classes − 1."""
    rows = [x[labels == c] for c in range(classes)]
    count = np.array([len(r) for r in rows], dtype=float)
    return Moments(count, np.stack([r.sum(0) for r in rows]), np.stack([r.T @ r for r in rows]))


def ridge_path(data: Moments, penalties: ndarray) -> tuple[ndarray, ndarray]:
    """Minimum of |Y − XW − b|² + λ|W|² over W and b for every λ: weights (L, p, k), intercepts (L, k).

    Y is one-hot; the intercept b isn't penalized, which is the same as centring X and Y first.
    """
    n = data.count.sum()
    mean = data.total.sum(0) / n  # (p,)
    gram = data.gram.sum(0, dtype=float) - n * np.outer(mean, mean)  # of centred rows, (p, p)
    cross = data.total.T - np.outer(mean, data.count)  # XᵀY, centred, (p, k)
    s, v = np.linalg.eigh(gram)
    seen = s > 1e-13 * s[-1]  # directions without data get weight 0, as λ → 0 would have it
    s, v = s[seen], v[:, seen]
    weights = np.stack([v / (s + penalty) @ (v.T @ cross) for penalty in penalties])
    return weights, data.count / n - mean @ weights


def pairwise_path(data: Moments, penalties: ndarray) -> tuple[ndarray, ndarray]:
    """A ridge classifier for each of the k(k − 1)/2 pairs of classes, score > 0 for the first of the two.

    weights (L, p, pairs), intercepts (L, pairs); pairs in the order of np.triu_indices(k, 1).
    """
    weights, intercepts = [], []
    for pair in zip(*np.triu_indices(len(data.count), 1)):
        w, b = ridge_path(Moments(*(part[list(pair)] for part in data)), penalties)
        weights.append(w[..., 0] - w[..., 1])
        intercepts.append(b[..., 0] - b[..., 1])
    return np.stack(weights, axis=-1), np.stack(intercepts, axis=-1)


def vote(scores: ndarray, classes: int = 10) -> ndarray:
    """Scores (n, pairs) of the pairwise classifiers to labels (n,): who wins most pairs, ties by the summed score."""
    first, second = np.triu_indices(classes, 1)
    sides = np.eye(classes)[first] - np.eye(classes)[second]  # +1 for a pair's first class, −1 for its second
    return (np.sign(scores) @ sides + np.tanh(scores @ sides / classes)).argmax(1)  # tanh < 1 settles ties only


def random_features(p: int, count: int, rng: np.random.Generator) -> tuple[ndarray, ndarray]:
    """Directions (p, count) and offsets (count,) of fixed random ReLU units."""
    return rng.normal(size=(p, count)).astype(np.float32) * 2 / p**0.5, rng.normal(size=count).astype(np.float32)


def relu(x: ndarray, units: tuple[ndarray, ndarray]) -> ndarray:
    """(n, p) to (n, count)."""
    return np.maximum(x @ units[0] + units[1], 0)


# %% Training


def choose(fit, decide, x: ndarray, y: ndarray, held_out: int) -> tuple[ndarray, ndarray, ndarray]:
    """Picks λ on the last held_out rows, then fits on all rows, which takes nothing but adding moments.

    Returns the validation error of each λ (L,) in percent, and the weights and intercepts of the best one.
    """
    train, validation = moments(x[:-held_out], y[:-held_out]), moments(x[-held_out:], y[-held_out:])
    fitted = zip(*fit(train, PENALTIES))
    errors = np.array([error_rate(decide(x[-held_out:] @ w + b), y[-held_out:]) for w, b in fitted])
    best = errors.argmin()
    weights, intercepts = fit(Moments(*map(np.add, train, validation)), PENALTIES[best : best + 1])
    return errors, weights[0], intercepts[0]


def error_rate(predicted: ndarray, y: ndarray) -> float:
    """In percent."""
    return 100 * float((predicted != y).mean())


def largest_score(scores: ndarray) -> ndarray:
    return scores.argmax(1)


# %% Experiments


def digits_lost(conditions: ndarray, problems: int, rng: np.random.Generator) -> dict[str, ndarray]:
    """Median relative error |β̂ − β| of four solvers on noise-free problems, at each condition number."""
    solvers = {
        "normal equations": by_normal_equations,
        "QR": by_qr,
        "SVD": by_svd,
        "gradient descent, 1,000 steps": lambda x, y: by_gradient_descent(x, y, 1000)[-1],
    }
    errors = {name: np.full((len(conditions), problems), np.inf) for name in solvers}
    for row, condition in enumerate(conditions):
        for problem in range(problems):
            x, beta = ill_conditioned(condition, rng)
            for name, solve in solvers.items():
                with suppress(np.linalg.LinAlgError):  # XᵀX may come out exactly singular
                    errors[name][row, problem] = np.linalg.norm(solve(x, x @ beta) - beta)
    return {name: np.median(e, axis=1) for name, e in errors.items()}


def slope(x: ndarray, y: ndarray) -> float:
    """The exponent a of y ∝ xᵃ."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def redraw(redraws: int, rng: np.random.Generator, n: int = 50) -> tuple[ndarray, ndarray]:
    """Data sets that differ in their noise only: all coefficients and all standard errors, (redraws, p) each."""
    x = np.stack([np.ones(n), *rng.normal(size=(2, n)), rng.uniform(0, 4, n)], axis=1)
    x[:, 2] = 0.9 * x[:, 1] + 0.45 * x[:, 2]  # two columns that say nearly the same, and so are told apart badly
    ys = x @ np.array([1, 2, -1, 0.5]) + rng.normal(size=(redraws, n))  # noise of deviation 1
    fits = [(beta := by_qr(x, y), standard_errors(x, y, beta)) for y in ys]
    return tuple(np.array(part) for part in zip(*fits))


def race(x: ndarray, y: ndarray, rows: int, repeats: int) -> tuple[float, float]:
    """Seconds for our whole ridge path and for one scikit-learn fit, on the same rows; the best of a few repeats each.

    A smaller data set is repeated until there are enough rows: the time depends on the shape alone.
    """
    x, y = np.resize(x, (rows, x.shape[1])), np.resize(y, rows)
    seconds = np.empty((repeats, 2))
    for repeat in range(repeats):
        start = time.perf_counter()
        ridge_path(moments(x, y), PENALTIES)
        middle = time.perf_counter()
        RidgeClassifier(alpha=1.0, solver="cholesky").fit(x, y)
        seconds[repeat] = middle - start, time.perf_counter() - middle
    return tuple(seconds.min(0).tolist())


def plane(x: ndarray, y: ndarray, penalty: float, units: tuple | None, at: ndarray) -> ndarray:
    """Labels (m,) that the ridge classifier of points x (n, 2) gives to the points `at` (m, 2)."""
    seen = x if units is None else relu(x, units)
    weights, intercepts = ridge_path(moments(seen, y, y.max() + 1), np.array([penalty]))
    return largest_score((at if units is None else relu(at, units)) @ weights[0] + intercepts[0])


def planes(features: int, seed: int) -> tuple[list, list[float]]:
    """Panels for the figure, and the error (%) on fresh rings of a line and of random features."""
    units, panels, errors = random_features(2, features, np.random.default_rng(seed)), [], []
    for title, make, penalty, lifted in [
        ("λ = 1", blobs, 1.0, None),
        ("λ = 100", blobs, 100.0, None),
        ("λ = 1,000:\nthe rarest class is gone", blobs, 1000.0, None),
        ("No line parts two rings", rings, 1.0, None),
        ("… random features do", rings, 1.0, units),
    ]:
        (x, y), (fresh, truth) = (make(np.random.default_rng(seed + k)) for k in range(2))
        mesh = np.meshgrid(*np.linspace(x.min(0) - 0.3, x.max(0) + 0.3, 200).T)
        said = plane(x, y, penalty, lifted, np.stack([m.ravel() for m in mesh], axis=1))
        panels.append((title, x, y, mesh, said.reshape(mesh[0].shape)))
        errors.append(error_rate(plane(x, y, penalty, lifted, fresh), truth))
    return panels, errors[3:]


class Outcome(NamedTuple):
    """What became of one way to classify digits."""

    validation: ndarray  # (L,)     error of each λ, in percent
    weights: ndarray  # (p, k)
    predicted: ndarray  # (n_test,)
    error: float  # on the test images, in percent


def classify(data: list[ndarray], features: int, draws: int, rng: np.random.Generator) -> dict[str, list[Outcome]]:
    """Ridge on the pixels, on pairs of digits, and on a few draws of random features; λ chosen alike for all."""
    x, y, x_test, y_test = data
    every = [random_features(x.shape[1], features, rng) for _ in range(draws)]
    arms = [("one against rest", ridge_path, largest_score, None), ("pairs, voting", pairwise_path, vote, None)]
    arms += [(f"{features:,} ReLU features", ridge_path, largest_score, units) for units in every]
    outcomes = {}
    for name, fit, decide, units in tqdm(arms, desc="classifiers", disable=None):
        seen, fresh = (x, x_test) if units is None else (relu(x, units), relu(x_test, units))
        validation, weights, intercepts = choose(fit, decide, seen, y, held_out=len(x) // 6)
        predicted = decide(fresh @ weights + intercepts)
        outcome = Outcome(validation, weights, predicted, error_rate(predicted, y_test))
        outcomes.setdefault(name, []).append(outcome)
    return outcomes


# %% Figure


def draw_least_squares(figure, rng: np.random.Generator, conditions: ndarray, lost: dict, redrawn: tuple) -> None:
    """A line fitted two ways; error against condition number; re-drawn coefficients against the formula."""
    line, error, spread = figure.subplots(1, 3)
    x = rng.uniform(0, 4, 30)
    y = 1 + 0.8 * x + rng.normal(0, 0.5, 30)
    design, grid = np.stack([np.ones(30), x], axis=1), np.array([[1, 0], [1, 4]])
    descent = by_gradient_descent(design, y, 100)
    for step in (0, 1, 30):
        line.plot([0, 4], grid @ descent[step], color="C1", lw=1, label=None if step else "gradient descent by steps")
        line.text(-0.05, descent[step, 0], step, color="C1", fontsize=8, va="center", ha="right")
    line.plot([0, 4], grid @ by_qr(design, y), "k", label="normal equations = QR = SVD")
    line.plot(x, y, ".", color="C0")
    line.set(title="One closed form, or many small steps", xlabel="x", ylabel="y", xlim=(-0.5, 4.1))
    line.legend(fontsize=8, loc="upper left")

    for errors, colour in zip(lost.values(), ("C3", "C0", "C2", "C1")):
        error.loglog(conditions, errors, "o-", ms=3, color=colour)
    error.text(3e2, 3e-3, "gradient descent,\n1,000 steps", color="C1")
    error.text(1e2, 3e-7, "normal\nequations, ∝ κ²", color="C3")
    error.text(3e3, 2e-16, "QR and SVD, ∝ κ", color="C2")
    for power in (1, 2):
        error.loglog(conditions, 1e-17 * conditions**power, "k:", lw=1)
    error.set(title="XᵀX squares the condition number", xlabel="condition number κ of X", ylabel="relative error of β")
    error.set_ylim(1e-17, 1e1)

    coefficients, formula = redrawn
    for body in spread.violinplot(coefficients - coefficients.mean(0), showextrema=False, widths=0.8)["bodies"]:
        body.set(facecolor="C0", alpha=0.4)
    bars = 1.96 * (formula**2).mean(0) ** 0.5
    spread.errorbar(range(1, 5), 0 * bars, bars, fmt="none", color="k", capsize=6, label="±1.96 standard errors")
    spread.set_xticks(range(1, 5), ["intercept", "x₁", "x₂ ≈ 0.9 x₁", "x₃"])
    spread.set(title=f"Standard errors foretell {len(coefficients):,} re-draws", ylabel="coefficient − its mean")
    spread.legend(fontsize=8)


def draw_digits(figure, outcomes: dict[str, list[Outcome]], y_test: ndarray) -> None:
    """Error along the ridge path; the weights as images; the confusion matrix."""
    route, pictures, confusion = figure.subfigures(1, 3, width_ratios=[1, 1.5, 1])
    axis = route.subplots()
    for (name, (outcome, *_)), colour in zip(outcomes.items(), ("C0", "C4", "C2")):
        errors = outcome.validation
        axis.loglog(PENALTIES, errors, "o-", ms=4, color=colour, label=f"{name}: {outcome.error:.1f}% on test")
        axis.plot(PENALTIES[errors.argmin()], errors.min(), "*", ms=14, color=colour)
    axis.set(title="Every λ from one decomposition", xlabel="penalty λ", ylabel="validation error (%)")
    axis.set_yticks([1, 2, 5, 10, 20, 50], ["1", "2", "5", "10", "20", "50"])
    axis.set_ylim(top=400)
    axis.minorticks_off()
    axis.legend(fontsize=8)

    ridge = outcomes["one against rest"][0]
    side = int(len(ridge.weights) ** 0.5)
    limit = np.quantile(np.abs(ridge.weights), 0.995)
    pictures.suptitle("A weight image for each digit (red: for it, blue: against)", fontsize=12)
    for digit, axis in enumerate(pictures.subplots(2, 5).flat):
        axis.imshow(ridge.weights[:, digit].reshape(side, side), cmap="RdBu_r", vmin=-limit, vmax=limit)
        axis.set_title(digit)
        axis.axis("off")

    axis = confusion.subplots()
    table = np.zeros((10, 10), dtype=int)
    np.add.at(table, (y_test, ridge.predicted), 1)
    axis.imshow(np.where(np.eye(10, dtype=bool), np.nan, table), cmap="Reds")
    for row, column in np.ndindex(10, 10):
        axis.text(column, row, table[row, column] or "", ha="center", va="center", fontsize=7.5)
    axis.set(title="What the ridge classifier mistakes", xlabel="said", ylabel="is", xticks=range(10), yticks=range(10))


def draw_planes(figure, panels: list) -> None:
    for axis, (title, x, y, mesh, labels) in zip(figure.subplots(1, 5), panels):
        axis.contourf(*mesh, labels, levels=[-0.5, 0.5, 1.5, 2.5], colors=["C0", "C1", "C2"], alpha=0.3)
        axis.scatter(*x.T, c=[f"C{label}" for label in y], s=5)
        axis.set_title(title, fontsize=10)
        axis.set(xticks=[], yticks=[], xlabel="x₁", ylabel="x₂")


# %% Run


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"), help="where data sets are kept")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="where the figure and the results go")
    parser.add_argument("--device", default="cpu", help="cpu, as NumPy knows nothing else")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--features", type=int, default=2000, help="random ReLU features")
    parser.add_argument("--redraws", type=int, default=1000, help="data sets for the standard errors")
    parser.add_argument("--smoke", action="store_true", help="on almost nothing, to see that it runs")
    args = parser.parse_args(argv)
    if args.device != "cpu":
        parser.error(f"--device {args.device}: this script is NumPy, which computes on the cpu only")
    if args.features < 1 or args.redraws < 2 or args.seed < 0:
        parser.error("--features must be at least 1, --redraws at least 2, --seed at least 0")
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--out {args.out}: {error.strerror}")
    if not os.access(args.out, os.W_OK):
        parser.error(f"--out {args.out}: can't be written to")
    return args


def main(argv: list[str] | None = None) -> dict:
    args = parse_args(argv)
    started = time.perf_counter()
    rng = np.random.default_rng(args.seed)
    dataset, x, y, x_test, y_test = load_data(args.data)
    order = rng.permutation(len(x))
    x, y = x[order], y[order]
    features, redraws, draws, problems, rows, repeats = args.features, args.redraws, 3, 20, 60_000, 5
    if args.smoke:
        x, y, features, redraws, draws, problems, rows, repeats = x[:1200], y[:1200], 40, 100, 2, 3, 1000, 1

    conditions = 10.0 ** np.arange(0, 8.1, 0.5)
    lost = digits_lost(conditions, problems, rng)
    redrawn = redraw(redraws, rng)
    ours, sklearns = race(x, y, rows, repeats)
    outcomes = classify([x, y, x_test, y_test], features, draws, rng)
    panels, (line, lifted) = planes(features, args.seed)

    figure = plt.figure(figsize=(12, 11), layout="constrained")
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=[1, 1, 0.85])
    draw_least_squares(top, rng, conditions, lost, redrawn)
    draw_digits(middle, outcomes, y_test)
    draw_planes(bottom, panels)
    figure.savefig(args.out / f"{NAME}.png", dpi=100)
    plt.close(figure)

    trusted = (conditions >= 100) & (conditions <= 1e7)  # the last bit below, no digit left to lose beyond
    normal, qr, svd, _ = (slope(conditions[trusted], error[trusted]) for error in lost.values())
    coefficients, formula = redrawn
    deviation = np.abs((formula**2).mean(0) ** 0.5 / coefficients.std(0, ddof=1) - 1).max()
    chance = 3.5 / (2 * redraws) ** 0.5  # 3.5 standard errors of a standard deviation
    (rest,), (pairs,), lifts = outcomes.values()
    gain = 100 * ((rest.predicted != y_test).astype(float) - (pairs.predicted != y_test))  # per test image
    spread = gain.std(ddof=1) / len(gain) ** 0.5
    random_errors = np.array([outcome.error for outcome in lifts])
    claims = [
        (
            "the normal equations' error grows as κ², that of QR and SVD as κ",
            "κ² and κ (Trefethen & Bau 1997, lectures 18, 19)",
            f"exponents {normal:.2f}, {qr:.2f} and {svd:.2f}, medians of {problems} problems, κ from 10² to 10⁷",
            abs(normal - 2) < 0.2 and max(abs(qr - 1), abs(svd - 1)) < 0.2,
        ),
        (
            "the formula's standard errors are the spread over re-drawn data",
            "σ √diag (XᵀX)⁻¹",
            f"off by {100 * deviation:.1f}% at most over {redraws:,} re-draws (by chance: {100 * chance:.1f}%)",
            deviation < chance,
        ),
        (
            "voting pairs beat one digit against the rest",
            "7.6% and 12.0% (LeCun et al. 1998, Fig. 9)",
            f"{pairs.error:.1f}% and {rest.error:.1f}%, {gain.mean():.1f} ± {spread:.1f} points, {len(gain):,} images",
            gain.mean() > 2 * spread,
        ),
        (
            f"the path of {len(PENALTIES)} λ takes no longer than one RidgeClassifier(solver='cholesky')",
            "—",
            f"{ours:.2f} s against {sklearns:.2f} s on {rows:,} x {x.shape[1]}, same process, best of {repeats}",
            ours <= sklearns,
        ),
        (
            "a line can't part two rings; random ReLU features can, and at least halve the error on the digits",
            "—",
            f"rings {line:.0f}% and {lifted:.1f}%; digits {rest.error:.1f}% and {random_errors.mean():.1f}% "
            f"({draws} draws, worst {random_errors.max():.1f}%)",
            line > 30 and lifted < 2 and random_errors.max() < rest.error / 2,
        ),
    ]
    results = {
        "script": f"{NAME}.py",
        "title": TITLE,
        "data": dataset,
        "seed": args.seed,
        "smoke": args.smoke,
        "device": "cpu",
        "seconds": round(time.perf_counter() - started, 1),
        "versions": {"python": platform.python_version(), "numpy": np.__version__},
        "metrics": {
            "one against rest: test error (%)": rest.error,
            "pairs, voting: test error (%)": pairs.error,
            "random ReLU features: test error (%)": random_errors.mean(),
            "one against rest: best λ": PENALTIES[rest.validation.argmin()],
            "pairs, voting: best λ": PENALTIES[pairs.validation.argmin()],
            "random ReLU features: best λ": PENALTIES[lifts[0].validation.argmin()],
            "ridge path, all λ (s)": ours,
            "RidgeClassifier, one λ (s)": sklearns,
        },
        "claims": [{"claim": c, "paper": p, "here": h, "holds": bool(holds)} for c, p, h, holds in claims],
    }
    (args.out / f"{NAME}.json").write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    for claim in results["claims"]:
        verdict = "not judged" if args.smoke else "holds" if claim["holds"] else "FAILS"
        print(f"{verdict:>10}  {claim['claim']}\n{'':12}paper: {claim['paper']}; here: {claim['here']}")
    print(f"{args.out / NAME}.png, .json: {dataset}, {results['seconds']} s on {results['device']}")
    return results


if __name__ == "__main__":
    main()
