# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy", "scikit-learn", "scipy", "pillow", "matplotlib", "tqdm"]
# ///
"""Convolution and edges: from the definition to the Canny detector
Canny, 1986 (IEEE Transactions on Pattern Analysis and Machine Intelligence 8)

    python convolution_edge.py                     what every kernel sees in a photograph
    python convolution_edge.py --image cat.jpg     … in a picture of yours
    python convolution_edge.py --smoke             on almost nothing, to see that it runs

The idea
    Every output pixel is a weighted sum of its neighbours, with the same weights everywhere:

        (k * x)[i, j] = Σ_u Σ_v k[u, v] x[i − u, j − v]                                     (convolution)

    The minus signs flip the kernel, and make it commute and associate: blurring and then differentiating is one
    convolution with the derivative of the blur. What "convolution layers" of neural networks compute has plus
    signs, x[i + u, j + v]: cross-correlation. For symmetric kernels the two agree; for Sobel's they differ in sign.

    An edge is where the brightness changes fast, so look for large gradients. Two things are in the way: noise has
    large gradients too, and a blurred edge has large gradients on a whole band. Canny's answer: blur first, keep only
    the ridge of the gradient, and let strong edge pixels vouch for the weak ones they touch.

Symbols
    x   image       (H, W) or (H, W, C)    brightness in [0, 1]
    k   kernel      (K, L)                 weights; k[0, 0] multiplies the pixel farthest down and right
    σ   sigma       scalar > 0, in pixels  width of the Gaussian

Built from scratch
    Convolution in NumPy four times over: pixel by pixel, as one product with all windows, in two passes for a kernel
    that is a column times a row, and by the Fourier transform. All kernels, thinning and hysteresis, and the Canny
    detector from these parts. Tests hold them against scipy.signal.convolve2d, scipy.ndimage and connected components.

Claims
    1. The windowed product is no slower than scipy.signal.convolve2d (3x3 kernel, colour photograph).
    2. Direct convolution's time grows as the square of the kernel's width K, that of two passes as K, and that of the
       Fourier transform hardly at all.
    3. Scharr's kernel tells an edge's direction better than Sobel's, and Sobel's better than Prewitt's
       (Scharr 2000; Jähne, Scharr & Körkel 1999).
    4. In noise the Canny detector finds edges better than thresholded gradients, blurred or not (Canny 1986).

Departures
    Canny chooses thresholds from an estimate of the noise; here the high one is a quantile of the gradient on the
    photograph, or the best of a grid on the test card, and the low one is 0.4 of it. Gradient directions are rounded
    to multiples of 45° for thinning, where Canny interpolates.

Notes
    There are two ways to see the windows as one product. A K x K window for every pixel (tensordot) has to be copied
    out before it can be multiplied, and only drew level with SciPy: 25 ms against 24 for 3x3. Seen as K² moved
    images (einsum), nothing is copied and it wins at every width that was tried, up to 15.
    With noise of deviation 0.15 on the test card Canny's F-score was 100% on every card, which measures nothing; it is
    0.3 now, three quarters of the step between disc and ground.
    Zeros around a photograph are an edge, and the strongest one in it: every picture here repeats its border instead.
    Of Canny's two ideas thinning is the one that pays: a blurred gradient with one threshold scores 77% (mean of five
    cards, each way of working at its own best of one grid), thinned 92%, thinned and with hysteresis 94%. Hysteresis
    without thinning scores 69%: bands touch, and vouch for noise. Thin lines also bear more blur, σ = 4 in place of 2.
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
from numpy import ndarray
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image, UnidentifiedImageError
from scipy.signal import convolve2d
from sklearn.datasets import load_sample_image
from tqdm import tqdm

NAME = Path(__file__).stem
TITLE = "Convolution and edges: from the definition to the Canny detector"
WEIGHTS = {"Prewitt": (1, 1), "Sobel": (1, 2), "Scharr": (3, 10)}  # outer and middle weight across the derivative
DETECTORS = {"gradient": "0.6", "blur, gradient": "C1", "Canny": "C0"}  # and the colour each has in the figure


# %% Data


def load_image(path: Path | None) -> tuple[str, ndarray]:
    """The reader's picture, else scikit-learn's china.jpg: its name, and (H, W, 3) in [0, 1]."""
    if path is None:
        return "china.jpg (scikit-learn)", load_sample_image("china.jpg") / 255
    with Image.open(path) as picture:
        return path.name, np.asarray(picture.convert("RGB")) / 255


def gray(image: ndarray) -> ndarray:
    """Luma of ITU-R BT.601: (H, W, 3) to (H, W)."""
    return image @ np.array([0.299, 0.587, 0.114])


def circular_wave(wavelength: float, size: int = 201) -> tuple[ndarray, ndarray]:
    """sin(2πr / wavelength) around the middle, (size, size), and the true angle of its gradient, in radians, mod π."""
    y, x = np.mgrid[:size, :size] - size // 2
    return np.sin(2 * np.pi * np.hypot(x, y) / wavelength), np.arctan2(y, x) % np.pi


def noisy_card(rng: np.random.Generator, noise: float, size: int = 128) -> tuple[ndarray, ndarray]:
    """A disc and a tilted bar in Gaussian noise (size, size), and where their true edges are (size, size), boolean."""
    y, x = np.mgrid[:size, :size] / size
    shade = np.full((size, size), 0.3)
    shade[np.hypot(x - 0.35, y - 0.4) < 0.22] = 0.7
    along, across = x - 0.7 + 0.5 * (y - 0.6), y - 0.6 - 0.5 * (x - 0.7)
    shade[(abs(along) < 0.1) & (abs(across) < 0.35)] = 0.55
    edges = np.zeros((size, size), dtype=bool)
    edges[:, 1:] |= shade[:, 1:] != shade[:, :-1]
    edges[1:] |= shade[1:] != shade[:-1]
    return shade + noise * rng.normal(size=shade.shape), edges


# %% Model


def padded_planes(image: ndarray, shape: tuple[int, int], mode: str) -> ndarray:
    """Zeros around each colour plane, so that a kernel of this shape fits as often as mode asks: (C, H + …, W + …).

    full: wherever kernel and image overlap. same: as many outputs as pixels. valid: only where nothing is missing.
    """
    planes = image[None] if image.ndim == 2 else image.transpose(2, 0, 1)
    around = {
        "full": [(k - 1, k - 1) for k in shape],
        "same": [(k // 2, (k - 1) // 2) for k in shape],
        "valid": [(0, 0), (0, 0)],
    }
    if mode not in around:
        raise ValueError(f"mode {mode!r}: one of {', '.join(around)} is needed")
    if mode == "valid" and (shape[0] > planes.shape[1] or shape[1] > planes.shape[2]):
        raise ValueError(
            f"a kernel of {shape[0]}x{shape[1]} doesn't fit into an image of {image.shape[0]}x{image.shape[1]}"
        )
    return np.pad(planes, [(0, 0), *around[mode]])


def convolve_loop(image: ndarray, kernel: ndarray, mode: str = "same", stride: int = 1) -> ndarray:
    """The definition, one output pixel after the other: (H, W) or (H, W, C), of the size that mode and stride say."""
    planes = padded_planes(image, kernel.shape, mode)
    flipped = kernel[::-1, ::-1]  # without this line it would be cross-correlation
    rows = range(0, planes.shape[1] - kernel.shape[0] + 1, stride)
    columns = range(0, planes.shape[2] - kernel.shape[1] + 1, stride)
    out = np.empty((len(planes), len(rows), len(columns)))
    for i, top in enumerate(rows):
        for j, left in enumerate(columns):
            window = planes[:, top : top + kernel.shape[0], left : left + kernel.shape[1]]
            out[:, i, j] = (window * flipped).sum((1, 2))
    return out[0] if image.ndim == 2 else out.transpose(1, 2, 0)


def convolve(image: ndarray, kernel: ndarray, mode: str = "same", stride: int = 1) -> ndarray:
    """All windows times the kernel, as one product: windows[:, u, v] is the image moved by (u, v), not copied."""
    planes = padded_planes(image, kernel.shape, mode)
    moved = [planes.shape[1] - kernel.shape[0] + 1, planes.shape[2] - kernel.shape[1] + 1]
    windows = sliding_window_view(planes, moved, axis=(1, 2))[..., ::stride, ::stride]  # (C, K, L, H, W)
    out = np.einsum("uv, cuvij -> cij", kernel[::-1, ::-1], windows)
    return out[0] if image.ndim == 2 else out.transpose(1, 2, 0)


def factors(kernel: ndarray) -> tuple[ndarray, ndarray] | None:
    """A column (K, 1) and a row (1, L) whose product is the kernel; None where there are none (its rank is above 1)."""
    u, s, vt = np.linalg.svd(kernel)
    if len(s) > 1 and s[1] > 1e-10 * s[0]:
        return None
    return u[:, :1] * s[0], vt[:1]


def convolve_separable(image: ndarray, kernel: ndarray, mode: str = "same", stride: int = 1) -> ndarray:
    """Columns first, then rows: K + L multiplications a pixel in place of K times L."""
    pair = factors(kernel)
    if pair is None:
        raise ValueError("this kernel isn't a column times a row")
    down = convolve(image, pair[0], mode)[::stride]
    return convolve(down, pair[1], mode)[:, ::stride]


def convolve_fft(image: ndarray, kernel: ndarray, mode: str = "same", stride: int = 1) -> ndarray:
    """A product of spectra is a circular convolution: with enough zeros around, nothing wraps over."""
    planes = padded_planes(image, kernel.shape, mode)
    shape = planes.shape[1:]
    product = np.fft.rfft2(planes) * np.fft.rfft2(kernel, shape)
    out = np.fft.irfft2(product, shape)[:, kernel.shape[0] - 1 :: stride, kernel.shape[1] - 1 :: stride]
    return out[0] if image.ndim == 2 else out.transpose(1, 2, 0)


def derivative(name: str) -> tuple[ndarray, ndarray]:
    """Kernels (3, 3) of d/dx, rightwards, and d/dy, downwards, in brightness a pixel."""
    outer, middle = WEIGHTS[name]
    across = np.array([outer, middle, outer]) / (2 * outer + middle)
    kernel = np.outer(across, [0.5, 0, -0.5])  # flipped by the convolution: right minus left
    return kernel, kernel.T


def gaussian(sigma: float) -> ndarray:
    """exp(−r²/2σ²) out to 4σ, summing to 1."""
    line = np.exp(-(np.arange(-int(4 * sigma + 0.5), int(4 * sigma + 0.5) + 1) ** 2) / (2 * sigma**2))
    return np.outer(line, line) / line.sum() ** 2


def laplacian_of_gaussian(sigma: float) -> ndarray:
    """(r²/σ⁴ − 2/σ²) times the Gaussian, summing to 0."""
    weights = gaussian(sigma)
    y, x = np.mgrid[: len(weights), : len(weights)] - len(weights) // 2
    kernel = ((x**2 + y**2) / sigma**4 - 2 / sigma**2) * weights
    return kernel - kernel.mean()


def kernels(sigma: float) -> dict[str, ndarray]:
    laplacian = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
    return {
        "Gaussian": gaussian(sigma),
        "Sharpen": (np.arange(9) == 4).reshape(3, 3) - laplacian,
        "Emboss": np.array([[2, 1, 0], [1, 1, -1], [0, -1, -2]]),
        **{name: derivative(name)[0] for name in WEIGHTS},
        "Laplacian": laplacian,
        "Laplacian of Gaussian": laplacian_of_gaussian(sigma),
    }


def with_border(image: ndarray, kernel: ndarray) -> ndarray:
    """The convolution at every pixel, with the border repeated outwards: zeros there would look like an edge."""
    around = [(k // 2, (k - 1) // 2) for k in kernel.shape] + [(0, 0)] * (image.ndim - 2)
    return convolve(np.pad(image, around, mode="edge"), kernel, "valid")


def gradient(image: ndarray, name: str = "Sobel") -> tuple[ndarray, ndarray]:
    """Magnitude, in brightness a pixel, and angle of the steepest ascent, in radians (0 rightwards, π/2 downwards)."""
    across, down = (with_border(image, kernel) for kernel in derivative(name))
    return np.hypot(across, down), np.arctan2(down, across)


def thin(magnitude: ndarray, angle: ndarray) -> ndarray:
    """Non-maximum suppression: keeps a pixel only if neither neighbour along the gradient is larger."""
    sector = np.round(angle / (np.pi / 4)).astype(int) % 4  # 0: right, 1: down right, 2: down, 3: down left
    around = np.pad(magnitude, 1)
    kept = np.zeros_like(magnitude)
    for number, (dy, dx) in enumerate([(0, 1), (1, 1), (1, 0), (1, -1)]):
        ahead, behind = (
            around[1 + s * dy : 1 + s * dy + len(magnitude), 1 + s * dx : 1 + s * dx + magnitude.shape[1]]
            for s in (1, -1)
        )
        ridge = (sector == number) & (magnitude >= ahead) & (magnitude > behind)  # one of two equals stays
        kept[ridge] = magnitude[ridge]
    return kept


def grow(mask: ndarray) -> ndarray:
    """A pixel and its eight neighbours."""
    around = np.pad(mask, 1)
    rows = around[:-2] | around[1:-1] | around[2:]
    return rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]


def hysteresis(magnitude: ndarray, low: float, high: float) -> ndarray:
    """Pixels above low that hang together with one above high, through others above low: (H, W), boolean."""
    weak, kept = magnitude > low, magnitude > high
    while True:
        grown = grow(kept) & weak
        if (grown == kept).all():
            return kept
        kept = grown


def canny(image: ndarray, sigma: float, high: float, low: float | None = None) -> ndarray:
    """Blur, gradient, thinning, hysteresis: gray (H, W) to edges (H, W), boolean. Thresholds in brightness a pixel."""
    magnitude, angle = gradient(with_border(image, gaussian(sigma)))
    return hysteresis(thin(magnitude, angle), 0.4 * high if low is None else low, high)


# %% Experiments


def seconds_of(call, repeats: int) -> float:
    """Best of a few: the rest is what else the machine was doing."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def scipy_convolve(image: ndarray, kernel: ndarray) -> ndarray:
    return np.stack([convolve2d(plane, kernel, mode="same") for plane in image.transpose(2, 0, 1)], axis=2)


def time_all(image: ndarray, sizes: list[int], repeats: int) -> dict[str, list[float]]:
    """Seconds of every way to convolve, for a separable kernel of each width."""
    ways = {"loop": convolve_loop, "windowed": convolve, "separable": convolve_separable, "FFT": convolve_fft}
    ways["SciPy"] = scipy_convolve
    seconds = {way: [] for way in ways}
    for size in tqdm(sizes, desc="timing", disable=None):
        kernel = np.outer(np.hanning(size + 2)[1:-1], np.hanning(size + 2)[1:-1])
        for way, call in ways.items():
            seconds[way].append(seconds_of(lambda: call(image, kernel), 1 if way == "loop" else repeats))  # noqa: B023
    return seconds


def direction_errors(wavelengths: ndarray) -> dict[str, ndarray]:
    """Mean error of the gradient's direction on circular waves, in degrees, where the gradient isn't tiny."""
    errors = {name: [] for name in WEIGHTS}
    for wavelength in wavelengths:
        wave, truth = circular_wave(wavelength)
        for name in WEIGHTS:
            magnitude, angle = gradient(wave, name)
            error = (angle - truth + np.pi / 2) % np.pi - np.pi / 2
            clear = magnitude > 0.5 * magnitude.max()
            clear[[0, -1]] = clear[:, [0, -1]] = False
            errors[name].append(np.degrees(abs(error[clear]).mean()))
    return {name: np.array(e) for name, e in errors.items()}


def f_score(found: ndarray, truth: ndarray) -> float:
    """Harmonic mean of precision and recall, in percent, with one pixel's tolerance."""
    precision = (found & grow(truth)).sum() / max(found.sum(), 1)
    recall = (truth & grow(found)).sum() / truth.sum()
    return 100 * float(2 * precision * recall / max(precision + recall, 1e-9))


def detect(name: str, image: ndarray, high: float, sigma: float) -> ndarray:
    """Edges (H, W) by one of DETECTORS."""
    if name == "Canny":
        return canny(image, sigma, high)
    return gradient(with_border(image, gaussian(sigma)) if name == "blur, gradient" else image)[0] > high


def compare_detectors(
    seed: int, cards: int, noise: float, size: int = 128
) -> tuple[dict[str, ndarray], dict[str, ndarray]]:
    """F-scores of each detector (cards,), with the best of one grid on two other cards; and an example of each."""
    tuning = [noisy_card(np.random.default_rng([seed, 1, k]), noise, size) for k in range(2)]
    testing = [noisy_card(np.random.default_rng([seed, 2, k]), noise, size) for k in range(cards)]
    scores, examples = {}, {}
    for name in tqdm(DETECTORS, desc="detectors", disable=None):
        grid = [(high, sigma) for high in np.geomspace(0.01, 1, 15) for sigma in (1, 2, 3, 4, 6)]
        tried = [sum(f_score(detect(name, card, *point), truth) for card, truth in tuning) for point in grid]
        best = grid[int(np.argmax(tried))]
        scores[name] = np.array([f_score(detect(name, card, *best), truth) for card, truth in testing])
        examples[name] = detect(name, testing[0][0], *best)
    return scores, {"test card": testing[0][0], **examples}


# %% Figure


def show(axis, picture: ndarray, title: str, **how) -> None:
    axis.imshow(picture, **how)
    axis.set_title(title, fontsize=11)
    axis.axis("off")


def draw(
    image: ndarray, sigma: float, sizes: list[int], seconds: dict, wavelengths, errors, scores, examples, path
) -> None:
    """The photograph through every kernel, and the experiments under it."""
    figure = plt.figure(figsize=(12, 12), layout="constrained")
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=[6.4, 2.3, 3.3])
    luma = gray(image)
    magnitude, angle = gradient(with_border(luma, gaussian(sigma)))
    panels = iter(top.subplots(3, 4).flat)
    show(next(panels), image, "What a camera sees")
    for name, kernel in kernels(sigma).items():
        if name in ("Gaussian", "Sharpen", "Emboss"):
            picture = with_border(image, kernel).clip(0, 1)
            show(next(panels), picture if name != "Emboss" else gray(picture), name, cmap="gray", vmin=0, vmax=1)
        else:
            picture = with_border(luma, kernel)
            limit = np.quantile(abs(picture), 0.99)
            name += " d/dx" if name in WEIGHTS else ""
            show(next(panels), picture, name, cmap="RdBu_r", vmin=-limit, vmax=limit)
    limit = np.quantile(magnitude, 0.99)
    show(next(panels), magnitude, "Gradient magnitude", cmap="gray", vmin=0, vmax=limit)
    hue = plt.get_cmap("hsv")((angle / (2 * np.pi)) % 1)[..., :3] * (magnitude / limit).clip(0, 1)[..., None]
    show(next(panels), hue, "Its direction, as hue")
    show(next(panels), ~canny(luma, sigma, np.quantile(magnitude, 0.9)), "Canny: one thin line an edge", cmap="gray")

    for axis, (name, picture) in zip(middle.subplots(1, 4), examples.items()):
        title = f"{name}, F = {scores[name].mean():.0f}%" if name in scores else "A test card in noise …"
        show(axis, picture if name not in scores else ~picture, title, cmap="gray")

    times, directions, bars = bottom.subplots(1, 3)
    for way, values in seconds.items():
        times.loglog(sizes, 1000 * np.array(values), "o-", label=way, color="0.6" if way == "SciPy" else None)
    times.set(title="For wide kernels two passes or the FFT", xlabel="kernel width K (pixels)", ylabel="time (ms)")
    times.set_xticks(sizes, sizes)
    times.minorticks_off()
    times.legend(fontsize=9, loc="upper left", ncols=2)
    times.set_ylim(top=20 * 1000 * max(seconds["loop"]))
    for name in WEIGHTS:
        directions.semilogy(wavelengths, errors[name], "o-", label=name)
    directions.set(title="Scharr tells directions best", xlabel="wavelength (pixels)", ylabel="mean error of angle (°)")
    directions.legend(fontsize=9)
    for place, (name, colour) in enumerate(DETECTORS.items()):
        bars.bar(place, scores[name].mean(), color=colour, alpha=0.5)
        bars.plot(np.linspace(place - 0.2, place + 0.2, len(scores[name])), scores[name], ".", color="k")
    bars.set_xticks(range(3), DETECTORS)
    bars.set(title="In noise, Canny finds edges best", ylabel="F-score (%), a dot a noisy card", ylim=(0, 100))
    figure.savefig(path, dpi=100)
    plt.close(figure)


# %% Run


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, help="a picture of your own (default: scikit-learn's china.jpg)")
    parser.add_argument(
        "--data", type=Path, default=Path("data"), help="not used: the photograph comes with scikit-learn"
    )
    parser.add_argument("--out", type=Path, default=Path("runs"), help="where the figure and the results go")
    parser.add_argument("--device", default="cpu", help="cpu, as NumPy knows nothing else")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sigma", type=float, default=1.4, help="width of the blur, in pixels")
    parser.add_argument("--noise", type=float, default=0.3, help="deviation of the noise on the test card")
    parser.add_argument("--smoke", action="store_true", help="on almost nothing, to see that it runs")
    args = parser.parse_args(argv)
    if args.device != "cpu":
        parser.error(f"--device {args.device}: this script is NumPy, which computes on the cpu only")
    if not args.sigma >= 0.3 or args.seed < 0 or not args.noise >= 0:
        parser.error("--sigma must be at least 0.3, --seed and --noise at least 0")
    try:
        args.name, args.picture = load_image(args.image)
    except FileNotFoundError:
        parser.error(f"--image {args.image}: there is no such file")
    except UnidentifiedImageError:
        parser.error(f"--image {args.image}: this file isn't an image")
    except OSError as error:
        parser.error(f"--image {args.image}: {error.strerror or 'this image is damaged'}")
    largest = max(len(kernel) for kernel in kernels(args.sigma).values())
    if largest > min(args.picture.shape[:2]):
        height, width, _ = args.picture.shape
        parser.error(f"the largest kernel is {largest}x{largest}, larger than the image of {height}x{width}")
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--out {args.out}: {error.strerror}")
    if not os.access(args.out, os.W_OK):
        parser.error(f"--out {args.out}: can't be written to")
    return args


def main(argv: list[str] | None = None) -> dict:
    args = parse_args(argv)
    started = time.perf_counter()
    image, sizes, repeats, cards, card_size = args.picture, [3, 5, 9, 17, 33], 5, 5, 128
    wavelengths = np.array([5, 6, 8, 10, 14, 20])
    if args.smoke:
        image, sizes, repeats, cards, card_size = image[:60, :80], [3, 5], 1, 2, 32

    seconds = time_all(image, sizes, repeats)
    errors = direction_errors(wavelengths)
    scores, examples = compare_detectors(args.seed, cards, args.noise, card_size)
    draw(image, args.sigma, sizes, seconds, wavelengths, errors, scores, examples, args.out / f"{NAME}.png")

    print(f"milliseconds on {image.shape[0]}x{image.shape[1]}x3, by kernel width")
    print(f"{'':>10}" + "".join(f"{size:>10}" for size in sizes))
    for way, values in seconds.items():
        print(f"{way:>10}" + "".join(f"{1000 * value:>10.1f}" for value in values))
    exponent = {way: float(np.polyfit(np.log(sizes), np.log(values), 1)[0]) for way, values in seconds.items()}
    mean = {name: e.mean() for name, e in errors.items()}
    claims = [
        (
            "the windowed product is no slower than scipy.signal.convolve2d, 3x3 kernel",
            "—",
            f"{1000 * seconds['windowed'][0]:.0f} ms and {1000 * seconds['SciPy'][0]:.0f} ms, same process",
            seconds["windowed"][0] <= seconds["SciPy"][0],
        ),
        (
            "time grows with the kernel's width K: fastest for direct, slower for two passes, hardly for the FFT",
            "K², 2K and no multiplications more a pixel",
            f"exponents {exponent['windowed']:.1f}, {exponent['separable']:.1f}, {exponent['FFT']:.1f}",
            exponent["windowed"] > exponent["separable"] + 0.4 and exponent["FFT"] < 0.4,
        ),
        (
            "Scharr's kernel tells directions better than Sobel's, Sobel's better than Prewitt's",
            "Scharr's has the least error (Jähne, Scharr & Körkel 1999)",
            "mean errors " + ", ".join(f"{mean[name]:.2f}° {name}" for name in WEIGHTS),
            bool((errors["Scharr"] < errors["Sobel"]).all() and (errors["Sobel"] < errors["Prewitt"]).all()),
        ),
        (
            "in noise Canny's detector beats a thresholded gradient, blurred or not",
            "good detection, one response an edge (Canny 1986)",
            "F-scores " + ", ".join(f"{s.mean():.0f} ± {s.std(ddof=1):.0f}% {n}" for n, s in scores.items()),
            bool(scores["Canny"].min() > max(scores["gradient"].max(), scores["blur, gradient"].max())),
        ),
    ]
    results = {
        "script": f"{NAME}.py",
        "title": TITLE,
        "data": args.name,
        "seed": args.seed,
        "smoke": args.smoke,
        "device": "cpu",
        "seconds": round(time.perf_counter() - started, 1),
        "versions": {"python": platform.python_version(), "numpy": np.__version__},
        "metrics": {
            **{f"{way}: 3x3 kernel (ms)": round(1000 * values[0], 2) for way, values in seconds.items()},
            **{f"{name}: error of direction (°)": round(e, 3) for name, e in mean.items()},
            **{f"{name}: F-score in noise (%)": round(s.mean(), 1) for name, s in scores.items()},
        },
        "claims": [{"claim": c, "paper": p, "here": h, "holds": holds} for c, p, h, holds in claims],
    }
    (args.out / f"{NAME}.json").write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    for claim in results["claims"]:
        verdict = "not judged" if args.smoke else "holds" if claim["holds"] else "FAILS"
        print(f"{verdict:>10}  {claim['claim']}\n{'':12}paper: {claim['paper']}; here: {claim['here']}")
    print(f"{args.out / NAME}.png, .json: {results['data']}, {results['seconds']} s on {results['device']}")
    return results


if __name__ == "__main__":
    main()
