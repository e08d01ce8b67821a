"""Every way to convolve in convolution_edge.py against SciPy, and the edge detectors against the slow way."""

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
from PIL import Image

import convolution_edge as ce

WAYS = [ce.convolve_loop, ce.convolve, ce.convolve_fft]
MODES = ["full", "same", "valid"]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(3, 3), (1, 1), (5, 3), (2, 4), (1, 7), (6, 6)])
def test_every_mode_equals_scipys(way, mode, shape, rng):
    image, kernel = rng.normal(size=(9, 11)), rng.normal(size=shape)
    np.testing.assert_allclose(way(image, kernel, mode), scipy.signal.convolve2d(image, kernel, mode), atol=1e-12)


@pytest.mark.parametrize("mode", MODES)
def test_two_passes_equal_scipys(mode, rng):
    image, kernel = rng.normal(size=(9, 11)), np.outer(rng.normal(size=4), rng.normal(size=3))
    expected = scipy.signal.convolve2d(image, kernel, mode)
    np.testing.assert_allclose(ce.convolve_separable(image, kernel, mode), expected, atol=1e-12)
    np.testing.assert_allclose(ce.convolve_separable(image, kernel, mode, 2), expected[::2, ::2], atol=1e-12)
    with pytest.raises(ValueError, match="column times a row"):
        ce.convolve_separable(image, rng.normal(size=(3, 3)), mode)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_colours_and_stride(way, stride, rng):
    image, kernel = rng.normal(size=(8, 13, 3)), rng.normal(size=(3, 4))
    expected = np.stack([scipy.signal.convolve2d(image[..., c], kernel, "same") for c in range(3)], axis=2)
    np.testing.assert_allclose(way(image, kernel, "same", stride), expected[::stride, ::stride], atol=1e-12)
    np.testing.assert_allclose(ce.scipy_convolve(image, kernel), expected)


@pytest.mark.parametrize("way", WAYS)
def test_laws_of_convolution(way, rng):
    a, b, c = (rng.normal(size=shape) for shape in [(7, 6), (3, 4), (7, 6)])
    np.testing.assert_allclose(way(a, b, "full"), way(b, a, "full"), atol=1e-12)  # commutes, thanks to the flip
    np.testing.assert_allclose(way(2 * a - c, b), 2 * way(a, b) - way(c, b), atol=1e-12)
    moved = np.pad(a, ((2, 0), (3, 0)))
    np.testing.assert_allclose(way(moved, b, "full")[2:, 3:], way(a, b, "full"), atol=1e-12)
    impulse = np.zeros((5, 5))
    impulse[2, 2] = 1
    np.testing.assert_allclose(way(impulse, b, "full")[2:5, 2:6], b)


@pytest.mark.parametrize("way", WAYS)
def test_what_does_not_fit_is_refused(way):
    with pytest.raises(ValueError, match="doesn't fit"):
        way(np.zeros((4, 9)), np.zeros((5, 3)), "valid")
    with pytest.raises(ValueError, match="mode 'some'"):
        way(np.zeros((4, 9)), np.zeros((3, 3)), "some")


@pytest.mark.parametrize("name", ce.WEIGHTS)
def test_derivatives_measure_slopes_and_point_right_and_down(name, rng):
    y, x = np.mgrid[:8, :9]
    across, down = (ce.convolve(0.3 * x - 0.2 * y, kernel, "valid") for kernel in ce.derivative(name))
    np.testing.assert_allclose(across, 0.3)
    np.testing.assert_allclose(down, -0.2)
    image = rng.normal(size=(12, 10))
    if name != "Scharr":
        theirs = getattr(scipy.ndimage, name.lower())(image, axis=1, mode="nearest")
        outer, middle = ce.WEIGHTS[name]  # theirs has whole-number weights
        magnitude, angle = ce.gradient(image, name)
        np.testing.assert_allclose(magnitude * np.cos(angle) * 2 * (2 * outer + middle), theirs)


def test_scharr_has_its_published_weights():
    np.testing.assert_allclose(32 * ce.derivative("Scharr")[0], [[3, 0, -3], [10, 0, -10], [3, 0, -3]])


@pytest.mark.parametrize("sigma", [0.8, 1.5])
def test_gaussian_and_its_laplacian(sigma, rng):
    image = rng.normal(size=(20, 18))
    blurred = scipy.ndimage.gaussian_filter(image, sigma, mode="nearest", truncate=4)
    np.testing.assert_allclose(ce.with_border(image, ce.gaussian(sigma)), blurred, atol=1e-12)
    wide = ce.laplacian_of_gaussian(3.0)
    assert abs(wide.sum()) < 1e-12 and wide[12, 12] < 0
    y, x = np.mgrid[:60, :60] - 30
    parabola = ce.convolve(0.5 * x**2 + 1.5 * y**2, wide, "valid")  # whose Laplacian is 1 + 3
    np.testing.assert_allclose(parabola, 4, rtol=0.02)
    np.testing.assert_allclose(
        wide, scipy.ndimage.gaussian_laplace(np.pad([[1.0]], 12), 3.0, truncate=4), atol=3e-5
    )  # theirs is cut off in each direction by itself


def test_kernels_that_keep_brightness_sum_to_one_and_edge_kernels_to_zero():
    for name, kernel in ce.kernels(1.4).items():
        assert kernel.sum() == pytest.approx(float(name in ("Gaussian", "Sharpen", "Emboss")), abs=1e-12)


def test_sharpening_subtracts_the_laplacian(rng):
    image, kernel = rng.normal(size=(7, 8)), ce.kernels(1.0)
    expected = image - scipy.ndimage.laplace(image, mode="nearest")
    np.testing.assert_allclose(ce.with_border(image, kernel["Sharpen"]), expected)
    np.testing.assert_allclose(ce.with_border(image, kernel["Laplacian"]), scipy.ndimage.laplace(image, mode="nearest"))


def test_emboss_is_bright_where_the_picture_brightens_up_left_of_the_light():
    y, x = np.mgrid[:6, :6]
    falling = ce.convolve((x + y) / 10.0, ce.kernels(1.0)["Emboss"], "valid")
    assert (falling > ((x + y) / 10.0)[1:-1, 1:-1]).all()


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
    assert 60 <= edges.sum() <= 80 and not edges[33:].any()  # the outline of 20 x 16 is 72 pixels long
    assert not ce.canny(image, sigma=1.0, high=1.0).any()
    noisy = image + 0.3 * np.random.default_rng(0).normal(size=image.shape)
    assert (ce.canny(noisy, 1.0, 0.1) == ce.canny(noisy, 1.0, 0.1, low=0.04)).all()
    assert (ce.canny(noisy, 1.0, 0.1) != ce.canny(noisy, 1.0, 0.1, low=0.1)).any()


def test_canny_beats_the_trivial_detectors_on_a_noisy_card(rng):
    card, truth = ce.noisy_card(rng, 0.2, 64)
    found = ce.canny(card, 1.5, 0.06)
    assert ce.f_score(found, truth) > 60 > max(ce.f_score(np.ones_like(truth), truth), ce.f_score(~found, truth))


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


@pytest.mark.parametrize("what", ["missing.png", "text.png", "folder", "tiny.png"])
def test_a_wrong_image_gets_a_sentence(what, tmp_path, capsys):
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "folder").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "tiny.png")
    with pytest.raises(SystemExit) as stopped:
        ce.main(["--image", str(tmp_path / what), "--out", str(tmp_path)])
    said = capsys.readouterr().err
    assert stopped.value.code == 2 and "error:" in said and "Traceback" not in said
    assert ("larger than the image" if what == "tiny.png" else str(tmp_path / what)) in said


@pytest.mark.parametrize("argument", [["--sigma", "0"], ["--sigma", "nan"], ["--device", "cuda"], ["--noise", "-1"]])
def test_a_wrong_argument_gets_a_sentence(argument, capsys):
    with pytest.raises(SystemExit) as stopped:
        ce.parse_args(argument)
    assert stopped.value.code == 2 and argument[0] in capsys.readouterr().err
