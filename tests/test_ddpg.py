"""DDPG's parts against finite differences, closed forms and calculations by hand."""

import copy

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.envs.classic_control import PendulumEnv

from papers import ddpg


@pytest.fixture
def nets():
    """An actor and a critic in float64, with last layers large enough to matter."""
    torch.manual_seed(0)
    actor, critic = ddpg.Actor(3, 2).double(), ddpg.Critic(3, 2).double()
    for net in (actor, critic):
        torch.nn.init.normal_(net.output.weight, std=0.3)
    return actor, critic


def test_networks_are_what_the_paper_describes(nets):
    actor, critic = nets
    state = torch.randn(5, 3, dtype=torch.float64)
    action = torch.randn(5, 2, dtype=torch.float64)
    weights = {name: weight.detach().numpy() for name, weight in actor.named_parameters()}
    x = state.numpy()
    for layer in ("hidden_1", "hidden_2"):
        x = np.maximum(0, x @ weights[f"{layer}.weight"].T + weights[f"{layer}.bias"])
    by_hand = np.tanh(x @ weights["output.weight"].T + weights["output.bias"])
    np.testing.assert_allclose(actor(state).detach().numpy(), by_hand)

    weights = {name: weight.detach().numpy() for name, weight in critic.named_parameters()}
    x = np.maximum(0, state.numpy() @ weights["hidden_1.weight"].T + weights["hidden_1.bias"])
    x = np.concatenate([x, action.numpy()], axis=1)  # the action enters here
    x = np.maximum(0, x @ weights["hidden_2.weight"].T + weights["hidden_2.bias"])
    by_hand = (x @ weights["output.weight"].T + weights["output.bias"])[:, 0]
    np.testing.assert_allclose(critic(state, action).detach().numpy(), by_hand)


def test_initial_weights_lie_in_the_papers_bounds():
    torch.manual_seed(0)
    for net, second in ((ddpg.Actor(3, 1), 400), (ddpg.Critic(3, 1), 401)):
        bounds = {"hidden_1": 3**-0.5, "hidden_2": second**-0.5, "output": 3e-3}
        for name, weight in net.named_parameters():
            bound = bounds[name.split(".")[0]]
            assert weight.abs().max() <= bound
            if weight.numel() > 100:
                assert weight.abs().max() > 0.9 * bound
                assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.2)


def test_policy_gradient_is_that_of_the_mean_value_by_finite_differences(nets):
    actor, critic = nets
    state = torch.randn(7, 3, dtype=torch.float64)
    ddpg.policy_gradient(actor, critic, state)
    for weight in actor.parameters():
        flat, gradient = weight.data.view(-1), weight.grad.view(-1)
        for place in gradient.abs().topk(2).indices:
            value = flat[place].item()
            means = []
            for change in (1e-6, -1e-6):
                flat[place] = value + change
                means.append(critic(state, actor(state)).mean().item())
            flat[place] = value
            slope = (means[0] - means[1]) / 2e-6
            assert gradient[place].item() == pytest.approx(-slope, rel=1e-4)


def test_policy_gradient_is_that_of_the_usual_loss_and_leaves_the_critic_alone(nets):
    actor, critic = nets
    state = torch.randn(7, 3, dtype=torch.float64)
    ddpg.policy_gradient(actor, critic, state)
    assert all(weight.grad is None for weight in critic.parameters())
    loss = -critic(state, actor(state)).mean()
    expected = torch.autograd.grad(loss, list(actor.parameters()))
    for weight, gradient in zip(actor.parameters(), expected):
        torch.testing.assert_close(weight.grad, gradient)


def test_target_goes_on_after_truncation_only(nets):
    actor, critic = nets
    next_state = 3 * torch.randn(20, 3, dtype=torch.float64)
    reward = torch.randn(20, dtype=torch.float64)
    terminated = (torch.arange(20) % 2).double()
    critic.output.bias.data -= critic(next_state, actor(next_state)).mean()  # values of both signs
    y = ddpg.td_target(reward, next_state, terminated, actor, critic)
    next_q = critic(next_state, actor(next_state)).detach()
    assert next_q.min() < -0.1 and next_q.max() > 0.1
    torch.testing.assert_close(y[::2], reward[::2] + 0.99 * next_q[::2])
    assert torch.equal(y[1::2], reward[1::2])
    assert not y.requires_grad


def test_soft_update_by_hand(nets):
    target, source = copy.deepcopy(nets[0]), ddpg.Actor(3, 2).double()
    before = [weight.detach().clone() for weight in target.parameters()]
    source_before = [weight.detach().clone() for weight in source.parameters()]
    ddpg.soft_update(target, source, 0.1)
    for new, old, other in zip(target.parameters(), before, source.parameters()):
        torch.testing.assert_close(new.detach(), 0.1 * other.detach() + 0.9 * old)
    for weight, old in zip(source.parameters(), source_before):
        assert torch.equal(weight, old)


def test_noise_has_the_deviation_and_autocorrelation_of_the_closed_form():
    torch.manual_seed(0)
    noise = ddpg.OrnsteinUhlenbeck(4000)
    assert (noise.x == 0).all()
    path = torch.stack([noise.sample() for _ in range(60)])
    # x_t = 0.85 x_{t−1} + 0.2 ε, so the variance is 0.04 (1 − 0.85^2t) / (1 − 0.85²).
    for t in (1, 3, 60):
        variance = 0.04 * (1 - 0.85 ** (2 * t)) / (1 - 0.85**2)
        assert path[t - 1].std().item() == pytest.approx(variance**0.5, rel=0.05)
    for lag in (1, 5):
        measured = torch.corrcoef(torch.stack([path[-1], path[-1 - lag]]))[0, 1].item()
        assert measured == pytest.approx(0.85**lag, abs=0.04)
    assert abs(path[-1].mean()) < 0.03


def test_memory_keeps_the_latest_transitions_together():
    torch.manual_seed(0)
    memory = ddpg.Memory(4, 2, 1, "cpu")
    for n in range(6):
        state = torch.full((2,), float(n))
        memory.add(state, torch.tensor([n / 10]), n * 100.0, state + 1, n == 5)
        sampled = memory.sample(200)[0][:, 0]
        assert set(sampled.tolist()) == set(range(max(0, n - 3), n + 1))
    state, action, reward, next_state, terminated = memory.sample(200)
    torch.testing.assert_close(action[:, 0], state[:, 0] / 10)
    torch.testing.assert_close(reward, state[:, 0] * 100)
    torch.testing.assert_close(next_state, state + 1)
    torch.testing.assert_close(terminated, (state[:, 0] == 5).float())


def test_actions_are_scaled_to_the_bounds_of_the_environment():
    space = gym.spaces.Box(np.array([-2.0, 0.0]), np.array([2.0, 1.0]), dtype=np.float64)
    for action, expected in (([-1, -1], [-2, 0]), ([1, 1], [2, 1]), ([0.5, 0], [1, 0.5])):
        scaled = ddpg.scale_action(torch.tensor(action).double(), space)
        np.testing.assert_allclose(scaled, expected)
    np.testing.assert_allclose(ddpg.scale_action(torch.tensor([3.0, -3.0]), space), [2, 0])


def test_episodes_are_those_of_gymnasium():
    seeds = range(5, 8)
    episodes = ddpg.play(ddpg.controller_by_hand, "Pendulum-v1", seeds, "cpu")
    for seed, episode in zip(seeds, episodes):
        env = PendulumEnv()
        state, _ = env.reset(seed=seed)
        for step in range(200):
            np.testing.assert_allclose(episode["states"][step], state, atol=1e-6)
            action = ddpg.controller_by_hand(torch.tensor(state)[None])[0].numpy()
            state, reward, *_ = env.step(2 * action)
            assert episode["rewards"][step].item() == pytest.approx(float(reward), abs=1e-5)
        assert len(episode["rewards"]) == 200
    mean = ddpg.mean_return(ddpg.controller_by_hand, "Pendulum-v1", seeds, "cpu")
    assert mean == pytest.approx(sum(e["rewards"].sum().item() for e in episodes) / 3)
    assert len(ddpg.play(ddpg.random_policy, "Pendulum-v1", [0], "cpu", 30)[0]["rewards"]) == 30


def test_discounted_returns_by_hand():
    rewards = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    expected = [1 + 0.99 * 2 + 0.99**2 * 3, 2 + 0.99 * 3, 3]
    assert ddpg.discounted_returns(rewards).tolist() == pytest.approx(expected)


class Aim(gym.Env):
    """The state is a random number, and the action that equals half of it gets most reward."""

    observation_space = gym.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gym.spaces.Box(-3, 3, (1,), np.float32)

    def __init__(self, terminates: bool):
        self.terminates = terminates

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.state = self.np_random.uniform(-1, 1, 1).astype(np.float32)
        return self.state, {}

    def step(self, action):
        assert self.action_space.contains(action.astype(np.float32))
        reward = 1 - (action[0] / 3 - self.state[0] / 2) ** 2
        self.state = self.np_random.uniform(-1, 1, 1).astype(np.float32)
        return self.state, reward, self.terminates, not self.terminates, {}


gym.register("Aim-v0", lambda: Aim(terminates=True), max_episode_steps=10)
gym.register("AimOnce-v0", lambda: Aim(terminates=False), max_episode_steps=10)


def train_on(env_id: str, monkeypatch, steps: int = 700, tau: float = 0.1):
    monkeypatch.setattr(ddpg, "WARM_UP", 100)
    torch.manual_seed(0)
    env, _ = ddpg.make(env_id, 0)
    looks = []

    def evaluate(actor):
        looks.append(copy.deepcopy(actor))
        return float(len(looks))

    actor, critic, history = ddpg.train(env, steps, tau, 10_000, evaluate, "cpu")
    return actor, critic, history, looks


def test_training_learns_an_easy_task(monkeypatch):
    actor, critic, history, looks = train_on("Aim-v0", monkeypatch)
    state = torch.linspace(-0.9, 0.9, 19)[:, None]
    action = actor(state)
    assert (action - state / 2).abs().max() < 0.12
    # Every episode has one step and terminates: the value of the best action is 1.
    assert (critic(state, state / 2) - 1).abs().max() < 0.15

    assert history["return"] == [float(n + 1) for n in range(len(looks))]
    assert history["step"][-1] == 700 and len(history["seconds"]) == len(looks)
    last = looks[-1].state_dict()
    assert all(torch.equal(last[name], weight) for name, weight in actor.state_dict().items())


def test_training_goes_on_after_truncation(monkeypatch):
    """With γ = 0.99 the values head for 1 / (1 − γ) = 100, where the same task never terminates."""
    _, critic, _, _ = train_on("AimOnce-v0", monkeypatch)
    state = torch.linspace(-0.9, 0.9, 19)[:, None]
    assert critic(state, state / 2).mean() > 4


@pytest.mark.parametrize("tau", [0.0, 1.0])
def test_both_target_networks_follow_at_the_speed_of_tau(tau, monkeypatch):
    used = []

    def spy(reward, next_state, terminated, target_actor, target_critic):
        used.append((target_actor, target_critic))
        return original(reward, next_state, terminated, target_actor, target_critic)

    original = ddpg.td_target
    monkeypatch.setattr(ddpg, "td_target", spy)
    actor, critic, _, looks = train_on("AimOnce-v0", monkeypatch, steps=150, tau=tau)
    assert len(used) == 75  # one in every step after the first half, which is the shorter wait
    for target, net in zip(used[-1], (actor, critic)):
        assert target is not net
        for slow, fast in zip(target.parameters(), net.parameters()):
            assert torch.equal(slow, fast) == (tau == 1)
    for slow, first in zip(used[-1][0].parameters(), looks[0].parameters()):
        assert torch.equal(slow, first) == (tau == 0)  # the first look is before any update


def test_transitions_in_the_memory_follow_each_other(monkeypatch):
    memories = []

    class Watched(ddpg.Memory):
        def __init__(self, *sizes):
            super().__init__(*sizes)
            memories.append(self)

    monkeypatch.setattr(ddpg, "Memory", Watched)
    train_on("Pendulum-v1", monkeypatch, steps=205)
    [memory] = memories
    same = (memory.next_state[:-1] == memory.state[1:]).all(dim=1)
    assert same.logical_not().nonzero()[:, 0].tolist() == [199]  # where a new episode begins
    assert (memory.terminated == 0).all()

    cos, sin, velocity = memory.state.T
    torque = 2 * memory.action[:, 0]
    cost = torch.atan2(sin, cos) ** 2 + 0.1 * velocity**2 + 0.001 * torque**2
    torch.testing.assert_close(memory.reward, -cost, rtol=1e-4, atol=1e-4)
    new_velocity = (velocity + 0.05 * (15 * sin + 3 * torque)).clamp(-8, 8)
    torch.testing.assert_close(memory.next_state[:, 2], new_velocity, rtol=1e-4, atol=1e-4)


def test_values_of_a_perfect_critic_correlate_perfectly():
    """Q that knows the future of its states, from a first look at the same episodes."""
    policy = ddpg.controller_by_hand
    known = {}
    for episode in ddpg.play(policy, "Pendulum-v1", range(3), "cpu", 60):
        for state, value in zip(episode["states"], ddpg.discounted_returns(episode["rewards"])):
            known[tuple(state.tolist())] = value + 2

    def critic(states, actions):
        return torch.stack([known[tuple(state.tolist())] for state in states])

    arm = {"actor": policy, "critic": critic}
    values = ddpg.check_values(arm, "Pendulum-v1", range(3), 60, "cpu")
    assert len(values["q"]) == 36
    assert values["correlation"] == pytest.approx(1, abs=1e-4)
    assert values["bias"] == pytest.approx(2, abs=1e-3)


@pytest.mark.parametrize(
    "env_id, words",
    [
        ("CartPole-v1", "continuous"),
        ("NoSuchEnv-v0", "NoSuchEnv"),
        ("no_such_module:Env-v0", "no_such_module"),
        ("", ""),
    ],
)
def test_an_environment_that_does_not_fit_gets_a_sentence(env_id, words, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        ddpg.parse_args(["--env", env_id, "--out", str(tmp_path)])
    said = capsys.readouterr().err
    assert stopped.value.code == 2 and "--env" in said and words in said


def test_another_environment_is_trained_and_nothing_judged(tmp_path, capsys):
    argv = ["--smoke", "--env", "MountainCarContinuous-v0", "--out", str(tmp_path)]
    results = ddpg.main(argv)
    printed = capsys.readouterr().out
    assert results["claims"] == [] and "judged" not in printed
    assert "MountainCarContinuous-v0: mean return" in printed
    assert {path.name for path in tmp_path.iterdir()} == {"ddpg.png", "ddpg.gif"}
