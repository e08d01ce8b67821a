"""The world, the network and the servoing of papers/grasping.py, against slow versions."""

import math
from functools import partial

import pytest
import torch
from matplotlib.path import Path as Polygon
from torch import nn

from papers import grasping as g


def bar(x=0.0, y=0.0, angle=0.0, long=2.5, thick=1.0):
    """One bar, both parts alike: (2, 6)."""
    return torch.tensor([x, y, angle, long, thick, 0.0]).repeat(2, 1)


def world(*objects):
    """One bin with these objects, the last one on top: (1, O, 2, 6)."""
    return torch.stack(objects)[None]


def pose(x=0.0, y=0.0, angle=0.0):
    return torch.tensor([[x, y, angle]])


NOMINAL = torch.zeros(1, 3)


def random_worlds(bins, families=g.UNSEEN):
    shapes = g.make_shapes(families, 4 * bins).unflatten(0, (bins, 4))
    return g.arrange(shapes, torch.ones(bins, 4, dtype=torch.bool))


# ---- the world, point by point ----


def holds_point(object_, x, y, depth=0.0):
    """Is a point inside an object, and at least so deep? With complex numbers, one by one."""
    for px, py, angle, a, b, is_round in object_.tolist():
        turned = complex(x - px, y - py) * complex(math.cos(angle), -math.sin(angle))
        u, v = abs(turned.real), abs(turned.imag)
        if is_round:
            level = (math.hypot(u / a, v / b) - 1) * min(a, b)
        else:
            level = max(u - a, v - b)
        if level <= -depth:
            return True
    return False


def world_point(frame, u, v):
    x, y, angle = frame
    turned = complex(u, v) * complex(math.cos(angle), math.sin(angle))
    return x + turned.real, y + turned.imag


def slow_grasp(objects, frame):
    """The number of the object held, or −1, by the four rules that the script states."""
    lines = [-0.5, 0.0, 0.5]
    across = [-3.5 + 0.25 * i for i in range(29)]
    for side in (-3.9, 3.9):
        for line in lines:
            x, y = world_point(frame, side, line)
            if any(holds_point(object_, x, y, depth=0.25) for object_ in objects):
                return -1
    held = -1
    for number, object_ in enumerate(objects):
        if any(holds_point(object_, *world_point(frame, u, v)) for u in across for v in lines):
            held = number
    if held < 0:
        return -1
    first, last = [], []
    for line in lines:
        met = [u for u in across if holds_point(objects[held], *world_point(frame, u, line))]
        if not met:
            return -1
        first.append(met[0])
        last.append(met[-1])
    if abs(first[2] - first[0]) > 1.0 or abs(last[2] - last[0]) > 1.0:
        return -1

    areas = [4 * a * b if not r else math.pi * a * b for _, _, _, a, b, r in objects[held].tolist()]
    mx = sum(area * part[0] for area, part in zip(areas, objects[held].tolist())) / sum(areas)
    my = sum(area * part[1] for area, part in zip(areas, objects[held].tolist())) / sum(areas)
    across_line = complex(mx - frame[0], my - frame[1]) * complex(
        math.cos(frame[2]), -math.sin(frame[2])
    )
    if abs(across_line.imag) > 2.5:
        return -1
    return -1 if slow_covered(objects, held) else held


def slow_covered(objects, number):
    seen = hidden = 0
    for px, py, angle, a, b, _ in objects[number].tolist():
        for i in range(5):
            for j in range(5):
                u, v = a * (-0.95 + 0.475 * i), b * (-0.95 + 0.475 * j)
                x, y = world_point((px, py, angle), u, v)
                if holds_point(objects[number], x, y):
                    seen += 1
                    hidden += any(holds_point(other, x, y) for other in objects[number + 1 :])
    return hidden > 0.1 * seen


def test_signed_distances_are_negative_exactly_inside():
    torch.manual_seed(0)
    parts = random_worlds(3, g.TRAINED + g.UNSEEN).double()
    points = g.uniform(-7, 7, 3, 500, 2).double()
    inside = g.distance(parts, points) < 0  # (3, 4, 500)
    for bin_ in range(3):
        for number in range(4):
            expected = torch.zeros(500, dtype=torch.bool)
            for part in parts[bin_, number]:
                corners = g.outline(part.float()).double()  # many corners for an ellipse
                expected |= torch.tensor(Polygon(corners).contains_points(points[bin_]))
            assert (inside[bin_, number] != expected).sum() <= 2  # an ellipse has 60 corners here
            slow = [holds_point(parts[bin_, number], x, y) for x, y in points[bin_].tolist()]
            assert inside[bin_, number].tolist() == slow


def test_grasps_and_covers_against_the_rules_point_by_point():
    torch.manual_seed(1)
    parts = random_worlds(500).double()
    poses = g.hand_designed(parts.float(), torch.zeros(500, 3), None).double()
    poses += torch.tensor([1.0, 1.0, 0.4]) * torch.randn(500, 3)
    fast = g.grasp(parts, poses)
    slow = [slow_grasp(*pair) for pair in zip(parts, poses.tolist())]
    assert 100 < (fast >= 0).sum() < 400
    assert (fast != torch.tensor(slow)).sum() <= 2  # a rounding at the edge of a rule
    covered = g.is_covered(parts[:60])
    for bin_ in range(60):
        assert covered[bin_].tolist() == [slow_covered(parts[bin_], number) for number in range(4)]


def held(parts, at):
    return g.grasp(parts, at).item()


def test_what_can_be_held():
    alone = world(bar())
    upright = pose(angle=math.pi / 2)  # the fingers close along y, across the bar
    assert held(alone, upright) == 0
    assert held(alone, pose(angle=-math.pi / 2)) == 0
    assert held(alone, pose(x=7.0)) == -1  # nothing there
    assert held(alone, pose(y=3.9, angle=math.pi / 2)) == -1  # a fingertip lands on the bar
    assert held(alone, pose(angle=math.pi / 2 + 0.9)) == -1  # too steep
    assert held(world(bar(long=3.2)), pose(x=2.6, angle=math.pi / 2)) == -1  # tips over
    assert held(world(bar(long=3.2)), pose(x=2.4, angle=math.pi / 2)) == 0
    slot = torch.stack([bar(-1.0, long=0.8)[0], bar(1.0, long=0.8)[0]])  # the middle is open
    assert held(world(slot), upright) == -1
    assert held(world(slot), pose(x=-1.0, angle=math.pi / 2)) == 0
    assert held(world(bar(), bar(x=2.0, angle=1.57, long=1.5)), upright) == -1  # lies on it
    assert held(world(bar(x=2.0, angle=1.57, long=1.5), bar()), upright) == 1  # lies under it


def test_a_low_move_stops_at_an_obstacle_and_a_follow_does_not():
    parts = world(bar(x=0.0, angle=math.pi / 2, long=2.8, thick=1.0))  # a wall at x = 0
    start, target = pose(-3.0, 3.9, math.pi / 2), pose(3.0, 3.9, math.pi / 2)
    stopped = g.move_low(parts, start, target)
    assert -1.6 < stopped[0, 0] < -0.7 and stopped[0, 1] == pytest.approx(3.9)
    assert not g.lands_on_object(parts, stopped)
    free = pose(3.0, -6.0, math.pi / 2)
    torch.testing.assert_close(g.move_low(world(bar(y=900.0)), start, free), free)
    torch.testing.assert_close(g.follow(start, target - start), target)
    edge = g.follow(start, torch.tensor([[-50.0, 50.0, 0.5]]))
    torch.testing.assert_close(edge, pose(-6.0, 6.0, math.pi / 2 + 0.5))


def test_images_depend_only_on_where_things_are_in_the_cameras_frame():
    torch.manual_seed(2)
    parts = random_worlds(5).double()
    camera = torch.randn(5, 3).double()
    gripper = g.random_poses(5).double()

    def into_camera(place):  # (5, ..., 2)
        shape = (5,) + (1,) * (place.dim() - 2)
        moved = place - camera[:, :2].view(*shape, 2)
        return g.rotate(moved, -camera[:, 2].view(shape).expand(moved.shape[:-1]))

    turned = parts.clone()
    turned[..., :2] = into_camera(parts[..., :2])
    turned[..., 2] -= camera[:, None, None, 2]
    nominal = torch.zeros(5, 3).double()
    seen = g.see_objects(parts, camera)
    torch.testing.assert_close(seen, g.see_objects(turned, nominal))
    turned_gripper = torch.cat([into_camera(gripper[:, :2]), gripper[:, 2:] - camera[:, 2:]], dim=1)
    fingers = g.see_gripper(gripper, camera)
    torch.testing.assert_close(fingers, g.see_gripper(turned_gripper, nominal))
    now = g.put_before(seen, fingers)
    assert torch.equal(now[:, 1], fingers)
    assert (now[:, 0][fingers.abs() == 1] == 0).all() and (fingers.abs() == 1).any()
    assert torch.equal(now[:, 0][fingers == 0], seen[:, 0][fingers == 0])
    full = g.put_before(torch.ones_like(seen), fingers)  # an object everywhere
    torch.testing.assert_close(full[:, 0], 1 - fingers.abs())


def test_pixels_are_where_they_should_be():
    image = g.see_objects(world(bar(x=3.0, y=4.0, long=1.0)), NOMINAL)[0, 0]
    ticks = torch.arange(32.0)
    columns = (image.sum(dim=0) @ ticks / image.sum()).item()
    rows = (image.sum(dim=1) @ ticks / image.sum()).item()
    assert columns == pytest.approx(15.5 + 3 / 0.65, abs=0.1)
    assert rows == pytest.approx(15.5 - 4 / 0.65, abs=0.1)
    seen = g.see_gripper(pose(0.0, 0.0, math.pi / 2), NOMINAL)[0]  # left finger below
    assert seen[16:].max() > 0.5 and seen[16:].min() >= 0
    assert seen[:16].min() < -0.5 and seen[:16].max() <= 0
    low, high = g.see_objects(world(bar(), bar(y=3.0)), NOMINAL)[0, 0, [15, 11], 15].tolist()
    assert low < high == pytest.approx(1.0)


# ---- the network ----


@pytest.fixture
def model():
    torch.manual_seed(3)
    return g.GraspNet(6).double()


def images(count):
    parts = random_worlds(count).double()
    before = g.see_objects(parts, torch.zeros(count, 3).double())
    gripper = g.see_gripper(g.random_poses(count).double(), torch.zeros(count, 3).double())
    return before, g.put_before(before, gripper)


def test_feature_points_are_centres_of_mass(model):
    before, now = images(4)
    points = model.feature_points(before, now)
    for image in range(4):
        response = nn.functional.conv2d(
            (now - before)[image : image + 1], model.filters.weight, stride=2, padding=2
        )[0]
        for number in range(model.POINTS):
            mass = response[number].clamp(min=0)
            x = sum(mass[:, i].sum() * ((i + 0.5) / 8 - 1) for i in range(16)) / (mass.sum() + 1e-3)
            y = sum(mass[i].sum() * ((i + 0.5) / 8 - 1) for i in range(16)) / (mass.sum() + 1e-3)
            torch.testing.assert_close(points[image, number], x)
            torch.testing.assert_close(points[image, model.POINTS + number], y)


def slow_success(model, scene, points, commands):
    """One command at a time, with the bilinear map and the interpolation in loops."""
    logits = []
    for sample in range(commands.shape[1]):
        x, y, sin, cos = commands[0, sample]
        v = torch.stack([x / 7, y / 7, sin, cos - 1, torch.ones_like(x)])
        k = torch.cat([points[0, sample], torch.ones(1).double()])
        read = []
        for place in range(model.PLACES):
            q = [k @ model.where[place, axis] @ v for axis in (0, 1)]
            column, row = (q[0] + 1) * 8 - 0.5, (q[1] + 1) * 8 - 0.5
            features = torch.zeros(scene.shape[1]).double()
            top, left = math.floor(row.item()), math.floor(column.item())
            for i in (top, top + 1):
                for j in (left, left + 1):
                    if 0 <= i < 16 and 0 <= j < 16:
                        weight = (1 - (row - i).abs()) * (1 - (column - j).abs())
                        features = features + weight * scene[0, :, i, j]
            read += [features, torch.stack(q)]
        logits.append(model.head(torch.cat(read)))
    return torch.cat(logits)[None]


def test_success_and_its_gradient_against_loops(model):
    before, _ = images(1)
    scene = model.scene(before)
    nn.init.normal_(model.where, std=0.3)
    points = torch.rand(1, 5, 2 * model.POINTS).double() - 0.5
    commands = g.encode(torch.randn(1, 5, 3).double() * 2)
    fast = model.success(scene, points, commands)
    slow = slow_success(model, scene, points, commands)
    torch.testing.assert_close(fast, slow)
    weights = [model.where, model.head[0].weight, model.scene_layers[0].weight]
    fast = torch.autograd.grad(fast.sum(), weights, retain_graph=True)
    slow = torch.autograd.grad(slow.sum(), weights)
    for one, other in zip(fast, slow):
        torch.testing.assert_close(one, other)


def test_commands_are_encoded_by_sine_and_cosine():
    encoded = g.encode(torch.tensor([[1.0, -2.0, math.pi / 6]]))
    torch.testing.assert_close(encoded, torch.tensor([[1.0, -2.0, 0.5, math.sqrt(0.75)]]))


def test_cross_entropy_method_finds_a_known_maximum_and_keeps_its_bounds():
    torch.manual_seed(4)
    goal = torch.tensor([[1.0, -2.0], [3.0, 9.0]])
    low, high = torch.full((2, 2), -4.0), torch.full((2, 2), 4.0)
    calls = []

    def score(candidates):
        calls.append(candidates)
        return -((candidates - goal[:, None]) ** 2).sum(dim=2)

    found = g.cross_entropy_method(score, low, high)
    torch.testing.assert_close(found, torch.tensor([[1.0, -2.0], [3.0, 4.0]]), atol=0.3, rtol=0)
    assert [call.shape for call in calls] == [(2, 64, 2)] * 3
    assert all((call >= -4).all() and (call <= 4).all() for call in calls)
    elites = calls[0][0, score(calls[0])[0].topk(6).indices]
    second = calls[1][0]
    assert (second.mean(dim=0) - elites.mean(dim=0)).norm() < 0.5 * elites.std(dim=0).norm()
    last = calls[2]
    best = score(last).argmax(dim=1)
    torch.testing.assert_close(found, last[torch.arange(2), best])


# ---- servoing ----


def test_the_two_thresholds():
    stay, best = torch.tensor([0.46, 0.44, 0.26, 0.25, 0.1]), torch.full((5,), 0.5)
    assert g.closes(stay, best).tolist() == [True, False, False, False, False]
    assert g.rises(stay, best).tolist() == [False, False, False, True, True]


def planned(monkeypatch, stays, command):
    """Replaces the search: these predictions for staying, look by look; the best one is 1."""
    stays = iter(stays)

    def plan(model, scene, points, pose):
        stay = torch.full((len(pose),), next(stays))
        return {"command": command, "best": torch.ones(len(pose)), "stay": stay}

    monkeypatch.setattr(g, "best_command", plan)


def test_servoing_moves_raises_and_closes(monkeypatch):
    parts = world(bar(x=0.0, angle=math.pi / 2, long=2.8))
    start, step = pose(-3.0, 3.9, math.pi / 2), pose(6.0, 0.0, 0.0)
    model = g.GraspNet(4)

    planned(monkeypatch, [0.4, 0.95, 0.3], step)  # over the wall, then close for good
    looks = g.servo(model, 3, parts, NOMINAL, start)
    assert len(looks) == 4
    assert [look["closed"].item() for look in looks[:-1]] == [False, True, True]
    torch.testing.assert_close(looks[1]["pose"], start + step)
    torch.testing.assert_close(looks[-1]["pose"], start + step)

    planned(monkeypatch, [0.6], step)  # low: stops before the wall
    stopped = g.servo(model, 1, parts, NOMINAL, start)[-1]["pose"]
    assert -3 < stopped[0, 0] < -0.7

    planned(monkeypatch, [0.95], step)
    assert torch.equal(g.servo(model, 1, parts, NOMINAL, start)[-1]["pose"], start)


def test_nothing_but_images_reaches_the_network():
    torch.manual_seed(5)
    model = g.GraspNet(4)
    parts = random_worlds(6)
    camera, start = g.random_cameras(6), g.random_poses(6)
    looks = g.servo(model, 1, parts, camera, start)

    shift = torch.tensor([1.0, -0.5])  # everything elsewhere, the camera too, parts exchanged
    elsewhere = parts.flip(2).clone()
    elsewhere[..., :2] += shift
    moved = torch.cat([shift, torch.zeros(1)])
    other = g.servo(model, 1, elsewhere, camera + moved, start + moved)
    torch.testing.assert_close(other[0]["stay"], looks[0]["stay"], atol=1e-5, rtol=0)

    different = g.servo(model, 1, parts, camera, start + moved)
    assert (different[0]["stay"] - looks[0]["stay"]).abs().max() > 1e-4


def test_commands_do_not_leave_the_bin(monkeypatch):
    bounds = {}

    def search(score, low, high):
        bounds.update(low=low, high=high)
        return low

    monkeypatch.setattr(g, "cross_entropy_method", search)
    model = g.GraspNet(4)
    plan = g.best_command(model, torch.rand(1, 4, 16, 16), torch.rand(1, 8), pose(2.0, -3.0, 1.0))
    half = math.pi / 2
    torch.testing.assert_close(bounds["low"], torch.tensor([[-8.0, -3.0, -half]]))
    torch.testing.assert_close(bounds["high"], torch.tensor([[4.0, 9.0, half]]))
    assert plan["command"] is bounds["low"]


def test_best_and_stay_are_the_predictions_of_the_command_and_of_none():
    torch.manual_seed(6)
    model = g.GraspNet(4)
    scene, points = torch.rand(3, 4, 16, 16), torch.rand(3, 8)
    plan = g.best_command(model, scene, points, torch.zeros(3, 3))
    none = torch.tensor([0.0, 0, 0, 1]).expand(3, 1, 4)
    expected = model.success(scene, points[:, None], none).sigmoid()[:, 0]
    torch.testing.assert_close(plan["stay"], expected)
    chosen = g.encode(plan["command"])[:, None]
    expected = model.success(scene, points[:, None], chosen).sigmoid()[:, 0]
    torch.testing.assert_close(plan["best"], expected)
    assert (plan["best"] > plan["stay"]).all()


def test_samples_lead_from_each_image_to_the_final_pose(monkeypatch):
    torch.manual_seed(7)
    monkeypatch.setattr(g, "random_cameras", lambda count: torch.zeros(count, 3))
    attempts = []

    def policy(parts, camera, start):
        history = g.wander(2, parts, camera, start)
        attempts.append((parts, torch.stack([moment["pose"] for moment in history])))
        return history

    data = g.collect(policy, 40, "cpu")
    assert len(attempts) == 8 and data["success"].shape == (40, 24)
    assert data["success"].any()
    for number, (parts, poses) in enumerate(attempts):
        success = g.grasp(parts, poses[-1]) >= 0
        for step in range(3):
            column = 3 * number + step
            apart = poses[-1] - poses[step]
            expected = torch.cat([apart, torch.zeros(40, 1)], dim=1)
            expected[:, 2], expected[:, 3] = apart[:, 2].sin(), apart[:, 2].cos()
            torch.testing.assert_close(data["commands"][:, column], expected)
            assert torch.equal(data["success"][:, column], success)
            seen = g.see_gripper(poses[step], torch.zeros(40, 3))
            torch.testing.assert_close(data["gripper"][:, column].float(), seen, atol=1e-3, rtol=0)
    torch.testing.assert_close(data["before"], g.see_objects(attempts[0][0], torch.zeros(40, 3)))
    there = (attempts[0][0][:, :, 0, 0] < 100).sum(dim=1)
    assert set(there.tolist()) == {1, 2, 3, 4}


def predictions(model, data):
    before = data["before"][:, None].expand(-1, 24, -1, -1, -1)
    now = g.put_before(before, data["gripper"].float())
    points = model.feature_points(before.flatten(0, 1), now.flatten(0, 1)).unflatten(0, (-1, 24))
    return model.success(model.scene(data["before"]), points, data["commands"])


def ranks_right(logits, success):
    """How often a success has a higher logit than a failure."""
    pairs = logits[success][:, None] - logits[~success]
    return (pairs > 0).float().mean().item()


@torch.no_grad()
def test_training_learns_where_commands_lead():
    torch.manual_seed(8)
    data = g.collect(partial(g.wander, 2), 800, "cpu")
    fresh = g.collect(partial(g.wander, 2), 200, "cpu")
    model = g.GraspNet(24)
    with torch.enable_grad():
        g.train(model, [data], 250)
    logits, success = predictions(model, fresh), fresh["success"]
    assert ranks_right(logits[:, 0::3], success[:, 0::3]) > 0.7  # two commands ahead
    assert ranks_right(logits[:, 2::3], success[:, 2::3]) > 0.7  # at the final pose
    elsewhere = fresh | {"commands": fresh["commands"].roll(1, dims=0)}
    mixed = predictions(model, elsewhere)
    near = ranks_right(logits[:, 1::3], success[:, 1::3])
    assert near > 0.75 and near > ranks_right(mixed[:, 1::3], success[:, 1::3]) + 0.04


# ---- the comparison ----


def test_open_loop_believes_in_the_nominal_camera(monkeypatch):
    seen = []

    def plan(model, scene, points, pose):
        seen.append(points)
        return {"command": torch.full_like(pose, 0.5)}

    monkeypatch.setattr(g, "best_command", plan)
    torch.manual_seed(9)
    model, parts, start = g.GraspNet(4), random_worlds(3), 0.5 * g.random_poses(3)
    camera = g.random_cameras(3)
    end = g.open_loop(model, parts, camera, start)
    g.one_look(model, parts, camera, start)
    torch.testing.assert_close(end, start + 0.5)
    before = g.see_objects(parts, camera)
    for points, eye in zip(seen, (torch.zeros(3, 3), camera)):
        now = g.put_before(before, g.see_gripper(start, eye))
        torch.testing.assert_close(points, model.feature_points(before, now))
    assert (seen[0] - seen[1]).abs().max() > 0.01


def test_hand_designed_takes_the_top_object_across_its_long_axis():
    parts = world(bar(-4.0, 1.0), bar(3.0, -2.0, 0.6))
    found = g.hand_designed(parts, NOMINAL, None)
    assert (found[0, :2] - torch.tensor([3.0, -2.0])).norm() < 0.2
    assert abs(math.sin(found[0, 2].item() - (0.6 + math.pi / 2))) < 0.1
    assert held(parts, found) == 1


def test_what_is_lifted_stays_out_and_all_methods_get_the_same_bins(monkeypatch):
    first, present = [], []

    def method(parts, camera, start):
        torch.rand(len(present) + 1)  # draws of the method's own change nothing
        first.append((parts[0, 3], camera, start))
        present.append((parts[:, :, 0, 0] < 100).sum(dim=1))
        return start

    numbers = iter([0, 1, -1, 2] * 2)
    monkeypatch.setattr(g, "grasp", lambda parts, pose: torch.full((5,), next(numbers)))
    failures = g.pick(method, 5, 1.0, 11, "cpu")
    assert failures.tolist() == [[False] * 5, [False] * 5, [True] * 5, [False] * 5]
    assert [count.tolist() for count in present] == [[4] * 5, [3] * 5, [2] * 5, [2] * 5]
    g.pick(method, 5, 1.0, 11, "cpu")
    for early, late in zip(first[:4], first[4:]):
        for one, other in zip(early, late):
            assert torch.equal(one, other)


def test_a_share_of_every_round():
    rounds = [{"before": torch.rand(100, 2)}, {"before": torch.rand(25, 2)}]
    smaller = g.fraction_of(rounds, 0.12)
    assert [len(data["before"]) for data in smaller] == [12, 3]
