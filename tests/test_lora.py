"""LoRA against peft, the transformer against torch's own, the counts against the paper's."""

import copy
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from papers import lora

DOUBLE = torch.float64


class Net(nn.Module):
    """Two linear layers, of which the first is wider than long."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(7, 5)
        self.second = nn.Linear(5, 3)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


def filled(model, name):
    """Gives every B of an adapter random values, as after training."""
    for layer in lora.lora_layers(model).values():
        nn.init.normal_(layer.B[name])


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net().double()


@pytest.fixture
def x():
    torch.manual_seed(1)
    return torch.randn(11, 7, dtype=DOUBLE)


def small_model(vocabulary=20, width=8, layers=2):
    torch.manual_seed(0)
    return lora.LanguageModel(vocabulary, width, layers)


def test_as_peft_does_forward_and_backward(net, x):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=3, lora_alpha=6, target_modules=["first", "second"])
    theirs = peft.get_peft_model(copy.deepcopy(net), config)
    lora.add_lora(net, "a", {"first", "second"}, rank=3, alpha=6)
    filled(net, "a")
    their_layers = theirs.base_model.model
    for name, layer in lora.lora_layers(net).items():
        their_layer = their_layers.get_submodule(name)
        their_layer.lora_A["default"].weight.data = layer.A["a"].detach().clone()
        their_layer.lora_B["default"].weight.data = layer.B["a"].detach().clone()

    assert_close(net(x), theirs(x))
    net(x).square().sum().backward()
    theirs(x).square().sum().backward()
    for name, layer in lora.lora_layers(net).items():
        their_layer = their_layers.get_submodule(name)
        assert_close(layer.A["a"].grad, their_layer.lora_A["default"].weight.grad)
        assert_close(layer.B["a"].grad, their_layer.lora_B["default"].weight.grad)
        assert layer.layer.weight.grad is None and layer.layer.bias.grad is None
    theirs.merge_adapter()
    lora.merge(net)
    for name, layer in lora.lora_layers(net).items():
        assert_close(layer.layer.weight, their_layers.get_submodule(name).base_layer.weight)


def test_the_worked_example_of_the_docstring():
    layer = lora.LoRALinear(nn.Linear(2, 2, bias=False))
    nn.init.zeros_(layer.layer.weight)
    layer.add("a", rank=1, alpha=2)
    layer.use("a")
    layer.A["a"].data = torch.tensor([[1.0, 2.0]])
    layer.B["a"].data = torch.tensor([[0.5], [0.0]])
    assert layer(torch.tensor([3.0, 1.0])).tolist() == [5, 0]
    assert layer.update().tolist() == [[1, 2], [0, 0]]


def test_a_new_adapter_changes_nothing_and_its_first_gradient_is_that_of_b(net, x):
    before = net(x)
    lora.add_lora(net, "a", {"first", "second"}, rank=2)
    assert torch.equal(net(x), before)
    net(x).square().sum().backward()
    for layer in lora.lora_layers(net).values():
        assert layer.B["a"].grad.abs().max() > 0 and layer.A["a"].grad.abs().max() == 0


def test_a_starts_gaussian_with_the_variance_of_one_over_the_inputs():
    torch.manual_seed(0)
    layer = lora.LoRALinear(nn.Linear(400, 3))
    layer.add("a", rank=50, alpha=1)
    values = layer.A["a"].detach().flatten() * 20  # standard normal, 20,000 of them
    assert abs(values.mean()) < 0.03 and abs(values.std() - 1) < 0.03
    assert abs(values.pow(4).mean() - 3) < 0.3  # 1.8 if uniform


@pytest.mark.parametrize("training", [True, False])
def test_merged_equals_unmerged(net, x, training):
    lora.add_lora(net, "a", {"first", "second"}, rank=2)
    filled(net, "a")
    net.train(training)
    old = [layer.layer.weight.clone() for layer in lora.lora_layers(net).values()]
    unmerged = net(x)
    for _ in range(2):
        lora.merge(net)
        lora.merge(net)  # merged already: nothing more is added
        assert_close(net(x), unmerged)
        weights = [layer.layer.weight for layer in lora.lora_layers(net).values()]
        assert all((now - before).abs().max() > 0.1 for now, before in zip(weights, old))
        plain = copy.deepcopy(net)
        lora.use_lora(net, "a")  # unmerges
        assert_close(net(x), unmerged)
        for layer, before in zip(lora.lora_layers(net).values(), old):
            assert_close(layer.layer.weight.detach(), before.detach())
        lora.unmerge(plain)
        lora.unmerge(plain)
        assert_close(plain(x), unmerged)


def test_two_adapters_on_one_base_are_switched_and_trained_alone(net, x):
    base = net(x).detach()
    outputs = {}
    for name, rank in (("a", 2), ("b", 3)):
        lora.add_lora(net, name, {"first"}, rank)
        filled(net, name)
        outputs[name] = net(x).detach()
    lora.merge(net)  # b; switching must take it out again
    for name in ("a", "b", "a"):
        lora.use_lora(net, name)
        assert_close(net(x).detach(), outputs[name])
        trained = [path for path, weight in net.named_parameters() if weight.requires_grad]
        assert sorted(trained) == [f"first.A.{name}", f"first.B.{name}"]
    lora.use_lora(net, None)
    assert_close(net(x).detach(), base)
    assert not any(weight.requires_grad for weight in net.parameters())
    assert (outputs["a"] - outputs["b"]).abs().max() > 0.1


def test_a_saved_adapter_is_small_and_works_on_another_copy(tmp_path):
    model = small_model(width=64)
    other = copy.deepcopy(model)
    ids = torch.randint(20, (3, 9))
    lora.add_lora(model, "a", lora.EVERY_LAYER, rank=2, alpha=5)
    filled(model, "a")
    lora.save_lora(model, "a", tmp_path / "a.pt")
    torch.save(model.state_dict(), tmp_path / "all.pt")
    before = other(ids)
    lora.load_lora(other, "again", tmp_path / "a.pt")
    assert_close(other(ids), model(ids))
    assert (other(ids) - before).abs().max() > 0.1
    assert (tmp_path / "a.pt").stat().st_size < 0.2 * (tmp_path / "all.pt").stat().st_size
    lora.use_lora(other, None)
    assert_close(other(ids), before)


@pytest.mark.parametrize("rank, weights", [(1, 4_718_592), (8, 37_748_736)])
def test_the_papers_counts_for_gpt_3(rank, weights):
    with torch.device("meta"):
        model = lora.LanguageModel(50257, 12288, 96)
    lora.add_lora(model, "a", {"query", "value"}, rank)
    assert lora.trained_weights(model) == weights


def test_gpt_2_keeps_its_weights_transposed():
    from transformers.pytorch_utils import Conv1D

    torch.manual_seed(0)
    conv = Conv1D(6, 4).double()  # 4 inputs, 6 outputs
    linear = nn.Linear(4, 6).double()
    linear.weight.data = conv.weight.detach().T.clone()
    linear.bias.data = conv.bias.detach().clone()
    x = torch.randn(3, 4, dtype=DOUBLE)
    outputs = {}
    for layer in (conv, linear):
        wrapped = lora.LoRALinear(layer)
        torch.manual_seed(1)
        wrapped.add("a", rank=2, alpha=3)
        nn.init.normal_(wrapped.B["a"])
        wrapped.use("a")
        unmerged = wrapped(x)
        wrapped.merge()
        assert_close(wrapped(x), unmerged)
        outputs[layer] = unmerged
    assert_close(outputs[conv], outputs[linear])


def test_an_adapter_layer_starts_as_the_identity_and_stands_behind_its_layer():
    torch.manual_seed(0)
    layer = nn.Linear(4, 6)
    adapter = lora.AdapterLayer(layer, 3)
    x = torch.randn(5, 4)
    assert torch.equal(adapter(x), layer(x))
    nn.init.normal_(adapter.up.weight)
    h = layer(x)
    hidden = (h @ adapter.down.weight.T + adapter.down.bias).clamp(min=0)
    assert_close(adapter(x), h + hidden @ adapter.up.weight.T + adapter.up.bias)


def test_a_block_is_torchs_transformer_layer():
    torch.manual_seed(0)
    block = lora.Block(16).double()
    theirs = nn.TransformerEncoderLayer(
        16, lora.HEADS, 64, dropout=0, activation="gelu", batch_first=True, norm_first=True
    ).double()
    attention = theirs.self_attn
    parts = [block.query, block.key, block.value]
    attention.in_proj_weight.data = torch.cat([part.weight.data for part in parts])
    attention.in_proj_bias.data = torch.cat([part.bias.data for part in parts])
    attention.out_proj.load_state_dict(block.output.state_dict())
    theirs.linear1.load_state_dict(block.widen.state_dict())
    theirs.linear2.load_state_dict(block.narrow.state_dict())
    for norm in (block.attention_norm, block.mlp_norm):
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    theirs.norm1.load_state_dict(block.attention_norm.state_dict())
    theirs.norm2.load_state_dict(block.mlp_norm.state_dict())
    x = torch.randn(2, 9, 16, dtype=DOUBLE, requires_grad=True)
    mask = nn.Transformer.generate_square_subsequent_mask(9, dtype=DOUBLE)
    ours = block(x)
    reference = theirs(x, src_mask=mask, is_causal=True)
    assert_close(ours, reference)
    weights = torch.randn_like(ours)
    (gradient,) = torch.autograd.grad((ours * weights).sum(), x)
    (expected,) = torch.autograd.grad((reference * weights).sum(), x)
    assert_close(gradient, expected)


def test_later_tokens_do_not_matter_and_places_do():
    model = small_model()
    ids = torch.randint(20, (2, 12))
    changed = ids.clone()
    changed[:, 7:] = (ids[:, 7:] + 1) % 20
    assert_close(model(ids)[:, :7], model(changed)[:, :7])
    assert (model(ids)[:, 7:] - model(changed)[:, 7:]).abs().max() > 1e-3
    same = torch.zeros(1, 5, dtype=torch.long)
    assert (model(same)[0, 0] - model(same)[0, 4]).abs().max() > 1e-4


@pytest.mark.parametrize("length", [2, 40, 65, 66, 200])
def test_token_losses_judge_each_token_by_what_stands_before_it(length):
    model = small_model()
    nn.init.normal_(model.head.weight)
    ids = torch.randint(20, (length,))
    losses = lora.token_losses(model, ids)
    half = lora.CONTEXT // 2
    whole = (max(0, length - 1 - lora.CONTEXT) // half) * half + min(lora.CONTEXT, length - 1)
    assert len(losses) == whole
    for place in range(len(losses)):
        first = 0 if place < lora.CONTEXT else (place // half - 1) * half
        context = ids[None, first : place + 1]
        expected = F.cross_entropy(model(context)[0, -1:], ids[place + 1 : place + 2])
        assert_close(losses[place], expected.detach())


def test_similarity_is_that_of_the_principal_angles():
    linalg = pytest.importorskip("scipy.linalg")
    torch.manual_seed(0)
    A_1, A_2 = torch.randn(3, 12, dtype=DOUBLE), torch.randn(6, 12, dtype=DOUBLE)
    phi = lora.subspace_similarity(A_1, A_2)
    assert phi.shape == (3, 6)
    U_1, U_2 = torch.linalg.svd(A_1.T)[0], torch.linalg.svd(A_2.T)[0]
    for i in range(1, 4):
        for j in range(1, 7):
            angles = linalg.subspace_angles(U_1[:, :i].numpy(), U_2[:, :j].numpy())
            expected = (torch.from_numpy(angles).cos() ** 2).sum() / min(i, j)
            assert_close(phi[i - 1, j - 1], expected)
    assert_close(lora.subspace_similarity(A_1, A_1).diagonal(), torch.ones(3, dtype=DOUBLE))


def weights_by_hand(method, size):
    """For a vocabulary of 20, width 8 and 2 blocks."""
    within = {"query": 16, "key": 16, "value": 16, "output": 16, "widen": 40, "narrow": 40}
    biases = 2 * (2 * 8 + 4 * 8 + 32 + 8) + 8 + 20
    return {
        "full fine-tuning": (20 + 64) * 8 + 8 * 20 + 2 * (12 * 64 + 2 * 8) + 8 + biases,
        "LoRA": (2 * sum(within.values()) + 28) * (size or 0),
        "biases": biases,
        "head": 20 * 8 + 20,
        "token frequencies": 20,
        "adapter layers": 2 * 2 * (2 * 8 * (size or 0) + (size or 0) + 8),
    }.get(method, (2 * (3 * 16 + 40) + 28) * (size or 0))


@pytest.mark.parametrize("method, size", lora.RATES)
def test_each_method_trains_what_it_says_and_starts_as_the_base(method, size):
    model = small_model()
    ids = torch.randint(20, (2, 10))
    before = model(ids)
    lora.prepare(model, method, size)
    assert_close(model(ids), before)
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert lora.trained_weights(model) == weights_by_hand(method, size), trained


def test_training_changes_the_adapter_only_and_learns():
    model = small_model(width=16)
    base = copy.deepcopy(model).state_dict()
    ids = torch.arange(1000) * 7 % 20  # a melody of 20 tokens
    before = lora.token_losses(model, ids[:300]).mean()
    lora.add_lora(model, "a", lora.EVERY_LAYER, rank=4)
    best = lora.train(model, ids, ids[:300], 2e-2, 60)
    after = lora.token_losses(model, ids[:300]).mean()
    assert before > 2.5 and after < 0.5 * before
    assert best["loss"] == pytest.approx(after.item())
    for name, weight in model.state_dict().items():
        if ".A." not in name and ".B." not in name:
            assert torch.equal(weight, base[name.replace(".layer.", ".")])


def test_training_goes_back_to_the_weights_that_were_best():
    model = small_model()
    ids = torch.randint(20, (70,))  # noise: what is learned from it is of no use elsewhere
    held_out = torch.randint(20, (2000,))
    best = lora.train(model, ids, held_out, 3e-2, 60)
    assert best["step"] < 60
    assert lora.token_losses(model, held_out).mean().item() == pytest.approx(best["loss"])


def test_writing_goes_on_from_the_prompt():
    model = small_model(width=16)
    ids = torch.arange(1000) * 7 % 20
    lora.train(model, ids, ids[:300], 1e-2, 80)
    written = lora.write(model, ids[:30], 100)
    assert torch.equal(written[:30], ids[:30])
    assert (written == ids[:130]).float().mean() > 0.8  # also beyond the context of 64


def test_parts_of_a_play_share_no_speech():
    torch.manual_seed(0)
    text = lora.read_play(lora.plays()["macbeth"])
    assert text.startswith("First Witch:\nWhen shall we three meet again\nIn thunder")
    assert "_" not in text and "**" not in text and "ACT I" not in text
    parts = lora.split(text)
    speeches = Counter()
    for part in parts.values():
        speeches += Counter(part.strip().split("\n\n"))
    assert speeches <= Counter(text.split("\n\n"))  # none is used more often than it stands there
    assert list(parts) == ["training", "validation", "test"]
    assert 0.12 < len(parts["training"]) / len(text) < 0.22
    assert 0.15 < len(parts["test"]) / len(text) < 0.25


def test_the_passage_shown_has_the_median_gain():
    text = "".join(f"A:\nline {k} a\nb\nc\nd\ne\n\n" for k in range(9))
    tokenizer = lora.make_tokenizer(text, 300)
    count = len(tokenizer.encode(text).ids) - 1
    before = torch.zeros(count)
    gains = torch.zeros(count)
    starts = [span[0] for span in tokenizer.encode(text).offsets[1:]]
    order = [4, 1, 7, 2, 8, 0, 3, 6, 5]
    length = len(text) // 9
    for place, start in enumerate(starts):
        gains[place] = order[min(8, start // length)]
    tokens = lora.typical_passage(tokenizer, text, before, before - gains)
    shown = "".join(token["text"] for token in tokens)
    assert shown.startswith("A:\nline") and len(shown.split("\n")) == lora.LINES
    [number] = [k for k in range(9) if f"line {k}" in shown]
    passages = [first // length for first, _ in lora.passages(text)]
    ranked = sorted(order[k] for k in passages)
    assert order[number] == ranked[len(ranked) // 2]


@pytest.fixture
def tiny_gpt2(tmp_path):
    """A random GPT-2 in a folder, as save_pretrained leaves it."""
    transformers = pytest.importorskip("transformers")
    text = lora.read_play(lora.plays()["macbeth"])[:5000]
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=lora.make_tokenizer(text, 300)
    )
    config = transformers.GPT2Config(vocab_size=300, n_positions=64, n_embd=16, n_layer=2, n_head=2)
    torch.manual_seed(0)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path / "gpt2")
    tokenizer.save_pretrained(tmp_path / "gpt2")
    return tmp_path / "gpt2"


def test_a_hugging_face_model_is_adapted_and_nothing_judged(tiny_gpt2, tmp_path, capsys):
    argv = ["--model", str(tiny_gpt2), "--smoke", "--out", str(tmp_path), "--device", "cpu"]
    results = lora.main(argv)
    printed = capsys.readouterr().out
    assert results["claims"] == [] and "judged" not in printed
    # c_attn, c_proj, c_fc and c_proj in two blocks, r = 4
    assert f"{2 * 4 * (16 + 48 + 16 + 16 + 16 + 64 + 64 + 16):,} weights" in printed


def test_a_model_that_cannot_be_had_gets_a_sentence(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        lora.main(["--model", str(tmp_path), "--smoke", "--out", str(tmp_path)])
    assert stopped.value.code == 2 and "--model" in capsys.readouterr().err


def test_what_save_kept_is_loaded_and_writes_the_same(tmp_path, capsys):
    options = ["--smoke", "--out", str(tmp_path / "out"), "--device", "cpu", "--prompt", "ROSS:"]
    results = lora.main([*options, "--save", str(tmp_path / "lm.pt")])
    assert results["claims"] == []
    assert sorted(path.name for path in tmp_path.glob("*.pt")) == ["lm.macbeth.pt", "lm.pt"]
    base, tokenizer = lora.load_base(tmp_path / "lm.pt", "cpu")
    ids = lora.encode(tokenizer, "Fair is foul, and foul is fair", "cpu")
    adapted = copy.deepcopy(base)
    lora.load_lora(adapted, "play", tmp_path / "lm.macbeth.pt")
    assert (adapted(ids[None]) - base(ids[None])).abs().max() > 0
    again = lora.main([*options, "--load", str(tmp_path / "lm.pt")])
    assert again["claims"] == [] and "with LoRA" in capsys.readouterr().out
