# /// script
# requires-python = ">=3.11"
# dependencies = ["torch", "gymnasium[classic-control]", "numpy", "pillow", "matplotlib", "tqdm"]
# ///
"""Human-level control through deep reinforcement learning: a deep Q-network balances a pole
Mnih et al., 2015 (Nature 518)

    python rl_net.py              the experiment
    python rl_net.py --smoke      a few steps, to see that it runs

The idea
    Q(s, a) is the reward still to come when we do a in state s and act as well as possible ever after, where a
    reward one step later counts γ times as much. It is the one function that agrees with itself:

        Q(s, a) = r + γ max_a' Q(s', a'),    or just r where the world ends with this step    (Bellman)

    So play, and after every step pull the network's Q(s, a) a little towards the right-hand side. Done naively
    that is regression on examples of which each is nearly the one before, with targets that move at every step.
    DQN has two cures: a replay memory, from which old experience is drawn in random order, and a target
    network, a frozen copy of Q that computes the right-hand side and is refreshed only now and then.

    An episode can stop for two reasons. If the pole fell, the world ended (terminated) and nothing is to come.
    If the time is up (truncated), we only stopped watching, and γ max Q(s', a') still belongs in the target.

Symbols
    s, a, r, s'  state, action, reward, next_state   (B, 4), (B,), (B,), (B, 4)    a transition
    Q, Q⁻        online, target                      nn.Module                     the network and its frozen copy
    γ            GAMMA                               scalar                        discount
    ε            epsilon                             scalar                        chance of a random action

Built from scratch
    Algorithm 1: replay memory, targets, ε-greedy play, refreshing of the target network. The environment,
    autograd and Adam are the libraries'. Tests hold the loss against a computation by hand, the memory against a
    deque, and the whole algorithm against the exact Q of a small Markov decision process.

Claims
    1. DQN solves CartPole-v1 (a mean return of 475 or more over 100 new episodes, gymnasium's threshold) within
       60 seconds of training (abstract: one algorithm learns to play many games as well as a human).
    2. An online learner without a memory, who learns from the newest transition alone, doesn't solve it in as many
       steps, judged by its last networks (Methods: why replay; Extended Data Table 3).
    3. Trained on episodes of 500 steps at most, DQN's network balances for 5,000.

Departures
    A state of four numbers instead of pixels, so an MLP. Adam instead of RMSProp, and a rate that falls to 0. The
    square loss isn't clipped. A gradient step follows every step of the game (paper: every fourth). In training
    the reward is −1 for the fall and 0 otherwise (an option of gymnasium's): returns are counted as ever, one
    for each step, but Q of a balanced pole is 0, where the network starts, rather than 1/(1 − γ) = 100.
    As in Table 3 DQN is judged by the network that did best in its checks (30 greedy episodes, every 500 steps);
    the 100 final episodes are new. The online learner is judged by its last networks (six checks in the last
    quarter), at a constant rate, since it knows no end of the training and keeps nothing to go back to. Judged
    alike, the two aren't always apart: both figures of both are printed, and the Notes say more.
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
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm

GAMMA = 0.99
MEMORY = 5000  # transitions
BATCH = 128
LEARNING_RATE = 5e-4  # of both, see Notes
SYNC = 40  # steps between two refreshes of the target network
CHECKS = 24  # in a training
LIMIT = 500  # steps, after which CartPole-v1 truncates an episode
SOLVED = 475  # gymnasium's reward_threshold for CartPole-v1
START = (0.0, 0.0, 0.05, 0.0)  # of the film: three degrees, the most that an episode starts with
COLOURS = {"DQN": "C0", "no memory": "C1"}


# %% Data


class Memory:
    """The last `capacity` transitions (s, a, r, s', terminated): a ring that overwrites the oldest."""

    def __init__(self, capacity: int, state_size: int, device: str = "cpu") -> None:
        self.capacity, self.count = capacity, 0
        self.state, self.next_state = torch.zeros(2, capacity, state_size, device=device)
        self.reward, self.terminated = torch.zeros(2, capacity, device=device)
        self.action = torch.zeros(capacity, dtype=torch.long, device=device)

    def add(
        self, state: Tensor, action: int, reward: float, next_state: Tensor, terminated: bool
    ) -> None:
        slot = self.count % self.capacity
        self.state[slot], self.action[slot], self.reward[slot] = state, action, reward
        self.next_state[slot], self.terminated[slot] = next_state, terminated
        self.count += 1

    def sample(self, batch: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Drawn uniformly: states (B, state_size), the rest (B,)."""
        slot = torch.randint(
            min(self.count, self.capacity), (batch,), device=self.action.device
        )  # (B,)
        parts = (self.state, self.action, self.reward, self.next_state, self.terminated)
        return tuple(part[slot] for part in parts)


# %% Model


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
    """Mean squared error of Q(s, a) against r + γ max_a' Q⁻(s', a'), or r alone where the world ended."""
    state, action, reward, next_state, terminated = transitions
    with torch.no_grad():  # the target is a number to hit, not something to move
        future = target(next_state).amax(dim=1)  # (B,)
        wanted = reward + GAMMA * (1 - terminated) * future  # (B,)
    q = online(state).gather(1, action[:, None])[:, 0]  # (B,)
    return ((q - wanted) ** 2).mean()


# %% Training


def epsilon(step: int, steps: int) -> float:
    """The chance of a random action: falls from 1 to 0.05 over the first quarter of the training."""
    return max(0.05, 1 - 0.95 * step / (steps / 4))


@torch.no_grad()
def act(network: nn.Module, state: Tensor, chance: float) -> int:
    """ε-greedy: state (4,) -> action."""
    q = network(state)  # (actions,)
    return int(torch.randint(len(q), ())) if torch.rand(()) < chance else int(q.argmax())


def dqn(
    env: gymnasium.Env,
    online: nn.Module,
    memory: Memory,
    steps: int,
    learning_rate: float,
    anneal: bool,
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
        memory.add(
            state, action, reward, next_state, terminated
        )  # truncated isn't kept: it is no end of the world
        over = terminated or truncated
        state = torch.as_tensor(env.reset()[0], device=device) if over else next_state

        if step > steps // 12:  # until then only the memory is filled
            loss = td_loss(online, target, memory.sample(min(BATCH, memory.capacity)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.param_groups[0]["lr"] = learning_rate * (1 - step / steps if anneal else 1)
            optimizer.step()
        if step % SYNC == 0:
            target.load_state_dict(online.state_dict())
        yield step


@torch.no_grad()
def greedy_returns(network: nn.Module, episodes: int, seed: int, limit: int = LIMIT) -> np.ndarray:
    """Returns (E,) of whole episodes without exploration, 1 for every step, played side by side."""
    device = next(network.parameters()).device
    env = CartPoleVectorEnv(num_envs=episodes, max_episode_steps=limit)
    state, _ = env.reset(seed=seed)
    total, alive = np.zeros(episodes), np.ones(episodes, dtype=bool)
    while alive.any():
        q = network(torch.as_tensor(state, device=device))  # (E, 2)
        state, reward, terminated, truncated, _ = env.step(q.argmax(dim=1).cpu().numpy())
        total += reward * alive
        alive &= ~(
            terminated | truncated
        )  # what the environment plays on after the first episode doesn't count
    return total


# %% Experiments


def train(memory: Memory, anneal: bool, steps: int, seed: int) -> dict:
    """One training with 24 checks of 30 greedy episodes on the way.

    Returns the last network, the one that did best in its check (of equals the later), every check's mean return and
    the seconds that all this took.
    """
    started = time.perf_counter()
    torch.manual_seed(seed)
    env = gymnasium.make(
        "CartPole-v1", sutton_barto_reward=True
    )  # −1 for the fall and 0 for every other step
    env.reset(seed=seed)
    network = q_network().to(memory.state.device)
    curve, best = [], None
    played = dqn(env, network, memory, steps, LEARNING_RATE, anneal)
    for step in tqdm(played, desc=f"memory of {memory.capacity:,}", total=steps, disable=None):
        if step % (steps // CHECKS) == 0:
            curve.append(greedy_returns(network, 30, seed=1000 * seed + len(curve)).mean())
            if curve[-1] == max(curve):
                best = copy.deepcopy(network)
    return {"last": network, "best": best, "curve": curve, "seconds": time.perf_counter() - started}


@torch.no_grad()
def film(network: nn.Module, steps: int) -> tuple[list[np.ndarray], np.ndarray]:
    """The network plays from START without exploration: frames (H, W, 3) and states (T, 4)."""
    device = next(network.parameters()).device
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # no screen is needed
    env = gymnasium.make("CartPole-v1", render_mode="rgb_array")
    env.reset(seed=0)
    env.unwrapped.state = np.array(START)
    frames, states, terminated = [], [], False
    for _ in range(steps):
        states.append(np.array(env.unwrapped.state, dtype=np.float32))
        frames.append(env.render()[160:320, 100:500])  # around it nothing moves
        if terminated:
            break
        _, _, terminated, _, _ = env.step(
            act(network, torch.as_tensor(states[-1], device=device), 0.0)
        )
    env.close()
    return frames, np.stack(states)


@torch.no_grad()
def q_plane(network: nn.Module) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Q (V, A, 2) over angle (A,) and angular velocity (V,) in radians, the cart at rest in the middle."""
    device = next(network.parameters()).device
    angle, velocity = torch.linspace(-0.21, 0.21, 85), torch.linspace(-3, 3, 81)
    state = torch.zeros(len(velocity), len(angle), 4)
    state[..., 2], state[..., 3] = angle, velocity[:, None]
    return angle.numpy(), velocity.numpy(), network(state.to(device)).cpu().numpy()


# %% Figure


def save_gif(untrained: list[np.ndarray], trained: list[np.ndarray], path: Path) -> None:
    """Every second frame of both, one above the other; who has fallen stays down."""
    images = []
    for k in range(0, len(trained), 2):
        pair = np.concatenate([untrained[min(k, len(untrained) - 1)], trained[k]])  # (2H, W, 3)
        images.append(
            Image.fromarray(pair).reduce(2).convert("P", palette=Image.Palette.ADAPTIVE, colors=16)
        )
    images[0].save(
        path, save_all=True, append_images=images[1:], duration=40, loop=0, optimize=True
    )


def strip(axis: plt.Axes, frames: list[np.ndarray], seconds: list[float], label: str) -> None:
    """The frames at these times side by side, as many of them as there are."""
    height, width, _ = frames[0].shape
    canvas = np.full((height, len(seconds) * (width + 20), 3), 255, dtype=np.uint8)
    for place, moment in enumerate(seconds):
        k, left = round(50 * moment), place * (width + 20)  # 50 frames a second
        if k < len(frames):
            canvas[:, left : left + width] = frames[k]
            axis.text(left + 15, 25, f"{moment:.2f} s", fontsize=12, color="0.35", va="center")
    axis.imshow(canvas)
    axis.set(xticks=[], yticks=[])
    axis.set_ylabel(label, fontsize=12)
    axis.spines[:].set_visible(False)


def draw(
    arms: dict[str, dict], films: dict[str, list], states: np.ndarray, steps: int, path: Path
) -> None:
    """Above, the return in checks during training, with a memory (DQN) and without one, and the
    value that DQN gives to every angle and angular velocity of the pole; the thin white line is one
    episode. Below, moments of an episode with the untrained network and with the trained one.

    arms: name -> see train(); films: network -> frames; states: of DQN's film (T, 4).
    """
    figure = plt.figure(figsize=(11, 7.6), layout="constrained")
    rows = figure.add_gridspec(3, 1, height_ratios=[4.2, 1, 1])
    checks, plane = (figure.add_subplot(cell) for cell in rows[0].subgridspec(1, 2))

    for name, arm in arms.items():
        thousands = np.arange(1, len(arm["curve"]) + 1) * (steps // CHECKS) / 1000
        checks.plot(thousands, arm["curve"], "o-", markersize=4, color=COLOURS[name], label=name)
    checks.axhline(SOLVED, color="0.5", linestyle=":")
    checks.set(
        ylim=(0, 510), xlabel="steps played (thousands)", ylabel="mean return of 30 greedy episodes"
    )
    checks.set_title("Checks in training (dotted: solved)")
    figure.legend(
        *checks.get_legend_handles_labels(), loc="outside upper left", ncols=2, frameon=False
    )

    angle, velocity, q = q_plane(arms["DQN"]["best"])
    image = plane.pcolormesh(
        np.rad2deg(angle), velocity, q.max(axis=-1), cmap="viridis", shading="gouraud"
    )
    plane.contour(
        np.rad2deg(angle), velocity, q[..., 1] - q[..., 0], levels=[0], colors="white", linewidths=2
    )
    plane.plot(np.rad2deg(states[:, 2]), states[:, 3], color="white", linewidth=0.6, alpha=0.7)
    plane.set(
        xlim=(-12, 12),
        ylim=(-3, 3),
        xlabel="angle of the pole (degrees)",
        ylabel="angular velocity (rad/s)",
    )
    plane.set_title("DQN's Q: on the line both pushes are worth the same")
    figure.colorbar(image, ax=plane, label="max Q, cart at rest in the middle")

    times = {"untrained": [0, 0.04, 0.08, 0.12, 0.16, 0.2], "DQN": [0, 0.5, 1, 2, 5, 9.98]}
    for k, (name, frames) in enumerate(films.items()):
        strip(figure.add_subplot(rows[k + 1]), frames, times[name], name)
    figure.savefig(path, dpi=110)


# %% Run


def positive(text: str) -> int:
    """For argparse: a whole number above 0."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs"), help="where the figure and the film go"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--steps", type=positive, default=12_000, help="steps played in a training, at least 24"
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
        parser.error(f"--device {args.device}, --out {args.out}: {str(error).splitlines()[0]}")
    return args


def main(argv: list[str] | None = None) -> dict:
    args = parse_args(argv)
    torch.set_num_threads(1)  # products this small are slower on several
    steps = 3 * CHECKS if args.smoke else args.steps

    torch.manual_seed(args.seed)
    untrained = q_network().to(args.device)  # what both trainings start from
    arms = {
        "DQN": train(Memory(MEMORY, 4, args.device), True, steps, args.seed),
        "no memory": train(Memory(1, 4, args.device), False, steps, args.seed),
    }
    films = {"untrained": film(untrained, steps=50 if args.smoke else 500)[0]}
    films["DQN"], states = film(arms["DQN"]["best"], steps=50 if args.smoke else 500)
    save_gif(films["untrained"], films["DQN"], args.out / "rl_net.gif")
    draw(arms, films, states, steps, args.out / "rl_net.png")

    seconds = arms["DQN"]["seconds"]
    score = greedy_returns(arms["DQN"]["best"], 100, seed=10**6 + args.seed).mean()
    rewound = greedy_returns(arms["no memory"]["best"], 100, seed=10**6 + args.seed).mean()
    long = greedy_returns(
        arms["DQN"]["best"], 10, seed=2 * 10**6 + args.seed, limit=10 * LIMIT
    )  # (10,)
    late = {
        name: np.mean(arm["curve"][-CHECKS // 4 :]) for name, arm in arms.items()
    }  # the last quarter's checks
    claims = [
        {
            "claim": f"DQN solves CartPole-v1 ({SOLVED} or more over 100 new episodes) within 60 s of training",
            "paper": "one algorithm reaches human level across 49 games (abstract)",
            "here": f"{score:.1f} of 500 after {seconds:.0f} s of training",
            "holds": bool(score >= SOLVED and seconds <= 60),
        },
        {
            "claim": "an online learner without a memory, judged by its last networks, doesn't solve it",
            "paper": "without replay Breakout's score falls from 317 to 10 (Extended Data Table 3)",
            "here": f"{late['no memory']:.0f} of 500 in the last quarter's checks, {rewound:.0f} if it could go back "
            f"to its best network (DQN: {late['DQN']:.0f} and {score:.0f})",
            "holds": bool(late["no memory"] < SOLVED),
        },
        {
            "claim": "trained on episodes of 500 steps at most, DQN balances for 5,000",
            "paper": "not in the paper",
            "here": f"{long.mean():.0f} of 5,000 steps over 10 episodes, {long.min():.0f} in the worst",
            "holds": bool(long.mean() >= 9.5 * LIMIT),
        },
    ]
    for claim in claims:
        verdict = "not judged" if args.smoke else "holds" if claim["holds"] else "does not hold"
        print(
            f"{verdict:>13}  {claim['claim']}\n{'':15}here: {claim['here']}; paper: {claim['paper']}"
        )
    print(f"figure: {args.out / 'rl_net.png'}")
    return {
        "data": "CartPole-v1",
        "headline": f"a pole balanced for {score:.0f} of 500 steps after {seconds:.0f} s of training",
        "claims": claims,
    }


if __name__ == "__main__":
    if hasattr(sys.stdout, "reconfigure"):  # a notebook's has not
        sys.stdout.reconfigure(errors="replace")  # a terminal without "θ" shows "?"
    main([] if "ipykernel" in sys.modules else None)  # a notebook has no command line


# %% [markdown]
# ## Notes
# - CartPole can do without DQN's cures, as far as one can see here. What solves it is keeping the best network: the
#   online learner passes through networks that balance as well and loses them again, and so does DQN on some seeds,
#   though its rate falls to 0. Their last quarters, seed by seed: 497, 185, 285, 500, 500 (DQN) and 379, 357, 430, 337,
#   236 (online); judged alike, by those or by the best network, no claim for the memory would hold.
# - Rates: the online learner's last quarter came to 351, 440 and 188 with 5e-4 and to 276, 190 and 142 with 2e-3 (seeds
#   10, 11, 12). DQN kept networks of 500 with 5e-4 (seeds 0, 12) and 1e-3 (seeds 0, 10, 11, 12). Seeds 0 and 1 were
#   looked at while settings were chosen.
# - With a reward of 1 a step, 16,000 steps, and Q held between 0 and 100 by a sigmoid, DQN was kept at 500 as well, but
#   of three such networks two fell, after 621 and 1,344 of 5,000 steps. With −1 for the fall all five stand.
# - Q reaches 0.5 in the figure's plane, though with these rewards nothing above 0 can come: the maximum over uncertain
#   values is too high on average.
# - A training takes some 25 s alone on one thread, and took 97 s beside three others on two cores: the limit of 60 s is
#   meant for a machine with nothing else to do.
