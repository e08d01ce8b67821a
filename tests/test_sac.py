"""The squashed Gaussian, the losses and the loop of papers/sac.py, against other ways."""

import copy
import math

import gymnasium
import numpy as np
import pytest
import torch
from torch import distributions as D

from papers import sac


@pytest.fixture
def double():
    """Networks and numbers in double precision."""
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


def squashed(mu, log_sigma):
    """The policy as torch.distributions has it."""
    tanh = D.TanhTransform(cache_size=1)
    return D.Independent(D.TransformedDistribution(D.Normal(mu, log_sigma.exp()), [tanh]), 1)


def batch_of(count, state_size=3, action_size=2):
    return sac.Transitions(
        state=torch.randn(count, state_size),
        action=torch.rand(count, action_size) * 2 - 1,
        reward=torch.randn(count),
        next_state=torch.randn(count, state_size),
        terminated=(torch.arange(count) % 2).to(torch.get_default_dtype()),
    )


# The squashed Gaussian


def test_sample_and_density_equal_torch_distributions_forward_and_backward(double):
    actor = sac.Actor(3, 2)
    state = torch.randn(64, 3)

    torch.manual_seed(1)
    action, log_p = sac.sample(actor, state)
    (log_p * torch.arange(64.0)).sum().backward()
    ours = [weight.grad.clone() for weight in actor.parameters()]

    actor.zero_grad()
    torch.manual_seed(1)
    policy = squashed(*actor(state))
    theirs = policy.rsample()
    (policy.log_prob(theirs) * torch.arange(64.0)).sum().backward()

    torch.testing.assert_close(action, theirs)
    torch.testing.assert_close(log_p, policy.log_prob(theirs))
    for mine, weight in zip(ours, actor.parameters()):
        torch.testing.assert_close(mine, weight.grad)


@pytest.mark.parametrize("mu, sigma", [(0.0, 1.0), (0.7, 0.3), (-1.5, 0.8)])
def test_the_density_integrates_to_one(double, mu, sigma):
    action = torch.linspace(-1, 1, 400_002)[1:-1]
    u = torch.atanh(action)[:, None]
    log_sigma = torch.full_like(u, math.log(sigma))
    density = sac.log_density(u, torch.full_like(u, mu), log_sigma).exp()
    assert torch.trapezoid(density, action).item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("place", [-200.0, -20.0, 20.0, 200.0])
def test_saturated_actions_have_finite_densities_and_gradients(place):
    mu = torch.full((1, 1), place, requires_grad=True)
    log_sigma = torch.zeros(1, 1, requires_grad=True)
    u = mu + 0.5 * log_sigma.exp()
    log_p = sac.log_density(u, mu, log_sigma)
    log_p.sum().backward()
    # At saturation 1 − tanh² u = 4 e^(−2|u|), to all digits.
    by_hand = -0.125 - math.log(2 * math.pi) / 2 - (math.log(4) - 2 * abs(u.item()))
    assert log_p.item() == pytest.approx(by_hand, rel=1e-6)
    assert mu.grad.item() == pytest.approx(2 * math.copysign(1, place), rel=1e-5)
    assert torch.isfinite(log_sigma.grad).all()


def test_log_sigma_stays_in_its_range():
    actor = sac.Actor(3, 2)
    _, log_sigma = actor(1e6 * torch.randn(500, 3))
    assert log_sigma.min() == sac.LOG_SIGMA[0] and log_sigma.max() == sac.LOG_SIGMA[1]


def test_probabilities_of_intervals_agree_with_sampled_actions():
    torch.manual_seed(0)
    actor = sac.Actor(3, 1)
    state = np.array([0.3, -2.0, 1.0], dtype=np.float32)
    actions, _ = sac.sample(actor, torch.tensor(state).expand(100_000, 3))
    counted, _ = np.histogram(actions.detach().numpy(), bins=sac.BINS, range=(-1, 1))
    np.testing.assert_allclose(sac.action_probabilities(actor, state), counted / 100_000, atol=4e-3)


# The objectives


@pytest.fixture
def nets(double):
    return sac.Actor(3, 2), sac.Critics(3, 2), sac.Critics(3, 2)


def test_the_target_by_hand(nets):
    actor, _, target_critics = nets
    batch = batch_of(40)
    batch = batch._replace(next_state=10 * batch.next_state)
    alpha = torch.tensor(0.7)
    torch.manual_seed(1)
    target = sac.soft_target(batch, actor, target_critics, alpha)

    torch.manual_seed(1)
    policy = squashed(*actor(batch.next_state))
    action = policy.rsample()
    log_p = policy.log_prob(action)
    both = torch.cat([batch.next_state, action], dim=1)
    q1, q2 = target_critics.q1(both), target_critics.q2(both)
    for row in range(40):
        expected = batch.reward[row].item()
        if row % 2 == 0:  # the others terminated
            smaller = min(q1[row].item(), q2[row].item())
            expected += 0.99 * (smaller - 0.7 * log_p[row].item())
        assert target[row].item() == pytest.approx(expected)
    assert not target.requires_grad
    larger_is_1 = (q1 > q2).squeeze()
    assert larger_is_1.any() and not larger_is_1.all(), "the minimum should choose both"


def test_the_critics_loss_is_half_the_squared_error_of_each(nets):
    _, critics, _ = nets
    batch = batch_of(8)
    target = torch.randn(8)
    both = torch.cat([batch.state, batch.action], dim=1)
    first, second = critics.q1(both)[:, 0], critics.q2(both)[:, 0]
    expected = ((first - target) ** 2).mean() / 2 + ((second - target) ** 2).mean() / 2
    torch.testing.assert_close(sac.critic_loss(critics, batch, target), expected)


def test_the_actors_gradient_agrees_with_finite_differences(nets):
    actor, critics, _ = nets
    state = torch.randn(16, 3)
    alpha = torch.tensor(0.3)
    noise = torch.randn(16, 2)

    def by_hand():
        """E[α log π − min Q] for these actions, without the script's functions."""
        mu, log_sigma = actor(state)
        policy = squashed(mu, log_sigma)
        u = mu + log_sigma.exp() * noise
        action = torch.tanh(u)
        log_p = D.Normal(mu, log_sigma.exp()).log_prob(u) - torch.log(1 - action**2)
        assert policy.event_shape == (2,)
        both = torch.cat([state, action], dim=1)
        smaller = torch.minimum(critics.q1(both), critics.q2(both))[:, 0]
        return (0.3 * log_p.sum(dim=1) - smaller).mean().item()

    def ours():
        mu, log_sigma = actor(state)
        u = mu + log_sigma.exp() * noise
        log_p = sac.log_density(u, mu, log_sigma)
        return sac.actor_loss(log_p, critics(state, torch.tanh(u)), alpha)

    assert ours().item() == pytest.approx(by_hand())
    ours().backward()
    weight = actor.layers[4].bias
    for entry in range(4):
        with torch.no_grad():
            weight[entry] += 1e-6
            above = by_hand()
            weight[entry] -= 2e-6
            below = by_hand()
            weight[entry] += 1e-6
        slope = (above - below) / 2e-6
        assert weight.grad[entry].item() == pytest.approx(slope, abs=1e-7)


def test_the_reparameterized_gradient_is_that_of_the_expectation(double):
    """For E[a²], a = tanh(u), the derivative by μ and log σ is known from an integral."""
    mu, log_sigma = 0.4, -0.7
    u = torch.linspace(-8, 8, 20_001)

    def expectation(mu, log_sigma):
        density = D.Normal(mu, math.exp(log_sigma)).log_prob(u).exp()
        return torch.trapezoid(density * torch.tanh(u) ** 2, u).item()

    class Constant(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.both = torch.nn.Parameter(torch.tensor([mu, log_sigma]))

        def forward(self, state):
            return self.both[:1].expand(len(state), 1), self.both[1:].expand(len(state), 1)

    actor = Constant()
    action, _ = sac.sample(actor, torch.zeros(400_000, 1))
    (action**2).mean().backward()
    by_mu = (expectation(mu + 1e-4, log_sigma) - expectation(mu - 1e-4, log_sigma)) / 2e-4
    by_log_sigma = (expectation(mu, log_sigma + 1e-4) - expectation(mu, log_sigma - 1e-4)) / 2e-4
    np.testing.assert_allclose(actor.both.grad, [by_mu, by_log_sigma], atol=5e-3)


def test_rewards_times_c_at_alpha_are_rewards_at_alpha_over_c(nets):
    """Every target and the actor's loss are c times as large, if the critics are."""
    actor, critics, _ = nets
    c, alpha = 0.01, torch.tensor(0.2)
    scaled_critics = copy.deepcopy(critics)
    with torch.no_grad():
        for net in (scaled_critics.q1, scaled_critics.q2):
            net[4].weight *= c
            net[4].bias *= c
    batch = batch_of(32)
    scaled_batch = batch._replace(reward=c * batch.reward)

    torch.manual_seed(1)
    target = sac.soft_target(batch, actor, critics, alpha / c)
    torch.manual_seed(1)
    scaled_target = sac.soft_target(scaled_batch, actor, scaled_critics, alpha)
    torch.testing.assert_close(scaled_target, c * target)
    torch.testing.assert_close(
        sac.critic_loss(scaled_critics, scaled_batch, scaled_target),
        c**2 * sac.critic_loss(critics, batch, target),
    )

    action, log_p = sac.sample(actor, batch.state)
    torch.testing.assert_close(
        sac.actor_loss(log_p, scaled_critics(batch.state, action), alpha),
        c * sac.actor_loss(log_p, critics(batch.state, action), alpha / c),
    )


@pytest.mark.parametrize("entropy, falls", [(0.0, True), (-2.0, False)])
def test_the_temperature_falls_while_the_entropy_is_above_its_target(entropy, falls):
    log_temperature = torch.tensor(-0.5, requires_grad=True)
    log_p = torch.full((8,), -entropy, requires_grad=True)
    sac.temperature_loss(log_temperature, log_p, target_entropy=-1.0).backward()
    assert log_temperature.grad.item() == pytest.approx(entropy + 1.0)
    assert (log_temperature.grad > 0) == falls  # descent goes against the gradient
    assert log_p.grad is None, "the policy must not learn from this loss"


def test_targets_move_by_tau(nets):
    _, critics, target_critics = nets
    before = [weight.clone() for weight in target_critics.parameters()]
    sac.move_towards(target_critics, critics)
    for old, new, weight in zip(before, target_critics.parameters(), critics.parameters()):
        torch.testing.assert_close(new.data, 0.005 * weight.data + 0.995 * old)


# The loop


class Choice(gymnasium.Env):
    """A reward of −10 (a − 0.6)² for an action a in [−1, 1], whatever happened before. The state
    tells the time, and an episode is truncated after ten steps."""

    observation_space = gymnasium.spaces.Box(0, 1, (1,), np.float32)
    action_space = gymnasium.spaces.Box(-2, 2, (1,), np.float32)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.time += 1
        reward = -10 * float(action[0] / 2 - 0.6) ** 2
        return np.full(1, self.time / 10, np.float32), reward, False, False, {}


class Delayed(gymnasium.Env):
    """The same reward for the first of two actions, but only after the second."""

    observation_space = gymnasium.spaces.Box(-2, 2, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-2, 2, (1,), np.float32)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.first = None
        return np.zeros(2, np.float32), {}

    def step(self, action):
        if self.first is None:
            self.first = float(action[0] / 2)
            return np.array([1, self.first], np.float32), 0.0, False, False, {}
        return np.ones(2, np.float32), -10 * (self.first - 0.6) ** 2, True, False, {}


gymnasium.register("Choice-v0", Choice, max_episode_steps=10)
gymnasium.register("Delayed-v0", Delayed, max_episode_steps=5)


@pytest.fixture
def few_looks(monkeypatch):
    monkeypatch.setattr(sac, "LOOKS", 4)
    monkeypatch.setattr(sac, "WARM_UP", 100)


def test_training_finds_the_action_the_entropy_and_the_temperature(few_looks):
    """exp(−10 (a − 0.6)² / α) is a Gaussian with the variance α / 20. An entropy of −1 belongs to
    the variance e^(−3) / 2π, and so α = 20 e^(−3) / 2π = 0.158."""
    actor, history = sac.train("Choice-v0", 2000, 0, "cpu")
    assert sac.act(actor, np.zeros(1, np.float32), stochastic=False) == pytest.approx(0.6, abs=0.1)
    assert history["entropy"][-1] == pytest.approx(-1, abs=0.1)
    assert history["temperature"][-1] == pytest.approx(0.158, rel=0.25)
    assert history["return"][-1] > -3  # 10 steps, each −10 · 0.008


def test_a_fixed_temperature_is_kept_and_decides_the_entropy(few_looks):
    """At α = 1 the variance is 1 / 20, and the policy's entropy −0.08 but for the bounds."""
    _, history = sac.train("Choice-v0", 1200, 0, "cpu", fixed_temperature=1.0)
    assert history["temperature"] == [1.0] * len(history["step"])
    assert history["entropy"][-1] == pytest.approx(-0.12, abs=0.15)


def test_training_learns_from_a_reward_that_comes_later(few_looks):
    """This takes a target network that follows the critics."""
    actor, _ = sac.train("Delayed-v0", 2000, 0, "cpu")
    assert sac.act(actor, np.zeros(2, np.float32), stochastic=False) == pytest.approx(0.6, abs=0.15)


@pytest.mark.parametrize("env_id, share", [("Choice-v0", 0.0), ("Delayed-v0", 0.5)])
def test_truncation_is_not_stored_as_termination(env_id, share, few_looks, monkeypatch):
    stored = []
    store = sac.ReplayBuffer.store

    def spy(self, *transition):
        stored.append(transition)
        store(self, *transition)

    monkeypatch.setattr(sac.ReplayBuffer, "store", spy)
    sac.train(env_id, 40, 0, "cpu", reward_scale=0.5)
    assert len(stored) == 40
    assert np.mean([terminated for *_, terminated in stored]) == share
    for state, action, reward, next_state, _ in stored:
        if env_id == "Choice-v0":
            assert next_state[0] - state[0] == pytest.approx(0.1), "a reset stands in for a state"
            assert reward == pytest.approx(-5 * (action[0] - 0.6) ** 2, abs=1e-5)


def test_the_buffer_keeps_what_belongs_together():
    replay = sac.ReplayBuffer(50, 3, 2, "cpu")
    for number in range(30):
        replay.store(np.full(3, number), np.full(2, number), number, np.full(3, number), number % 2)
    batch = replay.sample(2000)
    assert batch.reward.unique().tolist() == list(range(30))
    assert (batch.state == batch.reward[:, None]).all()
    assert (batch.action == batch.reward[:, None]).all()
    assert (batch.next_state == batch.reward[:, None]).all()
    assert (batch.terminated == batch.reward % 2).all()


# Evaluation and options


def test_evaluation_agrees_with_episodes_by_hand():
    env = gymnasium.make("Pendulum-v1")
    state, _ = env.reset(seed=5)
    returns = []
    for _ in range(2):
        total = 0.0
        for _ in range(200):
            action = np.clip(0.5 * state[1:2], -1, 1)
            state, reward, _, truncated, _ = env.step(2 * action)
            total += float(reward)
        assert truncated
        returns.append(total)
        state, _ = env.reset()
    found = sac.evaluate(lambda state: np.clip(0.5 * state[1:2], -1, 1), "Pendulum-v1", 2, 5)
    assert found == pytest.approx(np.mean(returns), rel=1e-5)


class Endless(Choice):
    pass


gymnasium.register("Endless-v0", Endless)


@pytest.mark.parametrize("env_id", ["Nothing-v0", "CartPole-v1", "Endless-v0"])
def test_an_environment_that_does_not_fit_gets_a_sentence(env_id, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        sac.main(["--smoke", "--out", str(tmp_path), "--env", env_id])
    said = capsys.readouterr().err
    assert stopped.value.code == 2 and f"--env {env_id}: " in said and "Traceback" not in said


def test_another_environment_is_played_and_nothing_judged(tmp_path, capsys):
    argv = ["--smoke", "--out", str(tmp_path), "--env", "MountainCarContinuous-v0"]
    results = sac.main(argv)
    assert results["claims"] == [] and results["data"] == "MountainCarContinuous-v0"
    assert "judged" not in capsys.readouterr().out
    assert (tmp_path / "sac.png").exists() and (tmp_path / "sac.gif").exists()
