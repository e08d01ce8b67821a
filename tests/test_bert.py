"""papers/bert.py against transformers' BertForPreTraining, in float64, with its masking and its counts, and at work."""

import random
from argparse import Namespace

import pytest
import torch
import torch.nn.functional as F
from transformers import BertConfig, BertForPreTraining

from papers import bert

SIZES = 12, 16, 3, 4
LAYER = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "feed_forward.0": "intermediate.dense",
    "feed_forward.2": "output.dense",
    "output_norm": "output.LayerNorm",
}
NAMES = {
    "bert.words": "bert.embeddings.word_embeddings",
    "bert.positions": "bert.embeddings.position_embeddings",
    "bert.segments": "bert.embeddings.token_type_embeddings",
    "bert.norm": "bert.embeddings.LayerNorm",
    "bert.pooler": "bert.pooler.dense",
    "next_sentence": "cls.seq_relationship",
    "transform.0": "cls.predictions.transform.dense",
    "transform.2": "cls.predictions.transform.LayerNorm",
}
NAMES |= {
    f"bert.layers.{k}.{a}": f"bert.encoder.layer.{k}.{b}"
    for k in range(3)
    for a, b in LAYER.items()
}


def theirs_of(name: str) -> str:
    """'bert.norm.weight' to what transformers calls it."""
    module, _, kind = name.rpartition(".")
    return "cls.predictions.bias" if name == "bias" else f"{NAMES[module]}.{kind}"


@pytest.fixture(params=[False, True], ids=["both sides", "left only"])
def pair(request):
    """Our net and theirs with the same random weights, norms and biases too."""
    torch.manual_seed(0)
    ours = bert.PreTraining(30, *SIZES).double()
    ours.bert.left_only = request.param
    config = BertConfig(
        vocab_size=30,
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=12,
        is_decoder=request.param,
        hidden_dropout_prob=0,
        attention_probs_dropout_prob=0,
        attn_implementation="eager",
    )
    theirs = BertForPreTraining(config).double()
    copied = dict(theirs.named_parameters())
    with torch.no_grad():
        for name, weight in ours.named_parameters():
            weight.copy_(torch.randn_like(weight) * 0.5)
            copied[theirs_of(name)].copy_(weight)
    assert len(copied) == len(list(ours.parameters())), "some weights have no counterpart"
    return ours, theirs


def test_both_heads_and_all_gradients_are_those_of_transformers(pair):
    ours, theirs = pair
    x = torch.randint(bert.FIRST, 30, (4, 12))
    x[1, 7:], x[2, 3:] = bert.PAD, bert.PAD
    segments, chosen = (
        (torch.arange(12) >= 6).long().expand(4, -1),
        (torch.rand(4, 12) < 0.4) & (x != bert.PAD),
    )
    assert chosen.any() and (x == bert.PAD).any()
    out = theirs(x, attention_mask=(x != bert.PAD).long(), token_type_ids=segments)
    h, pooled = ours.bert(x, segments)
    hidden, pooled_theirs = theirs.bert(x, (x != bert.PAD).long(), segments)[:2]
    torch.testing.assert_close(h[x != bert.PAD], hidden[x != bert.PAD])
    torch.testing.assert_close(pooled, pooled_theirs)
    torch.testing.assert_close(ours(x, segments), out.seq_relationship_logits)
    plain = theirs(x, attention_mask=(x != bert.PAD).long())  # one sentence
    torch.testing.assert_close(ours.masked(x, chosen), plain.prediction_logits[chosen])
    weighting, whole = (
        torch.randn(int(chosen.sum()), 30, dtype=torch.float64),
        torch.randn(4, 2, dtype=torch.float64),
    )
    ((ours.masked(x, chosen) * weighting).sum() + (ours(x, segments) * whole).sum()).backward()
    (
        (plain.prediction_logits[chosen] * weighting).sum()
        + (out.seq_relationship_logits * whole).sum()
    ).backward()
    gradients = {name: weight.grad for name, weight in theirs.named_parameters()}
    for name, weight in ours.named_parameters():
        torch.testing.assert_close(
            weight.grad, gradients[theirs_of(name)], msg=lambda text, name=name: name + text
        )


def test_sizes_of_the_base_model_are_those_of_transformers():
    with torch.device("meta"):
        ours, theirs = bert.PreTraining(30_522), BertForPreTraining(BertConfig())
    for mine, other in ((ours, theirs), (ours.bert, theirs.bert)):
        assert sum(w.numel() for w in mine.parameters()) == sum(
            w.numel() for w in other.parameters()
        )


def test_a_new_net_starts_small_with_waves_for_positions():
    torch.manual_seed(0)
    net = bert.PreTraining(5000, 50, 192, 1, 2)
    for weight in (
        net.bert.words.weight,
        net.bert.layers[0].feed_forward[2].weight[:, :192],
        net.transform[0].weight,
    ):
        assert weight.std().item() == pytest.approx(0.02 * 2, rel=0.02)
    waves = net.bert.positions.weight
    assert waves.std(dim=1).mean().item() == pytest.approx(0.02 * 2, rel=0.1)
    steps = (waves[1:] * waves[:-1]).sum(dim=1)
    torch.testing.assert_close(
        steps, steps[:1].expand(49), msg="what lies k places apart is equally alike everywhere"
    )


def test_masking_has_the_papers_statistics():
    torch.manual_seed(0)
    x = torch.randint(bert.FIRST, bert.VOCABULARY, (4000, 50))
    x[:, 0], x[:, 40], x[:, 41:] = bert.CLS, bert.SEP, bert.PAD
    seen, chosen = bert.mask(x)
    assert not chosen[x < bert.FIRST].any() and torch.equal(seen[~chosen], x[~chosen])
    assert chosen[x >= bert.FIRST].double().mean().item() == pytest.approx(0.15, abs=0.003)
    now, then, letters = seen[chosen], x[chosen], bert.VOCABULARY - bert.FIRST
    assert (now == bert.MASK).double().mean().item() == pytest.approx(0.8, abs=0.01)
    assert (now == then).double().mean().item() == pytest.approx(0.1 + 0.1 / letters, abs=0.01)
    others = now[(now != then) & (now != bert.MASK)]
    assert others.min() == bert.FIRST and others.max() == bert.VOCABULARY - 1
    assert torch.bincount(others).max() < 1.3 * len(others) / letters
    assert not torch.equal(bert.mask(x)[1], chosen), "masks are new each time"


def test_inputs_frame_letters():
    a, b = bert.NUMBERS["a"], bert.NUMBERS["b"]
    assert bert.inputs(["a_b", ""], 6).tolist() == [
        [bert.CLS, a, bert.MASK, b, bert.SEP, bert.PAD],
        [1, 2, 0, 0, 0, 0],
    ]


def test_half_of_the_lines_have_the_letters_of_longer_words_shuffled():
    line = "'tis the parting, of friends' word"
    x, y = bert.labelled([line] * 400, 40, random.Random(0))
    texts = [
        "".join(bert.LETTERS[k - bert.FIRST] for k in row if k >= bert.FIRST) for row in x.tolist()
    ]
    assert len({text[-4:] for text in texts}) > 20, "words of four letters are shuffled too"
    assert 150 < y.sum() < 250 and all(text == line for text, label in zip(texts, y) if label == 0)
    for text in (text for text, label in zip(texts, y) if label == 1):
        assert (
            text != line
            and text.startswith("'tis the ")
            and text[16:21] == ", of "
            and text[28] == "'"
        )
        assert [sorted(word) for word in text.split()] == [sorted(word) for word in line.split()]


def test_counts_are_those_of_a_loop():
    torch.manual_seed(0)
    letters, test_letters = (
        "".join(random.Random(k).choices("abcd", k=size)) for k, size in ((0, 3000), (1, 500))
    )
    text, test = (
        torch.tensor([bert.NUMBERS[letter] for letter in part]) for part in (letters, test_letters)
    )
    x = bert.inputs([test_letters[k : k + 10] for k in range(0, 500, 10)], 12)
    _, chosen = bert.mask(x)
    seen = x.masked_fill(chosen, bert.MASK)
    visible, both, one, places = (
        seen[:, 1:-1].flatten().tolist(),
        0,
        0,
        chosen[:, 1:-1].flatten().nonzero()[:, 0],
    )
    anything = torch.ones(2998, dtype=torch.bool)
    for place in places.tolist():
        left, right = ([bert.MASK, *visible, bert.MASK][place + k] for k in (0, 2))
        after = anything if left == bert.MASK else text[:-2] == left
        before = anything if right == bert.MASK else text[2:] == right
        both += text[1:-1][after & before].bincount().argmax().item() == test[place].item()
        one += text[1:-1][after].bincount().argmax().item() == test[place].item()
    assert bert.counts(letters, seen, chosen, x) == pytest.approx(
        [100 * both / len(places), 100 * one / len(places)]
    )


def small(**options) -> tuple[Namespace, bert.PreTraining]:
    torch.manual_seed(0)
    model = bert.PreTraining(bert.VOCABULARY, 16, 32, 1, 2)
    return Namespace(device="cpu", batch=32, rate=3e-3, **options), model


def test_pre_training_learns_to_read_both_sides_and_fills_in():
    args, model = small(steps=400)
    text = "the quick fox. " * 40
    x = bert.inputs([text[k : k + 14] for k in range(60)], 16)
    curve = bert.pre_train(model, text, [*bert.mask(x), x], args)
    right, nats = curve[400]
    assert len(curve) == 20 and right > 85 and nats < 0.5, (
        "the commonest letter is right in 20%, after 2.5 nats"
    )
    assert bert.fill(model, "the qu__k f") == "the quick f"


def test_fill_writes_the_surest_letter_first():
    (_, model), firsts = small(), set()
    for line in ("a_b_", "_ou_t", "t__e", "__ q", "m_s__"):
        expected, order = line, []
        while "_" in expected:
            x = bert.inputs([expected], len(expected) + 2)
            p = F.softmax(model.masked(x, x > 0), dim=1)[
                1:-1, bert.FIRST :
            ]  # of every letter of the line
            place = max(
                (k for k, letter in enumerate(expected) if letter == "_"),
                key=lambda k: p[k].max().item(),
            )
            order.append(place)
            expected = expected[:place] + bert.LETTERS[p[place].argmax()] + expected[place + 1 :]
        firsts.add(order == sorted(order))
        assert bert.fill(model, line) == expected
    assert firsts == {True, False}, "from left to right, and not"


def test_fine_tuning_learns_two_classes_and_leaves_the_net_as_it_was():
    _, model = small()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    x = torch.randint(bert.FIRST, bert.FIRST + 9, (900, 16))
    y = (x < bert.FIRST + 4).sum(dim=1) > 6
    sets = [(part, label.long()) for part, label in zip(x.split(300), y.split(300))]
    curve, tuned = bert.fine_tune(model, sets[:2], 3e-3, 100)
    assert list(curve) == list(range(5, 101, 5)) and curve[100] > 80
    assert bert.percent(tuned, *sets[2]) > 80
    assert all(torch.equal(before[name], weight) for name, weight in model.state_dict().items())
