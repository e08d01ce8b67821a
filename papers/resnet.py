# /// script
# requires-python = ">=3.11"
# dependencies = ["torch", "torchvision", "scikit-learn", "matplotlib", "numpy", "tqdm"]
# ///
"""Deep Residual Learning for Image Recognition
He, Zhang, Ren & Sun, 2016 (CVPR, arXiv:1512.03385)

    python papers/resnet.py              the experiment
    python papers/resnet.py --smoke      a few steps, to see that it runs

The idea
    A deeper net can do all that a shallower one can: let the layers it has more of be the identity. Yet deep plain
    nets end with a higher error, on the very images they are trained on. That isn't overfitting; the solution is
    there, and SGD doesn't find it. To be the identity is hard for a stack of nonlinear layers and easy for zero
    weights. So let the layers learn what is to be added to their input, and hand the input on:

        y = F(x) + x                                                                           (eq. 1)

    A plain net is the same without "+ x". Where a stage halves the side and doubles the channels, x has the wrong
    shape: option A takes every second pixel and zeros for the missing channels, which costs no weights, so that plain
    and residual nets have equally many; option B takes a 1x1 convolution, y = F(x) + W x (eq. 2).

Built from scratch
    The blocks, both shortcuts, the nets of Table 1 and of sec. 4.2, and SGD on several nets side by side (grouped
    convolutions), with a learning rate for each; cropping and mirroring. ResNet-18, 34 and 50 take torchvision's
    weights as they are, and tests hold logits and gradients against torchvision's, side-by-side training against
    torch's SGD on each net alone, option A and the crops against brute force.

Claims
    1. The paper's nets have the paper's sizes (Table 6), and those that torchvision counts.
    2. Plain nets' training error rises with depth (Fig. 6 left, Table 2).
    3. Residual nets' doesn't (Fig. 6 middle, Table 2): by no more than their seeds differ.
    4. Depth costs residual nets less, and the deepest beats its plain twin, in training and test (Table 2).
    5. Plain nets' trouble isn't that gradients vanish: with BN they don't, at the start (sec. 4.1).
    6. Residual nets' layers respond less than plain nets', ...
    7. ... and the deeper net's less than the shallower's (Fig. 7).

Departures
    4 channels in the first stage instead of 16, images pooled to 16x16, 280 steps of 64 images instead of 64,000 of
    128: --width 16 --image-size 32 --steps 64000 goes back, but for the batch. 8, 20, 32 and 56 layers instead of 20
    to 110. The learning rate rises for a fifth of the steps and falls to 0 in straight lines (paper: divided by 10
    twice, with a warm-up for 110 layers only). It is the best of three for each kind and depth, by the loss
    on 2,000 images kept aside, after a third of the steps, on the first seed (paper: 0.1). Training error is the mean
    over the last quarter of the steps, of each batch before its step, augmented; test error is that of 2,000 images.
    Inputs are also divided by one deviation. Crops are off by an eighth of the side at most, as 4 of 32 pixels are.
    Mirroring is for photographs: a mirrored 2 is no digit, so the stand-in is only cropped.
    Bottlenecks have their stride in the 3x3 layer, as torchvision's, not in the first 1x1: as many weights, but 4.1
    instead of 3.8 billion multiply-adds for 50 layers. The ImageNet nets are built and counted, not trained.

Notes
    Claim 3 is the weak one. In six runs (three first seeds, both data sets) the residual nets' training error rose
    from 20 to 56 layers by -0.2, 3.7 and 1.5 points on CIFAR-10, 10.8, 13.6 and -9.6 on the digits, where three seeds
    lay 4 to 10 and 22 to 45 points apart. So it held each time for want of a rise that stands out, and the fall
    of the paper isn't seen. With 8 channels, 300 steps and a rate of 0.06 the seeds are closer and it wouldn't
    have held: 63.0 to 67.0% on CIFAR-10. Plain nets rose by 10 to 13 points and by 39 to 41.
    Claim 4 FAILS in two runs of the six. The deepest residual net was better by 6 points at least with every seed of
    every run, but its seeds are so noisy that once in a while its rise reaches a plain net's.
    "Healthy norms" (claim 5) is half of it. Before the first step a plain net's gradient at the first layer grows
    some 10^7-fold from 8 to 110 layers with BN, a residual net's 24- to 53-fold. Without BN the plain one does vanish,
    to less than a thousandth, and the residual one explodes, as each block adds to the signal.
    Claim 6 FAILS in five runs of the six, always at 20 layers, where the means differ by 0.04 at most and seeds by
    as much. At 56 layers it held each time: plain nets' first layers, read with running statistics, swell, to
    about 50 from seed 0 on CIFAR-10. Claim 7 FAILS in all six: BN's scale starts at 1 for all nets, a few hundred
    steps hardly move it, and residual nets' means stay within a tenth of 1. Fig. 7 is of fully trained nets.
    A third of the steps favours small learning rates: it took 0.02 for residual-20 on CIFAR-10, and 72.4%, where all
    280 steps at 0.06 give 70.1%. For 56 layers it is the same two rates, 75.1 and 72.3%.
    Three nets of 56 layers side by side, channels last, take 17 ms a step and net on one core; one by one 30;
    side by side without channels last 26.
    Digits as small as in 32x32 pixels (16 of them) were too hard on 16x16: after 500 steps no net of 32 layers
    was below 85% of errors. They are larger now, on fainter photographs.
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
import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from sklearn.datasets import load_digits, load_sample_images
from torch import Tensor, nn
from tqdm import tqdm

NAME = Path(__file__).stem
TITLE = "Deep Residual Learning for Image Recognition"
KINDS = {"plain": "none", "residual": "A"}  # and the shortcut each has
COLOURS = {"plain": "C1", "residual": "C0"}
DEPTHS = (8, 20, 32, 56)
RATES = (0.02, 0.06, 0.2)  # learning rates to choose from, for each kind and depth
BATCH = 64
CIFAR_COUNTS = {20: 269_722, 32: 464_154, 44: 658_586, 56: 853_018, 110: 1_727_962}  # 0.27M to 1.7M in Table 6
IMAGENET_COUNTS = {18: 11_689_512, 34: 21_797_672, 50: 25_557_032, 101: 44_549_160, 152: 60_192_808}


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


def load_data(root: Path, smoke: bool = False) -> tuple[str, list[Tensor]]:
    """CIFAR-10 where it is on disk or can be fetched, else the stand-in; only a little of either for a smoke run.

    Returns the data set's name, and images (N, 32, 32, 3), 0 to 255, and labels (N,) to train on and to test on.
    """
    cifar = torchvision.datasets.CIFAR10
    try:
        try:
            sets = [cifar(root, train=train) for train in (True, False)]
        except RuntimeError:  # not on disk
            if not reachable(cifar.url):
                raise
            sets = [cifar(root, train=train, download=True) for train in (True, False)]
    except (RuntimeError, OSError):
        print(f"CIFAR-10 can't be had (no network and nothing under {root}): digits on photographs stand in")
        return "recoloured digits (stand-in for CIFAR-10)", recoloured_digits(*(500, 100) if smoke else (20000, 4000))
    red_deviation = sets[0].data[..., 0].std() / 255  # 0.2470 in the official files
    name = "CIFAR-10" if red_deviation > 0.2461 else "CIFAR-10 (JPEG-recompressed copy)"
    return name, [torch.tensor(part[:500] if smoke else part) for s in sets for part in (s.data, s.targets)]


def recoloured_digits(train: int, test: int) -> list[Tensor]:
    """scikit-learn's 1,797 digits, three times as large, in random colours on patches of its two photographs.

    Nearly as in MNIST-M (Ganin et al., 2016) a pixel is |patch / 3 − colour · ink|: 16 x 16 pixels show no more.
    Each half has digits and a half of the photographs of its own, so a test image shows neither ink nor background
    that was trained on.
    """
    generator = torch.Generator().manual_seed(0)
    photos = torch.tensor(np.stack(load_sample_images().images)[:, ::2, ::2])  # (2, 214, 320, 3)
    digits = load_digits()
    ink = F.interpolate(torch.tensor(digits.images)[:, None] / 16, size=24, mode="bilinear")[:, 0]  # (1797, 24, 24)
    ink = F.pad(ink.float(), [8] * 4)  # (1797, 40, 40), to cut a window of 32 from
    order = torch.randperm(len(ink), generator=generator)
    window = torch.arange(32)

    def draw(high: int) -> Tensor:
        return torch.randint(high, (size, 1, 1), generator=generator)

    parts = []
    for size, chosen, photo in ((train, order[360:], photos[:, :, :210]), (test, order[:360], photos[:, :, 210:])):
        rows, columns = window[:, None], window  # (32, 1), (32,)
        patches = photo[draw(2), draw(photo.shape[1] - 31) + rows, draw(photo.shape[2] - 31) + columns]
        which = chosen[draw(len(chosen))]  # (size, 1, 1)
        ink_here = ink[which, draw(5) + 2 + rows, draw(5) + 2 + columns][..., None]  # up to 2 pixels off the middle
        colour = 0.5 + 0.5 * torch.rand(size, 1, 1, 3, generator=generator)
        parts += [(patches / 3 - 255 * colour * ink_here).abs().byte(), torch.tensor(digits.target)[which.flatten()]]
    return parts


def prepare(images: Tensor, test_images: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Bytes (N, 32, 32, 3) pooled to side x side; the training set's mean pixel by pixel taken off (sec. 4.2)."""
    small = [
        F.adaptive_avg_pool2d(x.permute(0, 3, 1, 2).float(), side).permute(0, 2, 3, 1) for x in (images, test_images)
    ]
    mean = small[0].mean(0)  # (side, side, 3)
    deviation = (small[0] - mean).std()
    return tuple(((x - mean) / deviation).contiguous() for x in small)


def augment(images: Tensor, flip: bool, generator: torch.Generator) -> Tensor:
    """Sec. 4.2: zeros all around, an eighth of the side wide; a random crop; mirrored or not. Images (B, S, S, 3)."""
    count, side, pad = len(images), images.shape[1], images.shape[1] // 8  # 4 of 32 pixels
    down, right = torch.randint(2 * pad + 1, (2, count, 1), generator=generator)  # (B, 1) each
    mirrored = torch.rand(count, 1, generator=generator) < 0.5
    window = torch.arange(side).expand(count, side)
    rows = (down + window).to(images.device)  # (B, S)
    columns = (right + torch.where(mirrored & flip, window.flip(1), window)).to(images.device)  # (B, S)
    padded = F.pad(images, [0, 0, pad, pad, pad, pad])
    return padded[torch.arange(count, device=images.device)[:, None, None], rows[:, :, None], columns[:, None, :]]


# %% Model


def conv(inputs: int, outputs: int, kernel: int, stride: int, groups: int) -> nn.Conv2d:
    """Channel counts are those of one net; `groups` nets lie side by side and never mix."""
    return nn.Conv2d(inputs * groups, outputs * groups, kernel, stride, kernel // 2, bias=False, groups=groups)


def option_a(x: Tensor, outputs: int, stride: int, groups: int) -> Tensor:
    """The shortcut without weights: every stride-th pixel, and zeros for the channels x lacks (sec. 3.3, A).

    x (B, groups * inputs, H, W) to (B, groups * outputs, H / stride, W / stride).
    """
    x = x[:, :, ::stride, ::stride].unflatten(1, (groups, -1))  # (B, G, inputs, H', W')
    return F.pad(x, [0, 0, 0, 0, 0, outputs - x.shape[2]]).flatten(1, 2)


class Block(nn.Module):
    """y = F(x) + x with two 3x3 layers in F (eq. 1, Fig. 5 left); y = F(x) where the shortcut is "none"."""

    expansion = 1  # output channels over `width`

    def __init__(self, inputs: int, width: int, stride: int, shortcut: str, groups: int = 1):
        super().__init__()
        self.stride, self.shortcut, self.groups, self.outputs = stride, shortcut, groups, width * self.expansion
        shapes = self.shapes(inputs, width)
        self.depth = len(shapes)
        for i, (kernel, channels, outputs, step) in enumerate(shapes, start=1):
            setattr(self, f"conv{i}", conv(channels, outputs, kernel, step, groups))
            setattr(self, f"bn{i}", nn.BatchNorm2d(outputs * groups))
        self.same = stride == 1 and inputs == self.outputs
        if shortcut == "B" and not self.same:  # W_s of eq. 2
            project = conv(inputs, self.outputs, 1, stride, groups)
            self.downsample = nn.Sequential(project, nn.BatchNorm2d(self.outputs * groups))

    def shapes(self, inputs: int, width: int) -> list[tuple[int, int, int, int]]:
        """Kernel, channels in, channels out and stride of each layer."""
        return [(3, inputs, width, self.stride), (3, width, width, 1)]

    def residual(self, x: Tensor) -> Tensor:
        """F(x): no nonlinearity after the last layer."""
        for i in range(1, self.depth + 1):
            x = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(x))
            x = F.relu(x, inplace=True) if i < self.depth else x
        return x

    def forward(self, x: Tensor) -> Tensor:
        y = self.residual(x)
        if self.shortcut == "none":
            return F.relu(y, inplace=True)
        if not self.same:
            x = self.downsample(x) if self.shortcut == "B" else option_a(x, self.outputs, self.stride, self.groups)
        return F.relu(y + x, inplace=True)


class Bottleneck(Block):
    """F is 1x1 to fewer channels, 3x3, 1x1 to four times as many (Fig. 5 right)."""

    expansion = 4

    def shapes(self, inputs: int, width: int) -> list[tuple[int, int, int, int]]:
        return [(1, inputs, width, 1), (3, width, width, self.stride), (1, width, 4 * width, 1)]


class ResNet(nn.Module):
    """Stages of blocks, each with half the side and twice the width of the one before; modules named as torchvision's.

    `groups` nets of the same shape side by side: images (B, groups * 3, H, W) to logits (B, groups, classes).
    """

    def __init__(self, block: type, counts: list[int], width: int, shortcut: str, classes: int, small: bool, groups=1):
        super().__init__()
        self.groups, self.counts, self.small = groups, counts, small
        self.conv1 = conv(3, width, 3, 1, groups) if small else conv(3, width, 7, 2, groups)
        self.bn1 = nn.BatchNorm2d(width * groups)
        inputs = width
        for stage, count in enumerate(counts):
            blocks = []
            for i in range(count):
                stride = 2 if stage > 0 and i == 0 else 1
                blocks.append(block(inputs, width * 2**stage, stride, shortcut, groups))
                inputs = blocks[-1].outputs
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(inputs, groups * classes)  # weight (groups * classes, inputs)
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(layer.weight)  # deviation sqrt(2 / fan-in): the paper's [13]
        nn.init.zeros_(self.fc.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        if not self.small:
            x = F.max_pool2d(x, 3, stride=2, padding=1)
        for stage in range(len(self.counts)):
            x = getattr(self, f"layer{stage + 1}")(x)
        x = x.mean((2, 3)).unflatten(1, (self.groups, -1))  # (B, G, C)
        weight = self.fc.weight.unflatten(0, (self.groups, -1))  # (G, K, C)
        return torch.einsum("bgc,gkc->bgk", x, weight) + self.fc.bias.view(self.groups, -1)


def cifar_net(depth: int, shortcut: str = "A", width: int = 16, groups: int = 1) -> ResNet:
    """Sec. 4.2: 6n + 2 layers with weights; three stages of n blocks on 32, 16 and 8 pixels."""
    n, rest = divmod(depth - 2, 6)
    if rest or n < 1:
        raise ValueError(f"depth {depth} is not 6n + 2")
    return ResNet(Block, [n] * 3, width, shortcut, 10, small=True, groups=groups)


def imagenet_net(depth: int, shortcut: str = "B", width: int = 64) -> ResNet:
    """Table 1."""
    block, counts = {
        18: (Block, [2, 2, 2, 2]),
        34: (Block, [3, 4, 6, 3]),
        50: (Bottleneck, [3, 4, 6, 3]),
        101: (Bottleneck, [3, 4, 23, 3]),
        152: (Bottleneck, [3, 8, 36, 3]),
    }[depth]
    return ResNet(block, counts, width, shortcut, 1000, small=False)


def side_by_side(depth: int, shortcut: str, width: int, seeds: list[int]) -> ResNet:
    """One net for each seed, as grouped convolutions: on one thread far cheaper than one after the other."""
    nets = []
    for seed in seeds:
        torch.manual_seed(seed)
        nets.append(cifar_net(depth, shortcut, width).state_dict())
    model = cifar_net(depth, shortcut, width, groups=len(seeds))
    model.load_state_dict({k: v if v.dim() == 0 else torch.cat([net[k] for net in nets]) for k, v in nets[0].items()})
    return model.to(memory_format=torch.channels_last)


# %% Training


def interleave(images: Tensor) -> Tensor:
    """(G, B, S, S, 3), a batch for each net, to (B, G * 3, S, S); in memory the channels last, which is faster."""
    return images.permute(1, 2, 3, 0, 4).flatten(3).permute(0, 3, 1, 2)


def share_of_rate(step: int, steps: int, warm_up: float = 0.2) -> float:
    """The learning rate as a share of its highest: up in a straight line for a fifth of the steps, then down to 0."""
    progress = (step + 1) / (steps + 1)
    return min(progress / warm_up, (1 - progress) / (1 - warm_up))


def train(model: ResNet, x: Tensor, y: Tensor, rates: list[float], seeds: list[int], steps: int, flip: bool, title=""):
    """SGD with momentum 0.9 and weight decay 0.0001 on all nets of `model` at once, each with its own learning rate.

    Returns the training error (nets, steps) in percent: of each batch before its step, augmented.
    """
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    weights = list(model.parameters())
    velocities = [torch.zeros_like(w) for w in weights]
    rates = torch.tensor(rates, device=x.device)
    errors = []
    model.train()
    for step in tqdm(range(steps), desc=title, disable=None, leave=False):
        chosen = [torch.randint(len(x), (BATCH,), generator=g) for g in generators]
        images = torch.stack([augment(x[c], flip, g) for c, g in zip(chosen, generators)])  # (G, B, S, S, 3)
        target = y[torch.stack(chosen, 1)]  # (B, G)
        logits = model(interleave(images))  # (B, G, 10)
        loss = F.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="sum") / BATCH
        grads = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for w, v, grad in zip(weights, velocities, grads):
                v.mul_(0.9).add_(grad).add_(w, alpha=1e-4)
                rate = (share_of_rate(step, steps) * rates).repeat_interleave(len(w) // len(rates))
                w.sub_(v * rate.view(-1, *[1] * (w.dim() - 1)))
        errors.append(100 * (logits.argmax(2) != target).float().mean(0))
    return torch.stack(errors, 1).cpu()


@torch.no_grad()
def predict(model: ResNet, x: Tensor) -> Tensor:
    """Logits (G, N, 10) with the running statistics, all nets on the same images (N, S, S, 3)."""
    model.eval()
    parts = [model(interleave(part.expand(model.groups, *part.shape))) for part in x.split(500)]  # (N', G, 10)
    return torch.cat(parts).transpose(0, 1)


# %% Experiments


def parameters(model: nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters())


def watch(model: nn.Module, kind: type, see, x: Tensor) -> list:
    """What `see(layer, output)` says of each layer of a kind while the model looks at x, in evaluation mode."""
    found, layers = [], [layer for layer in model.modules() if isinstance(layer, kind)]
    hooks = [layer.register_forward_hook(lambda m, _, y: found.append(see(m, y))) for layer in layers]
    with torch.no_grad():
        model.eval()(x)
    for hook in hooks:
        hook.remove()
    return found


def multiply_adds(model: ResNet, side: int) -> int:
    """Of the convolutions and the readout, for one image of side x side: the FLOPs of Table 1."""
    image = torch.zeros(1, 3 * model.groups, side, side, device=model.fc.weight.device)
    # every weight is used once at every place of the output
    return model.fc.weight.numel() + sum(
        watch(model, nn.Conv2d, lambda m, y: m.weight.numel() * y[0, 0].numel(), image)
    )


def sizes() -> tuple[dict[int, int], dict[int, int], dict[int, int]]:
    """Parameters of the paper's CIFAR and ImageNet nets, and the latter's multiply-adds, by depth; no memory used."""
    with torch.device("meta"):
        cifar = {depth: parameters(cifar_net(depth)) for depth in CIFAR_COUNTS}
        nets = {depth: imagenet_net(depth) for depth in IMAGENET_COUNTS}
        flops = {depth: multiply_adds(nets[depth], 224) for depth in nets}
    return cifar, {depth: parameters(net) for depth, net in nets.items()}, flops


def first_gradient(depth: int, kind: str, width: int, normalized: bool, x: Tensor, y: Tensor, seeds: list[int]):
    """The norm of the loss's gradient for the first layer's weights before any step: one a seed (G,)."""
    model = side_by_side(depth, KINDS[kind], width, seeds).to(x.device)
    if not normalized:
        for module in list(model.modules()):
            for name, layer in list(module.named_children()):
                if isinstance(layer, nn.BatchNorm2d):
                    setattr(module, name, nn.Identity())
    logits = model(interleave(x.expand(len(seeds), *x.shape)))  # (B, G, 10)
    target = y[:, None].expand(-1, len(seeds))
    loss = F.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="sum") / len(y)
    (grad,) = torch.autograd.grad(loss, [model.conv1.weight])
    return grad.reshape(len(seeds), -1).norm(dim=1).cpu()


def responses(model: ResNet, x: Tensor) -> Tensor:
    """Fig. 7: the standard deviation of what each 3x3 layer gives after BN, before nonlinearity and addition.

    Over images x (N, S, S, 3), places and channels, with the running statistics; (G, layers), from input to output.
    """
    x = interleave(x.expand(model.groups, *x.shape))
    # at once: the nonlinearity that follows overwrites y
    spreads = watch(model, nn.BatchNorm2d, lambda _, y: torch.stack([net.std() for net in y.chunk(model.groups, 1)]), x)
    return torch.stack(spreads, 1).cpu()


def choose_rate(depth: int, kind: str, width: int, data: list[Tensor], seed: int, steps: int, flip: bool) -> float:
    """The rate of the grid with the lowest validation loss after `steps` steps; all are tried side by side."""
    x, y, x_valid, y_valid, *_ = data
    model = side_by_side(depth, KINDS[kind], width, [seed] * len(RATES)).to(x.device)
    train(model, x, y, RATES, [seed] * len(RATES), steps, flip, f"{kind}-{depth}, rates")
    logits = predict(model, x_valid)  # (G, N, 10)
    losses = torch.stack([F.cross_entropy(net, y_valid) for net in logits]).nan_to_num(torch.inf)
    return RATES[losses.argmin()]


def fig_6(depth: int, kind: str, width: int, data: list[Tensor], seeds: list[int], steps: int, flip: bool) -> dict:
    """All seeds of one net, at the learning rate that suits it best."""
    x, y, *_, x_test, y_test = data
    rate = choose_rate(depth, kind, width, data, seeds[0], max(1, steps // 3), flip)
    model = side_by_side(depth, KINDS[kind], width, seeds).to(x.device)
    errors = train(model, x, y, [rate] * len(seeds), seeds, steps, flip, f"{kind}-{depth}")  # (seeds, steps)
    wrong = predict(model, x_test).argmax(2) != y_test  # (seeds, N)
    return {
        "rate": rate,
        "curve": errors,
        "train": errors[:, -max(1, steps // 4) :].mean(1),
        "test": 100 * wrong.float().mean(1).cpu(),
        "responses": responses(model, x_test[:500]),
    }


# %% Figure


def line(axis, places, values: Tensor, **style) -> None:
    """values (places, seeds): the mean, and a band from the least to the most."""
    axis.plot(places, values.mean(1), **style)
    axis.fill_between(places, values.amin(1), values.amax(1), color=style["color"], alpha=0.2, lw=0)


def draw(runs: dict, gradients: dict, depths: list[int], gradient_depths: list[int], path: Path) -> None:
    """runs: (kind, depth) -> what fig_6 returns; gradients: (kind, normalized) -> (depths, seeds)."""
    plt.rcParams.update({"font.size": 12, "axes.titlesize": 13, "axes.titleweight": "bold"})
    figure, axes = plt.subplots(2, 3, figsize=(13.5, 8), layout="constrained")
    (plain, residual, final), (*fig_7, gradient) = axes
    shades = dict(zip(depths, plt.get_cmap("viridis_r")(np.linspace(0.15, 1, len(depths)))))
    for axis, kind in ((plain, "plain"), (residual, "residual")):
        for depth in depths:
            curve = runs[kind, depth]["curve"]  # (seeds, steps)
            width = max(1, curve.shape[1] // 10)
            smooth = F.avg_pool1d(curve[:, None], width, stride=1)[:, 0].T  # (steps - width + 1, seeds)
            line(axis, width + np.arange(len(smooth)), smooth, color=shades[depth], label=f"{kind}-{depth}")
        axis.set(xlabel="step", ylabel="training error (%)", ylim=(None, 92))
        axis.legend(loc="lower left", ncols=2, fontsize=10)
    low = min(plain.get_ylim()[0], residual.get_ylim()[0])
    low -= 0.2 * (92 - low)  # room for the legend
    plain.set(title="Plain nets: the deeper, the worse", ylim=(low, 92))
    residual.set(title="Residual nets: depth costs less", ylim=(low, 92))

    for kind, colour in COLOURS.items():
        for part, style in (("train", "-"), ("test", "--")):
            values = torch.stack([runs[kind, depth][part] for depth in depths])
            line(final, depths, values, color=colour, linestyle=style, marker="o", label=f"{kind}, {part}")
    final.set(title="Error at the end, by depth", xlabel="layers", ylabel="error (%)", xticks=depths)
    final.legend()

    titles = f"{depths[1]} layers: hardly a difference", f"{depths[-1]} layers: plain ones respond more"
    for axis, depth, title in zip(fig_7, (depths[1], depths[-1]), titles):
        for kind, colour in COLOURS.items():
            values = runs[kind, depth]["responses"].T  # (layers, seeds)
            line(axis, 1 + np.arange(len(values)), values, color=colour, label=f"{kind}-{depth}")
        axis.set(title=title, xlabel="layer", yscale="log")
        axis.set(ylabel="standard deviation of responses")
        axis.legend()
    for (kind, normalized), norms in gradients.items():
        style = {"linestyle": "-", "marker": "o"} if normalized else {"linestyle": ":", "marker": "x"}
        label = kind if normalized else f"{kind}, without BN"
        line(gradient, gradient_depths, norms, color=COLOURS[kind], label=label, **style)
    gradient.set(title="Plain nets with BN: gradients grow", xlabel="layers", yscale="log", ylim=(None, 1e16))
    gradient.set(ylabel="first layer's gradient at the start", xticks=gradient_depths)
    gradient.legend(loc="upper left", fontsize=10)
    figure.savefig(path, dpi=100)
    plt.close(figure)


# %% Run


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"), help="where data sets are kept")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="where the figure and the results go")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0, help="the first of three")
    parser.add_argument("--steps", type=int, default=280, help="training steps (the paper: 64,000)")
    parser.add_argument("--width", type=int, default=4, help="channels of the first stage (the paper: 16)")
    parser.add_argument("--image-size", type=int, default=16, help="side the images are pooled to (the paper: 32)")
    parser.add_argument("--smoke", action="store_true", help="a few steps, to see that it runs")
    args = parser.parse_args(argv)
    for name, least, most in (("steps", 1, None), ("width", 1, None), ("image_size", 8, 32)):
        size, flag = getattr(args, name), f"--{name.replace('_', '-')}"
        if size < least or most and size > most:
            parser.error(f"{flag} {size}: at least {least}" + (f" and at most {most}" if most else "") + " is needed")
    try:
        torch.zeros(1, device=args.device)
        args.out.mkdir(parents=True, exist_ok=True)
    except (RuntimeError, AssertionError, OSError) as error:
        parser.error(f"--device {args.device}, --out {args.out}: {str(error).splitlines()[0]}")
    if not os.access(args.out, os.W_OK):
        parser.error(f"--out {args.out}: can't be written to")
    return args


def spread(values: Tensor, digits: str = ".1f") -> str:
    """'mean (least to most)'."""
    return f"{values.mean():{digits}} ({values.min():{digits}} to {values.max():{digits}})"


def main(argv: list[str] | None = None) -> dict:
    args = parse_args(argv)
    started = time.perf_counter()
    dataset, (x, y, x_test, y_test) = load_data(args.data, args.smoke)
    x, x_test = prepare(x, x_test, args.image_size)
    kept = min(2000, len(x) // 5)  # to choose learning rates by
    data = [x[kept:], y[kept:], x[:kept], y[:kept], x_test[:2000], y_test[:2000]]
    data = [tensor.to(args.device) for tensor in data]
    flip = dataset.startswith("CIFAR")  # a mirrored cat is a cat, a mirrored 2 is no digit
    depths, gradient_depths = list(DEPTHS), [*DEPTHS, 110]
    seeds, steps, width = list(range(args.seed, args.seed + 3)), args.steps, args.width
    if args.smoke:
        depths, gradient_depths, seeds, steps, width = [8, 14], [8, 14], seeds[:2], 2, 2

    cifar, imagenet, flops = sizes()
    gradients = {
        (kind, normalized): torch.stack(
            [
                first_gradient(d, kind, width, normalized, data[0][:BATCH], data[1][:BATCH], seeds)
                for d in gradient_depths
            ]
        )
        for kind in KINDS
        for normalized in (True, False)
    }  # (depths, seeds)
    runs = {(kind, depth): fig_6(depth, kind, width, data, seeds, steps, flip) for depth in depths for kind in KINDS}
    draw(runs, gradients, depths, gradient_depths, args.out / f"{NAME}.png")

    shallow, deep = depths[1], depths[-1]
    error = {key: run["train"] for key, run in runs.items()}  # (seeds,)
    rise = {kind: error[kind, deep] - error[kind, shallow] for kind in KINDS}  # seed by seed, on the same batches
    noise = {kind: max((error[kind, d].max() - error[kind, d].min()).item() for d in (shallow, deep)) for kind in KINDS}
    gain = {part: runs["plain", deep][part] - runs["residual", deep][part] for part in ("train", "test")}
    size = {key: run["responses"].mean(1) for key, run in runs.items()}  # (seeds,)
    growth = {key: norms[-1] / norms[0] for key, norms in gradients.items()}  # (seeds,)
    of_seeds = f"{len(seeds)} seeds"
    claims = [
        (
            "the nets have the paper's parameters, on CIFAR-10 and ImageNet",
            "0.27M, 0.46M, 0.66M, 0.85M, 1.7M (Table 6)",
            f"CIFAR {', '.join(f'{n:,} ({d})' for d, n in cifar.items())}; "
            f"ImageNet {', '.join(f'{n:,} ({d})' for d, n in imagenet.items())}",
            cifar == CIFAR_COUNTS and imagenet == IMAGENET_COUNTS,
        ),
        (
            f"the training error of plain nets rises with depth, from {shallow} to {deep} layers",
            "rises from 20 to 56 layers (Fig. 6 left); 18 to 34 layers: 27.94 to 28.54% validation error (Table 2)",
            f"{spread(error['plain', shallow])} to {spread(error['plain', deep])}%: by {spread(rise['plain'])} points, "
            f"seeds {noise['plain']:.1f} apart, {of_seeds}",
            rise["plain"].mean() > noise["plain"],
        ),
        (
            "that of residual nets doesn't rise by more than their seeds differ",
            "falls (Fig. 6 middle); 18 to 34 layers: 27.88 to 25.03% validation error (Table 2)",
            f"{spread(error['residual', shallow])} to {spread(error['residual', deep])}%: by "
            f"{spread(rise['residual'])} points, seeds {noise['residual']:.1f} apart, {of_seeds}",
            rise["residual"].mean() <= noise["residual"],
        ),
        (
            f"depth costs a residual net less: at {deep} layers it has the lower error, in training and test",
            "34 layers: 28.54% plain, 25.03% residual (Table 2); Fig. 6",
            f"plain minus residual: {spread(gain['train'])} points in training, {spread(gain['test'])} in test; "
            f"rise with depth {spread(rise['plain'])} plain, {spread(rise['residual'])} residual, {of_seeds}",
            min(g.min() for g in gain.values()) > 0 and rise["plain"].min() > rise["residual"].max(),
        ),
        (
            "gradients don't vanish with depth: at the first layer of plain nets with BN they start no smaller",
            "healthy norms with BN (sec. 4.1)",
            f"norm at {gradient_depths[-1]} layers over norm at {gradient_depths[0]}, before any step: "
            f"plain {spread(growth['plain', True], '.0e')}, residual {spread(growth['residual', True])}; without BN "
            f"{spread(growth['plain', False], '.0e')} and {growth['residual', False].mean():.1e}, {of_seeds}",
            growth["plain", True].min() >= 1,
        ),
        (
            f"residual nets have smaller layer responses than plain ones, with {shallow} and with {deep} layers",
            "generally smaller (Fig. 7)",
            "mean of the layers' standard deviations: "
            + "; ".join(
                f"{d} layers: residual {spread(size['residual', d], '.2f')}, plain {spread(size['plain', d], '.2f')}"
                for d in (shallow, deep)
            )
            + f", {of_seeds}",
            all(size["residual", d].max() < size["plain", d].min() for d in (shallow, deep)),
        ),
        (
            "the deeper of two residual nets has the smaller responses",
            "smaller with 56 layers than with 20 (Fig. 7)",
            f"{spread(size['residual', deep], '.2f')} with {deep} layers, "
            f"{spread(size['residual', shallow], '.2f')} with {shallow}, {of_seeds}",
            size["residual", deep].max() < size["residual", shallow].min(),
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
            **{f"{k}-{d}: training error (%)": round(e.mean().item(), 2) for (k, d), e in error.items()},
            **{f"{k}-{d}: test error (%)": round(run["test"].mean().item(), 2) for (k, d), run in runs.items()},
            **{f"{k}-{d}: learning rate": run["rate"] for (k, d), run in runs.items()},
            **{f"{k}-{d}: layer response": round(s.mean().item(), 3) for (k, d), s in size.items()},
            **{
                f"{k}, {'with' if bn else 'no'} BN: gradient's growth with depth": float(f"{g.mean():.3g}")
                for (k, bn), g in growth.items()
            },
            **{f"ResNet-{d}: multiply-adds (10^9)": round(n / 1e9, 2) for d, n in flops.items()},
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
