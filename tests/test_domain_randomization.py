"""The renderer of papers/domain_randomization.py against matrices, marching and sums by hand."""

import math

import numpy as np
import pytest
import torch

from papers import domain_randomization as dr


@pytest.fixture
def scenes():
    """Three scenes with all solids present, in double precision."""
    torch.manual_seed(3)
    scenes = dr.draw_scenes(3)
    scenes["present"][:] = True
    return double(scenes)


@pytest.fixture
def cameras():
    torch.manual_seed(4)
    return double(dr.draw_cameras(3))


def double(tensors: dict) -> dict:
    return {name: t.double() if t.is_floating_point() else t for name, t in tensors.items()}


def one_of(tensors: dict, number: int) -> dict:
    return {name: values[number : number + 1] for name, values in tensors.items()}


def is_inside(points: np.ndarray, scenes: dict, scene: int, solid: int) -> np.ndarray:
    """Are points (M, 3) in a solid? Written from the solids' usual equations."""
    x, y = (points[:, :2] - scenes["place"][scene, solid].numpy()).T
    z = points[:, 2]
    height = scenes["height"][scene, solid].item()
    if solid < dr.ROUND:
        a, b, c = scenes["profile"][scene, solid].tolist()
        if solid == 0:
            radius = 5.5 * (1 - z / 14)
        elif c == 0:
            radius = np.full_like(z, math.sqrt(a))
        else:
            assert height == pytest.approx(b)
            radius = np.sqrt(np.clip((b / 2) ** 2 - (z - b / 2) ** 2, 0, None))
        return (z >= 0) & (z <= height) & (np.hypot(x, y) <= radius)
    turned = (x + 1j * y) * np.exp(-1j * scenes["angle"][scene, solid].item())
    long, short = scenes["side"][scene, solid].tolist()
    return (abs(turned.real) <= long) & (abs(turned.imag) <= short) & (z >= 0) & (z <= height)


def march(origin, direction, scenes, scene, limit) -> tuple[float, int]:
    """The first t at which a ray is inside a solid, in steps and then by bisection."""
    ts = np.arange(0, limit, 0.08 / np.linalg.norm(direction))
    best, which = math.inf, -1
    for solid in range(dr.SOLIDS):
        hits = is_inside(origin + ts[:, None] * direction, scenes, scene, solid)
        if hits.any():
            high = ts[hits.argmax()]
            low = high - ts[1]
            for _ in range(40):
                middle = (low + high) / 2
                inside = is_inside((origin + middle * direction)[None], scenes, scene, solid)[0]
                low, high = (low, middle) if inside else (middle, high)
            if high < best:
                best, which = high, solid
    return best, which


def camera_matrix(eye, target, focal) -> np.ndarray:
    """The 3x4 matrix of a pinhole camera, from its pan and tilt angles."""
    ahead = target - eye
    pan = math.atan2(-ahead[0], ahead[1])
    tilt = math.atan2(-ahead[2], math.hypot(ahead[0], ahead[1]))
    turn = np.array([[math.cos(pan), math.sin(pan), 0], [-math.sin(pan), math.cos(pan), 0],
                     [0, 0, 1]])  # fmt: skip
    # The camera's axes: x to the right, y down, z ahead.
    nod = np.array([[1, 0, 0], [0, -math.sin(tilt), -math.cos(tilt)],
                    [0, math.cos(tilt), -math.sin(tilt)]])  # fmt: skip
    rotation = nod @ turn
    return np.diag([focal, focal, 1]) @ np.column_stack([rotation, -rotation @ eye])


def test_projection_against_a_camera_matrix(cameras):
    torch.manual_seed(5)
    points = 20 * torch.randn(3, 3, dtype=torch.float64)
    ours = dr.project(points, cameras).numpy()
    for number in range(3):
        eye, target = cameras["eye"][number].numpy(), cameras["target"][number].numpy()
        matrix = camera_matrix(eye, target, cameras["focal"][number].item())
        x, y, depth = matrix @ np.append(points[number].numpy(), 1)
        np.testing.assert_allclose(ours[number], [x / depth, y / depth])


def test_a_ray_goes_through_its_pixel(cameras):
    direction = dr.rays(cameras, 4)  # (3, 3, 16)
    for row in range(4):
        for column in range(4):
            points = cameras["eye"] + 7.0 * direction[:, :, 4 * row + column]
            expected = torch.tensor([(column + 0.5) / 2 - 1, (row + 0.5) / 2 - 1]).double()
            torch.testing.assert_close(dr.project(points, cameras), expected.expand(3, 2))


def test_first_hit_against_marching(scenes, cameras):
    direction = dr.rays(cameras, 24)
    t, solid = dr.first_hit(cameras["eye"][..., None], direction, scenes)
    seen = set()
    for scene in range(3):
        origin = cameras["eye"][scene].numpy()
        for pixel in range(0, 24 * 24, 5):
            ray = direction[scene, :, pixel].numpy()
            expected, which = march(origin, ray, scenes, scene, limit=-origin[2] / ray[2])
            if which >= 0:
                seen.add(which)
                assert solid[scene, pixel] == which
                assert t[scene, pixel].item() == pytest.approx(expected, abs=1e-4)
            else:
                assert t[scene, pixel].item() >= min(-origin[2] / ray[2] - 1e-6, dr.NEVER)
    assert seen == set(range(dr.SOLIDS))


def test_absent_solids_are_not_hit(scenes, cameras):
    scenes["present"][:, 1:] = False
    scenes["present"][1, 0] = False
    _, solid = dr.first_hit(cameras["eye"][..., None], dr.rays(cameras, 32), scenes)
    assert set(solid[0].tolist()) == {-1, 0} and set(solid[1].tolist()) == {-1}


def test_normals_are_orthogonal_to_the_surface_and_face_the_camera(scenes, cameras):
    origin = cameras["eye"][..., None]
    direction = dr.rays(cameras, 48)
    shift = 1e-5 * torch.eye(3).double()
    t, solid = dr.first_hit(origin, direction, scenes)
    position = origin + t[:, None] * direction
    normal = dr.normals(position, solid, scenes)
    torch.testing.assert_close(normal.norm(dim=1), torch.ones_like(t))
    hits = solid >= 0
    for axis in range(3):
        moved = direction + shift[axis][:, None]
        t_moved, solid_moved = dr.first_hit(origin, moved, scenes)
        tangent = (origin + t_moved[:, None] * moved - position) / 1e-5
        along = (tangent * normal).sum(dim=1)
        smooth = hits & (solid_moved == solid) & (tangent.norm(dim=1) < 5000)
        good = (along.abs() < 1e-2 * tangent.norm(dim=1) + 1e-6)[smooth]
        assert good.float().mean() > 0.99  # an edge may lie between the two rays
    assert ((normal * direction).sum(dim=1) < 1e-6)[hits].all()
    assert set(solid[hits].tolist()) == set(range(dr.SOLIDS))
    at_table = solid == -1
    assert (normal[:, 2][at_table] == 1).all()


def test_light_and_shadow_on_the_table_against_marching(scenes):
    torch.manual_seed(6)
    lamps = dr.draw_lamp_places(3, 0.6, 0.9)[:, 0].double()
    spots = torch.rand(3, 3, 150, dtype=torch.float64) * 44 - 22
    spots[:, 2] = 0
    upwards = torch.tensor([0.0, 0.0, 1.0]).double()[:, None].expand_as(spots)
    light = dr.light_of(lamps, spots, upwards, scenes)
    shadows = compared = 0
    for scene in range(3):
        for number in range(150):
            spot = spots[scene, :, number].numpy()
            ray = lamps[scene].numpy() - spot
            start = spot + [0, 0, 0.02]
            inside = any(is_inside(start[None], scenes, scene, s)[0] for s in range(dr.SOLIDS))
            if inside:  # under a solid, where no camera sees it
                continue
            compared += 1
            _, which = march(start, ray, scenes, scene, limit=0.3)
            expected = 0 if which >= 0 else lamps[scene, 2].item() / np.linalg.norm(ray)
            shadows += which >= 0
            assert light[scene, number].item() == pytest.approx(expected, abs=1e-9)
    assert compared > 300 and 30 < shadows < compared - 30


def test_light_depends_on_the_angle():
    torch.manual_seed(7)
    nothing = double(dr.draw_scenes(1))
    nothing["present"][:] = False
    spot = torch.zeros(1, 3, 2).double()
    normal = torch.tensor([[[0.0, 0.0], [0.6, 0.0], [0.8, -1.0]]]).double()
    lamp = torch.tensor([[0.0, 30.0, 40.0]]).double()
    light = dr.light_of(lamp, spot, normal, nothing)
    torch.testing.assert_close(light, torch.tensor([[0.6 * 0.6 + 0.8 * 0.8, 0.0]]).double())


def test_maps_of_a_scene(scenes, cameras):
    torch.manual_seed(8)
    lamps = dr.draw_lamp_places(3, 0.6, 1.4).double()
    maps = dr.trace(scenes, cameras, lamps, 32)
    position, surface = maps["position"], maps["surface"]
    for pixel in (0, 37, 500, 1023):
        there = dr.project(position[:, :, pixel], cameras)
        expected = torch.tensor([(pixel % 32 + 0.5) / 16 - 1, (pixel // 32 + 0.5) / 16 - 1])
        torch.testing.assert_close(there, expected.double().expand(3, 2))

    x, y, z = position.unbind(dim=1)
    on_table = (x.abs() <= 25) & (y.abs() <= 25)
    assert (z[surface == 0] + 70).abs().max() < 1e-9
    assert z[surface == 1].abs().max() < 1e-9 and on_table[surface == 1].all()
    assert (z[surface >= 2] > -1e-9).all() and surface.unique().tolist() == list(range(7))
    for scene in range(3):
        for number in range(dr.SOLIDS):
            seen = position[scene][:, surface[scene] == number + 2].T
            centre = scenes["place"][scene, number]
            centre = torch.cat([centre, scenes["height"][scene, number, None] / 2])
            deeper = seen + 1e-3 * (centre - seen)
            assert is_inside(deeper.numpy(), scenes, scene, number).all()
            assert not is_inside(
                (seen - 1e-3 * (centre - seen)).numpy(), scenes, scene, number
            ).any()

    normal = dr.normals(position, surface - 2, scenes)
    for lamp in range(dr.LAMPS):
        light = dr.light_of(lamps[:, lamp], position, normal, scenes)
        torch.testing.assert_close(maps["light"][:, lamp], light)


def test_geometry_is_trace_in_pieces():
    torch.manual_seed(9)
    scenes, cameras = dr.draw_scenes(23), dr.draw_cameras(23)
    lamps = dr.draw_lamp_places(23, 0.6, 1.4)
    maps = dr.geometry(scenes, cameras, lamps, 16)
    whole = dr.trace(scenes, cameras, lamps, 16)
    torch.testing.assert_close(maps["position"].float(), whole["position"], atol=0.1, rtol=1e-3)
    torch.testing.assert_close(maps["light"].float(), whole["light"], atol=1e-3, rtol=0)
    torch.testing.assert_close(maps["surface"].float(), whole["surface"])
    torch.testing.assert_close(maps["place"], scenes["place"][:, 0])
    middle = torch.cat([maps["place"], torch.full((23, 1), 14 / 3)], dim=1)
    torch.testing.assert_close(maps["pixel"], dr.project(middle, cameras))


def test_scenes_are_as_the_text_says():
    torch.manual_seed(10)
    scenes = dr.draw_scenes(2000)
    distances = torch.cdist(scenes["place"], scenes["place"]) + 100 * torch.eye(dr.SOLIDS)
    assert distances.min() > 11
    assert scenes["place"][:, 0].abs().max() <= 17 and scenes["place"].abs().max() <= 21
    assert scenes["place"][:, 0].std(dim=0).min() > 9.5  # 34 / sqrt(12) = 9.8
    assert scenes["present"][:, 0].all()
    assert scenes["present"][:, 1:].float().mean() == pytest.approx(0.6, abs=0.03)
    balls = scenes["profile"][:, 1:, 2] == -1
    assert balls.float().mean() == pytest.approx(0.5, abs=0.03)


def test_textures_by_hand():
    torch.manual_seed(11)
    number = 40
    textures = dr.draw_textures(number)
    assert textures.shape == (number, 16, dr.SURFACES)
    surface = torch.randint(dr.SURFACES, (number, 30))
    position = 40 * torch.rand(number, 3, 30) - 20
    colours = dr.paint(textures, surface, position)
    kinds = []
    for image in range(number):
        for pixel in range(30):
            texture = textures[image, :, surface[image, pixel]].tolist()
            first = texture[0:3]
            second = [a + b for a, b in zip(first, texture[3:6])]
            place = position[image, :, pixel].tolist()
            u = sum(a * b for a, b in zip(texture[6:9], place)) + texture[12]
            v = sum(a * b for a, b in zip(texture[9:12], place)) + texture[13]
            if min(abs(u - round(u)), abs(v - round(v))) < 1e-3:
                continue  # on an edge, where rounding decides
            kind = (texture[14], texture[15])
            kinds.append(kind)
            weight = 0.0
            if kind == (1, 0):
                weight = 1 - abs(v % 2 - 1)
            elif kind == (0, 1):
                weight = float((math.floor(u) + math.floor(v)) % 2)
            expected = [(1 - weight) * a + weight * b for a, b in zip(first, second)]
            assert colours[image, :, pixel].tolist() == pytest.approx(expected, abs=1e-4)
    shares = [kinds.count(kind) / len(kinds) for kind in ((0, 0), (1, 0), (0, 1))]
    assert sum(shares) == pytest.approx(1) and min(shares) > 0.2
    assert colours.min() >= 0 and colours.max() <= 1


def test_axes_of_a_texture():
    torch.manual_seed(12)
    u, v = dr.draw_axes((50,)).unbind(dim=1)
    for axis in (u, v):
        torch.testing.assert_close(axis.norm(dim=1), torch.ones(50))
    torch.testing.assert_close((u * v).sum(dim=1), torch.zeros(50), atol=1e-6, rtol=0)
    assert (u[:, 2] == 0).all()
    torch.testing.assert_close(v[:, 2], torch.full((50,), math.sqrt(0.5)))


def test_illuminate_and_blur_by_hand():
    colours = torch.tensor([[[0.5], [1.0], [0.2]]])
    light = torch.tensor([[[0.5], [0.8]]])
    lamps = torch.tensor([[[0.1, 0.2, 0.3], [0.4, 0.0, 0.2], [0.2, 0.6, 0.0]]])
    expected = [0.5 * (0.1 + 0.2 + 0.16), 0.2 + 0 + 0.48, 0.2 * (0.3 + 0.1 + 0)]
    assert dr.illuminate(colours, light, lamps).flatten().tolist() == pytest.approx(expected)

    dot = torch.zeros(1, 3, 5, 5)
    dot[0, 1, 2, 3] = 1
    spread = dr.blur(dot, 0.5)
    expected = torch.outer(torch.tensor([1.0, 2, 1]), torch.tensor([1.0, 2, 1])) / 32
    expected[1, 1] += 0.5
    torch.testing.assert_close(spread[0, 1, 1:4, 2:5], expected)
    assert spread[0, [0, 2]].abs().max() == 0 and spread.sum().item() == pytest.approx(1)
    flat = torch.full((1, 3, 4, 4), 0.3)
    torch.testing.assert_close(dr.blur(flat, 1.0), flat)


def test_lamps_are_randomized():
    torch.manual_seed(13)
    lamps = dr.draw_lamps(2000)
    ambient, of_lamps = lamps[:, 0], lamps[:, 1:]
    assert (ambient == ambient[:, :1]).all() and ambient.min() >= 0.15 and ambient.max() <= 0.5
    on = (of_lamps > 0).all(dim=2)
    assert (on == (of_lamps > 0).any(dim=2)).all()
    assert on.float().mean() == pytest.approx(0.7, abs=0.03)
    assert of_lamps[on].std() > 0.1


@pytest.fixture(scope="module")
def maps():
    torch.manual_seed(14)
    scenes = dr.draw_scenes(12)
    return dr.geometry(scenes, dr.draw_cameras(12), dr.draw_lamp_places(12, 0.6, 1.4))


def test_render_puts_the_pieces_together(maps):
    """Without randomization an image is one texture set, under the fixed lamps."""
    index = torch.tensor([3, 0, 7])
    textures = dr.draw_textures(1)
    images = dr.render(maps, index, textures, randomize=False)
    for image, number in zip(images, index.tolist()):
        one = one_of(maps, number)
        colours = dr.paint(textures, one["surface"], one["position"].float())
        lamps = dr.FIXED_LAMPS
        light = one["light"][0].float()
        expected = colours[0] * (lamps[0][:, None] + lamps[1:].T @ light)
        torch.testing.assert_close(image, expected.clamp(0, 1).view(3, 64, 64))
    again = dr.render(maps, index, textures, randomize=False)
    assert torch.equal(images, again)


def test_every_image_is_randomized_and_a_seed_repeats_it(maps):
    index = torch.tensor([5, 5, 5, 5])
    torch.manual_seed(15)
    images = dr.render(maps, index, None)
    torch.manual_seed(15)
    assert torch.equal(images, dr.render(maps, index, None))
    assert images.shape == (4, 3, 64, 64) and images.min() >= 0 and images.max() <= 1
    for first in range(4):
        for second in range(first):
            assert (images[first] - images[second]).abs().mean() > 0.02


def test_only_textures_of_the_pool_are_shown(maps, monkeypatch):
    """Two sets, all surfaces of which are black or white, without noise: two kinds of images."""
    black = dr.draw_textures(1)
    black[:, :6] = 0
    white = black.clone()
    white[:, :3] = 1
    index = torch.full((40,), 2)
    images = dr.render(maps, index, torch.cat([black, white]), randomize=False)
    dark = (images.flatten(1) == 0).all(dim=1)
    assert 8 < dark.sum() < 32
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    images = dr.render(maps, index, torch.cat([black, white]))
    assert 8 < (images.flatten(1) == 0).all(dim=1).sum() < 32  # lamps and blur keep black black


def test_noise_and_blur_differ_from_image_to_image(maps):
    grey = dr.draw_textures(1)
    grey[:, :3] = 0.5
    grey[:, 3:6] = 0
    torch.manual_seed(16)
    images = dr.render(maps, torch.zeros(64, dtype=torch.long), grey)
    corner = images[:, :, :4, :6]  # floor
    noise = corner.diff(dim=3).std(dim=(1, 2, 3))
    assert noise.min() < 0.02 and noise.max() > 0.06


def test_blur_differs_from_image_to_image(maps, monkeypatch):
    """Under equal lamps and without noise, images are a sharp one and its blurred one, mixed."""
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    monkeypatch.setattr(dr, "draw_lamps", lambda number: dr.FIXED_LAMPS.expand(number, -1, -1))
    textures = 0.6 * dr.draw_textures(1)  # dim, so that nothing is clipped
    index = torch.full((30,), 6)
    images = dr.render(maps, index, textures)
    sharp = dr.render(maps, index[:1], textures, randomize=False)
    change = dr.blur(sharp, 1.0) - sharp
    amount = ((images - sharp) * change).sum(dim=(1, 2, 3)) / (change**2).sum()
    assert amount.min() < 0.25 and amount.max() > 0.75
    assert amount.min() >= 0 and amount.max() <= 1
    torch.testing.assert_close(images, sharp + amount[:, None, None, None] * change)


def colours_of(image_colours: torch.Tensor) -> int:
    """The rank of the colours (3, M) of one surface, about their mean."""
    centred = image_colours - image_colours.mean(dim=1, keepdim=True)
    return int(torch.linalg.matrix_rank(centred, atol=0.05))


def test_no_real_texture_is_among_the_training_ones(maps):
    """All colours of a training texture lie on a line between two; those of a photograph don't."""
    torch.manual_seed(17)
    photographs = dr.load_photographs()
    assert photographs.shape == (2, 3, 427, 640) and photographs.max() <= 1
    one = one_of(maps, 4)
    surface, position = one["surface"].repeat(30, 1), one["position"].float().repeat(30, 1, 1)
    simulated = dr.paint(dr.draw_textures(30), surface, position)
    real = dr.paint_photographs(photographs, surface, position)
    table = surface[0] == 1
    assert max(colours_of(colours[:, table]) for colours in simulated) == 1
    assert min(colours_of(colours[:, table]) for colours in real) >= 2

    palettes = []
    for photograph in photographs:
        pixels = ((photograph - 0.1) / 0.8 * 255).round().long().flatten(1)
        palettes.append(set((pixels[0] * 65536 + pixels[1] * 256 + pixels[2]).tolist()))
    codes = ((real - 0.1) / 0.8 * 255).round().long()
    codes = codes[:, 0] * 65536 + codes[:, 1] * 256 + codes[:, 2]
    sources = set()
    for code in codes:
        below = [set(code[surface[0] <= 1].tolist()) <= palette for palette in palettes]
        above = [set(code[surface[0] >= 2].tolist()) <= palette for palette in palettes]
        assert below != above and sum(below) == sum(above) == 1
        sources.add(below.index(True))
    assert sources == {0, 1}


def test_pieces_of_photographs_follow_their_axes(monkeypatch):
    """A photograph whose red is the column and whose green is the row: the map is affine."""
    photographs = torch.zeros(2, 3, 100, 200)
    photographs[:, 0] = torch.arange(200.0)
    photographs[:, 1] = torch.arange(100.0)[:, None]
    axes = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])
    monkeypatch.setattr(dr, "draw_axes", lambda shape: axes.expand(*shape, 2, 3))
    monkeypatch.setattr(dr, "uniform", lambda low, high, *shape: torch.full(shape, 2.0))
    position = torch.tensor([[[0.0, 10, 98, -1, 108], [0, 5, 48, -3, 0], [0, 0, 0, 9, 0]]])
    colours = dr.paint_photographs(photographs, torch.zeros(1, 5), position)
    assert colours[0, 0].tolist() == [2, 22, 198, 0, 180]  # 218 is mirrored at 199
    assert colours[0, 1].tolist() == [2, 12, 98, 4, 2]  # −4 is mirrored at 0


def test_real_images_are_another_world(monkeypatch):
    torch.manual_seed(18)
    seen = {}
    geometry = dr.geometry

    def watched(scenes, cameras, lamps, size):
        seen.update(scenes=scenes, cameras=cameras, lamps=lamps, size=size)
        return geometry(scenes, cameras, lamps, size)

    monkeypatch.setattr(dr, "geometry", watched)
    test = dr.real_images(5)
    assert test["images"].shape == (5, 3, 64, 64)
    assert test["images"].min() >= 0 and test["images"].max() <= 1
    assert test["images"].std() > 0.1 and seen["size"] == 128
    assert seen["scenes"]["present"].all()
    foot = torch.cat([test["place"], torch.full((5, 1), 14 / 3)], dim=1)
    torch.testing.assert_close(test["pixel"], dr.project(foot, seen["cameras"]))

    elevation = torch.asin(seen["lamps"][..., 2] / 120)
    trained = torch.asin(dr.draw_lamp_places(1000, 0.6, 1.4)[..., 2] / 120)
    assert elevation.max() < trained.min() and trained.max() > 1.35
    nominal = dr.draw_cameras(1, jitter=0)
    many = dr.draw_cameras(5000)
    for name, value in dr.REAL_CAMERA.items():  # a camera that training may draw, but not the usual
        assert (many[name].amin(dim=0) <= torch.tensor(value)).all()
        assert (many[name].amax(dim=0) >= torch.tensor(value)).all()
        assert (nominal[name] != torch.tensor(value)).any()


def test_the_real_sensor(monkeypatch):
    """Grey walls; both lamps reach every second column of rays, and two rows of four."""
    light = torch.zeros(1, 2, 128, 128)
    light[:, :, :, ::2] = 1
    light[:, :, 2::4] = 0
    light[:, :, 3::4] = 0
    maps = {
        "position": torch.zeros(1, 3, 128 * 128),
        "surface": torch.ones(1, 128 * 128),
        "light": light.flatten(2),
        "place": torch.zeros(1, 2),
        "pixel": torch.zeros(1, 2),
    }
    monkeypatch.setattr(dr, "geometry", lambda *args, **kwargs: maps)
    monkeypatch.setattr(dr, "load_photographs", lambda: torch.full((2, 3, 50, 50), 0.5))
    torch.manual_seed(22)
    noisy = dr.real_images(1)["images"][0]
    with monkeypatch.context() as patch:
        patch.setattr(torch, "randn_like", torch.zeros_like)
        image = dr.real_images(1)["images"][0]
    ambient, first, second = dr.REAL_LAMPS
    lit = 0.5 * (ambient + (first + second) / 2)  # a pixel has a lit column and a dark one
    dark = 0.5 * ambient
    for row, expected in ((10, 0.7 * lit + 0.3 * dark), (11, 0.3 * lit + 0.7 * dark)):
        torch.testing.assert_close(image[:, row], expected[:, None].expand(3, 64))
        noise = (noisy - image)[:, row % 2 :: 2]
        scale = 0.04 * expected.sqrt()
        torch.testing.assert_close(noise[:, 1:-1].std(dim=(1, 2)), scale, rtol=0.1, atol=0)


def test_spatial_softmax_and_its_gradient():
    torch.manual_seed(19)
    features = torch.randn(2, 3, 4, 6, dtype=torch.float64, requires_grad=True)
    points = dr.spatial_softmax(features)
    grid_x = torch.tensor([-5, -3, -1, 1, 3, 5]).double() / 6
    grid_y = torch.tensor([-3, -1, 1, 3]).double() / 4
    weights = torch.randn(2, 3, 2, dtype=torch.float64)
    for image in range(2):
        for channel in range(3):
            p = features[image, channel].detach().exp()
            p = p / p.sum()
            x = (p * grid_x).sum()
            y = (p * grid_y[:, None]).sum()
            torch.testing.assert_close(points[image, channel].detach(), torch.stack([x, y]))
            (gradient,) = torch.autograd.grad(
                (points * weights)[image, channel].sum(), features, retain_graph=True
            )
            w_x, w_y = weights[image, channel]
            by_hand = p * (w_x * (grid_x - x) + w_y * (grid_y[:, None] - y))
            torch.testing.assert_close(gradient[image, channel], by_hand)


def test_cells_are_where_the_convolutions_say():
    pixel = torch.tensor([[-1.0, -1.0], [0.99, -0.99], [0.01, 0.13], [3.0, -3.0]])
    assert dr.cell_of(pixel, 16).tolist() == [0, 15, 9 * 16 + 8, 15]
    detector = dr.Detector()
    assert detector.features(torch.rand(2, 3, 64, 64)).shape == (2, 32, 16, 16)
    assert detector(torch.rand(2, 3, 64, 64)).shape == (2, 2)


def test_an_answer_depends_on_its_own_image_only():
    torch.manual_seed(23)
    detector = dr.Detector().train()
    images = torch.rand(103, 3, 64, 64)
    together = dr.predict(detector, images)
    alone = torch.cat([dr.predict(detector, images[number, None]) for number in (0, 50, 102)])
    torch.testing.assert_close(together[[0, 50, 102]], alone)


class Fixed(torch.nn.Module):
    """Answers the first two numbers of an image's first row, as x and y."""

    def forward(self, images):
        return images[:, 0, 0, :2]


def test_errors_are_distances_in_cm():
    images = torch.zeros(250, 3, 64, 64)
    images[:, 0, 0, 0] = 3
    images[:, 0, 0, 1] = torch.arange(250.0)
    place = torch.stack([torch.zeros(250), torch.arange(250.0) - 4], dim=1)
    error = dr.errors(Fixed(), {"images": images, "place": place})
    torch.testing.assert_close(error, torch.full((250,), 5.0))


def test_examples_are_chosen_by_rank_and_marked_where_they_are():
    images = torch.zeros(60, 3, 64, 64)
    offset = torch.randperm(60).float()
    images[:, 0, 0, 0] = 5 + offset
    place = torch.tensor([[5.0, -2.0]]).repeat(60, 1)
    images[:, 0, 0, 1] = -2
    examples = dr.choose_examples(Fixed(), {"images": images, "place": place})
    assert examples["error"].tolist() == [5, 15, 25, 35, 45, 55]
    assert (examples["images"][:, 0, 0, 0] - 5).tolist() == [5, 15, 25, 35, 45, 55]
    camera = [np.array(dr.REAL_CAMERA[name]) for name in ("eye", "target", "focal")]
    matrix = camera_matrix(*camera)
    for number in range(6):
        for name, x in (("true", 5.0), ("predicted", 5.0 + examples["error"][number].item())):
            u, v, depth = matrix @ [x, -2.0, 0, 1]
            assert examples[name][number].tolist() == pytest.approx(
                [u / depth, v / depth], abs=1e-5
            )


def test_training_learns():
    torch.manual_seed(20)
    scenes = dr.draw_scenes(60)
    scenes["present"][:, 1:] = False
    maps = dr.geometry(scenes, dr.draw_cameras(60, jitter=0), dr.draw_lamp_places(60, 0.6, 1.4))
    textures = dr.draw_textures(2)
    detector = dr.Detector()
    before = [weight.clone() for weight in detector.parameters()]
    dr.train(detector, maps, textures, steps=160)
    assert all((a != b).any() for a, b in zip(before, detector.parameters()))

    images = dr.render(maps, torch.arange(60), textures)
    test = {"images": images, "place": maps["place"]}
    centre = maps["place"].norm(dim=1).mean()
    assert dr.errors(detector, test).mean() < centre / 3
    with torch.no_grad():  # the first map points at the cone
        pointer = detector.features(images)[:, 0].flatten(1).argmax(dim=1)
    at_the_cone = pointer == dr.cell_of(maps["pixel"], 16)
    assert at_the_cone.float().mean() > 0.8


def test_the_rivals_are_trained_on_what_their_names_say(monkeypatch):
    torch.manual_seed(21)
    seen = []

    def watched(detector, maps, textures, steps, randomize=True):
        seen.append((maps, textures, steps, randomize))

    monkeypatch.setattr(dr, "train", watched)
    scenes = dr.draw_scenes(4)
    test = {"images": torch.rand(3, 3, 64, 64), "place": torch.zeros(3, 2)}
    dr.train_without_randomization(scenes, test, 5)
    maps, textures, steps, randomize = seen.pop()
    assert len(textures) == 1 and steps == 5 and not randomize
    assert maps["surface"].max() > 2
    corner = maps["position"][:, :, 0]
    assert (corner == corner[0]).all()  # one camera
    free = (maps["surface"] == 0).all(dim=0)
    light = maps["light"][:, :, free]
    in_shadow = light == 0
    assert (in_shadow | (light == light.amax(dim=0))).all(), "the lamps differ between the scenes"
    assert not in_shadow.all(dim=2).any()

    dr.train_without_distractors(scenes, test, 5)
    maps, textures, steps, randomize = seen.pop()
    assert set(maps["surface"].unique().tolist()) == {0, 1, 2}
    assert len(textures) == 1000 and steps == 5 and randomize
    corner = maps["position"][:, :, 0]
    assert not (corner == corner[0]).all()
    torch.testing.assert_close(maps["place"], scenes["place"][:, 0])
    assert scenes["present"][:, 1:].any(), "the scenes themselves stay as they are"

    results = dr.compare_numbers_of_textures(maps, test, 5)
    assert list(results) == [1, 10, 100, 1000]
    assert [len(textures) for _, textures, _, _ in seen] == [1, 10, 100, 1000]
    assert all(steps == 5 and randomize for _, _, steps, randomize in seen)
