# /// script
# requires-python = ">=3.11"
# dependencies = ["torch", "gymnasium[classic-control]", "numpy", "pillow", "matplotlib", "tqdm"]
# ///
"""Asynchronous Methods for Deep Reinforcement Learning
Mnih et al., 2016 (ICML, arXiv:1602.01783)

    python papers/a3c.py                      the experiment, three minutes on two cores
    python papers/a3c.py --smoke              a few steps, to see that it runs
    python papers/a3c.py --env Acrobot-v1     another game with discrete actions

The idea
    Consecutive frames of a game are nearly the same, and a network trained on them one after the
    other learns badly. DQN's cure is a memory of past frames. A3C's cure is to play several games
    at once. Every worker is a process with a game of its own, and all of them train one network in
    shared memory. While one worker's pole is falling, another's has just been set up, so that the
    updates that arrive from all of them are less alike. And as nothing old is kept, what is learned
    from may come from the present policy, which is what a policy gradient needs.

    Each worker repeats, without waiting for the others (Algorithm S3):

        θ' ← θ                                       copy the shared weights
        play at most t_max steps with π(a|s; θ')
        R ← V(s_t; θ'),  or 0 if the game ended      what is still to come after the last step
        for i from the last step to the first:
            R ← r_i + γ R
            dθ ← dθ + ∇ log π(a_i|s_i) (R − V(s_i))          more of what turned out better
                    − ∇ ½ (R − V(s_i))² + β ∇ H(π(s_i))      V learns R; π stays undecided
        θ ← θ + a step of RMSProp along dθ           without a lock

    The advantage R − V(s_i) is how much better things went than V expected. H is the entropy of π.

    A small example: γ = 0.5, rewards 1, 0, 2, and V = 4 for the state that the third step leads to.
    From the last to the first, R is 2 + 0.5·4 = 4, then 0 + 0.5·4 = 2, then 1 + 0.5·2 = 2. Had the
    game ended with the third step, R would be 2, 1 and 1.5. If only the time was up, the game could
    have gone on, and V still counts.

Symbols
    s, a, r     state, action, reward      (T, S), (T,), (T,)    of T ≤ t_max steps
    π(a|s)      softmax(logits)            (T, actions)          the policy, "actor"
    V(s)        values                     (T,)                  expected return, "critic"
    R           returns                    (T,)                  n-step returns
    θ, θ'       shared.network, local      modules               weights of all, copy of a worker
    g           shared.squares             like the weights      mean squared gradient, shared
    β           beta                       scalar                weight of the entropy

Built from scratch
    n-step returns, the loss, RMSProp with shared statistics, the asynchronous workers of A3C and
    of one-step Q-learning (Algorithm 1). The tests compare a worker with a serial program that
    accumulates the gradients step by step, and RMSProp with torch's.

Claims
    1. A3C with two workers solves CartPole: the last network's mean return over 100 new episodes
       is at least 475, random play gets less than 50. But CartPole is easy. A search among random
       linear policies, which uses no gradient, solves it as well, after as many frames as the
       outcome says.
    2. After equally many frames it is ahead of asynchronous one-step Q-learning. On average over 20
       evaluations during training, its return is at least 50 higher, and more of its evaluations
       reach 475 (Fig. 1, on five Atari games).
    3. Two workers play at least 1.5 times as many frames per second as one, on two cores that have
       nothing else to do (Table 2: two threads reach a score 2.1 times as fast).

Departures
    CartPole instead of Atari, a layer of 64 tanh units instead of convolutions, two workers instead
    of 16. In training, rewards are multiplied by 0.01. The learning rates are 0.01 (A3C) and 0.003
    (Q-learning), the best of three; the paper draws 50 at random. Q-learning's ε falls over a
    quarter of the frames, and its target network is renewed every 100. Asynchronous runs don't
    repeat, even with the same seed: which update comes first is up to the operating system.
"""

import argparse
import copy
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Barrier
from pathlib import Path

import gymnasium
import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.multiprocessing as mp
import torch.nn.functional as F
from gymnasium.spaces import Box, Discrete
from PIL import Image, ImageDraw
from torch import Tensor, nn
from tqdm import tqdm

GAMMA = 0.99  # discount
T_MAX = 5  # steps between two updates
ENTROPY = 0.001  # β; with 0.01 the last network balanced the pole on two of three seeds
EPSILON = 1e-3  # ε of RMSProp
EXPLORATION = 0.25  # of the frames, until Q-learning's ε is at its lowest
RENEWAL = 100  # frames between two renewals of Q-learning's target network

# %% [markdown]
# ## Model
# Actor and critic share a layer. The actor's logits become probabilities, the critic's number is
# the expected return.


# %%
class ActorCritic(nn.Module):
    """State (..., S) -> logits (..., actions) and value (...,)."""

    def __init__(self, state_size: int, actions: int, hidden: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(state_size, hidden), nn.Tanh())
        self.actor = nn.Linear(hidden, actions)
        self.critic = nn.Linear(hidden, 1)

    def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(state)
        return self.actor(features), self.critic(features)[..., 0]


def n_step_returns(rewards: list[float], after: float) -> Tensor:
    """R of every step (T,): R_i = r_i + γ R_{i+1}, and `after` for what follows the last step."""
    returns = []
    running = after
    for reward in reversed(rewards):
        running = reward + GAMMA * running
        returns.append(running)
    returns.reverse()
    return torch.tensor(returns)


def a3c_loss(
    network: nn.Module, states: Tensor, actions: Tensor, returns: Tensor, beta: float
) -> Tensor:
    """The loss whose negative gradient is dθ of Algorithm S3. states (T, S), the others (T,)."""
    logits, values = network(states)  # (T, actions), (T,)
    log_p = F.log_softmax(logits, dim=1)  # (T, actions)
    log_p_taken = log_p.gather(1, actions[:, None])[:, 0]  # (T,)
    entropy = -(log_p.exp() * log_p).sum(dim=1)  # (T,)
    advantages = returns - values  # (T,)

    policy_loss = -(log_p_taken * advantages.detach()).sum()
    value_loss = 0.5 * (advantages**2).sum()
    return policy_loss + value_loss - beta * entropy.sum()


# %% [markdown]
# `detach` matters: the policy's gradient takes the advantage as a number. Without it, V would be
# pushed to make the advantage of likely actions large.
#
# The rival learns Q(s, a), the return to come after action a, from one step at a time. Its target
# is r + γ max Q⁻(s', a'), where Q⁻ is an older copy of the network that all workers share.


# %%
def q_network(state_size: int, actions: int, hidden: int) -> nn.Sequential:
    """State (..., S) -> Q of every action (..., actions)."""
    return nn.Sequential(nn.Linear(state_size, hidden), nn.Tanh(), nn.Linear(hidden, actions))


def q_loss(network: nn.Module, target: nn.Module, steps: list[tuple]) -> Tensor:
    """½ (r + γ max_a' Q⁻(s', a') − Q(s, a))², summed; only r where the game ended with the step.

    steps: of transitions (s, a, r, s', terminated).
    """
    states, actions, rewards, next_states, terminated = zip(*steps)
    future = target(torch.stack(next_states)).amax(dim=1).detach()  # (T,)
    goes_on = 1 - torch.tensor(terminated).float()  # (T,)
    wanted = torch.tensor(rewards) + GAMMA * goes_on * future  # (T,)
    q = network(torch.stack(states)).gather(1, torch.tensor(actions)[:, None])[:, 0]  # (T,)
    return 0.5 * ((wanted - q) ** 2).sum()


# %% [markdown]
# RMSProp divides every gradient by the root of a running mean of its square. The statistics g are
# shared, too (sec. 4: "Shared RMSProp", the most robust of three that the paper compares). Two
# workers may write at the same moment, and a part of an update can then be lost. That does no harm
# in practice, and waiting for a lock would cost more (the idea of "Hogwild!", Recht et al. 2011).


# %%
@torch.no_grad()
def rmsprop_step(
    weights: list[Tensor], squares: list[Tensor], gradients: list[Tensor], learning_rate: float
) -> None:
    """g ← 0.99 g + 0.01 Δθ², θ ← θ − η Δθ / √(g + ε), in place, for every tensor of weights."""
    for weight, square, gradient in zip(weights, squares, gradients):
        square.mul_(0.99).addcmul_(gradient, gradient, value=0.01)
        weight.addcdiv_(gradient, torch.sqrt(square + EPSILON), value=-learning_rate)


# %% [markdown]
# ## Training
# What follows runs in every worker, each in a process of its own. `Shared` is all that they have
# in common. The number of frames T is the clock of all: the learning rate falls with it, and the
# training ends by it. Twenty times on the way, the worker that plays the frame keeps a copy of the
# weights, so that evaluation can wait until the training is over and takes no time from it.

# %%
LOOKS = 20  # copies of the network kept in a training


@dataclass
class Shared:
    """Memory that all workers read and write."""

    network: nn.Module  # θ
    target: nn.Module  # θ⁻, for Q-learning
    squares: list[Tensor]  # g, like the weights
    frames: Synchronized  # T, frames played by all workers
    start: Barrier  # where the workers wait for each other, before the first frame
    kept: Tensor  # (LOOKS, weights)
    seconds: Tensor  # (LOOKS,), since the start


@dataclass
class Settings:
    """What a training is told. learning_rate is that of the first frame; it falls to 0."""

    env: str
    workers: int
    frames: int
    learning_rate: float
    seed: int
    hidden: int = 64
    beta: float = ENTROPY


def new_game(env: str) -> gymnasium.Env:
    """A game to train on. Rewards are multiplied by 0.01, so that V is not far above 1."""
    return gymnasium.wrappers.TransformReward(gymnasium.make(env), lambda reward: 0.01 * reward)


def sizes(env: gymnasium.Env) -> tuple[int, int]:
    """How many numbers a state has, and how many actions there are."""
    return env.observation_space.shape[0], int(env.action_space.n)


def count(shared: Shared, played: int, settings: Settings, started: float) -> int:
    """Adds to T, and keeps a copy of the network at each twentieth of the training. Returns T as
    it was before."""
    with shared.frames.get_lock():
        before = shared.frames.value
        shared.frames.value = before + played
    look = before * LOOKS // settings.frames
    if look < LOOKS and (before + played) * LOOKS // settings.frames > look:
        shared.kept[look] = nn.utils.parameters_to_vector(shared.network.parameters()).detach()
        shared.seconds[look] = time.time() - started
    return before


def actor_learner(rank: int, shared: Shared, settings: Settings) -> None:
    """A worker of A3C: Algorithm S3."""
    torch.set_num_threads(1)
    torch.manual_seed(100 * settings.seed + rank)
    env = new_game(settings.env)
    local = copy.deepcopy(shared.network)  # not shared
    weights = list(shared.network.parameters())
    state = torch.as_tensor(env.reset(seed=100 * settings.seed + rank)[0]).float()
    shared.start.wait()
    started = time.time()

    frames = 0
    while frames < settings.frames:
        local.load_state_dict(shared.network.state_dict())  # θ' ← θ

        states, actions, rewards = [], [], []
        for _ in range(T_MAX):
            with torch.no_grad():
                logits, _ = local(state)
            action = torch.multinomial(logits.softmax(dim=0), 1).item()  # a ~ π(a|s; θ')
            observation, reward, terminated, truncated, _ = env.step(action)
            states.append(state)
            actions.append(action)
            rewards.append(float(reward))
            state = torch.as_tensor(observation).float()
            if terminated or truncated:
                break

        with torch.no_grad():
            after = 0.0 if terminated else local(state)[1].item()
        returns = n_step_returns(rewards, after)
        loss = a3c_loss(local, torch.stack(states), torch.tensor(actions), returns, settings.beta)
        gradients = torch.autograd.grad(loss, list(local.parameters()))
        learning_rate = settings.learning_rate * max(0.0, 1 - frames / settings.frames)
        rmsprop_step(weights, shared.squares, gradients, learning_rate)
        frames = count(shared, len(rewards), settings, started) + len(rewards)

        if terminated or truncated:
            state = torch.as_tensor(env.reset()[0]).float()


# %% [markdown]
# `terminated` says that the pole fell, and nothing is to come. `truncated` says that the time was
# up: the last state has a value as any other, and `after` takes it from the critic.
#
# The worker of Q-learning plays on over the end of an episode, because every transition has its own
# target. With probability ε it plays at random. ε falls to a value that every worker draws for
# itself, so that they explore differently.


# %%
def q_learner(rank: int, shared: Shared, settings: Settings) -> None:
    """A worker of asynchronous one-step Q-learning: Algorithm 1."""
    torch.set_num_threads(1)
    torch.manual_seed(100 * settings.seed + rank)
    env = new_game(settings.env)
    local = copy.deepcopy(shared.network)  # not shared
    weights = list(shared.network.parameters())
    state = torch.as_tensor(env.reset(seed=100 * settings.seed + rank)[0]).float()
    drawn = torch.multinomial(torch.tensor([0.4, 0.3, 0.3]), 1).item()
    last_epsilon = [0.1, 0.01, 0.5][drawn]  # with probabilities 0.4, 0.3, 0.3, as in the paper
    shared.start.wait()
    started = time.time()

    frames = 0
    while frames < settings.frames:
        local.load_state_dict(shared.network.state_dict())
        explored = min(1.0, frames / (EXPLORATION * settings.frames))
        epsilon = 1 + (last_epsilon - 1) * explored

        steps = []
        for _ in range(T_MAX):
            with torch.no_grad():
                action = local(state).argmax().item()
            if torch.rand(()) < epsilon:
                action = torch.randint(env.action_space.n, ()).item()
            observation, reward, terminated, truncated, _ = env.step(action)
            next_state = torch.as_tensor(observation).float()
            steps.append((state, action, float(reward), next_state, terminated))
            state = next_state
            if terminated or truncated:
                state = torch.as_tensor(env.reset()[0]).float()

        loss = q_loss(local, shared.target, steps)
        gradients = torch.autograd.grad(loss, list(local.parameters()))
        learning_rate = settings.learning_rate * max(0.0, 1 - frames / settings.frames)
        rmsprop_step(weights, shared.squares, gradients, learning_rate)
        before = count(shared, len(steps), settings, started)
        frames = before + len(steps)
        if frames // RENEWAL > before // RENEWAL:
            shared.target.load_state_dict(shared.network.state_dict())  # θ⁻ ← θ


# %% [markdown]
# The parent process only starts the workers and waits. A started ("spawned") process imports this
# file by its name and finds the function there; a notebook has no such file, so there the workers
# are copies ("forks") of the notebook's process. A forked process hangs if PyTorch's threads were
# at work before, and this is why the parent computes with one thread. If a worker dies, `join`
# stops the others and raises its error. The last lines stop them in any other case, Ctrl-C
# included.


# %%
def train(worker: Callable, network: nn.Module, settings: Settings) -> Shared:
    """Trains the network by workers that don't wait for each other, and returns what they shared.

    Raises torch.multiprocessing.ProcessRaisedException, with the worker's traceback, or
    ProcessExitedException if one of them fails.
    """
    method = "fork" if "ipykernel" in sys.modules else "spawn"
    context = mp.get_context(method)
    parameters = list(network.parameters())
    shared = Shared(
        network=network.share_memory(),
        target=copy.deepcopy(network).share_memory(),
        squares=[torch.zeros_like(parameter).share_memory_() for parameter in parameters],
        frames=context.Value("q", 0),
        start=context.Barrier(settings.workers),
        kept=torch.zeros(LOOKS, sum(p.numel() for p in parameters)).share_memory_(),
        seconds=torch.zeros(LOOKS).share_memory_(),
    )
    workers = mp.start_processes(
        worker,
        args=(shared, settings),
        nprocs=settings.workers,
        join=False,
        daemon=True,
        start_method=method,
    )
    title = f"{worker.__name__} x {settings.workers}"
    bar = tqdm(total=settings.frames, desc=title, unit=" frames", disable=None)
    try:
        while not workers.join(timeout=0.2):
            bar.update(min(shared.frames.value, settings.frames) - bar.n)
        bar.update(settings.frames - bar.n)
    finally:
        bar.close()
        for process in workers.processes:
            process.kill()
            process.join()
    return shared


# %% [markdown]
# ## Experiments
# A copy of the network plays whole episodes of its own. Both methods are judged by the same rule:
# the action with the largest logit, or the largest Q.

# %%
LIMIT = 10_000  # steps, within which an episode of evaluation has to end
WORKERS = {"A3C": actor_learner, "one-step Q-learning": q_learner}
LEARNING_RATES = {"A3C": 1e-2, "one-step Q-learning": 3e-3}  # see Notes
ARMS = [("A3C", 1), ("A3C", 2), ("A3C", 4), ("A3C", 8), ("one-step Q-learning", 2)]
SMOKE_ARMS = [("A3C", 1), ("A3C", 2), ("one-step Q-learning", 2)]  # a process takes 3 s to start
SOLVED = 475  # gymnasium's reward_threshold for CartPole-v1


@torch.no_grad()
def mean_return(policy: Callable, env: str, episodes: int, seed: int) -> float:
    """Of whole episodes, played side by side. policy: states (E, S) -> actions (E,).

    Raises RuntimeError if an episode doesn't end.
    """
    games = gymnasium.make_vec(env, num_envs=episodes)
    states, _ = games.reset(seed=seed)
    total = np.zeros(episodes)
    going = np.ones(episodes, dtype=bool)
    for _ in range(LIMIT):
        actions = policy(torch.as_tensor(states).float())
        states, rewards, terminated, truncated, _ = games.step(actions.numpy())
        total += rewards * going
        going &= ~(terminated | truncated)  # what is played after the first end doesn't count
        if not going.any():
            games.close()
            return float(total.mean())
    raise RuntimeError(f"{env}: {going.sum()} of {episodes} episodes had no end in {LIMIT:,} steps")


def greedy(network: nn.Module) -> Callable:
    """The policy that takes the action with the largest logit or Q."""

    def policy(states: Tensor) -> Tensor:
        scores = network(states.to(next(network.parameters()).device))
        if isinstance(network, ActorCritic):
            scores, _ = scores  # the critic isn't asked
        return scores.argmax(dim=1).cpu()

    return policy


def frames_to_solve(curve: list[float], frames: int) -> float:
    """The frames played before the first evaluation of 475 or more, NaN if there was none."""
    for look, result in enumerate(curve, 1):
        if result >= SOLVED:
            return look * frames / LOOKS
    return float("nan")


def run(worker: Callable, settings: Settings, episodes: int, device: str) -> dict:
    """One training, and what became of it: the network before and after, the mean return of so many
    greedy episodes for each copy that was kept on the way, and the seconds at which it was kept.
    """
    torch.manual_seed(settings.seed)
    make_network = ActorCritic if worker is actor_learner else q_network
    network = make_network(*sizes(gymnasium.make(settings.env)), settings.hidden)
    untrained = copy.deepcopy(network).to(device)
    shared = train(worker, network, settings)

    judged = copy.deepcopy(network).to(device)
    curve = []
    for look, weights in enumerate(shared.kept):
        nn.utils.vector_to_parameters(weights.to(device), judged.parameters())
        seed = 1000 * settings.seed + look
        curve.append(mean_return(greedy(judged), settings.env, episodes, seed))
    return {
        "untrained": untrained,
        "network": judged,  # with the last copy's weights
        "curve": curve,
        "mean": sum(curve) / len(curve),
        "high": sum(result >= SOLVED for result in curve),  # evaluations that reach 475
        "speed": settings.frames / shared.seconds[-1].item(),  # frames per second
        "seconds": shared.seconds.tolist(),
        "solved": frames_to_solve(curve, settings.frames),
    }


def random_policy(actions: int) -> Callable:
    """The policy that doesn't look."""

    def policy(states: Tensor) -> Tensor:
        return torch.randint(actions, (len(states),))

    return policy


def linear_policy(weights: Tensor) -> Callable:
    """Pushes to the right where a weighted sum of the state is positive. weights: (S,)."""

    def policy(states: Tensor) -> Tensor:
        return (states @ weights > 0).long()

    return policy


def linear_search(env: str, tries: int, seed: int) -> tuple[float, int]:
    """Draws random linear policies until one gets 475 in ten episodes, with no gradient at all.

    Returns the mean return of the last one over 100 new episodes, and the frames that were played.
    """
    frames = 0
    for attempt in range(tries):
        policy = linear_policy(torch.randn(4))
        result = mean_return(policy, env, 10, seed=10_000 * seed + attempt)
        frames += round(10 * result)  # CartPole pays 1 for each frame
        if result >= SOLVED:
            break
    return mean_return(policy, env, 100, seed=10_000 * seed + tries), frames


@torch.no_grad()
def film(policy: Callable, env: str, seed: int) -> tuple[list[np.ndarray], list[float], int]:
    """One episode: frames (H, W, 3), the return so far at each of them, and frames per second."""
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # no screen is needed
    game = gymnasium.make(env, render_mode="rgb_array")
    observation, _ = game.reset(seed=seed)
    frames = [game.render()]
    scores = [0.0]
    for _ in range(LIMIT):
        action = policy(torch.as_tensor(observation).float()[None]).item()
        observation, reward, terminated, truncated, _ = game.step(action)
        frames.append(game.render())
        scores.append(scores[-1] + float(reward))
        if terminated or truncated:
            break
    game.close()

    # Rows in which nothing is ever drawn are cut off, but for some room for a caption.
    inked = np.zeros(len(frames[0]), dtype=bool)
    for frame in frames:
        inked |= (frame < 255).any(axis=(1, 2))
    top, bottom = np.flatnonzero(inked)[[0, -1]]
    top = max(0, top - 40)
    frames = [frame[top : bottom + 10] for frame in frames]
    return frames, scores, game.metadata["render_fps"]


# %% [markdown]
# ## Figure

# %%
plt.rcParams.update({
    "figure.figsize": (9, 6), "figure.constrained_layout.use": True, "savefig.dpi": 150,
    "font.size": 11, "axes.titlesize": 12, "axes.titlelocation": "left", "legend.frameon": False,
    "axes.spines.top": False, "axes.spines.right": False,
    "axes.prop_cycle": plt.cycler(color="#0072B2 #D98200 #009E73 #AA4499 #8C564B #56B4E9".split()),
})  # fmt: skip
COLOURS = {"A3C": "C0", "one-step Q-learning": "C1"}


def save_gif(films: dict[str, tuple], path: Path) -> None:
    """Two episodes one above the other, with the seconds and the return; who is through stays.

    films: caption -> (frames, scores, frames per second).
    """
    longest = max(len(frames) for frames, _, _ in films.values())
    images = []
    for moment in range(0, longest, 2):
        panels = []
        for caption, (frames, scores, per_second) in films.items():
            now = min(moment, len(frames) - 1)
            panel = Image.fromarray(frames[now])
            clock = f"{now / per_second:4.1f} s    return {scores[now]:.0f}"
            pen = ImageDraw.Draw(panel)
            pen.text((12, 8), caption, fill="black", font_size=22)
            pen.text((panel.width - 12, 8), clock, fill="black", font_size=22, anchor="ra")
            panels.append(np.asarray(panel))
        both = Image.fromarray(np.concatenate(panels))
        images.append(both.convert("P", palette=Image.Palette.ADAPTIVE, colors=16))
    images[0].save(
        path, save_all=True, append_images=images[1:], duration=40, loop=0, optimize=True
    )


def show_strip(axis: plt.Axes, film: tuple, count: int, title: str) -> None:
    """So many frames of a film, from its first to its last, side by side."""
    frames, _, per_second = film
    height, width, _ = frames[0].shape
    edge = width // 6  # cut off at both sides
    shown = width - 2 * edge
    canvas = np.full((height, count * (shown + 20), 3), 255, dtype=np.uint8)
    for place in range(count):
        moment = round((len(frames) - 1) * place / (count - 1))
        left = place * (shown + 20)
        canvas[:, left : left + shown] = frames[moment][:, edge : width - edge]
        seconds = f"{moment / per_second:.1f} s"
        axis.text(left + 10, 15, seconds, fontsize=10, color="0.35", va="top")
    axis.imshow(canvas)
    axis.set(xticks=[], yticks=[])
    axis.set_title(title)
    axis.spines[:].set_visible(False)


def draw(films: dict[str, tuple], arms: dict[tuple, dict], frames: int, path: Path) -> None:
    """Above, moments of an episode with the untrained network and with A3C's. Below, the mean
    return of evaluations by frames, for A3C and for one-step Q-learning with two workers each, the
    same for A3C by seconds with one worker and with two, and how many frames A3C needs to reach
    475, by the number of its workers.

    films: caption -> (frames, scores, frames per second); arms: (method, workers) -> see run().
    """
    figure = plt.figure(figsize=(9, 5.4))
    rows = figure.add_gridspec(2, 1, height_ratios=[1, 2.6])
    strips = rows[0].subgridspec(1, 2, width_ratios=[2, 4])
    for place, (caption, episode) in enumerate(films.items()):
        show_strip(figure.add_subplot(strips[place]), episode, [2, 4][place], caption)
    below = rows[1].subgridspec(1, 3)
    by_frames = figure.add_subplot(below[0])
    by_seconds = figure.add_subplot(below[1])
    by_workers = figure.add_subplot(below[2])

    thousands = np.arange(1, LOOKS + 1) * frames / LOOKS / 1000
    for method, colour in COLOURS.items():
        by_frames.plot(thousands, arms[method, 2]["curve"], color=colour, label=method)
    by_frames.set(title="Learning by frames", xlabel="frames (thousands)", ylabel="mean return")
    by_frames.legend(loc="upper left")

    for workers, style in {1: "--", 2: "-"}.items():
        arm = arms["A3C", workers]
        by_seconds.plot(arm["seconds"], arm["curve"], style, color="C0", label=f"{workers} worker")
    by_seconds.set(title="A3C by seconds", xlabel="seconds of training")
    by_seconds.legend(["1 worker", "2 workers"], loc="upper left")

    for axis in (by_frames, by_seconds):
        axis.axhline(SOLVED, color="black", linestyle=":", linewidth=1)
        axis.set(ylim=(0, 620), yticks=range(0, 501, 100))

    counts = [workers for method, workers in arms if method == "A3C"]
    solved = [arms["A3C", workers]["solved"] / 1000 for workers in counts]
    by_workers.semilogx(counts, solved, "o-", base=2)
    for workers, reached in zip(counts, solved):
        if np.isnan(reached):
            by_workers.text(workers, 0.97 * frames / 1000, "never", ha="center", va="top")
    by_workers.set(title=f"A3C: frames to {SOLVED}", xlabel="workers", ylabel="frames (thousands)")
    by_workers.set(xlim=(0.7, 11), ylim=(0, frames / 1000))
    by_workers.set_xticks(counts, [str(workers) for workers in counts])
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
    parser.add_argument(
        "--device", default="cpu", help="of the evaluations; the workers are processes on the CPU"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--env", default="CartPole-v1", help="any other only trains A3C, and judges nothing"
    )
    parser.add_argument("--workers", type=positive, default=2, help="with --env, processes")
    parser.add_argument("--frames", type=positive, default=150_000, help="of each training")
    parser.add_argument("--smoke", action="store_true", help="a few steps, to see that it runs")
    args = parser.parse_args(argv)
    if not 0 <= args.seed < 2**32:
        parser.error(f"--seed {args.seed}: a seed is a whole number from 0 to {2**32 - 1}")
    if args.frames < LOOKS:
        parser.error(f"--frames {args.frames}: at least {LOOKS}, one for each copy of the network")
    try:
        torch.zeros(1, device=args.device)
        args.out.mkdir(parents=True, exist_ok=True)
    except (RuntimeError, AssertionError, OSError) as error:
        reason = str(error).splitlines()[0]
        parser.error(f"--device {args.device}, --out {args.out}: {reason}")
    try:
        env = gymnasium.make(args.env)
    except (gymnasium.error.Error, ImportError) as error:
        parser.error(f"--env {args.env}: {str(error).splitlines()[0]}")
    if not isinstance(env.action_space, Discrete):
        parser.error(f"--env {args.env}: its actions aren't discrete")
    if not isinstance(env.observation_space, Box) or len(env.observation_space.shape) != 1:
        parser.error(f"--env {args.env}: its states aren't lists of numbers")
    return args


def play_another(args: argparse.Namespace, frames: int) -> dict:
    """--env: trains A3C on another game, and shows how it plays. Nothing is judged."""
    # The paper's β, and a learning rate from the middle of its range.
    settings = Settings(args.env, args.workers, frames, 3e-3, args.seed, beta=0.01)
    episodes = 2 if args.smoke else 20  # in an evaluation
    arm = run(actor_learner, settings, episodes, args.device)
    actions = int(gymnasium.make(args.env).action_space.n)
    by_chance = mean_return(random_policy(actions), args.env, episodes, args.seed)
    for look, result in enumerate(arm["curve"], 1):
        print(f"after {look * frames // LOOKS:,} frames: mean return {result:.1f}")
    print(f"random play: {by_chance:.1f}")

    films = {
        "untrained": film(greedy(arm["untrained"]), args.env, args.seed),
        f"after {arm['seconds'][-1]:.0f} s of training": film(
            greedy(arm["network"]), args.env, args.seed
        ),
    }
    save_gif(films, args.out / "a3c.gif")
    print(f"film: {args.out / 'a3c.gif'}")
    headline = f"{args.env}: a mean return of {arm['curve'][-1]:.1f}, {by_chance:.1f} by chance"
    return {"data": args.env, "headline": headline, "claims": []}


def main(argv: list[str] | None = None) -> dict:
    args = parse_args(argv)
    torch.set_num_threads(1)  # see the warning above train()
    frames = 400 if args.smoke else args.frames
    if args.env != "CartPole-v1":
        return play_another(args, frames)

    arms = {}
    chosen = SMOKE_ARMS if args.smoke else ARMS
    for method, workers in chosen:
        worker = WORKERS[method]
        settings = Settings(args.env, workers, frames, LEARNING_RATES[method], args.seed)
        arms[method, workers] = run(worker, settings, 20, args.device)
    one, two = arms["A3C", 1], arms["A3C", 2]
    rival = arms["one-step Q-learning", 2]

    judge = 10**6 + args.seed  # the seed of the last evaluations
    score = mean_return(greedy(two["network"]), args.env, 100, judge)
    score_of_rival = mean_return(greedy(rival["network"]), args.env, 100, judge)
    by_chance = mean_return(random_policy(2), args.env, 100, judge)
    linear, linear_frames = linear_search(args.env, 3 if args.smoke else 200, args.seed)

    films = {
        "untrained": film(greedy(two["untrained"]), args.env, args.seed),
        f"A3C, after {two['seconds'][-1]:.0f} s of training": film(
            greedy(two["network"]), args.env, args.seed
        ),
    }
    save_gif(films, args.out / "a3c.gif")
    draw(films, arms, frames, args.out / "a3c.png")

    claims = [
        (
            f"mean return {score:.0f} of 500 after {frames:,} frames, by chance {by_chance:.0f}; "
            f"a linear policy found by chance after {linear_frames:,} frames gets {linear:.0f}",
            score >= SOLVED and by_chance < 50,
        ),
        (
            f"{two['high']} of {LOOKS} evaluations reach {SOLVED} with A3C, {rival['high']} with "
            f"one-step Q-learning; their mean is {two['mean']:.0f} and {rival['mean']:.0f}, and "
            f"the last networks get {score:.0f} and {score_of_rival:.0f}",
            two["mean"] >= rival["mean"] + 50 and two["high"] > rival["high"],
        ),
        (
            f"{one['speed']:,.0f} frames per second with one worker, {two['speed']:,.0f} with two",
            two["speed"] >= 1.5 * one["speed"],
        ),
    ]
    for number, (outcome, holds) in enumerate(claims, 1):
        verdict = "not judged" if args.smoke else "holds" if holds else "does not hold"
        print(f"claim {number} {verdict}: {outcome}")
    print(f"figure: {args.out / 'a3c.png'}")
    headline = (
        f"a pole balanced for {score:.0f} of 500 steps after {two['seconds'][-1]:.0f} s of "
        "training by two workers"
    )
    return {"data": "CartPole-v1", "headline": headline, "claims": claims}


if __name__ == "__main__":
    if hasattr(sys.stdout, "reconfigure"):  # a notebook's has not
        sys.stdout.reconfigure(errors="replace")  # a terminal without "θ" shows "?"
    main([] if "ipykernel" in sys.modules else None)  # a notebook has no command line


# %% [markdown]
# ## Notes
# - The entropy's weight decides whether the last network balances. With 0.01, as in the paper, the
#   last networks got 500, 500 and 274 (seeds 11, 12, 13). With 0.001 they got 500 on seeds 11 and
#   13, and 15 or 16 of the 20 evaluations reached 475. Advantages are small here, because rewards
#   are multiplied by 0.01.
# - Other games are played with the paper's β of 0.01 and a learning rate of 0.003. With these,
#   Acrobot's mean return was −81 after 200,000 frames; with CartPole's settings it stayed at −500,
#   which is the worst.
# - Without that factor V has to grow to 100, and the shared layer serves the critic alone: with
#   rewards of 1, returns stayed between 140 and 470 for 200,000 frames.
# - A first claim was that A3C's mean return over the training is twice that of one-step Q-learning.
#   It held while Q-learning's target network was renewed every 2,000 or 500 frames (means of 140
#   and 142 against about 400). Every 100 frames, which we use now, the means are 233, 252 and 309
#   (against 398 to 443), and on one seed 7 of its 20 evaluations reached 475, against 16. Learning
#   rates of 1e-3, 3e-3 and 1e-2 were tried for both methods.
# - A single worker can fail where two succeed: on seed 11 its return stayed near 100, with the same
#   learning rate and as many frames. But on seed 0 it did as well as two, so that several workers
#   are faster here, and not reliably more stable.
# - With rewards of −1 for the fall and 0 otherwise, one-step Q-learning does better than with 1 for
#   each step: its means were 190 to 284, with a target network renewed every 2,000 or 500 frames.
#   Then only the fall has to be handed back, over the few steps before it. With 1 for each step,
#   the value of a balanced pole is a sum over hundreds of steps. One-step targets build it up by
#   one step in every renewal of the target network, and n-step returns by up to five.
# - Linear policies are drawn until one gets 475 in ten episodes.
