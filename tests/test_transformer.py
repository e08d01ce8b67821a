"""papers/transformer.py against torch's own attention, layers, loss and embeddings, in float64, and at work."""

import math
from itertools import islice, repeat

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from papers import transformer

D, HEADS, D_FF = 12, 3, 20
X, MEMORY = torch.randn(
    2, 12, D, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
).split([5, 7], dim=1)
X, MEMORY = X.clone().requires_grad_(), MEMORY.clone().requires_grad_()


def seen(*lengths: int) -> torch.Tensor:
    """A padding mask (B, 1, 1, S): True where there is a word."""
    return (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None])[:, None, None]


def copy_attention(ours, theirs: nn.MultiheadAttention) -> None:
    theirs.in_proj_weight.data = (
        torch.cat([ours.query.weight, ours.key.weight, ours.value.weight]).detach().clone()
    )
    theirs.out_proj.weight.data = ours.output.weight.detach().clone()
    for bias in (theirs.in_proj_bias, theirs.out_proj.bias):
        nn.init.zeros_(bias)


def copy_layer(ours, theirs) -> None:
    """Torch's names for the parts of a layer, and random gains and biases for the norms, equal on both sides."""
    copy_attention(ours.attention, theirs.self_attn)
    if ours.cross_attention:
        copy_attention(ours.cross_attention, theirs.multihead_attn)
    theirs.linear1.load_state_dict(ours.feed_forward[0].state_dict())
    theirs.linear2.load_state_dict(ours.feed_forward[2].state_dict())
    for k, norm in enumerate(ours.norms, start=1):
        nn.init.normal_(norm.weight), nn.init.normal_(norm.bias)
        getattr(theirs, f"norm{k}").load_state_dict(norm.state_dict())


def same(ours: torch.Tensor, theirs: torch.Tensor, inputs: list[torch.Tensor]) -> None:
    """Equal outputs, and equal gradients of a random weighting of them."""
    torch.testing.assert_close(ours, theirs)
    weighting = torch.randn_like(ours)
    for mine, other in zip(
        *(torch.autograd.grad((out * weighting).sum(), inputs) for out in (ours, theirs))
    ):
        torch.testing.assert_close(mine, other)


def test_heads_are_those_of_multihead_attention():
    torch.manual_seed(0)
    ours = transformer.MultiHeadAttention(D, HEADS).double()
    theirs = nn.MultiheadAttention(D, HEADS, batch_first=True).double()
    copy_attention(ours, theirs)
    visible = seen(7, 4)
    out, weights = theirs(
        X, MEMORY, MEMORY, key_padding_mask=~visible[:, 0, 0], average_attn_weights=False
    )
    same(ours(X, MEMORY, visible), out, [X, MEMORY])
    torch.testing.assert_close(ours.weights, weights)
    q, k, v = (
        torch.randn(2, HEADS, 5, size, dtype=torch.float64) for size in (4, 4, 6)
    )  # here True is seen
    torch.testing.assert_close(
        transformer.attention(q, k, v)[0], F.scaled_dot_product_attention(q, k, v)
    )


def test_an_encoder_layer_is_torchs():
    torch.manual_seed(0)
    ours = transformer.Layer(False, D, HEADS, D_FF).double().eval()
    theirs = nn.TransformerEncoderLayer(D, HEADS, D_FF, dropout=0, batch_first=True).double()
    copy_layer(ours, theirs)
    visible = seen(5, 3)
    same(ours(X, visible), theirs(X, src_key_padding_mask=~visible[:, 0, 0]), [X])


def test_a_decoder_layer_is_torchs():
    torch.manual_seed(0)
    ours = transformer.Layer(True, D, HEADS, D_FF).double().eval()
    theirs = nn.TransformerDecoderLayer(D, HEADS, D_FF, dropout=0, batch_first=True).double()
    copy_layer(ours, theirs)
    earlier, visible = torch.ones(5, 5, dtype=torch.bool).tril(), seen(7, 4)
    out = theirs(X, MEMORY, tgt_mask=~earlier, memory_key_padding_mask=~visible[:, 0, 0])
    same(ours(X, earlier, (MEMORY, visible)), out, [X, MEMORY])


def small_net() -> transformer.Transformer:
    torch.manual_seed(1)
    return transformer.Transformer(30, D, 2, HEADS, D_FF).double().eval()


def test_the_whole_net_is_torchs_stacks_between_shared_embeddings():
    ours = small_net()
    encoder = [
        nn.TransformerEncoderLayer(D, HEADS, D_FF, 0, batch_first=True).double() for _ in range(2)
    ]
    decoder = [
        nn.TransformerDecoderLayer(D, HEADS, D_FF, 0, batch_first=True).double() for _ in range(2)
    ]
    for mine, theirs in zip([*ours.encoder, *ours.decoder], encoder + decoder):
        copy_layer(mine, theirs)
    source, target = torch.randint(3, 30, (2, 7)), torch.randint(3, 30, (2, 5))
    source[1, 4:] = transformer.PAD
    table = ours.embedding.weight
    x, y = (
        F.embedding(side, table) * D**0.5 + ours.positions[: side.shape[1]]
        for side in (source, target)
    )
    for layer in encoder:
        x = layer(x, src_key_padding_mask=source == transformer.PAD)
    later = ~torch.ones(5, 5, dtype=torch.bool).tril()
    for layer in decoder:
        y = layer(y, x, tgt_mask=later, memory_key_padding_mask=source == transformer.PAD)
    same(ours.decode(target, source, ours.encode(source)), y @ table.T, [table])


def test_positions_have_the_closed_form():
    table = transformer.Transformer(5, 8, 1, 2, 4).positions[:50]
    by_hand = [
        [f(pos / 10_000 ** (2 * i / 8)) for i in range(4) for f in (math.sin, math.cos)]
        for pos in range(50)
    ]
    torch.testing.assert_close(table, torch.tensor(by_hand), atol=1e-5, rtol=0)


def test_smoothed_loss_is_torchs_and_leaves_padding_out():
    torch.manual_seed(0)
    logits = torch.randn(3, 6, 30, dtype=torch.float64, requires_grad=True)
    words = torch.randint(1, 30, (3, 6))
    words[1:, 3:] = transformer.PAD
    theirs = F.cross_entropy(
        logits.flatten(0, 1), words.flatten(), ignore_index=0, label_smoothing=0.1
    )
    same(transformer.smoothed_loss(logits, words), theirs, [logits])


def test_the_rate_rises_in_a_line_and_falls_as_a_root():
    rates = []
    hook = register_optimizer_step_pre_hook(
        lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"])
    )
    batch = torch.tensor([[1, 3, 2]]), torch.tensor([[1, 4, 2]])
    for width in (8, 1024):  # nets narrower than the base model have its rate
        list(transformer.train(transformer.Transformer(5, width, 1, 2, 4), repeat(batch), 16, 4))
    hook.remove()
    by_hand = [
        d**-0.5 * (step / 4**1.5 if step < 4 else step**-0.5)
        for d in (512, 1024)
        for step in range(1, 17)
    ]
    assert rates == pytest.approx(by_hand)


def test_the_cache_changes_no_logit():
    model, source, target = small_net(), torch.randint(3, 30, (4, 7)), torch.randint(3, 30, (4, 9))
    source[2:, 5:] = transformer.PAD
    memory, cache = model.encode(source), {}
    whole = model.decode(target, source, memory)
    pieces = [
        model.decode(target[:, :end], source, memory, cache) for end in (1, 2, 5, 6, 9)
    ]  # one or several words
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole)
    answers = [
        transformer.greedy(model, source, 20, cached, stop=False) for cached in (False, True)
    ]
    assert answers[0].shape == (4, 21) and torch.equal(*answers)
    assert torch.equal(
        answers[0][:, 1:], model.decode(answers[0], source, memory).argmax(dim=-1)[:, :-1]
    )  # likeliest


def test_sizes_follow_the_formula():
    for d, layers, d_ff, heads, d_k in ((16, 1, 24, 2, None), (12, 3, 10, 3, 2)):
        model = transformer.Transformer(40, d, layers, heads, d_ff, d_k)
        queries = heads * (d_k or d // heads)  # of all heads together; keys as well
        pair = 3 * (2 * d * queries + 2 * d * d) + 2 * (2 * d * d_ff + d_ff + d) + 5 * 2 * d
        assert sum(weight.numel() for weight in model.parameters()) == 40 * d + layers * pair
    base = 41_000 * 512 + 6 * (12 * 512**2 + 2 * (2 * 512 * 2048 + 2048 + 512) + 5 * 2 * 512)
    assert transformer.table_3(41_000)[0] == pytest.approx(abs(base / 1e6 - 65))


def test_random_derivatives_are_those_of_autograd():
    torch.manual_seed(0)
    table = transformer.softmax_derivatives()
    torch.manual_seed(0)
    q, k = (torch.randn(200, 1, size, 16, dtype=torch.float64) for size in (50, 20))
    logits = q @ k.transpose(-2, -1)  # (200, 1, 50, 20)
    for scores, (mean, median) in ((logits / 4, table[16][1:3]), (logits, table[16][3:])):
        traces = 1 - (scores.softmax(-1) ** 2).sum(-1)
        jacobian = torch.autograd.functional.jacobian(lambda z: z.softmax(0), scores[0, 0, 0])
        torch.testing.assert_close(traces[0, 0, 0], jacobian.trace())
        assert (mean, median) == pytest.approx((traces.mean().item(), traces.median().item()))


def test_numbers_cross_and_without_positions_their_order_is_lost():
    pairs = transformer.numbers(500)
    assert len(dict(pairs)) == 500 and ("thirty two", "zwei und dreißig") in {
        (e[:10], g[:16]) for e, g in pairs
    }
    model = small_net()
    source, target = torch.randint(3, 30, (3, 8)), torch.randint(3, 30, (3, 6))
    shuffled = source[:, torch.randperm(8)]
    ordered = [model.decode(target, tokens, model.encode(tokens)) for tokens in (source, shuffled)]
    model.positions.zero_()
    unordered = [
        model.decode(target, tokens, model.encode(tokens)) for tokens in (source, shuffled)
    ]
    assert not torch.allclose(*ordered)
    torch.testing.assert_close(*unordered)


def test_batches_hold_every_pair_once_and_pad_little():
    torch.manual_seed(0)
    lengths = torch.randint(2, 30, (100,)).tolist()
    pairs = [(torch.full((n,), 3 + k), torch.full((n + 1,), 3 + k)) for k, n in enumerate(lengths)]
    epoch = list(islice(transformer.batches(pairs, 9, "cpu"), 12))
    assert sorted(k for source, _ in epoch for k in source[:, 0].tolist()) == list(range(3, 103))
    assert all(torch.equal(source[:, 0], target[:, 0]) for source, target in epoch)
    assert sum((source == transformer.PAD).sum().item() for source, _ in epoch) < 0.1 * sum(lengths)


def test_training_learns_to_read_backwards_what_counting_cannot():
    torch.manual_seed(0)
    words = torch.randint(3, 13, (2000, 5))
    start, end = torch.full((2000, 1), transformer.START), torch.full((2000, 1), transformer.END)
    sources, targets = torch.cat([start, words, end], 1), torch.cat([start, words.flip(1), end], 1)
    model = transformer.Transformer(13, 32, 1, 4, 64)
    data = transformer.batches(list(zip(sources[200:], targets[200:])), 32, "cpu")
    assert list(transformer.train(model, data, 250, 100)) == list(range(1, 251))
    answers = transformer.greedy(model, sources[:200], 6)
    right = (answers == targets[:200]).all(dim=1).float().mean().item()
    assert right > 0.5, "the likeliest word everywhere would be right once in 100,000"
