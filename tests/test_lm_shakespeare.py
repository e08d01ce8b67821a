"""The loss, scoring, sampling and training of lm_shakespeare.py against transformers and the long way round."""

import copy
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import lm_shakespeare as lm

POEM = "Shall I compare thee to a summer's day?\nThou art more lovely and more temperate:\n"


def refuse(*_, **__):
    raise ConnectionRefusedError("no network")


@pytest.fixture(scope="module")
def tokenizer():
    return lm.make_tokenizer([POEM * 20], 300)


@pytest.fixture
def model(tokenizer):
    """Far from uniform, so that a wrong shift, window or normalisation shows."""
    torch.manual_seed(0)
    made = lm.small_gpt2(tokenizer, context=16, width=16).double().eval()
    for weight in made.parameters():
        weight.data += 0.3 * torch.randn_like(weight)
    return made


def test_loss_and_gradient_equal_those_of_transformers(model):
    ids = torch.randint(300, (3, 16), generator=torch.Generator().manual_seed(2))
    lm.token_loss(model, ids).mean().backward()
    ours = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    model.zero_grad()
    theirs = model(ids, labels=ids).loss
    theirs.backward()
    assert lm.token_loss(model, ids).mean().item() == pytest.approx(
        theirs.item(), rel=1e-5
    )  # logits to float32
    for name, weight in model.named_parameters():
        torch.testing.assert_close(ours[name], weight.grad, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("length", [2, 9, 17, 18, 25, 61])
def test_score_equals_one_pass_a_token_with_the_context_the_windows_give(model, length):
    ids = torch.randint(300, (length,), generator=torch.Generator().manual_seed(1))
    expected = []  # for token t, the context begins at the first window of 16, in strides of 8, that reaches t
    for t in range(1, length):
        start = min(max(0, -(-(t - 16) // 8) * 8), max(0, length - 17))
        logits = model(ids[None, start:t]).logits[0, -1]
        expected.append((logits.logsumexp(0) - logits[ids[t]]).detach())
    torch.testing.assert_close(
        lm.score(model, ids, 16).double(), torch.stack(expected), rtol=1e-4, atol=1e-4
    )


def test_nats_per_character_does_not_care_what_a_token_is(tokenizer):
    """A uniform model over single bytes, and one over 300 tokens: the total is log V times the tokens."""
    for words in (tokenizer, lm.make_tokenizer([POEM], 257)):
        model = lm.small_gpt2(words, 16, 16)
        torch.nn.init.zeros_(model.transformer.wte.weight)
        expected = len(words.encode(POEM)) * math.log(len(words)) / len(POEM)
        assert lm.nats_per_character(model, words, POEM, 16) == pytest.approx(expected, rel=1e-5)


def test_greedy_sample_equals_generate(model, tokenizer):
    ids = lm.encode(tokenizer, "Shall")[None]
    how = {
        "attention_mask": torch.ones_like(ids),
        "do_sample": False,
        "eos_token_id": None,
        "pad_token_id": 0,
    }
    theirs = tokenizer.decode(
        model.generate(ids, max_new_tokens=10, **how)[0, 1:], skip_special_tokens=True
    )
    assert lm.sample(model, tokenizer, "Shall", 10, temperature=0) == theirs
    for end in range(
        40, 60
    ):  # prompts longer than the context of 16 go on from their latest tokens
        latest = lm.encode(tokenizer, (POEM * 2)[:end] * 2)[None, -16:]
        token = tokenizer.decode(
            model(latest).logits[0, -1].argmax()[None], skip_special_tokens=True
        )
        assert lm.sample(model, tokenizer, (POEM * 2)[:end] * 2, 1, temperature=0).endswith(token)


def test_sample_draws_from_the_softmax(tokenizer):
    """A model whose logits don't depend on anything: the frequencies are known."""
    model = lm.small_gpt2(tokenizer, 16, 16)
    model.lm_head = torch.nn.Linear(16, 300)
    torch.nn.init.zeros_(model.lm_head.weight)
    torch.nn.init.constant_(model.lm_head.bias, -30.0)
    with torch.no_grad():
        model.lm_head.bias[[tokenizer.convert_tokens_to_ids(letter) for letter in "ab"]] = (
            torch.tensor([0.5, 0.0])
        )
    drawn = lm.sample(model, tokenizer, "", 400, temperature=0.5)
    assert set(drawn) == {"a", "b"} and len(drawn) == 400
    assert drawn.count("a") / 400 == pytest.approx(1 / (1 + torch.e ** (-0.5 / 0.5)), abs=0.07)
    assert drawn != lm.sample(model, tokenizer, "", 400, temperature=0.5, seed=1)


@pytest.mark.parametrize(
    "text", ["", " ", "naïve — 𝔖𝔥𝔞𝔨𝔢 \t\n\n  ' ,", "don 't", "\x00\u202e\r\n", "日本語"]
)
def test_tokenizer_gives_any_text_back(tokenizer, text):
    ids = lm.encode(tokenizer, text)
    assert ids[0] == tokenizer.eos_token_id and tokenizer.decode(ids[1:]) == text


def test_passages_are_pieces_of_the_text_and_processes_share_them(monkeypatch):
    batch = next(lm.passages(torch.arange(50), 2000, 7, seed=3))
    assert batch.shape == (2000, 8) and (batch.diff(dim=1) == 1).all()
    assert batch.min() == 0 and batch.max() == 49 and len(batch[:, 0].unique()) == 43
    monkeypatch.setattr(lm, "PROCESSES", 2)
    shares = []
    for rank in (0, 1):
        monkeypatch.setattr(lm, "RANK", rank)
        shares.append(next(lm.passages(torch.arange(50), 2000, 7, seed=3)))
    assert torch.equal(torch.stack(shares, dim=1).flatten(0, 1), batch)


def test_plays_look_like_tiny_shakespeare(tmp_path, monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    name, text = lm.load_plays(tmp_path / "nothing")
    assert "stand-in" in name and not (tmp_path / "nothing").exists()
    assert "HAMLET:\nNot so, my lord; I am too much i' the sun." in text and not re.search(
        r"^#|\*\*", text, re.M
    )
    (tmp_path / "tinyshakespeare.txt").write_text(POEM, encoding="utf-8")
    assert lm.load_plays(tmp_path) == ("Tiny Shakespeare", POEM)


def test_training_beats_the_unigrams(tokenizer):
    torch.manual_seed(0)
    ids, model = lm.encode(tokenizer, POEM * 30), lm.small_gpt2(tokenizer, 16, 32)
    before = lm.score(model, ids, 16).mean().item()
    assert list(lm.train(model, lm.passages(ids, 8, 16, seed=0), 60, 1e-2)) == list(range(1, 61))
    after = lm.score(model, ids, 16).mean().item()
    unigrams = (
        torch.special.entr(ids.bincount().double() / len(ids)).sum().item()
    )  # knows how common each token is
    assert before > unigrams and after < 0.3 * unigrams


def test_steps_are_those_of_adamw_written_out(model, tokenizer):
    """With decay on matrices alone, the gradient clipped to a norm of 1, warm-up and half a cosine."""
    ids, other = lm.encode(tokenizer, POEM * 5), copy.deepcopy(model)
    list(lm.train(model, lm.passages(ids, 4, 16, seed=3), 20, 1e-2))
    batches, weights = lm.passages(ids, 4, 16, seed=3), list(other.parameters())
    first, second = ([torch.zeros_like(weight) for weight in weights] for _ in range(2))
    shares = [0.5, 1.0] + [(1 + math.cos(math.pi * k / 19)) / 2 for k in range(1, 19)]
    for k in range(20):
        batch = next(batches)
        loss = F.cross_entropy(other(batch[:, :-1]).logits.transpose(1, 2), batch[:, 1:])
        gradients = torch.autograd.grad(loss, weights)
        norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
        for weight, gradient, m, v in zip(weights, gradients, first, second):
            gradient = gradient / norm.clamp(min=1)
            m.mul_(0.9).add_(0.1 * gradient)
            v.mul_(0.99).add_(0.01 * gradient**2)
            decay = 0.1 if weight.ndim >= 2 else 0
            move = m / (1 - 0.9 ** (k + 1)) / ((v / (1 - 0.99 ** (k + 1))).sqrt() + 1e-8)
            weight.data -= 1e-2 * shares[k] * (move + decay * weight.data)
    for ours, theirs in zip(model.parameters(), weights):
        assert (ours - theirs).abs().mean() < 1e-5


def smoke(folder, *more):
    (folder / "tinyshakespeare.txt").write_text(POEM * 90, encoding="utf-8")
    return [
        "--smoke",
        "--device",
        "cpu",
        "--data",
        str(folder),
        "--out",
        str(folder / "out"),
        *more,
    ]


def saved(tokenizer, folder):
    torch.manual_seed(0)
    lm.small_gpt2(tokenizer, 16, 16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_two_processes_train_as_one(tokenizer, tmp_path):
    old = saved(tokenizer, tmp_path / "old")
    one = lm.main(smoke(tmp_path, "--model", old, "--save", str(tmp_path / "one")))
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        lm.__file__,
    ]
    command = [*torchrun, *smoke(tmp_path, "--model", old, "--save", str(tmp_path / "two"))]
    settings = os.environ | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    done = subprocess.run(command, capture_output=True, text=True, env=settings)
    assert done.returncode == 0, done.stderr
    here, there = (
        " ".join(claim["here"] for claim in one["claims"]),
        " ".join(re.findall("here: .*", done.stdout)),
    )
    here, there = (
        [float(number) for number in re.findall(r"\d\.\d{3}", text)] for text in (here, there)
    )
    assert len(here) == 7 and there == pytest.approx(here, abs=2e-3)
    assert done.stdout.count("not judged") == 3, "one process alone prints"
    folders = [str(tmp_path / name) for name in ("old", "one", "two")]
    start, alone, together = (lm.load_model(folder, tmp_path)[0].state_dict() for folder in folders)
    for name, weight in alone.items():
        assert (weight - together[name]).abs().mean() <= 0.02 * (
            weight - start[name]
        ).abs().mean() + 1e-9, name


def test_a_saved_model_writes(tokenizer, tmp_path, capsys):
    folder = saved(tokenizer, tmp_path / "new")
    options = ["--length", "5", "--device", "cpu", "--out", str(tmp_path)]
    lm.main(["--model", folder, "--prompt", "Thou art", *options])
    assert capsys.readouterr().out.startswith("Thou art")


def test_a_model_that_was_tuned_to_write_writes_the_same_when_it_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    new = str(tmp_path / "new")
    tuned = lm.main(smoke(tmp_path, "--prompt", "Thou art", "--save", new))
    loaded = lm.main(smoke(tmp_path, "--prompt", "Thou art", "--model", new, "--length", "20"))
    assert tuned["headline"] == loaded["headline"] and tuned["data"] == "Tiny Shakespeare"


def test_one_step_is_enough_to_say_what_came_out(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    monkeypatch.setattr(lm, "documentation", lambda limit: POEM * 20)
    sizes = ["--steps", "1", "--pretrain-steps", "1", "--width", "8", "--length", "2"]
    options = smoke(tmp_path)
    options.remove("--smoke")  # which has steps of its own
    results = lm.main([*options, *sizes])
    printed = capsys.readouterr().out
    assert len(results["claims"]) == 3 and "after 1 steps" in printed and "figure: " in printed


def test_a_model_that_is_not_there_gets_a_sentence(tokenizer, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    damaged = Path(saved(tokenizer, tmp_path / "damaged"))
    (damaged / "config.json").unlink()
    for name in ("nobody/nothing", str(tmp_path / "nowhere"), str(damaged)):
        with pytest.raises(SystemExit):
            lm.main(smoke(tmp_path, "--model", name))
        assert "error: --model" in capsys.readouterr().err
    assert lm.load_model("gpt2", tmp_path) is None
