"""rl_net.py's targets against NumPy, its algorithm against the exact Q of a small Markov decision process."""

import copy

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

import rl_net

GAMMA = 0.99


def some_transitions(runs=3, batch=7, dtype=torch.float64):
    generator = torch.Generator().manual_seed(5)
    state, next_state = torch.randn(2, runs, batch, 4, generator=generator, dtype=dtype)
    action = torch.randint(2, (runs, batch), generator=generator)
    reward = torch.randn(runs, batch, generator=generator, dtype=dtype)
    terminated = (torch.rand(runs, batch, generator=generator) < 0.4).to(dtype)
    return state, action, reward, next_state, terminated


def two_networks():
    pair = [rl_net.Networks(seeds, (4, 6, 5, 2), (2.0, 1.0, 0.5, 3.0)).double() for seeds in ([0, 1, 2], [3, 4, 5])]
    return pair


def as_mlp(networks, run):
    """One of the side-by-side networks, as torch.nn would write it."""
    layers = []
    for weight, bias in zip(networks.weights, networks.biases):
        linear = nn.Linear(*weight.shape[1:]).double()
        linear.weight.data, linear.bias.data = weight[run].T.detach().clone(), bias[run, 0].detach().clone()
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


# the network


def test_side_by_side_networks_are_so_many_mlps_forward_and_backward():
    networks, _ = two_networks()
    state = torch.randn(3, 7, 4, dtype=torch.float64)
    q = networks(state)
    (q**2).sum().backward()
    for run in range(3):
        mlp = as_mlp(networks, run)
        alone = mlp(state[run] / torch.tensor([2.0, 1.0, 0.5, 3.0]))
        torch.testing.assert_close(q[run], alone)
        (alone**2).sum().backward()
        for weight, bias, linear in zip(networks.weights, networks.biases, mlp[::2]):
            torch.testing.assert_close(weight.grad[run].T, linear.weight.grad)
            torch.testing.assert_close(bias.grad[run, 0], linear.bias.grad)


def test_a_run_starts_from_its_own_seed_whoever_is_beside_it():
    together, alone = rl_net.Networks([4, 9], (4, 6, 2), (1.0,) * 4), rl_net.Networks([9], (4, 6, 2), (1.0,) * 4)
    for a, b in zip(together.parameters(), alone.parameters()):
        assert torch.equal(a[1], b[0]) and not torch.equal(a[0], b[0])


# the loss


def test_td_loss_and_its_gradient_by_hand():
    online, target = two_networks()
    transitions = state, action, reward, next_state, terminated = some_transitions()
    loss = rl_net.td_loss(online, target, transitions)
    loss.backward()
    expected = 0.0
    for run in range(3):
        q_net, frozen = as_mlp(online, run), as_mlp(target, run)
        scale = torch.tensor([2.0, 1.0, 0.5, 3.0], dtype=torch.float64)
        q = q_net(state[run] / scale)
        future = frozen(next_state[run] / scale).detach().numpy()
        by_hand = torch.zeros((), dtype=torch.float64)
        for i in range(7):
            wanted = float(reward[run, i])
            if terminated[run, i] == 0:
                wanted += GAMMA * max(future[i])
            by_hand = by_hand + (q[i, action[run, i]] - wanted) ** 2 / 7
        by_hand.backward()
        expected += by_hand.item()
        for weight, bias, linear in zip(online.weights, online.biases, q_net[::2]):
            torch.testing.assert_close(weight.grad[run].T, linear.weight.grad)
            torch.testing.assert_close(bias.grad[run, 0], linear.bias.grad)
    assert loss.item() == pytest.approx(expected, rel=1e-12)


def test_no_gradient_flows_into_the_target():
    online, target = two_networks()
    rl_net.td_loss(online, target, some_transitions()).backward()
    assert all(weight.grad is None for weight in target.parameters())
    # not even where the target is the online network itself
    frozen = copy.deepcopy(online)
    online.zero_grad()
    rl_net.td_loss(online, frozen, some_transitions()).backward()
    expected = [weight.grad.clone() for weight in online.parameters()]
    online.zero_grad()
    rl_net.td_loss(online, online, some_transitions()).backward()
    for weight, gradient in zip(online.parameters(), expected):
        torch.testing.assert_close(weight.grad, gradient)


# the memory


def fill(memory, first, last):
    for t in range(first, last):
        at = torch.tensor([t, t + 1000])  # the second run's numbers are a thousand higher
        flag = (at % 2).float()
        memory.add(at[:, None].float(), at % 5, -at.float(), at[:, None] + 0.5, flag)


def test_memory_overwrites_the_oldest_and_keeps_transitions_together():
    memory = rl_net.Memory(capacity=8, runs=2, state_size=1)
    fill(memory, 0, 5)
    state, *_ = memory.sample(500)
    assert set(state[0, :, 0].tolist()) == set(range(5))
    fill(memory, 5, 19)
    state, action, reward, next_state, terminated = memory.sample(500)
    assert set(state[0, :, 0].tolist()) == set(range(11, 19))
    assert set(state[1, :, 0].tolist()) == set(range(1011, 1019))
    s = state[..., 0]
    assert torch.equal(reward, -s) and torch.equal(next_state[..., 0], s + 0.5)
    assert torch.equal(action, s.long() % 5) and torch.equal(terminated, s % 2)
    assert not torch.equal(s[0], s[1] - 1000)  # each run draws for itself


def test_memory_draws_uniformly():
    torch.manual_seed(0)
    memory = rl_net.Memory(capacity=10, runs=2, state_size=1)
    fill(memory, 0, 27)
    counts = torch.bincount(memory.sample(20_000)[0][0, :, 0].long() - 17, minlength=10)
    assert ((counts - 2000).abs() < 5 * (20_000 * 0.1 * 0.9) ** 0.5).all()


# playing


def test_epsilon_falls_over_the_first_quarter():
    assert rl_net.epsilon(0, 1000) == 1
    assert rl_net.epsilon(125, 1000) == pytest.approx(0.525)
    assert rl_net.epsilon(250, 1000) == pytest.approx(0.05)
    assert rl_net.epsilon(1000, 1000) == 0.05


def test_act_is_greedy_or_random_for_each_run():
    networks = rl_net.Networks(list(range(400)), (4, 8, 2), (1.0,) * 4)
    state = torch.randn(400, 4)
    best = networks(state[:, None])[:, 0].argmax(dim=1)
    assert torch.equal(rl_net.act(networks, state, 0.0), best) and 0 < best.sum() < 400
    torch.manual_seed(0)
    other = (rl_net.act(networks, state, 0.5) != best).float().mean()  # a quarter: half of the random ones
    assert abs(other - 0.25) < 0.1
    assert abs((rl_net.act(networks, state, 1.0) != best).float().mean() - 0.5) < 0.12


def always(action):
    networks = rl_net.Networks([0, 1], (4, 2), (1.0,) * 4)
    for weight in networks.parameters():
        weight.data.zero_()
    for run in range(2):
        networks.biases[-1].data[run, 0, action[run]] = 1
    return networks


def test_greedy_returns_are_those_of_the_plain_environment():
    returns = rl_net.greedy_returns(always((0, 1)), 2, 50, seed=3)
    assert returns.shape == (2, 50)
    env, plain = gymnasium.make("CartPole-v1"), []
    for episode in range(50):
        env.reset(seed=episode)
        total, done = 0, False
        while not done:
            _, reward, terminated, truncated, _ = env.step(0)
            total, done = total + reward, terminated or truncated
        plain.append(total)
    assert 8 <= returns.min() and returns.max() <= 11 and min(plain) >= 8 and max(plain) <= 11
    assert abs(returns[0].mean() - np.mean(plain)) < 0.6 and abs(returns[1].mean() - np.mean(plain)) < 0.6


def steady(state):
    """A hand-made controller that balances for ever: right if this is positive."""
    return state @ torch.tensor([0.1, 0.3, 1.0, 0.5])


def test_greedy_returns_stop_at_500():
    class Steady(nn.Linear):
        def forward(self, state):
            return torch.stack([-steady(state), steady(state)], dim=-1)

    assert (rl_net.greedy_returns(Steady(1, 1), 2, 5, seed=0) == 500).all()


# the whole algorithm


class Tabular(gymnasium.Env):
    """A random Markov decision process with deterministic moves: 4 one-hot states, 2 actions, state 3 ends."""

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


def best_q(gamma):
    """By trying all eight policies and solving each one's linear system."""
    best = np.full(4, -np.inf)
    for policy in np.ndindex(2, 2, 2):
        step, reward = np.zeros((4, 4)), np.zeros(4)
        for s, a in enumerate(policy):
            step[s, Tabular.moves[s, a]], reward[s] = 1, Tabular.rewards[s, a]
        step[:, 3] = 0  # nothing comes after the end
        best = np.maximum(best, np.linalg.solve(np.eye(4) - gamma * step, reward))
    best[3] = 0
    return Tabular.rewards + gamma * best[Tabular.moves]


def lookup(runs, inputs):
    """Q as a table: one linear layer without hidden units, all zero."""
    table = rl_net.Networks(list(range(runs)), (inputs, 2), (1.0,) * inputs)
    for weight in table.parameters():
        weight.data.zero_()
    return table


def test_dqn_finds_the_exact_q_of_a_small_decision_process(monkeypatch):
    monkeypatch.setattr(rl_net, "GAMMA", 0.8)
    table = lookup(2, 4)
    envs = [gymnasium.wrappers.TimeLimit(Tabular(), 10) for _ in range(2)]
    for _ in rl_net.dqn(envs, table, [0, 1], steps=3000, learning_rate=0.03, sync_every=20):
        pass
    q = table(torch.eye(4)[:3].expand(2, 3, 4)).detach().numpy()
    assert np.abs(q - best_q(0.8)).max() < 0.03


class Forever(gymnasium.Env):
    """One state, reward 1, no end of its own."""

    observation_space, action_space = spaces.Box(0, 1, (1,)), spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.ones(1, dtype=np.float32), {}

    def step(self, action):
        return np.ones(1, dtype=np.float32), 1.0, False, False, {}


def test_truncation_is_no_end(monkeypatch):
    """Cut after every fifth step, and still worth 1/(1 − γ); were a cut an end, it would be 1 / (1 − 0.8 * 4/5)."""
    monkeypatch.setattr(rl_net, "GAMMA", 0.8)
    table, envs = lookup(1, 1), [gymnasium.wrappers.TimeLimit(Forever(), 5)]
    for _ in rl_net.dqn(envs, table, [0], 2000, learning_rate=0.03):
        pass
    assert table(torch.ones(1, 1, 1)).max().item() == pytest.approx(1 / (1 - 0.8), rel=0.06)


def test_target_is_refreshed_every_so_many_gradient_steps(monkeypatch):
    """Until then it is the network as it began, and it never moves in between."""
    seen = []

    def spy(online, target, transitions):
        seen.append((next(target.parameters()).detach().clone(), next(online.parameters()).detach().clone()))
        return real(online, target, transitions)

    real = rl_net.td_loss
    monkeypatch.setattr(rl_net, "td_loss", spy)
    table = lookup(1, 4)
    for _ in rl_net.dqn([Tabular()], table, [0], steps=200, sync_every=7):
        pass
    assert len(seen) > 40  # a gradient step in every four of the game
    for k, (target, _) in enumerate(seen):
        assert torch.equal(target, seen[k // 7 * 7][1])  # the online network at the last refresh
    assert not torch.equal(seen[0][0], seen[7][0])


def test_every_arm_differs_from_dqn_where_it_says():
    changes = {name: change for name, (change, _) in rl_net.ARMS.items()}
    assert changes["DQN"] == {} and changes["neither"] == {**changes["no replay"], **changes["no target network"]}


def test_learning_rate_falls_in_a_straight_line_to_zero(monkeypatch):
    rates = []

    class Recording(torch.optim.Adam):
        def step(self, *args, **kwargs):
            rates.append(self.param_groups[0]["lr"])
            return super().step(*args, **kwargs)

    monkeypatch.setattr(torch.optim, "Adam", Recording)
    for _ in rl_net.dqn([Tabular()], lookup(1, 4), [0], steps=100, learning_rate=0.5):
        pass
    assert rates == pytest.approx([0.5 * (1 - step / 100) for step in range(10, 101, rl_net.TRAIN_EVERY)])


def test_training_beats_the_random_policy():
    """Random play holds the pole for about 22 steps."""
    trained = rl_net.train([0, 1], steps=3600, device="cpu", checks=6)
    assert trained["curve"].shape == (2, 6)
    assert trained["best"].min() > 60 and trained["best"].mean() > 100
    again = rl_net.greedy_returns(trained["networks"], 2, 100, seed=12345).mean(dim=1)
    assert ((again / trained["best"] - 1).abs() < 0.3).all()  # the kept networks are those that were scored


def test_q_plane_has_angle_across_and_velocity_up():
    networks = rl_net.Networks([0, 1], (4, 8, 2), (1.0,) * 4)
    angle, velocity, q = rl_net.q_plane(networks)
    state = torch.tensor([0.0, 0.0, angle[7], velocity[30]]).expand(2, 1, 4)
    np.testing.assert_allclose(q[30, 7], networks(state)[0, 0].detach(), rtol=1e-5, atol=1e-6)


def test_film_stops_when_the_pole_falls():
    frames, states = rl_net.film(always((0, 1)), steps=60)
    assert len(frames) == len(states) < 60 and frames[0].shape == (160, 400, 3)
    assert abs(states[-1, 2]) > 0.2095 >= abs(states[-2, 2])
    np.testing.assert_allclose(states[0], rl_net.START, rtol=1e-6)
