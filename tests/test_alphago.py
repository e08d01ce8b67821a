"""The rules and the search against slow implementations, and against solutions."""

import io

import numpy as np
import pytest
import torch

from papers import alphago
from papers.alphago import (
    BLACK,
    EMPTY,
    RESIGN,
    WHITE,
    Evaluator,
    Go,
    PolicyNetwork,
    Settings,
    Step,
    ValueNetwork,
    backup,
    best_moves,
    draw_moves,
    expand,
    new_tree,
    play_games,
    puct,
    search,
    select,
)


class SlowGo:
    """One game on nested tuples. Written from the rules, with flood fill and whole boards."""

    def __init__(self, size, komi=0.5):
        self.size, self.komi = size, komi
        self.board = [0] * size**2
        self.seen = {tuple(self.board)}
        self.player, self.passes = 1, 0

    def copy(self):
        other = SlowGo(self.size, self.komi)
        other.board, other.seen = list(self.board), set(self.seen)
        other.player, other.passes = self.player, self.passes
        return other

    def near(self, point):
        row, column = divmod(point, self.size)
        for r, c in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            if 0 <= r < self.size and 0 <= c < self.size:
                yield r * self.size + c

    def chain(self, board, point):
        """The stones of a chain, and its liberties."""
        stones, liberties, todo = {point}, set(), [point]
        while todo:
            for other in self.near(todo.pop()):
                if board[other] == 0:
                    liberties.add(other)
                elif board[other] == board[point] and other not in stones:
                    stones.add(other)
                    todo.append(other)
        return stones, liberties

    def after(self, point):
        """The board after a stone on this point, or None if that is illegal."""
        if self.board[point]:
            return None
        board = list(self.board)
        board[point] = self.player
        for other in self.near(point):
            if board[other] == -self.player:
                stones, liberties = self.chain(board, other)
                if not liberties:
                    for stone in stones:
                        board[stone] = 0
        if not self.chain(board, point)[1] or tuple(board) in self.seen:
            return None
        return board

    def legal(self):
        return [self.after(point) is not None for point in range(self.size**2)]

    def eye(self, point):
        row, column = divmod(point, self.size)
        corners = [(r, c) for r in (row - 1, row + 1) for c in (column - 1, column + 1)]
        inside = [r * self.size + c for r, c in corners if 0 <= min(r, c) and max(r, c) < self.size]
        enemies = sum(self.board[corner] == -self.player for corner in inside)
        enclosed = all(self.board[other] == self.player for other in self.near(point))
        return enclosed and enemies <= (len(inside) == 4)

    def sensible(self):
        return [legal and not self.eye(p) for p, legal in enumerate(self.legal())] + [True]

    def play(self, move):
        if move == self.size**2:
            self.passes += 1
        else:
            self.board, self.passes = self.after(move), 0
            self.seen.add(tuple(self.board))
        self.player = -self.player

    def score(self):
        total = 0
        counted = set()
        for point, stone in enumerate(self.board):
            if stone:
                total += stone
            elif point not in counted:
                region, todo, borders = {point}, [point], set()
                while todo:
                    for other in self.near(todo.pop()):
                        if self.board[other]:
                            borders.add(self.board[other])
                        elif other not in region:
                            region.add(other)
                            todo.append(other)
                counted |= region
                if len(borders) == 1:
                    total += borders.pop() * len(region)
        return total

    def result(self):
        """For the player to move."""
        return self.player if self.score() > self.komi else -self.player


def position_of(go, rows, player=BLACK):
    """Rows of x (Black), o (White) and . as one position, reached by passes and moves."""
    position = go.start(1, history=go.longest)
    signs = "".join(rows)
    for colour, sign in ((BLACK, "x"), (WHITE, "o")):
        for point in [place for place, found in enumerate(signs) if found == sign]:
            if position.to_play[0] != colour:
                position = go.play(position, np.array([go.points]))
            position = go.play(position, np.array([point]))
    if position.to_play[0] != player:
        position = go.play(position, np.array([go.points]))
    position.passes[:] = 0
    return position


@pytest.mark.parametrize("size, games", [(3, 40), (4, 20), (5, 12), (7, 4)])
def test_rules_agree_with_a_slow_implementation(size, games):
    rng = np.random.default_rng(size)
    go = Go(size, komi=0.5)
    position = go.start(games, history=200)
    slow = [SlowGo(size) for _ in range(games)]
    captured = 0
    for _ in range(100):
        legal = go.legal(position)
        assert legal.T.tolist() == [game.legal() for game in slow]
        assert go.sensible(position).T.tolist() == [game.sensible() for game in slow]
        assert go.score(position).tolist() == [game.score() for game in slow]
        for number, game in enumerate(slow):
            for point in np.flatnonzero(game.board):
                name = position.chains[point, number]
                stones, liberties = game.chain(game.board, int(point))
                assert name in stones and position.liberties[point, number] == len(liberties)
                same = np.flatnonzero(position.chains[:-1, number] == name)
                assert set(same.tolist()) == stones
        lots = rng.random(legal.shape) * legal
        moves = np.where(legal.any(axis=0) & (rng.random(games) < 0.95), lots.argmax(0), go.points)
        before = (position.stones[:-1] != 0).sum(axis=0)
        position = go.play(position, moves)
        captured += ((position.stones[:-1] != 0).sum(axis=0) < before).sum()
        for game, move in zip(slow, moves):
            game.play(int(move))
        assert position.stones[:-1].T.tolist() == [game.board for game in slow]
        assert position.passes.tolist() == [game.passes for game in slow]
        assert position.to_play.tolist() == [game.player for game in slow]
    assert captured > 10


def test_a_ko_may_not_be_taken_back_at_once():
    go = Go(5, komi=0.5)
    position = position_of(go, [".xo..", "xo.o.", ".xo..", ".....", "....."])
    position = go.play(position, np.array([7]))  # takes the stone on point 6
    assert position.stones[6, 0] == EMPTY and not go.legal(position)[6, 0]
    assert not go.legal(position.with_short_history())[6, 0]  # in a random game, too
    for move in (20, 24):  # elsewhere
        position = go.play(position, np.array([move]))
    assert go.legal(position)[6, 0]


def test_the_eight_sides_of_the_square():
    go = Go(4, komi=0.5)
    rng = np.random.default_rng(0)
    grid = torch.arange(16).reshape(4, 4)
    assert len({tuple(alphago.symmetric(grid, side).flatten().tolist()) for side in range(8)}) == 8
    for side in range(8):
        position, turned = go.start(8, history=60), go.start(8, history=60)
        for _ in range(25):
            moves = alphago.random_moves(go, position, rng)
            position = go.play(position, moves)
            there = alphago.symmetric_moves(go, torch.from_numpy(moves), side)
            turned = go.play(turned, there.numpy())
            seen = alphago.symmetric(go.planes(position, go.sensible(position)), side)
            assert torch.equal(seen, go.planes(turned, go.sensible(turned)))


def test_planes_are_from_the_view_of_the_player_to_move():
    go = Go(3, komi=0.5)
    for player, own, other in ((BLACK, "x", "o"), (WHITE, "o", "x")):
        position = position_of(go, ["xx.", ".o.", "..x"], player)
        planes = go.planes(position, go.sensible(position))[0].flatten(1).int().tolist()
        signs = "xx..o...x"
        assert planes[0] == [sign == own for sign in signs]
        assert planes[1] == [sign == other for sign in signs]
        assert planes[2] == [sign == "." for sign in signs]
        assert planes[3] == [0] * 9
        assert planes[4] == [1, 1, 0, 0, 0, 0, 0, 0, 1]  # two liberties
        assert planes[5] == [0, 0, 0, 0, 1, 0, 0, 0, 0]  # three
        assert planes[6] == go.sensible(position)[:-1, 0].tolist()
        assert planes[7] == [player == BLACK] * 9


def test_the_worked_example():
    prior, visits = np.array([[0.6], [0.3]]), np.array([[8], [1]])
    q = np.array([[0.25], [0.5]])
    assert np.round(puct(prior, visits, q * visits) - q, 2).tolist() == [[0.32], [0.71]]
    visits[1], q[1] = 2, (0.5 + 0.6) / 2
    assert np.round(puct(prior, visits, q * visits) - q, 2).tolist() == [[0.33], [0.5]]


def test_virtual_loss_and_backup_by_hand():
    go = Go(3, komi=0.5)
    tree = new_tree(go, go.start(2, history=9), simulations=3)
    priors = np.zeros((10, 2), dtype=np.float32)
    priors[4], priors[0] = 0.9, 0.1
    expand(tree, np.zeros(2, dtype=int), priors)
    one = select(tree, go)
    assert one.actions.tolist() == [[4, 4]] and one.leaf.tolist() == [1, 1]
    assert tree.visits[4, 0].tolist() == [3, 3] and tree.value_sum[4, 0].tolist() == [-3, -3]
    two = select(tree, go)  # the virtual loss drives the second descent to another leaf
    assert two.actions.tolist() == [[0, 0]] and two.leaf.tolist() == [2, 2]

    reply = np.zeros((10, 2), dtype=np.float32)
    reply[1] = 1.0
    expand(tree, one.leaf, reply)
    backup(tree, one, np.array([-0.5, 0.25]))  # for White, who is to move at the leaf
    assert tree.visits[4, 0].tolist() == [1, 1] and tree.value_sum[4, 0].tolist() == [0.5, -0.25]
    backup(tree, two, np.array([1.0, 1.0]))
    assert tree.visits[0, 0].tolist() == [1, 1] and tree.value_sum[0, 0].tolist() == [-1, -1]

    three = select(tree, go)  # two moves deep
    assert three.nodes.tolist() == [[0, 0], [1, 1]] and three.actions.tolist() == [[4, 4], [1, 1]]
    backup(tree, three, np.array([0.5, -1.0]))  # for Black
    assert tree.value_sum[1, 1].tolist() == [-0.5, 1.0] and tree.visits[1, 1].tolist() == [1, 1]
    assert tree.value_sum[4, 0].tolist() == [1.0, -1.25] and tree.visits[4, 0].tolist() == [2, 2]


def guess(boards, player, sensible):
    """Priors and values that depend on the position in a fixed, meaningless way."""
    weights = np.random.default_rng(5).normal(size=(boards.shape[0], boards.shape[0] + 1))
    scores = np.exp(weights.T @ (boards * player)) * sensible
    return scores / scores.sum(axis=0), np.tanh(weights.sum(axis=1) @ (boards * player))


def slow_search(root, simulations):
    """The search for one game, with a dictionary for each node."""

    def node(game):
        sensible = np.array(game.sensible())
        prior, value = guess(np.array(game.board)[:, None], game.player, sensible[:, None])
        made = {"game": game, "P": prior[:, 0], "sensible": sensible, "child": {}}
        made["N"], made["W"] = [0] * len(sensible), [0.0] * len(sensible)
        return made, float(value[0])

    def visit(place):
        """Adds a leaf below, and returns its value for the player to move here."""
        best, chosen = -np.inf, None
        for action in np.flatnonzero(place["sensible"]):
            n = place["N"][action]
            q = place["W"][action] / n if n else 0.0
            u = 1.5 * place["P"][action] * np.sqrt(1 + sum(place["N"])) / (1 + n)
            if q + u > best:
                best, chosen = q + u, int(action)
        if chosen not in place["child"]:
            game = place["game"].copy()
            game.play(chosen)
            place["child"][chosen], value = node(game)
            if game.passes == 2:
                value = game.result()
        elif place["child"][chosen]["game"].passes == 2:
            value = place["child"][chosen]["game"].result()
        else:
            value = visit(place["child"][chosen])
        place["N"][chosen] += 1
        place["W"][chosen] -= value
        return -value

    top, _ = node(root)
    for _ in range(simulations):
        visit(top)
    return top


def test_search_agrees_with_a_second_implementation():
    go, rng = Go(3, komi=0.5), np.random.default_rng(1)

    def evaluate(position):
        return guess(position.stones[:-1].astype(float), position.to_play, go.sensible(position))

    position = go.start(6, history=60)
    slow = [SlowGo(3) for _ in range(6)]
    for _ in range(5):
        moves = alphago.random_moves(go, position, rng)
        position = go.play(position, moves)
        for game, move in zip(slow, moves):
            game.play(int(move))
    tree = search(go, position, evaluate, simulations=120)
    deep = 0
    for number, game in enumerate(slow):
        expected = slow_search(game, 120)
        assert tree.visits[:, 0, number].tolist() == expected["N"]
        np.testing.assert_allclose(tree.value_sum[:, 0, number], expected["W"], atol=1e-4)
        deep += tree.used[number] < 121
    assert deep  # finished games were visited again, and not added again


def wins(game, depth):
    """Exhaustive: whether the player to move can win. None if that takes too many moves."""
    if game.passes == 2:
        return game.result() > 0
    if depth == 0:
        return None
    unknown = False
    for move in np.flatnonzero(game.sensible()):
        following = game.copy()
        following.play(int(move))
        lost = wins(following, depth - 1)
        if lost is False:
            return True
        unknown |= lost is None
    return None if unknown else False


def test_search_finds_the_moves_that_win_small_positions():
    go, rng = Go(3, komi=0.5), np.random.default_rng(2)
    games = 60
    position = go.start(games, history=60)
    slow = [SlowGo(3) for _ in range(games)]
    for _ in range(8):
        moves = alphago.random_moves(go, position, rng)
        position = go.play(position, moves)
        for game, move in zip(slow, moves):
            game.play(int(move))
    tree = search(go, position, Evaluator(go, rng), simulations=400)
    chosen = tree.visits[:, 0].argmax(axis=0)
    solved = 0
    for number, game in enumerate(slow):
        if game.passes == 2:
            continue
        outcomes = []
        for move in np.flatnonzero(game.sensible()):
            following = game.copy()
            following.play(int(move))
            lost = wins(following, depth=5)
            outcomes.append((int(move), None if lost is None else not lost))
        results = dict(outcomes)
        if True in results.values() and False in results.values():
            assert results[int(chosen[number])] is not False
            solved += 1
    assert solved >= 5


@pytest.mark.parametrize("batch", [1, 8])
def test_virtual_losses_are_taken_back(batch):
    go, rng = Go(4, komi=0.5), np.random.default_rng(3)
    tree = search(go, go.start(3, history=48), Evaluator(go, rng), 50, batch=batch)
    assert tree.visits[:, 0].sum(axis=0).tolist() == [50, 50, 50]
    assert (abs(tree.value_sum) <= tree.visits + 1e-5).all()
    for action, game in zip(*np.nonzero(tree.child[:, 0] > 0)):
        child = tree.child[action, 0, game]
        below = tree.visits[:, child, game].sum()
        assert tree.visits[action, 0, game] >= below + 1


def test_values_are_mixed():
    go, rng = Go(3, komi=0.5), np.random.default_rng(4)
    black_has_all = position_of(go, ["xx.", "xxx", ".xx"], WHITE)

    def value(planes):
        return torch.full((len(planes),), 0.5)

    for mix, expected in ((0.0, 0.5), (1.0, -1.0), (0.25, 0.75 * 0.5 - 0.25)):
        priors, values = Evaluator(go, rng, None, value, mix)(black_has_all)
        assert values.tolist() == pytest.approx([expected])
        assert priors[:, 0].tolist() == [0] * 9 + [1]  # White may only pass
    white_has_all = position_of(go, ["oo.", "ooo", ".oo"], BLACK)
    assert alphago.random_games(go, white_has_all, rng).tolist() == [-1]
    black_to_move = position_of(go, ["xx.", "xxx", ".xx"], BLACK)
    assert Evaluator(go, rng)(black_to_move)[1].tolist() == [1.0]


def test_random_games_end_like_slow_ones():
    go, rng = Go(3, komi=0.5), np.random.default_rng(6)
    position = position_of(go, ["...", ".x.", "..."], WHITE)
    many = position.take(np.zeros(2000, dtype=int))
    fast = alphago.random_games(go, many, rng).mean()
    results = []
    for _ in range(400):
        game = SlowGo(3)
        game.play(4)
        while game.passes < 2:
            moves = np.flatnonzero(game.sensible()[:-1])
            game.play(int(rng.choice(moves)) if len(moves) else 9)
        results.append(-game.result() if game.player == BLACK else game.result())
    assert abs(fast - np.mean(results)) < 4 / np.sqrt(400)


def test_probabilities_are_of_sensible_moves():
    go, rng = Go(3, komi=0.5), np.random.default_rng(7)
    policy = PolicyNetwork(3)
    position = position_of(go, ["xx.", ".o.", "..x"])
    sensible = go.sensible(position)
    planes = go.planes(position, sensible)
    p = alphago.probabilities(policy, planes, sensible)
    logits = policy(planes)[0].detach().numpy().astype(float)
    expected = np.exp(logits) * sensible[:, 0]
    np.testing.assert_allclose(p[:, 0], expected / expected.sum(), rtol=1e-5)
    drawn = draw_moves(np.repeat(p, 20_000, axis=1), rng)
    shares = np.bincount(drawn, minlength=10) / 20_000
    np.testing.assert_allclose(shares, p[:, 0], atol=0.015)


def test_every_player_gets_its_own_colour():
    go, rng = Go(3, komi=0.5), np.random.default_rng(8)
    colour = np.array([BLACK, WHITE, WHITE, BLACK])
    asked = {"first": [], "second": []}

    def player(name):
        def moves(position):
            asked[name].append(position.to_play.copy())
            return alphago.random_moves(go, position, rng)

        return moves

    openings = alphago.random_openings(go, 4, rng)
    played = play_games(go, openings, player("first"), player("second"), colour)
    for step in played.steps:
        mine = step.positions.to_play == colour[step.games]
        assert mine.all() or not mine.any()
    assert sum(map(len, asked["first"])) + sum(map(len, asked["second"])) == sum(
        len(step.moves) for step in played.steps
    )
    for game in range(4):
        position = openings.take(np.array([game]))
        for step in played.steps:
            place = np.flatnonzero(step.games == game)
            if len(place):
                assert step.positions.stones[:, place[0]].tolist() == position.stones[:, 0].tolist()
                position = go.play(position, step.moves[place])
        assert go.winner(position)[0] == played.winner[game] and not played.resigned[game]


def test_who_resigns_has_lost():
    go, rng = Go(3, komi=0.5), np.random.default_rng(9)
    openings = alphago.random_openings(go, 2, rng)

    def gives_up(position):
        return np.full(len(position.passes), RESIGN)

    def plays(position):
        return alphago.random_moves(go, position, rng)

    colour = np.array([BLACK, WHITE])
    played = play_games(go, openings, gives_up, plays, colour)
    assert played.winner.tolist() == (-colour).tolist() and played.resigned.all()

    tree = new_tree(go, openings, simulations=1)
    tree.visits[[2, 5], 0] = [[6, 6], [4, 4]]
    tree.value_sum[[2, 5], 0] = [[-5.4, -5.4], [-3.0, -3.4]]  # Q: -0.9, -0.9 and -0.75, -0.85
    assert best_moves(tree).tolist() == [2, RESIGN]


def test_results_are_seen_by_the_player_to_move():
    go = Go(3, komi=0.5)
    black, white = position_of(go, ["x..", "...", "..."], WHITE), go.start(1, history=go.longest)
    both = go.start(2, history=go.longest)
    both.put(black, [0])
    both.put(white, [1])
    steps = [
        Step(np.array([0, 1]), both, np.array([4, 4])),
        Step(np.array([1]), black, np.array([0])),
    ]
    planes, z = alphago.results_of_positions(go, steps, np.array([BLACK, BLACK]))
    assert z.tolist() == [-1, 1, -1] and planes.shape == (3, alphago.PLANES, 3, 3)
    assert planes[0, 1].sum() == 1 and planes[1, :2].sum() == 0


@pytest.mark.parametrize("one_per_game", [True, False])
def test_value_data_have_the_result_of_their_game(one_per_game, monkeypatch):
    go, rng = Go(3, komi=0.5), np.random.default_rng(10)
    torch.manual_seed(0)
    games = []

    def watched(*arguments):
        games.append(play_games(*arguments))
        return games[-1]

    monkeypatch.setattr(alphago, "play_games", watched)
    planes, z = alphago.value_data(go, PolicyNetwork(3), 60, one_per_game, rng)
    expected = {}  # (planes, result) -> the games and turns where they occur
    for number, played in enumerate(games):
        for turn, step in enumerate(played.steps[:5]):
            seen = go.planes(step.positions, go.sensible(step.positions))
            results = played.winner[step.games] * step.positions.to_play
            for plane, result, game in zip(seen, results, step.games):
                key = plane.numpy().tobytes(), float(result)
                expected.setdefault(key, set()).add((number, int(game), turn))
    found = [expected[plane.numpy().tobytes(), result] for plane, result in zip(planes, z.tolist())]
    unique = [next(iter(where)) for where in found if len(where) == 1]
    games_met = {(number, game) for number, game, _ in unique}
    assert len(planes) == len(z) == 60 and len(unique) > 20
    if one_per_game:
        assert len(games_met) == len(unique)
        assert len({turn for _, _, turn in unique}) >= 4
    else:
        assert len(games_met) <= 32 < len(unique)


def test_the_supervised_policy_learns_under_all_symmetries():
    """The move to predict is the point above a lone stone, in the eyes of the board as it lies."""
    torch.manual_seed(0)
    go, rng = Go(5, komi=0.5), np.random.default_rng(11)
    stones = rng.integers(0, 25, 2000)
    position = go.play(go.start(2000, history=2), stones)
    planes = go.planes(position, go.sensible(position))
    moves = torch.from_numpy(24 - stones)  # the point opposite is the same from all eight sides
    policy = PolicyNetwork(5)
    loss = alphago.train_supervised(go, policy, planes, moves, epochs=25)
    with torch.inference_mode():
        right = (policy(planes).argmax(dim=1) == moves).float().mean()
    assert loss < 1 and right > 0.8


def test_policy_gradient_makes_moves_of_won_games_more_probable():
    go = Go(3, komi=0.5)
    torch.manual_seed(1)
    start = PolicyNetwork(3)
    policy = PolicyNetwork(3)
    policy.load_state_dict(start.state_dict())
    rng = np.random.default_rng(12)
    alphago.train_reinforced(go, policy, iterations=25, games=64, rng=rng)
    player, rival = alphago.by_policy(go, policy, rng), alphago.by_policy(go, start, rng)
    assert alphago.match(go, player, rival, games=256, seed=1).share > 0.6


def test_the_value_network_learns_and_reports_both_errors():
    torch.manual_seed(2)
    go, rng = Go(3, komi=0.5), np.random.default_rng(13)
    policy = PolicyNetwork(3)
    training = alphago.value_data(go, policy, 1500, True, rng)
    test = alphago.value_data(go, policy, 200, False, rng)
    assert len(training[0]) == len(training[1]) == 1500 and set(test[1].tolist()) <= {-1, 1}
    assert set(training[1].tolist()) <= {-1, 1}

    def more_stones(planes):  # something that can be learned
        return torch.where(planes[:, 0].sum(dim=(1, 2)) > planes[:, 1].sum(dim=(1, 2)), 1.0, -1.0)

    network = ValueNetwork(3)
    training = training[0], more_stones(training[0])
    test = test[0], more_stones(test[0])
    errors = alphago.train_value(network, training, test, epochs=20)
    assert errors["training"][-1] < 0.45 < 0.5 < errors["training"][0]
    with torch.inference_mode():
        expected = ((network(test[0]) - test[1]) ** 2).mean()
    assert errors["test"][-1] == pytest.approx(float(expected), rel=1e-4)


def test_zero_learns_visits_and_results():
    torch.manual_seed(3)
    go, rng = Go(3, komi=0.5), np.random.default_rng(14)
    network = alphago.ZeroNetwork(3)
    planes, pi, z = alphago.self_play(go, network, games=16, simulations=8, rng=rng)
    assert pi.sum(dim=1).allclose(torch.ones(len(z))) and len(planes) == len(z)

    def loss():
        with torch.inference_mode():
            log_p = network.policy(planes).log_softmax(dim=1)
            return float(-(pi * log_p).sum(1).mean()), float(
                ((network.value(planes) - z) ** 2).mean()
            )

    before = loss()
    alphago.train_zero(network, planes, pi, z, steps=80)
    after = loss()
    assert after[0] < before[0] - 0.1 and after[1] < before[1] - 0.1


def test_zero_turns_boards_and_targets_together():
    """As above for the supervised policy: the point opposite a lone stone."""
    torch.manual_seed(4)
    go, rng = Go(5, komi=0.5), np.random.default_rng(19)
    stones = rng.integers(0, 25, 1000)
    position = go.play(go.start(1000, history=2), stones)
    planes = go.planes(position, go.sensible(position))
    targets = torch.nn.functional.one_hot(torch.from_numpy(24 - stones), 26).float()
    network = alphago.ZeroNetwork(5)
    alphago.train_zero(network, planes, targets, torch.zeros(1000), steps=150)
    with torch.inference_mode():
        right = (network.policy(planes).argmax(dim=1) == 24 - torch.from_numpy(stones)).float()
    assert right.mean() > 0.8


def test_a_match_plays_every_opening_with_both_colours():
    go, rng = Go(3, komi=0.5), np.random.default_rng(17)

    def passes(position):
        return np.full(len(position.passes), go.points)

    def plays(position):
        return alphago.random_moves(go, position, rng)

    played = alphago.match(go, plays, passes, games=20, seed=1)
    assert played.colour.sum() == 0 and len(played.colour) == 20
    stones = played.openings.stones
    assert (stones[:, :10] == stones[:, 10:]).all() and len(np.unique(stones[:, :10], axis=1).T) > 5
    expected = (played.games.winner == played.colour).mean()
    assert played.share == expected > 0.5
    assert alphago.match(go, passes, plays, games=20, seed=1).share < 0.5


def test_elo():
    assert alphago.elo(0.5, 128) == 0
    assert alphago.elo(10 / 11, 10**9) == pytest.approx(400, abs=1e-3)
    assert alphago.elo_ladder([1, 2, 3], {2: 0.5, 3: 0.75}, 10**9)[3] == pytest.approx(
        190.8, abs=0.1
    )


def test_moves_are_read_or_answered_with_a_sentence():
    go = Go(5, komi=0.5)
    position = position_of(go, [".x...", "x....", ".....", ".....", "....o"], WHITE)
    assert alphago.read_move(" C3 ", go, position) == 12
    assert alphago.read_move("pass", go, position) == 25
    assert alphago.read_move("resign", go, position) == RESIGN
    for text, answer in {
        "b5": "there is a stone",
        "a5": "suicide",
        "f3": "is no move",
        "c9": "not on the board",
        "c0": "not on the board",
        "": "is no move",
        "c": "is no move",
        "²3": "is no move",
    }.items():
        assert answer in alphago.read_move(text, go, position)


@pytest.mark.parametrize(
    "typed, ending",
    [
        ("c3\nz9\nc3\n", "broken off"),
        ("resign\n", "AlphaGo wins, Black has resigned"),
        ("pass\n" * 60, "by"),
    ],
)
def test_a_game_in_the_terminal(typed, ending, monkeypatch, capsys):
    go, rng = Go(3, komi=0.5), np.random.default_rng(15)
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    assert ending in alphago.play_in_terminal(go, Evaluator(go, rng), simulations=16)
    assert "You are Black" in capsys.readouterr().out


def test_alphago_resigns_a_lost_game(monkeypatch, capsys):
    go, rng = Go(3, komi=0.5), np.random.default_rng(18)

    def hopeless(planes):  # for White, who is to move at the root; then Black is to move
        return torch.where(planes[:, 7, 0, 0] > 0, 0.95, -0.95)

    evaluate = Evaluator(go, rng, None, hopeless, mix=0)
    monkeypatch.setattr("sys.stdin", io.StringIO("b2\n"))
    assert alphago.play_in_terminal(go, evaluate, 8) == "you win, AlphaGo resigns"


def test_networks_are_kept_and_loaded(tmp_path, monkeypatch, capsys):
    kept = tmp_path / "go.pt"
    base = ["--smoke", "--out", str(tmp_path), "--play"]
    monkeypatch.setattr("sys.stdin", io.StringIO("c3\n"))
    assert alphago.main([*base, "--save", str(kept)])["claims"] == [] and kept.exists()
    monkeypatch.setattr("sys.stdin", io.StringIO("c3\n"))
    monkeypatch.setattr(alphago, "train_alphago", None)  # it isn't called
    alphago.main([*base, "--load", str(kept)])
    (tmp_path / "none.pt").write_bytes(b"no networks")
    for wrong in (
        [*base, "--load", str(tmp_path / "none.pt")],
        [*base, "--load", str(kept), "--size", "7"],
        [*base, "--save", str(tmp_path / "missing" / "go.pt")],
        ["--smoke", "--out", str(tmp_path), "--save", str(kept)],
        ["--size", "2"],
        ["--size", "20"],
        ["--komi", "nan"],
    ):
        with pytest.raises(SystemExit) as stopped:
            alphago.main(wrong)
        assert stopped.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_zero_draws_its_elo(tmp_path, capsys):
    results = alphago.main(["--smoke", "--zero", "--out", str(tmp_path)])
    assert results["claims"] == [] and (tmp_path / "alphago_zero.png").exists()
    assert "Elo" in capsys.readouterr().out


def test_a_record_shows_the_game(tmp_path):
    go, rng = Go(3, komi=0.5), np.random.default_rng(16)
    evaluate = Evaluator(go, rng)
    player = alphago.by_search(evaluate, 4)
    played = alphago.match(go, player, player, games=8, seed=3)
    record = alphago.record_of(go, played, evaluate, simulations=8)
    assert record.visits.sum() == pytest.approx(1) and record.shown % 2 == 0
    assert Settings().games == 128 and set(record.moves) <= set(range(10))
