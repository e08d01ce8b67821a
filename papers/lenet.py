# /// script
# requires-python = ">=3.11"
# dependencies = ["torch", "torchvision", "scikit-learn", "matplotlib", "tqdm"]
# ///
"""Gradient-Based Learning Applied to Document Recognition
LeCun, Bottou, Bengio & Haffner, 1998 (Proceedings of the IEEE 86(11), 2278-2324)

    python papers/lenet.py                 the experiments
    python papers/lenet.py --steps 9400    the paper's 20 passes over the training images, for whoever has a GPU
    python papers/lenet.py --smoke         a few steps, to see that it runs

The idea
    A net that sees an image as a list of pixels has to learn every shape anew for every place. LeNet-5 knows
    better. A useful detector is small (5x5 pixels). What is useful in one place is useful in all, so a map of units
    shares one set of weights. And exactly where a feature lies matters little, so after each convolution a layer
    halves the resolution: a unit adds up four neighbours, times one coefficient plus one bias a map.

        C1 6@28x28 → S2 6@14x14 → C3 16@10x10 → S4 16@5x5 → C5 120 → F6 84 → ten Gaussian units

    Every unit is squashed by f(a) = 1.7159 tanh(2a/3), for which f(1) = 1 and f(−1) = −1. A map of C3 reads only some
    of S2's maps (Table I): fewer connections, and no two maps see the same, so they can't learn the same.
    The last layer asks how far the 84 units of F6 are from a picture of the digit, 7x12 pixels of −1 and +1:

        y_i = Σ_j (x_j − w_ij)²                                                                (eq. 7)
        E = mean of y_D + log(e^−j + Σ_i e^−y_i),    D the true digit                          (eq. 9)

    The first term pulls F6 to the picture of its digit. The second pushes it off the others, but only those that
    are near: e^−j is a rubbish class at distance j, and what is farther away than that is left alone.

Built from scratch
    The whole of LeNet-5, its start and its loss, and the distortions; convolution, pooling, Adam, autograd are torch's.
    Tests hold the net against torch's layers, connections against non-zeros of Jacobians, distortions against SciPy.

Claims
    1. LeNet-5, of 60,000 parameters and 340,908 connections, errs on at most 1.2% of the test digits (Fig. 9).
    2. 300 hidden units err far more often on digits that are farther off than any in training (sec. II-A).
    3. Trained on noise and rotations, LeNet-5 reads such digits, and noisy ones better than the rival (Fig. 13).

Departures
    Adam (paper: stochastic diagonal Levenberg-Marquardt), 4 passes over slightly distorted images (paper: 20). j = 4
    was fixed beforehand: the paper doesn't say. C3 starts by its mean number of inputs. The bitmaps are drawn after
    the idea of Fig. 3. Both nets get the same images, steps and second training, on noisy and turned digits;
    such test digits are every other one of the test set.
"""

import argparse
import copy
import math
import socket
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

LEARNING_RATE = (
    0.01  # tried on the last 10,000 training images: 0.003 and, with the rival, 0.03 were worse
)
TABLE_I = "012 123 234 345 045 015 0123 1234 2345 0345 0145 0125 0134 1245 0235 012345"  # maps of S2, for each of C3
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
LEVELS = {
    "share": [0, 0.05, 0.1, 0.2, 0.3],
    "degrees": [0, 15, 30, 45, 60],
    "pixels": [0, 1, 2, 3, 4, 5],
}  # of distort()
COLOURS = {"LeNet-5": "C0", "300 hidden units": "C1"}


# %% Data


def load_mnist(root: Path) -> tuple:
    """MNIST; where it can't be had, scikit-learn's 1,797 real digits, enlarged to 28x28.

    Returns the data set's name and, as tensors, training images (N, 28, 28) in [0, 1], labels (N,),
    the same to test.
    """
    import torch
    from sklearn.datasets import load_digits
    from torchvision.datasets import MNIST

    socket.setdefaulttimeout(5)  # seconds, for a network that is there and doesn't answer
    try:
        train = MNIST(root, train=True, download=True)
        test = MNIST(root, train=False, download=True)
    except (RuntimeError, OSError):
        print(f"No MNIST (no network, and nothing under {root}): scikit-learn's digits instead")
        digits = load_digits()
        x = torch.tensor(digits.images).float()[:, None] / 16
        x = torch.nn.functional.interpolate(x, size=28, mode="bilinear")[:, 0]
        y = torch.tensor(digits.target)
        return "digits (stand-in for MNIST)", x[360:], y[360:], x[:360], y[:360]
    return "MNIST", train.data / 255, train.targets, test.data / 255, test.targets


def warp(images: Tensor, degrees: Tensor, shift: Tensor) -> Tensor:
    """Images (B, 1, H, H), each turned clockwise by its own angle, (B,), then shifted by (x, y) in pixels, (B, 2)."""
    cos, sin = degrees.deg2rad().cos(), degrees.deg2rad().sin()
    inverse = torch.stack([cos, sin, -sin, cos], dim=1).view(-1, 2, 2)
    offset = -(inverse @ shift[:, :, None]) * (
        2 / images.shape[-1]
    )  # affine_grid's unit is half an image
    grid = F.affine_grid(torch.cat([inverse, offset], 2), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def distort(images: Tensor, degrees: float = 0, pixels: float = 0, share: float = 0) -> Tensor:
    """Each image turned and shifted at random, by at most so much either way; then a share of its pixels inverted."""
    r = 2 * torch.rand(len(images), 3, device=images.device) - 1
    images = warp(images, degrees * r[:, 0], pixels * r[:, 1:])
    return torch.where(torch.rand_like(images) < share, 1 - images, images)


def spoil(images: Tensor) -> Tensor:
    """One half of a batch with a tenth of the pixels inverted, the other turned; all are shifted."""
    noisy, turned = images.chunk(2)
    return torch.cat([distort(noisy, pixels=2, share=0.1), distort(turned, degrees=40, pixels=2)])


# %% Model


def squash(a: Tensor) -> Tensor:
    """f(a) = A tanh(S a) with A = 1.7159, S = 2/3 (eq. 6)."""
    return 1.7159 * torch.tanh(a * (2 / 3))


def start(layer: nn.Module, inputs: int) -> nn.Module:
    """Sets weights and biases uniformly between ±2.4/F, F inputs a unit (appendix A)."""
    for weight in layer.parameters():
        nn.init.uniform_(weight, -2.4 / inputs, 2.4 / inputs)
    return layer


class Subsampling(nn.Module):
    """The sum of each square of 2x2, times one coefficient a map, plus one bias a map."""

    def __init__(self, maps: int):
        super().__init__()
        self.coefficient, self.bias = (nn.Parameter(torch.empty(maps, 1, 1)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return 4 * F.avg_pool2d(x, 2) * self.coefficient + self.bias  # (B, maps, H/2, W/2)


class TableConvolution(nn.Module):
    """C3: a kernel for each cross in Table I. What isn't connected is 0, and no parameter."""

    def __init__(self):
        super().__init__()
        rows = [[int(source) for source in row] for row in TABLE_I.split()]
        pairs = torch.tensor(
            [(target, source) for target, row in enumerate(rows) for source in row]
        ).T
        self.register_buffer("pairs", pairs)  # (2, 60)
        self.weight, self.bias = nn.Parameter(torch.empty(60, 5, 5)), nn.Parameter(torch.empty(16))

    def forward(self, x: Tensor) -> Tensor:
        kernels = self.weight.new_zeros(16, 6, 5, 5).index_put(tuple(self.pairs), self.weight)
        return F.conv2d(x, kernels, self.bias)


class LeNet5(nn.Module):
    """Images (B, 1, 32, 32) in [0, 1] to penalties (B, 10), the smallest of which is the answer."""

    def __init__(self):
        super().__init__()
        self.rubbish = 4.0  # j of eq. 9
        self.C1 = start(nn.Conv2d(1, 6, 5), 25)
        self.S2 = start(Subsampling(6), 4)
        self.C3 = start(TableConvolution(), 94)  # 75 to 150 inputs, by map; their mean
        self.S4 = start(Subsampling(16), 4)
        self.C5 = start(nn.Sequential(nn.Conv2d(16, 120, 5), nn.Flatten()), 400)
        self.F6 = start(nn.Linear(120, 84), 120)
        rows = [
            line.split() for line in DIGITS.split("\n") if line
        ]  # 12 rows of ten times 7 pixels
        ink = torch.tensor(
            [[pixel == "X" for row in rows for pixel in row[digit]] for digit in range(10)]
        )
        self.register_buffer("bitmaps", 2.0 * ink - 1)  # (10, 84), fixed

    def layers(self, x: Tensor) -> list[Tensor]:
        c1 = squash(
            self.C1(1.275 * x - 0.1)
        )  # (B, 6, 28, 28), from a background of −0.1 and ink of 1.175
        s2 = squash(self.S2(c1))  # (B, 6, 14, 14)
        c3 = squash(self.C3(s2))  # (B, 16, 10, 10)
        s4 = squash(self.S4(c3))  # (B, 16, 5, 5)
        c5 = squash(self.C5(s4))  # (B, 120)
        f6 = squash(self.F6(c5))  # (B, 84)
        return [c1, s2, c3, s4, c5, f6]

    def forward(self, x: Tensor) -> Tensor:
        return (self.layers(x)[-1][:, None] - self.bitmaps).square().sum(dim=2)  # (B, 10), eq. 7


class HiddenUnits(nn.Module):
    """The rival, 784-300-10 on the middle 28x28 of the images. Penalties are minus the output units' sums."""

    def __init__(self, width: int = 300):
        super().__init__()
        self.rubbish = math.inf  # no rubbish class: eq. 9 is then cross-entropy
        self.hidden, self.output = (
            start(nn.Linear(784, width), 784),
            start(nn.Linear(width, 10), width),
        )

    def forward(self, x: Tensor) -> Tensor:
        middle = x[:, :, 2:-2, 2:-2].flatten(1)  # (B, 784)
        return -self.output(squash(self.hidden(1.275 * middle - 0.1)))


def map_loss(penalties: Tensor, labels: Tensor, rubbish: float) -> Tensor:
    """Eq. 9: penalties (B, 10), labels (B,)."""
    classes = F.pad(-penalties, (0, 1), value=-rubbish)  # (B, 11)
    return (penalties.gather(1, labels[:, None])[:, 0] + classes.logsumexp(dim=1)).mean()


# %% Training


def train(model: nn.Module, x: Tensor, y: Tensor, steps: int, augment) -> None:
    """Adam on batches of 128 images. The learning rate goes up a straight line for a tenth of the steps, then down."""
    optimizer = torch.optim.Adam(model.parameters())
    for step in tqdm(range(1, steps + 1), desc=type(model).__name__, disable=None):
        progress = step / (steps + 1)
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * min(progress / 0.1, (1 - progress) / 0.9)
        batch = torch.randint(len(x), (128,), device=x.device)
        loss = map_loss(model(augment(x[batch])), y[batch], model.rubbish)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@torch.no_grad()
def error(model: nn.Module, x: Tensor, y: Tensor) -> float:
    answers = torch.cat(
        [model(some).argmin(dim=1) for some in x.split(500)]
    )  # the smallest penalty
    return 100 * (answers != y).float().mean().item()  # in percent


# %% Experiments


@torch.no_grad()
def count() -> list[tuple[int, int]]:
    """Parameters and connections of each layer of LeNet-5; the Gaussian units have no parameters.

    With every weight, bias and input at 1 the weighted sum of a unit is the number of its connections, bias included.
    """
    model, x, counted = LeNet5(), torch.ones(1, 1, 32, 32), []
    for layer in model.children():
        for weight in layer.parameters():
            weight.fill_(1)
        sums = layer(x)
        counted.append(
            (sum(weight.numel() for weight in layer.parameters()), round(sums.sum().item()))
        )
        x = torch.ones_like(sums)
    return [*counted, (0, model.bitmaps.numel())]


def measure(nets: dict[str, nn.Module], x: Tensor, y: Tensor) -> dict[tuple, float]:
    """Errors in percent, by net, kind of distortion and level. The nets read the same distorted images."""
    images = {
        (kind, level): distort(x, **{kind: level})
        for kind, levels in LEVELS.items()
        for level in levels
    }
    return {
        (name, *key): error(net, some, y)
        for name, net in nets.items()
        for key, some in images.items()
    }


# %% Figure


def tile(maps: Tensor, columns: int) -> Tensor:
    """Maps (n, h, w) side by side in rows, with a pixel between."""
    maps = F.pad(maps, [0, 1, 0, 1], value=float("nan")).unflatten(
        0, (-1, columns)
    )  # (rows, columns, h, w)
    return maps.transpose(1, 2).flatten(2).flatten(0, 1)


@torch.no_grad()
def draw_layers(figure, model: LeNet5, image: Tensor, sizes: list) -> None:
    """What every layer makes of one digit (1, 32, 32), with its parameters and connections, see count()."""
    c1, s2, c3, s4, c5, f6 = (state[0].cpu() for state in model.layers(image[None]))
    picture = model.bitmaps[model(image[None]).argmin()].view(12, 7).cpu()
    maps = [
        tile(c1, 2),
        tile(s2, 2),
        tile(c3, 4),
        tile(s4, 4),
        c5.view(12, 10),
        f6.view(12, 7),
        picture,
    ]
    names = (
        "C1 6@28x28",
        "S2 6@14x14",
        "C3 16@10x10",
        "S4 16@5x5",
        "C5 120",
        "F6 84",
        "nearest picture",
    )
    titles = [f"{name}\n{own:,} par.\n{links:,} conn." for name, (own, links) in zip(names, sizes)]
    for axis, title, values in zip(
        figure.subplots(1, 8), ["input 32x32", *titles], [image[0].cpu(), *maps]
    ):
        axis.imshow(
            values,
            cmap="gray_r",
            vmax=1.7 if title in titles else 1,
            vmin=-1.7 if title in titles else 0,
        )
        axis.set_title(title, fontsize=10)
        axis.set_axis_off()


def draw_curves(figure, before: dict, after: dict) -> None:
    """Errors over noise, rotation and shift, before and after the nets were trained on changed digits."""
    units = [
        "share of pixels inverted",
        "turned by up to so many degrees",
        "shifted by up to so many pixels",
    ]
    for axis, unit, (kind, levels) in zip(
        figure.subplots(1, 3, sharey=True), units, LEVELS.items()
    ):
        for name, colour in COLOURS.items():
            axis.plot(levels, [before[name, kind, level] for level in levels], ":", color=colour)
            axis.plot(
                levels,
                [after[name, kind, level] for level in levels],
                "o-",
                color=colour,
                label=name,
            )
        axis.set(xlabel=unit, ylim=(0, 60), ylabel="test error (%)" if kind == "share" else "")
    axis.plot([], [], ":", color="0.3", label="before this training")
    axis.legend(loc="upper left")


def draw_digits(figure, nets: dict[str, nn.Module], images: Tensor, labels: Tensor) -> None:
    """Fig. 13: changed digits (n, 1, 32, 32) in two rows, above each what either net says of it."""
    answers = [net(images).argmin(dim=1).tolist() for net in nets.values()]
    for image, label, axis, *said in zip(
        images, labels, figure.subplots(2, len(images) // 2).flat, *answers
    ):
        axis.imshow(image[0].cpu(), cmap="gray_r", vmin=0, vmax=1)
        for answer, colour, side in zip(said, COLOURS.values(), ("left", "right")):
            axis.set_title(
                answer if answer == label else f"({answer})",
                loc=side,
                color=colour,
                weight="bold",
                pad=3,
            )
        axis.set_axis_off()


def draw(
    title: str, at_work: tuple, errors: tuple[dict, dict], nets: dict, digits: tuple, path: Path
) -> None:
    """Above, a test digit on its way through the layers of LeNet-5, up to the stored picture that is
    nearest to the answer. Below, its errors and those of 300 hidden units on noisy, rotated and
    shifted digits, and such digits with the answers of both nets, in brackets where they are wrong.

    at_work: LeNet-5 before it has seen changed digits, a digit (1, 32, 32) and the layers' sizes;
    errors: before and after that, see measure(); digits: changed (n, 1, 32, 32), and labels (n,).
    """
    figure = plt.figure(figsize=(12, 10.5), layout="constrained")
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=[1, 1.3, 0.9])
    top.suptitle(title)
    draw_layers(top, *at_work)
    middle.suptitle(
        "Changed test digits, after training on noisy, rotated and slightly shifted ones"
    )
    draw_curves(middle, *errors)
    bottom.suptitle(
        "Noisy and rotated test digits, and what the two nets say (in brackets where it is wrong)"
    )
    draw_digits(bottom, nets, *digits)
    figure.savefig(path, dpi=90)


# %% Run


def positive(text: str) -> int:
    """For argparse: a whole number above 0."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("data"), help="where data sets are kept")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="where the figure goes")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--steps",
        type=positive,
        default=2000,
        help="on the digits; then half as many on changed ones",
    )
    parser.add_argument("--smoke", action="store_true", help="a few steps, to see that it runs")
    args = parser.parse_args(argv)
    if not 0 <= args.seed < 2**32:
        parser.error(f"--seed {args.seed}: a seed is a whole number from 0 to {2**32 - 1}")
    try:
        torch.zeros(1, device=args.device)
        args.out.mkdir(parents=True, exist_ok=True)
    except (RuntimeError, AssertionError, OSError) as error:
        parser.error(f"--device {args.device}, --out {args.out}: {str(error).splitlines()[0]}")
    return args


def main(argv: list[str] | None = None) -> dict:
    args = parse_args(argv)
    torch.manual_seed(args.seed)
    dataset, *data = load_mnist(args.data)
    steps, size = (10, 500) if args.smoke else (args.steps, None)
    x, y, x_test, y_test = (tensor[:size].to(args.device) for tensor in data)
    x, x_test = (F.pad(images, [2] * 4)[:, None] for images in (x, x_test))  # (N, 1, 32, 32)
    nets = {"LeNet-5": LeNet5().to(args.device), "300 hidden units": HiddenUnits().to(args.device)}
    for net in nets.values():
        train(net, x, y, steps, lambda images: distort(images, degrees=10, pixels=1))
    wrong, wrong_rival = (error(net, x_test, y_test) for net in nets.values())
    at_work = copy.deepcopy(nets["LeNet-5"]), x_test[0], count()

    before = measure(nets, x_test[::2], y_test[::2])
    for net in nets.values():
        train(net, x, y, steps // 2, spoil)
    after = measure(nets, x_test[::2], y_test[::2])
    changed = torch.cat([distort(x_test[:12], share=0.1), distort(x_test[:12], degrees=40)])
    title = f"LeNet-5 at work: {wrong:.2f}% of the test digits misread, {wrong_rival:.2f}% by 300 hidden units"
    digits = changed, y_test[:12].repeat(2)
    draw(title, at_work, (before, after), nets, digits, args.out / "lenet.png")

    shifted, shifted_rival = (before[name, "pixels", 3] for name in nets)
    noisy, noisy_rival = (after[name, "share", 0.1] for name in nets)
    turned, turned_rival = (after[name, "degrees", 30] for name in nets)
    parameters, connections = (sum(column) for column in zip(*count()))
    claims = [
        {
            "claim": "LeNet-5, of 60,000 parameters and 340,908 connections, misreads at most 1.2% of the test digits",
            "paper": "0.95%; 0.8% after training on distorted images (Fig. 9)",
            "here": f"{wrong:.2f}% with {parameters:,} and {connections:,}; 300 hidden units {wrong_rival:.2f}%",
            "holds": wrong <= 1.2 and (parameters, connections) == (60_000, 340_908),
        },
        {
            "claim": "on digits up to 3 pixels off (1 in training) 300 hidden units err at least 1.5 times as often",
            "paper": "invariance to shifts is built in (sec. II-A)",
            "here": f"LeNet-5 {shifted:.1f}%, 300 hidden units {shifted_rival:.1f}%",
            "holds": shifted_rival >= 1.5 * shifted,
        },
        {
            "claim": "trained on noise and rotations: under 5% errors on either, 300 units 1.3 times as many on noise",
            "paper": "such digits are read right (Fig. 13)",
            "here": f"noise {noisy:.1f}% (300 units {noisy_rival:.1f}), rotation {turned:.1f}% ({turned_rival:.1f})",
            "holds": noisy < 5 and noisy_rival >= 1.3 * noisy and turned < 5,
        },
    ]
    for claim in claims:
        verdict = "not judged" if args.smoke else "holds" if claim["holds"] else "does not hold"
        print(
            f"{verdict:>13}  {claim['claim']}\n{'':15}here: {claim['here']}; paper: {claim['paper']}"
        )
    print(f"figure: {args.out / 'lenet.png'}")
    return {
        "data": dataset,
        "headline": f"LeNet-5 misreads {wrong:.2f}% of {len(y_test):,} handwritten digits",
        "claims": claims,
    }


if __name__ == "__main__":
    if hasattr(sys.stdout, "reconfigure"):  # a notebook's has not
        sys.stdout.reconfigure(errors="replace")  # a terminal without "θ" shows "?"
    main([] if "ipykernel" in sys.modules else None)  # a notebook has no command line


# %% [markdown]
# ## Notes
# - A shared weight pays off where a shape may lie anywhere, not where it is turned. From a fresh start on noisy and
#   turned digits alone, 1,000 steps left LeNet-5 at 4.3 and 6.5% (last 10,000 training images, seed 11; all turned by
#   30 degrees) and the 300 units at 5.6 and 6.0%. When training images were shifted besides, by up to 3 pixels (1,400
#   steps, seed 12), LeNet-5 was at 5.1 and 7.9%, the 300 units at 9.7 and 9.6%.
# - Before any training on noise, a tenth of the pixels inverted cost LeNet-5 30%, the 300 units 12% (seed 12).
