import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from papers import flash_attention as script

SCRIPT = Path(script.__file__)


def normal(*shape: int, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(shape, generator=generator, dtype=torch.float64)


def qkv(queries: int, keys: int, d: int, width: int | None = None) -> list[torch.Tensor]:
    shapes = (2, 3, queries, d), (2, 3, keys, d), (2, 3, keys, width or d)
    return [normal(*shape, seed=seed).requires_grad_() for seed, shape in enumerate(shapes)]


@pytest.mark.parametrize(
    "N, d, M", [(1, 4, 16), (7, 4, 64), (33, 8, 96), (50, 2, 40), (16, 8, 4096)]
)
def test_algorithm_1_is_exact(N, d, M):
    Q, K, V = normal(3, N, d)
    O, _ = script.algorithm_1(Q, K, V, M)
    torch.testing.assert_close(O, F.scaled_dot_product_attention(Q, K, V), rtol=0, atol=1e-12)


def test_the_docstrings_example():
    # d = 1 and one query 1, so that keys are scores
    Q = torch.ones(1, 1).double()
    K = torch.tensor([[1.0], [3.0], [5.0], [3.0]]).double()
    V = torch.tensor([[1.0], [2.0], [4.0], [8.0]]).double()
    padded = torch.cat([Q, Q, Q, Q])
    first, _ = script.algorithm_1(padded[:2], K[:2], V[:2], M=8)
    both, _ = script.algorithm_1(padded, K, V, M=8)
    assert first[0].item() == pytest.approx(1.881, abs=5e-4)
    assert both[0].item() == pytest.approx(4.167, abs=5e-4)
    for number in ("1.881", "4.167"):
        assert number in script.__doc__


@pytest.mark.parametrize("scale", [1.0, 1e2, 1e4])
def test_large_logits_neither_overflow_nor_vanish(scale):
    Q, K, V = normal(3, 40, 8, scale=scale)
    expected = F.scaled_dot_product_attention(Q, K, V)
    by_algorithm_1, _ = script.algorithm_1(Q, K, V, M=128)
    in_blocks = script.flash_attention(Q, K, V, block=16)
    torch.testing.assert_close(by_algorithm_1, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(in_blocks, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("N, d, M", [(8, 2, 16), (12, 2, 24), (13, 4, 64), (30, 3, 100)])
def test_the_words_of_algorithm_1_counted_by_hand(N, d, M):
    """Per block of keys: K and V once; Q, O, ℓ and m of all queries read; O, ℓ and m written."""
    Q, K, V = normal(3, N, d)
    _, words = script.algorithm_1(Q, K, V, M)
    key_blocks = -(-N // -(-M // (4 * d)))
    assert words == 2 * N * d + key_blocks * N * (3 * d + 4)


def test_algorithm_1_never_loads_or_stores_more_than_a_block(monkeypatch):
    moved = []

    class Watched(script.SlowMemory):
        def load(self, name, rows):
            block = super().load(name, rows)
            moved.append((name, block.numel()))
            return block

        def store(self, name, rows, block):
            moved.append((name, block.numel()))
            super().store(name, rows, block)

    monkeypatch.setattr(script, "SlowMemory", Watched)
    N, d, M = 64, 4, 256
    script.algorithm_1(*normal(3, N, d), M)
    largest = {}
    for name, words in moved:
        largest[name] = max(words, largest.get(name, 0))
    # B_c = 16 keys and B_r = min(16, d) = 4 queries, each with d words
    assert largest == {"K": 64, "V": 64, "Q": 16, "O": 16, "ell": 4, "m": 4}


def test_standard_attention_and_its_words():
    N, d = 20, 4
    Q, K, V = normal(3, N, d)
    O, words = script.algorithm_0(Q, K, V)
    torch.testing.assert_close(O, F.scaled_dot_product_attention(Q, K, V))
    assert words == 4 * N * d + 4 * N * N


def test_fewer_words_the_larger_the_memory():
    few, many = script.traffic_by_block(64, 8, [4, 16])
    assert many < few / 3
    laws = script.traffic_laws(256, 16, 256)
    assert laws["N"] == pytest.approx(2, abs=0.02)
    assert laws["M"] == pytest.approx(-1, abs=0.02)
    assert 1.85 <= laws["d"] <= 2
    assert script.exponent([1, 2, 4], [3, 24, 192]) == pytest.approx(3)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("block", [1, 3, 8, 512])
@pytest.mark.parametrize("queries, keys", [(1, 1), (8, 8), (13, 13), (5, 11), (11, 5)])
def test_forward_and_backward_agree_with_torch(queries, keys, block, causal):
    Q, K, V = qkv(queries, keys, d=4, width=6)
    dO = normal(2, 3, queries, 6, seed=9)
    expected = F.scaled_dot_product_attention(Q, K, V, is_causal=causal)
    O = script.flash_attention(Q, K, V, causal=causal, block=block)
    torch.testing.assert_close(O, expected, rtol=0, atol=1e-12)
    gradients = torch.autograd.grad(O, (Q, K, V), dO)
    for ours, theirs in zip(gradients, torch.autograd.grad(expected, (Q, K, V), dO)):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-11)


@pytest.mark.parametrize("shape", [(6, 4), (2, 6, 4), (2, 1, 3, 6, 4)])
def test_any_number_of_heads_and_batches(shape):
    Q, K, V = (normal(*shape, seed=seed) for seed in range(3))
    O = script.flash_attention(Q, K, V, block=4)
    torch.testing.assert_close(O, F.scaled_dot_product_attention(Q, K, V))


@pytest.mark.parametrize("causal", [False, True])
def test_gradients_by_finite_differences_with_dropout(causal):
    """The seed is drawn from PyTorch's generator, so a fixed one gives the same mask each time."""
    inputs = [x.detach()[0, :1].requires_grad_() for x in qkv(7, 7, d=3)]

    def attention(Q, K, V):
        torch.manual_seed(3)
        return script.flash_attention(Q, K, V, causal=causal, dropout=0.4, block=3)

    assert torch.autograd.gradcheck(attention, inputs)


def test_dropout_drops_entries_of_the_softmax():
    """With the identity as V, O is P after dropout."""
    Q, K, _ = qkv(60, 60, d=4)
    V = torch.eye(60).double().expand(2, 3, 60, 60)
    P = F.scaled_dot_product_attention(Q, K, V)
    torch.manual_seed(1)
    dropped = script.flash_attention(Q, K, V, dropout=0.25, block=16)
    factor = dropped / P
    kept = factor > 0
    torch.testing.assert_close(factor[kept], torch.full_like(factor[kept], 1 / 0.75))
    assert 0.73 < kept.double().mean() < 0.77
    again = script.flash_attention(Q, K, V, dropout=0.25, block=16)
    assert not torch.equal(again, dropped)


@pytest.mark.parametrize("queries, keys, size", [(9, 9, 4), (9, 9, 1), (4, 10, 3), (10, 4, 3)])
def test_causal_blocks_leave_out_only_what_is_masked(queries, keys, size):
    covered = torch.zeros(queries, keys)
    settings = script.Settings(causal=True, dropout=0.0, seed=0, block=size)
    for i, j in script.blocks(queries, keys, settings):
        covered[i, j] += 1
        assert j.start < i.stop, "a block without any visible key"
    assert covered.max() == 1
    assert (covered[torch.ones(queries, keys).tril().bool()] == 1).all()


def test_nothing_of_the_size_of_the_scores_is_kept_for_the_backward_pass():
    Q, K, V = (normal(1, 1, 64, 4, seed=seed).requires_grad_() for seed in range(3))
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda x: kept.append(x.numel()) or x, lambda x: x
    ):
        script.flash_attention(Q, K, V, block=16).sum()
    assert kept and max(kept) == 64 * 4


def test_memory_is_measured_in_another_process():
    flash = script.measure("FlashAttention", (1, 1, 2048, 64), "cpu")
    plain = script.measure("plain attention", (1, 1, 2048, 64), "cpu")
    matrix = 4 * 2048**2 / 1e6
    assert plain["MB"] > 2 * matrix > 1.3 * flash["MB"]
    # O, three gradients, dO and the product with it have 0.5 MB each
    assert flash["MB"] > 2
    assert all(seconds > 0 for seconds in (flash["forward"], flash["both"]))


def test_a_process_that_fails_is_an_error(monkeypatch):
    with pytest.raises(RuntimeError, match="exit code"):
        script.measure("no such method", (1, 1, 4, 64), "cpu")


NOTEBOOK = """
import sys, types
import torch
sys.modules["ipykernel"] = types.ModuleType("ipykernel")
torch.set_num_threads(2)
(torch.randn(1500, 1500) @ torch.randn(1500, 1500)).exp().sum()  # its threads are at work
sys.path.insert(0, sys.argv[1])
import flash_attention
assert flash_attention.measure("FlashAttention", (1, 1, 1024, 64), "cpu")["MB"] > 1
print("measured")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no fork on Windows")
def test_a_notebooks_forked_process_does_not_hang():
    command = [sys.executable, "-c", NOTEBOOK, str(SCRIPT.parent)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert result.stdout.strip() == "measured", result.stderr


TRITON = """
import importlib.util, sys
import torch
import torch.nn.functional as F
spec = importlib.util.spec_from_file_location("flash_attention", sys.argv[1])
script = importlib.util.module_from_spec(spec)
sys.modules["flash_attention"] = script
spec.loader.exec_module(script)
for queries, keys, d in ((64, 64, 16), (70, 70, 16), (5, 5, 32), (40, 130, 16), (130, 40, 16)):
    torch.manual_seed(0)
    Q, K, V = torch.randn(2, 3, queries, d), torch.randn(2, 3, keys, d), torch.randn(2, 3, keys, d)
    for scale in (1, 100):
        for causal in (False, True):
            O = script.triton_attention(scale * Q, K, V, causal=causal)
            expected = F.scaled_dot_product_attention(scale * Q, K, V, is_causal=causal)
            torch.testing.assert_close(O, expected, rtol=1e-4, atol=1e-5)
print("agree")
"""


@pytest.mark.skipif(script.triton is None, reason="Triton is not installed")
def test_the_kernel_in_tritons_interpreter():
    environment = os.environ | {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    result = subprocess.run(
        [sys.executable, "-c", TRITON, str(SCRIPT)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.stdout.strip() == "agree", result.stderr


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("causal", [False, True])
def test_the_kernel_on_a_gpu(causal):
    Q, K, V = (normal(2, 3, 200, 64, seed=seed).float().cuda() for seed in range(3))
    O = script.triton_attention(Q, K, V, causal=causal)
    expected = F.scaled_dot_product_attention(Q, K, V, is_causal=causal)
    torch.testing.assert_close(O, expected, rtol=1e-3, atol=1e-4)


@pytest.fixture
def head() -> script.ReadingHead:
    torch.manual_seed(0)
    return script.ReadingHead(symbols=5, past=3, width=2)


def test_the_reading_head_against_loops(head):
    """For each position: compare the last letters with those before every earlier letter."""
    text = torch.tensor([0, 3, 1, 4, 3, 1, 2])
    E = head.letters.weight.detach()
    E = E / E.square().mean(dim=1, keepdim=True).sqrt()
    ours = head(text[None])[0].detach()
    for i in range(len(text)):
        similarity = np.zeros(i + 1)
        for j in range(i + 1):
            for distance in range(3):
                if i - distance >= 0 and j - 1 - distance >= 0:
                    match = E[text[i - distance]] @ E[text[j - 1 - distance]]
                    similarity[j] += head.importance[distance].item() * match.item()
        weights = np.exp(similarity / math.sqrt(6))
        weights /= weights.sum()
        p = np.full(5, 0.01 / 5)
        for j in range(i + 1):
            p[text[j]] += 0.99 * weights[j]
        np.testing.assert_allclose(ours[i].numpy(), p, rtol=1e-5)


def test_the_head_learns():
    """Every third letter repeats what stands three letters earlier; training finds it."""
    torch.manual_seed(0)
    word = torch.randint(5, (24,))
    text = word.repeat(40)
    head = script.ReadingHead(symbols=5, past=3, width=4)
    losses = script.train(head, text, length=64, steps=25)
    assert len(losses) == 25 and losses[-1] < losses[0] - 0.2


def test_the_state_after_each_block_is_the_softmax_of_what_was_read(head):
    line = torch.tensor([0, 3, 1, 4, 3, 1, 2, 2])
    states = script.one_row(head, line, block=3)
    Q, K, V = head.queries_keys_values(line[None])
    row = (K[0, 0] @ Q[0, 0, -1] / math.sqrt(6)).detach()
    assert len(states) == 3
    for number, state in enumerate(states):
        read = min(3 * (number + 1), 8)
        expected = torch.softmax(row[:read], dim=0)
        torch.testing.assert_close(state["weights"][:read], expected)
        assert (state["weights"][read:] == 0).all()
        torch.testing.assert_close(state["O"], expected @ V[0, 0, :read])
        assert state["m"] == pytest.approx(row[:read].max().item())
        assert state["ell"] == pytest.approx(torch.exp(row[:read] - row[:read].max()).sum().item())
    for before, after in zip(states, states[1:]):
        shrunk = after["shrink"] * before["weights"][0].item()
        assert after["weights"][0].item() == pytest.approx(shrunk, rel=1e-5)
    torch.testing.assert_close(0.99 * states[-1]["O"] + 0.01 / 5, head(line[None])[0, -1])


def test_counting_by_hand(monkeypatch):
    """abab: then an a. Context "b" was followed by a once; "ab" by a once; "bab" never before."""
    monkeypatch.setattr(script, "PREDICTED", 1)
    nothing = 1 / 2
    order_0 = (2 + 2 * nothing) / (4 + 2)
    order_1 = (1 + 1 * order_0) / (1 + 1)
    order_2 = (1 + 1 * order_1) / (1 + 1)
    found = script.count_and_predict([0, 1, 0, 1, 0], symbols=2)
    assert found == pytest.approx(-math.log(order_2))


def test_reading_more_or_less(head):
    torch.manual_seed(2)
    text = torch.randint(5, (41,))
    nats = script.longer_contexts(head, text, short=4, long=20)
    expected = []
    for end in (20, 40):
        p = head(text[None, end - 4 : end])[0]
        expected.append(-p[torch.arange(4), text[end - 3 : end + 1]].log().mean().item())
    assert nats["short"] == pytest.approx(sum(expected) / 2, rel=1e-5)
    assert set(nats) == {"short", "long", "counting short", "counting long"}


def test_the_training_text_is_not_the_test_text(monkeypatch, tmp_path):
    seen = {}
    monkeypatch.setattr(script, "train", lambda model, text, *rest: seen.update(train=text))
    monkeypatch.setattr(
        script, "longer_contexts", lambda model, text, *rest: seen.update(test=text) or 1 / 0
    )
    monkeypatch.setattr(script, "memory_and_time", lambda *rest: {})
    letters = "".join(chr(97 + index % 26) for index in range(6000))
    monkeypatch.setattr(script, "load_plays", lambda root: ("made up", letters))
    with pytest.raises(ZeroDivisionError):
        script.main(["--smoke", "--out", str(tmp_path), "--device", "cpu"])
    _, numbers = script.encode(letters)
    torch.testing.assert_close(seen["train"], numbers[600:])
    assert len(seen["test"]) <= 600
    torch.testing.assert_close(seen["test"], numbers[: len(seen["test"])])


def test_lengths_double():
    assert script.doubling(32, 3) == [8, 16, 32]


@pytest.mark.parametrize("length", ["1", "100"])
def test_a_length_too_short_is_refused(length, tmp_path, capsys):
    with pytest.raises(SystemExit):
        script.main(["--length", length, "--out", str(tmp_path)])
    assert "--length" in capsys.readouterr().err
