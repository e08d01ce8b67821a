"""rl_net.py: loss by hand, memory against a deque, and the exact Q of small decision processes."""

import copy
from collections import deque

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

import rl_net


@pytest.fixture
def pair():
    """Two networks with weights of their own."""
    torch.manual_seed(0)
    return rl_net.q_network().double(), rl_net.q_network().double()


def some_transitions(batch=40):
    generator = torch.Generator().manual_seed(5)
    state, next_state = torch.randn(2, batch, 4, generator=generator, dtype=torch.float64)
    action = torch.randint(2, (batch,), generator=generator)
    reward = torch.randn(batch, generator=generator, dtype=torch.float64)
    terminated = (torch.rand(batch, generator=generator) < 0.4).double()
    return state, action, reward, next_state, terminated


def by_hand(network, state):
    """The network's Q in NumPy, and its last layer's input."""
    hidden, layers = (
        state.numpy() * [1.0, 1.0, 10.0, 1.0],
        [layer for layer in network if isinstance(layer, nn.Linear)],
    )
    for layer in layers[:-1]:
        hidden = np.maximum(
            hidden @ layer.weight.detach().numpy().T + layer.bias.detach().numpy(), 0
        )
    return hidden @ layers[-1].weight.detach().numpy().T + layers[-1].bias.detach().numpy(), hidden


def test_loss_and_gradient_of_the_last_layer_in_numpy(pair):
    online, target = pair
    state, action, reward, next_state, terminated = transitions = some_transitions()
    loss = rl_net.td_loss(online, target, transitions)
    loss.backward()

    (q, hidden), (future, _) = by_hand(online, state), by_hand(target, next_state)
    errors = np.zeros((40, 2))  # dloss/dQ
    for i in range(40):
        wanted = reward[i].item()
        if not terminated[i]:
            wanted += 0.99 * max(future[i])
        errors[i, action[i]] = q[i, action[i]] - wanted
    assert loss.item() == pytest.approx((errors**2).sum() / 40, rel=1e-12)
    np.testing.assert_allclose(
        online[-1].weight.grad, 2 / 40 * errors.T @ hidden, rtol=1e-9, atol=1e-12
    )
    np.testing.assert_allclose(online[-1].bias.grad, 2 / 40 * errors.sum(0), rtol=1e-9, atol=1e-12)


def test_no_gradient_flows_into_the_target_even_where_it_is_the_online_network(pair):
    online, target = pair
    rl_net.td_loss(online, target, some_transitions()).backward()
    assert all(weight.grad is None for weight in target.parameters())
    twin = copy.deepcopy(target)
    rl_net.td_loss(twin, target, some_transitions()).backward()
    rl_net.td_loss(target, target, some_transitions()).backward()
    for a, b in zip(twin.parameters(), target.parameters()):
        torch.testing.assert_close(a.grad, b.grad)


def test_memory_holds_what_a_deque_would_and_draws_from_all_of_it_alike():
    torch.manual_seed(0)
    memory, plain = rl_net.Memory(8, state_size=1), deque(maxlen=8)
    for t in range(21):
        transition = (float(t), t % 5, -t, t + 0.5, bool(t % 2))
        memory.add(
            torch.tensor([transition[0]]),
            *transition[1:3],
            torch.tensor([transition[3]]),
            transition[4],
        )
        plain.append(transition)
        drawn = list(zip(*(part.flatten().tolist() for part in memory.sample(400))))
        assert set(drawn) == set(plain)
    counts = [drawn.count(transition) for transition in plain]
    assert min(counts) > 20 and max(counts) < 90  # 50 ± 7 each


def test_epsilon_and_act():
    assert [rl_net.epsilon(step, 1000) for step in (0, 125, 250, 1000)] == pytest.approx(
        [1, 0.525, 0.05, 0.05]
    )
    torch.manual_seed(0)
    network, state = rl_net.q_network(), torch.randn(4)
    best = network(state).argmax().item()
    for chance in (0.0, 0.5, 1.0):  # half of the random actions are the best one
        other = np.mean([rl_net.act(network, state, chance) != best for _ in range(1000)])
        assert abs(other - chance / 2) < 0.08 * chance + 1e-9


def steady_network():
    """A hand-made controller that balances: right if a weighted sum of the state is positive."""
    network = nn.Sequential(rl_net.Units(), nn.Linear(4, 2))
    rule = torch.tensor([0.1, 0.3, 0.1, 0.5])  # of the state in Units
    network[1].weight.data, network[1].bias.data = torch.stack([-rule, rule]), torch.zeros(2)
    return network


@pytest.mark.parametrize("make", [rl_net.q_network, steady_network])
def test_greedy_returns_are_those_of_plain_episodes_from_the_same_states(make):
    torch.manual_seed(0)
    network = make()
    returns = rl_net.greedy_returns(network, 6, seed=3)
    starts, _ = rl_net.CartPoleVectorEnv(num_envs=6).reset(seed=3)
    for start, expected in zip(starts, returns):
        env, total, over = gymnasium.make("CartPole-v1"), 0.0, False
        env.reset()
        env.unwrapped.state = state = start
        while not over:
            action = int(by_hand(network, torch.tensor(state))[0].argmax())
            state, reward, terminated, truncated, _ = env.step(action)
            total, over = total + reward, terminated or truncated
        assert total == expected
    assert (returns < 100).all() if make is rl_net.q_network else (returns == 500).all()


class Tabular(gymnasium.Env):
    """A small decision process of one-hot states, moves deterministic; the last state ends it."""

    observation_space, action_space = spaces.Box(0, 1, (4,)), spaces.Discrete(2)
    moves = np.array([[1, 2], [0, 3], [2, 0]])
    rewards = np.array([[0.0, 0.2], [0.1, 1.0], [0.4, 0.0]])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = int(self.np_random.integers(3))
        return np.eye(4, dtype=np.float32)[self.at], {}

    def step(self, action):
        reward = float(self.rewards[self.at, action])
        self.at = int(self.moves[self.at, action])
        return np.eye(4, dtype=np.float32)[self.at], reward, self.at == 3, False, {}


class Forever(Tabular):
    """One state, reward 1, no end of its own."""

    resets = 0

    def reset(self, *, seed=None, options=None):
        self.resets += 1
        return np.eye(4, dtype=np.float32)[0], {}

    def step(self, action):
        return np.eye(4, dtype=np.float32)[0], 1.0, False, False, {}


def learnt_table(env, steps, capacity=1000):
    """DQN with a table for a network: one linear layer, all zero."""
    torch.manual_seed(0)
    table = nn.Linear(4, 2)
    for weight in table.parameters():
        weight.data.zero_()
    env.reset(seed=0)
    for _ in rl_net.dqn(env, table, rl_net.Memory(capacity, 4), steps, learning_rate=0.03):
        pass
    return table(torch.eye(4)).detach().numpy()  # (4 states, 2 actions)


def test_dqn_finds_the_q_of_value_iteration(monkeypatch):
    monkeypatch.setattr(rl_net, "GAMMA", 0.8)
    q = np.zeros((3, 2))
    for _ in range(200):
        values = np.append(q.max(axis=1), 0)  # nothing comes after the end
        q = Tabular.rewards + 0.8 * values[Tabular.moves]
    found = learnt_table(gymnasium.wrappers.TimeLimit(Tabular(), 10), steps=3000)
    assert np.abs(found[:3] - q).max() < 0.03


def test_truncation_is_no_end(monkeypatch):
    """Cut at every fifth step, and still worth 1 / (1 − γ) = 5. Were a cut an end: 2.8."""
    monkeypatch.setattr(rl_net, "GAMMA", 0.8)
    env = gymnasium.wrappers.TimeLimit(Forever(), 5)
    assert learnt_table(env, 2000)[0].max() == pytest.approx(5, rel=0.06)
    assert (
        env.unwrapped.resets == 2 + 2000 // 5
    )  # but a new episode begins: once before the training, once at its start


def test_target_batch_and_learning_rate_of_every_gradient_step(monkeypatch):
    seen, rates, real = {}, [], rl_net.td_loss

    def spy(online, target, transitions):
        seen[played + 1] = (
            target.weight.detach().clone(),
            online.weight.detach().clone(),
            transitions[0],
        )
        return real(online, target, transitions)

    class Recording(torch.optim.Adam):
        def step(self, *args, **kwargs):
            rates.append(self.param_groups[0]["lr"])
            return super().step(*args, **kwargs)

    monkeypatch.setattr(rl_net, "td_loss", spy)
    monkeypatch.setattr(torch.optim, "Adam", Recording)
    table, memory, played = nn.Linear(4, 2), rl_net.Memory(500, 4), 0
    for step in rl_net.dqn(Tabular(), table, memory, 120, 0.5):
        played = step
    assert list(seen) == list(range(11, 121))  # the first ten steps only fill the memory
    for step, (target, _, state) in seen.items():
        refreshed = (step - 1) // rl_net.SYNC * rl_net.SYNC
        as_it_was_then = seen[max(refreshed + 1, 11)][1]
        assert torch.equal(target, as_it_was_then)
        assert state.shape == (rl_net.BATCH, 4)
    assert not torch.equal(seen[40][0], seen[41][0])
    assert rates == pytest.approx([0.5 * (1 - step / 120) for step in seen])


@pytest.mark.parametrize("make", [rl_net.q_network, steady_network])
def test_what_q_promised_and_what_was_got_in_plain_episodes(make):
    torch.manual_seed(0)
    network = make()
    starts, promised, got = rl_net.promised_and_got(network, 40, seed=5)
    assert np.abs(starts[:, 2]).max() <= 0.2 and np.abs(starts[:, 3]).max() <= 3
    assert (starts[:, :2] == 0).all() and starts[:, 2:].std(axis=0).min() > 0.05
    for start, q, expected in zip(starts, promised, got):
        assert q == pytest.approx(by_hand(network, torch.tensor(start))[0].max(), rel=1e-4)
        env, total = gymnasium.make("CartPole-v1").unwrapped, 0.0
        env.reset()
        env.state = state = start
        for step in range(500):
            action = int(by_hand(network, torch.tensor(state))[0].argmax())
            state, _, fallen, _, _ = env.step(action)
            if fallen:
                total = -(0.99**step)
                break
        assert total == pytest.approx(expected, abs=1e-5)  # the return is summed in float32
    assert got.min() < -0.9 and (make is rl_net.q_network or (got == 0).any())


def test_physics_agrees_with_the_fall_of_a_pole_that_nobody_pushes():
    """Without a push the angle grows like ½ |θ + θ'/ω| e^(ωt): all starts reach 0.21 as it says."""
    starts = np.array([[0, 0, 0.004, 0.0], [0, 0, 0.0, 0.02], [0, 0, 0.05, -0.18]])
    times = []
    for start in starts:
        env = gymnasium.make("CartPole-v1").unwrapped
        env.reset()
        env.force_mag = 0.0
        env.state, fallen, steps = start, False, 0
        while not fallen:
            _, _, fallen, _, _ = env.step(0)
            steps += 1
        times.append(steps * 0.02)
    # Euler's method multiplies by 1 + ω dt in a step, where time itself multiplies by e^(ω dt).
    growth = (1 + 15.8**0.5 * 0.02) ** (np.array(times) / 0.02)
    grown = -rl_net.physics(starts) / 2 * growth
    np.testing.assert_allclose(grown, 0.2095, rtol=0.08)


def test_training_beats_random_play():
    """Random play holds the pole for about 22 steps."""
    trained = rl_net.train(steps=2400, seed=0, device="cpu")
    assert len(trained["curve"]) == rl_net.CHECKS
    kept = rl_net.greedy_returns(trained["best"], 100, seed=1).mean()
    assert kept > 100 and kept == pytest.approx(max(trained["curve"]), rel=0.3)
