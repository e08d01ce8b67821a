"""Attention, the decoder's unit and the whole net of papers/bahdanau_attention.py, against torch's cell and loops."""

import argparse
import math
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from papers import bahdanau_attention as bahdanau

NUMBERS = {  # written by hand
    0: ("zero", "null"),
    1: ("one", "eins"),
    12: ("twelve", "zwölf"),
    16: ("sixteen", "sechzehn"),
    17: ("seventeen", "siebzehn"),
    20: ("twenty", "zwanzig"),
    21: ("twenty one", "ein und zwanzig"),
    30: ("thirty", "dreißig"),
    66: ("sixty six", "sechs und sechzig"),
    77: ("seventy seven", "sieben und siebzig"),
    100: ("one hundred", "ein hundert"),
    101: ("one hundred and one", "ein hundert eins"),
    111: ("one hundred and eleven", "ein hundert elf"),
    230: ("two hundred and thirty", "zwei hundert dreißig"),
    345: ("three hundred and forty five", "drei hundert fünf und vierzig"),
    581: ("five hundred and eighty one", "fünf hundert ein und achtzig"),
    999: ("nine hundred and ninety nine", "neun hundert neun und neunzig"),
}


@pytest.mark.parametrize("n", NUMBERS)
def test_spelling(n):
    assert bahdanau.spell(n) == NUMBERS[n]


def test_lists_and_held_out_sentences():
    torch.manual_seed(0)
    pairs = bahdanau.number_lists(3000)
    assert {source.count(",") for source, _ in pairs} == set(range(6))
    assert all(source.count(",") == target.count(",") for source, target in pairs)
    learnt, test = bahdanau.split(pairs)
    sources = [tuple(source) for source, _ in test]
    assert 0.03 < len(test) / len(pairs) < 0.07 and len(set(sources)) == len(sources)
    assert not set(sources) & {tuple(source) for source, _ in learnt}
    assert set(sources) == {tuple(s) for s, _ in bahdanau.split(pairs[::-1])[1]}

    draws = bahdanau.batches(learnt, 16)
    spread = [len({len(source) for source, _ in next(draws)}) for _ in range(20)]
    assert sum(spread) / 20 < 4  # of 30 lengths or so


def test_the_unit_is_torchs_cell_where_U_is_diagonal():
    torch.manual_seed(0)
    unit, cell = bahdanau.GatedUnit(3, 5).double(), nn.GRUCell(3, 5).double()
    with torch.no_grad():
        unit.U.weight.copy_(torch.diag(torch.randn(5)))
        (z, r, new), (z_bias, r_bias, bias) = unit.W.weight.chunk(3), unit.W.bias.chunk(3)
        z_state, r_state = unit.U_gates.weight.chunk(2)
        cell.weight_ih.copy_(
            torch.cat([r, -z, new])
        )  # torch's z keeps the state, the paper's replaces it
        cell.bias_ih.copy_(torch.cat([r_bias, -z_bias, bias]))
        cell.weight_hh.copy_(torch.cat([r_state, -z_state, unit.U.weight]))
        cell.bias_hh.zero_()
    x, s = (torch.randn(7, size, dtype=torch.float64, requires_grad=True) for size in (3, 5))
    ours, theirs = unit(x, s), cell(x, s)
    torch.testing.assert_close(ours, theirs)
    for a, b in zip(
        torch.autograd.grad(ours.square().sum(), [x, s]),
        torch.autograd.grad(theirs.square().sum(), [x, s]),
    ):
        torch.testing.assert_close(a, b)


PAIRS = [
    ("a b c d".split(), "w x y".split()),
    ("c a".split(), "z".split()),
    ("d d b".split(), "y w x z w".split()),
]


def by_hand(net, source: list[int], target: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (T, V) and alpha (T, S) of one sentence without padding, in loops over its words and units."""
    n = net.start.out_features
    runs = []
    for gru, words in ((net.forward_gru, source), (net.backward_gru, source[::-1])):
        state, states = torch.zeros(1, n, dtype=torch.float64), []
        weights = [gru.weight_ih_l0, gru.weight_hh_l0, gru.bias_ih_l0, gru.bias_hh_l0]
        for word in words:
            state = torch.gru_cell(net.embed_source.weight[word][None], state, *weights)
            states.append(state[0])
        runs.append(states)
    s = torch.tanh(net.start.weight @ runs[1][-1] + net.start.bias)
    h = [torch.cat([a, b]) for a, b in zip(runs[0], runs[1][::-1])]
    if net.fixed:
        h = [torch.cat([runs[0][-1], runs[1][-1]])]
    W, U, v = net.attention.W.weight, net.attention.U.weight, net.attention.v.weight[0]
    (W_z, W_r, W_new), (b_z, b_r, b_new) = net.unit.W.weight.chunk(3), net.unit.W.bias.chunk(3)
    U_z, U_r = net.unit.U_gates.weight.chunk(2)
    logits, alphas, word = [], [], bahdanau.BEGIN
    for following in target:
        e = net.embed_target.weight[word]
        scores = [
            sum(v[k] * torch.tanh(W[k] @ s + U[k] @ annotation) for k in range(n))
            for annotation in h
        ]
        alpha = [score.exp() / sum(other.exp() for other in scores) for score in scores]
        x = torch.cat([e, sum(weight * annotation for weight, annotation in zip(alpha, h))])
        z = 1 / (1 + torch.exp(-(W_z @ x + b_z + U_z @ s)))
        r = 1 / (1 + torch.exp(-(W_r @ x + b_r + U_r @ s)))
        s = s - z * s + z * torch.tanh(W_new @ x + b_new + net.unit.U.weight @ (r * s))
        logits.append(net.output.weight @ torch.cat([e, s, x[len(e) :]]) + net.output.bias)
        alphas.append(torch.stack(alpha))
        word = following
    return torch.stack(logits), torch.stack(alphas)


@pytest.mark.parametrize("fixed", [False, True])
def test_the_net_is_what_loops_over_single_sentences_give(fixed):
    torch.manual_seed(0)
    net = bahdanau.Translator(PAIRS, m=3, n=4, fixed=fixed).double()
    source, target = (net.ids([pair[k] for pair in PAIRS], k) for k in (0, 1))
    logits, alphas = net(source, target)
    loss = F.cross_entropy(
        logits.flatten(0, 1), target.flatten(), ignore_index=bahdanau.PAD, reduction="sum"
    )
    slow = 0
    for k, pair in enumerate(PAIRS):
        sizes = [len(words) + 1 for words in pair]  # with <end>
        ours, alpha = by_hand(net, source[k, : sizes[0]].tolist(), target[k, : sizes[1]].tolist())
        torch.testing.assert_close(logits[k, : sizes[1]], ours)
        torch.testing.assert_close(alphas[k, : sizes[1], : alpha.shape[1]], alpha)
        assert not alphas[k, :, alpha.shape[1] :].any(), "padding has weight"
        slow += F.cross_entropy(ours, target[k, : sizes[1]], reduction="sum")
    weights = [
        weight
        for name, weight in net.named_parameters()
        if not (fixed and name.startswith("attention"))
    ]
    for a, b in zip(torch.autograd.grad(loss, weights), torch.autograd.grad(slow, weights)):
        torch.testing.assert_close(a, b)


def test_translating_takes_the_likeliest_word_until_the_end():
    torch.manual_seed(3)
    net = bahdanau.Translator(PAIRS, m=8, n=16).double()
    with torch.no_grad():
        net.output.weight.mul_(3)
    sources = [source for source, _ in PAIRS]
    names, lengths = list(net.words[1]), []
    for source, translation in zip(sources, net.translate(sources, longest=12)):
        ids = [net.words[0][word] for word in source] + [bahdanau.END]
        written = []
        while len(written) < 12 and bahdanau.END not in written:
            written.append(by_hand(net, ids, [*written, 0])[0][-1].argmax().item())
        assert translation == [names[k] for k in written if k != bahdanau.END]
        lengths.append(len(translation))
    assert len(set(lengths)) > 1, "these weights show nothing: every sentence has one length"


def test_follow_counts_origins_and_crossings():
    english = "one hundred and twenty one , five , five hundred and thirty".split()
    german = "ein hundert ein und zwanzig , fünf , fünf hundert dreißig".split()
    origins = {0: 0, 2: 4, 4: 3, 6: 6, 8: 8, 10: 11}  # all but hundert, und and commas
    right = torch.eye(13)[[origins.get(i, 12) for i in range(12)]]
    assert bahdanau.follow([right], [(english, german)]) == (100, 100)
    wrong = right.clone()
    wrong[[2, 4]] = right[[4, 2]]
    assert bahdanau.follow([right, wrong], [(english, german)] * 2) == (
        pytest.approx(100 * 10 / 12),
        50,
    )


def test_training_learns_to_translate():
    torch.manual_seed(0)
    pairs = [pair for pair in bahdanau.number_lists(4000) if len(pair[0]) <= 6]
    net = bahdanau.Translator(pairs, m=16, n=32)
    bahdanau.train(net, pairs, argparse.Namespace(steps=150, batch=32))
    target = net.ids([target for _, target in pairs], 1)
    with torch.no_grad():
        logits, _ = net(net.ids([source for source, _ in pairs], 0), target)
    loss = F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=bahdanau.PAD).item()
    counts = Counter(target[target != bahdanau.PAD].tolist()).values()
    entropy = -sum(
        k / sum(counts) * math.log(k / sum(counts)) for k in counts
    )  # of words by frequency
    assert loss < 0.5 * entropy


def test_own_text(tmp_path, capsys):
    lines = [f"{' '.join(s)}\t{' '.join(t)}\tsource" for s, t in bahdanau.number_lists(300)]
    (tmp_path / "pairs.tsv").write_text("\n".join(["no tab", *lines]), encoding="utf-8")
    options = [
        "--smoke",
        "--hidden",
        "8",
        "--out",
        str(tmp_path),
        "--pairs",
        str(tmp_path / "pairs.tsv"),
    ]
    picture = tmp_path / "bahdanau_attention.png"
    assert bahdanau.main([*options, "--translate", "Two hundred, five"])["claims"] == []
    assert "two hundred , five" in capsys.readouterr().out and not picture.exists()
    assert bahdanau.main(options)["claims"] == []
    printed = capsys.readouterr().out
    assert printed.count("no tab") == 1 and printed.count("\n    ") == 5 and picture.exists()
    with pytest.raises(SystemExit):
        bahdanau.main([*options, "--translate", "two million"])
    assert 'does not have "million"' in capsys.readouterr().err
