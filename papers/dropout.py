# /// script
# requires-python = ">=3.11"
# dependencies = ["torch", "torchvision", "scikit-learn", "matplotlib", "tqdm"]
# ///
"""Dropout: A Simple Way to Prevent Neural Networks from Overfitting
Srivastava, Hinton, Krizhevsky, Sutskever & Salakhutdinov, 2014 (JMLR 15)

    python papers/dropout.py              the experiments
    python papers/dropout.py --smoke      a few steps, to see that it runs

The idea
    A unit that can count on certain others being there learns to correct their mistakes, and what such a team has
    learned is often only the training set. Dropout makes company unreliable: for every example, at every step,
    each unit is kept with probability p and set to 0 otherwise (sec. 4):

        r ~ Bernoulli(p),    x̃ = r * x,    z = W x̃ + b

    So each step trains another of 2^n thinned nets, which all share their weights. To predict one would average
    them all. One pass through the whole net with the weights scaled, W_test = p W, stands in for it: E[r * x] = p x,
    so that every unit gets the input it got on average; the variance, p(1 − p) x², is the noise it was hardened by.

    In linear regression the average over the masks can be done on paper (sec. 9.1):

        E |y − (R * X) w|² = |y − p X w|² + p(1 − p) |Γ w|²,    Γ = diag(XᵀX)^(1/2)

    This is ridge regression in which a weight pays by how much its input varies: w = [p XᵀX + (1 − p) Γ²]⁻¹ Xᵀy.

Symbols
    p      keep, keeps    scalar, one a layer        probability that a unit is retained (input, then hidden layers)
    r, R   mask           like what it multiplies    1 for kept, 0 for dropped
    c      radius         (n,)                       largest norm of a hidden unit's incoming weights (sec. 5.1)
    k      samples        scalar                     thinned nets in a Monte-Carlo average (sec. 7.5)
    Γ²     power          (d,)                       sum of squares of each input column

Built from scratch
    The mask, the scaling at test time, max-norm, Monte-Carlo averaging, momentum, and ridge regression in the form
    above; many nets at once (leading dimension n). Tests hold them against nets of torch.nn with torch.optim.SGD and
    torch.renorm, sums over all masks, scikit-learn's Ridge, and the mask's expectation and variance.

Claims
    1. Dropout lowers the test error of a net with two hidden layers (Table 2).
    2. Max-norm with dropout lowers it further (Table 2).
    3. From 100 and 500 examples dropout gains nothing (Fig. 10).
    4. With more examples the gain rises, then falls (Fig. 10).
    5. Averaging k thinned nets is worse than scaled weights for k = 1, and meets them by k = 50 (Fig. 11).
    6. An autoencoder's hidden units are sparser with dropout: more zeros and a lower mean (Fig. 8).
    7. Each of its features makes sense by itself: strokes and spots, not noise (Fig. 7).
    8. Dropout on linear regression converges to that ridge regression as masks^(−1/2) (sec. 9.1).

Departures
    Images of 14x14, two hidden layers of 256 units (paper: 28x28, 1,024 and more), and so that there is something to
    overfit, 1,000 images in claims 1 and 2. 3,000 steps of 50 images, the learning rate falling to 0 (paper: a
    million steps). Every arm, max-norm with its two radii included, takes the best of one grid of rates by the error
    on images kept aside, on two of its five seeds; the other sizes of Fig. 10 take the rates found at 1,000.
    The autoencoders learn from 10,000 images (1,000 digits) and start at a tenth of the classifiers' weights. Strokes
    and spots are judged by the correlation of neighbouring weights, which is 0 for noise.

Notes
    Dropout needs time. In a draft with 800 steps and 2,000 images it gained 0.1 points, with 3,000 steps 0.9.
    Fig. 10 comes out the other way round, and claims 3 and 4 FAIL: on MNIST dropout gains most from 100 to 1,000
    images (1.2 to 3.5 points) and loses half a point at 5,000, where 3,000 steps are too few for it and 256 units
    with half of them gone too narrow: 5,000 steps bring it from 2.95 to 2.43% (rate 0.1, images kept aside), the
    standard net to 2.30. The paper's nets are four times as wide. With seed 2 the gain is largest at 500 by more than
    the spread, and claim 4 holds.
    Max-norm adds nothing (claim 2 FAILS in all six runs, −0.12 to +0.36 points): norms stay at 1.5 to 1.9 where c is 2
    or 3. The paper has it go with rates far larger than ours. c = 1 and a rate of 0.01 were tried on images
    kept aside and dropped, before the first full run.
    On the 1,797 digits claim 1 FAILS with every seed: dropout loses 1.1 to 1.7 points at 1,000 images. The 297 images
    kept aside chose 0.03 for it, where 0.1 does as well as no dropout (2.4%, other seeds): so few hardly tell rates
    apart. Claim 4 FAILS there too, and claim 3 holds at 500 only.
    Claim 6 FAILS in two of the six runs by its zeros, which differ by no more than the spread where the standard
    net's rate is 0.1; the mean is lower each time, by a half to two thirds. The arms are not equally good
    autoencoders: squared errors of 0.1 and 1.6.
    Noise that an autoencoder starts with stays. From first weights as large as the classifiers' all features look
    like noise after 2,000 steps, with correlations of 0.02 and 0.05; from a tenth 0.10 and 0.30.
    The ridge solution is approached as masks^(−1/2) only after a transient, of some 500 masks for gradient descent: a
    fit over all of its way gave −0.32. The fit begins at 512 masks.
"""

import argparse
import json
import math
import os
import platform
import time
from contextlib import suppress
from pathlib import Path
from threading import Thread
from urllib.request import Request, urlopen

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
import torchvision
from sklearn.datasets import load_digits
from torch import Generator, Tensor
from tqdm import tqdm

NAME = Path(__file__).stem
TITLE = "Dropout: A Simple Way to Prevent Neural Networks from Overfitting"
ARMS = {"standard": (1.0, 1.0, 1.0), "dropout": (0.8, 0.5, 0.5), "dropout + max-norm": (0.8, 0.5, 0.5)}  # keeps
COLOURS = {"standard": "0.45", "dropout": "C0", "dropout + max-norm": "C1"}
CODERS = {"standard": (1.0, 1.0), "dropout": (1.0, 0.5)}  # keeps of the autoencoders
RATES = [0.03, 0.1, 0.3]  # learning rates to try, the same for each arm
CODER_RATES = [0.01, 0.03, 0.1]
CODER_START = 0.1  # of the classifiers' first weights: what an autoencoder starts with is still to be seen at its end
RADII = [2.0, 3.0]  # of max-norm
TABLE_SIZE = 1000  # training images for claims 1 and 2, one of the sizes of claims 3 and 4
SAMPLES = [1, 2, 5, 10, 20, 50, 100]  # k


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


def load_data(root: Path) -> tuple[str, dict[str, tuple[Tensor, Tensor]], list[int]]:
    """MNIST, halved to 14x14, where it is on disk or can be fetched; else scikit-learn's 1,797 real 8x8 digits.

    Returns the data set's name; images (n, pixels) in [0, 1] with labels (n,) to train on, to choose settings by
    ("tune") and to judge on ("test"); and the sizes of training sets that it carries.
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
        x, y = (torch.tensor(array) for array in load_digits(return_X_y=True))
        order = torch.randperm(len(x), generator=Generator().manual_seed(0))
        name, x, y, sizes = "digits (stand-in for MNIST)", x[order].float() / 16, y[order], [100, 200, 500, 1000]
        ends = 1000, 1297, 1797
    else:
        x = torch.cat([F.avg_pool2d(s.data / 255, 2).flatten(1) for s in sets])
        name, y, sizes = "MNIST", torch.cat([s.targets for s in sets]), [100, 500, 1000, 2000, 5000]
        ends = 58_000, 60_000, 70_000
    parts = zip(("train", "tune", "test"), (0, *ends), ends)
    return name, {part: (x[start:end], y[start:end]) for part, start, end in parts}, sizes


# %% Model


def mask(like: Tensor, keep: float, draw: Generator) -> Tensor:
    """r ~ Bernoulli(keep), independent for every unit of every example: 0 or 1, shaped like `like` (sec. 4)."""
    return (torch.rand(like.shape, generator=draw, device=like.device) < keep).to(like.dtype)


def new_nets(sizes: tuple, seeds: list[int], dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """A net for each seed: weights (n, in, out), biases (n, 1, out) from 0, for each layer in turn."""
    draws, nets = [Generator().manual_seed(seed) for seed in seeds], []
    for i, o in zip(sizes, sizes[1:]):
        nets.append(torch.stack([torch.randn(i, o, generator=draw, dtype=dtype) * (2 / i) ** 0.5 for draw in draws]))
        nets.append(torch.zeros(len(seeds), 1, o, dtype=dtype))
    return nets


def forward(nets: list[Tensor], x: Tensor, keeps: tuple = (), draw: Generator | None = None) -> Tensor:
    """x (n, B, in), a batch for each net, to (n, B, out); with a generator, through a thinned net an example."""
    for layer, (weights, biases) in enumerate(zip(nets[::2], nets[1::2])):
        if layer > 0:
            x = x.relu()
        if draw is not None and keeps[layer] < 1:
            x = x * mask(x, keeps[layer], draw)
        x = torch.baddbmm(biases, x, weights)
    return x


def scaled(nets: list[Tensor], keeps: tuple) -> list[Tensor]:
    """W_test = p W: every unit then gets what it got on average while others were dropped (sec. 4, Fig. 2)."""
    return [w if i % 2 else keeps[i // 2] * w for i, w in enumerate(nets)]


def max_norm(nets: list[Tensor], radius: Tensor) -> None:
    """Brings incoming weights of hidden units back into a ball, |w| <= c, in place; radius (n,) (sec. 5.1)."""
    for weights in nets[:-2:2]:
        norm = weights.square().sum(1, keepdim=True).sqrt()  # (n, 1, out)
        weights *= (radius[:, None, None] / norm).clamp(max=1)


def thinned_predictions(nets: list[Tensor], x: Tensor, keeps: tuple, samples: int, draw: Generator) -> Tensor:
    """Class probabilities of `samples` thinned nets drawn anew for each image x (B, in): (samples, n, B, classes)."""
    x = x.expand(len(nets[0]), -1, -1)
    return torch.stack([forward(nets, x, keeps, draw).softmax(2) for _ in range(samples)])


def marginal_loss(x: Tensor, y: Tensor, w: Tensor, keep: float) -> Tensor:
    """E |y − (R * X) w|² over the masks R, in closed form (sec. 9.1): X (m, d), y (m,), w (d,) to a scalar."""
    power = x.square().sum(0)  # (d,) the diagonal of XᵀX
    return (y - keep * x @ w).square().sum() + keep * (1 - keep) * (power * w.square()).sum()


def ridge(x: Tensor, y: Tensor, keep: float) -> Tensor:
    """w (d,) where that loss is least."""
    return torch.linalg.solve(keep * x.T @ x + (1 - keep) * torch.diag(x.square().sum(0)), x.T @ y)


# %% Training


def batch_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Sum over nets of each one's mean over its batch: cross-entropy for labels (n, B), else half squared error."""
    if targets.is_floating_point():
        return 0.5 * (outputs - targets).square().sum() / targets.shape[1]
    return F.cross_entropy(outputs.flatten(0, 1), targets.flatten(), reduction="sum") / targets.shape[1]


def train(
    nets: list[Tensor], keeps: tuple, pools: Tensor, x: Tensor, targets: Tensor, rates: Tensor, steps: int,
    seeds: list[int], radius: Tensor | None = None, watch: tuple | None = None, batch: int = 50, momentum: float = 0.9,
) -> Tensor:  # fmt: skip
    """Stochastic gradient descent on all nets side by side, in place; the learning rate falls linearly to 0.

    pools (n, N): which of the examples each net may see; rates (n,); seeds choose the batches, the first the masks.
    Returns the error (%) of the scaled nets on `watch`, a tenth of the steps apart: (10, n), or empty.
    """
    orders = [Generator().manual_seed(seed) for seed in seeds]
    draw = Generator(x.device).manual_seed(seeds[0])
    velocity, history = [torch.zeros_like(w) for w in nets], []
    for step in tqdm(range(steps), desc=f"{len(seeds)} nets", disable=None):
        places = torch.stack([torch.randint(pools.shape[1], (batch,), generator=order) for order in orders])
        picks = pools.gather(1, places.to(x.device))  # (n, B)
        for w in nets:
            w.requires_grad_()
        grads = torch.autograd.grad(batch_loss(forward(nets, x[picks], keeps, draw), targets[picks]), nets)
        rate = rates[:, None, None] * (1 - step / steps)
        with torch.no_grad():
            for w, v, g in zip(nets, velocity, grads):
                v.mul_(momentum).add_(g)
                w -= rate * v
            if radius is not None:
                max_norm(nets, radius)
            if watch and (step + 1) * 10 // steps > step * 10 // steps:
                history.append(error(scaled(nets, keeps), *watch))
    for w in nets:
        w.requires_grad_(False)
    return torch.stack(history) if history else torch.empty(0)


@torch.no_grad()
def error(nets: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
    """(n,): wrong labels in percent, or squared error an image where y are images; each net on the same x (B, in)."""
    outputs = forward(nets, x.expand(len(nets[0]), -1, -1))
    if y.is_floating_point():
        return (outputs - y).square().sum(2).mean(1)
    return 100 * (outputs.argmax(2) != y).float().mean(1)


# %% Experiments


def trained(data: dict, keeps: tuple, size: int, width: int, steps: int, seeds: list, settings: list) -> tuple:
    """Nets for all settings (rate, c) and seeds, in this order, on `size` random images a seed: nets and history.

    As many layers as keeps; one hidden layer makes an autoencoder, two a classifier.
    """
    x, y = data["train"]
    ends = (x.shape[1], 10) if len(keeps) == 3 else (x.shape[1], x.shape[1])
    sizes = ends[0], *[width] * (len(keeps) - 1), ends[1]
    pools = torch.stack([torch.randperm(len(x), generator=Generator().manual_seed(seed))[:size] for seed in seeds])
    n = len(settings)
    scale = 1.0 if len(keeps) == 3 else CODER_START
    nets = [scale * w.to(x.device).repeat(n, 1, 1) for w in new_nets(sizes, seeds)]
    rates, radii = (torch.tensor(values, device=x.device).repeat_interleave(len(seeds)) for values in zip(*settings))
    watch = tuple(t[:1000] for t in data["test"]) if len(keeps) == 3 else None
    history = train(
        nets, keeps, pools.repeat(n, 1).to(x.device), x, y if len(keeps) == 3 else x, rates, steps, list(seeds) * n,
        radii if radii.isfinite().all() else None, watch,
    )  # fmt: skip
    return nets, history


def tuned(data: dict, keeps: tuple, size: int, width: int, steps: int, seeds: list, tries: list, first: int) -> tuple:
    """Chooses among the settings by the first seeds' error on "tune", then trains the other seeds with that choice.

    Returns the setting, its nets for all seeds, and their history (10, seeds) or an empty one.
    """
    x, y = data["tune"]
    nets, history = trained(data, keeps, size, width, steps, seeds[:first], tries)
    errors = error(scaled(nets, keeps), x, y if len(keeps) == 3 else x).view(len(tries), first).mean(1)
    best = errors.nan_to_num(math.inf).argmin().item()
    own = slice(best * first, (best + 1) * first)
    more, further = trained(data, keeps, size, width, steps, seeds[first:], [tries[best]])
    nets = [torch.cat([w[own], other]) for w, other in zip(nets, more)]
    return tries[best], nets, torch.cat([history[:, own], further], 1).cpu() if len(history) else history


def monte_carlo(nets: list[Tensor], keeps: tuple, x: Tensor, y: Tensor, samples: list[int], seed: int) -> dict:
    """Errors (%) of averages of k thinned nets, k -> (groups of k, nets): each of the drawn nets in one group."""
    draw = Generator(x.device).manual_seed(seed)
    wrong = {k: [] for k in samples}
    for images, labels in zip(x.split(500), y.split(500)):
        drawn = thinned_predictions(nets, images, keeps, samples[-1], draw)  # (samples, n, B, 10)
        for k in samples:
            means = drawn[: len(drawn) // k * k].unflatten(0, (-1, k)).mean(1)  # (groups, n, B, 10)
            wrong[k].append((means.argmax(3) != labels).float())
    return {k: 100 * torch.cat(parts, 2).mean(2).cpu() for k, parts in wrong.items()}


def neighbour_correlation(weights: Tensor, x: Tensor) -> Tensor:
    """(n,): mean over units of the correlation of weights of pixels beside or below each other, about 0 for noise.

    weights (n, pixels, units). Pixels that hardly vary over the images x teach nothing and are left out.
    """
    side = math.isqrt(x.shape[1])
    varies = (x.std(0) > 0.1).to(x.dtype)[:, None]  # (pixels, 1)
    w = (weights - (weights * varies).sum(1, keepdim=True) / varies.sum()) * varies
    variance = w.square().sum(1) / varies.sum()  # (n, units)
    grid, seen = w.unflatten(1, (side, side)), varies.view(side, side)
    pairs = seen[1:] * seen[:-1], seen[:, 1:] * seen[:, :-1]
    products = (grid[:, 1:] * grid[:, :-1]).sum((1, 2)) + (grid[:, :, 1:] * grid[:, :, :-1]).sum((1, 2))
    return (products / sum(p.sum() for p in pairs) / variance).mean(1)


def regression(examples: int, inputs: int, seed: int) -> tuple[Tensor, Tensor]:
    """A noisy linear teacher whose inputs are of different sizes: X (m, d), y (m,) in float64."""
    draw = Generator().manual_seed(seed)
    x = torch.randn(examples, inputs, generator=draw, dtype=torch.float64) * torch.linspace(0.5, 2, inputs).double()
    noise = torch.randn(examples, generator=draw, dtype=torch.float64)
    return x, x @ torch.randn(inputs, generator=draw, dtype=torch.float64) + noise


def enumerated_gap(keep: float, seed: int) -> float:
    """The largest share by which the closed form is off the sum over all masks of a 3 x 4 matrix, for three w."""
    x, y = regression(3, 4, seed)
    masks = torch.cartesian_prod(*[torch.tensor([0.0, 1.0]).double()] * 12).view(-1, 3, 4)  # (4096, 3, 4)
    chance = (keep * masks + (1 - keep) * (1 - masks)).prod(2).prod(1)
    gaps = []
    for w in torch.randn(3, 4, generator=Generator().manual_seed(seed), dtype=torch.float64):
        total = (chance * (y - (masks * x) @ w).square().sum(1)).sum()
        gaps.append(abs(marginal_loss(x, y, w, keep) / total - 1).item())
    return max(gaps)


def convergence(keep: float, masks: int, repeats: int, seed: int) -> dict[str, Tensor]:
    """Distance from the ridge solution, over its length, after 1, 2, 4 ... masks: (powers, repeats).

    "least squares" fits all masked copies of the data so far; "gradient descent" takes one step a mask, and
    averages the weights over the second half of the way.
    """
    x, y = regression(40, 8, seed)
    best = ridge(x, y, keep)
    draw = Generator().manual_seed(seed + 1)
    rate = 1 / (keep * x.square().sum())  # the trace of the mean masked XᵀX, above its largest eigenvalue
    square, product, w, total = (torch.zeros(repeats, 8, *tail, dtype=x.dtype) for tail in ((8,), (), (), ()))
    totals, found = {0: total.clone()}, {"least squares": [], "gradient descent": []}
    for step in range(1, masks + 1):
        thin = mask(x.expand(repeats, -1, -1), keep, draw) * x  # (repeats, m, d)
        square += thin.mT @ thin
        product += (thin.mT @ y[:, None])[..., 0]
        w = w + rate * (thin.mT @ (y - (thin @ w[..., None])[..., 0])[..., None])[..., 0]
        total += w
        if step & (step - 1) == 0:  # a power of two
            totals[step] = total.clone()
            mean = (total - totals[step // 2]) / (step - step // 2)
            for name, weights in zip(found, (torch.linalg.solve(square, product), mean)):
                found[name].append((weights - best).norm(dim=1) / best.norm())
    return {name: torch.stack(distances) for name, distances in found.items()}


def slope(distances: Tensor, first: int) -> Tensor:
    """(repeats,): power of the number of masks with which distances fall, from 2^first masks on."""
    y = distances[first:].log2()
    steps = torch.arange(len(y), dtype=y.dtype) - (len(y) - 1) / 2
    return (steps[:, None] * y).sum(0) / steps.square().sum()


# %% Figure


def tiles(weights: Tensor, x: Tensor, rows: int = 8) -> Tensor:
    """The first units' weights (pixels, units) as one picture, each scaled by its largest at a pixel that varies."""
    side = math.isqrt(len(weights))
    w = weights[:, : rows * rows] * (x.std(0) > 0.1)[:, None]
    w = (w / w.abs().amax(0).clamp(min=1e-9)).T.reshape(-1, side, side)
    w = F.pad(w, (0, 1, 0, 1), value=1.0)
    w = torch.cat([w, torch.zeros(rows * rows - len(w), side + 1, side + 1)])
    return w.view(rows, rows, side + 1, side + 1).transpose(1, 2).flatten(2).flatten(0, 1)


def draw_errors(axes, histories: dict, gains: dict, averaged: dict, whole: Tensor, steps: int) -> None:
    left, middle, right = axes
    for arm, runs in histories.items():
        at = torch.linspace(steps / len(runs), steps, len(runs))
        mean, spread = runs.mean(1), runs.std(1)
        left.plot(at, mean, "o-", ms=3, color=COLOURS[arm], label=arm)
        left.fill_between(at, mean - spread, mean + spread, color=COLOURS[arm], alpha=0.2, lw=0)
    left.set(
        title=f"{TABLE_SIZE:,} images: dropout learns longer,\nand better",
        xlabel="step",
        ylabel="test error (%), ± 1 s.d.",
    )
    left.set_ylim(0, 2.2 * max(runs[-1].mean().item() for runs in histories.values()))
    left.legend()
    means, spreads = ([getattr(g, what)().item() for g in gains.values()] for what in ("mean", "std"))
    middle.axhline(0, color="0.6", lw=1)
    middle.errorbar(list(gains), means, spreads, fmt="o-", color="C0", capsize=3)
    middle.set(title="What dropout gains,\nby size of the training set", xlabel="training images", xscale="log")
    middle.set(ylabel="gain (points of test error), ± 1 s.d.")
    middle.set_xticks(list(gains), [f"{size:,}" for size in gains])
    middle.minorticks_off()
    means, spreads = ([getattr(e, what)().item() for e in averaged.values()] for what in ("mean", "std"))
    right.errorbar(list(averaged), means, spreads, fmt="o-", color="C2", capsize=3, label="k thinned nets averaged")
    right.axhline(whole.mean().item(), color="C0", label="weight scaling")
    right.set(
        title="Some 50 thinned nets, averaged,\nare as good as scaled weights", xscale="log", xlabel="k, thinned nets"
    )
    right.set(ylabel="test error (%), ± 1 s.d.")
    right.set_xticks(list(averaged), [str(k) for k in averaged])
    right.minorticks_off()
    right.legend()


def draw_features(axes, coders: dict, smooth: dict, activations: dict, distances: dict, x: Tensor) -> None:
    for axis, (arm, nets) in zip(axes, coders.items()):
        axis.imshow(tiles(nets[0][0].cpu(), x.cpu()), cmap="RdBu_r", vmin=-1, vmax=1)
        axis.set(title=f"Features, {arm}:\nneighbour correlation {smooth[arm].mean():.2f}", xticks=[], yticks=[])
    *_, histogram, law = axes
    top = max(torch.quantile(a.flatten()[:100_000], 0.995).item() for a in activations.values())
    for arm, a in activations.items():
        counts = torch.histc(a, 40, 0, top) / a.numel()
        edges = torch.linspace(0, top, 41)
        histogram.stairs(100 * counts, edges, color=COLOURS[arm], lw=1.5, label=f"{arm}, mean {a.mean():.2f}")
    histogram.set(title="Hidden activations:\nmostly zero with dropout", yscale="log", xlabel="activation")
    histogram.set(ylabel="share of activations (%)")
    histogram.legend(fontsize=9)
    for (name, gaps), colour in zip(distances.items(), ("C0", "C1")):
        masks = 2.0 ** torch.arange(len(gaps))
        law.plot(masks, gaps.mean(1), "o-", ms=3, color=colour, label=name)
        law.fill_between(masks, gaps.amin(1), gaps.amax(1), color=colour, alpha=0.2, lw=0)
    law.plot(masks, 0.5 * gaps.mean(1)[-1] * (masks / masks[-1]) ** -0.5, "k:", label="masks^(−1/2)")
    law.set(title="Dropout on linear regression\nbecomes ridge regression", xscale="log", yscale="log")
    law.set(xlabel="masks", ylabel="distance / length")
    law.legend(fontsize=9, loc="lower left")


# %% Run


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"), help="where data sets are kept")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="where the figure and the results go")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=3000, help="training steps of every net")
    parser.add_argument("--width", type=int, default=256, help="units of a hidden layer")
    parser.add_argument("--masks", type=int, default=16_384, help="masks for linear regression")
    parser.add_argument("--smoke", action="store_true", help="a few steps, to see that it runs")
    args = parser.parse_args(argv)
    for name, least in (("seed", 0), ("steps", 10), ("width", 2), ("masks", 1024)):
        if getattr(args, name) < least:
            parser.error(f"--{name} {getattr(args, name)}: at least {least} is needed")
    try:
        torch.zeros(1, device=args.device)
        args.out.mkdir(parents=True, exist_ok=True)
    except (RuntimeError, AssertionError, OSError) as error:
        parser.error(f"--device {args.device}, --out {args.out}: {str(error).splitlines()[0]}")
    if not os.access(args.out, os.W_OK):
        parser.error(f"--out {args.out}: can't be written to")
    return args


def pm(values: Tensor, digits: int = 2) -> str:
    return f"{values.mean():.{digits}f} ± {values.std():.{digits}f}"


def beyond(values: Tensor) -> bool:
    """Whether values are above 0 on average, by more than their standard deviation."""
    return bool(values.mean() > values.std())


def main(argv: list[str] | None = None) -> dict:
    args = parse_args(argv)
    started = time.perf_counter()
    dataset, data, sizes = load_data(args.data)
    data = {part: tuple(t.to(args.device) for t in pair) for part, pair in data.items()}
    steps, width, masks, samples = args.steps, args.width, args.masks, SAMPLES
    seeds, rates, coder_rates = [100 * args.seed + k for k in range(5)], RATES, CODER_RATES
    if args.smoke:
        steps, width, masks, samples = 10, 8, 1024, SAMPLES[:3]
        rates, coder_rates = rates[:2], coder_rates[:2]
        data["test"] = tuple(t[:200] for t in data["test"])
    x_test, y_test = data["test"]

    settings, nets, histories, errors = {}, {}, {}, {}
    for arm, keeps in ARMS.items():
        tries = [(rate, radius) for radius in (RADII if "max-norm" in arm else [math.inf]) for rate in rates]
        setup = data, keeps, TABLE_SIZE, width, steps, seeds, tries, 2
        settings[arm], nets[arm], histories[arm] = tuned(*setup)
        errors[arm] = error(scaled(nets[arm], keeps), x_test, y_test).cpu()  # (5 seeds,)
    by_size = {arm: {} for arm in list(ARMS)[:2]}
    for arm, found in by_size.items():
        for size in sizes:
            if size == TABLE_SIZE:
                found[size] = errors[arm]
                continue
            some, _ = trained(data, ARMS[arm], size, width, steps, seeds[:3], [settings[arm]])
            found[size] = error(scaled(some, ARMS[arm]), x_test, y_test).cpu()
    gains = {size: by_size["standard"][size] - by_size["dropout"][size] for size in sizes}

    keeps, few, labels = ARMS["dropout"], x_test[:2000], y_test[:2000]
    whole = error(scaled(nets["dropout"], keeps), few, labels).cpu()  # (5,)
    averaged = monte_carlo(nets["dropout"], keeps, few, labels, samples, args.seed)
    gaps = {k: (e - whole).flatten() for k, e in averaged.items()}  # (groups * 5,)

    coders, coder_settings, lost, activations, smooth = {}, {}, {}, {}, {}
    for arm, keeps in CODERS.items():
        tries = [(rate, math.inf) for rate in coder_rates]
        setup = data, keeps, min(10_000, len(data["train"][0])), width, steps, seeds[:3], tries, 1
        coder_settings[arm], coders[arm], _ = tuned(*setup)
        lost[arm] = error(scaled(coders[arm], keeps), x_test, x_test).cpu()
        activations[arm] = forward(coders[arm][:2], few.expand(3, -1, -1)).relu().cpu()  # (3, B, width)
        smooth[arm] = neighbour_correlation(coders[arm][0], x_test).cpu()  # (3,)
    zeros = {arm: 100 * (a == 0).float().mean((1, 2)) for arm, a in activations.items()}  # (3,) in percent
    means = {arm: a.mean((1, 2)) for arm, a in activations.items()}

    off = max(enumerated_gap(keep, args.seed) for keep in (0.5, 0.8))
    distances = convergence(0.5, masks, 20, args.seed)
    slopes = {name: slope(d, 9) for name, d in distances.items()}

    figure = plt.figure(figsize=(12.5, 8), layout="constrained")
    top, bottom = figure.subfigures(2, 1)
    draw_errors(top.subplots(1, 3), histories, gains, averaged, whole, steps)
    draw_features(bottom.subplots(1, 4), coders, smooth, activations, distances, x_test)
    figure.savefig(args.out / f"{NAME}.png", dpi=100)
    plt.close(figure)

    better = errors["standard"] - errors["dropout"]
    further = errors["dropout"] - errors["dropout + max-norm"]
    peak = max(gains, key=lambda size: gains[size].mean())
    rise, fall = (gains[peak].mean() - gains[size].mean() for size in (sizes[0], sizes[-1]))
    spread = {size: gain.std() for size, gain in gains.items()}
    small = [size for size in sizes if size in (100, 500)]
    judged = samples[-2]
    meets = next((k for k in samples if gaps[k].mean() <= gaps[k].std()), samples[-1])
    results = {
        "script": f"papers/{NAME}.py",
        "title": TITLE,
        "data": dataset,
        "seed": args.seed,
        "smoke": args.smoke,
        "device": f"{args.device}, {torch.get_num_threads()} threads",
        "seconds": round(time.perf_counter() - started, 1),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "metrics": {
            **{f"{arm}: test error (%)": round(e.mean().item(), 2) for arm, e in errors.items()},
            **{f"{arm}: learning rate": rate for arm, (rate, _) in settings.items()},
            "max-norm: c": settings["dropout + max-norm"][1],
            **{f"gain from {n} images (points)": round(g.mean().item(), 2) for n, g in gains.items()},
            **{f"{k} thinned nets: error (%)": round(e.mean().item(), 2) for k, e in averaged.items()},
            "weight scaling: error (%)": round(whole.mean().item(), 2),
            **{f"autoencoder, {arm}: squared error": round(e.mean().item(), 3) for arm, e in lost.items()},
            **{f"autoencoder, {arm}: learning rate": rate for arm, (rate, _) in coder_settings.items()},
            **{f"autoencoder, {arm}: zeros (%)": round(z.mean().item(), 1) for arm, z in zeros.items()},
            **{f"autoencoder, {arm}: mean activation": round(m.mean().item(), 3) for arm, m in means.items()},
            **{f"{name}: power of masks": round(s.mean().item(), 3) for name, s in slopes.items()},
        },
        "claims": [
            {
                "claim": "dropout lowers the test error of a net with two hidden layers",
                "paper": "1.60% standard, 1.25% with dropout (Table 2)",
                "here": f"{pm(errors['standard'])}% standard, {pm(errors['dropout'])}% with dropout, better by "
                f"{pm(better)} points; {TABLE_SIZE:,} images, {len(seeds)} seeds",
                "holds": beyond(better),
            },
            {
                "claim": "max-norm with dropout lowers it further",
                "paper": "1.25% to 1.06% (Table 2)",
                "here": f"{pm(errors['dropout + max-norm'])}%, better by {pm(further)} points; "
                f"c = {settings['dropout + max-norm'][1]:g}, {len(seeds)} seeds",
                "holds": beyond(further),
            },
            {
                "claim": "from 100 and 500 examples dropout gains nothing",
                "paper": "no improvement at 100 and 500 (Fig. 10)",
                "here": ", ".join(f"{pm(gains[n])} points from {n}" for n in small) + "; 3 seeds",
                "holds": not any(beyond(gains[n]) for n in small),
            },
            {
                "claim": "with more examples the gain rises, then falls",
                "paper": "gain grows up to a size, then declines (Fig. 10)",
                "here": ", ".join(f"{pm(gain)} from {n:,}" for n, gain in gains.items()) + "; 3 seeds, 5 at 1,000",
                "holds": bool(
                    rise > max(spread[peak], spread[sizes[0]]) and fall > max(spread[peak], spread[sizes[-1]])
                ),
            },
            {
                "claim": "one thinned net is worse than scaled weights; an average of 50 meets them",
                "paper": "as good at k of about 50, then within one standard deviation (Fig. 11)",
                "here": f"k = 1 {pm(gaps[1])} points above weight scaling ({whole.mean():.2f}%), k = {judged} "
                f"{pm(gaps[judged])}, first within one s.d. at k = {meets}; {len(seeds)} nets",
                "holds": beyond(gaps[1]) and bool(gaps[judged].mean().abs() <= gaps[judged].std()),
            },
            {
                "claim": "an autoencoder's hidden units are sparser with dropout: more zeros and a lower mean",
                "paper": "sharp peak at zero; mean activation about 2.0 without, 0.7 with (Fig. 8)",
                "here": f"zeros {pm(zeros['standard'], 1)}% without, {pm(zeros['dropout'], 1)}% with; mean "
                f"{pm(means['standard'])} and {pm(means['dropout'])}; 3 seeds",
                "holds": beyond(zeros["dropout"] - zeros["standard"]) and beyond(means["standard"] - means["dropout"]),
            },
            {
                "claim": "its features are strokes and spots rather than noise: neighbouring weights agree more",
                "paper": "features detect something by themselves (Fig. 7)",
                "here": f"correlation of neighbouring weights {pm(smooth['standard'])} without, "
                f"{pm(smooth['dropout'])} with; 3 seeds",
                "holds": beyond(smooth["dropout"] - smooth["standard"]),
            },
            {
                "claim": "dropout on linear regression is ridge, approached as masks^(−1/2)",
                "paper": "E|y − (R * X)w|² = |y − pXw|² + p(1 − p)|Γw|² (sec. 9.1)",
                "here": f"identity off by {off:.0e} over all 4,096 masks of 3 x 4; powers "
                + ", ".join(f"{pm(s)} ({name})" for name, s in slopes.items())
                + f", {distances['least squares'][-1].mean():.1%} away after {masks:,} masks; 20 repeats",
                "holds": off < 1e-12 and all(abs(s.mean().item() + 0.5) < 0.1 for s in slopes.values()),
            },
        ],
    }
    (args.out / f"{NAME}.json").write_text(json.dumps(results, indent=2) + "\n")
    for claim in results["claims"]:
        verdict = "not judged" if args.smoke else "holds" if claim["holds"] else "FAILS"
        print(f"{verdict:>10}  {claim['claim']}\n{'':12}paper: {claim['paper']}; here: {claim['here']}")
    print(f"{args.out / NAME}.png, .json: {dataset}, {results['seconds']} s on {results['device']}")
    return results


if __name__ == "__main__":
    main()
