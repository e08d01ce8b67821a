"""papers/unet.py: the net and its loss against torch's functions, tiles against one piece, bending against SciPy."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage

from papers import unet


def by_hand(model, x):
    """Fig. 1 box by box, with torch's functions."""
    copies = []
    for level, block in enumerate([*model.left, model.bottom]):
        x = F.max_pool2d(x, 2) if level else x
        for layer in (block[0], block[2]):
            x = F.relu(F.conv2d(x, layer.weight, layer.bias))
        copies.append(x)
    copies.pop()
    for up in model.right:
        x = F.conv_transpose2d(x, up.up_convolution.weight, up.up_convolution.bias, stride=2)
        copy = copies.pop()
        off = (copy.shape[2] - x.shape[2]) // 2
        x = torch.cat([F.pad(copy, [-off] * 4), x], 1) if up.skip else x  # negative padding crops
        for layer in (up.convolutions[0], up.convolutions[2]):
            x = F.relu(F.conv2d(x, layer.weight, layer.bias))
    return F.conv2d(x, model.head.weight, model.head.bias)


@pytest.mark.parametrize("poolings, skip", [(4, True), (2, True), (3, False)])
def test_the_net_is_the_drawing(poolings, skip):
    torch.manual_seed(0)
    model = unet.UNet(3, poolings, skip).double()
    side = 20 + 2 * unet.margin(poolings)
    x = torch.randn(2, 1, side, side + 16, dtype=torch.float64, requires_grad=True)
    other = x.detach().clone().requires_grad_()
    ours, theirs = model(x), by_hand(model, other)
    assert ours.shape == (2, 2, 20, 36)
    torch.testing.assert_close(ours, theirs)
    weight = torch.randn_like(theirs)
    (ours * weight).sum().backward()
    (theirs * weight).sum().backward()
    torch.testing.assert_close(x.grad, other.grad)


def test_the_paper_s_net_has_the_paper_s_size():
    with torch.device("meta"):
        model = unet.UNet(64, 4)
        assert model(torch.zeros(1, 1, 572, 572)).shape == (
            1,
            2,
            388,
            388,
        ) and 572 - 388 == 2 * unet.margin(4)
    assert sum(weight.numel() for weight in model.parameters()) == 31_030_658
    assert (
        sum(
            isinstance(layer, (torch.nn.Conv2d, torch.nn.ConvTranspose2d))
            for layer in model.modules()
        )
        == 23
    )


def test_start_has_the_stated_spread():
    torch.manual_seed(0)
    model = unet.UNet(16, 4)
    for name, nodes in (
        ("left.3.2", 128 * 9),
        ("right.0.up_convolution", 256),
        ("right.0.convolutions.0", 256 * 9),
    ):
        layer = model.get_submodule(name)
        assert layer.weight.std().item() == pytest.approx((2 / nodes) ** 0.5, rel=0.03)
        assert (
            abs(layer.weight.mean().item()) < 0.05 * layer.weight.std() and (layer.bias == 0).all()
        )


@pytest.mark.parametrize("height, width, poolings", [(50, 70, 3), (33, 100, 4), (7, 40, 2)])
def test_tiles_are_the_whole_with_numpys_mirrored_edges(height, width, poolings):
    torch.manual_seed(0)
    model, m = unet.UNet(2, poolings).double(), unet.margin(poolings)
    pictures = torch.randn(2, 1, height, width, dtype=torch.float64)
    more = [(-(size - 4)) % 16 for size in (height, width)]  # to 16k + 4
    edges = [(0, 0), (0, 0), *[(m, m + pixels) for pixels in more]]
    expected = by_hand(model, torch.tensor(np.pad(pictures.numpy(), edges, mode="reflect")))[
        :, :, :height, :width
    ]
    for tile in (20, 36, 100):
        torch.testing.assert_close(unet.segment(model, pictures, tile), expected.detach())


def test_weight_map_is_eq_2():
    torch.manual_seed(0)
    _, cells = unet.draw_cells(40, np.random.default_rng(3))
    ours = unet.weight_map(cells, 10.0, sigma=4.0)
    places = [np.argwhere(cells.numpy() == number) for number in np.unique(cells) if number]
    share = (cells > 0).double().mean().item()
    for row in range(40):
        for column in range(40):
            if cells[row, column]:
                expected = 0.5 / share
            else:
                d1, d2 = sorted(np.hypot(*(place - (row, column)).T).min() for place in places)[:2]
                expected = 0.5 / (1 - share) + 10 * math.exp(-((d1 + d2) ** 2) / (2 * 4**2))
            assert ours[row, column].item() == pytest.approx(expected, rel=1e-4)
    assert unet.weight_map(cells, 0).mean().item() == pytest.approx(1, rel=1e-5)


def test_weighted_loss_is_torchs():
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 2, 6, 5, generator=draw, dtype=torch.float64, requires_grad=True)
    other = logits.detach().clone().requires_grad_()
    mask = torch.randint(2, (3, 6, 5), generator=draw)
    weights = torch.rand(3, 6, 5, generator=draw, dtype=torch.float64)
    ours = unet.weighted_loss(logits, mask, weights)
    theirs = (F.cross_entropy(other, mask, reduction="none") * weights).sum() / weights.sum()
    torch.testing.assert_close(ours, theirs)
    ours.backward()
    theirs.backward()
    torch.testing.assert_close(logits.grad, other.grad)


def test_displacement_is_smooth_and_as_wide_as_said():
    torch.manual_seed(0)
    shifts = unet.displacement(400, 41, 10.0)
    assert shifts.shape == (400, 2, 41, 41)
    for row, column in ((0, 0), (20, 20), (40, 20)):  # points of the grid
        assert shifts[:, :, row, column].std().item() == pytest.approx(10, rel=0.1)
    assert (shifts[..., 1:, :] - shifts[..., :-1, :]).abs().max() < 5
    assert abs(torch.corrcoef(shifts[:, :, 20, 20].T)[0, 1]) < 0.2
    assert (
        shifts[:, :, 2:18:2, 20].diff(dim=2).diff(dim=2).abs().mean() > 0.02
    )  # straight, if it were bilinear


def test_bend_is_scipys_map_coordinates():
    torch.manual_seed(0)
    maps = torch.rand(2, 3, 30, 30, dtype=torch.float64)
    shifts = unet.displacement(2, 30, 3.0).double()
    for ours, picture, shift in zip(unet.bend(maps, shifts), maps, shifts):
        places = np.mgrid[:30, :30] + shift.numpy()
        for one, channel in zip(ours, picture):
            expected = ndimage.map_coordinates(channel.numpy(), places, order=1, mode="mirror")
            np.testing.assert_allclose(one, expected, atol=1e-9)


def test_cells_are_apart_but_touch():
    pictures, cells = unet.make_data(2, 100, np.random.default_rng(5))
    assert (
        pictures.shape == (2, 1, 100, 100)
        and abs(pictures.mean()) < 1e-5
        and 0.4 < (cells > 0).float().mean() < 0.8
    )
    for truth in cells.numpy():
        numbers = np.unique(truth[truth > 0])
        assert ndimage.label(truth)[1] == len(numbers) > 25  # no two hang together
        near = [
            np.unique(truth[(ndimage.distance_transform_edt(truth != number) < 4) & (truth > 0)])
            for number in numbers
        ]
        assert np.mean([len(those) > 1 for those in near]) > 0.8


def test_score_counts_by_hand():
    truth = np.zeros((20, 30), int)
    truth[2:12, 2:12], truth[2:12, 14:24], truth[15:19, 2:12] = 1, 2, 3
    assert unet.score((truth > 0)[None], truth[None]) == (100.0, 0.0)
    assert unet.score((truth < 0)[None], truth[None]) == (0.0, 0.0)
    joined = truth > 0
    joined[2:12, 12:14] = True  # 1 and 2 are one component of 220 pixels, of which each has 100
    assert unet.score(joined[None], truth[None]) == pytest.approx(
        (100 * (2 * 100 / 220 + 1) / 3, 200 / 3)
    )
    half = truth == 1
    half[:7] = False  # 50 of 100 pixels: not more than half
    assert unet.score(half[None], truth[None])[0] == 0.0
    half[6, 2:12] = True  # 60 of 100
    assert unet.score(half[None], truth[None])[0] == pytest.approx(60 / 3)


@pytest.fixture(scope="module")
def data():
    torch.manual_seed(0)
    return unet.make_data(2, 80, np.random.default_rng(1))


def test_training_is_torchs_adam_on_bent_crops_of_all_three_maps(data):
    torch.manual_seed(0)
    ours, theirs = unet.UNet(2, 2), unet.UNet(2, 2)
    theirs.load_state_dict(ours.state_dict())
    torch.manual_seed(1)
    unet.train(ours, data, 10.0, 3.0, steps=3)
    torch.manual_seed(1)
    optimizer = torch.optim.Adam(theirs.parameters(), lr=unet.LEARNING_RATE)
    for step in range(3):
        picks, shifts = torch.randint(2, (2,)).tolist(), unet.displacement(2, 80, 3.0).numpy()
        top, left = torch.randint(80 - 68 + 1, (2,)).tolist()
        x, masks, weights = [], [], []
        for pick, shift in zip(picks, shifts):
            truth = data[1][pick]
            picture, mask, weight = (
                ndimage.map_coordinates(
                    np.float64(one), np.mgrid[:80, :80] + shift, order=1, mode="mirror"
                )
                for one in (data[0][pick, 0], truth > 0, unet.weight_map(truth, 10.0))
            )
            x.append(np.pad(picture, 20, mode="reflect")[None, top : top + 108, left : left + 108])
            masks.append(mask[top : top + 68, left : left + 68] > 0.5)
            weights.append(weight[top : top + 68, left : left + 68])
        x, masks, weights = (torch.tensor(np.stack(parts)).float() for parts in (x, masks, weights))
        losses = F.cross_entropy(by_hand(theirs, x), masks.long(), reduction="none")
        loss = (losses * weights).sum() / weights.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.param_groups[0]["lr"] = unet.LEARNING_RATE * (1 - step / 3)
        optimizer.step()
    for one, other in zip(ours.parameters(), theirs.parameters()):
        torch.testing.assert_close(one, other, atol=2e-4, rtol=1e-3)


def test_training_learns(data):
    torch.manual_seed(0)
    model = unet.train(unet.UNet(4, 2), data, 0.0, 0.0, steps=80)
    cell = (data[1] > 0).numpy()
    right = (unet.predict(model, data[0]) == cell).mean()
    assert (
        right > max(cell.mean(), 1 - cell.mean()) + 0.15
    )  # than to say always what most pixels are
