"""The Vision Transformer of papers/vit.py against torchvision's, and its shuffling, roll-out and training."""

import math

import matplotlib.pyplot as plt
import pytest
import torch
import torch.nn.functional as F
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torchvision.models import VisionTransformer

from papers import vit

TABLE_1 = {  # layers, width, MLP size, heads; patch; parameters with 1,000 classes, as torchvision's weights list them
    "Base": ((12, 768, 3072, 12), 16, 86_567_656),
    "Large": ((24, 1024, 4096, 16), 16, 304_326_632),
    "Huge": ((32, 1280, 5120, 16), 14, 632_045_800),
}


def ours(patch: int = 8) -> vit.ViT:
    """Two layers on images of 32x32, every weight random, so that none hides behind a zero or a one."""
    torch.manual_seed(0)
    model = vit.ViT((3, 32, 32), patch, (2, 16, 40, 4), classes=7).double()
    for weight in model.parameters():
        weight.data = torch.randn_like(weight) * 0.3
    return model


def renamed(model: vit.ViT) -> dict[str, torch.Tensor]:
    """Our weights (or, in their place, gradients) under torchvision's names."""
    names = {
        "embed": "conv_proj",
        "blocks.": "encoder.layers.encoder_layer_",
        "norm_": "ln_",
        "head": "heads.head",
    }
    names |= {
        "attention.qkv.": "self_attention.in_proj_",
        "attention.output": "self_attention.out_proj",
    }
    names |= {
        "mlp.2": "mlp.3",
        "token": "class_token",
        "positions": "encoder.pos_embedding",
        "norm.": "encoder.ln.",
    }
    found = {}
    for name, weight in model.named_parameters():
        for here, there in names.items():
            name = (
                there + name[len(here) :]
                if name.startswith(here)
                else name.replace("." + here, "." + there)
            )
        found[name] = weight
    return found


def test_logits_and_gradients_are_torchvisions():
    model = ours()
    theirs = VisionTransformer(32, 8, 2, 4, 16, 40, num_classes=7).double()
    shapes = {name: weight.shape for name, weight in theirs.named_parameters()}
    theirs.load_state_dict(
        {name: weight.detach().view(shapes[name]) for name, weight in renamed(model).items()}
    )
    images, labels = (
        torch.randn(5, 3, 32, 32, dtype=torch.float64, requires_grad=True),
        torch.arange(5),
    )
    gradients = []
    for net in (model, theirs):
        logits = net(images)
        (of_images,) = torch.autograd.grad(
            F.cross_entropy(logits, labels), images, retain_graph=True
        )
        F.cross_entropy(logits, labels).backward(inputs=list(net.parameters()))
        gradients.append((logits, of_images))
    for here, there in zip(*gradients):
        torch.testing.assert_close(here, there)
    of_theirs = dict(theirs.named_parameters())
    for name, weight in renamed(model).items():
        torch.testing.assert_close(weight.grad, of_theirs[name].grad.view(weight.shape), msg=name)
        assert weight.grad.abs().max() > 1e-6 or "in_proj_bias" in name, f"{name} isn't held"


@pytest.mark.parametrize("name", TABLE_1)
def test_sizes_to_the_last_parameter(name):
    sizes, patch, expected = TABLE_1[name]
    with torch.device("meta"):
        model = vit.ViT((3, 224, 224), patch, sizes, classes=1000)
    assert sum(weight.numel() for weight in model.parameters()) == expected


def test_cut_is_unfold_and_reads_row_by_row():
    images = torch.randn(2, 3, 8, 12)
    unfolded = F.unfold(images, 4, stride=4).transpose(1, 2)  # (B, N, C P²)
    assert torch.equal(vit.cut(images, 4).flatten(2), unfolded)
    assert torch.equal(vit.cut(images, 4)[:, 1], images[:, :, :4, 4:8])


def test_shuffle_moves_whole_patches_and_the_followed_net_says_the_same():
    model, images = ours(), torch.randint(256, (6, 3, 32, 32)).byte()
    order, patches, inside = vit.shuffle(32, 8)
    assert sorted(order.tolist()) == list(range(1024)) and not torch.equal(
        patches, torch.arange(16)
    )
    in_order, shuffled = (vit.prepare(images, o).double() for o in (torch.arange(1024), order))
    torch.testing.assert_close(in_order, images / 64.0 - 2, check_dtype=False)
    expected = vit.cut(in_order, 8).flatten(3)[:, patches][..., inside]
    assert torch.equal(vit.cut(shuffled, 8).flatten(3), expected)
    twin = vit.follow(model, patches, inside)
    torch.testing.assert_close(twin(shuffled), model(in_order))
    assert not torch.allclose(model(shuffled), model(in_order)) and not torch.allclose(
        twin(in_order), model(in_order)
    )


def test_roll_out_is_the_product_of_all_layers():
    model, images = ours(), torch.randn(3, 3, 32, 32, dtype=torch.float64)
    seen = []
    for block in model.blocks:
        block.attention.qkv.register_forward_hook(lambda layer, given, qkv: seen.append(qkv))
    maps = vit.roll_out(model.double(), images)
    product = torch.eye(17, dtype=torch.float64)
    for qkv in seen:
        q, k, _ = qkv.chunk(3, dim=-1)
        heads = [
            (a @ b.mT / math.sqrt(4)).softmax(-1) for a, b in zip(q.split(4, -1), k.split(4, -1))
        ]
        product = (0.5 * sum(heads) / 4 + 0.5 * torch.eye(17)) @ product
    torch.testing.assert_close(maps, product[:, 0, 1:])
    torch.testing.assert_close(product.sum(-1), torch.ones(3, 17, dtype=torch.float64))


def test_batches_mirror_half_of_the_images_before_they_are_shuffled():
    torch.manual_seed(0)
    images = torch.arange(256).byte()[:, None, None, None] * torch.ones(1, 1, 1, 8).byte()
    images[..., 0] = 255 - images[..., 0]
    order = torch.tensor([3, 0, 7, 1, 2, 4, 5, 6])
    plain, mirrored = (
        next(vit.batches(images, torch.arange(256), order, mirror)) for mirror in (False, True)
    )
    for x, y in (plain, mirrored):
        as_is, flipped = (vit.prepare(part[y], order) for part in (images, images.flip(3)))
        same, turned = ((x == part).flatten(1).all(dim=1) for part in (as_is, flipped))
        assert x.shape == (128, 1, 1, 8) and (same | turned).all()
        share = turned.float().mean()
        assert share == 0 if x is plain[0] else 0.3 < share < 0.7


def test_the_rate_rises_falls_and_ends_near_zero():
    rates = []
    hook = register_optimizer_step_pre_hook(
        lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"])
    )
    data, model = (
        iter([(torch.ones(2, 3), torch.tensor([0, 1]))] * 20),
        torch.nn.Linear(3, 2).eval(),
    )
    assert list(vit.train(model, data, 20, 0.1)) == list(range(1, 21)) and model.training
    hook.remove()
    assert rates[:2] == pytest.approx([0.05, 0.1]) and rates[-1] == pytest.approx(0.1 / 18)
    assert rates[1:] == pytest.approx(
        [0.1 * (21 - step) / 18 if step > 2 else 0.1 for step in range(2, 21)]
    )


def test_training_learns_where_the_bright_patch_is():
    torch.manual_seed(0)
    labels = torch.randint(4, (600,))
    images = torch.randint(120, (600, 1, 8, 8)).byte()
    for image, label in zip(images, labels.tolist()):
        image[0, 4 * (label // 2) :, 4 * (label % 2) :][:4, :4] += 60
    order, *_ = vit.shuffle(8, 4)
    model = vit.ViT((1, 8, 8), 4, (1, 16, 32, 2), classes=4)
    for _ in vit.train(model, vit.batches(images[:500], labels[:500], order, False), 150, 5e-3):
        pass
    right = vit.accuracy(model, images[500:], labels[500:], order)
    assert right > 90, "chance is 25%"
    assert (
        right
        == 100 * (vit.predict(model, images[500:], order).argmax(1) == labels[500:]).float().mean()
    )


def test_the_data_curve_takes_each_net_at_its_best_on_images_kept_aside(monkeypatch):
    seen, aside = [], [3, 1, 4, 9, 2, 6, 5, 3, 5, 8]

    def train(model, data, steps, rate):
        assert next(data)[0].shape == (128, 1, 28, 28)
        for step in range(1, steps + 1):
            next(model.parameters()).data.fill_(step)  # so that a weight tells the moment
            yield step

    def accuracy(model, images, labels, order):
        seen.append((len(images), labels.tolist()))
        step = int(next(model.parameters()).flatten()[0])
        return aside[step - 1] if len(images) == 40 else step

    monkeypatch.setattr(vit, "train", train)
    monkeypatch.setattr(vit, "accuracy", accuracy)
    data = [torch.rand(200, 28, 28), torch.arange(200), torch.rand(30, 28, 28), torch.arange(30)]
    curves = vit.data_curve(data, 5, "cpu", 0)
    assert curves == {"ViT": {100: 4, 160: 4}, "CNN": {100: 4, 160: 4}}
    assert len({tuple(labels) for count, labels in seen if count == 40}) == 1 and {
        n for n, _ in seen
    } == {40, 30}


@pytest.mark.parametrize(
    "dataset, mirrored, names",
    [
        ("CIFAR-10 (JPEG-recompressed copy)", True, vit.CLASSES),
        ("digits (stand-in for CIFAR-10)", False, list("0123456789")),
    ],
)
def test_only_photographs_are_mirrored_and_called_airplane(
    dataset, mirrored, names, tmp_path, monkeypatch
):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (300, 3, 32, 32), generator=generator).byte()
    labels = torch.arange(300) % 10
    digits = [torch.rand(200, 28, 28), torch.arange(200) % 10] * 2
    told, seen, batches = [], [], vit.batches

    def watched(images, labels, order, mirror):
        told.extend([mirror] * (images.shape[1] == 3))  # the other images are MNIST's
        return batches(images, labels, order, mirror)

    monkeypatch.setattr(vit, "batches", watched)
    monkeypatch.setattr(vit, "load_cifar10", lambda root: (dataset, images, labels, images, labels))
    monkeypatch.setattr(vit, "load_mnist", lambda root: ("MNIST", *digits))
    monkeypatch.setattr(plt.Axes, "set_title", lambda axis, title="", **how: seen.append(title))
    vit.main(["--smoke", "--out", str(tmp_path)])
    assert told == [mirrored] * 4
    assert len(seen) >= 10 and set(seen[:10]) <= set(names)
