"""The loss, scoring, sampling and saving of lm_shakespeare.py against transformers and the long way round."""

import copy
import json
import math

import pytest
import torch
import torch.nn.functional as F
from transformers import GPT2Config, GPT2LMHeadModel

import lm_shakespeare as lm

POEM = "Shall I compare thee to a summer's day?\nThou art more lovely and more temperate:\n"


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


@pytest.fixture
def ids():
    return torch.randint(300, (61,), generator=torch.Generator().manual_seed(1))


def one_by_one(model, ids, starts):
    """−log p of ids[t] for every t from 1, each from a pass of its own over ids[starts[t - 1]:t]."""
    nats = []
    for t, start in enumerate(starts, 1):
        logits = model(ids[None, start:t]).logits[0, -1]
        nats.append(logits.logsumexp(0) - logits[ids[t]])
    return torch.stack(nats)


# Model


def test_loss_and_gradient_equal_those_of_transformers(model):
    ids = torch.randint(300, (3, 17), generator=torch.Generator().manual_seed(2))
    wide = GPT2LMHeadModel(GPT2Config(**{**model.config.to_dict(), "n_positions": 17})).double().eval()
    for pass_ in ("ours", "theirs"):
        wide.zero_grad()
        loss = lm.token_loss(wide, ids).mean() if pass_ == "ours" else wide(ids, labels=ids).loss
        loss.backward()
        if pass_ == "ours":
            ours, gradient = loss.item(), wide.transformer.h[0].mlp.c_fc.weight.grad.clone()
    assert ours == pytest.approx(loss.item(), rel=1e-5)  # ours is in float32 from the logits on
    torch.testing.assert_close(gradient, wide.transformer.h[0].mlp.c_fc.weight.grad, rtol=1e-3, atol=1e-7)


def test_loss_of_each_token_stands_in_its_place(model, ids):
    losses = lm.token_loss(model, ids[:17].view(1, 17))
    assert losses.shape == (1, 16)
    torch.testing.assert_close(losses[0].double(), one_by_one(model, ids[:17], [0] * 16), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("length", [2, 9, 17, 18, 25, 40, 61])
def test_score_equals_one_pass_a_token_with_the_context_the_windows_give(model, ids, length):
    ids = ids[:length]
    starts = []  # where the context of token t begins: at the first window of 16, in strides of 8, that reaches it
    for t in range(1, length):
        start = max(0, -(-(t - 16) // 8) * 8)
        starts.append(min(start, max(0, length - 17)))
    expected = one_by_one(model, ids, starts)
    torch.testing.assert_close(lm.score(model, ids, 16).double(), expected.detach(), rtol=1e-4, atol=1e-4)


def test_every_token_is_judged_with_half_a_window_behind_it(model, ids):
    ids = ids.clone()
    before = lm.score(model, ids, 16)
    ids[:20] = (ids[:20] + 1) % 300  # the far past
    changed = (lm.score(model, ids, 16) - before).abs() > 1e-6
    assert changed[:20].all() and not changed[36:].any()  # 36: 16 tokens on, nothing can be seen of it
    ids = ids.clone()
    reference = lm.score(model, ids, 16)
    ids[40] = (ids[40] + 1) % 300
    assert torch.equal(lm.score(model, ids, 16)[:39], reference[:39])  # the future is not seen
    assert not torch.allclose(lm.score(model, ids, 16)[40:48], reference[40:48])  # eight tokens back is


def test_uniform_model_has_the_perplexity_of_its_vocabulary(tokenizer):
    model = lm.small_gpt2(tokenizer, 16, 16)
    torch.nn.init.zeros_(model.transformer.wte.weight)
    text = lm.split(POEM * 10, tokenizer, 10**9, "cpu")
    assert lm.score(model, text.held_out, 16).mean().exp().item() == pytest.approx(len(tokenizer), rel=1e-4)
    nats = math.log(300) * (len(text.watched) - 1)  # all tokens but the end of the text before them
    assert lm.watch(model, text, 16) == pytest.approx(nats / (len(POEM * 10) // 10 // 4), rel=2e-2)


def test_greedy_sample_equals_generate(model, tokenizer):
    ids = lm.encode(tokenizer, "Shall")[None]
    theirs = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=10, do_sample=False, eos_token_id=None, pad_token_id=0
    )
    ours = lm.sample(model, tokenizer, "Shall", 10, temperature=0)
    assert ours == tokenizer.decode(theirs[0, 1:], skip_special_tokens=True)


def test_sample_looks_back_on_the_latest_tokens_only(model, tokenizer):
    ids = lm.encode(tokenizer, "Shall I")
    for _ in range(30):  # far beyond the context of 16
        ids = torch.cat([ids, model(ids[None, -16:]).logits[0, -1].argmax()[None]])
    assert lm.sample(model, tokenizer, "Shall I", 30, temperature=0) == tokenizer.decode(
        ids[1:], skip_special_tokens=True
    )


def test_sample_draws_from_the_softmax_of_the_top(tokenizer):
    """A model whose logits don't depend on anything: the frequencies are known."""
    model = lm.small_gpt2(tokenizer, 16, 16)
    torch.nn.init.zeros_(model.transformer.wte.weight)
    letters = [tokenizer.convert_tokens_to_ids(letter) for letter in "abc"]
    model.lm_head = torch.nn.Linear(16, 300)
    torch.nn.init.zeros_(model.lm_head.weight)
    torch.nn.init.constant_(model.lm_head.bias, -9.0)
    with torch.no_grad():
        model.lm_head.bias[letters] = torch.tensor([1.0, 0.5, 0.0])
    drawn = lm.sample(model, tokenizer, "", 600, temperature=0.5, top=2)
    assert set(drawn) == {"a", "b"} and len(drawn) == 600
    assert drawn.count("a") / 600 == pytest.approx(1 / (1 + torch.e ** (-0.5 / 0.5)), abs=0.07)
    assert drawn == lm.sample(model, tokenizer, "", 600, temperature=0.5, top=2)
    assert drawn != lm.sample(model, tokenizer, "", 600, temperature=0.5, top=2, seed=1)


def test_small_gpt2_is_a_gpt2(tokenizer):
    model = lm.small_gpt2(tokenizer, context=16, width=32)
    theirs = GPT2LMHeadModel(
        GPT2Config(vocab_size=300, n_positions=16, n_embd=32, n_layer=4, n_head=4, activation_function="gelu_new")
    ).eval()
    theirs.load_state_dict(model.state_dict())
    ids = torch.randint(300, (2, 16))
    torch.testing.assert_close(model.train()(ids).logits, theirs(ids).logits)  # and it has no dropout


# Data


@pytest.mark.parametrize("text", ["", " ", "naïve — 𝔖𝔥𝔞𝔨𝔢 \t\n\n  ' ,", "don 't", "\x00\u202e\r\n", "日本語"])
def test_tokenizer_gives_any_text_back(tokenizer, text):
    ids = lm.encode(tokenizer, text)
    assert ids[0] == tokenizer.bos_token_id and tokenizer.decode(ids[1:]) == text


def test_held_out_is_the_last_tenth_and_is_not_in_training(tokenizer):
    words = "".join(f"{n:05d} " for n in range(1000))
    text = lm.split(words, tokenizer, 10**9, "cpu")
    train, held_out, watched = (tokenizer.decode(part[1:]) for part in (text.train, text.held_out, text.watched))
    assert train + held_out == words and train == lm.training_part(words)
    assert len(held_out) == text.characters == 600
    assert held_out.startswith(watched) and len(watched) == text.watched_characters == 150
    assert lm.split(words, tokenizer, 100, "cpu").characters == 100


def test_batches_are_passages_of_the_text():
    dice = torch.Generator().manual_seed(0)
    batch = lm.draw_batch(torch.arange(50), 2000, 7, dice)
    assert batch.shape == (2000, 8) and (batch.diff(dim=1) == 1).all()
    assert batch.min() == 0 and batch.max() == 49 and len(batch[:, 0].unique()) == 43


def test_a_play_looks_like_tiny_shakespeare():
    play = "# Hamlet\n\n## ACT I\n\n_Enter\nGHOST_\n\n**BERNARDO**  \nWho's there?  \nSay\\--\n\n**GHOST**  \nI.\n"
    assert lm.plain(play) == "BERNARDO:\nWho's there?\nSay--\n\nGHOST:\nI.\n"


def test_documentation_is_english_and_stops_at_its_limit():
    text = lm.documentation(30_000)
    assert 30_000 < len(text) < 200_000 and text.count(" the ") > 100 and "import sys\n" not in text


# Training


def test_schedule():
    shares = [lm.schedule(step, 100) for step in range(100)]
    assert shares[:10] == pytest.approx([0.1 * k for k in range(1, 11)])
    assert max(shares) == 1 and shares == sorted(shares[:10]) + sorted(shares[10:], reverse=True)
    assert 0 < shares[-1] < 0.01 and shares[54] == pytest.approx(0.5, abs=0.02)
    assert lm.schedule(0, 1) == 1


def unigram_entropy(ids):
    p = ids.bincount().double() / len(ids)
    return -(p[p > 0] * p[p > 0].log()).sum().item()


@pytest.mark.parametrize("precision", [None, torch.bfloat16, torch.float16])
def test_training_beats_the_unigrams_in_any_precision(tokenizer, precision, monkeypatch):
    monkeypatch.setattr(lm, "half", lambda device: precision)
    torch.manual_seed(0)
    ids, model = lm.encode(tokenizer, POEM * 30), lm.small_gpt2(tokenizer, 16, 32)
    before = lm.score(model, ids, 16).mean().item()
    steps = list(lm.train(model, ids, 60, 1e-2, 8, 16, seed=0))
    assert [step for step, _ in steps] == list(range(1, 61))
    after = lm.score(model, ids, 16).mean().item()
    assert before > unigram_entropy(ids) and after < 0.3 * unigram_entropy(ids)
    assert all(weight.dtype == torch.float32 for weight in model.parameters())


def test_steps_are_those_of_adamw_written_out(model, tokenizer):
    ids, other, rate = lm.encode(tokenizer, POEM * 5), copy.deepcopy(model), 1e-2
    losses = [loss for _, loss in lm.train(model, ids, 12, rate, 4, 16, seed=3)]
    dice, weights = torch.Generator().manual_seed(3), list(other.parameters())
    first, second = ([torch.zeros_like(weight) for weight in weights] for _ in range(2))
    for k in range(12):
        batch = lm.draw_batch(ids, 4, 16, dice)
        loss = F.cross_entropy(other(batch[:, :-1]).logits.float().transpose(1, 2), batch[:, 1:])
        assert losses[k] == pytest.approx(loss.item(), rel=1e-4)
        gradients = torch.autograd.grad(loss, weights)
        norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
        step = rate * lm.schedule(k, 12)
        for weight, gradient, m, v in zip(weights, gradients, first, second):
            gradient = gradient / norm.clamp(min=1)
            m.mul_(0.9).add_(0.1 * gradient)
            v.mul_(0.99).add_(0.01 * gradient**2)
            decay = 0.1 if weight.ndim >= 2 else 0
            move = m / (1 - 0.9 ** (k + 1)) / ((v / (1 - 0.99 ** (k + 1))).sqrt() + 1e-8)
            weight.data -= step * (move + decay * weight.data)
    for ours, theirs in zip(model.parameters(), weights):
        assert (ours - theirs).abs().mean() < 1e-5


def test_dropout_is_on_in_training_and_off_in_scoring(model, tokenizer):
    ids, model.transformer.drop.p = lm.encode(tokenizer, POEM * 5), 0.5
    for _ in lm.train(model, ids, 3, 1e-4, 4, 16, seed=3):
        assert model.training
        assert torch.equal(lm.score(model, ids, 16), lm.score(model, ids, 16)) and not model.training
    model.train()
    assert lm.sample(model, tokenizer, "S", 5, 0) == lm.sample(model, tokenizer, "S", 5, 0) and not model.training


def test_clipping_tames_a_steep_step(model, tokenizer, monkeypatch):
    """AdamW forgets the scale of a gradient unless steps differ: what reaches it must have norm 1."""
    norms, step = [], torch.optim.AdamW.step
    ids = lm.encode(tokenizer, POEM * 5)

    def spy(self, *rest, **named):
        grads = [weight.grad.norm() for group in self.param_groups for weight in group["params"]]
        norms.append((torch.stack(grads).norm().item(), self.param_groups[0]["lr"]))
        return step(self, *rest, **named)

    model.transformer.wte.weight.data *= 3  # steep enough that every step is clipped
    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    list(lm.train(model, ids, 10, 1e-3, 4, 16, seed=3))
    assert [norm for norm, _ in norms] == pytest.approx([1.0] * 10, rel=1e-3)
    assert [rate for _, rate in norms] == pytest.approx([1e-3 * lm.schedule(k, 10) for k in range(10)])


# Experiments


def test_gap_and_its_standard_error():
    torch.manual_seed(0)
    worse, better = torch.rand(5000) + 1, torch.rand(5000)
    size, error = lm.gap(worse, better, characters=10_000)
    assert size == pytest.approx(((worse - better).sum() / 10_000).item(), rel=1e-4) and size > 0
    assert error == pytest.approx((2 / 12 * 5000) ** 0.5 / 10_000, rel=0.3)  # independent tokens
    assert lm.gap(worse, worse, 10)[1] == 0


def saved(tokenizer, folder):
    torch.manual_seed(0)
    model = lm.small_gpt2(tokenizer, 16, 16).eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


def test_what_is_saved_comes_back(tokenizer, tmp_path):
    model = saved(tokenizer, tmp_path)
    again, words = lm.load_model(str(tmp_path), tmp_path)
    ids = lm.encode(tokenizer, POEM)
    assert torch.equal(lm.encode(words, POEM), ids) and words.decode(ids[1:]) == POEM
    assert torch.equal(again.eval()(ids[None, :16]).logits, model(ids[None, :16]).logits)
    assert torch.equal(lm.score(again, ids, 16), lm.score(model, ids, 16))


def test_saved_model_trains_on_and_writes(tokenizer, tmp_path, capsys, monkeypatch):
    saved(tokenizer, tmp_path / "old")
    (tmp_path / "tinyshakespeare.txt").write_text(POEM * 90)
    folders = ["--data", str(tmp_path), "--out", str(tmp_path / "out"), "--device", "cpu"]
    results = lm.main(
        ["--smoke", "--model", str(tmp_path / "old"), "--save", str(tmp_path / "new"), "--window", "12", *folders]
    )
    assert results["data"] == "Tiny Shakespeare" and results["metrics"]["pre-training steps"] == 0
    assert json.loads((tmp_path / "out" / "lm_shakespeare.json").read_text()) == results
    new = lm.load_model(str(tmp_path / "new"), tmp_path)[0]
    old = lm.load_model(str(tmp_path / "old"), tmp_path)[0]
    assert not torch.equal(new.transformer.wte.weight, old.transformer.wte.weight)
    ids = lm.split((POEM * 90)[:20_000], tokenizer, 10**9, "cpu").held_out
    score = lm.score(new, ids, 12).mean().exp().item()
    assert results["metrics"]["fine-tuned: perplexity per token"] == pytest.approx(score, abs=0.06)
    capsys.readouterr()
    monkeypatch.chdir(tmp_path)  # nothing may be written now
    files = sorted(tmp_path.rglob("*"))
    written = lm.main(["--model", str(tmp_path / "new"), "--prompt", "Thou art", "--length", "5", *folders[:2]])
    assert written["sample"].startswith("Thou art") and written["sample"] in capsys.readouterr().out
    assert sorted(tmp_path.rglob("*")) == files


def complaint(argv, capsys):
    with pytest.raises(SystemExit) as stop:
        lm.main(argv)
    assert stop.value.code == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize("lost", ["config.json", "model.safetensors", "tokenizer.json"])
def test_incomplete_folder(lost, tokenizer, tmp_path, capsys):
    saved(tokenizer, tmp_path)
    (tmp_path / lost).unlink()
    assert "incomplete" in complaint(["--model", str(tmp_path), "--prompt", "x"], capsys)


@pytest.mark.parametrize("damage", ["cut short", "tensor lost", "other size"])
def test_damaged_weights(damage, tokenizer, tmp_path, capsys):
    saved(tokenizer, tmp_path)
    path = tmp_path / "model.safetensors"
    if damage == "cut short":
        path.write_bytes(path.read_bytes()[:-1000])
    elif damage == "tensor lost":
        config = json.loads((tmp_path / "config.json").read_text())  # which speaks of a layer that isn't there
        (tmp_path / "config.json").write_text(json.dumps({**config, "n_layer": config["n_layer"] + 1}))
    else:
        config = json.loads((tmp_path / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps({**config, "n_embd": 32}))
    assert "--model" in complaint(["--model", str(tmp_path), "--prompt", "x"], capsys)


def test_prompt_longer_than_the_context(tokenizer, tmp_path, capsys):
    saved(tokenizer, tmp_path)
    assert "context of 16" in complaint(["--model", str(tmp_path), "--prompt", "1234567890" * 3], capsys)


@pytest.mark.parametrize("words", ["", "Too short."])
def test_empty_text(words, tmp_path, capsys):
    (tmp_path / "tinyshakespeare.txt").write_text(words)
    assert "empty" in complaint(["--smoke", "--data", str(tmp_path), "--out", str(tmp_path)], capsys)


@pytest.mark.parametrize(
    "argv", [["--steps", "0"], ["--width", "30"], ["--device", "abacus"], ["--out", "{}/file"], ["--vocabulary", "9"]]
)
def test_wrong_arguments(argv, tmp_path, capsys):
    (tmp_path / "file").touch()
    said = complaint([argument.format(tmp_path) for argument in argv] + ["--smoke"], capsys)
    assert argv[0].lstrip("-") in said


def test_names_that_cannot_be_had(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(lm, "reachable", lambda url: False)
    monkeypatch.setattr(lm.AutoTokenizer, "from_pretrained", lambda *_, **__: (_ for _ in ()).throw(OSError("none")))
    assert lm.load_model("gpt2", tmp_path) is None
    assert "no such" in complaint(["--model", "nobody/nothing", "--prompt", "x"], capsys)
    assert "needs a model" in complaint(["--prompt", "x"], capsys)
