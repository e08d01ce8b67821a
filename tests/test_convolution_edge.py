"""Every way to convolve in convolution_edge.py against SciPy, and the edge detectors against the slow way."""

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
from PIL import Image

import convolution_edge as ce

WAYS = [ce.convolve_loop, ce.convolve, ce.convolve_fft]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", [(3, 3), (1, 1), (5, 3), (1, 7), (7, 5)])
def test_every_way_equals_scipys_ndimage(way, shape, rng):
    image, kernel = rng.normal(size=(9, 11)), rng.normal(size=shape)
    np.testing.assert_allclose(
        way(image, kernel), scipy.ndimage.convolve(image, kernel, mode="nearest"), atol=1e-12
    )


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", [(2, 4), (3, 3), (6, 1)])
def test_inside_every_way_equals_scipys_signal_even_widths_included(way, shape, rng):
    image, kernel = rng.normal(size=(9, 11)), rng.normal(size=shape)
    expected = scipy.signal.convolve2d(image, kernel, "valid")
    inside = way(image, kernel)[shape[0] // 2 :, shape[1] // 2 :]
    np.testing.assert_allclose(inside[: len(expected), : expected.shape[1]], expected, atol=1e-12)


@pytest.mark.parametrize("way", WAYS)
def test_colours_are_convolved_one_by_one_and_single_precision_stays(way, rng):
    image, kernel = rng.normal(size=(8, 13, 3)).astype(np.float32), rng.normal(size=(3, 5))
    out = way(image, kernel)
    assert out.dtype == np.float32
    expected = [scipy.ndimage.convolve(image[..., c], kernel, mode="nearest") for c in range(3)]
    np.testing.assert_allclose(out, np.stack(expected, axis=2), atol=1e-5)


def test_two_passes_are_the_outer_product(rng):
    image, column, row = rng.normal(size=(9, 11, 3)), rng.normal(size=5), rng.normal(size=3)
    two, one = ce.convolve_separable(image, column, row), ce.convolve(image, np.outer(column, row))
    np.testing.assert_allclose(two, one, atol=1e-12)


@pytest.mark.parametrize("way", WAYS)
def test_an_impulse_shows_the_kernel_the_right_way_round(way, rng):
    impulse, kernel = np.zeros((7, 7)), rng.normal(size=(3, 3))
    impulse[3, 3] = 1
    np.testing.assert_allclose(
        way(impulse, kernel)[2:5, 2:5], kernel, atol=1e-12
    )  # cross-correlation would flip it


@pytest.mark.parametrize("name", ce.DERIVATIVES)
def test_derivatives_measure_slopes_and_point_right_and_down(name, rng):
    y, x = np.mgrid[:8, :9]
    across, down = (ce.convolve(0.3 * x - 0.2 * y, kernel) for kernel in ce.derivative(name))
    np.testing.assert_allclose(across[1:-1, 1:-1], 0.3)
    np.testing.assert_allclose(down[1:-1, 1:-1], -0.2)
    image = rng.normal(size=(12, 10))
    if name != "Scharr":
        theirs = getattr(scipy.ndimage, name.lower())(image, axis=1, mode="nearest")
        outer, middle = ce.DERIVATIVES[name]  # theirs has whole-number weights
        magnitude, angle = ce.gradient(image, name)
        np.testing.assert_allclose(
            magnitude * np.cos(angle) * 2 * (2 * outer + middle), theirs, atol=1e-12
        )


def test_scharr_has_its_published_weights():
    np.testing.assert_allclose(
        32 * ce.derivative("Scharr")[0], [[3, 0, -3], [10, 0, -10], [3, 0, -3]]
    )


@pytest.mark.parametrize("sigma", [0.8, 1.5])
def test_blur_is_scipys_gaussian_filter(sigma, rng):
    image = rng.normal(size=(20, 18))
    theirs = scipy.ndimage.gaussian_filter(image, sigma, mode="nearest", truncate=4)
    np.testing.assert_allclose(ce.blur(image, sigma), theirs, atol=1e-12)


def test_angle_of_the_gradient():
    y, x = np.mgrid[:9, :9] - 4
    for angle in np.radians([0, 30, 90, 150, -135, -60]):
        magnitude, found = ce.gradient(np.cos(angle) * x + np.sin(angle) * y)
        np.testing.assert_allclose(found[1:-1, 1:-1], angle, atol=1e-12)
        np.testing.assert_allclose(magnitude[1:-1, 1:-1], 1)


def test_thinning_keeps_the_ridge_pixel_by_pixel(rng):
    magnitude, angle = rng.random((15, 12)), rng.uniform(-np.pi, np.pi, (15, 12))
    kept = ce.thin(magnitude, angle)
    around = np.pad(magnitude, 1)
    for i, j in np.ndindex(magnitude.shape):
        toward = np.array([np.sin(angle[i, j]), np.cos(angle[i, j])])
        step = (toward / (2 * np.sin(np.pi / 8))).round().astype(int)  # to one of 8 neighbours
        ahead, behind = (around[i + 1 + s * step[0], j + 1 + s * step[1]] for s in (1, -1))
        assert kept[i, j] == (magnitude[i, j] if magnitude[i, j] > max(ahead, behind) else 0)


def test_thinning_keeps_one_of_two_equals():
    magnitude = np.zeros((5, 6))
    magnitude[:, 2:4] = 1
    assert (ce.thin(magnitude, np.zeros((5, 6))) > 0).sum() == 5


def test_hysteresis_keeps_the_components_with_a_strong_pixel(rng):
    magnitude = scipy.ndimage.gaussian_filter(rng.random((60, 50)), 1)
    low, high = np.quantile(magnitude, [0.7, 0.98])
    components, count = scipy.ndimage.label(magnitude > low, structure=np.ones((3, 3)))
    strong = np.unique(components[magnitude > high])
    assert 0 < len(strong) < count
    assert (ce.hysteresis(magnitude, low, high) == np.isin(components, strong)).all()


def test_grow_is_a_dilation(rng):
    mask = rng.random((20, 30)) > 0.9
    assert (ce.grow(mask) == scipy.ndimage.binary_dilation(mask, np.ones((3, 3)))).all()


def test_canny_draws_a_closed_thin_line_around_a_square_and_ignores_a_faint_one():
    image = np.zeros((40, 40))
    image[10:30, 12:28] = 1
    image[34:38, 2:6] = 0.02
    edges = ce.canny(image, sigma=1.0, high=0.05)
    inside = ~edges
    labels, regions = scipy.ndimage.label(inside)  # 4-connected: a line of 8-connected pixels holds
    assert regions == 2 and labels[20, 20] != labels[0, 0]
    assert (
        60 <= edges.sum() <= 80 and not edges[33:].any()
    )  # the outline of 20 x 16 is 72 pixels long
    assert not ce.canny(image, sigma=1.0, high=1.0).any()
    noisy = image + 0.3 * np.random.default_rng(0).normal(size=image.shape)
    thinned = ce.thin(*ce.gradient(ce.blur(noisy, 1.0)))
    found = ce.canny(noisy, sigma=1.0, high=0.1)
    assert (found == ce.hysteresis(thinned, 0.04, 0.1)).all() and (found != (thinned > 0.1)).any()


def test_canny_beats_the_trivial_detectors_on_a_noisy_card(rng):
    card, truth = ce.noisy_card(rng, size=64, noise=0.2)
    found = ce.canny(card, 1.5, 0.06)
    assert (
        ce.f_score(found, truth)
        > 60
        > max(ce.f_score(np.ones_like(truth), truth), ce.f_score(~found, truth))
    )


def test_f_score():
    truth = np.zeros((9, 9), dtype=bool)
    truth[4] = True
    assert ce.f_score(truth, truth) == 100
    assert ce.f_score(np.roll(truth, 1, axis=0), truth) == 100  # within the tolerance
    assert ce.f_score(np.roll(truth, 2, axis=0), truth) == 0
    half = truth & (np.arange(9) < 4)
    assert ce.f_score(half, truth) == pytest.approx(100 * 2 * (5 / 9) / (1 + 5 / 9))


def test_a_wave_has_the_direction_it_says():
    wave, truth = ce.circular_wave(30.0, 101)
    down, across = np.gradient(wave)
    error = (np.arctan2(down, across) - truth + np.pi / 2) % np.pi - np.pi / 2
    assert np.degrees(abs(error[np.hypot(down, across) > 0.1]).mean()) < 2


@pytest.mark.parametrize("what", ["missing.png", "text.png", "folder"])
def test_a_wrong_image_gets_a_sentence(what, tmp_path, capsys):
    (tmp_path / "text.png").write_text("not a picture", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    with pytest.raises(SystemExit) as stopped:
        ce.main(["--image", str(tmp_path / what), "--out", str(tmp_path)])
    said = capsys.readouterr().err
    assert (
        stopped.value.code == 2
        and "error:" in said
        and "Traceback" not in said
        and str(tmp_path / what) in said
    )


def test_a_picture_of_the_readers_own(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "mine.png")
    name, image = ce.load_image(tmp_path / "mine.png")
    assert name == "mine.png" and image.dtype == np.float32
    np.testing.assert_allclose(image, pixels / 255, rtol=1e-6)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_large_picture_is_shrunk_and_that_is_said(kind, tmp_path, capsys):
    y, x = np.mgrid[:1600, :3200]
    pixels = np.stack([x / 3199, y / 1599, 0 * x], axis=2)  # redder to the right, greener downwards
    Image.fromarray((255 * pixels).astype(np.uint8)).save(tmp_path / "large", kind)
    name, image = ce.load_image(tmp_path / "large")
    assert capsys.readouterr().out == "large: shrunk from 3200x1600 to 1024x512 pixels\n"
    assert name == "large" and image.shape == (512, 1024, 3)
    y, x = (np.mgrid[:512, :1024] + 0.5) / [[[512]], [[1024]]]
    np.testing.assert_allclose(image, np.stack([x, y, 0 * x], axis=2), atol=0.02)


def test_a_small_picture_is_left_as_it_is(tmp_path, capsys):
    Image.new("RGB", (1024, 16)).save(tmp_path / "small.png")
    _, image = ce.load_image(tmp_path / "small.png")
    assert image.shape == (16, 1024, 3) and capsys.readouterr().out == ""


def test_a_picture_of_too_few_pixels_gets_a_sentence(tmp_path, capsys):
    Image.new("RGB", (40, 15)).save(tmp_path / "tiny.png")
    with pytest.raises(SystemExit) as stopped:
        ce.parse_args(["--image", str(tmp_path / "tiny.png"), "--out", str(tmp_path)])
    said = capsys.readouterr().err
    assert stopped.value.code == 2 and "tiny.png" in said and "40x15 pixels are too few" in said
