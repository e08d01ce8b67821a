# /// script
# requires-python = ">=3.11"
# dependencies = ["torch", "torchvision", "scikit-learn", "matplotlib", "numpy", "tqdm"]
# ///
"""Convolutional networks on CIFAR-10
After LeCun, Bottou, Bengio and Haffner, Gradient-Based Learning Applied to Document Recognition, 1998 (Proc. IEEE 86)

    python conv_net.py              the experiment
    python conv_net.py --smoke      a few steps, to see that it runs

The idea
    A fully connected layer gives every unit a weight for every pixel, and learns what a cat looks like in
    the upper left without learning anything about cats in the lower right. A convolution brings two beliefs
    about pictures along instead. What belongs together is close together: a unit looks at one k x k patch.
    And what is worth looking for here is worth looking for there: all units of a channel share one filter w,

        y[o, i, j] = Σ_c Σ_a Σ_b w[o, c, a, b] x[c, s i + a − p, s j + b − p]            (stride s, padding p)

    That is still a linear map, so it is a fully connected layer whose matrix is nearly all zeros and repeats
    the few weights it has. A belief helps where it is true. So we take it away: one fixed permutation of
    the pixels, the same for all images, keeps every bit of information and leaves no neighbours. To the fully
    connected network nothing has happened. Its first weights are drawn alike for every pixel, so whatever
    it learns on pixels in order it is as likely to learn, with its weights permuted, on permuted ones.

Symbols
    x, y     x, the return value of convolve   (B, C, H, W), (B, O, H', W')   a layer's input and output
    w        filters                           (O, C, k, k)                   one filter for each output channel
    s, p     stride, padding                   whole numbers                  step between patches; zeros around x
    order    order                             (1024,)                        the permutation of pixel positions

Built from scratch
    The convolution, as patches times filters; tests hold it against torch's, forward and backward. The networks
    train with nn.Conv2d, the same thing faster, and ours writes out the first layer's matrix. Also ours:
    normalization, permutation, shifts, the stand-in, the learning-rate schedule and the training loop. A test
    trains the MLP twice, the second time with pixels and first-layer weights permuted alike: equal logits.

Claims
    1. A convolution is a linear layer whose weights are local and shared (LeCun et al., section II.A).
    2. A small CNN classifies 75% or more of the test images within the time limit.
    3. With the same parameter count and the same steps, the CNN does better than the MLP (II.A).
    4. With the pixels permuted the CNN's advantage is gone.
    5. The MLP doesn't notice the permutation: any fixed order of its inputs does as well (II.A).
    6. Shifted by 4 pixels, test images cost the CNN a smaller part of its accuracy than the MLP (II.A).

Departures
    CIFAR-10 and batch norm instead of digits and LeNet-5. MLP and CNN have the same optimizer, schedule, batches
    and parameter count; the learning rate is the best of three for each network and each pixel order,
    on a tenth of the training set, in runs a third as long. No augmentation in the comparisons, where mirroring
    would mean something else for permuted pixels. Claim 2 is one run of the same CNN, with more steps and, on CIFAR-10,
    half of the images mirrored as they are drawn.
    Claim 6 is measured on the first 1,000 test images, shifted up, down, left and right.
    "Pixels" are positions: a pixel's three colours stay together.

Notes
    More passes through a smaller network beat fewer through a wider one: of two four-layer CNNs given the same
    80 s on one core, 222k parameters saw CIFAR-10 1.8 times (72.9%, on 5,000 training images kept aside),
    100k parameters 4.0 times (76.0%). A fifth layer on 2 x 2 maps, where steps are cheap, gave about 2 points more
    than four layers; mirroring gave 1 (76.8 to 77.8%).
    Images lie in memory with their colours last, and channels_last convolutions take them so:
    a fifth faster than plane by plane (216 against 275 µs an image), for a permute that moves nothing.
    The permuted CNN isn't merely as bad as the MLP, it is worse (38 against 44% on CIFAR-10): a false belief costs
    more than none. Nor is the CNN indifferent to shifts: at 8 pixels it has lost nearly as many points as the MLP
    (13 and 15), of more. Mean pooling forgets the place, but borders and strides remember it.
    The first stand-in was too hard for the MLP: digits up to 4 pixels off the middle left it at 24% after 250
    steps, up to 2 pixels at 50%, up to 1 pixel at 73%. It's 2 now.
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
import torch
import torch.nn.functional as F
import torchvision
from sklearn.datasets import load_digits, load_sample_images
from torch import Tensor, nn
from tqdm import tqdm

NAME = Path(__file__).stem
TITLE = "Convolutional networks on CIFAR-10"
NETWORKS = {"CNN": "C0", "MLP": "C1"}  # and the colour each has in the figure
PIXELS = ("in order", "permuted")
RATES = (0.1, 0.2, 0.4)  # learning rates to choose from
BATCH = 128


# %% Data


class Data(NamedTuple):
    name: str
    classes: list[str]
    images: Tensor  # (N, 32, 32, 3), 0 to 255
    labels: Tensor  # (N,)
    test_images: Tensor
    test_labels: Tensor


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


def load_data(root: Path, smoke: bool = False) -> Data:
    """CIFAR-10 where it is on disk or can be fetched, else the stand-in; only a little of either for a smoke run."""
    cifar = torchvision.datasets.CIFAR10
    try:
        try:
            sets = [cifar(root, train=train) for train in (True, False)]
        except RuntimeError:
            if not reachable(cifar.url):
                raise
            sets = [cifar(root, train=train, download=True) for train in (True, False)]
    except (RuntimeError, OSError):
        print(f"CIFAR-10 can't be had (no network and nothing under {root}): digits on photographs stand in")
        return recoloured_digits(*(500, 100) if smoke else (20000, 4000))
    red_deviation = sets[0].data[..., 0].std() / 255  # 0.2470 in the official files
    name = "CIFAR-10" if red_deviation > 0.2461 else "CIFAR-10 (JPEG-recompressed copy)"
    tensors = [torch.tensor(part[:500] if smoke else part) for s in sets for part in (s.data, s.targets)]
    return Data(name, sets[0].classes, *tensors)


def recoloured_digits(train: int, test: int) -> Data:
    """scikit-learn's 1,797 digits, twice as large, in random colours on patches of its two photographs.

    As in MNIST-M (Ganin et al., 2016) a pixel is |patch − colour · ink|. Each half has digits and a half of the
    photographs of its own, so a test image shows neither ink nor background that was trained on.
    """
    generator = torch.Generator().manual_seed(0)
    photos = torch.tensor(np.stack(load_sample_images().images)[:, ::2, ::2])  # (2, 214, 320, 3)
    digits = load_digits()
    ink = F.interpolate(torch.tensor(digits.images)[:, None] / 16, size=16, mode="bilinear")[:, 0]  # (1797, 16, 16)
    ink = F.pad(ink.float(), [16] * 4)  # (1797, 48, 48), to cut a window of 32 from
    order = torch.randperm(len(ink), generator=generator)
    window = torch.arange(32)

    def draw(high: int) -> Tensor:
        return torch.randint(high, (size, 1, 1), generator=generator)

    parts = []
    for size, chosen, photo in ((train, order[360:], photos[:, :, :210]), (test, order[:360], photos[:, :, 210:])):
        rows, columns = window[:, None], window  # (32, 1), (32,)
        patches = photo[draw(2), draw(photo.shape[1] - 31) + rows, draw(photo.shape[2] - 31) + columns]
        which = chosen[draw(len(chosen))]  # (size, 1, 1)
        ink_here = ink[which, draw(5) + 6 + rows, draw(5) + 6 + columns][..., None]  # up to 2 pixels off the middle
        colour = 0.5 + 0.5 * torch.rand(size, 1, 1, 3, generator=generator)
        parts += [(patches - 255 * colour * ink_here).abs().byte(), torch.tensor(digits.target)[which.flatten()]]
    return Data("recoloured digits (stand-in for CIFAR-10)", [str(digit) for digit in range(10)], *parts)


def permute_pixels(images: Tensor, order: Tensor) -> Tensor:
    """Every image (32, 32, 3) with its 1,024 pixels in the same new order; a pixel's three colours stay together."""
    return images.flatten(1, 2)[:, order].view_as(images)


def shift(images: Tensor, down: int, right: int) -> Tensor:
    """Images (N, 32, 32, 3) moved; what comes in over the edge is the picture mirrored there."""
    window = torch.arange(32, device=images.device)
    rows, columns = (31 - (31 - (window - by).abs()).abs() for by in (down, right))
    return images[:, rows][:, :, columns]


# %% Model


def convolve(x: Tensor, filters: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
    """The layer itself: every filter (O, C, k, k) times every k x k patch of x (B, C, H, W)."""
    k = filters.shape[-1]
    patches = F.pad(x, [padding] * 4).unfold(2, k, stride).unfold(3, k, stride)  # (B, C, H', W', k, k)
    return torch.einsum("bchwij,ocij->bohw", patches, filters)


class Normalize(nn.Module):
    """Images (B, 32, 32, 3), 0 to 255 -> (B, 3, 32, 32), each colour of mean 0 and deviation 1 in the training set."""

    def __init__(self, images: Tensor):
        super().__init__()
        colours = [images[..., c].float() for c in range(3)]
        self.register_buffer("mean", torch.stack([c.mean() for c in colours]))
        self.register_buffer("deviation", torch.stack([c.std() for c in colours]))

    def forward(self, images: Tensor) -> Tensor:
        return ((images - self.mean) / self.deviation).permute(0, 3, 1, 2)  # in memory still colours last: faster


def conv_block(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, pool: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
        nn.MaxPool2d(pool) if pool > 1 else nn.Identity(),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def cnn(width: int = 16) -> nn.Sequential:
    """Half the side, twice the channels: the three layers in the middle cost the same."""
    return nn.Sequential(
        conv_block(3, width, kernel=5, stride=2),  # (B, 16, 16, 16)
        conv_block(width, 2 * width, pool=2),  # (B, 32, 8, 8)
        conv_block(2 * width, 4 * width, pool=2),  # (B, 64, 4, 4)
        conv_block(4 * width, 8 * width, pool=2),  # (B, 128, 2, 2)
        conv_block(8 * width, 8 * width),  # (B, 128, 2, 2)
        nn.AdaptiveAvgPool2d(1),  # where something was seen no longer matters
        nn.Flatten(),
        nn.Linear(8 * width, 10),
    ).to(memory_format=torch.channels_last)


def mlp(hidden: int = 79) -> nn.Sequential:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(3072, hidden, bias=False),
        nn.BatchNorm1d(hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden, bias=False),
        nn.BatchNorm1d(hidden),
        nn.ReLU(),
        nn.Linear(hidden, 10),
    )


def parameters(model: nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters())


def build(network: str, normalize: Normalize, width: int) -> nn.Sequential:
    """The CNN, or the MLP whose parameter count comes nearest to that CNN's."""
    body = cnn(width)
    if network == "MLP":
        target = parameters(body)
        body = mlp(min(range(1, 4000), key=lambda h: abs(3072 * h + h * h + 14 * h + 10 - target)))
    return nn.Sequential(normalize, body.to(normalize.mean.device))


# %% Training


def one_cycle(step: int, steps: int, warm_up: float = 0.2) -> float:
    """Learning rate as a share of its highest: up in a straight line for a fifth of the steps, then down to 0."""
    progress = (step + 1) / (steps + 1)
    return min(progress / warm_up, (1 - progress) / (1 - warm_up))


def batches(count: int, steps: int, device: torch.device) -> Tensor:
    """Indices (steps, BATCH) into `count` images, each drawn once before any is drawn again."""
    epochs = -(-steps * BATCH // count)
    return torch.cat([torch.randperm(count, device=device) for _ in range(epochs)])[: steps * BATCH].view(steps, BATCH)


def mirror(images: Tensor) -> Tensor:
    """Images (B, 32, 32, 3), a random half of them with left and right exchanged."""
    chosen = torch.rand(len(images), device=images.device) < 0.5
    return torch.where(chosen[:, None, None, None], images.flip(2), images)


def train(
    model: nn.Module, images: Tensor, labels: Tensor, steps: int, rate: float, title: str = "", mirrored: bool = False
) -> None:
    """SGD with Nesterov momentum; labels are smoothed by 0.1."""
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: one_cycle(step, steps))
    model.train()
    for batch in tqdm(batches(len(images), steps, images.device), desc=title, disable=None):
        x = mirror(images[batch]) if mirrored else images[batch]
        loss = F.cross_entropy(model(x), labels[batch], label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """In percent."""
    model.eval()
    predicted = torch.cat([model(part).argmax(dim=1) for part in images.split(1000)])
    return 100 * (predicted == labels).float().mean().item()


# %% Experiments


def numbered_matrix(width: int) -> Tensor:
    """The CNN's first layer as the matrix (outputs, inputs) it is, with the number of a weight at each of its places.

    Column i of a linear map's matrix is what the map makes of the picture that is 1 at i and 0 elsewhere.
    """
    numbers = torch.arange(1.0, 75 * width + 1).view(width, 3, 5, 5)
    basis = torch.eye(3072).view(3072, 3, 32, 32)
    return convolve(basis, numbers, stride=2, padding=2).flatten(1).T  # (256 * width, 3072)


def choose_rate(network: str, width: int, normalize: Normalize, images: Tensor, labels: Tensor, steps: int, seed: int):
    """The learning rate of the three that does best on a tenth of the training set, kept aside."""
    kept, tried = len(images) // 10, {}
    for rate in RATES:
        torch.manual_seed(seed)
        model = build(network, normalize, width)
        train(model, images[kept:], labels[kept:], steps, rate, f"{network}, rate {rate}")
        tried[rate] = accuracy(model, images[:kept], labels[:kept])
    return max(tried, key=tried.get)


def compare(data: Data, order: Tensor, width: int, steps: int, seeds: range) -> tuple[dict, dict, dict]:
    """Both networks on both pixel orders: models and test accuracies of every seed, and the learning rate."""
    models, scores, rates = {}, {}, {}
    normalize = Normalize(data.images)
    for pixels in PIXELS:
        images, test_images = data.images, data.test_images
        if pixels == "permuted":
            images, test_images = permute_pixels(images, order), permute_pixels(test_images, order)
        for network in NETWORKS:
            case = network, pixels
            rates[case] = choose_rate(network, width, normalize, images, data.labels, max(1, steps // 3), seeds[0])
            models[case] = []
            for seed in seeds:
                torch.manual_seed(seed)
                models[case].append(build(network, normalize, width))
                train(models[case][-1], images, data.labels, steps, rates[case], f"{network}, {pixels}")
            scores[case] = torch.tensor([accuracy(model, test_images, data.test_labels) for model in models[case]])
    return models, scores, rates


def shifted_accuracy(model: nn.Module, images: Tensor, labels: Tensor, by: int) -> float:
    """In percent, the mean over shifts up, down, left and right."""
    ways = [(by, 0), (-by, 0), (0, by), (0, -by)] if by else [(0, 0)]
    return sum(accuracy(model, shift(images, *way), labels) for way in ways) / len(ways)


# %% Figure


def tile(pictures: Tensor, columns: int, gap: int = 2) -> Tensor:
    """Pictures (N, H, W, 3) side by side in one, with white between them; each already in [0, 1]."""
    scale, missing = -(-32 // pictures.shape[1]), -len(pictures) % columns  # small ones enlarged, the last row filled
    pictures = pictures.repeat_interleave(scale, dim=1).repeat_interleave(scale, dim=2)
    framed = F.pad(pictures.cpu().float(), [0, 0, 0, gap, 0, gap, 0, missing], value=1.0)
    rows = [torch.cat(list(row), dim=1) for row in framed.split(columns)]
    return torch.cat(rows)[:-gap, :-gap]


def stretch(x: Tensor) -> Tensor:
    """Each of N maps or filters (N, ...) brought to [0, 1], 0.5 staying its zero where it has both signs."""
    biggest = x.abs().flatten(1).amax(1).clamp(min=1e-9).view(-1, *[1] * (x.dim() - 1))
    return x / biggest if (x >= 0).all() else 0.5 + 0.5 * x / biggest


@torch.no_grad()
def feature_maps(model: nn.Sequential, image: Tensor, count: int = 8) -> list[Tensor]:
    """What each block of the CNN makes of an image (32, 32, 3): its `count` most varied maps (count, H, W)."""
    model.eval()
    x, maps = model[0](image[None]), []
    for block in list(model[1])[:3]:
        x = block(x)  # (1, C, H, W)
        maps.append(x[0, x[0].flatten(1).std(1).topk(min(count, x.shape[1])).indices])
    return maps


def draw(data: Data, scores: dict, curves: dict[str, Tensor], models: dict, final: nn.Module, path: Path) -> None:
    """scores: (network, pixels) -> (seeds,). curves: network -> (seeds, shifts). final: the CNN trained longest."""
    figure = plt.figure(figsize=(11, 11.6), layout="constrained")
    top, middle, weights, bottom = figure.subfigures(4, 1, height_ratios=[2.8, 4.2, 2.0, 2.5])

    axis = top.subplots()
    examples = [(data.test_labels == c).nonzero()[:2, 0] for c in range(10)]  # two of every class
    shown = torch.stack([e[row] for row in range(2) for e in examples if len(e) == 2])
    axis.imshow(tile(data.test_images[shown] / 255, columns=len(shown) // 2), interpolation="nearest")
    axis.set(xticks=[16 + 34 * c for c in range(10)], yticks=[])
    axis.set_xticklabels(data.classes)
    axis.tick_params(length=0)
    top.suptitle(f"Ten classes, 32 x 32 pixels, three colours: {data.name}")

    bars, lines = middle.subplots(1, 2)
    for offset, (network, colour) in zip((-0.2, 0.2), NETWORKS.items()):
        for place, pixels in enumerate(PIXELS):
            points = scores[network, pixels]
            label = network if place == 0 else None
            bars.bar(place + offset, points.mean(), 0.38, color=colour, alpha=0.75, label=label)
            bars.plot([place + offset] * len(points), points, "o", color="black", markersize=4, alpha=0.6)
            bars.text(place + offset, points.max() + 1.5, f"{points.mean():.0f}%", ha="center")
        curve = curves[network]
        lines.plot(range(curve.shape[1]), curve.mean(0), "o-", color=colour)
        lines.fill_between(range(curve.shape[1]), curve.amin(0), curve.amax(0), color=colour, alpha=0.2)
        lines.text(0, curve[:, 0].mean() + 3, network, color=colour, weight="bold")
        for by in (4, 8):
            kept = (curve[:, by] / curve[:, 0].clamp(min=0.1)).mean()
            lines.text(by, curve[:, by].mean() - 3, f"keeps {kept:.0%}", ha="right", va="top", color=colour)
    for axis in (bars, lines):
        axis.axhline(10, color="0.5", linestyle=":")
        axis.set(ylabel="test accuracy (%)", ylim=(0, 100))
        axis.spines[["top", "right"]].set_visible(False)
    bars.set(xticks=[0, 1], xlabel="pixels", title="Permute the pixels: the CNN's lead is gone, the MLP is as before")
    bars.set_xticklabels(PIXELS)
    bars.legend(loc="upper right", title="same parameter count")
    lines.set(xlabel="test images shifted by (pixels)", title="Shift them: the CNN keeps more of its accuracy")
    lines.text(0, 11, "chance", color="0.4")

    left, right = weights.subplots(1, 2)
    filters = stretch(final[1][0][0].weight.detach()).permute(0, 2, 3, 1)  # (16, 5, 5, 3)
    patterns = models["MLP", "in order"][0][1][1].weight.detach().view(-1, 3, 32, 32)[: len(filters)]
    left.imshow(tile(filters, columns=8), interpolation="nearest")
    left.set_title("The CNN's first layer looks for edges and colours anywhere")
    right.imshow(tile(stretch(patterns).permute(0, 2, 3, 1), columns=8), interpolation="nearest")
    right.set_title("The MLP's first layer: one weight for every pixel")

    maps = feature_maps(final, data.test_images[0])
    axes = bottom.subplots(1, 4, width_ratios=[1, 2, 2, 2])
    axes[0].imshow(data.test_images[0].cpu())
    axes[0].set_title("image")
    for layer, (axis, features) in enumerate(zip(axes[1:], maps), 1):
        grey = 0.9 * stretch(features)[..., None].expand(*features.shape, 3)
        axis.imshow(tile(grey, columns=4), interpolation="nearest")
        axis.set_title(f"layer {layer}: {features.shape[1]} x {features.shape[2]}")
    bottom.suptitle("Feature maps: from where the edges are to what is there")
    for axis in (left, right, *axes):
        axis.set_axis_off()
    figure.savefig(path, dpi=110)
    plt.close(figure)


# %% Run


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"), help="where data sets are kept")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="where the figure and the results go")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=150, help="training steps in the comparisons")
    parser.add_argument("--long-steps", type=int, default=1350, help="training steps of the CNN that aims at 75%%")
    parser.add_argument("--width", type=int, default=16, help="channels after the CNN's first layer")
    parser.add_argument("--smoke", action="store_true", help="a few steps, to see that it runs")
    args = parser.parse_args(argv)
    for size in ("steps", "long_steps", "width"):
        if getattr(args, size) < 1:
            parser.error(f"--{size.replace('_', '-')} {getattr(args, size)}: at least one is needed")
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
    data = load_data(args.data, args.smoke)
    steps, long_steps, shifted = args.steps, args.long_steps, 1000
    seeds = range(args.seed, args.seed + 3)
    if args.smoke:
        steps, long_steps, shifted, seeds = 2, 2, 20, seeds[:2]
    data = Data(*data[:2], *(part.to(args.device) for part in data[2:]))
    order = torch.randperm(1024, generator=torch.Generator().manual_seed(args.seed)).to(args.device)

    matrix = numbered_matrix(args.width)
    models, scores, rates = compare(data, order, args.width, steps, seeds)
    some = data.test_images[:shifted], data.test_labels[:shifted]
    curves = {
        network: torch.tensor(
            [[shifted_accuracy(m, *some, by) for by in range(9)] for m in models[network, "in order"]]
        )
        for network in NETWORKS
    }  # network -> (seeds, 9)
    torch.manual_seed(args.seed)
    final = build("CNN", Normalize(data.images), args.width)
    mirrored = data.name.startswith("CIFAR")  # a mirrored cat is a cat, a mirrored 2 is no digit
    train(final, data.images, data.labels, long_steps, rates["CNN", "in order"], "CNN, longer", mirrored)
    best = accuracy(final, data.test_images, data.test_labels)
    draw(data, scores, curves, models, final, args.out / f"{NAME}.png")

    counts = {network: parameters(models[network, "in order"][0]) for network in NETWORKS}
    mean = {case: accuracies.mean().item() for case, accuracies in scores.items()}
    deviation = {case: accuracies.std().item() for case, accuracies in scores.items()}
    lead = {pixels: scores["CNN", pixels] - scores["MLP", pixels] for pixels in PIXELS}  # (seeds,) of points
    lost = {network: mean[network, "in order"] - mean[network, "permuted"] for network in NETWORKS}
    kept = {network: 100 * curve[:, 4] / curve[:, 0].clamp(min=0.1) for network, curve in curves.items()}  # (seeds,)
    said = {case: f"{mean[case]:.1f} ± {deviation[case]:.1f}%" for case in mean}
    local, distinct = 100 * (matrix != 0).float().mean().item(), len(matrix.unique()) - 1  # 0 is no weight
    results = {
        "script": f"{NAME}.py",
        "title": TITLE,
        "data": data.name,
        "seed": args.seed,
        "smoke": args.smoke,
        "device": f"{args.device}, {torch.get_num_threads()} threads",
        "seconds": round(time.perf_counter() - started, 1),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "metrics": {
            "CNN trained longest: test accuracy (%)": round(best, 2),
            **{f"{network}: parameters": counts[network] for network in NETWORKS},
            **{f"{', pixels '.join(case)}: test accuracy (%)": round(mean[case], 2) for case in mean},
            **{f"{', pixels '.join(case)}: learning rate": rates[case] for case in rates},
            **{
                f"{n}: accuracy shifted by {by} (%)": round(curves[n][:, by].mean().item(), 2)
                for n in curves
                for by in (0, 4, 8)
            },
        },
        "claims": [
            {
                "claim": "a convolution is a linear layer whose weights are local and shared",
                "paper": "receptive fields, weight sharing (LeCun et al. 1998, II.A)",
                "here": f"first layer: {matrix.numel():,} places, {local:.1f}% used, {distinct:,} different weights",
                "holds": distinct == 75 * args.width and local < 5,
            },
            {
                "claim": "a small CNN classifies 75% or more of the test images",
                "paper": "—",
                "here": f"{best:.1f}% of {len(data.test_labels):,}, one run of {long_steps:,} steps "
                f"({long_steps * BATCH / len(data.labels):.1f} epochs)",
                "holds": best >= 75,
            },
            {
                "claim": "with as many parameters and steps, the CNN does better than the fully connected network",
                "paper": "local features, robust to translation (LeCun et al. 1998, II.A)",
                "here": f"CNN {said['CNN', 'in order']}, MLP {said['MLP', 'in order']}, {len(seeds)} seeds; "
                f"{counts['CNN']:,} and {counts['MLP']:,} parameters",
                "holds": lead["in order"].min().item() > 2 * lead["in order"].std().item()
                and abs(counts["CNN"] / counts["MLP"] - 1) < 0.1,
            },
            {
                "claim": "with the pixels permuted the CNN's advantage is gone",
                "paper": "—",
                "here": f"CNN {said['CNN', 'permuted']}, MLP {said['MLP', 'permuted']}",
                "holds": lead["permuted"].max().item() < 0.2 * lead["in order"].min().item(),
            },
            {
                "claim": "the MLP doesn't notice the permutation: it loses less than a tenth of what the CNN loses",
                "paper": "any fixed order of the inputs does as well (LeCun et al. 1998, II.A)",
                "here": f"MLP loses {lost['MLP']:.1f} points (± {deviation['MLP', 'in order']:.1f} from seed to seed), "
                f"CNN {lost['CNN']:.1f}",
                "holds": abs(lost["MLP"]) < 0.1 * lost["CNN"],
            },
            {
                "claim": "shifted by 4 pixels, the CNN keeps more of its accuracy than the MLP",
                "paper": "shifts are built in (LeCun et al. 1998, II.A)",
                "here": f"CNN keeps {kept['CNN'].mean():.0f}% of it, MLP {kept['MLP'].mean():.0f}%, {len(seeds)} seeds "
                f"(CNN's least {kept['CNN'].min():.0f}%, MLP's most {kept['MLP'].max():.0f}%)",
                "holds": kept["CNN"].min().item() > kept["MLP"].max().item(),
            },
        ],
    }
    (args.out / f"{NAME}.json").write_text(json.dumps(results, indent=2) + "\n")
    for claim in results["claims"]:
        verdict = "not judged" if args.smoke else "holds" if claim["holds"] else "FAILS"
        print(f"{verdict:>10}  {claim['claim']}\n{'':12}paper: {claim['paper']}; here: {claim['here']}")
    print(f"{args.out / NAME}.png, .json: {data.name}, {results['seconds']} s on {results['device']}")
    return results


if __name__ == "__main__":
    main()
