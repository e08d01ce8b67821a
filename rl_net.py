# /// script
# requires-python = ">=3.11"
# dependencies = ["torch", "gymnasium[classic-control]", "numpy", "pillow", "matplotlib", "tqdm"]
# ///
"""Human-level control through deep reinforcement learning: a deep Q-network balances a pole
Mnih et al., 2015 (Nature 518)

    python rl_net.py              the experiment, half a minute on two cores
    python rl_net.py --smoke      a few steps, to see that it runs

The idea
    Q(s, a) is the return still to come when we take action a in state s and act as well as possible
    ever after, where a reward one step later counts γ times as much. It is the one function that
    agrees with itself (Bellman's equation):

        Q(s, a) = r + γ max_a' Q(s', a'),    or just r if the episode terminates with this step

    So we play, and after every step we pull the network's Q(s, a) a little towards the right-hand
    side. Done naively, this is regression on examples of which each is nearly the one before, with
    targets that move at every step. DQN has two cures. A replay memory keeps past transitions, and
    batches are drawn from it at random. A target network, a copy of Q that is renewed only now and
    then, computes the right-hand side. papers/dqn.py measures what each of the two is worth.

    A small example: γ = 0.9, r = 1, and the target network gives the two actions in s' the values
    2 and 5. The target for Q(s, a) is 1 + 0.9 · 5 = 5.5, and 1 if the episode terminated.

    An episode can stop for two reasons. If the pole fell, it has terminated, and nothing is to
    come. If the time is up, it was truncated: we only stopped watching, and γ max Q(s', a') still
    belongs in the target.

Symbols
    s, a, r, s'  state, action, reward, next_state   (B, 4), (B,), (B,), (B, 4)    a transition
    Q, Q⁻        online, target                      nn.Module            the network and its copy
    γ            GAMMA                               scalar               discount
    ε            epsilon                             scalar               chance of a random action

Built from scratch
    Algorithm 1: replay memory, targets, ε-greedy play, renewal of the target network. The
    environment, autograd and Adam are the libraries'. Tests hold the loss against a computation by
    hand, the memory against a deque, and the whole algorithm against the exact Q of a small Markov
    decision process.

Claims
    1. DQN solves CartPole-v1, with a mean return of 475 or more over 100 new episodes, within 60
       seconds of training (abstract: one algorithm learns to play many games as well as a human).
    2. Trained on episodes of 500 steps at most, DQN's network balances for 5,000.

Departures
    A state of four numbers instead of pixels, so the network is a multilayer perceptron. Adam
    instead of RMSProp, with a learning rate that falls to 0. The error isn't clipped. A gradient
    step follows every step of the game (paper: every fourth). In training the reward is −1 for the
    fall and 0 otherwise (an option of gymnasium's), so Q of a balanced pole is 0, where the network
    starts, rather than 1/(1 − γ) = 100. Evaluations count returns as ever, one for each step. As in
    the paper's Extended Data Table 3, the network that did best in its checks (30 greedy episodes,
    every 500 steps) is judged; the 100 final episodes are new.
"""

import argparse
import copy
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import gymnasium
import matplotlib.pyplot as plt
import numpy as np
import torch
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from PIL import Image, ImageDraw
from torch import Tensor, nn
from tqdm import tqdm

GAMMA = 0.99
MEMORY = 5000  # transitions
BATCH = 128
LEARNING_RATE = 5e-4  # 1e-3 did as well, see Notes
SYNC = 40  # steps between two renewals of the target network

# %% [markdown]
# ## Model
# The network sees the state and gives a Q for each action. The four numbers of the state differ in
# size: what is much for an angle in radians is little for a position in metres.


# %%
class Units(nn.Module):
    """The state in units of what is much for each number: m, m/s, tenths of a radian, rad/s."""

    def forward(self, state: Tensor) -> Tensor:
        return state * torch.tensor([1.0, 1.0, 10.0, 1.0], device=state.device)


def q_network() -> nn.Sequential:
    """State (B, 4) in metres, radians and seconds -> Q of both actions, left and right (B, 2)."""
    return nn.Sequential(
        Units(), nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2)
    )


def td_loss(online: nn.Module, target: nn.Module, transitions: tuple[Tensor, ...]) -> Tensor:
    """Mean squared error of Q(s, a) against r + γ max_a' Q⁻(s', a'), or r if terminated."""
    state, action, reward, next_state, terminated = transitions
    with torch.no_grad():  # the target is a number to hit, not something to move
        future = target(next_state).amax(dim=1)  # (B,)
        wanted = reward + GAMMA * (1 - terminated) * future  # (B,)
    q = online(state).gather(1, action[:, None])[:, 0]  # (B,)
    return ((q - wanted) ** 2).mean()


# %% [markdown]
# ## Data
# The network's own experience. A truncated episode is not marked: its last transition has a future
# as any other.


# %%
class Memory:
    """The last `capacity` transitions (s, a, r, s', terminated): the newest replaces the oldest."""

    def __init__(self, capacity: int, state_size: int, device: str = "cpu") -> None:
        self.capacity = capacity
        self.count = 0  # transitions ever added
        self.state = torch.zeros(capacity, state_size, device=device)
        self.action = torch.zeros(capacity, dtype=torch.long, device=device)
        self.reward = torch.zeros(capacity, device=device)
        self.next_state = torch.zeros(capacity, state_size, device=device)
        self.terminated = torch.zeros(capacity, device=device)

    def add(
        self, state: Tensor, action: int, reward: float, next_state: Tensor, terminated: bool
    ) -> None:
        slot = self.count % self.capacity
        self.state[slot] = state
        self.action[slot] = action
        self.reward[slot] = reward
        self.next_state[slot] = next_state
        self.terminated[slot] = terminated
        self.count += 1

    def sample(self, batch: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Drawn uniformly: states (B, state_size), the rest (B,)."""
        filled = min(self.count, self.capacity)
        slot = torch.randint(filled, (batch,), device=self.action.device)  # (B,)
        parts = (self.state, self.action, self.reward, self.next_state, self.terminated)
        return tuple(part[slot] for part in parts)


# %% [markdown]
# ## Training
# Algorithm 1. The network starts with random actions and relies more and more on its own Q.

# %%
CHECKS = 24  # in a training
LIMIT = 500  # steps, after which CartPole-v1 truncates an episode
SOLVED = 475  # gymnasium's reward_threshold for CartPole-v1


def epsilon(step: int, steps: int) -> float:
    """The chance of a random action: falls from 1 to 0.05 over the first quarter of training."""
    return max(0.05, 1 - 0.95 * step / (steps / 4))


@torch.no_grad()
def act(network: nn.Module, state: Tensor, chance: float) -> int:
    """ε-greedy: state (4,) -> action."""
    q = network(state)  # (actions,)
    if torch.rand(()) < chance:
        return int(torch.randint(len(q), ()))
    return int(q.argmax())


def dqn(
    env: gymnasium.Env, online: nn.Module, memory: Memory, steps: int, learning_rate: float
) -> Iterator[int]:
    """Algorithm 1 of Mnih et al. Yields the number of steps played, after every step."""
    device = memory.state.device
    target = copy.deepcopy(online)
    optimizer = torch.optim.Adam(online.parameters(), lr=learning_rate, fused=True)
    state = torch.as_tensor(env.reset()[0], device=device)
    for step in range(1, steps + 1):
        action = act(online, state, epsilon(step, steps))
        observation, reward, terminated, truncated, _ = env.step(action)
        next_state = torch.as_tensor(observation, device=device)
        memory.add(state, action, reward, next_state, terminated)
        state = next_state
        if terminated or truncated:
            state = torch.as_tensor(env.reset()[0], device=device)

        if step > steps // 12:  # until then only the memory is filled
            loss = td_loss(online, target, memory.sample(BATCH))
            optimizer.zero_grad()
            loss.backward()
            optimizer.param_groups[0]["lr"] = learning_rate * (1 - step / steps)
            optimizer.step()
        if step % SYNC == 0:
            target.load_state_dict(online.state_dict())
        yield step


# %% [markdown]
# ## Experiments
# A check plays whole episodes of its own, without exploration. Thirty of them run side by side.


# %%
@torch.no_grad()
def greedy_returns(network: nn.Module, episodes: int, seed: int, limit: int = LIMIT) -> np.ndarray:
    """Returns (E,) of whole episodes without exploration, 1 for every step, played side by side."""
    device = next(network.parameters()).device
    env = CartPoleVectorEnv(num_envs=episodes, max_episode_steps=limit)
    state, _ = env.reset(seed=seed)
    total = np.zeros(episodes)
    alive = np.ones(episodes, dtype=bool)
    while alive.any():
        q = network(torch.as_tensor(state, device=device))  # (E, 2)
        state, reward, terminated, truncated, _ = env.step(q.argmax(dim=1).cpu().numpy())
        total += reward * alive
        alive &= ~(terminated | truncated)  # what is played after the first end doesn't count
    return total


def train(steps: int, seed: int, device: str) -> dict:
    """One training with 24 checks of 30 greedy episodes on the way.

    Returns the last network, the one that did best in its check (of equals the later), every
    check's mean return and the seconds that all this took.
    """
    started = time.perf_counter()
    torch.manual_seed(seed)
    # −1 for the fall and 0 for every other step
    env = gymnasium.make("CartPole-v1", sutton_barto_reward=True)
    env.reset(seed=seed)
    network = q_network().to(device)
    memory = Memory(MEMORY, 4, device)
    curve = []
    best = None
    played = dqn(env, network, memory, steps, LEARNING_RATE)
    for step in tqdm(played, desc="training", total=steps, disable=None):
        if step % (steps // CHECKS) == 0:
            curve.append(greedy_returns(network, 30, seed=1000 * seed + len(curve)).mean())
            if curve[-1] == max(curve):
                best = copy.deepcopy(network)
    return {
        "last": network,
        "best": best,
        "curve": curve,
        "seconds": time.perf_counter() - started,
        "steps": steps,
    }


# %% [markdown]
# What does Q say of a state? We set the pole at many angles and angular velocities, ask for max Q,
# and then let the network play and see what comes. The discounted return is −γ^t if the pole falls
# after t further steps, and 0 if it doesn't fall.

# %%
ANGLES = 0.2  # radians, to both sides; the episode terminates at 0.21
VELOCITIES = 3.0  # rad/s


@torch.no_grad()
def promised_and_got(
    network: nn.Module, count: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For starts with the cart at rest in the middle: the starts (N, 4), max Q (N,), and the
    discounted return (N,) of the 500 greedy steps that follow."""
    device = next(network.parameters()).device
    generator = np.random.default_rng(seed)
    starts = np.zeros((count, 4), dtype=np.float32)
    starts[:, 2] = generator.uniform(-ANGLES, ANGLES, count)
    starts[:, 3] = generator.uniform(-VELOCITIES, VELOCITIES, count)

    env = CartPoleVectorEnv(num_envs=count, max_episode_steps=LIMIT + 1, sutton_barto_reward=True)
    env.reset(seed=seed)
    env.state = starts.T.copy()
    q = network(torch.as_tensor(starts, device=device))  # (N, 2)
    promised = q.amax(dim=1).cpu().numpy()

    got = np.zeros(count)
    alive = np.ones(count, dtype=bool)
    for step in range(LIMIT):
        state, reward, terminated, _, _ = env.step(q.argmax(dim=1).cpu().numpy())
        got += GAMMA**step * reward * alive
        alive &= ~terminated
        q = network(torch.as_tensor(state, device=device))
    return starts, promised, got


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's, of two rows of numbers; 0 if one of them is constant."""
    if a.std() == 0 or b.std() == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


# %% [markdown]
# Physics has an opinion as well. Near the upright position, the angle obeys θ'' = ω² θ with
# ω² = g / (l (4/3 − m/M)) = 15.8 / s², and grows in proportion to |θ + θ'/ω|. A start is good if
# this is small.


# %%
def physics(starts: np.ndarray) -> np.ndarray:
    """−|θ + θ'/ω| for starts (N, 4): how good they look without any learning."""
    return -np.abs(starts[:, 2] + starts[:, 3] / 15.8**0.5)


@torch.no_grad()
def film(network: nn.Module, steps: int) -> tuple[list[np.ndarray], np.ndarray]:
    """The network plays without exploration, from a pole at three degrees, the most that an episode
    starts with: frames (H, W, 3) and states (T, 4)."""
    device = next(network.parameters()).device
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # no screen is needed
    env = gymnasium.make("CartPole-v1", render_mode="rgb_array")
    env.reset(seed=0)
    env.unwrapped.state = np.array([0.0, 0.0, 0.05, 0.0])
    frames, states = [], []
    terminated = False
    for _ in range(steps):
        state = np.array(env.unwrapped.state, dtype=np.float32)
        states.append(state)
        frames.append(env.render()[160:320, 100:500])  # around it nothing moves
        if terminated:
            break
        action = act(network, torch.as_tensor(state, device=device), 0.0)
        _, _, terminated, _, _ = env.step(action)
    env.close()
    return frames, np.stack(states)


@torch.no_grad()
def q_plane(network: nn.Module) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Q (V, A, 2) over angles (A,) in radians and angular velocities (V,) in rad/s, the cart at
    rest in the middle."""
    device = next(network.parameters()).device
    angle = torch.linspace(-ANGLES, ANGLES, 81)
    velocity = torch.linspace(-VELOCITIES, VELOCITIES, 81)
    state = torch.zeros(len(velocity), len(angle), 4)
    state[..., 2] = angle
    state[..., 3] = velocity[:, None]
    return angle.numpy(), velocity.numpy(), network(state.to(device)).cpu().numpy()


# %% [markdown]
# ## Figure

# %%
plt.rcParams.update({
    "figure.figsize": (9, 6), "figure.constrained_layout.use": True, "savefig.dpi": 150,
    "font.size": 11, "axes.titlesize": 12, "axes.titlelocation": "left", "legend.frameon": False,
    "axes.spines.top": False, "axes.spines.right": False,
    "axes.prop_cycle": plt.cycler(color="#0072B2 #D98200 #009E73 #AA4499 #8C564B #56B4E9".split()),
})  # fmt: skip


def save_gif(films: dict[str, list[np.ndarray]], path: Path) -> None:
    """Two episodes one above the other, with a clock; who has fallen stays down.

    films: caption -> frames (H, W, 3), of which every second is shown.
    """
    images = []
    for moment in range(0, max(len(frames) for frames in films.values()), 2):
        panels = []
        for caption, frames in films.items():
            now = min(moment, len(frames) - 1)
            panel = Image.fromarray(frames[now])
            pen = ImageDraw.Draw(panel)
            pen.text((8, 4), caption, fill="black", font_size=16)
            clock = f"{now / 50:.2f} s"  # 50 frames a second
            pen.text((panel.width - 8, 4), clock, fill="black", font_size=16, anchor="ra")
            panels.append(np.asarray(panel))
        both = Image.fromarray(np.concatenate(panels))  # (2H, W, 3)
        images.append(both.convert("P", palette=Image.Palette.ADAPTIVE, colors=16))
    images[0].save(
        path, save_all=True, append_images=images[1:], duration=40, loop=0, optimize=True
    )


def show_strip(axis: plt.Axes, frames: list[np.ndarray], seconds: list[float], label: str) -> None:
    """The frames at these times side by side, as many of them as there are."""
    height, width, _ = frames[0].shape
    canvas = np.full((height, len(seconds) * (width + 20), 3), 255, dtype=np.uint8)
    for place, moment in enumerate(seconds):
        now = round(50 * moment)  # 50 frames a second
        left = place * (width + 20)
        if now < len(frames):
            canvas[:, left : left + width] = frames[now]
            axis.text(left + 15, 25, f"{moment:.2f} s", fontsize=9, color="0.35", va="center")
    axis.imshow(canvas)
    axis.set(xticks=[], yticks=[])
    axis.set_ylabel(label)
    axis.spines[:].set_visible(False)


def draw(films: dict, states: np.ndarray, arm: dict, starts: tuple, path: Path) -> None:
    """Above, moments of an episode with the untrained network and with the trained one. Below, the
    return in checks during training, the Q that the network gives to every angle and angular
    velocity of the pole, with the boundary between both actions (white) and the episode (black),
    and this Q against the discounted return that followed, for 1,000 starts.

    films: name -> frames; states: of DQN's film (T, 4); arm: see train(); starts: see
    promised_and_got().
    """
    figure = plt.figure(figsize=(9, 5.6))
    rows = figure.add_gridspec(3, 1, height_ratios=[1, 1, 3.2])
    times = {"untrained": [0, 0.04, 0.08, 0.12, 0.16, 0.2], "DQN": [0, 0.5, 1, 2, 5, 9.98]}
    for row, (name, moments) in enumerate(times.items()):
        show_strip(figure.add_subplot(rows[row]), films[name], moments, name)
    below = rows[2].subgridspec(1, 3)
    checks = figure.add_subplot(below[0])
    plane = figure.add_subplot(below[1])
    scatter = figure.add_subplot(below[2])

    curve = arm["curve"]
    thousands = np.arange(1, len(curve) + 1) * arm["steps"] / CHECKS / 1000
    checks.plot(thousands, curve, "o-", markersize=4)
    checks.axhline(SOLVED, color="black", linestyle=":")
    checks.annotate("solved", (thousands[0], SOLVED - 8), va="top", fontsize=9)
    checks.set(
        ylim=(0, 510), xlabel="steps played (thousands)", ylabel="mean return of 30 episodes"
    )
    checks.set_title("Checks in training")

    angle, velocity, q = q_plane(arm["best"])
    degrees = np.rad2deg(angle)
    image = plane.pcolormesh(degrees, velocity, q.max(axis=-1), cmap="Blues_r", shading="gouraud")
    plane.contour(degrees, velocity, q[..., 1] - q[..., 0], levels=[0], colors="white")
    plane.plot(np.rad2deg(states[:, 2]), states[:, 3], color="black", linewidth=0.5)
    plane.set(xlim=(-11.4, 11.4), ylim=(-VELOCITIES, VELOCITIES), xlabel="angle (degrees)")
    plane.set(ylabel="angular velocity (rad/s)", title="max Q of every state")
    figure.colorbar(image, ax=plane)

    states_of_starts, promised, got = starts
    of_q = correlation(promised, got)
    of_physics = correlation(physics(states_of_starts), got)
    scatter.plot(promised, got, ".", markersize=2, alpha=0.5)
    scatter.plot([-1, 0], [-1, 0], color="black", linestyle=":")
    scatter.annotate("promise kept", (-0.5, -0.5), xytext=(-8, 8), ha="right", fontsize=9,
                     textcoords="offset points")  # fmt: skip
    scatter.set(xlabel="max Q of the start", ylabel="discounted return")
    scatter.set_title("What Q promises")
    found = f"correlation {of_q:.2f};\nof a rule from\nphysics {of_physics:.2f}"
    scatter.text(0.03, 0.93, found, transform=scatter.transAxes, va="top", fontsize=9)
    figure.savefig(path)


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
    parser.add_argument("--out", type=Path, default=Path("runs"), help="where the pictures go")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--steps", type=positive, default=12_000, help=f"steps played in training, {CHECKS} or more"
    )
    parser.add_argument("--smoke", action="store_true", help="a few steps, to see that it runs")
    args = parser.parse_args(argv)
    if not 0 <= args.seed < 2**32:
        parser.error(f"--seed {args.seed}: a seed is a whole number from 0 to {2**32 - 1}")
    if args.steps < CHECKS:
        parser.error(f"--steps {args.steps}: at least {CHECKS}, one for each check of the network")
    try:
        torch.zeros(1, device=args.device)
        args.out.mkdir(parents=True, exist_ok=True)
    except (RuntimeError, AssertionError, OSError) as error:
        reason = str(error).splitlines()[0]
        parser.error(f"--device {args.device}, --out {args.out}: {reason}")
    return args


def main(argv: list[str] | None = None) -> dict:
    args = parse_args(argv)
    torch.set_num_threads(1)  # products this small are slower on several
    steps = 3 * CHECKS if args.smoke else args.steps
    moments = 50 if args.smoke else 500  # of the film

    torch.manual_seed(args.seed)
    untrained = q_network().to(args.device)  # what the training starts from
    arm = train(steps, args.seed, args.device)
    best = arm["best"]

    score = greedy_returns(best, 100, seed=10**6 + args.seed).mean()
    long = greedy_returns(best, 10, seed=2 * 10**6 + args.seed, limit=10 * LIMIT)  # (10,)
    starts = promised_and_got(best, 1000, seed=args.seed)

    films = {"untrained": film(untrained, moments)[0]}
    films["DQN"], states = film(best, moments)
    captions = {
        "untrained": films["untrained"],
        f"after {arm['seconds']:.0f} s of training": films["DQN"],
    }
    save_gif(captions, args.out / "rl_net.gif")
    draw(films, states, arm, starts, args.out / "rl_net.png")

    claims = [
        (
            f"{score:.1f} of 500 after {arm['seconds']:.0f} s of training",
            bool(score >= SOLVED and arm["seconds"] <= 60),
        ),
        (
            f"{long.mean():.0f} of 5,000 steps over 10 episodes, {long.min():.0f} in the worst",
            bool(long.mean() >= 9.5 * LIMIT),
        ),
    ]
    for number, (outcome, holds) in enumerate(claims, 1):
        verdict = "not judged" if args.smoke else "holds" if holds else "does not hold"
        print(f"claim {number} {verdict}: {outcome}")
    print(f"figure: {args.out / 'rl_net.png'}")
    headline = (
        f"a pole balanced for {score:.0f} of 500 steps after {arm['seconds']:.0f} s of training"
    )
    return {"data": "CartPole-v1", "headline": headline, "claims": claims}


if __name__ == "__main__":
    if hasattr(sys.stdout, "reconfigure"):  # a notebook's has not
        sys.stdout.reconfigure(errors="replace")  # a terminal without "θ" shows "?"
    main([] if "ipykernel" in sys.modules else None)  # a notebook has no command line


# %% [markdown]
# ## Notes
# - Networks that balance come and go in training, though the learning rate falls to 0: the mean of
#   the last quarter's checks was 497, 185, 285, 500 and 500 on five seeds. This is why the best
#   network is kept.
# - An online learner that has no memory and keeps its best network solves CartPole as well, so
#   that this game can't show what the memory is for. An earlier version of this script claimed it
#   with the last networks of one and the best network of the other; papers/dqn.py compares them
#   alike, on pixels.
# - CartPole is easy in other ways, too: of random linear policies, one in some fifty balances the
#   pole for 500 steps, and is found within 700 to 5,000 steps of play (five tries).
# - Learning rates: DQN kept networks of 500 with 5e-4 (seeds 0, 12) and 1e-3 (seeds 0, 10, 11, 12).
#   Seeds 0 and 1 were looked at while settings were chosen.
# - With a reward of 1 a step, 16,000 steps, and Q held between 0 and 100 by a sigmoid, DQN was kept
#   at 500 as well, but of three such networks two fell, after 621 and 1,344 of 5,000 steps. With −1
#   for the fall all five stood.
# - What Q promises is shown and not claimed. A first version claimed a correlation of 0.7 with the
#   return that follows, and had 0.76, 0.82, 0.78, 0.82 and 0.69 on seeds 0 to 4. The rule from
#   physics, which learns nothing, has 0.87 to 0.91 for the same starts.
# - Q reaches 0.5, though with these rewards nothing above 0 can come. The maximum over uncertain
#   values is too high on average, and every target contains one.
# - A training takes some 15 to 25 s alone on one thread, and took 97 s beside three others on two
#   cores: the limit of 60 s is meant for a machine with nothing else to do.
