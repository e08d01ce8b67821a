"""papers/a3c.py: returns and losses by hand, workers against serial programs, and their deaths."""

import copy
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from torch import nn

PAPERS = Path(__file__).resolve().parent.parent / "papers"
sys.path.insert(0, str(PAPERS))  # a spawned process imports the script by its own name
import a3c  # noqa: E402

CARTPOLE = a3c.Settings("CartPole-v1", workers=1, frames=600, learning_rate=1e-2, seed=3, hidden=8)


def shared_memory(network, settings):
    """What train() makes, for a worker that runs in this process."""
    weights = list(network.parameters())
    context = mp.get_context("spawn")
    return a3c.Shared(
        network=network,
        target=copy.deepcopy(network),
        squares=[torch.zeros_like(weight) for weight in weights],
        frames=context.Value("q", 0),
        start=context.Barrier(settings.workers),
        kept=torch.zeros(a3c.LOOKS, sum(weight.numel() for weight in weights)),
        seconds=torch.zeros(a3c.LOOKS),
    )


def test_n_step_returns_of_the_docstrings_example(monkeypatch):
    monkeypatch.setattr(a3c, "GAMMA", 0.5)
    assert a3c.n_step_returns([1.0, 0.0, 2.0], after=4.0).tolist() == [2.0, 2.0, 4.0]
    assert a3c.n_step_returns([1.0, 0.0, 2.0], after=0.0).tolist() == [1.5, 1.0, 2.0]


def test_loss_has_the_gradient_of_algorithm_s3():
    """Per step: −∇ log π(a|s) (R − V), with the advantage as a number, + ½ ∇ (R − V)² − β ∇ H."""
    torch.manual_seed(0)
    network = a3c.ActorCritic(3, 4, hidden=5).double()
    states = torch.randn(6, 3, dtype=torch.float64)
    actions = torch.tensor([0, 3, 1, 1, 2, 0])
    returns = torch.randn(6, dtype=torch.float64)
    loss = a3c.a3c_loss(network, states, actions, returns, beta=0.3)
    gradients = torch.autograd.grad(loss, list(network.parameters()))

    expected = [torch.zeros_like(weight) for weight in network.parameters()]
    for state, action, target in zip(states, actions, returns):
        logits, value = network(state)
        policy = torch.distributions.Categorical(logits=logits)
        advantage = target - value.item()
        one = -policy.log_prob(action) * advantage - 0.3 * policy.entropy()
        one = one + (target - value) ** 2 / 2
        for total, part in zip(expected, torch.autograd.grad(one, list(network.parameters()))):
            total += part
    for found, wanted in zip(gradients, expected):
        torch.testing.assert_close(found, wanted)


def test_rmsprop_is_torchs_but_for_the_place_of_epsilon(monkeypatch):
    """With ε = 0 the two are the same."""
    monkeypatch.setattr(a3c, "EPSILON", 0.0)
    torch.manual_seed(0)
    mine = [torch.randn(3, 2, dtype=torch.float64), torch.randn(4, dtype=torch.float64)]
    theirs = [nn.Parameter(weight.clone()) for weight in mine]
    squares = [torch.zeros_like(weight) for weight in mine]
    optimizer = torch.optim.RMSprop(theirs, lr=0.1, alpha=0.99, eps=0.0)
    for _ in range(5):
        gradients = [torch.randn_like(weight) for weight in mine]
        a3c.rmsprop_step(mine, squares, gradients, 0.1)
        for weight, gradient in zip(theirs, gradients):
            weight.grad = gradient
        optimizer.step()
    for a, b in zip(mine, theirs):
        torch.testing.assert_close(a, b.detach())


def test_epsilon_stands_under_the_root():
    weight, square = torch.tensor([1.0]), torch.tensor([0.0])
    a3c.rmsprop_step([weight], [square], [torch.tensor([0.5])], 0.1)
    assert square.item() == pytest.approx(0.01 * 0.25)
    assert weight.item() == pytest.approx(1 - 0.1 * 0.5 / (0.0025 + a3c.EPSILON) ** 0.5)


def serial_a3c(network, settings):
    """Algorithm S3 in one process, as the paper has it: a gradient after every step of the loop."""
    torch.manual_seed(100 * settings.seed)
    env = gymnasium.make(settings.env)
    observation, _ = env.reset(seed=100 * settings.seed)
    squares = [torch.zeros_like(weight) for weight in network.parameters()]
    frames, ends = 0, []
    while frames < settings.frames:
        learning_rate = settings.learning_rate * (1 - frames / settings.frames)
        history = []
        while len(history) < 5:
            state = torch.tensor(observation)
            with torch.no_grad():
                probabilities = network(state)[0].softmax(0)
            action = torch.multinomial(probabilities, 1)[0]
            observation, reward, terminated, truncated, _ = env.step(action.item())
            history.append((state, action, reward))
            if terminated or truncated:
                break
        frames += len(history)
        target = 0.0 if terminated else network(torch.tensor(observation))[1].item()
        accumulated = [torch.zeros_like(weight) for weight in network.parameters()]
        for state, action, reward in reversed(history):
            target = 0.01 * reward + 0.99 * target
            logits, value = network(state)
            policy = torch.distributions.Categorical(logits=logits)
            objective = policy.log_prob(action) * (target - value.item())
            objective = objective + a3c.ENTROPY * policy.entropy()
            objective = objective - (target - value) ** 2 / 2
            gradients = torch.autograd.grad(objective, list(network.parameters()))
            for total, part in zip(accumulated, gradients):
                total += part
        for weight, square, ascent in zip(network.parameters(), squares, accumulated):
            square.copy_(0.99 * square + 0.01 * ascent**2)
            weight.data += learning_rate * ascent / torch.sqrt(square + a3c.EPSILON)
        if terminated or truncated:
            ends.append(truncated and not terminated)
            observation, _ = env.reset()
    return ends


def short_episodes(monkeypatch, steps):
    """CartPole whose time is up after so many steps, for this process only."""
    real = gymnasium.make
    monkeypatch.setattr(gymnasium, "make", lambda *a, **k: real(*a, **k, max_episode_steps=steps))


def test_one_worker_is_the_serial_algorithm(monkeypatch):
    """Also over truncations, after which V goes on to count: here episodes of 12 steps at most."""
    short_episodes(monkeypatch, 12)
    torch.manual_seed(0)
    network = a3c.ActorCritic(4, 2, hidden=8)
    before, alone = copy.deepcopy(network), copy.deepcopy(network)
    shared = shared_memory(network, CARTPOLE)
    a3c.actor_learner(0, shared, CARTPOLE)
    ends = serial_a3c(alone, CARTPOLE)
    assert ends.count(True) > 5 and ends.count(False) > 5
    assert shared.frames.value >= 600
    for weight, wanted, first in zip(*(n.parameters() for n in (network, alone, before))):
        torch.testing.assert_close(weight, wanted, rtol=1e-3, atol=1e-4)
        assert (weight - first).abs().max() > 1e-3
    last = nn.utils.parameters_to_vector(network.parameters())
    torch.testing.assert_close(shared.kept[-1], last.detach())
    assert (shared.kept.abs().sum(dim=1) > 0).all() and (shared.seconds.diff() > 0).all()


def test_q_loss_by_hand(monkeypatch):
    torch.manual_seed(0)
    network, target = (a3c.q_network(2, 3, hidden=4) for _ in range(2))
    steps = []
    for action, terminated in ((0, False), (2, True), (1, False)):
        steps.append((torch.randn(2), action, 0.5 * action, torch.randn(2), terminated))
    loss = a3c.q_loss(network, target, steps)
    loss.backward()
    expected, gradient = 0.0, torch.zeros(3)
    for state, action, reward, next_state, terminated in steps:
        wanted = reward if terminated else reward + 0.99 * max(target(next_state).tolist())
        error = network(state)[action].item() - wanted
        expected += error**2 / 2
        gradient[action] += error
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(network[-1].bias.grad, gradient)
    assert all(weight.grad is None for weight in target.parameters())


def test_q_worker_renews_its_target_and_counts_on(monkeypatch):
    monkeypatch.setattr(a3c, "RENEWAL", 200)
    torch.manual_seed(0)
    network = a3c.q_network(4, 2, hidden=8)
    shared = shared_memory(network, CARTPOLE)
    renewed = []
    load = shared.target.load_state_dict

    def spy(weights):
        renewed.append(shared.frames.value)
        return load(weights)

    shared.target.load_state_dict = spy
    a3c.q_learner(0, shared, CARTPOLE)
    assert renewed == [200, 400, 600] and shared.frames.value == 600
    for weight, copied in zip(network.parameters(), shared.target.parameters()):
        torch.testing.assert_close(weight, copied)


@pytest.mark.parametrize("worker", [a3c.actor_learner, a3c.q_learner])
def test_a_process_does_what_the_function_does(worker):
    """One spawned worker ends with the weights that a call in this process ends with."""
    torch.manual_seed(0)
    make = a3c.ActorCritic if worker is a3c.actor_learner else a3c.q_network
    network = make(4, 2, 8)
    here = copy.deepcopy(network)
    shared = a3c.train(worker, network, CARTPOLE)
    worker(0, shared_memory(here, CARTPOLE), CARTPOLE)
    assert shared.network is network
    for weight, wanted in zip(network.parameters(), here.parameters()):
        torch.testing.assert_close(weight, wanted)


def test_training_beats_random_play():
    settings = a3c.Settings("CartPole-v1", workers=2, frames=20_000, learning_rate=1e-2, seed=11)
    arm = a3c.run(a3c.actor_learner, settings, 20, "cpu")
    assert max(arm["curve"]) > 60  # random play: 22
    assert len(arm["curve"]) == len(arm["seconds"]) == a3c.LOOKS
    assert min(np.diff(arm["seconds"])) > 0


def test_mean_return_is_that_of_plain_episodes():
    policy = a3c.linear_policy(torch.tensor([0.0, 0.0, 1.0, 0.0]))
    found = a3c.mean_return(policy, "CartPole-v1", episodes=6, seed=4)
    starts, _ = gymnasium.make_vec("CartPole-v1", num_envs=6).reset(seed=4)
    returns = []
    for start in starts:
        env = gymnasium.make("CartPole-v1")
        env.reset()
        env.unwrapped.state = state = start
        total, over = 0.0, False
        while not over:
            state, reward, terminated, truncated, _ = env.step(int(state[2] > 0))
            total += reward
            over = terminated or truncated
        returns.append(total)
    assert found == pytest.approx(np.mean(returns))


def test_an_evaluation_without_an_end_is_an_error(monkeypatch):
    monkeypatch.setattr(a3c, "LIMIT", 5)
    with pytest.raises(RuntimeError, match="no end"):
        a3c.mean_return(a3c.random_policy(2), "CartPole-v1", episodes=2, seed=0)


GAMES = """
import os
import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv

class Raises(CartPoleEnv):
    def step(self, action):
        raise ZeroDivisionError("the pole is made of glass")

class Dies(CartPoleEnv):
    def step(self, action):
        os._exit(7)

gymnasium.register("Raises-v0", entry_point="own_games:Raises", max_episode_steps=500)
gymnasium.register("Dies-v0", entry_point="own_games:Dies", max_episode_steps=500)
"""


@pytest.mark.parametrize("game, error, said", [
    ("Raises", mp.ProcessRaisedException, "the pole is made of glass"),
    ("Dies", mp.ProcessExitedException, "exit code 7"),
])  # fmt: skip
def test_a_worker_that_dies_ends_the_run_with_its_error(game, error, said, tmp_path, monkeypatch):
    (tmp_path / "own_games.py").write_text(GAMES, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    settings = a3c.Settings(f"own_games:{game}-v0", 2, 10_000, 1e-2, seed=0)
    with pytest.raises(error, match=said):
        a3c.train(a3c.actor_learner, a3c.ActorCritic(4, 2, 8), settings)
    assert not mp.active_children()


def processes_of(group):
    """How many processes there are in a process group."""
    count = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="utf-8").rsplit(")", 1)[1].split()
        except OSError:  # it has just ended
            continue
        count += fields[2] == str(group) and fields[0] != "Z"
    return count


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="counts processes under /proc")
def test_ctrl_c_leaves_no_process_behind(tmp_path):
    run = subprocess.Popen(
        [sys.executable, str(PAPERS / "a3c.py"), "--out", str(tmp_path)],
        start_new_session=True,  # a group of its own, so that only the parent gets the signal
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        patience = time.monotonic() + 60
        while processes_of(run.pid) < 2 and time.monotonic() < patience:
            time.sleep(0.2)
        time.sleep(1)
        assert processes_of(run.pid) >= 2 and run.poll() is None
        os.kill(run.pid, signal.SIGINT)
        _, said = run.communicate(timeout=60)
        assert run.returncode != 0 and b"KeyboardInterrupt" in said
        patience = time.monotonic() + 10
        while processes_of(run.pid) and time.monotonic() < patience:
            time.sleep(0.2)
        assert processes_of(run.pid) == 0
    finally:
        try:
            os.killpg(run.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
