# /// script
# requires-python = ">=3.11"
# dependencies = ["torch", "torchvision", "scikit-learn", "matplotlib", "tqdm"]
# ///
"""Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift
Ioffe & Szegedy, 2015 (ICML, arXiv:1502.03167)

    python papers/batch_norm.py              the experiment
    python papers/batch_norm.py --smoke      a few steps, to see that it runs

The idea
    What a layer sees are the outputs of the layers below, and while it learns, they learn too: its inputs move
    under its feet. So let us pin them down. Take each unit's input x over the mini-batch, shift it to mean 0,
    scale it to variance 1, and give the unit two numbers of its own to undo that if it wants to (Algorithm 1):

        μ = 1/m Σ x_i      σ² = 1/m Σ (x_i − μ)²      x̂_i = (x_i − μ) / √(σ² + ε)      y_i = γ x̂_i + β

    μ and σ are functions of the batch, and the gradient must flow through them. If it doesn't, a step that
    moves the mean is undone by the next normalization: the loss stays, the same step is taken again, and the
    bias grows for ever (sec. 2). If it does, steps along the mean and the scale have no gradient at all:

        BN((aW)u) = BN(Wu)      ∂BN((aW)u)/∂(aW) = 1/a · ∂BN(Wu)/∂W                            (sec. 3.3)

    A weight matrix that has grown too large so gets smaller gradients, which is why large learning rates are
    survived. At test time there may be no batch: running averages of μ and of the unbiased variance
    m/(m−1) σ² stand in for it (Algorithm 2). A convolution shares its weights over the places of an image,
    so there the average goes over places as well, with one γ and β a channel (sec. 3.2).

Symbols
    x, y     x, y                        (m, C)            a layer's input and output: m rows, C units
    γ, β     gamma, beta                 (C,)              learnt scale and shift
    μ, σ²    mean, var                   (C,)              over the batch, Algorithm 1
    E, Var   running_mean, running_var   (C,)              over batches, Algorithm 2
    ∂l/∂y    grad_y                      like y            and so on: a gradient is named grad_ and what it is for

Built from scratch
    Forward and backward of Algorithm 1 as an autograd function, with the six equations of sec. 3 for the
    gradient; running statistics; the form for images. Tests hold them against torch's BatchNorm1d and
    BatchNorm2d and against finite differences, in float64.

Claims
    1. After as many steps the normalized net is the more accurate one, each arm at its own best rate (Fig. 1a).
    2. It takes fewer steps to a given accuracy (14 times fewer on Inception, sec. 4.2).
    3. The inputs of the last hidden layer's sigmoids stay where they are; the plain net's wander (Fig. 1b, c).
    4. It trains at learning rates at which the plain net doesn't, sigmoid or ReLU (sec. 3.3, 4.2).
    5. The scale of the weights makes no difference to output and inputs' gradient, and 1/a to their own (sec. 3.3).
    6. Descent that takes the mean for a constant moves a bias for ever, and the loss not at all (sec. 2).

Departures
    2,700 steps (Fig. 1: 50,000). The learning rate, which Fig. 1 leaves open, is chosen for each arm on one grid,
    by validation accuracy after a third of the steps, mean of three seeds. The same grid and 80% of accuracy say
    which rates "train"; a ReLU net, for a tenth of the steps, is ours. The small Gaussian start has a
    deviation of 0.1. Percentiles are those of 1,000 validation images, normalized by the running statistics.
    The "typical" sigmoid of the figure is the one whose wandering is the median of its layer.

Notes
    How much normalization gains hangs on the start of the other arm. After 750 steps on MNIST (two seeds, best
    rate) the plain net was at 43% with a start of 0.01, 95% with 0.1 and 96% with 0.3, where the normalized one had 96%
    too. That one hardly cares: 96 to 97.7% on the digits with any start from 0.01 to 0.3. In the end as well
    the two are a point apart at most on average, so claim 1 goes by pairs of the same seed. On MNIST it held from all
    three first seeds tried (0, 1, 2); on the digits it FAILS from two of them: one seed's normalized net then ends
    at 95.8%, 1.7 points below its plain twin, with the rate that was best on the validation images.
    A plain sigmoid net is not to be had at every rate in a third of the steps: on the digits it is still on its way
    up, and with some seeds no rate has taken all three past the 80% of claim 4, which then reads "none".
    The first bar for claim 2 was the plain net's own last accuracy in half the steps. The digits met it, MNIST did
    not (1.5 times fewer, 1.2 to 1.7, with 3,000 steps): the gap is wide early in training and closes. The ratio to
    that target is still printed, without a verdict. On the digits the normalized net has its 80% at one of the first
    looks at it, some 25 steps in.
    The plain net's first few hundred steps are a plateau: the last layer's inputs hardly differ from image to
    image. What claim 3 sees is in good part how it leaves that plateau. Its measure is the width of the distribution:
    in plain units the typical median on MNIST moves as far in the normalized net (0.8 and 0.9, read off the figure).
    The second term of ∂l/∂μ in sec. 3, a sum of deviations from the mean, is zero. No test can miss it.
    With ε = 1e-5 the law of scales is off by 0.4% at a = 0.01, where the variance is no longer large against ε.
"""

import argparse
import json
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
from torch import Tensor, nn
from tqdm import tqdm

NAME = Path(__file__).stem
TITLE = "Batch Normalization: Accelerating Deep Network Training"
ARMS = {"plain": "C1", "normalized": "C0"}  # and the colour each has in the figure
ACTIVATIONS = {"sigmoid": nn.Sigmoid, "ReLU": nn.ReLU}
RATES = {"sigmoid": [0.3, 1.0, 3.0, 10.0, 30.0, 100.0], "ReLU": [0.1, 0.3, 1.0, 3.0, 10.0]}  # for both arms
SCALES = [0.01, 0.1, 1.0, 10.0, 100.0]  # a of sec. 3.3
START = 0.1  # standard deviation of the first weights: one over the root of 100 inputs
TRAINS = 80  # a net with this validation accuracy (%) is said to train


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


def load_data(root: Path) -> tuple[str, list[Tensor]]:
    """MNIST where it is on disk or can be fetched, else scikit-learn's 1,797 real 8x8 digits.

    Returns the data set's name, and images (n, pixels) in [0, 1] and labels (n,) to train on, to choose the
    learning rate by, and to test on.
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
        return "digits (stand-in for MNIST)", [x[720:], y[720:], x[360:720], y[360:720], x[:360], y[:360]]
    (x, y), test = ((s.data.flatten(1) / 255, s.targets) for s in sets)
    return "MNIST", [x[:-5000], y[:-5000], x[-5000:], y[-5000:], *test]


# %% Model


class Normalize(torch.autograd.Function):
    """Algorithm 1 and its gradient. x (m, C), gamma (C,), beta (C,) to y (m, C), mean (C,) and var (C,)."""

    @staticmethod
    def forward(ctx, x: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        mean = x.mean(0)  # (C,)
        centred = x - mean  # (m, C)
        var = (centred**2).mean(0)  # (C,), the biased one
        deviation = (var + eps).sqrt()  # (C,)
        x_hat = centred / deviation  # (m, C)
        y = gamma * x_hat + beta
        ctx.save_for_backward(gamma, centred, deviation, x_hat)
        ctx.mark_non_differentiable(mean, var)  # they go into running averages only
        return y, mean, var

    @staticmethod
    def backward(ctx, grad_y: Tensor, *_) -> tuple[Tensor, Tensor, Tensor, None]:
        """The six equations of sec. 3, in the paper's order."""
        gamma, centred, deviation, x_hat = ctx.saved_tensors
        m = len(x_hat)
        grad_x_hat = grad_y * gamma  # (m, C)
        grad_var = (grad_x_hat * centred).sum(0) * -0.5 * deviation**-3  # (C,)
        grad_mean = -grad_x_hat.sum(0) / deviation  # (C,); the paper's second term, ∂l/∂σ² · Σ −2(x − μ)/m, is 0
        grad_x = grad_x_hat / deviation + grad_var * 2 * centred / m + grad_mean / m  # (m, C)
        grad_gamma = (grad_y * x_hat).sum(0)  # (C,)
        grad_beta = grad_y.sum(0)  # (C,)
        return grad_x, grad_gamma, grad_beta, None


class BatchNorm(nn.Module):
    """Normalizes (B, C) over B and (B, C, H, W) over B, H and W, each of the C units or channels for itself."""

    def __init__(self, units: int, eps: float = 1e-5, momentum: float = 0.1):
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.ones(units)), nn.Parameter(torch.zeros(units))
        self.register_buffer("running_mean", torch.zeros(units))
        self.register_buffer("running_var", torch.ones(units))
        self.eps, self.momentum = eps, momentum

    def forward(self, x: Tensor) -> Tensor:
        last = x.movedim(1, -1)  # (B, C) or (B, H, W, C)
        rows = last.reshape(-1, x.shape[1])  # (m, C), where m = B or B H W (sec. 3.2)
        if self.training:
            m = len(rows)
            if m < 2:
                raise ValueError("batch normalization needs two values a unit to train on: one has no variance")
            y, mean, var = Normalize.apply(rows, self.gamma, self.beta, self.eps)
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(var * m / (m - 1), self.momentum)  # unbiased: Algorithm 2, line 10
        else:  # a fixed straight line: Algorithm 2, line 11
            y = self.gamma * (rows - self.running_mean) / (self.running_var + self.eps).sqrt() + self.beta
        return y.view(last.shape).movedim(-1, 1)  # like x


def network(pixels: int, width: int, activation: str, arm: str, seed: int) -> nn.Sequential:
    """Fig. 1's net: three hidden layers, normalized before the nonlinearity or not, from one small Gaussian start."""
    layers = []
    for inputs in (pixels, width, width):
        # where the mean is subtracted, a bias has no say: beta is the bias (sec. 3.2)
        layers += [nn.Linear(inputs, width), ACTIVATIONS[activation]()] if arm == "plain" else [
            nn.Linear(inputs, width, bias=False), BatchNorm(width), ACTIVATIONS[activation]()
        ]  # fmt: skip
    model = nn.Sequential(*layers, nn.Linear(width, 10))
    generator = torch.Generator().manual_seed(seed)
    for layer in model:
        if isinstance(layer, nn.Linear):
            layer.weight.data = START * torch.randn(layer.weight.shape, generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return model


# %% Training


def train(model: nn.Module, x: Tensor, y: Tensor, rate: float, steps: int, seed: int, watch=None, moments=()) -> list:
    """Plain SGD on batches of 60. Returns what `watch()` says after the steps named in `moments`."""
    optimizer, seen = torch.optim.SGD(model.parameters(), lr=rate), []
    batches = torch.randint(len(x), (steps, 60), generator=torch.Generator().manual_seed(seed)).to(x.device)
    for step, batch in enumerate(batches, start=1):
        model.train()
        loss = F.cross_entropy(model(x[batch]), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step in moments:
            seen.append(watch())
    return seen


@torch.no_grad()
def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """In percent, with the running statistics."""
    model.eval()
    return 100 * (model(x).argmax(1) == y).float().mean().item()


@torch.no_grad()
def percentiles(model: nn.Sequential, x: Tensor) -> Tensor:
    """(3, width): the 15th, 50th and 85th percentile of what each unit of the last hidden layer is given."""
    model.eval()
    given = model[:-2](x)  # (B, width): all but the last nonlinearity and the readout
    return given.quantile(torch.tensor([0.15, 0.5, 0.85]).to(x), dim=0)


# %% Experiments


def tried_rates(
    data: list[Tensor], width: int, activation: str, arm: str, rates: list[float], steps: int, seeds
) -> Tensor:
    """Validation accuracy (rates, seeds) in percent after a short training at each learning rate."""
    x, y, x_valid, y_valid, *_ = data
    rights = torch.zeros(len(rates), len(seeds))
    for i, rate in enumerate(tqdm(rates, desc=f"{activation}, {arm}", disable=None)):
        for j, seed in enumerate(seeds):
            model = network(x.shape[1], width, activation, arm, seed).to(x.device)
            train(model, x, y, rate, steps, seed)
            rights[i, j] = accuracy(model, x_valid, y_valid)
    return rights


def largest_rate(rates: list[float], rights: Tensor) -> float:
    """The largest learning rate at which every seed trains; 0 if there is none."""
    return max([rate for rate, row in zip(rates, rights) if row.min() > TRAINS], default=0.0)


def figure_1(data: list[Tensor], width: int, arm: str, rate: float, moments: list[int], seed: int):
    """A long training: test accuracy (moments,), percentiles (moments, 3, width) on 1,000 validation images."""
    x, y, x_valid, _, x_test, y_test = data
    model = network(x.shape[1], width, "sigmoid", arm, seed).to(x.device)

    def watch() -> tuple[float, Tensor]:
        return accuracy(model, x_test, y_test), percentiles(model, x_valid[:1000]).cpu()

    rights, seen = zip(*train(model, x, y, rate, moments[-1], seed, watch, moments))
    return torch.tensor(rights), torch.stack(seen)


def wander(seen: Tensor) -> Tensor:
    """How far each unit's median travels, in widths of its distribution: (moments, 3, width) to (width,)."""
    low, median, high = seen.unbind(1)  # (moments, width)
    return (median.amax(0) - median.amin(0)) / (high - low).mean(0)


def first_step(rights: Tensor, moments: list[int], target: float) -> int:
    """The first moment at which an accuracy is reached; one that never is counts as all the steps."""
    return next((moment for moment, right in zip(moments, rights) if right >= target), moments[-1])


def scaled_weights(a: float, eps: float, convolution: bool, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Sec. 3.3: BN((aW)u) in float64, and the gradients of some function of it for aW and for u."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(8, 3, 9, 9), (40, 3, 3, 3), (8, 40, 7, 7)] if convolution else [(60, 50), (50, 40), (60, 40)]
    u, w, readout = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    u, w = u.requires_grad_(), (a * w).requires_grad_()
    y = BatchNorm(40, eps).double()(F.conv2d(u, w) if convolution else u @ w)
    return y.detach(), *torch.autograd.grad((readout * y).sum(), (w, u))


def scaling_error(a: float, eps: float, convolution: bool, seed: int) -> float:
    """The worst deviation from the three laws of sec. 3.3, as a fraction of the largest value."""
    expected = scaled_weights(1.0, eps, convolution, seed)
    y, grad_w, grad_u = scaled_weights(a, eps, convolution, seed)
    pairs = zip((y, a * grad_w, grad_u), expected)
    return max(((ours - theirs).abs().max() / theirs.abs().max()).item() for ours, theirs in pairs)


def learn_a_bias(ignore: bool, steps: int, seed: int, rate: float = 0.1) -> tuple[Tensor, Tensor, float]:
    """Sec. 2: x = u + b, x̂ = x − E[x]; gradient descent on b, in which E[x] depends on b or is taken for a constant.

    Returns b and the loss, (steps + 1,) each, and the b that steps of −rate · ∂l/∂x̂ alone add up to.
    """
    generator = torch.Generator().manual_seed(seed)
    u, noise = torch.randn(2, 1000, generator=generator, dtype=torch.float64)
    target = u + noise + 1  # of mean 1 or so, which an x̂ of mean 0 can't reach
    b = torch.zeros((), dtype=torch.float64, requires_grad=True)
    history = []
    for _ in range(steps + 1):
        x = u + b
        mean = x.mean().detach() if ignore else x.mean()
        loss = ((x - mean - target) ** 2).mean() / 2
        history.append((b.item(), loss.item()))
        b.data -= rate * torch.autograd.grad(loss, b)[0]
    return *torch.tensor(history, dtype=torch.float64).T, steps * rate * target.mean().item()


# %% Figure


def draw_percentiles(axis, moments: list[int], seen: Tensor, arm: str) -> None:
    """Of the unit whose wandering is the median of its layer, as wander() sees it: from the first median, in widths."""
    ways = wander(seen)
    unit = seen[:, :, ways.argsort()[len(ways) // 2]]  # (moments, 3)
    low, median, high = ((unit - unit[0, 1]) / (unit[:, 2] - unit[:, 0]).mean()).T
    axis.fill_between(moments, low, high, color=ARMS[arm], alpha=0.25, label="15th to 85th percentile")
    axis.plot(moments, median, color=ARMS[arm], lw=2, label="median")
    axis.set(xscale="log", xlabel="step", ylabel="a sigmoid's input (widths)")


def draw(curves: dict, moments: list[int], tried: dict, grid: dict, scaled: dict, biases: dict, path: Path):
    """curves: arm -> [(accuracies, percentiles) of each seed]; tried: (activation, arm) -> (rates, seeds), and grid
    those rates; scaled: a -> gradient's norm; biases: what learn_a_bias returns, mean ignored and not."""
    plt.rcParams.update({"font.size": 12, "axes.titlesize": 13, "axes.titleweight": "bold"})
    figure, ((learning, plain, normalized), (rate, scale, bias)) = plt.subplots(
        2, 3, figsize=(13.5, 8), layout="constrained"
    )
    for arm, runs in curves.items():
        rights = torch.stack([right for right, _ in runs])
        learning.plot(moments, rights.mean(0), color=ARMS[arm], lw=2, label=arm)
        learning.fill_between(moments, rights.amin(0), rights.amax(0), color=ARMS[arm], alpha=0.2)
    learning.set(title="Normalized nets learn at once", xscale="log", ylim=(0, 100))
    learning.set(xlabel="step", ylabel="test accuracy (%)")
    learning.legend(loc="lower right")

    draw_percentiles(plain, moments, curves["plain"][0][1], "plain")
    draw_percentiles(normalized, moments, curves["normalized"][0][1], "normalized")
    low, high = zip(plain.get_ylim(), normalized.get_ylim())
    room = 0.25 * (max(high) - min(low))  # for the legend
    for axis, title in ((plain, "Plain: the inputs wander"), (normalized, "Normalized: they wander less")):
        axis.set(title=title, ylim=(min(low), max(high) + room))
        axis.legend(loc="upper left")

    for (activation, arm), rights in tried.items():
        style = "-" if activation == "sigmoid" else "--"
        rate.plot(grid[activation], rights.mean(1), style, marker="o", color=ARMS[arm])
    for style, activation in zip(("-", "--"), RATES):
        rate.plot([], [], style, color="0.3", label=activation)
    rate.axhline(TRAINS, color="0.7", lw=1, zorder=0)
    rate.set(title="Larger learning rates still train", xscale="log", xlim=(0.03, 150), ylim=(0, 100))
    rate.set(xlabel="learning rate", ylabel="validation accuracy (%)")
    rate.legend(loc="lower left")

    scale.plot(list(scaled), [scaled[1.0] / a for a in scaled], color="0.6", label="1/a")
    scale.plot(list(scaled), list(scaled.values()), "o", color=ARMS["normalized"], ms=8, label="measured")
    scale.set(title="Larger weights get smaller gradients", xscale="log", yscale="log")
    scale.set(xlabel="a", ylabel="norm of the gradient for aW")
    scale.legend()

    for (label, (b, loss, _)), colour, width in zip(biases.items(), ("C3", ARMS["normalized"]), (6, 2)):
        bias.plot(b, color=colour, lw=2, label=f"b, {label}")
        bias.plot(loss, ":", color=colour, lw=width, label=f"loss, {label}")
    bias.set(title="Mean ignored: the bias grows in vain", xlabel="step", ylabel="bias b, loss")
    bias.legend()
    figure.savefig(path, dpi=100)
    plt.close(figure)


# %% Run


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"), help="where data sets are kept")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="where the figure and the results go")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0, help="the first of three")
    parser.add_argument("--steps", type=int, default=2700, help="of the long trainings")
    parser.add_argument("--width", type=int, default=100, help="units a hidden layer")
    parser.add_argument("--smoke", action="store_true", help="a few steps, to see that it runs")
    args = parser.parse_args(argv)
    for size in ("steps", "width"):
        if getattr(args, size) < 1:
            parser.error(f"--{size} {getattr(args, size)}: at least one is needed")
    try:
        torch.zeros(1, device=args.device)
        args.out.mkdir(parents=True, exist_ok=True)
    except (RuntimeError, AssertionError, OSError) as error:
        parser.error(f"--device {args.device}, --out {args.out}: {str(error).splitlines()[0]}")
    if not os.access(args.out, os.W_OK):
        parser.error(f"--out {args.out}: can't be written to")
    return args


def spread(values: list[float], digits: int) -> str:
    """'mean (least to most)'."""
    values = [float(value) for value in values]
    return f"{sum(values) / len(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def main(argv: list[str] | None = None) -> dict:
    args = parse_args(argv)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # products as small as these are no faster on two
    try:
        return run(args)
    finally:
        torch.set_num_threads(threads)


def run(args: argparse.Namespace) -> dict:
    started = time.perf_counter()
    dataset, data = load_data(args.data)
    data = [tensor.to(args.device) for tensor in data]
    steps, count = (30, 2) if args.smoke else (args.steps, None)
    grid = {activation: rates[:count] for activation, rates in RATES.items()}
    seeds = range(args.seed, args.seed + 3)
    first = min(20, steps)
    moments = sorted({round(first * (steps / first) ** (k / 29)) for k in range(30)})

    tried, best, curves = {}, {}, {}
    for activation, share in (("sigmoid", 3), ("ReLU", 10)):
        for arm in ARMS:
            some = max(1, steps // share)
            tried[activation, arm] = tried_rates(data, args.width, activation, arm, grid[activation], some, seeds)
    for arm in ARMS:
        best[arm] = grid["sigmoid"][tried["sigmoid", arm].mean(1).argmax()]
        curves[arm] = [figure_1(data, args.width, arm, best[arm], moments, s) for s in tqdm(seeds, arm, disable=None)]

    scaled = {a: scaled_weights(a, 0.0, False, args.seed)[1].norm().item() for a in SCALES}
    exact, usual = (
        max(scaling_error(a, eps, convolution, args.seed) for a in SCALES for convolution in (False, True))
        for eps in (0.0, 1e-5)
    )
    biases = {"mean ignored": learn_a_bias(True, 200, args.seed), "full gradient": learn_a_bias(False, 200, args.seed)}
    draw(curves, moments, tried, grid, scaled, biases, args.out / f"{NAME}.png")

    right = {arm: torch.stack([r[-1] for r, _ in runs]) for arm, runs in curves.items()}  # (seeds,)
    ends = right["plain"].tolist()  # each seed's plain net sets a target of its own, and reaches it
    needed = {
        (arm, target): [first_step(rights, moments, target or end) for (rights, _), end in zip(curves[arm], ends)]
        for arm in ARMS
        for target in (80, 90, None)
    }
    fewer = {t: [p / n for p, n in zip(needed["plain", t], needed["normalized", t])] for t in (80, 90, None)}
    ways = {arm: [wander(seen).mean().item() for _, seen in runs] for arm, runs in curves.items()}
    largest = {key: largest_rate(grid[key[0]], rights) for key, rights in tried.items()}
    (b, loss, sum_of_steps), (b_full, *_) = biases.values()
    blind_loss, still = (loss - loss[0]).abs().max().item(), b_full.abs().max().item()
    claims = [
        (
            "the normalized net is the more accurate one after as many steps, with every seed",
            "faster, and higher at the end (Fig. 1a, 50,000 steps)",
            f"test accuracy {spread(right['normalized'], 1)}%, plain {spread(right['plain'], 1)}%, "
            f"better by {spread(right['normalized'] - right['plain'], 2)} points, {len(seeds)} seeds",
            (right["normalized"] > right["plain"]).all(),
        ),
        (
            "it takes fewer steps to a given accuracy, here 80 and 90%",
            "14 times fewer, Inception at its best setting (sec. 4.2)",
            f"{spread(fewer[80], 1)} times fewer to 80%, {spread(fewer[90], 1)} to 90%, {spread(fewer[None], 1)} to "
            f"the plain net's accuracy after {moments[-1]:,} steps (no verdict), {len(seeds)} seeds",
            all(max(needed["normalized", t]) < min(needed["plain", t]) for t in (80, 90)),
        ),
        (
            "it keeps the distribution of a layer's inputs in its place",
            "more stable with BN (Fig. 1b, c)",
            f"the median travels {spread(ways['normalized'], 2)} widths, plain {spread(ways['plain'], 2)}, "
            f"mean of all {args.width} units, {len(seeds)} seeds",
            max(ways["normalized"]) < min(ways["plain"]),
        ),
        (
            "it trains at learning rates at which the plain net doesn't",
            "much higher rates, no ill effects (sec. 3.3, 4.2)",
            "; ".join(
                f"{k}: {largest[k, 'normalized'] or 'none'}, plain {largest[k, 'plain'] or 'none'}" for k in ACTIVATIONS
            )
            + f", {len(seeds)} seeds",
            all(largest[k, "normalized"] > largest[k, "plain"] for k in ACTIVATIONS),
        ),
        (
            "BN((aW)u) = BN(Wu), with 1/a of the gradient for the weights and the same for u",
            "equal (sec. 3.3)",
            f"off by {exact:.0e} at most for a = {SCALES[0]:g} to {SCALES[-1]:g}, linear and convolution, with ε = 0; "
            f"by {usual:.0e} with ε = 1e-5",
            exact < 1e-10,
        ),
        (
            "a gradient that ignores the mean moves a bias for ever and the loss not at all; the full one is 0",
            "b grows indefinitely while the loss remains fixed (sec. 2)",
            f"b {b[-1]:.1f} after {len(b) - 1} steps (−Σ rate · ∂l/∂x̂: {sum_of_steps:.1f}) and the loss "
            f"within {blind_loss:.0e} of where it was; full gradient: b within {still:.0e} of 0",
            abs(b[-1] / sum_of_steps - 1) < 1e-9 and blind_loss < 1e-9 and still < 1e-9,
        ),
    ]
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
            **{f"{arm}: test accuracy (%)": round(right[arm].mean().item(), 2) for arm in ARMS},
            **{f"{arm}: steps to {t}%": round(sum(needed[arm, t]) / len(seeds)) for t in (80, 90) for arm in ARMS},
            **{f"times fewer steps to {t}%": round(sum(fewer[t]) / len(seeds), 1) for t in (80, 90)},
            "times fewer steps to the plain net's last accuracy": round(sum(fewer[None]) / len(seeds), 1),
            **{f"{arm}: wandering of the median (widths)": round(sum(ways[arm]) / len(seeds), 3) for arm in ARMS},
            **{f"{arm}: best learning rate": best[arm] for arm in ARMS},
            **{f"{k}, {arm}: largest learning rate that trains": rate for (k, arm), rate in largest.items()},
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
