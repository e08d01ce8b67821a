"""papers/seq2seq.py: number words against tables, batches against single sentences, beam search against trying all."""

import itertools

import pytest
import torch

from papers import seq2seq

SPELT = {
    0: ("zero", "zéro"),
    1: ("one", "un"),
    17: ("seventeen", "dix-sept"),
    21: ("twenty-one", "vingt et un"),
    70: ("seventy", "soixante-dix"),
    71: ("seventy-one", "soixante et onze"),
    77: ("seventy-seven", "soixante-dix-sept"),
    80: ("eighty", "quatre-vingts"),
    81: ("eighty-one", "quatre-vingt-un"),
    91: ("ninety-one", "quatre-vingt-onze"),
    100: ("one hundred", "cent"),
    106: ("one hundred and six", "cent six"),
    200: ("two hundred", "deux cents"),
    201: ("two hundred and one", "deux cent un"),
    280: ("two hundred and eighty", "deux cent quatre-vingts"),
    1000: ("one thousand", "mille"),
    1006: ("one thousand and six", "mille six"),
    2300: ("two thousand three hundred", "deux mille trois cents"),
    21_000: ("twenty-one thousand", "vingt et un mille"),
    80_000: ("eighty thousand", "quatre-vingt mille"),
    180_000: ("one hundred and eighty thousand", "cent quatre-vingt mille"),
    200_000: ("two hundred thousand", "deux cent mille"),
    1_000_000: ("one million", "un million"),
    80_000_080: ("eighty million and eighty", "quatre-vingts millions quatre-vingts"),
    200_000_000: ("two hundred million", "deux cents millions"),
    999_001_100: (
        "nine hundred and ninety-nine million one thousand one hundred",
        "neuf cent quatre-vingt-dix-neuf millions mille cent",
    ),
}


@pytest.mark.parametrize("n", SPELT)
def test_spelling(n):
    assert (seq2seq.english(n), seq2seq.french(n)) == SPELT[n]
    for sentence in SPELT[n]:
        assert seq2seq.text(seq2seq.words(sentence)) == sentence


def test_every_number_has_words_of_its_own():
    numbers = [*range(3000), *range(9000, 10**6, 997), *range(10**6, 10**9, 1_999_993)]
    for spell in (seq2seq.english, seq2seq.french):
        assert len({spell(n) for n in numbers}) == len(numbers)


def test_numbers_are_even_by_length_and_test_numbers_are_apart():
    torch.manual_seed(0)
    pairs = seq2seq.number_pairs(4000)
    assert len({len(source) for source, _ in pairs}) > 15
    singles = (
        sum(source[0] in seq2seq.ENGLISH[:10] and len(source) == 1 for source, _ in pairs) / 4000
    )
    assert (
        abs(singles - 1 / 9) < 0.02
    )  # one in nine has one digit (and few longer draws begin with a zero)
    train, validation, test = seq2seq.split(pairs)
    sets = [{tuple(source) for source, _ in part} for part in (train, validation, test)]
    assert (
        len(set.union(*sets)) == sum(map(len, sets)) == len({tuple(source) for source, _ in pairs})
    )
    assert len(sets[1]) == len(validation) > 200 and len(sets[2]) == len(test) > 200
    assert all(len(source) for source, _ in train)


def test_lines_without_a_tab_are_left_out_and_said_to_be(tmp_path, capsys):
    path = tmp_path / "pairs.tsv"
    path.write_text("Go!\tVa !\nnothing\nI am\tje suis\n", encoding="utf-8")
    assert seq2seq.read_pairs(path) == [(["go", "!"], ["va", "!"]), (["i", "am"], ["je", "suis"])]
    assert "1 of 3 lines" in capsys.readouterr().out


def model(backwards=True, layers=2, seed=0):
    torch.manual_seed(seed)
    vocabularies = {"a": 4, "b": 5, "c": 6}, {"x": 4}
    net = seq2seq.Seq2Seq(vocabularies, 3, 5, layers, backwards).double()
    for weight in net.parameters():
        torch.nn.init.normal_(weight)  # far from even, so that beginnings differ
    return net


@pytest.mark.parametrize("backwards", [True, False])
def test_a_padded_batch_is_its_sentences_one_by_one_cell_by_cell(backwards):
    """Against torch.nn.LSTMCell, which knows nothing of padding or order."""
    net = model(backwards, layers=1)
    sentences = [["a", "b", "c"], ["b"], ["c", "c", "a", "b", "?"]]
    h, c = net.encode(sentences)
    cell = torch.nn.LSTMCell(3, 5).double()
    cell.load_state_dict(
        {name.removesuffix("_l0"): weight for name, weight in net.encoder.state_dict().items()}
    )
    for k, sentence in enumerate(sentences):
        state = None
        for word in reversed(sentence) if backwards else sentence:
            number = {"a": 4, "b": 5, "c": 6}.get(word, seq2seq.UNKNOWN)
            state = cell(net.source_embedding.weight[number][None], state)
        torch.testing.assert_close(h[0, k], state[0][0])
        torch.testing.assert_close(c[0, k], state[1][0])


def log_p(net, source, numbers):
    y = torch.tensor([[seq2seq.BEGIN, *numbers]])
    found, _ = net.decode(y[:, :-1], net.encode([source]))
    return found[0, range(len(numbers)), numbers].sum().item()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("source", [["a"], ["c", "b", "a", "a"]])
def test_a_wide_beam_finds_the_likeliest_of_all_sentences(source, seed):
    net = model(seed=seed)
    net.output.bias.data[seq2seq.END] -= (
        3  # so that the likeliest sentence isn't always the empty one
    )
    sentences = [
        [*start, seq2seq.END]
        for length in range(4)
        for start in itertools.product([w for w in range(5) if w != seq2seq.END], repeat=length)
    ]
    scores = [log_p(net, source, numbers) for numbers in sentences]
    best = max(range(len(sentences)), key=scores.__getitem__)
    found, score = seq2seq.beam_search(net, source, beam=5**4, limit=4)
    expected = [net.target_words.get(number, "?") for number in sentences[best][:-1]]
    assert found == expected and abs(score - scores[best]) < 1e-5


def test_a_beam_of_one_takes_the_likeliest_word_each_time():
    net = model()
    for source in (["a"], ["b", "c"], ["c", "a", "b"]):
        numbers, state, y = [], net.encode([source]), seq2seq.BEGIN
        for _ in range(6):
            found, state = net.decode(torch.tensor([[y]]), state)
            y = found[0, -1].argmax().item()
            if y == seq2seq.END:
                break
            numbers.append(y)
        words, score = seq2seq.beam_search(net, source, beam=1, limit=6)
        assert words == [net.target_words.get(number, "?") for number in numbers]
        ended = [*numbers, seq2seq.END] if y == seq2seq.END else numbers
        assert abs(score - log_p(net, source, ended)) < 1e-5


def test_training_learns_to_copy_and_right_counts_it():
    """Letters to themselves in capitals; always the commonest would be right for 1 of 12."""
    torch.manual_seed(0)
    pairs = [
        (list(s), list(s.upper()))
        for n in (1, 2)
        for s in map("".join, itertools.product("abc", repeat=n))
    ]
    vocabularies = tuple(seq2seq.vocabulary(list(side)) for side in zip(*pairs))
    net = seq2seq.Seq2Seq(vocabularies, 8, 32, 1, backwards=True)
    before = seq2seq.right(net, pairs)
    for _ in seq2seq.train(net, pairs, 16, 300):
        pass
    searched = sum(seq2seq.beam_search(net, source, 1)[0] == target for source, target in pairs)
    assert before < 100 / 6 and seq2seq.right(net, pairs) > 90
    assert (
        abs(seq2seq.right(net, pairs) - 100 * searched / len(pairs)) < 1e-4
    )  # greedy decoding, word by word
