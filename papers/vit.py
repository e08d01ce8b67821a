# /// script
# requires-python = ">=3.11"
# dependencies = ["torch", "torchvision", "scikit-learn", "matplotlib", "tqdm"]
# ///
"""An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale
Dosovitskiy et al., 2021 (ICLR, arXiv:2010.11929)

    python papers/vit.py                    the experiments
    python papers/vit.py --smoke            a few steps, to see that it runs
    python papers/vit.py --steps 3600       eight minutes, and 62% on CIFAR-10
    (for a GPU: --patch 4 --width 192 --steps 40000)

The idea
    A convolutional net (CNN) has two beliefs about images built in: what belongs together is near together, and what is
    worth seeing here is worth seeing there. The Vision Transformer (ViT) drops nearly all of that. It cuts images into
    N patches x_i, makes a vector of each with one matrix E, as if it were a word, adds a learnt vector that tells its
    place (E_pos), and lets an ordinary transformer read the sentence:

        z_0 = [x_class; x_1 E; …; x_N E] + E_pos                                                         (eq. 1)
        z'_l = MSA(LN(z_{l−1})) + z_{l−1},        z_l = MLP(LN(z'_l)) + z'_l                          (eqs. 2, 3)
        y = LN(z_L^0)                                                                                    (eq. 4)

    The first word, x_class, belongs to no patch; there the answer y is gathered. Nothing here knows that an image is
    flat. Shuffle the patches of all images in one way, and the pixels inside all patches in one way: with E_pos and E
    shuffled alike every output is as before. What a CNN is born with, a ViT has to learn from examples.

Built from scratch
    Patches, class token, attention, pre-norm blocks, attention roll-out. Tests hold the net against torchvision's
    VisionTransformer, logits and gradients, and the sizes of Base, Large and Huge to the last parameter.

Claims
    1. A ViT of 4 blocks is right on 50% or more of CIFAR-10's test images.
    2. Learning from shuffled patches of shuffled pixels costs a CNN 10 points or more, the ViT less than 2; and a
       trained ViT with E and E_pos shuffled alike has the same logits to 0.0001 (sec. 3.1).
    3. From 100 images of MNIST to 58,000 the CNN's lead in points falls to a third or less (Figs. 3, 4).

Departures
    Patches of 8 pixels, width D = 64, 1,200 steps, no pre-training (paper: 14 to 303 million images). For claim 3
    pre-training sets of growing size become parts of MNIST; each net is judged at its best on 2,000 images kept aside.
    conv_net.py's CNN has 76.5 to 77.2% on CIFAR-10 (results/conv_net.json); 50,000 images can't teach its beliefs.
"""

import argparse
import copy
import math
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

CLASSES = "airplane automobile bird cat deer dog frog horse ship truck".split()
COLOURS = {"ViT": "C0", "CNN": "C1"}
ORDERS = ("in order", "shuffled")
# Highest learning rates; 1.5e-3 to 5e-3 (ViT) and 3e-3 to 2e-2 (CNN) were tried on 5,000 training images kept aside
RATES = {"ViT": 3e-3, "CNN": 1e-2}


# %% Data


def load_cifar10(root: Path) -> tuple:
    """CIFAR-10; where it can't be had, scikit-learn's 1,797 real digits, enlarged to 32x32 in three channels.

    Returns the data set's name and, as tensors, training images (N, 3, 32, 32) as bytes, labels (N,), the same to test.
    """
    import torch
    from sklearn.datasets import load_digits
    from torchvision.datasets import CIFAR10

    socket.setdefaulttimeout(5)  # s, for a network that is there and doesn't answer
    try:
        train = CIFAR10(root, train=True, download=True)
        test = CIFAR10(root, train=False, download=True)
    except (RuntimeError, OSError):
        print(
            f"CIFAR-10 can't be had (no network, and nothing under {root}): scikit-learn's digits stand in"
        )
        digits = load_digits()
        x = torch.tensor(digits.images).float()[:, None] * 255 / 16
        x = (
            torch.nn.functional.interpolate(x, size=32, mode="bilinear")
            .expand(-1, 3, -1, -1)
            .byte()
        )
        y = torch.tensor(digits.target)
        return "digits (stand-in for CIFAR-10)", x[360:], y[360:], x[:360], y[:360]
    copy = (
        " (JPEG-recompressed copy)"
        if Path(root, CIFAR10.base_folder, "JPEG_COPY.txt").exists()
        else ""
    )
    x, x_test = (
        torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous() for part in (train, test)
    )
    return f"CIFAR-10{copy}", x, torch.tensor(train.targets), x_test, torch.tensor(test.targets)


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


def prepare(images: Tensor, order: Tensor) -> Tensor:
    """Bytes (B, C, H, W) to numbers from -2 to 2, with the pixels in the given order (H W,)."""
    return (images.flatten(2)[:, :, order] / 64 - 2).view(images.shape)


def batches(
    images: Tensor, labels: Tensor, order: Tensor, mirror: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    """Random batches of 128 without end; half the images mirrored, if wanted, before their pixels are put in order."""
    while True:
        chosen = torch.randint(len(images), (128,), device=images.device)
        x = images[chosen]
        if mirror:
            x = torch.where(torch.rand(128, 1, 1, 1, device=x.device) < 0.5, x.flip(3), x)
        yield prepare(x, order), labels[chosen]


# %% Model


def cut(images: Tensor, patch: int) -> Tensor:
    """Images (B, C, H, W) to patches (B, N, C, P, P), row by row."""
    B, C, H, W = images.shape
    grid = images.view(B, C, H // patch, patch, W // patch, patch)
    return grid.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)


class Attention(nn.Module):
    """MSA, appendix A: H heads side by side, each in D / H dimensions."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv, self.output = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, z: Tensor) -> Tensor:
        q, k, v = (
            self.qkv(z).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        )  # (B, H, N + 1, D / H) each
        self.weights = (q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])).softmax(
            dim=-1
        )  # A, kept for the figure
        return self.output((self.weights @ v).transpose(1, 2).flatten(2))  # (B, N + 1, D)


class Block(nn.Module):
    """Eqs. 2 and 3: the norms stand before attention and MLP, so that the sum of z runs through untouched."""

    def __init__(self, width: int, hidden: int, heads: int):
        super().__init__()
        self.norm_1, self.norm_2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attention = Attention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, z: Tensor) -> Tensor:
        z = z + self.attention(self.norm_1(z))
        return z + self.mlp(self.norm_2(z))


class ViT(nn.Module):
    def __init__(
        self,
        shape: tuple[int, int, int],
        patch: int,
        sizes: tuple[int, int, int, int],
        classes: int = 10,
    ):
        """shape: channels, height and width of the images; sizes: a row of Table 1, layers, D, MLP size, heads."""
        super().__init__()
        (channels, *sides), (layers, width, hidden, heads) = shape, sizes
        self.patch, count = patch, math.prod(side // patch for side in sides)
        self.embed = nn.Linear(channels * patch**2, width)  # E, and a bias
        self.token = nn.Parameter(torch.zeros(1, 1, width))  # x_class
        self.positions = nn.Parameter(0.02 * torch.randn(1, count + 1, width))  # E_pos
        self.blocks = nn.Sequential(*(Block(width, hidden, heads) for _ in range(layers)))
        self.norm, self.head = nn.LayerNorm(width, eps=1e-6), nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) to logits (B, classes)."""
        words = self.embed(cut(images, self.patch).flatten(2))  # (B, N, D)
        z = (
            torch.cat([self.token.expand(len(words), -1, -1), words], dim=1) + self.positions
        )  # eq. 1
        return self.head(self.norm(self.blocks(z)[:, 0]))  # eq. 4


@torch.no_grad()
def roll_out(model: ViT, images: Tensor) -> Tensor:
    """How much of each patch has reached the class token (B, N): heads averaged, layers multiplied (Fig. 6, D.8)."""
    model(images)
    token = torch.eye(model.positions.shape[1]).to(images)[:1]  # (1, N + 1)
    for block in reversed(model.blocks):
        attention = block.attention.weights.mean(dim=1)  # (B, N + 1, N + 1)
        token = 0.5 * token + 0.5 * token @ attention  # half of z comes through the shortcut
    return token[:, 0, 1:]


def cnn(channels: int) -> nn.Sequential:
    """A plain convolutional net, much like conv_net.py's."""
    layers = [
        nn.Conv2d(channels, 16, 5, stride=2, padding=2, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
    ]
    for n in (16, 32, 64):  # half the side, twice the channels
        layers += [
            nn.Conv2d(n, 2 * n, 3, padding=1, bias=False),
            nn.MaxPool2d(2),
            nn.BatchNorm2d(2 * n),
            nn.ReLU(),
        ]
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))
    return net.to(memory_format=torch.channels_last)  # colours last in memory: a fifth faster


# %% Training


def train(
    model: nn.Module, data: Iterator[tuple[Tensor, Tensor]], steps: int, rate: float
) -> Iterator[int]:
    """AdamW, its rate rising to the highest in a tenth of the steps and falling to 0; yields the steps done."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.05, fused=True)
    for step, (x, y) in zip(
        tqdm(range(1, steps + 1), desc=type(model).__name__, disable=None), data
    ):
        optimizer.param_groups[0]["lr"] = rate * min(
            10 * step / steps, (1 + 1 / steps - step / steps) / 0.9
        )
        model.train()
        loss = F.cross_entropy(model(x), y, label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        yield step


@torch.no_grad()
def predict(model: nn.Module, images: Tensor, order: Tensor) -> Tensor:
    """Logits (N, 10)."""
    model.eval()
    return torch.cat([model(prepare(part, order)) for part in images.split(500)])


def accuracy(model: nn.Module, images: Tensor, labels: Tensor, order: Tensor) -> float:
    """In percent."""
    return 100 * (predict(model, images, order).argmax(dim=1) == labels).float().mean().item()


# %% Experiments


def shuffle(side: int, patch: int) -> tuple[Tensor, Tensor, Tensor]:
    """A random order of all pixels (side²,) that keeps patches together: of patches, and of pixels inside each."""
    places = cut(torch.arange(side**2).view(1, 1, side, side), patch)[0].flatten(1)  # (N, P²)
    patches, inside = torch.randperm(len(places)), torch.randperm(patch**2)
    order = (
        places[patches][:, inside].view(side // patch, -1, patch, patch).transpose(1, 2).flatten()
    )
    return order, patches, inside


def follow(model: ViT, patches: Tensor, inside: Tensor) -> ViT:
    """The same net for images that have been shuffled so: the rows of E_pos and of E go the same way."""
    twin = copy.deepcopy(model)
    twin.positions.data[:, 1:] = model.positions[:, 1 + patches]
    twin.embed.weight.data = model.embed.weight.unflatten(1, (-1, len(inside)))[
        :, :, inside
    ].flatten(1)
    return twin


def data_curve(
    data: list[Tensor], steps: int, device: str, seed: int
) -> dict[str, dict[int, float]]:
    """Figs. 3 and 4, on MNIST (training images, labels, the same to test): {network: {images: test accuracy}}."""
    x, x_test = ((255 * images[:, None]).round().byte().to(device) for images in data[::2])
    y, y_test = (labels.to(device) for labels in data[1::2])
    order, mixed, aside = torch.arange(28**2), torch.randperm(len(x)), min(2000, len(x) // 5)
    x, y, x_aside, y_aside = x[mixed[aside:]], y[mixed[aside:]], x[mixed[:aside]], y[mixed[:aside]]
    curves = {network: {} for network in COLOURS}
    for count in [n for n in (100, 1000, 10_000) if n < len(x)] + [len(x)]:
        more = round(steps * math.log10(count / 10))  # many images need many steps
        for network, curve in curves.items():
            torch.manual_seed(seed)
            model = (ViT((1, 28, 28), 7, (2, 64, 128, 4)) if network == "ViT" else cnn(1)).to(
                device
            )
            best = -1.0
            for step in train(
                model, batches(x[:count], y[:count], order, False), more, RATES[network]
            ):
                if (
                    step % max(1, more // 20) == 0
                    and (now := accuracy(model, x_aside, y_aside, order)) > best
                ):
                    best, weights = now, copy.deepcopy(model.state_dict())
            model.load_state_dict(weights)
            curve[count] = accuracy(model, x_test, y_test, order)
    return curves


# %% Figure


def draw(
    datasets: tuple[str, str], shown: list[Tensor], scores: dict, curves: dict, path: Path
) -> None:
    """Above, ten test images with the answers of the Vision Transformer (red where they are wrong),
    the same images lit where it attends to them, and with their patches and pixels shuffled. Below,
    its accuracy beside that of a convolutional net (CNN), on images in order and shuffled, and after
    learning from more and more images.

    datasets: of the images and of the digits, by name; shown: test images in order and shuffled
    (10, 3, 32, 32), labels and what the ViT said (10,), roll-out (10, N); scores: (network, order) ->
    test accuracy in percent; curves: network -> {training images: the same}.
    """
    photos, digits = datasets
    names = CLASSES if photos.startswith("CIFAR") else "0123456789"
    figure = plt.figure(figsize=(13, 9), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[1.2, 1])
    images, shuffled, labels, said, maps = (tensor.cpu() for tensor in shown)
    light = F.interpolate(
        maps.view(10, 1, math.isqrt(maps.shape[1]), -1), size=images.shape[-1], mode="bilinear"
    )
    images, shuffled = images / 4 + 0.5, shuffled / 4 + 0.5  # numbers from 0 to 1 again
    rows = images, images * light / light.amax(dim=(2, 3), keepdim=True), shuffled
    for k, column in enumerate(above.subplots(3, 10).T):
        for axis, row in zip(column, rows):
            axis.imshow(row[k].permute(1, 2, 0).numpy())
            axis.axis("off")
        column[0].set_title(
            names[said[k]], fontsize=10, color="black" if said[k] == labels[k] else "C3"
        )
    above.suptitle(
        "What the ViT says (red: wrong); lit by what its class token attends to; shuffled",
        fontsize=11,
    )
    bars, lines = below.subplots(1, 2)
    for offset, (network, colour) in zip((-0.2, 0.2), COLOURS.items()):
        heights = [scores[network, order] for order in ORDERS]
        bars.bar_label(
            bars.bar([offset, 1 + offset], heights, 0.38, color=colour, label=network), fmt="%.1f"
        )
        lines.semilogx(
            list(curves[network]), list(curves[network].values()), "o-", color=colour, label=network
        )
    photos, digits = photos.split(" (")[0], digits.split(" (")[0]  # without what stands in brackets
    bars.set(title=f"{photos}, in order and shuffled", ylabel="test accuracy (%)", ylim=(0, 100))
    bars.set_xticks([0, 1], ORDERS)
    bars.legend(loc="upper right", ncols=2)
    lines.set(
        title=f"{digits}, from few images and from many",
        xlabel="training images",
        ylabel="test accuracy (%)",
    )
    figure.savefig(path, dpi=110)


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
        "--patch", type=int, default=8, choices=(2, 4, 8, 16), help="side of a patch of CIFAR-10"
    )
    parser.add_argument("--width", type=positive, default=64, help="D, a multiple of 16")
    parser.add_argument("--steps", type=positive, default=1200, help="training steps on CIFAR-10")
    parser.add_argument("--smoke", action="store_true", help="a few steps, to see that it runs")
    args = parser.parse_args(argv)
    if not 0 <= args.seed < 2**32:
        parser.error(f"--seed {args.seed}: a seed is a whole number from 0 to {2**32 - 1}")
    if args.width % 16:
        parser.error(f"--width {args.width}: wanted is a multiple of 16, the size of a head")
    try:
        torch.zeros(1, device=args.device)
        args.out.mkdir(parents=True, exist_ok=True)
    except (RuntimeError, AssertionError, OSError) as error:
        parser.error(f"--device {args.device}, --out {args.out}: {str(error).splitlines()[0]}")
    return args


def main(argv: list[str] | None = None) -> dict:
    args = parse_args(argv)
    torch.manual_seed(args.seed)
    cifar, *data = load_cifar10(args.data)
    x, y, x_test, y_test = (tensor.to(args.device) for tensor in data)
    digits, *data = load_mnist(args.data)
    steps, curve_steps = args.steps, 150
    if args.smoke:
        steps, curve_steps, data, x_test, y_test = (
            4,
            2,
            [part[:200] for part in data],
            x_test[:100],
            y_test[:100],
        )

    is_cifar = cifar.startswith("CIFAR")  # a mirrored cat is a cat, a mirrored 2 is no digit
    shuffled, patches, inside = shuffle(32, args.patch)
    order, nets, scores = torch.arange(32**2), {}, {}
    sizes = 4, args.width, 2 * args.width, args.width // 16
    for network in COLOURS:
        for name, pixels in zip(ORDERS, (order, shuffled)):
            torch.manual_seed(args.seed)
            model = (ViT((3, 32, 32), args.patch, sizes) if network == "ViT" else cnn(3)).to(
                args.device
            )
            list(
                train(model, batches(x, y, pixels, is_cifar), steps, RATES[network])
            )  # all its steps
            nets[network, name], scores[network, name] = (
                model,
                accuracy(model, x_test, y_test, pixels),
            )
    vit = nets["ViT", "in order"]
    logits = predict(vit, x_test, order)
    difference = (
        (predict(follow(vit, patches, inside), x_test, shuffled) - logits).abs().max().item()
    )
    curves = data_curve(data, curve_steps, args.device, args.seed)

    images, mixed = (prepare(x_test[:10], pixels) for pixels in (order, shuffled))
    shown = [images, mixed, y_test[:10], logits[:10].argmax(dim=1), roll_out(vit, images)]
    draw((cifar, digits), shown, scores, curves, args.out / "vit.png")

    lost = {
        network: scores[network, "in order"] - scores[network, "shuffled"] for network in COLOURS
    }
    (few, *_, many), (cnn_few, *_, cnn_many) = (
        list(curves[network].values()) for network in COLOURS
    )
    lead, later = cnn_few - few, cnn_many - many
    errors = [(100 - a) / max(0.01, 100 - b) for a, b in ((few, cnn_few), (many, cnn_many))]
    claims = [
        {
            "claim": "a ViT of 4 blocks is right on 50% or more of CIFAR-10's test images",
            "paper": "99.2 to 99.5% after pre-training on 14 to 303 million images (Table 2)",
            "here": f"{scores['ViT', 'in order']:.1f}%; a CNN after as many steps {scores['CNN', 'in order']:.1f}%",
            "holds": scores["ViT", "in order"] >= 50,
        },
        {
            "claim": "shuffled patches of shuffled pixels cost a CNN 10 points or more, the ViT less than 2",
            "paper": "a ViT has much less image-specific bias (sec. 3.1)",
            "here": f"CNN {lost['CNN']:.1f}, ViT {lost['ViT']:.1f}; E, E_pos shuffled too: logits to {difference:.0e}",
            "holds": lost["CNN"] >= 10 and lost["ViT"] < 2 and difference < 1e-4,
        },
        {
            "claim": "from 100 images of MNIST to 58,000 the CNN's lead in points falls to a third or less",
            "paper": "ResNets lead with few images, ViTs with many (Figs. 3, 4)",
            "here": f"{lead:.1f}, then {later:.1f}; the ViT errs {errors[0]:.1f}, then {errors[1]:.1f} times as often",
            "holds": 0 < lead and later <= lead / 3,
        },
    ]
    for claim in claims:
        verdict = "not judged" if args.smoke else "holds" if claim["holds"] else "does not hold"
        print(
            f"{verdict:>13}  {claim['claim']}\n{'':15}here: {claim['here']}; paper: {claim['paper']}"
        )
    print(f"figure: {args.out / 'vit.png'}")
    return {
        "data": f"{cifar}, {digits}",
        "headline": f"a ViT with patches of {args.patch} pixels, {scores['ViT', 'in order']:.1f}% right on {cifar}",
        "claims": claims,
    }


if __name__ == "__main__":
    if hasattr(sys.stdout, "reconfigure"):  # a notebook's has not
        sys.stdout.reconfigure(errors="replace")  # a terminal without "θ" shows "?"
    main([] if "ipykernel" in sys.modules else None)  # a notebook has no command line


# %% [markdown]
# ## Notes
# - Claim 3 counts points. Counted in errors the CNN's lead grows, 4 times at first and 7 at the end (seed 0). With ten
#   times the steps on 56,000 images it is 98.2 and 99.6% (others kept aside), 4 times: the ViT overtakes nowhere here.
# - Patches shuffled as wholes cost conv_net.py's CNN 10.9 points (from 77.1 to 66.2%, images kept aside): 8x8 pixels
#   tell much. With their pixels shuffled as well the CNN here loses 15.8 there, and to the ViT that is no harder.
# - Time buys more steps or a wider net: 1,200 steps at D = 64 took 41 s and gave 54.6% of the images kept aside, 800 at
#   D = 96 took 53 s and gave 51.3%; 2,600 at D = 64 gave 60.4%.
# - Position embeddings of near patches should be alike (Fig. 7). Over pairs the correlation of cosine and distance was
#   only -0.34 after 1,200 steps and -0.33 after 2,600, so that isn't claimed.
