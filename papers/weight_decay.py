# /// script
# requires-python = ">=3.11"
# dependencies = ["torch", "torchvision", "scikit-learn", "matplotlib", "tqdm"]
# ///
"""A Simple Weight Decay Can Improve Generalization
Krogh & Hertz, 1991 (NIPS 4); and Loshchilov & Hutter, 2019, Decoupled Weight Decay Regularization (arXiv:1711.05101)

    python papers/weight_decay.py              the experiments
    python papers/weight_decay.py --smoke      a few steps, to see that it runs

The idea
    A linear student learns from a noisy teacher, y = u·x/√N + noise, from p = αN examples. In the eigenbasis of
    A = XᵀX/N the student with weight decay λ solves its N one-dimensional problems one by one: along an eigenvector
    with eigenvalue a it ends at

        w = (a u + noise) / (a + λ),    so    w − u = (noise − λ u) / (a + λ)

    Two errors, pulling opposite ways. Along a direction that the data hardly show (a small) no decay lets the noise
    through, divided by next to nothing; much decay forgets the teacher. Averaged over the noise, of variance a σ²
    there, over teachers of mean square u² and over the eigenvalues of a large random A, this is a closed form:

        G(λ) = <1/(a + λ)> = [1 − α − λ + √((1 − α − λ)² + 4λ)] / (2λ)                      (response)
        F(λ) = u²λ²(−G′) + σ²(G + λG′),    least at λ* = σ²/u² for every α, where F* = σ²G(λ*)

    With as many examples as weights, α = 1, A has eigenvalues down to 0 and F grows like σ²/(2√λ) as λ → 0: more
    data, more error. Today the peak is called double descent; the right λ takes it away.

    Decay can be written in two places: as λ/2 |w|² in the loss (L2), or as a plain shrinking, w ← (1 − λ)w, beside
    the step (decoupled). For SGD with step size η they are one thing, with λ/η in the loss. Adam divides everything
    that comes in through the gradient by its size √v, the decay too: weights with large gradients then decay less.

Symbols
    w, u       students, teacher  (R, L, N), (R, N)   for R re-draws and L decays; N weights each
    α, λ       alpha, decays      scalar, (L,)        examples a weight; weight decay
    u², σ²     size, noise        scalars             mean square of the teacher's weights; variance of the noise
    F          error              (R, L)              mean of (w − u)²: squared error on a fresh noiseless example
    η          rate               scalar              step size of an optimizer

Built from scratch
    The closed form with G′ by hand, ridge regression for all λ from one eigendecomposition, many two-layer nets at
    once (a leading dimension: one net for each decay and seed), SGD, Adam and AdamW. Tests hold them against autograd,
    scikit-learn's Ridge, nets of torch.nn trained one by one, and torch.optim.

Claims
    1. Theory and simulation agree within the standard error, over all α and λ.
    2. The best decay is σ²/u² whatever α, and the error there is F* = σ²G(λ*).
    3. Without decay the error peaks at α = 1, like λ^(−1/2); at the best decay it only falls with α.
    4. A non-linear net on few digits with noisy labels: test error against λ is U-shaped.
    5. As in the linear case, decay gains more when there is noise in the labels.
    6. L2 and decoupled decay are the same for SGD, and not for Adam (Loshchilov & Hutter, props 1 and 2).
    7. Under Adam with L2 the weights with large gradients are decayed less; decoupled, all alike (prop. 3).

Departures
    The non-linear net is a classifier of small images (the paper's reads English aloud), and has noise that can be
    turned: some of its labels are replaced by wrong ones. MNIST's images are halved to 14x14, for there are hundreds of
    nets to train.
    Every teacher is scaled to a mean square of exactly u², which leaves the mean as it is and steadies it.

Notes
    Claim 5 first said that decay gains nothing from clean labels: it does, 0.4 to 0.8 points. Then, that it gains more
    with every step of noise. From 20% to 40% of wrong labels that is so in five runs of six; with seed 2 on MNIST the
    rise from 8.7 to 13.2 points is no larger than its spread over six seeds. What stands is noise against none.
    SGD with momentum is not SGD: there L2 and decoupled decay end 0.4 of the way gone apart, because the decay that
    comes in through the gradient is carried on by the momentum as well.
    The points of claim 1 are not 200 independent ones, since all λ of an α share their draws: mean z² came out between
    0.89 and 1.27 for three seeds, and up to 2 is let pass.
    The four errors at σ² = λ = 0.2 are 0.6217, 0.3583, 0.2179 and 0.0874 by the closed form.
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
from torch import Tensor
from tqdm import tqdm

NAME = Path(__file__).stem
TITLE = "A Simple Weight Decay Can Improve Generalization"
ALPHAS = [0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0]
SIZE, NOISE = 1.0, 0.2  # u² and σ²
OTHERS = [(4.0, 0.2), (1.0, 0.8)]  # more teachers, for the best decay
RATIOS = 2.0 ** (torch.arange(-16, 9, dtype=torch.float64) / 2)  # decays to try, in units of σ²/u²
DECAYS = [0.0, *(10 ** (k / 3) for k in range(-12, -2))]  # of the non-linear net: 0, then 0.0001 to 0.1
WRONG = [0.0, 0.2, 0.4]  # share of wrong labels


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


def load_data(root: Path) -> tuple[str, Tensor, Tensor, Tensor, Tensor]:
    """MNIST, halved to 14x14, where it is on disk or can be fetched; else scikit-learn's 1,797 real 8x8 digits.

    Returns the data set's name, training images (n, pixels) in [0, 1], labels (n,), and the same for testing.
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
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
        x, y = x[order].float() / 16, y[order]
        return "digits (stand-in for MNIST)", x[800:], y[800:], x[:800], y[:800]
    return "MNIST", *(t for s in sets for t in (F.avg_pool2d(s.data / 255, 2).flatten(1), s.targets))


def few_examples(x: Tensor, y: Tensor, count: int, wrong: float, seed: int) -> tuple[Tensor, Tensor]:
    """`count` images with their labels, of which about a share `wrong` is replaced by another digit."""
    draw = torch.Generator().manual_seed(seed)
    few = torch.randperm(len(x), generator=draw)[:count].to(x.device)
    moved = torch.rand(count, generator=draw) < wrong
    shift = torch.where(moved, torch.randint(1, 10, (count,), generator=draw), 0).to(x.device)
    return x[few], (y[few] + shift) % 10


# %% Model


def response(decay: Tensor, alpha: Tensor | float) -> tuple[Tensor, Tensor]:
    """G = <1/(a + λ)> over the eigenvalues a of XᵀX/N, and its derivative G′ < 0 by λ."""
    b = 1 - alpha - decay
    root = torch.sqrt(b**2 + 4 * decay)
    g = (b + root) / (2 * decay)
    root_slope = (2 - b) / root  # as db/dλ = −1
    return g, (-1 + root_slope) / (2 * decay) - g / decay


def generalization_error(decay: Tensor, alpha: Tensor | float, size: float, noise: float) -> Tensor:
    """F(λ, α): what decay forgets of the teacher, and what it lets through of the noise."""
    g, slope = response(decay, alpha)
    return size * decay**2 * -slope + noise * (g + decay * slope)


def students(x: Tensor, y: Tensor, decays: Tensor) -> Tensor:
    """Minima of 1/2 Σ(y − w·x/√N)² + λ/2 |w|²: x (R, p, N), y (R, p), decays (L,) to weights (R, L, N)."""
    x = x / math.sqrt(x.shape[-1])
    eigenvalues, basis = torch.linalg.eigh(x.mT @ x)  # (R, N), (R, N, N) with eigenvectors in columns
    target = (basis.mT @ (x.mT @ y[..., None])).mT  # (R, 1, N): Xᵀy in the eigenbasis
    return target / (eigenvalues[:, None] + decays[:, None]) @ basis.mT


def new_nets(pixels: int, width: int, seeds: range, dtype: torch.dtype) -> list[Tensor]:
    """A two-layer net for each seed: weights (n, in, out) and biases (n, 1, out), which start at 0."""
    draws = [torch.Generator().manual_seed(seed) for seed in seeds]
    nets = []
    for i, o in ((pixels, width), (width, 10)):
        nets.append(torch.stack([torch.randn(i, o, generator=draw, dtype=dtype) * (2 / i) ** 0.5 for draw in draws]))
        nets.append(torch.zeros(len(seeds), 1, o, dtype=dtype))
    return nets


def logits(nets: list[Tensor], x: Tensor) -> Tensor:
    """Images (n, B, pixels), a batch for each net, to (n, B, 10)."""
    w1, b1, w2, b2 = nets
    return torch.baddbmm(b2, torch.baddbmm(b1, x, w1).relu(), w2)


def gradients(nets: list[Tensor], x: Tensor, y: Tensor) -> list[Tensor]:
    """Of each net's own mean loss on its own batch: the sum over nets keeps them apart."""
    nets = [weights.detach().requires_grad_() for weights in nets]
    loss = F.cross_entropy(logits(nets, x).flatten(0, 1), y.flatten(), reduction="sum") / y.shape[1]
    return list(torch.autograd.grad(loss, nets))


# %% Training


def sgd(weights: list, grads: list, state: dict, rate: float, l2=0.0, decay=0.0, momentum: float = 0.0) -> None:
    """One step in place; l2 is the λ of λ/2 |w|² in the loss, decay the share taken off each weight beside it."""
    for i, (w, g) in enumerate(zip(weights, grads)):
        g = g + l2 * w
        state[i] = momentum * state.get(i, 0.0) + g
        w -= rate * state[i] + decay * w


def adam(weights: list, grads: list, state: dict, rate: float, l2=0.0, decay=0.0, betas=(0.9, 0.999)) -> None:
    """The same for Adam: with l2 the decay goes through m and v, with decay (AdamW) past them."""
    t = state["t"] = state.get("t", 0) + 1
    for i, (w, g) in enumerate(zip(weights, grads)):
        g = g + l2 * w
        m, v = state.get(i, (0.0, 0.0))
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        state[i] = m, v
        m, v = m / (1 - betas[0] ** t), v / (1 - betas[1] ** t)
        w -= rate * m / (v.sqrt() + 1e-8) + decay * w


def train(nets: list[Tensor], x: Tensor, y: Tensor, decays: Tensor, steps: int) -> None:
    """Gradient descent with momentum on all of the few examples, each net with its own decay (n,) in the loss."""
    state, l2 = {}, decays[:, None, None]
    for _ in tqdm(range(steps), desc=f"{len(decays)} nets", disable=None):
        sgd(nets, gradients(nets, x, y), state, rate=0.1, l2=l2, momentum=0.9)


@torch.no_grad()
def test_error(nets: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
    """(n,): in percent, each net on the same images (B, pixels)."""
    return 100 * (logits(nets, x.expand(len(nets[0]), -1, -1)).argmax(2) != y).float().mean(1)


# %% Experiments


def simulate(alpha: float, decays: Tensor, size: float, noise: float, n: int, draws: int, seed: int) -> Tensor:
    """F of students of fresh noisy teachers on fresh Gaussian examples, all decays on the same draw: (draws, L)."""
    draw = torch.Generator().manual_seed(seed)
    errors = []
    for few in torch.arange(draws).split(20):  # a few at a time, for the memory's sake
        x = torch.randn(len(few), round(alpha * n), n, generator=draw, dtype=torch.float64)
        teacher = torch.randn(len(few), n, generator=draw, dtype=torch.float64)
        teacher *= math.sqrt(size) / teacher.square().mean(1, keepdim=True).sqrt()
        spoilt = math.sqrt(noise) * torch.randn(x.shape[:2], generator=draw, dtype=torch.float64)
        x, teacher, spoilt = (t.to(decays.device) for t in (x, teacher, spoilt))
        y = (x @ teacher[..., None])[..., 0] / math.sqrt(n) + spoilt  # (draws, p)
        errors.append(((students(x, y, decays) - teacher[:, None]) ** 2).mean(2))
    return torch.cat(errors)


def error_by_decay(data: list[Tensor], wrong: float, count: int, width: int, steps: int, seeds: range) -> Tensor:
    """Errors (%) of a net for each decay and seed, trained on few examples: (2 halves of the test images, L, seeds)."""
    x, y, x_test, y_test = data
    examples = [few_examples(x, y, count, wrong, seed) for seed in seeds]
    repeat = len(DECAYS), 1, 1  # net number l * seeds + s has decay l, and the images and first weights of seed s
    images = torch.stack([few for few, _ in examples]).repeat(repeat)  # (n, count, pixels)
    labels = torch.stack([few for _, few in examples]).repeat(repeat[:2])  # (n, count)
    nets = [weights.to(x.device).repeat(repeat) for weights in new_nets(x.shape[1], width, seeds, x.dtype)]
    train(nets, images, labels, torch.tensor(DECAYS, device=x.device).repeat_interleave(len(seeds)), steps)
    halves = zip(x_test.chunk(2), y_test.chunk(2))
    return torch.stack([test_error(nets, *half).view(len(DECAYS), len(seeds)) for half in halves]).cpu()


def batches(data: list[Tensor], steps: int, seeds: range, size: int = 50):
    """Random batches for a net of each seed: (seeds, size, pixels) in float64 and (seeds, size)."""
    draws = [torch.Generator().manual_seed(seed) for seed in seeds]
    for _ in range(steps):
        picks = torch.stack([torch.randint(len(data[0]), (size,), generator=draw) for draw in draws])
        yield data[0][picks.to(data[0].device)].double(), data[1][picks.to(data[0].device)]


def apart(optimizer, data: list[Tensor], settings: dict, decay: float, steps: int, seeds: range) -> Tensor:
    """Distance of L2 from decoupled decay after every step, over the way that the latter has gone: (steps, seeds).

    Both start from the same nets, see the same batches, and take λ off w where there is no gradient: λ/η in the loss.
    """
    start = [w.to(data[0].device) for w in new_nets(data[0].shape[1], 32, seeds, torch.float64)]
    one, two = ([w.clone() for w in start] for _ in range(2))
    state_one, state_two, distances = {}, {}, []
    for x, y in batches(data, steps, seeds):
        optimizer(one, gradients(one, x, y), state_one, **settings, l2=decay / settings["rate"])
        optimizer(two, gradients(two, x, y), state_two, **settings, decay=decay)
        gap, way = (sum(((a - b) ** 2).sum((1, 2)) for a, b in zip(two, other)) for other in (one, start))
        distances.append((gap / way).sqrt())
    return torch.stack(distances).cpu()


def decay_by_gradient(data: list[Tensor], settings: dict, steps: int, seeds: range, bins: int = 10) -> Tensor:
    """How much Adam decays the first layer's weights, by the size of their gradients: (2, bins, seeds).

    A shadow gets the same weights and gradients at every step, but no decay. What it lacks, as a share of w (least
    squares over the steps), is the weight's decay a step. The weights stand in bins by their root mean square
    gradient: each bin's median gradient and median decay.
    """
    nets = [w.to(data[0].device) for w in new_nets(data[0].shape[1], 32, seeds, torch.float64)]
    state, shadow_state, taken, squares, slopes = {}, {}, 0.0, 0.0, 0.0
    for x, y in batches(data, steps, seeds):
        before, grads = nets[0].clone(), gradients(nets, x, y)
        shadow = [w.clone() for w in nets]
        adam(nets, grads, state, 1e-3, **settings)
        adam(shadow, grads, shadow_state, 1e-3)
        taken = taken + (shadow[0] - nets[0]) * before
        squares = squares + before**2
        slopes = slopes + grads[0] ** 2 / steps
    size, share = slopes.sqrt().flatten(1), (taken / squares).flatten(1)  # (seeds, weights)
    order = size.argsort(1)
    sorted_by_size = (t.gather(1, order).tensor_split(bins, 1) for t in (size, share))
    return torch.stack([torch.stack([part.median(1).values for part in parts]) for parts in sorted_by_size]).cpu()


# %% Figure


def draw_linear(axes, decays: Tensor, simulated: dict[float, Tensor]) -> None:
    """Theory as lines, simulation as dots with two standard errors. simulated: α -> (draws, L)."""
    left, right = axes
    alphas = torch.linspace(0.1, 3.1, 301, dtype=torch.float64)
    means = {alpha: errors.mean(0) for alpha, errors in simulated.items()}
    spread = {alpha: 2 * errors.std(0) / len(errors) ** 0.5 for alpha, errors in simulated.items()}
    best = len(decays[RATIOS < 1])
    for index, colour in ((0, "C3"), (best - 8, "C1"), (best, "C0"), (best + 8, "C2")):
        decay = decays[index]
        name = f"λ = {decay:.2g}" + (" = σ²/u²" if index == best else "")
        left.plot(alphas, generalization_error(decay, alphas, SIZE, NOISE), color=colour, label=name)
        dots, bars = ([t[a][index] for a in simulated] for t in (means, spread))
        left.errorbar(list(simulated), dots, bars, fmt="o", color=colour, ms=4)
    left.plot(alphas, generalization_error(torch.tensor(1e-7).double(), alphas, SIZE, NOISE), "k:", lw=1, label="λ → 0")
    left.set(title="Little decay: a peak at α = 1.  The right decay: no peak", yscale="log", ylim=(0.04, 9))
    left.set(xlabel="α, examples a weight", ylabel="error F")
    left.legend(loc="upper right")
    fine = torch.logspace(math.log10(decays[0]), math.log10(decays[-1]), 200, dtype=torch.float64)
    for alpha, colour in zip((0.5, 1.0, 1.5, 3.0), plt.cm.viridis([0.0, 0.3, 0.6, 0.85])):
        right.plot(fine, generalization_error(fine, alpha, SIZE, NOISE), color=colour, label=f"α = {alpha:g}")
        right.errorbar(decays[::2], means[alpha][::2], spread[alpha][::2], fmt="o", color=colour, ms=4)
    right.axvline(NOISE / SIZE, color="0.5", ls="--", lw=1)
    right.text(NOISE / SIZE * 1.1, 0.045, "σ²/u²", color="0.4")
    right.set(title="The best decay is σ²/u², whatever α", xscale="log", yscale="log", ylim=(0.04, 9))
    right.set(xlabel="weight decay λ", ylabel="error F  (dots: simulation)")
    right.legend(loc="upper right")


def draw_nets(axis, judged: dict[float, Tensor]) -> None:
    places = [DECAYS[1] / 3, *DECAYS[1:]]  # zero has no place on a logarithmic axis
    for (wrong, errors), colour in zip(judged.items(), ("C2", "C0", "C3")):
        mean, spread = errors.mean(1), errors.std(1)
        axis.plot(places, mean, "o-", color=colour, ms=4, label=f"{wrong:.0%} wrong labels")
        axis.fill_between(places, mean - spread, mean + spread, color=colour, alpha=0.2, lw=0)
    axis.set(title="Decay helps against wrong labels", xlabel="weight decay λ", ylabel="test error (%)", xscale="log")
    axis.set_xticks([places[0], 1e-3, 1e-2, 1e-1], ["0", "0.001", "0.01", "0.1"])
    axis.set_ylim(0, 1.3 * max(errors.mean(1).max().item() for errors in judged.values()))
    axis.legend(loc="upper left", fontsize=9)


def draw_optimizers(axes, distances: dict[str, Tensor], tables: dict[str, Tensor]) -> None:
    left, right = axes
    for (name, gaps), colour in zip(distances.items(), ("C0", "C1", "C3")):
        left.plot(torch.arange(1, len(gaps) + 1), gaps, color=colour, lw=1)
        above = name != "SGD with momentum"
        height = gaps[-1].max().item() * (4 if above else 0.2)
        left.text(len(gaps), height, name, color=colour, ha="right", va="bottom" if above else "top")
    left.set(title="L2 is weight decay for SGD only", yscale="log", ylim=(1e-17, 1e3))
    left.set(xlabel="step", ylabel="distance of L2 from decay")
    for (name, table), colour in zip(tables.items(), ("C3", "C0")):
        right.plot(table[0].mean(1), (table[1] / table[1].mean(0)).mean(1), "o-", color=colour, ms=4, label=name)
    right.set(title="Adam + L2 spares large gradients", xscale="log", yscale="log")
    right.set(xlabel="size of a weight's gradient", ylabel="decay / mean decay")
    right.legend(loc="lower left", fontsize=9)


def draw(simulated: dict, judged: dict, distances: dict, tables: dict, path: Path) -> None:
    figure = plt.figure(figsize=(12, 8.4), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=[1.2, 1])
    draw_linear(top.subplots(1, 2), RATIOS * NOISE / SIZE, simulated)
    nets, *optimizers = bottom.subplots(1, 3)
    draw_nets(nets, judged)
    draw_optimizers(optimizers, distances, tables)
    figure.savefig(path, dpi=100)
    plt.close(figure)


# %% Run


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"), help="where data sets are kept")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="where the figure and the results go")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=300, help="N, weights of the linear student")
    parser.add_argument("--draws", type=int, default=100, help="re-draws of teacher and examples")
    parser.add_argument("--examples", type=int, default=200, help="images the non-linear net learns from")
    parser.add_argument("--width", type=int, default=32, help="its hidden units")
    parser.add_argument("--steps", type=int, default=600, help="its steps")
    parser.add_argument("--smoke", action="store_true", help="a few steps, to see that it runs")
    args = parser.parse_args(argv)
    for name, least in (("size", 4), ("draws", 2), ("examples", 1), ("width", 1), ("steps", 1)):
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


def pm(values: Tensor, digits: int = 1) -> str:
    return f"{values.mean():.{digits}f} ± {values.std():.{digits}f}"


def main(argv: list[str] | None = None) -> dict:
    args = parse_args(argv)
    started = time.perf_counter()
    dataset, *data = load_data(args.data)
    data = [tensor.to(args.device) for tensor in data]
    n, draws, steps, count = (20, 4, 5, 2) if args.smoke else (args.size, args.draws, args.steps, 6)
    seeds = range(100 * args.seed, 100 * args.seed + count)

    decays = RATIOS * NOISE / SIZE  # (25,)
    simulated = {
        alpha: simulate(alpha, decays.to(args.device), SIZE, NOISE, n, draws, 1000 * args.seed + k).cpu()
        for k, alpha in enumerate(tqdm(ALPHAS, desc="linear", disable=None))
    }
    theory = {alpha: generalization_error(decays, alpha, SIZE, NOISE) for alpha in ALPHAS}
    mean = {alpha: errors.mean(0) for alpha, errors in simulated.items()}
    deviation = {alpha: errors.std(0) / draws**0.5 for alpha, errors in simulated.items()}
    z = torch.stack([(mean[a] - theory[a]) / deviation[a] for a in ALPHAS])  # (α, λ)
    best = RATIOS.tolist().index(1.0)
    found = {(SIZE, NOISE, a): RATIOS[mean[a].argmin()].item() for a in ALPHAS}
    for k, (size, noise) in enumerate(OTHERS):
        tried = (RATIOS * noise / size).to(args.device)
        for alpha in (0.5, 1.0, 2.0):
            errors = simulate(alpha, tried, size, noise, n, draws, 1000 * args.seed + 100 * (k + 1) + round(10 * alpha))
            found[size, noise, alpha] = RATIOS[errors.cpu().mean(0).argmin()].item()
    predicted = {a: NOISE * response(decays[best], a)[0].item() for a in ALPHAS}  # F* = σ²G(λ*)
    peak = torch.stack([mean[a][0] for a in ALPHAS])  # F at the smallest λ
    valley = torch.stack([mean[a][best] for a in ALPHAS])  # F at the best
    valley_deviation = torch.stack([deviation[a][best] for a in ALPHAS])
    power = math.log(mean[1.0][0] / mean[1.0][8]) / math.log(decays[0] / decays[8])

    chosen, judged = {}, {}
    for wrong in WRONG:
        tuning, judged[wrong] = error_by_decay(data, wrong, args.examples, args.width, steps, seeds)
        chosen[wrong] = tuning.mean(1).argmin().item()  # on other images than those it is judged on
    gain = {wrong: errors[0] - errors[chosen[wrong]] for wrong, errors in judged.items()}  # (seeds,), points
    noisy = judged[WRONG[1]]
    beyond = noisy[-1] - noisy[chosen[WRONG[1]]]  # (seeds,): what too much decay costs

    recipes = {
        "SGD": (sgd, {"rate": 0.1}),
        "SGD with momentum": (sgd, {"rate": 0.02, "momentum": 0.9}),
        "Adam": (adam, {"rate": 1e-3}),
    }
    distances = {
        name: apart(optimizer, data, settings, 1e-4, steps, seeds[:3])
        for name, (optimizer, settings) in recipes.items()
    }
    arms = {"Adam + L2": {"l2": 1e-3}, "decoupled (AdamW)": {"decay": 1e-4}}
    tables = {name: decay_by_gradient(data, settings, steps, seeds[:3]) for name, settings in arms.items()}
    coupled, decoupled = (table[1] for table in tables.values())  # (bins, seeds)
    draw(simulated, judged, distances, tables, args.out / f"{NAME}.png")

    end = {name: gaps[-1] for name, gaps in distances.items()}  # (seeds,)
    published = (0.5, 1.0, 1.5, 3.0)
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
            **{f"F at λ = σ² = 0.2, α = {a:g}: theory": round(theory[a][best].item(), 4) for a in published},
            **{f"F at λ = σ² = 0.2, α = {a:g}: simulation": round(mean[a][best].item(), 4) for a in published},
            **{
                f"net, {w:.0%} wrong labels: error without decay (%)": round(judged[w][0].mean().item(), 1)
                for w in WRONG
            },
            **{f"net, {w:.0%} wrong labels: error (%)": round(judged[w][chosen[w]].mean().item(), 1) for w in WRONG},
            **{f"net, {w:.0%} wrong labels: decay": round(DECAYS[chosen[w]], 5) for w in WRONG},
            **{f"{name}: distance of L2 from decoupled decay": float(f"{d.mean():.2g}") for name, d in end.items()},
        },
        "claims": [
            {
                "claim": "theory and simulation of the linear student agree within the standard error",
                "paper": "the closed form F(λ, α)",
                "here": f"{(z.abs() < 2).double().mean():.0%} of {z.numel()} points within 2 s.e. (95% expected), "
                f"mean z² {z.square().mean():.2f}, largest |z| {z.abs().max():.1f}; N = {n}, {draws} re-draws",
                "holds": bool(z.square().mean() < 2 and z.abs().max() < 4),
            },
            {
                "claim": "the best decay is σ²/u² whatever α, and the error there is σ²G",
                "paper": "0.622, 0.358, 0.218, 0.087 for α = 0.5, 1, 1.5, 3 at σ² = 0.2",
                "here": f"best of the grid {min(found.values()):.2f} to {max(found.values()):.2f} times σ²/u² in "
                f"{len(found)} cases; "
                + ", ".join(f"{mean[a][best]:.3f}" for a in published)
                + f" ± {max(deviation[a][best] for a in published):.3f}",
                "holds": all(0.7 < ratio < 1.5 for ratio in found.values())
                and all(abs(mean[a][best].item() - predicted[a]) < 4 * deviation[a][best].item() for a in ALPHAS),
            },
            {
                "claim": "with hardly any decay the error peaks at α = 1, as λ^(−1/2); with the best it only falls",
                "paper": "F → ∞ at α = 1 as λ → 0",
                "here": f"at λ = {decays[0]:.2g} F is {mean[0.5][0]:.2f}, {mean[1.0][0]:.2f}, {mean[2.0][0]:.2f} for "
                f"α = 0.5, 1, 2 (power {power:.2f}); at λ = {decays[best]:.2g} {mean[0.5][best]:.2f}, "
                f"{mean[1.0][best]:.2f}, {mean[2.0][best]:.2f}",
                "holds": ALPHAS[peak.argmax()] == 1
                and abs(power + 0.5) < 0.1
                and bool((valley.diff() < -2 * valley_deviation[1:]).all()),
            },
            {
                "claim": f"a non-linear net with {WRONG[1]:.0%} wrong labels: test error against λ is U-shaped",
                "paper": "weight decay generalizes better in a non-linear net too",
                "here": f"{pm(noisy[0])}% at λ = 0, {pm(noisy[chosen[WRONG[1]]])}% at {DECAYS[chosen[WRONG[1]]]:.2g}, "
                f"{pm(noisy[-1])}% at {DECAYS[-1]:.2g}; {len(seeds)} seeds, {args.examples} images",
                "holds": bool(gain[WRONG[1]].mean() > gain[WRONG[1]].std() and beyond.mean() > beyond.std()),
            },
            {
                "claim": "decay gains more from noisy labels than from clean ones",
                "paper": "λ* = σ²/u² (linear case)",
                "here": ", ".join(
                    f"{pm(gain[w])} points with {w:.0%} wrong (λ {DECAYS[chosen[w]]:.2g})" for w in WRONG
                ),
                "holds": all(bool(more.mean() > more.std()) for more in (gain[w] - gain[0.0] for w in WRONG[1:])),
            },
            {
                "claim": "L2 and decoupled decay are the same for SGD, not for Adam",
                "paper": "propositions 1 and 2 (Loshchilov & Hutter)",
                "here": f"apart, over the way gone in {steps} steps: SGD {end['SGD'].max():.0e}, Adam "
                f"{end['Adam'].min():.2f} or more; SGD with momentum {end['SGD with momentum'].mean():.0e}, 3 seeds",
                "holds": bool(distances["SGD"].max() < 1e-10 and end["Adam"].min() > 0.01),
            },
            {
                "claim": "Adam with L2 decays weights with large gradients less; decoupled decay treats all alike",
                "paper": "sec. 2 (Loshchilov & Hutter)",
                "here": "tenth of the weights with the smallest over tenth with the largest gradients: decay "
                f"{pm(coupled[0] / coupled[-1], 0)} times for L2, {pm(decoupled[0] / decoupled[-1], 3)} decoupled",
                "holds": bool(
                    (coupled[0] > 2 * coupled[-1]).all() and ((decoupled[0] / decoupled[-1] - 1).abs() < 1e-6).all()
                ),
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
