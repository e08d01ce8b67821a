"""The four models of papers/word2vec.py against autograd, its tree against brute force, its draws against the odds."""

import math
from functools import cache
from itertools import combinations

import pytest
import torch
import torch.nn.functional as F

from papers import word2vec

COUNTS = torch.tensor([50.0, 20.0, 11.0, 9.0, 5.0, 3.0, 3.0, 1.0])
MODELS = [
    (False, False),
    (True, False),
    (False, True),
    (True, True),
]  # (CBOW?, hierarchical softmax?)


def random_model(cbow: bool, hierarchical: bool) -> word2vec.Word2Vec:
    torch.manual_seed(0)
    model = word2vec.Word2Vec(COUNTS, 4, cbow, hierarchical)
    model.inputs, model.outputs = torch.randn(2, len(COUNTS), 4, dtype=torch.float64)
    return model


def tree_log_p(outputs: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
    """log p(w | h) of every word (V,), along its path."""
    nodes, signs = word2vec.huffman(COUNTS)
    paths = [
        [(n, s) for n, s in zip(*path) if s != 0] for path in zip(nodes.tolist(), signs.tolist())
    ]
    return torch.stack([sum(F.logsigmoid(s * (outputs[n] @ h)) for n, s in path) for path in paths])


@pytest.mark.parametrize("cbow, hierarchical", MODELS)
def test_a_step_is_the_gradient_of_the_written_out_loss(cbow, hierarchical):
    model = random_model(cbow, hierarchical)
    centres = torch.tensor([0, 3, 3, 7, 1])
    contexts = torch.randint(len(COUNTS), (5, 6))
    present = (torch.rand(5, 6) < 0.6).double()
    present[:, 0] = 1
    inputs, outputs = model.inputs.clone().requires_grad_(), model.outputs.clone().requires_grad_()

    torch.manual_seed(1)
    rows, _ = model.questions(centres)  # the noise that the step will draw
    gain = 0
    for b, centre in enumerate(centres.tolist()):
        read = [inputs[contexts[b, j]] for j in range(6) if present[b, j]]
        if cbow:
            read = [sum(read) / len(read)]
        for h in read:
            if hierarchical:
                gain += tree_log_p(outputs, h)[centre]
            else:
                gain += F.logsigmoid(outputs[centre] @ h)
                gain += sum(F.logsigmoid(-(outputs[n] @ h)) for n in rows[b, 1:].tolist())
    gain.backward()

    torch.manual_seed(1)
    model.step(centres, contexts, present, learning_rate=0.5)
    torch.testing.assert_close(model.inputs, (inputs + 0.5 * inputs.grad).detach())
    torch.testing.assert_close(model.outputs, (outputs + 0.5 * outputs.grad).detach())


def test_the_tree_is_a_softmax_and_no_tree_is_shorter():
    model = random_model(False, True)
    h = torch.randn(4, dtype=torch.float64)
    assert tree_log_p(model.outputs, h).exp().sum().item() == pytest.approx(1)

    @cache
    def shortest(words: frozenset) -> float:
        """Least Σ count · length over all binary trees on these words."""
        if len(words) == 1:
            return 0
        first, *rest = words
        halves = (
            frozenset({first, *part}) for n in range(len(rest)) for part in combinations(rest, n)
        )
        return sum(COUNTS[list(words)].tolist()) + min(
            shortest(half) + shortest(words - half) for half in halves
        )

    nodes, signs = word2vec.huffman(COUNTS)
    assert (COUNTS * signs.abs().sum(dim=1)).sum().item() == shortest(frozenset(range(len(COUNTS))))
    turns_before = {}  # a node is where its path leads: one history of turns for each, starting from the root
    for path, turns in zip(nodes.tolist(), signs.tolist()):
        length = sum(turn != 0 for turn in turns)
        assert all(turn == 0 for turn in turns[length:])
        for j in range(length):
            assert turns_before.setdefault(path[j], turns[:j]) == turns[:j]
    assert sorted(turns_before) == list(range(len(COUNTS) - 1))


def test_noise_is_drawn_from_the_counts_to_three_quarters():
    torch.manual_seed(0)
    model = word2vec.Word2Vec(COUNTS, 4)
    centres = torch.randint(len(COUNTS), (20_000,))
    rows, signs = model.questions(centres)
    assert torch.equal(rows[:, 0], centres) and rows.shape == (20_000, 1 + word2vec.NOISE)
    assert (signs[:, 0] == 1).all() and (signs[:, 1:] == -1).all()
    share = torch.bincount(rows[:, 1:].flatten()) / rows[:, 1:].numel()
    weights = [count**0.75 for count in COUNTS.tolist()]
    torch.testing.assert_close(share, torch.tensor(weights) / sum(weights), atol=0.006, rtol=0)


def test_subsampling_keeps_the_root_of_threshold_over_frequency_and_the_order():
    torch.manual_seed(0)
    text = torch.multinomial(COUNTS, 100_000, replacement=True)
    kept = word2vec.subsample(text, COUNTS, 0.05)
    shares = torch.bincount(kept, minlength=len(COUNTS)) / torch.bincount(text)
    frequencies = (COUNTS / COUNTS.sum()).tolist()
    expected = torch.tensor([min(1, math.sqrt(0.05 / f)) for f in frequencies])
    torch.testing.assert_close(shares, expected, atol=0.02, rtol=0)
    numbers = torch.arange(1000) % 8
    kept = iter(numbers.tolist())
    assert all(
        word in kept for word in word2vec.subsample(numbers, COUNTS, 0.05).tolist()
    )  # a subsequence
    assert torch.equal(word2vec.subsample(text, COUNTS, math.inf), text)


def test_windows():
    """A pair d words apart counts with probability (c − d + 1) / c, and none reaches over the ends of the text."""
    torch.manual_seed(0)
    text, c = torch.tensor([0, 1, 2, 1, 3, 4, 0, 2, 4, 4, 1, 3]), word2vec.WINDOW
    draws = 4000
    contexts, present = word2vec.windows(text, torch.arange(len(text)).repeat(draws))
    for places in range(len(text)):
        weights = present[places :: len(text)].mean(dim=0)
        offsets = [*range(-c, 0), *range(1, c + 1)]
        for weight, word, offset in zip(weights.tolist(), contexts[places].tolist(), offsets):
            inside = 0 <= places + offset < len(text)
            assert weight == pytest.approx((c + 1 - abs(offset)) / c if inside else 0, abs=0.04)
            if inside:
                assert word == text[places + offset]


def test_log_ratio_is_levy_and_goldbergs():
    torch.manual_seed(0)
    text = torch.randint(5, (60,))
    model = word2vec.Word2Vec(torch.bincount(text).float(), 3)
    model.outputs = torch.randn(5, 3)
    c, pairs = word2vec.WINDOW, [[0.0] * 5 for _ in range(5)]
    for i, w in enumerate(text.tolist()):
        for j, v in enumerate(text.tolist()):
            pairs[w][v] += max(0, c + 1 - abs(i - j)) / c if i != j else 0
    noise = [count**0.75 for count in torch.bincount(text).tolist()]
    ratios, dots = [], []
    for w in range(5):
        for v in range(5):
            if pairs[w][v] >= 5:
                p_v_after_w, p_noise = pairs[w][v] / sum(pairs[w]), noise[v] / sum(noise)
                ratios.append(math.log(p_v_after_w / p_noise) - math.log(word2vec.NOISE))
                dots.append((model.inputs[w] @ model.outputs[v]).item())
    got = word2vec.factorized(model, text)
    assert 0 < len(ratios)
    torch.testing.assert_close(got[0], torch.tensor(ratios))
    torch.testing.assert_close(got[1], torch.tensor(dots))


def test_sentences_of_the_planted_language():
    torch.manual_seed(0)
    R = word2vec.ROLES
    text = word2vec.planted_language(20_000)
    content = text[text < 7 * R + 32].view(-1, 7)  # seven words a sentence
    assert len(text) == 20_000 and content.numel() == pytest.approx(
        20_000 * (1 - word2vec.SHARE), abs=7
    )
    for entity, *others in content.sort(
        dim=1
    ).values.tolist():  # the entity has the smallest number
        role, number, gender = entity // 4, entity // 2 % 2, entity % 2
        assert entity < 4 * R
        assert all((word - 4 * R) // 3 == role for word in others[:2])
        assert [(word - 7 * R) // 8 for word in others[2:]] == [
            number,
            number,
            2 + gender,
            2 + gender,
        ]


def test_analogies_of_vectors_that_add_up():
    torch.manual_seed(0)
    role, number, gender = (
        torch.randn(word2vec.ROLES, 1, 1, 80),
        torch.randn(2, 1, 80),
        torch.randn(1, 2, 80),
    )
    vectors = (role + number / 2 + gender / 2).flatten(0, 2)
    questions = word2vec.planted_analogies()
    assert (
        len(questions.unique(dim=0)) == len(questions) == 4 * word2vec.ROLES * (word2vec.ROLES - 1)
    )
    a, b, c, d = questions.T
    assert (
        torch.equal(b - a, d - c) and set((b - a).tolist()) == {1, 2} and (a // 4 != c // 4).all()
    )
    assert word2vec.analogies(vectors, questions, left_out=True) == 100
    noisy = (role + number / 20 + gender / 20).flatten(0, 2) + 0.1 * torch.randn(
        4 * word2vec.ROLES, 80
    )
    left_out, left_in = (word2vec.analogies(noisy, questions, out) for out in (True, False))
    assert left_in < left_out / 2  # c itself is nearest


def test_same_kind_and_its_chance():
    points = F.normalize(
        torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0], [1.0, 0.3]]), dim=1
    )
    right, chance = word2vec.same_kind(points @ points.T, torch.tensor([0, 0, 1, 1, 1]))
    assert right == pytest.approx(80) and chance == pytest.approx(100 * (2 * 1 + 3 * 2) / (5 * 4))


@pytest.mark.parametrize("cbow, hierarchical", MODELS)
def test_training_tells_two_subjects_apart(cbow, hierarchical):
    """Twenty words, ten of each subject, in stretches of ten words on one: guessing finds the subject 9 times of 19."""
    torch.manual_seed(0)
    text = (10 * torch.randint(2, (800, 1)) + torch.randint(10, (800, 10))).flatten()
    counts = torch.bincount(text).float()
    model = word2vec.Word2Vec(counts, 8, cbow, hierarchical)
    subjects = torch.arange(20) // 10

    def right() -> float:
        vectors = F.normalize(model.inputs, dim=1)
        return word2vec.same_kind(vectors @ vectors.T, subjects)[0]

    assert right() < 80
    word2vec.train(model, text, math.inf, passes=8, batch=16, learning_rate=0.1 if cbow else 0.05)
    assert right() == 100
