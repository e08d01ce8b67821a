"""papers/backprop.py: gradients against autograd and finite differences, data and bound against brute force."""

import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import Bounds, LinearConstraint, milp

from papers import backprop

SIZES = (7, 5, 4, 6, 3)


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    layers = backprop.new_layers(rng, 2, SIZES, start=1.5)
    return layers, rng.normal(size=(2, 9, 7)), rng.uniform(size=(2, 9, 3))


def as_torch(layers):
    return [[torch.tensor(array, requires_grad=True) for array in layer] for layer in layers]


def torch_error(layers, inputs, targets):
    y = torch.tensor(inputs)
    for w, b in layers:
        y = torch.sigmoid(y @ w + b)
    return 0.5 * ((y - torch.tensor(targets)) ** 2).sum()


def test_gradients_are_autograds(problem):
    layers, inputs, targets = problem
    y = backprop.forward(layers, inputs)
    gradients = backprop.backward(layers, y, y[-1] - targets)
    theirs = as_torch(layers)
    error = torch_error(theirs, inputs, targets)
    assert np.isclose(0.5 * ((y[-1] - targets) ** 2).sum(), error.item(), rtol=1e-12)
    error.backward()
    assert len(gradients) == len(layers)
    for ours, layer in zip(gradients, theirs):
        for mine, tensor in zip(ours, layer):
            np.testing.assert_allclose(mine, tensor.grad.numpy(), rtol=1e-10, atol=1e-14)


def test_gradients_are_finite_differences(problem):
    layers, inputs, targets = problem
    y = backprop.forward(layers, inputs)
    gradients = backprop.backward(layers, y, y[-1] - targets)
    for layer, pair in zip(layers, gradients):
        for array, gradient in zip(layer, pair):
            for index in list(np.ndindex(array.shape))[::7]:
                error = []
                for step in (1e-5, -1e-5):
                    array[index] += step
                    error.append(0.5 * ((backprop.forward(layers, inputs)[-1] - targets) ** 2).sum())
                    array[index] -= step
                assert np.isclose((error[0] - error[1]) / 2e-5, gradient[index], rtol=1e-5, atol=1e-9)


def test_shared_inputs_serve_every_net(problem):
    layers, inputs, _ = problem
    shared = backprop.forward(layers, inputs[0])[-1]
    apart = [backprop.forward([(w[s : s + 1], b[s : s + 1]) for w, b in layers], inputs[0])[-1][0] for s in (0, 1)]
    np.testing.assert_allclose(shared, np.stack(apart))


def test_step_size_and_momentum_follow_the_schedule(problem):
    layers, inputs, targets = problem
    schedule = [(0.02, 0.5)] * 3 + [(0.05, 0.9)] * 20
    ours, _ = backprop.train(layers, inputs, targets, len(schedule), lambda sweep: schedule[sweep])
    theirs = [tensor for layer in as_torch(layers) for tensor in layer]
    moved = [torch.zeros_like(tensor) for tensor in theirs]
    for epsilon, alpha in schedule:
        error = torch_error(list(zip(theirs[::2], theirs[1::2])), inputs, targets)
        gradients = torch.autograd.grad(error, theirs)
        moved = [alpha * m - epsilon * g for m, g in zip(moved, gradients)]
        theirs = [(t + m).detach().requires_grad_() for t, m in zip(theirs, moved)]
    for array, tensor in zip((a for layer in ours for a in layer), theirs):
        np.testing.assert_allclose(array, tensor.detach().numpy(), rtol=1e-9, atol=1e-12)


def test_constant_momentum_is_torch_optim_sgd(problem):
    layers, inputs, targets = problem
    ours, _ = backprop.train(layers, inputs, targets, 30, lambda sweep: (0.03, 0.9))
    theirs = as_torch(layers)
    optimizer = torch.optim.SGD([t for layer in theirs for t in layer], lr=0.03, momentum=0.9)
    for _ in range(30):
        optimizer.zero_grad()
        torch_error(theirs, inputs, targets).backward()
        optimizer.step()
    for mine, layer in zip(ours, theirs):
        for array, tensor in zip(mine, layer):
            np.testing.assert_allclose(array, tensor.detach().numpy(), rtol=1e-9, atol=1e-12)


def test_decay_takes_its_share_after_the_step(problem):
    layers, inputs, targets = problem
    plain, _ = backprop.train(layers, inputs, targets, 1, lambda sweep: (0.1, 0.9))
    decayed, _ = backprop.train(layers, inputs, targets, 1, lambda sweep: (0.1, 0.9), decay=0.25)
    for one, two in zip(plain, decayed):
        for p, d in zip(one, two):
            np.testing.assert_allclose(d, 0.75 * p)


def test_tolerance_silences_what_is_near_enough(problem):
    layers, inputs, _ = problem
    outputs = backprop.forward(layers, inputs)[-1]
    near = np.clip(outputs + 0.1, 0, 1)
    for tolerance, moves in ((0.2, False), (0.05, True)):
        after, _ = backprop.train(layers, inputs, near, 1, lambda sweep: (0.1, 0.9), tolerance=tolerance)
        assert np.array_equal(after[0][0], layers[0][0]) != moves


def test_masked_weights_stay_away(problem):
    layers, inputs, targets = problem
    mask = np.ones((7, 5))
    mask[2:4, 1:] = 0
    after, _ = backprop.train(layers, inputs, targets, 20, lambda sweep: (0.5, 0.9), mask=mask)
    assert (after[0][0][:, mask == 0] == 0).all() and (after[0][0][:, mask == 1] != 0).all()
    changed = inputs.copy()
    changed[..., 3] += 5  # still drives the first unit
    first = [backprop.forward(after, x)[1] for x in (inputs, changed)]
    assert (first[0][..., 0] != first[1][..., 0]).all() and np.array_equal(first[0][..., 1:], first[1][..., 1:])


def test_right_counts_cases_with_every_output_right():
    targets = np.array([[1.0, 0, 0], [0, 1, 1], [0, 0, 0]])
    outputs = np.array([[[0.6, 0.4, 0.1], [0.4, 0.6, 0.4], [0.4, 0.1, 0.2]]])
    assert backprop.right(outputs, targets).tolist() == [2]


def test_palindromes():
    bits, symmetric = backprop.bit_strings()
    assert sorted(map(tuple, bits)) == sorted(itertools.product((0, 1), repeat=6))
    for row, label in zip(bits, symmetric[:, 0]):
        assert label == (list(row) == list(row)[::-1])
    assert symmetric.sum() == 8


def test_one_unit_gets_57_of_64_at_most():
    """Mixed-integer programming: weights w, threshold b, and for each string a switch that excuses a mistake."""
    bits, symmetric = backprop.bit_strings()
    sign = 2 * symmetric - 1  # sign * (w x + b) >= 1 unless excused, |w|, |b| <= 100
    rows = np.hstack([sign * bits, sign, 1000 * np.eye(64)])
    answer = milp(
        np.r_[np.zeros(7), np.ones(64)],
        constraints=LinearConstraint(rows, lb=1),
        integrality=np.r_[np.zeros(7), np.ones(64)],
        bounds=Bounds(np.r_[np.full(7, -100), np.zeros(64)], np.r_[np.full(7, 100), np.ones(64)]),
        options={"time_limit": 30},
    )
    assert answer.x is not None and 64 - round(answer.fun) == 57
    # and the proof in the notes: for each pair of accepted palindromes a mistake of its own
    halves = bits[symmetric[:, 0] == 1]
    mixed = {tuple(np.r_[p[:3], q[3:]]) for p, q in itertools.permutations(halves, 2)}
    assert len(mixed) == 56 and max(56 + k - k * (k - 1) // 2 for k in range(9)) == 57


def test_learns_symmetry_beyond_what_one_unit_can():
    layers, history = backprop.symmetry(2, 6, 5000, seed=0)
    assert history.shape == (5000, 6) and history.max() == 64
    bits, symmetric = backprop.bit_strings()
    best = history[-1].argmax()
    outputs = backprop.forward(layers, bits)[-1]
    assert backprop.right(outputs, symmetric)[best] == 64
    off, sizes = backprop.mirror(layers[0][0])
    assert off[best] < 0.05 and sizes[best, 0] == 1 and sizes[best, 2] > 1.8
    _, alone = backprop.symmetry(0, 6, 1000, seed=0)
    assert alone.max() <= 57


def test_mirror_measures():
    weights = np.array([[1, 4, 2, -2, -4, -1], [-1, -4, -2, 2, 4, 1]], float).T[None]
    off, sizes = backprop.mirror(weights)
    assert off == [0] and sizes.tolist() == [[1, 2, 4]]
    weights[0, 5, 0] = 1
    assert backprop.mirror(weights)[0] == [0.5]


def test_relatives_by_a_second_definition():
    """From father_of and mother_of alone, everything about one family in logic."""
    father = {5: 0, 6: 0, 7: 2, 8: 2, 10: 7, 11: 7}
    mother = {5: 1, 6: 1, 7: 3, 8: 3, 10: 6, 11: 6}
    wed = [(0, 1), (2, 3), (5, 4), (7, 6), (9, 8)]
    people, men = range(12), {0, 2, 5, 7, 9, 10}

    def spouse(a, b):
        return (a, b) in wed or (b, a) in wed

    def parent(a, b):  # a is a parent of b
        return father.get(b) == a or mother.get(b) == a

    def sibling(a, b):
        return a != b and a in father and b in father and father[a] == father[b]

    def elder(a, b):  # a is an uncle or aunt of b
        return any(
            parent(p, b) and (sibling(a, p) or any(sibling(s, p) and spouse(a, s) for s in people)) for p in people
        )

    kinds = {
        ("father", "mother"): parent,
        ("husband", "wife"): spouse,
        ("son", "daughter"): lambda a, b: parent(b, a),
        ("uncle", "aunt"): elder,
        ("brother", "sister"): sibling,
        ("nephew", "niece"): lambda a, b: elder(b, a),
    }
    expected = {}
    for b, a in itertools.product(people, people):
        for (male, female), holds in kinds.items():
            if holds(a, b):
                expected.setdefault((b, male if a in men else female), set()).add(a)
    found = backprop.relatives()
    assert {case: set(others) for case, others in found.items()} == expected
    assert len(found) == 52 and all(len(o) == len(set(o)) for o in found.values())
    assert [backprop.ENGLISH[p] for p in sorted(found[10, "uncle"])] == ["Arthur", "Charles"]


def test_triples_as_inputs_and_targets():
    inputs, targets = backprop.family_trees()
    assert inputs.shape == (104, 36) and targets.shape == (104, 24)
    assert (inputs[:, :24].sum(1) == 1).all() and (inputs[:, 24:].sum(1) == 1).all() and (targets.sum(1) >= 1).all()
    assert (inputs[:52, :12].sum(), inputs[52:, 12:24].sum()) == (52, 52)  # the second half is the other family
    np.testing.assert_array_equal(targets[:52, :12], targets[52:, 12:])
    assert targets[:52, 12:].sum() == targets[52:, :12].sum() == 0
    husband = 24 + backprop.RELATIONS.index("husband")
    row = np.flatnonzero(inputs[:, 12 + backprop.ITALIAN.index("Maria")] * inputs[:, husband])
    assert targets[row].argmax() == 12 + backprop.ITALIAN.index("Roberto")


def test_trees_learn_as_changed_and_not_as_published():
    published = backprop.trees("as published", 2, 300, seed=0)
    changed = backprop.trees("as changed", 2, 2500, seed=0)
    assert published["history"][-1].max() == 0 and changed["history"][-1].min() > 80
    w = changed["layers"][0][0]
    assert w.shape == (2, 36, 12) and (w[:, :24, 6:] == 0).all() and (w[:, 24:, :6] == 0).all()
    assert (w[:, :24, :6] != 0).all() and (w[:, 24:, 6:] != 0).all()
    for s, four in enumerate(changed["held_out"]):
        inputs, targets = backprop.family_trees()
        answers = backprop.forward(changed["layers"], inputs[four])[-1][s]
        assert changed["right"][s] == ((answers > 0.5) == (targets[four] > 0.5)).all(1).sum()
        kept = np.setdiff1d(np.arange(104), four)
        assert len(kept) == 100
        done = backprop.forward(changed["layers"], inputs[kept])[-1][s]
        assert abs(backprop.right(done, targets[kept]) - changed["history"][-1][s]) <= 2  # one step later


def test_look_up_by_hand():
    inputs, targets = backprop.family_trees()
    father = 24 + backprop.RELATIONS.index("father")
    arthur = np.flatnonzero(inputs[:, 5] * inputs[:, father])[0]  # Victoria's, James's … are left: a tie goes to one
    wife = np.flatnonzero(inputs[:, 0] * inputs[:, 24 + backprop.RELATIONS.index("wife")])[0]
    assert backprop.look_up(np.array([[wife, wife, wife, wife]])) == 0  # everybody's wife is another
    nephew = [i for i in range(52) if inputs[i, 24 + backprop.RELATIONS.index("nephew")]]
    assert len(nephew) == 4 and backprop.look_up(np.array([nephew[:2] + [wife, arthur]])) >= 2  # Colin, always


def test_explained_is_the_share_between_groups():
    groups = np.array([0, 0, 1, 1, -1])
    codes = np.array([[1.0, 1, 5], [1, 2, 5], [3, 1, 6], [3, 2, 4], [9, 9, 9]])
    np.testing.assert_allclose(backprop.explained(codes, groups), [1, 0, 0])
    rng = np.random.default_rng(0)
    x, g = rng.normal(size=(30, 1)), np.repeat([0, 1, 2], 10)
    dummies = np.eye(3)[g]
    residual = x - dummies @ np.linalg.lstsq(dummies, x, rcond=None)[0]
    np.testing.assert_allclose(backprop.explained(x, g), 1 - residual.var() / x.var())


def test_meanings_find_a_planted_trait_and_nothing_in_noise():
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(40, 24, 6))
    share, chance = backprop.meanings(codes, seed=0)
    assert share.shape == (40, 3, 6) and chance.shape == (40, 3)
    assert ((share.max(axis=2) > chance).mean(axis=0) < 0.2).all()
    codes[:, :, 4] = np.array(backprop.traits()["branch"]) + 0.1 * codes[:, :, 4]
    share, chance = backprop.meanings(codes, seed=0)
    assert (share[:, 2].argmax(axis=1) == 4).all() and (share[:, 2].max(axis=1) > chance[:, 2]).all()


def test_held_out_triples_are_never_trained_on(monkeypatch):
    seen = {}
    train = backprop.train

    def spy(layers, inputs, targets, sweeps, schedule, decay, tolerance, mask):
        seen.update(inputs=inputs, targets=targets, decay=decay, tolerance=tolerance)
        return train(layers, inputs, targets, sweeps, schedule, decay, tolerance, mask)

    monkeypatch.setattr(backprop, "train", spy)
    held_out = backprop.trees("as changed", 3, 2, seed=0)["held_out"]
    inputs, targets = backprop.family_trees()
    assert held_out.shape == (3, 4) and (seen["decay"], seen["tolerance"]) == (0.0003, 0.2)
    for s in range(3):
        kept = np.setdiff1d(np.arange(104), held_out[s])
        both = [np.hstack([inputs[kept], targets[kept]]), np.hstack([seen["inputs"][s], seen["targets"][s]])]
        assert len(kept) == 100 and {tuple(row) for row in both[0]} == {tuple(row) for row in both[1]}
