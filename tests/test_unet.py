"""papers/unet.py: the net against torch's layers, tiles against one piece, distances and bending against SciPy."""

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
    for level, block in enumerate(model.down):
        if level:
            x = F.max_pool2d(x, 2)
        for layer in (block[0], block[2]):
            x = F.relu(F.conv2d(x, layer.weight, layer.bias))
        copies.append(x)
    copies.pop()
    for up, block in zip(model.up, model.merge):
        x = F.conv_transpose2d(x, up.weight, up.bias, stride=2)
        copy = copies.pop()
        off = (copy.shape[2] - x.shape[2]) // 2
        if model.skip:
            x = torch.cat([F.pad(copy, [-off] * 4), x], 1)  # negative padding crops
        for layer in (block[0], block[2]):
            x = F.relu(F.conv2d(x, layer.weight, layer.bias))
    return F.conv2d(x, model.head.weight, model.head.bias)


@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("poolings", [1, 2, 3])
def test_the_net_is_the_drawing(poolings, skip):
    torch.manual_seed(poolings)
    model = unet.UNet(3, poolings, inputs=2, classes=4, skip=skip).double().eval()
    size = unet.fit(9, poolings) + 2 * unet.margin(poolings)
    x = torch.randn(2, 2, size, size, dtype=torch.float64, requires_grad=True)
    other = x.detach().clone().requires_grad_()
    ours, theirs = model(x), by_hand(model, other)
    torch.testing.assert_close(ours, theirs)
    weight = torch.randn_like(theirs)
    (ours * weight).sum().backward()
    (theirs * weight).sum().backward()
    torch.testing.assert_close(x.grad, other.grad)


def test_the_paper_s_net_has_the_paper_s_size():
    assert unet.full_size() == (31_030_658, 23, 28, [1, 2, 388, 388])
    with torch.device("meta"):
        model = unet.UNet()
    assert [block[2].out_channels for block in model.down] == [64, 128, 256, 512, 1024]
    assert sum(isinstance(m, torch.nn.Dropout) for m in model.modules()) == 1 and model.dropout.p == 0.5


def test_dropout_stands_at_the_end_of_the_way_down():
    torch.manual_seed(0)
    model = unet.UNet(2, 1, dropout=0.5)
    seen = {}
    model.dropout.register_forward_hook(lambda m, x, y: seen.update(before=x[0], after=y))
    model.train()(torch.randn(1, 1, 40, 40))
    assert seen["before"].shape[1] == 4 and not torch.equal(seen["before"], seen["after"])


@pytest.mark.parametrize("poolings", range(5))
def test_sizes_are_those_of_the_net(poolings):
    with torch.device("meta"):
        model = unet.UNet(1, poolings)
    for size in range(8, 260, 1 if poolings < 3 else 3):
        said = unet.output_size(size, poolings)
        if said:
            assert model(torch.zeros(1, 1, size, size)).shape[2:] == (said, said)
            assert size - said == 2 * unet.margin(poolings)
    assert unet.output_size(572, 4) == 388 and unet.margin(4) == 92
    assert unet.output_size(574, 4) == 0  # 574 − 4 = 570, 285, odd at the second pooling
    for wanted in (1, 7, 40, 41):
        size = unet.fit(wanted, poolings)
        assert size >= wanted and unet.output_size(size + 2 * unet.margin(poolings), poolings) == size
        assert size - wanted < 2**poolings + 4


def test_start_has_the_stated_spread():
    torch.manual_seed(0)
    model = unet.UNet(32, 2, inputs=16)
    for module, nodes in ((model.down[1][2], 64 * 9), (model.up[0], 128), (model.merge[0][0], 128 * 9)):
        assert module.weight.std().item() == pytest.approx((2 / nodes) ** 0.5, rel=0.03)
        assert abs(module.weight.mean().item()) < 0.05 * module.weight.std() and (module.bias == 0).all()


@pytest.mark.parametrize("side", [5, 9, 30])
def test_mirrored_is_numpys_reflection(side):
    image = torch.arange(side * (side + 3.0)).view(1, side, side + 3)
    for top, left, height, width in ((-3, -2, side + 6, 4), (-17, 2, 40, 50), (1, 1, 3, 3)):
        wide = np.pad(image[0].numpy(), 60, mode="reflect")
        expected = wide[60 + top : 60 + top + height, 60 + left : 60 + left + width]
        np.testing.assert_array_equal(unet.mirrored(image, top, left, height, width)[0], expected)


@pytest.mark.parametrize("poolings", [1, 2, 3])
@pytest.mark.parametrize("height, width", [(50, 70), (33, 41), (64, 20), (7, 90)])
def test_tiles_are_the_whole(poolings, height, width):
    torch.manual_seed(0)
    model = unet.UNet(2, poolings, classes=3).double().eval()
    images = torch.randn(2, 1, height, width, dtype=torch.float64)
    m = unet.margin(poolings)
    high, wide = unet.fit(height, poolings), unet.fit(width, poolings)
    padded = np.pad(images.numpy(), [(0, 0), (0, 0), (m, m + high - height), (m, m + wide - width)], mode="reflect")
    with torch.no_grad():
        expected = by_hand(model, torch.tensor(padded))[:, :, :height, :width]
    for tile in (None, 5, 16, 27, 200):
        torch.testing.assert_close(unet.segment(model, images, tile), expected)


def test_tile_error_sees_tiles_that_don_t_fit(monkeypatch):
    torch.manual_seed(0)
    model = unet.UNet(2, 2).eval()
    images = torch.randn(2, 1, 96, 96)
    assert unet.tile_error(model, images) < 1e-4
    monkeypatch.setattr(unet, "mirrored", lambda image, *window: F.pad(image, [9] * 4)[..., : window[2], : window[3]])
    with pytest.raises(Exception):  # noqa: B017  whatever the shapes do
        assert unet.tile_error(model, images) < 1e-4


@pytest.mark.parametrize("shape", [(7, 12), (20, 20), (31, 5)])
def test_distance_is_scipys(shape):
    draw = torch.Generator().manual_seed(0)
    inside = torch.rand(4, *shape, generator=draw) < torch.tensor([0.01, 0.05, 0.3, 0.9])[:, None, None]
    inside[:, 0, 0] = True
    for ours, mask in zip(unet.distance(inside), inside):
        np.testing.assert_allclose(ours, ndimage.distance_transform_edt(~mask.numpy()), atol=1e-4)


@pytest.mark.parametrize("w0, sigma", [(10.0, 5.0), (3.0, 2.0), (0.0, 5.0)])
def test_weight_map_is_eq_2(w0, sigma):
    _, cells, _ = unet.draw_cells(40, 7.0, np.random.default_rng(3))
    cells = torch.tensor(cells)
    ours = unet.weight_map(cells, w0, sigma)
    far = np.sort([ndimage.distance_transform_edt(cells != k) for k in cells.unique() if k], axis=0)
    share = (cells > 0).double().mean().item()
    for row in range(40):
        for column in range(40):
            if cells[row, column]:
                expected = 0.5 / share
            else:
                both = far[0, row, column] + far[1, row, column]
                expected = 0.5 / (1 - share) + w0 * math.exp(-(both**2) / (2 * sigma**2))
            assert ours[row, column].item() == pytest.approx(expected, rel=1e-4)
    assert unet.weight_map(cells, 0.0).mean().item() == pytest.approx(1, rel=1e-5)
    alone = torch.where(cells == cells.max(), 1, 0)
    torch.testing.assert_close(unet.weight_map(alone), unet.weight_map(alone, w0=0.0))  # no second cell


def test_weighted_loss_is_torchs():
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 2, 6, 5, generator=draw, dtype=torch.float64, requires_grad=True)
    mask = torch.randint(2, (3, 6, 5), generator=draw)
    weights = torch.rand(3, 6, 5, generator=draw, dtype=torch.float64)
    other = logits.detach().clone().requires_grad_()
    ours = unet.weighted_loss(logits, mask, weights)
    theirs = (F.cross_entropy(other, mask, reduction="none") * weights).sum() / weights.sum()
    torch.testing.assert_close(ours, theirs)
    ours.backward()
    theirs.backward()
    torch.testing.assert_close(logits.grad, other.grad)


def test_displacement_is_smooth_and_as_wide_as_said():
    draw = torch.Generator().manual_seed(0)
    shifts = torch.stack([unet.displacement(41, 61, 10.0, draw) for _ in range(300)])
    assert shifts.shape == (300, 2, 41, 61)
    for row, column in ((0, 0), (20, 30), (40, 60)):  # points of the grid
        assert shifts[:, :, row, column].std().item() == pytest.approx(10, rel=0.1)
    assert (shifts[..., 1:, :] - shifts[..., :-1, :]).abs().max() < 4
    assert abs(torch.corrcoef(shifts[:, :, 20, 30].T)[0, 1]) < 0.2
    bent = shifts[:, :, 2:18:2, 30].diff(dim=2).diff(dim=2)  # along a side of a grid's square; straight if bilinear
    assert bent.abs().mean() > 0.02
    assert (unet.displacement(9, 9, 0.0, draw) == 0).all()


@pytest.mark.parametrize("mode, order", [("bilinear", 1), ("nearest", 0)])
def test_deform_is_scipys_map_coordinates(mode, order):
    draw = torch.Generator().manual_seed(0)
    maps = torch.rand(2, 20, 30, generator=draw, dtype=torch.float64)
    shift = unet.displacement(20, 30, 3.0, draw).double()
    rows, columns = np.mgrid[:20, :30]
    places = np.stack([rows + shift[0].numpy(), columns + shift[1].numpy()])
    for ours, image in zip(unet.deform(maps, shift, mode), maps):
        expected = ndimage.map_coordinates(image.numpy(), places, order=order, mode="mirror")
        if order:
            np.testing.assert_allclose(ours, expected, atol=1e-9)
        else:  # SciPy and torch round halves differently
            assert (np.abs(ours.numpy() - expected) < 1e-9).mean() > 0.99


def test_augmented_bends_turns_and_brightens_all_three_alike():
    draw = torch.Generator().manual_seed(0)
    mask = torch.zeros(24, 24)
    mask[3:9, 5:20] = 1
    image, weights, seen = mask[None].clone(), 2 + mask, set()
    for spread in (0.0, 3.0):
        for _ in range(60):
            x, y, w = unet.augmented(image, mask, weights, spread, draw)
            assert x.shape == (1, 24, 24) and y.dtype == torch.int64 and set(y.unique().tolist()) <= {0, 1}
            x = (x[0] - x.min()) / (x.max() - x.min())  # gain and level undone
            assert ((x > 0.5).long() != y).float().mean() < 0.02 and ((w > 2.5).long() != y).float().mean() < 0.02
            if not spread:
                seen.add(tuple(y.flatten().tolist()))
    assert len(seen) == 8
    means = torch.tensor([unet.augmented(image, mask, weights, 0.0, draw)[0].mean() for _ in range(200)])
    assert means.std() > 0.1 and abs(means.mean() - image.mean()) < 0.05


def test_cells_have_gaps_and_pairs_touch():
    images, cells, pairs = unet.make_data(3, 64, 9.0, seed=5)
    assert images.shape == (3, 1, 64, 64) and images.mean().abs() < 1e-5 and sum(map(len, pairs)) > 5
    assert images[0].std().item() == pytest.approx(1, rel=1e-2)
    for truth, touching in zip(cells, pairs):
        assert 0.2 < (truth > 0).mean() < 0.8
        assert ndimage.label(truth > 0)[1] >= len(np.unique(truth)) - 1  # no two hang together
        for a, b in touching:
            assert ndimage.distance_transform_edt(truth != a)[truth == b].min() <= 4
    again = unet.make_data(3, 64, 9.0, seed=5)
    assert torch.equal(images, again[0]) and not torch.equal(images, unet.make_data(3, 64, 9.0, seed=6)[0])


def test_compare_counts_by_hand():
    truth = np.zeros((20, 30), int)
    truth[2:12, 2:12], truth[2:12, 14:24], truth[15:19, 2:12] = 1, 2, 3
    pairs = [[(1, 2), (1, 3)]]
    assert unet.compare((truth > 0)[None], [truth], pairs) == (100.0, 0.0)
    assert unet.compare((truth < 0)[None], [truth], pairs) == (0.0, 0.0)
    joined = truth > 0
    joined[2:12, 12:14] = True  # 1 and 2 are one component of 220 pixels, each covers it by 100
    iou, merged = unet.compare(joined[None], [truth], pairs)
    assert iou == pytest.approx(100 * (2 * 100 / 220 + 1) / 3) and merged == 50.0
    half = truth == 1
    half[:7] = False  # 50 of 100 pixels: not more than half
    assert unet.compare(half[None], [truth], pairs)[0] == 0.0
    half[6, 2:12] = True  # 60 of 100
    assert unet.compare(half[None], [truth], pairs)[0] == pytest.approx(60 / 3)
    specks = np.zeros((20, 30), bool)
    specks[15:19, 2:6] = True
    assert unet.components(specks).max() == 0


def test_threshold_finds_bright_cells_in_uneven_light():
    images, cells, pairs = unet.make_data(6, 64, 9.0, seed=1)
    setting = unet.best_threshold(images, cells, pairs)
    found = unet.threshold(images, *setting)
    best = unet.compare(found, cells, pairs)[0]
    assert found.shape == (6, 64, 64) and best > 40
    assert best >= unet.compare(unet.threshold(images, 24, 0.5), cells, pairs)[0]


def test_training_learns_and_is_told_by_its_seed():
    images, cells, _ = unet.make_data(4, 48, 9.0, seed=1)
    masks = torch.tensor(np.stack(cells) > 0).long()
    weights = torch.stack([unet.weight_map(torch.tensor(c), w0=0.0) for c in cells])
    ends = []
    for seed in (0, 0, 1):
        torch.manual_seed(0)
        model = unet.UNet(4, 1, dropout=0.0)
        losses = unet.train(model, images, masks, weights, 1e-2, 1.0, 250, seed, crop=32)
        ends.append(losses[-1])
        assert np.mean(losses[-20:]) < 0.75 * math.log(2) and not model.training  # ln 2: a coin
    assert ends[0] == ends[1] != ends[2]
    right = unet.predict(model, images) == masks.numpy().astype(bool)
    assert right.mean() > 0.8


def test_training_is_torchs_adam_with_a_rate_that_falls():
    images, cells, _ = unet.make_data(2, 40, 9.0, seed=1)
    masks = torch.tensor(np.stack(cells) > 0).long()
    weights = torch.stack([unet.weight_map(torch.tensor(c)) for c in cells])
    models = []
    for _ in range(2):
        torch.manual_seed(0)
        models.append(unet.UNet(2, 1, dropout=0.0))
    losses = unet.train(models[0], images, masks, weights, 1e-2, 2.0, 5, seed=3, crop=20, batch=3)
    optimizer, draw = torch.optim.Adam(models[1].parameters(), lr=1e-2), torch.Generator().manual_seed(3)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - max(0, step - 0) / 5)
    for step in range(5):
        x, y, w = [], [], []
        for _ in range(3):
            pick = torch.randint(2, (), generator=draw).item()
            top, left = torch.randint(21, (2,), generator=draw).tolist()
            image, mask, weight = unet.augmented(images[pick], masks[pick].float(), weights[pick], 2.0, draw)
            wide = np.pad(image[0].numpy(), 8, mode="reflect")
            x.append(torch.tensor(wide[top : top + 36, left : left + 36])[None])
            y.append(mask[top : top + 20, left : left + 20])
            w.append(weight[top : top + 20, left : left + 20])
        loss = unet.weighted_loss(by_hand(models[1], torch.stack(x)), torch.stack(y), torch.stack(w))
        assert losses[step] == pytest.approx(loss.item(), rel=1e-4)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def test_each_arm_goes_without_what_it_says(monkeypatch):
    data = unet.make_data(2, 40, 9.0, seed=1)
    maps = {w0: torch.stack([unet.weight_map(torch.tensor(c), w0) for c in data[1]]) for w0 in (10.0, 0.0)}
    seen = {}

    def spy(model, images, masks, weights, rate, spread, steps, seed):
        seen[arm] = model.skip, weights.max().item(), spread, rate, steps, seed, masks.float().mean().item()
        model.eval()

    monkeypatch.setattr(unet, "train", spy)
    sizes = unet.parse_args(["--steps", "7", "--width", "2", "--poolings", "1", "--device", "cpu"])
    for arm in unet.ARMS:
        scores = unet.experiment(arm, data, maps, unet.make_data(2, 40, 9.0, seed=2), sizes, 4)
        assert {"iou", "merged", "iou there", "merged there", "model"} == set(scores)
    assert all(s[3:6] == (unet.RATE, 7, 4) and 0.2 < s[6] < 0.8 for s in seen.values())
    assert [s[0] for s in seen.values()] == [True, True, True, False]
    assert [s[1] > 4 for s in seen.values()] == [True, False, True, True]
    assert [s[2] for s in seen.values()] == [unet.SPREAD, unet.SPREAD, 0.0, unet.SPREAD]
