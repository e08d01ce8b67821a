# /// script
# requires-python = ">=3.11"
# dependencies = ["torch", "matplotlib", "tqdm"]
# ///
"""Sequence to Sequence Learning with Neural Networks
Sutskever, Vinyals & Le, 2014 (NIPS, arXiv:1409.3215)

    python papers/seq2seq.py                                      the experiments, on number words
    python papers/seq2seq.py --translate "two hundred and six"    trains one net, translates this
    python papers/seq2seq.py --pairs FILE                         your own parallel text: sentence, tab, translation
    python papers/seq2seq.py --smoke                              a few steps, to see that it runs
    (for a GPU, with the paper's net: --layers 4 --hidden 1000 --embedding 1000 --pairs FILE --steps 100000)

The idea
    A network maps a vector of fixed size to another, but a sentence and its translation have any number of words, and
    not the same. So let one LSTM read the source, word by word, until all of it is in its state v; and let a second
    LSTM start from v and be a language model of the target, one that is told what to say:

        p(y_1 … y_T' | x_1 … x_T) = Π_t p(y_t | v, y_1 … y_{t−1})                                        (eq. 1)

    Training makes the right translation, with an end mark as its last word, likely. To translate is to look for the
    likeliest sentence: beam search keeps the two likeliest beginnings, extends each by every word, and keeps two again.

    The paper's trick is to read the source backwards. Its first word then stands next to the translation's first word,
    and once the beginning is learnt, the rest has something to hold on to.

Symbols
    x, y    (B, S), (B, T)          word numbers of source and target, padded with 0
    v       2 of (layers, B, H)     the encoder's last state, h and c

Built from scratch
    Number words, the encoder-decoder on torch's nn.LSTM, and beam search. Tests hold spellings against a table, the
    padded batch against sentences one by one, and beam search against trying every sentence of a tiny language.

Claims
    1. It translates 97% or more of numbers that it never saw from English to French, every word right.
    2. If it has a fifth of the steps to learn, reading the source backwards leads by 10 points or more (sec. 3.3);
       with all of them both directions can do it.
    3. It keeps its score on the longest sentences: 95% or more of the longest fifth is right (sec. 3.7, Fig. 3).

Departures
    Numbers below a billion (paper: 12 million sentences of WMT'14), so sentences are counted that are right in every
    word (paper: BLEU). One layer of 128 units (four of 1,000), Adam (SGD at 0.7), torch's usual start. Compounds are
    split at the hyphen. A hash decides which numbers are for testing.
"""

import argparse
import re
import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence
from tqdm import tqdm

Pair = tuple[list[str], list[str]]  # the words of a sentence and of its translation
COLOURS = {"backwards": "C0", "forwards": "C1"}
PAD, BEGIN, END, UNKNOWN = range(4)
WANTED = "wanted is UTF-8 text, a sentence, a tab and its translation on each line"
RATE = 4e-3  # for both directions; 2e-3 leaves 3% wrong in the end
BEAM = 2  # the paper's smaller beam, from which it has most of the gain
SHOWN = [203, 302, 2_000_003, 3_000_002]  # pairs of the same words in another order, as in Fig. 2

ENGLISH = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen""".split()
ENGLISH_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
FRENCH = """zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize dix-sept
    dix-huit dix-neuf""".split()
FRENCH_TENS = "vingt trente quarante cinquante soixante soixante quatre-vingt quatre-vingt".split()


# %% Data


def english(n: int) -> str:
    """A number from 0 to 999,999,999 in British words."""
    if n < 20:
        return ENGLISH[n]
    if n < 100:
        return ENGLISH_TENS[n // 10 - 2] + (f"-{ENGLISH[n % 10]}" if n % 10 else "")
    unit, name = next(
        (u, name)
        for u, name in ((10**6, "million"), (1000, "thousand"), (100, "hundred"))
        if n >= u
    )
    words, rest = f"{english(n // unit)} {name}", n % unit
    return words + (" and" if 0 < rest < 100 else "") + (f" {english(rest)}" if rest else "")


def french(n: int, mille: bool = False) -> str:
    """The same in French. mille: the word mille follows, before which cents and vingts lose their s."""
    if n < 20:
        return FRENCH[n]
    if n < 100:
        tens, units = divmod(n, 10)
        units += 10 if tens in (7, 9) else 0  # 70 is sixty and ten, 90 four twenties and ten
        if units == 0:
            return FRENCH_TENS[tens - 2] + ("s" if tens == 8 and not mille else "")
        return (
            FRENCH_TENS[tens - 2]
            + (" et " if units in (1, 11) and tens < 8 else "-")
            + FRENCH[units]
        )
    if n < 1000:
        many, rest = n // 100, n % 100
        words = "cent" if many == 1 else f"{FRENCH[many]} cent" + ("" if rest or mille else "s")
    elif n < 10**6:
        many, rest = n // 1000, n % 1000
        words = "mille" if many == 1 else f"{french(many, mille=True)} mille"
    else:
        many, rest = n // 10**6, n % 10**6
        words = f"{french(many)} million" + ("s" if many > 1 else "")
    return words + (f" {french(rest, mille)}" if rest else "")


def words(text: str) -> list[str]:
    """Lower case, split at spaces, before punctuation and after a hyphen: "vingt-deux" is "vingt-" and "deux"."""
    return re.findall(r"\w+-?|[^\w\s]", text.lower())


def number_pairs(size: int) -> list[Pair]:
    """`size` numbers, of one to nine digits with equal chances: their English and French words."""
    digits = torch.randint(1, 10, (size,))
    numbers = (torch.rand(size, dtype=torch.float64) * 10**digits).long()
    return [(words(english(n)), words(french(n))) for n in numbers.tolist()]


def read_pairs(path: Path) -> list[Pair]:
    """A sentence, a tab and its translation on each line."""
    lines = path.read_text(encoding="utf-8-sig").splitlines()  # Windows may put a mark in front
    good = [line.split("\t")[:2] for line in lines if "\t" in line]
    if len(good) < len(lines):
        print(
            f"{path}: {len(lines) - len(good)} of {len(lines)} lines have no tab and are left out"
        )
    pairs = [(words(source), words(target)) for source, target in good]
    return [pair for pair in pairs if all(pair)]  # without empty sentences


def split(pairs: list[Pair]) -> tuple[list[Pair], list[Pair], list[Pair]]:
    """Pairs for training, validation and testing: by a hash of the source, so that no sentence is in two of them."""
    share = [zlib.crc32(" ".join(source).encode()) % 10 for source, _ in pairs]
    held_out = [
        {" ".join(pair[0]): pair for pair, k in zip(pairs, share) if k == part} for part in (0, 1)
    ]
    return [pair for pair, k in zip(pairs, share) if k > 1], *(
        list(part.values()) for part in held_out
    )


def vocabulary(sentences: list[list[str]], limit: int = 80_000) -> dict[str, int]:
    """Numbers of the commonest words, from 4 on."""
    counts = Counter(word for sentence in sentences for word in sentence)
    return {word: 4 + k for k, (word, _) in enumerate(counts.most_common(limit))}


def batches(pairs: list[Pair], size: int) -> Iterator[list[Pair]]:
    """Without end; the sentences of a batch are about equally long (sec. 3.4), from 20 batches sorted at once."""
    while True:
        pool = [pairs[k] for k in torch.randint(len(pairs), (20 * size,))]
        pool.sort(key=lambda pair: len(pair[0]))
        for k in torch.randperm(20).tolist():
            yield pool[k * size : (k + 1) * size]


# %% Model


class Seq2Seq(nn.Module):
    def __init__(
        self,
        vocabularies: tuple[dict, dict],
        embedding: int,
        hidden: int,
        layers: int,
        backwards: bool,
    ):
        super().__init__()
        self.source_numbers, self.target_numbers = vocabularies
        self.target_words = {number: word for word, number in self.target_numbers.items()}
        self.backwards = backwards
        self.source_embedding = nn.Embedding(4 + len(self.source_numbers), embedding)
        self.target_embedding = nn.Embedding(4 + len(self.target_numbers), embedding)
        self.encoder = nn.LSTM(embedding, hidden, layers, batch_first=True)
        self.decoder = nn.LSTM(embedding, hidden, layers, batch_first=True)
        self.output = nn.Linear(hidden, 4 + len(self.target_numbers))

    def encode(self, sentences: list[list[str]]) -> tuple[Tensor, Tensor]:
        """v: h and c after the last word that is read, (layers, B, H) each."""
        device = self.output.weight.device
        read = [sentence[::-1] if self.backwards else sentence for sentence in sentences]
        x = [
            torch.tensor([self.source_numbers.get(word, UNKNOWN) for word in sentence])
            for sentence in read
        ]
        lengths = torch.tensor([len(sentence) for sentence in x])
        x = pad_sequence(x, batch_first=True).to(device)  # (B, S)
        packed = pack_padded_sequence(
            self.source_embedding(x), lengths, batch_first=True, enforce_sorted=False
        )
        _, v = self.encoder(packed)
        return v

    def decode(
        self, y: Tensor, state: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """log p of the word after each of y (B, T): (B, T, V), and the state after the last."""
        h, state = self.decoder(self.target_embedding(y), state)  # (B, T, H)
        return self.output(h).log_softmax(dim=2), state

    def targets(self, sentences: list[list[str]]) -> Tensor:
        """(B, T + 2): BEGIN, the words' numbers, END, and 0 where a sentence is over."""
        numbers = [
            [self.target_numbers.get(word, UNKNOWN) for word in sentence] for sentence in sentences
        ]
        rows = [torch.tensor([BEGIN, *row, END]) for row in numbers]
        return pad_sequence(rows, batch_first=True).to(self.output.weight.device)


@torch.no_grad()
def beam_search(
    model: Seq2Seq, sentence: list[str], beam: int, limit: int = 50
) -> tuple[list[str], float]:
    """The likeliest translation that was found, and its log p. A beginning that ends leaves the beam (sec. 3.2)."""
    state = model.encode([sentence])
    beginnings, scores, finished = [[BEGIN]], torch.zeros(1), []
    for _ in range(limit):
        y = torch.tensor([[beginning[-1]] for beginning in beginnings], device=state[0].device)
        log_p, state = model.decode(y, state)
        totals = scores[:, None] + log_p[:, -1].cpu()  # (beginnings, V)
        best, places = totals.flatten().topk(min(beam, totals.numel()))
        rows, last = places // totals.shape[1], places % totals.shape[1]
        going = last != END
        finished += [
            (beginnings[row][1:], s) for row, s in zip(rows[~going].tolist(), best[~going].tolist())
        ]
        beginnings = [
            [*beginnings[row], word]
            for row, word in zip(rows[going].tolist(), last[going].tolist())
        ]
        scores, state = best[going], tuple(part[:, rows[going].to(part.device)] for part in state)
        if not beginnings or finished and max(s for _, s in finished) >= scores.max():
            break  # no beginning can become likelier than it is
    numbers, score = max(
        finished or [(beginnings[0][1:], scores[0].item())], key=lambda pair: pair[1]
    )
    return [model.target_words.get(number, "?") for number in numbers], score


# %% Training


def train(model: Seq2Seq, pairs: list[Pair], size: int, steps: int) -> Iterator[int]:
    """Adam on eq. 1, the rate falling to 0, gradients clipped to norm 5 (sec. 3.4); yields after every step."""
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0, steps)
    stream = batches(pairs, size)
    for step in tqdm(
        range(1, steps + 1), desc="backwards" if model.backwards else "forwards", disable=None
    ):
        sources, targets = zip(*next(stream))
        y = model.targets(targets)
        log_p, _ = model.decode(y[:, :-1], model.encode(sources))
        loss = F.nll_loss(log_p.transpose(1, 2), y[:, 1:], ignore_index=PAD)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5)
        optimizer.step()
        schedule.step()
        yield step


# %% Experiments


@torch.no_grad()
def right(model: Seq2Seq, pairs: list[Pair]) -> float:
    """Percent right in every word, where each word is the likeliest after the words before. That is so just where
    every word is the likeliest after the *right* words before, so that one pass is enough."""
    y = model.targets([target for _, target in pairs])
    log_p, _ = model.decode(y[:, :-1], model.encode([source for source, _ in pairs]))
    hits = (log_p.argmax(dim=2) == y[:, 1:]) | (y[:, 1:] == PAD)
    return 100 * hits.all(dim=1).float().mean().item()


def learn(
    model: Seq2Seq, pairs: list, validation: list, steps: int, args: argparse.Namespace
) -> tuple[list, list]:
    """Trains, and looks 15 times at how many of 500 others are translated right: steps, percentages."""
    looks, scores = [], []
    torch.manual_seed(args.seed + 1)  # the same batches for both directions
    for step in train(model, pairs, args.batch, steps):
        if step % max(1, steps // 15) == 0:
            looks.append(step)
            scores.append(right(model, validation[:500]))
    return looks, scores


def by_length(model: Seq2Seq, test: list[Pair]) -> tuple[list[float], list[float]]:
    """The test set in fifths by the length of the source: mean numbers of words, percent right."""
    test = sorted(test, key=lambda pair: len(pair[0]))
    fifths = [test[k * len(test) // 5 : (k + 1) * len(test) // 5] for k in range(5)]
    lengths = [sum(len(source) for source, _ in fifth) / len(fifth) for fifth in fifths]
    return lengths, [
        100 * sum(beam_search(model, s, BEAM)[0] == t for s, t in fifth) / len(fifth)
        for fifth in fifths
    ]


@torch.no_grad()
def codes(model: Seq2Seq, sentences: list[list[str]]) -> Tensor:
    """v of each sentence in two dimensions, the first principal components: (N, 2)."""
    u, s, _ = torch.pca_lowrank(
        torch.cat([part[-1] for part in model.encode(sentences)], dim=1).cpu(), q=2, niter=10
    )
    return u * s


# %% Figure


def text(sentence: list[str]) -> str:
    return " ".join(sentence).replace("- ", "-")


def draw(curves: dict, lengths: list, scores: dict, points: dict, examples: list) -> plt.Figure:
    """Above, the share of unseen sentences that are translated right in every word, while the networks learn and by
    the length of the sentence, with the source read backwards or forwards; on the right, the states that the network
    has after reading four sentences, in two dimensions. Below are unseen sentences, with their translations and the
    log-probability that the network gives to these.

    curves: (direction, steps) -> steps and percentages; lengths, scores: of the test set in fifths (Fig. 3);
    points: sentence -> its code (Fig. 2); examples: source, translation, log p.
    """
    figure, axes = plt.subplot_mosaic(
        "lsc;eee", figsize=(14, 6), layout="constrained", height_ratios=[3, 1]
    )
    most = max(steps for _, steps in curves)
    for (name, steps), (looks, curve) in curves.items():
        style, label = "o-" if steps == most else "s--", f"source read {name}, {steps:,} steps"
        axes["l"].plot(looks, curve, style, ms=3, color=COLOURS[name], label=label)
    for name, fifths in scores.items():
        axes["s"].plot(lengths, fifths, "o-", color=COLOURS[name])
    axes["l"].set(
        title="Validation sentences right in every word",
        xlabel="training step",
        ylabel="%",
        ylim=(0, 101),
    )
    axes["s"].set(
        title="Test sentences right, by length",
        xlabel="words of the source",
        ylabel="%",
        ylim=(0, 101),
    )
    axes["l"].legend(loc="lower right")
    for sentence, (x, y) in points.items():
        axes["c"].plot(x, y, "o", color="C2")
        axes["c"].annotate(
            sentence, (x, y), xytext=(0, 6), textcoords="offset points", ha="center", fontsize=8
        )
    axes["c"].set(
        title="Codes of sentences, read backwards", xlabel="1st component", ylabel="2nd component"
    )
    axes["c"].margins(0.35)
    lines = [
        f"{source}\n      {found}    (log p = {log_p:.2f})" for source, found, log_p in examples
    ]
    axes["e"].text(0, 1, "\n".join(lines), va="top", fontsize=8.5, in_layout=False)
    axes["e"].axis("off")
    return figure


# %% Run


def positive(text: str) -> int:
    """For argparse: a whole number above 0."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def stop(message: str) -> NoReturn:
    """Ends the script as argparse does: a sentence, and status 2."""
    print(f"{Path(sys.argv[0]).name}: error: {message}", file=sys.stderr)
    sys.exit(2)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--pairs",
        type=Path,
        help="parallel text to learn in place of numbers: sentence, tab, sentence",
    )
    parser.add_argument(
        "--translate",
        metavar="SENTENCE",
        help="trains one net (source read backwards), translates this",
    )
    parser.add_argument("--out", type=Path, default=Path("runs"), help="where the figure goes")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--steps", type=positive, default=1500, help="training steps in each direction"
    )
    parser.add_argument("--batch", type=positive, default=128, help="sentences a step")
    parser.add_argument("--layers", type=positive, default=1, help="of both LSTMs (paper: 4)")
    parser.add_argument(
        "--hidden", type=positive, default=128, help="units of a layer (paper: 1,000)"
    )
    parser.add_argument(
        "--embedding", type=positive, default=64, help="numbers for a word (paper: 1,000)"
    )
    parser.add_argument("--smoke", action="store_true", help="a few steps, to see that it runs")
    args = parser.parse_args(argv)
    if not 0 <= args.seed < 2**32:
        parser.error(f"--seed {args.seed}: a seed is a whole number from 0 to {2**32 - 1}")
    if args.translate is not None and not args.translate.strip():
        parser.error("--translate: there is nothing to translate in an empty sentence")
    args.own_pairs = None
    if args.pairs is not None:
        try:
            args.own_pairs = read_pairs(args.pairs)
        except UnicodeError:
            parser.error(f"--pairs {args.pairs}: {WANTED}; this is not UTF-8")
        except OSError as error:
            parser.error(f"--pairs {args.pairs}: {WANTED}; {error.strerror}")
        training, validation, test = split(args.own_pairs)
        if not training or not validation or len(test) < 5:  # one for each fifth by length
            count = len(args.own_pairs)
            parser.error(
                f"--pairs {args.pairs}: {WANTED}; {count} such lines are too few, or too much alike, "
                "to hold some out (a tenth, and five or more)"
            )
    try:
        torch.zeros(1, device=args.device)
        args.out.mkdir(parents=True, exist_ok=True)
    except (RuntimeError, AssertionError, OSError) as error:
        parser.error(f"--device {args.device}, --out {args.out}: {str(error).splitlines()[0]}")
    return args


def main(argv: list[str] | None = None) -> dict:
    args = parse_args(argv)
    torch.manual_seed(args.seed)
    args.steps, args.batch = (10, 8) if args.smoke else (args.steps, args.batch)
    pairs = args.own_pairs if args.pairs else number_pairs(600 if args.smoke else 50_000)
    pairs, validation, test = split(pairs)
    test = test[:1000]
    vocabularies = tuple(vocabulary(list(side)) for side in zip(*pairs))
    sizes = args.embedding, args.hidden, args.layers
    data = args.pairs.name if args.pairs else "number words, English to French"

    if args.translate is not None:
        asked = words(args.translate)
        unknown = [word for word in asked if word not in vocabularies[0]]
        if unknown:
            listed = ", ".join(f'"{word}"' for word in unknown)
            stop(f"--translate: the training text does not have {listed}")
        torch.manual_seed(args.seed)
        model = Seq2Seq(vocabularies, *sizes, backwards=True).to(args.device)
        learn(model, pairs, validation, args.steps, args)
        translation, _ = beam_search(model, asked, BEAM)
        headline = f"{text(asked)}  ->  {text(translation)}"
        print(headline)
        return {"data": data, "headline": headline, "claims": []}

    models, curves, scores = {}, {}, {}
    for name in COLOURS:
        for steps in (args.steps // 5, args.steps):  # for each, the rate falls to 0 by the end
            torch.manual_seed(args.seed)  # the same start for both
            models[name, steps] = Seq2Seq(vocabularies, *sizes, backwards=name == "backwards").to(
                args.device
            )
            curves[name, steps] = learn(models[name, steps], pairs, validation, steps, args)
        lengths, scores[name] = by_length(models[name, steps], test)
    model = models["backwards", args.steps]
    sentences = sorted((source for source, _ in test[:12]), key=len)[-4:]
    found = [beam_search(model, sentence, BEAM) for sentence in sentences]
    examples = [
        (text(source), text(found), log_p) for source, (found, log_p) in zip(sentences, found)
    ]
    shown = (
        [words(english(n)) for n in SHOWN] if not args.pairs else [source for source, _ in test[:4]]
    )
    points = dict(zip(map(text, shown), codes(model, shown).tolist()))
    draw(curves, lengths, scores, points, examples).savefig(args.out / "seq2seq.png", dpi=110)

    overall, longest = sum(scores["backwards"]) / 5, scores["backwards"][-1]
    early = [right(models[name, args.steps // 5], test) for name in COLOURS]
    last = [sum(fifths) / 5 for fifths in scores.values()]
    claims = [
        {
            "claim": "97% or more of sentences that it never saw are translated right in every word",
            "paper": "BLEU 26.17 by one LSTM with a beam of 12, 30.59 if it reads backwards (Table 1)",
            "here": f"{overall:.1f}% of {len(test):,}",
            "holds": bool(overall >= 97),
        },
        {
            "claim": "reading the source backwards leads by 10 points or more if training has a fifth of the steps",
            "paper": "test perplexity from 5.8 to 4.7, BLEU from 25.9 to 30.6 (sec. 3.3)",
            "here": f"{early[0]:.0f}% right, forwards {early[1]:.0f}%; with all steps {last[0]:.1f} and {last[1]:.1f}%",
            "holds": bool(early[0] >= early[1] + 10),
        },
        {
            "claim": "of the longest fifth of the sentences 95% or more are right",
            "paper": "no loss below 35 words (Fig. 3)",
            "here": f"{longest:.1f}%, with {lengths[-1]:.0f} words in the mean",
            "holds": bool(longest >= 95),
        },
    ]
    for claim in claims:  # dicts of claim, paper, here, holds
        verdict = "not judged" if args.smoke else "holds" if claim["holds"] else "does not hold"
        print(
            f"{verdict:>13}  {claim['claim']}\n{'':15}here: {claim['here']}; paper: {claim['paper']}"
        )
    print(f"figure: {args.out / 'seq2seq.png'}")
    headline = f"{overall:.1f}% of unseen sentences translated without a mistake"
    return {"data": data, "headline": headline, "claims": claims}


if __name__ == "__main__":
    if hasattr(sys.stdout, "reconfigure"):  # a notebook's has not
        sys.stdout.reconfigure(errors="replace")  # a terminal without "θ" shows "?"
    main([] if "ipykernel" in sys.modules else None)  # a notebook has no command line


# %% [markdown]
# ## Notes
# - How soon one looks decides how much the order matters: in one training of 1,200 steps the lead after 240 was 20, 10
#   and 12 points (seeds 0, 1, 2). So each direction gets a short training of its own, judged when it has ended.
# - With 1,200 steps 96, 96.5 and 94.5% of the longest fifth were right, so claim 3 failed on seed 2; hence 1,500.
