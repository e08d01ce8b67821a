# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy", "torch", "scipy", "matplotlib", "tqdm"]
# ///
"""U-Net: Convolutional Networks for Biomedical Image Segmentation
Ronneberger, Fischer & Brox, 2015 (MICCAI, arXiv:1505.04597)

    python papers/unet.py              the experiments
    python papers/unet.py --smoke      a few steps, to see that it runs

The idea
    Which pixels are cell? To know what a pixel belongs to one must see far; to know where a border runs one must see
    sharply. A contracting path of convolutions and pooling sees far and forgets the place; so an expanding path doubles
    the resolution step by step, and at each step is handed the feature maps of its own resolution from the way down:
    skip connections, copied over and concatenated. The drawing is a U.

    Convolutions are valid: they use no made-up pixels, every 3x3 takes one off each edge, and the output is smaller
    than the input by a fixed margin. That is what makes tiles fit: an image of any size is cut into overlapping tiles,
    each predicts its own middle, and the middles are the prediction of the whole. At the image's edge the missing
    context is the image mirrored.

    Cells that touch are to stay two cells, and the background between them is a pixel or two wide: nothing, among all
    the others, for a loss that counts pixels. So these are given weight, d1 and d2 being the distances to the nearest
    cell and to the second nearest:

        E = −Σ_x w(x) log p_{l(x)}(x),    w(x) = w_c(x) + w0 exp(−(d1(x) + d2(x))² / 2σ²)              (eqs 1 and 2)

    and as there are thirty images and no more, each is bent anew every time it is shown: random displacements on a
    coarse 3x3 grid, made smooth between its points.

Symbols
    p         probability    (B, 2, H, W)     softmax of the net's last maps: background, cell
    l         mask           (B, H, W)        0 background, 1 cell
    w, w_c    weights        (B, H, W)        of the pixels; the part that balances the two classes
    d1, d2    distances      (cells, H, W)    to each cell, the two smallest of them; pixels
    w0, σ     w0, sigma      scalars          10, 5 pixels

Built from scratch
    The net at any size, overlapping tiles, the distance maps (exact and Euclidean), the weight map, the weighted loss,
    the elastic deformation. Tests hold them against torch's layers, SciPy and brute force; parameters and shapes
    against the paper's.

Claims
    1. The net of Fig. 1 has 23 convolutions and 31,030,658 parameters, and turns 572 x 572 pixels into 388 x 388.
    2. Tiles put together are the prediction of the whole image, at any size (Fig. 2).
    3. It segments cells better than a threshold does, by intersection over union (Table 2 has other methods).
    4. Without the weight map more of the touching cells are merged (sec. 3, Fig. 3).
    5. Without elastic deformation the error on new images is larger (sec. 3.1).
    6. Without skip connections intersection over union is lower (sec. 2).

Departures
    The images are drawn by the script: 96x96 pixels, cells about 18 across, uneven light, noise, dim membranes; each
    seed has its own thirty to train on and thirty others to be tried on. Not the microscope's, so no figure here
    is to be set beside the paper's. The warping error of the electron microscope's stacks is not measured.
    8 maps and three poolings (paper: 64 and four, as claim 1 counts them; --width 64 --poolings 4), no dropout, 500
    steps of Adam on two crops of 68x68, rate 0.003, falling (paper: SGD with momentum 0.99, one large tile a step, ten
    hours). The rate was fixed beforehand, for all arms. All of them see the images turned, mirrored and with changed
    light; the spread of the elastic deformation, 2 pixels of 96, is the paper's 10 of 512. "No weight map" has w0 = 0
    and keeps w_c. The second term of eq. 2 is given to background only, which is what Fig. 3d shows.

Notes
    Claim 5 FAILS with all three first seeds: bending costs 1.6 points or gains 0.5 to 1.4, less than seeds differ.
    There is no gap for it to close, as after 500 steps nets do as well on new images as on those they were trained on
    (81.4 and 81.7%). With two images and 1,000 steps there is one, of 5 to 9 points, and bending gained 2.2 with one
    seed and lost 0.8 with another; with five images and 450 steps it lost 0.4. Taking the bent pixels from the nearest
    or by bicubic interpolation, lest the noise be smoothed away, made no difference. Bent images are slower to learn.
    One large tile a step, as the paper has it, came to 73% after 500 steps, two crops of two thirds its side to 82%
    after 600 (one seed).
    With two poolings skip connections didn't matter (82% with and without): maps at a quarter of the resolution are
    sharp enough for cells of 18 pixels. With three it is 82 and 67%.
    Without the weight map cells are found as well, but in clumps: of touching pairs about half are merged, and the
    score falls, as a clump's union with each of its cells is so large.
    Tiles agree with the whole to the last bit here: every pixel is the same sums in the same order.
"""

import argparse
import json
import os
import platform
import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor, nn
from tqdm import tqdm

NAME = Path(__file__).stem
TITLE = "U-Net: Convolutional Networks for Biomedical Image Segmentation"
ARMS = {  # what each net goes without, and its colour
    "U-Net": ({}, "C0"),
    "no weight map": ({"w0": 0.0}, "C1"),
    "no elastic deformation": ({"spread": 0.0}, "C2"),
    "no skip connections": ({"skip": False}, "C3"),
}
RATE = 3e-3  # of Adam, for every arm
RADIUS = 9.0  # of the cells, pixels
SPREAD = 2.0  # of the elastic deformation, pixels: the paper's 10 of 512, for images of 96


# %% Data


def draw_cells(side: int, radius: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, list]:
    """An image like a microscope's: image (side, side), cells (side, side) from 1, background 0, and touching pairs.

    Cells are bent ellipses strewn so densely that most touch; where two meet, the nearer centre wins. The truth has a
    gap of two pixels there, background between cells, and all that the image shows of it is a dim membrane.
    """
    rows, columns = np.mgrid[:side, :side].astype(float)
    centres = []
    for point in rng.uniform(-radius / 2, side + radius / 2, (60, 2)):
        if all(np.hypot(*(point - other)) > 1.6 * radius for other in centres):
            centres.append(point)
    reach = []  # of each pixel from each centre, 1 at the cell's border
    for row, column in centres:
        turn, phase, stretch = rng.uniform(0, 2 * np.pi), rng.uniform(0, 2 * np.pi), rng.uniform(1, 1.25)
        y, x = rows - row, columns - column
        along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
        border = radius * rng.uniform(0.85, 1.1) * (1 + 0.1 * np.cos(3 * np.arctan2(across, along) + phase))
        reach.append(np.hypot(along / stretch, across * stretch) / border)
    reach = np.stack(reach)
    whole = np.where(reach.min(0) < 1, reach.argmin(0) + 1, 0)
    highest = ndimage.maximum_filter(whole, 3)
    lowest = -ndimage.maximum_filter(np.where(whole > 0, -whole, -len(centres) - 1), 3)  # among cells
    cells = np.where(highest != lowest, 0, whole)  # two cells within a pixel: the gap
    small = [k for k in range(1, len(centres) + 1) if (cells == k).sum() < 0.3 * radius**2]
    cells[np.isin(cells, small)] = 0
    pairs = {tuple(sorted(pair)) for a, b in ((whole[1:], whole[:-1]), (whole[:, 1:], whole[:, :-1]))
             for pair in zip(a[a != b].tolist(), b[a != b].tolist())}  # fmt: skip
    pairs = sorted(pair for pair in pairs if pair[0] > 0 and not set(pair) & set(small))

    inside = np.r_[0, rng.uniform(0.12, 0.3, len(centres))][whole]
    texture = ndimage.gaussian_filter(rng.normal(size=whole.shape), 1.5) * 0.25 * (whole > 0)
    membrane = (ndimage.maximum_filter(whole, 3) != ndimage.minimum_filter(whole, 3)) * -0.15
    sharp = 0.5 + inside + texture + membrane
    (a, b), (c, d) = rng.uniform(-0.3, 0.3, (2, 2))
    y, x = 2 * rows / side - 1, 2 * columns / side - 1
    light = 1 + a * x + b * y + 0.5 * c * x * y - 0.3 * abs(d) * (x**2 + y**2)
    image = ndimage.gaussian_filter(sharp, 1.0) * light + rng.normal(scale=0.06, size=whole.shape)
    return (image - image.mean()) / image.std(), cells, pairs


def make_data(count: int, side: int, radius: float, seed: int) -> tuple[Tensor, list[np.ndarray], list[list]]:
    """Images (count, 1, side, side) of mean 0 and deviation 1; cells of each, numbered; touching pairs of each."""
    rng = np.random.default_rng(seed)
    drawn = [draw_cells(side, radius, rng) for _ in range(count)]
    images, cells, pairs = zip(*drawn)
    return torch.tensor(np.stack(images), dtype=torch.float32)[:, None], list(cells), list(pairs)


# %% Model


class TwoConvolutions(nn.Sequential):
    """Two valid 3x3 convolutions, each with a ReLU: (B, in, H, W) to (B, out, H − 4, W − 4)."""

    def __init__(self, i: int, o: int):
        super().__init__(nn.Conv2d(i, o, 3), nn.ReLU(), nn.Conv2d(o, o, 3), nn.ReLU())


class UNet(nn.Module):
    """Fig. 1. The paper's is UNet(): four poolings, 64 channels doubled at each. Dropout stands at the end of the way
    down (sec. 3.1). Without `skip` the way up is the same, but is handed nothing."""

    def __init__(self, width: int = 64, poolings: int = 4, inputs=1, classes=2, skip: bool = True, dropout=0.5):
        super().__init__()
        widths = [width * 2**k for k in range(poolings + 1)]  # 64, 128, 256, 512, 1024
        self.poolings, self.skip = poolings, skip
        self.down = nn.ModuleList(TwoConvolutions(i, o) for i, o in zip([inputs, *widths], widths))
        self.dropout = nn.Dropout(dropout)
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, stride=2) for w in widths[-2::-1])
        self.merge = nn.ModuleList(TwoConvolutions((1 + skip) * w, w) for w in widths[-2::-1])
        self.head = nn.Conv2d(width, classes, 1)
        for module in self.modules():  # deviation √(2/N), N incoming nodes (sec. 3); the way up has one tap an output
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                taps = module.weight[0, 0].numel() if isinstance(module, nn.Conv2d) else 1
                nn.init.normal_(module.weight, std=(2 / (module.in_channels * taps)) ** 0.5)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, inputs, H, W) to logits (B, classes, H − 2m, W − 2m), m the margin(); sizes must fit()."""
        copies = []
        for level, convolutions in enumerate(self.down):
            x = convolutions(F.max_pool2d(x, 2) if level else x)
            copies.append(x)
        x = self.dropout(copies.pop())
        for up, convolutions in zip(self.up, self.merge):
            x, copy = up(x), copies.pop()
            cut = [(a - b) // 2 for a, b in zip(copy.shape[2:], x.shape[2:])]
            copy = copy[:, :, cut[0] : cut[0] + x.shape[2], cut[1] : cut[1] + x.shape[3]]  # what the borders lost
            x = convolutions(torch.cat([copy, x], dim=1) if self.skip else x)
        return self.head(x)


def output_size(size: int, poolings: int) -> int:
    """Of an input of `size` pixels; 0 where that doesn't fit, as the 2x2 pooling would lose a row (sec. 2)."""
    for _ in range(poolings):
        size -= 4
        if size < 2 or size % 2:
            return 0
        size //= 2
    for _ in range(poolings):
        size = 2 * (size - 4)
    return max(0, size - 4)


def margin(poolings: int) -> int:
    """Pixels lost on each side: 92 for the paper's four poolings."""
    return 6 * 2**poolings - 4


def fit(wanted: int, poolings: int) -> int:
    """The smallest output of at least `wanted` pixels that the net can give."""
    size = max(1, wanted)
    while output_size(size + 2 * margin(poolings), poolings) != size:
        size += 1
    return size


def mirrored(image: Tensor, top: int, left: int, height: int, width: int) -> Tensor:
    """The window (…, height, width) of an image (…, H, W), mirrored at its edges as often as need be (Fig. 2)."""
    places = []
    for first, length, size in ((top, height, image.shape[-2]), (left, width, image.shape[-1])):
        period = max(1, 2 * (size - 1))
        place = torch.arange(first, first + length, device=image.device) % period
        places.append(torch.minimum(place, period - place))
    return image[..., places[0][:, None], places[1]]


@torch.no_grad()
def segment(model: UNet, images: Tensor, tile: int | None = None) -> Tensor:
    """Logits (B, classes, H, W) of images (B, inputs, H, W) of any size, in tiles that give about `tile` pixels each,
    or in one piece. Tiles start at multiples of 2^poolings, so that all pool the same pixels together."""
    height, width = images.shape[2:]
    m, grain = margin(model.poolings), 2**model.poolings
    out = [fit(min(size, tile or size), model.poolings) for size in (height, width)]
    step = [max(grain, size // grain * grain) for size in out]
    whole = None
    for top in range(0, height, step[0]):
        for left in range(0, width, step[1]):
            part = model(mirrored(images, top - m, left - m, out[0] + 2 * m, out[1] + 2 * m))
            if whole is None:
                whole = part.new_zeros(*part.shape[:2], height, width)
            whole[:, :, top : top + out[0], left : left + out[1]] = part[:, :, : height - top, : width - left]
    return whole


def distance(inside: Tensor) -> Tensor:
    """From every pixel to the nearest of the pixels that are `inside` (…, H, W), in pixels; exact, one axis at a time.

    min over (i, j) of (y − i)² + (x − j)² is min over j of (x − j)² + [min over i of (y − i)²].
    """
    squared = torch.where(inside, 0.0, 1e9)
    for axis in (-1, -2):
        squared = squared.transpose(-1, axis)
        place = torch.arange(squared.shape[-1], device=inside.device)
        apart = (place[:, None] - place) ** 2  # (n, n)
        squared = (squared[..., None, :] + apart).amin(-1).transpose(-1, axis)
    return squared.sqrt()


def weight_map(cells: Tensor, w0: float = 10.0, sigma: float = 5.0) -> Tensor:
    """Eq. 2 for numbered cells (H, W): weights (H, W). w_c makes cell and background count alike in all, with mean 1;
    the second term is the background's, as in Fig. 3d, and needs two cells."""
    mask = cells > 0
    share = mask.float().mean().clamp(1e-3, 1 - 1e-3)
    weights = torch.where(mask, 0.5 / share, 0.5 / (1 - share))
    numbers = cells[mask].unique()
    if len(numbers) > 1 and w0:
        nearest, second = distance(cells == numbers[:, None, None]).topk(2, dim=0, largest=False).values
        weights = weights + torch.where(mask, 0.0, w0 * torch.exp(-((nearest + second) ** 2) / (2 * sigma**2)))
    return weights


def weighted_loss(logits: Tensor, mask: Tensor, weights: Tensor) -> Tensor:
    """Eq. 1, over the sum of the weights: logits (B, 2, H, W), mask (B, H, W) of 0 and 1, weights (B, H, W)."""
    log_p = logits - logits.logsumexp(1, keepdim=True)
    return -(weights * log_p.gather(1, mask[:, None])[:, 0]).sum() / weights.sum()


def displacement(height: int, width: int, spread: float, draw: torch.Generator) -> Tensor:
    """Smooth random displacements (2, height, width) in pixels, down and right: normal with deviation `spread` at the
    points of a 3x3 grid over the image, bicubic in between (sec. 3.1; the paper's spread is 10)."""
    grid = spread * torch.randn(1, 2, 3, 3, generator=draw)
    return F.interpolate(grid, (height, width), mode="bicubic", align_corners=True)[0]


def deform(maps: Tensor, shift: Tensor, mode: str) -> Tensor:
    """Maps (C, H, W), each pixel taken from where shift (2, H, W) points, mirrored beyond the edges."""
    height, width = maps.shape[1:]
    rows = torch.arange(height)[:, None] + shift[0]
    columns = torch.arange(width) + shift[1]
    grid = torch.stack([2 * columns / (width - 1) - 1, 2 * rows / (height - 1) - 1], dim=-1)  # x before y, in [-1, 1]
    return F.grid_sample(maps[None], grid[None], mode, padding_mode="reflection", align_corners=True)[0]


# %% Training


def augmented(image: Tensor, mask: Tensor, weights: Tensor, spread: float, draw: torch.Generator) -> list[Tensor]:
    """One of the eight turns and mirrorings of an image (1, H, W) with its mask (H, W) and weights (H, W), brighter or
    darker and with more or less contrast, and bent, if spread > 0. Returns the three, as before."""
    maps = torch.cat([image, mask[None], weights[None]])  # (3, H, W)
    turns, flip = torch.randint(4, (), generator=draw).item(), torch.randint(2, (), generator=draw).item()
    maps = maps.rot90(turns, (1, 2)).flip(2) if flip else maps.rot90(turns, (1, 2))
    gain, level = 1 + 0.2 * torch.randn((), generator=draw), 0.2 * torch.randn((), generator=draw)
    shift = displacement(*maps.shape[1:], spread, draw)
    if spread:
        maps = torch.cat([deform(maps[[0, 2]], shift, "bilinear"), deform(maps[[1]], shift, "nearest")])[[0, 2, 1]]
    return [gain * maps[:1] + level, maps[1].long(), maps[2]]


def train(
    model: UNet, images: Tensor, masks: Tensor, weights: Tensor, rate: float, spread: float, steps: int, seed: int,
    crop: int = 64, batch: int = 2,
) -> list[float]:  # fmt: skip
    """Adam, the rate falling to 0 in a straight line, on random crops: the middle `crop` pixels are predicted, the
    margin about them is context. Images (n, 1, H, W), masks (n, H, W), weights (n, H, W); returns the losses."""
    draw = torch.Generator().manual_seed(seed)
    m = margin(model.poolings)
    crop = fit(min(crop, images.shape[2]), model.poolings)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    losses = []
    model.train()
    for step in tqdm(range(steps), leave=False, disable=None):
        shown = []
        for _ in range(batch):
            pick = torch.randint(len(images), (), generator=draw).item()
            top, left = torch.randint(images.shape[2] - crop + 1, (2,), generator=draw).tolist()
            image, mask, weight = augmented(images[pick], masks[pick].float(), weights[pick], spread, draw)
            image = mirrored(image, top - m, left - m, crop + 2 * m, crop + 2 * m)
            shown.append((image, *(t[top : top + crop, left : left + crop] for t in (mask, weight))))
        x, y, w = (torch.stack(parts).to(model.head.weight.device) for parts in zip(*shown))
        loss = weighted_loss(model(x), y, w)
        optimizer.zero_grad()
        loss.backward()
        optimizer.param_groups[0]["lr"] = rate * (1 - step / steps)
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    return losses


# %% Experiments


def components(cell: np.ndarray) -> np.ndarray:
    """Predicted cells: what hangs together of a mask (H, W), numbered from 1; specks under 20 pixels are dropped."""
    numbered, count = ndimage.label(cell)
    sizes = np.bincount(numbered.ravel(), minlength=count + 1)
    return np.where(sizes[numbered] >= 20, numbered, 0)


def compare(masks: np.ndarray, cells: list[np.ndarray], pairs: list[list]) -> tuple[float, float]:
    """Of predicted masks (n, H, W), both in percent: the mean over true cells of intersection over union with the
    predicted cell that covers more than half of it (0 if none does), as the ISBI challenge counts (the paper's
    ref. [14]); and the share of touching pairs that lie, by that cover, in one predicted cell: merged."""
    overlaps, merged = [], []
    for mask, truth, touching in zip(masks, cells, pairs):
        found, covering = components(mask), {}
        for number in np.unique(truth[truth > 0]):
            inside = truth == number
            under = np.bincount(found[inside])
            under[0] = 0
            best = under.argmax()
            covering[number] = best if 2 * under[best] > inside.sum() else 0
            union = inside.sum() + (found == best).sum() - under[best]
            overlaps.append(under[best] / union if covering[number] else 0.0)
        merged += [covering[a] == covering[b] > 0 for a, b in touching]
    return 100 * float(np.mean(overlaps)), 100 * float(np.mean(merged))


def threshold(images: Tensor, window: float, level: float) -> np.ndarray:
    """The simplest method: cell is what is brighter than its surroundings of `window` pixels by `level`."""
    smooth = [
        ndimage.gaussian_filter(image, 1.0) - ndimage.gaussian_filter(image, window) for image in images[:, 0].numpy()
    ]
    return np.stack(smooth) > level


def best_threshold(images: Tensor, cells: list, pairs: list) -> tuple[float, float]:
    """The (window, level) with the highest intersection over union on these images."""
    grid = [(window, level) for window in (6, 12, 24, 48) for level in np.linspace(-0.2, 1.2, 15)]
    return max(grid, key=lambda setting: compare(threshold(images, *setting), cells, pairs)[0])


def predict(model: UNet, images: Tensor) -> np.ndarray:
    """Masks (n, H, W) of the more probable class."""
    return (segment(model, images.to(model.head.weight.device)).argmax(1) == 1).cpu().numpy()


def experiment(arm: str, data: tuple, maps: dict, test_data: tuple, sizes: argparse.Namespace, seed: int) -> dict:
    """One net, trained on data and tried on test_data, both as from make_data(), with the weight maps of its w0:
    its two scores of compare() on new images ("iou", "merged"), the same on those it was trained on ("iou there",
    "merged there"), and the net."""
    without, _ = ARMS[arm]
    images, cells, pairs = data
    masks = torch.tensor(np.stack(cells) > 0).long()
    torch.manual_seed(seed)
    model = UNet(sizes.width, sizes.poolings, skip=without.get("skip", True), dropout=0.0)
    model = model.to(sizes.device, memory_format=torch.channels_last)
    train(model, images, masks, maps[without.get("w0", 10.0)], RATE, without.get("spread", SPREAD), sizes.steps, seed)
    iou, merged = compare(predict(model, test_data[0]), *test_data[1:])
    iou_there, merged_there = compare(predict(model, images), cells, pairs)
    return {"iou": iou, "merged": merged, "iou there": iou_there, "merged there": merged_there, "model": model}


def tile_error(model: UNet, images: Tensor) -> float:
    """Largest difference of logits, over their deviation, between tiles and one piece, for images cut to many sizes."""
    worst = 0.0
    for height, width, tile in ((96, 96, 40), (71, 83, 30), (50, 96, 24), (37, 41, 12), (9, 64, 50)):
        cut = images[:2, :, :height, :width].to(model.head.weight.device)
        whole, tiles = segment(model, cut), segment(model, cut, tile)
        worst = max(worst, ((whole - tiles).abs().max() / whole.std()).item())
    return worst


def full_size() -> tuple[int, int, int, list[int]]:
    """The paper's net, without memory for its weights: parameters, convolutions, pixels of the coarsest maps, and the
    shape of the output."""
    with torch.device("meta"):
        model = UNet()
        coarse = []
        model.down[-1].register_forward_hook(lambda module, x, y: coarse.append(y.shape[-1]))
        shape = list(model(torch.zeros(1, 1, 572, 572)).shape)
    convolutions = sum(isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)) for module in model.modules())
    return sum(weights.numel() for weights in model.parameters()), convolutions, coarse[0], shape


# %% Figure


def draw(runs: dict, simple: list[float], shown: list, image: Tensor, path: Path) -> None:
    """runs: arm -> runs of experiment() by seed; simple: the threshold's scores; shown: (title, picture, mask or None)
    five times; image (H, W) is the one to show tiles on."""
    plt.rcParams.update({"font.size": 11})
    figure, axes = plt.subplots(2, 4, figsize=(14, 7.6), layout="constrained")
    for axis, (title, picture, mask) in zip(axes.flat, shown):
        axis.imshow(picture, cmap="gray" if picture.min() < 0 else "viridis")
        if mask is not None:
            axis.contour(mask, [0.5], colors="C3", linewidths=0.9)
        axis.set(title=title, xticks=[], yticks=[])
    tiles, bars, merges = axes.flat[5:]
    m, tile, size = margin(3), 36, image.shape[0]
    tiles.imshow(mirrored(image, -m, -m, size + 2 * m, size + 2 * m), cmap="gray")
    tiles.add_patch(plt.Rectangle((m, m), size, size, fill=False, ec="w", ls=":"))
    for corner, side, colour in ((0, tile + 2 * m, "C0"), (m, tile, "gold")):
        tiles.add_patch(plt.Rectangle((corner, corner), side - 1, side - 1, fill=False, ec=colour, lw=2))
    tiles.set(title="For the yellow tile the net sees\nthe blue one, mirrored at the edge", xticks=[], yticks=[])
    for place, (arm, (_, colour)) in enumerate(ARMS.items()):
        for axis, name in ((bars, "iou"), (merges, "merged")):
            values = [run[name] for run in runs[arm]]
            axis.bar(place, np.mean(values), color=colour, alpha=0.6)
            axis.plot([place] * len(values), values, "ko", ms=3)
    bars.axhline(np.mean(simple), color="0.3", ls=":")
    bars.text(len(ARMS) - 0.5, 93, "dotted: the best threshold", ha="right", fontsize=9, color="0.2")
    bars.set(title="Skip connections\nkeep the place", ylabel="intersection over union (%)", ylim=(0, 100))
    merges.set(title="The weight map keeps\ntouching cells apart", ylabel="touching pairs merged (%)", ylim=(0, 100))
    for axis in (bars, merges):
        axis.set_xticks(range(len(ARMS)), ["U-Net", "no weight\nmap", "not\nbent", "no\nskips"], fontsize=10)
    figure.savefig(path, dpi=100)
    plt.close(figure)


# %% Run


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"), help="not used: the images are made in the script")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="where the figure and the results go")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0, help="the first of three")
    parser.add_argument("--steps", type=int, default=500, help="training steps of every net")
    parser.add_argument("--width", type=int, default=8, help="maps at full resolution (paper: 64)")
    parser.add_argument("--poolings", type=int, default=3, help="how often the resolution is halved (paper: 4)")
    parser.add_argument("--smoke", action="store_true", help="a few steps, to see that it runs")
    args = parser.parse_args(argv)
    for size in ("steps", "width", "poolings"):
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
    count, side = (4, 60) if args.smoke else (30, 96)
    if args.smoke:
        args.steps, args.width, args.poolings = 3, 2, 2
    seeds = range(args.seed, args.seed + (2 if args.smoke else 3))
    sets = [[make_data(count, side, RADIUS, 2 * seed + k) for k in (0, 1)] for seed in seeds]  # to train on, to test on

    maps = [
        {w0: torch.stack([weight_map(torch.tensor(c), w0) for c in cells]) for w0 in (10.0, 0.0)}
        for (_, cells, _), _ in sets
    ]

    runs = {}
    for arm in ARMS:
        bar = tqdm(zip(seeds, sets, maps), desc=arm, total=len(seeds), disable=None)
        runs[arm] = [experiment(arm, old, weights, new, args, seed) for seed, (old, new), weights in bar]
    simple = [compare(threshold(new[0], *best_threshold(*old)), *new[1:])[0] for old, new in sets]
    counts = full_size()

    images, cells, pairs = sets[0][1]
    ours, plain = (predict(runs[arm][0]["model"], images) for arm in ("U-Net", "no weight map"))
    joined = [compare(plain[k : k + 1], cells[k : k + 1], pairs[k : k + 1])[1] if pairs[k] else 0 for k in range(count)]
    which = int(np.argmax(joined))  # the picture in which the net without the weight map does worst
    truth = torch.tensor(cells[which])
    shift = displacement(*truth.shape, 3 * SPREAD, torch.Generator().manual_seed(0))
    shown = [
        ("A new image, and the truth", images[which, 0], truth > 0),
        ("The U-Net's answer", images[which, 0], ours[which]),
        ("Without the weight map\ncells grow together", images[which, 0], plain[which]),
        ("The weight map:\ngaps count most", weight_map(truth), None),
        (f"The image bent,\nby {3 * SPREAD:g} pixels for show", deform(images[which], shift, "bilinear")[0], None),
    ]
    draw(runs, simple, shown, images[which, 0], args.out / f"{NAME}.png")
    tiles = tile_error(runs["U-Net"][0]["model"], images)

    def spread(values: np.ndarray) -> str:
        return f"{values.mean():.1f} ({values.min():.1f} to {values.max():.1f})"

    iou, merged = ({arm: np.array([run[name] for run in runs[arm]]) for arm in ARMS} for name in ("iou", "merged"))
    gain = iou["U-Net"] - iou["no elastic deformation"]
    claims = [
        (
            "the full net has 23 convolutions and 31,030,658 parameters, and turns 572 x 572 pixels into 388 x 388",
            "23 layers, 572 to 28 to 388 (Fig. 1)",
            f"{counts[1]} convolutions, {counts[0]:,} parameters, 572 to {counts[2]} to {counts[3][-1]}",
            counts == (31_030_658, 23, 28, [1, 2, 388, 388]),
        ),
        (
            "tiles put together are the prediction of the whole image, whatever its size",
            "seamless by the overlap-tile strategy (Fig. 2)",
            f"logits off by {tiles:.0e} of their deviation at most, five sizes from 9 x 64 to 96 x 96",
            tiles < 1e-4,
        ),
        (
            "the net segments cells better than the best threshold",
            "IoU 92% (PhC-U373), 77.5% (DIC-HeLa), second best 83 and 46% (Table 2)",
            f"IoU {spread(iou['U-Net'])}%, threshold {spread(np.array(simple))}%, {len(seeds)} seeds",
            iou["U-Net"].min() > max(simple),
        ),
        (
            "without the weight map more of the touching cells are merged",
            "it forces the net to learn the small separation borders (sec. 3)",
            f"merged {spread(merged['U-Net'])}%, without {spread(merged['no weight map'])}%, {len(seeds)} seeds",
            merged["U-Net"].max() < merged["no weight map"].min(),
        ),
        (
            "without elastic deformation of the thirty images, new images are segmented worse",
            "the key concept to train with very few annotated images (sec. 3.1)",
            f"IoU {spread(iou['U-Net'])}%, without {spread(iou['no elastic deformation'])}%: {spread(gain)} points "
            f"lower, {len(seeds)} seeds",
            gain.min() > 0,
        ),
        (
            "without skip connections intersection over union is lower",
            "high-resolution features localize (sec. 2)",
            f"IoU {spread(iou['U-Net'])}%, without {spread(iou['no skip connections'])}%, {len(seeds)} seeds",
            iou["U-Net"].min() > iou["no skip connections"].max(),
        ),
    ]
    results = {
        "script": f"papers/{NAME}.py",
        "title": TITLE,
        "data": "drawn cells (made in the script)",
        "seed": args.seed,
        "smoke": args.smoke,
        "device": f"{args.device}, {torch.get_num_threads()} threads",
        "seconds": round(time.perf_counter() - started, 1),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "metrics": {
            **{
                f"{arm}: {name} (%)": round(float(np.mean([run[name] for run in runs[arm]])), 2)
                for arm in runs
                for name in ("iou", "merged", "iou there", "merged there")
            },
            "threshold: iou (%)": round(float(np.mean(simple)), 2),
            "tiles, off by (of a deviation)": tiles,
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
