"""The memory, the loss, the loop, the game and the preprocessing of papers/dqn.py."""

import copy
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch
from ale_py.vector_env import AtariVectorEnv
from gymnasium.utils.env_checker import check_env
from torch import nn

from papers import dqn


def a_long_play(capacity: int, stack: int, steps: int):
    """A memory that was filled by random episodes, and all their transitions, kept in full."""
    rng = np.random.default_rng(0)
    memory = dqn.Memory(capacity, stack, (2,))
    number = 0
    transitions = []

    def next_screen():
        nonlocal number
        number += 1
        return np.array(divmod(number, 256), dtype=np.uint8)

    while len(transitions) < steps:
        screen = next_screen()
        memory.start(screen)
        state = [screen] * stack
        for _ in range(rng.integers(1, 9)):
            action, reward, terminated = rng.integers(4), rng.normal(), rng.random() < 0.3
            screen = next_screen()
            memory.add(action, reward, terminated, screen)
            next_state = [*state[1:], screen]
            transitions.append((np.stack(state), action, reward, terminated, np.stack(next_state)))
            state = next_state
    return memory, transitions, np.stack(state), number


@pytest.mark.parametrize("stack", [1, 2, 4])
@pytest.mark.parametrize("capacity, steps", [(1000, 300), (64, 300), (50, 7)])
def test_memory_gives_back_what_happened(capacity, steps, stack):
    memory, transitions, state, screens = a_long_play(capacity, stack, steps)
    known = {tuple(kept[0][-1]): kept for kept in transitions}  # every screen is unique

    np.testing.assert_array_equal(memory.newest_state()[0], state)
    numbers = memory.draw(4000, np.random.default_rng(1))
    drawn = set()
    for *parts, next_state in zip(*memory.batch(numbers, "cpu")):
        kept = known[tuple(parts[0][-1].numpy())]
        drawn.add(tuple(parts[0][-1].numpy()))
        for part, expected in zip([*parts, next_state], kept):
            np.testing.assert_allclose(part, expected, rtol=1e-6)

    oldest = max(1, screens - capacity + stack)  # the first screen with its whole state
    still_there = {screen for screen in known if 256 * int(screen[0]) + int(screen[1]) >= oldest}
    assert drawn == still_there


@pytest.mark.parametrize("capacity, steps", [(1000, 300), (70, 300), (50, 7)])
def test_without_replay_the_latest_transitions_come_in_order(capacity, steps):
    memory, transitions, _, _ = a_long_play(capacity, 2, steps)
    states, actions, *_, next_states = memory.batch(memory.newest(20), "cpu")
    assert len(actions) == min(20, len(transitions))
    for row, kept in enumerate(transitions[-len(actions) :]):
        np.testing.assert_array_equal(states[row], kept[0])
        np.testing.assert_array_equal(next_states[row], kept[4])
        assert actions[row] == kept[1]


@pytest.fixture
def transitions():
    torch.manual_seed(0)
    states, next_states = torch.randn(2, 64, 2, 3, 1, dtype=torch.float64)
    rewards = 2 * torch.randn(64, dtype=torch.float64)
    return states, torch.randint(4, (64,)), rewards, torch.rand(64) < 0.3, next_states


def test_loss_and_its_gradient_by_hand(transitions):
    online, target = (nn.Sequential(nn.Flatten(), nn.Linear(6, 4)).double() for _ in range(2))
    dqn.td_loss(online, target, transitions, gamma=0.9).backward()

    states, actions, rewards, terminated, next_states = (part.numpy() for part in transitions)
    weight, bias = (part.detach().numpy() for part in online[1].parameters())
    old_weight, old_bias = (part.detach().numpy() for part in target[1].parameters())
    loss, gradient = 0.0, np.zeros((4, 6))
    for row in range(64):
        x, action = states[row].ravel(), actions[row]
        y = rewards[row]
        if not terminated[row]:
            y += 0.9 * max(old_weight @ next_states[row].ravel() + old_bias)
        error = weight[action] @ x + bias[action] - y
        loss += error**2 / 2 if abs(error) <= 1 else abs(error) - 0.5
        gradient[action] += np.clip(error, -1, 1) * x

    assert dqn.td_loss(online, target, transitions, gamma=0.9).item() == pytest.approx(loss)
    np.testing.assert_allclose(online[1].weight.grad, gradient)
    assert all(weight.grad is None for weight in target.parameters())


def test_networks():
    network = dqn.paper_network(4)
    assert sum(weight.numel() for weight in network.parameters()) == 1_686_180
    assert network(torch.zeros(2, 4, 84, 84, dtype=torch.uint8)).shape == (2, 4)
    for network in (dqn.small_network(3), dqn.linear_network(3)):
        assert network(torch.zeros(5, 2, 9, 8, dtype=torch.uint8)).shape == (5, 3)
    identity = dqn.QNetwork(nn.Identity())
    assert identity(torch.tensor([0, 51, 255], dtype=torch.uint8)).tolist() == pytest.approx(
        [0, 0.2, 1]
    )


# The loop, on games whose values are known.


class Corridor(gymnasium.Env):
    """Five screens in a row. Action 1 walks on, 0 stays; walking off the end gives 1 and ends."""

    observation_space = gymnasium.spaces.Box(0, 255, (1, 5), np.uint8)
    action_space = gymnasium.spaces.Discrete(2)

    def screen(self):
        return (255 * np.eye(5)[[self.place]]).astype(np.uint8)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = 0
        return self.screen(), {}

    def step(self, action):
        end = bool(self.place == 4 and action == 1)
        self.place = min(4, self.place + int(action))
        return self.screen(), float(end), end, False, {}


class Standing(Corridor):
    """Nothing to do, and a reward of 3 in every step, which is clipped to 1. It never ends."""

    def step(self, action):
        return self.screen(), 3.0, False, False, {}


def learn(game: type, monkeypatch, **changes):
    def make_env(settings, training):
        return gymnasium.wrappers.TimeLimit(game(), settings.longest)

    monkeypatch.setattr(dqn, "make_env", make_env)
    settings = replace(
        dqn.SMALL, steps=3000, stack=1, memory=1000, replay_start=100, epsilon_steps=500,
        last_epsilon=0.3, gamma=0.5, update_every=1, target_every=50, longest=30, episodes=3,
        looks=4, optimizer=lambda weights: torch.optim.Adam(weights, lr=0.01),
    )  # fmt: skip
    settings = replace(settings, **changes)
    torch.manual_seed(0)
    network = dqn.QNetwork(nn.Flatten(), nn.Linear(5, 2))
    history = dqn.train(network, settings, seed=0)
    with torch.no_grad():
        values = network(torch.from_numpy(255 * np.eye(5, dtype=np.uint8))[:, None, None])
    return values.numpy(), history


@pytest.mark.parametrize("changes", [{}, {"target_every": 1}, {"replay": False}])
def test_training_finds_the_values_of_a_corridor(changes, monkeypatch):
    values, history = learn(Corridor, monkeypatch, **changes)
    walk = 0.5 ** np.arange(4, -1, -1.0)  # γ⁴, ..., γ, 1
    np.testing.assert_allclose(values[:, 1], walk, atol=0.03)
    np.testing.assert_allclose(values[:, 0], walk / 2, atol=0.03)
    assert history["step"] == [750, 1500, 2250, 3000] and history["return"][-1] == 1


def test_values_go_beyond_a_time_limit(monkeypatch):
    """Cut off after 3 steps, the reward of 1 still counts as if it went on: 1 / (1 − γ) = 2."""
    values, history = learn(Standing, monkeypatch, longest=3, steps=2000)
    np.testing.assert_allclose(values[0], 2, atol=0.05)
    assert history["return"] == [9] * 4  # evaluations don't clip rewards


def test_targets_stay_as_they_are_until_the_copy_is_renewed(monkeypatch):
    """With a copy that is never renewed, the targets are those of the untrained network."""
    torch.manual_seed(0)
    untrained = dqn.QNetwork(nn.Flatten(), nn.Linear(5, 2))
    with torch.no_grad():
        before = untrained(torch.from_numpy(255 * np.eye(5, dtype=np.uint8))[:, None, None])
    best = before.numpy().max(axis=1)  # (5,)
    values, _ = learn(Corridor, monkeypatch, target_every=10_000)
    np.testing.assert_allclose(values[:, 0], best / 2, atol=0.03)
    np.testing.assert_allclose(values[:, 1], [*best[1:] / 2, 1], atol=0.03)
    assert abs(best).max() > 0.1


def test_play_is_greedy_but_for_epsilon(monkeypatch):
    network = dqn.QNetwork(nn.Flatten(), nn.Linear(10, 2))
    nn.init.zeros_(network.layers[1].weight)
    network.layers[1].bias.data = torch.tensor([0.0, 1.0])
    monkeypatch.setattr(
        dqn, "make_env", lambda settings, training: gymnasium.wrappers.TimeLimit(Corridor(), 30)
    )
    settings = replace(dqn.SMALL, episodes=4)
    returns, film = dqn.play(network, settings, seed=0, epsilon=0.0)
    assert returns.tolist() == [1] * 4 and film["rewards"] == [0, 0, 0, 0, 1]
    assert [screen.argmax() for screen in film["screens"]] == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(film["values"], [[0, 1]] * 5)
    _, film = dqn.play(network, settings, seed=0, epsilon=1.0)
    assert len(film["rewards"]) > 5


# The small game.


def a_game(**places):
    game = dqn.Bricks()
    game.reset(seed=0)
    for name, value in places.items():
        setattr(game, name, value)
    return game


STAY, LEFT, RIGHT = 0, 1, 2


def test_the_game_is_a_gymnasium_environment():
    check_env(dqn.Bricks(), skip_render_check=True)


@pytest.mark.parametrize(
    "before, action, after, reward, ended",
    [
        ((3, 5, 1, 1, 0), STAY, (4, 6, 1, 1, 0), 0, False),  # it flies
        ((7, 5, 1, 1, 0), STAY, (6, 6, -1, 1, 0), 0, False),  # from the right side
        ((0, 5, -1, -1, 0), RIGHT, (1, 4, 1, -1, 1), 0, False),  # from the left side
        ((4, 3, 1, -1, 0), LEFT, (5, 3, 1, 1, 0), 1, False),  # a brick from below
        ((4, 0, 1, 1, 0), STAY, (5, 0, 1, -1, 0), 1, False),  # a brick from above
        ((4, 0, 1, -1, 0), STAY, (5, 0, 1, -1, 0), 1, False),  # the ceiling, then a brick
        ((1, 7, 1, 1, 1), RIGHT, (2, 7, -1, -1, 2), 0, False),  # left half of the paddle
        ((1, 7, 1, 1, 2), LEFT, (2, 7, 1, -1, 1), 0, False),  # right half
        ((3, 7, -1, 1, 2), STAY, (2, 7, -1, -1, 2), 0, False),
        ((4, 7, -1, 1, 4), STAY, (3, 7, -1, -1, 4), 0, False),  # left corner
        ((3, 7, 1, 1, 2), STAY, (4, 7, 1, -1, 2), 0, False),  # right corner
        ((5, 7, -1, 1, 2), STAY, (4, 8, -1, 1, 2), 0, True),  # just missed
        ((1, 7, 1, 1, 2), RIGHT, (2, 8, 1, 1, 3), 0, True),  # lost
        ((1, 7, 1, 1, 6), RIGHT, (2, 8, 1, 1, 6), 0, True),  # the paddle stays on the screen
    ],
)
def test_rules(before, action, after, reward, ended):
    x, y, dx, dy, paddle = before
    game = a_game(x=x, y=y, dx=dx, dy=dy, paddle=paddle)
    screen, got, terminated, truncated, _ = game.step(action)
    assert (game.x, game.y, game.dx, game.dy, game.paddle) == after
    assert (got, terminated, truncated) == (reward, ended, False)
    assert game.wall.sum() == 16 - reward
    expected = np.zeros((9, 8), dtype=int)
    expected[1:3] = 100 * game.wall
    expected[8, game.paddle : game.paddle + 2] = 180
    expected[game.y, game.x] = 255
    np.testing.assert_array_equal(screen, expected)


def test_the_last_brick_ends_the_game():
    wall = np.zeros((2, 8), dtype=bool)
    wall[1, 5] = True
    _, reward, terminated, _, _ = a_game(x=4, y=3, dx=1, dy=-1, wall=wall).step(STAY)
    assert reward == 1 and terminated


def fall(game):
    """Ahead to the moment before the paddle is needed: (game then, column, steps, bricks)."""
    game = copy.deepcopy(game)
    steps, bricks = 0, 0
    while not (game.y == 7 and game.dy == 1):
        _, reward, terminated, _, _ = game.step(STAY)
        steps, bricks = steps + 1, bricks + reward
        if terminated:
            return game, None, steps, bricks
    column = game.x + game.dx if 0 <= game.x + game.dx < 8 else game.x - game.dx
    return game, column, steps + 1, bricks


def look_ahead(game, depth):
    """Bricks to come, sooner counting more, and the best place for the paddle."""
    then, column, steps, bricks = fall(game)
    if column is None or depth == 0:
        return bricks + (column is None), None
    options = []
    for paddle in (column - 1, column):
        if 0 <= paddle <= 6 and abs(paddle - game.paddle) <= steps:
            after = copy.deepcopy(then)
            after.paddle = paddle
            after.step(STAY)
            options.append((bricks + 0.9 * look_ahead(after, depth - 1)[0], paddle))
    return max(options, default=(bricks, None))


def test_the_whole_wall_can_be_cleared():
    """By a player who computes where the ball will fall."""
    totals = []
    for seed in range(3):
        game = dqn.Bricks()
        game.reset(seed=seed)
        total, terminated, goal = 0, False, look_ahead(game, 4)[1]
        for _ in range(400):
            move = STAY if goal in (None, game.paddle) else LEFT if goal < game.paddle else RIGHT
            rose = game.dy == -1
            _, reward, terminated, _, _ = game.step(move)
            total += reward
            if terminated:
                break
            if game.y == 7 and game.dy == -1 and not rose:
                goal = look_ahead(game, 4)[1]
        totals.append(total)
    assert max(totals) == dqn.BRICKS and np.mean(totals) > 15


# Atari.


@pytest.mark.parametrize("name, game", [("ALE/Breakout-v5", "breakout"), ("ALE/Pong-v5", "pong")])
def test_preprocessing_agrees_with_ale_py(name, game, monkeypatch):
    monkeypatch.setattr(dqn, "NO_OPS", 0)
    env = dqn.make_env(replace(dqn.ATARI, env=name), training=False)
    reference = AtariVectorEnv(
        game, 1, noop_max=0, use_fire_reset=False, reward_clipping=False, num_threads=1
    )
    memory = dqn.Memory(100, 4, (84, 84))
    screen, _ = env.reset(seed=3)
    memory.start(screen)
    expected, _ = reference.reset(seed=3)
    rng = np.random.default_rng(0)
    different = 0
    for step in range(120):
        agreed = memory.newest_state()[0].astype(int) - expected[0]
        if step >= 3:  # before that, ours repeats the first screen and theirs is black
            assert abs(agreed).max() <= 1  # where the mean lies between two grey values
            different += (agreed != 0).mean() / 120
        action = int(rng.integers(env.action_space.n))
        screen, reward, terminated, _, info = env.step(action)
        expected, rewards, terminations, _, infos = reference.step(np.array([action]))
        assert reward == rewards[0] and terminated == terminations[0] and not terminated
        assert info["lives"] == infos["lives"][0]
        memory.add(action, reward, terminated, screen)
    assert different < 0.001


def test_a_lost_life_ends_an_episode_only_in_training():
    training, testing = (dqn.make_env(dqn.ATARI, training) for training in (True, False))
    training.reset(seed=0)
    testing.reset(seed=0)
    lives, ends = 5, 0
    for _ in range(1000):
        _, _, terminated, _, info = training.step(1)  # keeps serving, and loses
        _, _, over, _, _ = testing.step(1)
        assert over == (info["lives"] == 0)
        assert terminated == (info["lives"] < lives)
        lives = info["lives"]
        if over:
            break
        if terminated:
            ends += 1
            _, info = training.reset()
            assert info["lives"] == lives  # the game goes on
            testing.env.env.step(0)  # the reset was one frame
    assert ends == 4 and over
    _, info = training.reset()
    assert info["lives"] == 5


def test_games_begin_with_up_to_30_no_ops():
    env = dqn.make_env(dqn.ATARI, training=False)
    waited = {env.reset(seed=seed)[1]["episode_frame_number"] for seed in range(25)}
    assert min(waited) <= 5 and 25 <= max(waited) <= 30 and len(waited) > 10


# The command line.


@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1", "ALE/Nothing-v5", "no:such-v0"])
def test_what_is_no_atari_game_gets_a_sentence(name, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        dqn.main(["--out", str(tmp_path), "--smoke", "--env", name])
    said = capsys.readouterr().err
    assert stopped.value.code == 2 and f"--env {name}" in said and "Traceback" not in said


def test_the_papers_agent_runs(tmp_path, capsys):
    results = dqn.main(["--out", str(tmp_path), "--smoke", "--env", "ALE/Breakout-v5"])
    assert results["claims"] == [] and results["data"] == "ALE/Breakout-v5"
    assert {path.name for path in tmp_path.iterdir()} == {"dqn.png", "dqn.gif"}
    assert "judged" not in capsys.readouterr().out


def test_the_rule_made_by_hand_is_always_under_the_ball(monkeypatch):
    """Without random actions no game ends before the wall is gone or the time is up."""
    monkeypatch.setattr(dqn, "EPSILON", 0.0)
    endings = []
    real = dqn.Bricks.step

    def step(game, action):
        result = real(game, action)
        if result[2]:  # terminated
            endings.append(int(game.wall.sum()))
        return result

    monkeypatch.setattr(dqn.Bricks, "step", step)
    settings = replace(dqn.SMALL, episodes=40)
    assert dqn.chase(settings, seed=3) > 10
    assert not any(endings)
