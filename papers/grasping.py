# /// script
# requires-python = ">=3.11"
# dependencies = ["matplotlib", "pillow", "torch", "tqdm"]
# ///
"""Learning Hand-Eye Coordination for Robotic Grasping with Large-Scale Data Collection
Levine, Pastor, Krizhevsky & Quillen, 2016 (ISER, arXiv:1603.02199)

    python papers/grasping.py              the experiment, three minutes on two cores
    python papers/grasping.py --smoke      a few steps, to see that it runs

The idea
    A robot looks into a bin through a camera whose position nobody has measured exactly. A network
    predicts from images how likely a grasp is to succeed if the gripper carries out a command:

        g(I_0, I_t, v)  ≈  P(the gripper holds something | it moves by v, then closes)      (sec. 3)

    I_0 is the image before the gripper comes in, I_t the image now. Since the gripper is *in* the
    image, the network can learn where a command leads without any calibration. It learns from the
    outcomes of attempts. An attempt with poses p_0 ... p_T and outcome l gives the samples
    (I_0, I_t, p_T − p_t, l): whatever the gripper did in between, p_T − p_t would have led there.

    To grasp is to look again and again (servoing, sec. 3.2). At each look the cross-entropy method
    finds the command v* with the largest prediction. It is compared with not moving at all: the
    gripper closes if g(0) / g(v*) > 0.9, is raised before it moves if the ratio is at most 0.5, and
    else moves with its fingers down. After the move it looks again, so errors are corrected.

    A small example: at the first look closing now would succeed with 0.05 and after v* with 0.60.
    The ratio is 0.08: raise and move. But the camera is turned, so the move ends beside the object.
    There closing now succeeds with 0.45 and v* with 0.70, ratio 0.64: move. At the third look the
    two are 0.68 and 0.70, ratio 0.97: close.

Symbols
    B, S     bins or images in a batch; samples or commands for each
    C        channels of a feature map
    O        objects in a bin, the last one on top of the others
    P        points at which a distance is computed
    T        commands in an attempt
    k        (B, 2 K)   feature points, K places in the image that tell where the gripper is
    q        (B, S, J, 2)   J places in the image at which the scene is read, one set per command
    v        (B, S, 4)   command: translation in cm, sine and cosine of a rotation

Built from scratch
    The network's split into scene, gripper and command, the cross-entropy method, the servoing
    rules, and the world: objects, contact and slip, cameras. The tests hold the geometry against a
    slow point-by-point version and the places of the network against loops.

Claims
    1. In 800 attempts without replacement on objects of unseen shapes, servoing fails least: at
       least 12 points less often than hand-designed grasps, 25 less than open loop, and 12 less
       than one true look at the gripper followed by one blind move. Random grasps fail most, at
       least 10 points more often than open loop. All this holds for cameras that are off as in
       training. With exact cameras the hand-designed rule is a strong rival, and the outcome has
       both numbers (Table 1, as recalled, first 30 objects: random 72.5%, hand-designed 50.8%,
       open loop 33.7%, servoing 17.5%).
    2. Trained on 3% of the bins for as many steps, servoing fails at least 15 points more often
       than trained on all of them (Table 2: failures fall from 12% of the data to all of it; here
       the difference to 12% varies too much for a claim, see Notes).
    3. Servoing's lead over open loop grows with the camera's error: it is at least 10 points
       larger with the error of training than with an exact camera, and at least 3 larger again
       with twice that error (sec. 3: no calibration is needed).

Departures
    The world is flat and simulated. A failed attempt does not disturb the bin during collection,
    and 32,000 attempts replace 800,000. Every bin has its own camera (paper: up to 14 robots).
    Commands have two directions and a rotation; the height follows from the raising rule.
    The paper adds the command to a feature map and goes on with convolutions. Here it decides where
    the feature map is read, which needs far less data. This structure knows that a gripper has a
    place and that commands move it, and its filters start with one finger's paint each. Where a
    command leads in the image it learns from successes and failures alone. The gripper's pose only
    keeps commands inside the bin. T grows from 2 to 5 (paper: to 10).
    Open loop and hand-designed use the nominal camera position (paper: a calibrated one). Open loop
    is the same network and search, given a drawing of the gripper where a nominal camera would see
    it (paper: a second network on image patches). Hand-designed sees which object is highest.
"""

import argparse
import math
import sys
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn
from tqdm import tqdm

CLOSE = 0.9  # close if staying is nearly as good as the best command (sec. 3.2)
RAISE = 0.5  # raise the gripper if staying is much worse than the best command
SIDE = 32  # pixels along each side of an image
BATCH = 32  # bins in a batch
LEARNING_RATE = 3e-3
SCALES = (0, 1, 2)  # of the camera's error

# %% [markdown]
# ## Model
# The network g(I_0, I_t, v) predicts whether the gripper will hold something if it carries out the
# command v and then closes. Its work is split so that each part is done no more often than needed:
#
# 1. `scene`: convolutions over I_0, the image before the gripper comes in. Once per attempt.
# 2. `feature_points`: filters over I_t − I_0, which is zero except where the gripper is now. Each
#    filter answers with one place in the image, the centre of mass of its response. Once per frame.
# 3. `success`: points k and command v give, by a bilinear map, a few places q in the image:
#    q = Σ_ij W_ij [k, 1]_i [v, 1]_j. The features of the scene are read at these places, and a
#    small network turns them into a prediction. Once per candidate command.
#
# Where a command leads in the image depends on the camera. No camera's position is given to the
# network: it finds W, like all other weights, from the outcomes of attempts alone.


# %%
class GraspNet(nn.Module):
    """POINTS feature points of the gripper, PLACES at which the scene is read."""

    POINTS, PLACES = 4, 8

    def __init__(self, channels: int):
        super().__init__()
        self.scene_layers = nn.Sequential(
            nn.Conv2d(2, 16, 5, stride=2, padding=2), nn.ReLU(),
            nn.Conv2d(16, channels, 3, padding=1), nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(),
        )  # fmt: skip
        self.filters = nn.Conv2d(2, self.POINTS, 5, stride=2, padding=2, bias=False)
        with torch.no_grad():  # half start with one finger's paint, half with the other
            paint = torch.tensor([1.0, -1.0]).repeat(self.POINTS // 2)
            self.filters.weight[:, 1] = paint[:, None, None] * self.filters.weight[:, 1].abs()
        self.where = nn.Parameter(self.first_places())
        self.head = nn.Sequential(
            nn.Linear(self.PLACES * (channels + 2), 128), nn.ReLU(),
            nn.Linear(128, 64), nn.ReLU(),
            nn.Linear(64, 1),
        )  # fmt: skip

    def first_places(self) -> Tensor:
        """W at the start: places about the gripper, not yet moved by the command."""
        mixture = torch.randn(self.PLACES, self.POINTS) / 4
        mixture = mixture - mixture.mean(dim=1, keepdim=True) + 1 / self.POINTS
        weights = 0.02 * torch.randn(self.PLACES, 2, 2 * self.POINTS + 1, 5)
        weights[:, 0, : self.POINTS, 4] = mixture  # horizontal place from horizontal points
        weights[:, 1, self.POINTS : -1, 4] = mixture  # vertical from vertical
        return weights

    def scene(self, before: Tensor) -> Tensor:
        """Features of images before the gripper comes in, (B, 2, 32, 32) to (B, C, 16, 16)."""
        return self.scene_layers(before)

    def feature_points(self, before: Tensor, now: Tensor) -> Tensor:
        """Where the gripper is in images (B, 2, 32, 32): (B, 2 K), in units of half an image."""
        response = F.relu(self.filters(now - before))  # (B, K, 16, 16)
        mass = response / (response.sum(dim=(2, 3), keepdim=True) + 1e-3)
        ticks = (torch.arange(SIDE // 2, device=now.device) + 0.5) / (SIDE // 4) - 1
        horizontal = (mass.sum(dim=2) * ticks).sum(dim=2)  # (B, K)
        vertical = (mass.sum(dim=3) * ticks).sum(dim=2)
        return torch.cat([horizontal, vertical], dim=1)

    def success(self, scene: Tensor, points: Tensor, commands: Tensor) -> Tensor:
        """Logits (B, S) for S commands (B, S, 4); scene (B, C, 16, 16), points (B, S or 1, 2 K)."""
        ones = torch.ones_like(commands[..., :1])
        scale = torch.tensor([1 / 7, 1 / 7, 1, 1], device=commands.device)
        straight = torch.tensor([0.0, 0, 0, 1], device=commands.device)
        v = torch.cat([commands * scale - straight, ones], dim=2)  # (B, S, 5), last 1
        k = torch.cat([points.expand(-1, v.shape[1], -1), ones], dim=2)  # (B, S, 2 K + 1)
        places = torch.einsum("bsi,jxic,bsc->bsjx", k, self.where, v)  # (B, S, J, 2)
        features = F.grid_sample(scene, places, align_corners=False)  # (B, C, S, J)
        features = features.permute(0, 2, 3, 1)  # (B, S, J, C)
        inputs = torch.cat([features, places], dim=3).flatten(2)  # (B, S, J (C + 2))
        return self.head(inputs).squeeze(2)


# %% [markdown]
# The cross-entropy method looks for the command with the largest prediction: draw 64 commands from
# a Gaussian, fit it to the best 6, and repeat three times.

# %%
SAMPLES, ELITES, ITERATIONS = 64, 6, 3


def encode(commands: Tensor) -> Tensor:
    """Commands (..., 3) of x and y in cm and an angle: the network's (x, y, sin, cos)."""
    angle = commands[..., 2:]
    return torch.cat([commands[..., :2], angle.sin(), angle.cos()], dim=-1)


def cross_entropy_method(score, low: Tensor, high: Tensor) -> Tensor:
    """Maximizes `score`, (B, S, D) to (B, S), between bounds (B, D). Returns the best, (B, D)."""
    low, high = low[:, None], high[:, None]
    mean = (low + high) / 2
    deviation = (high - low) / 4
    for _ in range(ITERATIONS):
        noise = torch.randn(len(low), SAMPLES, low.shape[2]).to(low.device)
        candidates = (mean + deviation * noise).clamp(low, high)  # (B, S, D)
        order = score(candidates).argsort(dim=1, descending=True)
        elites = candidates.take_along_dim(order[:, :ELITES, None], dim=1)  # (B, 6, D)
        mean = elites.mean(dim=1, keepdim=True)
        deviation = elites.std(dim=1, keepdim=True)
    return elites[:, 0]


def best_command(model: GraspNet, scene: Tensor, points: Tensor, pose: Tensor) -> dict[str, Tensor]:
    """v* by the cross-entropy method: "command" (B, 3), and the predictions of "best" and "stay".

    The gripper's pose (B, 3) only bounds the search: commands don't lead out of the bin.
    """
    edge = BIN / 2 - 1
    turn = torch.full_like(pose[:, 2:], math.pi / 2)
    low = torch.cat([-edge - pose[:, :2], -turn], dim=1)
    high = torch.cat([edge - pose[:, :2], turn], dim=1)
    points = points[:, None]

    def score(commands: Tensor) -> Tensor:
        return model.success(scene, points, encode(commands))

    command = cross_entropy_method(score, low, high)
    best = score(command[:, None]).sigmoid()[:, 0]
    stay = score(torch.zeros_like(command)[:, None]).sigmoid()[:, 0]
    return {"command": command, "best": best, "stay": stay}


# %% [markdown]
# ## Data
# The world is a bin seen from above. An object consists of two parts, boxes or ellipses. A part has
# six numbers: the x and y of its middle, its angle, half its length, half its width, and 1 if it is
# an ellipse. Objects are dropped at random and overlap; one with a higher number lies higher.

# %%
BIN = 14.0  # cm, side of the bin
PIXEL = 0.65  # cm
FINGER = 1.0  # cm, width of a finger
THICKNESS = 0.8  # cm, of a finger along the closing direction
OPENING = 7.0  # cm between the fingers
FRICTION = 1.0  # coefficient: the largest slope that a finger can hold
TIPPING = 2.5  # cm, the farthest that the centre of mass may be from the closing line
SLIDE = 0.25  # cm, how far from an edge of an object a fingertip still slides off
OBJECTS = 4
CAMERA_ERROR = (1.2, 1.2, math.radians(8))  # standard deviations: cm, cm, rad
FAR = 1000.0  # cm, where objects are that are not in the bin
TRAINED = ("bar", "ellipse", "tee")
UNSEEN = ("cross", "hammer", "ell")


def uniform(low: float, high: float, *shape: int) -> Tensor:
    return low + (high - low) * torch.rand(*shape)


def make_shapes(families: tuple, count: int) -> Tensor:
    """Objects of random sizes: (count, 2 parts, 6 numbers)."""
    long = uniform(1.6, 2.8, count)
    thick = uniform(0.8, 1.2, count)
    zero = torch.zeros(count)
    right = zero + math.pi / 2
    middle = (zero, zero, zero, long, thick, zero)
    ellipse = (zero, zero, zero, long, 1.2 * thick, zero + 1)
    stem = (zero, -(long + thick) / 2, right, (long + thick) / 2, thick, zero)
    across = (zero, zero, right, 0.9 * long, thick, zero)
    head = (long, zero, zero, 1.6 * thick, 1.6 * thick, zero + 1)
    foot = (long - thick, 0.6 * long, right, 0.6 * long, thick, zero)
    parts = {
        "bar": (middle, middle),
        "ellipse": (ellipse, ellipse),
        "tee": (middle, stem),
        "cross": (middle, across),
        "hammer": (middle, head),
        "ell": (middle, foot),
    }
    shapes = []
    for family in families:
        two = [torch.stack(part, dim=1) for part in parts[family]]
        shapes.append(torch.stack(two, dim=1))  # (count, 2, 6)
    kind = torch.randint(len(families), (count,))
    return torch.stack(shapes)[kind, torch.arange(count)]


def rotate(points: Tensor, angle: Tensor) -> Tensor:
    """Points (..., 2) about the origin; angle (...,)."""
    x, y = points.unbind(dim=-1)
    cos = angle.cos()
    sin = angle.sin()
    return torch.stack([cos * x - sin * y, sin * x + cos * y], dim=-1)


def arrange(shapes: Tensor, present: Tensor) -> Tensor:
    """Drops objects (B, O, 2, 6) into bins at random. Those not present (B, O) go far away."""
    bins, objects = shapes.shape[:2]
    place = uniform(2 - BIN / 2, BIN / 2 - 2, bins, objects, 1, 2).to(shapes.device)
    turn = uniform(0, 2 * math.pi, bins, objects, 1).to(shapes.device)
    place = torch.where(present[:, :, None, None], place, FAR)
    centre = rotate(shapes[..., :2], turn.expand(-1, -1, 2)) + place
    angle = shapes[..., 2] + turn
    return torch.cat([centre, angle[..., None], shapes[..., 3:]], dim=-1)


def distance(parts: Tensor, points: Tensor) -> Tensor:
    """Signed distances of points (B, P, 2) from objects (B, O, 2, 6): (B, O, P), inside < 0."""
    few = max(1, 100_000 // (parts.shape[1] * points.shape[1]))  # bins at a time: fits a cache
    pieces = []
    for some, places in zip(parts.split(few), points.split(few)):
        x, y, angle, a, b, is_round = some[..., None].unbind(dim=3)  # each (B, O, 2, 1)
        dx = places[:, None, None, :, 0] - x  # (B, O, 2, P)
        dy = places[:, None, None, :, 1] - y
        along = (angle.cos() * dx + angle.sin() * dy).abs()
        across = (angle.cos() * dy - angle.sin() * dx).abs()
        box = torch.maximum(along - a, across - b)
        ellipse = (((along / a) ** 2 + (across / b) ** 2).sqrt() - 1) * torch.minimum(a, b)
        pieces.append(torch.where(is_round > 0, ellipse, box).amin(dim=2))
    return torch.cat(pieces)


def place_in(frame: Tensor, points: Tensor) -> Tensor:
    """World places (B, P, 2) of points (P, 2) fixed in a frame (B, 3), a gripper or a camera."""
    points = points.to(frame.device).expand(len(frame), -1, -1)
    return rotate(points, frame[:, None, 2]) + frame[:, None, :2]


# %% [markdown]
# Contact and slip are decided by geometry. A grasp at a pose (x, y, angle) succeeds if
#
# 1. no fingertip lands on an object, more than a quarter of a centimetre from its edge;
# 2. both fingers meet the highest object between them with their whole width, and its outline is no
#    steeper there than friction can hold;
# 3. the object's centre of mass is near the closing line, so that it does not tip over;
# 4. no other object lies on it.

# %%
ACROSS = torch.linspace(-OPENING / 2, OPENING / 2, 29)  # from the left finger to the right one
LINES = torch.linspace(-FINGER / 2, FINGER / 2, 3)  # over the width of a finger
BETWEEN = torch.cartesian_prod(ACROSS, LINES)
REACH = (OPENING + THICKNESS) / 2
TIPS = torch.cartesian_prod(torch.tensor([-REACH, REACH]), LINES)
SPOTS = torch.cartesian_prod(torch.linspace(-0.95, 0.95, 5), torch.linspace(-0.95, 0.95, 5))


def lands_on_object(parts: Tensor, pose: Tensor) -> Tensor:
    """(B,): is a fingertip of the gripper at pose (B, 3) where an object is?"""
    return (distance(parts, place_in(pose, TIPS)) <= -SLIDE).flatten(1).any(dim=1)


def is_covered(parts: Tensor) -> Tensor:
    """(B, O): does a higher object lie on more than a tenth of the object?"""
    bins, objects = parts.shape[:2]
    spots = SPOTS.to(parts.device) * parts[..., None, 3:5]  # (B, O, 2, 25, 2)
    spots = rotate(spots, parts[..., None, 2].expand(spots.shape[:-1])) + parts[..., None, :2]
    inside = distance(parts, spots.view(bins, -1, 2)) <= 0  # (B, other, O 50)
    inside = inside.view(bins, objects, objects, -1)  # (B, other, object, 50)
    number = torch.arange(objects, device=parts.device)
    higher = (number[:, None] > number)[:, :, None]  # other lies above the object
    own = inside.diagonal(dim1=1, dim2=2).transpose(1, 2)  # (B, object, 50)
    hidden = (inside & higher).any(dim=1) & own
    return hidden.sum(dim=2) > 0.1 * own.sum(dim=2)


def centre_of_mass(parts: Tensor) -> Tensor:
    """Of objects (B, O, 2, 6), parts weighted by their areas: (B, O, 2)."""
    area = parts[..., 3] * parts[..., 4] * torch.where(parts[..., 5] > 0, math.pi / 4, 1.0)
    return (parts[..., :2] * area[..., None]).sum(dim=2) / area.sum(dim=2)[..., None]


def grasp(parts: Tensor, pose: Tensor) -> Tensor:
    """Closes grippers at pose (B, 3). Returns the number of the object that each holds, or −1."""
    inside = distance(parts, place_in(pose, BETWEEN)) <= 0
    inside = inside.unflatten(2, (len(ACROSS), len(LINES)))  # (B, O, 29, 3)
    number = torch.arange(parts.shape[1], device=parts.device)
    top = torch.where(inside.any(dim=3).any(dim=2), number, -1).amax(dim=1)  # (B,)
    bins = torch.arange(len(parts), device=parts.device)
    inside = inside[bins, top]  # (B, 29, 3)

    step = ACROSS[1] - ACROSS[0]
    left = inside.int().argmax(dim=1) * step  # (B, 3), how far the left finger travels
    right = inside.flip(1).int().argmax(dim=1) * step
    steepest = FRICTION * FINGER
    holds = (left[:, 2] - left[:, 0]).abs() <= steepest
    holds &= (right[:, 2] - right[:, 0]).abs() <= steepest
    holds &= inside.any(dim=1).all(dim=1)  # the fingers meet it with their whole width

    to_mass = rotate(centre_of_mass(parts)[bins, top] - pose[:, :2], -pose[:, 2])
    holds &= to_mass[:, 1].abs() <= TIPPING
    holds &= ~is_covered(parts)[bins, top]
    holds &= ~lands_on_object(parts, pose)
    return torch.where(holds & (top >= 0), top, -1)


# %% [markdown]
# Moves and cameras. A pose and a command are three numbers: x and y in cm along the robot's axes,
# and an angle. A robot believes that its camera looks straight at the middle of the bin. In truth
# each camera is shifted and turned a little. The image has two colours: one of the objects, and one
# of the gripper, whose two fingers are painted differently.

# %%
TICKS = (torch.arange(SIDE) - (SIDE - 1) / 2) * PIXEL
PIXELS = torch.stack([TICKS.repeat(SIDE), -TICKS.repeat_interleave(SIDE)], dim=1)  # row by row


def random_poses(count: int) -> Tensor:
    place = uniform(1 - BIN / 2, BIN / 2 - 1, count, 2)
    return torch.cat([place, uniform(0, 2 * math.pi, count, 1)], dim=1)


def random_cameras(count: int, scale: float = 1.0) -> Tensor:
    """Offsets and rotations of cameras from where the robots believe them to be: (count, 3)."""
    return scale * torch.tensor(CAMERA_ERROR) * torch.randn(count, 3)


def follow(pose: Tensor, command: Tensor) -> Tensor:
    """The pose after a command (B, 3), inside the bin. Translations are along the robot's axes."""
    target = pose + command
    place = target[:, :2].clamp(1 - BIN / 2, BIN / 2 - 1)
    return torch.cat([place, target[:, 2:]], dim=1)


def move_low(parts: Tensor, pose: Tensor, target: Tensor) -> Tensor:
    """Moves with the fingers down, and stops where a finger would run into an object."""
    way = torch.linspace(0, 1, 9).tolist()
    poses = torch.stack([torch.lerp(pose, target, part) for part in way])  # (9, B, 3)
    hits = torch.stack([lands_on_object(parts, some) for some in poses])  # (9, B)
    enters = hits[1:] & ~hits[:-1]
    first = torch.where(enters.any(dim=0), enters.int().argmax(dim=0), 8)
    return poses[first, torch.arange(len(pose), device=pose.device)]


def see_objects(parts: Tensor, camera: Tensor) -> Tensor:
    """Images (B, 2, 32, 32) without a gripper. Higher objects are brighter."""
    cover = (0.5 - distance(parts, place_in(camera, PIXELS)) / PIXEL).clamp(0, 1)  # (B, O, 1024)
    image = torch.zeros_like(cover[:, 0])
    for number in range(parts.shape[1]):
        shade = 0.4 + 0.6 * (number + 1) / parts.shape[1]
        image = image + cover[:, number] * (shade - image)
    image = image.view(-1, SIDE, SIDE)
    return torch.stack([image, torch.zeros_like(image)], dim=1)


def see_gripper(pose: Tensor, camera: Tensor) -> Tensor:
    """The fingers alone (B, 32, 32): the left one is painted +1, the right one −1."""
    pixels = place_in(camera, PIXELS) - pose[:, None, :2]
    x, y = rotate(pixels, -pose[:, None, 2]).unbind(dim=2)
    fingers = []
    for middle in (-REACH, REACH):
        outside = torch.maximum((x - middle).abs() - THICKNESS / 2, y.abs() - 0.8)
        fingers.append((0.5 - outside / PIXEL).clamp(0, 1))
    return (fingers[0] - fingers[1]).view(-1, SIDE, SIDE)


def put_before(before: Tensor, gripper: Tensor) -> Tensor:
    """The image now: the gripper (..., 32, 32) hides what is under it in `before`."""
    objects = before[..., 0, :, :] * (1 - gripper.abs())
    return torch.stack([objects, gripper], dim=-3)


# %% [markdown]
# ## Training
# First the controller, because half of the data are collected with it (sec. 3.2). It compares the
# prediction for closing now, g(I_t, 0), with that for the best command, g(I_t, v*):
#
# - ratio above 0.9: hardly any command is better. Close.
# - ratio of 0.5 or less: the gripper is far from a good place. Raise it, and move over obstacles.
# - in between: move with the fingers down. They stop where they would run into an object.


# %%
def closes(stay: Tensor, best: Tensor) -> Tensor:
    return stay / best > CLOSE


def rises(stay: Tensor, best: Tensor) -> Tensor:
    return stay / best <= RAISE


@torch.no_grad()
def servo(model: GraspNet, steps: int, parts: Tensor, camera: Tensor, pose: Tensor) -> list[dict]:
    """At most `steps` commands for each of B grippers, with a look before each.

    Returns a dictionary for every look ("pose", "best", "stay", "closed", "raised"), and at last
    one with the final "pose" (B, 3).
    """
    before = see_objects(parts, camera)
    scene = model.scene(before)
    closed = torch.zeros(len(parts), dtype=torch.bool, device=parts.device)
    history = []
    for _ in range(steps):
        now = put_before(before, see_gripper(pose, camera))
        plan = best_command(model, scene, model.feature_points(before, now), pose)
        closed = closed | closes(plan["stay"], plan["best"])
        raised = rises(plan["stay"], plan["best"])
        history.append(plan | {"pose": pose, "closed": closed, "raised": raised})

        target = follow(pose, plan["command"])
        low = move_low(parts, pose, target)
        moved = torch.where(raised[:, None], target, low)
        pose = torch.where(closed[:, None], pose, moved)
    history.append({"pose": pose})
    return history


def wander(steps: int, parts: Tensor, camera: Tensor, pose: Tensor) -> list[dict]:
    """Random commands, with the gripper raised. They look at nothing."""
    history = [{"pose": pose}]
    for _ in range(steps):
        command = torch.tensor([3.0, 3.0, 0.8]) * torch.randn(len(pose), 3)
        pose = follow(pose, command.to(pose.device))
        history.append({"pose": pose})
    return history


# %% [markdown]
# An attempt with poses p_0 ... p_T gives T + 1 samples: the image at p_t, the command p_T − p_t
# that would have led straight to the final pose, and whether the grasp at p_T succeeded. The last
# command is 0. In every bin a robot makes eight attempts; what it lifts is put back.

# %%
ATTEMPTS = 8


def collect(policy, bins: int, device: str) -> dict[str, Tensor]:
    """Eight attempts in each of so many bins. policy: `servo` or `wander`, given its settings.

    Returns "before" (B, 2, 32, 32), "gripper" (B, 8 (T + 1), 32, 32), which is all that a camera
    sees; "commands" (B, 8 (T + 1), 4), encoded; and "success" (B, 8 (T + 1)).
    """
    shapes = make_shapes(TRAINED, bins * OBJECTS).unflatten(0, (bins, OBJECTS)).to(device)
    count = torch.randint(1, OBJECTS + 1, (bins, 1))
    present = torch.rand(bins, OBJECTS).argsort(dim=1) < count
    parts = arrange(shapes, present.to(device))
    camera = random_cameras(bins).to(device)

    grippers, commands, successes = [], [], []
    for _ in range(ATTEMPTS):
        start = random_poses(bins).to(device)
        pieces = []
        for some in torch.arange(bins, device=device).split(250):  # fits a cache
            history = policy(parts[some], camera[some], start[some])
            pieces.append(torch.stack([moment["pose"] for moment in history]))
        poses = torch.cat(pieces, dim=1)  # (T + 1, B, 3)
        success = grasp(parts, poses[-1]) >= 0
        for pose in poses:
            grippers.append(see_gripper(pose, camera).half())
            commands.append(encode(poses[-1] - pose))
            successes.append(success)
    return {
        "before": see_objects(parts, camera),
        "gripper": torch.stack(grippers, dim=1),
        "commands": torch.stack(commands, dim=1),
        "success": torch.stack(successes, dim=1),
    }


def train(model: GraspNet, rounds: list[dict], steps: int) -> None:
    """Log loss on random samples: 24 from each of 32 bins, so that I_0 is convolved only once."""
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    sizes = torch.tensor([float(len(data["before"])) for data in rounds])
    for _ in tqdm(range(steps), desc="training", leave=False, disable=None):
        data = rounds[torch.multinomial(sizes, 1).item()]
        bins, samples = data["success"].shape
        rows = torch.randint(bins, (BATCH, 1))
        columns = torch.randint(samples, (BATCH, 24))
        before = data["before"][rows[:, 0]]  # (B, 2, 32, 32)
        gripper = data["gripper"][rows, columns].float()  # (B, S, 32, 32)
        commands = data["commands"][rows, columns]  # (B, S, 4)
        success = data["success"][rows, columns].float()  # (B, S)

        repeated = before[:, None].expand(-1, 24, -1, -1, -1)  # (B, S, 2, 32, 32)
        now = put_before(repeated, gripper)
        points = model.feature_points(repeated.flatten(0, 1), now.flatten(0, 1))
        points = points.unflatten(0, (BATCH, 24))  # (B, S, 2 K)
        logits = model.success(model.scene(before), points, commands)
        loss = F.binary_cross_entropy_with_logits(logits, success)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


# %% [markdown]
# Data as in sec. 5. Half of the attempts are random. The other half comes in four rounds, in which
# the network servoes. It is refit after each round, and the number of commands grows. The fourth
# refit is the network of the experiments; it starts afresh.


# %%
def collect_rounds(bins: int, steps: int, channels: int, device: str) -> list[dict]:
    rounds = [collect(partial(wander, 2), bins, device)]
    model = GraspNet(channels).to(device)
    train(model, rounds, 2 * steps)
    for length in tqdm((2, 3, 4, 5), desc="rounds", disable=None):
        rounds.append(collect(partial(servo, model, length), max(1, bins // 4), device))
        if length < 5:
            train(model, rounds, steps)
    return rounds


def fraction_of(rounds: list[dict], share: float) -> list[dict]:
    """The same share of each round's bins."""
    smaller = []
    for data in rounds:
        bins = max(1, round(share * len(data["before"])))
        smaller.append({name: values[:bins] for name, values in data.items()})
    return smaller


def fit(rounds: list[dict], steps: int, channels: int) -> GraspNet:
    model = GraspNet(channels).to(rounds[0]["before"].device)
    train(model, rounds, steps)
    return model


# %% [markdown]
# ## Experiments
# Every method gets the objects in the bin, but looks at them only through the camera, and the
# gripper's first pose. It returns the pose at which the gripper closes.

# %%
LOOKS = 8  # at most, in an attempt


def servoing(model: GraspNet, parts: Tensor, camera: Tensor, start: Tensor) -> Tensor:
    return servo(model, LOOKS, parts, camera, start)[-1]["pose"]


@torch.no_grad()
def open_loop(model: GraspNet, parts: Tensor, camera: Tensor, start: Tensor) -> Tensor:
    """The same network and search, once, without looking at the gripper.

    The network is shown the gripper where a camera in its nominal position would see it. The best
    command is carried out whatever happens, with the gripper raised.
    """
    before = see_objects(parts, camera)
    nominal = torch.zeros_like(camera)
    believed = put_before(before, see_gripper(start, nominal))
    points = model.feature_points(before, believed)
    plan = best_command(model, model.scene(before), points, start)
    return follow(start, plan["command"])


@torch.no_grad()
def one_look(model: GraspNet, parts: Tensor, camera: Tensor, start: Tensor) -> Tensor:
    """As open loop, but with the true image of the gripper at the start."""
    before = see_objects(parts, camera)
    now = put_before(before, see_gripper(start, camera))
    points = model.feature_points(before, now)
    plan = best_command(model, model.scene(before), points, start)
    return follow(start, plan["command"])


def hand_designed(parts: Tensor, camera: Tensor, start: Tensor) -> Tensor:
    """Grasps the highest object at its middle, across its long axis, by the nominal camera."""
    image = see_objects(parts, camera)[:, 0].flatten(1)  # (B, 1024), brighter is higher
    top = image > image.amax(dim=1, keepdim=True) - 0.06
    weight = top / top.sum(dim=1, keepdim=True)
    pixels = PIXELS.to(image.device)
    centre = weight @ pixels  # (B, 2)
    x, y = (pixels - centre[:, None]).unbind(dim=2)
    spread = (weight * (x * x - y * y)).sum(dim=1)
    mixed = (weight * x * y).sum(dim=1)
    long_axis = torch.atan2(2 * mixed, spread) / 2
    return torch.cat([centre, (long_axis + math.pi / 2)[:, None]], dim=1)


def at_random(parts: Tensor, camera: Tensor, start: Tensor) -> Tensor:
    return random_poses(len(parts)).to(parts.device)


# %% [markdown]
# Table 1 is without replacement: what a method lifts stays out of the bin. Each bin has four
# objects of shapes that were not trained on, a robot of its own, and four attempts. Before each
# attempt it is shaken, so that all objects left lie in new places. Bins, cameras and starts are the
# same for all methods, but after the first success the bins contain different objects.


# %%
def pick(method, bins: int, scale: float, seed: int, device: str) -> Tensor:
    """Did the attempts fail? (4 attempts, B bins). scale: of the camera's error."""
    torch.manual_seed(seed)
    shapes = make_shapes(UNSEEN, bins * OBJECTS).unflatten(0, (bins, OBJECTS)).to(device)
    camera = random_cameras(bins, scale).to(device)
    present = torch.ones(bins, OBJECTS, dtype=torch.bool, device=device)
    failures = []
    for attempt in range(OBJECTS):
        torch.manual_seed(10 * seed + attempt)
        parts = arrange(shapes, present)
        start = random_poses(bins).to(device)
        caught = grasp(parts, method(parts, camera, start))  # (B,)
        present = present & (torch.arange(OBJECTS, device=device) != caught[:, None])
        failures.append(caught < 0)
    return torch.stack(failures)


def failure_rate(method, bins: int, scale: float, seed: int, device: str) -> float:
    """In percent of all attempts."""
    return 100 * pick(method, bins, scale, seed, device).float().mean().item()


def compare(models: dict[str, GraspNet], bins: int, seed: int, device: str) -> dict[tuple, float]:
    """Failure rates in percent: (method, scale of the camera's error) -> rate.

    models: "all" of the data, and "little" of them.
    """
    methods = {
        "random": at_random,
        "hand-designed": hand_designed,
        "open loop": partial(open_loop, models["all"]),
        "one look": partial(one_look, models["all"]),
        "servoing": partial(servoing, models["all"]),
        "servoing, 3% of the data": partial(servoing, models["little"]),
    }
    rates = {}
    for name, method in methods.items():
        for scale in (1,) if name.endswith("data") else SCALES:
            rates[name, scale] = failure_rate(method, bins, scale, seed, device)
    return rates


# %% [markdown]
# For the figure: a servoing attempt in a bin full of objects of unseen shapes. Out of many attempts
# we show the first one that began by raising the gripper, closed at the fourth look and held
# something.


# %%
def typical_attempt(model: GraspNet, bins: int, seed: int, device: str) -> dict:
    """One attempt: "parts" (O, 2, 6), "camera" (3,), "before" (2, 32, 32), "caught" (a number or
    −1), and "looks", a list with "pose" (3,), "best", "stay" and "raised"."""
    torch.manual_seed(seed)
    shapes = make_shapes(UNSEEN, bins * OBJECTS).unflatten(0, (bins, OBJECTS)).to(device)
    parts = arrange(shapes, torch.ones(bins, OBJECTS, dtype=torch.bool, device=device))
    camera = random_cameras(bins).to(device)
    history = servo(model, LOOKS, parts, camera, random_poses(bins).to(device))
    caught = grasp(parts, history[-1]["pose"])

    closed = torch.stack([look["closed"] for look in history[:-1]])  # (LOOKS, B)
    open_looks = (~closed).sum(dim=0)  # before the one that closes
    suits = (open_looks == 3) & (caught >= 0) & history[0]["raised"]
    chosen = suits.int().argmax().item()  # the first, or bin 0 where there is none
    last = min(open_looks[chosen].item(), LOOKS - 1)
    looks = []
    for look in history[: last + 1]:
        looks.append(
            {name: look[name][chosen].cpu() for name in ("pose", "best", "stay", "raised")}
        )
    return {
        "parts": parts[chosen].cpu(),
        "camera": camera[chosen].cpu(),
        "before": see_objects(parts, camera)[chosen].cpu(),
        "caught": caught[chosen].item(),
        "looks": looks,
    }


# %% [markdown]
# ## Figure

# %%
plt.rcParams.update({
    "figure.figsize": (9, 6), "figure.constrained_layout.use": True, "savefig.dpi": 150,
    "font.size": 11, "axes.titlesize": 12, "axes.titlelocation": "left", "legend.frameon": False,
    "axes.spines.top": False, "axes.spines.right": False,
    "axes.prop_cycle": plt.cycler(color="#0072B2 #D98200 #009E73 #AA4499 #8C564B #56B4E9".split()),
})  # fmt: skip
COLOURS = {
    "random": "0.7",
    "hand-designed": "C2",
    "open loop": "C1",
    "one look": "0.45",
    "servoing": "C0",
    "servoing, 3% of the data": "C5",
}
TINTS = ["#C9B79C", "#E3CFA9", "#B5C2A0", "#D8B4A0", "#BFB8C8"]  # of objects
HELD = "#8FC1E3"


def outline(part: Tensor) -> Tensor:
    """The outline of a part (6,): (P, 2)."""
    x, y, angle, a, b, is_round = part.unbind()
    if is_round:
        turn = torch.linspace(0, 2 * math.pi, 60)
        corners = torch.stack([a * turn.cos(), b * turn.sin()], dim=1)
    else:
        corners = torch.tensor([[1.0, 1], [-1, 1], [-1, -1], [1, -1]]) * torch.stack([a, b])
    return rotate(corners, angle) + torch.stack([x, y])


def finger_outlines(pose: Tensor, gap: tuple[float, float]) -> list[Tensor]:
    """Both fingers of a gripper at pose (3,), closed to gap, the inner edges' x in its frame."""
    fingers = []
    for middle in (gap[0] - THICKNESS / 2, gap[1] + THICKNESS / 2):
        half = torch.tensor([THICKNESS / 2, 0.8])
        corners = torch.tensor([[1.0, 1], [-1, 1], [-1, -1], [1, -1]]) * half
        corners = corners + torch.tensor([middle, 0.0])
        fingers.append(rotate(corners, pose[2]) + pose[:2])
    return fingers


def closed_gap(attempt: dict) -> tuple[float, float]:
    """How far the fingers close at the attempt's last pose."""
    pose = attempt["looks"][-1]["pose"]
    caught = attempt["caught"]
    if caught < 0:
        return -THICKNESS / 2, THICKNESS / 2
    object_ = attempt["parts"][None, caught : caught + 1]
    inside = (distance(object_, place_in(pose[None], BETWEEN)) <= 0)[0, 0]
    touched = BETWEEN[inside, 0]
    return touched.min().item(), touched.max().item()


def draw_strip(axis: plt.Axes, attempt: dict) -> None:
    """The looks of one attempt from left to right, each with its camera image below."""
    looks = attempt["looks"]
    width = BIN + 1
    for number, look in enumerate(looks):
        left = number * width
        shift = torch.tensor([left, 0.0])
        is_last = number == len(looks) - 1
        corner = (left - BIN / 2, -BIN / 2)
        axis.add_patch(plt.Rectangle(corner, BIN, BIN, facecolor="0.96", edgecolor="0.6"))
        for order, object_ in enumerate(attempt["parts"]):
            tint = HELD if is_last and order == attempt["caught"] else TINTS[order % len(TINTS)]
            pieces = [outline(part) + shift for part in object_]
            for piece in pieces:
                axis.fill(*piece.T, facecolor=tint, edgecolor="0.35", linewidth=1.2)
            for piece in pieces:
                axis.fill(*piece.T, facecolor=tint)  # hides outlines inside the object
        gap = closed_gap(attempt) if is_last else (-OPENING / 2, OPENING / 2)
        for finger, colour in zip(finger_outlines(look["pose"], gap), ("C0", "0.15")):
            axis.fill(*(finger + shift).T, color=colour, zorder=5)
        so_far = torch.stack([earlier["pose"][:2] for earlier in looks[: number + 1]]) + shift
        axis.plot(*so_far.T, ".-", color="C0", linewidth=1, markersize=4, zorder=4)

        now = put_before(
            attempt["before"], see_gripper(look["pose"][None], attempt["camera"][None])
        )
        picture = to_colours(now[0])
        size = 0.62 * BIN
        bottom = -BIN / 2 - size - 0.5
        axis.imshow(
            picture.numpy(), extent=(left - size / 2, left + size / 2, bottom, bottom + size)
        )
        corner = (left - size / 2, bottom)
        axis.add_patch(plt.Rectangle(corner, size, size, facecolor="none", edgecolor="0.6"))
        ratio = look["stay"] / look["best"]
        decision = "raise and move" if look["raised"] else "move"
        if is_last:
            decision = "close"
        words = f"closing now {look['stay']:.2f}\nbest command {look['best']:.2f}\n"
        words += f"ratio {ratio:.2f}: {decision}"
        axis.text(left, BIN / 2 + 0.5, words, ha="center", va="bottom", fontsize=9)
    axis.set(xlim=(-BIN / 2, len(looks) * width - BIN / 2), ylim=(bottom, BIN / 2 + 4.5))
    axis.set_aspect("equal")
    axis.axis("off")


def to_colours(image: Tensor) -> Tensor:
    """A camera's two colours (2, 32, 32) as RGB (32, 32, 3): left finger blue, right one black."""
    objects, gripper = image
    grey = 1 - 0.75 * objects
    picture = torch.stack([grey, grey, grey], dim=2)
    blue = torch.tensor([0.0, 0.45, 0.7])
    left, right = gripper.clamp(min=0)[..., None], (-gripper).clamp(min=0)[..., None]
    return (picture * (1 - left - right) + left * blue).clamp(0, 1)


def draw(attempt: dict, rates: dict[tuple, float], title: str, path: Path) -> None:
    """Above, one attempt among objects of unseen shapes, look by look: the world from above, and
    the image that the camera gives, from which alone the network predicts. Below, failure rates
    of all methods, and how they grow with the error of the camera's position.

    rates: those of `compare`.
    """
    figure, axes = plt.subplot_mosaic("hh;be", figsize=(9, 7.5), height_ratios=[1.9, 1])

    draw_strip(axes["h"], attempt)
    axes["h"].set_title("Predicted success, the gripper's way, and what the camera sees")

    names = list(COLOURS)
    for row, name in enumerate(names):
        rate = rates[name, 1]
        axes["b"].barh(row, rate, color=COLOURS[name])
        axes["b"].text(rate + 1, row, f"{rate:.0f}", va="center")
        axes["b"].text(1, row, name.removeprefix("servoing, "), va="center", fontsize=9)
    axes["b"].set_yticks([])
    axes["b"].set(title="Failed attempts", xlabel="failure rate (%)", xlim=(0, 108))

    for name in ("hand-designed", "open loop", "one look", "servoing"):
        values = [rates[name, scale] for scale in SCALES]
        axes["e"].plot(SCALES, values, "o-", color=COLOURS[name], label=name)
    axes["e"].set(title="With a camera that is farther off", ylim=(0, 100))
    axes["e"].set(xlabel="camera's error (1: as in training)", ylabel="failure rate (%)")
    axes["e"].set_xticks(SCALES)
    axes["e"].legend(fontsize=9)

    figure.suptitle(title)
    figure.savefig(path)


# %% [markdown]
# The film shows the same attempt. Between two looks the gripper moves in a straight line; at the
# end it closes, and what it holds turns blue.

# %%
SCALE = 20  # pixels of the film to a centimetre


def paint(attempt: dict, pose: Tensor, gap: tuple, look: dict, held: bool) -> Image.Image:
    """One frame: the world on the left, the camera's image and two predictions on the right."""
    side = int(BIN * SCALE)
    picture = Image.new("RGB", (side + 170, side), "white")
    pen = ImageDraw.Draw(picture)
    font = ImageFont.load_default(13)

    def polygon(corners: Tensor, colour: str) -> None:
        x = side / 2 + SCALE * corners[:, 0]
        y = side / 2 - SCALE * corners[:, 1]
        pen.polygon(torch.stack([x, y], dim=1).flatten().tolist(), fill=colour)

    pen.rectangle((0, 0, side - 1, side - 1), fill="#F4F4F4", outline="#999999")
    for order, object_ in enumerate(attempt["parts"]):
        tint = HELD if held and order == attempt["caught"] else TINTS[order % len(TINTS)]
        for part in object_:
            wider = part + torch.tensor([0, 0, 0, 0.06, 0.06, 0])
            polygon(outline(wider), "#666666")
        for part in object_:
            polygon(outline(part), tint)
    for finger, colour in zip(finger_outlines(pose, gap), ("#0072B2", "#222222")):
        polygon(finger, colour)

    now = put_before(attempt["before"], see_gripper(pose[None], attempt["camera"][None]))
    seen = Image.fromarray((255 * to_colours(now[0])).byte().numpy())
    picture.paste(seen.resize((150, 150), Image.Resampling.NEAREST), (side + 10, 24))
    pen.text((side + 10, 4), "the camera's image", fill="black", font=font)
    for row, (words, value) in enumerate((("closing now", "stay"), ("best command", "best"))):
        top = 184 + 44 * row
        pen.text((side + 10, top), f"{words}: {look[value]:.2f}", fill="black", font=font)
        end = side + 10 + 150 * look[value].item()
        pen.rectangle((side + 10, top + 20, end, top + 32), fill="#0072B2")
    return picture


def film(attempt: dict, path: Path) -> None:
    """The attempt as a GIF that repeats."""
    looks = attempt["looks"]
    wide = (-OPENING / 2, OPENING / 2)
    frames = []
    for look, following in zip(looks[:-1], looks[1:]):
        frames += [paint(attempt, look["pose"], wide, look, False)] * 4
        for part in torch.linspace(0, 1, 9)[1:-1].tolist():
            pose = torch.lerp(look["pose"], following["pose"], part)
            frames.append(paint(attempt, pose, wide, look, False))
    last = looks[-1]
    frames += [paint(attempt, last["pose"], wide, last, False)] * 4
    end = closed_gap(attempt)
    for part in torch.linspace(0, 1, 6).tolist():
        gap = (wide[0] + part * (end[0] - wide[0]), wide[1] + part * (end[1] - wide[1]))
        frames.append(paint(attempt, last["pose"], gap, last, part == 1))
    frames += frames[-1:] * 10
    frames = [frame.quantize(48) for frame in frames]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=90, loop=0)


# %% [markdown]
# ## Run


# %%
def positive(text: str) -> int:
    """For argparse: a whole number above 0."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs"), help="where the figure goes")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bins", type=positive, default=2000, help="8 random attempts in each")
    parser.add_argument("--steps", type=positive, default=1200, help="training steps of a network")
    parser.add_argument("--channels", type=positive, default=32, help="of the convolutions")
    parser.add_argument("--smoke", action="store_true", help="a few steps, to see that it runs")
    args = parser.parse_args(argv)
    if not 0 <= args.seed < 2**32:
        parser.error(f"--seed {args.seed}: a seed is a whole number from 0 to {2**32 - 1}")
    try:
        torch.zeros(1, device=args.device)
        args.out.mkdir(parents=True, exist_ok=True)
    except (RuntimeError, AssertionError, OSError) as error:
        reason = str(error).splitlines()[0]
        parser.error(f"--device {args.device}, --out {args.out}: {reason}")
    return args


def main(argv: list[str] | None = None) -> dict:
    args = parse_args(argv)
    torch.manual_seed(args.seed)
    bins = min(8, args.bins) if args.smoke else args.bins
    steps = min(6, args.steps) if args.smoke else args.steps
    tests = 4 if args.smoke else 200  # bins

    rounds = collect_rounds(bins, max(1, steps // 7), args.channels, args.device)
    models = {
        "all": fit(rounds, steps, args.channels),
        "little": fit(fraction_of(rounds, 0.03), steps, args.channels),
    }
    rates = compare(models, tests, args.seed + 1, args.device)
    attempt = typical_attempt(models["all"], tests, args.seed + 2, args.device)

    at_work = {name: rates[name, 1] for name in COLOURS}
    servo_rate, little = at_work["servoing"], at_work["servoing, 3% of the data"]
    leads = {scale: rates["open loop", scale] - rates["servoing", scale] for scale in SCALES}
    title = f"Unseen shapes: servoing fails in {servo_rate:.0f}% of {tests * OBJECTS} attempts"
    draw(attempt, rates, title, args.out / "grasping.png")
    film(attempt, args.out / "grasping.gif")

    claims = [
        (
            f"failures in {tests * OBJECTS} attempts: random {at_work['random']:.1f}%, open loop "
            f"{at_work['open loop']:.1f}%, one look {at_work['one look']:.1f}%, hand-designed "
            f"{at_work['hand-designed']:.1f}%, servoing {servo_rate:.1f}%; with exact cameras "
            f"hand-designed {rates['hand-designed', 0]:.1f}%, servoing {rates['servoing', 0]:.1f}%",
            at_work["hand-designed"] >= servo_rate + 12
            and at_work["open loop"] >= servo_rate + 25
            and at_work["one look"] >= servo_rate + 12
            and at_work["random"] >= at_work["open loop"] + 10
            and at_work["random"] == max(at_work.values()),
        ),
        (
            f"servoing fails in {little:.1f}% with 3% of the bins, in {servo_rate:.1f}% with all",
            little >= servo_rate + 15,
        ),
        (
            f"servoing's lead over open loop: {leads[0]:.1f} points with exact cameras, "
            f"{leads[1]:.1f} with the error of training, {leads[2]:.1f} with twice that error",
            leads[1] >= leads[0] + 10 and leads[2] >= leads[1] + 3,
        ),
    ]
    for number, (outcome, holds) in enumerate(claims, 1):
        verdict = "not judged" if args.smoke else "holds" if holds else "does not hold"
        print(f"claim {number} {verdict}: {outcome}")
    print(f"figure: {args.out / 'grasping.png'}")
    headline = f"servoing fails in {servo_rate:.0f}% of attempts on objects of unseen shapes"
    return {"data": "a simulated bin", "headline": headline, "claims": claims}


if __name__ == "__main__":
    if hasattr(sys.stdout, "reconfigure"):  # a notebook's has not
        sys.stdout.reconfigure(errors="replace")  # a terminal without "θ" shows "?"
    main([] if "ipykernel" in sys.modules else None)  # a notebook has no command line


# %% [markdown]
# ## Notes
# - A small version of the paper's own design did not learn here in the time there was. Five
#   convolutions with the command added to the feature map ranked a success above a failure in 52%
#   of held-out pairs after a minute (233,000 samples). Reading the map at places that depend on
#   gripper and command, with a softmax over the image for the gripper, came to 61%. With centres of
#   mass of I_t − I_0 instead of the softmax it was 84% after 12 seconds. The first of these trials
#   had one attempt per bin, the others eight.
# - Places must start near the gripper. Scattered twice as widely, along and across the fingers'
#   line, they stayed at 56 and 59% of pairs after 220 steps, where the narrow start came to 74 and
#   75%. A whole run with the wide start and random signs of the filters ended with servoing failing
#   in 53% of attempts (seed 10, all the data).
# - The search must be bounded. Without bounds it went for commands that lead out of the image, on
#   which the network was never trained. Servoing then failed in 97% of attempts, random grasps
#   in 94%.
# - With cameras placed exactly, hand-designed grasps failed in 27, 24 and 25% of attempts and
#   servoing in 23, 36 and 30% (seeds 0, 1, 2): the rule always takes the top object, and the
#   network is not perfect. When the cameras are off as in training, the rule failed in 54, 54 and
#   52% and servoing in 27, 35 and 33%.
# - Table 2 with the paper's 12% was tried first. In three whole runs, servoing failed 50, 24 and 6
#   points more often with 12% of the bins than with all of them: the network trained on little data
#   varies too much for a claim. On exploration seed 13 it failed in 48% of attempts with 12% after
#   1,200 training steps, and in 38% after 400. With 3% it was 73% after 1,200 steps and 68% after
#   400, so the gap of claim 2 does not come from training too long.
# - Open loop lost more to the camera than in the paper, where the calibration was the true one. Its
#   failures with an exact camera, 45% on seed 10, are nearer to the paper's 33.7%.
# - In an early world, most failures that remained were of one kind: the fingers met an outline that
#   was too steep. Landing on objects or taking a covered one was rare (2 to 6% of attempts).
