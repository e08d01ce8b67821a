# /// script
# requires-python = ">=3.11"
# dependencies = ["torch", "torchvision", "scikit-learn", "matplotlib", "tqdm"]
# ///
"""Gradient-Based Learning Applied to Document Recognition
LeCun, Bottou, Bengio & Haffner, 1998 (Proceedings of the IEEE 86(11), 2278-2324)

    python papers/lenet.py              the experiments
    python papers/lenet.py --smoke      a few steps, to see that it runs

The idea
    A net that sees an image as a list of pixels has to learn every shape anew for every place. LeNet-5 knows
    three things beforehand. A useful detector is small (5x5 pixels); what is useful in one place is useful in all, so
    a map of units shares one set of weights; and exactly where a feature lies matters little, so after each
    convolution a layer of half the resolution sums squares of 2x2, with one coefficient and one bias a map:

        C1 6@28x28 → S2 6@14x14 → C3 16@10x10 → S4 16@5x5 → C5 120 → F6 84 → ten Gaussian units

    Every unit is squashed by f(a) = 1.7159 tanh(2a/3), for which f(1) = 1 and f(−1) = −1. A map of C3 reads only some
    of S2's maps (Table I): fewer connections, and no two maps see the same, so they can't learn the same.
    The last layer asks how far the 84 units of F6 are from a picture of the digit, 7x12 pixels of −1 and +1:

        y_i = Σ_j (x_j − w_ij)²                                                                (eq. 7)
        E = mean of y_D + log(e^−j + Σ_i e^−y_i)                                               (eq. 9)

    D is the true digit. The first term pulls F6 to its picture. The second pushes it off the others, but only those
    that are near: e^−j is a rubbish class at distance j, and what is farther away than that is left alone.

Symbols
    f           squash      any shape    eq. 6 and appendix A
    x_j         F6          (B, 84)      states of the last hidden layer
    w_ij        BITMAPS     (10, 84)     the pictures, fixed
    y_i         penalties   (B, 10)      squared distances, eq. 7; the smallest is the answer
    j           rubbish     scalar       distance of the rubbish class in eq. 9

Built from scratch
    The whole architecture at its full size: Table I as 60 kernels scattered into one convolution, trainable
    subsampling, Gaussian units on bitmaps drawn here, squashing, the start, the loss of eq. 9; k-nearest neighbours, a
    linear classifier, the distortions. Convolution and pooling themselves, Adam and autograd are torch's. Tests hold
    the layers against single convolutions and loops, connections against non-zeros of Jacobians, the
    rest against scikit-learn and SciPy.

Claims
    1. Layer by layer, parameters and connections are as published: 60,000 and 340,908 in all (sec. II-B).
    2. The order of errors is linear > k-nearest neighbours > 300 hidden units > LeNet-5 (Fig. 9).
    3. LeNet-5 errs on less than 1.5% of the test images (0.95% in the paper).
    4. Distorted training images lower the error (Fig. 9: 0.95 to 0.8%), here of a net that has few images.
    5. Of the four methods, LeNet-5 loses least when the digit is shifted (as recalled: sec. III, Fig. 13).
    6. The same for its scale.
    7. The same for its rotation.
    8. The same for flipped pixels.

Departures
    Adam with a rate that rises for a tenth of the steps and falls as a cosine, 2,400 batches of 128 (paper: 20 passes
    of stochastic diagonal Levenberg-Marquardt). The rate of each net is the best of three after a fifth of the steps,
    on the last sixth of the training images. j = 4 was fixed beforehand: the paper doesn't say. The 300-unit net has
    the same squashing, start and training, with a softmax, which is eq. 9 with y = −output and j → ∞. The linear
    classifier is least squares. The ten bitmaps are drawn after the idea of Fig. 3, not copied.
    The distortions of claim 4 are shifts to 2 pixels, 15% of scale or squeezing, and a shear to 0.2 (the paper names
    the kinds, not the sizes), fresh in every batch. They are tried on 1,000 training images, a fifth of the steps,
    three seeds an arm, both at LeNet-5's rate: 60,000 images seen five times over are not learnt by heart.
    Robustness is an average over levels set beforehand, on the first 400 test images. The three other methods see
    the middle 28x28 of each image, as in the paper.

Notes
    With 1,600 steps LeNet-5 ended at 1.30, 1.44 and 1.56% of MNIST's test images with seeds 0, 1 and 2, the last above
    the bar of claim 3. There was time for half as many steps again, for both nets alike, so there are 2,400 now: 1.14,
    1.35, 1.10%. On the digits it is 1.00, 1.00 and 1.50% (9 of 600, which is not less), so claim 3 FAILS there with
    seed 2; rounding in single precision had first let it through.
    Claim 2 holds on MNIST each time. On the 1,797 digits it FAILS, because there three neighbours (1.83%) are no worse
    than 300 hidden units (2.17, 2.33, 2.67%); LeNet-5 stays ahead of both.
    Claims 5 and 6 hold on MNIST and FAIL on the digits, where nearest neighbours lose 3 to 13 points less to shift
    and scale; why was not looked into. Claim 7 FAILS everywhere: on MNIST neighbours lose as much to rotation as
    LeNet-5 does (differences −0.4 to 1.3 points, standard error 1.5).
    Claim 8 FAILS everywhere, and clearly: with a fifth of the pixels flipped LeNet-5 errs on half of MNIST's images,
    neighbours on some 6%. Noise adds nearly the same to the distances from all examples. A net that has seen clean
    backgrounds only has no such luck, the 300 units included, which lose 11 to 15 points less than LeNet-5 on MNIST.
    Both were to be seen on validation images already, with another seed, before the claims were written down.
    The distortions halve the error with 1,000 images of MNIST (8.0 to 3.8%, mean of the three runs). On 50,000 for
    1,600 steps they did nothing that one training could show: 1.10% without, 1.18 with, 1.03 at half their size
    (validation).
    The search for a rate, a fifth as long as the training, took 0.03 for LeNet-5 in two runs of six, and those are not
    its better ones.
    The order of nn.ParameterDict is not that of the dict it is made from: it sorts the keys, so C3 came before S2.
"""

import argparse
import copy
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
from torch import Tensor, nn
from tqdm import tqdm

NAME = Path(__file__).stem
TITLE = "Gradient-Based Learning Applied to Document Recognition"
PUBLISHED = {  # layer -> parameters, connections (sec. II-B); 60,000 and 340,908 in all
    "C1": (156, 122_304), "S2": (12, 5_880), "C3": (1_516, 151_600), "S4": (32, 2_000), "C5": (48_120, 48_120),
    "F6": (10_164, 10_164), "output": (0, 840),
}  # fmt: skip
TABLE_I = [  # the maps of S2 that each map of C3 reads
    [int(source) for source in row]
    for row in "012 123 234 345 045 015 0123 1234 2345 0345 0145 0125 0134 1245 0235 012345".split()
]
DIGITS = """
.XXXXX. ...X... .XXXXX. .XXXXX. .....X. XXXXXXX ..XXXX. XXXXXXX .XXXXX. .XXXXX.
XX...XX ..XX... XX...XX XX...XX ....XX. XX..... .XX.... X....XX XX...XX XX...XX
XX...XX .XXX... X.....X .....XX ...XXX. XX..... XX..... .....XX XX...XX XX...XX
XX...XX X.XX... .....XX .....XX ..XXXX. XX..... XX..... .....X. XX...XX XX...XX
XX...XX ..XX... .....XX .....XX .XX.XX. XX..... XX..... ....XX. XX...XX XX...XX
XX...XX ..XX... ....XX. ..XXXX. XX..XX. XXXXXX. XXXXXX. ....X.. .XXXXX. .XXXXXX
XX...XX ..XX... ...XX.. ..XXXX. XX..XX. .....XX XX...XX ...XX.. .XXXXX. ..XXXXX
XX...XX ..XX... ..XX... .....XX XXXXXXX .....XX XX...XX ...XX.. XX...XX .....XX
XX...XX ..XX... .XX.... .....XX XXXXXXX .....XX XX...XX ...XX.. XX...XX .....XX
XX...XX ..XX... XX..... .....XX ....XX. .....XX XX...XX ..XX... XX...XX .....XX
XX...XX ..XX... XX....X XX...XX ....XX. XX...XX XX...XX ..XX... XX...XX ....XX.
.XXXXX. XXXXXXX XXXXXXX .XXXXX. ....XX. .XXXXX. .XXXXX. ..XX... .XXXXX. .XXXX..
"""
LAYERS = list(PUBLISHED)[:-1]
RUBBISH = 4.0  # j of eq. 9
RATES = [0.003, 0.01, 0.03]
BATCH = 128
LEVELS = {  # what robustness is measured against, fixed beforehand
    "shift": [1, 2, 3, 4], "scale": [0.6, 0.8, 1.2, 1.4], "rotation": [15, 30, 45], "noise": [0.02, 0.05, 0.1, 0.2],
}  # fmt: skip
METHODS = {"linear": "C7", "3 nearest neighbours": "C2", "300 hidden units": "C1", "LeNet-5": "C0"}


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
    """MNIST where it is on disk or can be fetched; else scikit-learn's 1,797 real 8x8 digits, enlarged to 20x20.

    Returns the data set's name, training images (n, 1, 32, 32) in 0 to 255 with the digit in the middle, labels (n,),
    and the same for testing.
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
        x = F.interpolate(x[order].float().view(-1, 1, 8, 8) * (255 / 16), size=20, mode="bilinear")
        x, y = F.pad(x.round().byte(), [6] * 4), y[order]
        return "digits (stand-in for MNIST)", x[600:], y[600:], x[:600], y[:600]
    return "MNIST", *(t for s in sets for t in (F.pad(s.data[:, None], [2] * 4), s.targets))


# %% Model


def bitmaps() -> Tensor:
    """The ten pictures as w_ij of eq. 7: (10, 84), rows of 7 pixels from the top, +1 where there is ink, else −1."""
    rows = [line.split() for line in DIGITS.split("\n") if line]  # 12 rows of ten times 7 pixels
    return torch.tensor([[1.0 if pixel == "X" else -1.0 for row in rows for pixel in row[i]] for i in range(10)])


def pixels(images: Tensor) -> Tensor:
    """Images in 0 to 255 to the net's scale: background −0.1, ink 1.175, so mean and variance are near 0 and 1."""
    return images.float() * (1.275 / 255) - 0.1


def squash(a: Tensor) -> Tensor:
    """f(a) = A tanh(S a) with A = 1.7159, S = 2/3 (eq. 6)."""
    return 1.7159 * torch.tanh(a * (2 / 3))


def start(shape: tuple, inputs: int | Tensor, draw: torch.Generator) -> nn.Parameter:
    """Uniform between ±2.4/F, F inputs a unit."""
    return nn.Parameter((2 * torch.rand(shape, generator=draw) - 1) * 2.4 / inputs)


class LeNet5(nn.Module):
    """Images (B, 1, 32, 32) as pixels() makes them to penalties (B, 10), the smallest of which is the answer."""

    def __init__(self, draw: torch.Generator):
        super().__init__()
        pairs = torch.tensor([(target, source) for target, row in enumerate(TABLE_I) for source in row])  # (60, 2)
        self.register_buffer("pairs", pairs)
        self.register_buffer("bitmaps", bitmaps())
        inputs = torch.tensor([25 * len(row) for row in TABLE_I])  # of a unit in each of C3's maps
        fans = {"C1": 25, "S2": 4, "C3": inputs, "S4": 4, "C5": 400, "F6": 120}
        shapes = {"C1": (6, 1, 5, 5), "S2": (6,), "C3": (60, 5, 5), "S4": (16,), "C5": (120, 16, 5, 5), "F6": (84, 120)}
        self.weights, self.biases = nn.ParameterDict(), nn.ParameterDict()
        for layer, shape in shapes.items():
            kernel_inputs = inputs[pairs[:, 0], None, None] if layer == "C3" else fans[layer]
            self.weights[layer] = start(shape, kernel_inputs, draw)
            self.biases[layer] = start((16,) if layer == "C3" else shape[:1], fans[layer], draw)

    def sums(self, layer: str, x: Tensor) -> Tensor:
        """The weighted sums a_i of a layer, from the states of the one below; "output" gives the penalties."""
        if layer == "output":
            return ((x[:, None] - self.bitmaps) ** 2).sum(2)  # (B, 10), eq. 7
        w, b = self.weights[layer], self.biases[layer]
        if layer in ("S2", "S4"):  # the sum of 2x2 inputs is four times their mean
            return F.avg_pool2d(x, 2) * (4 * w)[:, None, None] + b[:, None, None]
        if layer == "C3":  # Table I: what isn't connected stays 0, and is no parameter
            w = w.new_zeros(16, 6, 5, 5).index_put(tuple(self.pairs.T), w)
        if layer in ("C1", "C3"):
            return F.conv2d(x, w, b)
        return F.linear(x.flatten(1), w.flatten(1), b)  # C5 sees 5x5, just the size of its kernels

    def states(self, x: Tensor) -> dict[str, Tensor]:
        """All layers' outputs, "output" included, by name."""
        states = {}
        for layer in LAYERS:
            x = states[layer] = squash(self.sums(layer, x))
        return states | {"output": self.sums("output", x)}

    def forward(self, x: Tensor) -> Tensor:
        return self.states(x)["output"]


class TwoLayers(nn.Module):
    """784-300-10 on the middle 28x28 of the images; penalties are minus the output units' sums."""

    def __init__(self, draw: torch.Generator, width: int = 300):
        super().__init__()
        self.w1, self.b1 = start((width, 784), 784, draw), start((width,), 784, draw)
        self.w2, self.b2 = start((10, width), width, draw), start((10,), width, draw)

    def forward(self, x: Tensor) -> Tensor:
        hidden = squash(F.linear(x[:, :, 2:-2, 2:-2].flatten(1), self.w1, self.b1))
        return -F.linear(hidden, self.w2, self.b2)


def map_loss(penalties: Tensor, labels: Tensor, rubbish: float) -> Tensor:
    """Eq. 9, mean over the batch: penalties (B, 10), labels (B,). With rubbish = ∞ cross-entropy of −penalties."""
    right = penalties.gather(1, labels[:, None])[:, 0]  # (B,)
    classes = F.pad(-penalties, (0, 1), value=-rubbish)  # (B, 11)
    return (right + classes.logsumexp(1)).mean()


def flat(images: Tensor) -> Tensor:
    """The middle 28x28 of the images, (B, 784) in [0, 1]."""
    return images[:, 0, 2:-2, 2:-2].flatten(1).float() / 255


def nearest_neighbours(x: Tensor, y: Tensor, queries: Tensor, k: int = 3) -> Tensor:
    """The class most frequent among the k nearest of x (n, d) to each query (B, d); of equals, the nearest one's."""
    half_norms = (x**2).sum(1) / 2
    votes = []
    for some in queries.split(500):
        distance = torch.addmm(half_norms, some, x.T, alpha=-1)  # half the squared one, but for a constant of the query
        near = F.one_hot(y[distance.topk(k, largest=False).indices], 10).float()  # (b, k, 10), nearest first
        near[:, 0] *= 1.5
        votes.append(near.sum(1).argmax(1))
    return torch.cat(votes)


def fit_linear(x: Tensor, y: Tensor, ridge: float = 1.0) -> Tensor:
    """Least squares to one-hot targets with a bias: (d + 1, 10). A little ridge, for pixels that are always 0."""
    x = F.pad(x, (0, 1), value=1.0)
    gram = (x.T @ x).double() + ridge * torch.eye(x.shape[1], dtype=torch.float64, device=x.device)
    return torch.linalg.solve(gram, (x.T @ F.one_hot(y, 10).to(x.dtype)).double()).to(x.dtype)


def warp(images: Tensor, matrix: Tensor, shift: Tensor) -> Tensor:
    """Planar affine maps about the middle: what was at place p from it (x, y in pixels) moves to A p + shift.

    images (B, 1, H, H), matrix (B, 2, 2) the inverse of A, shift (B, 2). Bilinear; what comes in from outside is 0.
    """
    offset = -(matrix @ shift[:, :, None]) * (2 / images.shape[-1])  # affine_grid's unit is half an image
    grid = F.affine_grid(torch.cat([matrix, offset], 2), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


# %% Training


def distort(images: Tensor, draw: torch.Generator) -> Tensor:
    """A random shift, scaling, squeezing and horizontal shear of each image (sec. III-A)."""
    sizes = torch.tensor([0.15, 0.15, 0.2, 2.0, 2.0])
    r = (2 * torch.rand(len(images), 5, generator=draw) - 1) * sizes
    matrix = torch.stack([1 + r[:, 0], r[:, 2], torch.zeros(len(r)), 1 + r[:, 1]], 1).view(-1, 2, 2)
    return warp(images, matrix.to(images.device), r[:, 3:].to(images.device))


def schedule(step: int, steps: int) -> float:
    """The share of the full rate: up for a tenth of the steps, then down as a cosine."""
    return min(1.0, (step + 1) / max(1, steps // 10)) * (1 + math.cos(math.pi * step / steps)) / 2


def train(model: nn.Module, x: Tensor, y: Tensor, steps: int, rate: float, rubbish: float, draw, distorted=False):
    """Adam on the loss of eq. 9, in passes over the images x (n, 1, 32, 32) in a fresh order each."""
    optimizer = torch.optim.Adam(model.parameters())
    size = min(BATCH, len(x))
    passes = math.ceil(steps * size / len(x))
    order = torch.cat([torch.randperm(len(x), generator=draw) for _ in range(passes)]).to(x.device)
    for step in tqdm(range(steps), desc=type(model).__name__, disable=None):
        batch = order[step * size : (step + 1) * size]
        images = x[batch].float()
        if distorted:
            images = distort(images, draw)
        loss = map_loss(model(pixels(images)), y[batch], rubbish)
        optimizer.zero_grad()
        loss.backward()
        optimizer.param_groups[0]["lr"] = rate * schedule(step, steps)
        optimizer.step()


@torch.no_grad()
def predict(model: nn.Module, images: Tensor) -> Tensor:
    """The class with the smallest penalty: images (n, 1, 32, 32) in 0 to 255 to (n,)."""
    return torch.cat([model(pixels(some)).argmin(1) for some in images.split(500)])


def choose_rate(kind: type, x: Tensor, y: Tensor, steps: int, rubbish: float, seed: int, rates=RATES) -> dict:
    """rate -> error (%) on the last sixth of the training images, of a net trained on the others."""
    cut = len(x) - len(x) // 6
    tried = {}
    for rate in rates:
        draw = torch.Generator().manual_seed(seed)
        model = kind(draw).to(x.device)
        train(model, x[:cut], y[:cut], steps, rate, rubbish, draw)
        tried[rate] = 100 * (predict(model, x[cut:]) != y[cut:]).float().mean().item()
    return tried


# %% Experiments


@torch.no_grad()
def counts(model: LeNet5) -> dict[str, tuple[int, int]]:
    """Parameters and connections of each layer.

    With every weight, bias and state at 1 the weighted sum of a unit is the number of its connections, its bias
    included; for the Gaussian units the weights are set to 0, so that each term of eq. 7 is 1.
    """
    ones = copy.deepcopy(model)
    for tensor in ones.parameters():
        tensor.fill_(1)
    ones.bitmaps.zero_()
    below, counted = torch.ones(1, 1, 32, 32, device=ones.bitmaps.device), {}
    for layer, state in model.states(below).items():
        own = [p for name, p in model.named_parameters() if layer in name]
        counted[layer] = sum(p.numel() for p in own), round(ones.sums(layer, torch.ones_like(below)).sum().item())
        below = state
    return counted


def perturb(images: Tensor, kind: str, level: float, draw: torch.Generator) -> Tensor:
    """Shifted by `level` pixels in any direction, scaled by a factor, rotated by ± degrees, or pixels flipped."""
    if kind == "noise":
        return torch.where((torch.rand(images.shape, generator=draw) < level).to(images.device), 255 - images, images)
    n = len(images)
    angle = 2 * math.pi * torch.rand(n, generator=draw)
    shift = level * torch.stack([angle.cos(), angle.sin()], 1) if kind == "shift" else torch.zeros(n, 2)
    turn = math.radians(level) * (2 * torch.randint(2, (n,), generator=draw) - 1) if kind == "rotation" else 0 * angle
    matrix = torch.stack([turn.cos(), -turn.sin(), turn.sin(), turn.cos()], 1).view(n, 2, 2)
    return warp(images, (matrix / (level if kind == "scale" else 1)).to(images.device), shift.to(images.device))


def robustness(methods: dict, images: Tensor, labels: Tensor, levels: dict, seed: int) -> dict:
    """(kind, method) -> wrong or not (1 + levels, n), the first row without any change. All methods see the same."""
    images, seen = images.float(), {}
    for kind in tqdm(levels, desc="robustness", disable=None):
        draw = torch.Generator().manual_seed(seed)
        changed = [images, *(perturb(images, kind, level, draw) for level in levels[kind])]
        for name, method in methods.items():
            seen[kind, name] = torch.stack([method(some) != labels for some in changed]).float().cpu()
    return seen


def rise(wrong: Tensor) -> Tensor:
    """Of each image, the mean over levels of its errors, less that without a change: (1 + levels, n) to (n,)."""
    return wrong[1:].mean(0) - wrong[0]


def excess(one: Tensor, other: Tensor) -> tuple[float, float]:
    """By how many points `one` is worse on the same images, and the standard error of that: (n,) and (n,)."""
    gap = 100 * (one - other)
    return gap.mean().item(), gap.std().item() / len(gap) ** 0.5


# %% Figure


def tiles(maps: Tensor, columns: int) -> Tensor:
    """Maps (n, h, w) side by side in rows, with a pixel between."""
    maps = F.pad(maps, [0, 1, 0, 1], value=float("nan"))
    rows = [torch.cat(list(row), 1) for row in maps.split(columns)]
    return torch.cat(rows)[:-1, :-1]


def draw_figure(errors: dict, few: dict, seen: dict, states: dict, digit: Tensor, label: int, path: Path) -> None:
    """errors: method -> wrong or not (n,). few: arm -> (seeds,). states: layer -> (...) of one digit (32, 32)."""
    plt.rcParams.update({"font.size": 12, "axes.titlesize": 13, "axes.titleweight": "bold"})
    figure = plt.figure(figsize=(14, 12.5), layout="constrained")
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=[1, 1, 0.85])

    bars, table, arms = top.subplots(1, 3, width_ratios=[1.25, 1, 0.8])
    for place, (name, wrong) in enumerate(errors.items()):
        error, bar = 100 * wrong.mean().item(), 200 * wrong.std().item() / len(wrong) ** 0.5
        bars.barh(place, error, xerr=bar, color=METHODS[name])
        bars.text(error + bar + 0.2, place, f"{error:.2f}", va="center")
    bars.set(title="LeNet-5 against three other methods", xlabel="test error (%), bars: 2 standard errors")
    bars.set_yticks(range(len(errors)), list(errors))
    bars.set_xlim(0, 1.2 * bars.get_xlim()[1])
    bars.invert_yaxis()
    for target, row in enumerate(TABLE_I):
        table.plot([target] * len(row), row, "s", color=METHODS["LeNet-5"], ms=9)
    table.set(title="No two maps of C3 see the same", xlabel="map of C3", ylabel="map of S2", ylim=(5.6, -0.6))
    table.set(xticks=range(0, 16, 3))
    for place, values in enumerate(few.values()):
        arms.plot([place] * len(values), values, "o", color=METHODS["LeNet-5"], ms=8)
        arms.plot([place - 0.2, place + 0.2], [values.mean()] * 2, color="0.3")
    arms.set(title="Few images: distort them", ylabel="LeNet-5's test error (%)", xlim=(-0.6, 1.6))
    arms.set(ylim=(0, 1.15 * max(v.max().item() for v in few.values())))
    arms.set_xticks(range(len(few)), list(few))

    units = "pixels", "factor", "degrees, either way", "share of pixels flipped"
    for axis, kind, unit in zip(middle.subplots(1, 4, sharey=True), LEVELS, units):
        least = min(METHODS, key=lambda name: rise(seen[kind, name]).mean())  # noqa: B023  used at once
        places = sorted((level, i) for i, level in enumerate([1.0 if kind == "scale" else 0, *LEVELS[kind]]))
        for name, colour in METHODS.items():
            wrong = 100 * seen[kind, name].mean(1)
            axis.plot([p for p, _ in places], [wrong[i] for _, i in places], "o-", color=colour, label=name)
        axis.set(title=f"{kind.capitalize()}: least lost by\n{least}", xlabel=unit, ylim=(0, 100))
        if kind == "shift":
            axis.set_ylabel("error (%)")
            axis.legend(fontsize=10, loc="upper left")

    shown = {"input": (digit[None], 1), "C1": (states["C1"], 2), "S2": (states["S2"], 2), "C3": (states["C3"], 4)}
    shown |= {"S4": (states["S4"], 4), "C5": (states["C5"].view(1, 12, 10), 1), "F6": (states["F6"].view(1, 12, 7), 1)}
    shown["picture"] = bitmaps()[label].view(1, 12, 7), 1
    bottom.suptitle(f"A {label} layer by layer: F6 turns it into the picture of its class", weight="bold", fontsize=13)
    for axis, (name, (maps, columns)) in zip(bottom.subplots(1, len(shown)), shown.items()):
        axis.imshow(tiles(maps, columns), cmap="gray_r", vmin=None if name == "input" else -1.7, vmax=1.7)
        size = "x".join(map(str, maps.shape[1:]))
        axis.set_title(f"{name}\n" + {"C5": "120", "F6": "84"}.get(name, f"{len(maps)}@{size}"), weight="normal")
        axis.set_axis_off()
    figure.savefig(path, dpi=80)
    plt.close(figure)


# %% Run


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"), help="where data sets are kept")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="where the figure and the results go")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0, help="the first of three, where there are three")
    parser.add_argument("--steps", type=int, default=2400, help="of the long trainings")
    parser.add_argument("--smoke", action="store_true", help="a few steps, to see that it runs")
    args = parser.parse_args(argv)
    if args.steps < 1:
        parser.error(f"--steps {args.steps}: at least one is needed")
    try:
        torch.zeros(1, device=args.device)
        args.out.mkdir(parents=True, exist_ok=True)
    except (RuntimeError, AssertionError, OSError) as error:
        parser.error(f"--device {args.device}, --out {args.out}: {str(error).splitlines()[0]}")
    if not os.access(args.out, os.W_OK):
        parser.error(f"--out {args.out}: can't be written to")
    return args


def spread(values: Tensor) -> str:
    """'mean (least to most)'."""
    return f"{values.mean():.2f}% ({values.min():.2f} to {values.max():.2f})"


def listed(counted: dict[str, tuple[int, int]]) -> str:
    """Parameters and connections of the layers."""
    return "; ".join(f"{layer} {p:,} and {c:,}" for layer, (p, c) in counted.items())


def main(argv: list[str] | None = None) -> dict:
    args = parse_args(argv)
    started = time.perf_counter()
    dataset, *data = load_data(args.data)
    x, y, x_test, y_test = (t.to(args.device) for t in data)
    steps, some, count = (20, 40, 2) if args.smoke else (args.steps, 400, 3)
    if args.smoke:
        x, y, x_test, y_test = x[:900], y[:900], x_test[:300], y_test[:300]
    seeds = range(args.seed, args.seed + count)
    brief = max(1, steps // 5)

    nets, rates, kinds = {}, {}, {"300 hidden units": (TwoLayers, math.inf), "LeNet-5": (LeNet5, RUBBISH)}
    for name, (kind, rubbish) in kinds.items():
        tried = choose_rate(kind, x, y, brief, rubbish, args.seed)
        rates[name] = min(tried, key=tried.get)
        draw = torch.Generator().manual_seed(args.seed)
        nets[name] = kind(draw).to(args.device)
        train(nets[name], x, y, steps, rates[name], rubbish, draw)
    few = {}
    for arm in ("as they are", "distorted"):
        errors = []
        for seed in seeds:
            draw = torch.Generator().manual_seed(seed)
            net = LeNet5(draw).to(args.device)
            train(net, x[:1000], y[:1000], brief, rates["LeNet-5"], RUBBISH, draw, arm == "distorted")
            errors.append(100 * (predict(net, x_test) != y_test).float().mean().item())
        few[arm] = torch.tensor(errors)

    pixel_rows = flat(x)
    linear = fit_linear(pixel_rows, y)
    methods = {
        "linear": lambda images: (F.pad(flat(images), (0, 1), value=1.0) @ linear).argmax(1),
        "3 nearest neighbours": lambda images: nearest_neighbours(pixel_rows, y, flat(images)),
        **{name: lambda images, net=net: predict(net, images) for name, net in nets.items()},
    }
    wrong = {name: (method(x_test) != y_test).float().cpu() for name, method in methods.items()}  # (n,) each
    seen = robustness(methods, x_test[:some], y_test[:some], LEVELS, args.seed)
    with torch.no_grad():
        states = {layer: s[0].cpu() for layer, s in nets["LeNet-5"].states(pixels(x_test[:1])).items()}
    digit = pixels(x_test[0, 0]).cpu()
    draw_figure(wrong, few, seen, states, digit, int(y_test[0]), args.out / f"{NAME}.png")

    counted = counts(nets["LeNet-5"])
    parameters, connections = (sum(column) for column in zip(*counted.values()))
    error = {name: 100 * w.mean().item() for name, w in wrong.items()}
    gaps = [excess(wrong[worse], wrong[better]) for worse, better in zip(METHODS, list(METHODS)[1:])]
    rises = {key: rise(w) for key, w in seen.items()}
    others = list(METHODS)[:-1]
    lost = {kind: [excess(rises[kind, other], rises[kind, "LeNet-5"]) for other in others] for kind in LEVELS}
    recalled = {
        "shift": ("shifted", "recognized up to half the character's height away (sec. III, as recalled)"),
        "scale": ("scaled", "recognized over a factor of about 2 (sec. III, as recalled)"),
        "rotation": ("rotated", "recognized up to 30 degrees either way (sec. III, as recalled)"),
        "noise": ("strewn with flipped pixels", "recognized with pixels flipped at random (Fig. 13, as recalled)"),
    }
    claims = [
        (
            "every layer of LeNet-5 has the published number of parameters and of connections",
            f"{listed(PUBLISHED)}; 60,000 and 340,908 in all (sec. II-B)",
            f"{listed(counted)}; {parameters:,} and {connections:,} in all",
            counted == PUBLISHED and (parameters, connections) == (60_000, 340_908),
        ),
        (
            "errors fall from a linear classifier to nearest neighbours, 300 hidden units and LeNet-5",
            "12.0, 5.0, 4.7, 0.95% (Fig. 9)",
            ", ".join(f"{error[name]:.2f}" for name in METHODS)
            + f"%; steps of {', '.join(f'{gap:.2f} ± {se:.2f}' for gap, se in gaps)} points (one standard error)",
            all(gap > 2 * se for gap, se in gaps),
        ),
        (
            "LeNet-5 errs on less than 1.5% of the test images",
            "0.95%, MNIST, 20 passes (Fig. 9)",
            f"{error['LeNet-5']:.2f}% of {len(y_test):,}, after {steps * min(BATCH, len(x)) / len(x):.1f} passes",
            1000 * wrong["LeNet-5"].sum() < 15 * len(y_test),  # in whole numbers: 9 of 600 is not less
        ),
        (
            "distorted training images lower LeNet-5's error",
            "from 0.95 to 0.8%, 60,000 images (Fig. 9)",
            f"from {spread(few['as they are'])} to {spread(few['distorted'])}, "
            f"{min(1000, len(x)):,} images, {len(seeds)} seeds",
            few["distorted"].max() < few["as they are"].min(),
        ),
        *(
            (
                f"LeNet-5's error rises least when digits are {verb}",
                paper,
                f"by {100 * rises[kind, 'LeNet-5'].mean():.1f} points, mean over {', '.join(map(str, LEVELS[kind]))}; "
                + "more with "
                + ", ".join(f"{name} by {gap:.1f} ± {se:.1f}" for name, (gap, se) in zip(others, lost[kind])),
                all(gap > 2 * se for gap, se in lost[kind]),
            )
            for kind, (verb, paper) in recalled.items()
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
            "parameters": parameters,
            "connections": connections,
            **{f"{name}: test error (%)": round(e, 2) for name, e in error.items()},
            **{f"{name}: learning rate": rate for name, rate in rates.items()},
            **{f"1,000 images {arm}: test error (%)": round(e.mean().item(), 2) for arm, e in few.items()},
            **{f"{name}, {k}: rise (points)": round(100 * r.mean().item(), 1) for (k, name), r in rises.items()},
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
