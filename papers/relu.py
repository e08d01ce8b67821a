# /// script
# requires-python = ">=3.11"
# dependencies = ["torch", "torchvision", "scikit-learn", "matplotlib", "tqdm"]
# ///
"""Deep Sparse Rectifier Neural Networks
Glorot, Bordes & Bengio, 2011 (AISTATS)

    python papers/relu.py              the experiment
    python papers/relu.py --smoke      a few steps, to see that it runs

The idea
    A neuron is silent most of the time, and when it does fire, more input makes it fire more. Sigmoid units do
    neither: they always say something, and soon say no more. So take the plainest function that does both,

        rectifier(x) = max(0, x),      slope 1 where x > 0, else 0                             (sec. 3.1)

    With it an input chooses which units speak; given that choice the net is linear, and the gradient goes along the
    active paths unchanged, where tanh and the softplus log(1 + e^x), a rectifier with its corner rounded off, shrink it
    at every unit. Half of all units are silent at random weights, with outputs of exactly zero: a sparse code for free,
    and an L1 penalty λ Σ|h| on the outputs h makes it sparser. Does the hard zero hurt, since it stops the gradient?

    How the gradient fades is a law at the start. Weights uniform in ±√(6 / (in + out)) keep the variance going through
    linear units (Glorot & Bengio 2010). A rectifier passes half of the paths, so a layer leaves √½ of the gradient's
    norm; softplus has slope ½ about 0, and leaves ½; tanh has slope 1, and leaves nearly all.

Symbols
    h    hidden       (S, B, units)    a hidden layer's outputs: S nets side by side, B images each
    λ    penalties    (S,)             strength of the L1 penalty, one for each net

Built from scratch
    Rectifier, tanh and softplus with their derivatives, and the nets, several at once. Tests hold the functions
    against torch's and finite differences, the nets and their training against torch.nn and torch.optim.SGD.

Claims
    1. With three hidden layers rectifiers err less than tanh units, and these less than softplus units (Table 1).
    2. Rectifier nets bear depth without pre-training: from one layer to five they lose less than softplus (sec. 4.1).
    3. Half of the outputs are exactly zero at the start, and more after training (sec. 3.1, Table 1).
    4. At the start the gradient keeps √½ of its norm through a layer of rectifiers, ½ through softplus units.
    5. An L1 penalty makes at least three quarters of the outputs zero without harm (Fig. 3: about 85%).

Departures
    Images of 14x14, 100 units a layer (paper: 28x28, 1,000), 2,200 steps. For every activation and depth the learning
    rate is the best of one grid on validation images. No pre-training, no penalty but in claim 5.

Notes
    On 1,797 digits little of this comes out. Tanh is level with rectifiers or first (2.5 to 2.6%, rectifier 2.5 to 3.1,
    softplus 3.3 to 3.9), so claim 1 FAILS there with all three seeds and claim 2 with two; and the share of zeros stays
    where it was (49 to 50%, then 50 to 51), so claim 3 FAILS with all. On MNIST all five hold with all three seeds.
    360 test digits are few: one of them is 0.28 points.
    Our nets end at 63% zeros and not at 83: the first layer goes to 75, those above it stay at about 60. The learning
    rate makes more of a difference than depth: on MNIST three layers had 34, 40, 46, 56 and 72% for rates of 0.03, 0.1,
    0.2, 0.4 and 0.8, and with the smallest the share falls below the half it began with.
    The step from harmless to fatal is short: λ = 0.01 has 87% zeros and 0.3 points more error, λ = 0.02 left some nets
    with hardly a unit that speaks, and one answer to everything.
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
from torch import Tensor
from tqdm import trange

NAME = Path(__file__).stem
TITLE = "Deep Sparse Rectifier Neural Networks"
COLOURS = {"rectifier": "C0", "tanh": "C1", "softplus": "C2"}
DEPTHS = [1, 2, 3, 4, 5]
RATES = [0.1, 0.2, 0.4, 0.8]  # of gradient descent, for every activation and depth
PENALTIES = [0.0, 1e-3, 3e-3, 6e-3, 1e-2, 2e-2]  # L1, on the outputs of the hidden units


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
    """MNIST, halved to 14x14, where it is on disk or can be fetched; else scikit-learn's 1,797 real 8x8 digits.

    Returns the data set's name, and images (n, pixels) in [0, 1] and labels (n,) to train on, to choose learning
    rates by, and to test on.
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
    (x, y), test = ((F.avg_pool2d(s.data / 255, 2).flatten(1), s.targets) for s in sets)
    return "MNIST", [x[:-5000], y[:-5000], x[-5000:], y[-5000:], *test]


# %% Model


class Rectifier(torch.autograd.Function):
    """max(0, x). Its slope is 1 where the unit is active and 0 where it is silent; 0 at 0 itself."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        y = torch.where(x > 0, x, 0.0)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, grad_y: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return torch.where(y > 0, grad_y, 0.0)


class Softplus(torch.autograd.Function):
    """log(1 + e^x), a rectifier without its corner, with the logistic function for a slope."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.where(x > 0, x, 0.0) + torch.log1p(torch.exp(-x.abs()))  # e^x alone overflows

    @staticmethod
    def backward(ctx, grad_y: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad_y / (1 + torch.exp(-x))


class Tanh(torch.autograd.Function):
    """(e^x − e^−x) / (e^x + e^−x), odd about 0; its slope is 1 − y²."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        e = torch.exp(-2 * x.abs())
        y = x.sign() * (1 - e) / (1 + e)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, grad_y: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return grad_y * (1 - y**2)


ACTIVATIONS = {"rectifier": Rectifier.apply, "tanh": Tanh.apply, "softplus": Softplus.apply}


def new_nets(sizes: list[int], seeds: list[int]) -> list[Tensor]:
    """A net a seed, side by side: weights (S, in, out) uniform in ±√(6 / (in + out)) (Glorot & Bengio 2010, eq. 16)
    and biases (S, 1, out) of 0, layer after layer. The same seed is the same net, for every activation."""
    draws = [torch.Generator().manual_seed(seed) for seed in seeds]
    nets = []
    for i, o in zip(sizes, sizes[1:]):
        bound = (6 / (i + o)) ** 0.5
        nets.append(torch.stack([(2 * torch.rand(i, o, generator=draw) - 1) * bound for draw in draws]))
        nets.append(torch.zeros(len(seeds), 1, o))
    return nets


def forward(nets: list[Tensor], activation: str, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Images (S, B, pixels), a batch for each net, to logits (S, B, 10) and hidden outputs (S, B, units)."""
    hidden = []
    for w, b in zip(nets[:-2:2], nets[1:-2:2]):
        x = ACTIVATIONS[activation](torch.baddbmm(b, x, w))
        hidden.append(x)
    return torch.baddbmm(nets[-1], x, nets[-2]), hidden


def losses(logits: Tensor, hidden: list[Tensor], y: Tensor, penalties: Tensor) -> Tensor:
    """Each net's cross-entropy plus its λ Σ |h|, summed over its units and averaged over the batch: (S,)."""
    entropy = F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none").view(y.shape).mean(1)
    return entropy + penalties * sum(h.abs().sum(2).mean(1) for h in hidden)


# %% Training


def train(nets: list, activation: str, x: Tensor, y: Tensor, rates: Tensor, penalties: Tensor, seeds: list, steps: int):
    """Gradient descent on batches of 50, the rate falling to 0 in a straight line, each net with its own rate (S,),
    L1 penalty (S,) and batches. In place; returns the nets."""
    draws = {seed: torch.randint(len(x), (steps, 50), generator=torch.Generator().manual_seed(seed)) for seed in seeds}
    batches = torch.stack([draws[seed] for seed in seeds], dim=1).to(x.device)  # (steps, S, 50)
    for weights in nets:
        weights.requires_grad_()
    for step in trange(steps, desc=f"{len(seeds)} x {activation}", leave=False, disable=None):
        logits, hidden = forward(nets, activation, x[batches[step]])
        grads = torch.autograd.grad(losses(logits, hidden, y[batches[step]], penalties).sum(), nets)
        with torch.no_grad():
            for weights, grad in zip(nets, grads):
                weights -= rates[:, None, None] * (1 - step / steps) * grad
    return nets


@torch.no_grad()
def test(nets: list[Tensor], activation: str, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Each net's error on images (n, pixels) in percent, (S,), and its share of hidden outputs that are exactly 0,
    layer by layer (S, depth)."""
    wrong, zeros = 0, 0
    for some, truth in zip(x.split(1000), y.split(1000)):
        logits, hidden = forward(nets, activation, some.expand(len(nets[0]), -1, -1))
        wrong += (logits.argmax(2) != truth).sum(1)
        zeros += torch.stack([(h == 0).float().mean(2).sum(1) for h in hidden], dim=1)
    return 100 * wrong / len(x), zeros / len(x)


# %% Experiments


def choose_rate(data: list[Tensor], activation: str, sizes: list[int], steps: int, seed: int) -> float:
    """The learning rate of RATES with the least error on the validation images, one net each from the same start."""
    x, y, x_valid, y_valid, *_ = data
    seeds, rates = [seed] * len(RATES), torch.tensor(RATES, device=x.device)
    nets = [weights.to(x.device) for weights in new_nets(sizes, seeds)]
    train(nets, activation, x, y, rates, torch.zeros_like(rates), seeds, steps)
    return RATES[test(nets, activation, x_valid, y_valid)[0].argmin()]


def train_and_test(
    data: list[Tensor], activation: str, sizes: list[int], rate: float, penalties: list[float], seeds: list, steps: int
) -> tuple[Tensor, Tensor]:
    """A net for each penalty and seed: test error (penalties, seeds) in percent, zeros (penalties, seeds, depth)."""
    x, y, _, _, x_test, y_test = data
    each = torch.tensor(penalties, device=x.device).repeat_interleave(len(seeds))
    repeated = seeds * len(penalties)
    nets = [weights.to(x.device) for weights in new_nets(sizes, repeated)]
    train(nets, activation, x, y, torch.full_like(each, rate), each, repeated, steps)
    error, zeros = test(nets, activation, x_test, y_test)
    return error.view(len(penalties), -1).cpu(), zeros.view(len(penalties), len(seeds), -1).cpu()


def at_start(data: list[Tensor], activation: str, sizes: list[int], seeds: list) -> tuple[Tensor, Tensor]:
    """Before any training, on 500 images: the norm of the loss's gradient for each hidden layer's outputs, root
    mean square over images (S, depth), and the share of hidden outputs that are 0 (S, depth)."""
    x, y = (t[:500].expand(len(seeds), *t[:500].shape) for t in data[:2])
    nets = [weights.to(x.device).requires_grad_() for weights in new_nets(sizes, seeds)]
    logits, hidden = forward(nets, activation, x)
    grads = torch.autograd.grad(losses(logits, hidden, y, torch.zeros(len(seeds), device=x.device)).sum(), hidden)
    norms = torch.stack([grad.norm(dim=2).square().mean(1).sqrt() * x.shape[1] for grad in grads], dim=1)
    return norms.cpu(), torch.stack([(h == 0).float().mean((1, 2)) for h in hidden], dim=1).cpu()


# %% Figure


def band(axis, x, runs: Tensor, colour: str, label: str, style: str = "o-") -> None:
    """Mean and range of runs (points, seeds)."""
    axis.plot(x, runs.mean(1), style, color=colour, label=label)
    axis.fill_between(x, runs.amin(1), runs.amax(1), color=colour, alpha=0.2, lw=0)


def draw(errors: dict, start: dict, zeros: Tensor, sparse: tuple[Tensor, Tensor], path: Path) -> None:
    """errors: activation -> (depths, seeds); start: activation -> (norms, zeros) of at_start; zeros (seeds, depth) of
    the deepest rectifier nets after training; sparse: (penalties, seeds) test error and share of zeros."""
    plt.rcParams.update({"font.size": 11})
    figure, ((by_depth, by_layer), (gradient, penalty)) = plt.subplots(2, 2, figsize=(11, 8), layout="constrained")
    for name, runs in errors.items():
        band(by_depth, DEPTHS, runs, COLOURS[name], name)
    by_depth.set(title="Rectifiers err least, and bear depth", xlabel="hidden layers", ylabel="test error (%)")
    by_depth.set(xticks=DEPTHS, yscale="log")
    by_depth.set_yticks(ticks := [2, 3, 5, 10, 20, 50], [str(tick) for tick in ticks])
    ends = [end(run).item() for run in errors.values() for end in (torch.amin, torch.amax)]
    by_depth.set_ylim(0.9 * min(ends), 1.6 * max(ends))
    by_depth.minorticks_off()
    by_depth.legend()

    layers = torch.arange(zeros.shape[1]) + 1
    band(by_layer, layers, 100 * start["rectifier"][1].T, "0.5", "before training")
    band(by_layer, layers, 100 * zeros.T, COLOURS["rectifier"], "after")
    by_layer.axhline(83, color="0.3", ls=":")
    by_layer.text(1, 84.5, "the paper's nets after training (as recalled)", fontsize=9, color="0.3")
    by_layer.set(title="Half of all outputs are exactly 0", ylim=(0, 100), xticks=layers)
    by_layer.set(xlabel="hidden layer", ylabel="zeros among the outputs (%)")
    by_layer.legend(loc="lower left")

    for name, (norms, _) in start.items():
        band(gradient, layers, norms.T / norms.T[-1], COLOURS[name], name)
    gradient.set(title="On its way down the softplus gradient fades most", yscale="log", xticks=layers)
    gradient.set(xlabel="hidden layer (5: nearest to the output)", ylabel="gradient at start, over the last layer's")
    gradient.legend()

    error, share = sparse
    penalty.axhspan(error[0].min(), error[0].max(), color="0.88", zorder=0, label="range without a penalty")
    penalty.plot(100 * share.mean(1), error.mean(1), "-", color=COLOURS["rectifier"])
    for strength, x, y in zip(PENALTIES, 100 * share, error):
        penalty.plot(x, y, "o", color=COLOURS["rectifier"], ms=5)
        penalty.annotate(
            f"{strength:g}" if strength else "λ = 0",
            (x.mean(), y.max()),
            (0, 6),
            textcoords="offset points",
            fontsize=9,
            ha="center",
        )
    penalty.set(title="Zeros cost nothing until there are very many", xlabel="zeros among the outputs (%)")
    penalty.set(ylabel="test error (%)", xlim=(None, 103))
    penalty.set_yscale("log")
    penalty.set_yticks(ticks, [str(tick) for tick in ticks])
    penalty.minorticks_off()
    penalty.margins(y=0.15)
    penalty.legend(loc="upper left")
    figure.savefig(path, dpi=110)
    plt.close(figure)


# %% Run


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"), help="where data sets are kept")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="where the figure and the results go")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0, help="the first of three")
    parser.add_argument("--steps", type=int, default=2200, help="training steps of every net")
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


def spread(values: Tensor, digits: int = 1) -> str:
    """'mean (least to most)'."""
    return f"{values.mean():.{digits}f} ({values.min():.{digits}f} to {values.max():.{digits}f})"


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
    steps = 5 if args.smoke else args.steps
    seeds = list(range(args.seed, args.seed + (2 if args.smoke else 3)))
    sizes = {depth: [data[0].shape[1], *[args.width] * depth, 10] for depth in DEPTHS}

    rates, errors, zeros = {}, {name: [] for name in ACTIVATIONS}, {}
    for name in ACTIVATIONS:
        for depth in DEPTHS:
            rates[name, depth] = choose_rate(data, name, sizes[depth], max(1, steps // 3), seeds[0])
            error, silent = train_and_test(data, name, sizes[depth], rates[name, depth], [0.0], seeds, steps)
            errors[name].append(error[0])
            if name == "rectifier":
                zeros[depth] = silent[0]  # (seeds, depth)
    errors = {name: torch.stack(runs) for name, runs in errors.items()}  # (depths, seeds)
    start = {name: at_start(data, name, sizes[5], seeds) for name in ACTIVATIONS}
    error, silent = train_and_test(data, "rectifier", sizes[3], rates["rectifier", 3], PENALTIES, seeds, steps)
    share = silent.mean(2)  # (penalties, seeds): layers are equally wide
    draw(errors, start, zeros[5], (error, share), args.out / f"{NAME}.png")

    three = {name: runs[2] for name, runs in errors.items()}  # (seeds,), three hidden layers as in the paper's Table 1
    growth = {name: runs[4] - runs[0] for name, runs in errors.items()}  # (seeds,), from one layer to five
    first, last = start["rectifier"][1].mean(1), zeros[5].mean(1)  # (seeds,)
    fading = {name: (norms[:, 0] / norms[:, -1]) ** 0.25 for name, (norms, _) in start.items()}  # a layer
    harm = error - error[0]  # (penalties, seeds), points
    harmless = [k for k in range(len(PENALTIES)) if harm[k].mean() <= error[0].std()]
    free = max(share[k].mean().item() for k in harmless)
    claims = [
        (
            "rectifier nets of three layers err less than tanh nets, and these less than softplus nets",
            "1.43, 1.57, 1.77%, without pre-training (Table 1, as recalled)",
            f"{', '.join(f'{name} {spread(three[name])}' for name in ACTIVATIONS)}%, {len(seeds)} seeds",
            three["rectifier"].max() < three["tanh"].min() and three["tanh"].max() < three["softplus"].min(),
        ),
        (
            "rectifier nets bear depth: from one layer to five the error grows less than that of softplus nets",
            "rectifiers reach their best without pre-training (sec. 4.1)",
            "; ".join(
                f"{name} {' '.join(f'{e:.1f}' for e in errors[name].mean(1))}%, {growth[name].mean():+.1f} points"
                for name in ACTIVATIONS
            )
            + f", {len(seeds)} seeds",
            growth["rectifier"].max() < growth["softplus"].min(),
        ),
        (
            "half of a rectifier net's outputs are zero at the start, and more after training",
            "about 50%, then 83% (sec. 3.1 and Table 1, as recalled)",
            f"{spread(100 * first)}%, then {spread(100 * last)}%, five layers, {len(seeds)} seeds",
            0.4 < first.min() and first.max() < 0.6 and (last > first).all(),
        ),
        (
            "at the start the gradient keeps about √½ of its norm a layer with rectifiers, ½ with softplus units",
            "gradients flow well on the active paths (sec. 3.1); the numbers are our reckoning",
            f"times {', '.join(f'{fading[name].mean():.2f} ({name})' for name in ACTIVATIONS)} a layer on the way "
            f"down, {len(seeds)} seeds",
            all(abs(fading[n].mean() / law - 1) < 0.1 for n, law in (("rectifier", 0.5**0.5), ("softplus", 0.5))),
        ),
        (
            "an L1 penalty makes at least three quarters of the outputs zero without harm",
            "no harm until about 85% zeros (Fig. 3)",
            f"{100 * free:.0f}% zeros within one deviation ({error[0].std():.2f} points) of no penalty's "
            f"{error[0].mean():.2f}%; {harm[-1].mean():+.2f} points at {100 * share[-1].mean():.0f}%; "
            f"{len(seeds)} seeds",
            free >= 0.75,
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
            **{
                f"{n}, {d} layers: test error (%)": round(errors[n][d - 1].mean().item(), 2)
                for n in errors
                for d in DEPTHS
            },
            **{f"{n}, {d} layers: learning rate": rate for (n, d), rate in rates.items()},
            **{
                f"zeros in layer {k + 1} of 5 after training (%)": round(100 * z.item(), 1)
                for k, z in enumerate(zeros[5].mean(0))
            },
            **{f"{n}: gradient kept a layer, going down": round(f.mean().item(), 3) for n, f in fading.items()},
            **{f"L1 {p:g}: zeros (%)": round(100 * s.mean().item(), 1) for p, s in zip(PENALTIES, share)},
            **{f"L1 {p:g}: test error (%)": round(e.mean().item(), 2) for p, e in zip(PENALTIES, error)},
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
