# /// script
# requires-python = ">=3.11"
# dependencies = ["torch", "matplotlib", "tqdm"]
# ///
"""Mamba: Linear-Time Sequence Modeling with Selective State Spaces
Gu & Dao, 2023 (COLM 2024, arXiv:2312.00752)

    python papers/mamba.py              the experiment
    python papers/mamba.py --smoke      a few steps, to see that it runs
    (on a GPU, towards the paper's size: --width 64 --states 16 --batch 64 --steps 20000)

The idea
    Attention keeps all of the past, and looking back costs more with every token. A recurrent net keeps a state of
    fixed size and has to choose what goes in. A state space model is a linear recurrence, N numbers for each channel,

        h'(t) = A h(t) + B x(t)      y(t) = C h(t)                                                      (eq. 1)
        h_t = Ā h_{t-1} + B̄ x_t      y_t = C h_t      with Ā = exp(ΔA), B̄ = ΔB                       (eqs. 2, 4)

    the second line in steps of size Δ. With constant Δ, B, C it is one long convolution (eq. 3): fast, but all tokens
    are treated alike. Selection makes Δ, B, C functions of the token (Alg. 2). A large Δ lets it in and the past out,
    Δ = 0 keeps the state as it is; with N = 1 this is an RNN's gate, h_t = (1 − g_t) h_{t-1} + g_t x_t (Thm. 1).

    It is no convolution any more, but still linear in h. So two steps make one of the same kind, and can be joined in
    any order, in parallel; or in chunks whose states never leave the fast memory. The backward pass makes them anew,
    as storing them would take N times the memory of inputs and outputs (sec. 3.3.2).

Symbols
    Δ, x    delta, x    (L, B, D)       step size and input of each channel, for L tokens of B sequences
    B, C    B, C        (L, B, N)       how a token enters the state, and how it is read from it
    Ā, B̄x   a, b        (L, B, D, N)    what one step does, h becomes a h + b; and the decay A (D, N)

Built from scratch
    Three scans (step by step, associative, in chunks that are made anew in the backward pass), the selective layer and
    the block. Tests hold the scans and their gradients against each other, the blocks against transformers' Mamba, the
    constant layer against the convolution that it is, and the net fed token by token against itself.

Claims
    1. Trained on 64 and 256 tokens, it recalls what followed a word in 1,024 with 98% right; a net with attention that
       has 95% at 256 falls below 50% there (Table 2, induction heads).
    2. It copies 90% of sequences of scattered tokens in full; with constant Δ, B, C it is 60% at most (Table 1).
    3. On 4,096 tokens the scan in chunks keeps a tenth of what a loop keeps for the backward pass, in 2/3 of the time;
       from 2,048 its time grows 2.4 times at most, that of attention 3 times or more (Fig. 8, sec. 4.5).

Departures
    Two layers of width 32 with N = 8 (paper: 64 and 16), trained for a minute. The paper trains induction heads on 256
    tokens for 200,000 steps and tests a million; here a third of the steps is on 64 tokens, where the trigger may come
    more than twice, and it first comes in the first quarter (paper: anywhere). Copied are 4 of 60 tokens (16 of 4,096).
    No language, sound or DNA; the fast scan is no fused GPU kernel, its chunks fit a processor's cache.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

CHUNK = 64  # tokens, so that the states of a chunk fit the cache; from 16 to 128 it makes little difference
TESTS = 256  # sequences
SYMBOLS, TRIGGER = 16, 15  # induction heads: 15 words and the trigger
NOISE, ASK, SCATTERED, AMONG = 0, 1, 4, 60  # selective copying
RATES = {"Mamba": 5e-3, "attention": 2e-3, "copying": 8e-3}
UNASKED = -100  # an answer that isn't asked for; cross_entropy passes over it
COLOURS = {"Mamba": "C0", "attention": "C1", "constant Δ, B, C": "C3"}
COLOURS |= {"in chunks": "C0", "step by step": "C4", "associative": "C2"}  # the scans


# %% Data


def induction(batch: int, length: int, share: float) -> tuple[Tensor, Tensor]:
    """Words (B, L) and a trigger: once in the first quarter, at the end, and at a share of the other places. The same
    word always comes after it. Answers (B, L): that word, asked for at every trigger but the first."""
    trigger = torch.rand(batch, length) < share
    trigger[torch.arange(batch), torch.randint(length // 4, (batch,))] = True
    trigger[:, -1] = True
    trigger[:, 1:] &= ~trigger[:, :-1]  # no two side by side
    tokens, follower = torch.randint(TRIGGER, (2, batch, length))
    follower = follower[:, :1].expand(batch, length)
    tokens[:, 1:] = torch.where(trigger[:, :-1], follower[:, 1:], tokens[:, 1:])
    tokens[trigger] = TRIGGER
    return tokens, torch.where(trigger & (trigger.cumsum(dim=1) > 1), follower, UNASKED)


def copying(batch: int) -> tuple[Tensor, Tensor]:
    """4 words scattered over 60 places, then 4 places that ask for them in order. Tokens and answers (B, 64)."""
    places = torch.rand(batch, AMONG).argsort(dim=1)[:, :SCATTERED].sort(dim=1).values
    words = torch.randint(2, SYMBOLS, (batch, SCATTERED))
    tokens = torch.full((batch, AMONG), NOISE).scatter(1, places, words)
    return torch.cat([tokens, torch.full_like(words, ASK)], 1), torch.cat(
        [torch.full_like(tokens, UNASKED), words], 1
    )


# %% Model


def step_by_step(a: Tensor, b: Tensor) -> Tensor:
    """All states h_t = a_t h_{t-1} + b_t, from h = 0 on; all tensors (L, ...)."""
    h, states = torch.zeros_like(b[0]), []
    for a_t, b_t in zip(a.unbind(), b.unbind()):
        h = a_t * h + b_t
        states.append(h)
    return torch.stack(states)


def associative(a: Tensor, b: Tensor) -> Tensor:
    """The same in log2(L) rounds: to do (a, b) and then (a', b') is to do (a' a, a' b + b'), whatever these stand for.
    Round by round, (a_t, b_t) comes to stand for 1, 2, 4, ... steps, the last of which is t."""
    reach = 1
    while reach < len(a):
        b = torch.cat([b[:reach], a[reach:] * b[:-reach] + b[reach:]])
        a = torch.cat([a[:reach], a[reach:] * a[:-reach]])
        reach *= 2
    return b


def discretize(delta: Tensor, A: Tensor, B: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Ā and B̄x (L, B, D, N), eq. 4; for B̄ the first term of its series, as in the authors' code."""
    return torch.exp(delta[..., None] * A), (delta * x)[..., None] * B[..., None, :]


class ChunkedScan(torch.autograd.Function):
    """y (L, B, D) and the last state, from the first one h (B, D, N). Only one chunk's states exist at a time."""

    @staticmethod
    def states(delta: Tensor, A: Tensor, B: Tensor, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Ā and all states of a chunk (L, B, D, N), from the state h that the chunk before it left."""
        a, b = discretize(delta, A, B, x)
        for a_t, b_t in zip(a.unbind(), b.unbind()):
            h = b_t.addcmul_(a_t, h)  # b_t becomes h_t
        return a, b

    @staticmethod
    def forward(
        ctx, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, x: Tensor, h: Tensor
    ) -> tuple[Tensor, Tensor]:
        y, starts = [], []
        for delta_, B_, C_, x_ in zip(*(tensor.split(CHUNK) for tensor in (delta, B, C, x))):
            starts.append(h)
            _, states = ChunkedScan.states(delta_, A, B_, x_, h)
            y.append((states @ C_[..., None])[..., 0])
            h = states[-1].clone()
        ctx.save_for_backward(delta, A, B, C, x, torch.stack(starts))
        ctx.mark_non_differentiable(h)
        return torch.cat(y), h

    @staticmethod
    def backward(ctx, dy: Tensor, _) -> tuple:
        delta, A, B, C, x, starts = ctx.saved_tensors
        grads, dA, dh = [], torch.zeros_like(A), torch.zeros_like(starts[0])
        chunks = zip(starts, *(tensor.split(CHUNK) for tensor in (delta, B, C, x, dy)))
        for h, delta_, B_, C_, x_, dy_ in reversed(list(chunks)):
            a, states = ChunkedScan.states(delta_, A, B_, x_, h)  # once more, as they weren't kept
            g = dy_[..., None] * C_[..., None, :]  # (L, B, D, N), dL / dh_t by way of y_t
            for a_t, g_t in zip(reversed(a.unbind()), reversed(g.unbind())):
                g_t += dh  # and by way of h_{t+1}
                dh = a_t * g_t
            before = torch.cat([h[None], states[:-1]])
            exponent = g * before * a  # dL / d(Δ A)
            dA += (exponent * delta_[..., None]).sum(dim=(0, 1))
            entry = (g @ B_[..., None])[..., 0]  # dL / d(Δ x), (L, B, D)
            dB, dC = (
                ((delta_ * x_)[..., None, :] @ g)[..., 0, :],
                (dy_[..., None, :] @ states)[..., 0, :],
            )
            grads.append(((exponent * A).sum(dim=-1) + entry * x_, dB, dC, entry * delta_))
        ddelta, dB, dC, dx = (torch.cat(parts[::-1]) for parts in zip(*grads))
        return ddelta, dA, dB, dC, dx, None


class Selective(nn.Module):
    """Algorithm 2: Δ, B, C depend on the token, unless constant. x (B, L, D) and h to y (B, L, D) and the next h."""

    def __init__(self, D: int, N: int, constant: bool):
        super().__init__()
        rank, self.constant = math.ceil(D / 32), constant
        self.sizes = [rank, N, N]
        self.A_log, self.D = (
            nn.Parameter(torch.arange(1, N + 1).log().repeat(D, 1)),
            nn.Parameter(torch.ones(D)),
        )
        self.select, self.delta = nn.Linear(D, sum(self.sizes), bias=False), nn.Linear(rank, D)
        nn.init.uniform_(self.delta.weight, -(rank**-0.5), rank**-0.5)
        steps = torch.exp(torch.empty(D).uniform_(math.log(0.001), math.log(0.1)))  # sec. 3.6
        self.delta.bias = nn.Parameter(steps.expm1().log())  # the inverse of softplus

    def forward(self, x: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
        source = torch.ones_like(x) if self.constant else x  # what Δ, B, C depend on
        low, B, C = self.select(source).split(self.sizes, dim=-1)
        delta, A = F.softplus(self.delta(low)), -self.A_log.exp()
        h = x.new_zeros(len(x), *A.shape) if h is None else h
        delta, B, C, x_t = (tensor.transpose(0, 1) for tensor in (delta, B, C, x))
        y, h = ChunkedScan.apply(delta, A, B, C, x_t, h)
        self.opened = delta.detach()  # (L, B, D), for the figure
        return y.transpose(0, 1) + self.D * x, h


class Block(nn.Module):
    """Fig. 3: a short convolution, the state space model, and a gate."""

    def __init__(self, width: int, N: int, constant: bool):
        super().__init__()
        self.norm, D = nn.RMSNorm(width, eps=1e-5), 2 * width
        self.enter, self.leave = (
            nn.Linear(width, 2 * D, bias=False),
            nn.Linear(D, width, bias=False),
        )
        self.conv, self.ssm = nn.Conv1d(D, D, 4, groups=D), Selective(D, N, constant)

    def forward(self, residual: Tensor, state: tuple | None = None) -> tuple[Tensor, tuple]:
        """(B, L, width), and the state that earlier tokens left: the last three inputs of the convolution, and h."""
        x, gate = self.enter(self.norm(residual)).chunk(2, dim=-1)  # (B, L, D) each
        past, h = state or (x.new_zeros(len(x), 3, x.shape[2]), None)
        x = torch.cat([past, x], dim=1)  # (B, 3 + L, D)
        y, h = self.ssm(F.silu(self.conv(x.transpose(1, 2)).transpose(1, 2)), h)
        return residual + self.leave(y * F.silu(gate)), (x[:, -3:], h)


class Mamba(nn.Module):
    def __init__(self, width: int, N: int, constant: bool = False, layers: int = 2):
        super().__init__()
        self.embedding = nn.Embedding(SYMBOLS, width)
        self.blocks = nn.ModuleList(Block(width, N, constant) for _ in range(layers))
        self.norm, self.output = nn.RMSNorm(width, eps=1e-5), nn.Linear(width, SYMBOLS, bias=False)

    def forward(self, tokens: Tensor, states: list | None = None) -> Tensor:
        """Tokens (B, L) to logits (B, L, 16). Goes on from a list of the layers' states, and leaves there the next."""
        x, states = self.embedding(tokens), states or [None] * len(self.blocks)
        for k, block in enumerate(self.blocks):
            x, states[k] = block(x, states[k])
        return self.output(self.norm(x))


class Attention(nn.Module):
    """The other net of Table 2: layers with causal attention, on words and sinusoids that tell their places."""

    def __init__(self, width: int, heads: int = 4, layers: int = 2):
        super().__init__()
        self.embedding, self.output = nn.Embedding(SYMBOLS, width), nn.Linear(width, SYMBOLS)
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, 0.0, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(
            layer, layers, nn.LayerNorm(width), enable_nested_tensor=False
        )
        self.register_buffer("frequencies", 1e-4 ** torch.linspace(0, 1, width // 2))

    def forward(self, tokens: Tensor) -> Tensor:
        L = tokens.shape[1]
        angles = torch.arange(L, device=tokens.device)[:, None] * self.frequencies
        x = self.embedding(tokens) + torch.cat([angles.sin(), angles.cos()], dim=1)
        hidden = torch.ones(L, L, dtype=torch.bool, device=tokens.device).triu(1)
        return self.output(self.layers(x, hidden, is_causal=True))


# %% Training


def train(net: nn.Module, draw: Callable[[int], tuple], steps: int, rate: float) -> Iterator[int]:
    """Adam on fresh sequences; draw(step) makes tokens and answers. Yields the number of steps done."""
    optimizer, device = (
        torch.optim.Adam(net.parameters(), fused=True),
        next(net.parameters()).device,
    )
    for step in tqdm(range(steps), desc=type(net).__name__, disable=None):
        optimizer.param_groups[0]["lr"] = rate * min(1, (step + 1) / 50, 2 - 2 * step / steps)
        tokens, answers = (tensor.to(device) for tensor in draw(step))
        if (answers == UNASKED).all():
            continue  # a very small batch may ask for nothing, and has no loss
        loss = F.cross_entropy(net(tokens).flatten(0, 1), answers.flatten(), ignore_index=UNASKED)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        yield step + 1


@torch.no_grad()
def right(net: nn.Module, tokens: Tensor, answers: Tensor) -> float:
    """How many of the sequences get all of their answers right, in percent. Mamba reads 256 tokens at a time."""
    device, states = (
        next(net.parameters()).device,
        [None] * len(net.blocks) if isinstance(net, Mamba) else None,
    )
    pieces = tokens.to(device).split(256 if states else tokens.shape[1], dim=1)
    logits = torch.cat([net(piece, states) if states else net(piece) for piece in pieces], dim=1)
    words = logits.argmax(dim=-1).cpu()
    return 100 * ((words == answers) | (answers == UNASKED)).all(dim=1).double().mean().item()


# %% Experiments


def recall(
    net: nn.Module, steps: int, batch: int, rate: float, lengths: list[int]
) -> dict[int, float]:
    """Table 2: learns on 64, after a third of the steps on 256 tokens. % right by length."""

    def draw(step: int) -> tuple[Tensor, Tensor]:
        return (
            induction(batch, 64, 0.02)
            if step < steps // 3
            else induction(max(1, batch // 4), 256, 0)
        )

    list(train(net, draw, steps, rate))  # all its steps
    return {
        n: sum(right(net, *induction(16, n, 0)) for _ in range(TESTS // 16)) / (TESTS // 16)
        for n in lengths
    }


def copy(net: nn.Module, steps: int, batch: int) -> dict[int, float]:
    """Table 1: % of sequences copied in full, by step."""
    test, curve = copying(TESTS), {}
    for step in train(net, lambda step: copying(batch), steps, RATES["copying"]):
        if step % max(1, steps // 12) == 0:
            curve[step] = right(net, *test)
    return curve


def scan(all_states: Callable, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, x: Tensor) -> Tensor:
    """y (L, B, D) by way of all states, which stay in memory for the backward pass."""
    return (all_states(*discretize(delta, A, B, x)) @ C[..., None])[..., 0]


def cost(length: int, repeats: int, device: str) -> dict[str, tuple[float, float]]:
    """Seconds of a forward and backward pass, the least of several, and MB kept between the two. 4 sequences, 64
    channels with N = 16, or one attention head of 64."""
    delta, x = (torch.randn(length, 4, 64, device=device) for _ in range(2))
    B, C = (torch.randn(length, 4, 16, device=device) for _ in range(2))
    A = -torch.arange(1.0, 17, device=device).repeat(64, 1)
    inputs = [tensor.requires_grad_() for tensor in (F.softplus(delta - 4), A, B, C, x)]
    q, k, v = (torch.randn(4, 1, length, 64, device=device, requires_grad=True) for _ in range(3))
    ways = {
        "in chunks": lambda: ChunkedScan.apply(*inputs, x.new_zeros(4, 64, 16))[0],
        "step by step": lambda: scan(step_by_step, *inputs),
        "associative": lambda: scan(associative, *inputs),
        "attention": lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True),
    }
    if length > 1024:
        del ways["associative"]  # whose rounds would keep 3 GB
    costs, stored = dict.fromkeys(ways, (math.inf, 0.0)), []
    watch = torch.autograd.graph.saved_tensors_hooks(
        lambda t: stored.append(t.untyped_storage()) or t, lambda t: t
    )
    for _ in range(repeats):
        for name, way in ways.items():  # in turn, so that a slow moment of the machine hits all
            stored.clear()
            start = time.perf_counter()
            with watch:
                y = way()
            y.sum().backward()
            if x.is_cuda:
                torch.cuda.synchronize()
            seconds = min(costs[name][0], time.perf_counter() - start)
            costs[name] = (
                seconds,
                sum({storage.data_ptr(): storage.nbytes() for storage in stored}.values()) / 1e6,
            )
    return costs


# %% Figure


def draw(
    recalled: dict, copied: dict, costs: dict, tokens: list[int], delta: Tensor, path: Path
) -> None:
    """Above, Mamba beside attention at recalling a word in longer and longer sequences, Mamba beside
    its own version without selection at copying scattered tokens, and the time that four ways to
    compute take. Below, the step size Δ of every channel for every token: where it is bright the
    channel takes the token in, where it is dark the token is passed over.

    recalled, copied: name -> {length or step: %}; costs: length -> {name: (seconds, MB)}; tokens
    (L,) and their delta (L, D).
    """
    figure, axes = plt.subplot_mosaic(
        "abc;ddd", figsize=(13, 7.5), layout="constrained", height_ratios=[1.15, 1]
    )
    recall, copy, price, opened = axes.values()
    for axis, curves in ((recall, recalled), (copy, copied)):
        for name, curve in curves.items():
            axis.plot(list(curve), list(curve.values()), "o-", color=COLOURS[name], label=name)
        axis.set(ylim=(-4, 104), ylabel="sequences right (%)")
        axis.legend(loc="lower left" if axis is recall else "center right")
    lengths = list(recalled["Mamba"])
    recall.set(
        title="Recalling the word after the trigger",
        xscale="log",
        xlabel="tokens (64 and 256 in training)",
    )
    recall.set_xticks(lengths, [f"{length:,}" for length in lengths])
    copy.set(title=f"Copying {SCATTERED} tokens scattered over {AMONG}", xlabel="training step")
    for name in costs[min(costs)]:
        curve = {length: row[name] for length, row in costs.items() if name in row}
        label = f"{name} ({curve[max(curve)][1]:.0f} MB)"
        price.loglog(
            list(curve),
            [seconds for seconds, _ in curve.values()],
            "o-",
            color=COLOURS[name],
            label=label,
        )
    price.set(
        title="Forward and backward (and MB kept)", xlabel="tokens (log)", ylabel="seconds (log)"
    )
    price.set_xticks(list(costs), [f"{length:,}" for length in costs])
    price.legend(loc="lower right")
    for axis in (recall, price):
        axis.minorticks_off()
    image = opened.imshow(delta.log10().T.numpy(), aspect="auto", cmap="magma", vmin=-4, vmax=1)
    opened.set_xticks(
        range(len(tokens)), ["T" if token == TRIGGER else str(token) for token in tokens]
    )
    opened.set(
        title="What opens the first layer: Δ by channel",
        xlabel="token (T: trigger)",
        ylabel="channel",
    )
    figure.colorbar(image, ax=opened, label="log10 Δ", pad=0.01)
    figure.savefig(path, dpi=100)


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
    parser.add_argument("--out", type=Path, default=Path("runs"), help="where the figure goes")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--width", type=positive, default=32, help="of a token in the Mamba nets")
    parser.add_argument(
        "--states", type=positive, default=8, help="N, numbers in the state of a channel"
    )
    parser.add_argument(
        "--batch",
        type=positive,
        default=16,
        help="sequences of 64 tokens a step, a quarter of it of 256",
    )
    parser.add_argument(
        "--steps", type=positive, default=2000, help="in training; attention takes twice as many"
    )
    parser.add_argument("--smoke", action="store_true", help="a few steps, to see that it runs")
    args = parser.parse_args(argv)
    if not 0 <= args.seed < 2**32:
        parser.error(f"--seed {args.seed}: a seed is a whole number from 0 to {2**32 - 1}")
    if args.width % 2:
        parser.error(
            f"--width {args.width}: wanted is an even number, as attention's four heads share "
            "twice the width"
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
    lengths, sizes, repeats = [64, 256, 1024, 4096], [256, 512, 1024, 2048, 4096], 4
    if args.smoke:
        args.steps, lengths, sizes, repeats = 4, [64, 256], [64, 128], 1

    net, attention = (
        Mamba(args.width, args.states).to(args.device),
        Attention(2 * args.width).to(args.device),
    )
    recalled = {"Mamba": recall(net, args.steps, args.batch, RATES["Mamba"], lengths)}
    recalled["attention"] = recall(
        attention, 2 * args.steps, args.batch, RATES["attention"], lengths[:3]
    )
    numbers = (
        len(net.blocks) * 2 * args.width * (args.states + 3)
    )  # in the state: of h, and of the convolution's past
    copied = {}
    for name, constant in (("Mamba", False), ("constant Δ, B, C", True)):
        copied[name] = copy(
            Mamba(args.width, args.states, constant).to(args.device), args.steps, args.batch
        )
    costs = {
        size: cost(size, repeats, args.device) for size in tqdm(sizes, desc="costs", disable=None)
    }
    tokens, _ = induction(1, 48, 0.05)
    net(tokens.to(args.device))  # leaves Δ behind
    draw(
        recalled,
        copied,
        costs,
        tokens[0].tolist(),
        net.blocks[0].ssm.opened[:, 0].cpu(),
        args.out / "mamba.png",
    )

    far, (selective, constant) = (
        lengths[-1 if args.smoke else 2],
        (curve[max(curve)] for curve in copied.values()),
    )
    (half, last), ours, theirs = (
        (costs[size] for size in sizes[-2:]),
        recalled["Mamba"],
        recalled["attention"],
    )
    less, share = (
        last["step by step"][1] / last["in chunks"][1],
        last["in chunks"][0] / last["step by step"][0],
    )
    growth, attention_growth = (
        last[name][0] / half[name][0] for name in ("in chunks", "attention")
    )
    claims = [
        {
            "claim": "trained on 64 and 256 tokens, it recalls a word in 1,024, 98% right; attention falls below 50%",
            "paper": "100% up to a million tokens; attention fails beyond twice its training length (Table 2)",
            "here": f"{ours[far]:.1f}% of {TESTS}; attention {theirs[far]:.1f}%, but {theirs[256]:.1f}% in 256",
            "holds": ours[far] >= 98 and theirs[256] >= 95 and theirs[far] < 50,
        },
        {
            "claim": "it copies 90% of scattered tokens' sequences in full, with constant Δ, B, C 60% at most",
            "paper": "by tokens 99.8% with selection, 56.4% without, in the same block (Table 1)",
            "here": f"{selective:.1f}% and {constant:.1f}%, after {args.steps:,} steps each",
            "holds": selective >= 90 and constant <= 60,
        },
        {
            "claim": "in chunks a scan keeps a tenth of a loop's memory, in 2/3 of its time, which is linear in length",
            "paper": "recomputing stores no states; faster than attention beyond 2,000 tokens (sec. 3.3.2, Fig. 8)",
            "here": f"kept 1/{less:.0f}, time {share:.2f} of the loop's; doubled to {sizes[-1]:,} tokens, the time "
            f"grows {growth:.2f} times, attention's {attention_growth:.2f} times",
            "holds": less >= 10 and share <= 2 / 3 and growth <= 2.4 and attention_growth >= 3,
        },
    ]
    for claim in claims:
        verdict = "not judged" if args.smoke else "holds" if claim["holds"] else "does not hold"
        print(
            f"{verdict:>13}  {claim['claim']}\n{'':15}here: {claim['here']}; paper: {claim['paper']}"
        )
    print(f"figure: {args.out / 'mamba.png'}")
    return {
        "data": "induction heads and selective copying, made by the script",
        "headline": f"recalls a word in {far:,} tokens, {ours[far]:.1f}% right, with a state of {numbers:,} numbers",
        "claims": claims,
    }


if __name__ == "__main__":
    if hasattr(sys.stdout, "reconfigure"):  # a notebook's has not
        sys.stdout.reconfigure(errors="replace")  # a terminal without "θ" shows "?"
    main([] if "ipykernel" in sys.modules else None)  # a notebook has no command line


# %% [markdown]
# ## Notes
# - With the first trigger anywhere, three of some fifteen nets that were always right in 256 tokens had 63 to 71% in
#   1,024: all their states leaked, 0.0005 a token or more. Asked for long lags they leak less, but in 4,096 it shows.
# - Attention learns later and has twice the steps: with 3,000 one seed of three had 92% in 256 tokens. A constant layer
#   copied 14, 11 and 0.4% at rates of 4e-3, 8e-3 and 1.6e-2 (seed 3); as a convolution with a C a channel 28% at best.
# - The associative scan is made for many processors: on one it takes 4 to 6 times as long as the loop. A loop that
#   indexes h[t] took 4 s for 1,024 tokens, 60 times as long: each index has a gradient as large as the whole.
